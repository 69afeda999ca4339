"""Which memory a result can take over: following values back through what overwrites them.

    %b = update %a, %v, %i     // %b can be %a's memory
    %c = if %p, %b { both arms update their param }     // and so can %c

Pure analysis on array IR: whether the memory really is taken over is decided in `lower`, by what is
read later.
"""

from __future__ import annotations

from jitnet.ir import Eqn, Function, Literal, Value
from jitnet.ops.complexes import INTERLEAVE
from jitnet.ops.control import FOR, FUSED, IF, INVOKE, WHILE
from jitnet.ops.index import GATHER
from jitnet.ops.shape import RESHAPE
from jitnet.ops.slicing import SLICE, UPDATE
from jitnet.ops.tape import TAPE_PUSH
from jitnet.passes.members import primitive

Pairs = list[tuple[Value, Value]]


def written(eqn: Eqn) -> Pairs:
    """`(base, result)` for each operand whose memory the equation can take over."""
    if eqn.op is FUSED:
        return _by_fused(eqn)
    if eqn.op is INVOKE:
        found = zip(origins(eqn.attrs["callee"]), eqn.results)
        return [(eqn.operands[i], r) for i, r in found if i is not None]
    if eqn.op is IF:
        found = zip(common_origins(eqn), eqn.results)
        return [(eqn.operands[1 + i], r) for i, r in found if i is not None]
    if eqn.op is FOR:
        first = 1 + eqn.attrs["consts"]
        return list(zip(eqn.operands[first:], eqn.results[: eqn.attrs["carries"]]))
    if eqn.op is WHILE:
        return list(zip(eqn.operands[eqn.attrs["consts"] :], eqn.results))
    if eqn.op is TAPE_PUSH:
        return [(eqn.operands[0], eqn.result)]
    writes = primitive(eqn).writes
    return [] if writes is None else [(eqn.operands[writes], eqn.result)]


def _by_fused(eqn: Eqn) -> Pairs:
    (region,) = eqn.regions
    outer = dict(zip(region.params, eqn.operands))
    results = dict(zip(region.results, eqn.results))
    return [
        (outer[e.operands[0]], results[e.result])
        for e in region.eqns
        if e.op is UPDATE and e.result in results
    ]


def origins(region: Function) -> list[int | None]:
    """For each result, the position of the param whose memory it can take over, if there is one."""
    source = {r: b for eqn in region.eqns for b, r in written(eqn)}
    position = {p: i for i, p in enumerate(region.params)}
    found = []
    for v in region.results:
        while v in source:
            v = source[v]
        found.append(position.get(v))
    return found


def overwritten(region: Function) -> set[int]:
    """Positions of the params whose memory, or that of what they become, an equation can take
    over."""
    source: dict[Value, Value] = {}
    found: set[Value] = set()
    for eqn in region.eqns:
        if eqn.op is INVOKE:
            consumed = (eqn.operands[i] for i in overwritten(eqn.attrs["callee"]))
            found.update(source.get(v, v) for v in consumed)
        for base, result in written(eqn):
            source[result] = source.get(base, base)
            found.add(source[result])
    return {i for i, p in enumerate(region.params) if p in found}


def common_origins(eqn: Eqn) -> list[int | None]:
    """For each result of an `if`, the operand (after the condition) that both arms turn into it, if
    it is the same one."""
    one, other = (origins(region) for region in eqn.regions)
    return [i if i == j else None for i, j in zip(one, other)]


def element_by_element(region: Function, result: Value, param: Value) -> bool:
    """Whether a kernel makes each element of this result from this param's element at the same
    place, or looks it up by that in another; each pair of an interleaved one, from the pair."""
    producer = next((e for e in region.eqns if result in e.results), None)
    pairs = producer is not None and producer.op is INTERLEAVE
    dims = result.dims[:-1] if pairs else result.dims
    return all(
        (primitive(e).is_pointwise and e.result.dims == dims)
        or (pairs and (e.result is result or _is_half(e)))
        or (e.result.dims == dims and _is_looked_up(region, e, param))
        for e in region.eqns
        if e.result.rank
    )


def _is_looked_up(region: Function, eqn: Eqn, param: Value) -> bool:
    """Whether elements are looked up in a table that is another param, one for each index."""
    if eqn.op is not GATHER or eqn.operands[1].dims != eqn.result.dims:
        return False
    return eqn.operands[0] is not param and eqn.operands[0] in region.params


def _is_half(eqn: Eqn) -> bool:
    """Whether a view shows the first or the second elements of all pairs of an array."""
    x, shown = eqn.operands[0].dims, eqn.result.dims
    if eqn.op is RESHAPE:
        return x == (*shown, 1)
    if eqn.op is not SLICE or x[-1:] != (2,) or shown != (*x[:-1], 1):
        return False
    starts = eqn.operands[1 : 1 + len(x)]
    from_zero = all(isinstance(s, Literal) and s.item == 0 for s in starts[:-1])
    return from_zero and isinstance(starts[-1], Literal) and set(eqn.attrs["steps"]) == {1}
