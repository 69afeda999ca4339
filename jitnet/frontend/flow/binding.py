"""A loop's equation, and the world after it.

    %go, %s, %x1 = while ... { return %go, %s, %x }

The body's region returns what the plan carries; the equation's results are put where the program
looks for them: into variables, containers and the memory of arrays.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jitnet import errors, ir, ops
from jitnet.frontend.arrays import Choice
from jitnet.frontend.context import (
    Trace,
    give_name,
    running_trace,
)
from jitnet.frontend.flow import locating, regions, snapshots
from jitnet.frontend.flow.carrying import Slot, contents, originals
from jitnet.frontend.flow.kinds import stores_of
from jitnet.frontend.flow.locating import find_places_of_new, made, make_param, settle
from jitnet.frontend.flow.memory import Lost, final_places
from jitnet.frontend.flow.plans import INDEX, Loop, Peel, Plan, TracedStep, inside
from jitnet.frontend.flow.sharing import share_afterwards
from jitnet.frontend.flow.signals import (
    ABSENT,
    BREAK,
    CONTINUE,
    FALL,
    RETURN,
    Signal,
    known,
)
from jitnet.frontend.flow.whereabouts import tell_places
from jitnet.frontend.flow.world import (
    UNBOUND,
    World,
    as_left,
)
from jitnet.frontend.stores import Doubt, Store
from jitnet.frontend.tracer import Tracer, lift, wrap
from jitnet.ir import ArrayType, Value, as_value
from jitnet.ir import types as T

# -- the equation ----------------------------------------------------------------------------------


def bind(loop: Loop, world: World, plan: Plan, step: TracedStep) -> Signal:
    exits = step.signal.kinds - {FALL, CONTINUE}
    try:
        places = final_places(loop, plan.shapes.values(), bool(exits))
    except Lost:
        if loop.may_peel:
            raise Peel from None
        raise errors.MutationError(
            "a loop that writes to an array of the caller in its first step only",
            why="its variable is bound to a new array afterwards",
            remedy="take a copy in front of the loop: x = x.copy()",
        ) from None
    find_places_of_new(plan)
    tell_places(loop, plan, step, places)
    lost = _lost(plan, step, places)
    if loop.may_peel and any(store.is_callers() for store in lost):
        raise Peel
    is_for = loop.steps is not None and not exits
    region = step.region
    code = step.signal.kind if exits else None
    with as_left(step.state):
        after = _after(plan, code, region)
        if not is_for:
            go = step.goes_on
            after.insert(0, go if isinstance(go, Value) else ir.literal(go, T.bool_))
            after[1:1] = [ops.add(step.index, 1)] if step.index is not None else []
    before = _before(plan, code is not None)
    params = _params(plan, region, code is not None)
    if is_for:
        results = _bind_for(loop, step, params, before, after)
    else:
        results = _bind_while(loop, step, params, before, after)
    region.active = False
    _settle(plan, results, True if loop.once else _first_test(loop))
    _hand_on(plan, places, lost)
    share_afterwards(plan, loop, list(places.values()))
    _let_be(plan)
    if not exits:
        return known(FALL)
    value = ABSENT if plan.returned is None else contents(plan.returned, made)
    kinds = exits if loop.is_endless else exits | {FALL}
    if len(kinds) == 1:
        return known(next(iter(kinds)), value)
    return Signal(kinds, wrap(results[-1], "python"), value)


def _before(plan: Plan, with_code: bool) -> list[Value]:
    values = [as_value(e.first) for e in plan.extents]
    for slot in plan.slots():
        values += locating.values(slot, slot.first, None, running_trace())
    values += [m.store.read(running_trace()) for m in plan.memories.values()]
    return values + ([ir.index(FALL)] if with_code else [])


def _after(plan: Plan, code: Any, region: Trace) -> list[Value]:
    values = []
    for extent in plan.extents:
        slot, axis = extent.uses[0]
        values.append(as_value(lift(slot.last).value.dims[axis]))
    assert region.parent is not None
    for slot in plan.slots():
        values += locating.values(slot, slot.last, slot.param, region.parent)
    values += [m.last or m.store.read(region) for m in plan.memories.values()]
    if code is None:
        return values
    kind = lift(code).value
    jumped = ops.bitwise_or(ops.eq(kind, BREAK), ops.eq(kind, RETURN))
    return [*values, ops.select(jumped, kind, ir.index(FALL))]


def _params(plan: Plan, region: Trace, with_code: bool) -> list[Value]:
    params = [e.param for e in plan.extents]
    for slot in plan.slots():
        if slot.first is ABSENT and slot.made is None:
            dims = tuple(inside(d, region) for d in slot.kind.dims)
            make_param(slot, ArrayType(slot.kind.dtype, dims), region, "")
        params += locating.params(slot)
    params += [m.param for m in plan.memories.values()]
    if with_code:
        params.append(region.builder.param(INDEX, "ended"))
    return [p for p in params if p is not None]


def _bind_for(
    loop: Loop, step: TracedStep, params: list[Value], before: list[Value], after: list[Value]
) -> tuple[Value, ...]:
    consts = regions.unite(step.region)
    builder = step.region.builder
    assert step.index is not None
    captured = [p for p in builder.params if p not in params and p is not step.index]
    builder.params[:] = [step.index, *captured, *params]
    return ops.for_(loop.count(), builder.build(*after), consts, before)


def _bind_while(
    loop: Loop, step: TracedStep, params: list[Value], before: list[Value], after: list[Value]
) -> tuple[Value, ...]:
    builder = step.region.builder
    go = builder.param(T.scalar(T.bool_), "go")
    consts = regions.unite(step.region)
    first: list[Value] = [_first_test(loop)]
    own = [go]
    if step.index is not None:
        own.append(step.index)
        first.append(ir.index(0))
    captured = [p for p in builder.params if p not in params and p not in own]
    builder.params[:] = [*captured, *own, *params]
    body = builder.build(*after)
    with ir.current().child("cond") as b:  # whose arrays have the extents of any step
        inner = b.params_like(body.params)
    cond = b.build(inner[len(consts)])
    found = ops.while_(cond, body, consts, [*first, *before])
    return found[len(own) :]


def _first_test(loop: Loop) -> Value:
    if loop.steps is not None:
        return ops.gt(loop.count(), 0)
    return loop.first if isinstance(loop.first, Value) else ir.literal(loop.first, T.bool_)


# -- the world after the loop ----------------------------------------------------------------------


def _settle(plan: Plan, results: tuple[Value, ...], made_a_step: bool | Value) -> None:
    left = iter(results)
    for extent in plan.extents:
        extent.result = next(left)
    for slot in plan.slots():
        settle(slot, [next(left) for _ in range(locating.count(slot))], made_a_step)
    for memory in plan.memories.values():
        memory.result = next(left)


def _lost(plan: Plan, step: TracedStep, places: Mapping[Slot, Tracer]) -> dict[Store, Doubt]:
    """Memory around the loop of which it is not known whether it was written to; what a variable's
    array ends in is known."""
    known = {store for array in places.values() for store in stores_of(array)}
    known -= set(plan.memories)
    return {store: doubt for store, doubt in step.state.lost.items() if store not in known}


def _hand_on(plan: Plan, places: Mapping[Slot, Tracer], lost: Mapping[Store, Doubt]) -> None:
    """Let memory be what the last step has left, and arrays that are new have some."""
    for memory in plan.memories.values():
        assert memory.result is not None
        give_name(running_trace(), memory.result)
        memory.store.write(memory.result)
    for slot in plan.slots():
        if slot in places:
            assert slot.result is not None
            place = places[slot].place
            slot.made = places[slot]
            if isinstance(place, Choice):  # of arrays that are as they were
                place.remember(running_trace(), slot.result)
            else:
                place.write(slot.result)
        else:
            made(slot)
    for store, doubt in lost.items():
        store.lose(doubt)


def _let_be(plan: Plan) -> None:
    """Let variables and containers hold what the last step has left in them."""
    for key, (location, shape) in (*plan.shapes.items(), *plan.late.items()):
        new: list[Any] = []
        if key in plan.shared and key in plan.shapes:
            new += originals(shape, location.get())
        location.set(contents(shape, made, new))
        if key in plan.shared:
            snapshots.keep(new, location.name)
    for location in plan.dead.values():
        location.set(UNBOUND)
