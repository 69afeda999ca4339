"""The device "cpusim": generated CUDA C++ on this machine's CPU, compiled by g++.

    device = CpuSim()
    with scheduled(1):                 # threads and blocks the other way round
        device.launcher(kernel, 4, 256, slots)()

It shows what a function becomes on a GPU, and runs it where there is none; fast it is not. Memory
lies between red zones that are looked at after each call, fresh memory and shared memory are poison
(NaN), and a barrier that not all threads of a block reach is an error.
"""

from __future__ import annotations

import atexit
import ctypes
import hashlib
import re
import shutil
import subprocess
import tempfile
import threading
import weakref
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from jitnet.codegen.cuda.library import EVERYTHING
from jitnet.errors import NotAvailableError
from jitnet.ir import DType
from jitnet.kernel.externs import EXTERNS
from jitnet.runtime.devices.device import (
    Array,
    Memory,
    Pointers,
    Slots,
    Span,
    TooLittleMemoryError,
)
from jitnet.runtime.devices.products import Problem, compute

HERE = Path(__file__).parent
POISON = 0xFF
MOST_KEPT = 64 << 20
"""Bytes that the pool keeps."""

ZONE = 256
"""Bytes in front of memory and behind it that nothing may write to."""

_FLAGS = (
    *("-std=c++17", "-shared", "-fPIC", "-w", "-ffp-contract=off", "-fno-strict-aliasing"),
    *("-fsanitize=undefined", "-fno-sanitize-recover=all"),  # says what is undefined, and ends
)
_KERNEL = re.compile(r"__global__ void __launch_bounds__\([\d, ]+\) (\w+)\(")
_LOCK = threading.RLock()
_SCHEDULE = threading.local()
_CAPTURE = threading.local()


@contextmanager
def scheduled(order: int) -> Iterator[None]:
    """Run threads and blocks in another order in this thread: 0 as they are numbered, 1 the other
    way round, from 2 on at random, each number another way."""
    before = getattr(_SCHEDULE, "order", 0)
    _SCHEDULE.order = order
    try:
        yield
    finally:
        _SCHEDULE.order = before


class SimulatedError(AssertionError):
    """A kernel that would be wrong on a GPU: a mistake of the compiler, never of the user's."""


class _Pool:
    """Blocks that nobody uses any more, as CuPy keeps those of a GPU: what a program allocates
    again and again has the same addresses again and again."""

    def __init__(self) -> None:
        self._blocks: defaultdict[int, list[Array]] = defaultdict(list)
        self._bytes = 0
        self._lock = threading.RLock()  # what dies may do so in the middle of this

    def take(self, size: int) -> Array:
        with self._lock:
            if self._blocks[size]:
                self._bytes -= size
                return self._blocks[size].pop()
        return np.empty(size, np.uint8)

    def give(self, block: Array) -> None:
        with self._lock:
            if self._bytes + block.size <= MOST_KEPT:
                self._bytes += block.size
                self._blocks[block.size].append(block)


_POOL = _Pool()


class _Memory:
    """Bytes between red zones."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._all = _POOL.take(size + 2 * ZONE + 256)
        self._all.fill(POISON)
        start = ZONE + -(self._all.ctypes.data + ZONE) % 256
        self.bytes: Array = self._all[start : start + size]
        self.address: int = self.bytes.ctypes.data if size else self._all.ctypes.data + start
        self._start = start

    def __del__(self, pool: _Pool = _POOL) -> None:
        if hasattr(self, "_all"):
            pool.give(self._all)

    def is_intact(self) -> bool:
        """Whether nothing was written outside."""
        before, after = self._all[: self._start], self._all[self._start + self.size :]
        return bool((before == POISON).all() and (after == POISON).all())


class _Module:
    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        self._shared = ctypes.cast(library.shim_shared, ctypes.c_void_p).value

    def kernel(self, name: str) -> tuple[int | None, int | None]:
        """The addresses of the kernel's entry and of what tells the shared memory."""
        entry = getattr(self._library, f"call_{name}")
        return ctypes.cast(entry, ctypes.c_void_p).value, self._shared


class CpuSim:
    """The device. Launches of all threads take turns."""

    name = "cpusim"
    most_blocks = 64

    def __init__(self) -> None:
        self._live: weakref.WeakSet[_Memory] = weakref.WeakSet()

    def allocate(self, size: int) -> Memory:
        try:
            memory = _Memory(size)
        except MemoryError as error:
            raise TooLittleMemoryError(str(error)) from None
        self._live.add(memory)
        return memory

    def current(self) -> AbstractContextManager[None]:
        return nullcontext()

    def upload(self, memory: Memory, offset: int, data: Array) -> None:
        flat = np.frombuffer(data.tobytes("A"), np.uint8)
        self.view(memory)[offset : offset + flat.size] = flat

    def write(self, target: int, source: int, size: int) -> None:
        ctypes.memmove(target, source, size)

    def download(self, memory: Memory, offset: int, size: int) -> Array:
        return self.view(memory)[offset : offset + size].copy()

    def download_later(self, memory: Memory, offset: int, size: int) -> _Now:
        return _Now(self.download(memory, offset, size).tobytes())

    def synchronize(self) -> None:
        """Nothing runs by itself."""

    def copy(self, target: int, source: int, size: int) -> None:
        self._do(lambda: ctypes.memmove(target, source, size))

    def clear(self, target: int, size: int) -> None:
        self._do(lambda: ctypes.memset(target, 0, size))

    def _do(self, work: Callable[[], Any]) -> None:
        """Do it now, or note it where a graph is captured."""
        captured = getattr(_CAPTURE, "works", None)
        if captured is None:
            work()
        else:
            captured.append(work)

    def view(self, memory: Memory) -> Array:
        """The bytes themselves."""
        assert isinstance(memory, _Memory)
        return memory.bytes

    def load(self, text: str, fast_math: bool = False, loader: str = "nvrtc") -> _Module:
        return _Module(_library(text))

    def launcher(self, kernel: Any, blocks: int, threads: int, slots: Slots) -> Callable[[], None]:
        entry, shared = kernel
        pointers = Pointers(slots)

        def run() -> None:
            order = getattr(_SCHEDULE, "order", 0)
            with _LOCK:
                error: bytes = _scheduler()(entry, shared, pointers.array, blocks, threads, order)
            if error:
                raise SimulatedError(error.decode())

        return lambda: self._do(run)

    def routine(self, name: str) -> Callable[..., None] | None:
        return None if name.startswith("host_") else _routine(name)

    def abilities(self) -> Collection[str]:
        return EVERYTHING

    def workspace(self, problem: Problem) -> int:
        return 256

    def multiplier(self, problem: Problem, spans: Sequence[Span]) -> Callable[[], None]:
        *operands, workspace = spans
        is_complex = problem.kinds[0].startswith("c")

        def multiply() -> None:
            a, b, c, *extra = (
                x.view(f"c{2 * x.itemsize}") if is_complex else x for x in map(_elements, operands)
            )
            _elements(workspace)[:] = POISON  # a library may do so
            compute(problem, a, b, c, extra[0] if extra else None)

        return lambda: self._do(multiply)

    def capture(self, work: Callable[[], None]) -> Callable[[], None]:
        works: list[Callable[[], None]] = []
        _CAPTURE.works = works
        try:
            work()
        finally:
            _CAPTURE.works = None

        def graph() -> None:
            for captured in works:
                captured()

        return graph

    def finish(self) -> None:
        if not all(memory.is_intact() for memory in list(self._live)):
            raise SimulatedError("a kernel has written outside of its memory")

    def memory_of(self, x: Any) -> Memory:
        raise AssertionError("the simulated device has no arrays of its own")

    def array(self, memory: Memory, offset: int, dims: Sequence[int], dtype: DType) -> Any:
        raise AssertionError("the simulated device has no arrays of its own")


@dataclass(frozen=True)
class _Now:
    """Bytes that are on the host already."""

    content: bytes

    def is_there(self) -> bool:
        return True

    def data(self) -> bytes:
        return self.content


@cache
def _routine(name: str) -> Callable[..., None]:
    """A library routine by its reference in NumPy, on the memory itself."""
    numpy = EXTERNS[name].numpy

    def call(*arguments: Any) -> None:
        given = [_elements(a) if isinstance(a, Span) else a for a in arguments]
        with np.errstate(all="ignore"), suppress(np.linalg.LinAlgError):
            numpy(*given)  # of a singular matrix, a library makes what the program has checked for

    return call


def _elements(span: Span) -> Array:
    dtype = span.dtype.numpy
    count = span.size // dtype.itemsize
    memory = (ctypes.c_uint8 * (count * dtype.itemsize)).from_address(span.address)
    return np.frombuffer(memoryview(memory), dtype)


# -- compiling -------------------------------------------------------------------------------------


@cache
def folder() -> Path:
    """Where this process keeps what it compiles."""
    folder = tempfile.mkdtemp(prefix="jitnet-cpusim-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def _compiled(source: Path, *flags: str) -> Path:
    compiler = shutil.which("g++")
    if compiler is None:
        raise NotAvailableError(
            'device="cpusim" compiles kernels with g++, which was not found',
            remedy='install g++ (apt install g++), or leave device="cpusim" out',
        )
    library = source.with_suffix(".so")
    command = [compiler, *_FLAGS, *flags, str(source), "-o", str(library)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SimulatedError(f"g++ does not take a kernel:\n{done.stderr[:2000]}")
    return library


@cache
def _scheduler() -> Any:
    """The C function that runs a grid. Its library's names are seen by those of kernels."""
    source = folder() / "scheduler.cpp"
    source.write_text((HERE / "shim.cpp").read_text())
    library = ctypes.CDLL(str(_compiled(source, "-O2")), mode=ctypes.RTLD_GLOBAL)
    launch = library.shim_launch
    pointer, number = ctypes.c_void_p, ctypes.c_uint
    launch.argtypes = [pointer, pointer, pointer, number, number, ctypes.c_int]
    launch.restype = ctypes.c_char_p
    return launch


def _library(text: str) -> ctypes.CDLL:
    with _LOCK:
        return _loaded(text)


@cache
def _loaded(text: str) -> ctypes.CDLL:
    _scheduler()
    name = hashlib.sha256(text.encode()).hexdigest()[:16]
    exports = "".join(f"SHIM_EXPORT({kernel})\n" for kernel in _KERNEL.findall(text))
    source = folder() / f"{name}.cpp"
    source.write_text(f'#line 1 "kernels.cu"\n{text}\n{exports}')
    return ctypes.CDLL(str(_compiled(source, "-O1", "-include", str(HERE / "shim.h"))))
