"""`+` and `*` of lists of which the program decides the length, and `+=`.

lower[:-1] + upper[:-1]       a new list: a copy of the first one, which is extended
found += [a, b]               the list itself, extended
row * 3                       a new list
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from jitnet import errors
from jitnet.frontend.flow import growing
from jitnet.frontend.flow.kinds import kind_of
from jitnet.frontend.grown import grown


class _Connected:
    call: Callable[..., Any]


def install(call: Callable[..., Any]) -> None:
    """Connect the calls of methods, which know such lists."""
    _Connected.call = staticmethod(call)


def combined(symbol: str, a: Any, b: Any) -> Any:
    """`a + b` or `a * b`; NotImplemented where neither is such a list."""
    if grown(a) is None and grown(b) is None:
        return NotImplemented
    if symbol == "*":
        return _repeated(a, b) if grown(a) is not None else _repeated(b, a)
    if symbol != "+" or type(a) is not type(b):
        return NotImplemented
    if grown(a) is None and not a:
        return _copied(b)
    made = _copied(a)
    extended(made, b)
    return made


def extended(x: Any, items: Any) -> Any:
    """`x += items`; NotImplemented where x is no list, or both are known."""
    if type(x) not in (list, deque):
        return NotImplemented
    own, other = grown(x), grown(items)
    if own is None and other is None:
        return NotImplemented
    if own is None:
        growing.put_on_tape(growing.Grows(x, [other], kind_of, changes=True))
    _Connected.call(x.extend, items)
    return x


def _copied(x: Any) -> Any:
    made = list(x) if grown(x) is None else growing.copied(x)
    return deque(made, x.maxlen) if isinstance(x, deque) else made


def _repeated(x: Any, times: Any) -> Any:
    if type(times) is not int or times < 1:
        raise errors.UnsupportedFunctionError(
            "a multiple of a list of which the program decides the length",
            why="how often is not known, or never",
            remedy="y = list(x), and y.extend(x) in a loop",
        )
    made = _copied(x)
    for _ in range(times - 1):
        _Connected.call(made.extend, _copied(x))
    return made
