"""Floor 3: passes, each `Function -> Function`, and the pipeline that runs them.

pairs(f)        # complex numbers become two real ones: first, where there are any
outline(f)      # what a large program repeats becomes Functions of their own
optimize(f)     # the passes of OPTIMIZE, in their order, until no change
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from jitnet.ir import Function
from jitnet.passes.columns import turn_columns
from jitnet.passes.cse import cse
from jitnet.passes.dce import dce
from jitnet.passes.fold import fold
from jitnet.passes.hoist import hoist
from jitnet.passes.inline import inline_calls
from jitnet.passes.masks import reduce_masked
from jitnet.passes.outline import outline, throughout
from jitnet.passes.pairs import pairs
from jitnet.passes.prove import prove
from jitnet.passes.simplify import simplify
from jitnet.passes.stacks import stack_tapes

__all__ = [
    "OBSERVERS",
    "OPTIMIZE",
    "Pass",
    "announce",
    "cse",
    "dce",
    "fold",
    "hoist",
    "inline_calls",
    "optimize",
    "outline",
    "pairs",
    "prove",
    "reduce_masked",
    "run",
    "simplify",
    "stack_tapes",
    "throughout",
    "turn_columns",
]

Pass = Callable[[Function], Function]

OPTIMIZE: tuple[Pass, ...] = (
    inline_calls,
    stack_tapes,
    reduce_masked,
    turn_columns,
    simplify,
    prove,
    hoist,
    cse,
    dce,
)

ROUNDS = 3
"""How often the pipeline runs at most; what one pass does is rarely news to all others twice."""

OBSERVERS: list[Callable[[object, Function], None]] = []
"""Called after each step with what it made: tests verify here."""


def announce(step: object, f: Function) -> Function:
    """Show the observers what a step made."""
    for observe in OBSERVERS:
        observe(step, f)
    return f


def run(f: Function, passes: Sequence[Pass]) -> Function:
    """`f` after the passes, in order."""
    for step in passes:
        f = announce(step, step(f))
    return f


def optimize(f: Function, passes: Sequence[Pass] = OPTIMIZE) -> Function:
    """`f`, which has no complex numbers, after as many rounds of the passes as change it, up to
    ROUNDS."""
    for _ in range(ROUNDS):
        before, f = f, run(f, passes)
        if f is before:
            break
    return f
