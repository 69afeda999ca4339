"""The table of scalar ops: one row each, with its Python, LLVM and CUDA spellings side by side.

A row is a kernel-level op on rank-0 values. The array level's pointwise ops are these rows lifted
to arrays; a backend spells a row and knows nothing else of it.
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
)
from jitnet.ir import types as T


class ScalarOp(Op):
    """One row.

    Attributes:
        operands: the kinds that each operand may have, letters of `DType.kind`; operands marked "="
            must have the dtype of the operand before them.
        result: "same" (the last operand's dtype), "bool", or a fixed DType.
        numpy: the reference: works on NumPy scalars and arrays of the operands' dtypes.
        llvm: by operand kind ("b", "i", "u", "f"), the LLVM spelling: an instruction template such
            as "fadd {T} {0}, {1}", or an intrinsic name such as "llvm.fabs".
        libm: the C math function (f64 name; f32 appends "f") where there is no instruction.
        expand: builds the value from other rows, with `Value` operands, inside the current
            builder; used by backends that have neither of the above.
        cuda: by operand kind, a C expression template such as "({0} + {1})".
        cost: rough flops; above 4 counts as expensive: fusion does not compute it twice.
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
        return T.bool_ if self.result == "bool" else dtypes[-1]

    def infer(
        self, operands: Sequence[Value], attrs: Attrs, regions: Sequence[Function]
    ) -> tuple[Type, ...]:
        if any(not isinstance(v.type, ArrayType) or v.rank for v in operands):
            raise TypeRuleError(f"{self.name} takes scalars")
        return (ArrayType(self.result_dtype([v.dtype for v in operands])),)

    def __call__(self, *operands: Value | float | bool) -> Value:
        """Bind into the current builder. A Python number becomes a literal of the dtype of the
        first Value among the operands."""
        dtype = next(v.dtype for v in reversed(operands) if isinstance(v, Value))
        values = [v if isinstance(v, Value) else Literal(v, dtype) for v in operands]
        (result,) = current().bind(self, values)
        return result
