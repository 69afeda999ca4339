"""What a condition says of the number that chooses one of several things.

    %none: bool = eq %which, 0     noted as a test: where %none holds, %which is 0
    if %none { ... } { ... }       the first arm knows that, the second one that it is not 0

Where `variants` are compared with one of their objects, or asked for their truth, this is noted
beside the answer. An arm of an `if`, the body of a loop and what follows an `assert` look it up, so
that what cannot be there is not traced.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AnySet
from typing import Any, NamedTuple

from jitnet import ops
from jitnet.frontend.context import Trace, running_trace
from jitnet.frontend.tracer import Tracer
from jitnet.ir import Value


class Fact(NamedTuple):
    """What a condition says of a number, and what that may be where the condition holds and where
    it does not."""

    which: Any
    inside: AnySet[int]
    outside: AnySet[int]


def says(condition: Value, which: Any, inside: AnySet[int], outside: AnySet[int]) -> None:
    """Note that a number is one of `inside` where a condition holds, one of `outside` elsewhere."""
    running_trace().function.tests[condition] = [Fact(which, inside, outside)]


def possible(which: Any, count: int) -> list[int]:
    """What a number below `count` may be, by the conditions that hold where the trace is."""
    found: AnySet[int] = frozenset(range(count))
    trace: Trace | None = running_trace()
    while trace is not None:
        _, numbers = trace.facts.get(id(which), (which, found))
        found &= numbers
        trace = trace.parent
    return sorted(found) or [0]


def negated(condition: Value) -> Value:
    """`not condition`, which branches know the meaning of where they do that of the condition."""
    found = ops.logical_not(condition)
    tests = running_trace().function.tests
    if condition in tests:
        tests[found] = [Fact(f.which, f.outside, f.inside) for f in tests[condition]]
    return found


def note_parts(whole: Any, parts: Iterable[Value | None], every: bool) -> Any:
    """`a and b`: where it holds, each of its parts does (`every`); `a or b`: where it does not,
    none of them does. The whole itself."""
    tests = running_trace().function.tests
    known = [fact for part in parts if part is not None for fact in tests.get(part, ())]
    if type(whole) is Tracer and known:
        tests[whole.value] = [
            Fact(f.which, f.inside, f.inside | f.outside)
            if every
            else Fact(f.which, f.inside | f.outside, f.outside)
            for f in known
        ]
    return whole


def note_fact(region: Trace, condition: Value, holds: bool) -> None:
    """Note in a region that a condition holds there, or does not."""
    for fact in running_trace().function.tests.get(condition, ()):
        numbers = fact.inside if holds else fact.outside
        _, before = region.facts.get(id(fact.which), (None, numbers))
        region.facts[id(fact.which)] = fact.which, before & numbers
