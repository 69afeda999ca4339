"""Arrays that one mask shrinks: one extent for all of them, one loop that keeps their elements.

Masks with long runs of True and of False take the ways of whole blocks; random ones mix them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import jitnet


def shrunk(x: Any, y: Any, least: float) -> tuple[Any, Any, int]:
    steps = 0
    while len(x):
        stay = x > least
        x, y = x[stay], y[stay]
        x = x - y
        steps += 1
        if steps > 20:
            break
    return x, y, steps


def masks(n: int) -> dict[str, Any]:
    rng = np.random.default_rng(n)
    runs = np.repeat(rng.random(n // 20 + 1) < 0.5, 20)[:n]
    return {
        "none": np.zeros(n, bool),
        "all": np.ones(n, bool),
        "half": rng.random(n) < 0.5,
        "few": rng.random(n) < 0.02,
        "most": rng.random(n) < 0.98,
        "runs": runs,
    }


@pytest.mark.parametrize("n", [0, 1, 15, 16, 17, 63, 64, 65, 200, 1000])
def test_what_masks_keep(n: int) -> None:
    rng = np.random.default_rng(7)
    x, r, z = rng.normal(size=n), np.arange(n), rng.normal(size=n) + 1j * np.arange(n)
    f = jitnet.jit(lambda x, r, z, m: (x[m], r[m], z[m], x[m] * 2.0 + r[m], np.nonzero(m)[0]))
    for name, m in masks(n).items():
        for got, expected in zip(f(x, r, z, m), f.__wrapped__(x, r, z, m), strict=True):
            assert got.dtype == expected.dtype, name
            assert np.array_equal(got, expected), name


def test_arrays_that_shrink_together_have_one_extent_and_no_check() -> None:
    x, y = np.linspace(-1, 5, 300), np.full(300, 0.3)
    lowered = jitnet.jit(shrunk).lower(x, y, 0.0)
    text = lowered.stages["kernels"]
    assert "raise" not in text
    assert lowered.stages["fused"].count("compress") == 1
    got, expected = jitnet.jit(shrunk)(x, y, 0.0), shrunk(x, y, 0.0)
    assert np.array_equal(got[0], expected[0])
    assert np.array_equal(got[1], expected[1])
    assert got[2] == expected[2]


def test_masks_of_known_length_on_arrays_of_traced_length() -> None:
    def f(x: Any, m: Any) -> Any:
        y = x[x > -10.0]
        return y[m], y[m] + x[m]

    x, m = np.arange(5.0), np.array([True, False, True, True, False])
    for got, expected in zip(jitnet.jit(f)(x, m), f(x, m), strict=True):
        assert np.array_equal(got, expected)


def test_other_masks_stay_apart() -> None:
    def f(x: Any, least: float) -> Any:
        m = x > least
        a = x[m]
        m[0] = not m[0]
        return a, x[m], x[~m]

    x = np.linspace(-1, 1, 50)
    for got, expected in zip(jitnet.jit(f)(x, 0.25), f(x, 0.25), strict=True):
        assert np.array_equal(got, expected)


def test_complex_numbers_are_kept_as_they_lie() -> None:
    z, m = np.arange(100) * (1 + 2j), np.arange(100) % 3 == 0
    f = jitnet.jit(lambda z, m: z[m])
    assert np.array_equal(f(z, m), z[m])
    assert f.lower(z, m).stages["kernels"].count("alloc") == 1
