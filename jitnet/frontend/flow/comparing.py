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

from jitnet import errors, ops
from jitnet.frontend.creating import is_traced
from jitnet.frontend.flow import conditions, raising, snapshots, specials, variants
from jitnet.frontend.flow.containers import is_container
from jitnet.frontend.flow.truth import truth
from jitnet.frontend.flow.unfolding import unfolded
from jitnet.frontend.flow.variants import Variants
from jitnet.frontend.grown import grown
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

_NUMBERS = specials.PLAIN - {tuple}

_IDENTITY: Any = object.__eq__


def compared(symbol: str, a: Any, b: Any) -> Any:
    """`a < b`, or another comparison.

    An order of sequences is of the class that the items that differ give it, NumPy's bool for those
    of NumPy's classes; where none differ, Python would give its own.
    """
    if type(a) in _NUMBERS and type(b) in _NUMBERS:
        return OPERATORS[symbol](a, b)
    if symbol.startswith("is") and (type(a) is Variants) != (type(b) is Variants):
        found = variants.is_object(*((a, b) if type(a) is Variants else (b, a)))
        if isinstance(found, bool):
            return found == (symbol == "is")
        return wrap(found if symbol == "is" else conditions.negated(found), "python")
    if type(a) is Variants or type(b) is Variants:
        return unfolded(functools.partial(compared, symbol), (a, b))
    by_identity = symbol.startswith("is") or type(a).__eq__ is _IDENTITY
    if by_identity and a is not b and is_container(a) and is_container(b):
        snapshots.refuse_identity(a)
        snapshots.refuse_identity(b)
    if not symbol.startswith("is") and (grown(a) is not None or grown(b) is not None):
        return _compared_lists(symbol, a, b)
    fields = specials.fields_compared(symbol, a, b)
    if fields is not None:
        return compared(symbol, *fields)
    found = specials.comparison(symbol, a, b)
    if found is not NotImplemented:
        return found
    if symbol.startswith("is") or not _are_sequences(a, b) or not _decide(a, b):
        return OPERATORS[symbol](a, b)
    if symbol in ("==", "!="):
        found = _equal(a, b)
        if symbol == "!=":
            found = not found if isinstance(found, bool) else ops.logical_not(found)
        return found if isinstance(found, bool) else wrap(found, "python")
    found, flavour = _in_order(symbol, a, b)
    return found if isinstance(found, bool) else wrap(found, flavour)


def _compared_lists(symbol: str, a: Any, b: Any) -> Any:
    """A list of which the program decides the length, and another one: an empty one."""
    own = grown(a) or grown(b)
    is_empty = type(a) is type(b) is list and not (a and b)
    if symbol not in ("==", "!=") or not is_empty:
        raise errors.UnsupportedFunctionError(
            "comparing a list of which the program decides the length",
            remedy="len(x) == len(y) and np.array_equal(x, y)",
        )
    assert own is not None
    compare = ops.eq if symbol == "==" else ops.ne
    return wrap(compare(own.count(), 0), "python")


def _are_sequences(a: Any, b: Any) -> bool:
    return any(isinstance(a, kind) and isinstance(b, kind) for kind in (tuple, list))


def _decide(*sequences: Sequence[Any]) -> bool:
    """Whether items of sequences are traced, or say themselves what they are equal to."""
    return is_traced(sequences) or any(
        specials.method(x, "__eq__") is not None for items in sequences for x in items
    )


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
    """From the end: what the items after these decide, where these are the same. Items without an
    order, None and a number, are an error where no item before them decides."""
    flavour: Flavour = "python"
    found: bool | Value = OPERATORS[symbol](len(a), len(b))
    pairs = [(x, y, _is_same(x, y)) for x, y in zip(a, b)]
    for k, (x, y, same) in reversed(list(enumerate(pairs))):
        if same is True:
            continue
        try:
            decision = compared(symbol, x, y)
        except TypeError as error:
            before = [earlier for _, _, earlier in pairs[:k]]
            if isinstance(error, errors.JitnetError) or all(s is True for s in before):
                raise
            if False not in before:
                reached = functools.reduce(ops.bitwise_and, map(_value, before))
                raising.check_not(ops.bitwise_and(reached, ops.logical_not(_value(same))), error)
            decision = False
        here = truth(decision)
        flavour = decision.flavour if type(decision) is Tracer else flavour
        found = here if same is False else ops.select(same, _value(found), _value(here))
    return found, flavour


def _value(x: bool | Value) -> Value:
    return Literal(x, T.bool_) if isinstance(x, bool) else x
