"""Arrays that live on a GPU, told from NumPy's without importing the library that they are of.

    device_of(type(x))            "cuda" for CuPy's, None for all else
    f(x)                          x: f64[8] on cuda     what `explain` says of such an argument

They go the way of NumPy's arrays: same dtypes, same views, changed in place. Results come as arrays
of the device where an argument, or an array that the function reads from outside, is one.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from jitnet import errors

_NAMES = {("cupy", "ndarray"): "cuda"}
_DECLARED: dict[type, str] = {}


def device_of(cls: type) -> str | None:
    """The device whose arrays are of this class; None where there is none."""
    return _DECLARED.get(cls) or _NAMES.get((cls.__module__, cls.__name__))


def declare(cls: type, device: str) -> None:
    """Make a class of arrays known, which have NumPy's attributes `shape`, `dtype`, `strides`,
    `flags` and `base`, and the address of their first element in `data.ptr`."""
    _DECLARED[cls] = device


def is_array(x: Any) -> bool:
    """Whether x is an array, of NumPy or of a device."""
    return isinstance(x, np.ndarray) or device_of(type(x)) is not None


def is_read_only(x: Any) -> bool:
    """Whether an array must not be written to; those of devices always may."""
    return isinstance(x, np.ndarray) and not x.flags.writeable


def address_of(x: Any) -> int:
    """Of an array's first element."""
    address: int = x.ctypes.data if isinstance(x, np.ndarray) else x.data.ptr
    return address


def may_share_memory(x: Any, y: Any) -> bool:
    """Whether the memory that two arrays span overlaps."""
    if device_of(type(x)) != device_of(type(y)):
        return False
    if isinstance(x, np.ndarray):
        return np.may_share_memory(x, y)
    (low, high), (other_low, other_high) = _bounds(x), _bounds(y)
    return low < other_high and other_low < high


def _bounds(x: Any) -> tuple[int, int]:
    """The bytes that an array spans."""
    steps = [(n - 1) * step for n, step in zip(x.shape, x.strides)]
    first = address_of(x) + sum(step for step in steps if step < 0)
    return first, first + sum(map(abs, steps)) + x.dtype.itemsize if x.size else first


def device_for(chosen: str | None, homes: Collection[str | None]) -> str | None:
    """The device that a function runs on: the one that was chosen, or that of its arrays, which
    are at `homes`.

    Raises:
        ArgumentError: for arrays of another device, or of several where none was chosen.
    """
    others = set(homes) - {None, chosen}
    if chosen is None and others and None in homes:
        raise errors.ArgumentError(
            "arrays of NumPy together with arrays of CuPy",
            why="where the function is to run cannot be told",
            remedy='pass arrays of one kind; with jit(fn, device="cuda") NumPy\'s are uploaded',
        )
    if chosen is not None and others:
        raise errors.ArgumentError(
            f'an array of CuPy, for a function of device="{chosen}"',
            remedy="cupy.asnumpy(x), or leave device= out: the function runs where its arrays are",
        )
    return chosen or next(iter(others), None)
