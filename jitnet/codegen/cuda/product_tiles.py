"""The text of one tile of a product: what the points of a block read in common lies in shared
memory, and every thread has several points in registers.

    const int row = n / 2 % 4 * 32, column = n % 2 * 32;
    float t[2][2];                                           // the sums of this thread's points
    for (int terms = 0; terms < 50; terms += 25) {
      for (...) { x_tile[e % 25][e / 25] = x[(row + e / 25) * 50 + terms + e % 25]; }
      for (...) { y_tile[e / 32][e % 32] = y[(terms + e / 32) * 60 + column + e % 32]; }
      __syncthreads();
      for (int at = 0; at < 25; ++at) {
        for (int u = 0; u < 2; ++u) for (int v = 0; v < 2; ++v) {
          t[u][v] = fmaf(x_tile[at][down * 2 + u], y_tile[at][across + v * 16], t[u][v]);
        } }
      __syncthreads();
    }
    for (...) { z[i * 60 + j] = t[u][v]; }                   // and whatever else is done with a sum

Neighbouring threads fill a tile along the shorter steps of the memory. A thread's rows are
neighbours, which it reads as a pack; its columns are those of all threads in turn, so that stores
of a warp go to neighbours. Rows and columns behind the last one are filled with the last one's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from jitnet.codegen.cuda.memory import references
from jitnet.codegen.cuda.product_nests import ProductNest, Staged, Sum, Tile, padded
from jitnet.codegen.cuda.rows import assign
from jitnet.codegen.cuda.state import State, place
from jitnet.codegen.cuda.statements import emit
from jitnet.codegen.cuda.text import C_TYPES, stripped


def begin_tile(k: State, product: ProductNest, at: str) -> tuple[str, str]:
    """Bind what is the same for all points of the tile of this number; returns where its rows and
    its columns begin."""
    tile, last = product.tile, len(product.grid) - 1
    starts = {}
    for n, count in enumerate(product.grid):
        inner = " * ".join(map(str, product.grid[n + 1 :]))
        part = f"{at} / ({inner})" if "*" in inner else f"{at} / {inner}" if inner else at
        part = f"{part} % {count}" if n else part
        if n == product.row:
            starts[n] = k.w.let("int", f"{part} * {tile.rows}", "row")
        elif n == last:
            starts[n] = k.w.let("int", f"{part} * {tile.columns}", "column")
        else:
            bind(k, product, n, part)
    emit(k, product.fixed)
    return starts[product.row], starts[last]


def bind(k: State, product: ProductNest, level: int, text: str) -> str:
    """Give the index of a level its value; returns its name."""
    index = product.levels[level].regions[0].params[0]
    k.names[index] = k.w.let("int", text, index.name)
    k.ranges[index] = (0, max(product.counts[level] - 1, 0))
    return k.names[index]


def bind_term(k: State, one: Sum, text: str) -> str:
    """The same for the index of a term."""
    index = one.loop.regions[0].params[0]
    k.names[index] = k.w.let("int", text, index.name)
    k.ranges[index] = (0, one.count - 1)
    return k.names[index]


@dataclass(frozen=True)
class _Mine:
    """A thread's points, as C++.

    Attributes:
        row, column: where the tile begins.
        down, across: the thread's place in the block.
        u, v: which of the thread's rows and columns it is.
        test: what fails for threads that are too many; or nothing.
    """

    tile: Tile
    row: str
    column: str
    down: str
    across: str
    u: str
    v: str
    test: str

    @property
    def of_row(self) -> str:
        """The point's row in the tile."""
        return self.down if self.tile.each == 1 else f"{self.down} * {self.tile.each} + {self.u}"

    @property
    def of_column(self) -> str:
        if self.tile.each == 1:
            return self.across
        return f"{self.across} + {self.v} * {self.tile.across}"

    def elements(self, arrays: Sequence[str]) -> list[str]:
        """What belongs to the point."""
        return [f"{name}[{self.u}][{self.v}]" if self.tile.each > 1 else name for name in arrays]

    @contextmanager
    def each_point(self, k: State) -> Iterator[None]:
        """Go over the thread's points."""
        if self.tile.each == 1:
            yield
        else:
            with unrolled(k, self.u, self.tile.each), unrolled(k, self.v, self.tile.each):
                yield


@contextmanager
def unrolled(k: State, name: str, count: int) -> Iterator[None]:
    """A loop that the compiler is to write out."""
    k.w.add("#pragma unroll")
    with k.w.block(f"for (int {name} = 0; {name} < {count}; ++{name}) {{"):
        yield


@contextmanager
def shared_out(k: State, count: int) -> Iterator[str]:
    """A loop over so many elements, which the block's threads share; gives the element's name."""
    e = k.w.fresh("e")
    if count % k.threads:
        with k.w.block(f"for (int {e} = (int)threadIdx.x; {e} < {count}; {e} += {k.threads}) {{"):
            yield e
        return
    first = k.w.fresh("first")
    k.w.add("#pragma unroll 4")
    with k.w.block(f"for (int {first} = 0; {first} < {count}; {first} += {k.threads}) {{"):
        k.w.add(f"const int {e} = {first} + (int)threadIdx.x;")
        yield e


def emit_tile(k: State, product: ProductNest, at: str) -> None:
    """All that is to be done for the tile of this number, by a block whose threads come here
    together."""
    tile = product.tile
    assert isinstance(tile, Tile)
    row, column = begin_tile(k, product, at)
    down = k.w.let("int", f"(int)threadIdx.x / {tile.across}", "down")
    across = k.w.let("int", f"(int)threadIdx.x % {tile.across}", "across")
    is_idle = k.threads > tile.down * tile.across
    test = f"{down} < {tile.down}" if is_idle else ""
    u, v = k.w.fresh("u"), k.w.fresh("v")
    mine = _Mine(tile, row, column, down, across, u, v, test)
    for one in product.sums:
        _emit_sum(k, product, one, mine)
    with mine.each_point(k):
        i = bind(k, product, product.row, f"{row} + {mine.of_row}")
        j = bind(k, product, -1, f"{column} + {mine.of_column}")
        emit_inside(k, product, i, j, test)


def emit_inside(k: State, product: ProductNest, i: str, j: str, test: str = "") -> None:
    """What is done for a point, where there is one in this row and column."""
    rows, columns = product.counts[product.row], product.counts[-1]
    tests = [test] if test else []
    tests += [f"{i} < {rows}"] if rows % product.tile.rows else []
    tests += [f"{j} < {columns}"] if columns % product.tile.columns else []
    if not tests:
        emit(k, product.rest)
        return
    with k.w.block(f"if ({' && '.join(tests)}) {{"):
        emit(k, product.rest)


def _emit_sum(k: State, product: ProductNest, one: Sum, mine: _Mine) -> None:
    """The sums of a thread's points, term by term."""
    sums = _first_sums(k, one, mine)
    memory = [_declared(k, product, staged, one.depth) for staged in one.staged]
    terms, at, stop = k.w.fresh("terms"), k.w.fresh("at"), str(one.depth)
    with k.w.block(f"for (int {terms} = 0; {terms} < {one.count}; {terms} += {one.depth}) {{"):
        for staged, name in zip(one.staged, memory):
            _fill(k, product, one, staged, name, mine, terms)
        if one.count % one.depth:
            left = f"{one.count} - {terms}"
            stop = k.w.let("int", f"{left} < {stop} ? {left} : {stop}", "stop")
        k.w.add("__syncthreads();")
        goes_on = f"{mine.test} && {at} < {stop}" if mine.test else f"{at} < {stop}"
        with k.w.block(f"for (int {at} = 0; {goes_on}; ++{at}) {{"), mine.each_point(k):
            _take_in(k, product, one, memory, mine, terms, at, sums)
        k.w.add("__syncthreads();")
    k.names.update(zip(one.loop.results, sums))


def _first_sums(k: State, one: Sum, mine: _Mine) -> list[str]:
    """Variables with what the sums begin with."""
    each, initial = mine.tile.each, one.loop.operands[2:]
    named = zip(one.loop.regions[0].params[1:], one.loop.results)
    arrays = [k.w.fresh(p.name or r.name, "sum") for p, r in named]
    sums, starts = mine.elements(arrays), [stripped(k.text(v)) for v in initial]
    if each == 1:
        for name, v, start in zip(arrays, initial, starts):
            k.w.add(f"{C_TYPES[v.dtype]} {name} = {start};")
        return sums
    for name, v in zip(arrays, initial):
        k.w.add(f"{C_TYPES[v.dtype]} {name}[{each}][{each}];")
    with mine.each_point(k):
        for name, start in zip(sums, starts):
            k.w.add(f"{name} = {start};")
    return sums


def _declared(k: State, product: ProductNest, staged: Staged, depth: int) -> str:
    """Shared memory for what is staged: a row for each term."""
    name = k.w.fresh(f"{k.roots[staged.load.operands[0]].value.name}_tile", "tile")
    extent = padded(product.tile.rows if staged.of_row else product.tile.columns)
    type = C_TYPES[staged.load.result.dtype]
    k.w.add(f"alignas(16) __shared__ {type} {name}[{depth}][{extent}];")
    return name


def _fill(
    k: State, product: ProductNest, one: Sum, staged: Staged, memory: str, mine: _Mine, terms: str
) -> None:
    """Read the tile's part of an operand, neighbours by neighbouring threads."""
    level = product.row if staged.of_row else len(product.levels) - 1
    start, extent = (
        (mine.row, product.tile.rows) if staged.of_row else (mine.column, product.tile.columns)
    )
    with shared_out(k, extent * one.depth) as e:
        if abs(staged.deep) < abs(staged.step):
            point, term = f"{e} / {one.depth}", f"{e} % {one.depth}"
        else:
            point, term = f"{e} % {extent}", f"{e} / {extent}"
        bind(k, product, level, _clamped(f"{start} + {point}", product.counts[level], extent))
        bind_term(k, one, _clamped(f"{terms} + {term}", one.count, one.depth))
        emit(k, staged.makers)
        element = place(k, staged.load.operands[0], staged.load.operands[1:])
        k.w.add(f"{memory}[{term}][{point}] = {element};")


def _clamped(index: str, count: int, part: int) -> str:
    """An index, or the last one."""
    return f"{index} < {count} ? {index} : {count - 1}" if count % part else index


def _take_in(
    k: State,
    product: ProductNest,
    one: Sum,
    memory: Sequence[str],
    mine: _Mine,
    terms: str,
    at: str,
    sums: Sequence[str],
) -> None:
    """One term of one point."""
    (body,) = one.loop.regions
    loads = {staged.load for staged in one.staged}
    asked = {v for e in one.terms if e not in loads for v in references(e)}
    if body.params[0] in asked:
        bind_term(k, one, f"{terms} + {at}")
    if product.levels[product.row].regions[0].params[0] in asked:
        bind(k, product, product.row, f"{mine.row} + {mine.of_row}")
    if product.levels[-1].regions[0].params[0] in asked:
        bind(k, product, -1, f"{mine.column} + {mine.of_column}")
    k.names.update(zip(body.params[1:], sums))
    for staged, name in zip(one.staged, memory):
        point = mine.of_row if staged.of_row else mine.of_column
        k.instead[staged.load] = f"{name}[{at}][{point}]"
    emit(k, one.terms, body.results if len(body.results) == 1 else ())
    assign(k.w, body, sums, [stripped(k.text(v)) for v in body.results])
