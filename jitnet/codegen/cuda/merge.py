"""Fewer and wider nests: loops in order go inside of independent ones, neighbours become one.

    for %block (seq) { for %v (vector) { out[%v] += x[%block, %v] } }
    ->  for %v (parallel) { for %block (seq) { out[%v] += x[%block, %v] } }

    for %i { d[%i, :] = ... }    for %i { y[%i, :] = d[%i, :] * ... }
    ->  for %i { d[%i, :] = ...; y[%i, :] = d[%i, :] * ... }

Both only where what is done for one index touches nothing that is written for another one. The
first makes sums of columns wide, the second makes one launch of several.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

from jitnet.codegen.cuda.folded import folded_roots, is_folding
from jitnet.codegen.cuda.marks import UNORDERED, separates
from jitnet.codegen.cuda.memory import Places, bound_in, substituted, walk
from jitnet.codegen.cuda.state import MOST_LOCAL, local_bytes, trips
from jitnet.codegen.cuda.touch import Touched, Touches, clash
from jitnet.ir import Eqn, Function, Value
from jitnet.kernel import statements as S

UNKNOWN = 256
"""How many iterations a loop is taken to have where nobody knows."""

FEWEST = 32
"""Points that are worth a nest."""

ROWS = 64
"""With so many rows, each of them may be as long as it likes."""

LONGEST = 4096
"""With fewer, what is done for a row in one nest has at most so many iterations."""


def is_parallel(eqn: Eqn) -> bool:
    """Whether it is a loop whose iterations are independent, without carries."""
    return eqn.op is S.FOR and eqn.attrs["kind"] != "seq" and len(eqn.operands) == 2


@dataclass(frozen=True)
class Nest:
    """A nest of independent loops.

    Attributes:
        levels: the loops, outermost first.
        prefix: scalars between them, which may be computed at every point.
        body: what is done at each point.
    """

    levels: tuple[Eqn, ...]
    prefix: tuple[Eqn, ...]
    body: tuple[Eqn, ...]


def nest_of(eqn: Eqn, places: Places) -> Nest:
    """The nest that a parallel loop begins."""
    levels, prefix, bound = [eqn], list[Eqn](), {eqn.regions[0].params[0]}
    body = eqn.regions[0].eqns
    stored = places.stored(walk(body))
    while True:
        loops = [e for e in body if e.regions]
        if len(loops) != 1 or not is_parallel(loops[0]):
            break
        before = [e for e in body if e is not loops[0]]
        bound |= {r for e in before for r in e.results}
        if not bound.isdisjoint(loops[0].operands):
            break
        if not all(places.is_free(e, stored) for e in before):
            break
        prefix += before
        levels.append(loops[0])
        bound.add(loops[0].regions[0].params[0])
        body = loops[0].regions[0].eqns
    return Nest(tuple(levels), tuple(prefix), body)


# -- loops in order inside -------------------------------------------------------------------------


def interchanged(f: Function) -> Function:
    """The kernel Function with independent loops outside of loops in order."""
    places = Places(f)

    def region(f: Function) -> Function:
        eqns = []
        for eqn in f.eqns:
            eqn = turned(eqn, places) or eqn
            eqns.append(replace(eqn, regions=tuple(map(region, eqn.regions))))
        return replace(f, eqns=tuple(eqns), _hash=[])

    return region(f)


def turned(eqn: Eqn, places: Places) -> Eqn | None:
    """A loop in order over a nest of independent ones the other way round, or None."""
    outer: list[Eqn] = []
    before: list[list[Eqn]] = []
    bound: set[Value] = set()
    stored = places.stored(walk((eqn,)))
    inner = eqn
    while not is_parallel(inner):
        if inner.op is not S.FOR or len(inner.operands) > 2:
            return None
        body = inner.regions[0].eqns
        loops = [e for e in body if e.regions]
        rest = [e for e in body if not e.regions]
        if len(loops) != 1 or not all(places.is_free(e, stored) for e in rest):
            return None
        outer.append(inner)
        before.append(rest)
        bound |= {inner.regions[0].params[0], *(r for e in rest for r in e.results)}
        inner = loops[0]
    if not outer:
        return None
    nest = nest_of(inner, places)
    if prod(_count(level) for level in nest.levels) < FEWEST:
        return None
    if any(not bound.isdisjoint(level.operands) for level in nest.levels):
        return None
    everything = list(walk(nest.body))
    if any(e.op in UNORDERED for e in everything) or local_bytes(everything) > MOST_LOCAL:
        return None
    whole = eqn.regions[0]
    indices = [level.regions[0].params[0] for level in nest.levels]
    if not all(separates(i, whole, places, set()) for i in indices):
        return None
    eqns = (*nest.prefix, *nest.body)
    for loop, rest in zip(reversed(outer), reversed(before)):
        eqns = (_with_body(loop, (*rest, *eqns)),)
    for level in reversed(nest.levels):
        eqns = (_with_body(level, eqns),)
    (turned,) = eqns
    return turned


def _count(loop: Eqn) -> int:
    known = trips(loop)
    return UNKNOWN if known is None else known


def _with_body(loop: Eqn, eqns: Sequence[Eqn]) -> Eqn:
    region = replace(loop.regions[0], eqns=tuple(eqns), _hash=[])
    kind = "seq" if loop.attrs["kind"] == "seq" else "parallel"
    return replace(loop, attrs={**loop.attrs, "kind": kind}, regions=(region,))


# -- neighbours ------------------------------------------------------------------------------------

FARTHEST = 40
"""So many statements may stand between two nests that become one."""


def merged(f: Function, drives: Callable[[Eqn], bool]) -> Function:
    """The kernel Function with nests over the same range in one, where the first may go behind all
    that stands between them; at the top and in the regions of what the host carries out."""
    places = Places(f)
    does = Touches(places)

    def region(f: Function) -> Function:
        eqns = (
            replace(e, regions=tuple(map(region, e.regions))) if e.regions and drives(e) else e
            for e in f.eqns
        )
        return replace(f, eqns=tuple(_neighbours(eqns, places, does)), _hash=[])

    return region(f)


def _neighbours(given: Iterable[Eqn], places: Places, does: Touches) -> list[Eqn]:
    eqns: list[Eqn] = []
    for eqn in given:
        if is_parallel(eqn) or is_folding(eqn):
            found = _partner(eqns, eqn, places, does)
            if found is not None:
                at, eqn = found
                del eqns[at]
        eqns.append(eqn)
    return eqns


def _partner(
    eqns: Sequence[Eqn], nest: Eqn, places: Places, does: Touches
) -> tuple[int, Eqn] | None:
    """The nest before this one that it can be one with: its position, and both as one."""
    between: list[Touched] = []
    together = Touched()
    for at in reversed(range(max(len(eqns) - FARTHEST, 0), len(eqns))):
        first = eqns[at]
        here = does(first)
        if is_parallel(first) or is_folding(first):
            if not clash(here, together) or not any(clash(here, other) for other in between):
                both = _joined(first, nest, places, does)
                if both is not None:
                    return at, both
        elif here.others or here.raises:
            return None
        between.append(here)
        together.take_in(here)
    return None


def _joined(first: Eqn, second: Eqn, places: Places, does: Touches) -> Eqn | None:
    """Two loops over the same range as one, or None."""
    if first.operands != second.operands or not _is_worth_it(first, second, does):
        return None
    (a,), (b,) = first.regions, second.regions
    index, other = a.params[0], b.params[0]
    if any(other in v.type.symbolic for v in bound_in(b.eqns)):
        return None
    eqns = (*a.eqns, *(substituted(e, {other: index}) for e in b.eqns))
    if any(e.op in UNORDERED for e in walk(eqns)):
        return None
    places.visit(eqns)
    whole = replace(a, eqns=tuple(_neighbours(eqns, places, does)), _hash=[])
    attrs: dict[str, Any] = {"kind": "parallel", "combine": ()}
    if not separates(index, whole, places, set()):
        folded = folded_roots(whole.eqns, places.roots)
        if not folded or not separates(index, whole, places, folded):
            places.visit(b.eqns)
            return None
        attrs = {"kind": "seq", "combine": (), "folds": True}
    return replace(first, attrs=attrs, regions=(whole,))


def _is_worth_it(first: Eqn, second: Eqn, does: Touches) -> bool:
    """Whether one nest is better than two: where they are alike, or the second one reads what the
    first has written; not where a few rows of much work become the work of as few blocks, nor where
    what tensor cores do becomes something else."""
    inner = [_levels(e)[1:] for e in (first, second)]
    sums = [does(e).any_order for e in (first, second)]
    if inner[0] == inner[1] or any(sums):
        return inner[0] == inner[1] and not all(sums)
    written = does(first).writes
    read = does(second).reads
    if all(a.is_apart(b) for a in written for b in read):
        return False
    return _count(first) >= ROWS or max(prod(counts) for counts in inner) <= LONGEST


def _levels(eqn: Eqn) -> list[int]:
    """The extents of a nest of independent loops."""
    counts: list[int] = []
    while is_parallel(eqn):
        counts.append(_count(eqn))
        loops = [e for e in eqn.regions[0].eqns if e.regions]
        if len(loops) != 1:
            break
        (eqn,) = loops
    return counts
