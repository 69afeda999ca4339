"""Arrays that live on a GPU, told from NumPy's without importing the library that they are of.

    device_of(type(x))            "cuda" for CuPy's, None for all else
    home_of(x)                    "cuda:1" for those on the second GPU
    f(x)                          x: f64[8] on cuda:1     what `explain` says of such an argument

They go the way of NumPy's arrays: same dtypes, same views, changed in place. Results come as arrays
of the device where an argument, or an array that the function reads from outside, is one.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from jitnet import errors

MISSED: Any = object()
"""What an entry for calls of one kind answers to a call of another kind."""

_NAMES = {("cupy", "ndarray"): "cuda"}
_DECLARED: dict[type, str] = {}


def device_of(cls: type) -> str | None:
    """The device whose arrays are of this class; None where there is none."""
    return _DECLARED.get(cls) or _NAMES.get((cls.__module__, cls.__name__))


def home_of(x: Any) -> str | None:
    """The device that an array is on; None for what is no array of a device."""
    kind = device_of(type(x))
    return f"cuda:{x.data.device_id}" if kind == "cuda" else kind


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
    first, other_first = address_of(x), address_of(y)
    (low, high), (other_low, other_high) = span_of(x), span_of(y)
    return first + low < other_first + other_high and other_first + other_low < first + high


def span_of(x: Any) -> tuple[int, int]:
    """The bytes that an array spans, from its first element on."""
    steps = [(n - 1) * step for n, step in zip(x.shape, x.strides)]
    low = sum(step for step in steps if step < 0)
    return low, low + sum(map(abs, steps)) + x.dtype.itemsize if x.size else low


def device_for(chosen: str | None, homes: Collection[str | None]) -> str | None:
    """The device that a function runs on: the one that was chosen, or that of its arrays, which
    are at `homes`. Where "cuda" was chosen, any GPU will do.

    Raises:
        ArgumentError: for arrays of another device, or of several.
    """
    there = sorted({home for home in homes if home is not None})
    if len(there) > 1:
        raise errors.ArgumentError(
            f"arrays on several devices: {', '.join(there)}",
            why="a function runs on one device, and reads memory of this one alone",
            remedy="with cupy.cuda.Device(0): x = cupy.asarray(x), for those that are elsewhere",
        )
    home = there[0] if there else None
    if chosen is None and home is not None and None in homes:
        raise errors.ArgumentError(
            "arrays of NumPy together with arrays of CuPy",
            why="where the function is to run cannot be told",
            remedy='pass arrays of one kind; with jit(fn, device="cuda") NumPy\'s are uploaded',
        )
    if chosen is None or home is None or home in (chosen, f"{chosen}:{home.partition(':')[2]}"):
        return home or chosen
    if chosen.partition(":")[0] == home.partition(":")[0]:
        raise errors.ArgumentError(
            f'an array on {home}, for a function of device="{chosen}"',
            remedy='arrays of that GPU; or device="cuda", the one that they are on',
        )
    raise errors.ArgumentError(
        f'an array of CuPy, for a function of device="{chosen}"',
        remedy="cupy.asnumpy(x), or leave device= out: the function runs where its arrays are",
    )
