"""What a row of the scalar table is: `ScalarOp`, and `Conversion` for rows with a dtype attribute.

    %y = fma %x, 2.0:f64, %c {}
    %n = cast %y {dtype=i32}

A row is a kernel-level op on rank-0 values. The array level's pointwise ops are these rows lifted
to arrays; a backend spells a row and knows nothing else of it. Rows have no effects and are defined
for all operands, so they may be computed for lanes whose results are thrown away; the few that a
divisor or a shift count can break say so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jitnet.ir import (
    ArrayType,
    Attrs,
    DType,
    Effect,
    Function,
    Literal,
    Op,
    Type,
    TypeRuleError,
    Value,
    current,
    register,
    registry,
)
from jitnet.ir import types as T
from jitnet.ir.facts import FactRule


class ScalarOp(Op):
    """One row. A backend takes the first spelling that it has of: `llvm` or `cuda`, `expand`,
    `libm`.

    Attributes:
        operands: the kinds that each operand may have, letters of `DType.kind`; operands marked "="
            must have the dtype of the operand before them.
        result: "same" (the last operand's dtype), "first", "bool", or a fixed DType.
        numpy: the reference: works on NumPy scalars and arrays of the operands' dtypes.
        llvm: by the last operand's kind ("b", "i", "u", "f"), the LLVM spelling: an instruction
            template such as "fadd {T} {0}, {1}", where {T} is the last operand's type and {B} the
            type of a bool, one lane or many; several, with " | " between them, where {r} is the
            result of the one before and {S} the suffix of intrinsics on {T}; or an intrinsic's name
            such as "llvm.fabs".
        expand: builds the value from other rows, with `Value` operands, inside the current
            builder. It may hold `while` statements; a backend then computes lane by lane.
        libm: the C math function (f64 name; f32 appends "f").
        cuda: by the last operand's kind, a C expression template such as "({0} + {1})", where {T}
            is the C type, {W} and {I} the unsigned and the signed type of that width, {U} the
            unsigned one but of 32 bits at least, and {f} is "f" on f32 and nothing on f64. Its
            value is converted to the result's type at once.
        cost: rough flops; above 4 counts as expensive: fusion does not compute it twice.
        halves: how it computes on floats of 16 bits, which kernels only store: "float32", on their
            values as float32, with one rounding at the end, as NumPy does; "bits", as on all else,
            since it looks at no number; or a function like `expand`.
        rarely: the first operand, a bool, is seldom true, and only then is the value other than the
            last operand: a backend jumps over `expand` where no lane is true.
        facts: what the row tells of integers.
    """

    level = "kernel"
    effect = Effect.PURE

    def __init__(
        self,
        name: str,
        operands: Sequence[str],
        result: str | DType,
        numpy: Callable[..., Any],
        *,
        llvm: Mapping[str, str] | None = None,
        libm: str | None = None,
        expand: Callable[..., Value] | None = None,
        cuda: Mapping[str, str] | None = None,
        cost: int = 1,
        rarely: bool = False,
        facts: FactRule | None = None,
        halves: str | Callable[..., Value] = "float32",
    ) -> None:
        self.name = name
        self.operands = tuple(operands)
        self.result = result
        self.numpy = numpy
        self.llvm = llvm or {}
        self.libm = libm
        self.expand = expand
        self.cuda = cuda or {}
        self.cost = cost
        self.rarely = rarely
        self.facts = facts
        self.halves = halves
        register(self)

    @property
    def arity(self) -> int:
        return len(self.operands)

    def result_dtype(self, dtypes: Sequence[DType]) -> DType:
        """The dtype of the result on operands of these dtypes.

        Raises:
            TypeRuleError: where the row does not take them.
        """
        if len(dtypes) != self.arity:
            raise TypeRuleError(f"{self.name} takes {self.arity} operands, not {len(dtypes)}")
        for i, (kinds, dtype) in enumerate(zip(self.operands, dtypes)):
            if kinds == "=":
                if dtype != dtypes[i - 1]:
                    raise TypeRuleError(f"{self.name} on {dtypes[i - 1]} and {dtype}: cast first")
            elif dtype.kind not in kinds:
                raise TypeRuleError(f"{self.name} does not take {dtype}")
        if isinstance(self.result, DType):
            return self.result
        return {"bool": T.bool_, "first": dtypes[0], "same": dtypes[-1]}[self.result]

    def infer(
        self, operands: Sequence[Value], attrs: Attrs, regions: Sequence[Function]
    ) -> tuple[Type, ...]:
        _require_scalars(self.name, operands)
        if self.halves != "bits" and any(v.dtype.is_half for v in operands):
            raise TypeRuleError(f"{self.name} of a half: cast to float32")
        return (ArrayType(self.result_dtype([v.dtype for v in operands])),)

    def __call__(self, *operands: Value | float | bool) -> Value:
        """Bind into the current builder. A Python number becomes a literal of the dtype of the
        last Value among the operands."""
        dtype = next(v.dtype for v in reversed(operands) if isinstance(v, Value))
        values = [v if isinstance(v, Value) else Literal(v, dtype) for v in operands]
        if self.halves != "bits" and any(v.dtype.is_half for v in values):
            return self._on_halves(values)
        (result,) = current().bind(self, values)
        return result

    def _on_halves(self, values: Sequence[Value]) -> Value:
        if callable(self.halves):
            return self.halves(*values)
        dtype = self.result_dtype([v.dtype for v in values])
        result = self(*(_as(v, T.f32) if v.dtype.is_half else v for v in values))
        return _as(result, dtype) if dtype.is_half else result


class Conversion(Op):
    """A row of one operand whose result's dtype is the attribute `dtype`.

    Attributes:
        numpy: `(x, numpy dtype) -> y`, the reference.
        takes: `(source, target)`: whether such a conversion exists.
    """

    level = "kernel"
    effect = Effect.PURE

    def __init__(
        self,
        name: str,
        numpy: Callable[..., Any],
        takes: Callable[[DType, DType], bool] = lambda source, target: True,
        facts: FactRule | None = None,
    ) -> None:
        self.name = name
        self.facts = facts
        self.numpy = numpy
        self.takes = takes
        self.cost = 1
        register(self)

    def infer(
        self, operands: Sequence[Value], attrs: Attrs, regions: Sequence[Function]
    ) -> tuple[Type, ...]:
        _require_scalars(self.name, operands)
        (x,) = operands
        if not self.takes(x.dtype, attrs["dtype"]):
            raise TypeRuleError(f"no {self.name} from {x.dtype} to {attrs['dtype']}")
        return (ArrayType(attrs["dtype"]),)

    def __call__(self, x: Value, dtype: DType) -> Value:
        """Bind into the current builder; x itself if it has that dtype."""
        if x.dtype == dtype:
            return x
        (result,) = current().bind(self, (x,), {"dtype": dtype})
        return result


def _as(x: Value, dtype: DType) -> Value:
    """`basic.cast` between halves and float32, looked up late: that module is built on this one."""
    if isinstance(x, Literal):
        return Literal(x.item, dtype)
    (result,) = current().bind(registry("kernel")["cast"], (x,), {"dtype": dtype})
    return result


def _require_scalars(name: str, operands: Sequence[Value]) -> None:
    if any(not isinstance(v.type, ArrayType) or v.rank for v in operands):
        raise TypeRuleError(f"{name} takes scalars")


def lit(value: float | bool, like: Value) -> Literal:
    """A literal of the dtype that another value has."""
    return Literal(value, like.dtype)
