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

from jitnet.ir import types as T
from jitnet.kernel.host import host_print, host_value

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
        trailing: further arguments of the C function, as LLVM text.
        wide: the library's ints have 64 bits, not 32.
    """

    name: str
    arguments: tuple[str, ...]
    symbol: str
    leading: tuple[int, ...]
    numpy: Callable[..., None]
    trailing: tuple[str, ...] = ()
    wide: bool = False


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
    """BLAS's rule: with beta = 0 the old content is not read. Complex factors lie in memory."""
    alpha, beta = np.ravel(alpha)[0], np.ravel(beta)[0]
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


def _complex_blas(routine: str, numpy: Callable[..., None], arguments: str) -> list[Extern]:
    """The same of complex numbers, which lie in memory as pairs of real ones; so do factors."""

    def on_pairs(dtype: str) -> Callable[..., None]:
        def call(*arguments: Any) -> None:
            numpy(*(_complex(v, dtype) if isinstance(v, np.ndarray) else v for v in arguments))

        return call

    return [
        Extern(
            letter + routine,
            tuple(arguments.replace("factor", "ptr").split()),
            f"cblas_{letter}{routine}",
            (ROW_MAJOR,),
            on_pairs(dtype),
        )
        for letter, dtype in (("c", "complex64"), ("z", "complex128"))
    ]


def _complex(pointer: Array, dtype: str) -> Array:
    """Memory as complex numbers."""
    return pointer[: pointer.size // 2 * 2].view(dtype)


# -- sorting ---------------------------------------------------------------------------------------

SORTS: dict[str, Any] = {"quick": "quicksort", "stable": "stable"}
"""The ways to sort, and what NumPy calls them."""


def _sort(kind: Any) -> Callable[..., None]:
    def sort(row: Array, n: Any) -> None:
        assert n <= row.size, "out of memory"
        row[: int(n)].sort(kind=kind)

    return sort


def _argsort(kind: Any) -> Callable[..., None]:
    def argsort(row: Array, order: Array, n: Any) -> None:
        assert n <= min(row.size, order.size), "out of memory"
        order[: int(n)] = np.argsort(row[: int(n)], kind=kind)

    return argsort


def _sorting(dtype: str) -> list[Extern]:
    """NumPy's own routines for a row of a dtype: of elements in place, and of positions, which are
    0, 1, ... before."""
    found = []
    for short, kind in SORTS.items():
        for what, numpy, arguments in (
            ("sort", _sort(kind), ("ptr", "i64")),
            ("argsort", _argsort(kind), ("ptr", "ptr", "i64")),
        ):
            name = f"{what}_{short}_{dtype}"
            found.append(Extern(name, arguments, f"numpy_{name}", (), numpy, ("ptr null",), True))
    return found


# -- linear systems --------------------------------------------------------------------------------

TRANSPOSED, UPPER = ord("T"), ord("U")
COLUMN_MAJOR = 102


def _columns(pointer: Array, rows: Any, columns: Any, lead: Any) -> Array:
    """A matrix of LAPACK's, whose columns are contiguous."""
    return _matrix(pointer, int(columns), int(rows), int(lead)).T


def _getrf(m: Any, n: Any, a: Array, lda: Any, pivots: Array) -> None:
    """A = P L U in place; row k was exchanged with row pivots[k] - 1."""
    matrix = _columns(a, m, n, lda)
    for k in range(int(n)):
        p = k + int(np.argmax(np.abs(matrix[k:, k])))
        pivots[k] = p + 1
        matrix[[k, p]] = matrix[[p, k]]
        if matrix[k, k] != 0:
            matrix[k + 1 :, k] /= matrix[k, k]
        matrix[k + 1 :, k + 1 :] -= np.outer(matrix[k + 1 :, k], matrix[k, k + 1 :])


def _getrs(
    trans: Any, n: Any, nrhs: Any, a: Array, lda: Any, pivots: Array, b: Array, ldb: Any
) -> None:
    """B = A^-T B, for A factored by getrf."""
    assert int(trans) == TRANSPOSED, "only transposed systems are asked for"
    factors, rhs = _columns(a, n, n, lda), _columns(b, n, nrhs, ldb)
    lower = np.tril(factors, -1) + np.eye(int(n))
    rhs[...] = np.linalg.solve(lower.T, np.linalg.solve(np.triu(factors).T, rhs))
    for k in reversed(range(int(n))):
        p = int(pivots[k]) - 1
        rhs[[k, p]] = rhs[[p, k]]


def _potrf(uplo: Any, n: Any, a: Array, lda: Any) -> None:
    """A = U^T U in the upper triangle; where there is none, a pivot on the diagonal is not positive
    and the rest is left alone."""
    assert int(uplo) == UPPER, "only the upper triangle is asked for"
    matrix = _columns(a, n, n, lda)
    for k in range(int(n)):
        above = matrix[:k, k:]
        matrix[k, k:] -= above[:, 0] @ above
        if matrix[k, k] <= 0:
            return
        matrix[k, k] = np.sqrt(matrix[k, k])
        matrix[k, k + 1 :] /= matrix[k, k]


def _lapack(routine: str, numpy: Callable[..., None], arguments: str) -> list[Extern]:
    """Both precisions of a LAPACK routine, by its C interface without checks for NaN. Its status is
    not asked for: the factors show it."""
    return [
        Extern(
            letter + routine,
            tuple(arguments.split()),
            f"LAPACKE_{letter}{routine}_work",
            (COLUMN_MAJOR,),
            numpy,
        )
        for letter in ("s", "d")
    ]


# -- the world outside -----------------------------------------------------------------------------


def _host() -> list[Extern]:
    """A value is handed over (memory, dims, rank); a text is printed (order, its size, status)."""
    found = [Extern("host_print", ("ptr", "i64", "ptr"), "host_print", (), host_print, (), True)]
    for dtype in _DTYPES:
        name = f"host_value_{dtype}"
        found.append(Extern(name, ("ptr", "ptr", "i64"), name, (), host_value, (), True))
    return found


_DTYPES = (*T.DTYPES, "f16", "bf16")
"""Of memory that is handed over."""

EXTERNS: dict[str, Extern] = {
    e.name: e
    for e in (
        # C = alpha * op(A) @ op(B) + beta * C: transa, transb, m, n, k, alpha, a, lda, b, ldb, ...
        *_blas("gemm", _gemm, "i32 i32 i64 i64 i64 real ptr i64 ptr i64 real ptr i64"),
        # y = alpha * op(A) @ x + beta * y, A stored m x n: trans, m, n, alpha, a, lda, x, incx, ...
        *_blas("gemv", _gemv, "i32 i64 i64 real ptr i64 ptr i64 real ptr i64"),
        *_complex_blas("gemm", _gemm, "i32 i32 i64 i64 i64 factor ptr i64 ptr i64 factor ptr i64"),
        *_complex_blas("gemv", _gemv, "i32 i64 i64 factor ptr i64 ptr i64 factor ptr i64"),
        # m, n, a, lda, pivots; trans, n, nrhs, a, lda, pivots, b, ldb; uplo, n, a, lda
        *_lapack("getrf", _getrf, "i64 i64 ptr i64 ptr"),
        *_lapack("getrs", _getrs, "i32 i64 i64 ptr i64 ptr ptr i64"),
        *_lapack("potrf", _potrf, "i32 i64 ptr i64"),
        *(routine for dtype in _DTYPES for routine in _sorting(dtype)),
        *_host(),
    )
}
