"""Halves as CUDA C++, run on the CPU: the very results of the compiler for CPUs.

The conversions are there in integers; a GPU has instructions for them, which `test_nvrtc` compiles.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from devices import DEVICE
from test_half_derivatives import halves, in_a_loop, point

import jitnet


def softmax(x: Any) -> Any:
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def same(fn: Callable[..., Any], *args: Any, ulp: int = 0) -> None:
    found, expected = (np.asarray(jitnet.jit(fn, device=d)(*args)) for d in (DEVICE, "cpu"))
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    if ulp and found.itemsize == 2:
        assert np.all(np.abs(found.view(np.int16).astype(int) - expected.view(np.int16)) <= ulp)
        return
    with np.errstate(invalid="ignore"):
        nan = (found != found) & (expected != expected)
    bits = [np.ascontiguousarray(v).view(f"u{v.itemsize}") for v in (found, expected)]
    assert np.all((bits[0] == bits[1]) | nan)


@halves
def test_every_value(dtype: Any) -> None:
    x = np.arange(65536, dtype=np.uint16).view(dtype)
    same(lambda x: x * x + x, x)
    same(lambda x: x.astype(np.float32), x)
    same(lambda x: np.maximum(x, x[::-1]), x)
    rng = np.random.default_rng(0)
    same(lambda x: x.astype(dtype), rng.integers(0, 2**32, 70001, np.uint32).view(np.float32))
    same(lambda x: x.astype(dtype), rng.normal(size=3000) * 10.0 ** rng.integers(-9, 6, 3000))


@halves
def test_kernels(dtype: Any) -> None:
    x, y = point(dtype, 37, 70), point(dtype, 37, 70, seed=1)
    same(softmax, x, ulp=1)
    same(lambda x, y: x @ y.T, x, y, ulp=1)
    same(lambda x: x.sum(axis=0), x, ulp=1)
    same(lambda x: np.cumsum(x, axis=1), x)
    same(lambda x: np.sort(x, axis=1), x)
    same(lambda x: x[x > 1], x)
    same(lambda h, x: h * x, dtype(1.5), x)
    same(in_a_loop, x[0])
    same(jitnet.grad(lambda x: (np.sin(x) * x).sum()), x)


@halves
def test_packs_of_eight(dtype: Any) -> None:
    """Elements are loaded and stored 16 bytes at a time."""
    text = jitnet.jit(lambda x: x + x, device="cpusim").lower(point(dtype, 4000)).stages["cuda"]
    assert "pack<unsigned short, 8>" in text
    assert "cvt.rn" in text


@halves
def test_errors_show_halves(dtype: Any) -> None:
    def checked(x: Any) -> Any:
        if x[0] > 1:
            raise ValueError(f"{x[0]} is too large")
        return x

    for device in ("cpu", DEVICE):
        with pytest.raises(ValueError, match=r"1\.5 is too large"):
            jitnet.jit(checked, device=device)(np.array([1.5, 2.0], dtype))
