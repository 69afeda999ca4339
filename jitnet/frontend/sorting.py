"""NumPy's functions that sort and search: sort, argsort, lexsort, searchsorted, digitize.

np.sort(x, axis=0)            %0 = sort %x {axis=0, kind="quick"}
np.searchsorted(bins, x)      %0 = searchsorted %bins, %x {side="left"}

A partition is a whole sort, which keeps its promise.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jitnet import errors, ops
from jitnet.frontend.dims import count, filled, normal_axis, require_equal, spread
from jitnet.frontend.dispatch import call
from jitnet.frontend.promotion import as_array, result_type_of
from jitnet.frontend.tracer import Tracer, supported_dtype, wrap
from jitnet.ir import Literal, Value, as_dim, as_value
from jitnet.ir import types as T

_KINDS = {"q": "quick", "h": "quick", "m": "stable", "s": "stable"}
"""By the first letter, as NumPy reads it; "heapsort" has been its quicksort since 2.4."""


def _kind(kind: Any, stable: Any, order: Any) -> str:
    if order is not None:
        raise errors.ValueRefusedError("Cannot specify order when the array has no fields.")
    if kind is not None and stable is not None:
        raise errors.ValueRefusedError(
            "`kind` and `stable` parameters can't be provided at the same time. Use only one of "
            "them."
        )
    letter = "q" if kind is None else str(kind)[:1].lower()
    if letter not in _KINDS:
        raise errors.ValueRefusedError(
            f"sort kind must be one of 'quick', 'heap', or 'stable' (got {kind!r})"
        )
    return "stable" if stable else _KINDS[letter]


def _along(a: Any, axis: Any) -> tuple[Value, int]:
    """An array and the axis to sort it along; None is that of the flattened array."""
    x = as_array(a).value
    if axis is None:
        return ops.reshape(x, (count(x.dims),)), 0
    return x, normal_axis(axis, x.rank)


def sort(
    a: Any, axis: Any = -1, kind: Any = None, order: Any = None, *, stable: Any = None
) -> Tracer:
    """`np.sort`.

    Raises:
        ValueRefusedError: for kinds that NumPy does not have.
    """
    chosen = _kind(kind, stable, order)
    x, along = _along(a, axis)
    if x.dtype.is_complex:
        return wrap(along_axis(x, complex_order(x, along), along))
    return wrap(ops.sort(x, along, chosen))


def complex_order(z: Value, axis: int) -> Value:
    """Numbers without NaN come first, then those with one in the imaginary part, in the real part,
    in both; among these by the real part, then by the imaginary one."""
    re, im = ops.real(z), ops.imag(z)
    return lexicographic([im, re, ops.isnan(im), ops.isnan(re)], axis)


def argsort(
    a: Any, axis: Any = -1, kind: Any = None, order: Any = None, *, stable: Any = None
) -> Tracer:
    """`np.argsort`.

    Raises:
        ValueRefusedError: for kinds that NumPy does not have.
    """
    chosen = _kind(kind, stable, order)
    if axis is not None and as_array(a).ndim == 0:
        normal_axis(axis, 1)
        return wrap(ops.full(Literal(0, T.i64), (1,)))
    x, along = _along(a, axis)
    if x.dtype.is_complex:
        return wrap(complex_order(x, along))
    return wrap(ops.argsort(x, along, chosen))


def sort_complex(a: Any) -> Tracer:
    """`np.sort_complex`: the sorted elements as complex numbers."""
    row = sort(a)
    if row.value.dtype.is_complex:
        return row
    small = row.dtype.char in "bhBH"  # as NumPy has it: bools and floats become complex128
    return row.astype(np.complex64 if small else np.complex128)


def _partition(order: Callable[..., Tracer]) -> Callable[..., Tracer]:
    """`np.partition` or `np.argpartition`."""

    def partition(
        a: Any, kth: Any, axis: Any = -1, kind: str = "introselect", fields: Any = None
    ) -> Tracer:
        found = order(a, axis, None, fields)
        n = as_value(found.value.dims[-1 if axis is None else axis])
        for k in kth if isinstance(kth, (tuple, list, np.ndarray)) else (kth,):
            _require_place(k, n)
        return found

    return partition


def _require_place(kth: Any, n: Value) -> None:
    """An index along an axis, which may count from its end."""
    k = as_array(kth).value
    if not k.dtype.is_integer or k.rank:
        raise errors.DTypeError("Partition index must be integer")
    if isinstance(k, Literal) and isinstance(n, Literal):
        if not -n.item <= k.item < n.item:
            raise errors.ValueRefusedError(f"kth(={k.item}) out of bounds ({n.item})")
        return
    k = ops.convert(k, T.i64)
    fits = ops.bitwise_and(ops.ge(k, ops.neg(n)), ops.lt(k, n))
    ops.check(fits, [k, n], "ValueError", "kth(={0}) out of bounds ({1})")


def along_axis(x: Value, order: Value, axis: int) -> Value:
    """The elements of x at positions along an axis; both of the same dims."""
    at = [order if a == axis else ops.iota(order.dims, a) for a in range(x.rank)]
    return ops.gather(x, at, range(x.rank))


def lexsort(keys: Any, axis: Any = -1) -> Tracer:
    """`np.lexsort`: by the last key; by the one before where it is equal, and so on.

    Raises:
        DTypeError: without a key.
        ValueRefusedError: for keys of different shapes.
    """
    given = keys if isinstance(keys, (tuple, list)) else as_array(keys)
    rows = [as_array(k).value for k in given]
    if not rows:
        raise errors.DTypeError("need sequence of keys with len > 0 in lexsort")
    if any(k.rank != rows[0].rank for k in rows):
        raise errors.ValueRefusedError("all keys need to be the same shape")
    for k in rows:
        for a, b in zip(k.dims, rows[0].dims):
            require_equal(a, b, "all keys need to be the same shape")
    if rows[0].rank == 0:
        normal_axis(axis, 1)
        return wrap(Literal(0, T.i64), "scalar")
    along = normal_axis(axis, rows[0].rank)
    return wrap(lexicographic(rows, along))


def lexicographic(keys: Sequence[Value], axis: int) -> Value:
    """The order of the last key; where it is equal of the one before, and so on."""
    order = ops.argsort(keys[0], axis, "stable")
    for key in keys[1:]:
        finer = ops.argsort(along_axis(key, order, axis), axis, "stable")
        order = along_axis(order, finer, axis)
    return order


# -- searching -------------------------------------------------------------------------------------


def searchsorted(a: Any, v: Any, side: str = "left", sorter: Any = None) -> Tracer:
    """`np.searchsorted`.

    Raises:
        ValueRefusedError: for an array that is not of rank 1, and sides that NumPy does not have.
    """
    row, values = as_array(a).value, as_array(v).value
    if row.rank != 1:
        raise errors.ValueRefusedError("object too deep for desired array")
    if side not in ("left", "right"):
        raise errors.ValueRefusedError(
            f"search side must be one of 'left' or 'right' (got {side!r})"
        )
    if sorter is not None:
        row = _ordered(row, as_array(sorter).value)
    common = supported_dtype(result_type_of(row.dtype.numpy, values.dtype.numpy))
    row, values = ops.convert(row, common), ops.convert(values, common)
    if isinstance(values, Literal):
        found = ops.reshape(places_in(row, ops.full(values, (1,)), side), ())
    else:
        found = places_in(row, values, side)
    return wrap(found, "array" if found.rank else "scalar")


def places_in(row: Value, values: Value, side: str = "left") -> Value:
    """Where values belong in a sorted vector of their dtype."""
    if not row.dtype.is_complex:
        return ops.searchsorted(row, values, side)
    flat = ops.reshape(values, (count(values.dims),))  # both are sorted, and the row's are counted
    parts = [flat, row] if side == "left" else [row, flat]
    sizes = [as_value(part.dims[0]) for part in parts]
    order = complex_order(ops.concatenate(parts, 0), 0)
    bound = spread(sizes[0], order.dims)
    is_rows = ops.ge(order, bound) if side == "left" else ops.lt(order, bound)
    before = ops.cumsum(ops.convert(is_rows, T.i64), 0)
    at = ops.scatter(ops.zeros_like(order.array_type), before, [order], (0,))
    start = as_dim(sizes[0]) if side == "right" else 0
    return ops.reshape(ops.slice(at, (start,), flat.dims, (1,)), values.dims)


def _ordered(row: Value, sorter: Value) -> Value:
    if not sorter.dtype.is_integer:
        raise errors.DTypeError("sorter must only contain integers")
    if sorter.rank != 1:
        raise errors.ValueRefusedError("object too deep for desired array")
    require_equal(sorter.dims[0], row.dims[0], "sorter.size must equal len(a)")
    order = ops.convert(sorter, T.i64)
    n = spread(as_value(row.dims[0]), order.dims)
    inside = ops.bitwise_and(ops.ge(order, 0), ops.lt(order, n))
    ops.check(ops.reduce_all(inside, (0,)), [], "ValueError", "Sorter index out of range.")
    return ops.gather(row, [order], (0,))


def digitize(x: Any, bins: Any, right: Any = False) -> Any:
    """`np.digitize`: bins may rise or fall, which for traced ones is found when the program runs.

    Raises:
        ValueRefusedError: for bins that do neither.
    """
    edges, side = as_array(bins), "left" if operator.truth(right) else "right"
    if edges.ndim != 1:
        raise errors.ValueRefusedError("object of too small depth for desired array")
    rises, falls = (_never_falls(v) for v in (edges, edges[::-1]))
    message = "bins must be monotonically increasing or decreasing"
    ops.check(ops.bitwise_or(rises, falls), [], "ValueError", message)
    row = ops.select(filled(rises, edges.value.dims), edges.value, call(np.flip, edges).value)
    found = searchsorted(wrap(row), x, side)
    from_end = wrap(ops.sub(spread(as_value(row.dims[0]), found.value.dims), found.value))
    chosen = ops.select(filled(rises, found.value.dims), found.value, from_end.value)
    return wrap(chosen, found.flavour)


def _never_falls(row: Tracer) -> Value:
    falls: Tracer = call(np.any, row[:-1] > row[1:])
    return ops.logical_not(falls.value)


TABLE: dict[Any, Callable[..., Any]] = {
    np.sort: sort,
    np.argsort: argsort,
    np.partition: _partition(sort),
    np.argpartition: _partition(argsort),
    np.lexsort: lexsort,
    np.sort_complex: sort_complex,
    np.searchsorted: searchsorted,
    np.digitize: digitize,
}
