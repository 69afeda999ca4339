"""Arrays that are wound back, in the linear half of a region: where they are read and changed.

    %a1 = overwrite %a, %old, %i          %now = peek %a
    %dy = zmul %row, %dx            →     %row = slice %now, 0, 8
      (%row: a slice of %a)               %dy = zmul %row, %dx
                                          %a1 = overwrite %a, %old, %i

An array's states are numbered. `transpose` takes the linear half from its end: the array comes by
with its last state first, so what reads a state must stand in front of what leads to the next one.
See `ops.rewinding`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from jitnet.ir import Eqn, Function, Value
from jitnet.ops.rewinding import OVERSCATTER, OVERWRITE, PEEK, trail

Wanted = tuple[tuple[Value, int], ...]
"""Params, and the results that they become."""


class State(NamedTuple):
    """The `number`-th state of the array that is a region's param `first`."""

    first: Value
    number: int


def states_of(f: Function, wanted: Wanted) -> tuple[dict[Value, State], set[Value]]:
    """The states of some arrays of a region, and those params that cannot be followed: their array
    is made anew, or two of them are made of one."""
    states: dict[Value, State] = {}
    params = {p for p, _ in wanted}
    lost: set[Value] = set()
    for p, place in wanted:
        values = trail(f, f.results[place])
        if not values or values[0] not in params or any(v in states for v in values):
            lost.add(p)
            continue
        states.update((v, State(values[0], number)) for number, v in enumerate(values))
    return states, lost | (params - {s.first for s in states.values()})


@dataclass
class _Order:
    """A linear half that is put in order.

    Attributes:
        linear: its equations as they are in the program; a place is an index here, or between.
        of: the state that a value is, or is computed from.
        place: where the equations stand that lead to states, by the state.
        torn: values that would be read where the array has another state by then.
    """

    linear: Sequence[Eqn]
    states: Mapping[Value, State]
    of: dict[Value, State]
    place: dict[State, float] = field(default_factory=dict)
    torn: set[Value] = field(default_factory=set)


def in_order(
    linear: Sequence[Eqn], again: Sequence[Eqn], states: Mapping[Value, State]
) -> tuple[list[Eqn], set[Value]]:
    """The linear half of a region: its own equations, and the known ones that it computes `again`.
    Or else, values that must be saved instead."""
    if not states:
        return [*again, *linear], set()
    order = _Order(linear, states, dict(states))
    _label(order, again)
    if not order.torn:
        _place_changes(order)
    if order.torn:
        return [], order.torn
    return _merged(order, again), set()


def _label(order: _Order, again: Sequence[Eqn]) -> None:
    """Say which state is read by what is computed again; there must not be two."""
    for eqn in again:
        found = {order.of[v] for v in eqn.operands if v in order.of}
        if len(found) > 1:
            order.torn.update(eqn.results)
        for state in found:
            order.of.update(dict.fromkeys(eqn.results, state))


def _place_changes(order: _Order) -> None:
    """Put each change of an array behind what reads it as it was."""
    made = [(r, i) for i, eqn in enumerate(order.linear) for r in eqn.results]
    changes = {order.states[r]: i for r, i in made if r in order.states}
    uses: dict[Value, list[tuple[int, int, Value]]] = {}
    for i, eqn in enumerate(order.linear):
        for v in _read(eqn, order.states):
            if v in order.of:
                uses.setdefault(order.of[v].first, []).append((i, order.of[v].number, v))
    for state, at in changes.items():
        mine = uses.get(state.first, [])
        before = [(i, v) for i, number, v in mine if number < state.number and i >= at]
        ends = [i for i, number, _ in mine if number >= state.number and i > at]
        ends.append(changes.get(state._replace(number=state.number + 1), len(order.linear)))
        last = at if order.linear[at].regions else min(ends)
        order.torn.update(v for i, v in before if i >= last)
        order.place[state] = max([float(at), *(i + 0.5 for i, _ in before)])


def _read(eqn: Eqn, states: Mapping[Value, State]) -> list[Value]:
    """The operands that an equation reads, but for the arrays whose states it changes."""
    changed = {states[r].first for r in eqn.results if r in states}
    read: list[Value] = []
    for v in eqn.operands:
        if v in states and states[v].first in changed:
            changed.remove(states[v].first)
        else:
            read.append(v)
    return read


def _merged(order: _Order, again: Sequence[Eqn]) -> list[Eqn]:
    now: dict[Value, Value] = {}
    placed: list[tuple[float, Eqn]] = []

    def reading(eqn: Eqn) -> Eqn:
        """The equation, with what it reads of the arrays looked up where it stands."""
        read = set(_read(eqn, order.states)) & order.states.keys()
        if not read:
            return eqn
        for v in read - now.keys():
            now[v] = Value(v.type, v.name)
            peek = Eqn(PEEK, (v,), {}, (), (now[v],), eqn.loc)
            placed.append((_start(order, order.states[v]), peek))
        operands = tuple(now[v] if v in read else v for v in eqn.operands)
        return Eqn(eqn.op, operands, eqn.attrs, eqn.regions, eqn.results, eqn.loc)

    for eqn in again:
        state = next((order.of[r] for r in eqn.results if r in order.of), None)
        seen = reading(eqn)
        placed.append((-2.0 if state is None else _start(order, state), seen))
    for i, eqn in enumerate(order.linear):
        changes = [order.states[r] for r in eqn.results if r in order.states]
        is_write = eqn.op in (OVERWRITE, OVERSCATTER)
        seen = reading(eqn)
        placed.append((order.place[changes[0]] if is_write else float(i), seen))
    return [eqn for _, eqn in sorted(placed, key=lambda pair: pair[0])]


def _start(order: _Order, state: State) -> float:
    """Where a state begins: behind the change that leads to it."""
    return order.place[state] + 0.1 if state.number else -1.0
