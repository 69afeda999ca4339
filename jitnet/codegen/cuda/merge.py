"""Fewer and wider nests: loops in order go inside of independent ones, neighbours become one.

    for %block (seq) { for %v (vector) { out[%v] += x[%block, %v] } }
    ->  for %v (parallel) { for %block (seq) { out[%v] += x[%block, %v] } }

    for %i { d[%i, :] = ... }    for %i { y[%i, :] = d[%i, :] * ... }
    ->  for %i { d[%i, :] = ...; y[%i, :] = d[%i, :] * ... }

Both only where what is done for one index touches nothing that is written for another one. The
first makes sums of columns wide, the second makes one launch of several.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

from jitnet.codegen.cuda.marks import UNORDERED, separates
from jitnet.codegen.cuda.memory import Places, bound_in, walk
from jitnet.codegen.cuda.statements import MOST_LOCAL, local_bytes, trips
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
            eqn = _interchanged(eqn, places) or eqn
            eqns.append(replace(eqn, regions=tuple(map(region, eqn.regions))))
        return replace(f, eqns=tuple(eqns), _hash=[])

    return region(f)


def _interchanged(eqn: Eqn, places: Places) -> Eqn | None:
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

_MOVED = (S.ALLOC, S.CONSTANT, S.VIEW)


def merged(f: Function, drives: Callable[[Eqn], bool]) -> Function:
    """The kernel Function with neighbouring nests in one, at the top and in the regions of what the
    host carries out."""
    places = Places(f)

    def region(f: Function) -> Function:
        eqns: list[Eqn] = []
        last: int | None = None  # where a nest is that the next one may join
        for eqn in f.eqns:
            if eqn.regions and drives(eqn):
                eqn = replace(eqn, regions=tuple(map(region, eqn.regions)))
                last = None
            elif is_parallel(eqn):
                both = None if last is None else _joined(eqns[last], eqn, places)
                if both is not None and last is not None:
                    moved = eqns[last + 1 :]
                    eqns[last:] = [*moved, both]
                    last = len(eqns) - 1
                    continue
                last = len(eqns)
            elif not (eqn.op in _MOVED or (places.is_free(eqn, ()) and eqn.op is not S.LOAD)):
                last = None
            eqns.append(eqn)
        return replace(f, eqns=tuple(eqns), _hash=[])

    return region(f)


def _joined(first: Eqn, second: Eqn, places: Places) -> Eqn | None:
    """Two loops over the same range as one, or None."""
    if first.operands != second.operands or not _is_worth_it(first, second, places):
        return None
    (a,), (b,) = first.regions, second.regions
    index, other = a.params[0], b.params[0]
    if any(other in v.type.symbolic for v in bound_in(b.eqns)):
        return None
    eqns = (*a.eqns, *(_substituted(e, {other: index}) for e in b.eqns))
    whole = replace(a, eqns=eqns, _hash=[])
    if any(e.op in UNORDERED for e in walk(eqns)):
        return None
    places.visit(eqns)
    if not separates(index, whole, places, set()):
        places.visit(b.eqns)
        return None
    return replace(first, attrs={**first.attrs, "kind": "parallel"}, regions=(whole,))


def _is_worth_it(first: Eqn, second: Eqn, places: Places) -> bool:
    bodies = [e.regions[0].eqns for e in (first, second)]
    if not any(e.regions for body in bodies for e in body):  # packs of what is written are none
        written = places.stored(bodies[0])
        loads = {places.roots[e.operands[0]] for e in bodies[1] if e.op is S.LOAD}
        return all(a.is_apart(b) for a in written for b in loads)
    if _count(first) >= ROWS:
        return True
    inner = [prod(map(_count, nest_of(e, places).levels[1:])) for e in (first, second)]
    return max(inner) <= LONGEST


def _substituted(eqn: Eqn, env: Mapping[Value, Value]) -> Eqn:
    operands = tuple(env.get(v, v) for v in eqn.operands)
    regions = tuple(
        replace(
            r,
            eqns=tuple(_substituted(e, env) for e in r.eqns),
            results=tuple(env.get(v, v) for v in r.results),
            _hash=[],
        )
        for r in eqn.regions
    )
    return replace(eqn, operands=operands, regions=regions)
