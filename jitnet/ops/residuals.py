"""What the known half of a region leaves for its linear half, and which way it goes there.

    for %n, ... {                    once:     %w2, computed in front of the loop
      %w2 = transpose %w             stacked:  %h of each step, f64[%n, 3] after the loop
      %h: f64[3] = tanh ...          logged:   %row of each step, a record on a tape
      %row: f64[%i] = slice ...      tapes:    what an inner loop logged in each of its runs
      %t = for ... tape_push ...
    }

A tape that a region makes becomes one tape for all its runs, carried by the loop around it; where
the records of a run begin is a residual like others.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from jitnet.ir import (
    Builder,
    Effect,
    Eqn,
    Function,
    Literal,
    Loc,
    TapeType,
    Type,
    Value,
    current,
    effect_of,
    substitute_dims,
    substitute_type,
)
from jitnet.ops.primitive import Halves, Primitive, SplitTransform
from jitnet.ops.shape import reshape
from jitnet.ops.tape import beginning, tape_get, tape_length, tape_new, tape_push

Parts = tuple[Sequence[Eqn], Sequence[Eqn], Sequence[Value]]
"""The known equations, the linear ones, the results that these bind: see `SplitRule`."""


class Tape(NamedTuple):
    """A tape that runs through a region.

    Attributes:
        start: the empty tape, in front of the equation.
        first: of the region's own log: how many records it had before. That is 0, until this
            equation is itself in a loop.
        residual: which one it is; None for the own log.
    """

    start: Value
    first: Value | None = None
    residual: Value | None = None


class Plan(NamedTuple):
    """How the residuals of one region travel. Its regions' values stand for residuals.

    Attributes:
        halves: the region in two.
        known: the known half, which also takes what is computed once, and its tapes.
        once: residuals that are the same in each run, and their values outside.
        stacked: those of one type in each run.
        logged: the others: the fields of a record.
        tapes: the own log first, if there is one.
    """

    halves: Halves
    known: Function
    once: Mapping[Value, Value]
    stacked: tuple[Value, ...]
    logged: tuple[Value, ...]
    tapes: tuple[Tape, ...]


def plan(
    halves: Halves,
    outside: Mapping[Value, Value],
    stable: Collection[Value] = (),
    log_all: bool = False,
) -> Plan:
    """Sort the residuals, and bind in front of the equation what is computed or opened once.

    Args:
        outside: the known half's params that are the same in each run, and their values outside.
        stable: further ones that the extents of what is stacked may name.
        log_all: nothing can be stacked: how many runs there are is not known before.
    """
    count = len(halves.known.results) - len(halves.made)
    inside = dict(zip(halves.made, halves.known.results[count:]))
    hoisted = _hoist(halves.known, list(inside.values()), outside)
    once = {r: hoisted[v] for r, v in inside.items() if v in hoisted}
    same = {*outside, *hoisted, *stable}
    ways: dict[str, list[Value]] = {"tape": [], "log": [], "stack": []}
    for r, v in inside.items():
        if isinstance(r.type, TapeType):
            ways["tape"].append(r)
        elif r not in once:
            ragged = any(d not in same for d in v.type.symbolic)
            ways["log" if log_all or ragged else "stack"].append(r)
    tapes: list[Tape] = []
    if ways["log"]:
        start = tape_new(_log_type(ways["log"]))
        tapes.append(Tape(start, first=tape_length(start)))
    tapes += [Tape(_empty(r.type), residual=r) for r in ways["tape"]]
    taken = [inside[r] for r in once]
    taken += [beginning(halves.known, inside[r]) for r in ways["tape"]]
    kept = [inside[r] for r in halves.made if r not in once]
    known = _taking(halves.known, taken, [*halves.known.results[:count], *kept])
    return Plan(halves, known, once, tuple(ways["stack"]), tuple(ways["log"]), tuple(tapes))


def _hoist(
    known: Function, wanted: Sequence[Value], outside: Mapping[Value, Value]
) -> dict[Value, Value]:
    """Those wanted values that are the same in each run, computed in front."""
    same = set(outside)
    for eqn in known.eqns:
        if _may_hoist(eqn) and all(isinstance(v, Literal) or v in same for v in eqn.operands):
            same.update(eqn.results)
    found = [v for v in wanted if v in same]
    needed = set(found)
    for eqn in reversed(known.eqns):
        if any(r in needed for r in eqn.results):
            needed.update(eqn.operands)
    env = dict(outside)
    for eqn in known.eqns:
        if any(r in needed for r in eqn.results):
            values = current().rebind(eqn, [env.get(v, v) for v in eqn.operands])
            env.update(zip(eqn.results, values))
    return {v: env[v] for v in found}


def _may_hoist(eqn: Eqn) -> bool:
    """Whether it can run where the loop may not run at all, and in front of the loop's checks. What
    takes starts, indices or extents cannot, but where all of it is static; tapes stay where they
    are filled."""
    values = (*eqn.operands, *eqn.results)
    if len(eqn.results) != 1 or eqn.regions or effect_of(eqn) > Effect.PURE:
        return False
    if any(isinstance(v.type, TapeType) for v in values):
        return False
    assert isinstance(eqn.op, Primitive)
    if eqn.op.is_pointwise or not any(v.dtype.is_integer for v in eqn.operands):
        return True
    return all(isinstance(v, Literal) or v.array_type.is_static for v in values) and not any(
        v.dtype.is_integer for v in eqn.operands if not isinstance(v, Literal)
    )


def _log_type(logged: Sequence[Value]) -> TapeType:
    """Records of these values; an extent that is a Value is stored with each."""
    return TapeType(
        tuple((r.dtype, tuple(d if isinstance(d, int) else None for d in r.dims)) for r in logged)
    )


def _empty(type: Type) -> Value:
    assert isinstance(type, TapeType)
    return tape_new(type)


def _taking(f: Function, taken: Sequence[Value], results: Sequence[Value]) -> Function:
    """The Function with values that it computes as params instead, at the end."""
    gone = set(taken)
    eqns = tuple(eqn for eqn in f.eqns if gone.isdisjoint(eqn.results))
    return Function(f.name, (*f.params, *taken), eqns, tuple(results), f.level)


# -- in the known half -----------------------------------------------------------------------------


class Run(NamedTuple):
    """One run of the known half.

    Attributes:
        results: the region's known results.
        stacked: as the plan has them.
        tapes: after this run, as the plan has them.
    """

    results: tuple[Value, ...]
    stacked: tuple[Value, ...]
    tapes: tuple[Value, ...]


def run(p: Plan, args: Sequence[Value], once: Sequence[Value], handles: Sequence[Value]) -> Run:
    """Inline the known half, and push what is logged."""
    inner = [h for t, h in zip(p.tapes, handles) if t.residual is not None]
    values = current().inline(p.known, [*args, *once, *inner])
    made = [r for r in p.halves.made if r not in p.once]
    count = len(values) - len(made)
    saved = dict(zip(made, values[count:]))
    after = [
        tape_push(h, [saved[r] for r in p.logged]) if t.residual is None else saved[t.residual]
        for t, h in zip(p.tapes, handles)
    ]
    return Run(values[:count], tuple(saved[r] for r in p.stacked), tuple(after))


# -- in the linear half ----------------------------------------------------------------------------


def recorded(p: Plan, handles: Sequence[Value], position: Value) -> dict[Value, Value]:
    """What the known half logged in the run at `position`, and the tapes that it filled."""
    found: dict[Value, Value] = {}
    for t, h in zip(p.tapes, handles):
        if t.residual is not None:
            found[t.residual] = h
            continue
        record = tape_get(h, position)
        found.update(zip(p.logged, record[len(record) - len(p.logged) :]))
    return found


def arguments(p: Plan, found: dict[Value, Value]) -> list[Value]:
    """The residuals in the linear half's order. An extent that was read back with an array is the
    residual that it was."""
    for r in p.halves.residuals:
        found[r] = with_dims_of(found[r], r, found)
    return [found[r] for r in p.halves.residuals]


def with_dims_of(v: Value, like: Value, known: Mapping[Value, Value]) -> Value:
    """v with the extents of another value, mapped by what is known of them."""
    if isinstance(like.type, TapeType):
        return v
    dims = substitute_dims(like.dims, known)
    return v if v.dims == dims else reshape(v, dims)


# -- both ------------------------------------------------------------------------------------------


def pick(values: Sequence[Value], hidden: Sequence[bool], wanted: bool) -> list[Value]:
    return [v for v, u in zip(values, hidden, strict=True) if u is wanted]


def separated(f: Function, unknown: Sequence[bool], split: SplitTransform) -> Function:
    """`f` with all that does not depend on unknown params in front of what does, so that it can be
    transposed in these; all its results count as the latter."""
    halves = split(f, unknown, [True] * len(f.results))
    with Builder(f.name) as b:
        params = b.params_like(f.params)
        residuals = b.inline(halves.known, pick(params, unknown, False))
        return b.build(*b.inline(halves.linear, [*residuals, *pick(params, unknown, True)]))


def primal_loc(loc: Loc) -> Loc:
    """Where the known half stems from: it is what was there before the jvp."""
    return loc._replace(tags=loc.tags[:-1]) if loc.tags[-1:] == ("jvp",) else loc


def adopt(b: Builder, results: Sequence[Value | None]) -> list[Value]:
    """Give the equation bound last these results, where there are any: its own elsewhere."""
    done = b.eqns.pop()
    bound = [f if r is None else r for f, r in zip(done.results, results, strict=True)]
    known = dict(zip(done.results, bound))
    for own, r in zip(done.results, results):
        if r is None:
            own.type = substitute_type(own.type, known)
    b.eqns.append(Eqn(done.op, done.operands, done.attrs, done.regions, tuple(bound), done.loc))
    return bound


def with_extents(values: Sequence[Value]) -> list[Value]:
    """The values, each once, without Literals, and the extents that their types name: what a
    region takes that reads them."""
    every = dict.fromkeys([*(d for v in values for d in v.type.symbolic), *values])
    return [v for v in every if not isinstance(v, Literal)]


def size_in_bytes(v: Value) -> float:
    """Of a residual; infinite where its extents are only known when the program runs."""
    if isinstance(v.type, TapeType) or not v.array_type.is_static:
        return math.inf
    return math.prod(v.shape) * v.dtype.itemsize
