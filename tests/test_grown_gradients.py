"""Gradients of functions whose lists grow: their items are read in any order, and often."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import jitnet


def in_order(x, n):
    log = []
    for i in range(n):
        x = np.sin(x) + 0.1 * i
        log.append(x)
    return (np.array(log) * np.cos(np.arange(n))).sum()


def read_twice_and_backwards(x, n):
    log = []
    for i in range(n):
        log.append(x * i)
        log.append(np.exp(-x) * i)
    total = 0.0
    for i in range(len(log)):
        total += log[i] * log[len(log) - 1 - i]
    return total


def read_as_it_grows(x, n):
    log = [x]
    for _ in range(n):
        log.append(np.sin(log[-1]) * log[0])
    return log[-1] + log[n // 2]


def first_item_is_constant(x, n):
    log = [0.0]
    while len(log) < n:
        log.append(log[-1] + x * x)
    return (np.array(log) ** 2).sum()


def some_items_are_constant(x, n):
    log = []
    for i in range(n):
        if i % 2:
            log.append(x * i)
        else:
            log.append(1.0)
    return (np.array(log) ** 2).sum()


def rows(x, n):
    log = []
    v = np.array([x, 1.0, 2.0])
    for _ in range(n):
        v = np.sin(v) + x
        log.append(v)
    return (np.stack(log) ** 2).sum() + log[2][1]


def partly_read(x, n):
    log = []
    for i in range(n):
        log.append(x ** (i + 1))
    return log[1] * log[1]


def nobody_reads(x, n):
    log = []
    for _ in range(n):
        x = x * 0.9
        log.append(x)
    return x


FUNCTIONS = [
    in_order,
    read_twice_and_backwards,
    read_as_it_grows,
    first_item_is_constant,
    some_items_are_constant,
    rows,
    partly_read,
    nobody_reads,
]


def difference(f: Callable[[float], float], x: float, h: float = 1e-4) -> float:
    return (8 * (f(x + h) - f(x - h)) - (f(x + 2 * h) - f(x - 2 * h))) / (12 * h)


@pytest.mark.parametrize("f", FUNCTIONS, ids=lambda f: f.__name__)
def test_gradients(f: Any) -> None:
    x, n = 0.7, 7
    slope = jitnet.grad(f)
    assert slope(x, n) == pytest.approx(difference(lambda t: f(t, n), x), rel=1e-9)
    _, along = jitnet.jvp(lambda t: f(t, n), (x,), (1.0,))
    assert slope(x, n) == pytest.approx(along, rel=1e-12)


@pytest.mark.parametrize("f", FUNCTIONS, ids=lambda f: f.__name__)
def test_second_derivatives(f: Any) -> None:
    x, n = 0.7, 6
    slope = jitnet.grad(f)
    expected = pytest.approx(difference(lambda t: slope(t, n), x), rel=1e-8, abs=1e-9)
    assert jitnet.grad(jitnet.grad(f))(x, n) == expected
    assert jitnet.jvp(lambda t: jitnet.grad(f)(t, n), (x,), (1.0,))[1] == expected


def test_a_grown_list_is_a_list() -> None:
    """Helpers that ask for the class of what they get are told what Python tells."""

    def total(tree):
        if isinstance(tree, (list, tuple)):
            return sum([total(part) for part in tree])
        return tree * 1.0

    def f(x, n):
        log = []
        for i in range(n):
            log.append(x + i)
        return total(log), type(log) is list

    assert jitnet.jit(f)(1.5, 7) == f(1.5, 7)
