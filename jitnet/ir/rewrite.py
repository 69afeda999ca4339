"""The rewrite driver: rules as data, applied once in program order.

    @rule(NEG)
    def double_negation(eqn, definition):             # %a = neg %x
        inner = definition(eqn.operands[0])           # %b = neg %a     ->  %b is %x
        return inner.operands[0] if inner and inner.op is NEG else None

    g = rewrite(f, [double_negation])

A rule is offered each equation of its op, with operands that are rewritten already. It returns what
stands in for the results, built with ops that bind into the current builder, or None. What it
built is offered to the rules in turn, so that an equation leaves when no rule fires any more.
Regions are rewritten before the equation that holds them. Equations that nothing reads any more
stay behind: `passes.dce` sweeps.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from jitnet.ir.builder import Builder
from jitnet.ir.core import Eqn, Function
from jitnet.ir.op import Op
from jitnet.ir.value import Literal, Value, substitute_type


class Definition:
    """What a rule may ask of the values that an equation reads.

    `definition(v)` is the equation that binds v; None for params and literals.
    """

    def __init__(self, eqns: dict[Value, Eqn], uses: Counter[Value]) -> None:
        self.eqns = eqns
        self.uses = uses

    def __call__(self, v: Value) -> Eqn | None:
        return self.eqns.get(v)

    def is_read_once(self, v: Value) -> bool:
        """Whether only the equation at hand reads v, for sure: then its own may be replaced."""
        return self.uses[v] <= 1


RuleFn = Callable[[Eqn, Definition], Value | Sequence[Value] | None]


class Rule(NamedTuple):
    """`fn` may replace equations of these ops, or of any op where there are none.

    Attributes:
        fn: `(eqn, definition) -> one Value per result` (a bare Value for one), of the same types.
    """

    ops: tuple[Op, ...]
    fn: RuleFn


def rule(*ops: Op) -> Callable[[RuleFn], Rule]:
    """A decorator that makes a function a Rule."""
    return lambda fn: Rule(ops, fn)


def rewrite(f: Function, rules: Iterable[Rule]) -> Function:
    """`f` after the rules. It is `f` itself where none fired.

    Raises:
        AssertionError: where a rule's replacement is of another type.
    """
    offers = _by_op(rules)
    if not any(offers(eqn.op) for eqn in f.walk()):
        return f
    return _Rewriter(offers, f.level, {}, {}).function(f)


def _count_uses(f: Function) -> Counter[Value]:
    """How often each value is read in f itself; its regions count where they are lexical."""
    uses = Counter(f.results)
    for eqn in f.eqns:
        uses.update(eqn.operands)
        if f.level == "kernel":
            for region in eqn.regions:
                uses.update(_count_uses(region))
    return uses


def _by_op(rules: Iterable[Rule]) -> Callable[[Op], Sequence[RuleFn]]:
    """The functions to offer an equation of an op, in the order of the rules."""
    ordered = list(rules)
    known: dict[Op, list[RuleFn]] = {}

    def of(op: Op) -> Sequence[RuleFn]:
        if op not in known:
            known[op] = [r.fn for r in ordered if not r.ops or op in r.ops]
        return known[op]

    return of


class _Rewriter:
    """Rewrites one body. At the kernel level a region sees the values around it, so it starts from
    the environment and the definitions of its surroundings."""

    def __init__(
        self,
        rules: Callable[[Op], Sequence[RuleFn]],
        level: str,
        env: Mapping[Value, Value],
        definitions: Mapping[Value, Eqn],
    ) -> None:
        self.rules = rules
        self.env = dict(env)
        self.definition = Definition(dict(definitions), Counter())
        self.builder = Builder(level=level)
        self.changed = False

    def function(self, f: Function) -> Function:
        self.definition.uses = _count_uses(f)
        with self.builder as b:
            b.name = f.name
            for p in f.params:
                type = substitute_type(p.type, self.env)
                self.env[p] = p if type == p.type else Value(type, p.name)
                b.params.append(self.env[p])
            for eqn in f.eqns:
                with b.at(eqn.loc):
                    results = self.offer(self.moved(eqn))
                self.rename(eqn.results, results)
            results = [self.env.get(r, r) for r in f.results]
        return b.build(*results) if self.changed else f

    def moved(self, eqn: Eqn) -> Eqn:
        """The equation on rewritten operands and regions; the same object if nothing changes."""
        operands = tuple(self.env.get(v, v) for v in eqn.operands)
        regions = tuple(map(self.region, eqn.regions))
        if _same(operands, eqn.operands) and _same(regions, eqn.regions):
            return eqn
        self.changed = True
        self.builder.rebind(eqn, operands, regions)
        moved = self.builder.eqns.pop()
        self.rename(eqn.results, moved.results)
        return moved

    def rename(self, old: Sequence[Value], new: Sequence[Value]) -> None:
        """From here on, new values stand for old ones, and are read where those are."""
        for r, v in zip(old, new):
            if v is not r:
                self.env[r] = v
                self.definition.uses[v] += self.definition.uses[r]

    def region(self, region: Function) -> Function:
        lexical = region.level == "kernel"
        env, definitions = (self.env, self.definition.eqns) if lexical else ({}, {})
        return _Rewriter(self.rules, region.level, env, definitions).function(region)

    def offer(self, eqn: Eqn) -> Sequence[Value]:
        """What the equation's results become, once no rule fires."""
        made = self.builder.eqns
        mark = len(made)
        for fn in self.rules(eqn.op):
            answer = fn(eqn, self.definition)
            new = made[mark:]
            del made[mark:]
            if answer is None:
                continue
            self.changed = True
            return self.replace(eqn, [answer] if isinstance(answer, Value) else list(answer), new)
        made.append(eqn)
        self.definition.eqns.update((r, eqn) for r in eqn.results)
        return eqn.results

    def replace(self, eqn: Eqn, answer: list[Value], new: list[Eqn]) -> Sequence[Value]:
        """Offer the equations that a rule built, and check and name what it returned."""
        assert len(answer) == len(eqn.results), f"a rule for {eqn.op.name} lost results"
        built = {r for made in new for r in made.results}
        for made in new:
            self.definition.uses.update(made.operands)
            self.rename(made.results, self.offer(self.moved(made)))
        values = [self.env.get(v, v) for v in answer]
        for old, asked, value in zip(eqn.results, answer, values):
            fits = value.type == substitute_type(old.type, dict(zip(eqn.results, values)))
            assert fits, f"a rule for {eqn.op.name} gave {value.type} for {old.type}"
            if asked in built and not value.name and not isinstance(value, Literal):
                value.name = old.name
        return values


def _same(xs: Sequence[object], ys: Sequence[object]) -> bool:
    return all(x is y for x, y in zip(xs, ys))
