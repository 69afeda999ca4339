"""How a reshape renumbers elements: the axes of both sides fall into groups of equal size.

    f64[6, %n, 1, 4] -> f64[2, 3, %n, 2, 2]      6 -> 2, 3      %n -> %n      4 -> 2, 2

Inside a group an index is put together (C order) and taken apart again; across groups nothing
mixes, so that adding or dropping unit axes costs nothing, and splitting or merging neighbours costs
arithmetic for those axes only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

from jitnet.ir import Dim, Value
from jitnet.kernel import indices as ix


class Group(NamedTuple):
    """Axes of the operand and of the result that hold as many elements. Unit axes are in none."""

    source: tuple[int, ...]
    target: tuple[int, ...]


def groups(source: Sequence[Dim], target: Sequence[Dim]) -> list[Group]:
    """The finest groups that the dims prove, in order; one takes what is left. The sides hold as
    many elements, so where the last axes are the same, what is in front of them is as large, too
    (or there are no elements)."""
    ends = {size: k for k, (_, size) in enumerate(_sizes(source), start=1)}
    source_axes = [axis for axis, _ in _sizes(source)]
    found: list[Group] = []
    begin = 0
    pending: list[int] = []
    for axis, size in _sizes(target):
        pending.append(axis)
        end = ends.get(size, 0)
        if end > begin:
            found.append(Group(tuple(source_axes[begin:end]), tuple(pending)))
            begin, pending = end, []
    rest = source_axes[begin:]
    shared: list[Group] = []
    while rest and pending and source[rest[-1]] == target[pending[-1]]:
        shared.append(Group((rest.pop(),), (pending.pop(),)))
    if pending or rest:
        found.append(Group(tuple(rest), tuple(pending)))
    return [*found, *reversed(shared)]


def _sizes(dims: Sequence[Dim]) -> list[tuple[int, object]]:
    """Each axis that is not of extent 1, with the size of the box up to it: a hashable monomial."""
    number = 1
    symbols: Counter[Value] = Counter()
    sizes: list[tuple[int, object]] = []
    for axis, d in enumerate(dims):
        if d == 1:
            continue
        if isinstance(d, int):
            number *= d
        else:
            symbols[d] += 1
        sizes.append((axis, (number, frozenset(symbols.items()))))
    return sizes


def source_index(
    source: Sequence[Dim],
    target: Sequence[Dim],
    index: Sequence[Value],
    dim: Callable[[Dim], Value],
) -> list[Value]:
    """The operand's index of the element that the result has at `index`."""
    result = [ix.ZERO] * len(source)
    for group in groups(source, target):
        number = ix.linearise(
            [index[axis] for axis in group.target], [dim(target[axis]) for axis in group.target]
        )
        parts = ix.delinearise(number, [dim(source[axis]) for axis in group.source])
        for axis, part in zip(group.source, parts):
            result[axis] = part
    return result


def target_strides(
    source: Sequence[Dim],
    target: Sequence[Dim],
    strides: Sequence[Value],
    dim: Callable[[Dim], Value],
) -> list[Value] | None:
    """The result's strides over the operand's memory; None where strides cannot say it (or
    constants do not show that they can)."""
    result = [ix.ZERO] * len(target)
    for group in groups(source, target):
        for outer, inner in zip(group.source, group.source[1:]):
            if strides[outer] != ix.multiply(strides[inner], dim(source[inner])):
                return None
        stride = strides[group.source[-1]] if group.source else ix.ZERO
        for axis in reversed(group.target):
            result[axis] = stride
            stride = ix.multiply(stride, dim(target[axis]))
    return result
