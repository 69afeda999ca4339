"""Simplifications of control flow.

if true, %x @then(...) @else(...)      ->  the equations of @then
for 0, %c, %xs @body(...)              ->  %c, and empty arrays for what would be stacked
for %n, %x @body(%i, %x) { %x[%i] }    ->  %x
    check true, %i                         ->  nothing
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from jitnet.ir import (
    Definition,
    Effect,
    Eqn,
    Function,
    Literal,
    Rule,
    Value,
    as_dim,
    as_value,
    current,
    effect_of,
    rule,
)
from jitnet.ir.facts import Entry
from jitnet.ops.control import CALL, CHECK, FOR, IF, WHILE
from jitnet.ops.shape import RESHAPE, zeros_like
from jitnet.ops.slicing import SLICE


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


@rule(FOR)
def loop_that_copies(eqn: Eqn, definition: Definition) -> Sequence[Value] | None:
    """All that it does is to stack the rows of arrays."""
    if eqn.attrs["carries"] or effect_of(eqn) > Effect.PURE:
        return None
    (body,) = eqn.regions
    n, *given = eqn.operands
    rows = dict(zip(body.params[1 + eqn.attrs["consts"] :], given[eqn.attrs["consts"] :]))
    arrays: dict[Value | None, Value] = dict(zip(body.params[1:], given))
    made = {r: e for e in body.eqns for r in e.results}
    copied = [
        rows.get(r) or arrays.get(_array_of_row(r, body.params[0], made)) for r in body.results
    ]
    stacked = [x for x in copied if x is not None and as_value(x.dims[0]) == n]
    return stacked if stacked and len(stacked) == len(body.results) else None


def _array_of_row(v: Value, i: Value, made: Mapping[Value, Eqn]) -> Value | None:
    """What `v` is row `i` of."""
    cut = made.get(v)
    if cut is not None and cut.op is RESHAPE:
        cut = made.get(cut.operands[0])
    if cut is None or cut.op is not SLICE or any(step != 1 for step in cut.attrs["steps"]):
        return None
    x, *box = cut.operands
    starts, sizes = box[: x.rank], [as_dim(size) for size in box[x.rank :]]
    whole = all(isinstance(at, Literal) and at.item == 0 for at in starts[1:])
    found = starts[0] is i and whole and (*sizes,) == (1, *x.dims[1:]) and v.dims == x.dims[1:]
    return x if found else None


@rule(CHECK)
def check_that_holds(eqn: Eqn, definition: Definition) -> Sequence[Value] | None:
    ok = eqn.operands[0]
    return [] if isinstance(ok, Literal) and ok.item else None


CONTROL: tuple[Rule, ...] = (
    settled_branch,
    literals_in_regions,
    loop_of_no_steps,
    loop_that_copies,
    check_that_holds,
)
