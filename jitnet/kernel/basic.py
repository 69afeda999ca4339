"""Rows that are one machine instruction, or nearly: arithmetic, comparisons, bits, casts.

    %a = mul %x, %y {}          // f32: fmul, i32: mul, bool: and
    %b = lt %a, %z {}
    %c = select %b, %a, %z {}

Everything else in the table is put together from these.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from jitnet.ir import DType, Value
from jitnet.ir import types as T
from jitnet.ir.facts import (
    ADD,
    AND,
    CONVERT,
    EQ,
    GE,
    GT,
    LE,
    LT,
    MUL,
    NE,
    NEG,
    NOT,
    OR,
    SELECT,
    SUB,
    FactRule,
)
from jitnet.kernel.reference import bitcast_reference, cast_reference, fma_reference, shift_as
from jitnet.kernel.row import Conversion, ScalarOp, lit


def _two(**instructions: str) -> dict[str, str]:
    """By kind, the template of an instruction with two operands."""
    return {kind: f"{name} {{T}} {{0}}, {{1}}" for kind, name in instructions.items()}


def _wrapping(operator: str) -> dict[str, str]:
    """CUDA templates of integer arithmetic that wraps around, where C leaves that undefined."""
    return dict.fromkeys("iu", f"({{T}})(({{U}}){{0}} {operator} ({{U}}){{1}})")


def _kinds(kinds: str, template: str) -> dict[str, str]:
    return dict.fromkeys(kinds, template)


# -- arithmetic ------------------------------------------------------------------------------------

add = ScalarOp(
    "add",
    ("biuf", "="),
    "same",
    np.add,
    llvm=_two(b="or", i="add", u="add", f="fadd"),
    cuda={"b": "({0} | {1})", "f": "({0} + {1})", **_wrapping("+")},
    facts=ADD,
)
sub = ScalarOp(
    "sub",
    ("iuf", "="),
    "same",
    np.subtract,
    llvm=_two(i="sub", u="sub", f="fsub"),
    cuda={"f": "({0} - {1})", **_wrapping("-")},
    facts=SUB,
)
mul = ScalarOp(
    "mul",
    ("biuf", "="),
    "same",
    np.multiply,
    llvm=_two(b="and", i="mul", u="mul", f="fmul"),
    cuda={"b": "({0} & {1})", "f": "({0} * {1})", **_wrapping("*")},
    facts=MUL,
)
div = ScalarOp(
    "div",
    ("f", "="),
    "same",
    np.true_divide,
    llvm=_two(f="fdiv"),
    cuda={"f": "({0} / {1})"},
    cost=4,
)
fma = ScalarOp(
    "fma",
    ("f", "=", "="),
    "same",
    fma_reference,
    llvm={"f": "llvm.fma"},
    cuda={"f": "fma{f}({0}, {1}, {2})"},
)
neg = ScalarOp(
    "neg",
    ("iuf",),
    "same",
    np.negative,
    llvm={"f": "fneg {T} {0}", **_kinds("iu", "sub {T} zeroinitializer, {0}")},
    cuda={"f": "(-{0})", **_kinds("iu", "({T})(0u - ({U}){0})")},
    facts=NEG,
)
sqrt = ScalarOp(
    "sqrt",
    ("f",),
    "same",
    np.sqrt,
    llvm={"f": "llvm.sqrt"},
    cuda={"f": "sqrt{f}({0})"},
    cost=4,
)


def _quotient_reference(x: Any, y: Any) -> Any:
    assert np.all(np.not_equal(y, 0)), "quotient by zero"
    return np.floor_divide(np.subtract(x, np.fmod(x, y)), y)


def _residue_reference(x: Any, y: Any) -> Any:
    assert np.all(np.not_equal(y, 0)), "residue by zero"
    return np.fmod(x, y)


quotient = ScalarOp(  # C's x / y; undefined for y = 0 and for INT_MIN / -1
    "quotient",
    ("iu", "="),
    "same",
    _quotient_reference,
    llvm=_two(i="sdiv", u="udiv"),
    cuda=_kinds("iu", "({0} / {1})"),
    cost=8,
)
residue = ScalarOp(  # C's x % y; undefined where quotient is
    "residue",
    ("iu", "="),
    "same",
    _residue_reference,
    llvm=_two(i="srem", u="urem"),
    cuda=_kinds("iu", "({0} % {1})"),
    cost=8,
)

# -- comparisons and choice ------------------------------------------------------------------------


def _comparison(
    name: str, numpy: Any, operator: str, f: str, i: str, u: str, facts: FactRule
) -> ScalarOp:
    return ScalarOp(
        name,
        ("biuf", "="),
        "bool",
        numpy,
        llvm=_two(b=f"icmp {u}", i=f"icmp {i}", u=f"icmp {u}", f=f"fcmp {f}"),
        cuda=_kinds("biuf", f"({{0}} {operator} {{1}})"),
        facts=facts,
    )


eq = _comparison("eq", np.equal, "==", "oeq", "eq", "eq", EQ)
ne = _comparison("ne", np.not_equal, "!=", "une", "ne", "ne", NE)
lt = _comparison("lt", np.less, "<", "olt", "slt", "ult", LT)
le = _comparison("le", np.less_equal, "<=", "ole", "sle", "ule", LE)
gt = _comparison("gt", np.greater, ">", "ogt", "sgt", "ugt", GT)
ge = _comparison("ge", np.greater_equal, ">=", "oge", "sge", "uge", GE)


def _select_reference(condition: Any, x: Any, y: Any) -> Any:
    return np.where(condition, x, y)[()]


select = ScalarOp(
    "select",
    ("b", "biuf", "="),
    "same",
    _select_reference,
    llvm=_kinds("biuf", "select {B} {0}, {T} {1}, {T} {2}"),
    cuda=_kinds("biuf", "({0} ? {1} : {2})"),
    facts=SELECT,
    halves="bits",
)

# -- bits ------------------------------------------------------------------------------------------


def _bitwise(
    name: str, numpy: Any, operator: str, instruction: str, facts: FactRule | None = None
) -> ScalarOp:
    return ScalarOp(
        name,
        ("biu", "="),
        "same",
        numpy,
        llvm=_two(b=instruction, i=instruction, u=instruction),
        cuda=_kinds("biu", f"({{0}} {operator} {{1}})"),
        facts=facts,
    )


bitwise_and = _bitwise("bitwise_and", np.bitwise_and, "&", "and", AND)
bitwise_or = _bitwise("bitwise_or", np.bitwise_or, "|", "or", OR)
bitwise_xor = _bitwise("bitwise_xor", np.bitwise_xor, "^", "xor")


def _all_ones(x: Value) -> Value:
    if x.dtype.kind == "i":
        return lit(-1, x)
    return lit(True if x.dtype.is_bool else 2**x.dtype.bits - 1, x)


invert = ScalarOp(
    "invert",
    ("biu",),
    "same",
    np.invert,
    expand=lambda x: bitwise_xor(x, _all_ones(x)),
    cuda={"b": "(!{0})", **_kinds("iu", "(~{0})")},
)
logical_not = ScalarOp(
    "logical_not",
    ("biuf",),
    "bool",
    np.logical_not,
    expand=lambda x: invert(x) if x.dtype.is_bool else eq(x, 0),
    cuda=_kinds("biuf", "(!{0})"),
    facts=NOT,
)

# Shifts whose result is undefined where the count is not in [0, bits).
shl = ScalarOp(
    "shl",
    ("iu", "="),
    "same",
    np.left_shift,
    llvm=_two(i="shl", u="shl"),
    cuda=_kinds("iu", "({T})(({U}){0} << {1})"),
)
ashr = ScalarOp(
    "ashr",
    ("iu", "="),
    "same",
    shift_as("i"),
    llvm=_two(i="ashr", u="ashr"),
    cuda={"i": "({0} >> {1})", "u": "({T})(({I}){0} >> {1})"},
)
lshr = ScalarOp(
    "lshr",
    ("iu", "="),
    "same",
    shift_as("u"),
    llvm=_two(i="lshr", u="lshr"),
    cuda={"i": "({T})(({W}){0} >> {1})", "u": "({0} >> {1})"},
)

# -- floats ----------------------------------------------------------------------------------------


def _rounding(name: str, numpy: Any, intrinsic: str) -> ScalarOp:
    """On integers NumPy's floor, ceil and trunc are the identity."""
    return ScalarOp(
        name,
        ("biuf",),
        "same",
        numpy,
        llvm={"f": intrinsic},
        expand=lambda x: x,
        cuda={"f": f"{name}{{f}}({{0}})"},
    )


floor = _rounding("floor", np.floor, "llvm.floor")
ceil = _rounding("ceil", np.ceil, "llvm.ceil")
trunc = _rounding("trunc", np.trunc, "llvm.trunc")
rint = ScalarOp(  # to nearest, ties to even
    "rint", ("f",), "same", np.rint, llvm={"f": "llvm.rint"}, cuda={"f": "rint{f}({0})"}
)
copysign = ScalarOp(
    "copysign",
    ("f", "="),
    "same",
    np.copysign,
    llvm={"f": "llvm.copysign"},
    cuda={"f": "copysign{f}({0}, {1})"},
)
abs = ScalarOp(
    "abs",
    ("biuf",),
    "same",
    np.absolute,
    llvm={"f": "llvm.fabs"},
    expand=lambda x: select(lt(x, 0), neg(x), x) if x.dtype.kind == "i" else x,
    cuda={"f": "fabs{f}({0})"},
)

# -- conversions -----------------------------------------------------------------------------------


def _same_width(source: DType, target: DType) -> bool:
    return source.itemsize == target.itemsize and not source.is_bool and not target.is_bool


CAST = Conversion("cast", cast_reference, facts=CONVERT)
BITCAST = Conversion("bitcast", bitcast_reference, _same_width)

_INTEGER_OF: Mapping[int, DType] = {16: T.i16, 32: T.i32, 64: T.i64}


def cast(x: Value, dtype: DType) -> Value:
    """The value in another dtype, as C does it on x86: integers wrap around, floats are cut to
    integers through i32 (i64 for the types of 32 unsigned and of 64 bits), whose smallest value
    stands for what does not fit; to bool is `!= 0`. Kernels have casts of halves from and to
    float32, and all others are made of these. A float64 is rounded once to a float16, as NumPy
    does it, and by way of float32 to a bfloat16, as ml_dtypes does."""
    if x.dtype.is_half and x.dtype != dtype:
        return CAST(CAST(x, T.f32), dtype) if not dtype.is_half else _rounded(x, dtype)
    return _rounded(x, dtype) if dtype.is_half else CAST(x, dtype)


def _rounded(x: Value, half: DType) -> Value:
    if x.dtype == half:
        return x
    if x.dtype is T.f64 and half is T.f16:
        return CAST(_rounded_to_odd(x), half)
    return CAST(CAST(x, T.f32), half)


def _rounded_to_odd(x: Value) -> Value:
    """A float64 as float32, of which the last bit is set where it is not exact: rounding that once
    more, to fewer bits, is as if there had been one rounding only."""
    nearest = CAST(x, T.f32)
    back, bits = CAST(nearest, T.f64), BITCAST(nearest, T.i32)
    larger = CAST(gt(abs(back), abs(x)), T.i32)
    inexact = CAST(ne(back, x), T.i32)
    return BITCAST(bitwise_or(sub(bits, larger), inexact), T.f32)


def bitcast(x: Value, dtype: DType) -> Value:
    """The same bits read as another dtype of that width."""
    return BITCAST(x, dtype)


def bits_of(x: Value) -> Value:
    """The bits of a float as a signed integer."""
    return bitcast(x, _INTEGER_OF[x.dtype.bits])
