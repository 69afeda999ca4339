"""The routines of `kernel.externs` on a GPU: cuBLAS, cuSOLVER and sorting, by way of CuPy.

    libraries.routine("dgemm")     a function of Spans and numbers
    libraries.routine("argsort_quick_f64")     None: only NumPy has that order of equal elements

Kernels' matrices are row-major, BLAS's are column-major: C = A B is C^T = B^T A^T there. LAPACK's
are column-major in kernels already. What a factorisation found to be wrong is put into the factors,
where the program looks for it: nothing is read back.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np

from jitnet.kernel.externs import TRANS
from jitnet.runtime.devices.device import Span

Routine = Callable[..., None]

CUBLAS_OP_N, CUBLAS_OP_T = 0, 1
FILL_UPPER = 1


class Libraries:
    """Routines for CuPy's current device and stream.

    Args:
        cupy: the package.
    """

    def __init__(self, cupy: Any) -> None:
        self._cupy = cupy
        self._found: dict[str, Routine | None] = {}

    def routine(self, name: str) -> Routine | None:
        """The routine, or None where only the host has it."""
        if name not in self._found:
            self._found[name] = self._make(name)
        return self._found[name]

    def _make(self, name: str) -> Routine | None:
        letter, rest = name[:1], name[1:]
        if rest in ("gemm", "gemv") and letter in "sdcz":
            return self._gemm(letter) if rest == "gemm" else self._gemv(letter)
        if rest in ("getrf", "getrs", "potrf"):
            return {"getrf": self._getrf, "getrs": self._getrs, "potrf": self._potrf}[rest](letter)
        if name.startswith("sort_"):
            return self._sort
        return self._argsort if name.startswith("argsort_stable_") else None

    @cached_property
    def _cublas(self) -> Any:
        from cupy_backends.cuda.libs import cublas

        return cublas

    @cached_property
    def _cusolver(self) -> Any:
        from cupy_backends.cuda.libs import cusolver

        return cusolver

    def _view(self, span: Span, shape: tuple[int, ...], strides: tuple[int, ...]) -> Any:
        """An array of CuPy over memory; strides in elements."""
        cuda, size = self._cupy.cuda, span.dtype.itemsize
        device = cuda.Device().id
        memory = cuda.UnownedMemory(span.address, span.size, None, device)
        steps = tuple(size * step for step in strides)
        pointer = cuda.MemoryPointer(memory, 0)
        return self._cupy.ndarray(shape, span.dtype.numpy, memptr=pointer, strides=steps)

    # -- products ---------------------------------------------------------------------------------

    def _gemm(self, letter: str) -> Routine:
        call = getattr(self._cublas, f"{letter}gemm")

        def gemm(
            transa: Any, transb: Any, m: Any, n: Any, k: Any, alpha: Any, a: Span, lda: Any,
            b: Span, ldb: Any, beta: Any, c: Span, ldc: Any,
        ) -> None:  # fmt: skip
            if not m or not n:
                return
            flags = _operation(transb), _operation(transa)
            with _Factors(self, letter, alpha, beta) as (handle, one, two):
                call(
                    handle, *flags, int(n), int(m), int(k), one, b.address, max(int(ldb), 1),
                    a.address, max(int(lda), 1), two, c.address, max(int(ldc), 1),
                )  # fmt: skip

        return gemm

    def _gemv(self, letter: str) -> Routine:
        call = getattr(self._cublas, f"{letter}gemv")

        def gemv(
            trans: Any, m: Any, n: Any, alpha: Any, a: Span, lda: Any, x: Span, incx: Any,
            beta: Any, y: Span, incy: Any,
        ) -> None:  # fmt: skip
            if not (n if trans == TRANS else m):
                return
            flag = CUBLAS_OP_N if trans == TRANS else CUBLAS_OP_T  # the columns are our rows
            with _Factors(self, letter, alpha, beta) as (handle, one, two):
                call(
                    handle, flag, int(n), int(m), one, a.address, max(int(lda), 1),
                    x.address, int(incx), two, y.address, int(incy),
                )  # fmt: skip

        return gemv

    # -- factorisations ---------------------------------------------------------------------------

    def _getrf(self, letter: str) -> Routine:
        size_of = getattr(self._cusolver, f"{letter}getrf_bufferSize")
        call = getattr(self._cusolver, f"{letter}getrf")

        def getrf(m: Any, n: Any, a: Span, lda: Any, pivots: Span) -> None:
            sizes = int(m), int(n)
            if not all(sizes):
                return
            handle = self._solver_handle()
            work = self._work(size_of(handle, *sizes, a.address, int(lda)), a)
            info = self._cupy.empty(1, np.int32)
            matrix = (*sizes, a.address, int(lda))
            call(handle, *matrix, work.ptr, pivots.address, info.data.ptr)
            self._mark(a, sizes[0], int(lda), info, 0.0)

        return getrf

    def _getrs(self, letter: str) -> Routine:
        call = getattr(self._cusolver, f"{letter}getrs")

        def getrs(
            trans: Any, n: Any, nrhs: Any, a: Span, lda: Any, pivots: Span, b: Span, ldb: Any
        ) -> None:
            if not n or not nrhs:
                return
            info = self._cupy.empty(1, np.int32)
            call(
                self._solver_handle(), CUBLAS_OP_T, int(n), int(nrhs), a.address, int(lda),
                pivots.address, b.address, int(ldb), info.data.ptr,
            )  # fmt: skip

        return getrs

    def _potrf(self, letter: str) -> Routine:
        size_of = getattr(self._cusolver, f"{letter}potrf_bufferSize")
        call = getattr(self._cusolver, f"{letter}potrf")

        def potrf(uplo: Any, n: Any, a: Span, lda: Any) -> None:
            if not n:
                return
            handle = self._solver_handle()
            matrix = (FILL_UPPER, int(n), a.address, int(lda))
            size = size_of(handle, *matrix)
            info = self._cupy.empty(1, np.int32)
            call(handle, *matrix, self._work(size, a).ptr, size, info.data.ptr)
            self._mark(a, int(n), int(lda), info, -1.0)

        return potrf

    def _mark(self, a: Span, n: int, lda: int, info: Any, value: float) -> None:
        """Put a value on the diagonal where a factorisation has failed."""
        diagonal = self._view(a, (n,), (lda + 1,))
        found = self._cupy.asarray(value, diagonal.dtype)
        diagonal[...] = self._cupy.where(info > 0, found, diagonal)

    def _solver_handle(self) -> Any:
        return self._cupy.cuda.device.get_cusolver_handle()

    def _work(self, count: int, like: Span) -> Any:
        """Memory of the library's own; the pool gives it to nobody before the stream is there."""
        return self._cupy.cuda.alloc(max(count, 1) * like.dtype.itemsize)

    # -- sorting ----------------------------------------------------------------------------------

    def _sort(self, row: Span, n: Any) -> None:
        if n > 1:
            self._view(row, (int(n),), (1,)).sort()

    def _argsort(self, row: Span, order: Span, n: Any) -> None:
        if n:
            found = self._cupy.argsort(self._view(row, (int(n),), (1,)))
            self._view(order, (int(n),), (1,))[...] = found


def _operation(flag: Any) -> int:
    return CUBLAS_OP_T if flag == TRANS else CUBLAS_OP_N


class _Factors:
    """cuBLAS's handle, and where it finds alpha and beta: complex ones are on the device."""

    def __init__(self, libraries: Libraries, letter: str, alpha: Any, beta: Any) -> None:
        self._cublas = libraries._cublas
        self._handle = libraries._cupy.cuda.device.get_cublas_handle()
        self._mode = self._cublas.getPointerMode(self._handle)
        self._on_device = letter in "cz"
        self._factors = (alpha, beta)
        self._host = np.array([0, 0] if self._on_device else self._factors, _REALS[letter])

    def __enter__(self) -> tuple[Any, int, int]:
        cublas = self._cublas
        if self._on_device:
            cublas.setPointerMode(self._handle, cublas.CUBLAS_POINTER_MODE_DEVICE)
            alpha, beta = self._factors
            return self._handle, alpha.address, beta.address
        cublas.setPointerMode(self._handle, cublas.CUBLAS_POINTER_MODE_HOST)
        start = self._host.ctypes.data
        return self._handle, start, start + self._host.itemsize

    def __exit__(self, *error: object) -> None:
        self._cublas.setPointerMode(self._handle, self._mode)


_REALS = {"s": np.float32, "d": np.float64, "c": np.float32, "z": np.float64}
