"""Nests of independent loops over neighbouring axes become one loop over all of their elements.

    for 0, 500 @body(%i: i64) {                    %y = view %x, 0, 1500, 1
      for 0, 3 @body(%j: i64) {              ->    for 0, 1500 @body(%i: i64) {
        store %x, 1.0, %i, %j                        store %y, 1.0, %i
      } }                                          }

Rows of three elements, or of two, are no vectors; all rows together are. Only where every access
steps from one row to the next as it does inside of a row, so that no index has to be taken apart.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from jitnet.ir import BufferType, Builder, Dim, Eqn, Function, Literal, Value, as_dim, as_value
from jitnet.kernel.indices import ONE, ZERO, multiply, quotient, remainder
from jitnet.kernel.scalars import Conversion, ScalarOp
from jitnet.kernel.statements import FOR, LOAD, STORE, view


@dataclass(frozen=True, eq=False)
class _Level:
    """One loop of a nest, from 0 to `extent`, or several as one.

    Attributes:
        indices: those that were the loops', outermost first.
        extents: theirs.
        index: the one that counts through all of them.
    """

    indices: tuple[Value, ...]
    extents: tuple[Value, ...]
    index: Value


def collapse(b: Builder) -> None:
    """Rewrite the nest of loops that was bound last, if it is one. The iterations of all loops must
    be independent of each other; the innermost becomes a vector loop."""
    nest = b.eqns[-1] if b.eqns else None
    if nest is None or nest.op is not FOR:
        return
    levels, body = _levels(nest)
    if len(levels) < 2 or any(eqn.regions for eqn in body):
        return
    taken_apart = {v for eqn in body for v in eqn.operands[: _first_index(eqn)]}
    merged = [levels[0]]
    for level in levels[1:]:
        if _follows(merged[-1], level, body, taken_apart):
            outer = merged.pop()
            indices, extents = outer.indices + level.indices, outer.extents + level.extents
            level = _Level(indices, extents, outer.index)
        merged.append(level)
    if len(merged) < len(levels):
        b.eqns.pop()
        _Rebuilt(b, merged).emit(nest, body)


def joined(nest: Eqn) -> Sequence[Eqn] | None:
    """A loop in order with nothing but another one inside, whatever both carry and whatever that
    one does, as one loop over all of their elements, behind the views that it needs. What does not
    step from one row to the next as inside of a row has its indices computed from the one that is
    left; None where that would be so for what is written, as elements that are apart no longer look
    so, or for what types name."""
    inner = inside(nest)
    if inner is None:
        return None
    (outer_body,), (body,) = nest.regions, inner.regions
    i, (j, *carries), extent = outer_body.params[0], body.params, inner.operands[1]
    body = replace(body, eqns=(*outer_body.eqns[:-1], *body.eqns), _hash=[])
    rows, row = (_Level((v,), (loop.operands[1],), v) for v, loop in ((i, nest), (j, inner)))
    everything = list(body.walk())
    bound = {v for e in everything for v in (*e.results, *(p for r in e.regions for p in r.params))}
    if any(v in bound_of.type.symbolic for bound_of in bound for v in (i, j)):
        return None
    followers = {
        id(e)
        for e in everything
        if e.op in (LOAD, STORE)
        and e.operands[0] not in bound
        and _follows(rows, row, [e], {*e.operands[: _first_index(e)]})
    }
    if any(e.op is STORE and id(e) not in followers and {i, j} & {*e.operands} for e in everything):
        return None
    level = _Level((i, j), (*rows.extents, extent), i)
    with Builder("joined", "kernel") as b, b.at(nest.loc):
        with b.child("body") as round:
            apart = {i: quotient(i, extent), j: remainder(i, extent)}
        rebuilt = _Rebuilt(b, [level], followers, apart)
        eqns = tuple(map(rebuilt.access, body.eqns))
        results = tuple(apart.get(v, v) for v in body.results)
        asked = {v for e in eqns for inner in (e, *_within(e)) for v in inner.operands}
        asked.update(results, *(r.results for e in eqns for r in _regions(e)))
        eqns = (*(e for e in round.eqns if e.result in asked), *eqns)
        region = Function("body", (i, *carries), eqns, results, "kernel")
        operands = (ZERO, multiply(*level.extents), *nest.operands[2:])
        b.eqns.append(Eqn(FOR, operands, nest.attrs, (region,), nest.results, nest.loc))
    return b.eqns


def _regions(eqn: Eqn) -> list[Function]:
    return [r for e in (eqn, *_within(eqn)) for r in e.regions]


def _within(eqn: Eqn) -> Iterator[Eqn]:
    for region in eqn.regions:
        yield from region.walk()


def inside(nest: Eqn) -> Eqn | None:
    """The loop in order that is all that a loop in order does, scalars aside, both from 0 on; what
    is carried goes through it."""
    (body,) = nest.regions
    if nest.attrs["kind"] != "seq" or nest.attrs["combine"] or not body.eqns:
        return None
    *scalars, inner = body.eqns
    if inner.op is not FOR or inner.attrs != nest.attrs:
        return None
    if not all(isinstance(e.op, ScalarOp | Conversion) for e in scalars):
        return None
    inner_of = {body.params[0], *(e.result for e in scalars)}
    if nest.operands[0] != ZERO or inner.operands[0] != ZERO or inner_of & {*inner.operands}:
        return None
    carried = (list(inner.operands[2:]), list(inner.results))
    return inner if carried == (list(body.params[1:]), list(body.results)) else None


def _levels(nest: Eqn) -> tuple[list[_Level], Sequence[Eqn]]:
    """The loops that have nothing but a loop inside, and what the last of them does."""
    levels: list[_Level] = []
    body: Sequence[Eqn] = (nest,)
    while len(body) == 1 and body[0].op is FOR:
        low, high, *carries = body[0].operands
        if low != ZERO or carries:
            break
        region = body[0].regions[0]
        levels.append(_Level(region.params, (high,), region.params[0]))
        body = region.eqns
    return levels, body


def _first_index(eqn: Eqn) -> int:
    """Where the indices of an access begin among its operands; all operands are before it."""
    if eqn.op is LOAD:
        return 1
    return 2 if eqn.op is STORE else len(eqn.operands)


def _follows(outer: _Level, inner: _Level, body: Iterable[Eqn], taken_apart: set[Value]) -> bool:
    """Whether two loops can be one."""
    i, j = outer.indices[-1], inner.indices[0]
    if i in taken_apart or j in taken_apart:
        return False
    for eqn in body:
        at = eqn.operands[_first_index(eqn) :]
        if i not in at and j not in at:
            continue
        both = [p for p, (a, b) in enumerate(pairwise(at)) if a is i and b is j]
        if len(both) != 1 or at.count(i) != 1 or at.count(j) != 1:
            return False
        if not _is_contiguous(eqn.operands[0].buffer_type, both[0], inner.extents[0]):
            return False
    return True


def _is_contiguous(type: BufferType, axis: int, extent: Value) -> bool:
    """Whether the next axis is of this extent, and a step along `axis` is all of it."""
    if type.strides is None:
        return as_value(type.dims[axis + 1]) == extent
    outer, inner = type.strides[axis : axis + 2]
    if not isinstance(outer, int) or not isinstance(inner, int):
        return False
    return isinstance(extent, Literal) and outer == inner * extent.item


@dataclass
class _Rebuilt:
    """The nest with fewer loops, and views of the buffers with fewer axes.

    Attributes:
        followers: the accesses, by identity, for which loops can be one; None: all of them.
        apart: for all others, what stands for the loops' indices.
    """

    b: Builder
    levels: Sequence[_Level]
    followers: Collection[int] | None = None
    apart: Mapping[Value, Value] = field(default_factory=dict)
    views: dict[tuple[Value, tuple[int, ...]], Value] = field(default_factory=dict)

    def emit(self, nest: Eqn, body: Sequence[Eqn]) -> None:
        eqns = tuple(map(self.access, body))
        for level in reversed(self.levels):
            high = ONE
            for extent in level.extents:
                high = multiply(high, extent)
            kind = "vector" if level is self.levels[-1] else "seq"
            region = Function("body", (level.index,), eqns, (), "kernel")
            attrs = {"kind": kind, "combine": ()}
            eqns = (Eqn(FOR, (ZERO, high), attrs, (region,), (), nest.loc),)
        self.b.eqns.extend(eqns)

    def access(self, eqn: Eqn) -> Eqn:
        first = _first_index(eqn)
        at = eqn.operands[first:]
        if self.followers is not None and id(eqn) not in self.followers:
            return self.taken_apart(eqn)
        if not at:
            return eqn
        dropped = {v for level in self.levels for v in level.indices[1:]}
        inner = tuple(p for p, v in enumerate(at) if v in dropped)
        if not inner:
            return eqn
        buffer = self.merged(eqn.operands[0], inner)
        kept = [v for v in at if v not in dropped]
        before = [self.apart.get(v, v) for v in eqn.operands[1:first]]
        operands = (buffer, *before, *kept)
        return Eqn(eqn.op, operands, eqn.attrs, (), eqn.results, eqn.loc)

    def taken_apart(self, eqn: Eqn) -> Eqn:
        """With indices that are computed, where the loops' own stood."""
        regions = [
            replace(
                r,
                eqns=tuple(map(self.access, r.eqns)),
                results=tuple(self.apart.get(v, v) for v in r.results),
                _hash=[],
            )
            for r in eqn.regions
        ]
        operands = tuple(self.apart.get(v, v) for v in eqn.operands)
        return replace(eqn, operands=operands, regions=tuple(regions))

    def merged(self, buffer: Value, inner: tuple[int, ...]) -> Value:
        """A view in which each of these axes is one with the axis before it."""
        if (buffer, inner) not in self.views:
            type = buffer.buffer_type
            dims: list[Value] = []
            strides: list[Dim] = []
            for axis, (dim, stride) in enumerate(zip(type.dims, _strides(type))):
                if axis in inner:
                    dims[-1], strides[-1] = multiply(dims[-1], as_value(dim)), stride
                else:
                    dims.append(as_value(dim))
                    strides.append(stride)
            self.views[buffer, inner] = view(buffer, ZERO, list(map(as_dim, dims)), strides)
        return self.views[buffer, inner]


def _strides(type: BufferType) -> tuple[Dim, ...]:
    if type.strides is not None:
        return type.strides
    strides = [ONE]
    for dim in reversed(type.dims[1:]):
        strides.append(multiply(as_value(dim), strides[-1]))
    return tuple(map(as_dim, reversed(strides)))
