"""Which loads and stores of an elementwise nest are next to each other, and go 16 bytes at a time.

    for %i { %a = load %x, %i; ... store %y, %b, %i }        pack<float, 4> of x, and of y

A pack begins where its addresses are multiples of 16, which is asked for when the kernel runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jitnet.codegen.cuda.memory import Root, Roots, static_strides
from jitnet.codegen.cuda.rows import is_scalar_op
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
    if len(levels) != 1 or not _is_zero(levels[0].operands[0]):
        return None
    index = levels[0].regions[0].params[0]
    inside = {index, *(r for e in eqns for r in e.results)}
    loads: dict[Eqn, Key] = {}
    stores: dict[Eqn, Key] = {}
    written: list[Root] = []
    for eqn in eqns:
        if eqn.op is S.LOAD:
            key = _key(eqn, 1, index, inside)
            if key is not None:
                loads[eqn] = key
                if any(not roots[key[0]].is_apart(root) for root in written):
                    return None
        elif eqn.op is S.STORE:
            key = _key(eqn, 2, index, inside)
            if key is None or key in stores.values():
                return None
            stores[eqn] = key
            written.append(roots[key[0]])
        elif not is_scalar_op(eqn):
            return None
    sizes = [key[0].dtype.itemsize for key in (*loads.values(), *stores.values())]
    lanes = 16 // max(sizes, default=16)
    return Packs(lanes, loads, stores) if lanes > 1 else None


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
