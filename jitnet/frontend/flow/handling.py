"""`try` and `with`: handlers take what the program raises, never what only jitnet does.

try:                          with J.handling():
    y = compute(x)                try:
except TypeError:                     with J.trying():
    y = 0.0                               y = compute(x)
                                  except TypeError:
                                      y = 0.0

A refusal is a TypeError too, as NumPy's and Python's own are, so that the handler may run for one.
`trying` keeps it, and `handling` raises it again: no path that exists only because jitnet cannot
follow another one is ever compiled. The same for `with suppress(TypeError)` and every other context
manager whose `__exit__` swallows: `managed` stands for it.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from types import FunctionType
from typing import Any

from jitnet import errors
from jitnet.frontend.context import (
    Interruption,
    NeedStatic,
    integer_arguments_of,
    running_trace,
)
from jitnet.frontend.flow import calling
from jitnet.ir import Eqn
from jitnet.ops.control import CHECK


def _is_of_jitnet(error: BaseException) -> bool:
    """Whether the program, run by Python, would not raise this."""
    return isinstance(error, (Interruption, *errors.REFUSALS))


@contextmanager
def handling() -> Iterator[None]:
    """A whole `try` statement."""
    function = running_trace().function
    outer, function.refusal = function.refusal, None
    try:
        yield
    finally:
        refusal, function.refusal = function.refusal, outer
        if refusal is not None:
            raise refusal from None


@contextmanager
def trying() -> Iterator[None]:
    """The part of a `try` statement that its handlers, or a `finally` that returns, look after.

    Raises:
        NeedStatic: where ints among the arguments decide on what may be raised in it.
    """
    trace = running_trace()
    eqns = trace.builder.eqns
    start = len(eqns)
    trace.trying += 1
    try:
        yield
    except BaseException as error:
        if _is_of_jitnet(error):
            trace.function.refusal = error
        raise
    finally:
        trace.trying -= 1
    for k in range(start, len(eqns)):
        if eqns[k].op is CHECK:
            leaves = integer_arguments_of(trace, eqns[k].operands[0])
            if leaves is not None:
                trace.function.refusal = NeedStatic(leaves)
                raise trace.function.refusal
            eqns[k] = _with_remedy(eqns[k])


def _with_remedy(check: Eqn) -> Eqn:
    """A check of what a handler was to catch, which it does not."""
    message, _, _ = check.attrs["message"].partition(errors.REMEDY)
    message += f"{errors.REMEDY}an if in the place of try and except: no handler sees this error"
    return dataclasses.replace(check, attrs={**check.attrs, "message": message})


def managed(manager: Any) -> Any:
    """What a `with` statement is given in the place of a context manager."""
    kind = type(manager)
    if hasattr(kind, "__enter__") and hasattr(kind, "__exit__"):
        return _managed(manager)
    return manager  # which Python refuses


@contextmanager
def _managed(manager: Any) -> Iterator[Any]:
    suppresses = isinstance(manager, contextlib.suppress)
    entered = _method(manager, "__enter__")(manager)
    leave = _method(manager, "__exit__")
    with handling():
        try:
            with trying() if suppresses else contextlib.nullcontext():
                yield entered
        except BaseException as error:
            if _is_of_jitnet(error):
                running_trace().function.refusal = error
            if not leave(manager, type(error), error, error.__traceback__):
                raise
        else:
            leave(manager, None, None, None)


def _method(manager: Any, name: str) -> Any:
    method = getattr(type(manager), name)
    return calling.called(method) if isinstance(method, FunctionType) else method
