"""Watches a traced function for calls that must not be run once and baked into the program.

    def f(x):
        return x + np.random.rand(3)     # refused: jitnet cannot see inside `rand`

While the user's code runs, the interpreter reports each call of a function written in C. Those of
Python's own library and of NumPy that only compute are let through; clocks, the operating system
and other packages' C functions are refused. jitnet's own work is not watched. NumPy's random
generators do not report their calls: their states tell whether they were used.
"""

from __future__ import annotations

import gc
import pickle
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

from jitnet import errors
from jitnet.frontend.context import run_traced
from jitnet.source import Origin, origin

_HOSTS = frozenset(
    ("time", "random", "_random", "_datetime", "datetime", "secrets", "uuid", "_uuid", "posix")
    + ("nt", "socket", "_socket", "select", "subprocess", "_posixsubprocess")
)

_VERDICTS: dict[tuple[str, str], bool] = {}


class Watch:
    """Watch the code inside; the profiler that was there before comes back afterwards."""

    def __enter__(self) -> None:
        self._before = sys.getprofile()
        sys.setprofile(_hook)

    def __exit__(self, *error: object) -> None:
        sys.setprofile(self._before)


class Rest:
    """No watch over the code inside; over what it calls in `watching`, the one there was."""

    __slots__ = ("_resume",)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch the user's code inside, as before."""
        before = sys.getprofile()
        if self._resume:
            sys.setprofile(_hook)
        try:
            yield
        finally:
            sys.setprofile(before)

    def __enter__(self) -> Rest:
        self._resume = sys.getprofile() is _hook
        if self._resume:
            sys.setprofile(None)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._resume:
            sys.setprofile(_hook)


def _hook(frame: FrameType, event: str, function: Any) -> None:
    if event != "c_call" or origin(frame.f_code.co_filename) is Origin.INTERNAL:
        return
    owner = getattr(function, "__self__", None)
    module = getattr(function, "__module__", None) or type(owner).__module__
    key = (module, function.__name__)
    refused = _VERDICTS.get(key)
    if refused is None:
        refused = _VERDICTS[key] = _is_refused(module)
    if refused and not _asked_by_internals(frame):
        sys.setprofile(None)
        raise _refusal(module, function)


def refuse_unknown(function: Any) -> None:
    """Refuse a C function, called by the user's program, that must not be run while tracing.

    Raises:
        UnsupportedFunctionError: for clocks, the operating system, and what is not known.
    """
    owner = getattr(function, "__self__", None)
    module = getattr(function, "__module__", None) or type(owner).__module__
    if _is_refused(module) or function in (open, input):
        raise _refusal(module, function)


def _refusal(module: str, function: Any) -> errors.UnsupportedFunctionError:
    return errors.UnsupportedFunctionError(
        f"a call of {module}.{function.__name__}, which is written in C",
        why="run while tracing, its answer of that one time would be compiled in",
        remedy="call it outside, and pass what it returns as an argument",
    )


def _asked_by_internals(frame: FrameType | None) -> bool:
    """Whether this is done for an import or the garbage collector, or by Python's library for
    jitnet or NumPy."""
    collecting = {getattr(callback, "__code__", None) for callback in gc.callbacks}
    origins = []
    while frame is not None and frame.f_code is not run_traced.__code__:
        code = frame.f_code
        if code.co_filename.startswith("<frozen importlib") or code in collecting:
            return True
        origins.append(origin(code.co_filename))
        frame = frame.f_back
    asking = next((o for o in origins if o is not Origin.LIBRARY), Origin.USER)
    return asking is Origin.INTERNAL


def _is_refused(module: str) -> bool:
    root = module.split(".")[0]
    if root == "numpy":
        return module.startswith("numpy.random")
    return root in _HOSTS or root not in sys.stdlib_module_names


def random_states(generators: Sequence[Any]) -> bytes:
    """The states of NumPy's random generators."""
    return pickle.dumps([_state(g) for g in generators])


def _state(generator: Any) -> Any:
    if hasattr(generator, "get_state"):
        return generator.get_state(legacy=False)
    return getattr(generator, "bit_generator", generator).state


def drew_random_numbers(name: str, frames: Sequence[errors.Place]) -> errors.JitnetError:
    """The error for a function that used a generator of NumPy's."""
    return errors.UnsupportedFunctionError(
        f"{name} draws random numbers",
        why="drawn while tracing, the numbers of that one time would be compiled in",
        remedy="draw them outside, and pass them as an argument",
        frames=frames,
    )
