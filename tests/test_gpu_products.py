"""Products by generated kernels: tiles in shared memory, and tensor cores for halves.

Real products have the bits of loops with one thread for each point: those are what the same program
computes where no nest is taken for a product. Sums of halves are float32, whose terms may come in
any order: each may be wrong by a few roundings of float32 for each term, and of the half in the
end. On cpusim the lanes of a warp exchange their fragments, so that places are those of a GPU.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from devices import DEVICE
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from simulated import SCHEDULES, assert_same, hosts_program, needs_compiler, run_kernel
from test_cpusim import kernel, run_text
from test_half_derivatives import PRECISION, halves, point

import jitnet
from jitnet import jit
from jitnet.codegen.cuda import cut as cutting
from jitnet.codegen.cuda import product_nests
from jitnet.codegen.cuda.cut import cut
from jitnet.ir import BufferType, Builder, Function, Literal
from jitnet.ir import types as T
from jitnet.kernel import scalars as s
from jitnet.kernel import statements as S
from jitnet.kernel.externs import EXTERNS, NO_TRANS, TRANS
from jitnet.runtime.devices.cpusim import CpuSim, SimulatedError, scheduled
from jitnet.runtime.devices.cuda import CudaDevice

pytestmark = needs_compiler

RNG = np.random.default_rng(0)
TILE = re.compile(r"__shared__ .*_tile\w*\[")
FEW = settings(
    max_examples=4, deadline=None, derandomize=True, database=None, phases=[Phase.generate]
)


def normal(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    return RNG.standard_normal(shape).astype(dtype)


def text_of(fn: Callable[..., Any], *args: Any) -> str:
    return jit(fn, device="cpusim").lower(*args).stages["cuda"]


def launches(fn: Callable[..., Any], *args: Any) -> int:
    text = hosts_program(fn, *args)
    assert "call_extern" not in text
    assert "product " not in text
    return text.count("launch ")


def in_all_orders(fn: Callable[..., Any], *args: Any) -> Any:
    """The results on the device, which are the same in any order of threads."""
    compiled, first = jit(fn, device=DEVICE), None
    for schedule in SCHEDULES:
        with scheduled(schedule):
            found = compiled(*args)
        first = found if first is None else first
        for x, y in zip(leaves(found), leaves(first), strict=True):
            assert x.tobytes() == y.tobytes(), "another order, other bits"
    return first


def leaves(x: Any) -> list[Any]:
    return [v for y in x for v in leaves(y)] if isinstance(x, tuple) else [np.asarray(x)]


def has_the_bits_of_loops(fn: Callable[..., Any], *args: Any) -> None:
    """Of a thread for each point, in all orders; and that there are tiles."""
    assert TILE.search(text_of(fn, *args))
    found = in_all_orders(fn, *args)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cutting, "find_product", lambda *_: None)
        assert not TILE.search(text_of(fn, *args))
        for x, y in zip(leaves(found), leaves(jit(fn, device=DEVICE)(*args)), strict=True):
            assert_same(x, y)
    for x, y in zip(leaves(found), leaves(jit(fn)(*args)), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-4 * np.abs(y).max(initial=1))


# -- tiles of real products ------------------------------------------------------------------------


@FEW
@given(
    st.integers(20, 25),
    st.tuples(*[st.integers(8, 40)] * 3),
    st.tuples(st.booleans(), st.booleans()),
    st.sampled_from([np.float32, np.float64]),
)
def test_stacks(count: int, extents: Any, turned: tuple[bool, bool], dtype: Any) -> None:
    m, n, k = extents
    x = normal(count, k, m, dtype=dtype) if turned[0] else normal(count, m, k, dtype=dtype)
    y = normal(count, n, k, dtype=dtype) if turned[1] else normal(count, k, n, dtype=dtype)

    def product(x: Any, y: Any) -> Any:
        x = x.transpose(0, 2, 1) if turned[0] else x
        return x @ (y.transpose(0, 2, 1) if turned[1] else y)

    assert launches(product, x, y) == 1
    has_the_bits_of_loops(product, x, y)


@pytest.mark.parametrize("shape", [(40, 64, 128, 20), (150, 33, 17, 9), (500, 35, 36, 37)])
def test_several_points_for_each_thread(shape: tuple[int, ...]) -> None:
    b, m, n, k = shape
    x, y = normal(b, m, k), normal(b, k, n)
    assert re.search(r"float \w+\[(\d)\]\[\1\]", text_of(lambda x, y: x @ y, x, y))
    has_the_bits_of_loops(lambda x, y: x @ y, x, y)


def test_parts_of_larger_arrays() -> None:
    x, y = normal(9, 40, 50), normal(9, 60, 70)
    has_the_bits_of_loops(lambda x, y: x[::2, 3:33, 5:45] @ y[4:, 7:47, 1:36], x, y)
    has_the_bits_of_loops(lambda x, y: x[:, 1:, :40] @ y[::-1, 20:, :33], x, y)


def scaled(dtype: T.DType, flags: tuple[int, int]) -> Function:
    """C = 2 A B - C / 2, for each of 5 matrices of 20 x 24, in rows of 30."""
    with Builder("scaled", "kernel") as b:
        x, y, z = (b.param(BufferType(dtype, (5, 900)), name) for name in "xyz")

        def one(at: Any) -> None:
            a, v, c = (S.view(w, s.mul(at, 900), (30, 30), (30, 1)) for w in (x, y, z))
            factors = [Literal(f, dtype) for f in (2.0, -0.5)]
            given = [Literal(f, T.i32) for f in flags]
            sizes = [S.as_index(d) for d in (20, 24, 28, 30)]
            first = (*given, *sizes[:3], factors[0], a, sizes[3], v, sizes[3])
            S.call_extern("sgemm" if dtype is T.f32 else "dgemm", (*first, factors[1], c, sizes[3]))

        S.loop(0, 5, one)
        return b.build()


@pytest.mark.parametrize("dtype", [T.f32, T.f64], ids=str)
@pytest.mark.parametrize("flags", [(a, b) for a in (NO_TRANS, TRANS) for b in (NO_TRANS, TRANS)])
def test_factors_and_distances_of_rows(dtype: T.DType, flags: tuple[int, int]) -> None:
    f = scaled(dtype, flags)
    assert TILE.search(cut(f).text)
    x, y, z = (normal(5, 900, dtype=dtype.numpy) for _ in range(3))
    expected = z.copy()
    gemm = EXTERNS["sgemm" if dtype is T.f32 else "dgemm"].numpy
    for a, b, c in zip(x, y, expected):
        gemm(*flags, 20, 24, 28, 2.0, a, 30, b, 30, -0.5, c, 30)
    for schedule in SCHEDULES:
        found = z.copy()
        with scheduled(schedule):
            run_kernel(f, [x, y, found], DEVICE)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_what_follows_is_in_the_same_kernel() -> None:
    def layer(x: Any, w: Any, b: Any) -> Any:
        return np.maximum(x @ w + b[:, None, :], 0) * x[:, :, :1]

    args = normal(9, 40, 30), normal(9, 30, 50), normal(9, 50)
    assert launches(layer, *args) == 1
    has_the_bits_of_loops(layer, *args)


def test_several_products_of_the_same_extents() -> None:
    def three(x: Any, q: Any, k: Any, v: Any) -> Any:
        return (x @ q) * (x @ k), x @ v

    args = normal(9, 40, 30), *(normal(9, 30, 50) for _ in range(3))
    has_the_bits_of_loops(three, *args)


def test_beside_other_kernels() -> None:
    """In a launch whose blocks have more threads than a tile."""

    def both(x: Any, y: Any, z: Any) -> Any:
        return x @ y, np.sqrt(z * z + 1), z.max(axis=1), y.transpose(0, 2, 1) @ y

    args = normal(40, 9, 30), normal(40, 30, 11), normal(70, 300)
    assert launches(both, *args) == 1
    assert "if (down < " in text_of(both, *args)
    has_the_bits_of_loops(both, *args)


def test_loops_of_the_users() -> None:
    def distances(x: Any, y: Any) -> Any:
        d = np.zeros((len(x), len(y)))
        for i in range(len(x)):
            for j in range(len(y)):
                total = 0.0
                for k in range(x.shape[1]):
                    total += (x[i, k] - y[j, k]) ** 2
                d[i, j] = np.sqrt(total)
        return d

    def shortest(x: Any, y: Any) -> Any:
        d = np.zeros((x.shape[0], y.shape[1]))
        for i in range(x.shape[0]):
            for j in range(y.shape[1]):
                best, far = np.inf, 0.0
                for k in range(len(y)):
                    best = min(best, x[i, k] + y[k, j])
                    far += x[i, k] * y[k, j] * (i - j) + k
                d[i, j] = best + far
        return d

    x, y = normal(45, 19, dtype=np.float64), normal(50, 19, dtype=np.float64)
    has_the_bits_of_loops(distances, x, y)
    has_the_bits_of_loops(shortest, x, y.T.copy())


def test_what_is_not_worth_tiles() -> None:
    for m, n, k in ((4, 40, 40), (40, 7, 40), (40, 40, 7)):
        assert not TILE.search(text_of(lambda x, y: x @ y, normal(30, m, k), normal(30, k, n)))

    def recurrent(h: Any, w: Any) -> Any:
        for _ in range(6):
            h = np.tanh(h @ w)
        return h

    assert launches(recurrent, normal(20, 30), normal(30, 30)) == 1
    assert not TILE.search(text_of(recurrent, normal(20, 30), normal(30, 30)))


# -- tensor cores ----------------------------------------------------------------------------------


@contextmanager
def no_library(there_is_one: bool = False) -> Iterator[None]:
    """No library of products: all products of halves are generated kernels."""
    with pytest.MonkeyPatch.context() as patch:
        if not there_is_one:
            for device in (CpuSim, CudaDevice):
                patch.setattr(device, "abilities", lambda self: frozenset())
        yield


def is_rounded_product(found: Any, x: Any, y: Any) -> None:
    """The product of halves, whose sums are float32: the rounding of the half, and two of float32
    for each term, relative to the sum of absolute values."""
    exact, size = (a.astype(float) @ b.astype(float) for a, b in ((x, y), (abs(x), abs(y))))
    precision = PRECISION.get(found.dtype.name, 2.0**-24)
    bound = precision * np.abs(exact) + x.shape[-1] * 2.0**-23 * size + 1e-7
    assert found.shape == exact.shape
    assert np.all(np.abs(found.astype(float) - exact) <= bound)


def on_both(of: Callable[..., Any], dtype: Any, *args: Any, library: bool = False) -> Any:
    """The result of a kernel for tensor cores, which is nearly the CPU's, as halves."""

    def product(*args: Any) -> Any:
        return of(*args).astype(dtype)

    with no_library(library):
        assert "mma.sync" in text_of(product, *args)
        assert launches(product, *args) == 1
        found = in_all_orders(product, *args)
    expected = jit(product)(*args)
    assert found.dtype == expected.dtype == dtype
    far = np.abs(found.astype(float) - expected.astype(float))
    assert far.max() <= 2 * PRECISION[found.dtype.name] * np.abs(expected.astype(float)).max()
    return found


@halves
@FEW
@given(
    st.integers(1, 3),
    st.tuples(*[st.one_of(st.integers(2, 100), st.sampled_from([16, 32, 40, 64, 96]))] * 3),
    st.tuples(st.booleans(), st.booleans()),
)
def test_halves(dtype: Any, count: int, extents: Any, turned: tuple[bool, bool]) -> None:
    m, n, k = extents
    m = max(m, 1200 // n + 1)  # not one of those that gather in a block
    x = normal(count, k, m, dtype=dtype) if turned[0] else normal(count, m, k, dtype=dtype)
    y = normal(count, n, k, dtype=dtype) if turned[1] else normal(count, k, n, dtype=dtype)

    def operands(x: Any, y: Any) -> Any:
        x = x.transpose(0, 2, 1) if turned[0] else x
        return x, y.transpose(0, 2, 1) if turned[1] else y

    def product(x: Any, y: Any) -> Any:
        x, y = operands(x, y)
        return x @ y

    is_rounded_product(on_both(product, dtype, x, y), *operands(x, y))


@halves
def test_large_tiles(dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that a GPU gets where there are many."""
    monkeypatch.setattr(product_nests, "BUSY", 1)
    for m, n, k, points in ((130, 136, 72, "[4][4][4]"), (70, 40, 50, "[2][4][4]")):
        x, y = normal(m, k, dtype=dtype), normal(k, n, dtype=dtype)
        with no_library():
            assert points in text_of(lambda x, y: x @ y, x, y)
        is_rounded_product(on_both(lambda x, y: x @ y, dtype, x, y), x, y)


@halves
def test_dot_einsum_and_parts_of_arrays(dtype: Any) -> None:
    x, y, z = (normal(*s, dtype=dtype) for s in ((48, 40), (40, 56), (3, 48, 40)))
    is_rounded_product(on_both(np.dot, dtype, x, y), x, y)
    is_rounded_product(on_both(lambda z, y: z @ y, dtype, z, y), z, y)
    found = on_both(lambda z, x: np.einsum("bik,jk->bij", z, x), dtype, z, x)
    is_rounded_product(found, z, x.T)
    found = on_both(lambda x, y: x[1:40, 1:33] @ y[8:, 3:50], dtype, x, y)
    is_rounded_product(found, x[1:40, 1:33], y[8:, 3:50])
    with no_library():
        is_rounded_product(in_all_orders(np.dot, x, y), x, y)  # of bfloat16, float32
        assert "copy_pack(&" in text_of(np.dot, x, y)
        assert "copy_pack(&" not in text_of(np.dot, x[:, :39].copy(), y[:39, :55].copy())


@halves
def test_nothing_of_a_row_gets_into_others(dtype: Any) -> None:
    x, y = normal(40, 50, dtype=dtype), normal(50, 60, dtype=dtype)
    x[3], y[:, 7], x[5, 2] = np.nan, np.inf, -np.inf
    with no_library(), np.errstate(invalid="ignore"):
        found = jit(np.dot, device=DEVICE)(x, y).astype(float)
        expected = x.astype(np.float32) @ y.astype(np.float32)
    assert np.array_equal(np.isfinite(found), np.isfinite(expected))
    assert np.array_equal(np.isnan(found), np.isnan(expected))


@halves
def test_what_follows_a_product_of_halves(dtype: Any) -> None:
    def layer(x: Any, w: Any, b: Any) -> Any:
        return np.maximum((x @ w).astype(dtype) + b, 0)

    on_both(layer, dtype, *(point(dtype, *s) for s in ((48, 40), (40, 56), (56,))))


@halves
def test_gradients_of_halves(dtype: Any) -> None:
    """A cotangent that lies where the product was."""

    def loss(w: Any, x: Any) -> Any:
        return np.maximum((x @ w).astype(dtype), 0).sum()

    x, w = normal(48, 40, dtype=dtype), normal(40, 56, dtype=dtype)
    with no_library():
        assert text_of(jitnet.grad(loss), w, x).count("__global__") == 3
        assert "call_extern" not in hosts_program(jitnet.grad(loss), w, x)
        found = in_all_orders(jitnet.grad(loss), w, x)
    is_rounded_product(found, x.T, (x.astype(float) @ w.astype(float) > 0).astype(dtype))


@halves
def test_large_products_are_the_librarys_where_it_has_them(dtype: Any) -> None:
    x, y = normal(48, 40, dtype=dtype), normal(40, 56, dtype=dtype)
    assert hosts_program(np.dot, x, y).count("product ") == 1
    assert hosts_program(np.dot, x[:16], y[:, :40]).count("product ") == 0
    stack = normal(9, 48, 40, dtype=dtype), normal(9, 40, 56, dtype=dtype)
    found = on_both(lambda x, y: x @ y, dtype, *stack, library=True)
    is_rounded_product(found, *stack)


@halves
def test_deep_products_in_loops_are_launches(dtype: Any) -> None:
    def recurrent(h: Any, w: Any) -> Any:
        for _ in range(3):
            h = np.tanh((h @ w).astype(dtype))
        return h

    h, w = point(dtype, 8, 96) / dtype(96), point(dtype, 96, 96)
    with no_library():
        assert "mma.sync" in text_of(recurrent, h, w)
        found = in_all_orders(recurrent, h, w)
        small = recurrent, h[:, :16].copy(), w[:16, :16].copy()
        assert launches(*small) == 1
        assert "mma.sync" not in text_of(*small)
    expected = jit(recurrent)(h, w).astype(float)
    assert np.abs(found.astype(float) - expected).max() <= 4 * PRECISION[found.dtype.name]


# -- barriers --------------------------------------------------------------------------------------


def alone(text: str) -> str:
    """A kernel without a status."""
    text = re.sub(r"\(\s*long long\* status, ", "(", text)
    name = re.search(r"(\w+)\(\s*const", text[text.index("__global__") :])
    assert name is not None
    return text.replace(f" {name.group(1)}(", " k(")


def without_barrier(text: str, n: int) -> str:
    """Without the nth of the kernel's."""
    start = text.index("__global__")
    places = [m.span() for m in re.finditer(r"__syncthreads\(\);", text) if m.start() > start]
    first, last = places[n]
    return text[:first] + text[last:]


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_each_barrier_is_needed(dtype: Any) -> None:
    x, y = normal(3, 40, 100, dtype=dtype), normal(3, 100, 40, dtype=dtype)
    text = alone(text_of(lambda x, y: x @ y, x, y))
    threads = int(re.findall(r"__launch_bounds__\((\d+)", text)[-1])

    def computed(text: str) -> set[bytes]:
        found = set()
        for schedule in SCHEDULES:
            out = np.zeros((3, 40, 40), dtype)
            with scheduled(schedule):
                run_text(text, x, y, out, blocks=2, threads=threads)
            found.add(out.tobytes())
        return found

    right = computed(text)
    assert len(right) == 1
    for n in range(2):
        assert computed(without_barrier(text, n)) != right


def test_threads_of_a_warp_wait_for_each_other() -> None:
    exchanged = """
      __shared__ double row[64];
      row[threadIdx.x] = x[threadIdx.x];
      BARRIER
      x[threadIdx.x] = row[threadIdx.x ^ 31];"""
    x = normal(64, dtype=np.float64)
    for schedule in SCHEDULES:
        given = x.copy()
        with scheduled(schedule):
            run_text(kernel(exchanged.replace("BARRIER", "__syncwarp();")), given)
        assert_same(given, x[np.arange(64) ^ 31])
        with scheduled(schedule):
            run_text(kernel(exchanged.replace("BARRIER", "")), given)
        assert np.isnan(given).any()


def test_threads_that_others_of_their_warp_wait_for() -> None:
    x = normal(64, dtype=np.float64)
    for missed in ("if (threadIdx.x < 5) return;", "if (threadIdx.x < 5) __syncthreads();"):
        with pytest.raises(SimulatedError, match="which do not come"):
            run_text(kernel(f"{missed}\n__syncwarp(); x[0] = 1;"), x)
    different = "if (threadIdx.x < 5)\n__syncwarp();\nelse\n__syncwarp();"
    with pytest.raises(SimulatedError, match="of a warp wait at different barriers"):
        run_text(kernel(different), x)
    run_text(kernel("if (threadIdx.x < 32) __syncwarp(); x[threadIdx.x] = threadIdx.x;"), x)
    assert_same(x, np.arange(64.0))
