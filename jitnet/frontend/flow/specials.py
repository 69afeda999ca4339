"""Operators, attributes and iteration of the user's objects: the methods behind them, rewritten.

    a + b              type(a).__add__(a, b), else type(b).__radd__(b, a)
    abs(q), len(q)     type(q).__abs__(q), type(q).__len__(q)
    q.norm             the function of a property
    for x in q         what type(q).__iter__(q) gives

Python calls such methods from C, as they stand in the user's source, where data cannot decide and
math's functions take no traced values. So rewritten code asks here first whether a method is the
user's, and calls it by the rules of the language; all other objects are Python's.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import operator
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import Any

import numpy as np

from jitnet.frontend.flow import conditions, list_operators
from jitnet.frontend.flow.truth import truth
from jitnet.frontend.flow.unfolding import unfolded
from jitnet.frontend.flow.variants import Variants, apart
from jitnet.frontend.tracer import Tracer, wrap
from jitnet.source import is_users

_HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE: of a class statement, or of C code that makes classes
_MISSING: Any = object()

PLAIN: frozenset[type] = frozenset(
    (Tracer, int, float, bool, complex, str, tuple, np.ndarray, np.float64, np.int64)
)
"""Classes that are asked for most, none of them the user's."""


class _Connected:
    call: Callable[..., Any]


def install(call: Callable[..., Any]) -> None:
    """Connect the calls of the user's functions."""
    _Connected.call = staticmethod(call)
    list_operators.install(call)


def found_in_class(x: Any, name: str, default: Any = None) -> Any:
    """What the class of `x` has under a name, as it is kept there, else `default`."""
    cls = type(x)
    if cls is Tracer or not cls.__flags__ & _HEAP_TYPE:
        return default
    for base in cls.__mro__:
        found = base.__dict__.get(name, _MISSING)
        if found is not _MISSING:
            return found
    return default


def method(x: Any, name: str) -> FunctionType | None:
    """The user's function behind a special method of `x`; None where it is Python's, or none."""
    if type(x) in PLAIN:
        return None
    found = found_in_class(x, name)
    return found if type(found) is FunctionType and is_to_be_rewritten(found.__code__) else None


def is_to_be_rewritten(code: CodeType) -> bool:
    """Whether code is the user's, or of a method that `total_ordering` adds to a class."""
    is_order = code.co_filename == functools.__file__ and "_from_" in code.co_name
    return is_order or is_users(code.co_filename)


def asked(x: Any, name: str, *args: Any) -> Any:
    """`x.__name__(*args)` by the user's method; NotImplemented where there is none."""
    own = None if type(x) in PLAIN else method(x, name)
    return NotImplemented if own is None else _Connected.call(own, x, *args)


# -- operators -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Operator:
    name: str
    plain: Callable[[Any, Any], Any]
    in_place: Callable[[Any, Any], Any]

    @property
    def method(self) -> str:
        return f"__{self.name}__"

    @property
    def reflected(self) -> str:
        return f"__r{self.name}__"


_OPERATORS = {
    symbol: _Operator(name, getattr(operator, f"__{name}__"), getattr(operator, f"__i{name}__"))
    for symbol, name in {
        "+": "add",
        "-": "sub",
        "*": "mul",
        "/": "truediv",
        "//": "floordiv",
        "%": "mod",
        "**": "pow",
        "@": "matmul",
        "&": "and",
        "|": "or",
        "^": "xor",
        "<<": "lshift",
        ">>": "rshift",
    }.items()
}


def binary(symbol: str, a: Any, b: Any) -> Any:
    """`a + b`, or another operator of two operands."""
    own = _OPERATORS[symbol]
    if type(a) in PLAIN and type(b) in PLAIN:
        return own.plain(a, b)
    if type(a) is Variants or type(b) is Variants:
        return unfolded(functools.partial(binary, symbol), (a, b))
    found = list_operators.combined(symbol, a, b)
    if found is NotImplemented:
        found = _reflectable(own.method, own.reflected, a, b)
    return own.plain(a, b) if found is NotImplemented else found


def in_place(symbol: str, a: Any, b: Any) -> Any:
    """What `a += b`, or another operator in place, binds `a` to."""
    own = _OPERATORS[symbol]
    if type(a) in PLAIN and type(b) in PLAIN:
        return own.in_place(a, b)
    if type(a) is Variants or type(b) is Variants:
        return unfolded(functools.partial(in_place, symbol), (a, b))
    found = list_operators.extended(a, b) if symbol == "+" else NotImplemented
    if found is NotImplemented:
        found = asked(a, f"__i{own.name}__", b)
    if found is not NotImplemented:
        return found
    if found_in_class(a, f"__i{own.name}__") is None:
        found = _reflectable(own.method, own.reflected, a, b)
    return own.in_place(a, b) if found is NotImplemented else found


def unary(symbol: str, x: Any) -> Any:
    """`-x`, `+x` or `~x`."""
    name, plain = _UNARY[symbol]
    if type(x) in PLAIN:
        return plain(x)
    if type(x) is Variants:
        return apart(x, functools.partial(unary, symbol))
    found = asked(x, name)
    return plain(x) if found is NotImplemented else found


_UNARY: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "-": ("__neg__", operator.neg),
    "+": ("__pos__", operator.pos),
    "~": ("__invert__", operator.invert),
}

_ORDERS = {
    "<": ("__lt__", "__gt__"),
    "<=": ("__le__", "__ge__"),
    ">": ("__gt__", "__lt__"),
    ">=": ("__ge__", "__le__"),
    "==": ("__eq__", "__eq__"),
}


def comparison(symbol: str, a: Any, b: Any) -> Any:
    """`a < b`, or another comparison, by the user's methods; NotImplemented if there are none."""
    if symbol == "!=":
        found = _reflectable("__ne__", "__ne__", a, b, of_one_class=True)
        if found is not NotImplemented or found_in_class(a, "__ne__") is not object.__ne__:
            return found
        equal = comparison("==", a, b)  # what object.__ne__ asks
        return equal if equal is NotImplemented else _negated(equal)
    own = _ORDERS.get(symbol)
    return NotImplemented if own is None else _reflectable(*own, a, b, of_one_class=True)


def _negated(x: Any) -> Any:
    found = truth(x)
    return not found if isinstance(found, bool) else wrap(conditions.negated(found), "python")


def has_order(x: Any) -> bool:
    """Whether the user says which of two objects is less."""
    is_of_user = method(x, "__lt__") is not None or method(x, "__gt__") is not None
    return is_of_user or fields_compared("<", x, x) is not None


def fields_compared(symbol: str, a: Any, b: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]] | None:
    """The tuples that a method made by `dataclass` compares, which no file has the source of."""
    cls = type(a)
    parameters = getattr(cls, "__dataclass_params__", None)
    if parameters is None or type(b) is not cls:
        return None
    name = _ORDERS["==" if symbol == "!=" else symbol][0] if symbol[0] != "i" else ""
    made = cls.__dict__.get(name)
    if type(made) is not FunctionType or made.__code__.co_filename != "<string>":
        return None
    names = [field.name for field in dataclasses.fields(cls) if field.compare]
    return tuple(getattr(a, n) for n in names), tuple(getattr(b, n) for n in names)


def _reflectable(name: str, reflected: str, a: Any, b: Any, of_one_class: bool = False) -> Any:
    """An operation of two operands, where a method of either is the user's: Python asks the first
    one, and the second one before it where its class is derived from that of the first.

    Args:
        of_one_class: whether the second one is asked if it is of the class of the first one, too.
    """
    first, second = method(a, name), method(b, reflected)
    if first is None and second is None:
        return NotImplemented
    call = _Connected.call
    derived = type(b) is not type(a) and issubclass(type(b), type(a))
    if derived and second is not None and found_in_class(a, reflected) is not second:
        found = call(second, b, a)
        if found is not NotImplemented:
            return found
        second = None
    if first is not None:
        found = call(first, a, b)
    elif type(a) is Tracer and (
        not a.ndim or found_in_class(b, "__array_ufunc__", _MISSING) is None
    ):
        found = NotImplemented  # as NumPy's scalars have it
    else:
        found = getattr(type(a), name, lambda *_: NotImplemented)(a, b)
    if found is NotImplemented and second is not None and (of_one_class or type(a) is not type(b)):
        found = call(second, b, a)
    return found


# -- attributes ------------------------------------------------------------------------------------


def attribute(x: Any, name: str) -> Any:
    """`x.name`."""
    if type(x) is Tracer or not type(x).__flags__ & _HEAP_TYPE:
        return getattr(x, name)
    if type(x) is Variants:
        return apart(x, lambda one: attribute(one, name))
    found = found_in_class(x, name)
    if type(found) is property and _is_own(found.fget):
        return _Connected.call(found.fget, x)
    if type(found) is functools.cached_property and _is_own(found.func):
        kept = vars(x)
        if name not in kept:
            kept[name] = _Connected.call(found.func, x)
        return kept[name]
    missing = method(x, "__getattr__") if found is None else None
    if missing is None:
        return getattr(x, name)
    try:
        return object.__getattribute__(x, name)
    except AttributeError:
        return _Connected.call(missing, x, name)


def set_attribute(x: Any, name: str, value: Any) -> None:
    """`x.name = value`."""
    if type(x) is Variants:
        apart(x, lambda one: set_attribute(one, name, value))
        return
    found = found_in_class(x, name)
    if type(found) is property and _is_own(found.fset):
        _Connected.call(found.fset, x, value)
    else:
        setattr(x, name, value)


def _is_own(function: Any) -> bool:
    return type(function) is FunctionType and is_to_be_rewritten(function.__code__)


# -- iteration -------------------------------------------------------------------------------------

CONSUMERS: frozenset[Any] = frozenset(
    (list, tuple, set, frozenset, dict, deque, sum, min, max, any, all, sorted)
    + (enumerate, zip, map, filter)
)
"""Builtins that go over their arguments."""


def added(items: Any, start: Any = 0) -> Any:
    """`sum` of objects whose `+` is the user's; NotImplemented for others."""
    is_own = isinstance(items, (list, tuple)) and any(
        method(x, "__add__") or method(x, "__radd__") for x in items
    )
    return (
        functools.reduce(functools.partial(binary, "+"), items, start) if is_own else NotImplemented
    )


def iterable(x: Any) -> Any:
    """An object of the user's as something that C code can go over; all else as it is."""
    if type(x) in PLAIN:
        return x
    own = method(x, "__iter__")
    if own is not None:
        return _iterator(_Connected.call(own, x))
    if method(x, "__next__") is not None:
        return _iterator(x)
    if method(x, "__getitem__") is not None and found_in_class(x, "__iter__") is None:
        return _by_number(x)
    return x


def _iterator(x: Any) -> Any:
    own = method(x, "__next__")
    return x if own is None else _taken(own, x)


def _taken(own: FunctionType, x: Any) -> Iterator[Any]:
    while True:
        try:
            item = _Connected.call(own, x)
        except StopIteration:
            return
        yield item


def _by_number(x: Any) -> Iterator[Any]:
    k = 0
    while True:
        try:
            item = _Connected.call(method(x, "__getitem__"), x, k)
        except IndexError:
            return
        yield item
        k += 1


# -- calls of builtins -----------------------------------------------------------------------------


def answer(function: Any, args: tuple[Any, ...]) -> Any:
    """What a builtin gives for objects whose methods are the user's; NotImplemented for others."""
    try:
        own = _ASKING.get(function)
    except TypeError:  # not hashable
        return NotImplemented
    return NotImplemented if own is None else own(*args)


def _asking(name: str, plain: Callable[..., Any] | None = None) -> Callable[..., Any]:
    """Of a builtin that asks a method of its first argument; and makes a number of its answer."""

    def ask(x: Any, *args: Any) -> Any:
        found = asked(x, name, *args)
        return found if found is NotImplemented or plain is None else _Connected.call(plain, found)

    return ask


def _both(name: str) -> Callable[..., Any]:
    def ask(*args: Any) -> Any:
        if len(args) > 2:
            return NotImplemented
        return _reflectable(f"__{name}__", f"__r{name}__", *args)

    return ask


def _operating(symbol: str) -> Callable[..., Any]:
    return lambda a, b: binary(symbol, a, b)


def _attribute(x: Any, name: str, *default: Any) -> Any:
    try:
        return attribute(x, name)
    except AttributeError:
        if not default:
            raise
        return default[0]


def _has_attribute(x: Any, name: str) -> bool:
    return _attribute(x, name, _MISSING) is not _MISSING


def _next(x: Any, *default: Any) -> Any:
    own = method(x, "__next__")
    if own is None:
        return NotImplemented
    try:
        return _Connected.call(own, x)
    except StopIteration:
        if not default:
            raise
        return default[0]


def _iter(x: Any) -> Any:
    items = iterable(x)
    return NotImplemented if items is x else items


def _reversed(x: Any) -> Any:
    own = method(x, "__reversed__")
    return NotImplemented if own is None else _iterator(_Connected.call(own, x))


_ASKING: dict[Any, Callable[..., Any]] = {
    abs: _asking("__abs__"),
    operator.abs: _asking("__abs__"),
    len: _asking("__len__"),
    round: _asking("__round__"),
    math.floor: _asking("__floor__"),
    math.ceil: _asking("__ceil__"),
    math.trunc: _asking("__trunc__"),
    float: _asking("__float__", float),
    int: _asking("__int__", int),
    complex: _asking("__complex__", complex),
    divmod: _both("divmod"),
    pow: _both("pow"),
    next: _next,
    sum: added,
    iter: _iter,
    reversed: _reversed,
    getattr: _attribute,
    hasattr: _has_attribute,
    operator.neg: functools.partial(unary, "-"),
    operator.pos: functools.partial(unary, "+"),
    operator.invert: functools.partial(unary, "~"),
    **{own.plain: _operating(symbol) for symbol, own in _OPERATORS.items()},
}
