"""Python's cmath module on traced numbers: Python complex numbers, with Python's errors.

    cmath.exp(z)      %0 = exp %z                        z: complex, float, NumPy's or a 0-d array
                      check %finite, "OverflowError", "math range error"

A result that is not finite though the argument is, is a range error; the poles of logarithms and of
atan, and infinite angles, are domain errors.
"""

from __future__ import annotations

import cmath
import functools
import math
from collections.abc import Callable
from typing import Any

from jitnet import ops
from jitnet.frontend.converting import complex_of, float_of
from jitnet.frontend.tracer import Tracer, wrap
from jitnet.ir import Literal, Value
from jitnet.ir import types as T

Rule = Callable[[Value], Value]


def _require(bad: Value, error: str, message: str) -> None:
    ops.check(ops.logical_not(bad), [], error, message)


def _of_one(rule: Rule, outside: Rule | None = None, overflows: bool = False) -> Any:
    """A function of one complex number.

    Args:
        outside: whether an argument is outside of the domain.
        overflows: whether finite arguments may give results that are too large.
    """

    def function(z: Any, /) -> Tracer:
        value = complex_of(z)
        if outside is not None:
            _require(outside(value), "ValueError", "math domain error")
        result = rule(value)
        if overflows:
            _in_range(result, value)
        return wrap(result, "python")

    return function


def _in_range(result: Value, value: Value) -> None:
    lost = ops.bitwise_and(ops.isfinite(value), ops.logical_not(ops.isfinite(result)))
    _require(lost, "OverflowError", "math range error")


def _at(*poles: complex) -> Rule:
    """Whether a number is one of these."""

    def rule(z: Value) -> Value:
        found = [ops.eq(z, Literal(pole, T.c128)) for pole in poles]
        return functools.reduce(ops.bitwise_or, found)

    return rule


def _number(x: Value) -> Value:
    return ops.logical_not(ops.isnan(x))


def _below_infinity(x: Value) -> Value:
    return ops.bitwise_or(ops.isfinite(x), ops.eq(x, math.inf))


def _turns_forever(where: Rule, turning: Rule, other: Rule) -> Rule:
    """Whether the angle of a rotation, a part of the argument, is infinite, where this matters."""

    def rule(z: Value) -> Value:
        return ops.bitwise_and(ops.isinf(turning(z)), where(other(z)))

    return rule


def _tells(rule: Rule) -> Callable[..., Any]:
    def function(z: Any, /) -> Tracer:
        return wrap(rule(complex_of(z)), "python")

    return function


def _log(z: Any, base: Any = None, /) -> Tracer:
    """`cmath.log(z)`, `cmath.log(z, base)`: with a base, only that is looked at."""
    value, at_zero = complex_of(z), _at(0.0)
    divisor = None if base is None else complex_of(base)
    _require(at_zero(value if divisor is None else divisor), "ValueError", "math domain error")
    if divisor is None:
        return wrap(ops.log(value), "python")
    divisor = ops.log(divisor)
    _require(at_zero(divisor), "ValueError", "math domain error")
    return wrap(ops.div(ops.log(value), divisor), "python")


def _phase(z: Any, /) -> Tracer:
    return wrap(ops.angle(complex_of(z)), "python")


def _polar(z: Any, /) -> tuple[Tracer, Tracer]:
    value = complex_of(z)
    length = ops.abs(value)
    _in_range(length, value)
    return wrap(length, "python"), wrap(ops.angle(value), "python")


def _rect(r: Any, phi: Any, /) -> Tracer:
    length, angle = float_of(r), float_of(phi)
    some = ops.bitwise_and(ops.ne(length, 0.0), _number(length))
    _require(ops.bitwise_and(ops.isinf(angle), some), "ValueError", "math domain error")
    re, im = ops.mul(length, ops.cos(angle)), ops.mul(length, ops.sin(angle))
    im = ops.select(ops.eq(angle, 0.0), ops.mul(ops.copysign(1.0, length), angle), im)
    none = ops.bitwise_and(ops.eq(length, 0.0), ops.logical_not(ops.isfinite(angle)))
    re, im = (ops.select(none, 0.0, part) for part in (re, im))
    return wrap(ops.complex(re, im), "python")


def _isclose(a: Any, b: Any, /, *, rel_tol: Any = 1e-09, abs_tol: Any = 0.0) -> Tracer:
    x, y = complex_of(a), complex_of(b)
    relative, absolute = float_of(rel_tol), float_of(abs_tol)
    negative = ops.bitwise_or(ops.lt(relative, 0.0), ops.lt(absolute, 0.0))
    _require(negative, "ValueError", "tolerances must be non-negative")
    apart = ops.abs(ops.sub(x, y))
    near = ops.le(apart, absolute)
    for v in (x, y):
        near = ops.bitwise_or(near, ops.le(apart, ops.mul(relative, ops.abs(v))))
    infinite = ops.bitwise_or(ops.isinf(x), ops.isinf(y))
    near = ops.bitwise_and(near, ops.logical_not(infinite))
    return wrap(ops.bitwise_or(ops.eq(x, y), near), "python")


_SIN = _turns_forever(_number, ops.real, ops.imag)
_SINH = _turns_forever(_number, ops.imag, ops.real)

TABLE: dict[Any, Callable[..., Any]] = {
    cmath.acos: _of_one(ops.arccos),
    cmath.acosh: _of_one(ops.arccosh),
    cmath.asin: _of_one(ops.arcsin),
    cmath.asinh: _of_one(ops.arcsinh),
    cmath.atan: _of_one(ops.arctan, _at(1j, -1j)),
    cmath.atanh: _of_one(ops.arctanh, _at(1.0, -1.0)),
    cmath.cos: _of_one(ops.cos, _SIN, overflows=True),
    cmath.cosh: _of_one(ops.cosh, _SINH, overflows=True),
    cmath.exp: _of_one(ops.exp, _turns_forever(_below_infinity, ops.imag, ops.real), True),
    cmath.isclose: _isclose,
    cmath.isfinite: _tells(ops.isfinite),
    cmath.isinf: _tells(ops.isinf),
    cmath.isnan: _tells(ops.isnan),
    cmath.log: _log,
    cmath.log10: _of_one(ops.log10, _at(0.0)),
    cmath.phase: _phase,
    cmath.polar: _polar,
    cmath.rect: _rect,
    cmath.sin: _of_one(ops.sin, _SIN, overflows=True),
    cmath.sinh: _of_one(ops.sinh, _SINH, overflows=True),
    cmath.sqrt: _of_one(ops.sqrt),
    cmath.tan: _of_one(ops.tan, _turns_forever(ops.isfinite, ops.real, ops.imag)),
    cmath.tanh: _of_one(ops.tanh, _turns_forever(ops.isfinite, ops.imag, ops.real)),
}
