"""Programs that write in place copy nothing that they need not, and make no memory for what the
loops of other ops can compute as they go. Results are NumPy's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import jitnet


def swapped(x: Any, n: int) -> Any:
    for i in range(n):
        if x[i] > x[i + 1]:
            x[i], x[i + 1] = x[i + 1], x[i]
    return x


def pivots(a: Any) -> Any:
    for i in range(a.shape[0]):
        for j in range(i):
            a[i, j] -= a[i, :j] @ a[j, :j]
            a[i, j] /= a[j, j]
    return a


def butterflies(x: Any, h: int) -> Any:
    for i in range(0, len(x), 2 * h):
        a = x[i : i + h].copy()
        b = x[i + h : i + 2 * h].copy()
        x[i : i + h] = a + b
        x[i + h : i + 2 * h] = a - b
    return x


def as_boxes(x: Any, n: int) -> Any:
    for k in range(n):
        boxes = x.reshape(2, 1 << k, -1)
        boxes[1] += 2.0 * boxes[0]
    return x


def crossed_out(flags: Any, step: int) -> Any:
    flags[step * step :: step] = False
    return np.nonzero(flags)[0]


def masked(z: Any, c: Any) -> Any:
    inside = np.abs(z) < 2.0
    z[inside] = z[inside] * z[inside] + c[inside]
    return z


def shaded(image: Any, depth: Any, hit: Any) -> Any:
    light = np.clip(depth[hit] * depth[hit].max(), 0.0, 1.0) * 0.9 + 0.1
    image[np.nonzero(hit)[0]] = light * np.exp(-depth[hit])
    return image


def numbers(*shape: int) -> Any:
    return np.random.default_rng(3).normal(size=shape) + 2.0


PROGRAMS: dict[str, tuple[Callable[..., Any], Callable[[], tuple[Any, ...]]]] = {
    "elements swapped": (swapped, lambda: (numbers(20), 19)),
    "an element written twice": (pivots, lambda: (numbers(6, 6),)),
    "two halves of each block": (butterflies, lambda: (numbers(32), 4)),
    "a reshaped view": (as_boxes, lambda: (numbers(32), 3)),
    "a reshaped view, complex": (as_boxes, lambda: (numbers(32) + 1j, 3)),
    "every so many": (crossed_out, lambda: (numbers(50) > 0, 3)),
    "a factor from a kernel": (shaded, lambda: (numbers(30), numbers(30), numbers(30) > 2)),
    "through a mask": (masked, lambda: (numbers(9, 7) - 1.0, numbers(9, 7))),
    "through a mask, complex": (masked, lambda: (numbers(9, 7) - 2j, numbers(9, 7) + 0.5j)),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_results_and_arguments_are_numpys(name: str) -> None:
    fn, arguments = PROGRAMS[name]
    mine, expected = arguments(), arguments()
    found, wanted = jitnet.jit(fn)(*mine), fn(*expected)
    for a, b in zip((found, *mine), (wanted, *expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def executable(name: str) -> Any:
    fn, arguments = PROGRAMS[name]
    return jitnet.jit(fn)._find(arguments(), {})[0].executable


@pytest.mark.parametrize("name", ["an element written twice", "a reshaped view"])
def test_nothing_is_copied(name: str) -> None:
    assert not executable(name).copies


def test_a_swap_keeps_one_element_aside() -> None:
    assert all(copy.type.dims == (1,) for copy in executable("elements swapped").copies)


def test_no_array_of_places_is_made() -> None:
    kernel = executable("every so many").stages["kernels"]
    assert kernel.count("alloc") == 1  # of the result


@pytest.mark.parametrize("name", ["through a mask", "through a mask, complex"])
def test_a_masked_write_is_a_choice(name: str) -> None:
    stages = executable(name).stages
    assert "compress" not in stages["optimized"]
    assert "scatter" not in stages["optimized"]


def test_extents_that_are_constant_are_known() -> None:
    def windows(x: Any) -> Any:
        total = 0.0
        for i in range(7):
            total += x[2 * i : 2 * i + 4].sum()
        return total

    optimized = jitnet.jit(windows)._find((numbers(20),), {})[0].executable.stages["optimized"]
    assert "f64[4]" in optimized
    assert "minimum" not in optimized


def test_memory_of_many_sizes_is_freed_and_used_again() -> None:
    def sums(x: Any, n: int) -> Any:
        total = 0.0
        for i in range(n):
            y = np.cumsum(x[: i % 1000])
            total += y.sum() + np.sort(x[i % 900 : 1000]).sum()
        return total

    x = numbers(200_000)
    np.testing.assert_allclose(jitnet.jit(sums)(x, 3000), sums(x, 3000), rtol=1e-10)
