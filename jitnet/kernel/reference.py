"""NumPy references of rows that NumPy has no function for: casts as on x86, fma, bits.

    cast_reference(np.float64(3e9), np.dtype("int32"))      # -2147483648: out of range
    fma_reference(x, y, z)                                   # one rounding

Each works on NumPy scalars and on arrays. NumPy's own `astype` is not the reference for floats to
integers: out of range it depends on the machine, and for u32 even on the array's length.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np


def cast_reference(x: Any, dtype: np.dtype[Any]) -> Any:
    """`x.astype(dtype)` with C's semantics on x86, see `basic.cast`."""
    if x.dtype.kind != "f" or dtype.kind not in "iu":
        return x.astype(dtype)
    wide = x.astype(np.float64)
    if dtype.itemsize < 4 or dtype == np.int32:
        return _cut(wide, np.int32).astype(dtype)
    if dtype != np.uint64:
        return _cut(wide, np.int64).astype(dtype)
    large = np.greater_equal(wide, 2.0**63)
    half = _cut(np.where(large, wide - 2.0**63, wide)[()], np.int64).astype(np.uint64)
    return np.where(large, half ^ np.uint64(2**63), half)[()]


def _cut(x: Any, dtype: type[np.signedinteger[Any]]) -> Any:
    """Toward zero; what does not fit becomes the smallest integer, as cvttsd2si does it."""
    smallest = np.iinfo(dtype).min
    whole = np.trunc(x)
    fits = np.greater_equal(whole, float(smallest)) & np.less(whole, -float(smallest))
    return np.where(fits, np.where(fits, whole, 0.0).astype(dtype), smallest)[()].astype(dtype)


def bitcast_reference(x: Any, dtype: np.dtype[Any]) -> Any:
    return x.view(dtype)


def shift_as(kind: str) -> Callable[[Any, Any], Any]:
    """The right shift of the bits taken as signed ("i") or unsigned ("u")."""

    def shift(x: Any, count: Any) -> Any:
        seen = np.dtype(f"{kind}{x.dtype.itemsize}")
        return np.right_shift(x.view(seen), count.view(seen)).view(x.dtype)

    return shift


def fma_reference(x: Any, y: Any, z: Any) -> Any:
    """x * y + z with one rounding; of halves, with another one to their precision."""
    if x.dtype.itemsize == 2:
        wide = (v.astype(np.float32) for v in (x, y, z))
        return _fma_f32(*wide).astype(x.dtype)
    if np.result_type(x, y, z) == np.float32:
        return _fma_f32(x, y, z)
    return np.float64(1.0) * _fma_f64()(x, y, z)


def _fma_f32(x: Any, y: Any, z: Any) -> Any:
    """In f64 the product is exact, and a sum rounded to odd there rounds right to f32 (Boldo and
    Melquiond, "Emulation of a FMA and correctly rounded sums", 2008)."""
    product, addend = np.float64(1.0) * x * np.float64(1.0) * y, np.float64(1.0) * z
    total = product + addend
    back = total - product
    error = (product - (total - back)) + (addend - back)
    bits = np.asarray(total).view(np.int64)
    inexact = np.not_equal(error, 0.0) & np.isfinite(total) & np.equal(bits & 1, 0)
    away = np.equal(np.greater(error, 0.0), np.greater(total, 0.0))
    odd = np.where(inexact, np.where(away, bits + 1, bits - 1), bits)
    return odd.view(np.float64).astype(np.float32)[()]


@cache
def _fma_f64() -> Any:
    """The C library's fma as a ufunc of objects, cast back by the caller."""
    fma = ctypes.CDLL("ucrtbase" if sys.platform == "win32" else None).fma
    fma.restype, fma.argtypes = ctypes.c_double, [ctypes.c_double] * 3
    call = np.frompyfunc(fma, 3, 1)

    def elementwise(x: Any, y: Any, z: Any) -> Any:
        return np.asarray(call(x, y, z)).astype(np.float64)[()]

    return elementwise
