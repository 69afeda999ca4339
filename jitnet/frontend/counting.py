"""NumPy's functions that count: bincount, histogram and histograms of several dimensions.

np.bincount(x)           %n = reduce_max %x, plus 1;  scatter {mode="add"} of ones into zeros[%n]
np.histogram(x, 10)      the bin of each element by division, put right by the edges; then as above

Elements outside of the bins add nothing. The edges are made as NumPy makes them, bit for bit.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from jitnet import errors, ops
from jitnet.frontend import making, reductions
from jitnet.frontend.dims import count, filled, number, require_equal
from jitnet.frontend.dispatch import call
from jitnet.frontend.either import either, is_traced
from jitnet.frontend.promotion import as_array, as_dtype, operand, result_type
from jitnet.frontend.sorting import searchsorted
from jitnet.frontend.tracer import Tracer, wrap
from jitnet.ir import Dim, DType, Literal, Value, as_dim
from jitnet.ir import types as T

# -- bincount --------------------------------------------------------------------------------------


def bincount(x: Any, weights: Any = None, minlength: Any = 0) -> Tracer:
    """`np.bincount`: data decides how long the result is.

    Raises:
        DTypeError: for what is no vector of integers.
        ValueRefusedError: for a negative minlength; for negative elements, when the program runs.
    """
    own = as_array(x).value
    least = operator.index(minlength)
    if least < 0:
        raise errors.ValueRefusedError("'minlength' must not be negative")
    if own.rank != 1:
        raise errors.ValueRefusedError("object of too small depth for desired array")
    if not np.can_cast(own.dtype.numpy, np.int64, "safe") and own.dims[0] != 0:
        raise errors.DTypeError(
            f"Cannot cast array data from {own.dtype.numpy!r} to dtype('int64') according to the "
            "rule 'safe'"
        )
    places = ops.convert(own, T.i64)
    terms = Literal(1, T.i64) if weights is None else _weights(weights, own.dims[0])
    message = "'list' argument must have no negative elements"
    ops.check(ops.reduce_all(ops.ge(places, 0), (0,)), [], "ValueError", message)
    length: Dim = least
    if own.dims[0] != 0:
        length = as_dim(ops.maximum(ops.add(ops.reduce_max(places, (0,)), 1), least))
    return wrap(_added(places, terms, length))


def _weights(weights: Any, n: Dim) -> Value:
    found = as_array(weights).value
    if not np.can_cast(found.dtype.numpy, np.float64, "safe"):
        raise errors.DTypeError(
            f"Cannot cast array data from {found.dtype.numpy!r} to dtype('float64') according to "
            "the rule 'safe'"
        )
    if found.rank != 1:
        raise errors.ValueRefusedError("object of too small depth for desired array")
    require_equal(found.dims[0], n, "The weights and list don't have the same length.")
    return ops.convert(found, T.f64)


def _added(places: Value, terms: Value, length: Dim) -> Value:
    """The sum of the terms of each place."""
    nothing = ops.full(Literal(0, terms.dtype), (length,))
    return ops.scatter(nothing, filled(terms, places.dims), [places], (0,), "add")


# -- edges -----------------------------------------------------------------------------------------


class _Ends(NamedTuple):
    """The first and the last edge of a histogram: numbers, known or traced."""

    first: Any
    last: Any


def _ends(x: Tracer, given: Any) -> _Ends:
    """The range that was given, or that of the elements; a half to both sides if it is a point.

    Raises:
        ValueRefusedError: for a range that is not finite, or ends before it begins.
    """
    if given is not None:
        first, last = given
        what = "supplied"
        if not is_traced((first, last)) and first > last:
            raise errors.ValueRefusedError("max must be larger than min in range parameter.")
    elif 0 in x.value.dims:
        first, last, what = 0, 1, "supplied"
    else:
        first, last, what = reductions.min(x), reductions.max(x), "autodetected"
    message = f"{what} range of [{{0}}, {{1}}] is not finite"
    if is_traced((first, last)):
        values = [as_array(v).value for v in (first, last)]
        fine = ops.bitwise_and(*(as_array(either(np.isfinite, v)).value for v in (first, last)))
        ops.check(fine, values, "ValueError", message)
        point = either(np.equal, first, last)
        return _Ends(
            call(np.where, point, first - 0.5, first), call(np.where, point, last + 0.5, last)
        )
    if not (np.isfinite(first) and np.isfinite(last)):
        raise errors.ValueRefusedError(message.format(first, last))
    return _Ends(first - 0.5, last + 0.5) if first == last else _Ends(first, last)


def _edges(ends: _Ends, bins: int, dtype: DType) -> Tracer:
    """Equally wide bins' edges.

    Raises:
        ValueRefusedError: where the range is too narrow for so many, when the program runs.
    """
    found: Tracer = making.linspace(ends.first, ends.last, bins + 1, dtype=dtype.numpy)
    message = f"Too many bins for data range. Cannot create {bins} finite-sized bins."
    rises = call(np.all, found[1:] > found[:-1])
    ops.check(rises.value, [], "ValueError", message)
    return found


def _edge_dtype(x: Tracer, given: Any) -> DType:
    ends = (0, 1) if given is None else given
    common = result_type(*map(operand, ends), x)
    return common if common.is_float else T.f64


def _given_edges(bins: Any) -> Tracer:
    edges = as_array(bins)
    if edges.ndim != 1:
        raise errors.ValueRefusedError("`bins` must be 1d, when an array")
    message = "`bins` must increase monotonically, when an array"
    falls = call(np.any, edges[:-1] > edges[1:])
    ops.check(ops.logical_not(falls.value), [], "ValueError", message)
    return edges


def _is_number_of_bins(bins: Any) -> bool:
    return bool(np.ndim(bins) == 0)


def histogram_bin_edges(a: Any, bins: Any = 10, range: Any = None, weights: Any = None) -> Tracer:
    """`np.histogram_bin_edges`.

    Raises:
        UnsupportedFunctionError: for rules by which data decides how many bins there are.
    """
    x = _elements(a)
    if isinstance(bins, str):
        raise errors.UnsupportedFunctionError(
            f"np.histogram with bins={bins!r} of traced values",
            why="the number of bins would depend on data",
            remedy="pass the number of bins, or their edges",
        )
    if not _is_number_of_bins(bins):
        return _given_edges(bins)
    return _edges(_ends(x, range), _bins(bins), _edge_dtype(x, range))


def _bins(bins: Any) -> int:
    try:
        n = operator.index(bins)
    except TypeError:
        raise errors.DTypeError("`bins` must be an integer, a string, or an array") from None
    if n < 1:
        raise errors.ValueRefusedError("`bins` must be positive, when an integer")
    return n


def _elements(a: Any) -> Tracer:
    x: Tracer = call(np.ravel, as_array(a))
    return x.astype(np.uint8) if x.value.dtype.is_bool else x  # as NumPy does, with a warning


# -- histogram -------------------------------------------------------------------------------------


def histogram(
    a: Any, bins: Any = 10, range: Any = None, density: Any = None, weights: Any = None
) -> tuple[Tracer, Tracer]:
    """`np.histogram`.

    Raises:
        ValueRefusedError: for weights of another shape.
        UnsupportedFunctionError: for rules by which data decides how many bins there are.
    """
    x, edges = _elements(a), histogram_bin_edges(a, bins, range)
    n = number(edges.value.dims[0]) - 1
    if _is_number_of_bins(bins):
        place, inside = _place_by_division(x, _ends(x, range), edges, n)
    else:
        place, inside = _place_by_search(x, edges, n)
    terms = Literal(1, T.i64) if weights is None else _as_terms(weights, as_array(a))
    kept = ops.select(inside.value, filled(terms, x.value.dims), Literal(0, terms.dtype))
    found = wrap(_added(place.value, kept, as_dim(as_array(n).value)))
    if density:
        widths = call(np.diff, edges).astype(np.float64)
        found = found / widths / reductions.sum(found)
    return found, edges


def _as_terms(weights: Any, a: Tracer) -> Value:
    own = as_array(weights)
    if len(own.value.dims) != a.ndim:
        raise errors.ValueRefusedError("weights should have the same shape as a.")
    for d, e in zip(own.value.dims, a.value.dims):
        require_equal(d, e, "weights should have the same shape as a.")
    if own.value.dtype.is_complex or own.value.dtype.is_bool:
        raise errors.UnsupportedFunctionError("np.histogram with weights that are no real numbers")
    return ops.reshape(own.value, (count(own.value.dims),))


def _place_by_division(x: Tracer, ends: _Ends, edges: Tracer, n: int) -> tuple[Tracer, Tracer]:
    """The bin of each element: its share of the range, and one up or down where rounding erred."""
    inside = (x >= ends.first) & (x <= ends.last)
    y = x.astype(edges.dtype)
    share = (y - ends.first) / _apart(ends)
    place = call(np.where, inside, share * n, 0).astype(np.int64)
    place = call(np.where, place == n, n - 1, place)
    lower = _taken(edges, place)
    place = call(np.where, inside & (y < lower), place - 1, place)
    beyond = (y >= _taken(edges, place + 1)) & (place != n - 1)
    return call(np.where, inside & beyond, place + 1, place), inside


def _apart(ends: _Ends) -> Any:
    """The distance of the ends, which of large integers only an unsigned one holds."""
    first, last = ends
    if not is_traced((first, last)) or as_array(last).value.dtype.is_float:
        return last - first
    values = [ops.convert(as_array(v).value, T.u64) for v in (first, last)]
    return wrap(ops.sub(values[1], values[0]), "scalar")


def _taken(edges: Tracer, place: Tracer) -> Tracer:
    return wrap(ops.gather(edges.value, [place.value], (0,)))


def _place_by_search(x: Tracer, edges: Tracer, n: Any) -> tuple[Tracer, Tracer]:
    """The bin of each element by a search; the last one has its upper edge."""
    place = searchsorted(edges, x, "right") - 1
    common = result_type(x, edges)
    y = wrap(as_dtype(x, common))
    last = wrap(ops.reduce_max(ops.convert(edges.value, common), (0,)))
    place = call(np.where, y == last, n - 1, place)
    inside = (place >= 0) & (place < n)
    return call(np.where, inside, place, 0), inside


# -- several dimensions ----------------------------------------------------------------------------


def histogramdd(
    sample: Any, bins: Any = 10, range: Any = None, density: Any = None, weights: Any = None
) -> tuple[Tracer, list[Tracer]]:
    """`np.histogramdd`.

    Raises:
        ValueRefusedError: for bins or ranges that are not as many as the dimensions.
    """
    columns = _coordinates(sample)
    each = list(bins) if isinstance(bins, (tuple, list, np.ndarray)) else [bins] * len(columns)
    ranges = [None] * len(columns) if range is None else list(range)
    if len(each) != len(columns):
        raise errors.ValueRefusedError("The dimension of bins must be equal to the dimension of x.")
    if len(ranges) != len(columns):
        raise errors.ValueRefusedError("range argument must have one entry per dimension")
    edges = [_edges_along(x, b, r) for x, b, r in zip(columns, each, ranges)]
    found = _counted(columns, edges, weights)
    if density:
        total = reductions.sum(found)
        for axis, e in enumerate(edges):
            shape = [1] * len(edges)
            shape[axis] = -1
            found = found / call(np.diff, e).reshape(shape)
        found = found / total
    return found, edges


def _coordinates(sample: Any) -> list[Tracer]:
    """The points' coordinates along each dimension."""
    if not isinstance(sample, (tuple, list)):
        points = as_array(sample)
        return [points] if points.ndim == 1 else list(call(np.unstack, points, axis=1))
    columns = [as_array(c) for c in sample]
    if not (columns and all(c.ndim == 1 for c in columns)):
        raise errors.ValueRefusedError("too many values to unpack (expected 2)")
    common = result_type(*columns)
    for c in columns:
        message = "x and y must have the same length."
        require_equal(c.value.dims[0], columns[0].value.dims[0], message)
    return [wrap(as_dtype(c, common)) for c in columns]


def histogram2d(
    x: Any, y: Any, bins: Any = 10, range: Any = None, density: Any = None, weights: Any = None
) -> tuple[Tracer, Tracer, Tracer]:
    """`np.histogram2d`.

    Raises: as `histogramdd`.
    """
    if isinstance(bins, (list, tuple, np.ndarray)) and len(bins) not in (1, 2):
        bins = [bins, bins]  # the edges along both axes
    found, edges = histogramdd([x, y], bins, range, density, weights)
    return found, edges[0], edges[1]


def _edges_along(x: Tracer, bins: Any, range: Any) -> Tracer:
    if not _is_number_of_bins(bins):
        return _given_edges(bins)
    ends = _ends(x, range)
    edges: Tracer = making.linspace(ends.first, ends.last, _bins(bins) + 1)
    return edges


def _counted(columns: Sequence[Tracer], edges: Sequence[Tracer], weights: Any) -> Any:
    """How many points, or their weights' sum, are in each box."""
    extents = [number(e.value.dims[0]) - 1 for e in edges]
    place: Any = 0
    inside: Any = True
    for x, e, n in zip(columns, edges, extents):
        along, within = _place_by_search(x, e, n)
        place, inside = place * n + along, within & inside
    points = columns[0].value.dims
    terms = Literal(1.0, T.f64) if weights is None else _weights(weights, points[0])
    kept = ops.select(inside.value, filled(terms, points), 0.0)
    boxes = count([as_dim(as_array(n).value) for n in extents])
    place = call(np.where, inside, place, 0)
    return wrap(_added(place.value, kept, boxes)).reshape(extents)


TABLE: dict[Any, Callable[..., Any]] = {
    np.bincount: bincount,
    np.histogram: histogram,
    np.histogram_bin_edges: histogram_bin_edges,
    np.histogram2d: histogram2d,
    np.histogramdd: histogramdd,
}
