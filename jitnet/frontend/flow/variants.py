"""One of several objects, of which the program says which one is meant when it runs.

    best = a                      %which = if %lower { 1 } { 0 }
    if b.cost < a.cost:
        best = b                  Variants(%which, a, b)
    best.visits += 1              an `if` on %which, that changes a in one arm and b in the other

Lists, dicts and objects are told apart by who they are: what is written to one of them is seen
through all of its names. So a choice between them makes no new one. All that is done with it is
done with each of the objects, in the arms of an `if`. What the outermost function returns may be
None, or an array of one of several shapes, too: the call gives the one that is meant.
"""

from __future__ import annotations

import operator
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import (
    BuiltinFunctionType,
    FrameType,
    FunctionType,
    MethodDescriptorType,
    MethodType,
    WrapperDescriptorType,
)
from typing import Any

import numpy as np

from jitnet import ops
from jitnet.frontend.context import run_traced, running_trace
from jitnet.frontend.flow import signals
from jitnet.frontend.places import attributes, is_plain_object, set_attributes
from jitnet.frontend.pytree import NodeKind, declare_node, node_kind
from jitnet.frontend.rewriting import is_thunk
from jitnet.frontend.tracer import Tracer, lift, wrap
from jitnet.ir import Value, index
from jitnet.source import is_users

MOST_VARIANTS = 64
"""An object may be one of so many."""

Branch = Callable[[Value, Callable[[], Any], Callable[[], Any]], signals.Signal]


class _Connected:
    branch: Branch


def install(branch: Branch) -> None:
    """Connect `branches.branch`, which joins values and makes variants of some."""
    _Connected.branch = staticmethod(branch)


class Variants:
    """One of several objects.

    Python's protocols are answered by the object that is meant, through `apart`.
    """

    __slots__ = ("__objects", "__which")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, which: Any, objects: Sequence[Any]) -> None:
        """Args:
        which: the number of the object that is meant, a traced one.
        objects: the objects.
        """
        object.__setattr__(self, "_Variants__which", which)
        object.__setattr__(self, "_Variants__objects", tuple(objects))

    def __getattr__(self, name: str) -> Any:
        objects = objects_of(self)
        if all(_is_method(x, name) for x in objects):
            return Variants(which_of(self), [getattr(x, name) for x in objects])
        return apart(self, lambda x: getattr(x, name))

    def __setattr__(self, name: str, value: Any) -> None:
        apart(self, lambda x: setattr(x, name, value))

    def __delattr__(self, name: str) -> None:
        apart(self, lambda x: delattr(x, name))

    def __iter__(self) -> Iterator[Any]:
        objects = objects_of(self)
        if are_alike(self):
            return (apart(self, operator.itemgetter(k)) for k in range(len(objects[0])))
        return iter(apart(self, list))

    def __bool__(self) -> bool:
        return bool(apart(self, bool))


def _answered(name: str) -> Callable[..., Any]:
    def method(self: Variants, *others: Any) -> Any:
        return apart(self, lambda x: getattr(operator, name)(x, *others))

    return method


for _name in (
    *("getitem", "setitem", "delitem", "contains", "eq", "ne", "lt", "le", "gt", "ge", "neg"),
    *("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor"),
    *("iadd", "isub", "imul", "itruediv", "ior", "iand", "abs"),
):
    setattr(Variants, f"__{_name}__", _answered(f"__{_name}__"))
Variants.__len__ = _answered("length_hint")  # type: ignore[attr-defined]
del _name


def which_of(x: Variants) -> Any:
    """The number of the object that is meant."""
    return object.__getattribute__(x, "_Variants__which")


def objects_of(x: Any) -> tuple[Any, ...]:
    """The objects that something may be: itself, if it is no variants."""
    if type(x) is Variants:
        found: tuple[Any, ...] = object.__getattribute__(x, "_Variants__objects")
        return found
    return (x,)


def apart(x: Variants, do: Callable[[Any], Any]) -> Any:
    """`do(x)`: done with each of the objects, where it is the one that is meant."""

    def done(one: Any) -> signals.Signal:
        try:
            return signals.known(signals.VALUE, do(one))
        except (AttributeError, TypeError) as error:
            if one is None and "NoneType" in str(error):
                signals.mark_raised(error)  # the program raises it where this is None
            raise

    return apart_signals(x, done).value


def apart_signals(x: Variants, do: Callable[[Any], signals.Signal]) -> signals.Signal:
    """As `apart`, of parts of the program that may jump."""
    objects = objects_of(x)

    def from_(k: int) -> signals.Signal:
        if k + 1 == len(objects):
            return do(objects[k])
        is_it = ops.eq(lift(which_of(x)).value, index(k))
        return _Connected.branch(is_it, lambda: do(objects[k]), lambda: from_(k + 1))

    return from_(0)


def are_alike(x: Variants) -> bool:
    """Whether the objects are lists or tuples of one length, so that there is one item k."""
    objects = objects_of(x)
    lengths = {len(one) if isinstance(one, (list, tuple)) else -1 for one in objects}
    return len(lengths) == 1 and -1 not in lengths


def unfolded(do: Callable[..., Any], args: Sequence[Any]) -> Any:
    """`do(*args)`, with each of the objects in the place of the variants among the arguments."""
    k = next((k for k, x in enumerate(args) if type(x) is Variants), None)
    if k is None:
        return do(*args)
    return apart(args[k], lambda x: unfolded(do, (*args[:k], x, *args[k + 1 :])))


_METHODS = (FunctionType, MethodDescriptorType, WrapperDescriptorType, classmethod, staticmethod)


def _is_method(x: Any, name: str) -> bool:
    """Whether an attribute is a method, and none that the object holds itself."""
    found = next((vars(c)[name] for c in type(x).__mro__ if name in vars(c)), None)
    return isinstance(found, _METHODS) and not (is_plain_object(x) and name in attributes(x))


def is_container(x: Any) -> bool:
    """Whether an object can be changed: a list, a dict, an object with attributes."""
    return isinstance(x, (list, dict, set, deque)) or type(x) is Variants or is_plain_object(x)


def is_value(x: Any) -> bool:
    """Whether an object is the same as another one that holds the same."""
    if not is_container(x):
        return True
    frozen = getattr(type(x), "__dataclass_params__", None)
    return frozen is not None and bool(frozen.frozen)


def has_identity(x: Any) -> bool:
    """Whether an object is told apart from others that hold the same, or is a function."""
    return is_container(x) or isinstance(x, _FUNCTIONS)


_FUNCTIONS = (FunctionType, MethodType, BuiltinFunctionType, np.ufunc)


def is_one(a: Any, b: Any) -> bool:
    """Whether two names are of one object; bound methods are made anew each time."""
    if a is b:
        return True
    if type(a) is not type(b) or not isinstance(a, (MethodType, BuiltinFunctionType)):
        return False
    return a.__self__ is b.__self__ and a.__name__ == b.__name__


def kind_of_container(x: Any) -> NodeKind | None:
    """How containers, and objects that are their attributes, are taken apart."""
    if type(x) is deque:
        return _DEQUES
    return _objects(type(x)) if is_plain_object(x) else node_kind(type(x))


def _of_object(x: Any) -> tuple[list[Any], tuple[str, ...]]:
    found = attributes(x)
    return list(found.values()), tuple(found)


def _objects(cls: type) -> NodeKind:
    def unflatten(names: Any, children: Iterable[Any]) -> Any:
        made: Any = object.__new__(cls)
        set_attributes(made, dict(zip(names, children)))
        return made

    return NodeKind(_of_object, unflatten, lambda names, count: names)


_DEQUES = NodeKind(
    lambda x: (list(x), x.maxlen),
    lambda maxlen, children: deque(children, maxlen),
    lambda meta, count: map(str, range(count)),
)


def number_among(x: Any, objects: Sequence[Any]) -> Any:
    """Which of these objects something is: a number, or a traced one."""
    numbers = [
        next(k for k, other in enumerate(objects) if is_one(one, other)) for one in objects_of(x)
    ]
    return renumbered(which_of(x), numbers) if type(x) is Variants else numbers[0]


def renumbered(which: Any, numbers: Sequence[int]) -> Any:
    """`numbers[which]`, of a traced number."""
    if list(numbers) == list(range(len(numbers))):
        return which
    value = lift(which).value
    found: Value = index(numbers[-1])
    for k in reversed(range(len(numbers) - 1)):
        found = ops.select(ops.eq(value, k), index(numbers[k]), found)
    return wrap(found, "python")


def _made(meta: object, children: Iterable[Any]) -> Any:
    """The variants; the one that is meant, once that is known."""
    which, *objects = children
    return Variants(which, objects) if type(which) is Tracer else objects[which]


declare_node(
    Variants,
    NodeKind(
        lambda x: ([which_of(x), *objects_of(x)], len(objects_of(x))),
        _made,
        lambda meta, count: ("which", *map(str, range(count - 1))),
    ),
)


def are_possible() -> bool:
    """Whether what is returned just now is what the call of a compiled function gives."""
    if running_trace().function.parent is not None:
        return False
    functions = 0
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code is not run_traced.__code__:
        functions += is_users(frame.f_code.co_filename) and not is_thunk(frame.f_code)
        frame = frame.f_back
    return functions == 1
