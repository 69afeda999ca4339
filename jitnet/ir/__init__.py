"""Floor 0: the typed SSA IR. Types, container, builder, text, verifier, rewrites. Knows no op."""

from jitnet.ir.builder import Builder, current, index, literal
from jitnet.ir.core import Eqn, Function, moved
from jitnet.ir.knowledge import Facts, facts
from jitnet.ir.loc import UNKNOWN, Frame, Loc
from jitnet.ir.op import Effect, Op, ResultDim, TypeRuleError, effect_of, register, registry
from jitnet.ir.parser import parse
from jitnet.ir.printer import print_eqn, print_function
from jitnet.ir.rewrite import Definition, Rule, rewrite, rule
from jitnet.ir.types import ArrayType, BufferType, Dim, DType, TapeType, Type
from jitnet.ir.value import (
    Attrs,
    Dense,
    Literal,
    Value,
    as_dim,
    as_value,
    attrs_key,
    substitute_dims,
    substitute_type,
)
from jitnet.ir.verifier import verify

__all__ = [
    "UNKNOWN",
    "ArrayType",
    "Attrs",
    "BufferType",
    "Builder",
    "DType",
    "Definition",
    "Dense",
    "Dim",
    "Effect",
    "Eqn",
    "Facts",
    "Frame",
    "Function",
    "Literal",
    "Loc",
    "Op",
    "ResultDim",
    "Rule",
    "TapeType",
    "Type",
    "TypeRuleError",
    "Value",
    "as_dim",
    "as_value",
    "attrs_key",
    "current",
    "effect_of",
    "facts",
    "index",
    "literal",
    "moved",
    "parse",
    "print_eqn",
    "print_function",
    "register",
    "registry",
    "rewrite",
    "rule",
    "substitute_dims",
    "substitute_type",
    "verify",
]
