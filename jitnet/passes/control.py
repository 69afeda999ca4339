"""Simplifications of control flow.

if true, %x @then(...) @else(...)      ->  the equations of @then
for 0, %c, %xs @body(...)              ->  %c, and empty arrays for what would be stacked
    check true, %i                         ->  nothing
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from jitnet.ir import Definition, Eqn, Function, Literal, Rule, Value, current, rule
from jitnet.ir.facts import Entry
from jitnet.ops.control import CALL, CHECK, FOR, IF, WHILE
from jitnet.ops.shape import zeros_like


@rule(IF)
def settled_branch(eqn: Eqn, definition: Definition) -> Sequence[Value] | None:
    """A known predicate, or arms that do the same."""
    pred, *operands = eqn.operands
    then, orelse = eqn.regions
    if isinstance(pred, Literal):
        return current().inline(then if pred.item else orelse, operands)
    same = then == replace(orelse, name=then.name)
    return current().inline(then, operands) if same else None


@rule(CALL, FOR, IF, WHILE)
def literals_in_regions(eqn: Eqn, definition: Definition) -> Sequence[Value] | None:
    """A param that is always one literal is that literal, in the region."""
    entries = eqn.op.facts.entry(eqn) if eqn.op.facts and eqn.op.facts.entry else ()
    regions = [_with_literals(r, e) for r, e in zip(eqn.regions, entries)]
    if all(a is b for a, b in zip(regions, eqn.regions)):
        return None
    return current().rebind(eqn, eqn.operands, regions)


def _with_literals(region: Function, entries: Sequence[Entry]) -> Function:
    """The region with known params replaced where they are read, but for those that it returns:
    the types of a loop's carries may name them."""
    literals = {p: e for p, e in zip(region.params, entries) if isinstance(e, Literal)}
    env: dict[Value, Value] = {p: e for p, e in literals.items() if p not in region.results}
    if not any(v in env for eqn in region.eqns for v in eqn.operands):
        return region
    with current().child(region.name) as b:
        params = b.params_like(region.params, env)
        results = b.inline(region, [env.get(p, q) for p, q in zip(region.params, params)])
    return b.build(*results)


@rule(FOR)
def loop_of_no_steps(eqn: Eqn, definition: Definition) -> Sequence[Value] | None:
    n, carries = eqn.operands[0], eqn.attrs["carries"]
    if not isinstance(n, Literal) or n.item > 0:
        return None
    first = 1 + eqn.attrs["consts"]
    stacked = [zeros_like(r.array_type) for r in eqn.results[carries:]]
    return [*eqn.operands[first : first + carries], *stacked]


@rule(CHECK)
def check_that_holds(eqn: Eqn, definition: Definition) -> Sequence[Value] | None:
    ok = eqn.operands[0]
    return [] if isinstance(ok, Literal) and ok.item else None


CONTROL: tuple[Rule, ...] = (
    settled_branch,
    literals_in_regions,
    loop_of_no_steps,
    check_that_holds,
)
