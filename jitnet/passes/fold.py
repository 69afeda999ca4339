"""Constant folding: what is known before the program runs is computed here, by the op's reference.

    %a = sub 7, %n          (n = 3, known)      ->     4
    %t = transpose %table                       ->     const {data=dense ...}

Only what gets no bigger by it is folded: scalars, and arrays made of a constant array. Arrays made
of scalars (zeros, a range) stay equations, for they cost less than the memory that they would be.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from jitnet.ir import ArrayType, Definition, Effect, Eqn, Function, Literal, Value, rewrite, rule
from jitnet.ops.create import CONST, const
from jitnet.ops.primitive import Primitive

LARGEST = 4096
"""Elements of the largest array that is made before the program runs."""


@rule()
def folded(eqn: Eqn, definition: Definition) -> Sequence[Value] | None:
    """The results as constants, where all operands are."""
    op = eqn.op
    if not isinstance(op, Primitive) or op.effect > Effect.PURE or eqn.regions or not eqn.operands:
        return None
    operands = [_known(v, definition) for v in eqn.operands]
    if any(x is None for x in operands) or not _is_small(eqn):
        return None
    try:
        with np.errstate(all="ignore"):
            return [const(x) for x in op.numpy(eqn, *operands)]
    except IndexError:  # out of bounds: a check in front of it raises before this is reached
        return None


def _known(v: Value, definition: Definition) -> Any:
    if isinstance(v, Literal):
        return v.data
    eqn = definition(v)
    return eqn.attrs["data"].array[()] if eqn is not None and eqn.op is CONST else None


def _is_small(eqn: Eqn) -> bool:
    """Whether the results are scalars, or no more elements than the constants among the operands
    have."""
    if not all(isinstance(r.type, ArrayType) and r.type.is_static for r in eqn.results):
        return False
    arrays = [r for r in eqn.results if r.rank]
    given = sum(math.prod(v.shape) for v in eqn.operands if v.rank)
    size = sum(math.prod(r.shape) for r in arrays)
    return not arrays or (any(v.rank for v in eqn.operands) and size <= min(given, LARGEST))


def fold(f: Function) -> Function:
    """`f` with pure equations on constants replaced by what they give."""
    return rewrite(f, [folded])
