"""`np.repeat` and `np.resize`.

np.repeat(x, 3)           %0 = broadcast of %x to [n, 3], reshaped
np.repeat(x, counts)      %n = reduce_sum %counts; ends of the runs are marked, and counted up:
                          gather %x, %index with %index: i64[%n]
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from jitnet import errors, ops
from jitnet.frontend.assigning import repeated
from jitnet.frontend.dims import count, extent, extents, filled, normal_axis, require_equal
from jitnet.frontend.promotion import as_array
from jitnet.frontend.tracer import Tracer, wrap
from jitnet.ir import Dim, Value, as_dim, as_value
from jitnet.ir import types as T


def repeat(a: Any, repeats: Any, axis: Any = None) -> Tracer:
    """`np.repeat`, with one count for all elements or one for each. Counts that the program
    computes decide the extent of the result.

    Raises:
        DTypeError: for counts that are no integers.
        ShapeError: for another number of counts than of elements.
        ValueRefusedError: for negative counts; for computed ones, when the program runs.
    """
    x = as_array(a).value
    if axis is None:
        x, axis = ops.reshape(x, (count(x.dims),)), 0
    axis = normal_axis(axis, x.rank)
    counts = as_array(repeats)
    if not np.can_cast(counts.dtype, np.int64, "safe"):
        raise errors.DTypeError(
            f"Cannot cast array data from {counts.dtype!r} to dtype('int64') according to the rule "
            "'safe'"
        )
    own = counts.value.dims
    if own in ((), (1,)):
        single = repeats if not own else counts[0]
        return wrap(_each(x, _checked(extent(wrap(as_array(single).value, "python"))), axis))
    if len(own) != 1:
        raise errors.ShapeError("object too deep for desired array")
    message = f"operands could not be broadcast together with shape ({x.dims[axis]},) ({own[0]},)"
    require_equal(own[0], x.dims[axis], message)
    index = _index(ops.convert(counts.value, T.i64))
    return wrap(_back(ops.gather(x, [index], (axis,)), axis))


def _checked(n: Dim) -> Dim:
    message = "repeats may not contain negative values."
    if isinstance(n, Value):
        ops.check(ops.ge(n, 0), [], "ValueError", message)
    elif n < 0:
        raise errors.ValueRefusedError(message)
    return n


def _each(x: Value, times: Dim, axis: int) -> Value:
    """Each element as often."""
    before, after = x.dims[: axis + 1], x.dims[axis + 1 :]
    axes = [*range(axis + 1), *range(axis + 2, x.rank + 1)]
    wide = ops.broadcast(x, (*before, times, *after), axes)
    return ops.reshape(wide, (*x.dims[:axis], count((x.dims[axis], times)), *after))


def _index(counts: Value) -> Value:
    """Of each element of the result, which element of the array it is: how many runs have ended
    there or before."""
    ok = ops.reduce_all(ops.ge(counts, filled(as_value(0), counts.dims)), (0,))
    ops.check(ok, [], "ValueError", "repeats may not contain negative values.")
    total = ops.reduce_sum(counts, (0,))
    n = as_dim(ops.maximum(total, 0))
    marks = ops.full(as_value(0), (as_dim(ops.add(as_value(n), 1)),))
    ends = ops.cumsum(counts, 0)
    ones = ops.full(as_value(1), counts.dims)
    ended = ops.cumsum(ops.scatter(marks, ones, [ends], (0,), "add"), 0)
    return ops.slice(ended, (0,), (n,), (1,))


def _back(x: Value, axis: int) -> Value:
    return ops.transpose(x, (*range(1, axis + 1), 0, *range(axis + 1, x.rank)))


def resize(a: Any, new_shape: Any) -> Tracer:
    """`np.resize`: elements in C order, repeated where there are fewer.

    Raises:
        ValueRefusedError: for negative extents.
    """
    x = as_array(a).value
    dims = extents(new_shape)
    if any(isinstance(d, int) and d < 0 for d in dims):
        raise errors.ValueRefusedError("all elements of `new_shape` must be non-negative")
    found = repeated(x, count(dims))
    if found is None or count(dims) == 0:
        found = ops.full(as_array(0).value, (count(dims),))
        found = ops.convert(found, x.dtype)
    elif isinstance(count(dims), int) and isinstance(count(x.dims), int):
        found = ops.slice(found, (0,), (count(dims),), (1,))
    return wrap(ops.reshape(found, dims))


TABLE: dict[Any, Callable[..., Any]] = {np.repeat: repeat, np.resize: resize}
