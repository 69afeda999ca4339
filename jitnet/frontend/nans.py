"""Reductions that leave out NaN: nansum, nanmean, nanvar, nanmax and the like.

np.nansum(x)     %0 = isnan %x;  %1 = select %0, 0.0, %x;  %2 = reduce_sum %1
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from jitnet import errors, ops
from jitnet.frontend import elementwise, reductions
from jitnet.frontend.choosing import where as choose
from jitnet.frontend.dims import spread
from jitnet.frontend.promotion import as_array
from jitnet.frontend.reductions import refuse_out
from jitnet.frontend.tracer import Tracer, wrap

_UNSET: Any = np._NoValue


def _replaced(a: Any, filler: float) -> Tracer:
    x = as_array(a)
    if not x.value.dtype.is_inexact:
        return x
    return wrap(ops.select(ops.isnan(x.value), filler, x.value), x.flavour)


def _without_nan(fold: Callable[..., Any], filler: float) -> Callable[..., Any]:
    """A reduction or running total of what is not NaN, for which `filler` counts nothing."""

    def reduce(a: Any, *args: Any, **kwargs: Any) -> Any:
        x = as_array(a)
        x = _replaced(x, filler) if x.value.dtype.is_numpy_inexact else x
        return fold(x, *args, **kwargs)

    return reduce


def _extremum(fold: Callable[..., Any], filler: float) -> Callable[..., Any]:
    """The largest or smallest element that is not NaN; NaN where there is no other."""

    def reduce(
        a: Any,
        axis: Any = None,
        out: Any = None,
        keepdims: Any = _UNSET,
        initial: Any = _UNSET,
        where: Any = _UNSET,
    ) -> Any:
        refuse_out(out)
        x = as_array(a)
        found = fold(_replaced(x, filler), axis, None, keepdims, initial, where)
        if not x.value.dtype.is_inexact or initial is not _UNSET:
            return found
        missing = reductions.all(elementwise.call(np.isnan, x), axis, None, keepdims)
        nan = x.dtype.type(np.nan)
        return wrap(choose(missing, nan, found).value, found.flavour)

    return reduce


def _position(find: Callable[..., Any], filler: float) -> Callable[..., Any]:
    def reduce(a: Any, axis: Any = None, out: Any = None, *, keepdims: Any = _UNSET) -> Any:
        refuse_out(out)
        x = as_array(a)
        if x.value.dtype.is_inexact:
            some = reductions.any(~elementwise.call(np.isnan, x), axis)
            ops.check(reductions.all(some).value, [], "ValueError", "All-NaN slice encountered")
        return find(_replaced(x, filler), axis, keepdims=keepdims)

    return reduce


def _counted(x: Tracer, where: Any) -> Tracer:
    """Which elements take part: those that are not NaN, and that `where` does not leave out."""
    kept = ~elementwise.call(np.isnan, x)
    if where is _UNSET or where is True:
        return wrap(kept.value)
    return wrap(ops.bitwise_and(kept.value, spread(as_array(where).value, x.value.dims)))


def nanmean(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: Any = _UNSET,
    *,
    where: Any = _UNSET,
) -> Any:
    """`np.nanmean`."""
    refuse_out(out)
    x = as_array(a)
    if x.value.dtype.is_numpy_inexact:
        where = _counted(x, where)
        _refuse_exact(dtype)
    return reductions.mean(x, axis, dtype, None, keepdims, where=where)


def nanvar(
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
) -> Any:
    """`np.nanvar`; NaN where no degree of freedom is left."""
    refuse_out(out)
    x = as_array(a)
    options = {"mean": mean, "correction": correction}
    if not x.value.dtype.is_numpy_inexact:
        return reductions.var(x, axis, dtype, None, ddof, keepdims, where=where, **options)
    _refuse_exact(dtype)
    kept = _counted(x, where)
    clean = _replaced(x, 0.0)
    found = reductions.var(clean, axis, dtype, None, ddof, keepdims, where=kept, **options)
    spare = ddof if correction is _UNSET else correction
    counted = reductions.sum(kept, axis, np.int64, keepdims=keepdims)
    missing = elementwise.call(np.less_equal, counted, spare)
    return wrap(choose(missing, found.dtype.type(np.nan), found).value, found.flavour)


def nanstd(*args: Any, **kwargs: Any) -> Any:
    """`np.nanstd`: the root of `np.nanvar`."""
    return elementwise.call(np.sqrt, nanvar(*args, **kwargs))


def _refuse_exact(dtype: Any) -> None:
    if dtype is not None and np.dtype(dtype).kind not in "fc":
        raise errors.DTypeError("If a is inexact, then dtype must be inexact")


TABLE: dict[Any, Callable[..., Any]] = {
    np.nansum: _without_nan(reductions.sum, 0.0),
    np.nanprod: _without_nan(reductions.prod, 1.0),
    np.nancumsum: _without_nan(reductions.cumsum, 0.0),
    np.nancumprod: _without_nan(reductions.cumprod, 1.0),
    np.nanmax: _extremum(reductions.max, -np.inf),
    np.nanmin: _extremum(reductions.min, np.inf),
    np.nanargmax: _position(reductions.argmax, -np.inf),
    np.nanargmin: _position(reductions.argmin, np.inf),
    np.nanmean: nanmean,
    np.nanvar: nanvar,
    np.nanstd: nanstd,
}
