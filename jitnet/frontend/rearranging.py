"""NumPy's functions that leave out, put in and pick by number: delete, insert, choose, piecewise.

np.delete(x, i)      %at = iota, plus one from i on;  gather %x, %at
np.insert(x, i, v)   the same of x and v, joined

Where all positions are known, NumPy itself rearranges the numbers of the elements.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jitnet import errors, ops
from jitnet.frontend import numpy_source
from jitnet.frontend.dims import broadcast_dims, count, filled, normal_axis, number
from jitnet.frontend.either import either, is_traced, value_of
from jitnet.frontend.promotion import as_array, as_dtype, result_type
from jitnet.frontend.reductions import refuse_out
from jitnet.frontend.tracer import Tracer, wrap
from jitnet.ir import Dim, Value
from jitnet.ir import types as T

_MOST_ROWS = 256  # that `apply_along_axis` writes out

# -- delete and insert -----------------------------------------------------------------------------


def delete(arr: Any, obj: Any, axis: Any = None) -> Tracer:
    """`np.delete`: at known positions, one that is traced, or by a traced mask.

    Raises:
        IndexingError: for a position out of bounds; for a traced one, when the program runs.
        UnsupportedFunctionError: for several traced positions.
    """
    x, along = _flat_or_axis(arr, axis)
    n = number(x.value.dims[along])
    if not is_traced(obj):
        return _at(x, _known(np.delete, n, obj), along)
    places = as_array(obj)
    if places.value.dtype.is_bool:
        return _at(x, either(np.flatnonzero, ~places), along)
    _require_one(places, "np.delete")
    position = _position(places, n, along, n)
    kept = wrap(ops.iota((_dim(n - 1),)))
    return _at(x, kept + (kept >= position), along)


def insert(arr: Any, obj: Any, values: Any, axis: Any = None) -> Tracer:
    """`np.insert`: at known positions, or one that is traced.

    Raises: as `delete`.
    """
    x, along = _flat_or_axis(arr, axis)
    new = as_array(values).astype(x.dtype, copy=False)
    n = number(x.value.dims[along])
    single = not isinstance(obj, slice) and as_array(obj).ndim == 0
    if single:  # each value is a slice of its own then
        new = new.reshape((1,) * (x.ndim - new.ndim) + new.shape)
        new = either(np.moveaxis, new, 0, along)
    added = new.shape[along] if single else _number_of(obj, n)
    dims = [number(d) for d in x.value.dims]
    dims[along] = added
    both = either(np.concatenate, (x, either(np.broadcast_to, new, tuple(dims))), axis=along)
    if not is_traced(obj):
        numbers = np.arange(n, n + added)
        return _at(both, _known(np.insert, n, obj, numbers), along)
    places = as_array(obj)
    _require_one(places, "np.insert")
    position = _position(places, n, along, n + 1)
    at = wrap(ops.iota((_dim(n + added),)))
    behind = either(np.where, at < position + added, at - position + n, at - added)
    return _at(both, either(np.where, at < position, at, behind), along)


def _flat_or_axis(a: Any, axis: Any) -> tuple[Tracer, int]:
    x = as_array(a)
    if axis is None:
        return wrap(ops.reshape(x.value, (count(x.value.dims),))), 0
    return x, normal_axis(axis, x.ndim)


def _dim(n: Any) -> Dim:
    """An extent from a Python int, known or traced; not less than none."""
    if type(n) is Tracer:
        found: Dim = ops.maximum(n.value, 0)
        return found
    return max(operator.index(n), 0)


def _known(rearrange: Callable[..., Any], n: Any, *args: Any) -> Any:
    """What NumPy makes of the numbers of the elements."""
    try:
        return rearrange(np.arange(operator.index(n)), *args)
    except IndexError as error:
        raise errors.IndexingError(str(error)) from None


def _number_of(obj: Any, n: Any) -> int:
    """How many positions a known slice, sequence or mask has."""
    return len(np.insert(np.arange(operator.index(n)), obj, 0)) - operator.index(n)


def _require_one(places: Tracer, name: str) -> None:
    if places.ndim and places.value.dims != (1,):
        raise errors.UnsupportedFunctionError(
            f"{name} at several traced positions", remedy="use a mask: x[keep]"
        )
    if not places.value.dtype.is_integer:
        raise errors.IndexingError("arrays used as indices must be of integer (or boolean) type")


def _position(places: Tracer, n: Any, axis: int, stop: Any) -> Tracer:
    """One traced position from the front, below `stop`."""
    at = wrap(ops.convert(ops.reshape(places.value, ()), T.i64))
    inside = (at >= -n) & (at < stop)
    message = f"index {{0}} is out of bounds for axis {axis} with size {{1}}"
    ops.check(inside.value, [at.value, as_array(n).value], "IndexError", message)
    found: Tracer = either(np.where, at < 0, at + n, at)
    return found


def _at(x: Tracer, places: Any, axis: int) -> Tracer:
    """The slices of x at positions that are in bounds."""
    found = ops.gather(x.value, [value_of(places)], (axis,))
    return wrap(ops.transpose(found, (*range(1, axis + 1), 0, *range(axis + 1, x.ndim))))


def trim_zeros(filt: Any, trim: str = "fb", axis: Any = None) -> Any:
    """`np.trim_zeros` of a vector: data decides how long the result is.

    Raises:
        UnsupportedFunctionError: for arrays of other ranks.
        ValueRefusedError: for other ends than "f" and "b".
    """
    x = as_array(filt)
    if x.ndim != 1:
        raise errors.UnsupportedFunctionError("np.trim_zeros of other arrays than vectors")
    ends = trim.lower()
    if not ends or set(ends) - set("fb"):
        raise errors.ValueRefusedError(f"unexpected character(s) in `trim`: {trim!r}")
    n = number(x.value.dims[0])
    places = wrap(ops.iota((x.value.dims[0],)))
    full = x != 0
    start = either(np.min, either(np.where, full, places, n), initial=n) if "f" in ends else 0
    stop = either(np.max, either(np.where, full, places + 1, 0), initial=0)
    if "b" not in ends:
        stop = either(np.where, stop == 0, 0, n)
    return x[either(np.minimum, start, stop) : stop]


# -- by number -------------------------------------------------------------------------------------


def choose(a: Any, choices: Any, out: Any = None, mode: str = "raise") -> Tracer:
    """`np.choose`: for each element the choice of that number.

    Raises:
        ValueRefusedError: without a choice; for a number that there is not, when the program runs.
    """
    refuse_out(out)
    own = [as_array(c) for c in (choices if isinstance(choices, (tuple, list)) else list(choices))]
    if not own:
        raise errors.ValueRefusedError("invalid entry in choice array")
    which = _brought_in(as_array(a), len(own), mode, "invalid entry in choice array")
    common = result_type(*own)
    values = [as_dtype(c, common) for c in own]
    dims = broadcast_dims(which.dims, *(v.dims for v in values))
    which = filled(which, dims)
    found = filled(values[-1], dims)
    for k in reversed(range(len(values) - 1)):
        found = ops.select(ops.eq(which, k), filled(values[k], dims), found)
    return wrap(found, "array" if found.rank else "scalar")


def _brought_in(places: Tracer, n: int, mode: Any, message: str) -> Value:
    """Integers within [0, n), by a mode of NumPy's."""
    i = ops.convert(places.value, T.i64)
    if mode == "wrap":
        return ops.rem(i, n)
    if mode == "clip":
        return ops.minimum(ops.maximum(i, 0), n - 1)
    if mode != "raise":
        raise errors.ValueRefusedError(f"clipmode not understood: {mode!r}")
    inside = ops.bitwise_and(ops.ge(i, 0), ops.lt(i, n))
    ops.check(ops.reduce_all(inside, range(i.rank)), [], "ValueError", message)
    return i


def ravel_multi_index(multi_index: Any, dims: Any, mode: Any = "raise", order: str = "C") -> Tracer:
    """`np.ravel_multi_index`.

    Raises:
        ValueRefusedError: for other than one index array an axis; out of bounds when it runs.
    """
    arrays = [as_array(i) for i in multi_index]
    shape = tuple(operator.index(d) for d in dims)
    if len(arrays) != len(shape):
        raise errors.ValueRefusedError(
            f"parameter multi_index must be a sequence of length {len(shape)}"
        )
    modes = mode if isinstance(mode, tuple) else (mode,) * len(shape)
    places = [
        _brought_in(i, n, m, "invalid entry in coordinates array")
        for i, n, m in zip(arrays, shape, modes)
    ]
    common = broadcast_dims(*(p.dims for p in places))
    steps = _steps(shape, order)
    terms = [ops.mul(filled(p, common), s) for p, s in zip(places, steps)]
    total = terms[0]
    for term in terms[1:]:
        total = ops.add(total, term)
    return wrap(total, "array" if total.rank else "scalar")


def _steps(shape: Sequence[int], order: str) -> list[int]:
    """How far apart neighbours along each axis are."""
    if order not in ("C", "F"):
        raise errors.ValueRefusedError("only 'C' or 'F' order is permitted")
    steps, step = [], 1
    for n in reversed(shape) if order == "C" else shape:
        steps.append(step)
        step *= n
    return steps[::-1] if order == "C" else steps


def unravel_index(indices: Any, shape: Any, order: str = "C") -> tuple[Tracer, ...]:
    """`np.unravel_index`.

    Raises:
        ValueRefusedError: for indices out of bounds, when the program runs.
    """
    given = as_array(indices)
    if not given.value.dtype.is_integer:
        raise errors.DTypeError("only int indices permitted")
    extents = (shape,) if np.ndim(shape) == 0 else shape
    sizes = tuple(operator.index(d) for d in extents)
    total = int(np.prod(sizes, dtype=np.int64))
    message = f"index is out of bounds for array with size {total}"
    i = ops.convert(given.value, T.i64)
    inside = ops.bitwise_and(ops.ge(i, 0), ops.lt(i, total))
    ops.check(ops.reduce_all(inside, range(i.rank)), [], "ValueError", message)
    parts = [
        ops.rem(ops.floordiv(i, step), n) if n else i
        for n, step in zip(sizes, _steps([max(n, 1) for n in sizes], order))
    ]
    return tuple(wrap(p, "array" if p.rank else "scalar") for p in parts)


# -- functions of parts ----------------------------------------------------------------------------


def piecewise(x: Any, condlist: Any, funclist: Any, *args: Any, **kw: Any) -> Tracer:
    """`np.piecewise`: each function is called with the elements where its condition holds.

    Raises:
        ValueRefusedError: for other than as many functions as conditions, or one more.
    """
    given = as_array(x)
    single = np.isscalar(condlist) or not isinstance(condlist[0], (list, np.ndarray))
    conditions = [condlist] if single and given.ndim else condlist
    masks = [as_array(c).astype(bool) for c in conditions]
    functions = list(funclist)
    if len(functions) == len(masks) + 1:
        rest = masks[0]
        for mask in masks[1:]:
            rest = rest | mask
        masks.append(~rest)
    elif len(functions) != len(masks):
        raise errors.ValueRefusedError(
            f"with {len(masks)} condition(s), either {len(masks)} or {len(masks) + 1} functions "
            "are expected"
        )
    found: Tracer = either(np.zeros_like, given)
    for mask, function in zip(masks, functions):
        found[mask] = function(given[mask], *args, **kw) if callable(function) else function
    return found


def apply_along_axis(func1d: Any, axis: Any, arr: Any, *args: Any, **kwargs: Any) -> Any:
    """`np.apply_along_axis`: the function is traced for each row.

    Raises:
        UnsupportedFunctionError: for more rows than 256, or as many as data decides.
    """
    x = as_array(arr)
    along = normal_axis(axis, x.ndim)
    rows = count([d for i, d in enumerate(x.value.dims) if i != along])
    if not isinstance(rows, int) or rows > _MOST_ROWS:
        many = rows if isinstance(rows, int) else "a traced number of"
        raise errors.UnsupportedFunctionError(
            f"np.apply_along_axis of {many} rows",
            why=f"the function is traced for each row, of which there may be {_MOST_ROWS}",
            remedy="call a function that takes axis=, or loop over the rows",
        )
    return numpy_source.run(np.apply_along_axis, (func1d, axis, x, *args), kwargs)


TABLE: dict[Any, Callable[..., Any]] = {
    np.delete: delete,
    np.insert: insert,
    np.trim_zeros: trim_zeros,
    np.choose: choose,
    np.ravel_multi_index: ravel_multi_index,
    np.unravel_index: unravel_index,
    np.piecewise: piecewise,
    np.apply_along_axis: apply_along_axis,
}
