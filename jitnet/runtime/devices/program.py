"""Calls a program on a device: step by step at first, and from the second time on as recorded.

    program = DeviceProgram(device, cut(kernel), module, signature, resident=[True, False])
    total, y = program([x, 2.0])

The first call of a kind, told apart by the integers that the host works with, goes over the host's
program; the second one records it (`plan`), unless it decides something by what kernels compute.
Then a call is one allocation, for the head, for what is uploaded and for all that lies between, and
the replay of the commands.
"""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict, deque
from collections.abc import Collection, Iterator, Sequence, Set
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np

from jitnet.codegen.cuda.launch import CudaProgram
from jitnet.codegen.signature import (
    AliasOutput,
    HeapOutput,
    Output,
    ScalarOutput,
    Signature,
    Slot,
)
from jitnet.errors import DeviceMemoryError
from jitnet.ir import DType
from jitnet.ir import types as T
from jitnet.runtime.devices.commands import (
    Buffer,
    Call,
    Clear,
    Direct,
    Launch,
    Multiply,
    Queue,
    moved_by,
    uploaded,
)
from jitnet.runtime.devices.device import (
    Array,
    Device,
    Later,
    Memory,
    Module,
    TooLittleMemoryError,
)
from jitnet.runtime.devices.driver import Number, Run, raise_status
from jitnet.runtime.devices.edges import Doors, Edges, in_halves
from jitnet.runtime.devices.plan import (
    NotStraightError,
    Plan,
    Planned,
    Recorder,
    aligned,
    arena_of,
)
from jitnet.runtime.devices.rounds import Rounds
from jitnet.runtime.options import Options

NO_OPTIONS = Options()

MOST_RECORDED = 8
"""Kinds of calls of a program for which its recorded commands are kept."""

SMALL = 4096
"""Blocks of at most so many bytes are kept whole by one who keeps a result in them."""


@dataclass(frozen=True)
class _Part:
    """A part of a call's own memory."""

    whole: Memory
    start: int
    size: int

    @property
    def address(self) -> int:
        return self.whole.address + self.start


@dataclass(frozen=True)
class Recorded:
    """A kind of calls, recorded.

    Attributes:
        starts: of each place and result that lies in the call's own block, the byte; None for those
            that have memory of their own.
        arena: the byte of the block from which on the plan's arena lies.
        size: of the block.
    """

    plan: Plan
    starts: Sequence[int | None]
    arena: int
    size: int


class DeviceProgram:
    """A program on a device as a function of arrays; the same for any number of threads.

    Args:
        signature: what the params and results of the kernel Function stand for.
        resident: which arguments are arrays of the device. Results are, where one is.
    """

    def __init__(
        self,
        device: Device,
        program: CudaProgram,
        module: Module,
        signature: Signature,
        resident: Sequence[bool],
        options: Options = NO_OPTIONS,
    ) -> None:
        self.device = device
        self.program = program
        self.module = module
        self.signature = signature
        self.doors = Doors(program, signature, resident)
        self.stays = any(resident)
        self.waits = not (options.async_errors and self.stays)
        self.recorded: OrderedDict[tuple[int, ...], Recorded | None] = OrderedDict()
        self._seen: deque[tuple[int, ...]] = deque(maxlen=MOST_RECORDED)
        self._constants: dict[int, Buffer] = {}
        self.pending: list[Later] = []
        self.lock = threading.RLock()

    def __call__(self, args: Sequence[Any]) -> list[Any]:
        """The outputs for arguments that match the signature's inputs.

        Raises:
            whatever the program raises.
            DeviceMemoryError: where the device has too little memory.
        """
        with self.lock:
            self.raise_pending(wait=False)
            edges = self.doors.edges(self.device, args)
            recorded = self._recorded(edges)
            try:
                if recorded is None:
                    return self._directly(edges, args)
                return self._replayed(recorded, edges, args)
            except TooLittleMemoryError as error:
                raise self._out_of_memory(edges, recorded, error) from None

    # -- step by step -----------------------------------------------------------------------------

    def _directly(self, edges: Edges, args: Sequence[Any]) -> list[Any]:
        device = self.device
        memories = [p.memory or device.allocate(p.size) for p in edges.places]
        for place, memory in zip(edges.places, memories):
            if place.data is not None:
                device.upload(memory, 0, place.data)
        queue = Direct(device, self.module)
        head = Buffer(memories[0], 0, T.u8)
        self._clear_status(queue, head)
        run = Run(queue, self.program, head, self._constants, rounds=Rounds)
        results = run.function(self.program.host, [*self.doors.values(edges, memories)])
        return self._handed_out(edges, memories, args, results)

    def _clear_status(self, queue: Queue, head: Buffer) -> None:
        if self.doors.cleared:
            queue.do(Clear(head, self.doors.cleared))

    # -- as recorded ------------------------------------------------------------------------------

    def _recorded(self, edges: Edges) -> Recorded | None:
        """The commands for calls of this kind, from the second one on, where it has such."""
        key = edges.key
        if key in self.recorded:
            self.recorded.move_to_end(key)
        elif key in self._seen:
            self.recorded[key] = self._record(edges)
            if len(self.recorded) > MOST_RECORDED:
                self.recorded.popitem(last=False)
        else:
            self._seen.append(key)
        return self.recorded.get(key)

    def _record(self, edges: Edges) -> Recorded | None:
        recorder = Recorder(self.device)
        outside: list[Memory] = [Planned(p.size) for p in edges.places]
        head = Buffer(outside[0], 0, T.u8)
        self._clear_status(recorder, head)
        run = Run(recorder, self.program, head, self._constants)
        try:
            results = run.function(self.program.host, [*self.doors.values(edges, outside)])
        except NotStraightError:
            return None
        for result in results:
            at = result.at if isinstance(result, Number) else result
            if isinstance(at, Buffer) and at.memory not in outside and _is_planned(at.memory):
                outside.append(at.memory)
        plan = Plan(recorder.commands, outside, arena_of(recorder.commands, outside), results)
        given = {i for i, p in enumerate(edges.places) if i and p.data is None and not p.is_result}
        inside = {i for i, p in enumerate(edges.places) if not p.is_result}
        made = [i for i in range(len(outside)) if i not in inside]
        return _laid_out(plan, given, made if self.stays else ())

    def _replayed(self, recorded: Recorded, edges: Edges, args: Sequence[Any]) -> list[Any]:
        device, plan = self.device, recorded.plan
        block = device.allocate(recorded.size)
        memories: list[Memory] = []
        for i, (memory, start) in enumerate(zip(plan.outside, recorded.starts)):
            place = edges.places[i] if i < len(edges.places) else None
            if start is not None:
                memories.append(_Part(block, start, memory.size))
            else:
                there = place.memory if place is not None else None
                memories.append(there or device.allocate(memory.size))
            if place is not None and place.data is not None and start is not None:
                device.upload(block, start, place.data)
        addresses = [memory.address for memory in memories]
        plan.run(device, self.module, addresses, block.address + recorded.arena)
        real = {id(planned): memory for planned, memory in zip(plan.outside, memories)}

        def placed(result: Any) -> Any:
            at = result.at if isinstance(result, Number) else result
            if not isinstance(at, Buffer):
                return result
            at = replace(at, memory=real.get(id(at.memory), at.memory))
            return Number(at) if isinstance(result, Number) else at

        return self._handed_out(edges, memories, args, [placed(r) for r in plan.results])

    # -- what comes out ---------------------------------------------------------------------------

    def _handed_out(
        self, edges: Edges, memories: Sequence[Memory], args: Sequence[Any], results: Sequence[Any]
    ) -> list[Any]:
        self.check(memories[0])
        self.device.finish()
        for place, memory in zip(edges.places, memories):
            if place.target is not None:
                assert place.data is not None
                place.target[...] = self._downloaded(Buffer(memory, 0, place.dtype), place.data)
        made = list(zip(edges.places, memories))
        fresh = iter([Buffer(memory, 0, p.dtype) for p, memory in made if p.is_result])
        if self.stays:
            given = {id(memory) for p, memory in made if not p.is_result}
            results = [self._own(r, given) for r in results]
        taken = {at.address for at in self._constants.values()}
        return [self._output(o, args, results, fresh, taken) for o in self.signature.outputs]

    def _own(self, result: Any, given: Set[int]) -> Any:
        """A number on the device in memory that becomes the caller's."""
        if not isinstance(result, Number) or id(result.at.memory) not in given:
            return result
        at = result.at
        own = Buffer(self.device.allocate(at.dtype.itemsize), 0, at.dtype)
        self.device.copy(own.address, at.address, at.dtype.itemsize)
        return Number(own)

    def _output(
        self,
        output: Output,
        args: Sequence[Any],
        results: Sequence[Any],
        fresh: Iterator[Buffer],
        taken: set[int],
    ) -> Any:
        """A result. Those that stay have memory that nobody else has: not that at `taken`."""
        if isinstance(output, AliasOutput):
            x = args[output.input]
            return in_halves(x) if output.in_halves else x
        if isinstance(output, ScalarOutput):
            return self._scalar(results[output.slot], output.dtype, taken)
        dims = tuple(
            int(self._number(results[d.index])) if isinstance(d, Slot) else d for d in output.dims
        )
        at = results[output.slot] if isinstance(output, HeapOutput) else next(fresh)
        return self._array(at, dims, output.dtype, taken)

    def _scalar(self, result: Any, dtype: DType, taken: set[int]) -> Any:
        """A result of rank 0: an array of the device, where results are such."""
        if not self.stays:
            return self._number(result)
        if isinstance(result, Number):
            at = result.at
        else:
            at = uploaded(self.device, np.array([result], dtype.numpy), dtype)
        return self._array(at, (), dtype, taken)

    def _array(self, at: Buffer, dims: tuple[int, ...], dtype: DType, taken: set[int]) -> Any:
        if self.stays:
            memory, start = _whole(at.memory)
            array = self.device.array(memory, start + at.offset, dims, dtype)
            shared = at.address in taken
            taken.add(at.address)
            return array.copy() if shared else array
        data = self._bytes(at, prod(dims) * dtype.itemsize)
        return data.view(dtype.numpy).reshape(dims)

    def _number(self, result: Any) -> Any:
        if not isinstance(result, Number):
            return result
        at = result.at
        return self._bytes(at, at.dtype.itemsize).view(at.dtype.numpy)[0]

    def _downloaded(self, at: Buffer, like: Array) -> Array:
        data = self._bytes(at, like.nbytes).view(like.dtype)
        by_columns = like.flags.f_contiguous and not like.flags.c_contiguous
        return data.reshape(like.shape[::-1]).T if by_columns else data.reshape(like.shape)

    def _bytes(self, at: Buffer, size: int) -> Array:
        memory, start = _whole(at.memory)
        return self.device.download(memory, start + at.offset, size)

    # -- errors -----------------------------------------------------------------------------------

    def check(self, head: Memory) -> None:
        """Raise what kernels have reported, now or with a later call."""
        if not self.program.sites:
            return
        size = self.program.status_bytes
        whole, start = _whole(head)
        if self.waits:
            raise_status(self.program, self.device.download(whole, start, size))
        else:
            self.pending.append(self.device.download_later(whole, start, size))
            _PENDING.add(self)

    def raise_pending(self, wait: bool) -> None:
        """Raise what earlier calls have reported, the first one first.

        Args:
            wait: for calls that are still running, too.
        """
        with self.lock:
            while self.pending and (wait or self.pending[0].is_there()):
                raise_status(self.program, np.frombuffer(self.pending.pop(0).data(), np.uint8))

    def _out_of_memory(
        self, edges: Edges, recorded: Recorded | None, error: MemoryError
    ) -> DeviceMemoryError:
        recorded = recorded or self._record(edges)
        needs = f"it takes {_peak(recorded, edges):,} bytes at its peak; " if recorded else ""
        return DeviceMemoryError(
            f'device="{self.device.name}" has too little memory for this call',
            why=f"{needs}{error}",
            remedy="smaller batches; grad(memory=...) for a gradient; on a GPU, "
            "cupy.get_default_memory_pool().free_all_blocks() frees what CuPy keeps",
        )

    # -- its size ---------------------------------------------------------------------------------

    def cost(self, dims: Sequence[Sequence[Any]]) -> dict[str, int] | None:
        """What a call takes for arrays of these dims, see `Executable.cost`; None where that
        depends on what only a call knows."""
        edges = self.doors.blank(dims)
        recorded = None if edges is None else self._rehearsed(edges)
        if edges is None or recorded is None:
            return None
        commands = recorded.plan.commands
        cost = {
            "peak_bytes": _peak(recorded, edges),
            "launches": sum(isinstance(c, Launch) for c in commands),
            "calls": sum(isinstance(c, Call | Multiply) for c in commands),
        }
        moved = [moved_by(c) for c in commands]
        known = [m for m in moved if m is not None]
        return cost if len(known) < len(moved) else cost | {"moved_bytes": sum(known)}

    def _rehearsed(self, edges: Edges) -> Recorded | None:
        """The commands for calls with these edges, which nobody has asked for yet."""
        try:
            with self.device.current():
                return self._record(edges)
        except Exception:  # what such a call raises
            return None

    def told(self, dims: Sequence[Sequence[Any]]) -> Iterator[str]:
        """How calls with arrays of these dims run, in words."""
        if not self.program.launches:
            return
        edges = self.doors.blank(dims)
        if edges is None:
            kinds = [recorded is not None for recorded in self.recorded.values()]
            if kinds:
                yield f"{sum(kinds)} of {len(kinds)} kinds of calls are replayed"
        elif self._rehearsed(edges) is not None:
            yield "replayed, as it decides nothing by what kernels compute"
        else:
            yield "gone through launch by launch, as it reads back what kernels compute, or is long"


def _laid_out(plan: Plan, given: Collection[int], results: Collection[int]) -> Recorded:
    """Where what a call brings lies in its block.

    Args:
        given: positions of what has memory of its own already.
        results: of what becomes the caller's. It lies in the block, too, unless one who keeps a
            result would keep much more.
    """
    sizes = [aligned(memory.size) for memory in plan.outside]
    whole = plan.arena.size + sum(size for i, size in enumerate(sizes) if i not in given)
    least = min((sizes[i] for i in results), default=0)
    apart = results if whole > max(SMALL, least * 5 // 4) else ()
    starts: list[int | None] = []
    end = 0
    for i, size in enumerate(sizes):
        is_apart = i in given or i in apart
        starts.append(None if is_apart else end)
        end += 0 if is_apart else size
    return Recorded(plan, starts, end, end + plan.arena.size)


def _peak(recorded: Recorded, edges: Edges) -> int:
    """The arena, results, and the head."""
    sizes = [aligned(memory.size) for memory in recorded.plan.outside]
    given = [i for i, p in enumerate(edges.places) if i and not p.is_result]
    return recorded.plan.arena.size + sum(sizes) - sum(sizes[i] for i in given)


def _whole(memory: Memory) -> tuple[Memory, int]:
    """What was allocated, and where in it this memory begins."""
    return (memory.whole, memory.start) if isinstance(memory, _Part) else (memory, 0)


def _is_planned(memory: Memory) -> bool:
    return isinstance(memory, Planned)


_PENDING: weakref.WeakSet[DeviceProgram] = weakref.WeakSet()


def synchronize() -> None:
    """Wait for what calls with `async_errors` have left running, and raise what they report."""
    for program in list(_PENDING):
        program.raise_pending(wait=True)
        _PENDING.discard(program)
