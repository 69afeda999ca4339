"""NumPy's functions that rearrange one array: reshape, axes, broadcasting, flips.

np.moveaxis(x, 0, -1)        %0 = transpose %x {perm=(1, 2, 0)}
np.flip(x, 0)                %0 = slice %x, 2, 0, 3, 4 {steps=(-1, 1)}
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jitnet import errors, ops
from jitnet.frontend import layouts
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
)
from jitnet.frontend.promotion import as_array
from jitnet.frontend.tracer import Tracer, wrap
from jitnet.ir import Dim, Value, as_dim, as_value


def _like(value: Value, x: Tracer) -> Tracer:
    """A rearrangement: an array, unless a NumPy scalar stays one."""
    return wrap(value, "scalar" if x.flavour == "scalar" and not value.rank else "array")


# -- shape -----------------------------------------------------------------------------------------


def reshape(a: Any, /, shape: Any = None, order: str = "C", *, copy: Any = None) -> Tracer:
    """`np.reshape`: one extent may be -1.

    Raises:
        UnsupportedFunctionError: for order "A" where only the program knows the strides.
    """
    x = as_array(a)
    dims = _resolved(x.value, _given(shape))
    if order == "K":
        raise errors.ValueRefusedError("order 'K' is not permitted for reshaping")
    if layouts.order_of(x.place, order, "np.reshape") == "C":
        return _like(ops.reshape(x.value, dims), x)
    backward = ops.transpose(x.value, builtins.range(x.ndim - 1, -1, -1))
    turned = ops.reshape(backward, dims[::-1])
    found = wrap(ops.transpose(turned, builtins.range(len(dims) - 1, -1, -1)))
    layouts.lay_out(found.place, "F")
    return found


def _given(shape: Any) -> list[Any]:
    single = isinstance(shape, (int, np.integer)) or (type(shape) is Tracer and shape.ndim == 0)
    return [shape] if single else list(shape)


def _resolved(x: Value, shape: Sequence[Any]) -> tuple[Dim, ...]:
    dims: list[Dim | None] = [
        None if isinstance(d, int) and d < 0 else d for d in (extent(d) for d in shape)
    ]
    if dims.count(None) > 1:
        raise errors.ValueRefusedError("can only specify one unknown dimension")
    known = [d for d in dims if d is not None]
    total, rest = count(x.dims), count(known)
    refusal = f"cannot reshape array of shape {show(x.dims)} into shape {_written(shape)}"
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
    x = as_array(a)
    return reshape(x, (count_of(x),), layouts.order_of(x.place, order, "np.ravel"))


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


# -- flips -----------------------------------------------------------------------------------------


def flip(m: Any, axis: Any = None) -> Tracer:
    """`np.flip`."""
    x = as_array(m)
    axes = tuple(builtins.range(x.ndim)) if axis is None else normal_axes(axis, x.ndim)
    key = tuple(slice(None, None, -1 if i in axes else 1) for i in builtins.range(x.ndim))
    found: Tracer = x[key]
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


def matrix_transpose(x: Any, /) -> Tracer:
    """`np.matrix_transpose`: the last two axes swapped.

    Raises:
        ValueRefusedError: for arrays of a rank below 2.
    """
    own = as_array(x)
    if own.ndim < 2:
        raise errors.ValueRefusedError(
            f"Input array must be at least 2-dimensional, but it is {own.ndim}"
        )
    return swapaxes(own, -1, -2)


TABLE: dict[Any, Callable[..., Any]] = {
    np.reshape: reshape,
    np.ravel: ravel,
    np.transpose: transpose,
    np.matrix_transpose: matrix_transpose,
    np.linalg.matrix_transpose: matrix_transpose,
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
    np.flip: flip,
    np.fliplr: fliplr,
    np.flipud: flipud,
    np.rot90: rot90,
}
