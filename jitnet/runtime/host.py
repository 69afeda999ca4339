"""Addresses of the routines by which programs talk to the world outside: Python, through callbacks.

    host_address("host_value_f64")      void (void *memory, int64_t *dims, int64_t rank)
    host_address("host_print")          void (uint8_t *order, int64_t size, int64_t *status)

A callback takes the interpreter's lock itself, so programs call it without.
"""

from __future__ import annotations

import ctypes
import functools
import math
from typing import Any

import numpy as np

from jitnet.ir import types as T
from jitnet.kernel.host import host_print, host_value


def host_address(symbol: str) -> int:
    """The address of a routine of `kernel.externs` whose symbol begins with "host_"."""
    address = ctypes.cast(_callback(symbol), ctypes.c_void_p).value
    assert address is not None
    return address


@functools.cache
def _callback(symbol: str) -> Any:
    """The C function; the cache keeps it alive."""
    if symbol == "host_print":
        return _PRINT(_print)
    dtype = T.by_name(symbol.removeprefix("host_value_"))
    assert dtype is not None, symbol
    return _VALUE(functools.partial(_value, dtype.numpy))


_PRINT = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p)
_VALUE = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)


def _print(order: int, size: int, status: int) -> None:
    failed = np.empty(1, np.int64)
    host_print(_copied(order, size, np.uint8), size, failed)
    ctypes.c_int64.from_address(status).value = int(failed[0])


def _value(dtype: np.dtype[Any], memory: int, dims: int, rank: int) -> None:
    shape = _copied(dims, rank, np.int64)
    host_value(_copied(memory, math.prod(shape.tolist()), dtype), shape, rank)


def _copied(address: int, n: int, dtype: Any) -> np.ndarray[Any, Any]:
    """So many elements at an address, which may be none."""
    return np.frombuffer(ctypes.string_at(address, n * np.dtype(dtype).itemsize), dtype)
