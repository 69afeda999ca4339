"""Derivative rules of control flow.

    %s = for %n, %x, 0.0      jvp:        a `for` that carries %s and %ds
                              transpose:  a `for` that runs backwards and carries the cotangents
                                          of the carries and of what each step reads

A `while` is never transposed: its linear half is a `for`, see `ops.loop_splits`.

The transforms come in as arguments; they are applied to the regions. What a step reads and does not
change (the loop's consts) has its cotangent gathered in place, in a carry.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate as running_sum
from typing import NamedTuple

from jitnet.ir import Builder, Eqn, Function, TapeType, Value, current
from jitnet.ops.lift import accumulate
from jitnet.ops.primitive import JvpTransform, Linear, Tangents, TransposeTransform
from jitnet.ops.tape import beginning, is_read, tangent_type, zero_tangent

Operands = Sequence[Value | Linear]
Accumulators = Sequence[Value | None]


def marks(values: Sequence[object]) -> list[bool]:
    return [v is not None for v in values]


def present(values: Sequence[Value | None]) -> list[Value]:
    return [v for v in values if v is not None]


# -- regions that are run once ---------------------------------------------------------------------


def jvp_region(
    eqn: Eqn, primals: Sequence[Value], tangents: Tangents, jvp: JvpTransform
) -> tuple[Sequence[Value], Tangents]:
    """The same op with its region's jvp."""
    pushed, moving = jvp(eqn.regions[0], marks(tangents))
    names = [r.name for r in eqn.results]
    operands = [*primals, *present(tangents)]
    values = current().bind(eqn.op, operands, eqn.attrs, (pushed,), names)
    return split_results(values, moving)


def transpose_region(
    eqn: Eqn,
    operands: Operands,
    cotangents: Tangents,
    accumulators: Accumulators,
    transpose: TransposeTransform,
) -> Accumulators:
    """The same op with its region's transpose, which adds to the accumulators."""
    linear = [isinstance(v, Linear) for v in operands]
    region = with_results(eqn.regions[0], marks(cotangents))
    back = transpose(region, linear, [a is not None for lin, a in zip(linear, accumulators) if lin])
    given = [*_values(operands), *present(cotangents), *present(accumulators)]
    terms = iter(current().bind(eqn.op, given, eqn.attrs, (back,)))
    return [next(terms) if lin else None for lin in linear]


def jvp_inlined(
    eqn: Eqn, primals: Sequence[Value], tangents: Tangents, jvp: JvpTransform
) -> tuple[Sequence[Value], Tangents]:
    """The equations of the region's jvp."""
    pushed, moving = jvp(eqn.regions[0], marks(tangents))
    values = current().inline(pushed, [*primals, *present(tangents)])
    return split_results(values, moving)


def split_results(
    values: Sequence[Value], moving: Sequence[bool]
) -> tuple[Sequence[Value], Tangents]:
    """Results, and their tangents with None for zeros."""
    count = len(moving)
    moved = iter(values[count:])
    return values[:count], [next(moved) if m else None for m in moving]


def transpose_inlined(
    eqn: Eqn,
    operands: Operands,
    cotangents: Tangents,
    accumulators: Accumulators,
    transpose: TransposeTransform,
) -> Accumulators:
    """The equations of the region's transpose."""
    linear = [isinstance(v, Linear) for v in operands]
    region = with_results(eqn.regions[0], marks(cotangents))
    args = _values(operands)
    back = transpose(region, linear, ())
    return _added(linear, accumulators, current().inline(back, [*args, *present(cotangents)]))


def _added(
    linear: Sequence[bool], accumulators: Accumulators, terms: Sequence[Value]
) -> Accumulators:
    given = iter(terms)
    return [accumulate(a, next(given)) if lin else None for lin, a in zip(linear, accumulators)]


def with_results(f: Function, wanted: Sequence[bool]) -> Function:
    """The Function with some of its results only."""
    results = tuple(v for v, w in zip(f.results, wanted, strict=True) if w)
    return Function(f.name, f.params, f.eqns, results, f.level) if False in wanted else f


# -- if --------------------------------------------------------------------------------------------


def jvp_if(
    eqn: Eqn, primals: Sequence[Value], tangents: Tangents, jvp: JvpTransform
) -> tuple[Sequence[Value], Tangents]:
    tangents = [None, *_tapes_beside(eqn, tangents[1:], jvp)]
    nonzero = marks(tangents[1:])
    arms = [jvp(region, nonzero) for region in eqn.regions]
    moving = [any(both) for both in zip(*(out for _, out in arms))]
    regions = [with_zeros(f, out, moving) for f, out in arms]
    operands = [*primals, *present(tangents[1:])]
    values = current().bind(eqn.op, operands, {}, regions, [r.name for r in eqn.results])
    return split_results(values, moving)


def _tapes_beside(eqn: Eqn, tangents: Tangents, jvp: JvpTransform) -> Tangents:
    """The tangents, with empty tapes beside those tapes that an arm is the first to push on: the
    arms fill one tape, so neither makes it."""
    filled = list(tangents)
    for place, j in _pushed(eqn.regions).items():
        moves = any(jvp(region, marks(tangents))[1][j] for region in eqn.regions)
        if moves and filled[place] is None:
            filled[place] = zero_tangent(tangent_type(eqn.operands[1 + place].type))
    return filled


def _pushed(regions: Sequence[Function]) -> dict[int, int]:
    """The params that are tapes on which a region pushes, and the results that they become."""
    found: dict[int, int] = {}
    for region in regions:
        for j, r in enumerate(region.results):
            if isinstance(r.type, TapeType) and r not in region.params:
                found[region.params.index(beginning(region, r))] = j
    return found


def _is_linear_tape(v: Value | Linear) -> bool:
    return isinstance(v, Linear) and isinstance(v.type, TapeType)


def with_zeros(f: Function, moving: Sequence[bool], wanted: Sequence[bool]) -> Function:
    """A jvp'd Function with zeros for those wanted tangents that it does not have."""
    if list(moving) == list(wanted):
        return f
    with current().child(f.name) as b:
        values = b.inline(f, b.params_like(f.params))
        results, moved = split_results(values, moving)
        filled = [
            zero_tangent(tangent_type(r.type)) if t is None else t
            for r, t, w in zip(results, moved, wanted)
            if w
        ]
    return b.build(*results, *filled)


def transpose_if(
    eqn: Eqn,
    operands: Operands,
    cotangents: Tangents,
    accumulators: Accumulators,
    transpose: TransposeTransform,
) -> Accumulators:
    pred, *rest = operands
    assert isinstance(pred, Value)
    linear = [isinstance(v, Linear) for v in rest]
    pushed = _pushed(eqn.regions)
    sums = [
        zero_tangent(v.type) if _is_linear_tape(v) and j not in pushed and total is None else total
        for j, (v, total) in enumerate(zip(rest, accumulators[1:]))
    ]
    carried = [a is not None for lin, a in zip(linear, sums) if lin]
    wanted = marks(cotangents)
    regions = [transpose(with_results(region, wanted), linear, carried) for region in eqn.regions]
    args = [*_values(rest), *present(cotangents), *present(sums)]
    values = iter(_bind_if(eqn, pred, args, regions))
    return [None, *(next(values) if lin else None for lin in linear)]


def _bind_if(
    eqn: Eqn, pred: Value, args: Sequence[Value], regions: Sequence[Function]
) -> list[Value]:
    """The results of a branch; what both arms pass on as it is does not go through it."""
    passed = [
        [args[f.params.index(r)] if r in f.params else None for r in f.results] for f in regions
    ]
    around = [a if a is b else None for a, b in zip(*passed)]
    if None not in around:
        return present(around)
    through = [with_results(f, [v is None for v in around]) for f in regions]
    values = iter(current().bind(eqn.op, [pred, *args], {}, through))
    return [next(values) if v is None else v for v in around]


# -- for -------------------------------------------------------------------------------------------


def jvp_for(
    eqn: Eqn, primals: Sequence[Value], tangents: Tangents, jvp: JvpTransform
) -> tuple[Sequence[Value], Tangents]:
    (body,) = eqn.regions
    c, k = eqn.attrs["consts"], eqn.attrs["carries"]
    moved = tangents[1:]
    consts, carries, xs = moved[:c], moved[c : c + k], moved[c + k :]
    moving = marks(carries)
    while True:
        pushed, out = jvp(body, [False, *marks(consts), *moving, *marks(xs)])
        after = [a or b for a, b in zip(moving, out[:k])]
        if after == moving:
            break
        moving = after
    wanted = [*moving, *out[k:]]
    region = _jvp_region(with_zeros(pushed, out, wanted), body, consts, moving, xs, k, wanted)
    rest = primals[1:]
    p_consts, p_carries, p_xs = rest[:c], rest[c : c + k], rest[c + k :]
    starts = _filled(p_carries, carries, moving)
    operands = (primals[0], *p_consts, *present(consts), *p_carries, *starts, *p_xs, *present(xs))
    counts = {
        "consts": c + len(present(consts)),
        "carries": k + len(starts),
        "scans": len(p_xs) + len(present(xs)),
    }
    attrs = {**eqn.attrs, **counts}
    values = current().bind(eqn.op, operands, attrs, (region,), _names(eqn, k, moving))
    return _ordered(values, k, moving, out[k:])


def _filled(primals: Sequence[Value], tangents: Tangents, moving: Sequence[bool]) -> list[Value]:
    """Tangents of carries on entry; zeros where only a later step makes them move."""
    filled: list[Value] = []
    for v, t, m in zip(primals, tangents, moving):
        if m:
            filled.append(zero_tangent(tangent_type(v.type)) if t is None else t)
    return filled


def _names(eqn: Eqn, k: int, moving: Sequence[bool]) -> list[str]:
    names = [r.name for r in eqn.results[:k]]
    return [*names, *(f"d{n}" if n else "" for n, m in zip(names, moving) if m)]


def _jvp_region(
    pushed: Function,
    body: Function,
    consts: Tangents,
    moving: Sequence[bool],
    xs: Tangents,
    k: int,
    wanted: Sequence[bool],
) -> Function:
    """A loop's region with tangents beside their primals: consts, carries, xs."""
    c = len(consts)
    count = len(body.params)
    names = iter(pushed.params[count:])
    t_consts = [next(names) for t in consts if t is not None]
    t_carries = [next(names) for m in moving if m]
    t_xs = list(names)
    primal = pushed.params[:count]
    order = (*primal[: 1 + c], *t_consts, *primal[1 + c : 1 + c + k], *t_carries)
    order = (*order, *primal[1 + c + k :], *t_xs)
    results, tangents = split_results(pushed.results, wanted)
    carried = (*results[:k], *present(tangents[:k]))
    stacked = (*results[k:], *present(tangents[k:]))
    return Function(body.name, order, pushed.eqns, (*carried, *stacked))


def _ordered(
    values: Sequence[Value], k: int, moving: Sequence[bool], ys_moving: Sequence[bool]
) -> tuple[Sequence[Value], Tangents]:
    """Results and tangents of a jvp'd loop, from carries, tangents, ys, tangents."""
    n_moving = sum(moving)
    carries, rest = values[:k], values[k:]
    t_carries, rest = iter(rest[:n_moving]), rest[n_moving:]
    ys, t_ys = rest[: len(ys_moving)], iter(rest[len(ys_moving) :])
    tangents = [next(t_carries) if m else None for m in moving]
    tangents += [next(t_ys) if m else None for m in ys_moving]
    return [*carries, *ys], tangents


def transpose_for(
    eqn: Eqn,
    operands: Operands,
    cotangents: Tangents,
    accumulators: Accumulators,
    transpose: TransposeTransform,
) -> Accumulators:
    """A `for` the other way round, which carries the cotangents of carries and of consts.

    Every carry of a linear loop is linear, even if it starts as a known zero: what then comes out
    for its start is dropped. One that no step changes is a const, before and after.
    """
    n, *rest = operands
    assert isinstance(n, Value)
    back = _transpose_body(eqn, rest, cotangents, transpose)
    totals = list(accumulators[1:])
    for j, ct in back.kept.items():
        totals[j] = ct if totals[j] is None else accumulate(totals[j], ct)
    starts = {j: _or_zero(ct, rest[j]) for j, ct in back.ends.items()}
    sums = {j: _or_zero(totals[j], rest[j]) for j in back.summed}
    still = [j for j in back.ends if j not in back.moving]
    known = [*back.known, *(starts[j] for j in still)]
    carries = [*(starts[j] for j in back.moving), *sums.values()]
    xs = [*back.known_xs, *present(cotangents[eqn.attrs["carries"] :])]
    attrs = {
        "consts": len(known),
        "carries": len(carries),
        "scans": len(xs),
        "reverse": not eqn.attrs["reverse"],
    }
    values = current().bind(eqn.op, (n, *known, *carries, *xs), attrs, (back.step,))
    out: dict[int, Value | None] = {**starts, **dict(zip([*back.moving, *sums, *back.xs], values))}
    for j in out.keys() - sums.keys():
        out[j] = accumulate(totals[j], out[j])
    return [None, *(out.get(j) if isinstance(v, Linear) else None for j, v in enumerate(rest))]


class _Back(NamedTuple):
    """A step the other way round. Operands go by their positions after the trip count.

    Attributes:
        step: `(i, known and unmoved cotangents, moving ones, sums, known xs, cotangents of ys) ->
            (moving ones, sums, cotangents of xs)`.
        known, known_xs: what is not linear.
        summed, xs: the linear ones.
        ends: the carries with the cotangents of what they become.
        moving: those of them whose cotangents a step changes.
        kept: linear carries that no step changes, with the cotangents of what they become.
    """

    step: Function
    known: list[Value]
    known_xs: list[Value]
    summed: list[int]
    xs: list[int]
    ends: dict[int, Value | None]
    moving: list[int]
    kept: dict[int, Value | None]


def _transpose_body(
    eqn: Eqn, rest: Operands, cotangents: Tangents, transpose: TransposeTransform
) -> _Back:
    (body,), c = eqn.regions, eqn.attrs["consts"]
    k = c + eqn.attrs["carries"]
    i, *params = body.params
    kept = [j for j in range(c, k) if params[j] is body.results[j - c]]
    consts, carries = [*range(c), *kept], [j for j in range(c, k) if j not in kept]
    order = [*consts, *carries, *range(k, len(rest))]
    linear = {j: j in carries or isinstance(rest[j], Linear) for j in order}
    # a tape whose records nobody reads is not carried back
    ends = {j: cotangents[j - c] for j in carries}
    ends = {j: ct for j, ct in ends.items() if ct or not _is_unread(body, params[j])}
    ys = [r for r, ct in zip(body.results[k - c :], cotangents[k - c :]) if ct is not None]
    results = (*(body.results[j - c] for j in ends), *ys)
    region = Function(body.name, (i, *(params[j] for j in order)), body.eqns, results)
    summed, xs = [j for j in consts if linear[j]], order[len(consts + carries) :]
    back = transpose(region, [False, *(linear[j] for j in order)], [True] * len(summed))
    known = [v for j in consts if isinstance(v := rest[j], Value)]
    known_xs = [v for j in xs if isinstance(v := rest[j], Value)]
    counts = (1, len(known), len(known_xs), len(ends), len(ys), len(summed))
    p_i, p_known, p_xs, p_cts, p_ys, p_sums = cut(back.params, counts)
    xs = [j for j in xs if linear[j]]
    r_sums, r_cts, r_xs = cut(back.results, (len(summed), len(carries), len(xs)))
    before, after = dict(zip(ends, p_cts)), dict(zip(carries, r_cts))
    moving = [j for j in ends if after[j] is not before[j]]
    still = [before[j] for j in ends if j not in moving]
    takes = (*p_i, *p_known, *still, *(before[j] for j in moving), *p_sums, *p_xs, *p_ys)
    gives = (*(after[j] for j in moving), *r_sums, *r_xs)
    step = Function(body.name, takes, back.eqns, gives)
    ends_of_kept = {j: cotangents[j - c] for j in kept if linear[j]}
    return _Back(step, known, known_xs, summed, xs, ends, moving, ends_of_kept)


def _is_unread(body: Function, p: Value) -> bool:
    return isinstance(p.type, TapeType) and not is_read(body, p)


def _or_zero(ct: Value | None, like: Value | Linear) -> Value:
    return zero_tangent(like.type) if ct is None else ct


def _values(operands: Operands) -> list[Value]:
    return [v for v in operands if isinstance(v, Value)]


def cut(values: Sequence[Value], counts: Sequence[int]) -> list[Sequence[Value]]:
    """The values in consecutive parts of these lengths."""
    ends = list(running_sum(counts))
    assert ends[-1] == len(values), f"{len(values)} values in parts of {counts}"
    return [values[end - count : end] for end, count in zip(ends, counts)]


# -- while -----------------------------------------------------------------------------------------


def jvp_while(
    eqn: Eqn, primals: Sequence[Value], tangents: Tangents, jvp: JvpTransform
) -> tuple[Sequence[Value], Tangents]:
    cond, body = eqn.regions
    c = eqn.attrs["consts"]
    consts, carries = tangents[:c], tangents[c:]
    k = len(carries)
    moving = marks(carries)
    while True:
        pushed, out = jvp(body, [*marks(consts), *moving])
        after = [a or b for a, b in zip(moving, out)]
        if after == moving:
            break
        moving = after
    pushed = with_zeros(pushed, out, moving)
    count = len(body.params)
    t_consts = pushed.params[count : count + len(present(consts))]
    t_carries = pushed.params[count + len(t_consts) :]
    order = (*pushed.params[:c], *t_consts, *pushed.params[c:count], *t_carries)
    region = Function(body.name, order, pushed.eqns, pushed.results)
    test = _wider_condition(cond, region, c, len(t_consts))
    starts = _filled(primals[c:], carries, moving)
    operands = (*primals[:c], *present(consts), *primals[c:], *starts)
    attrs = {**eqn.attrs, "consts": c + len(t_consts), "carries": k + len(starts)}
    values = current().bind(eqn.op, operands, attrs, (test, region), _names(eqn, k, moving))
    return split_results(values, moving)


def _wider_condition(cond: Function, body: Function, c: int, extra: int) -> Function:
    """The condition, taking the tangents that it does not look at."""
    with Builder(cond.name) as b:
        params = b.params_like(body.params)
        carries = params[c + extra :]
        (holds,) = b.inline(cond, [*params[:c], *carries[: len(cond.params) - c]])
    return b.build(holds)
