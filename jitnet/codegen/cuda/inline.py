"""Which values get no name of their own: those that are asked for once, where it makes no
difference when they are computed.

    %a = load %x, %i;  %b = mul %a, 2.0;  store %y, %b, %i          y[i] = x[i] * 2.0f;

A load stays in front of whatever writes memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from jitnet.codegen.cuda.memory import references
from jitnet.codegen.cuda.rows import is_scalar_op
from jitnet.ir import Eqn, Value
from jitnet.kernel import statements as S
from jitnet.kernel.scalars import ScalarOp

LONGEST = 64
"""Characters of an expression that is written where it is used."""


def count_uses(eqns: Sequence[Eqn], named: Sequence[Value] = ()) -> Counter[Value]:
    """How often values are asked for. `named`: those that have to have a name."""
    uses = Counter(v for eqn in eqns for v in references(eqn))
    uses.update([*named, *named])
    return uses


def inlined(
    eqns: Sequence[Eqn], uses: Counter[Value], last: Sequence[Value], in_tests: bool
) -> set[Eqn]:
    """Those of these equations whose values may be written where they are used.

    Args:
        last: values that are used behind all of them, where they may be written too.
        in_tests: whether conditions may be written so. Not where threads run the same branch: one
            of them could write what another one has yet to test.
    """
    users = dict.fromkeys(last, len(eqns))
    for n, eqn in enumerate(eqns):
        if _takes_once(eqn) and (in_tests or eqn.op is not S.IF):
            users.update((v, n) for v in eqn.operands)
    found: set[Eqn] = set()
    at = list(range(len(eqns) + 1))  # where each equation's text ends up
    writes = [0]
    for eqn in eqns:
        writes.append(writes[-1] + (eqn.op is S.STORE or bool(eqn.regions)))
    for n in reversed(range(len(eqns))):
        eqn = eqns[n]
        if not (is_scalar_op(eqn) or eqn.op is S.LOAD) or uses[eqn.result] != 1:
            continue
        user = users.get(eqn.result)
        if user is None:
            continue
        if eqn.op is S.LOAD and writes[at[user]] != writes[n]:
            continue
        at[n] = at[user]
        found.add(eqn)
    return found


def _takes_once(eqn: Eqn) -> bool:
    """Whether an equation's text has each operand's text in it once."""
    if eqn.op in (S.LOAD, S.STORE, S.IF):
        return True
    if not is_scalar_op(eqn):
        return False
    if not isinstance(eqn.op, ScalarOp):
        return True
    template = eqn.op.cuda.get(eqn.operands[-1].dtype.kind)
    if template is None:
        return True
    return all(template.count(f"{{{n}}}") <= 1 for n in range(len(eqn.operands)))
