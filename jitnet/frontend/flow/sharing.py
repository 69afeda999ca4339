"""Which of the arrays that a loop carries are, or may be, the memory of one another.

    for _ in range(n):
        u = u * 2
        v = u                v and u are one array, if they were one in front of the loop
        if u[0] > s:
            w = u            w may be u: once the one is written to, the other is lost

In a body each variable's array is memory of its own, made for the step. This module lets two names
of one array be one object there, and binds the others to what they may be: at the start of a step,
where the plan has gathered that from all steps, and after the loop.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from collections.abc import Set as AnySet
from itertools import combinations, product
from typing import Any

from jitnet.frontend.arrays import Place, stores_behind
from jitnet.frontend.context import Trace, is_captured, running_trace
from jitnet.frontend.flow.carrying import Slot
from jitnet.frontend.flow.kinds import stores_of
from jitnet.frontend.flow.locating import own_stores
from jitnet.frontend.flow.placing import Leaves, may_meet
from jitnet.frontend.flow.plans import Loop, Plan, SlotKey, TracedStep
from jitnet.frontend.stores import Bond, Doubt, Store, bonds_of
from jitnet.frontend.tracer import Tracer

# -- from step to step -----------------------------------------------------------------------------


def share_at_entry(plan: Plan, region: Trace) -> None:
    """Bind what the slots were made as to the memory that it may be, in whatever step."""
    arrays = dict(_arrays(plan))
    for a, b in combinations(arrays, 2):
        if _are_one(plan, a, b, arrays):
            arrays[b].made, arrays[b].memory = arrays[a].made, arrays[a].memory
    around = region.parent
    assert around is not None
    first = {key: own_stores(slot.first, slot.leaves, around) for key, slot in arrays.items()}
    found = {key: _bonds_outside(first[key], region) for key in arrays}
    for key, slot in arrays.items():
        if slot.memory is not None:
            for bond in (*found[key], *plan.bonds.get(key, {}).values()):
                slot.memory.bind(bond)
    for a, b in combinations(arrays, 2):
        one, other = arrays[a].memory, arrays[b].memory
        overlap = frozenset((a, b)) in plan.overlapping or _meet(
            arrays[a].first, arrays[b].first, [*first[a], *first[b]]
        )
        if one is not None and other is not None and overlap:
            one.may_be_alone(other)
    for store, doubt in plan.lost.items():
        store.lose(doubt)


def find_shared(plan: Plan, step: TracedStep) -> bool:
    """Note what arrays share after a step, and what is lost; whether that was not all known."""
    arrays = dict(_arrays(plan))
    around = running_trace()
    last = {key: own_stores(slot.last, slot.leaves, around) for key, slot in arrays.items()}
    own = [*{store for stores in last.values() for store in stores}]
    grown = False
    for a, b in combinations(arrays, 2):
        one, other = arrays[a], arrays[b]
        if _are_one(plan, a, b, arrays):
            if not _is_same_place(one.last, other.last):
                plan.apart_slots.add(frozenset((a, b)))
                grown = True
        elif frozenset((a, b)) not in plan.overlapping and _meet(one.last, other.last, own):
            plan.overlapping.add(frozenset((a, b)))
            grown = True
    for key in arrays:
        known = plan.bonds.setdefault(key, {})
        for bond in _bonds_outside(last[key], step.region):
            before = known.get(bond.other)
            now = bond if before is None else _both(before, bond)
            grown |= now != before
            known[bond.other] = now
    return grown | _find_lost(plan, step)


def _find_lost(plan: Plan, step: TracedStep) -> bool:
    """Memory that a step may have written to is lost to the next one, if that reads it."""
    grown = False
    for store, doubt in step.state.lost.items():
        is_read = store in plan.memories or is_captured(store.value, store.owner, step.region)
        if is_read and store not in plan.lost:
            plan.lost[store] = doubt
            grown = True
    return grown


def _bonds_outside(memory: Sequence[Store], region: Trace) -> list[Bond]:
    return [bond for bond in bonds_of(memory) if region.is_inside(bond.other.home)]


def _meet(x: Any, y: Any, own: Sequence[Store]) -> bool:
    """Whether two arrays may share memory at a time, that is not known to others."""
    if not (type(x) is type(y) is Tracer):
        return False

    def is_one(a: Place, b: Place) -> bool:
        pairs = product(stores_behind(a), stores_behind(b))
        return any(s in own and t in own and s.may_overlap(t) for s, t in pairs)

    return may_meet(x.place, y.place, is_one)


def _both(a: Bond, b: Bond) -> Bond:
    return a._replace(loses=a.loses or b.loses, is_lost=a.is_lost or b.is_lost)


# -- after the loop --------------------------------------------------------------------------------


def share_afterwards(plan: Plan, loop: Loop, known: Sequence[Tracer]) -> None:
    """Bind the arrays after the loop to what they may be: what the last step has left, or, where
    there may be no step, what was there.

    Args:
        known: those of which it is known which memory they are.
    """
    _unite(plan, loop)
    slots = [s for s in plan.slots() if s.kind.flavour == "array"]
    new = {slot for slot in slots if not any(slot.made is array for array in known)}
    skipped = Doubt(leaves=loop.deciding())
    around = running_trace()
    last = {slot: own_stores(slot.last, _leaves(slot), around) for slot in slots}
    first = {slot: own_stores(slot.first, _leaves(slot), around) for slot in slots}
    left = {s: bonds_of(last[s] if s.told is None else s.told.own) for s in new}
    there = {s: [] if loop.once or s.told else bonds_of(first[s]) for s in new}
    for slot in new:
        if slot.memory is not None:
            for bond in left[slot]:
                slot.memory.bind(bond)
            for bond in there[slot]:
                slot.memory.bind(bond, skipped)
    for a, b in combinations(slots, 2):
        if a.made is b.made or not (a in new or b in new):
            continue
        afterwards = _meet(a.last, b.last, [*last[a], *last[b]])
        if afterwards or (not loop.once and _meet(a.first, b.first, [*first[a], *first[b]])):
            for one, other in product(_memory(a, new), _memory(b, new)):
                one.may_be_alone(other, None if afterwards else skipped)


def _leaves(slot: Slot) -> Leaves:
    return slot.leaves if slot.told is None else slot.told.leaves


def _memory(slot: Slot, new: AnySet[Slot]) -> list[Store]:
    """What was made for a slot, or is known to be its memory."""
    if slot not in new:
        return stores_of(slot.made)
    return [slot.memory] if slot.memory is not None else []


def _unite(plan: Plan, loop: Loop) -> None:
    """Let slots that hold one array after the loop be one object."""
    entered = dict(_arrays(plan))
    ones = {
        id(entered[b]): entered[a]
        for a, b in combinations(entered, 2)
        if _are_one(plan, a, b, entered)
    }
    slots = [s for s in plan.slots() if s.kind.flavour == "array" and type(s.last) is Tracer]
    for a, b in combinations(slots, 2):
        if ones.get(id(b)) is a or (loop.once and _is_same_place(a.last, b.last)):
            b.made, b.memory = a.made, a.memory


def _arrays(plan: Plan) -> Iterator[tuple[SlotKey, Slot]]:
    return ((key, slot) for key, _, slot in plan.arrays())


def _are_one(plan: Plan, a: SlotKey, b: SlotKey, arrays: dict[SlotKey, Slot]) -> bool:
    """Whether two variables hold one array at the start of each step, as far as is known."""
    one, other = arrays[a], arrays[b]
    return (
        frozenset((a, b)) not in plan.apart_slots
        and one.kind == other.kind
        and _is_same_place(one.first, other.first)
    )


def _is_same_place(x: Any, y: Any) -> bool:
    return x is y or (type(x) is type(y) is Tracer and x.place is y.place)
