"""What a writer will read is computed right in front of it, not before other writers.

    %u = mul %x, %c                       %b = update %a, %v, 0
    %b = update %a, %v, 0        ->       %u = mul %x, %c
    %s = add %w, %u                       %s = add %w, %u
    %d = update %e, %s, %i                %d = update %e, %s, %i

Part of fusion: a kernel is on one side of an equation that writes, so %u would be an array in
memory, written by one kernel and read by another; now it is a number in a register. In backward
passes this is the rule: the terms of many cotangents are computed first, then added one by one.
Only what is computed cheaply, from arrays that are in memory anyway and are not overwritten in
between. Nothing moves past an equation that branches, loops or may raise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from jitnet.ir import Effect, Eqn, TapeType, Value, effect_of
from jitnet.ops.primitive import Element, Primitive
from jitnet.ops.slicing import UPDATE

CHEAP = 4
"""Flops for an element up to which an equation moves; what costs more had best be one kernel with
what reads the same."""


def compute_late(eqns: Sequence[Eqn], results: Sequence[Value]) -> list[Eqn]:
    """The equations of a body, with what is computed for a later writer in front of that."""
    writers = [i for i, eqn in enumerate(eqns) if _is_boundary(eqn)]
    if len(writers) < 2:
        return list(eqns)
    return _Late(eqns, results).sorted()


def _is_boundary(eqn: Eqn) -> bool:
    """Whether kernels are on one side of this equation."""
    assert isinstance(eqn.op, Primitive)
    return bool(eqn.regions) or effect_of(eqn) > Effect.PURE or eqn.op.writes is not None


class _Key(NamedTuple):
    """Where an equation goes: in front of the one at `position`, as one of those that stay in
    order among themselves."""

    position: int
    stays: bool
    number: int


class _Late:
    """Attributes:
    positions: where each equation goes: its own place, or that of its first reader.
    readers: the equations that read a value, in order.
    """

    def __init__(self, eqns: Sequence[Eqn], results: Sequence[Value]) -> None:
        self.eqns = eqns
        self.results = set(results)
        self.index = {r: i for i, eqn in enumerate(eqns) for r in eqn.results}
        self.positions = list(range(len(eqns)))
        self.readers: dict[Value, list[int]] = {}
        for i, eqn in enumerate(eqns):
            for v in dict.fromkeys(eqn.operands):
                self.readers.setdefault(v, []).append(i)

    def sorted(self) -> list[Eqn]:
        for i in reversed(range(len(self.eqns))):
            if self.is_candidate(self.eqns[i]):
                self.place(i)
        keys = [_Key(p, p == i, i) for i, p in enumerate(self.positions)]
        return [self.eqns[key.number] for key in sorted(keys)]

    def is_candidate(self, eqn: Eqn) -> bool:
        assert isinstance(eqn.op, Primitive)
        if len(eqn.results) != 1 or not eqn.op.is_pointwise or not eqn.result.rank:
            return False
        rule = eqn.op.lowering(eqn)
        return isinstance(rule, Element) and rule.cost <= CHEAP and not _is_view(eqn)

    def place(self, i: int) -> None:
        """Move an equation, with the views of its result, in front of its first reader."""
        moving, readers = self.views_and_readers(i)
        if any(self.eqns[m].result in self.results for m in moving) or not readers:
            return
        target = min(readers)
        between = self.eqns[i + 1 : target]
        if not any(eqn.op is UPDATE for eqn in between):
            return
        if any(_is_boundary(eqn) and eqn.op is not UPDATE for eqn in between):
            return
        written = {self.shown(eqn.operands[0]) for eqn in between if eqn.op is UPDATE}
        for v in self.eqns[i].operands:
            if v.rank and (self.shown(v) in written or not self.is_in_memory(v)):
                return
        for m in moving:
            self.positions[m] = max(self.positions[m], target)  # later views may need later values

    def views_and_readers(self, i: int) -> tuple[list[int], list[int]]:
        """The equation with all views of its result; and where what reads these goes."""
        moving, readers = [i], []
        for m in moving:
            for j in self.readers.get(self.eqns[m].result, ()):
                if _is_view(self.eqns[j]):
                    moving.append(j)
                else:
                    readers.append(self.positions[j])
        return list(dict.fromkeys(moving)), readers

    def shown(self, v: Value) -> Value:
        """The array that v is, or is a view of."""
        while (i := self.index.get(v)) is not None and _is_view(self.eqns[i]):
            v = self.eqns[i].operands[0]
        return v

    def is_in_memory(self, v: Value) -> bool:
        """Whether the array that v shows is not computed here, or is what was written to."""
        source = self.shown(v)
        i = self.index.get(source)
        if i is None or not source.rank:
            return True
        return _is_boundary(self.eqns[i])


def _is_view(eqn: Eqn) -> bool:
    if any(isinstance(v.type, TapeType) for v in (*eqn.operands, *eqn.results)):
        return False
    return isinstance(eqn.op, Primitive) and eqn.op.is_view and eqn.results[0].rank > 0
