"""What a function changes in the containers that it is called with: lists, dicts, dataclasses.

    def step(state):
        state["t"] += 1          effect: args[0] becomes {"u": its array, "t": result 0}

The function is traced with containers of its own. Where they differ afterwards, the caller's are
changed in the same way each time the program has run. What is in them is handed out as results are:
an argument's array is that array again. The function's places (`places`), which come beside the
arguments, are containers too: variables from outside, and lists that it appends to.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from jitnet import errors
from jitnet.frontend.grown import Grown, grown
from jitnet.frontend.places import (
    ABSENT,
    Appended,
    Content,
    Elsewhere,
    Variables,
    containers_in,
    write,
)
from jitnet.frontend.pytree import TreeDef, flatten, is_registered, node_kind, unflatten

Path = tuple[int, ...]
"""The number of a child in its container, from the outermost container on."""


class Known(NamedTuple):
    """A container of the caller's, in the place of a leaf."""

    path: Path


class Effect(NamedTuple):
    """A container of the arguments that is changed.

    Attributes:
        path: where it is.
        keys: of a dict, or the names of a dataclass's fields, or of variables that are other ones
            now; None for a list.
        trees, outputs: its new items, their leaves one after the other.
        deleted: variables that are there no longer.
        grows: it has grown in the program: the one output is a list of its items.
    """

    path: Path
    keys: tuple[Any, ...] | None
    trees: tuple[TreeDef, ...]
    outputs: tuple[Any, ...]
    deleted: tuple[str, ...]
    grows: bool


class Change(NamedTuple):
    """A container that is not what it was: `items` are its new ones."""

    path: Path
    keys: tuple[Any, ...] | None
    items: tuple[Any, ...]
    deleted: tuple[str, ...] = ()

    @property
    def grows(self) -> bool:
        """Whether the one item stands for all."""
        return len(self.items) == 1 and type(self.items[0]) is Grown


class Containers:
    """The containers of the arguments, and what they held before the function ran."""

    def __init__(self, arguments: Any) -> None:
        self._held: list[tuple[Path, Any, list[Any], Any]] = []
        self._paths: dict[int, Path] = {}
        self._walk(arguments, ())

    def _walk(self, x: Any, path: Path) -> None:
        kind = node_kind(type(x))
        if kind is None or x is None or id(x) in self._paths:
            return
        children, meta = kind.flatten(x)
        held: Any = x.items() if isinstance(x, Variables) else meta
        self._held.append((path, x, list(children), held))
        self._paths[id(x)] = path
        for i, child in enumerate(children):
            self._walk(child, (*path, i))

    @property
    def identities(self) -> frozenset[int]:
        return frozenset(self._paths)

    def changes(self) -> list[Change]:
        """What the function has changed.

        Raises:
            MutationError: for containers of registered classes.
        """
        found = []
        for path, x, before, meta in self._held:
            if isinstance(x, (Variables, Appended)):
                found += _changes_of_place(path, x, meta)
                continue
            kind = node_kind(type(x))
            assert kind is not None
            now, meta_now = kind.flatten(x)
            same = meta == meta_now and len(now) == len(before)
            if same and all(a is b for a, b in zip(now, before)):
                continue
            if is_registered(type(x)):
                raise errors.MutationError(
                    f"the function changes a {type(x).__qualname__} among its arguments",
                    remedy="return the new one, and assign it in the caller",
                )
            found.append(Change(path, _keys(x), tuple(now)))
        return found

    def leaves(self, x: Any, original: Callable[[Any], Any]) -> tuple[list[Any], TreeDef]:
        """The leaves of a new item, of which containers of the caller's are some.

        Args:
            original: the container from outside that one in the traced function stands for, None
                for those that the function has made.
        """
        return flatten(self._with_known(x, original))

    def _with_known(self, x: Any, original: Callable[[Any], Any]) -> Any:
        kind = node_kind(type(x))
        if kind is None or x is None:
            return x
        own = grown(x)
        if own is not None and type(x) is list:
            return own
        if id(x) in self._paths and not isinstance(x, tuple):
            return _KnownLeaf(self._paths[id(x)])
        outside = original(x) if id(x) not in self._paths else None
        if outside is not None:
            return Outside(outside)
        children, meta = kind.flatten(x)
        return kind.unflatten(meta, [self._with_known(child, original) for child in children])


def _changes_of_place(path: Path, x: Any, before: Any) -> list[Change]:
    if isinstance(x, Appended):
        return [Change(path, None, tuple(x.new))] if x.new else []
    now = x.items()
    changed = {n: v for n, v in now.items() if v is not before.get(n, ABSENT)}
    deleted = tuple(n for n in before if n not in now)
    if not changed and not deleted:
        return []
    return [Change(path, tuple(changed), tuple(changed.values()), deleted)]


class Outside:
    """A container from outside, which the function has not changed: a leaf too."""

    def __init__(self, original: Any) -> None:
        self.original = original


class _KnownLeaf:
    """A container of the caller's, which is no tree to look into."""

    def __init__(self, path: Path) -> None:
        self.path = path


def known_path(leaf: Any) -> Known | None:
    """Whether a leaf is a container of the caller's."""
    return Known(leaf.path) if isinstance(leaf, _KnownLeaf) else None


def _keys(x: Any) -> tuple[Any, ...] | None:
    if isinstance(x, dict):
        return tuple(x)
    if dataclasses.is_dataclass(x):
        return tuple(f.name for f in dataclasses.fields(x))
    return None


def carry_out(effects: Sequence[Effect], arguments: Any, hand_out: Callable[[Any], Any]) -> None:
    """Change the caller's containers."""
    targets = [at(arguments, effect.path) for effect in effects]
    contents = []
    for effect in effects:
        outputs = iter(effect.outputs)
        items = []
        for tree in effect.trees:
            leaves = [next(outputs) for _ in range(tree.leaf_count)]
            items.append(unflatten(tree, [hand_out(leaf) for leaf in leaves]))
        contents.append(items[0] if effect.grows else items)
    for target, effect, items in zip(targets, effects, contents):
        _fill(target, effect, items)


def at(arguments: Any, path: Path) -> Any:
    """The container of the arguments at a path."""
    for i in path:
        kind = node_kind(type(arguments))
        assert kind is not None
        arguments = kind.flatten(arguments)[0][i]
    return arguments.original if isinstance(arguments, (Content, Elsewhere)) else arguments


def given(arguments: Any, known: Known) -> Any:
    """The caller's container that an output is."""
    found = at(arguments, known.path)
    return found.original if isinstance(found, Appended) else found


def refuse_shared(arguments: Any) -> None:
    """Refuse containers that are reached by two ways, by a function that changes containers.

    Raises:
        MutationError: for those.
    """
    seen: set[int] = set()
    for container in containers_in(arguments):
        if id(container) in seen:
            raise errors.MutationError(
                f"one {type(container).__qualname__} is given twice, to a function that changes "
                "containers",
                why="whether two of them are one object is not a part of what a program is "
                "compiled for",
                remedy="pass it once, or a copy of it",
            )
        seen.add(id(container))


def _fill(target: Any, effect: Effect, items: Sequence[Any]) -> None:
    keys = effect.keys
    if isinstance(target, Variables):
        for name, item in zip(keys or (), items):
            write(target.original, name, item)
        for name in effect.deleted:
            write(target.original, name, ABSENT)
    elif keys is None:
        if isinstance(target, Appended):
            target.original.extend(items)
        else:
            target[:] = items
    elif isinstance(target, dict):
        target.clear()
        target.update(zip(keys, items))
    else:
        for name, item in zip(keys, items):
            object.__setattr__(target, name, item)
