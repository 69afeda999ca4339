"""Arrays of what is there: `np.array` and its like of lists, and np.mgrid, np.ogrid, np.r_, np.c_.

    np.array([a, 2.0])     %0 = reshape %a, 1
                           %1 = concatenate %0, 2.0 ... {axis=0}
    np.asarray(x)          x itself
    np.r_[x, 0.0]          as np.concatenate

Items keep their dtypes until all are known: a Python float makes float64 of a float32, as in NumPy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jitnet import errors, ops
from jitnet.frontend import elementwise, layouts, making
from jitnet.frontend.arrays import Choice, View
from jitnet.frontend.context import running_trace
from jitnet.frontend.converting import converted
from jitnet.frontend.creating import (
    arange,
    dtype_of,
    is_traced,
    known,
    known_array,
    range_dtype,
    range_length,
)
from jitnet.frontend.dims import Dims, broadcast_dims, filled
from jitnet.frontend.dispatch import call
from jitnet.frontend.flats import unflattened
from jitnet.frontend.promotion import as_array, operand, result_type
from jitnet.frontend.tracer import Tracer, wrap
from jitnet.ir import Dim, Value


def array(
    object: Any,
    dtype: Any = None,
    *,
    copy: Any = True,
    order: str = "K",
    subok: bool = False,
    ndmin: int = 0,
    like: Any = None,
) -> Tracer:
    """`np.array`: a new array, of nested lists too; with copy=None the argument where it will do.

    Raises:
        ShapeError: for lists whose items have different shapes.
        ValueRefusedError: with copy=False, where the result is not the argument.
    """
    object, wanted = unflattened(object), layouts.checked(order)
    same = _is_same(object, dtype) and object.ndim >= ndmin
    in_order = same and (wanted in ("A", "K") or layouts.lies(object.place, wanted))
    if copy is False and not in_order:
        raise errors.ValueRefusedError(
            "Unable to avoid copy while creating an array as requested.",
            remedy="np.asarray(x), which copies where it must",
        )
    if in_order and not copy:
        found: Tracer = object
        return found
    if same and not copy:
        return Tracer(layouts.kept(object.place, object.value, wanted), "array")
    value = _stored(object, dtype)
    lead = max(ndmin - value.rank, 0)
    new = wrap(ops.reshape(value, (1,) * lead + value.dims) if lead else value)
    is_array = type(object) is Tracer and object.ndim == new.ndim
    layouts.lay_out(new.place, wanted, object.place if is_array else None)
    return new


def asarray(
    a: Any,
    dtype: Any = None,
    order: Any = None,
    *,
    device: Any = None,
    copy: Any = None,
    like: Any = None,
) -> Any:
    """`np.asarray`: the same object where it is an array of that dtype, which lies as asked for."""
    return array(a, dtype, copy=copy, order=order)


def ascontiguousarray(a: Any, dtype: Any = None, *, like: Any = None) -> Any:
    """`np.ascontiguousarray`: of one dimension at least."""
    return array(a, dtype, copy=None, order="C", ndmin=1)


def asfortranarray(a: Any, dtype: Any = None, *, like: Any = None) -> Any:
    """`np.asfortranarray`."""
    return array(a, dtype, copy=None, order="F", ndmin=1)


def asarray_chkfinite(a: Any, dtype: Any = None, order: Any = None) -> Any:
    """`np.asarray_chkfinite`.

    Raises:
        ValueRefusedError: for inf and NaN, when the program runs.
    """
    x = asarray(a, dtype, order)
    if x.value.dtype.is_inexact:
        message = "array must not contain infs or NaNs"
        finite = elementwise.call(np.isfinite, x).value
        ops.check(ops.reduce_all(finite, range(x.ndim)), [], "ValueError", message)
    return x


def require(a: Any, dtype: Any = None, requirements: Any = None, *, like: Any = None) -> Any:
    """`np.require`; arrays of the program's are aligned.

    Raises:
        ValueRefusedError: for "C" and "F" at once.
        UnsupportedFunctionError: for "O" of an argument.
    """
    asked = {_REQUIREMENTS[r.upper()] for r in requirements or ()}
    if asked >= {"C", "F"}:
        raise errors.ValueRefusedError('Cannot specify both "C" and "F" order')
    order = next((o for o in ("F", "C") if o in asked), "A")
    found = array(a, dtype, order=order, copy=None)
    place = found.place
    if "O" in asked and place in running_trace().function.stores:
        raise errors.UnsupportedFunctionError(
            "np.require of an argument, which is to own its memory",
            why="a program is compiled for arrays and for views of such",
            remedy="x.copy(), or np.require outside of the compiled function",
        )
    is_locked = "W" in asked and not layouts.Flags(place).writeable
    is_borrowed = "O" in asked and isinstance(place, View | Choice)
    return found.copy(order) if is_locked or is_borrowed else found


_REQUIREMENTS = {
    **{"C": "C", "C_CONTIGUOUS": "C", "CONTIGUOUS": "C"},
    **{"F": "F", "F_CONTIGUOUS": "F", "FORTRAN": "F", "A": "A", "ALIGNED": "A"},
    **{"W": "W", "WRITEABLE": "W", "O": "O", "OWNDATA": "O", "E": "E", "ENSUREARRAY": "E"},
}


def fromiter(iter: Any, dtype: Any, count: int = -1, *, like: Any = None) -> Tracer:
    """`np.fromiter`.

    Raises:
        ValueRefusedError: for an iterator with fewer items than `count`.
    """
    items = list(iter)
    if len(items) < count:
        raise errors.ValueRefusedError(
            f"iterator too short: Expected {count} but iterator had only {len(items)} items."
        )
    return array(items if count < 0 else items[:count], dtype)


def _is_same(x: Any, dtype: Any) -> bool:
    """Whether x is a traced array of that dtype already."""
    if type(x) is not Tracer or x.flavour != "array":
        return False
    return dtype is None or np.dtype(dtype) == x.dtype


def _stored(x: Any, dtype: Any) -> Value:
    """The content of the new array that np.array makes of x."""
    if type(x) is Tracer:
        return converted(x, dtype_of(dtype, x.dtype))
    if isinstance(x, np.ndarray):
        return converted(as_array(x), dtype_of(dtype, x.dtype))
    if not is_traced(x):
        return known_array(np.array(x, dtype)).value
    dims, leaves = _leaves(x)
    common = result_type(*map(as_array, leaves)) if dtype is None else dtype_of(dtype)
    rows = [converted(leaf, common, in_list=True) for leaf in leaves]
    inner = rows[0].dims
    for row in rows:
        if len(row.dims) != len(inner):
            raise _inhomogeneous()
    inner = broadcast_dims(*(row.dims for row in rows)) if inner else ()
    if any(not _extents_agree(row.dims, inner) for row in rows):
        raise _inhomogeneous()
    joined = ops.concatenate([ops.reshape(row, (1, *inner)) for row in rows], 0)
    return ops.reshape(joined, (*dims, *inner)) if len(dims) > 1 else joined


def _extents_agree(dims: Dims, inner: Dims) -> bool:
    return all(a == b for a, b in zip(dims, inner) if isinstance(a, int) and isinstance(b, int))


def _leaves(x: Sequence[Any]) -> tuple[tuple[int, ...], list[Any]]:
    """The shape of nested lists down to arrays and numbers, and those."""
    if all(isinstance(item, (list, tuple)) for item in x):
        parts = [_leaves(item) for item in x]
        if len({shape for shape, _ in parts}) == 1:
            return (len(x), *parts[0][0]), [leaf for _, leaves in parts for leaf in leaves]
    return (len(x),), [array(i) if isinstance(i, (list, tuple)) else i for i in x]


def _inhomogeneous() -> errors.JitnetError:
    return errors.ShapeError(
        "setting an array element with a sequence. The requested array has an inhomogeneous shape",
        why="its items have different shapes",
        remedy="pad the items to one shape, or keep them in a list",
    )


# -- np.mgrid, np.ogrid, np.r_, np.c_ --------------------------------------------------------------


def grid_item(maker: Any, key: Any) -> Any:
    """`np.mgrid[key]`, and those of np.ogrid, np.r_ and np.c_.

    Raises:
        UnsupportedFunctionError: for the text directives of np.r_ before traced values.
    """
    if not is_traced(key) and not _has_arrays(key):
        return known(maker[key])
    if maker is np.mgrid or maker is np.ogrid:
        return _grid(key, sparse=maker is np.ogrid)
    return _joined(key, along_columns=maker is np.c_)


def _has_arrays(key: Any) -> bool:
    items = key if isinstance(key, tuple) else (key,)
    return any(isinstance(item, np.ndarray) for item in items)


def _points(part: slice) -> Tracer:
    """A slice of np.r_: arange, or linspace where the step is imaginary."""
    start = 0 if part.start is None else part.start
    if isinstance(part.step, complex):
        line: Tracer = making.linspace(start, part.stop, int(abs(part.step)))
        return line
    return arange(start, part.stop, part.step)


def _grid(key: Any, sparse: bool) -> Any:
    if type(key) is slice:
        return _points(key)
    lines = [_line(part) for part in key]
    common = result_type(*lines)
    rank = len(lines)
    columns = []
    for axis, line in enumerate(lines):
        value = ops.convert(line.value, common)
        columns.append(ops.reshape(value, [value.dims[0] if i == axis else 1 for i in range(rank)]))
    if sparse:
        return tuple(map(wrap, columns))
    dims = tuple(line.value.dims[0] for line in lines)
    rows = [ops.reshape(filled(column, dims), (1, *dims)) for column in columns]
    return wrap(ops.concatenate(rows, 0))


def _line(part: slice) -> Tracer:
    """An axis of np.mgrid: multiples of the step, plus the start."""
    start = 0 if part.start is None else part.start
    step = 1 if part.step is None else part.step
    if isinstance(step, complex):
        count = int(abs(step))
        step = (part.stop - start) / float(count - 1) if count > 1 else part.stop - start
        n: Dim = count
        common = result_type(as_array(start), as_array(part.stop), as_array(step))
    else:
        n = range_length(start, part.stop, step)
        common = range_dtype([start, part.stop, step])
    counts = wrap(ops.iota((n,), 0, common))
    found: Tracer = counts * step + start
    return found


def _joined(key: Any, along_columns: bool) -> Tracer:
    parts: list[Tracer] = []
    for item in key if isinstance(key, tuple) else (key,):
        if isinstance(item, str):
            raise errors.UnsupportedFunctionError(
                f"np.r_[{item!r}, ...] of traced values", remedy="np.concatenate(parts, axis)"
            )
        part = _points(item) if type(item) is slice else as_array(item)
        parts.append(part)
    common = result_type(*(p if _is_part(k) else operand(k) for p, k in zip(parts, _items(key))))
    least = 2 if along_columns else 1
    values = []
    for part in parts:
        value = converted(part, common)
        lead = max(least - value.rank, 0)
        tall = along_columns and value.rank == 1
        dims = (*value.dims, 1) if tall else (1,) * lead + value.dims
        values.append(wrap(ops.reshape(value, dims)))
    joined: Tracer = call(np.concatenate, values, axis=-1 if along_columns else 0)
    return joined


def _items(key: Any) -> tuple[Any, ...]:
    return key if isinstance(key, tuple) else (key,)


def _is_part(item: Any) -> bool:
    return type(item) is slice or isinstance(item, (list, tuple))


TABLE: dict[Any, Callable[..., Any]] = {
    np.array: array,
    np.asarray: asarray,
    np.asanyarray: asarray,
    np.ascontiguousarray: ascontiguousarray,
    np.asfortranarray: asfortranarray,
    np.require: require,
    np.asarray_chkfinite: asarray_chkfinite,
    np.fromiter: fromiter,
}
