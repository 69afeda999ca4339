"""Nests of loops in order that add up become one loop, whose rounds can be spread over blocks.

    %t = for 0, 8, 0.0 @body(%i, %s) {                    %t = for 0, 4096, 0.0 @body(%n, %s) {
      for 0, 512, %s @body(%j, %r) {                        %row = (the sum of %y[%n, :])
        %row = (the sum of %x[%i, %j, :])           ->      return %s + %row
        return %r + %row                                  }                 with %y = view %x
      } }

What follows spreads the rounds of one loop: of a compensated sum (`split`), of sums of columns
(`parts`). Of two loops, the outer one may have few rounds, and the inner one all the work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from jitnet.ir import ArrayType, Eqn, Function
from jitnet.kernel import statements as S
from jitnet.kernel.collapse import inside, joined


def flattened(f: Function) -> Function:
    """The kernel Function with such nests as one loop each."""
    eqns: list[Eqn] = []
    for eqn in f.eqns:
        *views, eqn = _as_one(eqn)
        eqns += [*views, replace(eqn, regions=tuple(map(flattened, eqn.regions)))]
    return replace(f, eqns=tuple(eqns), _hash=[])


def _as_one(eqn: Eqn) -> Sequence[Eqn]:
    """A nest of any depth."""
    if eqn.op is not S.FOR or inside(eqn) is None or not _adds_up(eqn):
        return (eqn,)
    both = joined(eqn)
    return (eqn,) if both is None else (*both[:-1], *_as_one(both[-1]))


def _adds_up(eqn: Eqn) -> bool:
    """Whether it carries scalars, or takes terms into memory."""
    if eqn.results:
        return all(isinstance(v.type, ArrayType) for v in eqn.results)
    return any("fold" in e.attrs for r in eqn.regions for e in r.walk() if e.op is S.STORE)
