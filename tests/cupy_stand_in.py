"""The part of CuPy that the device "cuda" calls, on the host: memory, streams, capture, cuBLAS.

    with cupy_standing_in() as cupy:
        y = jit(f)(cupy.array(x))
        cupy.log                     # ["memcpy H2D", "launch f_0", "capture", ...]

What is launched runs as on cpusim, so results are computed, not made up. What CUDA refuses is
refused: waiting while a stream is captured, library calls into one, and a captured graph holds the
addresses that it was captured with. So is it where there are several GPUs: memory, modules and
streams are those of the current device. cuBLAS and cuSOLVER are BLAS and LAPACK by definition,
column-major.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import scipy.linalg.lapack as lapack
from stand_in import Held, modules_standing_in

from jitnet.runtime.devices.cpusim import CpuSim, _library, _Module

H2D, D2H, D2D = 1, 2, 3


class CUDARuntimeError(RuntimeError):
    pass


class OutOfMemoryError(MemoryError):
    pass


class ndarray(Held):  # noqa: N801
    """An array over memory of the stand-in."""

    def __init__(
        self, shape: Any, dtype: Any, memptr: Any = None, strides: Any = None, base: Any = None
    ) -> None:
        count = (
            1 + sum((n - 1) * s for n, s in zip(shape, strides or ())) // np.dtype(dtype).itemsize
        )
        count = int(np.prod(shape)) if strides is None else count
        size = max(count, 0) * np.dtype(dtype).itemsize
        memory = (ctypes.c_uint8 * size).from_address(memptr.ptr) if size else bytearray(0)
        host = np.ndarray(shape, dtype, memory, 0, strides)
        super().__init__(host, base, memptr)
        self.gpu = 0 if memptr is None else memptr.device_id

    device = property(lambda self: SimpleNamespace(id=self.gpu))

    @property
    def data(self) -> Pointer:
        return self._owner + (self._host.ctypes.data - self._owner.ptr)

    def copy(self) -> ndarray:
        """On the current device, as CuPy's is."""
        return self._owner.cupy.array(self._host)

    def _part(self, host: Any) -> ndarray:
        part = ndarray.__new__(ndarray)
        Held.__init__(part, np.asarray(host), self if self.base is None else self.base, self._owner)
        part.gpu = self.gpu
        return part

    def __setitem__(self, key: Any, value: Any) -> None:
        self._host[key] = value._host

    def __gt__(self, other: Any) -> Any:
        return Held(self._host > other)

    def sort(self) -> None:
        self._host.sort(kind="stable")


ndarray.__module__, ndarray.__qualname__ = "cupy", "ndarray"


class Pointer:
    def __init__(self, memory: Any, offset: int = 0, cupy: Any = None) -> None:
        self.mem = memory
        self.cupy = cupy
        self.device_id = 0 if cupy is None else cupy.gpu
        self.ptr = (memory if isinstance(memory, int) else memory.address) + offset

    def __add__(self, offset: int) -> Pointer:
        moved = Pointer(self.mem, cupy=self.cupy)
        moved.device_id = self.device_id
        moved.ptr = self.ptr + offset
        return moved


class Stream:
    def __init__(self, cuda: Any, non_blocking: bool = False) -> None:
        self._cuda = cuda
        self._gpu = cuda.gpu
        self.ptr = id(self)
        self.captured: list[Callable[[], None]] | None = None

    def __enter__(self) -> Stream:
        assert self._gpu == self._cuda.gpu, "a stream of another GPU"
        self._cuda.streams.append(self)
        return self

    def __exit__(self, *error: object) -> None:
        self._cuda.streams.pop()

    def do(self, what: str, work: Callable[[], None]) -> None:
        if self.captured is not None:
            self.captured.append(work)
        else:
            self._cuda.log.append(what)
            work()

    def synchronize(self) -> None:
        assert self.captured is None, "a stream that is captured cannot be waited for"
        self._cuda.log.append("synchronize")

    def begin_capture(self) -> None:
        self.captured = []

    def end_capture(self) -> Any:
        works, self.captured = self.captured, None
        self._cuda.log.append(f"capture {len(works or ())}")

        def launch() -> None:
            self._cuda.log.append("graph")
            for work in works or ():
                work()

        return SimpleNamespace(launch=launch)


class Gpu:
    """CuPy's Device."""

    def __init__(self, cupy: StandIn, number: int | None = None) -> None:
        self._cupy = cupy
        self.id = cupy.gpu if number is None else number
        self._before: list[int] = []

    @property
    def compute_capability(self) -> str:
        return self._cupy.capability

    def use(self) -> None:
        self._cupy.gpu = self.id

    def __enter__(self) -> Gpu:
        self._before.append(self._cupy.gpu)
        self.use()
        return self

    def __exit__(self, *error: object) -> None:
        self._cupy.gpu = self._before.pop()


class StandIn:
    """What `import cupy` gives.

    Attributes:
        gpu: the current device.
        homes: where the memory of this address is, and how much of it there is.
    """

    def __init__(self, driver: int = 13000, gpus: int = 1) -> None:
        self.log: list[str] = []
        self.gpus = gpus
        self.gpu = 0
        self.homes: dict[int, tuple[int, int]] = {}
        self._streams: dict[int, list[Stream]] = {}
        self.simulator = CpuSim()
        self.room = 1 << 40
        self.kernels: list[Any] = []
        self.capability = "90"
        self.done = True  # whether the GPU has come to where events were recorded
        self.ndarray = ndarray
        self.RawModule = lambda **given: _RawModule(self, **given)
        self.runtime = SimpleNamespace(
            CUDARuntimeError=CUDARuntimeError,
            memcpyHostToDevice=H2D,
            memcpyDeviceToHost=D2H,
            memcpyDeviceToDevice=D2D,
            memcpyAsync=self._memcpy,
            memsetAsync=self._memset,
            driverGetVersion=lambda: driver,
            runtimeGetVersion=lambda: 13000,
            getDeviceCount=lambda: gpus,
            getDevice=lambda: self.gpu,
        )
        self.cuda = SimpleNamespace(
            runtime=self.runtime,
            alloc=self._alloc,
            memory=SimpleNamespace(OutOfMemoryError=OutOfMemoryError),
            MemoryPointer=Pointer,
            UnownedMemory=lambda address, size, owner, device: address,
            get_current_stream=lambda: self.streams[-1],
            Stream=lambda non_blocking: Stream(self, non_blocking),
            Event=self._event,
            alloc_pinned_memory=self._alloc,
            function=SimpleNamespace(Module=lambda: _Loaded(self)),
            nvrtc=_Nvrtc(),
            driver=SimpleNamespace(launchKernel=self._launch),
            Device=lambda number=None: Gpu(self, number),
            device=SimpleNamespace(get_cublas_handle=lambda: 7, get_cusolver_handle=lambda: 8),
        )

    @property
    def streams(self) -> list[Stream]:
        """Those that have become current on this GPU."""
        return self._streams.setdefault(self.gpu, [Stream(self)])

    # -- memory

    def _alloc(self, size: int) -> Pointer:
        if size > self.room:
            raise OutOfMemoryError(f"Out of memory allocating {size:,} bytes")
        self.log.append(f"alloc {size}")
        return self._placed(size)

    def _placed(self, size: int) -> Pointer:
        memory = self.simulator.allocate(size)
        start, end = memory.address, memory.address + size
        for other in [a for a, (n, _) in self.homes.items() if start < a + n and a < end]:
            del self.homes[other]  # which is gone
        if self.gpus > 1:
            self.homes[start] = size, self.gpu
        return Pointer(memory, cupy=self)

    def _is_here(self, address: int) -> bool:
        """Whether memory is the current device's, or the host's."""
        return all(
            gpu == self.gpu or not start <= address < start + size
            for start, (size, gpu) in self.homes.items()
        )

    def _memcpy(self, target: int, source: int, size: int, kind: int, stream: int) -> None:
        now = self.streams[-1]
        assert stream == now.ptr, "a copy on another stream than the current one"
        assert kind == D2D or now.captured is None, "a transfer while a stream is captured"
        assert self._is_here(target), "memory of another GPU"
        assert self._is_here(source), "memory of another GPU"
        name = {H2D: "H2D", D2H: "D2H", D2D: "D2D"}[kind]
        now.do(f"memcpy {name}", lambda: ctypes.memmove(target, source, size) and None)

    def _memset(self, target: int, value: int, size: int, stream: int) -> None:
        assert stream == self.streams[-1].ptr
        assert self._is_here(target), "memory of another GPU"
        self.streams[-1].do("memset", lambda: ctypes.memset(target, value, size) and None)

    def _launch(
        self, f: int, gx: int, gy: int, gz: int, bx: int, by: int, bz: int, shared: int,
        stream: int, arguments: int, extra: int,
    ) -> None:  # fmt: skip
        now, (kernel, name, count, gpu) = self.streams[-1], self.kernels[f]
        assert gpu == self.gpu, "a kernel of a module that was loaded on another GPU"
        assert (stream, gy, gz, by, bz, shared, extra) == (now.ptr, 1, 1, 1, 1, 0, 0)
        pointers = (ctypes.c_void_p * count).from_address(arguments)
        slots = b"".join(ctypes.string_at(p, 8) for p in pointers)  # a launch copies them
        numbers = [int.from_bytes(slots[i : i + 8], "little") for i in range(0, len(slots), 8)]
        assert all(map(self._is_here, numbers)), "memory of another GPU"
        now.do(f"launch {name}", self.simulator.launcher(kernel, gx, bx, slots))

    def _event(self) -> Any:
        event = SimpleNamespace(record=lambda stream: None, synchronize=lambda: None)

        class Event:
            record = staticmethod(event.record)
            synchronize = staticmethod(event.synchronize)
            done = property(lambda _: self.done)

        return Event()

    # -- arrays

    def array(self, x: Any) -> Any:
        """In the order in which it lies, as CuPy has it."""
        x = np.array(x)
        made = ndarray(x.shape, x.dtype, self._placed(max(x.nbytes, 1)), x.strides)
        made._host[...] = x
        return made

    def empty(self, shape: Any, dtype: Any) -> Any:
        shape = (shape,) if isinstance(shape, int) else shape
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        return ndarray(shape, dtype, self._placed(max(size, 1)))

    def asarray(self, x: Any, dtype: Any = None) -> Any:
        return self.array(np.asarray(x, dtype))

    def where(self, condition: Any, x: Any, y: Any) -> Any:
        return Held(np.where(condition._host, x._host, y._host))

    def argsort(self, x: Any) -> Any:
        return Held(np.argsort(x._host, kind="stable"))


class _Loaded:
    """A module: the "binary" is the text, which g++ compiles."""

    def __init__(self, cupy: StandIn) -> None:
        self._cupy = cupy

    def load(self, cubin: bytes) -> None:
        self._gpu = self._cupy.gpu
        self._text = cubin.rstrip(b"\0").decode()
        self._module = _Module(_library(self._text))

    def get_function(self, name: str) -> Any:
        (params,) = re.findall(rf" {name}\(([^)]*)\)", self._text)
        kernel = self._module.kernel(name), name, params.count(",") + 1, self._gpu
        self._cupy.kernels.append(kernel)
        return SimpleNamespace(ptr=len(self._cupy.kernels) - 1)


class _RawModule:
    """CuPy's RawModule: compiled when something of it is asked for, and then for each GPU."""

    BY_ITSELF = ("-default-device", "--device-as-default-execution-space", "-ftz", "-arch")
    """What may not be said a second time."""

    def __init__(self, cupy: StandIn, *, code: str, options: tuple[str, ...]) -> None:
        assert isinstance(options, tuple)
        assert not [option for option in options if option.startswith(self.BY_ITSELF)]
        self._cupy, self._code, self.options = cupy, code, options
        self._modules: dict[int, _Loaded] = {}

    def compile(self) -> None:
        self._module()

    def _module(self) -> _Loaded:
        gpu = self._cupy.gpu
        if gpu not in self._modules:
            self._cupy.log.append(f"RawModule {' '.join(self.options)}")
            self._modules[gpu] = _Loaded(self._cupy)
            self._modules[gpu].load(self._code.encode())
        return self._modules[gpu]

    def get_function(self, name: str) -> Any:
        """A RawKernel, whose `kernel` is a Function."""
        return SimpleNamespace(kernel=self._module().get_function(name))


class _Nvrtc:
    class NVRTCError(Exception):
        pass

    def __init__(self) -> None:
        self.options: tuple[str, ...] = ()

    def getVersion(self) -> tuple[int, int]:  # noqa: N802
        return 13, 0

    def getSupportedArchs(self) -> list[int]:  # noqa: N802
        return [75, 80, 86, 89, 90, 100]

    def createProgram(self, text: str, name: str, headers: Any, names: Any) -> str:  # noqa: N802
        return text

    def compileProgram(self, program: str, options: Any) -> None:  # noqa: N802
        self.options = tuple(options)

    def getCUBIN(self, program: str) -> bytes:  # noqa: N802
        return program.encode()

    def destroyProgram(self, program: str) -> None:  # noqa: N802
        pass


# -- cuBLAS and cuSOLVER ---------------------------------------------------------------------------


def _columns(address: int, rows: int, columns: int, lead: int, dtype: Any) -> np.ndarray:
    """A column-major matrix."""
    size = np.dtype(dtype).itemsize
    memory = (ctypes.c_uint8 * (((columns - 1) * lead + rows) * size)).from_address(address)
    return np.ndarray((rows, columns), dtype, memory, 0, (size, lead * size))


def _strided(address: int, count: int, step: int, dtype: Any) -> np.ndarray:
    return _columns(address, 1, count, step, dtype)[0]


class Blas(ModuleType):
    """cuBLAS by the definition of BLAS."""

    CUBLAS_POINTER_MODE_HOST, CUBLAS_POINTER_MODE_DEVICE = 0, 1

    def __init__(self, cupy: StandIn) -> None:
        super().__init__("cublas")
        self._cupy = cupy
        self._mode = 0
        for letter, dtype in zip("sdcz", ("f4", "f8", "c8", "c16")):
            setattr(self, f"{letter}gemm", self._gemm(letter, dtype))
            setattr(self, f"{letter}gemv", self._gemv(letter, dtype))

    def getPointerMode(self, handle: int) -> int:  # noqa: N802
        return self._mode

    def setPointerMode(self, handle: int, mode: int) -> None:  # noqa: N802
        self._mode = mode

    def _do(self, name: str, work: Callable[[], None]) -> None:
        stream = self._cupy.streams[-1]
        assert stream.captured is None, "CuPy's cuBLAS cannot be captured"
        assert self._mode == (name[0] in "cz"), "where alpha and beta are is another question"
        stream.do(name, work)

    def _gemm(self, letter: str, dtype: str) -> Callable[..., None]:
        def gemm(
            handle: int, transa: int, transb: int, m: int, n: int, k: int, alpha: int,
            a: int, lda: int, b: int, ldb: int, beta: int, c: int, ldc: int,
        ) -> None:  # fmt: skip
            def work() -> None:
                x = _columns(a, *((k, m) if transa else (m, k)), lda, dtype)
                y = _columns(b, *((n, k) if transb else (k, n)), ldb, dtype)
                one, two = (_strided(p, 1, 1, dtype)[0] for p in (alpha, beta))
                out = _columns(c, m, n, ldc, dtype)
                product = one * ((x.T if transa else x) @ (y.T if transb else y))
                out[...] = product if two == 0 else product + two * out

            self._do(f"{letter}gemm", work)

        return gemm

    def _gemv(self, letter: str, dtype: str) -> Callable[..., None]:
        def gemv(
            handle: int, trans: int, m: int, n: int, alpha: int, a: int, lda: int,
            x: int, incx: int, beta: int, y: int, incy: int,
        ) -> None:  # fmt: skip
            def work() -> None:
                matrix = _columns(a, m, n, lda, dtype)
                matrix = matrix.T if trans else matrix
                vector = _strided(x, matrix.shape[1], incx, dtype)
                out = _strided(y, matrix.shape[0], incy, dtype)
                one, two = (_strided(p, 1, 1, dtype)[0] for p in (alpha, beta))
                out[...] = one * (matrix @ vector) + (0 if two == 0 else two * out)

            self._do(f"{letter}gemv", work)

        return gemv


class Solver(ModuleType):
    """cuSOLVER by LAPACK."""

    def __init__(self, cupy: StandIn) -> None:
        super().__init__("cusolver")
        for letter, dtype in zip("sd", ("f4", "f8")):
            self._define(cupy, letter, dtype)

    def _define(self, cupy: StandIn, letter: str, dtype: str) -> None:
        def getrf(
            handle: int, m: int, n: int, a: int, lda: int, work: int, pivots: int, info: int
        ) -> None:
            matrix = _columns(a, m, n, lda, dtype)
            lu, piv, failed = getattr(lapack, f"{letter}getrf")(matrix)
            matrix[...] = lu
            _strided(pivots, min(m, n), 1, "i4")[...] = piv + 1
            _strided(info, 1, 1, "i4")[...] = failed

        def getrs(
            handle: int, trans: int, n: int, nrhs: int, a: int, lda: int, pivots: int,
            b: int, ldb: int, info: int,
        ) -> None:  # fmt: skip
            lu, piv = _columns(a, n, n, lda, dtype), _strided(pivots, n, 1, "i4") - 1
            sides = _columns(b, n, nrhs, ldb, dtype)
            found, failed = getattr(lapack, f"{letter}getrs")(lu, piv, sides, trans=trans)
            sides[...] = found
            _strided(info, 1, 1, "i4")[...] = failed

        def potrf(
            handle: int, uplo: int, n: int, a: int, lda: int, work: int, size: int, info: int
        ) -> None:
            matrix = _columns(a, n, n, lda, dtype)
            factor, failed = getattr(lapack, f"{letter}potrf")(matrix, lower=not uplo, clean=False)
            matrix[...] = factor if not failed else np.abs(factor) + 1  # no promise what is there
            _strided(info, 1, 1, "i4")[...] = failed

        for f in (getrf, getrs, potrf):
            setattr(self, letter + f.__name__, _noted(cupy, letter + f.__name__, f))
            setattr(self, f"{letter}{f.__name__}_bufferSize", lambda *_: 16)


def _noted(cupy: StandIn, name: str, f: Callable[..., None]) -> Callable[..., None]:
    def call(*arguments: Any) -> None:
        assert cupy.streams[-1].captured is None, "CuPy's cuSOLVER cannot be captured"
        cupy.streams[-1].do(name, lambda: f(*arguments))

    return call


@contextmanager
def cupy_standing_in(driver: int = 13000, gpus: int = 1) -> Iterator[StandIn]:
    """`import cupy` gives the stand-in meanwhile, and the device "cuda" is a new one."""
    cupy = StandIn(driver, gpus)
    libs = ModuleType("libs")
    libs.cublas, libs.cusolver = Blas(cupy), Solver(cupy)  # type: ignore[attr-defined]
    names: dict[str, Any] = {
        "cupy": cupy,
        "cupy_backends": ModuleType("cupy_backends"),
        "cupy_backends.cuda": ModuleType("cuda"),
        "cupy_backends.cuda.libs": libs,
        "nvmath": None,  # importing it fails: see nvmath_stand_in
    }
    with modules_standing_in(names):
        yield cupy
