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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import prod

from jitnet.codegen.cuda.kernels import Kernel, write_kernel
from jitnet.codegen.cuda.launch import BY_VALUE, LAUNCH, POINTER, SLOT, CudaProgram
from jitnet.codegen.cuda.marks import HOSTS, marked
from jitnet.codegen.cuda.memory import Places, references, walk
from jitnet.codegen.cuda.merge import UNKNOWN, interchanged, is_parallel, merged, nest_of
from jitnet.codegen.cuda.rows import Unit, is_scalar_op
from jitnet.codegen.cuda.split import folded_constants, split
from jitnet.codegen.cuda.statements import MOST_LOCAL, local_bytes, trips
from jitnet.codegen.cuda.text import c_name
from jitnet.codegen.workspace import static_bytes
from jitnet.ir import ArrayType, BufferType, Eqn, Function, Literal, Value
from jitnet.kernel import statements as S

LARGE = 8192
"""Nests of so many points are launches of their own, in loops too."""

BLOCK_WORK = 64
"""Inner loops of so many iterations are a block's work, not a thread's."""

TINY = 1024
"""Nests of at most so many points gather with what stands around them."""

MOST_CLONED = 24
"""Scalars that each thread of a nest computes for itself, rather than one kernel before it."""


def cut(kernel: Function) -> CudaProgram:
    """The CUDA C++ of a kernel Function, and the program that launches it."""
    functions = (*reversed(kernel.callees()), kernel)
    unit = Unit(guarded=any(e.op is S.RAISE for f in functions for e in f.walk()))
    hosts: dict[int, Function] = {}
    for f in functions:
        hosts[id(f)] = _Cutter.of(f, unit, hosts).run()
    return CudaProgram(_translation_unit(unit), hosts[id(kernel)], tuple(unit.sites))


_PACK = """\
template <typename T, int N>
struct alignas(sizeof(T) * N) pack {  // neighbours, read and written at once
  T at[N];
};
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
    eqns: list[Eqn] = field(default_factory=list)

    @staticmethod
    def of(f: Function, unit: Unit, hosts: dict[int, Function]) -> _Cutter:
        f = marked(_hoisted_constants(folded_constants(f)))
        f = merged(interchanged(marked(split(f, drives))), drives)
        params = {p for p in f.params if isinstance(p.type, ArrayType)}
        known = _known(f.eqns, params)
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
        elif eqn.op in HOSTS or (eqn.regions and drives(eqn)):
            self.flush()
            self.host(eqn)
        else:
            kernel = self.spread(eqn)
            if kernel is None:
                self.pending.append(eqn)
            else:
                self.launch_nest(eqn, kernel)

    def knows(self, values: Sequence[Value]) -> bool:
        return all(isinstance(v, Literal) or v in self.known for v in values)

    def is_hosts(self, eqn: Eqn) -> bool:
        return is_scalar_op(eqn) and eqn.result in self.known

    def host(self, eqn: Eqn) -> None:
        """A statement that the host carries out, its regions cut."""
        regions = [replace(r, eqns=tuple(self.region(r.eqns)), _hash=[]) for r in eqn.regions]
        attrs = eqn.attrs
        if eqn.op is S.INVOKE:
            attrs = {"callee": self.hosts[id(attrs["callee"])]}
        self.eqns.append(replace(eqn, regions=tuple(regions), attrs=attrs))
        if not eqn.regions:
            self.left.subtract(references(eqn))

    # -- nests over the grid ----------------------------------------------------------------------

    def spread(self, eqn: Eqn) -> Kernel | None:
        """The statement as a kernel over the grid, or None where it is not one."""
        if not is_parallel(eqn) or any(e.op is S.RAISE for e in walk((eqn,))):
            return None  # of errors, the first one wins
        nest = nest_of(eqn, self.places)
        levels, inner = nest.levels, nest.body
        work = max((trips(e) or UNKNOWN for e in _inner_loops(inner)), default=0)
        points = [trips(level) for level in levels]
        count = None if None in points else prod(n or 0 for n in points)
        if not work and count is not None and count <= TINY:
            return None
        few = count is None or count < LARGE
        local = local_bytes(walk(inner))
        blocks = local > MOST_LOCAL or work >= BLOCK_WORK or (work >= 32 and few)
        return Kernel(levels, (), (*nest.prefix, *inner), blocks)

    def launch_nest(self, eqn: Eqn, kernel: Kernel) -> None:
        """Launch a nest; scalars that it needs and that are cheap, every thread computes."""
        kernel = self.with_views(kernel)
        head = self.cloned(kernel)
        if head is None:
            self.flush()
        else:
            kernel = replace(kernel, head=(*head, *kernel.head))
        self.launch(kernel)
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
        """The pending equations that a nest needs, or None where they have to be run before it."""
        if not self.pending:
            return []
        stored = self.places.stored(walk(kernel.eqns))
        if not all(self.places.is_free(e, stored) for e in self.pending):
            return None
        wanted = set(kernel.arguments())
        taken: list[Eqn] = []
        for eqn in reversed(self.pending):
            if not wanted.isdisjoint(eqn.results):
                wanted.update(references(eqn))
                taken.append(eqn)
        if len(taken) > MOST_CLONED:
            return None
        return taken[::-1]

    # -- kernels ----------------------------------------------------------------------------------

    def flush(self) -> None:
        """Launch what is pending, if anybody asks for it."""
        if not self.pending:
            return
        eqns, self.pending = self.pending, []
        within = Counter(v for e in eqns for v in references(e))
        wanted = [v for e in eqns for v in e.results if self.left[v] > within[v]]
        self.left.subtract(within)
        if not wanted and all(is_scalar_op(e) or e.op in (S.LOAD, S.VIEW) for e in eqns):
            return
        outputs = tuple(v for v in wanted if isinstance(v.type, ArrayType))
        kernel = Kernel((), (), tuple(eqns), True, outputs)
        self.launch(self.with_views(kernel))

    def launch(self, kernel: Kernel) -> None:
        arguments = kernel.arguments()
        passing = tuple(map(self.passing, arguments))
        written = write_kernel(kernel, passing, self.places.roots, self.unit)
        kernels = self.unit.kernels
        name = kernels.setdefault(written.text, f"{c_name(self.f.name)}_{len(kernels)}")
        extents = [v for level in kernel.levels for v in level.operands]
        told = self.knows(extents)
        attrs = {
            "kernel": name,
            "extents": len(kernel.levels) if told else 0,
            "per_block": written.per_block if told else 0,
            "threads": kernel.threads,
            "passing": passing,
            "scratch": written.scratch,
            "results": tuple(v.type for v in kernel.outputs),
        }
        loc = (kernel.levels or kernel.eqns)[0].loc
        self.eqns.append(
            Eqn(LAUNCH, (*(extents if told else ()), *arguments), attrs, (), kernel.outputs, loc)
        )

    def passing(self, v: Value) -> str:
        if isinstance(v.type, BufferType):
            return POINTER
        return BY_VALUE if v in self.known else SLOT


# -- what a statement is ---------------------------------------------------------------------------


def drives(eqn: Eqn) -> bool:
    """Whether the host carries out a loop or branch, statement by statement."""
    if is_parallel(eqn) and eqn.attrs["kind"] == "parallel":
        return False
    inner = list(walk((eqn,)))
    if any(e.op in HOSTS or _is_dynamic(e) for e in inner):
        return True
    if any(isinstance(r.type, BufferType) for r in eqn.results):
        return True
    if eqn.op is S.FOR and eqn.attrs["kind"] != "seq":
        return False
    return any(_points(region.eqns) >= LARGE for region in eqn.regions)


def _is_dynamic(eqn: Eqn) -> bool:
    if eqn.op is not S.ALLOC:
        return False
    return bool(eqn.attrs.get("heap")) or static_bytes(eqn.result.buffer_type) is None


def _points(eqns: Sequence[Eqn]) -> int:
    """The size of the largest nest of independent loops in a region."""
    most = 0
    for eqn in eqns:
        inner = max((_points(r.eqns) for r in eqn.regions), default=0)
        if eqn.op is S.FOR and eqn.attrs["kind"] != "seq":
            inner = max(inner, 1) * (trips(eqn) or UNKNOWN)
        most = max(most, inner)
    return most


def _inner_loops(eqns: Sequence[Eqn]) -> Iterator[Eqn]:
    """Loops whose iterations a block's threads could share."""
    return (e for e in walk(eqns) if e.op is S.FOR and e.attrs["kind"] != "seq")


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


# -- what the host knows ---------------------------------------------------------------------------


def _known(eqns: Sequence[Eqn], given: set[Value]) -> set[Value]:
    """The scalars that the host can compute without asking the device: integers of integers that
    it knows, in loops that it drives too."""
    known = set(given)
    for eqn in eqns:
        if is_scalar_op(eqn):
            if _is_exact(eqn) and all(isinstance(v, Literal) or v in known for v in eqn.operands):
                known.add(eqn.result)
        elif eqn.op is S.TAPE_LENGTH or eqn.op is S.TAPE_EXTENT:
            known.update(eqn.results)
        elif eqn.regions and drives(eqn):
            known |= _known_of_driven(eqn, known)
    return known


def _is_exact(eqn: Eqn) -> bool:
    return not any(v.dtype.is_float for v in (*eqn.operands, eqn.result))


def _known_of_driven(eqn: Eqn, known: set[Value]) -> set[Value]:
    def is_known(v: Value) -> bool:
        return isinstance(v, Literal) or v in known

    if eqn.op is S.IF:
        for region in eqn.regions:
            known = known | _known(region.eqns, known)
        ends = zip(eqn.results, *(r.results for r in eqn.regions))
        return known | {r for r, a, b in ends if is_known(a) and is_known(b)}
    first = 2 if eqn.op is S.FOR else 0
    initial, bodies = eqn.operands[first:], eqn.regions
    carried = {i for i, v in enumerate(initial) if is_known(v)}
    outside = known
    while True:
        known = set(outside)
        for region in bodies:
            params = region.params[-len(initial) :] if initial else ()
            known.update(p for i, p in enumerate(params) if i in carried)
            known.update(region.params[: len(region.params) - len(initial)])
            known = _known(region.eqns, known)
        kept = {i for i in carried if is_known(bodies[-1].results[i])}
        if kept == carried:
            break
        carried = kept
    return known | {eqn.results[i] for i in carried}
