"""Which variables of a loop's body are read outside of it, and how much code there is in it.

for i in range(n):
    t = x[i] * 2        t is read in the body only, last is read after the loop
    last = t
return last
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from types import CodeType, FrameType, FunctionType
from typing import Any

from jitnet.frontend.rewriting import is_thunk
from jitnet.source import is_users


def is_read_elsewhere(name: str, body: Callable[..., Any]) -> bool:
    """Whether the function reads a variable of its own outside of a body of one of its loops."""
    root = _function_around(body.__code__)
    return root is None or name in _reads(root, body.__code__)


def names_from_outside(thunk: Callable[..., Any] | None) -> tuple[str, ...]:
    """The variables of a part of a function that belong to functions further out."""
    if not isinstance(thunk, FunctionType):
        return ()
    root = _function_around(thunk.__code__)
    return thunk.__code__.co_freevars if root is None else root.co_freevars


def _function_around(body: CodeType) -> CodeType | None:
    """The rewritten function that is running and whose loop this is."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        if is_users(code.co_filename) and not is_thunk(code) and body in _inside(code):
            return code
        frame = frame.f_back
    return None


@functools.lru_cache(maxsize=512)
def _inside(code: CodeType) -> frozenset[CodeType]:
    return frozenset(_codes(code))


def _codes(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _codes(constant)


@functools.lru_cache(maxsize=2048)
def _reads(code: CodeType, without: CodeType) -> frozenset[str]:
    """The names that code reads, in the functions inside of it too but for one of them."""
    import dis  # costs a millisecond, and only loops need it

    found = {
        str(instruction.argval)
        for instruction in dis.get_instructions(code)
        if instruction.opname.startswith("LOAD_") and isinstance(instruction.argval, str)
        if instruction.opname != "LOAD_CLOSURE"
    }
    for constant in code.co_consts:
        if isinstance(constant, CodeType) and constant is not without:
            found |= _reads(constant, without)
    return frozenset(found)


@functools.lru_cache(maxsize=2048)
def instructions_of(code: CodeType) -> int:
    """How many instructions some code has, with the functions inside of it."""
    own = len(code.co_code) // 2
    return own + sum(instructions_of(c) for c in code.co_consts if isinstance(c, CodeType))
