"""Gather, scatter, compress: against NumPy, on both levels, with their derivatives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lowered import run_lowered
from op_functions import assert_same, function_of

from jitnet import ops
from jitnet.interp import evaluate
from jitnet.ir import ArrayType, Builder, Function, TypeRuleError, Value, parse, registry
from jitnet.ir import types as T
from jitnet.ops.primitive import Linear, Primitive

DTYPES = [d.numpy for d in T.DTYPES.values()]


def build(body: Callable[..., Any], args: Sequence[Any]) -> Function:
    """The Function of `body` on params of the types of `args`."""
    with Builder("f") as b:
        params = [b.param(ArrayType(T.from_numpy(a.dtype), a.shape)) for a in args]
        results = body(*params)
    return b.build(*([results] if isinstance(results, Value) else results))


def check(body: Callable[..., Any], args: Sequence[Any], *expected: Any) -> None:
    """Interpreted, as text, and lowered, the one equation gives `expected`."""
    f = build(body, args)
    assert parse(str(f)) == f
    for found in (evaluate(f, args), run_lowered(f, args), run_lowered(f, args, backward=True)):
        assert len(found) == len(expected)
        for x, y in zip(found, expected):
            assert_same(x, y)


def values(shape: tuple[int, ...], dtype: Any = np.float64) -> Any:
    return (np.arange(np.prod(shape, dtype=int)) % 120 + 1).reshape(shape).astype(dtype)[()]


@st.composite
def picks(draw: st.DrawFn) -> tuple[Any, list[int], list[Any]]:
    """An array, axes of it, and index arrays in bounds, with duplicates."""
    shape = draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    axes = draw(st.permutations(range(len(shape))))
    axes = axes[: draw(st.integers(1, len(axes)))]
    box = draw(st.lists(st.integers(0, 3), max_size=2))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    indices = [np.asarray(rng.integers(0, shape[a], box))[()] for a in axes]
    return values(tuple(shape), draw(st.sampled_from(DTYPES))), list(axes), indices


def front(x: Any, axes: Sequence[int]) -> Any:
    return np.moveaxis(x, axes, range(len(axes)))


# -- samples ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["gather", "scatter", "compress"])
@pytest.mark.parametrize("literals", [True, False])
def test_lowering_agrees_with_reference(name: str, literals: bool) -> None:
    op = registry("array")[name]
    assert isinstance(op, Primitive)
    for sample in op.samples():
        f, args = function_of(op, sample, literals)
        expected = evaluate(f, args)
        for found in (run_lowered(f, args), run_lowered(f, args, backward=True)):
            for x, y in zip(found, expected, strict=True):
                assert_same(x, y)


# -- gather and scatter ----------------------------------------------------------------------------


@given(picks())
@settings(max_examples=80, deadline=None)
def test_gather(pick: tuple[Any, list[int], list[Any]]) -> None:
    x, axes, indices = pick
    expected = front(x, axes)[tuple(indices)]
    check(lambda x, *i: ops.gather(x, i, axes), [x, *indices], expected)


@given(picks())
@settings(max_examples=60, deadline=None)
def test_scatter_set_keeps_the_last_write(pick: tuple[Any, list[int], list[Any]]) -> None:
    base, axes, indices = pick
    value = values(front(base, axes)[tuple(indices)].shape, base.dtype)
    expected = np.array(base)
    for at in np.ndindex(np.shape(indices[0])):
        front(expected, axes)[tuple(i[at] for i in indices)] = np.asarray(value)[at]
    body = lambda base, v, *i: ops.scatter(base, v, i, axes)  # noqa: E731
    check(body, [base, value, *indices], expected)


@given(picks())
@settings(max_examples=60, deadline=None)
def test_scatter_add_counts_every_write(pick: tuple[Any, list[int], list[Any]]) -> None:
    base, axes, indices = pick
    value = values(front(base, axes)[tuple(indices)].shape, base.dtype)
    expected = np.array(base)
    np.add.at(front(expected, axes), tuple(indices), value)
    body = lambda base, v, *i: ops.scatter(base, v, i, axes, "add")  # noqa: E731
    check(body, [base, value, *indices], expected)


def test_indices_of_a_computed_extent() -> None:
    with Builder("f") as b:
        n, k = b.param(T.scalar(T.i64), "n"), b.param(T.scalar(T.i64), "k")
        x = b.param(ArrayType(T.f32, (n, 2)), "x")
        i = b.param(ArrayType(T.i64, (k,)), "i")
        y = ops.gather(x, [i], (0,))
        z = ops.scatter(x, y, [i], (0,), "add")
    f = b.build(n, k, y, z)
    x, i = values((3, 2), np.float32), np.array([2, 0, 2, 2])
    _, _, y, z = evaluate(f, [np.int64(3), np.int64(4), x, i])
    assert_same(y, x[i])
    expected = x.copy()
    np.add.at(expected, i, x[i])
    assert_same(z, expected)
    assert parse(str(f)) == f


@pytest.mark.parametrize("bad", [-1, 3])
def test_out_of_bounds_is_refused(bad: int) -> None:
    x, i, value = values((2, 3)), np.array([0, bad]), values((2, 2))
    read = build(lambda x, i: ops.gather(x, [i], (1,)), [x, i])
    with pytest.raises(IndexError, match=f"index {bad} of axis 1 with size 3"):
        evaluate(read, [x, i])
    write = build(lambda x, v, i: ops.scatter(x, v, [i], (1,)), [x, value, i])
    with pytest.raises(IndexError, match=f"index {bad} of axis 1 with size 3"):
        evaluate(write, [x, value, i])


# -- compress --------------------------------------------------------------------------------------


@given(st.lists(st.booleans(), max_size=9), st.data())
@settings(max_examples=60, deadline=None)
def test_compress(bits: list[bool], data: st.DataObject) -> None:
    mask = np.array(bits, np.bool_)
    tails = data.draw(st.lists(st.lists(st.integers(0, 3), max_size=2), max_size=3))
    xs = [values((len(bits), *tail), data.draw(st.sampled_from(DTYPES))) for tail in tails]
    count = np.int64(mask.sum())
    check(lambda m, *xs: ops.compress(m, xs), [mask, *xs], count, *(x[mask] for x in xs))


def test_compressed_arrays_share_their_extent() -> None:
    """What one mask made can meet in pointwise ops, and be compressed again."""
    with Builder("f") as b:
        mask, x, y = (b.param(ArrayType(d, (5,))) for d in (T.bool_, T.f64, T.f64))
        k, xs, ys = ops.compress(mask, [x, y])
        total = ops.add(xs, ys)
        again = ops.compress(ops.gt(total, 3.0), [total])
    f = b.build(k, total, *again)
    assert parse(str(f)) == f
    m, u, v = np.array([True, False, True, True, False]), np.arange(5.0), np.ones(5)
    k, total, few, rest = evaluate(f, [m, u, v])
    assert (k, few) == (3, 1)
    assert_same(total, (u + v)[m])
    assert_same(rest, np.array([4.0]))


# -- types -----------------------------------------------------------------------------------------

REFUSED: list[tuple[str, Callable[[Value, Value], object]]] = [
    ("1 index arrays for axes", lambda x, i: ops.gather(x, [i], (0, 1))),
    ("0 index arrays for axes", lambda x, i: ops.gather(x, [], ())),
    ("each once, in range", lambda x, i: ops.gather(x, [i], (2,))),
    ("each once, in range", lambda x, i: ops.gather(x, [i, i], (1, 1))),
    ("must be i64", lambda x, i: ops.gather(x, [ops.convert(i, T.i32)], (0,))),
    ("of one shape", lambda x, i: ops.gather(x, [i, ops.reshape(i, (4, 1))], (0, 1))),
    (r"takes f64\[4, 3\]", lambda x, i: ops.scatter(x, x, [i], (0,))),
    (r"takes f64\[4, 3\]", lambda x, i: ops.scatter(x, ops.gather(i, [i], (0,)), [i], (0,))),
    ('"set" or "add"', lambda x, i: ops.scatter(x, ops.gather(x, [i], (0,)), [i], (0,), "max")),
    ("bool vector", lambda x, i: ops.compress(x, [x])),
    ("mask's extent 4", lambda x, i: ops.compress(ops.gt(i, 0), [i, x])),
]


@pytest.mark.parametrize(("message", "body"), REFUSED)
def test_type_rules_refuse(message: str, body: Callable[[Value, Value], object]) -> None:
    with Builder() as b:
        x, i = b.param(ArrayType(T.f64, (2, 3)), "x"), b.param(ArrayType(T.i64, (4,)), "i")
        with pytest.raises(TypeRuleError, match=message):
            body(x, i)


# -- derivatives -----------------------------------------------------------------------------------


def pulled(f: Function, args: Sequence[Any], ct: Any) -> tuple[Any, ...]:
    """The cotangents of the float params of a one-equation Function."""
    (eqn,) = f.eqns
    with Builder("transpose") as b:
        params = {p: b.param(p.type) for p in f.params}
        ct_param = b.param(ArrayType(eqn.result.dtype, ct.shape))
        operands = [
            Linear(v.type) if v.dtype.is_inexact else params.get(v, v) for v in eqn.operands
        ]
        found = eqn.op.transpose(eqn, operands, [ct_param], [None] * len(operands), None)
    return evaluate(b.build(*(v for v in found if v is not None)), [*args, ct])


@pytest.mark.parametrize("name", ["gather", "scatter"])
def test_transpose_is_the_adjoint(name: str) -> None:
    op = registry("array")[name]
    assert isinstance(op, Primitive)
    rng = np.random.default_rng(1)
    for sample in op.samples():
        f, args = function_of(op, sample, literals=True)
        (y,) = evaluate(f, args)
        if y.dtype != np.float64:
            continue
        ct = np.asarray(rng.standard_normal(y.shape))[()]
        cts = pulled(f, args, ct)
        right = sum(np.sum(a * c) for a, c in zip(args, cts))
        np.testing.assert_allclose(np.sum(y * ct), right, rtol=1e-12, atol=1e-12)


def test_only_the_winning_write_gets_the_cotangent() -> None:
    args = [np.zeros(3), np.array([1.0, 2.0, 4.0]), np.array([1, 1, 0])]
    f = build(lambda base, v, i: ops.scatter(base, v, [i], (0,)), args)
    ct_base, ct_value = pulled(f, args, np.array([10.0, 20.0, 30.0]))
    assert_same(ct_base, np.array([0.0, 0.0, 30.0]))
    assert_same(ct_value, np.array([0.0, 20.0, 10.0]))


def test_only_the_winning_rows_get_the_cotangent() -> None:
    args = [np.zeros((3, 2)), values((2, 2, 2)), np.array([[0, 2], [2, 2]])]
    f = build(lambda base, v, i: ops.scatter(base, v, [i], (0,)), args)
    ct = values((3, 2))
    _, ct_value = pulled(f, args, ct)
    assert_same(ct_value, np.array([[ct[0], [0.0, 0.0]], [[0.0, 0.0], ct[2]]]))


def test_jvp_of_compress() -> None:
    """The tangents keep the primal's extent, and pass through a gather, which transposes."""
    mask, x, t = np.array([True, False, True]), np.arange(3.0), np.array([5.0, 6.0, 7.0])
    n = np.array([1, 2, 3])
    f = build(lambda m, x, n: ops.compress(m, [x, n]), [mask, x, n])
    (eqn,) = f.eqns
    with Builder("jvp") as b:
        params = [b.param(p.type) for p in f.params]
        pt = b.param(params[1].type)
        results, tangents = eqn.op.jvp(eqn, params, [None, pt, None], None)
    assert tangents[0] is None
    assert tangents[2] is None
    assert tangents[1].dims == results[1].dims
    assert [e.op.name for e in b.eqns] == ["iota", "compress", "gather"]
    k, y, m, dy = evaluate(b.build(*results, tangents[1]), [mask, x, n, t])
    assert k == 2
    assert_same(y, x[mask])
    assert_same(m, n[mask])
    assert_same(dy, t[mask])


def test_jvp_without_tangents_binds_the_primal_only() -> None:
    f = build(lambda m, x: ops.compress(m, [x]), [np.array([True]), np.ones(1)])
    (eqn,) = f.eqns
    with Builder("jvp") as b:
        params = [b.param(p.type) for p in f.params]
        _, tangents = eqn.op.jvp(eqn, params, [None, None], None)
    assert list(tangents) == [None, None]
    assert [e.op.name for e in b.eqns] == ["compress"]
