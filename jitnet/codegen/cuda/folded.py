"""Reductions in memory: which memory a loop only takes terms into.

    for %i { for %v { %t = load %out, %v; store %out, (%t + %x), %v {fold='add'} } }

Lowering marks such stores. Where nothing else reads or writes that memory, iterations of the loop
are independent but for the order in which terms come, and that may be any: the loop gets `folds`.
"""

from __future__ import annotations

from collections.abc import Sequence

from jitnet.codegen.cuda.memory import Root, Roots
from jitnet.ir import Eqn
from jitnet.kernel import statements as S


def is_folding(eqn: Eqn) -> bool:
    """Whether a loop's iterations are independent but for reductions in memory."""
    return bool(eqn.op is S.FOR and eqn.attrs.get("folds"))


def folded_roots(eqns: Sequence[Eqn], roots: Roots) -> set[Root]:
    """Memory that these equations only take terms of reductions into."""
    folded: dict[Root, str] = {}
    other: set[Root] = set()
    _look(eqns, roots, folded, other)
    return {
        root
        for root in folded
        if root not in other and all(root is r or root.is_apart(r) for r in {*folded, *other})
    }


def _look(eqns: Sequence[Eqn], roots: Roots, folded: dict[Root, str], other: set[Root]) -> None:
    begun = _beginnings(eqns)
    for eqn in eqns:
        if eqn.op is S.STORE:
            root, name = roots[eqn.operands[0]], eqn.attrs.get("fold")
            if name and folded.setdefault(root, name) == name:
                continue
            other.add(root)
        elif eqn.op is S.LOAD and eqn not in begun:
            other.add(roots[eqn.operands[0]])
        for region in eqn.regions:
            _look(region.eqns, roots, folded, other)


def _beginnings(eqns: Sequence[Eqn]) -> set[Eqn]:
    """The loads of what folds in these equations begin with."""
    begun = set()
    for store in eqns:
        if store.op is S.STORE and "fold" in store.attrs:
            buffer, _, *at = store.operands
            same = [
                e
                for e in eqns
                if e.op is S.LOAD and e.operands[0] is buffer and list(e.operands[1:]) == at
            ]
            begun.update(same[:1])
    return begun
