"""The memory of the running trace's arrays, and which of it may be one and the same.

    u = x * 2                  u's store holds %0
    if c: v = u                v's store holds %1 = if ..., and may be u's
    v[0] = 5.0                 %2 = update %1, ...: what u holds is in doubt from here on

A `Store` says which value some memory holds now. Where only the program knows whether two stores
are one memory, they are bound to each other: writing to the one loses the other, and reading what
is lost is refused. There is no other account of it: whoever makes a store that may be another one
says so then, by `may_be` for all that the other one is bound to, or by `bind`.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator, MutableMapping
from typing import NamedTuple

from jitnet import errors
from jitnet.frontend.context import NeedStatic, Trace, bring_in, run_traced, running_trace
from jitnet.ir import DType, Value
from jitnet.source import position, user_sites

PATHS = (
    "a variable was one array on one path of the program and another one, that is in use "
    "elsewhere, on the other"
)
STRIDES = (
    "it is another shape of an array that does not lie in one piece: whether NumPy copies it "
    "depends on the strides"
)
LISTED = "an array was changed after it had been appended to a list"


class Doubt(NamedTuple):
    """Why it is not known whether two stores are one memory.

    Attributes:
        leaves: the int arguments that decide it, if nothing else does.
        frames: where one of them was written to, once it was.
    """

    why: str = PATHS
    leaves: frozenset[int] | None = None
    frames: tuple[errors.Place, ...] = ()

    def error(self, what: str, is_here: bool) -> errors.MutationError:
        """The error for what this doubt forbids: what the program does just now, or has done.

        Raises:
            NeedStatic: where int arguments decide.
        """
        if self.leaves is not None:
            raise NeedStatic(self.leaves)
        remedy = "take a copy where the variable is assigned: y = x.copy()"
        is_running = bool(user_sites(run_traced.__code__))
        frames = None if is_here and is_running else self.frames
        return errors.MutationError(what, why=self.why, remedy=remedy, frames=frames)


class Bond(NamedTuple):
    """How some memory is bound to another store: writing to it `loses` that, and it `is_lost` where
    that is written to."""

    other: Store
    loses: bool
    is_lost: bool
    doubt: Doubt


_Bonds = MutableMapping["Store", Doubt]


class Store:
    """A piece of memory, or the value of a number.

    Attributes:
        value: what it holds now, a value of the trace `owner`.
        home: the trace that made it.
        layout: how the elements lie: "C", "F" or, of arguments, "strided"; for what NumPy makes in
            the order of its operands' elements, "any" where that is neither.
        read_only: it must not be written to.
        stands_for: what it is in the first step of the loop whose body this is made for.
        losing: what may be this memory, or a copy of it, and is lost when this is written to;
            `lost_by` those whose writing loses this one.
        doubt: why it is lost: it may, or may not, have been written to under another name.
    """

    __slots__ = (
        *("__weakref__", "_losing", "_lost_by", "doubt", "home", "layout", "owner", "read_only"),
        *("stands_for", "value"),
    )

    def __init__(
        self, value: Value, owner: Trace, layout: str = "C", read_only: bool = False
    ) -> None:
        self.value = value
        self.owner = owner
        self.home = owner
        self.layout = layout
        self.read_only = read_only
        self.doubt: Doubt | None = None
        self.stands_for: tuple[Store, ...] = ()
        self._losing: _Bonds | None = None
        self._lost_by: _Bonds | None = None

    @property
    def dtype(self) -> DType:
        return self.value.dtype

    @property
    def rank(self) -> int:
        return self.value.rank

    def read(self, trace: Trace) -> Value:
        if self.doubt is not None:
            what = "reading an array that may, or may not, have been written to"
            raise self.doubt.error(what, is_here=True)
        return bring_in(self.value, self.owner, trace)

    def write(self, value: Value) -> None:
        trace = running_trace()
        if self._losing:
            frames = tuple(position(site) for site in user_sites(run_traced.__code__))
            for other, doubt in tuple(self._losing.items()):
                other.lose(doubt._replace(frames=frames))
        if self.home is not trace:
            trace.written.setdefault(self, (self.value, self.owner))
        self.value, self.owner = value, trace

    def lose(self, doubt: Doubt) -> None:
        """Note that this may have been written to.

        Raises:
            MutationError: where it is the caller's, who is going to look at it.
        """
        trace = running_trace()
        if self.is_callers():
            what = "writing to an array that may, or may not, be another one's memory"
            raise doubt.error(what, is_here=False)
        if self.doubt is None:
            self.doubt = doubt
            if self.home is not trace and trace.is_inside(self.home):
                trace.lost[self] = doubt

    def is_callers(self) -> bool:
        """Whether this came in from outside of the trace that is running, and goes out again."""
        return self.home is running_trace() and self in self.home.stores

    # -- bonds -------------------------------------------------------------------------------------

    def bonds(self) -> Iterator[Bond]:
        """How memory that may be this one's is bound: to this, and to what this is bound to."""
        yield Bond(self, True, True, Doubt())
        lost_by: _Bonds = self._lost_by or {}
        for other, doubt in tuple((self._losing or {}).items()):
            yield Bond(other, True, other in lost_by, doubt)
        for other, doubt in tuple(lost_by.items()):
            if other not in (self._losing or {}):
                yield Bond(other, False, True, doubt)

    def bind(self, bond: Bond, doubt: Doubt | None = None) -> None:
        """Be bound to another store."""
        if bond.other is self:
            return
        if bond.loses:
            self._bind_to(bond.other, doubt or bond.doubt)
        if bond.is_lost:
            bond.other._bind_to(self, doubt or bond.doubt)

    def may_be(self, others: Iterable[Store], doubt: Doubt | None = None) -> None:
        """Note that this may be the memory of any of these, or what they may be."""
        for bond in bonds_of(others):
            self.bind(bond, doubt)

    def may_be_alone(self, other: Store, doubt: Doubt | None = None) -> None:
        """The same, whatever else the other one may be."""
        self.bind(Bond(other, True, True, Doubt()), doubt)

    def may_overlap(self, other: Store) -> bool:
        """Whether this is the other one, or may be."""
        return other is self or (self._losing is not None and other in self._losing)

    def is_bound(self) -> bool:
        """Whether it is bound to any store at all."""
        return bool(self._losing or self._lost_by)

    def is_copied_to(self, copy: Store) -> None:
        """Note that `copy` stands for the content of this: it is lost once that changes."""
        for bond in tuple(self.bonds()):
            if bond.is_lost:
                bond.other._bind_to(copy, Doubt(LISTED))

    def is_part_of(self, copy: Store) -> None:
        """Note that this is read from `copy`, which stands for the contents of other arrays."""
        for source in tuple(copy._lost_by or ()):
            self.may_be_alone(source, Doubt(LISTED))
        self._bind_to(copy, Doubt(LISTED))

    def _bind_to(self, other: Store, doubt: Doubt) -> None:
        if self._losing is None:
            self._losing = weakref.WeakKeyDictionary()
        if other._lost_by is None:
            other._lost_by = weakref.WeakKeyDictionary()
        self._losing.setdefault(other, doubt)
        other._lost_by.setdefault(self, doubt)


def bonds_of(stores: Iterable[Store]) -> list[Bond]:
    """How memory that may be one of these is bound."""
    return [bond for store in stores for bond in store.bonds()]
