"""Loops over boxes, for lowering rules that write their results themselves.

    for %i0 = 0 to %n {kind="seq"} (%i0: i64) {
      for %i1 = 0 to %m {kind="vector"} (%i1: i64) { ... }
    }
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from jitnet.ir import Value
from jitnet.kernel.scalars import ScalarOp
from jitnet.kernel.statements import load, loop, store


def nest(extents: Sequence[Value | int], body: Callable[..., None], innermost: str = "seq") -> None:
    """Loops over a box in C order, none for rank 0; `body(*indices)`. `innermost` is the kind of
    the last axis' loop; the others are sequential."""

    def level(indices: tuple[Value, ...]) -> None:
        axis = len(indices)
        if axis == len(extents):
            body(*indices)
            return
        kind = innermost if axis == len(extents) - 1 else "seq"
        loop(0, extents[axis], lambda i: level((*indices, i)), kind=kind, name=f"i{axis}")

    level(())


def copy(source: Value, target: Value, extents: Sequence[Value | int]) -> None:
    """Copy a box of elements from one buffer to another, whatever their strides."""
    nest(extents, lambda *at: store(target, load(source, *at), *at), innermost="vector")


def fill(target: Value, value: Value, extents: Sequence[Value | int]) -> None:
    """Set every element of a box to a scalar."""
    nest(extents, lambda *at: store(target, value, *at), innermost="vector")


def fold(
    extents: Sequence[Value | int],
    term: Callable[..., Value],
    combine: ScalarOp,
    start: Value,
) -> Value:
    """`combine` over `term(*indices)` for a box, from `start`. The last axis' loop is a vector loop:
    its terms may be reassociated."""

    def level(indices: tuple[Value, ...], total: Value) -> Value:
        axis = len(indices)
        if axis == len(extents):
            return combine(total, term(*indices))
        last = axis == len(extents) - 1
        (result,) = loop(
            0,
            extents[axis],
            lambda i, t: (level((*indices, i), t),),
            (total,),
            kind="vector" if last else "seq",
            combine=(combine.name,) if last else (),
            name=f"k{axis}",
        )
        return result

    return level((), start)
