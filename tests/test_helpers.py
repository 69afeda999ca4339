"""Helpers that are called many times: traced once for a kind of arguments, with plain Python's
results, changes and errors.

Each program runs as it is and compiled; `calls_in` says how often what was traced for one call
served for another.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from agreement import assert_agree, outcome

import jitnet
from jitnet.frontend.flow.helpers import ENOUGH

MANY = tuple(range(ENOUGH + 4))  # a tuple is gone through step by step
SCALE = np.array([0.5, 2.0, -1.0])
LOG: list[Any] = []


def calls_in(fn: Callable[..., Any], *args: Any) -> int:
    return len(re.findall(r" = call ", str(jitnet.trace(fn)(*args))))


def agrees(fn: Callable[..., Any], *args: Any) -> None:
    """The compiled function does what the plain one does, on two calls of fresh arguments."""
    compiled = jitnet.jit(fn)
    for _ in range(2):
        plain = [x.copy() if isinstance(x, np.ndarray) else x for x in args]
        traced = [x.copy() if isinstance(x, np.ndarray) else x for x in args]
        assert_agree(outcome(compiled, traced), outcome(fn, plain))


# -- what is shared --------------------------------------------------------------------------------


def cell(h: Any, x: Any, scale: float = 1.0) -> Any:
    if scale > 0.5:
        return np.maximum(h * 0.5 + x, -0.75) * scale
    return h - x


def test_layers_are_traced_once() -> None:
    def f(x: Any) -> Any:
        h = x
        for _ in MANY:
            h = cell(h, x)
        return h

    x = np.linspace(-1, 1, 5)
    assert calls_in(f, x) == len(MANY) - ENOUGH
    agrees(f, x)


def test_known_arguments_make_kinds_of_their_own() -> None:
    def f(x: Any) -> Any:
        h = x
        for k in MANY:
            h = cell(h, x, 0.25 if k % 2 else 1.5)
        return h

    agrees(f, np.linspace(-1, 1, 5))
    text = str(jitnet.trace(f)(np.ones(5)))
    assert " = call " in text
    assert "sub" in text


def test_kinds_of_numbers_stay_apart() -> None:
    def f(x: Any, n: int, s: float) -> Any:
        out = []
        for _ in MANY:
            out += [cell(x, n), cell(x, s), cell(s, n), cell(n, n), cell(x[0], n), cell(x, x[1])]
        return out

    agrees(f, np.linspace(-1, 1, 5).astype(np.float32), 3, 0.25)


def tree_sum(tree: Any, x: Any) -> Any:
    if isinstance(tree, tuple):
        left, right = (tree_sum(part, x) for part in tree)
        return left * 0.5 + np.sqrt(abs(right))
    return x[tree] + 1.0


def test_recursion_over_trees() -> None:
    leaf_pair = (0, 1)
    deep = ((leaf_pair, leaf_pair), (leaf_pair, (2, 3)))

    def f(x: Any) -> Any:
        return tree_sum(((deep, deep), (deep, deep)), x)

    x = np.linspace(-1, 1, 20).reshape(4, 5)
    agrees(f, x)
    assert calls_in(f, x) > 0


def halves(x: Any) -> Any:
    n = x.shape[0]
    if n == 1:
        return x * 1.0
    even, odd = halves(x[::2]), halves(x[1::2])
    return np.concatenate([even + odd, even - odd])


def test_recursion_is_traced_once_for_each_size() -> None:
    x = np.arange(64.0)
    text = str(jitnet.trace(halves)(x))
    assert " = call " in text
    agrees(halves, x)


# -- what is not -----------------------------------------------------------------------------------


def add_to(x: Any, v: Any) -> None:
    x += v


def test_helpers_that_change_an_argument() -> None:
    def f(x: Any) -> Any:
        y = x * 2.0
        for k in MANY:
            add_to(y, x)
            add_to(x[1:], 0.5 * k)
        return y

    agrees(f, np.linspace(-1, 1, 5))


def same(x: Any) -> Any:
    return x


def tail(x: Any) -> Any:
    return x[1:]


def pair(x: Any) -> Any:
    y = x * 2.0
    return y, y[1:]


@pytest.mark.parametrize("helper", [same, tail, pair])
def test_what_helpers_return_shares_memory_as_it_did(helper: Callable[..., Any]) -> None:
    def f(x: Any) -> Any:
        made = []
        for _ in MANY:
            got = helper(x)
            first, second = got if isinstance(got, tuple) else (got, got)
            second += 1.0
            made.append(first.sum() + second.sum())
        return made

    agrees(f, np.linspace(-1, 1, 5))


def scaled(x: Any) -> Any:
    return x * SCALE


def test_arrays_from_outside_that_change_between_calls() -> None:
    def f(x: Any) -> Any:
        total = x * 0.0
        for _ in MANY:
            total += scaled(x)
            SCALE[0] += 1.0
        return total

    before = SCALE.copy()
    compiled = jitnet.jit(f)
    x = np.linspace(-1, 1, 3)
    expected = f(x)
    after = SCALE.copy()
    SCALE[:] = before
    got = compiled(x)
    assert np.array_equal(got, expected)
    assert np.array_equal(SCALE, after)
    SCALE[:] = before


def test_arrays_from_outside_are_inputs() -> None:
    def f(x: Any) -> Any:
        total = x * 0.0
        for _ in MANY:
            total = total + scaled(x)
        return total

    x = np.linspace(-1, 1, 3)
    assert calls_in(f, x) == len(MANY) - ENOUGH
    compiled = jitnet.jit(f)
    assert np.array_equal(compiled(x), f(x))
    SCALE[1] += 1.0
    assert np.array_equal(compiled(x), f(x))
    SCALE[1] -= 1.0


def noted(x: Any) -> Any:
    LOG.append(1)
    return x + len(LOG)


def test_helpers_that_reach_containers_are_run_each_time() -> None:
    def f(x: Any) -> Any:
        LOG.clear()
        for _ in MANY:
            x = noted(x)
        return x

    x = np.ones(3)
    assert " = call " not in str(jitnet.trace(f)(x))
    agrees(f, x)


def put(d: dict[str, Any], x: Any) -> Any:
    d["n"] = d["n"] + 1
    return x * d["n"]


def test_helpers_that_change_a_container() -> None:
    def f(x: Any) -> Any:
        d = {"n": 0}
        for _ in MANY:
            x = put(d, x)
        return x, d["n"]

    agrees(f, np.ones(3))


# -- errors ----------------------------------------------------------------------------------------


def element(x: Any, i: Any) -> Any:
    return x[i] * 2.0


def test_errors_name_the_line_of_the_helper_and_of_its_caller() -> None:
    def f(x: Any, i: Any) -> Any:
        total = 0.0
        for k in MANY:
            total += element(x, i[k])
        return total

    i = np.zeros(len(MANY), np.int64)
    compiled = jitnet.jit(f)
    x = np.arange(4.0)
    assert compiled(x, i) == f(x, i)
    for bad in (0, len(MANY) - 1):
        wrong = i.copy()
        wrong[bad] = 7
        with pytest.raises(IndexError, match="index 7 is out of bounds") as error:
            compiled(x, wrong)
        assert "return x[i] * 2.0" in str(error.value)


def test_helpers_that_are_refused_say_why_at_their_line() -> None:
    def f(x: Any) -> Any:
        for k in MANY:
            x = cell(x, x) if k < ENOUGH + 1 else cell(x, np.array(["a"]))
        return x

    with pytest.raises(jitnet.errors.JitnetError):
        jitnet.jit(f)(np.ones(3))


def test_gradients_through_many_calls() -> None:
    def f(x: Any) -> Any:
        h = x
        for _ in MANY:
            h = cell(h, x)
        return h.sum()

    x = np.linspace(-1, 1, 5)
    found = jitnet.grad(f)(x)
    step = 1e-6
    for k in range(5):
        d = np.zeros(5)
        d[k] = step
        assert abs((f(x + d) - f(x - d)) / (2 * step) - found[k]) < 1e-7


def factorial(n: Any) -> Any:
    return 1 if n <= 1 else n * factorial(n - 1)


def ackermann(m: Any, n: Any) -> Any:
    if m == 0:
        return n + 1
    if n == 0:
        return ackermann(m - 1, 1)
    return ackermann(m - 1, ackermann(m, n - 1))


def is_even(n: Any) -> Any:
    return True if n == 0 else is_odd(n - 1)


def is_odd(n: Any) -> Any:
    return False if n == 0 else is_even(n - 1)


def doubled(x: Any, depth: Any) -> Any:
    if depth == 0:
        return x.sum()
    return doubled(x * 2, depth - 1) + doubled(x + 1, depth - 1)


def test_recursion_that_int_arguments_end() -> None:
    for n in (0, 5, 25):  # the last one is a Python int of more than 64 bits
        agrees(factorial, n)
    agrees(ackermann, 2, 3)
    agrees(is_even, 7)
    agrees(doubled, SCALE, 4)
    assert jitnet.grad(doubled)(SCALE, 3).tolist() == [27, 27, 27]
    compiled = jitnet.jit(factorial)
    assert [compiled(n) for n in range(12)] == [factorial(n) for n in range(12)]
