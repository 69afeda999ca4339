"""Calls in the user's program: what is run in the place of what is called.

np.zeros(3), len(x), math.sin(x)      the stand-ins of `builtins.CALLS`
helper(x)                             the user's function, rewritten
model(x), obj.method(x), Layer(3)     the functions behind them, rewritten
np.sort([x, y])                       NumPy's function, which would not look inside of a list
time.time()                           refused: run now, its answer would be compiled in
"""

from __future__ import annotations

import functools
import operator
import re
import sys
import warnings
from collections import deque
from collections.abc import Iterator
from types import BuiltinFunctionType, CodeType, FunctionType, MethodDescriptorType, MethodType
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
    picking,
    printing,
    raising,
    remedies,
    specials,
    stacking,
    truth,
)
from jitnet.frontend.flow.comprehensions import (
    FOLDS,
    comprehension,
    filter_,
    listed,
    map_,
)
from jitnet.frontend.flow.steps import Filtered, Steps, enumerate_, range_, reversed_, zip_
from jitnet.frontend.flow.unfolding import is_among_items, unfolded, with_items
from jitnet.frontend.flow.variants import Variants, apart
from jitnet.frontend.places import Appended
from jitnet.frontend.rewriting import is_rewritten, rewritten
from jitnet.frontend.tracer import Tracer, lift, wrap
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
    plain = not kwargs and _PLAIN.issuperset(map(type, args))
    if not plain:
        if any(type(x) is Variants for x in (*args, *kwargs.values())) and not _takes_any(function):
            return _with_each(function, args, kwargs)
        if _makes_arrays(function) and any(map(is_among_items, args)):
            return with_items(lambda known: call(function, *known, **kwargs), args)
    if function is deque and type(kwargs.get("maxlen")) is Tracer:
        kwargs = {"maxlen": operator.index(kwargs["maxlen"])}  # C code asks for nothing else
    if args and type(function) in _OF_PYTHON:
        found, args = _answered(function, args, kwargs)
        if found is not NotImplemented:
            return found
    if args and type(args[0]) is Filtered:
        return call(function, listed(args[0]), *args[1:], **kwargs)
    if not plain and any(growing.grown(x) is not None for x in args) and not _keeps(function):
        return _with_grown(function, args, kwargs)
    if isinstance(function, FunctionType):
        target = called(function)
        if target is not function and is_rewritten(target.__code__):
            return helpers.call(function, target, args, kwargs)
        with remedies.Noting(function):
            return target(*args, **kwargs)
    if isinstance(function, MethodType):
        return _method(function, args, kwargs)
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
    if _is_of_numpy(function):
        with remedies.Noting(function):
            return builtins.of_numpy(function)(*args, **kwargs)
    if isinstance(function, BuiltinFunctionType):
        return _builtin(function, args, kwargs)
    method = next((vars(c)["__call__"] for c in type(function).__mro__ if "__call__" in vars(c)), 0)
    if isinstance(method, FunctionType):
        return called(method)(function, *args, **kwargs)
    return function(*args, **kwargs)


_OF_PYTHON = (BuiltinFunctionType, type)
_PLAIN = specials.PLAIN - {tuple}


def _answered(
    function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Any, tuple[Any, ...]]:
    """What a function of Python's makes of the user's objects, of a loop's steps, and of arrays of
    a length that the program decides; else NotImplemented, and what to call it with."""
    first = args[0]
    found = specials.answer(function, args)
    if found is not NotImplemented:
        return found, args
    if function in specials.CONSUMERS:
        args = tuple(map(specials.iterable, args))
        first = args[0]
    elif function is bool and specials.method(first, "__bool__") is not None:
        found = truth.truth(first)
        return (found if isinstance(found, bool) else wrap(found, "python")), args
    if type(first) in (Steps, Filtered) and function in FOLDS:
        return FOLDS[function](*args, **kwargs), args
    if function is min or function is max:
        args = (list(first),) if isinstance(first, Iterator) else args
        key = _rewritten_argument(kwargs.get("key"))
        if _compares_items(args, key):
            return FOLDS[function](*args, **{**kwargs, "key": key}), args
    elif function is list and type(first) is Filtered:
        return listed(first), args
    elif function is list and isinstance(first, Steps):
        return _listed_steps(first), args
    elif (function is deque or function is list) and _is_of_any_length(function, first):
        made = comprehension(first, lambda item: item, "list")
        return (made if function is list else deque(made, *args[1:], **kwargs)), args
    return NotImplemented, args


def _method(function: MethodType, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    inner, target = function.__func__, function.__self__
    if type(target) is Appended and inner in (Appended.append, Appended.extend):
        return call(getattr(target.new, inner.__name__.strip("_")), *args)
    if isinstance(inner, FunctionType):
        return called(inner)(target, *args, **kwargs)
    return call(inner, target, *args, **kwargs)


def _builtin(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A function written in C, or a method of one of Python's own objects."""
    name, target = function.__name__, function.__self__
    if growing.grown(target) is not None:
        return items.call_method(name, target, args, kwargs)
    if isinstance(target, str) and name in texts.METHODS:
        return texts.METHODS[name](target, *args, **kwargs)
    if isinstance(target, (list, dict)) and name in _CHANGING:
        inner_lists.inner(target)
    if isinstance(target, list) and name == "sort":
        return ordering.sort(target, **_rewritten_arguments((), kwargs)[1])
    if isinstance(target, dict) and name == "get" and picking.picks(target, args[0]):
        return picking.get(target, *args)
    write = printing.writer(function)
    if write is not None:
        return write(*args, **kwargs)
    _refuse_texts(target, args)
    refuse_unknown(function)
    own = _called_by_c if function is functools.reduce else _rewritten_argument
    with remedies.Noting(function):
        return function(*map(own, args), **kwargs)


def _is_of_numpy(function: Any) -> bool:
    """Whether this is one of NumPy's functions, but for the builtin ones."""
    return type(function).__module__.startswith("numpy")


def _makes_arrays(function: Any) -> bool:
    """Whether NumPy makes arrays of what this is given."""
    is_builtin = isinstance(function, BuiltinFunctionType)
    return function.__module__ == "numpy" if is_builtin else _is_of_numpy(function)


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


def _keeps(function: Any) -> bool:
    """Whether a function is to be given a list that has grown as it is, and may keep it."""
    if isinstance(function, MethodType) and type(function.__self__) is Appended:
        return True
    if isinstance(function, BuiltinFunctionType) and function.__name__ in ("extend", "update"):
        return False
    return _takes_any(function) and growing.grown(getattr(function, "__self__", None)) is None


def _with_each(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A call with each of the objects that an argument may be."""
    count = len(args)

    def called_with(*given: Any) -> Any:
        return call(function, *given[:count], **dict(zip(kwargs, given[count:])))

    return unfolded(called_with, (*args, *kwargs.values()))


def _compares_items(args: tuple[Any, ...], key: Any) -> bool:
    """Whether min or max of these compares more than numbers: values of a key, or tuples."""
    items = args if len(args) > 1 else args[0]
    if key is not None or not (isinstance(items, (list, tuple)) and items):
        return key is not None
    first = items[0]
    return isinstance(first, tuple) or specials.has_order(first)


texts.install(call)
truth.install(call)
specials.install(call)
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
    return specials.is_to_be_rewritten(code) or code.co_filename == heaps.FILE


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
    name, target = getattr(function, "__name__", ""), getattr(function, "__self__", None)
    if name == "extend" and isinstance(target, (list, deque)) and growing.grown(target) is None:
        comprehensions.for_(args[0], lambda item: call(target.append, item))
        return None
    if isinstance(function, MethodDescriptorType) and growing.grown(args[0]) is not None:
        return call(getattr(args[0], name), *args[1:], **kwargs)
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
    found = call(function, *arrays, **kwargs)
    is_number = function is min or function is max or function is sum
    if is_number and len(args) == 1 and first is not None and first.flavours == ("python",):
        return wrap(
            lift(found).value, "python"
        )  # of Python's numbers, as their array does not know
    return found


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
