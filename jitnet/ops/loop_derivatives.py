"""Derivative rules of control flow.

    %s = for %n, %x, 0.0      jvp:        a `for` that carries %s and %ds
                              transpose:  a `for` that runs backwards and carries the cotangents
                                          of the carries and of what each step reads

The transforms come in as arguments; they are applied to the regions. What a step reads and does not
change (the loop's consts) has its cotangent gathered in place, in a carry.
"""

from __future__ import annotations

from collections.abc import Sequence

from jitnet.ir import Builder, Eqn, Function, Value, current
from jitnet.ops.lift import accumulate
from jitnet.ops.primitive import JvpTransform, Linear, Tangents, TransposeTransform
from jitnet.ops.tape import tangent_type, zero_tangent

Operands = Sequence[Value | Linear]
Accumulators = Sequence[Value | None]


def marks(values: Sequence[object]) -> list[bool]:
    return [v is not None for v in values]


def present(values: Sequence[Value | None]) -> list[Value]:
    return [v for v in values if v is not None]


# -- call ------------------------------------------------------------------------------------------


def jvp_call(
    eqn: Eqn, primals: Sequence[Value], tangents: Tangents, jvp: JvpTransform
) -> tuple[Sequence[Value], Tangents]:
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


def transpose_call(
    eqn: Eqn,
    operands: Operands,
    cotangents: Tangents,
    accumulators: Accumulators,
    transpose: TransposeTransform,
) -> Accumulators:
    linear = [isinstance(v, Linear) for v in operands]
    region = with_results(eqn.regions[0], marks(cotangents))
    args = [v for v in operands if isinstance(v, Value)]
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
    return Function(f.name, f.params, f.eqns, results, f.level)


# -- if --------------------------------------------------------------------------------------------


def jvp_if(
    eqn: Eqn, primals: Sequence[Value], tangents: Tangents, jvp: JvpTransform
) -> tuple[Sequence[Value], Tangents]:
    nonzero = marks(tangents[1:])
    arms = [jvp(region, nonzero) for region in eqn.regions]
    moving = [any(both) for both in zip(*(out for _, out in arms))]
    regions = [with_zeros(f, out, moving) for f, out in arms]
    operands = [*primals, *present(tangents[1:])]
    values = current().bind(eqn.op, operands, {}, regions, [r.name for r in eqn.results])
    return split_results(values, moving)


def with_zeros(f: Function, moving: Sequence[bool], wanted: Sequence[bool]) -> Function:
    """A jvp'd Function with zeros for those wanted tangents that it does not have."""
    if list(moving) == list(wanted):
        return f
    with Builder(f.name) as b:
        b.loc = current().loc
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
    carried = [a is not None for lin, a in zip(linear, accumulators[1:]) if lin]
    wanted = marks(cotangents)
    regions = [transpose(with_results(region, wanted), linear, carried) for region in eqn.regions]
    known = [v for v in rest if isinstance(v, Value)]
    args = [pred, *known, *present(cotangents), *present(accumulators[1:])]
    values = iter(current().bind(eqn.op, args, {}, regions))
    return [None, *(next(values) if lin else None for lin in linear)]


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
    attrs = {
        "consts": c + len(present(consts)),
        "carries": k + len(starts),
        "scans": len(p_xs) + len(present(xs)),
        "reverse": eqn.attrs["reverse"],
    }
    values = current().bind(eqn.op, operands, attrs, (region,), _names(eqn, k, moving))
    return _ordered(values, k, moving, out[k:])


def _filled(
    primals: Sequence[Value], tangents: Tangents, moving: Sequence[bool]
) -> list[Value]:
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
    (body,) = eqn.regions
    c, k = eqn.attrs["consts"], eqn.attrs["carries"]
    n, rest = operands[0], operands[1:]
    assert isinstance(n, Value)
    linear = [isinstance(v, Linear) for v in rest]
    assert all(linear[c : c + k]), "every carry of a linear loop is linear"
    used = [True] * k + marks(cotangents[k:])
    body = with_results(body, used)
    gathered = [linear[i] and i < c for i in range(len(rest)) if linear[i]]
    back = transpose(body, [False, *linear], gathered)
    known = [v for v in rest[:c] if isinstance(v, Value)]
    scanned = [v for v in rest[c + k :] if isinstance(v, Value)]
    region = _reversed_region(body, back, linear, c, k, len(present(cotangents[k:])))
    starts = _started(cotangents[:k], rest[c : c + k])
    sums = _started(accumulators[1 : 1 + c], rest[:c])
    args = (n, *known, *starts, *sums, *scanned, *present(cotangents[k:]))
    attrs = {
        "consts": len(known),
        "carries": k + len(sums),
        "scans": len(scanned) + len(present(cotangents[k:])),
        "reverse": not eqn.attrs["reverse"],
    }
    values = current().bind(eqn.op, args, attrs, (region,))
    carried, summed, stacked = (
        values[:k],
        iter(values[k : k + len(sums)]),
        iter(values[k + len(sums) :]),
    )
    out: list[Value | None] = [None]
    for i, lin in enumerate(linear):
        if not lin:
            out.append(None)
        elif i < c:
            out.append(next(summed))
        elif i < c + k:
            out.append(accumulate(accumulators[1 + i], carried[i - c]))
        else:
            out.append(accumulate(accumulators[1 + i], next(stacked)))
    return out


def _started(cts: Tangents, operands: Operands) -> list[Value]:
    """The cotangents of the linear ones among the operands, zeros where there are none yet."""
    pairs = ((ct, v) for ct, v in zip(cts, operands) if isinstance(v, Linear))
    return [zero_tangent(v.type) if ct is None else ct for ct, v in pairs]


def _reversed_region(
    body: Function, back: Function, linear: Sequence[bool], c: int, k: int, n_ys: int
) -> Function:
    """The transposed step as a loop's region.

    `back` takes i, the known consts and xs, the cotangents of carries and ys, the sums so far; it
    returns the cotangents of the linear consts (summed), carries and xs.
    """
    n_known = sum(not lin for lin in linear[:c])
    n_scanned = sum(not lin for lin in linear[c + k :])
    params = back.params
    i, known = params[0], params[1 : 1 + n_known]
    scanned = params[1 + n_known : 1 + n_known + n_scanned]
    rest = params[1 + n_known + n_scanned :]
    cts, ct_ys, sums = rest[:k], rest[k : k + n_ys], rest[k + n_ys :]
    n_sums = len(sums)
    summed, carried, stacked = (
        back.results[:n_sums],
        back.results[n_sums : n_sums + k],
        back.results[n_sums + k :],
    )
    order = (i, *known, *cts, *sums, *scanned, *ct_ys)
    return Function(body.name, order, back.eqns, (*carried, *summed, *stacked))


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
    attrs = {"consts": c + len(t_consts), "carries": k + len(starts)}
    values = current().bind(eqn.op, operands, attrs, (test, region), _names(eqn, k, moving))
    return split_results(values, moving)


def _wider_condition(cond: Function, body: Function, c: int, extra: int) -> Function:
    """The condition, taking the tangents that it does not look at."""
    with Builder(cond.name) as b:
        params = b.params_like(body.params)
        carries = params[c + extra :]
        (holds,) = b.inline(cond, [*params[:c], *carries[: len(cond.params) - c]])
    return b.build(holds)
