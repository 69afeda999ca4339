"""What to write in the place of a call or a subscript of Python's that needs to know a value.

    sorted(x, key=f)      asks for the truth of f(x[1]) < f(x[0]): x[np.argsort(keys)]
    items[i]              asks for the number i: np.array(items)[i]

A traced value only knows that its truth or its number was asked for. Who asked is known here, and
so is what is meant.
"""

from __future__ import annotations

from types import BuiltinFunctionType
from typing import Any

import numpy as np

from jitnet import errors
from jitnet.frontend.tracer import Tracer

_OF_CLASSES: dict[Any, str] = {
    set: "np.unique(x)",
    frozenset: "np.unique(x)",
    np.vectorize: "np.array([f(v) for v in x]), with f as it is",
}
_OF_FUNCTIONS: dict[Any, str] = {
    sorted: "x[np.argsort(keys)], of an array",
    hash: "the value itself: comparisons and np.unique work on it",
}
_OF_METHODS: dict[Any, str] = {
    (list, "sort"): "np.sort(np.array(items)), or np.argsort of the keys",
    (list, "index"): "np.flatnonzero(np.array(items) == value)[0]",
    (list, "count"): "np.count_nonzero(np.array(items) == value)",
    (list, "remove"): "items = [v for v in items if v != value]",
}


_OF_MODULES: dict[str, str] = {
    "statistics": "np.mean, np.median, np.std and their like, which round once more often",
    "fractions": "floats, or a numerator and a denominator as ints",
    "decimal": "floats",
}


def note_call(error: errors.ConcretizationError, function: Any) -> None:
    """Say what to write in the place of a call of this function, if that is known."""
    error.remedy = _of_call(function) or error.remedy


class Noting:
    """As `note_call`, around what is run for a call: it has no frame of its own in the stack."""

    __slots__ = ("_function",)

    def __init__(self, function: Any) -> None:
        self._function = function

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        if isinstance(error, errors.ConcretizationError):
            note_call(error, self._function)


def note_subscript(error: errors.ConcretizationError, x: Any, key: Any) -> None:
    """Say what to write in the place of `x[key]`, if that is known."""
    error.remedy = _of_subscript(x, key) or error.remedy


def _of_call(function: Any) -> str | None:
    if isinstance(function, type):
        return _OF_CLASSES.get(function) or _OF_MODULES.get(function.__module__)
    if isinstance(function, np.vectorize):
        return _OF_CLASSES[np.vectorize]
    if not isinstance(function, BuiltinFunctionType):
        return _OF_MODULES.get(getattr(function, "__module__", "") or "")
    method = _OF_METHODS.get((type(function.__self__), function.__name__))
    return method or _OF_FUNCTIONS.get(function)


def _of_subscript(x: Any, key: Any) -> str | None:
    if type(key) is not Tracer or not isinstance(x, (list, tuple, str, range)):
        return None
    numbers = (bool, int, float, complex, np.generic)
    if all(isinstance(v, numbers) for v in x):
        return "np.array(items)[i], an array of them"
    if all(type(v) in (Tracer, np.ndarray) for v in x) and len({np.shape(v) for v in x}) == 1:
        return "np.stack(items)[i], an array of them"
    return "if i == 0: ... elif i == 1: ..., with one branch for each item that it may be"
