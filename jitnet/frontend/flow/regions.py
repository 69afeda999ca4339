"""Regions of equations that are made of traces: one list of operands for all of them.

if %c, %x, %n      both arms have params for %x and %n, whether they use them or not
"""

from __future__ import annotations

from jitnet import ir, ops
from jitnet.frontend.context import Trace, bring_in, running_trace
from jitnet.frontend.flow.kinds import Kind
from jitnet.ir import Dim, Value, as_dim, as_value


def unite(*regions: Trace) -> list[Value]:
    """What the regions capture, as values of the running trace, in the order of their params.

    Params that are no captures, a loop's own, stay in front.
    """
    sources: dict[int, Value] = {}
    for region in regions:
        for capture in region.captures.values():
            sources.setdefault(id(capture.source), capture.source)
    parent = running_trace()
    for region in regions:
        for source in sources.values():
            bring_in(source, parent, region)
    order = list(sources)
    for region in regions:
        captured = {region.captures[key].value: order.index(key) for key in region.captures}
        own = [p for p in region.builder.params if p not in captured]
        region.builder.params[:] = [*own, *sorted(captured, key=captured.__getitem__)]
    return list(sources.values())


def nothing(kind: Kind) -> Value:
    """A value that is never read, in the running trace; `kind` is in the terms of that trace, or
    of the one around it. Extents that are not the same on all paths are 0."""
    if not kind.dims:
        return ir.literal(0, kind.dtype)
    return ops.empty([0 if d is None else _here(d) for d in kind.dims], kind.dtype)


def _here(dim: Dim) -> Dim:
    trace = running_trace()
    own = isinstance(dim, int) or dim in trace.builder.params
    if own or any(dim in eqn.results for eqn in trace.builder.eqns):
        return dim
    assert trace.parent is not None
    return as_dim(bring_in(as_value(dim), trace.parent, trace))
