"""Python's math module on traced numbers: Python floats and ints, with Python's errors.

    math.sqrt(x)     %ok = logical_not (lt %x, 0.0)
                     check %ok, "ValueError", "math domain error"
                     %0 = sqrt %x                      a traced Python float

Arguments are converted as by `float()`. A result that is not finite though the argument is, is a
domain error or a range error, as Python's manual says for each function; the comparisons that find
it are chosen so that ranges can prove them.
"""

from __future__ import annotations

import functools
import math
import operator
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from jitnet import errors, ops
from jitnet.frontend.converting import WIDE, float_of, int_of, real_of
from jitnet.frontend.dims import static_shape
from jitnet.frontend.promotion import as_array
from jitnet.frontend.tracer import Tracer, wrap
from jitnet.ir import Literal, Value
from jitnet.ir import types as T

Rule = Callable[..., Value]

_DOMAIN = "math domain error"
_RANGE = "math range error"
_INT64_MIN = -(1 << 63)


def _require(ok: Value) -> None:
    """The argument is in the function's domain."""
    ops.check(ok, [], "ValueError", _DOMAIN)


def _in_range(result: Value, x: Value) -> None:
    """A result is not infinite unless the argument is."""
    ok = ops.bitwise_or(ops.logical_not(ops.isinf(result)), ops.isinf(x))
    ops.check(ok, [], "OverflowError", _RANGE)


# -- functions of one float ------------------------------------------------------------------------


def _of_one(rule: Rule, outside: Rule | None = None, overflows: bool = False) -> Callable[..., Any]:
    """A function of one float.

    Args:
        outside: whether an argument is outside of the domain; never of NaN.
        overflows: whether finite arguments may give results that are too large.
    """

    def function(x: Any, /) -> Tracer:
        value = float_of(x)
        if outside is not None:
            _require(ops.logical_not(outside(value)))
        result = rule(value)
        if overflows:
            _in_range(result, value)
        return wrap(result, "python")

    return function


def _over_one(x: Value) -> Value:
    return ops.gt(ops.abs(x), 1.0)


def _not_positive(x: Value) -> Value:
    return ops.le(x, 0.0)


def _tells(rule: Rule) -> Callable[..., Any]:
    """isnan and the like; an int's answer needs no float, but costs nothing either."""

    def function(x: Any, /) -> Tracer:
        return wrap(rule(float_of(x)), "python")

    return function


def _to_int(rule: Rule, name: str) -> Callable[..., Any]:
    """floor, ceil and trunc: ints of any number."""

    def function(x: Any, /) -> Tracer:
        value = real_of(x, f"math.{name}")
        if name == "trunc" and x.flavour == "array":
            raise errors.DTypeError("type numpy.ndarray doesn't define __trunc__ method")
        if value.dtype.is_float:
            value = rule(ops.convert(value, T.f64))
        return wrap(int_of(value), "python")

    return function


def _degrees(x: Value) -> Value:
    return ops.mul(x, 180.0 / math.pi)


def _radians(x: Value) -> Value:
    return ops.mul(x, math.pi / 180.0)


def _modf(x: Any, /) -> tuple[Tracer, Tracer]:
    value = float_of(x)
    whole = ops.trunc(value)
    rest = ops.select(ops.isinf(value), 0.0, ops.sub(value, whole))
    return wrap(ops.copysign(rest, value), "python"), wrap(whole, "python")


def _frexp(x: Any, /) -> tuple[Tracer, Tracer]:
    value = float_of(x)
    exponent = ops.convert(ops.frexp_exponent(value), T.i64)
    return wrap(ops.frexp_mantissa(value), "python"), wrap(exponent, "python")


def _ulp(x: Any, /) -> Tracer:
    value = ops.abs(float_of(x))
    above = ops.sub(ops.nextafter(value, math.inf), value)
    below = ops.sub(value, ops.nextafter(value, -math.inf))
    result = ops.select(ops.eq(value, sys.float_info.max), below, above)
    return wrap(ops.select(ops.isinf(value), value, result), "python")


# -- logarithms and powers -------------------------------------------------------------------------


def _log(x: Any, base: Any = None, /) -> Tracer:
    value = float_of(x)
    _require(ops.logical_not(_not_positive(value)))
    if base is None:
        return wrap(ops.log(value), "python")
    other = float_of(base)
    _require(ops.logical_not(_not_positive(other)))
    divisor = ops.log(other)
    ops.check(ops.ne(divisor, 0.0), [], "ZeroDivisionError", "float division by zero")
    return wrap(ops.div(ops.log(value), divisor), "python")


def _pow(x: Any, y: Any, /) -> Tracer:
    a, b = float_of(x), float_of(y)
    result = ops.pow(a, b)
    finite = ops.bitwise_and(ops.isfinite(a), ops.isfinite(b))
    pole = ops.bitwise_and(ops.eq(a, 0.0), ops.lt(b, 0.0))
    unreal = ops.bitwise_or(ops.isnan(result), pole)
    _require(ops.logical_not(ops.bitwise_and(finite, unreal)))
    too_large = ops.bitwise_and(finite, ops.isinf(result))
    ops.check(ops.logical_not(too_large), [], "OverflowError", _RANGE)
    return wrap(result, "python")


def _fmod(x: Any, y: Any, /) -> Tracer:
    a, b = float_of(x), float_of(y)
    _require_number(ops.fmod(a, b), a, b)
    return wrap(ops.fmod(a, b), "python")


def _remainder(x: Any, y: Any, /) -> Tracer:
    """The IEEE remainder, exact: CPython's own steps."""
    a, b = float_of(x), float_of(y)
    whole, part = ops.abs(a), ops.abs(b)
    m = ops.fmod(whole, part)
    c = ops.sub(part, m)
    tie = ops.sub(m, ops.mul(2.0, ops.fmod(ops.mul(0.5, ops.sub(whole, m)), part)))
    nearer = ops.select(ops.lt(m, c), m, ops.select(ops.gt(m, c), ops.neg(c), tie))
    result = ops.mul(ops.copysign(1.0, a), nearer)
    result = ops.select(ops.bitwise_and(ops.isinf(b), ops.isfinite(a)), a, result)
    _require_number(result, a, b)
    return wrap(result, "python")


def _require_number(result: Value, a: Value, b: Value) -> None:
    """A result is not NaN unless an argument is."""
    ok = ops.logical_not(ops.isnan(result))
    _require(ops.bitwise_or(ok, ops.bitwise_or(ops.isnan(a), ops.isnan(b))))


def _of_two(rule: Rule) -> Callable[..., Any]:
    def function(x: Any, y: Any, /) -> Tracer:
        return wrap(rule(float_of(x), float_of(y)), "python")

    return function


def _nextafter(x: Any, y: Any, /, *, steps: Any = None) -> Tracer:
    if steps is not None:
        raise errors.UnsupportedFunctionError(
            "math.nextafter with steps=", remedy="call it that often"
        )
    return wrap(ops.nextafter(float_of(x), float_of(y)), "python")


def _ldexp(x: Any, i: Any, /) -> Tracer:
    value = float_of(x)
    exponent = as_array(i).value
    if exponent.rank or not (exponent.dtype.is_integer or exponent.dtype.is_bool):
        raise errors.DTypeError("Expected an int as second argument to ldexp.")
    result = ops.ldexp(value, int_of(exponent))
    _in_range(result, value)
    return wrap(result, "python")


# -- several floats --------------------------------------------------------------------------------


def _length(values: Sequence[Value]) -> Value:
    """The Euclidean length, scaled so that no square overflows."""
    if not values:
        return Literal(0.0, T.f64)
    if len(values) == 1:
        return ops.abs(values[0])
    if len(values) == 2:
        return ops.hypot(*values)
    sizes = [ops.abs(v) for v in values]
    largest = functools.reduce(ops.fmax, sizes)
    inexact = ops.bitwise_or(ops.eq(largest, 0.0), ops.logical_not(ops.isfinite(largest)))
    scale = ops.select(inexact, 1.0, largest)
    parts = [ops.square(ops.div(v, scale)) for v in sizes]
    length = ops.mul(scale, ops.sqrt(functools.reduce(ops.add, parts)))
    return ops.select(ops.isinf(largest), largest, length)


def _hypot(*coordinates: Any) -> Tracer:
    return wrap(_length([float_of(x) for x in coordinates]), "python")


def _dist(p: Any, q: Any, /) -> Tracer:
    a, b = elements(p, "math.dist"), elements(q, "math.dist")
    if len(a) != len(b):
        raise errors.ValueRefusedError("both points must have the same number of dimensions")
    apart = [ops.sub(float_of(x), float_of(y)) for x, y in zip(a, b)]
    return wrap(_length(apart), "python")


def elements(x: Any, what: str) -> list[Any]:
    """The items of an iterable; a traced array's are its rows.

    Raises:
        ConcretizationError: where their number is only known when the program runs.
    """
    if type(x) is Tracer and x.ndim:
        static_shape(wrap(x.value), what)
    return list(x)


def _prod(iterable: Any, /, *, start: Any = 1) -> Any:
    product = start
    for x in elements(iterable, "math.prod"):
        product = product * x
    return product


def _sumprod(p: Any, q: Any, /) -> NoReturn:
    raise errors.UnsupportedFunctionError(
        "math.sumprod of traced values",
        why="Python adds the products in extended precision",
        remedy="np.dot(p, q)",
    )


def _isclose(a: Any, b: Any, /, *, rel_tol: Any = 1e-09, abs_tol: Any = 0.0) -> Tracer:
    x, y, relative, absolute = (float_of(v) for v in (a, b, rel_tol, abs_tol))
    positive = ops.bitwise_or(ops.lt(relative, 0.0), ops.lt(absolute, 0.0))
    message = "tolerances must be non-negative"
    ops.check(ops.logical_not(positive), [], "ValueError", message)
    apart = ops.abs(ops.sub(y, x))
    near = ops.le(apart, ops.abs(ops.mul(relative, y)))
    near = ops.bitwise_or(near, ops.le(apart, ops.abs(ops.mul(relative, x))))
    near = ops.bitwise_or(near, ops.le(apart, absolute))
    infinite = ops.bitwise_or(ops.isinf(x), ops.isinf(y))
    near = ops.bitwise_and(near, ops.logical_not(infinite))
    return wrap(ops.bitwise_or(ops.eq(x, y), near), "python")


# -- ints ------------------------------------------------------------------------------------------


def integer_of(x: Any) -> Value:
    """An argument that must be an int.

    Raises:
        DTypeError: for floats and arrays.
    """
    value = as_array(x).value
    if value.rank or value.dtype.is_inexact:
        kind = x.__class__.__name__
        raise errors.DTypeError(f"'{kind}' object cannot be interpreted as an integer")
    return int_of(value)


def _of_ints(rule: Rule, none: int) -> Callable[..., Any]:
    """gcd and lcm, of any number of ints; `none` of none."""

    def function(*integers: Any) -> Tracer:
        values = [integer_of(x) for x in integers]
        result: Value = Literal(none, T.i64)
        for i, value in enumerate(values):
            ops.check(ops.ne(value, _INT64_MIN), [value], "OverflowError", WIDE)
            result = rule(result, value) if i else ops.abs(value)
        return wrap(result, "python")

    return function


def _lcm(x: Value, y: Value) -> Value:
    common = ops.gcd(x, y)
    divisor = ops.select(ops.eq(common, 0), Literal(1, T.i64), common)
    part, y = ops.floordiv(x, divisor), ops.abs(y)
    result = ops.mul(part, y)
    back = ops.floordiv(result, ops.select(ops.eq(y, 0), Literal(1, T.i64), y))
    fits = ops.bitwise_or(ops.eq(y, 0), ops.eq(back, part))
    ops.check(ops.bitwise_and(fits, ops.ge(result, 0)), [result], "OverflowError", WIDE)
    return result


def _isqrt(n: Any, /) -> Tracer:
    value = integer_of(n)
    message = "isqrt() argument must be nonnegative"
    ops.check(ops.ge(value, 0), [], "ValueError", message)
    near = ops.convert(ops.sqrt(ops.convert(value, T.f64)), T.i64)
    near = ops.minimum(near, Literal(3037000499, T.i64))  # the root of the largest int64
    root = ops.select(ops.gt(ops.mul(near, near), value), ops.sub(near, 1), near)
    return wrap(root, "python")


def _of_known_ints(function: Callable[..., int]) -> Callable[..., Any]:
    """A function whose results soon exceed int64: of ints that the trace can be restarted with."""

    def known(*args: Any) -> int:
        return function(*(operator.index(x) for x in args))

    return known


# -- the table -------------------------------------------------------------------------------------


def _refused(name: str, why: str, remedy: str) -> Callable[..., NoReturn]:
    def function(*args: Any, **kwargs: Any) -> NoReturn:
        raise errors.UnsupportedFunctionError(
            f"math.{name} of traced values", why=why, remedy=remedy
        )

    return function


_NOT_YET = "this version has no such function"
_OUTSIDE = "compute it outside of the compiled function and pass the result in"

_BY_NAME: dict[str, Callable[..., Any]] = {
    "acos": _of_one(ops.arccos, _over_one),
    "acosh": _of_one(ops.arccosh, lambda x: ops.lt(x, 1.0)),
    "asin": _of_one(ops.arcsin, _over_one),
    "asinh": _of_one(ops.arcsinh),
    "atan": _of_one(ops.arctan),
    "atan2": _of_two(ops.arctan2),
    "atanh": _of_one(ops.arctanh, lambda x: ops.ge(ops.abs(x), 1.0)),
    "cbrt": _of_one(ops.cbrt),
    "ceil": _to_int(ops.ceil, "ceil"),
    "copysign": _of_two(ops.copysign),
    "cos": _of_one(ops.cos, ops.isinf),
    "cosh": _of_one(ops.cosh, overflows=True),
    "degrees": _of_one(_degrees),
    "dist": _dist,
    "exp": _of_one(ops.exp, overflows=True),
    "exp2": _of_one(ops.exp2, overflows=True),
    "expm1": _of_one(ops.expm1, overflows=True),
    "fabs": _of_one(ops.abs),
    "floor": _to_int(ops.floor, "floor"),
    "fmod": _fmod,
    "frexp": _frexp,
    "gcd": _of_ints(ops.gcd, 0),
    "hypot": _hypot,
    "isclose": _isclose,
    "isfinite": _tells(ops.isfinite),
    "isinf": _tells(ops.isinf),
    "isnan": _tells(ops.isnan),
    "isqrt": _isqrt,
    "lcm": _of_ints(_lcm, 1),
    "ldexp": _ldexp,
    "log": _log,
    "log10": _of_one(ops.log10, _not_positive),
    "log1p": _of_one(ops.log1p, lambda x: ops.le(x, -1.0)),
    "log2": _of_one(ops.log2, _not_positive),
    "modf": _modf,
    "nextafter": _nextafter,
    "pow": _pow,
    "prod": _prod,
    "radians": _of_one(_radians),
    "remainder": _remainder,
    "sin": _of_one(ops.sin, ops.isinf),
    "sinh": _of_one(ops.sinh, overflows=True),
    "sqrt": _of_one(ops.sqrt, lambda x: ops.lt(x, 0.0)),
    "sumprod": _sumprod,
    "tan": _of_one(ops.tan, ops.isinf),
    "tanh": _of_one(ops.tanh),
    "trunc": _to_int(ops.trunc, "trunc"),
    "ulp": _ulp,
    "erf": _of_one(ops.erf),
    "erfc": _of_one(ops.erfc),
    "fma": _refused("fma", _NOT_YET, "x * y + z, which rounds twice"),
    "fsum": _refused("fsum", "its sum is exact at any length", "sum(xs), or np.sum(xs)"),
    "gamma": _refused("gamma", _NOT_YET, _OUTSIDE),
    "lgamma": _refused("lgamma", _NOT_YET, _OUTSIDE),
    "comb": _of_known_ints(math.comb),
    "factorial": _of_known_ints(math.factorial),
    "perm": _of_known_ints(math.perm),
}

TABLE: dict[Any, Callable[..., Any]] = {
    getattr(math, name): function for name, function in _BY_NAME.items() if hasattr(math, name)
}
