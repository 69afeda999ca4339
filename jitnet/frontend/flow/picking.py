"""Items of known lists, tuples and dicts that data picks: `moves[k]`, `parent[x] = y`.

    moves = [(0, 1), (1, 0), (0, -1), (-1, 0)]        const [0, 1, 0, -1], const [1, 0, -1, 0]
    di, dj = moves[k]                                 slice ..., %k, 1

A list whose items are numbers, or tuples of numbers, that are alike is read as arrays of these; it
goes on a tape that changes where an item is replaced, unless it is short. Lists, dicts and objects
are variants: the item is one of them (`variants`). Everything else, arrays above all, and the items
of dicts, are read and replaced in the arms of an `if` for each place. Where the index is a loop's
counter, and the loop can be traced step by step instead, it is: there the items are known.
"""

from __future__ import annotations

import functools
import itertools
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from typing import Any, NamedTuple

import numpy as np

from jitnet import errors, ops
from jitnet.frontend.context import running_trace
from jitnet.frontend.dispatch import note_place
from jitnet.frontend.flow import growing
from jitnet.frontend.flow.containers import has_identity, is_container
from jitnet.frontend.flow.counters import is_counted
from jitnet.frontend.flow.kinds import Kind, common, kind_of
from jitnet.frontend.flow.variants import MOST_VARIANTS, Variants, apart, picked
from jitnet.frontend.pytree import flatten, unflatten
from jitnet.frontend.tracer import Tracer, wrap
from jitnet.ir import Value, index
from jitnet.ir import types as T

MOST_UNROLLED = 1000
"""Loops of no more steps are traced step by step where they index lists by their counters."""

FEW_NUMBERS = 8
"""Lists of no more numbers are written to number by number, rather than on a tape."""


class Picked(NamedTuple):
    """What was read from a container, where, and what else was in it then."""

    item: Any
    container: Any
    key: Any
    items: tuple[Any, ...]


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
    """Whether an item of a known list, tuple or dict is one of several, for the program to pick."""
    numbers = _numbers_in(key)
    wanted = "iub" if isinstance(x, dict) else "iu"
    if not numbers or any(v.rank or v.dtype.kind not in wanted for v in numbers):
        return False
    trace = running_trace()
    if trace.function.unrollable and all(is_counted(trace, v) for v in numbers):
        return False
    if isinstance(x, dict):
        return 0 < len(x) <= MOST_VARIANTS and any(_may_be(own, key) for own in x)
    if type(key) is not Tracer or not isinstance(x, (list, tuple, deque)) or not x:
        return False
    return len(x) <= MOST_VARIANTS or _columns_of(x) is not None


def _numbers_in(key: Any) -> list[Value]:
    return [part.value for part in _parts_of_key(key) if type(part) is Tracer]


def _parts_of_key(key: Any) -> tuple[Any, ...]:
    return key if type(key) is tuple else (key,)


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


def item(x: Any, key: Any) -> Any:
    """`x[key]`, of what `picks` holds for.

    Raises:
        ConcretizationError: for items that no value can stand for.
    """
    at, places = _place(x, key, "index out of range")
    if not isinstance(x, dict):
        if _are_objects(x):
            return picked(wrap(at, "python"), tuple(x))
        found = _columns_of(x)
        if found is not None:
            return _row(x, at, *found)
    try:
        one = apart(Variants(wrap(at, "python"), places), lambda k: x[k])
    except errors.ReturnError as error:
        raise errors.ConcretizationError(
            f"an item of a {type(x).__name__} that data picks, which is {error.what}",
            why="which of them it is would only be known when the program runs",
            remedy="if i == 0: ... elif i == 1: ..., with what is done with each in its branch",
        ) from None
    running_trace().function.picked[id(one)] = Picked(one, x, key, _items(x))
    return one


def get(x: dict[Any, Any], key: Any, default: Any = None) -> Any:
    """`x.get(key, default)`, of what `picks` holds for."""
    note_place()
    at, places = _found(x, key)
    which = wrap(ops.add(at, 1), "python")
    return apart(
        Variants(which, range(len(places) + 1)), lambda k: x[places[k - 1]] if k else default
    )


def _row(x: Sequence[Any], at: Value, tree: Any, kinds: list[Kind]) -> Any:
    columns = growing.columns(list(x), kinds)
    assert columns is not None
    parts = [ops.reshape(ops.slice(column, (at,), (1,)), ()) for column in columns]
    return unflatten(tree, [wrap(v, kind.flavour) for v, kind in zip(parts, kinds)])


def put(x: Any, key: Any, value: Any, store: Callable[[Any, Any, Any], None]) -> bool:
    """`x[key] = value`, of what `picks` holds for; `store` does it for a place that is known. False
    where the items are many numbers."""
    if len(x) > FEW_NUMBERS and not isinstance(x, dict) and _columns_of(x) is not None:
        return False
    if not _is_there(x, key, value):
        at, places = _place(x, key, "assignment index out of range")
        apart(Variants(wrap(at, "python"), places), lambda k: store(x, k, value))
    return True


def _is_there(x: Any, key: Any, value: Any) -> bool:
    """Whether this is what was read there, and is there still: `x[k] += 1` has changed it."""
    before = running_trace().function.picked.get(id(value))
    if before is None or before.container is not x or not _is_same_key(before.key, key):
        return False
    return all(a is b for a, b in zip_longest(_items(x), before.items))


def _is_same_key(a: Any, b: Any) -> bool:
    if type(a) is tuple and type(b) is tuple:
        return len(a) == len(b) and all(map(_is_same_key, a, b))
    return a is b or (type(a) is Tracer and type(b) is Tracer and a.value is b.value)


def _items(x: Any) -> tuple[Any, ...]:
    return tuple(x.values() if isinstance(x, dict) else x)


def _place(x: Any, key: Any, message: str) -> tuple[Value, Sequence[Any]]:
    """The number of the place that a key means, and the places."""
    note_place()
    if isinstance(x, dict):
        return _place_in_dict(x, key, "assignment" in message)
    n, i = len(x), ops.convert(key.value, T.i64)
    ok = ops.bitwise_and(ops.ge(i, -n), ops.lt(i, n))
    ops.check(ok, [], "IndexError", f"{type(x).__name__} {message}")
    return ops.select(ops.lt(i, 0), ops.add(i, n), i), range(n)


def _place_in_dict(x: dict[Any, Any], key: Any, is_write: bool) -> tuple[Value, Sequence[Any]]:
    at, places = _found(x, key)
    fields = map("{{{}}}".format, itertools.count())
    shown = [next(fields) if type(p) is Tracer else repr(p) for p in _parts_of_key(key)]
    text = f"({', '.join(shown)})" if type(key) is tuple else shown[0]
    if is_write:
        text = f"a new key in a dict, {text}, that data decides{errors.REMEDY}all keys, before"
    error = "NotImplementedError" if is_write else "KeyError"
    ops.check(ops.ge(at, 0), _numbers_in(key), error, text)
    return at, places


def _found(x: dict[Any, Any], key: Any) -> tuple[Value, list[Any]]:
    """Which of the keys that it may be a key is, -1 for none of them, and these."""
    at: Value = index(-1)
    places = [own for own in x if _may_be(own, key)]
    for k, own in enumerate(places):
        pairs = zip(_parts_of_key(own), _parts_of_key(key))
        same = [
            ops.eq(ops.convert(asked.value, T.i64), index(int(part)))
            for part, asked in pairs
            if type(asked) is Tracer
        ]
        at = ops.select(functools.reduce(ops.bitwise_and, same), index(k), at)
    return at, places


def _may_be(own: Any, key: Any) -> bool:
    """Whether a dict's key, an int or a tuple, may be the one that is asked for."""
    if type(own) is tuple and type(key) is tuple and len(own) == len(key):
        return all(map(_may_be, own, key))
    if type(key) is Tracer:
        return isinstance(own, (int, np.integer, np.bool_)) or (
            isinstance(own, float) and own.is_integer()
        )
    return bool(own == key)


def _parts(item: Any) -> Iterator[Any]:
    yield item
    if isinstance(item, tuple):
        for part in item:
            yield from _parts(part)
