"""Functions on the device "cpusim": NumPy's answers, from CUDA C++ that g++ has compiled.

Results are compared with the CPU backend bit for bit where both compute the same, and with NumPy
elsewhere. Kernels run in several orders of threads and blocks.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from devices import DEVICE
from simulated import SCHEDULES, assert_same, hosts_program, launches, needs_compiler

import jitnet
from jitnet import errors, jit
from jitnet.runtime.devices import cpusim, open_device
from jitnet.runtime.devices.cpusim import SimulatedError, scheduled

pytestmark = needs_compiler

RNG = np.random.default_rng(0)
N = 3000
"""Elements of a nest that is a launch of its own, and no multiple of what a block takes."""


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape)


def check(f: Callable[..., Any], *args: Any, schedules: tuple[int, ...] = SCHEDULES) -> None:
    """The device's results are NumPy's to rounding, in any order of threads, and always the same
    bits; arguments are changed as NumPy changes them."""

    def copies() -> list[Any]:
        return [x.copy() if isinstance(x, np.ndarray) else x for x in args]

    plain = copies()
    with np.errstate(all="ignore"):
        expected = f(*plain)
    compiled, first = jit(f, device=DEVICE), None
    for schedule in schedules:
        given = copies()
        with scheduled(schedule):
            got = compiled(*given)
        for x, y in zip(_leaves((got, given)), _leaves((expected, plain)), strict=True):
            assert np.asarray(x).dtype == np.asarray(y).dtype
            np.testing.assert_allclose(x, y, rtol=1e-9, atol=_rounding(np.asarray(y)))
        bits = [np.asarray(x).tobytes() for x in _leaves((got, given))]
        first = first or bits
        assert bits == first, "another order, other bits"


def _rounding(x: np.ndarray) -> float:
    if x.dtype.kind not in "fc":
        return 0.0
    return float(64 * np.finfo(x.dtype).eps * np.max(np.abs(x), initial=0, where=np.isfinite(x)))


def _leaves(x: Any) -> list[Any]:
    if isinstance(x, (tuple, list)):
        return [v for y in x for v in _leaves(y)]
    return [] if x is None else [x]


def agrees_with_cpu(f: Callable[..., Any], *args: Any) -> None:
    """The very bits of the CPU backend."""
    with np.errstate(all="ignore"):
        for x, y in zip(_leaves(jit(f, device=DEVICE)(*args)), _leaves(jit(f)(*args))):
            assert_same(x, y)


# -- elementwise -----------------------------------------------------------------------------------


def test_every_dtype() -> None:
    dtypes = ["?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f4", "f8", "c8", "c16"]
    xs = [(100 * normal(N)).astype(d) for d in dtypes if d[0] != "u"]
    xs += [np.arange(N).astype(d) for d in dtypes if d[0] == "u"]

    def f(*xs):
        return [x + x for x in xs], [x * x == x for x in xs], [np.where(x == x, x, x) for x in xs]

    agrees_with_cpu(f, *xs)


def test_elementary_functions_have_the_bits_of_the_cpu() -> None:
    def f(x, y):
        a = np.exp(-x * x) + np.log1p(np.abs(y)) * np.tanh(x) - np.sin(3 * y) * np.cos(x)
        return a, np.expm1(x) / np.log2(y * y + 2), np.arctan2(x, y), np.power(np.abs(x), y)

    agrees_with_cpu(f, normal(N), normal(N))
    agrees_with_cpu(f, normal(N).astype("f"), normal(N).astype("f"))


def test_broadcasts_views_and_scalars() -> None:
    def f(x, y, s):
        return x[:, 1:] * y + s, x.T[::-1] - s, (x.reshape(-1)[::2] > 0).astype(np.int32)

    check(f, normal(60, 50), normal(49), 2.5)
    check(f, normal(60, 50)[::-1], normal(98)[::2], 3)
    check(f, np.asfortranarray(normal(60, 50)), normal(49), np.float32(1.5))


def test_extents_of_zero_and_one() -> None:
    def f(x):
        return x * 2 + 1, x.sum(axis=0), np.zeros((0, 3)), x[:0]

    check(f, np.ones((0, 3)))
    check(f, np.ones((1, 3)))
    check(lambda x: (x.sum(), x + 1), np.array(2.0))


def test_loads_and_stores_of_sixteen_bytes() -> None:
    def f(x, y):
        return np.sqrt(x) * y

    x = np.abs(normal(N)).astype("f")
    text = jit(f, device="cpusim").lower(x, x).stages["cuda"]
    assert "pack<float, 4>" in text
    for start in (0, 1):  # the rest, and memory that is not aligned
        check(lambda x, y, start=start: f(x[start:], y[start:]), x, x)
    check(lambda x, k: (x > 0) & (k > 3), normal(N), np.arange(N, dtype=np.uint8))


def test_indices_are_short_where_extents_allow_it() -> None:
    text = jit(lambda x: x + 1, device="cpusim").lower(normal(70, 50)).stages["cuda"]
    assert "for (int" in text
    assert "for (long long" not in text


# -- reductions ------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(40,), (N,), (50_000,), (7, 900), (900, 7), (64, 300)])
def test_reductions(shape: tuple[int, ...]) -> None:
    x = normal(*shape)

    def f(x):
        rows = [x.sum(axis=-1), x.max(axis=-1), (x * x).mean(axis=0), x.argmin(axis=-1)]
        return [x.sum(), x.min(), x.prod(), x.std(), (x > 0).any(), (x < 9).all(), *rows]

    check(f, x)
    check(lambda x: (x.sum(), x.sum(axis=0), x.max()), (10 * x).astype(np.int32))


def test_sums_are_compensated() -> None:
    x = np.concatenate([[1e16], np.ones(40_000), [-1e16]])
    got = jit(lambda x: x.sum(), device=DEVICE)(x)
    assert abs(got - 40_000) < 600  # those in the block of the large number are lost


def test_nan_wins() -> None:
    x = normal(20_000)
    x[12_345] = np.nan
    for f in (np.max, np.min, np.sum):
        assert np.isnan(jit(lambda x, f=f: f(x), device=DEVICE)(x))


# -- how many launches -----------------------------------------------------------------------------


def softmax(x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def layer_norm(x, w, b):
    d = x - x.mean(axis=1, keepdims=True)
    return d / np.sqrt((d * d).mean(axis=1, keepdims=True) + 1e-5) * w + b


def gelu(x):
    return 0.5 * x * (1 + np.tanh(0.7978845608 * (x + 0.044715 * x**3)))


def backward(f: Callable[..., Any]) -> Callable[..., Any]:
    def pulled(x, ct, *rest):
        return jitnet.vjp(f, x, *rest)[1](ct)

    return pulled


def test_launches() -> None:
    x, w = normal(64, 512).astype("f"), normal(512).astype("f")
    assert launches(softmax, x) == 1
    assert launches(backward(softmax), x, x) == 1
    assert launches(layer_norm, x, w, w) == 1
    assert launches(gelu, x) == 1
    assert launches(lambda x: x.sum(), normal(100_000)) == 2
    assert launches(lambda x: x.sum(axis=0), x) <= 1
    assert launches(lambda x, i: x[i], w, np.arange(5)) == 1
    check(softmax, x)
    check(layer_norm, x, w, w)
    check(backward(softmax), x, x)


def test_small_things_gather_in_one_kernel() -> None:
    def f(x):
        y = (x - x.mean()) / x.std()
        for _ in range(10):
            y[1:-1] = (y[:-2] + y[2:]) / 2
        return y, y.max()

    assert launches(f, normal(500)) == 1
    check(f, normal(500))


def test_large_loops_are_the_hosts() -> None:
    def f(x, steps):
        for _ in range(steps):
            x[1:-1] = (x[:-2] + x[2:]) / 2
        return x

    text = hosts_program(f, normal(20_000), 12)
    assert text.index("for 0, %0, ") < text.rindex("launch ", 0, text.rindex("return %"))
    check(f, normal(20_000), 12)


# -- data movement and control ---------------------------------------------------------------------


def test_gathers_and_scatters() -> None:
    def f(x, i, v):
        x[i] += v
        np.add.at(x, i, v)
        x[i[:3]] = 7.0
        return x[i], x.take(i[::2]), x

    check(f, normal(N), RNG.integers(-N, N, 5000), normal(5000))
    check(f, normal(10), np.array([1, 1, -1, 0]), normal(4))


def test_masks() -> None:
    def f(x):
        kept = x[x > 0]
        return kept, kept.sum(), len(kept), np.flatnonzero(x > 1), x[x > 99]

    check(f, normal(N))


def test_sorting_and_products() -> None:
    def f(x, y):
        return np.sort(x, axis=1), np.argsort(x[0]), x @ y, np.linalg.solve(y @ y.T, y[:, 0])

    check(f, normal(20, 30), normal(30, 40))


def test_scans() -> None:
    check(
        lambda x: (np.cumsum(x), np.cumprod(x[:20]), np.cumsum(x.reshape(6, -1), axis=0)),
        normal(60),
    )


def test_loops_of_the_users() -> None:
    def independent(x):
        y = np.zeros(x.shape[0])
        for i in range(x.shape[0]):
            total = 0.0
            for j in range(x.shape[1]):
                total += x[i, j] * j
            y[i] = total if total > 0 else -1.0
        return y

    def in_order(x):
        for i in range(1, x.shape[0]):
            x[i] = 0.5 * x[i - 1] + x[i]
        return x

    x = normal(1500, 5)
    assert "blockIdx" in jit(independent, device="cpusim").lower(x).stages["cuda"]
    check(independent, x)
    check(in_order, normal(100))
    check(in_order, normal(100, 3))


def test_whiles() -> None:
    def newton(a):
        x = a
        while abs(x * x - a) > 1e-12:
            x = (x + a / x) / 2
        return x

    def halved(x):
        n = 0
        while x.sum() > 1:
            x = x / 2
            n += 1
        return x, n

    check(newton, 2.0)
    check(halved, np.abs(normal(100)))
    check(halved, np.abs(normal(20_000)))


def test_swaps() -> None:
    def f(u, steps):
        v = np.zeros_like(u)
        for _ in range(steps):
            v[1:-1] = u[:-2] + u[2:]
            u, v = v, u
        return u

    for steps in (0, 1, 6, 7):
        check(f, normal(30), steps)


def test_complex_numbers() -> None:
    def f(z, w):
        z[::2] *= 2j
        return np.exp(z) * w.conj(), z.sum(), abs(z), np.outer(z, w) @ w

    check(f, normal(40) + 1j * normal(40), normal(40) - 1j * normal(40))
    check(lambda z: z * z + 1j, 2 - 1j)


def test_arguments_that_are_changed() -> None:
    def f(x, y):
        x += 1
        y[::2] = x[: len(y[::2])]

    check(f, normal(N), normal(N))
    base = normal(2 * N)
    given, plain = base.copy()[::2], base.copy()[::2]
    jit(f, device=DEVICE)(given, np.zeros(4))
    f(plain, np.zeros(4))
    assert_same(given, plain)
    shared = normal(N)
    expected = shared.copy()
    jit(f, device=DEVICE)(shared[:-1], shared[1:])
    f(expected[:-1], expected[1:])
    assert_same(shared, expected)


def test_results_of_all_kinds() -> None:
    def f(x, n):
        return x, x[1:], {"n": n + 1, "mean": x.mean()}, x.sum() > 0, np.float32(2) * n

    x = normal(20)
    got, want = jit(f, device=DEVICE)(x, 3), f(x, 3)
    assert got[0] is x
    assert np.shares_memory(got[1], x)
    assert [type(v) for v in (*got[2].values(), *got[3:])] == [
        type(v) for v in (*want[2].values(), *want[3:])
    ]


def test_gradients() -> None:
    def loss(p, x):
        h = np.tanh(x @ p["w"] + p["b"])
        return (softmax(h) ** 2).sum()

    p, x = {"w": normal(8, 5), "b": normal(5)}, normal(30, 8)
    value, gradient = jit(jitnet.value_and_grad(loss), device=DEVICE)(p, x)
    expected, wanted = jitnet.value_and_grad(loss)(p, x)
    assert value == pytest.approx(expected, rel=1e-12)
    for name in p:
        np.testing.assert_allclose(gradient[name], wanted[name], rtol=1e-9, atol=1e-14)

    def root(a):
        x = a
        while abs(x * x - a) > 1e-12:
            x = (x + a / x) / 2
        return x

    slope = jit(jitnet.grad(root), device=DEVICE)(9.0)
    assert slope == pytest.approx(1 / 6, rel=1e-9)


def test_vmap_and_derivatives_inside() -> None:
    def f(xs):
        return jitnet.vmap(jitnet.grad(lambda x: (x**3).sum()))(xs)

    check_like = jit(f, device=DEVICE)(normal(4, 3) * 0 + 2)
    np.testing.assert_allclose(check_like, np.full((4, 3), 12.0))


# -- errors ----------------------------------------------------------------------------------------


def test_errors_are_those_of_the_cpu() -> None:
    def gathered(x, i):
        return x[i] * 2

    def in_a_loop(x, i):
        for k in range(len(i)):
            x[i[k]] += 1
        return x

    x, i = normal(10), np.array([1, 3, 12, -11])
    for f in (gathered, in_a_loop):
        with pytest.raises(IndexError) as expected:
            jit(f)(x.copy(), i)
        with pytest.raises(IndexError) as got:
            jit(f, device=DEVICE)(x.copy(), i)
        assert str(got.value) == str(expected.value)
        check(f, x, i % 10)

    def first_of_two(x, i):
        y = x[i[0]]
        if y > 100:
            raise ValueError("large")
        return x[i] + y

    compiled = jit(first_of_two, device=DEVICE)
    with pytest.raises(ValueError, match="large"):
        compiled(np.full(4, 200.0), np.array([0, 99]))
    with pytest.raises(IndexError, match="99"):
        compiled(np.full(4, 2.0), np.array([0, 99]))
    assert_same(compiled(np.full(4, 2.0), np.array([0, 1])), np.array([4.0, 4.0]))


def test_printing(capsys: pytest.CaptureFixture[str]) -> None:
    def f(x):
        y = x * 2
        print("sum", y.sum(), y)
        return y

    jit(f, device=DEVICE)(np.ones(3))
    assert capsys.readouterr().out == "sum 6.0 [2. 2. 2.]\n"


def test_what_is_shown() -> None:
    lowered = jit(softmax, device="cpusim").lower(normal(4, 100))
    names = ["traced", "optimized", "fused", "kernels", "launches", "cuda"]
    assert list(lowered.stages) == names
    text = lowered.stages["cuda"]
    assert "__global__" in text
    assert "// test_cpusim.py:" in text
    assert "#include" not in text
    assert "exp_f64(" in text
    told = jit(softmax, device="cpusim").explain(normal(4, 100))
    assert "device: cpusim, 1 kernels in 1 launches; x uploaded; results downloaded" in told
    assert "device" not in jit(softmax).explain(normal(4, 100))
    assert isinstance(lowered.cost()["flops"], int)


def test_many_calls_and_kinds() -> None:
    f = jit(lambda x: x * 2, device=DEVICE)
    for _ in range(60):  # where the CPU has got a native entry
        assert_same(f(np.ones(3)), np.full(3, 2.0))
    for n in range(1, 8):
        assert_same(f(np.ones(n)), np.full(n, 2.0))
    assert f.cache_info().misses < 8


def test_no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(errors.NotAvailableError, match=r"g\+\+, which was not found") as error:
        jit(lambda x: x * 17.25, device="cpusim")(np.ones(3))
    assert "apt install" in str(error.value)


def test_no_cupy() -> None:
    try:
        open_device("cuda")
    except errors.NotAvailableError as error:
        assert "remedy" in str(error)  # noqa: PT017
        with pytest.raises(errors.NotAvailableError, match="cuda"):
            jit(lambda x: x + 1, device="cuda")(np.ones(3))


def test_options() -> None:
    @jit(device=DEVICE)
    def f(x):
        return x + 1

    assert_same(f(np.ones(2)), np.full(2, 2.0))
    assert "__global__" in f.lower(np.ones(2)).stages["cuda"]
    with pytest.raises(ValueError, match="device must be"):
        jit(lambda x: x, device="tpu")
    verified = jit(lambda x: np.tanh(x).sum(), device=DEVICE, verify=True)
    assert verified(np.ones(3)) == pytest.approx(3 * np.tanh(1))


def test_the_cpu_path_knows_nothing_of_it() -> None:
    script = (
        "import sys, numpy as np, jitnet\n"
        "assert jitnet.jit(lambda x: x + 1)(np.ones(2))[0] == 2\n"
        "loaded = [m for m in sys.modules if 'devices' in m or 'codegen.cuda' in m]\n"
        "assert not loaded, loaded\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


# -- the simulator ---------------------------------------------------------------------------------


def run_text(text: str, *arrays: np.ndarray, blocks: int = 1, threads: int = 64) -> None:
    """Run the kernel `k` of hand-written CUDA C++ on arrays, which it may change."""
    device = open_device("cpusim")
    memories = [device.allocate(x.nbytes) for x in arrays]
    for memory, x in zip(memories, arrays):
        device.upload(memory, 0, x)
    slots = b"".join(memory.address.to_bytes(8, "little") for memory in memories)
    device.launcher(device.load(text).kernel("k"), blocks, threads, slots)()
    device.finish()
    for memory, x in zip(memories, arrays):
        x[...] = device.download(memory, 0, x.nbytes).view(x.dtype).reshape(x.shape)


def kernel(body: str) -> str:
    return f'extern "C" __global__ void __launch_bounds__(64) k(double* x) {{\n{body}\n}}\n'


def test_a_missing_barrier_shows() -> None:
    reverse = """
      __shared__ double row[64];
      row[threadIdx.x] = x[threadIdx.x];
      BARRIER
      x[threadIdx.x] = row[63 - threadIdx.x];"""
    x = normal(64)
    for schedule in SCHEDULES:
        given = x.copy()
        with scheduled(schedule):
            run_text(kernel(reverse.replace("BARRIER", "__syncthreads();")), given)
        assert_same(given, x[::-1])
        with scheduled(schedule):
            run_text(kernel(reverse.replace("BARRIER", "")), given)
        assert np.isnan(given).any()  # shared memory was poison


def test_barriers_that_some_threads_miss() -> None:
    x = normal(64)
    divergent = "if (threadIdx.x < 5) return; __syncthreads(); x[0] = 1;"
    with pytest.raises(SimulatedError, match="a thread ends while others wait"):
        run_text(kernel(divergent), x)
    different = "if (threadIdx.x < 5)\n__syncthreads();\nelse\n__syncthreads();"
    with pytest.raises(SimulatedError, match="different barriers"):
        run_text(kernel(different), x)
    run_text(kernel("x[threadIdx.x] = threadIdx.x;"), x)  # and it goes on after that
    assert_same(x, np.arange(64.0))


def test_writes_outside_show() -> None:
    with pytest.raises(SimulatedError, match="outside of its memory"):
        run_text(kernel("x[64] = 1;"), normal(64))


def test_schedules_differ() -> None:
    last = "if (threadIdx.x % 7 == 0) x[0] = blockIdx.x * 64.0 + threadIdx.x;"
    seen = set()
    for schedule in SCHEDULES:
        x = np.zeros(1)
        with scheduled(schedule):
            run_text(kernel(last), x, blocks=4)
        seen.add(x[0])
    assert len(seen) >= 3
    assert cpusim.POISON == 0xFF
