"""What the IR knows of an op: its name, its type rule and its effects. No op is defined here.

Floor 1 registers the kernel-level ops, floor 2 the array-level ones; the parser finds them by name
in the registry of the text's level.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import TYPE_CHECKING

from jitnet.ir import types as T
from jitnet.ir.value import Attrs, Value

if TYPE_CHECKING:
    from jitnet.ir.core import Eqn, Function
    from jitnet.ir.facts import FactRule


class Effect(IntEnum):
    """How freely an equation may be moved. Larger is stricter."""

    PURE = 0  # may be dropped, duplicated, reordered
    WRITES = 1  # kernel level: changes memory
    MAY_RAISE = 2  # never dropped, duplicated, reordered with its like, or speculated
    HOST = 3  # as MAY_RAISE; talks to the world outside


class TypeRuleError(Exception):
    """A type rule refused its operands; the message says why."""


class ResultDim(Value):
    """Stands in an inferred type for "the i-th result of this same equation" (an i64 scalar)."""

    __slots__ = ("index",)

    def __init__(self, index: int) -> None:
        super().__init__(T.scalar(T.i64), f"result{index}")
        self.index = index


class Op:
    """Base of all ops. Subclasses add rules; they are compared by identity.

    Attributes:
        facts: what the op tells of the integers that it makes, if anything.
    """

    name: str
    level: str = "array"
    effect: Effect = Effect.PURE
    facts: FactRule | None = None

    def infer(
        self, operands: Sequence[Value], attrs: Attrs, regions: Sequence[Function]
    ) -> tuple[T.Type, ...]:
        """The types of the results. A dim may be a `ResultDim`.

        Raises:
            TypeRuleError: where the operands do not fit.
        """
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"<op {self.name}>"


def effect_of(eqn: Eqn) -> Effect:
    """The strictest effect of an equation and everything in its regions."""
    inner = (effect_of(e) for region in eqn.regions for e in region.eqns)
    return max((eqn.op.effect, *inner))


_REGISTRIES: dict[str, dict[str, Op]] = {"array": {}, "kernel": {}}


def registry(level: str) -> dict[str, Op]:
    """The ops of a level ("array" or "kernel") by name."""
    return _REGISTRIES[level]


def register(op: Op) -> None:
    table = registry(op.level)
    assert op.name not in table, f"{op.level} op {op.name!r} is defined twice"
    table[op.name] = op
