"""Writes through a mask of what is computed, element by element, of the masked elements.

    %k, %y = compress %m, %x
    %v = mul %y, %y                         %v = mul %x, %x
    %n, %i = compress %m, (iota 9)    ->    %z = select %m, %v, %x
    %z = scatter %x, %v, %i

`x[m] = x[m] * x[m]` becomes a choice for each element. That computes elements that are not taken,
so only what is cheap is: nothing is gathered, nothing scattered, and it fuses.
"""

from __future__ import annotations

from collections.abc import Sequence

from jitnet.ir import Definition, Dim, Eqn, Literal, Rule, Value, current, rule
from jitnet.ops.complexes import INTERLEAVE, interleave, taken_apart
from jitnet.ops.create import IOTA
from jitnet.ops.index import COMPRESS, SCATTER
from jitnet.ops.lift import select
from jitnet.ops.primitive import Element, Primitive
from jitnet.ops.shape import BROADCAST, RESHAPE, broadcast, reshape

CHEAP = 24
"""Flops for an element up to which it may be computed in vain."""


@rule(SCATTER)
def masked_write(eqn: Eqn, definition: Definition) -> Value | None:
    """A choice between what is written and what is there."""
    base, value, *indices = eqn.operands
    rank = len(indices)
    if eqn.attrs["mode"] != "set" or tuple(eqn.attrs["axes"]) != tuple(range(rank)):
        return None
    dims = base.dims[:rank]
    masks = [_mask(i, dims, axis, definition) for axis, i in enumerate(indices)]
    mask = masks[0] if masks else None
    if mask is None or any(m is not mask for m in masks):
        return None
    dense = _Dense(mask, dims, definition)
    if base.rank == rank:
        found = dense.of(value)
        return None if found is None else select(reshape(mask, dims), found, base)
    pairs = definition(value)
    if pairs is None or pairs.op is not INTERLEAVE or base.dims[rank:] != (2,):
        return None
    halves = [dense.of(v) for v in pairs.operands]
    chosen = [
        select(reshape(mask, dims), new, old)
        for new, old in zip(halves, taken_apart(base))
        if new is not None
    ]
    return interleave(*chosen) if len(chosen) == 2 else None


def _mask(index: Value, dims: Sequence[Dim], axis: int, definition: Definition) -> Value | None:
    """The mask where an index array lists the places, along an axis, of its True elements."""
    eqn = definition(index)
    if eqn is not None and eqn.op is RESHAPE and eqn.operands[0].rank == 1 == index.rank:
        (index,) = eqn.operands[:1]  # the same elements, of an extent that another array has
        eqn = definition(index)
    if eqn is None or eqn.op is not COMPRESS:
        return None
    number = definition(eqn.operands[eqn.results.index(index)])
    if number is not None and number.op is RESHAPE:
        number = definition(number.operands[0])
    if number is None or number.op is not IOTA or number.attrs["axis"] != axis:
        return None
    return eqn.operands[0] if number.result.dims == tuple(dims) else None


class _Dense:
    """Values of masked elements, computed for all elements instead, which are of `dims`."""

    def __init__(self, mask: Value, dims: Sequence[Dim], definition: Definition) -> None:
        self.mask = mask
        self.dims = dims
        self.definition = definition
        self.known: dict[Value, Value | None] = {}
        self.flops = 0

    def of(self, v: Value) -> Value | None:
        """What v is the masked elements of; None where that is not known, or dear."""
        if isinstance(v, Literal):
            return v
        if v not in self.known:
            eqn = self.definition(v)
            self.known[v] = None if eqn is None or v.rank == 0 else self.computed(v, eqn)
        return self.known[v]

    def computed(self, v: Value, eqn: Eqn) -> Value | None:
        assert isinstance(eqn.op, Primitive)
        if eqn.op is COMPRESS:
            x = eqn.operands[eqn.results.index(v)]
            of_mask = eqn.operands[0] is self.mask and x.rank == 1
            return reshape(x, self.dims) if of_mask else None
        if eqn.op is RESHAPE and eqn.operands[0].rank == 1 == v.rank:
            return self.of(eqn.operands[0])
        if eqn.op is BROADCAST and eqn.operands[0].rank == 0:
            return broadcast(eqn.operands[0], self.dims, ())
        if not eqn.op.is_pointwise or v.rank != 1:
            return None
        lowered = eqn.op.lowering(eqn)
        self.flops += lowered.cost if isinstance(lowered, Element) else CHEAP + 1
        operands = [self.of(o) for o in eqn.operands]
        if self.flops > CHEAP or any(o is None for o in operands):
            return None
        return current().rebind(eqn, [o for o in operands if o is not None])[0]


MASKED_WRITES: tuple[Rule, ...] = (masked_write,)
