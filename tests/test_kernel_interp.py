"""The kernel interpreter: every statement, and its strictness about memory."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jitnet.errors import JitnetError
from jitnet.ir import ArrayType, BufferType, Builder, Dense, TapeType, index
from jitnet.ir import types as T
from jitnet.kernel import scalars as s
from jitnet.kernel import statements as k
from jitnet.kernel.externs import EXTERNS, NO_TRANS, TRANS
from jitnet.kernel.interp import run
from jitnet.kernel.memory import of_array

I64 = ArrayType(T.i64)


def build(params, body):
    """A kernel-level Function: `body(*params) -> results or None`."""
    with Builder("f", "kernel") as b:
        results = body(*(b.param(type, f"p{i}") for i, type in enumerate(params)))
    return b.build(*(results or ()))


def vector(dtype=T.f64, n=None):
    return BufferType(dtype, (8 if n is None else n,))


# -- loops and branches ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", k.LOOP_KINDS)
def test_loop_writes_in_place(kind):
    def body(x, y):
        k.loop(0, 8, lambda i: k.store(y, s.mul(k.load(x, i), 2.0), i), kind=kind)

    x, y = np.arange(8.0), np.zeros(8)
    assert run(build([vector(), vector()], body), [x, y]) == ()
    assert (y == 2 * x).all()


def test_loop_carries_and_bounds_are_values():
    def body(low, high):
        return k.loop(low, high, lambda i, c: [s.add(c, i)], [index(0)])

    f = build([I64, I64], body)
    assert run(f, [3, 7]) == (3 + 4 + 5 + 6,)
    assert run(f, [7, 3]) == (0,)


def test_backward_reverses_only_independent_loops():
    def last(kind):
        def body(x):
            k.loop(0, 4, lambda i: k.store(x, i, 0), kind=kind)

        x = np.zeros(1, np.int64)
        run(build([vector(T.i64, 1)], body), [x], backward=True)
        return x[0]

    assert [last(kind) for kind in k.LOOP_KINDS] == [3, 0, 0]


def test_buffers_swap_as_carries():
    def body(x, y):
        def step(i, a, b):
            k.store(b, s.add(k.load(a, 0), 1.0), 0)
            return [b, a]

        return k.loop(0, 5, step, [x, y])

    x, y = np.zeros(1), np.zeros(1)
    a, b = run(build([vector(n=1), vector(n=1)], body), [x, y])
    assert (a[0], b[0]) == (5.0, 4.0)
    assert np.shares_memory(a, y)
    assert np.shares_memory(b, x)


def test_while_and_branch():
    def collatz(n):
        def step(n, count):
            odd = s.eq(s.bitwise_and(n, 1), 1)
            (following,) = k.branch(
                odd,
                lambda: [s.add(s.mul(n, 3), 1)],
                lambda: [s.quotient(n, index(2))],
            )
            return [following, s.add(count, 1)]

        return k.while_loop(lambda n, count: s.ne(n, 1), step, [n, index(0)])

    assert run(build([I64], collatz), [27]) == (1, 111)


# -- memory ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("i", [-1, 8, 2**40])
def test_load_and_store_out_of_bounds_raise(i):
    load = build([vector(), I64], lambda x, i: [k.load(x, i)])
    store = build([vector(), I64], lambda x, i: k.store(x, k.load(x, 0), i))
    assert run(load, [np.arange(8.0), 7]) == (7.0,)
    for f in (load, store):
        with pytest.raises(IndexError, match="out of bounds"):
            run(f, [np.arange(8.0), i])


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.data())
def test_views_are_as_strided(data):
    rows, columns = data.draw(st.integers(0, 5)), data.draw(st.integers(0, 5))
    base = np.arange(60)
    lead, step = data.draw(st.integers(-6, 6)), data.draw(st.integers(-6, 6))
    offset = data.draw(st.integers(-3, 62))
    f = build(
        [BufferType(T.i64, (60,))],
        lambda x: [k.view(x, offset, (rows, columns), (lead, step))],
    )
    cells = [offset + i * lead + j * step for i in range(rows) for j in range(columns)]
    if cells and not all(0 <= c < 60 for c in cells):
        with pytest.raises(IndexError, match="leaves its memory"):
            run(f, [base])
        return
    (viewed,) = run(f, [base])
    assert viewed.shape == (rows, columns)
    assert viewed.ravel().tolist() == cells


def test_arguments_may_be_strided_and_reach_their_neighbours():
    base = np.arange(24.0).reshape(4, 6)
    x = base[::-1, 1:5:2]
    assert of_array(x).read((0, 1)) == base[3, 3]
    f = build(
        [BufferType(T.f64, (4, 2), (-6, 2))],
        lambda x: k.store(x, k.load(x, 3, 1), 0, 0),
    )
    run(f, [x])
    assert base[3, 1] == 3.0
    shifted = build([BufferType(T.f64, (4, 2), (-6, 2))], lambda x: [k.view(x, 1, (2,), (-6,))])
    assert run(shifted, [x])[0].tolist() == [base[3, 2], base[2, 2]]


def test_fresh_memory_is_poison_and_the_same_each_time_round():
    for dtype in T.DTYPES.values():
        f = build([], lambda dtype=dtype: [k.load(k.alloc(dtype, (3,)), 1)])
        (value,) = run(f, [])
        assert value.dtype == dtype.numpy
        if dtype.is_float:
            assert np.isnan(value)
        elif dtype.is_integer:
            assert value.tobytes() == b"\xcc" * dtype.itemsize

    def poisoned_again():
        def step(i, bad):
            a = k.alloc(T.f64, (2,))
            bad = s.bitwise_or(bad, s.logical_not(s.isnan(k.load(a, 1))))
            k.store(a, s.cast(i, T.f64), 1)
            return [bad]

        return k.loop(0, 3, step, [s.lt(index(1), index(0))])

    assert run(build([], poisoned_again), []) == (False,)


def test_rank_0_buffers_are_memory_too():
    f = build([BufferType(T.f64, ())], lambda x: k.store(x, s.add(k.load(x), 1.0)))
    x = np.array(2.0)
    run(f, [x])
    assert x == 3.0


def test_arguments_must_be_laid_out_as_the_params_say():
    plain = build([vector()], lambda x: [k.load(x, 0)])
    strided = build([BufferType(T.f64, (4,), (2,))], lambda x: [k.load(x, 1)])
    assert run(strided, [np.arange(8.0)[::2]]) == (2.0,)
    for f, x in ((plain, np.zeros(7)), (plain, np.zeros(16)[::2]), (strided, np.zeros(5)[::2])):
        with pytest.raises(AssertionError, match="p0"):
            run(f, [x])


def test_use_after_free_raises():
    def body(n):
        a = k.alloc(T.f64, (n,))
        b = k.view(a, 0, (1,), (1,))
        k.free(a)
        return [k.load(b, 0)]

    with pytest.raises(IndexError, match="freed"):
        run(build([I64], body), [4])


def test_constants_are_read_only():
    data = Dense(np.array([1, 2, 3]))
    assert run(build([], lambda: [k.load(k.constant(data), 2)]), []) == (3,)
    f = build([], lambda: k.store(k.constant(data), index(9), 0))
    with pytest.raises(ValueError, match="read-only"):
        run(f, [])


# -- errors, externs, tapes ------------------------------------------------------------------------


def test_raise_fills_in_the_message():
    def body(i):
        k.branch(s.ge(i, 3), lambda: k.raise_error("IndexError", "index {0} of {1}", [i, index(3)]))

    f = build([I64], body)
    assert run(f, [2]) == ()
    with pytest.raises(IndexError, match="index 5 of 3") as caught:
        run(f, [5])
    assert isinstance(caught.value, JitnetError)


@pytest.mark.parametrize("dtype", [T.f32, T.f64], ids=str)
@pytest.mark.parametrize("flags", [(a, b) for a in (0, 1) for b in (0, 1)])
def test_gemm(dtype, flags):
    m, n, depth, beta = 3, 4, 5, 0.5
    rng = np.random.default_rng(1)
    a, b, c = (rng.normal(size=z).astype(dtype.numpy) for z in ((6, 7), (6, 8), (m, 9)))
    x = a[:depth, :m].T if flags[0] else a[:m, :depth]
    y = b[:n, :depth].T if flags[1] else b[:depth, :n]
    name = ("s" if dtype is T.f32 else "d") + "gemm"
    literal = lambda v, d: s.cast(index(v), d)  # noqa: E731

    def body(a, b, c):
        trans = [literal(TRANS if flag else NO_TRANS, T.i32) for flag in flags]
        half = s.div(literal(1, dtype), literal(2, dtype))
        sizes = map(index, (m, n, depth))
        alpha = literal(2, dtype)
        k.call_extern(name, [*trans, *sizes, alpha, a, index(7), b, index(8), half, c, index(9)])

    types = [BufferType(dtype, v.shape) for v in (a, b, c)]
    want = c.copy()
    want[:, :n] = 2 * (x @ y) + dtype.numpy.type(beta) * c[:, :n]
    run(build(types, body), [a, b, c])
    np.testing.assert_allclose(c, want, rtol=1e-5 if dtype is T.f32 else 1e-13)


@pytest.mark.parametrize("flag", [NO_TRANS, TRANS])
def test_gemv_ignores_old_content_with_beta_0(flag):
    a = np.arange(12.0).reshape(3, 4)
    x, y = np.arange(8.0), np.full(8, np.nan)
    rows, columns = (3, 4) if flag == NO_TRANS else (4, 3)

    def body(a, x, y):
        one, zero = s.cast(index(1), T.f64), s.cast(index(0), T.f64)
        sizes, two = [index(3), index(4)], index(2)
        trans = s.cast(index(flag), T.i32)
        k.call_extern("dgemv", [trans, *sizes, one, a, index(4), x, two, zero, y, two])

    run(build([BufferType(T.f64, (3, 4)), vector(), vector()], body), [a, x, y])
    matrix = a if flag == NO_TRANS else a.T
    assert (y[: 2 * rows : 2] == matrix @ x[: 2 * columns : 2]).all()
    assert np.isnan(y[1::2]).all()


def test_externs_check_their_arguments():
    f = build([vector()], lambda x: k.call_extern("dgemv", [x]))
    with pytest.raises(AssertionError, match="dgemv takes"):
        run(f, [np.zeros(8)])
    assert {e.name for e in EXTERNS.values()} == set(EXTERNS)


def test_tape_keeps_ragged_records():
    type = TapeType(((T.i64, ()), (T.f64, (None,))))

    def body(x):
        tape = k.tape_new(type)

        def push(i):
            part = k.view(x, i, (2,), (1,))
            k.tape_push(tape, [s.mul(i, 10), part])
            k.store(x, k.load(x, 7), i)  # the record is a copy: this does not show

        k.loop(0, 3, push)
        extent = k.tape_extent(tape, index(1), 1, 0)
        number, part = k.tape_get(tape, index(1), [extent])
        results = [k.tape_length(tape), extent, number, k.load(part, 0)]
        k.tape_free(tape)
        return [*results, k.tape_length(tape)]

    x = np.arange(8.0)
    assert run(build([vector()], body), [x]) == (3, 2, 10, 1.0, 0)
    assert x.tolist() == [7, 7, 7, 3, 4, 5, 6, 7]


def test_reading_past_the_end_of_a_tape_raises():
    type = TapeType(((T.i64, ()),))
    f = build([], lambda: k.tape_get(k.tape_new(type), index(0)))
    with pytest.raises(IndexError, match="record 0"):
        run(f, [])


def test_rows_by_expansion_or_reference():
    f = build([ArrayType(T.f64)], lambda x: [s.exp(x)])
    x = 0.7
    for expand in (False, True):
        (y,) = run(f, [x], expand=expand)
        assert abs(y - np.exp(x)) <= 2 * np.spacing(np.exp(x))
