"""Matrix products among the nests that are spread over the grid, and the tiles that they fall into.

    for %i { for %j {
      %t = for 0, 200, 0.0 @body(%k, %sum) { return fma(%x[%i, %k], %y[%k, %j], %sum) }
      store %z, maximum(%t, 0.0), %i, %j
    } }
    ->
    rows %i, columns %j; all columns read the same %x[%i, %k], all rows the same %y[%k, %j]

Such a nest is a thread for each point until here, so it was merged with what stands around it, and
whatever is computed of a sum is a part of it. Now a block takes a tile of points, and what these
read in common goes through shared memory: each element is read once for a tile, by neighbouring
threads in the order of the memory, however the operands lie. Terms come in the same order, so bits
are those of the loops. The nest need not be a product: any loop over `k` does whose terms are made
of what one row and one column read.

How large a tile is depends on extents alone. Four by four points for each thread read least, but
only where there are enough of such tiles to keep a GPU busy; else it is two by two, or one. What is
not worth tiles, fewer than `FEWEST` rows, columns or terms, stays a thread for each point. So do
small products among other things that one block does, a recurrence over a small state, say: its
operands stay in the L1 cache from step to step, and a tile would cost two more barriers in each.

Products of halves whose terms may come in any order are for tensor cores, whatever their extents.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod

from jitnet.codegen.cuda.memory import Linear, Places, references, static_strides
from jitnet.codegen.cuda.rows import is_scalar_op
from jitnet.codegen.cuda.state import INT_MAX, MOST_SHARED, trips
from jitnet.ir import ArrayType, DType, Eqn, Literal, Value
from jitnet.ir import types as T
from jitnet.kernel import scalars as s
from jitnet.kernel import statements as S
from jitnet.kernel.scalars import Conversion

ANY_ORDER = "any_order"
"""The attribute of a loop of float32 sums that says that their terms may come in any order."""

LARGEST_PRODUCT = 32 * 32 * 32
"""Multiplications of a product that is not left to a library."""

FEWEST = 8
"""Rows, columns and terms that are worth a tile."""

BUSY = 128
"""Tiles that keep a GPU busy: as many as one has multiprocessors. Fewer become smaller ones."""

DEEPEST = 32
"""Terms that a block has in shared memory at a time."""

MOST_SUMS = 4
"""Sums of one nest, which have memory of their own."""

WARP = 32


@dataclass(frozen=True, eq=False)
class Staged:
    """A load that goes through shared memory.

    Attributes:
        makers: the equations that make its address, in order, but for those that are the same for
            all points.
        within: its element, from the buffer's first one.
        of_row: it is the same for all columns; else for all rows.
        step, deep: how far the elements of neighbouring rows or columns are apart, and those of
            neighbouring terms.
    """

    load: Eqn
    makers: tuple[Eqn, ...]
    within: Linear
    of_row: bool
    step: int
    deep: int


@dataclass(frozen=True, eq=False)
class Sum:
    """A loop over terms.

    Attributes:
        staged: what it reads through shared memory.
        terms: what each point does for a term, with scalars that stand in front of the loop.
        depth: terms at a time.
    """

    loop: Eqn
    staged: tuple[Staged, ...]
    terms: tuple[Eqn, ...]
    depth: int

    @property
    def count(self) -> int:
        return trips(self.loop) or 0


@dataclass(frozen=True)
class Tile:
    """Points of a block: `down` x `across` threads, with `each` x `each` of them for every one."""

    down: int
    across: int
    each: int

    @property
    def rows(self) -> int:
        return self.down * self.each

    @property
    def columns(self) -> int:
        return self.across * self.each


@dataclass(frozen=True)
class Warps:
    """Points of a block of tensor cores: `down` x `across` warps, each of which has so many times
    16 rows and 8 columns."""

    down: int
    across: int
    high: int
    wide: int

    @property
    def rows(self) -> int:
        return 16 * self.high * self.down

    @property
    def columns(self) -> int:
        return 8 * self.wide * self.across


@dataclass(frozen=True, eq=False)
class ProductNest:
    """A nest whose points share what they read.

    Attributes:
        levels: of the nest, the last of which are columns.
        row: the position of the level of rows.
        sums: its loops over terms, in order.
        fixed: what is the same for all points of a tile.
        rest: what is done for each point, with the sums at hand.
        halves: what tensor cores multiply; None where they do not.
    """

    levels: tuple[Eqn, ...]
    row: int
    sums: tuple[Sum, ...]
    fixed: tuple[Eqn, ...]
    rest: tuple[Eqn, ...]
    tile: Tile | Warps
    halves: DType | None = None

    @property
    def counts(self) -> list[int]:
        return [trips(level) or 0 for level in self.levels]

    @cached_property
    def grid(self) -> list[int]:
        """How many tiles there are along each level."""
        grid = self.counts
        grid[self.row] = -(-grid[self.row] // self.tile.rows)
        grid[-1] = -(-grid[-1] // self.tile.columns)
        return grid

    @property
    def blocks(self) -> int:
        return prod(self.grid)

    @property
    def threads(self) -> int:
        """Of a block."""
        per = WARP if isinstance(self.tile, Warps) else 1
        lanes = self.tile.down * self.tile.across * per
        return -(-lanes // WARP) * WARP

    @property
    def shared(self) -> int:
        """Bytes of shared memory."""
        if self.halves is not None:
            extents, depth = (self.tile.rows, self.tile.columns), self.sums[0].depth
            return sum(2 * 2 * (extent + 8) * (depth + 8) for extent in extents)
        return sum(_bytes(one.staged, self.tile) * one.depth for one in self.sums)


def padded(extent: int) -> int:
    """The length of a row in shared memory: whole packs, and one more, so that columns lie in
    different banks."""
    return -(-extent // 4) * 4 + 4


def _bytes(staged: Iterable[Staged], tile: Tile | Warps) -> int:
    """For each term."""
    return sum(
        padded(tile.rows if one.of_row else tile.columns) * one.load.result.dtype.itemsize
        for one in staged
    )


def terms_of(eqn: Eqn) -> int:
    """The terms of all sums in a nest whose terms may come in any order."""
    inner = max((terms_of(e) for r in eqn.regions for e in r.eqns if e.regions), default=0)
    own = trips(eqn) or 0 if eqn.op is S.FOR else 1
    return own if eqn.attrs.get(ANY_ORDER) else own * inner


def is_deep(eqn: Eqn) -> bool:
    """Whether it is a nest with more of such terms than one block should have to take in."""
    return terms_of(eqn) > LARGEST_PRODUCT


def find_product(levels: Sequence[Eqn], eqns: Sequence[Eqn], places: Places) -> ProductNest | None:
    """The nest as a product, where it is one that is worth tiles."""
    loops = [e for e in eqns if e.regions]
    counts = [trips(level) for level in levels]
    if len(levels) < 2 or not 0 < len(loops) <= MOST_SUMS or not all(counts):
        return None
    if not all(map(_begins_at_zero, levels)) or prod(n or 0 for n in counts) >= INT_MAX:
        return None
    others = [e for e in eqns if not e.regions]
    if not all(map(_is_sum, loops)) or not all(map(_is_plain, others)):
        return None
    for row in reversed(range(len(levels) - 1)):
        found = _with_rows(levels, row, loops, others, places)
        if found is not None:
            return found
    return None


def _begins_at_zero(level: Eqn) -> bool:
    low = level.operands[0]
    return isinstance(low, Literal) and low.item == 0


def _is_plain(eqn: Eqn) -> bool:
    return is_scalar_op(eqn) or eqn.op in (S.LOAD, S.STORE, S.VIEW)


def _is_sum(loop: Eqn) -> bool:
    """Whether it is a loop in order, of a known number of terms, that reads and computes."""
    if loop.op is not S.FOR or loop.attrs["kind"] != "seq" or loop.attrs["combine"]:
        return False
    if not trips(loop) or not _begins_at_zero(loop) or len(loop.operands) == 2:
        return False
    if not all(isinstance(v.type, ArrayType) for v in loop.operands):
        return False
    return all(is_scalar_op(e) or e.op in (S.LOAD, S.VIEW) for e in loop.regions[0].eqns)


def _with_rows(
    levels: Sequence[Eqn], row: int, loops: Sequence[Eqn], others: Sequence[Eqn], places: Places
) -> ProductNest | None:
    """The nest as a product with its rows at this level."""
    indices = tuple(levels[n].regions[0].params[0] for n in (row, -1))
    varying = {*indices, *(r for loop in loops for r in loop.results)}
    fixed: list[Eqn] = []
    stored = places.stored(others)
    for eqn in others:
        if varying.isdisjoint(references(eqn)) and places.is_free(eqn, stored):
            fixed.append(eqn)
        else:
            varying.update(eqn.results)
    sums = list[Sum]()
    varied = [e for e in others if e not in fixed]
    for loop in loops:
        one = _sum(loop, varied, indices, varying.difference(indices), places)
        if one is None:
            return None
        sums.append(one)
    counts, halves = [trips(level) or 0 for level in levels], _halves(sums)
    tile = _warps(counts, row) if halves is not None else _tile(counts, row, sums)
    if tile is None:
        return None
    sums = [_in_depth(one, tile, len(sums)) for one in sums]
    if not all(one.depth for one in sums):
        return None
    return ProductNest(tuple(levels), row, tuple(sums), tuple(fixed), tuple(varied), tile, halves)


def _sum(
    loop: Eqn,
    others: Sequence[Eqn],
    indices: tuple[Value, ...],
    varying: Collection[Value],
    places: Places,
) -> Sum | None:
    """A loop as a sum, where rows and columns both have a part in its terms. `varying`: what is
    computed of rows and columns outside of it."""
    (body,) = loop.regions
    stored, loads = places.stored(others), [e for e in body.eqns if e.op is S.LOAD]
    if not all(places.is_free(e, stored) for e in loads):
        return None  # sums are made before anything is stored
    own = {*varying, *body.params[1:], *(r for e in body.eqns for r in e.results)}
    found = (
        _staged(e, (*others, *body.eqns), (*indices, body.params[0]), own, places) for e in loads
    )
    staged = {one.load: one for one in found if one is not None}
    if {one.of_row for one in staged.values()} != {True, False}:
        return None
    asked, terms = {*body.results}, list[Eqn]()
    outside = [e for e in others if is_scalar_op(e)]
    for eqn in reversed((*outside, *body.eqns)):
        if not asked.isdisjoint(eqn.results):
            terms.append(eqn)
            asked.update(() if eqn in staged else references(eqn))
    asked.difference_update(r for e in terms for r in e.results)
    if not asked.union(loop.operands[2:]).isdisjoint(varying):
        return None
    return Sum(loop, tuple(staged.values()), tuple(terms[::-1]), 0)


def _staged(
    load: Eqn,
    eqns: Sequence[Eqn],
    indices: tuple[Value, ...],
    varying: Collection[Value],
    places: Places,
) -> Staged | None:
    """A load that one row or one column makes for each term, where it is seen which element: by
    these three indices, and nothing else that varies."""
    (access,) = places.accesses((load,))
    if access.address is None:
        return None
    terms = access.address.terms
    of_row, of_column, of_term = (index in terms for index in indices)
    if of_row == of_column or not of_term or any(v in varying for v in terms):
        return None
    makers, asked = list[Eqn](), {*references(load)}
    for eqn in reversed(eqns):
        if not asked.isdisjoint(eqn.results):
            makers.append(eqn)
            asked.update(references(eqn))
    if any(e.op is S.LOAD for e in makers):
        return None
    step = terms[indices[0] if of_row else indices[1]]
    within, strides = Linear({}), static_strides(access.buffer.buffer_type)
    for form, stride in zip(access.indices, strides or ()):
        within = within.plus(form, stride)
    return Staged(load, tuple(makers[::-1]), within, of_row, step, terms[indices[2]])


# -- tiles -----------------------------------------------------------------------------------------


def _tile(counts: Sequence[int], row: int, sums: Sequence[Sum]) -> Tile | None:
    """The largest tile of which there are enough."""
    rows, columns = counts[row], counts[-1]
    if min(rows, columns, *(one.count for one in sums)) < FEWEST:
        return None
    others = prod(counts) // (rows * columns)
    carried = sum(len(one.loop.results) for one in sums)
    for each in (4, 2) if carried == 1 else (2,):
        tiles = others * -(-rows // (16 * each)) * -(-columns // (16 * each))
        if min(rows, columns) >= FEWEST * each and tiles >= BUSY:
            return Tile(_even(rows, each), _even(columns, each), each)
    return Tile(_even(rows, 1), _even(columns, 1), 1)


def _even(extent: int, each: int) -> int:
    """Threads, 16 at most, so that all tiles are of about the same extent."""
    tiles = -(-extent // (16 * each))
    return -(-extent // (each * tiles))


def _in_depth(one: Sum, tile: Tile | Warps, share: int) -> Sum:
    """The sum with as many terms at a time as its share of the memory takes: in parts of the same
    length, if these are not much shorter, or about that; none where they were too short."""
    if isinstance(tile, Warps):
        return replace(one, depth=DEEPEST)
    most = min(DEEPEST, MOST_SHARED // share // _bytes(one.staged, tile))
    if most < FEWEST // 2:
        return replace(one, depth=0)
    whole = max(d for d in range(1, most + 1) if one.count % d == 0)
    parts = -(-one.count // most)
    return replace(one, depth=whole if 2 * whole >= most else -(-one.count // parts))


def _warps(counts: Sequence[int], row: int) -> Warps:
    """The largest tile of which there are enough, and that is not larger than the matrix."""
    rows, columns = counts[row], counts[-1]
    others = prod(counts) // (rows * columns)
    for warps in (Warps(2, 4, 4, 4), Warps(2, 2, 2, 4)):
        tiles = others * -(-rows // warps.rows) * -(-columns // warps.columns)
        if rows > warps.rows // 2 and columns > warps.columns // 2 and tiles >= BUSY:
            return warps
    return Warps(1, 4, 1, 2) if rows <= 16 else Warps(2, 2, 1, 2)


def _halves(sums: Sequence[Sum]) -> DType | None:
    """The dtype of what is multiplied, where it is a product of halves whose terms may come in any
    order, which is what tensor cores compute."""
    (one, *others) = sums
    if others or not one.loop.attrs.get(ANY_ORDER) or len(one.staged) != 2:
        return None
    (*casts, last), (_, total) = one.terms, one.loop.regions[0].params
    loads = {v.load.result: v.load.result.dtype for v in one.staged}
    made = {e.result: e.operands[0] for e in casts if isinstance(e.op, Conversion)}
    dtypes = set(loads.values())
    if last.op is not s.fma or last.operands[2] is not total or len(dtypes) != 1:
        return None
    if {made.get(v) for v in last.operands[:2]} != set(loads):
        return None
    dtype = dtypes.pop()
    start = one.loop.operands[2]
    is_zero = isinstance(start, Literal) and start.item == 0
    return dtype if dtype.is_half and total.dtype is T.f32 and is_zero else None
