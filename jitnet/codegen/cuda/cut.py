"""Cuts a kernel Function into launches, and what the host does between them.

    for 0, 4096 {kind='vector'} ...       launch 0, 4096, %x, %out0 {kernel='f_0', extents=1}
    %s: f64 = load %out0, 0               %t: f64 = launch %out0 {kernel='f_1', extents=0}
    %t: f64 = mul %s, 2.0

A nest of independent loops is a launch with a thread, or a block, for each point. What stands
between such nests and is small, or in order, gathers in one kernel of one block. Loops over nests
that are large, library calls and allocations are the host's; so is arithmetic of integers that it
knows. Nothing is read back but what the host must know to go on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import prod

from jitnet.codegen.cuda.atomics import with_atomics
from jitnet.codegen.cuda.contract import contracted
from jitnet.codegen.cuda.drives import (
    LARGE,
    MOST_ASKED,
    drives,
    is_exact,
    is_large,
    known_of,
)
from jitnet.codegen.cuda.exchange import exchanged
from jitnet.codegen.cuda.flatten import flattened
from jitnet.codegen.cuda.groups import Waiting, grouped, in_steps, write_group
from jitnet.codegen.cuda.half_products import with_half_products
from jitnet.codegen.cuda.kernels import Kernel, write_kernel
from jitnet.codegen.cuda.launch import BY_VALUE, LAUNCH, POINTER, SLOT, CudaProgram
from jitnet.codegen.cuda.library import PRODUCT, done_by
from jitnet.codegen.cuda.marks import HOSTS, marked
from jitnet.codegen.cuda.memory import Places, bound_in, references, walk
from jitnet.codegen.cuda.merge import UNKNOWN, Nest, interchanged, is_parallel, merged, nest_of
from jitnet.codegen.cuda.multiply import multiplied
from jitnet.codegen.cuda.needs import slots_of
from jitnet.codegen.cuda.order import is_check, ordered
from jitnet.codegen.cuda.owned import owned
from jitnet.codegen.cuda.parts import in_parts
from jitnet.codegen.cuda.product_nests import find_product, is_deep
from jitnet.codegen.cuda.products import Has, no_library, with_products
from jitnet.codegen.cuda.rows import Unit, is_scalar_op
from jitnet.codegen.cuda.scans import find_scan
from jitnet.codegen.cuda.settle import settled
from jitnet.codegen.cuda.split import folded_constants, split
from jitnet.codegen.cuda.state import MOST_LOCAL, is_chosen, local_bytes, trips
from jitnet.codegen.cuda.text import c_name
from jitnet.codegen.cuda.tiles import tiled
from jitnet.codegen.cuda.touch import Touched, clash, touched
from jitnet.codegen.cuda.traffic import traffic
from jitnet.ir import ArrayType, BufferType, Eqn, Function, Literal, Value, as_value
from jitnet.kernel import statements as S

BLOCK_WORK = 64
"""Inner loops of so many iterations are a block's work, not a thread's."""

TINY = 1024
"""Nests of at most so many points gather with what stands around them."""

MOST_CLONED = 24
"""Scalars that each thread of a nest computes for itself, rather than one kernel before it."""


def cut(
    kernel: Function,
    scalars: Collection[int] = (),
    resident: Collection[int] = (),
    fast_math: bool = False,
    deterministic: bool = True,
    library: Has = no_library,
) -> CudaProgram:
    """The CUDA C++ of a kernel Function, and the program that launches it.

    Args:
        scalars: positions of params that are numbers of the caller's.
        resident: positions of params that are numbers on the device.
        fast_math: elementary functions of float32 are the hardware's approximations.
        deterministic: terms of scatters come in their order, not by atomic operations.
        library: what the device's library of products can do.
    """
    slots = slots_of(kernel, scalars, resident)
    functions = (*reversed(kernel.callees()), kernel)
    guarded = any(e.op is S.RAISE for f in functions for e in f.walk())
    unit = Unit(guarded, fast_math=fast_math, deterministic=deterministic)
    hosts: dict[int, Function] = {}
    for f in functions:
        ready = prepared(f, deterministic, library)
        hosts[id(f)] = _Cutter.of(ready, unit, hosts, slots if f is kernel else ()).run()
    text = _translation_unit(unit)
    sites, host = tuple(unit.sites), hosts[id(kernel)]
    return CudaProgram(text, host, sites, slots, unit.guarded, unit.atomics)


_PACK = """\
template <typename T, int N>
struct alignas(sizeof(T) * N) pack {  // neighbours, read and written at once
  T at[N];
};

template <typename... P>
static __device__ __forceinline__ bool aligned(P... places) {  // at multiples of 16 bytes
  return (... | (unsigned long long)places) % 16 == 0;
}
"""


def _translation_unit(unit: Unit) -> str:
    packs = [_PACK] if unit.packs else []
    kernels = [text.replace("@", name, 1) for text, name in unit.kernels.items()]
    return "\n".join([*packs, *(text + "\n" for text in unit.functions.values()), *kernels])


@dataclass
class _Cutter:
    """One kernel Function being cut.

    Attributes:
        places: where its accesses are.
        hosts: host programs of what it invokes, by the identity of the kernel Functions.
        known: scalars that the host computes.
        views: buffers whose place depends on what is known on the device only.
        left: how often each value is still asked for by what has not been cut.
        pending: what gathers for one kernel, in order.
        asked: what that asks for.
        checked: checks among that which kernels that wait make themselves.
        waiting: kernels that are launched as soon as somebody needs what they do, in order.
        eqns: the host's, of the region that is being cut.
    """

    f: Function
    places: Places
    known: set[Value]
    unit: Unit
    hosts: dict[int, Function]
    left: Counter[Value] = field(default_factory=Counter)
    views: dict[Value, Eqn] = field(default_factory=dict)
    pending: list[Eqn] = field(default_factory=list)
    asked: set[Value] = field(default_factory=set)
    checked: set[int] = field(default_factory=set)
    waiting: list[Waiting] = field(default_factory=list)
    eqns: list[Eqn] = field(default_factory=list)

    @staticmethod
    def of(f: Function, unit: Unit, hosts: dict[int, Function], slots: Collection[int]) -> _Cutter:
        own = [p for i, p in enumerate(f.params) if i not in slots]
        params = {p for p in own if isinstance(p.type, ArrayType)}
        known = known_of(f.eqns, params)
        return _Cutter(f, Places(f), known, unit, hosts)

    def run(self) -> Function:
        self.left.update(v for e in self.f.eqns for v in references(e))
        self.left.update(self.f.results)
        for v in self.f.results:
            if isinstance(v.type, BufferType):
                self.left.update(v.type.symbolic)
        eqns = self.region(self.f.eqns)
        return replace(self.f, eqns=tuple(eqns), _hash=[])

    def region(self, eqns: Sequence[Eqn]) -> list[Eqn]:
        """What the host does for these."""
        saved, self.eqns = self.eqns, []
        for eqn in eqns:
            self.cut(eqn)
        self.flush()
        done, self.eqns = self.eqns, saved
        return done

    def cut(self, eqn: Eqn) -> None:
        if eqn.op is S.FREE:
            return  # memory goes when nothing names it
        if eqn.op in (S.ALLOC, S.CONSTANT) or self.is_hosts(eqn):
            if not self.knows(eqn.operands):
                self.flush()
            self.eqns.append(eqn)
        elif eqn.op is S.VIEW:
            self.eqns.append(eqn)
            if eqn.operands[0] in self.views or not self.knows(eqn.operands[1:]):
                self.views[eqn.result] = eqn
                self.pending.append(eqn)
                self.left.update(references(eqn))  # later kernels make it too
        elif _is_library_call(eqn):
            self.flush_for(eqn)
            self.host(eqn)
        elif eqn.op in HOSTS or (eqn.regions and drives(eqn)):
            self.flush()
            self.host(eqn)
        elif self.is_hosts_check(eqn):
            self.host(eqn)
        else:
            kernel = None if self.names_pending_memory(eqn) else self.spread(eqn)
            if kernel is None:
                self.pend(eqn)
            else:
                self.add_nest(eqn, kernel)

    def names_pending_memory(self, eqn: Eqn) -> bool:
        """Whether it asks for a buffer that only the pending kernel can tell."""
        loops = [e for e in self.pending if e.regions]
        buffers = {r for e in loops for r in e.results if isinstance(r.type, BufferType)}
        return not buffers.isdisjoint(references(eqn))

    def knows(self, values: Sequence[Value]) -> bool:
        return all(isinstance(v, Literal) or v in self.known for v in values)

    def is_hosts(self, eqn: Eqn) -> bool:
        return is_scalar_op(eqn) and eqn.result in self.known

    def is_hosts_check(self, eqn: Eqn) -> bool:
        """Whether the host can tell by itself that an error is to be raised, and may do so now."""
        if not is_check(eqn) or any(w.checks for w in self.waiting):
            return False
        inner = list(walk((eqn,)))
        own = {r for e in inner for r in e.results}
        asked = {v for v in references(eqn) if not isinstance(v, Literal)} - own
        exact = all(is_exact(e) for e in inner if is_scalar_op(e))
        before = any(e.op is S.RAISE for e in walk(self.pending))
        return exact and asked <= self.known and not before

    def host(self, eqn: Eqn) -> None:
        """A statement that the host carries out, its regions cut."""
        regions = eqn.regions
        if not is_check(eqn):
            regions = tuple(
                replace(r, eqns=tuple(self.region(r.eqns)), _hash=[]) for r in eqn.regions
            )
        attrs = eqn.attrs
        if eqn.op is S.INVOKE:
            attrs = {"callee": self.hosts[id(attrs["callee"])]}
        self.eqns.append(replace(eqn, regions=regions, attrs=attrs))
        if regions is eqn.regions:
            self.left.subtract(references(eqn))

    # -- nests over the grid ----------------------------------------------------------------------

    def spread(self, eqn: Eqn) -> Kernel | None:
        """The statement as a kernel over the grid, or None where it is not one."""
        if not is_parallel(eqn) or any(e.op is S.RAISE for e in walk((eqn,))):
            return None  # of errors, the first one wins
        nest = nest_of(eqn, self.places)
        points = [trips(level) for level in nest.levels]
        work = max((trips(e) or UNKNOWN for e in _inner_loops(nest.body)), default=1)
        is_tiny = None not in points and prod(n or 0 for n in points) * work <= TINY
        if is_tiny and not is_deep(eqn):
            return None
        return _kernel_of(nest, (), self.places)

    def add_nest(self, eqn: Eqn, kernel: Kernel) -> None:
        """Launch a nest later. Scalars that it needs and that are cheap, every thread computes, and
        checks that stand before it."""
        kernel = self.with_views(kernel)
        head = self.cloned(kernel)
        if head is None:
            self.close()
        else:
            kernel = replace(kernel, head=(*head, *kernel.head))
            self.checked |= {id(e) for e in head if is_check(e)}
        self.waiting.append(Waiting.of(kernel, self.places))
        self.left.subtract(references(eqn))

    def with_views(self, kernel: Kernel) -> Kernel:
        """The kernel with views that only the device can make."""
        views: list[Eqn] = []
        wanted = kernel.arguments()
        while wanted:
            v = wanted.pop()
            eqn = self.views.get(v)
            if eqn is not None and eqn not in views:
                views.append(eqn)
                wanted += references(eqn)
        order = {id(e): n for n, e in enumerate(self.views.values())}
        views.sort(key=lambda e: order[id(e)])
        return replace(kernel, head=(*kernel.head, *views))

    def cloned(self, kernel: Kernel) -> list[Eqn] | None:
        """The pending equations that a nest has to do itself, where nothing else of what is pending
        concerns it; None where they have to be run before it."""
        if not self.pending:
            return []
        wanted = set(kernel.arguments())
        taken: list[Eqn] = []
        rest: list[Eqn] = []
        for eqn in reversed(self.pending):
            if is_check(eqn) or not wanted.isdisjoint(eqn.results):
                wanted.update(references(eqn))
                taken.append(eqn)
            else:
                rest.append(eqn)
        if len(taken) > MOST_CLONED:
            return None
        nest = touched((*kernel.head, *kernel.eqns), self.places)
        stored = {*self.places.stored(walk(self.pending)), *nest.writes}
        if not all(is_check(e) or self.places.is_free(e, stored) for e in taken):
            return None
        others = touched(rest, self.places)
        if others.raises or clash(replace(others, asks=set(), binds=set()), nest):
            return None
        return taken[::-1]

    # -- kernels ----------------------------------------------------------------------------------

    def pend(self, eqn: Eqn) -> None:
        """Put a statement into the kernel of what is small, or begin another one where that would
        have too many arguments."""
        if self.pending and not self.names_pending_memory(eqn):
            asked = self.asked.union(references(eqn))
            if len(asked) > MOST_ASKED:
                self.close()
        self.pending.append(eqn)
        self.asked.update(v for v in references(eqn) if not isinstance(v, Literal))
        self.asked.difference_update(bound_in((eqn,)))

    def close(self) -> None:
        """What is pending is a kernel that waits, if anybody asks for what it does."""
        if not self.pending:
            return
        eqns, self.pending = tuple(self.pending), []
        self.asked.clear()
        within = Counter(v for e in eqns for v in references(e))
        wanted = [v for e in eqns for v in e.results if self.left[v] > within[v]]
        self.left.subtract(within)
        if not wanted and all(_is_idle(e) or id(e) in self.checked for e in eqns):
            return
        outputs = tuple(v for v in wanted if isinstance(v.type, ArrayType))
        for kernel in _apart(Kernel((), (), eqns, True, outputs), self.places):
            self.waiting.append(Waiting.of(self.with_views(kernel), self.places))

    def flush(self) -> None:
        """Launch all that waits."""
        self.close()
        waiting, self.waiting = self.waiting, []
        self.launch_steps(waiting)

    def flush_for(self, eqn: Eqn) -> None:
        """Launch what a library call needs to have been done, and what can go with it."""
        is_product = eqn.op is PRODUCT
        does = (done_by if is_product else _touched_by_call)(eqn, self.places)
        if any(clash(touched((e,), self.places), does) for e in self.pending):
            self.close()
        steps = in_steps(self.waiting)
        last = max(
            (n for n, step in enumerate(steps) for one in step if clash(one.does, does)), default=-1
        )
        now = {id(one) for step in steps[: last + 1] for one in step}
        waiting = [one for one in self.waiting if id(one) in now]
        self.waiting = [one for one in self.waiting if id(one) not in now]
        self.launch_steps(waiting)

    def launch_steps(self, waiting: Sequence[Waiting]) -> None:
        for step in in_steps(waiting):
            for kernels in grouped(step):
                self.launch(kernels)

    def launch(self, kernels: Sequence[Kernel]) -> None:
        """Launch kernels that do not depend on each other, as one."""
        name = c_name(self.f.name)
        if len(kernels) > 1:
            group = write_group(kernels, name, self.passing, self.places.roots, self.unit)
            extents: Sequence[Value] = (as_value(0), as_value(group.blocks))
            levels, per_block, written = 1, 1, group.written
            arguments, outputs, threads = group.arguments, group.outputs, group.threads
        else:
            (kernel,) = kernels
            written = write_kernel(kernel, self.passing, self.places.roots, self.unit)
            extents = [v for level in kernel.levels for v in level.operands]
            told = self.knows(extents)
            extents, levels = (extents, len(kernel.levels)) if told else ((), 0)
            if kernel.product is not None:
                extents, levels = (as_value(0), as_value(kernel.product.blocks)), 1
            per_block = written.per_block if told else 0
            arguments, outputs, threads = kernel.arguments(), kernel.outputs, kernel.threads
        names = self.unit.kernels
        attrs = {
            "kernel": names.setdefault(written.text, f"{name}_{len(names)}"),
            "extents": levels,
            "per_block": per_block,
            "threads": threads,
            "passing": tuple(map(self.passing, arguments)),
            "scratch": written.scratch,
            "moved": traffic(kernels, self.places.roots),
            "results": tuple(v.type for v in outputs),
        }
        loc = (kernels[0].levels or kernels[0].eqns)[0].loc
        self.eqns.append(Eqn(LAUNCH, (*extents, *arguments), attrs, (), tuple(outputs), loc))

    def passing(self, v: Value) -> str:
        if isinstance(v.type, BufferType):
            return POINTER
        return BY_VALUE if v in self.known else SLOT


def _is_idle(eqn: Eqn) -> bool:
    return is_scalar_op(eqn) or eqn.op in (S.LOAD, S.VIEW)


def _apart(kernel: Kernel, places: Places) -> list[Kernel]:
    """A kernel of one block as several, where it consists of nests that do not concern each other,
    each with all that is computed for them, and of scalars."""
    head = tuple(e for e in kernel.eqns if _is_idle(e) or is_check(e))
    loops = [e for e in kernel.eqns if not (_is_idle(e) or is_check(e))]
    if len(loops) < 2 or not all(map(is_parallel, loops)):
        return [kernel]
    does = [touched((e,), places) for e in loops]
    stored = {root for one in does for root in one.writes}
    free = all(is_check(e) or places.is_free(e, stored) for e in head)
    if not free or any(d.raises for d in does):
        return [kernel]
    if any(clash(a, b) for n, b in enumerate(does) for a in does[:n]):
        return [kernel]
    nests = [nest_of(e, places) for e in loops]
    apart = [_kernel_of(nest, head, places) for nest in nests]
    if kernel.outputs:
        apart.append(Kernel((), (), head, True, kernel.outputs))
    return apart


def _kernel_of(nest: Nest, head: tuple[Eqn, ...], places: Places) -> Kernel:
    """A nest over the grid: a thread, or a block, for each point, or a block for a tile of them."""
    eqns = (*nest.prefix, *nest.body)
    if _is_for_blocks(nest):
        return Kernel(nest.levels, head, eqns, True)
    product = find_product(nest.levels, eqns, places)
    return Kernel(nest.levels, head, eqns, False, product=product)


def _is_for_blocks(nest: Nest) -> bool:
    """Whether a block, not a thread, does each point of a nest."""
    work = max((trips(e) or UNKNOWN for e in _inner_loops(nest.body)), default=0)
    points = [trips(level) for level in nest.levels]
    few = None in points or prod(n or 0 for n in points) < LARGE
    return local_bytes(walk(nest.body)) > MOST_LOCAL or work >= (32 if few else BLOCK_WORK)


def _is_library_call(eqn: Eqn) -> bool:
    if eqn.op is S.CALL_EXTERN:
        return not eqn.attrs["name"].startswith("host_")
    return eqn.op is PRODUCT


def _touched_by_call(eqn: Eqn, places: Places) -> Touched:
    """What a library call may read and write: all of what its pointers lead to."""
    roots = {places.roots[v]: None for v in eqn.operands if isinstance(v.type, BufferType)}
    may = {v for root in roots for v in root.may}
    asks, binds = set(references(eqn)), set(eqn.results)
    return Touched(asks, binds, dict(roots), dict(roots), may, may)


def prepared(f: Function, deterministic: bool = True, library: Has = no_library) -> Function:
    """A kernel Function with its loops as kernels want them."""
    f = flattened(exchanged(_hoisted_constants(folded_constants(f))))
    f = multiplied(with_half_products(f, library))
    f = settled(with_products(f, library), is_large)
    f = marked(f)
    f = merged(ordered(marked(split(f, drives)), drives), drives)
    f = marked(in_parts(contracted(f, drives), drives))
    f = owned(f if deterministic else with_atomics(f), drives)
    f = interchanged(f)
    return tiled(contracted(merged(f, drives), drives), drives)


def _inner_loops(eqns: Sequence[Eqn]) -> Iterator[Eqn]:
    """Loops whose iterations a block's threads could share."""
    return (
        e
        for e in walk(eqns)
        if (e.op is S.FOR and (e.attrs["kind"] != "seq" or is_chosen(e)))
        or find_scan(e) is not None
    )


def _hoisted_constants(f: Function) -> Function:
    """Constant memory in front of all."""
    found: list[Eqn] = []

    def without(region: Function) -> Function:
        eqns = []
        for eqn in region.eqns:
            if eqn.op is S.CONSTANT:
                found.append(eqn)
            else:
                eqns.append(replace(eqn, regions=tuple(map(without, eqn.regions))))
        return replace(region, eqns=tuple(eqns), _hash=[])

    rest = without(f)
    return replace(rest, eqns=(*found, *rest.eqns), _hash=[])
