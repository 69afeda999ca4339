"""Which of the arrays that a loop carries are, or may be, the memory of one another.

    for _ in range(n):
        u = u * 2
        v = u                v and u are one array, if they were one in front of the loop
        if u[0] > s:
            w = u            w may be u: while that is not known, w is not written to

In a body each variable's array is memory of its own, made for the step. This module lets two names
of one array be one object there, and notes of the others what they may share; after the loop too.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Any

from jitnet.frontend.arrays import Store
from jitnet.frontend.flow.branches import is_around
from jitnet.frontend.flow.carrying import Slot, slots_of
from jitnet.frontend.flow.joins import stores_of
from jitnet.frontend.flow.memory import reachable
from jitnet.frontend.flow.plans import Plan, SlotKey, TracedStep
from jitnet.frontend.tracer import Tracer


def share_at_entry(plan: Plan) -> None:
    """Let what the slots were made as know which memory it may be."""
    arrays = dict(_arrays(plan))
    for a, b in combinations(arrays, 2):
        if _are_one(plan, a, b, arrays):
            arrays[b].made = arrays[a].made
    for key, slot in arrays.items():
        peers = [s for s in stores_of(slot.first) if s in plan.memories or s.is_shared]
        for other in arrays:
            if other == key:
                break
            if arrays[other].made is not slot.made and _overlap(arrays[other].first, slot.first):
                peers.append(arrays[other].made.place)
        for peer in plan.peers.get(key, ()):
            peers.append(peer if isinstance(peer, Store) else arrays[peer].made.place)
        own = slot.made.place
        if any(peer is not own for peer in peers):
            own.share([peer for peer in peers if peer is not own])


def find_shared(plan: Plan, step: TracedStep) -> bool:
    """Note what arrays share after a step; whether that is more than was known."""
    arrays = dict(_arrays(plan))
    grown = False
    for a, b in combinations(arrays, 2):
        one = _are_one(plan, a, b, arrays)
        if one and not _is_same_place(arrays[a].last, arrays[b].last):
            plan.apart_slots.add((a, b))
            grown = True
        if not one and _overlap(arrays[a].last, arrays[b].last):
            grown |= _note(plan, b, a)
    for key, slot in arrays.items():
        for store in reachable(slot.last):
            if is_around(store.home, step.region):
                grown |= _note(plan, key, store)
    return grown


def share_afterwards(plan: Plan, once: bool) -> None:
    """Let the arrays after the loop, which `_hand_on` has made, know what they may share."""
    entered = dict(_arrays(plan))
    ones = {
        id(entered[b]): entered[a]
        for a, b in combinations(entered, 2)
        if _are_one(plan, a, b, entered)
    }
    slots = [s for s in plan.slots() if s.kind.flavour == "array" and type(s.last) is Tracer]
    for a, b in combinations(slots, 2):
        if ones.get(id(b)) is a or (once and _is_same_place(a.last, b.last)):
            b.made = a.made
        elif a.made is not b.made and _overlap(a.last, b.last) and isinstance(b.made.place, Store):
            b.made.place.share(stores_of(a.made))


def _arrays(plan: Plan) -> Iterator[tuple[SlotKey, Slot]]:
    for key, (_, shape) in plan.shapes.items():
        for n, slot in enumerate(slots_of([shape])):
            if slot.kind.flavour == "array":
                yield (key, n), slot


def _are_one(plan: Plan, a: SlotKey, b: SlotKey, arrays: dict[SlotKey, Slot]) -> bool:
    """Whether two variables hold one array at the start of each step, as far as is known."""
    one, other = arrays[a], arrays[b]
    return (
        (a, b) not in plan.apart_slots
        and one.kind == other.kind
        and _is_same_place(one.first, other.first)
    )


def _is_same_place(x: Any, y: Any) -> bool:
    return x is y or (type(x) is type(y) is Tracer and x.place is y.place)


def _overlap(x: Any, y: Any) -> bool:
    found = reachable(x)
    return any(store in found for store in reachable(y))


def _note(plan: Plan, key: SlotKey, peer: SlotKey | Store) -> bool:
    peers = plan.peers.setdefault(key, set())
    if peer in peers:
        return False
    peers.add(peer)
    return True
