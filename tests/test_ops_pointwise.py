"""Pointwise ops: builder functions, literals, and the conventions of their derivatives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from jitnet import ops
from jitnet.interp import evaluate
from jitnet.ir import ArrayType, Builder, Eqn, Function, Literal, TypeRuleError, Value, literal
from jitnet.ir import types as T
from jitnet.ops.lift import Pointwise
from jitnet.ops.primitive import Linear

inf, nan = np.inf, np.nan


def run(body: Any, *args: Any) -> Any:
    """The result of `body(*params)` on `args`, through the array interpreter."""
    args = tuple(np.asarray(a)[()] for a in args)
    with Builder("f") as b:
        params = [b.param(ArrayType(T.from_numpy(a.dtype), a.shape)) for a in args]
        result = body(*params)
    (out,) = evaluate(b.build(result), args)
    return out


def derivative(op: Pointwise, at: Sequence[float], wrt: int, t: float = 1.0) -> float:
    """The tangent of `op` at a point for the tangent t of operand `wrt`; None counts as 0."""
    with Builder("jvp") as b:
        params = [b.param(ArrayType(T.f64)) for _ in at]
        tangent = b.param(ArrayType(T.f64), "t")
        eqn = Eqn(op, tuple(params), {}, (), (Value(op.infer(params, {}, ())[0]),))
        tangents = [tangent if i == wrt else None for i in range(len(at))]
        _, (out,) = op.jvp(eqn, params, tangents, _no_regions)
    if out is None:
        return 0.0
    return float(evaluate(b.build(out), [*map(np.float64, at), np.float64(t)])[0])


def _no_regions(f: Function, nonzero: Sequence[bool]) -> Any:
    raise AssertionError("pointwise ops have no regions")


def transposed(op: Any, operands: Sequence[Any], wrt: int, ct: Any) -> Any:
    """The cotangent of operand `wrt` of an op, given the result's."""
    ct = np.asarray(ct)
    with Builder("transpose") as b:
        params: list[Value] = []
        values: list[Value | Linear] = []
        for i, x in enumerate(operands):
            x = np.asarray(x)
            type = ArrayType(T.from_numpy(x.dtype), x.shape)
            params.append(b.param(type))
            values.append(Linear(type) if i == wrt else params[-1])
        c = b.param(ArrayType(T.from_numpy(ct.dtype), ct.shape))
        eqn = Eqn(op, tuple(params), {}, (), (Value(c.type),))
        out = op.transpose(eqn, values, [c], [None] * len(values), _no_regions)[wrt]
    args = [np.asarray(a)[()] for a in (*operands, ct)]
    return evaluate(b.build(out), args)[0]


# -- builder functions -----------------------------------------------------------------------------


def test_numbers_become_literals_of_the_other_dtype() -> None:
    with Builder("f") as b:
        x = b.param(ArrayType(T.f32, (3,)))
        y = ops.mul(2, x)
    (eqn,) = b.build(y).eqns
    assert eqn.operands == (Literal(2.0, T.f32), x)
    assert y.type == ArrayType(T.f32, (3,))


def test_literals_alone_fold_and_bind_nothing() -> None:
    with Builder("f") as b:
        y = ops.sqrt(ops.add(literal(3.0, T.f64), 1.0))
    assert y == Literal(2.0, T.f64)
    assert not b.eqns


def test_integers_fold_as_they_wrap() -> None:
    with Builder("f"):
        assert ops.add(literal(255, T.u8), 1) == Literal(0, T.u8)
        assert ops.floordiv(literal(-7, T.i8), 0) == Literal(0, T.i8)


def test_exponents_and_masks_have_their_own_dtype() -> None:
    x = np.array([1.0, 3.0], np.float32)
    np.testing.assert_array_equal(run(lambda x: ops.ldexp(x, 3), x), x * 8)
    out = run(lambda x: ops.select(ops.gt(x, 2.0), x, 0.0), x)
    np.testing.assert_array_equal(out, np.array([0.0, 3.0], np.float32))


def test_literal_operand_stands_for_every_element() -> None:
    x = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(run(lambda x: ops.sub(10.0, x), x), 10.0 - x)
    np.testing.assert_array_equal(run(lambda x: ops.sub(10.0, x), np.float64(4.0)), 6.0)


def test_operands_must_agree() -> None:
    with Builder("f") as b:
        x = b.param(ArrayType(T.f64, (3,)))
        row = b.param(ArrayType(T.f64, (4,)))
        single = b.param(ArrayType(T.f64))
        narrow = b.param(ArrayType(T.f32, (3,)))
        count = b.param(ArrayType(T.i64, (3,)))
        with pytest.raises(TypeRuleError, match="broadcast first"):
            ops.add(x, row)
        with pytest.raises(TypeRuleError, match="broadcast first"):
            ops.add(x, single)
        with pytest.raises(TypeRuleError, match="cast first"):
            ops.add(x, narrow)
        with pytest.raises(TypeRuleError, match="does not take i64"):
            ops.exp(count)


def test_dynamic_dims_are_compared_by_identity() -> None:
    with Builder("f") as b:
        n, m = b.param(ArrayType(T.i64), "n"), b.param(ArrayType(T.i64), "m")
        x, y = b.param(ArrayType(T.f64, (n,))), b.param(ArrayType(T.f64, (n,)))
        z = b.param(ArrayType(T.f64, (m,)))
        assert ops.add(x, y).dims == (n,)
        with pytest.raises(TypeRuleError):
            ops.add(x, z)


@pytest.mark.parametrize("value", [nan, inf, -inf, 1e20, -1e20, 300.7, -0.5])
def test_convert_is_astype(value: float) -> None:
    x = np.array([value, 2.5])
    for target in T.DTYPES.values():
        with np.errstate(all="ignore"):
            expected = x.astype(target.numpy)
        np.testing.assert_array_equal(run(lambda x, t=target: ops.convert(x, t), x), expected)


def test_convert_to_the_same_dtype_binds_nothing() -> None:
    with Builder("f") as b:
        x = b.param(ArrayType(T.f64, (3,)))
        assert ops.convert(x, T.f64) is x
        assert ops.convert(literal(2.7, T.f64), T.i64) == Literal(2, T.i64)


@pytest.mark.parametrize("other", [0.0, -0.0, 1.0, inf, -inf, nan])
def test_zmul_is_a_strong_zero(other: float) -> None:
    assert run(ops.zmul, 0.0, other) == 0.0
    assert run(ops.zmul, other, 0.0) == 0.0
    np.testing.assert_array_equal(run(ops.zmul, 3.0, other), 3.0 * other)


# -- derivatives -----------------------------------------------------------------------------------

CONVENTIONS = [
    (ops.maximum, (2.0, 2.0), 0, 0.5),
    (ops.maximum, (2.0, 2.0), 1, 0.5),
    (ops.maximum, (3.0, 2.0), 0, 1.0),
    (ops.maximum, (3.0, 2.0), 1, 0.0),
    (ops.minimum, (2.0, 2.0), 0, 0.5),
    (ops.minimum, (3.0, 2.0), 1, 1.0),
    (ops.fmax, (nan, 2.0), 1, 1.0),
    (ops.fmax, (nan, 2.0), 0, 0.0),
    (ops.fmin, (1.0, nan), 0, 1.0),
    (ops.abs, (0.0,), 0, 0.0),
    (ops.abs, (-3.0,), 0, -1.0),
    (ops.sqrt, (0.0,), 0, inf),
    (ops.hypot, (0.0, 0.0), 0, 0.0),
    (ops.hypot, (3.0, -4.0), 1, -0.8),
    (ops.pow, (0.0, 0.0), 0, 0.0),
    (ops.pow, (0.0, 0.0), 1, 0.0),
    (ops.pow, (0.0, 2.0), 1, 0.0),
    (ops.pow, (0.0, 1.0), 0, 1.0),
    (ops.pow, (0.0, 2.0), 0, 0.0),
    (ops.pow, (0.0, 0.5), 0, inf),
    (ops.pow, (-2.0, 3.0), 0, 12.0),
    (ops.pow, (-2.0, -1.0), 0, -0.25),
    (ops.arctan2, (0.0, 0.0), 0, 0.0),
    (ops.arctan2, (1e-170, 1e-170), 0, 5e169),
    (ops.arctan2, (1e170, 1e170), 1, -5e-171),
    (ops.logaddexp, (-inf, -inf), 0, 0.5),
    (ops.logaddexp, (0.0, -inf), 0, 1.0),
    (ops.logaddexp, (-inf, 0.0), 0, 0.0),
    (ops.logaddexp, (1000.0, -1000.0), 0, 1.0),
    (ops.logaddexp2, (3.0, 3.0), 1, 0.5),
    (ops.rem, (7.5, 2.0), 1, -3.0),
    (ops.rem, (-7.5, 2.0), 1, 4.0),
    (ops.fmod, (-7.5, 2.0), 1, 3.0),
    (ops.copysign, (-3.0, 2.0), 0, -1.0),
    (ops.copysign, (-3.0, -2.0), 0, 1.0),
    (ops.heaviside, (0.0, 0.5), 1, 1.0),
    (ops.heaviside, (1.0, 0.5), 1, 0.0),
    (ops.sign, (0.0,), 0, 0.0),
    (ops.floor, (1.0,), 0, 0.0),
    (ops.floordiv, (7.0, 2.0), 0, 0.0),
    (ops.log, (0.0,), 0, inf),
]


@pytest.mark.parametrize(("op", "at", "wrt", "expected"), CONVENTIONS)
def test_conventions(op: Pointwise, at: tuple[float, ...], wrt: int, expected: float) -> None:
    np.testing.assert_allclose(derivative(op, at, wrt), expected, rtol=1e-13)


@pytest.mark.parametrize(
    ("op", "at"),
    [
        (ops.sqrt, (0.0,)),
        (ops.log, (0.0,)),
        (ops.reciprocal, (0.0,)),
        (ops.div, (1.0, 0.0)),
        (ops.pow, (0.0, -1.0)),
        (ops.arcsin, (1.0,)),
        (ops.arccosh, (1.0,)),
        (ops.arctanh, (1.0,)),
        (ops.cbrt, (0.0,)),
        (ops.mul, (inf, 1.0)),
    ],
)
def test_zero_tangents_stay_zero_at_poles(op: Pointwise, at: tuple[float, ...]) -> None:
    for wrt in range(len(at)):
        assert derivative(op, at, wrt, t=0.0) == 0.0


def test_literal_factors_leave_plain_products() -> None:
    """A tangent scaled by a finite literal needs no strong zero, by 1 or -1 not even a product."""
    with Builder("f") as b:
        x, t = b.param(ArrayType(T.f64, (3,))), b.param(ArrayType(T.f64, (3,)))
        scaled = ops.mul(x, 3.0)
        eqn = b.eqns[-1]
        _, (dy,) = ops.mul.jvp(eqn, eqn.operands, (t, None), _no_regions)
    assert [e.op for e in b.build(scaled, dy).eqns] == [ops.mul, ops.mul, ops.mul]


def test_integers_have_no_tangent() -> None:
    with Builder("f") as b:
        x = b.param(ArrayType(T.f64, (3,)))
        ops.convert(x, T.i64)
        eqn = b.eqns[-1]
        _, tangents = eqn.op.jvp(eqn, eqn.operands, (x,), _no_regions)
    assert list(tangents) == [None]


X, Y, CT = np.array([1.0, -2.0, 3.0]), np.array([4.0, 0.5, -1.0]), np.array([2.0, 3.0, 5.0])
MASK = np.array([True, False, True])


@pytest.mark.parametrize(
    ("op", "operands", "wrt", "expected"),
    [
        (ops.add, (X, Y), 1, CT),
        (ops.sub, (X, Y), 1, -CT),
        (ops.neg, (X,), 0, -CT),
        (ops.mul, (X, Y), 0, CT * Y),
        (ops.zmul, (X, Y), 1, CT * X),
        (ops.zmul, (np.array([inf, 0.0, nan]), Y), 1, None),
        (ops.div, (X, Y), 0, CT / Y),
        (ops.select, (MASK, X, Y), 1, CT * MASK),
        (ops.select, (MASK, X, Y), 2, CT * ~MASK),
    ],
)
def test_transposes(op: Any, operands: Any, wrt: int, expected: Any) -> None:
    if expected is None:
        out = transposed(op, operands, wrt, np.zeros(3))
        np.testing.assert_array_equal(out, np.zeros(3))
        return
    np.testing.assert_array_equal(transposed(op, operands, wrt, CT), expected)


def test_transposes_accumulate() -> None:
    with Builder("f") as b:
        x, c, total = (b.param(ArrayType(T.f64, (3,))) for _ in range(3))
        eqn = Eqn(ops.neg, (x,), {}, (), (Value(x.type),))
        (out,) = ops.neg.transpose(eqn, [Linear(x.type)], [c], [total], _no_regions)
    (value,) = evaluate(b.build(out), (X, CT, Y))
    np.testing.assert_array_equal(value, Y - CT)
