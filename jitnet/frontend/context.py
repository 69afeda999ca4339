"""The trace that is running: its builder, what it captured, and where the user's program is.

    def f(x):                 # trace 1: param %x
        g = jitnet.grad(lambda y: (x * y).sum())   # trace 2 captures %x of trace 1 as an input
        return g(x)

Traces form a stack for each thread and each asyncio task. A trace never reaches into another one's
values: what it needs of an outer trace, or of an array from outside, becomes an input of its own.
An arm of an `if` and the body of a loop are traces too, whose inputs are what they capture.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from types import CellType
from typing import Any, NamedTuple, TypeVar

import numpy as np

from jitnet import errors, source
from jitnet.ir import UNKNOWN, ArrayType, Builder, Eqn, Frame, Literal, Loc, Type, Value, as_dim
from jitnet.ir.loc import MOST_FRAMES

Result = TypeVar("Result")


class Capture(NamedTuple):
    """Something from outside that a trace reads.

    Attributes:
        source: a value of the parent trace, or an ndarray.
        value: the param of this trace that stands for it.
    """

    source: Any
    value: Value


class Globals(NamedTuple):
    """Variables of a module.

    Attributes:
        namespace: the module's.
        stored: names that the function may assign to, whether they are there or not.
        reached: names of what it may change otherwise.
    """

    namespace: dict[str, Any]
    stored: tuple[str, ...]
    reached: tuple[str, ...]


def _as_it_is(x: Any) -> Any:
    return x


class Trace:
    """One run of a user's function, or of a part of it, with tracers for what is not known.

    Attributes:
        builder: collects the equations.
        parent: the trace that was running when this one began.
        is_region: this is an arm or a loop's body: its function is the one that the parent traces.
        captures: by identity of the captured thing (a value of the parent, or an array).
        outside: by identity of an array from outside, the array, its copy for those that the user
            has at hand, and the tracer that stands for it.
        arguments: params that stand for arguments, with the number of the leaf.
        wholes: those of them that stand for the array that the leaf is a part of, with its shape.
        symbolic_ints: int arguments that have come with many values and stay traced.
        extents: params that stand for extents of arguments, with the leaf and the axis.
        static_candidates: those of them that jit can make static: Python ints of the caller.
        stores: the memory of arrays that came in, with the params that hold its first content.
        written: stores of enclosing traces that were written to: what they held, and whose value
            that was.
        lost: stores of enclosing traces that may have been written to, and why that is not known.
        conflicts: why variables are unbound that are bound on some path, by name, and which int
            arguments decide on that.
        carried: which variables the bodies of loops carry, by their code.
        helpers: the user's functions that were called, by their code; see `flow.helpers`.
        kept: how many elements masks keep, of those that were used.
        containers: the containers and objects that came in, by identity.
        snapshots: containers that may not be written to; see `flow.snapshots`.
        tests: what conditions say of variants, and `facts` what a region knows of some: by identity
            of its number, that and the numbers that it may be; see `flow.conditions`.
        iterated: memory of the arrays that running loops go over.
        copies: how often the part of the program that is traced will be, in a nest of short loops.
        unrollable: how many loops around are traced step by step if they need their counters.
        decided: params of a loop's step that stand for what data decides; see `flow.counters`.
        picked: arrays that data has picked from lists, by identity; see `flow.picking`.
        inner_lists: containers that are items of lists on tapes; see `flow.inner_lists`.
        worlds: what the running branches and loops can change; see `flow.world`.
        bring_in: the copy of something from outside that the traced function is to see.
        globals: the modules' variables that the traced function may change.
        exact: arrays in loops are told by their places, rather than by what they hold.
        trying: how many `try` statements with handlers the program is in.
        refusal: what a handler that runs must not take; see `flow.handling`; of the whole
            function's trace.
        stack: the user's frames that are running; of the whole function's trace.
        target: the variable that the current operation's result is stored to, or ''.
        active: False once the trace has ended.
    """

    def __init__(self, name: str, parent: Trace | None, is_region: bool = False) -> None:
        self.builder = Builder(name)
        self.parent = parent
        self.is_region = is_region
        self.captures: dict[int, Capture] = {}
        self.outside: dict[int, tuple[Any, Any, Any]] = {}
        self.arguments: dict[Value, int] = {}
        self.wholes: dict[Value, tuple[int, ...]] = {}
        self.symbolic_ints: frozenset[int] = frozenset()
        self.extents: dict[Value, tuple[int, int]] = {}
        self.static_candidates: set[int] = set()
        self.stores: dict[Any, Value] = {}
        self.written: dict[Any, tuple[Value, Trace]] = {}
        self.lost: dict[Any, Any] = {}
        self.conflicts: dict[str, tuple[str, frozenset[int] | None]] = {}
        self.carried: dict[Any, Any] = {}
        self.helpers: dict[Any, Any] = {}
        self.kept: dict[Value, Value] = {}
        self.containers: frozenset[int] = frozenset()
        self.snapshots: list[Any] = []
        self.tests: dict[Value, list[Any]] = {}
        self.facts: dict[int, tuple[Any, frozenset[int]]] = {}
        self.iterated: list[Any] = []
        self.copies = 1
        self.unrollable = 0
        self.decided: set[Value] = set()
        self.picked: dict[int, Any] = {}
        self.inner_lists: dict[int, Any] = {}
        self.worlds: list[Any] = []
        self.bring_in: Callable[[Any], Any] = _as_it_is if parent is None else parent.bring_in
        self.globals: Callable[[], Sequence[Globals]] = tuple if parent is None else parent.globals
        self.exact = False
        self.trying = 0
        self.refusal: BaseException | None = None
        self.stack = source.Stack()
        self.target = ""
        self.active = True
        outer = 0 if parent is None else parent.depth
        self.depth: int = outer if is_region else outer + 1

    @property
    def function(self) -> Trace:
        """The trace of the whole function that this one is a part of."""
        trace = self
        while trace.is_region and trace.parent is not None:
            trace = trace.parent
        return trace

    def is_inside(self, outer: Trace | None) -> bool:
        """Whether `outer` is a trace around this one."""
        trace = self.parent
        while trace is not None and trace is not outer:
            trace = trace.parent
        return trace is not None

    def capture(self, identity: int, thing: Any, type: Type, name: str) -> Value:
        """The param that stands for a thing from outside; the same thing gives the same param."""
        known = self.captures.get(identity)
        if known is None:
            known = Capture(thing, self.builder.param(type, name))
            self.captures[identity] = known
        return known.value

    def captured(self, value: Value) -> Any:
        """What a param of this trace was captured from, or None."""
        return next((c.source for c in self.captures.values() if c.value is value), None)


def bring_in(value: Value, owner: Trace, trace: Trace) -> Value:
    """A value of `owner` in `trace`, which is the same or inside of it.

    Raises:
        LeakedTracerError: where `owner` has ended, or is not around `trace`.
    """
    if owner is trace or isinstance(value, Literal):
        return value
    if not owner.active or trace.parent is None:
        raise errors.LeakedTracerError(
            f"a traced value {value!r} was made by an earlier trace that has ended",
            why="it was kept in a global, an attribute or a list beyond its function's return",
            remedy="return it as a result of the compiled function",
        )
    outer = bring_in(value, owner, trace.parent)
    if isinstance(outer, Literal):
        return outer
    known = trace.captures.get(id(outer))
    if known is not None:
        return known.value
    type = outer.type
    if isinstance(type, ArrayType):
        dims = tuple(
            d if isinstance(d, int) else as_dim(bring_in(d, trace.parent, trace)) for d in type.dims
        )
        type = type.with_dims(dims)
    return trace.capture(id(outer), outer, type, outer.name)


def is_captured(value: Value, owner: Trace, trace: Trace) -> bool:
    """Whether a trace, which is inside of `owner`, has this value as an input."""
    within = []
    while trace is not owner and trace.parent is not None:
        within.append(trace)
        trace = trace.parent
    for region in reversed(within):
        known = region.captures.get(id(value))
        if known is None:
            return False
        value = known.value
    return True


_TRACE: ContextVar[Trace | None] = ContextVar("jitnet_trace", default=None)

ORDERS: ContextVar[int] = ContextVar("jitnet_orders", default=0)
"""How many derivatives will be taken of what is traced."""

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


def running_trace() -> Trace:
    """The innermost trace.

    Raises:
        LeakedTracerError: where none is running, so that a tracer can only be a leaked one.
    """
    trace = current_trace()
    if trace is None:
        raise errors.LeakedTracerError(
            "a traced value is used outside of the function that was traced",
            why="it was kept in a global, an attribute or a list beyond its function's return",
            remedy="return it as a result of the compiled function",
        )
    return trace


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


@contextmanager
def resume(region: Trace) -> Iterator[Trace]:
    """Trace on in a region, which may be left and entered again until it is closed."""
    token = _TRACE.set(region)
    try:
        with region.builder:
            yield region
    finally:
        _TRACE.reset(token)


# -- where the user's program is -------------------------------------------------------------------

_HANDLED = frozenset(("raise", "call", "print", "log"))


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
    place = trace.function.stack.place(run_traced.__code__, trace.depth)
    trace.builder.loc, trace.target = _described(place)


def _described(place: source.Place) -> tuple[Loc, str]:
    """Location and target name of a place."""
    if place.note is None:
        place.note = UNKNOWN, ""
        if place.site is not None and place.outer is not None:
            p, (outer, outer_target) = source.position(place.site), _described(place.outer)
            frame = Frame(p.file, p.line, p.function, p.column, p.end_column)
            target = source.target_name(place.site)
            loc = Loc((frame, *outer.frames)[:MOST_FRAMES])
            place.note = loc, outer_target if target is None else target
    described: tuple[Loc, str] = place.note
    return described


def give_name(trace: Trace, value: Value) -> None:
    """Name a new value after the variable that the user's program stores it to."""
    if trace.target and not value.name and not isinstance(value, Literal):
        value.name = trace.target


# -- values that are needed while tracing ----------------------------------------------------------


class Interruption(BaseException):
    """The trace cannot go on so, and is to be taken up in another way by who asked for it."""


class NeedStatic(Interruption):
    """The trace needs these arguments' values: jit starts it again with them static."""

    def __init__(self, leaves: frozenset[int]) -> None:
        super().__init__(f"arguments {sorted(leaves)} are needed as values")
        self.leaves = leaves


def integer_arguments_of(trace: Trace, value: Value) -> frozenset[int] | None:
    """The outermost trace's int arguments that `value` is computed from, if from nothing else."""
    producers: dict[int, dict[Value, Eqn]] = {}
    leaves: set[int] = set()
    pending, seen = [(trace, value)], {value}
    while pending:
        here, v = pending.pop()
        if isinstance(v, Literal):
            continue
        if id(here) not in producers:
            producers[id(here)] = {r: eqn for eqn in here.builder.eqns for r in eqn.results}
        eqn, leaf = producers[id(here)].get(v), here.arguments.get(v)
        if eqn is not None:
            sources = [(here, o) for o in eqn.operands]
        elif leaf is not None:
            if leaf not in here.static_candidates:
                return None
            leaves.add(leaf)
            continue
        else:
            outer = here.captured(v)
            if not isinstance(outer, Value) or here.parent is None:
                return None
            sources = [(here.parent, outer)]
        fresh = [(where, o) for where, o in sources if o not in seen]
        seen.update(o for _, o in fresh)
        pending += fresh
    return frozenset(leaves) if leaves else None
