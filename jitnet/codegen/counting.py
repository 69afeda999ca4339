"""Loops in order whose rounds may be taken in any: those that only count, or add up integers.

for %n, 0 {kind="seq"} @body(%i, %hits) {         for %n, 0 {kind="vector", combine=("add",)} ...
  %x: f64 = load %xs, %i                            %x: f64 = load %xs, %i
  %c: bool = lt %x, 1.0                             %c: bool = lt %x, 1.0
  %1: i64 = add %hits, 1                            %1: i64 = select %c, 1, 0
  %2: i64 = select %c, %1, %hits            ->      %2: i64 = add %hits, %1
  return %2                                         return %2

Integers wrap around, so their sums are the same in any order, bit by bit; those of floats are not,
and a loop that the user has written for them keeps its order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jitnet.ir import ArrayType, Builder, Eqn, Function, Literal, Value
from jitnet.kernel import scalars as s
from jitnet.kernel import statements as k
from jitnet.kernel.scalars import Conversion, ScalarOp

FOLDS = (s.add, s.bitwise_xor, s.bitwise_or)
"""Ops that integers may be folded with; 0 changes nothing."""

COSTLY = 8
"""Loops with an op of this cost stay as they are: on lanes it is no faster."""


def as_fold(body: Function) -> tuple[Function, tuple[str, ...]] | None:
    """The body of a loop as one whose rounds are independent, and the op that folds each carry;
    None where they are not, or where lanes would gain nothing."""
    index, *carries = body.params
    if not carries or not all(_is_plain(eqn, index) for eqn in body.eqns):
        return None
    if any(not isinstance(c.type, ArrayType) or c.dtype.kind not in "iu" for c in carries):
        return None
    terms = {c: _Term(c, None, _zero(c)) for c in carries}
    with Builder(body.name, "kernel") as b:
        for eqn in body.eqns:
            if not any(v in terms for v in eqn.operands):
                b.eqns.append(eqn)
                continue
            b.loc = eqn.loc
            term = _term(eqn, terms)
            if term is None:
                return None
            terms[eqn.result] = term
        results: list[Value] = []
        folds: list[str] = []
        for carry, end in zip(carries, body.results):
            term = terms.get(end)
            if term is None or term.carry is not carry or term.op is None:
                return None
            results.append(term.op(carry, term.value))
            folds.append(term.op.name)
    return Function(body.name, body.params, tuple(b.eqns), tuple(results), body.level), tuple(folds)


@dataclass(frozen=True)
class _Term:
    """`op(carry, value)`, where the value depends on no carry; without an op, the carry."""

    carry: Value
    op: ScalarOp | None
    value: Value


def _zero(like: Value) -> Value:
    return Literal(0, like.dtype)


def _is_plain(eqn: Eqn, index: Value) -> bool:
    """Whether an equation is cheap on lanes: arithmetic, and elements next to each other."""
    if eqn.op is k.LOAD:
        return index not in eqn.operands[1:-1]
    if isinstance(eqn.op, Conversion):
        return True
    return isinstance(eqn.op, ScalarOp) and eqn.op.cost < COSTLY


def _term(eqn: Eqn, terms: dict[Value, _Term]) -> _Term | None:
    """What an equation makes of the carry among its operands."""
    given = [terms.get(v) for v in eqn.operands]
    if eqn.op is s.select:
        return _chosen(eqn, given)
    if all(given):
        return None
    before, other = (given[0], eqn.operands[1]) if given[0] else (given[1], eqn.operands[0])
    assert before is not None
    op: Any = eqn.op
    if op is s.sub and given[0]:
        op, other = s.add, s.neg(other)
    if op not in FOLDS or before.op not in (None, op):
        return None
    return _Term(before.carry, op, other if before.op is None else op(before.value, other))


def _chosen(eqn: Eqn, given: Sequence[_Term | None]) -> _Term | None:
    """Of two ways on from the same carry, or one and none."""
    condition, a, b = given
    if condition is not None or a is None or b is None or a.carry is not b.carry:
        return None
    if a.op is not b.op and None not in (a.op, b.op):
        return None
    op = a.op or b.op
    return _Term(a.carry, op, s.select(eqn.operands[0], a.value, b.value))
