"""What a compiled function returns that is one thing on one path and another thing on the other.

    if not found.any():           %which = if ... { 0 } { 1 }
        return None               the call gives None where it is 0,
    return x[found]               and the array where it is 1

NumPy and Python give one or the other object; so does a call. Inside of the traced program nobody
may see such a thing, since all that can be asked of it (`is None`, its class, its shape) would only
be known when the program runs: so there are none but in what the outermost function returns.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from types import FrameType
from typing import Any

from jitnet.frontend.context import run_traced, running_trace
from jitnet.frontend.pytree import NodeKind, declare_node
from jitnet.frontend.rewriting import is_thunk
from jitnet.frontend.tracer import Tracer
from jitnet.source import is_users


@dataclass(eq=False)
class Variants:
    """Two objects, of which `which` says the one that is meant: 0 or 1, a traced number."""

    which: Any
    one: Any
    other: Any


def _made(meta: object, children: Iterable[Any]) -> Any:
    """The variants; the one that is meant, once that is known."""
    which, one, other = children
    if type(which) is Tracer:
        return Variants(which, one, other)
    return other if which else one


declare_node(
    Variants,
    NodeKind(
        lambda x: ([x.which, x.one, x.other], None),
        _made,
        lambda meta, count: ("which", "one", "other"),
    ),
)


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
