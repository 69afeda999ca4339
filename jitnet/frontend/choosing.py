"""NumPy's functions that choose and compare elementwise: where, clip, round, isclose, nan_to_num.

np.where(mask, x, 0)      %0 = select %mask, %x, 0.0
np.clip(x, 0, 1)          maximum, then minimum
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from jitnet import errors, ops
from jitnet.frontend import assigning, elementwise, reductions
from jitnet.frontend.dims import broadcast_dims, filled, same_dims, static_shape
from jitnet.frontend.promotion import (
    Operand,
    as_array,
    as_dtype,
    default_dtype,
    integer_range,
    literal_of,
    operand,
    result_type,
)
from jitnet.frontend.reductions import refuse_out
from jitnet.frontend.taking import nonzero
from jitnet.frontend.tracer import Flavour, Tracer, wrap
from jitnet.ir import DType, Literal, Value
from jitnet.ir import types as T

_UNSET: Any = np._NoValue


def where(condition: Any, x: Any = _UNSET, y: Any = _UNSET, /) -> Any:
    """`np.where`: a choice between x and y; alone, the positions of what is true.

    Raises:
        ValueRefusedError: for one of x and y.
    """
    if x is _UNSET and y is _UNSET:
        return nonzero(condition)
    if x is _UNSET or y is _UNSET:
        raise errors.ValueRefusedError("either both or neither of x and y should be given")
    mask = elementwise.truth(as_array(condition).value)
    a, b = operand(x), operand(y)
    common = result_type(a, b)
    left, right = _cut_to(a, common), _cut_to(b, common)
    dims = broadcast_dims(mask.dims, left.dims, right.dims)
    return wrap(ops.select(filled(mask, dims), filled(left, dims), filled(right, dims)))


def _cut_to(x: Operand, dtype: DType) -> Value:
    """In the dtype of the result. Of Python ints that do not fit, `where` cuts off the high bits,
    until NumPy 2.4; later versions refuse them."""
    if type(x) is int:
        try:
            return Literal(np.where(True, x, np.zeros((), dtype.numpy)), dtype)
        except OverflowError:
            return literal_of(x, dtype)  # says so in our words
    value = x.value if isinstance(x, Tracer) else literal_of(x, default_dtype(x))
    return ops.convert(value, dtype)


def select(condlist: Any, choicelist: Any, default: Any = 0) -> Tracer:
    """`np.select`: for each element the first choice whose condition is true.

    Raises:
        ValueRefusedError: for lists that are empty or of different lengths.
        DTypeError: for conditions that are no bools.
    """
    if len(condlist) != len(choicelist):
        raise errors.ValueRefusedError("list of cases must be same length as list of conditions")
    if len(condlist) == 0:
        raise errors.ValueRefusedError("select with an empty condition list is not possible")
    masks = [as_array(c).value for c in condlist]
    choices = [operand(c) for c in (*choicelist, default)]
    common = result_type(*choices)
    values = [as_dtype(c, common) for c in choices]
    if not all(m.dtype.is_bool for m in masks):
        raise errors.DTypeError("invalid entry in condlist: should be boolean ndarray")
    dims = broadcast_dims(*(v.dims for v in (*masks, *values)))
    found = filled(values[-1], dims)
    for mask, value in zip(reversed(masks), reversed(values[:-1])):
        found = ops.select(filled(mask, dims), filled(value, dims), found)
    return wrap(found)


# -- clip ------------------------------------------------------------------------------------------


def clip(
    a: Any,
    a_min: Any = _UNSET,
    a_max: Any = _UNSET,
    out: Any = None,
    *,
    min: Any = _UNSET,
    max: Any = _UNSET,
    **kwargs: Any,
) -> Any:
    """`np.clip`: into [a_min, a_max]; None leaves a side open.

    Raises:
        DTypeError, ValueRefusedError: for bounds given in two ways, or only one of the first two.
        IntegerOverflowError: for a Python int on the wrong side of all values of a's dtype.
    """
    refuse_out(out)
    low, high = _bounds(a_min, a_max, min, max)
    x = as_array(a)
    if x.value.dtype.is_integer:
        least, most = integer_range(x.value.dtype)
        low = None if type(low) is int and low <= least else _not_beyond(low, least, np.maximum)
        high = None if type(high) is int and high >= most else _not_beyond(high, most, np.minimum)
    if low is None and high is None:
        return elementwise.call(np.positive, x, **kwargs)
    if low is None:
        return elementwise.call(np.minimum, x, high, **kwargs)
    if high is None:
        return elementwise.call(np.maximum, x, low, **kwargs)
    if not x.value.dtype.is_numpy_inexact and x.value.dtype.is_float:
        x = x.astype(np.float32)  # NumPy's loop for both bounds is not one of bfloat16
    return elementwise.call(
        np.minimum, elementwise.call(np.maximum, x, low, **kwargs), high, **kwargs
    )


def _bounds(a_min: Any, a_max: Any, low: Any, high: Any) -> tuple[Any, Any]:
    if a_min is _UNSET and a_max is _UNSET:
        return None if low is _UNSET else low, None if high is _UNSET else high
    if a_min is _UNSET or a_max is _UNSET:
        missing = "a_min" if a_min is _UNSET else "a_max"
        raise errors.DTypeError(f"clip() missing 1 required positional argument: '{missing}'")
    if low is not _UNSET or high is not _UNSET:
        raise errors.ValueRefusedError(
            "Passing `min` or `max` keyword argument when `a_min` and `a_max` are provided is "
            "forbidden."
        )
    return a_min, a_max


def _not_beyond(bound: Any, limit: int, nearer: np.ufunc) -> Any:
    """A traced Python int as a bound, no further than the least or greatest value."""
    if type(bound) is not Tracer or bound.flavour != "python" or abs(limit) >= (1 << 63) - 1:
        return bound
    if not bound.value.dtype.is_integer:
        return bound
    keep = ops.maximum if nearer is np.maximum else ops.minimum
    return wrap(keep(bound.value, limit), "python")


# -- round -----------------------------------------------------------------------------------------


def around(a: Any, decimals: Any = 0, out: Any = None) -> Any:
    """`np.round`: half to even; to decimals by scaling, as NumPy does.

    Raises:
        DTypeError: for bools to decimals.
        UnsupportedDTypeError: for bools, which NumPy rounds to float16.
    """
    refuse_out(out)
    x = as_array(a)
    if x.value.dtype.is_bool and decimals != 0:
        raise errors.DTypeError("Cannot round bools: they do not scale to dtype('bool')")
    if x.value.dtype.is_integer:
        return _rounded_integers(x, decimals)
    if x.value.dtype.is_complex:
        halves = (around(wrap(part(x.value)), decimals).value for part in (ops.real, ops.imag))
        return wrap(ops.complex(*halves), x.flavour)
    if decimals == 0:
        return elementwise.call(np.rint, x)
    scale = float(10 ** abs(decimals))
    up, down = (np.multiply, np.true_divide) if decimals > 0 else (np.true_divide, np.multiply)
    return elementwise.call(down, elementwise.call(np.rint, elementwise.call(up, x, scale)), scale)


def _rounded_integers(x: Tracer, decimals: int) -> Tracer:
    flavour: Flavour = "array" if x.ndim else "scalar"
    if decimals >= 0:
        return wrap(x.value, flavour)
    scale = float(10**-decimals)
    tens = ops.rint(ops.div(ops.convert(x.value, T.f64), scale))
    return wrap(ops.convert(ops.mul(tens, scale), x.value.dtype), flavour)


# -- comparing -------------------------------------------------------------------------------------


def isclose(a: Any, b: Any, rtol: Any = 1e-5, atol: Any = 1e-8, equal_nan: bool = False) -> Any:
    """`np.isclose`: |a - b| <= atol + rtol * |b|."""
    call = elementwise.call
    x, y = operand(a), operand(b)
    if isinstance(y, Tracer):
        y = wrap(as_dtype(y, result_type(y, 1.0)))
    elif not isinstance(y, complex):
        y = float(y)
    x = x if isinstance(x, Tracer) or isinstance(y, Tracer) else as_array(x)
    apart = call(np.absolute, call(np.subtract, x, y))
    allowed = call(np.add, atol, call(np.multiply, rtol, call(np.absolute, y)))
    near = call(np.bitwise_and, call(np.less_equal, apart, allowed), call(np.isfinite, y))
    found = call(np.bitwise_or, near, call(np.equal, x, y))
    if not equal_nan:
        return found
    return call(np.bitwise_or, found, call(np.bitwise_and, call(np.isnan, x), call(np.isnan, y)))


def allclose(a: Any, b: Any, rtol: Any = 1e-5, atol: Any = 1e-8, equal_nan: bool = False) -> Tracer:
    """`np.allclose`: a Python bool."""
    return wrap(reductions.all(isclose(a, b, rtol, atol, equal_nan)).value, "python")


def array_equal(a1: Any, a2: Any, equal_nan: bool = False) -> Any:
    """`np.array_equal`: a Python bool. Shapes are compared while tracing."""
    x, y = as_array(a1), as_array(a2)
    shapes_known_equal = same_dims(x.value.dims, y.value.dims)
    if not shapes_known_equal and _shape(x) != _shape(y):
        return False
    same = elementwise.call(np.equal, x, y)
    if equal_nan:
        both = [elementwise.call(np.isnan, v) for v in (x, y)]
        same = elementwise.call(np.bitwise_or, same, elementwise.call(np.bitwise_and, *both))
    return wrap(reductions.all(same).value, "python")


def _shape(x: Tracer) -> tuple[int, ...]:
    return static_shape(x, "np.array_equal")


def array_equiv(a1: Any, a2: Any) -> Any:
    """`np.array_equiv`: whether arrays are equal once they are broadcast, a Python bool."""
    try:
        same = elementwise.call(np.equal, as_array(a1), as_array(a2))
    except errors.ShapeError:
        return False
    return wrap(reductions.all(same).value, "python")


def nan_to_num(
    x: Any, copy: bool = True, nan: Any = 0.0, posinf: Any = None, neginf: Any = None
) -> Tracer:
    """`np.nan_to_num`. With copy=False an array is changed, and returned."""
    if not copy and type(x) is Tracer and x.flavour == "array":
        assigning.replace(x, nan_to_num(x, True, nan, posinf, neginf).value)
        return x
    value = as_array(x).value
    if value.dtype.is_complex:
        options = {"nan": nan, "posinf": posinf, "neginf": neginf}
        halves = (nan_to_num(wrap(part(value)), **options).value for part in (ops.real, ops.imag))
        value = ops.complex(*halves)
    if value.dtype.is_float and value.dtype.is_numpy_inexact:
        info = np.finfo(value.dtype.numpy.name)
        high = float(info.max) if posinf is None else posinf
        low = float(info.min) if neginf is None else neginf
        masks = (ops.isnan(value), ops.eq(value, np.inf), ops.eq(value, -np.inf))
        for mask, other in zip(masks, (nan, high, low)):
            replacement = filled(ops.convert(as_array(other).value, value.dtype), value.dims)
            value = ops.select(mask, replacement, value)
    return wrap(value, "array" if value.rank else "scalar")


TABLE: dict[Any, Callable[..., Any]] = {
    np.where: where,
    np.select: select,
    np.clip: clip,
    np.round: around,
    np.around: around,
    np.isclose: isclose,
    np.allclose: allclose,
    np.array_equal: array_equal,
    np.array_equiv: array_equiv,
    np.nan_to_num: nan_to_num,
}
