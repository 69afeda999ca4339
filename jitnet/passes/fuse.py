"""Fusion: groups of equations become one `fused` equation each, which is lowered to one kernel.

    %a = exp %x                     %s = fused %x (%x: f64[4, 8]) -> (f64[4]) {
    %s = reduce_sum %a {axes=(1,)}    %a = exp %x
                                      %s = reduce_sum %a {axes=(1,)}
                                      return %s
                                    }

A group shares one iteration space, `dims`. Its members are elementwise equations over all of dims,
reductions of such values, equations over the leading `rows` dims that such reductions left (and
that broadcast back: a softmax is one group), and at its end `interleave`s, and one `update` that
writes the group's value in place. Views, and cheap producers read through views, are cloned into
every reader instead. Nothing expensive is computed twice. Groups never cross an equation that
writes, branches or may raise, so that fusion cannot delay a read past a write.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush

from jitnet.ir import (
    Builder,
    Dim,
    Effect,
    Eqn,
    Function,
    Literal,
    Value,
    effect_of,
    substitute_type,
)
from jitnet.ops.complexes import INTERLEAVE
from jitnet.ops.control import FUSED
from jitnet.ops.index import GATHER
from jitnet.ops.primitive import Element, Reduction
from jitnet.ops.shape import BROADCAST, RESHAPE
from jitnet.ops.slicing import UPDATE
from jitnet.passes.again import computed_again
from jitnet.passes.early import outdated, read_early, write_late
from jitnet.passes.late import compute_late
from jitnet.passes.masks import keep_together, keep_whole
from jitnet.passes.members import (
    ENDS,
    is_free,
    iteration_dims,
    kept_rows,
    primitive,
    strip_units,
    written,
)
from jitnet.passes.shifted import add_shifted
from jitnet.passes.stream import streamed
from jitnet.passes.sunk import NO_PHASES, Order, phases

CHEAP = 4
"""Flops per element up to which a value may be computed again instead of stored."""


def fuse(f: Function, sinks: bool = False) -> Function:
    """The same Function with its elementwise and reducing equations grouped into kernels.

    Args:
        sinks: compute in later kernels what only these read, where less is kept for them then.
    """
    f = add_shifted(keep_together(keep_whole(f)))
    eqns = compute_late(write_late(read_early(f.eqns), f.results), f.results)
    fused = [_fuse_regions(eqn, sinks) for eqn in eqns]
    copies: set[Value] = set()
    if sinks:
        fused, copies = _with_copies(f, fused)
    body = _Body(f, fused, sinks, copies)
    for segment in _segments(fused):
        body.group(segment)
    return body.rebuild()


def _with_copies(f: Function, eqns: Sequence[Eqn]) -> tuple[list[Eqn], set[Value]]:
    """The equations with what is computed again for later kernels, and what those copies bind."""
    done: list[Eqn] = []
    copies: set[Value] = set()
    uses, results = _uses(eqns), set(f.results)
    for segment in _segments(eqns):
        again, made = computed_again(Order(eqns, segment, uses, results, is_member))
        done += again
        copies |= made
    return done, copies


def _uses(eqns: Sequence[Eqn]) -> dict[Value, list[int]]:
    """The positions of those that read a value."""
    uses: dict[Value, list[int]] = {}
    for i, eqn in enumerate(eqns):
        for v in dict.fromkeys(eqn.operands):
            uses.setdefault(v, []).append(i)
    return uses


def is_member(eqn: Eqn) -> bool:
    """Whether an equation can be a part of a kernel that others are in."""
    rule = primitive(eqn).lowering(eqn)
    if isinstance(rule, Element):
        return eqn.result.rank > 0 and not is_free(eqn)
    return isinstance(rule, Reduction) or eqn.op is UPDATE or _interleaves_arrays(eqn)


def _fuse_regions(eqn: Eqn, sinks: bool) -> Eqn:
    if not eqn.regions or eqn.op is FUSED:
        return eqn
    regions = tuple(fuse(r, sinks) for r in eqn.regions)
    return Eqn(eqn.op, eqn.operands, eqn.attrs, regions, eqn.results, eqn.loc)


def _segments(eqns: Sequence[Eqn]) -> list[range]:
    """Runs of equations within which groups may form. A barrier ends its run; an update is in it,
    as its group's last step."""
    runs: list[range] = []
    start = 0
    for i, eqn in enumerate(eqns):
        barrier = effect_of(eqn) >= Effect.MAY_RAISE or (eqn.regions and eqn.op is not FUSED)
        if barrier or primitive(eqn).writes is not None:
            runs.append(range(start, i + 1))
            start = i + 1
    runs.append(range(start, len(eqns)))
    return runs


@dataclass(eq=False)
class _Group:
    """Attributes:
    dims: the iteration space.
    members: positions of the equations, ascending; `inside` is the same as a set.
    rows: leading dims that row values have; None while there are none.
    blocked: values that members read in ways that fusion cannot serve.
    updates: how many members are updates.
    """

    dims: tuple[Dim, ...]
    members: list[int]
    inside: set[int]
    blocked: set[Value]
    rows: int | None = None
    updates: int = 0


@dataclass(frozen=True)
class _Read:
    """A group member reads `base`: at its own index, at its row, or elsewhere ("mapped")."""

    base: Value
    kind: str


def _head(unit: int | _Group) -> int:
    return unit if isinstance(unit, int) else unit.members[-1]


class _Body:
    """The state of fusing one straight-line body."""

    def __init__(
        self, f: Function, eqns: list[Eqn], sinks: bool, copies: Collection[Value]
    ) -> None:
        self.f = f
        self.sinks = sinks
        self.copies = copies
        self.results = set(f.results)
        self.phases = NO_PHASES
        self.eqns = eqns
        self.index = {r: i for i, eqn in enumerate(eqns) for r in eqn.results}
        self.uses = _uses(eqns)
        self.streamed = streamed(eqns, self.uses, f.results)
        self.outdated = outdated(eqns)
        self.halves: set[int] = set()
        self.groups: dict[int, _Group] = {}
        self.segment = range(0)
        self.segments: list[range] = []
        self.readers: dict[Value, list[_Group]] = {}
        self.inlined: set[Value] = set()
        self.costs: dict[Value, int] = {}

    # -- reads ------------------------------------------------------------------------------------

    def definition(self, v: Value) -> Eqn | None:
        i = self.index.get(v)
        return None if i is None else self.eqns[i]

    def is_written_in_halves(self, i: int) -> bool:
        """Whether nothing reads an `interleave` but an update, which writes the halves itself."""
        eqn = self.eqns[i]
        if not _interleaves_arrays(eqn) or eqn.result in self.f.results:
            return False
        readers = [self.eqns[j] for j in self.uses.get(eqn.result, ()) if j in self.segment]
        if len(readers) != len(self.uses.get(eqn.result, ())):
            return False
        return all(r.op is UPDATE and r.operands[1] is eqn.result for r in readers)

    def producer(self, v: Value) -> Eqn | None:
        """The equation that binds v, if what reads v in a group computes it itself."""
        i = self.index.get(v)
        if i is None or i in self.outdated:
            return None
        is_kept = self.eqns[i].op is INTERLEAVE and i not in self.halves
        return None if is_kept else self.eqns[i]

    def resolve(self, v: Value) -> _Read:
        """Look through views to the value they show."""
        kind = "same"
        while (eqn := self.definition(v)) is not None and primitive(eqn).is_view:
            step = _view_kind(eqn)
            kind = step if kind == "same" else (kind if step in ("same", kind) else "mapped")
            v = eqn.operands[0]
        return _Read(v, kind)

    def reads(self, eqn: Eqn) -> list[_Read]:
        """What a member reads of values of rank > 0, and of scalars that a group makes."""
        direct: Sequence[Value] = eqn.operands if primitive(eqn).is_pointwise else ()
        if eqn.op is GATHER and eqn.result.dims == eqn.operands[1].dims:
            direct = eqn.operands[1:]
        elif isinstance(primitive(eqn).lowering(eqn), Reduction):
            direct = eqn.operands[:1]
        elif eqn.op in ENDS:
            direct = written(eqn, self.producer).values
        found: list[_Read] = []
        for v in (*direct, *eqn.operands[2:]) if eqn.op is UPDATE else eqn.operands:
            read = self.resolve(v)
            if read.base.rank or self.is_folded(read.base):
                near = any(v is d for d in direct)
                found.append(read if near else _Read(read.base, "mapped"))
        return found

    def is_folded(self, v: Value) -> bool:
        eqn = self.definition(v)
        return eqn is not None and isinstance(primitive(eqn).lowering(eqn), Reduction)

    def count_costs(self, segment: range) -> None:
        """Flops to compute an element of each value from memory, counted up to a bound."""
        for i in segment:
            eqn = self.eqns[i]
            rule = primitive(eqn).lowering(eqn)
            if isinstance(rule, Element):
                own = 0 if rule.view else rule.cost
                cost = own + sum(self.costs.get(o, 0) for o in eqn.operands)
                self.costs[eqn.result] = min(cost, CHEAP + 1)

    def may_inline(self, v: Value) -> bool:
        """Whether a reader through a view computes v's elements itself."""
        i = self.index.get(v)
        if i is None or i not in self.segment:
            return False
        rule = primitive(self.eqns[i]).lowering(self.eqns[i])
        return isinstance(rule, Element) and self.costs[v] <= CHEAP

    def inline(self, v: Value) -> None:
        """Let readers compute v's elements from memory."""
        if v not in self.inlined and self.may_inline(v):
            self.inlined.add(v)
            for o in self.eqns[self.index[v]].operands:
                self.inline(self.resolve(o).base)

    # -- grouping ---------------------------------------------------------------------------------

    def group(self, segment: range) -> None:
        self.segment = segment
        self.segments.append(segment)
        self.costs.clear()
        self.count_costs(segment)
        self.readers.clear()
        self.halves.update(filter(self.is_written_in_halves, segment))
        if self.sinks:
            order = Order(self.eqns, segment, self.uses, self.results, is_member)
            self.phases = phases(order, self.copies)
        for i in segment:
            if i not in self.streamed | self.halves and is_member(self.eqns[i]):
                self.place(i)

    def place(self, i: int) -> None:
        """Put a member into the groups of its producers, or of its siblings, or a new one."""
        eqn = self.eqns[i]
        dims = iteration_dims(eqn, self.producer)
        reads = self.reads(eqn)
        home = self.alone(i)
        blocked = home.blocked
        wanted: list[tuple[_Group, int | None]] = []
        for read in reads:
            group = self.groups.get(self.index.get(read.base, -1))
            if group is None or self.index[read.base] not in self.segment:
                continue
            if read.kind == "mapped" and self.may_inline(read.base):
                self.inline(read.base)
                continue
            joined = self.can_join(read, group, dims)
            if joined is None:
                blocked.add(read.base)
            else:
                wanted.append((group, joined.rows))
        self.groups[i] = home
        for group, rows in _agreed(wanted):
            home = self.merge(home, group, rows) or home
        seen = [r.base for r in reads if r.kind == "same" or _is_pairs(r.base)]
        seen += [v for v in eqn.operands if primitive(eqn).is_pointwise and self.is_view(v)]
        if len(home.members) == 1:
            home = self.join_sibling(home, seen)
        for v in (*seen, *(r.base for r in reads if r.kind == "row")):
            self.readers.setdefault(v, []).append(home)

    def alone(self, i: int) -> _Group:
        """A group of one member."""
        eqn = self.eqns[i]
        blocked: set[Value] = set()
        if eqn.op is UPDATE:  # what it writes to is there before the kernel, and what that shows
            blocked = {eqn.operands[0], self.resolve(eqn.operands[0]).base}
        dims = iteration_dims(eqn, self.producer)
        return _Group(dims, [i], {i}, blocked, updates=int(eqn.op is UPDATE))

    def can_join(self, read: _Read, group: _Group, dims: tuple[Dim, ...]) -> _Joined | None:
        """How a member over `dims` may read this value inside its group, if at all."""
        producer = self.definition(read.base)
        assert producer is not None
        if read.kind == "mapped" or read.base in group.blocked or producer.op in ENDS:
            return None
        if isinstance(primitive(producer).lowering(producer), Reduction):
            rows = kept_rows(producer) if producer.operands[0].dims == group.dims else None
            if not rows:
                return None
        elif read.base.dims == group.dims:
            return _Joined(None) if dims == group.dims and read.kind == "same" else None
        else:
            rows = group.rows
        if rows is None or group.rows not in (None, rows):
            return None
        at_row = strip_units(read.base.dims) == strip_units(group.dims[:rows])
        fits = dims == group.dims or strip_units(dims) == strip_units(group.dims[:rows])
        return _Joined(rows) if at_row and fits else None

    def merge(self, home: _Group, other: _Group, rows: int | None) -> _Group | None:
        """One group of both, or None where that is not legal."""
        row_counts = {r for r in (home.rows, other.rows, rows) if r is not None}
        if len(row_counts) > 1 or home.updates + other.updates > 1:
            return None
        agreed = row_counts.pop() if row_counts else None
        dims = max(home.dims, other.dims, key=len)
        for part in (home, other):
            if part.dims != dims and (
                agreed is None or strip_units(part.dims) != strip_units(dims[:agreed])
            ):
                return None
        if self.phases.moved and self.are_apart(home, other):
            return None
        small, large = sorted((home, other), key=lambda g: len(g.members))
        if any(self.index.get(v, -1) in large.inside for v in small.blocked):
            return None
        appended = small.members[0] > large.members[-1]
        if not appended and any(self.index.get(v, -1) in small.inside for v in large.blocked):
            return None
        if self.has_detour(small, large, both_ways=not appended):
            return None
        large.members.extend(small.members)
        if not appended:
            large.members.sort()
        large.inside |= small.inside
        large.blocked |= small.blocked
        large.dims, large.rows, large.updates = dims, agreed, home.updates + other.updates
        for m in small.members:
            self.groups[m] = large
        return large

    def are_apart(self, a: _Group, b: _Group) -> bool:
        """Whether one has what was moved to a phase that the other one is before."""
        of, moved = self.phases.of, self.phases.moved
        wanted = max((of[m] for m in (*a.members, *b.members) if m in moved), default=0)
        return any(max(of[m] for m in group.members) < wanted for group in (a, b))

    def is_view(self, v: Value) -> bool:
        eqn = self.definition(v)
        return v.rank > 0 and eqn is not None and primitive(eqn).is_view

    def join_sibling(self, home: _Group, seen: Sequence[Value]) -> _Group:
        """Join a group over the same dims that reads the same array, or view, so that it is read
        once; or the other halves of the same pairs, which are in the same lines of the cache."""
        for v in seen:
            for group in reversed(self.readers.get(v, ())):
                current = self.groups[group.members[0]]
                if current.dims == home.dims and (merged := self.merge(home, current, None)):
                    return merged
        return home

    def has_detour(self, late: _Group, early: _Group, both_ways: bool) -> bool:
        """Whether a member of one group depends on the other by way of equations outside of both:
        then they cannot be one step. Where `late` follows all of `early`, only one way is open."""
        inside = late.inside | early.inside if both_ways else early.inside
        first = min(late.members[0], early.members[0])
        starts = [*late.members, *early.members] if both_ways else late.members
        seen: set[int] = set()
        stack = [(m, False) for m in starts]
        while stack:
            i, left = stack.pop()
            for v in self.eqns[i].operands:
                j = self.index.get(v, -1)
                if j < first or j not in self.segment:
                    continue
                if j in inside or j in late.inside:
                    if left and j in inside:
                        return True
                    continue
                if (j in self.halves or primitive(self.eqns[j]).is_view) and not left:
                    stack.append((j, False))
                elif j not in seen:
                    unit = self.groups.get(j)
                    for m in unit.members if unit else [j]:
                        seen.add(m)
                        stack.append((m, True))
        return False

    # -- rebuilding -------------------------------------------------------------------------------

    def rebuild(self) -> Function:
        needed: set[Value] = set(self.f.results)
        pieces: list[list[Eqn]] = []
        for segment in reversed(self.segments):
            pieces.append(self.rebuild_segment(segment, needed))
        eqns = tuple(eqn for piece in reversed(pieces) for eqn in piece)
        return Function(self.f.name, self.f.params, eqns, self.f.results, self.f.level)

    def rebuild_segment(self, segment: range, needed: set[Value]) -> list[Eqn]:
        units = self.ordered_units(segment)
        emitted: list[Eqn] = []
        for unit in reversed(units):
            if isinstance(unit, _Group):
                eqn = self.fused_eqn(unit, segment, needed)
            else:
                eqn = self.eqns[unit]
                pure = effect_of(eqn) == Effect.PURE
                if pure and not any(r in needed for r in eqn.results):
                    continue
            if eqn is not None:
                needed.update(eqn.operands)
                needed.update(d for r in eqn.results for d in r.type.symbolic)
                emitted.append(eqn)
        return emitted[::-1]

    def take_apart(self, heads: set[int]) -> None:
        """Make single members of the last group among these, which wait for one another."""
        tied = [g for g in self.groups.values() if len(g.members) > 1 and g.members[-1] in heads]
        assert tied, "equations wait for one another"
        for i in max(tied, key=lambda g: g.members[-1]).members:
            self.groups[i] = self.alone(i)

    def ordered_units(self, segment: range) -> list[int | _Group]:
        """Groups and single equations in an order that respects their dependences, each as near
        to its last member's place as it can be."""
        unit_of = {i: self.groups.get(i) for i in segment}
        head = {i: (g.members[-1] if g else i) for i, g in unit_of.items()}
        waiting: dict[int, set[int]] = {h: set() for h in head.values()}
        for i in segment:
            for j in self.dependences(i, unit_of[i], segment):
                if head[j] != head[i]:
                    waiting[head[i]].add(head[j])
        followers: dict[int, list[int]] = {}
        for h, before in waiting.items():
            for p in before:
                followers.setdefault(p, []).append(h)
        ready = [h for h, before in waiting.items() if not before]
        heapify(ready)
        order: list[int | _Group] = []
        while ready:
            h = heappop(ready)
            order.append(unit_of[h] or h)
            for n in followers.get(h, ()):
                waiting[n].discard(h)
                if not waiting[n]:
                    heappush(ready, n)
        if len(order) < len(waiting):  # what was read early has tied two groups to each other
            self.take_apart(set(head.values()) - {_head(unit) for unit in order})
            return self.ordered_units(segment)
        return order

    def dependences(self, i: int, group: _Group | None, segment: range) -> set[int]:
        """The equations of this segment that must come before equation i; a group's member looks
        through what is cloned into the group."""
        found: set[int] = set()
        stack = list(self.eqns[i].operands)
        while stack:
            v = stack.pop()
            j = self.index.get(v, -1)
            if j not in segment:
                continue
            if group is not None and j not in group.inside and self.is_cloned(j, segment):
                stack.extend(self.eqns[j].operands)
            else:
                found.add(j)
        return found

    def is_cloned(self, i: int, segment: range) -> bool:
        """Whether readers in groups compute equation i themselves."""
        eqn = self.eqns[i]
        if i in self.outdated:
            return False
        if i in self.halves:
            return True
        free = is_free(eqn) and eqn.result.rank > 0  # scalars are what they are where they stand
        return free or (i in segment and eqn.results[0] in self.inlined)

    def fused_eqn(self, group: _Group, segment: range, needed: set[Value]) -> Eqn | None:
        """The group as one equation that returns what others need of it."""
        outputs = [r for m in group.members for r in self.eqns[m].results if r in needed]
        if not outputs:
            return None
        region = _Region(self, group.inside, segment)
        live = self.live_members(group, outputs)
        for eqn in (self.eqns[m] for m in live):
            if eqn.op is UPDATE:
                region.capture(eqn.operands[0])  # what is written in place lives outside
        for m in live:
            region.copy(self.eqns[m].result)
        body = region.builder.build(*(region.env[v] for v in outputs))
        loc = self.eqns[group.members[-1]].loc
        attrs = {"rows": group.rows}
        return Eqn(FUSED, tuple(region.captured), attrs, (body,), tuple(outputs), loc)

    def live_members(self, group: _Group, outputs: Sequence[Value]) -> list[int]:
        """The members that the outputs need, in order."""
        wanted = set(outputs)
        live: list[int] = []
        for m in reversed(group.members):
            if self.eqns[m].result in wanted:
                live.append(m)
                wanted.update(self.resolve(o).base for o in self.eqns[m].operands)
        return live[::-1]


@dataclass(frozen=True)
class _Joined:
    rows: int | None


def _agreed(wanted: Sequence[tuple[_Group, int | None]]) -> list[tuple[_Group, int | None]]:
    """The groups to join, latest first, each with the rows that it is read by; none that is read in
    two ways that exclude each other."""
    rows_of: dict[_Group, set[int | None]] = {}
    for group, rows in reversed(wanted):
        rows_of.setdefault(group, set()).add(rows)
    found: list[tuple[_Group, int | None]] = []
    for group, rows_set in rows_of.items():
        known = rows_set - {None}
        if len(known) <= 1:
            found.append((group, next(iter(known), None)))
    return found


class _Region:
    """Copies a group's equations into a closed region, views and inlined producers with them."""

    def __init__(self, body: _Body, members: set[int], segment: range) -> None:
        self.body = body
        self.members = members
        self.segment = segment
        self.builder = Builder("kernel")
        self.env: dict[Value, Value] = {}
        self.captured: list[Value] = []

    def copy(self, v: Value) -> Value:
        """The region's own value for v."""
        if isinstance(v, Literal):
            return v
        if v not in self.env:
            i = self.body.index.get(v)
            if i is not None and self.belongs(i):
                self.copy_eqn(self.body.eqns[i])
            else:
                self.capture(v)
        return self.env[v]

    def copy_eqn(self, eqn: Eqn) -> None:
        for d in (d for r in eqn.results for d in r.type.symbolic):
            if d not in self.env:
                self.capture(d)  # what sizes the loops is known in front of them
        copies = self.builder.rebind(eqn, [self.copy(o) for o in eqn.operands])
        self.env.update(zip(eqn.results, copies))

    def belongs(self, i: int) -> bool:
        return i in self.members or self.body.is_cloned(i, self.segment)

    def capture(self, v: Value) -> None:
        for d in v.type.symbolic:
            if d not in self.env:
                self.capture(d)
        self.env[v] = self.builder.param(substitute_type(v.type, self.env), v.name)
        self.captured.append(v)


def _is_pairs(v: Value) -> bool:
    return v.dims[-1:] == (2,)


def _interleaves_arrays(eqn: Eqn) -> bool:
    return eqn.op is INTERLEAVE and eqn.operands[0].rank > 0


def _view_kind(eqn: Eqn) -> str:
    """How a view's elements lie to its operand's: the same index, its row's, or elsewhere."""
    (source, *_), result = eqn.operands, eqn.result
    if primitive(eqn).is_pointwise:
        return "same"
    if eqn.op is BROADCAST and source.rank:
        leading = tuple(eqn.attrs["axes"]) == tuple(range(source.rank))
        kept = strip_units(source.dims)
        return "row" if leading and kept == result.dims[: len(kept)] else "mapped"
    if eqn.op is RESHAPE and strip_units(source.dims) == strip_units(result.dims):
        return "row"
    return "mapped"
