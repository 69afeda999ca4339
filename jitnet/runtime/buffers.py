"""Memory for results. Large blocks are kept when their arrays die, and used again.

    y = empty((4096, 4096), np.dtype(np.float32))    # 64 MiB: mapped once, not at each call

Fresh pages cost more than the arithmetic that fills them: the kernel zeroes each one. A block goes
back to the pool when the last array over it (views included) is gone; the pool keeps at most
`LIMIT` bytes and gives the oldest back to the system first.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from math import prod
from typing import Any

import numpy as np

LARGE = 1 << 18
"""Bytes from which a result comes from the pool."""

LIMIT = 1 << 29
"""Bytes that the pool keeps at most."""

_ALIGNMENT = 64


class Pool:
    """Free blocks by size; safe to use from any thread and from finalisers."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit = limit
        self.kept = 0
        self._free: OrderedDict[int, list[np.ndarray[Any, Any]]] = OrderedDict()
        self._lock = threading.RLock()  # a finaliser may run while the lock is held

    def take(self, size: int) -> np.ndarray[Any, Any]:
        """A block of at least `size` bytes."""
        with self._lock:
            blocks = self._free.get(size)
            if blocks:
                self.kept -= size
                return blocks.pop()
        return np.empty(size + _ALIGNMENT, np.uint8)

    def give(self, size: int, block: np.ndarray[Any, Any]) -> None:
        """Take a block back."""
        with self._lock:
            self._free.setdefault(size, []).append(block)
            self._free.move_to_end(size)
            self.kept += size
            while self.kept > self.limit:
                oldest, blocks = next(iter(self._free.items()))
                if blocks:
                    blocks.pop()
                    self.kept -= oldest
                if not blocks:
                    del self._free[oldest]

    def clear(self) -> None:
        """Give all blocks that are not in use back to the system."""
        with self._lock:
            self._free.clear()
            self.kept = 0


POOL = Pool()


class _Lease:
    """Holds a block for the arrays over it; the base of all of them."""

    __slots__ = ("__array_interface__", "_block", "_pool", "_size")

    def __init__(self, pool: Pool, size: int, dims: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self._pool = pool
        self._size = size
        self._block = pool.take(size)
        address = self._block.ctypes.data
        self.__array_interface__ = {
            "version": 3,
            "typestr": dtype.str,
            "shape": dims,
            "data": (address + -address % _ALIGNMENT, False),
        }

    def __del__(self) -> None:
        self._pool.give(self._size, self._block)


def empty(dims: tuple[int, ...], dtype: np.dtype[Any], pool: Pool = POOL) -> np.ndarray[Any, Any]:
    """An uninitialised C-contiguous array; aligned to 64 bytes where it is large."""
    size = prod(dims) * dtype.itemsize
    if size < LARGE:
        return np.empty(dims, dtype)
    if dtype.kind == "V":  # bfloat16, of which the array interface does not know
        return np.asarray(_Lease(pool, size, dims, np.dtype(np.uint16))).view(dtype)
    return np.asarray(_Lease(pool, size, dims, dtype))
