"""Long loops that leave much for reverse mode: in segments, each of which is computed twice.

    for 1000 @body            for 22 {                     // saves its carries, 22 times
      leaves 80 kB      →       checkpoint { for 45 @body }   // leaves 3.6 MB, in the same memory
                              }
                              for 10 @body

What a thousand steps leave for the linear half, 80 MB, does not fit into the cache; it takes longer
to write and to read than it took to compute. So only what the loop carries is saved, once for each
segment, and the linear half computes a segment again before it goes through it. There are about as
many bytes in the saved carries as in what one segment leaves.

That is done where a loop leaves more than `LARGE` bytes, at no more than `WORK` flops for a byte.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from jitnet.ir import (
    Builder,
    Effect,
    Eqn,
    Function,
    Literal,
    TapeType,
    Value,
    effect_of,
    index,
    registry,
)
from jitnet.ops.lift import add, mul, sub
from jitnet.ops.linalg import DOT
from jitnet.ops.pointwise import floordiv, maximum
from jitnet.ops.primitive import Element, Halves, Primitive
from jitnet.ops.residuals import adopt
from jitnet.ops.state_choice import TYPICAL, size_in_bytes

LARGE = 8 << 20
"""Bytes that may be in the cache when they are read again."""

WORK = 4.0
"""Flops in which a byte would have been written and read, outside of the cache."""

FEWEST = 16
"""Steps of a loop that is worth it."""


def segment_length(eqn: Eqn, halves: Halves, known: Sequence[Value]) -> int:
    """How many steps of a `for` are to be computed twice together; 0 where none is.

    Args:
        halves: its body in two.
        known: the carries that depend on nothing unknown.
    """
    trips = eqn.operands[0]
    steps = int(trips.item) if isinstance(trips, Literal) else TYPICAL
    if eqn.attrs["scans"] or eqn.attrs["reverse"] or steps < FEWEST:
        return 0
    carried = eqn.operands[1 + eqn.attrs["consts"] :]
    if any(isinstance(v.type, TapeType) or not v.array_type.is_static for v in carried):
        return 0
    (body,) = eqn.regions
    if any(effect_of(e) is Effect.HOST for e in body.walk()):
        return 0  # nobody wants to read twice what a step prints
    definition = {r: e for e in body.eqns for r in e.results}
    left = sum(_bytes(r, definition) for r in halves.made)
    kept = sum(map(size_in_bytes, known))
    if steps * left < LARGE or _flops(halves.known) > WORK * left:
        return 0
    length = _near(math.sqrt(steps * kept / left), trips)
    return length if 2 <= length <= steps // 2 else 0


def _near(length: float, trips: Value) -> int:
    """A number of steps near to this one, such that no steps are left over if that can be."""
    if not isinstance(trips, Literal):
        return round(length)
    n = int(trips.item)
    even = [k for k in range(round(length / 1.5), round(length * 1.5) + 1) if k and n % k == 0]
    return min(even or [round(length)], key=lambda k: abs(k - length))


def _bytes(v: Value, definition: dict[Value, Eqn]) -> float:
    """Of a residual; part of an array is half of it, say."""
    eqn = definition.get(v)
    if eqn is None or isinstance(v.type, TapeType) or v.array_type.is_static:
        return size_in_bytes(v)
    if isinstance(eqn.op, Primitive) and eqn.op.is_view:
        source = eqn.operands[0]
        half = 0.5 if source.array_type.is_static else 1.0
        return half * _bytes(source, definition)
    return size_in_bytes(v)


def _flops(f: Function) -> float:
    """Roughly, of one run."""
    return sum(map(_flops_of, f.eqns))


def _flops_of(eqn: Eqn) -> float:
    if eqn.regions:
        trips = eqn.operands[0] if "carries" in eqn.attrs else index(1)
        times = int(trips.item) if isinstance(trips, Literal) else TYPICAL
        return times * sum(map(_flops, eqn.regions))
    if not eqn.results or isinstance(eqn.results[0].type, TapeType):
        return 0.0
    elements = size_in_bytes(eqn.results[0]) / eqn.results[0].dtype.itemsize
    if eqn.op is DOT:
        dims = [eqn.operands[0].dims[a] for a in eqn.attrs["contract"][0]]
        return 2 * elements * math.prod(d if isinstance(d, int) else TYPICAL for d in dims)
    rule = eqn.op.lowering(eqn) if isinstance(eqn.op, Primitive) else None
    if isinstance(rule, Element):
        return 0.0 if rule.view else rule.cost * elements
    read = [v for v in eqn.operands if not isinstance(v.type, TapeType)]
    if isinstance(eqn.op, Primitive) and eqn.op.writes is not None:
        return size_in_bytes(read[1]) / read[1].dtype.itemsize
    return max([elements, *(size_in_bytes(v) / v.dtype.itemsize for v in read)])


def in_segments(eqn: Eqn, length: int) -> Sequence[Eqn]:
    """Equations that do what a `for` does; they end in its results."""
    trips, *rest = eqn.operands
    c = eqn.attrs["consts"]
    consts, carries = rest[:c], rest[c:]
    with Builder("segments") as b, b.at(eqn.loc):
        count, done, left = _parts(trips, length)
        whole = _segments(eqn, length, consts, carries)
        carries = list(b.bind(eqn.op, (count, *consts, *carries), eqn.attrs, (whole,)))
        if left != index(0):
            _part(b, eqn, left, done, consts, carries)
        adopt(b, eqn.results)
    return b.eqns


def _parts(trips: Value, length: int) -> tuple[Value, Value, Value]:
    """How many segments there are, the steps in them, and those that are left over."""
    if isinstance(trips, Literal):
        n = int(trips.item)
        return index(n // length), index(n - n % length), index(n % length)
    trips = maximum(trips, 0)
    count = floordiv(trips, length)
    done = mul(count, length)
    return count, done, sub(trips, done)


def _segments(eqn: Eqn, length: int, consts: Sequence[Value], carries: Sequence[Value]) -> Function:
    """The body of the loop over segments."""
    c = len(consts)
    with Builder("segment") as b, b.at(eqn.loc):
        first, *inner = b.params_like([index(0), *consts, *carries])
        results = _part(b, eqn, index(length), first, inner[:c], inner[c:])
        segment = b.build(*results)
    with Builder(eqn.regions[0].name) as b, b.at(eqn.loc):
        number, *params = b.params_like([eqn.regions[0].params[0], *consts, *carries])
        op = registry("array")["checkpoint"]
        operands = [mul(number, length), *params]
        return b.build(*b.bind(op, operands, {"again": False}, (segment,)))


def _part(
    b: Builder,
    eqn: Eqn,
    count: Value,
    first: Value,
    consts: Sequence[Value],
    carries: Sequence[Value],
) -> tuple[Value, ...]:
    """So many steps of a loop, from one on."""
    (body,) = eqn.regions
    with Builder(body.name) as inner, inner.at(eqn.loc):
        i, begin, *params = inner.params_like([body.params[0], first, *body.params[1:]])
        region = inner.build(*inner.inline(body, [add(begin, i), *params]))
    attrs = {**eqn.attrs, "consts": 1 + len(consts)}
    return b.bind(eqn.op, (count, first, *consts, *carries), attrs, (region,))
