"""Who reads and writes a piece of memory; and memory that nobody reads, left out, and idle views.

    %factor = alloc 2                       (nothing)
    store %factor, 1.0, 0            ->
    for 0, 70 { store %0, ... }             (nothing: nobody loads from %0)

What a loop carries, a branch chooses or a Function returns is named by others, and counts as read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from jitnet.codegen.cuda.library import PRODUCT
from jitnet.codegen.cuda.memory import Places, walk
from jitnet.codegen.cuda.rows import is_scalar_op
from jitnet.ir import BufferType, Eqn, Function, Value
from jitnet.kernel import statements as S


@dataclass
class Users:
    """Of a kernel Function's allocations, by the values that they bind.

    Attributes:
        stores, loads, products: the equations, those of inner regions too.
        others: memory that anything else names.
        allocs: all allocations.
    """

    stores: dict[Value, list[Eqn]] = field(default_factory=dict)
    loads: dict[Value, list[Eqn]] = field(default_factory=dict)
    products: dict[Value, list[Eqn]] = field(default_factory=dict)
    others: set[Value] = field(default_factory=set)
    allocs: set[Value] = field(default_factory=set)

    @staticmethod
    def of(f: Function, places: Places) -> Users:
        found = Users()
        for v in f.results:
            if isinstance(v.type, BufferType):
                found.others |= places.roots[v].may
        for eqn in walk(f.eqns):
            found._take(eqn, places)
        return found

    def _take(self, eqn: Eqn, places: Places) -> None:
        if eqn.op is S.STORE:
            self._note(self.stores, eqn, eqn.operands[0], places)
        elif eqn.op is S.LOAD:
            self._note(self.loads, eqn, eqn.operands[0], places)
        elif eqn.op is PRODUCT:
            for v in dict.fromkeys(_buffers(eqn.operands)):
                self._note(self.products, eqn, v, places)
        elif eqn.op is S.ALLOC:
            self.allocs.add(eqn.result)
        elif eqn.op not in (S.VIEW, S.FREE):
            named = [*eqn.operands, *(v for region in eqn.regions for v in region.results)]
            for v in _buffers(named):
                self.others |= places.roots[v].may

    def _note(self, users: dict[Value, list[Eqn]], eqn: Eqn, buffer: Value, places: Places) -> None:
        root = places.roots[buffer]
        if len(root.may) > 1 or root.value not in root.may:
            self.others |= root.may
        users.setdefault(root.value, []).append(eqn)

    def is_plain(self, v: Value) -> bool:
        """Whether it is memory of the program's, and loads, stores and products are all that
        concerns it."""
        return v in self.allocs and v not in self.others


def _buffers(values: Sequence[Value]) -> Iterator[Value]:
    return (v for v in values if isinstance(v.type, BufferType))


def swept(f: Function) -> Function:
    """The kernel Function without memory that is written only."""
    places = Places(f)
    users = Users.of(f, places)
    dead = users.allocs.difference(users.others, users.loads, users.products)
    eqns = tuple(_without(f.eqns, dead, places))
    return replace(f, eqns=tuple(_asked_for(eqns, {*f.results})), _hash=[])


def _asked_for(eqns: Sequence[Eqn], asked: set[Value]) -> list[Eqn]:
    """Equations without views that nobody asks for; `asked` has what does not stand here."""
    done = []
    for eqn in reversed(eqns):
        if eqn.op is S.VIEW and eqn.result not in asked:
            continue
        regions = []
        for region in eqn.regions:
            asked.update(region.results)
            regions.append(replace(region, eqns=tuple(_asked_for(region.eqns, asked)), _hash=[]))
        asked.update(eqn.operands)
        done.append(replace(eqn, regions=tuple(regions)) if regions else eqn)
    return done[::-1]


def _without(eqns: Sequence[Eqn], dead: set[Value], places: Places) -> Iterator[Eqn]:
    for eqn in eqns:
        if eqn.op is S.ALLOC:
            concerns = eqn.result in dead
        elif eqn.op in (S.STORE, S.VIEW, S.FREE):
            concerns = places.roots[eqn.operands[0]].may <= dead
        else:
            concerns = False
        if concerns:
            continue
        if not eqn.regions:
            yield eqn
            continue
        regions = tuple(
            replace(r, eqns=tuple(_without(r.eqns, dead, places)), _hash=[]) for r in eqn.regions
        )
        is_smaller = any(len(a.eqns) < len(b.eqns) for a, b in zip(regions, eqn.regions))
        if not (is_smaller and eqn.op is S.FOR and len(eqn.operands) == 2 and _is_idle(regions[0])):
            yield replace(eqn, regions=regions)


def _is_idle(body: Function) -> bool:
    return all(is_scalar_op(e) or e.op in (S.LOAD, S.VIEW) for e in body.eqns)
