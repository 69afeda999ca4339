"""What a compiled function read from outside, and whether it is still the same.

    scale = 2.0
    f = jit(lambda x: x * scale)    # guard: this globals()["scale"] is 2.0
    f(x); scale = 3.0; f(x)         # the guard fails: f is traced again

Before a trace the user's functions are walked, with the helpers they call: the globals and closure
cells their code names, the attributes it names of modules and objects found there, and the
containers among them. Arrays are guarded by identity only, for they are inputs of the program.
"""

from __future__ import annotations

import builtins
import functools
import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
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

from jitnet.frontend.pytree import flatten, node_kind, unflatten
from jitnet.source import is_installed, is_users

Names = tuple[tuple[dict[str, Any], str, Any], ...]
Cells = tuple[tuple[CellType, Any], ...]

_ABSENT: Any = type("Absent", (), {"__repr__": lambda self: "not defined"})()
_PLAIN = (bool, int, str, bytes, complex, tuple, frozenset)
_SKIPPED = (BuiltinFunctionType, np.ufunc, np.generic, np.dtype, str, bytes, int, float, complex)


@dataclass
class Guards:
    """Names in namespaces, closure cells, containers, and shapes of arrays, as they were.

    Also the random generators that were met, which the trace may not use.
    """

    names: list[tuple[Mapping[str, Any], str, Any]] = field(default_factory=list)
    cells: list[tuple[CellType, Any]] = field(default_factory=list)
    containers: list[tuple[Any, list[Any], Any]] = field(default_factory=list)
    shapes: list[tuple[np.ndarray[Any, Any], tuple[int, ...]]] = field(default_factory=list)
    generators: list[Any] = field(default_factory=list)
    variables: dict[int, str] = field(default_factory=dict)
    """What the cells are called, by identity."""

    def hold(self) -> bool:
        """Whether everything is as it was."""
        for namespace, name, expected in self.names:
            now = namespace.get(name, _ABSENT)
            if now is not expected and not _same(now, expected):
                return False
        for cell, expected in self.cells:
            now = _content(cell)
            if now is not expected and not _same(now, expected):
                return False
        for array, shape in self.shapes:
            if array.shape != shape:
                return False
        return all(_unchanged(*container) for container in self.containers)

    def changes(self) -> Iterator[tuple[str, Any, Any]]:
        """What is not as it was: a name for it, what it was, and what it is."""
        for namespace, name, expected in self.names:
            now = namespace.get(name, _ABSENT)
            if now is not expected and not _same(now, expected):
                yield f"{_kind_of_name(namespace)} {name}", expected, now
        for cell, expected in self.cells:
            now = _content(cell)
            if now is not expected and not _same(now, expected):
                name = self.variables.get(id(cell), "<unknown>")
                yield f"variable {name} of a function around it", expected, now
        for array, shape in self.shapes:
            if array.shape != shape:
                yield "the shape of an array from outside", shape, array.shape
        for container, leaves, tree in self.containers:
            if not _unchanged(container, leaves, tree):
                was = unflatten(tree, leaves)
                yield f"a {type(container).__name__} from outside", was, container

    def split(self) -> tuple[Names, Cells, Guards]:
        """Names in real dicts and filled cells, which the identity of what they hold decides, once
        each; and the rest."""
        names = {(id(n[0]), n[1]): n for n in self.names}.values()
        cells = {id(cell[0]): cell for cell in self.cells}.values()
        rest = Guards(
            [n for n in names if type(n[0]) is not dict or n[2] is _ABSENT],
            [cell for cell in cells if cell[1] is _ABSENT],
            self.containers,
            self.shapes,
        )
        return (
            tuple((n[0], n[1], n[2]) for n in names if type(n[0]) is dict and n[2] is not _ABSENT),
            tuple(cell for cell in cells if cell[1] is not _ABSENT),
            rest,
        )


def _kind_of_name(namespace: Mapping[str, Any]) -> str:
    return "global" if "__builtins__" in namespace else "attribute"


def _same(now: Any, expected: Any) -> bool:
    if type(now) is not type(expected):
        return False
    if isinstance(now, float):
        return now == expected and math.copysign(1.0, now) == math.copysign(1.0, expected)
    if isinstance(now, MethodType):
        return bool(now == expected)
    return isinstance(now, _PLAIN) and repr(now) == repr(expected)


def _content(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return _ABSENT


def _unchanged(container: Any, leaves: list[Any], tree: Any) -> bool:
    now, tree_now = flatten(container)
    if tree_now != tree:
        return False
    return all(a is b or _same(a, b) for a, b in zip(now, leaves))


# -- collecting ------------------------------------------------------------------------------------


def collect(fn: Callable[..., Any], statics: Sequence[Any] = ()) -> Guards:
    """Guards for all that `fn`, and functions and objects among its static arguments, read."""
    names: set[str] = set()
    while True:  # attributes count once some function names them: repeat until no new names come
        walk = _Walk(frozenset(names))
        for root in (fn, *statics):
            walk.visit(root)
        if walk.found <= names:
            if "random" in names:
                walk.guards.generators.append(np.random.mtrand._rand)
            return walk.guards
        names |= walk.found


class _Walk:
    """One pass over functions, namespaces and objects.

    Attributes:
        names: attribute names that count; `found` the names that the visited code mentions.
    """

    def __init__(self, names: frozenset[str]) -> None:
        self.names = names
        self.found: set[str] = set()
        self.guards = Guards()
        self.seen: dict[int, Any] = {}  # keeps what it has seen alive, so that ids stay theirs

    def visit(self, x: Any) -> None:
        if x is None or isinstance(x, _SKIPPED) or id(x) in self.seen:
            return
        self.seen[id(x)] = x
        if type(x) is np.ndarray:
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
        elif node_kind(type(x)) is not None:
            leaves, tree = flatten(x)
            self.guards.containers.append((x, leaves, tree))
            for leaf in leaves:
                self.visit(leaf)
        else:
            self._object(x)

    def _module(self, module: ModuleType) -> None:
        """The attributes of a module; what an installed package holds is not looked into."""
        file = getattr(module, "__file__", None) or "<frozen >"
        if is_users(file) and is_installed(file):
            names = self.names & vars(module).keys()
            self.guards.names += [(vars(module), name, vars(module)[name]) for name in names]
        elif is_users(file):
            self._attributes(vars(module))

    def _function(self, fn: FunctionType) -> None:
        if not is_users(fn.__code__.co_filename):
            return self._cells(fn, guarded=False)
        for code in _codes(fn.__code__):
            self.found.update(code.co_names)
            for name in code.co_names:
                if name in fn.__globals__:
                    self._name(fn.__globals__, name)
                elif hasattr(builtins, name):
                    self._absent(fn.__globals__, name)
        self._cells(fn, guarded=True)
        for default in (*(fn.__defaults__ or ()), *(fn.__kwdefaults__ or {}).values()):
            self.visit(default)

    def _cells(self, fn: FunctionType, guarded: bool) -> None:
        for name, cell in zip(fn.__code__.co_freevars, fn.__closure__ or ()):
            content = _content(cell)
            if guarded:
                self.guards.cells.append((cell, content))
                self.guards.variables[id(cell)] = name
            self.visit(content)

    def _name(self, namespace: Mapping[str, Any], name: str) -> None:
        value = namespace[name]
        self.guards.names.append((namespace, name, value))
        self.visit(value)

    def _absent(self, namespace: Mapping[str, Any], name: str) -> None:
        """What the name stands for is found further out, as long as it is not defined here."""
        self.guards.names.append((namespace, name, _ABSENT))

    def _attributes(self, namespace: Mapping[str, Any]) -> None:
        for name in self.names:
            if name in namespace:
                self._name(namespace, name)

    def _class(self, cls: type) -> None:
        for base in cls.__mro__:
            module = inspect.getmodule(base)
            if base is object or not is_users(getattr(module, "__file__", None) or "<frozen >"):
                continue
            for name in (*self.names, "__call__"):
                member = vars(base).get(name)
                if isinstance(member, (staticmethod, classmethod)):
                    member = member.__func__
                if isinstance(member, property):
                    member = member.fget
                if member is not None:
                    self._name(vars(base), name)
                    self.visit(member)

    def _object(self, x: Any) -> None:
        self.visit(getattr(x, "__wrapped__", None))
        self._class(type(x))
        namespace = getattr(x, "__dict__", None)
        if isinstance(namespace, dict):
            self._attributes(namespace)
            for name in self.names:
                if name not in namespace and hasattr(type(x), name):
                    self._absent(namespace, name)


def _codes(code: CodeType) -> Iterator[CodeType]:
    """A function's code and that of the functions and comprehensions inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def user_traceback(traceback: TracebackType | None) -> TracebackType | None:
    """The traceback without jitnet's and NumPy's own frames."""
    if traceback is None:
        return None
    rest = user_traceback(traceback.tb_next)
    if not is_users(traceback.tb_frame.f_code.co_filename):
        return rest
    return TracebackType(rest, traceback.tb_frame, traceback.tb_lasti, traceback.tb_lineno)
