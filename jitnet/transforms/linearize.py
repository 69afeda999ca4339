"""Reverse mode's first half: a Function's values, and its derivative there as a linear Function.

    func @f(%x: f64) -> (f64)      known:  func @f(%x: f64) -> (f64, f64)      # sin x; cos x
      %y = sin %x             →    linear: func @f(%0: f64, %dx: f64) -> (f64)
      return %y                              %1 = zmul %0, %dx
                                             return %1

The jvp of f is split: what depends on tangents is linear, the rest is known; equal values are
merged first, so that one of them is saved. Known values that the linear part reads are residuals:
results of the one, params of the other. Loops are split into two loops; `transforms.split` says
what a step leaves for its linear half.
"""

from __future__ import annotations

from collections.abc import Sequence

from jitnet.ir import Function
from jitnet.passes.columns import turn_columns
from jitnet.passes.cse import cse
from jitnet.transforms.jvp import jvp
from jitnet.transforms.split import split


def linearize(
    f: Function, nonzero: Sequence[bool], rewinds: bool = False
) -> tuple[Function, Function, tuple[bool, ...]]:
    """`(known, linear, nonzero results)` for tangents of the params marked in `nonzero`.

    With `rewinds`, the linear half may wind arrays back (`ops.rewinding`), and is there to be
    transposed only.

    `known` takes f's params and returns f's results, then the residuals. `linear` takes the
    residuals, then a tangent for each nonzero param; it returns a tangent for each nonzero result.
    """
    pushed, moving = jvp(turn_columns(f), nonzero)
    count = len(f.params)
    unknown = [i >= count for i in range(len(pushed.params))]
    forced = [i >= len(f.results) for i in range(len(pushed.results))]
    halves = split(cse(pushed), unknown, forced, rewinds=rewinds)
    assert not any(halves.unknown[: len(f.results)]), "a primal depends on tangents"
    return halves.known, halves.linear, moving
