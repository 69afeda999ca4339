"""What statements read, write and bind, and whether two of them may change places.

    for 0, 100 { store %a, ..., %i }      writes %a from element 0 to 99
    for 0, 100 { ... load %b, %i ... }    reads %b: it may go first

Memory is told apart by its roots, and within one by the least and the greatest address.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from jitnet.codegen.cuda.memory import Access, Places, Root, bound_in, references
from jitnet.codegen.cuda.product_nests import ANY_ORDER
from jitnet.ir import Eqn, Value
from jitnet.kernel import statements as S
from jitnet.kernel.scalars import Conversion, ScalarOp

Span = tuple[int, int] | None
"""The addresses from the first to the last one; None: any."""

_KNOWN = (S.LOAD, S.STORE, S.FOR, S.WHILE, S.IF, S.VIEW, S.ALLOC, S.CONSTANT, S.FREE)


@dataclass
class Touched:
    """Attributes:
    asks, binds: values.
    reads, writes: memory, and which of it.
    reading, writing: the params and allocations that this may be.
    raises: equations that may end the program.
    others: whether there is anything whose effects are not these.
    any_order: whether there is a sum whose terms may come in any order.
    """

    asks: set[Value] = field(default_factory=set)
    binds: set[Value] = field(default_factory=set)
    reads: dict[Root, Span] = field(default_factory=dict)
    writes: dict[Root, Span] = field(default_factory=dict)
    reading: set[Value] = field(default_factory=set)
    writing: set[Value] = field(default_factory=set)
    raises: list[Eqn] = field(default_factory=list)
    others: bool = False
    any_order: bool = False

    def take_in(self, other: Touched) -> None:
        """Be both; errors, and what else there is, are left out."""
        self.asks |= other.asks
        self.binds |= other.binds
        self.reads.update(dict.fromkeys(other.reads))
        self.writes.update(dict.fromkeys(other.writes))
        self.reading |= other.reading
        self.writing |= other.writing


class Touches:
    """What equations do, asked for many times."""

    def __init__(self, places: Places) -> None:
        self.places = places
        self._known: dict[int, tuple[Eqn, Touched]] = {}

    def __call__(self, eqn: Eqn) -> Touched:
        known = self._known.get(id(eqn))
        if known is None:
            known = self._known[id(eqn)] = eqn, touched((eqn,), self.places)
        return known[1]


def touched(eqns: Sequence[Eqn], places: Places) -> Touched:
    """What equations do, in their regions too."""
    found = Touched()
    for eqn in eqns:
        found.asks.update(references(eqn))
    found.binds.update(bound_in(eqns))
    for access in places.accesses(eqns):
        _widen(found.writes if access.writes else found.reads, access, places)
    found.reading.update(v for root in found.reads for v in root.may)
    found.writing.update(v for root in found.writes for v in root.may)
    for eqn in _all(eqns):
        if eqn.op is S.RAISE:
            found.raises.append(eqn)
        elif eqn.op not in _KNOWN and not isinstance(eqn.op, ScalarOp | Conversion):
            found.others = True
        elif eqn.attrs.get(ANY_ORDER):
            found.any_order = True
    return found


def _all(eqns: Iterable[Eqn]) -> Iterable[Eqn]:
    for eqn in eqns:
        yield eqn
        for region in eqn.regions:
            yield from _all(region.eqns)


def _widen(spans: dict[Root, Span], access: Access, places: Places) -> None:
    here = _span(access, places)
    before = spans.get(access.root, here)
    both = before is not None and here is not None
    spans[access.root] = (
        (min(before[0], here[0]), max(before[1], here[1])) if both and before and here else None
    )


def _span(access: Access, places: Places) -> Span:
    if access.address is None:
        return None
    low = high = access.address.constant
    for v, n in access.address.terms.items():
        if v not in places.ranges:
            return None
        ends = [n * x for x in places.ranges[v]]
        low, high = low + min(ends), high + max(ends)
    return low, high


def clash(first: Touched, second: Touched) -> bool:
    """Whether the second must stay behind the first one: for what it reads or writes, or for an
    error. Values do not tell what may go before their equation: ask for those too."""
    if first.others or second.others or (first.raises and second.raises):
        return True
    if not first.binds.isdisjoint(second.asks):
        return True
    both = second.reading | second.writing
    if first.writing.isdisjoint(both) and second.writing.isdisjoint(first.reading):
        return False
    return (
        _meet(first.writes, second.reads)
        or _meet(first.writes, second.writes)
        or _meet(first.reads, second.writes)
    )


def _meet(a: dict[Root, Span], b: dict[Root, Span]) -> bool:
    return any(
        not x.is_apart(y) and not (x is y and _are_apart(span, other))
        for x, span in a.items()
        for y, other in b.items()
    )


def _are_apart(a: Span, b: Span) -> bool:
    return a is not None and b is not None and (a[1] < b[0] or b[1] < a[0])
