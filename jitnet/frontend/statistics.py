"""NumPy's order statistics: median, quantile, percentile, and the same without NaN.

np.median(x, axis=1)     %0 = sort %x {axis=1}; the middle one of each row, or the mean of two

The rows are sorted, and elements are taken at positions. What is known of the positions, because
the extent and the quantiles are, is computed while tracing; NumPy's formulas serve for both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from jitnet import errors, ops
from jitnet.frontend import nans, reductions
from jitnet.frontend.dims import count, normal_axes, number, same_dims
from jitnet.frontend.either import either, is_traced, value_of
from jitnet.frontend.promotion import as_array
from jitnet.frontend.reductions import refuse_out
from jitnet.frontend.tracer import Tracer, wrap
from jitnet.ir import Dim, Literal, Value
from jitnet.ir import types as T

_UNSET: Any = np._NoValue

# -- rows ------------------------------------------------------------------------------------------


class _Rows(NamedTuple):
    """The elements along the reduced axes, sorted, on the last axis.

    Attributes:
        source: the array that they are of.
        axes: the reduced axes.
        value: of the other axes of the source, then that of the elements.
    """

    source: Value
    axes: tuple[int, ...]
    value: Value

    @property
    def extent(self) -> Any:
        """How many elements a row has: a Python int, known or traced."""
        return number(self.value.dims[-1])

    @property
    def outer(self) -> tuple[Dim, ...]:
        return self.value.dims[:-1]

    def at(self, positions: Any, leads: int) -> Tracer:
        """The elements at positions, which are in bounds. They are the same ones for all rows, or
        differ: then their dims are `leads` ones of their own, and those of the rows."""
        value = value_of(positions)
        if value.rank == leads:
            return wrap(ops.gather(self.value, [value], (self.value.rank - 1,)))
        dims = (*value.dims[:leads], *self.outer)
        if not same_dims(value.dims, dims):
            value = ops.broadcast_to(value, dims)
        own = [ops.iota(dims, leads + i) for i in range(len(self.outer))]
        return wrap(ops.gather(self.value, [*own, value], range(self.value.rank)))

    def finished(self, found: Any, leads: int, keepdims: Any) -> Tracer:
        """A result with `leads` axes in front of those of the rows, as NumPy shapes it."""
        value = value_of(found)
        if keepdims is not _UNSET and keepdims:
            kept = [1 if i in self.axes else d for i, d in enumerate(self.source.dims)]
            value = ops.reshape(value, (*value.dims[:leads], *kept))
        return wrap(value, "array" if value.rank else "scalar")


def _sorted_rows(a: Any, axis: Any) -> _Rows:
    x = as_array(a).value
    if x.dtype.is_complex:
        raise errors.DTypeError("a must be an array of real numbers")
    axes = tuple(range(x.rank)) if axis is None else normal_axes(axis, x.rank)
    kept = [i for i in range(x.rank) if i not in axes]
    merged = (*(x.dims[i] for i in kept), count([x.dims[i] for i in axes]))
    rows = ops.reshape(ops.transpose(x, (*kept, *axes)), merged)
    return _Rows(x, axes, ops.sort(rows, len(kept)))


def _numbers_in(rows: _Rows) -> Tracer:
    """How many elements of each row are not NaN."""
    there = ops.logical_not(ops.isnan(rows.value))
    return wrap(ops.reduce_sum(ops.convert(there, T.i64), (rows.value.rank - 1,)))


# -- median ----------------------------------------------------------------------------------------


def median(
    a: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False, keepdims: Any = False
) -> Tracer:
    """`np.median`: NaN where there is one, or no element."""
    refuse_out(out)
    rows = _sorted_rows(a, axis)
    n, leads = rows.extent, 0
    if type(n) is int and n == 0:
        return rows.finished(reductions.mean(wrap(rows.value), -1), 0, keepdims)
    if type(n) is Tracer:
        rows = _with_room(rows)
    middle = _middle(rows, n)
    if rows.value.dtype.is_float:
        last = rows.at(either(np.maximum, n - 1, 0), leads)
        middle = either(np.where, either(np.isnan, last), last, middle)
    if type(n) is Tracer:
        middle = either(np.where, n == 0, middle.dtype.type(np.nan), middle)
    return rows.finished(middle, leads, keepdims)


def _with_room(rows: _Rows) -> _Rows:
    """Rows that may turn out to be empty get an element behind their last."""
    rank = rows.value.rank
    nothing = Literal(np.nan if rows.value.dtype.is_float else 0, rows.value.dtype)
    wide = ops.pad(rows.value, nothing, (0,) * rank, (*(0,) * (rank - 1), 1))
    return rows._replace(value=wide)


def nanmedian(
    a: Any,
    axis: Any = None,
    out: Any = None,
    overwrite_input: bool = False,
    keepdims: Any = _UNSET,
) -> Tracer:
    """`np.nanmedian`: NaN where there is nothing else."""
    refuse_out(out)
    x = as_array(a)
    if not x.value.dtype.is_float:
        return median(x, axis, keepdims=keepdims)
    if 0 in x.value.dims:
        empty: Tracer = nans.nanmean(x, axis, keepdims=keepdims)
        return empty
    rows = _sorted_rows(x, axis)
    n = _numbers_in(rows)
    rows = _with_room(rows) if type(rows.extent) is Tracer else rows
    return rows.finished(_middle(rows, n), 0, keepdims)


def _middle(rows: _Rows, n: Any) -> Any:
    """The median of the first n elements of each row: n is a number, or one for each row."""
    low, high = (n - 1) // 2, n // 2
    if type(n) is Tracer:
        low = either(np.maximum, low, 0)
    left, right = (_as_floats(rows.at(k, 0)) for k in (low, high))
    return (
        left
        if type(n) is int and low == high
        else either(np.where, low == high, left, (left + right) / 2)
    )


def _as_floats(x: Tracer) -> Any:
    return x if x.value.dtype.is_float else x.astype(np.float64)


# -- quantiles -------------------------------------------------------------------------------------

_OFFSETS = {
    "interpolated_inverted_cdf": (0.0, 1.0),
    "hazen": (0.5, 0.5),
    "weibull": (0.0, 0.0),
    "median_unbiased": (1 / 3.0, 1 / 3.0),
    "normal_unbiased": (3 / 8.0, 3 / 8.0),
}
"""alpha and beta of the continuous methods of Hyndman and Fan."""


def _between(n: Any, q: Any, alpha: float, beta: float) -> Any:
    return n * q + (alpha + q * (1 - alpha - beta)) - 1


def _up_unless(index: Any, stays: Callable[[Any, Any], Any]) -> Any:
    """The whole position below, where `stays(fraction, index)` holds, and else the next one."""
    below = either(np.floor, index)
    found = either(np.where, stays(index - below, index), below, below + 1)
    return found.astype(np.intp)


def _closest(fraction: Any, index: Any) -> Any:
    return (fraction == 0) & (either(np.floor, index) % 2 == 1)


_WHOLE: dict[str, Callable[[Any, Any], Any]] = {
    "inverted_cdf": lambda n, q: _up_unless(n * q - 1, lambda fraction, _: fraction == 0),
    "closest_observation": lambda n, q: _up_unless(n * q - 1 - 0.5, _closest),
    "lower": lambda n, q: either(np.floor, (n - 1) * q).astype(np.intp),
    "higher": lambda n, q: either(np.ceil, (n - 1) * q).astype(np.intp),
    "nearest": lambda n, q: either(np.rint, (n - 1) * q).astype(np.intp),
}
"""Methods that take an element, by its position for n elements and the quantile q."""

_FRACTIONAL: dict[str, Callable[[Any, Any], Any]] = {
    "linear": lambda n, q: (n - 1) * q,
    "averaged_inverted_cdf": lambda n, q: n * q - 1,
    "midpoint": lambda n, q: 0.5 * (either(np.floor, (n - 1) * q) + either(np.ceil, (n - 1) * q)),
    **{
        name: lambda n, q, ab=offsets: _between(n, q, *ab)  # type: ignore[misc]
        for name, offsets in _OFFSETS.items()
    },
}
"""Methods that go between two elements, by a position with a fraction."""


def _fraction(method: str, index: Any, below: Any) -> Any:
    """How far to go from one element to the next."""
    fraction = index - below
    if method == "averaged_inverted_cdf":
        return either(np.where, fraction == 0, 0.5, 1.0)
    if method == "midpoint":
        return either(np.where, index % 1 == 0, 0.0, 0.5)
    return fraction


def _quantiles(name: str, share: int, skips_nan: bool) -> Callable[..., Tracer]:
    """`np.quantile` and the like: the whole is 1 or 100."""

    def quantile(
        a: Any,
        q: Any,
        axis: Any = None,
        out: Any = None,
        overwrite_input: bool = False,
        method: str = "linear",
        keepdims: Any = False,
        *,
        weights: Any = None,
    ) -> Tracer:
        refuse_out(out)
        if weights is not None:
            raise errors.UnsupportedFunctionError(
                f"np.{name} with weights", remedy="sort, and search in the weights' running sum"
            )
        if method not in _WHOLE and method not in _FRACTIONAL:
            raise errors.ValueRefusedError(f"{method!r} is not a valid method.")
        weak = type(q) in (int, float) or (type(q) is Tracer and q.flavour == "python")
        shares = as_array(q) if is_traced(q) else np.asarray(q)
        shares = shares if share == 1 else either(np.true_divide, shares, share)
        _require_shares(shares, name, share)
        x = as_array(a)
        if skips_nan and 0 in x.value.dims:
            empty: Tracer = nans.nanmean(x, axis, keepdims=keepdims)
            return empty
        rows = _sorted_rows(x, axis)
        found = _quantile(rows, shares, method, weak, skips_nan)
        return rows.finished(found, shares.ndim, keepdims)

    return quantile


def _require_shares(q: Any, name: str, share: int) -> None:
    if q.ndim > 2:
        raise errors.ValueRefusedError("q must be a scalar or 1d")
    what = "Quantiles" if share == 1 else "Percentiles"
    message = f"{what} must be in the range [0, {share}]"
    if type(q) is not Tracer:
        if not np.all((q >= 0) & (q <= 1)):
            raise errors.ValueRefusedError(message)
        return
    ops.check(either(np.all, (q >= 0) & (q <= 1)).value, [], "ValueError", message)


def _quantile(rows: _Rows, q: Any, method: str, weak: bool, skips_nan: bool) -> Any:
    leads = q.ndim
    has_nans = rows.value.dtype.is_float
    n: Any = rows.extent
    if skips_nan and has_nans:
        n = _numbers_in(rows)
        rows = _with_room(rows) if type(rows.extent) is Tracer else rows
        n = n.astype(q.dtype) if q.dtype.kind == "f" else n
        q = q.reshape(q.shape + (1,) * len(rows.outer))
    else:
        _require_elements(n)
    if method in _WHOLE:
        place = either(np.maximum, _WHOLE[method](n, q), 0)  # a row may have no numbers
        found = rows.at(place, leads)
    else:
        index = _FRACTIONAL[method](n, q)
        whole = method == "linear" and index.dtype.kind in "iu"
        found = (
            rows.at(index, leads) if whole else _interpolated(rows, index, n, method, leads, weak)
        )
    if not has_nans or skips_nan:
        return found
    last = rows.at(rows.extent - 1, 0)
    return either(np.where, either(np.isnan, last), last, found)


def _require_elements(n: Any) -> None:
    message = "index -1 is out of bounds for axis 0 with size 0"
    if type(n) is Tracer:
        ops.check((n > 0).value, [], "IndexError", message)
    elif n == 0:
        raise errors.IndexingError(message)


def _interpolated(rows: _Rows, index: Any, n: Any, method: str, leads: int, weak: bool) -> Any:
    below = either(np.floor, index)
    above = below + 1
    last = either(np.maximum, n - 1, 0)
    beyond, before = index >= n - 1, index < 0
    places = [
        either(np.where, before, 0, either(np.where, beyond, last, place)).astype(np.intp)
        for place in (below, above)
    ]
    gamma = _fraction(method, index, either(np.where, before | beyond, places[0], below))
    low, high = (rows.at(place, leads) for place in places)
    if gamma.ndim == leads:
        gamma = gamma.reshape(gamma.shape + (1,) * len(rows.outer))
    from_above, rest = gamma >= 0.5, 1 - gamma
    if weak and low.value.dtype.is_float:
        own = low.dtype if low.value.dtype.is_numpy_inexact else np.float32  # as of bfloat16
        gamma, rest = gamma.astype(own), rest.astype(own)
    gamma, rest, from_above = (wrap(value_of(v)) for v in (gamma, rest, from_above))
    apart = high - low
    return either(np.where, from_above, high - apart * rest, low + apart * gamma)


TABLE: dict[Any, Callable[..., Any]] = {
    np.median: median,
    np.nanmedian: nanmedian,
    np.quantile: _quantiles("quantile", 1, skips_nan=False),
    np.percentile: _quantiles("percentile", 100, skips_nan=False),
    np.nanquantile: _quantiles("nanquantile", 1, skips_nan=True),
    np.nanpercentile: _quantiles("nanpercentile", 100, skips_nan=True),
}
