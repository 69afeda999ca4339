"""What of a program is spread over a GPU's blocks, and how often a step touches memory.

cost = jitnet.jit(heat, device="cpusim").lower(u, 100).cost()
cost["moved_bytes"] / (200 * u.nbytes)    # 1.02: each step reads the state, and writes the next one
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from devices import DEVICE

import jitnet

RNG = np.random.default_rng(11)


def normal(*shape: int) -> Any:
    return RNG.standard_normal(shape).astype(np.float32)


def agree(fn: Any, *args: Any, static: Any = (), tolerance: float = 1e-5) -> Any:
    """Compare two calls on the simulated GPU, one of them replayed, with NumPy; what is lowered."""
    compiled = jitnet.jit(fn, device=DEVICE, static=static)
    expected = fn(*(np.copy(a) if isinstance(a, np.ndarray) else a for a in args))
    for _ in range(3):
        given = [np.copy(a) if isinstance(a, np.ndarray) else a for a in args]
        for found, wanted in zip(_listed(compiled(*given)), _listed(expected), strict=True):
            np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=tolerance)
    return compiled.lower(*args)


def _listed(results: Any) -> Any:
    return results if isinstance(results, tuple) else (results,)


# -- states in two buffers -------------------------------------------------------------------------


def heat(u, steps):
    u = u.copy()
    for _ in range(steps):
        around = u[:-2, 1:-1] + u[2:, 1:-1] + u[1:-1, :-2] + u[1:-1, 2:]
        u[1:-1, 1:-1] += np.float32(0.1) * (around - 4 * u[1:-1, 1:-1])
    return u


def in_place(u, steps):
    for _ in range(steps):
        u[2:-1, 1:-2] = np.float32(0.5) * (u[1:-2, :-3] + u[3:, 3:])
    return u[3:5].copy(), u


def two_fields(u, v, steps):
    u, v = u.copy(), v.copy()
    for _ in range(steps):
        u[1:-1] = np.float32(0.5) * (u[:-2] + u[2:]) + np.float32(0.1) * v[1:-1]
        v[:-1] = v[1:] - np.float32(0.1) * u[1:]
    return u, v


def with_edges(u, steps):
    u = u.copy()
    for _ in range(steps):
        u[1:-1] = np.float32(0.5) * (u[:-2] + u[2:])
        u[0] = u[-2]
    return u


def measured(u, steps):
    u, before = u.copy(), np.float32(0)
    for _ in range(steps):
        u[1:-1] = np.float32(0.5) * (u[:-2] + u[2:])
        before = before + u[5, 5]
    return u, before


def until(u, limit):
    u, steps = u.copy(), 0
    while steps < limit:
        u[1:-1] = np.float32(0.5) * (u[:-2] + u[2:])
        steps += 1
    return u


@pytest.mark.parametrize("steps", [4, 7])
@pytest.mark.parametrize("static", [(1,), ()])
@pytest.mark.parametrize("fn", [heat, in_place, with_edges, measured, until])
def test_steps_that_read_what_they_write(fn: Any, steps: int, static: Any) -> None:
    agree(fn, normal(101, 103), steps, static=static)


@pytest.mark.parametrize("steps", [5, 6])
def test_two_fields(steps: int) -> None:
    agree(two_fields, normal(101, 103), normal(101, 103), steps, static=(2,))


def test_a_step_moves_the_state_twice() -> None:
    u = normal(300, 300)
    cost = jitnet.jit(heat, device=DEVICE, static=(1,)).lower(u, 50).cost()
    assert cost["launches"] <= 52
    assert cost["moved_bytes"] <= 1.1 * 50 * 2 * u.nbytes


def test_what_a_step_may_raise_keeps_the_state_in_one_place() -> None:
    def stopped(u, i):
        for k in range(6):
            u[1:-1] = np.float32(0.5) * (u[:-2] + u[2:])
            u[5, i[k]]
        return u.sum()

    u, i = normal(101, 103), np.array([1, 2, 3, 4, 500, 6])
    compiled = jitnet.jit(stopped, device=DEVICE)
    with pytest.raises(IndexError):
        compiled(u, i)
    assert "alloc 99, 103" in compiled.lower(u, i).stages["launches"]  # computed aside, as it was


# -- loops that are spread -------------------------------------------------------------------------


def blocks_of(lowered: Any) -> list[tuple[str, int]]:
    """Kernels and how many rounds the host spreads over the grid."""
    found = []
    for line in lowered.stages["launches"].splitlines():
        launch = re.search(r"launch ([\d, ]*).*extents=(\d)", line)
        if launch:
            bounds = [int(n) for n in launch[1].replace(" ", "").split(",") if n]
            counts = bounds[1 : 2 * int(launch[2]) : 2]
            found.append((line, int(np.prod(counts)) if counts else 1))
    return found


def softmax_pulled(ct, x):
    def softmax(x):
        x = np.where(np.tri(x.shape[-1], dtype=bool), x, np.float32(-1e9))
        e = np.exp(x - x.max(axis=-1, keepdims=True))
        return e / e.sum(axis=-1, keepdims=True)

    return jitnet.vjp(softmax, x)[1](ct)[0]


def test_rows_of_four_axes_are_blocks_of_their_own() -> None:
    x = normal(2, 3, 40, 40)
    low = jitnet.jit(softmax_pulled, device=DEVICE).lower(x, x)
    assert all(count >= 240 for _, count in blocks_of(low))
    want = jitnet.jit(softmax_pulled)(x, x)
    got = jitnet.jit(softmax_pulled, device=DEVICE)(x, x)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("shape", [(4, 300, 48), (3, 500, 6), (2, 5, 64, 32)])
def test_sums_over_several_axes_are_spread(shape: tuple[int, ...]) -> None:
    def columns(x, y):
        error = x - y
        axes = tuple(range(len(shape) - 1))
        return (error * error).mean(), (error * np.float32(2)).sum(axis=axes), error

    low = agree(columns, normal(*shape), normal(*shape), tolerance=1e-4)
    widest = max(count for _, count in blocks_of(low))
    assert widest >= min(np.prod(shape[:-1]), 256) // 2


def test_sums_of_what_does_not_lie_in_rows() -> None:
    def inner(x):
        return x[1:-1, 2:-2].sum(), x[:, 1:].sum(axis=(0, 1))

    low = agree(inner, normal(200, 41, 24), tolerance=1e-4)
    assert max(count for _, count in blocks_of(low)) >= 24
    assert "alloc 7326 " in low.stages["launches"].replace("{", " {")  # a term for each row


@pytest.mark.parametrize("dtype", [np.int64, np.float64, np.complex128])
def test_sums_of_other_numbers_over_three_axes(dtype: Any) -> None:
    x = (100 * RNG.standard_normal((9, 70, 33))).astype(dtype)
    agree(lambda x: (x.sum(), x.max() if dtype is not np.complex128 else x.sum(axis=1)), x)


def test_loops_of_the_users_over_pairs() -> None:
    def paired(x, w):
        total = 0.0
        for i in range(x.shape[0]):
            for j in range(x.shape[1]):
                total += x[i, j] * w[j, i % 3]
        return total

    agree(paired, RNG.standard_normal((40, 30)), RNG.standard_normal((30, 3)))


# -- what is counted -------------------------------------------------------------------------------


def test_moved_bytes_count_each_element_once() -> None:
    x, y = normal(64, 1000), normal(64, 1000)
    cost = jitnet.jit(lambda x, y: x * 2 + y, device=DEVICE).lower(x, y).cost()
    assert (cost["launches"], cost["calls"], cost["moved_bytes"]) == (1, 0, 3 * x.nbytes)

    def softmax(x):
        e = np.exp(x - x.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)

    assert jitnet.jit(softmax, device=DEVICE).lower(x).cost()["moved_bytes"] == 2 * x.nbytes


def test_moved_bytes_of_library_calls() -> None:
    x, y = normal(200, 300), normal(300, 400)
    cost = jitnet.jit(lambda x, y: x @ y, device=DEVICE).lower(x, y).cost()
    assert (cost["launches"], cost["calls"]) == (0, 1)
    assert cost["moved_bytes"] == 4 * (200 * 300 + 300 * 400 + 200 * 400)


def test_what_data_decides_is_not_counted() -> None:
    def halvings(x):
        while x.max() > 1:
            x = x / 2
        return x

    cost = jitnet.jit(halvings, device=DEVICE).lower(normal(100_000)).cost()
    assert "moved_bytes" not in cost
    assert not cost["peak_is_known"]
