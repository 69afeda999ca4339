"""Reductions while they run: their state in registers, and how it takes in a term.

    total, rest = 0, 0
    for each block:  term = sum of the block;  total, rest = Neumaier(total, rest, term)
    result = total + rest

A sum of floats carries what rounding lost beside the total, so that it is no less accurate than a
pairwise sum, in an order that only the shape decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jitnet.ir import Eqn, Literal, Value
from jitnet.kernel import scalars as s
from jitnet.kernel.scalars import ScalarOp
from jitnet.ops.primitive import Reduction

Index = tuple[Value, ...]


@dataclass(eq=False)
class Fold:
    """A reduction while it runs.

    Attributes:
        start: the first axis of a trailing run of reduced axes; None: it folds in memory.
        kept: the axes that are left.
    """

    eqn: Eqn
    rule: Reduction
    op: ScalarOp
    start: int | None
    kept: tuple[int, ...]
    target: Value | None

    @property
    def compensated(self) -> bool:
        return self.rule.compensated and self.eqn.result.dtype.is_float

    def identity(self) -> Value:
        dtype = self.eqn.result.dtype
        return Literal(self.rule.identity(dtype), dtype)

    def initial(self) -> Index:
        if not self.compensated:
            return (self.identity(),)
        return (self.identity(), Literal(0.0, self.eqn.result.dtype))

    def add(self, state: Index, term: Value) -> Index:
        """The state after one more term; the first one replaces the identity."""
        total, *_ = state
        if isinstance(total, Literal):
            return (term, *state[1:])
        if not self.compensated:
            return (self.op(total, term),)
        rest = state[1]
        new = s.add(total, term)
        part = s.sub(new, total)
        error = s.add(s.sub(total, s.sub(new, part)), s.sub(term, part))
        return (new, s.add(rest, error))

    def final(self, state: Index) -> Value:
        if not self.compensated:
            return state[0]
        total, rest = state
        if isinstance(rest, Literal):
            return total
        # after an infinity the rest is NaN, and the total says it all
        return s.select(s.eq(rest, rest), s.add(total, rest), total)


States = dict[Fold, Index]


def begin(folds: Sequence[Fold], axis: int, states: States) -> States:
    """The states, with those folds that run from `axis` on at their beginning."""
    return {**states, **{f: f.initial() for f in folds if f.start == axis}}


def unflatten(folds: Sequence[Fold], flat: Sequence[Value]) -> States:
    """Carried scalars as the states of these folds."""
    values = iter(flat)
    return {f: tuple(next(values) for _ in f.initial()) for f in folds}
