"""The text of one tile of a product of halves, by tensor cores: warps multiply 16 x 16 and 16 x 8
elements at a time, and take the products into sums of float32.

    float sums[2][4][4] = {};
    for (int terms = -32, stage = 1; terms < 50; terms += 32, stage ^= 1) {
      if (terms + 32 < 50) { ... }                         // the next terms, into x_tile[stage ^ 1]
      end_copies();
      if (terms >= 0) {
        wait_for_copies();                                 // all but those of the next terms
        __syncthreads();
        for (int s = 0; s < 32; s += 16) {
          fragments(xs[u], &x_tile[stage][down + u * 16 + lane % 16][s + lane / 16 * 8]);
          ...
          multiply_f16(sums[u][v], xs[u], ys[v / 2], v % 2 * 2);
        }
        __syncthreads();
      }
    }

What lies outside of the matrices is zero. A tile in shared memory lies as its matrix does, by rows
or by columns, so that it is copied 16 bytes at a time wherever addresses allow it; the instruction
that takes fragments out of it can turn them. Where there are no such instructions, on older GPUs
and on cpusim, the lanes of a warp exchange what they have through shared memory: the same elements
are in the same places of the same lanes.
"""

from __future__ import annotations

from dataclasses import dataclass

from jitnet.codegen.cuda.memory import static_strides
from jitnet.codegen.cuda.product_nests import ProductNest, Staged, Warps
from jitnet.codegen.cuda.product_tiles import (
    begin_tile,
    bind,
    bind_term,
    emit_inside,
    shared_out,
    unrolled,
)
from jitnet.codegen.cuda.rows import Unit, expression
from jitnet.codegen.cuda.state import State, place
from jitnet.codegen.cuda.statements import emit
from jitnet.ir import DType
from jitnet.kernel.scalars import Conversion

PACK = 8
"""Halves of 16 bytes."""

PAD = 8
"""Halves between rows of a tile, so that rows that are taken at once lie in different banks."""


@dataclass(frozen=True)
class _Operand:
    """A tile of an operand in shared memory.

    Attributes:
        name: of the memory.
        by_terms: a row has the terms of one point; else the points of one term.
        points: rows, or columns, of the product's tile.
        level: of the nest, that these belong to.
        start: where the tile begins there.
    """

    staged: Staged
    name: str
    by_terms: bool
    points: int
    level: int
    start: str


@dataclass(frozen=True)
class _Warp:
    """Where a thread is: its lane, the first row and column of its warp in the tile, and what fails
    for warps that are too many, or nothing."""

    lane: str
    down: str
    over: str
    test: str


def emit_warps(k: State, product: ProductNest, at: str) -> None:
    """All that is to be done for the tile of this number, by a block whose threads come here
    together."""
    (one,), halves = product.sums, product.halves
    assert halves is not None
    _define(k.unit, halves, product)
    starts = begin_tile(k, product, at)
    warp = _place_of_warp(k, product)
    tile = _warps(product)
    sums = k.w.fresh("sums")
    k.w.add(f"float {sums}[{tile.high}][{tile.wide}][4] = {{}};")
    by_side = sorted(one.staged, key=lambda staged: not staged.of_row)
    left, right = (_declared(k, product, s, start) for s, start in zip(by_side, starts))
    terms, stage, deep = k.w.fresh("terms"), k.w.fresh("stage"), one.depth
    head = f"int {terms} = -{deep}, {stage} = 1; {terms} < {one.count}; "
    with k.w.block(f"for ({head}{terms} += {deep}, {stage} ^= 1) {{"):
        with k.w.block(f"if ({terms} + {deep} < {one.count}) {{"):
            for operand in (left, right):
                _fill(k, product, operand, f"{stage} ^ 1", f"{terms} + {deep}")
        k.w.add("end_copies();")
        with k.w.block(f"if ({terms} >= 0) {{"):
            k.w.add("wait_for_copies();  // all but the last ones")
            k.w.add("__syncthreads();")
            s, test = k.w.fresh("s"), f"{warp.test} && " if warp.test else ""
            k.w.add("#pragma unroll")
            with k.w.block(f"for (int {s} = 0; {test}{s} < {deep}; {s} += 16) {{"):
                _multiply(k, product, left, right, sums, warp, stage, s)
            k.w.add("__syncthreads();")
    _emit_points(k, product, sums, warp, starts)


def _warps(product: ProductNest) -> Warps:
    assert isinstance(product.tile, Warps)
    return product.tile


def _place_of_warp(k: State, product: ProductNest) -> _Warp:
    tile = _warps(product)
    warp = k.w.let("int", "(int)threadIdx.x / 32", "warp")
    lane = k.w.let("int", "(int)threadIdx.x % 32", "lane")
    down = k.w.let("int", f"{warp} / {tile.across} * {16 * tile.high}", "down")
    over = k.w.let("int", f"{warp} % {tile.across} * {8 * tile.wide}", "over")
    busy = tile.down * tile.across
    return _Warp(lane, down, over, f"{warp} < {busy}" if k.threads > 32 * busy else "")


def _emit_points(
    k: State, product: ProductNest, sums: str, warp: _Warp, starts: tuple[str, str]
) -> None:
    """What is done with the sums: the four of a lane are two neighbours in two rows."""
    tile, lane = _warps(product), warp.lane
    u, v, e = k.w.fresh("u"), k.w.fresh("v"), k.w.fresh("e")
    with unrolled(k, u, tile.high), unrolled(k, v, tile.wide), unrolled(k, e, 4):
        of_row = f"{warp.down} + {u} * 16 + {lane} / 4 + {e} / 2 * 8"
        of_column = f"{warp.over} + {v} * 8 + {lane} % 4 * 2 + {e} % 2"
        i = bind(k, product, product.row, f"{starts[0]} + {of_row}")
        j = bind(k, product, -1, f"{starts[1]} + {of_column}")
        k.names[product.sums[0].loop.results[0]] = f"{sums}[{u}][{v}][{e}]"
        emit_inside(k, product, i, j, warp.test)


# -- into shared memory ----------------------------------------------------------------------------


def _declared(k: State, product: ProductNest, staged: Staged, start: str) -> _Operand:
    """Shared memory for two stages of an operand."""
    tile, (one,) = product.tile, product.sums
    name = k.w.fresh(f"{k.roots[staged.load.operands[0]].value.name}_tile", "tile")
    points = tile.rows if staged.of_row else tile.columns
    level = product.row if staged.of_row else len(product.levels) - 1
    by_terms = abs(staged.deep) < abs(staged.step)
    height, width = (points, one.depth) if by_terms else (one.depth, points)
    k.w.add(f"alignas(16) __shared__ unsigned short {name}[2][{height}][{width + PAD}];")
    return _Operand(staged, name, by_terms, points, level, start)


def _fill(k: State, product: ProductNest, o: _Operand, stage: str, terms: str) -> None:
    """Copy the tile's part of an operand, zeros for what is outside of it."""
    if not _in_packs(product, o):
        _fill_by(k, product, o, stage, terms, 1)
        return
    k.unit.packs = True
    buffer = o.staged.load.operands[0]
    with k.w.block(f"if (aligned({k.names[buffer]})) {{", "} else {"):
        _fill_by(k, product, o, stage, terms, PACK)
    with k.w.block("", "}"):
        _fill_by(k, product, o, stage, terms, 1)


def _in_packs(product: ProductNest, o: _Operand) -> bool:
    """Whether an operand is copied 16 bytes at a time, where its memory begins at a multiple of
    that: neighbours are neighbours, and all else is in whole packs."""
    buffer, (one,) = o.staged.load.operands[0], product.sums
    if static_strides(buffer.buffer_type) is None:
        return False
    if any(buffer in e.results for e in o.staged.makers):
        return False
    loop = one.loop if o.by_terms else product.levels[o.level]
    extent = one.count if o.by_terms else product.counts[o.level]
    steps = dict(o.staged.within.terms)
    near = steps.pop(loop.regions[0].params[0], 0)
    far = (*steps.values(), o.staged.within.constant, extent)
    return near == 1 and all(n % PACK == 0 for n in far)


def _fill_by(
    k: State, product: ProductNest, o: _Operand, stage: str, terms: str, lanes: int
) -> None:
    """The same, so many elements at a time."""
    (one,), count = product.sums, product.counts[o.level]
    times = f" * {lanes}" if lanes > 1 else ""
    width = (one.depth if o.by_terms else o.points) // lanes
    with shared_out(k, o.points * one.depth // lanes) as e:
        high, low = f"{e} / {width}", f"{e} % {width}{times}"
        point, term = (high, low) if o.by_terms else (low, high)
        i = bind(k, product, o.level, f"{o.start} + {point}")
        t = bind_term(k, one, f"{terms} + {term}")
        emit(k, o.staged.makers)
        element = place(k, o.staged.load.operands[0], o.staged.load.operands[1:])
        tests = [f"{i} < {count}"] if count % o.points else []
        tests += [f"{t} < {one.count}"] if one.count % one.depth else []
        inside, target = " && ".join(tests), f"{o.name}[{stage}][{high}][{low}]"
        if lanes > 1:
            k.w.add(f"copy_pack(&{target}, &{element}, {inside or 'true'});")
        else:
            k.w.add(f"{target} = {f'{inside} ? {element} : 0' if inside else element};")


# -- out of it, and the products -------------------------------------------------------------------


def _multiply(
    k: State,
    product: ProductNest,
    left: _Operand,
    right: _Operand,
    sums: str,
    warp: _Warp,
    stage: str,
    s: str,
) -> None:
    """Sixteen terms of a warp's points: fragments of 16 x 16 of the left operand, and of two times
    16 x 8 of the right one. Each lane names a row of eight of what is taken: those of a fragment's
    four quarters in the order of its registers."""
    tile, lane, halves = _warps(product), warp.lane, product.halves
    assert halves is not None
    xs, ys = k.w.fresh("xs"), k.w.fresh("ys")
    u, v, pairs = k.w.fresh("u"), k.w.fresh("v"), tile.wide // 2
    k.w.add(f"unsigned int {xs}[{tile.high}][4], {ys}[{pairs}][4];")
    by_halves = f"{lane} % 16", f"{lane} / 16 * 8"
    by_quarters = f"{lane} % 8 + {lane} / 16 * 8", f"{lane} / 8 % 2 * 8"
    with unrolled(k, u, tile.high):
        first, second = by_halves if left.by_terms else by_quarters[::-1]
        point = f"{warp.down} + {u} * 16 + {first}"
        k.w.add(_taken(left, f"{xs}[{u}]", stage, point, f"{s} + {second}"))
    with unrolled(k, v, pairs):
        first, second = by_quarters if right.by_terms else by_halves[::-1]
        point = f"{warp.over} + {v} * 16 + {first}"
        k.w.add(_taken(right, f"{ys}[{v}]", stage, point, f"{s} + {second}"))
    with unrolled(k, u, tile.high), unrolled(k, v, tile.wide):
        given = f"{sums}[{u}][{v}], {xs}[{u}], &{ys}[{v} / 2][{v} % 2 * 2]"
        k.w.add(f"multiply_{halves.name}({given});")


def _taken(o: _Operand, to: str, stage: str, point: str, term: str) -> str:
    """The statement that takes fragments of an operand."""
    high, low = (point, term) if o.by_terms else (term, point)
    function = "fragments" if o.by_terms else "turned_fragments"
    return f"{function}({to}, &{o.name}[{stage}][{high}][{low}]);"


# -- functions of the unit -------------------------------------------------------------------------

_COPIES = """\
static __device__ __forceinline__ void copy_pack(
    unsigned short* to, const unsigned short* from, bool is_there) {  // 16 bytes, or zeros
  #if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::
      "r"((unsigned int)__cvta_generic_to_shared(to)), "l"(from), "r"(is_there ? 16 : 0)
      : "memory");
  #else
  for (int i = 0; i < 8; ++i) to[i] = is_there ? from[i] : 0;
  #endif
}

static __device__ __forceinline__ void end_copies() {
  #if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;" ::: "memory");
  #endif
}

static __device__ __forceinline__ void wait_for_copies() {  // but those after the last `end_copies`
  #if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group 1;" ::: "memory");
  #endif
}"""

_EXCHANGE = """\
#if __CUDA_ARCH__ < 800
static __device__ __forceinline__ unsigned int* exchanged() {  // six words of each lane of a warp
  __shared__ unsigned int words[8 * 32 * 6];
  return words + threadIdx.x / 32 * (32 * 6);
}
#endif"""

_FRAGMENTS = """\
static __device__ __forceinline__ void {name}(unsigned int (&of)[4], const unsigned short* row) {{
  #if __CUDA_ARCH__ >= 800
  asm volatile("ldmatrix.sync.aligned.m8n8.x4{trans}.shared.b16 {{%0, %1, %2, %3}}, [%4];"
      : "=r"(of[0]), "=r"(of[1]), "=r"(of[2]), "=r"(of[3])
      : "r"((unsigned int)__cvta_generic_to_shared(row)) : "memory");
  #else
  unsigned int* const words = exchanged();
  const int lane = threadIdx.x % 32;
  words[lane * 6] = (unsigned int)(unsigned long long)row;
  words[lane * 6 + 1] = (unsigned int)((unsigned long long)row >> 32);
  __syncwarp();
  for (int i = 0; i < 4; ++i) {{
    unsigned int both = 0;
    for (int n = 0; n < 2; ++n) {{
      const int high = {high}, low = {low};
      const unsigned int* const place = &words[(i * 8 + high) * 6];
      const unsigned long long found = place[0] | (unsigned long long)place[1] << 32;
      both |= (unsigned int)((const unsigned short*)found)[low] << (n * 16);
    }}
    of[i] = both;
  }}
  __syncwarp();
  #endif
}}"""

_MULTIPLY = """\
static __device__ __forceinline__ void multiply_{name}(
    float (&sums)[4], const unsigned int (&x)[4], const unsigned int* y) {{
  #if __CUDA_ARCH__ >= 800
  asm("mma.sync.aligned.m16n8k16.row.col.f32.{name}.{name}.f32 "
      "{{%0, %1, %2, %3}}, {{%4, %5, %6, %7}}, {{%8, %9}}, {{%0, %1, %2, %3}};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(x[0]), "r"(x[1]), "r"(x[2]), "r"(x[3]), "r"(y[0]), "r"(y[1]));
  #else
  unsigned int* const words = exchanged();
  const int lane = threadIdx.x % 32;
  for (int i = 0; i < 4; ++i) words[lane * 6 + i] = x[i];
  for (int i = 0; i < 2; ++i) words[lane * 6 + 4 + i] = y[i];
  __syncwarp();
  #pragma unroll 1
  for (int k = 0; k < 16; ++k) {{
    for (int e = 0; e < 4; ++e) {{
      const int column = lane % 4 * 2 + e % 2, shift = k % 2 * 16;
      const unsigned int a = words[(lane / 4 * 4 + k % 8 / 2) * 6 + e / 2 + k / 8 * 2] >> shift;
      const unsigned int b = words[(column * 4 + k % 8 / 2) * 6 + 4 + k / 8] >> shift;
      sums[e] = fmaf({a}, {b}, sums[e]);
    }}
  }}
  __syncwarp();
  #endif
}}"""


def _define(unit: Unit, halves: DType, product: ProductNest) -> None:
    """The functions that tiles are made of."""
    unit.functions.setdefault("copy_pack", _COPIES)
    unit.functions.setdefault("exchanged", _EXCHANGE)
    places = ("lane / 4", "lane % 4 * 2 + n")
    for name, trans, (high, low) in (
        ("fragments", "", places),
        ("turned_fragments", ".trans", places[::-1]),
    ):
        text = _FRAGMENTS.format(name=name, trans=trans, high=high, low=low)
        unit.functions.setdefault(name, text)
    cast = next(e for e in product.sums[0].terms if isinstance(e.op, Conversion))
    a, b = (expression(unit, cast, [f"(unsigned short){x}"]) for x in "ab")
    text = _MULTIPLY.format(name=halves.name, a=a, b=b)
    unit.functions.setdefault(f"multiply_{halves.name}", text)
