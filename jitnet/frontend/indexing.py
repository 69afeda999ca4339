"""`x[key]` with NumPy's rules: ints, slices, Ellipsis, newaxis, integer arrays, masks.

    x[1:, ::-1]      %0 = slice %x, 1, 6, 2, 7 {steps=(1, -1)}
    x[i]             check 0 <= i < n, then a slice of extent 1 without its axis
    x[[0, 2], :]     check, then gather %x, %indices {axes=(0,)}
    x[x > 0]         %k, %y: f64[%k] = compress %mask, %x

Indices that are computed are checked when the program runs; known ones while it is traced.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from jitnet import errors, ops
from jitnet.frontend.dims import broadcast_dims, count, require_equal, retag, spread
from jitnet.frontend.promotion import as_array
from jitnet.frontend.tracer import Tracer, lift, wrap
from jitnet.ir import Dim, Literal, Value, as_dim, as_value, index
from jitnet.ir import types as T


class _Slice(NamedTuple):
    start: Dim
    size: Dim
    step: int


class _Plan(NamedTuple):
    """A key, one entry an axis of x.

    Attributes:
        boxes: a slice for each axis; an axis that is indexed is taken whole, and then dropped.
        dropped: axes that single integers index; their slices have extent 1.
        arrays: integer arrays by axis.
        layout: what the result's axes are: an axis of x, None for newaxis, in order; the position
            of the arrays' own axes is `arrays_at` in it.
    """

    boxes: list[_Slice]
    dropped: list[int]
    arrays: dict[int, Value]
    layout: list[int | None]
    arrays_at: int


def getitem(x: Tracer, key: Any) -> Tracer:
    """`x[key]`.

    Raises:
        IndexingError: for a known index out of bounds; for a computed one, when the program runs.
        UnsupportedFunctionError: for keys that jitnet does not have.
    """
    keys = key if isinstance(key, tuple) else (key,)
    keys = tuple(_normal(k) for k in keys)
    masks = [k for k in keys if _is_mask(k)]
    if masks:
        return _masked(x, keys)
    value = x.value
    plan = _plan(value, keys)
    found = _take_boxes(value, plan)
    if plan.arrays:
        found = _gather(found, plan)
    else:
        found = ops.reshape(found, _result_dims(found, plan))
    return wrap(found, "array" if found.rank or _has_ellipsis(keys) else "scalar")


def _has_ellipsis(keys: Sequence[Any]) -> bool:
    return any(k is Ellipsis for k in keys)


def _normal(key: Any) -> Any:
    """Lists become arrays; Python and NumPy ints become ints."""
    if type(key) in (list, np.ndarray):
        if type(key) is np.ndarray:
            return key
        if _traced(key):
            return as_array(key)
        array = np.asarray(key)
        return array if array.size else array.astype(np.int64)
    if isinstance(key, (bool, np.bool_)):
        return np.asarray(key)
    if isinstance(key, np.generic):
        return int(key.item()) if key.dtype.kind in "iu" else _refuse(key)
    return key


def _traced(key: Sequence[Any]) -> bool:
    return any(_traced(k) if isinstance(k, list) else type(k) is Tracer for k in key)


def _refuse(key: Any) -> Any:
    raise errors.IndexingError(
        "only integers, slices (`:`), ellipsis (`...`), numpy.newaxis (`None`) and integer or "
        f"boolean arrays are valid indices, not {key!r}"
    )


def _is_mask(key: Any) -> bool:
    if type(key) is Tracer:
        return key.value.dtype.is_bool
    return type(key) is np.ndarray and key.dtype.kind == "b"


# -- masks -----------------------------------------------------------------------------------------


def _masked(x: Tracer, keys: Sequence[Any]) -> Tracer:
    """A known mask is the integer arrays of its True elements; a traced one must come alone."""
    if all(type(k) is np.ndarray for k in keys if _is_mask(k)):
        if any(k.ndim == 0 for k in keys if _is_mask(k)):
            raise errors.UnsupportedFunctionError(
                "indexing with a bool", remedy="index with np.newaxis, or use an array of bools"
            )
        expanded: list[Any] = []
        axis = 0
        for k in keys:
            if _is_mask(k):
                if k.shape != x.shape[axis : axis + k.ndim] and len(keys) == 1:
                    raise errors.IndexingError(
                        f"boolean index of shape {k.shape} did not match the indexed array's "
                        f"shape {x.shape}"
                    )
                expanded.extend(np.nonzero(k))
            else:
                expanded.append(k)
            axis += k.ndim if _is_mask(k) else int(k is not None)
        return getitem(x, tuple(expanded))
    if len(keys) != 1:
        raise errors.UnsupportedFunctionError(
            "a traced mask together with other indices",
            remedy="index in two steps: x[mask][...], or use np.where",
        )
    (key,) = keys
    mask = lift(key).value
    if mask.rank == 0 or mask.rank > x.ndim:
        raise errors.IndexingError(
            f"too many indices for array: array is {x.ndim}-dimensional, "
            f"but the mask is {mask.rank}-dimensional"
        )
    dims = []
    for a, b in zip(mask.dims, x.value.dims):
        if isinstance(a, int) and isinstance(b, int) and a != b:
            raise errors.IndexingError(
                f"boolean index did not match indexed array: extent {a} against {b}"
            )
        require_equal(b, a, "boolean index did not match indexed array: {0} against {1}")
        dims.append(b)
    value, rest = x.value, x.value.dims[mask.rank :]
    flat = count(dims)
    mask = ops.reshape(mask, (flat,))
    rows = ops.reshape(value, (flat, *rest))
    _, kept = ops.compress(mask, [rows])
    return wrap(kept)


# -- the plan --------------------------------------------------------------------------------------


def _plan(x: Value, keys: Sequence[Any]) -> _Plan:
    used = sum(k is not None and k is not Ellipsis for k in keys)
    if used > x.rank:
        raise errors.IndexingError(
            f"too many indices for array: array is {x.rank}-dimensional, but {used} were indexed"
        )
    if sum(k is Ellipsis for k in keys) > 1:
        raise errors.IndexingError("an index can only have a single ellipsis ('...')")
    if not any(k is Ellipsis for k in keys):
        keys = (*keys, Ellipsis)
    advanced = [i for i, k in enumerate(keys) if _is_array(k)]
    apart = advanced and any(
        not (_is_array(k) or _is_number(k)) for k in keys[advanced[0] : advanced[-1] + 1]
    )
    first = advanced[0] if advanced else -1
    boxes: list[_Slice] = []
    dropped: list[int] = []
    arrays: dict[int, Value] = {}
    layout: list[int | None] = []
    at = 0
    for i, k in enumerate(keys):
        axis = len(boxes)
        if i == first:
            at = len(layout)
        if k is None:
            layout.append(None)
        elif k is Ellipsis:
            for _ in range(x.rank - used):
                layout.append(len(boxes))
                boxes.append(_whole(x.dims[len(boxes)]))
        elif isinstance(k, slice):
            layout.append(axis)
            boxes.append(_slice(k, x.dims[axis]))
        elif _is_array(k):
            arrays[axis] = _checked(lift(k).value, x.dims[axis], axis)
            boxes.append(_whole(x.dims[axis]))
        else:
            position = _position(k, x.dims[axis], axis)
            if advanced:  # an integer among arrays is one of them
                arrays[axis] = as_value(position)
                boxes.append(_whole(x.dims[axis]))
            else:
                dropped.append(axis)
                boxes.append(_Slice(position, 1, 1))
    if apart:
        at = 0
    elif advanced:
        numbers_before = [k for k in keys[:first] if _is_number(k)]
        at = 0 if numbers_before and not _adjacent(keys) else at
    return _Plan(boxes, dropped, arrays, layout, at)


def _adjacent(keys: Sequence[Any]) -> bool:
    """Whether all integers and integer arrays stand side by side."""
    places = [i for i, k in enumerate(keys) if _is_array(k) or _is_number(k)]
    return places[-1] - places[0] == len(places) - 1


def _is_number(key: Any) -> bool:
    if type(key) is Tracer:
        return key.value.rank == 0
    return not (key is None or key is Ellipsis or isinstance(key, (slice, np.ndarray)))


def _is_array(key: Any) -> bool:
    if type(key) is Tracer:
        return key.value.rank > 0
    return type(key) is np.ndarray


def _whole(dim: Dim) -> _Slice:
    return _Slice(0, dim, 1)


def _position(key: Any, extent: Dim, axis: int) -> Dim:
    """A single index, counted from the front and in bounds."""
    if type(key) is not Tracer:
        try:
            i = operator.index(key)
        except TypeError:
            _refuse(key)
        if isinstance(extent, int):
            if not -extent <= i < extent:
                raise errors.IndexingError(
                    f"index {i} is out of bounds for axis {axis} with size {extent}"
                )
            return i % extent
        return as_dim(_checked(index(i), extent, axis))
    value = lift(key).value
    if not value.dtype.is_integer:
        _refuse(key)
    return as_dim(_checked(value, extent, axis))


def _checked(value: Value, extent: Dim, axis: int) -> Value:
    """Integer indices counted from the front, after a check that they are in bounds."""
    if not value.dtype.is_integer:
        raise errors.IndexingError("arrays used as indices must be of integer (or boolean) type")
    i = ops.convert(value, T.i64)
    n = as_value(extent)
    if isinstance(i, Literal) and isinstance(n, Literal):
        return index(i.item % n.item)
    wide = spread(n, i.dims) if not isinstance(n, Literal) else n
    low, high = ops.ge(i, ops.neg(wide)), ops.lt(i, wide)
    ok = ops.bitwise_and(low, high)
    worst = i
    if i.rank:
        axes = tuple(range(i.rank))
        ok = ops.reduce_all(ok, axes)
        below = ops.reduce_min(i, axes)
        worst = ops.select(ops.lt(below, ops.neg(n)), below, ops.reduce_max(i, axes))
    message = f"index {{0}} is out of bounds for axis {axis} with size {{1}}"
    ops.check(ok, [worst, n], "IndexError", message)
    return ops.select(ops.lt(i, 0), ops.add(i, wide), i)


def _slice(key: slice, extent: Dim) -> _Slice:
    """A slice's start, size and step as Python clamps them."""
    step = 1 if key.step is None else operator.index(key.step)
    if step == 0:
        raise errors.ValueRefusedError("slice step cannot be zero")
    bounds = (key.start, key.stop)
    if isinstance(extent, int) and not any(type(b) is Tracer for b in bounds):
        start, stop, step = key.indices(extent)
        size = len(range(start, stop, step))
        return _Slice(start if size else 0, size, step)
    n = as_value(extent)
    if step > 0:
        start_value = _clamped(key.start, index(0), n, index(0), n)
        stop_value = _clamped(key.stop, n, n, index(0), n)
        length = ops.sub(stop_value, start_value)
    else:
        last = ops.sub(n, 1)
        start_value = _clamped(key.start, last, n, index(-1), last)
        stop_value = _clamped(key.stop, index(-1), n, index(-1), last)
        length = ops.sub(start_value, stop_value)
    size_value = ops.maximum(length, 0)
    if abs(step) != 1:
        size_value = ops.floordiv(ops.add(size_value, abs(step) - 1), abs(step))
    return _Slice(as_dim(start_value), as_dim(size_value), step)


def _clamped(bound: Any, default: Value, n: Value, low: Value, high: Value) -> Value:
    if bound is None:
        return default
    if type(bound) is Tracer:
        own = lift(bound).value
        if own.rank or not own.dtype.is_integer:
            raise errors.DTypeError("slice indices must be integers or None")
        value = ops.convert(own, T.i64)
    else:
        value = index(operator.index(bound))
    value = ops.select(ops.lt(value, 0), ops.add(value, n), value)
    return ops.minimum(ops.maximum(value, low), high)


# -- reading ---------------------------------------------------------------------------------------


def _take_boxes(x: Value, plan: _Plan) -> Value:
    if all(b.start == 0 and b.step == 1 and b.size is d for b, d in zip(plan.boxes, x.dims)):
        return x
    same = [b.start == 0 and b.step == 1 and b.size == d for b, d in zip(plan.boxes, x.dims)]
    if all(same):
        return x
    starts = [b.start for b in plan.boxes]
    return ops.slice(x, starts, [b.size for b in plan.boxes], [b.step for b in plan.boxes])


def _result_dims(x: Value, plan: _Plan) -> tuple[Dim, ...]:
    return tuple(1 if a is None else x.dims[a] for a in plan.layout)


def _gather(x: Value, plan: _Plan) -> Value:
    axes = tuple(sorted(plan.arrays))
    shape = broadcast_dims(*(plan.arrays[a].dims for a in axes))
    indices = [_filled(plan.arrays[a], shape) for a in axes]
    found = ops.gather(x, indices, axes)
    kept = [a for a in range(x.rank) if a not in axes]
    place = {a: len(shape) + i for i, a in enumerate(kept)}
    before, after = plan.layout[: plan.arrays_at], plan.layout[plan.arrays_at :]
    order = [place[a] for a in before if a is not None]
    order += [*range(len(shape)), *(place[a] for a in after if a is not None)]
    found = ops.transpose(found, order)
    dims = [1 if a is None else x.dims[a] for a in before]
    dims += [*shape, *(1 if a is None else x.dims[a] for a in after)]
    return ops.reshape(found, dims)


def _filled(value: Value, dims: tuple[Dim, ...]) -> Value:
    value = spread(value, dims)
    if isinstance(value, Literal) and dims:
        return ops.full(value, dims)
    return retag(value, dims)


# -- functions that index --------------------------------------------------------------------------


def take(a: Any, indices: Any, axis: Any = None, out: Any = None, mode: str = "raise") -> Tracer:
    """`np.take`; modes "wrap" and "clip" bring indices into bounds, "raise" checks them."""
    x = as_array(a)
    if axis is None:
        x, axis = wrap(ops.reshape(x.value, (count(x.value.dims),))), 0
    axis = axis % x.ndim if x.ndim else 0
    n = x.value.dims[axis]
    if mode != "raise":
        given = ops.convert(as_array(indices).value, T.i64)
        extent = n if isinstance(n, int) else 0
        if mode == "wrap":
            indices = wrap(ops.rem(given, extent))
        else:
            indices = wrap(ops.minimum(ops.maximum(given, 0), extent - 1))
    if isinstance(indices, (tuple, range)):
        indices = list(indices)
    return getitem(x, (*(slice(None),) * axis, indices))


def take_along_axis(arr: Any, indices: Any, axis: Any = -1) -> Tracer:
    """`np.take_along_axis`."""
    x, chosen = as_array(arr), as_array(indices)
    if axis is None:
        x, axis = wrap(ops.reshape(x.value, (count(x.value.dims),))), 0
    if x.ndim != chosen.ndim:
        raise errors.ShapeError("`indices` and `arr` must have the same number of dimensions")
    axis = axis % x.ndim
    key: list[Any] = []
    for i in range(x.ndim):
        if i == axis:
            key.append(chosen)
            continue
        shape = [1] * x.ndim
        shape[i] = x.shape[i]
        key.append(np.arange(x.shape[i]).reshape(shape))
    return getitem(x, tuple(key))
