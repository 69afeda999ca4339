"""Programs recorded once and replayed: their commands, and one arena for all that they allocate.

    record      launch f_0 (head, x, t0)     launch f_1 (head, t0, out0)
    replay      the same commands, with the addresses of this call written into their arguments
    again       the same addresses as before: a captured graph, one call for all of them

A program that decides nothing by what its kernels compute asks for the same commands each time;
only where its arguments and results lie changes. A graph is used for the addresses that it was
captured with alone, so a replay is never stale. Memory that the program allocates lies in an arena:
each buffer from its first to its last command, at the lowest place that is free so long.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from jitnet.codegen.workspace import place
from jitnet.ir import DType
from jitnet.runtime.devices.commands import (
    Buffer,
    Call,
    Command,
    Launch,
    Position,
    bound,
    patched,
    uploaded,
)
from jitnet.runtime.devices.device import Array, Device, Memory, Module

MOST_COMMANDS = 8192
"""Programs of more commands, as those of long loops, are not recorded."""

MOST_BOUND = 4
"""Sets of addresses for which a plan keeps what is captured with them. One that comes again while
it is among so many that came last is captured."""

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


Work = Callable[[], None]

Loose = Callable[[Sequence[int]], None]
"""A command that is carried out with what is outside at these addresses, then the arena, then 0."""


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
    _captured: OrderedDict[tuple[int, ...], list[Work]] = field(default_factory=OrderedDict)
    _recent: deque[tuple[int, ...]] = field(default_factory=lambda: deque(maxlen=MOST_BOUND))
    _loose: list[Loose] = field(default_factory=list)
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
        works = self._captured.get(key)
        if works is None and key not in self._recent:
            self._recent.append(key)
            self._run_loosely(device, module, (*key, 0))
            return
        if works is None:
            works = self._capture(device, module, key)
        else:
            self._captured.move_to_end(key)
        for work in works:
            work()

    @property
    def graphs(self) -> int:
        """How many sets of addresses are captured."""
        return len(self._captured)

    def _run_loosely(self, device: Device, module: Module, addresses: Sequence[int]) -> None:
        if not self._loose:
            places = {id(memory): (i, 0) for i, memory in enumerate(self.outside)}
            arena = len(places)
            places |= {memory: (arena, offset) for memory, offset in self.arena.offsets.items()}
            self._loose = [self._loosely(c, device, module, places) for c in self.commands]
        for run in self._loose:
            run(addresses)

    def _loosely(
        self, command: Command, device: Device, module: Module, places: Mapping[int, Position]
    ) -> Loose:
        """A command for any addresses."""
        if isinstance(command, Launch) and not command.is_counted:
            return patched(command, device, module, places)

        def run(addresses: Sequence[int]) -> None:
            def address(at: Buffer) -> int:
                place = places.get(id(at.memory))
                if place is None:
                    return at.address
                base, offset = place
                return addresses[base] + offset + at.offset

            self._work(command, device, module, address)()

        return run

    def _work(
        self, command: Command, device: Device, module: Module, address: Callable[[Buffer], int]
    ) -> Work:
        if not _is_counted(command):
            return bound(command, device, module, address)
        assert isinstance(command, Launch)
        numbers = self._numbers
        return lambda: bound(command.counted(numbers), device, module, address)()

    def _capture(self, device: Device, module: Module, key: tuple[int, ...]) -> list[Work]:
        """Graphs of what stands between library calls, and launches with other numbers."""
        *addresses, arena = key
        bases = {id(memory): a for memory, a in zip(self.outside, addresses, strict=True)}
        bases |= {memory: arena + offset for memory, offset in self.arena.offsets.items()}

        def address(at: Buffer) -> int:
            base = bases.get(id(at.memory))
            return at.address if base is None else base + at.offset

        bound_works = [self._work(command, device, module, address) for command in self.commands]
        works: list[Work] = []
        for stays, part in self._parts(bound_works):
            works += part if stays or len(part) == 1 else [device.capture(_all_of(part))]
        self._captured[key] = works
        if len(self._captured) > MOST_BOUND:
            self._captured.popitem(last=False)
            device.synchronize()  # it may be running
        return works

    def _parts(self, works: Sequence[Work]) -> Iterator[tuple[bool, list[Work]]]:
        both = zip(self.commands, works, strict=True)
        for stays, part in groupby(both, lambda pair: _stays_out(pair[0])):
            yield stays, [work for _, work in part]


def _is_counted(command: Command) -> bool:
    return isinstance(command, Launch) and command.is_counted


def _stays_out(command: Command) -> bool:
    """Whether a command cannot be in a graph."""
    return isinstance(command, Call) or _is_counted(command)


def _all_of(works: Sequence[Work]) -> Work:
    def all_of() -> None:
        for work in works:
            work()

    return all_of
