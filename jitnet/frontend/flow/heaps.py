"""heapq and bisect on lists that hold traced values: the same steps as CPython's, so that equal
items come in the same order, and the list is the same after each of them.

    heapq.heappush(heap, (d, v))       heap.append((d, v)), then a loop that moves it up:
                                       %h = while ... { tape_get, lt, tape_set }

The functions of this module that stand for Python's are rewritten as the user's are. Where nothing
is traced, Python's own are called.
"""

from __future__ import annotations

import bisect
import heapq
from collections.abc import Callable
from typing import Any

from jitnet import errors, ops
from jitnet.frontend.creating import is_traced
from jitnet.frontend.dispatch import note_place
from jitnet.frontend.flow.world import declare_bodies
from jitnet.frontend.grown import grown
from jitnet.frontend.rewriting import rewritten


def _move_up(heap: Any, start: Any, place: Any) -> None:
    """Let the item at `place` go towards `start` as long as the one above it is greater."""
    item = heap[place]
    while place > start:
        above = (place - 1) >> 1
        parent = heap[above]
        if not item < parent:
            break
        heap[place] = parent
        place = above
    heap[place] = item


def _move_down(heap: Any, place: Any) -> None:
    """Let the lesser items below `place` go up, down to a leaf, and its item up again from there:
    it was one of the last, and is likely to belong there."""
    end = len(heap)
    start = place
    item = heap[place]
    inner = end >> 1  # places from here on have none below them
    while place < inner:
        child = 2 * place + 1
        least = heap[child]
        if child + 1 < end:
            other = heap[child + 1]
            if not least < other:
                child = child + 1
                least = other
        heap[place] = least
        place = child
    heap[place] = item
    _move_up(heap, start, place)


def _heappush(heap: Any, item: Any) -> None:
    heap.append(item)
    _move_up(heap, 0, len(heap) - 1)


def _heappop(heap: Any) -> Any:
    last = heap.pop()
    if len(heap) > 0:
        first = heap[0]
        heap[0] = last
        _move_down(heap, 0)
        return first
    return last


def _heapreplace(heap: Any, item: Any) -> Any:
    first = heap[0]
    heap[0] = item
    _move_down(heap, 0)
    return first


def _heappushpop(heap: Any, item: Any) -> Any:
    if len(heap) > 0 and heap[0] < item:
        first = heap[0]
        heap[0] = item
        _move_down(heap, 0)
        return first
    return item


def _heapify(heap: Any) -> None:
    place = len(heap) >> 1
    while place > 0:
        place = place - 1
        _move_down(heap, place)


def _nsmallest(n: Any, iterable: Any) -> Any:
    rest = list(iterable)
    heapq.heapify(rest)
    found: list[Any] = []
    while len(found) < n and len(rest) > 0:
        found.append(heapq.heappop(rest))
    return found


def _nlargest(n: Any, iterable: Any) -> Any:
    rest = list(iterable)
    heapq.heapify(rest)
    found: list[Any] = []
    while len(rest) > 0:
        found.append(heapq.heappop(rest))
    return found[::-1][:n]


def _bisect_left(a: Any, x: Any, lo: Any = 0, hi: Any = None) -> Any:
    low, high = lo, len(a) if hi is None else hi
    while low < high:
        middle = (low + high) >> 1
        if a[middle] < x:
            low = middle + 1
        else:
            high = middle
    return low


def _bisect_right(a: Any, x: Any, lo: Any = 0, hi: Any = None) -> Any:
    low, high = lo, len(a) if hi is None else hi
    while low < high:
        middle = (low + high) >> 1
        if x < a[middle]:
            high = middle
        else:
            low = middle + 1
    return low


def _insort_left(a: Any, x: Any, lo: Any = 0, hi: Any = None) -> None:
    a.insert(_bisect_left(a, x, lo, hi), x)


def _insort_right(a: Any, x: Any, lo: Any = 0, hi: Any = None) -> None:
    a.insert(_bisect_right(a, x, lo, hi), x)


_OWN: dict[Any, Any] = {
    heapq.heappush: _heappush,
    heapq.heappop: _heappop,
    heapq.heapreplace: _heapreplace,
    heapq.heappushpop: _heappushpop,
    heapq.heapify: _heapify,
    heapq.nsmallest: _nsmallest,
    heapq.nlargest: _nlargest,
    bisect.bisect_left: _bisect_left,
    bisect.bisect_right: _bisect_right,
    bisect.insort_left: _insort_left,
    bisect.insort_right: _insort_right,
}

FILE = _heappush.__code__.co_filename
"""Functions of this file are rewritten when they are called."""


class _Connected:
    hooks: object


def install(hooks: object) -> None:
    """Connect the hooks of rewritten functions."""
    _Connected.hooks = hooks


def _require_an_item(heap: Any) -> None:
    own = grown(heap)
    if own is not None:
        ops.check(ops.gt(own.count(), 0), [], "IndexError", "index out of range")
    elif not heap:
        raise errors.IndexingError("index out of range")


def _stand_in(original: Any, own: Any) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        if not any(is_traced(x) or grown(x) is not None for x in args):
            return original(*args, **kwargs)
        note_place()
        if original in (heapq.heappop, heapq.heapreplace):
            _require_an_item(args[0])
        function = rewritten(own, _Connected.hooks)
        if function is None:
            raise errors.UnsupportedFunctionError(
                f"{original.__name__}() of traced values, without jitnet's own source",
                remedy="install jitnet with its sources",
            )
        return function(*args, **kwargs)

    return call


TABLE: dict[Any, Callable[..., Any]] = {f: _stand_in(f, own) for f, own in _OWN.items()}
"""What stands for the functions of heapq and bisect."""

declare_bodies(FILE)
