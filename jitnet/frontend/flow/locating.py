"""Where the arrays of a loop's variables are: in which of the places that others know, or in memory
of the variable's own.

    v = x
    for i in range(n):          %which, %v = for ... 0, ... (%i, %which, %v) {
        v[i] = 1.0                in x where %which is 0, else in %v
        if x[i] > 2.0:            if ... { 1, %0 = mul ... } else { %which, %v }
            v = v * 2           }

That is asked for where a first trace of the whole function was refused, as it carried the values of
such arrays only, and the function goes on to use the memory (`trace.trace_function`).
"""

from __future__ import annotations

from typing import Any

from jitnet import ir
from jitnet.frontend.arrays import Choice, Place, View, leaves_of, stores_behind
from jitnet.frontend.context import Trace, running_trace
from jitnet.frontend.flow import regions, whereabouts
from jitnet.frontend.flow.carrying import Slot, Told, slots_of
from jitnet.frontend.flow.holders import known_elsewhere
from jitnet.frontend.flow.kinds import brought_to, stores_of
from jitnet.frontend.flow.placing import (
    MOST_LEAVES,
    Divided,
    Leaves,
    chosen,
    divided,
    leaf_of,
    number_of,
    own_value,
    united,
)
from jitnet.frontend.flow.plans import INDEX, Plan
from jitnet.frontend.flow.signals import ABSENT
from jitnet.frontend.flow.world import Location
from jitnet.frontend.stores import Store
from jitnet.frontend.tracer import Tracer
from jitnet.ir import ArrayType, Value


def find_places(plan: Plan, at_start: bool) -> bool:
    """Note where arrays may be at the start of the loop, or after the step that was traced; whether
    that was not all known."""
    if not running_trace().function.exact:
        return False
    grown = False
    for key, location, slot in plan.arrays():
        found = _divided(slot.first if at_start else slot.last, location)
        known = plan.places.get(key, _in_memory_only(slot))
        places = _both(known, found)
        is_static = all(isinstance(d, int) for d in slot.kind.dims)
        if not (is_static and 0 < len(places.leaves) <= MOST_LEAVES):
            continue
        changed = len(places.leaves) > len(known.leaves) or places.is_apart != known.is_apart
        if changed or key not in plan.places:
            plan.places[key] = places
            grown = True
        slot.leaves, slot.is_apart = plan.places[key].leaves, plan.places[key].is_apart
    return grown


def _in_memory_only(slot: Slot) -> Divided:
    return Divided([], stores_of(slot.first), is_apart=False)


def _divided(x: Any, location: Location) -> Divided:
    place = _place_of(x)
    return divided(place, lambda store: known_elsewhere(store, location))


def _both(a: Divided, b: Divided) -> Divided:
    return Divided(united(a.leaves, b.leaves), [*a.own, *b.own], a.is_apart or b.is_apart)


def find_places_of_new(plan: Plan) -> None:
    """The same for variables that the loop binds first, after its last step."""
    if not running_trace().function.exact:
        return
    for location, shape in plan.late.values():
        for slot in slots_of([shape]):
            found = _divided(slot.last, location)
            is_static = all(isinstance(d, int) for d in slot.kind.dims)
            few = 0 < len(found.leaves) <= MOST_LEAVES
            if slot.kind.flavour == "array" and is_static and few:
                slot.leaves, slot.is_apart = united(found.leaves), found.is_apart


def own_stores(x: Any, leaves: Leaves, around: Trace) -> list[Store]:
    """The memory of an array where it is in none of the leaves."""
    place = _place_of(x) if type(x) is Tracer and x.flavour == "array" else None
    if place is None:
        return []
    found = [leaf for leaf in leaves_of(place) if leaf_of(leaf, leaves, around) is None]
    return [store for leaf in found for store in stores_behind(leaf)]


def _place_of(x: Any) -> Place | None:
    return x.place if type(x) is Tracer else None


# -- values that are carried -----------------------------------------------------------------------


def make_param(slot: Slot, type: ArrayType, region: Trace, name: str) -> None:
    """Params for a slot."""
    slot.memory = slot.number = slot.param = None
    if slot.is_apart:
        slot.param = region.builder.param(type, name)
        slot.memory = Store(slot.param, region)
        assert region.parent is not None
        slot.memory.stands_for = tuple(own_stores(slot.first, slot.leaves, region.parent))
    if slot.leaves:
        slot.number = region.builder.param(INDEX, f"{name}_at" if name else "")


def enter(slot: Slot) -> None:
    """Make the object that the body sees."""
    slot.made = Tracer(_place(slot, slot.number), slot.kind.flavour)


def _place(slot: Slot, number: Value | None) -> Place:
    if number is not None:
        return chosen(number, slot.leaves, slot.memory)
    assert slot.memory is not None
    return slot.memory


def params(slot: Slot) -> list[Value]:
    """A slot's params, in the order of its values."""
    told = slot.told.param if slot.told is not None else None
    return [p for p in (slot.param, slot.number, told) if p is not None]


def values(slot: Slot, x: Any, otherwise: Value | None, around: Trace) -> list[Value]:
    """What is carried of a slot that is `x`, in the running trace.

    Args:
        otherwise: the value where its own memory is of no use.
    """
    if not slot.leaves:
        held = regions.nothing(slot.kind) if x is ABSENT else brought_to(x, slot.kind)
        if slot.told is None or slot.told.param is None:
            return [held]
        return [held, whereabouts.number(slot.told, x, around)]
    found: list[Value] = []
    place = _place_of(x)
    if slot.is_apart:
        if place is None:
            own = None if x is ABSENT else brought_to(x, slot.kind)
        else:
            own = own_value(place, slot.leaves, around)
        own = otherwise if own is None else own
        found.append(regions.nothing(slot.kind) if own is None else own)
    at = ir.index(0) if x is ABSENT else number_of(place, slot.leaves, around)
    return [*found, at]


def count(slot: Slot) -> int:
    """How many values are carried of a slot."""
    is_told = slot.told is not None and slot.told.param is not None
    return slot.is_apart + bool(slot.leaves) + is_told


def settle(slot: Slot, results: list[Value], made_a_step: bool | Value) -> None:
    """Note a slot's values after the loop."""
    slot.memory = slot.result = None
    if slot.told is not None:
        carried = results[1] if slot.told.param is not None else None
        whereabouts.settle_number(slot, carried, made_a_step)
    if slot.is_apart:
        slot.result = results[0]
    slot.number = results[-1] if slot.leaves else None
    slot.made = None


def made(slot: Slot) -> Any:
    """What stands for a slot after the loop."""
    if slot.made is None:
        if slot.result is not None:
            slot.memory = Store(slot.result, running_trace())
        place = _place(slot, slot.number) if slot.told is None else _told_place(slot, slot.told)
        slot.made = Tracer(place, slot.kind.flavour)
    return slot.made


def _told_place(slot: Slot, told: Told) -> Place:
    """Where an array is that the loop has carried as a value, which is what is read there."""
    assert slot.memory is not None
    assert slot.result is not None
    place = whereabouts.place_after(told, slot.memory)
    if isinstance(place, Choice | View):
        place.remember(running_trace(), slot.result)
    return place
