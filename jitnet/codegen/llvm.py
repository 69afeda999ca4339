"""A kernel Function as a module of LLVM IR text. Nothing here needs LLVM.

    func @kernel(%x: buf f32[8], %n: i64, %out: buf f32[8]) -> (i64)

    define internal i32 @kernel(ptr noalias %x.1, i64 %n.2, ptr noalias %out.3,
                                ptr noalias %workspace, ptr noalias %ret)
    define i32 @entry(ptr %argv, ptr %ret)

`entry` takes its arguments in 8-byte slots: addresses of buffers, bits of scalars, one for each
param, and the workspace last. Both return a status: 0, and then the results are in the slots of
`%ret`; or the position of an error site, counted from 1, and then its values are there. Functions
that the kernel invokes are like it, use the same `%ret`, and live on their caller's heap.
"""

from __future__ import annotations

from dataclasses import dataclass

from jitnet.codegen import heap, lists
from jitnet.codegen.emitter import emit_eqns
from jitnet.codegen.loops import numbered
from jitnet.codegen.rows import Callee, Module
from jitnet.codegen.state import ErrorSite, State, bind
from jitnet.codegen.text import memory_type, value_type
from jitnet.codegen.workspace import plan_workspaces, planned_bytes
from jitnet.ir import ArrayType, BufferType, Function
from jitnet.kernel import statements as S
from jitnet.kernel.target import Target
from jitnet.ops.tape import is_packed

ENTRY = "entry"
PASSES = ("", "function", "module")


@dataclass(frozen=True)
class LlvmModule:
    """Attributes:
    text: the module.
    entry: name of the exported function.
    sites: what each status but 0 stands for.
    workspace_bytes: memory that a call needs, aligned to 64 bytes.
    slots: 8-byte slots that a call writes results or an error's values to.
    externs: extern routines that it is linked with, and the memory of the pool.
    passes: LLVM's passes that make it faster: "" for none, as explicit vectors need none;
        "function" for scalar loops; "module", twice as many, where such a loop reads what an
        earlier step wrote.
    unrolls: there are loops that LLVM shall unroll.
    """

    text: str
    entry: str
    sites: tuple[ErrorSite, ...]
    workspace_bytes: int
    slots: int
    externs: tuple[str, ...]
    passes: str
    unrolls: bool = False


def emit(
    kernel: Function,
    target: Target,
    may_alias: frozenset[int] = frozenset(),
    fast_math: bool = False,
) -> LlvmModule:
    """The kernel as a module.

    Args:
        kernel: a kernel-level Function; its results are scalars, and buffers that it allocated
            with extents known only at run time.
        may_alias: positions of the params that may share memory with others.
        fast_math: arithmetic of floats may be reordered and contracted.
    """
    plans = plan_workspaces(kernel)
    module = Module(casts_halves=target.casts_halves, fast_math=fast_math)
    sites: list[ErrorSite] = []
    functions: list[str] = []
    passes, unrolls = {""}, False
    for f in (*reversed(kernel.callees()), kernel):
        k = State(target, module, plans[id(f)], sites=sites)
        functions.append(_emit_function(k, f, may_alias if f is kernel else None))
        passes.add(k.passes)
        unrolls = unrolls or k.unrolls
    eqns = (eqn for f in (kernel, *kernel.callees()) for eqn in f.walk())
    tapes = {is_packed(eqn.attrs["type"]) for eqn in eqns if eqn.op is S.TAPE_NEW}
    uses_heap = _uses_heap(kernel, module)
    helpers = [heap.SHARED, heap.HEAP] if uses_heap else []
    helpers += [heap.TAPE] if False in tapes else []
    helpers += [lists.LIST] if True in tapes else []
    text = "\n".join(
        [
            *module.constants,
            *module.libm.values(),
            *module.externs.values(),
            *helpers,
            *module.functions.values(),
            *functions,
            _entry(kernel),
            _attributes(target),
        ]
    )
    slots = [len(f.results) for f in (kernel, *kernel.callees())]
    slots += [len(site.dtypes) for site in sites]
    return LlvmModule(
        numbered(text),
        ENTRY,
        tuple(sites),
        plans[id(kernel)].size,
        max(slots),
        (*module.externs, *([heap.POOL] if uses_heap else [])),
        max(passes, key=PASSES.index),
        unrolls,
    )


def _uses_heap(f: Function, module: Module) -> bool:
    """Whether a kernel Function allocates at run time, or one that it invokes does."""
    return any(
        eqn.op is S.TAPE_NEW
        or (eqn.op is S.ALLOC and planned_bytes(eqn) is None)
        or (eqn.op is S.INVOKE and module.callees[id(eqn.attrs["callee"])].uses_heap)
        for eqn in f.walk()
    )


def _emit_function(k: State, f: Function, may_alias: frozenset[int] | None) -> str:
    """One function of the module: the kernel, or where `may_alias` is None, what it invokes."""
    is_callee = may_alias is None
    uses_heap = _uses_heap(f, k.module)
    name = "kernel"
    if is_callee:
        name = f"callee.{len(k.module.callees)}"
        k.module.callees[id(f)] = Callee(name, uses_heap)
    head = _emit_params(k, f, name, may_alias or frozenset(), is_callee and uses_heap)
    emit_eqns(k, f.eqns)
    _emit_results(k, f, is_callee)
    _emit_exit(k, uses_heap and not is_callee)
    begin = ["entry:", *k.allocas]
    if uses_heap and not is_callee:
        begin += [f"  %heap = alloca {heap.RING}, align 16"]
        begin += [f"  store {heap.RING} zeroinitializer, ptr %heap"]
        begin += ["  %heap.prev = getelementptr i8, ptr %heap, i64 8"]
        begin += ["  store ptr %heap, ptr %heap", "  store ptr %heap, ptr %heap.prev"]
    return "\n".join([head, *begin, *k.w.lines, "}\n"])


def _emit_params(
    k: State, kernel: Function, function: str, may_alias: frozenset[int], takes_heap: bool
) -> str:
    """Bind the params; the line that begins the function."""
    params = []
    names = ["%" + k.w.fresh(param.name) for param in kernel.params]
    k.names.update(zip(kernel.params, names))
    for i, (param, name) in enumerate(zip(kernel.params, names)):
        alone = isinstance(param.type, BufferType) and i not in may_alias
        params.append(f"{value_type(param.type)}{' noalias' if alone else ''} {name}")
        bind(k, param, name, param if alone else None)
    params += ["ptr noalias %workspace", "ptr noalias %ret"]
    params += ["ptr %heap"] if takes_heap else []
    return f"define internal i32 @{function}({', '.join(params)}) #0 {{"


def _emit_results(k: State, kernel: Function, is_callee: bool) -> None:
    """Results to their slots. Memory that a callee hands out stays on its caller's heap."""
    w = k.w
    for i, result in enumerate(kernel.results):
        slot = w.let(f"getelementptr inbounds i8, ptr %ret, i64 {8 * i}")
        if isinstance(result.type, ArrayType):
            w.store(result.dtype, k.text(result), slot)
        else:
            if not is_callee:
                w.add(f"call void @heap_keep(ptr {k.text(result)})")
            w.add(f"store ptr {k.text(result)}, ptr {slot}, align 8")


def _emit_exit(k: State, clears_heap: bool) -> None:
    """Where all ways out meet."""
    w = k.w
    k.exits.append((w.block, 0))
    w.jump("leave")
    w.label("leave")
    ways = ", ".join(f"[ {status}, %{block} ]" for block, status in k.exits)
    w.add(f"%status = phi i32 {ways}")
    if clears_heap:
        w.add("call void @heap_clear(ptr %heap)")
    w.add("ret i32 %status")


def _entry(kernel: Function) -> str:
    """The exported function, which unpacks the slots."""
    lines = [f"define i32 @{ENTRY}(ptr %argv, ptr %ret) #0 {{"]
    arguments = []
    types = [p.type for p in kernel.params]
    for i, type in enumerate(types):
        lines.append(f"  %p{i} = getelementptr inbounds i8, ptr %argv, i64 {8 * i}")
        if isinstance(type, ArrayType) and type.dtype.is_bool:
            lines.append(f"  %b{i} = load {memory_type(type.dtype)}, ptr %p{i}")
            lines.append(f"  %a{i} = icmp ne i8 %b{i}, 0")
        else:
            lines.append(f"  %a{i} = load {value_type(type)}, ptr %p{i}")
        arguments.append(f"{value_type(type)} %a{i}")
    lines.append(f"  %pw = getelementptr inbounds i8, ptr %argv, i64 {8 * len(types)}")
    lines.append("  %workspace = load ptr, ptr %pw")
    arguments += ["ptr %workspace", "ptr %ret"]
    lines.append(f"  %status = call i32 @kernel({', '.join(arguments)})")
    return "\n".join([*lines, "  ret i32 %status", "}\n"])


def _attributes(target: Target) -> str:
    bits = target.vector_bytes * 8
    vector = f'"prefer-vector-width"="{bits}" "min-legal-vector-width"="{bits}"'
    return f"attributes #0 = {{ nounwind {vector} }}\n"
