"""Batching rules of control flow, and of checks.

    %y = if %p, %x       %p the same in all lanes: an `if` whose arms compute for all of them
                         %p: bool[8]: both arms, and a `select`
    %s = for %n, %s0     %n the same in all lanes: one loop, its carries batched
    %s = while ...       lanes that have finished keep their values, while any goes on

Where lanes part, what a lane does not take is computed for it nevertheless, of values that it was
not meant for. That is right where everything is defined for all values, and cheap where it has no
loops. Other branches and loops run lane by lane, each lane on its own way: then a check in an arm
fires for the lanes that take it, and no index is out of bounds in the others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from jitnet.ir import (
    ArrayType,
    Dim,
    Effect,
    Eqn,
    Function,
    Literal,
    TapeType,
    Value,
    current,
    effect_of,
    index,
    registry,
)
from jitnet.ir import types as T
from jitnet.ops.lanes import (
    LANE,
    Batched,
    bound,
    differs,
    extent_operands,
    is_dense,
    moved,
    spread,
    stretched,
)
from jitnet.ops.lift import select, sub
from jitnet.ops.pointwise import lt
from jitnet.ops.primitive import BatchTransform, Primitive

Flags = tuple[bool, ...]

# -- lanes that part -------------------------------------------------------------------------------


def _is_total(f: Function) -> bool:
    """Whether a region is defined for all values, ends, and makes no arrays of computed extents:
    what it computes for lanes that do not ask for it may be anything."""
    known = {d for p in f.params for d in p.type.symbolic}
    for eqn in f.eqns:
        assert isinstance(eqn.op, Primitive)
        if effect_of(eqn) > Effect.PURE or not eqn.op.total(eqn):
            return False
        if any(d not in known for r in eqn.results for d in r.type.symbolic):
            return False
    return all(_is_total(region) for eqn in f.eqns for region in eqn.regions)


def _may_be_taken(arm: Function) -> bool:
    """Whether an arm may be computed for lanes that do not take it: it does them no harm, logs
    nothing, and is short."""
    logs = any(isinstance(r.type, TapeType) for r in arm.results)
    loops = any(eqn.op.name == "for" for eqn in arm.walk())
    return not logs and not loops and _is_total(arm)


def _choice(mask: Value, x: Value, y: Value, batched: bool, extent: Dim) -> Value:
    """x in the lanes where `mask` holds, else y."""
    if x == y:
        return x
    x, y = (v if batched or isinstance(v, Literal) else spread(v, extent) for v in (x, y))
    dims = next((v.dims for v in (x, y) if not isinstance(v, Literal)), (extent,))
    return select(stretched(mask, dims, (0,)), x, y)


def _extents_differ(eqn: Eqn, batched: Sequence[bool]) -> bool:
    """Whether a result has other extents in other lanes, where these results are batched."""
    on = {r for r, b in zip(eqn.results, batched) if b}
    return any(differs(r, on) for r in eqn.results)


def _spread_where(
    wanted: Sequence[bool], values: Sequence[Value], batched: Sequence[bool], extent: Dim
) -> list[Value]:
    each = zip(wanted, values, batched, strict=True)
    return [spread(v, extent) if w and not b else v for w, v, b in each]


# -- call, if --------------------------------------------------------------------------------------


def batch_call(
    eqn: Eqn,
    operands: Sequence[Value],
    batched: Sequence[bool],
    extent: Dim,
    batch: BatchTransform,
) -> Batched | None:
    found = batch(eqn.regions[0], batched, ())
    if found is None:
        return None
    return current().inline(found[0], [*extent_operands(extent), *operands]), found[1]


def batch_if(
    eqn: Eqn,
    operands: Sequence[Value],
    batched: Sequence[bool],
    extent: Dim,
    batch: BatchTransform,
) -> Batched | None:
    pred, args = operands[0], [*extent_operands(extent), *operands[1:]]
    if batched[0] and not all(map(_may_be_taken, eqn.regions)):
        return None
    found = _arms(eqn.regions, batched[1:], batch)
    if found is None or _extents_differ(eqn, [b or batched[0] for b in found[1]]):
        return None
    arms, out = found
    if not batched[0]:
        names = [r.name for r in eqn.results]
        return current().bind(eqn.op, (pred, *args), eqn.attrs, arms, names), out
    pairs = list(zip(*(current().inline(arm, args) for arm in arms)))
    values = [_choice(pred, x, y, b, extent) for (x, y), b in zip(pairs, out)]
    return values, [b or x != y for (x, y), b in zip(pairs, out)]


def _arms(
    regions: Sequence[Function], batched: Sequence[bool], batch: BatchTransform
) -> tuple[list[Function], Flags] | None:
    """Both arms over all lanes, with the same results batched."""
    first = [batch(region, batched, ()) for region in regions]
    out = tuple(any(both) for both in zip(*(found[1] for found in first if found)))
    again = [batch(region, batched, out) for region in regions]
    arms = [found[0] for found in again if found]
    return (arms, out) if len(arms) == len(regions) and all(first) else None


# -- which loops are worth it ----------------------------------------------------------------------

_CACHE = 1 << 22  # bytes


def _is_better_apart(eqn: Eqn, step: Function) -> bool:
    """Whether each lane had better run a loop by itself: where lanes do so within a step anyway,
    where each of them writes to another place, and where what is carried of all is too much for the
    cache. Products are worth more than that. Lanes that log in step have to go on so."""
    if is_dense(step) or any(isinstance(r.type, TapeType) for r in eqn.results):
        return False
    body = eqn.regions[-1]
    parts = any(inner.name == LANE for e in step.walk() for inner in e.regions)
    carries = step.params[len(step.params) - eqn.attrs["carries"] - eqn.attrs.get("scans", 0) :]
    scattered = _count(step, "scatter") > _count(body, "scatter")
    return parts or scattered or _is_large(carries[: eqn.attrs["carries"]])


def _count(f: Function, op: str) -> int:
    return sum(eqn.op.name == op for eqn in f.walk())


def _is_large(carries: Sequence[Value]) -> bool:
    """Whether arrays are too large to stay at hand from one step to the next, all lanes of them."""
    types = (v.type for v in carries)
    arrays = [t for t in types if isinstance(t, ArrayType) and t.is_static and t.rank > 1]
    return any(math.prod(t.shape) * t.dtype.itemsize > _CACHE for t in arrays)


# -- loops -----------------------------------------------------------------------------------------


def _settled(
    body: Function,
    before: Sequence[bool],
    carries: Sequence[bool],
    after: Sequence[bool],
    batch: BatchTransform,
) -> tuple[Function, Flags, Flags] | None:
    """A loop's body over all lanes, which of its carries are batched in the end, and which of its
    other results are. Its params are carries with others before and after them."""
    k = len(carries)
    moving = tuple(carries)
    while True:
        found = batch(body, [*before, *moving, *after], moving)
        if found is None:
            return None
        step, out = found
        if out[:k] == moving:
            return step, moving, out[k:]
        moving = out[:k]


def _kept(
    live: Value, after: Sequence[Value], before: Sequence[Value], moving: Sequence[bool]
) -> list[Value]:
    """Carries after a step of the lanes that go on."""
    each = zip(after, before, moving, strict=True)
    return [select(stretched(live, x.dims, (0,)), x, y) if m else y for x, y, m in each]


def _changed(body: Function, carries: Sequence[Value]) -> list[bool] | None:
    """Which carries a step does not return as they came; None where it may not be computed for
    lanes that have finished."""
    changed = [r is not p for r, p in zip(body.results, carries)]
    logs = any(isinstance(p.type, TapeType) and c for p, c in zip(carries, changed))
    return None if logs or not _is_total(body) else changed


def batch_for(
    eqn: Eqn,
    operands: Sequence[Value],
    batched: Sequence[bool],
    extent: Dim,
    batch: BatchTransform,
) -> Batched | None:
    if batched[0]:
        return _part_in_for(eqn, operands, batched, extent, batch)
    (body,), c, k = eqn.regions, eqn.attrs["consts"], eqn.attrs["carries"]
    flags = batched[1:]
    found = _settled(body, [False, *flags[:c]], flags[c : c + k], flags[c + k :], batch)
    if found is None or _extents_differ(eqn, [*found[1], *found[2]]):
        return None
    step, moving, stacked = found
    if _is_better_apart(eqn, step):
        return None
    lanes = extent_operands(extent)
    n, *rest = operands
    consts = [*lanes, *rest[:c]]
    carries = _spread_where(moving, rest[c : c + k], flags[c : c + k], extent)
    rows = [moved(x, 0, 1) if b else x for x, b in zip(rest[c + k :], flags[c + k :])]
    values = current().bind(
        eqn.op,
        (n, *consts, *carries, *rows),
        {**eqn.attrs, "consts": len(consts)},
        (_index_first(step, len(lanes)),),
        [r.name for r in eqn.results],
    )
    ys = [moved(y, 1, 0) if b else y for y, b in zip(values[k:], stacked)]
    return [*values[:k], *ys], [*moving, *stacked]


def _index_first(step: Function, lanes: int) -> Function:
    """A body of a `for`, whose first param is the index, from one that takes the extent first."""
    extents, i, rest = step.params[:lanes], step.params[lanes], step.params[lanes + 1 :]
    return Function(step.name, (i, *extents, *rest), step.eqns, step.results)


def _part_in_for(
    eqn: Eqn,
    operands: Sequence[Value],
    batched: Sequence[bool],
    extent: Dim,
    batch: BatchTransform,
) -> Batched | None:
    """As many steps as the longest lane takes; lanes that have had theirs keep their carries."""
    (body,), c, k = eqn.regions, eqn.attrs["consts"], eqn.attrs["carries"]
    changed = _changed(body, body.params[1 + c :])
    if len(operands) > 1 + c + k or len(eqn.results) > k or changed is None:
        return None
    flags = batched[1:]
    found = _settled(
        body, [True, *flags[:c]], [a or b for a, b in zip(flags[c:], changed)], (), batch
    )
    if found is None or _extents_differ(eqn, found[1]):
        return None
    step, moving, _ = found
    lanes = extent_operands(extent)
    n, *rest = operands
    consts = [*lanes, n, *rest[:c]]
    carries = _spread_where(moving, rest[c:], flags[c:], extent)
    with current().child(body.name) as b:
        number = b.param(T.scalar(T.i64), body.params[0].name)
        inner = b.params_like([*consts, *carries])
        counts = inner[len(lanes)]
        at = spread(number, counts.dims[0])
        live = lt(at, counts)
        if eqn.attrs["reverse"]:
            at = sub(sub(counts, 1), at)
        after = b.inline(step, [*inner[: len(lanes)], at, *inner[len(lanes) + 1 :]])
        region = b.build(*_kept(live, after, inner[len(consts) :], moving))
    attrs = {**eqn.attrs, "consts": len(consts), "reverse": False}
    longest = bound("reduce_max", (n,), {"axes": (0,)})
    names = [r.name for r in eqn.results]
    values = current().bind(eqn.op, (longest, *consts, *carries), attrs, (region,), names)
    return values, moving


def batch_while(
    eqn: Eqn,
    operands: Sequence[Value],
    batched: Sequence[bool],
    extent: Dim,
    batch: BatchTransform,
) -> Batched | None:
    (cond, body), c = eqn.regions, eqn.attrs["consts"]
    found = _settled(body, batched[:c], batched[c:], (), batch)
    test = found and batch(cond, [*batched[:c], *found[1]], ())
    if found is None or test is None:
        return None
    part = test[1][0]
    if part:
        changed = _changed(body, body.params[c:])
        if changed is None or not _is_total(cond):
            return None
        found = _settled(body, batched[:c], [a or b for a, b in zip(found[1], changed)], (), batch)
        test = found and batch(cond, [*batched[:c], *found[1]], ())
        if found is None or test is None:
            return None
    step, moving, _ = found
    if _extents_differ(eqn, moving) or _is_better_apart(eqn, step):
        return None
    regions = _parting(test[0], step, moving) if part else (test[0], step)
    args = [*extent_operands(extent), *operands[:c]]
    carries = _spread_where(moving, operands[c:], batched[c:], extent)
    attrs = {**eqn.attrs, "consts": len(args)}
    names = [r.name for r in eqn.results]
    return current().bind(eqn.op, (*args, *carries), attrs, regions, names), moving


def _parting(cond: Function, body: Function, moving: Sequence[bool]) -> tuple[Function, Function]:
    """A loop that goes on while any lane does, in which the others keep their carries."""
    with current().child(cond.name) as b:
        (live,) = b.inline(cond, b.params_like(cond.params))
        any_live = bound("reduce_any", (live,), {"axes": (0,)})
    test = b.build(any_live)
    with current().child(body.name) as b:
        params = b.params_like(body.params)
        (live,) = b.inline(cond, params)
        after, before = b.inline(body, params), params[len(params) - len(moving) :]
        return test, b.build(*_kept(live, after, before, moving))


# -- check -----------------------------------------------------------------------------------------


def batch_check(
    eqn: Eqn,
    operands: Sequence[Value],
    batched: Sequence[bool],
    extent: Dim,
    batch: BatchTransform,
) -> Batched:
    """All lanes must hold. The values are those of the first one that does not: they are looked up
    where there is one."""
    ok, *values = operands
    whole = bound("reduce_all", (ok,), {"axes": (0,)}) if batched[0] else ok
    apart = [v for v, b in zip(values, batched[1:]) if b]
    if apart:
        found = iter(_of_first(whole, ok if batched[0] else None, apart, extent))
        values = [next(found) if b else v for v, b in zip(values, batched[1:])]
    return current().rebind(eqn, (whole, *values)), ()


def _of_first(
    whole: Value, ok: Value | None, values: Sequence[Value], extent: Dim
) -> Sequence[Value]:
    """The values in the first lane that is not ok, the very first if `ok` is None; anything where
    all are ok."""
    flags = [] if ok is None else [ok]
    operands = [*extent_operands(extent), *flags, *values]
    with current().child("then") as b:
        b.params_like(operands)
    fine = b.build(*(Literal(0, v.dtype) for v in values))
    with current().child("orelse") as b:
        inner = b.params_like(operands)
        at: Value = index(0)
        rows = inner[len(inner) - len(values) :]
        for given in inner[len(operands) - len(flags) - len(values) : -len(values)]:
            at = bound("argmin", (given,), {"axis": 0})
        failing = b.build(*(bound("gather", (v, at), {"axes": (0,)}) for v in rows))
    return current().bind(registry("array")["if"], (whole, *operands), {}, (fine, failing))
