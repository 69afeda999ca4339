"""When a loop keeps its state, so that it can be gone through backwards in little memory.

    steps   0 1 2 3 4 5 6 7 8 9      two slots, segments of a step: 0, then 6 are kept; 6 to 9 are
    kept    0           6            gone through from there, which frees a slot for 3, and so on

Revolve (Griewank and Walther 2000): with s slots, the first of them taken by the state at the
start, C(s + t, s) segments can be gone through backwards so that none is computed more than t times
before it is recorded. `how_far` says, at run time, how many segments to go before the state is kept
next. Where it is not known how many steps there will be, all states of a stride are kept, and every
other one of them is dropped when the slots are full (as in Stumm and Walther 2010).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from jitnet.ir import Value, index
from jitnet.ops.bound_loops import during
from jitnet.ops.lift import add, mul, sub
from jitnet.ops.pointwise import floordiv, lt, maximum

MOST_SLOTS = 1 << 16
LONGEST = 1 << 16
"""Bounds of slots and segments where it is not known how many steps there are. More of them would
only take time: 2**32 steps are computed twice, and 2**35 are in about 5 times the time."""

FEWEST = 4
"""Slots, and steps of a segment, that are worth the while there."""

REPEATS = (1, 2, 4, 8, 16)
"""How often a step may be computed again, tried in this order."""


class Spread(NamedTuple):
    """Attributes:
    slots: states that are kept at once.
    length: steps of a segment, which are recorded together.
    """

    slots: int
    length: int


class Sizes(NamedTuple):
    """Bytes: of a state, of what a segment records once, and of what it records for each step."""

    state: float
    once: float
    step: float

    def taken(self, spread: Spread) -> float:
        return spread.slots * self.state + self.once + spread.length * self.step


def spread_over(steps: int | None, sizes: Sizes, limit: float, repeats: int) -> Spread | float:
    """Slots and segments that fit the limit, or the bytes that it takes at least.

    Args:
        steps: of the loop; None where that is known at run time only.
        repeats: how often a step may be computed before it is recorded, if `steps` is known.
    """
    if steps is None:
        room = limit - sizes.once
        slots = max(FEWEST, room / 2 // sizes.state)
        length = max(FEWEST, (room - slots * sizes.state) // max(sizes.step, 1))
        slots = (room - length * sizes.step) // sizes.state
        if slots < FEWEST:
            return sizes.once + FEWEST * (sizes.state + sizes.step)
        return Spread(min(int(slots), MOST_SLOTS) // 2 * 2, min(int(length), LONGEST))
    lengths = {max(1, min(steps, int(1.2**k))) for k in range(200) if 1.2**k < 1.3 * steps}
    spreads = [Spread(_slots(-(-steps // length), repeats), length) for length in lengths]
    best = min(spreads, key=sizes.taken, default=Spread(1, 1))
    if sizes.taken(best) > limit:
        return sizes.taken(best)
    more = (limit - sizes.once - best.length * sizes.step) // sizes.state
    return best._replace(slots=int(min(more, -(-steps // best.length))))


def _slots(segments: int, repeats: int) -> int:
    """The fewest slots with which so many segments can be gone through backwards."""
    low, high = 1, max(segments, 1)
    while low < high:
        middle = (low + high) // 2
        if math.comb(middle + repeats, repeats) >= segments:
            high = middle
        else:
            low = middle + 1
    return low


def how_far(segments: Value, slots: Value) -> Value:
    """How many of at least two segments to go until the state is kept next; `slots`, at least two,
    counts the one of the present state. All are i64."""
    t, reach = during(
        lambda at, carried: lt(carried[1], at(segments)),
        lambda at, carried: _once_more(at(slots), carried),
        [segments, slots],
        [index(0), index(1)],
    )
    total = add(slots, t)
    with_one_less = floordiv(mul(reach, slots), total)
    twice_less = floordiv(mul(reach, t), total)
    twice_less = floordiv(mul(twice_less, sub(t, 1)), maximum(sub(total, 1), index(1)))
    return maximum(maximum(sub(segments, with_one_less), twice_less), index(1))


def _once_more(slots: Value, carried: Sequence[Value]) -> list[Value]:
    """C(s + t, t) from C(s + t - 1, t - 1)."""
    t, reach = carried
    t = add(t, 1)
    return [t, floordiv(mul(reach, add(slots, t)), t)]
