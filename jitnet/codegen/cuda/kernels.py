"""The text of one kernel.

    levels of a nest over the grid, one thread each      for (int i = first; i < 4096; i += step)
    levels over the grid, one block each                 for (int i = blockIdx.x; ...)
    a product over the grid, one block for a tile        for (int n = blockIdx.x; n < tiles; ...)
    no levels: one block                                 for what is small, or in order

Elementwise nests over contiguous memory take 16 bytes at a time where the addresses allow it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

from jitnet.codegen.cuda.inline import count_uses
from jitnet.codegen.cuda.memory import Root, Roots, bound_in, references
from jitnet.codegen.cuda.packs import Key, Packs, find_packs
from jitnet.codegen.cuda.product_nests import ProductNest, Warps
from jitnet.codegen.cuda.product_tiles import emit_tile
from jitnet.codegen.cuda.rows import Unit
from jitnet.codegen.cuda.scans import find_scan
from jitnet.codegen.cuda.state import (
    FEWEST_SHARED_OUT,
    INT_MAX,
    State,
    barrier,
    bind_levels,
    comment,
    is_chosen,
    is_shared_out,
    offset,
    perfect_nest,
    shared_points,
    trips,
)
from jitnet.codegen.cuda.statements import emit
from jitnet.codegen.cuda.tensor_cores import emit_warps
from jitnet.codegen.cuda.text import C_TYPES, Writer, listed
from jitnet.ir import BufferType, Eqn, Function, Literal, Value, as_value
from jitnet.kernel import statements as S


@dataclass(frozen=True, eq=False)
class Kernel:
    """What a kernel is to do.

    Attributes:
        levels: loops that are spread over the grid, outermost first.
        head: computed by every thread, before all.
        eqns: what is done at each point of the levels.
        blocks: a block, not a thread, does it.
        outputs: scalars of `eqns` that are left in device memory.
        product: the levels and `eqns` once more, where a block does a tile of the points.
    """

    levels: tuple[Eqn, ...]
    head: tuple[Eqn, ...]
    eqns: tuple[Eqn, ...]
    blocks: bool
    outputs: tuple[Value, ...] = ()
    product: ProductNest | None = None

    @property
    def threads(self) -> int:
        """Of a block."""
        if self.product is not None:
            return self.product.threads
        if not self.blocks:
            return 256
        widest = max((_width(e) for e in self.eqns), default=0)
        return 1 if widest < FEWEST_SHARED_OUT else min(256, -(-widest // 32) * 32)

    @property
    def named(self) -> tuple[Value, ...]:
        """What has to have a name: outputs, and the bounds of levels."""
        return (*self.outputs, *(v for level in self.levels for v in level.operands))

    def arguments(self) -> list[Value]:
        """What it reads from outside."""
        own = {*bound_in(self.head), *bound_in(self.eqns)}
        own.update(p for level in self.levels for p in level.regions[0].params)
        found: dict[Value, None] = {}
        for level in self.levels:
            found.update(dict.fromkeys(level.operands))
        for eqn in (*self.head, *self.eqns):
            found.update(dict.fromkeys(references(eqn)))
        found.update(dict.fromkeys(self.outputs))
        for v in list(found):
            if isinstance(v.type, BufferType):
                found.update(dict.fromkeys(map(as_value, v.type.symbolic)))
        return [v for v in found if v not in own and not isinstance(v, Literal)]


def _width(eqn: Eqn) -> int:
    """The iterations of the longest loop that threads share."""
    levels, _ = perfect_nest(eqn)
    if len(levels) > 1:
        return shared_points(levels)
    if is_shared_out(eqn) or is_chosen(eqn) or find_scan(eqn) is not None:
        return trips(eqn) or 256
    return max((_width(e) for r in eqn.regions for e in r.eqns), default=0)


@dataclass(frozen=True)
class Written:
    """Attributes:
    text: the kernel's function, with `@` for its name.
    per_block: elements of the levels that a block takes at a time.
    scratch: bytes of each buffer that a block needs in device memory.
    """

    text: str
    per_block: int
    scratch: tuple[int, ...]


def write_kernel(
    kernel: Kernel, passing: Callable[[Value], str], roots: Roots, unit: Unit
) -> Written:
    """The text of a kernel; `passing` says how its arguments are passed."""
    k = State(unit, roots, kernel.threads, Writer())
    k.uses = count_uses((*kernel.head, *kernel.eqns), kernel.named)
    params, targets = begin_kernel(k, kernel, kernel.arguments(), passing)
    if kernel.eqns:
        comment(k, (kernel.levels or kernel.eqns)[0].loc)
    emit(k, kernel.head)
    if kernel.product is not None:
        per_block = 1
        _emit_tiles(k, kernel.product)
    elif kernel.blocks:
        per_block = 1
        _emit_blocks(k, kernel)
        emit_outputs(k, kernel.outputs, [targets[v] for v in kernel.outputs])
    else:
        per_block = k.threads * _emit_threads(k, kernel)
    return end_kernel(k, params, per_block)


def begin_kernel(
    k: State, kernel: Kernel, arguments: Sequence[Value], passing: Callable[[Value], str]
) -> tuple[list[str], dict[Value, str]]:
    """What a kernel does first; its parameters, and the names of the places of its outputs."""
    params, head = parameters(k, kernel, arguments, list(map(passing, arguments)))
    targets = {v: k.w.fresh(v.name + "_out", "out") for v in kernel.outputs}
    params += [f"{C_TYPES[v.dtype]}* {name}" for v, name in targets.items()]
    if k.unit.guarded:
        k.w.add("if (*status) return;  // an error before this")
    k.w.lines.extend(head)
    return params, targets


def emit_outputs(k: State, outputs: Sequence[Value], targets: Sequence[str]) -> None:
    """Leave scalars in device memory."""
    for v, name in zip(outputs, targets):
        once = "if (threadIdx.x == 0) " if k.threads > 1 else ""
        k.w.add(f"{once}*{name} = {k.text(v)};")


def end_kernel(k: State, params: Sequence[str], per_block: int) -> Written:
    """The text of all that was written."""
    params = [*params, *(f"{C_TYPES[t]}* __restrict__ {name}" for name, _, t in k.scratch)]
    lines = "\n".join(k.w.lines)
    begin = f'extern "C" __global__ void __launch_bounds__({k.threads}, 1) @('
    text = f"{begin}\n{listed(params)}) {{\n{lines}\n}}\n"
    return Written(text, per_block, tuple(size for _, size, _ in k.scratch))


def parameters(
    k: State, kernel: Kernel, arguments: Sequence[Value], passing: Sequence[str]
) -> tuple[list[str], list[str]]:
    """The function's parameters, and lines that read what comes by address."""
    params, lines = ["long long* status"], []
    stores = {k.roots[e.operands[0]] for e in _walk(kernel) if e.op is S.STORE}
    fixed = not any(
        isinstance(r.type, BufferType) and e.regions for e in _walk(kernel) for r in e.results
    )  # no pointer is chosen
    apart = _all_apart([k.roots[v] for v in arguments if isinstance(v.type, BufferType)])
    restrict = " __restrict__" if apart else ""
    for v, how in zip(arguments, passing):
        owner = k.roots[v].value.name if how == "pointer" else ""
        name = k.w.fresh(v.name or owner, "x")
        k.names[v] = name
        type = C_TYPES[v.dtype]
        if how == "pointer":
            changed = any(not k.roots[v].is_apart(root) for root in stores)
            params.append(f"{'const ' if fixed and not changed else ''}{type}*{restrict} {name}")
        elif how == "value":
            params.append(f"{type} {name}")
        else:
            at = k.w.fresh(name + "_at")
            params.append(f"const {type}* {at}")
            lines.append(f"  const {type} {name} = *{at};")
    return params, lines


def _walk(kernel: Kernel) -> list[Eqn]:
    function = Function("kernel", (), (*kernel.head, *kernel.eqns), (), "kernel")
    return list(function.walk())


def _all_apart(roots: Sequence[Root]) -> bool:
    return all(a.is_apart(b) for n, a in enumerate(roots) for b in roots[:n])


# -- how a nest is spread --------------------------------------------------------------------------


def _emit_threads(k: State, kernel: Kernel) -> int:
    """One thread for each point; returns how many points a thread takes at a time."""
    counts, total, type = counted(k, kernel.levels)
    cast = "" if type == "int" else "(long long)"
    first = k.w.let(type, f"{cast}blockIdx.x * blockDim.x + threadIdx.x", "first")
    step = k.w.let(type, f"{cast}gridDim.x * blockDim.x", "step")
    packs = find_packs(kernel.levels, kernel.eqns, k.roots)
    if packs is not None:
        lanes = packs.lanes
        whole = k.w.let(type, f"{aligned(k, kernel, packs)} ? {total} / {lanes} : 0", "whole")
        at = k.w.fresh("p")
        with k.w.block(f"for ({type} {at} = {first}; {at} < {whole}; {at} += {step}) {{"):
            emit_pack(k, kernel, packs, at, type)
        first = f"{whole} * {lanes} + {first}"
    at = k.w.fresh("n")
    with k.w.block(f"for ({type} {at} = {first}; {at} < {total}; {at} += {step}) {{"):
        bind_levels(k, kernel.levels, at, counts, type)
        emit(k, kernel.eqns)
    return packs.lanes if packs is not None else 1


def aligned(k: State, kernel: Kernel, packs: Packs) -> str:
    """Whether rows of packs begin at multiples of 16, as a condition."""
    keys = dict.fromkeys((*packs.loads.values(), *packs.stores.values()))
    if len(kernel.levels) > 1:
        places = [k.names[buffer] for buffer, _ in keys]
    else:
        places = [_row(k, key, Literal(0, S.INDEX.dtype)) for key in keys]
    k.unit.packs = True
    return f"aligned({', '.join(dict.fromkeys(places))})"


def _row(k: State, key: Key, last: Value) -> str:
    """The address of an element."""
    return f"{k.names[key[0]]} + {offset(k, key[0], [*key[1], last])}".removesuffix(" + 0")


def emit_pack(k: State, kernel: Kernel, packs: Packs, at: str, type: str) -> None:
    """Several elements at a time: those of the pack of this number."""
    k.unit.packs = True
    lanes, levels = packs.lanes, kernel.levels
    index = levels[-1].regions[0].params[0]
    counts = [str(trips(level)) for level in levels]
    if len(levels) > 1:
        counts[-1] = str((trips(levels[-1]) or 0) // lanes)
    bind_levels(k, levels, at, counts, type)
    first = k.w.let(type, f"{k.names[index]} * {lanes}", "first")
    k.names[index] = first
    if type == "int":
        k.ranges[index] = (0, max((trips(levels[-1]) or INT_MAX) - 1, 0))
    held = {}
    for key in dict.fromkeys(packs.loads.values()):
        pack = f"pack<{C_TYPES[key[0].dtype]}, {lanes}>"
        text = f"*(const {pack}*)({_row(k, key, index)})"
        held[key] = k.w.let(pack, text, f"{k.names[key[0]]}s")
    made = {}
    for key in packs.stores.values():
        made[key] = k.w.fresh(f"{k.names[key[0]]}s"), _row(k, key, index)
        k.w.add(f"pack<{C_TYPES[key[0].dtype]}, {lanes}> {made[key][0]};")
    lane = k.w.fresh("lane")
    k.w.add("#pragma unroll")
    with k.w.block(f"for (int {lane} = 0; {lane} < {lanes}; ++{lane}) {{"):
        k.names[index] = k.w.let(type, f"{first} + {lane}", index.name)
        k.instead.update((e, f"{held[key]}.at[{lane}]") for e, key in packs.loads.items())
        k.instead.update((e, f"{made[key][0]}.at[{lane}]") for e, key in packs.stores.items())
        emit(k, kernel.eqns)
        k.instead.clear()
    for key, (name, place) in made.items():
        k.w.add(f"*(pack<{C_TYPES[key[0].dtype]}, {lanes}>*)({place}) = {name};")


def _emit_tiles(k: State, product: ProductNest) -> None:
    """One block for each tile of a product."""
    at = k.w.fresh("n")
    head = f"for (int {at} = blockIdx.x; {at} < {product.blocks}; {at} += gridDim.x) {{"
    with k.w.block(head):
        emit_product(k, product, at)


def emit_product(k: State, product: ProductNest, at: str) -> None:
    """The tile of a product of this number, by one block."""
    (emit_warps if isinstance(product.tile, Warps) else emit_tile)(k, product, at)


def _emit_blocks(k: State, kernel: Kernel) -> None:
    """One block for each point, or for all that there is."""
    k.together = True
    if not kernel.levels:
        emit(k, kernel.eqns)
        return
    counts, total, type = counted(k, kernel.levels)
    at = k.w.fresh("n")
    with k.w.block(f"for ({type} {at} = blockIdx.x; {at} < {total}; {at} += gridDim.x) {{"):
        bind_levels(k, kernel.levels, at, counts, type)
        emit(k, kernel.eqns)
        barrier(k)


def counted(k: State, levels: Sequence[Eqn], named: bool = True) -> tuple[list[str], str, str]:
    """The extents of the levels, how many points they have (in a variable, if it is to be `named`),
    and the type of such numbers."""
    counts = []
    for level in levels:
        known = trips(level)
        if known is None:
            low, high = (k.number(v) for v in level.operands[:2])
            known_text = f"{high} > {low} ? {high} - {low} : 0"
            counts.append(k.w.let("long long", known_text, "extent"))
        else:
            counts.append(str(known))
    sizes = [trips(level) for level in levels]
    small = None not in sizes and prod(n or 0 for n in sizes) < INT_MAX
    type = "int" if small else "long long"
    wide = counts if small else [f"{c}LL" if c.isdigit() else c for c in counts]
    total = " * ".join(wide)
    return counts, k.w.let(type, total, "count") if named else total, type
