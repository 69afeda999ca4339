"""The pool of run-time memory that all compiled programs of this process share.

    pool_address()      where programs find it: `@heap_pool` of `codegen.heap`
    kept_bytes()        what is there for the next call

A call takes blocks from the pool before it asks the system for memory, and leaves its own there in
the end: fresh pages cost more than the arithmetic that fills them. At most `LIMIT` bytes stay.
"""

from __future__ import annotations

import ctypes
import os

from jitnet.codegen.heap import POOL_WORDS

LIMIT = 1 << 29
"""Bytes that the pool keeps at most."""

_LIMIT_WORD = 2
_KEPT_WORD = 1

_POOL = (ctypes.c_int64 * POOL_WORDS)()
_POOL[_LIMIT_WORD] = LIMIT


def pool_address() -> int:
    return ctypes.addressof(_POOL)


def kept_bytes() -> int:
    return int(_POOL[_KEPT_WORD])


def _after_fork() -> None:
    """Another thread may have had the lock, which is not here to release it."""
    limit = _POOL[_LIMIT_WORD]
    ctypes.memset(_POOL, 0, ctypes.sizeof(_POOL))
    _POOL[_LIMIT_WORD] = limit


os.register_at_fork(after_in_child=_after_fork)
