"""The part of nvmath-python that products by cuBLASLt call, on the host.

    with cupy_standing_in() as cupy, nvmath_standing_in(cupy) as nvmath:
        y = jit(f)(cupy.array(x))
        nvmath.asked                 # ["64 x 70 x 100 f32 bias", ...], and cupy.log has "cublasLt"

Products are computed by their definition, column-major, when the stream comes to them. What the
library refuses is refused: matrices that do not fit or whose columns overlap, kinds that it has
not, an algorithm for other matrices or for better aligned ones, too small a workspace, C and D that
share memory and are not the same. Signatures, enumerations and `DTYPES` are compared with the real
package's where that is installed.
"""

from __future__ import annotations

import ctypes
import enum
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np
from cupy_stand_in import StandIn
from stand_in import modules_standing_in

from jitnet.ir.types import bfloat16


class CudaDataType(enum.IntEnum):
    CUDA_R_32F, CUDA_R_64F, CUDA_R_16F, CUDA_C_32F, CUDA_C_64F, CUDA_R_16BF = 0, 1, 2, 4, 5, 14


class ComputeType(enum.IntEnum):
    COMPUTE_32F, COMPUTE_32F_PEDANTIC, COMPUTE_64F, COMPUTE_64F_PEDANTIC = 68, 69, 70, 71
    COMPUTE_32F_FAST_TF32 = 77


class Operation(enum.IntEnum):
    N, T, C = 0, 1, 2


class Epilogue(enum.IntEnum):
    DEFAULT, RELU, BIAS = 1, 2, 4


class MatmulDescAttribute(enum.IntEnum):
    TRANSA, TRANSB, EPILOGUE, BIAS_POINTER = 3, 4, 7, 8


class MatrixLayoutAttribute(enum.IntEnum):
    BATCH_COUNT, STRIDED_BATCH_OFFSET = 5, 6


class MatmulPreferenceAttribute(enum.IntEnum):
    MAX_WORKSPACE_BYTES, REDUCTION_SCHEME_MASK = 1, 3
    MIN_ALIGNMENT_A_BYTES, MIN_ALIGNMENT_B_BYTES = 5, 6
    MIN_ALIGNMENT_C_BYTES, MIN_ALIGNMENT_D_BYTES = 7, 8


class ReductionScheme(enum.IntEnum):
    NONE, INPLACE, COMPUTE_TYPE, OUTPUT_TYPE = 0, 1, 2, 4


ENUMS = (
    *(ComputeType, Operation, Epilogue, MatmulDescAttribute, MatrixLayoutAttribute),
    *(MatmulPreferenceAttribute, ReductionScheme),
)

DTYPES: dict[tuple[type[enum.IntEnum], str], type[np.generic]] = {
    (MatmulDescAttribute, "TRANSA"): np.int32,
    (MatmulDescAttribute, "TRANSB"): np.int32,
    (MatmulDescAttribute, "EPILOGUE"): np.uint32,
    (MatmulDescAttribute, "BIAS_POINTER"): np.int64,
    (MatrixLayoutAttribute, "BATCH_COUNT"): np.int32,
    (MatrixLayoutAttribute, "STRIDED_BATCH_OFFSET"): np.int64,
    (MatmulPreferenceAttribute, "MAX_WORKSPACE_BYTES"): np.uint64,
    (MatmulPreferenceAttribute, "REDUCTION_SCHEME_MASK"): np.uint32,
    (MatmulPreferenceAttribute, "MIN_ALIGNMENT_A_BYTES"): np.uint32,
    (MatmulPreferenceAttribute, "MIN_ALIGNMENT_B_BYTES"): np.uint32,
    (MatmulPreferenceAttribute, "MIN_ALIGNMENT_C_BYTES"): np.uint32,
    (MatmulPreferenceAttribute, "MIN_ALIGNMENT_D_BYTES"): np.uint32,
}

RESULT = np.dtype(
    [
        ("algo", [("data_", "<u8", (8,))]),
        ("workspace_size", "<u8"),
        ("state", "<i4"),
        ("waves_count", "<f4"),
        ("reserved", "<i4", (4,)),
    ],
    align=True,
)

BFLOAT16 = bfloat16()

ELEMENTS = {0: "f4", 1: "f8", 2: "f2", 4: "c8", 5: "c16", 14: BFLOAT16.numpy}

REAL_32, COMPLEX_32 = CudaDataType.CUDA_R_32F, CudaDataType.CUDA_C_32F
REAL_64, COMPLEX_64 = CudaDataType.CUDA_R_64F, CudaDataType.CUDA_C_64F
HALF, BRAIN = CudaDataType.CUDA_R_16F, CudaDataType.CUDA_R_16BF

KINDS = {
    *((68, REAL_32, REAL_32, REAL_32), (69, REAL_32, REAL_32, REAL_32)),
    *((70, REAL_64, REAL_64, REAL_64), (71, REAL_64, REAL_64, REAL_64)),
    *((68, COMPLEX_32, COMPLEX_32, COMPLEX_32), (69, COMPLEX_32, COMPLEX_32, COMPLEX_32)),
    *((70, COMPLEX_64, COMPLEX_64, COMPLEX_64), (71, COMPLEX_64, COMPLEX_64, COMPLEX_64)),
    *((68, REAL_32, HALF, HALF), (68, REAL_32, HALF, REAL_32)),
    *((68, REAL_32, BRAIN, BRAIN), (68, REAL_32, BRAIN, REAL_32)),
}
"""How to compute; the types of alpha and beta, of A and B, and of C and D."""

WORKSPACE = 1 << 20
"""Bytes that all algorithms of the stand-in need."""


class cuBLASLtError(Exception):  # noqa: N801
    pass


def refuse(condition: bool, why: str) -> None:
    if not condition:
        raise cuBLASLtError(f"CUBLAS_STATUS_INVALID_VALUE (7): {why}")


def dtype_of(attribute: enum.IntEnum) -> type[np.generic]:
    return DTYPES[type(attribute), attribute.name]


class Described:
    """A description: attributes by their numbers."""

    def __init__(self, **given: Any) -> None:
        self.attributes: dict[int, Any] = {}
        self.given = given

    def get(self, attribute: int, otherwise: Any) -> Any:
        return self.attributes.get(attribute, otherwise)


class CublasLt(ModuleType):
    """`nvmath.bindings.cublasLt`.

    Attributes:
        alive: descriptions that are not destroyed, by their handles.
        asked: products that an algorithm was looked for, in words.
        missing: kinds of A for which none is found.
    """

    cuBLASLtError = cuBLASLtError  # noqa: N815
    matmul_heuristic_result_dtype = RESULT

    def __init__(self, cupy: StandIn) -> None:
        super().__init__("nvmath.bindings.cublasLt")
        self._cupy = cupy
        self.alive: dict[int, Described] = {}
        self.asked: list[str] = []
        self.missing: set[int] = set()
        self._count = 100
        for kind in ENUMS:
            setattr(self, kind.__name__, kind)

    def get_version(self) -> int:
        return 130101

    # -- descriptions -----------------------------------------------------------------------------

    def _new(self, **given: Any) -> int:
        self._count += 1
        self.alive[self._count] = Described(**given)
        return self._count

    def _set(self, handle: int, attribute: enum.IntEnum, buf: int, size_in_bytes: int) -> None:
        dtype = np.dtype(dtype_of(attribute))
        refuse(size_in_bytes == dtype.itemsize, f"{attribute!r} in {size_in_bytes} bytes")
        value = np.frombuffer(ctypes.string_at(buf, size_in_bytes), dtype)[0]
        self.alive[handle].attributes[attribute] = int(value)

    def create(self) -> int:
        return self._new()

    def destroy(self, light_handle: int) -> None:
        del self.alive[light_handle]

    def matmul_desc_create(self, compute_type: int, scale_type: int) -> int:
        return self._new(compute=int(compute_type), scale=int(scale_type))

    def matmul_desc_set_attribute(
        self, matmul_desc: int, attr: int, buf: int, size_in_bytes: int
    ) -> None:
        self._set(matmul_desc, MatmulDescAttribute(attr), buf, size_in_bytes)

    def matmul_desc_destroy(self, matmul_desc: int) -> None:
        del self.alive[matmul_desc]

    def matrix_layout_create(self, type: int, rows: int, cols: int, ld: int) -> int:
        refuse(rows > 0 and cols > 0 and ld >= rows, f"{rows} x {cols}, columns {ld} apart")
        return self._new(type=int(type), rows=rows, columns=cols, ld=ld)

    def matrix_layout_set_attribute(
        self, mat_layout: int, attr: int, buf: int, size_in_bytes: int
    ) -> None:
        self._set(mat_layout, MatrixLayoutAttribute(attr), buf, size_in_bytes)

    def matrix_layout_destroy(self, mat_layout: int) -> None:
        del self.alive[mat_layout]

    def matmul_preference_create(self) -> int:
        return self._new()

    def matmul_preference_set_attribute(
        self, pref: int, attr: int, buf: int, size_in_bytes: int
    ) -> None:
        self._set(pref, MatmulPreferenceAttribute(attr), buf, size_in_bytes)

    def matmul_preference_destroy(self, pref: int) -> None:
        del self.alive[pref]

    def get_matmul_desc_attribute_dtype(self, attr: int) -> type[np.generic]:
        return dtype_of(MatmulDescAttribute(attr))

    def get_matrix_layout_attribute_dtype(self, attr: int) -> type[np.generic]:
        return dtype_of(MatrixLayoutAttribute(attr))

    def get_matmul_preference_attribute_dtype(self, attr: int) -> type[np.generic]:
        return dtype_of(MatmulPreferenceAttribute(attr))

    # -- products ---------------------------------------------------------------------------------

    def _key(self, operation: int, *layouts: int) -> tuple[Any, ...]:
        """What an algorithm is for: all but where the bias is."""
        described = [self.alive[h] for h in (operation, *layouts)]
        no_address = MatmulDescAttribute.BIAS_POINTER
        return tuple(
            (
                *sorted(d.given.items()),
                *sorted((a, v) for a, v in d.attributes.items() if a != no_address),
            )
            for d in described
        )

    def _checked(self, operation: int, *layouts: int) -> None:
        desc = self.alive[operation]
        a, b, c, d = (self.alive[h] for h in layouts)
        kind = (desc.given["compute"], desc.given["scale"], a.given["type"], d.given["type"])
        refuse(kind in KINDS, f"types {kind}")
        refuse(a.given["type"] == b.given["type"], "A and B of two types")
        refuse(c.given["type"] == d.given["type"], "C and D of two types")
        (m, k), (k2, n) = (
            self._turned(desc, name, x) for name, x in (("TRANSA", a), ("TRANSB", b))
        )
        refuse(k == k2, f"sums of {k} and of {k2}")
        for x in (c, d):
            refuse((x.given["rows"], x.given["columns"]) == (m, n), "C or D of another size")
        counts = {x.get(MatrixLayoutAttribute.BATCH_COUNT, 1) for x in (a, b, c, d)}
        refuse(len(counts) == 1, "not as many of each")
        epilogue = desc.get(MatmulDescAttribute.EPILOGUE, Epilogue.DEFAULT)
        is_complex = a.given["type"] in (COMPLEX_32, COMPLEX_64)
        refuse(epilogue in (Epilogue.DEFAULT, Epilogue.BIAS), "an epilogue that is not exact")
        refuse(epilogue == Epilogue.DEFAULT or not is_complex, "an epilogue of complex numbers")
        has_bias = desc.get(MatmulDescAttribute.BIAS_POINTER, 0) != 0
        refuse(has_bias == (epilogue == Epilogue.BIAS), "a bias, or none")

    def _turned(self, desc: Described, name: str, layout: Described) -> tuple[int, int]:
        size = layout.given["rows"], layout.given["columns"]
        turns = desc.get(MatmulDescAttribute[name], Operation.N) == Operation.T
        return size[::-1] if turns else size

    def matmul_algo_get_heuristic(
        self, light_handle: int, operation_desc: int, adesc: int, bdesc: int, cdesc: int,
        ddesc: int, preference: int, requested_algo_count: int, heuristic_results_array: int,
        return_algo_count: int,
    ) -> None:  # fmt: skip
        layouts = (adesc, bdesc, cdesc, ddesc)
        assert light_handle in self.alive
        self._checked(operation_desc, *layouts)
        wanted = self.alive[preference]
        self.asked.append(self._told(operation_desc, *layouts))
        room = wanted.get(MatmulPreferenceAttribute.MAX_WORKSPACE_BYTES, 0)
        scheme = wanted.get(MatmulPreferenceAttribute.REDUCTION_SCHEME_MASK, 7)
        refuse(
            scheme == ReductionScheme.COMPUTE_TYPE, "sums in another order each time, or rounded"
        )
        is_missing = self.alive[adesc].given["type"] in self.missing
        found = 0 if is_missing or room < WORKSPACE else 1
        ctypes.c_int32.from_address(return_algo_count).value = found
        if found:
            result = np.zeros(1, RESULT)
            result["workspace_size"] = WORKSPACE
            alignments = [
                wanted.get(MatmulPreferenceAttribute[f"MIN_ALIGNMENT_{x}_BYTES"], 256)
                for x in "ABCD"
            ]
            refuse(all(a in (1, 2, 4, 8, 16, 32, 64, 128, 256) for a in alignments), "alignments")
            marks = result["algo"]["data_"][0]
            marks[0], marks[1:5] = self._mark(operation_desc, *layouts), alignments
            ctypes.memmove(heuristic_results_array, result.ctypes.data, RESULT.itemsize)

    def _mark(self, *described: int) -> int:
        text = repr(self._key(*described)).encode()
        return int.from_bytes(hashlib.sha256(text).digest()[:8], "little")

    def _told(self, operation: int, a: int, b: int, c: int, d: int) -> str:
        desc, rest = self.alive[operation], self.alive[d].given
        k = self._turned(desc, "TRANSA", self.alive[a])[1]
        kind = np.dtype(ELEMENTS[self.alive[a].given["type"]]).name
        has_bias = desc.get(MatmulDescAttribute.EPILOGUE, 1) == Epilogue.BIAS
        return f"{rest['rows']} x {rest['columns']} x {k} {kind}{' bias' if has_bias else ''}"

    def matmul(
        self, light_handle: int, compute_desc: int, alpha: int, a: int, adesc: int, b: int,
        bdesc: int, beta: int, c: int, cdesc: int, d: int, ddesc: int, algo: int, workspace: int,
        workspace_size_in_bytes: int, stream: int,
    ) -> None:  # fmt: skip
        assert light_handle in self.alive
        now = self._cupy.streams[-1]
        assert stream == now.ptr, "a product on another stream than the current one"
        layouts = (adesc, bdesc, cdesc, ddesc)
        self._checked(compute_desc, *layouts)
        marks = np.frombuffer(ctypes.string_at(algo, 64), np.uint64)
        refuse(int(marks[0]) == self._mark(compute_desc, *layouts), "an algorithm for others")
        for address, alignment in zip((a, b, c, d), marks[1:5], strict=True):
            refuse(address % int(alignment) == 0, "addresses that the algorithm is not for")
        refuse(workspace_size_in_bytes >= WORKSPACE and workspace % 256 == 0, "the workspace")
        desc = self.alive[compute_desc]
        scale = ELEMENTS[desc.given["scale"]]
        one, two = (self._matrix_at(x, 1, 1, 1, scale)[0, 0].copy() for x in (alpha, beta))
        bias = desc.get(MatmulDescAttribute.BIAS_POINTER, 0)
        refuse(bias % 16 == 0, "a bias that cannot be read in packs")
        turns = [
            desc.get(MatmulDescAttribute[name], Operation.N) == Operation.T
            for name in ("TRANSA", "TRANSB")
        ]
        x, y, old, out = (self._stack(p, h) for p, h in zip((a, b, c, d), layouts, strict=True))
        is_apart = not np.may_share_memory(old, out)
        refuse(c == d or is_apart, "C and D share memory, and are not the same")
        refuse(c != d or self._key(cdesc) == self._key(ddesc), "C and D in two ways at one place")
        refuse(not np.may_share_memory(x, out) and not np.may_share_memory(y, out), "D is A or B")

        def work() -> None:
            ctypes.memset(workspace, 0xA5, workspace_size_in_bytes)  # whatever it is used for
            left, right = (
                v.astype(scale).swapaxes(1, 2) if turned else v.astype(scale)
                for v, turned in zip((x, y), turns, strict=True)
            )
            sums = one * (left @ right)
            if two != 0:
                sums = sums + two * old
            if bias:
                sums = sums + self._matrix_at(bias, out.shape[1], 1, out.shape[1], out.dtype)
            out[...] = sums.astype(out.dtype)

        now.do("cublasLt", work)

    def _matrix_at(self, address: int, rows: int, columns: int, ld: int, dtype: Any) -> np.ndarray:
        return self._stack_at(address, (1, rows, columns), (0, ld), dtype)[0]

    def _stack(self, address: int, layout: int) -> np.ndarray:
        described = self.alive[layout]
        given = described.given
        count = described.get(MatrixLayoutAttribute.BATCH_COUNT, 1)
        step = described.get(MatrixLayoutAttribute.STRIDED_BATCH_OFFSET, 0)
        shape = (count, given["rows"], given["columns"])
        return self._stack_at(address, shape, (step, given["ld"]), ELEMENTS[given["type"]])

    def _stack_at(
        self, address: int, shape: tuple[int, int, int], steps: tuple[int, int], dtype: Any
    ) -> np.ndarray:
        size = np.dtype(dtype).itemsize
        count, rows, columns = shape
        last = (count - 1) * steps[0] + (columns - 1) * steps[1] + rows
        memory = (ctypes.c_uint8 * (last * size)).from_address(address)
        return np.ndarray(shape, dtype, memory, 0, (steps[0] * size, size, steps[1] * size))


@contextmanager
def nvmath_standing_in(cupy: StandIn) -> Iterator[CublasLt]:
    """`from nvmath.bindings import cublasLt` gives the stand-in meanwhile."""
    found = CublasLt(cupy)
    nvmath, bindings, cublas = map(ModuleType, ("nvmath", "nvmath.bindings", "cublas"))
    nvmath.CudaDataType = CudaDataType  # type: ignore[attr-defined]
    nvmath.bindings = bindings  # type: ignore[attr-defined]
    cublas.ComputeType, cublas.Operation = ComputeType, Operation  # type: ignore[attr-defined]
    bindings.cublas, bindings.cublasLt = cublas, found  # type: ignore[attr-defined]
    names: dict[str, Any] = {
        "nvmath": nvmath,
        "nvmath.bindings": bindings,
        "nvmath.bindings.cublas": cublas,
        "nvmath.bindings.cublasLt": found,
    }
    with modules_standing_in(names):
        yield found
