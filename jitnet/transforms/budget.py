"""Reverse mode within a budget: which loops may leave how much for the backward pass.

    for 1000 @body            →    for 1000 {memory=(4000, 1)} @body
    for 10 @body                   for 10 {memory=(4000, 1)} @body

The plain gradient is made first; if what it saves fits, that is it. Otherwise each loop gets a
limit, the same for all of them: those that save less are left alone, and give the others what they
do not need (as water finds its level). Loops in loops get limits of their own, in one of the ways
of `WAYS`. How a loop keeps to its limit is the matter of `ops.loop_checkpoints`. The way that
computes fewest steps again is taken.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from jitnet import errors
from jitnet.ir import Eqn, Frame, Function, Literal, Value, facts
from jitnet.ops.binomial import REPEATS
from jitnet.ops.loop_checkpoints import LIMIT, TooLittleMemoryError
from jitnet.ops.saved_bytes import bytes_left
from jitnet.ops.tape import TAPE_PUSH
from jitnet.transforms.linearize import linearize

Halves = tuple[Function, Function, tuple[bool, ...]]
"""What `linearize` gives."""

LOOPS = ("for", "while")
LARGEST = 2**40
"""An extent of which no more is proved than that it is smaller is not known."""

ATTEMPTS = 16
"""How often a larger limit is tried, to find the smallest budget that can be met."""


def linearize_within(f: Function, nonzero: Sequence[bool], memory: int | None) -> Halves:
    """As `linearize`, for a transpose that has `memory` bytes for what the known half leaves and
    what is recorded again; None is no limit.

    Raises:
        MemoryBudgetError: where that cannot be.
    """
    plain = linearize(f, nonzero, rewinds=True)
    if memory is None:
        return plain
    saved = _saved(plain[0], len(f.results))
    if saved.total <= memory:
        return plain
    ways = list(WAYS if _depth(f) > 1 else WAYS[:1])
    last, level = ways[-1], saved.level(memory)
    for repeats in REPEATS if level >= 1 else ():
        for way in tuple(ways):
            try:
                return linearize(_limited(f, way, level, repeats), nonzero, rewinds=True)
            except TooLittleMemoryError as short:
                if short.hopeless:
                    ways.remove(way)
    raise _error(f, nonzero, memory, saved, (WAYS[0], last))


# -- what is saved ---------------------------------------------------------------------------------


class _Group(NamedTuple):
    """What one equation of the known half saves.

    Attributes:
        loops: how many loops it is, or has in it, not counting loops in loops.
        frames: the user's line; of a loop, the first one in it.
    """

    bytes: float
    loops: int
    frames: tuple[Frame, ...]


class _Saved(NamedTuple):
    groups: Sequence[_Group]

    @property
    def total(self) -> float:
        return sum(g.bytes for g in self.groups)

    @property
    def largest(self) -> _Group:
        return max(self.groups, key=lambda g: (g.loops > 0, g.bytes))

    def within(self, level: float) -> float:
        """The bytes in all, if no loop saves more than `level`."""
        return sum(min(g.bytes, g.loops * level) if g.loops else g.bytes for g in self.groups)

    def level(self, memory: float) -> float:
        """The limit of each loop with which all of it fits; below 0 if there is none."""
        left = memory - sum(g.bytes for g in self.groups if not g.loops)
        loops = sorted((g.bytes / g.loops, g.loops) for g in self.groups if g.loops)
        count = sum(n for _, n in loops)
        for each, n in loops:
            if each > left / count:
                return left / count
            left -= n * each
            count -= n
        return math.inf if left >= 0 else -1.0


def _saved(known: Function, results: int) -> _Saved:
    """What a known half saves, besides its results and what it was given. Arrays of which nobody
    knows how large they are do not count outside of loops."""
    made = {r: eqn for eqn in known.eqns for r in eqn.results}
    values = [v for v in dict.fromkeys(known.results[results:]) if v in made]
    bounds = _bounds(known, values)
    groups: dict[int, _Group] = {}
    for v in values:
        eqn = made[v]
        size = bytes_left(known, [v], bounds)
        before = groups.get(id(eqn), _Group(0.0, _outermost(eqn), _line(eqn)))
        if not (before.loops or math.isfinite(size)):
            continue
        groups[id(eqn)] = before._replace(bytes=before.bytes + size)
    return _Saved(list(groups.values()))


def _line(eqn: Eqn) -> tuple[Frame, ...]:
    inside = (e for region in eqn.regions for e in region.walk())
    return next((e.loc.frames for e in (*inside, eqn) if e.loc.frames), ())


def _bounds(f: Function, values: Sequence[Value]) -> dict[Value, float]:
    """The largest that extents can be, where that is proved."""
    extents = {d for v in values for d in v.type.symbolic}
    if not extents:
        return {}
    known = facts(f)
    return {d: known.range(d).hi for d in extents if known.range(d).hi < LARGEST}


def _outermost(eqn: Eqn) -> int:
    if eqn.op.name in LOOPS:
        return 1
    return sum(_outermost(inner) for region in eqn.regions for inner in region.eqns)


def _depth(f: Function) -> int:
    """How deep loops are nested."""
    return max(
        ((e.op.name in LOOPS) + max(map(_depth, e.regions), default=0) for e in f.eqns), default=0
    )


# -- limits ----------------------------------------------------------------------------------------

Way = Callable[[float, int, float], float]
"""`(limit of an outermost loop, level, runs) -> limit` of a loop in so many others, which is run so
often in all; infinite for none."""


def _outermost_only(limit: float, level: int, runs: float) -> float:
    return math.inf if level else limit


def _innermost(limit: float, level: int, runs: float) -> float:
    return limit / 2 / runs if level else limit


def _all_of_them(limit: float, level: int, runs: float) -> float:
    return limit * 0.5 ** (level + 1)


WAYS: tuple[Way, ...] = (_outermost_only, _innermost, _all_of_them)


def _limited(
    f: Function, way: Way, limit: float, repeats: int, level: int = 0, runs: float = 1.0
) -> Function:
    """f with limits on its loops."""
    eqns = []
    for eqn in f.eqns:
        is_loop = eqn.op.name in LOOPS
        inside = runs * _trips(eqn) if is_loop else runs
        regions = tuple(
            _limited(r, way, limit, repeats, level + is_loop, inside) for r in eqn.regions
        )
        own = way(limit, level, runs)
        attrs: Mapping[str, object] = eqn.attrs
        if is_loop and math.isfinite(own):
            attrs = {**attrs, LIMIT: (int(own), repeats)}
        eqns.append(replace(eqn, attrs=attrs, regions=regions) if eqn.regions else eqn)
    return Function(f.name, f.params, tuple(eqns), f.results, f.level)


def _trips(eqn: Eqn) -> float:
    n = eqn.operands[0]
    if eqn.op.name == "for" and isinstance(n, Literal):
        return float(max(int(n.item), 1))
    return math.inf


# -- where it does not fit -------------------------------------------------------------------------


def _error(
    f: Function, nonzero: Sequence[bool], memory: int, saved: _Saved, ways: Collection[Way]
) -> errors.MemoryBudgetError:
    largest = saved.largest
    least = min(saved.within(_least_level(f, nonzero, way)) for way in dict.fromkeys(ways))
    grown = _growing(f)
    if grown and (largest.frames in grown or not math.isfinite(least)):
        return errors.MemoryBudgetError(
            f"gradient of {f.name}: a loop in which a list grows cannot keep to {memory} bytes",
            why="its items are handed from step to step, and so are their cotangents: where steps "
            f"are computed again, all of them would be kept; {_most(saved)} without a limit",
            remedy="fill an array that is made in front of the loop: found = np.empty(...), "
            "found[i] = ...; or leave memory= out",
            frames=grown.get(largest.frames, next(iter(grown.values()))),
        )
    if not math.isfinite(least):
        return errors.MemoryBudgetError(
            f"gradient of {f.name}: what a loop saves cannot be predicted",
            why="arrays whose extents data decides are saved in each step, or carried",
            remedy="leave memory= out, or put checkpoint(fn) around what a step computes",
            frames=largest.frames,
        )
    return errors.MemoryBudgetError(
        f"gradient of {f.name}: {memory} bytes are not enough to save what the backward pass needs",
        why=f"most is saved at this line; {_most(saved)} without a limit",
        remedy=f"memory={math.ceil(least)} is the smallest budget that can be met; checkpoint(fn) "
        "saves what is not in loops",
        frames=largest.frames,
    )


def _growing(f: Function) -> dict[tuple[Frame, ...], tuple[Frame, ...]]:
    """The loops in which lists grow, by their first lines: the lines where that is."""
    found = {}
    for eqn in (e for e in f.walk() if e.op.name in LOOPS):
        inside = [e for region in eqn.regions for e in region.walk()]
        found.update({_line(eqn): e.loc.frames for e in inside if e.op is TAPE_PUSH})
    return found


def _most(saved: _Saved) -> str:
    return f"{_bytes(saved.total)} are saved"


def _least_level(f: Function, nonzero: Sequence[bool], way: Way) -> float:
    """The smallest limit of the outermost loops that can be kept; infinite if there is none."""
    level = 1.0
    for _ in range(ATTEMPTS):
        try:
            linearize(_limited(f, way, level, REPEATS[-1]), nonzero, rewinds=True)
            return level
        except TooLittleMemoryError as short:
            level *= short.factor * (1 + 1e-9)
            if not math.isfinite(level):
                break
    return math.inf


def _bytes(n: float) -> str:
    return f"{int(n)} bytes" if math.isfinite(n) else "more bytes than are known beforehand"
