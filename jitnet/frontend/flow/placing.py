"""Arrays that are in one of several places, which only the program knows: a number says in which.

    if c: v = x        %which = if %c { 0 } { 1 }        v is x where %which is 0, and memory of
    else: v = x * 2                                      its own, that holds x * 2, where it is 1

The places that others know too are *leaves*: an array that may be there must be read and written
there. What nobody else knows, or what was made on one path, can as well be in memory of the array's
own, whose value is the joined one.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from jitnet import ir, ops
from jitnet.frontend.arrays import Choice, Place, Step, View, leaves_of, spread_to, stores_behind
from jitnet.frontend.context import Trace, bring_in, running_trace
from jitnet.frontend.stores import Store
from jitnet.ir import Literal, Value

Leaves = list[Store | View]

MOST_LEAVES = 8
"""Each reading and writing of an array is a choice among as many."""


def is_within(trace: Trace, outer: Trace) -> bool:
    """Whether a trace is `outer`, or is running inside of it."""
    return trace is outer or trace.is_inside(outer)


def is_known_in(trace: Trace, place: Place) -> bool:
    """Whether a trace can tell where this is."""
    if isinstance(place, Choice):
        sides = is_known_in(trace, place.one) and is_known_in(trace, place.other)
        return sides and is_within(trace, place.owner)
    if isinstance(place, Store):
        return is_within(trace, place.home)
    steps = (
        is_within(trace, step.owner) or all(isinstance(v, Literal) for v in step.eqn.operands[1:])
        for step in place.steps
    )
    return is_within(trace, place.store.home) and all(steps)


def seen_from(trace: Trace, leaf: Store | View) -> Store | View | None:
    """A place that a region inside of `trace` has met, as `trace` knows it; None where it does not:
    it was made in the region, or what the region has computed says where it is."""
    if is_known_in(trace, leaf):
        return leaf
    if isinstance(leaf, Store) or not is_within(trace, leaf.store.home):
        return None
    steps = [_step_from(trace, step) for step in leaf.steps]
    found = [step for step in steps if step is not None]
    return View(leaf.store, found) if len(found) == len(steps) else None


def _step_from(trace: Trace, step: Step) -> Step | None:
    eqn = step.eqn
    if not all(isinstance(d, int) for d in eqn.result.dims):
        return None
    operands = list(eqn.operands[1:])
    owner = step.owner
    while not (is_within(trace, owner) or all(isinstance(v, Literal) for v in operands)):
        outer = [v if isinstance(v, Literal) else owner.captured(v) for v in operands]
        if owner.parent is None or not all(isinstance(v, Value) for v in outer):
            return None
        operands, owner = outer, owner.parent
    return Step(dataclasses.replace(eqn, operands=(eqn.operands[0], *operands)), owner)


def is_same_leaf(a: Place, b: Place) -> bool:
    """Whether two places are one by what they say: one store, or the same steps on one."""
    if a is b:
        return True
    if not (isinstance(a, View) and isinstance(b, View)) or a.store is not b.store:
        return False
    return len(a.steps) == len(b.steps) and all(map(_is_same_step, a.steps, b.steps))


def _is_same_step(a: Step, b: Step) -> bool:
    if a.eqn.op is not b.eqn.op or a.eqn.attrs != b.eqn.attrs:
        return False
    if a.eqn.result.dims != b.eqn.result.dims:
        return False
    operands = list(zip(a.eqn.operands[1:], b.eqn.operands[1:]))
    known = all(isinstance(x, Literal) and x == y for x, y in operands)
    return known or (a.owner is b.owner and all(x is y or x == y for x, y in operands))


class Divided(NamedTuple):
    """The places that an array may be in.

    Attributes:
        leaves: those that others know too.
        own: the memory behind the others; `is_apart` where there are any.
    """

    leaves: Leaves
    own: list[Store]
    is_apart: bool


def divided(place: Place | None, is_watched: Callable[[Store], bool]) -> Divided:
    """The places that an array of a region may be in, the leaves as the running trace knows them.

    Args:
        place: None for an array of the program's that is a constant.
    """
    trace = running_trace()
    leaves: Leaves = []
    own: list[Store] = []
    is_apart = place is None
    for leaf in leaves_of(place) if place is not None else ():
        outside = seen_from(trace, leaf)
        if outside is not None and any(map(is_watched, stores_behind(outside))):
            leaves.append(outside)
        else:
            own += stores_behind(leaf)
            is_apart = True
    return Divided(leaves, own, is_apart)


def united(*found: Iterable[Store | View]) -> Leaves:
    """These leaves, each once."""
    leaves: Leaves = []
    for leaf in (leaf for part in found for leaf in part):
        if not any(is_same_leaf(leaf, known) for known in leaves):
            leaves.append(leaf)
    return leaves


def leaf_of(
    place: Place | None, leaves: Sequence[Store | View], around: Trace
) -> Store | View | None:
    """The one of the leaves that a place is, if it is no choice and one of them.

    Args:
        around: the trace that knows the leaves.
    """
    if place is None or isinstance(place, Choice):
        return None
    outside = seen_from(around, place)
    return next((leaf for leaf in leaves if outside and is_same_leaf(outside, leaf)), None)


_MOST_CONDITIONS = 6


def may_meet(a: Place, b: Place, is_one: Callable[[Store | View, Store | View], bool]) -> bool:
    """Whether two arrays of one trace are ever in such places at a time that `is_one` holds."""
    conditions = list({id(c): c for c in (*_conditions(a), *_conditions(b))})
    if len(conditions) > _MOST_CONDITIONS:
        return any(is_one(x, y) for x in leaves_of(a) for y in leaves_of(b))
    for flags in itertools.product((True, False), repeat=len(conditions)):
        known = dict(zip(conditions, flags))
        if is_one(_followed(a, known), _followed(b, known)):
            return True
    return False


def _conditions(place: Place) -> list[Value]:
    if not isinstance(place, Choice):
        return []
    return [place.condition, *_conditions(place.one), *_conditions(place.other)]


def _followed(place: Place, known: dict[int, bool]) -> Store | View:
    while isinstance(place, Choice):
        place = place.one if known[id(place.condition)] else place.other
    return place


def number_of(place: Place | None, leaves: Sequence[Store | View], around: Trace) -> Value:
    """Which of the leaves a place of the running trace is; as many as there are where it is none.

    Args:
        around: the trace that knows the leaves.
    """
    if isinstance(place, Choice):
        one, other = (number_of(side, leaves, around) for side in (place.one, place.other))
        if isinstance(one, Literal) and isinstance(other, Literal) and one.item == other.item:
            return one
        condition = bring_in(place.condition, place.owner, running_trace())
        return ops.select(condition, one, other)
    found = leaf_of(place, leaves, around)
    return ir.index(next((k for k, leaf in enumerate(leaves) if leaf is found), len(leaves)))


def own_value(place: Place, leaves: Sequence[Store | View], around: Trace) -> Value | None:
    """What an array holds in the running trace where it is in none of the leaves; None where it is
    always in one."""
    trace = running_trace()
    if not isinstance(place, Choice):
        return None if leaf_of(place, leaves, around) is not None else place.read(trace)
    one, other = (own_value(side, leaves, around) for side in (place.one, place.other))
    if one is None or other is None:
        return other if one is None else one
    condition = bring_in(place.condition, place.owner, trace)
    return ops.select(spread_to(condition, one), one, other)


def chosen(number: Value, leaves: Sequence[Store | View], own: Store | None) -> Place:
    """The place that a number of the running trace says; `own` where it says none of the leaves."""
    trace = running_trace()
    place: Place | None = own
    for k, leaf in reversed([*enumerate(leaves)]):
        place = leaf if place is None else Choice(ops.eq(number, k), trace, leaf, place)
    assert place is not None
    return place
