"""List comprehensions, generator expressions, and what is made of them: sum, min, max, any, all.

    [f(row) for row in x]              a few steps: a list, traced step by step
    [f(i) for i in range(n)]           many, or a traced number: a loop, and a list on a tape
    sum(x[i] for i in range(n))        a loop that carries the sum

A generator expression over many steps is a `Steps`, whose items are computed where they are asked
for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jitnet import errors, ops
from jitnet.frontend.flow import branches, growing, loops, signals
from jitnet.frontend.flow.steps import Steps, steps_of
from jitnet.frontend.tracer import lift

FEW_ITEMS = 32
"""Comprehensions over no more items are traced item by item."""


def comprehension(iterable: Any, element: Callable[[Any], Any], kind: str) -> Any:
    """`[element(x) for x in iterable]`, or the generator."""
    if growing.grown(iterable) is not None:
        iterable = growing.steps(iterable)
    steps = steps_of(iterable)
    if steps is None or (type(steps.count) is int and steps.count <= FEW_ITEMS):
        items = iter(iterable if steps is None else steps)
        return [element(x) for x in items] if kind == "list" else (element(x) for x in items)
    if kind != "list":
        return Steps(steps.count, lambda k: element(steps.item(k)))
    try:
        return _listed(steps, element)
    except errors.ConcretizationError:
        if type(steps.count) is not int:
            raise
        return [element(x) for x in steps]


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


def sum_(items: Steps, /, start: Any = 0) -> Any:
    """`sum` of a generator expression."""
    total = start

    def body(item: Any) -> None:
        nonlocal total
        total = total + item

    loops.for_(items, body)
    return total


def _extreme(items: Steps, is_better: Callable[[Any, Any], Any], name: str) -> Any:
    """The first of the best items."""
    if type(items.count) is not int:
        empty = f"{name}() iterable argument is empty"
        ops.check(ops.gt(lift(items.count).value, 0), [], "ValueError", empty)
    elif not items.count:
        raise ValueError(f"{name}() iterable argument is empty")
    best = items.item(0)

    def body(item: Any) -> None:
        def take() -> None:
            nonlocal best
            best = item

        branches.if_(is_better(item, best), take, None)

    loops.for_(Steps(items.count - 1, lambda k: items.item(k + 1)), body)
    return best


def min_(items: Steps) -> Any:
    """`min` of a generator expression."""
    return _extreme(items, lambda a, b: a < b, "min")


def max_(items: Steps) -> Any:
    """`max` of a generator expression."""
    return _extreme(items, lambda a, b: a > b, "max")


def _found(items: Steps, wanted: bool) -> Any:
    """Whether the truth of an item is `wanted`; looks no further then."""
    found = False

    def body(item: Any) -> Any:
        def stop() -> signals.Signal:
            nonlocal found
            found = True
            return signals.known(signals.BREAK)

        then, orelse = (stop, None) if wanted else (None, stop)
        return branches.if_(item, then, orelse, lambda: None)

    loops.for_(items, body)
    return found


def any_(items: Steps) -> Any:
    """`any` of a generator expression."""
    return _found(items, True)


def all_(items: Steps) -> Any:
    """`all` of a generator expression."""
    missing = _found(items, False)
    return not missing if type(missing) is bool else missing == False  # noqa: E712


FOLDS: dict[Any, Callable[..., Any]] = {sum: sum_, min: min_, max: max_, any: any_, all: all_}
"""What stands for Python's folds of `Steps`."""
