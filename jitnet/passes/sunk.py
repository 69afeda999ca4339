"""What only later kernels read is computed there, if less has to be kept for it.

    %t = tanh %x                             %t = tanh %x
    %h = mul %x, %t                          %h = mul %x, %t
    %s = sub 1, (mul %t, %t)         ->      %y = dot %h, %w
    %y = dot %h, %w                          ...
    ...                                      %s = sub 1, (mul %t, %t)
    %c = mul %ct, %s                         %c = mul %ct, %s

Part of fusion, for devices: a derivative's factors are traced beside what they belong to, and would
be written there, each as an array, for a kernel that comes after a product. Nothing is computed
twice. Equations have phases: how many equations that are no part of any group, one after the other,
they wait for. Those that could wait for more, as far as they hang together, do so where the arrays
that they read and that nobody keeps anyway are smaller than those that they would leave.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from math import prod

from jitnet.ir import ArrayType, Eqn, TapeType, Value
from jitnet.ops.primitive import Element
from jitnet.passes.members import ENDS, primitive

UNKNOWN = 1024
"""What an extent is taken for that only a call knows."""


class Order:
    """The phases of a segment of a body, as early as they can be.

    Attributes:
        index: which equation of the segment binds a value.
        readers: the equations that read what one binds, those behind the segment too.
        kept: those whose results are in memory anyway: asked for outside, or no part of a kernel
            that others are in, or read by such.
        alone: those that are no part of such a kernel.
        first: the phase of each.
    """

    def __init__(
        self,
        eqns: Sequence[Eqn],
        segment: range,
        uses: Mapping[Value, Sequence[int]],
        results: Collection[Value],
        is_member: Callable[[Eqn], bool],
    ) -> None:
        self.eqns = eqns
        self.segment = segment
        self.index = {r: i for i in segment for r in eqns[i].results}
        self.readers = {
            i: sorted({j for r in eqns[i].results for j in uses.get(r, ())}) for i in segment
        }
        self.alone = {i for i in segment if not (is_member(eqns[i]) or _is_light(eqns[i]))}
        asked = {i for i in segment if any(r in results for r in eqns[i].results)}
        asked |= {i for i, js in self.readers.items() if any(j not in segment for j in js)}
        read = {self.index[v] for i in self.alone for v in eqns[i].operands if v in self.index}
        self.asked = asked
        self.kept = {self.shows(i) for i in asked | read} | asked | self.alone
        self.first: dict[int, int] = {}
        for i in segment:
            before = [self.index[v] for v in eqns[i].operands if v in self.index]
            self.first[i] = max((self.first[j] + (j in self.alone) for j in before), default=0)

    def shows(self, i: int) -> int:
        """Which equation computes what a view shows; -1: none of the segment."""
        while i >= 0 and i not in self.alone and primitive(self.eqns[i]).is_view:
            i = self.index.get(self.eqns[i].operands[0], -1)
        return i

    def source(self, v: Value) -> int:
        """Which equation computes what a value is, or is a view of."""
        return self.shows(self.index.get(v, -1))

    def bytes_of(self, i: int) -> int:
        arrays = [r for r in self.eqns[i].results if isinstance(r.type, ArrayType)]
        known = ([d if isinstance(d, int) else UNKNOWN for d in r.dims] for r in arrays)
        return max((prod(dims) * r.dtype.itemsize for r, dims in zip(arrays, known)), default=0)


def _is_light(eqn: Eqn) -> bool:
    """A view, or a scalar."""
    if any(isinstance(v.type, TapeType) for v in (*eqn.operands, *eqn.results)):
        return False
    return primitive(eqn).is_view or all(r.rank == 0 for r in eqn.results)


@dataclass(frozen=True)
class Phases:
    """Attributes:
    of: the phase of each equation, where it is computed.
    moved: those that are computed later than they could be.
    """

    of: Mapping[int, int]
    moved: frozenset[int]


NO_PHASES = Phases({}, frozenset())


def phases(order: Order, copies: Collection[Value] = ()) -> Phases:
    """When the equations of a segment are computed; copies, as late as they can be."""
    eqns, first = order.eqns, order.first
    last: dict[int, int] = {}
    for i in reversed(order.segment):
        after = order.readers[i]
        if i in order.asked or not after or not _may_wait(eqns[i]):
            last[i] = first[i]
        else:
            last[i] = min(last[j] for j in after)
    waiting = {i for i in order.segment if last[i] > first[i]}
    moved = {i for i in waiting if eqns[i].results[0] in copies}
    for part in _hanging_together(waiting - moved, last, order):
        if _is_smaller(part, order):
            moved |= part
    of = {i: last[i] if i in moved else first[i] for i in order.segment}
    return Phases(of, frozenset(moved))


def _may_wait(eqn: Eqn) -> bool:
    if eqn.op in ENDS or len(eqn.results) != 1 or eqn.regions:
        return False
    return primitive(eqn).is_view or isinstance(primitive(eqn).lowering(eqn), Element)


def _hanging_together(waiting: set[int], last: Mapping[int, int], order: Order) -> list[set[int]]:
    """Equations that read one another, and may wait for the same phase."""
    part_of: dict[int, set[int]] = {}
    for i in sorted(waiting):
        part = {i}
        for v in order.eqns[i].operands:
            j = order.index.get(v, -1)
            if j in waiting and last[j] == last[i]:
                part |= part_of[j]
        for j in part:
            part_of[j] = part
    return list({id(part): part for part in part_of.values()}.values())


def _is_smaller(part: set[int], order: Order) -> bool:
    """Whether what a part reads, and nobody keeps anyway, is less than what others read of it."""
    first, readers = order.first, order.readers
    left = {order.shows(i) for i in part if any(j not in part for j in readers[i])} & part
    read = {order.source(v) for i in part for v in order.eqns[i].operands} - part - {-1}
    needed = {
        j
        for j in read - order.kept
        if not any(u not in part and first.get(u, 0) > first[j] for u in readers[j])
    }
    return sum(map(order.bytes_of, needed)) < sum(map(order.bytes_of, left))
