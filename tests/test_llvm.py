"""Kernel statements and scalar rows as native code, against NumPy and the rows' references."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np
import pytest
from kernels import build, check, native, run, same_bits, type_of

from jitnet.codegen.llvm import emit
from jitnet.codegen.workspace import plan_workspace
from jitnet.ir import BufferType, Dense, DType, Literal, TapeType, TypeRuleError, Value, as_dim
from jitnet.ir import types as T
from jitnet.kernel import scalars as s
from jitnet.kernel import statements as S
from jitnet.kernel.scalars import ScalarOp
from jitnet.runtime.engine import host_target

DTYPES = list(T.DTYPES.values())
ROWS = [row for row in vars(s).values() if isinstance(row, ScalarOp)]


def loop(n: Any, body: Callable[[Value], None], kind: str = "vector") -> None:
    """A loop without carries."""
    S.loop(0, n, lambda i: body(i) or (), kind=kind)


def fill(out: Value, n: Any, f: Callable[..., Value], *ins: Value, kind: str = "vector") -> None:
    """out[i] = f(x[i] for x in ins) for i < n."""
    loop(n, lambda i: S.store(out, f(*(S.load(x, i) for x in ins)), i), kind)


def double(x: Value) -> Value:
    return s.add(x, x)


def increment(x: Value) -> Value:
    return s.add(x, 1.0)


def raising(error: str, message: str, values: tuple[Value, ...] = ()) -> Callable[[], Any]:
    """An arm that raises."""
    return lambda: S.raise_error(error, message, values) or ()


def samples(dtype: DType) -> np.ndarray[Any, Any]:
    """Values of every interesting kind; a prime number of them."""
    if dtype.is_bool:
        values: Any = [False, True, True, False, True]
    elif dtype.is_integer:
        info = np.iinfo(dtype.numpy)
        near = [info.min, info.min + 1, info.max, info.max - 1, info.max // 3]
        values = [0, 1, 2, 3, 5, 7, 63, 100, *near] + ([-1, -2, -7, -64] if info.min else [9] * 4)
    else:
        info = np.finfo(dtype.numpy)
        plain = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1.5, 2.5, -2.5, 3.7, -3.7, 100.25, 1e-3, 7.0]
        edges = [info.max, -info.max, info.tiny, info.smallest_subnormal, np.inf, -np.inf, np.nan]
        values = [*plain, *edges, 1e5, -1e5]
    return np.array(values, dtype.numpy)


def operands_of(row: ScalarOp, dtypes: list[DType]) -> list[np.ndarray[Any, Any]]:
    """All pairs of samples, cut to what the row is defined for."""
    columns = [samples(d) for d in dtypes]
    grids = [g.ravel() for g in np.meshgrid(*columns[:2], indexing="ij")]
    if len(columns) == 3:
        grids.append(np.resize(columns[2], grids[0].shape))
    if row in (s.quotient, s.residue):
        lowest = dtypes[0].kind == "i" and (grids[1] == -1)
        ok = (grids[1] != 0) & ~np.asarray(lowest)
        grids = [g[ok] for g in grids]
    if row in (s.shl, s.ashr, s.lshr):
        ok = (grids[1] >= 0) & (grids[1] < dtypes[0].bits)
        grids = [g[ok] for g in grids]
    return [np.ascontiguousarray(g) for g in grids]


def cases() -> list[Any]:
    found = []
    for row in ROWS:
        for dtype in DTYPES:
            dtypes: list[DType] = []
            for i, kinds in enumerate(row.operands):
                if kinds == "=":
                    dtypes.append(dtypes[i - 1])
                elif kinds == "b":
                    dtypes.append(T.bool_)
                else:
                    dtypes.append(T.i32 if kinds == "i" and i else dtype)
            with suppress(TypeRuleError):  # where the row does not take this dtype
                result = row.result_dtype(dtypes)
                found.append(pytest.param(row, dtypes, result, id=f"{row.name}-{dtype}"))
    return found


def ulps(x: Any, y: Any) -> Any:
    """The distance of two arrays in units of y's last place."""
    with np.errstate(all="ignore"):
        unit = np.spacing(np.maximum(np.abs(y), np.finfo(y.dtype).tiny))
        error = np.abs(x.astype("f8") - y.astype("f8")) / unit.astype("f8")
    return np.where((x == y) | (np.isnan(x) & np.isnan(y)), 0.0, error)


@pytest.mark.parametrize(("row", "dtypes", "result"), cases())
def test_rows(row: ScalarOp, dtypes: list[DType], result: DType) -> None:
    xs = operands_of(row, dtypes)
    n = len(xs[0])
    with np.errstate(all="ignore"):
        expected = np.asarray(row.numpy(*xs)).astype(result.numpy)
    lanes, single = np.zeros(n, result.numpy), np.zeros(n, result.numpy)

    def body(*buffers: Value) -> None:
        *inputs, o, q = buffers
        for out, kind in ((o, "vector"), (q, "seq")):
            fill(out, n, row, *inputs, kind=kind)

    run(body, *xs, lanes, single)
    assert same_bits(lanes, single)
    if result.is_float and row.cost >= 20:
        assert np.all(ulps(lanes, expected) <= 4)
    else:
        bad = [i for i in range(n) if not same_bits(lanes[i], expected[i])]
        assert not bad, [(*(x[i] for x in xs), lanes[i], expected[i]) for i in bad[:5]]


@pytest.mark.parametrize("source", DTYPES, ids=str)
def test_casts(source: DType) -> None:
    x = np.tile(samples(source), 3)
    outs = [np.zeros(len(x), to.numpy) for to in DTYPES for _ in range(2)]

    def body(a: Value, *outs: Value) -> None:
        for n, o in enumerate(outs):
            convert = partial(s.cast, dtype=o.dtype)
            fill(o, len(x), convert, a, kind=("vector", "seq")[n % 2])

    run(body, x, *outs)
    for out in outs:
        with np.errstate(all="ignore"):
            expected = s.CAST.numpy(x, out.dtype)
        assert same_bits(out, expected), out.dtype


# -- vector loops ----------------------------------------------------------------------------------

LENGTHS = [0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100]


@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.uint8, np.bool_])
def test_map_and_remainders(dtype: Any) -> None:
    x = (np.arange(102) * 37 % 251).astype(dtype)

    def body(count: Value, a: Value, *outs: Value) -> None:
        for o, n in zip(outs, [count, *LENGTHS]):
            fill(o, n, double, a)

    kernel = native(build([T.scalar(T.i64), *[type_of(x)] * (len(LENGTHS) + 2)], body))
    for n in LENGTHS:
        outs = [np.zeros_like(x) for _ in range(len(LENGTHS) + 1)]
        kernel([n, x, *outs])
        for out, length in zip(outs, [n, *LENGTHS]):
            assert np.array_equal(out[:length], (x + x)[:length])
            assert not out[length:].any()


@pytest.mark.parametrize(
    ("combine", "reference", "dtype"),
    [
        ("add", np.sum, np.float64),
        ("add", np.sum, np.int32),
        ("mul", np.prod, np.int64),
        ("maximum", np.max, np.float32),
        ("minimum", np.min, np.uint8),
        ("bitwise_or", np.any, np.bool_),
        ("bitwise_and", np.all, np.bool_),
    ],
)
def test_folds(combine: str, reference: Any, dtype: Any) -> None:
    op = getattr(s, combine)
    rng = np.random.default_rng(7)
    x = rng.integers(0, 2 if dtype == np.bool_ else 9, 100).astype(dtype)
    first = x.dtype.type(1)

    def body(count: Value, a: Value, initial: Value) -> Any:
        def fold(n: Any) -> Value:
            step = lambda i, c: [op(c, S.load(a, i))]  # noqa: E731
            return S.loop(0, n, step, [initial], "vector", (combine,))[0]

        return [fold(count), *(fold(n) for n in LENGTHS)]

    kernel = native(build([T.scalar(T.i64), type_of(x), type_of(first)], body))
    for n in LENGTHS:
        for got, length in zip(kernel([n, x, first]), [n, *LENGTHS]):
            assert got == x.dtype.type(reference(np.append(x[:length], first)))
            assert got.dtype == dtype


def test_loops_shorter_than_a_vector_take_a_shorter_one() -> None:
    x = np.arange(16, dtype=np.int8)

    def body(a: Value) -> Any:
        zero = [Literal(0, T.i8)]
        return S.loop(0, 16, lambda i, c: [s.add(c, S.load(a, i))], zero, "vector", ("add",))

    (total,) = check(body, x)
    assert total == x.sum()
    assert "<16 x i8>" in emit(build([type_of(x)], body), host_target()).text


def test_two_folds_and_a_store() -> None:
    x = np.random.default_rng(0).normal(size=101)
    out = np.zeros_like(x)

    def body(a: Value, o: Value) -> Any:
        def step(i: Value, total: Value, top: Value) -> Any:
            v = S.load(a, i)
            S.store(o, s.mul(v, 2.0), i)
            return s.add(total, v), s.maximum(top, v)

        zero, low = Literal(0.0, T.f64), Literal(-np.inf, T.f64)
        return S.loop(0, 101, step, [zero, low], "vector", ("add", "maximum"))

    total, top = check(body, x, out)
    assert np.isclose(total, x.sum(), rtol=1e-14)
    assert top == x.max()
    assert np.array_equal(out, 2 * x)


def test_folds_are_a_fixed_tree() -> None:
    x = np.random.default_rng(0).normal(size=1003).astype(np.float32)

    def body(count: Value, a: Value) -> Any:
        def total(end: Any) -> Value:
            zero = [Literal(0.0, T.f32)]
            (r,) = S.loop(0, end, lambda i, c: [s.add(c, S.load(a, i))], zero, "vector", ("add",))
            return r

        return total(1003), total(count)

    static, dynamic = check(body, np.int64(1003), x)
    assert static == dynamic


@pytest.mark.parametrize("step", [1, 2, 3, -1, -2])
@pytest.mark.parametrize("dtype", [np.float32, np.bool_, np.int64])
def test_strided_loads_and_stores(step: int, dtype: Any) -> None:
    n = 41
    x = (np.arange(200) % 7 % 3).astype(dtype)
    out = np.zeros(200, dtype)
    start = 5 if step > 0 else 190

    def body(a: Value, o: Value) -> None:
        def copy(i: Value) -> None:
            at = s.add(s.mul(i, step), start)
            S.store(o, S.load(a, at), at)

        loop(n, copy)

    check(body, x, out)
    expected = np.zeros_like(out)
    expected[start : start + n * step : step] = x[start : start + n * step : step]
    assert np.array_equal(out, expected)


def test_dynamic_strides_and_offsets() -> None:
    x = np.arange(300.0)
    out = np.zeros(50)

    def body(step: Value, start: Value, a: Value, o: Value) -> None:
        v = S.view(a, start, (50,), (step,))
        loop(50, lambda i: S.store(o, S.load(v, i), i))

    check(body, np.int64(3), np.int64(7), x, out)
    assert np.array_equal(out, x[7 : 7 + 150 : 3])


def test_gather_scatter_and_iota() -> None:
    rng = np.random.default_rng(1)
    x, order = rng.normal(size=45).astype(np.float32), rng.permutation(45)
    out, ramp = np.zeros_like(x), np.zeros(45, np.float32)

    def body(a: Value, p: Value, o: Value, r: Value) -> None:
        def step(i: Value) -> None:
            S.store(o, S.load(a, S.load(p, i)), s.sub(44, i))
            S.store(r, s.cast(s.mul(i, 3), T.f32), i)

        loop(45, step)

    check(body, x, order, out, ramp)
    assert np.array_equal(out, x[order][::-1])
    assert np.array_equal(ramp, np.arange(45, dtype=np.float32) * 3)


def test_uniform_loads_are_hoisted_only_from_unwritten_buffers() -> None:
    x, out = np.arange(20.0), np.zeros(20)

    def body(a: Value, o: Value) -> None:
        S.store(o, Literal(5.0, T.f64), 19)
        # out[19] is read in every iteration and written by none
        loop(19, lambda i: S.store(o, s.add(S.load(o, 19), S.load(a, 3)), i))

    check(body, x, out)
    assert np.array_equal(out, [8.0] * 19 + [5.0])


@pytest.mark.parametrize("layout", ["C", "F", "strided"])
def test_rows_of_a_matrix(layout: str) -> None:
    x = np.random.default_rng(0).normal(size=(7, 19)).astype(np.float32)
    source = {"C": x, "F": np.asfortranarray(x), "strided": x[::-1, ::2]}[layout]
    rows, columns = source.shape
    out = np.zeros(source.shape, np.float32)

    def body(a: Value, o: Value) -> None:
        S.loop(0, rows, lambda i: loop(columns, lambda j: S.store(o, S.load(a, i, j), i, j)))

    check(body, source, out)
    assert np.array_equal(out, source)


# -- control flow ----------------------------------------------------------------------------------


def test_sequential_loop_in_memory() -> None:
    x = np.random.default_rng(0).normal(size=50)
    expected = x.copy()
    for i in range(1, 50):
        expected[i] += expected[i - 1]
        expected[i] /= 9

    def body(a: Value) -> None:
        def step(i: Value) -> None:
            S.store(a, s.add(S.load(a, i), S.load(a, s.sub(i, 1))), i)
            S.store(a, s.div(S.load(a, i), 9.0), i)

        S.loop(1, 50, step)

    check(body, x)
    assert np.array_equal(x, expected)


def test_buffers_swap() -> None:
    x, y = np.array([1.0, 2.0, 3.0]), np.array([10.0, 20.0, 30.0])

    def body(a: Value, b: Value) -> None:
        def step(i: Value, p: Value, q: Value) -> Any:
            S.store(p, s.add(S.load(p, 0), 1.0), 0)
            return q, p

        p, _ = S.loop(0, 3, step, [a, b])
        S.store(p, Literal(-1.0, T.f64), 2)

    check(body, x, y)
    assert np.array_equal(x, [3.0, 2.0, 3.0])
    assert np.array_equal(y, [11.0, 20.0, -1.0])


@pytest.mark.parametrize("n", [0, 1, 27])
def test_while(n: int) -> None:
    def body(start: Value) -> Any:
        def step(x: Value, steps: Value) -> Any:
            even = s.eq(s.residue(x, 2), 0)
            (nxt,) = S.branch(even, lambda: [s.quotient(x, 2)], lambda: [s.add(s.mul(x, 3), 1)])
            return nxt, s.add(steps, 1)

        return S.while_loop(lambda x, steps: s.gt(x, 1), step, [start, Literal(0, T.i64)])

    final, steps = check(body, np.int64(n))
    x, expected = n, 0
    while x > 1:
        x, expected = (x // 2 if x % 2 == 0 else 3 * x + 1), expected + 1
    assert (final, steps) == (x, expected)


def test_branch_stores() -> None:
    x = np.zeros(4)

    def body(a: Value) -> None:
        def step(i: Value) -> None:
            S.branch(s.lt(i, 2), lambda: S.store(a, Literal(1.0, T.f64), i) or ())

        S.loop(0, 4, step, kind="vector")  # falls back to one lane

    check(body, x)
    assert np.array_equal(x, [1.0, 1.0, 0.0, 0.0])


@pytest.mark.parametrize("at", [-1, 0, 3, 9])
def test_raise(at: int) -> None:
    x = np.zeros(10)

    def body(where: Value, a: Value) -> Any:
        def step(i: Value, total: Value) -> Any:
            S.branch(s.eq(i, where), raising("IndexError", "at {0} of {1}", (i, total)))
            S.store(a, Literal(1.0, T.f64), i)
            return [s.add(total, 0.5)]

        return S.loop(0, 10, step, [Literal(0.0, T.f64)])

    if at < 0:
        assert check(body, np.int64(at), x) == [5.0]
        return
    with pytest.raises(IndexError, match=f"at {at} of {at * 0.5}"):
        check(body, np.int64(at), x)
    assert x.sum() == at


# -- memory ----------------------------------------------------------------------------------------


def test_workspace_is_shared_by_buffers_that_do_not_live_together() -> None:
    x = np.arange(100.0)

    def body(a: Value) -> None:
        a1, a2, a3 = (S.alloc(T.f64, (100,), f"t{i}") for i in range(3))
        for source, target in ((a, a1), (a1, a2), (a2, a3), (a3, a)):
            fill(target, 100, increment, source)

    def lazy(a: Value) -> None:
        source = a
        for i in range(3):
            target = S.alloc(T.f64, (100,), f"t{i}")
            fill(target, 100, increment, source)
            source = target
        fill(a, 100, increment, source)

    assert plan_workspace(build([type_of(x)], body)).size == 3 * 832
    assert plan_workspace(build([type_of(x)], lazy)).size == 2 * 832
    for f in (body, lazy):
        y = x.copy()
        check(f, y)
        assert np.array_equal(y, x + 4)


def test_workspace_of_loops() -> None:
    def body(n: Value) -> None:
        before = S.alloc(T.f64, (10,), "before")

        def step(i: Value, p: Value, q: Value) -> Any:
            inner = S.alloc(T.f64, (10,), "inner")
            S.store(inner, S.load(p, 0), 0)
            late = S.alloc(T.f64, (10,), "late")
            S.store(late, S.load(before, 0), 0)
            return q, p

        p, q = (S.alloc(T.f64, (10,), name) for name in "pq")
        S.loop(0, n, step, [p, q])

    kernel = build([T.scalar(T.i64)], body)
    plan = plan_workspace(kernel)
    by_name = {v.name: offset for v, offset in plan.offsets.items()}
    assert by_name["inner"] == by_name["late"]
    assert len({by_name[n] for n in ("before", "p", "q", "inner")}) == 4
    assert plan.size == 4 * 128


def test_small_buffers_and_constants() -> None:
    x = np.zeros(3, np.int32)

    def body(o: Value) -> None:
        table = S.constant(Dense(np.array([7, -1, 2**31 - 1], np.int32)))
        cell = S.alloc(T.i32, (), "cell")
        for i in range(3):
            S.store(cell, S.load(table, i))
            S.store(o, S.load(cell), i)

    check(body, x)
    assert np.array_equal(x, [7, -1, 2**31 - 1])


@pytest.mark.parametrize("leave", [False, True])
def test_heap(leave: bool) -> None:
    x = np.arange(10.0)

    def body(n: Value, a: Value) -> Any:
        def step(i: Value, total: Value) -> Any:
            t = S.alloc(T.f64, (as_dim(s.add(i, n)), 2), "t")
            S.store(t, S.load(a, i), i, 1)
            r = s.add(total, S.load(t, i, 1))
            S.branch(s.eq(i, 3 if leave else 100), raising("ValueError", "left"))
            S.branch(s.lt(i, 5), lambda: S.free(t) or ())  # the rest is freed on the way out
            return [r]

        return S.loop(0, 10, step, [Literal(0.0, T.f64)])

    if leave:
        with pytest.raises(ValueError, match="left"):
            check(body, np.int64(4), x)
    else:
        assert check(body, np.int64(4), x) == [45.0]


def test_memory_that_runs_out() -> None:
    def body(n: Value) -> Any:
        t = S.alloc(T.f64, (as_dim(n),), "t")
        return S.load(t, 0)

    with pytest.raises(MemoryError):
        run(body, np.int64(2**58))


def test_tapes() -> None:
    fields = ((T.f64, ()), (T.f32, (None, 2)), (T.bool_, ()), (T.i64, (3,)), (T.i64, (None,)))
    tape = TapeType(fields)
    n = 700

    def body(x: Value, out: Value) -> Any:
        log = S.tape_new(tape)
        three = S.alloc(T.i64, (3,), "three")

        def forward(i: Value) -> None:
            m = s.add(s.residue(i, 5), 1)
            pairs = S.alloc(T.f32, (as_dim(m), 2), "pairs")
            S.loop(0, m, lambda j: S.store(pairs, s.cast(s.add(i, j), T.f32), j, 1))
            S.store(three, i, 2)
            flat = S.view(three, 0, (as_dim(s.residue(i, 4)),), (1,))
            S.tape_push(log, (S.load(x, i), pairs, s.lt(i, 10), three, flat))
            S.free(pairs)

        S.loop(0, n, forward)

        def back(k: Value) -> None:
            i = s.sub(n - 1, k)
            m = S.tape_extent(log, i, 1, 0)
            e = S.tape_extent(log, i, 4, 0)
            value, pairs, small, three_, _ = S.tape_get(log, i, (m, e))
            last = s.cast(S.load(pairs, s.sub(m, 1), 1), T.f64)
            mark = s.select(small, Literal(0.5, T.f64), Literal(0.0, T.f64))
            total = s.add(s.add(value, last), s.add(mark, s.cast(S.load(three_, 2), T.f64)))
            S.store(out, s.add(total, s.cast(e, T.f64)), i)

        S.loop(0, S.tape_length(log), back)
        length = S.tape_length(log)
        S.tape_free(log)
        return length

    x, out = np.random.default_rng(0).normal(size=n), np.zeros(n)
    assert check(body, x, out) == [n]
    i = np.arange(n)
    expected = (x + (i + i % 5)) + (np.where(i < 10, 0.5, 0.0) + i) + i % 4
    assert np.array_equal(out, expected)


def test_tapes_are_carried() -> None:
    tape = TapeType(((T.i64, ()),))

    def body(n: Value) -> Any:
        def step(i: Value, log: Value) -> Any:
            S.tape_push(log, (s.mul(i, i),))
            return [log]

        (log,) = S.loop(0, n, step, [S.tape_new(tape)])
        (value,) = S.tape_get(log, s.sub(n, 2))
        return value  # the tape is freed on the way out

    assert check(body, np.int64(10)) == [64]


def test_scalar_results_and_params_of_every_dtype() -> None:
    values = [samples(d)[2] for d in DTYPES]
    got = run(lambda *xs: xs, *values)
    for a, b in zip(got, values):
        assert same_bits(a, b)


def test_text_is_the_same_each_time() -> None:
    x = np.zeros(10, np.float32)

    def body(a: Value) -> None:
        loop(10, lambda i: S.store(a, s.exp(S.load(a, i)), i))

    texts = {emit(build([type_of(x)], body), host_target()).text for _ in range(2)}
    assert len(texts) == 1


def test_params_that_may_alias() -> None:
    kernel = build([BufferType(T.f32, (8,)), BufferType(T.f32, (8,))], lambda a, b: None)
    assert emit(kernel, host_target()).text.count("noalias %p") == 2
    assert emit(kernel, host_target(), frozenset({1})).text.count("noalias %p") == 1
