"""What is added to shifted boxes of one array is added to what they share in one go.

    %1 = slice %a, 0, 98; %2 = add %1, %u; %b = update %a, %2, 0      // a[0:98] += u
    %3 = slice %b, 2, 98; %4 = add %3, %v; %c = update %b, %4, 2      // a[2:100] += v
  ->
    %1 = slice %a, 2, 96                                              // a[2:98] =
    %2 = add %1, (slice %u, 2, 96)                                    //   (a[2:98] + u[2:98])
    %3 = add %2, (slice %v, 0, 96)                                    //   + v[0:96]
    %b = update %a, %3, 2                                             // then a[0:2] += u[0:2],
    ...                                                               // a[98:100] += v[96:98]

The backward pass of a stencil does that for each of its points: the array is read and written once
instead of so many times. Part of fusion. Each element gets its terms in the order in which it got
them before, so no bit changes. Only of boxes at known places, that are shifted along one axis and
share most of what they cover. Terms that are cheap are computed for each of the new boxes, if what
they are made of is still there; others are arrays in memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

from jitnet.ir import Builder, Eqn, Function, Literal, Value, current
from jitnet.ops.lift import add
from jitnet.ops.primitive import Element, Primitive
from jitnet.ops.slicing import SLICE, UPDATE, slice, update

SHARED = 256
"""Elements that boxes have to share."""

APART = 8
"""How much less that may be, divided by this, which they do not share."""


CHEAP = 4
"""Flops for an element up to which a term is computed where it is added."""


@dataclass(frozen=True)
class _Term:
    """`base[box] += value`, as three equations.

    Attributes:
        eqns: the `slice`, the `add` and the `update`.
        starts, sizes: of the box.
    """

    eqns: tuple[Eqn, Eqn, Eqn]
    value: Value
    starts: tuple[int, ...]
    sizes: tuple[int, ...]

    @property
    def base(self) -> Value:
        return self.eqns[2].operands[0]

    @property
    def result(self) -> Value:
        return self.eqns[2].result

    def span(self, axis: int) -> range:
        return range(self.starts[axis], self.starts[axis] + self.sizes[axis])

    def aside(self, axis: int) -> tuple[tuple[int, int], ...]:
        """Where the box lies along the other axes."""
        places = zip(self.starts, self.sizes)
        return tuple(place for k, place in enumerate(places) if k != axis)


def add_shifted(f: Function) -> Function:
    """A body with its sums of shifted boxes taken together; regions are left as they are."""
    uses = Counter([*(v for eqn in f.eqns for v in eqn.operands), *f.results])
    terms = _terms(f, uses)
    runs = {run[-1].eqns[-1]: (axis, run) for axis, run in _runs(terms, uses)}
    if not runs:
        return f
    gone = {eqn for _, run in runs.values() for term in run for eqn in term.eqns}
    with Builder(f.name, f.level) as b:
        copy = _Copy(f)
        for eqn in f.eqns:
            if eqn in runs:
                with b.at(eqn.loc):
                    copy.env[eqn.result] = copy.added(*runs[eqn])
            elif eqn not in gone:
                operands = [copy.now(v) for v in eqn.operands]
                copy.env.update(zip(eqn.results, b.rebind(eqn, operands)))
        results = tuple(map(copy.now, f.results))
        return Function(f.name, f.params, tuple(b.eqns), results, f.level)


def _terms(f: Function, uses: Counter[Value]) -> dict[Value, _Term]:
    """What is added to a box of an array at a known place, by the array before."""
    made = {eqn.result: eqn for eqn in f.eqns if eqn.op in (SLICE, add) and uses[eqn.result] == 1}
    found: dict[Value, _Term] = {}
    for eqn in f.eqns:
        if eqn.op is UPDATE and (term := _term(eqn, made)) is not None:
            found[eqn.operands[0]] = term
    return found


def _term(eqn: Eqn, made: dict[Value, Eqn]) -> _Term | None:
    base, total, *starts = eqn.operands
    sums = made.get(total)
    if sums is None or sums.op is not add or any(s != 1 for s in eqn.attrs["steps"]):
        return None
    known = [int(s.item) for s in starts if isinstance(s, Literal)]
    if len(known) < len(starts) or not total.array_type.is_static:
        return None
    for box, value in (sums.operands, sums.operands[::-1]):
        read = made.get(box)
        if read is None or read.op is not SLICE or read.operands[0] is not base or not value.rank:
            continue
        same = read.operands[1 : 1 + len(starts)] == tuple(starts)
        if same and read.attrs["steps"] == eqn.attrs["steps"]:
            return _Term((read, sums, eqn), value, tuple(known), total.shape)
    return None


def _runs(terms: dict[Value, _Term], uses: Counter[Value]) -> Iterator[tuple[int, list[_Term]]]:
    """Terms that follow each other, with nothing else that reads the array in between, and the
    axis along which their boxes are shifted."""
    links = {base: term for base, term in terms.items() if uses[base] == 2}
    later = {term.result for term in links.values()}
    for base in links:
        if base in later:
            continue
        chain = [links[base]]
        while (term := links.get(chain[-1].result)) is not None:
            chain.append(term)
        yield from _shifted(chain)


def _shifted(chain: Sequence[_Term]) -> Iterator[tuple[int, list[_Term]]]:
    """A chain as runs along one axis each; what is no run is left out."""
    while len(chain) > 1:
        rank = len(chain[0].sizes)
        longest = max((_along(chain, axis), -axis) for axis in range(rank))
        length, axis = longest[0], -longest[1]
        if length > 1:
            yield axis, list(chain[:length])
        chain = chain[max(length, 1) :]


def _along(chain: Sequence[_Term], axis: int) -> int:
    """How many terms, from the first one on, are shifted along an axis and share enough."""
    count = 1
    while count < len(chain) and chain[count].aside(axis) == chain[0].aside(axis):
        shared = _shared(chain[: count + 1], axis)
        apart = sum(len(t.span(axis)) - len(shared) for t in chain[: count + 1])
        others = prod(size for _, size in chain[0].aside(axis))
        if len(shared) * others < SHARED or apart * APART > len(shared):
            break
        count += 1
    return count


def _shared(run: Sequence[_Term], axis: int) -> range:
    spans = [term.span(axis) for term in run]
    return range(max(s.start for s in spans), min(s.stop for s in spans))


# -- the same in one go ----------------------------------------------------------------------------


class _Copy:
    """Equations again, in the open builder.

    Attributes:
        env: what is in the place of a value.
        written: for each array that is written to, the first equation that does.
    """

    def __init__(self, f: Function) -> None:
        self.env: dict[Value, Value] = {}
        self.index = {r: i for i, eqn in enumerate(f.eqns) for r in eqn.results}
        self.eqns = f.eqns
        self.written: dict[Value, int] = {}
        for i, eqn in enumerate(f.eqns):
            for v in eqn.operands if eqn.regions else eqn.operands[:1]:
                if not _is_pure(eqn):
                    self.written.setdefault(self.shown(v), i)

    def now(self, v: Value) -> Value:
        return self.env.get(v, v)

    def shown(self, v: Value) -> Value:
        """The array that v is, or is a view of."""
        while (i := self.index.get(v)) is not None and _is_view(self.eqns[i]):
            v = self.eqns[i].operands[0]
        return v

    def added(self, axis: int, run: Sequence[_Term]) -> Value:
        """The array after all terms."""
        shared = _shared(run, axis)
        array = self.box_added(self.now(run[0].base), axis, shared, run)
        for term in run:
            span = term.span(axis)
            for rest in (range(span.start, shared.start), range(shared.stop, span.stop)):
                if rest:
                    array = self.box_added(array, axis, rest, [term])
        return array

    def box_added(self, array: Value, axis: int, span: range, run: Sequence[_Term]) -> Value:
        """The array with the terms of a run added where they are all of them, in this span."""
        starts, sizes = list(run[0].starts), list(run[0].sizes)
        starts[axis], sizes[axis] = span.start, len(span)
        total = slice(array, starts, sizes)
        for term in run:
            within = [0] * len(sizes)
            within[axis] = span.start - term.starts[axis]
            last = self.index[term.result]
            total = add(total, self.part(term.value, within, sizes, last, CHEAP))
        return update(array, total, starts)

    def part(
        self, v: Value, starts: Sequence[int], sizes: Sequence[int], position: int, flops: int
    ) -> Value:
        """A box of v, computed from boxes of what v is made of if that takes no more than so many
        flops and the equation at `position` can still read it."""
        if isinstance(v, Literal):
            return v
        i = self.index.get(v)
        eqn = None if i is None else self.eqns[i]
        if eqn is not None and isinstance(eqn.op, Primitive) and eqn.op.is_pointwise:
            rule = eqn.op.lowering(eqn)
            rest = flops - rule.cost if isinstance(rule, Element) else -1
            fresh = all(self.written.get(self.shown(o), position) >= position for o in eqn.operands)
            if rest >= 0 and fresh:
                parts = [self.part(o, starts, sizes, position, rest) for o in eqn.operands]
                return current().rebind(eqn, parts)[0]
        return slice(self.now(v), starts, sizes)


def _is_pure(eqn: Eqn) -> bool:
    """Whether an equation overwrites nothing."""
    return not eqn.regions and (not isinstance(eqn.op, Primitive) or eqn.op.writes is None)


def _is_view(eqn: Eqn) -> bool:
    return isinstance(eqn.op, Primitive) and eqn.op.is_view and eqn.operands[0].rank > 0
