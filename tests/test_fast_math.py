"""`jit(fn, fast_math=True)`: what it relaxes, and what it does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from cupy_stand_in import cupy_standing_in
from devices import DEVICE
from simulated import assert_same, needs_compiler

import jitnet
from jitnet import jit
from jitnet.runtime.engine import host_target

RNG = np.random.default_rng(0)


def norms(x, y):
    return (x * y + x / 3.0) * np.exp(-y * y), (x - y).sum(axis=1), np.tanh(x) / y


def test_arithmetic_may_be_reordered() -> None:
    x, y = RNG.standard_normal((2, 40, 50))
    exact = jit(norms).lower(x, y).stages["llvm"]
    assert "reassoc" not in exact
    fast = jit(norms, fast_math=True).lower(x, y).stages["llvm"]
    assert "fadd reassoc nsz arcp contract afn" in fast
    assert "nnan" not in fast
    assert "ninf" not in fast


def test_products_are_contracted() -> None:
    def f(x, y, z):
        return x * y + z

    x = RNG.standard_normal(64)
    assert "vfmadd" not in jit(f).lower(x, x, x).stages["asm"]
    if "+fma" in host_target().features.split(","):
        assert "vfmadd" in jit(f, fast_math=True).lower(x, x, x).stages["asm"]


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_results_are_close(dtype: str) -> None:
    x, y = RNG.standard_normal((2, 40, 51)).astype(dtype)
    for got, want in zip(jit(norms, fast_math=True)(x, y), norms(x, y)):
        assert got.dtype == want.dtype
        np.testing.assert_allclose(got, want, rtol=1e3 * np.finfo(dtype).eps, atol=1e-4)


def test_elementary_functions_stay_exact() -> None:
    """Their polynomials are exact on purpose: reordered, they would be wrong."""
    x = np.concatenate([np.linspace(-700, 700, 3001), RNG.standard_normal(1000)])
    for f in (np.exp, np.log, np.sin, np.tanh, np.log1p, np.cbrt, np.arctan):
        fast: Callable[..., Any] = jit(lambda x, f=f: f(x), fast_math=True)
        with np.errstate(all="ignore"):
            assert_same(fast(x), jit(lambda x, f=f: f(x))(x))


def test_nan_and_inf_are_what_they_were() -> None:
    def f(x):
        return np.where(np.isnan(x), 0.0, x) + 1, np.isinf(x * 2), x - x, np.maximum(x, 0)

    x = np.array([1.0, np.nan, np.inf, -np.inf, 0.0] * 9)
    with np.errstate(all="ignore"):
        for got, want in zip(jit(f, fast_math=True)(x), f(x)):
            assert_same(got, want)


def test_integers_are_not_touched() -> None:
    def f(n):
        return n * n // 7 + (n - 3) * 5 - n % 4

    n = np.arange(-50, 50)
    assert_same(jit(f, fast_math=True)(n), f(n))


def test_each_function_has_its_own_programs() -> None:
    def f(x):
        return x * x + x

    exact, fast = jit(f), jit(fast_math=True)(f)
    x = np.linspace(0, 1, 40)
    assert_same(exact(x), f(x))
    np.testing.assert_allclose(fast(x), f(x), rtol=1e-15)
    assert "contract" in fast.lower(x).stages["llvm"]
    assert "contract" not in exact.lower(x).stages["llvm"]
    for _ in range(80):  # by native entries too
        assert_same(fast(x), fast.lower(x).compile()(x))


def test_gradients() -> None:
    def loss(w, x):
        return (np.tanh(x @ w) ** 2).sum()

    w, x = RNG.standard_normal((8, 3)), RNG.standard_normal((20, 8))
    got = jit(jitnet.grad(loss), fast_math=True)(w, x)
    np.testing.assert_allclose(got, jitnet.grad(loss)(w, x), rtol=1e-9, atol=1e-12)


@needs_compiler
def test_a_gpu_has_approximations_of_its_own() -> None:
    def f(x, y):
        return np.exp(x) * np.sin(y) + np.power(np.abs(x), y), np.log(y * y), x / y

    x, y = RNG.standard_normal((2, 3000)).astype("f")
    text = jit(f, device="cpusim", fast_math=True).lower(x, y).stages["cuda"]
    for name in ("__expf(", "__sinf(", "__powf(", "__logf("):
        assert name in text
    assert "__expf(" not in jit(f, device="cpusim").lower(x, y).stages["cuda"]
    wide = jit(f, device="cpusim", fast_math=True).lower(x.astype(float), y).stages["cuda"]
    assert "exp_f64(" in wide
    for got, want in zip(jit(f, device=DEVICE, fast_math=True)(x, y), f(x, y)):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
    with cupy_standing_in() as cupy:
        jit(f, fast_math=True)(cupy.array(x), cupy.array(y))
        assert {"-fmad=true", "-ftz=true"} <= set(cupy.cuda.nvrtc.options)
