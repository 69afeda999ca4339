"""How programs run on a device: recorded, replayed, never stale; arrays that stay there; errors.

Kernels run on cpusim. What CuPy would be asked for is seen by a stand-in for it, which computes
what it is asked to and refuses what CUDA does.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from cupy_stand_in import StandIn, cupy_standing_in
from devices import DEVICE
from simulated import assert_same, needs_compiler
from stand_in import Device, Held, given, standing_in

import jitnet
from jitnet import errors, jit
from jitnet.ir import types as T
from jitnet.kernel.externs import EXTERNS, NO_TRANS, TRANS
from jitnet.runtime.devices import plan
from jitnet.runtime.devices.commands import Buffer, Clear, Copy
from jitnet.runtime.devices.device import Span
from jitnet.runtime.devices.libraries import Libraries
from jitnet.runtime.devices.plan import Planned, arena_of
from jitnet.runtime.devices.program import DeviceProgram
from jitnet.runtime.devices.rounds import Rounds

pytestmark = needs_compiler

RNG = np.random.default_rng(0)


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape)


@pytest.fixture
def device() -> Iterator[Device]:
    with standing_in() as made:
        yield made


@pytest.fixture
def cupy() -> Iterator[StandIn]:
    with cupy_standing_in() as made:
        yield made


def program_of(f: Any) -> DeviceProgram:
    """The program of a function with one specialisation."""
    (found,) = f._cache.values()
    run: DeviceProgram = found.executable.run
    return run


def graphs(f: Any) -> int:
    recorded = program_of(f).recorded.values()
    return sum(r.plan.graphs for r in recorded if r is not None)


# -- replays ---------------------------------------------------------------------------------------


def two_launches(x, s):
    rows = (x * s).sum(axis=1, keepdims=True)
    return np.tanh(x - rows.mean()) + s, rows


def test_replays_are_never_stale() -> None:
    f = jit(two_launches, device=DEVICE)
    kept = []
    for n in range(8):
        x, s = normal(300, 200), 0.5 + n
        got = f(x, s)
        for a, b in zip(got, two_launches(x, s)):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
        kept += [got] if n % 2 else []
    assert graphs(f) >= 1


def test_graphs_hold_for_their_addresses_alone(device: Device) -> None:
    f, xs = jit(two_launches), [normal(300, 200) for _ in range(3)]
    held = [given(x) for x in xs]
    order = [0, 0, 0, 0, 0, 1, 2, 1, 1, 1, 0, 2, 2, 2]
    for k, i in enumerate(order):
        out, rows = f(held[i], 1.0 + k)
        wanted = two_launches(xs[i], 1.0 + k)
        np.testing.assert_allclose(out.get(), wanted[0], rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(rows.get(), wanted[1], rtol=1e-9, atol=1e-12)
        held[i]._host[...] = xs[i] = normal(300, 200)  # new content at the same address
        del out, rows
    assert device.count("capture") == graphs(f) >= 2
    assert device.count("graph") > device.count("capture")
    assert device.count("download") == 0


def test_a_call_is_one_allocation_and_one_graph(device: Device) -> None:
    f, x = jit(two_launches), given(normal(300, 200))
    for _ in range(4):
        f(x, 2.0)
    device.calls.clear()
    f(x, 2.0)
    sizes = [int(c[9:]) for c in device.calls if c.startswith("allocate")]
    assert sizes[1:] == [300 * 200 * 8, 300 * 8]  # the results
    assert [c for c in device.calls if not c.startswith("allocate")] == [
        "upload 16",  # the status word and the number
        "graph",
    ]
    cost = f.lower(x, 2.0).cost()
    assert cost["peak_is_known"]
    assert sum(sizes) <= cost["peak_bytes"] <= sum(sizes) + 1024


def test_integers_that_the_host_works_with_are_told_apart() -> None:
    def f(x, steps):
        for _ in range(steps):
            x[1:-1] = (x[:-2] + x[2:]) / 2
        return x

    compiled, x = jit(f, device=DEVICE), normal(20_000)
    for steps in (3, 3, 3, 5, 5, 0, 0, 5, 3):
        assert_same(compiled(x.copy(), steps), f(x.copy(), steps))
    kinds = program_of(compiled).recorded
    assert len(kinds) == 3
    assert all(r is not None for r in kinds.values())


def test_integers_that_only_kernels_read_are_not() -> None:
    def f(x, t):
        return (x / (1 - 0.9**t)).sum(axis=1) * t

    compiled, x = jit(f, device=DEVICE), normal(300, 200)
    for t in range(1, 6):
        np.testing.assert_allclose(compiled(x, t), f(x, t), rtol=1e-12)
    assert len(program_of(compiled).recorded) == 1


def test_what_kernels_decide_is_not_recorded() -> None:
    def halved(x):
        while x.sum() > 1:
            x = np.sort(x)[::-1] / 2
        return x

    compiled = jit(halved, device=DEVICE)
    for n in range(4):
        x = np.abs(normal(900)) * 10**n
        np.testing.assert_allclose(compiled(x), halved(x), rtol=1e-12)
    assert list(program_of(compiled).recorded.values()) == [None]
    masked = jit(lambda x: x[x > 0] * 2, device=DEVICE)
    for n in range(4):  # how many they are is asked for at the end
        x = normal(3000) + n
        assert_same(masked(x), x[x > 0] * 2)
    assert list(program_of(masked).recorded.values()) != [None]


def test_long_loops_are_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "MOST_COMMANDS", 20)

    def f(x):
        for _ in range(25):
            x[1:-1] = (x[:-2] + x[2:]) / 2
        return x

    compiled, x = jit(f, device=DEVICE), normal(20_000)
    for _ in range(3):
        assert_same(compiled(x.copy()), f(x.copy()))
    assert list(program_of(compiled).recorded.values()) == [None]


def test_library_calls_stand_between_graphs(cupy: StandIn) -> None:
    def f(x, w, v):
        h = np.tanh(x @ w)
        h = h / h.sum(axis=1, keepdims=True) - h.mean()
        return (h @ v).sum(axis=0), h

    compiled = jit(f)
    arrays = normal(200, 30), normal(30, 100), normal(100, 20)
    held = [cupy.array(x) for x in arrays]
    for _ in range(4):
        cupy.log.clear()
        got = compiled(*held)
        for a, b in zip(got, f(*arrays)):
            np.testing.assert_allclose(a.get(), b, rtol=1e-9)
        del got, a
    works = [c for c in cupy.log if not c.startswith("alloc")]
    assert works.count("dgemm") == 2
    assert works.index("dgemm") < works.index("graph")
    assert not any(c.startswith("memcpy D2H") for c in works)


def test_memory_in_the_arena_does_not_overlap() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        memories = [Planned(int(n)) for n in rng.integers(1, 5000, 30)]
        buffers = [Buffer(m, 0, T.u8) for m in memories]
        pairs = rng.integers(0, 30, (60, 2))
        commands = [Copy(buffers[i], buffers[j], 1) for i, j in pairs]
        arena = arena_of(commands, memories[:3])
        assert not {id(m) for m in memories[:3]} & set(arena.offsets)
        for a, b in itertools.combinations(memories[3:], 2):
            ta, tb = _life(commands, a), _life(commands, b)
            if not ta or not tb or max(ta) < min(tb) or max(tb) < min(ta):
                continue
            x, y = arena.offsets[id(a)], arena.offsets[id(b)]
            assert x + a.size <= y or y + b.size <= x
            assert max(x + a.size, y + b.size) <= arena.size


def _life(commands: list[Any], memory: Planned) -> list[int]:
    return [t for t, c in enumerate(commands) if any(b.memory is memory for b in c.buffers)]


def test_memory_is_used_again() -> None:
    small = [Buffer(Planned(1000), 0, T.u8) for _ in range(10)]
    chain = [Copy(b, a, 1000) for a, b in itertools.pairwise(small)]
    assert arena_of(chain, []).size == 2 * 1024
    assert arena_of([Clear(b, 1000) for b in small], []).size == 1024


# -- arrays of the device --------------------------------------------------------------------------


def check(f: Callable[..., Any], *args: Any) -> list[str]:
    """What the device is asked for by the third call; results and changed arguments are NumPy's,
    and arrays of the device where arrays went in."""
    compiled = jit(f)
    with standing_in() as device:
        for _ in range(3):
            plain = [x.copy() if isinstance(x, np.ndarray) else x for x in args]
            held = [given(x) if isinstance(x, np.ndarray) else x for x in args]
            expected = f(*plain)
            device.calls.clear()
            got = compiled(*held)
            calls = list(device.calls)
            for a, b in zip(_leaves(got), _leaves(expected), strict=True):
                is_number = isinstance(b, (int, float)) and not isinstance(b, np.generic)
                assert isinstance(a, (int, float) if is_number else Held)
                host = a if is_number else a.get()
                assert np.asarray(host).dtype == np.asarray(b).dtype
                np.testing.assert_allclose(host, b, rtol=1e-12)
            for a, b in zip(held, plain):
                if isinstance(a, Held):
                    np.testing.assert_allclose(a.get(), b, rtol=1e-12)
    return calls


def _leaves(x: Any) -> list[Any]:
    if isinstance(x, dict):
        return _leaves(list(x.values()))
    return [v for y in x for v in _leaves(y)] if isinstance(x, (tuple, list)) else [x]


def test_arrays_stay_on_the_device() -> None:
    calls = check(
        lambda x, y, s: (x @ y * s, (x + 1).sum(), x.T[::2]), normal(30, 40), normal(40), 2
    )
    assert not [c for c in calls if c.startswith("download")]
    assert [c for c in calls if c.startswith("upload")] == ["upload 16"]  # the head

    def updated(p, g, t):
        m = {k: 0.9 * p[k] + 0.1 * g[k] for k in p}
        return m, t + 1, float(t) / 2

    x = normal(50)
    with standing_in():
        m, t, half = jit(updated)({"w": given(x)}, {"w": given(2 * x)}, 4)
    np.testing.assert_allclose(m["w"].get(), 1.1 * x)
    assert type(half) is float
    assert half == 2.0
    assert t == 5
    assert type(t) is int


def test_changes_are_made_in_place(device: Device) -> None:
    def f(x, y):
        x[1:] += y
        return x, x[:2]

    x, y = normal(20), normal(19)
    held = given(x)
    compiled = jit(f)
    for _ in range(3):
        expected = f(x, y)[0]
        got, view = compiled(held, given(y))
        assert got is held
        assert view.base is held
        assert_same(held.get(), expected)
    held = [given(x) for _ in range(2)]
    compiled(held[0][::2], held[1][:9])
    f(x[::2], x[:9].copy())
    assert_same(held[0].get(), x)


def test_arguments_that_share_memory(device: Device) -> None:
    def f(x, y):
        x += y[::-1]
        return y * 2

    whole = normal(11)
    held = given(whole)
    got = jit(f)(held[:10], held[1:])
    expected = f(whole[:10], whole[1:])
    assert_same(held.get(), whole)
    assert_same(got.get(), expected)


def test_scalars_on_the_device(device: Device) -> None:
    def f(x, rate, steps):
        return x * rate, rate + 1, int(steps) * 2, x[: len(x) // 2]

    x = normal(3000)
    compiled = jit(f)
    for rate in (0.5, 2.0, 3.0):
        scaled, more, twice, _ = compiled(given(x), given(np.array(rate)), 3)
        assert_same(scaled.get(), x * rate)
        assert_same(more.get(), np.asarray(rate + 1))
        assert twice == 6
    assert "rate: f64[] on stand-in" in compiled.explain(given(x), given(np.array(1.0)), 3)
    same, one = jit(lambda s: (s, s + 0))(given(np.array(1.5))), 1.5
    assert float(same[0].get()) == float(same[1].get()) == one
    counted = jit(lambda x, n: x[:n].sum() + n)
    assert_same(counted(given(x), given(np.array(7))).get(), np.asarray(x[:7].sum() + 7))


def test_no_two_results_share_memory(device: Device) -> None:
    def f(x, n):
        kept = x[x > 0]
        total = kept.sum()
        return kept, kept.reshape(-1), kept + 0, total, total + 0, total * 1, np.arange(5), n + 0

    x = normal(3000)
    compiled = jit(f)
    for _ in range(3):
        arrays = [a for a in compiled(given(x), given(np.array(2.0))) if isinstance(a, Held)]
        for a, b in zip(arrays, f(x, np.array(2.0)), strict=True):
            np.testing.assert_allclose(a.get(), b)
        shared = [
            (i, j)
            for (i, a), (j, b) in itertools.combinations(enumerate(arrays), 2)
            if np.shares_memory(a._host, b._host)
        ]
        assert shared == [(0, 1)]  # NumPy's reshape is a view


def test_captured_arrays_on_the_device(device: Device) -> None:
    w = normal(40)
    held = given(w)
    f = jit(lambda x: x * held)
    for _ in range(3):
        assert_same(f(given(w)).get(), w * w)
        held._host[...] = w = w + 1
    assert f.cache_info().misses == 1


def test_gradients_on_the_device(device: Device) -> None:
    def loss(p, x):
        return (np.tanh(x @ p["w"] + p["b"]) ** 2).sum()

    p, x = {"w": normal(8, 5), "b": normal(5)}, normal(30, 8)
    expected = jitnet.value_and_grad(loss)(p, x)
    step = jitnet.value_and_grad(loss)
    for _ in range(3):
        value, gradient = step({k: given(v) for k, v in p.items()}, given(x))
        np.testing.assert_allclose(value.get(), expected[0], rtol=1e-12)
        for name in p:
            np.testing.assert_allclose(gradient[name].get(), expected[1][name], rtol=1e-12)


def test_complex_and_strided_arrays() -> None:
    z = normal(6, 8) + 1j * normal(6, 8)
    check(lambda z: (np.exp(z) * 2, abs(z), z.T, z.sum()), z)
    with standing_in():
        x = given(normal(12, 10))
        for part in (x[::2, ::-3], x.transpose((1, 0)), x[3:, 4]):
            got = jit(lambda x: x * 2 + 1)(part)
            assert_same(got.get(), part.get() * 2 + 1)


def test_kinds_of_arrays_are_told_apart(device: Device) -> None:
    f, x = jit(lambda x, y: x + y), normal(5)
    assert type(f(x, x)) is np.ndarray
    told = f.explain(given(x), given(x))
    assert "x is an array of the device stand-in, and was one of NumPy" in told
    assert type(f(given(x), given(x))) is Held
    assert f.cache_info().misses == 2
    with pytest.raises(errors.ArgumentError, match="NumPy together with"):
        f(x, given(x))
    with pytest.raises(errors.ArgumentError, match='device="cpusim"'):
        jit(lambda x: x, device="cpusim")(given(x))
    with pytest.raises(errors.ArgumentError, match='device="cpu"'):
        jit(lambda x: x + 1, device="cpu")(given(x))


def test_verifying_takes_arrays_of_numpy(device: Device) -> None:
    with pytest.raises(errors.ArgumentError, match="verify=True"):
        jit(lambda x: x + 1, verify=True)(given(normal(3)))


# -- CuPy ------------------------------------------------------------------------------------------


def test_numpy_and_cupy_arrays(cupy: StandIn) -> None:
    def f(x, y):
        y += x
        return x * y

    x, y = normal(3000), normal(3000)
    compiled = jit(f, device="cuda")
    for _ in range(3):
        first, second = x.copy(), y.copy()
        expected, plain = f(x, y.copy()), y + x
        assert_same(compiled(first, second), expected)  # NumPy in, NumPy out
        assert_same(second, plain)
        second = y.copy()
        mixed = compiled(cupy.array(x), second)
        assert type(mixed) is cupy.ndarray
        assert_same(mixed.get(), expected)
        assert_same(second, plain)
    told = compiled.explain(cupy.array(x), y)
    assert "cuda, 1 kernels in 1 launches; y uploaded; y downloaded" in told
    assert "x, y uploaded; y, results downloaded" in compiled.explain(x, y)
    assert "no array is transferred" in compiled.explain(cupy.array(x), cupy.array(y))
    with pytest.raises(errors.ArgumentError, match="NumPy together with"):
        jit(f)(cupy.array(x), y)


def test_graphs_of_cuda(cupy: StandIn) -> None:
    f, x = jit(two_launches), cupy.array(normal(300, 200))
    for n in range(6):
        cupy.log.clear()
        out, rows = f(x, 2.0 + n)
        for a, b in zip((out, rows), two_launches(x.get(), 2.0 + n)):
            np.testing.assert_allclose(a.get(), b, rtol=1e-9, atol=1e-12)
        del out, rows, a
    assert [c for c in cupy.log if not c.startswith("alloc")] == ["memcpy H2D", "graph"]


def test_linear_algebra_of_cuda(cupy: StandIn) -> None:
    a, b = normal(200, 200) + 12 * np.eye(200), normal(200, 3)

    def f(a, b):
        spd = a @ a.T
        return (
            np.linalg.solve(a, b),
            np.linalg.inv(a),
            np.linalg.slogdet(a),
            np.linalg.cholesky(spd),
        )

    compiled = jit(f)
    for _ in range(3):
        got, want = compiled(cupy.array(a), cupy.array(b)), f(a, b)
        for x, y in zip(_leaves(got), _leaves(want), strict=True):
            np.testing.assert_allclose(x.get(), y, rtol=1e-8, atol=1e-10)
    called = {c for c in cupy.log if c[:1] == "d"}
    assert called == {"dgemm", "dgetrf", "dgetrs", "dpotrf"}
    assert "on the host" not in compiled.explain(cupy.array(a), cupy.array(b))


@pytest.mark.parametrize("letter", list("sdcz"))
def test_products_of_cublas(cupy: StandIn, letter: str) -> None:
    """With the arguments that kernels pass, what the table of routines says they do."""
    routines = Libraries(cupy)
    dtype, unit = {"s": ("f4", T.f32), "d": ("f8", T.f64), "c": ("c8", T.f32), "z": ("c16", T.f64)}[
        letter
    ]

    def filled(count: int) -> np.ndarray:
        x, y = RNG.integers(-4, 5, (2, count)).astype(dtype)
        return x + y * (x.dtype.type(1j) if letter in "cz" else 0)

    def both(name: str, out: int, *arguments: Any) -> None:
        """Run the routine and the reference; their `out`s have to be equal."""
        arrays = [x.copy() if isinstance(x, np.ndarray) else x for x in arguments]
        EXTERNS[name].numpy(
            *(x.view(unit.numpy) if isinstance(x, np.ndarray) else x for x in arrays)
        )
        spans = [
            Span(x.ctypes.data, x.nbytes, unit) if isinstance(x, np.ndarray) else x
            for x in arguments
        ]
        routine = routines.routine(name)
        assert routine is not None
        routine(*spans)
        assert_same(arguments[out], arrays[out])

    factors = [(2, 0), (1, 3)]
    for (m, n, k), (alpha, beta) in itertools.product([(3, 4, 5), (1, 6, 2), (4, 1, 1)], factors):
        if letter in "cz":
            alpha, beta = (np.array([x * (1 + 1j)], dtype) for x in (alpha, beta))
        for ta, tb in itertools.product((NO_TRANS, TRANS), repeat=2):
            lda, ldb, ldc = (m if ta == TRANS else k) + 2, (k if tb == TRANS else n) + 1, n + 3
            a, b, c = filled(9 * lda), filled(9 * ldb), filled(m * ldc)
            both(f"{letter}gemm", 11, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc)
        for trans in (NO_TRANS, TRANS):
            a, x, y = filled(m * (n + 2)), filled(20), filled(30)
            both(f"{letter}gemv", 9, trans, m, n, alpha, a, n + 2, x, 2, beta, y, 3)
    before = filled(6)
    both(f"{letter}gemm", 11, NO_TRANS, NO_TRANS, 0, 3, 2, alpha, before, 2, before, 3, beta,
         before.copy(), 3)  # fmt: skip


def test_singular_matrices_of_cuda(cupy: StandIn) -> None:
    a = normal(200, 200)
    singular = np.zeros((200, 200))
    for f in (np.linalg.inv, lambda a: np.linalg.solve(a, a[0])):
        compiled = jit(f)
        for _ in range(3):
            with pytest.raises(np.linalg.LinAlgError, match="Singular"):
                compiled(cupy.array(singular))
    factored = jit(np.linalg.cholesky)
    for _ in range(3):
        with pytest.raises(np.linalg.LinAlgError, match="not positive definite"):
            factored(cupy.array(-a @ a.T - np.eye(200)))
    np.testing.assert_allclose(factored(cupy.array(9 * np.eye(200))).get(), 3 * np.eye(200))
    assert {"dgetrf", "dpotrf"} <= set(cupy.log)
    assert float(jit(np.linalg.det)(cupy.array(singular)).get()) == 0.0


def test_sorting_of_cuda(cupy: StandIn) -> None:
    x = RNG.integers(0, 9, (5, 300)).astype(float)
    f = jit(lambda x: (np.sort(x), np.argsort(x, kind="stable"), np.sort(x[0] > 4)))
    for got, want in zip(f(cupy.array(x)), (np.sort(x), np.argsort(x, kind="stable"))):
        assert_same(got.get(), want)
    assert "on the host" not in f.explain(cupy.array(x))
    unstable = jit(lambda x: np.argsort(x))
    assert_same(unstable(cupy.array(x)).get(), np.argsort(x))
    assert "gone through launch by launch" in unstable.explain(cupy.array(x))
    assert "replayed, as it decides nothing" in f.explain(cupy.array(x))
    assert "on the host, on copies: argsort_quick_f64" in unstable.explain(cupy.array(x))


def test_memory_errors_of_the_users_own(cupy: StandIn) -> None:
    def f(x):
        if x.sum() > 0:
            raise MemoryError("mine")
        return x

    with pytest.raises(MemoryError, match="mine"):
        jit(f)(cupy.array(np.ones(3)))
    cupy.room = 1000
    with pytest.raises(errors.DeviceMemoryError, match="too little memory"):
        jit(lambda x: x + 1)(cupy.array(np.ones(300)))


def test_a_gpu_that_nvrtc_does_not_know(cupy: StandIn) -> None:
    cupy.capability = "61"
    with pytest.raises(errors.NotAvailableError, match="does not compile for this GPU, sm_61"):
        jit(lambda x: x + 1)(cupy.array(np.ones(3)))


def test_what_nvrtc_is_told(cupy: StandIn) -> None:
    jit(lambda x: x + 1.25)(cupy.array(normal(5)))
    assert cupy.cuda.nvrtc.options[-1] == "-arch=sm_90"
    assert {"-fmad=false", "-ftz=false"} <= set(cupy.cuda.nvrtc.options)


@pytest.mark.parametrize(
    ("driver", "message", "remedy"),
    [
        (0, "finds no NVIDIA driver", "nvidia-smi"),
        (12040, "too old: it is for CUDA 12.4, and CuPy for CUDA 13.0", "pip install cupy-cuda12x"),
    ],
)
def test_drivers(driver: int, message: str, remedy: str) -> None:
    with cupy_standing_in(driver), pytest.raises(errors.NotAvailableError, match=message) as found:
        jit(lambda x: x + 1, device="cuda")(normal(3))
    assert remedy in str(found.value)


# -- errors ----------------------------------------------------------------------------------------


def taken(x, i):
    return x[i] * 2


def test_errors_of_replays(device: Device) -> None:
    f, x = jit(taken), given(normal(50))
    good, bad = np.array([3, -1]), np.array([3, 50])
    for _ in range(4):
        assert_same(f(x, given(good)).get(), x.get()[good] * 2)
        with pytest.raises(IndexError) as expected:
            jit(taken)(x.get(), bad)
        with pytest.raises(IndexError) as got:
            f(x, given(bad))
        assert str(got.value) == str(expected.value)


def test_errors_that_come_later(cupy: StandIn) -> None:
    f, x = jit(taken, async_errors=True), cupy.array(normal(50))
    good, bad = cupy.array(np.array([3, -1])), cupy.array(np.array([3, 50]))
    cupy.done = False
    cupy.log.clear()
    f(x, bad)  # nobody waits
    f(x, good)
    assert "synchronize" not in cupy.log
    cupy.done = True
    with pytest.raises(IndexError, match="50"):
        f(x, good)
    assert_same(f(x, good).get(), x.get()[[3, -1]] * 2)
    f(x, bad)
    with pytest.raises(IndexError, match="50"):
        jitnet.synchronize()
    jitnet.synchronize()
    with pytest.raises(IndexError, match="50"):
        jit(taken, async_errors=True, device="cuda")(x.get(), bad.get())  # results are waited for


def test_too_little_memory(device: Device) -> None:
    f, x = jit(two_launches), given(normal(300, 200))
    device.room = 100_000
    with pytest.raises(MemoryError) as error:
        f(x, 2.0)
    assert isinstance(error.value, errors.DeviceMemoryError)
    peak = f.lower(x, 2.0).cost()["peak_bytes"]
    assert f"{peak:,} bytes at its peak" in str(error.value)
    assert "remedy: smaller batches" in str(error.value)
    device.room = 1 << 40
    f(x, 2.0)


def test_fortran_order_is_kept() -> None:
    def f(x):
        x[1:] += x[:-1] * 2

    x = np.asfortranarray(normal(6, 5))
    plain = x.copy("K")
    f(plain)
    jit(f, device=DEVICE)(x)
    assert_same(x, plain)


# -- loops that the host drives --------------------------------------------------------------------


def rounds_of(f: Callable[..., Any], *args: Any, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Check a function against NumPy; for each of its loops that the host went through, whether a
    round was recorded."""
    made: list[Rounds] = []
    init = Rounds.__init__

    def noted(self: Rounds, *given: Any) -> None:
        made.append(self)
        init(self, *given)

    monkeypatch.setattr(Rounds, "__init__", noted)
    compiled = jit(f, device=DEVICE)
    for scale in (1, 3, 10, 1):
        plain = [x * scale if isinstance(x, np.ndarray) else x for x in args]
        own = [x * scale if isinstance(x, np.ndarray) else x for x in args]
        for a, b in zip(_leaves(compiled(*own)), _leaves(f(*plain)), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12)
    monkeypatch.undo()
    return [rounds._round is not None for rounds in made if rounds._count > 2]


def test_rounds_are_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    def halved(x):
        n = 0
        while x.sum() > 1:
            x = np.sort(x)[::-1] / 2
            n += 1
        return x, n

    found = rounds_of(halved, np.abs(normal(900)), monkeypatch=monkeypatch)
    assert found
    assert all(found)


def test_rounds_that_swap(monkeypatch: pytest.MonkeyPatch) -> None:
    def swapped(x, y):
        n = 0
        while x.sum() + y.sum() > 1:
            x, y = np.sort(y) / 2, x
            n = n + 2
        return x, y, n

    x, y = np.abs(normal(2, 700))
    found = rounds_of(swapped, x, y, monkeypatch=monkeypatch)
    assert found
    assert all(found)

    def three(x, y, z):
        while z.sum() > 0.5:
            x, y, z = np.sort(x + y) / 4, z, y[::-1] * 0.5
        return x, y, z

    found = rounds_of(three, x, y, x + y, monkeypatch=monkeypatch)
    assert found
    assert all(found)


def test_rounds_that_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    def by_number(x):
        n = 0
        while x.sum() > 1:
            n += 1
            x = np.sort(x)[::-1] / (n + 1)
        return x, n

    rounds_of(by_number, np.abs(normal(900)), monkeypatch=monkeypatch)

    def limited(x):
        n = 0
        while x.sum() > 1 and n < 9:
            x, n = np.sort(x)[::-1] / 2, n + 2
        return x, n

    found = rounds_of(limited, np.abs(normal(900)), monkeypatch=monkeypatch)
    assert found
    assert all(found)

    def shrinking(x):
        while len(x) > 3 and x.sum() < 1e9:
            x = np.sort(x[x > x.min()]) * 1.5
        return x

    rounds_of(shrinking, np.abs(normal(40)), monkeypatch=monkeypatch)

    def kept(x):
        found = []
        for k in range(6):
            x = np.sort(x * (k - 2))
            if x[0] < -50:
                break
            found.append(x.sum())
        return x, np.array(found)

    rounds_of(kept, normal(30), monkeypatch=monkeypatch)


def test_rounds_with_checks_of_what_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def history(x, norms, start):
        n = start
        while x.sum() > 1:
            x = np.sort(x) / 2
            norms[n] = x.max()
            n += 1
        return x, norms

    x = np.abs(normal(900))
    found = rounds_of(history, x, np.zeros(40), 3, monkeypatch=monkeypatch)
    assert found
    assert all(found)
    compiled = jit(history, device=DEVICE)
    for start in (0, 2):
        with pytest.raises(IndexError, match="index 7 is out of bounds for axis 0 with size 7"):
            compiled(x, np.zeros(7), start)
    got, expected = compiled(x, np.zeros(30), 2), history(x, np.zeros(30), 2)
    for a, b in zip(got, expected):
        assert_same(a, b)


def test_rounds_with_errors() -> None:
    def f(x, i):
        n = 0
        while x.sum() > 1:
            x = np.sort(x) / 2
            x[i + n] += 0.001
            n += 7
        return x

    compiled, x = jit(f, device=DEVICE), np.abs(normal(60))
    np.testing.assert_allclose(compiled(x, 1), f(x.copy(), 1), rtol=1e-12)
    with pytest.raises(IndexError) as got:
        compiled(x * 1e9, 1)
    with pytest.raises(IndexError) as expected:
        jit(f)(x * 1e9, 1)
    assert str(got.value) == str(expected.value)
