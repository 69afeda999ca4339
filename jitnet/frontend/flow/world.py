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
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import CellType, FrameType, FunctionType, MethodType
from typing import Any

from jitnet.frontend.arrays import Store, stores_behind
from jitnet.frontend.closures import is_plain_object
from jitnet.frontend.context import Trace, resume, run_traced, running_trace
from jitnet.frontend.rewriting import HOOKS, is_thunk
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
    """What a list, a dict or a set holds, or the attributes of an object."""

    __slots__ = ("container", "name")

    def __init__(self, container: Any, name: str) -> None:
        self.container = container
        self.name = name

    def get(self) -> Any:
        x = self.container
        if isinstance(x, list):
            return list(x)
        return set(x) if isinstance(x, set) else dict(x if isinstance(x, dict) else vars(x))

    def set(self, value: Any) -> None:
        x = self.container
        if isinstance(x, list):
            x[:] = value
            return
        target = x if isinstance(x, (dict, set)) else vars(x)
        target.clear()
        target.update(value)


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
    return walk.world


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

    def visit(self, x: Any, name: str) -> None:
        if isinstance(x, (Tracer, int, float, str)) or x is None or id(x) in self._seen:
            return
        self._seen[id(x)] = x
        if isinstance(x, (list, dict, set)):
            self._content(x, name)
        elif isinstance(x, tuple):
            for child in x:
                self.visit(child, name)
        elif isinstance(x, FunctionType):
            if is_users(x.__code__.co_filename):
                self.cells(x)
        elif isinstance(x, MethodType):
            self.visit(x.__self__, name)
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
    """

    region: Trace
    changed: dict[int, tuple[Location, Any]]
    stores: dict[Store, Value]


def take_back(world: World, region: Trace) -> State:
    """Undo what was traced in `region`, and say what it was."""
    changed = world.changed()
    for key, (location, _) in changed.items():
        location.set(world.before(key))
    stores = {}
    for store, (value, owner) in region.written.items():
        stores[store] = store.value
        store.value, store.owner = value, owner
    return State(region, changed, stores)


def put_again(state: State) -> None:
    """Let the world be as the part has left it, to trace on in its region."""
    for location, content in state.changed.values():
        location.set(content)
    for store, value in state.stores.items():
        store.value, store.owner = value, state.region


@contextmanager
def as_left(state: State) -> Iterator[None]:
    """Trace on in the part's region, with memory as the part has left it."""
    held = [(store, store.value, store.owner) for store in state.stores]
    for store, value in state.stores.items():
        store.value, store.owner = value, state.region
    try:
        with resume(state.region):
            yield
    finally:
        for store, value, owner in held:
            store.value, store.owner = value, owner


# -- who else knows an array -----------------------------------------------------------------------


def known_elsewhere(store: Store, *locations: Location) -> bool:
    """Whether the caller, or another variable or container than these, has an array there."""
    if any(known_elsewhere(first, *locations) for first in store.stands_for):
        return True
    if any(store is own for own in running_trace().function.iterated):
        return True
    names = {location.name for location in locations}
    home: Trace | None = store.home
    while home is not None:
        if store in home.stores:
            return True
        home = home.parent
    return any(not own or name not in names for name, own in _holders(store))


def is_in_doubt(store: Store, *locations: Location) -> bool:
    """Whether others know the memory, or it may be that of others."""
    return store.is_shared or known_elsewhere(store, *locations)


def _holders(store: Store) -> Iterator[tuple[str, bool]]:
    """Names of the variables of running functions that reach the store, and whether they are those
    of the innermost function."""
    frame: FrameType | None = sys._getframe(2)
    own = True
    while frame is not None and frame.f_code is not run_traced.__code__:
        if is_users(frame.f_code.co_filename):
            for name, content in frame.f_locals.items():
                if _reaches(content, store, set()):
                    yield name, own
            own = own and is_thunk(frame.f_code)
        frame = frame.f_back


def _reaches(x: Any, store: Store, seen: set[int]) -> bool:
    if type(x) is Tracer:
        return any(own is store for own in stores_behind(x.place))
    if id(x) in seen:
        return False
    seen.add(id(x))
    children: Sequence[Any] = ()
    if isinstance(x, (list, tuple, set)):
        children = tuple(x)
    elif isinstance(x, dict):
        children = tuple(x.values())
    elif is_plain_object(x):
        children = tuple(vars(x).values())
    return any(_reaches(child, store, seen) for child in children)
