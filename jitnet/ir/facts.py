"""What is known of integers before the program runs: ranges, affine forms, order.

    func @f(%n: i64, %x: f64[%n]) {            known = facts(f)
      %m: i64 = sub %n, 1                      known.range(m)       == Range(-1, 2**60 - 2)
      %k: i64 = add %m, 1                      known.equal(k, n)
      for %m @body(%i: i64) { ... }            known.less(i, n)

A value is `const + sum of coefficient * value`, where the values on the right are those that no op
explains. i64 arithmetic wraps, so such a form holds modulo 2**64, which is enough for equality;
order is only claimed of forms that were proved not to wrap. The range of an array is that of its
elements. An op takes part by its `facts`, a `FactRule`: nothing here knows an op.

Nothing is concluded from a use: that an extent is not negative follows from an array that exists
(a param, a result), not from one that is about to be made, since the check in front of it is among
the things to prove.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from jitnet.ir import types as T
from jitnet.ir.core import Eqn, Function
from jitnet.ir.value import Literal, Value


class Range(NamedTuple):
    """The integers from lo to hi, both included."""

    lo: int
    hi: int

    def within(self, other: Range) -> bool:
        return other.lo <= self.lo and self.hi <= other.hi

    def join(self, other: Range) -> Range:
        return Range(min(self.lo, other.lo), max(self.hi, other.hi))


@dataclass(frozen=True)
class Affine:
    """`const + sum of coefficient * value`, modulo 2**64; as integers too where it is `exact`."""

    terms: frozenset[tuple[Value, int]]
    const: int
    exact: bool = field(default=True, compare=False)

    def plus(self, other: Affine, factor: int = 1) -> Affine:
        """`self + factor * other`."""
        terms = Counter(dict(self.terms))
        for value, coefficient in other.terms:
            terms[value] += factor * coefficient
        return _affine(terms, self.const + factor * other.const, self.exact and other.exact)


def _affine(terms: dict[Value, int], const: int, exact: bool) -> Affine:
    wrapped = {v: _signed(c) for v, c in terms.items()}
    exact = exact and wrapped == terms and _signed(const) == const
    return Affine(frozenset((v, c) for v, c in wrapped.items() if c), _signed(const), exact)


def _signed(n: int) -> int:
    return (n + 2**63) % 2**64 - 2**63


class Steps(NamedTuple):
    """A region's param that runs through low, ..., high - 1."""

    low: T.Dim
    high: T.Dim


Entry = Value | Steps | None
"""What a region's param holds each time: always what an outer value holds, steps, or unknown."""


class FactRule(NamedTuple):
    """What an op tells of the integers that it makes.

    Attributes:
        range: `(eqn, *ranges of operands) -> Range` of the single result's elements, as if integers
            were unbounded; None for unknown. An operand that is no integer has the range None.
        affine: `(eqn, *affine forms of operands) -> Affine`, for rank 0; None for unknown.
        entry: `eqn -> for each region, for each of its params, an Entry`.
        extents: the i64 scalars among the results are extents: not negative.
    """

    range: Callable[..., Range | None] | None = None
    affine: Callable[..., Affine | None] | None = None
    entry: Callable[[Eqn], Sequence[Sequence[Entry]]] | None = None
    extents: bool = False


def facts(f: Function) -> Facts:
    """The facts of a Function and all its regions, from one pass over it."""
    return Facts(f)


class Facts:
    """Answers about the integer values of one Function."""

    def __init__(self, f: Function) -> None:
        self._ranges: dict[Value, Range] = {}
        self._forms: dict[Value, Affine] = {}
        self._steps: dict[Value, tuple[int, T.Dim, T.Dim]] = {}  # inner loops have larger numbers
        self._regions = Counter(id(r) for eqn in f.walk() for r in eqn.regions)
        self._function(f)

    def range(self, v: T.Dim) -> Range:
        """The integers that v (or its elements) may be; bools count as 0 and 1."""
        if isinstance(v, int):
            return Range(v, v)
        if isinstance(v, Literal):
            return Range(int(v.item), int(v.item))
        return self._ranges.get(v) or dtype_range(v.dtype)

    def affine(self, v: T.Dim) -> Affine:
        """The affine form of a scalar; equal values need not have equal forms."""
        if isinstance(v, int):
            return Affine(frozenset(), v)
        if isinstance(v, Literal):
            return Affine(frozenset(), int(v.item))
        return self._forms.get(v) or Affine(frozenset([(v, 1)]), 0)

    def equal(self, a: T.Dim, b: T.Dim) -> bool:
        """Whether two scalars are proved equal."""
        return self.affine(a) == self.affine(b)

    def less(self, a: T.Dim, b: T.Dim) -> bool:
        """Whether a < b is proved."""
        return self._at_least(self.affine(b).plus(self.affine(a), -1), 1)

    def less_equal(self, a: T.Dim, b: T.Dim) -> bool:
        """Whether a <= b is proved."""
        return self._at_least(self.affine(b).plus(self.affine(a), -1), 0)

    # -- order ------------------------------------------------------------------------------------

    def _at_least(self, form: Affine, bound: int) -> bool:
        """Whether form >= bound. An index of a loop is put at the end of its steps that makes the
        form least, the innermost first: `n - i` becomes `n - (n - 1)`."""
        while form.exact:
            if self._least(form) >= bound:
                return True
            indices = [(self._steps[v], v, c) for v, c in form.terms if v in self._steps]
            if not indices:
                return False
            (_, low, high), index, coefficient = max(indices, key=lambda item: item[0][0])
            end = self.affine(low)
            if coefficient < 0:
                end = self.affine(high).plus(Affine(frozenset(), -1))
            own = Affine(frozenset([(index, 1)]), 0)
            form = form.plus(own, -coefficient).plus(end, coefficient)
        return False

    def _least(self, form: Affine) -> int:
        ends = ((c, self.range(v)) for v, c in form.terms)
        return form.const + sum(c * (r.lo if c > 0 else r.hi) for c, r in ends)

    # -- the pass ---------------------------------------------------------------------------------

    def _function(self, f: Function) -> None:
        for itemsize, extent in _extents(f.params):
            self._ranges[extent] = _meet(self.range(extent), Range(0, (2**63 - 1) // itemsize))
        for eqn in f.eqns:
            self._eqn(eqn)

    def _eqn(self, eqn: Eqn) -> None:
        rule = eqn.op.facts
        for i, region in enumerate(eqn.regions):
            if rule and rule.entry and self._regions[id(region)] == 1:
                for param, entry in zip(region.params, rule.entry(eqn)[i]):
                    self._enter(param, entry)
            self._function(region)
        if rule is None:
            return
        if rule.extents:
            for result in eqn.results:
                if result.type == T.scalar(T.i64):
                    self._ranges[result] = Range(0, 2**63 - 1)
        elif len(eqn.results) == 1 and is_integer(eqn.results[0]):
            self._result(eqn, rule)

    def _result(self, eqn: Eqn, rule: FactRule) -> None:
        result, whole = eqn.results[0], dtype_range(eqn.results[0].dtype)
        ideal: Range | None = None
        if rule.range:
            known = [self.range(v) if is_integer(v) else None for v in eqn.operands]
            ideal = rule.range(eqn, *known)
        fits = ideal is not None and ideal.within(whole)
        if ideal is not None and fits:
            self._ranges[result] = ideal
        same_ring = all(v.type == T.scalar(T.i64) for v in (*eqn.operands, result))
        scalars = all(is_integer(v) and v.rank == 0 for v in (*eqn.operands, result))
        if rule.affine and scalars and (fits or same_ring):
            form = rule.affine(eqn, *map(self.affine, eqn.operands))
            if form is not None:
                self._forms[result] = Affine(form.terms, form.const, form.exact and fits)

    def _enter(self, param: Value, entry: Entry) -> None:
        if entry is None or not is_integer(param):
            return
        if isinstance(entry, Value):
            self._ranges[param] = self.range(entry)
            if param.rank == 0:
                self._forms[param] = self.affine(entry)
            return
        self._steps[param] = (len(self._steps), entry.low, entry.high)
        self._ranges[param] = Range(self.range(entry.low).lo, self.range(entry.high).hi - 1)


def is_integer(v: Value) -> bool:
    """Whether v is an integer or a bool, or an array of them."""
    return not isinstance(v.type, T.TapeType) and v.dtype.kind in "biu"


def dtype_range(dtype: T.DType) -> Range:
    """All the values of an integer dtype."""
    if dtype.is_bool:
        return Range(0, 1)
    half = 2 ** (dtype.bits - 1)
    return Range(-half, half - 1) if dtype.kind == "i" else Range(0, 2 * half - 1)


def _meet(a: Range, b: Range) -> Range:
    return Range(max(a.lo, b.lo), min(a.hi, b.hi))


def _extents(values: Sequence[Value]) -> Iterator[tuple[int, Value]]:
    """The extents of arrays that exist, with the size of an element: NumPy makes no array, empty
    or not, whose extents other than 0 multiply to more than 2**63 - 1 bytes."""
    for v in values:
        if isinstance(v.type, T.TapeType):
            continue
        for dim in v.dims:
            if not isinstance(dim, int):
                yield v.dtype.itemsize, dim


# -- rules for ops to carry ------------------------------------------------------------------------


def _product_range(eqn: Eqn, a: Range, b: Range) -> Range:
    ends = [x * y for x in a for y in b]
    return Range(min(ends), max(ends))


def _product_form(eqn: Eqn, a: Affine, b: Affine) -> Affine | None:
    zero = Affine(frozenset(), 0)
    if not b.terms:
        return zero.plus(a, b.const)
    return None if a.terms else zero.plus(b, a.const)


def _floordiv_range(eqn: Eqn, a: Range, b: Range) -> Range | None:
    if b.lo <= 0:
        return None
    ends = [x // y for x in a for y in b]
    return Range(min(ends), max(ends))


def _rem_range(eqn: Eqn, a: Range, b: Range) -> Range | None:
    """NumPy's remainder has the sign of the divisor."""
    if b.lo <= 0:
        return None
    return a if a.lo >= 0 and a.hi < b.lo else Range(0, b.hi - 1)


def _same_range(eqn: Eqn, a: Range | None, *rest: Any) -> Range | None:
    return a


ADD = FactRule(
    range=lambda eqn, a, b: Range(a.lo + b.lo, a.hi + b.hi),
    affine=lambda eqn, a, b: a.plus(b),
)
SUB = FactRule(
    range=lambda eqn, a, b: Range(a.lo - b.hi, a.hi - b.lo),
    affine=lambda eqn, a, b: a.plus(b, -1),
)
NEG = FactRule(
    range=lambda eqn, a: Range(-a.hi, -a.lo),
    affine=lambda eqn, a: Affine(frozenset(), 0).plus(a, -1),
)
MUL = FactRule(range=_product_range, affine=_product_form)
FLOORDIV = FactRule(range=_floordiv_range)
REM = FactRule(range=_rem_range)
MAXIMUM = FactRule(range=lambda eqn, a, b: Range(max(a.lo, b.lo), max(a.hi, b.hi)))
MINIMUM = FactRule(range=lambda eqn, a, b: Range(min(a.lo, b.lo), min(a.hi, b.hi)))
SELECT = FactRule(range=lambda eqn, condition, a, b: a.join(b))
CONVERT = FactRule(range=_same_range, affine=lambda eqn, a: a)
SAME_ELEMENTS = FactRule(range=_same_range)  # moves elements of operand 0
EXTENTS = FactRule(extents=True)
