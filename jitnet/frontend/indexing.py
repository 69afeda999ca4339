"""`x[key]` by NumPy's rules: ints, slices, Ellipsis, newaxis, integer arrays, masks, and mixtures.

    x[1:, ::-1]      %0 = slice %x, 1, 6, 2, 7 {steps=(1, -1)}
    x[i]             check 0 <= i < n, then a slice of extent 1 without its axis
    x[[0, 2], :]     gather %x, %indices {axes=(0,)}
    x[x > 0]         %k, %y: f64[%k] = compress %mask, %x

A key is read in three steps: each entry is brought to one of a few forms (`_entry`), the entries
are lined up with x's axes (`_aligned`), and a plan says what to slice, what to gather and in which
order the result's axes come. Indices that are computed are checked when the program runs; known
ones while it is traced. A mask is the integer arrays of the places where it is True.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from jitnet import errors, ops
from jitnet.frontend.arrays import layout_like, stores_behind, view_of
from jitnet.frontend.context import give_name, running_trace
from jitnet.frontend.dims import (
    broadcast_dims,
    count,
    extent,
    filled,
    same_dims,
    show,
    spread,
)
from jitnet.frontend.promotion import as_array
from jitnet.frontend.stores import Doubt, Store
from jitnet.frontend.tracer import Tracer, lift, lift_array, wrap
from jitnet.ir import Dim, Value, as_dim, as_value, index
from jitnet.ir import types as T


class _Box(NamedTuple):
    """A slice of one axis."""

    start: Dim
    size: Dim
    step: int


class Plan(NamedTuple):
    """What `x[key]` reads, and the order of the result's axes.

    Attributes:
        boxes: a slice for each axis of x, the whole of it where nothing else is said.
        dropped: axes that single integers index: their boxes have extent 1.
        arrays: integer arrays, in bounds, by axis.
        layout: the other axes of the result: an axis of x, or None for a new one.
        at: where in the layout the axes of the integer arrays come.
    """

    boxes: list[_Box]
    dropped: list[int]
    arrays: dict[int, Value]
    layout: list[int | None]
    at: int


def getitem(x: Tracer, key: Any) -> Tracer:
    """`x[key]`: an array, or a NumPy scalar where integers index every axis.

    Raises:
        IndexingError: for a known index out of bounds, and keys that NumPy refuses; for a computed
            index out of bounds, when the program runs.
        DTypeError: for Python numbers, and bounds of slices that are no integers.
    """
    x = lift(x)
    if x.flavour == "python":
        kind = getattr(x.__class__, "__name__", "number")
        raise errors.DTypeError(f"{kind!r} object is not subscriptable")
    base, entries, has_ellipsis = parsed(x, key)
    found = _compressed(base, entries)
    if found is not None:
        return wrap(found)
    value, entries = _with_axes_for_flags(base, entries)
    plan = planned(value, entries)
    mark = len(running_trace().builder.eqns)
    found = _read(value, plan)
    if not (found.rank or has_ellipsis):
        return wrap(found, "scalar")
    if value is base and not plan.arrays and x.flavour == "array":
        eqns = running_trace().builder.eqns[mark:]
        view = view_of(x.place, base, found, eqns, origin=(x, key))
        if view is not None:
            give_name(running_trace(), found)
            return Tracer(view, "array")
    new = wrap(found)
    if any(map(_has_traced_step, entries)) and isinstance(new.place, Store):
        why = "it is a slice whose step is computed, and is read as a copy"
        new.place.may_be(stores_behind(x.place), Doubt(why))
        return new
    in_front = plan.at == 0 and layout_like([x.place]) == "C"
    if isinstance(new.place, Store) and not in_front:
        new.place.layout = "any"
    return new


def parsed(x: Tracer, key: Any) -> tuple[Value, list[Any], bool]:
    """x's value, the entries of a key lined up with its axes, and whether one was an Ellipsis."""
    entries = [_entry(k) for k in (key if type(key) is tuple else (key,))]
    base = x.value
    return base, _aligned(base, entries), any(k is Ellipsis for k in entries)


# -- entries ---------------------------------------------------------------------------------------


def _entry(key: Any) -> Any:
    """An entry as None, Ellipsis, a slice, an int, a known array, or a tracer that is a bool or of
    integers. Known arrays are of ints or bools; a known bool is one of rank 0."""
    if key is None or key is Ellipsis or isinstance(key, slice):
        return key
    if type(key) is Tracer:
        return _traced_entry(lift(key))
    if isinstance(key, (bool, np.bool_)):
        return np.asarray(key)
    if isinstance(key, (list, tuple)) and holds_tracer(key):
        return _traced_entry(as_array(key))
    if isinstance(key, (list, tuple, range, np.ndarray)):
        return _known_array(key)
    try:
        return operator.index(key)
    except TypeError:
        raise _no_index() from None


def _traced_entry(key: Tracer) -> Tracer:
    if not (key.value.dtype.is_integer or key.value.dtype.is_bool):
        raise _no_index() if key.ndim == 0 else _no_integers()
    return key


def holds_tracer(key: Sequence[Any]) -> bool:
    return any(holds_tracer(k) if isinstance(k, (list, tuple)) else type(k) is Tracer for k in key)


def _known_array(key: Any) -> Any:
    array = np.asarray(key)
    if not array.size and type(key) is not np.ndarray:
        array = array.astype(np.int64)
    if array.dtype.kind not in "iub":
        raise _no_integers()
    return int(array) if array.ndim == 0 and array.dtype.kind != "b" else array


def _no_index() -> errors.IndexingError:
    return errors.IndexingError(
        "only integers, slices (`:`), ellipsis (`...`), numpy.newaxis (`None`) and integer or "
        "boolean arrays are valid indices"
    )


def _no_integers() -> errors.IndexingError:
    return errors.IndexingError("arrays used as indices must be of integer (or boolean) type")


def _rank(entry: Any) -> int:
    return int(entry.ndim) if type(entry) in (Tracer, np.ndarray) else 0


def is_mask(entry: Any) -> bool:
    """Whether this is a bool, or an array of bools."""
    return type(entry) in (Tracer, np.ndarray) and entry.dtype.kind == "b"


def is_flag(entry: Any) -> bool:
    return is_mask(entry) and _rank(entry) == 0


def _is_number(entry: Any) -> bool:
    """Whether this is one integer."""
    return type(entry) is int or (type(entry) is Tracer and entry.ndim == 0 and not is_mask(entry))


def _is_array(entry: Any) -> bool:
    """Whether NumPy's rules for index arrays apply: also to masks, and to a bool."""
    return is_mask(entry) or _rank(entry) > 0


def _axes_used(entry: Any) -> int:
    if entry is None or entry is Ellipsis:
        return 0
    return _rank(entry) if is_mask(entry) else 1


# -- lining up -------------------------------------------------------------------------------------


def _aligned(x: Value, entries: Sequence[Any]) -> list[Any]:
    """The entries with whole slices in the place of the Ellipsis, or at the end.

    The Ellipsis itself stays in front of them where it stands between index arrays and stands for
    no axis: NumPy counts the arrays as apart then.
    """
    used = sum(_axes_used(k) for k in entries)
    if used > x.rank:
        raise errors.IndexingError(
            f"too many indices for array: array is {x.rank}-dimensional, but {used} were indexed"
        )
    ellipses = [i for i, k in enumerate(entries) if k is Ellipsis]
    if len(ellipses) > 1:
        raise errors.IndexingError("an index can only have a single ellipsis ('...')")
    at = ellipses[0] if ellipses else len(entries)
    rest: list[Any] = [slice(None)] * (x.rank - used)
    return [*entries[:at], *(rest or (ellipses and [Ellipsis])), *entries[at + 1 :]]


def _with_axes_for_flags(x: Value, entries: Sequence[Any]) -> tuple[Value, list[Any]]:
    """A bool counts as an array that indexes a new axis of extent 1: by [0] or by []."""
    if not any(is_flag(k) for k in entries):
        return x, list(entries)
    dims: list[Dim] = []
    own = iter(x.dims)
    changed: list[Any] = []
    for k in entries:
        if is_flag(k):
            dims.append(1)
            changed.append(wrap(ops.reshape(k.value, (1,))) if type(k) is Tracer else k[None])
            continue
        dims += [next(own) for _ in range(_axes_used(k))]
        changed.append(k)
    return ops.reshape(x, dims), changed


def is_whole(entry: Any) -> bool:
    return entry is Ellipsis or (isinstance(entry, slice) and _is_full(entry))


def _is_full(key: slice) -> bool:
    return key.start is None and key.stop is None and key.step is None


def _compressed(x: Value, entries: Sequence[Any]) -> Value | None:
    """`x[mask]` and `x[mask, :]` with a traced mask: one pass, no index arrays."""
    if not entries or type(entries[0]) is not Tracer or not is_mask(entries[0]):
        return None
    mask = entries[0].value
    if mask.rank == 0 or not all(is_whole(k) for k in entries[1:]):
        return None
    require_extents(mask.dims, x.dims, 0)
    flat = count(x.dims[: mask.rank])
    (kept,) = _kept(mask, [ops.reshape(x, (flat, *x.dims[mask.rank :]))])
    return kept


def _kept(mask: Value, rows: Sequence[Value]) -> list[Value]:
    """The rows that a mask keeps. How many those are is one value for all that this mask is used
    on, so that arrays which shrink together stay of one extent."""
    flat = rows[0].dims[:1]  # the mask's elements; how many, the rows' type says
    number, *kept = ops.compress(ops.reshape(mask, flat), rows)
    known = running_trace().kept.setdefault(mask, number)
    if known is number:
        return kept
    return [ops.reshape(v, (known, *v.dims[1:])) for v in kept]


def require_extents(mask: Sequence[Dim], dims: Sequence[Dim], axis: int) -> None:
    for i, (a, b) in enumerate(zip(mask, dims), axis):
        message = f"boolean index did not match indexed array along axis {i}: "
        if isinstance(a, int) and isinstance(b, int):
            if a != b:
                raise errors.IndexingError(message + f"its extent is {b}, that of the index {a}")
        elif a is not b:
            m, n = as_value(a), as_value(b)
            message += "its extent is {1}, that of the index {0}"
            ops.check(ops.eq(m, n), [m, n], "IndexError", message)


# -- the plan --------------------------------------------------------------------------------------


def planned(x: Value, entries: Sequence[Any]) -> Plan:
    plan = Plan([], [], {}, [], _place_of_arrays(entries))
    for k in entries:
        axis = len(plan.boxes)
        if k is None:
            plan.layout.append(None)
        elif _has_traced_step(k):
            plan.arrays[axis] = _at_steps(k, x.dims[axis])
            plan.boxes.append(_Box(0, x.dims[axis], 1))
        elif isinstance(k, slice):
            plan.layout.append(axis)
            plan.boxes.append(_sliced(k, x.dims[axis]))
        elif _is_number(k):
            plan.dropped.append(axis)
            plan.boxes.append(_Box(position(k, x.dims[axis], axis), 1, 1))
        elif k is not Ellipsis:
            arrays = _places(k, x.dims[axis:], axis) if is_mask(k) else [_checked(k, x, axis)]
            plan.arrays.update(enumerate(arrays, axis))
            plan.boxes.extend(_Box(0, d, 1) for d in x.dims[axis : axis + len(arrays)])
    return plan


def _place_of_arrays(entries: Sequence[Any]) -> int:
    """Where the axes of the index arrays come among the others: where the arrays stand, if they and
    the integers stand side by side, else in front."""
    strided = [i for i, k in enumerate(entries) if _has_traced_step(k)]
    if strided:
        if len(strided) > 1 or any(map(_is_array, entries)):
            raise errors.UnsupportedFunctionError(
                "a slice whose step is traced, beside index arrays or another such slice",
                remedy="slice in steps of their own: x[a::b][:, idx]",
            )
        return sum(k is None or isinstance(k, slice) for k in entries[: strided[0]])
    places = [i for i, k in enumerate(entries) if _is_array(k) or _is_number(k)]
    if not places or places[-1] - places[0] >= len(places):
        return 0
    return sum(k is None or isinstance(k, slice) for k in entries[: places[0]])


def position(key: Any, size: Dim, axis: int) -> Dim:
    """A single index, counted from the front and in bounds."""
    if type(key) is Tracer:
        return as_dim(_checked_at_run_time(key.value, size, axis))
    if not isinstance(size, int):
        if not -(1 << 63) <= key < 1 << 63:
            raise errors.IndexingError(f"index {key} is out of bounds for axis {axis}")
        return as_dim(_checked_at_run_time(index(key), size, axis))
    if not -size <= key < size:
        raise errors.IndexingError(f"index {key} is out of bounds for axis {axis} with size {size}")
    return int(key % size)


def _checked(key: Any, x: Value, axis: int) -> Value:
    """An array of indices, counted from the front and in bounds."""
    size = x.dims[axis]
    if type(key) is Tracer:
        return _checked_at_run_time(key.value, size, axis)
    if not isinstance(size, int):
        return _checked_at_run_time(lift_array(key.astype(np.int64)).value, size, axis)
    bad = key[(key < -size) | (key >= size)]
    if bad.size:
        raise errors.IndexingError(
            f"index {bad[0]} is out of bounds for axis {axis} with size {size}"
        )
    return lift_array(np.where(key < 0, key.astype(np.int64) + size, key).astype(np.int64)).value


def _checked_at_run_time(value: Value, size: Dim, axis: int) -> Value:
    i, n = ops.convert(value, T.i64), as_value(size)
    wide = spread(n, i.dims)
    ok = ops.bitwise_and(ops.ge(i, ops.neg(wide)), ops.lt(i, wide))
    worst = i
    if i.rank:
        axes = tuple(range(i.rank))
        ok = ops.reduce_all(ok, axes)
        least = ops.reduce_min(i, axes)
        worst = ops.select(ops.lt(least, ops.neg(n)), least, ops.reduce_max(i, axes))
    message = f"index {{0}} is out of bounds for axis {axis} with size {{1}}"
    ops.check(ok, [worst, n], "IndexError", message)
    return ops.select(ops.lt(i, 0), ops.add(i, wide), i)


def _places(mask: Any, dims: Sequence[Dim], axis: int) -> list[Value]:
    """The indices of a mask's True elements, one array for each of its axes."""
    own = mask.value.dims if type(mask) is Tracer else mask.shape
    require_extents(own, dims, axis)
    if type(mask) is not Tracer:
        return [lift_array(places).value for places in np.nonzero(mask)]
    return positions(mask.value)


def positions(mask: Value) -> list[Value]:
    """Where a mask is True: an i64 array for each of its axes; data decides how long they are."""
    flat = (count(mask.dims),)
    ranges = [ops.reshape(ops.iota(mask.dims, axis), flat) for axis in range(mask.rank)]
    return _kept(mask, ranges)


# -- slices ----------------------------------------------------------------------------------------


def _sliced(key: slice, size: Dim) -> _Box:
    """A slice's start, size and step, clamped as Python does it."""
    step = 1 if key.step is None else operator.index(key.step)
    if step == 0:
        raise errors.ValueRefusedError("slice step cannot be zero")
    if _is_full(key):
        return _Box(0, size, 1)
    start, stop = (_bound(b) for b in (key.start, key.stop))
    if isinstance(size, Value) or isinstance(start, Value) or isinstance(stop, Value):
        return _sliced_at_run_time(start, stop, step, as_value(size))
    first, last, step = slice(start, stop, step).indices(size)
    length = len(range(first, last, step))
    return _Box(first if length else 0, length, step)


def _has_traced_step(entry: Any) -> bool:
    """Whether this is a slice whose step only the program knows."""
    if not isinstance(entry, slice) or type(entry.step) is not Tracer:
        return False
    return not isinstance(extent(entry.step), int)


def _at_steps(key: slice, size: Dim) -> Value:
    """The places of a slice with a traced step, which must be positive."""
    step = ops.convert(lift(key.step).value, T.i64)
    ops.check(ops.ne(step, 0), [], "ValueError", "slice step cannot be zero")
    message = "a slice with the step {0}: a negative step that is computed is not there yet"
    ops.check(ops.gt(step, 0), [step], "NotImplementedError", message)
    start, stop = (_bound(b) for b in (key.start, key.stop))
    n = as_value(size)
    first = _clamped(start, index(0), n, index(0), n)
    span = ops.sub(_clamped(stop, n, n, index(0), n), first)
    count = ops.maximum(ops.floordiv(ops.add(span, ops.sub(step, 1)), ops.maximum(step, 1)), 0)
    dims = (as_dim(count),)
    along = ops.mul(ops.iota(dims, 0), ops.broadcast(step, dims, ()))
    return ops.add(along, ops.broadcast(first, dims, ()))


def steps_within(start: Dim | None, stop: Dim | None, step: int, n: Value) -> tuple[Dim, Dim]:
    """First place and number of places of a slice of so many items."""
    box = _sliced_at_run_time(start, stop, step, n)
    return box.start, box.size


def _bound(x: Any) -> Dim | None:
    if x is None:
        return None
    try:
        return extent(x)
    except TypeError:
        raise errors.DTypeError(
            "slice indices must be integers or None or have an __index__ method"
        ) from None


def _sliced_at_run_time(start: Dim | None, stop: Dim | None, step: int, n: Value) -> _Box:
    if step > 0:
        first = _clamped(start, index(0), n, index(0), n)
        length = ops.sub(_clamped(stop, n, n, index(0), n), first)
    else:
        last = ops.sub(n, 1)
        first = _clamped(start, last, n, index(-1), last)
        length = ops.sub(first, _clamped(stop, index(-1), n, index(-1), last))
    if abs(step) != 1:
        length = ops.floordiv(ops.add(length, abs(step) - 1), abs(step))
    length = ops.maximum(length, 0)
    if step < 0:  # an empty slice may start at -1, which is no index
        first = ops.maximum(first, 0)
    return _Box(as_dim(first), as_dim(length), step)


def _clamped(bound: Dim | None, default: Value, n: Value, low: Value, high: Value) -> Value:
    if bound is None:
        return default
    value = as_value(bound)
    value = ops.select(ops.lt(value, 0), ops.add(value, n), value)
    return ops.minimum(ops.maximum(value, low), high)


# -- reading ---------------------------------------------------------------------------------------


def _read(x: Value, plan: Plan) -> Value:
    sizes = tuple(b.size for b in plan.boxes)
    whole = all(b.step == 1 and isinstance(b.start, int) and b.start == 0 for b in plan.boxes)
    if not (whole and same_dims(sizes, x.dims)):
        x = ops.slice(x, [b.start for b in plan.boxes], sizes, [b.step for b in plan.boxes])
    if plan.arrays:
        return _gathered(x, plan)
    dims = tuple(1 if a is None else x.dims[a] for a in plan.layout)
    return x if same_dims(dims, x.dims) else ops.reshape(x, dims)


def _gathered(x: Value, plan: Plan) -> Value:
    kept = [a for a in range(x.rank) if a not in plan.dropped]
    dims = tuple(x.dims[a] for a in kept)
    x = x if same_dims(dims, x.dims) else ops.reshape(x, dims)
    shape = common_shape(list(plan.arrays.values()))
    indices = [filled(v, shape) for v in plan.arrays.values()]
    found = ops.gather(x, indices, tuple(kept.index(a) for a in plan.arrays))
    others = [a for a in kept if a not in plan.arrays]
    axis_of = {a: len(shape) + i for i, a in enumerate(others)}
    before, after = plan.layout[: plan.at], plan.layout[plan.at :]
    order = [axis_of[a] for a in before if a is not None]
    order += [*range(len(shape)), *(axis_of[a] for a in after if a is not None)]
    if order != sorted(order):
        found = ops.transpose(found, order)
    outer, inner = ([1 if a is None else x.dims[kept.index(a)] for a in p] for p in (before, after))
    dims = (*outer, *shape, *inner)
    return found if same_dims(dims, found.dims) else ops.reshape(found, dims)


def common_shape(arrays: Sequence[Value]) -> tuple[Dim, ...]:
    try:
        return broadcast_dims(*(v.dims for v in arrays))
    except errors.ShapeError:
        shapes = " ".join(show(v.dims) for v in arrays)
        raise errors.IndexingError(
            f"shape mismatch: indexing arrays could not be broadcast together with shapes {shapes}"
        ) from None
