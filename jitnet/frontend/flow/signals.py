"""How a part of a program ends: falls through, jumps out of a loop, or returns.

    if x > 0:            then: RETURN 1.0
        return 1.0       else: FALL
    y = x                joined: RETURN or FALL, which one is a traced number

A signal is known, or one of several; then its kind is a traced Python int.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jitnet.frontend.context import Trace

FALL, BREAK, CONTINUE, RETURN, VALUE = range(5)
"""VALUE: it is no block, but a part of an expression, and has this value."""

ABSENT: Any = type("Absent", (), {"__repr__": lambda self: "<absent>"})()
"""No value: what a path does not return."""


@dataclass(frozen=True)
class Signal:
    """How a block ended.

    Attributes:
        kinds: what it may be.
        kind: which of them it is, a number or a traced one.
        value: what is returned, if something may be.
    """

    kinds: frozenset[int]
    kind: Any
    value: Any = ABSENT

    @property
    def is_known(self) -> bool:
        return len(self.kinds) == 1

    @property
    def falls(self) -> bool:
        """It surely falls through."""
        return self.kinds == {FALL}


def known(kind: int, value: Any = ABSENT) -> Signal:
    """A signal of one kind."""
    return Signal(frozenset((kind,)), kind, value)


def without(signal: Signal, *kinds: int) -> Signal:
    """The signal where it is known to be none of these kinds."""
    left = signal.kinds - set(kinds)
    if len(left) == 1:
        return known(next(iter(left)), signal.value)
    return Signal(left, signal.kind, signal.value)


_MARK = "__raised_by_user__"


def mark_raised(error: BaseException) -> None:
    """Note that it is the user's program that raises this error."""
    setattr(error, _MARK, True)


def is_marked(error: BaseException) -> bool:
    """Whether that has been noted."""
    return hasattr(error, _MARK)


THROUGH = known(FALL)


def normal(signal: Any) -> Signal:
    """What a thunk gave, None for falling through."""
    return THROUGH if signal is None else signal


@dataclass(frozen=True)
class Raised:
    """A part ended by a `raise` of the user's.

    Attributes:
        region: its trace, up to there.
    """

    error: BaseException
    region: Trace
