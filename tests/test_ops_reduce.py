"""Reductions, positions of extrema and running sums: references, derivatives, edge cases."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from op_kernels import run_kernel

from jitnet import ops
from jitnet.interp import evaluate
from jitnet.ir import ArrayType, Builder, Eqn, Function, TypeRuleError, Value
from jitnet.ir import types as T
from jitnet.ops.primitive import Linear

inf, nan = np.inf, np.nan


def run(body: Any, *args: Any) -> Any:
    with Builder("f") as b:
        params = [b.param(ArrayType(T.from_numpy(a.dtype), a.shape)) for a in args]
        result = body(*params)
    return evaluate(b.build(result), args)[0]


def tangent(body: Any, x: Any, t: Any) -> Any:
    """The tangent of an op of one operand, by its own rule."""
    with Builder("jvp") as b:
        px, pt = b.param(ArrayType(T.f64, x.shape)), b.param(ArrayType(T.f64, x.shape))
        with Builder("primal") as inner:
            body(px)
        (eqn,) = inner.eqns
        _, (dy,) = eqn.op.jvp(eqn, (px,), (pt,), None)
    return evaluate(b.build(dy), (x, t))[0]


def numerical(function: Any, x: Any, t: Any, h: float = 1e-6) -> Any:
    return (function(x + h * t) - function(x - h * t)) / (2 * h)


@given(
    shape=st.lists(st.integers(0, 4), min_size=1, max_size=4).map(tuple),
    picks=st.lists(st.booleans(), min_size=4, max_size=4),
    seed=st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_any_axes(shape: tuple[int, ...], picks: list[bool], seed: int) -> None:
    axes = tuple(i for i in range(len(shape)) if picks[i])
    x = np.random.default_rng(seed).integers(-3, 4, shape)
    f = x.astype(np.float32)
    np.testing.assert_array_equal(run(lambda v: ops.reduce_sum(v, axes), x), x.sum(axis=axes))
    np.testing.assert_array_equal(run(lambda v: ops.reduce_prod(v, axes), x), x.prod(axis=axes))
    np.testing.assert_array_equal(run(lambda v: ops.reduce_sum(v, axes), f), f.sum(axis=axes))
    np.testing.assert_array_equal(run(lambda v: ops.reduce_any(v, axes), x > 1), (x > 1).any(axes))
    np.testing.assert_array_equal(run(lambda v: ops.reduce_all(v, axes), x > 1), (x > 1).all(axes))
    np.testing.assert_array_equal(
        run(lambda v: ops.reduce_max(v, axes), x),
        x.max(axis=axes, initial=np.iinfo(np.int64).min),
    )
    np.testing.assert_array_equal(
        run(lambda v: ops.reduce_min(v, axes), f), f.min(axis=axes, initial=inf)
    )


def test_result_keeps_the_dtype() -> None:
    x = np.full((3,), 100, np.int8)
    assert run(lambda v: ops.reduce_sum(v, (0,)), x) == np.int8(300 - 256)
    assert run(lambda v: ops.cumsum(v, 0), x).dtype == np.int8


def test_extrema_propagate_nan() -> None:
    x = np.array([1.0, nan, 3.0])
    assert np.isnan(run(lambda v: ops.reduce_max(v, (0,)), x))
    assert np.isnan(run(lambda v: ops.reduce_min(v, (0,)), x))
    assert run(lambda v: ops.argmax(v, 0), x) == 1
    assert run(lambda v: ops.argmin(v, 0), x) == 1


def test_positions_are_the_first() -> None:
    x = np.array([[3, 1, 3], [0, 0, 0]], np.int32)
    out = run(lambda v: ops.argmax(v, 1), x)
    assert out.dtype == np.int64
    np.testing.assert_array_equal(out, [0, 0])
    np.testing.assert_array_equal(run(lambda v: ops.argmin(v, 1), x), [1, 0])


def test_axes_are_checked() -> None:
    with Builder("f") as b:
        x = b.param(ArrayType(T.f64, (2, 3)))
        mask = b.param(ArrayType(T.bool_, (2, 3)))
        for axes in ((2,), (-1,), (1, 0), (0, 0)):
            with pytest.raises(TypeRuleError, match="axes"):
                ops.reduce_sum(x, axes)
        with pytest.raises(TypeRuleError, match="out of range"):
            ops.argmax(x, 2)
        with pytest.raises(TypeRuleError, match="convert first"):
            ops.reduce_sum(mask, (0,))
        with pytest.raises(TypeRuleError, match="take bools"):
            ops.reduce_any(x, (0,))
        with pytest.raises(TypeRuleError, match="out of range"):
            ops.cumsum(x, 2)


# -- derivatives -----------------------------------------------------------------------------------

ZEROS = np.array([[1.5, 0.0, 2.0], [0.0, 0.0, -1.0], [0.5, 3.0, -2.0]])
T9 = np.random.default_rng(0).normal(size=(3, 3))


@pytest.mark.parametrize("axes", [(0,), (1,), (0, 1), ()])
def test_product_rule_with_zeros(axes: tuple[int, ...]) -> None:
    out = tangent(lambda v: ops.reduce_prod(v, axes), ZEROS, T9)
    expected = numerical(lambda x: x.prod(axis=axes), ZEROS, T9)
    np.testing.assert_allclose(out, expected, atol=1e-8)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("exclusive", [False, True])
def test_running_product_rule_with_zeros(axis: int, reverse: bool, exclusive: bool) -> None:
    def body(v: Any) -> Any:
        return ops.cumprod(v, axis, reverse, exclusive)

    out = tangent(body, ZEROS, T9)
    np.testing.assert_allclose(out, numerical(lambda x: run(body, x), ZEROS, T9), atol=1e-8)


def test_running_product_rule_with_extents_as_values() -> None:
    with Builder("jvp") as b:
        n, m = b.param(ArrayType(T.i64), "n"), b.param(ArrayType(T.i64), "m")
        x, t = b.param(ArrayType(T.f64, (n, m)), "x"), b.param(ArrayType(T.f64, (n, m)), "t")
        ops.cumprod(x, 1)
        eqn = b.eqns[-1]
        _, (dy,) = eqn.op.jvp(eqn, (x,), (t,), None)
    for shape in ((3, 3), (0, 2), (3, 1)):
        z, dz = np.resize(ZEROS, shape), np.resize(T9, shape)
        (out,) = evaluate(b.build(dy), [*map(np.int64, shape), z, dz])
        np.testing.assert_allclose(
            out, numerical(lambda z: np.cumprod(z, axis=1), z, dz), atol=1e-8
        )


def test_extrema_share_among_ties() -> None:
    x = np.array([[2.0, 1.0, 2.0], [0.0, 5.0, 1.0]])
    t = np.array([[1.0, 10.0, 4.0], [1.0, 7.0, 3.0]])
    out = tangent(lambda v: ops.reduce_max(v, (1,)), x, t)
    np.testing.assert_array_equal(out, [2.5, 7.0])
    out = tangent(lambda v: ops.reduce_min(v, (0, 1)), x, t)
    np.testing.assert_array_equal(out, 1.0)


def transposed(op: Any, attrs: Any, x_shape: Any, ct: Any) -> Any:
    with Builder("transpose") as b:
        type = ArrayType(T.f64, x_shape)
        c = b.param(ArrayType(T.f64, ct.shape))
        eqn = Eqn(op, (Value(type),), attrs, (), (Value(c.type),))
        (out,) = op.transpose(eqn, [Linear(type)], [c], [None], _no_regions)
    return evaluate(b.build(out), (ct,))[0]


def _no_regions(f: Function, linear: Any) -> Any:
    raise AssertionError("no regions here")


def test_sum_transposes_to_broadcast() -> None:
    ct = np.array([[1.0, 2.0], [3.0, 4.0]])
    out = transposed(ops.reduce.REDUCE_SUM, {"axes": (1,)}, (2, 3, 2), ct)
    np.testing.assert_array_equal(out, np.broadcast_to(ct[:, None, :], (2, 3, 2)))


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("exclusive", [False, True])
def test_running_sum_transposes_to_its_mirror(reverse: bool, exclusive: bool) -> None:
    attrs = {"axis": 0, "reverse": reverse, "exclusive": exclusive}
    rng = np.random.default_rng(1)
    x, ct = rng.normal(size=(5, 2)), rng.normal(size=(5, 2))
    y = run(lambda v: ops.cumsum(v, **attrs), x)
    back = transposed(ops.scan.CUMSUM, attrs, (5, 2), ct)
    np.testing.assert_allclose((y * ct).sum(), (x * back).sum(), rtol=1e-12)


# -- running sums ----------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(5,), (0,), (1,), (3, 4), (2, 3, 2), (2, 0)])
def test_running_sums_are_numpys(shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(2).normal(size=shape).astype(np.float32)
    for axis in range(len(shape)):
        out = run(lambda v, a=axis: ops.cumsum(v, a), x)
        np.testing.assert_array_equal(out, np.cumsum(x, axis))
        out = run(lambda v, a=axis: ops.cumprod(v, a, reverse=True), x)
        np.testing.assert_array_equal(out, np.flip(np.cumprod(np.flip(x, axis), axis), axis))


def test_exclusive_leaves_the_element_out() -> None:
    x = np.array([2.0, 3.0, 5.0])
    out = run(lambda v: ops.cumprod(v, 0, exclusive=True), x)
    np.testing.assert_array_equal(out, [1.0, 2.0, 6.0])
    out = run(lambda v: ops.cumsum(v, 0, reverse=True, exclusive=True), x)
    np.testing.assert_array_equal(out, [8.0, 5.0, 0.0])


# -- lowering --------------------------------------------------------------------------------------


@pytest.mark.parametrize("op", [ops.scan.CUMSUM, ops.scan.CUMPROD, ops.reduce.ARGMAX])
@pytest.mark.parametrize("backward", [False, True])
def test_kernels_with_extents_as_values_and_strides(op: Any, backward: bool) -> None:
    for sample in op.samples():
        (x,) = sample.operands
        with Builder("f") as b:
            n = b.param(ArrayType(T.i64), "n")
            dims = tuple(n if d == x.shape[0] else d for d in x.shape)
            (y,) = b.bind(op, [b.param(ArrayType(T.from_numpy(x.dtype), dims))], sample.attrs)
        with np.errstate(all="ignore"):
            (expected,) = op.numpy(b.eqns[-1], x)
        strided = np.repeat(x, 2, axis=-1)[..., ::2]
        targets = [np.zeros_like(np.repeat(expected, 2, axis=-1))[..., ::2]] if y.rank else []
        (out,) = run_kernel(b.eqns[-1], [strided], {n: x.shape[0]}, targets, backward)
        np.testing.assert_array_equal(out, expected)
