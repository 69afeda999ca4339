"""Arithmetic and elementary functions of complex numbers on pairs of real arrays.

    quotient(Pair(a, b), Pair(c, d))      # binds some fifteen real equations, returns a Pair

Sums, products, quotients and comparisons are NumPy's formulas, bit for bit. The elementary
functions are within a few ULP of the result's absolute value; branch cuts run along the axes as C99
has them, and the sign of a zero says on which side of a cut an operand is. The inverse functions
are Kahan's ("Branch cuts for complex elementary functions", 1987).
"""

from __future__ import annotations

import functools
import math

from jitnet.ir import Literal, Value
from jitnet.ir import types as T
from jitnet.ops import pointwise as p
from jitnet.ops.lift import Pointwise, add, mul, neg, select, sub
from jitnet.ops.primitive import Pair
from jitnet.ops.shape import full


def lit(value: float, like: Value) -> Literal:
    """A real literal of the dtype that another value has."""
    return Literal(value, like.dtype)


def _is_array(*values: Value) -> bool:
    return any(v.rank for v in values)


def choice(condition: Value, x: Pair, y: Pair) -> Pair:
    """x where the condition holds, else y."""
    return Pair(select(condition, x.re, y.re), select(condition, x.im, y.im))


def times_i(z: Pair) -> Pair:
    return Pair(neg(z.im), z.re)


def over_i(z: Pair) -> Pair:
    return Pair(z.im, neg(z.re))


def scaled(z: Pair, factor: float) -> Pair:
    return Pair(mul(z.re, factor), mul(z.im, factor))


# -- arithmetic ------------------------------------------------------------------------------------


def plus(x: Pair, y: Pair) -> Pair:
    return Pair(add(x.re, y.re), add(x.im, y.im))


def minus(x: Pair, y: Pair) -> Pair:
    return Pair(sub(x.re, y.re), sub(x.im, y.im))


def negative(x: Pair) -> Pair:
    return Pair(neg(x.re), neg(x.im))


def product(x: Pair, y: Pair) -> Pair:
    """NumPy rounds a half once less in its loops over arrays than in operators on scalars."""
    if not _is_array(*x, *y):
        re = sub(mul(x.re, y.re), mul(x.im, y.im))
        return Pair(re, add(mul(x.re, y.im), mul(x.im, y.re)))
    return _fused_product(x, y)


def _fused_product(x: Pair, y: Pair) -> Pair:
    re = p.fma(x.re, y.re, neg(mul(x.im, y.im)))
    return Pair(re, p.fma(x.re, y.im, mul(x.im, y.re)))


def square(x: Pair) -> Pair:
    return _fused_product(x, x)


def strong_product(x: Pair, y: Pair) -> Pair:
    """The product, but 0 where a factor is, whatever the other is."""
    zero = p.bitwise_or(is_zero(x), is_zero(y))
    return choice(zero, Pair(lit(0.0, x.re), lit(0.0, x.re)), _fused_product(x, y))


def quotient(x: Pair, y: Pair) -> Pair:
    """Smith's algorithm, as NumPy has it."""
    wide = p.ge(p.abs(y.re), p.abs(y.im))
    major, minor = select(wide, y.re, y.im), select(wide, y.im, y.re)
    ratio = p.div(minor, major)
    scale = p.div(lit(1.0, major), add(major, mul(minor, ratio)))
    u, v = select(wide, x.re, x.im), select(wide, x.im, x.re)
    re = mul(add(u, mul(v, ratio)), scale)
    t = mul(u, ratio)
    im = mul(select(wide, sub(v, t), sub(t, v)), scale)
    by_zero = p.bitwise_and(wide, p.eq(y.re, 0.0))
    return choice(by_zero, scaled(x, math.inf), Pair(re, im))


def reciprocal(x: Pair) -> Pair:
    wide = p.le(p.abs(x.im), p.abs(x.re))
    major, minor = select(wide, x.re, x.im), select(wide, x.im, x.re)
    ratio = p.div(minor, major)
    divisor = add(major, mul(minor, ratio))
    one = lit(1.0, ratio)
    re = p.div(select(wide, one, ratio), divisor)
    return Pair(re, p.div(neg(select(wide, ratio, one)), divisor))


def absolute(x: Pair) -> Value:
    """In NumPy's loops over arrays, the larger half times sqrt(1 + ratio**2)."""
    if not _is_array(*x):
        return p.hypot(x.re, x.im)
    size = _hypot(*(p.abs(v) for v in x))
    return select(is_inf(x), lit(math.inf, size), size)


def _hypot(a: Value, b: Value) -> Value:
    """Of sizes, to 2 ULP, free of library calls."""
    large, small = p.maximum(a, b), p.minimum(a, b)
    one = lit(1.0, large)
    ratio = p.div(small, select(p.eq(large, 0.0), one, large))
    return mul(large, p.sqrt(p.fma(ratio, ratio, one)))


def sign(x: Pair) -> Pair:
    """x / |x|; of an infinity in one half, that half's sign."""
    size = p.hypot(*x)
    zero, one = lit(0.0, size), lit(1.0, size)
    infinite = [p.isinf(v) for v in x]
    units = [select(i, p.copysign(one, v), zero) for i, v in zip(infinite, x)]
    at_infinity = choice(p.bitwise_and(*infinite), _nan(size), Pair(*units))
    zeroed = p.eq(size, 0.0)
    divisor = select(zeroed, one, size)
    found = Pair(*(select(zeroed, zero, p.div(v, divisor)) for v in x))
    return choice(p.eq(size, math.inf), at_infinity, found)


def _nan(like: Value) -> Pair:
    return Pair(lit(math.nan, like), lit(math.nan, like))


# -- tests and order -------------------------------------------------------------------------------


def equal(x: Pair, y: Pair) -> Value:
    return p.bitwise_and(p.eq(x.re, y.re), p.eq(x.im, y.im))


def not_equal(x: Pair, y: Pair) -> Value:
    return p.bitwise_or(p.ne(x.re, y.re), p.ne(x.im, y.im))


def is_zero(x: Pair) -> Value:
    return p.bitwise_and(p.eq(x.re, 0.0), p.eq(x.im, 0.0))


def is_nan(x: Pair) -> Value:
    return p.bitwise_or(p.isnan(x.re), p.isnan(x.im))


def is_inf(x: Pair) -> Value:
    return p.bitwise_or(p.isinf(x.re), p.isinf(x.im))


def is_finite(x: Pair) -> Value:
    return p.bitwise_and(p.isfinite(x.re), p.isfinite(x.im))


def _ordered(x: Pair, y: Pair, strictly: Pointwise, compare: Pointwise) -> Value:
    """By the real parts, then by the imaginary ones; a NaN in any half is in no order."""
    nan = p.bitwise_or(p.isnan(x.im), p.isnan(y.im))
    apart = p.bitwise_and(strictly(x.re, y.re), p.logical_not(nan))
    return p.bitwise_or(apart, p.bitwise_and(p.eq(x.re, y.re), compare(x.im, y.im)))


def less(x: Pair, y: Pair) -> Value:
    return _ordered(x, y, p.lt, p.lt)


def less_equal(x: Pair, y: Pair) -> Value:
    return _ordered(x, y, p.lt, p.le)


def greater(x: Pair, y: Pair) -> Value:
    return _ordered(x, y, p.gt, p.gt)


def greater_equal(x: Pair, y: Pair) -> Value:
    return _ordered(x, y, p.gt, p.ge)


def maximum(x: Pair, y: Pair) -> Pair:
    return choice(p.bitwise_or(is_nan(x), greater_equal(x, y)), x, y)


def minimum(x: Pair, y: Pair) -> Pair:
    return choice(p.bitwise_or(is_nan(x), less_equal(x, y)), x, y)


def fmax(x: Pair, y: Pair) -> Pair:
    return choice(p.bitwise_or(is_nan(y), greater_equal(x, y)), x, y)


def fmin(x: Pair, y: Pair) -> Pair:
    return choice(p.bitwise_or(is_nan(y), less_equal(x, y)), x, y)


# -- exponentials and powers -----------------------------------------------------------------------


def exp(z: Pair) -> Pair:
    """e**x * (cos y + i sin y), where a factor e**limit waits until the end: the halves may be
    finite where e**x is not."""
    x, y = z
    limit = 700.0 if x.dtype is T.f64 else 80.0
    large = p.gt(x, limit)
    e = p.exp(sub(x, select(large, lit(limit, x), lit(0.0, x))))
    rest = select(large, lit(math.exp(limit), x), lit(1.0, x))
    im = mul(mul(e, p.sin(y)), rest)
    return Pair(mul(mul(e, p.cos(y)), rest), select(p.eq(y, 0.0), y, im))


def exp2(z: Pair) -> Pair:
    return exp(scaled(z, math.log(2.0)))


def expm1(z: Pair) -> Pair:
    """Of the real part, what is near 0 is the difference of two small numbers."""
    half = p.sin(mul(z.im, 0.5))
    re = sub(mul(p.expm1(z.re), p.cos(z.im)), mul(mul(half, half), 2.0))
    return Pair(re, exp(z).im)


def log(z: Pair) -> Pair:
    """With a >= b the sizes of the halves: near |z| = 1 by way of |z|**2 - 1 = (a - 1) (a + 1) +
    b**2, elsewhere log a + log1p((b / a)**2) / 2."""
    sizes = p.abs(z.re), p.abs(z.im)
    a, b = p.maximum(*sizes), p.minimum(*sizes)
    excess = p.fma(sub(a, 1.0), add(a, 1.0), mul(b, b))
    near = p.bitwise_and(p.gt(excess, -0.5), p.lt(excess, 2.0))
    divisor = select(p.eq(a, 0.0), lit(1.0, a), a)
    ratio = select(p.eq(a, b), lit(1.0, a), p.div(b, divisor))
    tail = p.log1p(select(near, excess, mul(ratio, ratio)))
    head = select(near, lit(0.0, a), p.log(a))
    return Pair(add(head, mul(tail, 0.5)), angle(z))


def angle(z: Pair) -> Value:
    return p.arctan2(z.im, z.re)


def log2(z: Pair) -> Pair:
    return scaled(log(z), 1.0 / math.log(2.0))


def log10(z: Pair) -> Pair:
    return scaled(log(z), 1.0 / math.log(10.0))


def log1p(z: Pair) -> Pair:
    """As log of 1 + z, with |1 + z|**2 - 1 = x (2 + x) + y**2 taken from z itself."""
    x, y = z
    shifted = log(Pair(add(x, 1.0), y))
    excess = p.fma(x, add(x, 2.0), mul(y, y))
    near = p.bitwise_and(p.gt(excess, -0.5), p.lt(excess, 2.0))
    small = mul(p.log1p(select(near, excess, lit(0.0, x))), 0.5)
    return Pair(select(near, small, shifted.re), shifted.im)


def sqrt(z: Pair) -> Pair:
    """sqrt((|x| + |z|) / 2), and |y| over twice that; what would over- or underflow is scaled."""
    x, y = z
    wide = x.dtype is T.f64
    sizes = p.abs(x), p.abs(y)
    largest = p.maximum(*sizes)
    up, down = (108, -8) if wide else (48, -8)
    huge = p.gt(largest, 1e300 if wide else 1e35)
    tiny = p.lt(largest, 1e-290 if wide else 1e-28)

    def factor(tiny_exponent: int, huge_exponent: int) -> Value:
        large = select(huge, lit(2.0**huge_exponent, x), lit(1.0, x))
        return select(tiny, lit(2.0**tiny_exponent, x), large)

    scale = factor(up, down)
    a, b = (mul(v, scale) for v in sizes)
    sized = select(p.isinf(b), b, _hypot(a, b))
    root = p.sqrt(mul(add(a, sized), 0.5))
    divisor = select(p.eq(root, 0.0), lit(1.0, x), mul(root, 2.0))
    other = select(p.isinf(b), b, p.div(b, divisor))
    back = factor(-up // 2, -down // 2)
    root, other = mul(root, back), mul(other, back)
    right = p.ge(x, 0.0)
    return Pair(select(right, root, other), p.copysign(select(right, other, root), y))


def power(x: Pair, y: Pair) -> Pair:
    """exp(y log x), and products for a literal whole exponent below 100, as NumPy has it. 0 to the
    power of 0 is 1, to one with a positive real part 0, else NaN."""
    if all(isinstance(v, Literal) for v in y):
        whole = _whole(y)
        if whole is not None:
            return _whole_power(x, whole)
    zero, one = lit(0.0, x.re), lit(1.0, x.re)
    general = exp(product(y, log(x)))
    of_zero = choice(p.gt(y.re, 0.0), Pair(zero, zero), _nan(x.re))
    found = choice(is_zero(x), of_zero, general)
    return choice(is_zero(y), Pair(one, zero), found)


def _whole(y: Pair) -> int | None:
    """A literal exponent as an int, where NumPy multiplies."""
    assert isinstance(y.re, Literal)
    assert isinstance(y.im, Literal)
    small = y.im.item == 0 and abs(y.re.item) < 100
    return int(y.re.item) if small and y.re.item == int(y.re.item) else None


def _whole_power(x: Pair, n: int) -> Pair:
    if n == 0:
        return Pair(full(lit(1.0, x.re), x.re.dims), full(lit(0.0, x.re), x.re.dims))
    if n in (1, 2, 3):
        return functools.reduce(lambda so_far, _: product(x, so_far), range(n - 1), x)
    found: Pair | None = None
    base, rest = x, abs(n)
    while rest:
        if rest & 1:
            found = base if found is None else product(found, base)
        rest >>= 1
        base = product(base, base) if rest else base
    assert found is not None, "n is not 0"
    if n > 0:
        return found
    return quotient(Pair(lit(1.0, x.re), lit(0.0, x.re)), found)


# -- circular and hyperbolic -----------------------------------------------------------------------


def _beside(zero: Value, factor: Value, other: Value) -> Value:
    """`factor * other`, for a factor that is 0 just where `zero` is, and with its sign: a zero
    there, even where `other` has overflowed."""
    signed = mul(zero, p.copysign(lit(1.0, zero), other))
    return select(p.eq(zero, 0.0), signed, mul(factor, other))


def sinh(z: Pair) -> Pair:
    re = mul(p.sinh(z.re), p.cos(z.im))
    return Pair(re, _beside(z.im, p.sin(z.im), p.cosh(z.re)))


def cosh(z: Pair) -> Pair:
    re = mul(p.cosh(z.re), p.cos(z.im))
    return Pair(re, _beside(z.im, p.sin(z.im), p.sinh(z.re)))


def tanh(z: Pair) -> Pair:
    """Kahan's: with t = tan y, s = sinh x and b = 1 + t**2, ((b s sqrt(1 + s**2)) + i t) over
    1 + b s**2; where e**-4|x| is nothing beside 1, +-1 + i 2 sin(2 y) e**-2|x|."""
    x, y = z
    far = p.gt(p.abs(x), 22.0 if x.dtype is T.f64 else 11.0)
    t = p.tan(y)
    s = p.sinh(select(far, lit(0.0, x), x))
    b = p.fma(t, t, lit(1.0, t))
    divisor = p.fma(mul(b, s), s, lit(1.0, s))
    re = p.div(mul(mul(b, s), p.sqrt(p.fma(s, s, lit(1.0, s)))), divisor)
    remote = mul(mul(mul(p.sin(y), p.cos(y)), 4.0), p.exp(mul(p.abs(x), -2.0)))
    limit = Pair(p.copysign(lit(1.0, x), x), remote)
    return choice(far, limit, Pair(re, p.div(t, divisor)))


def sin(z: Pair) -> Pair:
    """-i sinh(i z), and sinh is odd."""
    turned = sinh(Pair(z.im, z.re))
    return Pair(turned.im, turned.re)


def cos(z: Pair) -> Pair:
    turned = cosh(Pair(z.im, z.re))
    return Pair(turned.re, neg(turned.im))


def tan(z: Pair) -> Pair:
    """-i tanh(i z), and tanh is odd."""
    turned = tanh(Pair(z.im, z.re))
    return Pair(turned.im, turned.re)


# -- inverses --------------------------------------------------------------------------------------


def _roots(z: Pair) -> tuple[Pair, Pair]:
    """sqrt(1 - z) and sqrt(1 + z)."""
    one = lit(1.0, z.re)
    below = sqrt(Pair(sub(one, z.re), neg(z.im)))
    return below, sqrt(Pair(add(z.re, 1.0), z.im))


def _cross(x: Pair, y: Pair) -> Value:
    """The imaginary part of conj(x) * y."""
    return sub(mul(x.re, y.im), mul(x.im, y.re))


def _inner(x: Pair, y: Pair) -> Value:
    """The real part of conj(x) * y."""
    return add(mul(x.re, y.re), mul(x.im, y.im))


def arcsin(z: Pair) -> Pair:
    below, above = _roots(z)
    real = sub(mul(below.re, above.re), mul(below.im, above.im))
    return Pair(p.arctan2(z.re, real), p.arcsinh(_cross(below, above)))


def arccos(z: Pair) -> Pair:
    below, above = _roots(z)
    return Pair(mul(p.arctan2(below.re, above.re), 2.0), p.arcsinh(_cross(above, below)))


def arcsinh(z: Pair) -> Pair:
    """-i arcsin(i z), and arcsinh is odd."""
    turned = arcsin(Pair(z.im, z.re))
    return Pair(turned.im, turned.re)


def arccosh(z: Pair) -> Pair:
    below = sqrt(Pair(sub(z.re, 1.0), z.im))
    above = sqrt(Pair(add(z.re, 1.0), z.im))
    return Pair(p.arcsinh(_inner(below, above)), mul(p.arctan2(below.im, above.re), 2.0))


def arctanh(z: Pair) -> Pair:
    """log1p(4 x / ((1 - x)**2 + y**2)) / 4, for x >= 0, and half the angle of (1 + z) / (1 - z)."""
    x, y = p.abs(z.re), z.im
    one = lit(1.0, x)
    apart = add(mul(sub(one, x), sub(one, x)), mul(y, y))
    re = mul(p.log1p(p.div(mul(x, 4.0), apart)), 0.25)
    product_re = sub(mul(sub(one, x), add(x, 1.0)), mul(y, y))
    im = mul(p.arctan2(mul(y, 2.0), product_re), 0.5)
    return Pair(p.copysign(re, z.re), im)


def arctan(z: Pair) -> Pair:
    """-i arctanh(i z), and arctanh is odd."""
    turned = arctanh(Pair(z.im, z.re))
    return Pair(turned.im, turned.re)


def rint(z: Pair) -> Pair:
    return Pair(p.rint(z.re), p.rint(z.im))
