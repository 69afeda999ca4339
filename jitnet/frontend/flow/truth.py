"""The truth of a value: known, or a traced bool.

if x.sum() > 0:      %0 = gt %s, 0.0
if n:                %0 = ne %n, 0
while stack:         %0 = gt %n, 0, where only the program knows the length of the list
"""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any

from jitnet import errors, ops
from jitnet.frontend.dims import count, require_equal
from jitnet.frontend.dispatch import note_place
from jitnet.frontend.elementwise import truth as nonzero
from jitnet.frontend.flow.variants import Variants, apart, noted
from jitnet.frontend.grown import grown
from jitnet.frontend.promotion import operand
from jitnet.frontend.tracer import Tracer, wrap
from jitnet.ir import Literal, Value
from jitnet.source import is_users


def truth(test: Any) -> bool | Value:
    """Whether `test` is true, as Python's `if` asks it.

    Raises:
        ValueRefusedError: for arrays of more than one element.
    """
    own = grown(test)
    if own is not None:
        note_place()
        return ops.gt(own.count(), 0)
    if type(test) is Variants:
        found = apart(test, _as_bool)
        return found if type(found) is bool else noted(truth(found), test)
    x = operand(test) if type(test) is Tracer else test
    if type(x) is not Tracer:
        asked = _asked(x)
        return bool(x) if asked is None else truth(asked())
    note_place()
    value = x.value
    if value.rank:
        many = (
            "The truth value of an array with more than one element is ambiguous. "
            "Use a.any() or a.all()"
        )
        extent = count(value.dims)
        if isinstance(extent, int) and extent != 1:
            empty = "The truth value of an empty array is ambiguous. Use `array.size > 0`"
            raise errors.ValueRefusedError(many if extent else empty)
        require_equal(extent, 1, many)
        value = ops.reshape(value, ())
    found = nonzero(value)
    return bool(found.item) if isinstance(found, Literal) else found


def _asked(x: Any) -> Callable[[], Any] | None:
    """The method of an object of the user's that tells its truth, which may be traced."""
    for name in ("__bool__", "__len__"):
        method = getattr(type(x), name, None)
        if isinstance(method, FunctionType) and is_users(method.__code__.co_filename):
            return lambda: _Connected.call(method, x)
    return None


class _Connected:
    call: Callable[..., Any]


def install(call: Callable[..., Any]) -> None:
    """Connect the calls of the user's functions."""
    _Connected.call = call


def _as_bool(x: Any) -> Any:
    found = truth(x)
    return found if isinstance(found, bool) else wrap(found, "python")
