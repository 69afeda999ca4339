"""Kernels that do not depend on each other as one: each is a part, which some of the blocks do.

    extern "C" __global__ void adam_0(...) {
      for (int b = blockIdx.x; b < 120; b += gridDim.x) {
        if (b < 98) {
          adam_part(b, 100352, m_w1, grads_w1, ...);
        } else if (b < 99) {
          adam_part(b - 98, 128, m_b1, grads_b1, ...);
        } ...

Parts of the same text are one function. What all threads compute for themselves comes first, once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import prod

from jitnet.codegen.cuda.inline import count_uses
from jitnet.codegen.cuda.kernels import (
    Kernel,
    Written,
    aligned,
    begin_kernel,
    counted,
    emit_outputs,
    emit_pack,
    emit_product,
    end_kernel,
    parameters,
)
from jitnet.codegen.cuda.memory import Places, Roots, bound_in, walk
from jitnet.codegen.cuda.packs import find_packs
from jitnet.codegen.cuda.rows import Unit
from jitnet.codegen.cuda.state import (
    INT_MAX,
    MOST_SHARED,
    State,
    barrier,
    bind_levels,
    comment,
    local_bytes,
    trips,
)
from jitnet.codegen.cuda.statements import emit
from jitnet.codegen.cuda.text import C_TYPES, Writer, listed
from jitnet.codegen.cuda.touch import Touched, clash, touched
from jitnet.ir import BufferType, Value
from jitnet.kernel import statements as S

MOST_ARGUMENTS = 400
"""A launch's arguments are 4 KB at most."""

MOST_SHARED_BY_PARTS = 40960
"""Bytes of shared memory of all parts together."""


@dataclass(frozen=True, eq=False)
class Waiting:
    """A kernel that has not been launched yet.

    Attributes:
        does: what it reads and writes; `asks` and `binds` are its arguments and outputs.
    checks: the errors that it may report, its head's included.
    is_harmless: whether it touches the same elements, all of which there are, whatever the data
        is; so an error before it need not stop it.
    """

    kernel: Kernel
    does: Touched
    checks: frozenset[int]
    is_harmless: bool

    @staticmethod
    def of(kernel: Kernel, places: Places) -> Waiting:
        does = touched((*kernel.head, *kernel.eqns), places)
        checks = frozenset(id(e) for e in does.raises)
        asks, binds = set(kernel.arguments()), set(kernel.outputs)
        does = replace(does, asks=asks, binds=binds, raises=[])
        return Waiting(kernel, does, checks, _is_harmless(kernel, places))

    def must_follow(self, earlier: Waiting) -> bool:
        """Whether it has to be launched after another one: what an error forbids is not done."""
        guarded = not (earlier.checks <= self.checks or self.is_harmless)
        return guarded or clash(earlier.does, self.does)


def _is_harmless(kernel: Kernel, places: Places) -> bool:
    eqns = (*kernel.head, *kernel.eqns)
    own = {*bound_in(eqns), *(level.regions[0].params[0] for level in kernel.levels)}
    counts = [trips(e) for e in (*kernel.levels, *walk(eqns)) if e.op is S.FOR]
    if None in counts or any(e.op in (S.WHILE, S.RAISE, S.VIEW) for e in walk(eqns)):
        return False
    return all(
        access.address is not None
        and all(v in own and v in places.ranges for v in access.address.terms)
        for access in places.accesses(eqns)
    )


def in_steps(waiting: Sequence[Waiting]) -> list[list[Waiting]]:
    """Kernels in program order as steps, each of which depends only on those before it."""
    steps: list[list[Waiting]] = []
    at: list[int] = []
    for n, one in enumerate(waiting):
        before = [at[i] for i in range(n) if one.must_follow(waiting[i])]
        at.append(max(before, default=-1) + 1)
        if at[-1] == len(steps):
            steps.append([])
        steps[at[-1]].append(one)
    return steps


def grouped(step: Sequence[Waiting]) -> list[list[Kernel]]:
    """The kernels of one step, those together that can be one launch."""
    groups: list[list[Kernel]] = []
    open_group: list[Kernel] = []
    shared = arguments = 0
    for one in step:
        kernel = one.kernel
        if points(kernel) is None:
            groups.append([kernel])
            continue
        size = _shared_bytes(kernel)
        is_full = shared + size > MOST_SHARED_BY_PARTS
        if open_group and (is_full or arguments + _slots(kernel) > MOST_ARGUMENTS):
            groups.append(open_group)
            open_group, shared, arguments = [], 0, 0
        open_group.append(kernel)
        shared, arguments = shared + size, arguments + _slots(kernel)
    return [*groups, open_group] if open_group else groups


def _shared_bytes(kernel: Kernel) -> int:
    if kernel.product is not None:
        return kernel.product.shared
    return min(local_bytes(walk(kernel.eqns)), MOST_SHARED) + 2048 if kernel.blocks else 0


def _slots(kernel: Kernel) -> int:
    return len(kernel.arguments()) + len(kernel.outputs)


def points(kernel: Kernel) -> int | None:
    """How many points a kernel's levels have, where that is known and 32 bits are enough."""
    counts = [trips(level) for level in kernel.levels]
    if None in counts:
        return None
    count = prod(n or 0 for n in counts)
    return count if count < INT_MAX else None


# -- text ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Group:
    """Attributes:
    written: the text of the kernel.
    arguments, outputs: what it takes, and the scalars that it computes.
    blocks: of all parts.
    threads: of a block.
    """

    written: Written
    arguments: Sequence[Value]
    outputs: Sequence[Value]
    blocks: int
    threads: int


def write_group(
    kernels: Sequence[Kernel], name: str, passing: Callable[[Value], str], roots: Roots, unit: Unit
) -> Group:
    """The text of several kernels as one; `name` is what their functions are called by."""
    kernels = sorted(kernels, key=lambda kernel: (bool(kernel.levels), not kernel.blocks))
    head = tuple({id(e): e for kernel in kernels for e in kernel.head}.values())
    done = {id(e) for e in head}
    parts = [
        replace(kernel, head=(), eqns=tuple(e for e in kernel.eqns if id(e) not in done))
        for kernel in kernels
    ]
    arguments = list(dict.fromkeys(v for kernel in kernels for v in kernel.arguments()))
    outputs = tuple(v for kernel in kernels for v in kernel.outputs)
    threads = max(kernel.threads for kernel in kernels)
    whole = Kernel((), head, tuple(e for part in parts for e in part.eqns), True, outputs)
    k = State(unit, roots, threads, Writer())
    params, targets = begin_kernel(k, whole, arguments, passing)
    k.uses = count_uses(head, [v for part in parts for v in part.arguments()])
    emit(k, head)
    calls, blocks = [], 0
    for part in parts:
        call, count = _part(k, part, name, threads)
        calls.append((call, blocks, blocks + count))
        blocks += count
    at = k.w.fresh("b")
    with k.w.block(f"for (int {at} = blockIdx.x; {at} < {blocks}; {at} += gridDim.x) {{"):
        for n, (call, start, stop) in enumerate(calls):
            number = f"{at} - {start}" if start else at
            test = f"if ({at} < {stop}) {{" if n < len(calls) - 1 else "{"
            k.w.add(f"{'} else ' if n else ''}{test}")
            k.w.add("  " + call(number, targets))
        k.w.add("}")
    written = end_kernel(k, params, 1)
    return Group(written, arguments, outputs, blocks, threads)


Call = Callable[[str, dict[Value, str]], str]
"""The statement that does a block of a part: of the block's number, and the places of outputs."""


def _part(outer: State, part: Kernel, name: str, threads: int) -> tuple[Call, int]:
    """The function that does one block of a part, and how many blocks there are."""
    k = State(outer.unit, outer.roots, threads, Writer())
    k.uses = count_uses(part.eqns, part.named)
    arguments = part.arguments()
    how = ["pointer" if isinstance(v.type, BufferType) else "value" for v in arguments]
    params, _ = parameters(k, part, arguments, how)
    raises = any(e.op is S.RAISE for e in walk(part.eqns))
    params = [*params[:1], *params[1:]] if raises else params[1:]
    targets = [k.w.fresh(v.name + "_out", "out") for v in part.outputs]
    params += [f"{C_TYPES[v.dtype]}* {t}" for v, t in zip(part.outputs, targets)]
    given = [*(["status"] if raises else []), *map(outer.text, arguments)]
    count, blocks = points(part) or 0, points(part) or 0
    if part.eqns:
        comment(k, (part.levels or part.eqns)[0].loc)
    if part.product is not None:
        blocks = part.product.blocks
        emit_product(k, part.product, "block")
    elif part.blocks:
        _emit_block(k, part)
        emit_outputs(k, part.outputs, targets)
        barrier(k)
    else:
        counts = _emit_chunk(k, part)
        blocks = -(-count // counts)
        params, given = ["const int count", *params], [str(count), *given]
    params += [f"{C_TYPES[t]}* __restrict__ {row}" for row, _, t in k.scratch]
    for _, size, dtype in k.scratch:
        memory = outer.w.fresh("row_of_blocks")
        outer.scratch.append((memory, size, dtype))
        given.append(memory)
    function = _function(k, ["const int block", *params], name)
    outputs = part.outputs

    def call(block: str, places: dict[Value, str]) -> str:
        own = [*given[: len(given) - len(k.scratch)], *(places[v] for v in outputs)]
        return f"{function}({', '.join([block, *own, *given[len(given) - len(k.scratch) :]])});"

    return call, blocks


def _function(k: State, params: Sequence[str], name: str) -> str:
    """The unit's function of this text, whatever its parameters are called."""
    lines = "\n".join(k.w.lines)
    text = f"static __device__ void @(\n{listed(params)}) {{\n{lines}\n}}"
    key = " ".join(k.w.anonymous(text).split())
    if key not in k.unit.parts:
        number = len(k.unit.parts)
        k.unit.parts[key] = f"{name}_part{number or ''}"
        k.unit.functions[k.unit.parts[key]] = text.replace("@", k.unit.parts[key], 1)
    return k.unit.parts[key]


def _emit_block(k: State, part: Kernel) -> None:
    k.together = True
    if part.levels:
        counts, _, type = counted(k, part.levels, False)
        bind_levels(k, part.levels, "block", counts, type)
    emit(k, part.eqns)


def _emit_chunk(k: State, part: Kernel) -> int:
    """What the threads of one block do for neighbouring points; returns how many points."""
    counts, _, type = counted(k, part.levels, False)
    packs = find_packs(part.levels, part.eqns, k.roots)
    if packs is None:
        at = k.w.let(type, f"block * {k.threads} + (int)threadIdx.x", "n")
        with k.w.block(f"if ({at} < count) {{"):
            bind_levels(k, part.levels, at, counts, type)
            emit(k, part.eqns)
        return k.threads
    size = k.threads * packs.lanes
    first = k.w.let(type, f"block * {size}", "first")
    all_whole = f"{first} + {size} <= count && {aligned(k, part, packs)}"
    with k.w.block(f"if ({all_whole}) {{", "} else {"):
        at = k.w.let(type, f"block * {k.threads} + (int)threadIdx.x", "p")
        emit_pack(k, part, packs, at, type)
    k.origin = ""
    at = k.w.fresh("n")
    with k.w.block("", "}"):
        inside = f"{at} < count && {at} < {first} + {size}"
        start = f"{first} + (int)threadIdx.x"
        with k.w.block(f"for ({type} {at} = {start}; {inside}; {at} += {k.threads}) {{"):
            bind_levels(k, part.levels, at, counts, type)
            emit(k, part.eqns)
    return size
