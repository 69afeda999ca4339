"""NumPy's functions of sets: unique and its kin, isin, intersect1d and the like.

np.unique(x)     %0 = sort %x;  %1 = ne of neighbours;  %k, %u = compress %1, %0

How many elements are left is decided by data: it becomes the extent of the results.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from jitnet import errors, ops
from jitnet.frontend.dims import count, filled, normal_axis, spread
from jitnet.frontend.dispatch import call
from jitnet.frontend.promotion import as_array, as_dtype, result_type
from jitnet.frontend.sorting import along_axis, complex_order, lexicographic, places_in
from jitnet.frontend.tracer import Tracer, wrap
from jitnet.ir import Dim, Literal, Value, as_dim, as_value
from jitnet.ir import types as T

_MOST_COLUMNS = 64  # of rows that `unique` compares


def _flat(x: Value) -> Value:
    return ops.reshape(x, (count(x.dims),))


def _sorted(x: Value) -> Value:
    """A sorted vector."""
    return along_axis(x, complex_order(x, 0), 0) if x.dtype.is_complex else ops.sort(x, 0)


def _order(x: Value, kind: str) -> Value:
    return complex_order(x, 0) if x.dtype.is_complex else ops.argsort(x, 0, kind)


def _real_parts(x: Value) -> list[Value]:
    """What a vector is sorted by, the last first."""
    return [ops.imag(x), ops.real(x)] if x.dtype.is_complex else [x]


# -- unique ----------------------------------------------------------------------------------------


class _Groups(NamedTuple):
    """Equal elements, side by side.

    Attributes:
        order: the positions of the elements, sorted.
        first: which of them, in that order, begin a group.
        number: how many groups there are.
        places: the position of the first element of each group.
    """

    order: Value
    first: Value
    number: Dim
    places: Value

    def inverse(self) -> Value:
        """The group of each element."""
        group = ops.scatter(
            ops.zeros_like(self.order.array_type), self._groups(), [self.order], (0,)
        )
        return group

    def counts(self) -> Value:
        """How many elements each group has."""
        nothing = ops.full(Literal(0, T.i64), (self.number,))
        ones = ops.full(Literal(1, T.i64), self.order.dims)
        return ops.scatter(nothing, ones, [self._groups()], (0,), "add")

    def _groups(self) -> Value:
        begun = ops.cumsum(ops.convert(self.first, T.i64), 0)
        return ops.sub(begun, 1)


def _before(n: Dim) -> tuple[Value, Value]:
    """Positions, and those before them; 0 for the first."""
    positions = ops.iota((n,))
    return positions, ops.maximum(ops.sub(positions, 1), 0)


def _differs(x: Value, before: Value, equal_nan: bool) -> Value:
    """Which elements of a sorted vector are not equal to the one before."""
    earlier = ops.gather(x, [before], (0,))
    other = ops.ne(x, earlier)
    if not (equal_nan and x.dtype.is_inexact):
        return other
    both = ops.bitwise_and(ops.isnan(x), ops.isnan(earlier))
    return ops.bitwise_and(other, ops.logical_not(both))


def _grouped(keys: list[Value], order: Value, equal_nan: bool) -> _Groups:
    """Groups of vectors that are sorted already."""
    positions, before = _before(order.dims[0])
    first = ops.eq(positions, 0)
    for key in keys:
        first = ops.bitwise_or(first, _differs(key, before, equal_nan))
    number, places = ops.compress(first, [order])
    return _Groups(order, first, as_dim(number), places)


def unique(
    ar: Any,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    axis: Any = None,
    *,
    equal_nan: bool = True,
    sorted: bool = True,
) -> Any:
    """`np.unique`: sorted in any case.

    Raises:
        UnsupportedFunctionError: along an axis, for slices of more than 64 elements.
    """
    x = as_array(ar).value
    if axis is not None:
        found, groups = _unique_rows(x, normal_axis(axis, x.rank))
        shape: tuple[Dim, ...] = groups.order.dims
    elif not (return_index or return_inverse or return_counts):
        return wrap(_unique_values(_flat(x), equal_nan))
    else:
        flat, shape = _flat(x), x.dims
        order = _order(flat, "stable" if return_index else "quick")
        groups = _grouped([ops.gather(flat, [order], (0,))], order, equal_nan)
        found = ops.gather(flat, [groups.places], (0,))
    results = [found]
    results += [groups.places] if return_index else []
    results += [ops.reshape(groups.inverse(), shape)] if return_inverse else []
    results += [groups.counts()] if return_counts else []
    return wrap(found) if len(results) == 1 else tuple(map(wrap, results))


def _unique_values(flat: Value, equal_nan: bool) -> Value:
    row = _sorted(flat) if not (equal_nan and flat.dtype.is_complex) else _nans_as_given(flat)
    positions, before = _before(row.dims[0])
    first = ops.bitwise_or(ops.eq(positions, 0), _differs(row, before, equal_nan))
    return ops.compress(first, [row])[1]


def _nans_as_given(z: Value) -> Value:
    """Sorted complex numbers, those with a NaN at the end as they come: NumPy keeps the first."""
    nan = ops.isnan(z)
    zero = ops.full(Literal(0, z.dtype.half), z.dims)
    parts = [ops.select(nan, zero, part) for part in _real_parts(z)]
    return along_axis(z, lexicographic([*parts, nan], 0), 0)


def _unique_rows(x: Value, axis: int) -> tuple[Value, _Groups]:
    """The slices along an axis that differ, in lexicographic order."""
    perm = (axis, *(a for a in range(x.rank) if a != axis))
    turned = ops.transpose(x, perm)
    width = count(turned.dims[1:])
    if not isinstance(width, int) or width > _MOST_COLUMNS:
        raise errors.UnsupportedFunctionError(
            f"np.unique along an axis, of slices of more than {_MOST_COLUMNS} elements"
        )
    n = turned.dims[0]
    rows = ops.reshape(turned, (n, width))
    columns = [
        part
        for j in reversed(range(width))
        for part in _real_parts(ops.reshape(ops.slice(rows, (0, j), (n, 1), (1, 1)), (n,)))
    ]
    order = lexicographic(columns, 0) if columns else ops.iota((n,))
    groups = _grouped([along_axis(c, order, 0) for c in columns], order, equal_nan=False)
    found = ops.gather(turned, [groups.places], (0,))
    return ops.transpose(found, tuple(perm.index(a) for a in range(x.rank))), groups


# -- membership ------------------------------------------------------------------------------------


def isin(
    element: Any,
    test_elements: Any,
    assume_unique: bool = False,
    invert: bool = False,
    *,
    kind: Any = None,
) -> Tracer:
    """`np.isin`, by a search in the sorted test elements.

    Raises:
        ValueRefusedError: for kinds that NumPy does not have, or has for integers only.
    """
    if kind not in (None, "sort", "table"):
        raise errors.ValueRefusedError(
            f"Invalid kind: '{kind}'. Please use None, 'sort' or 'table'."
        )
    x, tests = as_array(element), as_array(test_elements)
    integers = all(v.value.dtype.kind in "biu" for v in (x, tests))
    if kind == "table" and not integers:
        raise errors.ValueRefusedError(
            "The 'table' method is only supported for boolean or integer arrays. "
            "Please select 'sort' or None for kind."
        )
    common = result_type(x, tests)
    row = _sorted(_flat(as_dtype(tests, common)))
    found = _found(filled(as_dtype(x, common), x.value.dims), row)
    return wrap(ops.logical_not(found) if invert else found)


def _found(x: Value, row: Value) -> Value:
    """Which values are in a sorted vector."""
    n = row.dims[0]
    if n == 0:
        return filled(Literal(False, T.bool_), x.dims)
    size = as_value(n)
    if not isinstance(n, int):  # an element more, for a vector that turns out to be empty
        row = ops.pad(row, Literal(0, row.dtype), (0,), (1,))
        place = places_in(ops.slice(row, (0,), (n,), (1,)), x)
        inside = ops.lt(place, spread(size, x.dims))
        return ops.bitwise_and(inside, ops.eq(ops.gather(row, [place], (0,)), x))
    place = ops.minimum(places_in(row, x), spread(ops.sub(size, 1), x.dims))
    return ops.eq(ops.gather(row, [place], (0,)), x)


def union1d(ar1: Any, ar2: Any) -> Any:
    """`np.union1d`."""
    return unique(call(np.concatenate, (as_array(ar1), as_array(ar2)), axis=None))


def setdiff1d(ar1: Any, ar2: Any, assume_unique: bool = False) -> Any:
    """`np.setdiff1d`."""
    own = call(np.ravel, as_array(ar1)) if assume_unique else unique(ar1)
    return own[isin(own, ar2, invert=True)]


def _after(n: Dim) -> tuple[Value, Value]:
    """The positions behind each one, the last one's being its own; and which are not the last."""
    positions, last = ops.iota((n,)), ops.sub(as_value(n), 1)
    end = spread(last, positions.dims)
    return ops.minimum(ops.add(positions, 1), end), ops.lt(positions, end)


def setxor1d(ar1: Any, ar2: Any, assume_unique: bool = False) -> Any:
    """`np.setxor1d`."""
    row = _sorted(_joined(ar1, ar2, assume_unique))
    n = row.dims[0]
    positions, before = _before(n)
    after, has_after = _after(n)
    first = ops.bitwise_or(ops.eq(positions, 0), _differs(row, before, False))
    alone = ops.bitwise_or(ops.logical_not(has_after), ops.ne(row, ops.gather(row, [after], (0,))))
    return wrap(ops.compress(ops.bitwise_and(first, alone), [row])[1])


def _joined(ar1: Any, ar2: Any, assume_unique: bool) -> Value:
    both = (call(np.ravel, as_array(a)) if assume_unique else unique(a) for a in (ar1, ar2))
    joined: Tracer = call(np.concatenate, tuple(both))
    return joined.value


def _twice(row: Value) -> Value:
    """Which elements of a sorted vector are equal to the next one."""
    after, has_after = _after(row.dims[0])
    return ops.bitwise_and(has_after, ops.eq(row, ops.gather(row, [after], (0,))))


def intersect1d(
    ar1: Any, ar2: Any, assume_unique: bool = False, return_indices: bool = False
) -> Any:
    """`np.intersect1d`."""
    if not return_indices:
        row = _sorted(_joined(ar1, ar2, assume_unique))
        return wrap(ops.compress(_twice(row), [row])[1])
    if assume_unique:
        left, right = (call(np.ravel, as_array(a)) for a in (ar1, ar2))
        indices = None
    else:
        (left, i), (right, j) = (unique(a, return_index=True) for a in (ar1, ar2))
        indices = i, j
    both = call(np.concatenate, (left, right)).value
    order = _order(both, "stable")
    row = ops.gather(both, [order], (0,))
    after, _ = _after(row.dims[0])
    _, found, *places = ops.compress(_twice(row), [row, order, ops.gather(order, [after], (0,))])
    places[1] = ops.sub(places[1], spread(as_value(left.value.dims[0]), places[1].dims))
    if indices is not None:
        places = [ops.gather(i.value, [p], (0,)) for i, p in zip(indices, places)]
    return wrap(found), *map(wrap, places)


TABLE: dict[Any, Callable[..., Any]] = {
    np.unique: unique,
    np.isin: isin,
    np.union1d: union1d,
    np.setdiff1d: setdiff1d,
    np.setxor1d: setxor1d,
    np.intersect1d: intersect1d,
}
