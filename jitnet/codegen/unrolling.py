"""Which scalar loops LLVM is to unroll: those of short rounds, where the loop itself costs as much.

for %i = 0 to %n carry %x {               four rounds at a time: a quarter of the jumps, and
  %0 = mul %x, 1664525:u32                four steps of a recurrence as one:
  %1 = add %0, 1013904223:u32             %x * 1664525**4 + ...
  store %out, %1, %i
  return %1
}
"""

from __future__ import annotations

from jitnet.ir import Function, Value
from jitnet.kernel import statements as S
from jitnet.kernel.scalars import Conversion, ScalarOp

LONGEST = 128
"""Equations of all rounds that are written out."""

COSTLIEST = 8
"""The cost of an op beside which a jump is nothing."""

_CHOICES = ("select", "maximum", "minimum")
_SIMPLE = (S.LOAD, S.STORE, S.VIEW, S.IF, S.RAISE)


def rounds_at_once(body: Function) -> int:
    """How many rounds of a loop are to be written out: more than one where the body is short, has
    nothing in it that takes long, and hands on no integers that are chosen: in a longer round LLVM
    makes jumps of such choices, and data decides those."""
    chosen: set[Value] = set()
    count = 0
    for eqn in body.walk():
        count += 1
        simple = eqn.op in _SIMPLE or isinstance(eqn.op, ScalarOp | Conversion)
        costly = isinstance(eqn.op, ScalarOp) and eqn.op.cost >= COSTLIEST
        if 4 * count > LONGEST or costly or not simple:
            return 1
        if isinstance(eqn.op, ScalarOp | Conversion):
            is_choice = eqn.op.name in _CHOICES and eqn.result.dtype.is_integer
            if is_choice or not chosen.isdisjoint(eqn.operands):
                chosen.add(eqn.result)
        elif eqn.op is S.STORE and eqn.operands[1] in chosen:
            return 1
    if not chosen.isdisjoint(body.results):
        return 1
    return 8 if 8 * count <= LONGEST else 4
