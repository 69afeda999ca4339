"""Arrays of the running trace as objects: memory that is written to, and views of it.

    b = a[1:3]          # View(a's store, [slice %a, 1, 2])
    b[0] = v            #   %a1 = update %a, %v, 1        a's store holds %a1 from now on
    s = a + b           # reads b: %b = slice %a1, 1, 2

The IR has values only. A `Store` says which value some memory holds now; a `View` is how to read
an array out of a store, step by step, and how to write it back. Reading a store of an enclosing
trace makes its value an input of the running one; writing to it is noted there, so that whoever
runs the trace can undo it and hand the final value on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from jitnet import errors, ops
from jitnet.frontend.context import Trace, bring_in, running_trace
from jitnet.frontend.stores import STRIDES, Doubt, Store
from jitnet.ir import Dim, DType, Eqn, Literal, Value, as_dim, index
from jitnet.ops.complexes import IMAG, REAL
from jitnet.ops.index import GATHER
from jitnet.ops.shape import BROADCAST, RESHAPE, TRANSPOSE
from jitnet.ops.slicing import SLICE


class Step(NamedTuple):
    """One equation of a view, and the trace whose values its operands are."""

    eqn: Eqn
    owner: Trace

    def operands(self, trace: Trace) -> list[Value]:
        """All but the array."""
        return [bring_in(v, self.owner, trace) for v in self.eqn.operands[1:]]

    def read(self, x: Value, trace: Trace) -> Value:
        (result,) = trace.builder.bind(self.eqn.op, [x, *self.operands(trace)], self.eqn.attrs)
        return result


class View:
    """Part of a store, or all of it in another form.

    Attributes:
        origin: the array and the key that this was read with, where it is `x[key]`.
    """

    __slots__ = ("_known", "dtype", "origin", "rank", "steps", "store")

    def __init__(self, store: Store, steps: Sequence[Step], origin: object = None) -> None:
        self.store = store
        self.steps = tuple(steps)
        self.origin = origin
        self.rank = steps[-1].eqn.result.rank if steps else store.rank
        self.dtype = steps[-1].eqn.result.dtype if steps else store.dtype
        self._known: tuple[Trace, Value, Value] | None = None

    @property
    def last(self) -> Value:
        """What some reading of it gave; for messages."""
        return self._known[2] if self._known is not None else self.store.value

    def read(self, trace: Trace) -> Value:
        x = base = self.store.read(trace)
        if self._known is not None and self._known[:2] == (trace, base):
            return self._known[2]
        for step in self.steps:
            x = step.read(x, trace)
        self._known = (trace, base, x)
        return x

    def remember(self, trace: Trace, value: Value) -> None:
        """`value` is what reading this gives now."""
        self._known = (trace, self.store.read(trace), value)

    def write(self, value: Value) -> None:
        write(self, value)


class Choice:
    """One of two places: which one, a traced bool says.

    Attributes:
        condition: a value of the trace `owner`; `one` is meant where it holds.
    """

    __slots__ = ("_known", "condition", "dtype", "one", "other", "owner", "rank")

    def __init__(self, condition: Value, owner: Trace, one: Place, other: Place) -> None:
        self.condition = condition
        self.owner = owner
        self.one = one
        self.other = other
        self.dtype: DType = one.dtype
        self.rank: int = one.rank
        self._known: tuple[Trace, Value, tuple[tuple[Store, Value], ...]] | None = None

    @property
    def last(self) -> Value:
        """What some reading of it gave; for messages."""
        return last_value(self.one)

    def known(self, trace: Trace) -> Value | None:
        """What it holds, if that was remembered, and no memory that it may be has changed since."""
        if self._known is None:
            return None
        owner, value, held = self._known
        if any(s.value is not v or s.doubt is not None for s, v in held):
            return None
        is_here = owner.active and (trace is owner or trace.is_inside(owner))
        return bring_in(value, owner, trace) if is_here else None

    def remember(self, trace: Trace, value: Value) -> None:
        """`value` is what reading this gives now."""
        self._known = trace, value, tuple((s, s.value) for s in stores_behind(self))

    def read(self, trace: Trace) -> Value:
        known = self.known(trace)
        if known is not None:
            return known
        condition = bring_in(self.condition, self.owner, trace)
        one, other = self.one.read(trace), self.other.read(trace)
        value = ops.select(spread_to(condition, one), one, other)
        self.remember(trace, value)
        return value

    def write(self, value: Value, box: Box | None = None) -> None:
        """Write where it is meant, and leave the other places as they are."""
        trace = running_trace()
        for leaf, flag in self.cases():
            kept = leaf.read(trace)
            if box is not None:
                kept = ops.slice(kept, box.starts, value.dims, box.steps)
            write(leaf, ops.select(spread_to(flag, value), value, kept), box)

    def cases(self) -> list[tuple[Store | View, Value]]:
        """The places that it may be, none of them a choice, and when it is which."""
        found: dict[Store | View, Value] = {}
        condition = bring_in(self.condition, self.owner, running_trace())
        for place, flag in ((self.one, condition), (self.other, ops.logical_not(condition))):
            for leaf, inner in place.cases() if isinstance(place, Choice) else [(place, None)]:
                both = flag if inner is None else ops.bitwise_and(flag, inner)
                known = found.get(leaf)
                found[leaf] = both if known is None else ops.bitwise_or(known, both)
        return list(found.items())


def spread_to(condition: Value, x: Value) -> Value:
    """A condition for each element of x."""
    return ops.broadcast(condition, x.dims, ()) if x.rank else condition


Place = Store | View | Choice


def last_value(place: Place) -> Value:
    """A value that the place has held; for messages."""
    return place.value if isinstance(place, Store) else place.last


def stores_behind(place: Place) -> list[Store]:
    """The memory that a place may be."""
    if isinstance(place, Choice):
        return [*stores_behind(place.one), *stores_behind(place.other)]
    return [place if isinstance(place, Store) else place.store]


def leaves_of(place: Place) -> list[Store | View]:
    """The places that a place may be, none of them a choice."""
    if isinstance(place, Choice):
        return [*leaves_of(place.one), *leaves_of(place.other)]
    return [place]


_VIEW_OPS = (SLICE, RESHAPE, TRANSPOSE, BROADCAST, GATHER, REAL, IMAG)
"""What reads some of an array's memory and computes nothing; gathers are diagonals and windows."""


@dataclass(frozen=True)
class Box:
    """Where a value goes: a slice of each axis."""

    starts: tuple[Dim, ...]
    steps: tuple[int, ...]


def write(place: Place, value: Value, box: Box | None = None) -> None:
    """Make a place, or a box of it, hold `value`, which has its dtype and dims.

    Raises:
        ReadOnlyError: for views that NumPy does not write through.
    """
    trace = running_trace()
    if isinstance(place, Choice):
        place.write(value, box)
        return
    require_writeable(place)
    store = place if isinstance(place, Store) else place.store
    steps = place.steps if isinstance(place, View) else ()
    if 0 in value.dims:
        return
    if steps:
        bases = [store.read(trace)]
        for step in steps[:-1]:
            bases.append(step.read(bases[-1], trace))
        for step, base in zip(reversed(steps), reversed(bases), strict=True):
            value, box = _through(step, base, value, box, trace)
    store.write(value if box is None else _updated(store.read(trace), value, box))


def _updated(base: Value, value: Value, box: Box) -> Value:
    return ops.update(base, value, box.starts, box.steps)


def _through(
    step: Step, base: Value, value: Value, box: Box | None, trace: Trace
) -> tuple[Value, Box | None]:
    """What writing `value` to (a box of) `step(base)` writes to base."""
    eqn = step.eqn
    if eqn.op is SLICE:
        starts = [as_dim(v) for v in step.operands(trace)[: base.rank]]
        strides = eqn.attrs["steps"]
        if box is None:
            return value, Box(tuple(starts), strides)
        moved = [_plus(s, _times(b, k)) for s, b, k in zip(starts, box.starts, strides)]
        return value, Box(tuple(moved), tuple(a * b for a, b in zip(strides, box.steps)))
    if eqn.op is TRANSPOSE:
        order = tuple(int(a) for a in np.argsort(eqn.attrs["perm"]))
        turned = ops.transpose(value, order)
        if box is None:
            return turned, None
        return turned, Box(tuple(box.starts[a] for a in order), tuple(box.steps[a] for a in order))
    if eqn.op in (REAL, IMAG):
        if box is not None:
            base = ops.slice(base, box.starts, value.dims, box.steps)
        halves = (value, ops.imag(base)) if eqn.op is REAL else (ops.real(base), value)
        return ops.complex(*halves), box
    if eqn.op is RESHAPE:
        if box is None:
            return ops.reshape(value, base.dims), None
        return _through_reshape(step, base, value, box, trace)
    raise AssertionError(f"no view is made by {eqn.op.name}")


def require_writeable(place: Place, message: str = "assignment destination is read-only") -> None:
    """Refuse what NumPy does not write through.

    Raises:
        ReadOnlyError: for arguments that are not writeable, and for broadcasts, diagonals and
            windows.
    """
    made_by = [step.eqn.op for step in place.steps] if isinstance(place, View) else []
    if any(store.read_only for store in stores_behind(place)):
        why = "the array that was passed in, or captured, is not writeable"
    elif BROADCAST in made_by or GATHER in made_by:
        what = "a broadcast array" if BROADCAST in made_by else "a diagonal, or a window,"
        why = f"{what} is a view that NumPy does not write through"
    else:
        return
    raise errors.ReadOnlyError(message, why=why, remedy="take a copy first: x = x.copy()")


def _through_reshape(
    step: Step, base: Value, value: Value, box: Box, trace: Trace
) -> tuple[Value, Box | None]:
    """Axes of extent 1 come and go at no cost; other boxes are put in as a whole."""
    view_dims = [as_dim(v) for v in step.operands(trace)]
    kept = _same_but_for_units(view_dims, base.dims)
    left_out = [d for a, d in enumerate(value.dims) if kept is not None and a not in kept]
    if kept is None or any(isinstance(d, Value) or d != 1 for d in left_out):
        whole = _updated(step.read(base, trace), value, box)
        return ops.reshape(whole, base.dims), None
    starts = [box.starts[a] if a is not None else 0 for a in kept]
    steps = [box.steps[a] if a is not None else 1 for a in kept]
    dims = [value.dims[a] if a is not None else 1 for a in kept]
    return ops.reshape(value, dims), Box(tuple(starts), tuple(steps))


def _same_but_for_units(view: Sequence[Dim], base: Sequence[Dim]) -> list[int | None] | None:
    """For each axis of the base, the view's axis, or None for one of extent 1 that the view has
    not; None where the axes differ by more than that."""
    found: list[int | None] = []
    left = list(enumerate(view))
    for extent in base:
        while left and left[0][1] is not extent and left[0][1] != extent and left[0][1] == 1:
            left.pop(0)
        if left and (left[0][1] is extent or left[0][1] == extent):
            found.append(left.pop(0)[0])
        elif isinstance(extent, int) and extent == 1:
            found.append(None)
        else:
            return None
    return found if all(extent == 1 for _, extent in left) else None


def _plus(a: Dim, b: Dim) -> Dim:
    if isinstance(a, int) and isinstance(b, int):
        return a + b
    if isinstance(b, int) and b == 0:
        return a
    if isinstance(a, int) and a == 0:
        return b
    return ops.add(a, b) if isinstance(a, Value) else ops.add(b, a)


def _times(a: Dim, k: int) -> Dim:
    if isinstance(a, int):
        return a * k
    return a if k == 1 else ops.mul(a, k)


# -- views from equations --------------------------------------------------------------------------


def view_of(
    place: Place,
    base: Value,
    found: Value,
    eqns: Sequence[Eqn],
    origin: object = None,
    in_one_piece: bool = False,
) -> Place | None:
    """The view that `found` is of the array at `place`, which holds `base`; None where NumPy would
    have copied; memory that may be either where that is not known.

    Args:
        eqns: those that computed `found`.
        in_one_piece: NumPy copies what is not C-contiguous.
    """
    trace = running_trace()
    producers = {r: eqn for eqn in eqns for r in eqn.results}
    chain: list[Eqn] = []
    value = found
    while value is not base:
        eqn = producers.get(value)
        if eqn is None or eqn.op not in _VIEW_OPS:
            return None
        chain.append(eqn)
        value = eqn.operands[0]
    steps = tuple(Step(eqn, trace) for eqn in reversed(chain))
    view = _view(place, steps, found, origin, in_one_piece)
    if isinstance(view, View | Choice):
        view.remember(trace, found)
    return view


def _view(
    place: Place, more: Sequence[Step], found: Value, origin: object, in_one_piece: bool
) -> Place | None:
    """What these steps make of the array at `place`."""
    trace = running_trace()
    if isinstance(place, Choice):
        one, other = (_view(p, more, found, None, in_one_piece) for p in (place.one, place.other))
        if one is None and other is None:
            return None
        if one is not None and other is not None:
            return Choice(place.condition, place.owner, one, other)
        memory = Store(found, trace)
        memory.may_be(stores_behind(place), Doubt(STRIDES))
        return memory
    store, before = (place, ()) if isinstance(place, Store) else (place.store, place.steps)
    steps = _in_fewest((*before, *more))
    first = len(before) + bool(more and more[0].eqn.op is TRANSPOSE)  # by columns
    is_view = {
        _is_without_copy(d, steps, first if in_one_piece else None)
        for d in dummies(store, in_one_piece or any(step.eqn.op is RESHAPE for step in steps))
    }
    if is_view == {False}:
        return None
    if len(is_view) == 2:
        memory = Store(found, trace)
        memory.may_be([store], Doubt(STRIDES))
        return memory
    return View(store, steps, origin)


def _in_fewest(steps: Sequence[Step]) -> tuple[Step, ...]:
    """The same steps with slices of slices made one: `x[::-1][::-1]`, again and again."""
    found: list[Step] = []
    for step in steps:
        joined = _slice_of_slice(found[-1], step) if found else None
        found[len(found) - (joined is not None) :] = [step if joined is None else joined]
    return tuple(found)


def _slice_of_slice(first: Step, second: Step) -> Step | None:
    """One slice that is the second one of the first one, of known bounds."""
    a, b = first.eqn, second.eqn
    numbers = (*a.operands[1:], *b.operands[1:])
    if a.op is not SLICE or b.op is not SLICE or not all(isinstance(v, Literal) for v in numbers):
        return None
    rank = len(b.attrs["steps"])
    starts = [
        index(s.item + k * t.item)
        for s, k, t in zip(a.operands[1:], a.attrs["steps"], b.operands[1 : 1 + rank])
        if isinstance(s, Literal) and isinstance(t, Literal)
    ]
    strides = tuple(j * k for j, k in zip(a.attrs["steps"], b.attrs["steps"]))
    operands = (a.operands[0], *starts, *b.operands[1 + rank :])
    return Step(replace(b, operands=operands, attrs={**b.attrs, "steps": strides}), second.owner)


def dummies(store: Store, in_doubt: bool = True) -> list[np.ndarray]:
    """Arrays that lie as the store may; one where there is nothing to doubt."""
    shape = _plain(store.value.dims)
    if not in_doubt or (len(shape) < 2 and store.layout != "strided"):
        return [_dummy(shape, False)]
    if store.layout == "strided":
        return [_dummy(shape, by_columns, gap) for by_columns in (False, True) for gap in (0, 1)]
    orders = {"C": (False,), "F": (True,)}.get(store.layout, (False, True))
    return [_dummy(shape, by_columns) for by_columns in orders]


def _is_without_copy(
    dummy: np.ndarray, steps: Sequence[Step], from_one_piece: int | None = None
) -> bool:
    """Whether NumPy makes these steps without copying: each reshape must fit the strides, and
    what the step of that number begins with must lie in one piece."""
    for number, step in enumerate(steps):
        if number == from_one_piece and not _is_one_piece(dummy):
            return False
        following = followed(dummy, step)
        if following is None:
            return False
        dummy = following
        if dummy.shape != _plain(step.eqn.result.dims):
            return True  # extents that only the program knows: nothing more can be said
    return len(steps) != from_one_piece or _is_one_piece(dummy)


def _is_one_piece(dummy: np.ndarray) -> bool:
    return bool(dummy.size < 2 or dummy.flags.c_contiguous)


def followed(dummy: np.ndarray, step: Step) -> np.ndarray | None:
    """What a step makes of an array; None where it copies."""
    eqn = step.eqn
    dims = _plain(eqn.result.dims)
    if eqn.op is SLICE:
        steps = zip(dummy.strides, eqn.attrs["steps"], strict=True)
        return _strided(dummy, dims, [stride * k for stride, k in steps])
    if eqn.op is TRANSPOSE:
        return dummy.transpose(eqn.attrs["perm"])
    if eqn.op in (REAL, IMAG):
        return _strided(dummy, dummy.shape, [2 * step for step in dummy.strides])
    if eqn.op is BROADCAST:
        strides = [0] * len(dims)
        for axis, extent, stride in zip(eqn.attrs["axes"], dummy.shape, dummy.strides):
            strides[axis] = 0 if extent == 1 else stride
        return _strided(dummy, dims, strides)
    if eqn.op is GATHER:
        axes = eqn.attrs["axes"]
        along = sum(dummy.strides[a] for a in axes)
        rest = [t for a, t in enumerate(dummy.strides) if a not in axes]
        return _strided(dummy, dims, [*(along,) * eqn.operands[1].rank, *rest])
    if dummy.shape == dims:
        return dummy
    if _same_but_for_units(eqn.result.dims, eqn.operands[0].dims) is not None:
        return _with_units(dummy, dims)
    if math.prod(dims) != dummy.size:
        return _strided(dummy, (), ()) if dummy.flags.c_contiguous else None
    shaped = dummy.reshape(dims)
    return shaped if not shaped.size or np.may_share_memory(shaped, dummy) else None


def _strided(dummy: np.ndarray, dims: Sequence[int], strides: Sequence[int]) -> np.ndarray:
    return np.lib.stride_tricks.as_strided(dummy, dims, strides)


def is_one_piece(place: Place) -> bool | None:
    """Whether an array is C-contiguous; None where that is not known."""
    if isinstance(place, Choice):
        return None
    store, steps = (place, ()) if isinstance(place, Store) else (place.store, place.steps)
    found = {_is_without_copy(d, steps, len(steps)) for d in dummies(store)}
    return found.pop() if len(found) == 1 else None


def layout_like(places: Sequence[Place]) -> str:
    """How NumPy lays out a new array that it makes element by element of these."""
    orders = {order for place in places if place.rank > 1 for order in _orders(place)}
    if not orders:
        return "C"
    return orders.pop() if len(orders) == 1 else "any"


def _orders(place: Place) -> set[str]:
    if isinstance(place, Store) and place.layout != "strided":
        return {place.layout}
    if isinstance(place, Choice):
        return _orders(place.one) | _orders(place.other)
    store, steps = (place, ()) if isinstance(place, Store) else (place.store, place.steps)
    return {_order(d, steps) for d in dummies(store)}


def _order(dummy: np.ndarray | None, steps: Sequence[Step]) -> str:
    """In which order an array's axes lie."""
    for step in steps:
        dummy = None if dummy is None else followed(dummy, step)
        if dummy is None or dummy.shape != _plain(step.eqn.result.dims):
            return "any"
    assert dummy is not None
    strides = [abs(t) for t, n in zip(dummy.strides, dummy.shape) if n != 1]
    moving = [t for t in strides if t]
    if moving == sorted(moving, reverse=True):
        return "C"
    return "F" if strides == sorted(strides) and len(moving) == len(strides) else "any"


def _plain(dims: Sequence[Dim]) -> tuple[int, ...]:
    """The extents, some number in the place of those that only the program knows."""
    return tuple(d if isinstance(d, int) else 7 for d in dims)


def _dummy(shape: tuple[int, ...], by_columns: bool, gap: int | None = None) -> np.ndarray:
    """An array of such strides, or with gaps between elements and rows; its elements must not be
    read."""
    strides = [1] * len(shape)
    step = 1 if gap is None else 2
    axes = range(len(shape)) if by_columns else reversed(range(len(shape)))
    for axis in axes:
        strides[axis] = step
        step *= max(shape[axis], 1) + (gap or 0)
    return np.lib.stride_tricks.as_strided(np.empty(1, np.bool_), shape, strides)


def _with_units(dummy: np.ndarray, dims: tuple[int, ...]) -> np.ndarray:
    strides = iter([s for s, n in zip(dummy.strides, dummy.shape) if n != 1])
    return np.lib.stride_tricks.as_strided(
        dummy, dims, [0 if n == 1 else next(strides) for n in dims]
    )
