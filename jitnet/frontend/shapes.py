"""NumPy's functions that rearrange: reshape, axes, joining, splitting, repeating.

np.moveaxis(x, 0, -1)        %0 = transpose %x {perm=(1, 2, 0)}
np.stack([x, y])             two reshapes and a concatenate
"""

from __future__ import annotations

import builtins
import itertools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jitnet import errors, ops
from jitnet.frontend.dims import (
    broadcast_dims,
    count,
    extent,
    extents,
    filled,
    normal_axes,
    normal_axis,
    require_equal,
    show,
    spread,
    static_shape,
)
from jitnet.frontend.promotion import as_array, as_dtype, operand, result_type
from jitnet.frontend.tracer import Tracer, supported_dtype, wrap
from jitnet.ir import Dim, Value, as_dim, as_value


def _like(value: Value, x: Tracer) -> Tracer:
    """A rearrangement: an array, unless a NumPy scalar stays one."""
    return wrap(value, "scalar" if x.flavour == "scalar" and not value.rank else "array")


# -- shape -----------------------------------------------------------------------------------------


def reshape(a: Any, /, shape: Any = None, order: str = "C", *, copy: Any = None) -> Tracer:
    """`np.reshape`: one extent may be -1; orders "C" and "F"."""
    x = as_array(a)
    dims = _resolved(x.value, _given(shape))
    if order not in ("C", "F", "A", "K"):
        raise errors.ValueRefusedError(f"order must be one of 'C', 'F', 'A', or 'K', not {order!r}")
    if order != "F":
        return wrap(ops.reshape(x.value, dims))
    backward = ops.transpose(x.value, builtins.range(x.ndim - 1, -1, -1))
    turned = ops.reshape(backward, dims[::-1])
    return wrap(ops.transpose(turned, builtins.range(len(dims) - 1, -1, -1)))


def _given(shape: Any) -> list[Any]:
    single = isinstance(shape, (int, np.integer)) or (type(shape) is Tracer and shape.ndim == 0)
    return [shape] if single else list(shape)


def _resolved(x: Value, shape: Sequence[Any]) -> tuple[Dim, ...]:
    dims: list[Dim | None] = [
        None if type(d) is not Tracer and operator.index(d) == -1 else extent(d) for d in shape
    ]
    if dims.count(None) > 1:
        raise errors.ValueRefusedError("can only specify one unknown dimension")
    known = [d for d in dims if d is not None]
    total, rest = count(x.dims), count(known)
    refusal = f"cannot reshape array of shape {show(x.dims)} into shape {_written(shape)}"
    if any(isinstance(d, int) and d < 0 for d in known):
        raise errors.ShapeError(refusal)
    if None not in dims:
        require_equal(total, rest, refusal)
        return tuple(known)
    if isinstance(total, int) and isinstance(rest, int):
        if rest == 0 or total % rest:
            raise errors.ShapeError(refusal)
        missing: Dim = total // rest
    elif isinstance(rest, int) and rest == 1:
        missing = total
    else:
        missing = as_dim(ops.floordiv(as_value(total), as_value(rest)))
    return tuple(missing if d is None else d for d in dims)


def _written(shape: Sequence[Any]) -> str:
    parts = [str(d) if type(d) is not Tracer else "?" for d in shape]
    return f"({parts[0]},)" if len(parts) == 1 else f"({','.join(parts)})"


def ravel(a: Any, order: str = "C") -> Tracer:
    """`np.ravel`."""
    return reshape(a, -1, order) if order == "F" else reshape(a, (count_of(as_array(a)),))


def count_of(x: Tracer) -> Any:
    n = count(x.value.dims)
    return n if isinstance(n, int) else wrap(n, "python")


def transpose(a: Any, axes: Any = None) -> Tracer:
    """`np.transpose`."""
    x = as_array(a)
    if axes is None:
        perm = tuple(builtins.range(x.ndim - 1, -1, -1))
    else:
        if len(axes) != x.ndim:
            raise errors.ValueRefusedError("axes don't match array")
        perm = normal_axes(tuple(axes), x.ndim, "transpose")
    return _like(ops.transpose(x.value, perm) if x.ndim else x.value, x)


def moveaxis(a: Any, source: Any, destination: Any) -> Tracer:
    """`np.moveaxis`."""
    x = as_array(a)
    left, right = normal_axes(source, x.ndim, "source"), normal_axes(destination, x.ndim, "dest")
    if len(left) != len(right):
        raise errors.ValueRefusedError(
            "`source` and `destination` arguments must have the same number of elements"
        )
    order = [i for i in builtins.range(x.ndim) if i not in left]
    for to, at in sorted(zip(right, left)):
        order.insert(to, at)
    return wrap(ops.transpose(x.value, order))


def swapaxes(a: Any, axis1: Any, axis2: Any) -> Tracer:
    """`np.swapaxes`."""
    x = as_array(a)
    i, j = normal_axis(axis1, x.ndim), normal_axis(axis2, x.ndim)
    order = list(builtins.range(x.ndim))
    order[i], order[j] = order[j], order[i]
    return wrap(ops.transpose(x.value, order))


def rollaxis(a: Any, axis: int, start: int = 0) -> Tracer:
    """`np.rollaxis`."""
    x = as_array(a)
    axis = normal_axis(axis, x.ndim)
    start = start + x.ndim if start < 0 else start
    return moveaxis(x, axis, start - 1 if axis < start else start)


def expand_dims(a: Any, axis: Any) -> Tracer:
    """`np.expand_dims`."""
    x = as_array(a)
    given = tuple(axis) if isinstance(axis, (tuple, list)) else (axis,)
    rank = x.ndim + len(given)
    places = normal_axes(given, rank)
    own = iter(x.value.dims)
    dims = tuple(1 if i in places else next(own) for i in builtins.range(rank))
    return wrap(ops.reshape(x.value, dims))


def squeeze(a: Any, axis: Any = None) -> Tracer:
    """`np.squeeze`."""
    x = as_array(a)
    if axis is None:
        places = tuple(i for i, d in enumerate(x.value.dims) if d == 1)
    else:
        places = normal_axes(axis, x.ndim)
        if any(x.value.dims[i] != 1 for i in places):
            raise errors.ShapeError(
                "cannot select an axis to squeeze out which has size not equal to one"
            )
    dims = tuple(d for i, d in enumerate(x.value.dims) if i not in places)
    return _like(ops.reshape(x.value, dims), x)


def _at_least(rank: int, arrays: Sequence[Any], widen: Callable[[Value], Value]) -> Any:
    found = [wrap(widen(as_array(a).value)) for a in arrays]
    return found[0] if len(found) == 1 else tuple(found)


def atleast_1d(*arys: Any) -> Any:
    """`np.atleast_1d`."""
    return _at_least(1, arys, lambda v: v if v.rank else ops.reshape(v, (1,)))


def atleast_2d(*arys: Any) -> Any:
    """`np.atleast_2d`."""
    return _at_least(
        2, arys, lambda v: v if v.rank >= 2 else ops.reshape(v, (1, *(v.dims or (1,))))
    )


def atleast_3d(*arys: Any) -> Any:
    """`np.atleast_3d`."""

    def widen(v: Value) -> Value:
        if v.rank >= 3:
            return v
        dims = {0: (1, 1, 1), 1: (1, *v.dims, 1), 2: (*v.dims, 1)}[v.rank]
        return ops.reshape(v, dims)

    return _at_least(3, arys, widen)


def broadcast_to(array: Any, shape: Any, subok: bool = False) -> Tracer:
    """`np.broadcast_to`."""
    x = as_array(array)
    dims = extents(shape)
    joined = broadcast_dims(x.value.dims, dims)
    if len(joined) != len(dims) or any(isinstance(a, int) and a != b for a, b in zip(joined, dims)):
        raise errors.ShapeError(
            f"cannot broadcast shape {show(x.value.dims)} to {show(dims)}: "
            "operands could not be broadcast together"
        )
    return wrap(filled(x.value, dims))


def broadcast_arrays(*args: Any, subok: bool = False) -> tuple[Tracer, ...]:
    """`np.broadcast_arrays`."""
    arrays = [as_array(a) for a in args]
    dims = broadcast_dims(*(x.value.dims for x in arrays))
    return tuple(wrap(filled(x.value, dims)) for x in arrays)


# -- joining ---------------------------------------------------------------------------------------


def _promoted(arrays: Any, dtype: Any = None) -> list[Tracer]:
    given = [as_array(a) for a in arrays]
    if not given:
        raise errors.ValueRefusedError("need at least one array to concatenate")
    kinds = [operand(a) for a in arrays]
    common = result_type(*kinds) if dtype is None else supported_dtype(np.dtype(dtype), "dtype=")
    return [wrap(as_dtype(x, common)) for x in given]


def concatenate(
    arrays: Any, /, axis: Any = 0, out: Any = None, *, dtype: Any = None, casting: str = "same_kind"
) -> Tracer:
    """`np.concatenate`."""
    given = _promoted(arrays, dtype)
    if axis is None:
        given, axis = [ravel(x) for x in given], 0
    if any(x.ndim == 0 for x in given):
        raise errors.ValueRefusedError("zero-dimensional arrays cannot be concatenated")
    axis = normal_axis(axis, given[0].ndim)
    first = given[0].value
    for i, x in enumerate(given):
        if x.ndim != first.rank:
            raise errors.ShapeError(
                "all the input array dimensions except for the concatenation axis must match "
                f"exactly: array 0 has {first.rank} dimensions, array {i} has {x.ndim}"
            )
        for k, (a, b) in enumerate(zip(first.dims, x.value.dims)):
            if k != axis:
                require_equal(
                    a,
                    b,
                    "all the input array dimensions except for the concatenation axis must match "
                    f"exactly: {show(first.dims)} and {show(x.value.dims)}",
                )
    return wrap(ops.concatenate([x.value for x in given], axis))


def stack(
    arrays: Any, axis: Any = 0, out: Any = None, *, dtype: Any = None, casting: str = "same_kind"
) -> Tracer:
    """`np.stack`."""
    given = _promoted(arrays, dtype)
    if len({show(x.value.dims) for x in given}) > 1:
        raise errors.ShapeError("all input arrays must have the same shape")
    return concatenate([expand_dims(x, axis) for x in given], normal_axis(axis, given[0].ndim + 1))


def vstack(tup: Any, *, dtype: Any = None, casting: str = "same_kind") -> Tracer:
    """`np.vstack`."""
    return concatenate([atleast_2d(a) for a in tup], 0, dtype=dtype)


def hstack(tup: Any, *, dtype: Any = None, casting: str = "same_kind") -> Tracer:
    """`np.hstack`."""
    given = [atleast_1d(a) for a in tup]
    return concatenate(given, 0 if given and given[0].ndim == 1 else 1, dtype=dtype)


def dstack(tup: Any) -> Tracer:
    """`np.dstack`."""
    return concatenate([atleast_3d(a) for a in tup], 2)


def column_stack(tup: Any) -> Tracer:
    """`np.column_stack`."""
    given = [as_array(a) for a in tup]
    columns = [expand_dims(atleast_1d(x), 1) if x.ndim < 2 else x for x in given]
    return concatenate(columns, 1)


def append(arr: Any, values: Any, axis: Any = None) -> Tracer:
    """`np.append`: a new array."""
    return concatenate([as_array(arr), as_array(values)], axis)


# -- splitting, repeating --------------------------------------------------------------------------


def array_split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Tracer]:
    """`np.array_split`."""
    x = as_array(ary)
    axis = normal_axis(axis, x.ndim)
    n = static_shape(x, "splitting")[axis]
    if isinstance(indices_or_sections, (int, np.integer)):
        sections = int(indices_or_sections)
        if sections <= 0:
            raise errors.ValueRefusedError("number sections must be larger than 0.")
        each, extra = divmod(n, sections)
        sizes = [0] + extra * [each + 1] + (sections - extra) * [each]
        bounds = list(np.cumsum(sizes))
    else:
        bounds = [0, *(int(i) for i in indices_or_sections), n]
    lead = (slice(None),) * axis
    return [x[(*lead, slice(int(a), int(b)))] for a, b in itertools.pairwise(bounds)]


def split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Tracer]:
    """`np.split`."""
    x = as_array(ary)
    if isinstance(indices_or_sections, (int, np.integer)):
        n = static_shape(x, "splitting")[normal_axis(axis, x.ndim)]
        if n % indices_or_sections:
            raise errors.ValueRefusedError("array split does not result in an equal division")
    return array_split(x, indices_or_sections, axis)


def repeat(a: Any, repeats: Any, axis: Any = None) -> Tracer:
    """`np.repeat`, with one count for all elements or known counts."""
    x = as_array(a)
    if axis is None:
        x, axis = ravel(x), 0
    axis = normal_axis(axis, x.ndim)
    n = static_shape(x, "np.repeat")[axis]
    if type(repeats) is Tracer and repeats.ndim:
        raise errors.ConcretizationError(
            "np.repeat with traced counts",
            why="they decide the shape of the result",
            remedy="pass the counts as a known array",
        )
    where = np.repeat(np.arange(n), repeats if type(repeats) is not Tracer else int(repeats))
    found: Tracer = x[(*(slice(None),) * axis, where)]
    return found


def tile(A: Any, reps: Any) -> Tracer:
    """`np.tile`."""
    x = as_array(A)
    counts = [operator.index(r) for r in (reps if isinstance(reps, (tuple, list)) else (reps,))]
    dims: list[Dim] = [*[1] * (len(counts) - x.ndim), *x.value.dims]
    counts = [1] * (len(dims) - len(counts)) + counts
    split_dims = [d for pair in zip([1] * len(dims), dims) for d in pair]
    wide = [d for pair in zip(counts, dims) for d in pair]
    tall = ops.reshape(x.value, split_dims)
    spread_out = spread(tall, tuple(wide))
    return wrap(ops.reshape(spread_out, tuple(count((c, d)) for c, d in zip(counts, dims))))


def roll(a: Any, shift: Any, axis: Any = None) -> Tracer:
    """`np.roll` by known distances."""
    x = as_array(a)
    if axis is None:
        flat = roll(ravel(x), shift, 0)
        return wrap(ops.reshape(flat.value, x.value.dims))
    shifts, axes = np.broadcast_arrays(shift, axis)
    for by, along in zip(shifts.ravel().tolist(), axes.ravel().tolist()):
        along = normal_axis(along, x.ndim)
        n = static_shape(x, "np.roll")[along]
        by = by % n if n else 0
        if by:
            lead = (slice(None),) * along
            parts = [x[(*lead, slice(n - by, None))], x[(*lead, slice(None, n - by))]]
            x = concatenate(parts, along)
    return x


def flip(m: Any, axis: Any = None) -> Tracer:
    """`np.flip`."""
    x = as_array(m)
    axes = tuple(builtins.range(x.ndim)) if axis is None else normal_axes(axis, x.ndim)
    key = tuple(slice(None, None, -1 if i in axes else 1) for i in builtins.range(x.ndim))
    found: Tracer = x[key] if x.ndim else x
    return found


def fliplr(m: Any) -> Tracer:
    """`np.fliplr`."""
    if as_array(m).ndim < 2:
        raise errors.ValueRefusedError("Input must be >= 2-d.")
    return flip(m, 1)


def flipud(m: Any) -> Tracer:
    """`np.flipud`."""
    if as_array(m).ndim < 1:
        raise errors.ValueRefusedError("Input must be >= 1-d.")
    return flip(m, 0)


def rot90(m: Any, k: int = 1, axes: Any = (0, 1)) -> Tracer:
    """`np.rot90`."""
    x = as_array(m)
    i, j = normal_axes(tuple(axes), x.ndim)
    k %= 4
    if k == 0:
        return x
    if k == 2:
        return flip(flip(x, i), j)
    return swapaxes(flip(x, j), i, j) if k == 1 else flip(swapaxes(x, i, j), j)


def pad(array: Any, pad_width: Any, mode: Any = "constant", **kwargs: Any) -> Tracer:
    """`np.pad` with a constant, or with the edge's elements."""
    x = as_array(array)
    widths = np.broadcast_to(np.asarray(pad_width, dtype=np.int64), (x.ndim, 2)).tolist()
    low, high = tuple(w[0] for w in widths), tuple(w[1] for w in widths)
    if min((*low, *high), default=0) < 0:
        raise errors.ValueRefusedError("index can't contain negative values")
    if mode == "constant":
        fill = kwargs.get("constant_values", 0)
        if np.ndim(fill):
            raise errors.UnsupportedFunctionError(
                "np.pad with several constant_values", remedy="pad one axis at a time"
            )
        value = as_dtype(operand(fill), x.value.dtype)
        return wrap(ops.pad(x.value, value, low, high))
    if mode == "edge":
        for axis, (a, b) in enumerate(widths):
            n = static_shape(x, "np.pad")[axis]
            where = np.clip(np.arange(-a, n + b), 0, n - 1)
            x = x[(*(slice(None),) * axis, where)]
        return x
    raise errors.UnsupportedFunctionError(
        f"np.pad with mode={mode!r}", remedy='use mode="constant" or "edge", or concatenate'
    )


TABLE: dict[Any, Callable[..., Any]] = {
    np.reshape: reshape,
    np.ravel: ravel,
    np.transpose: transpose,
    np.moveaxis: moveaxis,
    np.swapaxes: swapaxes,
    np.rollaxis: rollaxis,
    np.expand_dims: expand_dims,
    np.squeeze: squeeze,
    np.atleast_1d: atleast_1d,
    np.atleast_2d: atleast_2d,
    np.atleast_3d: atleast_3d,
    np.broadcast_to: broadcast_to,
    np.broadcast_arrays: broadcast_arrays,
    np.concatenate: concatenate,
    np.stack: stack,
    np.vstack: vstack,
    np.hstack: hstack,
    np.dstack: dstack,
    np.column_stack: column_stack,
    np.append: append,
    np.array_split: array_split,
    np.split: split,
    np.vsplit: lambda ary, n: split(ary, n, 0),
    np.hsplit: lambda ary, n: split(ary, n, 1 if as_array(ary).ndim > 1 else 0),
    np.dsplit: lambda ary, n: split(ary, n, 2),
    np.repeat: repeat,
    np.tile: tile,
    np.roll: roll,
    np.flip: flip,
    np.fliplr: fliplr,
    np.flipud: flipud,
    np.rot90: rot90,
    np.pad: pad,
}
