"""Iterators are gone over once: generator expressions, zip, enumerate, map, filter, and what is
left of them, on all paths of a program; and functions of Python's that C code calls."""

# ruff: noqa: RUF007, RUF058, C416, C417

from __future__ import annotations

import functools
import itertools
import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from agreement import agree

from jitnet import errors, jit

LONG = np.arange(40.0) - 5
SHORT = LONG[:6]

Program = Callable[..., Any]


def total(items):
    return sum(v for v in items)


def looped(items):
    s = 0.0
    for v in items:
        s += v
    return s


def summed_twice(x):
    g = (v * 2 for v in x)
    return sum(g), sum(g)


def filtered_twice(x):
    g = (v for v in x if v > 0)
    return sum(g), sum(g)


def by_a_helper(x):
    g = (v * 2 for v in x)
    return total(g), total(g), total(v for v in x)


def on_both_paths(x):
    g = (v * 2 for v in x)
    if x[0] > 0:
        return looped(g)
    return looped(g) + 1


def in_a_loop_and_made_in_front_of_it(x):
    g, s = (v for v in x), 0.0
    for _ in range(9):
        s += sum(g)
    return s


def in_a_loop_and_made_there(x):
    s = 0.0
    for i in range(9):
        g = (v * i for v in x)
        s += sum(g)
    return s


def next_and_the_rest(x):
    g = (v * 2 for v in x)
    first, second = next(g), next(g)
    return first, second, sum(g), next(g, -1.0)


def zipped(x):
    pairs = zip(x, x[1:])
    first = next(pairs)
    return first, max(b - a for a, b in pairs), list(pairs)


def zipped_under_a_generator(x):
    pairs = zip(x, x[1:])
    return sum(a * b for a, b in pairs), sum(a for a, _ in pairs)


def enumerated(x):
    found = []
    numbered = enumerate(x)
    for _, v in numbered:
        found.append(v)
    return len(found), list(numbered)


def into_a_dict(x):
    pairs = zip(x, range(len(x)))
    table = {i: a for a, i in pairs}
    return len(table), table[3], list(pairs)


def filtered_and_counted(x):
    f = filter(lambda v: v > 0, x)
    return sum(f), sum(1 for _ in f)


def mapped(x):
    m = map(lambda v: v * 2, x)
    return sum(m), sum(m), max(map(abs, x)), list(map(max, x[:-1], x[1:]))


def ranges_are_no_iterators(x):
    r = range(3)
    return sum(r), sum(r), [i for i in r] + [i for i in r], sum(x), sum(x)


def of_python_itself(x):
    return (
        *(list(map(float, x)), list(map(math.fabs, x)), list(map(operator.mul, x, x))),
        list(itertools.starmap(math.copysign, zip(x, x[::-1]))),
        *(list(itertools.accumulate(x, max)), list(itertools.accumulate(x, operator.add))),
        *(functools.reduce(max, x), functools.reduce(operator.mul, x, 1.0)),
    )


def the_first_that_fits(x):
    i = next((i for i, v in enumerate(x) if v > 2), -1)
    j = next((i for i in range(len(x)) if x[i] > 1e9), len(x))
    return i, j, next((v * 2 for v in x if v < -3), 0.5)


PROGRAMS = [f for f in list(globals().values()) if callable(f) and f.__module__ == __name__][2:]


@pytest.mark.parametrize("fn", PROGRAMS, ids=lambda fn: fn.__name__)
@pytest.mark.parametrize("x", [LONG, SHORT, -SHORT], ids=["long", "short", "other path"])
def test_iterators_agree_with_python(fn: Program, x: Any) -> None:
    agree(fn, (x,), widens=True)


@pytest.mark.parametrize("x", [LONG, SHORT])
def test_iterators_that_only_a_path_has_used_are_refused(x: Any) -> None:
    def f(x):
        g, s = (v * 2 for v in x), 0.0
        if x[1] > 0:
            s = sum(g)
        return s + sum(g)

    with pytest.raises(errors.ConcretizationError, match="iterator of which items"):
        jit(f)(x)


def test_what_is_left_after_a_break_is_refused_where_data_decides() -> None:
    def f(x):
        pairs = enumerate(x)
        for _, v in pairs:
            if v > 3:
                break
        return sum(v for _, v in pairs)

    with pytest.raises(errors.ConcretizationError, match="iterator of which items"):
        jit(f)(LONG)


def test_the_first_of_what_may_be_none() -> None:
    with pytest.raises(errors.UnsupportedFunctionError, match="default"):
        jit(lambda x: next(v for v in x if v > 0))(LONG)
    first = jit(lambda x: next((v for v in x if v > 0), None))
    assert first(np.array([-1.0, 2.0, 3.0])) == 2.0
    assert first(np.array([-1.0, -2.0, -3.0])) is None


def test_what_is_no_iterator_has_no_next() -> None:
    with pytest.raises(TypeError):
        jit(lambda x, n: next(range(n)))(LONG, np.int64(3))
