"""Variables that a step of a loop binds to another list: a frontier, and the one that follows it.

    while frontier:                    %f, %g: the tapes of both lists
        following = []
        ... following.append(v)
        frontier = following           %f = tape_copy %f, %g

A loop carries a tape in one place. So the list that was there at the start stays, and holds what
the other one holds; that takes as long as filling the other one took. What else knows the other
list would not see what is done to it later: two variables that end with one list are left to
`joins`.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from typing import Any

from jitnet.frontend.context import Trace
from jitnet.frontend.flow import growing
from jitnet.frontend.flow.growing import Grows, Items
from jitnet.frontend.flow.holders import is_held_elsewhere
from jitnet.frontend.flow.kinds import Kind, kind_in
from jitnet.frontend.flow.world import Variable, World
from jitnet.frontend.grown import grown


def reassign(world: World, region: Trace) -> None:
    """Let variables hold the lists that they held at the start of a step, with the items of those
    that the step has left in them.

    Raises:
        Grows: where such a list has to be on a tape from the start of the loop on.
    """
    found: list[tuple[Variable, Items, Items]] = []
    for location, before in list(world.held.values()):
        now = location.get() if isinstance(location, Variable) else before
        if now is before or type(now) is not type(before) or type(now) not in (list, deque):
            continue
        if grown(before) is None and grown(now) is None and len(before) == len(now):
            continue  # as many items as before are carried one by one
        found.append((location, before, now))  # type: ignore[arg-type]
    targets = Counter(id(now) for _, _, now in found)
    exchanged = {id(before) for _, before, _ in found}
    if any(n > 1 for n in targets.values()):
        return
    if any(id(now) in world.held and id(now) not in exchanged for _, _, now in found):
        return

    locations = [location for location, _, _ in found]
    if any(is_held_elsewhere(before, *locations) for _, before, _ in found):
        return

    def of_part(x: Any) -> Kind | None:
        return kind_in(region, x)

    known = [x for _, before, now in found for x in (before, now) if grown(x) is None]
    if not all(growing.can_be_on_tape(x, of_part) for x in known):
        return
    for _, before, now in found:
        _on_one_tape(before, now, of_part)
    sources = [now if len(found) == 1 else growing.copied(now) for _, _, now in found]
    for (location, before, _), source in zip(found, sources):
        growing.assign(before, source)
        location.set(before)


def _on_one_tape(before: Items, now: Items, of_part: Callable[[Any], Kind | None]) -> None:
    own, other = grown(before), grown(now)
    if own is None:
        raise Grows(before, list(now), of_part, changes=True)
    if not own.changes or (other is not None and not growing.holds(own, other)):
        raise Grows(before, [] if other is None else [other], of_part, changes=True)
