"""The builder that lowering uses: it places each pure equation as far out as its operands allow.

    for %i = 0 to 8 {              %r = mul %scale, 2.0      # bound inside, lands outside
      %r = mul %scale, 2.0         for %i = 0 to 8 {
      ...                            ...

Scalar arithmetic is bound once per scope (value numbering), so that the many index computations of
a kernel cost nothing twice. Loads are treated alike only inside a kernel that promises not to
overwrite what it reads (`reads_are_pure`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from jitnet.ir import Builder, Eqn, Function, Literal, Loc, Op, Type, Value, current
from jitnet.kernel import statements as k
from jitnet.kernel.scalars import ScalarOp

COSTLY = 8
"""Arithmetic of this cost, divisions of integers say, stays in the arm of a branch."""


class ScopedBuilder(Builder):
    """A kernel-level Builder that knows the scope around it.

    Attributes:
        depth: how many scopes lie around this one.
        is_arm: whether it is that of a branch's arm.
        known: results of pure equations in this scope; `reads`: those of loads.
        memo: results of lowering steps that hold in this scope and those inside it.
    """

    def __init__(self, name: str, parent: ScopedBuilder | None = None) -> None:
        super().__init__(name, "kernel")
        self.parent = parent
        self.depth: int = parent.depth + 1 if parent else 0
        self.is_arm = False
        self.loc = parent.loc if parent else self.loc
        self.reads_are_pure: bool = parent.reads_are_pure if parent else False
        self.home: dict[Value, ScopedBuilder] = parent.home if parent else {}
        self.floor: ScopedBuilder = parent.floor if parent else self
        self.known: dict[Any, tuple[Value, ...]] = {}
        self.reads: dict[Any, tuple[Value, ...]] = {}
        self.memo: dict[Any, Value] = {}

    def child(self, name: str) -> ScopedBuilder:
        return ScopedBuilder(name, self)

    def param(self, type: Type, name: str = "") -> Value:
        value = super().param(type, name)
        self.home[value] = self
        return value

    def bind(
        self,
        op: Op,
        operands: Sequence[Value],
        attrs: Mapping[str, Any] | None = None,
        regions: Sequence[Function] = (),
        names: Sequence[str] = (),
        loc: Loc | None = None,
    ) -> tuple[Value, ...]:
        pure = isinstance(op, ScalarOp) or op is k.VIEW or (op is k.LOAD and self.reads_are_pure)
        if not pure:
            return self.bind_here(op, operands, attrs, regions, names, loc)
        key = (op, tuple(operands), tuple(attrs.items()) if attrs else ())
        scope: ScopedBuilder | None = self
        while scope is not None:
            known = scope.reads if op is k.LOAD else scope.known
            if key in known:
                return known[key]
            scope = scope.parent
        target = self._outermost(operands, op is k.LOAD)
        if isinstance(op, ScalarOp) and op.cost >= COSTLY:
            target = self._out_of_loops(target)
        results = target.bind_here(op, operands, attrs, regions, names, loc or self.loc)
        (target.reads if op is k.LOAD else target.known)[key] = results
        return results

    def bind_here(
        self,
        op: Op,
        operands: Sequence[Value],
        attrs: Mapping[str, Any] | None = None,
        regions: Sequence[Function] = (),
        names: Sequence[str] = (),
        loc: Loc | None = None,
    ) -> tuple[Value, ...]:
        """Bind in this very scope, and never take an earlier result for it."""
        results = super().bind(op, operands, attrs, regions, names, loc)
        for r in results:
            self.home[r] = self
        return results

    def _outermost(self, operands: Sequence[Value], is_load: bool) -> ScopedBuilder:
        """The outermost scope that sees all operands; a load stays inside its kernel."""
        target = self.floor if is_load else None
        for v in operands:
            home = None if isinstance(v, Literal) else self.home.get(v)
            if home is not None and (target is None or home.depth > target.depth):
                target = home
        return target if target is not None and target.depth <= self.depth else self

    def _out_of_loops(self, target: ScopedBuilder) -> ScopedBuilder:
        """How far it pays to go out to that scope with what is costly: out of loops, but not only
        out of an arm, which may not be taken."""
        best = scope = self
        while scope is not target and scope.parent is not None:
            if not scope.is_arm:
                best = scope.parent
            scope = scope.parent
        return best

    def recall(self, key: Any) -> Value | None:
        """What `remember` stored under the key in this scope or one around it."""
        scope: ScopedBuilder | None = self
        while scope is not None:
            if key in scope.memo:
                return scope.memo[key]
            scope = scope.parent
        return None

    def remember(self, key: Any, value: Value) -> None:
        self.memo[key] = value

    def adopt(self, value: Value) -> Value:
        """Count a value, made by hand, as one of this scope's."""
        self.home[value] = self
        return value

    def append(self, eqn: Eqn) -> None:
        """Add a ready equation, with the results that it names."""
        self.eqns.append(eqn)
        for r in eqn.results:
            self.home[r] = self


def scope() -> ScopedBuilder:
    """The innermost open scope."""
    builder = current()
    assert isinstance(builder, ScopedBuilder)
    return builder


@contextmanager
def pure_reads() -> Iterator[None]:
    """Inside, loads may be hoisted and shared: nothing that is read by index gets overwritten."""
    here = scope()
    saved = here.reads_are_pure, here.floor
    here.reads_are_pure, here.floor = True, here
    try:
        yield
    finally:
        here.reads_are_pure, here.floor = saved
        here.reads.clear()
        here.memo.clear()
