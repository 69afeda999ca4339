"""Copies of arguments that lie in memory as the originals do.

    a = np.zeros(6)
    x, y = copied([a[::2], a])      x is every other element of y, as before

A function that writes to one argument and reads it through another one does the same to the copies.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from jitnet.frontend.pytree import flatten, unflatten

Array = np.ndarray[Any, Any]


def copied(tree: Any) -> Any:
    """The tree with new containers and new arrays; all else is the same."""
    leaves, structure = flatten(tree)
    arrays = {id(x): x for x in leaves if type(x) is np.ndarray and not x.dtype.hasobject}
    copies = _copies(list(arrays.values()))
    return unflatten(structure, [copies.get(id(x), x) for x in leaves])


def _copies(arrays: list[Array]) -> dict[int, Array]:
    """By identity, the copies of arrays; those that overlap lie in one piece of memory."""
    bounds = sorted(((*np.lib.array_utils.byte_bounds(x), x) for x in arrays), key=lambda b: b[:2])
    found: dict[int, Array] = {}
    group: list[Array] = []
    start = end = 0
    for low, high, x in bounds:
        if group and low >= end:
            found.update(_copies_of_one(group, start, end))
            group = []
        start, end = (min(start, low), max(end, high)) if group else (low, high)
        group.append(x)
    if group:
        found.update(_copies_of_one(group, start, end))
    return found


def _copies_of_one(arrays: list[Array], start: int, end: int) -> dict[int, Array]:
    """Copies of arrays in one copy of the memory that they lie in."""
    memory = np.empty(end - start, np.uint8)
    ctypes.memmove(memory.ctypes.data, start, end - start)
    made = {}
    for x in arrays:
        offset = x.ctypes.data - start
        copy: Array = np.ndarray(x.shape, x.dtype, memory, offset, x.strides)
        copy.flags.writeable = x.flags.writeable
        made[id(x)] = copy
    return made
