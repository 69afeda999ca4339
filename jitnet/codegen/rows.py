"""Spells rows of the scalar table as LLVM IR, on one lane or on W.

    add on f32, 8 lanes:   %v.1 = fadd <8 x float> %a, %b
    fma on f64, 1 lane:    %v.2 = call double @llvm.fma.f64(double %a, double %b, double %c)
    cbrt on f32, 8 lanes:  eight calls of @cbrtf
    exp on f32, 8 lanes:   its expansion into other rows, in place

A row without an instruction is built from other rows (`expand`) once per dtypes. On one lane a long
expansion becomes a function of the module, because scalar code is the seldom-run remainder of a
vector loop, or a loop that waits for memory or for its own last step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from jitnet.codegen.text import Writer, constant, llvm_type, type_suffix
from jitnet.ir import ArrayType, Builder, DType, Eqn, Function, Literal, Value
from jitnet.ir import types as T
from jitnet.kernel import scalars as s
from jitnet.kernel.scalars import ScalarOp

INLINE_EQNS = 12
"""Expansions of at most so many equations are written in place on one lane."""


@dataclass
class Module:
    """What the functions of a module share.

    Attributes:
        functions: text of helper functions, by name.
        libm: declarations of C math functions, by name.
        externs: declarations of extern routines, by name.
    """

    functions: dict[str, str] = field(default_factory=dict)
    libm: dict[str, str] = field(default_factory=dict)
    externs: dict[str, str] = field(default_factory=dict)


def emit_scalar_eqn(m: Module, w: Writer, eqn: Eqn, operands: Sequence[str], lanes: int) -> str:
    """The result of a scalar op's equation on operands already spelled for that many lanes."""
    dtypes = [v.dtype for v in eqn.operands]
    hint = eqn.result.name
    if isinstance(eqn.op, ScalarOp):
        return emit_row(m, w, eqn.op, dtypes, operands, lanes, hint)
    to = eqn.result.dtype
    return _emit_cast(w, eqn.op is s.BITCAST, dtypes[0], to, operands[0], lanes)


def emit_row(
    m: Module,
    w: Writer,
    op: ScalarOp,
    dtypes: Sequence[DType],
    operands: Sequence[str],
    lanes: int,
    hint: str = "",
) -> str:
    """The row's value, by the first spelling that it has: LLVM, other rows, the C library."""
    result = op.result_dtype(dtypes)
    spelling = op.llvm.get(dtypes[-1].kind)
    if spelling is not None:
        return _emit_spelling(w, spelling, dtypes, result, operands, lanes, hint)
    if op.expand is not None:
        function = expansion(op, tuple(dtypes))
        if lanes == 1 and len(function.eqns) > INLINE_EQNS:
            return _call_expansion(m, w, op, function, operands, hint)
        return _inline(m, w, function, operands, lanes)
    assert op.libm is not None, f"no LLVM spelling of {op.name} on {dtypes}"
    return _emit_libm(m, w, op.libm, dtypes, result, operands, lanes)


@lru_cache(maxsize=512)
def expansion(op: ScalarOp, dtypes: tuple[DType, ...]) -> Function:
    """The row as a Function of other rows."""
    assert op.expand is not None
    with Builder(op.name, "kernel") as b:
        params = [b.param(T.scalar(dtype), "xyz"[i : i + 1]) for i, dtype in enumerate(dtypes)]
        result = op.expand(*params)
    return b.build(result)


def _inline(
    m: Module, w: Writer, function: Function, operands: Sequence[str], lanes: int
) -> str:
    env: dict[Value, str] = dict(zip(function.params, operands))

    def text(value: Value) -> str:
        return constant(value, lanes) if isinstance(value, Literal) else env[value]

    for eqn in function.eqns:
        env[eqn.result] = emit_scalar_eqn(m, w, eqn, [text(v) for v in eqn.operands], lanes)
    return text(function.results[0])


def _call_expansion(
    m: Module, w: Writer, op: ScalarOp, function: Function, operands: Sequence[str], hint: str
) -> str:
    types = [llvm_type(p.dtype) for p in function.params]
    result = llvm_type(function.results[0].dtype)
    name = ".".join(["row", op.name, *(p.dtype.name for p in function.params)])
    if name not in m.functions:
        inner = Writer()
        params = [f"%x{i}" for i in range(len(types))]
        value = _inline(m, inner, function, params, 1)
        inner.add(f"ret {result} {value}")
        head = f"define internal {result} @{name}({_arguments(types, params)}) #1 {{"
        m.functions[name] = "\n".join([head, "entry:", *inner.lines, "}\n"])
    return w.let(f"call {result} @{name}({_arguments(types, operands)})", hint)


def _arguments(types: Sequence[str], operands: Sequence[str]) -> str:
    return ", ".join(f"{type} {text}" for type, text in zip(types, operands))


def _emit_spelling(
    w: Writer,
    spelling: str,
    dtypes: Sequence[DType],
    result: DType,
    operands: Sequence[str],
    lanes: int,
    hint: str,
) -> str:
    types = [llvm_type(d, lanes) for d in dtypes]
    if spelling.startswith("llvm."):
        name = f"{spelling}.{type_suffix(result, lanes)}"
        arguments = _arguments(types, operands)
        return w.let(f"call {llvm_type(result, lanes)} @{name}({arguments})", hint)
    return w.let(spelling.format(*operands, T=types[-1], B=llvm_type(T.bool_, lanes)), hint)


def _emit_libm(
    m: Module,
    w: Writer,
    name: str,
    dtypes: Sequence[DType],
    result: DType,
    operands: Sequence[str],
    lanes: int,
) -> str:
    if result.bits == 32:
        name += "f"
    types = [llvm_type(d) for d in dtypes]
    m.libm[name] = f"declare {llvm_type(result)} @{name}({', '.join(types)})"
    values = []
    for i in range(lanes):
        scalars = [w.lane(d, text, i, lanes) for d, text in zip(dtypes, operands)]
        values.append(w.let(f"call {llvm_type(result)} @{name}({_arguments(types, scalars)})"))
    return w.gather(result, values)


# -- casts -----------------------------------------------------------------------------------------


def _emit_cast(
    w: Writer, bits: bool, source: DType, to: DType, operand: str, lanes: int
) -> str:
    def convert(op: str, a: DType, b: DType, text: str) -> str:
        return w.let(f"{op} {llvm_type(a, lanes)} {text} to {llvm_type(b, lanes)}")

    if llvm_type(source) == llvm_type(to):
        return operand
    if bits:
        return convert("bitcast", source, to, operand)
    if to.is_bool:
        comparison = "fcmp une" if source.is_float else "icmp ne"
        return w.let(f"{comparison} {llvm_type(source, lanes)} {operand}, zeroinitializer")
    if source.is_float and to.is_integer:
        return _float_to_integer(w, source, to, operand, lanes)
    if source.is_float:
        return convert("fpext" if to.bits > source.bits else "fptrunc", source, to, operand)
    if to.is_float:
        return convert("sitofp" if source.kind == "i" else "uitofp", source, to, operand)
    if not source.is_bool and to.bits < source.bits:
        return convert("trunc", source, to, operand)
    return convert("sext" if source.kind == "i" else "zext", source, to, operand)


def _float_to_integer(w: Writer, source: DType, to: DType, operand: str, lanes: int) -> str:
    """As a C compiler for x86 does it, which shows where the value does not fit: by way of i32 for
    the small types and i64 for u32; u64 in two halves."""
    F = llvm_type(source, lanes)
    middle = T.i32 if to.bits < 32 or to is T.i32 else T.i64
    I = llvm_type(middle, lanes)
    if to is not T.u64:
        value = w.let(f"fptosi {F} {operand} to {I}")
        return value if to.bits == middle.bits else w.let(
            f"trunc {I} {value} to {llvm_type(to, lanes)}"
        )
    half = constant(Literal(2.0**63, source), lanes)
    large = w.let(f"fcmp oge {F} {operand}, {half}")
    below = w.let(f"fsub {F} {operand}, {half}")
    inner = w.let(f"select {llvm_type(T.bool_, lanes)} {large}, {F} {below}, {F} {operand}")
    value = w.let(f"fptosi {F} {inner} to {I}")
    top = constant(Literal(-(2**63), T.i64), lanes)
    flipped = w.let(f"xor {I} {value}, {top}")
    return w.let(f"select {llvm_type(T.bool_, lanes)} {large}, {I} {flipped}, {I} {value}")


def is_scalar_op(eqn: Eqn) -> bool:
    """Whether the equation is one that `emit_scalar_eqn` spells."""
    return isinstance(eqn.op, ScalarOp) or eqn.op is s.CAST or eqn.op is s.BITCAST


def scalar_dtype(value: Value) -> DType:
    """The dtype of a kernel scalar."""
    assert isinstance(value.type, ArrayType)
    return value.type.dtype
