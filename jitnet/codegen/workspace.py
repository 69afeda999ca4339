"""Plans the memory of static buffers: one workspace, shared by buffers that do not live together.

    %a = alloc 1024      a: live over equations 0..2, offset 0
    ...
    %b = alloc 512       b: live over equations 3..5, offset 0 too

A buffer lives from its first to its last use, views and loop carries of it included; one that is
alive before a loop and used in it lives to the loop's end. Offsets are found largest buffer first,
each at the lowest place that is free throughout its life.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from jitnet.ir import BufferType, Eqn, Function, Value
from jitnet.kernel import statements as S

ALIGNMENT = 64
SMALL = 64
"""Buffers of at most so many bytes are not planned: they lie on the stack."""


@dataclass(frozen=True)
class Workspace:
    """Attributes:
    offsets: byte offset of each static `alloc`'s result, and of what the callee of an `invoke`
        needs while it runs.
    size: bytes in all.
    """

    offsets: Mapping[Any, int]
    size: int


@dataclass
class _Life:
    """The first and last use of a set of values that may share memory, and the loops it is used
    in, each by the time of its start."""

    low: int
    high: int
    loops: set[int]


def static_bytes(type: BufferType) -> int | None:
    """The buffer's size, or None where an extent is only known at run time."""
    extents = [d for d in type.dims if isinstance(d, int)]
    return prod(extents) * type.dtype.itemsize if len(extents) == type.rank else None


def planned_bytes(alloc: Eqn) -> int | None:
    """The size of an `alloc`'s buffer, or None where it comes from the heap."""
    return None if alloc.attrs.get("heap") else static_bytes(alloc.result.buffer_type)


def plan_workspace(kernel: Function) -> Workspace:
    """Offsets for every static `alloc` of the kernel that is not small."""
    return plan_workspaces(kernel)[id(kernel)]


def plan_workspaces(kernel: Function) -> dict[int, Workspace]:
    """The plans of the kernel and of all that it invokes, by identity."""
    plans: dict[int, Workspace] = {}
    for f in (*reversed(kernel.callees()), kernel):
        plans[id(f)] = _plan(f, plans)
    return plans


def _plan(kernel: Function, plans: Mapping[int, Workspace]) -> Workspace:
    """The plan of one Function, whose callees have theirs."""
    events = _Events()
    events.region(kernel, ())
    for result in kernel.results:
        events.use(result, ())
    requests: list[Request] = [
        (plans[id(eqn.attrs["callee"])].size, time, time, eqn) for time, eqn in events.invokes
    ]
    for buffer in events.allocs:
        life = events.lives[events.root(buffer)]
        high = max([life.high, *(events.ends[start] for start in life.loops if life.low <= start)])
        size = static_bytes(buffer.buffer_type)
        assert size is not None
        requests.append((-(-size // ALIGNMENT) * ALIGNMENT, life.low, high, buffer))
    return place(requests)


Request = tuple[int, int, int, Any]
"""Size, first use, last use, of what."""


def place(requests: Sequence[Request]) -> Workspace:
    """Largest first, each as low as what lives beside it lets it."""
    ordered = sorted(requests, key=lambda r: (-r[0], r[1]))
    sizes, lows, highs = np.array([r[:3] for r in ordered], np.int64).reshape(-1, 3).T
    starts = np.zeros_like(sizes)
    placed = np.zeros(0, np.int64)  # requests, by where they start
    for n, (size, low, high, _) in enumerate(ordered):
        beside = placed[(lows[placed] <= high) & (highs[placed] >= low)]
        ends = np.maximum.accumulate(starts[beside] + sizes[beside])
        free = np.concatenate(([0], ends))  # from there on, up to where the next one starts
        fits = np.flatnonzero(starts[beside] >= free[:-1] + size)
        starts[n] = free[fits[0] if len(fits) else -1]
        placed = np.insert(placed, np.searchsorted(starts[placed], starts[n]), n)
    offsets = {what: int(start) for (*_, what), start in zip(ordered, starts)}
    return Workspace(offsets, int(max(starts + sizes, default=0)))


class _Events:
    """Walks a kernel, numbering equations; unites values that may share memory."""

    def __init__(self) -> None:
        self.clock = 0
        self.allocs: list[Value] = []
        self.invokes: list[tuple[int, Eqn]] = []
        self.lives: dict[Value, _Life] = {}
        self.ends: dict[int, int] = {}
        self._parent: dict[Value, Value] = {}

    def root(self, value: Value) -> Value:
        while (parent := self._parent.get(value, value)) is not value:
            value = parent
        return value

    def unite(self, a: Value, b: Value) -> None:
        a, b = self.root(a), self.root(b)
        if a is b:
            return
        self._parent[b] = a
        x, y = self.lives.pop(a), self.lives.pop(b)
        self.lives[a] = _Life(min(x.low, y.low), max(x.high, y.high), x.loops | y.loops)

    def use(self, value: Value, loops: tuple[int, ...]) -> None:
        if not isinstance(value.type, BufferType):
            return
        life = self.lives.setdefault(self.root(value), _Life(self.clock, self.clock, set()))
        life.high = self.clock
        life.loops.update(loops)

    def region(self, region: Function, loops: tuple[int, ...]) -> None:
        for eqn in region.eqns:
            self.clock += 1
            for value in (*eqn.operands, *(() if eqn.regions else eqn.results)):
                self.use(value, loops)
            if eqn.op is S.ALLOC and (planned_bytes(eqn) or 0) > SMALL:
                self.allocs.append(eqn.result)
            elif eqn.op is S.INVOKE:
                self.invokes.append((self.clock, eqn))
            elif eqn.op is S.VIEW:
                self.unite(eqn.operands[0], eqn.result)
            elif eqn.op is S.IF:
                self._branch(eqn, loops)
            elif eqn.regions:
                self._loop(eqn, loops)

    def _branch(self, eqn: Eqn, loops: tuple[int, ...]) -> None:
        for region in eqn.regions:
            self.region(region, loops)
        self.clock += 1
        for region in eqn.regions:
            self._join(region.results, eqn.results, loops)

    def _loop(self, eqn: Eqn, loops: tuple[int, ...]) -> None:
        start = self.clock
        inside = (*loops, start)
        carries = eqn.operands[2:] if eqn.op is S.FOR else eqn.operands
        for region in eqn.regions:
            self._join(carries, region.params[len(region.params) - len(carries) :], inside)
        for region in eqn.regions:
            self.region(region, inside)
        self.clock += 1
        self.ends[start] = self.clock
        self._join(carries, eqn.regions[-1].results, inside)
        self._join(carries, eqn.results, loops)

    def _join(self, xs: Sequence[Value], ys: Sequence[Value], loops: tuple[int, ...]) -> None:
        for x, y in zip(xs, ys):
            if isinstance(x.type, BufferType):
                self.use(x, loops)
                self.use(y, loops)
                self.unite(x, y)
