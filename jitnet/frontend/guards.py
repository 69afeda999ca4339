"""What a compiled function read from outside, and whether it is still the same.

    scale = 2.0
    f = jit(lambda x: x * scale)    # guard: this globals()["scale"] is 2.0
    f(x); scale = 3.0; f(x)         # the guard fails: f is traced again

`gathering` finds what is to be guarded: globals and closure cells, attributes, containers. Arrays
are guarded by identity only, for they are inputs of the program; so are the function's places
(`places`), which are not guarded at all.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AnySet
from dataclasses import dataclass, field
from types import CellType, CodeType, MethodType
from typing import Any

import numpy as np

from jitnet.frontend.bytecode import stored
from jitnet.frontend.places import ABSENT, Content, Slots, Variables, read, write
from jitnet.frontend.pytree import node_kind
from jitnet.source import Position, position

ANY = "*"
"""Stands for every attribute among the names that code mentions."""


class Keys:
    """Which attributes an object or a class has, as what the name `*` stands for."""

    def __init__(self, namespace: Mapping[str, Any]) -> None:
        self._namespace = namespace

    def get(self, name: str, default: Any = None) -> Any:
        return tuple(self._namespace) if name == ANY else default


class ClassOf:
    """The class of an object, which may be assigned, as what the name `__class__` stands for."""

    def __init__(self, thing: Any) -> None:
        self.thing = thing

    def get(self, name: str, default: Any = None) -> Any:
        return type(self.thing) if name == "__class__" else default


Namespace = Mapping[str, Any] | Slots | Keys | ClassOf
Names = tuple[tuple[dict[str, Any], str, Any], ...]
Cells = tuple[tuple[CellType, Any], ...]
Kinds = tuple[tuple[Any, type], ...]

_DYNAMIC = (np.ndarray, float, complex)
_PLAIN = (bool, int, str, bytes, complex, frozenset)


@dataclass
class Guards:
    """Names in namespaces, closure cells, containers, and shapes of arrays, as they were.

    Also the random generators that were met, which the trace may not use.
    """

    names: list[tuple[Namespace, str, Any]] = field(default_factory=list)
    cells: list[tuple[CellType, Any]] = field(default_factory=list)
    containers: list[tuple[Any, list[Any], Any]] = field(default_factory=list)
    shapes: list[tuple[np.ndarray[Any, Any], tuple[int, ...]]] = field(default_factory=list)
    generators: list[Any] = field(default_factory=list)
    variables: dict[int, str] = field(default_factory=dict)
    """What the cells are called, by identity."""
    homes: dict[int, tuple[Namespace, Any]] = field(default_factory=dict)
    """Whose namespaces these are: by identity, an object, a class, or the globals of a function."""
    attributes: AnySet[str] = frozenset()
    """The attributes that the code names."""
    unset: list[tuple[dict[str, Any], str]] = field(default_factory=list)
    """Attributes that objects do not have which are not copied for a trace."""
    may_change: bool = False
    """Whether the code may change variables and containers from outside."""
    keys: list[Any] = field(default_factory=list)
    """Objects that are keys of dicts or items of sets."""
    codes: list[CodeType] = field(default_factory=list)
    """The code that was walked."""
    stored: set[str] = field(default_factory=set)
    """The globals and attributes that the code assigns to."""

    def hold(self) -> bool:
        """Whether everything is as it was."""
        for namespace, name, expected in self.names:
            now = namespace.get(name, ABSENT)
            if now is not expected and not _same(now, expected):
                return False
        for cell, expected in self.cells:
            now = read(cell, "")
            if now is not expected and not _same(now, expected):
                return False
        for array, shape in self.shapes:
            if array.shape != shape:
                return False
        return all(_unchanged(*container) for container in self.containers)

    def is_guarded(self, x: Any) -> bool:
        """Whether this is an object or a container from outside, whose content is guarded."""
        homes = (home for _, home in self.homes.values())
        return any(c is x for c, _, _ in self.containers) or any(home is x for home in homes)

    def has_set(self) -> list[str]:
        """The new attributes that a trace has given to objects, which are theirs no more."""
        fresh = [(namespace, name) for namespace, name in self.unset if name in namespace]
        for namespace, name in fresh:
            del namespace[name]
        return [name for _, name in fresh]

    def assignments(self, things: Iterable[str]) -> list[Position]:
        """Where the code assigns to variables or attributes of which this is said."""
        names = {word for thing in things for word in thing.split()} & self.stored
        return [
            position((code, at))
            for code in self.codes
            for at, name in stored(code)
            if name in names
        ]

    def changes(self) -> Iterator[tuple[str, Any, Any]]:
        """What is not as it was: a name for it, what it was, and what it is."""
        for namespace, name, expected in self.names:
            now = namespace.get(name, ABSENT)
            if now is not expected and not _same(now, expected):
                _, home = self.homes.get(id(namespace), (None, None))
                of = f" of the class {home.__qualname__}" if isinstance(home, type) else ""
                yield f"{_kind_of_name(namespace)} {name}{of}", expected, now
        for cell, expected in self.cells:
            now = read(cell, "")
            if now is not expected and not _same(now, expected):
                name = self.variables.get(id(cell), "<unknown>")
                yield f"variable {name} of a function around it", expected, now
        for array, shape in self.shapes:
            if array.shape != shape:
                yield "the shape of an array from outside", shape, array.shape
        for container, children, meta in self.containers:
            if not _unchanged(container, children, meta):
                kind = node_kind(type(container))
                was = children if kind is None else kind.unflatten(meta, children)
                yield f"a {type(container).__name__} from outside", was, container

    def moved(self) -> list[Variables]:
        """Arrays, floats and complex numbers that have been replaced by others of their class: they
        may be inputs as well."""
        found = []
        for namespace, name, was in self.names:
            _, home = self.homes.get(id(namespace), (None, None))
            now = namespace.get(name, ABSENT)
            is_class = home is None or isinstance(home, type)
            if not is_class and now is not was and type(now) is type(was) in _DYNAMIC:
                found.append(Variables(home, (name,)))
        for cell, was in self.cells:
            now = read(cell, "")
            if now is not was and type(now) is type(was) in _DYNAMIC:
                found.append(Variables(cell, (self.variables[id(cell)],)))
        return found

    def ways_to(self, arrays: Sequence[Any]) -> list[Any]:
        """The variables and containers that hold these arrays, as places: those are written to, so
        it matters who else shares their memory."""
        wanted = set(map(id, arrays))
        found: list[Any] = []
        if not wanted:
            return found
        for namespace, name, was in self.names:
            _, home = self.homes.get(id(namespace), (None, None))
            if id(was) in wanted and home is not None and not isinstance(home, type):
                found.append(Variables(home, (name,)))
        for cell, was in self.cells:
            if id(was) in wanted:
                found.append(Variables(cell, (self.variables[id(cell)],)))
        for container, children, _ in self.containers:
            if isinstance(container, (list, dict)) and not wanted.isdisjoint(map(id, children)):
                found.append(Content(container))
        return found

    def restore(self) -> None:
        """Put back what the function has changed while it was traced."""
        for namespace, name, was in self.names:
            _, home = self.homes.get(id(namespace), (None, None))
            if namespace.get(name, ABSENT) is was or home is None:
                continue
            if not isinstance(home, type):
                write(home, name, was)
            elif was is ABSENT:
                delattr(home, name)
            else:
                setattr(home, name, was)
        for cell, was in self.cells:
            write(cell, "", was)

    def split(self) -> tuple[Names, Cells, Kinds, Guards]:
        """Names in real dicts, ABSENT ones among them, filled cells and classes of objects, all of
        which identity decides, once each; and the rest."""
        names = {(id(n[0]), n[1]): n for n in self.names}.values()
        cells = {id(cell[0]): cell for cell in self.cells}.values()
        rest = Guards(
            [n for n in names if type(n[0]) not in (dict, ClassOf)],
            [cell for cell in cells if cell[1] is ABSENT],
            self.containers,
            self.shapes,
        )
        return (
            tuple((n[0], n[1], n[2]) for n in names if type(n[0]) is dict),
            tuple(cell for cell in cells if cell[1] is not ABSENT),
            tuple((n[0].thing, n[2]) for n in names if type(n[0]) is ClassOf),
            rest,
        )


def _kind_of_name(namespace: Namespace) -> str:
    return "global" if namespace.get("__builtins__") is not None else "attribute"


def _same(now: Any, expected: Any) -> bool:
    if type(now) is not type(expected):
        return False
    if isinstance(now, float):
        return now == expected and math.copysign(1.0, now) == math.copysign(1.0, expected)
    if isinstance(now, MethodType):
        return bool(now == expected)
    if isinstance(now, tuple):
        return len(now) == len(expected) and all(
            a is b or _same(a, b) for a, b in zip(now, expected)
        )
    return isinstance(now, _PLAIN) and repr(now) == repr(expected)


def _unchanged(container: Any, children: Sequence[Any], meta: Any) -> bool:
    now, meta_now = parts_of(container)
    if len(now) != len(children) or meta_now != meta:
        return False
    return all(a is b or _same(a, b) for a, b in zip(now, children))


def parts_of(container: Any) -> tuple[Sequence[Any], Any]:
    """What is in a container, and the rest of what it is."""
    kind = node_kind(type(container))
    if kind is not None:
        return kind.flatten(container)
    if isinstance(container, dict):
        return list(container.values()), tuple(container)
    return ((), container) if isinstance(container, set) else (container, ())
