"""The table of extern routines: what `call_extern` may name, with a reference on flat memory.

    call_extern %no, %trans, %m, %n, %k, 1.0, %a, %lda, %b, %ldb, 0.0, %c, %ldc {name="dgemm"}

Kernels pass the arguments in the order and with the types written here; where the library's own
routine differs (an argument that says row-major, 32-bit sizes), the runtime adapts. Matrices are
row-major, `ld*` is the distance of rows in elements, and the transpose flags are CBLAS's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

NO_TRANS, TRANS = 111, 112
ROW_MAJOR = 101

Array = np.ndarray[Any, Any]


class Extern(NamedTuple):
    """One routine without result.

    Attributes:
        arguments: types as kernels pass them: "i32", "i64", "f32", "f64", or "ptr" for a buffer.
        symbol: the C function that does it.
        leading: i32 constants that the C function takes before the arguments. Its other integers
            are of the width of the library's ints.
        numpy: the reference, on NumPy scalars and on flat arrays for pointers, which it writes.
    """

    name: str
    arguments: tuple[str, ...]
    symbol: str
    leading: tuple[int, ...]
    numpy: Callable[..., None]


def _matrix(pointer: Array, rows: int, columns: int, lead: int) -> Array:
    """Row-major elements of a flat array; lead may be larger than columns."""
    assert rows == 0 or columns == 0 or (rows - 1) * lead + columns <= pointer.size, "out of memory"
    size = pointer.itemsize
    return as_strided(pointer, (rows, columns), (lead * size, size))


def _vector(pointer: Array, n: int, stride: int) -> Array:
    assert n == 0 or (stride > 0 and (n - 1) * stride < pointer.size), "out of memory"
    return as_strided(pointer, (n,), (stride * pointer.itemsize,))


def _operand(pointer: Array, flag: int, rows: int, columns: int, lead: int) -> Array:
    """op(A) of that many rows and columns."""
    if flag == NO_TRANS:
        return _matrix(pointer, rows, columns, lead)
    assert flag == TRANS, f"no transpose flag {flag}"
    return _matrix(pointer, columns, rows, lead).T


def _update(out: Array, product: Array, alpha: Any, beta: Any) -> None:
    """BLAS's rule: with beta = 0 the old content is not read."""
    out[...] = alpha * product if beta == 0 else alpha * product + beta * out


def _gemm(
    transa: Any, transb: Any, m: Any, n: Any, k: Any, alpha: Any, a: Array, lda: Any,
    b: Array, ldb: Any, beta: Any, c: Array, ldc: Any,
) -> None:  # fmt: skip
    x = _operand(a, int(transa), int(m), int(k), int(lda))
    y = _operand(b, int(transb), int(k), int(n), int(ldb))
    _update(_matrix(c, int(m), int(n), int(ldc)), x @ y, alpha, beta)


def _gemv(
    trans: Any, m: Any, n: Any, alpha: Any, a: Array, lda: Any, x: Array, incx: Any,
    beta: Any, y: Array, incy: Any,
) -> None:  # fmt: skip
    stored = _matrix(a, int(m), int(n), int(lda))
    matrix = stored if int(trans) == NO_TRANS else stored.T
    vector = _vector(x, matrix.shape[1], int(incx))
    _update(_vector(y, matrix.shape[0], int(incy)), matrix @ vector, alpha, beta)


def _blas(routine: str, numpy: Callable[..., None], arguments: str) -> list[Extern]:
    """Both precisions of a CBLAS routine; the word "real" in `arguments` is the precision."""
    return [
        Extern(
            letter + routine,
            tuple(arguments.replace("real", real).split()),
            f"cblas_{letter}{routine}",
            (ROW_MAJOR,),
            numpy,
        )
        for letter, real in (("s", "f32"), ("d", "f64"))
    ]


EXTERNS: dict[str, Extern] = {
    e.name: e
    for e in (
        # C = alpha * op(A) @ op(B) + beta * C: transa, transb, m, n, k, alpha, a, lda, b, ldb, ...
        *_blas("gemm", _gemm, "i32 i32 i64 i64 i64 real ptr i64 ptr i64 real ptr i64"),
        # y = alpha * op(A) @ x + beta * y, A stored m x n: trans, m, n, alpha, a, lda, x, incx, ...
        *_blas("gemv", _gemv, "i32 i64 i64 real ptr i64 ptr i64 real ptr i64"),
    )
}
