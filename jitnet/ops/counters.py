"""Loop carries that only count up: what the facts may take to have no upper end in sight.

for %n, %k @body(%i: i64, %k: i64) {
  %k.1 = if %p, %k @then(%k) { return (add %k, 1) } @else(%k) { return %k }
  return %k.1                       %k starts with what it was, and never falls below it
}
"""

from __future__ import annotations

from collections.abc import Sequence

from jitnet.ir import Eqn, Function, Literal, Value
from jitnet.ir import types as T
from jitnet.ir.facts import Entry, Onward

MAX_COUNT = 16
"""Loops that count in steps of up to so much are taken to end before they have counted to 2**61."""


def carried(body: Function, params: Sequence[Value], initial: Sequence[Value]) -> list[Entry]:
    """What a loop's carries hold: those that the body returns as they came, what they were before;
    those that it counts up, no less."""

    def entry(param: Value, result: Value, start: Value) -> Entry:
        if result is param:
            return start
        counts = param.type == T.scalar(T.i64) and _counts_up(body, param, result)
        return Onward(start) if counts else None

    return [entry(*each) for each in zip(params, body.results, initial)]


def _counts_up(region: Function, start: Value, end: Value) -> bool:
    """Whether `end` is `start`, or that counted up in the region, here or further in."""
    made_by = {r: eqn for eqn in region.eqns for r in eqn.results}
    while end is not start:
        eqn = made_by.get(end)
        if eqn is None:
            return False
        before = _before_counting(eqn, eqn.results.index(end))
        if before is None:
            return False
        end = before
    return True


def _before_counting(eqn: Eqn, j: int) -> Value | None:
    """The operand that result j of an equation is, or is counted up from."""
    if eqn.op.name == "add":
        x, step = eqn.operands
        small = isinstance(step, Literal) and 0 < step.item <= MAX_COUNT
        return x if small else None
    if eqn.op.name not in ("if", "for", "while"):
        return None
    if eqn.op.name == "if":
        return _before_arms(eqn, j)
    consts, body = eqn.attrs["consts"], eqn.regions[-1]
    first = consts + (eqn.op.name == "for")
    if j >= eqn.attrs["carries"] or not _counts_up(body, body.params[first + j], body.results[j]):
        return None
    before: Value = eqn.operands[first + j]
    return before


def _before_arms(eqn: Eqn, j: int) -> Value | None:
    """The same for an `if`: both arms count up the same operand."""
    for k, operand in enumerate(eqn.operands[1:]):
        same_type = operand.type == eqn.results[j].type
        if same_type and all(_counts_up(a, a.params[k], a.results[j]) for a in eqn.regions):
            return operand
    return None
