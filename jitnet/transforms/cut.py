"""What to save and what to compute again: the fewest bytes from which all residuals follow.

    %a = mul %u, %u       residuals %b, %c and %u of a step:  save %u alone, 8 bytes an element;
    %b = sub %a, %u       %a, %b and %c are computed again
    %c = neg %b

A least cut through the graph of values, by filling all shortest paths at a time (Dinitz, 1970).
Each value is an edge whose capacity is its size, and leads on to what is computed from it; what is
not to be computed again hangs at the source, residuals hang at the sink. Of equal cuts, the one
next to the residuals: it leaves least to compute.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

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
        while sink in (levels := self._levels(source)):
            self._fill_shortest(source, sink, levels)

    def _levels(self, source: object) -> dict[object, int]:
        """How far the places are to which there is room."""
        levels = {source: 0}
        queue = deque([source])
        while queue:
            a = queue.popleft()
            for b, room in self.left[a].items():
                if room > 0 and b not in levels:
                    levels[b] = levels[a] + 1
                    queue.append(b)
        return levels

    def _fill_shortest(self, source: object, sink: object, levels: dict[object, int]) -> None:
        """Send on as much as there is room for on shortest paths. An edge that leads nowhere is not
        tried again."""
        ahead: dict[object, list[object]] = {}
        path = [source]
        while path:
            a = path[-1]
            if a == sink:
                del path[self._send(path) + 1 :]
                continue
            if a not in ahead:
                ahead[a] = [b for b in self.left[a] if levels.get(b) == levels[a] + 1]
            while ahead[a] and not self.left[a][ahead[a][-1]] > 0:
                ahead[a].pop()
            if ahead[a]:
                path.append(ahead[a][-1])
                continue
            path.pop()
            if path:
                ahead[path[-1]].pop()

    def _send(self, path: Sequence[object]) -> int:
        """Fill a path; returns the place in it behind which there is no more room."""
        edges = list(pairwise(path))
        room = min(self.left[a][b] for a, b in edges)
        for a, b in edges:
            self.left[a][b] -= room
            self.left[b][a] += room
        return next(i for i, (a, b) in enumerate(edges) if not self.left[a][b] > 0)

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
