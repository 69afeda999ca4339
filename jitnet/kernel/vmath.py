"""Elementary functions as branch-free polynomials over other rows, in f32 and f64.

    %t = fma %x, 1.4426950408889634, 6755399441055744.0 {}    // exp: rounds x / log(2)
    %n = sub %t, 6755399441055744.0 {}
    %r = fma %n, -0.6931471805599453, %x {} ...

Each is an argument reduction to a small interval, a polynomial that was fitted to least relative
error there (iterated least squares with Lawson's weights, in extended precision;
`benchmarks/fit_vmath.py` finds the numbers below again), and a reconstruction by exponent bits.
Errors over the whole domain, special values included, stay below 2 ULP (tests/test_vmath.py).

The rows used are those that AVX2 has on vectors: there is no conversion between f64 and i64, so
rounding and reading off an integer go through a magic number, 1.5 * 2**(mantissa bits): added to
|x| < 2**(mantissa bits - 1) it leaves the rounded integer in the low bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from jitnet.ir import DType, Value
from jitnet.ir import types as T
from jitnet.kernel.basic import (
    abs,
    add,
    ashr,
    bitcast,
    bits_of,
    bitwise_and,
    bitwise_xor,
    cast,
    copysign,
    div,
    eq,
    fma,
    gt,
    lshr,
    lt,
    mul,
    ne,
    select,
    shl,
    sub,
)
from jitnet.kernel.row import ScalarOp, lit


class Constants(NamedTuple):
    """The numbers of one float dtype.

    Attributes:
        magic: 1.5 * 2**mantissa; `magic_bits` is its pattern.
        exp_range, exp2_range: beyond, exp and exp2 are 0 or inf.
        expm1_low: below, expm1 is -1.
        exp_ln2, log_ln2: log(2) in two parts; n * log_ln2[0] is exact for every exponent n.
        half_pi: pi / 2 in three parts, all but the last with as many bits as the mantissa.
        circle: up to here three parts of pi / 2 are enough.
        per_ln2, log10_2, per_ln10: 1 / log(2), log10(2), 1 / log(10), each in two parts; n times
            the first part of log10_2 is exact.
        exp: of (exp(r) - 1 - r) / r**2 for |r| <= log(2) / 2.
        exp2: of (2**r - 1 - r log(2)) / r**2 for |r| <= 1/2.
        log: f32: of (log1p(f) - f + f**2 / 2) / f**3 for sqrt(1/2) <= 1 + f <= sqrt(2);
            f64: of (2 atanh(s) - 2 s) / s**3 in s**2, where 1 + f = (1 + s) / (1 - s).
        sin, cos: of (sin(r) - r) / r**3 and (cos(r) - 1 + r**2 / 2) / r**4 in r**2, |r| <= pi / 4.
        tanh, tanh_over: of (tanh(x) - x) / x**3 in x**2 for |x| <= 0.62, over a denominator.
        tanh_range: beyond, tanh is 1.
    """

    mantissa: int
    bias: int
    integer: DType
    unsigned: DType
    magic: float
    magic_bits: int
    exp_range: tuple[float, float]
    exp2_range: tuple[float, float]
    expm1_low: float
    exp_ln2: tuple[float, float]
    log_ln2: tuple[float, float]
    per_ln2: tuple[float, float]
    log10_2: tuple[float, float]
    per_ln10: tuple[float, float]
    sqrt_half_bits: int
    half_pi: tuple[float, float, float]
    circle: float
    exp: Sequence[float]
    exp2: Sequence[float]
    log: Sequence[float]
    sin: Sequence[float]
    cos: Sequence[float]
    tanh: Sequence[float]
    tanh_over: Sequence[float]
    tanh_range: float


F32 = Constants(
    mantissa=23,
    bias=127,
    integer=T.i32,
    unsigned=T.u32,
    magic=12582912.0,
    magic_bits=0x4B400000,
    exp_range=(-104.0, 89.0),
    exp2_range=(-152.0, 129.0),
    expm1_low=-18.0,
    exp_ln2=(0.6931471228599548, 5.7699990475432854e-08),
    log_ln2=(0.693145751953125, 1.4286068203094173e-06),
    per_ln2=(1.4426950216293335, 1.925963033500011e-08),
    log10_2=(0.301025390625, 4.605039066518657e-06),
    per_ln10=(0.4342944920063019, -1.0103049952192578e-08),
    sqrt_half_bits=0x3F3504F3,
    half_pi=(1.570796251296997, 7.549789415861596e-08, 5.390302858158119e-15),
    circle=1e5,
    exp=(0.49999994, 0.16666521, 0.04166839, 0.008368745, 0.0013814538),
    exp2=(0.24022648, 0.05550362, 0.009618527, 0.0013390207, 0.00015321087),
    log=(
        0.3333333,
        -0.25000826,
        0.20001236,
        -0.16623144,
        0.14201373,
        -0.13162017,
        0.12765402,
        -0.07634321,
    ),
    sin=(-0.16666654, 0.008332083, -0.00019504316),
    cos=(0.041666646, -0.0013887243, 2.4423885e-05),
    tanh=(-0.33333287, 0.13331594, -0.053752698, 0.020682536, -0.005754786),
    tanh_over=(1.0,),
    tanh_range=10.0,
)

F64 = Constants(
    mantissa=52,
    bias=1023,
    integer=T.i64,
    unsigned=T.u64,
    magic=6755399441055744.0,
    magic_bits=0x4338000000000000,
    exp_range=(-746.0, 710.0),
    exp2_range=(-1078.0, 1025.0),
    expm1_low=-38.0,
    exp_ln2=(0.6931471805599453, 2.3190468138462996e-17),
    log_ln2=(0.6931471803691238, 1.9082149292705877e-10),
    per_ln2=(1.4426950408889634, 2.0355273740931033e-17),
    log10_2=(0.3010299956640665, -8.532344317057107e-14),
    per_ln10=(0.4342944819032518, 1.098319650216765e-17),
    sqrt_half_bits=0x3FE6A09E667F3BCD,
    half_pi=(1.5707963267948966, 6.123233995736765e-17, 1.082856673921914e-32),
    circle=1e9,
    exp=(
        0.5,
        0.16666666666666685,
        0.041666666666665866,
        0.008333333333315504,
        0.0013888888889213903,
        0.00019841269899777248,
        2.4801586760000236e-05,
        2.7557231818551097e-06,
        2.7557705513661646e-07,
        2.5112997501977242e-08,
        2.0793077196538263e-09,
    ),
    exp2=(
        0.24022650695910072,
        0.055504108664821646,
        0.00961812910762821,
        0.0013333558146398623,
        0.00015403530393890715,
        1.5252733850552995e-05,
        1.321548637677399e-06,
        1.0178053008204887e-07,
        7.05505871681751e-09,
        4.4564609133972924e-10,
        2.5506132330687756e-11,
    ),
    log=(
        0.6666666666666735,
        0.39999999999411023,
        0.28571428743273536,
        0.22222198475083743,
        0.181835697815373,
        0.1531390224215044,
        0.14797517465254678,
    ),
    sin=(
        -0.16666666666666632,
        0.00833333333332231,
        -0.000198412698297192,
        2.7557313659531152e-06,
        -2.5050752828165474e-08,
        1.5896478226807326e-10,
    ),
    cos=(
        0.0416666666666666,
        -0.0013888888888874055,
        2.4801587289421455e-05,
        -2.7557314331277305e-07,
        2.087572006009343e-09,
        -1.1359467117800353e-11,
    ),
    tanh=(-0.33333333333333326, -0.020497110807728966, -0.00019910328576772563),
    tanh_over=(1.0, 0.4614913324231734, 0.023289080922047966, 0.00020645367826230542),
    tanh_range=20.0,
)


def _constants(x: Value) -> Constants:
    return F64 if x.dtype is T.f64 else F32


SPLIT = 6
"""Polynomials of so many coefficients are two that are computed at the same time."""


def _polynomial(coefficients: Sequence[float], x: Value) -> Value:
    """The sum of coefficients[k] * x**k; the even and the odd powers do not wait for each other."""
    if len(coefficients) < SPLIT:
        return _horner(coefficients, x)
    square = mul(x, x)
    return fma(_horner(coefficients[1::2], square), x, _horner(coefficients[::2], square))


def _horner(coefficients: Sequence[float], x: Value) -> Value:
    total: Value = lit(coefficients[-1], x)
    for c in reversed(coefficients[:-1]):
        total = fma(total, x, c)
    return total


def _round(x: Value, scale: float, c: Constants) -> tuple[Value, Value]:
    """`rint(x * scale)` as a float, and an integer with the same low bits."""
    t = fma(x, scale, c.magic)
    return sub(t, c.magic), bits_of(t)


# -- exponentials ----------------------------------------------------------------------------------

_LN2, _PER_LN2 = 0.6931471805599453, 1.4426950408889634


def _clamp(x: Value, low: float, high: float) -> Value:
    """nan stays."""
    x = select(lt(x, low), lit(low, x), x)
    return select(gt(x, high), lit(high, x), x)


def _expm1_reduced(x: Value, c: Constants) -> tuple[Value, Value, Value]:
    """p, n and t with exp(x) = (1 + p) * 2**n; t holds n as in `_round`."""
    t, bits = _round(x, _PER_LN2, c)
    r = fma(t, -c.exp_ln2[0], x)
    r = fma(t, -c.exp_ln2[1], r)
    return fma(_polynomial(c.exp, r), mul(r, r), r), t, bits


def _power(n: Value, c: Constants, dtype: DType, offset: int = 0) -> Value:
    """2**(n + offset), of an n as in `_round`, in the range of normal floats."""
    return bitcast(shl(add(n, c.bias + offset - c.magic_bits), c.mantissa), dtype)


def _scale(p: Value, n: Value, c: Constants) -> Value:
    """p * 2**n in two steps: 2**n alone may be beyond the range of floats though the product is
    not, and only the last step may round, to a denormal."""
    both = add(n, 2 * c.bias - c.magic_bits)  # n and the biases of two powers of two
    first = lshr(both, lit(1, both))
    second = sub(both, first)
    p = mul(p, bitcast(shl(first, c.mantissa), p.dtype))
    return mul(p, bitcast(shl(second, c.mantissa), p.dtype))


def exp(x: Value) -> Value:
    c = _constants(x)
    p, _, n = _expm1_reduced(_clamp(x, *c.exp_range), c)
    return _scale(add(p, 1.0), n, c)


def exp2(x: Value) -> Value:
    c = _constants(x)
    x = _clamp(x, *c.exp2_range)
    whole, n = _round(x, 1.0, c)
    r = sub(x, whole)
    return _scale(add(fma(_polynomial(c.exp2, r), mul(r, r), mul(r, _LN2)), 1.0), n, c)


def expm1(x: Value) -> Value:
    """(1 + p) * 2**n - 1, where 2**n - 1 is exact; halved, because 2**n may be out of range."""
    c = _constants(x)
    p, whole, n = _expm1_reduced(_clamp(x, c.expm1_low, c.exp_range[1]), c)
    half = _power(n, c, x.dtype, offset=-1)
    y = mul(fma(half, p, sub(half, 0.5)), 2.0)
    y = select(eq(whole, 0.0), p, y)
    return select(eq(x, 0.0), x, y)  # keeps -0.0


def tanh(x: Value) -> Value:
    """Near 0 a polynomial, elsewhere 1 - 2 / (exp(2|x|) + 1), which loses nothing there."""
    c = _constants(x)
    a = abs(x)
    z = mul(x, x)
    ratio = _polynomial(c.tanh, z)
    if len(c.tanh_over) > 1:
        ratio = div(ratio, _polynomial(c.tanh_over, z))
    near = fma(mul(a, z), ratio, a)
    doubled = mul(select(gt(a, c.tanh_range), lit(c.tanh_range, a), a), 2.0)
    p, _, n = _expm1_reduced(doubled, c)
    e = mul(add(p, 1.0), _power(n, c, x.dtype))
    far = sub(lit(1.0, x), div(lit(2.0, x), add(e, 1.0)))
    return copysign(select(lt(a, 0.6), near, far), x)


# -- logarithms ------------------------------------------------------------------------------------


def _split_exponent(x: Value, c: Constants) -> tuple[Value, Value]:
    """f and k with x = (1 + f) * 2**k and sqrt(1/2) <= 1 + f < sqrt(2), for positive normal x."""
    bits = bits_of(x)
    above = sub(bits, c.sqrt_half_bits)
    exponent_mask = -1 << c.mantissa
    m = bitcast(sub(bits, bitwise_and(above, exponent_mask)), x.dtype)
    if c is F32:
        k = cast(ashr(above, lit(c.mantissa, above)), x.dtype)
    else:
        biased = lshr(add(above, c.bias << c.mantissa), lit(c.mantissa, above))
        k = sub(bitcast(add(biased, c.magic_bits), x.dtype), c.magic + c.bias)
    return sub(m, 1.0), k


def _split_any(x: Value, c: Constants) -> tuple[Value, Value]:
    """The same for denormal x too."""
    lift = c.mantissa + 2
    tiny = lt(x, 2.0 ** (1 - c.bias))
    f, k = _split_exponent(select(tiny, mul(x, 2.0**lift), x), c)
    return f, sub(k, select(tiny, lit(float(lift), x), lit(0.0, x)))


def _log_near_1(f: Value, c: Constants, low: Value) -> Value:
    """log(1 + f) + low, where low is small against f or comes with a larger term."""
    if c is F32:
        f2 = mul(f, f)
        y = fma(_polynomial(c.log, f), mul(f2, f), low)
        return add(fma(f2, -0.5, y), f)
    # f - f**2/2 + s * (f**2/2 + R) instead of 2 s + s R: f is exact, s is not (fdlibm's log)
    s = div(f, add(f, 2.0))
    z = mul(s, s)
    half_square = mul(mul(f, f), 0.5)
    tail = fma(s, fma(_polynomial(c.log, z), z, half_square), low)
    return sub(f, sub(half_square, tail))


def _with_poles(x: Value, y: Value, pole: float) -> Value:
    """y, but -inf where x is at the pole, nan below it and where x is nan, inf where x is inf."""
    y = select(lt(x, np.inf), y, x)
    at_pole = select(eq(x, pole), lit(-np.inf, x), lit(np.nan, x))
    return select(gt(x, pole), y, at_pole)


def log(x: Value) -> Value:
    c = _constants(x)
    f, k = _split_any(x, c)
    y = fma(k, c.log_ln2[0], _log_near_1(f, c, mul(k, c.log_ln2[1])))
    return _with_poles(x, y, 0.0)


def log1p(x: Value) -> Value:
    """log(u) + (1 + x - u) / u for the rounded sum u = 1 + x."""
    c = _constants(x)
    u = add(x, 1.0)
    lost = select(gt(x, 1.0), sub(lit(1.0, x), sub(u, x)), sub(x, sub(u, 1.0)))
    f, k = _split_exponent(u, c)
    y = fma(k, c.log_ln2[0], _log_near_1(f, c, fma(k, c.log_ln2[1], div(lost, u))))
    return select(eq(x, 0.0), x, _with_poles(x, y, -1.0))  # keeps -0.0


def log2(x: Value) -> Value:
    c = _constants(x)
    f, k = _split_any(x, c)
    y = _log_near_1(f, c, lit(0.0, x))
    y = add(fma(y, c.per_ln2[0], mul(y, c.per_ln2[1])), k)
    return _with_poles(x, y, 0.0)


def log10(x: Value) -> Value:
    c = _constants(x)
    f, k = _split_any(x, c)
    y = _log_near_1(f, c, lit(0.0, x))
    low = fma(y, c.per_ln10[1], mul(k, c.log10_2[1]))
    y = fma(k, c.log10_2[0], fma(y, c.per_ln10[0], low))
    return _with_poles(x, y, 0.0)


# -- sin and cos -----------------------------------------------------------------------------------


def _rare_row(name: str, numpy: Any) -> ScalarOp:
    """The row `(where, x, otherwise)`: the C library's function of x where asked for."""
    library = ScalarOp(f"libm_{name}", ("f",), "same", numpy, libm=name, cost=40)

    def reference(where: Any, x: Any, otherwise: Any) -> Any:
        return np.where(where, numpy(x), otherwise)[()]

    return ScalarOp(
        f"rarely_{name}",
        ("b", "f", "="),
        "same",
        reference,
        expand=lambda where, x, otherwise: select(where, library(x), otherwise),
        cost=5,
        rarely=True,
    )


RARELY_SIN = _rare_row("sin", np.sin)
RARELY_COS = _rare_row("cos", np.cos)


def _sin_and_cos(r: Value, c: Constants) -> tuple[Value, Value]:
    """Of |r| <= pi / 4."""
    z = mul(r, r)
    sine = fma(mul(_polynomial(c.sin, z), z), r, r)
    cosine = fma(mul(z, z), _polynomial(c.cos, z), fma(z, -0.5, lit(1.0, z)))
    return sine, cosine


def _reduce_circle(a: Value, c: Constants) -> tuple[Value, Value]:
    """r and q with a = r + q * pi / 2; of the integer q the low bits count. fma makes the first
    difference exact, so that no digits are lost near multiples of pi / 2 (Cody and Waite)."""
    n, q = _round(a, 0.6366197723675814, c)
    r = a
    for part in c.half_pi:
        r = fma(n, -part, r)
    return r, q


def _in_quadrant(q: Value, r: Value, c: Constants) -> Value:
    """sin(r + q * pi / 2)."""
    sine, cosine = _sin_and_cos(r, c)
    value = select(ne(bitwise_and(q, 1), 0), cosine, sine)
    sign = shl(bitwise_and(q, 2), lit(c.integer.bits - 2, q))
    return bitcast(bitwise_xor(bits_of(value), sign), r.dtype)


def sin(x: Value) -> Value:
    """By |x|, and the sign put back in the end: -0.0 stays."""
    c = _constants(x)
    a = abs(x)
    r, q = _reduce_circle(a, c)
    y = _in_quadrant(q, r, c)
    sign = bitwise_and(bits_of(x), -1 << (c.integer.bits - 1))
    y = bitcast(bitwise_xor(bits_of(y), sign), x.dtype)
    return RARELY_SIN(gt(a, c.circle), x, y)


def cos(x: Value) -> Value:
    c = _constants(x)
    a = abs(x)
    r, q = _reduce_circle(a, c)
    y = _in_quadrant(add(q, 1), r, c)
    return RARELY_COS(gt(a, c.circle), x, y)
