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
from dataclasses import dataclass
from typing import Any

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


@dataclass(frozen=True)
class Constants:
    """The numbers of one float dtype.

    Attributes:
        magic: 1.5 * 2**mantissa; `magic_bits` is its pattern.
        exp_range: beyond, exp is 0 or inf.
        exp_ln2, log_ln2: log(2) in two parts; n * log_ln2[0] is exact for every exponent n.
        half_pi: pi / 2 in three parts, all but the last with as many bits as the mantissa.
        circle: up to here three parts of pi / 2 are enough.
        exp: of (exp(r) - 1 - r) / r**2 for |r| <= log(2) / 2.
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
    exp_ln2: tuple[float, float]
    log_ln2: tuple[float, float]
    sqrt_half_bits: int
    half_pi: tuple[float, float, float]
    circle: float
    exp: Sequence[float]
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
    exp_ln2=(0.6931471228599548, 5.7699990475432854e-08),
    log_ln2=(0.693145751953125, 1.4286068203094173e-06),
    sqrt_half_bits=0x3F3504F3,
    half_pi=(1.570796251296997, 7.549789415861596e-08, 5.390302858158119e-15),
    circle=1e5,
    exp=(0.49999994, 0.16666521, 0.04166839, 0.008368745, 0.0013814538),
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
    exp_ln2=(0.6931471805599453, 2.3190468138462996e-17),
    log_ln2=(0.6931471803691238, 1.9082149292705877e-10),
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


def _horner(coefficients: Sequence[float], x: Value) -> Value:
    """The sum of coefficients[k] * x**k."""
    total: Value = lit(coefficients[-1], x)
    for c in reversed(coefficients[:-1]):
        total = fma(total, x, c)
    return total


def _round(x: Value, scale: float, c: Constants) -> tuple[Value, Value]:
    """`rint(x * scale)` as a float, and an integer with the same low bits."""
    t = fma(x, scale, c.magic)
    return sub(t, c.magic), bits_of(t)


# -- exp and tanh ----------------------------------------------------------------------------------

_PER_LN2 = 1.4426950408889634


def _exp_reduced(x: Value, c: Constants) -> tuple[Value, Value]:
    """p and t with exp(x) = p * 2**n; n is t - c.magic_bits."""
    n, t = _round(x, _PER_LN2, c)
    r = fma(n, -c.exp_ln2[0], x)
    r = fma(n, -c.exp_ln2[1], r)
    tail = fma(_horner(c.exp, r), mul(r, r), r)
    return add(tail, 1.0), t


def exp(x: Value) -> Value:
    """Scales in two steps: 2**n alone may be beyond the range of floats though p * 2**n is not, and
    only the last product may round, to a denormal."""
    c = _constants(x)
    low, high = c.exp_range
    x = select(lt(x, low), lit(low, x), x)
    x = select(gt(x, high), lit(high, x), x)
    p, t = _exp_reduced(x, c)
    both = add(t, 2 * c.bias - c.magic_bits)  # n and the biases of two powers of two
    first = lshr(both, lit(1, both))
    second = sub(both, first)
    p = mul(p, bitcast(shl(first, c.mantissa), x.dtype))
    return mul(p, bitcast(shl(second, c.mantissa), x.dtype))


def tanh(x: Value) -> Value:
    """Near 0 a polynomial, elsewhere 1 - 2 / (exp(2|x|) + 1), which loses nothing there."""
    c = _constants(x)
    a = abs(x)
    z = mul(x, x)
    ratio = _horner(c.tanh, z)
    if len(c.tanh_over) > 1:
        ratio = div(ratio, _horner(c.tanh_over, z))
    near = fma(mul(a, z), ratio, a)
    p, t = _exp_reduced(mul(select(gt(a, c.tanh_range), lit(c.tanh_range, a), a), 2.0), c)
    e = mul(p, bitcast(shl(add(t, c.bias - c.magic_bits), c.mantissa), x.dtype))
    far = sub(lit(1.0, x), div(lit(2.0, x), add(e, 1.0)))
    return copysign(select(lt(a, 0.6), near, far), x)


# -- log -------------------------------------------------------------------------------------------


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


def _log_f32(f: Value, k: Value, c: Constants) -> Value:
    f2 = mul(f, f)
    y = fma(k, c.log_ln2[1], mul(_horner(c.log, f), mul(f2, f)))
    y = add(fma(f2, -0.5, y), f)
    return fma(k, c.log_ln2[0], y)


def _log_f64(f: Value, k: Value, c: Constants) -> Value:
    """f - f**2/2 + s * (f**2/2 + R) instead of 2 s + s R: f is exact, s is not (fdlibm's log)."""
    s = div(f, add(f, 2.0))
    z = mul(s, s)
    half_square = mul(mul(f, f), 0.5)
    tail = fma(s, fma(_horner(c.log, z), z, half_square), mul(k, c.log_ln2[1]))
    return fma(k, c.log_ln2[0], sub(f, sub(half_square, tail)))


def log(x: Value) -> Value:
    c = _constants(x)
    smallest_normal, lift = 2.0 ** (1 - c.bias), c.mantissa + 2
    tiny = lt(x, smallest_normal)
    f, k = _split_exponent(select(tiny, mul(x, 2.0**lift), x), c)
    k = sub(k, select(tiny, lit(float(lift), x), lit(0.0, x)))
    y = _log_f32(f, k, c) if c is F32 else _log_f64(f, k, c)
    y = select(lt(x, np.inf), y, x)
    pole = select(eq(x, 0.0), lit(-np.inf, x), lit(np.nan, x))
    return select(gt(x, 0.0), y, pole)


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
    sine = fma(mul(_horner(c.sin, z), z), r, r)
    cosine = fma(mul(z, z), _horner(c.cos, z), fma(z, -0.5, lit(1.0, z)))
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
