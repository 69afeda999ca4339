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

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from jitnet.ir.builder import Builder
from jitnet.ir.core import Eqn, Function
from jitnet.ir.op import Op
from jitnet.ir.value import Literal, Value, substitute_type

Definition = Callable[[Value], Eqn | None]
"""Gives the equation that binds a value; None for params and literals."""

RuleFn = Callable[[Eqn, Definition], Value | Sequence[Value] | None]


@dataclass(frozen=True)
class Rule:
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
    return _Rewriter(_by_op(rules), f.level, {}, {}).function(f)


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
        self.definitions = dict(definitions)
        self.builder = Builder(level=level)
        self.changed = False

    def function(self, f: Function) -> Function:
        with self.builder as b:
            b.name = f.name
            for p in f.params:
                type = substitute_type(p.type, self.env)
                self.env[p] = p if type == p.type else Value(type, p.name)
                b.params.append(self.env[p])
            for eqn in f.eqns:
                with b.at(eqn.loc):
                    results = self.offer(self.moved(eqn))
                self.env.update((r, v) for r, v in zip(eqn.results, results) if v is not r)
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
        self.env.update(zip(eqn.results, moved.results))
        return moved

    def region(self, region: Function) -> Function:
        lexical = region.level == "kernel"
        env, definitions = (self.env, self.definitions) if lexical else ({}, {})
        return _Rewriter(self.rules, region.level, env, definitions).function(region)

    def offer(self, eqn: Eqn) -> Sequence[Value]:
        """What the equation's results become, once no rule fires."""
        made = self.builder.eqns
        mark = len(made)
        for fn in self.rules(eqn.op):
            answer = fn(eqn, self.definitions.get)
            new = made[mark:]
            del made[mark:]
            if answer is None:
                continue
            self.changed = True
            return self.replace(eqn, [answer] if isinstance(answer, Value) else list(answer), new)
        made.append(eqn)
        self.definitions.update((r, eqn) for r in eqn.results)
        return eqn.results

    def replace(self, eqn: Eqn, answer: list[Value], new: list[Eqn]) -> Sequence[Value]:
        """Offer the equations that a rule built, and check and name what it returned."""
        assert len(answer) == len(eqn.results), f"a rule for {eqn.op.name} lost results"
        built = {r for made in new for r in made.results}
        for made in new:
            results = self.offer(self.moved(made))
            self.env.update((r, v) for r, v in zip(made.results, results) if v is not r)
        values = [self.env.get(v, v) for v in answer]
        for old, asked, value in zip(eqn.results, answer, values):
            fits = value.type == substitute_type(old.type, dict(zip(eqn.results, values)))
            assert fits, f"a rule for {eqn.op.name} gave {value.type} for {old.type}"
            if asked in built and not value.name and not isinstance(value, Literal):
                value.name = old.name
        return values


def _same(xs: Sequence[object], ys: Sequence[object]) -> bool:
    return all(x is y for x, y in zip(xs, ys))
