"""`raise` and `assert` where a traced value decides: checks that the program makes.

if x < 0:                           %0 = lt %x, 0.0
    raise ValueError("negative")    %1 = logical_not %0
                                    check %1 {error="builtins.ValueError", message="negative"}
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from jitnet import errors, ops
from jitnet.frontend import texts
from jitnet.frontend.context import Trace, running_trace
from jitnet.frontend.dispatch import note_place
from jitnet.frontend.flow.conditions import note_fact
from jitnet.frontend.flow.signals import is_marked, mark_raised
from jitnet.frontend.flow.truth import truth
from jitnet.frontend.rewriting import is_thunk
from jitnet.ir import Frame, Loc, Value
from jitnet.source import is_users


def raised(error: Any) -> BaseException:
    """What to raise for the user's `raise error`: the error, marked as raised on purpose."""
    made: BaseException = error() if isinstance(error, type) else error
    mark_raised(made)
    return made


_AS_NUMPY = (
    errors.IndexingError,
    errors.ShapeError,
    errors.AxisError,
    errors.DivisionByZeroError,
    errors.IntegerOverflowError,
)
_AS_PYTHON = (IndexError, KeyError, ZeroDivisionError)


def is_raised_by_user(error: BaseException) -> bool:
    """Whether the program raises this: by a `raise` of the user's, or because NumPy or Python would
    raise it there; not because it cannot be traced."""
    return is_marked(error) or isinstance(error, _AS_NUMPY) or type(error) in _AS_PYTHON


def unbound_local(error: BaseException) -> UnboundLocalError | None:
    """What Python raises for a variable that no path so far has bound: a block that was made a
    function has its function's variables as free ones."""
    is_free = type(error) is NameError
    if not (is_free or type(error) is UnboundLocalError):
        return None
    found = re.search(r"(?:free|local) variable '(\w+)'", str(error))
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    if found is None or traceback is None:
        return None
    code, name = traceback.tb_frame.f_code, found.group(1)
    is_own = is_thunk(code) if is_free else is_users(code.co_filename)
    if not is_own or name in running_trace().function.conflicts:
        return None
    return UnboundLocalError(
        f"cannot access local variable '{name}' where it is not associated with a value"
    )


def of_program(error: BaseException) -> BaseException | None:
    """What the program raises where tracing it has raised this; None where it cannot be traced."""
    return error if is_raised_by_user(error) else unbound_local(error)


def check_not(condition: Value, error: BaseException) -> None:
    """Let the program raise `error` where the condition holds.

    Raises:
        ConcretizationError: inside of a `try` that may catch it.
    """
    trace: Trace | None = running_trace()
    while trace is not None:
        if trace.trying:
            raise errors.ConcretizationError(
                f"a raise of {type(error).__name__} inside of a `try`, where a traced value "
                "decides on it",
                why="which handler is run would only be known when the program runs",
                remedy="use an if in the place of try and except",
            )
        trace = trace.parent if trace.is_region else None
    if isinstance(error, errors.JitnetError):
        with running_trace().builder.at(_place(error)):
            name = errors.name_in_programs(error)
            ops.check(ops.logical_not(condition), [], name, _literally(error.what))
        return
    name = errors.declare_raised(type(error))
    pieces = (_as_scalar(p, error) for p in texts.pieces_of(_text(error)))
    message, fields = texts.template_of(pieces)
    ops.check(ops.logical_not(condition), [x.value.value for x in fields], name, message)


def _place(error: errors.JitnetError) -> Loc:
    frames = (Frame(p.file, p.line, p.function, p.column, p.end_column) for p in error.frames)
    return Loc(tuple(frames))


def _literally(text: str) -> str:
    """A text as the message of a check without values."""
    return text.replace("{", "{{").replace("}", "}}")


def has_values(error: BaseException) -> bool:
    """Whether the message of an error has traced values in it."""
    return any(map(texts.holds_traced, error.args))


def _as_scalar(piece: str | texts.Field, error: BaseException) -> str | texts.Field:
    """A piece of a check's message, whose values are scalars of NumPy's."""
    if isinstance(piece, str):
        return piece
    x, as_code = piece.value, piece.conversion in ("r", "a")
    if x.value.rank or x.value.dtype.is_complex or (as_code and x.flavour == "array"):
        raise errors.ConcretizationError(
            f"a message of {type(error).__name__} with {x!r} in it",
            why="messages may hold real numbers, and no arrays",
            remedy="print the array before the error is raised",
        )
    return piece._replace(conversion="s") if as_code and x.flavour == "python" else piece


def _text(error: BaseException) -> str:
    """What the error says; of an error with traced values, where it has one argument, `str(it)`."""
    if has_values(error):
        return texts.str_(error.args[0] if len(error.args) == 1 else error.args)
    return str(error.args[0]) if len(error.args) == 1 else str(error)


def assert_(test: Any, message: Callable[[], Any] | None = None) -> None:
    """`assert test, message`."""
    condition = truth(test)
    text = message if message is not None else lambda: ""
    if condition is True:
        return
    if condition is False:
        raise raised(AssertionError(*([text()] if message is not None else [])))
    note_place()
    check_not(ops.logical_not(condition), AssertionError(text()))
    note_fact(running_trace(), condition, holds=True)
