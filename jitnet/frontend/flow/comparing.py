"""Comparisons in the user's code: of numbers and arrays, and of tuples and lists of them.

    (a, b) < (c, d)      %0 = eq %a, %c;  %1 = lt %b, %d;  %2 = lt %a, %c;  select %0, %1, %2

Python goes through two sequences until it finds items that differ, and these decide. Which ones
they are is known only when the function runs, so all of them are compared.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from typing import Any

from jitnet import ops
from jitnet.frontend.creating import is_traced
from jitnet.frontend.flow import snapshots, variants
from jitnet.frontend.flow.truth import truth
from jitnet.frontend.flow.variants import Variants, is_container
from jitnet.frontend.tracer import Flavour, Tracer, wrap
from jitnet.ir import Literal, Value
from jitnet.ir import types as T

OPERATORS = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "is": operator.is_,
    "is not": operator.is_not,
}


_IDENTITY: Any = object.__eq__


def compared(symbol: str, a: Any, b: Any) -> Any:
    """`a < b`, or another comparison.

    An order of sequences is of the class that the items that differ give it, NumPy's bool for those
    of NumPy's classes; where none differ, Python would give its own.
    """
    if type(a) is Variants or type(b) is Variants:
        return variants.unfolded(functools.partial(compared, symbol), (a, b))
    by_identity = symbol.startswith("is") or type(a).__eq__ is _IDENTITY
    if by_identity and a is not b and is_container(a) and is_container(b):
        snapshots.refuse_identity(a)
        snapshots.refuse_identity(b)
    if not _are_sequences(a, b) or symbol.startswith("is") or not is_traced((a, b)):
        return OPERATORS[symbol](a, b)
    if symbol in ("==", "!="):
        found = _equal(a, b)
        if symbol == "!=":
            found = not found if isinstance(found, bool) else ops.logical_not(found)
        return found if isinstance(found, bool) else wrap(found, "python")
    found, flavour = _in_order(symbol, a, b)
    return found if isinstance(found, bool) else wrap(found, flavour)


def _are_sequences(a: Any, b: Any) -> bool:
    return any(isinstance(a, kind) and isinstance(b, kind) for kind in (tuple, list))


def _is_same(x: Any, y: Any) -> bool | Value:
    return True if x is y else truth(compared("==", x, y))


def _equal(a: Sequence[Any], b: Sequence[Any]) -> bool | Value:
    if len(a) != len(b):
        return False
    found: bool | Value = True
    for x, y in zip(a, b):
        same = _is_same(x, y)
        if same is False:
            return False
        if same is not True:
            found = same if found is True else ops.bitwise_and(found, same)
    return found


def _in_order(symbol: str, a: Sequence[Any], b: Sequence[Any]) -> tuple[bool | Value, Flavour]:
    """From the end: what the items after these decide, where these are the same."""
    flavour: Flavour = "python"
    found: bool | Value = OPERATORS[symbol](len(a), len(b))
    for x, y in reversed(list(zip(a, b))):
        same = _is_same(x, y)
        if same is True:
            continue
        decision = compared(symbol, x, y)
        here = truth(decision)
        flavour = decision.flavour if type(decision) is Tracer else flavour
        found = here if same is False else ops.select(same, _value(found), _value(here))
    return found, flavour


def _value(x: bool | Value) -> Value:
    return Literal(x, T.bool_) if isinstance(x, bool) else x
