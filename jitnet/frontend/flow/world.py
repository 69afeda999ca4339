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

import sys
from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from collections.abc import Set as AnySet
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from types import BuiltinFunctionType, CellType, CodeType, FrameType, FunctionType, MethodType
from typing import Any

from jitnet.frontend.arrays import stores_behind
from jitnet.frontend.context import Globals, Trace, resume, run_traced, running_trace
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
from jitnet.frontend.rewriting import HOOKS, is_thunk
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
        return len(a) == len(b) and all(x is y for x, y in zip(a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return list(a) == list(b) and all(a[k] is b[k] for k in a)
    return isinstance(a, set) and a == b


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


_BODIES: set[str] = set()


def declare_bodies(file: str) -> None:
    """The functions of this file of jitnet's run parts of the program, as the user's do."""
    _BODIES.add(file)


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
            for child in x:
                self.visit(child, name)
        elif isinstance(x, FunctionType):
            if is_users(x.__code__.co_filename) or x.__code__.co_filename in _BODIES:
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
        for child in content.values() if isinstance(content, dict) else content:
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


# -- who else knows an array -----------------------------------------------------------------------


def known_elsewhere(store: Store, *locations: Location) -> bool:
    """Whether the caller, or another variable or container than these, has an array there."""
    if any(known_elsewhere(first, *locations) for first in store.stands_for):
        return True
    if any(store is own for own in running_trace().function.iterated):
        return True
    home: Trace | None = store.home
    while home is not None:
        if store in home.stores:
            return True
        home = home.parent
    return _is_held(store, locations)


def is_held_elsewhere(container: Any, *locations: Location) -> bool:
    """Whether the caller, or another variable or container than these, has this container."""
    function = running_trace().function
    stands_for_others = any(s.content.container is container for s in function.snapshots)
    is_callers = id(container) in function.containers
    return is_callers or stands_for_others or _is_held(container, locations)


def _is_held(thing: Any, locations: Sequence[Location]) -> bool:
    """Whether another variable or container than these reaches a container or memory."""
    names = {location.name for location in locations}
    own = {id(location.container) for location in locations if isinstance(location, Content)}
    if any(not is_own or name not in names for name, is_own in _holders(thing, own)):
        return True
    return any(
        _reaches(x, thing, set(own))
        for variables in running_trace().globals()
        for name, x in ((n, variables.namespace.get(n)) for n in variables.reached)
        if not (id(variables) in own and name in variables.stored)
    )


def _holders(thing: Any, own_containers: AnySet[int]) -> Iterator[tuple[str, bool]]:
    """Names of the variables of running functions that reach it, other than through these
    containers, and whether they are those of the innermost function."""
    frame: FrameType | None = sys._getframe(3)
    own = True
    while frame is not None and frame.f_code is not run_traced.__code__:
        if is_users(frame.f_code.co_filename):
            for name, content in frame.f_locals.items():
                if _reaches(content, thing, set(own_containers), frame.f_locals):
                    yield name, own
            for name in _named(frame.f_code):
                if _reaches(frame.f_globals.get(name), thing, set(own_containers)):
                    yield name, False
            own = own and is_thunk(frame.f_code)
        frame = frame.f_back


@cache
def _named(code: CodeType) -> frozenset[str]:
    """The names of globals, among others, in a code object and in those inside of it."""
    inner = (_named(part) for part in code.co_consts if isinstance(part, CodeType))
    return frozenset(code.co_names).union(*inner)


def _reaches(x: Any, thing: Any, seen: set[int], known: Container[str] = ()) -> bool:
    """Whether an object leads to a container or memory; `known` variables of functions' closures
    are looked at by themselves."""
    if type(x) is Tracer:
        return any(own is thing for own in stores_behind(x.place))
    if x is thing:
        return True
    if isinstance(x, (int, float, str)) or x is None or id(x) in seen:
        return False
    seen.add(id(x))
    return any(_reaches(child, thing, seen) for child in _children(x, known))


def _children(x: Any, known: Container[str]) -> Sequence[Any]:
    if type(x) is Appended:
        return x.new
    if isinstance(x, (list, tuple, set, deque)):
        return tuple(x)
    if isinstance(x, dict):
        return tuple(x.values())
    if type(x) is Variants:
        return objects_of(x)
    if isinstance(x, FunctionType):
        if is_thunk(x.__code__) or not is_users(x.__code__.co_filename):
            return ()
        cells = zip(x.__code__.co_freevars, x.__closure__ or ())
        return [Variable(c, n).get() for n, c in cells if n not in known and n != HOOKS]
    if isinstance(x, partial):
        return (x.func, *x.args, *x.keywords.values())
    if isinstance(x, (MethodType, BuiltinFunctionType)):
        return (x.__self__,)
    return tuple(attributes(x).values()) if is_plain_object(x) else ()
