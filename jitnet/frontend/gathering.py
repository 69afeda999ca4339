"""Finds what a function reads from outside, before it is traced: its guards.

    model = Model()                   f, its code's names: model, decay
    def decay(n): return RATE ** n    decay's: RATE
    def f(x):                         model's attribute scale, which some code names
        return decay(2) * model.scale * x

The user's functions are walked, with the helpers they call: the globals and closure cells that
their code names, the attributes that it names of modules and objects found there, and the
containers among them. A name that is new makes attributes count that did not before, so the walk is
repeated until none is.
"""

from __future__ import annotations

import builtins
import dataclasses
import functools
import sys
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AnySet
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
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
from jitnet.frontend.guards import ANY, ClassOf, Guards, Keys, Namespace, parts_of
from jitnet.frontend.places import (
    ABSENT,
    Slots,
    Variables,
    containers_in,
    is_plain_object,
    read,
    slots_of,
)
from jitnet.frontend.pytree import is_registered, node_kind
from jitnet.source import is_installed, is_users

_SKIPPED = (BuiltinFunctionType, np.ufunc, np.generic, np.dtype, str, bytes, int, float, complex)


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
        children, meta = parts_of(x)
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
            if ANY in self.names:
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
                self.found.add(ANY)
        if not ALL_OF_THEM.isdisjoint(code.co_names):
            self.found.add(ANY)
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
        keys = Keys(namespace)
        self.guards.names.append((keys, ANY, keys.get(ANY)))
        for name, value in namespace.items():
            if not name.startswith("__") and not hasattr(value, "__get__"):
                self._name(namespace, name)

    def _globals(self, namespace: dict[str, Any]) -> None:
        """All variables of a module, for code that computes their names."""
        keys = Keys(namespace)
        self.guards.names.append((keys, ANY, keys.get(ANY)))
        for name in [name for name in namespace if not name.startswith("__")]:
            self._name(namespace, name)

    def _class(self, cls: type) -> None:
        for base in cls.__mro__:
            if not _is_users_class(base):
                continue
            namespace = vars(base)
            self.guards.homes[id(namespace)] = (namespace, base)
            if ANY in self.names:
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
            self.guards.names.append((ClassOf(x), "__class__", type(x)))
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
            if ANY in names:
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
