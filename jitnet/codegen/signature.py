"""How a kernel Function's params and results stand for the arrays of a call.

    func @kernel(%x: buf f32[8, 4], %s: f32, %out: buf f32[8]) -> (i64)

    Signature(
        inputs=(Input(f32, 2), Input(f32, 0)),
        outputs=(BufferOutput(f32, (8,)), ScalarOutput(0, i64)),
    )

The kernel's params are, in order: each input (a scalar for rank 0 unless it is written, otherwise a
buffer; a "strided" one is followed by one i64 stride an axis, in elements), then one buffer for
each `BufferOutput`.
Its results are 8-byte slots that `ScalarOutput` and `HeapOutput` name by position.

A kernel has no complex numbers: to it such an array is a real one with a last axis of extent 2, and
`with_complex` tells the caller of it. A complex number of rank 0 is an array too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from jitnet.ir import DType, Function, Value

LAYOUTS = ("C", "F", "strided")


@dataclass(frozen=True)
class Input:
    """One leaf of the arguments. Its extents are the caller's business: they are checked before.

    Attributes:
        written: the program changes it, so that even one of rank 0 is an array.
    """

    dtype: DType
    rank: int
    layout: str = "C"
    written: bool = False

    @property
    def is_array(self) -> bool:
        """Whether the program is given an address."""
        return self.rank > 0 or self.written or self.dtype.is_complex

    @property
    def unit(self) -> DType:
        """What the program reads and writes: of complex numbers, the halves."""
        return self.dtype.half if self.dtype.is_complex else self.dtype

    @property
    def strides(self) -> int:
        """How many strides follow the address, in units."""
        return self.rank + self.dtype.is_complex if self.layout == "strided" else 0


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
    """The argument at position `input` itself; `in_halves`, its complex numbers as pairs of reals
    along one more axis."""

    input: int
    in_halves: bool = False


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


def with_complex(signature: Signature, f: Function) -> Signature:
    """The signature for the arrays of `f`, of which `passes.pairs` has made what was lowered."""
    inputs = zip(signature.inputs, f.params, strict=True)
    outputs = zip(signature.outputs, f.results, strict=True)
    return Signature(
        tuple(replace(i, dtype=p.dtype, rank=p.rank) for i, p in inputs),
        tuple(
            _complex_output(o, r) if r.dtype.is_complex else _real_output(o, f) for o, r in outputs
        ),
    )


def _real_output(output: Output, f: Function) -> Output:
    if isinstance(output, AliasOutput) and f.params[output.input].dtype.is_complex:
        return replace(output, in_halves=True)
    return output


def _complex_output(output: Output, result: Value) -> Output:
    if isinstance(output, BufferOutput):
        return replace(output, dtype=result.dtype, dims=output.dims[:-1])
    if isinstance(output, HeapOutput):
        return replace(output, dtype=result.dtype, dims=output.dims[:-1])
    assert isinstance(output, AliasOutput), "complex numbers come in arrays"
    return output
