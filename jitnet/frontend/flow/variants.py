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

import functools
import operator
import sys
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

from jitnet import errors, ops
from jitnet.frontend.context import run_traced, running_trace
from jitnet.frontend.dispatch import note_place
from jitnet.frontend.flow import conditions, signals
from jitnet.frontend.places import attributes, is_plain_object
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
    __array_ufunc__ = None  # operators of arrays leave the answer to this class

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


def _reflected(name: str) -> Callable[..., Any]:
    def method(self: Variants, other: Any) -> Any:
        return apart(self, lambda x: getattr(operator, name)(other, x))

    return method


for _name in (
    *("getitem", "setitem", "delitem", "contains", "eq", "ne", "lt", "le", "gt", "ge", "neg"),
    *("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor"),
    *("iadd", "isub", "imul", "itruediv", "ior", "iand", "abs"),
):
    setattr(Variants, f"__{_name}__", _answered(f"__{_name}__"))
for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul"):
    setattr(Variants, f"__r{_name}__", _reflected(f"__{_name}__"))
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
    objects, left = objects_of(x), _possible(x)

    def among(first: int, end: int) -> signals.Signal:
        k = left[first]
        if end - first == 1:
            return do(objects[k])
        which, middle = lift(which_of(x)).value, (first + end) // 2
        is_pair = end - first == 2
        is_before = ops.eq(which, index(k)) if is_pair else ops.lt(which, index(left[middle]))
        return _Connected.branch(
            is_before, lambda: among(first, middle), lambda: among(middle, end)
        )

    return among(0, len(left))


def are_alike(x: Variants) -> bool:
    """Whether the objects are lists or tuples of one length, so that there is one item k."""
    objects = objects_of(x)
    lengths = {len(one) if isinstance(one, (list, tuple)) else -1 for one in objects}
    return len(lengths) == 1 and -1 not in lengths


_METHODS = (FunctionType, MethodDescriptorType, WrapperDescriptorType, classmethod, staticmethod)


def _is_method(x: Any, name: str) -> bool:
    """Whether an attribute is a method, and none that the object holds itself."""
    found = next((vars(c)[name] for c in type(x).__mro__ if name in vars(c)), None)
    return isinstance(found, _METHODS) and not (is_plain_object(x) and name in attributes(x))


# -- which of them it may be -----------------------------------------------------------------------


def _possible(x: Variants) -> list[int]:
    return conditions.possible(which_of(x), len(objects_of(x)))


def narrowed(x: Variants) -> Any:
    """Variants without those that it cannot be here; the one that is left."""
    objects, left = objects_of(x), _possible(x)
    if len(left) == len(objects):
        return x
    if len(left) == 1:
        return objects[left[0]]
    numbers = [left.index(k) if k in left else 0 for k in range(len(objects))]
    return Variants(renumbered(which_of(x), numbers), [objects[k] for k in left])


def is_object(x: Variants, other: Any) -> bool | Value:
    """`x is other`, of something that is no variants; branches on it know what it means."""
    objects, left = objects_of(x), _possible(x)
    wanted = frozenset(k for k in left if objects[k] is other)
    if not wanted or len(wanted) == len(left):
        return bool(wanted)
    note_place()
    which = lift(which_of(x)).value
    first, *others = (ops.eq(which, index(k)) for k in sorted(wanted))
    found = functools.reduce(ops.bitwise_or, others, first)
    everything = frozenset(range(len(objects)))
    conditions.says(found, which_of(x), wanted, everything - wanted)
    return found


def noted(truth: bool | Value, x: Variants) -> bool | Value:
    """The truth of variants; where it holds, None is not among them."""
    if isinstance(truth, Value):
        everything = frozenset(range(len(objects_of(x))))
        some = frozenset(k for k in everything if objects_of(x)[k] is not None)
        conditions.says(truth, which_of(x), some, everything)
    return truth


# -- which of some objects it is -------------------------------------------------------------------


def is_one(a: Any, b: Any) -> bool:
    """Whether two names are of one object; bound methods and texts are made anew each time."""
    if a is b:
        return True
    if type(a) is not type(b) or not isinstance(a, (MethodType, BuiltinFunctionType, str, bytes)):
        return False
    if isinstance(a, (str, bytes)):
        return bool(a == b)
    if isinstance(a, MethodType):
        return a.__self__ is b.__self__ and a.__func__ is b.__func__
    return a.__self__ is b.__self__ and a.__name__ == b.__name__


def number_among(x: Any, objects: Sequence[Any]) -> Any:
    """Which of these objects something is, the next number where it is none of them: a number, or a
    traced one."""
    numbers = [
        next((k for k, other in enumerate(objects) if is_one(one, other)), len(objects))
        for one in objects_of(x)
    ]
    return renumbered(which_of(x), numbers) if type(x) is Variants else numbers[0]


def picked(which: Any, objects: Sequence[Any]) -> Any:
    """`objects[which]`, of a traced number; variants among the objects are taken apart."""
    if not any(type(x) is Variants for x in objects):
        return Variants(which, objects)
    single: list[Any] = []
    for one in (one for x in objects for one in objects_of(x)):
        if not any(is_one(one, other) for other in single):
            single.append(one)
    if len(single) == 1:
        return single[0]
    at = lift(which).value
    first, *others = (lift(number_among(x, single)).value for x in objects)
    for k, number in enumerate(others):
        first = ops.select(ops.eq(at, index(k + 1)), number, first)
    return Variants(wrap(first, "python"), single)


def renumbered(which: Any, numbers: Sequence[int]) -> Any:
    """`numbers[which]`, of a traced number."""
    if list(numbers) == list(range(len(numbers))):
        return which
    value = lift(which).value
    found: Value = index(numbers[-1])
    for k in reversed(range(len(numbers) - 1)):
        found = ops.select(ops.eq(value, k), index(numbers[k]), found)
    return wrap(found, "python")


# -- returned --------------------------------------------------------------------------------------


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


def refuse_in(out: Any) -> None:
    """Raises:
    ReturnError: for variants in what a function that is transformed returns.
    """
    if type(out) is Variants:
        raise errors.ReturnError(
            "the function returns one of several things",
            why="which of them it is would only be known when the program runs",
            remedy="return values of one type and shape on all paths",
        )
    kind = node_kind(type(out))
    for child in () if kind is None or out is None else kind.flatten(out)[0]:
        refuse_in(child)


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
