"""Loops that stay loops: the body is traced until nothing else is carried, then bound as `for` or
`while`.

    for i in range(n):              %s, %x1 = for %n, %c, 0.0, %x (%i, %c, %s, %x) { ... }
        s += x[i]
        x[i] = c
        if s > 10: break            ... as `while`, which carries whether to go on

Tracing a body leaves no trace in the world: what it did is taken back, and done once for all by
the equation's results.
"""

from __future__ import annotations

from typing import Any

from jitnet import errors, ops
from jitnet.frontend.context import (
    Trace,
    resume,
    running_trace,
)
from jitnet.frontend.flow import exchanging, snapshots
from jitnet.frontend.flow.binding import bind
from jitnet.frontend.flow.branches import branch
from jitnet.frontend.flow.carrying import OneOf, Slot, contents, slots_of
from jitnet.frontend.flow.conditions import note_fact
from jitnet.frontend.flow.counters import mark_decided, note_counters
from jitnet.frontend.flow.growing import Grows, put_on_tape, unchanged
from jitnet.frontend.flow.kinds import Kind, kind_of
from jitnet.frontend.flow.locating import enter, find_places, make_param
from jitnet.frontend.flow.plans import (
    INDEX,
    Extent,
    Loop,
    Peel,
    Plan,
    TracedStep,
    grow,
    inside,
    recall,
    remember,
)
from jitnet.frontend.flow.reassigning import reassign
from jitnet.frontend.flow.sharing import find_shared, share_at_entry
from jitnet.frontend.flow.signals import (
    ABSENT,
    CONTINUE,
    FALL,
    VALUE,
    Signal,
    known,
    normal,
)
from jitnet.frontend.flow.truth import truth
from jitnet.frontend.flow.world import (
    UNBOUND,
    World,
    surveyed,
    take_back,
)
from jitnet.frontend.tracer import lift, wrap
from jitnet.ir import ArrayType, Dim, Value

MOST_ATTEMPTS = 12


def roll(loop: Loop, only_if_traced: bool = False) -> Signal:
    """As `_roll`, with lists that grow in the loop on tapes from its start on."""
    while True:
        try:
            with (
                surveyed((loop.body, loop.test, loop.reading())) as world,
                snapshots.forgotten_if_it_fails(),
            ):
                return _roll(loop, world, only_if_traced)
        except Grows as grows:
            put_on_tape(grows)


def _roll(loop: Loop, world: World, only_if_traced: bool) -> Signal:
    """Bind the loop as one equation; the signal says how it ended: FALL where it ran to its end.

    Args:
        only_if_traced: refuse a loop of which it is known whether it makes another step.

    Raises:
        ConcretizationError: where a step needs a value that only the program knows.
        Peel: where the first step has to be traced by itself.
    """
    plan = Plan()
    recall(loop, world, plan)
    kept = running_trace().function.snapshots
    at_start = len(kept)
    for _ in range(MOST_ATTEMPTS * 2 if running_trace().function.exact else MOST_ATTEMPTS):
        find_places(plan, at_start=True)
        plan.late.clear()
        plan.returned = None
        del kept[at_start:]
        try:
            step = _trace(loop, world, plan)
        except errors.MutationError:
            if loop.may_peel and plan.shapes:
                raise Peel from None
            raise
        if only_if_traced and isinstance(step.goes_on, bool) and step.signal.is_known:
            raise Peel
        grown = grow(loop, world, plan, step)
        note_counters(plan.entry_slots(), step.region)
        if grown:
            continue
        if not (find_places(plan, at_start=False) | find_shared(plan, step)):
            break
    else:
        raise errors.ConcretizationError(
            "a loop whose variables are of other kinds after each step",
            why="a compiled loop carries values of the same dtypes and shapes from step to step",
            remedy="start with arrays and numbers of the dtype and shape that they end with",
        )
    remember(loop, plan)
    return bind(loop, world, plan, step)


# -- one step --------------------------------------------------------------------------------------


def _trace(loop: Loop, world: World, plan: Plan) -> TracedStep:
    parent = running_trace()
    region = Trace("body", parent, is_region=True)
    region.builder.loc = parent.builder.loc
    index = region.builder.param(INDEX, "i") if loop.steps is not None else None
    try:
        with resume(region):
            _enter(plan, region)
            mark_decided(plan.entry_slots(), region)
            _note_test(loop, plan)
            with unchanged(loop.steps):
                signal = normal(loop.body(*_item(loop, index)))
            reassign(world, region)
            goes_on = _goes_on(loop, signal, index)
            settled = exchanging.settle(world)
            snapshots.check()
    except BaseException:
        take_back(world, region)
        raise
    state = take_back(world, region)
    return TracedStep(region, index, state, signal, goes_on, settled)


def _note_test(loop: Loop, plan: Plan) -> None:
    """Let the body know what the loop's test says of variants: it holds at the start of a step."""
    if loop.test is None or not any(isinstance(s, OneOf) for _, s in plan.shapes.values()):
        return
    region = running_trace()
    probe = Trace("test", region, is_region=True)
    with surveyed((loop.test,)) as world:
        try:
            with resume(probe):
                found = truth(loop.test())
        except errors.JitnetError:  # which the test at the end of the step says again
            found = True
        take_back(world, probe)
    probe.active = False
    if isinstance(found, Value):
        note_fact(region, found, holds=True)


def _item(loop: Loop, index: Value | None) -> tuple[Any, ...]:
    if loop.steps is None or index is None:
        return ()
    at = ops.add(index, loop.start) if loop.start else index
    return (loop.steps.item(wrap(at, "python")),)


def _enter(plan: Plan, region: Trace) -> None:
    """Params for what is carried, in the places where the body looks for it."""
    plan.extents = _extents(plan, region)
    for location, shape in plan.shapes.values():
        for slot in slots_of([shape]):
            dims = [_dim_inside(plan, slot, axis, region) for axis in range(len(slot.kind.dims))]
            make_param(slot, ArrayType(slot.kind.dtype, tuple(dims)), region, location.name)
            enter(slot)
    share_at_entry(plan, region)
    for key, (location, shape) in plan.shapes.items():
        new: list[Any] = []
        location.set(contents(shape, lambda slot: slot.made, new))
        if key in plan.shared:
            snapshots.keep(new, location.name)
    for location in plan.dead.values():
        location.set(UNBOUND)
    for store, memory in plan.memories.items():
        region.written[store] = (store.value, store.owner)
        held = memory.type
        if isinstance(held, ArrayType):
            held = held.with_dims(tuple(inside(d, region) for d in held.dims))
        memory.param = region.builder.param(held, store.value.name)
        store.value, store.owner = memory.param, region


def _extents(plan: Plan, region: Trace) -> list[Extent]:
    found: list[Extent] = []
    for slot in plan.entry_slots():
        if slot.first is ABSENT:
            continue
        before = _kind_of_first(slot, region)
        for axis, dim in enumerate(slot.kind.dims):
            if dim is not None:
                continue
            first = before.dims[axis]
            assert first is not None
            same = next((e for e in found if e.first == first and not plan.apart), None)
            if same is None:
                same = Extent(first, [], region.builder.param(INDEX, "n"))
                found.append(same)
            same.uses.append((slot, axis))
    return found


def _kind_of_first(slot: Slot, region: Trace) -> Kind:
    """What a slot is at the start, in the trace around."""
    assert region.parent is not None
    with resume(region.parent):
        kind = kind_of(slot.first)
    assert kind is not None
    return kind


def _dim_inside(plan: Plan, slot: Slot, axis: int, region: Trace) -> Dim:
    dim = slot.kind.dims[axis]
    if dim is not None:
        return inside(dim, region)
    extent = next(e for e in plan.extents if (slot, axis) in e.uses)
    assert extent.param is not None
    return extent.param


def _goes_on(loop: Loop, signal: Signal, index: Value | None) -> bool | Value:
    """Whether another step follows, as the end of this one knows it."""
    goes = signal.kinds & {FALL, CONTINUE}
    if not goes:
        return False
    always = signal.kinds <= {FALL, CONTINUE}
    if loop.test is None:
        assert index is not None
        if always:
            return True
        more = ops.lt(ops.add(index, 1), loop.count())
        return ops.bitwise_and(more, _is_one_of(signal, goes))
    if always:
        return truth(loop.test())
    if loop.is_endless:
        return _is_one_of(signal, goes)
    test = loop.test

    def asked() -> Signal:
        found = truth(test())
        return known(VALUE, found if isinstance(found, bool) else wrap(found, "python"))

    joined = branch(_is_one_of(signal, goes), asked, lambda: known(VALUE, False), None)
    return truth(joined.value)


def _is_one_of(signal: Signal, kinds: frozenset[int]) -> Value:
    code = lift(signal.kind).value
    found: Value | None = None
    for kind in sorted(kinds):
        is_it = ops.eq(code, kind)
        found = is_it if found is None else ops.bitwise_or(found, is_it)
    assert found is not None
    return found
