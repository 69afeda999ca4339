"""In which order the elements of arrays lie, where a program asks for one: `order="F"`.

    y = np.asfortranarray(x)     x itself where it lies by columns; where it does not, a new array
    y.ravel("K")                 its elements column by column, and no copy of them

The IR has values, which lie nowhere. A `Store` says how NumPy would have laid out its memory, since
that decides what is a view, and what the caller gets.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from jitnet import errors
from jitnet.frontend.arrays import (
    Choice,
    Place,
    View,
    dummies,
    followed,
    layout_like,
    stores_behind,
)
from jitnet.frontend.context import running_trace
from jitnet.frontend.stores import STRIDES, Doubt, Store
from jitnet.ir import Value


def lies(place: Place, order: str) -> bool | None:
    """Whether an array lies in one piece, row by row ("C") or column by column ("F"); None where
    that is not known."""
    if isinstance(place, Choice):
        one, other = lies(place.one, order), lies(place.other, order)
        return one if one is other else None
    store, steps = (place, ()) if isinstance(place, Store) else (place.store, place.steps)
    found = {_lies(dummy, steps, order) for dummy in dummies(store)}
    return found.pop() if len(found) == 1 else None


def _lies(dummy: np.ndarray | None, steps: Sequence[Any], order: str) -> bool | None:
    for step in steps:
        dummy = None if dummy is None else followed(dummy, step)
    if dummy is None:
        return None
    return dummy.flags.c_contiguous if order == "C" else dummy.flags.f_contiguous


def lay_out(new: Place, order: Any, old: Place | None = None) -> None:
    """Note how a new array lies.

    Args:
        order: "C", "F", "A" or "K".
        old: the array that it is made like, if any.

    Raises:
        ValueRefusedError: for another order.
    """
    order = checked(order)
    if isinstance(new, Store) and new.rank > 1:
        new.layout = _layout(order, old)


def checked(order: Any) -> str:
    """One of NumPy's orders.

    Raises:
        ValueRefusedError: for anything else.
    """
    if order is None:
        return "K"
    if not isinstance(order, str) or order.upper() not in ("C", "F", "A", "K"):
        raise errors.ValueRefusedError(f"order must be one of 'C', 'F', 'A', or 'K', not {order!r}")
    return order.upper()


def _layout(order: str, old: Place | None) -> str:
    if order in ("C", "F") or old is None:
        return "F" if order == "F" else "C"
    if order == "K":
        return layout_like([old])
    by_columns, by_rows = lies(old, "F"), lies(old, "C")
    if by_columns is None or by_rows is None:
        return "any"
    return "F" if by_columns and not by_rows else "C"


def order_of(place: Place, order: Any, what: str) -> str:
    """The order, "C" or "F", in which elements of an array are meant to be gone through.

    Raises:
        UnsupportedFunctionError: for "K" and "A" where only the program knows the strides.
    """
    order = checked(order)
    found = "C" if place.rank < 2 else _layout(order, place)
    if found == "any":
        raise errors.UnsupportedFunctionError(
            f"{what} with order={order!r}, of an array whose strides are not known",
            why="a program is compiled for all strided arrays of a shape",
            remedy="say which order is meant: 'C' by rows, 'F' by columns",
        )
    return found


def kept(place: Place, copy: Value, order: str) -> Place:
    """An array itself where it lies in this order; elsewhere a new one, that does.

    Args:
        copy: what the array holds.
    """
    known = lies(place, order)
    if known:
        return place
    memory = Store(copy, running_trace(), layout=order)
    if known is None:
        memory.may_be(stores_behind(place), Doubt(STRIDES))
    return memory


class Flags:
    """`x.flags` of a traced array."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def __getitem__(self, name: str) -> bool:
        if name not in _FLAGS:
            raise KeyError("Unknown flag")
        return bool(getattr(self, _FLAGS[name]))

    @property
    def c_contiguous(self) -> bool:
        return self._known("C")

    @property
    def f_contiguous(self) -> bool:
        return self._known("F")

    contiguous = c_contiguous

    @property
    def fnc(self) -> bool:
        return self.f_contiguous and not self.c_contiguous

    @property
    def forc(self) -> bool:
        return self.f_contiguous or self.c_contiguous

    @property
    def writeable(self) -> bool:
        return not any(store.read_only for store in stores_behind(self._place))

    @property
    def aligned(self) -> bool:
        return True

    def _known(self, order: str) -> bool:
        found = lies(self._place, order)
        if found is None:
            raise errors.UnsupportedFunctionError(
                f"the flag {order}_CONTIGUOUS of an array whose strides are not known",
                why="a program is compiled for all strided arrays of a shape",
                remedy="np.ascontiguousarray(x), which copies what does not lie by rows",
            )
        return found


_FLAGS = {
    **{"C_CONTIGUOUS": "c_contiguous", "C": "c_contiguous", "CONTIGUOUS": "c_contiguous"},
    **{"F_CONTIGUOUS": "f_contiguous", "F": "f_contiguous", "FORTRAN": "f_contiguous"},
    **{"WRITEABLE": "writeable", "W": "writeable", "ALIGNED": "aligned", "A": "aligned"},
    **{"FNC": "fnc", "FORC": "forc"},
}


def strides(place: Place) -> tuple[int, ...]:
    """`x.strides`.

    Raises:
        UnsupportedFunctionError: for arguments that lie in neither order, and where only the
            program knows extents.
    """
    if isinstance(place, Store | View):
        store, steps = (place, ()) if isinstance(place, Store) else (place.store, place.steps)
        dims = [d for v in (store.value, *(s.eqn.result for s in steps)) for d in v.dims]
        is_known = store.layout in ("C", "F") and all(isinstance(d, int) for d in dims)
        if is_known and place.dtype == store.dtype:
            (dummy,) = dummies(store)
            for step in steps:
                found = followed(dummy, step)
                assert found is not None
                dummy = found
            return tuple(place.dtype.itemsize * t for t in dummy.strides)
    raise errors.UnsupportedFunctionError(
        "the strides of an array that may lie in any way",
        why="a program is compiled for all strided arrays of a shape",
        remedy="compute with x.shape, or pass strides in",
    )
