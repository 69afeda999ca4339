"""Loops that keep a few of their states for reverse mode, and compute the others again.

    %h = for 1000000, %h0 {memory=(8000000, 1), ...}     at most so many bytes; each step once again

    known:    %n, %filled, %at, %kept, %h = while ...     some states, and the steps they belong to
    linear:   %dh = replay %n, %filled, %at, %kept, ..., %dh0 {length=512, ...} @onward @segment

Where the plain loop would leave more than it may, its known half goes in strides and puts the state
in front of each on a stack of fixed size. The linear half goes on from these states again, and
records a segment at a time; see `ops.replaying`. Checks and prints are those of the first run.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

from jitnet.ir import (
    Builder,
    Effect,
    Eqn,
    Function,
    Literal,
    TapeType,
    Value,
    current,
    effect_of,
    index,
)
from jitnet.ops import loop_splits
from jitnet.ops.binomial import REPEATS, Sizes, Spread, spread_over
from jitnet.ops.bound_loops import At, during, repeat
from jitnet.ops.lift import add, select, sub
from jitnet.ops.loop_derivatives import cut, with_results
from jitnet.ops.loop_splits import Settled, inline_partly, settle, settle_for, split_loop
from jitnet.ops.pointwise import bitwise_and, eq, lt
from jitnet.ops.primitive import (
    Halves,
    SplitTransform,
)
from jitnet.ops.regions import INDEX
from jitnet.ops.replaying import replay
from jitnet.ops.residuals import Parts, adopt, pick, primal_loc, separated, size_in_bytes
from jitnet.ops.saved_bytes import bytes_left
from jitnet.ops.state_stacks import Stack, empty_stack, parted, stride

IsFree = Callable[[Value], bool]

LIMIT = "memory"
"""The attribute of a loop that may leave so many bytes, and be computed so often again."""


class TooLittleMemoryError(Exception):
    """A loop cannot do with its limit.

    Attributes:
        factor: how many times the limit it needs; infinite where that cannot be predicted.
        hopeless: even if steps are computed again as often as that is ever done.
    """

    def __init__(self, needed: float, least: float, eqn: Eqn) -> None:
        super().__init__(f"{needed} bytes are needed")
        limit = eqn.attrs[LIMIT][0]
        self.factor = needed / max(limit, 1)
        self.hopeless = least > limit


def split_for(
    eqn: Eqn,
    unknown: Collection[Value],
    is_free: IsFree,
    split: SplitTransform,
    states: Collection[Value] | None,
) -> Parts:
    if LIMIT not in eqn.attrs:
        return loop_splits.split_for(eqn, unknown, is_free, split, states)
    parts = _split_within(eqn, unknown, is_free, split) if eqn.attrs[LIMIT] else None
    if parts is not None:
        return parts
    settled = settle_for(eqn, unknown, is_free, split, states)
    return split_loop(eqn, eqn.regions[0], eqn.operands[1:], settled)


def split_while(
    eqn: Eqn,
    unknown: Collection[Value],
    is_free: IsFree,
    split: SplitTransform,
    states: Collection[Value] | None,
) -> Parts:
    parts = _split_within(eqn, unknown, is_free, split) if LIMIT in eqn.attrs else None
    return parts or loop_splits.split_while(eqn, unknown, is_free, split, states)


def _split_within(
    eqn: Eqn, unknown: Collection[Value], is_free: IsFree, split: SplitTransform
) -> Parts | None:
    """The two halves of a loop that keeps some of its states; None where it need not, or cannot."""
    body = eqn.regions[-1]
    operands = eqn.operands[2 - len(eqn.regions) :]
    settled = settle(eqn, body, operands, None, unknown, is_free, split, None)
    loop = _taken_apart(eqn, operands, settled, split)
    if loop is None:
        _require_to_fit(eqn, settled.halves)
        return None
    spread = _spread(loop, split)
    if spread is None:
        return None
    before, after = Builder("known"), Builder("linear")
    with before, before.at(primal_loc(eqn.loc)):
        steps, stack = (_known_while if loop.is_while else _known_for)(before, loop, spread)
    with after, after.at(eqn.loc):
        regions = (loop.onward, separated(loop.segment, loop.unknown_in_segment, split))
        hidden = (loop.hidden_consts, loop.hidden_carries)
        same = list(loop.same.values())
        replay(steps, stack, same, hidden, regions, spread.length, loop.reverse)
        adopt(after, loop.moving)
    return before.eqns, after.eqns, loop.moving


# -- a loop taken apart ----------------------------------------------------------------------------


class _Loop(NamedTuple):
    """A loop whose states are to be kept.

    Attributes:
        eqn: the `for` or `while`.
        step: `(i, known operands) -> known carries`, with all its effects.
        consts, carries: the known operands.
        known, moving: the known results of the equation, and the unknown ones.
        unknown: which operands are.
        same: what a step reads and none changes: by param, from outside.
        kept: the known carries that are kept, by number.
        hidden_consts, hidden_carries: the unknown operands.
        onward: `(number, m, same, kept) -> kept` after m steps, the first of this number.
        segment: `(number, m, same, kept, hidden) -> hidden carries` after m steps.
    """

    eqn: Eqn
    step: Function
    consts: Sequence[Value]
    carries: Sequence[Value]
    known: Sequence[Value]
    moving: Sequence[Value]
    unknown: Sequence[bool]
    same: dict[Value, Value]
    kept: Sequence[int]
    hidden_consts: Sequence[Value]
    hidden_carries: Sequence[Value]
    onward: Function
    segment: Function

    @property
    def is_while(self) -> bool:
        return len(self.eqn.regions) == 2

    @property
    def reverse(self) -> bool:
        return bool(self.eqn.attrs.get("reverse", False))

    @property
    def hidden(self) -> list[Value]:
        return [*self.hidden_consts, *self.hidden_carries]

    @property
    def unknown_in_segment(self) -> list[bool]:
        count = len(self.hidden)
        return [False] * (len(self.segment.params) - count) + [True] * count


def _taken_apart(
    eqn: Eqn, operands: Sequence[Value], settled: Settled, split: SplitTransform
) -> _Loop | None:
    """None where the states cannot be kept: rows of arrays go in or out, the extents of what is
    carried change, or tapes are carried."""
    body = eqn.regions[-1]
    is_while = len(eqn.regions) == 2
    hidden, c = settled.hidden, eqn.attrs["consts"]
    lead = body.params[: len(body.params) - len(operands)]
    params = body.params[len(lead) :]
    moving = [p for p, u in zip(params[c:], hidden[c:]) if not u and p not in settled.fixed]
    unseen = pick(params, hidden, True)
    extents = {d for p in unseen for d in p.type.symbolic}
    if eqn.attrs.get("scans") or not all(map(_is_static, moving)) or extents - set(settled.fixed):
        return None
    if any(isinstance(p.type, TapeType) for p in unseen) or (is_while and _acts(eqn.regions[0])):
        return None
    before = pick(params[c:], hidden[c:], False)
    wanted = with_results(body, [not u for u in hidden[c:]])
    known = split(wanted, [*[False] * len(lead), *hidden]).known
    step = Function(body.name, known.params, known.eqns, known.results[: len(before)])
    after = dict(zip(before, step.results))
    quiet, ahead = _silent(step), _silent(body)
    ends = pick(body.results, hidden[c:], True)
    as_known = dict(zip([*lead, *pick(params, hidden, False)], step.params))
    needed = _needed(ahead, [*ends, *unseen])
    while True:
        kept = [p for p in moving if p in needed]
        more = _needed(quiet, [after[p] for p in kept])
        fresh = {p for p, q in as_known.items() if q in more} - needed
        needed |= fresh
        if not fresh:
            break
    same = {p: v for p, v in settled.fixed.items() if p in needed}
    given = [*lead, *same, *kept]
    ends = [*(r for p, r in zip(params[c:], body.results) if p in kept), *ends]
    onward = _only(quiet, [as_known[p] for p in given], [after[p] for p in kept])
    segment = _only(ahead, [*given, *unseen], ends)
    counts = (len(same), len(kept), sum(hidden[:c]))
    return _Loop(
        eqn,
        step,
        pick(operands[:c], hidden[:c], False),
        pick(operands[c:], hidden[c:], False),
        pick(eqn.results, hidden[c:], False),
        pick(eqn.results, hidden[c:], True),
        hidden,
        same,
        [before.index(p) for p in kept],
        pick(operands[:c], hidden[:c], True),
        pick(operands[c:], hidden[c:], True),
        _repeated(onward, eqn, counts),
        _repeated(segment, eqn, counts),
    )


def _is_static(p: Value) -> bool:
    return not isinstance(p.type, TapeType) and p.array_type.is_static


def _acts(f: Function) -> bool:
    return any(effect_of(eqn) > Effect.PURE for eqn in f.walk())


def _silent(f: Function) -> Function:
    """The Function without checks, which have been passed, and without what prints."""
    eqns = []
    for eqn in f.eqns:
        if effect_of(eqn) > Effect.PURE and not eqn.results:
            continue
        regions = tuple(map(_silent, eqn.regions))
        same = all(a is b for a, b in zip(regions, eqn.regions))
        eqns.append(eqn if same else replace(eqn, regions=regions))
    return (
        f
        if len(eqns) == len(f.eqns) and all(map(operator.is_, eqns, f.eqns))
        else (Function(f.name, f.params, tuple(eqns), f.results, f.level))
    )


def _needed(f: Function, results: Iterable[Value]) -> set[Value]:
    """The values of f from which some of them are computed, and those that their types name."""
    needed: set[Value] = set()

    def need(values: Iterable[Value]) -> None:
        for v in values:
            needed.update((v, *v.type.symbolic))

    need(results)
    for eqn in reversed(f.eqns):
        if not needed.isdisjoint(eqn.results):
            need((*eqn.results, *eqn.operands))
    need([p for p in f.params if p in needed])
    return needed


def _only(f: Function, params: Sequence[Value], results: Sequence[Value]) -> Function:
    """f with some of its params and results."""
    needed = _needed(f, results)
    eqns = tuple(eqn for eqn in f.eqns if not needed.isdisjoint(eqn.results))
    return Function(f.name, tuple(params), eqns, tuple(results), f.level)


def _repeated(step: Function, eqn: Eqn, counts: tuple[int, int, int]) -> Function:
    """`(number, m, operands) -> carries` after m steps of a loop; those behind the kept ones, if
    there are any. `counts`: of what is the same, of what is kept, and of the consts behind it."""
    same, kept, consts = counts
    lead = 2 - len(eqn.regions)
    with Builder("steps") as b, b.at(eqn.loc):
        number, m = b.param(INDEX, "number"), b.param(INDEX, "m")
        own = b.params_like(step.params[lead:])
        parts = (same, kept, consts, len(own) - same - kept - consts)
        fixed, states, linear, tangents = cut(own, parts)

        def once(at: At, i: Value, carried: Sequence[Value]) -> Sequence[Value]:
            position = (sub if eqn.attrs.get("reverse") else add)(at(number), i)
            args = [*map(at, fixed), *carried[:kept], *map(at, linear), *carried[kept:]]
            return current().inline(step, [position, *args][1 - lead :])

        read = [number, *fixed, *linear]
        whole = {LIMIT: ()} if tangents else {}
        ends = repeat(m, read, [*states, *tangents], once, **whole)
    return b.build(*(ends[kept:] or ends))


# -- how the limit is kept -------------------------------------------------------------------------


def _spread(loop: _Loop, split: SplitTransform) -> Spread | None:
    """Slots and segments; None where the loop may leave what it leaves. A state and the cotangents
    on their way, and a copy of them, are counted in.

    Raises:
        TooLittleMemoryError: where there are none.
    """
    limit, repeats = loop.eqn.attrs[LIMIT]
    steps = _steps(loop.eqn)
    unknown = loop.unknown_in_segment
    halves = split(loop.segment, unknown, [True] * len(loop.segment.results))
    known, results = halves.known, halves.known.results
    one, two = (bytes_left(known, results, {known.params[1]: n}) for n in (1, 2))
    state = sum(size_in_bytes(loop.carries[j]) for j in loop.kept)
    flying = 2 * (state + sum(map(size_in_bytes, loop.hidden)))
    once = max(one - (two - one), 0.0) + flying
    sizes = Sizes(state + INDEX.dtype.itemsize, once, two - one)
    if not math.isfinite(two):
        raise TooLittleMemoryError(math.inf, math.inf, loop.eqn)
    if steps is not None and once - flying + steps * sizes.step <= limit:
        return None
    found = spread_over(steps, sizes, limit, repeats)
    if isinstance(found, Spread):
        return found
    least = spread_over(steps, sizes, 0, REPEATS[-1])
    assert not isinstance(least, Spread)
    raise TooLittleMemoryError(found, least, loop.eqn)


def _steps(eqn: Eqn) -> int | None:
    trips = eqn.operands[0]
    return int(trips.item) if len(eqn.regions) == 1 and isinstance(trips, Literal) else None


def _require_to_fit(eqn: Eqn, halves: Halves) -> None:
    """Of a loop that can only be as it is.

    Raises:
        TooLittleMemoryError: where it leaves more than it may, or nobody knows how much.
    """
    known, steps = halves.known, _steps(eqn)
    each = bytes_left(known, known.results[len(known.results) - len(halves.made) :], {})
    needed = each * (math.inf if steps is None else steps) if each else 0.0
    if needed > eqn.attrs[LIMIT][0]:
        raise TooLittleMemoryError(needed, needed, eqn)


# -- the known half --------------------------------------------------------------------------------


def _known_for(before: Builder, loop: _Loop, spread: Spread) -> tuple[Value, Stack]:
    """The loop as a `while` over strides, in front of which the state is kept."""
    n, slots = loop.eqn.operands[0], spread.slots
    kept = [loop.carries[j] for j in loop.kept]
    count = len(kept)

    def further(at: At, carried: Sequence[Value]) -> list[Value]:
        done, (own, states) = carried[0], parted(carried[1:], count)
        far = stride(sub(at(n), done), sub(slots, own.filled), spread.length)
        own = own.push(done, [states[j] for j in loop.kept])

        def once(inside: At, i: Value, states: Sequence[Value]) -> Sequence[Value]:
            number = add(inside(done), i)
            if loop.reverse:
                number = sub(sub(inside(at(n)), 1), number)
            return current().inline(loop.step, [number, *_seen(loop, at, inside), *states])

        states = repeat(far, [at(n), done, *map(at, loop.consts)], states, once)
        return [add(done, far), *own.flat(), *states]

    starts = [index(0), *empty_stack(slots, kept).flat(), *loop.carries]
    ends = during(lambda at, carried: lt(carried[0], at(n)), further, [n, *loop.consts], starts)
    return _named(before, loop, ends[0], ends[1:])


def _known_while(before: Builder, loop: _Loop, spread: Spread) -> tuple[Value, Stack]:
    """The loop in strides, which become twice as long each time that the slots are full."""
    slots = index(spread.slots)
    kept = [loop.carries[j] for j in loop.kept]
    count = len(kept)

    def further(at: At, carried: Sequence[Value]) -> list[Value]:
        done, length, (own, states) = *carried[:2], parted(carried[2:], count)
        full = eq(own.filled, slots)
        own = own.thinned(select(full, index(spread.slots // 2), index(0)))
        own = own.push(done, [states[j] for j in loop.kept])
        length = select(full, add(length, length), length)

        def goes_on(inside: At, carried: Sequence[Value]) -> Value:
            holds = _holds(loop, _seen(loop, at, inside), carried[1:])
            return bitwise_and(lt(carried[0], inside(length)), holds)

        def once(inside: At, carried: Sequence[Value]) -> list[Value]:
            after = current().inline(loop.step, [*_seen(loop, at, inside), *carried[1:]])
            return [add(carried[0], 1), *after]

        more, *states = during(goes_on, once, [length, *map(at, loop.consts)], [index(0), *states])
        return [add(done, more), length, *own.flat(), *states]

    starts = [index(0), index(spread.length), *empty_stack(spread.slots, kept).flat()]
    ends = during(
        lambda at, carried: _holds(loop, list(map(at, loop.consts)), carried[4 + count :]),
        further,
        loop.consts,
        [*starts, *loop.carries],
    )
    return _named(before, loop, ends[0], ends[2:])


def _seen(loop: _Loop, at: At, inside: At) -> list[Value]:
    """The loop's known consts, two regions further in."""
    return [inside(at(v)) for v in loop.consts]


def _holds(loop: _Loop, consts: Sequence[Value], states: Sequence[Value]) -> Value:
    known = iter([*consts, *states])
    args = [None if u else next(known) for u in loop.unknown]
    return inline_partly(current(), loop.eqn.regions[0], args)[0]


def _named(
    before: Builder, loop: _Loop, steps: Value, ends: Sequence[Value]
) -> tuple[Value, Stack]:
    """How many steps the equation bound last makes, and the stack that it leaves; its last results
    are those of the loop."""
    adopt(before, [*before.eqns[-1].results[: -len(loop.known)], *loop.known])
    return steps, parted(ends, len(loop.kept))[0]
