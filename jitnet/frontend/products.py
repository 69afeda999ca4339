"""Matrix products: NumPy's rules for axes, put into terms of the one op `dot`.

np.matmul(x, y)    x: f64[2, 3, 4], y: f64[4, 5]
  %0 = broadcast %y, 2, 4, 5 {axes=(1, 2)}
  %1 = dot %x, %0 {contract=((2,), (1,)), batch=((0,), (0,))}
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from jitnet import errors, ops
from jitnet.frontend.dims import broadcast_dims, normal_axis, require_equal, retag, show, spread
from jitnet.frontend.promotion import as_array, as_dtype, operand, result_type
from jitnet.frontend.tracer import Tracer, wrap
from jitnet.ir import DType, Value
from jitnet.ir import types as T


def _promoted(x: Any, y: Any, dtype: DType | None = None) -> tuple[Value, Value]:
    a, b = operand(x), operand(y)
    common = dtype or result_type(a, b)
    return as_dtype(a, common), as_dtype(b, common)


def _result(value: Value) -> Tracer:
    return wrap(value, "array" if value.rank else "scalar")


def _pair(x: Value, y: Value, axes: tuple[Sequence[int], Sequence[int]], batch: int = 0) -> Value:
    """`dot` over these axes, whose extents must be equal."""
    dims = list(y.dims)
    for i, j in zip(*axes):
        message = f"matmul: extents of shapes {show(x.dims)} and {show(y.dims)} do not match"
        require_equal(x.dims[i], y.dims[j], message)
        dims[j] = x.dims[i]
    y = retag(y, tuple(dims))
    lead = tuple(range(batch))
    return ops.dot(x, y, contract=(tuple(axes[0]), tuple(axes[1])), batch=(lead, lead))


def matmul(x: Any, y: Any, dtype: DType | None = None) -> Tracer:
    """`x @ y`: vectors, matrices, and stacks of matrices that broadcast.

    Raises:
        ShapeError: for scalars, and extents that do not match.
    """
    a, b = _promoted(x, y, dtype)
    if a.rank == 0 or b.rank == 0:
        raise errors.ShapeError(
            "matmul: an operand does not have enough dimensions", remedy="use * for scalars"
        )
    if a.rank <= 2 and b.rank <= 2:
        return _result(_pair(a, b, ([a.rank - 1], [max(b.rank - 2, 0)])))
    if b.rank == 1:
        return _result(_pair(a, b, ([a.rank - 1], [0])))
    lead = broadcast_dims(a.dims[:-2], b.dims[:-2])
    b = spread(b, (*lead, *b.dims[-2:]))
    if a.rank > 1:
        a = spread(a, (*lead, *a.dims[-2:]))
        return _result(_pair(a, b, ([a.rank - 1], [b.rank - 2]), len(lead)))
    a = spread(a, (*lead, *a.dims))
    return _result(_pair(a, b, ([a.rank - 1], [b.rank - 2]), len(lead)))


def dot(a: Any, b: Any) -> Tracer:
    """`np.dot`: over the last axis of a and the second-to-last of b."""
    x, y = _promoted(a, b)
    if x.rank == 0 or y.rank == 0:
        dims = x.dims or y.dims
        return _result(ops.mul(spread(x, dims), spread(y, dims)))
    return _result(_pair(x, y, ([x.rank - 1], [max(y.rank - 2, 0)])))


def inner(a: Any, b: Any) -> Tracer:
    """`np.inner`: over the last axes of both."""
    x, y = _promoted(a, b)
    if x.rank == 0 or y.rank == 0:
        return dot(a, b)
    return _result(_pair(x, y, ([x.rank - 1], [y.rank - 1])))


def vdot(a: Any, b: Any) -> Tracer:
    """`np.vdot`: the inner product of the flattened operands."""
    x, y = (ops.reshape(v, (int(np.prod(v.shape)),)) for v in _promoted(a, b))
    return _result(_pair(x, y, ([0], [0])))


def outer(a: Any, b: Any) -> Tracer:
    """`np.outer`: all products of the flattened operands."""
    x, y = (ops.reshape(v, (int(np.prod(v.shape)),)) for v in _promoted(a, b))
    dims = (*x.dims, *y.dims)
    left, right = ops.broadcast(x, dims, (0,)), ops.broadcast(y, dims, (1,))
    return _result(ops.bitwise_and(left, right) if x.dtype.is_bool else ops.mul(left, right))


def tensordot(a: Any, b: Any, axes: Any = 2) -> Tracer:
    """`np.tensordot`: over the last `axes` of a and the first of b, or over given pairs."""
    x, y = _promoted(a, b)
    if isinstance(axes, (tuple, list)):
        left, right = (p if isinstance(p, (tuple, list)) else (p,) for p in axes)
    else:
        n = operator.index(axes)
        left, right = tuple(range(x.rank - n, x.rank)), tuple(range(n))
    xs = [normal_axis(i, x.rank) for i in left]
    ys = [normal_axis(i, y.rank) for i in right]
    if len(xs) != len(ys):
        raise errors.ShapeError("shape-mismatch for sum")
    found = _pair(x, y, (xs, ys))
    return wrap(found)


def vecdot(x: Any, y: Any) -> Tracer:
    """`np.vecdot`: inner products along the last axis, the others broadcast."""
    a, b = _promoted(x, y)
    if a.rank == 0 or b.rank == 0:
        raise errors.ShapeError("vecdot: an operand does not have enough dimensions")
    lead = broadcast_dims(a.dims[:-1], b.dims[:-1])
    a, b = spread(a, (*lead, a.dims[-1])), spread(b, (*lead, b.dims[-1]))
    return _result(_pair(a, b, ([a.rank - 1], [b.rank - 1]), len(lead)))


def matvec(x: Any, y: Any) -> Tracer:
    """`np.matvec`: matrices times vectors, the leading axes broadcast."""
    a, b = as_array(x), as_array(y)
    column = wrap(ops.reshape(b.value, (*b.value.dims, 1)))
    found = matmul(a, column).value
    return _result(ops.reshape(found, found.dims[:-1]))


def vecmat(x: Any, y: Any) -> Tracer:
    """`np.vecmat`: vectors times matrices, the leading axes broadcast."""
    a, b = as_array(x), as_array(y)
    row = wrap(ops.reshape(a.value, (*a.value.dims[:-1], 1, a.value.dims[-1])))
    found = matmul(row, b).value
    return _result(ops.reshape(found, (*found.dims[:-2], found.dims[-1])))


GUFUNCS = {np.matmul: matmul, np.vecdot: vecdot}
if hasattr(np, "matvec"):  # NumPy >= 2.2
    GUFUNCS |= {np.matvec: matvec, np.vecmat: vecmat}

__all__ = [
    "GUFUNCS",
    "T",
    "dot",
    "inner",
    "matmul",
    "matvec",
    "outer",
    "tensordot",
    "vdot",
    "vecdot",
    "vecmat",
]
