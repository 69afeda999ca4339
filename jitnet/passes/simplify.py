"""Simplification: every rule that keeps NumPy's value and makes the program smaller, in one pass.

    %a = mul %x, 1.0
    %b = transpose %a {perm=(1, 0)}            ->    return %x
    %c = transpose %b {perm=(1, 0)}
    return %c

The rules stand in `algebra` (pointwise ops), `views` (moved elements, reductions, products),
`masked_writes`, `control`, and `fold`, which computes what is constant. There is no `x - x -> 0`
for floats: x may be inf.
"""

from __future__ import annotations

from jitnet.ir import Function, Rule, rewrite
from jitnet.passes.algebra import ALGEBRA
from jitnet.passes.control import CONTROL
from jitnet.passes.fold import folded
from jitnet.passes.masked_writes import MASKED_WRITES
from jitnet.passes.views import VIEWS

RULES: tuple[Rule, ...] = (folded, *ALGEBRA, *VIEWS, *MASKED_WRITES, *CONTROL)


def simplify(f: Function) -> Function:
    """`f` after all rules; `f` itself where none fires."""
    return rewrite(f, RULES)
