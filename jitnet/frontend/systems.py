"""NumPy's linear systems: solve, inv, det, slogdet, cholesky.

    np.linalg.solve(a, b)     %x, %singular = solve %a, %b
                              check not %singular, "LinAlgError", "Singular matrix"

Integers compute in float64, and stacks of matrices broadcast, as in NumPy. What needs other
factorisations (qr, svd, eig and what NumPy makes of them) is refused by name.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from jitnet import errors, ops
from jitnet.frontend.dims import broadcast_dims, require_equal, retag, show, spread, static_shape
from jitnet.frontend.promotion import as_array
from jitnet.frontend.tracer import Tracer, wrap
from jitnet.ir import DType, Value, as_value
from jitnet.ir import types as T


def _matrices(a: Any) -> Value:
    """A stack of square matrices, in an inexact dtype.

    Raises:
        LinearAlgebraError: for arrays that are none.
        DTypeError: for float16.
    """
    value = _wide(as_array(a).value)
    if value.rank < 2:
        raise errors.LinearAlgebraError(
            f"{value.rank}-dimensional array given. Array must be at least two-dimensional"
        )
    rows, columns = value.dims[-2:]
    message = "Last 2 dimensions of the array must be square"
    if rows != columns:
        if isinstance(rows, int) and isinstance(columns, int):
            raise errors.LinearAlgebraError(message)
        ops.check(ops.eq(as_value(rows), as_value(columns)), [], "LinAlgError", message)
        n = rows if isinstance(rows, int) else columns
        value = retag(value, (*value.dims[:-2], n, n))
    return value


def _wide(value: Value) -> Value:
    """In the dtype that NumPy's routines take it in."""
    if value.dtype is T.f16:
        raise errors.DTypeError(
            "array type float16 is unsupported in linalg",
            remedy="convert it first: x.astype(np.float32)",
        )
    return value if value.dtype in (T.f32, T.f64, T.c64, T.c128) else ops.convert(value, T.f64)


def _common(x: DType, y: DType) -> DType:
    """Single precision only where all is."""
    found = np.promote_types(x.numpy, y.numpy)
    return T.from_numpy(found)


def _require(bad: Value, message: str) -> None:
    """Raise where any matrix of a stack is bad."""
    any_bad = ops.reduce_any(bad, tuple(range(bad.rank))) if bad.rank else bad
    ops.check(ops.logical_not(any_bad), [], "LinAlgError", message)


def solve(a: Any, b: Any) -> Tracer:
    """`np.linalg.solve`: of vectors where b has one axis, else of matrices.

    Raises:
        LinearAlgebraError: for a that is not square; for a singular one, when the program runs.
        ShapeError: for b that does not fit.
    """
    matrices, sides = _matrices(a), _wide(as_array(b).value)
    is_vector = sides.rank == 1
    if sides.rank == 0:
        raise errors.ShapeError("solve: Input operand 1 does not have enough dimensions")
    common = _common(matrices.dtype, sides.dtype)
    matrices, sides = ops.convert(matrices, common), ops.convert(sides, common)
    if is_vector:
        sides = ops.reshape(sides, (*sides.dims, 1))
    n = matrices.dims[-1]
    message = f"solve: a right side of shape {show(as_array(b).value.dims)} for matrices of order "
    require_equal(n, sides.dims[-2], message + (str(n) if isinstance(n, int) else "{0}"))
    batch = broadcast_dims(matrices.dims[:-2], sides.dims[:-2])
    matrices = spread(matrices, (*batch, n, n))
    columns = sides.dims[-1]
    sides = spread(retag(sides, (*sides.dims[:-2], n, columns)), (*batch, n, columns))
    x, singular = ops.solve(matrices, sides)
    _require(singular, "Singular matrix")
    return wrap(ops.reshape(x, (*batch, n)) if is_vector else x)


def inv(a: Any) -> Tracer:
    """`np.linalg.inv`.

    Raises:
        LinearAlgebraError: for a that is not square; for a singular one, when the program runs.
    """
    inverse, singular = ops.inv(_matrices(a))
    _require(singular, "Singular matrix")
    return wrap(inverse)


def det(a: Any) -> Tracer:
    """`np.linalg.det`.

    Raises:
        LinearAlgebraError: for a that is not square.
    """
    return _scalar_or_array(ops.det(_matrices(a)))


def slogdet(a: Any) -> Any:
    """`np.linalg.slogdet`: NumPy's pair of sign and logabsdet.

    Raises:
        LinearAlgebraError: for a that is not square.
    """
    pair = type(np.linalg.slogdet(np.eye(1)))
    return pair(*map(_scalar_or_array, ops.slogdet(_matrices(a))))


def cholesky(a: Any, /, *, upper: bool = False) -> Tracer:
    """`np.linalg.cholesky`: by the lower triangle of a, or by the upper one.

    Raises:
        LinearAlgebraError: for a that is not square; where a is not positive definite, when the
            program runs.
    """
    matrices = _matrices(a)
    factor, bad = ops.cholesky(_adjoint(matrices) if upper else matrices)
    _require(bad, "Matrix is not positive definite")
    return wrap(_adjoint(factor) if upper else factor)


def tensorsolve(a: Any, b: Any, axes: Any = None) -> Any:
    """`np.linalg.tensorsolve`: the last axes of a, or `axes`, are those of the solution.

    Raises:
        LinearAlgebraError: where a is not square as a map between tensors.
    """
    tensor, side = as_array(a), as_array(b)
    if axes is not None:
        last = [int(axis) for axis in axes]
        order = [i for i in range(tensor.ndim) if i not in last] + last
        tensor = tensor.transpose(order)
    shape = static_shape(tensor, "np.linalg.tensorsolve")[side.ndim :]
    n = math.prod(shape)
    if n * n != tensor.size:
        raise errors.LinearAlgebraError(
            "Input arrays must satisfy the requirement "
            "prod(a.shape[b.ndim:]) == prod(a.shape[:b.ndim])"
        )
    return solve(tensor.reshape(n, n), side.reshape(-1)).reshape(shape)


def _adjoint(a: Value) -> Value:
    swapped = ops.transpose(a, (*range(a.rank - 2), a.rank - 1, a.rank - 2))
    return ops.conj(swapped) if a.dtype.is_complex else swapped


def _scalar_or_array(value: Value) -> Tracer:
    return wrap(value, "array" if value.rank else "scalar")


TABLE: dict[Any, Callable[..., Any]] = {
    np.linalg.solve: solve,
    np.linalg.inv: inv,
    np.linalg.det: det,
    np.linalg.slogdet: slogdet,
    np.linalg.cholesky: cholesky,
    np.linalg.tensorsolve: tensorsolve,
}
