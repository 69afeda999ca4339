"""Reductions and updates of what a mask keeps: over all elements, in one kernel, with no copy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from oracle import check

import jitnet

X = np.random.default_rng(0).normal(size=1000)
Y = np.random.default_rng(1).normal(size=1000)
M = np.random.default_rng(2).normal(size=(40, 5))


def _mean(x: Any) -> Any:
    return x[x > 0].mean()


def _sums(x: Any, y: Any) -> Any:
    kept = (x > 0) & (y < 1)
    return (x[kept] * y[kept]).sum(), np.sqrt(x[kept]).max(), y[kept].min(), x[kept].size


def _spread(x: Any) -> Any:
    return x[x > -1].std(), np.any(x[x > 0] > 3), np.all(x[x > 0] > 0), x[x > 2].prod()


def _rows(m: Any) -> Any:
    return m[m[:, 0] > 0].sum(axis=0), m[m[:, 0] > 0].max()


def _in_a_loop(x: Any) -> Any:
    total = 0.0
    for k in range(10):
        total += x[x > k * 0.1].sum()
    return total


def _scaled(x: Any) -> Any:
    x[x > 0] *= 2
    x[x < -1] = np.sqrt(-x[x < -1])
    return x


def _kept_too(x: Any) -> Any:
    kept = x[x > 0]
    return kept.sum(), kept


@pytest.mark.parametrize(
    ("fn", "args"),
    [
        (_mean, (X,)),
        (_sums, (X, Y)),
        (_spread, (X,)),
        (_rows, (M,)),
        (_in_a_loop, (X,)),
        (_kept_too, (X,)),
        (lambda x: x[x > 100].sum(), (X,)),
        (lambda x: x[x == 0].sum(), (np.zeros(0),)),
        (lambda x: x[x > 0].sum(), (np.array([1.0, np.nan, -np.inf, np.inf]),)),
        (lambda x: (x[x > 3].max(), x[x > 3].sum()), (np.arange(9),)),
    ],
)
def test_as_numpy(fn: Callable[..., Any], args: tuple[Any, ...]) -> None:
    check(fn, *args, rtol=1e-13)


def test_updates_as_numpy() -> None:
    plain, traced = X.copy(), X.copy()
    assert np.array_equal(jitnet.jit(_scaled)(traced), _scaled(plain))
    assert np.array_equal(plain, traced)


def test_one_kernel_and_no_array() -> None:
    cost = jitnet.jit(_mean).lower(X).cost()
    assert cost["kernels"] == 1
    assert cost["peak_bytes"] == 0


def test_kept_elements_are_not_gathered() -> None:
    for fn, args in ((_mean, (X,)), (_sums, (X, Y)), (_spread, (X,)), (_in_a_loop, (X,))):
        assert "compress" not in jitnet.jit(fn).lower(*args).stages["optimized"]


def test_updates_are_choices() -> None:
    text = jitnet.jit(_scaled).lower(X.copy()).stages["optimized"]
    assert "compress" not in text
    assert "scatter" not in text


def test_what_is_read_otherwise_is_gathered() -> None:
    assert "compress" in jitnet.jit(_kept_too).lower(X).stages["optimized"]
