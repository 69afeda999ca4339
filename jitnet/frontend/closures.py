"""Arrays that a function reads from outside, made inputs before it is traced.

    w = np.ones(3)
    f = jit(lambda x: x + 2 * w)      # NumPy would compute 2 * w now, and bake it in

The function is traced as a copy whose globals and closure cells hold tracers in the places of
arrays: in variables, in containers, in default arguments, in attributes of objects of the user's
own classes, and in the helpers it calls. So what it computes from them is part of the program.
Functions that reach no array are left as they are.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping
from types import CellType, CodeType, FunctionType, MethodType
from typing import Any

import numpy as np

from jitnet import errors, ir
from jitnet.frontend.pytree import flatten, node_kind, unflatten
from jitnet.source import is_users


class Wrapper:
    """A callable that means `__wrapped__` inside of a trace."""

    __wrapped__: Callable[..., Any]


class Substitution:
    """Copies of functions and containers with something else in the places of arrays.

    Args:
        replace: `(array, name) → what stands for it`.
    """

    def __init__(self, replace: Callable[[np.ndarray[Any, Any], str], Any]) -> None:
        self._replace = replace
        self._made: dict[int, tuple[Any, Any]] = {}  # original and copy, by the original's id
        self._namespaces: dict[int, tuple[dict[str, Any], dict[str, Any]]] = {}
        self._cells: list[tuple[CellType, Any]] = []
        self._containers: list[tuple[Any, list[Any]]] = []

    def of(self, x: Any, name: str = "captured") -> Any:
        """`x` itself, or its copy where it reaches an array."""
        known = self._made.get(id(x))
        if known is not None:
            return known[1]
        if type(x) is np.ndarray:
            return self._keep(x, self._replace(x, name) if _is_supported(x) else x)
        if isinstance(x, FunctionType):
            return self._function(x)
        if isinstance(x, Wrapper):
            return self._keep(x, self.of(x.__wrapped__, name))
        if isinstance(x, functools.partial):
            keywords = {k: self.of(v, k) for k, v in x.keywords.items()}
            arguments = [self.of(v) for v in x.args]
            return self._keep(x, functools.partial(self.of(x.func), *arguments, **keywords))
        if isinstance(x, MethodType):
            return self._keep(x, MethodType(self.of(x.__func__), self.of(x.__self__)))
        if node_kind(type(x)) is not None:
            return self._container(x, name)
        if is_plain_object(x):
            return self._object(x)
        return x

    def unchanged(self) -> bool:
        """Whether the copies still hold what they were made with."""
        for namespace, snapshot in self._namespaces.values():
            if len(namespace) != len(snapshot):
                return False
            if any(namespace.get(name) is not value for name, value in snapshot.items()):
                return False
        for cell, content in self._cells:
            if cell.cell_contents is not content:
                return False
        for container, leaves in self._containers:
            now = flatten(container)[0]
            if len(now) != len(leaves) or any(a is not b for a, b in zip(now, leaves)):
                return False
        return True

    def _keep(self, original: Any, copy: Any) -> Any:
        self._made[id(original)] = (original, copy)
        return copy

    def _container(self, x: Any, name: str) -> Any:
        leaves, tree = flatten(x)
        replaced = [self.of(leaf, name) for leaf in leaves]
        if all(a is b for a, b in zip(leaves, replaced)):
            return x
        copy = unflatten(tree, replaced)
        self._containers.append((copy, replaced))
        return self._keep(x, copy)

    def _object(self, x: Any) -> Any:
        copy = self._keep(x, object.__new__(type(x)))  # kept first: objects may form cycles
        namespace = {name: self.of(value, name) for name, value in vars(x).items()}
        vars(copy).update(namespace)
        self._namespaces[id(vars(copy))] = (vars(copy), namespace)
        return copy

    def _function(self, fn: FunctionType) -> Any:
        users = is_users(fn.__code__.co_filename)
        if not users and not fn.__closure__:
            return fn
        cells = tuple(self._cell(cell) for cell in fn.__closure__ or ())
        namespace = self._namespace(fn.__globals__) if users else fn.__globals__
        copy = FunctionType(fn.__code__, namespace, fn.__name__, None, cells)
        self._keep(fn, copy)
        copy.__dict__.update(fn.__dict__)
        copy.__qualname__, copy.__module__, copy.__doc__ = (
            fn.__qualname__,
            fn.__module__,
            fn.__doc__,
        )
        copy.__defaults__ = fn.__defaults__ and tuple(self.of(v) for v in fn.__defaults__)
        if fn.__kwdefaults__:
            copy.__kwdefaults__ = {k: self.of(v, k) for k, v in fn.__kwdefaults__.items()}
        for name, cell, original in zip(fn.__code__.co_freevars, cells, fn.__closure__ or ()):
            self._fill(name, cell, original)
        if users:
            self._names(fn.__code__, fn.__globals__)
        return copy

    def _cell(self, cell: CellType) -> CellType:
        known = self._made.get(id(cell))
        made: CellType = known[1] if known is not None else self._keep(cell, CellType())
        return made

    def _fill(self, name: str, cell: CellType, original: CellType) -> None:
        """Give a cell's copy its content; an empty cell stays empty."""
        try:
            content = original.cell_contents
        except ValueError:
            return
        if not any(c is cell for c, _ in self._cells):
            cell.cell_contents = content  # where the content comes back to this very cell
            copy = self.of(content, name)
            cell.cell_contents = copy
            self._cells.append((cell, copy))

    def _namespace(self, original: Mapping[str, Any]) -> dict[str, Any]:
        known = self._namespaces.get(id(original))
        if known is None:
            known = (dict(original), dict(original))
            self._namespaces[id(original)] = known
        return known[0]

    def _names(self, code: CodeType, original: Mapping[str, Any]) -> None:
        namespace, snapshot = self._namespaces[id(original)]
        for name in code.co_names:
            if name in original and namespace[name] is original[name]:
                namespace[name] = snapshot[name] = self.of(original[name], name)
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                self._names(constant, original)


_MACHINERY = frozenset(("__new__", "__slots__", "__getattribute__", "__setattr__"))


def is_plain_object(x: Any) -> bool:
    """Whether an object is its attributes and nothing else, and of a class of the user's."""
    cls = type(x)
    if type(getattr(x, "__dict__", None)) is not dict:
        return False
    if any(not _MACHINERY.isdisjoint(vars(base)) for base in cls.__mro__[:-1]):
        return False
    file = getattr(sys.modules.get(cls.__module__), "__file__", None)
    return file is None or is_users(file)


def _is_supported(x: np.ndarray[Any, Any]) -> bool:
    try:
        ir.types.from_numpy(x.dtype)
    except KeyError:
        return False
    return True


def changed(name: str) -> errors.MutationError:
    """The error for a function that changes what it reads from outside."""
    return errors.MutationError(
        f"{name} changes a global, a closure variable, an attribute or a container that it reads",
        why="it would change while the function is traced, and not when it is run",
        remedy="return the new value as a result, and assign it in the caller",
    )
