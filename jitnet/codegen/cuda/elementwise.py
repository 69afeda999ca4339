"""Nests that make one element of one element, and how what they read and write lies in memory.

for 0, 64 @(%i) { for 0, 70 @(%v) {
  %1 = load %0, %i, %v      70 %i + %v: row after row of 70
  %2 = load %b, %v               %v: one row for all
  %3 = add %1, %2
  store %y, %3, %i, %v     100 %i + %v: rows of 70, 100 apart
} }
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from jitnet.codegen.cuda.library import number
from jitnet.codegen.cuda.memory import Linear, Places, static_strides
from jitnet.codegen.cuda.rows import is_scalar_op
from jitnet.ir import Dim, Eqn, Value
from jitnet.kernel import statements as S
from jitnet.kernel.indices import add, multiply

Terms = Mapping[Value, int]


@dataclass(frozen=True, eq=False)
class Elementwise:
    """A nest of loops from 0 on, with one store.

    Attributes:
        trips: of each loop's index, the end.
        makers: what is computed, by value.
    """

    trips: dict[Value, Value]
    makers: dict[Value, Eqn]
    store: Eqn

    def stored(self) -> Eqn | None:
        """What makes the value that is stored."""
        return self.makers.get(self.store.operands[1])

    def loaded(self, v: Value) -> Eqn | None:
        """The load that makes a value."""
        made = self.makers.get(v)
        return made if made is not None and made.op is S.LOAD else None


def elementwise(eqn: Eqn) -> Elementwise | None:
    """The equation as such a nest, if it is one."""
    trips: dict[Value, Value] = {}
    makers: dict[Value, Eqn] = {}
    stores: list[Eqn] = []
    loops = [eqn]
    while loops:
        (loop,) = loops
        if loop.op is not S.FOR or len(loop.operands) > 2 or number(loop.operands[0]) != 0:
            return None
        (body,) = loop.regions
        trips[body.params[0]] = loop.operands[1]
        loops = [e for e in body.eqns if e.op is S.FOR]
        stores += [e for e in body.eqns if e.op is S.STORE]
        rest = [e for e in body.eqns if e.op not in (S.FOR, S.STORE)]
        if len(loops) + len(stores) > 1:
            return None
        if not all(is_scalar_op(e) or e.op is S.LOAD for e in rest):
            return None
        makers.update((e.result, e) for e in rest)
    if len(stores) != 1 or stores[0].attrs.get("fold"):
        return None
    return Elementwise(trips, makers, stores[0])


@dataclass(frozen=True, eq=False)
class Walked:
    """The elements that a load or store of a nest goes over.

    Attributes:
        buffer: where they are.
        terms: how far a step of each index goes.
        base: the first one, from the beginning of the memory.
        origin: the buffer of which a view of them can be made,
        start: and the first one, from its beginning.
    """

    buffer: Value
    terms: Terms
    base: Linear
    origin: Value
    start: Linear

    def start_view(self, dims: Sequence[Dim], strides: Sequence[Dim]) -> Value:
        """Emit a view from the first element on; what there is, where that is the same."""
        there, wanted = self.origin, (tuple(dims), tuple(strides))
        if (there.dims, static_strides(there.buffer_type)) == wanted and self.start == Linear({}):
            return there
        offset = S.as_index(self.start.constant)
        for v, times in self.start.terms.items():
            offset = add(offset, multiply(v, S.as_index(times)))
        return S.view(there, offset, dims, strides)


def walked(
    eqn: Eqn, nest: Elementwise, places: Places, known: Collection[Value] = ()
) -> Walked | None:
    """What a load or store of a nest goes over, where it lies evenly.

    Args:
        known: other indices than the nest's that it may be a function of.
    """
    (access,) = places.accesses((eqn,))
    strides = static_strides(access.buffer.buffer_type)
    if access.address is None or strides is None:
        return None
    start = Linear({})
    for form, stride in zip(access.indices, strides):
        start = start.plus(form, stride)
    terms = {v: n for v, n in access.address.terms.items() if v in nest.trips}
    start = Linear({v: n for v, n in start.terms.items() if v not in terms}, start.constant)
    others = {v: n for v, n in access.address.terms.items() if v not in terms}
    base = Linear(others, access.address.constant)
    if len(access.root.may) == 1 and all(v in known for v in base.terms):
        return Walked(access.buffer, terms, base, access.root.value, base)
    if not all(v in known for v in start.terms):
        return None
    return Walked(access.buffer, terms, base, access.buffer, start)


def fills(terms: Terms, nest: Elementwise, total: Linear, places: Places) -> bool:
    """Whether elements side by side, so many in all, are gone over once each."""
    done, open_end = 1, Linear({}, 1)
    loops = [v for v, end in nest.trips.items() if number(end) != 1]
    for v in sorted(loops, key=lambda v: terms.get(v, 0)):
        trips = number(nest.trips[v])
        if terms.get(v) != done or open_end.terms:
            return False
        if trips is None:
            open_end = places.form(nest.trips[v])
        else:
            done *= trips
    scaled = Linear({}).plus(open_end, done)
    return dict(scaled.terms) == dict(total.terms) and scaled.constant == total.constant


def distance_of_rows(terms: Terms, other: Terms, nest: Elementwise, n: int) -> int | None:
    """Where a nest goes over rows of n, one after the other: how far apart the rows are in other
    memory, whose rows are side by side, too; None where it does not lie so."""
    found: int | None = None
    for v, end in nest.trips.items():
        trips, step, there = number(end), terms.get(v, 0), other.get(v, 0)
        if trips == 1:
            continue
        if trips is not None and step * trips <= n:  # within a row
            if there != step:
                return None
            continue
        distance, rest = divmod(there * n, step)
        if rest or distance < n or (step < n and distance != n) or found not in (None, distance):
            return None
        found = distance
    return n if found is None else found


def is_one_row(terms: Terms, other: Terms, nest: Elementwise, n: int) -> bool:
    """Whether other memory is one row of n, the same for all rows."""
    for v, end in nest.trips.items():
        trips, step, there = number(end), terms.get(v, 0), other.get(v, 0)
        if trips == 1:
            continue
        if trips is not None and step * trips <= n:
            if there != step:
                return False
        elif step < n or there:
            return False
    return True
