"""Derivatives of programs with halves: of the values' dtypes, near those of the same in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import jitnet
from jitnet import grad, hessian, jacfwd, jacrev, jvp, value_and_grad, vjp, vmap
from jitnet.testing import check_grads

DTYPES = [np.float16]
try:
    import ml_dtypes
except ImportError:
    pass
else:
    DTYPES.append(ml_dtypes.bfloat16)

PRECISION = {"float16": 2.0**-11, "bfloat16": 2.0**-8}

halves = pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: np.dtype(d).name)


def point(dtype: Any, *shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.5, 1.5, shape).astype(dtype)


def in_a_loop(x: Any) -> Any:
    s = x[0]
    for i in range(12):
        s = np.sin(s) * x[i % 6] + x[1]
    return s


def until_large(x: Any) -> Any:
    s = x[0]
    while s < 20:
        s = s * (1 + x[1])
    return s


def in_place(x: Any) -> Any:
    y = x * 1
    for i in range(1, 6):
        y[i] += y[i - 1] * x[i]
    return y.sum()


FUNCTIONS: list[Callable[[Any], Any]] = [
    lambda x: (np.sin(x) * x + np.exp(x)).sum(),
    lambda x: x.mean() + x.var() + x.std(),
    lambda x: x.max() * x.min() + x.prod(),
    lambda x: (np.cumsum(x) * np.cumprod(x)).sum(),
    lambda x: (np.sort(x) * np.arange(6).astype(x.dtype)).sum(),
    lambda x: (x[1:] * x[:-1]).sum() + x[2] ** 3,
    lambda x: np.tanh(np.outer(x, x) @ x / 8).sum(),
    lambda x: np.where(x > 1, np.log(x), x * x).sum() / np.linalg.norm(x),
    in_a_loop,
    until_large,
    in_place,
]


@halves
@pytest.mark.parametrize("fn", FUNCTIONS, ids=range(len(FUNCTIONS)))
def test_gradients(fn: Callable[[Any], Any], dtype: Any) -> None:
    x = point(dtype, 6)
    value, found = value_and_grad(fn)(x)
    exact_value, exact = value_and_grad(fn)(x.astype(np.float64))
    assert found.dtype == x.dtype
    precision = 24 * PRECISION[x.dtype.name]
    assert abs(float(value) - exact_value) <= precision * abs(exact_value)
    scale = np.abs(exact).max()
    assert np.abs(found.astype(np.float64) - exact).max() <= precision * scale


@halves
def test_modes_agree(dtype: Any) -> None:
    x, t = point(dtype, 5), point(dtype, 5, seed=1)
    f = lambda x: np.sin(x) * x  # noqa: E731
    y, dy = jvp(f, (x,), (t,))
    assert y.dtype == dy.dtype == x.dtype
    _, pull = vjp(f, x)
    (ct,) = (pull(t),) if not isinstance(pull(t), tuple) else pull(t)
    assert ct.dtype == x.dtype
    np.testing.assert_allclose(ct.astype(float), dy.astype(float), rtol=0.05)
    for of in (jacrev, jacfwd):
        jacobian = of(f)(x)
        assert jacobian.dtype == x.dtype
        np.testing.assert_allclose(
            jacobian.astype(float) @ t.astype(float), dy.astype(float), rtol=0.05
        )
    second = hessian(lambda x: (x**3).sum())(x)
    assert second.dtype == x.dtype
    np.testing.assert_allclose(np.diag(second).astype(float), 6 * x.astype(float), rtol=0.02)


@halves
def test_lanes(dtype: Any) -> None:
    xs = point(dtype, 4, 6)
    for fn in FUNCTIONS[1:3]:
        stacked = np.stack([grad(fn)(x) for x in xs])
        found = vmap(grad(fn))(xs)
        assert found.dtype == xs.dtype
        np.testing.assert_allclose(found.astype(float), stacked.astype(float), rtol=0.02, atol=0.02)


@halves
def test_mixed_precision(dtype: Any) -> None:
    """Weights in halves, sums in float32: each cotangent has its value's dtype."""

    def loss(weights: Any, x: Any) -> Any:
        h = np.tanh(x.astype(dtype) @ weights["first"]).astype(np.float32)
        return ((h * weights["second"]) ** 2).sum()

    weights = {"first": point(dtype, 5, 3), "second": point(np.float32, 3)}
    x = point(np.float32, 7, 5) - 1
    found = grad(loss)(weights, x)
    wide = {k: v.astype(np.float64) for k, v in weights.items()}
    exact = grad(lambda w, x: ((np.tanh(x @ w["first"]) * w["second"]) ** 2).sum())(wide, x)
    for name, ct in found.items():
        assert ct.dtype == weights[name].dtype
        error = np.abs(ct.astype(np.float64) - exact[name]).max()
        assert error <= 0.05 * np.abs(exact[name]).max()


@halves
def test_check_grads(dtype: Any) -> None:
    x = point(dtype, 6)
    check_grads(lambda x: np.sin(x) * x, (x,))
    check_grads(lambda x: (x @ x, np.exp(x).sum()), (x,))
    with pytest.raises(AssertionError):
        check_grads(wrong, (x,))


@jitnet.custom_vjp
def wrong(x: Any) -> Any:
    return x * x


wrong.defvjp(lambda x: (x * x, x), lambda x, ct: (ct * x * 5,))
