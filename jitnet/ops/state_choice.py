"""Which carried arrays the linear half of a loop winds back: those where that saves bytes.

    for %i: %a = update %a, %v, %i, 0        saved, else:  a slice of %a for each step, f64[%i]
        (reads slices of %a)                 wound back:   the old element for each step, and %a

Where what is around the loop winds an array back, the loop has to take part in it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

from jitnet.ir import ArrayType, TapeType, Type, Value
from jitnet.ops.primitive import Halves

TYPICAL = 100
"""What is put in the place of an extent, or a number of steps, that is not known yet."""

WORTH = 0.7
"""Arrays are wound back where that takes less than this part of the bytes."""


class Carried(NamedTuple):
    """A carry: before, in and after the loop; and whether it depends on unknown values."""

    operand: Value
    param: Value
    result: Value
    hidden: bool


def chosen_states(
    carried: Sequence[Carried],
    operands: Sequence[Value],
    fixed: Mapping[Value, Value],
    trips: int | None,
    around: Collection[Value],
    without: Halves,
    split: Callable[[Sequence[int]], Halves],
) -> dict[str, Any]:
    """The attributes `halves`, `states` and `around` of a settled loop.

    Args:
        operands: all of the loop's.
        around: the states of arrays that are wound back around the loop.
        without: the loop in two, where none is wound back in it.
        split: does it where some carries are, by number.
    """

    def may_be(c: Carried) -> bool:
        changes = not c.hidden and c.param not in fixed
        if not changes or isinstance(c.param.type, TapeType) or not c.param.rank:
            return False
        return all(d in fixed for d in c.param.type.symbolic) and (
            sum(v is c.operand for v in operands) == 1
        )

    possible = [j for j, c in enumerate(carried) if may_be(c)]
    outer = [j for j in possible if carried[j].operand in around and carried[j].result in around]
    own = [j for j in possible if carried[j].operand not in around]
    best = _possible(outer, carried, split, without)
    every = _possible([*outer, *own], carried, split, without)
    started = [j for j in every.states if j not in outer]
    private = sum(size_in_bytes(carried[j].operand) for j in started)
    steps = TYPICAL if trips is None else trips
    if started and set(best.states) <= set(every.states):
        less, more = _differing(every.halves, best.halves)
        if private + steps * less < WORTH * steps * more:
            best = every
    kept = tuple(j for j in best.states if j in outer)
    return {"halves": best.halves, "states": tuple(best.states), "around": kept}


class _Chosen(NamedTuple):
    states: Sequence[int]
    halves: Halves


def _possible(
    states: Sequence[int],
    carried: Sequence[Carried],
    split: Callable[[Sequence[int]], Halves],
    without: Halves,
) -> _Chosen:
    """As many of these carries as can be wound back together."""
    while states:
        halves = split(states)
        if not halves.lost:
            return _Chosen(states, halves)
        states = [j for j in states if carried[j].param not in halves.lost]
    return _Chosen((), without)


def _differing(a: Halves, b: Halves) -> tuple[float, float]:
    """The bytes that a step leaves for its linear half in one case, and in the other, without what
    it leaves in both: that is what loops inside log, where they wind back arrays anyway."""
    left, right = Counter(v.type for v in a.made), Counter(v.type for v in b.made)
    return _total(left - right), _total(right - left)


def _total(types: Counter[Type]) -> float:
    return sum(times * _type_bytes(type) for type, times in types.items())


def size_in_bytes(v: Value) -> float:
    """Roughly, where extents are not known."""
    return _type_bytes(v.type)


def _type_bytes(type: Type) -> float:
    if isinstance(type, TapeType):
        return TYPICAL * sum(_bytes(dtype.itemsize, dims) for dtype, dims in type.fields)
    assert isinstance(type, ArrayType)
    return _bytes(type.dtype.itemsize, type.dims)


def _bytes(itemsize: int, dims: Sequence[Any]) -> float:
    return itemsize * math.prod(d if isinstance(d, int) else TYPICAL for d in dims)
