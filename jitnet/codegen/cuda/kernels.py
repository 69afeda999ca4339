"""The text of one kernel.

    levels of a nest over the grid, one thread each      for (int i = first; i < 4096; i += step)
    levels over the grid, one block each                 for (int i = blockIdx.x; ...)
    no levels: one block                                 for what is small, or in order

Elementwise nests over contiguous memory take 16 bytes at a time where the addresses allow it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from jitnet.codegen.cuda.memory import Root, Roots, bound_in, references
from jitnet.codegen.cuda.packs import Packs, find_packs
from jitnet.codegen.cuda.rows import Unit
from jitnet.codegen.cuda.statements import (
    FEWEST_SHARED_OUT,
    INT_MAX,
    State,
    barrier,
    comment,
    emit,
    is_shared_out,
    offset,
    trips,
)
from jitnet.codegen.cuda.text import C_TYPES, Writer
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
    """

    levels: tuple[Eqn, ...]
    head: tuple[Eqn, ...]
    eqns: tuple[Eqn, ...]
    blocks: bool
    outputs: tuple[Value, ...] = ()

    @property
    def threads(self) -> int:
        """Of a block."""
        if not self.blocks:
            return 256
        widest = max((_width(e) for e in self.eqns), default=0)
        return 1 if widest < FEWEST_SHARED_OUT else min(256, -(-widest // 32) * 32)

    def arguments(self) -> list[Value]:
        """What it reads from outside."""
        own = {*bound_in(self.head), *bound_in(self.eqns)}
        own.update(p for level in self.levels for p in level.regions[0].params)
        found: dict[Value, None] = {}
        for level in self.levels:
            found.update(dict.fromkeys(level.operands))
        for eqn in (*self.head, *self.eqns):
            found.update(dict.fromkeys(references(eqn)))
        for v in list(found):
            if isinstance(v.type, BufferType):
                found.update(dict.fromkeys(map(as_value, v.type.symbolic)))
        return [v for v in found if v not in own and not isinstance(v, Literal)]


def _width(eqn: Eqn) -> int:
    """The iterations of the longest loop that threads share."""
    own = 0
    if is_shared_out(eqn):
        own = trips(eqn) or 256
        return own
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


def write_kernel(kernel: Kernel, passing: Sequence[str], roots: Roots, unit: Unit) -> Written:
    """The text of a kernel whose arguments are passed so."""
    k = State(unit, roots, kernel.threads, Writer())
    arguments = kernel.arguments()
    params, head = _params(k, kernel, arguments, passing)
    outputs = [k.w.fresh(v.name + "_out", "out") for v in kernel.outputs]
    params += [f"{C_TYPES[v.dtype]}* {name}" for v, name in zip(kernel.outputs, outputs)]
    if unit.guarded:
        k.w.add("if (*status) return;  // an error before this")
    k.w.lines.extend(head)
    if kernel.eqns:
        comment(k, (kernel.levels or kernel.eqns)[0].loc)
    emit(k, kernel.head)
    if kernel.blocks:
        per_block = 1
        _emit_blocks(k, kernel)
        for v, name in zip(kernel.outputs, outputs):
            once = "if (threadIdx.x == 0) " if k.threads > 1 else ""
            k.w.add(f"{once}*{name} = {k.text(v)};")
    else:
        per_block = k.threads * _emit_threads(k, kernel)
    params += [f"{C_TYPES[t]}* __restrict__ {name}" for name, _, t in k.scratch]
    lines = "\n".join(k.w.lines)
    begin = f'extern "C" __global__ void __launch_bounds__({k.threads}, 1) @('
    text = f"{begin}\n    {', '.join(params)}) {{\n{lines}\n}}\n"
    return Written(text, per_block, tuple(size for _, size, _ in k.scratch))


def _params(
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
        name = k.w.fresh(v.name, "x")
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
    counts, total, type = _counts(k, kernel.levels)
    cast = "" if type == "int" else "(long long)"
    first = k.w.let(type, f"{cast}blockIdx.x * blockDim.x + threadIdx.x", "first")
    step = k.w.let(type, f"{cast}gridDim.x * blockDim.x", "step")
    packs = find_packs(kernel.levels, kernel.eqns, k.roots)
    if packs is not None:
        first = _emit_packs(k, kernel, packs, (total, first, step, type))
    at = k.w.fresh("n")
    with k.w.block(f"for ({type} {at} = {first}; {at} < {total}; {at} += {step}) {{"):
        _bind_levels(k, kernel.levels, at, counts, type)
        emit(k, kernel.eqns)
    return packs.lanes if packs is not None else 1


def _emit_packs(k: State, kernel: Kernel, packs: Packs, grid: tuple[str, str, str, str]) -> str:
    """The part of a loop that takes several elements at a time; where the rest begins."""
    total, first, step, type = grid
    k.unit.packs = True
    lanes = packs.lanes
    places = {
        key: f"{k.names[key[0]]} + {offset(k, key[0], [*key[1], Literal(0, S.INDEX.dtype)])}"
        for key in (*packs.loads.values(), *packs.stores.values())
    }
    places = {key: text.removesuffix(" + 0") for key, text in places.items()}
    bits = " | ".join(f"(unsigned long long)({text})" for text in places.values())
    whole = k.w.let(type, f"({bits}) % 16 == 0 ? {total} / {lanes} : 0", "whole")
    at = k.w.fresh("p")
    with k.w.block(f"for ({type} {at} = {first}; {at} < {whole}; {at} += {step}) {{"):
        held = {}
        for key in dict.fromkeys(packs.loads.values()):
            pack = f"pack<{C_TYPES[key[0].dtype]}, {lanes}>"
            text = f"((const {pack}*)({places[key]}))[{at}]"
            held[key] = k.w.let(pack, text, f"{k.names[key[0]]}s")
        made = {}
        for key in packs.stores.values():
            made[key] = k.w.fresh(f"{k.names[key[0]]}s")
            k.w.add(f"pack<{C_TYPES[key[0].dtype]}, {lanes}> {made[key]};")
        lane = k.w.fresh("lane")
        k.w.add("#pragma unroll")
        with k.w.block(f"for (int {lane} = 0; {lane} < {lanes}; ++{lane}) {{"):
            index = kernel.levels[0].regions[0].params[0]
            k.names[index] = k.w.let(type, f"{at} * {lanes} + {lane}", index.name)
            if type == "int":
                k.ranges[index] = (0, INT_MAX - 1)
            for eqn in kernel.eqns:
                if eqn in packs.loads:
                    element = f"{held[packs.loads[eqn]]}.at[{lane}]"
                    result = eqn.result
                    k.names[result] = k.w.let(C_TYPES[result.dtype], element, result.name)
                elif eqn in packs.stores:
                    element = f"{made[packs.stores[eqn]]}.at[{lane}]"
                    k.w.add(f"{element} = {k.text(eqn.operands[1])};")
                else:
                    emit(k, (eqn,))
        for key, name in made.items():
            pack = f"pack<{C_TYPES[key[0].dtype]}, {lanes}>"
            k.w.add(f"(({pack}*)({places[key]}))[{at}] = {name};")
    return f"{whole} * {lanes} + {first}"


def _emit_blocks(k: State, kernel: Kernel) -> None:
    """One block for each point, or for all that there is."""
    k.together = True
    if not kernel.levels:
        emit(k, kernel.eqns)
        return
    counts, total, type = _counts(k, kernel.levels)
    at = k.w.fresh("n")
    with k.w.block(f"for ({type} {at} = blockIdx.x; {at} < {total}; {at} += gridDim.x) {{"):
        _bind_levels(k, kernel.levels, at, counts, type)
        emit(k, kernel.eqns)
        barrier(k)


def _counts(k: State, levels: Sequence[Eqn]) -> tuple[list[str], str, str]:
    """The extents of the levels, how many points they have, and the type of such numbers."""
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
    return counts, k.w.let(type, " * ".join(wide), "count"), type


def _bind_levels(
    k: State, levels: Sequence[Eqn], at: str, counts: Sequence[str], type: str
) -> None:
    """The indices of a nest, from the number of a point in C order."""
    for n, level in enumerate(levels):
        index, low = level.regions[0].params[0], level.operands[0]
        inner = " * ".join(counts[n + 1 :])
        part = f"{at} / ({inner})" if inner.count("*") else f"{at} / {inner}" if inner else at
        part = f"{part} % {counts[n]}" if n else part
        if not (isinstance(low, Literal) and not low.item):
            part = f"{k.number(low)} + {part}"
        k.names[index] = at if part == at else k.w.let(type, part, index.name)
        known = trips(level)
        if type == "int" and known is not None and isinstance(low, Literal):
            k.ranges[index] = (int(low.item), int(low.item) + max(known - 1, 0))
