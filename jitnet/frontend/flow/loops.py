"""`for` and `while`: rolled where they can be, step by step where their bodies need it.

    for i in range(1000): x[i] += 1       one `for` equation
    for w in weights: h = h @ w           one step after the other: weights is a list
    while err > tol: ...                  one `while` equation

A loop of few steps, or over Python objects, is traced step by step; so is one whose body needs the
number of the step as a value, to index a list or to shape an array. Then each `break` and `return`
that a traced value decides on puts the remaining steps under an `if`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from functools import partial
from itertools import count, tee
from typing import Any

from jitnet import errors, ops
from jitnet.frontend.arrays import stores_behind
from jitnet.frontend.context import NeedStatic, running_trace
from jitnet.frontend.flow import growing
from jitnet.frontend.flow.branches import branch, follow
from jitnet.frontend.flow.growing import Items
from jitnet.frontend.flow.liveness import instructions_of
from jitnet.frontend.flow.picking import can_be_unrolled
from jitnet.frontend.flow.plans import Loop, Peel
from jitnet.frontend.flow.raising import of_program
from jitnet.frontend.flow.rolling import roll
from jitnet.frontend.flow.signals import (
    BREAK,
    CONTINUE,
    FALL,
    RETURN,
    THROUGH,
    Signal,
    normal,
    without,
)
from jitnet.frontend.flow.steps import Steps, steps_of
from jitnet.frontend.flow.truth import truth
from jitnet.frontend.flow.variants import Variants, apart_signals, are_alike
from jitnet.frontend.tracer import lift, wrap
from jitnet.ir import Value, index

Body = Callable[..., Any]
Thunk = Callable[[], Any]

FEW_STEPS = 4
"""Loops of no more steps are traced step by step."""

MUCH_CODE = 16_000
"""As long as they, and such loops around them, do not make this many instructions of the code."""

MOST_STEPS = 100_000
"""Loops of more steps are not traced step by step."""

MOST_EQUATIONS = 40_000
"""A loop that is traced step by step may grow the program to this size."""

MOST_PEELED = 2

MOST_JUMPING = 32
"""So many steps of a `while` may each jump where data decides: one may have no end otherwise."""


def for_(iterable: Any, body: Body, orelse: Thunk | None = None, rest: Thunk | None = None) -> Any:
    """`for item in iterable: body(item)`, `else: orelse()`, and what follows if the loop returns.

    Raises:
        ConcretizationError: for a loop that neither stays one nor can be traced step by step.
    """
    if type(iterable) is Variants and not are_alike(iterable):
        ended = apart_signals(iterable, lambda one: for_(one, body))
        return _finish(ended, orelse, rest)
    if growing.grown(iterable) is not None:
        return _finish(_over_items(iterable, body), orelse, rest)
    steps = steps_of(iterable)
    if steps is None and type(iterable) is list:
        ended = _over_list(iterable, body, 0)
    elif steps is None:
        ended = _one_by_one(iter(iterable), body)
    else:
        left = steps.take(entirely=False)
        with _going_over(left):
            ended = _over_steps(left, body)
        if BREAK not in ended.kinds:
            steps.exhaust()
    return _finish(ended, orelse, rest)


def _over_items(x: Items, body: Body) -> Signal:
    """A list on a tape: as many steps as it has items, if no step changes it."""
    try:
        return _over_steps(growing.steps(x), body)
    except growing.Outgrown:
        if type(x) is not list:
            raise errors.ConcretizationError(
                f"a loop over a {type(x).__name__} that its steps change",
                why="Python raises an error for it",
                remedy="while queue: item = queue.popleft()",
            ) from None
        return _over_growing(x, body, 0)


def _over_list(x: list[Any], body: Body, start: int) -> Signal:
    """A list that the trace knows, item by item, as long as it knows it."""
    for k in count(start):
        if growing.grown(x) is not None:
            return _over_growing(x, body, k)
        if k >= len(x):
            break
        signal = normal(body(x[k]))
        if signal.kinds - {FALL, CONTINUE}:
            return _where_it_goes_on(signal, partial(_over_list, x, body, k + 1))
        _check_size()
    return THROUGH


def _over_growing(x: list[Any], body: Body, start: int) -> Signal:
    """A list on a tape that gets other items meanwhile, from the item `start` on."""
    k: Any = start

    def is_there() -> Any:
        return growing.length(x) > k

    def step() -> Any:
        nonlocal k
        item = growing.item(x, k)
        k = k + 1
        return body(item)

    return _while(is_there, step, truth(is_there()))


@contextmanager
def _going_over(steps: Steps) -> Iterator[None]:
    """Let it be known that a loop reads these arrays, whatever their names are bound to."""
    iterated = running_trace().function.iterated
    before = len(iterated)
    iterated += [store for array in steps.arrays for store in stores_behind(array.place)]
    try:
        yield
    finally:
        del iterated[before:]


def _over_steps(steps: Steps, body: Body) -> Signal:
    count = steps.count
    if type(count) is int and count <= FEW_STEPS and not _makes_much(body, count):
        with _copied(count):
            return _step_by_step(steps, body, 0)
    if type(count) is not int:
        loop = Loop(body, steps)
        try:
            return roll(loop)
        except errors.ConcretizationError:
            leaves = loop.deciding()
            if leaves is None:
                raise
            raise NeedStatic(leaves) from None
        except BaseException as error:
            if of_program(error) is None:
                raise
            return branch(ops.gt(loop.count(), 0), lambda: body(steps.item(0)), None, None)
    return _from_step(steps, body, 0)


def _makes_much(body: Body, count: int) -> bool:
    """Whether a nest of short loops becomes too long if this one is traced step by step too."""
    copies = running_trace().function.copies * count
    return copies * instructions_of(body.__code__) > MUCH_CODE


@contextmanager
def _copied(count: int) -> Iterator[None]:
    """Let it be known that what is traced is one of so many copies of a loop's body."""
    function = running_trace().function
    before = function.copies
    function.copies *= max(count, 1)
    try:
        yield
    finally:
        function.copies = before


def _from_step(steps: Steps, body: Body, start: int) -> Signal:
    """The steps of a known number, from `start` on."""
    count = steps.count
    while True:
        may_peel = start < MOST_PEELED
        try:
            with can_be_unrolled(count - start):
                return roll(Loop(body, steps, start, once=count > start, may_peel=may_peel))
        except Peel:
            signal = normal(body(steps.item(start)))
            start += 1
            if signal.kinds - {FALL, CONTINUE}:
                return _where_it_goes_on(signal, partial(_from_step, steps, body, start))
        except BaseException as error:
            needs_values = isinstance(error, errors.ConcretizationError)
            in_doubt = count <= FEW_STEPS and isinstance(error, errors.MutationError)
            if count - start > MOST_STEPS or not (needs_values or in_doubt or of_program(error)):
                raise
            return _step_by_step(steps, body, start)


def _step_by_step(steps: Steps, body: Body, start: int) -> Signal:
    """The steps of a known number from `start` on, one after the other; as `_one_by_one`.

    What follows a jump may be traced more than once, and reads its items anew each time.
    """
    for k in range(start, steps.count):
        signal = normal(body(steps.item(k)))
        if signal.kinds - {FALL, CONTINUE}:
            return _where_it_goes_on(signal, partial(_step_by_step, steps, body, k + 1))
        _check_size()
    return THROUGH


def _one_by_one(items: Iterator[Any], body: Body) -> Signal:
    """The steps one after the other; BREAK, RETURN, or FALL at the end."""
    for item in items:
        signal = normal(body(item))
        if signal.kinds - {FALL, CONTINUE}:
            return _go_on(signal, items, body)
        _check_size()
    return THROUGH


def _check_size() -> None:
    if len(running_trace().builder.eqns) > MOST_EQUATIONS:
        raise _too_long()


def _go_on(signal: Signal, items: Iterator[Any], body: Body) -> Signal:
    """The remaining steps, where this one may have jumped; they may be traced more than once."""
    (kept,) = tee(items, 1)
    return _where_it_goes_on(signal, lambda: _one_by_one(copy(kept), body))


def _where_it_goes_on(signal: Signal, remaining: Callable[[], Signal]) -> Signal:
    """`remaining` where the signal falls through or continues, and the jump elsewhere."""
    if not signal.kinds & {FALL, CONTINUE}:
        return signal
    if signal.kinds <= {FALL, CONTINUE}:
        return remaining()
    code = lift(signal.kind).value
    goes = ops.bitwise_or(ops.eq(code, FALL), ops.eq(code, CONTINUE))
    jumped = without(signal, FALL, CONTINUE)
    return branch(goes, remaining, lambda: jumped, None)


def while_(test: Thunk, body: Body, orelse: Thunk | None = None, rest: Thunk | None = None) -> Any:
    """`while test(): body()`, `else: orelse()`, and what follows if the loop returns.

    Raises:
        ConcretizationError: for a loop that neither stays one nor ends while it is traced.
    """
    return _finish(_while(test, body, truth(test())), orelse, rest)


def _while(test: Thunk, body: Body, first: bool | Value, made: int = 0) -> Signal:
    """The loop, `made` steps of which are traced, the last of them with a jump."""
    builder = running_trace().builder
    at_start = len(builder.eqns)
    is_new = True
    while first is not False:
        computes = made == FEW_STEPS and len(builder.eqns) > at_start
        if isinstance(first, Value) or is_new or computes:
            rolled = _try_to_roll(test, body, first, made)
            if rolled is not None:
                return rolled
        signal = normal(body())
        made += 1
        is_new = False
        if len(builder.eqns) > MOST_EQUATIONS or made > MOST_STEPS:
            raise _too_long()
        if signal.kinds - {FALL, CONTINUE}:
            return _where_it_goes_on(signal, partial(_remaining, test, body, made))
        first = truth(test())
    return THROUGH


def _remaining(test: Thunk, body: Body, made: int) -> Signal:
    return _while(test, body, truth(test()), made)


def _try_to_roll(test: Thunk, body: Body, first: bool | Value, made: int) -> Signal | None:
    """The loop as one equation; None where its steps have to be traced one by one.

    A loop whose condition is known is Python's own, as long as it makes but a few steps: counting
    down a list, say.
    """
    is_known = first is True
    may_peel = made < MOST_PEELED and is_known
    only_if_traced = is_known and made < FEW_STEPS
    loop = Loop(body, test=test, first=first, once=is_known, may_peel=may_peel)
    fewest = MOST_JUMPING if is_known and made < MOST_JUMPING else MOST_STEPS
    try:
        with can_be_unrolled(fewest):
            return roll(loop, only_if_traced)
    except Peel:
        return None
    except errors.ConcretizationError:
        if not is_known or made >= MOST_JUMPING:
            raise
        return None
    except BaseException as error:
        if of_program(error) is None:
            raise
        if not isinstance(first, Value):
            return None
        return branch(first, lambda: (body(), test()), None, None)


def _finish(ended: Signal, orelse: Thunk | None, rest: Thunk | None) -> Signal:
    """What follows a loop: its `else` where it ran to its end, then the rest of the block."""
    if orelse is not None and FALL in ended.kinds:
        ended = _or_else(ended, orelse)
    elif BREAK in ended.kinds:
        ended = _broken(ended)
    return follow(ended, rest)


def _or_else(ended: Signal, orelse: Thunk) -> Signal:
    if ended.falls:
        return normal(orelse())
    jumped = without(ended, FALL)
    if BREAK in jumped.kinds:  # one in the `else` is of the loop around this one
        jumped = _broken(jumped)
    return branch(ops.eq(lift(ended.kind).value, FALL), orelse, lambda: jumped, None)


def _broken(ended: Signal) -> Signal:
    """A `break` ends the loop, and the program falls through to what follows."""
    kinds = (ended.kinds - {BREAK}) | {FALL}
    if len(kinds) == 1:
        return THROUGH
    code = lift(ended.kind).value
    kind = ops.select(ops.eq(code, RETURN), code, index(FALL))
    return Signal(kinds, wrap(kind, "python"), ended.value)


def _too_long() -> errors.ConcretizationError:
    return errors.ConcretizationError(
        "a loop of very many steps that has to be traced step by step",
        why="its body needs values that differ from step to step: an index of a list, a shape, or "
        "a container that grows",
        remedy="keep what it works on in arrays, so that it can stay a loop",
    )
