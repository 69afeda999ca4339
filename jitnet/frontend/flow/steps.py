"""What loops go over, as a number of steps and what each gives: ranges, arrays, pairs of them.

    for i, row in enumerate(x):      3 steps; step k gives (k, x[k])
    for i in range(n):               %n steps; step k gives k

`Steps` are what `range(n)`, `enumerate(x)`, `zip(x, y)` and `reversed(x)` stand for where a traced
value or an array is among their arguments. Other iterables are Python's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from jitnet import errors, ops
from jitnet.frontend.arrays import view_of
from jitnet.frontend.context import NeedStatic, integer_arguments_of, running_trace
from jitnet.frontend.dims import count, number
from jitnet.frontend.flats import Flat, Indices
from jitnet.frontend.tracer import Tracer, lift, wrap
from jitnet.ir import Dim, Literal, Value, as_dim, as_value
from jitnet.ir import types as T

EXHAUSTED, SOME = -1, -2


def _untouched() -> dict[str, Any]:
    return {"taken": 0}


@dataclass(frozen=True)
class Steps:
    """What a loop goes over.

    Attributes:
        count: how many steps: an int, or a traced one.
        item: what the step of a number gives; the number is an int, or traced and in bounds.
        arrays: those that the items are read from.
        source: a list or deque on a tape that the items are read from.
        taken: of an iterator, under "taken", how many items it has given, or EXHAUSTED, or SOME;
            None for what can be gone over again.
        under: an iterator that this one takes its items from.
    """

    count: Any
    item: Callable[[Any], Any]
    arrays: tuple[Tracer, ...] = ()
    source: Any = None
    taken: dict[str, Any] | None = field(default=None, compare=False)
    under: Steps | None = field(default=None, compare=False)

    def __iter__(self) -> Iterator[Any]:
        if self.taken is None:
            return (self.item(k) for k in range(self.known_count("iteration")))
        return self.left()

    def left(self) -> Iterator[Any]:
        """The items that an iterator has not given yet."""
        while self._number_taken() != EXHAUSTED and self._number_taken() < self.known_count("it"):
            k = self._number_taken()
            self.taken["taken"] = k + 1  # type: ignore[index]
            yield self.item(k)
        self.exhaust()

    def _number_taken(self) -> int:
        number = None if self.taken is None else self.taken["taken"]
        if type(number) is not int or number == SOME:
            raise errors.ConcretizationError(
                "an iterator of which items have been taken already",
                why="how many are left is only known when the program runs",
                remedy="make a list of it, list(...), or go over it once",
            )
        return number

    def exhaust(self) -> None:
        """Note that an iterator has no more items."""
        if self.taken is not None:
            self.taken["taken"] = EXHAUSTED
        if self.under is not None:
            self.under.exhaust()

    def take(self, entirely: bool) -> Steps:
        """What is left to go over; an iterator is EXHAUSTED then, or has given SOME items.

        Raises:
            ConcretizationError: for an iterator that has given some before.
        """
        if self.taken is None:
            return self
        before = self._number_taken()
        self.taken["taken"] = SOME
        if entirely:
            self.exhaust()
        if before == EXHAUSTED:
            return Steps(0, self.item)
        if before == 0:
            return replace(self, taken=None)
        left = lift(self.count).value if type(self.count) is not int else self.count
        count = max(left - before, 0) if isinstance(left, int) else _at_least_none(left, before)
        return Steps(count, lambda k: self.item(k + before), self.arrays)

    def __len__(self) -> int:
        return self.known_count("the length")

    def known_count(self, what: str) -> int:
        """The number of steps.

        Raises:
            NeedStatic: where int arguments decide it.
            ConcretizationError: where only the program knows it.
        """
        if type(self.count) is int:
            return self.count
        leaves = integer_arguments_of(running_trace(), lift(self.count).value)
        if leaves is not None:
            raise NeedStatic(leaves)
        raise errors.ConcretizationError(
            f"{what} over as many steps as the program decides",
            why="each step would be traced by itself",
            remedy="use a for statement, which stays a loop",
        )


@dataclass(frozen=True)
class Filtered:
    """A generator expression that leaves items out: those that do not meet the condition.

    Attributes:
        steps: what it goes over.
        element: `item → what is generated`.
    """

    steps: Steps
    element: Callable[[Any], Any]
    condition: Callable[[Any], Any]

    def __iter__(self) -> Iterator[Any]:
        raise errors.ConcretizationError(
            "a generator expression with a condition that a traced value decides",
            why="how many items it has is only known when the program runs",
            remedy="use a list, [... for ... in ... if ...], or a for statement",
        )


class Few:
    """A generator expression over a few items, which are traced one by one. Unlike a generator of
    Python's it can be set back, as each path of the program starts with it anew."""

    def __init__(
        self,
        steps: Steps,
        element: Callable[[Any], Any],
        condition: Callable[[Any], bool] | None = None,
    ) -> None:
        self.steps = iterator(steps.take(entirely=False), steps)
        self._element = element
        self._condition = condition

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        while True:
            item = next(self.steps.left())
            if self._condition is None or self._condition(item):
                return self._element(item)


def iterator(steps: Steps, under: Steps | None = None) -> Steps:
    """An iterator over what these steps go over, which are those left of `under`."""
    return replace(steps, taken=_untouched(), under=under)


def _at_least_none(count: Value, taken: int) -> Any:
    return number(as_dim(ops.maximum(ops.sub(count, taken), 0)))


class Range(Steps):
    """A range, which has items as a list has."""

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, slice):
            return list(self)[key]
        count, k = lift(self.count).value, _index(key)
        at = ops.select(ops.lt(k, 0), ops.add(k, count), k)
        inside = ops.bitwise_and(ops.ge(at, 0), ops.lt(at, count))
        ops.check(inside, [], "IndexError", "range object index out of range")
        return self.item(wrap(at, "python"))


def steps_of(x: Any) -> Steps | None:
    """What a loop over `x` goes over; None for Python's own iterables."""
    if isinstance(x, Steps):
        return x
    if isinstance(x, range):
        start, step = x.start, x.step
        return Steps(
            len(x), lambda k: start + k * step if type(k) is int else _affine(k, start, step)
        )
    if isinstance(x, np.ndarray):
        x = lift(x)
    if type(x) is Flat:
        return Steps(number(count(x.base.value.dims)), x.__getitem__)
    if type(x) is Indices:
        return Steps(x.count(), x.item)
    if type(x) is not Tracer:
        return None
    if x.flavour != "array":
        raise TypeError(f"{x.__class__.__name__!r} object is not iterable")
    if x.ndim == 0:
        raise TypeError("iteration over a 0-d array")
    return Steps(number(x.value.dims[0]), lambda k: _row(x, k), (x,))


def _affine(k: Tracer, start: int, step: int) -> Tracer:
    """`start + k * step`, which a range keeps within int64."""
    value = k.value
    if step != 1:
        value = ops.mul(value, step)
    return wrap(ops.add(value, start) if start else value, "python")


def _row(x: Tracer, k: Any) -> Any:
    """`x[k]` with k in bounds: a view, or a scalar of a vector."""
    base, trace = x.value, running_trace()
    mark = len(trace.builder.eqns)
    at = k.value if type(k) is Tracer else as_value(k)
    starts: list[Dim] = [as_dim(at), *[0] * (base.rank - 1)]
    row = ops.slice(base, starts, [1, *base.dims[1:]], [1] * base.rank)
    found = ops.reshape(row, base.dims[1:])
    if not found.rank:
        return wrap(found, "scalar")
    view = view_of(x.place, base, found, trace.builder.eqns[mark:])
    return wrap(found) if view is None else Tracer(view, "array")


# -- Python's makers of iterables ------------------------------------------------------------------


def range_(*args: Any) -> Any:
    """`range` of ints of which some are traced.

    Raises:
        ValueRefusedError: for a step that is 0.
    """
    if not any(type(a) is Tracer for a in args):
        return range(*args)
    for a in args:
        if type(a) is Tracer and not (a.ndim == 0 and a.dtype.kind in "iu"):
            raise errors.DTypeError(
                f"'{getattr(a.__class__, '__name__', 'array')}' object cannot be interpreted as an "
                "integer"
            )
    start, stop, step = (0, *args, 1) if len(args) == 1 else (*args, 1)[:3]
    a, b, k = (_index(v) for v in (start, stop, step))
    if isinstance(k, Literal):
        if k.item == 0:
            raise errors.ValueRefusedError("range() arg 3 must not be zero")
        span = ops.sub(b, a) if k.item > 0 else ops.sub(a, b)
        size = abs(int(k.item))
        count = span if size == 1 else ops.floordiv(ops.add(span, size - 1), size)
    else:
        ops.check(ops.ne(k, 0), [], "ValueError", "range() arg 3 must not be zero")
        sign = ops.sign(k)
        safe = ops.select(ops.eq(k, 0), Literal(1, T.i64), ops.abs(k))
        span = ops.mul(ops.sub(b, a), sign)
        count = ops.floordiv(ops.add(span, ops.sub(safe, 1)), safe)
    total = ops.maximum(count, 0)
    first, stride = wrap(a, "python"), wrap(k, "python")

    def item(i: Any) -> Any:
        i = i.value if type(i) is Tracer else as_value(i)
        scaled = i if isinstance(k, Literal) and k.item == 1 else ops.mul(i, stride.value)
        zero = isinstance(a, Literal) and a.item == 0
        return wrap(scaled if zero else ops.add(scaled, first.value), "python")

    return Range(number(as_dim(total)), item)


def _index(x: Any) -> Value:
    value = lift(x).value
    return value if value.dtype == T.i64 else ops.convert(value, T.i64)


def enumerate_(iterable: Any, start: Any = 0) -> Any:
    """`enumerate`, of arrays and traced ranges too."""
    steps = _steps_to_keep(iterable)
    if steps is None:
        return enumerate(iterable, start)
    return iterator(Steps(steps.count, lambda k: (k + start, steps.item(k)), steps.arrays))


def zip_(*iterables: Any, strict: bool = False) -> Any:
    """`zip`, of arrays and traced ranges too."""
    kept = [_steps_to_keep(x) for x in iterables]
    if all(steps is None for steps in kept):
        return zip(*iterables, strict=strict)
    parts = [s if s is not None else _sequence(x) for s, x in zip(kept, iterables)]
    counts = [p.count for p in parts]
    if all(type(c) is int for c in counts):
        least: Any = min(counts)
        if strict and len(set(counts)) > 1:
            raise ValueError("zip() arguments are of different lengths")
    elif all(c is counts[0] for c in counts[1:]):
        least = counts[0]
    else:
        shortest = lift(counts[0]).value
        for c in counts[1:]:
            shortest = ops.minimum(shortest, lift(c).value)
        least = number(as_dim(shortest))
    arrays = tuple(array for p in parts for array in p.arrays)
    return iterator(Steps(least, lambda k: tuple(p.item(k) for p in parts), arrays))


def reversed_(sequence: Any) -> Any:
    """`reversed`, of arrays and traced ranges too."""
    steps = _steps_to_keep(sequence)
    if steps is None:
        return reversed(sequence)
    last = steps.count - 1 if type(steps.count) is int else _minus(steps.count, lift(1))
    turned = lambda k: steps.item(last - k if type(k) is int else _minus(last, k))  # noqa: E731
    return iterator(Steps(steps.count, turned, steps.arrays))


def _minus(last: Any, k: Tracer) -> Tracer:
    return wrap(ops.sub(lift(last).value, k.value), "python")


def _steps_to_keep(x: Any) -> Steps | None:
    """Steps of what should stay a loop: arrays, and ranges of more than a few numbers."""
    known = isinstance(x, (Steps, Tracer, Flat, Indices, np.ndarray, range))
    steps = steps_of(x) if known else None
    return None if steps is None else steps.take(entirely=False)


def _sequence(x: Iterable[Any]) -> Steps:
    """Any iterable as a sequence, whose items need to be asked for by number."""
    items: Sequence[Any] = x if isinstance(x, (list, tuple)) else list(x)
    return Steps(len(items), lambda k: items[k])
