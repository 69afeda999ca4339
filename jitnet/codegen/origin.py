"""Which memory a result can take over: following values back through what overwrites them.

    %b = update %a, %v, %i     // %b can be %a's memory
    %c = if %p, %b { both arms update their param }     // and so can %c

Pure analysis on array IR: whether the memory really is taken over is decided in `lower`, by what is
read later.
"""

from __future__ import annotations

from jitnet.ir import Eqn, Function, Value
from jitnet.ops.control import FOR, FUSED, IF, WHILE
from jitnet.ops.slicing import UPDATE
from jitnet.ops.tape import TAPE_PUSH
from jitnet.passes.fuse import primitive

Pairs = list[tuple[Value, Value]]


def written(eqn: Eqn) -> Pairs:
    """`(base, result)` for each operand whose memory the equation can take over."""
    if eqn.op is FUSED:
        return _by_fused(eqn)
    if eqn.op is IF:
        found = ((common_origin(eqn, j), r) for j, r in enumerate(eqn.results))
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


def origin(region: Function, v: Value) -> int | None:
    """The position of the param whose memory v can take over, if there is one."""
    source = {r: b for eqn in region.eqns for b, r in written(eqn)}
    while v in source:
        v = source[v]
    return region.params.index(v) if v in region.params else None


def common_origin(eqn: Eqn, j: int) -> int | None:
    """The operand (after the condition) that both arms of an `if` turn into result j, if it is the
    same one."""
    origins = {origin(region, region.results[j]) for region in eqn.regions}
    return origins.pop() if len(origins) == 1 else None
