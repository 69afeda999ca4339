"""Items of known lists and tuples that data picks: `moves[k]`, `parent[x] = y` with traced k and x.

    moves = [(0, 1), (1, 0), (0, -1), (-1, 0)]        const [0, 1, 0, -1], const [1, 0, -1, 0]
    di, dj = moves[k]                                 slice ..., %k, 1

A list whose items are numbers, or tuples of numbers, that are alike is read as arrays of these, and
goes on a tape that changes where an item is replaced. Lists, dicts and objects are variants: the
item is one of them (`variants`). Where the index is a loop's counter, and the loop can be traced
step by step instead, it is: there the items are known.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from jitnet import ops
from jitnet.frontend.context import Trace, running_trace
from jitnet.frontend.dispatch import note_place
from jitnet.frontend.flow import growing
from jitnet.frontend.flow.joins import Kind, common, kind_of
from jitnet.frontend.flow.variants import (
    MOST_VARIANTS,
    Variants,
    apart,
    has_identity,
    is_container,
    picked,
)
from jitnet.frontend.pytree import flatten, unflatten
from jitnet.frontend.tracer import Tracer, wrap
from jitnet.ir import Literal, TapeType, Value
from jitnet.ir import types as T

MOST_UNROLLED = 1000
"""Loops of no more steps are traced step by step where they index lists by their counters."""


@contextmanager
def can_be_unrolled(count: int) -> Iterator[None]:
    """Trace a loop of so many steps that is traced step by step, should it need its counter."""
    function = running_trace().function
    function.unrollable += count <= MOST_UNROLLED
    try:
        yield
    finally:
        function.unrollable -= count <= MOST_UNROLLED


def picks(x: Any, key: Any) -> bool:
    """Whether an item of a known list or tuple is one of several, for the program to pick."""
    if type(key) is not Tracer or key.ndim or not isinstance(x, (list, tuple, deque)) or not x:
        return False
    if key.value.dtype.kind not in "iu":
        return False
    if running_trace().function.unrollable and _is_counted(running_trace(), key.value):
        return False
    return _are_objects(x) or _columns_of(x) is not None


def _are_objects(x: Sequence[Any]) -> bool:
    """Whether the items are few, and told apart by who they are."""
    return len(x) <= MOST_VARIANTS and all(item is None or has_identity(item) for item in x)


def _columns_of(x: Sequence[Any]) -> tuple[Any, list[Kind]] | None:
    """The structure of items and the kinds of their parts, if they are alike, and of numbers."""
    found: tuple[Any, list[Kind]] | None = None
    for item in x:
        if any(map(is_container, _parts(item))):
            return None
        leaves, tree = flatten(item)
        kinds = [kind_of(leaf) for leaf in leaves]
        if None in kinds or any(kind.dims or kind.flavour == "array" for kind in kinds if kind):
            return None
        known = [kind for kind in kinds if kind is not None]
        joined = known if found is None else list(map(common, known, found[1]))
        if (found is not None and found[0] != tree) or None in joined or not joined:
            return None
        found = tree, [kind for kind in joined if kind is not None]
    return found


def item(x: Any, key: Tracer) -> Any:
    """`x[key]`, of what `picks` holds for."""
    at = _place(x, key, "index out of range")
    if _are_objects(x):
        return picked(wrap(at, "python"), tuple(x))
    found = _columns_of(x)
    assert found is not None
    tree, kinds = found
    columns = growing.columns(list(x), kinds)
    assert columns is not None
    parts = [ops.reshape(ops.slice(column, (at,), (1,)), ()) for column in columns]
    return unflatten(tree, [wrap(v, kind.flavour) for v, kind in zip(parts, kinds)])


def put(x: Any, key: Tracer, value: Any, store: Callable[[Any, Any, Any], None]) -> bool:
    """`x[key] = value`, where the items are objects; `store` does it for a number that is known."""
    if not _are_objects(x):
        return False
    at = _place(x, key, "assignment index out of range")
    apart(Variants(wrap(at, "python"), range(len(x))), lambda k: store(x, k, value))
    return True


def _place(x: Any, key: Tracer, message: str) -> Value:
    """The position that an index means, counted from the start."""
    note_place()
    n, i = len(x), ops.convert(key.value, T.i64)
    ok = ops.bitwise_and(ops.ge(i, -n), ops.lt(i, n))
    ops.check(ok, [], "IndexError", f"{type(x).__name__} {message}")
    return ops.select(ops.lt(i, 0), ops.add(i, n), i)


def _parts(item: Any) -> Iterator[Any]:
    yield item
    if isinstance(item, tuple):
        for part in item:
            yield from _parts(part)


def _is_counted(trace: Trace, value: Value) -> bool:
    """Whether a number is computed from loops' counters, and from what they carry, alone."""
    producers = {r: eqn for eqn in trace.builder.eqns for r in eqn.results}
    pending, seen = [value], {value}
    while pending:
        v = pending.pop()
        if isinstance(v, Literal):
            continue
        if v in producers:
            eqn = producers[v]
            if eqn.regions or any(isinstance(o.type, TapeType) or o.rank for o in eqn.operands):
                return False
            fresh = [o for o in eqn.operands if o not in seen]
            seen.update(fresh)
            pending += fresh
            continue
        outer = trace.captured(v)
        if isinstance(outer, Value) and trace.parent is not None:
            if not _is_counted(trace.parent, outer):
                return False
        elif not trace.is_region:
            return False
    return True
