"""What a loop is going to carry: the plan that its steps are traced with, and how it grows.

    for i in range(n):
        s += x[i]            shapes: s;  memories: x's
        x[i] = s
        last = s             late: last, where it is read after the loop

After each step the plan is asked to carry what else the step has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from collections.abc import Set as AnySet
from dataclasses import dataclass, field
from functools import partial
from types import FunctionType
from typing import Any

from jitnet import errors, ops
from jitnet.frontend.context import Trace, bring_in, integer_arguments_of, running_trace
from jitnet.frontend.flow import exchanging
from jitnet.frontend.flow.branches import note_conflict
from jitnet.frontend.flow.carrying import (
    Finder,
    Memory,
    Node,
    OneOf,
    Shape,
    Slot,
    is_around,
    slots_of,
)
from jitnet.frontend.flow.growing import Grows, regrown
from jitnet.frontend.flow.kinds import Conflict, kind_of, stores_of
from jitnet.frontend.flow.liveness import is_read_elsewhere
from jitnet.frontend.flow.placing import Divided
from jitnet.frontend.flow.signals import ABSENT, RETURN, Signal
from jitnet.frontend.flow.steps import Steps
from jitnet.frontend.flow.world import UNBOUND, Content, Location, State, Variable, World, as_left
from jitnet.frontend.stores import Bond, Doubt, Store
from jitnet.frontend.tracer import Tracer, lift
from jitnet.ir import Dim, Value, as_dim
from jitnet.ir import types as T

INDEX = T.scalar(T.i64)

MOST_CARRIED = 1000
"""Lists of more items, which are other ones after each step, are put on tapes."""

SlotKey = tuple[int, int]
"""A location, and the number of the slot in it."""


class Peel(Exception):  # noqa: N818
    """The first step is unlike the others, and has to be traced by itself."""


@dataclass(frozen=True)
class Loop:
    """A loop that is to be rolled.

    Attributes:
        body: a step; it takes the item of a `for`.
        steps: what a `for` goes over, from the step `start` on.
        test: a `while`'s condition, and `first` what it is before the first step.
        once: the loop makes at least one step.
        may_peel: the first step can be traced by itself.
    """

    body: Callable[..., Any]
    steps: Steps | None = None
    start: int = 0
    test: Callable[[], Any] | None = None
    first: bool | Value = True
    once: bool = False
    may_peel: bool = False

    @property
    def is_endless(self) -> bool:
        """Whether this is `while True`."""
        return self.first is True and _is_constant(self.test)

    def reading(self) -> partial[Any] | None:
        """The list on a tape that the loop goes over, for a survey: its items may change it."""
        source = None if self.steps is None else self.steps.source
        return None if source is None else partial(len, source)

    def deciding(self) -> frozenset[int] | None:
        """The int arguments that say how many steps there are, if nothing else does."""
        if self.steps is None:
            return None
        return integer_arguments_of(running_trace(), self.count())

    def count(self) -> Value:
        assert self.steps is not None
        n = lift(self.steps.count).value
        return ops.sub(n, self.start) if self.start else n


def _is_constant(test: Callable[[], Any] | None) -> bool:
    return isinstance(test, FunctionType) and not (
        test.__code__.co_names or test.__code__.co_freevars
    )


@dataclass
class Extent:
    """An extent that is another one after a step."""

    first: Dim
    uses: list[tuple[Slot, int]]
    param: Value | None = None
    result: Value | None = None


@dataclass
class Plan:
    """What is carried.

    Attributes:
        shapes: of locations that hold something at the start; `late` of others.
        dead: locations whose content is of no use to the next step.
        memories: of arrays written to in place.
        apart: extents are carried one by one.
        bonds: by slot, those of its array to memory from outside, from the second step on.
        overlapping: slots whose arrays may share memory from the second step on; `apart_slots`
            hold one array at the start, and two later.
        lost: memory from outside that a step may have written to, and that the next one reads.
        places: by slot, where its array may be, if that is told by a number.
        shared: locations that are carried with copies of containers which others may know.
    """

    shapes: dict[int, tuple[Location, Shape]] = field(default_factory=dict)
    late: dict[int, tuple[Location, Shape]] = field(default_factory=dict)
    dead: dict[int, Location] = field(default_factory=dict)
    memories: dict[Store, Memory] = field(default_factory=dict)
    apart: bool = False
    bonds: dict[SlotKey, dict[Store, Bond]] = field(default_factory=dict)
    overlapping: set[frozenset[SlotKey]] = field(default_factory=set)
    apart_slots: set[frozenset[SlotKey]] = field(default_factory=set)
    lost: dict[Store, Doubt] = field(default_factory=dict)
    places: dict[SlotKey, Divided] = field(default_factory=dict)
    shared: set[int] = field(default_factory=set)
    extents: list[Extent] = field(default_factory=list)
    returned: Shape | None = None

    def slots(self) -> list[Slot]:
        shapes = [shape for _, shape in (*self.shapes.values(), *self.late.values())]
        return slots_of([*shapes, *([self.returned] if self.returned is not None else [])])

    def arrays(self) -> Iterator[tuple[SlotKey, Location, Slot]]:
        """The slots of arrays that hold something at the start."""
        for key, (location, shape) in self.shapes.items():
            for n, slot in enumerate(slots_of([shape])):
                if slot.kind.flavour == "array":
                    yield (key, n), location, slot

    def entry_slots(self) -> list[Slot]:
        return slots_of([shape for _, shape in self.shapes.values()])


@dataclass
class TracedStep:
    """A step as it was traced.

    Attributes:
        settled: locations of what was one of several containers, some of them new.
    """

    region: Trace
    index: Value | None
    state: State
    signal: Signal
    goes_on: bool | Value
    settled: AnySet[int]


def inside(dim: Dim | None, region: Trace) -> Dim:
    """An extent of the trace around the region, in the region."""
    assert dim is not None
    assert region.parent is not None
    return dim if isinstance(dim, int) else as_dim(bring_in(dim, region.parent, region))


# -- what else is carried --------------------------------------------------------------------------


def grow(loop: Loop, world: World, plan: Plan, step: TracedStep) -> bool:
    """Let the plan carry what the step has changed; whether that is more than it carried."""
    exchanged = exchanging.find(world, step.state, step.settled, lambda x: _is_dead(x, loop, world))
    finder = Finder(step.region, lambda x: id(x) in world.held, exchanged.remade)
    grown = False
    known = set(plan.shapes)
    for key, (location, after) in step.state.changed.items():
        if key in plan.shapes or key in plan.dead:
            continue
        before = world.before(key)
        if before is UNBOUND:
            _add_late(loop, plan, key, location, after, finder)
        elif after is UNBOUND or not _add(loop, plan, key, location, before, after, finder):
            _bury(loop, plan, key, location, _why_unbound(location))
            grown = True
        else:
            grown = True
    for key, (location, shape) in list(plan.shapes.items()):
        after = step.state.changed[key][1] if key in step.state.changed else world.before(key)
        if after is UNBOUND or not finder.agrees(shape, after):
            before = world.before(key)
            if after is UNBOUND or not _add(loop, plan, key, location, before, after, finder):
                _bury(loop, plan, key, location, _why_unbound(location))
            grown = True
    shapes = {**plan.late, **plan.shapes}
    shared = {key for key in exchanged.shared & shapes.keys() if _copies(*shapes[key])}
    grown |= not shared & plan.shapes.keys() <= plan.shared
    plan.shared = shared
    grown |= _add_memories(plan, step)
    for slot in slots_of([shape for key, (_, shape) in plan.shapes.items() if key not in known]):
        for store in stores_of(slot.first):  # it may have been written to as this variable's array
            plan.memories.pop(store, None)
    grown = grown or _split_extents(plan, step)
    if RETURN in step.signal.kinds and not grown:
        plan.returned = finder.shape_of_new(step.signal.value)
        _check_shapes(plan.returned)
    return grown


def _is_dead(location: Location, loop: Loop, world: World) -> bool:
    """Whether a variable is a step's own: nobody reads it before the next one binds it."""
    if isinstance(location, Content):
        return False
    is_new = world.before(id(location.cell)) is UNBOUND
    return is_new and not is_read_elsewhere(location.name, loop.body)


def _copies(location: Location, shape: Shape) -> bool:
    """Whether a location is carried with containers that are made anew."""
    own = shape.children if isinstance(location, Content) and isinstance(shape, Node) else (shape,)
    return any(map(_is_made, own))


def _is_made(shape: Shape | None) -> bool:
    if isinstance(shape, OneOf):
        return _is_made(shape.value)
    if not isinstance(shape, Node):
        return False
    return not issubclass(shape.form.cls, tuple) or any(map(_is_made, shape.children))


def _check_shapes(returned: Shape) -> None:
    """Refuse to return an array of which only a step knows the shape."""
    if all(is_around(dim) for slot in slots_of([returned]) for dim in slot.kind.dims):
        return
    raise errors.ConcretizationError(
        "a loop that returns an array whose shape a step of the loop decides",
        why="what a compiled loop leaves behind has a shape that is known before its first step",
        remedy="note the bounds, break, and return the slice after the loop: end = i; break",
    )


def _add(
    loop: Loop, plan: Plan, key: int, location: Location, before: Any, after: Any, finder: Finder
) -> bool:
    old = plan.shapes.get(key)
    if isinstance(location, Content):
        _check_items(location, before, after, finder)
    try:
        find = finder.shape_of_items if isinstance(location, Content) else finder.shape
        shape = find(before, after, None if old is None else old[1])
    except Conflict as conflict:
        if isinstance(location, Content):
            raise errors.ConcretizationError(
                f"an item of {location} is {conflict}",
                remedy="make it of one type and shape before the loop",
            ) from None
        if loop.may_peel:
            raise Peel from None
        _bury(loop, plan, key, location, str(conflict))
        return True
    if loop.may_peel and any(map(_widens, slots_of([shape]))):
        raise Peel
    plan.shapes[key] = (location, shape)
    return True


def _widens(slot: Slot) -> bool:
    """Whether the first step alone computes with floats of fewer bits: NumPy rounds to them."""
    before = None if slot.first is ABSENT else kind_of(slot.first)
    if before is None or before.flavour != "scalar" or slot.kind.flavour != "scalar":
        return False
    is_float = before.dtype.is_float and slot.kind.dtype.is_float
    return is_float and before.dtype != slot.kind.dtype


def _check_items(location: Content, before: Any, after: Any, finder: Finder) -> None:
    """Refuse containers of other items than before, but for lists that have got more or fewer."""
    found = regrown(before, after)
    if found is not None:
        raise Grows(location.container, found[0], finder.kind_after, not found[1], before)
    alike = len(before) == len(after) and not isinstance(before, set)
    if alike and isinstance(before, list) and len(before) > MOST_CARRIED:
        raise Grows(location.container, after, finder.kind_after, changes=True)
    if alike and (not isinstance(before, dict) or list(before) == list(after)):
        return
    raise errors.ConcretizationError(
        f"{location} that grows or shrinks in a loop",
        why="a compiled loop carries as many values from step to step",
        remedy="make an array in front of the loop, and fill it: y = np.empty(n); y[i] = ...",
    )


def _why_unbound(location: Location) -> str:
    """Why a step leaves a variable without content."""
    why, _ = running_trace().function.conflicts.get(location.name, ("deleted in a step", None))
    return why


def _bury(loop: Loop, plan: Plan, key: int, location: Location, why: str) -> None:
    plan.shapes.pop(key, None)
    plan.dead[key] = location
    note_conflict(location.name, why, loop.deciding())


def _add_late(
    loop: Loop, plan: Plan, key: int, location: Location, after: Any, finder: Finder
) -> None:
    """A variable that the loop binds first; it counts where it is read after the loop."""
    if not is_read_elsewhere(location.name, loop.body):
        return
    if not loop.once:
        why = "assigned to only in a loop that may make no step"
        note_conflict(location.name, why, loop.deciding())
        return
    shape = finder.shape_of_new(after)
    for slot in slots_of([shape]):
        if not all(is_around(d) for d in slot.kind.dims):
            note_conflict(location.name, "an array whose shape a step of the loop decides")
            return
    plan.late[key] = (location, shape)


def _add_memories(plan: Plan, step: TracedStep) -> bool:
    grown = False
    for store, value in step.state.stores.items():
        memory = plan.memories.get(store)
        if memory is not None:
            memory.last = value
            if value is memory.param:  # it was written to as long as its variable was not carried
                del plan.memories[store]
                grown = True
        if memory is not None or not step.region.is_inside(store.home):
            continue
        plan.memories[store] = Memory(store, store.read(running_trace()).type)
        grown = True
    return grown


def _split_extents(plan: Plan, step: TracedStep) -> bool:
    """Whether extents that were carried as one are not equal after a step."""
    with as_left(step.state):
        for extent in plan.extents:
            after = {_key(lift(slot.last).value.dims[axis]) for slot, axis in extent.uses}
            if len(after) > 1:
                plan.apart = True
                return True
    return False


def _key(dim: Dim) -> Any:
    return dim if isinstance(dim, int) else id(dim)


# -- what was carried before -----------------------------------------------------------------------

_Memo = dict[Any, tuple[frozenset[str], frozenset[str]]]


def remember(loop: Loop, plan: Plan) -> None:
    """Note which variables a body carries: a loop around it traces it again."""
    names = {where.name for where, _ in plan.shapes.values() if isinstance(where, Variable)}
    written = {id(store) for store in plan.memories}
    inside = loop.body.__closure__ or ()
    arrays = set()
    for name, cell in zip(loop.body.__code__.co_freevars, inside):
        content = Variable(cell, name).get()
        if type(content) is Tracer and id(content.place) in written:
            arrays.add(name)
    memo: _Memo = running_trace().function.carried
    memo[loop.body.__code__] = (frozenset(names), frozenset(arrays))


def recall(loop: Loop, world: World, plan: Plan) -> None:
    memo: _Memo = running_trace().function.carried
    names, arrays = memo.get(loop.body.__code__, (frozenset(), frozenset()))
    for key, (location, before) in world.held.items():
        if not isinstance(location, Variable):
            continue
        kind = kind_of(before) if location.name in names or location.name in arrays else None
        if kind is None:
            continue
        if location.name in names:
            plan.shapes[key] = (location, Slot(kind, before))
        elif type(before) is Tracer and isinstance(before.place, Store):
            held = before.place.read(running_trace()).type
            plan.memories[before.place] = Memory(before.place, held)
