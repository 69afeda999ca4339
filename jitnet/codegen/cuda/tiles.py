"""Reads across the rows of a matrix go through a tile in shared memory.

    for %i { for %j { store %y, %x[%j, %i], %i, %j } }
    ->
    for %ti { for %tj {
      %tile = alloc 32, 33
      for 0, 1024 @fill(%e) { store %tile, %x[tj * 32 + e / 32, ti * 32 + e % 32], e / 32, e % 32 }
      for 0, 1024 @body(%e) { store %y, %tile[e % 32, e / 32], ti * 32 + e / 32, tj * 32 + e % 32 }
    } }

Threads next to each other then read neighbours, and write neighbours. A row of a tile is one
element longer than it has to be, so that its columns lie in different banks.

The points of a stencil are taken in tiles too, without memory for these: what a block reads twice,
it finds in its L1 cache. Counted in sectors of 32 bytes from L2, a five-point stencil on float64
reads 3.0 times what it computes where a block has 256 neighbours in a row, and 1.5 times where it
has 8 rows of 32. Tiles of 32 x 32 in shared memory would read 1.3 times that, between barriers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

from jitnet.codegen.cuda.memory import Places, Root
from jitnet.codegen.cuda.merge import is_parallel, nest_of
from jitnet.codegen.cuda.packs import find_packs
from jitnet.codegen.cuda.rows import is_scalar_op
from jitnet.codegen.cuda.state import MOST_SHARED, trips
from jitnet.ir import Builder, Eqn, Function, Literal, Value, current
from jitnet.kernel import scalars as s
from jitnet.kernel import statements as S

SIDE = 32
"""Rows and columns of a tile: as many as a warp has threads."""

FEWEST_TILED = 8192
"""Points of a nest that is worth tiles."""


def tiled(f: Function, drives: Callable[[Eqn], bool]) -> Function:
    """The kernel Function with tiles for what it reads across rows, at the top and in the regions
    of what the host carries out."""
    places = Places(f)

    def region(f: Function) -> Function:
        eqns: list[Eqn] = []
        for eqn in f.eqns:
            if eqn.regions and drives(eqn):
                eqns.append(replace(eqn, regions=tuple(map(region, eqn.regions))))
            else:
                found = _find(eqn, places) if is_parallel(eqn) else None
                eqns += _rebuilt(eqn, found) if found is not None else (eqn,)
        return replace(f, eqns=tuple(eqns), _hash=[])

    return region(f)


@dataclass(frozen=True)
class _Tiled:
    """Attributes:
    levels: of the nest.
    across: the position of the level along which the loads' elements lie.
    eqns: what is done at each point.
    loads: those that go across, in order.
    """

    levels: tuple[Eqn, ...]
    across: int
    eqns: tuple[Eqn, ...]
    loads: tuple[Eqn, ...]


def _find(eqn: Eqn, places: Places) -> _Tiled | None:
    nest = nest_of(eqn, places)
    levels, eqns = nest.levels, (*nest.prefix, *nest.body)
    counts = [trips(level) for level in levels]
    if len(levels) < 2 or None in counts or prod(n or 0 for n in counts) < FEWEST_TILED:
        return None
    if any((n or 0) < SIDE for n in counts[-1:]) or not all(map(_begins_at_zero, levels)):
        return None
    if not all(is_scalar_op(e) or e.op in (S.LOAD, S.STORE) for e in eqns):
        return None
    stored = places.stored(eqns)
    loads, across = list[Eqn](), set[int]()
    for e in eqns:
        level = _across(e, levels, places) if e.op is S.LOAD else None
        if level is not None and places.is_free(e, stored) and (counts[level] or 0) >= SIDE:
            loads.append(e)
            across.add(level)
    size = sum(SIDE * (SIDE + 1) * e.result.dtype.itemsize for e in loads)
    if not loads and (counts[-2] or 0) >= SIDE and _is_stencil(eqns, levels, places):
        return _Tiled(levels, len(levels) - 2, eqns, ())
    if len(across) != 1 or size > MOST_SHARED:
        return None
    return _Tiled(levels, across.pop(), eqns, tuple(loads))


def _is_stencil(eqns: Sequence[Eqn], levels: Sequence[Eqn], places: Places) -> bool:
    """Whether elements of several rows of one array meet at each point."""
    row, last = (level.regions[0].params[0] for level in levels[-2:])
    seen: dict[Root, set[int]] = {}
    for access in places.accesses([e for e in eqns if e.op is S.LOAD]):
        if access.address is None or abs(access.address.terms.get(last, 0)) != 1:
            continue
        step = access.address.terms.get(row, 0)
        if step:
            seen.setdefault(access.root, set()).add(round(access.address.constant / step))
    return any(len(rows) > 1 for rows in seen.values()) and (
        find_packs(levels, eqns, places.roots) is None
    )


def _begins_at_zero(level: Eqn) -> bool:
    low = level.operands[0]
    return isinstance(low, Literal) and low.item == 0


def _across(load: Eqn, levels: Sequence[Eqn], places: Places) -> int | None:
    """The level along which neighbours lie that a load steps over; None: it does not."""
    (access,) = places.accesses((load,))
    if access.address is None:
        return None
    steps = [access.address.terms.get(level.regions[0].params[0], 0) for level in levels]
    if abs(steps[-1]) <= 1:
        return None
    return next((n for n, step in enumerate(steps) if abs(step) == 1), None)


def _rebuilt(eqn: Eqn, found: _Tiled) -> Sequence[Eqn]:
    levels, across = found.levels, found.across
    rest = [n for n in range(len(levels) - 1) if n != across]
    order = [*rest, across, len(levels) - 1]
    counts = [trips(level) or 0 for level in levels]
    sizes = [counts[n] if n in rest else -(-counts[n] // SIDE) for n in order]
    with Builder("tiled", "kernel") as b, b.at(eqn.loc):

        def level(at: tuple[Value, ...]) -> None:
            if len(at) == len(order):
                _tile(found, dict(zip(order, at)), counts)
            else:
                S.loop(0, sizes[len(at)], lambda i: level((*at, i)), kind="parallel", name="i")

        level(())
    return b.eqns


def _tile(found: _Tiled, at: Mapping[int, Value], counts: Sequence[int]) -> None:
    """One tile: its elements read along the rows where they lie, then what is done with them."""
    levels, across, last = found.levels, found.across, len(found.levels) - 1
    tiles = {e: S.alloc(e.result.dtype, (SIDE, SIDE + 1), "tile") for e in found.loads}

    def point(of_across: Value, of_last: Value) -> tuple[dict[Value, Value], Value | None]:
        """The indices of a point of the tile, and whether there is such a point."""
        indices = dict(at)
        indices[across] = s.add(s.mul(at[across], SIDE), of_across)
        indices[last] = s.add(s.mul(at[last], SIDE), of_last)
        tests = [s.lt(indices[n], counts[n]) for n in (across, last) if counts[n] % SIDE]
        env = {levels[n].regions[0].params[0]: v for n, v in indices.items()}
        inside = tests[0] if tests else None
        return env, s.bitwise_and(*tests) if len(tests) == 2 else inside

    def fill(e: Value) -> None:
        row, column = s.quotient(e, SIDE), s.residue(e, SIDE)
        env, inside = point(column, row)

        def read() -> None:
            for load, tile in tiles.items():
                S.store(tile, _done(_makers(load, found.eqns), env, {})[load.result], row, column)

        read() if inside is None else S.branch(inside, read)

    def body(e: Value) -> None:
        row, column = s.quotient(e, SIDE), s.residue(e, SIDE)
        env, inside = point(row, column)
        held = {load: (tile, column, row) for load, tile in tiles.items()}

        def work() -> None:
            _done(found.eqns, env, held)

        work() if inside is None else S.branch(inside, work)

    if tiles:
        S.loop(0, SIDE * SIDE, fill, kind="vector", name="e")
    S.loop(0, SIDE * SIDE, body, kind="vector", name="e")


def _makers(load: Eqn, eqns: Sequence[Eqn]) -> list[Eqn]:
    """A load, and the equations that make its indices."""
    needed, asked = [load], set(load.operands)
    for eqn in reversed(eqns[: eqns.index(load)]):
        if not asked.isdisjoint(eqn.results):
            needed.append(eqn)
            asked.update(eqn.operands)
    return needed[::-1]


def _done(
    eqns: Sequence[Eqn],
    env: Mapping[Value, Value],
    held: Mapping[Eqn, tuple[Value, Value, Value]],
) -> dict[Value, Value]:
    """Bind equations once more, some of the loads from tiles; what their values are now."""
    now = dict(env)
    for eqn in eqns:
        if eqn in held:
            now[eqn.result] = S.load(*held[eqn])
            continue
        results = current().rebind(eqn, [now.get(v, v) for v in eqn.operands])
        now.update(zip(eqn.results, results))
    return now
