"""The device "cuda": an NVIDIA GPU, through CuPy.

    device = CudaDevice()
    kernel = device.load(text).kernel("f_kernel")

NVRTC compiles a translation unit for the GPU at hand, without contraction and without flushing
denormals to zero, so that results are the CPU's, or CuPy's RawModule has it compiled, which flushes
them; CuPy's pool has the memory, its current stream the order, its arrays are what users pass, and
CUDA graphs are captured by its streams.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from typing import Any

import numpy as np

from jitnet.errors import NotAvailableError
from jitnet.ir import DType
from jitnet.runtime.devices import cublaslt
from jitnet.runtime.devices.device import (
    FEW,
    Array,
    Memory,
    Pointers,
    Slots,
    Span,
    TooLittleMemoryError,
)
from jitnet.runtime.devices.libraries import Libraries
from jitnet.runtime.devices.products import Problem

OPTIONS = (
    *("-std=c++17", "-default-device", "-fmad=false", "-ftz=false"),
    *("-prec-div=true", "-prec-sqrt=true"),
)
"""What NVRTC is told: arithmetic as IEEE has it."""

FAST_OPTIONS = (
    *("-std=c++17", "-default-device", "-fmad=true", "-ftz=true"),
    *("-prec-div=false", "-prec-sqrt=false"),
)
"""The same for `fast_math`."""

RAW_MODULES_OWN = ("-default-device", "-ftz=false", "-ftz=true")
"""What CuPy's RawModule has NVRTC told by itself: the first and the last one, always."""


class _Memory:
    """A block of CuPy's pool, or the memory of an array of CuPy's."""

    __slots__ = ("address", "pointer", "size")

    def __init__(self, pointer: Any, size: int) -> None:
        self.pointer = pointer
        self.size = size
        self.address: int = pointer.ptr


class _Module:
    """Args:
    get_function: CuPy's Function of a kernel's name.
    """

    def __init__(self, get_function: Callable[[str], Any]) -> None:
        self._get_function = get_function
        self._kernels: dict[str, Any] = {}

    def kernel(self, name: str) -> Any:
        if name not in self._kernels:
            self._kernels[name] = self._get_function(name)
        return self._kernels[name]


class _Later:
    """Bytes on their way to memory of the host's that the GPU writes to."""

    def __init__(self, pinned: Any, size: int, event: Any) -> None:
        self._pinned = pinned
        self._size = size
        self._event = event

    def is_there(self) -> bool:
        return bool(self._event.done)

    def data(self) -> bytes:
        self._event.synchronize()
        return ctypes.string_at(self._pinned.ptr, self._size)


_AS_IT_IS = nullcontext()


class CudaDevice:
    """A GPU.

    Args:
        number: CUDA's, of the device; None for CuPy's current device.

    Attributes:
        number: the same.

    Raises:
        NotAvailableError: where there is no such GPU, or something that it needs is missing.
    """

    most_blocks = 4096

    def __init__(self, number: int | None = None) -> None:
        self._cupy = usable_cupy()
        self._runtime = self._cupy.cuda.runtime
        count = self._runtime.getDeviceCount()
        if number is not None and number >= count:
            raise NotAvailableError(
                f'device="cuda:{number}": the last GPU is cuda:{count - 1}',
                remedy='device="cuda", for the one that the arrays are on',
            )
        self._is_alone = count == 1
        self.number: int = self._runtime.getDevice() if number is None else number
        self.name = "cuda" if self._is_alone else f"cuda:{self.number}"
        self._alloc, self._stream = self._cupy.cuda.alloc, self._cupy.cuda.get_current_stream
        self._libraries = Libraries(self._cupy)
        self._modules: dict[tuple[str, bool, str], _Module] = {}
        self._capturing: Any = None  # the stream, once there is one
        self._lock = threading.RLock()

    def current(self) -> AbstractContextManager[Any]:
        if self._is_alone or self._runtime.getDevice() == self.number:
            return _AS_IT_IS
        device: AbstractContextManager[Any] = self._cupy.cuda.Device(self.number)
        return device

    # -- memory -----------------------------------------------------------------------------------

    def allocate(self, size: int) -> Memory:
        try:
            return _Memory(self._alloc(size or 1), size)
        except self._cupy.cuda.memory.OutOfMemoryError as error:
            raise TooLittleMemoryError(str(error)) from None

    def upload(self, memory: Memory, offset: int, data: Array) -> None:
        flat = np.frombuffer(data.tobytes("A"), np.uint8)
        if not flat.size:
            return
        kind, stream = self._runtime.memcpyHostToDevice, self._stream()
        target = memory.address + offset
        self._runtime.memcpyAsync(target, flat.ctypes.data, flat.size, kind, stream.ptr)
        if flat.size > FEW:
            stream.synchronize()  # `flat` goes

    def write(self, target: int, source: int, size: int) -> None:
        kind = self._runtime.memcpyHostToDevice
        self._runtime.memcpyAsync(target, source, size, kind, self._stream().ptr)

    def download(self, memory: Memory, offset: int, size: int) -> Array:
        data = np.empty(size, np.uint8)
        if size:
            stream = self._stream()
            self._download(data.ctypes.data, memory.address + offset, size, stream)
            stream.synchronize()
        return data

    def download_later(self, memory: Memory, offset: int, size: int) -> _Later:
        stream, event = self._stream(), self._cupy.cuda.Event()
        pinned = self._cupy.cuda.alloc_pinned_memory(size)
        self._download(pinned.ptr, memory.address + offset, size, stream)
        event.record(stream)
        return _Later(pinned, size, event)

    def _download(self, target: int, source: int, size: int, stream: Any) -> None:
        kind = self._runtime.memcpyDeviceToHost
        self._runtime.memcpyAsync(target, source, size, kind, stream.ptr)

    def synchronize(self) -> None:
        self._stream().synchronize()

    def copy(self, target: int, source: int, size: int) -> None:
        if size:
            kind = self._runtime.memcpyDeviceToDevice
            self._runtime.memcpyAsync(target, source, size, kind, self._stream().ptr)

    def clear(self, target: int, size: int) -> None:
        if size:
            self._runtime.memsetAsync(target, 0, size, self._stream().ptr)

    # -- kernels ----------------------------------------------------------------------------------

    def load(self, text: str, fast_math: bool = False, loader: str = "nvrtc") -> _Module:
        options = FAST_OPTIONS if fast_math else OPTIONS
        with self._lock:
            key = text, fast_math, loader
            if key not in self._modules:
                capability = self._capability()
                if loader == "rawmodule":
                    get_function = self._raw_module(text, options)
                else:
                    get_function = self._module(text, (*options, f"-arch=sm_{capability}"))
                self._modules[key] = _Module(get_function)
            return self._modules[key]

    def _capability(self) -> str:
        """That of this GPU, if NVRTC compiles for it."""
        capability: str = self._cupy.cuda.Device().compute_capability
        if int(capability) not in self._cupy.cuda.nvrtc.getSupportedArchs():
            raise NotAvailableError(
                f"NVRTC {compiler_of(self._cupy)} does not compile for this GPU, sm_{capability}",
                remedy='a CuPy for a newer CUDA, pip install -U "jitnet[cuda]"; for a GPU older '
                'than sm_75, pip install "jitnet[cuda12]"',
            )
        return capability

    def _raw_module(self, text: str, options: Sequence[str]) -> Callable[[str], Any]:
        """CuPy finds out the capability itself, and looks into its cache on the disk first."""
        options = tuple(option for option in options if option not in RAW_MODULES_OWN)
        module = self._cupy.RawModule(code=text, options=options)
        module.compile()  # not as late as in the first launch
        return lambda name: module.get_function(name).kernel

    def _module(self, text: str, options: Sequence[str]) -> Callable[[str], Any]:
        module = self._cupy.cuda.function.Module()
        module.load(self._compiled(text, options))
        get_function: Callable[[str], Any] = module.get_function
        return get_function

    def _compiled(self, text: str, options: Sequence[str]) -> bytes:
        nvrtc = self._cupy.cuda.nvrtc
        program = nvrtc.createProgram(text, "kernels.cu", (), ())
        try:
            nvrtc.compileProgram(program, tuple(options))
            cubin: bytes = nvrtc.getCUBIN(program) + b"\0"  # CuPy leaves out the last byte
        except nvrtc.NVRTCError as error:
            log = nvrtc.getProgramLog(program)
            raise AssertionError(f"NVRTC does not take a kernel: {log}") from error
        finally:
            nvrtc.destroyProgram(program)
        return cubin

    def launcher(self, kernel: Any, blocks: int, threads: int, slots: Slots) -> Callable[[], None]:
        """By the driver's own call: CuPy's convenient one takes ten times as long."""
        pointers = Pointers(slots)
        launch, function = self._cupy.cuda.driver.launchKernel, kernel.ptr
        stream = self._stream

        def run() -> None:
            arguments = ctypes.addressof(pointers.array)
            launch(function, blocks, 1, 1, threads, 1, 1, 0, stream().ptr, arguments, 0)

        return run

    def routine(self, name: str) -> Callable[..., None] | None:
        return self._libraries.routine(name)

    @cached_property
    def _products(self) -> cublaslt.CublasLt | None:
        return cublaslt.opened(self._cupy)

    def abilities(self) -> Collection[str]:
        return self._products.abilities if self._products else ()

    def workspace(self, problem: Problem) -> int:
        assert self._products is not None, "there is no library of products"
        return self._products.workspace(problem)

    def multiplier(self, problem: Problem, spans: Sequence[Span]) -> Callable[[], None]:
        assert self._products is not None, "there is no library of products"
        return self._products.multiplier(problem, spans)

    def capture(self, work: Callable[[], None]) -> Callable[[], None]:
        with self._lock:
            if self._capturing is None:
                self._capturing = self._cupy.cuda.Stream(non_blocking=True)
            stream = self._capturing
            with stream:
                stream.begin_capture()
                try:
                    work()
                finally:
                    graph = stream.end_capture()
        launch: Callable[[], None] = graph.launch
        return launch

    def finish(self) -> None:
        """What follows on the stream waits for all that was launched before."""

    # -- arrays -----------------------------------------------------------------------------------

    def memory_of(self, x: Any) -> Memory:
        assert x.data.device_id == self.number
        if x.flags.c_contiguous:
            return _Memory(x.data, x.nbytes)
        spanned = sum(abs(step) * (n - 1) for n, step in zip(x.shape, x.strides))
        return _Memory(x.data, spanned + x.dtype.itemsize if x.size else 0)

    def array(self, memory: Memory, offset: int, dims: Sequence[int], dtype: DType) -> Any:
        assert isinstance(memory, _Memory)
        pointer = memory.pointer + offset if offset else memory.pointer
        return self._cupy.ndarray(dims, dtype.numpy, pointer)  # by name is twice as slow


def usable_cupy() -> Any:
    """CuPy, where it, a driver, a GPU and the compiler of kernels are there.

    Raises:
        NotAvailableError: with what is missing, and how to install it.
    """
    cupy = installed_cupy()
    driver_of(cupy)
    compiler_of(cupy)
    return cupy


def installed_cupy() -> Any:
    """The package CuPy."""
    try:
        import cupy
    except ImportError as error:
        raise NotAvailableError(
            'device="cuda" needs CuPy, which is not installed',
            remedy='pip install "jitnet[cuda]"',
        ) from error
    return cupy


def driver_of(cupy: Any) -> str:
    """Which CUDA the driver is for, if it is there, can be used by this CuPy, and has a GPU."""
    try:
        runtime = cupy.cuda.runtime
        driver, wanted = runtime.driverGetVersion(), runtime.runtimeGetVersion()
    except (ImportError, OSError) as error:
        raise NotAvailableError(
            f"CUDA's runtime cannot be loaded: {error}", remedy='pip install "jitnet[cuda]"'
        ) from error
    if not driver:
        raise NotAvailableError(
            'device="cuda" finds no NVIDIA driver',
            remedy='install NVIDIA\'s driver (nvidia-smi shows it), or take device="cpusim"',
        )
    if driver // 1000 < wanted // 1000:
        major = driver // 1000
        raise NotAvailableError(
            f"NVIDIA's driver is too old: it is for CUDA {_version(driver)}, and CuPy for CUDA "
            f"{_version(wanted)}",
            remedy=f"a newer driver, or pip install cupy-cuda{major}x in the place of this CuPy",
        )
    try:
        count = runtime.getDeviceCount()
    except runtime.CUDARuntimeError as error:
        raise NotAvailableError(
            f'device="cuda" finds no GPU that it can use: {error}',
            remedy='see what nvidia-smi says, or take device="cpusim"',
        ) from error
    if not count:
        raise NotAvailableError(
            'device="cuda" finds no GPU', remedy='take device="cpusim", or leave it out'
        )
    return f"for CUDA {_version(driver)}"


def compiler_of(cupy: Any) -> str:
    """Which NVRTC there is."""
    try:
        major, minor = cupy.cuda.nvrtc.getVersion()
    except (ImportError, OSError, RuntimeError) as error:
        major = cupy.cuda.runtime.runtimeGetVersion() // 1000
        raise NotAvailableError(
            f"NVRTC, the compiler of kernels, cannot be loaded: {error}",
            remedy=f'pip install "cupy-cuda{major}x[ctk]"',
        ) from error
    return f"{major}.{minor}"


def _version(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}"
