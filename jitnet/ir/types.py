"""Types of the IR: what a `Value` holds.

An array type is a dtype and dims; a dim is an int or an i64 `Value` in scope, so that
`f64[%n, 3]` is an array whose first extent is only known when the program runs. Rank 0 is a
scalar and prints as the bare dtype:

    %n: i64, %x: f64[%n, 3], %log: tape[f64, i64], %buf: buf f32[8, 4]
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, ClassVar, Union

import numpy as np

if TYPE_CHECKING:
    from jitnet.ir.value import Value

Dim = Union[int, "Value"]


@dataclass(frozen=True)
class DType:
    """An element type. The instances below are the only ones; compare them with `is` or `==`."""

    name: str
    numpy: np.dtype[np.generic]

    @cached_property
    def scalar(self) -> ArrayType:
        """The type of one number."""
        return ArrayType(self, ())

    @cached_property
    def kind(self) -> str:
        """One of 'b' (bool), 'i' (signed), 'u' (unsigned), 'f' (float), 'c' (complex)."""
        return "f" if self.name == "bf16" else self.numpy.kind

    @cached_property
    def itemsize(self) -> int:
        """Bytes per element."""
        return int(self.numpy.itemsize)

    @property
    def bits(self) -> int:
        return self.itemsize * 8

    @property
    def is_float(self) -> bool:
        return self.kind == "f"

    @cached_property
    def is_half(self) -> bool:
        """Whether it is a float of 16 bits: stored as such, computed with as float32."""
        return self.is_float and self.itemsize == 2

    @property
    def float_format(self) -> tuple[int, int]:
        """Of a float: the stored bits of the mantissa, and the bias of the exponent."""
        return _FLOAT_FORMATS[self.name]

    @property
    def is_integer(self) -> bool:
        return self.kind in "iu"

    @property
    def is_bool(self) -> bool:
        return self.kind == "b"

    @property
    def is_complex(self) -> bool:
        return self.kind == "c"

    @property
    def is_inexact(self) -> bool:
        """Whether values of this dtype can carry derivatives."""
        return self.kind in "fc"

    @property
    def is_numpy_inexact(self) -> bool:
        """Whether NumPy counts it among the inexact ones: bfloat16, which it only knows from
        outside, it does not."""
        return self.numpy.kind in "fc"

    @property
    def half(self) -> DType:
        """The dtype of the real and the imaginary part of a complex one."""
        assert self.is_complex, f"{self} has no halves"
        return {8: f32, 16: f64}[self.itemsize]

    def __repr__(self) -> str:
        return self.name

    def __hash__(self) -> int:
        return hash(self.name)


bool_ = DType("bool", np.dtype(np.bool_))
i8, i16, i32, i64 = (DType(f"i{n}", np.dtype(f"int{n}")) for n in (8, 16, 32, 64))
u8, u16, u32, u64 = (DType(f"u{n}", np.dtype(f"uint{n}")) for n in (8, 16, 32, 64))
f16, f32, f64 = (DType(f"f{n}", np.dtype(f"float{n}")) for n in (16, 32, 64))
c64, c128 = (DType(f"c{n}", np.dtype(f"complex{n}")) for n in (64, 128))

DTYPES: dict[str, DType] = {
    d.name: d for d in (bool_, i8, i16, i32, i64, u8, u16, u32, u64, f32, f64)
}
"""What machines compute with, and kernels have."""
COMPLEX: dict[str, DType] = {d.name: d for d in (c64, c128)}
"""Pairs of these, on the array level only: `passes.pairs` takes them apart."""
_BY_NUMPY: dict[np.dtype[np.generic], DType] = {
    d.numpy: d for d in (*DTYPES.values(), f16, *COMPLEX.values())
}
_FLOAT_FORMATS = {"f16": (10, 15), "bf16": (7, 127), "f32": (23, 127), "f64": (52, 1023)}


@cache
def bfloat16() -> DType:
    """The upper halves of float32, `bf16`: of the package ml_dtypes, which is imported here.

    Raises:
        ImportError: where it is missing.
    """
    import ml_dtypes

    return DType("bf16", np.dtype(ml_dtypes.bfloat16))


def by_name(name: str) -> DType | None:
    """The dtype that the IR calls so; None where there is none."""
    if name == "bf16":
        return bfloat16()
    return f16 if name == "f16" else DTYPES.get(name) or COMPLEX.get(name)


def from_numpy(dtype: np.typing.DTypeLike) -> DType:
    """The IR dtype of a NumPy dtype.

    Raises:
        KeyError: for a dtype that the IR does not have (longdouble, object, byte-swapped).
    """
    found = _BY_NUMPY.get(np.dtype(dtype))
    if found is not None:
        return found
    if np.dtype(dtype).name != "bfloat16":
        raise KeyError(dtype)
    return bfloat16()


def is_numeric(dtype: np.dtype[np.generic]) -> bool:
    """Whether a NumPy dtype is one of numbers: which of them the IR has, `from_numpy` knows."""
    return dtype.kind in "biufc" or dtype.name == "bfloat16"


@dataclass(frozen=True)
class ArrayType:
    """Elements of `dtype` in a box of `dims`; rank 0 is a scalar."""

    dtype: DType
    dims: tuple[Dim, ...] = ()

    @cached_property
    def symbolic(self) -> tuple[Value, ...]:
        """The dims that are Values."""
        return tuple([d for d in self.dims if not isinstance(d, int)])

    @property
    def rank(self) -> int:
        return len(self.dims)

    @property
    def is_static(self) -> bool:
        return not self.symbolic

    @property
    def shape(self) -> tuple[int, ...]:
        """The dims as ints; only for static types."""
        assert self.is_static, f"shape of {self} is not static"
        return tuple(d for d in self.dims if isinstance(d, int))

    def with_dims(self, dims: tuple[Dim, ...]) -> ArrayType:
        return ArrayType(self.dtype, dims)

    def with_dtype(self, dtype: DType) -> ArrayType:
        return ArrayType(dtype, self.dims)

    def __str__(self) -> str:
        return type_text(self)


@dataclass(frozen=True)
class TapeType:
    """A growing log of records with these fields; a field's dims may be marked ragged by None.

    A ragged extent is stored with each record and read back with it.

    Attributes:
        changes: records are also replaced and taken off, as those of Python's lists are.
    """

    fields: tuple[tuple[DType, tuple[int | None, ...]], ...]
    changes: bool = False

    symbolic: ClassVar[tuple[Value, ...]] = ()

    def __str__(self) -> str:
        return type_text(self)


@dataclass(frozen=True)
class BufferType:
    """Memory that holds an array: dims, and strides in elements (None: C-contiguous)."""

    dtype: DType
    dims: tuple[Dim, ...]
    strides: tuple[Dim, ...] | None = None

    @cached_property
    def symbolic(self) -> tuple[Value, ...]:
        """The dims and strides that are Values."""
        dims = (*self.dims, *(self.strides or ()))
        return tuple([d for d in dims if not isinstance(d, int)])

    @property
    def rank(self) -> int:
        return len(self.dims)

    def __str__(self) -> str:
        return type_text(self)


Type = ArrayType | TapeType | BufferType


def type_text(type: Type, dim: Callable[[Dim], str] = str) -> str:
    """A type as the printer writes it; `dim` gives the text of a dim."""
    if isinstance(type, TapeType):
        name = "list" if type.changes else "tape"
        return f"{name}[{', '.join(_field_text(dtype, shape) for dtype, shape in type.fields)}]"
    box = f"[{', '.join(map(dim, type.dims))}]" if type.dims else ""
    if isinstance(type, ArrayType):
        return type.dtype.name + box
    strides = "" if type.strides is None else f" strides({', '.join(map(dim, type.strides))})"
    return f"buf {type.dtype.name}{box}{strides}"


def _field_text(dtype: DType, shape: tuple[int | None, ...]) -> str:
    box = ", ".join("?" if d is None else str(d) for d in shape)
    return f"{dtype.name}[{box}]" if shape else dtype.name


def scalar(dtype: DType) -> ArrayType:
    return dtype.scalar
