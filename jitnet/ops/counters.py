"""What is known of loop carries. Those that only count up have no upper end in sight; of others
there is what the last step returned, for bools the comparison that made it.

for %n, %k @body(%i: i64, %k: i64) {
  %k.1 = if %p, %k @then(%k) { return (add %k, 1) } @else(%k) { return %k }
  return %k.1                       %k starts with what it was, and never falls below it
}
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from jitnet.ir import Eqn, Function, Literal, Value
from jitnet.ir import types as T
from jitnet.ir.facts import Carried, Entry, Onward, Retold

MAX_COUNT = 16
"""Loops that count in steps of up to so much are taken to end before they have counted to 2**61."""


def carried(
    body: Function,
    params: Sequence[Value],
    initial: Sequence[Value],
    consts: Sequence[tuple[Value, Value]] = (),
) -> list[Entry]:
    """What a loop's carries hold: those that the body returns as they came, what they were before;
    those that it counts up, no less; other scalars, what it returns. `consts`: the other params,
    and what they are outside."""

    def entry(j: int, param: Value, result: Value, start: Value) -> Entry:
        if result is param:
            return start
        if not isinstance(param.type, T.ArrayType) or param.rank or param.dtype.is_float:
            return None
        if param.dtype.is_bool:
            return _retold(start, _condition(result, made_by), before)
        is_index = param.type == T.scalar(T.i64)
        if is_index and _counts(body, param, result, _up):
            return Onward(start)
        return Carried(start, j, is_index and _counts(body, param, result, _up_or_down))

    made_by = {r: eqn for eqn in body.eqns for r in eqn.results}
    before = {r: (p, v) for p, r, v in zip(params, body.results, initial)}
    before.update({p: (p, v) for p, v in consts})
    return [entry(j, *each) for j, each in enumerate(zip(params, body.results, initial))]


def _condition(value: Value, made_by: dict[Value, Eqn]) -> Eqn | None:
    """What makes a bool, or what it cannot be true without: that of `and`, an `if` whose other arm
    is false."""
    eqn = made_by.get(value)
    while eqn is not None and eqn.op.name == "if":
        orelse, operands = eqn.regions[1], eqn.operands[1:]
        end = orelse.results[eqn.results.index(value)]
        same = end in orelse.params and operands[orelse.params.index(end)] is eqn.operands[0]
        if not same and not (isinstance(end, Literal) and not end.item):
            return None
        value = eqn.operands[0]
        eqn = made_by.get(value)
    return eqn


def _retold(
    start: Value, eqn: Eqn | None, before: dict[Value, tuple[Value, Value]]
) -> Retold | None:
    """A bool that is true only where an equation of results holds: the same of the params, which
    are the results `before` the step."""
    if eqn is None or eqn.op.facts is None or eqn.op.facts.implies is None:
        return None
    pairs = [(v, v) if isinstance(v, Literal) else before.get(v) for v in eqn.operands]
    known = [pair for pair in pairs if pair is not None]
    if len(known) < len(pairs):
        return None
    params, first = (tuple(side) for side in zip(*known))
    return Retold(start, replace(eqn, operands=params), first)


Step = Callable[[Eqn], Value | None]
"""What an equation counts on from, if it does."""


def _up(eqn: Eqn) -> Value | None:
    x, step = eqn.operands[0], eqn.operands[-1]
    small = isinstance(step, Literal) and 0 < step.item <= MAX_COUNT
    return x if small and eqn.op.name == "add" else None


def _up_or_down(eqn: Eqn) -> Value | None:
    x, step = eqn.operands[0], eqn.operands[-1]
    small = isinstance(step, Literal) and -MAX_COUNT <= step.item <= MAX_COUNT
    return x if small and eqn.op.name in ("add", "sub") else None


def _counts(region: Function, start: Value, end: Value, step: Step) -> bool:
    """Whether `end` is `start`, or counted on from that in the region, here or further in."""
    made_by = {r: eqn for eqn in region.eqns for r in eqn.results}
    while end is not start:
        eqn = made_by.get(end)
        if eqn is None:
            return False
        before = _before_counting(eqn, eqn.results.index(end), step)
        if before is None:
            return False
        end = before
    return True


def _before_counting(eqn: Eqn, j: int, step: Step) -> Value | None:
    """The operand that result j of an equation is, or is counted on from."""
    if eqn.op.name not in ("if", "for", "while"):
        return step(eqn) if len(eqn.operands) == 2 and not eqn.regions else None
    if eqn.op.name == "if":
        return _before_arms(eqn, j, step)
    consts, body = eqn.attrs["consts"], eqn.regions[-1]
    first = consts + (eqn.op.name == "for")
    if j >= eqn.attrs["carries"]:
        return None
    if not _counts(body, body.params[first + j], body.results[j], step):
        return None
    before: Value = eqn.operands[first + j]
    return before


def _before_arms(eqn: Eqn, j: int, step: Step) -> Value | None:
    """The same for an `if`: both arms count on from the same operand."""
    for k, operand in enumerate(eqn.operands[1:]):
        same_type = operand.type == eqn.results[j].type
        if same_type and all(_counts(a, a.params[k], a.results[j], step) for a in eqn.regions):
            return operand
    return None
