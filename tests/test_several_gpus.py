"""Functions run on the GPU that their arrays are on, whichever is CuPy's current one: with a
stand-in that refuses memory, kernels and streams of another GPU than the current."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from cupy_stand_in import StandIn, cupy_standing_in
from simulated import assert_same, needs_compiler

import jitnet
from jitnet import errors, jit

pytestmark = needs_compiler

RNG = np.random.default_rng(4)


@pytest.fixture
def cupy() -> Iterator[StandIn]:
    with cupy_standing_in(gpus=3) as cupy:
        yield cupy


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape)


def on(cupy: StandIn, number: int, x: np.ndarray) -> Any:
    with cupy.cuda.Device(number):
        return cupy.array(x)


def two_launches(x, s):
    total = x.sum()
    return x * s - total, total


@pytest.mark.parametrize("device", [None, "cuda"])
def test_a_call_runs_where_its_arrays_are(device: str | None, cupy: StandIn) -> None:
    f = jit(two_launches, device=device)
    for n in range(8):
        for number in (1, 0, 2):
            x = normal(300, 20)
            held = on(cupy, number, x)
            y, total = f(held, 2.0 + n)
            assert y.device.id == total.device.id == number
            assert cupy.gpu == 0, "the current device is the caller's"
            np.testing.assert_allclose(y.get(), two_launches(x, 2.0 + n)[0], rtol=1e-12, atol=1e-12)
    assert f.cache_info().currsize == 3


def test_products_checks_and_late_errors(cupy: StandIn) -> None:
    def f(x, w, i):
        return (np.tanh(x @ w))[i]

    compiled = jit(f, async_errors=True)
    x, w, i = normal(200, 30), normal(30, 100), np.array([3, -1])
    for number in (2, 1):
        held = [on(cupy, number, a) for a in (x, w, i)]
        for _ in range(8):
            got = compiled(*held)
            assert got.device.id == number
            np.testing.assert_allclose(got.get(), f(x, w, i), rtol=1e-9)
        compiled(*held[:2], on(cupy, number, np.array([3, 200])))
        with pytest.raises(IndexError, match="200"):
            jitnet.synchronize()


def test_copies_stay_there(cupy: StandIn) -> None:
    w = on(cupy, 1, normal(9))

    def f(x):
        x += 1
        y = x * w
        return x, x[2:5], y, y.copy(), w

    compiled, x = jit(f), normal(9)
    for _ in range(3):
        held = on(cupy, 1, x)
        got = compiled(held)
        assert got[0] is held
        assert {r.data.device_id for r in got} == {1}
        assert_same(got[3].get(), (x + 1) * w.get())


def test_while_another_one_is_current(cupy: StandIn) -> None:
    f, x = jit(two_launches), normal(50, 4)
    held = on(cupy, 0, x)
    for number in (0, 2, 1, 0, 2, 2, 2, 2):
        with cupy.cuda.Device(number):
            y, _ = f(held, 3.0)
        assert y.device.id == 0
        np.testing.assert_allclose(y.get(), two_launches(x, 3.0)[0], rtol=1e-12, atol=1e-12)


def test_a_gpu_by_its_number(cupy: StandIn) -> None:
    x = normal(300)
    f = jit(lambda x: x * 2 + 1, device="cuda:2")
    for _ in range(3):
        assert_same(f(x), x * 2 + 1)  # NumPy's are uploaded there
        y = f(on(cupy, 2, x))
        assert y.device.id == 2
        assert_same(y.get(), x * 2 + 1)
    assert "cuda:2, 1 kernels" in f.explain(x)
    with pytest.raises(errors.ArgumentError, match="an array on cuda:1, for"):
        f(on(cupy, 1, x))
    with pytest.raises(errors.NotAvailableError, match="the last GPU is cuda:2"):
        jit(lambda x: x, device="cuda:3")(x + 1)
    for name in ("cuda:", "cuda:01", "cuda:x", "cuda:-1", "cpusim:1", "gpu"):
        with pytest.raises(ValueError, match="device must be"):
            jit(lambda x: x, device=name)


def test_numpy_arrays_go_to_the_current_one(cupy: StandIn) -> None:
    f, x = jit(lambda x: x + 1, device="cuda"), normal(20)
    with cupy.cuda.Device(1):
        assert_same(f(x), x + 1)
    assert "cuda:1, 1 kernels" in f.explain(x)
    assert_same(f(x), x + 1)


def test_numpy_arrays_go_where_the_others_are(cupy: StandIn) -> None:
    f, x, y = jit(lambda x, y: x + y, device="cuda"), normal(20), normal(20)
    for _ in range(3):
        got = f(x, on(cupy, 2, y))
        assert got.device.id == 2
        assert_same(got.get(), x + y)


def test_arrays_on_several(cupy: StandIn) -> None:
    f, x = jit(lambda x, y: x + y), normal(20)
    with pytest.raises(errors.ArgumentError, match="several devices: cuda:0, cuda:2"):
        f(on(cupy, 0, x), on(cupy, 2, x))
    for _ in range(6):
        f(on(cupy, 2, x), on(cupy, 2, x))
    with pytest.raises(errors.ArgumentError, match="several devices: cuda:1, cuda:2"):
        f(on(cupy, 2, x), on(cupy, 1, x))
    w = on(cupy, 1, x)
    with pytest.raises(errors.ArgumentError, match="several devices: cuda:0, cuda:1"):
        jit(lambda x: x + w)(on(cupy, 0, x))


def test_what_explain_says(cupy: StandIn) -> None:
    f, x = jit(lambda x: x + 1), normal(20)
    f(on(cupy, 0, x))
    told = f.explain(on(cupy, 1, x))
    assert "f64[20] on cuda:1" in told
    assert "of the device cuda:1, and was one of the device cuda:0" in told


def test_one_gpu_needs_no_switching() -> None:
    with cupy_standing_in() as cupy:
        f, x = jit(two_launches), cupy.array(normal(30, 4))
        asked: list[int] = []
        cupy.runtime.getDevice = lambda: asked.append(0) or 0
        for _ in range(6):
            f(x, 2.0)
        assert not asked
