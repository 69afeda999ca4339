"""What a compiled function read from outside, and whether it is still the same.

    scale = 2.0
    f = jit(lambda x: x * scale)    # guard: this globals()["scale"] is 2.0
    f(x); scale = 3.0; f(x)         # the guard fails: f is traced again

Before a trace the user's functions are walked, with the helpers they call: the globals and closure
cells their code names, the attributes it names of modules and objects found there, and the
containers among them. Arrays are guarded by identity only, for they are inputs of the program; so
are the function's places (`places`), which are not guarded at all.
"""

from __future__ import annotations

import builtins
import dataclasses
import functools
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AnySet
from dataclasses import dataclass, field
from types import (
    BuiltinFunctionType,
    CellType,
    CodeType,
    FunctionType,
    MethodType,
    ModuleType,
    TracebackType,
)
from typing import Any

import numpy as np

from jitnet import errors
from jitnet.frontend.bytecode import (
    ALL_OF_THEM,
    ASKING,
    COLLECTIONS,
    codes,
    computes_globals,
    computes_names,
    handles_errors,
    may_change,
    stored,
    texts,
    variables,
)
from jitnet.frontend.device_arrays import device_of
from jitnet.frontend.places import (
    ABSENT,
    Content,
    Slots,
    Variables,
    containers_in,
    is_plain_object,
    read,
    slots_of,
    write,
)
from jitnet.frontend.pytree import is_registered, node_kind
from jitnet.source import Position, is_installed, is_users, position

_ANY = "*"
"""Stands for every attribute among the names that code mentions."""


class _Keys:
    """Which attributes an object or a class has, as what the name `*` stands for."""

    def __init__(self, namespace: Mapping[str, Any]) -> None:
        self._namespace = namespace

    def get(self, name: str, default: Any = None) -> Any:
        return tuple(self._namespace) if name == _ANY else default


class _Kind:
    """The class of an object, which may be assigned, as what the name `__class__` stands for."""

    def __init__(self, thing: Any) -> None:
        self.thing = thing

    def get(self, name: str, default: Any = None) -> Any:
        return type(self.thing) if name == "__class__" else default


Namespace = Mapping[str, Any] | Slots | _Keys | _Kind
Names = tuple[tuple[dict[str, Any], str, Any], ...]
Cells = tuple[tuple[CellType, Any], ...]
Kinds = tuple[tuple[Any, type], ...]

_DYNAMIC = (np.ndarray, float, complex)
_PLAIN = (bool, int, str, bytes, complex, frozenset)
_SKIPPED = (BuiltinFunctionType, np.ufunc, np.generic, np.dtype, str, bytes, int, float, complex)


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
        """Names in real dicts, filled cells and classes of objects, which the identity of what they
        hold decides, once each; and the rest."""
        names = {(id(n[0]), n[1]): n for n in self.names}.values()
        cells = {id(cell[0]): cell for cell in self.cells}.values()
        rest = Guards(
            [n for n in names if type(n[0]) not in (dict, _Kind) or n[2] is ABSENT],
            [cell for cell in cells if cell[1] is ABSENT],
            self.containers,
            self.shapes,
        )
        return (
            tuple((n[0], n[1], n[2]) for n in names if type(n[0]) is dict and n[2] is not ABSENT),
            tuple(cell for cell in cells if cell[1] is not ABSENT),
            tuple((n[0].thing, n[2]) for n in names if type(n[0]) is _Kind),
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
    now, meta_now = _parts(container)
    if len(now) != len(children) or meta_now != meta:
        return False
    return all(a is b or _same(a, b) for a, b in zip(now, children))


def _parts(container: Any) -> tuple[Sequence[Any], Any]:
    """What is in a container, and the rest of what it is."""
    kind = node_kind(type(container))
    if kind is not None:
        return kind.flatten(container)
    if isinstance(container, dict):
        return list(container.values()), tuple(container)
    return ((), container) if isinstance(container, set) else (container, ())


# -- collecting ------------------------------------------------------------------------------------


def collect(
    fn: Callable[..., Any], statics: Sequence[Any] = (), places: Sequence[Any] = ()
) -> Guards:
    """Guards for all that `fn`, and functions and objects among its static arguments, read.

    Args:
        places: variables and containers that are inputs of the program.

    Raises:
        MutationError: where a container in one of them is reached by another way too.
    """
    names: set[str] = set()
    doubtful: set[str] = set()
    while True:  # attributes count once some function names them: repeat until no new names come
        walk = _Walk(frozenset(names), frozenset(doubtful), places)
        for root in (fn, *statics):
            walk.visit(root)
        if walk.found <= names and walk.missed <= doubtful:
            if "random" in names:
                walk.guards.generators.append(np.random.mtrand._rand)
            walk.guards.attributes = frozenset(names)
            return walk.guards
        names |= walk.found
        doubtful |= walk.missed


class _Walk:
    """One pass over functions, namespaces and objects.

    Attributes:
        names: attribute names that count; `found` the names that the visited code mentions.
        doubtful: those that the code can do without, so that it matters that there is none;
            `missed` those in the visited code.
    """

    def __init__(
        self, names: frozenset[str], doubtful: frozenset[str], places: Sequence[Any]
    ) -> None:
        self.names, self.doubtful = names, doubtful
        self.found: set[str] = set()
        self.missed: set[str] = set()
        self.guards = Guards()
        self.seen: dict[int, Any] = {}  # keeps what it has seen alive, so that ids stay theirs
        self.inputs: dict[int, AnySet[str]] = {}
        self.containers: set[int] = set()
        self.nested: set[int] = set()
        for item in places:
            self.nested.update(map(id, containers_in(item)))
            if isinstance(item, Variables):
                self.inputs[id(item.original)] = frozenset(item.names)
            else:
                self.containers.add(id(item.original))

    def visit(self, x: Any) -> None:
        if x is None or isinstance(x, _SKIPPED) or id(x) in self.seen:
            return
        self.seen[id(x)] = x
        if id(x) in self.nested:
            raise _reached_twice(x)
        if id(x) in self.containers:
            return
        if type(x) is np.ndarray or device_of(type(x)) is not None:
            self.guards.shapes.append((x, x.shape))
        elif type(x).__module__.startswith("numpy.random"):
            self.guards.generators.append(x)
        elif isinstance(x, FunctionType):
            self._function(x)
        elif isinstance(x, functools.partial):
            for part in (x.func, *x.args, *x.keywords.values()):
                self.visit(part)
        elif isinstance(x, MethodType):
            self.visit(x.__func__)
            self.visit(x.__self__)
        elif isinstance(x, ModuleType):
            self._module(x)
        elif isinstance(x, type):
            self._class(x)
        elif dataclasses.is_dataclass(x) and is_plain_object(x) and not is_registered(type(x)):
            self._object(x, frozenset(f.name for f in dataclasses.fields(x)))
        elif node_kind(type(x)) is not None or isinstance(x, COLLECTIONS):
            self._container(x)
        else:
            self._object(x)

    def _container(self, x: Any) -> None:
        children, meta = _parts(x)
        held = set(meta) if isinstance(meta, set) else meta
        self.guards.containers.append((x, list(children), held))
        if isinstance(x, (dict, set)):
            self.guards.keys += filter(is_plain_object, x)
        for child in children:
            self.visit(child)

    def _module(self, module: ModuleType) -> None:
        """The attributes of a module; what an installed package holds is not looked into."""
        file = getattr(module, "__file__", None) or "<frozen >"
        if is_users(file) and is_installed(file):
            names = self.names & vars(module).keys()
            self.guards.names += [(vars(module), name, vars(module)[name]) for name in names]
        elif is_users(file):
            self.guards.homes[id(vars(module))] = (vars(module), vars(module))
            self._attributes(vars(module))
            if _ANY in self.names:
                self._globals(vars(module))

    def _function(self, fn: FunctionType) -> None:
        if not is_users(fn.__code__.co_filename):
            return self._cells(fn, guarded=False)
        self.guards.homes[id(fn.__globals__)] = (fn.__globals__, fn.__globals__)
        for code in codes(fn.__code__):
            self._mentioned(code)
            self.guards.may_change |= may_change(code)
            self.guards.stored.update(name for _, name in stored(code))
            self.guards.codes.append(code)
            asks = "globals" in code.co_names
            for name in (*variables(code), *(texts(code) if asks else ())):
                if name in fn.__globals__:
                    self._name(fn.__globals__, name)
                elif asks or hasattr(builtins, name) or "NameError" in code.co_names:
                    self._absent(fn.__globals__, name)
            if computes_globals(code):
                self._globals(fn.__globals__)
        self._cells(fn, guarded=True)
        if fn.__dict__:
            self.guards.homes[id(fn.__dict__)] = (fn.__dict__, fn)
            self._attributes(fn.__dict__)
        for default in (*(fn.__defaults__ or ()), *(fn.__kwdefaults__ or {}).values()):
            self.visit(default)

    def _mentioned(self, code: CodeType) -> None:
        self.found.update(code.co_names)
        if not ASKING.isdisjoint(code.co_names):
            asked = texts(code)
            self.found |= asked
            self.missed |= asked
            if computes_names(code):
                self.found.add(_ANY)
        if not ALL_OF_THEM.isdisjoint(code.co_names):
            self.found.add(_ANY)
        if handles_errors(code):
            self.missed.update(code.co_names)

    def _cells(self, fn: FunctionType, guarded: bool) -> None:
        for name, cell in zip(fn.__code__.co_freevars, fn.__closure__ or ()):
            if id(cell) in self.inputs:
                continue
            content = read(cell, name)
            if guarded:
                self.guards.cells.append((cell, content))
                self.guards.variables[id(cell)] = name
            self.visit(content)

    def _name(self, namespace: Namespace, name: str) -> None:
        if self._is_input(namespace, name):
            return
        value = namespace.get(name)
        self.guards.names.append((namespace, name, value))
        self.visit(value)

    def _is_input(self, namespace: Namespace, name: str) -> bool:
        _, home = self.guards.homes.get(id(namespace), (None, None))
        return name in self.inputs.get(id(home), ())

    def _absent(self, namespace: Namespace, name: str) -> None:
        """What the name stands for is found further out, as long as it is not defined here."""
        if self._is_input(namespace, name):
            return
        self.guards.names.append((namespace, name, ABSENT))

    def _attributes(self, namespace: dict[str, Any], more: AnySet[str] = frozenset()) -> None:
        for name in self.names | more:
            if name in namespace:
                self._name(namespace, name)

    def _all_of(self, namespace: Mapping[str, Any]) -> None:
        """Which attributes there are, and what they are, besides methods and the like."""
        keys = _Keys(namespace)
        self.guards.names.append((keys, _ANY, keys.get(_ANY)))
        for name, value in namespace.items():
            if not name.startswith("__") and not hasattr(value, "__get__"):
                self._name(namespace, name)

    def _globals(self, namespace: dict[str, Any]) -> None:
        """All variables of a module, for code that computes their names."""
        keys = _Keys(namespace)
        self.guards.names.append((keys, _ANY, keys.get(_ANY)))
        for name in [name for name in namespace if not name.startswith("__")]:
            self._name(namespace, name)

    def _class(self, cls: type) -> None:
        for base in cls.__mro__:
            if not _is_users_class(base):
                continue
            namespace = vars(base)
            self.guards.homes[id(namespace)] = (namespace, base)
            if _ANY in self.names:
                self._all_of(namespace)
            for name in (*self.names, "__call__"):
                member = namespace.get(name)
                own = member
                if isinstance(member, (staticmethod, classmethod)):
                    member = member.__func__
                if isinstance(member, property):
                    for accessor in (member.fset, member.fdel):
                        self.visit(accessor)
                    member = member.fget
                if isinstance(member, functools.cached_property):
                    self.guards.may_change = True  # it sets an attribute
                    member = member.func
                if own is not None:
                    self._name(namespace, name)
                    self.visit(member)
                elif base is cls and name in self.doubtful:
                    self._absent(namespace, name)

    def _object(self, x: Any, more: AnySet[str] = frozenset()) -> None:
        names = self.names | more
        self.visit(getattr(x, "__wrapped__", None))
        self._class(type(x))
        if _is_users_class(type(x)):
            self.guards.names.append((_Kind(x), "__class__", type(x)))
        namespace = getattr(x, "__dict__", None)
        slots = slots_of(type(x))
        if slots:
            room = Slots(x)
            self.guards.homes[id(room)] = (room, x)
            for name in names & slots.keys():
                if room.get(name, ABSENT) is ABSENT:
                    self._absent(room, name)
                else:
                    self._name(room, name)
        if isinstance(namespace, dict):
            self.guards.homes[id(namespace)] = (namespace, x)
            if _ANY in names:
                self._all_of(namespace)
            self._attributes(namespace, more)
            for name in names:
                if name not in namespace and (name in self.doubtful or hasattr(type(x), name)):
                    self._absent(namespace, name)
                elif name not in namespace and not is_plain_object(x):
                    self.guards.unset.append((namespace, name))


_HEAP_TYPE = 1 << 9
"""The flag of classes that are made by class statements."""


def _is_users_class(cls: type) -> bool:
    """Whether a class is the user's; those of a notebook or of code that was run have no file."""
    file = getattr(sys.modules.get(cls.__module__), "__file__", None)
    return bool(cls.__flags__ & _HEAP_TYPE) and (file is None or is_users(file))


def _reached_twice(x: Any) -> errors.MutationError:
    return errors.MutationError(
        f"a {type(x).__qualname__} that is reached by more ways than one, and that the function "
        "changes, or that is in what it changes",
        why="whether these ways lead to one object is not a part of what a program is compiled for",
        remedy="reach it by one name or attribute only, or return it as a result",
    )


def user_traceback(traceback: TracebackType | None) -> TracebackType | None:
    """The traceback without jitnet's and NumPy's own frames."""
    if traceback is None:
        return None
    rest = user_traceback(traceback.tb_next)
    if not is_users(traceback.tb_frame.f_code.co_filename):
        return rest
    return TracebackType(rest, traceback.tb_frame, traceback.tb_lasti, traceback.tb_lineno)
