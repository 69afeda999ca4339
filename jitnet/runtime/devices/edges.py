"""What comes into a program on a device, and what goes out of it.

    x: a NumPy array      uploaded; if the program changes it, downloaded again
    y: a CuPy array       its own memory
    s: a number           8 bytes of the head, or known to the host

All of it has a place: first the head, which is the status word and numbers, then one for each array
of the arguments, then one for each new array that the program fills. A head without numbers is not
uploaded: the status is cleared, where kernels look at it, and there is no head where not.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

import numpy as np

from jitnet.codegen.cuda.launch import CudaProgram
from jitnet.codegen.signature import BufferOutput, Input, Signature
from jitnet.ir import DType
from jitnet.ir import types as T
from jitnet.runtime.devices.commands import Buffer, Passed, slot_of
from jitnet.runtime.devices.device import Array, Device, Memory
from jitnet.runtime.devices.driver import Number


class Place(NamedTuple):
    """Memory that a call brings.

    Attributes:
        size: in bytes.
        dtype: of its elements.
        data: what is uploaded to it, or None.
        memory: where it is already, or None.
        target: the NumPy array that is downloaded from it at the end, or None.
        is_result: whether it becomes a result of the caller's.
    """

    size: int
    dtype: DType
    data: Array | None = None
    memory: Memory | None = None
    target: Any = None
    is_result: bool = False


class Edges(NamedTuple):
    """Attributes:
    places: of this call.
    known: the numbers that the host knows: integers, and the strides of arrays.
    """

    places: tuple[Place, ...]
    known: tuple[Any, ...]

    @property
    def key(self) -> tuple[int, ...]:
        """What the commands depend on."""
        return (*map(int, self.known), *(p.size for p in self.places))


@dataclass(frozen=True)
class _Param:
    """How an argument is given to the host program.

    Attributes:
        slot: of a number, its place in the head, counted from 1; 0: the host knows it.
        is_there: it is an array of the device.
    """

    spec: Input
    slot: int
    is_there: bool

    @property
    def has_place(self) -> bool:
        return self.spec.is_array or self.is_there


class Doors:
    """How calls of one program come in.

    Args:
        resident: which arguments are arrays of the device.

    Attributes:
        cleared: bytes of the head that kernels find zero, and that are not uploaded.
    """

    def __init__(self, program: CudaProgram, signature: Signature, resident: Sequence[bool]):
        self._status_bytes = program.status_bytes
        self._params = list(_params(program, signature, resident))
        self._has_numbers = any(param.slot for param in self._params)
        self.cleared = program.status_bytes if program.guarded and not self._has_numbers else 0
        outputs = [o for o in signature.outputs if isinstance(o, BufferOutput)]
        self._results = [
            Place(
                prod(o.dims) * o.dtype.itemsize,
                o.dtype.half if o.dtype.is_complex else o.dtype,
                is_result=True,
            )
            for o in outputs
        ]

    def edges(self, device: Device, args: Sequence[Any]) -> Edges:
        """A call's arguments."""
        head = bytes(self._status_bytes)
        places: list[Place] = []
        known: list[Any] = []
        for param, arg in zip(self._params, args, strict=True):
            spec = param.spec
            if param.is_there:
                memory = device.memory_of(arg)
                places.append(Place(memory.size, spec.unit, memory=memory))
                known += _strides(spec, arg)
            elif spec.is_array:
                copy = _copied(spec, arg)
                target = arg if spec.written else None
                places.append(Place(copy.nbytes, spec.unit, copy, target=target))
                known += _strides(spec, copy)
            elif param.slot:
                head += _slot(arg, spec.dtype)
            else:
                known.append(_number(arg, spec.dtype))
        return self._edges(head, places, known)

    def blank(self, dims: Sequence[Sequence[Any]]) -> Edges | None:
        """The edges of calls with arrays of these dims, without the arrays; None where more than
        these has to be known."""
        head = bytes(self._status_bytes)
        places: list[Place] = []
        known: list[Any] = []
        for param, extents in zip(self._params, dims, strict=True):
            spec = param.spec
            if param.slot:
                head += bytes(8)
            elif not param.has_place or not all(isinstance(n, int) for n in extents):
                return None
            else:
                data = None if param.is_there else np.empty(0)
                places.append(Place(prod(extents) * spec.dtype.itemsize, spec.unit, data))
                known += [np.int64(1)] * spec.strides
        return self._edges(head, places, known)

    def _edges(self, head: bytes, places: Sequence[Place], known: Sequence[Any]) -> Edges:
        if self._has_numbers:
            first = Place(len(head), T.u8, np.frombuffer(head, np.uint8))
        else:
            first = Place(self.cleared, T.u8)
        return Edges((first, *places, *self._results), tuple(known))

    def roles(self) -> list[str]:
        """How each argument comes in: "there", "uploaded", "slot" for a number in the head, or
        "known" for one that the host works with."""
        places = {True: "there", False: "uploaded"}
        others = {True: "slot", False: "known"}
        return [places[p.is_there] if p.has_place else others[p.slot > 0] for p in self._params]

    def values(self, edges: Edges, memories: Sequence[Memory]) -> Iterator[Any]:
        """The host program's params, with the edges' places in this memory."""
        known, place = iter(edges.known), 0
        for param in self._params:
            spec = param.spec
            if param.has_place:
                place += 1
                at = Buffer(memories[place], 0, spec.unit)
                yield at if spec.is_array else Number(at)
                yield from (next(known) for _ in range(spec.strides))
            elif param.slot:
                offset = self._status_bytes + 8 * (param.slot - 1)
                yield Number(Buffer(memories[0], offset, spec.dtype))
            else:
                yield next(known)
        for i, result in enumerate(self._results):
            yield Buffer(memories[place + 1 + i], 0, result.dtype)


def _params(
    program: CudaProgram, signature: Signature, resident: Sequence[bool]
) -> Iterator[_Param]:
    position = slots = 0
    for spec, is_there in zip(signature.inputs, resident, strict=True):
        in_head = not spec.is_array and not is_there and position in program.slots
        slots += in_head
        yield _Param(spec, slots if in_head else 0, is_there)
        position += 1 + spec.strides


def _slot(arg: Any, dtype: DType) -> bytes:
    """A number of the caller's, in 8 bytes."""
    if dtype is T.f64:
        return struct.pack("<d", arg)
    return slot_of(Passed(_number(arg, dtype), dtype))


def _number(arg: Any, dtype: DType) -> Any:
    if dtype is not T.f32:
        return dtype.numpy.type(arg)
    with np.errstate(over="ignore"):
        return np.float32(arg)


def _copied(spec: Input, arg: Any) -> Any:
    """An array whose memory is that of its elements, in the order of the layout."""
    x = np.asarray(arg, spec.dtype.numpy)
    return x.copy("F") if spec.layout == "F" else x.copy("C")


def _strides(spec: Input, x: Any) -> list[Any]:
    """Those that follow the address, in units."""
    if spec.layout != "strided":
        return []
    steps = [step // spec.unit.itemsize for step in x.strides]
    return [np.int64(n) for n in (*steps, *[1] * (spec.strides - spec.rank))]


def in_halves(x: Any) -> Any:
    """Complex numbers as pairs of reals along one more axis."""
    return np.stack((x.real, x.imag), -1)
