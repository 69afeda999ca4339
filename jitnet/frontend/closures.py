"""What a function reads from outside, copied before it is traced, with inputs in arrays' places.

    w = np.ones(3)
    f = jit(lambda x: x + 2 * w)      # NumPy would compute 2 * w now, and bake it in

The function is traced as a copy whose globals and closure cells hold tracers in the places of
arrays: in variables, in containers, in default arguments, in attributes of objects of the user's
own classes, and in the helpers it calls. So what it computes from them is part of the program, and
what it changes are copies: `changes` says which variables and containers these are, which jit then
makes places (`places`) of the function.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AnySet
from types import CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from jitnet import errors, ir
from jitnet.frontend.bytecode import COLLECTIONS, variables
from jitnet.frontend.context import Globals
from jitnet.frontend.device_arrays import device_of
from jitnet.frontend.places import (
    ABSENT,
    Appended,
    Content,
    Elsewhere,
    Variables,
    attributes,
    is_plain_object,
    read,
    set_attributes,
)
from jitnet.frontend.pytree import NodeKind, is_registered, node_kind
from jitnet.source import is_installed, is_users

__all__ = ["Substitution", "Wrapper"]


class Wrapper:
    """A callable that means `__wrapped__` inside of a trace."""

    __wrapped__: Callable[..., Any]


class Substitution:
    """Copies of functions and containers with something else in the places of arrays.

    Args:
        replace: `(array, name) → what stands for it`.
        places: of the function; their content is `put` in later.
        all_containers: those that reach no array are copied too, as the function may change them.
        names: the attributes that the function's code names; objects further on are left alone.
        keys: objects that are looked for by identity, and stay what they are.
        stored: the names of variables and attributes that the code assigns to.
    """

    def __init__(
        self,
        replace: Callable[[np.ndarray[Any, Any], str], Any],
        places: Sequence[Any] = (),
        all_containers: bool = False,
        names: AnySet[str] = frozenset(),
        keys: Sequence[Any] = (),
        stored: AnySet[str] = frozenset(),
    ) -> None:
        self._replace = replace
        self._all_containers = all_containers
        self._attribute_names = names
        self._stored = tuple(sorted(stored))
        self._globals: list[Globals] = []
        self._made_for_globals = 0  # how many copies there were
        self._made: dict[int, tuple[Any, Any]] = {}  # original and copy, by the original's id
        self._originals: dict[int, Any] = {}  # by the copy's id
        self._namespaces: dict[int, tuple[dict[str, Any], dict[str, Any], Any]] = {}
        self._modules: dict[int, ModuleType] = {}  # by the identity of their original namespace
        self._objects: list[tuple[Any, dict[str, Any], Any]] = []
        self._cells: list[tuple[CellType, Any, CellType, str]] = []
        self._containers: list[tuple[Any, list[Any], Any, Any]] = []
        self._collections: list[tuple[Any, list[Any]]] = []
        self._reserved: dict[int, AnySet[str]] = {}
        self._reserve(places)
        for key in keys:
            self._made[id(key)] = (key, key)

    def of(self, x: Any, name: str = "captured") -> Any:
        """`x` itself, or its copy where it reaches an array."""
        known = self._made.get(id(x))
        if known is not None:
            return known[1]
        if type(x) is np.ndarray or device_of(type(x)) is not None:
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
        if type(x) is ModuleType:
            return self._module(x)
        kind = node_kind(type(x))
        if self._all_containers and is_plain_object(x) and not is_registered(type(x)):
            return self._object(x)  # of a dataclass, too
        if kind is not None:
            return self._container(x, kind, name)
        if isinstance(x, COLLECTIONS):
            return self._collection(x)
        return self._object(x) if is_plain_object(x) else x

    def original(self, x: Any) -> Any:
        """What `x` is the copy of; `x` itself where it is none."""
        return self._originals.get(id(x), x)

    def is_copied(self, namespace: Mapping[str, Any]) -> bool:
        """Whether these globals are a copy."""
        return any(namespace is own for own, _, _ in self._namespaces.values())

    def globals(self) -> Sequence[Globals]:
        """The variables of modules that the function may change, in copies."""
        if self._made_for_globals != len(self._made):
            self._made_for_globals = len(self._made)
            self._globals = [
                Globals(copy, self._stored, tuple(filter(copy.__contains__, self._attribute_names)))
                for copy, _, _ in self._namespaces.values()
            ]
        return self._globals

    def _keep(self, original: Any, copy: Any) -> Any:
        self._made[id(original)] = (original, copy)
        if copy is not original:
            self._originals[id(copy)] = original
        return copy

    # -- places ------------------------------------------------------------------------------------

    def _reserve(self, places: Sequence[Any]) -> None:
        for item in places:
            if isinstance(item, Variables):
                self._reserved[id(item.original)] = frozenset(item.names)
            elif isinstance(item, Appended):
                self._keep(item.original, Appended(item.original))
            else:
                self._keep(item.original, _shell(item.original))

    def put(self, item: Any, traced: Any) -> Any:
        """Let a place hold what a trace is to see in it; the place as the trace has it."""
        if isinstance(item, Variables):
            if traced.given is not None:
                traced.given = {n: self._found_elsewhere(x) for n, x in traced.given.items()}
            home = item.original
            if type(home) is CellType:
                copy: Any = self._cell(home)
            else:
                copy = self._namespace(home) if type(home) is dict else self.of(home)
            traced.move_to(copy)
            return traced
        own = self._made[id(item.original)][1]
        if not isinstance(item, Appended):
            _fill(own, self._found_elsewhere(traced))
        return own

    def _found_elsewhere(self, x: Any) -> Any:
        """A traced tree with the places that are in it."""
        if type(x) is Elsewhere:
            return self._made[id(x.original)][1]
        kind = node_kind(type(x))
        if kind is None or x is None or isinstance(x, Appended):
            return x
        children, meta = kind.flatten(x)
        found = [self._found_elsewhere(child) for child in children]
        if all(a is b for a, b in zip(children, found)):
            return x
        return kind.unflatten(meta, found)

    def changes(self) -> list[Any]:
        """Places that the function has changed which it does not have yet.

        Raises:
            MutationError: for containers that are no trees, or of registered classes; for the class
                of an object.
        """
        found: list[Any] = []
        for x, _, original in self._objects:
            if type(x) is not type(original):
                raise _changes_class(original)
        for original, names in self._changed_variables():
            more = [name for name in names if name not in self._reserved.get(id(original), ())]
            if more:
                found.append(Variables(original, more))
        for container, before, meta, original in self._containers:
            kind = node_kind(type(container))
            assert kind is not None
            now, meta_now = kind.flatten(container)
            common = all(a is b for a, b in zip(now, before))
            if common and len(now) == len(before) and meta_now == meta:
                continue
            if is_registered(type(container)):
                raise _refused(container)
            grew = type(container) is list and common and len(now) > len(before)
            found.append(Appended(original) if grew else Content(original))
        for collection, held in self._collections:
            now = _held(collection)
            if len(now) != len(held) or any(a is not b for a, b in zip(now, held)):
                raise _refused(collection)
        return found

    def _changed_variables(self) -> Iterator[tuple[Any, list[str]]]:
        for namespace, before, original in self._namespaces.values():
            yield original, _different(namespace, before)
        for x, before, original in self._objects:
            yield original, _different(attributes(x), before)
        for cell, content, original, name in self._cells:
            if read(cell, name) is not content:
                yield original, [name]

    # -- copies ------------------------------------------------------------------------------------

    def _container(self, x: Any, kind: NodeKind, name: str) -> Any:
        children, meta = kind.flatten(x)
        replaced = [self.of(child, name) for child in children]
        is_mutable = x is not None and not isinstance(x, tuple) and not is_registered(type(x))
        copied = is_mutable and self._all_containers
        if not copied and all(a is b for a, b in zip(children, replaced)):
            return x
        copy = kind.unflatten(meta, replaced)
        self._containers.append((copy, replaced, meta, x))
        return self._keep(x, copy)

    def _collection(self, x: Any) -> Any:
        if not self._all_containers:
            return x
        made = copy.copy(x)
        if isinstance(x, dict):
            made.update({key: self.of(value) for key, value in x.items()})
        elif not isinstance(x, bytearray):
            made.clear()
            (made.update if isinstance(x, set) else made.extend)([self.of(item) for item in x])
        self._collections.append((made, _held(made)))
        return self._keep(x, made)

    def _object(self, x: Any) -> Any:
        copy = self._keep(x, _bare(x))  # kept first: objects may form cycles
        reserved = self._reserved.get(id(x), frozenset())
        made = {
            name: self._attribute(name, value)
            for name, value in attributes(x).items()
            if name not in reserved
        }
        set_attributes(copy, made)
        self._objects.append((copy, made, x))
        return copy

    def _attribute(self, name: str, value: Any) -> Any:
        if self._attribute_names and name not in self._attribute_names and is_plain_object(value):
            return value
        return self.of(value, name)

    def _function(self, fn: FunctionType) -> Any:
        users = is_users(fn.__code__.co_filename)
        if self.is_copied(fn.__globals__) or (not users and not fn.__closure__):
            return fn
        cells = tuple(self._cell(cell) for cell in fn.__closure__ or ())
        namespace = self._namespace(fn.__globals__) if users else fn.__globals__
        copy = FunctionType(fn.__code__, namespace, fn.__name__, None, cells)
        self._keep(fn, copy)
        reserved = self._reserved.get(id(fn), frozenset())
        made = {name: value for name, value in vars(fn).items() if name not in reserved}
        vars(copy).update(made)
        self._objects.append((copy, made, fn))
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
        content = read(original, name)
        if id(original) in self._reserved or any(c is cell for c, _, _, _ in self._cells):
            return
        if content is not ABSENT:
            cell.cell_contents = content  # where the content comes back to this very cell
            content = self.of(content, name)
            cell.cell_contents = content
        self._cells.append((cell, content, original, name))

    def _namespace(self, original: dict[str, Any]) -> dict[str, Any]:
        known = self._namespaces.get(id(original))
        if known is None:
            module = ModuleType(original.get("__name__", ""))
            vars(module).clear()
            vars(module).update(original)
            known = (vars(module), dict(original), original)
            self._namespaces[id(original)] = known
            self._modules[id(original)] = module
        return known[0]

    def _module(self, x: ModuleType) -> ModuleType:
        """A module of the user's, with the attributes that the function's code names."""
        file = getattr(x, "__file__", None) or "<frozen >"
        if not self._all_containers or not is_users(file) or is_installed(file):
            return x
        namespace = self._namespace(vars(x))
        self._keep(x, self._modules[id(vars(x))])
        _, snapshot, original = self._namespaces[id(vars(x))]
        reserved = self._reserved.get(id(original), frozenset())
        for name in self._attribute_names - reserved:
            if name in original and namespace[name] is original[name]:
                namespace[name] = snapshot[name] = self.of(original[name], name)
        return self._modules[id(vars(x))]

    def _names(self, code: CodeType, original: Mapping[str, Any]) -> None:
        namespace, snapshot, _ = self._namespaces[id(original)]
        reserved = self._reserved.get(id(original), frozenset())
        for name in variables(code):
            if name in original and name not in reserved and namespace[name] is original[name]:
                namespace[name] = snapshot[name] = self.of(original[name], name)
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                self._names(constant, original)


def _bare(x: Any) -> Any:
    """An object of the same class, without attributes."""
    cls: Any = type(x)
    return cls.__new__(cls)


def _different(now: Mapping[str, Any], before: Mapping[str, Any]) -> list[str]:
    """Names that do not stand for the same object in both."""
    names = dict.fromkeys((*before, *now))
    return [name for name in names if now.get(name, ABSENT) is not before.get(name, ABSENT)]


def _shell(container: Any) -> Any:
    """A container of the class, with nothing in it yet."""
    cls = type(container)
    return cls() if issubclass(cls, (list, dict)) else object.__new__(cls)


def _fill(shell: Any, like: Any) -> None:
    if isinstance(shell, list):
        shell[:] = like
    elif isinstance(shell, dict):
        shell.update(like)
    else:
        set_attributes(shell, attributes(like))


def _held(collection: Any) -> list[Any]:
    if isinstance(collection, dict):
        return [part for item in collection.items() for part in item]
    return sorted(collection, key=id) if isinstance(collection, set) else list(collection)


def _is_supported(x: np.ndarray[Any, Any]) -> bool:
    try:
        ir.types.from_numpy(x.dtype)
    except KeyError:
        return False
    return True


def _changes_class(x: Any) -> errors.MutationError:
    return errors.MutationError(
        f"the function assigns to the __class__ of a {type(x).__qualname__} from outside",
        why="what its attributes and methods are would change while the function is traced",
        remedy="an attribute that says what kind of object it is",
    )


def _refused(x: Any) -> errors.MutationError:
    return errors.MutationError(
        f"the function changes a {type(x).__qualname__} that it reads from outside",
        why="it is no list, dict or dataclass, whose changes jit carries out after the program",
        remedy="use one of those, or return the new one as a result and assign it in the caller",
    )
