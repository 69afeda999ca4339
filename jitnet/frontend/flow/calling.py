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
from collections.abc import Iterator
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

import numpy as np

from jitnet import errors
from jitnet.frontend import builtins, ordering, texts
from jitnet.frontend.closures import Wrapper
from jitnet.frontend.context import NeedStatic, running_trace
from jitnet.frontend.flow import growing, helpers, printing, raising, remedies
from jitnet.frontend.flow.comprehensions import FOLDS, Filtered, filter_, listed
from jitnet.frontend.flow.steps import Steps, enumerate_, range_, reversed_, zip_
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
    print: printing.print_,
    type: _type_of,
    warnings.warn: printing.WARN,
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
    if args and type(args[0]) in (Steps, Filtered) and function in FOLDS:
        return FOLDS[function](*args, **kwargs)
    if args and function in (min, max):
        args = (list(args[0]),) if isinstance(args[0], Iterator) else args
        key = _rewritten_argument(kwargs.get("key"))
        if _compares_items(args, key):
            return FOLDS[function](*args, **{**kwargs, "key": key})
    if args and type(args[0]) is Filtered:
        items = listed(args[0])
        return items if function is list else call(function, items, *args[1:], **kwargs)
    if any(growing.grown(x) is not None for x in args):
        return _with_grown(function, args, kwargs)
    if isinstance(function, FunctionType):
        target = called(function)
        if target is not function and is_rewritten(target.__code__):
            return helpers.call(function, target, args, kwargs)
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
        options = {name: _rewritten_argument(x) for name, x in kwargs.items()}
        try:
            return own(*map(_rewritten_argument, args), **options)
        except errors.ConcretizationError as error:
            remedies.note_call(error, function)
            raise
    if isinstance(function, Wrapper):
        return call(function.__wrapped__, *args, **kwargs)
    if isinstance(function, functools.partial):
        return call(function.func, *function.args, *args, **{**function.keywords, **kwargs})
    if isinstance(function, type):
        try:
            return _instance(function, args, kwargs)
        except errors.ConcretizationError as error:
            remedies.note_call(error, function)
            raise
    if isinstance(function, np.ufunc) or type(function).__module__.startswith("numpy"):
        try:
            return builtins.of_numpy(function)(*args, **kwargs)
        except errors.ConcretizationError as error:
            remedies.note_call(error, function)
            raise
    if isinstance(function, BuiltinFunctionType):
        target = function.__self__
        if growing.grown(target) is not None:
            return _of_grown(function.__name__, target, args)  # type: ignore[arg-type]
        if isinstance(target, str) and function.__name__ in texts.METHODS:
            return texts.METHODS[function.__name__](target, *args, **kwargs)
        if isinstance(target, list) and function.__name__ == "sort":
            options = {name: _rewritten_argument(x) for name, x in kwargs.items()}
            return ordering.sort(target, **options)
        write = printing.writer(function)
        if write is not None:
            return write(*args, **kwargs)
        _refuse_texts(target, args)
        refuse_unknown(function)
        try:
            return function(*map(_rewritten_argument, args), **kwargs)
        except errors.ConcretizationError as error:
            remedies.note_call(error, function)
            raise
    method = next((vars(c)["__call__"] for c in type(function).__mro__ if "__call__" in vars(c)), 0)
    if isinstance(method, FunctionType):
        return called(method)(function, *args, **kwargs)
    return function(*args, **kwargs)


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
    return is_users(getattr(sys.modules.get(own.__module__), "__file__", None) or "<frozen>")


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
    if is_rewritten(code) or not is_users(code.co_filename):
        return printing.logger(function) or function
    module = sys.modules.get(function.__module__)
    if module is not None and vars(module) is function.__globals__:  # reached through its class
        function = running_trace().bring_in(function)
    return rewritten(function, _Connected.hooks) or function


def _with_grown(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A call with a list among its arguments that has grown in a loop."""
    if function is len:
        return growing.length(args[0])
    if isinstance(function, FunctionType) and is_users(function.__code__.co_filename):
        return called(function)(*args, **kwargs)
    if function in (isinstance, type):  # it is still a list
        return (_stand_in(function) or function)(*args, **kwargs)
    if function is print:
        return printing.print_(*args, **kwargs)
    if function in (str, repr):
        return printing.formatted(args[0], "s")
    if function in _OWN:
        kept = [x if own is None else growing.steps(x) for x, own in growing.owns(args)]
        return _OWN[function](*kept, **kwargs)
    first = growing.grown(args[0])
    if first is not None and function in _JOINED:
        if kwargs or len(args) > 1:
            raise errors.UnsupportedFunctionError(
                f"np.{function.__name__} with an axis, of a list that has grown in a loop",
                remedy="np.array(x), and move the axes of that",
            )
        return growing.joined(first, flat=function in (np.concatenate, np.hstack))
    arrays = [x if own is None else growing.as_one_array(own) for x, own in growing.owns(args)]
    return call(function, *arrays, **kwargs)


_JOINED = (np.stack, np.vstack, np.concatenate, np.hstack)


def _of_grown(method: str, x: list[Any], args: tuple[Any, ...]) -> None:
    """A method of a list that has grown in a loop."""
    if method not in ("append", "extend"):
        raise errors.UnsupportedFunctionError(
            f"list.{method} of a list that grows in a loop",
            remedy="keep the items in an array, and the number of them beside it",
        )
    for item in args if method == "append" else args[0]:
        growing.append(x, item)


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


def _instance(cls: type, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`cls(...)`, with the user's `__init__` rewritten."""
    init = cls.__init__  # type: ignore[misc]
    plain = type(cls) is type and "__new__" not in {n for c in cls.__mro__[:-1] for n in vars(c)}
    if not (plain and isinstance(init, FunctionType) and is_users(init.__code__.co_filename)):
        return cls(*map(_rewritten_argument, args), **kwargs)
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
