"""Comparisons of integers that the facts decide, and with them the checks that cannot fail.

for %n @body(%i: i64) {
  %ok: bool = lt %i, %n         ->      true
  check %ok, %i                 ->      nothing (by `simplify`)
}
"""

from __future__ import annotations

from collections.abc import Callable

from jitnet.ir import Definition, Eqn, Facts, Function, Literal, Op, Rule, Value, facts, rewrite
from jitnet.ir import types as T
from jitnet.ir.facts import is_integer
from jitnet.ops import eq, full, ge, gt, le, lt, ne

Claim = Callable[[Facts, Value, Value], bool]


def _differ(known: Facts, a: Value, b: Value) -> bool:
    return known.less(a, b) or known.less(b, a)


DECIDED_BY: dict[Op, tuple[Claim, Claim]] = {  # what makes op(a, b) true, and what makes it false
    lt: (Facts.less, lambda known, a, b: known.less_equal(b, a)),
    le: (Facts.less_equal, lambda known, a, b: known.less(b, a)),
    gt: (lambda known, a, b: known.less(b, a), Facts.less_equal),
    ge: (lambda known, a, b: known.less_equal(b, a), Facts.less),
    eq: (Facts.equal, _differ),
    ne: (_differ, Facts.equal),
}


def prove(f: Function) -> Function:
    """`f` with decided comparisons of integers (or of arrays of them) as constants."""
    if not any(map(_is_candidate, f.walk())):
        return f
    known = facts(f)

    def decided(eqn: Eqn, definition: Definition) -> Value | None:
        if not _is_candidate(eqn):
            return None
        a, b = eqn.operands
        for claim, answer in zip(DECIDED_BY[eqn.op], (True, False)):
            if claim(known, a, b):
                return full(Literal(answer, T.bool_), eqn.result.dims)
        return None

    return rewrite(f, [Rule(tuple(DECIDED_BY), decided)])


def _is_candidate(eqn: Eqn) -> bool:
    return eqn.op in DECIDED_BY and is_integer(eqn.operands[0])
