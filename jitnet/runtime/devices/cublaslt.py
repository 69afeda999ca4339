"""cuBLASLt, by way of nvmath-python: products with epilogues, which may be in a captured graph.

    products = opened(cupy)                     None where it is not installed
    run = products.multiplier(problem, spans)   the way to do it, looked for once
    run()                                       one call, which allocates and awaits nothing

Kernels' matrices are row-major, the library's are column-major: C = A B is C^T = B^T A^T there, so
A and B change places, n is the number of rows, and a bias for each row there is one for each of our
columns.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from jitnet.codegen.cuda.library import ADD, BIAS, KINDS, NO_EPILOGUE, with_bias
from jitnet.errors import NotAvailableError
from jitnet.runtime.devices.device import Span
from jitnet.runtime.devices.products import Problem

Array = np.ndarray[Any, Any]


class _Types(NamedTuple):
    """What the library is told of a kind: of elements, of alpha and beta, and how to compute."""

    element: str
    scale: str
    compute: str


_TYPES = {
    "f32": _Types("CUDA_R_32F", "CUDA_R_32F", "COMPUTE_32F"),
    "f64": _Types("CUDA_R_64F", "CUDA_R_64F", "COMPUTE_64F"),
    "c64": _Types("CUDA_C_32F", "CUDA_C_32F", "COMPUTE_32F_PEDANTIC"),
    "c128": _Types("CUDA_C_64F", "CUDA_C_64F", "COMPUTE_64F_PEDANTIC"),
    "f16": _Types("CUDA_R_16F", "CUDA_R_32F", "COMPUTE_32F"),
    "bf16": _Types("CUDA_R_16BF", "CUDA_R_32F", "COMPUTE_32F"),
}
"""COMPUTE_32F has at least float32 at each place: TF32, which has 10 bits, is another type, and
has to be asked for. The pedantic form is no more exact, and may be slower. Complex numbers need it:
it forbids products of three multiplications, whose parts are less exact than NumPy's, and NaN where
these are infinite."""

_SCALES = {"CUDA_R_32F": "f4", "CUDA_R_64F": "f8", "CUDA_C_32F": "c8", "CUDA_C_64F": "c16"}

MOST_BYTES = {9: 32 << 20, 0: 4 << 20}
"""Bytes of memory of its own that the library is best offered, from a compute capability on."""

SPARE = 256
"""Bytes more than it asks for: with an epilogue it may touch some, for which nvmath-python gives it
a few more, too."""

BIAS_ALIGNMENT = 16
"""A bias at another address is copied first: the library's kernels read several numbers at once."""

ALIGNED = (256,) * 4
"""Of memory that is the program's own."""

MOST_WAYS = 1024
"""Problems whose ways are kept."""


def opened(cupy: Any) -> CublasLt | None:
    """The library, for CuPy's current device, where nvmath-python and cuBLASLt are installed."""
    try:
        return CublasLt(cupy)
    except NotAvailableError:
        return None


def version_of() -> str:
    """Which cuBLASLt there is.

    Raises:
        NotAvailableError: where there is none, or nvmath-python is missing.
    """
    major, rest = divmod(_asked(lambda: _bindings().cublasLt.get_version()), 10000)
    return f"{major}.{rest // 100}.{rest % 100}"


def _bindings() -> Any:
    """nvmath-python's thin layer over the libraries."""
    from nvmath import bindings
    from nvmath.bindings import cublas, cublasLt  # noqa: F401  # which puts them there

    return bindings


def _asked(ask: Callable[[], Any]) -> Any:
    """What the library answers."""
    try:
        return ask()
    except Exception as error:  # of which nvmath-python has its own for each library
        raise NotAvailableError(
            f"cuBLASLt cannot be used: {type(error).__name__}: {error}",
            remedy="pip install nvmath-python, for products with epilogues and in CUDA graphs; "
            "without it, cuBLAS does them",
        ) from error


class CublasLt:
    """Raises:
    NotAvailableError: where the library or nvmath-python is missing.
    """

    def __init__(self, cupy: Any) -> None:
        bindings = _asked(_bindings)
        self.lt: Any = bindings.cublasLt
        self.cublas: Any = bindings.cublas
        self._cuda = cupy.cuda
        major = int(cupy.cuda.Device().compute_capability) // 10
        self._most = next(size for first, size in MOST_BYTES.items() if major >= first)
        self.handle = _asked(self.lt.create)
        weakref.finalize(self, self.lt.destroy, self.handle).atexit = False
        self._ways: dict[tuple[Any, ...], _Way] = {}
        self._lock = threading.RLock()

    @cached_property
    def abilities(self) -> frozenset[str]:
        """What it finds a way for. Nothing is computed."""
        found = {kind for kind in KINDS if self._finds(kind, kind) and self._finds(kind, "")}
        biased = {k for k in ("f32", "f64") if k in found and self._finds(k, k, BIAS)}
        return frozenset((*found, *map(with_bias, biased)))

    def _finds(self, kind: str, result: str, epilogue: str = NO_EPILOGUE) -> bool:
        result = result or ("f32" if kind in ("f16", "bf16") else kind)
        sizes, leads = (64, 64, 64, 1), (64, 64, 64)
        problem = Problem(*sizes, (False, False), (kind, result), leads, (0, 0, 0), epilogue)
        try:
            _Way(self, problem, ALIGNED, self._most)
        except NotAvailableError:
            return False
        return True

    def workspace(self, problem: Problem) -> int:
        """Bytes that it needs for itself, with room for the bias."""
        needed = self._way(problem, ALIGNED, self._most).needed
        return _room_of_bias(problem) + (needed + SPARE if needed else 0)

    def multiplier(self, problem: Problem, spans: Sequence[Span]) -> Callable[[], None]:
        """What does a product of A, B, C, and what the epilogue reads, with memory for itself."""
        *operands, near = (span.address for span in spans)
        a, b, c = operands[:3]
        added = operands[3] if problem.epilogue == ADD else c
        bias = operands[3] if problem.epilogue == BIAS else 0
        kept = _room_of_bias(problem)
        workspace, most = near + kept, spans[-1].size - kept
        room = max(most - SPARE, 0)
        way = self._way(problem, tuple(map(_alignment, (a, b, c, added))), room)
        moves = bias % BIAS_ALIGNMENT != 0
        near, size = near if moves else bias, _bytes_of_bias(problem)
        runtime, matmul = self._cuda.runtime, self.lt.matmul

        def run() -> None:
            stream = self._cuda.get_current_stream().ptr
            if moves:
                kind = runtime.memcpyDeviceToDevice
                runtime.memcpyAsync(near, bias, size, kind, stream)
            with self._lock:  # the bias is told to what all calls share
                if bias:
                    way.tell_bias(near)
                matmul(
                    self.handle, way.operation, way.alpha, b, way.b, a, way.a, way.beta, added,
                    way.added, c, way.c, way.algorithm, workspace, most if room else 0, stream,
                )  # fmt: skip

        return run

    def _way(self, problem: Problem, alignments: tuple[int, ...], room: int) -> _Way:
        with self._lock:
            key = problem, alignments, room
            if key not in self._ways:
                if len(self._ways) == MOST_WAYS:
                    del self._ways[next(iter(self._ways))]
                self._ways[key] = _Way(self, *key)
            return self._ways[key]


def _alignment(address: int) -> int:
    """The power of two that an address is a multiple of, of those that the library tells apart."""
    return min(address & -address, 256)


def _bytes_of_bias(problem: Problem) -> int:
    if problem.epilogue != BIAS:
        return 0
    return problem.n * (8 if problem.kinds[1] == "f64" else 4)


def _room_of_bias(problem: Problem) -> int:
    """The same in whole steps of 256, as what lies behind it wants it."""
    return -(-_bytes_of_bias(problem) // 256) * 256


class _Way:
    """How the library does a problem, at addresses of these alignments: those of A, B, C, and of
    what is added.

    Args:
        room: bytes that it may use.

    Attributes:
        operation, a, b, c, added, algorithm: the library's descriptions.
        alpha, beta: where its factors are.
        needed: bytes that it does use.

    Raises:
        NotAvailableError: where there is no way.
    """

    def __init__(
        self, library: CublasLt, problem: Problem, alignments: Sequence[int], room: int
    ) -> None:
        self._lt = lt = library.lt
        element, scale, compute = _TYPES[problem.kinds[0]]
        compute_type, operation = library.cublas.ComputeType, library.cublas.Operation
        self._made: list[tuple[Callable[[int], None], int]] = []
        weakref.finalize(self, _destroy, self._made).atexit = False
        self.operation = self._keep(
            lt.matmul_desc_create(compute_type[compute], _data_type(scale)), lt.matmul_desc_destroy
        )
        turned_a, turned_b = problem.transposed
        self._tell("TRANSA", operation.T if turned_b else operation.N)
        self._tell("TRANSB", operation.T if turned_a else operation.N)
        if problem.epilogue == BIAS:
            self._tell("EPILOGUE", lt.Epilogue.BIAS)
            self.tell_bias(256)  # which the library looks for an algorithm with
        result = _TYPES[problem.kinds[1]].element
        types = [element, element, result, result]
        layouts = [self._layout(problem, i, types[i]) for i in range(len(problem.leads))]
        self.a, self.b, self.c, self.added = (*layouts, layouts[-1])[:4]
        self._factors = np.array([1, int(problem.epilogue == ADD)], _SCALES[scale])
        self.alpha = self._factors.ctypes.data
        self.beta = self.alpha + self._factors.itemsize
        self._found = self._search(library, problem, alignments, room)
        self.needed = int(self._found["workspace_size"][0])
        self.algorithm = self._found.ctypes.data  # the first of what is found of it

    def _keep(self, made: int, destroy: Callable[[int], None]) -> int:
        self._made.append((destroy, made))
        return made

    def _layout(self, problem: Problem, i: int, element: str) -> int:
        """A matrix as columns: our rows."""
        lt, (rows, columns), lead = self._lt, problem.stored[i], problem.leads[i]
        made = lt.matrix_layout_create(_data_type(element), columns, rows, max(lead, columns))
        layout = self._keep(made, lt.matrix_layout_destroy)
        if problem.count > 1:
            named, dtype_of = lt.MatrixLayoutAttribute, lt.get_matrix_layout_attribute_dtype
            tell = lt.matrix_layout_set_attribute
            _told(tell, layout, named.BATCH_COUNT, problem.count, dtype_of)
            _told(tell, layout, named.STRIDED_BATCH_OFFSET, problem.steps[i], dtype_of)
        return layout

    def _tell(self, name: str, value: int) -> None:
        lt = self._lt
        attribute, dtype_of = lt.MatmulDescAttribute[name], lt.get_matmul_desc_attribute_dtype
        _told(lt.matmul_desc_set_attribute, self.operation, attribute, value, dtype_of)

    def tell_bias(self, address: int) -> None:
        """Where the bias is in calls from now on."""
        self._tell("BIAS_POINTER", address)

    def _search(
        self, library: CublasLt, problem: Problem, alignments: Sequence[int], room: int
    ) -> Array:
        """The algorithm that the library holds for the fastest. Partial sums are not rounded to
        halves: they are added up as what they are, in a step of their own."""
        lt = self._lt
        preference = lt.matmul_preference_create()
        made = [(lt.matmul_preference_destroy, preference)]
        a, b, c, added = alignments
        wanted = {
            "MAX_WORKSPACE_BYTES": room,
            "REDUCTION_SCHEME_MASK": lt.ReductionScheme.COMPUTE_TYPE,
            "MIN_ALIGNMENT_A_BYTES": b,
            "MIN_ALIGNMENT_B_BYTES": a,
            "MIN_ALIGNMENT_C_BYTES": added,
            "MIN_ALIGNMENT_D_BYTES": c,
        }
        found = np.zeros(1, lt.matmul_heuristic_result_dtype)
        count = np.zeros(1, np.int32)
        try:
            for name, value in wanted.items():
                attribute = lt.MatmulPreferenceAttribute[name]
                dtype_of = lt.get_matmul_preference_attribute_dtype
                _told(lt.matmul_preference_set_attribute, preference, attribute, value, dtype_of)
            lt.matmul_algo_get_heuristic(
                library.handle, self.operation, self.b, self.a, self.added, self.c, preference, 1,
                found.ctypes.data, count.ctypes.data,
            )  # fmt: skip
        except lt.cuBLASLtError:
            count[0] = 0
        finally:
            _destroy(made)
        if count[0] == 0 or found["state"][0]:
            raise NotAvailableError(
                f"cuBLASLt has no algorithm for {problem}",
                remedy="pip uninstall nvmath-python, after which cuBLAS does products",
            )
        return found


def _data_type(name: str) -> int:
    import nvmath

    return int(nvmath.CudaDataType[name])


def _told(
    tell: Callable[..., None], to: int, attribute: int, value: Any, dtype_of: Callable[[int], Any]
) -> None:
    """Set an attribute, of the type that it has."""
    given = np.array(value, dtype_of(attribute))
    tell(to, attribute, given.ctypes.data, given.nbytes)


def _destroy(made: list[tuple[Callable[[int], None], int]]) -> None:
    while made:
        destroy, one = made.pop()
        destroy(one)
