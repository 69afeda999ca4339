"""What fusion and lowering ask of one equation: what it loops over, and what it writes.

    %r = reshape %v, 1, 60                  // %v: f64[60] is what is written, to row %i:
    %B = update %A, %r, %i, 0               // the kernel loops over 60 elements

Groups are made of this, and the loops of a group.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from jitnet.ir import Dim, Eqn, Value
from jitnet.kernel import indices as ix
from jitnet.ops.complexes import INTERLEAVE
from jitnet.ops.primitive import Primitive, Reduction
from jitnet.ops.shape import RESHAPE
from jitnet.ops.slicing import UPDATE


def primitive(eqn: Eqn) -> Primitive:
    """The equation's op as an array op."""
    assert isinstance(eqn.op, Primitive), f"{eqn.op.name} is no array op"
    return eqn.op


def strip_units(dims: tuple[Dim, ...]) -> tuple[Dim, ...]:
    """The dims without trailing ones: `[R, 1]` iterates as `[R]`."""
    n = len(dims)
    while n and dims[n - 1] == 1:
        n -= 1
    return dims[:n]


def is_free(eqn: Eqn) -> bool:
    """Whether the equation costs nothing where it is read: a view, or made from scalars alone."""
    op = primitive(eqn)
    return op.is_element and (op.is_view or all(v.rank == 0 for v in eqn.operands))


def iteration_dims(eqn: Eqn, producer: Producer) -> tuple[Dim, ...]:
    """The dims that a group member loops over."""
    if isinstance(primitive(eqn).lowering(eqn), Reduction):
        return eqn.operands[0].dims
    return written(eqn, producer).values[0].dims if eqn.op in ENDS else eqn.result.dims


ENDS = (UPDATE, INTERLEAVE)
"""What ends a group: it is written as its operands are computed, and read outside only."""

Producer = Callable[[Value], Eqn | None]
"""The equation, of those at hand, that binds a value."""


@dataclass(frozen=True)
class Written:
    """What an equation that ends a group writes.

    Attributes:
        values: the new content of a slice, or its two halves.
        axes: for each axis of the slice, that of the values which it is; None where it is of extent
            1 and no axis of theirs, or is that of the two halves.
    """

    values: tuple[Value, ...]
    axes: tuple[int | None, ...]

    def places(self, index: Sequence[Value]) -> list[tuple[Value, ...]]:
        """Where in the slice each value's element of an index goes."""
        at = [ix.ZERO if a is None else index[a] for a in self.axes]
        if len(self.values) == 1:
            return [tuple(at)]
        return [(*at[:-1], ix.ZERO), (*at[:-1], ix.ONE)]


def written(eqn: Eqn, producer: Producer) -> Written:
    """What is written, before it is put into the form of a slice: rows without an axis of rows, and
    halves that are not put side by side before."""
    if eqn.op is INTERLEAVE:
        return Written(eqn.operands, (*range(eqn.operands[0].rank), None))
    value = eqn.operands[1]
    pairs = producer(value)
    if pairs is not None and pairs.op is INTERLEAVE:
        values, dims = pairs.operands, value.dims[:-1]
    else:
        values, dims = (value,), value.dims
    sources = [_before_units(v, producer) for v in values]
    found = tuple(v for v in sources if v is not None)
    if len(found) == len(values) and len({v.dims for v in found}) == 1:
        values = found
    axes: list[int | None] = []
    count = 0
    for d in dims:
        same = len(dims) == values[0].rank or d != 1
        axes.append(count if same else None)
        count += same
    return Written(values, (*axes, *[None] * (value.rank - len(dims))))


def _before_units(v: Value, producer: Producer) -> Value | None:
    """The value without axes of extent 1 that v is a reshape of."""
    eqn = producer(v)
    if eqn is None or eqn.op is not RESHAPE:
        return None
    x = eqn.operands[0]
    return x if x.rank and x.dims == tuple(d for d in v.dims if d != 1) else None


def kept_rows(eqn: Eqn) -> int | None:
    """How many leading dims a reduction over all trailing ones keeps; None for other axes."""
    rank = eqn.operands[0].rank
    axes = tuple(eqn.attrs["axes"])
    return rank - len(axes) if axes == tuple(range(rank - len(axes), rank)) else None
