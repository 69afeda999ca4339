"""Addresses of what programs use outside: OpenBLAS, NumPy's sorting, Python, the pool of memory.

OpenBLAS is loaded when the first program needs it, privately (no symbol of it is seen by other
libraries, nor the other way round), and set to one thread: how work is split is this project's
business.
"""

from __future__ import annotations

import ctypes
from functools import lru_cache
from pathlib import Path

from jitnet.codegen.heap import POOL
from jitnet.errors import NotAvailableError
from jitnet.runtime.heap import pool_address
from jitnet.runtime.host import host_address
from jitnet.runtime.sorting import sorting_address


@lru_cache(maxsize=1)
def _openblas() -> ctypes.CDLL:
    try:
        import scipy_openblas32
    except ImportError as error:
        raise NotAvailableError(
            "matrix products need the package scipy-openblas32",
            remedy="pip install scipy-openblas32",
        ) from error
    folder = Path(scipy_openblas32.get_lib_dir())
    files = [
        p for p in folder.iterdir() if p.name.startswith(("lib", scipy_openblas32.get_library()))
    ]
    shared = [p for p in files if {".so", ".dylib", ".dll"} & set(p.suffixes)]
    library = ctypes.CDLL(str(min(shared)), mode=ctypes.RTLD_LOCAL)
    library.scipy_openblas_set_num_threads(1)
    return library


def extern_address(symbol: str) -> int:
    """The address of a C function by its symbol in `kernel.externs`: a sorting routine of NumPy's,
    a callback into Python, or a function of OpenBLAS, by its usual name; the package adds a
    prefix. Of the pool of run-time memory, too.

    Raises:
        NotAvailableError: where OpenBLAS or the function is missing.
    """
    if symbol == POOL:
        return pool_address()
    if symbol.startswith("numpy_"):
        return sorting_address(symbol)
    if symbol.startswith("host_"):
        return host_address(symbol)
    function = getattr(_openblas(), f"scipy_{symbol}", None)
    if function is None:
        raise NotAvailableError(f"OpenBLAS has no function {symbol}")
    address = ctypes.cast(function, ctypes.c_void_p).value
    assert address is not None
    return address
