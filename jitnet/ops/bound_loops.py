"""Loops that rules of control flow itself bind, whose bodies say what they read.

    repeat(n, [w], [h], lambda at, i, carried: [mul(at(w), carried[0])])
      # %h.1 = for %n, %w, %h {carries=1, consts=1, ...} @body(%i, %w.1, %h.2) { ... }

Regions are closed: `at` gives a value from outside as the region has it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from jitnet.ir import Builder, Function, Value, current, registry
from jitnet.ops.regions import INDEX
from jitnet.ops.residuals import with_extents

At = Callable[[Value], Value]


def repeat(
    n: Value,
    consts: Sequence[Value],
    carries: Sequence[Value],
    step: Callable[[At, Value, Sequence[Value]], Sequence[Value]],
    **attrs: Any,
) -> list[Value]:
    """`n` times `carries = step(at, i, carries)`, i counting from 0; the final carries. The `for`
    may have further attributes."""
    consts = with_extents([*consts, *_extents(carries)])
    with current().child("body") as b:
        i = b.param(INDEX, "i")
        at, carried = _params(b, consts, carries)
        body = b.build(*step(at, i, carried))
    attrs.update(consts=len(consts), carries=len(carries), scans=0, reverse=False)
    return list(current().bind(registry("array")["for"], (n, *consts, *carries), attrs, (body,)))


def during(
    holds: Callable[[At, Sequence[Value]], Value],
    step: Callable[[At, Sequence[Value]], Sequence[Value]],
    consts: Sequence[Value],
    carries: Sequence[Value],
) -> list[Value]:
    """While `holds(at, carries)`: `carries = step(at, carries)`; the final carries."""
    consts = with_extents([*consts, *_extents(carries)])
    regions: list[Function] = []
    with current().child("cond") as b:
        at, carried = _params(b, consts, carries)
        regions.append(b.build(holds(at, carried)))
    with current().child("body") as b:
        at, carried = _params(b, consts, carries)
        regions.append(b.build(*step(at, carried)))
    attrs = {"consts": len(consts), "carries": len(carries)}
    return list(current().bind(registry("array")["while"], (*consts, *carries), attrs, regions))


def _extents(values: Sequence[Value]) -> list[Value]:
    return [d for v in values for d in v.type.symbolic]


def _params(
    b: Builder, consts: Sequence[Value], carries: Sequence[Value]
) -> tuple[At, list[Value]]:
    inner = b.params_like([*consts, *carries])
    env = dict(zip(consts, inner))
    return lambda v: env.get(v, v), list(inner[len(consts) :])
