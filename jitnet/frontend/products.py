"""Matrix products: NumPy's rules for axes, put into terms of the one op `dot`.

np.matmul(x, y)    x: f64[2, 3, 4], y: f64[2, 4, 5]
  %0 = dot %x, %y {contract=((2,), (1,)), batch=((0,), (0,))}
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jitnet import errors, ops
from jitnet.frontend.dims import (
    broadcast_dims,
    count,
    normal_axis,
    require_equal,
    retag,
    show,
    spread,
)
from jitnet.frontend.promotion import (
    as_array,
    as_dtype,
    loop_dtypes,
    operand,
    result_type,
)
from jitnet.frontend.reductions import refuse_out
from jitnet.frontend.shapes import moveaxis
from jitnet.frontend.tracer import Tracer, wrap
from jitnet.ir import Value


def _promoted(x: Any, y: Any) -> tuple[Value, Value]:
    """Both as arrays of one dtype: Python numbers are not weak here."""
    a, b = as_array(x), as_array(y)
    common = result_type(a, b)
    return as_dtype(a, common), as_dtype(b, common)


def _in_loop(ufunc: np.ufunc, x: Any, y: Any) -> tuple[Value, Value]:
    """Both in the dtype that the ufunc computes in.

    Raises:
        ShapeError: for operands of too low a rank.
    """
    operands = [operand(v) for v in (x, y)]
    cores = str(ufunc.signature).split("->")[0].split("),(")
    for i, (v, core) in enumerate(zip(operands, cores)):
        least = sum("?" not in name for name in core.strip("()").split(","))
        rank = v.ndim if isinstance(v, Tracer) else 0
        if rank < least:
            raise errors.ShapeError(
                f"{ufunc.__name__}: Input operand {i} does not have enough dimensions (has {rank}, "
                f"gufunc core with signature {ufunc.signature} requires {least})",
                remedy="use * for scalars" if rank == 0 else "",
            )
    a, b, *_ = loop_dtypes(ufunc, operands)
    return as_dtype(operands[0], a), as_dtype(operands[1], b)


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


# -- products as ufuncs ----------------------------------------------------------------------------


def matmul(x: Any, y: Any) -> Tracer:
    """`x @ y`: vectors, matrices, and stacks of matrices that broadcast.

    Raises:
        ShapeError: for scalars, and extents that do not match.
    """
    return _result(_matmul(*_in_loop(np.matmul, x, y)))


def _matmul(a: Value, b: Value) -> Value:
    if b.rank <= 2:
        return _pair(a, b, ([a.rank - 1], [max(b.rank - 2, 0)]))
    if a.rank == 1:  # the stack's axes come first, so the stack does
        return _pair(b, a, ([b.rank - 2], [0]))
    lead = broadcast_dims(a.dims[:-2], b.dims[:-2])
    a, b = spread(a, (*lead, *a.dims[-2:])), spread(b, (*lead, *b.dims[-2:]))
    return _pair(a, b, ([a.rank - 1], [b.rank - 2]), len(lead))


def vecdot(x: Any, y: Any) -> Tracer:
    """`np.vecdot`: inner products along the last axis, the others broadcast; x is conjugated."""
    a, b = _in_loop(np.vecdot, x, y)
    lead = broadcast_dims(a.dims[:-1], b.dims[:-1])
    a, b = spread(a, (*lead, a.dims[-1])), spread(b, (*lead, b.dims[-1]))
    return _result(_pair(ops.conj(a), b, ([a.rank - 1], [b.rank - 1]), len(lead)))


def matvec(x: Any, y: Any) -> Tracer:
    """`np.matvec`: matrices times vectors, the leading axes broadcast."""
    a, b = _in_loop(np.matvec, x, y)
    if b.rank == 1:
        return _result(_matmul(a, b))
    found = _matmul(a, ops.reshape(b, (*b.dims, 1)))
    return _result(ops.reshape(found, found.dims[:-1]))


def vecmat(x: Any, y: Any) -> Tracer:
    """`np.vecmat`: vectors times matrices, the leading axes broadcast; x is conjugated."""
    a, b = _in_loop(np.vecmat, x, y)
    a = ops.conj(a)
    if a.rank == 1:
        return _result(_matmul(a, b))
    found = _matmul(ops.reshape(a, (*a.dims[:-1], 1, a.dims[-1])), b)
    return _result(ops.reshape(found, (*found.dims[:-2], found.dims[-1])))


GUFUNCS = {np.matmul: matmul, np.vecdot: vecdot}
if hasattr(np, "matvec"):  # NumPy >= 2.2
    GUFUNCS |= {np.matvec: matvec, np.vecmat: vecmat}

# -- products as functions -------------------------------------------------------------------------


def dot(a: Any, b: Any, out: Any = None) -> Tracer:
    """`np.dot`: over the last axis of a and the second-to-last of b; a product with a scalar."""
    refuse_out(out)
    x, y = _promoted(a, b)
    if x.rank == 0 or y.rank == 0:
        dims = x.dims or y.dims
        multiply = ops.bitwise_and if x.dtype.is_bool else ops.mul
        return _result(multiply(spread(x, dims), spread(y, dims)))
    return _result(_pair(x, y, ([x.rank - 1], [max(y.rank - 2, 0)])))


def inner(a: Any, b: Any) -> Tracer:
    """`np.inner`: over the last axes of both."""
    x, y = _promoted(a, b)
    if x.rank == 0 or y.rank == 0:
        return dot(a, b)
    return _result(_pair(x, y, ([x.rank - 1], [y.rank - 1])))


def _flat(a: Any, b: Any) -> tuple[Value, Value]:
    x, y = _promoted(a, b)
    return ops.reshape(x, (count(x.dims),)), ops.reshape(y, (count(y.dims),))


def vdot(a: Any, b: Any) -> Tracer:
    """`np.vdot`: the inner product of the flattened operands, the first one conjugated."""
    x, y = _flat(a, b)
    return _result(_pair(ops.conj(x), y, ([0], [0])))


def outer(a: Any, b: Any, out: Any = None) -> Tracer:
    """`np.outer`: all products of the flattened operands."""
    refuse_out(out)
    x, y = _flat(a, b)
    dims = (*x.dims, *y.dims)
    left, right = ops.broadcast(x, dims, (0,)), ops.broadcast(y, dims, (1,))
    return _result(ops.bitwise_and(left, right) if x.dtype.is_bool else ops.mul(left, right))


def tensordot(a: Any, b: Any, axes: Any = 2) -> Tracer:
    """`np.tensordot`: over the last `axes` of a and the first of b, or over given pairs.

    Raises:
        ShapeError: for axes that do not match.
    """
    x, y = _promoted(a, b)
    if isinstance(axes, (tuple, list)):
        left, right = (p if isinstance(p, (tuple, list)) else (p,) for p in axes)
    else:
        n = operator.index(axes)
        left, right = tuple(range(x.rank - n, x.rank)), tuple(range(n))
    if len(left) != len(right):
        raise errors.ShapeError("shape-mismatch for sum")
    xs = [normal_axis(i, x.rank) for i in left]
    ys = [normal_axis(i, y.rank) for i in right]
    return wrap(_pair(x, y, (xs, ys)))


def _outer_of_vectors(x1: Any, x2: Any, /) -> Tracer:
    if as_array(x1).ndim != 1 or as_array(x2).ndim != 1:
        raise errors.ShapeError("Input arrays must be one-dimensional")
    return outer(x1, x2)


def _vecdot_along(x1: Any, x2: Any, /, *, axis: int = -1) -> Tracer:
    return vecdot(moveaxis(x1, axis, -1), moveaxis(x2, axis, -1))


TABLE: dict[Any, Callable[..., Any]] = {
    np.dot: dot,
    np.vdot: vdot,
    np.inner: inner,
    np.outer: outer,
    np.tensordot: tensordot,
    np.linalg.matmul: lambda x1, x2, /: matmul(x1, x2),
    np.linalg.outer: _outer_of_vectors,
    np.linalg.tensordot: lambda x1, x2, /, *, axes=2: tensordot(x1, x2, axes),
    np.linalg.vecdot: _vecdot_along,
}
