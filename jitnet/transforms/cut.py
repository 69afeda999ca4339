"""What to save and what to compute again: the fewest bytes from which all residuals follow.

    %a = mul %u, %u       residuals %b, %c and %u of a step:  save %u alone, 8 bytes an element;
    %b = sub %a, %u       %a, %b and %c are computed again
    %c = neg %b

A least cut through the graph of values, by augmenting paths (Edmonds and Karp, 1972). Each value is
an edge whose capacity is its size, and leads on to what is computed from it; what is not to be
computed again hangs at the source, residuals hang at the sink. Of equal cuts, the one next to the
residuals: it leaves least to compute.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from jitnet.ir import Eqn, Literal, Value

LIMIT = 4000
"""Values up to which a cut is looked for; it takes more than linear time."""


def least_saved(
    wanted: Sequence[Value],
    made: Mapping[Value, Eqn],
    has: Callable[[Value], bool],
    again: Callable[[Eqn], bool],
    size: Callable[[Value], float],
) -> set[Value]:
    """The values to save, so that the `wanted` ones can be computed.

    Args:
        made: the equation of each known value.
        has: whether a value is there anyway.
        again: whether an equation may be computed again.
        size: in bytes.
    """
    graph = _Graph()
    seen: set[Value] = set()
    stack = [v for v in wanted if not has(v)]
    for v in stack:
        graph.add(("out", v), "sink", math.inf)
    while stack:
        v = stack.pop()
        if v in seen:
            continue
        seen.add(v)
        graph.add(("in", v), ("out", v), size(v))
        eqn = made.get(v)
        if eqn is None or not again(eqn):
            graph.add("source", ("in", v), math.inf)
            continue
        for o in eqn.operands:
            if not isinstance(o, Literal) and not has(o):
                graph.add(("out", o), ("in", v), math.inf)
                stack.append(o)
    if len(seen) > LIMIT:
        return {v for v in wanted if not has(v)}
    graph.fill("source", "sink")
    left = graph.leading_to("sink")
    return {v for v in seen if ("out", v) in left and ("in", v) not in left}


class _Graph:
    """Capacities that are left, by the two ends of an edge."""

    def __init__(self) -> None:
        self.left: dict[object, dict[object, float]] = {"source": {}, "sink": {}}

    def add(self, a: object, b: object, capacity: float) -> None:
        self.left.setdefault(a, {})[b] = capacity
        self.left.setdefault(b, {}).setdefault(a, 0.0)

    def fill(self, source: object, sink: object) -> None:
        """Send as much through the graph as there is room for."""
        while (came_from := self._path(source, sink)) is not None:
            edges = []
            at = sink
            while at != source:
                edges.append((came_from[at], at))
                at = came_from[at]
            room = min(self.left[a][b] for a, b in edges)
            for a, b in edges:
                self.left[a][b] -= room
                self.left[b][a] += room

    def _path(self, source: object, sink: object) -> dict[object, object] | None:
        """A shortest path that has room, as where each place on it was come from."""
        came_from: dict[object, object] = {source: source}
        queue = deque([source])
        while queue:
            a = queue.popleft()
            for b, room in self.left[a].items():
                if room > 0 and b not in came_from:
                    came_from[b] = a
                    if b == sink:
                        return came_from
                    queue.append(b)
        return None

    def leading_to(self, sink: object) -> set[object]:
        """The places from which there is room to the sink."""
        found = {sink}
        stack = [sink]
        while stack:
            b = stack.pop()
            for a in self.left[b]:
                if self.left[a][b] > 0 and a not in found:
                    found.add(a)
                    stack.append(a)
        return found
