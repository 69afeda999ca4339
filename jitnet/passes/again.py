"""What is cheap is computed once more for kernels that come later, rather than kept for them.

    %a = add %y, %b                          %a = add %y, %b
    %h = mul %a, (tanh %a)                   %h = mul %a, (tanh %a)
    %z = dot %h, %w                  ->      %z = dot %h, %w
    ...                                      ...
    %c = mul %a, %ct                         %a.1 = add %y, %b
                                             %c = mul %a.1, %ct

Part of fusion, for devices, where arithmetic waits for memory: an array that is written for a later
kernel, and read there, costs more than a few operations on what that kernel reads anyway. Phases
are those of `sunk`; a value has one copy at most, for readers of one phase.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from jitnet.ir import Eqn, Literal, Value
from jitnet.ops.primitive import Element
from jitnet.passes.members import ENDS, primitive
from jitnet.passes.sunk import Order

CHEAP = 12
"""Flops of an element that are computed again at most."""


def computed_again(order: Order) -> tuple[list[Eqn], set[Value]]:
    """The equations of a segment with copies of some, and what these bind."""
    again = _Again(order)
    return again.rewritten(), {eqn.result for eqn in again.copies.values()}


@dataclass
class _Again:
    """Attributes:
    copies: of equations, by position.
    places: where each copy goes: in front of this equation.
    flops: to compute an element of each copy.
    readers: which equations read a copy.
    read: what the kernels of a phase read in any case.
    """

    order: Order
    copies: dict[int, Eqn] = field(default_factory=dict)
    places: dict[int, int] = field(default_factory=dict)
    flops: dict[int, int] = field(default_factory=dict)
    readers: dict[int, dict[Value, Value]] = field(default_factory=dict)
    read: set[tuple[int, int]] = field(default_factory=set)

    def rewritten(self) -> list[Eqn]:
        order = self.order
        for i in order.segment:
            self.read |= {(order.source(v), order.first[i]) for v in order.eqns[i].operands}
        for i in order.segment:
            self.visit(i)
        front: dict[int, list[Eqn]] = {}
        for i in sorted(self.copies):
            front.setdefault(self.places[i], []).append(self.copies[i])
        done: list[Eqn] = []
        for i in order.segment:
            done += front.get(i, ())
            done.append(_on(order.eqns[i], self.readers.get(i, {})))
        return done

    def visit(self, i: int) -> None:
        """Copy an equation, if what reads it later is better off with it."""
        order = self.order
        if not _is_cheap(order.eqns[i]) or i in order.kept:
            return
        far = [j for j in order.readers[i] if order.first[j] > order.first[i]]
        phases = {order.first[j] for j in far}
        if len(phases) != 1 or any(primitive(order.eqns[j]).is_view for j in far):
            return
        found = self.planned(i, *phases)
        if found is None:
            return
        flops, reads, chain = found
        if flops > CHEAP or sum(map(order.bytes_of, reads)) >= 2 * order.bytes_of(i):
            return
        self.read |= {(j, phase) for j in reads for phase in phases}
        for j in chain:
            self.copy(j, flops, [], min(far))
        self.copy(i, flops, far, min(far))

    def planned(self, i: int, phase: int) -> tuple[int, set[int], list[int]] | None:
        """The flops of an element, computed of copies and of what is in memory; what has to be
        read for that beside what the phase reads anyway; and what has to be copied before. None
        where that is no way."""
        order, eqn = self.order, self.order.eqns[i]
        flops, reads, chain = _cost(eqn), set[int](), list[int]()
        for v in eqn.operands:
            j = order.source(v)
            if order.index.get(v, -1) in self.copies:
                flops += self.flops[order.index[v]]
            elif isinstance(v, Literal) or j < 0 or not v.rank:
                continue
            elif j in self.copies:
                return None  # a view of one
            elif (j, phase) in self.read:
                continue
            elif j in order.kept or 4 * order.bytes_of(j) <= order.bytes_of(i):
                reads.add(j)
            elif order.index.get(v) != j or not _is_cheap(order.eqns[j]) or flops > CHEAP:
                return None
            elif j not in chain:
                inner = self.planned(j, phase)
                if inner is None:
                    return None
                flops, reads = flops + inner[0], reads | inner[1]
                chain += [k for k in (*inner[2], j) if k not in chain]
        return flops, reads, chain

    def copy(self, i: int, flops: int, far: Sequence[int], place: int) -> None:
        order, eqn = self.order, self.order.eqns[i]
        env: dict[Value, Value] = {}
        todo = [i]
        while todo:  # copies that this one reads stand before it
            for v in order.eqns[todo.pop()].operands:
                j = order.index.get(v, -1)
                if j in self.copies:
                    env[v] = self.copies[j].result
                    self.places[j] = min(self.places[j], place)
                    todo.append(j)
        made = Value(eqn.result.type, eqn.result.name)
        self.copies[i] = replace(_on(eqn, env), results=(made,))
        self.places[i], self.flops[i] = place, flops
        for j in far:
            self.readers.setdefault(j, {})[eqn.result] = made


def _is_cheap(eqn: Eqn) -> bool:
    op = primitive(eqn)
    if not op.is_pointwise or op.is_view or op in ENDS or not eqn.result.rank:
        return False
    return _cost(eqn) <= CHEAP


def _cost(eqn: Eqn) -> int:
    rule = primitive(eqn).lowering(eqn)
    return rule.cost if isinstance(rule, Element) else CHEAP + 1


def _on(eqn: Eqn, env: dict[Value, Value]) -> Eqn:
    """The equation on other values."""
    if not env:
        return eqn
    return replace(eqn, operands=tuple(env.get(v, v) for v in eqn.operands))
