"""Kernel statements as LLVM IR: memory, control flow, calls, errors.

%r = if %c { return %a } { return %b }        br i1 %c, label %then, label %else
                                            then:  br label %join
                                            else:  br label %join
                                            join:  %r = phi float [ %a, %then ], [ %b, %else ]
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from jitnet.codegen.lists import LIST_EMITTERS
from jitnet.codegen.loops import RARELY, emit_loop, emit_while
from jitnet.codegen.rows import emit_scalar_eqn, is_scalar_op
from jitnet.codegen.state import (
    ErrorSite,
    State,
    address,
    bind,
    bind_view,
    element_count,
    leave,
    leave_if,
    leave_with,
    require_memory,
)
from jitnet.codegen.tapes import TAPE_EMITTERS
from jitnet.codegen.text import Index, value_type
from jitnet.codegen.unrolling import rounds_at_once
from jitnet.codegen.vectorize import emit_vector_loop
from jitnet.codegen.workspace import planned_bytes
from jitnet.ir import BufferType, Eqn, Function, Literal, Op, Value
from jitnet.kernel import statements as S
from jitnet.kernel.externs import EXTERNS

UNROLLED = 64
"""Loops of a known number of rounds are written out where that takes at most so many equations."""


def emit_region(k: State, region: Function, arguments: Sequence[str]) -> list[str]:
    """The region's results, its params bound to `arguments`."""
    for param, text in zip(region.params, arguments):
        bind(k, param, text)
    emit_eqns(k, region.eqns)
    return [k.text(v) for v in region.results]


def emit_eqns(k: State, eqns: Sequence[Eqn]) -> None:
    for eqn in eqns:
        if is_scalar_op(eqn):
            operands = [k.text(v) for v in eqn.operands]
            k.names[eqn.result] = emit_scalar_eqn(k.module, k.w, eqn, operands, 1)
        else:
            EMITTERS[eqn.op](k, eqn)


# -- memory ----------------------------------------------------------------------------------------


def _emit_load(k: State, eqn: Eqn) -> None:
    buffer, *indices = eqn.operands
    place = address(k, buffer, [k.index(i) for i in indices])
    k.names[eqn.result] = k.w.load(buffer.dtype, place, hint=eqn.result.name)


def _emit_store(k: State, eqn: Eqn) -> None:
    buffer, value, *indices = eqn.operands
    place = address(k, buffer, [k.index(i) for i in indices])
    k.w.store(buffer.dtype, k.text(value), place)


def _emit_alloc(k: State, eqn: Eqn) -> None:
    buffer, w = eqn.result, k.w
    size = planned_bytes(eqn)
    if size is None:
        count = element_count(k, buffer.buffer_type)
        size_text = w.times(count, buffer.dtype.itemsize)
        place = w.let(f"call ptr @heap_alloc(ptr %heap, i64 {size_text})", buffer.name)
        require_memory(k, place, eqn.loc)
    elif buffer in k.workspace.offsets:
        offset = k.workspace.offsets[buffer]
        place = w.let(f"getelementptr inbounds i8, ptr %workspace, i64 {offset}", buffer.name)
    else:
        place = "%" + w.fresh(buffer.name)
        k.allocas.append(f"  {place} = alloca [{size} x i8], align 64")
    bind(k, buffer, place, buffer)


def _emit_constant(k: State, eqn: Eqn) -> None:
    data = eqn.attrs["data"].array.tobytes()
    name = f"@constant.{len(k.module.constants)}"
    content = "".join(f"\\{byte:02X}" for byte in data)
    k.module.constants.append(
        f'{name} = private unnamed_addr constant [{len(data)} x i8] c"{content}", align 64'
    )
    bind(k, eqn.result, name, eqn.result)


def _emit_free(k: State, eqn: Eqn) -> None:
    k.w.add(f"call void @heap_free(ptr {k.text(eqn.operands[0])})")


# -- control ---------------------------------------------------------------------------------------


def _emit_for(k: State, eqn: Eqn) -> None:
    (body,) = eqn.regions

    def scalar_loop(low: Index, high: Index, initial: Sequence[str]) -> list[str]:
        if isinstance(low, int) and isinstance(high, int) and (high - low) * size <= UNROLLED:
            return _emit_rounds(k, body, range(low, high), initial)
        carries = [(value_type(c.type), text) for c, text in zip(eqn.operands[2:], initial)]

        def emit_body(index: str, names: list[str]) -> list[str]:
            return emit_region(k, body, [index, *names])

        name = body.params[0].name
        return emit_loop(k.w, low, high, 1, carries, emit_body, name, rounds=rounds)

    size = _size(body)
    finals, rounds = None, 1
    if eqn.attrs["kind"] == "vector":
        finals = emit_vector_loop(k, eqn, scalar_loop)
    if finals is None:
        _note_scalar_loop(k, eqn)
        rounds = rounds_at_once(body)
        k.unrolls |= rounds > 1
        low, high = (k.index(v) for v in eqn.operands[:2])
        finals = scalar_loop(low, high, [k.text(v) for v in eqn.operands[2:]])
    _bind_results(k, eqn, finals)


def _emit_rounds(k: State, body: Function, rounds: range, carries: Sequence[str]) -> list[str]:
    """A short loop without a loop: what it does to arrays of a few elements, LLVM has in
    registers."""
    texts = list(carries)
    for i in rounds:
        texts = emit_region(k, body, [str(i), *texts])
    return texts


def _size(region: Function) -> float:
    """How many equations a region comes to where its short loops are written out; infinite where
    one is not short."""
    return sum(_rounds(e) * max(1, sum(map(_size, e.regions))) for e in region.eqns)


def _rounds(eqn: Eqn) -> float:
    if eqn.op is S.WHILE:
        return math.inf
    if eqn.op is not S.FOR:
        return 1
    low, high = eqn.operands[:2]
    if not isinstance(low, Literal) or not isinstance(high, Literal):
        return math.inf
    return max(int(high.item) - int(low.item), 1)


def _note_scalar_loop(k: State, eqn: Eqn) -> None:
    """An innermost loop gains from hoisting, and from choices in the place of branches; one that
    reads what an earlier step stored, from having it in a register."""
    inner = [e for region in eqn.regions for e in region.walk()]
    loops = [e for e in inner if e.op in (S.FOR, S.WHILE)]
    if any(_rounds(e) * sum(map(_size, e.regions)) > UNROLLED for e in loops):
        return
    roots: dict[Value, Value] = dict(k.roots)
    loads: set[tuple[Value, tuple[Value, ...]]] = set()
    stores: set[tuple[Value, tuple[Value, ...]]] = set()
    for e in inner:
        if e.op is S.VIEW:
            roots[e.result] = roots.get(e.operands[0], e.operands[0])
        elif e.op in (S.LOAD, S.STORE):
            buffer, *indices = e.operands
            where = (roots.get(buffer, buffer), tuple(indices[e.op is S.STORE :]))
            (loads if e.op is S.LOAD else stores).add(where)
    carries = any(a is b and i != j for a, i in loads for b, j in stores)
    k.passes = "module" if carries or k.passes == "module" else "function"


def _bind_results(k: State, eqn: Eqn, texts: Sequence[str]) -> None:
    for result, text in zip(eqn.results, texts):
        bind(k, result, text)


def _emit_while(k: State, eqn: Eqn) -> None:
    _note_scalar_loop(k, eqn)
    cond, body = eqn.regions
    carries = [(value_type(c.type), k.text(c)) for c in eqn.operands]
    finals = emit_while(
        k.w,
        carries,
        lambda names: emit_region(k, cond, names)[0],
        lambda names: emit_region(k, body, names),
    )
    _bind_results(k, eqn, finals)


def _emit_if(k: State, eqn: Eqn) -> None:
    w, (then, orelse) = k.w, eqn.regions
    labels = [w.fresh("then"), w.fresh("else")]
    join = w.fresh("join")
    said = RARELY if _raises(then) else ""
    w.branch(k.text(eqn.operands[0]), labels[0], labels[1], said)
    ends: list[tuple[list[str], str]] = []
    for label, region in zip(labels, (then, orelse)):
        w.label(label)
        values = emit_region(k, region, ())
        ends.append((values, w.block))
        w.jump(join)
    w.label(join)
    for result, a, b in zip(eqn.results, ends[0][0], ends[1][0]):
        type = value_type(result.type)
        phi = f"phi {type} [ {a}, %{ends[0][1]} ], [ {b}, %{ends[1][1]} ]"
        bind(k, result, w.let(phi, result.name))


def _raises(region: Function) -> bool:
    """Whether what a region does is to raise, perhaps under one more condition."""
    return bool(region.eqns) and (
        region.eqns[-1].op is S.RAISE
        or (
            len(region.eqns) == 1
            and region.eqns[0].op is S.IF
            and _raises(region.eqns[0].regions[0])
        )
    )


# -- calls and errors ------------------------------------------------------------------------------


def _emit_call_extern(k: State, eqn: Eqn) -> None:
    """BLAS's integers have 32 bits; the sizes that kernels pass have 64."""
    extern = EXTERNS[eqn.attrs["name"]]
    if not extern.wide:
        _require_small_sizes(k, eqn)
    texts = [f"i32 {number}" for number in extern.leading]
    for value in eqn.operands:
        type, text = value_type(value.type), k.text(value)
        if type == "i64" and not extern.wide:
            short = text if isinstance(value, Literal) else k.w.let(f"trunc i64 {text} to i32")
            type, text = "i32", short
        texts.append(f"{type} {text}")
    texts += extern.trailing
    types = ", ".join(text.split()[0] for text in texts)
    k.module.externs[extern.symbol] = f"declare void @{extern.symbol}({types})"
    k.w.add(f"call void @{extern.symbol}({', '.join(texts)})")


def _require_small_sizes(k: State, eqn: Eqn) -> None:
    """Leave where a size does not fit 31 bits."""
    sizes = {v for v in eqn.operands if value_type(v.type) == "i64"}
    largest = max((int(v.item) for v in sizes if isinstance(v, Literal)), default=0)
    computed = [k.text(v) for v in eqn.operands if v in sizes and not isinstance(v, Literal)]
    if largest < 2**31 and not computed:
        return
    bits = str(largest)
    for text in dict.fromkeys(computed):
        bits = k.w.let(f"or i64 {bits}, {text}")
    message = f"{eqn.attrs['name']}: an extent of 2**31 or more"
    too_large = k.w.let(f"icmp ugt i64 {bits}, {2**31 - 1}")
    leave_if(k, too_large, ErrorSite("OverflowError", message, eqn.loc))


def _emit_invoke(k: State, eqn: Eqn) -> None:
    """The callee leaves its results where this function is to leave its own."""
    w, callee = k.w, k.module.callees[id(eqn.attrs["callee"])]
    offset = k.workspace.offsets[eqn]
    workspace = w.let(f"getelementptr inbounds i8, ptr %workspace, i64 {offset}")
    arguments = [f"{value_type(v.type)} {k.text(v)}" for v in eqn.operands]
    arguments += [f"ptr {workspace}", "ptr %ret"]
    if callee.uses_heap:
        arguments.append("ptr %heap")
    leave_with(k, w.let(f"call i32 @{callee.name}({', '.join(arguments)})"))
    for i, result in enumerate(eqn.results):
        slot = w.let(f"getelementptr inbounds i8, ptr %ret, i64 {8 * i}")
        if isinstance(result.type, BufferType):
            bind(k, result, w.let(f"load ptr, ptr {slot}", result.name), result)
        else:
            bind(k, result, w.load(result.dtype, slot, hint=result.name))


def _emit_raise(k: State, eqn: Eqn) -> None:
    for i, value in enumerate(eqn.operands):
        slot = k.w.let(f"getelementptr inbounds i8, ptr %ret, i64 {8 * i}")
        k.w.store(value.dtype, k.text(value), slot)
    dtypes = tuple(v.dtype for v in eqn.operands)
    leave(k, ErrorSite(eqn.attrs["error"], eqn.attrs["message"], eqn.loc, dtypes))


EMITTERS: dict[Op, Callable[[State, Eqn], None]] = {
    S.LOAD: _emit_load,
    S.STORE: _emit_store,
    S.ALLOC: _emit_alloc,
    S.FREE: _emit_free,
    S.CONSTANT: _emit_constant,
    S.VIEW: bind_view,
    S.FOR: _emit_for,
    S.WHILE: _emit_while,
    S.IF: _emit_if,
    S.CALL_EXTERN: _emit_call_extern,
    S.INVOKE: _emit_invoke,
    S.RAISE: _emit_raise,
    **TAPE_EMITTERS,
    **LIST_EMITTERS,
}
