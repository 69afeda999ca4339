"""What a part of a program can change: variables, containers and the memory of arrays.

    if c:            the variable y, what the list holds, and x's memory
        y = 1
        log.append(y)
        x[0] = y

The arms of an `if` and the body of a loop are traced as if they ran, and what they change is taken
back: a `World` says what was there before, a `State` what was there afterwards. Variables are the
cells that the rewritten function shares with its parts.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from gc import is_tracked
from operator import is_
from types import BuiltinFunctionType, CellType, FunctionType, MethodType
from typing import Any

from jitnet.frontend.context import Globals, Trace, resume, running_trace
from jitnet.frontend.flow.steps import Few, Filtered, Steps
from jitnet.frontend.flow.variants import Variants, objects_of
from jitnet.frontend.places import (
    ABSENT,
    Appended,
    attributes,
    is_plain_object,
    set_attributes,
    write,
)
from jitnet.frontend.rewriting import HOOKS
from jitnet.frontend.stores import Doubt, Store
from jitnet.frontend.tracer import Tracer
from jitnet.ir import Value
from jitnet.source import is_users

UNBOUND: Any = type("Unbound", (), {"__repr__": lambda self: "<unbound>"})()
"""What a variable holds that has not been assigned to."""


class Variable:
    """A variable of a rewritten function."""

    __slots__ = ("cell", "name")

    def __init__(self, cell: CellType, name: str) -> None:
        self.cell = cell
        self.name = name

    def get(self) -> Any:
        try:
            return self.cell.cell_contents
        except ValueError:
            return UNBOUND

    def set(self, value: Any) -> None:
        if value is not UNBOUND:
            self.cell.cell_contents = value
        elif self.get() is not UNBOUND:
            del self.cell.cell_contents


RETURNED = Variable(CellType(), "<the returned value>")
"""Where what a function returns is: in no variable."""


class Content:
    """What a list, deque, dict or set holds, the attributes of an object, a module's variables."""

    __slots__ = ("container", "name")

    def __init__(self, container: Any, name: str) -> None:
        self.container = container
        self.name = name

    def __str__(self) -> str:
        if type(self.container) is Globals:
            return f"the globals of {self.name}"
        return f"a {type(self.container).__name__} ({self.name})"

    def get(self) -> Any:
        x = self.container
        if type(x) is Globals:
            return {name: x.namespace[name] for name in x.stored if name in x.namespace}
        if isinstance(x, (list, deque)):
            return list(x)
        if isinstance(x, set):
            return set(x)
        return dict(x) if isinstance(x, dict) else attributes(x)

    def set(self, value: Any) -> None:
        x = self.container
        if isinstance(x, list):
            x[:] = value
            return
        if type(x) is Globals:
            for name in x.stored:
                write(x.namespace, name, value.get(name, ABSENT))
            return
        if not isinstance(x, (dict, set, deque)):
            set_attributes(x, value)
            return
        x.clear()
        (x.extend if isinstance(x, deque) else x.update)(value)


Location = Variable | Content


def same_content(a: Any, b: Any) -> bool:
    """Whether a location still holds just the same objects."""
    if a is b:
        return True
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(is_, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return list(a) == list(b) and all(map(is_, a.values(), b.values()))
    return isinstance(a, set) and a == b


def leading_on(items: Collection[Any]) -> Iterable[Any]:
    """Those of many items that may be, or lead to, containers and arrays: the garbage collector
    follows them, or they are dicts, which it does not follow while they hold numbers and texts."""
    if dict in map(type, items):
        return [x for x in items if type(x) is dict or is_tracked(x)]
    return filter(is_tracked, items)


@dataclass
class World:
    """Locations and what they held, by the identity of the variable or container."""

    held: dict[int, tuple[Location, Any]] = field(default_factory=dict)

    def changed(self) -> dict[int, tuple[Location, Any]]:
        """Locations that hold something else now, with that."""
        found = {}
        for key, (location, before) in self.held.items():
            now = location.get()
            same = now is before if isinstance(location, Variable) else same_content(now, before)
            if not same:
                found[key] = (location, now)
        return found

    def before(self, key: int) -> Any:
        return self.held[key][1]


def survey(thunks: Iterable[Callable[[], Any] | None]) -> World:
    """The world as the parts of a program see it."""
    walk = _Walk()
    for thunk in thunks:
        if isinstance(thunk, FunctionType):
            walk.cells(thunk)
        elif isinstance(thunk, partial):
            walk.visit(thunk, "")
    for variables in running_trace().globals():
        walk.globals(variables)
    return walk.world


@contextmanager
def surveyed(thunks: Iterable[Callable[[], Any] | None]) -> Iterator[World]:
    """The same, for as long as these parts are traced."""
    worlds = running_trace().function.worlds
    worlds.append(survey(thunks))
    try:
        yield worlds[-1]
    finally:
        worlds.pop()


def is_known_around(container: Any) -> bool:
    """Whether a container was there before a part of the program that is being traced."""
    return any(id(container) in world.held for world in running_trace().function.worlds)


_OWN = os.path.dirname(__file__)
_BODIES: set[str] = set()


def declare_bodies(file: str) -> None:
    """The functions of this file run parts of the program, as the user's and those beside this
    module do."""
    _BODIES.add(file)


def _runs_parts(file: str) -> bool:
    return is_users(file) or file in _BODIES or os.path.dirname(file) == _OWN


class _Walk:
    def __init__(self) -> None:
        self.world = World()
        self._seen: dict[int, Any] = {}

    def cells(self, fn: FunctionType) -> None:
        for name, cell in zip(fn.__code__.co_freevars, fn.__closure__ or ()):
            if name == HOOKS or id(cell) in self.world.held:
                continue
            variable = Variable(cell, name)
            content = variable.get()
            self.world.held[id(cell)] = (variable, content)
            self.visit(content, name)

    def globals(self, variables: Globals) -> None:
        namespace = variables.namespace
        for name in variables.reached:
            self.visit(namespace.get(name), name)
        self._content(variables, str(namespace.get("__name__", "the module")))

    def visit(self, x: Any, name: str) -> None:
        if isinstance(x, (Tracer, int, float, str)) or x is None or id(x) in self._seen:
            return
        self._seen[id(x)] = x
        if type(x) is Appended:
            self.visit(x.new, name)
        elif isinstance(x, (Steps, Filtered, Few)):
            self.visit((x if isinstance(x, Steps) else x.steps).taken, name)
        elif isinstance(x, (list, dict, set, deque)):
            self._content(x, name)
        elif isinstance(x, tuple):
            for child in leading_on(x):
                self.visit(child, name)
        elif isinstance(x, FunctionType):
            if _runs_parts(x.__code__.co_filename):
                self.cells(x)
                if vars(x):
                    self._content(x, name)
        elif isinstance(x, partial):
            self.visit((x.func, x.args, x.keywords), name)
        elif isinstance(x, (MethodType, BuiltinFunctionType)):
            self.visit(x.__self__, name)
        elif type(x) is Variants:
            self.visit(objects_of(x), name)
        elif is_plain_object(x):
            self._content(x, name)

    def _content(self, x: Any, name: str) -> None:
        location = Content(x, name)
        content = location.get()
        self.world.held[id(x)] = (location, content)
        for child in leading_on(content.values() if isinstance(content, dict) else content):
            self.visit(child, name)


@dataclass
class State:
    """What a part of a program has left behind.

    Attributes:
        region: its trace.
        changed: locations that it changed, with what they hold.
        stores: memory that it wrote to, with what it holds.
        lost: memory that it may have written to, and why that is not known.
    """

    region: Trace
    changed: dict[int, tuple[Location, Any]]
    stores: dict[Store, Value]
    lost: dict[Store, Doubt]


def take_back(world: World, region: Trace) -> State:
    """Undo what was traced in `region`, and say what it was."""
    changed = world.changed()
    for key, (location, _) in changed.items():
        location.set(world.before(key))
    stores = {}
    for store, (value, owner) in region.written.items():
        stores[store] = store.value
        store.value, store.owner = value, owner
    for store in region.lost:
        store.doubt = None
    return State(region, changed, stores, dict(region.lost))


def put_again(state: State) -> None:
    """Let the world be as the part has left it, to trace on in its region."""
    for location, content in state.changed.values():
        location.set(content)
    for store, value in state.stores.items():
        store.value, store.owner = value, state.region
    for store, doubt in state.lost.items():
        store.doubt = doubt


@contextmanager
def as_left(state: State) -> Iterator[None]:
    """Trace on in the part's region, with memory as the part has left it."""
    held = [(store, store.value, store.owner) for store in state.stores]
    for store, value in state.stores.items():
        store.value, store.owner = value, state.region
    for store, doubt in state.lost.items():
        store.doubt = doubt
    try:
        with resume(state.region):
            yield
    finally:
        for store in state.lost:
            store.doubt = None
        for store, value, owner in held:
            store.value, store.owner = value, owner


@dataclass(frozen=True)
class Left:
    """What parts of a program, each of which was taken back, have left in containers."""

    world: World
    states: Sequence[State]

    def was_there(self, x: Any) -> bool:
        """Whether a container is one of the world's, whose content is looked after by itself."""
        return id(x) in self.world.held

    @contextmanager
    def contents(self, x: Any, part: int) -> Iterator[None]:
        """Let a container hold what a part has left in it."""
        changed = self.states[part].changed.get(id(x))
        if changed is None:
            yield
            return
        location, content = changed
        before = location.get()
        location.set(content)
        try:
            yield
        finally:
            location.set(before)
