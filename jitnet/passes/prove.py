"""What the facts decide: comparisons of integers, bools that are known where they are read, scalars
that are constant or one of their operands. With them go checks that cannot fail.

for %n @body(%i: i64) {
  %ok: bool = lt %i, %n         ->      true
  check %ok, %i                 ->      nothing (by `simplify`)
}

A check that was passed is a fact for what comes after it, and so is the condition of a branch in
its arms and that of a loop in its body.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from jitnet.ir import (
    Builder,
    Effect,
    Eqn,
    Facts,
    Function,
    Literal,
    Op,
    Value,
    effect_of,
    facts,
    moved,
    substitute_dims,
)
from jitnet.ir import types as T
from jitnet.ir.facts import is_integer
from jitnet.ops import (
    add_wraps,
    eq,
    full,
    ge,
    gt,
    le,
    lt,
    maximum,
    minimum,
    mul_wraps,
    ne,
    sub_wraps,
)
from jitnet.ops.control import CHECK

Claim = Callable[[Facts, Value, Value], bool]


def _differ(known: Facts, a: Value, b: Value) -> bool:
    return known.less(a, b) or known.less(b, a)


DECIDED_BY: dict[Op, tuple[Claim, Claim]] = {  # what makes op(a, b) true, and what makes it false
    lt: (Facts.less, lambda known, a, b: known.less_equal(b, a)),
    le: (Facts.less_equal, lambda known, a, b: known.less(b, a)),
    gt: (lambda known, a, b: known.less(b, a), Facts.less_equal),
    ge: (lambda known, a, b: known.less_equal(b, a), Facts.less),
    eq: (Facts.equal, _differ),
    ne: (_differ, Facts.equal),
}

WRAPS: tuple[Op, ...] = (add_wraps, sub_wraps, mul_wraps)

CHOICES: tuple[Op, ...] = (maximum, minimum)


def prove(f: Function) -> Function:
    """`f` with decided comparisons of integers (or of arrays of them) as constants, and bools that
    are known where they are read."""
    if not any(map(_is_candidate, f.walk())):
        return f
    found = _Found()
    known = facts(f, found.look)
    found.settle(known, f)
    return _settled(f, found, {}) if found.answers or found.operands or found.instead else f


@dataclass
class _Found:
    """Attributes:
    answers: equations that are decided, by their result.
    operands: of an equation (by its id), the positions of bools that are known there.
    instead: scalars, and what they always are: an operand, or a constant.
    """

    answers: dict[Value, bool] = field(default_factory=dict)
    operands: dict[int, dict[int, bool]] = field(default_factory=dict)
    instead: dict[Value, Value] = field(default_factory=dict)

    def look(self, known: Facts, eqn: Eqn) -> None:
        for i, v in enumerate(eqn.operands):
            if not isinstance(v, Literal) and v.type == T.scalar(T.bool_):
                truth = known.truth(v)
                if truth is not None and v not in self.answers:
                    self.operands.setdefault(id(eqn), {})[i] = truth
        if eqn.op in WRAPS and known.cannot_wrap(eqn):
            self.answers[eqn.result] = False
        elif eqn.op in DECIDED_BY and is_integer(eqn.operands[0]):
            for claim, answer in zip(DECIDED_BY[eqn.op], (True, False)):
                if claim(known, *eqn.operands):
                    self.answers[eqn.result] = answer

    def settle(self, known: Facts, f: Function) -> None:
        """Take in what the walk over `f` has found of scalars. Those that a region returns stay:
        the types of other results may name them."""
        for eqn in f.eqns:
            for region in eqn.regions:
                self.settle(known, region)
            if len(eqn.results) != 1 or eqn.regions or eqn.result.type != T.scalar(T.i64):
                continue
            form, r = known.affine(eqn.result), eqn.result
            if r in f.results or effect_of(eqn) > Effect.PURE:
                continue
            if not form.terms:
                self.instead[r] = Literal(form.const, T.i64)
            elif r in known.instead:
                self.instead[r] = known.instead[r]


def _is_candidate(eqn: Eqn) -> bool:
    decides = eqn.op in DECIDED_BY and is_integer(eqn.operands[0])
    return decides or eqn.op in CHOICES or eqn.op in WRAPS or eqn.op is CHECK


def _settled(f: Function, found: _Found, env: dict[Value, Value]) -> Function:
    """The Function with what was found; `env`: what is read in the place of decided scalars."""
    eqns: list[Eqn] = []
    for eqn in f.eqns:
        if len(eqn.results) == 1 and eqn.result in found.instead:
            value = found.instead[eqn.result]
            env[eqn.result] = env.get(value, value)
            continue
        if len(eqn.results) == 1 and eqn.result in found.answers:
            answer = Literal(found.answers[eqn.result], T.bool_)
            if eqn.result.rank == 0:
                env[eqn.result] = answer
            else:
                eqns.append(_filled(eqn, answer, env))
            continue
        known = found.operands.get(id(eqn), {})
        operands = tuple(
            Literal(known[i], T.bool_) if i in known else env.get(v, v)
            for i, v in enumerate(eqn.operands)
        )
        regions = tuple(_settled(region, found, env) for region in eqn.regions)
        eqns.append(moved(eqn, operands, regions, env))
    results = tuple(env.get(v, v) for v in f.results)
    same = len(eqns) == len(f.eqns) and all(a is b for a, b in zip(eqns, f.eqns))
    if same and results == f.results:
        return f
    return Function(f.name, f.params, tuple(eqns), results, f.level)


def _filled(eqn: Eqn, answer: Literal, env: dict[Value, Value]) -> Eqn:
    """The answer as all elements of the equation's result."""
    with Builder("filled") as b:
        full(answer, substitute_dims(eqn.result.dims, env))
    (broadcast,) = b.eqns
    if broadcast.result.type == eqn.result.type:
        return replace(broadcast, results=eqn.results, loc=eqn.loc)
    env[eqn.result] = broadcast.result
    return replace(broadcast, loc=eqn.loc)
