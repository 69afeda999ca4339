"""Inlining: `call` equations become the equations of what they call.

%y = call %x {name='square'} @square(%a: f64[3]) {      ->      %y = mul %x, %x
  %0: f64[3] = mul %a, %a
  return %0
}
"""

from __future__ import annotations

from collections.abc import Sequence

from jitnet.ir import Definition, Eqn, Function, Value, current, rewrite, rule
from jitnet.ops.control import CALL


@rule(CALL)
def inlined(eqn: Eqn, definition: Definition) -> Sequence[Value]:
    return current().inline(eqn.regions[0], eqn.operands)


def inline_calls(f: Function) -> Function:
    """`f` without `call` equations; their regions' locations stay."""
    return rewrite(f, [inlined])
