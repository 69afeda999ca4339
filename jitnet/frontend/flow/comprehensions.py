"""List comprehensions, generator expressions, and what is made of them: sum, min, max, any, all.

    [f(row) for row in x]              a few steps: a list, traced step by step
    [f(i) for i in range(n)]           many, or a traced number: a loop, and a list on a tape
    sum(x[i] for i in range(n))        a loop that carries the sum
    [v for v in x if v > 0]            a loop too, which appends under a condition

A generator expression over many steps is a `Steps`, whose items are computed where they are asked
for; one with a condition that data decides is `Filtered`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jitnet import errors, ops
from jitnet.frontend.flow import branches, growing, loops, signals, specials
from jitnet.frontend.flow.comparing import compared
from jitnet.frontend.flow.steps import Few, Filtered, Steps, iterator, steps_of, zip_
from jitnet.frontend.flow.truth import truth
from jitnet.frontend.pytree import declare_leaf
from jitnet.frontend.tracer import lift

FEW_ITEMS = 32
"""Comprehensions over no more items are traced item by item."""


declare_leaf(Filtered)


def comprehension(
    iterable: Any,
    element: Callable[[Any], Any],
    kind: str,
    condition: Callable[[Any], Any] | None = None,
) -> Any:
    """`[element(x) for x in iterable if condition(x)]`, or the generator."""
    iterable = specials.iterable(iterable)
    if condition is not None:
        return _conditional(iterable, element, kind, condition)
    if type(iterable) is Filtered:
        iterable = listed(iterable)
    if growing.grown(iterable) is not None:
        iterable = growing.steps(iterable)
    steps = steps_of(iterable)
    if steps is None or (type(steps.count) is int and steps.count <= FEW_ITEMS):
        return _one_by_one(iterable, steps, element, kind)
    if kind != "list":
        kept = steps.take(entirely=False)
        return iterator(Steps(kept.count, lambda k: element(kept.item(k))), steps)
    try:
        return _listed(steps, element)
    except errors.ConcretizationError:
        if type(steps.count) is not int:
            raise
        return [element(x) for x in steps]


def _one_by_one(
    iterable: Any,
    steps: Steps | None,
    element: Callable[[Any], Any],
    kind: str,
    condition: Callable[[Any], bool] | None = None,
) -> Any:
    """A comprehension whose items are traced as they are asked for."""
    if steps is None and isinstance(iterable, (list, tuple, dict)) and kind != "list":
        items = tuple(iterable)
        steps = Steps(len(items), items.__getitem__)
    if steps is not None and kind != "list":
        return Few(steps, element, condition)
    kept = iter(iterable if steps is None else steps)
    if condition is not None:
        kept = filter(condition, kept)
    return list(map(element, kept)) if kind == "list" else map(element, kept)


def map_(function: Any, /, *iterables: Any) -> Any:
    """`map`: the generator expression that it stands for."""
    if len(iterables) == 1:
        return comprehension(iterables[0], lambda x: _Connected.call(function, x), "generator")
    kept = zip_(*iterables)
    return comprehension(kept, lambda xs: _Connected.call(function, *xs), "generator")


class _Connected:
    call: Callable[..., Any]


def install(call: Callable[..., Any]) -> None:
    """Connect the calls of the user's program."""
    _Connected.call = staticmethod(call)


def _listed(steps: Steps, element: Callable[[Any], Any]) -> list[Any]:
    made: list[Any] = []

    def body(item: Any) -> None:
        value = element(item)
        if growing.grown(made) is None:
            made.append(value)
        else:
            growing.append(made, value)

    loops.for_(steps, body)
    return made


def _conditional(
    iterable: Any, element: Callable[[Any], Any], kind: str, condition: Callable[[Any], Any]
) -> Any:
    if type(iterable) is Filtered:
        iterable = listed(iterable)
    steps = steps_of(iterable) if growing.grown(iterable) is None else growing.steps(iterable)
    if isinstance(iterable, (list, tuple)) and steps is None:
        steps = Steps(len(iterable), tuple(iterable).__getitem__)
    if steps is None or _is_known(steps, condition):
        return _one_by_one(iterable, steps, element, kind, lambda x: bool(truth(condition(x))))
    found = Filtered(iterator(steps.take(entirely=False), steps), element, condition)
    return listed(found) if kind == "list" else found


def _is_known(steps: Steps, condition: Callable[[Any], Any]) -> bool:
    """Whether the condition is one that the trace can decide, as the first item shows."""
    if type(steps.count) is not int:
        return False
    return steps.count == 0 or isinstance(truth(condition(steps.item(0))), bool)


def filter_(condition: Callable[[Any], Any] | None, items: Any, /) -> Any:
    """`filter`: the generator expression that it stands for."""
    return comprehension(items, lambda x: x, "generator", condition or (lambda x: x))


def for_(
    iterable: Any,
    body: Callable[..., Any],
    orelse: Callable[[], Any] | None = None,
    rest: Callable[[], Any] | None = None,
) -> Any:
    """As `loops.for_`, over generator expressions with conditions too."""
    items = listed(iterable) if type(iterable) is Filtered else specials.iterable(iterable)
    return loops.for_(items, body, orelse, rest)


def listed(items: Filtered) -> list[Any]:
    """`list` of a generator expression, which is on a tape."""
    made: list[Any] = []

    def body(item: Any) -> Any:
        def keep() -> None:
            value = items.element(item)
            if growing.grown(made) is None:
                made.append(value)
            else:
                growing.append(made, value)

        return branches.if_(items.condition(item), keep, None)

    loops.for_(items.steps, body)
    return made


def sum_(items: Steps | Filtered, /, start: Any = 0) -> Any:
    """`sum` of a generator expression."""
    total = start

    def body(item: Any) -> Any:
        def add() -> None:
            nonlocal total
            total = total + (item if isinstance(items, Steps) else items.element(item))

        if isinstance(items, Steps):
            return add()
        return branches.if_(items.condition(item), add, None)

    loops.for_(items if isinstance(items, Steps) else items.steps, body)
    return total


_NOTHING: Any = object()


def _extreme(items: Any, better: str, name: str, key: Any, default: Any) -> Any:
    """The first of the best items."""
    steps = _steps_to_compare(items)
    if default is _NOTHING:
        return _first_of_best(steps, better, name, key)
    if type(steps.count) is int:
        return _first_of_best(steps, better, name, key) if steps.count else default
    there = branches.branch(
        ops.gt(lift(steps.count).value, 0),
        lambda: signals.known(signals.VALUE, _first_of_best(steps, better, name, key)),
        lambda: signals.known(signals.VALUE, default),
    )
    return there.value


def _steps_to_compare(x: Any) -> Steps:
    if isinstance(x, Filtered):
        x = listed(x)
    if growing.grown(x) is not None:
        return growing.steps(x)
    found = steps_of(x)
    if found is not None:
        return found.take(entirely=True)
    items = list(x)
    return Steps(len(items), items.__getitem__)


def _first_of_best(items: Steps, better: str, name: str, key: Callable[[Any], Any] | None) -> Any:
    if type(items.count) is not int:
        empty = f"{name}() iterable argument is empty"
        ops.check(ops.gt(lift(items.count).value, 0), [], "ValueError", empty)
    elif not items.count:
        raise ValueError(f"{name}() iterable argument is empty")
    value_of = key or (lambda item: item)
    best = items.item(0)
    its_value = value_of(best)

    def body(item: Any) -> None:
        value = value_of(item)

        def take() -> None:
            nonlocal best, its_value
            best, its_value = item, value

        branches.if_(compared(better, value, its_value), take, None)

    loops.for_(Steps(items.count - 1, lambda k: items.item(k + 1)), body)
    return best


def min_(items: Any, *rest: Any, key: Any = None, default: Any = _NOTHING) -> Any:
    """`min` of a generator expression, or by a key."""
    items = (items, *rest) if rest else items
    return _extreme(items, "<", "min", key, default)


def max_(items: Any, *rest: Any, key: Any = None, default: Any = _NOTHING) -> Any:
    """`max` of a generator expression, or by a key."""
    items = (items, *rest) if rest else items
    return _extreme(items, ">", "max", key, default)


def _found(items: Steps | Filtered, wanted: bool) -> Any:
    """Whether the truth of an item is `wanted`; looks no further then."""
    found = False

    def body(item: Any) -> Any:
        def look() -> Any:
            def stop() -> signals.Signal:
                nonlocal found
                found = True
                return signals.known(signals.BREAK)

            then, orelse = (stop, None) if wanted else (None, stop)
            own = item if isinstance(items, Steps) else items.element(item)
            return branches.if_(own, then, orelse, lambda: None)

        if isinstance(items, Steps):
            return look()
        return branches.if_(items.condition(item), look, None, lambda: None)

    loops.for_(items if isinstance(items, Steps) else items.steps, body)
    return found


def any_(items: Steps | Filtered) -> Any:
    """`any` of a generator expression."""
    return _found(items, True)


def all_(items: Steps | Filtered) -> Any:
    """`all` of a generator expression."""
    missing = _found(items, False)
    return not missing if type(missing) is bool else missing == False  # noqa: E712


def next_(items: Steps | Filtered, *default: Any) -> Any:
    """`next` of an iterator.

    Raises:
        UnsupportedFunctionError: for a generator expression with a condition, of which there may be
            no item, without a default.
    """
    if isinstance(items, Steps):
        if items.taken is None:
            raise TypeError("'range' object is not an iterator")
        return next(items.left(), *default)
    if not default:
        raise errors.UnsupportedFunctionError(
            "next() of a generator expression with a condition that a traced value decides",
            why="whether there is an item is only known when the program runs",
            remedy="a default: next((... for ...), None)",
        )
    found = default[0]

    def body(item: Any) -> Any:
        def take() -> signals.Signal:
            nonlocal found
            found = items.element(item)
            return signals.known(signals.BREAK)

        return branches.if_(items.condition(item), take, None, lambda: None)

    loops.for_(items.steps, body)
    return found


FOLDS: dict[Any, Callable[..., Any]] = {
    **{sum: sum_, min: min_, max: max_, any: any_, all: all_, next: next_},
}
"""What stands for Python's folds of `Steps` and `Filtered`."""
