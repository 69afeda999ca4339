"""Array IR to kernel IR: the one place where storage is decided.

    %b = update %a, %v, %i      store %a.buf, %v, %i      // in place: nothing reads %a any more

Equations are lowered in program order. Scalars become kernel scalars at once; views stay unwritten
(`Lazy`); fused equations and ops with loops of their own write new memory, the caller's result
buffers where they can, or the memory of what they replace. An update is in place unless the old
content is read later: then the smaller of the two, what is read later or the whole, is copied and
the copy is reported.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from jitnet.codegen import control
from jitnet.codegen.calls import Callees
from jitnet.codegen.origin import element_by_element, written
from jitnet.codegen.overwriting import values_written, without_update, writes_as_it_reads
from jitnet.codegen.schedule import emit_kernel
from jitnet.codegen.scoped import scope
from jitnet.codegen.storage import (
    Binding,
    Copy,
    Lazy,
    Place,
    Report,
    Root,
    box,
    c_strides,
    copy_elements,
    is_contiguous,
    k_value,
    strides_of,
)
from jitnet.ir import ArrayType, Dim, Eqn, Function, Literal, Value
from jitnet.kernel import indices as ix
from jitnet.kernel import statements as k
from jitnet.ops.control import FUSED
from jitnet.ops.primitive import Element, Kernel
from jitnet.ops.shape import RESHAPE, TRANSPOSE
from jitnet.ops.slicing import SLICE, UPDATE
from jitnet.passes.members import primitive


class Body:
    """Lowers the equations of one Function or region into the innermost open scope.

    Attributes:
        env: what each array value is at the kernel level.
        hints: places that values had best be computed in.
        callees: Functions that are invoked, lowered.
        last_use: the position of the last equation that reads a value; results are read last.
    """

    def __init__(
        self,
        f: Function,
        env: dict[Value, Binding],
        hints: dict[Value, Place],
        report: Report,
        callees: Callees,
    ) -> None:
        self.f = f
        self.callees = callees
        self.env = env
        self.hints = dict(hints)
        self.report = report
        self.position = 0
        self.heaps: list[Place] = []
        self.tapes: list[Value] = []
        self.last_use: dict[Value, int] = {}
        for i, eqn in enumerate(f.eqns):
            self.last_use.update(dict.fromkeys(eqn.operands, i))
        self.last_use.update(dict.fromkeys(f.results, len(f.eqns)))
        self._spread_hints()

    def _spread_hints(self) -> None:
        """What an update is to end in, its base had best begin in."""
        for i, eqn in reversed(list(enumerate(self.f.eqns))):
            for base, result in written(eqn):
                dies = base not in self.env and self.last_use.get(base) == i
                if result in self.hints and dies:
                    self.hints.setdefault(base, self.hints[result])

    def nested(
        self, region: Function, env: dict[Value, Binding], hints: dict[Value, Place]
    ) -> Body:
        return Body(region, env, hints, self.report, self.callees)

    def run(self) -> None:
        for i, eqn in enumerate(self.f.eqns):
            self.position = i
            scope().loc = eqn.loc
            self.lower(eqn)
        self.position = len(self.f.eqns)

    def lower(self, eqn: Eqn) -> None:
        if eqn.op in control.RULES:
            control.RULES[eqn.op](self, eqn)
            return
        if eqn.op is FUSED:
            self.lower_fused(eqn)
            return
        rule = primitive(eqn).lowering(eqn)
        if isinstance(rule, Element) and eqn.result.rank == 0:
            self.bind(eqn.result, rule.emit(_Context(self, eqn), eqn, ()))
        elif isinstance(rule, Element):
            self.bind(eqn.result, self.reshaped(eqn) or Lazy(eqn))
        elif isinstance(rule, Kernel):
            self.lower_kernel(eqn, rule)
        else:
            raise AssertionError(f"{eqn.op.name} outside of a kernel: was the function fused?")

    def reshaped(self, eqn: Eqn) -> Place | None:
        """Contiguous memory under other extents: to be written to as such where it is all of a
        piece, or what is only read."""
        place = self.env.get(eqn.operands[0])
        if eqn.op is not RESHAPE or not isinstance(place, Place) or not place.c_order:
            return None
        all_of_it = place.whole and place.root.writable
        if not all_of_it and (place.root.writable or not is_contiguous(place.buffer.buffer_type)):
            return None
        dims = self.kernel_dims(eqn.result)
        strides = [_as_dim(t) for t in c_strides([k_value(d) for d in dims])]
        buffer = k.view(place.buffer, 0, dims, strides, eqn.result.name)
        return replace(place, buffer=buffer)

    # -- values -----------------------------------------------------------------------------------

    def bind(self, v: Value, binding: Binding) -> None:
        if v in self.env:
            for root in self.memory(v):
                if v in root.values:
                    root.values.remove(v)
        self.env[v] = binding
        for root in self.memory(v):
            root.values.append(v)

    def roots(self, v: Value) -> list[Root]:
        """The memory that reading v reads."""
        binding = self.env.get(v)
        if isinstance(binding, Place):
            return [binding.root]
        if isinstance(binding, Lazy):
            return [r for o in binding.eqn.operands if o.rank for r in self.roots(o)]
        return []

    def memory(self, v: Value) -> list[Root]:
        """All memory that reading v may read: the roots, and what they may be."""
        return [m for root in self.roots(v) for m in (root, *root.among)]

    def scalar(self, v: Value) -> Value:
        """A rank-0 value as a kernel scalar."""
        if isinstance(v, Literal):
            return v
        binding = self.env[v]
        assert isinstance(binding, Value), f"{v} is no scalar"
        return binding

    def dim(self, dim: Dim) -> Value:
        return k.as_index(dim) if isinstance(dim, int) else self.scalar(dim)

    def dims(self, v: Value) -> list[Value]:
        return [self.dim(d) for d in v.dims]

    def kernel_dims(self, v: Value) -> list[Dim]:
        return [d if isinstance(d, int) else self.scalar(d) for d in v.dims]

    def element(self, v: Value, index: Sequence[Value]) -> Value:
        """The element of v at `index`, as a kernel scalar."""
        binding = v if isinstance(v, Literal) else self.env[v]
        if isinstance(binding, Place):
            return k.load(binding.buffer, *index)
        if isinstance(binding, Lazy):
            rule = primitive(binding.eqn).lowering(binding.eqn)
            assert isinstance(rule, Element)
            return rule.emit(_Context(self, binding.eqn), binding.eqn, tuple(index))
        return binding

    def place(self, v: Value) -> Place:
        """Memory that holds v, made now if there was none."""
        binding = self.env[v]
        return binding if isinstance(binding, Place) else self.materialise(v)

    def buffer(self, v: Value) -> Value:
        """A buffer that shows v: v's own, a strided view of another's, or new memory."""
        binding = self.env[v]
        if isinstance(binding, Place):
            return binding.buffer
        strided = self.strided(v)
        if strided is None:
            return self.materialise(v).buffer
        base, offset, strides = strided
        dims = self.kernel_dims(v)
        return k.view(base, offset, dims, [_as_dim(t) for t in strides], v.name)

    def strided(self, v: Value) -> tuple[Value, Value, tuple[Value, ...]] | None:
        """v as strided memory of another value: `(buffer, offset, strides)`."""
        binding = self.env[v]
        if isinstance(binding, Place):
            return binding.buffer, k.as_index(0), strides_of(binding.buffer)
        assert isinstance(binding, Lazy)
        rule = primitive(binding.eqn).lowering(binding.eqn)
        if not isinstance(rule, Element) or rule.strided is None:
            return None
        source = binding.eqn.operands[0]
        inner = self.strided(source) if source.rank else None
        if inner is None:
            return None
        base, offset, strides = inner
        mapped = rule.strided(binding.eqn, self.dim, offset, strides)
        return None if mapped is None else (base, *mapped)

    def alive_after(self, root: Root) -> list[Value]:
        """Values in this memory that later equations read."""
        return [v for v in root.values if self.last_use.get(v, -1) > self.position]

    def busy(self, root: Root) -> bool:
        """Whether this equation or a later one reads this memory."""
        return any(self.last_use.get(v, -1) >= self.position for v in root.values)

    # -- memory -----------------------------------------------------------------------------------

    def new(self, v: Value, heap: bool = False) -> Place:
        """Fresh memory of v's type."""
        dims = self.kernel_dims(v)
        dynamic = heap or any(isinstance(d, Value) for d in dims)
        place = Place(k.alloc(v.dtype, dims, v.name, heap), Root(True, dynamic))
        if dynamic:
            self.heaps.append(place)
        return place

    def target(self, v: Value) -> Place:
        """Memory to compute v in: where it is wanted in the end if that is free, else fresh."""
        hint = self.hints.get(v)
        return hint if hint is not None and not self.busy(hint.root) else self.new(v)

    def materialise(self, v: Value, heap: bool = False) -> Place:
        """Write v to memory of its own."""
        place = self.new(v, heap=True) if heap else self.target(v)
        buffer = place.buffer
        box(self.dims(v), lambda index: k.store(buffer, self.element(v, index), *index))
        self.note_copy(v, "a view is needed as memory")
        self.report.kernels += 1
        self.bind(v, place)
        return place

    def copy(self, v: Value, place: Place, reason: str) -> None:
        """Write v's elements to a place."""
        binding = self.env[v]
        if isinstance(binding, Place):
            copy_elements(binding.buffer, place.buffer, self.dims(v))
        else:
            buffer = place.buffer
            box(self.dims(v), lambda index: k.store(buffer, self.element(v, index), *index))
        self.note_copy(v, reason)

    def move(self, v: Value, place: Place, reason: str) -> None:
        """See to it that v is in this very place; what else is there and still read goes aside."""
        binding = self.env[v]
        if isinstance(binding, Place) and binding.root is place.root and binding.whole:
            return
        for w in [w for w in place.root.values if self.last_use.get(w, -1) >= self.position]:
            if w is not v:
                self.snapshot(w)
        if isinstance(binding, Lazy) and place.root in self.memory(v):
            self.snapshot(v)  # each element would be read after others are overwritten
        self.copy(v, place, reason)
        self.bind(v, place)

    def note_copy(self, v: Value, reason: str) -> None:
        self.report.copies.append(Copy(v.array_type, reason, scope().loc))

    def acquire(self, v: Value, result: Value) -> Place:
        """Memory with v's content that may be overwritten to become `result`."""
        binding = self.env[v]
        if isinstance(binding, Lazy):
            place = self.target(result)
            self.copy(v, place, "an update begins with it")
            return place
        assert isinstance(binding, Place)
        if binding.whole and binding.root.writable:
            later = self.alive_after(binding.root)
            views = [w for w in later if isinstance(self.env[w], Lazy)]
            if later and len(later) == len(views) and self.is_less(views, v):
                for w in views:
                    self.snapshot(w)
                later = []
            if not later:
                return binding
        place = self.target(result)
        readers = ", ".join(f"%{w.name}" for w in self.alive_after(binding.root) if w.name)
        why = (
            f"{readers or 'the old content'} is read later"
            if binding.root.writable
            else ("an argument must keep its content")
        )
        self.copy(v, place, why)
        return place

    def is_less(self, views: Sequence[Value], base: Value) -> bool:
        """Whether copying these views moves less than copying the base: as sizes tell, or else as
        each is a slice."""
        sizes = [_size(v) for v in views]
        whole = _size(base)
        if whole is None or None in sizes:
            return all(_size(v) is not None or self.is_part(v) for v in views)
        return sum(n for n in sizes if n) < whole

    def is_part(self, view: Value) -> bool:
        """Whether a view shows a slice, and none of its elements twice."""
        sliced = False
        while isinstance(binding := self.env[view], Lazy):
            if binding.eqn.op not in (SLICE, RESHAPE, TRANSPOSE):
                return False
            sliced = sliced or binding.eqn.op is SLICE
            view = binding.eqn.operands[0]
        return sliced

    def snapshot(self, view: Value) -> None:
        """Keep what a view shows before its memory is overwritten."""
        place = self.target(view)
        self.copy(view, place, "a view is read after its memory is overwritten")
        self.bind(view, place)

    def release(self, kept: Sequence[Root]) -> None:
        """Free what this body allocated at run time, but for what it hands on."""
        for place in self.heaps:
            if place.root not in kept:
                k.free(place.buffer)
        for tape in self.tapes:
            k.tape_free(tape)

    def owned(self, v: Value, memory: Value) -> Place:
        """Heap memory that a branch handed out, as v's from now on."""
        dims = self.kernel_dims(v)
        strides = [_as_dim(t) for t in c_strides([k_value(d) for d in dims])]
        place = Place(k.view(memory, 0, dims, strides, v.name), Root(True, heap=True))
        self.heaps.append(place)
        return place

    def give_up(self, v: Value) -> Value:
        """The address of v in heap memory that is no longer this body's to free."""
        place = self.place(v)
        mine = next((h for h in self.heaps if h.root is place.root), None)
        if mine is None or not place.root.heap or self.shared(place.root, v):
            place = mine = self.materialise(v, heap=True)
        self.heaps.remove(mine)
        return k.view(place.buffer, 0, [], [])

    def shared(self, root: Root, v: Value) -> bool:
        """Whether another value that is still read lives in this memory."""
        return any(w is not v and self.last_use.get(w, -1) >= self.position for w in root.values)

    # -- equations that write ---------------------------------------------------------------------

    def lower_kernel(self, eqn: Eqn, rule: Kernel) -> None:
        """An op with loops or routines of its own."""
        op = primitive(eqn)
        outputs: dict[Value, Place] = {}
        if op.writes is not None:
            outputs[eqn.result] = self.acquire(eqn.operands[op.writes], eqn.result)
        arrays = [r for r in eqn.results if r.rank]
        if rule.bound is not None:
            for r, dims in zip(arrays, [d for d in rule.bound(eqn) if d]):
                bound = [d if isinstance(d, int) else self.scalar(d) for d in dims]
                place = Place(k.alloc(r.dtype, bound, r.name, heap=True), Root(True, heap=True))
                self.heaps.append(place)
                outputs[r] = place
        written_roots = [p.root for p in outputs.values()]
        inputs = [
            outputs[eqn.result].buffer if i == op.writes else self.input(v, rule, written_roots)
            for i, v in enumerate(eqn.operands)
        ]
        for r in arrays:
            if r not in outputs:
                place = self.target(r)
                outputs[r] = place if place.c_order else self.new(r)
        buffers = [outputs[r].buffer for r in arrays]
        scalars = iter(rule.emit(_Context(self, eqn), eqn, inputs, buffers))
        for r in eqn.results:
            if r.rank == 0:
                self.bind(r, next(scalars))
        for r in arrays:
            self.bind(r, self.shrunk(r, outputs[r]) if rule.bound else outputs[r])
        self.report.kernels += 1

    def shrunk(self, v: Value, place: Place) -> Place:
        """The leading part of memory that was allocated for the largest v."""
        dims = self.kernel_dims(v)
        strides = [_as_dim(t) for t in c_strides([k_value(d) for d in dims])]
        return Place(k.view(place.buffer, 0, dims, strides, v.name), place.root)

    def input(self, v: Value, rule: Kernel, written_roots: Sequence[Root]) -> Value:
        if v.rank == 0:
            return self.scalar(v)
        if any(r in written_roots for r in self.roots(v)):
            self.snapshot(v)  # it would be overwritten while it is read
        elif rule.elementwise and isinstance(self.env[v], Lazy):
            return v  # computed as it is read
        return self.buffer(v)

    def lower_fused(self, eqn: Eqn) -> None:
        """A group of equations as one kernel."""
        (region,) = eqn.regions
        outer = dict(zip(region.params, eqn.operands))
        updates = [e for e in region.eqns if e.op is UPDATE and e.result in region.results]
        places: dict[Value, Place] = {}
        clashing: Eqn | None = None
        results = dict(zip(region.results, eqn.results))
        for update in updates:
            base = outer[update.operands[0]]
            place = self.acquire(base, results[update.result])
            places[update.result] = place
            if self.clashes(region, eqn, update, outer, place.root):
                clashing = update
        if clashing is not None:
            self.lower_clashing(eqn, clashing, places[clashing.result])
            return
        memory = _KernelMemory(self, eqn, outer, results, places)
        scalars = emit_kernel(region, eqn.attrs["rows"], memory)
        memory.release()
        for inner, result in results.items():
            self.bind(result, places[inner] if result.rank else scalars[inner])
        self.report.kernels += 1

    def clashes(
        self, region: Function, eqn: Eqn, update: Eqn, outer: Mapping[Value, Value], root: Root
    ) -> bool:
        """Whether the kernel reads the memory it overwrites at other elements than it writes, and
        not all of it before it writes the only one."""
        values = values_written(region, update).values
        if all(d == 1 for d in values[0].dims):
            return False
        for p in region.params:
            if p.rank == 0 or root not in self.roots(outer[p]):
                continue
            if p in values:
                return True
            readers = [e for e in region.eqns if p in e.operands and e is not update]
            if readers and (eqn.attrs["rows"] is not None or p is not update.operands[0]):
                return True
        return not writes_as_it_reads(region, update)

    def lower_clashing(self, eqn: Eqn, update: Eqn, place: Place) -> None:
        """The kernel first computes the new content aside, as NumPy does, then writes it."""
        (region,) = eqn.regions
        written = values_written(region, update)
        outs = dict(zip(region.results, eqn.results))
        result = outs.pop(update.result)
        outer = dict(zip(region.params, eqn.operands))
        eqns, values = without_update(region, update)
        for value in values:
            if value not in outs:
                dims = tuple(self.outer_dim(d, outer) for d in value.dims)
                outs[value] = Value(ArrayType(value.dtype, dims), value.name)
                self.last_use[outs[value]] = self.position
        held = [outs[value] for value in values]
        aside = Function(region.name, region.params, eqns, tuple(outs), region.level)
        base = outer[update.operands[0]]
        last = self.last_use[base]
        self.last_use[base] = self.position + 1  # "aside" is not in the memory that is read
        self.lower_fused(
            Eqn(FUSED, eqn.operands, eqn.attrs, (aside,), tuple(outs.values()), eqn.loc)
        )
        self.last_use[base] = last
        rank = update.operands[1].rank
        starts = [self.scalar(outer.get(o, o)) for o in update.operands[2 : 2 + rank]]
        sources = [self.buffer(v) for v in held]

        def write(index: tuple[Value, ...]) -> None:
            for source, at in zip(sources, written.places(index)):
                to = ix.box_index(at, starts, update.attrs["steps"])
                k.store(place.buffer, k.load(source, *index), *to)

        box(self.dims(held[0]), write)
        self.note_copy(held[0], "what is written is read elsewhere in the same statement")
        self.bind(result, place)

    def outer_dim(self, dim: Dim, outer: Mapping[Value, Value]) -> Dim:
        return dim if isinstance(dim, int) else outer[dim]


def _as_dim(value: Value) -> Dim:
    return int(value.item) if isinstance(value, Literal) else value


def _size(v: Value) -> int | None:
    if not v.array_type.is_static:
        return None
    n = 1
    for d in v.shape:
        n *= d
    return n


@dataclass(frozen=True)
class _Context:
    """What a lowering rule asks while it emits."""

    body: Body
    eqn: Eqn

    def load(self, operand: int, index: Sequence[Value]) -> Value:
        return self.body.element(self.eqn.operands[operand], index)

    def dim(self, dim: Dim) -> Value:
        return self.body.dim(dim)


@dataclass
class _KernelMemory:
    """The storage of one fused kernel."""

    body: Body
    eqn: Eqn
    outer: Mapping[Value, Value]
    results: Mapping[Value, Value]
    places: dict[Value, Place]
    buffers: dict[Value, Value | None] = field(default_factory=dict)
    scratched: list[Value] = field(default_factory=list)

    def element(self, param: Value, index: Sequence[Value]) -> Value:
        v = self.outer[param]
        if v.rank == 0:
            return self.body.scalar(v)
        if param not in self.buffers:
            shown = isinstance(self.body.env[v], Place) or self.body.strided(v) is not None
            self.buffers[param] = self.body.buffer(v) if shown else None
        buffer = self.buffers[param]
        return self.body.element(v, index) if buffer is None else k.load(buffer, *index)

    def dim(self, dim: Dim) -> Value:
        return self.body.dim(dim if isinstance(dim, int) else self.outer[dim])

    def output(self, result: Value) -> Value:
        if result not in self.places:
            v = self.results[result]
            self.places[result] = self.reused(result, v) or self.body.target(v)
        return self.places[result].buffer

    def reused(self, result: Value, v: Value) -> Place | None:
        """The memory of an operand that ends here, where the kernel does nothing but compute each
        element of the result from that of the operand."""
        (region,) = self.eqn.regions
        wanted = self.body.hints.get(v)
        for p in region.params:
            place = self.body.env.get(self.outer[p])
            if not isinstance(place, Place) or p.type != result.type:
                continue
            if not (place.whole and place.root.writable) or self.body.alive_after(place.root):
                continue
            if wanted is not None and wanted.root is not place.root:
                continue
            if any(place.root is taken.root for taken in self.places.values()):
                continue
            others = [q for q in region.params if q.rank and q is not p]
            if any(place.root in self.body.roots(self.outer[q]) for q in others):
                continue
            if element_by_element(region, result, p):
                return place
        return None

    def scratch(self, result: Value, dims: Sequence[Dim]) -> Value:
        extents = [d if isinstance(d, int) else self.body.scalar(self.outer[d]) for d in dims]
        buffer = k.alloc(result.dtype, extents, result.name)
        if any(isinstance(d, Value) for d in extents):
            self.scratched.append(buffer)
        return buffer

    def release(self) -> None:
        for buffer in self.scratched:
            k.free(buffer)
