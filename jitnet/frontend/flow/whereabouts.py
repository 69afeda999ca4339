"""Where the arrays of a loop's variables are after it, told by a number beside what they hold.

    while i < n:         %go, %i, %a, %a_at, %b, %b_at = while ... 0, %a, 0, %b, 1 ... @body(...) {
        a, b = b, a        ...
        i += 1             return %go, %i, %b, %b_at, %a, %a_at }

Loops carry what arrays hold, and their steps need not know more. The caller is to have his own
array where Python would return it: each step hands on the number of the place that a variable's
array is in. A variable that every step binds to a new array is where it was before the loop if
there was no step, and nothing is carried for that.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from typing import Any

from jitnet import ir, ops
from jitnet.frontend.arrays import Choice, Place, leaves_of, stores_behind
from jitnet.frontend.context import Trace, bring_in, running_trace
from jitnet.frontend.flow.carrying import Slot, Told, slots_of
from jitnet.frontend.flow.holders import known_elsewhere
from jitnet.frontend.flow.memory import is_written
from jitnet.frontend.flow.placing import MOST_LEAVES, Leaves, leaf_of, number_of, seen_from, united
from jitnet.frontend.flow.plans import INDEX, Loop, Plan, TracedStep
from jitnet.frontend.flow.signals import ABSENT
from jitnet.frontend.flow.world import RETURNED, Location
from jitnet.frontend.stores import Store
from jitnet.frontend.tracer import Tracer
from jitnet.ir import Literal, Value


@dataclass
class _Reach:
    """What a slot's array may be.

    Attributes:
        leaves: places that others know too.
        before: slots of whose array at the start of a step it may be.
        own: other memory; `is_apart` where it may be in such.
        is_settled: each step says what it is, whatever was before.
    """

    leaves: Leaves = field(default_factory=list)
    before: list[Slot] = field(default_factory=list)
    own: list[Store] = field(default_factory=list)
    is_apart: bool = False
    is_settled: bool = True


def tell_places(loop: Loop, plan: Plan, step: TracedStep, known: Container[Slot]) -> None:
    """Let slots know where their arrays are after the loop, where others may know that place.

    Args:
        known: slots of which that is known already.
    """
    trace = running_trace()
    if trace.function.parent is not None:
        return  # derivatives look at values only
    arrays = {slot: location for location, slot in _arrays(plan)}
    of_made = {slot.made.place: slot for slot in plan.entry_slots() if slot in arrays}
    found = {slot: _after_step(slot, arrays[slot], of_made, trace) for slot in arrays}
    asked = {before for reach in found.values() for before in reach.before}
    for slot, reach in found.items():
        if slot in asked or not (reach.is_settled and (loop.once or slot.first is ABSENT)):
            _add(reach, slot.first, arrays[slot], {}, trace)
    _close(found)
    told = _that_can_be_told(found, known, plan, step, trace)
    leaves = united(*(found[slot].leaves for slot in told))
    if len(leaves) > MOST_LEAVES:
        return
    for slot in told:
        reach = found[slot]
        mine = [k for k, leaf in enumerate(leaves) if leaf_of(leaf, reach.leaves, trace)]
        slot.told = Told(leaves, mine, reach.own, reach.is_apart, of_made)
        if slot in asked or not reach.is_settled:
            slot.told.param = step.region.builder.param(INDEX, f"{arrays[slot].name}_at")


def _arrays(plan: Plan) -> list[tuple[Location, Slot]]:
    places = [*plan.shapes.values(), *plan.late.values()]
    if plan.returned is not None:
        places.append((RETURNED, plan.returned))
    pairs = [(location, slot) for location, shape in places for slot in slots_of([shape])]
    return [(location, slot) for location, slot in pairs if slot.kind.flavour == "array"]


def _after_step(
    slot: Slot, location: Location, of_made: Mapping[Place, Slot], trace: Trace
) -> _Reach:
    reach = _Reach()
    place = _place_of(slot.last)
    reach.is_settled = not isinstance(place, Choice) and place not in of_made
    _add(reach, slot.last, location, of_made, trace)
    return reach


def _add(
    reach: _Reach, x: Any, location: Location, of_made: Mapping[Place, Slot], trace: Trace
) -> None:
    """Note the places where an array may be."""
    place = _place_of(x)
    if place is None:
        reach.is_apart |= x is not ABSENT
        return
    for leaf in leaves_of(place):
        outside = seen_from(trace, leaf)
        if leaf in of_made:
            reach.before.append(of_made[leaf])
        elif outside is not None and any(
            known_elsewhere(store, location) for store in stores_behind(outside)
        ):
            reach.leaves = united(reach.leaves, [outside])
        else:
            reach.own += stores_behind(leaf)
            reach.is_apart = True


def _place_of(x: Any) -> Place | None:
    return x.place if type(x) is Tracer else None


def _close(found: Mapping[Slot, _Reach]) -> None:
    """Let arrays be where those may be that they are taken from."""
    grown = True
    while grown:
        grown = False
        for reach in found.values():
            for other in (found[slot] for slot in reach.before):
                size = len(reach.leaves), len(reach.own), reach.is_apart
                reach.leaves = united(reach.leaves, other.leaves)
                reach.own = list(dict.fromkeys([*reach.own, *other.own]))
                reach.is_apart |= other.is_apart
                grown |= size != (len(reach.leaves), len(reach.own), reach.is_apart)


def _that_can_be_told(
    found: Mapping[Slot, _Reach],
    known: Container[Slot],
    plan: Plan,
    step: TracedStep,
    trace: Trace,
) -> list[Slot]:
    """The slots with places that others know, none of which, and nothing that stands for one, is
    written to in the loop."""
    changed = {*plan.memories, *step.state.stores, *step.state.lost}
    untold = {
        slot
        for slot, reach in found.items()
        if slot in known
        or slot.leaves
        or (slot.made is not None and is_written(slot))
        or not all(_is_alike(leaf, slot, trace) for leaf in reach.leaves)
        or not changed.isdisjoint(s for leaf in reach.leaves for s in stores_behind(leaf))
    }
    while True:
        more = {slot for slot, r in found.items() if not untold.isdisjoint(r.before)} - untold
        if not more:
            return [slot for slot, reach in found.items() if reach.leaves and slot not in untold]
        untold |= more


def _is_alike(leaf: Place, slot: Slot, trace: Trace) -> bool:
    """Whether what a place holds has the slot's dtype and extents."""
    if any(store.doubt is not None for store in stores_behind(leaf)):
        return False
    held = leaf.read(trace)
    same = all(a is b or (isinstance(a, int) and a == b) for a, b in zip(held.dims, slot.kind.dims))
    return held.dtype == slot.kind.dtype and held.rank == len(slot.kind.dims) and same


# -- the numbers -----------------------------------------------------------------------------------


def number(told: Told, x: Any, around: Trace) -> Value:
    """The number of an array of the running trace: what a slot starts with, or a step has left.

    Args:
        around: the trace around the loop.
    """
    return _number(_place_of(x), told, around)


def _number(place: Place | None, told: Told, around: Trace) -> Value:
    if isinstance(place, Choice):
        one, other = (_number(side, told, around) for side in (place.one, place.other))
        if isinstance(one, Literal) and isinstance(other, Literal) and one.item == other.item:
            return one
        return ops.select(bring_in(place.condition, place.owner, running_trace()), one, other)
    before = told.before.get(place) if place is not None else None
    if before is None:
        return number_of(place, told.leaves, around)
    if before.told is None or before.told.param is None:  # it is never where others know it
        return ir.index(len(told.leaves))
    return before.told.param


def settle_number(slot: Slot, carried: Value | None, made_a_step: bool | Value) -> None:
    """Note a slot's number after the loop: the one that it carries, if it does."""
    told, trace = slot.told, running_trace()
    assert told is not None
    told.result = number(told, slot.last, trace) if carried is None else carried
    if carried is None and isinstance(made_a_step, Value) and slot.first is not ABSENT:
        first = number(told, slot.first, trace)
        told.result = ops.select(made_a_step, told.result, first)


def place_after(told: Told, own: Store) -> Place:
    """Where an array is after the loop.

    Args:
        own: holds its value.
    """
    trace = running_trace()
    which = told.result
    assert which is not None
    if isinstance(which, Literal):
        return told.leaves[which.item] if which.item < len(told.leaves) else own
    place: Place | None = own if told.is_apart else None
    for k in reversed(told.mine):
        leaf = told.leaves[k]
        place = leaf if place is None else Choice(ops.eq(which, k), trace, leaf, place)
    assert place is not None
    return place
