"""Whether a kernel may write each element of an update as soon as it is computed.

    %s = slice %A, %k, 0, 1, 60          // A[i] -= A[k]: row k is row i, and then each element is
    %r = slice %A, %i, 0, 1, 60          // read where it is written, or it is another row, and
    %v = sub %r, %s                      // nothing that is read is written
    %B = update %A, %v, %i, 0

It may where no element is read after it was written. Otherwise the new content has to be computed
aside first. The question is one of indices: each element that is read of the array has an affine
index in those of the element that is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from jitnet.ir import Dim, Eqn, Function, Literal, Value, as_value
from jitnet.kernel import indices as ix
from jitnet.ops.pointwise import CONVERT
from jitnet.ops.primitive import Reduction
from jitnet.ops.shape import BROADCAST, RESHAPE, TRANSPOSE
from jitnet.ops.slicing import SLICE
from jitnet.passes.members import Written, primitive, written


class _At(NamedTuple):
    """An index along one axis: `start + step * i`, where i counts along an axis of what is written;
    always `start` where that axis is None."""

    start: Value
    step: int
    axis: int | None


_FIRST = _At(ix.ZERO, 1, None)


def writes_as_it_reads(region: Function, update: Eqn) -> bool:
    """Whether no element of the update's base is read after it was written, if the region is
    computed element by element."""
    return _Reads(region, update).are_early()


def values_written(region: Function, update: Eqn) -> Written:
    """What an update of a kernel writes."""
    return written(update, _producers(region).get)


def without_update(region: Function, update: Eqn) -> tuple[tuple[Eqn, ...], list[Value]]:
    """The equations that compute what an update writes and the other results, and the values to be
    written; those that come in as they are, as copies."""
    eqns = [eqn for eqn in region.eqns if eqn is not update]
    values: list[Value] = []
    for v in values_written(region, update).values:
        if v in region.params:
            copied = Value(v.array_type, v.name)
            eqns.append(Eqn(CONVERT, (v,), {"dtype": v.dtype}, (), (copied,), update.loc))
            v = copied
        values.append(v)
    needed = {*values, *region.results}
    live: list[Eqn] = []
    for eqn in reversed(eqns):
        if not needed.isdisjoint(eqn.results):
            needed.update(eqn.operands)
            live.append(eqn)
    return tuple(reversed(live)), values


def _producers(region: Function) -> dict[Value, Eqn]:
    return {r: eqn for eqn in region.eqns for r in eqn.results}


class _Reads:
    def __init__(self, region: Function, update: Eqn) -> None:
        self.region = region
        self.update = update
        self.base = update.operands[0]
        self.written = values_written(region, update)
        self.producers = _producers(region)
        self.reading = {self.base}
        for eqn in region.eqns:
            if eqn is not update and not self.reading.isdisjoint(eqn.operands):
                self.reading.update(eqn.results)

    def are_early(self) -> bool:
        values = list(self.written.values)
        at = self.own_index(values[0])
        for v in self.region.results:
            if v is not self.update.result and v in self.reading:
                eqn = self.producers[v]
                folds = isinstance(primitive(eqn).lowering(eqn), Reduction)
                values.append(eqn.operands[0] if folds else v)
        return all(v.dims == values[0].dims and self.is_early(v, at) for v in values)

    def own_index(self, value: Value) -> list[_At]:
        """The index of each element that is written."""
        axes = enumerate(self.written.axes)
        own = [_At(ix.ZERO, 1, axis) for axis, a in axes if a is not None]
        return [_FIRST if d == 1 else at for d, at in zip(value.dims, own, strict=True)]

    def is_early(self, v: Value, at: Sequence[_At]) -> bool:
        """Whether the element of v at an index is computed from elements of the base that are not
        written before."""
        if v not in self.reading:
            return True
        if v is self.base:
            return self.is_unwritten(at)
        eqn = self.producers[v]
        if not v.rank:
            return False
        if primitive(eqn).is_pointwise:
            return all(self.is_early(o, at) for o in eqn.operands)
        x = eqn.operands[0]
        if eqn.op is BROADCAST:
            axes = eqn.attrs["axes"]
            kept = [at[a] if d == v.dims[a] else _FIRST for a, d in zip(axes, x.dims)]
            return self.is_early(x, kept)
        if eqn.op is TRANSPOSE:
            perm = list(eqn.attrs["perm"])
            return self.is_early(x, [at[perm.index(a)] for a in range(x.rank)])
        if eqn.op is RESHAPE:
            renamed = _without_units(x, v, at)
            return renamed is not None and self.is_early(x, renamed)
        if eqn.op is not SLICE:
            return False
        starts = eqn.operands[1 : 1 + x.rank]
        parts = [_within(a, s, t) for a, s, t in zip(at, starts, eqn.attrs["steps"])]
        known = [p for p in parts if p is not None]
        return len(known) == len(parts) and self.is_early(x, known)

    def is_unwritten(self, at: Sequence[_At]) -> bool:
        """Whether an element of the base is not written before that is written which is computed
        from it. Along an axis of which one place is written, another place is read or this one."""
        value, starts = self.update.operands[1], self.update.operands[2:]
        pairs = len(self.written.values) == 2
        for axis, (here, start, step) in enumerate(zip(at, starts, self.update.attrs["steps"])):
            if here.axis is None and value.dims[axis] == 1:
                continue
            if here.axis is None and _is_outside(here.start, start, step, value.dims[axis]):
                return True
            if pairs and axis == value.rank - 1:
                continue  # both numbers are read, then both are written
            if here != _At(start, step, axis):
                return False
        return True


def _within(at: _At, start: Value, step: int) -> _At | None:
    """The index in an array of what has this index in a slice of it."""
    if at.start == ix.ZERO:
        return _At(start, step * at.step, at.axis)
    if start == ix.ZERO and step == 1:
        return at
    if isinstance(at.start, Literal) and isinstance(start, Literal):
        return _At(as_value(int(start.item + step * at.start.item)), step * at.step, at.axis)
    return None


def _is_outside(place: Value, start: Value, step: int, extent: Dim) -> bool:
    """Whether a place is none of those in a slice, for sure."""
    if not (isinstance(place, Literal) and isinstance(start, Literal) and isinstance(extent, int)):
        return False
    return place.item not in range(start.item, start.item + step * extent, step)


def _without_units(x: Value, v: Value, at: Sequence[_At]) -> list[_At] | None:
    """The index in x where v is x but for axes of extent 1."""
    rest = [a for a, d in zip(at, v.dims) if d != 1]
    if [d for d in x.dims if d != 1] != [d for d in v.dims if d != 1]:
        return None
    return [_FIRST if d == 1 else rest.pop(0) for d in x.dims]
