"""In whose memory the arrays of a loop's variables are after it.

    for _ in range(10):
        v[1:-1] = u[:-2] + u[2:]
        u, v = v, u                 after an even number of steps u is u's array again

Inside of a loop, arrays that variables are bound to anew are values. Where the caller, or another
variable, knows the memory and the loop writes to it, the values have to end there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from jitnet import errors, ops
from jitnet.frontend.context import NeedStatic, integer_arguments_of, running_trace
from jitnet.frontend.flow.carrying import Shape, Slot, slots_of
from jitnet.frontend.flow.holders import known_elsewhere
from jitnet.frontend.flow.kinds import stores_of
from jitnet.frontend.flow.placing import chosen
from jitnet.frontend.flow.world import Location
from jitnet.frontend.stores import Store
from jitnet.frontend.tracer import Tracer
from jitnet.ir import Literal, Value


class Counted(Protocol):
    """A loop, of which this asks for the number of steps."""

    @property
    def steps(self) -> Any: ...
    def count(self) -> Value: ...


class Lost(Exception):  # noqa: N818
    """A step writes to memory, and leaves it behind."""


def final_places(
    loop: Counted, shapes: Iterable[tuple[Location, Shape]], jumps: bool
) -> dict[Slot, Tracer]:
    """For variables whose memory is known elsewhere, the array whose memory they end in.

    Raises:
        Lost: where the first step writes to such memory, and the next ones to other memory.
        NeedStatic: where an int argument decides how often arrays are exchanged.
        MutationError: where data decides it.
    """
    entries = [
        (location, slot)
        for location, shape in shapes
        for slot in slots_of([shape])
        if slot.kind.flavour == "array" and type(slot.first) is Tracer and not slot.leaves
    ]
    names: dict[int, list[Location]] = {}
    for where, slot in entries:
        names.setdefault(id(slot.made), []).append(where)
    entries = list({id(slot.made): (where, slot) for where, slot in reversed(entries)}.values())
    of_store = {slot.made.place: slot for _, slot in entries}
    holds = {}
    for _, slot in entries:
        place = slot.last.place if type(slot.last) is Tracer else None
        if place in of_store:
            holds[slot] = of_store[place]
    at_risk = [
        slot
        for _, slot in entries
        if any(map(is_written, _path(slot, holds))) and _is_visible(slot, names[id(slot.made)])
    ]
    if not at_risk:
        return _exchanged_only(loop, holds, names, jumps)
    if not set(at_risk) <= set(holds.values()):
        raise Lost
    if set(holds.values()) != set(holds):
        raise _exchanged("a step leaves one array under two names")
    times = 0 if all(a is b for a, b in holds.items()) else _steps(loop, jumps)
    return {slot: _after(slot, holds, times).first for slot in holds}


def _exchanged_only(
    loop: Counted, holds: dict[Slot, Slot], names: dict[int, list[Location]], jumps: bool
) -> dict[Slot, Tracer]:
    """The same where no step writes to memory that others know: it may be written to later."""
    visible = any(_is_visible(slot, names[id(slot.made)]) for slot in holds)
    if not visible or jumps or loop.steps is None or set(holds.values()) != set(holds):
        return {}
    count = loop.count()
    if isinstance(count, Literal):
        return {slot: _after(slot, holds, max(int(count.item), 0)).first for slot in holds}
    left = [slot for slot in holds if not any(map(is_written, _path(slot, holds)))]
    return {slot: _one_of_cycle(slot, holds, count) for slot in left}


def _one_of_cycle(slot: Slot, holds: dict[Slot, Slot], count: Value) -> Tracer:
    """The array that a variable has after so many steps, in which nothing is written to."""
    cycle = [_after(slot, holds, times).first.place for times in range(len(_path(slot, holds)))]
    if len(cycle) == 1:
        return Tracer(cycle[0], "array")
    return Tracer(chosen(ops.rem(count, len(cycle)), cycle, None), "array")


def _path(slot: Slot, holds: dict[Slot, Slot]) -> list[Slot]:
    """The variables that have this one's memory in the first step, the second, and so on."""
    path = [slot]
    while True:
        following = next((s for s, held in holds.items() if held is path[-1]), None)
        if following is None or following in path:
            return path
        path.append(following)


def _after(slot: Slot, holds: dict[Slot, Slot], times: int) -> Slot:
    period = 1
    found = holds[slot]
    while found is not slot:
        found = holds[found]
        period += 1
    for _ in range(times % period):
        slot = holds[slot]
    return slot


def is_written(slot: Slot) -> bool:
    """Whether a step writes to the array that it starts with."""
    place = slot.made.place
    return isinstance(place, Store) and place.value is not slot.param


def _is_visible(slot: Slot, names: Sequence[Location]) -> bool:
    return any(known_elsewhere(store, *names) for store in stores_of(slot.first))


def _steps(loop: Counted, jumps: bool) -> int:
    if loop.steps is None or jumps:
        raise _exchanged("data decides how many steps the loop makes")
    count = loop.count()
    if isinstance(count, Literal):
        return max(int(count.item), 0)
    leaves = integer_arguments_of(running_trace(), count)
    if leaves is not None:
        raise NeedStatic(leaves)
    raise _exchanged("data decides how many steps the loop makes")


def _exchanged(why: str) -> errors.MutationError:
    return errors.MutationError(
        "a loop that writes to arrays and exchanges them, which the caller has too",
        why=f"which of them holds what afterwards is not known here: {why}",
        remedy="work on copies: u, v = u.copy(), v.copy(), and write the result back at the end",
    )
