"""What a run of a plain function assigns to its variables and to elements of arrays, in order.

    def f(x):
        y = x * 2         Assigned(("model.py", 12, "y"), "y", array([2.]))
        y[0] = 0.0        Assigned(("model.py", 13, ELEMENT), "y", array([0.]))
        return y

Instructions are traced one by one (`sys.settrace`), which is slow: it is done once something is
known to be wrong.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping
from types import CodeType, FrameType
from typing import Any, NamedTuple

import numpy as np

from jitnet.source import is_users

MOST = 100_000
"""Assignments that are kept."""


ELEMENT = "[...]"
"""In place of the name, where elements of an array are assigned."""


class Assigned(NamedTuple):
    """One assignment.

    Attributes:
        place: file, line, and the name or ELEMENT.
        variable: what was assigned to; `value` is a copy of what it holds then.
    """

    place: tuple[str, int, str]
    variable: str
    value: Any


class _Store(NamedTuple):
    line: int
    target: str
    variable: str


def record(fn: Callable[..., Any], args: Any, kwargs: Any) -> list[Assigned]:
    """Run the function, and say which arrays and numbers the user's code assigned to variables."""
    found: list[Assigned] = []

    def enter(frame: FrameType, event: str, argument: Any) -> Any:
        if not is_users(frame.f_code.co_filename):
            return None
        frame.f_trace_opcodes = True
        stores = _stores(frame.f_code)
        pending: _Store | None = None

        def step(frame: FrameType, event: str, argument: Any) -> Any:
            nonlocal pending
            if event not in ("opcode", "return"):
                return step
            if pending is not None:
                _note(found, frame, pending)
            pending = stores.get(frame.f_lasti) if event == "opcode" else None
            return step

        frame.f_trace = step  # Python 3.13 starts with the instructions here
        return step

    before = sys.gettrace()
    sys._getframe().f_trace_opcodes = True  # Python 3.12 asks whether any frame wants them
    sys.settrace(enter)
    try:
        with np.errstate(all="ignore"):
            fn(*args, **kwargs)
    finally:
        sys.settrace(before)
    return found


def _note(found: list[Assigned], frame: FrameType, store: _Store) -> None:
    value = frame.f_locals.get(store.variable)
    if not isinstance(value, (np.ndarray, np.generic, bool, int, float, complex)):
        return
    if store.target == ELEMENT and not (type(value) is np.ndarray and value.flags.c_contiguous):
        return  # a view: elements of the array behind it are assigned
    if len(found) < MOST:
        place = (frame.f_code.co_filename, store.line, store.target)
        own = np.array(value) if isinstance(value, np.ndarray) else value
        found.append(Assigned(place, store.variable, own))


@functools.lru_cache(maxsize=256)
def _stores(code: CodeType) -> Mapping[int, _Store]:
    """By the offset of an instruction that assigns, what it assigns to."""
    import dis  # costs a millisecond

    found = {}
    loaded: dict[tuple[int, int | None], str] = {}  # by where they stand in the source
    for instruction in dis.get_instructions(code):
        at, name = instruction.positions, instruction.argval
        if at is None or at.lineno is None:
            continue
        start = (at.lineno, at.col_offset)
        name = name[0] if isinstance(name, tuple) else name  # of two (Python 3.13) the first
        if instruction.opname.startswith(("STORE_FAST", "STORE_DEREF")):
            found[instruction.offset] = _Store(at.lineno, name, name)
        elif instruction.opname.startswith(("LOAD_FAST", "LOAD_DEREF")):
            loaded[start] = name
        elif instruction.opname == "STORE_SUBSCR" and start in loaded:
            found[instruction.offset] = _Store(at.lineno, ELEMENT, loaded[start])
    return found
