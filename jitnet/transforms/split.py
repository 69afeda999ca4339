"""Partial evaluation: a Function in two, by what depends on some of its params.

    %y = sin %x          known:  %y, %c            linear:  %dy = zmul %c, %dx
    %c = cos %x
    %dy = zmul %c, %dx

A known value that the second half reads is a residual. Where it is only a view of something that
is there anyway, or index arithmetic, it is computed again instead. An equation with regions falls
in two by its op's own rule: see `ops.loop_splits`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from jitnet.ir import Builder, Effect, Eqn, Function, Literal, Value, effect_of
from jitnet.ops.primitive import Element, Halves, Primitive, SplitTransform
from jitnet.ops.rewinding import is_write, step
from jitnet.ops.slicing import UPDATE
from jitnet.ops.state_choice import size_in_bytes
from jitnet.ops.tape import TAPE_NEW
from jitnet.transforms.cut import least_saved
from jitnet.transforms.states import State, Wanted, in_order, states_of

Values = frozenset[Value]

QUICK = 4
"""Flops up to which an element is computed again rather than saved: those of a division."""


def split(
    f: Function,
    unknown: Sequence[bool],
    forced: Sequence[bool] = (),
    free: Values | None = None,
    given: Values = frozenset(),
    rewinds: bool = False,
) -> Halves:
    """Split f by the params marked `unknown`.

    Args:
        forced: results that are to come from the linear half even if they are known.
        free: of a region: the known params that the linear half has anyway, so that recomputing
            from them is free. None: f is no region; whatever its regions read is saved once.
        given: known params that need not be returned by `known` where they are residuals.
        rewinds: whether arrays may be wound back (`ops.rewinding`); the linear half is there to be
            transposed only, then. Which ones of a region are, the rules of its equation say:
            `states` are known params, and the results that they become.
    """
    done: dict[Any, tuple[Function, Halves]] = {}

    def once(
        f: Function,
        unknown: Sequence[bool],
        forced: Sequence[bool] = (),
        free: Values | None = None,
        given: Values = frozenset(),
        states: Wanted = (),
    ) -> Halves:
        """Loops ask for their regions until their carries are settled, and so do loops in them:
        each question is answered once."""
        key = (id(f), tuple(unknown), tuple(forced), free, given, states)
        if key not in done:
            asked = _Asked(tuple(unknown), tuple(forced), free, given, states, rewinds)
            done[key] = f, _split(f, asked, once)
        return done[key][1]

    return once(f, unknown, forced, free, given)


class _Asked(NamedTuple):
    """The arguments of `split`."""

    unknown: tuple[bool, ...]
    forced: tuple[bool, ...]
    free: Values | None
    given: Values
    states: Wanted
    rewinds: bool


@dataclass
class _Work:
    """A split in progress.

    Attributes:
        known, linear: the equations of the two halves, on the values of the Function that is split.
        unknown: the values that depend on unknown params.
        available: known values that the linear half has anyway, or computes again from these.
        states: those of arrays that are wound back.
        logged: values that are saved, come what may.
        lost: the arrays, as params, that cannot be wound back.
        given: known params that cost nothing to save.
        is_region: what is saved is saved in each of its runs.
    """

    unknown: set[Value]
    available: set[Value]
    states: Mapping[Value, State]
    lost: set[Value]
    given: Values
    is_region: bool
    known: list[Eqn] = field(default_factory=list)
    linear: list[Eqn] = field(default_factory=list)
    logged: set[Value] = field(default_factory=set)

    def add_known(self, eqn: Eqn) -> None:
        if any(r in self.states for r in eqn.results):
            self._add_change(eqn)
        self.known.append(eqn)
        self.note(eqn)

    def note(self, eqn: Eqn) -> None:
        """See what is available from here on."""
        if _is_cheap(eqn) and all(
            isinstance(v, Literal) or v in self.available for v in eqn.operands
        ):
            self.available.update(eqn.results)

    def _add_change(self, eqn: Eqn) -> None:
        """Log what an equation overwrites, in front of it."""
        if not is_write(eqn):
            self.lose(eqn.results)
            return
        change = step(eqn)
        self.known.extend(change.log)
        self.logged.add(change.old)
        self.linear.append(change.undone)

    def lose(self, values: Iterable[Value]) -> None:
        self.lost.update(self.states[v].first for v in values if v in self.states)


def _split(f: Function, asked: _Asked, split: SplitTransform) -> Halves:
    params = list(zip(f.params, asked.unknown, strict=True))
    known_params = [p for p, u in params if not u]
    unknown_params = [p for p, u in params if u]
    states, lost = states_of(f, asked.states)
    work = _Work(
        set(unknown_params),
        {*(asked.free or ()), *states},
        states,
        lost,
        asked.given,
        asked.free is not None,
    )

    def is_free(v: Value) -> bool:
        return asked.free is None or isinstance(v, Literal) or v in work.available

    for eqn in f.eqns:
        _assign(eqn, work, is_free, split, asked.rewinds)
    forced = [*asked.forced, *[False] * len(f.results)]
    out = tuple(v in work.unknown or fo for v, fo in zip(f.results, forced))
    first, last = [p for p, _ in asked.states], [f.results[j] for _, j in asked.states]
    results = [*(v for v, u in zip(f.results, out) if u), *last]
    ends = [*results, *first, *unknown_params]
    eqns, saved = _linear_half(work, _live(work.linear, results), ends)
    if work.lost:
        return Halves(f, f, out, (), (), tuple(work.lost))
    order = {v: i for i, v in enumerate([*f.params, *(r for e in work.known for r in e.results)])}
    residuals = sorted(saved, key=lambda v: (bool(getattr(v.type, "dims", True)), order[v]))
    made = [r for r in residuals if r not in asked.given]
    known_results = [*(v for v, u in zip(f.results, out) if not u), *made]
    known = _close(f.name, known_params, _live(work.known, known_results), known_results)
    second = _close(f.name, [*residuals, *first, *unknown_params], eqns, results)
    return Halves(known, second, out, tuple(residuals), tuple(made))


def _assign(
    eqn: Eqn, work: _Work, is_free: Callable[[Value], bool], split: SplitTransform, rewinds: bool
) -> None:
    """Put an equation in the half where it belongs."""
    if not any(v in work.unknown for v in eqn.operands):
        work.add_known(eqn)
    elif isinstance(eqn.op, Primitive) and eqn.op.split is not None:
        states = work.states if rewinds else None
        known, linear, moving = eqn.op.split(eqn, work.unknown, is_free, split, states)
        changed = {r for e in linear for r in e.results}
        work.lose(r for r in eqn.results if r not in changed)
        for known_eqn in known:
            work.known.append(known_eqn)
            work.note(known_eqn)
        work.linear.extend(linear)
        work.unknown.update(moving)
    else:
        work.linear.append(eqn)
        work.unknown.update(eqn.results)


def _live(eqns: Sequence[Eqn], results: Sequence[Value]) -> list[Eqn]:
    """The equations that the results need, and those with effects."""
    needed = {*results, *_dims(results)}
    live: list[Eqn] = []
    for eqn in reversed(eqns):
        if effect_of(eqn) > Effect.PURE or any(r in needed for r in eqn.results):
            live.append(eqn)
            needed.update(eqn.operands)
    return live[::-1]


def _dims(values: Iterable[Value]) -> list[Value]:
    """The extents that the types of values name."""
    return [d for v in values for d in v.type.symbolic]


def _read(linear: Sequence[Eqn], ends: Sequence[Value], unknown: set[Value]) -> list[Value]:
    """Known values that the linear half reads, or that its types name."""
    values = [*(v for eqn in linear for v in eqn.operands), *ends]
    inside = {r for eqn in linear for r in eqn.results}
    read = dict.fromkeys([*values, *_dims(values)])
    return [v for v in read if not (isinstance(v, Literal) or v in unknown or v in inside)]


# -- residuals -------------------------------------------------------------------------------------


def _linear_half(
    work: _Work, linear: Sequence[Eqn], ends: Sequence[Value]
) -> tuple[list[Eqn], set[Value]]:
    """The linear half's equations, and what it needs saved."""
    read = [v for v in _read(linear, ends, work.unknown) if v not in work.states]
    barred = set(work.logged)
    while not work.lost:
        again, saved = _residuals(work, read, ends, barred)
        eqns, torn = in_order(linear, again, work.states)
        if not torn:
            return eqns, saved
        work.lose(torn)
        barred |= torn
    return [], set()


def _residuals(
    work: _Work, read: Sequence[Value], ends: Sequence[Value], fixed: Values | set[Value]
) -> tuple[list[Eqn], set[Value]]:
    """The known equations that the linear half computes again, and what it needs saved.

    `ends` are the linear half's params and results: the extents in their types are saved, so that
    both sides of it name the same value. `fixed` is never computed again.
    """
    definition = {r: eqn for eqn in work.known for r in eqn.results}
    barred = set(fixed)
    while True:
        again: set[Value] = set()
        saved = set(_dims(ends))
        cut = _cut(work, [v for v in read if v not in saved], definition, saved | barred)
        stack = [v for v in read if v not in saved]
        while stack:
            v = stack.pop()
            if v in saved or v in again or v in work.states:
                continue
            eqn = definition.get(v)
            if eqn is None or v in barred or v in cut:
                saved.add(v)
                saved.update(_dims([v]))
                continue
            again.update(eqn.results)
            stack.extend(o for o in eqn.operands if not isinstance(o, Literal))
        torn = again & saved
        if not torn:
            return [eqn for eqn in work.known if any(r in again for r in eqn.results)], saved
        barred.update(r for v in torn for r in definition[v].results)


def _cut(
    work: _Work, read: Sequence[Value], definition: Mapping[Value, Eqn], kept: set[Value]
) -> set[Value]:
    """The values to save; `kept` ones are."""

    def has(v: Value) -> bool:
        return v not in kept and (v in work.available or v in work.states)

    def again(eqn: Eqn) -> bool:
        if not kept.isdisjoint(eqn.results):
            return False
        if eqn.op is UPDATE and work.is_region:
            fresh = definition.get(eqn.operands[0])
            return fresh is not None and _is_quick(fresh) and not _is_cheap(fresh)
        return _is_small_view(eqn) or (work.is_region and _is_quick(eqn))

    def size(v: Value) -> float:
        if v in work.given or v in kept:
            return 0.0
        made, own = definition.get(v), size_in_bytes(v)
        if made is None or not isinstance(made.op, Primitive) or not made.op.is_view:
            return own
        if not v.array_type.is_static and made.operands[0].array_type.is_static:
            return min(own, 0.5 * size_in_bytes(made.operands[0]))  # the half of it, say
        return own + 0.5  # its source may serve others, too

    return least_saved(read, definition, has, again, size)


def _is_quick(eqn: Eqn) -> bool:
    """Whether it takes less time to compute than to save and to read again."""
    if _is_cheap(eqn):
        return True
    if not isinstance(eqn.op, Primitive) or not eqn.op.is_pointwise or len(eqn.results) != 1:
        return False
    rule = eqn.op.lowering(eqn)
    return isinstance(rule, Element) and rule.cost <= QUICK


def _is_cheap(eqn: Eqn) -> bool:
    """Whether it is a view, a gather or index arithmetic."""
    op = eqn.op
    if op is TAPE_NEW:
        return True  # the linear half fills tapes of its own
    if not isinstance(op, Primitive) or not op.is_element:
        return False
    scalar = eqn.result.rank == 0 and not eqn.result.dtype.is_inexact
    return op.is_view or not op.is_pointwise or scalar


def _is_small_view(eqn: Eqn) -> bool:
    """Whether it is a view of something that takes no more memory than it would."""
    if not isinstance(eqn.op, Primitive) or not eqn.op.is_view:
        return False
    (source, extents), (result, more) = _size(eqn.operands[0]), _size(eqn.result)
    return source <= result and extents <= more


def _size(v: Value) -> tuple[int, Counter[Value]]:
    """The number of elements: a product of an int and of extents."""
    number = 1
    for d in v.dims:
        number *= d if isinstance(d, int) else 1
    return number, Counter(v.type.symbolic)


def _close(
    name: str, params: Sequence[Value], eqns: Sequence[Eqn], results: Sequence[Value]
) -> Function:
    """A Function of its own from equations on other values."""
    with Builder(name) as b:
        inner = b.params_like(params)
        env = dict(zip(params, inner))
        for eqn in eqns:
            env.update(zip(eqn.results, b.rebind(eqn, [env.get(v, v) for v in eqn.operands])))
    return b.build(*(env.get(v, v) for v in results))
