"""Inlining: `call` equations become the equations of what they call, and so do functions with
derivative rules of their own and checkpoints, which have served the transforms.

%y = call %x {name='square'} @square(%a: f64[3]) {      ->      %y = mul %x, %x
  %0: f64[3] = mul %a, %a
  return %0
}
"""

from __future__ import annotations

from collections.abc import Sequence

from jitnet.ir import (
    UNKNOWN,
    Builder,
    Definition,
    Eqn,
    Function,
    Literal,
    Loc,
    Value,
    current,
    rewrite,
    rule,
)
from jitnet.ops.checkpoints import CHECKPOINT, taken_apart
from jitnet.ops.control import CALL
from jitnet.ops.custom_rules import CUSTOM


@rule(CUSTOM)
def inlined(eqn: Eqn, definition: Definition) -> Sequence[Value]:
    return current().inline(eqn.regions[0], eqn.operands)


@rule(CHECKPOINT)
def computed(eqn: Eqn, definition: Definition) -> Sequence[Value]:
    return taken_apart(eqn)


def inline_calls(f: Function) -> Function:
    """`f` without such equations. What was called is at the lines of its own, called from there."""
    return rewrite(without_calls(f), [inlined, computed])


def without_calls(f: Function, site: Loc = UNKNOWN) -> Function:
    """`f`, a part of what was called from `site`, with what it calls in the place of `call`s."""
    if not (site.frames or _has_calls(f, {})):
        return f
    with Builder(f.name, f.level) as b:
        return b.build(*_bound(b, f, b.params_like(f.params), site))


def _bound(b: Builder, f: Function, args: Sequence[Value], site: Loc) -> list[Value]:
    """The results of `f`, its equations bound; those of calls at once, however deep they are."""
    env = dict(zip(f.params, args))
    for eqn in f.eqns:
        operands = [env.get(v, v) for v in eqn.operands]
        loc = eqn.loc.called_from(site)
        if eqn.op is CALL:
            results: Sequence[Value] = _bound(b, eqn.regions[0], operands, loc)
            for old, new in zip(eqn.results, results):
                if not new.name and not isinstance(new, Literal):
                    new.name = old.name
        else:
            regions = [without_calls(r, site) for r in eqn.regions]
            names = [r.name for r in eqn.results]
            results = b.bind(eqn.op, operands, eqn.attrs, regions, names, loc)
        env.update(zip(eqn.results, results))
    return [env.get(v, v) for v in f.results]


def _has_calls(f: Function, known: dict[int, bool]) -> bool:
    if id(f) not in known:
        regions = (r for eqn in f.eqns for r in eqn.regions)
        known[id(f)] = any(eqn.op is CALL for eqn in f.eqns) or any(
            _has_calls(r, known) for r in regions
        )
    return known[id(f)]
