"""Nests of kernel loops over a box, for lowering rules that write their results themselves.

    nest((%n, 3), body)      for %i0 = 0 to %n {kind="seq"} (%i0: i64) {
                               for %i1 = 0 to 3 {kind="vector"} (%i1: i64) { body((%i0, %i1)) } }

Beside it copies, fills and folds, which are such nests.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from jitnet.ir import Value, current
from jitnet.kernel.collapse import collapse
from jitnet.kernel.indices import ONE, ZERO
from jitnet.kernel.scalars import ScalarOp
from jitnet.kernel.statements import as_index, load, loop, store


def nest(
    extents: Sequence[Value | int],
    body: Callable[[tuple[Value, ...]], None],
    innermost: str = "vector",
) -> None:
    """Call `body(indices)` inside loops over a box in C order.

    Args:
        extents: ints or kernel i64 scalars. An axis of extent 1 gets no loop, its index is 0.
        body: emits the statements for one element; called once. Rank 0 takes no indices.
        innermost: kind of the last loop: "vector" only where elements are independent and the body
            has no loops of its own. The other loops are sequential; where elements are
            independent, loops that can be one become one.
    """
    values = [as_index(d) for d in extents]
    looped = [axis for axis, extent in enumerate(values) if extent != ONE]

    def level(indices: tuple[Value, ...]) -> None:
        axis = len(indices)
        if axis == len(values):
            body(indices)
            return
        if values[axis] == ONE:
            level((*indices, ZERO))
            return
        kind = innermost if axis == looped[-1] else "seq"
        loop(ZERO, values[axis], lambda i: level((*indices, i)), kind=kind, name=f"i{axis}")

    level(())
    if innermost == "vector":
        collapse(current())


def copy(source: Value, target: Value, extents: Sequence[Value | int]) -> None:
    """Copy a box of elements from one buffer to another, whatever their strides."""
    nest(extents, lambda at: store(target, load(source, *at), *at))


def fill(target: Value, value: Value, extents: Sequence[Value | int]) -> None:
    """Set every element of a box to a scalar."""
    nest(extents, lambda at: store(target, value, *at))


def fold(
    extents: Sequence[Value | int],
    term: Callable[..., Value],
    combine: ScalarOp,
    start: Value,
) -> Value:
    """`combine` over `term(*indices)` for a box, from `start`. The last axis is a vector loop:
    terms may be reassociated."""

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
