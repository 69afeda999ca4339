"""What is installed, what of it works, and what to install: the findings of `jitnet.doctor()`.

    for finding in findings(attempt):
        finding     # Finding("g++", "12.2.0", True)
                    # Finding("CuPy", "", False, 'pip install "jitnet[cuda]"')

Each part is asked for by itself, and nothing that is missing is an error: whether a device works is
tried by `attempt`, which runs a small function on it.
"""

from __future__ import annotations

import platform
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from jitnet.errors import JitnetError
from jitnet.runtime.devices import cublaslt, cuda
from jitnet.runtime.engine import host_target

FEATURES = ("avx512f", "avx2", "fma", "f16c", "neon", "sve")
"""Features of processors that kernels are the faster for."""


@dataclass(frozen=True)
class Finding:
    """Attributes:
    name: of the part.
    found: its version, or what is known of it; "" where it is not there.
    works: whether it can be used.
    remedy: what to do where it cannot.
    """

    name: str
    found: str
    works: bool
    remedy: str = ""

    def __str__(self) -> str:
        told = self.found if self.works else f"{self.found or 'not there'}: {self.remedy}"
        return f"  {self.name:<10} {told}"


def findings(attempt: Callable[[str], object]) -> Iterator[Finding]:
    """All parts, those of the CPU first.

    Args:
        attempt: runs a function on the device of this name.
    """
    yield Finding("Python", platform.python_version(), True)
    yield _package("NumPy", "numpy", 'pip install "numpy>=2"')
    yield _package("llvmlite", "llvmlite", "pip install llvmlite")
    yield _package("OpenBLAS", "scipy-openblas32", "pip install scipy-openblas32")
    yield _processor()
    yield _device("cpu", attempt)
    yield _compiler()
    yield _device("cpusim", attempt)
    yield _package("ml_dtypes", "ml_dtypes", "pip install ml_dtypes, for bfloat16")
    yield from _gpu()
    yield _device("cuda", attempt)


def _package(name: str, package: str, remedy: str) -> Finding:
    try:
        return Finding(name, version(package), True)
    except PackageNotFoundError:
        return Finding(name, "", False, remedy)


def _processor() -> Finding:
    try:
        target = host_target()
    except ImportError as error:
        return Finding("processor", platform.machine(), False, f"LLVM cannot be loaded: {error}")
    has = [name for name in FEATURES if f"+{name}" in target.features.split(",")]
    width = f"vectors of {target.vector_bytes} bytes"
    return Finding("processor", f"{target.cpu}: {', '.join([*has, width])}", True)


def _compiler() -> Finding:
    path = shutil.which("g++")
    if path is None:
        return Finding("g++", "", False, 'apt install g++, for device="cpusim"')
    done = subprocess.run([path, "-dumpfullversion"], capture_output=True, text=True)
    return Finding("g++", done.stdout.strip() or path, True)


def _device(name: str, attempt: Callable[[str], object]) -> Finding:
    try:
        attempt(name)
    except JitnetError as error:
        return Finding(name, "does not work", False, _short(error.remedy or error.what))
    except Exception as error:  # whatever is wrong with it: it is to be told, not raised
        return Finding(name, "does not work", False, _short(f"{type(error).__name__}: {error}"))
    return Finding(name, "works", True)


def _gpu() -> Iterator[Finding]:
    """CuPy, the compiler of kernels, the driver, the library of products, and the GPUs."""
    try:
        cupy = cuda.installed_cupy()
    except JitnetError as error:
        yield Finding("CuPy", "", False, error.remedy)
        return
    yield Finding("CuPy", str(cupy.__version__), True)
    for name, ask in (("NVRTC", cuda.compiler_of), ("driver", cuda.driver_of)):
        finding = _asked(name, ask, cupy)
        yield finding
        if not finding.works:
            return
    yield _asked("cuBLASLt", cublaslt.version_of)
    yield from _gpus(cupy)


def _asked(name: str, ask: Callable[..., str], *of: Any) -> Finding:
    try:
        return Finding(name, ask(*of), True)
    except JitnetError as error:
        return Finding(name, "", False, error.remedy)


def _gpus(cupy: Any) -> Iterator[Finding]:
    runtime = cupy.cuda.runtime
    for i in range(runtime.getDeviceCount()):
        has = runtime.getDeviceProperties(i)
        gigabytes = has["totalGlobalMem"] / 1e9
        capability = f"sm_{has['major']}{has['minor']}"
        yield Finding(f"GPU {i}", f"{has['name'].decode()}, {gigabytes:.0f} GB, {capability}", True)


def _short(text: str) -> str:
    return " ".join(text.split())[:200]
