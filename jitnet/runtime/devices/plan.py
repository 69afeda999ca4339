"""Programs recorded once and replayed: their commands, and one arena for all that they allocate.

    record      launch f_0 (head, x, t0)     launch f_1 (head, t0, out0)
    replay      the same commands, bound to the addresses of this call
    again       the same addresses as before: a captured graph, one call for all of them

A program that decides nothing by what its kernels compute asks for the same commands each time;
only where its arguments and results lie changes. What is bound to addresses is used for these
addresses alone, so a replay is never stale. Memory that the program allocates lies in an arena:
each buffer from its first to its last command, at the lowest place that is free so long.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from jitnet.codegen.workspace import place
from jitnet.ir import DType
from jitnet.runtime.devices.commands import Buffer, Call, Command, Launch, bound, uploaded
from jitnet.runtime.devices.device import Array, Device, Memory, Module

MOST_COMMANDS = 8192
"""Programs of more commands, as those of long loops, are not recorded."""

MOST_BOUND = 4
"""Sets of addresses for which a plan keeps what is bound to them."""

CAPTURED_AT = 2
"""The use of a set of addresses at which it is captured as a graph."""

ALIGNMENT = 256


def aligned(size: int) -> int:
    """A size, as what lies behind it wants it."""
    return -(-size // ALIGNMENT) * ALIGNMENT


class NotStraightError(Exception):
    """The program reads back what its kernels compute, and cannot be recorded."""


class Planned:
    """Memory that has no place yet."""

    def __init__(self, size: int) -> None:
        self.size = size

    @property
    def address(self) -> int:
        raise AssertionError("memory that has no place yet is asked for its address")


@dataclass
class Recorder:
    """A queue that keeps commands."""

    device: Device
    commands: list[Command] = field(default_factory=list)

    def allocate(self, size: int) -> Memory:
        return Planned(size)

    def do(self, command: Command) -> None:
        if len(self.commands) == MOST_COMMANDS:
            raise NotStraightError
        self.commands.append(command)

    def download(self, at: Buffer, size: int) -> Array:
        raise NotStraightError

    def upload(self, at: Buffer, data: Array) -> None:
        raise NotStraightError

    def constant(self, data: Array, dtype: DType) -> Buffer:
        made = uploaded(self.device, data, dtype)
        self.device.synchronize()  # for any stream
        return made


@dataclass(frozen=True)
class Arena:
    """Attributes:
    offsets: of each memory in it, by identity.
    size: in bytes.
    """

    offsets: dict[int, int]
    size: int


def arena_of(commands: Sequence[Command], outside: Sequence[Memory]) -> Arena:
    """Where planned memory lies that is not `outside`."""
    lives: dict[int, list[int]] = {}
    sizes: dict[int, int] = {}
    others = {id(memory) for memory in outside}
    for time, command in enumerate(commands):
        for at in command.buffers:
            key = id(at.memory)
            if isinstance(at.memory, Planned) and key not in others:
                lives.setdefault(key, [time, time])[1] = time
                sizes[key] = aligned(at.memory.size)
    planned = place([(sizes[key], low, high, key) for key, (low, high) in lives.items()])
    return Arena(dict(planned.offsets), planned.size)


@dataclass
class _Bound:
    """Commands bound to addresses.

    Attributes:
        works: in order; those of launches, copies and clearings are one where they are captured.
        uses: how often it has run.
    """

    works: list[Callable[[], None]]
    captured: bool = False
    uses: int = 0


@dataclass
class Plan:
    """A recorded program.

    Attributes:
        commands: in order, with memory that is outside, in the arena, or fixed.
        outside: memory that each call brings: arguments, and results.
        arena: where the rest lies.
        results: of the recorded run: numbers, or places in that memory.
    """

    commands: Sequence[Command]
    outside: Sequence[Memory]
    arena: Arena
    results: Sequence[Any]
    _bound: OrderedDict[tuple[int, ...], _Bound] = field(default_factory=OrderedDict)
    _numbers: list[Any] = field(default_factory=list)

    def run(
        self,
        device: Device,
        module: Module,
        addresses: Sequence[int],
        arena: int,
        numbers: Sequence[Any] = (),
    ) -> None:
        """Carry out the commands, with what is outside at `addresses`, and the arena at `arena`.

        Args:
            numbers: those that are `Counted`.
        """
        self._numbers[:] = numbers
        key = (*addresses, arena)
        if key not in self._bound:
            self._bound[key] = self._bind(device, module, key)
            oldest = self._bound.popitem(last=False)[1] if len(self._bound) > MOST_BOUND else None
            if oldest is not None and oldest.captured:
                device.synchronize()  # it may be running
        found = self._bound[key]
        self._bound.move_to_end(key)
        found.uses += 1
        if found.uses == CAPTURED_AT:
            self._capture(device, found)
        for work in found.works:
            work()

    @property
    def graphs(self) -> int:
        """How many sets of addresses are captured."""
        return sum(found.captured for found in self._bound.values())

    def _bind(self, device: Device, module: Module, key: Sequence[int]) -> _Bound:
        *addresses, arena = key
        bases = {id(memory): a for memory, a in zip(self.outside, addresses, strict=True)}
        bases |= {memory: arena + offset for memory, offset in self.arena.offsets.items()}

        def address(at: Buffer) -> int:
            base = bases.get(id(at.memory))
            return at.address if base is None else base + at.offset

        def work(command: Command) -> Callable[[], None]:
            if not _is_counted(command):
                return bound(command, device, module, address)
            assert isinstance(command, Launch)
            numbers = self._numbers
            return lambda: bound(command.counted(numbers), device, module, address)()

        return _Bound([work(command) for command in self.commands])

    def _capture(self, device: Device, found: _Bound) -> None:
        """Make graphs of what stands between library calls, and launches with other numbers."""
        works: list[Callable[[], None]] = []
        for stays, part in self._parts(found.works):
            works += part if stays or len(part) == 1 else [device.capture(_all_of(part))]
        found.works, found.captured = works, True

    def _parts(
        self, works: Sequence[Callable[[], None]]
    ) -> Iterator[tuple[bool, list[Callable[[], None]]]]:
        both = zip(self.commands, works, strict=True)
        for stays, part in groupby(both, lambda pair: _stays_out(pair[0])):
            yield stays, [work for _, work in part]


def _is_counted(command: Command) -> bool:
    return isinstance(command, Launch) and command.is_counted


def _stays_out(command: Command) -> bool:
    """Whether a command cannot be in a graph."""
    return isinstance(command, Call) or _is_counted(command)


def _all_of(works: Sequence[Callable[[], None]]) -> Callable[[], None]:
    def all_of() -> None:
        for work in works:
            work()

    return all_of
