"""Real arrays of CuPy as arguments and results, where CuPy is installed; no GPU is needed.

Where none is, their memory is the host's, and kernels run on cpusim: what is tested is that CuPy's
arrays are taken for what they are, with their layouts, views and owners.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from cupy_stand_in import StandIn
from devices import DEVICE, IS_GPU
from simulated import assert_same, needs_compiler

from jitnet import errors, jit
from jitnet.ir import DType
from jitnet.runtime.devices import executable
from jitnet.runtime.devices.cpusim import CpuSim
from jitnet.runtime.devices.cuda import CudaDevice

cupy = pytest.importorskip("cupy", reason='CuPy is not installed: pip install "jitnet[cuda]"')
pytestmark = needs_compiler


class OnHost(CpuSim):
    """cpusim, with arrays of CuPy over its memory."""

    name = "cuda"
    number = 0
    memory_of = CudaDevice.memory_of

    def array(self, memory: Any, offset: int, dims: Sequence[int], dtype: DType) -> Any:
        whole = cupy.cuda.UnownedMemory(memory.address, memory.size, memory, 0)
        pointer = cupy.cuda.MemoryPointer(whole, offset)
        return cupy.ndarray(tuple(dims), dtype.numpy, memptr=pointer)


@pytest.fixture(autouse=True)
def device(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if DEVICE == "cpusim":
        monkeypatch.setitem(executable._DEVICES, "cuda", lambda number=0: OnHost())
    executable.open_device.cache_clear()
    yield
    executable.open_device.cache_clear()


def given(x: Any) -> Any:
    """An array of CuPy; without a GPU in memory of the host's."""
    x = np.array(x)
    if DEVICE != "cpusim":
        return cupy.array(x)
    memory = cupy.cuda.UnownedMemory(x.ctypes.data, x.nbytes, x, 0)
    pointer = cupy.cuda.MemoryPointer(memory, 0)
    return cupy.ndarray(x.shape, x.dtype, memptr=pointer, strides=x.strides)


def taken(x: Any) -> np.ndarray:
    """A copy of what an array of CuPy holds."""
    assert type(x) is cupy.ndarray
    if DEVICE != "cpusim":
        return x.get()
    span = sum((n - 1) * max(s, 0) for n, s in zip(x.shape, x.strides)) + x.itemsize
    memory = (ctypes.c_uint8 * span).from_address(x.data.ptr)
    return np.ndarray(x.shape, x.dtype, memory, 0, x.strides).copy()


def test_in_and_out() -> None:
    def f(x, y, s):
        return x @ y * s, {"sum": (x + 1).sum(), "some": x[0] > s}, len(x) + 1

    x, y = np.random.default_rng(0).standard_normal((2, 30, 30))
    compiled = jit(f)
    for s in (2.0, 3.0, 4.0, 5.0):
        product, rest, n = compiled(given(x), given(y), s)
        np.testing.assert_allclose(taken(product), x @ y * s, rtol=1e-12, atol=1e-12)
        assert rest["sum"].shape == ()
        np.testing.assert_allclose(taken(rest["sum"]), (x + 1).sum(), rtol=1e-12)
        assert_same(taken(rest["some"]), x[0] > s)
        assert n == 31
    assert "no array is transferred" in compiled.explain(given(x), given(y), 2.0)


def test_layouts() -> None:
    x = np.arange(120.0).reshape(10, 12)
    f = jit(lambda x: x * 2 + 1)
    for part in (given(x), given(x).T, given(np.asfortranarray(x)), given(x)[::2, 1:7]):
        assert_same(taken(f(part)), taken(part) * 2 + 1)
    assert f.cache_info().misses == 4


def test_changes_and_views() -> None:
    def f(x, y):
        x[1:] += y
        return x, x[2:5], y * 2

    x = np.arange(10.0)
    held = given(x)
    assert jit(f)(held, given(x[:9]))[0] is held
    f(x, x[:9].copy())
    got, view, twice = jit(f)(held, held[:9])  # which share memory
    expected = f(x, x[:9])
    assert got.data.ptr == held.data.ptr
    assert_same(taken(held), x)
    assert view.data.ptr == held.data.ptr + 16
    assert_same(taken(view), expected[1])
    assert_same(taken(twice), expected[2])


def test_what_is_told_apart() -> None:
    x = np.arange(4.0)
    f = jit(lambda x, y: x + y)
    with pytest.raises(errors.ArgumentError, match="NumPy together with"):
        f(x, given(x))
    assert type(f(x, x)) is np.ndarray
    assert type(f(given(x), given(x))) is cupy.ndarray
    mixed = jit(lambda x, y: x + y, device="cuda")(x, given(x))
    assert_same(taken(mixed), x + x)
    w = given(x)
    assert_same(taken(jit(lambda x: np.sqrt(x) * w)(w)), np.sqrt(x) * x)


def test_the_loader_of_cupy() -> None:
    x = np.array([1e-40, 3.0], np.float32)
    for loader, least in (("nvrtc", x[0] * 2), ("rawmodule", 0 if IS_GPU else x[0] * 2)):
        f = jit(lambda x: x * 2, loader=loader)
        for _ in range(4):
            assert_same(taken(f(given(x))), np.array([least, 6], np.float32))


def test_the_stand_in_has_what_it_stands_for() -> None:
    made = StandIn()
    pairs = [(cupy.cuda, made.cuda)]
    for name in ("runtime", "nvrtc", "driver", "function", "device", "memory"):
        pairs.append((getattr(cupy.cuda, name), getattr(made.cuda, name)))
    for theirs, ours in pairs:
        for name in {name for name in dir(ours) if name[0] != "_"} - {"options"}:
            assert hasattr(theirs, name), name
            if isinstance(getattr(ours, name), int):
                assert getattr(theirs, name) == getattr(ours, name), name
    for name in ("ndarray", "RawModule", "array", "asarray", "empty", "where", "argsort"):
        assert hasattr(cupy, name)
        assert hasattr(made, name)


def test_calls_that_come_often() -> None:
    def f(p, s):
        p["x"] += s
        return p["x"] @ p["y"], (p["x"].sum(), p["y"].T * 2)

    x, y = np.random.default_rng(1).standard_normal((2, 30, 30))
    compiled = jit(f)
    held = {"x": given(x), "y": given(y)}
    for n in range(9):
        got = compiled(held, float(n))
        product, (total, turned) = f({"x": x, "y": y}, float(n))
        for a, b in zip((got[0], *got[1], held["x"]), (product, total, turned, x)):
            np.testing.assert_allclose(taken(a), b, rtol=1e-9, atol=1e-9)
    assert compiled._device_entries
    overlapping = {"x": held["x"][:, :15], "y": held["x"][:15]}
    x = taken(held["x"])
    got = compiled(overlapping, 1.0)
    expected = f({"x": x[:, :15], "y": x[:15]}, 1.0)
    np.testing.assert_allclose(taken(got[0]), expected[0], rtol=1e-9, atol=1e-9)
