"""Memory that is kept for the next call, given back to the system.

release()       # what results were in, and what calls used while they ran
"""

from __future__ import annotations

import ctypes
from functools import lru_cache
from typing import Any

from jitnet.codegen.heap import POOL, SHARED
from jitnet.runtime import buffers
from jitnet.runtime.engine import compile_text
from jitnet.runtime.heap import kept_bytes, pool_address


def release() -> None:
    """Give all memory back that no array lies in and no call uses."""
    buffers.POOL.clear()
    if kept_bytes():
        _pool_clear()[0]()


@lru_cache(maxsize=1)
def _pool_clear() -> tuple[Any, Any]:
    """The native function, and what keeps its code alive."""
    text = SHARED.replace(" #0", "")
    library, (address,) = compile_text(text, ["pool_clear"], {POOL: pool_address()})
    return ctypes.CFUNCTYPE(None)(address), library
