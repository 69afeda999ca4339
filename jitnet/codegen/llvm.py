"""A kernel Function as a module of LLVM IR text. Nothing here needs LLVM.

    func @kernel(%x: buf f32[8], %n: i64, %out: buf f32[8]) -> (i64)

    define internal i32 @kernel(ptr noalias %x.1, i64 %n.2, ptr noalias %out.3,
                                ptr noalias %workspace, ptr noalias %ret)
    define i32 @entry(ptr %argv, ptr %ret)

`entry` takes its arguments in 8-byte slots: addresses of buffers, bits of scalars, one for each
param, and the workspace last. Both return a status: 0, and then the results are in the slots of
`%ret`; or the position of an error site, counted from 1, and then its values are there.
"""

from __future__ import annotations

from dataclasses import dataclass

from jitnet.codegen import heap
from jitnet.codegen.emitter import emit_eqns
from jitnet.codegen.rows import Module
from jitnet.codegen.state import ErrorSite, State, bind
from jitnet.codegen.text import memory_type, value_type
from jitnet.codegen.workspace import plan_workspace, planned_bytes
from jitnet.ir import ArrayType, BufferType, Function
from jitnet.kernel import statements as S
from jitnet.kernel.target import Target

ENTRY = "entry"


@dataclass(frozen=True)
class LlvmModule:
    """Attributes:
    text: the module.
    entry: name of the exported function.
    sites: what each status but 0 stands for.
    workspace_bytes: memory that a call needs, aligned to 64 bytes.
    slots: 8-byte slots that a call writes results or an error's values to.
    externs: extern routines that it is linked with.
    passes: LLVM's passes that make it faster: "" for none, as explicit vectors need none;
        "function" for scalar loops; "module", twice as many, where such a loop reads what an
        earlier step wrote.
    """

    text: str
    entry: str
    sites: tuple[ErrorSite, ...]
    workspace_bytes: int
    slots: int
    externs: tuple[str, ...]
    passes: str


def emit(kernel: Function, target: Target, may_alias: frozenset[int] = frozenset()) -> LlvmModule:
    """The kernel as a module.

    Args:
        kernel: a kernel-level Function; its results are scalars, and buffers that it allocated
            with extents known only at run time.
        may_alias: positions of the params that may share memory with others.
    """
    workspace = plan_workspace(kernel)
    k = State(target, Module(), workspace)
    ops = {eqn.op for eqn in kernel.walk()}
    uses_tapes = S.TAPE_NEW in ops
    uses_heap = uses_tapes or any(
        eqn.op is S.ALLOC and planned_bytes(eqn) is None for eqn in kernel.walk()
    )
    head = _emit_params(k, kernel, may_alias)
    emit_eqns(k, kernel.eqns)
    _emit_results(k, kernel)
    _emit_exit(k, uses_heap)
    begin = ["entry:", *k.allocas]
    if uses_heap:
        begin += [f"  %heap = alloca {heap.RING}, align 16"]
        begin += [f"  store {heap.RING} zeroinitializer, ptr %heap"]
        begin += ["  %heap.prev = getelementptr i8, ptr %heap, i64 8"]
        begin += ["  store ptr %heap, ptr %heap", "  store ptr %heap, ptr %heap.prev"]
    helpers = [heap.HEAP] if uses_heap else []
    helpers += [heap.TAPE] if uses_tapes else []
    declarations = [*k.module.constants, *k.module.libm.values(), *k.module.externs.values()]
    text = "\n".join(
        [
            *declarations,
            *helpers,
            *k.module.functions.values(),
            *[head, *begin, *k.w.lines, "}\n"],
            _entry(kernel),
            _attributes(target),
        ]
    )
    values = max((len(site.dtypes) for site in k.sites), default=0)
    return LlvmModule(
        text,
        ENTRY,
        tuple(k.sites),
        workspace.size,
        max(len(kernel.results), values),
        tuple(k.module.externs),
        k.passes,
    )


def _emit_params(k: State, kernel: Function, may_alias: frozenset[int]) -> str:
    """Bind the params; the line that begins the function."""
    params = []
    names = ["%" + k.w.fresh(param.name) for param in kernel.params]
    k.names.update(zip(kernel.params, names))
    for i, (param, name) in enumerate(zip(kernel.params, names)):
        alone = isinstance(param.type, BufferType) and i not in may_alias
        params.append(f"{value_type(param.type)}{' noalias' if alone else ''} {name}")
        bind(k, param, name, param if alone else None)
    params += ["ptr noalias %workspace", "ptr noalias %ret"]
    return f"define internal i32 @kernel({', '.join(params)}) #0 {{"


def _emit_results(k: State, kernel: Function) -> None:
    w = k.w
    for i, result in enumerate(kernel.results):
        slot = w.let(f"getelementptr inbounds i8, ptr %ret, i64 {8 * i}")
        if isinstance(result.type, ArrayType):
            w.store(result.dtype, k.text(result), slot)
        else:
            w.add(f"call void @heap_keep(ptr {k.text(result)})")
            w.add(f"store ptr {k.text(result)}, ptr {slot}, align 8")


def _emit_exit(k: State, uses_heap: bool) -> None:
    """Where all ways out meet."""
    w = k.w
    k.exits.append((w.block, 0))
    w.jump("leave")
    w.label("leave")
    ways = ", ".join(f"[ {status}, %{block} ]" for block, status in k.exits)
    w.add(f"%status = phi i32 {ways}")
    if uses_heap:
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
