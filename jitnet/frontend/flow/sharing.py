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
from itertools import combinations, product
from typing import Any

from jitnet.frontend.context import Trace, is_captured
from jitnet.frontend.flow.carrying import Slot, slots_of
from jitnet.frontend.flow.joins import may_overlap, stores_of
from jitnet.frontend.flow.plans import Loop, Plan, SlotKey, TracedStep
from jitnet.frontend.stores import Bond, Doubt, bonds_of
from jitnet.frontend.tracer import Tracer

# -- from step to step -----------------------------------------------------------------------------


def share_at_entry(plan: Plan, region: Trace) -> None:
    """Bind what the slots were made as to the memory that it may be, in whatever step."""
    arrays = dict(_arrays(plan))
    for a, b in combinations(arrays, 2):
        if _are_one(plan, a, b, arrays):
            arrays[b].made = arrays[a].made
    found = {key: _bonds_outside(slot.first, region) for key, slot in arrays.items()}
    for key, slot in arrays.items():
        for bond in (*found[key], *plan.bonds.get(key, {}).values()):
            slot.made.place.bind(bond)
    for a, b in combinations(arrays, 2):
        one, other = arrays[a], arrays[b]
        if frozenset((a, b)) in plan.overlapping or may_overlap(one.first, other.first):
            one.made.place.may_be_alone(other.made.place)
    for store, doubt in plan.lost.items():
        store.lose(doubt)


def find_shared(plan: Plan, step: TracedStep) -> bool:
    """Note what arrays share after a step, and what is lost; whether that was not all known."""
    arrays = dict(_arrays(plan))
    grown = False
    for a, b in combinations(arrays, 2):
        one, other = arrays[a], arrays[b]
        if _are_one(plan, a, b, arrays):
            if not _is_same_place(one.last, other.last):
                plan.apart_slots.add(frozenset((a, b)))
                grown = True
        elif frozenset((a, b)) not in plan.overlapping and may_overlap(one.last, other.last):
            plan.overlapping.add(frozenset((a, b)))
            grown = True
    for key, slot in arrays.items():
        known = plan.bonds.setdefault(key, {})
        for bond in _bonds_outside(slot.last, step.region):
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


def _bonds_outside(x: Any, region: Trace) -> list[Bond]:
    return [bond for bond in bonds_of(stores_of(x)) if region.is_inside(bond.other.home)]


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
    left = {slot: bonds_of(stores_of(slot.last)) for slot in new}
    there = {slot: [] if loop.once else bonds_of(stores_of(slot.first)) for slot in new}
    for slot in new:
        for bond in left[slot]:
            slot.made.place.bind(bond)
        for bond in there[slot]:
            slot.made.place.bind(bond, skipped)
    for a, b in combinations(slots, 2):
        if a.made is b.made or not (a in new or b in new):
            continue
        afterwards = may_overlap(a.last, b.last)
        if afterwards or (not loop.once and may_overlap(a.first, b.first)):
            for one, other in product(stores_of(a.made), stores_of(b.made)):
                one.may_be_alone(other, None if afterwards else skipped)


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
            b.made = a.made


def _arrays(plan: Plan) -> Iterator[tuple[SlotKey, Slot]]:
    for key, (_, shape) in plan.shapes.items():
        for n, slot in enumerate(slots_of([shape])):
            if slot.kind.flavour == "array":
                yield (key, n), slot


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
