"""Reverse mode's second half: the transpose of a linear Function.

    func @f(%c: f64[3], %t: f64[3]) -> (f64)       func @f(%c: f64[3], %ct: f64) -> (f64[3])
      %0 = zmul %c, %t                        →      %1 = broadcast %ct, 3
      %1 = reduce_sum %0 {axes=(0,)}                 %2 = zmul %c, %1
      return %1                                      return %2

Equations are visited backwards. The cotangent of a value is gathered in an accumulator that rules
receive and return updated: contributions to a slice are added in place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jitnet.ir import Builder, Eqn, Function, Value, as_dim, current, index, substitute_type
from jitnet.ops.lift import accumulate
from jitnet.ops.primitive import Linear, Primitive, TransposeTransform
from jitnet.ops.rewinding import PEEK, REWIND, REWOUND
from jitnet.ops.shape import RESHAPE, TRANSPOSE
from jitnet.ops.slicing import SLICE
from jitnet.ops.tape import zero_tangent


def transpose(f: Function, linear: Sequence[bool], carried: Sequence[bool] = ()) -> Function:
    """The transpose of f in the params marked `linear`, in which it must be linear.

    It takes the other params, then a cotangent for each result, then an accumulator for each linear
    param marked in `carried` (by position among the linear ones); it returns the cotangents of the
    linear params, added to their accumulators.
    """
    done: dict[Any, tuple[Function, Function]] = {}

    def once(f: Function, linear: Sequence[bool], carried: Sequence[bool] = ()) -> Function:
        """Calls ask for the transpose of one Function again and again: they get one and the same,
        for the same ones of its results."""
        key = (id(f.eqns), f.params, f.results, tuple(linear), tuple(carried))
        if key not in done:
            done[key] = f, _transpose(f, linear, carried, once)
        return done[key][1]

    return once(f, linear, carried)


def _transpose(
    f: Function, linear: Sequence[bool], carried: Sequence[bool], transpose: TransposeTransform
) -> Function:
    chosen = [p for p, lin in zip(f.params, linear, strict=True) if lin]
    moving, late = _parts(f, chosen)
    with Builder(f.name) as b:
        env: dict[Value, Value] = {}
        for p, lin in zip(f.params, linear):
            if not lin:
                env[p] = b.param(substitute_type(p.type, env), p.name)
        kinds = (moving, late)
        known = [e for e in f.eqns if not any(v in k for k in kinds for v in _values(e))]
        given = [b.param(substitute_type(r.type, env), _ct_name(r)) for r in f.results]
        for eqn in known:
            env.update(zip(eqn.results, b.rebind(eqn, [env.get(v, v) for v in eqn.operands])))
        cts: dict[Value, Value | None] = {}
        for p, brings in zip(chosen, [*carried, *[False] * len(chosen)]):
            if brings:
                cts[p] = b.param(substitute_type(p.type, env), _ct_name(p))
        for r, ct in zip(f.results, given):
            if r in moving:
                cts[r] = accumulate(cts.get(r), ct)
        waiting = [e for e in f.eqns if any(r in late for r in e.results)]
        waiting = _bound(waiting, env, late, cts)
        for eqn in reversed(_reading_late(f.eqns, moving)):
            if eqn.op is REWIND:
                cts[eqn.operands[0]] = env[eqn.operands[1]]
            elif any(r in moving for r in eqn.results):
                _pull(b, eqn, env, moving, cts, transpose)
            if waiting:
                waiting = _bound(waiting, env, late, cts)
        results = [_or_zero(cts.get(p), p, env) for p in chosen]
    return b.build(*results)


def _parts(f: Function, chosen: Sequence[Value]) -> tuple[set[Value], set[Value]]:
    """What depends on the linear params, and what on arrays that are wound back: these are dealt
    with as if they were linear, their contents being their cotangents."""
    moving, late = set(chosen), set[Value]()
    for eqn in f.eqns:
        if eqn.op is REWOUND or (eqn.op is not PEEK and any(v in moving for v in eqn.operands)):
            moving.update(eqn.results)
        elif eqn.op is PEEK or any(v in late for v in eqn.operands):
            late.update(eqn.results)
    return moving, late


def _reading_late(eqns: Sequence[Eqn], moving: set[Value]) -> list[Eqn]:
    """The equations, with views of linear arrays right in front of what reads them first.

    `a[i] = a[i] - w * a[j]` reads `a[i]`, then `a[j]`, then writes. From the end, the cotangent of
    `a[i]` then comes to the place that the write has just cleared, and is there already.

    Boxes of a view are views of boxes, so that few elements are added to the cotangent of what it
    shows, and not the whole of another one."""
    order: list[Eqn] = []
    waiting: dict[Value, Eqn] = {}
    views: dict[Value, list[Value]] = {}

    def wait(eqn: Eqn) -> None:
        waiting[eqn.result] = eqn
        views.setdefault(eqn.operands[0], []).append(eqn.result)

    def place(v: Value) -> None:
        eqn = waiting.pop(v, None)
        if eqn is not None:
            place(eqn.operands[0])
            order.append(eqn)

    for eqn in eqns:
        outer: list[Eqn] = []
        if eqn.op in (SLICE, RESHAPE, TRANSPOSE) and eqn.operands[0] in moving:
            while (parts := _box_first(eqn, waiting.get(eqn.operands[0]))) is not None:
                eqn, *after = parts
                outer = [*after, *outer]
            for part in (eqn, *outer):
                moving.add(part.result)
                wait(part)
            continue
        for v in eqn.operands:
            place(v)
            for view in views.pop(v, ()):
                place(view)
        order.append(eqn)
    for v in list(waiting):
        place(v)
    return order


def _box_first(eqn: Eqn, source: Eqn | None) -> tuple[Eqn, ...] | None:
    """A slice of a view as a slice of what the view shows, then the view of that; None where it is
    no such slice, or the two are not seen to commute."""
    if source is None or eqn.op is not SLICE:
        return None
    if source.op is TRANSPOSE:
        return _box_of_transposed(eqn, source)
    if source.op is RESHAPE:
        return _box_of_reshaped(eqn, source)
    return _box_of_box(eqn, source)


def _box_of_transposed(eqn: Eqn, source: Eqn) -> tuple[Eqn, ...]:
    perm, rank = source.attrs["perm"], source.result.rank
    axes = sorted(range(rank), key=perm.__getitem__)
    starts, sizes = eqn.operands[1 : 1 + rank], eqn.operands[1 + rank :]
    steps = [eqn.attrs["steps"][a] for a in axes]
    box = _box(eqn, source, [starts[a] for a in axes], [sizes[a] for a in axes], steps)
    return box, Eqn(TRANSPOSE, box.results, source.attrs, (), eqn.results, eqn.loc)


def _box_of_reshaped(eqn: Eqn, source: Eqn) -> tuple[Eqn, ...] | None:
    """Of an array without some of its unit axes."""
    dims, rank = source.operands[0].dims, source.result.rank
    kept = [a for a, d in enumerate(dims) if d != 1]
    if tuple(dims[a] for a in kept) != source.result.dims:
        return None
    starts: list[Value] = [index(0)] * len(dims)
    sizes: list[Value] = [index(1)] * len(dims)
    steps = [1] * len(dims)
    for axis, a in enumerate(kept):
        starts[a], sizes[a] = eqn.operands[1 + axis], eqn.operands[1 + rank + axis]
        steps[a] = eqn.attrs["steps"][axis]
    box = _box(eqn, source, starts, sizes, steps)
    operands = (box.result, *eqn.operands[1 + rank :])
    return box, Eqn(RESHAPE, operands, {}, (), eqn.results, eqn.loc)


def _box_of_box(eqn: Eqn, source: Eqn) -> tuple[Eqn, ...] | None:
    """Where one of the two begins at 0, along each axis."""
    rank = source.result.rank
    pairs = list(zip(eqn.operands[1 : 1 + rank], source.operands[1 : 1 + rank]))
    if any(s != 1 for s in source.attrs["steps"]) or any(index(0) not in p for p in pairs):
        return None
    starts = [inner if outer == index(0) else outer for outer, inner in pairs]
    operands = (source.operands[0], *starts, *eqn.operands[1 + rank :])
    return (Eqn(SLICE, operands, eqn.attrs, (), eqn.results, eqn.loc),)


def _box(
    eqn: Eqn, source: Eqn, starts: Sequence[Value], sizes: Sequence[Value], steps: Sequence[int]
) -> Eqn:
    """A slice of what a view shows."""
    x = source.operands[0]
    type = x.array_type.with_dims(tuple(map(as_dim, sizes)))
    operands = (x, *starts, *sizes)
    return Eqn(SLICE, operands, {"steps": tuple(steps)}, (), (Value(type),), eqn.loc)


def _values(eqn: Eqn) -> tuple[Value, ...]:
    return (*eqn.operands, *eqn.results)


def _bound(
    waiting: Sequence[Eqn],
    env: dict[Value, Value],
    late: set[Value],
    cts: dict[Value, Value | None],
) -> list[Eqn]:
    """Compute what is there to be computed, now that an array has been wound back to where it is;
    the equations that still have to wait."""
    left: list[Eqn] = []
    for eqn in waiting:
        if eqn.op is PEEK:
            now = cts.get(eqn.operands[0])
            if now is not None:
                env[eqn.result] = now
        elif all(v in env for v in eqn.operands if v in late):
            operands = [env.get(v, v) for v in eqn.operands]
            env.update(zip(eqn.results, current().rebind(eqn, operands)))
        if eqn.results[0] not in env:
            left.append(eqn)
    return left


def _ct_name(v: Value) -> str:
    """The cotangent of %dx, the tangent of %x, is %ct_x."""
    return f"ct_{v.name.removeprefix('d') or v.name}" if v.name else ""


def _or_zero(ct: Value | None, p: Value, env: dict[Value, Value]) -> Value:
    return zero_tangent(substitute_type(p.type, env)) if ct is None else ct


def _pull(
    b: Builder,
    eqn: Eqn,
    env: dict[Value, Value],
    moving: set[Value],
    cts: dict[Value, Value | None],
    transpose: TransposeTransform,
) -> None:
    """Add an equation's contributions to the cotangents of its operands."""
    given = [cts.pop(r, None) for r in eqn.results]
    if all(ct is None for ct in given):
        return
    op = eqn.op
    assert isinstance(op, Primitive)
    operands: list[Value | Linear] = []
    sums: list[Value | None] = []
    seen: set[Value] = set()
    for v in eqn.operands:
        if v not in moving:
            operands.append(env.get(v, v))
            sums.append(None)
            continue
        operands.append(Linear(substitute_type(v.type, env)))
        sums.append(None if v in seen else cts.get(v))
        seen.add(v)
    with b.at(eqn.loc.tagged("transpose")):
        after = op.transpose(eqn, operands, given, sums, transpose)
        fresh: set[Value] = set()
        for v, ct in zip(eqn.operands, after, strict=True):
            if v not in moving:
                continue
            ct = accumulate(cts[v], ct) if v in fresh else ct
            if ct is not None:
                ct.name = ct.name or _ct_name(v)
            cts[v] = ct
            fresh.add(v)
