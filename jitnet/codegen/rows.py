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
from typing import NamedTuple

from jitnet.codegen.loops import emit_while
from jitnet.codegen.text import Writer, constant, llvm_type, type_suffix, value_type
from jitnet.ir import Builder, DType, Eqn, Function, Literal, Value
from jitnet.ir import types as T
from jitnet.kernel import halves
from jitnet.kernel import scalars as s
from jitnet.kernel import statements as S
from jitnet.kernel.scalars import Conversion, ScalarOp

FAST = "reassoc nsz arcp contract afn"
"""What LLVM may do to arithmetic with `fast_math`: all but to assume that nothing is NaN or inf."""

_ARITHMETIC = ("fadd", "fsub", "fmul", "fdiv")

INLINE_EQNS = 16
"""Expansions of at most so many equations are written in place on one lane."""


class Callee(NamedTuple):
    """A function of the module that stands for a kernel Function.

    Attributes:
        name: without the @.
        uses_heap: it takes the caller's heap as its last argument.
    """

    name: str
    uses_heap: bool


@dataclass
class Module:
    """What the functions of a module share.

    Attributes:
        constants: definitions of constant data.
        functions: text of helper functions, by name.
        libm: declarations of C math functions, by name.
        externs: declarations of extern routines, by name.
        callees: kernel Functions that others invoke, by identity.
        casts_halves: the machine has casts between float16 and float32.
        fast_math: arithmetic of floats may be reordered and contracted. What rows are made of may
            not: that is exact on purpose.
    """

    constants: list[str] = field(default_factory=list)
    functions: dict[str, str] = field(default_factory=dict)
    libm: dict[str, str] = field(default_factory=dict)
    externs: dict[str, str] = field(default_factory=dict)
    callees: dict[int, Callee] = field(default_factory=dict)
    casts_halves: bool = False
    fast_math: bool = False


def is_scalar_op(eqn: Eqn) -> bool:
    """Whether the equation is one that `emit_scalar_eqn` spells."""
    return isinstance(eqn.op, ScalarOp | Conversion)


def emit_scalar_eqn(m: Module, w: Writer, eqn: Eqn, operands: Sequence[str], lanes: int) -> str:
    """The result of a scalar op's equation on operands already spelled for that many lanes."""
    dtypes = [v.dtype for v in eqn.operands]
    if isinstance(eqn.op, ScalarOp):
        known = _known_operand(eqn)
        return emit_row(m, w, eqn.op, dtypes, operands, lanes, eqn.result.name, known)
    source, to, (operand,) = dtypes[0], eqn.result.dtype, operands
    if eqn.op is s.CAST and (source.is_half or to.is_half):
        return _emit_cast_of_half(m, w, source, to, operand, lanes)
    return _emit_conversion(w, eqn.op is s.BITCAST, source, to, operand, lanes)


def emit_row(
    m: Module,
    w: Writer,
    op: ScalarOp,
    dtypes: Sequence[DType],
    operands: Sequence[str],
    lanes: int,
    hint: str = "",
    known: Literal | None = None,
) -> str:
    """The row's value, by the first spelling that it has: LLVM, other rows, the C library. `known`:
    the last operand where the expansion depends on it."""
    result = op.result_dtype(dtypes)
    spelling = op.llvm.get(dtypes[-1].kind)
    if spelling is not None:
        if m.fast_math and spelling.partition(" ")[0] in _ARITHMETIC:
            spelling = spelling.replace(" ", f" {FAST} ", 1)
        return _emit_spelling(w, spelling, dtypes, result, operands, lanes, hint)
    if op.expand is None:
        assert op.libm is not None, f"no LLVM spelling of {op.name} on {dtypes}"
        name = op.libm + ("f" if result.bits == 32 else "")
        m.libm[name] = _declaration(name, dtypes, result)
        return _call_by_lane(w, name, dtypes, result, operands, lanes, hint)
    parts = expansion(op, tuple(dtypes), known)
    if parts.loops or (lanes == 1 and (parts.branches or parts.size > INLINE_EQNS)):
        name = _row_function(m, op, parts.function, known)
        return _call_by_lane(w, name, dtypes, result, operands, lanes, hint)
    if op.rarely and lanes > 1:
        return _emit_rarely(m, w, parts.function, operands, lanes)
    return _inline(m, w, parts.function, operands, lanes)


# -- rows made of other rows -----------------------------------------------------------------------


@dataclass(frozen=True)
class Expansion:
    """A row as a Function of other rows.

    Attributes:
        size: how many equations, those of the rows' own expansions included.
        loops: whether `while` is among them, which is for one lane only.
        branches: whether a row that is rarely needed is among them.
    """

    function: Function
    size: int
    loops: bool
    branches: bool


@lru_cache(maxsize=1024)
def expansion(op: ScalarOp, dtypes: tuple[DType, ...], known: Literal | None = None) -> Expansion:
    """What a row that has `expand` is made of: a Function of the operands, but for a known last
    one."""
    assert op.expand is not None
    of = dtypes[:-1] if known is not None else dtypes
    with Builder(op.name, "kernel") as b:
        params = [b.param(T.scalar(dtype), f"x{i}") for i, dtype in enumerate(of)]
        result = op.expand(*params) if known is None else op.expand(*params, known)
    function = b.build(result)
    size, loops, branches = 0, False, op.rarely
    for eqn in function.walk():
        size += 1
        if eqn.op is S.WHILE:
            loops = True
        elif _expands(eqn):
            assert isinstance(eqn.op, ScalarOp)
            inner = expansion(eqn.op, tuple(v.dtype for v in eqn.operands), _known_operand(eqn))
            size += inner.size
            loops, branches = loops or inner.loops, branches or inner.branches
    return Expansion(function, size, loops, branches)


_DIVISIONS = (s.floordiv, s.rem, s.fmod)


def _known_operand(eqn: Eqn) -> Literal | None:
    """The divisor of a division, if it is known: then it takes no tests, perhaps no division."""
    divisor = eqn.operands[-1]
    return divisor if eqn.op in _DIVISIONS and isinstance(divisor, Literal) else None


def _expands(eqn: Eqn) -> bool:
    op = eqn.op
    if not isinstance(op, ScalarOp) or op.expand is None:
        return False
    return eqn.operands[-1].dtype.kind not in op.llvm


def _inline(m: Module, w: Writer, function: Function, operands: Sequence[str], lanes: int) -> str:
    names: dict[Value, str] = dict(zip(function.params, operands))
    fast_math, m.fast_math = m.fast_math, False

    def text(value: Value) -> str:
        return constant(value, lanes) if isinstance(value, Literal) else names[value]

    def emit_eqns(eqns: Sequence[Eqn]) -> None:
        for eqn in eqns:
            if eqn.op is S.WHILE:
                emit_loop(eqn)
            else:
                values = [text(v) for v in eqn.operands]
                names[eqn.result] = emit_scalar_eqn(m, w, eqn, values, lanes)

    def emit_region(region: Function, carries: Sequence[str]) -> list[str]:
        names.update(zip(region.params, carries))
        emit_eqns(region.eqns)
        return [text(v) for v in region.results]

    def emit_loop(eqn: Eqn) -> None:
        cond, body = eqn.regions
        carries = [(value_type(v.type), text(v)) for v in eqn.operands]
        finals = emit_while(
            w,
            carries,
            lambda values: emit_region(cond, values)[0],
            lambda values: emit_region(body, values),
        )
        names.update(zip(eqn.results, finals))

    emit_eqns(function.eqns)
    m.fast_math = fast_math
    return text(function.results[0])


def _emit_rarely(
    m: Module, w: Writer, function: Function, operands: Sequence[str], lanes: int
) -> str:
    """Jump over the expansion where the first operand is false in all lanes."""
    mask, common = operands[0], operands[-1]
    suffix = type_suffix(T.bool_, lanes)
    some = w.let(f"call i1 @llvm.vector.reduce.or.{suffix}({llvm_type(T.bool_, lanes)} {mask})")
    before, rare, join = w.block, w.fresh("rare"), w.fresh("join")
    w.branch(some, rare, join)
    w.label(rare)
    value = _inline(m, w, function, operands, lanes)
    last = w.block
    w.jump(join)
    w.label(join)
    type = llvm_type(function.results[0].dtype, lanes)
    return w.let(f"phi {type} [ {common}, %{before} ], [ {value}, %{last} ]")


def _row_function(m: Module, op: ScalarOp, function: Function, known: Literal | None) -> str:
    """The name of the module's function that computes the row on one lane."""
    dtypes = [p.dtype for p in function.params]
    by = [] if known is None else ["by", known.bits.hex()]
    name = ".".join(["row", op.name, *(d.name for d in dtypes), *by])
    if name not in m.functions:
        m.functions[name] = ""  # its place; it may need others
        w = Writer()
        params = [f"%x{i}" for i in range(len(dtypes))]
        value = _inline(m, w, function, params, 1)
        result = llvm_type(function.results[0].dtype)
        w.add(f"ret {result} {value}")
        head = f"define internal {result} @{name}({_arguments(dtypes, params)}) #0 {{"
        m.functions[name] = "\n".join([head, "entry:", *w.lines, "}\n"])
    return name


def _arguments(dtypes: Sequence[DType], operands: Sequence[str], lanes: int = 1) -> str:
    return ", ".join(f"{llvm_type(d, lanes)} {text}" for d, text in zip(dtypes, operands))


def _emit_spelling(
    w: Writer,
    spelling: str,
    dtypes: Sequence[DType],
    result: DType,
    operands: Sequence[str],
    lanes: int,
    hint: str,
) -> str:
    if spelling.startswith("llvm."):
        name = f"{spelling}.{type_suffix(result, lanes)}"
        arguments = _arguments(dtypes, operands, lanes)
        return w.let(f"call {llvm_type(result, lanes)} @{name}({arguments})", hint)
    types = {"T": llvm_type(dtypes[-1], lanes), "B": llvm_type(T.bool_, lanes)}
    value, suffix = "", type_suffix(dtypes[-1], lanes)
    for instruction in spelling.split(" | "):
        value = w.let(instruction.format(*operands, **types, S=suffix, r=value), hint)
    return value


def _declaration(name: str, dtypes: Sequence[DType], result: DType) -> str:
    return f"declare {llvm_type(result)} @{name}({', '.join(llvm_type(d) for d in dtypes)})"


def _call_by_lane(
    w: Writer,
    name: str,
    dtypes: Sequence[DType],
    result: DType,
    operands: Sequence[str],
    lanes: int,
    hint: str,
) -> str:
    values = []
    for i in range(lanes):
        scalars = [w.lane(d, text, i, lanes) for d, text in zip(dtypes, operands)]
        call = f"call {llvm_type(result)} @{name}({_arguments(dtypes, scalars)})"
        values.append(w.let(call, hint))
    return w.gather(result, values)


# -- conversions -----------------------------------------------------------------------------------


def _emit_conversion(
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


def _emit_cast_of_half(
    m: Module, w: Writer, source: DType, to: DType, operand: str, lanes: int
) -> str:
    """Between a half and float32."""
    if not m.casts_halves or T.f16 not in (source, to):
        return _inline(m, w, halves.expansion(source, to), [operand], lanes)
    bits, single = llvm_type(T.f16, lanes), llvm_type(T.f32, lanes)
    half = "half" if lanes == 1 else f"<{lanes} x half>"
    if source is T.f16:
        value = w.let(f"bitcast {bits} {operand} to {half}")
        return w.let(f"fpext {half} {value} to {single}")
    value = w.let(f"fptrunc {single} {operand} to {half}")
    return w.let(f"bitcast {half} {value} to {bits}")


def _signed(w: Writer, source: DType, to: DType, operand: str, lanes: int) -> str:
    """Truncated to i32 or i64; what does not fit gives the least value, as x86 does. LLVM's own
    instruction leaves that open, and folds it away where it knows the operand."""
    F, I, B = llvm_type(source, lanes), llvm_type(to, lanes), llvm_type(T.bool_, lanes)
    bound = float(1 << to.bits - 1)
    low = constant(Literal(-bound, source), lanes)
    high = constant(Literal(bound, source), lanes)
    above = w.let(f"fcmp oge {F} {operand}, {low}")
    below = w.let(f"fcmp olt {F} {operand}, {high}")
    fits = w.let(f"and {B} {above}, {below}")
    zero = constant(Literal(0.0, source), lanes)
    safe = w.let(f"select {B} {fits}, {F} {operand}, {F} {zero}")
    value = w.let(f"fptosi {F} {safe} to {I}")
    least = constant(Literal(-(1 << to.bits - 1), to), lanes)
    return w.let(f"select {B} {fits}, {I} {value}, {I} {least}")


def _float_to_integer(w: Writer, source: DType, to: DType, operand: str, lanes: int) -> str:
    """As a C compiler for x86 does it, which shows where the value does not fit: by way of i32 for
    the small types and i64 for u32; u64 in two halves."""
    F = llvm_type(source, lanes)
    middle = T.i32 if to.bits < 32 or to is T.i32 else T.i64
    I = llvm_type(middle, lanes)
    if to is not T.u64:
        value = _signed(w, source, middle, operand, lanes)
        return (
            value
            if to.bits == middle.bits
            else w.let(f"trunc {I} {value} to {llvm_type(to, lanes)}")
        )
    half = constant(Literal(2.0**63, source), lanes)
    large = w.let(f"fcmp oge {F} {operand}, {half}")
    below = w.let(f"fsub {F} {operand}, {half}")
    inner = w.let(f"select {llvm_type(T.bool_, lanes)} {large}, {F} {below}, {F} {operand}")
    value = _signed(w, source, middle, inner, lanes)
    top = constant(Literal(-(2**63), T.i64), lanes)
    flipped = w.let(f"xor {I} {value}, {top}")
    return w.let(f"select {llvm_type(T.bool_, lanes)} {large}, {I} {flipped}, {I} {value}")
