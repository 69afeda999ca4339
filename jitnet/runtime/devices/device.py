"""The one interface of devices: memory, modules, launches.

    x = device.allocate(800)
    device.upload(x, 0, array)
    kernel = device.load(text).kernel("f_kernel")
    device.launch(kernel, blocks=4, threads=256, slots=packed_arguments)
    device.download(x, 0, 800)

Everything on a device happens in the order in which it is asked for; only `download` waits.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

Array = np.ndarray[Any, Any]


class Memory(Protocol):
    """Memory of a device, which is given back when nothing refers to it any more.

    Attributes:
        address: of its first byte, as kernels know it; a multiple of 256.
        size: in bytes.
    """

    @property
    def address(self) -> int: ...

    @property
    def size(self) -> int: ...


class Module(Protocol):
    """A translation unit, compiled."""

    def kernel(self, name: str) -> Any:
        """What `Device.launch` takes."""
        ...


class Device(Protocol):
    """Attributes:
    name: as users write it.
    most_blocks: of a launch whose loops stride over the grid.
    """

    name: str
    most_blocks: int

    def allocate(self, size: int) -> Memory:
        """Uninitialised memory.

        Raises:
            MemoryError: where there is none left.
        """
        ...

    def upload(self, memory: Memory, offset: int, data: Array) -> None:
        """Write an array's elements, in the order in which they lie, from a byte on."""
        ...

    def download(self, memory: Memory, offset: int, size: int) -> Array:
        """So many bytes."""
        ...

    def copy(
        self, target: Memory, target_offset: int, source: Memory, offset: int, size: int
    ) -> None:
        """Copy bytes within the device."""
        ...

    def load(self, text: str) -> Module:
        """Compile CUDA C++.

        Raises:
            NotAvailableError: where there is no compiler.
        """
        ...

    def launch(self, kernel: Any, blocks: int, threads: int, slots: bytes) -> None:
        """Run a kernel of a module. `slots` are its arguments, 8 bytes each."""
        ...

    def finish(self) -> None:
        """A call of a program is over: report what went wrong in its memory."""
        ...
