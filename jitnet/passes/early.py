"""What reads an array goes in front of what overwrites it: then the old content need not be kept.

    %b = update %x, %v, 0             %d = sub %s, 1.0
    %d = sub %s, 1.0           ->     %b = update %x, %v, 0
                                      // %s is a slice of %x, which can be overwritten now

Part of fusion, as the order decides which equations can be one kernel. Nothing moves past an
equation that branches, loops or may raise: what it checks may be what makes a reader valid.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import prod

from jitnet.ir import Effect, Eqn, TapeType, Value, effect_of
from jitnet.ops.primitive import Primitive
from jitnet.ops.slicing import UPDATE

MOST = 8
"""How many equations move together at most."""


def read_early(eqns: Sequence[Eqn]) -> list[Eqn]:
    """The equations of a body, with readers in front of the writers that would wait for them."""
    if sum(_writes(eqn) is not None for eqn in eqns) == 0:
        return list(eqns)
    return _Order(eqns).sorted()


def write_late(eqns: Sequence[Eqn], results: Sequence[Value]) -> list[Eqn]:
    """The equations, with each `update` behind those that do not need it: what is computed in front
    of it and behind it can be one kernel then. It stays in front of the next equation that writes,
    and of what is computed for that alone."""
    readers = Counter(v for eqn in eqns for v in dict.fromkeys(eqn.operands))
    readers.update(results)
    order: list[Eqn] = []
    held: Eqn | None = None
    begin = 0
    for eqn in eqns:
        stops = effect_of(eqn) > Effect.PURE or eqn.regions or _has_tape(eqn)
        stops = stops or _writes(eqn) is not None
        if held is not None and (stops or held.result in eqn.operands):
            order[begin:] = _before_writer(order[begin:], held, eqn, readers)
            held = None
        if eqn.op is UPDATE:
            held, begin = eqn, len(order)
        else:
            order.append(eqn)
    return order if held is None else [*order, held]


def _before_writer(
    passed: Sequence[Eqn], held: Eqn, writer: Eqn, readers: Counter[Value]
) -> list[Eqn]:
    """An update among equations that it may pass, in front of those that only `writer` needs."""
    needed = Counter(dict.fromkeys(writer.operands, 1))
    own: list[Eqn] = []
    for eqn in reversed(passed):
        if all(readers[r] == needed[r] for r in eqn.results):
            own.append(eqn)
            needed.update(dict.fromkeys(eqn.operands, 1))
    if any(held.operands[0] in eqn.operands for eqn in own):
        return [held, *passed]  # they read what it overwrites
    late = set(own)
    return [*(eqn for eqn in passed if eqn not in late), held, *own[::-1]]


def outdated(eqns: Sequence[Eqn]) -> set[int]:
    """The positions of views that are read after what they show is overwritten: they have to be
    kept as what they were, and are no view of what is there then."""
    order = _Order(eqns)
    written: dict[Value, int] = {}
    found: set[int] = set()
    for i, eqn in enumerate(eqns):
        for v in () if not written or _has_tape(eqn) else eqn.operands:
            last = written.get(order.shown(v)) if v.rank else None
            if last is not None and (j := order.view_before(v, last)) is not None:
                found.add(j)
        base = _writes(eqn)
        if base is not None and not _has_tape(eqn):
            written[order.shown(base)] = i
    return found


def _writes(eqn: Eqn) -> Value | None:
    """The operand whose memory the equation overwrites where it can."""
    assert isinstance(eqn.op, Primitive), f"{eqn.op.name} is no array op"
    return None if eqn.op.writes is None else eqn.operands[eqn.op.writes]


def _is_view(eqn: Eqn) -> bool:
    return isinstance(eqn.op, Primitive) and eqn.op.is_view and eqn.result.rank > 0


def _has_tape(eqn: Eqn) -> bool:
    return any(isinstance(v.type, TapeType) for v in (*eqn.operands, *eqn.results))


class _Order:
    """Positions to sort by: twice that in the program, or just in front of a writer.

    Attributes:
        overwritten: arrays, and the position of the first equation that writes to them.
    """

    def __init__(self, eqns: Sequence[Eqn]) -> None:
        self.eqns = eqns
        self.index = {r: i for i, eqn in enumerate(eqns) for r in eqn.results}
        self.positions = [2 * i for i in range(len(eqns))]
        self.overwritten: dict[Value, int] = {}

    def sorted(self) -> list[Eqn]:
        for i, eqn in enumerate(self.eqns):
            if eqn.regions or effect_of(eqn) > Effect.PURE:
                self.overwritten.clear()
                continue
            base = _writes(eqn)
            if _has_tape(eqn):
                continue
            if base is not None:
                self.overwritten.setdefault(self.shown(base), i)
            elif not _is_view(eqn):
                self.place(i)
        order = sorted(range(len(self.eqns)), key=self.positions.__getitem__)
        return [self.eqns[i] for i in order]

    def shown(self, v: Value) -> Value:
        """The array that v is, or is a view of."""
        while (i := self.index.get(v)) is not None and _is_view(self.eqns[i]):
            v = self.eqns[i].operands[0]
        return v

    def view_before(self, v: Value, position: int) -> int | None:
        """The view that v is, or is a view of, from before a position."""
        while (i := self.index.get(v)) is not None and _is_view(self.eqns[i]):
            if i < position:
                return i
            v = self.eqns[i].operands[0]
        return None

    def place(self, i: int) -> None:
        """Move a reader of what is overwritten, with all that it needs, if that is possible."""
        eqn = self.eqns[i]
        shown = [self.shown(v) for v in eqn.operands if v.rank]
        late = [v for v in shown if v in self.overwritten]
        if not late or not all(_is_no_larger(r, v) for r in eqn.results for v in late):
            return
        writer = min(self.overwritten[v] for v in late)
        needed = self.needed(i, writer)
        for j in needed or ():
            self.positions[j] = 2 * writer - 1

    def needed(self, i: int, writer: int) -> list[int] | None:
        """The equations that have to move with equation i; None where they cannot, or are many."""
        found = {i}
        stack = [i]
        while stack:
            for v in self.eqns[stack.pop()].operands:
                j = self.index.get(v)
                if j is None or j in found or self.positions[j] < 2 * writer:
                    continue
                stays = _writes(self.eqns[j]) is not None or _has_tape(self.eqns[j])
                if stays or len(found) == MOST:
                    return None
                found.add(j)
                stack.append(j)
        return sorted(found)


def _is_no_larger(v: Value, than: Value) -> bool:
    if v.array_type.is_static and than.array_type.is_static:
        return prod(v.shape) <= prod(than.shape)
    return v.rank <= than.rank
