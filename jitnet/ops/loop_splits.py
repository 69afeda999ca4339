"""How control flow falls in two for reverse mode: values first, then the linear half.

    for:    the known loop stacks what a step leaves for its linear half, which scans it
    while:  the known loop logs a record a step on a tape; the linear half is a `for` over these
    if:     each arm leaves what its own linear half needs

Residuals whose extents differ from step to step go to a tape too. A tape that a region makes
becomes one tape for all its runs, carried by the loop around it; where the records of a run begin
is a residual like others.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from jitnet.ir import (
    Builder,
    Eqn,
    Function,
    Op,
    TapeType,
    Value,
    as_dim,
    current,
    index,
    registry,
    substitute_type,
)
from jitnet.ops.lift import add, sub
from jitnet.ops.primitive import Halves, SplitTransform
from jitnet.ops.regions import INDEX
from jitnet.ops.shape import reshape, zeros_like
from jitnet.ops.tape import TAPE_NEW, TAPE_PUSH, tape_get, tape_length, tape_new, tape_push

Parts = tuple[Sequence[Eqn], Sequence[Eqn], Sequence[Value]]


@dataclass
class _Residuals:
    """What one region's known half leaves for its linear half.

    Attributes:
        stacked: one value a run, of the same type each time.
        logged: records on a tape of this region's own.
        tapes: tapes that the region filled.
    """

    stacked: list[Value] = field(default_factory=list)
    logged: list[Value] = field(default_factory=list)
    tapes: list[Value] = field(default_factory=list)


def _sort(halves: Halves, fixed: Collection[Value], log_all: bool) -> _Residuals:
    """`fixed` are extents that are the same in each run."""
    kinds = _Residuals()
    for r in halves.made:
        if isinstance(r.type, TapeType):
            kinds.tapes.append(r)
        elif log_all or any(not isinstance(d, int) and d not in fixed for d in r.dims):
            kinds.logged.append(r)
        else:
            kinds.stacked.append(r)
    return kinds


def _log_type(logged: Sequence[Value]) -> TapeType:
    """Records of these values; an extent that is a Value is stored with each."""
    return TapeType(
        tuple((r.dtype, tuple(d if isinstance(d, int) else None for d in r.dims)) for r in logged)
    )


@dataclass
class _Tape:
    """A tape that runs through a region.

    Attributes:
        start: the empty tape, before.
        first: how many records it had before: 0, until this region is itself in a loop.
        inner: where it enters the region: a `tape_new` result inside, or None for the own log.
        value: where it leaves the known half: a residual, or None for the own log.
    """

    start: Value
    first: Value | None
    inner: Value | None
    value: Value | None


def _open_tapes(halves: Halves, kinds: _Residuals) -> list[_Tape]:
    """The tapes, bound in front of the equation."""
    tapes: list[_Tape] = []
    if kinds.logged:
        start = tape_new(_log_type(kinds.logged))
        tapes.append(_Tape(start, tape_length(start), None, None))
    outs = dict(zip(halves.made, halves.known.results[-len(halves.made) :] if halves.made else ()))
    for r in kinds.tapes:
        assert isinstance(r.type, TapeType)
        tapes.append(_Tape(tape_new(r.type), None, _source(halves.known, outs[r]), r))
    return tapes


def _source(f: Function, v: Value) -> Value:
    """The `tape_new` result that a tape of the Function began as."""
    made = {r: (eqn, i) for eqn in f.eqns for i, r in enumerate(eqn.results)}
    while v in made:
        eqn, i = made[v]
        if eqn.op is TAPE_NEW:
            return v
        v = eqn.operands[0] if eqn.op is TAPE_PUSH else _entering(eqn, i)
    raise AssertionError("a tape that is a residual was made in the region")


def _entering(eqn: Eqn, i: int) -> Value:
    """The operand that a loop's or a branch's tape result was before."""
    result = eqn.results[i]
    same = [v for v in eqn.operands if v.type == result.type]
    position = [r for r in eqn.results if r.type == result.type].index(result)
    return same[position]


def _taking_tapes(f: Function, tapes: Sequence[_Tape]) -> Function:
    """The known half with the tapes that it makes as params instead, at the end."""
    taken = [t.inner for t in tapes if t.inner is not None]
    eqns = tuple(eqn for eqn in f.eqns if not any(r in taken for r in eqn.results))
    return Function(f.name, (*f.params, *taken), eqns, f.results, f.level)


@dataclass
class _Run:
    """One run of the known half inside the new region."""

    results: Sequence[Value]
    stacked: list[Value]
    tapes: list[Value]


def _run(
    halves: Halves,
    kinds: _Residuals,
    tapes: Sequence[_Tape],
    args: Sequence[Value],
    handles: Sequence[Value],
) -> _Run:
    """Inline the known half, and push what is logged."""
    inner = [h for t, h in zip(tapes, handles) if t.inner is not None]
    values = current().inline(_taking_tapes(halves.known, tapes), [*args, *inner])
    count = len(values) - len(halves.made)
    saved = dict(zip(halves.made, values[count:]))
    after: list[Value] = []
    for t, h in zip(tapes, handles):
        pushed = [saved[r] for r in kinds.logged]
        after.append(tape_push(h, pushed) if t.value is None else saved[t.value])
    return _Run(values[:count], [saved[r] for r in kinds.stacked], after)


def _recorded(
    kinds: _Residuals, tapes: Sequence[_Tape], handles: Sequence[Value], position: Value
) -> dict[Value, Value]:
    """What the known half logged, and the tapes it filled, in the linear half."""
    found: dict[Value, Value] = {}
    for t, h in zip(tapes, handles):
        if t.value is not None:
            found[t.value] = h
            continue
        record = tape_get(h, position)
        found.update(zip(kinds.logged, record[len(record) - len(kinds.logged) :]))
    return found


def _residual_args(halves: Halves, found: dict[Value, Value]) -> list[Value]:
    """The residuals in the linear half's order; an extent read back with an array is the residual
    that it was."""
    args: list[Value] = []
    for r in halves.residuals:
        v = found[r]
        if not isinstance(r.type, TapeType) and any(not isinstance(d, int) for d in r.dims):
            dims = tuple(d if isinstance(d, int) else as_dim(found.get(d, d)) for d in r.dims)
            v = v if v.dims == dims else reshape(v, dims)
        found[r] = v
        args.append(v)
    return args


def _bind_as(
    b: Builder,
    eqn: Eqn,
    operands: Sequence[Value],
    attrs: dict[str, object],
    regions: Sequence[Function],
    results: Sequence[Value | None],
    op: Op | None = None,
) -> list[Value]:
    """Bind eqn's op (or another), with the given Values as its results where there are any."""
    with b.at(eqn.loc):
        fresh = b.bind(op or eqn.op, operands, attrs, regions)
    done = b.eqns.pop()
    bound = [f if r is None else r for f, r in zip(fresh, results, strict=True)]
    b.eqns.append(Eqn(done.op, done.operands, attrs, tuple(regions), tuple(bound), eqn.loc))
    return bound


# -- for -------------------------------------------------------------------------------------------


def split_for(eqn: Eqn, unknown: Collection[Value], split: SplitTransform) -> Parts:
    (body,) = eqn.regions
    c, k = eqn.attrs["consts"], eqn.attrs["carries"]
    n, rest = eqn.operands[0], eqn.operands[1:]
    params = body.params[1:]
    hidden = [v in unknown for v in rest]
    fixed = frozenset(p for p, u in zip(params[:c], hidden) if not u)
    free = fixed | {body.params[0]}
    given = free | {p for p, u in zip(params[c + k :], hidden[c + k :]) if not u}
    carries = hidden[c : c + k]
    while True:
        hidden[c : c + k] = carries
        forced = [*carries, *[False] * (len(body.results) - k)]
        halves = split(body, [False, *hidden], forced, free, given)
        after = [a or b for a, b in zip(carries, halves.unknown[:k])]
        if after == carries:
            break
        carries = after
    kinds = _sort(halves, fixed, log_all=False)
    outer = dict(zip(params, rest))
    before = Builder("known")
    with before:
        tapes = _open_tapes(halves, kinds)
        stacked, finals = _known_for(before, eqn, halves, kinds, tapes, hidden)
    after_loop = Builder("linear")
    with after_loop, after_loop.at(eqn.loc):
        firsts = [t.first for t in tapes]
        _linear_for(
            after_loop, eqn, halves, kinds, tapes, hidden, stacked, finals, firsts, outer, n
        )
    moving = [r for r, u in zip(eqn.results, halves.unknown) if u]
    return before.eqns, after_loop.eqns, moving


def _pick(values: Sequence[Value], hidden: Sequence[bool], wanted: bool) -> list[Value]:
    return [v for v, u in zip(values, hidden) if u is wanted]


def _known_for(
    before: Builder,
    eqn: Eqn,
    halves: Halves,
    kinds: _Residuals,
    tapes: Sequence[_Tape],
    hidden: Sequence[bool],
) -> tuple[list[Value], list[Value]]:
    """The loop of the known half; returns its stacked residuals and its tapes."""
    (body,) = eqn.regions
    c, k = eqn.attrs["consts"], eqn.attrs["carries"]
    rest = eqn.operands[1:]
    consts = _pick(rest[:c], hidden[:c], False)
    carries = _pick(rest[c : c + k], hidden[c : c + k], False)
    xs = _pick(rest[c + k :], hidden[c + k :], False)
    known = halves.known.params
    with Builder(body.name) as b:
        b.loc = eqn.loc
        inner = b.params_like(known[: 1 + len(consts) + len(carries)])
        handles = [b.param(t.start.type, "tape") for t in tapes]
        env = dict(zip(known, inner))
        scanned = known[1 + len(consts) + len(carries) :]
        rows = [b.param(substitute_type(p.type, env), p.name) for p in scanned]
        run = _run(halves, kinds, tapes, [*inner, *rows], handles)
        n_carries = len(carries)
        carried, ys = run.results[:n_carries], run.results[n_carries:]
    region = b.build(*carried, *run.tapes, *ys, *run.stacked)
    operands = (eqn.operands[0], *consts, *carries, *(t.start for t in tapes), *xs)
    attrs: dict[str, object] = {
        "consts": len(consts),
        "carries": len(carries) + len(tapes),
        "scans": len(xs),
        "reverse": eqn.attrs["reverse"],
    }
    own = _pick(eqn.results[:k], halves.unknown[:k], False)
    own_ys = _pick(eqn.results[k:], halves.unknown[k:], False)
    names: list[Value | None] = [*own, *[None] * len(tapes), *own_ys, *[None] * len(run.stacked)]
    bound = _bind_as(before, eqn, operands, attrs, (region,), names)
    finals = bound[len(own) : len(own) + len(tapes)]
    return bound[len(bound) - len(run.stacked) :] if run.stacked else [], finals


def _linear_for(
    after: Builder,
    eqn: Eqn,
    halves: Halves,
    kinds: _Residuals,
    tapes: Sequence[_Tape],
    hidden: Sequence[bool],
    stacked: Sequence[Value],
    finals: Sequence[Value],
    firsts: Sequence[Value | None],
    outer: dict[Value, Value],
    n: Value,
) -> None:
    """The loop of the linear half."""
    (body,) = eqn.regions
    c, k = eqn.attrs["consts"], eqn.attrs["carries"]
    rest, params = eqn.operands[1:], body.params[1:]
    fixed = [r for r in halves.residuals if r in params[:c]]
    scanned = [r for r in halves.residuals if r in params[c + k :]]
    starts = [v for v in firsts if v is not None]
    u_consts = _pick(rest[:c], hidden[:c], True)
    u_carries = _pick(rest[c : c + k], hidden[c : c + k], True)
    u_xs = _pick(rest[c + k :], hidden[c + k :], True)
    consts = [n, *(outer[r] for r in fixed), *finals, *starts, *u_consts]
    xs = [*stacked, *(outer[r] for r in scanned), *u_xs]
    with Builder(body.name) as b:
        b.loc = eqn.loc
        i = b.param(INDEX, body.params[0].name or "i")
        both = b.params_like([*consts, *u_carries])
        env = dict(zip([*consts, *u_carries], both))
        rows = [
            b.param(substitute_type(x.array_type.with_dims(x.dims[1:]), env), x.name) for x in xs
        ]
        inner, carried = both[: len(consts)], both[len(consts) :]
        trips, given = inner[0], iter(inner[1:])
        found: dict[Value, Value] = {body.params[0]: i}
        found.update((r, next(given)) for r in fixed)
        handles = [next(given) for _ in finals]
        offsets = [next(given) for _ in starts]
        found.update(zip([*kinds.stacked, *scanned], rows))
        step = sub(sub(trips, i), 1) if eqn.attrs["reverse"] else i
        position = add(offsets[0], step) if offsets else step
        found.update(_recorded(kinds, tapes, handles, position))
        args = _residual_args(halves, found)
        moving = [*given, *carried, *rows[len(rows) - len(u_xs) :]] if u_xs else [*given, *carried]
        results = b.inline(halves.linear, [*args, *moving])
    region = b.build(*results)
    attrs: dict[str, object] = {
        "consts": len(consts),
        "carries": len(u_carries),
        "scans": len(xs),
        "reverse": eqn.attrs["reverse"],
    }
    own = [r for r, u in zip(eqn.results, halves.unknown) if u]
    _bind_as(after, eqn, (n, *consts, *u_carries, *xs), attrs, (region,), own)


# -- while -----------------------------------------------------------------------------------------


def split_while(eqn: Eqn, unknown: Collection[Value], split: SplitTransform) -> Parts:
    _, body = eqn.regions
    c = eqn.attrs["consts"]
    hidden = [v in unknown for v in eqn.operands]
    fixed = frozenset(p for p, u in zip(body.params[:c], hidden) if not u)
    carries = hidden[c:]
    while True:
        hidden[c:] = carries
        halves = split(body, hidden, carries, fixed, fixed)
        after = [a or b for a, b in zip(carries, halves.unknown)]
        if after == carries:
            break
        carries = after
    kinds = _sort(halves, fixed, log_all=True)
    before = Builder("known")
    with before:
        tapes = _open_tapes(halves, kinds)
        count, finals = _known_while(before, eqn, halves, kinds, tapes, hidden)
    linear = Builder("linear")
    with linear, linear.at(eqn.loc):
        _linear_while(linear, eqn, halves, kinds, tapes, hidden, count, finals)
    return before.eqns, linear.eqns, [r for r, u in zip(eqn.results, carries) if u]


def _known_while(
    before: Builder,
    eqn: Eqn,
    halves: Halves,
    kinds: _Residuals,
    tapes: Sequence[_Tape],
    hidden: Sequence[bool],
) -> tuple[Value, list[Value]]:
    """The loop of the known half, which also counts its steps."""
    cond, body = eqn.regions
    c = eqn.attrs["consts"]
    consts = _pick(eqn.operands[:c], hidden[:c], False)
    carries = _pick(eqn.operands[c:], hidden[c:], False)
    types = [t.start.type for t in tapes]
    with Builder(body.name) as b:
        b.loc = eqn.loc
        inner = b.params_like(halves.known.params)
        steps = b.param(INDEX, "steps")
        handles = [b.param(t, "tape") for t in types]
        run = _run(halves, kinds, tapes, inner, handles)
        following = add(steps, 1)
    region = b.build(*run.results, following, *run.tapes)
    with Builder(cond.name) as b:
        params = b.params_like(halves.known.params)
        b.param(INDEX, "steps")
        for t in types:
            b.param(t, "tape")
        at = iter(params)
        args = [None if u else next(at) for u in hidden]
        (holds,) = _inline_partly(b, cond, args)
    test = b.build(holds)
    operands = (*consts, *carries, index(0), *(t.start for t in tapes))
    attrs: dict[str, object] = {"consts": len(consts), "carries": len(operands) - len(consts)}
    own = _pick(eqn.results, hidden[c:], False)
    names: list[Value | None] = [*own, None, *[None] * len(tapes)]
    bound = _bind_as(before, eqn, operands, attrs, (test, region), names)
    return bound[len(own)], bound[len(own) + 1 :]


def _inline_partly(b: Builder, f: Function, args: Sequence[Value | None]) -> list[Value]:
    """Inline f where what its results need does not depend on the missing args."""
    needed = set(f.results)
    wanted: list[Eqn] = []
    for eqn in reversed(f.eqns):
        if any(r in needed for r in eqn.results):
            wanted.append(eqn)
            needed.update(eqn.operands)
    env = {p: a for p, a in zip(f.params, args) if a is not None}
    for eqn in reversed(wanted):
        env.update(zip(eqn.results, b.rebind(eqn, [env.get(v, v) for v in eqn.operands])))
    return [env.get(v, v) for v in f.results]


def _linear_while(
    linear: Builder,
    eqn: Eqn,
    halves: Halves,
    kinds: _Residuals,
    tapes: Sequence[_Tape],
    hidden: Sequence[bool],
    count: Value,
    finals: Sequence[Value],
) -> None:
    """The linear half of a `while`: a `for` over its records."""
    _, body = eqn.regions
    c = eqn.attrs["consts"]
    outer = dict(zip(body.params, eqn.operands))
    fixed = [r for r in halves.residuals if r in body.params[:c]]
    starts = [t.first for t in tapes if t.first is not None]
    u_consts = _pick(eqn.operands[:c], hidden[:c], True)
    u_carries = _pick(eqn.operands[c:], hidden[c:], True)
    consts = [*(outer[r] for r in fixed), *finals, *starts, *u_consts]

    with Builder(body.name) as b:
        b.loc = eqn.loc
        i = b.param(INDEX, "i")
        given = iter(b.params_like([*consts, *u_carries]))
        found = {r: next(given) for r in fixed}
        handles = [next(given) for _ in finals]
        offsets = [next(given) for _ in starts]
        position = add(offsets[0], i) if offsets else i
        found.update(_recorded(kinds, tapes, handles, position))
        results = b.inline(halves.linear, [*_residual_args(halves, found), *given])
    region = b.build(*results)
    attrs: dict[str, object] = {
        "consts": len(consts),
        "carries": len(u_carries),
        "scans": 0,
        "reverse": False,
    }
    own = _pick(eqn.results, hidden[c:], True)
    _bind_as(
        linear, eqn, (count, *consts, *u_carries), attrs, (region,), own, registry("array")["for"]
    )


# -- if --------------------------------------------------------------------------------------------


def split_if(eqn: Eqn, unknown: Collection[Value], split: SplitTransform) -> Parts:
    pred, rest = eqn.operands[0], eqn.operands[1:]
    hidden = [v in unknown for v in rest]
    forced = [False] * len(eqn.results)
    for region in eqn.regions:
        out = split(region, hidden, forced).unknown
        forced = [a or b for a, b in zip(forced, out)]
    arms: list[Halves] = []
    for region in eqn.regions:
        known = frozenset(p for p, u in zip(region.params, hidden) if not u)
        arms.append(split(region, hidden, forced, known, known))
    kinds = [_sort(arm, (), log_all=False) for arm in arms]
    before = Builder("known")
    with before:
        tapes = [_open_tapes(arm, kind) for arm, kind in zip(arms, kinds)]
        stacked, finals = _known_if(before, eqn, arms, kinds, tapes, hidden, forced)
    linear = Builder("linear")
    with linear, linear.at(eqn.loc):
        _linear_if(linear, eqn, arms, kinds, tapes, hidden, stacked, finals, pred)
    return before.eqns, linear.eqns, [r for r, u in zip(eqn.results, forced) if u]


def _known_if(
    before: Builder,
    eqn: Eqn,
    arms: Sequence[Halves],
    kinds: Sequence[_Residuals],
    tapes: Sequence[Sequence[_Tape]],
    hidden: Sequence[bool],
    forced: Sequence[bool],
) -> tuple[list[Value], list[Value]]:
    """The branch of the known halves: each arm fills in zeros for what the other one saves."""
    operands = _pick(eqn.operands[1:], hidden, False)
    everything = [t for ts in tapes for t in ts]
    regions: list[Function] = []
    for number, (arm, kind, own) in enumerate(zip(arms, kinds, tapes)):
        with Builder(eqn.regions[number].name) as b:
            b.loc = eqn.loc
            inner = b.params_like(arm.known.params)
            handles = {id(t): b.param(t.start.type, "tape") for t in everything}
            run = _run(arm, kind, own, inner, [handles[id(t)] for t in own])
            handles.update((id(t), h) for t, h in zip(own, run.tapes))
            saved: list[Value] = []
            for other, other_kind in enumerate(kinds):
                if other == number:
                    saved += run.stacked
                else:
                    saved += [zeros_like(r.array_type) for r in other_kind.stacked]
        regions.append(b.build(*run.results, *handles.values(), *saved))
    own_results = _pick(eqn.results, forced, False)
    count = len(everything) + sum(len(kind.stacked) for kind in kinds)
    names: list[Value | None] = [*own_results, *[None] * count]
    args = (eqn.operands[0], *operands, *(t.start for t in everything))
    bound = _bind_as(before, eqn, args, {}, regions, names)
    first = len(own_results)
    return bound[first + len(everything) :], bound[first : first + len(everything)]


def _linear_if(
    linear: Builder,
    eqn: Eqn,
    arms: Sequence[Halves],
    kinds: Sequence[_Residuals],
    tapes: Sequence[Sequence[_Tape]],
    hidden: Sequence[bool],
    stacked: Sequence[Value],
    finals: Sequence[Value],
    pred: Value,
) -> None:
    """The branch of the linear halves; both arms take what both need."""
    rest = eqn.operands[1:]
    known = _pick(rest, hidden, False)
    moving = _pick(rest, hidden, True)
    everything = [t for ts in tapes for t in ts]
    starts = [t.first for t in everything if t.first is not None]
    operands = [*known, *stacked, *finals, *starts, *moving]
    regions: list[Function] = []
    for number, (arm, kind, own) in enumerate(zip(arms, kinds, tapes)):
        region = eqn.regions[number]
        with Builder(region.name) as b:
            b.loc = eqn.loc
            inner = iter(b.params_like(operands))
            found = {p: next(inner) for p, u in zip(region.params, hidden) if not u}
            for k in kinds:
                values = [next(inner) for _ in k.stacked]
                if k is kind:
                    found.update(zip(k.stacked, values))
            handles = {id(t): next(inner) for t in everything}
            offsets = {id(t): next(inner) for t in everything if t.first is not None}
            position = next((offsets[id(t)] for t in own if id(t) in offsets), index(0))
            mine = [handles[id(t)] for t in own]
            found.update(_recorded(kind, own, mine, position))
            results = b.inline(arm.linear, [*_residual_args(arm, found), *inner])
        regions.append(b.build(*results))
    own_results = [r for r, u in zip(eqn.results, arms[0].unknown) if u]
    _bind_as(linear, eqn, (pred, *operands), {}, regions, own_results)
