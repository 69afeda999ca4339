"""How branches and calls fall in two for reverse mode: values first, then the linear half.

    %y = if %p, %x {...}        known:   %y, %cos: f64[4] = if %p, %x {...}
                                linear:  %dy = if %p, %cos, %dx {...}

Each arm leaves what its own linear half needs, and zeros for what the other one's would. How that
gets there is settled in `ops.residuals`. A call is two calls: the first one returns what the second
one needs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from jitnet.ir import (
    ArrayType,
    Builder,
    Eqn,
    Function,
    Value,
    index,
    substitute_type,
)
from jitnet.ops.primitive import Halves, SplitTransform
from jitnet.ops.residuals import (
    Parts,
    Plan,
    Tape,
    adopt,
    arguments,
    pick,
    plan,
    primal_loc,
    recorded,
    run,
    with_dims_of,
    with_extents,
)
from jitnet.ops.rewinding import entering
from jitnet.ops.shape import zeros_like


class _Branch(NamedTuple):
    """An `if` that falls in two.

    Attributes:
        operands: after the condition.
        hidden: which of them depend on unknown values.
        unknown: which results do, in one arm at least.
        states: arrays that are wound back: (operand, by number, and result that it becomes).
        plans: the ways of each arm's residuals.
    """

    eqn: Eqn
    hidden: tuple[bool, ...]
    unknown: tuple[bool, ...]
    states: tuple[tuple[int, int], ...]
    plans: tuple[Plan, ...]

    @property
    def operands(self) -> tuple[Value, ...]:
        return self.eqn.operands[1:]

    @property
    def tapes(self) -> list[Tape]:
        """Of both arms: each passes the other's on."""
        return [t for p in self.plans for t in p.tapes]

    def outside(self, arm: int) -> dict[Value, Value]:
        """What an arm's known params are outside."""
        params = zip(self.eqn.regions[arm].params, self.operands, self.hidden)
        return {p: v for p, v, u in params if not u}


def split_if(
    eqn: Eqn,
    unknown: Collection[Value],
    is_free: Callable[[Value], bool],
    split: SplitTransform,
    states: Collection[Value] | None,
) -> Parts:
    hidden = tuple(v in unknown for v in eqn.operands[1:])
    forced = [False] * len(eqn.results)
    for region in eqn.regions:
        out = split(region, hidden, forced, frozenset()).unknown
        forced = [a or b for a, b in zip(forced, out)]
    wound = _states(eqn, states or ())
    while True:
        arms: list[Halves] = []
        for region in eqn.regions:
            known = frozenset(pick(region.params, hidden, False))
            free = {p for p, v in zip(region.params, eqn.operands[1:]) if p in known and is_free(v)}
            pairs = tuple((region.params[i], j) for i, j in wound)
            arms.append(split(region, hidden, forced, frozenset(free), known, pairs))
        lost = {r.params.index(p) for r, arm in zip(eqn.regions, arms) for p in arm.lost}
        if not lost:
            break
        wound = tuple((i, j) for i, j in wound if i not in lost)
    before, linear = Builder("known"), Builder("linear")
    with before, before.at(primal_loc(eqn.loc)):
        plans = tuple(plan(arm, {}, stable=arm.known.params) for arm in arms)
        branch = _Branch(eqn, hidden, tuple(forced), wound, plans)
        saved, tapes = _known_if(before, branch)
    with linear, linear.at(eqn.loc):
        _linear_if(linear, branch, saved, tapes)
    return before.eqns, linear.eqns, pick(eqn.results, forced, True)


def _states(eqn: Eqn, states: Collection[Value]) -> tuple[tuple[int, int], ...]:
    """The operands whose state the branch changes, and the results that they become."""
    found = [(entering(eqn, r), j) for j, r in enumerate(eqn.results) if r in states]
    pairs = [(i - 1, j) for i, j in found if i is not None]
    return tuple((i, j) for i, j in pairs if eqn.operands.count(eqn.operands[1 + i]) == 1)


def _known_if(before: Builder, branch: _Branch) -> tuple[list[Value], list[Value]]:
    """The branch of the known halves: each arm fills in zeros for what the other one saves.
    Returns what both arms save, and the tapes."""
    eqn, tapes = branch.eqn, branch.tapes
    operands = pick(branch.operands, branch.hidden, False)
    regions: list[Function] = []
    for arm, own in enumerate(branch.plans):
        with Builder(eqn.regions[arm].name) as b:
            b.loc = before.loc
            inner = b.params_like(own.known.params[: len(operands)])
            handles = {id(t): b.param(t.start.type, "tape") for t in tapes}
            done = run(own, inner, (), [handles[id(t)] for t in own.tapes])
            handles.update((id(t), h) for t, h in zip(own.tapes, done.tapes))
            env = dict(zip(operands, inner))
            saved: list[Value] = []
            for other, p in enumerate(branch.plans):
                saved += done.stacked if other == arm else _zeros(branch, other, p, env)
        regions.append(b.build(*done.results, *handles.values(), *saved))
    before.bind(eqn.op, (eqn.operands[0], *operands, *(t.start for t in tapes)), {}, regions)
    own_results = pick(eqn.results, branch.unknown, False)
    count = len(tapes) + sum(len(p.stacked) for p in branch.plans)
    bound = adopt(before, [*own_results, *[None] * count])[len(own_results) :]
    return bound[len(tapes) :], bound[: len(tapes)]


def _zeros(branch: _Branch, arm: int, p: Plan, env: dict[Value, Value]) -> list[Value]:
    """Zeros for what an arm saves, in the other arm, whose params are `env`."""
    outer = [substitute_type(r.array_type, branch.outside(arm)) for r in p.stacked]
    types = [substitute_type(t, env) for t in outer]
    return [zeros_like(t) for t in types if isinstance(t, ArrayType)]


def _linear_if(b: Builder, branch: _Branch, saved: Sequence[Value], tapes: Sequence[Value]) -> None:
    """Bind the branch of the linear halves; both arms take what both need."""
    results = pick(branch.eqn.results, branch.unknown, True)
    needed = {r for p in branch.plans for r in p.halves.residuals}
    read = [v for arm in (0, 1) for p, v in branch.outside(arm).items() if p in needed]
    extents = [d for r in results for d in r.type.symbolic]
    logs = [t.first for t in branch.tapes if t.first is not None]
    moving = pick(branch.operands, branch.hidden, True)
    wound = [branch.operands[i] for i, _ in branch.states]
    after = [branch.eqn.results[j] for _, j in branch.states]
    read = [v for v in read if v not in wound]
    operands = with_extents([*read, *extents, *saved, *tapes, *logs, *wound, *moving])
    regions: list[Function] = []
    for arm, p in enumerate(branch.plans):
        with Builder(branch.eqn.regions[arm].name) as inner:
            inner.loc = b.loc
            env = dict(zip(operands, inner.params_like(operands)))
            found = {q: env.get(v, v) for q, v in branch.outside(arm).items()}
            first = 0 if arm == 0 else len(branch.plans[0].stacked)
            found.update(zip(p.stacked, (env[v] for v in saved[first:])))
            handles = dict(zip(map(id, branch.tapes), (env[t] for t in tapes)))
            own = [handles[id(t)] for t in p.tapes]
            position = next((env[t.first] for t in p.tapes if t.first is not None), index(0))
            found.update(recorded(p, own, position))
            args = [*arguments(p, found), *(env[v] for v in (*wound, *moving))]
            values = inner.inline(p.halves.linear, args)
            ends = zip(values, [*results, *after])
            regions.append(inner.build(*(with_dims_of(v, r, env) for v, r in ends)))
    b.bind(branch.eqn.op, (branch.eqn.operands[0], *operands), {}, regions)
    adopt(b, [*results, *after])


def split_call(
    eqn: Eqn,
    unknown: Collection[Value],
    is_free: Callable[[Value], bool],
    split: SplitTransform,
    states: Collection[Value] | None,
) -> Parts:
    """Two calls. Those of one Function that are alike share both halves."""
    (region,) = eqn.regions
    hidden = [v in unknown for v in eqn.operands]
    outside = {p: v for p, v, u in zip(region.params, eqn.operands, hidden) if not u}
    free = frozenset(p for p, v in outside.items() if is_free(v))
    halves: Halves = split(region, hidden, (), free, frozenset(outside))
    results = pick(eqn.results, halves.unknown, False)
    before, after = Builder("known"), Builder("linear")
    with before, before.at(primal_loc(eqn.loc)):
        before.bind(eqn.op, list(outside.values()), eqn.attrs, (halves.known,))
        made = adopt(before, [*results, *[None] * len(halves.made)])[len(results) :]
    given = zip(pick(region.results, halves.unknown, False), results)
    found = {**outside, **dict(zip(halves.made, made)), **dict(given)}
    with after, after.at(eqn.loc):
        operands = [*(found[r] for r in halves.residuals), *pick(eqn.operands, hidden, True)]
        after.bind(eqn.op, operands, eqn.attrs, (halves.linear,))
        adopt(after, pick(eqn.results, halves.unknown, True))
    return before.eqns, after.eqns, pick(eqn.results, halves.unknown, True)
