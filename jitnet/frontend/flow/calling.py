"""Calls in the user's program: what is run in the place of what is called.

np.zeros(3), len(x), math.sin(x)      the stand-ins of `builtins.CALLS`
helper(x)                             the user's function, rewritten
model(x), obj.method(x), Layer(3)     the functions behind them, rewritten
np.sort([x, y])                       NumPy's function, which would not look inside of a list
time.time()                           refused: run now, its answer would be compiled in
"""

from __future__ import annotations

import functools
import re
import sys
import warnings
from collections import deque
from collections.abc import Iterator
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType
from typing import Any

import numpy as np

from jitnet import errors
from jitnet.frontend import builtins, ordering, texts
from jitnet.frontend.closures import Wrapper
from jitnet.frontend.context import NeedStatic, running_trace
from jitnet.frontend.flow import (
    comprehensions,
    growing,
    heaps,
    helpers,
    inner_lists,
    items,
    printing,
    raising,
    remedies,
    stacking,
    truth,
    variants,
)
from jitnet.frontend.flow.comprehensions import (
    FOLDS,
    comprehension,
    filter_,
    listed,
    map_,
)
from jitnet.frontend.flow.steps import Filtered, Steps, enumerate_, range_, reversed_, zip_
from jitnet.frontend.flow.variants import Variants, apart, unfolded
from jitnet.frontend.places import Appended
from jitnet.frontend.rewriting import is_rewritten, rewritten
from jitnet.frontend.tracer import Tracer
from jitnet.frontend.watch import refuse_unknown
from jitnet.source import is_users


def _type_of(x: Any, *rest: Any) -> Any:
    """`type`: the class that a value has without jit."""
    return x.__class__ if type(x) is Tracer else type(x, *rest)


_OWN: dict[Any, Any] = {
    range: range_,
    enumerate: enumerate_,
    zip: zip_,
    reversed: reversed_,
    filter: filter_,
    map: map_,
    print: printing.print_,
    type: _type_of,
    warnings.warn: printing.WARN,
    **heaps.TABLE,
}


class _Connected:
    hooks: object


def install(hooks: object) -> None:
    """Connect the hooks of rewritten functions, which call this module."""
    _Connected.hooks = hooks


def call(function: Any, /, *args: Any, **kwargs: Any) -> Any:
    """`function(*args, **kwargs)` in the user's program."""
    if type(function) is Variants:
        return apart(function, lambda one: call(one, *args, **kwargs))
    if any(type(x) is Variants for x in (*args, *kwargs.values())) and not _takes_any(function):
        return _with_each(function, args, kwargs)
    if _is_of_numpy(function) and any(map(variants.is_in, args)):
        return variants.with_items(lambda known: call(function, *known, **kwargs), args)
    if args and type(args[0]) in (Steps, Filtered) and function in FOLDS:
        return FOLDS[function](*args, **kwargs)
    if args and function in (min, max):
        args = (list(args[0]),) if isinstance(args[0], Iterator) else args
        key = _rewritten_argument(kwargs.get("key"))
        if _compares_items(args, key):
            return FOLDS[function](*args, **{**kwargs, "key": key})
    if args and type(args[0]) is Filtered:
        found = listed(args[0])
        return found if function is list else call(function, found, *args[1:], **kwargs)
    if args and function is list and isinstance(args[0], Steps):
        return _listed_steps(args[0])
    if args and function is len and isinstance(vars(type(args[0])).get("__len__"), FunctionType):
        return call(type(args[0]).__len__, args[0])
    if args and (function is deque or function is list) and _is_of_any_length(function, args[0]):
        args = comprehension(args[0], lambda item: item, "list"), *args[1:]
        return args[0] if function is list else deque(*args, **kwargs)
    if any(growing.grown(x) is not None for x in args):
        return _with_grown(function, args, kwargs)
    if isinstance(function, FunctionType):
        target = called(function)
        if target is not function and is_rewritten(target.__code__):
            return helpers.call(function, target, args, kwargs)
        with remedies.Noting(function):
            return target(*args, **kwargs)
    if isinstance(function, MethodType):
        inner = function.__func__
        if type(function.__self__) is Appended and inner in (Appended.append, Appended.extend):
            return call(getattr(function.__self__.new, inner.__name__.strip("_")), *args)
        if isinstance(inner, FunctionType):
            return called(inner)(function.__self__, *args, **kwargs)
        return call(inner, function.__self__, *args, **kwargs)
    own = _stand_in(function)
    if own is not None:
        args, kwargs = _rewritten_arguments(args, kwargs)
        with remedies.Noting(function):
            return own(*args, **kwargs)
    if isinstance(function, Wrapper):
        return call(function.__wrapped__, *args, **kwargs)
    if isinstance(function, functools.partial):
        return call(function.func, *function.args, *args, **{**function.keywords, **kwargs})
    if isinstance(function, type):
        with remedies.Noting(function):
            return _instance(function, args, kwargs)
    if isinstance(function, np.ufunc) or type(function).__module__.startswith("numpy"):
        with remedies.Noting(function):
            return builtins.of_numpy(function)(*args, **kwargs)
    if isinstance(function, BuiltinFunctionType):
        target = function.__self__
        if growing.grown(target) is not None:
            return items.call_method(function.__name__, target, args, kwargs)  # type: ignore[arg-type]
        if isinstance(target, str) and function.__name__ in texts.METHODS:
            return texts.METHODS[function.__name__](target, *args, **kwargs)
        if isinstance(target, (list, dict)) and function.__name__ in _CHANGING:
            inner_lists.inner(target)
        if isinstance(target, list) and function.__name__ == "sort":
            return ordering.sort(target, **_rewritten_arguments((), kwargs)[1])
        write = printing.writer(function)
        if write is not None:
            return write(*args, **kwargs)
        _refuse_texts(target, args)
        refuse_unknown(function)
        own = _called_by_c if function is functools.reduce else _rewritten_argument
        with remedies.Noting(function):
            return function(*map(own, args), **kwargs)
    method = next((vars(c)["__call__"] for c in type(function).__mro__ if "__call__" in vars(c)), 0)
    if isinstance(method, FunctionType):
        return called(method)(function, *args, **kwargs)
    return function(*args, **kwargs)


def _is_of_numpy(function: Any) -> bool:
    if isinstance(function, np.ufunc) or type(function).__module__.startswith("numpy"):
        return True
    return isinstance(function, BuiltinFunctionType) and function.__module__ == "numpy"


_KEEPERS = frozenset(("append", "appendleft", "insert", "extend", "setdefault", "update"))


def _takes_any(function: Any) -> bool:
    """Whether a function may be given what is one of several objects: the user's own, and methods
    of containers that keep it."""
    if isinstance(function, (FunctionType, MethodType)):
        return is_users(getattr(function, "__func__", function).__code__.co_filename)
    if isinstance(function, BuiltinFunctionType):
        return function.__name__ in _KEEPERS
    if isinstance(function, (functools.partial, Wrapper)) or function is functools.partial:
        return True
    own = function if isinstance(function, type) else type(function)
    file = getattr(sys.modules.get(own.__module__), "__file__", None)
    return own.__module__ == "__main__" if file is None else is_users(file)


def _with_each(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A call with each of the objects that an argument may be."""
    count = len(args)

    def called_with(*given: Any) -> Any:
        return call(function, *given[:count], **dict(zip(kwargs, given[count:])))

    return unfolded(called_with, (*args, *kwargs.values()))


def _compares_items(args: tuple[Any, ...], key: Any) -> bool:
    """Whether min or max of these compares more than numbers: values of a key, or tuples."""
    items = args if len(args) > 1 else args[0]
    is_of_tuples = isinstance(items, (list, tuple)) and items and isinstance(items[0], tuple)
    return key is not None or bool(is_of_tuples)


texts.install(call)
truth.install(call)
comprehensions.install(call)


def _stand_in(function: Any) -> Any:
    try:
        own = _OWN.get(function) or builtins.CALLS.get(function)
        return own or builtins.class_of_numbers(function)
    except TypeError:  # not hashable
        return None


def called(function: FunctionType) -> Any:
    """What runs when this function is called: the user's own functions are rewritten."""
    own = _stand_in(function)
    if own is not None:
        return own
    code = function.__code__
    if is_rewritten(code) or not _is_to_be_rewritten(code):
        return printing.logger(function) or function
    module = sys.modules.get(function.__module__)
    if module is not None and vars(module) is function.__globals__:  # reached through its class
        function = running_trace().bring_in(function)
    return rewritten(function, _Connected.hooks) or function


def _listed_steps(steps: Steps) -> Any:
    try:
        return list(steps)
    except errors.ConcretizationError:
        return comprehension(steps, lambda item: item, "list")


def _is_of_any_length(cls: type, x: Any) -> bool:
    """Whether this is an array of which only the program knows how many items it has, or a range of
    so many that a deque is made of."""
    if isinstance(x, Steps):
        return cls is deque and type(x.count) is Tracer
    return type(x) is Tracer and x.ndim > 0 and not isinstance(x.value.dims[0], int)


def _is_to_be_rewritten(code: CodeType) -> bool:
    return is_users(code.co_filename) or code.co_filename == heaps.FILE


def _with_grown(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A call with a list among its arguments that has grown in a loop."""
    if function is len:
        return growing.length(args[0])
    if function in heaps.TABLE:
        return heaps.TABLE[function](*args, **kwargs)
    if function is bool:
        return growing.length(args[0]) > 0
    if function is list and len(args) == 1:
        return growing.copied(args[0])
    if function is deque:
        return deque(growing.copied(args[0]), *args[1:], **kwargs)
    if isinstance(function, FunctionType) and _is_to_be_rewritten(function.__code__):
        return called(function)(*args, **kwargs)
    if function in (isinstance, type):  # it is still a list
        return (_stand_in(function) or function)(*args, **kwargs)
    if function is print:
        return printing.print_(*args, **kwargs)
    if function in (str, repr):
        return printing.formatted(args[0], "s")
    if function in _OWN:
        kept = [x if own is None else growing.steps(x) for x, own in stacking.owns(args)]
        return _OWN[function](*kept, **kwargs)
    first = growing.grown(args[0])
    if first is not None and function in _JOINED:
        if kwargs or len(args) > 1:
            raise errors.UnsupportedFunctionError(
                f"np.{function.__name__} with an axis, of a list that has grown in a loop",
                remedy="np.array(x), and move the axes of that",
            )
        return stacking.joined(first, flat=function in (np.concatenate, np.hstack))
    arrays = [x if own is None else stacking.as_one_array(own) for x, own in stacking.owns(args)]
    return call(function, *arrays, **kwargs)


_CHANGING = frozenset(
    (
        "append",
        "clear",
        "extend",
        "insert",
        "pop",
        "remove",
        "reverse",
        "setdefault",
        "sort",
        "update",
    )
)
"""Methods that change a list or a dict."""

_JOINED = (np.stack, np.vstack, np.concatenate, np.hstack)


def _refuse_texts(target: Any, args: tuple[Any, ...]) -> None:
    """C code reads the characters of its arguments; containers keep them only."""
    if not isinstance(target, (list, dict, set)):
        for x in args:
            if type(x) is texts.Text:
                texts.known_now(x)


def _rewritten_argument(x: Any) -> Any:
    """A function of the user's that C code is to call: map, filter, functools.reduce."""
    if x is print:
        return printing.print_
    return called(x) if isinstance(x, FunctionType) else x


def _called_by_c(x: Any) -> Any:
    """The same, of Python's own functions too: for C code that calls what it is given."""
    is_function = isinstance(x, (BuiltinFunctionType, type)) and not isinstance(x, FunctionType)
    return functools.partial(call, x) if is_function else _rewritten_argument(x)


def _rewritten_arguments(
    args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    options = {name: _rewritten_argument(x) for name, x in kwargs.items()}
    return tuple(map(_rewritten_argument, args)), options


def _instance(cls: type, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`cls(...)`, with the user's `__init__` rewritten."""
    init = cls.__init__  # type: ignore[misc]
    plain = type(cls) is type and "__new__" not in {n for c in cls.__mro__[:-1] for n in vars(c)}
    if not (plain and isinstance(init, FunctionType) and is_users(init.__code__.co_filename)):
        own = _called_by_c if cls.__module__ == "itertools" else _rewritten_argument
        return cls(*map(own, args), **{name: own(x) for name, x in kwargs.items()})
    made: Any = object.__new__(cls)
    call(init, made, *args, **kwargs)
    return made


def unbound(error: NameError) -> NameError:
    """The error for reading a variable that is bound on some path only.

    Raises:
        NeedStatic: where int arguments decide on that.
    """
    named = re.search(r"variable '(\w+)'", str(error))  # its attribute `name` is of globals only
    name = named.group(1) if named else ""
    why, leaves = running_trace().function.conflicts.get(name, (None, None))
    if why is None:
        return raising.unbound_local(error) or error
    if leaves is not None:
        raise NeedStatic(leaves)
    return errors.UnboundVariableError(
        f"variable {name!r} is read, and it is {why}",
        remedy=f"assign {name} in front of the if or the loop, of the type and shape it has later",
        frames=errors.raised_at(error),
    )
