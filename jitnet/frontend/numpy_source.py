"""NumPy's functions that NumPy itself writes in Python, traced through its own source.

    np.gradient(x)     runs numpy.lib._function_base_impl.gradient with x traced; its leaves
                       (subtract, slices, concatenate) come back to the tables

The source is run as a copy that sees jitnet's `asarray` and the like in the place of NumPy's, which
need real arrays: in its globals, in the private helpers of its module, and in the modules that it
reaches by name (`np`, `_nx`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import FunctionType, ModuleType
from typing import Any

import numpy as np

from jitnet import errors, ops
from jitnet.frontend.dispatch import call
from jitnet.frontend.promotion import as_array
from jitnet.frontend.tracer import Tracer, supported_dtype, wrap


def _as_array(a: Any, dtype: Any = None, *args: Any, **kwargs: Any) -> Any:
    """`np.asarray`, which lets tracers through, and lists of them."""
    if not _holds_tracer(a):
        return np.asarray(a, dtype)
    x = as_array(a)
    wanted = x.value.dtype if dtype is None else supported_dtype(np.dtype(dtype), "dtype=")
    return wrap(ops.convert(x.value, wanted))


def _array(
    a: Any, dtype: Any = None, *, copy: Any = True, ndmin: int = 0, subok: Any = None, **kwargs: Any
) -> Any:
    """`np.array`, which lets tracers through, and lists of them."""
    if not _holds_tracer(a):
        return np.array(a, dtype, copy=copy, ndmin=ndmin, **kwargs)
    x = _as_array(a, dtype)
    found = wrap(ops.reshape(x.value, (1,) * (ndmin - x.ndim) + x.value.dims))
    return wrap(found.value) if copy else found


def _holds_tracer(x: Any) -> bool:
    if isinstance(x, (list, tuple)):
        return any(_holds_tracer(item) for item in x)
    return type(x) is Tracer


class _Converter:
    """In the place of NumPy's private class, which turns arguments into arrays and results back."""

    def __init__(self, *arrays: Any) -> None:
        self._arrays = tuple(map(as_array, arrays))

    def __getitem__(self, i: int) -> Tracer:
        return self._arrays[i]

    def as_arrays(self, **options: Any) -> tuple[Tracer, ...]:
        return self._arrays

    def wrap(self, x: Any, **options: Any) -> Any:
        return x


def _concatenate(arrays: Any, axis: Any = 0, **options: Any) -> Any:
    """`np.concatenate`, which the modules of NumPy's core import from C."""
    return call(np.concatenate, arrays, axis, **options)


def _wrapfunc(x: Any, name: str, *args: Any, **kwargs: Any) -> Any:
    """The way of a function to its method, which is written in C; the tracer's comes back here."""
    raise unsupported(getattr(np, name))


_LEAVES: dict[str, Callable[..., Any]] = {
    "_array_converter": _Converter,
    "_concatenate": _concatenate,
    "_wrapfunc": _wrapfunc,
    "array": _array,
    "asarray": _as_array,
    "asanyarray": _as_array,
    "ascontiguousarray": _as_array,
}


class _Module:
    """A module of NumPy's with the leaves replaced."""

    def __init__(self, module: ModuleType) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        return _LEAVES[name] if name in _LEAVES else getattr(self._module, name)


def is_dispatched(function: Any) -> bool:
    """Whether NumPy asks its arguments for `__array_function__`."""
    return hasattr(function, "_implementation")


def python_source(function: Any) -> Callable[..., Any] | None:
    """What NumPy's function runs, ready for tracers; None where it is written in C."""
    source = getattr(function, "_implementation", None) or getattr(
        function, "__wrapped__", function
    )
    return _adapted(source) if isinstance(source, FunctionType) else None


@functools.cache
def _adapted(source: FunctionType) -> FunctionType:
    return _copied(source, _namespace(source.__module__, _Namespace(source.__globals__)))


class _Namespace:
    """The globals of a module of NumPy's, as a key that a cache can hold."""

    def __init__(self, content: dict[str, Any]) -> None:
        self.content = content

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Namespace) and other.content is self.content

    def __hash__(self) -> int:
        return id(self.content)


@functools.cache
def _namespace(module: str, original: _Namespace) -> dict[str, Any]:
    """The globals that a module's functions see: leaves, modules and private helpers replaced."""
    adapted = dict(original.content)
    for name, x in original.content.items():
        if name in _LEAVES and callable(x):
            adapted[name] = _LEAVES[name]
        elif isinstance(x, ModuleType) and x.__name__.split(".")[0] == "numpy":
            adapted[name] = _Module(x)
        elif isinstance(x, FunctionType) and x.__globals__ is original.content:
            adapted[name] = _copied(x, adapted)
    return adapted


def _copied(fn: FunctionType, namespace: dict[str, Any]) -> FunctionType:
    copy = FunctionType(fn.__code__, namespace, fn.__name__, fn.__defaults__, fn.__closure__)
    copy.__kwdefaults__ = fn.__kwdefaults__
    return copy


_WRITES_FILES = {np.save, np.savetxt, np.savez, np.savez_compressed}


def run(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What NumPy's Python source of `function` gives.

    Raises:
        UnsupportedFunctionError: where it is not written in Python, or needs what jitnet lacks.
    """
    source = python_source(function)
    if source is None or function in _WRITES_FILES:
        raise unsupported(function)
    try:
        return source(*args, **kwargs)
    except (
        errors.ConcretizationError,
        errors.UnsupportedDTypeError,
        errors.UnsupportedFunctionError,
        errors.MutationError,
        AttributeError,  # what NumPy's code asks of an array, and a traced one has not
    ) as error:
        raise unsupported(function) from error
    except ValueError as error:
        if "array element with a sequence" in str(error):  # a traced value, put in a known array
            raise unsupported(function) from error
        raise


def unsupported(function: Any) -> errors.UnsupportedFunctionError:
    """The refusal of a function, by name."""
    module = getattr(function, "__module__", "numpy") or "numpy"
    name = getattr(function, "__name__", repr(function))
    return errors.UnsupportedFunctionError(
        f"{module.replace('numpy', 'np', 1)}.{name} of traced values",
        why="this version has no such function",
        remedy="compute it outside of the compiled function and pass the result in",
    )
