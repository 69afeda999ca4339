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
from typing import Any, NamedTuple

from jitnet import errors, ops
from jitnet.frontend.context import Trace, run_traced, running_trace
from jitnet.frontend.dispatch import note_place
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
    objects, left = objects_of(x), possible(x)

    def from_(at: int) -> signals.Signal:
        k = left[at]
        if at + 1 == len(left):
            return do(objects[k])
        is_it = ops.eq(lift(which_of(x)).value, index(k))
        return _Connected.branch(is_it, lambda: do(objects[k]), lambda: from_(at + 1))

    return from_(0)


# -- which of them it may be -----------------------------------------------------------------------


class Fact(NamedTuple):
    """What a condition says of variants: their number, and what it may be where the condition holds
    and where it does not."""

    which: Any
    inside: frozenset[int]
    outside: frozenset[int]


def possible(x: Variants) -> list[int]:
    """The numbers that are left, by the conditions that hold where the trace is."""
    which = which_of(x)
    found = set(range(len(objects_of(x))))
    trace: Trace | None = running_trace()
    while trace is not None:
        _, numbers = trace.facts.get(id(which), (which, found))
        found &= numbers
        trace = trace.parent
    return sorted(found) or [0]


def narrowed(x: Variants) -> Any:
    """Variants without those that it cannot be here; the one that is left."""
    left, objects = possible(x), objects_of(x)
    if len(left) == len(objects):
        return x
    if len(left) == 1:
        return objects[left[0]]
    numbers = [left.index(k) if k in left else 0 for k in range(len(objects))]
    return Variants(renumbered(which_of(x), numbers), [objects[k] for k in left])


def is_object(x: Variants, other: Any) -> bool | Value:
    """`x is other`, of something that is no variants; branches on it know what it means."""
    objects, left = objects_of(x), possible(x)
    wanted = {k for k in left if objects[k] is other}
    if not wanted or len(wanted) == len(left):
        return bool(wanted)
    note_place()
    which = lift(which_of(x)).value
    first, *others = (ops.eq(which, index(k)) for k in sorted(wanted))
    found = functools.reduce(ops.bitwise_or, others, first)
    everything = frozenset(range(len(objects)))
    running_trace().function.tests[found] = [
        Fact(which_of(x), frozenset(wanted), everything - wanted)
    ]
    return found


def noted(truth: bool | Value, x: Variants) -> bool | Value:
    """The truth of variants; where it holds, None is not among them."""
    if isinstance(truth, Value):
        everything = frozenset(range(len(objects_of(x))))
        some = frozenset(k for k in everything if objects_of(x)[k] is not None)
        running_trace().function.tests[truth] = [Fact(which_of(x), some, everything)]
    return truth


def negated(condition: Value) -> Value:
    """`not condition`, which branches know the meaning of where they do that of the condition."""
    found = ops.logical_not(condition)
    tests = running_trace().function.tests
    if condition in tests:
        tests[found] = [Fact(f.which, f.outside, f.inside) for f in tests[condition]]
    return found


def note_parts(whole: Any, parts: Iterable[Value | None], every: bool) -> Any:
    """`a and b`: where it holds, each of its parts does (`every`); `a or b`: where it does not,
    none of them does. The whole itself."""
    tests = running_trace().function.tests
    known = [fact for part in parts if part is not None for fact in tests.get(part, ())]
    if type(whole) is Tracer and known:
        tests[whole.value] = [
            Fact(f.which, f.inside, f.inside | f.outside)
            if every
            else Fact(f.which, f.inside | f.outside, f.outside)
            for f in known
        ]
    return whole


def note_fact(region: Trace, condition: Value, holds: bool) -> None:
    """Note in a region that a condition holds there, or does not."""
    for fact in running_trace().function.tests.get(condition, ()):
        numbers = fact.inside if holds else fact.outside
        _, before = region.facts.get(id(fact.which), (None, numbers))
        region.facts[id(fact.which)] = fact.which, before & numbers


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


def is_among(key: Any) -> bool:
    """Whether variants are in an index: themselves, in a tuple or a slice."""
    if type(key) is tuple:
        return any(map(is_among, key))
    if type(key) is slice:
        return Variants in (type(key.start), type(key.stop), type(key.step))
    return type(key) is Variants


def with_key(do: Callable[[Any], Any], key: Any) -> Any:
    """`do(key)` of an index with variants in it."""
    if type(key) is Variants:
        return apart(key, do)
    if type(key) is slice:
        bounds = (key.start, key.stop, key.step)
        return unfolded(lambda *known: do(slice(*known)), bounds)
    at = next((k for k, part in enumerate(key) if is_among(part)), None)
    if at is None:
        return do(key)
    return with_key(lambda known: with_key(do, (*key[:at], known, *key[at + 1 :])), key[at])


def is_in(x: Any, depth: int = 4) -> bool:
    """Whether variants are among the items of lists and tuples, for NumPy to make an array of."""
    if not isinstance(x, (list, tuple)) or not depth:
        return False
    return any(type(item) is Variants or is_in(item, depth - 1) for item in x)


def with_items(do: Callable[[Any], Any], x: Any) -> Any:
    """`do(x)` of a tuple or list with variants in it."""
    k = next((k for k, item in enumerate(x) if type(item) is Variants or is_in(item)), None)
    if k is None:
        return do(x)

    def without(known: Any) -> Any:
        return with_items(do, _replaced(x, k, known))

    return apart(x[k], without) if type(x[k]) is Variants else with_items(without, x[k])


def _replaced(x: Any, k: int, item: Any) -> Any:
    return type(x)([*x[:k], item, *x[k + 1 :]])


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
    """Whether an object is told apart from others that hold the same, or is a function or text."""
    return is_container(x) or callable(x) or type(x) in (str, bytes)


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
