"""Arguments that share memory, for functions that change arguments.

    f(a, a)             the same tracer twice
    f(a[1:], a[:-1])    views of one input, which is the array that both are parts of

Arrays of which none shares memory with one that is changed are told apart by their types alone. The
others are traced again as views of the array whose memory it is, so that the program reads what it
has written, as NumPy does.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jitnet import errors
from jitnet.frontend.device_arrays import address_of, is_array, is_read_only, may_share_memory


@dataclass(frozen=True)
class Part:
    """Where an argument lies in the array whose memory it is part of.

    Attributes:
        leaf: the argument; `group` the least of those that share the memory.
        dtype, shape: of the whole array, which is C-contiguous.
        starts, sizes, steps: of the box that the argument is.
        kept: the box's axes that the argument has, in its order; others have extent 1.
    """

    leaf: int
    group: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    starts: tuple[int, ...]
    sizes: tuple[int, ...]
    steps: tuple[int, ...]
    kept: tuple[int, ...]


Pattern = tuple[Part, ...]


def pattern_of(leaves: Sequence[Any], captured: Sequence[Any], changed: Collection[int]) -> Pattern:
    """How the arguments share memory with those that are changed; empty where none does.

    Args:
        captured: arrays that the function reads from outside, or writes to.

    Raises:
        MutationError: where they do in a way that has no box.
    """
    arrays = [(i, x) for i, x in enumerate(leaves) if is_array(x) and x.size]
    for array in captured:
        if is_array(array) and any(may_share_memory(array, x) for _, x in arrays):
            raise errors.MutationError(
                "an argument shares memory with an array that the function reads from outside, and "
                "one of them is changed",
                remedy="pass both as arguments, or a copy of one of them",
            )
    if len(arrays) < 2:
        return ()
    groups: dict[int, list[int]] = {}
    for i, x in arrays:
        groups.setdefault(id(owner_of(x)), []).append(i)
    parts: list[Part] = []
    for group in groups.values():
        if len(group) > 1 and _overlap([leaves[i] for i in group], [i in changed for i in group]):
            shape = _shape([leaves[i] for i in group])
            parts += [_part(i, group[0], leaves[i], shape) for i in group]
    return tuple(parts)


def owner_of(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The array whose memory x is a part of."""
    owner: Any = x
    while is_array(owner.base):
        owner = owner.base
    found: np.ndarray[Any, Any] = owner
    return found


def whole_of(x: np.ndarray[Any, Any], shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """The array whose memory x is a part of, in this shape."""
    return owner_of(x).reshape(-1, order="A").reshape(shape)


def _shape(arrays: Sequence[np.ndarray[Any, Any]]) -> tuple[int, ...]:
    """A shape of the whole memory of which all of these are boxes, as far as their strides tell."""
    whole = owner_of(arrays[0])
    item = whole.itemsize
    strides = {abs(s) for x in arrays for s, n in zip(x.strides, x.shape) if n > 1 and s}
    shape: list[int] = []
    left = whole.nbytes
    for stride in sorted(strides | {item}, reverse=True):
        if left % stride:
            continue
        shape.append(left // stride)
        left = stride
    return tuple(shape)


def _overlap(arrays: Sequence[np.ndarray[Any, Any]], changed: Sequence[bool]) -> bool:
    """Whether one that is changed shares memory with another one."""
    return any(
        may_share_memory(x, y)
        for i, x in enumerate(arrays)
        for j, y in enumerate(arrays)
        if i < j and (changed[i] or changed[j])
    )


def _part(leaf: int, group: int, x: np.ndarray[Any, Any], shape: tuple[int, ...]) -> Part:
    owner = owner_of(x)
    plain = type(owner) is type(x) and owner.dtype == x.dtype
    contiguous = owner.flags.c_contiguous or owner.flags.f_contiguous
    whole = whole_of(x, shape) if plain and contiguous and not is_read_only(owner) else owner
    found = _box(x, whole) if plain else None
    if found is None:
        raise errors.MutationError(
            f"arguments that share memory, of which one is changed ({x.dtype}{list(x.shape)})",
            why="how they lie in the memory is neither a box nor every n-th element of one",
            remedy="pass a copy of one of them",
        )
    starts, sizes, steps, kept = found
    return Part(leaf, group, whole.dtype, whole.shape, starts, sizes, steps, kept)


def _box(x: Any, whole: Any) -> Any:
    """Starts, sizes, steps, and the axis of the whole for each of x's."""
    if not whole.flags.c_contiguous:
        return None
    offset = address_of(x) - address_of(whole)
    if offset % x.itemsize:
        return None
    starts = [int(i) for i in np.unravel_index(offset // x.itemsize, whole.shape)]
    sizes, steps = [1] * whole.ndim, [1] * whole.ndim
    kept: list[int] = []
    for extent, stride in zip(x.shape, x.strides):
        axis = _axis_of(stride, whole, kept)
        if extent == 1 and axis is None:
            axis = next((a for a in range(whole.ndim) if a not in kept), None)
        if axis is None:
            return None
        kept.append(axis)
        sizes[axis] = extent
        steps[axis] = stride // whole.strides[axis] if extent > 1 else 1
        last = starts[axis] + (extent - 1) * steps[axis]
        if not 0 <= last < whole.shape[axis]:
            return None
    return tuple(starts), tuple(sizes), tuple(steps), tuple(kept)


def _axis_of(stride: int, whole: Any, taken: Sequence[int]) -> int | None:
    """The axis of the whole along which so many bytes are a step."""
    for axis in range(whole.ndim):
        if axis in taken or whole.shape[axis] == 1:
            continue
        fits = stride and abs(stride) < whole.strides[axis] * whole.shape[axis]
        if fits and stride % whole.strides[axis] == 0:
            return axis
    return None
