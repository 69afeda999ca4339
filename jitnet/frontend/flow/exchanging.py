"""Containers that a step of a loop binds variables to: whose they are, and whether that is all.

a, b = b, a          each list has one name before a step and one after it: what is in them
                     is carried, as if the step wrote it into the other one
best = trial         one list has two names after a step: its copies may only be read
best = rows[i]       one of the lists of `rows`, which stays what it is: a number is carried
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AnySet
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from jitnet.frontend.flow.containers import is_container, taken_apart
from jitnet.frontend.flow.holders import is_held_elsewhere
from jitnet.frontend.flow.variants import Variants, apart, objects_of, renumbered, which_of
from jitnet.frontend.flow.world import Content, Location, State, Variable, World


@dataclass(frozen=True)
class Exchanged:
    """What is known of the containers that a step has bound.

    Attributes:
        remade: those from before the step that only variables know that the step binds anew.
        shared: locations whose containers others may know, too.
    """

    remade: AnySet[int]
    shared: AnySet[int]


@dataclass(frozen=True)
class _Bound:
    """A location with the containers that it has before a step only, and after it."""

    location: Location
    before: Sequence[Any]
    after: Sequence[Any]


def find(
    world: World, state: State, settled: AnySet[int], is_dead: Callable[[Location], bool]
) -> Exchanged:
    """Look at what a step has left.

    Args:
        settled: locations of what was one of several containers, some of them new.
        is_dead: whether nobody reads what a location holds after a step.
    """
    bound = {key: each for key, each in _bound(world, state) if not is_dead(each.location)}
    names = Counter(id(x) for each in bound.values() for x in each.after)
    group = {key: each for key, each in bound.items() if key not in settled}
    while True:
        locations = [each.location for each in group.values()]
        remade = {id(x) for each in group.values() for x in each.before}
        kept = {
            key: each
            for key, each in group.items()
            if all(names[id(x)] == 1 for x in each.after)
            and all(id(x) not in world.held or id(x) in remade for x in each.after)
            and not any(is_held_elsewhere(x, *locations) for x in each.before)
        }
        if len(kept) == len(group):
            return Exchanged(frozenset(remade), frozenset(bound.keys() - group.keys()))
        group = kept


def _bound(world: World, state: State) -> Iterator[tuple[int, _Bound]]:
    for key, (location, after) in state.changed.items():
        before = world.before(key)
        one, other = (list(_containers(x, location, world)) for x in (before, after))
        known = {id(x) for x in other}
        gone = [x for x in one if id(x) not in known]
        stay = {id(x) for x in one}
        new = [x for x in other if id(x) not in stay or isinstance(location, Variable)]
        if gone or new:
            yield key, _Bound(location, gone, new)


def _containers(x: Any, location: Location, world: World) -> Iterator[Any]:
    """The containers in what a location holds; what the world's have is looked at by itself."""
    if isinstance(location, Content):
        for item in x.values() if isinstance(x, dict) else x:
            yield from _inside(item, world)
    else:
        yield from _inside(x, world)


def _inside(x: Any, world: World) -> Iterator[Any]:
    if type(x) is Variants:
        for one in objects_of(x):
            yield from _inside(one, world)
        return
    found = taken_apart(x)
    if found is None:
        return
    if is_container(x):
        yield x
        if id(x) in world.held:
            return
    for item in found[1]:
        yield from _inside(item, world)


def settle(world: World) -> frozenset[int]:
    """Let a location that holds one of several containers which this step has made hold one that
    holds what is in it. These locations."""
    found = set()
    for key, (location, now) in world.changed().items():
        made = _with_settled(now, world, top=isinstance(location, Content))
        if made is not now:
            location.set(made)
            found.add(key)
    return frozenset(found)


def _with_settled(x: Any, world: World, top: bool = False) -> Any:
    """What a location holds, or `x` itself where nothing is to be settled."""
    if type(x) is Variants:
        return _one_new(x, world)
    if isinstance(x, dict) and top:
        values = {key: _with_settled(item, world) for key, item in x.items()}
        return values if any(values[key] is not x[key] for key in x) else x
    if type(x) is tuple or (isinstance(x, list) and top):
        items = [_with_settled(item, world) for item in x]
        return type(x)(items) if any(a is not b for a, b in zip(items, x)) else x
    return x


def _one_new(x: Variants, world: World) -> Any:
    """One of several things, of which no more than one is a new container."""
    objects = objects_of(x)
    is_new = [is_container(one) and id(one) not in world.held for one in objects]
    if sum(is_new) < 2:
        return x
    new = [k for k, found in enumerate(is_new) if found]
    which = renumbered(which_of(x), [new.index(k) if k in new else 0 for k in range(len(objects))])
    merged = _merged(which, [objects[k] for k in new])
    others = [one for one, found in zip(objects, is_new) if not found]
    if merged is None or not others:
        return x if merged is None else merged
    at = itertools.count()
    numbers = [len(others) if found else next(at) for found in is_new]
    return Variants(renumbered(which_of(x), numbers), [*others, merged])


def _merged(which: Any, objects: Sequence[Any]) -> Any:
    """A container that holds what the one that is meant holds; None where they are not alike."""
    found = [parts for parts in map(taken_apart, objects) if parts is not None]
    if len(found) < len(objects) or any(form != found[0][0] for form, _ in found):
        return None
    form, rows = found[0][0], Variants(which, [items for _, items in found])
    return form.made_of([apart(rows, itemgetter(k)) for k in range(form.count)])
