"""Rows that NumPy's inner loops do in a few steps, put together from the basic ones.

    %q = floordiv %x, %y {}     // i32: quotient, then a correction by selects; 0 where %y is 0

Their values are NumPy's to the bit. All but `pow` and `gcd` of integers are free of branches, so
they run on vectors as they are.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from jitnet.ir import Literal, Value
from jitnet.ir import types as T
from jitnet.ir.facts import FLOORDIV, MAXIMUM, MINIMUM, REM, SHIFT_RIGHT
from jitnet.kernel.basic import (
    abs,
    add,
    ashr,
    bitcast,
    bits_of,
    bitwise_and,
    bitwise_or,
    bitwise_xor,
    cast,
    copysign,
    div,
    eq,
    floor,
    gt,
    lshr,
    lt,
    mul,
    ne,
    neg,
    quotient,
    residue,
    select,
    shl,
    sub,
)
from jitnet.kernel.row import ScalarOp, lit
from jitnet.kernel.statements import while_loop

# -- tests of floats -------------------------------------------------------------------------------

_FALSE = Literal(False, T.bool_)
_TRUE = Literal(True, T.bool_)

isnan = ScalarOp(
    "isnan",
    ("biuf",),
    "bool",
    np.isnan,
    llvm={"f": "fcmp uno {T} {0}, {0}"},
    expand=lambda x: _FALSE,
    cuda={"f": "({0} != {0})"},
)
isinf = ScalarOp(
    "isinf",
    ("biuf",),
    "bool",
    np.isinf,
    expand=lambda x: eq(abs(x), np.inf) if x.dtype.is_float else _FALSE,
)
isfinite = ScalarOp(
    "isfinite",
    ("biuf",),
    "bool",
    np.isfinite,
    expand=lambda x: lt(abs(x), np.inf) if x.dtype.is_float else _TRUE,
)
signbit = ScalarOp("signbit", ("f",), "bool", np.signbit, expand=lambda x: lt(bits_of(x), 0))

# -- larger and smaller ----------------------------------------------------------------------------


def _extremum(name: str, numpy: Any, better: ScalarOp, ignore_nan: bool) -> ScalarOp:
    """Of two equal zeros the second wins, as in NumPy's vector loops. A choice by "is a number",
    not by "is NaN": two choices of the latter kind become one by two conditions in LLVM, which is
    a branch, where these are an instruction each."""

    def expand(x: Value, y: Value) -> Value:
        best, unsure = select(better(x, y), x, y), y if ignore_nan else x
        return select(eq(unsure, unsure), best, x)

    word = "max" if better is gt else "min"
    union = "or" if better is gt else "and"
    row = ScalarOp(
        name,
        ("biuf", "="),
        "same",
        numpy,
        llvm={"b": f"{union} {{T}} {{0}}, {{1}}", "i": f"llvm.s{word}", "u": f"llvm.u{word}"},
        expand=expand,
        cuda=dict.fromkeys("biu", f"({{0}} {'>' if better is gt else '<'} {{1}} ? {{0}} : {{1}})"),
        cost=2,
        facts=MAXIMUM if better is gt else MINIMUM,
        halves=lambda x, y: cast(row(*_ordered(cast(x, T.f32), cast(y, T.f32), x.dtype)), x.dtype),
    )
    return row


def _ordered(x: Value, y: Value, half: T.DType) -> tuple[Value, Value]:
    """Of two equal zeros in float16, the first wins."""
    return (y, x) if half is T.f16 else (x, y)


maximum = _extremum("maximum", np.maximum, gt, ignore_nan=False)
minimum = _extremum("minimum", np.minimum, lt, ignore_nan=False)
fmax = _extremum("fmax", np.fmax, gt, ignore_nan=True)
fmin = _extremum("fmin", np.fmin, lt, ignore_nan=True)

# -- division --------------------------------------------------------------------------------------


def _known_divisor(y: Value) -> int:
    """An integer divisor that is known and that no quotient traps for; otherwise 0."""
    if not isinstance(y, Literal) or not y.dtype.is_integer or y.item == -1:
        return 0
    return int(y.item)


def _is_power_of_two(n: int) -> bool:
    return n > 0 and n & (n - 1) == 0


def _expand_fmod(x: Value, y: Value) -> Value:
    """Integers; the divisors 0 and -1 give 0, as 1 does."""
    if _known_divisor(y):
        return residue(x, y)
    trouble = eq(y, 0)
    if y.dtype.kind == "i":
        trouble = bitwise_or(trouble, eq(y, -1))
    return residue(x, select(trouble, lit(1, y), y))


fmod = ScalarOp(
    "fmod",
    ("iuf", "="),
    "same",
    np.fmod,
    llvm={"f": "frem {T} {0}, {1}"},
    expand=_expand_fmod,
    cuda={"f": "fmod{f}({0}, {1})"},
    cost=12,
)


def _expand_rem(x: Value, y: Value) -> Value:
    divisor = _known_divisor(y)
    if _is_power_of_two(divisor):
        return bitwise_and(x, lit(divisor - 1, x))
    m = fmod(x, y)
    if x.dtype.kind == "u":
        return m
    if divisor:
        return select(lt(m, 0) if divisor > 0 else gt(m, 0), add(m, y), m)
    if x.dtype.kind == "i":
        opposite = bitwise_and(ne(m, 0), lt(bitwise_xor(m, y), 0))
        return select(opposite, add(m, y), m)
    return select(eq(m, 0.0), copysign(lit(0.0, y), y), select(_opposite(m, y), add(m, y), m))


def _opposite(m: Value, y: Value) -> Value:
    """Whether a float remainder other than 0 has not the divisor's sign."""
    return bitwise_and(ne(m, 0.0), ne(lt(y, 0.0), lt(m, 0.0)))


def _expand_floordiv(x: Value, y: Value) -> Value:
    if x.dtype.is_float:
        return _floordiv_float(x, y)
    if _known_divisor(y):
        return _floordiv_by(x, y, _known_divisor(y))
    trouble = eq(y, 0)
    if x.dtype.kind == "u":
        return select(trouble, lit(0, x), quotient(x, select(trouble, lit(1, y), y)))
    minus = eq(y, -1)  # negation wraps around where the quotient of INT_MIN would trap
    divisor = select(bitwise_or(trouble, minus), lit(1, y), y)
    q = quotient(x, divisor)
    r = sub(x, mul(q, divisor))
    below = bitwise_and(ne(r, 0), lt(bitwise_xor(r, divisor), 0))
    q = select(below, sub(q, 1), q)
    return select(trouble, lit(0, x), select(minus, neg(x), q))


def _floordiv_by(x: Value, y: Value, divisor: int) -> Value:
    if _is_power_of_two(divisor):
        shift = lit(divisor.bit_length() - 1, x)
        return ashr(x, shift) if x.dtype.kind == "i" else lshr(x, shift)
    q = quotient(x, y)
    if x.dtype.kind == "u":
        return q
    r = sub(x, mul(q, y))
    return select(lt(r, 0) if divisor > 0 else gt(r, 0), sub(q, 1), q)


def _floordiv_float(x: Value, y: Value) -> Value:
    """As CPython's float floor division, which NumPy follows."""
    m = fmod(x, y)
    q = div(sub(x, m), y)
    q = select(_opposite(m, y), sub(q, 1.0), q)
    whole = floor(q)
    whole = select(gt(sub(q, whole), 0.5), add(whole, 1.0), whole)
    ratio = div(x, y)
    whole = select(eq(q, 0.0), copysign(lit(0.0, x), ratio), whole)
    return select(eq(y, 0.0), ratio, whole)


rem = ScalarOp(
    "rem",
    ("iuf", "="),
    "same",
    np.remainder,
    expand=_expand_rem,
    cost=14,
    facts=REM,
)
floordiv = ScalarOp(
    "floordiv",
    ("iuf", "="),
    "same",
    np.floor_divide,
    expand=_expand_floordiv,
    cost=16,
    facts=FLOORDIV,
)


def _expand_reciprocal(x: Value) -> Value:
    if x.dtype.is_float:
        return div(lit(1.0, x), x)
    return cast(div(Literal(1.0, T.f64), cast(x, T.f64)), x.dtype)


def _reciprocal_reference(x: Any) -> Any:
    """1/x; an integer 0 gives what C's cast of inf does, on every machine."""
    if x.dtype.kind not in "iu":
        return np.reciprocal(x)
    from_zero = -(2 ** (8 * x.dtype.itemsize - 1))
    at_zero = from_zero if x.dtype in (np.int32, np.int64) else 0
    one = np.ones_like(x)
    inverse = np.floor_divide(one, x) if x.dtype.kind == "u" else _quotient_of_one(x)
    return np.where(np.equal(x, 0), np.asarray(at_zero).astype(x.dtype), inverse)[()]


def _quotient_of_one(x: Any) -> Any:
    return np.where(np.equal(np.absolute(x), 1), x, 0)[()].astype(x.dtype)


reciprocal = ScalarOp(
    "reciprocal", ("iuf",), "same", _reciprocal_reference, expand=_expand_reciprocal, cost=4
)

# -- products and signs ----------------------------------------------------------------------------

square = ScalarOp("square", ("iuf",), "same", np.square, expand=lambda x: mul(x, x))


def _zmul_reference(x: Any, y: Any) -> Any:
    zero = np.equal(x, 0) | np.equal(y, 0)
    product = np.multiply(x, y)
    return np.where(zero, product.dtype.type(0), product)[()]


def _expand_zmul(x: Value, y: Value) -> Value:
    product = mul(x, y)
    if not x.dtype.is_float:
        return product
    return select(bitwise_or(eq(x, 0.0), eq(y, 0.0)), lit(0.0, x), product)


zmul = ScalarOp(  # x * y, but +0 where a factor is 0, whatever the other is
    "zmul", ("biuf", "="), "same", _zmul_reference, expand=_expand_zmul, cost=3
)


def _expand_sign(x: Value) -> Value:
    if x.dtype.kind == "u":
        return cast(ne(x, 0), x.dtype)
    rest = lit(0, x) if x.dtype.is_integer else select(eq(x, 0.0), lit(0.0, x), x)  # nan stays
    return select(gt(x, 0), lit(1, x), select(lt(x, 0), lit(-1, x), rest))


def _sign_of_half(x: Value) -> Value:
    """A bfloat16 zero keeps its sign."""
    found = cast(sign(cast(x, T.f32)), x.dtype)
    return found if x.dtype is T.f16 else select(eq(x, 0.0), x, found)


sign = ScalarOp(
    "sign", ("iuf",), "same", np.sign, expand=_expand_sign, cost=3, halves=_sign_of_half
)


def _expand_heaviside(x: Value, at_zero: Value) -> Value:
    rest = select(eq(x, 0.0), at_zero, x)  # nan stays
    return select(gt(x, 0.0), lit(1.0, x), select(lt(x, 0.0), lit(0.0, x), rest))


heaviside = ScalarOp(
    "heaviside", ("f", "="), "same", np.heaviside, expand=_expand_heaviside, cost=3
)


def _degrees(name: str, numpy: Any, numerator: float, denominator: float) -> ScalarOp:
    """The factor is a quotient in the operand's own precision, as in NumPy."""

    def expand(x: Value) -> Value:
        number: Any = x.dtype.numpy.type
        return mul(x, float(number(numerator) / number(denominator)))

    return ScalarOp(name, ("f",), "same", numpy, expand=expand)


deg2rad = _degrees("deg2rad", np.deg2rad, np.pi, 180.0)
rad2deg = _degrees("rad2deg", np.rad2deg, 180.0, np.pi)

# -- shifts ----------------------------------------------------------------------------------------


def _in_width(count: Value) -> Value:
    unsigned = T.DTYPES[f"u{count.dtype.bits}"]
    return lt(cast(count, unsigned), count.dtype.bits)


def _expand_left_shift(x: Value, count: Value) -> Value:
    fits = _in_width(count)
    return select(fits, shl(x, select(fits, count, lit(0, x))), lit(0, x))


def _expand_right_shift(x: Value, count: Value) -> Value:
    fits = _in_width(count)
    if x.dtype.kind == "i":
        return ashr(x, select(fits, count, lit(x.dtype.bits - 1, x)))
    return select(fits, lshr(x, select(fits, count, lit(0, x))), lit(0, x))


left_shift = ScalarOp(
    "left_shift", ("iu", "="), "same", np.left_shift, expand=_expand_left_shift, cost=3
)
right_shift = ScalarOp(
    "right_shift",
    ("iu", "="),
    "same",
    np.right_shift,
    expand=_expand_right_shift,
    cost=3,
    facts=SHIFT_RIGHT,
)

# -- integers that take a loop ---------------------------------------------------------------------


def _unsigned(x: Value) -> Value:
    return cast(abs(x), T.DTYPES[f"u{x.dtype.bits}"])


def _euclid(x: Value, y: Value) -> Value:
    (a, _) = while_loop(lambda a, b: ne(b, 0), lambda a, b: (b, residue(a, b)), (x, y))
    return a


def _expand_gcd(x: Value, y: Value) -> Value:
    return cast(_euclid(_unsigned(x), _unsigned(y)), x.dtype)


def _expand_lcm(x: Value, y: Value) -> Value:
    a, b = _unsigned(x), _unsigned(y)
    g = _euclid(a, b)
    zero = eq(g, 0)
    product = mul(quotient(a, select(zero, lit(1, g), g)), b)
    return cast(select(zero, lit(0, g), product), x.dtype)


gcd = ScalarOp("gcd", ("iu", "="), "same", np.gcd, expand=_expand_gcd, cost=200)
lcm = ScalarOp("lcm", ("iu", "="), "same", np.lcm, expand=_expand_lcm, cost=200)


def integer_power(x: Value, n: Value) -> Value:
    """x**n by squaring, wrapping around; 1 where n is negative."""

    def step(total: Value, base: Value, rest: Value) -> list[Value]:
        odd = ne(bitwise_and(rest, 1), 0)
        return [select(odd, mul(total, base), total), mul(base, base), lshr(rest, lit(1, rest))]

    count = select(lt(n, 0), lit(0, n), n) if n.dtype.kind == "i" else n
    total, _, _ = while_loop(lambda total, base, rest: ne(rest, 0), step, (lit(1, x), x, count))
    return total


# -- the parts of a float --------------------------------------------------------------------------


class Format:
    """The layout of a float dtype: mantissa bits, exponent bias, and masks as Python ints."""

    def __init__(self, x: Value) -> None:
        self.integer = T.DTYPES[f"i{x.dtype.bits}"]
        self.mantissa, self.bias = x.dtype.float_format
        self.exponent_mask = 2 * self.bias + 1
        self.smallest_normal = 2.0 ** (1 - self.bias)
        self.smallest = 2.0 ** (1 - self.bias - self.mantissa)


def power_of_two(n: Value, f: Format, dtype: T.DType) -> Value:
    """2**n for an integer n in the range of normal floats."""
    return bitcast(shl(add(n, f.bias), f.mantissa), dtype)


def _expand_ldexp(x: Value, n: Value) -> Value:
    """x * 2**n, in three factors such that only the last one rounds."""
    f = Format(x)
    wide = T.i64 if n.dtype is T.i64 else T.i32
    limit = 2 * (f.bias + f.mantissa)  # whatever x is, it overflows or vanishes
    n = cast(minimum(maximum(cast(n, wide), -limit), limit), f.integer)
    top, bottom = f.bias, 1 - f.bias
    down = bottom + f.mantissa + 1
    for _ in range(2):
        up, low = gt(n, top), lt(n, bottom)
        factor = select(up, lit(2.0**top, x), select(low, lit(2.0**down, x), lit(1.0, x)))
        x = mul(x, factor)
        n = sub(n, select(up, lit(top, n), select(low, lit(down, n), lit(0, n))))
    return mul(x, power_of_two(n, f, x.dtype))


ldexp = ScalarOp("ldexp", ("f", "i"), "first", np.ldexp, expand=_expand_ldexp, cost=16)


def _frexp_bits(x: Value, f: Format) -> tuple[Value, Value, Value]:
    """Whether x is finite and not 0; the bits of x made normal; by which exponent that was."""
    lift = f.mantissa + 2
    tiny = lt(abs(x), f.smallest_normal)
    bits = bits_of(select(tiny, mul(x, 2.0**lift), x))
    ordinary = bitwise_and(lt(abs(x), np.inf), ne(x, 0.0))
    return ordinary, bits, select(tiny, lit(lift, bits), lit(0, bits))


def _expand_frexp_mantissa(x: Value) -> Value:
    f = Format(x)
    ordinary, bits, _ = _frexp_bits(x, f)
    kept = bitwise_and(bits, ~(f.exponent_mask << f.mantissa))
    half = bitwise_or(kept, (f.bias - 1) << f.mantissa)
    return select(ordinary, bitcast(half, x.dtype), x)


def _expand_frexp_exponent(x: Value) -> Value:
    f = Format(x)
    ordinary, bits, lift = _frexp_bits(x, f)
    exponent = bitwise_and(lshr(bits, f.mantissa), f.exponent_mask)
    exponent = sub(sub(exponent, f.bias - 1), lift)
    return cast(select(ordinary, exponent, lit(0, bits)), T.i32)


frexp_mantissa = ScalarOp(
    "frexp_mantissa",
    ("f",),
    "same",
    lambda x: np.frexp(x)[0],
    expand=_expand_frexp_mantissa,
    cost=6,
)
frexp_exponent = ScalarOp(
    "frexp_exponent",
    ("f",),
    T.i32,
    lambda x: np.frexp(x)[1],
    expand=_expand_frexp_exponent,
    cost=6,
)


_KEEPS_ZERO = not np.signbit(np.nextafter(np.float16(0.0), np.float16(-0.0)))
"""Whether a float16 stays the first of two zeros, as it does before NumPy 2.5; the second is what
IEEE 754 asks for."""


def _expand_nextafter(x: Value, y: Value) -> Value:
    """The integers of a float's bits, sign apart, are in the order of the floats."""
    f = Format(x)
    bits = bits_of(x)
    away = eq(lt(x, y), gt(x, 0.0))
    step = bitcast(add(bits, select(away, lit(1, bits), lit(-1, bits))), x.dtype)
    step = select(eq(x, 0.0), copysign(lit(f.smallest, x), y), step)
    step = select(eq(x, y), x if x.dtype is T.f16 and _KEEPS_ZERO else y, step)
    return select(bitwise_or(isnan(x), isnan(y)), add(x, y), step)


def _spacing_of_half(x: Value) -> Value:
    """Of a float16, the way to the next larger one; that of a bfloat16 has the number's sign."""
    if x.dtype is not T.f16:
        return copysign(_expand_spacing(x), x)
    infinity = lit(np.inf, x)
    return select(eq(abs(x), infinity), lit(np.nan, x), sub(_expand_nextafter(x, infinity), x))


def _expand_spacing(x: Value) -> Value:
    gap = sub(bitcast(add(bits_of(x), 1), x.dtype), x)
    return select(eq(x, 0.0), lit(Format(x).smallest, x), gap)


nextafter = ScalarOp(
    "nextafter",
    ("f", "="),
    "same",
    np.nextafter,
    expand=_expand_nextafter,
    cost=8,
    halves=_expand_nextafter,
)
spacing = ScalarOp(
    "spacing", ("f",), "same", np.spacing, expand=_expand_spacing, cost=4, halves=_spacing_of_half
)
