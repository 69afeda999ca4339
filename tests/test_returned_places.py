"""Arrays that loops bring from one variable to another are returned as the caller's own, or not, as
in Python: which argument each result is, and which results are one array.

The loops make a number of steps that data decides, none among them, and are called with many.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from jitnet import grad, jit

Program = Callable[..., Any]
PROGRAMS: list[Program] = []


def program(fn: Program) -> Program:
    PROGRAMS.append(fn)
    return fn


@program
def exchanged(a, b, n):
    i = 0
    while i < n:
        a, b = b, a
        i += 1
    return a


@program
def exchanged_both(a, b, n):
    i = 0
    while i < n:
        a, b = b, a
        i += 1
    return a, b


@program
def exchanged_in_a_list(a, b, n):
    state, i = [a, b], 0
    while i < n:
        state = [state[1], state[0]]
        i += 1
    return state[0]


@program
def exchanged_without_end(a, b, n):
    i = 0
    while True:
        if i >= n:
            break
        a, b = b, a
        i += 1
    return a


@program
def exchanged_in_loops_within_loops(a, b, n):
    i = 0
    while i < n:
        j = 0
        while j < i:
            a, b = b, a
            j += 1
        i += 1
    return a, b


@program
def turned_around(a, b, n):
    c, i = a * 2, 0
    while i < n:
        a, b, c = b, c, a
        i += 1
    return a, b, c


@program
def new_in_each_step(a, b, n):
    while a.sum() < n:
        a = a * 2.0 + 1.0
    return a


@program
def new_in_each_step_of_a_range(a, b, n):
    for _ in range(n):
        a = a * 2.0
    return a


@program
def exchanged_for_new_ones(a, b, n):
    i = 0
    while i < n:
        a, b = b, a + 1
        i += 1
    return a, b


@program
def one_behind(a, b, n):
    u, v, i = a, a, 0
    while i < n:
        u, v = v * 2, u
        i += 1
    return u, v


@program
def the_best_so_far(a, b, n):
    best, i = a, 0
    while i < n:
        trial = best * 2
        if trial.sum() < 50:
            best = trial
        i += 1
    return best


@program
def the_best_of_a_range(a, b, n):
    best = a
    for i in range(9):
        if i == n:
            best = b
    return best


@program
def left_early(a, b, n):
    best = a
    for i in range(9):
        if i > n:
            best = b
            break
    return best


@program
def returned_from_a_loop(a, b, n):
    for i in range(9):
        if a[0] + i > n:
            return b
        a, b = b, a
    return a


@program
def bound_in_the_loop(a, b, n):
    i = 0
    while True:
        c = a if i % 2 else b
        i += 1
        if i > n:
            break
    return c


@program
def a_view_of_an_argument(a, b, n):
    u, v, i = a[1:], b[:-1], 0
    while i < n:
        u, v = v, u
        i += 1
    return u, v


@program
def written_to_afterwards(a, b, n):
    i = 0
    while i < n:
        a, b = b, a
        i += 1
    a[0] = 7.0
    return a, b


@program
def read_after_the_other_was_written_to(a, b, n):
    u, i = a, 0
    while i < n:
        u = u * 2
        i += 1
    a[0] = 50.0
    return u, u[0] + a[0]


@program
def known_by_another_name(a, b, n):
    c = a + b
    d, i = c, 0
    while i < n:
        d = d + 1
        i += 1
    d[1] = 9.0
    return c, d


@program
def or_a_number(a, b, n):
    if n > 3:
        return 5
    if b[1] > n:
        return b
    return a


@program
def exchanged_or_a_number(a, b, n):
    if n > 3:
        return None
    i = 0
    while i < n:
        a, b = b, a
        i += 1
    return b


@program
def from_a_loop_or_written_to(a, b, n):
    if n > 3:
        pass
    else:
        for i in range(n):
            if a[1] > n - 2:
                return i, b
            return i, a
        return n, b
    b[0] = n
    return 5


def seen(fn: Program, n: int) -> Any:
    """The results; which of the arguments each one is, or a view of; which of them are one."""
    arguments = np.arange(3.0), np.arange(3.0) + 10
    out = fn(*arguments, n)
    results = out if isinstance(out, tuple) else (out,)
    arrays = [r for r in results if isinstance(r, np.ndarray)]
    are = [[(r is a, np.shares_memory(r, a)) for a in arguments] for r in arrays]
    ones = [[(r is s, np.shares_memory(r, s)) for s in arrays] for r in arrays]
    return [np.array(r).tolist() for r in (*results, *arguments)], are, ones


@pytest.mark.parametrize("fn", PROGRAMS, ids=lambda fn: fn.__name__)
def test_results_are_the_arrays_that_python_returns(fn: Program) -> None:
    f = jit(fn)
    for n in (0, 1, 2, 3, 4, 10):
        assert seen(f, n) == seen(fn, n), n


def test_derivatives_carry_no_places() -> None:
    def f(x: Any, y: Any) -> Any:
        while x.sum() > 1.0:
            x, y = y, x * 0.5
        return (x * y).sum()

    x, y = np.ones(3), np.full(3, 0.8)
    step = 1e-6 * np.eye(3)
    by_hand = [(f(x + s, y) - f(x - s, y)) / 2e-6 for s in step]
    np.testing.assert_allclose(jit(grad(f))(x, y), by_hand, rtol=1e-6)
    traced = str(jit(grad(f)).lower(x, y).stages["optimized"])
    assert "_at" not in traced
