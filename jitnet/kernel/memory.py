"""Memory as the kernel interpreter sees it: regions of bytes, and strided views that stay inside.

    x = of_array(np.zeros((4, 3)))         # a Buffer over the array's own memory
    row = x.view(3, (3,), (1,))            # elements 3, 4, 5 of the region
    row.read((5,))                         # IndexError

Fresh memory is poison: 0xCC bytes, nan in floats, True in bools. A read or write outside of a
buffer, a view that leaves its region, and any use after `free` is an error in the program that made
the kernel, and raises.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.array_utils import byte_bounds
from numpy.lib.stride_tricks import as_strided

from jitnet.ir import DType
from jitnet.ir import types as T

Array = np.ndarray[Any, Any]


@dataclass(eq=False)
class Region:
    """A range of bytes, and whether they may still be used."""

    bytes: Array
    alive: bool = True

    @property
    def start(self) -> int:
        return int(self.bytes.__array_interface__["data"][0])


@dataclass(frozen=True, eq=False)
class Buffer:
    """A strided array inside a region."""

    region: Region
    array: Array

    def read(self, index: Sequence[int]) -> Any:
        """The element there.

        Raises:
            IndexError: an index is out of bounds.
        """
        return self._live()[self._checked(index)]

    def write(self, index: Sequence[int], value: Any) -> None:
        """Set the element there.

        Raises:
            IndexError: an index is out of bounds.
            ValueError: the array is read-only.
        """
        self._live()[self._checked(index)] = value

    def view(self, offset: int, dims: Sequence[int], strides: Sequence[int]) -> Buffer:
        """The region's elements at `offset` from this buffer's first one, with these strides.

        Raises:
            IndexError: the view has elements outside of the region.
        """
        array = self._live()
        size = array.dtype.itemsize
        steps = [stride * size for stride in strides]
        first = array.__array_interface__["data"][0] + offset * size - self.region.start
        if 0 in dims:
            return Buffer(self.region, np.empty(tuple(dims), array.dtype))
        reach = [(dim - 1) * step for dim, step in zip(dims, steps)]
        low = first + sum(r for r in reach if r < 0)
        high = first + sum(r for r in reach if r > 0) + size
        if low < 0 or high > self.region.bytes.size:
            raise IndexError(f"a view of dims {dims} leaves its memory by offset {offset}")
        viewed = np.ndarray(tuple(dims), array.dtype, self.region.bytes, first, tuple(steps))
        viewed.flags.writeable = array.flags.writeable
        return Buffer(self.region, viewed)

    def pointer(self) -> Array:
        """The region's elements from this buffer's first one on, as a flat array."""
        array = self._live()
        first = array.__array_interface__["data"][0] - self.region.start
        count = (self.region.bytes.size - first) // array.dtype.itemsize if array.size else 0
        return np.ndarray((count,), array.dtype, self.region.bytes, first if count else 0)

    def _live(self) -> Array:
        if not self.region.alive:
            raise IndexError("memory used after it was freed")
        return self.array

    def _checked(self, index: Sequence[int]) -> tuple[int, ...]:
        shape = self.array.shape
        if len(index) != len(shape) or not all(0 <= i < d for i, d in zip(index, shape)):
            raise IndexError(f"index {list(index)} is out of bounds of {list(shape)}")
        return tuple(index)


def of_array(array: Array) -> Buffer:
    """A buffer over an array's memory, from its lowest to its highest byte."""
    low, high = byte_bounds(array)
    flipped = tuple(axis for axis, stride in enumerate(array.strides) if stride < 0)
    lowest = np.flip(array, flipped)
    element = as_strided(lowest, (1,), (array.itemsize,), writeable=array.flags.writeable)
    bytes = as_strided(
        element.view(np.uint8),
        (high - low if array.size else 0,),
        (1,),
        writeable=array.flags.writeable,
    )
    return Buffer(Region(bytes), array)


def allocate(dtype: DType, dims: Sequence[int]) -> Buffer:
    """Poisoned C-contiguous memory."""
    count = int(np.prod(dims, dtype=np.int64))
    buffer = of_array(np.empty(count, dtype.numpy).reshape(tuple(dims)))
    poison(buffer)
    return buffer


def poison(buffer: Buffer) -> None:
    """Overwrite all elements with values that show."""
    buffer.region.bytes[...] = 0xCC
    if buffer.array.dtype.kind in "fb":
        buffer.array[...] = np.nan if buffer.array.dtype.kind == "f" else True


def release(buffer: Buffer) -> None:
    """Free the whole region: from now on every use of it raises."""
    poison(buffer)
    buffer.region.alive = False


@dataclass(eq=False)
class Tape:
    """A growing log of records."""

    type: T.TapeType
    records: list[tuple[Buffer, ...]]

    def extent(self, position: int, field: int, axis: int) -> int:
        return int(self._record(position)[field].array.shape[axis])

    def push(self, values: Sequence[Any]) -> None:
        """Append a record; buffers are copied."""
        arrays = (v.array if isinstance(v, Buffer) else np.asarray(v) for v in values)
        self.records.append(tuple(of_array(a.copy()) for a in arrays))

    def reach(self, length: int) -> None:
        """Append records of zeros until there are `length`."""
        while len(self.records) < length:
            boxes = [(t, tuple(d for d in dims if d is not None)) for t, dims in self.type.fields]
            zeros = (np.zeros(dims, dtype.numpy) for dtype, dims in boxes)
            self.records.append(tuple(map(of_array, zeros)))

    def get(self, position: int) -> tuple[Any, ...]:
        """The fields: scalars by value, arrays as they lie there."""
        record = zip(self._record(position), self.type.fields)
        return tuple(b if dims else b.array[()] for b, (_, dims) in record)

    def put(self, position: int, values: Sequence[Any]) -> None:
        """Replace a record, as `push` adds one."""
        self._record(position)
        self.push(values)
        self.records[position] = self.records.pop()

    def prepend(self, values: Sequence[Any]) -> None:
        """Put a record in front."""
        self.push(values)
        self.records.insert(0, self.records.pop())

    def cut(self, start: int, stop: int) -> None:
        """Keep the records from `start` up to `stop`."""
        if not 0 <= start <= stop <= len(self.records):
            raise IndexError(f"records {start} to {stop} of a list of {len(self.records)}")
        self.records[:] = self.records[start:stop]

    def copy_from(self, other: Tape) -> None:
        """Hold the records of another list."""
        copied = [[b.array for b in record] for record in other.records]
        self.records.clear()
        for record in copied:
            self.push(record)

    def slots(self, position: int) -> tuple[Buffer, ...]:
        """The memory of all fields."""
        return self._record(position)

    def _record(self, position: int) -> tuple[Buffer, ...]:
        if not 0 <= position < len(self.records):
            raise IndexError(f"record {position} of a tape of {len(self.records)}")
        return self.records[position]
