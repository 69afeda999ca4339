"""What the emitters of one kernel share: the names of values, buffers' strides, the ways out.

%x: buf f32[8, 4]     names[%x] = "%x.1", strides[%x] = (4, 1)
%v = load %x, %i, 2   address(%x, ["%i.3", 2]): %v.4 = mul %i.3, 4 ... getelementptr
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from jitnet.codegen.rows import Module
from jitnet.codegen.text import Index, Writer, constant
from jitnet.codegen.workspace import Workspace
from jitnet.ir import BufferType, DType, Eqn, Literal, Loc, Value
from jitnet.kernel.target import Target


@dataclass(frozen=True)
class ErrorSite:
    """A `raise` of the kernel, or memory that may run out.

    Attributes:
        error: name of the exception class.
        message: with `{0}`, `{1}` for the values.
        loc: the user's lines.
        dtypes: of the values, which the program leaves in its result slots.
    """

    error: str
    message: str
    loc: Loc
    dtypes: tuple[DType, ...] = ()


@dataclass
class State:
    """One kernel being written.

    Attributes:
        names: LLVM names of scalars, and addresses of buffers and tapes.
        strides: of buffers, in elements.
        roots: the param or `alloc` that a buffer is (a view of); none where it is unknown.
        sites: errors so far; a program's status is the position in it, from 1.
        exits: (block, status) of the jumps to the way out.
        allocas: lines for the head of the function.
        passes, unrolls: what scalar loops gain from, see `LlvmModule`.
    """

    target: Target
    module: Module
    workspace: Workspace
    w: Writer = field(default_factory=Writer)
    names: dict[Value, str] = field(default_factory=dict)
    strides: dict[Value, tuple[Index, ...]] = field(default_factory=dict)
    roots: dict[Value, Value] = field(default_factory=dict)
    sites: list[ErrorSite] = field(default_factory=list)
    exits: list[tuple[str, int | str]] = field(default_factory=list)
    allocas: list[str] = field(default_factory=list)
    passes: str = ""
    unrolls: bool = False

    def text(self, value: Value) -> str:
        """A scalar, or the address of a buffer or tape."""
        return constant(value) if isinstance(value, Literal) else self.names[value]

    def index(self, value: Value | int) -> Index:
        """An i64 scalar, or a dim."""
        if isinstance(value, int):
            return value
        if isinstance(value, Literal):
            return int(value.item)
        text = self.names[value]
        return text if text.startswith("%") else int(text)  # a loop's index, written out


def bind(k: State, value: Value, text: str, root: Value | None = None) -> None:
    """Name a value. A buffer's strides are computed here, so that they are at hand wherever the
    buffer is."""
    k.names[value] = text
    if not isinstance(value.type, BufferType):
        return
    k.strides[value] = buffer_strides(k, value.type)
    if root is not None:
        k.roots[value] = root


def bind_view(k: State, eqn: Eqn) -> None:
    """Name the result of a `view`."""
    buffer, offset = eqn.operands[:2]
    place = k.w.element(buffer.dtype, k.names[buffer], k.index(offset))
    bind(k, eqn.result, place, k.roots.get(buffer))


def buffer_strides(k: State, type: BufferType) -> tuple[Index, ...]:
    if type.strides is not None:
        return tuple(k.index(s) for s in type.strides)
    strides: list[Index] = []
    stride: Index = 1
    for dim in reversed(type.dims):
        strides.append(stride)
        if len(strides) < type.rank:
            stride = k.w.times(stride, k.index(dim))
    return tuple(reversed(strides))


def address(k: State, buffer: Value, indices: Sequence[Index]) -> str:
    """The address of an element."""
    offset: Index = 0
    for i, stride in zip(indices, k.strides[buffer]):
        offset = k.w.plus(offset, k.w.times(i, stride))
    return k.w.element(buffer.dtype, k.names[buffer], offset)


def element_count(k: State, type: BufferType) -> Index:
    count: Index = 1
    for dim in type.dims:
        count = k.w.times(count, k.index(dim))
    return count


def leave(k: State, site: ErrorSite) -> None:
    """Jump to the way out; whatever follows in this block is never reached."""
    k.sites.append(site)
    k.exits.append((k.w.block, len(k.sites)))
    k.w.jump("leave")
    k.w.label(k.w.fresh("unreached"))


def leave_if(k: State, condition: str, site: ErrorSite) -> None:
    """Jump to the way out where the condition holds."""
    w = k.w
    out, ok = w.fresh("out"), w.fresh("in")
    w.branch(condition, out, ok)
    w.label(out)
    k.sites.append(site)
    k.exits.append((out, len(k.sites)))
    w.jump("leave")
    w.label(ok)


def leave_with(k: State, status: str) -> None:
    """Jump to the way out where a callee's status is not 0: it has left an error's values."""
    w = k.w
    out, ok = w.fresh("out"), w.fresh("in")
    w.branch(w.let(f"icmp ne i32 {status}, 0"), out, ok)
    w.label(out)
    k.exits.append((out, status))
    w.jump("leave")
    w.label(ok)


def require_memory(k: State, pointer: str, loc: Loc) -> None:
    """Leave with MemoryError where the pointer is null."""
    none = k.w.let(f"icmp eq ptr {pointer}, null")
    leave_if(k, none, ErrorSite("MemoryError", "out of memory", loc))
