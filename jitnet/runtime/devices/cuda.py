"""The device "cuda": an NVIDIA GPU, through CuPy.

    device = CudaDevice()
    kernel = device.load(text).kernel("f_kernel")

NVRTC compiles a translation unit for the GPU at hand, without contraction and without flushing
denormals to zero, so that results are the CPU's; CuPy's pool has the memory, the default stream the
order.
"""

from __future__ import annotations

import ctypes
import threading
from typing import Any

import numpy as np

from jitnet.errors import NotAvailableError
from jitnet.runtime.devices.device import Array, Memory

OPTIONS = (
    *("-std=c++17", "-default-device", "-fmad=false", "-ftz=false"),
    *("-prec-div=true", "-prec-sqrt=true"),
)
"""What NVRTC is told: arithmetic as IEEE has it."""


class _Memory:
    """A block of CuPy's pool."""

    def __init__(self, pointer: Any, size: int) -> None:
        self.pointer = pointer
        self.size = size

    @property
    def address(self) -> int:
        return int(self.pointer.ptr)


class _Module:
    def __init__(self, module: Any) -> None:
        self._module = module

    def kernel(self, name: str) -> Any:
        return self._module.get_function(name)


class CudaDevice:
    """The GPU that is CuPy's current device."""

    name = "cuda"
    most_blocks = 4096

    def __init__(self) -> None:
        try:
            import cupy
        except ImportError as error:
            raise NotAvailableError(
                'device="cuda" needs CuPy, which is not installed',
                remedy='pip install "jitnet[cuda13]" (or cuda12, as the driver has it)',
            ) from error
        try:
            count = cupy.cuda.runtime.getDeviceCount()
        except cupy.cuda.runtime.CUDARuntimeError as error:
            raise NotAvailableError(
                f'device="cuda" finds no GPU that it can use: {error}',
                remedy='install NVIDIA\'s driver (see nvidia-smi), or take device="cpusim"',
            ) from error
        if not count:
            raise NotAvailableError(
                'device="cuda" finds no GPU', remedy='take device="cpusim", or leave it out'
            )
        self._cupy = cupy
        self._modules: dict[str, _Module] = {}
        self._lock = threading.Lock()

    def allocate(self, size: int) -> Memory:
        try:
            return _Memory(self._cupy.cuda.alloc(max(size, 1)), size)
        except self._cupy.cuda.memory.OutOfMemoryError as error:
            raise MemoryError(str(error)) from None

    def upload(self, memory: Memory, offset: int, data: Array) -> None:
        flat = np.frombuffer(data.tobytes("A"), np.uint8)
        if flat.size:
            source = ctypes.c_void_p(flat.ctypes.data)
            self._at(memory, offset).copy_from_host(source, flat.size)

    def download(self, memory: Memory, offset: int, size: int) -> Array:
        data = np.empty(size, np.uint8)
        if size:
            self._at(memory, offset).copy_to_host(ctypes.c_void_p(data.ctypes.data), size)
        return data

    def copy(
        self, target: Memory, target_offset: int, source: Memory, offset: int, size: int
    ) -> None:
        if size:
            start = self._at(source, offset)
            self._at(target, target_offset).copy_from_device(start, size)

    def _at(self, memory: Memory, offset: int) -> Any:
        assert isinstance(memory, _Memory)
        return memory.pointer + offset

    def load(self, text: str) -> _Module:
        with self._lock:
            if text not in self._modules:
                module = self._cupy.cuda.function.Module()
                module.load(self._compiled(text))
                self._modules[text] = _Module(module)
            return self._modules[text]

    def _compiled(self, text: str) -> bytes:
        nvrtc = self._cupy.cuda.nvrtc
        capability = self._cupy.cuda.Device().compute_capability
        program = nvrtc.createProgram(text, "kernels.cu", (), ())
        try:
            nvrtc.compileProgram(program, (*OPTIONS, f"-arch=sm_{capability}"))
            cubin: bytes = nvrtc.getCUBIN(program) + b"\0"  # CuPy leaves out the last byte
        except nvrtc.NVRTCError as error:
            log = nvrtc.getProgramLog(program)
            raise AssertionError(f"NVRTC does not take a kernel: {log}") from error
        finally:
            nvrtc.destroyProgram(program)
        return cubin

    def launch(self, kernel: Any, blocks: int, threads: int, slots: bytes) -> None:
        arguments = tuple(np.frombuffer(slots, np.int64))
        kernel((blocks, 1, 1), (threads, 1, 1), arguments)

    def finish(self) -> None:
        """Copies back wait for all that was launched before."""
