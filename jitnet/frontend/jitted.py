"""`Jitted`: a function with its specialisations, compiled when a new kind of arguments comes.

    f = Jitted(fn)
    f(x)           # key of x → found: run it;  not found: trace, compile, keep, run it

A call costs the key, a dictionary look-up, the guards of what the function reads from outside, and
the program itself; a kind of calls that comes often gets a native entry, which does all of that
without Python. Inside of another trace a Jitted is the plain function.
"""

from __future__ import annotations

import contextlib
import ctypes
import inspect
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MethodType
from typing import TYPE_CHECKING, Any, NamedTuple

from jitnet import errors, ir
from jitnet.frontend import aliasing, signature
from jitnet.frontend.closures import Wrapper
from jitnet.frontend.collector import resting
from jitnet.frontend.context import NeedStatic, current_trace
from jitnet.frontend.device_arrays import MISSED, is_array
from jitnet.frontend.effects import refuse_shared
from jitnet.frontend.places import Identity, NeedPlaces, all_read, changed, is_same, merged
from jitnet.frontend.pytree import TreeDef
from jitnet.frontend.signature import LeafType, Static
from jitnet.frontend.specialisation import Specialisation, assemble, report, report_again
from jitnet.frontend.traced import (
    Traced,
    argument_names,
    function_name,
)
from jitnet.frontend.varying import MOST_VALUES, Varying, shape_of
from jitnet.runtime.options import Options
from jitnet.runtime.vectorcall import NativeCallable, enable, set_entry
from jitnet.source import user_traceback

if TYPE_CHECKING:
    from jitnet.frontend.device_entries import Entry as DeviceEntry
    from jitnet.runtime.dispatch import Entry

CACHE_SIZE = 256

NATIVE_AFTER = 16
"""Calls of a specialisation before it gets a native entry, which takes 5 to 30 ms to make."""

REPLAYED_AFTER = 4
"""The same for one that runs on a device, whose second call is recorded. As there may be several
kinds of calls for one, it is tried again after twice as many that came by Python."""

MOST_DEVICE_ENTRIES = 4
"""Those of one function; each call tries one after the other."""

MOST_ENTRIES = 16
"""Native entries of one function, in its whole life: another thread may be inside of an entry, so
none is ever freed before its function."""


class CacheInfo(NamedTuple):
    """Calls that found their specialisation, natively or not; calls that did not; and the cache's
    sizes."""

    hits: int
    misses: int
    maxsize: int
    currsize: int


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
        """Rough work of one call: "kernels", "flops", "bytes" of arguments and results, "copies";
        "peak_bytes", the memory that it takes beside its arguments, and "peak_is_known", 0 where
        that is a lower bound. On a device, where a call can be planned, also "launches" of kernels,
        "calls" of libraries, and "moved_bytes", which these read and write."""
        return self._specialisation.executable.cost

    def compile(self) -> Callable[..., Any]:
        """The program itself, for arguments of this kind only.

        Raises:
            ArgumentError: when called with arguments of another kind.
        """
        expected = self._key

        def call(*args: Any, **kwargs: Any) -> Any:
            return self._specialisation.run(*expected((args, kwargs)))

        return call


class Jitted(Wrapper, NativeCallable):  # type: ignore[misc]
    """A callable that compiles `fn` for each kind of arguments that it meets."""

    def __init__(
        self,
        fn: Callable[..., Any],
        static: Sequence[int | str] = (),
        verify: bool = False,
        options: Options = Options(),  # noqa: B008
    ) -> None:
        self.__wrapped__ = fn
        self._options = options
        self._verify = verify
        self._static = frozenset(static)
        self._static_ints: dict[tuple[Any, ...], frozenset[int]] = {}
        self._varying = Varying()
        self._places: dict[Any, tuple[Any, ...]] = {}  # what calls change outside
        self._replaced: dict[Any, int] = {}  # how often guards of such calls failed for variables
        self._fixed: set[Any] = set()  # calls that cannot be traced with more places than they need
        self._needed: dict[Any, errors.Place] = {}  # by structure and leaf, who needs such an int
        self._cache: OrderedDict[Any, Specialisation] = OrderedDict()
        self._lock = threading.RLock()
        self._hits = 0
        self._misses = 0
        self._entries: list[Entry] = []
        self._entry: Entry | None = None  # the one that calls go to
        self._native_hits = ctypes.c_int64()
        self._device_entries: tuple[DeviceEntry, ...] = ()
        for name in ("__module__", "__name__", "__qualname__", "__doc__"):
            if hasattr(fn, name):
                setattr(self, name, getattr(fn, name))

    def __repr__(self) -> str:
        return f"<jitnet.jit of {self.__wrapped__!r}>"

    def __copy__(self) -> Jitted:
        return self  # as functions do

    def __deepcopy__(self, memo: Any) -> Jitted:
        return self

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else MethodType(self, instance)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if current_trace() is not None:
            from jitnet.frontend import tracing  # which is there already

            return tracing.call(self.__wrapped__, *args, **kwargs)
        try:
            for entry in self._device_entries:
                result = entry(args, kwargs)
                if result is not MISSED:
                    self._hits += 1
                    return result
            specialisation, leaves, arguments = self._find(args, kwargs)
            if self._verify:
                from jitnet.frontend import verifying  # which few want

                return verifying.run(self.__wrapped__, specialisation, leaves, arguments)
            result = specialisation.run(leaves, arguments)
        except errors.JitnetError as error:
            raise error.with_traceback(user_traceback(error.__traceback__)) from None
        calls = next(specialisation.calls)
        if specialisation.executable.device is not None:
            if calls >= REPLAYED_AFTER and calls.bit_count() == 1:
                self._add_device_entry(specialisation, args, kwargs)
        elif calls == NATIVE_AFTER and _HAVE_ENTRIES:
            self._add_entry(specialisation, args, kwargs)
        return result

    def lower(self, *args: Any, **kwargs: Any) -> Lowered:
        """The program for arguments of this kind, without running it."""
        specialisation, _, _ = self._find(args, kwargs)
        key = self._key(args, kwargs).key

        def leaves_of(arguments: Any) -> tuple[list[Any], Any]:
            found = self._key(*arguments)
            if found.key != key:
                raise errors.ArgumentError(
                    f"{function_name(self.__wrapped__)} was compiled for other arguments",
                    remedy="call the jitted function itself, which compiles for each kind",
                )
            return found.leaves, found.arguments

        stages = specialisation.executable.stages
        return Lowered(specialisation.traced.function, stages, specialisation, leaves_of)

    def explain(self, *args: Any, **kwargs: Any) -> str:
        """Why a call with such arguments is compiled again, or is not, in words; and what the
        program does: which arguments are static and why, which arrays it changes, which copies it
        makes and at which of your lines. It compiles the program if it is not there; nothing is
        run."""
        with self._lock:
            before = OrderedDict(self._cache)
            program, _, _ = self._find(args, kwargs)
            key = next(key for key, other in self._cache.items() if other is program)
        names = _parameter_names(self.__wrapped__) if self._static else []
        declared = frozenset(n if isinstance(n, str) else names[n] for n in self._static)
        from jitnet.frontend import explaining  # which few want

        return explaining.explanation(key, program, before, declared, self._needed)

    def cache_info(self) -> CacheInfo:
        hits = self._hits + self._native_hits.value
        return CacheInfo(hits, self._misses, CACHE_SIZE, len(self._cache))

    def clear_cache(self) -> None:
        with self._lock:
            if self._cache:
                from jitnet.frontend import backend  # there is one already

                backend.release()
            self._cache.clear()
            self._static_ints.clear()
            self._places.clear()
            self._fixed.clear()
            self._replaced.clear()
            self._varying.clear()
            self._hits = self._misses = self._native_hits.value = 0
            self._device_entries = ()
            if self._entry is not None:
                set_entry(self, 0)
                self._entry = None

    # -- specialisations ---------------------------------------------------------------------------

    def _key(self, args: Any, kwargs: Any) -> _Keyed:
        marked = self._mark_static(args, kwargs) if self._static else (args, kwargs)
        key, leaves, structure = signature.make_key(marked, self._static_ints, self._varying)
        place_key: Any = None
        places: tuple[Any, ...] = ()
        if self._places:
            place_key = _place_key(key)
            places = self._places.get(place_key, ())
        if not places:
            return _Keyed(key, leaves, structure, (args, kwargs), (), key)
        key_with, leaves, structure = signature.make_key(
            (*marked, places), self._static_ints, self._varying
        )
        return _Keyed(key_with, leaves, structure, (args, kwargs, places), places, key)

    def _mark_static(self, args: Any, kwargs: Any) -> tuple[Any, Any]:
        names = _parameter_names(self.__wrapped__)
        chosen = {n if isinstance(n, str) else names[n] for n in self._static}
        marked = [
            Static(x) if i < len(names) and names[i] in chosen else x for i, x in enumerate(args)
        ]
        keywords = {k: Static(x) if k in chosen else x for k, x in kwargs.items()}
        return tuple(marked), keywords

    def _find(self, args: Any, kwargs: Any) -> tuple[Specialisation, list[Any], Any]:
        """The specialisation for a call; its leaves; its arguments, with the function's places."""
        found, leaves, arguments = self._find_for(args, kwargs, ())
        if found.traced.effects:
            refuse_shared(arguments)
        if found.traced.stores:
            captured = [given.capture for given in found.traced.inputs if given.leaf is None]
            pattern = aliasing.pattern_of(leaves, captured, found.changed)
            if pattern:
                return self._find_for(args, kwargs, pattern)
        return found, leaves, arguments

    def _find_for(
        self, args: Any, kwargs: Any, aliases: aliasing.Pattern
    ) -> tuple[Specialisation, list[Any], Any]:
        """The specialisation for arguments that share memory so."""
        try:
            keyed = self._key(args, kwargs)
            key = (*keyed.key, *aliases)
            found = self._cache.get(key)
        except TypeError:
            _, leaves, structure = signature.make_key((args, kwargs), {}, Varying())
            self._refuse_unhashable(leaves, structure)
            raise
        if found is not None and found.traced.guards.hold():
            self._hits += 1
            self._touch(key)
            return found, keyed.leaves, keyed.arguments
        with self._lock:
            keyed = self._key(args, kwargs)  # another thread may have been first
            found = self._cache.get((*keyed.key, *aliases))
            if found is None or not found.traced.guards.hold():
                self._misses += 1
                moved = [] if found is None else found.traced.guards.moved()
                with resting():
                    found = self._specialise_with(moved, args, kwargs, aliases)
                keyed = self._key(args, kwargs)
                key = (*keyed.key, *aliases)
                report_again(key, found, self._cache)
                self._cache[key] = found
                while len(self._cache) > CACHE_SIZE:
                    self._cache.popitem(last=False)
            else:
                self._hits += 1
            return found, keyed.leaves, keyed.arguments

    def _specialise_with(
        self, moved: Sequence[Any], args: Any, kwargs: Any, aliases: aliasing.Pattern
    ) -> Specialisation:
        """A program for this call, that takes variables as they come which are replaced often."""
        keyed = self._key(args, kwargs)
        key = _place_key(keyed.without)
        self._replaced[key] = self._replaced.get(key, 0) + bool(moved)
        if not moved or self._replaced[key] < MOST_VALUES or key in self._fixed:
            return self._specialise_for_all(args, kwargs, aliases)
        self._places[key] = merged(keyed.places, moved)
        try:
            return self._specialise_for_all(args, kwargs, aliases)
        except errors.JitnetError:
            self._places[key] = keyed.places
            self._fixed.add(key)
            return self._specialise_for_all(args, kwargs, aliases)

    def _touch(self, key: Any) -> None:
        with contextlib.suppress(KeyError):  # another thread may just have evicted it
            self._cache.move_to_end(key)

    def _refuse_unhashable(self, leaves: Sequence[Any], structure: tuple[Any, ...]) -> None:
        names = argument_names(self.__wrapped__, TreeDef(structure))
        for leaf, name in zip(leaves, names):
            signature.abstract(leaf, path=name)

    def _specialise_for_all(
        self, args: Any, kwargs: Any, aliases: aliasing.Pattern
    ) -> Specialisation:
        """A program for this call; for all extents, where these have come with many values."""
        _, leaves, structure, *_ = self._key(args, kwargs)
        static = self._static_ints.get(structure, frozenset())
        self._varying.note(structure, leaves, static)
        if not self._varying.of(structure):
            return self._specialise(args, kwargs, aliases)
        try:
            return self._specialise(args, kwargs, aliases)
        except (errors.JitnetError, NeedStatic):
            self._varying.give_up(structure)
            return self._specialise(args, kwargs, aliases)

    def _specialise(self, args: Any, kwargs: Any, aliases: aliasing.Pattern) -> Specialisation:
        started = time.perf_counter()
        traced, types = self.trace(args, kwargs, aliases)
        milliseconds = {"trace": 1e3 * (time.perf_counter() - started)}
        made = assemble(traced, types, self._options)
        milliseconds |= made.executable.milliseconds
        report(traced, types, made, milliseconds, 1e3 * (time.perf_counter() - started))
        return made

    def _add_entry(self, specialisation: Specialisation, args: Any, kwargs: Any) -> None:
        """Let calls like this one go straight to native code from now on, where they can."""
        with self._lock:
            key, leaves, structure, _, places, _ = self._key(args, kwargs)
            if places or len(self._entries) == MOST_ENTRIES:
                return
            if specialisation.executable.device is not None:
                return
            if self._cache.get(key) is not specialisation:
                return  # or which ints are static is another question meanwhile
            from jitnet.frontend import native  # needs the code generator

            entry = native.make_entry(
                specialisation.traced,
                specialisation.executable.run,
                specialisation.computed,
                structure,
                [
                    known if isinstance(known, signature.Abstract) else signature.abstract(x, True)
                    for known, x in zip(specialisation.types, leaves)
                ],
                specialisation.inputs(leaves),
                slow=Jitted.__call__,
                otherwise=self._entry,
                calls=self._native_hits,
            )
            specialisation.entry[:] = [entry]
            if entry is not None:
                self._entries.append(entry)
                self._entry = entry
                set_entry(self, entry.address)

    def _add_device_entry(self, specialisation: Specialisation, args: Any, kwargs: Any) -> None:
        """Let calls like this one be replayed, with no more than that, where they can."""
        with self._lock:
            key, leaves, structure, _, places, _ = self._key(args, kwargs)
            if places or self._cache.get(key) is not specialisation:
                return
            from jitnet.frontend import device_entries  # needs what runs on devices

            static = self._static_ints.get(structure, frozenset())
            types = [signature.abstract(x, i in static) for i, x in enumerate(leaves)]
            entry = device_entries.make_entry(specialisation, structure, types, leaves)
            if entry is not None:
                self._device_entries = (entry, *self._device_entries)[:MOST_DEVICE_ENTRIES]

    def trace(
        self, args: Any, kwargs: Any, aliases: aliasing.Pattern = ()
    ) -> tuple[Traced, list[LeafType]]:
        """Trace the function, again for each int that turns out to be needed as a value."""
        from jitnet.frontend import tracing  # half of the frontend, which `import jitnet` can spare

        while True:
            keyed = self._key(args, kwargs)
            leaves, structure = keyed.leaves, keyed.structure
            static = self._static_ints.get(structure, frozenset())
            symbolic = self._varying.of(structure)
            tree = TreeDef(structure)
            names = argument_names(self.__wrapped__, tree)
            ints = static - {i for i, axis in symbolic if axis is None}
            types = [signature.abstract(x, i in ints, names[i]) for i, x in enumerate(leaves)]
            if symbolic:
                types = [
                    signature.with_any_extent(t, shape_of(i, x, symbolic)) if is_array(x) else t
                    for i, (t, x) in enumerate(zip(types, leaves))
                ]
            try:
                traced = tracing.trace_function(
                    self.__wrapped__,
                    tree,
                    types,
                    restartable=True,
                    aliases=aliases,
                    symbolic=static - ints,
                    places=keyed.places,
                )
                return traced, types
            except NeedPlaces as need_places:
                more = merged(keyed.places, need_places.items)
                if is_same(more, keyed.places):
                    raise changed(function_name(self.__wrapped__), need_places.items) from None
                self._places[_place_key(keyed.without)] = more
            except errors.JitnetError:
                read = all_read(keyed.places)  # what one path assigns is kept on the other one
                if not read:
                    raise
                self._places[_place_key(keyed.without)] = merged(keyed.places, read)
            except NeedStatic as need:
                if not need.leaves.isdisjoint(static - ints):
                    raise
                self._static_ints[structure] = static | need.leaves
                place = errors.raised_at(need)
                self._needed.update({(structure, i): place[0] for i in need.leaves if place})


_HAVE_ENTRIES = enable(Jitted)


class _Keyed(NamedTuple):
    """What a call is told apart by.

    Attributes:
        structure: of the arguments, as tokens.
        arguments: `(args, kwargs)`, and the places where the function has any.
        without: the key that the arguments alone make.
    """

    key: tuple[Any, ...]
    leaves: list[Any]
    structure: tuple[Any, ...]
    arguments: Any
    places: tuple[Any, ...]
    without: tuple[Any, ...]


def _place_key(key: tuple[Any, ...]) -> Any:
    """What decides which places a call has: the structure of its arguments, and its objects."""
    return key[0], *(part for part in key[1:] if type(part) is Identity)


def _parameter_names(fn: Callable[..., Any]) -> list[str]:
    return list(inspect.signature(fn).parameters)
