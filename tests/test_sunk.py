"""What kernels behind a product compute themselves, rather than reading it from memory.

text = jitnet.jit(step, device="cpusim").lower(x, w).stages["fused"]
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from devices import DEVICE
from simulated import needs_compiler

import jitnet
from jitnet import value_and_grad

pytestmark = needs_compiler
RNG = np.random.default_rng(3)


def normal(*shape: int) -> Any:
    return RNG.standard_normal(shape).astype(np.float32)


def same_bits(fn: Any, *args: Any) -> None:
    """What is computed later, or again, has the bits of what the CPU keeps; sums aside."""
    for found, wanted in zip(jitnet.jit(fn, device=DEVICE)(*args), jitnet.jit(fn)(*args)):
        np.testing.assert_allclose(found, wanted, rtol=2e-4, atol=2e-5)


def moved(fn: Any, *args: Any) -> tuple[int, int]:
    cost = jitnet.jit(fn, device="cpusim").lower(*args).cost()
    return cost["moved_bytes"], cost["peak_bytes"]


def gelu_loss(w, b, v, x):
    a = x @ w + b
    h = 0.5 * a * (1 + np.tanh(0.7978845608 * (a + 0.044715 * a**3)))
    return ((h @ v) ** 2).mean()


def gelu_step(w, b, v, x):
    loss, (dw, db, dv) = value_and_grad(gelu_loss, argnums=(0, 1, 2))(w, b, v, x)
    return loss, dw, db, dv


def test_a_derivative_keeps_two_arrays_of_a_gelu() -> None:
    args = normal(64, 512) / 8, normal(512), normal(512, 64) / 16, normal(256, 64)
    same_bits(gelu_step, *args)
    middle = 256 * 512 * 4
    bytes_moved, peak = moved(gelu_step, *args)
    assert bytes_moved <= 19 * middle  # of which products move 6
    assert peak <= 7 * middle


def test_what_is_dear_is_kept() -> None:
    def fn(x, w):
        e = np.exp(x)
        y = e @ w
        return y, e * (y @ w)

    x, w = normal(128, 128) / 16, normal(128, 128) / 16
    same_bits(fn, x, w)
    assert jitnet.jit(fn, device="cpusim").lower(x, w).stages["fused"].count("= exp ") == 1


def test_what_is_cheap_is_computed_again() -> None:
    def fn(x, w):
        a = x * 2 + 1
        y = np.tanh(a) @ w
        return y, a * (y @ w)

    x, w = normal(128, 128) / 16, normal(128, 128) / 16
    same_bits(fn, x, w)
    bytes_moved, _ = moved(fn, x, w)
    assert bytes_moved == 11 * x.nbytes  # x, tanh; 3; 3; x, the product, and the result


def test_what_is_asked_for_is_kept_once() -> None:
    def fn(x, w):
        a = x * 2 + 1
        y = np.tanh(a) @ w
        return a, a * (y @ w)

    x, w = normal(128, 128) / 16, normal(128, 128) / 16
    same_bits(fn, x, w)
    assert jitnet.jit(fn, device="cpusim").lower(x, w).stages["fused"].count("2.0:f32") == 1


@pytest.mark.parametrize("phases", [1, 2, 3])
def test_chains_of_products(phases: int) -> None:
    def fn(x, w):
        kept, y = [], x
        for k in range(phases):
            a = y * np.float32(0.5) - k
            kept.append(1 - a * a)
            y = np.tanh(a) @ w
        for a in kept[::-1]:
            y = (y * a) @ w.T
        return y, kept[0]

    same_bits(fn, normal(96, 96) / 10, normal(96, 96) / 10)


def test_arrays_that_are_written_in_between() -> None:
    def fn(x, w):
        a = x * 2 + 1
        b = a - 1
        x[:] = 3.0
        y = np.tanh(a) @ w
        y[1:3] = b[:2]
        return y, b * (y @ w), x

    x, w = normal(128, 128) / 16, normal(128, 128) / 16
    expected = fn(x.copy(), w)
    for found, wanted in zip(jitnet.jit(fn, device=DEVICE)(x.copy(), w), expected):
        np.testing.assert_allclose(found, wanted, rtol=2e-4, atol=2e-5)
