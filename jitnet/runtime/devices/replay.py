"""Calls of one recorded kind with as little Python as there can be.

    replay = replay_of(program, [x, 2.0])       # None where calls like this one need more
    total, y = replay([x.data.ptr], [3.0])      # one allocation, one upload, one graph

What `DeviceProgram` finds out in each call is known here: which arguments are places and which are
numbers, where all of it lies in the call's block, what becomes of it. Only arrays of the device and
numbers come in, and only new arrays go out, or arguments that are changed.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from jitnet.codegen.signature import AliasOutput, HeapOutput, Output, ScalarOutput, Slot
from jitnet.ir import DType
from jitnet.ir import types as T
from jitnet.runtime.devices.commands import Buffer
from jitnet.runtime.devices.device import TooLittleMemoryError
from jitnet.runtime.devices.driver import Number
from jitnet.runtime.devices.program import DeviceProgram, Recorded

_FORMATS = {T.f64: "d", T.i64: "q"}
"""How Python's numbers lie in the head."""


@dataclass(frozen=True)
class _Nowhere:
    """The block of calls that need none."""

    address: int = 0
    size: int = 0


_NOWHERE = _Nowhere()


@dataclass(frozen=True)
class _Made:
    """A new array.

    Attributes:
        place: its number among what the call makes, where that has memory of its own.
        offset: of its first byte in that memory, or in the block.
    """

    place: int
    offset: int
    dims: tuple[int, ...]
    dtype: DType


@dataclass(frozen=True)
class Replay:
    """Calls of a program, of one kind.

    Attributes:
        has_block: whether anything lies in memory of the call's own.
        made: where in the block new arrays lie; empty where they have memory of their own.
        sizes: of that memory.
        outputs: new arrays; None for arguments.
        head: packs the status and the numbers, into `bytes`.
    """

    program: DeviceProgram
    recorded: Recorded
    has_block: bool
    made: Sequence[int]
    sizes: Sequence[int]
    outputs: Sequence[_Made | None]
    head: struct.Struct
    bytes: Any = field(repr=False)

    def __call__(self, addresses: Sequence[int], numbers: Sequence[float]) -> list[Any] | None:
        """The outputs; None where there is too little memory, and nothing was done.

        Args:
            addresses: of all arrays that come in, in order.
            numbers: those that lie in the head, in order.

        Raises:
            whatever the program raises.
        """
        program, recorded = self.program, self.recorded
        device = program.device
        with device.current(), program.lock:
            if program.pending:
                program.raise_pending(wait=False)
            try:
                block = device.allocate(recorded.size) if self.has_block else _NOWHERE
                own = [device.allocate(size) for size in self.sizes]
            except TooLittleMemoryError:
                return None
            base = block.address
            if numbers:
                self.head.pack_into(self.bytes, 0, *numbers)
                device.write(base, ctypes.addressof(self.bytes), self.head.size)
            places = [memory.address for memory in own] or [base + start for start in self.made]
            everything = (base, *addresses, *places)
            recorded.plan.run(device, program.module, everything, base + recorded.arena)
            if program.program.sites:
                program.check(block)
            device.finish()
            return [
                device.array(own[made.place] if own else block, made.offset, made.dims, made.dtype)
                if made is not None
                else None
                for made in self.outputs
            ]


def replay_of(program: DeviceProgram, args: Sequence[Any]) -> Replay | None:
    """What calls like this one are, where they are recorded, and need no more."""
    roles = program.doors.roles()
    if not program.stays or "uploaded" in roles:
        return None
    edges = program.doors.edges(program.device, args)
    recorded = program.recorded.get(edges.key)
    if recorded is None:
        return None
    dtypes = [i.dtype for i, role in zip(program.signature.inputs, roles) if role == "slot"]
    if not _FORMATS.keys() >= set(dtypes):
        return None
    first = 1 + sum(role == "there" for role in roles)
    outputs = _outputs(program, recorded, first)
    if outputs is None:
        return None
    starts = [start for start in recorded.starts[first:] if start is not None]
    sizes = [memory.size for memory in recorded.plan.outside[first:]]
    formats = "".join(_FORMATS[dtype] for dtype in dtypes)
    head = struct.Struct(f"<{program.program.status_bytes}x{formats}")
    memory = ctypes.create_string_buffer(head.size)
    own = () if starts or not sizes else sizes
    has_block = bool(recorded.size or starts)
    return Replay(program, recorded, has_block, starts, own, outputs, head, memory)


def _outputs(program: DeviceProgram, recorded: Recorded, first: int) -> list[_Made | None] | None:
    """What becomes of what the program leaves: `first` is the first place of a result."""
    plan, outputs = recorded.plan, list[_Made | None]()
    places = {id(memory): n for n, memory in enumerate(plan.outside[first:])}
    fresh = iter(plan.outside[first:])
    taken = set[int]()
    for output in program.signature.outputs:
        if isinstance(output, AliasOutput):
            outputs.append(None)
            continue
        found = _array(output, plan.results)
        if found is None:
            return None
        at, dims = found
        memory, offset = (next(fresh), 0) if at is None else (at.memory, at.offset)
        place = places.get(id(memory))
        if place is None or place in taken:
            return None  # it must be copied
        taken.add(place)
        start = recorded.starts[first + place] or 0
        outputs.append(_Made(place, start + offset, dims, output.dtype))
    return outputs


def _array(output: Output, results: Sequence[Any]) -> tuple[Buffer | None, tuple[int, ...]] | None:
    """Where an output is, or None for the next fresh place, and its dims; None where these, or its
    value, are only known to the host."""
    if isinstance(output, ScalarOutput):
        result = results[output.slot]
        return (result.at, ()) if isinstance(result, Number) else None
    assert not isinstance(output, AliasOutput)
    dims = [results[d.index] if isinstance(d, Slot) else d for d in output.dims]
    if any(isinstance(d, Number) for d in dims):
        return None
    at = results[output.slot] if isinstance(output, HeapOutput) else None
    return at, tuple(map(int, dims))
