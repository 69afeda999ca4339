"""`np.linalg`'s norms, and small vector algebra: cross and Kronecker products, trace.

np.linalg.norm(x, axis=1)     %0 = mul %x, %x;  %1 = reduce_sum %0 {axes=(1,)};  %2 = sqrt %1
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from jitnet import errors, ops
from jitnet.frontend import elementwise, joining, reductions, shapes
from jitnet.frontend.dims import count, filled, normal_axes, normal_axis, number, static_shape
from jitnet.frontend.promotion import as_array
from jitnet.frontend.taking import diagonal
from jitnet.frontend.tracer import Tracer, supported_dtype, wrap
from jitnet.ir import Literal
from jitnet.ir import types as T

_call = elementwise.call


def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    """`np.linalg.norm`.

    Raises:
        ValueRefusedError: for orders and ranks that NumPy refuses.
        UnsupportedFunctionError: for norms of matrices by singular values.
    """
    own = as_array(x)
    if not own.value.dtype.is_numpy_inexact:
        own = wrap(ops.convert(own.value, T.f64))
    rank = own.ndim
    if axis is None and ord is None:
        return _root_of_squares(own, None, keepdims)
    axes = tuple(range(rank)) if axis is None else _given_axes(axis, rank)
    if len(axes) == 1:
        return vector_norm_along(own, ord, axes[0], keepdims)
    if len(axes) == 2:
        return _matrix_norm(own, ord, axes, keepdims)
    raise errors.ValueRefusedError("Improper number of dimensions to norm.")


def _given_axes(axis: Any, rank: int) -> tuple[int, ...]:
    if isinstance(axis, tuple):
        return normal_axes(axis, rank)
    try:
        return (normal_axis(int(axis), rank),)
    except (TypeError, ValueError) as error:
        if isinstance(error, errors.AxisError):
            raise
        raise errors.DTypeError("'axis' must be None, an integer or a tuple of integers") from error


def _root_of_squares(x: Tracer, axes: Any, keepdims: bool) -> Any:
    if axes is None and x.value.dtype is T.f16:  # NumPy's dot, which rounds once
        total = reductions.sum(_squares(x.astype(np.float32)), keepdims=keepdims)
        return _call(np.sqrt, total.astype(np.float16))
    return _call(np.sqrt, reductions.sum(_squares(x), axes, keepdims=keepdims))


def _squares(x: Tracer) -> Tracer:
    return wrap(elementwise.squared_size(x.value))


def vector_norm_along(x: Tracer, ord: Any, axis: int, keepdims: bool) -> Any:
    """The norm of order `ord` of the vectors along one axis."""
    if ord is None or ord == 2:
        return _root_of_squares(x, axis, keepdims)
    if isinstance(ord, str):
        raise errors.ValueRefusedError(f"Invalid norm order '{ord}' for vectors")
    size = _call(np.absolute, x)
    if ord == np.inf:
        return reductions.max(size, axis, keepdims=keepdims, initial=0)
    if ord == -np.inf:
        return reductions.min(size, axis, keepdims=keepdims)
    if ord == 0:
        nonzero = ops.convert(elementwise.truth(x.value), size.value.dtype)
        return reductions.sum(wrap(nonzero), axis, keepdims=keepdims)
    if ord == 1:
        return reductions.sum(size, axis, keepdims=keepdims)
    total = reductions.sum(_call(np.power, size, ord), axis, keepdims=keepdims)
    return _call(np.power, total, size.dtype.type(1) / size.dtype.type(ord))


def _matrix_norm(x: Tracer, ord: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    if ord in (None, "fro", "f"):
        return _root_of_squares(x, axes, keepdims)
    if ord in (2, -2, "nuc"):
        raise errors.UnsupportedFunctionError(
            f"the norm of matrices of order {ord!r}",
            why="it needs singular values, which this version does not have",
            remedy="use the Frobenius norm, or ord 1 or inf",
        )
    if ord not in (1, -1, np.inf, -np.inf):
        raise errors.ValueRefusedError("Invalid norm order for matrices.")
    rows, columns = axes
    along, across = (rows, columns) if abs(ord) == 1 else (columns, rows)
    sums = reductions.sum(_call(np.absolute, x), along, keepdims=True)
    if ord > 0:
        found = reductions.max(sums, across, keepdims=True, initial=0)
    else:
        found = reductions.min(sums, across, keepdims=True)
    if keepdims:
        return found
    dims = tuple(d for i, d in enumerate(found.value.dims) if i not in axes)
    return wrap(ops.reshape(found.value, dims), "array" if dims else "scalar")


def vector_norm(x: Any, /, *, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Any:
    """`np.linalg.vector_norm`: of the flattened array, or of vectors along an axis."""
    own = as_array(x)
    if not own.value.dtype.is_numpy_inexact:
        own = wrap(ops.convert(own.value, T.f64))
    if axis is not None and not isinstance(axis, tuple):
        return vector_norm_along(own, ord, normal_axis(axis, own.ndim), keepdims)
    axes = tuple(range(own.ndim)) if axis is None else normal_axes(axis, own.ndim)
    moved = shapes.moveaxis(own, axes, tuple(range(len(axes))))
    rest = moved.value.dims[len(axes) :]
    found = vector_norm_along(shapes.reshape(moved, (-1, *map(number, rest))), ord, 0, False)
    if not keepdims:
        return found
    return wrap(
        ops.reshape(found.value, [1 if i in axes else d for i, d in enumerate(own.value.dims)])
    )


def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> Any:
    """`np.linalg.matrix_norm`: of the matrices in the last two axes."""
    return norm(x, ord, (-2, -1), keepdims)


def trace(
    a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None, out: Any = None
) -> Any:
    """`np.trace`."""
    return reductions.sum(diagonal(a, offset, axis1, axis2), -1, dtype, out)


# -- products --------------------------------------------------------------------------------------


def cross(
    a: Any, b: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None
) -> Tracer:
    """`np.cross` of vectors of three components.

    Raises:
        ValueRefusedError: for vectors of other extents.
        UnsupportedFunctionError: for those of two, which NumPy deprecates.
    """
    if axis is not None:
        axisa = axisb = axisc = axis
    x, y = as_array(a), as_array(b)
    if x.ndim < 1 or y.ndim < 1:
        raise errors.ValueRefusedError("At least one array has zero dimension")
    x = shapes.moveaxis(x, normal_axis(axisa, x.ndim, "axisa"), -1)
    y = shapes.moveaxis(y, normal_axis(axisb, y.ndim, "axisb"), -1)
    sizes = {x.value.dims[-1], y.value.dims[-1]}
    if not sizes <= {2, 3}:
        raise errors.ValueRefusedError(
            "incompatible dimensions for cross product\n(dimension must be 2 or 3)"
        )
    if sizes != {3}:
        raise errors.UnsupportedFunctionError(
            "np.cross of vectors of two components",
            why="NumPy deprecates it",
            remedy="x[..., 0] * y[..., 1] - x[..., 1] * y[..., 0]",
        )
    parts = []
    for i, j in ((1, 2), (2, 0), (0, 1)):
        left = _call(np.multiply, x[..., i], y[..., j])
        parts.append(_call(np.subtract, left, _call(np.multiply, x[..., j], y[..., i])))
    joined = joining.stack(parts, -1)
    return shapes.moveaxis(joined, -1, normal_axis(axisc, joined.ndim, "axisc"))


def kron(a: Any, b: Any) -> Any:
    """`np.kron`: each element of a times all of b, in blocks."""
    x, y = as_array(a), as_array(b)
    if x.ndim == 0 or y.ndim == 0:
        return _call(np.multiply, x, y)
    rank = max(x.ndim, y.ndim)
    left = (1,) * (rank - x.ndim) + x.value.dims
    right = (1,) * (rank - y.ndim) + y.value.dims
    outer = ops.reshape(x.value, [d for pair in zip(left, [1] * rank) for d in pair])
    inner = ops.reshape(y.value, [d for pair in zip([1] * rank, right) for d in pair])
    found = _call(np.multiply, wrap(outer), wrap(inner))
    return wrap(ops.reshape(found.value, [count(pair) for pair in zip(left, right)]))


def vander(x: Any, N: int | None = None, increasing: bool = False) -> Tracer:
    """`np.vander`: columns of powers, each the one before it times x, as NumPy makes them.

    Raises:
        ValueRefusedError: for arrays that are not of rank 1.
    """
    own = as_array(x).value
    if own.rank != 1:
        raise errors.ValueRefusedError("x must be a one-dimensional array or sequence.")
    (n,) = static_shape(wrap(own), "np.vander")
    columns = n if N is None else operator.index(N)
    own = ops.convert(own, supported_dtype(np.promote_types(own.dtype.numpy, int)))
    factors = [filled(Literal(1, own.dtype), own.dims), *[own] * (columns - 1)]
    stacked = joining.stack([wrap(v) for v in factors], 1)[:, : max(columns, 0)]
    powers = reductions.cumprod(stacked, 1)
    return powers if increasing else shapes.flip(powers, 1)


TABLE: dict[Any, Callable[..., Any]] = {
    np.linalg.norm: norm,
    np.linalg.vector_norm: vector_norm,
    np.linalg.matrix_norm: matrix_norm,
    np.trace: trace,
    np.linalg.trace: lambda x, /, *, offset=0, dtype=None: trace(x, offset, -2, -1, dtype),
    np.linalg.diagonal: lambda x, /, *, offset=0: diagonal(x, offset, -2, -1),
    np.cross: cross,
    np.linalg.cross: lambda x1, x2, /, *, axis=-1: cross(x1, x2, axis=axis),
    np.kron: kron,
    np.vander: vander,
}
