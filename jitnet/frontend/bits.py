"""NumPy's functions between bits and bytes: packbits, unpackbits.

np.unpackbits(x)     each byte shifted by 7, 6, ... 0, and its lowest bit taken
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from jitnet import errors
from jitnet.frontend.dims import normal_axis, static_shape
from jitnet.frontend.either import either
from jitnet.frontend.promotion import as_array
from jitnet.frontend.tracer import Tracer


def _last_axis(a: Any, axis: Any) -> tuple[Tracer, int]:
    """The array with the axis at its end, and where that was; flattened without one."""
    x = as_array(a)
    if axis is None:
        return x.reshape(-1), 0
    place = normal_axis(axis, x.ndim)
    return either(np.moveaxis, x, place, -1), place


def _weights(order: Any) -> Any:
    if order not in ("big", "little"):
        raise errors.ValueRefusedError("'order' must be either 'little' or 'big'")
    powers = np.arange(8, dtype=np.uint8)
    return powers[::-1] if order == "big" else powers


def packbits(a: Any, /, axis: Any = None, bitorder: str = "big") -> Any:
    """`np.packbits`: eight elements, by their truth, make a byte; the last one is filled up with 0.

    Raises:
        DTypeError: for what is neither bools nor integers.
    """
    x, place = _last_axis(a, axis)
    shifts = _weights(bitorder)
    if x.value.dtype.kind not in "biu":
        raise errors.DTypeError("Expected an input array of integer or boolean data type")
    *outer, n = static_shape(x, "np.packbits")
    whole = -(-n // 8)
    bits = (x != 0).astype(np.uint8)
    wide = either(np.pad, bits, [*[(0, 0)] * len(outer), (0, 8 * whole - n)])
    bytes_ = (wide.reshape(*outer, whole, 8) << shifts).sum(axis=-1, dtype=np.uint8)
    return either(np.moveaxis, bytes_, -1, place)


def unpackbits(a: Any, /, axis: Any = None, count: Any = None, bitorder: str = "big") -> Any:
    """`np.unpackbits`: each byte makes eight elements; `count` of them are kept.

    Raises:
        DTypeError: for another dtype than uint8.
    """
    x, place = _last_axis(a, axis)
    shifts = _weights(bitorder)
    if x.dtype != np.uint8:
        raise errors.DTypeError("Expected an input array of unsigned byte data type")
    *outer, n = static_shape(x, "np.unpackbits")
    bits = ((x.reshape(*outer, n, 1) >> shifts) & 1).reshape(*outer, 8 * n)
    if count is not None:
        bits = _counted(bits, 8 * n, operator.index(count))
    return either(np.moveaxis, bits, -1, place)


def _counted(bits: Any, n: int, count: int) -> Any:
    """So many bits; zeros behind those that there are. A negative count leaves out the last ones.

    Raises:
        ValueRefusedError: for a negative count of more than there are.
    """
    if count < -n:
        raise errors.ValueRefusedError(f"-count larger than number of elements: {count}")
    if count <= n:
        return bits[..., :count]
    return either(np.pad, bits, [*[(0, 0)] * (bits.ndim - 1), (0, count - n)])


TABLE: dict[Any, Callable[..., Any]] = {np.packbits: packbits, np.unpackbits: unpackbits}
