"""Lists that are items of lists on tapes: what they hold is on the tape, and has to stay the same.

    out[-1][1] = end         %i = tape_get ...; the item, changed, is put back: tape_set
    row[0] = v               refused, after out.append(row): Python would change out, too

Python's list keeps the object, a tape what was in it. So an item that was read is put back once it
has been changed, as long as the list is the one that it was read from, and a container that was
appended is not to be changed any more. What has been popped is nobody's, and free.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jitnet import errors
from jitnet.frontend.context import running_trace
from jitnet.frontend.grown import grown
from jitnet.frontend.pytree import node_kind
from jitnet.ir import Literal, Value


@dataclass
class Inner:
    """A container that is an item of a list on a tape, or in one.

    Attributes:
        thing: the container.
        outer: the list that it was read from as an item, at `place`; None where it was appended.
        version: that list's tape, as long as the item is there unchanged.
        is_stale: another item has been put back since, which may be this one.
    """

    thing: Any
    outer: Any = None
    place: Value | None = None
    version: Value | None = None
    is_stale: bool = False


def _inner_of_function() -> dict[int, Inner]:
    return running_trace().function.inner_lists


def _containers(x: Any) -> list[Any]:
    """The containers in an item that can be changed."""
    kind = node_kind(type(x))
    if kind is None or x is None:
        return []
    inner = [found for child in kind.flatten(x)[0] for found in _containers(child)]
    return inner if isinstance(x, tuple) else [x, *inner]


def keep(item: Any) -> None:
    """Note that an item has been appended."""
    for thing in _containers(item):
        _inner_of_function()[id(thing)] = Inner(thing)


def read_before(outer: Any, place: Value) -> Any:
    """The item at a position of a list, if it is a list that was read there before; else None."""
    own = grown(outer)
    assert own is not None
    for found in _inner_of_function().values():
        same = found.place is place or (isinstance(place, Literal) and found.place == place)
        if found.outer is outer and found.version is own.store.value and same:
            return found.thing
    return None


def note_read(item: Any, outer: Any, place: Value) -> None:
    """Note that an item has been read from a list."""
    keep(item)
    own = grown(outer)
    assert own is not None
    if isinstance(item, (list, dict)):
        _inner_of_function()[id(item)] = Inner(item, outer, place, own.store.value)


def note_put_back(changed: Inner) -> None:
    """Note that an item has been written to where it was."""
    own = grown(changed.outer)
    assert own is not None
    changed.version = own.store.value
    for other in _inner_of_function().values():
        if other.outer is changed.outer and other is not changed:
            other.is_stale = True


def check_fresh(x: Any) -> None:
    """Raises:
    MutationError: for an item that may have been changed through another name.
    """
    found = _inner_of_function().get(id(x))
    if found is not None and found.thing is x and found.is_stale:
        raise is_kept(x)


def inner(x: Any) -> Inner | None:
    """What is known of a container that is about to be changed.

    Raises:
        MutationError: where a list would have to change with it, and does not.
    """
    if not isinstance(x, (list, dict)):
        return None
    found = _inner_of_function().get(id(x))
    if found is None or found.thing is not x:
        return None
    own = grown(found.outer)
    if own is None or own.store.value is not found.version:
        raise is_kept(x)
    return found


def is_kept(x: Any) -> errors.MutationError:
    """The refusal of a change that the program would not see everywhere."""
    return errors.MutationError(
        f"a {type(x).__name__} is changed that is an item of a list of which the program decides "
        "the length",
        why="the list keeps what was in it when it was appended, or read",
        remedy="replace the item: rows[i] = [a, b]",
    )
