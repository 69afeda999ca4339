"""None, or something: what data decides on is asked for with `is None`, as in Python.

Each function runs as it is and compiled, with arguments that decide in different ways; errors are
compared too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import jitnet
from jitnet import errors


def least_of_some(x):
    best = None
    for v in x:
        if v > 0 and (best is None or v < best):
            best = v
    return -1.0 if best is None else best * 2


def greatest_and_its_index(x):
    best = None
    at = None
    for i in range(len(x)):
        if x[i] > 0.25 and (best is None or x[i] > best):
            best = x[i]
            at = i
    if best is None:
        return 0.0
    return best + at


def found_by_a_helper(x):
    def find(x, t):
        for i in range(len(x)):
            if x[i] > t:
                return i
        return None

    k = find(x, 0.5)
    if k is None:
        return -1.0
    return x[k] + k


def array_or_none(x):
    r = None
    if x[0] > 0.5:
        r = x * 2
    if r is not None:
        r[0] = 0
        return r.sum()
    return x.sum()


def masked_by_a_helper(x):
    def pos(x):
        p = x[x > 0.5]
        if len(p) == 0:
            return None
        return p

    p = pos(x)
    return 0.0 if p is None else p.mean()


def last_in_a_while(x):
    i = 0
    last = None
    while i < len(x):
        if x[i] > 0.3:
            if last is not None and x[i] < last:
                break
            last = x[i]
        i += 1
    return i, (last if last is not None else 0.0)


def used_where_it_may_be_nothing(x):
    r = None
    if x[0] > 0.5:
        r = x[1]
    return r + 1


def least_tuple(x):
    best = None
    for i in range(len(x)):
        c = (x[i] * 2, i)
        if x[i] > 0.2 and (best is None or c < best):
            best = c
    if best is None:
        return -1.0
    d, i = best
    return d + i


def previous_value(x):
    prev = None
    s = 0.0
    for v in x:
        if prev is not None:
            s += abs(v - prev)
        prev = v
    return s


def previous_of_some(x):
    prev = None
    s = 0.0
    for v in x:
        if v < 0.3:
            continue
        if prev is not None:
            s += abs(v - prev)
        prev = v
    return s


def sum_of_arrays(x):
    acc = None
    for i in range(10):
        if x[i % len(x)] > 0.3:
            acc = x.copy() if acc is None else acc + x
    return x.sum() if acc is None else acc.sum()


def items_of_a_list(x):
    slots = [None, None, None]
    for i in range(len(x)):
        if x[i] > 0.2:
            if slots[0] is None:
                slots[0] = x[i]
            elif slots[1] is None:
                slots[1] = x[i]
            else:
                slots[2] = x[i]
    return [0.0 if s is None else s for s in slots]


def returned(x):
    best = None
    for v in x:
        if v > 0.5 and (best is None or v < best):
            best = v
    return best


def alternative(x):
    r = None
    if x[0] > 0.2:
        r = x[1]
    return r or 5.0


def default_argument(x):
    def g(x, scale=None):
        if scale is None:
            scale = x.sum()
        return x * scale

    s = None
    if x[0] > 0.2:
        s = x[1]
    return g(x, s)


def last_above(x):
    best = None
    for i in range(len(x)):
        if x[i] > 0.5:
            best = i
    return best


def steps_to_it(x):
    k = last_above(x)
    if k is None:
        return 0.0, np.zeros(2)
    total = 0.0
    for i in range(k):
        total += x[i]
    return total, np.array([k, x[k]])


def compared_and_kept(x):
    k = last_above(x)
    return k == 1, k != None, [k, None], {"k": k}, x[:k]  # noqa: E711


def first_above(x):
    k = next((i for i, v in enumerate(x) if v > 0.5), None)
    return -1 if k is None else k


def pair_of_bounds(x):
    first = last = None
    for i, v in enumerate(x):
        if v > 0.25:
            if first is None:
                first = i
            last = i
    if first is None:
        return np.zeros(0)
    return x[first : last + 1]


INPUTS = [
    [0.1, 0.9, 0.3],
    [0.9, 0.1, 0.7],
    [0.3, 0.2, 0.1],
    [0.05, 0.1, 0.2],
    [0.6, 0.4, 0.3, 0.8, 0.2, 0.25],
]
FUNCTIONS = [
    steps_to_it,
    compared_and_kept,
    first_above,
    pair_of_bounds,
    least_of_some,
    greatest_and_its_index,
    found_by_a_helper,
    array_or_none,
    masked_by_a_helper,
    last_in_a_while,
    used_where_it_may_be_nothing,
    least_tuple,
    previous_value,
    previous_of_some,
    sum_of_arrays,
    items_of_a_list,
    returned,
    alternative,
    default_argument,
]


def _plain(x: Any) -> Any:
    if isinstance(x, (list, tuple)):
        return [_plain(item) for item in x]
    return x.tolist() if isinstance(x, (np.ndarray, np.generic)) else x


def _outcome(fn: Callable[..., Any], x: list[float]) -> Any:
    try:
        return _plain(fn(np.array(x)))
    except TypeError:
        return TypeError


@pytest.mark.parametrize("fn", FUNCTIONS, ids=lambda fn: fn.__name__)
def test_it_is_pythons(fn: Callable[..., Any]) -> None:
    compiled = jitnet.jit(fn)
    for x in INPUTS:
        expected = _outcome(fn, x)
        found = _outcome(compiled, x)
        assert found == (pytest.approx(expected) if type(expected) is float else expected)


def test_where_it_is_known_no_check_is_left() -> None:
    text = jitnet.jit(least_of_some).lower(np.array(INPUTS[0])).stages["optimized"]
    assert "check" not in str(text)


def test_what_is_asserted_is_known() -> None:
    @jitnet.jit
    def f(x):
        k = last_above(x)
        assert k is not None, "none is above"
        return x[k]

    assert f(np.array(INPUTS[0])) == 0.9
    with pytest.raises(AssertionError, match="none is above"):
        f(np.array(INPUTS[2]))


def test_a_derivative_takes_the_path_that_is_taken() -> None:
    gradient = jitnet.grad(least_of_some)
    assert gradient(np.array(INPUTS[0])).tolist() == [2.0, 0.0, 0.0]
    assert gradient(np.array(INPUTS[4])).tolist() == [0.0, 0.0, 0.0, 0.0, 2.0, 0.0]


def test_a_transformed_function_returns_one_thing() -> None:
    with pytest.raises(errors.ReturnError, match="one of several things"):
        jitnet.grad(returned)(np.array(INPUTS[0]))
