"""How a tracer reaches the NumPy API: one function each for ufuncs, functions and indexing.

    x + y        →  apply(np.add, "__call__", (x, y), {})
    x.sum(0)     →  call(np.sum, x, 0)
    x[1:]        →  getitem(x, slice(1, None))
    x[1:] = y    →  setitem(x, slice(1, None), y)

The API's tables stand above the tracer and are installed here by `trace`. On the way in, the user's
place is noted; the watch for unknown functions rests while jitnet itself works.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from jitnet.errors import JitnetError, describe
from jitnet.frontend.context import current_trace, enter
from jitnet.frontend.watch import Rest


class _Surface:
    apply: Callable[[Any, str, tuple[Any, ...], dict[str, Any]], Any]
    call: Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]
    getitem: Callable[[Any, Any], Any]
    setitem: Callable[[Any, Any, Any], None]
    store: Callable[[Any, Any, str], Any]


def install(apply: Any, call: Any, getitem: Any, setitem: Any, store: Any) -> None:
    """Connect the tables of ufuncs, of functions, and indexing."""
    _Surface.apply = staticmethod(apply)
    _Surface.call = staticmethod(call)
    _Surface.getitem = staticmethod(getitem)
    _Surface.setitem = staticmethod(setitem)
    _Surface.store = staticmethod(store)


def apply(ufunc: Any, method: str, inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A ufunc, or a method of one, on operands of which some are traced."""
    with Rest(), _Naming(ufunc, inputs, kwargs):
        note_place()
        return _Surface.apply(ufunc, method, inputs, kwargs)


def call(function: Any, /, *args: Any, **kwargs: Any) -> Any:
    """A NumPy function on arguments of which some are traced."""
    with Rest(), _Naming(function, args, kwargs):
        note_place()
        return _Surface.call(function, args, kwargs)


def getitem(x: Any, key: Any) -> Any:
    """`x[key]`."""
    with Rest():
        note_place()
        return _Surface.getitem(x, key)


def setitem(x: Any, key: Any, value: Any) -> None:
    """`x[key] = value`."""
    with Rest():
        note_place()
        _Surface.setitem(x, key, value)


def store(result: Any, out: Any, name: str) -> Any:
    """`result` written to the array `out`, as `name` with `out=` does; returns `out`."""
    with Rest():
        note_place()
        return _Surface.store(result, out, name)


def stand_in(function: Any, own: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`own(*args, **kwargs)`, which stands for a call of `function` in the user's source."""
    with Rest(), _Naming(function, args, kwargs):
        note_place()
        return own(*args, **kwargs)


class _Naming:
    """Says in jitnet's errors which operation failed, on what."""

    __slots__ = ("args", "function", "kwargs")

    def __init__(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.function, self.args, self.kwargs = function, args, kwargs

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        if isinstance(error, JitnetError) and not error.operation:
            given = [describe(x) for x in self.args]
            given += [f"{name}={describe(x)}" for name, x in self.kwargs.items()]
            error.operation = f"{name_of(self.function)}({', '.join(given)})"


def name_of(function: Any) -> str:
    """What the user's program calls a function of NumPy's, of Python's or of SciPy's."""
    name = str(getattr(function, "__name__", function))
    if isinstance(function, np.ufunc) and getattr(np, name, None) is not function:
        scipy = sys.modules.get("scipy.special")  # its functions are ufuncs, which name no module
        return f"scipy.special.{name}" if getattr(scipy, name, None) is function else name
    module = getattr(function, "__module__", "")
    return {"builtins": "", "math": "math.", "cmath": "cmath."}.get(module, "np.") + name


def note_place() -> None:
    """Equations bound from now on carry the user's present line."""
    trace = current_trace()
    if trace is not None:
        enter(trace)
