"""What rewritten functions call: one method for each construct of the language.

    if x > 0: ...        HOOKS.if_(x > 0, then, orelse)
    a < b < c            HOOKS.compare(a, ("<", lambda: b), ("<", lambda: c))

Where everything is known they do what Python does. The protocol is that of `rewriting`.
"""

from __future__ import annotations

import builtins
import functools
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from jitnet import errors, ops
from jitnet.frontend import texts
from jitnet.frontend.arrays import Choice, Place, stores_behind
from jitnet.frontend.context import bring_in, running_trace
from jitnet.frontend.creating import is_traced
from jitnet.frontend.dispatch import note_place
from jitnet.frontend.flow import (
    branches,
    calling,
    comprehensions,
    conditions,
    growing,
    heaps,
    inner_lists,
    items,
    loops,
    picking,
    printing,
    raising,
    remedies,
    signals,
    specials,
    unfolding,
    variants,
)
from jitnet.frontend.flow.comparing import compared
from jitnet.frontend.flow.handling import handling, managed, trying
from jitnet.frontend.flow.steps import Steps, steps_of
from jitnet.frontend.flow.truth import truth
from jitnet.frontend.flow.variants import Variants
from jitnet.frontend.listing import grid_item
from jitnet.frontend.tracer import Tracer, lift, wrap
from jitnet.ir import Value

Thunk = Callable[[], Any]

_GRIDS = frozenset(map(type, (np.mgrid, np.ogrid, np.r_, np.c_)))


class Hooks:
    """The namespace that rewritten code sees."""

    BREAK = signals.known(signals.BREAK)
    CONTINUE = signals.known(signals.CONTINUE)
    slice = builtins.slice

    call = staticmethod(calling.call)
    if_ = staticmethod(branches.if_)
    for_ = staticmethod(comprehensions.for_)
    while_ = staticmethod(loops.while_)
    assert_ = staticmethod(raising.assert_)
    raised = staticmethod(raising.raised)
    handling = staticmethod(handling)
    trying = staticmethod(trying)
    managed = staticmethod(managed)
    comprehension = staticmethod(comprehensions.comprehension)
    compared = staticmethod(compared)
    binary = staticmethod(specials.binary)
    in_place = staticmethod(specials.in_place)
    unary = staticmethod(specials.unary)
    attribute = staticmethod(specials.attribute)
    set_attribute = staticmethod(specials.set_attribute)
    iterable = staticmethod(specials.iterable)

    @staticmethod
    def Return(value: Any) -> signals.Signal:  # noqa: N802
        """`return value`."""
        return signals.known(signals.RETURN, value)

    @staticmethod
    def then(signal: Any, rest: Thunk | None) -> signals.Signal:
        """What follows a block that ended so."""
        return branches.follow(signals.normal(signal), rest)

    @staticmethod
    def result(signal: Any) -> Any:
        """What the function returns."""
        ended = signals.normal(signal)
        if ended.falls:
            return None
        if ended.is_known or ended.value is None:
            return ended.value
        return branches.follow(ended, lambda: Hooks.Return(None)).value

    # -- expressions -------------------------------------------------------------------------------

    @staticmethod
    def getitem(x: Any, key: Any) -> Any:
        """`x[key]`."""
        if type(x) is np.ndarray:
            return lift(x)[key]
        if type(x) is Variants:
            return variants.apart(x, lambda one: Hooks.getitem(one, key))
        if unfolding.is_in_key(key):
            return unfolding.with_key(lambda known: Hooks.getitem(x, known), key)
        if growing.grown(x) is not None:
            return growing.item(x, key)
        if type(x) is Tracer and isinstance(x.place, Choice):
            return _item_of_choice(x, x.place, key)
        if type(x) is list:
            inner_lists.check_fresh(x)
        if type(x) in _GRIDS:
            return grid_item(x, key)
        found = specials.asked(x, "__getitem__", key)
        if found is not NotImplemented:
            return found
        try:
            return x[key]
        except errors.ConcretizationError as error:
            if picking.picks(x, key):
                return picking.item(x, key)
            remedies.note_subscript(error, x, key)
            raise

    @staticmethod
    def setitem(x: Any, key: Any, value: Any) -> None:
        """`x[key] = value`."""
        if type(x) is np.ndarray:
            x = lift(x)
        if type(x) is Variants:
            variants.apart(x, lambda one: Hooks.setitem(one, key, value))
            return
        if unfolding.is_in_key(key):
            unfolding.with_key(lambda known: Hooks.setitem(x, known, value), key)
            return
        if type(x) is Tracer and isinstance(x.place, Choice):
            _set_chosen(x, x.place, key, value)
            return
        if growing.grown(x) is not None:
            items.put(x, key, value)
            return
        if specials.asked(x, "__setitem__", key, value) is not NotImplemented:
            return
        inner = inner_lists.inner(x)
        try:
            x[key] = value
        except errors.ConcretizationError:
            if isinstance(x, tuple) or not picking.picks(x, key):
                raise
            if not picking.put(x, key, value, Hooks.setitem):
                growing.let_change(x)
                items.put(x, key, value)
        if inner is not None:
            items.put_back(inner)

    @staticmethod
    def delitem(x: Any, key: Any) -> None:
        """`del x[key]`."""
        if growing.grown(x) is not None:
            items.delete(x, key)
            return
        if specials.asked(x, "__delitem__", key) is not NotImplemented:
            return
        inner_lists.inner(x)
        del x[key]

    @staticmethod
    def ifexp(test: Any, then: Thunk, orelse: Thunk) -> Any:
        """`then() if test else orelse()`."""
        condition = truth(test)
        if isinstance(condition, bool):
            return then() if condition else orelse()
        return _chosen(condition, then, orelse)

    @staticmethod
    def and_(first: Any, *others: Thunk) -> Any:
        """`first and others[0]() and ...`."""
        if not others:
            return first
        condition = truth(first)
        if isinstance(condition, bool):
            return Hooks.and_(others[0](), *others[1:]) if condition else first
        last = _Last()
        found = _chosen(condition, lambda: last.of(Hooks.and_, others), lambda: first)
        return conditions.note_parts(found, (condition, last.value), every=True)

    @staticmethod
    def or_(first: Any, *others: Thunk) -> Any:
        """`first or others[0]() or ...`."""
        if not others:
            return first
        condition = truth(first)
        if isinstance(condition, bool):
            return first if condition else Hooks.or_(others[0](), *others[1:])
        last = _Last()
        found = _chosen(condition, lambda: first, lambda: last.of(Hooks.or_, others))
        return conditions.note_parts(found, (condition, last.value), every=False)

    @staticmethod
    def tested(x: Any) -> Any:
        """What only the truth is asked of, beside other conditions: that of a container."""
        if growing.grown(x) is not None:
            return growing.length(x) > 0
        if isinstance(x, (list, tuple, dict, set, deque)):
            return bool(x)
        if specials.method(x, "__bool__") is None and specials.method(x, "__len__") is None:
            return x
        found = truth(x)
        return found if isinstance(found, bool) else wrap(found, "python")

    @staticmethod
    def not_(x: Any) -> Any:
        """`not x`."""
        found = truth(x)
        if isinstance(found, bool):
            return not found
        note_place()
        return wrap(conditions.negated(found), "python")

    @staticmethod
    def compare(first: Any, *others: tuple[str, Thunk]) -> Any:
        """`first < a() <= b()`, each evaluated once."""
        symbol, thunk = others[0]
        second = thunk()
        found = _compared(symbol, first, second)
        if len(others) == 1:
            return found
        return Hooks.and_(found, lambda: Hooks.compare(second, *others[1:]))

    @staticmethod
    def in_(item: Any, container: Any) -> Any:
        """`item in container`."""
        if type(item) is Variants or type(container) is Variants:
            return unfolding.unfolded(Hooks.in_, (item, container))
        if type(container) is Tracer:
            return wrap(lift(np.any(container == item)).value, "python")
        if growing.grown(container) is not None:
            return items.contains(container, item)
        found: Any = specials.asked(container, "__contains__", item)
        if found is not NotImplemented:
            return Hooks.not_(Hooks.not_(found))
        container = specials.iterable(container)
        if not isinstance(container, (Iterator, list, tuple, set, frozenset, dict)):
            return item in container
        if isinstance(container, Iterator):
            container = list(container)
        asks = specials.method(item, "__eq__") is not None
        if not asks and not is_traced((item, *container)):
            return item in container
        found = False
        for other in container:
            found = Hooks.or_(found, functools.partial(_is_item, item, other))
        condition = truth(found)
        return condition if isinstance(condition, bool) else wrap(condition, "python")

    @staticmethod
    def not_in(item: Any, container: Any) -> Any:
        """`item not in container`."""
        return Hooks.not_(Hooks.in_(item, container))

    @staticmethod
    def text(*parts: Any) -> str:
        """An f-string of these parts."""
        if any(type(part) is Variants for part in parts):
            made: str = unfolding.unfolded(Hooks.text, parts)
            return made
        return texts.text(piece for part in parts for piece in texts.pieces_of(part))

    formatted = staticmethod(printing.formatted)
    percent = staticmethod(texts.percent)

    @staticmethod
    def truth(x: Any) -> bool:
        """The truth of a value in a place where it has to be known."""
        found = truth(x)
        return found if isinstance(found, bool) else bool(x)

    @staticmethod
    def iterate(x: Any) -> Iterator[Any]:
        """What a comprehension goes over."""
        steps = steps_of(x) if isinstance(x, (Tracer, np.ndarray, Steps)) else None
        return iter(specials.iterable(x) if steps is None else steps)


def _item_of_choice(x: Tracer, place: Choice, key: Any) -> Any:
    """`x[key]` of an array that is in one of several places. A single element is read in each."""
    known = place.known(running_trace())
    if known is not None or not _is_element(x, key):
        return x[key]
    return wrap(_element(place, key, {}), "scalar")


def _is_element(x: Tracer, key: Any) -> bool:
    entries = key if isinstance(key, tuple) else (key,)
    return len(entries) == x.ndim and all(map(_is_number, entries))


def _element(place: Place, key: Any, known: dict[Place, Value]) -> Value:
    """`x[key]` of the array at a place, for numbers; `known` has those that were read before."""
    found = known.get(place)
    if found is None and isinstance(place, Choice):
        condition = bring_in(place.condition, place.owner, running_trace())
        one, other = (_element(side, key, known) for side in (place.one, place.other))
        found = ops.select(condition, one, other)
    elif found is None:
        found = Tracer(place, "array")[key].value
    known[place] = found
    return found


def _is_number(x: Any) -> bool:
    is_traced = type(x) is Tracer and x.ndim == 0 and x.flavour != "array"
    return is_traced or isinstance(x, (int, np.integer))


def _is_item(item: Any, other: Any) -> Any:
    """Whether a container finds that one of its items is this one."""
    return item is other or compared("==", other, item)


def _set_chosen(x: Tracer, place: Choice, key: Any, value: Any) -> None:
    """`x[key] = value` of an array that is in one of two places: in both of them where it is a
    single element, else in the one that it is in."""
    if _is_element(x, key) and not any(store.read_only for store in stores_behind(place)):
        x[key] = value
        return
    condition = bring_in(place.condition, place.owner, running_trace())
    one, other = Tracer(place.one, "array"), Tracer(place.other, "array")
    branches.branch(
        condition, lambda: Hooks.setitem(one, key, value), lambda: Hooks.setitem(other, key, value)
    )


def _compared(symbol: str, a: Any, b: Any) -> Any:
    if symbol == "in":
        return Hooks.in_(a, b)
    if symbol == "not in":
        return Hooks.not_in(a, b)
    return compared(symbol, a, b)


class _Last:
    """What follows `and` or `or`: its value, if that is a truth."""

    def __init__(self) -> None:
        self.value: Value | None = None

    def of(self, hook: Callable[..., Any], others: Sequence[Thunk]) -> Any:
        found = hook(others[0](), *others[1:])
        if type(found) is Tracer and found.value.dtype.is_bool and not found.value.rank:
            self.value = found.value
        return found


def _chosen(condition: Value, then: Thunk, orelse: Thunk) -> Any:
    """The value of one of two expressions."""
    note_place()
    signal = branches.branch(
        condition,
        lambda: signals.known(signals.VALUE, then()),
        lambda: signals.known(signals.VALUE, orelse()),
    )
    return signal.value


HOOKS = Hooks()
heaps.install(HOOKS)


variants.install(branches.branch)
