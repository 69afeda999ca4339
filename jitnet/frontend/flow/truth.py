"""The truth of a value: known, or a traced bool.

if x.sum() > 0:      %0 = gt %s, 0.0
if n:                %0 = ne %n, 0
"""

from __future__ import annotations

from typing import Any

from jitnet import errors, ops
from jitnet.frontend.dims import count, require_equal
from jitnet.frontend.dispatch import note_place
from jitnet.frontend.elementwise import truth as nonzero
from jitnet.frontend.flow.variants import Variants, apart
from jitnet.frontend.promotion import operand
from jitnet.frontend.tracer import Tracer, wrap
from jitnet.ir import Literal, Value


def truth(test: Any) -> bool | Value:
    """Whether `test` is true, as Python's `if` asks it.

    Raises:
        ValueRefusedError: for arrays of more than one element.
    """
    if type(test) is Variants:
        found = apart(test, _as_bool)
        return found if isinstance(found, bool) else truth(found)
    x = operand(test) if type(test) is Tracer else test
    if type(x) is not Tracer:
        return bool(x)
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


def _as_bool(x: Any) -> Any:
    found = truth(x)
    return found if isinstance(found, bool) else wrap(found, "python")
