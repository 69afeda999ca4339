"""A function of plain Python, run as it is and compiled: results, changed arguments, exceptions.

    agree(f, (x, 3), (x, 4))      one compiled f, called with each of these arguments

The arguments of the two runs are equal and apart. A Python float may come back as np.float64; a
number that is an int on one path and a float on another may come back as a float.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from oracle import compare

import jitnet


@dataclass(frozen=True)
class Outcome:
    """What a call came to.

    Attributes:
        result: what was returned, with the arguments as the call left them.
        error: what was raised.
    """

    result: Any = None
    arguments: Any = None
    error: Exception | None = None


def outcome(fn: Callable[..., Any], args: tuple[Any, ...]) -> Outcome:
    """Call `fn` with copies of the arguments; arguments that share memory still do."""
    own = copied(args)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        try:
            return Outcome(fn(*own), own)
        except Exception as error:
            return Outcome(error=error)


def copied(args: tuple[Any, ...]) -> tuple[Any, ...]:
    """A deep copy; of a view, a view of the copied array."""
    memo: dict[int, Any] = {}
    for x in args:
        if isinstance(x, np.ndarray) and isinstance(x.base, np.ndarray) and id(x) not in memo:
            base = copy.deepcopy(x.base, memo)
            offset = x.__array_interface__["data"][0] - x.base.__array_interface__["data"][0]
            memo[id(x)] = np.ndarray(x.shape, x.dtype, base, offset, x.strides)
    return copy.deepcopy(args, memo)


def agree(fn: Callable[..., Any], *calls: tuple[Any, ...], widens: bool = False) -> None:
    """Refuse a compiled function that differs from the plain one in one of these calls."""
    compiled = jitnet.jit(fn)
    for args in calls:
        plain, ours = outcome(fn, args), outcome(compiled, args)
        assert_agree(ours, plain, widens)


def assert_agree(ours: Outcome, plain: Outcome, widens: bool = False) -> None:
    """Refuse an outcome that differs from the plain program's."""
    if plain.error is not None or ours.error is not None:
        _assert_same_error(ours.error, plain.error)
        return
    _compare(ours.result, plain.result, widens)
    _compare(ours.arguments, plain.arguments, widens)


def _assert_same_error(ours: Exception | None, plain: Exception | None) -> None:
    if plain is None or not isinstance(ours, type(plain)):
        raise AssertionError(f"{ours!r} where the plain program has {plain!r}") from ours
    if not isinstance(ours, jitnet.errors.JitnetError):
        assert str(ours) == str(plain)


def _compare(ours: Any, plain: Any, widens: bool) -> None:
    compare(*_alike(ours, plain, widens))


def _alike(ours: Any, plain: Any, widens: bool) -> tuple[Any, Any]:
    """Both, without what may differ in the classes of numbers, and with objects as dicts."""
    number = (bool, int, float, np.generic)
    if type(plain) is float and type(ours) is np.float64:
        return ours, np.float64(plain)
    if widens and isinstance(plain, number) and isinstance(ours, number):
        return np.float64(ours), np.float64(plain)
    if type(plain) is not type(ours):
        return ours, plain
    if isinstance(plain, (list, tuple)) and len(plain) == len(ours):
        pairs = [_alike(a, b, widens) for a, b in zip(ours, plain)]
        return [a for a, _ in pairs], [b for _, b in pairs]
    if isinstance(plain, dict) and list(plain) == list(ours):
        parts = {k: _alike(ours[k], plain[k], widens) for k in plain}
        return {k: v[0] for k, v in parts.items()}, {k: v[1] for k, v in parts.items()}
    if not isinstance(plain, (np.ndarray, np.generic)) and hasattr(plain, "__dict__"):
        return _alike(dict(vars(ours)), dict(vars(plain)), widens)
    return ours, plain
