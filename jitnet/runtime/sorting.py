"""Addresses of NumPy's own sorting routines, which know the machine's vector instructions.

    sorting_address("numpy_sort_quick_f64")         int (void *row, npy_intp n, void *unused)
    sorting_address("numpy_argsort_stable_f64")     int (void *row, npy_intp *order, npy_intp n,
                                                         void *unused)

A dtype's routines are in its function table, which NumPy's C API hands out; they need no
interpreter lock. A NumPy that has them elsewhere is asked in Python, through a callback.
"""

from __future__ import annotations

import ctypes
import functools
from typing import Any

import numpy as np

from jitnet.ir import types as T
from jitnet.kernel.externs import EXTERNS

_GET_TABLE = 365  # _PyDataType_GetArrFuncs, in NumPy's C API since 2.0
_MEMBERS = {"sort": 33, "argsort": 36}  # of PyArray_ArrFuncs, in pointers; one for each kind
_KINDS = {"quick": 0, "stable": 2}

_Pointers = ctypes.POINTER(ctypes.c_void_p)


def sorting_address(symbol: str) -> int:
    """The address of a routine of `kernel.externs` that is NumPy's."""
    _, what, kind, dtype = symbol.split("_")
    return numpys_own(what, kind, _numpy_dtype(dtype)) or callback(symbol)


def _numpy_dtype(name: str) -> np.dtype[Any]:
    dtype = T.by_name(name)
    assert dtype is not None, name
    return dtype.numpy


def numpys_own(what: str, kind: str, dtype: np.dtype[Any]) -> int | None:
    """The address of "sort" or "argsort" in the dtype's function table; None where it has none."""
    get_capsule = ctypes.pythonapi.PyCapsule_GetPointer
    get_capsule.restype, get_capsule.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    api = ctypes.cast(get_capsule(_c_api(), None), _Pointers)
    get_table = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object)(api[_GET_TABLE])
    table = ctypes.cast(get_table(dtype), _Pointers)
    address: int | None = table[_MEMBERS[what] + _KINDS[kind]]
    return address


def _c_api() -> Any:
    return np._core._multiarray_umath._ARRAY_API  # type: ignore[attr-defined]


@functools.cache
def _callback(symbol: str) -> Any:
    """A C function that runs the routine's reference; the cache keeps it alive."""
    routine = EXTERNS[symbol.removeprefix("numpy_")]
    dtype = _numpy_dtype(symbol.rsplit("_", 1)[1])

    def run(*args: Any) -> int:
        *pointers, n, _ = args
        sizes = (dtype, np.dtype(np.int64))
        routine.numpy(*(_memory(p, n, d) for p, d in zip(pointers, sizes)), n)
        return 0

    pointers = (ctypes.c_void_p,) * (len(routine.arguments) - 1)
    return ctypes.CFUNCTYPE(ctypes.c_int, *pointers, ctypes.c_ssize_t, ctypes.c_void_p)(run)


def _memory(address: int, n: int, dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    room = (ctypes.c_char * (n * dtype.itemsize)).from_address(address)
    return np.frombuffer(memoryview(room), dtype)


def callback(symbol: str) -> int:
    """The address of a C function that sorts as the routine does, by calling NumPy in Python."""
    address = ctypes.cast(_callback(symbol), ctypes.c_void_p).value
    assert address is not None
    return address
