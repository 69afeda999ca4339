"""Calls on a device that come often: what they ask the device for, what tells them apart, and what
they hand out."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from cupy_stand_in import StandIn, cupy_standing_in
from simulated import needs_compiler
from stand_in import Device, Held, given, standing_in

from jitnet import errors, jit
from jitnet.frontend.jitted import MOST_DEVICE_ENTRIES, Jitted

pytestmark = needs_compiler

RNG = np.random.default_rng(8)


@pytest.fixture
def device() -> Iterator[Device]:
    with standing_in() as device:
        yield device


@pytest.fixture
def cupy() -> Iterator[StandIn]:
    with cupy_standing_in() as cupy:
        yield cupy


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape)


def called_often(f: Jitted, *args: Any) -> None:
    for _ in range(6):
        f(*args)
    assert f._device_entries, "such calls need more"


def host(x: Any) -> Any:
    """A result's arrays as NumPy's."""
    if isinstance(x, dict):
        return {k: host(v) for k, v in x.items()}
    if isinstance(x, (tuple, list)):
        return type(x)(map(host, x))
    return x.get() if isinstance(x, Held) else x


def agrees(got: Any, expected: Any) -> None:
    got = host(got)
    if isinstance(expected, dict):
        assert list(got) == list(expected)
        got, expected = list(got.values()), list(expected.values())
    if isinstance(expected, (tuple, list)):
        assert type(got) is type(expected)
        assert len(got) == len(expected)
        for x, y in zip(got, expected):
            agrees(x, y)
    elif expected is None or isinstance(expected, str):
        assert got == expected
    else:
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12)


# -- what the device is asked for ------------------------------------------------------------------


def softmax(x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def scaled(x, s):
    return x * s + 1


def centred(x):
    return x - x.mean()


def updated(x, y):
    x += y


def several(p, g):
    return {k: p[k] - 0.1 * g[k] for k in p}, 2 * p["w"].sum()


def picked(x, i):
    return x[i] * 2


GRID, INDEX = normal(40, 300), np.array([3, -1, 7])
PARAMS = {"w": normal(60, 20), "b": normal(2000)}

CALLS: list[tuple[Callable[..., Any], tuple[Any, ...], list[str]]] = [
    (softmax, (GRID,), ["alloc", "launch"]),
    (scaled, (GRID, 2.5), ["alloc", "memcpy H2D", "launch"]),
    (centred, (GRID,), ["alloc", "graph"]),
    (updated, (GRID, GRID + 1), ["launch"]),
    (several, (PARAMS, PARAMS), ["alloc", "alloc", "alloc", "alloc", "graph"]),
    (picked, (normal(50), INDEX), ["alloc", "graph", "memcpy D2H", "synchronize"]),
]


@pytest.mark.parametrize(("fn", "args", "asked"), CALLS, ids=[c[0].__name__ for c in CALLS])
def test_what_a_call_asks_for(fn: Any, args: Any, asked: list[str], cupy: StandIn) -> None:
    """One allocation where one who keeps a result keeps little else; no upload without numbers; a
    launch, or a graph; and nothing is read back but what checks report."""

    def on(x: Any) -> Any:
        if isinstance(x, dict):
            return {k: on(v) for k, v in x.items()}
        return cupy.array(x) if isinstance(x, np.ndarray) else x

    f, held = jit(fn), [on(x) for x in args]
    called_often(f, *held)
    cupy.log.clear()
    f(*held)
    kinds = [c if c.startswith("memcpy") else c.split()[0] for c in cupy.log]
    assert kinds == asked


def test_a_result_that_is_kept_keeps_little_else(device: Device) -> None:
    def f(x):
        return x.sum(), x * 2

    compiled, x = jit(f), given(normal(64, 1000))
    called_often(compiled, x)
    gc.collect()
    kept = [compiled(x)[0] for _ in range(20)]
    assert all(k._owner.size <= 4096 for k in kept)


def test_other_addresses_each_time(cupy: StandIn) -> None:
    """Addresses are written into the arguments of launches; what comes again soon is a graph."""
    f, x = jit(centred), normal(12, 40, 30)
    held = cupy.array(x)
    for _ in range(2):
        for n in range(12):
            agrees(f(held[n]), centred(x[n]))
    cupy.log.clear()
    for n in range(12):
        agrees(f(held[n]), centred(x[n]))
    assert [c for c in cupy.log if c.startswith(("capture", "graph"))] == []
    launches = [c for c in cupy.log if c.startswith("launch")]
    assert len(launches) % 12 == 0
    cupy.log.clear()
    for _ in range(2):
        for n in range(2):
            agrees(f(held[n]), centred(x[n]))
    captured = [c.split()[0] for c in cupy.log if c.startswith(("capture", "graph"))]
    assert captured == ["capture", "graph"] * 2


# -- values ----------------------------------------------------------------------------------------


def test_values_come_from_each_call(device: Device) -> None:
    def f(x, s, n):
        return {"y": x * s + n, "name": "f", "parts": [x.sum(), None]}

    compiled, x = jit(f), normal(30, 40)
    called_often(compiled, given(x), 2.0, 3)
    for s, n in ((1.5, 2), (-3.0, 2**40), (float("inf"), 0)):
        x = normal(30, 40)
        with np.errstate(invalid="ignore"):
            agrees(compiled(given(x), s, n), f(x, s, n))


def test_keywords_and_containers(device: Device) -> None:
    def f(p, *, rate):
        return [p["a"] * rate, (p["b"][0] + p["b"][1],)]

    compiled = jit(f)

    def arguments() -> Any:
        return {"a": normal(20), "b": [normal(7), normal(7)]}

    def on(p: Any) -> Any:
        return {"a": given(p["a"]), "b": [given(x) for x in p["b"]]}

    for _ in range(6):
        compiled(on(arguments()), rate=0.5)
    assert compiled._device_entries
    p = arguments()
    agrees(compiled(on(p), rate=3.0), f(p, rate=3.0))
    other = {"b": p["b"], "a": p["a"]}  # in another order
    agrees(compiled({k: on(p)[k] for k in other}, rate=3.0), f(other, rate=3.0))
    agrees(compiled({**on(p), "b": tuple(on(p)["b"])}, rate=3.0), f(p, rate=3.0))
    with pytest.raises(KeyError):
        compiled({"a": given(p["a"])}, rate=3.0)


def test_arguments_that_are_results(device: Device) -> None:
    def f(x, y):
        x *= 2
        return x, y, x + y

    compiled = jit(f)
    called_often(compiled, given(normal(9)), given(normal(9)))
    x, y = normal(9), normal(9)
    a, b = given(x), given(y)
    got = compiled(a, b)
    assert got[0] is a
    assert got[1] is b
    agrees(got, f(x, y))


def test_results_in_fortran_order(device: Device) -> None:
    def f(x):
        return np.asfortranarray(x * 2), (x + 1).T

    compiled, x = jit(f), normal(8, 5)
    called_often(compiled, given(x))
    for got, first, expected in zip(compiled(given(x)), jit(f)(given(x)), f(x)):
        agrees(got, expected)
        assert got.strides == first.strides


def test_one_value_as_two_objects(device: Device) -> None:
    def f(x):
        y = x * 2
        return y, y.copy(), y

    compiled, x = jit(f), normal(8)
    for _ in range(8):
        first, second, third = compiled(given(x))
        agrees((first, second, third), f(x))
        assert first is third
        assert second.data.ptr != first.data.ptr


# -- what tells calls apart ------------------------------------------------------------------------


def test_other_kinds_of_calls(device: Device) -> None:
    compiled, x = jit(scaled), normal(20, 30)
    called_often(compiled, given(x), 2.0)
    others: list[Any] = [
        given(x[:10]),
        given(x.astype(np.float32)),
        given(np.asfortranarray(x)),
        given(x)[::2],
        given(x.reshape(30, 20)),
        given(x[0]),
    ]
    for other in others:
        agrees(compiled(other, 2.0), scaled(other.get(), 2.0))
    agrees(compiled(given(x), 2), scaled(x, 2))
    agrees(compiled(given(x), given(np.array(2.0))), scaled(x, 2.0))
    agrees(compiled(x, 2.0), scaled(x, 2.0))  # NumPy's, on the CPU
    agrees(compiled(x=given(x), s=2.0), scaled(x, 2.0))
    with pytest.raises(TypeError):
        compiled(given(x))
    agrees(compiled(given(x), 2**70), scaled(x, 2**70))


def test_kinds_that_come_often_side_by_side(device: Device) -> None:
    compiled = jit(scaled)
    arrays = [normal(n, 4) for n in range(2, MOST_DEVICE_ENTRIES + 4)]
    for _ in range(20):
        for x in arrays:
            agrees(compiled(given(x), 0.5), scaled(x, 0.5))
    assert len(compiled._device_entries) == MOST_DEVICE_ENTRIES
    hits = compiled.cache_info().hits
    for x in arrays:
        compiled(given(x), 0.5)
    assert compiled.cache_info().hits == hits + len(arrays)
    compiled.clear_cache()
    assert not compiled._device_entries


def test_static_values_and_extents(device: Device) -> None:
    def f(x, n, way):
        return x[:n] * (2 if way == "twice" else 1)

    compiled, x = jit(f), normal(20)
    for _ in range(6):
        compiled(given(x), 4, "twice")
    for n, way in ((4, "once"), (5, "twice"), (4, "twice"), (True, "twice")):
        agrees(compiled(given(x), n, way), f(x, n, way))


FACTOR = 2.0


def by_factor(x):
    return x * FACTOR


def test_what_is_read_from_outside(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    w = given(normal(12))
    compiled, x = jit(lambda x: x * w + FACTOR), normal(12)
    called_often(compiled, given(x))
    agrees(compiled(given(x)), x * w.get() + FACTOR)
    w._host[:] = 1.0
    agrees(compiled(given(x)), x + FACTOR)
    compiled = jit(by_factor)
    called_often(compiled, given(x))
    monkeypatch.setitem(globals(), "FACTOR", 5.0)
    agrees(compiled(given(x)), x * 5)


def test_arguments_that_share_memory(device: Device) -> None:
    def f(x, y):
        x[1:] += y[:-1]

    compiled, x = jit(f), normal(10)
    called_often(compiled, given(x), given(x))
    whole = given(x)
    compiled(whole, whole)
    f(x, x)
    agrees(whole, x)
    whole, expected = given(normal(30)), None
    expected = whole.get()
    compiled(whole[5:15], whole[:10])
    f(expected[5:15], expected[:10])
    agrees(whole, expected)
    compiled(whole[10:20], whole[:10])  # next to each other
    f(expected[10:20], expected[:10])
    agrees(whole, expected)


# -- errors ----------------------------------------------------------------------------------------


def test_errors(device: Device) -> None:
    compiled, x = jit(picked), given(normal(20))
    called_often(compiled, x, given(INDEX))
    with pytest.raises(IndexError, match="index 50 is out of bounds"):
        compiled(x, given(np.array([1, 50, 2])))
    agrees(compiled(x, given(INDEX)), picked(x.get(), INDEX))
    device.room = 100
    with pytest.raises(errors.DeviceMemoryError, match="bytes at its peak"):
        compiled(x, given(INDEX))
    device.room = 1 << 40
    agrees(compiled(x, given(INDEX)), picked(x.get(), INDEX))


def test_late_errors(cupy: StandIn) -> None:
    compiled, x = jit(picked, async_errors=True), cupy.array(normal(20))
    good, bad = cupy.array(INDEX), cupy.array(np.array([1, 50, 2]))
    called_often(compiled, x, good)
    cupy.log.clear()
    compiled(x, bad)
    assert "synchronize" not in cupy.log
    with pytest.raises(IndexError, match="50"):
        compiled(x, good)
    agrees(compiled(x, good), picked(x.get(), INDEX))
