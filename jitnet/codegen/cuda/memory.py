"""Which memory a kernel's buffers lie in, and where the elements are that loops read and write.

    %y = view %x, 0, 300, 1          the root of %y is %x
    store %y, %v, %i                 writes root %x at 1 * %i + 0

Params and allocations are different memory. What a loop carries, or a branch chooses, may be any
of what went in; two buffers that a loop only exchanges are never the same one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from jitnet.ir import BufferType, Eqn, Function, Literal, Value, as_value
from jitnet.ir import types as T
from jitnet.kernel import scalars as s
from jitnet.kernel import statements as S
from jitnet.kernel.scalars import Conversion, ScalarOp


@dataclass(frozen=True, eq=False)
class Root:
    """One piece of memory, or one of several.

    Attributes:
        value: the first buffer in it.
        may: the params and allocations that it may be.
        group: the loop that carries it, beside others that are different memory.
    """

    value: Value
    may: frozenset[Value]
    group: Eqn | None = None

    def is_apart(self, other: Root) -> bool:
        """Whether two roots share no memory for certain."""
        if self is other:
            return False
        if self.group is not None and self.group is other.group:
            return True
        return self.may.isdisjoint(other.may)


Roots = dict[Value, Root]


_ON_TAPES = frozenset((Value(T.TapeType(()), "tapes"),))
"""Where all records lie: nobody knows which of them two positions name."""


def find_roots(f: Function) -> Roots:
    """The root of every buffer of a kernel Function, regions included."""
    roots: Roots = {p: _own(p) for p in f.params if isinstance(p.type, BufferType)}
    _visit(f, roots)
    return roots


def _own(v: Value) -> Root:
    return Root(v, frozenset((v,)))


def _visit(f: Function, roots: Roots) -> None:
    for eqn in f.eqns:
        if eqn.op is S.VIEW:
            roots[eqn.result] = roots[eqn.operands[0]]
        elif eqn.op in (S.FOR, S.WHILE):
            _visit_loop(eqn, roots)
        elif eqn.op is S.IF:
            for region in eqn.regions:
                _visit(region, roots)
            for result, *ends in zip(eqn.results, *(r.results for r in eqn.regions)):
                if isinstance(result.type, BufferType):
                    roots[result] = Root(result, frozenset().union(*(roots[v].may for v in ends)))
        else:
            kept = _ON_TAPES if eqn.op in (S.TAPE_GET, S.TAPE_SLOTS) else None
            for v in eqn.results:
                if isinstance(v.type, BufferType):
                    roots[v] = _own(v) if kept is None else Root(v, kept)


def _visit_loop(eqn: Eqn, roots: Roots) -> None:
    first = 2 if eqn.op is S.FOR else 0
    initial = eqn.operands[first:]
    body = eqn.regions[-1]
    carried = [i for i, v in enumerate(initial) if isinstance(v.type, BufferType)]
    may = [roots[initial[i]].may for i in carried]
    params = [[r.params[i - len(initial)] for i in carried] for r in eqn.regions]
    ends = [body.results[i] for i in carried]
    starts = [roots[initial[i]] for i in carried]
    exchanged = set(ends) == set(params[-1]) and all(
        a.is_apart(b) for n, a in enumerate(starts) for b in starts[:n]
    )
    while True:
        before = list(may)
        for of_region in params:
            for p, m in zip(of_region, may):
                roots[p] = Root(p, m, eqn if exchanged else None)
        for region in eqn.regions:
            _visit(region, roots)
        may = [m | roots[v].may for m, v in zip(may, ends)]
        if may == before:
            break
    for i, m in zip(carried, may):
        result = eqn.results[i]
        roots[result] = Root(result, m, eqn if exchanged else None)


# -- where the elements are ------------------------------------------------------------------------


@dataclass(frozen=True)
class Linear:
    """`constant` and so many times each of these scalars, which are i64."""

    terms: Mapping[Value, int]
    constant: int = 0

    def plus(self, other: Linear, times: int = 1) -> Linear:
        terms = dict(self.terms)
        for v, n in other.terms.items():
            terms[v] = terms.get(v, 0) + n * times
        kept = {v: n for v, n in terms.items() if n}
        return Linear(kept, self.constant + other.constant * times)


@dataclass(frozen=True, eq=False)
class Access:
    """An element that is read or written.

    Attributes:
        indices: as they stand.
        address: its number from the root's first element, where all strides are known.
    """

    root: Root
    buffer: Value
    writes: bool
    indices: tuple[Linear, ...]
    address: Linear | None


class Places:
    """The forms of a Function's indices and addresses."""

    def __init__(self, f: Function) -> None:
        self.roots = find_roots(f)
        self.forms: dict[Value, Linear] = {}
        self.offsets: dict[Value, Linear | None] = {}
        self.ranges: dict[Value, tuple[int, int]] = {}
        self.visit(f.eqns)

    def form(self, v: Value) -> Linear:
        if isinstance(v, Literal):
            return Linear({}, int(v.item))
        return self.forms.get(v) or Linear({v: 1})

    def is_free(self, eqn: Eqn, stored: Iterable[Root]) -> bool:
        """Whether it may be done any number of times, where this memory is written."""
        if eqn.op is S.LOAD:
            root = self.roots[eqn.operands[0]]
            return all(root.is_apart(other) for other in stored)
        return isinstance(eqn.op, ScalarOp | Conversion) or eqn.op is S.VIEW

    def stored(self, eqns: Iterable[Eqn]) -> set[Root]:
        """The memory that equations write, not counting their regions."""
        return {self.roots[e.operands[0]] for e in eqns if e.op is S.STORE}

    def accesses(self, eqns: Sequence[Eqn]) -> Iterator[Access]:
        """Every load and store, those of regions too."""
        for eqn in eqns:
            if eqn.op is S.LOAD:
                yield self._access(eqn.operands[0], eqn.operands[1:], False)
            elif eqn.op is S.STORE:
                yield self._access(eqn.operands[0], eqn.operands[2:], True)
            for region in eqn.regions:
                yield from self.accesses(region.eqns)

    def _access(self, buffer: Value, indices: Sequence[Value], writes: bool) -> Access:
        forms = tuple(map(self.form, indices))
        address = self.offsets.get(buffer, Linear({}))
        strides = static_strides(buffer.buffer_type)
        if strides is None or address is None:
            address = None
        else:
            for form, stride in zip(forms, strides):
                address = address.plus(form, stride)
        return Access(self.roots[buffer], buffer, writes, forms, address)

    def visit(self, eqns: Sequence[Eqn]) -> None:
        """Note the forms of what equations bind."""
        for eqn in eqns:
            if eqn.op is S.VIEW:
                buffer, offset = eqn.operands[:2]
                base = self.offsets.get(buffer, Linear({}))
                self.offsets[eqn.result] = base.plus(self.form(offset)) if base else None
            elif eqn.op is S.FOR:
                low, high = map(self.form, eqn.operands[:2])
                if not low.terms and not high.terms:
                    self.ranges[eqn.regions[0].params[0]] = (low.constant, high.constant - 1)
            elif eqn.results and eqn.results[0].type == S.INDEX and len(eqn.results) == 1:
                form = self._scalar(eqn)
                if form is not None:
                    self.forms[eqn.result] = form
            for region in eqn.regions:
                self.visit(region.eqns)

    def _scalar(self, eqn: Eqn) -> Linear | None:
        if eqn.op is s.add or eqn.op is s.sub:
            a, b = map(self.form, eqn.operands)
            return a.plus(b, 1 if eqn.op is s.add else -1)
        if eqn.op is s.mul:
            a, b = map(self.form, eqn.operands)
            if a.terms and b.terms:
                return None
            (factor, form) = (b.constant, a) if a.terms else (a.constant, b)
            return Linear({}).plus(form, factor)
        if eqn.op is s.neg:
            return Linear({}).plus(self.form(eqn.operands[0]), -1)
        return None


def static_strides(type: BufferType) -> tuple[int, ...] | None:
    """In elements, or None where one is only known at run time."""
    if type.strides is not None:
        known = tuple(d for d in type.strides if isinstance(d, int))
        return known if len(known) == type.rank else None
    strides, step = [1] * type.rank, 1
    for axis in reversed(range(1, type.rank)):
        dim = type.dims[axis]
        if not isinstance(dim, int):
            return None
        step *= dim
        strides[axis - 1] = step
    return tuple(strides)


def references(eqn: Eqn) -> Iterator[Value]:
    """Every Value that an equation asks for, its regions' own included: operands, what regions
    return, and the extents and strides of buffers."""
    for v in eqn.operands:
        yield v
        yield from _symbolic(v)
    for v in eqn.results:
        yield from _symbolic(v)
    for region in eqn.regions:
        for p in region.params:
            yield from _symbolic(p)
        for inner in region.eqns:
            yield from references(inner)
        for v in region.results:
            yield v
            yield from _symbolic(v)


def _symbolic(v: Value) -> Iterator[Value]:
    if isinstance(v.type, BufferType):
        yield from map(as_value, v.type.symbolic)


def substituted(eqn: Eqn, env: Mapping[Value, Value]) -> Eqn:
    """The equation, and those in its regions, on other values."""
    operands = tuple(env.get(v, v) for v in eqn.operands)
    regions = tuple(
        replace(
            r,
            eqns=tuple(substituted(e, env) for e in r.eqns),
            results=tuple(env.get(v, v) for v in r.results),
            _hash=[],
        )
        for r in eqn.regions
    )
    return replace(eqn, operands=operands, regions=regions)


def walk(eqns: Sequence[Eqn]) -> Iterator[Eqn]:
    """Equations and those of their regions, outer before inner."""
    for eqn in eqns:
        yield eqn
        for region in eqn.regions:
            yield from region.walk()


def bound_in(eqns: Sequence[Eqn]) -> Iterator[Value]:
    """Every Value that equations bind, in their regions too."""
    for eqn in eqns:
        yield from eqn.results
        for region in eqn.regions:
            yield from region.params
            yield from bound_in(region.eqns)
