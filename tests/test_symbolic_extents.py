"""Extents and ints that come with many values: after three, one program for all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from oracle import compare

import jitnet


def _compiled(fn: Callable[..., Any], sizes: Any, make: Callable[[int], Any]) -> Any:
    """How many programs calls of these sizes need; all answers are NumPy's."""
    f = jitnet.jit(fn)
    for n in sizes:
        plain, traced = make(n), make(n)
        compare(f(*traced), fn(*plain), rtol=1e-12)
        compare(list(traced), list(plain), rtol=1e-12)
    return f.cache_info().misses


def _norm(x: Any) -> Any:
    return np.sqrt((x * x).sum()) + x[-1]


def _smooth(x: Any, steps: Any) -> Any:
    y = np.zeros(len(x))
    for _ in range(steps):
        y[1:-1] = (x[:-2] + x[2:]) / 2
        x[1:-1] = y[1:-1]
    return y


def _affine(x: Any, w: Any, b: Any) -> Any:
    return np.maximum(x @ w + b, 0).mean(axis=0)


def _table(n: int) -> Any:
    return np.arange(n) * 2.0, np.ones((n, 2)).sum()


def _vector(n: int) -> tuple[Any, ...]:
    return (np.linspace(0, 1, n),)


def test_one_program_for_all_extents() -> None:
    assert _compiled(_norm, range(2, 40), _vector) == 4


def test_extents_of_none_and_one_have_programs_of_their_own() -> None:
    assert _compiled(_norm, [5, 6, 7, 8, 1, 9, 1, 10], _vector) == 5


def test_loops_and_updates() -> None:
    def make(n: int) -> tuple[Any, ...]:
        return np.random.default_rng(n).normal(size=n), 3

    assert _compiled(_smooth, range(3, 30), make) == 4


def test_rows_vary_and_columns_do_not() -> None:
    def make(n: int) -> tuple[Any, ...]:
        rng = np.random.default_rng(n)
        return rng.normal(size=(n, 4)), rng.normal(size=(4, 3)), rng.normal(size=3)

    assert _compiled(_affine, range(2, 20), make) == 4


def test_products_of_any_number_of_empty_rows() -> None:
    def products(x: Any) -> Any:
        return x.T @ x, x @ x.T, x @ np.ones(x.shape[1]), np.einsum("ij,kj->ik", x, x)

    assert _compiled(products, (2, 3, 4, 5, 6, 7), lambda n: [np.ones((n, 0))]) == 4


def test_arrays_of_fortran_order_and_slices() -> None:
    for order in ("F", "strided"):

        def make(n: int, order: str = order) -> tuple[Any, ...]:
            x = np.random.default_rng(n).normal(size=(n, 6))
            return (np.asfortranarray(x) if order == "F" else x[:, ::2],)

        assert _compiled(lambda x: (x * 2).sum(axis=0), range(2, 12), make) == 4


def test_ints_that_shape_arrays() -> None:
    assert _compiled(_table, range(2, 20), lambda n: (n,)) <= 5


def test_what_needs_its_extent_is_compiled_for_each() -> None:
    def halves(x: Any) -> Any:
        table = [np.ones((k + 1,) * (1 + k % 2)) for k in range(9)]
        return x.sum() + sum(table[i].sum() for i in range(len(x)))

    assert _compiled(halves, range(2, 9), _vector) >= 6


def test_extents_that_do_not_match_raise_as_in_numpy() -> None:
    f = jitnet.jit(lambda x, y: x + y)
    for n in range(2, 8):
        f(np.ones(n), np.ones(n))
    with pytest.raises(ValueError, match="broadcast"):
        f(np.ones(3), np.ones(4))
    assert f(np.ones(3), np.ones(1)).shape == (3,)


def test_gradients() -> None:
    gradient = jitnet.grad(lambda x: (np.tanh(x) ** 2).sum())
    for n in range(2, 9):
        x = np.linspace(-1, 1, n)
        expected = 2 * np.tanh(x) * (1 - np.tanh(x) ** 2)
        np.testing.assert_allclose(gradient(x), expected, rtol=1e-12)
    assert gradient.cache_info().misses == 4
