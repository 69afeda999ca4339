"""The one interface of devices: memory, modules, launches, library routines.

    x = device.allocate(800)
    device.upload(x, 0, array)
    kernel = device.load(text).kernel("f_kernel")
    launch = device.launcher(kernel, blocks=4, threads=256, slots=packed_arguments)
    launch()
    device.download(x, 0, 800)

Everything on a device happens in the order in which it is asked for; only `download` and
`synchronize` wait. Memory is named by its address where a call must not cost more than the call.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

import numpy as np

from jitnet.ir import DType
from jitnet.runtime.devices.products import Problem

Array = np.ndarray[Any, Any]


Slots = bytes | ctypes.Array[ctypes.c_char]
"""Arguments of launches; those in memory of the caller's are read anew by each launch."""

FEW = 64 * 1024
"""Bytes that CUDA's driver copies before an upload returns."""


class TooLittleMemoryError(MemoryError):
    """A device has no memory of a size that is asked for."""


class Memory(Protocol):
    """Memory of a device, which is given back when nothing refers to it any more.

    Attributes:
        address: of its first byte, as kernels know it; a multiple of 256 where it was allocated.
        size: in bytes.
    """

    @property
    def address(self) -> int: ...

    @property
    def size(self) -> int: ...


class Span(NamedTuple):
    """What a pointer reaches, as library routines get it: an address, and bytes behind it."""

    address: int
    size: int
    dtype: DType


class Module(Protocol):
    """A translation unit, compiled."""

    def kernel(self, name: str) -> Any:
        """What `Device.launcher` takes."""
        ...


class Later(Protocol):
    """Bytes that are on their way to the host."""

    def is_there(self) -> bool: ...

    def data(self) -> bytes:
        """The bytes; waits for them."""
        ...


class Device(Protocol):
    """Attributes:
    name: as users write it.
    most_blocks: of a launch whose loops stride over the grid.
    """

    name: str
    most_blocks: int

    def current(self) -> AbstractContextManager[Any]:
        """Makes it the device of this thread for a while. All else is asked for meanwhile."""
        ...

    def allocate(self, size: int) -> Memory:
        """Uninitialised memory.

        Raises:
            TooLittleMemoryError: where there is none left.
        """
        ...

    def upload(self, memory: Memory, offset: int, data: Array) -> None:
        """Write an array's elements, in the order in which they lie, from a byte on."""
        ...

    def write(self, target: int, source: int, size: int) -> None:
        """Write a few bytes, at most `FEW`, of the host's memory, which may change from then on."""
        ...

    def download(self, memory: Memory, offset: int, size: int) -> Array:
        """So many bytes."""
        ...

    def download_later(self, memory: Memory, offset: int, size: int) -> Later:
        """So many bytes, as they are at this point of the order, without waiting for them."""
        ...

    def synchronize(self) -> None:
        """Wait for all that was asked for."""
        ...

    def copy(self, target: int, source: int, size: int) -> None:
        """Copy bytes within the device, from address to address."""
        ...

    def clear(self, target: int, size: int) -> None:
        """Make bytes zero."""
        ...

    def load(self, text: str, fast_math: bool = False, loader: str = "nvrtc") -> Module:
        """Compile CUDA C++, on a GPU by `Options.loader`.

        Raises:
            NotAvailableError: where there is no compiler.
        """
        ...

    def launcher(self, kernel: Any, blocks: int, threads: int, slots: Slots) -> Callable[[], None]:
        """What runs a kernel of a module with these arguments, 8 bytes each."""
        ...

    def routine(self, name: str) -> Callable[..., None] | None:
        """The routine of `kernel.externs` on this device: a function of `Span`s for its pointers,
        and of numbers; or None where only the host has it."""
        ...

    def abilities(self) -> Collection[str]:
        """What the device's library of products can do (`codegen.cuda.library`), nothing where
        there is none."""
        ...

    def workspace(self, problem: Problem) -> int:
        """Bytes that the library needs for itself to do a product.

        Raises:
            NotAvailableError: where it does not know how.
        """
        ...

    def multiplier(self, problem: Problem, spans: Sequence[Span]) -> Callable[[], None]:
        """What does a product, of memory as `commands.Multiply` names it. It allocates nothing,
        waits for nothing, and may be captured.

        Args:
            spans: A, B, C, what the epilogue reads, and the library's own memory.

        Raises:
            NotAvailableError: where the library does not know how.
        """
        ...

    def capture(self, work: Callable[[], None]) -> Callable[[], None]:
        """The launches, products, copies and clearings that `work` asks for, which are not done
        now, as one function that does them all, with these very addresses and numbers."""
        ...

    def finish(self) -> None:
        """A call of a program is over: report what went wrong in its memory."""
        ...

    # -- arrays of the device's own library, where it has one --------------------------------------

    def memory_of(self, x: Any) -> Memory:
        """The memory of an array of the device, from its first element on."""
        ...

    def array(self, memory: Memory, offset: int, dims: Sequence[int], dtype: DType) -> Any:
        """A C-contiguous array of the device over memory."""
        ...


class Pointers:
    """A kernel's arguments as a launch wants them.

    Attributes:
        array: the address of each.
    """

    def __init__(self, slots: Slots) -> None:
        if isinstance(slots, bytes):
            slots = ctypes.create_string_buffer(slots, max(len(slots), 8))
        self._memory = slots
        start = ctypes.addressof(self._memory)
        addresses = range(start, start + len(slots), 8)
        self.array = (ctypes.c_void_p * (len(slots) // 8))(*addresses)
