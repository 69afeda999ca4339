"""The pointwise ops: NumPy's elementwise ufuncs, one row of `kernel.scalars` each.

    %y = exp %x {}              // f64[3]
    %z = maximum %y, 0.0 {}     // a Literal stands for every element

Conventions of the derivatives, where there is a choice: `maximum` and its like split a tie in
halves; `abs` has derivative 0 at 0, so has `hypot` at (0, 0); `sqrt` has inf at 0, which the strong
zeros of `zmul` keep away from tangents that are 0; the derivative of `pow` in the exponent is 0
where the base is 0, in the base it is 0 where the exponent is. Rounding, signs and comparisons are
constant between their jumps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from jitnet.ir import (
    ArrayType,
    Attrs,
    DType,
    Eqn,
    Function,
    Literal,
    Type,
    Value,
    current,
    literal,
)
from jitnet.kernel import scalars as s
from jitnet.ops.lanes import batch_elements
from jitnet.ops.lift import (
    SAME,
    Pointwise,
    accumulate,
    add,
    factor,
    jvp_of_linear,
    mul,
    neg,
    pointwise,
    same,
    select,
    sub,
    transpose_of,
    zmul,
)
from jitnet.ops.pairs import each_half
from jitnet.ops.primitive import (
    Context,
    Element,
    JvpTransform,
    Linear,
    Primitive,
    Tangents,
    TransposeTransform,
    nondifferentiable,
    not_linear,
)
from jitnet.ops.samples import convert_samples, identity_samples

_LN2 = math.log(2.0)
_LN10 = math.log(10.0)


def _jvp_of_extremum(
    eqn: Eqn, primals: Sequence[Value], tangents: Tangents, jvp: JvpTransform
) -> tuple[Sequence[Value], Tangents]:
    """The winner's tangent, half of each where both win. Selects rather than factors: a mask needs
    no strong zero."""
    (z,) = current().rebind(eqn, primals)
    total: Value | None = None
    for x, other, t in zip(primals, reversed(primals), tangents):
        if t is not None and z.dtype.is_inexact:
            share = select(eq(x, other), literal(0.5, z.dtype), 1.0)
            total = accumulate(total, select(eq(x, z), mul(t, share), 0.0))
    return (z,), (total,)


def _nonzero(x: Value) -> Value:
    """x, with 1 in place of 0: a safe divisor where the dividend is 0 as well."""
    return select(eq(x, 0.0), 1.0, x)


# -- arithmetic ------------------------------------------------------------------------------------

div: Pointwise = pointwise(
    "div",
    s.div,
    partials=(lambda x, y, z: reciprocal(y), lambda x, y, z: neg(zmul(z, reciprocal(y)))),
    transpose=transpose_of(lambda ct, x, y: div(ct, factor(y)), None),
    domain=("any", "positive"),
)
floordiv: Pointwise = pointwise("floordiv", s.floordiv, domain=("any", "positive"))
rem: Pointwise = pointwise(
    "rem",
    s.rem,
    partials=(lambda x, y, z: literal(1.0, z.dtype), lambda x, y, z: neg(rint(div(sub(x, z), y)))),
    domain=("any", "positive"),
)
fmod: Pointwise = pointwise(
    "fmod",
    s.fmod,
    partials=(lambda x, y, z: literal(1.0, z.dtype), lambda x, y, z: neg(rint(div(sub(x, z), y)))),
    domain=("any", "positive"),
)
pow: Pointwise = pointwise(
    "pow",
    s.pow,
    partials=(
        lambda x, y, z: zmul(y, pow(x, sub(y, 1.0))),
        lambda x, y, z: zmul(z, log(_nonzero(x))),
    ),
    domain="positive",
)
square: Pointwise = pointwise("square", s.square, partials=(lambda x, y: mul(x, 2.0),))
reciprocal: Pointwise = pointwise(
    "reciprocal", s.reciprocal, partials=(lambda x, y: neg(square(y)),), domain="positive"
)
abs: Pointwise = pointwise("abs", s.abs, partials=(lambda x, y: sign(x),))
sign: Pointwise = pointwise("sign", s.sign)
maximum: Pointwise = pointwise("maximum", s.maximum, jvp=_jvp_of_extremum)
minimum: Pointwise = pointwise("minimum", s.minimum, jvp=_jvp_of_extremum)
fmax: Pointwise = pointwise("fmax", s.fmax, jvp=_jvp_of_extremum)
fmin: Pointwise = pointwise("fmin", s.fmin, jvp=_jvp_of_extremum)
fma: Pointwise = pointwise(
    "fma",
    s.fma,
    partials=(
        lambda x, y, z, w: y,
        lambda x, y, z, w: x,
        lambda x, y, z, w: literal(1.0, w.dtype),
    ),
    transpose=transpose_of(
        lambda ct, x, y, z: mul(ct, factor(y)), lambda ct, x, y, z: mul(ct, factor(x)), same
    ),
)
deg2rad: Pointwise = pointwise(
    "deg2rad", s.deg2rad, partials=(lambda x, y: literal(math.pi / 180.0, y.dtype),)
)
rad2deg: Pointwise = pointwise(
    "rad2deg", s.rad2deg, partials=(lambda x, y: literal(180.0 / math.pi, y.dtype),)
)

# -- roots, exponentials, logarithms ---------------------------------------------------------------

sqrt: Pointwise = pointwise("sqrt", s.sqrt, partials=(lambda x, y: div(0.5, y),), domain="positive")
cbrt: Pointwise = pointwise(
    "cbrt", s.cbrt, partials=(lambda x, y: reciprocal(mul(square(y), 3.0)),), domain="positive"
)
hypot: Pointwise = pointwise(
    "hypot",
    s.hypot,
    partials=(lambda x, y, z: div(x, _nonzero(z)), lambda x, y, z: div(y, _nonzero(z))),
)
exp: Pointwise = pointwise("exp", s.exp, partials=(lambda x, y: y,))
exp2: Pointwise = pointwise("exp2", s.exp2, partials=(lambda x, y: mul(y, _LN2),))
expm1: Pointwise = pointwise("expm1", s.expm1, partials=(lambda x, y: add(y, 1.0),))
log: Pointwise = pointwise("log", s.log, partials=(lambda x, y: reciprocal(x),), domain="positive")
log2: Pointwise = pointwise(
    "log2", s.log2, partials=(lambda x, y: reciprocal(mul(x, _LN2)),), domain="positive"
)
log10: Pointwise = pointwise(
    "log10", s.log10, partials=(lambda x, y: reciprocal(mul(x, _LN10)),), domain="positive"
)
log1p: Pointwise = pointwise(
    "log1p", s.log1p, partials=(lambda x, y: reciprocal(add(x, 1.0)),), domain="positive"
)


def _bell(x: Value) -> Value:
    """The derivative of erf."""
    return mul(exp(neg(square(x))), 2.0 / math.sqrt(math.pi))


erf: Pointwise = pointwise("erf", s.erf, partials=(lambda x, y: _bell(x),))
erfc: Pointwise = pointwise("erfc", s.erfc, partials=(lambda x, y: neg(_bell(x)),))


def _share(x: Value, y: Value) -> Value:
    """y - x as the logaddexp ops weigh their operands by it: 0 where they are equal infinities."""
    return select(eq(x, y), 0.0, sub(y, x))


logaddexp: Pointwise = pointwise(
    "logaddexp",
    s.logaddexp,
    partials=(
        lambda x, y, z: reciprocal(add(exp(_share(x, y)), 1.0)),
        lambda x, y, z: reciprocal(add(exp(_share(y, x)), 1.0)),
    ),
)
logaddexp2: Pointwise = pointwise(
    "logaddexp2",
    s.logaddexp2,
    partials=(
        lambda x, y, z: reciprocal(add(exp2(_share(x, y)), 1.0)),
        lambda x, y, z: reciprocal(add(exp2(_share(y, x)), 1.0)),
    ),
)

# -- trigonometry ----------------------------------------------------------------------------------


def _one_minus_square(x: Value) -> Value:
    """1 - x**2 without cancellation near x = +-1."""
    return mul(sub(1.0, x), add(x, 1.0))


sin: Pointwise = pointwise("sin", s.sin, partials=(lambda x, y: cos(x),))
cos: Pointwise = pointwise("cos", s.cos, partials=(lambda x, y: neg(sin(x)),))
tan: Pointwise = pointwise(
    "tan", s.tan, partials=(lambda x, y: add(square(y), 1.0),), domain="unit"
)
arcsin: Pointwise = pointwise(
    "arcsin",
    s.arcsin,
    partials=(lambda x, y: reciprocal(sqrt(_one_minus_square(x))),),
    domain="unit",
)
arccos: Pointwise = pointwise(
    "arccos",
    s.arccos,
    partials=(lambda x, y: div(-1.0, sqrt(_one_minus_square(x))),),
    domain="unit",
)
arctan: Pointwise = pointwise(
    "arctan", s.arctan, partials=(lambda x, y: reciprocal(add(square(x), 1.0)),)
)


def _over_square_norm(x: Value, y: Value, of: Value) -> Value:
    """of / (x**2 + y**2), by way of hypot: squares would over- and underflow."""
    norm = _nonzero(hypot(x, y))
    return div(div(of, norm), norm)


arctan2: Pointwise = pointwise(
    "arctan2",
    s.arctan2,
    partials=(
        lambda x, y, z: _over_square_norm(x, y, y),
        lambda x, y, z: neg(_over_square_norm(x, y, x)),
    ),
)
sinh: Pointwise = pointwise("sinh", s.sinh, partials=(lambda x, y: cosh(x),))
cosh: Pointwise = pointwise("cosh", s.cosh, partials=(lambda x, y: sinh(x),))
tanh: Pointwise = pointwise("tanh", s.tanh, partials=(lambda x, y: _one_minus_square(y),))
arcsinh: Pointwise = pointwise(
    "arcsinh", s.arcsinh, partials=(lambda x, y: reciprocal(hypot(x, 1.0)),)
)
arccosh: Pointwise = pointwise(
    "arccosh",
    s.arccosh,
    partials=(lambda x, y: reciprocal(mul(sqrt(sub(x, 1.0)), sqrt(add(x, 1.0)))),),
    domain="above one",
)
arctanh: Pointwise = pointwise(
    "arctanh",
    s.arctanh,
    partials=(lambda x, y: reciprocal(_one_minus_square(x)),),
    domain="unit",
)

# -- rounding, signs, the parts of a float ---------------------------------------------------------

floor: Pointwise = pointwise("floor", s.floor)
ceil: Pointwise = pointwise("ceil", s.ceil)
trunc: Pointwise = pointwise("trunc", s.trunc)
rint: Pointwise = pointwise("rint", s.rint)
isnan: Pointwise = pointwise("isnan", s.isnan)
isinf: Pointwise = pointwise("isinf", s.isinf)
isfinite: Pointwise = pointwise("isfinite", s.isfinite)
signbit: Pointwise = pointwise("signbit", s.signbit)
copysign: Pointwise = pointwise(
    "copysign",
    s.copysign,
    partials=(lambda x, y, z: mul(sign(x), copysign(1.0, y)), None),
)
nextafter: Pointwise = pointwise(
    "nextafter", s.nextafter, partials=(lambda x, y, z: literal(1.0, z.dtype), None)
)
spacing: Pointwise = pointwise("spacing", s.spacing)
ldexp: Pointwise = pointwise(
    "ldexp",
    s.ldexp,
    jvp=jvp_of_linear(lambda eqn, primals, tangents: ldexp(tangents[0], primals[1])),
    transpose=transpose_of(lambda ct, x, n: ldexp(ct, n), None),
)
frexp_mantissa: Pointwise = pointwise(
    "frexp_mantissa",
    s.frexp_mantissa,
    jvp=jvp_of_linear(
        lambda eqn, primals, tangents: ldexp(tangents[0], neg(frexp_exponent(primals[0])))
    ),
)
frexp_exponent: Pointwise = pointwise("frexp_exponent", s.frexp_exponent)
heaviside: Pointwise = pointwise(
    "heaviside",
    s.heaviside,
    partials=(None, lambda x, y, z: select(eq(x, 0.0), literal(1.0, z.dtype), 0.0)),
)

# -- integers, bits, comparisons -------------------------------------------------------------------

gcd: Pointwise = pointwise("gcd", s.gcd)
lcm: Pointwise = pointwise("lcm", s.lcm)
bitwise_and: Pointwise = pointwise("bitwise_and", s.bitwise_and)
bitwise_or: Pointwise = pointwise("bitwise_or", s.bitwise_or)
bitwise_xor: Pointwise = pointwise("bitwise_xor", s.bitwise_xor)
invert: Pointwise = pointwise("invert", s.invert)
left_shift: Pointwise = pointwise("left_shift", s.left_shift, domain=("any", "positive"))
right_shift: Pointwise = pointwise("right_shift", s.right_shift, domain=("any", "positive"))
logical_not: Pointwise = pointwise("logical_not", s.logical_not)
eq: Pointwise = pointwise("eq", s.eq)
ne: Pointwise = pointwise("ne", s.ne)
lt: Pointwise = pointwise("lt", s.lt)
le: Pointwise = pointwise("le", s.le)
gt: Pointwise = pointwise("gt", s.gt)
ge: Pointwise = pointwise("ge", s.ge)
add_wraps: Pointwise = pointwise("add_wraps", s.add_wraps)
sub_wraps: Pointwise = pointwise("sub_wraps", s.sub_wraps)
mul_wraps: Pointwise = pointwise("mul_wraps", s.mul_wraps)


# -- casts and markers -----------------------------------------------------------------------------


def _infer_convert(
    operands: Sequence[Value], attrs: Attrs, regions: Sequence[Function]
) -> tuple[Type, ...]:
    (x,) = operands
    return (x.array_type.with_dtype(attrs["dtype"]),)


def _numpy_convert(eqn: Eqn, x: Any) -> tuple[Any, ...]:
    return (_as_type(x, eqn.attrs["dtype"]),)


def _as_type(x: Any, dtype: DType) -> Any:
    """`astype`, which of a complex number keeps the real part; of a bool, whether it is not 0."""
    if x.dtype.kind == "c" and not dtype.is_complex:
        x = np.not_equal(x, 0) if dtype.is_bool else x.real
    return x.astype(dtype.numpy)


def _emit_convert(context: Context, eqn: Eqn, index: Sequence[Value]) -> Value:
    return s.cast(context.load(0, index), eqn.attrs["dtype"])


def _jvp_convert(
    eqn: Eqn, primals: Sequence[Value], tangents: Tangents, jvp: JvpTransform
) -> tuple[Sequence[Value], Tangents]:
    results = current().rebind(eqn, primals)
    (t,) = tangents
    if t is None or not results[0].dtype.is_inexact:
        return results, (None,)
    return results, (convert(t, results[0].dtype),)


def _transpose_convert(
    eqn: Eqn,
    operands: Sequence[Value | Linear],
    cotangents: Tangents,
    accumulators: Sequence[Value | None],
    transpose: TransposeTransform,
) -> Sequence[Value | None]:
    (x,), (ct,), (total,) = operands, cotangents, accumulators
    if ct is None or not isinstance(x, Linear):
        return [total]
    assert isinstance(x.type, ArrayType)
    return [accumulate(total, convert(ct, x.type.dtype))]


CONVERT = Primitive(
    "convert",
    infer=_infer_convert,
    numpy=_numpy_convert,
    jvp=_jvp_convert,
    transpose=_transpose_convert,
    batch=batch_elements,
    lower=[Element(_emit_convert, pointwise=True)],
    samples=convert_samples,
    facts=s.CAST.facts,
)
STOP_GRADIENT = Primitive(
    "stop_gradient",
    infer=lambda operands, attrs, regions: (operands[0].type,),
    numpy=lambda eqn, x: (x,),
    jvp=nondifferentiable,
    transpose=not_linear,
    batch=batch_elements,
    lower=[SAME],
    samples=identity_samples,
    pairs=each_half,
)


def convert(x: Value, dtype: DType) -> Value:
    """The elements of x as `dtype`, as `astype` does it; x itself where it has that dtype. A real
    dtype keeps the real parts of complex numbers."""
    if x.dtype == dtype:
        return x
    if isinstance(x, Literal):
        with np.errstate(all="ignore"):
            return Literal(_as_type(x.data, dtype), dtype)
    (result,) = current().bind(CONVERT, (x,), {"dtype": dtype})
    return result


def stop_gradient(x: Value) -> Value:
    """x, as a constant to every derivative."""
    (result,) = current().bind(STOP_GRADIENT, (x,))
    return result
