"""Scatters by atomic operations, where `jit(deterministic=False)` allows them: the values are right
in several orders of threads and blocks, and what has an order keeps it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from devices import DEVICE
from simulated import SCHEDULES, needs_compiler

from jitnet import grad, jit
from jitnet.runtime.devices.cpusim import scheduled

pytestmark = needs_compiler

RNG = np.random.default_rng(11)
COUNT, BINS = 3000, 70


def numbers(dtype: Any, *shape: int) -> np.ndarray:
    if np.dtype(dtype).kind == "c":
        return (RNG.standard_normal(shape) + 1j * RNG.standard_normal(shape)).astype(dtype)
    if np.dtype(dtype).kind == "f":
        return RNG.standard_normal(shape).astype(dtype)
    return RNG.integers(0, 100, shape).astype(dtype)


INDEX, OTHER = RNG.integers(-BINS, BINS, COUNT), RNG.integers(0, BINS, COUNT)


def lowered(fn: Callable[..., Any], *args: Any, **options: Any) -> tuple[str, str]:
    """The CUDA C++, without comments, and the host program of a function that may use atomic
    operations."""
    stages = jit(fn, device="cpusim", **{"deterministic": False, **options}).lower(*args).stages
    return re.sub("//.*", "", stages["cuda"]), stages["launches"]


def agrees(fn: Callable[..., Any], *args: Any) -> None:
    """Calls of the compiled function give NumPy's results, in all orders; integers exactly."""

    def results(f: Callable[..., Any]) -> list[np.ndarray]:
        out = f(*[x.copy() if isinstance(x, np.ndarray) else x for x in args])
        return [np.asarray(x) for x in (out if isinstance(out, tuple) else (out,))]

    with np.errstate(invalid="ignore"):
        expected = results(fn)
    compiled = jit(fn, device=DEVICE, deterministic=False)
    for schedule in SCHEDULES:
        with scheduled(schedule):
            got = results(compiled)
        for x, y in zip(got, expected, strict=True):
            assert x.dtype == y.dtype
            rounding = np.finfo(y.dtype).eps * 200 if y.dtype.kind in "fc" else 0
            np.testing.assert_allclose(x, y, rtol=rounding, atol=rounding)


def added(x, i, v):
    np.add.at(x, i, v)
    return x


def subtracted(x, i, v):
    np.subtract.at(x, i, v)
    return x


def raised_to(x, i, v):
    np.maximum.at(x, i, v)
    return x


def lowered_to(x, i, v):
    np.minimum.at(x, i, v)
    return x


def multiplied(x, i, v):
    np.multiply.at(x, i, v)
    return x


def with_bits(x, i, v):
    np.bitwise_or.at(x, i, v)
    np.bitwise_xor.at(x, i, v)
    return x


@pytest.mark.parametrize("dtype", ["f4", "f8", "i4", "i8", "u4", "u8", "c16"])
@pytest.mark.parametrize("fn", [added, subtracted])
def test_terms_are_added(fn: Any, dtype: str) -> None:
    args = numbers(dtype, BINS), INDEX, numbers(dtype, COUNT)
    agrees(fn, *args)
    assert "atomicAdd" in lowered(fn, *args)[0]


@pytest.mark.parametrize("dtype", ["f4", "f8", "i4", "i8", "u8"])
@pytest.mark.parametrize("fn", [raised_to, lowered_to])
def test_the_greatest_and_the_least(fn: Any, dtype: str) -> None:
    x, v = numbers(dtype, BINS), numbers(dtype, COUNT)
    if v.dtype.kind == "f":
        v[5] = np.nan
    agrees(fn, x, INDEX, v)
    native = {raised_to: "atomicMax", lowered_to: "atomicMin"}[fn]
    assert ("atomicCAS" if v.dtype.kind == "f" else native) in lowered(fn, x, INDEX, v)[0]


def test_factors_and_bits() -> None:
    args = numbers("f8", BINS), INDEX, 1 + 1e-3 * numbers("f8", COUNT)
    agrees(multiplied, *args)
    assert "atomicCAS" in lowered(multiplied, *args)[0]
    args = numbers("i4", BINS), INDEX, numbers("i4", COUNT)
    agrees(with_bits, *args)
    text = lowered(with_bits, *args)[0]
    assert "atomicOr" in text
    assert "atomicXor" in text


def test_histograms_of_any_extent() -> None:
    def counted(i):
        return np.bincount(i, minlength=BINS)

    agrees(counted, OTHER)
    text, program = lowered(counted, OTHER)
    assert "atomicAdd((unsigned long long*)" in text
    assert program.count("launch ") == hosts_launches(counted, OTHER)


def test_histograms_as_loops() -> None:
    def counted(x, i):
        h = np.zeros(BINS)
        n = np.zeros(BINS, int)
        for k in range(len(i)):
            h[i[k] % BINS] += x[k]
            n[i[k] % BINS] -= 1
        return h, n

    args = numbers("f8", COUNT), INDEX
    agrees(counted, *args)
    text, program = lowered(counted, *args)
    assert text.count("atomicAdd") == 2
    assert program.count("launch ") <= 2


def test_gradients_of_gathers() -> None:
    def loss(x, i, w):
        return np.sum(x[i] * w)

    x, w = numbers("f8", BINS), numbers("f8", COUNT)
    back = grad(loss)
    assert "atomicAdd" in lowered(back, x, INDEX, w)[0]
    assert lowered(back, x, INDEX, w)[1].count("launch ") == hosts_launches(back, x, INDEX, w)
    expected = np.zeros(BINS)
    np.add.at(expected, INDEX, w)
    for schedule in SCHEDULES:
        with scheduled(schedule):
            got = jit(back, device=DEVICE, deterministic=False)(x, INDEX, w)
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12)


MANY = RNG.integers(0, BINS, 30_000)


@pytest.mark.parametrize(("fn", "dtype"), [(added, "i8"), (added, "f4"), (raised_to, "f8")])
def test_small_targets_of_many_terms_have_copies(fn: Any, dtype: str) -> None:
    args = numbers(dtype, BINS), MANY, numbers(dtype, len(MANY))
    agrees(fn, *args)
    text, program = lowered(fn, *args)
    assert re.search(rf"__shared__ [a-z ]+ \w+\[{BINS}\];", text)
    assert program.count("launch ") == hosts_launches(fn, *args)


def test_copies_of_two_targets() -> None:
    def counted(x, i):
        total, least = np.zeros((7, 10)), np.full(70, np.inf)
        for k in range(len(i)):
            total[i[k] // 10, i[k] % 10] += x[k]
            least[i[k] % 70] = min(least[i[k] % 70], x[k])
        return total, least

    args = numbers("f8", len(MANY)), np.abs(MANY) % 70
    agrees(counted, *args)


def test_rows_are_added_by_a_thread_for_each_element() -> None:
    args = numbers("f8", BINS, 12), INDEX, numbers("f8", COUNT, 12)
    agrees(added, *args)
    assert f"= {COUNT} * 12;" in lowered(added, *args)[0]


def hosts_launches(fn: Callable[..., Any], *args: Any) -> int:
    """How many launches there are where sums have an order."""
    return lowered(fn, *args, deterministic=True)[1].count("launch ")


# -- what has an order keeps it --------------------------------------------------------------------


def test_nothing_is_atomic_by_default() -> None:
    args = numbers("f4", BINS), INDEX, numbers("f4", COUNT)
    assert "atomic" not in lowered(added, *args, deterministic=True)[0]


def test_the_last_write_wins() -> None:
    def put(x, i, v):
        x[i] = v
        return x

    args = numbers("f8", BINS), INDEX, numbers("f8", COUNT)
    agrees(put, *args)
    assert "atomic" not in lowered(put, *args)[0]


@pytest.mark.parametrize("dtype", ["f2", "i1", "u2"])
def test_small_numbers_have_owners(dtype: str) -> None:
    args = numbers(dtype, BINS), INDEX, numbers(dtype, COUNT)
    agrees(added, *args)
    assert "atomic" not in lowered(added, *args)[0]


def test_few_terms_stay_in_order() -> None:
    args = numbers("f8", BINS), INDEX[:100], numbers("f8", 100)
    agrees(added, *args)
    assert "atomic" not in lowered(added, *args)[0]


def test_columns_of_many_rows_keep_their_order() -> None:
    args = numbers("f4", 3, 9000), INDEX[:600] % 3, numbers("f4", 600, 9000)
    assert "atomic" not in lowered(added, *args)[0]


def follows(x, i, j):
    """What is read is what the loop writes."""
    for k in range(len(i)):
        x[i[k] % BINS] += x[j[k] % BINS] * 0.5
    return x


def both_from_before(x, i, j):
    """The second one wins where the two are the same element."""
    for k in range(len(i)):
        a, b = x[i[k] % BINS] + 1, x[j[k] % BINS] + 2
        x[i[k] % BINS] = a
        x[j[k] % BINS] = b
    return x


def twice(x, i, j):
    """Sums and products of the same elements."""
    for k in range(len(i)):
        x[i[k] % BINS] += 1
        x[j[k] % BINS] *= 0.5
    return x


def seen(x, i, j):
    """What was there is a result, too."""
    before = np.zeros(len(i))
    for k in range(len(i)):
        before[k] = x[i[k] % BINS]
        x[i[k] % BINS] += j[k]
    return x, before


@pytest.mark.parametrize("fn", [follows, both_from_before, twice, seen])
def test_loops_that_depend_on_what_they_write(fn: Any) -> None:
    args = numbers("f8", BINS), INDEX, OTHER
    agrees(fn, *args)
    assert "atomic" not in lowered(fn, *args)[0]


def test_two_updates_of_one_array() -> None:
    def moved(x, i, j, v):
        for k in range(len(i)):
            x[i[k] % BINS] -= v[k]
            x[j[k] % BINS] += v[k]
        return x

    args = numbers("f8", BINS), INDEX, OTHER, numbers("f8", COUNT)
    agrees(moved, *args)
    assert lowered(moved, *args)[0].count("atomicAdd") == 2


def test_columns_of_one_row_are_apart() -> None:
    def pushed(x, i, v):
        for k in range(len(i)):
            a, b = x[i[k] % BINS, 0] + v[k], x[i[k] % BINS, 1] - v[k]
            x[i[k] % BINS, 0] = a
            x[i[k] % BINS, 1] = b
        return x

    args = numbers("f8", BINS, 2), INDEX, numbers("f8", COUNT)
    agrees(pushed, *args)
    assert lowered(pushed, *args)[0].count("atomicAdd") == 2


# -- the option ------------------------------------------------------------------------------------


def test_nothing_changes_on_the_cpu() -> None:
    args = numbers("f8", BINS), INDEX, numbers("f8", COUNT)
    exact = jit(added)(*(a.copy() for a in args))
    free = jit(added, deterministic=False)(*(a.copy() for a in args))
    assert exact.tobytes() == free.tobytes()


def test_explain_tells() -> None:
    args = numbers("f8", BINS), INDEX, numbers("f8", COUNT)
    told = "scatters by atomic operations, in any order"
    assert told in jit(added, device="cpusim", deterministic=False).explain(*args)
    assert told not in jit(added, device="cpusim").explain(*args)
