"""Functions that return one thing on one path and another thing on the other, lists that grow by
numbers of several kinds, and short loops: each call gives what Python gives.

    @case((2.0,), (-1.0,))
    def f(s): ...              run as it is and compiled, with each of these arguments
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from agreement import agree

import jitnet
from jitnet import errors

X = np.array([-4.0, -3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 4.0])
SIGNS = ((X, 1.5), (X, -0.5), (X, -7.0))

Case = tuple[Callable[..., Any], tuple[tuple[Any, ...], ...], bool]
CASES: list[Case] = []


def case(*calls: tuple[Any, ...], widens: bool = False) -> Callable[[Any], Any]:
    """A function to be called with each of these tuples of arguments."""

    def noted(fn: Callable[..., Any]) -> Callable[..., Any]:
        CASES.append((fn, calls, widens))
        return fn

    return noted


@dataclass
class Box:
    held: Any
    count: int = 0


# -- results ---------------------------------------------------------------------------------------


@case(*SIGNS)
def nothing_or_an_array(x, c):
    if c > 0:
        return None
    return x * 2


@case(*SIGNS)
def nothing_where_the_function_ends(x, c):
    if c > 0:
        return x


@case(*SIGNS)
def an_expression_of_two_arms(x, c):
    return x if c > 0 else None


@case(*SIGNS)
def an_expression_of_three_arms(x, c):
    return "high" if c > 0 else x.sum() if c > -1 else (x, None)


@case(*SIGNS)
def arrays_of_several_ranks(x, c):
    if c > 0:
        return x
    if c > -2:
        return x[:, None]
    return x[1:].sum()


@case(*SIGNS)
def as_many_as_data_says_or_nothing(x, c):
    if c > 0:
        return x[x > 0]
    if c > -2:
        return x[x > 1], 1
    return None


@case(*SIGNS)
def a_list_or_an_object_that_were_changed(x, c):
    items, box = [1, x], Box(x, 3)
    if c > 0:
        items[0] = c
        return c, items
    if c < -1:
        box.count = 7
        return 2, box
    return "none", None


@case(*SIGNS)
def where_a_search_ends(x, c):
    for i in range(len(x)):
        if x[i] > c:
            return i, x[:i]
    return None


@case(*SIGNS)
def where_a_while_ends(x, c):
    while c < 10:
        if x[0] > c + 5:
            return None
        c += 1
    return x + c


@pytest.mark.parametrize(("c", "result"), [(1.0, "x"), (0.0, "view"), (-1.0, "copy")])
def test_arrays_of_the_callers_come_back_as_themselves(c: float, result: str) -> None:
    @jitnet.jit
    def f(x, c):
        if c > 0:
            return x
        if c == 0:
            return x[1:]
        return x[x > 0]

    x = X.copy()
    found = f(x, c)
    assert (found is x) == (result == "x")
    assert np.shares_memory(found, x) == (result != "copy")


def test_a_derivative_of_one_thing_or_another_is_refused() -> None:
    with pytest.raises(errors.ReturnError):
        jitnet.grad(lambda x: nothing_or_an_array(x, x[0]))(X)


# -- lists that grow -------------------------------------------------------------------------------


@case((X,), (-X,), widens=True)
def a_number_of_another_kind_at_the_end(x):
    log = []
    for i in range(len(x)):
        if x[i] > 0:
            log.append(i)
    log.append(x[0] * 2)
    return log, sum(log)


@case((X,), (-X,), widens=True)
def a_number_of_another_kind_in_a_loop_of_its_own(x):
    log = [1, 2]
    for i in range(len(x)):
        if x[i] > 0:
            log.append(i)
    for i in range(len(x)):
        if x[i] < 0:
            low = x[i]
            if low < -1:
                log.append(low)
    return log


# -- short loops -----------------------------------------------------------------------------------


@case((X[4:8], X[3:7]), (X[:4], X[4:8]), (X[4:8] * 0, X[3:7]))
def an_item_that_is_read_where_a_loop_goes_on(u, x):
    log = []
    for i, t in enumerate(x):
        if u[i] > 1:
            return i, t, log
        elif t > -2:
            log.append(t)
    return -1, t, log


@case((X[4:8], X[3:7]), (X[:4], X[4:8]), (X[4:8] * 0, X[3:7]))
def a_variable_that_later_steps_bind(u, x):
    for i in range(2):
        if u[i] > 1:
            return i, x
        x = u * 2
    return 5, x


@case((X,), (X * 0,), (-X,))
def a_loop_over_a_list_that_data_ends(x):
    scales, y = [1, 2, 3], x
    n = 0
    while n < len(scales):
        if x[n] > 2.0:
            return n, y
        y = y * 2 + scales[n]
        n += 1
    return n, y


@case((X,), (-X,))
def a_list_that_grows_in_branches_of_branches(x):
    log = []
    for i in range(6):
        if x[i] > -3:
            item = x[i]
            if item < 3:
                following = x[i + 1]
                if i != 3:
                    log.append(item)
                    if following > 0:
                        log.append(item * 2)
                        break
    return log


@pytest.mark.parametrize(("fn", "calls", "widens"), CASES, ids=[c[0].__name__ for c in CASES])
def test_agrees_with_python(
    fn: Callable[..., Any], calls: tuple[tuple[Any, ...], ...], widens: bool
) -> None:
    agree(fn, *calls, widens=widens)


def nest(x):
    s = 0.0
    for a in range(4):
        for b in range(4):
            for c in range(4):
                for d in range(4):
                    for e in range(4):
                        for f in range(4):
                            s += x[a] * x[b] - x[c] * x[d] + x[e] / x[f]
                            if s > 100.0:
                                x[a] -= 1.0
    return s


def test_a_deep_nest_of_short_loops_is_not_written_out() -> None:
    started = time.process_time()
    agree(nest, (np.array([1.0, 2.0, 3.0, 4.0]),))
    assert time.process_time() - started < 10


# -- arrays that a loop exchanges ------------------------------------------------------------------


@pytest.mark.parametrize("steps", range(7))
def test_arrays_that_were_exchanged_come_back_as_themselves(steps: int) -> None:
    def f(a, b, c, n, m):
        for _ in range(n):
            a, b, c = b, c, a
        a[0] = m
        return b, b.sum()

    ours, plain = ([X[i : i + 3].copy() for i in range(3)] for _ in range(2))
    (b, total), (expected, right) = jitnet.jit(f)(*ours, steps, 9.0), f(*plain, steps, 9.0)
    assert [b is x for x in ours] == [expected is x for x in plain]
    assert total == right
    np.testing.assert_array_equal(ours, plain)
