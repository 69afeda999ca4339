"""Operators on Python numbers: Python's own rules, not NumPy's.

    step + 1     step: a traced float → a traced Python float, still weak against arrays
    n // k       check k != 0, "ZeroDivisionError"; then floordiv

Traced ints are int64; an operation that would leave it raises OverflowError when the program runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jitnet import errors, ops
from jitnet.frontend.promotion import (
    Operand,
    fits,
    is_python,
    literal_of,
    operand,
    python_kind,
)
from jitnet.frontend.tracer import Tracer, lift, wrap
from jitnet.ir import DType, Literal, Value
from jitnet.ir import types as T

Real = Tracer | bool | int | float
Rule = Callable[[Value, Value], Value]

_INT64_MIN = -(1 << 63)
_REMEDY = (
    "np.uint64(n) wraps around; float(n) and math.log(n) reach further; "
    "jit(f, static=(name,)) compiles an int in, and what is known is computed without limits"
)
_WIDE = "an integer result does not fit int64, which traced Python ints are"
_WIDE += errors.REMEDY + _REMEDY


def are_python(inputs: tuple[Any, ...]) -> bool:
    """Whether all operands are Python numbers, known or traced."""
    return all(
        type(x) in (bool, int, float, complex)
        or (type(x) is Tracer and lift(x).flavour == "python")
        for x in inputs
    )


def operate(ufunc: np.ufunc, inputs: tuple[Any, ...]) -> Any:
    """The operator that `ufunc` stands for, on Python numbers.

    Raises:
        UnsupportedFunctionError: for what Python has and jitnet has not.
    """
    operands = [operand(x) for x in inputs]
    assert all(is_python(x) for x in operands)
    kinds = [python_kind(x) for x in operands]
    if len(operands) == 1:
        return _unary(ufunc, operands[0], kinds[0])
    if ufunc in _BITWISE and kinds == [bool, bool]:
        a, b = (_value(x, T.bool_) for x in operands)
        return wrap(_BITWISE[ufunc](a, b), "python")
    if ufunc is np.divmod:
        return (operate(np.floor_divide, inputs), operate(np.remainder, inputs))
    if complex in kinds:
        return _operate_complex(ufunc, operands, kinds)
    wide = T.f64 if float in kinds or ufunc is np.true_divide else T.i64
    rules = _ON_FLOATS if wide is T.f64 else _ON_INTS
    if ufunc in _COMPARISONS:
        reals = [x for x in operands if not isinstance(x, complex)]
        return wrap(_compare(ufunc, reals), "python")
    rule = rules.get(ufunc)
    if rule is None and ufunc in _ON_INTS and float in kinds:
        names = " and ".join(f"'{k.__name__}'" for k in kinds)
        raise errors.DTypeError(f"unsupported operand types for np.{ufunc.__name__}: {names}")
    if rule is None:
        raise errors.UnsupportedFunctionError(
            f"the operator of np.{ufunc.__name__} on a traced Python {kinds[0].__name__}",
            remedy="compute it outside of the compiled function, or on NumPy numbers: np.int64(n)",
        )
    a, b = (_value(x, wide) for x in operands)
    return wrap(rule(a, b), "python")


def _value(x: Operand, dtype: DType) -> Value:
    return ops.convert(x.value, dtype) if isinstance(x, Tracer) else literal_of(x, dtype)


def _unary(ufunc: np.ufunc, x: Operand, kind: type) -> Any:
    if kind is complex:
        return _unary_complex(ufunc, _value(x, T.c128))
    value = _value(x, T.f64 if kind is float else T.i64)
    if ufunc in (np.positive, np.conjugate):
        return wrap(value, "python")
    if ufunc is np.invert and kind is not float:
        return wrap(ops.invert(value), "python")
    if ufunc in (np.negative, np.absolute):
        if kind is not float:
            ops.check(ops.ne(value, _INT64_MIN), [], "OverflowError", _WIDE)
        return wrap((ops.neg if ufunc is np.negative else ops.abs)(value), "python")
    raise errors.DTypeError(f"bad operand type for unary ~: '{kind.__name__}'")


# -- comparisons -----------------------------------------------------------------------------------


def _compare(ufunc: np.ufunc, operands: Sequence[Real]) -> Value:
    """Python compares ints with floats, and ints of any size, exactly."""
    x, y = operands
    rule = _COMPARISONS[ufunc]
    if python_kind(x) is python_kind(y) is float:
        return rule(_value(x, T.f64), _value(y, T.f64))
    if python_kind(x) is float:
        return _compare(MIRRORED[ufunc], (y, x))
    if python_kind(y) is float:
        return _compare_int_to_float(ufunc, x, _value(y, T.f64))
    if not isinstance(x, Tracer) and not fits(int(x), T.i64):
        return _compare(MIRRORED[ufunc], (y, x))
    if not isinstance(y, Tracer) and not fits(int(y), T.i64):
        return Literal(bool(ufunc(0, 1 if y > 0 else -1)), T.bool_)
    return rule(_value(x, T.i64), _value(y, T.i64))


def _compare_int_to_float(ufunc: np.ufunc, x: Real, y: Value) -> Value:
    """Rounding is monotone, so only an int that rounds to just y needs a second look."""
    rule = _COMPARISONS[ufunc]
    if not isinstance(x, Tracer):
        nearest = _nearest(int(x))
        if nearest == x:
            return rule(Literal(nearest, T.f64), y)
        tie: Value = Literal(bool(ufunc(-1 if x < nearest else 1, 0)), T.bool_)
        nearest_value: Value = Literal(nearest, T.f64)
    else:
        whole = _value(x, T.i64)
        nearest_value = ops.convert(whole, T.f64)
        wide = ops.ge(y, 2.0**63)
        within = rule(whole, ops.convert(ops.select(wide, 0.0, y), T.i64))
        tie = ops.select(wide, Literal(bool(ufunc(-1, 0)), T.bool_), within)
    return ops.select(ops.eq(nearest_value, y), tie, rule(nearest_value, y))


def _nearest(x: int) -> float:
    try:
        return float(x)
    except OverflowError:
        return math.inf if x > 0 else -math.inf


# -- ints ------------------------------------------------------------------------------------------


def _fitting(wraps: Rule, rule: Rule) -> Rule:
    """Arithmetic that raises where the result would wrap around."""

    def checked(x: Value, y: Value) -> Value:
        ops.check(ops.logical_not(wraps(x, y)), [], "OverflowError", _WIDE)
        return rule(x, y)

    return checked


_add = _fitting(ops.add_wraps, ops.add)
_sub = _fitting(ops.sub_wraps, ops.sub)
_mul = _fitting(ops.mul_wraps, ops.mul)


def _nonzero(y: Value, message: str) -> None:
    if isinstance(y, Literal) and y.item != 0:
        return
    ops.check(ops.ne(y, 0), [], "ZeroDivisionError", message)


def _floordiv_int(x: Value, y: Value) -> Value:
    _nonzero(y, "integer division or modulo by zero")
    turned = ops.bitwise_and(ops.eq(x, _INT64_MIN), ops.eq(y, -1))
    ops.check(ops.logical_not(turned), [], "OverflowError", _WIDE)
    return ops.floordiv(x, y)


def _mod_int(x: Value, y: Value) -> Value:
    _nonzero(y, "integer modulo by zero")
    return ops.rem(x, y)


def _pow_int(x: Value, y: Value) -> Value:
    if not isinstance(y, Literal) or y.item < 0:
        raise errors.UnsupportedFunctionError(
            "a Python int to a traced or negative power",
            why="whether the result is an int depends on the exponent",
            remedy="use floats: float(x) ** y",
        )
    result: Value = Literal(1, T.i64)
    for bit in f"{y.item:b}":
        result = _mul(result, result)
        result = _mul(result, x) if bit == "1" else result
    return result


def _shift_right(x: Value, y: Value) -> Value:
    ops.check(ops.ge(y, 0), [], "ValueError", "negative shift count")
    return ops.right_shift(x, y)


def _shift_left(x: Value, y: Value) -> Value:
    ops.check(ops.ge(y, 0), [], "ValueError", "negative shift count")
    z = ops.left_shift(x, y)
    ops.check(ops.eq(ops.right_shift(z, y), x), [], "OverflowError", _WIDE)
    return z


# -- floats ----------------------------------------------------------------------------------------


def _div(x: Value, y: Value) -> Value:
    _nonzero(y, "division by zero")
    return ops.div(x, y)


def _floordiv_float(x: Value, y: Value) -> Value:
    _nonzero(y, "float floor division by zero")
    return ops.floordiv(x, y)


def _mod_float(x: Value, y: Value) -> Value:
    _nonzero(y, "float modulo by zero")
    return ops.rem(x, y)


def _pow_float(x: Value, y: Value) -> Value:
    zero = ops.bitwise_and(ops.eq(x, 0.0), ops.lt(y, 0.0))
    message = "0.0 cannot be raised to a negative power"
    ops.check(ops.logical_not(zero), [], "ZeroDivisionError", message)
    whole = ops.bitwise_or(ops.eq(ops.floor(y), y), ops.logical_not(ops.isfinite(y)))
    real = ops.bitwise_or(ops.logical_not(_negative_float(x)), whole)
    message = "a negative float to a fractional power is complex, which jitnet does not have"
    ops.check(real, [], "NotImplementedError", message)
    z = ops.pow(x, y)
    finite = ops.bitwise_and(ops.isfinite(x), ops.isfinite(y))
    fine = ops.bitwise_or(ops.logical_not(finite), ops.isfinite(z))
    ops.check(fine, [], "OverflowError", "Numerical result out of range")
    return z


def _negative_float(x: Value) -> Value:
    return ops.bitwise_and(ops.lt(x, 0.0), ops.isfinite(x))


# -- complex numbers -------------------------------------------------------------------------------


def _operate_complex(ufunc: np.ufunc, operands: Sequence[Operand], kinds: Sequence[type]) -> Any:
    a, b = (_value(x, T.c128) for x in operands)
    rule = _ON_COMPLEX.get(ufunc)
    if rule is None:
        names = " and ".join(f"'{k.__name__}'" for k in kinds)
        raise errors.DTypeError(f"unsupported operand types for np.{ufunc.__name__}: {names}")
    return wrap(rule(a, b), "python")


def _unary_complex(ufunc: np.ufunc, value: Value) -> Any:
    rules: dict[np.ufunc, Callable[[Value], Value]] = {
        np.positive: lambda z: z,
        np.negative: ops.neg,
        np.absolute: ops.abs,
        np.conjugate: ops.conj,
    }
    if ufunc not in rules:
        raise errors.DTypeError("bad operand type for unary ~: 'complex'")
    return wrap(rules[ufunc](value), "python")


def _div_complex(x: Value, y: Value) -> Value:
    """CPython divides by what NumPy takes the reciprocal of."""
    _nonzero(y, "complex division by zero")
    (a, b), (c, d) = ((ops.real(v), ops.imag(v)) for v in (x, y))
    wide = ops.ge(ops.abs(c), ops.abs(d))
    major, minor = ops.select(wide, c, d), ops.select(wide, d, c)
    ratio = ops.div(minor, major)
    divisor = ops.add(major, ops.mul(minor, ratio))
    u, v = ops.select(wide, a, b), ops.select(wide, b, a)
    t = ops.mul(u, ratio)
    re = ops.div(ops.add(u, ops.mul(v, ratio)), divisor)
    return ops.complex(re, ops.div(ops.select(wide, ops.sub(v, t), ops.sub(t, v)), divisor))


def _pow_complex(x: Value, y: Value) -> Value:
    at_zero = ops.bitwise_or(ops.lt(ops.real(y), 0.0), ops.ne(ops.imag(y), 0.0))
    fine = ops.logical_not(ops.bitwise_and(ops.eq(x, 0), at_zero))
    message = "0.0 to a negative or complex power"
    ops.check(fine, [], "ZeroDivisionError", message)
    return ops.pow(x, y)


_BITWISE: dict[np.ufunc, Rule] = {
    np.bitwise_and: ops.bitwise_and,
    np.bitwise_or: ops.bitwise_or,
    np.bitwise_xor: ops.bitwise_xor,
}
_COMPARISONS: dict[np.ufunc, Rule] = {
    np.equal: ops.eq,
    np.not_equal: ops.ne,
    np.less: ops.lt,
    np.less_equal: ops.le,
    np.greater: ops.gt,
    np.greater_equal: ops.ge,
}
MIRRORED: dict[np.ufunc, np.ufunc] = {
    np.equal: np.equal,
    np.not_equal: np.not_equal,
    np.less: np.greater,
    np.less_equal: np.greater_equal,
    np.greater: np.less,
    np.greater_equal: np.less_equal,
}
"""The comparison with its operands exchanged."""
_ON_INTS: dict[np.ufunc, Rule] = {
    **_BITWISE,
    np.add: _add,
    np.subtract: _sub,
    np.multiply: _mul,
    np.floor_divide: _floordiv_int,
    np.remainder: _mod_int,
    np.power: _pow_int,
    np.left_shift: _shift_left,
    np.right_shift: _shift_right,
}
_ON_FLOATS: dict[np.ufunc, Rule] = {
    np.add: ops.add,
    np.subtract: ops.sub,
    np.multiply: ops.mul,
    np.true_divide: _div,
    np.floor_divide: _floordiv_float,
    np.remainder: _mod_float,
    np.power: _pow_float,
}
_ON_COMPLEX: dict[np.ufunc, Rule] = {
    np.add: ops.add,
    np.subtract: ops.sub,
    np.multiply: ops.mul,
    np.true_divide: _div_complex,
    np.power: _pow_complex,
    np.equal: ops.eq,
    np.not_equal: ops.ne,
}
