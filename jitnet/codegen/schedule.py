"""One `fused` equation as one kernel: which loops, in what order, and what each computes.

    %m = reduce_max %x {axes=(1,)}        for r:                      # rows
    %e = exp (%x - broadcast %m)            for c: m = max(m, x[r,c])   # stage 0
    %s = reduce_sum %e {axes=(1,)}          for c: e = exp(...); s += e; row[c] = e   # stage 1
    %y = %e / broadcast %s                  for c: y[r,c] = row[c] / s  # stage 2

Loops over the leading `rows` dims hold stages, each a nest over the other dims whose innermost loop
is a vector loop. A reduction over the trailing dims ends its stage and is a scalar in the next one;
a value that a later stage reads again is kept in a row of scratch memory if it was expensive. Other
reductions ride along: in registers where their axes are trailing, in memory otherwise. Sums of
floats fold blocks of `BLOCK` terms into a compensated total (Neumaier), in an order that only the
shape decides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from jitnet.codegen.folds import Fold, Index, States, begin, unflatten
from jitnet.codegen.scoped import ScopedBuilder, pure_reads, scope
from jitnet.ir import Dim, Eqn, Function, Literal, Value, registry
from jitnet.kernel import indices as ix
from jitnet.kernel import scalars as s
from jitnet.kernel import statements as k
from jitnet.kernel.collapse import collapse
from jitnet.kernel.scalars import ScalarOp
from jitnet.ops.primitive import Element, Reduction
from jitnet.ops.slicing import UPDATE
from jitnet.passes.fuse import CHEAP
from jitnet.passes.members import (
    ENDS,
    is_free,
    iteration_dims,
    kept_rows,
    primitive,
    strip_units,
    written,
)

BLOCK = 512
"""Terms that one vector loop adds up before they are folded into the compensated total."""

COLUMN_ROWS = 8
"""Rows that a sum of columns takes in at a time."""

COLUMN_BODY = 8
"""Elementwise equations up to which a body is repeated for these rows."""


class Memory(Protocol):
    """What the kernel reads and writes, as the storage plan has it."""

    def element(self, param: Value, index: Sequence[Value]) -> Value:
        """The element of a region param at `index`, as a scalar."""
        ...

    def dim(self, dim: Dim) -> Value: ...

    def output(self, result: Value) -> Value:
        """The buffer for a region result of rank > 0 (for an update: what is written in place)."""
        ...

    def scratch(self, result: Value, dims: Sequence[Dim]) -> Value:
        """Memory for a value that only this kernel sees."""
        ...


@dataclass(eq=False)
class _Stage:
    """What one nest over the inner dims computes."""

    stores: list[Value] = field(default_factory=list)
    folds: list[Fold] = field(default_factory=list)
    rows: list[Value] = field(default_factory=list)
    order: list[Value] = field(default_factory=list)


def emit_kernel(region: Function, rows: int | None, memory: Memory) -> dict[Value, Value]:
    """Emit the loops; returns the scalars of the region's rank-0 results."""
    kernel = _Kernel(region, rows or 0, memory)
    kernel.plan()
    kernel.emit()
    return kernel.scalars


class _Kernel:
    def __init__(self, region: Function, rows: int, memory: Memory) -> None:
        self.region = region
        self.rows = rows
        self.memory = memory
        self.eqns = {r: eqn for eqn in region.eqns for r in eqn.results}
        self.position = {r: i for i, r in enumerate(self.eqns)}
        self.dims = self.iteration_space()
        self.outputs = {v: v for v in dict.fromkeys(region.results)}
        self.level: dict[Value, int] = {}
        self.costs: dict[Value, int] = {}
        self.stored: dict[Value, tuple[Value, bool]] = {}  # buffer, whether it is one row only
        self.row_scalars: dict[Value, Value] = {}
        self.row_index: Index = ()
        self.stage = 0
        self.stages: list[_Stage] = []
        self.folds: list[Fold] = []
        self.row_folds: list[Fold] = []
        self.row_ends: list[Value] = []
        self.scalars: dict[Value, Value] = {}

    def iteration_space(self) -> tuple[Dim, ...]:
        """The dims of what is returned or folded; inlined producers may have any others."""
        roots = [self.eqns[v] for v in self.region.results if v in self.eqns]
        roots += [e for e in self.region.eqns if isinstance(self.rule(e), Reduction)]
        return max((iteration_dims(eqn, self.eqns.get) for eqn in roots), key=len)

    # -- planning ---------------------------------------------------------------------------------

    def is_row(self, v: Value) -> bool:
        """Whether v has one element per row."""
        eqn = self.eqns.get(v)
        if not self.rows or (eqn is not None and eqn.op in ENDS):
            return False
        if eqn is not None and isinstance(self.rule(eqn), Reduction):
            return self.is_row_fold(eqn)
        return strip_units(v.dims) == strip_units(self.dims[: self.rows])

    def rule(self, eqn: Eqn) -> Element | Reduction | None:
        rule = primitive(eqn).lowering(eqn)
        return rule if isinstance(rule, (Element, Reduction)) else None

    def plan(self) -> None:
        """Give each value its stage, and each stage its work."""
        self.count_costs()
        for v, eqn in self.eqns.items():
            before = max((self.level.get(o, 0) for o in eqn.operands), default=0)
            ends_stage = isinstance(self.rule(eqn), Reduction) and self.is_row_fold(eqn)
            self.level[v] = before + 1 if ends_stage else before
        self.stages = [_Stage() for _ in range(1 + max(self.level.values(), default=0))]
        for v, eqn in self.eqns.items():
            if isinstance(rule := self.rule(eqn), Reduction):
                self.plan_fold(eqn, rule)
            elif v in self.outputs and eqn.op in ENDS and self.is_row(self.written(v)[0]):
                self.row_ends.append(v)
            elif v in self.outputs and not self.is_row(v):
                self.stages[self.level[v]].stores.append(v)
        for number in reversed(range(len(self.stages))):
            self.plan_stage(number)

    def is_row_fold(self, eqn: Eqn) -> bool:
        return self.rows > 0 and not self.is_row(eqn.operands[0]) and kept_rows(eqn) == self.rows

    def plan_fold(self, eqn: Eqn, rule: Reduction) -> None:
        operand = eqn.operands[0]
        axes = tuple(eqn.attrs["axes"])
        over_rows = self.is_row(operand)
        if over_rows:  # the operand has a dim a row, and perhaps unit dims after them
            axes = tuple(a for a in axes if a < self.rows)
        rank = self.rows if over_rows else len(self.dims)
        first = rank - len(axes)
        trailing = axes == tuple(range(first, rank))
        kept = tuple(a for a in range(rank) if a not in axes)
        target = None
        if eqn.result in self.outputs and eqn.result.rank:
            target = self.memory.output(eqn.result)
        op = registry("kernel")[rule.combine]
        assert isinstance(op, ScalarOp)
        fold = Fold(eqn, rule, op, first if trailing else None, kept, target)
        if over_rows:
            self.row_folds.append(fold)
        else:
            self.stages[self.level.get(operand, 0)].folds.append(fold)
        self.folds.append(fold)

    def plan_stage(self, number: int) -> None:
        """Walk back from what the stage must compute; what an earlier stage has is kept there."""
        stage = self.stages[number]
        roots = [*stage.stores, *(f.eqn.operands[0] for f in stage.folds)]
        seen: set[Value] = set()
        stack = [o for v in roots for o in self.written(v)]
        while stack:
            v = stack.pop()
            eqn = self.eqns.get(v)
            if eqn is None or v in seen:
                continue
            seen.add(v)
            if self.is_row(v) and not is_free(eqn):
                stage.rows.append(v)
                continue
            if self.level[v] < number and (v in self.outputs or self.cost(v) > CHEAP):
                earlier = self.stages[self.level[v]]
                if v not in earlier.stores:
                    earlier.stores.append(v)
                continue
            stack.extend(eqn.operands)
        stage.order = sorted(
            (v for v in seen if v.dims == self.dims and not is_free(self.eqns[v])),
            key=self.position.__getitem__,
        )

    def written(self, v: Value) -> Sequence[Value]:
        """What is computed for a root: for one that ends the group, what it is made of."""
        eqn = self.eqns.get(v)
        if eqn is None or eqn.op not in ENDS:
            return (v,)
        return written(eqn, self.eqns.get).values

    def cost(self, v: Value) -> int:
        """Flops to compute an element of v from the kernel's inputs; counted up to a bound."""
        return self.costs.get(v, 0)

    def count_costs(self) -> None:
        for v, eqn in self.eqns.items():
            rule = self.rule(eqn)
            own = rule.cost if isinstance(rule, Element) and not rule.view else 0
            self.costs[v] = min(own + sum(self.cost(o) for o in eqn.operands), CHEAP + 1)

    # -- emitting ---------------------------------------------------------------------------------

    def emit(self) -> None:
        for v in self.outputs:
            if v.rank:
                self.memory.output(v)
        for stage in self.stages:
            for v in stage.stores:
                self.place(v)
        for v in self.row_ends:
            self.place(v)
        for fold in self.folds:
            if fold.start is None:
                self.fill(fold)
        with pure_reads():
            across = [f for f in self.folds if f.start is not None and f.start < self.rows]
            states = begin(across, 0, {})
            self.finish(across, 0, (), self.nest_rows(across, (), states))
            if not self.folds:
                collapse(scope())

    def place(self, v: Value) -> None:
        if v in self.outputs:
            self.stored[v] = (self.memory.output(v), False)
        else:
            self.stored[v] = (self.memory.scratch(v, self.dims[self.rows :]), True)

    def fill(self, fold: Fold) -> None:
        """A fold in memory begins with its identity everywhere."""
        assert fold.target is not None
        target, identity = fold.target, fold.identity()
        self.box(fold.eqn.result.dims, lambda index: k.store(target, identity, *index))

    def box(self, dims: Sequence[Dim], body: Callable[[Index], None]) -> None:
        """Plain loops over dims, the innermost a vector loop."""

        def level(index: Index) -> None:
            axis = len(index)
            if axis == len(dims):
                return body(index)
            kind = "vector" if axis == len(dims) - 1 else "seq"
            k.loop(0, self.memory.dim(dims[axis]), lambda i: level((*index, i)), kind=kind)

        level(())
        collapse(scope())

    def nest_rows(self, across: Sequence[Fold], index: Index, states: States) -> States:
        """The loops over the leading dims, and inside them stage after stage. Folds `across` rows
        run through all of it."""
        if len(index) < self.rows:
            return self.axis_loop(across, index, states, self.nest_rows)
        self.row_index = index
        self.row_scalars = {}
        for number, stage in enumerate(self.stages):
            self.stage = number
            for v in sorted(stage.rows, key=self.position.__getitem__):
                if v not in self.row_scalars:
                    self.row_scalars[v] = self.value(v, self.row_padded(v))
            if stage.stores or stage.folds:
                states = self.nest_stage(stage, index, states)
        self.stage = len(self.stages)
        self.finish_row(index, states)
        return states

    def row_padded(self, v: Value) -> Index:
        zero = (k.as_index(0),) * (v.rank - min(v.rank, self.rows))
        return (*self.row_index[: v.rank], *zero)

    def finish_row(self, index: Index, states: States) -> None:
        for v in self.outputs:
            if v in self.eqns and self.is_row(v) and self.eqns[v].op not in ENDS:
                target = self.memory.output(v)
                k.store(target, self.value(v, self.row_padded(v)), *self.row_padded(v))
        for v in self.row_ends:
            at = self.row_padded(self.written(v)[0])
            self.store(v, self.computed(v, at), at)
        for fold in self.row_folds:
            operand = fold.eqn.operands[0]
            term = self.value(operand, self.row_padded(operand))
            self.fold_term(fold, term, index, states)

    def axis_loop(
        self,
        folds: Sequence[Fold],
        index: Index,
        states: States,
        inside: Callable[[Sequence[Fold], Index, States], States],
    ) -> States:
        """A sequential loop over the next axis, which carries the states of the running folds;
        those of `folds` that run over the axes after it begin and end inside."""
        axis = len(index)
        running = list(states)
        flat = [v for fold in running for v in states[fold]]

        def body(i: Value, *carried: Value) -> list[Value]:
            now = begin(folds, axis + 1, unflatten(running, carried))
            after = inside(folds, (*index, i), now)
            self.finish(folds, axis + 1, (*index, i), after)
            return [v for fold in running for v in after[fold]]

        extent = self.memory.dim(self.dims[axis])
        if isinstance(extent, Literal) and extent.item == 1:
            return unflatten(running, body(k.as_index(0), *flat))
        return unflatten(running, k.loop(0, extent, body, flat, name="ijkl"[min(axis, 3)]))

    def finish(self, folds: Sequence[Fold], axis: int, index: Index, states: States) -> None:
        """Folds that began at `axis` are complete: here are their results at `index`."""
        for fold in [f for f in folds if f.start == axis]:
            self.result(fold, fold.final(states.pop(fold)), index)

    def result(self, fold: Fold, value: Value, index: Index) -> None:
        result = fold.eqn.result
        if result.rank == 0:
            self.scalars[result] = value
        elif self.is_row(result):
            self.row_scalars[result] = value
        elif fold.target is not None:
            k.store(fold.target, value, *index)

    def nest_stage(self, stage: _Stage, index: Index, states: States) -> States:
        """One stage's loops over the inner dims. Folds across rows go on in it."""
        folds = [f for f in stage.folds if f.start is not None and f.start >= self.rows]
        waiting = {f: state for f, state in states.items() if f not in stage.folds}
        running = {f: state for f, state in states.items() if f in stage.folds}

        def inside(folds: Sequence[Fold], at: Index, now: States) -> States:
            if len(at) == self.innermost_axis(stage):
                return self.innermost(stage, at, now)
            if len(at) == len(self.dims) - 2 and self.adds_up_columns(stage):
                self.column_blocks(stage, at)
                return now
            return self.axis_loop(folds, at, now, inside)

        running = inside(folds, index, begin(folds, self.rows, running))
        self.finish(folds, self.rows, index, running)
        return {**waiting, **running}

    # -- the innermost axis -----------------------------------------------------------------------

    def innermost_axis(self, stage: _Stage) -> int:
        """The last axis but for those of extent 1, where no fold runs over these."""
        last = len(self.dims) - 1
        while last > self.rows and self.dims[last] == 1 and not stage.folds:
            last -= 1
        return last

    def innermost(self, stage: _Stage, index: Index, states: States) -> States:
        """The vector loop over the last axis, in blocks where a compensated sum asks for it."""
        extent = self.memory.dim(self.dims[len(index)])
        folds = list(stage.folds)
        if isinstance(extent, Literal) and extent.item == 1:
            at = (*index, *[ix.ZERO] * (len(self.dims) - len(index)))
            terms = self.element(stage, at)
            return self.fold_terms(folds, terms, at, states)
        over_last = [f for f in folds if self.last_is_reduced(f)]
        small = isinstance(extent, Literal) and extent.item <= 2 * BLOCK
        if small or not any(f.compensated for f in over_last):
            return self.vector_loop(stage, index, k.as_index(0), extent, states)
        running = list(states)
        blocks = s.floordiv(s.add(extent, BLOCK - 1), BLOCK)

        def block(b: Value, *carried: Value) -> list[Value]:
            low = s.mul(b, BLOCK)
            high = s.minimum(s.add(low, BLOCK), extent)
            now = unflatten(running, carried)
            after = self.vector_loop(stage, index, low, high, now)
            return [v for fold in running for v in after[fold]]

        flat = [v for fold in running for v in states[fold]]
        return unflatten(running, k.loop(0, blocks, block, flat, name="block"))

    # -- sums of columns --------------------------------------------------------------------------

    def adds_up_columns(self, stage: _Stage) -> bool:
        """Whether all folds are over the last axis but one, in memory: `x.sum(axis=0)`."""
        last = len(self.dims) - 1
        columns = [last in f.kept and last - 1 not in f.kept for f in stage.folds]
        small = len(stage.order) <= COLUMN_BODY
        return self.rows == 0 and bool(columns) and all(columns) and small

    def column_blocks(self, stage: _Stage, at: Index) -> None:
        """Several rows at a time, so that totals are loaded and stored once for all of them; in the
        order of the rows."""
        extent = self.memory.dim(self.dims[-2])
        blocks = ix.quotient(extent, k.as_index(COLUMN_ROWS))
        k.loop(0, blocks, lambda b: self.column_block(stage, at, b), name="block")
        rest = ix.multiply(blocks, k.as_index(COLUMN_ROWS))

        def row(i: Value) -> None:
            self.innermost(stage, (*at, i), {})

        k.loop(rest, extent, row, name="i")

    def column_block(self, stage: _Stage, at: Index, block: Value) -> None:
        first = ix.multiply(block, k.as_index(COLUMN_ROWS))

        def column(j: Value) -> None:
            places = [tuple((*at, first, j)[a] for a in f.kept) for f in stage.folds]
            assert all(f.target is not None for f in stage.folds)
            totals = [
                scope().bind_here(k.LOAD, (f.target, *place))[0]
                for f, place in zip(stage.folds, places)
                if f.target is not None
            ]
            for r in range(COLUMN_ROWS):
                terms = self.element(stage, (*at, ix.add(first, k.as_index(r)), j))
                totals = [f.op(t, terms[f]) for f, t in zip(stage.folds, totals)]
            for f, place, total in zip(stage.folds, places, totals):
                if f.target is not None:
                    k.store(f.target, total, *place, fold=f.op.name)

        k.loop(0, self.memory.dim(self.dims[-1]), column, kind="vector", name="v")

    def last_is_reduced(self, fold: Fold) -> bool:
        return len(self.dims) - 1 not in fold.kept

    def vector_loop(
        self, stage: _Stage, index: Index, low: Value, high: Value, states: States
    ) -> States:
        over_last = [f for f in stage.folds if self.last_is_reduced(f)]
        others = [f for f in stage.folds if f not in over_last]

        def body(i: Value, *partial: Value) -> list[Value]:
            at = (*index, i, *[ix.ZERO] * (len(self.dims) - len(index) - 1))
            terms = self.element(stage, at)
            for fold in others:
                self.fold_term(fold, terms[fold], at, {})
            return [f.op(p, terms[f]) for f, p in zip(over_last, partial)]

        combine = tuple(f.op.name for f in over_last)
        partial = k.loop(
            low, high, body, [f.identity() for f in over_last], "vector", combine, name="v"
        )
        return self.fold_terms(over_last, dict(zip(over_last, partial)), index, states)

    def fold_terms(
        self, folds: Sequence[Fold], terms: Mapping[Fold, Value], index: Index, states: States
    ) -> States:
        after = dict(states)
        for fold in folds:
            self.fold_term(fold, terms[fold], index, after)
        return after

    def fold_term(self, fold: Fold, term: Value, index: Index, states: States) -> None:
        """Take one term in: into the running state, or into memory."""
        if fold in states:
            states[fold] = fold.add(states[fold], term)
            return
        assert fold.target is not None
        place = tuple(index[a] for a in fold.kept)
        before = scope().bind_here(k.LOAD, (fold.target, *place))[0]
        k.store(fold.target, fold.op(before, term), *place, fold=fold.op.name)

    def element(self, stage: _Stage, index: Index) -> dict[Fold, Value]:
        """Everything the stage computes at one index: stores, and the terms of its folds."""
        for v in stage.order:
            self.value(v, index)
        values = [self.computed(v, index) for v in stage.stores]
        terms = {f: self.value(f.eqn.operands[0], index) for f in stage.folds}
        for v, found in zip(stage.stores, values):  # maybe to memory that was just read
            self.store(v, found, index)
        return terms

    def computed(self, v: Value, index: Index) -> list[Value]:
        """What is written for v at an index."""
        return [self.value(o, index) for o in self.written(v)]

    def store(self, v: Value, values: Sequence[Value], index: Index) -> None:
        buffer, one_row = self.stored[v]
        eqn = self.eqns.get(v)
        if eqn is None or eqn.op not in ENDS:
            k.store(buffer, values[0], *(index[self.rows :] if one_row else index))
            return
        places = written(eqn, self.eqns.get).places(index)
        if eqn.op is UPDATE:
            starts = [self.value(o, ()) for o in eqn.operands[2 : 2 + len(places[0])]]
            places = [ix.box_index(at, starts, eqn.attrs["steps"]) for at in places]
        for at, value in zip(places, values):
            k.store(buffer, value, *at)

    # -- values -----------------------------------------------------------------------------------

    def value(self, v: Value, index: Index) -> Value:
        """The element of v at `index` as a scalar, computed once per scope."""
        if isinstance(v, Literal):
            return v
        if v in self.row_scalars and self.at_row(v, index):
            return self.row_scalars[v]
        eqn = self.eqns.get(v)
        if eqn is None:
            return self.memory.element(v, index)
        here: ScopedBuilder = scope()
        known = here.recall((v, index, self.stage))
        if known is not None:
            return known
        if v in self.stored and self.level[v] < self.stage and eqn.op not in ENDS:
            buffer, one_row = self.stored[v]
            result = k.load(buffer, *(index[self.rows :] if one_row else index))
        else:
            rule = self.rule(eqn)
            assert isinstance(rule, Element), f"{eqn.op.name} is not computed by element"
            result = rule.emit(_Context(self, eqn), eqn, index)
        here.remember((v, index, self.stage), result)
        return result

    def at_row(self, v: Value, index: Index) -> bool:
        return index == self.row_padded(v)


@dataclass(frozen=True)
class _Context:
    """What an Element rule asks while it emits."""

    kernel: _Kernel
    eqn: Eqn

    def load(self, operand: int, index: Sequence[Value]) -> Value:
        return self.kernel.value(self.eqn.operands[operand], tuple(index))

    def dim(self, dim: Dim) -> Value:
        return self.kernel.memory.dim(dim)
