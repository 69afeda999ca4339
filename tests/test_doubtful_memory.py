"""Names that are one array on one path and another one on the other: right values, or refused.

Each program writes through one of the names and looks at what others hold then. It may be refused
where only the program knows which memory is meant; what it must never do is compute wrong values.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from agreement import Outcome, assert_agree, outcome

import jitnet
from jitnet import errors

Program = Callable[..., Any]

X = np.array([1.0, -2.0, 3.0, 0.5])
CODES = (
    np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
    np.array([-1.0, 2.0, 1.0, 4.0, -5.0, -6.0]),
    np.array([-1.0, 0.0, -3.0, -2.0, -5.0, 4.0]),
)
EXACT: list[Program] = []
REFUSED: list[Program] = []


def exact(fn: Program) -> Program:
    EXACT.append(fn)
    return fn


def refused(fn: Program) -> Program:
    REFUSED.append(fn)
    return fn


@refused
def one_new_array_under_two_names(x, c):
    u, v = x + 1, x + 2
    if c[0] > 0:
        t = x * 2
        u, v = t, t
    u[0] = 100.0
    return u, v


@refused
def a_new_array_and_a_view_of_it(x, c):
    u, v = x + 1, x[1:] * 2
    if c[0] > 0:
        u = x * 2
        v = u[1:]
    u[1] = 100.0
    return u, v


@exact
def the_same_two_arrays_under_two_names(x, c):
    u, v = x + 1, x + 2
    w = u
    if c[0] > 0:
        u, w = v, v
    u[0] = 100.0
    return u, v, w


@exact
def an_item_of_a_list_on_one_path(x, c):
    u = x + 1
    held = [x * 0, x * 0]
    if c[0] > 0:
        held[0] = u
    u[1] = 100.0
    return held[0], held[1]


@refused
def one_new_array_of_a_step_under_two_names(x, c):
    u, v = x + 1, x + 2
    for i in range(len(c)):
        if c[i] > 0:
            t = x * c[i]
            u, v = t, t
    u[0] = 100.0
    return u, v


@exact
def a_view_made_in_a_loop_within_a_loop(x, c):
    for _ in range(6):
        for _ in range(6):
            u = x[1:]
    u[-1] -= 3.0
    return u


@exact
def an_array_from_outside_in_the_last_step(x, c):
    w = x * 2.0
    for i in range(len(c)):
        if c[i] > 1:
            u = w
        else:
            u = x * 3
    u[1] = 100.0
    return w


@exact
def an_array_that_is_written_to_once_it_is_another_one(x, c):
    w, z = x * 2.0, x * 4.0
    for i in range(len(c)):
        z[0] += 1
        if c[i] > 1:
            z = w
    w[0] = 50.0
    return z


@exact
def what_a_step_has_written_to_is_read_by_the_next_one(x, c):
    w, z, s = x * 2.0, x * 4.0, 0.0
    for i in range(len(c)):
        s += w[0]
        z[0] += 1
        if c[i] > 1:
            z = w
        else:
            z = x * c[i]
    return s, z


@refused
def an_item_read_from_a_list_that_grows(x, c):
    log = []
    for i in range(len(c)):
        if c[i] > 0:
            log.append(x * 2)
    y = log[0]
    y[0] = 5.0
    return log[0][0]


@refused
def an_array_changed_after_it_was_read_from_a_list(x, c):
    log, v = [], x * 1
    for i in range(len(c)):
        if c[i] > 0:
            log.append(v)
    y = log[0]
    v[0] = 5.0
    return y


@refused
def a_list_of_an_array_that_the_next_step_changes(x, c):
    log, v = [], x * 1
    for i in range(len(c)):
        v[0] = i
        if c[i] > 0:
            log.append(v)
            if i > 1:
                v = v * 2
    return np.array(log)


@exact
def chosen_on_one_of_two_paths(x, c):
    u = x
    if c[0] > 0:
        if c[2] > 2:
            u = x.copy()
        elif c[1] > 1:
            u = c[:4]
    else:
        u = x[::-1]
    u[1] += 10.0
    return u, x, c


@exact
def chosen_by_a_function_on_one_path(x, c):
    def shifted(w, by):
        w[1:] = w[:-1] + by
        if by > 1.0:
            return w
        return w.copy()

    u = c[:4] * 1
    v = u
    if c[0] > 0:
        u = shifted(x, c[1] - 1)
    else:
        v = shifted(u, c[0] + 3)
    u[0] = 7.0
    v[1] = 8.0
    return u, v, x


@exact
def a_new_array_in_each_step(x, c):
    u = x
    for i in range(len(c)):
        u = u * 2
        u[0] = i
        if c[i] > 0:
            u = u + 1
    u[1] = 100.0
    return u, x


@exact
def exchanged_as_often_as_data_says(x, c):
    u, v = x, c[:4]
    for _ in range(int(c[0] + 1)):
        v[0] = u[1] * 0.5
        u, v = v, u
    u[2] = 7.0
    return u.sum(), v.copy(), x, c


@exact
def written_to_in_the_first_step_only(x, c):
    w = x
    for i in range(len(c)):
        w[1:] = w[:-1] + i
        if c[i] > 0:
            w = w * 2.0
    w[0] = 3.0
    return w.sum(), x


@exact
def a_row_that_data_chooses(x, c):
    a = np.outer(c, x)
    row = a[0]
    for i in range(len(c)):
        if c[i] > row[0]:
            row = a[2]
        row[1:] += 1.0
        row[0] -= c[i]
    a[2, 3] = 50.0
    return row, a


@exact
def parts_of_what_data_chooses(x, c):
    y = x * 2.0
    w = x if c[0] > 0 else y
    head, tail = w[:2], w[::-2]
    x[0] = 9.0
    tail[:] = head
    head[1] = 8.0
    return head.copy(), tail.copy(), w.copy(), x, y


@exact
def exchanged_and_written_to(x, c):
    u, v = x.copy(), x * 2
    w = u
    for i in range(len(c)):
        v[0] = u[1] + i
        u, v = v, u
    u[3] = 9.0
    return u, v, w


@exact
def a_jump_decides_after_a_loop_of_many_steps(x, c):
    n = 0
    while True:
        if n >= c[5]:
            break
        n += 1
        x = x * 2
    return n, x


@pytest.mark.parametrize("fn", EXACT, ids=[fn.__name__ for fn in EXACT])
def test_is_exact(fn: Program) -> None:
    compiled = jitnet.jit(fn)
    for c in CODES:
        assert_agree(outcome(compiled, (X, c)), outcome(fn, (X, c)))


@pytest.mark.parametrize("fn", REFUSED, ids=[fn.__name__ for fn in REFUSED])
def test_is_refused(fn: Program) -> None:
    for c in CODES:
        with pytest.raises((errors.MutationError, errors.UnboundVariableError)):
            jitnet.jit(fn)(X.copy(), c)


def test_the_write_is_named_that_reaches_the_caller_in_the_end() -> None:
    def program(x, y, c):
        if c[0] > 0:
            u, v = x * 2, y * 2
        else:
            u, v = x + 1, y + 1
        for i in range(len(c)):
            if c[i] > 0:
                t = x * c[i]
                u, v = t, t
        u[0] = 1.0
        return v

    with pytest.raises(errors.MutationError) as info:
        jitnet.jit(program)(X.copy(), X.copy(), CODES[0])
    assert "u[0] = 1.0" in str(info.value)


def test_the_first_error_wins() -> None:
    def raises(x, k):
        if k != 0 and x[0] > 0:
            raise KeyError("first")
        raise ValueError("second")

    def unbound(x, k):
        if k != 0 and x[0] > 0:
            raise KeyError("first")
        j += 1  # noqa: F821, F841
        return x

    def in_a_loop(x, k):
        while True:
            if k != 0 and x[0] > 0:
                raise KeyError("first")
            raise ValueError("second")

    for fn in (raises, unbound, in_a_loop):
        for k in (0, 1):
            assert_agree(outcome(jitnet.jit(fn), (X, k)), outcome(fn, (X, k)))


# -- arrays that data chooses, handed out ----------------------------------------------------------


def one_argument_or_the_other(a, b, c):
    return a if c > 0 else b


def by_an_early_return(a, b, c):
    if c > 0:
        return a
    return b


def written_to_before(a, b, c):
    x = a if c > 0 else b
    x[0] = 7.0
    return x


def an_argument_or_a_new_array(a, b, c):
    x = a if c > 0 else b * 2
    return x, a


def parts_of_arguments(a, b, c):
    return a[1:] if c > 0 else b[:-1]


def a_new_array_that_is_also_returned(a, b, c):
    y = b + 1
    x = y if c > 0 else a
    return x, y


def of_several_choices(a, b, c):
    x, y = (a, b) if c > 0 else (b, a)
    return x, y, (x if c > -5 else y)


def in_a_dict(a, b, c):
    found = {"x": a if c > 0 else b}
    return found["x"]


CHOOSING = [
    one_argument_or_the_other,
    by_an_early_return,
    written_to_before,
    an_argument_or_a_new_array,
    parts_of_arguments,
    a_new_array_that_is_also_returned,
    of_several_choices,
    in_a_dict,
]


@pytest.mark.parametrize("fn", CHOOSING)
def test_what_data_chooses_is_handed_out_as_itself(fn: Program) -> None:
    def sharing(results: Any, given: list[Any]) -> list[list[tuple[bool, bool]]]:
        arrays = list(results) if isinstance(results, tuple) else [results]
        others = [*given, *arrays]
        return [[(x is y, np.shares_memory(x, y)) for y in others] for x in arrays]

    compiled = jitnet.jit(fn)
    for c in (1.0, -1.0, -9.0):
        ours, theirs = [X.copy(), X * 2], [X.copy(), X * 2]
        got, expected = compiled(*ours, c), fn(*theirs, c)
        assert_agree(Outcome([got, ours]), Outcome([expected, theirs]))
        assert sharing(got, ours) == sharing(expected, theirs)


def test_a_chosen_argument_comes_as_itself_in_calls_that_come_often() -> None:
    compiled = jitnet.jit(one_argument_or_the_other)
    a, b = X.copy(), X * 2
    assert all(compiled(a, b, c) is (a if c > 0 else b) for c in [1.0, -1.0] * 60)


def test_a_chosen_argument_is_put_into_the_callers_list() -> None:
    def put(items: list[Any], a: Any, b: Any, c: Any) -> None:
        items[0] = a if c > 0 else b

    items, a, b = [X.copy()], X.copy(), X * 2
    jitnet.jit(put)(items, a, b, -1.0)
    assert items[0] is b


def test_an_element_of_one_of_two_arrays_is_read_without_copying_either() -> None:
    def walk(left: Any, right: Any, keys: Any) -> Any:
        node = 0
        for key in keys:
            link = left if key < 0 else right
            if link[node] < 9:
                link[node] += 1
            node = int(link[node]) % 4
        return node

    keys = np.where(np.arange(60) % 3 > 0, -1.0, 1.0)
    kernels = jitnet.jit(walk).lower(np.zeros(4000), np.zeros(4000), keys).stages["kernels"]
    loops = [line for line in kernels.splitlines() if " for " in line]
    assert len(loops) == 1
    assert "for 0, 60," in loops[0]
    assert "copy" not in kernels
    arguments = (np.zeros(4), np.zeros(4), keys)
    assert_agree(outcome(jitnet.jit(walk), arguments), outcome(walk, arguments))
