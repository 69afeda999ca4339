"""Floor 0: the typed SSA IR. Types, container, builder, text, verifier, rewrites. Knows no op."""

from jitnet.ir.builder import Builder, current, index, literal
from jitnet.ir.core import Eqn, Function
from jitnet.ir.loc import UNKNOWN, Frame, Loc
from jitnet.ir.op import Effect, Op, ResultDim, TypeRuleError, effect_of, register, registry
from jitnet.ir.printer import print_function
from jitnet.ir.types import ArrayType, BufferType, Dim, DType, TapeType, Type
from jitnet.ir.value import (
    Attrs,
    Dense,
    Literal,
    Value,
    as_dim,
    as_value,
    substitute_dims,
    substitute_type,
)

__all__ = [
    "UNKNOWN",
    "ArrayType",
    "Attrs",
    "BufferType",
    "Builder",
    "DType",
    "Dense",
    "Dim",
    "Effect",
    "Eqn",
    "Frame",
    "Function",
    "Literal",
    "Loc",
    "Op",
    "ResultDim",
    "TapeType",
    "Type",
    "TypeRuleError",
    "Value",
    "as_dim",
    "as_value",
    "current",
    "effect_of",
    "index",
    "literal",
    "print_function",
    "register",
    "registry",
    "substitute_dims",
    "substitute_type",
]
