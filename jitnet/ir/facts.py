"""What ops tell of the integers that they make: ranges, affine forms, order. The vocabulary, and
the rules that ops carry; `knowledge` puts together what they say.

    range of  rem %x, 7            0 to 6
    form of   sub %n, 1            n - 1
    lt %i, %n  holds               n - i - 1 >= 0
    maximum %a, %b                 is %a where a >= b, else %b

A value is `const + sum of coefficient * value`, where the values on the right are those that no op
explains. i64 arithmetic wraps, so such a form holds modulo 2**64, which is enough for equality;
order is only claimed of forms that were proved not to wrap. The range of an array is that of its
elements. An op takes part by its `facts`, a `FactRule`: nothing here knows an op.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from jitnet.ir import types as T
from jitnet.ir.core import Eqn
from jitnet.ir.value import Value


class Range(NamedTuple):
    """The integers from lo to hi, both included."""

    lo: int
    hi: int

    def within(self, other: Range) -> bool:
        return other.lo <= self.lo and self.hi <= other.hi

    def join(self, other: Range) -> Range:
        return Range(min(self.lo, other.lo), max(self.hi, other.hi))


class Affine(NamedTuple):
    """`const + sum of coefficient * value`, modulo 2**64; as integers too where it is `exact`. No
    coefficient is 0."""

    terms: Mapping[Value, int]
    const: int
    exact: bool = True

    def plus(self, other: Affine, factor: int = 1) -> Affine:
        """`self + factor * other`."""
        exact = self.exact and other.exact
        const, fits = _wrapped(self.const + factor * other.const)
        exact = exact and fits
        if not other.terms:
            return Affine(self.terms, const, exact)
        terms = dict(self.terms)
        for v, c in other.terms.items():
            total, fits = _wrapped(terms.pop(v, 0) + factor * c)
            exact = exact and fits
            if total:
                terms[v] = total
        return Affine(terms, const, exact)

    def equals(self, other: Affine) -> bool:
        """Whether both are the same modulo 2**64."""
        return self.const == other.const and self.terms == other.terms


def constant(n: int) -> Affine:
    """An integer as a form."""
    return Affine({}, n)


def _wrapped(n: int) -> tuple[int, bool]:
    """An integer modulo 2**64, and whether it was within i64."""
    if -(2**63) <= n < 2**63:
        return n, True
    return (n + 2**63) % 2**64 - 2**63, False


class Steps(NamedTuple):
    """A region's param that runs through low, ..., high - 1."""

    low: T.Dim
    high: T.Dim


class Onward(NamedTuple):
    """A region's param that begins with a value and grows, by less than 2**61 in all."""

    start: Value


class Carried(NamedTuple):
    """A region's param that begins with a value and is, from then on, what the equation's last
    region returns at a position; `near`: always less than 2**61 from where it began."""

    start: Value
    position: int
    near: bool


class Retold(NamedTuple):
    """A bool param that begins with a value and is, from then on, true only where an equation
    says so; its operands are params, and here they are what those begin with."""

    start: Value
    eqn: Eqn
    first: tuple[Value, ...]


Entry = Value | Steps | Onward | Carried | Retold | None
"""What a region's param holds each time: what an outer value holds, steps, no less than a value
before the loop, what is carried in a way that is told, or unknown."""


Exit = Value | tuple[int, int]
"""A value before the equation; or of a region, by its number, the result at a position."""


class Order(NamedTuple):
    """`high - low >= gap`."""

    low: T.Dim
    high: T.Dim
    gap: int


class Truth(NamedTuple):
    """A bool, or all elements of an array of them, is this."""

    value: Value
    holds: bool


class Fits(NamedTuple):
    """The op of this name on these operands does not wrap around."""

    op: str
    operands: tuple[Value, ...]


Claim = Order | Truth | Fits


class Case(NamedTuple):
    """Where the claims hold, a result is this value."""

    claims: Sequence[Claim]
    value: Value


class FactRule(NamedTuple):
    """What an op tells of the integers that it makes.

    Attributes:
        range: `(eqn, *ranges of operands) -> Range` of the single result's elements, as if integers
            were unbounded; None for unknown. An operand that is no integer has the range None.
        affine: `(eqn, *affine forms of operands) -> Affine`, for rank 0; None for unknown.
        bounds: `(eqn, *ranges of operands) -> claims` about the single result, for rank 0.
        cases: `eqn -> what the single result is`, of which one case always holds; for rank 0.
        implies: `(eqn, truth) -> claims` that follow where its result, a bool, is that.
        entry: `eqn -> for each region, for each of its params, an Entry`.
        exits: `eqn -> for each of the first results, what it is one of`.
        given: `eqn -> for each region, claims` that hold in it.
        after: `eqn -> claims` that hold after it.
        extents: the i64 scalars among the results are extents: not negative.
        decided_by: these extents depend on this operand alone.
    """

    range: Callable[..., Range | None] | None = None
    affine: Callable[..., Affine | None] | None = None
    bounds: Callable[..., Sequence[Claim]] | None = None
    cases: Callable[[Eqn], Sequence[Case]] | None = None
    implies: Callable[[Eqn, bool], Sequence[Claim]] | None = None
    entry: Callable[[Eqn], Sequence[Sequence[Entry]]] | None = None
    exits: Callable[[Eqn], Sequence[Sequence[Exit]]] | None = None
    given: Callable[[Eqn], Sequence[Sequence[Claim]]] | None = None
    after: Callable[[Eqn], Sequence[Claim]] | None = None
    extents: bool = False
    decided_by: int | None = None


def is_integer(v: Value) -> bool:
    """Whether v is an integer or a bool, or an array of them."""
    return not isinstance(v.type, T.TapeType) and v.dtype.kind in "biu"


def dtype_range(dtype: T.DType) -> Range:
    """All the values of an integer dtype."""
    if dtype.is_bool:
        return Range(0, 1)
    half = 2 ** (dtype.bits - 1)
    return Range(-half, half - 1) if dtype.kind == "i" else Range(0, 2 * half - 1)


# -- rules for ops to carry ------------------------------------------------------------------------


def _product_range(eqn: Eqn, a: Range, b: Range) -> Range:
    ends = [x * y for x in a for y in b]
    return Range(min(ends), max(ends))


def _product_form(eqn: Eqn, a: Affine, b: Affine) -> Affine | None:
    zero = constant(0)
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


def _rem_bounds(eqn: Eqn, a: Range, b: Range) -> Sequence[Claim]:
    return (Order(eqn.result, eqn.operands[1], 1),) if b.lo > 0 else ()


def _cases_of_select(eqn: Eqn) -> Sequence[Case]:
    condition, x, y = eqn.operands
    return Case((Truth(condition, True),), x), Case((Truth(condition, False),), y)


def _cases_of_maximum(eqn: Eqn) -> Sequence[Case]:
    a, b = eqn.operands
    return Case((Order(b, a, 0),), a), Case((Order(a, b, 0),), b)


def _cases_of_minimum(eqn: Eqn) -> Sequence[Case]:
    a, b = eqn.operands
    return Case((Order(a, b, 0),), a), Case((Order(b, a, 0),), b)


def _compared(when_true: Sequence[str], when_false: Sequence[str]) -> FactRule:
    """A comparison of x and y by the orders that follow: "x<y", "y<=x" and so on."""

    def implies(eqn: Eqn, truth: bool) -> Sequence[Claim]:
        named = dict(zip("xy", eqn.operands))
        orders = when_true if truth else when_false
        return [Order(named[o[0]], named[o[-1]], 0 if "=" in o else 1) for o in orders]

    return FactRule(implies=implies)


def _both(eqn: Eqn, truth: bool) -> Sequence[Claim]:
    return [Truth(v, True) for v in eqn.operands] if truth else ()


def _neither(eqn: Eqn, truth: bool) -> Sequence[Claim]:
    return () if truth else [Truth(v, False) for v in eqn.operands]


def _and_range(eqn: Eqn, a: Range, b: Range) -> Range | None:
    positive = [r.hi for r in (a, b) if r.lo >= 0]
    return Range(0, min(positive)) if positive else None


def _or_range(eqn: Eqn, a: Range, b: Range) -> Range | None:
    if a.lo < 0 or b.lo < 0:
        return None
    return Range(0, (1 << max(a.hi, b.hi).bit_length()) - 1)


def _shifted_range(eqn: Eqn, a: Range, b: Range) -> Range | None:
    return Range(min(a.lo, 0), max(a.hi, 0)) if b.lo >= 0 else None


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
    affine=lambda eqn, a: constant(0).plus(a, -1),
)
MUL = FactRule(range=_product_range, affine=_product_form)
FLOORDIV = FactRule(range=_floordiv_range)
REM = FactRule(range=_rem_range, bounds=_rem_bounds)
MAXIMUM = FactRule(
    range=lambda eqn, a, b: Range(max(a.lo, b.lo), max(a.hi, b.hi)),
    bounds=lambda eqn, a, b: [Order(v, eqn.result, 0) for v in eqn.operands],
    cases=_cases_of_maximum,
)
MINIMUM = FactRule(
    range=lambda eqn, a, b: Range(min(a.lo, b.lo), min(a.hi, b.hi)),
    bounds=lambda eqn, a, b: [Order(eqn.result, v, 0) for v in eqn.operands],
    cases=_cases_of_minimum,
)
SELECT = FactRule(range=lambda eqn, condition, a, b: a.join(b), cases=_cases_of_select)
EQ = _compared(["x<=y", "y<=x"], [])
NE = _compared([], ["x<=y", "y<=x"])
LT = _compared(["x<y"], ["y<=x"])
LE = _compared(["x<=y"], ["y<x"])
GT = _compared(["y<x"], ["x<=y"])
GE = _compared(["y<=x"], ["x<y"])
AND = FactRule(range=_and_range, implies=_both)
OR = FactRule(range=_or_range, implies=_neither)
NOT = FactRule(implies=lambda eqn, truth: [Truth(eqn.operands[0], not truth)])
ALL = FactRule(implies=_both)
ANY = FactRule(implies=_neither)
SHIFT_RIGHT = FactRule(range=_shifted_range)
CONVERT = FactRule(range=_same_range, affine=lambda eqn, a: a)
SAME_ELEMENTS = FactRule(range=_same_range)  # moves elements of operand 0
EXTENTS = FactRule(extents=True)
COUNT = FactRule(extents=True, decided_by=0)  # how many elements of operand 0 are True, say
