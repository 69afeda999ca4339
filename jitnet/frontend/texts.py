"""Texts with traced values in them: f-strings, `str`, `repr`, `format` and their like.

    f"step {k}: {loss:.3f}"     Text(("step ", Field(k, "", ""), ": ", Field(loss, "", ".3f")))

A `Text` is a str to those who only hand it on, and its digits are known when the program runs: it
may be printed, be the message of an error, and become a part of another text. Whoever needs the
characters (a comparison, a dictionary, C code) makes the caller's ints in it known, or is refused.
Arrays are in it as they were when the text was made.
"""

from __future__ import annotations

import collections
import dataclasses
import re
import string
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import FunctionType
from typing import Any, NamedTuple, NoReturn

import numpy as np

from jitnet import errors
from jitnet.frontend.context import running_trace
from jitnet.frontend.promotion import operand
from jitnet.frontend.stores import Store
from jitnet.frontend.tracer import Tracer, lift
from jitnet.ir import types as T
from jitnet.source import is_users


class Field(NamedTuple):
    """A value in a text.

    Attributes:
        value: a tracer that nothing else knows, so that nothing changes it.
        conversion: "r", "s" or "a" as after `!` in an f-string; "" for none.
        spec: as after `:`.
        is_list: the value stands for a list of the items along its first axis.
    """

    value: Tracer
    conversion: str
    spec: str
    is_list: bool = False

    @property
    def kind(self) -> str:
        """What the value is in Python, as `host_print` has it."""
        return f"list {self.value.flavour}" if self.is_list else self.value.flavour


Pieces = tuple[str | Field, ...]

_STAND_IN = "<traced "
"""What the texts of tracers begin with that were made where no Text could be: in code without
source, by `%`."""


def _needed(self: Text, *args: Any, **kwargs: Any) -> NoReturn:
    known_now(self)


class Text(str):
    """A str whose digits are known when the program runs.

    Attributes:
        pieces: strings and fields, in order; as a str it says what they stand for.
    """

    pieces: Pieces

    def __new__(cls, pieces: Pieces) -> Text:
        shown = (p if isinstance(p, str) else repr(p.value) for p in pieces)
        made = super().__new__(cls, "".join(shown))
        made.pieces = pieces
        return made

    def __str__(self) -> str:
        return self

    def __format__(self, spec: str) -> str:
        return self if spec in ("", "s") else known_now(self)

    def __add__(self, other: Any) -> Any:
        return text((*self.pieces, *pieces_of(other))) if isinstance(other, str) else NotImplemented

    def __radd__(self, other: Any) -> Any:
        return text((*pieces_of(other), *self.pieces)) if isinstance(other, str) else NotImplemented

    def __iadd__(self, other: Any) -> Any:
        return self + other

    def __bool__(self) -> bool:
        return bool(any(self.pieces) or known_now(self))

    __hash__ = _needed


def _close() -> None:
    """All that a str can do else needs the characters."""
    kept = {*vars(Text), "__class__", "__getattribute__", "__getattr__", "__init__", "__reduce__"}
    kept |= {"__reduce_ex__", "__init_subclass__", "__subclasshook__", "__setattr__", "__doc__"}
    kept |= {"__delattr__", "__dir__", "__repr__", "__sizeof__", "__getnewargs__", "__new__"}
    for name in dir(str):
        if name not in kept:
            setattr(Text, name, _needed)


_close()


def known_now(x: Text) -> NoReturn:
    """The characters are needed while tracing.

    Raises:
        NeedStatic: where int arguments of the caller's decide them.
        ConcretizationError: else.
    """
    for piece in x.pieces:
        if isinstance(piece, Field):
            piece.value._make_static()
    raise errors.ConcretizationError(
        f"the characters of the text {str.__repr__(x)} are needed while the function is traced",
        why="its digits are only known when the compiled function runs",
        remedy="print it or use it as the message of an error; or return the values, and make the "
        "text outside",
    )


# -- making texts ----------------------------------------------------------------------------------


def text(pieces: Iterable[str | Field]) -> str:
    """The text of these pieces: a plain str where no value is traced."""
    joined: list[str | Field] = []
    for piece in pieces:
        if isinstance(piece, str) and joined and isinstance(joined[-1], str):
            joined[-1] += piece
        elif piece != "":
            joined.append(piece)
    if not any(isinstance(piece, Field) for piece in joined):
        return "".join(map(str, joined))
    return Text(tuple(joined))


def pieces_of(x: str) -> Pieces:
    """The pieces of a str of any kind."""
    return x.pieces if type(x) is Text else (x,)


def formatted(x: Any, conversion: str = "", spec: str = "") -> str:
    """`f"{x!conversion:spec}"`, where x or a part of it may be traced."""
    if type(spec) is Text:
        known_now(spec)
    x = _value(x)
    if type(x) is Tracer:
        return _of_tracer(x, conversion, spec)
    if type(x) is Text:
        return x if not conversion.strip("s") and spec in ("", "s") else known_now(x)
    if type(x) in (list, tuple, dict):
        made = text(_representation(x))
        if type(made) is Text:
            return formatted(made, "", spec)
    how: Any = type(x).__format__
    if conversion == "" and type(how) is FunctionType and is_users(how.__code__.co_filename):
        own: str = _Connected.call(how, x, spec)
        return own
    shown = _by_the_user(x, conversion)
    if shown is not None:
        return formatted(shown, "", spec)
    return _checked(format(_CONVERSIONS[conversion](x), spec))


_CONVERSIONS: dict[str, Callable[[Any], Any]] = {
    "": lambda x: x,
    "s": str,
    "r": repr,
    "a": ascii,
}


def _value(x: Any) -> Any:
    """Arrays from outside are read when the program runs; numbers that are known are so."""
    if type(x) is np.ndarray and T.is_numeric(x.dtype):
        return lift(x)
    return operand(x) if type(x) is Tracer and x.flavour == "python" else x


def _of_tracer(x: Tracer, conversion: str, spec: str) -> Text:
    if "{" in spec or "}" in spec:
        raise ValueError("Invalid format specifier")
    if x.value.rank and spec and not conversion:
        raise TypeError("unsupported format string passed to numpy.ndarray.__format__")
    if conversion == "s" and not spec and (x.value.rank or x.flavour == "python"):
        conversion = ""  # the same for these; an np.float32 is formatted as a Python float is
    own = Tracer(Store(x.value, running_trace()), x.flavour)
    return Text((Field(own, conversion, spec),))


def of_list(x: Tracer, spec: str) -> Text:
    """The text of a list whose items are stacked in x."""
    if spec:
        raise TypeError("unsupported format string passed to list.__format__")
    return Text((Field(x, "", "", True),))


class _Connected:
    call: Callable[..., Any]


def install(call: Callable[..., Any]) -> None:
    """Connect the calls of functions of the user's, which are rewritten."""
    _Connected.call = staticmethod(call)


def _by_the_user(x: Any, conversion: str) -> str | None:
    """What `__str__` or `__repr__` of a class of the user's gives; None for other objects."""
    kind: Any = type(x)
    if kind.__format__ is not object.__format__ and conversion == "":
        return None
    method = kind.__str__ if conversion in ("", "s") else kind.__repr__
    if method is object.__str__ or method is tuple.__str__:
        method = kind.__repr__
    if conversion == "a" or not isinstance(method, FunctionType):
        return None
    own = getattr(method, "__wrapped__", method)
    if own.__code__.co_filename == collections.__file__ and hasattr(kind, "_fields"):
        items = [(name, getattr(x, name)) for name in kind._fields]
        return text(_fields_of(kind.__name__, items))
    if own is not method and dataclasses.is_dataclass(x):
        items = [(f.name, getattr(x, f.name)) for f in dataclasses.fields(x) if f.repr]
        return text(_fields_of(kind.__qualname__, items))
    made = _Connected.call(method, x)
    return made if isinstance(made, str) else None


def _fields_of(name: str, items: Sequence[tuple[str, Any]]) -> Iterator[str | Field]:
    yield f"{name}("
    for i, (key, item) in enumerate(items):
        yield f", {key}=" if i else f"{key}="
        yield from _representation(item)
    yield ")"


def _checked(made: str) -> str:
    """A str that was made of known objects, which may have held traced values."""
    if type(made) is not Text and _STAND_IN in made:
        raise errors.ConcretizationError(
            f"the text {made!r} was made from traced values where jitnet could not see it",
            why="it was made by %, or by code whose source is not at hand",
            remedy="use an f-string, or hand the values to print one by one",
        )
    return made


def holds_traced(x: Any) -> bool:
    """Whether x is traced, or a container that holds what will be in a text as it is then."""
    if type(x) in (list, tuple):
        return any(map(holds_traced, x))
    if type(x) is dict:
        return any(map(holds_traced, x.values()))
    return type(x) in (Tracer, Text) or (type(x) is np.ndarray and T.is_numeric(x.dtype))


def _representation(x: Any, around: tuple[Any, ...] = ()) -> Iterator[str | Field]:
    """`repr(x)`, of containers item by item; `around`: those that it is in."""
    kind = type(x)
    if kind not in _BRACKETS:
        yield from pieces_of(formatted(x, "r"))
        return
    left, right = _BRACKETS[kind]
    if any(x is other for other in around):
        yield f"{left}...{right}"
        return
    around = (*around, x)
    yield left
    for i, item in enumerate(x):
        yield ", " if i else ""
        yield from _representation(item, around)
        if kind is dict:
            yield ": "
            yield from _representation(x[item], around)
    yield f",{right}" if kind is tuple and len(x) == 1 else right


_BRACKETS: dict[type, tuple[str, str]] = {list: ("[", "]"), tuple: ("(", ")"), dict: ("{", "}")}


# -- what the user calls ---------------------------------------------------------------------------


def str_(x: Any = "", *rest: Any) -> str:
    """`str(x)`."""
    return str(x, *rest) if rest else formatted(x, "s")


def format_(x: Any, spec: str = "") -> str:
    """`format(x, spec)`."""
    return formatted(x, "", spec)


def format_method(template: str, /, *args: Any, **kwargs: Any) -> str:
    """`template.format(*args, **kwargs)`."""
    if type(template) is Text:
        known_now(template)
    formatter, made, automatic = string.Formatter(), [], iter(range(len(args) + 1))
    for before, name, spec, conversion in formatter.parse(template):
        made.append(before)
        if name is None:
            continue
        if name == "" or name[0] in ".[":
            name = f"{next(automatic)}{name}"
        value, _ = formatter.get_field(name, args, kwargs)
        inner = format_method(spec, *args, **kwargs) if spec and "{" in spec else spec or ""
        made.append(formatted(value, conversion or "", inner))
    return text(p for part in made for p in pieces_of(part))


def join_method(between: str, parts: Iterable[Any], /) -> str:
    """`between.join(parts)`."""
    given = list(parts)
    if not any(type(part) is Text for part in (between, *given)):
        return between.join(given)
    made: list[str | Field] = []
    for i, part in enumerate(given):
        if not isinstance(part, str):
            kind = type(part).__name__
            raise TypeError(f"sequence item {i}: expected str instance, {kind} found")
        made += (*(pieces_of(between) if i else ()), *pieces_of(part))
    return text(made)


_PERCENT = r"(?s)%(?:\((\w*)\))?([#0\- +]*)(\d*)(?:\.(\d*))?[hlL]?(.)"


def percent(template: str, values: Any) -> str:
    """`template % values`, for a template that stands in the source."""
    if not holds_traced(values):
        return str(template % values)
    items = iter(values if type(values) is tuple else (values,))
    made: list[str | Field] = []
    end = 0
    for found in re.finditer(_PERCENT, template):
        made.append(template[end : found.start()])
        end = found.end()
        key, flags, width, precision, kind = found.groups()
        if kind == "%":
            made.append("%")
            continue
        item = values[key] if key is not None else next(items, _MISSING)
        if item is _MISSING:
            raise TypeError("not enough arguments for format string")
        made += pieces_of(_percent_one(item, flags, width, precision, kind))
    if "%" in template[end:]:
        raise ValueError("incomplete format")
    if type(values) is not dict and next(items, _MISSING) is not _MISSING:
        raise TypeError("not all arguments converted during string formatting")
    return text((*made, template[end:]))


_MISSING: Any = object()


def _percent_one(x: Any, flags: str, width: str, precision: str | None, kind: str) -> str:
    """One value of `%`."""
    if not holds_traced(x):
        point = "" if precision is None else f".{precision}"
        return str(f"%{flags}{width}{point}{kind}" % (x,))
    digits = "" if precision is None else f".{precision or 0}"
    if kind in "sra":
        side = "<" if "-" in flags else ">"
        return formatted(x, kind, f"{side}{width}{digits}" if width or digits else "")
    x = _value(x)
    is_number = type(x) is Tracer and not x.value.rank
    if not is_number or kind not in "diouxXeEfFgG" or "#" in flags:
        known_now(text_of(x))
    if kind in "diouxX":
        kind = "d" if kind in "iu" else kind
        if digits or x.value.dtype.kind not in "iu":
            known_now(text_of(x))
    sign = "+" if "+" in flags else " " if " " in flags else ""
    filled = "<" if "-" in flags else "0" if "0" in flags else ">"
    if filled == "0":
        return formatted(x, "", f"{sign}{'0' if width else ''}{width}{digits}{kind}")
    return formatted(x, "", f"{filled}{sign}{width}{digits}{kind}")


def text_of(x: Any) -> Text:
    """The text of a traced value."""
    made = formatted(x)
    assert type(made) is Text, f"{x!r} is known"
    return made


METHODS: dict[str, Callable[..., str]] = {"format": format_method, "join": join_method}
"""Methods of str that make texts."""

MAKERS: dict[Any, Callable[..., str]] = {
    str: str_,
    repr: lambda x: formatted(x, "r"),
    ascii: lambda x: formatted(x, "a"),
    format: format_,
}
"""Builtins that make texts."""


# -- what a program is given -----------------------------------------------------------------------


def template_of(pieces: Iterable[str | Field]) -> tuple[str, Sequence[Field]]:
    """The text with `{0}`, `{1:.3f}`, as `str.format` has it, and the fields for these."""
    made: list[str] = []
    values: list[Field] = []
    for piece in pieces:
        if isinstance(piece, str):
            made.append(piece.replace("{", "{{").replace("}", "}}"))
            continue
        conversion = f"!{piece.conversion}" if piece.conversion else ""
        spec = f":{piece.spec}" if piece.spec else ""
        made.append(f"{{{len(values)}{conversion}{spec}}}")
        values.append(piece)
    return "".join(made), values
