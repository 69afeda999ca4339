"""NumPy's functions that pick elements: take, nonzero, compress, diagonals, windows.

np.take(x, i, axis=1)     x[:, i]
np.nonzero(m)             %k, %rows, %columns = compress of the flattened mask and its index arrays
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jitnet import errors, ops
from jitnet.frontend import elementwise
from jitnet.frontend.dims import count, normal_axis, spread, static_shape
from jitnet.frontend.indexing import getitem, holds_tracer, positions
from jitnet.frontend.promotion import as_array
from jitnet.frontend.reductions import refuse_out
from jitnet.frontend.tracer import Tracer, wrap
from jitnet.ir import Dim, Literal, Value, as_value
from jitnet.ir import types as T


def take(a: Any, indices: Any, axis: Any = None, out: Any = None, mode: str = "raise") -> Tracer:
    """`np.take`; modes "wrap" and "clip" bring indices into bounds, "raise" checks them.

    Raises:
        DTypeError: for indices that are no integers.
        IndexingError: for known ones out of bounds; for computed ones, when the program runs.
    """
    refuse_out(out)
    if mode not in ("raise", "wrap", "clip"):
        raise errors.ValueRefusedError(
            f"clipmode must be one of 'clip', 'raise', or 'wrap', not {mode!r}"
        )
    x = as_array(a)
    if axis is None:
        x, axis = wrap(_flat(x.value)), 0
    elif x.ndim == 0:
        x = wrap(ops.reshape(x.value, (1,)))
    axis = normal_axis(axis, x.ndim)
    chosen = _as_indices(indices)
    if mode != "raise":
        chosen = wrap(_brought_in(as_array(chosen).value, x.value.dims[axis], mode))
    return getitem(x, (*(slice(None),) * axis, chosen))


def _as_indices(indices: Any) -> Any:
    """Indices as an integer array, known or traced."""
    given = as_array(indices) if type(indices) is Tracer or _has_tracers(indices) else None
    if given is None and type(indices) is not np.ndarray:
        return np.array(indices, np.int64)  # as NumPy converts a list, floats and all
    dtype = indices.dtype if given is None else given.dtype
    if not np.can_cast(dtype, np.int64, "safe"):
        raise errors.DTypeError(
            f"Cannot cast array data from {dtype!r} to dtype('int64') according to the rule 'safe'"
        )
    if given is None:
        return indices.astype(np.int64)
    return wrap(ops.convert(given.value, T.i64), given.flavour)


def _has_tracers(x: Any) -> bool:
    return isinstance(x, (list, tuple)) and holds_tracer(x)


def _brought_in(i: Value, size: Dim, mode: str) -> Value:
    if isinstance(size, int) and size == 0 and 0 not in i.dims:
        raise errors.IndexingError("cannot do a non-empty take from an empty axes.")
    n = as_value(size)
    if not isinstance(n, Literal):
        message = "cannot do a non-empty take from an empty axes."
        ops.check(ops.gt(n, 0), [], "IndexError", message)
    if mode == "wrap":
        return ops.rem(i, spread(n, i.dims))
    return ops.minimum(ops.maximum(i, 0), spread(ops.sub(n, 1), i.dims))


def take_along_axis(arr: Any, indices: Any, axis: Any = -1) -> Tracer:
    """`np.take_along_axis`.

    Raises:
        IndexingError: for indices that are no integers, or out of bounds.
        ValueRefusedError: for indices of another rank than the array's.
    """
    x, chosen = as_array(arr), as_array(indices)
    if axis is None:
        if chosen.ndim != 1:
            raise errors.ValueRefusedError(
                "when axis=None, `indices` must have a single dimension."
            )
        x, axis = wrap(_flat(x.value)), 0
    axis = normal_axis(axis, x.ndim)
    if not chosen.value.dtype.is_integer:
        raise errors.IndexingError("`indices` must be an integer array")
    if x.ndim != chosen.ndim:
        raise errors.ValueRefusedError(
            "`indices` and `arr` must have the same number of dimensions"
        )
    key: list[Any] = [wrap(_range_along(x.value.dims, i)) for i in range(x.ndim)]
    key[axis] = chosen
    return getitem(x, tuple(key))


def _range_along(dims: Sequence[Dim], axis: int) -> Value:
    """0, 1, ... along one axis, of extent 1 along the others."""
    own = (dims[axis],)
    return ops.reshape(
        ops.iota(own), tuple(dims[axis] if i == axis else 1 for i in range(len(dims)))
    )


# -- by truth --------------------------------------------------------------------------------------


def nonzero(a: Any) -> tuple[Tracer, ...]:
    """`np.nonzero`: the extents of the results depend on data.

    Raises:
        ValueRefusedError: for an array of rank 0.
    """
    x = as_array(a)
    if x.ndim == 0:
        raise errors.ValueRefusedError("Calling nonzero on 0d arrays is not allowed.")
    return tuple(wrap(v) for v in positions(elementwise.truth(x.value)))


def compress(condition: Any, a: Any, axis: Any = None, out: Any = None) -> Tracer:
    """`np.compress`: the slices along `axis` where the condition is true; it may be shorter.

    Raises:
        ValueRefusedError: for a condition that is not of rank 1.
        IndexingError: for one that is too long.
    """
    refuse_out(out)
    x = as_array(a)
    if axis is None:
        x, axis = wrap(_flat(x.value)), 0
    axis = normal_axis(axis, x.ndim)
    chosen: Any
    if type(condition) is Tracer or _has_tracers(condition):
        mask = elementwise.truth(as_array(condition).value)
        rank, chosen = mask.rank, wrap(positions(mask)[0]) if mask.rank == 1 else None
    else:
        rank, chosen = np.ndim(condition), np.flatnonzero(condition)
    if rank != 1:
        raise errors.ValueRefusedError("condition must be a 1-d array")
    return getitem(x, (*(slice(None),) * axis, chosen))


def extract(condition: Any, arr: Any) -> Tracer:
    """`np.extract`: the elements of the flattened array where the condition is true."""
    x, mask = as_array(arr), as_array(condition)
    where = _flat(elementwise.truth(mask.value))
    return getitem(wrap(_flat(x.value)), wrap(positions(where)[0]))


# -- diagonals -------------------------------------------------------------------------------------


def diagonal(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tracer:
    """`np.diagonal`: its axis is the last one of the result.

    Raises:
        ValueRefusedError: for fewer than two axes, or the same one twice.
    """
    x = as_array(a)
    if x.ndim < 2:
        raise errors.ValueRefusedError("diag requires an array of at least two dimensions")
    i, j = normal_axis(axis1, x.ndim), normal_axis(axis2, x.ndim)
    if i == j:
        raise errors.ValueRefusedError("axis1 and axis2 cannot be the same")
    shape = static_shape(x, "np.diagonal")
    down, right = max(-offset, 0), max(offset, 0)
    length = max(min(shape[i] - down, shape[j] - right), 0)
    steps = ops.iota((length,))
    found = ops.gather(x.value, [ops.add(steps, down), ops.add(steps, right)], (i, j))
    return wrap(ops.transpose(found, (*range(1, x.ndim - 1), 0)))


def diag(v: Any, k: int = 0) -> Tracer:
    """`np.diag`: a matrix's diagonal, or the matrix that has this one.

    Raises:
        ValueRefusedError: for arrays of other ranks.
    """
    x = as_array(v)
    if x.ndim == 2:
        return diagonal(x, k)
    if x.ndim != 1:
        raise errors.ValueRefusedError("Input must be 1- or 2-d.")
    (n,) = static_shape(x, "np.diag")
    size, down, right = n + abs(k), max(-k, 0), max(k, 0)
    rows = ops.broadcast(ops.iota((size,)), (size, size), (0,))
    columns = ops.broadcast(ops.iota((size,)), (size, size), (1,))
    on = ops.eq(ops.add(rows, right), ops.add(columns, down))
    padded = ops.pad(x.value, Literal(0, x.value.dtype), (right,), (down,))
    wide = ops.broadcast(padded, (size, size), (1,))
    return wrap(ops.select(on, wide, Literal(0, x.value.dtype)))


def diagflat(v: Any, k: int = 0) -> Tracer:
    """`np.diagflat`: the matrix whose diagonal is the flattened array."""
    x = as_array(v)
    return diag(wrap(_flat(x.value)), k)


# -- windows ---------------------------------------------------------------------------------------


def sliding_window_view(
    x: Any, window_shape: Any, axis: Any = None, *, subok: bool = False, writeable: bool = False
) -> Tracer:
    """`np.lib.stride_tricks.sliding_window_view`: the windows' axes are the last ones.

    Raises:
        ValueRefusedError: for windows of negative extents, larger than the array, or not one for
            each axis; for `writeable`, as windows share their elements.
    """
    array = as_array(x)
    sizes = _ints(window_shape)
    axes = range(array.ndim) if axis is None else [normal_axis(a, array.ndim) for a in _ints(axis)]
    if writeable:
        raise errors.ValueRefusedError("windows that can be written to: elements lie in several")
    if any(size < 0 for size in sizes):
        raise errors.ValueRefusedError("`window_shape` cannot contain negative values")
    if len(sizes) != len(axes):
        raise errors.ValueRefusedError(
            f"Must provide matching length window_shape and axis; got {len(sizes)} window_shape "
            f"elements and {len(axes)} axes elements."
        )
    value = array.value
    for size, a in zip(sizes, axes):
        value = _windows(value, size, a)
    return wrap(value)


def _ints(x: Any) -> list[int]:
    return [operator.index(i) for i in (x if isinstance(x, (tuple, list)) else (x,))]


def _windows(x: Value, size: int, axis: int) -> Value:
    """Windows along an axis; their own axis is a new one, the last."""
    extent = x.dims[axis]
    message = "window shape cannot be larger than input array shape"
    number: Dim
    if isinstance(extent, int):
        number = extent - size + 1
        if number <= 0:
            raise errors.ValueRefusedError(message)
    else:
        number = ops.sub(extent, size - 1)
        ops.check(ops.gt(number, 0), [], "ValueError", message)
    box = (number, size)
    found = ops.gather(x, [ops.add(ops.iota(box, 0), ops.iota(box, 1))], (axis,))
    others = range(2, found.rank)
    return ops.transpose(found, (*others[:axis], 0, *others[axis:], 1))


def triangle(upper: bool) -> Callable[..., Tracer]:
    """`np.triu` or `np.tril`."""

    def keep(m: Any, k: int = 0) -> Tracer:
        x = as_array(m)
        if x.ndim == 0:
            raise errors.DTypeError("a triangle of an array of rank 0")
        dims = x.value.dims if x.ndim > 1 else x.value.dims * 2
        size = dims[-2:]
        beyond = ops.sub(ops.iota(size, 1), ops.iota(size, 0))
        kept = ops.ge(beyond, k) if upper else ops.le(beyond, k)
        zero = Literal(0, x.value.dtype)
        return wrap(ops.select(spread(kept, dims), spread(x.value, dims), zero))

    return keep


def _flat(value: Value) -> Value:
    return ops.reshape(value, (count(value.dims),))


def _columns(vectors: Sequence[Tracer]) -> Value:
    columns = [ops.reshape(v.value, (*v.value.dims, 1)) for v in vectors]
    return ops.concatenate(columns, 1)


TABLE: dict[Any, Callable[..., Any]] = {
    np.take: take,
    np.take_along_axis: take_along_axis,
    np.nonzero: nonzero,
    np.argwhere: lambda a: wrap(_columns(nonzero(a))),
    np.flatnonzero: lambda a: nonzero(wrap(_flat(as_array(a).value)))[0],
    np.compress: compress,
    np.extract: extract,
    np.diagonal: diagonal,
    np.diag: diag,
    np.diagflat: diagflat,
    np.triu: triangle(upper=True),
    np.tril: triangle(upper=False),
    np.lib.stride_tricks.sliding_window_view: sliding_window_view,
}
