"""Broadcast, reshape, transpose, slice, update, concatenate, pad: against NumPy, on both levels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from lowered import run_lowered, run_strided
from op_functions import assert_same, function_of

from jitnet import ops
from jitnet.interp import evaluate
from jitnet.ir import ArrayType, Builder, Function, Literal, TypeRuleError, Value, parse, registry
from jitnet.ir import types as T
from jitnet.kernel.statements import load as ops_load
from jitnet.ops import regroup
from jitnet.ops.primitive import Linear, Primitive

OWN = ["broadcast", "reshape", "transpose", "slice", "update", "concatenate", "pad", "iota"]
VIEWS = ["broadcast", "reshape", "transpose", "slice"]
DTYPES = [d.numpy for d in T.DTYPES.values()]


def build(body: Callable[..., Value], args: Sequence[Any]) -> Function:
    """The Function of `body` on params of the types of `args`."""
    with Builder("f") as b:
        params = [b.param(ArrayType(T.from_numpy(a.dtype), a.shape)) for a in args]
        result = body(*params)
    return b.build(result)


def check(body: Callable[..., Value], args: Sequence[Any], expected: Any) -> None:
    """One equation gives `expected`: interpreted, lowered, forwards and backwards, as text."""
    f = build(body, args)
    assert_same(evaluate(f, args)[0], expected)
    assert parse(str(f)) == f
    if len(f.eqns) == 1:
        assert_same(run_lowered(f, args)[0], expected)
        assert_same(run_lowered(f, args, backward=True)[0], expected)


def check_both(body: Callable[..., Value], args: Sequence[Any], ints: Sequence[int], expected: Any):
    """As `check`, with the ints (extents, starts) static, and as parameters."""
    check(lambda *xs: body(*xs, *ints), args, expected)
    check(body, [*args, *map(np.int64, ints)], expected)


def values(shape: tuple[int, ...], dtype: Any = np.float64) -> Any:
    """Different values, as far as the dtype goes."""
    return (np.arange(np.prod(shape, dtype=int)) % 120 + 1).reshape(shape).astype(dtype)[()]


def shapes(max_rank: int = 4, max_extent: int = 4) -> st.SearchStrategy[tuple[int, ...]]:
    return st.lists(st.integers(0, max_extent), max_size=max_rank).map(tuple)


@st.composite
def boxes(draw: st.DrawFn) -> tuple[Any, list[int], list[int], list[int]]:
    """An array, and starts, sizes and steps of a box in it."""
    shape = draw(st.lists(st.integers(0, 5), max_size=3))
    starts, sizes, steps = [], [], []
    for extent in shape:
        step = draw(st.sampled_from([1, 1, 2, 3, -1, -2]))
        start = draw(st.integers(0, max(extent - 1, 0)))
        room = -(-(extent - start) // step) if step > 0 else start // -step + 1
        sizes.append(draw(st.integers(0, max(room, 0) if extent else 0)))
        starts.append(start)
        steps.append(step)
    return values(tuple(shape), draw(st.sampled_from(DTYPES))), starts, sizes, steps


def numpy_index(starts: Sequence[int], sizes: Sequence[int], steps: Sequence[int]) -> Any:
    grids = [start + step * np.arange(size) for start, size, step in zip(starts, sizes, steps)]
    return np.ix_(*grids) if grids else ()


# -- samples, on the kernel level ------------------------------------------------------------------


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("literals", [True, False])
def test_lowering_agrees_with_reference(name: str, literals: bool) -> None:
    op = registry("array")[name]
    assert isinstance(op, Primitive)
    ran = 0
    for sample in op.samples():
        try:
            f, args = function_of(op, sample, literals)
        except TypeRuleError:
            continue  # dims are only known to fit where they are static
        (expected,) = evaluate(f, args)
        assert_same(run_lowered(f, args)[0], expected)
        assert_same(run_lowered(f, args, backward=True)[0], expected)
        ran += 1
    assert ran


@pytest.mark.parametrize("name", VIEWS)
def test_strides_agree_with_reference(name: str) -> None:
    op = registry("array")[name]
    assert isinstance(op, Primitive)
    by_strides = 0
    for sample in op.samples():
        f, args = function_of(op, sample, literals=True)
        if np.ndim(args[0]) == 0:
            continue
        found = run_strided(f, args)
        if found is not None:
            assert_same(found, evaluate(f, args)[0])
            by_strides += 1
    assert by_strides > 1


# -- broadcast -------------------------------------------------------------------------------------


@given(shapes(), st.data())
@settings(max_examples=60, deadline=None)
def test_broadcast(dims: tuple[int, ...], data: st.DataObject) -> None:
    axes = sorted(data.draw(st.sets(st.sampled_from(range(len(dims))) if dims else st.nothing())))
    ones = [data.draw(st.booleans()) for _ in axes]
    x = values(tuple(1 if one else dims[a] for a, one in zip(axes, ones)))
    aligned = [1] * len(dims)
    for a, extent in zip(axes, np.shape(x)):
        aligned[a] = extent
    expected = np.broadcast_to(np.reshape(x, aligned), dims)
    check(lambda x: ops.broadcast(x, dims, axes), [x], expected)


def test_broadcast_to_computed_extents() -> None:
    check(lambda x, n, m: ops.full(x, (n, m)), [np.float32(2), np.int64(3), np.int64(2)],
          np.full((3, 2), 2, np.float32))  # fmt: skip
    check(lambda x, n: ops.broadcast_to(x, (n, 3)), [values((3,)), np.int64(2)],
          np.broadcast_to(values((3,)), (2, 3)))  # fmt: skip
    check(lambda x, n: ops.broadcast_to(x, (n, 3)), [values((1, 3)), np.int64(0)],
          np.zeros((0, 3)))  # fmt: skip


def test_nothing_is_bound_for_the_identity() -> None:
    with Builder() as b:
        x = b.param(ArrayType(T.f64, (2, 3)))
        assert ops.broadcast_to(x, (2, 3)) is x
        assert ops.reshape(x, (2, 3)) is x
        assert ops.transpose(x, (0, 1)) is x
        assert ops.full(Literal(1.0, T.f64), ()) == Literal(1.0, T.f64)
        assert not b.eqns


# -- reshape ---------------------------------------------------------------------------------------


@given(st.lists(st.sampled_from([1, 2, 3, 4, 6]), max_size=4), st.data())
@settings(max_examples=60, deadline=None)
def test_reshape(factors: list[int], data: st.DataObject) -> None:
    """The factors of the size regrouped: splits, merges, unit axes, dims that match nothing."""
    source = data.draw(st.permutations([*factors, 1]))
    primes = [p for n in factors for p in {1: [], 4: [2, 2], 6: [2, 3]}.get(n, [n])]
    target = data.draw(st.permutations([*primes, 1]))
    x = values(tuple(source))
    check_both(lambda x, *dims: ops.reshape(x, dims), [x], target, x.reshape(target))


def test_reshape_of_nothing() -> None:
    check_both(lambda x, *dims: ops.reshape(x, dims), [values((2, 0, 3))], [0, 7],
               np.zeros((0, 7)))  # fmt: skip


def test_reshape_groups_are_the_finest() -> None:
    n, m = (Value(T.scalar(T.i64), name) for name in "nm")

    def found(source: Sequence[Any], target: Sequence[Any]) -> list[tuple[Any, Any]]:
        return [(g.source, g.target) for g in regroup.groups(source, target)]

    assert found((6, n, 1, 4), (2, 3, n, 2, 2)) == [((0,), (0, 1)), ((1,), (2,)), ((3,), (3, 4))]
    assert found((n, 3), (n, 1, 3)) == [((0,), (0,)), ((1,), (2,))]
    assert found((n, 3), (m,)) == [((0, 1), (0,))]
    assert found((2, n), (n, 2)) == [((0, 1), (0, 1))]
    assert found((4, 6), (8, 3)) == [((0, 1), (0, 1))]
    assert found((1, 1), ()) == []
    assert found((n,), (1,)) == [((0,), ())]


@pytest.mark.parametrize(
    ("source", "target", "arithmetic"),
    [
        ((3, 4), (3, 1, 4), []),
        ((1, 3, 1, 4), (3, 4), []),
        ((3, 4), (12,), ["quotient", "residue"]),
        ((5, 3, 4), (5, 12), ["quotient", "residue"]),
        ((12,), (3, 4), ["add", "mul"]),
    ],
)
def test_reshape_computes_no_more_than_it_must(
    source: tuple[int, ...], target: tuple[int, ...], arithmetic: list[str]
) -> None:
    with Builder("k", "kernel") as b:
        at = [b.param(T.scalar(T.i64)) for _ in target]
        regroup.source_index(source, target, at, lambda d: Literal(d, T.i64))
    assert sorted(e.op.name for e in b.eqns) == arithmetic


# -- transpose, iota -------------------------------------------------------------------------------


@given(shapes(), st.data())
@settings(max_examples=40, deadline=None)
def test_transpose(shape: tuple[int, ...], data: st.DataObject) -> None:
    perm = data.draw(st.permutations(range(len(shape))))
    x = values(shape, data.draw(st.sampled_from(DTYPES)))
    check(lambda x: ops.transpose(x, perm), [x], np.transpose(x, perm))


@pytest.mark.parametrize("dtype", [d for d in T.DTYPES.values() if not d.is_bool])
def test_iota(dtype: T.DType) -> None:
    expected = np.broadcast_to(np.arange(3, dtype=dtype.numpy)[:, None], (3, 2))
    check_both(lambda *dims: ops.iota(dims, 0, dtype), [], [3, 2], expected)


def test_const_and_empty() -> None:
    data = values((2, 3), np.int16)
    (actual,) = evaluate(build(lambda: ops.const(data), []), [])
    assert_same(actual, data)
    with Builder():
        assert ops.const(np.float32(2.5)) == Literal(2.5, T.f32)
    (actual,) = evaluate(build(lambda: ops.empty((2,), T.f64), []), [])
    assert np.isnan(actual).all()


# -- slice and update ------------------------------------------------------------------------------


@given(boxes())
@settings(max_examples=100, deadline=None)
def test_slice(box: tuple[Any, list[int], list[int], list[int]]) -> None:
    x, starts, sizes, steps = box
    rank = len(starts)
    check_both(
        lambda x, *ints: ops.slice(x, ints[:rank], ints[rank:], steps),
        [x],
        [*starts, *sizes],
        np.asarray(x)[numpy_index(starts, sizes, steps)],
    )


@given(boxes())
@settings(max_examples=100, deadline=None)
def test_update(box: tuple[Any, list[int], list[int], list[int]]) -> None:
    base, starts, sizes, steps = box
    value = values(tuple(sizes), base.dtype)
    value = np.asarray(~value if value.dtype == np.bool_ else value + value.dtype.type(5))[()]
    expected = np.array(base)
    expected[numpy_index(starts, sizes, steps)] = value
    check_both(
        lambda base, value, *starts: ops.update(base, value, starts, steps),
        [base, value],
        starts,
        expected,
    )


@given(boxes())
@settings(max_examples=40, deadline=None)
def test_slice_through_strides(box: tuple[Any, list[int], list[int], list[int]]) -> None:
    x, starts, sizes, steps = box
    assume(np.ndim(x) and x.size)
    f = build(lambda x: ops.slice(x, starts, sizes, steps), [x])
    assert_same(run_strided(f, [x]), evaluate(f, [x])[0])


@pytest.mark.parametrize(
    ("start", "size", "step"), [(0, 6, 1), (-1, 1, 1), (4, 2, 1), (5, 1, 1), (1, 3, -1), (0, 3, 3)]
)
def test_out_of_bounds_is_refused(start: int, size: int, step: int) -> None:
    x = values((5,))
    read = build(lambda x: ops.slice(x, [start], [size], [step]), [x])
    with pytest.raises(IndexError, match="axis 0 with size 5"):
        evaluate(read, [x])
    write = build(lambda x, v: ops.update(x, v, [start], [step]), [x, values((size,))])
    with pytest.raises(IndexError, match="axis 0 with size 5"):
        evaluate(write, [x, values((size,))])


def test_a_box_of_nothing_may_start_anywhere() -> None:
    check_both(lambda x, start, size: ops.slice(x, [start], [size]), [values((3,))], [3, 0],
               np.zeros(0))  # fmt: skip


def test_update_stores_only_the_box() -> None:
    """One store for one element, whatever the size of the array."""
    args = [values((1000, 1000)), values((1, 1)), np.int64(3), np.int64(4)]
    f = build(lambda x, v, i, j: ops.update(x, v, (i, j)), args)
    (eqn,) = f.eqns
    with Builder("k", "kernel") as b:
        buffers = [b.param(T.BufferType(T.f64, a.shape)) for a in args[:2]]
        starts = [b.param(T.scalar(T.i64)) for _ in range(2)]

        class Context:
            def load(self, operand: int, index: Sequence[Value]) -> Value:
                values = [*buffers, *starts]
                v = values[operand]
                return ops_load(v, *index) if index else v

            def dim(self, dim: Any) -> Value:
                return Literal(dim, T.i64)

        eqn.op.lowering(eqn).emit(Context(), eqn, [*buffers, *starts], buffers[:1])
    assert [e.op.name for e in b.eqns] == ["load", "store"]


# -- concatenate and pad ---------------------------------------------------------------------------


@given(st.lists(st.integers(0, 3), min_size=1, max_size=4), shapes(3, 3), st.data())
@settings(max_examples=50, deadline=None)
def test_concatenate(extents: list[int], dims: tuple[int, ...], data: st.DataObject) -> None:
    axis = data.draw(st.integers(0, len(dims)))
    dtype = data.draw(st.sampled_from(DTYPES))
    xs = [values((*dims[:axis], n, *dims[axis:]), dtype) for n in extents]
    check(lambda *xs: ops.concatenate(xs, axis), xs, np.concatenate(xs, axis))


def test_concatenate_of_computed_extents() -> None:
    with Builder("f") as b:
        n, m = b.param(T.scalar(T.i64), "n"), b.param(T.scalar(T.i64), "m")
        x, y = b.param(ArrayType(T.f64, (n, 2)), "x"), b.param(ArrayType(T.f64, (m, 2)), "y")
        z = ops.concatenate([x, ops.full(Literal(7.0, T.f64), (1, 2)), y])
    f = b.build(z, *(d for d in z.dims if isinstance(d, Value)))
    args = [np.int64(2), np.int64(3), values((2, 2)), values((3, 2))]
    z, extent = evaluate(f, args)
    assert_same(z, np.concatenate([args[2], np.full((1, 2), 7.0), args[3]]))
    assert extent == 6
    assert parse(str(f)) == f


@given(shapes(3), st.data())
@settings(max_examples=50, deadline=None)
def test_pad(shape: tuple[int, ...], data: st.DataObject) -> None:
    widths = [(data.draw(st.integers(0, 2)), data.draw(st.integers(0, 2))) for _ in shape]
    low, high = [a for a, _ in widths], [b for _, b in widths]
    x, value = values(shape, data.draw(st.sampled_from(DTYPES))), 9
    expected = np.pad(x, widths, constant_values=value) if shape else x
    check(lambda x, v: ops.pad(x, v, low, high), [x, x.dtype.type(value)], expected)


@pytest.mark.parametrize("extent", [0, 1, 3])
def test_pad_of_a_computed_extent_never_reads_outside(extent: int) -> None:
    with Builder("f") as b:
        n, m = b.param(T.scalar(T.i64), "n"), b.param(T.scalar(T.i64), "m")
        x = b.param(ArrayType(T.f64, (n,)), "x")
        attrs = {"low": (2,), "high": (1,)}
        (y,) = b.bind(registry("array")["pad"], (x, Literal(5.0, T.f64), m), attrs)
    f = b.build(y)
    args = [np.int64(extent), np.int64(extent + 3), values((extent,))]
    expected = np.pad(args[2], (2, 1), constant_values=5.0)
    assert_same(evaluate(f, args)[0], expected)
    assert_same(run_lowered(f, args)[0], expected)


# -- types -----------------------------------------------------------------------------------------

REFUSED: list[tuple[str, Callable[[Value], object]]] = [
    ("must be 1 or 4", lambda x: ops.broadcast(x, (4, 3), (0, 1))),
    ("must rise", lambda x: ops.broadcast(x, (3, 2), (1, 0))),
    ("outside rank 2", lambda x: ops.broadcast(x, (2, 3), (1, 2))),
    ("extent 0 is negative", lambda x: ops.broadcast(x, (-1, 2, 3), (1, 2))),
    ("different numbers of elements", lambda x: ops.reshape(x, (7,))),
    ("no permutation", lambda x: ops.transpose(x, (1, 1))),
    ("none 0", lambda x: ops.slice(x, (0, 0), (1, 1), (1, 0))),
    ("takes 2 starts", lambda x: ops.slice(x, (0,), (1,), (1, 1))),
    ("start 1 must be an i64 scalar", lambda x: ops.slice(x, (0, Literal(0, T.i32)), (1, 1))),
    ("extent 0 must be an i64 scalar", lambda x: ops.reshape(x, (Literal(6, T.f64),))),
    ("does not fit", lambda x: ops.update(x, ops.reshape(x, (6,)), (0, 0))),
    ("does not fit", lambda x: ops.update(x, ops.convert(x, T.f32), (0, 0))),
    ("takes 2 starts", lambda x: ops.update(x, x, (0,))),
    ("do not fit along axis 0", lambda x: ops.concatenate([x, ops.transpose(x, (1, 0))])),
    ("no axis 1", lambda x: ops.concatenate([ops.reshape(x, (6,))], 1)),
    ("must be an f64 scalar", lambda x: ops.pad(x, Literal(0, T.i64), (0, 0), (1, 1))),
    ("none < 0", lambda x: ops.pad(x, Literal(0, T.f64), (-1, 0), (1, 1))),
    ("no axis 2 in rank 1", lambda x: ops.iota((3,), 2)),
    ("not in bool", lambda x: ops.iota((3,), 0, T.bool_)),
]


@pytest.mark.parametrize(("message", "body"), REFUSED)
def test_type_rules_refuse(message: str, body: Callable[[Value], object]) -> None:
    with Builder() as b:
        x = b.param(ArrayType(T.f64, (2, 3)), "x")
        with pytest.raises(TypeRuleError, match=message):
            body(x)


# -- derivatives -----------------------------------------------------------------------------------


def pulled(op: Primitive, f: Function, args: Sequence[Any], cts: Sequence[Any], prior: bool):
    """The cotangents of the float params by the transpose rule, on top of ones if `prior`."""
    (eqn,) = f.eqns
    with Builder("transpose") as b:
        values = {p: b.param(p.type) for p in f.params}
        ct_params = [b.param(ArrayType(r.dtype, c.shape)) for r, c in zip(eqn.results, cts)]
        operands: list[Value | Linear] = []
        totals: list[Value | None] = []
        for v in eqn.operands:
            linear = v in values and v.dtype.is_inexact
            operands.append(Linear(v.type) if linear else values.get(v, v))
            start = ops.full(Literal(1.0, v.dtype), v.dims) if linear and prior else None
            totals.append(start)
        found = op.transpose(eqn, operands, ct_params, totals, None)
        assert len(found) == len(totals)
        results = [v for v in found if v is not None]
    return evaluate(b.build(*results), [*args, *cts])


@pytest.mark.parametrize("name", OWN[:-1])
@pytest.mark.parametrize("prior", [False, True])
def test_transpose_is_the_adjoint(name: str, prior: bool) -> None:
    """<f(u), v> = <u, transpose(v)>, and what has been gathered before is added to."""
    op = registry("array")[name]
    assert isinstance(op, Primitive)
    rng = np.random.default_rng(0)
    for sample in op.samples():
        f, args = function_of(op, sample, literals=True)
        (y,) = evaluate(f, args)
        if y.dtype != np.float64:
            continue
        ct = np.asarray(rng.standard_normal(y.shape))[()]
        cts = pulled(op, f, args, [ct], prior)
        inputs = [a for a in args if a.dtype == np.float64]
        assert [np.shape(c) for c in cts] == [np.shape(a) for a in inputs]
        offset = sum(np.sum(a) for a in inputs) if prior else 0.0
        right = sum(np.sum(a * c) for a, c in zip(inputs, cts)) - offset
        np.testing.assert_allclose(np.sum(y * ct), right, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", OWN[:-1])
def test_jvp_is_the_op_on_the_tangents(name: str) -> None:
    """The ops are linear: with the operands for tangents, the tangent is the result. With a tangent
    for one operand only, it is the result on zeros elsewhere."""
    op = registry("array")[name]
    assert isinstance(op, Primitive)
    for sample in op.samples():
        f, args = function_of(op, sample, literals=True)
        (eqn,) = f.eqns
        floats = [p for p in f.params if p.dtype.is_inexact]
        for chosen in ([*floats], floats[:1], floats[1:], []):
            with Builder("jvp") as b:
                values = {p: b.param(p.type) for p in f.params}
                primals = [values.get(v, v) for v in eqn.operands]
                tangents = [values[v] if v in chosen else None for v in eqn.operands]
                _, (tangent,) = op.jvp(eqn, primals, tangents, None)
            assert (tangent is None) == (not chosen)
            if tangent is not None:
                zeroed = [
                    np.zeros_like(a) if p in floats and p not in chosen else a
                    for p, a in zip(f.params, args)
                ]
                assert_same(evaluate(b.build(tangent), args)[0], evaluate(f, zeroed)[0])


def test_the_cotangent_of_a_slice_is_added_in_place() -> None:
    """No zero-padded array is made and summed: a box is read, added to, and written back."""
    x = values((6,))
    f = build(lambda x: ops.slice(x, [2], [3]), [x])
    (eqn,) = f.eqns
    with Builder("transpose") as b:
        ct, total = b.param(ArrayType(T.f64, (3,))), b.param(ArrayType(T.f64, (6,)))
        eqn.op.transpose(eqn, [Linear(x_type(6)), *eqn.operands[1:]], [ct], [total], None)
    assert [e.op.name for e in b.eqns] == ["slice", "add", "update"]


def x_type(n: int) -> ArrayType:
    return ArrayType(T.f64, (n,))


def test_the_pad_value_gets_the_border_exactly() -> None:
    """Not by subtraction: an infinite cotangent inside does not reach it."""
    args = [values((2,)), np.float64(3.0)]
    f = build(lambda x, v: ops.pad(x, v, (1,), (1,)), args)
    ct = np.array([0.5, np.inf, np.nan, 0.25])
    ct_x, ct_v = pulled(registry("array")["pad"], f, args, [ct], False)
    assert_same(ct_x, ct[1:3])
    assert ct_v == 0.75
