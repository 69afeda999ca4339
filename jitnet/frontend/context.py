"""The trace that is running: its builder, what it captured, and where the user's program is.

    def f(x):                 # trace 1: param %x
        g = jitnet.grad(lambda y: (x * y).sum())   # trace 2 captures %x of trace 1 as an input
        return g(x)

Traces form a stack for each thread and each asyncio task. A trace never reaches into another one's
values: what it needs of an outer trace, or of an array from outside, becomes an input of its own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from types import CellType
from typing import Any, TypeVar

import numpy as np

from jitnet import errors, source
from jitnet.ir import UNKNOWN, ArrayType, Builder, Frame, Literal, Loc, Value

Result = TypeVar("Result")


@dataclass
class Capture:
    """Something from outside that a trace reads.

    Attributes:
        source: a tracer of an outer trace, or an ndarray.
        value: the param of this trace that stands for it.
        snapshot: what an array held then, where the user's code has the array itself at hand.
    """

    source: Any
    value: Value
    snapshot: Any = None


class Trace:
    """One run of a user's function with tracers for arguments.

    Attributes:
        builder: collects the equations.
        parent: the trace that was running when this one began.
        captures: by identity of the captured thing (a tracer's value or an array).
        arguments: params that stand for arguments, with the number of the leaf.
        static_candidates: those of them that jit can make static: Python ints of the caller.
        wrapped: values that some tracer holds; `shared` those that more than one may hold.
        sites: the user's instructions, innermost first, that the current operation came from.
        active: False once the trace has ended.
    """

    def __init__(self, name: str, parent: Trace | None) -> None:
        self.builder = Builder(name)
        self.parent = parent
        self.captures: dict[int, Capture] = {}
        self.arguments: dict[Value, int] = {}
        self.static_candidates: set[int] = set()
        self.wrapped: set[Value] = set()
        self.shared: set[Value] = set()
        self.sites: tuple[source.Site, ...] = ()
        self.active = True
        self.depth: int = 1 if parent is None else parent.depth + 1

    def capture(self, identity: int, thing: Any, type: ArrayType, name: str) -> Value:
        """The param that stands for a thing from outside; the same thing gives the same param."""
        known = self.captures.get(identity)
        if known is None:
            known = Capture(thing, self.builder.param(type, name))
            self.captures[identity] = known
        return known.value

    def captured(self, value: Value) -> Any:
        """What a param of this trace was captured from, or None."""
        return next((c.source for c in self.captures.values() if c.value is value), None)


_TRACE: ContextVar[Trace | None] = ContextVar("jitnet_trace", default=None)

RUNNING = CellType(0)
"""How many traces run, in all threads: native entries, which know no context, run while it is 0. A
cell, because they read one in a nanosecond."""

_COUNTING = threading.Lock()


def _count(change: int) -> None:
    with _COUNTING:
        RUNNING.cell_contents += change


def current_trace() -> Trace | None:
    """The innermost trace of this context."""
    return _TRACE.get()


def run_traced(trace: Trace, body: Callable[[], Result]) -> Result:
    """`body()` with `trace` as the current one. Frames below this one are the traced program's."""
    token = _TRACE.set(trace)
    _count(1)
    try:
        with trace.builder:
            return body()
    finally:
        _count(-1)
        _TRACE.reset(token)
        trace.active = False


# -- where the user's program is -------------------------------------------------------------------

_LOCS: dict[tuple[tuple[int, int], ...], tuple[tuple[source.Site, ...], Loc, str]] = {}
_HANDLED = frozenset(("raise", "call", "print", "log"))
_LOC_LIMIT = 1 << 16  # sites remembered; a program that has more simply computes them again


def enter(trace: Trace) -> None:
    """Note the user's place: equations bound from now on carry it.

    Raises:
        UnsupportedFunctionError: under an np.errstate that raises, which a compiled program cannot.
    """
    if _HANDLED.intersection(np.geterr().values()):
        raise errors.UnsupportedFunctionError(
            "computing under np.errstate that raises, calls, prints or logs",
            why="compiled programs compute without looking at floating-point flags",
            remedy="use np.errstate(all='ignore'), and check results with np.isfinite",
        )
    trace.sites = source.user_sites(run_traced.__code__, trace.depth)
    trace.builder.loc = _look_up(trace.sites)[0]


def _look_up(sites: tuple[source.Site, ...]) -> tuple[Loc, str]:
    """Location and target name of a place; kept, because tracing comes by the same places again.
    The code objects are kept with them, so that an id is never taken for another's."""
    key = tuple((id(code), offset) for code, offset in sites)
    known = _LOCS.get(key)
    if known is not None:
        return known[1], known[2]
    if not sites:
        return UNKNOWN, ""
    frames = []
    for site in sites:
        p = source.position(site)
        frames.append(Frame(p.file, p.line, p.function, p.column, p.end_column))
    loc, name = Loc(tuple(frames)), source.target_name(sites)
    if len(_LOCS) >= _LOC_LIMIT:
        _LOCS.clear()
    _LOCS[key] = (sites, loc, name)
    return loc, name


def give_name(trace: Trace, value: Value) -> None:
    """Name a new value after the variable that the user's program stores it to."""
    if value.name or isinstance(value, Literal) or not trace.sites:
        return
    name = _look_up(trace.sites)[1]
    if name:
        value.name = name


# -- values that are needed while tracing ----------------------------------------------------------


class NeedStatic(BaseException):
    """The trace needs these arguments' values: jit starts it again with them static.

    Not an Exception, so that no handler in the user's function takes it.
    """

    def __init__(self, leaves: frozenset[int]) -> None:
        super().__init__(f"arguments {sorted(leaves)} are needed as values")
        self.leaves = leaves


def integer_arguments_of(trace: Trace, value: Value) -> frozenset[int] | None:
    """The outermost trace's int arguments that `value` is computed from, if from nothing else."""
    producers = {r: eqn for eqn in trace.builder.eqns for r in eqn.results}
    leaves: set[int] = set()
    pending, seen = [value], {value}
    while pending:
        v = pending.pop()
        if isinstance(v, Literal):
            continue
        if v in producers:
            fresh = [o for o in producers[v].operands if o not in seen]
            seen.update(fresh)
            pending += fresh
            continue
        found = _argument_leaves(trace, v)
        if found is None:
            return None
        leaves |= found
    return frozenset(leaves) if leaves else None


def _argument_leaves(trace: Trace, param: Value) -> frozenset[int] | None:
    leaf = trace.arguments.get(param)
    if leaf is not None:
        return frozenset((leaf,)) if leaf in trace.static_candidates else None
    outer = trace.captured(param)
    if outer is None or trace.parent is None or not hasattr(outer, "owner"):
        return None
    return integer_arguments_of(outer.owner, outer.value)
