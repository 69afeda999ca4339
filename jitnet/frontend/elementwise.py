"""NumPy's elementwise ufuncs: resolve the loop, cast, broadcast, bind.

    np.add(x, y)     x: i32[3], y: f64[2, 3]
      %0 = convert %x {dtype=f64}
      %1 = broadcast %0, 2, 3 {axes=(1,)}
      %2 = add %1, %y

`KERNELS` has one function for each ufunc; it gets values of the loop's dtypes and of equal dims
(Literals stand for every element), and returns the result or the tuple of results.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jitnet import errors, ops
from jitnet.frontend.dims import broadcast_dims, spread
from jitnet.frontend.dispatch import name_of
from jitnet.frontend.promotion import (
    Operand,
    as_dtype,
    fits,
    is_known_int,
    is_python,
    loop_dtypes,
    operand,
    python_kind,
)
from jitnet.frontend.pynumbers import MIRRORED
from jitnet.frontend.tracer import Flavour, Tracer, wrap
from jitnet.ir import DType, Literal, Value
from jitnet.ir import types as T

Kernel = Callable[..., Any]

# -- kernels that differ by dtype ------------------------------------------------------------------


def _by_kind(general: Kernel, on_bool: Kernel | None = None, exact: Kernel | None = None) -> Kernel:
    """`on_bool` for bools, `exact` for bools and integers where given, else `general`."""

    def kernel(x: Value, *rest: Value) -> Value:
        if on_bool is not None and x.dtype.is_bool:
            chosen = on_bool
        else:
            chosen = exact if exact is not None and not x.dtype.is_inexact else general
        value: Value = chosen(x, *rest)
        return value

    return kernel


def _same(x: Value) -> Value:
    return x


def constant(x: bool | float, dtype: DType, like: Value) -> Value:
    """A number in every place of `like`."""
    literal = Literal(x, dtype)
    return ops.full(literal, like.dims) if like.rank else literal


def _never(x: Value) -> Value:
    return constant(False, T.bool_, x)


def _always(x: Value) -> Value:
    return constant(True, T.bool_, x)


def truth(x: Value) -> Value:
    """Whether the elements are not zero."""
    return x if x.dtype.is_bool else ops.ne(x, 0)


def _logical(combine: Kernel) -> Kernel:
    return lambda x, y: combine(truth(x), truth(y))


def _logical_not(x: Value) -> Value:
    return ops.logical_not(x) if x.dtype.is_bool else ops.eq(x, 0)


def _comparison(compare: Kernel, mirrored: Kernel, below_zero: bool, above: bool) -> Kernel:
    """A comparison that is exact between u64 and i64.

    Args:
        below_zero: what it is for every u64 on the left of a negative i64.
        above: what it is for a negative i64 on the left of every u64.
    """

    def kernel(x: Value, y: Value) -> Value:
        if x.dtype == y.dtype:
            value: Value = compare(x, y)
            return value
        if x.dtype == T.u64:
            return _with_sign(compare(x, ops.convert(y, T.u64)), y, below_zero)
        return _with_sign(mirrored(y, ops.convert(x, T.u64)), x, above)

    return kernel


def _with_sign(found: Value, signed: Value, if_negative: bool) -> Value:
    negative = ops.lt(signed, 0)
    if if_negative:
        return ops.bitwise_or(negative, found)
    return ops.bitwise_and(ops.logical_not(negative), found)


def _absolute(x: Value) -> Value:
    return x if x.dtype.kind in "bu" else ops.abs(x)


def squared_size(x: Value) -> Value:
    """|x|**2, real."""
    if not x.dtype.is_complex:
        return ops.mul(x, x)
    re, im = ops.real(x), ops.imag(x)
    return ops.add(ops.mul(re, re), ops.mul(im, im))


def _reciprocal(x: Value) -> Value:
    if x.dtype.is_inexact:
        return ops.reciprocal(x)
    return ops.convert(ops.div(1.0, ops.convert(x, T.f64)), x.dtype)


def _power(x: Value, y: Value) -> Value:
    if x.dtype.is_complex:
        return ops.square(x) if x.rank and isinstance(y, Literal) and y.item == 2 else ops.pow(x, y)
    if isinstance(y, Literal) and y.item in ((1, 2) if x.dtype.is_half else (1, 2, 3, 4)):
        return _small_power(x, int(y.item))
    if y.dtype.kind == "i":
        _refuse_negative_powers(x, y)
    return ops.pow(x, y)


def _small_power(x: Value, n: int) -> Value:
    """Products are within 2 ULP of the power, and far cheaper."""
    if n == 1:
        return x
    squared = ops.square(x)
    if n == 2:
        return squared
    return ops.mul(squared, x) if n == 3 else ops.square(squared)


def _refuse_negative_powers(x: Value, y: Value) -> None:
    message = "Integers to negative integer powers are not allowed."
    if not isinstance(y, Literal):
        ok = ops.ge(y, 0)
        ok = ops.reduce_all(ok, tuple(range(ok.rank))) if ok.rank else ok
        ops.check(ok, [], "ValueError", message)
    elif y.item < 0 and 0 not in x.dims:
        raise errors.ValueRefusedError(message, remedy="make the base a float array")


def _modf(x: Value) -> tuple[Value, Value]:
    whole = ops.trunc(x)
    fraction = ops.select(ops.isinf(x), 0.0, ops.sub(x, whole))
    return ops.copysign(fraction, x), whole


def _bitwise_count(x: Value) -> Value:
    """The number of 1 bits of |x|, by sums in ever wider fields of a word."""
    unsigned = T.DTYPES[f"u{x.dtype.bits}"]
    v = ops.convert(ops.convert(_absolute(x), unsigned), T.u64)
    v = ops.sub(v, ops.bitwise_and(ops.right_shift(v, 1), 0x5555555555555555))
    pairs = ops.bitwise_and(ops.right_shift(v, 2), 0x3333333333333333)
    v = ops.add(ops.bitwise_and(v, 0x3333333333333333), pairs)
    v = ops.bitwise_and(ops.add(v, ops.right_shift(v, 4)), 0x0F0F0F0F0F0F0F0F)
    return ops.convert(ops.right_shift(ops.mul(v, 0x0101010101010101), 56), T.u8)


# -- the table -------------------------------------------------------------------------------------

KERNELS: dict[np.ufunc, Kernel] = {
    np.add: _by_kind(ops.add, on_bool=ops.bitwise_or),
    np.subtract: ops.sub,
    np.multiply: _by_kind(ops.mul, on_bool=ops.bitwise_and),
    np.true_divide: ops.div,
    np.floor_divide: ops.floordiv,
    np.remainder: ops.rem,
    np.divmod: lambda x, y: (ops.floordiv(x, y), ops.rem(x, y)),
    np.fmod: ops.fmod,
    np.power: _power,
    np.float_power: _power,
    np.negative: ops.neg,
    np.positive: _same,
    np.conjugate: ops.conj,
    np.absolute: _absolute,
    np.fabs: ops.abs,
    np.sign: ops.sign,
    np.square: ops.square,
    np.reciprocal: _reciprocal,
    np.maximum: _by_kind(ops.maximum, on_bool=ops.bitwise_or),
    np.minimum: _by_kind(ops.minimum, on_bool=ops.bitwise_and),
    np.fmax: _by_kind(ops.fmax, on_bool=ops.bitwise_or, exact=ops.maximum),
    np.fmin: _by_kind(ops.fmin, on_bool=ops.bitwise_and, exact=ops.minimum),
    np.sqrt: ops.sqrt,
    np.cbrt: ops.cbrt,
    np.hypot: ops.hypot,
    np.exp: ops.exp,
    np.exp2: ops.exp2,
    np.expm1: ops.expm1,
    np.log: ops.log,
    np.log2: ops.log2,
    np.log10: ops.log10,
    np.log1p: ops.log1p,
    np.logaddexp: ops.logaddexp,
    np.logaddexp2: ops.logaddexp2,
    np.sin: ops.sin,
    np.cos: ops.cos,
    np.tan: ops.tan,
    np.arcsin: ops.arcsin,
    np.arccos: ops.arccos,
    np.arctan: ops.arctan,
    np.arctan2: ops.arctan2,
    np.sinh: ops.sinh,
    np.cosh: ops.cosh,
    np.tanh: ops.tanh,
    np.arcsinh: ops.arcsinh,
    np.arccosh: ops.arccosh,
    np.arctanh: ops.arctanh,
    np.deg2rad: ops.deg2rad,
    np.radians: ops.deg2rad,
    np.rad2deg: ops.rad2deg,
    np.degrees: ops.rad2deg,
    np.floor: _by_kind(ops.floor, exact=_same),
    np.ceil: _by_kind(ops.ceil, exact=_same),
    np.trunc: _by_kind(ops.trunc, exact=_same),
    np.rint: ops.rint,
    np.isnan: _by_kind(ops.isnan, exact=_never),
    np.isinf: _by_kind(ops.isinf, exact=_never),
    np.isfinite: _by_kind(ops.isfinite, exact=_always),
    np.signbit: ops.signbit,
    np.copysign: ops.copysign,
    np.nextafter: ops.nextafter,
    np.spacing: ops.spacing,
    np.heaviside: ops.heaviside,
    np.ldexp: ops.ldexp,
    np.frexp: lambda x: (ops.frexp_mantissa(x), ops.frexp_exponent(x)),
    np.modf: _modf,
    np.gcd: ops.gcd,
    np.lcm: ops.lcm,
    np.bitwise_and: ops.bitwise_and,
    np.bitwise_or: ops.bitwise_or,
    np.bitwise_xor: ops.bitwise_xor,
    np.bitwise_count: _bitwise_count,
    np.invert: _by_kind(ops.invert, on_bool=ops.logical_not),
    np.left_shift: ops.left_shift,
    np.right_shift: ops.right_shift,
    np.logical_and: _logical(ops.bitwise_and),
    np.logical_or: _logical(ops.bitwise_or),
    np.logical_xor: _logical(ops.bitwise_xor),
    np.logical_not: _logical_not,
    np.equal: _comparison(ops.eq, ops.eq, False, False),
    np.not_equal: _comparison(ops.ne, ops.ne, True, True),
    np.less: _comparison(ops.lt, ops.gt, False, True),
    np.less_equal: _comparison(ops.le, ops.ge, False, True),
    np.greater: _comparison(ops.gt, ops.lt, True, False),
    np.greater_equal: _comparison(ops.ge, ops.le, True, False),
}

COMPARISONS = {np.equal, np.not_equal, np.less, np.less_equal, np.greater, np.greater_equal}
_LOGICAL = {np.logical_and, np.logical_or, np.logical_xor, np.logical_not}

# -- calls -----------------------------------------------------------------------------------------


def call(
    ufunc: np.ufunc,
    *inputs: Any,
    dtype: Any = None,
    casting: str = "same_kind",
    signature: Any = None,
) -> Any:
    """`ufunc(*inputs)`: a tracer, or a tuple of them. All inputs of rank 0 give NumPy scalars.

    Raises:
        DTypeError, IntegerOverflowError, ShapeError: as NumPy's TypeError, OverflowError,
            ValueError.
        UnsupportedDTypeError, UnsupportedFunctionError: for what jitnet does not have.
    """
    operands = [operand(x) for x in inputs]
    if ufunc in COMPARISONS and dtype is None and signature is None:
        exact = _compare_python_int(ufunc, operands)
        if exact is not None:
            return exact
    dtypes = loop_dtypes(ufunc, operands, dtype, casting, signature)
    kernel = KERNELS.get(ufunc)
    if kernel is None:
        raise errors.UnsupportedFunctionError(
            f"{name_of(ufunc)} of traced values",
            why="this version has no such operation",
            remedy="compute it outside of the compiled function and pass the result in",
        )
    values = [_as_loop(ufunc, x, d) for x, d in zip(operands, dtypes)]
    dims = broadcast_dims(*(v.dims for v in values))
    found = kernel(*(spread(v, dims) for v in values))
    outputs = dtypes[ufunc.nin :]
    flavour: Flavour = "array" if dims else "scalar"
    if ufunc.nout == 1:
        return wrap(ops.convert(found, outputs[0]), flavour)
    return tuple(wrap(ops.convert(v, d), flavour) for v, d in zip(found, outputs))


def _as_loop(ufunc: np.ufunc, x: Operand, dtype: DType) -> Value:
    if ufunc in _LOGICAL:
        return truth(x.value) if type(x) is Tracer else Literal(bool(x), T.bool_)
    return as_dtype(x, dtype)


def _compare_python_int(ufunc: np.ufunc, operands: Sequence[Operand]) -> Tracer | None:
    """Comparisons of an integer array with a Python int are exact, whatever the dtype holds."""
    x, y = operands
    if is_python(x):
        if is_python(y):
            return None
        return _compare_python_int(MIRRORED[ufunc], (y, x))
    assert type(x) is Tracer
    if not x.value.dtype.is_integer or not is_python(y) or python_kind(y) is not int:
        return None
    if is_known_int(y):
        assert isinstance(y, int)
        if fits(y, x.value.dtype):
            return None
        truth_value = bool(ufunc(0, 1 if y > 0 else -1))
        return wrap(constant(truth_value, T.bool_, x.value), "array" if x.ndim else "scalar")
    assert type(y) is Tracer
    wide = x.value if x.value.dtype == T.u64 else ops.convert(x.value, T.i64)
    found = KERNELS[ufunc](wide, spread(y.value, x.value.dims))
    return wrap(found, "array" if x.ndim else "scalar")
