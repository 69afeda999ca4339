"""Which loads and stores of an elementwise nest are next to each other, and go 16 bytes at a time.

    for %i { %a = load %x, %i; ... store %y, %b, %i }        pack<float, 4> of x, and of y

A pack begins where its addresses are multiples of 16, which is asked for when the kernel runs. In a
nest of several loops the rows have to be whole packs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jitnet.codegen.cuda.memory import Root, Roots, static_strides
from jitnet.codegen.cuda.rows import is_scalar_op
from jitnet.codegen.cuda.state import trips
from jitnet.ir import Eqn, Literal, Value
from jitnet.kernel import statements as S

Key = tuple[Value, tuple[Value, ...]]
"""A buffer, and the indices before the last one."""


@dataclass(frozen=True)
class Packs:
    """Attributes:
    lanes: elements of each pack.
    loads, stores: those that are lanes of a pack, and of which.
    """

    lanes: int
    loads: Mapping[Eqn, Key]
    stores: Mapping[Eqn, Key]


def find_packs(levels: Sequence[Eqn], eqns: Sequence[Eqn], roots: Roots) -> Packs | None:
    """The packs of a nest, or None where there are none."""
    if not levels or not all(_is_zero(level.operands[0]) for level in levels):
        return None
    last = levels[-1].regions[0].params[0]
    inside = {last, *(r for e in eqns for r in e.results)}
    alone = 0  # loads of elements that are no lanes
    loads: dict[Eqn, Key] = {}
    stores: dict[Eqn, Key] = {}
    written: list[Root] = []
    for eqn in eqns:
        if eqn.op is S.LOAD:
            key = _key(eqn, 1, last, inside)
            if key is not None:
                loads[eqn] = key
            else:
                alone += not inside.isdisjoint(eqn.operands[1:])
            if any(not roots[eqn.operands[0]].is_apart(root) for root in written):
                return None
        elif eqn.op is S.STORE and "atomic" not in eqn.attrs:
            key = _key(eqn, 2, last, inside)
            if key is None or key in stores.values():
                return None
            stores[eqn] = key
            written.append(roots[key[0]])
        elif not is_scalar_op(eqn):
            return None
    return _of(levels, loads, stores) if alone <= len(loads) else None


def _of(levels: Sequence[Eqn], loads: Mapping[Eqn, Key], stores: Mapping[Eqn, Key]) -> Packs | None:
    keys = (*loads.values(), *stores.values())
    lanes = 16 // max((key[0].dtype.itemsize for key in keys), default=16)
    if lanes < 2:
        return None
    if len(levels) > 1:
        count = trips(levels[-1])
        if not count or count % lanes or not all(_are_rows(key[0], lanes) for key in keys):
            return None
    return Packs(lanes, loads, stores)


def _are_rows(buffer: Value, lanes: int) -> bool:
    """Whether all rows begin at whole packs, if the first one does."""
    strides = static_strides(buffer.buffer_type)
    return strides is not None and all(step % lanes == 0 for step in strides[:-1])


def _key(eqn: Eqn, first: int, index: Value, inside: set[Value]) -> Key | None:
    """The pack that an element is in: neighbours along the last axis."""
    buffer, at = eqn.operands[0], eqn.operands[first:]
    if not at or at[-1] is not index or not inside.isdisjoint((buffer, *at[:-1])):
        return None
    strides = static_strides(buffer.buffer_type)
    last = buffer.buffer_type.strides[-1] if buffer.buffer_type.strides else 1
    return (buffer, at[:-1]) if (strides[-1] if strides else last) == 1 else None


def _is_zero(v: Value) -> bool:
    return isinstance(v, Literal) and not v.item
