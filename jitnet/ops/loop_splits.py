"""How loops fall in two for reverse mode: values first, then the linear half.

    %h = for 9, %w, %h0 {...}        known:   %h, %tanh: f64[9, 4] = for 9, %w, %h0 {...}
                                     linear:  %dh = for 9, %w, %dw, %dh0, %tanh {...}

The linear loop runs over what the steps of the known one left; how that gets there is settled in
`ops.residuals`. Of a `while`, the known loop counts its steps, and the linear half is a `for`.

An array whose extents change from step to step has a tangent whose extents do not: it is carried
in the box of the largest ones, which the known loop finds, and each step works on the part in use.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

from jitnet.ir import (
    Builder,
    Dim,
    Eqn,
    Function,
    Literal,
    Value,
    index,
    registry,
    substitute_dims,
    substitute_type,
)
from jitnet.ops.lift import add, sub
from jitnet.ops.pointwise import maximum
from jitnet.ops.primitive import Halves, SplitTransform
from jitnet.ops.regions import INDEX
from jitnet.ops.residuals import (
    Parts,
    Plan,
    adopt,
    arguments,
    pick,
    plan,
    primal_loc,
    recorded,
    run,
    size_in_bytes,
    with_extents,
)
from jitnet.ops.rewinding import rewind, rewound
from jitnet.ops.segments import in_segments, segment_length
from jitnet.ops.shape import full
from jitnet.ops.slicing import slice, update
from jitnet.ops.state_choice import Carried, chosen_states

IsFree = Callable[[Value], bool]


class _Part(NamedTuple):
    """The consts, the carries or the xs of a loop.

    Attributes:
        params, operands: in the body, and outside.
        hidden: which ones depend on unknown values.
    """

    params: Sequence[Value]
    operands: Sequence[Value]
    hidden: Sequence[bool]

    def outer(self, hidden: bool) -> list[Value]:
        return pick(self.operands, self.hidden, hidden)

    def inner(self, hidden: bool) -> list[Value]:
        return pick(self.params, self.hidden, hidden)


class _Loop(NamedTuple):
    """A `for` or a `while` that falls in two.

    Attributes:
        eqn, body: the body's first param is the index, in a `for`.
        counter: that param.
        consts, carries, xs: the operands by role. A carry is hidden if any step makes it so.
        fixed: the known params that are the same in each step, and their values outside.
        states: the carries, by number, that the linear half winds back.
        around: those of them that whatever is around this loop winds back, too.
        plan: the ways of the body's residuals.
    """

    eqn: Eqn
    body: Function
    counter: Value | None
    consts: _Part
    carries: _Part
    xs: _Part
    fixed: dict[Value, Value]
    states: tuple[int, ...]
    around: tuple[int, ...]
    plan: Plan

    @property
    def reverse(self) -> bool:
        return bool(self.eqn.attrs.get("reverse", False))

    def results(self, hidden: bool) -> tuple[list[Value], list[Value]]:
        """The equation's own known, or unknown, results: carries and ys."""
        k = len(self.carries.params)
        unknown, results = self.plan.halves.unknown, self.eqn.results
        return pick(results[:k], unknown[:k], hidden), pick(results[k:], unknown[k:], hidden)

    @property
    def resized(self) -> list[Value]:
        """The known carries that are extents of unknown ones and change."""
        dims = (d for p in self.carries.inner(True) for d in p.type.symbolic)
        return [d for d in dict.fromkeys(dims) if d not in self.fixed]


class _Known(NamedTuple):
    """What comes out of a loop's known half.

    Attributes:
        trips: how many steps it made.
        stacked, tapes: as the plan has them.
        largest: for each carry that is resized, its largest value.
    """

    trips: Value
    stacked: Sequence[Value]
    tapes: Sequence[Value]
    largest: dict[Value, Value]


def split_for(
    eqn: Eqn,
    unknown: Collection[Value],
    is_free: IsFree,
    split: SplitTransform,
    states: Collection[Value] | None,
) -> Parts:
    settled = settle_for(eqn, unknown, is_free, split, states)
    if states is None or settled.around:
        return split_loop(eqn, eqn.regions[0], eqn.operands[1:], settled)
    c = eqn.attrs["consts"]
    kept = pick(eqn.operands[1 + c :], settled.hidden[c:], False)
    length = segment_length(eqn, settled.halves, kept)
    if not length:
        return split_loop(eqn, eqn.regions[0], eqn.operands[1:], settled)
    known, linear, moving = list[Eqn](), list[Eqn](), set(unknown)
    for part in in_segments(eqn, length):
        if not part.regions:
            known.append(part)
            continue
        settled = settle_for(part, moving, is_free, split, states)
        before, after, changed = split_loop(part, part.regions[0], part.operands[1:], settled)
        known += before
        linear += after
        moving.update(changed)
    return known, linear, [r for r in eqn.results if r in moving]


def settle_for(
    eqn: Eqn,
    unknown: Collection[Value],
    is_free: IsFree,
    split: SplitTransform,
    states: Collection[Value] | None,
) -> Settled:
    n = eqn.operands[0]
    trips = int(n.item) if isinstance(n, Literal) else None
    return settle(eqn, eqn.regions[0], eqn.operands[1:], trips, unknown, is_free, split, states)


def split_while(
    eqn: Eqn,
    unknown: Collection[Value],
    is_free: IsFree,
    split: SplitTransform,
    states: Collection[Value] | None,
) -> Parts:
    body = eqn.regions[1]
    settled = settle(eqn, body, eqn.operands, None, unknown, is_free, split, states)
    return split_loop(eqn, body, eqn.operands, settled)


class Settled(NamedTuple):
    """A body in two, once it is known which carries depend on unknown values.

    Attributes:
        hidden: which operands do.
        fixed: the known params that are the same in each step, and their values outside.
        states, around: as of a `_Loop`.
    """

    halves: Halves
    hidden: list[bool]
    fixed: dict[Value, Value]
    states: tuple[int, ...]
    around: tuple[int, ...]


def settle(
    eqn: Eqn,
    body: Function,
    operands: Sequence[Value],
    trips: int | None,
    unknown: Collection[Value],
    is_free: IsFree,
    split: SplitTransform,
    states: Collection[Value] | None,
) -> Settled:
    lead = body.params[: len(body.params) - len(operands)]
    params = body.params[len(lead) :]
    c = eqn.attrs["consts"]
    k = c + eqn.attrs["carries"]
    hidden = [v in unknown for v in operands]
    while True:
        fixed = _fixed(body, params, operands, hidden, c, k)
        given = frozenset((*lead, *fixed, *pick(params[k:], hidden[k:], False)))
        question = (body, [*[False] * len(lead), *hidden], hidden[c:k])
        free = frozenset((*lead, *(p for p, v in fixed.items() if is_free(v))))
        halves = split(*question, free, given)
        after = [a or b for a, b in zip(hidden[c:k], halves.unknown)]
        if after == hidden[c:k]:
            break
        hidden[c:k] = after
    everything = frozenset((*lead, *fixed))
    if free != everything and trips is not None:
        whole = split(*question, everything, given)
        kept = everything - free
        if _saved_bytes(whole, trips, kept) < _saved_bytes(halves, trips, kept):
            halves, free = whole, everything
    settled = Settled(halves, hidden, fixed, (), ())
    if states is None:
        return settled

    def asked(chosen: Sequence[int]) -> Halves:
        pairs = tuple((params[c + j], j) for j in chosen)
        return split(*question, free, given, pairs)

    places = range(c, k)
    carried = [Carried(operands[p], params[p], eqn.results[p - c], hidden[p]) for p in places]
    return settled._replace(**chosen_states(carried, operands, fixed, trips, states, halves, asked))


def _saved_bytes(halves: Halves, trips: int, fixed: frozenset[Value]) -> float:
    """What a loop leaves for its linear half: what steps do, and what of `fixed` is kept."""
    kept = [r for r in halves.residuals if r in fixed]
    return trips * sum(map(size_in_bytes, halves.made)) + sum(map(size_in_bytes, kept))


def _fixed(
    body: Function,
    params: Sequence[Value],
    operands: Sequence[Value],
    hidden: Sequence[bool],
    c: int,
    k: int,
) -> dict[Value, Value]:
    """The known consts, and the known carries that no step changes."""
    kept = [True] * c + [p is r for p, r in zip(params[c:k], body.results)]
    return {p: v for p, v, u, same in zip(params, operands, hidden, kept) if same and not u}


def split_loop(eqn: Eqn, body: Function, operands: Sequence[Value], settled: Settled) -> Parts:
    halves, hidden, fixed, states, around = settled
    is_while = len(eqn.regions) == 2
    lead = body.params[: len(body.params) - len(operands)]
    params = body.params[len(lead) :]
    c = eqn.attrs["consts"]
    k = c + eqn.attrs["carries"]
    consts, carries, xs = (
        _Part(params[a:b], operands[a:b], hidden[a:b])
        for a, b in ((0, c), (c, k), (k, len(params)))
    )
    known_params = [*lead, *pick(params, hidden, False)]
    outside = {q: fixed[p] for p, q in zip(known_params, halves.known.params) if p in fixed}
    before, linear = Builder("known"), Builder("linear")
    with before, before.at(primal_loc(eqn.loc)):
        ways = plan(halves, outside, log_all=is_while)
        counter = lead[0] if lead else None
        loop = _Loop(eqn, body, counter, consts, carries, xs, fixed, states, around, ways)
        known = _known_while(before, loop) if is_while else _known_for(before, loop)
    with linear, linear.at(eqn.loc):
        _linear_loop(linear, loop, known)
    return before.eqns, linear.eqns, pick(eqn.results, halves.unknown, True)


class _Region(NamedTuple):
    """The region of a loop's known half while it is built; its params by role."""

    lead: Sequence[Value]
    consts: Sequence[Value]
    once: Sequence[Value]
    carries: Sequence[Value]
    counters: Sequence[Value]
    tapes: Sequence[Value]
    largest: Sequence[Value]
    xs: Sequence[Value]


def _open_region(b: Builder, loop: _Loop, counters: int) -> _Region:
    """Bind the params of the known half's new region."""
    taken = iter(loop.plan.known.params)
    lead = [next(taken) for _ in range(loop.counter is not None)]
    consts, carries, xs = (
        [next(taken) for _ in part.outer(False)] for part in (loop.consts, loop.carries, loop.xs)
    )
    once = [next(taken) for _ in loop.plan.once]
    inner = b.params_like([*lead, *consts, *once, *carries])
    env = dict(zip([*lead, *consts, *once, *carries], inner))

    def own(values: Sequence[Value]) -> list[Value]:
        return [env[v] for v in values]

    return _Region(
        own(lead),
        own(consts),
        own(once),
        own(carries),
        [b.param(INDEX, "steps") for _ in range(counters)],
        [b.param(t.start.type, "tape") for t in loop.plan.tapes],
        [b.param(INDEX, f"largest_{p.name}" if p.name else "") for p in loop.resized],
        [b.param(substitute_type(x.type, env), x.name) for x in xs],
    )


class _Step(NamedTuple):
    """What the known half's new region returns, by role."""

    carries: Sequence[Value]
    tapes: Sequence[Value]
    largest: Sequence[Value]
    ys: Sequence[Value]
    stacked: Sequence[Value]


def _step(loop: _Loop, region: _Region) -> _Step:
    args = [*region.lead, *region.consts, *region.carries, *region.xs]
    done = run(loop.plan, args, region.once, region.tapes)
    n_carries = len(region.carries)
    carries = done.results[:n_carries]
    following = dict(zip(loop.carries.inner(False), carries))
    largest = [maximum(m, following[p]) for m, p in zip(region.largest, loop.resized)]
    return _Step(carries, done.tapes, largest, done.results[n_carries:], done.stacked)


def _starts(loop: _Loop, counters: int) -> list[Value]:
    """The operands for the known half's carries."""
    first = dict(zip(loop.carries.params, loop.carries.operands))
    return [
        *loop.carries.outer(False),
        *[index(0)] * counters,
        *(t.start for t in loop.plan.tapes),
        *(first[p] for p in loop.resized),
    ]


def _known_for(before: Builder, loop: _Loop) -> _Known:
    eqn = loop.eqn
    with Builder(loop.body.name) as b:
        b.loc = before.loc
        region = _open_region(b, loop, 0)
        step = _step(loop, region)
    ys = dict.fromkeys(step.ys)
    extra = [v for v in dict.fromkeys(step.stacked) if v not in ys]
    body = b.build(*step.carries, *step.tapes, *step.largest, *step.ys, *extra)
    consts, starts = [*loop.consts.outer(False), *loop.plan.once.values()], _starts(loop, 0)
    xs = loop.xs.outer(False)
    attrs = _attrs(consts, starts, xs, loop.reverse)
    before.bind(eqn.op, (eqn.operands[0], *consts, *starts, *xs), attrs, (body,))
    own, own_ys = loop.results(False)
    free = len(starts) - len(own)
    bound = adopt(before, [*own, *[None] * free, *own_ys, *[None] * len(extra)])
    ends, after = bound[len(own) : len(starts)], bound[len(starts) :]
    row = dict(zip([*step.ys, *extra], after))
    count = len(step.tapes)
    largest = dict(zip(loop.resized, ends[count:]))
    return _Known(eqn.operands[0], [row[v] for v in step.stacked], ends[:count], largest)


def _known_while(before: Builder, loop: _Loop) -> _Known:
    eqn, cond = loop.eqn, loop.eqn.regions[0]
    with Builder(loop.body.name) as b:
        b.loc = before.loc
        region = _open_region(b, loop, 1)
        step = _step(loop, region)
        following = add(region.counters[0], 1)
    body = b.build(*step.carries, following, *step.tapes, *step.largest)
    with Builder(cond.name) as b:
        b.loc = before.loc
        params = b.params_like(body.params)
        env = dict(zip(body.params, params))
        at = iter([env[v] for v in (*region.consts, *region.carries)])
        hidden = [*loop.consts.hidden, *loop.carries.hidden]
        (holds,) = inline_partly(b, cond, [None if u else next(at) for u in hidden])
    consts, starts = [*loop.consts.outer(False), *loop.plan.once.values()], _starts(loop, 1)
    attrs = {"consts": len(consts), "carries": len(starts)}
    before.bind(eqn.op, (*consts, *starts), attrs, (b.build(holds), body))
    own, _ = loop.results(False)
    bound = adopt(before, [*own, *[None] * (len(starts) - len(own))])
    trips, *ends = bound[len(own) :]
    count = len(step.tapes)
    return _Known(trips, (), ends[:count], dict(zip(loop.resized, ends[count:])))


def _attrs(
    consts: Sequence[Value], carries: Sequence[Value], xs: Sequence[Value], reverse: bool
) -> dict[str, Any]:
    return {
        "consts": len(consts),
        "carries": len(carries),
        "scans": len(xs),
        "reverse": reverse,
    }


def inline_partly(b: Builder, f: Function, args: Sequence[Value | None]) -> list[Value]:
    """Inline f, whose equations do not need the missing args."""
    env = {p: a for p, a in zip(f.params, args, strict=True) if a is not None}
    missing = {p for p, a in zip(f.params, args) if a is None}
    for eqn in f.eqns:
        if missing.isdisjoint(eqn.operands):
            env.update(zip(eqn.results, b.rebind(eqn, [env.get(v, v) for v in eqn.operands])))
        else:
            missing.update(eqn.results)
    return [env.get(v, v) for v in f.results]


# -- the linear half of a loop ---------------------------------------------------------------------


def _linear_loop(b: Builder, loop: _Loop, known: _Known) -> None:
    """Bind a `for` over the steps that the known half made."""
    boxes = [_box(loop, known, p) for p in loop.carries.inner(True)]
    starts = [_into(None, v, box) for v, box in zip(loop.carries.outer(True), boxes)]
    scanned = [p for p in loop.xs.inner(False) if p in loop.plan.halves.residuals]
    rows = dict(zip(loop.xs.params, loop.xs.operands))
    xs = [*known.stacked, *(rows[p] for p in scanned), *loop.xs.outer(True)]
    arrays = [_state_before(loop, j) for j in loop.states]
    consts = _linear_consts(loop, known, [*starts, *arrays, *xs])
    with Builder(loop.body.name) as inner:
        inner.loc = b.loc
        i = inner.param(INDEX, (loop.counter.name if loop.counter else "") or "i")
        params = inner.params_like([*consts, *starts, *arrays])
        env, carried = dict(zip(consts, params)), params[len(consts) :]
        carried, wound = carried[: len(starts)], carried[len(starts) :]
        types = (substitute_type(x.array_type.with_dims(x.dims[1:]), env) for x in xs)
        values = [inner.param(t, x.name) for t, x in zip(types, xs)]
        found = dict(zip([*loop.plan.stacked, *scanned], values))
        found.update(_found(loop, known, env, i))
        residuals = arguments(loop.plan, found)
        moving = [env[v] for v in loop.consts.outer(True)]
        for v, p, box in zip(carried, loop.carries.inner(True), boxes):
            moving.append(v if box is None else _part(v, substitute_dims(p.dims, found)))
        moving += values[len(known.stacked) + len(scanned) :]
        results = inner.inline(loop.plan.halves.linear, [*residuals, *wound, *moving])
        results, left = results[: len(results) - len(wound)], results[len(results) - len(wound) :]
        ends = [_into(v, r, box) for v, r, box in zip(carried, results, boxes)]
    body = inner.build(*ends, *left, *results[len(ends) :])
    carries = [*starts, *arrays]
    attrs = _attrs(consts, carries, xs, loop.reverse)
    b.bind(registry("array")["for"], (known.trips, *consts, *carries, *xs), attrs, (body,))
    own, ys = loop.results(True)
    states = [loop.eqn.results[j] if j in loop.around else None for j in loop.states]
    after = adopt(b, [*(None if box else r for r, box in zip(own, boxes)), *states, *ys])
    for j, state in zip(loop.states, after[len(own) :]):
        if j not in loop.around:
            rewind(state, loop.eqn.results[j])
    for r, v, box in zip(own, after, boxes):
        if box is not None:
            _part(v, r.dims)
            adopt(b, [r])


def _state_before(loop: _Loop, j: int) -> Value:
    """An array that is wound back, in front of the linear loop."""
    operand = loop.carries.operands[j]
    return operand if j in loop.around else rewound(operand.array_type)


def _linear_consts(loop: _Loop, known: _Known, others: Sequence[Value]) -> list[Value]:
    """What each step of the linear half reads; the extents of its `others` too."""
    outer = {**loop.fixed, **loop.plan.once}
    read = [outer[r] for r in loop.plan.halves.residuals if r in outer]
    logs = [t.first for t in loop.plan.tapes if t.first is not None]
    counts = [known.trips] if logs and loop.reverse else []
    extents = [d for v in others for d in v.type.symbolic]
    return with_extents([*read, *counts, *extents, *known.tapes, *logs, *loop.consts.outer(True)])


def _found(loop: _Loop, known: _Known, env: dict[Value, Value], i: Value) -> dict[Value, Value]:
    """The residuals of step i that are no rows, inside the linear half's region."""
    outer = {**loop.fixed, **loop.plan.once}
    found = {r: env.get(v, v) for r, v in outer.items()}
    if loop.counter is not None:
        found[loop.counter] = i
    position = i
    for t in loop.plan.tapes:
        if t.first is not None:
            last = sub(env.get(known.trips, known.trips), 1) if loop.reverse else i
            position = add(env[t.first], sub(last, i) if loop.reverse else i)
    found.update(recorded(loop.plan, [env[t] for t in known.tapes], position))
    return found


def _box(loop: _Loop, known: _Known, p: Value) -> tuple[Dim, ...] | None:
    """The largest extents of a carry; None where they never change."""
    if known.largest.keys().isdisjoint(p.type.symbolic):
        return None
    return substitute_dims(p.dims, {**loop.fixed, **known.largest})


def _into(base: Value | None, v: Value, box: tuple[Dim, ...] | None) -> Value:
    """The box, zero at first, with v in its corner."""
    if box is None:
        return v
    base = full(Literal(0, v.dtype), box) if base is None else base
    return update(base, v, (0,) * v.rank)


def _part(v: Value, dims: Sequence[Dim]) -> Value:
    """The corner of a box."""
    return slice(v, (0,) * v.rank, dims)
