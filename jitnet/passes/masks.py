"""Reductions of what a mask keeps, computed over all elements: no array of the kept ones is made.

    %k, %y: f64[%k] = compress %m, %x         %k = reduce_sum of %m as i64
    %z = sqrt %y                        ->    %y = sqrt %x
    %s = reduce_sum %z {axes=(0,)}            %s = reduce_sum of select %m, %y, 0.0

Only where nothing else reads the kept elements: then the mask's equation falls away, and what is
left is one kernel. What is computed of elements that the mask leaves out is not looked at.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from jitnet.ir import Builder, Dim, Eqn, Function, Literal, Value, current, moved, substitute_type
from jitnet.ir import types as T
from jitnet.ops import broadcast, convert, reduce_sum, select
from jitnet.ops.complexes import INTERLEAVE, interleave
from jitnet.ops.index import COMPRESS
from jitnet.ops.primitive import Primitive, Reduction
from jitnet.ops.shape import BROADCAST, RESHAPE
from jitnet.passes.dce import dce
from jitnet.passes.dependences import with_dims
from jitnet.passes.simplify import simplify


def reduce_masked(f: Function) -> Function:
    """`f`, and its regions, with such reductions over all elements."""
    f = _in_regions(f)
    masks = dict.fromkeys(e.operands[0] for e in f.eqns if e.op is COMPRESS)
    chosen = [kept for kept in (_kept(f, mask) for mask in masks) if kept is not None]
    return _rewritten(f, chosen) if chosen else f


def _in_regions(f: Function) -> Function:
    eqns = []
    for eqn in f.eqns:
        regions = tuple(map(reduce_masked, eqn.regions))
        same = all(a is b for a, b in zip(regions, eqn.regions))
        eqns.append(eqn if same else replace(eqn, regions=regions))
    if all(a is b for a, b in zip(eqns, f.eqns)):
        return f
    return Function(f.name, f.params, tuple(eqns), f.results, f.level)


class _Kept:
    """What one mask keeps, and all that is computed of it element by element.

    Attributes:
        counts: how many elements these are, one value for each equation that says so.
        values: arrays with an axis of that extent in front.
        reduced: some are reduced.
    """

    def __init__(self, mask: Value) -> None:
        self.mask = mask
        self.counts: set[Value] = set()
        self.values: set[Value] = set()
        self.reduced = False

    def has(self, dims: Sequence[Dim]) -> bool:
        return bool(dims) and isinstance(dims[0], Value) and dims[0] in self.counts


def _kept(f: Function, mask: Value) -> _Kept | None:
    """What the mask keeps, where it is only reduced."""
    kept = _Kept(mask)
    for eqn in f.eqns:
        if not _fits(kept, eqn):
            return None
    lasting = any(r in kept.values or kept.has(r.dims) for r in f.results if _is_array(r))
    return kept if kept.reduced and not lasting else None


def _is_array(v: Value) -> bool:
    return isinstance(v.type, T.ArrayType)


def _fits(kept: _Kept, eqn: Eqn) -> bool:
    """Whether an equation has nothing to do with what is kept, or can do without it."""
    if eqn.op is COMPRESS and eqn.operands[0] is kept.mask:
        if any(x.rank > 1 for x in eqn.operands[1:]):
            return False  # NumPy reads the kept rows only
        kept.counts.add(eqn.results[0])
        kept.values.update(eqn.results[1:])
        return True
    reads = [v for v in eqn.operands if v in kept.values]
    makes = [r for r in eqn.results if _is_array(r) and kept.has(r.dims)]
    if not reads and not makes:
        return True
    if eqn.op is BROADCAST and not eqn.operands[0].rank:
        kept.values.add(eqn.result)
        return True
    if _is_retag(kept, eqn) or (_is_pointwise(eqn) and _all_kept(kept, eqn)):
        kept.values.add(eqn.result)
        return True
    if reads and not makes and _is_reduction(eqn) and 0 in eqn.attrs["axes"]:
        kept.reduced = True
        return True
    return False


def _is_pointwise(eqn: Eqn) -> bool:
    return isinstance(eqn.op, Primitive) and eqn.op.is_pointwise


def _is_reduction(eqn: Eqn) -> bool:
    return isinstance(eqn.op, Primitive) and isinstance(eqn.op.lowering(eqn), Reduction)


def _all_kept(kept: _Kept, eqn: Eqn) -> bool:
    return all(v in kept.values for v in eqn.operands if v.rank)


def _is_retag(kept: _Kept, eqn: Eqn) -> bool:
    """Whether an array only gets another of the counts for its extent."""
    if eqn.op is not RESHAPE or eqn.operands[0] not in kept.values:
        return False
    return kept.has(eqn.result.dims) and eqn.result.dims[1:] == eqn.operands[0].dims[1:]


# -- rewriting -------------------------------------------------------------------------------------


def _rewritten(f: Function, chosen: Iterable[_Kept]) -> Function:
    builder = Builder(f.name, f.level)
    builder.params[:] = f.params
    env: dict[Value, Value] = {}
    with builder:
        for eqn in f.eqns:
            kept = next((k for k in chosen if _concerns(k, eqn)), None)
            with builder.at(eqn.loc):
                results = _moved(builder, eqn, env) if kept is None else _over_all(kept, eqn, env)
            env.update(zip(eqn.results, results))
    return builder.build(*(env.get(r, r) for r in f.results))


def _concerns(kept: _Kept, eqn: Eqn) -> bool:
    return not kept.values.isdisjoint((*eqn.operands, *eqn.results))


def _moved(builder: Builder, eqn: Eqn, env: dict[Value, Value]) -> tuple[Value, ...]:
    operands = [env.get(v, v) for v in eqn.operands]
    return builder.rebind(eqn, operands)


def _over_all(kept: _Kept, eqn: Eqn, env: dict[Value, Value]) -> tuple[Value, ...]:
    """What an equation is over all elements."""
    mask = env.get(kept.mask, kept.mask)
    operands = [env.get(v, v) for v in eqn.operands]
    if eqn.op is COMPRESS:
        count = reduce_sum(convert(mask, T.i64), (0,))
        return (count, *operands[1:])
    if eqn.op is RESHAPE:
        return (operands[0],)
    if eqn.op is BROADCAST:
        dims = (mask.dims[0], *(env.get(d, d) if isinstance(d, Value) else d for d in _rest(eqn)))
        return (broadcast(operands[0], dims, ()),)
    assert isinstance(eqn.op, Primitive)
    if _is_pointwise(eqn):
        (result,) = current().bind(eqn.op, operands, eqn.attrs)
        return (result,)
    rule = eqn.op.lowering(eqn)
    assert isinstance(rule, Reduction)
    (x,) = operands
    flags = broadcast(mask, x.dims, (0,)) if x.rank > 1 else mask
    identity = broadcast(Literal(rule.identity(x.dtype), x.dtype), x.dims, ())
    (result,) = current().bind(eqn.op, [select(flags, x, identity)], eqn.attrs)
    return (result,)


def _rest(eqn: Eqn) -> Sequence[Dim]:
    return eqn.result.dims[1:]


# -- one loop for all that a mask keeps ------------------------------------------------------------


def keep_whole(f: Function) -> Function:
    """`f` with the elements of complex arrays kept as they lie, both halves of one side by side,
    where these are put together right after. Regions stay as they are."""
    makers = {r: eqn for eqn in f.eqns if eqn.op is COMPRESS for r in eqn.results}
    uses = Counter([*(v for eqn in f.eqns for v in eqn.operands), *f.results])
    joins: dict[int, list[Eqn]] = {}
    for eqn in f.eqns:
        if eqn.op is INTERLEAVE and all(v in makers and uses[v] == 1 for v in eqn.operands):
            one, other = (makers[v] for v in eqn.operands)
            if one is other:
                joins.setdefault(id(one), []).append(eqn)
    if not joins:
        return f
    gone = {id(join) for found in joins.values() for join in found}
    eqns: list[Eqn] = []
    for eqn in f.eqns:
        if id(eqn) in joins:
            eqns.extend(_on_whole_arrays(eqn, joins[id(eqn)]))
        elif id(eqn) not in gone:
            eqns.append(eqn)
    return dce(simplify(Function(f.name, f.params, tuple(eqns), f.results, f.level)))


def _on_whole_arrays(eqn: Eqn, joins: Sequence[Eqn]) -> list[Eqn]:
    """What a mask keeps, with whole arrays in the place of the halves that are put together."""
    halves = {v for join in joins for v in join.operands}
    kept = [(x, r) for x, r in zip(eqn.operands[1:], eqn.results[1:]) if r not in halves]
    source = dict(zip(eqn.results[1:], eqn.operands[1:]))
    with Builder("whole") as b, b.at(eqn.loc):
        kept += [(interleave(*(source[v] for v in join.operands)), join.result) for join in joins]
    arrays, results = zip(*kept)
    whole = replace(eqn, operands=(eqn.operands[0], *arrays), results=(eqn.results[0], *results))
    return [*b.eqns, whole]


def keep_together(f: Function) -> Function:
    """`f` with what one mask keeps of several arrays kept in one equation: where the first stands,
    as far as the arrays are known there. Regions stay as they are, and so do extents of results,
    which others name."""
    returned = with_dims(f.results)
    eqns: list[Eqn] = []
    env: dict[Value, Value] = {}
    position: dict[Value, int] = {}
    first: dict[Value, int] = {}
    for old in f.eqns:
        eqn = moved(old, tuple(env.get(v, v) for v in old.operands), old.regions, env)
        if eqn.op is RESHAPE and eqn.result.type == eqn.operands[0].type:
            env[old.result] = eqn.operands[0]  # it is of the extent now that the other one has
            continue
        at = first.get(eqn.operands[0]) if eqn.op is COMPRESS else None
        is_own = not returned.intersection(old.results[:1])
        if at is not None and is_own and all(position.get(x, -1) < at for x in eqn.operands[1:]):
            eqns[at], found = _with_more(eqns[at], eqn)
            env.update(zip(old.results, found))
            position.update(dict.fromkeys(found, at))
            continue
        if eqn.op is COMPRESS:
            first.setdefault(eqn.operands[0], len(eqns))
        position.update(dict.fromkeys(eqn.results, len(eqns)))
        eqns.append(eqn)
    if len(eqns) == len(f.eqns) and all(a is b for a, b in zip(eqns, f.eqns)):
        return f
    results = tuple(env.get(r, r) for r in f.results)
    return Function(f.name, f.params, tuple(eqns), results, f.level)


def _with_more(eqn: Eqn, more: Eqn) -> tuple[Eqn, list[Value]]:
    """An equation that keeps the arrays of another one, too; and what the other's results are."""
    number = eqn.results[0]
    env = {more.results[0]: number}
    kept = [Value(substitute_type(r.type, env), r.name) for r in more.results[1:]]
    operands = (*eqn.operands, *more.operands[1:])
    return replace(eqn, operands=operands, results=(*eqn.results, *kept)), [number, *kept]
