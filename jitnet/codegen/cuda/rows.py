"""Spells rows of the scalar table as C++ expressions.

    add on f32:     (x + y)
    exp on f32:     exp_f32(x), a function of the unit: the polynomial that the CPU computes
    cbrt on f64:    cbrt(x), CUDA's own
    cast f64, i32:  to_i32(x), x86's conversion where the value does not fit

The spelling is the row's `cuda` template, where it stands for the very bits that the CPU gives; a
row that the CPU expands into others on floats is expanded here too, as a function.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from jitnet.codegen.cuda.text import C_TYPES, Writer, constant, stripped
from jitnet.codegen.rows import expansion
from jitnet.codegen.state import ErrorSite
from jitnet.ir import DType, Eqn, Function, Literal, Value
from jitnet.ir import types as T
from jitnet.kernel import halves
from jitnet.kernel import scalars as s
from jitnet.kernel import statements as S
from jitnet.kernel.scalars import Conversion, ScalarOp

_BY_DIVISOR = (s.floordiv, s.rem, s.fmod)
"""Rows whose expansion depends on the last operand, if it is known."""


INTRINSICS = {
    **{name: f"__{name}f" for name in ("exp", "log", "log2", "log10", "sin", "cos", "tan")},
    "pow": "__powf",
}
"""What `fast_math` calls in the place of rows on float32."""


@dataclass
class Unit:
    """What the kernels of one translation unit share.

    Attributes:
        guarded: whether any of them may report an error, so that those behind it do nothing.
        functions: text of functions, by name, each behind those that it calls.
        kernels: names of kernels, by their text with `@` for the name.
        sites: errors so far; a status is the position in it, from 1.
        packs: whether `pack` is needed.
        fast_math: elementary functions of float32 are the hardware's approximations.
        parts: names of functions that are parts of kernels, by their text without names of params.
        deterministic: no result depends on which thread comes first.
        atomics: whether there are atomic operations.
    """

    guarded: bool
    functions: dict[str, str] = field(default_factory=dict)
    kernels: dict[str, str] = field(default_factory=dict)
    sites: list[ErrorSite] = field(default_factory=list)
    packs: bool = False
    fast_math: bool = False
    parts: dict[str, str] = field(default_factory=dict)
    deterministic: bool = True
    atomics: bool = False


def is_scalar_op(eqn: Eqn) -> bool:
    """Whether the equation is one that `expression` spells."""
    return isinstance(eqn.op, ScalarOp | Conversion)


def expression(unit: Unit, eqn: Eqn, operands: Sequence[str]) -> str:
    """The value of a scalar op's equation, of operands that are spelled already."""
    dtypes = [v.dtype for v in eqn.operands]
    if isinstance(eqn.op, ScalarOp):
        last = eqn.operands[-1]
        known = last if eqn.op in _BY_DIVISOR and isinstance(last, Literal) else None
        return row(unit, eqn.op, dtypes, operands, known)
    if eqn.op is s.BITCAST:
        return _bitcast(dtypes[0], eqn.result.dtype, operands[0])
    return _cast(unit, dtypes[0], eqn.result.dtype, operands[0])


def row(
    unit: Unit,
    op: ScalarOp,
    dtypes: Sequence[DType],
    operands: Sequence[str],
    known: Literal | None = None,
) -> str:
    """The row's value. `known`: the last operand where the expansion depends on it."""
    last, result = dtypes[-1], op.result_dtype(dtypes)
    if unit.fast_math and last is T.f32 and op.name in INTRINSICS:
        return f"{INTRINSICS[op.name]}({', '.join(map(stripped, operands))})"
    template = op.cuda.get(last.kind)
    approximated = last.is_float and last.kind not in op.llvm and op.expand is not None
    if template is not None and not approximated:
        value = template.format(*operands, **_types(last))
        narrow = result.is_integer and result.bits < 32
        return f"({C_TYPES[result]}){value}" if narrow else value
    if op.expand is not None:
        name = _function(unit, op, dtypes, known)
        given = operands[:-1] if known is not None else operands
        return f"{name}({', '.join(map(stripped, given))})"
    assert op.libm is not None, f"no C++ spelling of {op.name} on {dtypes}"
    return f"{op.libm}{'f' if result is T.f32 else ''}({', '.join(map(stripped, operands))})"


def _types(dtype: DType) -> dict[str, str]:
    """What a template may name of the last operand's dtype."""
    names = {"T": C_TYPES[dtype], "f": "f" if dtype is T.f32 else ""}
    if dtype.is_integer:
        bits = dtype.bits
        signed, unsigned = C_TYPES[T.DTYPES[f"i{bits}"]], C_TYPES[T.DTYPES[f"u{bits}"]]
        wide = C_TYPES[T.DTYPES[f"u{max(bits, 32)}"]]
        names |= {"I": signed, "W": unsigned, "U": wide}
    return names


def _function(unit: Unit, op: ScalarOp, dtypes: Sequence[DType], known: Literal | None) -> str:
    """The name of the unit's function that computes the row."""
    name = f"{op.name}_{dtypes[-1].name}"
    if known is not None:
        name += f"_by_{str(known.item).replace('-', 'm').replace('.', '_').replace('+', '')}"
    elif len(set(dtypes)) > 1 and not op.rarely and op is not s.select:
        name = "_".join([op.name, *(d.name for d in dtypes)])
    if name in unit.functions:
        return name
    parts = expansion(op, tuple(dtypes), known)
    f = parts.function
    first = [f"if (!x0) return x{len(f.params) - 1};"] if op.rarely else []
    _define(unit, name, f, first, inline="" if parts.loops else "__forceinline__ ")
    return name


def _define(
    unit: Unit,
    name: str,
    f: Function,
    first: Sequence[str] = (),
    last: Sequence[str] = (),
    inline: str = "__forceinline__ ",
) -> None:
    """A Function of rows as a function of the unit, between the `first` and the `last` lines."""
    params = [f"x{i}" for i in range(len(f.params))]
    w = Writer(frozenset(params))
    names = dict(zip(f.params, params))
    for line in first:
        w.add(line)
    _write(unit, w, names, f.eqns)
    w.add(f"return {stripped(_text(names, f.results[0]))};")
    for line in last:
        w.add(line)
    given = ", ".join(f"{C_TYPES[p.dtype]} {name}" for p, name in zip(f.params, params))
    head = f"static __device__ {inline}{C_TYPES[f.results[0].dtype]} {name}({given}) {{"
    unit.functions[name] = "\n".join([head, *w.lines, "}"])


def _text(names: dict[Value, str], value: Value) -> str:
    return constant(value) if isinstance(value, Literal) else names[value]


def _write(unit: Unit, w: Writer, names: dict[Value, str], eqns: Sequence[Eqn]) -> None:
    for eqn in eqns:
        if eqn.op is S.WHILE:
            _write_while(unit, w, names, eqn)
            continue
        value = stripped(expression(unit, eqn, [_text(names, v) for v in eqn.operands]))
        names[eqn.result] = w.let(C_TYPES[eqn.result.dtype], value, eqn.result.name)


def _write_while(unit: Unit, w: Writer, names: dict[Value, str], eqn: Eqn) -> None:
    cond, body = eqn.regions
    carries = [w.var(C_TYPES[v.dtype], _text(names, v)) for v in eqn.operands]
    names.update(zip(eqn.results, carries))
    with w.block("for (;;) {"):
        for region in (cond, body):
            names.update(zip(region.params, carries))
            _write(unit, w, names, region.eqns)
            if region is cond:
                w.add(f"if (!{_text(names, cond.results[0])}) break;")
        assign(w, body, carries, [_text(names, v) for v in body.results])


def assign(w: Writer, body: Function, carries: Sequence[str], values: Sequence[str]) -> None:
    """The next values of what a loop carries, all at once."""
    types = [v.type for v in body.results]
    moved = [(c, v, t) for c, v, t in zip(carries, values, types) if c != v]
    if any(v in carries for _, v, _ in moved):
        moved = [(c, w.let("auto", v, "next"), t) for c, v, t in moved]
    for carry, value, _ in moved:
        w.add(f"{carry} = {value};")


# -- conversions -----------------------------------------------------------------------------------

_BITS = {
    (T.f32, T.i32): "__float_as_int({0})",
    (T.f32, T.u32): "(unsigned int)__float_as_int({0})",
    (T.i32, T.f32): "__int_as_float({0})",
    (T.u32, T.f32): "__int_as_float((int){0})",
    (T.f64, T.i64): "__double_as_longlong({0})",
    (T.f64, T.u64): "(unsigned long long)__double_as_longlong({0})",
    (T.i64, T.f64): "__longlong_as_double({0})",
    (T.u64, T.f64): "__longlong_as_double((long long){0})",
}


def _bitcast(source: DType, to: DType, operand: str) -> str:
    return _BITS.get((source, to), f"({C_TYPES[to]}){{0}}").format(operand)


def _cast(unit: Unit, source: DType, to: DType, operand: str) -> str:
    if source is to:
        return operand
    if source.is_half or to.is_half:
        return f"{_cast_of_half(unit, source, to)}({stripped(operand)})"
    if to.is_bool:
        return f"({operand} != 0)"
    if not (source.is_float and to.is_integer):
        return f"({C_TYPES[to]}){operand}"
    middle = T.i32 if to.bits < 32 or to is T.i32 else T.i64
    if to is T.u64:
        return f"{_to_u64(unit, source)}({stripped(operand)})"
    value = f"{_to_signed(unit, source, middle)}({stripped(operand)})"
    return value if to is middle else f"({C_TYPES[to]}){value}"


def _cast_of_half(unit: Unit, source: DType, to: DType) -> str:
    """Between a half and float32: a GPU's instruction, and in integers where there is none."""
    name = f"{to.name}_from_{source.name}"
    if name in unit.functions:
        return name
    expansion = halves.expansion(source, to)
    if source.name == "bf16":
        _define(unit, name, expansion)
        return name
    rounding, made, given = (".rn", "h", "f") if to.is_half else ("", "f", "h")
    instruction = f"cvt{rounding}.{to.name}.{source.name} %0, %1;"
    first = [
        "#if __CUDA_ARCH__ >= 800",
        f"{C_TYPES[to]} y;",
        f'asm("{instruction}" : "={made}"(y) : "{given}"(x0));',
        "return y;",
        "#else",
    ]
    _define(unit, name, expansion, first, last=["#endif"])
    return name


def _to_signed(unit: Unit, source: DType, to: DType) -> str:
    """Toward zero; what does not fit gives the least value, as x86 does."""
    name = f"to_{to.name}_{source.name}"
    low = constant(Literal(-(2.0 ** (to.bits - 1)), source))
    high = constant(Literal(2.0 ** (to.bits - 1), source))
    least = constant(Literal(-(2 ** (to.bits - 1)), to))
    unit.functions.setdefault(
        name,
        f"static __device__ __forceinline__ {C_TYPES[to]} {name}({C_TYPES[source]} x) {{\n"
        f"  return x >= {low} && x < {high} ? ({C_TYPES[to]})x : {least};\n}}",
    )
    return name


def _to_u64(unit: Unit, source: DType) -> str:
    """In two halves, as a C compiler for x86 does it."""
    name = f"to_u64_{source.name}"
    signed = _to_signed(unit, source, T.i64)
    half = constant(Literal(2.0**63, source))
    unit.functions.setdefault(
        name,
        f"static __device__ __forceinline__ unsigned long long {name}({C_TYPES[source]} x) {{\n"
        f"  if (!(x >= {half})) return (unsigned long long){signed}(x);\n"
        f"  return (unsigned long long){signed}(x - {half}) ^ 0x8000000000000000ull;\n}}",
    )
    return name
