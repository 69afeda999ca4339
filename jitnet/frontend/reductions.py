"""Reductions with NumPy's dtypes, axes and edge cases.

np.mean(x, axis=1, keepdims=True)     x: f32[2, 3]
  %0 = reduce_sum %x {axes=(1,)}
  %1 = reshape %0, 2, 1
  %2 = div %1, 3.0
"""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Any

import numpy as np

from jitnet import errors, ops
from jitnet.frontend import elementwise
from jitnet.frontend.dims import (
    count,
    filled,
    normal_axes,
    normal_axis,
    number,
    reduced_axes,
    retag,
    spread,
)
from jitnet.frontend.promotion import as_array, as_dtype, integer_range, operand
from jitnet.frontend.tracer import Tracer, supported_dtype, wrap
from jitnet.ir import DType, Literal, Value
from jitnet.ir import types as T
from jitnet.ops.reduce import highest, lowest

_UNSET: Any = np._NoValue

Fold = Callable[[Value, tuple[int, ...]], Value]


def refuse_out(out: Any) -> None:
    """Results are new arrays: writing to `out` is not there yet."""
    if (
        out is None
        or out is _UNSET
        or (isinstance(out, tuple) and builtins.all(o is None for o in out))
    ):
        return
    raise errors.UnsupportedFunctionError(
        "out= with traced values",
        why="this version does not write to arrays in place",
        remedy="use the result: x = np.add(x, y)",
    )


def _finish(value: Value, x: Value, axes: tuple[int, ...], keepdims: Any) -> Tracer:
    if keepdims is not _UNSET and keepdims:
        kept = tuple(1 if i in axes else d for i, d in enumerate(x.dims))
        return wrap(ops.reshape(value, kept), "array" if x.rank else "scalar")
    return wrap(value, "array" if value.rank else "scalar")


def _masked(x: Value, where: Any, filler: Literal) -> Value:
    """x with the identity in place of what `where` leaves out."""
    if where is _UNSET or where is True:
        return x
    mask = as_array(where).value
    if not mask.dtype.is_bool:
        raise errors.DTypeError("where= must be an array of bools")
    return ops.select(spread(mask, x.dims), x, filler)


def _with_initial(fold: np.ufunc, result: Tracer, initial: Any) -> Tracer:
    if initial is _UNSET or initial is None:
        return result
    start = wrap(as_dtype(operand(initial), result.value.dtype))
    combined: Tracer = elementwise.call(fold, start, result)
    return wrap(combined.value, "array" if combined.value.rank else "scalar")


def _sum_dtype(dtype: DType) -> DType:
    """Sums and products of bools and small integers are made in NumPy's default integer."""
    if dtype.kind == "b" or (dtype.kind == "i" and dtype.bits < 64):
        return T.i64
    return T.u64 if dtype.kind == "u" else dtype


def _accumulate_dtype(x: Value, dtype: Any) -> DType:
    return _sum_dtype(x.dtype) if dtype is None else supported_dtype(np.dtype(dtype), "dtype=")


def sum(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: Any = _UNSET,
    initial: Any = _UNSET,
    where: Any = _UNSET,
) -> Tracer:
    """`np.sum`."""
    refuse_out(out)
    x = as_array(a).value
    x = ops.convert(x, _accumulate_dtype(x, dtype))
    fold, add = (ops.reduce_any, np.logical_or) if x.dtype.is_bool else (ops.reduce_sum, np.add)
    return _folded(x, axis, keepdims, initial, where, Literal(0, x.dtype), fold, add)


def prod(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: Any = _UNSET,
    initial: Any = _UNSET,
    where: Any = _UNSET,
) -> Tracer:
    """`np.prod`."""
    refuse_out(out)
    x = as_array(a).value
    x = ops.convert(x, _accumulate_dtype(x, dtype))
    of_bools, of_numbers = (ops.reduce_all, np.logical_and), (ops.reduce_prod, np.multiply)
    fold, multiply = of_bools if x.dtype.is_bool else of_numbers
    return _folded(x, axis, keepdims, initial, where, Literal(1, x.dtype), fold, multiply)


def _folded(
    x: Value,
    axis: Any,
    keepdims: Any,
    initial: Any,
    where: Any,
    unit: Literal,
    fold: Fold,
    more: np.ufunc,
) -> Tracer:
    """What `fold` makes of x, `unit` where it is masked, and `more` of that and of `initial`."""
    axes = reduced_axes(axis, x.rank)
    folded = fold(_masked(x, where, unit), axes)
    return _with_initial(more, _finish(folded, x, axes, keepdims), initial)


def _extremum(a: Any, axis: Any, keepdims: Any, initial: Any, where: Any, name: str) -> Tracer:
    x = as_array(a).value
    axes = reduced_axes(axis, x.rank)
    ufunc = np.maximum if name == "maximum" else np.minimum
    if initial is _UNSET:
        if where is not _UNSET and where is not True:
            raise errors.ValueRefusedError(
                f"reduction operation '{name}' does not have an identity, "
                "so to use a where mask one has to specify 'initial'"
            )
        _refuse_empty(
            x, axes, f"zero-size array to reduction operation {name} which has no identity"
        )
    if x.dtype.is_bool:
        fold: Fold = ops.reduce_any if name == "maximum" else ops.reduce_all
        filler = Literal(name != "maximum", T.bool_)
    else:
        fold = ops.reduce_max if name == "maximum" else ops.reduce_min
        filler = Literal(_lowest(x.dtype) if name == "maximum" else _highest(x.dtype), x.dtype)
    folded = fold(_masked(x, where, filler), axes)
    return _with_initial(ufunc, _finish(folded, x, axes, keepdims), initial)


def _refuse_empty(x: Value, axes: tuple[int, ...], message: str) -> None:
    if builtins.any(x.dims[i] == 0 for i in axes) and not builtins.any(
        d == 0 for i, d in enumerate(x.dims) if i not in axes
    ):
        raise errors.ValueRefusedError(message)
    for i in axes:
        d = x.dims[i]
        if not isinstance(d, int):
            ops.check(ops.gt(d, 0), [], "ValueError", message)


def _lowest(dtype: DType) -> Any:
    return lowest(dtype) if dtype.is_inexact else integer_range(dtype)[0]


def _highest(dtype: DType) -> Any:
    return highest(dtype) if dtype.is_inexact else integer_range(dtype)[1]


def max(
    a: Any,
    axis: Any = None,
    out: Any = None,
    keepdims: Any = _UNSET,
    initial: Any = _UNSET,
    where: Any = _UNSET,
) -> Tracer:
    """`np.max`."""
    refuse_out(out)
    return _extremum(a, axis, keepdims, initial, where, "maximum")


def min(
    a: Any,
    axis: Any = None,
    out: Any = None,
    keepdims: Any = _UNSET,
    initial: Any = _UNSET,
    where: Any = _UNSET,
) -> Tracer:
    """`np.min`."""
    refuse_out(out)
    return _extremum(a, axis, keepdims, initial, where, "minimum")


def any(
    a: Any, axis: Any = None, out: Any = None, keepdims: Any = _UNSET, *, where: Any = _UNSET
) -> Tracer:
    """`np.any`."""
    refuse_out(out)
    x = elementwise.truth(as_array(a).value)
    axes = reduced_axes(axis, x.rank)
    folded = ops.reduce_any(_masked(x, where, Literal(False, T.bool_)), axes)
    return _finish(folded, x, axes, keepdims)


def all(
    a: Any, axis: Any = None, out: Any = None, keepdims: Any = _UNSET, *, where: Any = _UNSET
) -> Tracer:
    """`np.all`."""
    refuse_out(out)
    x = elementwise.truth(as_array(a).value)
    axes = reduced_axes(axis, x.rank)
    folded = ops.reduce_all(_masked(x, where, Literal(True, T.bool_)), axes)
    return _finish(folded, x, axes, keepdims)


# -- moments ---------------------------------------------------------------------------------------


def _terms(x: Value, axes: tuple[int, ...], where: Any) -> Any:
    """How many elements a mean is over: a Python int, known or traced, or an array of counts."""
    if where is _UNSET or where is True:
        return number(count([x.dims[i] for i in axes]))
    mask = wrap(spread(as_array(where).value, x.dims))
    return sum(mask, axis=axes, dtype=np.int64)


def _mean_axes(axis: Any, rank: int) -> tuple[int, ...]:
    """As `reduced_axes`, but a 0-d array has no axis 0 here."""
    if rank == 0 and axis is not None:
        normal_axes(axis, rank)
    return reduced_axes(axis, rank)


def _mean_dtype(x: Value, dtype: Any) -> DType:
    if dtype is not None:
        return supported_dtype(np.dtype(dtype), "dtype=")
    return x.dtype if x.dtype.is_inexact else T.f64


def mean(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: Any = _UNSET,
    *,
    where: Any = _UNSET,
) -> Tracer:
    """`np.mean`."""
    refuse_out(out)
    x = as_array(a).value
    axes = _mean_axes(axis, x.rank)
    terms = _terms(x, axes, where)
    if dtype is None and x.dtype.is_half:
        found = _mean_of_halves(x, axes, terms, where)
    else:
        total = sum(wrap(x), axis=axes, dtype=_mean_dtype(x, dtype).numpy, where=where)
        found = _divide(total, terms)
    return _shaped(found, x, axes, keepdims)


def _mean_of_halves(x: Value, axes: tuple[int, ...], terms: Any, where: Any) -> Value:
    """From sums in float32, which NumPy divides in float64; arrays of them are float32 again."""
    total = sum(wrap(x), axis=axes, dtype=np.float32, where=where)
    quotient = _divide(wrap(ops.convert(total.value, T.f64)), terms)
    return ops.convert(ops.convert(quotient, T.f32) if quotient.rank else quotient, x.dtype)


def _divide(total: Tracer, terms: Any) -> Value:
    """`total / terms` in the dtype of the total."""
    n = as_array(terms).value if isinstance(terms, Tracer) else None
    x = total.value
    if x.dtype.is_half:
        return ops.convert(_divide(wrap(ops.convert(x, T.f64)), terms), x.dtype)
    if n is None:
        return ops.div(x, Literal(terms, x.dtype)) if x.dtype.is_inexact else _whole(x, terms)
    return ops.div(x, spread(ops.convert(n, x.dtype), x.dims))


def _whole(x: Value, terms: int) -> Value:
    return ops.convert(ops.div(ops.convert(x, T.f64), float(terms)), x.dtype)


def _shaped(value: Value, x: Value, axes: tuple[int, ...], keepdims: Any) -> Tracer:
    """A reduced result, with unit axes where the user wants them."""
    if keepdims is not _UNSET and keepdims:
        return wrap(_with_units(value, x, axes), "array" if x.rank else "scalar")
    return wrap(value, "array" if value.rank else "scalar")


def _with_units(value: Value, x: Value, axes: tuple[int, ...]) -> Value:
    return ops.reshape(value, tuple(1 if i in axes else d for i, d in enumerate(x.dims)))


def var(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    ddof: Any = 0,
    keepdims: Any = _UNSET,
    *,
    where: Any = _UNSET,
    mean: Any = _UNSET,
    correction: Any = _UNSET,
) -> Tracer:
    """`np.var`: the mean of squared distances from the mean."""
    refuse_out(out)
    x = as_array(a).value
    axes = _mean_axes(axis, x.rank)
    if correction is not _UNSET:
        if not isinstance(ddof, Tracer) and ddof != 0:
            raise errors.ValueRefusedError("ddof and correction can't be provided simultaneously.")
        ddof = correction
    wide = ops.convert(x, _mean_dtype(x, dtype))
    if mean is _UNSET:
        total = sum(wrap(wide), axis=axes, where=where)
        centre = _with_units(_divide(total, _terms(x, axes, where)), x, axes)
    else:
        centre = as_dtype(as_array(mean), wide.dtype)
    apart = ops.sub(wide, spread(centre, wide.dims))
    squares = sum(wrap(elementwise.squared_size(apart)), axis=axes, where=where)
    terms = _terms(x, axes, where)
    left = (
        elementwise.call(np.maximum, elementwise.call(np.subtract, terms, ddof), 0)
        if isinstance(terms, Tracer) or isinstance(ddof, Tracer)
        else builtins.max(terms - ddof, 0)
    )
    return _shaped(_divide(squares, left), x, axes, keepdims)


def std(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    ddof: Any = 0,
    keepdims: Any = _UNSET,
    *,
    where: Any = _UNSET,
    mean: Any = _UNSET,
    correction: Any = _UNSET,
) -> Tracer:
    """`np.std`: the root of `np.var`."""
    found = var(a, axis, dtype, out, ddof, keepdims, where=where, mean=mean, correction=correction)
    return wrap(ops.sqrt(found.value), found.flavour)


# -- positions and running totals ------------------------------------------------------------------


def _position(a: Any, axis: Any, keepdims: Any, find: Callable[[Value, int], Value]) -> Tracer:
    x = as_array(a).value
    flat = axis is None
    rank = x.rank
    if flat or not rank:
        x = ops.reshape(x, (count(x.dims),))
    along = 0 if flat else normal_axis(axis, x.rank)
    _refuse_empty(x, (along,), "attempt to get the extreme position of an empty sequence")
    found = find(x, along)
    if keepdims is not _UNSET and keepdims:
        dims = (1,) * rank if flat or not rank else (*x.dims[:along], 1, *x.dims[along + 1 :])
        found = ops.reshape(found, dims)
    return wrap(found, "array" if found.rank else "scalar")


def argmax(a: Any, axis: Any = None, out: Any = None, *, keepdims: Any = _UNSET) -> Tracer:
    """`np.argmax`."""
    refuse_out(out)
    return _position(a, axis, keepdims, ops.argmax)


def argmin(a: Any, axis: Any = None, out: Any = None, *, keepdims: Any = _UNSET) -> Tracer:
    """`np.argmin`."""
    refuse_out(out)
    return _position(a, axis, keepdims, ops.argmin)


def _running(a: Any, axis: Any, dtype: Any, scan: Callable[[Value, int], Value]) -> Tracer:
    x = as_array(a).value
    if axis is None:
        x = ops.reshape(x, (count(x.dims),))
        axis = 0
    elif x.rank == 0:
        x = ops.reshape(x, (1,))
    along = normal_axis(axis, x.rank)
    return wrap(scan(ops.convert(x, _accumulate_dtype(x, dtype)), along))


def cumsum(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Tracer:
    """`np.cumsum`."""
    refuse_out(out)
    return _running(a, axis, dtype, ops.cumsum)


def cumprod(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Tracer:
    """`np.cumprod`."""
    refuse_out(out)
    return _running(a, axis, dtype, ops.cumprod)


# -- made of these ---------------------------------------------------------------------------------


def ptp(a: Any, axis: Any = None, out: Any = None, keepdims: Any = _UNSET) -> Tracer:
    """`np.ptp`: from the smallest to the largest."""
    high, low = max(a, axis, out, keepdims), min(a, axis, out, keepdims)
    found: Tracer = elementwise.call(np.subtract, high, low)
    return found


def count_nonzero(a: Any, axis: Any = None, *, keepdims: Any = False) -> Tracer:
    """`np.count_nonzero`."""
    x = wrap(elementwise.truth(as_array(a).value))
    return sum(x, axis, np.int64, keepdims=keepdims)


def average(
    a: Any, axis: Any = None, weights: Any = None, returned: bool = False, *, keepdims: Any = _UNSET
) -> Any:
    """`np.average`, with weights of a's shape."""
    x = as_array(a)
    if weights is None:
        found = mean(x, axis, keepdims=keepdims)
        axes = reduced_axes(axis, x.ndim)
        terms = as_dtype(operand(number(count([x.value.dims[i] for i in axes]))), found.value.dtype)
        return (found, _spread_like(terms, found)) if returned else found
    w = as_array(weights)
    if x.shape != w.shape and axis is None:
        raise errors.DTypeError("Axis must be specified when shapes of a and weights differ.")
    if x.shape != w.shape:
        along = normal_axis(axis, x.ndim)
        dims = tuple(d if i == along else 1 for i, d in enumerate(x.value.dims))
        w = wrap(retag(ops.reshape(w.value, dims), dims))
    scale = sum(wrap(spread(w.value, x.value.dims)), axis, keepdims=keepdims)
    total = sum(elementwise.call(np.multiply, x, w), axis, keepdims=keepdims)
    found = elementwise.call(np.true_divide, total, scale)
    return (found, _spread_like(scale.value, found)) if returned else found


def _spread_like(value: Value, found: Tracer) -> Tracer:
    return wrap(filled(value, found.value.dims), found.flavour)


TABLE: dict[Any, Callable[..., Any]] = {
    np.sum: sum,
    np.prod: prod,
    np.max: max,
    np.min: min,
    np.any: any,
    np.all: all,
    np.mean: mean,
    np.var: var,
    np.std: std,
    np.argmax: argmax,
    np.argmin: argmin,
    np.cumsum: cumsum,
    np.cumprod: cumprod,
    np.ptp: ptp,
    np.count_nonzero: count_nonzero,
    np.average: average,
}

BY_UFUNC: dict[np.ufunc, Callable[..., Any]] = {
    np.add: sum,
    np.multiply: prod,
    np.maximum: max,
    np.minimum: min,
    np.logical_and: all,
    np.logical_or: any,
}
"""`ufunc.reduce`, which reduces axis 0 where none is named."""
