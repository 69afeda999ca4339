"""`print` in the user's program: an equation, which prints each time the program comes by.

    print("step", k, loss)      host_print %k, %loss {kinds=("python", "scalar"),
                                                      text="step {0} {1}\\n", ...}

What is known is a part of the text; it is printed when the program runs all the same. What else
writes, `sys.stdout.write`, `warnings.warn` and `logging`, is run while tracing where nothing in it
is traced and nothing traced decides about it.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from types import FunctionType
from typing import Any

from jitnet import errors, ops
from jitnet.frontend import texts
from jitnet.frontend.context import current_trace
from jitnet.frontend.dispatch import note_place
from jitnet.frontend.flow import growing, stacking
from jitnet.frontend.flow.variants import Variants, apart
from jitnet.frontend.pytree import LEAF
from jitnet.frontend.tracer import Tracer, wrap
from jitnet.frontend.watch import Rest


def print_(
    *args: Any, sep: Any = " ", end: Any = "\n", file: Any = None, flush: Any = False
) -> None:
    """`print(...)`."""
    if current_trace() is None:
        print(*args, sep=sep, end=end, file=file, flush=flush)
        return
    note_place()
    between, after = _separator(sep, "sep", " "), _separator(end, "end", "\n")
    pieces: list[str | texts.Field] = []
    for i, x in enumerate(args):
        pieces += texts.pieces_of(between) if i else ()
        pieces += texts.pieces_of(formatted(x, "s"))
    pieces += texts.pieces_of(after)
    text, fields = texts.template_of(pieces)
    values, kinds = [x.value.value for x in fields], [x.kind for x in fields]
    ops.host_print(text, values, kinds, _stream(file), bool(flush))


def formatted(x: Any, conversion: str = "", spec: str = "") -> str:
    """`f"{x!conversion:spec}"`, of lists too that have grown in a loop."""
    if type(x) is Variants:
        made: str = apart(x, lambda one: formatted(one, conversion, spec))
        return made
    own = growing.grown(x)
    if own is None:
        return texts.formatted(x, conversion, spec)
    parts = stacking.stacked(own)
    if len(own.flavours) != 1 or own.tree.tokens != (LEAF,):
        raise errors.UnsupportedFunctionError(
            "the text of a list of tuples that has grown in a loop",
            remedy="keep the parts in lists of their own",
        )
    return texts.of_list(Tracer(wrap(parts[0]).place, own.flavours[0]), spec)


def _separator(x: Any, name: str, default: str) -> str:
    if x is None:
        return default
    if not isinstance(x, str):
        raise TypeError(f"{name} must be None or a string, not {type(x).__name__}")
    return x


def _stream(file: Any) -> str:
    """The name that `sys` has for where to print."""
    if file is None or file is sys.stdout:
        return "stdout"
    if file is sys.stderr:
        return "stderr"
    raise errors.UnsupportedFunctionError(
        f"print to a file of type {type(file).__qualname__}",
        why="a compiled program prints to sys.stdout and sys.stderr only",
        remedy="return the values, and print them outside",
    )


# -- what else writes ------------------------------------------------------------------------------


def _known_only(original: Callable[..., Any], name: str, remedy: str) -> Callable[..., Any]:
    """`original`, run while tracing, where it is known that it runs and with what."""

    def call_of(*args: Any, **kwargs: Any) -> Any:
        trace = current_trace()
        if trace is None:
            return original(*args, **kwargs)
        traced = any(map(texts.holds_traced, (*args, *kwargs.values())))
        if traced or trace.is_region:
            raise errors.UnsupportedFunctionError(
                f"{name} with traced values" if traced else f"{name} where traced values decide",
                why="it would have to be called when the compiled function runs",
                remedy=remedy,
            )
        with Rest():
            return original(*args, **kwargs)

    return call_of


_LOGGING = frozenset(
    ("debug", "info", "warning", "warn", "error", "exception", "critical", "fatal", "log")
)


def logger(function: FunctionType) -> Callable[..., Any] | None:
    """What stands for a function of `logging` that logs, or for such a method of its loggers; None
    for other functions."""
    if function.__module__ != "logging" or function.__name__ not in _LOGGING:
        return None
    return _known_only(function, f"logging.{function.__name__}", "print(text, file=sys.stderr)")


def writer(method: Any) -> Callable[..., Any] | None:
    """What stands for `sys.stdout.write` or `sys.stderr.write`; None for other callables."""
    for name in ("stdout", "stderr"):
        if method.__name__ == "write" and method.__self__ is getattr(sys, name):
            use = f"print(text, end='', file=sys.{name})"
            return _known_only(method, f"sys.{name}.write", use)
    return None


def _warn(*args: Any, stacklevel: int = 1, **kwargs: Any) -> None:
    """`warnings.warn`, for the user's line: this function, `_known_only` and `call` are between."""
    warn: Any = warnings.warn
    warn(*args, stacklevel=stacklevel + 3, **kwargs)


WARN = _known_only(_warn, "warnings.warn", "print(text, file=sys.stderr)")
"""What stands for `warnings.warn`."""
