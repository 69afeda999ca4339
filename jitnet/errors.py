"""What jitnet raises: named errors with the user's line, the reason and a remedy.

    [JN007] operands could not be broadcast together with shapes (3,) (4,)
      --> model.py:12 in layer
       |     h = x + b
       |         ^^^^^
      in: np.add(float64[3], float64[4])
      remedy: reshape one of them

Each class also derives from the exception that NumPy raises in that case, so `except ValueError`
around a function means the same with and without `@jit`. The line is found when the error is made.
"""

from __future__ import annotations

import linecache
import threading
from collections.abc import Sequence
from typing import Any, NoReturn, Protocol

import numpy as np

from jitnet.source import Position, is_users, position, user_sites

_OF_DATACLASSES = "__create_fn__"
"""Methods that `dataclass` writes stand in no file, as what users run by hand does."""


def raised_at(error: BaseException) -> list[Position]:
    """The user's lines that an error came through, innermost first."""
    sites = []
    traceback = error.__traceback__
    while traceback is not None:
        code = traceback.tb_frame.f_code
        if is_users(code.co_filename) and not code.co_qualname.startswith(_OF_DATACLASSES):
            sites.append((code, traceback.tb_lasti))
        traceback = traceback.tb_next
    return [position(site) for site in reversed(sites)]


class Place(Protocol):
    """One line of the user's program: `ir.Frame` and `source.Position` are such."""

    @property
    def file(self) -> str: ...
    @property
    def line(self) -> int: ...
    @property
    def function(self) -> str: ...
    @property
    def column(self) -> int: ...
    @property
    def end_column(self) -> int: ...


class JitnetError(Exception):
    """Base of all errors that are jitnet's own.

    Args:
        what: what failed, naming the operation and the types.
        why: the reason, where `what` does not say it.
        remedy: what to write instead.
        frames: the user's lines, innermost first; by default those running now.
    """

    code = "JN000"

    def __init__(
        self, what: str, *, why: str = "", remedy: str = "", frames: Sequence[Place] | None = None
    ) -> None:
        self.what = what
        self.why = why
        self.remedy = remedy
        self.operation = ""  # the NumPy call that failed; its caller fills it in
        if frames is None:
            frames = tuple(position(site) for site in user_sites())
        self.frames = tuple(frames)
        super().__init__(what)

    def __str__(self) -> str:
        lines = [f"[{self.code}] {self.what}"]
        if self.frames:
            lines += _pointer(self.frames[0])
        if self.operation:
            lines.append(f"  in: {self.operation}")
        if self.why:
            lines.append(f"  why: {self.why}")
        if self.remedy:
            lines.append(f"  remedy: {self.remedy}")
        return "\n".join(lines)


_WIDTH = 100  # of a source line in a message


def _pointer(place: Place) -> list[str]:
    lines = [f"  --> {place.file}:{place.line} in {place.function}"]
    text = linecache.getline(place.file, place.line).rstrip()
    if not text:
        return lines
    start = len(text.encode()[: max(place.column, 0)].decode(errors="replace"))  # columns are bytes
    width = len(text.encode()[place.column : place.end_column].decode(errors="replace"))
    skipped = max(0, start - _WIDTH // 2) if len(text) > _WIDTH else 0
    lines.append(f"   | {text[skipped : skipped + _WIDTH]}")
    if 0 <= place.column < place.end_column:
        shown = min(width, _WIDTH - (start - skipped))
        lines.append("   | " + " " * (start - skipped) + "^" * shown)
    return lines


class ConcretizationError(JitnetError, TypeError):
    """A value that is only known when the program runs was needed while it was traced."""

    code = "JN001"


class LeakedTracerError(JitnetError, RuntimeError):
    """A traced value was used after the trace that made it had ended."""

    code = "JN002"


class UnsupportedDTypeError(JitnetError, TypeError):
    """A dtype or a kind of array that this version does not have."""

    code = "JN003"


class UnsupportedFunctionError(JitnetError, NotImplementedError):
    """A function, or an argument of one, that this version does not have."""

    code = "JN004"


class NotAvailableError(JitnetError, NotImplementedError):
    """An option of jitnet itself that this version does not have."""

    code = "JN005"


class MutationError(JitnetError, TypeError):
    """Changing an array in place, which this version does not trace."""

    code = "JN006"


class ShapeError(JitnetError, ValueError):
    """Shapes, axes or extents that do not fit."""

    code = "JN007"


class DTypeError(JitnetError, TypeError):
    """Dtypes that NumPy refuses for this operation."""

    code = "JN008"


class IndexingError(JitnetError, IndexError):
    """An index that is out of bounds or of a kind that NumPy refuses."""

    code = "JN009"


class AxisError(JitnetError, np.exceptions.AxisError):
    """An axis that the array does not have."""

    code = "JN010"

    def __str__(self) -> str:
        return JitnetError.__str__(self)


class ArgumentError(JitnetError, TypeError):
    """An argument or a result that a compiled function cannot take or give."""

    code = "JN011"


class IntegerOverflowError(JitnetError, OverflowError):
    """A Python int that does not fit where NumPy or jitnet must hold it."""

    code = "JN012"


class DifferentiationError(JitnetError, TypeError):
    """Asked for a derivative that does not exist: integers, or results that are no scalar."""

    code = "JN013"


class MemoryBudgetError(JitnetError, MemoryError):
    """A gradient cannot do with the `memory` that it was given."""

    code = "JN032"


class DeviceMemoryError(JitnetError, MemoryError):
    """A device has too little memory for a call."""

    code = "JN033"


class ValueRefusedError(JitnetError, ValueError):
    """A value that NumPy refuses for this argument."""

    code = "JN014"


class DivisionByZeroError(JitnetError, ZeroDivisionError):
    """The program divided by zero where Python raises."""

    code = "JN015"


class FloatingPointStateError(JitnetError, FloatingPointError):
    """A floating-point condition that the program asked to raise on."""

    code = "JN016"


class AssertionFailedError(JitnetError, AssertionError):
    """An `assert` of the program."""

    code = "JN017"


class ProgramError(JitnetError, RuntimeError):
    """What the program raised, where there is no nearer class."""

    code = "JN018"


class UnboundVariableError(JitnetError, UnboundLocalError):
    """A name that was read before the path taken had bound it."""

    code = "JN019"


class MissingKeyError(JitnetError, KeyError):
    """A key that a mapping does not have."""

    code = "JN020"


class ReturnError(JitnetError, TypeError):
    """A function that returns one kind of thing on one path and another one on another."""

    code = "JN025"


class ReadOnlyError(JitnetError, ValueError):
    """A write to an array that NumPy does not let one write to."""

    code = "JN024"


class LinearAlgebraError(JitnetError, np.linalg.LinAlgError):
    """A matrix that is singular, not positive definite or not square where it must be."""

    code = "JN026"


class DepthError(JitnetError, RecursionError):
    """Calls nest deeper than Python allows while the function is traced."""

    code = "JN028"


class BatchingError(JitnetError, ValueError):
    """`vmap` was asked to map what has no such axis, or lanes that cannot be stacked."""

    code = "JN030"


REFUSALS: tuple[type[JitnetError], ...] = (
    ConcretizationError,
    LeakedTracerError,
    UnsupportedDTypeError,
    UnsupportedFunctionError,
    NotAvailableError,
    MutationError,
    ArgumentError,
    DifferentiationError,
    MemoryBudgetError,
    FloatingPointStateError,
    UnboundVariableError,
    ReturnError,
    DepthError,
    BatchingError,
)
"""What says that a function cannot be compiled, where Python or NumPy would have gone on. No
handler in the function takes these, though it may name their bases."""


class VerificationError(JitnetError, RuntimeError):
    """`jit(fn, verify=True)`: what the compiled program computes is not what NumPy computes.

    Attributes:
        variable: what differs; its line is the first of `frames`.
        difference: the greatest difference of its elements, inf where they cannot be compared.
        expected, got: NumPy's value and the compiled program's.
    """

    code = "JN027"

    def __init__(
        self,
        variable: str,
        expected: Any,
        got: Any,
        difference: float,
        *,
        why: str,
        frames: Sequence[Place],
    ) -> None:
        super().__init__(
            f"{variable} is not what NumPy computes: it differs by {difference:g}",
            why=f"{why}\n    NumPy:    {_in_short(expected)}\n    compiled: {_in_short(got)}",
            remedy="report it, with this function: it is a bug of jitnet's",
            frames=frames,
        )
        self.variable = variable
        self.expected = expected
        self.got = got
        self.difference = difference


class GradientCheckError(JitnetError, AssertionError):
    """`testing.check_grads`: a derivative is not that of the function."""

    code = "JN031"


def _in_short(value: Any) -> str:
    return np.array2string(np.asarray(value), threshold=8, edgeitems=3, separator=", ").replace(
        "\n", " "
    )


class ParseError(JitnetError, ValueError):
    """Text that is not IR."""

    code = "JN021"


class VerifyError(JitnetError, RuntimeError):
    """A Function that breaks a rule of the IR: a bug in the transform or pass that made it."""

    code = "JN022"


RAISED_BY_PROGRAMS: dict[str, type[JitnetError]] = {
    "AssertionError": AssertionFailedError,
    "AxisError": AxisError,
    "FloatingPointError": FloatingPointStateError,
    "IndexError": IndexingError,
    "KeyError": MissingKeyError,
    "LinAlgError": LinearAlgebraError,
    "NotImplementedError": UnsupportedFunctionError,
    "OverflowError": IntegerOverflowError,
    "RuntimeError": ProgramError,
    "TypeError": ArgumentError,
    "UnboundLocalError": UnboundVariableError,
    "ValueError": ValueRefusedError,
    "ZeroDivisionError": DivisionByZeroError,
}
"""What a `check` names as its error, and the class that is raised for it."""


def name_in_programs(error: JitnetError) -> str:
    """What a `check` names as its error to have one of this class raised."""
    for name, kind in RAISED_BY_PROGRAMS.items():
        if isinstance(error, kind):
            return name
    bases = (base.__name__ for base in type(error).__mro__)  # ShapeError is a ValueError, too
    return next(name for name in bases if name in RAISED_BY_PROGRAMS)


_RAISED_BY_USERS: dict[str, type[BaseException]] = {}


def declare_raised(kind: type[BaseException]) -> str:
    """The name by which a `check` raises a class that the user's program raises itself."""
    name = f"{kind.__module__}.{kind.__qualname__}"
    _RAISED_BY_USERS[name] = kind
    return name


FROM_HOST = "host"
"""What a program names as its error where Python code that it called has raised: see `keep`."""


class _Kept(threading.local):
    error: BaseException | None = None


_KEPT = _Kept()


def keep(error: BaseException) -> None:
    """Remember what Python code has raised that a program of this thread called, until the program
    has left with the error FROM_HOST."""
    _KEPT.error = error


REMEDY = "\n  remedy: "
"""What stands between the message of a `check` and what to do about it, where it says that."""


def filled_in(message: str, values: Sequence[Any]) -> str:
    """The message of a `check`: `{0}`, `{1:.3f}` of it stand for the values, NumPy scalars."""
    return message.format(*values)


def raise_from_program(error: str, message: str, frames: Sequence[Place] = ()) -> NoReturn:
    """Raise what a compiled program's `check` found.

    Args:
        error: the name of the exception's class in Python, as the `check` has it.
        message: with the values filled in; a remedy may follow after `REMEDY`.
        frames: the user's lines that the `check` stems from, innermost first (`eqn.loc.frames`).
    """
    if error == FROM_HOST and _KEPT.error is not None:
        kept, _KEPT.error = _KEPT.error, None
        raise kept
    own = _RAISED_BY_USERS.get(error)
    if own is not None:
        raise _with_place(own(*([message] if message else [])), frames)
    kind = RAISED_BY_PROGRAMS.get(error)
    what, _, remedy = message.partition(REMEDY)
    if kind is None:
        raise ProgramError(f"{error}: {what}", remedy=remedy, frames=frames)
    raise kind(what, remedy=remedy, frames=frames)


def _with_place(error: BaseException, frames: Sequence[Place]) -> BaseException:
    """The user's own error, with a note of where the compiled program raised it."""
    if frames:
        error.add_note("\n".join(_pointer(frames[0])))
    return error


def describe(value: Any) -> str:
    """A few words for a value in a message: `float64[3, 4]`, `2`, `'text'`, `list`."""
    dtype, shape = getattr(value, "dtype", None), getattr(value, "shape", None)
    if isinstance(dtype, np.dtype) and isinstance(shape, tuple):
        return f"{dtype}{list(shape)}" if shape else str(dtype)
    if value is None or isinstance(value, (bool, int, float, str)):
        return repr(value)
    if isinstance(value, tuple):
        return f"({', '.join(map(describe, value))})"
    return type(value).__name__
