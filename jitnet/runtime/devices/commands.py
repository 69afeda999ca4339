"""What a device is asked to do, one command after the other, and the queue that asks at once.

    Launch("f_kernel", 16, 256, (status, x, out0, np.int64(3)))
    Copy(record, x, 800)
    Call("dgemm", (...))
    Multiply(Problem(64, 70, 100, ...), (x, w, out0, bias, workspace))

A run of a program makes commands. `Direct` carries each out as it comes; `plan.Recorder` keeps
them, to be carried out many times.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from jitnet.ir import DType
from jitnet.ir import types as T
from jitnet.runtime.devices.device import Array, Device, Memory, Module, Span
from jitnet.runtime.devices.products import Problem


@dataclass(frozen=True, eq=False)
class Buffer:
    """Elements on the device, from a byte of some memory on."""

    memory: Memory
    offset: int
    dtype: DType

    @property
    def address(self) -> int:
        return self.memory.address + self.offset

    def span(self, address: int) -> Span:
        """What it reaches, at this address."""
        return Span(address, self.memory.size - self.offset, self.dtype)


class Counted(NamedTuple):
    """A number that each run of recorded commands brings: its position among these."""

    place: int


class Passed(NamedTuple):
    """A number that is passed as it is. While commands are recorded it may be `Counted`."""

    number: Any
    dtype: DType


Argument = Buffer | Passed


class Launch(NamedTuple):
    """A kernel.

    Attributes:
        moved: bytes that it reads and writes, where they are known.
    """

    kernel: str
    blocks: int
    threads: int
    arguments: tuple[Argument, ...]
    moved: int | None = None

    @property
    def buffers(self) -> list[Buffer]:
        return [a for a in self.arguments if isinstance(a, Buffer)]

    @property
    def is_counted(self) -> bool:
        """Whether a number is still to come."""
        return any(isinstance(a, Passed) and isinstance(a.number, Counted) for a in self.arguments)

    def counted(self, numbers: Sequence[Any]) -> Launch:
        """The launch with these numbers."""
        arguments = [
            a._replace(number=numbers[a.number.place])
            if isinstance(a, Passed) and isinstance(a.number, Counted)
            else a
            for a in self.arguments
        ]
        return self._replace(arguments=tuple(arguments))


class Copy(NamedTuple):
    target: Buffer
    source: Buffer
    size: int

    @property
    def buffers(self) -> list[Buffer]:
        return [self.target, self.source]


class Clear(NamedTuple):
    target: Buffer
    size: int

    @property
    def buffers(self) -> list[Buffer]:
        return [self.target]


class Call(NamedTuple):
    """A library routine that the device has."""

    routine: str
    arguments: tuple[Argument, ...]

    @property
    def buffers(self) -> list[Buffer]:
        return [a for a in self.arguments if isinstance(a, Buffer)]


class Multiply(NamedTuple):
    """A product by the device's library.

    Attributes:
        buffers: A, B, C, what its epilogue reads, and memory for the library alone.
    """

    problem: Problem
    buffers: list[Buffer]


Command = Launch | Copy | Clear | Call | Multiply


def moved_by(command: Command) -> int | None:
    """The bytes that a command reads and writes, each element once; None where it is not known."""
    match command:
        case Launch():
            return command.moved
        case Copy(_, _, size):
            return 2 * size
        case Clear(_, size):
            return size
        case Multiply(problem, buffers):
            elements = [rows * columns for rows, columns in problem.stored]
            sizes = (at.dtype.itemsize for at in buffers)
            halves = 2 if problem.kinds[0].startswith("c") else 1
            return sum(problem.count * n * size * halves for n, size in zip(elements, sizes))
        case Call():
            return None


class Queue(Protocol):
    """Where a run's commands go."""

    @property
    def device(self) -> Device: ...

    def allocate(self, size: int) -> Memory: ...

    def do(self, command: Command) -> None: ...

    def download(self, at: Buffer, size: int) -> Array:
        """What is there once all commands so far are done."""
        ...

    def upload(self, at: Buffer, data: Array) -> None:
        """Write what only the host knows, as the run goes."""
        ...

    def constant(self, data: Array, dtype: DType) -> Buffer:
        """Memory with this content, which nobody writes to."""
        ...


@dataclass(frozen=True)
class Direct:
    """A queue whose commands are carried out as they come."""

    device: Device
    module: Module

    def allocate(self, size: int) -> Memory:
        return self.device.allocate(size)

    def do(self, command: Command) -> None:
        bound(command, self.device, self.module, _address)()

    def download(self, at: Buffer, size: int) -> Array:
        return self.device.download(at.memory, at.offset, size)

    def upload(self, at: Buffer, data: Array) -> None:
        self.device.upload(at.memory, at.offset, data)

    def constant(self, data: Array, dtype: DType) -> Buffer:
        return uploaded(self.device, data, dtype)


def uploaded(device: Device, data: Array, dtype: DType) -> Buffer:
    """New memory with this content."""
    memory = device.allocate(max(data.nbytes, 1))
    device.upload(memory, 0, data)
    return Buffer(memory, 0, dtype)


def _address(at: Buffer) -> int:
    return at.address


def bound(
    command: Command, device: Device, module: Module, address: Callable[[Buffer], int]
) -> Callable[[], None]:
    """The command with its addresses, as a function that carries it out."""
    match command:
        case Launch(name, blocks, threads, arguments, _):
            slots = packed(arguments, address)
            return device.launcher(module.kernel(name), blocks, threads, slots)
        case Copy(target, source, size):
            to, start = address(target), address(source)
            return lambda: device.copy(to, start, size)
        case Clear(target, size):
            to = address(target)
            return lambda: device.clear(to, size)
        case Call(name, arguments):
            routine = device.routine(name)
            assert routine is not None
            given = [a.span(address(a)) if isinstance(a, Buffer) else a.number for a in arguments]
            return lambda: routine(*given)
        case Multiply(problem, buffers):
            return device.multiplier(problem, [at.span(address(at)) for at in buffers])


Position = tuple[int, int]
"""Where memory is: the number of an address, and bytes from there on."""


def patched(
    launch: Launch, device: Device, module: Module, places: Mapping[int, Position]
) -> Callable[[Sequence[int]], None]:
    """The launch as a function of addresses. A launch takes a copy of its arguments, so that these
    lie in the same memory each time.

    Args:
        places: of memory, by identity. The last of the addresses is 0, from which on all other
            memory is counted, and numbers.
    """
    fields = [_field(a, places) for a in launch.arguments]
    pack = struct.Struct(f"<{len(fields)}Q").pack_into
    slots = ctypes.create_string_buffer(8 * len(fields))
    run = device.launcher(module.kernel(launch.kernel), launch.blocks, launch.threads, slots)

    def patched(addresses: Sequence[int]) -> None:
        pack(slots, 0, *[addresses[base] + offset for base, offset in fields])
        run()

    return patched


def _field(argument: Argument, places: Mapping[int, Position]) -> Position:
    if isinstance(argument, Passed):
        return -1, int.from_bytes(slot_of(argument), "little")
    base, offset = places.get(id(argument.memory)) or (-1, argument.memory.address)
    return base, offset + argument.offset


def packed(arguments: Sequence[Argument], address: Callable[[Buffer], int]) -> bytes:
    """A kernel's arguments, 8 bytes each."""
    return b"".join(
        address(a).to_bytes(8, "little") if isinstance(a, Buffer) else slot_of(a) for a in arguments
    )


def slot_of(value: Passed) -> bytes:
    """A number in 8 bytes."""
    number, dtype = value
    if dtype is T.i64:
        return int(number).to_bytes(8, "little", signed=True)
    return np.array(number, dtype.numpy).tobytes().ljust(8, b"\0")
