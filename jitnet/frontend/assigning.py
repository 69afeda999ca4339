"""Writing to arrays: `x[key] = value`, `np.copyto` and the functions that change arrays.

    x[1:3] = y       %x1 = update %x, %y, 1
    x[idx] = y       %x1 = scatter %x, %y, %idx {mode="set"}
    x[mask] = 0      %x1 = select %mask, 0, %x

The value is brought to the dtype and shape of what it replaces; then the array's place is written
(`arrays.write`), so that all views of the same memory see it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jitnet import errors, ops
from jitnet.frontend import elementwise
from jitnet.frontend.arrays import Box, View, require_writeable, write
from jitnet.frontend.context import give_name, running_trace
from jitnet.frontend.dims import (
    Dims,
    count,
    filled,
    require_equal,
    retag,
    same_dims,
    show,
)
from jitnet.frontend.indexing import (
    Plan,
    common_shape,
    is_flag,
    is_mask,
    is_whole,
    parsed,
    planned,
    positions,
    require_extents,
)
from jitnet.frontend.promotion import as_array, default_dtype, literal_of, operand
from jitnet.frontend.tracer import Tracer, lift, wrap
from jitnet.ir import Dim, DType, Literal, Value, as_dim, as_value
from jitnet.ir import types as T

# -- values ----------------------------------------------------------------------------------------


def as_target(x: Any) -> Tracer:
    """An array that is to be written to.

    Raises:
        DTypeError: for what is no array.
    """
    own = lift(x) if isinstance(x, (Tracer, np.ndarray)) else None
    if own is None or own.flavour != "array":
        kind = getattr(x.__class__, "__name__", "object")
        raise errors.DTypeError(f"{kind!r} object does not support item assignment")
    return own


def cast(value: Any, dtype: DType) -> Value:
    """A value as assignment converts it to the array's dtype: without regard to what is lost.

    Raises:
        IntegerOverflowError: for a Python int that the dtype does not hold.
    """
    x = operand(value)
    if type(x) is Tracer:
        return ops.convert(x.value, dtype)
    if type(x) is int:
        return literal_of(x, dtype)
    with np.errstate(all="ignore"):
        return ops.convert(literal_of(x, default_dtype(x)), dtype)  # type: ignore[arg-type]


def fitted(value: Value, dims: Dims) -> Value:
    """A value broadcast to the dims of what it replaces; axes of extent 1 in front may be more.

    Raises:
        ShapeError: where it does not broadcast to them.
    """
    while value.rank > len(dims) and value.dims[0] == 1:
        value = ops.reshape(value, value.dims[1:])
    message = f"could not broadcast input array from shape {show(value.dims)} into shape "
    message += show(dims)
    if value.rank > len(dims):
        raise errors.ShapeError(message)
    lead = len(dims) - value.rank
    for have, want in zip(value.dims, dims[lead:]):
        if not (isinstance(have, int) and have == 1):
            require_equal(have, want, message)
    if value.rank == 0:
        return ops.full(value, dims) if dims else value
    own = [d if isinstance(d, int) and d == 1 else t for d, t in zip(value.dims, dims[lead:])]
    value = retag(value, tuple(own))
    if same_dims(value.dims, dims):
        return value
    return ops.broadcast(value, dims, tuple(range(lead, len(dims))))


def replace(x: Tracer, value: Value) -> None:
    """Make the array hold `value`, which has its dtype and dims."""
    give_name(running_trace(), value)
    write(x.place, value)


# -- x[key] = value --------------------------------------------------------------------------------


def setitem(x: Any, key: Any, value: Any) -> None:
    """`x[key] = value`.

    Raises:
        IndexingError, ShapeError, IntegerOverflowError: as NumPy; for what only the program knows,
            when it runs.
    """
    target = as_target(x)
    if type(value) is Tracer and isinstance(value.place, View):
        origin = value.place.origin
        if isinstance(origin, tuple) and origin[0] is target and origin[1] is key:
            return  # x[key] += y has already written through the view
    base, entries, _ = parsed(target, key)
    if is_masked(entries):
        _set_where(target, base, entries[0], value)
        return
    if any(is_flag(k) for k in entries):
        raise errors.UnsupportedFunctionError(
            "assignment with a bool among other indices", remedy="x[...] = np.where(flag, value, x)"
        )
    plan = planned(base, entries)
    new = cast(value, base.dtype)
    if plan.arrays:
        scatter(target, base, plan, new, _set)
        return
    sizes = tuple(1 if axis in plan.dropped else b.size for axis, b in enumerate(plan.boxes))
    shown = tuple(1 if a is None else sizes[a] for a in plan.layout)
    _write_box(target, base, plan, ops.reshape(fitted(new, shown), sizes))


def _write_box(target: Tracer, base: Value, plan: Plan, value: Value) -> None:
    sizes = tuple(b.size for b in plan.boxes)
    whole = all(b.step == 1 and isinstance(b.start, int) and b.start == 0 for b in plan.boxes)
    if whole and same_dims(sizes, base.dims):
        replace(target, value)
        return
    box = Box(tuple(b.start for b in plan.boxes), tuple(b.step for b in plan.boxes))
    write(target.place, value, box)


Put = Callable[[Value, Value, Sequence[Value], Sequence[int]], Value]
"""How elements get to an array: the array, the elements, index arrays and the axes of these."""


def _set(base: Value, new: Value, indices: Sequence[Value], axes: Sequence[int]) -> Value:
    return ops.scatter(base, new, indices, axes, "set")


def scatter(target: Tracer, base: Value, plan: Plan, new: Value, put: Put) -> None:
    """Bring `new` to integer arrays, within the boxes of the other axes."""
    kept = [a for a in range(base.rank) if a not in plan.dropped]
    sizes = tuple(b.size for b in plan.boxes)
    whole = all(b.step == 1 and isinstance(b.start, int) and b.start == 0 for b in plan.boxes)
    whole = whole and same_dims(sizes, base.dims)
    part = base
    if not whole:
        starts, steps = [b.start for b in plan.boxes], [b.step for b in plan.boxes]
        part = ops.slice(base, starts, sizes, steps)
    dims = tuple(part.dims[a] for a in kept)
    part = part if same_dims(dims, part.dims) else ops.reshape(part, dims)
    shape = common_shape(list(plan.arrays.values()))
    indices = [filled(v, shape) for v in plan.arrays.values()]
    others = [a for a in kept if a not in plan.arrays]
    value = _in_gather_order(plan, fitted(new, _shown(plan, shape, base)), shape, others, base)
    axes = tuple(kept.index(a) for a in plan.arrays)
    part = put(part, value, indices, axes)
    _write_box(target, base, plan, ops.reshape(part, sizes))


def _shown(plan: Plan, shape: Dims, base: Value) -> Dims:
    """The dims of `x[key]`."""
    before, after = plan.layout[: plan.at], plan.layout[plan.at :]
    outer, inner = ([1 if a is None else plan.boxes[a].size for a in p] for p in (before, after))
    return (*outer, *shape, *inner)


def _in_gather_order(
    plan: Plan, value: Value, shape: Dims, others: Sequence[int], base: Value
) -> Value:
    """`x[key]`'s axes as a gather has them: those of the index arrays, then the others."""
    before = [a for a in plan.layout[: plan.at] if a is not None]
    after = [a for a in plan.layout[plan.at :] if a is not None]
    dims = [plan.boxes[a].size for a in before] + list(shape)
    value = ops.reshape(value, [*dims, *(plan.boxes[a].size for a in after)])
    place = {a: i for i, a in enumerate(before)}
    place |= {a: len(before) + len(shape) + i for i, a in enumerate(after)}
    order = [len(before) + i for i in range(len(shape))] + [place[a] for a in others]
    return value if order == sorted(order) else ops.transpose(value, order)


# -- masks -----------------------------------------------------------------------------------------


def is_masked(entries: Sequence[Any]) -> bool:
    """Whether a key is one mask and whole slices."""
    return bool(entries) and is_mask(entries[0]) and all(is_whole(k) for k in entries[1:])


def _set_where(target: Tracer, base: Value, mask: Any, value: Any) -> None:
    """`x[mask] = value`: a choice, element by element, where every place gets the same."""
    flags = as_array(mask).value
    require_extents(flags.dims, base.dims, 0)
    flags = retag(flags, base.dims[: flags.rank])
    rest = base.dims[flags.rank :]
    new = cast(value, base.dtype)
    while new.rank > len(rest) and new.dims[0] == 1:
        new = ops.reshape(new, new.dims[1:])
    if new.rank <= len(rest):
        spread = ops.broadcast(flags, base.dims, tuple(range(flags.rank))) if rest else flags
        chosen = filled(fitted(new, rest), base.dims)
        replace(
            target, ops.select(spread, chosen, base) if base.rank else _choose(flags, chosen, base)
        )
        return
    places = positions(flags) if flags.rank else None
    if places is None:
        raise errors.ShapeError("a bool index takes one value")
    total = as_value(places[0].dims[0])
    given = as_value(new.dims[0])
    message = (
        "NumPy boolean array indexing assignment cannot assign {0} input values to the {1} "
        "output values where the mask is true"
    )
    ops.check(ops.eq(given, total), [given, total], "ValueError", message)
    new = fitted(retag(new, (places[0].dims[0], *new.dims[1:])), (places[0].dims[0], *rest))
    replace(target, ops.scatter(base, new, places, tuple(range(flags.rank)), "set"))


def _choose(flag: Value, new: Value, old: Value) -> Value:
    return ops.select(flag, new, old)


# -- functions that change arrays ------------------------------------------------------------------


def copyto(dst: Any, src: Any, casting: Any = "same_kind", where: Any = True) -> None:
    """`np.copyto`.

    Raises:
        ReadOnlyError: for what NumPy does not write to.
        DTypeError: where `casting` forbids the conversion.
    """
    target, x = as_target(dst), operand(src)
    require_writeable(target.place)
    if x is target and where is True:
        return
    given = x.dtype if type(x) is Tracer and x.flavour != "python" else None
    if given is not None and not np.can_cast(given, target.dtype, casting=casting):
        raise errors.DTypeError(
            f"Cannot cast array data from {given!r} to {target.dtype!r} according to the rule "
            f"{casting!r}"
        )
    base = target.value
    new = fitted(cast(x, base.dtype), base.dims)
    if where is not True:
        flags = fitted(as_array(where).value, base.dims)
        new = ops.select(flags, new, base)
    replace(target, new)


def fill(x: Any, value: Any) -> None:
    """`x.fill(value)`."""
    target = as_target(x)
    replace(target, fitted(cast(value, target.value.dtype), target.value.dims))


def put(a: Any, ind: Any, v: Any, mode: str = "raise") -> None:
    """`np.put`: by places in C order; values are repeated where there are fewer.

    Raises:
        IndexingError: for places out of bounds with the mode "raise", when the program runs.
    """
    target = as_target(a)
    base, indices = target.value, as_array(ind).value
    if mode not in ("raise", "wrap", "clip"):
        raise errors.ValueRefusedError(
            f"clipmode must be one of 'clip', 'raise', or 'wrap' (got {mode!r})"
        )
    n, size = count(indices.dims), count(base.dims)
    places = ops.convert(ops.reshape(indices, (n,)), T.i64)
    if mode != "raise":
        extents = filled(as_value(size), (n,))
        low, high = filled(as_value(0), (n,)), ops.sub(extents, filled(as_value(1), (n,)))
        if mode == "wrap":
            places = ops.rem(places, extents)
        else:
            places = ops.minimum(ops.maximum(places, low), high)
    values = repeated(ops.convert(as_array(v).value, base.dtype), n)
    if values is None:
        return
    flat = wrap(ops.reshape(base, (size,)))
    setitem(flat, wrap(places), wrap(values))
    replace(target, ops.reshape(flat.value, base.dims))


def repeated(values: Value, n: Dim) -> Value | None:
    """So many values, in C order, from the first one on again where there are fewer; None where
    there are none."""
    have = count(values.dims)
    values = ops.reshape(values, (have,))
    if isinstance(have, int) and have <= 1:
        return ops.broadcast(ops.reshape(values, ()), (n,), ()) if have else None
    if same_dims((n,), (have,)):
        return values
    if isinstance(n, int) and isinstance(have, int):
        return ops.gather(values, [ops.const(np.arange(n) % have)], (0,))
    places = ops.rem(ops.iota((n,), 0), filled(as_value(have), (n,)))
    return ops.gather(values, [places], (0,))


def putmask(a: Any, mask: Any, values: Any) -> None:
    """`np.putmask`: values are repeated in C order of a."""
    target = as_target(a)
    base, given = target.value, as_array(values).value
    if given.rank and not same_dims(given.dims, base.dims):
        found = repeated(given, count(base.dims))
        if found is None:
            return
        given = ops.reshape(found, base.dims)
    copyto(a, wrap(given), "unsafe", mask)


def place(arr: Any, mask: Any, vals: Any) -> None:
    """`np.place`: the first values go where the mask is true, in C order."""
    target, flags = as_target(arr), as_array(mask)
    base, values = target.value, as_array(vals).value
    n, have = count(base.dims), count(values.dims)
    truth = ops.reshape(elementwise.truth(flags.value), (n,))
    (at,) = positions(truth)
    which = ops.rem(ops.iota(at.dims, 0), ops.full(as_value(have), at.dims))
    new = ops.gather(ops.reshape(ops.convert(values, base.dtype), (have,)), [which], (0,))
    flat = ops.scatter(ops.reshape(base, (n,)), new, [at], (0,), "set")
    replace(target, ops.reshape(flat, base.dims))


def fill_diagonal(a: Any, val: Any, wrap: bool = False) -> None:
    """`np.fill_diagonal`: values are repeated along the diagonal.

    Raises:
        ValueRefusedError: for arrays of less than two axes, or of unequal ones past two.
    """
    target = as_target(a)
    shape = target.value.dims
    if len(shape) < 2:
        raise errors.ValueRefusedError("array must be at least 2-d")
    if len(shape) > 2 and not all(same_dims(shape[:1], (d,)) for d in shape):
        raise errors.ValueRefusedError("All dimensions of input must be of equal length")
    values = ops.convert(as_array(val).value, target.value.dtype)
    if wrap and len(shape) == 2:
        _fill_wrapped(target, values)
        return
    n = as_dim(functools.reduce(_least, map(as_value, shape)))
    new = repeated(values, n)
    if new is not None:
        along = _new(ops.iota((n,), 0))
        setitem(target, (along,) * len(shape), _new(new))


def _new(value: Value) -> Tracer:
    return wrap(value)


def _least(x: Value, y: Value) -> Value:
    if isinstance(x, Literal) and isinstance(y, Literal):
        return x if x.item <= y.item else y
    return x if x is y else ops.minimum(x, y)


def _fill_wrapped(target: Tracer, values: Value) -> None:
    """A diagonal that starts again, below a row left out, where a tall matrix has more rows."""
    rows, columns = target.value.dims
    if not (isinstance(rows, int) and isinstance(columns, int)):
        raise errors.UnsupportedFunctionError(
            "np.fill_diagonal with wrap=True of an extent that the program decides",
            remedy="index the places: a.flat[::n + 1] = val",
        )
    places = np.arange(0, rows * columns, columns + 1)
    new = repeated(values, len(places))
    if new is not None:
        at = tuple(wrap(ops.const(i)) for i in np.divmod(places, columns))
        setitem(target, at, wrap(new))


TABLE: dict[Any, Callable[..., Any]] = {
    np.copyto: copyto,
    np.put: put,
    np.putmask: putmask,
    np.place: place,
    np.fill_diagonal: fill_diagonal,
}
