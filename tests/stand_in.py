"""A device with arrays of its own, for machines without a GPU: cpusim, and arrays that are not
NumPy's over its memory.

    with standing_in() as device:
        y = jit(f)(given(x))        # kernels run as on cpusim; y is an array of the device's
        device.calls                # ["allocate 256", "launch f_0", ...]

The arrays have what CuPy's have of NumPy's, and refuse, as CuPy's do, to become NumPy's unasked.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np

from jitnet.frontend import device_arrays
from jitnet.ir import DType
from jitnet.runtime.devices import executable
from jitnet.runtime.devices.cpusim import CpuSim
from jitnet.runtime.devices.device import TooLittleMemoryError

NAME = "stand-in"


class Held:
    """An array of the device."""

    gpu = 0

    def __init__(self, host: np.ndarray, base: Held | None = None, owner: Any = None) -> None:
        self._host = host
        self._owner = owner
        self.base = base

    shape = property(lambda self: self._host.shape)
    dtype = property(lambda self: self._host.dtype)
    ndim = property(lambda self: self._host.ndim)
    size = property(lambda self: self._host.size)
    strides = property(lambda self: self._host.strides)
    nbytes = property(lambda self: self._host.nbytes)
    itemsize = property(lambda self: self._host.itemsize)
    T = property(lambda self: self._part(self._host.T))
    __hash__ = None  # type: ignore[assignment]

    @property
    def flags(self) -> Any:
        flags = self._host.flags
        return SimpleNamespace(c_contiguous=flags.c_contiguous, f_contiguous=flags.f_contiguous)

    @property
    def data(self) -> Any:
        return SimpleNamespace(ptr=self._host.ctypes.data, device_id=self.gpu)

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError("Implicit conversion to a NumPy array is not allowed")

    def get(self) -> np.ndarray:
        """A copy on the host."""
        return self._host.copy()

    def item(self) -> Any:
        return self._host.item()

    def tolist(self) -> Any:
        return self._host.tolist()

    def __float__(self) -> float:
        return float(self._host)

    def __bool__(self) -> bool:
        return bool(self._host)

    def __int__(self) -> int:
        return int(self._host)

    def copy(self) -> Held:
        return Held(self._host.copy())

    def view(self) -> Held:
        return self._part(self._host.view())

    def reshape(self, *shape: Any, order: Any = "C") -> Held:
        return self._part(self._host.reshape(*shape, order=order))

    def transpose(self, axes: Any) -> Held:
        return self._part(self._host.transpose(axes))

    def __getitem__(self, key: Any) -> Held:
        return self._part(self._host[key])

    def _part(self, host: Any) -> Held:
        return Held(np.asarray(host), self if self.base is None else self.base)


class Device(CpuSim):
    """The device. It notes what it is asked for.

    Attributes:
        calls: in order.
    """

    name = NAME

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []
        self.room = 1 << 40

    def count(self, what: str) -> int:
        return sum(call.startswith(what) for call in self.calls)

    def allocate(self, size: int) -> Any:
        self.calls.append(f"allocate {size}")
        if size > self.room:
            raise TooLittleMemoryError(f"{size} bytes are too many")
        return super().allocate(size)

    def upload(self, memory: Any, offset: int, data: Any) -> None:
        self.calls.append(f"upload {data.nbytes}")
        super().upload(memory, offset, data)

    def write(self, target: int, source: int, size: int) -> None:
        self.calls.append(f"upload {size}")
        super().write(target, source, size)

    def download(self, memory: Any, offset: int, size: int) -> Any:
        self.calls.append(f"download {size}")
        return super().download(memory, offset, size)

    def launcher(self, kernel: Any, blocks: int, threads: int, slots: bytes) -> Any:
        launch = super().launcher(kernel, blocks, threads, slots)

        def noted() -> None:
            self.calls.append("launch")
            launch()

        return noted

    def capture(self, work: Callable[[], None]) -> Callable[[], None]:
        self.calls.append("capture")
        before = len(self.calls)
        graph = super().capture(work)
        del self.calls[before:]  # those are in the graph

        def replay() -> None:
            self.calls.append("graph")
            graph()

        return replay

    def memory_of(self, x: Any) -> Any:
        # the address, and how much of the memory there is behind it
        return SimpleNamespace(address=x.data.ptr, size=x._host.nbytes, owner=x)

    def array(self, memory: Any, offset: int, dims: Sequence[int], dtype: DType) -> Any:
        size = int(np.prod(dims)) * dtype.itemsize
        bytes_ = self.view(memory)[offset : offset + size]
        return Held(bytes_.view(dtype.numpy).reshape(tuple(dims)), owner=memory)


@contextmanager
def standing_in() -> Iterator[Device]:
    """Functions whose arguments are `Held` run on the device meanwhile."""
    device = Device()
    device_arrays.declare(Held, NAME)
    executable._DEVICES[NAME] = lambda: device
    executable.open_device.cache_clear()
    try:
        yield device
    finally:
        del executable._DEVICES[NAME]
        device_arrays._DECLARED.pop(Held)
        executable.open_device.cache_clear()


@contextmanager
def modules_standing_in(modules: Mapping[str, Any]) -> Iterator[None]:
    """Imports give these meanwhile, or fail where one is None; devices are opened anew."""
    saved = {name: sys.modules.get(name) for name in modules}
    sys.modules.update(modules)
    executable.open_device.cache_clear()
    try:
        yield
    finally:
        for name, module in saved.items():
            if module is None:
                sys.modules.pop(name, None)
            else:
                sys.modules[name] = module
        executable.open_device.cache_clear()


def given(x: Any) -> Held:
    """An array on the device."""
    return Held(np.array(x))
