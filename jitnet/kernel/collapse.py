"""Nests of independent loops over neighbouring axes become one loop over all of their elements.

    for 0, 500 @body(%i: i64) {                    %y = view %x, 0, 1500, 1
      for 0, 3 @body(%j: i64) {              ->    for 0, 1500 @body(%i: i64) {
        store %x, 1.0, %i, %j                        store %y, 1.0, %i
      } }                                          }

Rows of three elements, or of two, are no vectors; all rows together are. Only where every access
steps from one row to the next as it does inside of a row, so that no index has to be taken apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from jitnet.ir import BufferType, Builder, Dim, Eqn, Function, Literal, Value, as_dim, as_value
from jitnet.kernel.indices import ONE, ZERO, multiply
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
    """The nest with fewer loops, and views of the buffers with fewer axes."""

    b: Builder
    levels: Sequence[_Level]
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
        if not at:
            return eqn
        dropped = {v for level in self.levels for v in level.indices[1:]}
        inner = tuple(p for p, v in enumerate(at) if v in dropped)
        if not inner:
            return eqn
        buffer = self.merged(eqn.operands[0], inner)
        kept = [v for v in at if v not in dropped]
        operands = (buffer, *eqn.operands[1:first], *kept)
        return Eqn(eqn.op, operands, eqn.attrs, (), eqn.results, eqn.loc)

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
