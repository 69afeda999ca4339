"""How many launches functions are on a GPU, what kinds of kernels they are, and that these compute
what NumPy computes, in several orders of threads and blocks."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from devices import DEVICE
from gpu_functions import CASES, Case, adam, normal, parameters
from simulated import SCHEDULES, assert_same, hosts_program, needs_compiler

from jitnet import jit
from jitnet.runtime.devices.cpusim import scheduled

pytestmark = needs_compiler


def copied(x: Any) -> Any:
    if isinstance(x, dict):
        return {k: copied(v) for k, v in x.items()}
    return x.copy() if isinstance(x, np.ndarray) else x


def leaves(x: Any) -> list[Any]:
    if isinstance(x, dict):
        return leaves(list(x.values()))
    if isinstance(x, (tuple, list)):
        return [v for y in x for v in leaves(y)]
    return [x]


def close(x: Any, y: Any) -> None:
    x, y = np.asarray(x), np.asarray(y)
    assert x.dtype == y.dtype
    size = float(np.max(np.abs(y), initial=1.0))
    rtol = 1e-4 if x.dtype == np.float32 else 1e-9
    np.testing.assert_allclose(x, y, rtol=rtol, atol=size * rtol)


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_results_and_launches(case: Case) -> None:
    expected = jit(case.fn)(*map(copied, case.args))
    compiled = jit(case.fn, device=DEVICE)
    first = None
    for schedule in SCHEDULES[1:]:
        with scheduled(schedule):
            got = leaves(compiled(*map(copied, case.args)))
        for x, y in zip(got, leaves(expected), strict=True):
            close(x, y)
        bits = [np.asarray(x).tobytes() for x in got]
        first = first or bits
        assert bits == first, "another order, other bits"
    text = hosts_program(case.fn, *case.args)
    assert text.count("launch ") <= case.launches
    assert text.count("product ") == case.products


def cuda(fn: Any, *args: Any) -> str:
    return jit(fn, device="cpusim").lower(*args).stages["cuda"]


# -- launches that are several kernels -------------------------------------------------------------


def test_parts_of_the_same_text_are_one_function() -> None:
    text = cuda(adam, *(parameters() for _ in range(4)), 3.0)
    assert text.count("__global__") == 1
    calls = re.findall(r"(adam_part\d*)\(b", text)
    assert len(calls) > len(parameters())
    assert len(set(calls)) == text.count("static __device__ void adam_part") < len(calls)


def test_parts_with_blocks_of_their_own() -> None:
    def f(x, y, z):
        return np.exp(x - x.max(axis=1, keepdims=True)), np.sqrt(y * y + 1), z.sum()

    args = normal(70, 300), normal(9000), normal(100)
    assert hosts_program(f, *args).count("launch ") == 1
    for x, y in zip(jit(f, device=DEVICE)(*args), jit(f)(*args)):
        close(x, y)


def test_one_that_reads_what_another_one_writes_is_launched_after_it() -> None:
    def f(x, y):
        a = x @ y  # in another order of indices than what reads it
        return a[::-1].T + 1, y * 2

    args = normal(100, 30), normal(30, 90)
    for schedule in SCHEDULES:
        with scheduled(schedule):
            for x, y in zip(jit(f, device=DEVICE)(*args), jit(f)(*args)):
                close(x, y)


def test_checks_are_made_before_what_they_guard() -> None:
    def f(x, y, i, t):
        y = y * 2
        z = x[i] + y[: len(i)]
        return z / (1 - 0.5**t), y

    x, y, i = normal(3000), normal(3000), np.arange(3000)
    for schedule in SCHEDULES:
        with scheduled(schedule):
            with pytest.raises(IndexError, match="index 3000 is out of bounds"):
                jit(f, device=DEVICE)(x, y, i + 1, 2.0)
            with pytest.raises(OverflowError):
                jit(f, device=DEVICE)(x, y, i, -1e9)
            close(jit(f, device=DEVICE)(x, y, i, 2.0)[0], jit(f)(x, y, i, 2.0)[0])


def test_library_calls_wait_for_what_they_need_only() -> None:
    def f(x, y):
        return np.tanh(x @ y), np.exp(y) + 1, np.sin(x)

    text = hosts_program(f, normal(60, 50), normal(50, 40))
    assert text.index("product ") < text.index("launch ")
    assert text.count("launch ") == 1


# -- rows that stay with a block -------------------------------------------------------------------


def test_what_one_nest_hands_to_the_next_is_no_array() -> None:
    case = next(c for c in CASES if c.name == "layer_norm_backward")
    text = hosts_program(case.fn, *case.args)
    assert "%d: buf" not in text
    assert "%ct_d" not in text
    assert "__shared__ float ct_d[256]" in cuda(case.fn, *case.args)


def test_arrays_that_are_read_elsewhere_stay() -> None:
    def f(x):
        d = x - x.mean(axis=1, keepdims=True)
        return d, d * d, d[::-1] + 1

    x = normal(80, 90)
    for schedule in SCHEDULES:
        with scheduled(schedule):
            for got, expected in zip(jit(f, device=DEVICE)(x), jit(f)(x)):
                close(got, expected)


# -- sums of columns -------------------------------------------------------------------------------


def test_sums_of_columns_go_in_parts() -> None:
    x = normal(3000, 20)
    text = hosts_program(lambda x: x.sum(axis=0), x)
    assert text.count("launch ") == 2
    assert "_parts" in text
    for f in (lambda x: x.sum(axis=0), lambda x: x.max(axis=0), lambda x: (x > 3).any(axis=0)):
        close(jit(f, device=DEVICE)(x), f(x))


def test_many_columns_of_few_rows_have_a_thread_each() -> None:
    x = normal(100, 5000)
    for f in (lambda x: x.sum(axis=0), lambda x: (np.tanh(x) * x).max(axis=0)):
        text = hosts_program(f, x)
        assert text.count("launch ") == 1
        assert "alloc" not in text
        close(jit(f, device=DEVICE)(x), f(x))


def test_the_users_own_sums_keep_their_order() -> None:
    def f(x):
        total = np.zeros(x.shape[1])
        for i in range(x.shape[0]):
            total += x[i]
        return total

    x = normal(2000, 30).astype(np.float64)
    assert_same(jit(f, device=DEVICE)(x), f(x))
    assert_same(jit(lambda x: f(x), device=DEVICE)(x), jit(f)(x))


# -- scans -----------------------------------------------------------------------------------------


def test_scans_of_ints_are_exact() -> None:
    for n in (31, 1000, 5000, 40_000):
        x = RNG_INTS[:n]
        for f in (np.cumsum, lambda x: np.cumsum(x[::-1]), lambda x: np.cumprod(x % 3 + 1)):
            assert_same(jit(f, device=DEVICE)(x), f(x))


RNG_INTS = np.random.default_rng(1).integers(-100, 100, 40_000)


def test_scans_of_the_users_keep_their_order() -> None:
    def f(x):
        y, total = np.zeros_like(x), 0.0
        for i in range(len(x)):
            total += x[i]
            y[i] = total
        return y

    x = normal(5000).astype(np.float64) * 1e8
    assert_same(jit(f, device=DEVICE)(x), jit(f)(x))


def test_scans_that_begin_with_minus_zero() -> None:
    x = np.full(100, -0.0)
    assert np.signbit(jit(np.cumsum, device=DEVICE)(x)).all()


# -- scatters --------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [(), (3,), (40,)])
def test_scatters_have_the_bits_of_a_loop_in_order(rows: tuple[int, ...]) -> None:
    rng = np.random.default_rng(2)
    i = rng.integers(-70, 70, 3000)
    x, v = rng.standard_normal((70, *rows)), rng.standard_normal((3000, *rows)) * 1e6

    def added(x, i, v):
        np.add.at(x, i, v)
        return x

    def put(x, i, v):
        x[i] = v
        return x

    for f in (added, put):
        assert "rounds of this block" in cuda(f, x.copy(), i, v)
        for schedule in SCHEDULES:
            with scheduled(schedule):
                assert_same(jit(f, device=DEVICE)(x.copy(), i, v), f(x.copy(), i, v))


def test_histograms_of_the_users() -> None:
    def f(values):
        counts = np.zeros(50, np.int64)
        for v in values:
            if 0 <= v < 50:
                counts[v] += 1
        return counts

    values = np.random.default_rng(3).integers(-10, 60, 2000)
    assert_same(jit(f, device=DEVICE)(values), f(values))


# -- tiles, products, widths -----------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int8])
def test_transposes_go_through_tiles(dtype: Any) -> None:
    x = (100 * normal(100, 130)).astype(dtype)
    y = (100 * normal(9, 40, 50)).astype(dtype)
    functions = [
        (lambda x: np.ascontiguousarray(x.T) + 1, x),
        (lambda x: np.add(x[::-1].T, 1, order="C"), x),
        (lambda y: np.transpose(y, (2, 0, 1)) * 2, y),
        (lambda y: np.transpose(y, (0, 2, 1)) * 2, y),
    ]
    for f, array in functions:
        assert "__shared__" in cuda(f, array)
        for schedule in SCHEDULES:
            with scheduled(schedule):
                assert_same(jit(f, device=DEVICE)(array), f(array))


def test_a_matrix_and_its_transpose() -> None:
    x = normal(120, 120)
    assert_same(jit(lambda x: x - x.T, device=DEVICE)(x), x - x.T)


def test_small_products_are_kernels_and_large_ones_calls() -> None:
    def product(x, y):
        return x @ y

    for m, calls in ((16, 0), (300, 1)):
        text = hosts_program(product, normal(m, m), normal(m, m))
        assert text.count("product ") == calls
    stack = normal(20, 33, 30), normal(20, 30, 31)
    assert "product " not in hosts_program(product, *stack)
    close(jit(product, device=DEVICE)(*stack), product(*stack))


def test_small_states_stay_in_one_kernel() -> None:
    def f(u, w, steps):
        v = np.zeros_like(u)
        for _ in range(steps):
            v[:] = u @ w
            u, v = v, u
        return u, v

    u, w = normal(4, 8).astype(np.float64), normal(8, 8).astype(np.float64)
    assert hosts_program(f, u, w, 5).count("launch ") == 1
    for steps in (0, 1, 4):
        for got, expected in zip(jit(f, device=DEVICE)(u.copy(), w, steps), f(u.copy(), w, steps)):
            close(got, expected)


def test_rows_of_sixteen_bytes() -> None:
    def f(x, b):
        return np.maximum(x + b, 0)

    x, b = normal(70, 132), normal(132)
    assert "pack<float, 4>" in cuda(f, x, b)
    assert "pack<" not in cuda(f, normal(70, 131), normal(131))
    for start in (0, 4, 3):  # the last one begins nowhere near a multiple of 16 bytes

        def g(x, b, start=start):
            return f(x[1:, start:128], b[start:128])

        assert_same(jit(g, device=DEVICE)(x, b), g(x, b))


def test_indices_are_short_in_all_kinds_of_kernels() -> None:
    for case in CASES:
        if case.name in ("softmax", "layer_norm_backward", "cumsum", "transposed", "bias_relu"):
            text = cuda(case.fn, *case.args)
            kernels = text[text.index("__global__") :]
            assert "(long long)" not in kernels, case.name
            assert "for (long long" not in kernels, case.name


def test_the_text_has_the_users_lines() -> None:
    text = cuda(CASES[0].fn, *CASES[0].args)
    assert "// gpu_functions.py:" in text
    assert "e = np.exp(x - x.max(axis=1, keepdims=True))" in text or "return e / e.sum" in text
