"""What is known of integers before the program runs, where it is known.

    func @f(%n: i64, %x: f64[%n]) {            known = facts(f)
      %m: i64 = sub %n, 1                      known.range(m)       == Range(-1, 2**60 - 2)
      %k: i64 = add %m, 1                      known.equal(k, n)
      for %m @body(%i: i64) { ... }            known.less(i, n)
      %ok: bool = lt %j, %n
      check %ok, %j                            from here on: known.less(j, n)

One walk in program order. What holds only inside a region (the arm of a branch, a loop that runs
at least once) is taken back at its end, so an observer that is called at each equation sees what is
true there. Order is proved by adding up known orders, each of which gets rid of one value: `n - i`
is at least `n - (n - 1)`.

Nothing is concluded from a use: that an extent is not negative follows from an array that exists
(a param, a result), not from one that is about to be made, since the check in front of it is among
the things to prove.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from jitnet.ir import types as T
from jitnet.ir.core import Eqn, Function
from jitnet.ir.facts import (
    Affine,
    Carried,
    Case,
    Claim,
    Exit,
    FactRule,
    Fits,
    Onward,
    Order,
    Range,
    Retold,
    Steps,
    Truth,
    constant,
    dtype_range,
    is_integer,
)
from jitnet.ir.op import Op
from jitnet.ir.value import Literal, Value

DEPTH = 4
"""How many orders are added up at most to prove another."""

BUDGET = 32
"""How many sums of orders are looked at for one proof."""

CASE_COST = 4
"""What to look at the cases of a value takes from that."""

ATTEMPTS = 4
"""How often it is tried to bound what a loop carries; each time less of it."""

ORDERS = 6
"""How many orders are kept for a value, the latest."""

Observer = Callable[["Facts", Eqn], None]


def facts(f: Function, observe: Observer | None = None) -> Facts:
    """The facts of a Function and all its regions, from one walk over it. `observe` is called for
    each equation when what its operands are is known, and before its regions."""
    return Facts(f, observe)


class Facts:
    """Answers about the integer values of one Function.

    Attributes:
        instead: values that could be one of several, and the one that they always are.
    """

    def __init__(self, f: Function, observe: Observer | None = None) -> None:
        self._ranges: dict[Value, Range] = {}
        self._forms: dict[Value, Affine] = {}
        self._orders: dict[Value, tuple[Affine, ...]] = {}  # each is >= 0
        self._cases: dict[Value, Sequence[Case]] = {}
        self._truths: dict[Value, bool] = {}
        self._fitting: dict[Fits, bool] = {}
        self._definitions: dict[Value, Eqn] = {}
        self._counted: dict[tuple[Op, Value, int], Value] = {}
        self._same: dict[Value, Value] = {}  # params, and what they are outside
        self._choices: dict[Value, Sequence[Case]] = {}  # bools that are one of several
        self._undo: list[_Change] = []
        self._tried: list[_Change] = []
        self._regions = Counter(id(r) for eqn in f.walk() for r in eqn.regions)
        self._observe = observe
        self._trying = False
        self._budget = 0
        self.instead: dict[Value, Value] = {}
        self._function(f)

    def range(self, v: T.Dim) -> Range:
        """The integers that v (or its elements) may be; bools count as 0 and 1."""
        if isinstance(v, int):
            return Range(v, v)
        if isinstance(v, Literal):
            return Range(int(v.item), int(v.item))
        return self._ranges.get(self._same.get(v, v)) or dtype_range(v.dtype)

    def affine(self, v: T.Dim) -> Affine:
        """The affine form of a scalar; equal values need not have equal forms."""
        if isinstance(v, int):
            return constant(v)
        if isinstance(v, Literal):
            return constant(int(v.item))
        return self._forms.get(v) or Affine({v: 1}, 0)

    def truth(self, v: Value) -> bool | None:
        """Whether a bool is known to hold, or not to."""
        if isinstance(v, Literal):
            return bool(v.item)
        return self._truths.get(self._same.get(v, v))

    def equal(self, a: T.Dim, b: T.Dim) -> bool:
        """Whether two scalars are proved equal."""
        return self.affine(a).equals(self.affine(b))

    def less(self, a: T.Dim, b: T.Dim) -> bool:
        """Whether a < b is proved."""
        return self._proves(Order(a, b, 1))

    def less_equal(self, a: T.Dim, b: T.Dim) -> bool:
        """Whether a <= b is proved."""
        return self._proves(Order(a, b, 0))

    def cannot_wrap(self, eqn: Eqn) -> bool:
        """Whether an equation of `add_wraps` or its like is proved false."""
        rule = eqn.op.facts
        assert rule is not None
        assert rule.range is not None
        return rule.range(eqn, *map(self.range, eqn.operands)) == Range(0, 0)

    # -- order ------------------------------------------------------------------------------------

    def _form(self, order: Order) -> Affine:
        """What is at least 0 where the order holds."""
        form = self._integer(order.high).plus(self._integer(order.low), -1)
        return form.plus(constant(-order.gap))

    def _integer(self, v: T.Dim) -> Affine:
        """The affine form as integers are added up: the value itself, where that may wrap."""
        form = self.affine(v)
        if form.exact or isinstance(v, int | Literal):
            return form
        return Affine({self._same.get(v, v): 1}, 0)

    def _proves(self, order: Order) -> bool:
        low, high = self.range(order.low), self.range(order.high)
        if high.lo - low.hi >= order.gap:
            return True
        self._budget = BUDGET
        return self._not_negative(self._form(order), DEPTH)

    def _not_negative(self, form: Affine, depth: int) -> bool:
        self._budget -= 1
        if not form.exact or self._budget < 0:
            return False
        low, high = self._ends(form)
        if low >= 0 or high < 0 or not depth:
            return low >= 0
        for v, c in form.terms.items():
            for order in self._orders.get(v, ()):
                own = order.terms[v]
                if c * own > 0 and c % own == 0:
                    rest = form.plus(order, -(c // own))
                    simpler = len(rest.terms) <= len(form.terms)
                    if simpler and self._not_negative(rest, depth - 1):
                        return True
        return any(
            self._in_all_cases(form, v, c, depth) for v, c in form.terms.items() if v in self._cases
        )

    def _in_all_cases(self, form: Affine, v: Value, c: int, depth: int) -> bool:
        self._budget -= CASE_COST
        own = Affine({v: 1}, 0)
        for case in self._cases[v]:
            mark = len(self._undo)
            instead = self.affine(case.value).plus(own, -1)
            for claim in case.claims:
                self._assume(claim)
            told = [o.plus(instead, o.terms[v]) for o in self._orders.get(v, ())]
            impossible = any(o.exact and self._ends(o).hi < 0 for o in told)
            holds = impossible or self._not_negative(form.plus(instead, c), depth - 1)
            self._take_back(mark)
            if not holds:
                return False
        return True

    def _ends(self, form: Affine) -> Range:
        low = high = form.const
        for v, c in form.terms.items():
            r = self.range(v)
            low += c * (r.lo if c > 0 else r.hi)
            high += c * (r.hi if c > 0 else r.lo)
        return Range(low, high)

    # -- assumptions ------------------------------------------------------------------------------

    def _set(self, where: dict[Any, Any], key: Any, value: Any) -> None:
        self._undo.append((where, key, where.get(key)))
        where[key] = value

    def _put(self, where: dict[Any, Any], key: Any, value: Any) -> None:
        """Note what holds for good, or to the end of a walk on trial."""
        if self._trying:
            self._tried.append((where, key, where.get(key)))
        where[key] = value

    def _take_back(self, mark: int) -> None:
        _undo(self._undo, mark)

    def _assume(self, claim: Claim) -> None:
        if isinstance(claim, Order):
            self._assume_order(claim)
            return
        if isinstance(claim, Fits):
            self._set(self._fitting, claim, True)
            return
        value, holds = self._same.get(claim.value, claim.value), claim.holds
        if isinstance(value, Literal) or value in self._truths or not value.dtype.is_bool:
            return
        self._set(self._truths, value, holds)
        eqn = self._definitions.get(value)
        rule = eqn.op.facts if eqn is not None else None
        if eqn is not None and rule is not None and rule.implies is not None:
            for implied in rule.implies(eqn, holds):
                if _is_about_integers(implied):
                    self._assume(implied)
        possible = [c for c in self._choices.get(value, ()) if self._may_be(c, holds)]
        if len(possible) == 1:
            for implied in (*possible[0].claims, Truth(possible[0].value, holds)):
                self._assume(implied)

    def _may_be(self, case: Case, holds: bool) -> bool:
        """Whether a bool may be that in this case."""
        value = self._same.get(case.value, case.value)
        if self.truth(value) is not None:
            return self.truth(value) is holds
        return all(not isinstance(c, Truth) or c != Truth(value, not holds) for c in case.claims)

    def _assume_order(self, order: Order) -> None:
        low, high, gap = order
        self._narrow(high, Range(self.range(low).lo + gap, 2**64))
        self._narrow(low, Range(-(2**64), self.range(high).hi - gap))
        if any(isinstance(v, Value) and v.rank for v in (low, high)):
            return
        form = self._form(order)
        if form.exact:
            for v in form.terms:
                self._learn(v, form)

    def _learn(self, v: Value, form: Affine) -> None:
        """That the form, in which v occurs, is not negative."""
        self._set(self._orders, v, (*self._orders.get(v, ())[-ORDERS + 1 :], form))
        c = form.terms[v]
        if abs(c) == 1:
            rest = self._ends(form.plus(Affine({v: 1}, 0), -c))
            whole = 2**64
            self._narrow(v, Range(-rest.hi, whole) if c > 0 else Range(-whole, rest.hi))

    def _narrow(self, v: T.Dim, to: Range) -> None:
        if isinstance(v, int | Literal):
            return
        now = self.range(v)
        new = _meet(now, to)
        if new != now and new.lo <= new.hi:
            self._set(self._ranges, self._same.get(v, v), new)

    # -- the walk ---------------------------------------------------------------------------------

    def _function(self, f: Function) -> None:
        for itemsize, extent in _extents(f.params):
            self._narrow(extent, Range(0, (2**63 - 1) // itemsize))
        for eqn in f.eqns:
            self._eqn(eqn)

    def _eqn(self, eqn: Eqn) -> None:
        if self._observe is not None and not self._trying:
            self._observe(self, eqn)
        rule = eqn.op.facts
        ends, told = self._walk_regions(eqn, rule, self._by_induction(eqn, rule))
        if rule is None:
            return
        if rule.exits:
            self._leave_regions(eqn, rule.exits(eqn), ends)
            self._note_choices(eqn, rule, told)
        if rule.extents:
            for result in eqn.results:
                if result.type == T.scalar(T.i64):
                    self._put(self._ranges, result, Range(0, 2**63 - 1))
                    self._count(eqn, rule, result)
        elif len(eqn.results) == 1 and is_integer(eqn.results[0]):
            self._result(eqn, rule)
        if rule.after:
            for claim in rule.after(eqn):
                self._assume(claim)

    def _result(self, eqn: Eqn, rule: FactRule) -> None:
        result, whole = eqn.results[0], dtype_range(eqn.results[0].dtype)
        self._put(self._definitions, result, eqn)
        ideal: Range | None = None
        known = [self.range(v) if is_integer(v) else None for v in eqn.operands]
        if rule.range:
            ideal = rule.range(eqn, *known)
        fits = ideal is not None and ideal.within(whole)
        if ideal is not None and Fits(eqn.op.name, eqn.operands) in self._fitting:
            ideal, fits = _meet(ideal, whole), True
        if ideal is not None and fits:
            self._put(self._ranges, result, ideal)
        if result.rank or not all(is_integer(v) and v.rank == 0 for v in eqn.operands):
            return
        same_ring = all(v.type == T.scalar(T.i64) for v in (*eqn.operands, result))
        if rule.affine and (fits or same_ring):
            form = rule.affine(eqn, *map(self.affine, eqn.operands))
            if form is not None:
                self._put(self._forms, result, form._replace(exact=form.exact and fits))
        if rule.cases and result.dtype.is_bool:
            self._put(self._choices, result, rule.cases(eqn))
        elif rule.cases:
            self._put(self._cases, result, rule.cases(eqn))
            self._settle_case(result)
        if rule.bounds and not result.dtype.is_bool:
            for claim in rule.bounds(eqn, *known):
                self._assume(claim)

    def _count(self, eqn: Eqn, rule: FactRule, result: Value) -> None:
        """An extent is the same wherever the operand that decides it is."""
        if rule.decided_by is not None:
            position = eqn.results.index(result)
            key = eqn.op, eqn.operands[rule.decided_by], position
            same = self._counted.setdefault(key, result)
            self._put(self._forms, result, self.affine(same))

    def _settle_case(self, result: Value) -> None:
        """What is known of a value with cases, which is one of them where that one's claims hold
        always."""
        for case in self._cases[result]:
            if all(isinstance(c, Order) and self._proves(c) for c in case.claims):
                self._put(self.instead, result, case.value)
                self._put(self._forms, result, self.affine(case.value))
                self._put(self._ranges, result, self.range(case.value))
                return
        met = _meet(self.range(result), self._range_of_cases(result))
        self._put(self._ranges, result, met)

    def _range_of_cases(self, result: Value) -> Range:
        """The range of a value that is one of several, each where its claims hold."""
        ranges = []
        for case in self._cases[result]:
            mark = len(self._undo)
            for claim in case.claims:
                self._assume(claim)
            own, form = self.range(case.value), self.affine(case.value)
            ranges.append(_meet(own, self._ends(form)) if form.exact else own)
            self._take_back(mark)
        return _join(ranges)

    # -- regions ----------------------------------------------------------------------------------

    def _walk_regions(
        self, eqn: Eqn, rule: FactRule | None, carried: dict[int, Range]
    ) -> tuple[list[list[Range | None]], list[list[Value]]]:
        """The ranges of what each region returns, and that with bools that are known in it.
        `carried`: the ranges of params that are, by their position."""
        ends: list[list[Range | None]] = []
        told: list[list[Value]] = []
        for i, region in enumerate(eqn.regions):
            mark = len(self._undo)
            if rule is not None and self._regions[id(region)] == 1:
                self._enter_region(eqn, rule, i, carried)
            self._function(region)
            ends.append([self.range(v) if is_integer(v) else None for v in region.results])
            told.append([self._as_known(v) for v in region.results])
            self._take_back(mark)
        return ends, told

    def _by_induction(self, eqn: Eqn, rule: FactRule | None) -> dict[int, Range]:
        """The ranges of what a loop carries that is never less than at first, or than 0, or than
        the first step makes it; and perhaps never larger than at first. That takes a walk of its
        own; walks in it make no such attempts."""
        if rule is None or rule.entry is None or not eqn.regions:
            return {}
        entries = [e for e in rule.entry(eqn)[0] if isinstance(e, Carried)]
        starts = {e.position: self.range(e.start) for e in entries}
        near = {e.position: _near(starts[e.position]) for e in entries if e.near}
        near = {j: r for j, r in near.items() if r.within(dtype_range(T.i64))}
        if self._trying or any(self._regions[id(region)] != 1 for region in eqn.regions):
            return near
        whole = {e.position: dtype_range(e.start.dtype).hi for e in entries}
        whole.update({j: r.hi for j, r in near.items()})
        least = {e.position: dtype_range(e.start.dtype).lo for e in entries}
        guess = {j: Range(min(r.lo, 0), r.hi) for j, r in starts.items() if r.lo > least[j]}
        for attempt in range(ATTEMPTS):
            if not guess:
                break
            self._trying = True
            returned = self._walk_regions(eqn, rule, {**near, **guess})[0][-1]
            self._trying = False
            _undo(self._tried, 0)
            ends = {j: r for j in guess if (r := returned[j]) is not None}
            if all(j in ends and ends[j].within(g) for j, g in guess.items()):
                return {**near, **{j: starts[j].join(r) for j, r in ends.items()}}
            lower = {j: min(r.lo, guess[j].lo) for j, r in ends.items()}
            guess = {
                j: guess[j] if r.within(guess[j]) else Range(lower[j], whole[j])
                for j, r in ends.items()
                if lower[j] == guess[j].lo or (attempt == 0 and lower[j] > least[j])
            }
        return near

    def _enter_region(self, eqn: Eqn, rule: FactRule, i: int, carried: dict[int, Range]) -> None:
        if rule.entry:
            for param, entry in zip(eqn.regions[i].params, rule.entry(eqn)[i]):
                if isinstance(entry, Carried):
                    if entry.position in carried:
                        self._put(self._ranges, param, carried[entry.position])
                else:
                    self._enter(param, entry)
        if rule.given:
            for claim in rule.given(eqn)[i]:
                self._assume(claim)

    def _enter(self, param: Value, entry: Value | Steps | Onward | Retold | None) -> None:
        if entry is None or not is_integer(param):
            return
        if isinstance(entry, Steps):
            self._enter_steps(param, entry)
        elif isinstance(entry, Onward):
            low, high = self.range(entry.start)
            if high <= 2**62:
                self._put(self._ranges, param, Range(low, high + 2**61))
                self._put(self._orders, param, (self._form(Order(entry.start, param, 0)),))
        elif isinstance(entry, Retold):
            if self._begins_so(entry):
                self._put(self._definitions, param, entry.eqn)
        else:
            self._put(self._same, param, self._same.get(entry, entry))
            if param.rank == 0:
                self._put(self._forms, param, self.affine(entry))

    def _begins_so(self, entry: Retold) -> bool:
        """Whether what the equation says holds at first, too, if the bool does."""
        rule = entry.eqn.op.facts
        if rule is None or rule.implies is None:
            return False
        claims = rule.implies(replace(entry.eqn, operands=entry.first), True)
        mark = len(self._undo)
        self._assume(Truth(entry.start, True))
        holds = all(
            isinstance(c, Order) and _is_about_integers(c) and self._proves(c) for c in claims
        )
        self._take_back(mark)
        return holds

    def _leave_regions(
        self, eqn: Eqn, exits: Sequence[Sequence[Exit]], ends: Sequence[Sequence[Range | None]]
    ) -> None:
        """The ranges of results that are one of several values."""
        for result, choices in zip(eqn.results, exits):
            if is_integer(result):
                found = [
                    self.range(c) if isinstance(c, Value) else ends[c[0]][c[1]] for c in choices
                ]
                self._put(self._ranges, result, _join([r for r in found if r is not None]))

    def _note_choices(self, eqn: Eqn, rule: FactRule, told: Sequence[Sequence[Value]]) -> None:
        """Bools that are what one of the regions returns, each run where its claims hold."""
        if rule.exits is None or rule.given is None:
            return
        given = rule.given(eqn)
        for result, choices in zip(eqn.results, rule.exits(eqn)):
            regions = [c for c in choices if not isinstance(c, Value)]
            if result.type == T.scalar(T.bool_) and len(regions) == len(choices):
                cases = [Case(given[i], told[i][j]) for i, j in regions]
                self._put(self._choices, result, cases)

    def _as_known(self, v: Value) -> Value:
        """A bool as a Literal where it is known."""
        truth = self.truth(v) if v.type == T.scalar(T.bool_) else None
        return v if truth is None else Literal(truth, T.bool_)

    def _enter_steps(self, param: Value, steps: Steps) -> None:
        """The param's own orders stay, as it is known to exist; that there is a step at all holds
        inside."""
        self._assume(Order(steps.low, steps.high, 1))
        within = Range(self.range(steps.low).lo, self.range(steps.high).hi - 1)
        self._put(self._ranges, param, within)
        orders = (Order(steps.low, param, 0), Order(param, steps.high, 1))
        exact = tuple(form for o in orders if (form := self._form(o)).exact)
        self._put(self._orders, param, exact)


_Change = tuple[dict[Any, Any], Any, Any]
"""A dict, a key, and what was there, None for nothing."""


def _undo(changes: list[_Change], mark: int) -> None:
    """Take back the latest changes, down to so many."""
    while len(changes) > mark:
        where, key, old = changes.pop()
        if old is None:
            where.pop(key, None)
        else:
            where[key] = old


def _join(ranges: Sequence[Range]) -> Range:
    return Range(min(r.lo for r in ranges), max(r.hi for r in ranges))


def _is_about_integers(claim: Claim) -> bool:
    if isinstance(claim, Order):
        return all(isinstance(v, int) or is_integer(v) for v in (claim.low, claim.high))
    return isinstance(claim, Fits) or is_integer(claim.value)


def _near(start: Range) -> Range:
    """Where something may be that began there and goes in small steps, for as long as it likes."""
    return Range(start.lo - 2**61, start.hi + 2**61)


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
