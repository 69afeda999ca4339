"""`Jitted`: a function with its specialisations, compiled when a new kind of arguments comes.

    f = Jitted(fn)
    f(x)           # key of x → found: run it;  not found: trace, compile, keep, run it

A call costs the key, a dictionary look-up, the guards of what the function reads from outside, and
the program itself. Inside of another trace a Jitted is the plain function.
"""

from __future__ import annotations

import contextlib
import inspect
import itertools
import os
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MethodType
from typing import Any, NamedTuple

import numpy as np

from jitnet import config, errors, ir
from jitnet.frontend import backend, guards, signature
from jitnet.frontend.closures import Wrapper
from jitnet.frontend.context import NeedStatic, current_trace
from jitnet.frontend.pytree import LEAF, TreeDef, unflatten
from jitnet.frontend.signature import Abstract, LeafType, Static
from jitnet.frontend.trace import Traced, argument_names, function_name, trace_function

CACHE_SIZE = 256


class CacheInfo(NamedTuple):
    """Calls that found their specialisation, calls that did not, and the cache's sizes."""

    hits: int
    misses: int
    maxsize: int
    currsize: int


@dataclass(frozen=True)
class Specialisation:
    """A compiled function for one kind of arguments.

    Attributes:
        sources: for each param of the executable a leaf of the arguments, or a captured array.
        outputs: as in Traced, with `result` counting the executable's results.
    """

    traced: Traced
    executable: backend.Executable
    sources: tuple[tuple[int | None, Any], ...]
    outputs: tuple[Any, ...]

    def run(self, leaves: Sequence[Any]) -> Any:
        flat = [array if leaf is None else leaves[leaf] for leaf, array in self.sources]
        results = self.executable.run(flat)
        made: dict[int, Any] = {}
        out = [_hand_out(o, results, flat, made) for o in self.outputs]
        tree = self.traced.out_tree
        return out[0] if tree.tokens == (LEAF,) else unflatten(tree, out)


def _hand_out(
    output: Any, results: Sequence[Any], flat: Sequence[Any], made: dict[int, Any]
) -> Any:
    if output.source is not None:
        return flat[output.source]
    if output.result is None:
        value = output.value
        return value.copy() if isinstance(value, np.ndarray) else value
    if output.result in made:
        return made[output.result]
    result = results[output.result]
    if output.flavour == "array":
        result = np.asarray(result)
    elif output.flavour == "python":
        result = result.item()
    made[output.result] = result
    return result


@dataclass(frozen=True)
class Lowered:
    """A function for one kind of arguments, as text and as a program.

    Attributes:
        ir: the traced Function.
        stages: the text of each stage, in pipeline order.
    """

    ir: ir.Function
    stages: Mapping[str, str]
    _specialisation: Specialisation
    _key: Callable[[Any], Any]

    def cost(self) -> Mapping[str, int]:
        """Rough work of one call: "flops", "bytes" read and written, "equations"."""
        return self._specialisation.executable.cost

    def compile(self) -> Callable[..., Any]:
        """The program itself, for arguments of this kind only.

        Raises:
            ArgumentError: when called with arguments of another kind.
        """
        expected = self._key

        def call(*args: Any, **kwargs: Any) -> Any:
            leaves = expected((args, kwargs))
            return self._specialisation.run(leaves)

        return call


class Jitted(Wrapper):
    """A callable that compiles `fn` for each kind of arguments that it meets."""

    def __init__(self, fn: Callable[..., Any], static: Sequence[int | str] = ()) -> None:
        self.__wrapped__ = fn
        self._static = frozenset(static)
        self._static_ints: dict[tuple[Any, ...], frozenset[int]] = {}
        self._cache: OrderedDict[Any, Specialisation] = OrderedDict()
        self._lock = threading.RLock()
        self._hits = 0
        self._misses = 0
        for name in ("__module__", "__name__", "__qualname__", "__doc__"):
            if hasattr(fn, name):
                setattr(self, name, getattr(fn, name))

    def __repr__(self) -> str:
        return f"<jitnet.jit of {self.__wrapped__!r}>"

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else MethodType(self, instance)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if current_trace() is not None:
            return self.__wrapped__(*args, **kwargs)
        try:
            specialisation, leaves = self._find(args, kwargs)
            return specialisation.run(leaves)
        except errors.JitnetError as error:
            raise error.with_traceback(guards.user_traceback(error.__traceback__)) from None

    def lower(self, *args: Any, **kwargs: Any) -> Lowered:
        """The program for arguments of this kind, without running it."""
        specialisation, _ = self._find(args, kwargs)
        key = self._key(args, kwargs)[0]

        def leaves_of(arguments: Any) -> list[Any]:
            own, leaves, _ = self._key(*arguments)
            if own != key:
                raise errors.ArgumentError(
                    f"{function_name(self.__wrapped__)} was compiled for other arguments",
                    remedy="call the jitted function itself, which compiles for each kind",
                )
            return leaves

        stages = specialisation.executable.stages
        return Lowered(specialisation.traced.function, stages, specialisation, leaves_of)

    def cache_info(self) -> CacheInfo:
        return CacheInfo(self._hits, self._misses, CACHE_SIZE, len(self._cache))

    def clear_cache(self) -> None:
        with self._lock:
            self._cache.clear()
            self._static_ints.clear()
            self._hits = self._misses = 0

    # -- specialisations ---------------------------------------------------------------------------

    def _key(self, args: Any, kwargs: Any) -> tuple[Any, list[Any], tuple[Any, ...]]:
        if self._static:
            args, kwargs = self._mark_static(args, kwargs)
        return signature.make_key((args, kwargs), self._static_ints)

    def _mark_static(self, args: Any, kwargs: Any) -> tuple[Any, Any]:
        names = _parameter_names(self.__wrapped__)
        chosen = {n if isinstance(n, str) else names[n] for n in self._static}
        marked = [
            Static(x) if i < len(names) and names[i] in chosen else x for i, x in enumerate(args)
        ]
        keywords = {k: Static(x) if k in chosen else x for k, x in kwargs.items()}
        return tuple(marked), keywords

    def _find(self, args: Any, kwargs: Any) -> tuple[Specialisation, list[Any]]:
        key, leaves, structure = self._key(args, kwargs)
        try:
            found = self._cache.get(key)
        except TypeError:
            self._refuse_unhashable(leaves, structure)
            raise
        if found is not None and found.traced.guards.hold():
            self._hits += 1
            self._touch(key)
            return found, leaves
        with self._lock:
            key, leaves, structure = self._key(args, kwargs)  # another thread may have been first
            found = self._cache.get(key)
            if found is None or not found.traced.guards.hold():
                self._misses += 1
                found = self._specialise(args, kwargs)
                self._cache[self._key(args, kwargs)[0]] = found
                while len(self._cache) > CACHE_SIZE:
                    self._cache.popitem(last=False)
            return found, leaves

    def _touch(self, key: Any) -> None:
        with contextlib.suppress(KeyError):  # another thread may just have evicted it
            self._cache.move_to_end(key)

    def _refuse_unhashable(self, leaves: Sequence[Any], structure: tuple[Any, ...]) -> None:
        names = argument_names(self.__wrapped__, TreeDef(structure))
        for leaf, name in zip(leaves, names):
            signature.abstract(leaf, path=name)

    def _specialise(self, args: Any, kwargs: Any) -> Specialisation:
        started = time.perf_counter()
        traced, types = self.trace(args, kwargs)
        milliseconds = {"trace": 1e3 * (time.perf_counter() - started)}
        made = _assemble(traced, types)
        milliseconds |= made.executable.milliseconds
        _report(traced, types, made, milliseconds, 1e3 * (time.perf_counter() - started))
        return made

    def trace(self, args: Any, kwargs: Any) -> tuple[Traced, list[LeafType]]:
        """Trace the function, again for each int that turns out to be needed as a value."""
        while True:
            _, leaves, structure = self._key(args, kwargs)
            static = self._static_ints.get(structure, frozenset())
            tree = TreeDef(structure)
            names = argument_names(self.__wrapped__, tree)
            types = [signature.abstract(x, i in static, names[i]) for i, x in enumerate(leaves)]
            try:
                return trace_function(self.__wrapped__, tree, types, restartable=True), types
            except NeedStatic as need:
                self._static_ints[structure] = static | need.leaves


def _parameter_names(fn: Callable[..., Any]) -> list[str]:
    return list(inspect.signature(fn).parameters)


def _assemble(traced: Traced, types: Sequence[LeafType]) -> Specialisation:
    """Compile what is not simply an argument, and plan how results are handed out."""
    function = traced.function
    shown = {o.result for o in traced.outputs if o.result is not None}
    computed = {o.result for o in traced.outputs if o.result is not None and o.source is None}
    kept = [i for i in range(len(function.results)) if i in computed or i not in shown]
    place = {old: new for new, old in enumerate(kept)}
    outputs = tuple(
        replace(o, result=None if o.result is None else place.get(o.result)) for o in traced.outputs
    )
    program = replace(function, results=tuple(function.results[i] for i in kept), _hash=[])
    layouts = [_layout(types, source) for source in traced.inputs]
    executable = backend.compile(program, layouts)
    sources = tuple((s.leaf, s.capture) for s in traced.inputs)
    return Specialisation(traced, executable, sources, outputs)


def _layout(types: Sequence[LeafType], source: Any) -> str:
    if source.leaf is None:
        return signature.layout_of(source.capture)
    leaf = types[source.leaf]
    assert isinstance(leaf, Abstract)
    return leaf.layout


# -- what the environment asks to see --------------------------------------------------------------

_DUMPS = itertools.count(1)


def _report(
    traced: Traced,
    types: Sequence[LeafType],
    made: Specialisation,
    milliseconds: Mapping[str, float],
    total: float,
) -> None:
    settings = config.read()
    name = traced.function.name
    if "compiles" in settings.log:
        times = ", ".join(f"{stage} {ms:.1f}" for stage, ms in milliseconds.items())
        kinds = signature.describe(traced.names, types)
        line = f"jitnet: compiled {name}({kinds}) in {total:.1f} ms ({times})"
        print(line, file=sys.stderr, flush=True)
    if settings.dump is None:
        return
    os.makedirs(settings.dump, exist_ok=True)
    number = next(_DUMPS)
    for i, (stage, text) in enumerate(made.executable.stages.items()):
        path = os.path.join(settings.dump, f"{number:04d}-{name}-{i}-{stage}.txt")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
