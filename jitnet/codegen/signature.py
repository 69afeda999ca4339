"""How a kernel Function's params and results stand for the arrays of a call.

    func @kernel(%x: buf f32[8, 4], %s: f32, %out: buf f32[8]) -> (i64)

    Signature(
        inputs=(Input(f32, 2), Input(f32, 0)),
        outputs=(BufferOutput(f32, (8,)), ScalarOutput(0, i64)),
    )

The kernel's params are, in order: each input (a scalar for rank 0, otherwise a buffer; a "strided"
one is followed by one i64 stride an axis, in elements), then one buffer for each `BufferOutput`.
Its results are 8-byte slots that `ScalarOutput` and `HeapOutput` name by position.
"""

from __future__ import annotations

from dataclasses import dataclass

from jitnet.ir import DType

LAYOUTS = ("C", "F", "strided")


@dataclass(frozen=True)
class Input:
    """One leaf of the arguments. Its extents are the caller's business: they are checked before."""

    dtype: DType
    rank: int
    layout: str = "C"


@dataclass(frozen=True)
class Slot:
    """The kernel's result at this position, as an i64."""

    index: int


@dataclass(frozen=True)
class BufferOutput:
    """A new C-contiguous array that the kernel fills."""

    dtype: DType
    dims: tuple[int, ...]


@dataclass(frozen=True)
class ScalarOutput:
    """The kernel's result at position `slot`."""

    slot: int
    dtype: DType


@dataclass(frozen=True)
class AliasOutput:
    """The argument at position `input` itself."""

    input: int


@dataclass(frozen=True)
class HeapOutput:
    """A new C-contiguous array in memory that the kernel allocated: a buffer in the kernel's
    results at position `slot`; its extents are known now or are results too."""

    slot: int
    dtype: DType
    dims: tuple[int | Slot, ...]


Output = BufferOutput | ScalarOutput | AliasOutput | HeapOutput


@dataclass(frozen=True)
class Signature:
    """Inputs in argument order, outputs in the user's order."""

    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
