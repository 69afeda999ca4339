"""Kernel statements as C++: loads and stores, loops, branches, errors.

    %a = load %x, %i, 2         const float a = x[i * 64 + 2];
    store %y, %a, %i            y[i] = a;

Where a block does one thing *together*, all of its threads run the same code; loops whose
iterations are independent are shared out among them, the first thread writes what is written
outside of these, and a barrier stands wherever one thread might read what another one has written.
Folds go by a fixed tree, so that results are the same from run to run.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from math import prod

from jitnet.codegen.cuda.memory import Root, Roots, static_strides
from jitnet.codegen.cuda.rows import Unit, assign, expression, is_scalar_op, row
from jitnet.codegen.cuda.text import C_TYPES, Writer, constant, stripped
from jitnet.codegen.state import ErrorSite
from jitnet.codegen.vectorize import IDEMPOTENT, NEUTRAL
from jitnet.codegen.workspace import static_bytes
from jitnet.ir import (
    BufferType,
    DType,
    Eqn,
    Function,
    Literal,
    Loc,
    Op,
    Type,
    Value,
    as_value,
    registry,
)
from jitnet.ir import types as T
from jitnet.kernel import scalars as s
from jitnet.kernel import statements as S
from jitnet.kernel.scalars import ScalarOp

MOST_SHARED = 16384
"""Bytes of shared memory for a kernel's own buffers; others lie in device memory."""

FEWEST_SHARED_OUT = 32
"""Loops of fewer iterations are run by every thread alone."""

MOST_LOCAL = 512
"""Bytes of the arrays that a thread has for itself."""

INT_MAX = 2**31 - 2**20
"""Numbers below are counted with 32 bits, which leaves room for a step of the whole grid."""


def trips(loop: Eqn) -> int | None:
    """How many iterations, where that is known."""
    low, high = loop.operands[:2]
    if isinstance(low, Literal) and isinstance(high, Literal):
        return max(int(high.item) - int(low.item), 0)
    return None


def local_bytes(eqns: Iterable[Eqn]) -> int:
    """The size of what these equations allocate, with static extents."""
    allocs = (e.result.buffer_type for e in eqns if e.op is S.ALLOC)
    return sum(static_bytes(type) or 0 for type in allocs)


def is_shared_out(loop: Eqn) -> bool:
    """Whether the threads of a block share a loop's iterations."""
    if loop.op is not S.FOR or loop.attrs["kind"] == "seq":
        return False
    names = loop.attrs["combine"]
    if any(name not in IDEMPOTENT and name not in NEUTRAL for name in names):
        return False
    inner = list(loop.regions[0].walk())
    if len(names) != len(loop.operands) - 2 or any(e.op is S.RAISE for e in inner):
        return False
    if local_bytes(inner) > MOST_LOCAL:
        return False
    count = trips(loop)
    return count is None or count >= FEWEST_SHARED_OUT


@dataclass
class State:
    """A kernel while it is written.

    Attributes:
        together: the threads of a block run the same code here.
        names: C++ names of scalars and of buffers' first elements.
        ranges: bounds of integers that are C ints.
        written, read: memory that was used since the last barrier.
        shared: bytes of shared memory so far.
        scratch: parameters for buffers in device memory: name, bytes for a block, dtype.
        origin: the comment that was written last.
    """

    unit: Unit
    roots: Roots
    threads: int
    w: Writer
    together: bool = False
    names: dict[Value, str] = field(default_factory=dict)
    ranges: dict[Value, tuple[int, int]] = field(default_factory=dict)
    written: set[Root] = field(default_factory=set)
    read: set[Root] = field(default_factory=set)
    shared: int = 0
    scratch: list[tuple[str, int, DType]] = field(default_factory=list)
    origin: str = ""

    @property
    def uniform(self) -> bool:
        """Whether several threads run the same code here."""
        return self.together and self.threads > 1

    def text(self, v: Value) -> str:
        return constant(v) if isinstance(v, Literal) else self.names[v]

    def range(self, v: Value) -> tuple[int, int] | None:
        if isinstance(v, Literal):
            return (int(v.item), int(v.item)) if v.dtype is T.i64 else None
        return self.ranges.get(v)

    def number(self, v: Value) -> str:
        """An index, as short as it can be."""
        return str(v.item) if isinstance(v, Literal) else self.names[v]


# -- statements ------------------------------------------------------------------------------------


def emit(k: State, eqns: Sequence[Eqn]) -> None:
    """Write statements."""
    for eqn in eqns:
        comment(k, eqn.loc)
        if is_scalar_op(eqn):
            _emit_scalar(k, eqn)
        else:
            _EMITTERS[eqn.op](k, eqn)


def comment(k: State, loc: Loc) -> None:
    """The user's line, where it is another one than before."""
    if not loc.frames:
        return
    frame = loc.frames[0]
    source = frame.source.strip().rstrip("\\")
    origin = f"// {os.path.basename(frame.file)}:{frame.line}{': ' if source else ''}{source}"
    if origin != k.origin:
        k.origin = origin
        k.w.add(origin)


def _emit_scalar(k: State, eqn: Eqn) -> None:
    bounds = _bounds(k, eqn)
    if bounds is not None:
        k.ranges[eqn.result] = bounds
        a, b = (k.number(v) for v in eqn.operands)
        text = f"{a} {_PLAIN[eqn.op]} {b}"
        k.names[eqn.result] = k.w.let("int", text, eqn.result.name)
        return
    value = expression(k.unit, eqn, [k.text(v) for v in eqn.operands])
    k.names[eqn.result] = k.w.let(C_TYPES[eqn.result.dtype], stripped(value), eqn.result.name)


_PLAIN: dict[Op, str] = {s.add: "+", s.sub: "-", s.mul: "*", s.quotient: "/", s.residue: "%"}


def _bounds(k: State, eqn: Eqn) -> tuple[int, int] | None:
    """The range of an i64 that is arithmetic of small ones, where it is small too."""
    if eqn.op not in _PLAIN or eqn.result.dtype is not T.i64:
        return None
    given = [k.range(v) for v in eqn.operands]
    if given[0] is None or given[1] is None:
        return None
    (a, b), (c, d) = given[0], given[1]
    if eqn.op is s.add:
        low, high = a + c, b + d
    elif eqn.op is s.sub:
        low, high = a - d, b - c
    elif eqn.op is s.mul:
        ends = (a * c, a * d, b * c, b * d)
        low, high = min(ends), max(ends)
    elif a >= 0 and c == d and c > 0:
        low, high = (a // c, b // c) if eqn.op is s.quotient else (0, c - 1)
    else:
        return None
    return (low, high) if min(a, c, low) > -INT_MAX and max(b, d, high) < INT_MAX else None


# -- memory ----------------------------------------------------------------------------------------


def place(k: State, buffer: Value, indices: Sequence[Value]) -> str:
    """An element, as C++ has it."""
    return f"{k.names[buffer]}[{offset(k, buffer, indices)}]"


def offset(k: State, buffer: Value, indices: Sequence[Value]) -> str:
    """Which element of a buffer's memory, 32 bits wide where that is enough."""
    type = buffer.buffer_type
    small = _is_small(type)
    terms: list[str] = []
    for axis, v in enumerate(indices):
        if isinstance(v, Literal) and not v.item:
            continue
        stride = _stride(k, type, axis)
        if stride == "0":
            continue
        index = k.number(v)
        is_int = isinstance(v, Literal) or v in k.ranges
        if small and not is_int:
            index = f"(int){index}"
        elif not small and is_int and stride != "1":
            index = f"(long long){index}"
        terms.append(index if stride == "1" else f"{index} * {stride}")
    return " + ".join(terms) or "0"


def _is_small(type: BufferType) -> bool:
    """Whether 32 bits number all elements."""
    strides = static_strides(type)
    dims = [d for d in type.dims if isinstance(d, int)]
    if strides is None or len(dims) < type.rank:
        return False
    return sum(max(d - 1, 0) * abs(step) for d, step in zip(dims, strides)) < INT_MAX


def _stride(k: State, type: BufferType, axis: int) -> str:
    if type.strides is not None:
        return k.number(as_value(type.strides[axis]))
    inner = [k.number(as_value(d)) for d in type.dims[axis + 1 :]]
    known = prod(int(d) for d in inner if d.isdigit())
    names = [d for d in inner if not d.isdigit()]
    parts = [*names, *([str(known)] if known != 1 or not names else [])]
    return parts[0] if len(parts) == 1 else f"({' * '.join(parts)})"


def _emit_load(k: State, eqn: Eqn) -> None:
    buffer, *indices = eqn.operands
    root = k.roots[buffer]
    if k.together and any(not root.is_apart(w) for w in k.written):
        barrier(k)
    k.read.add(root)
    text = place(k, buffer, indices)
    k.names[eqn.result] = k.w.let(C_TYPES[eqn.result.dtype], text, eqn.result.name)


def _emit_store(k: State, eqn: Eqn) -> None:
    buffer, value, *indices = eqn.operands
    root = k.roots[buffer]
    text = f"{place(k, buffer, indices)} = {k.text(value)};"
    if not k.together or k.threads == 1:
        k.written.add(root)
        k.w.add(text)
        return
    if any(not root.is_apart(used) for used in (*k.read, *k.written)):
        barrier(k)
    k.written.add(root)
    k.w.add(f"if (threadIdx.x == 0) {text}")


def barrier(k: State) -> None:
    """All threads of the block come here, and see what the others have written."""
    if k.threads > 1 and (k.written or k.read):
        k.w.add("__syncthreads();")
    k.written.clear()
    k.read.clear()


def _emit_alloc(k: State, eqn: Eqn) -> None:
    """Memory of a thread's own, or of a block's."""
    buffer = eqn.result
    size = static_bytes(buffer.buffer_type)
    assert size is not None, "only static memory is a kernel's own"
    type, count = C_TYPES[buffer.dtype], max(size // buffer.dtype.itemsize, 1)
    name = k.w.fresh(buffer.name, "row")
    k.names[buffer] = name
    if not k.together:
        k.w.add(f"{type} {name}[{count}];")
    elif k.shared + size <= MOST_SHARED:
        k.shared += size
        k.w.add(f"__shared__ {type} {name}[{count}];")
    else:
        memory = k.w.fresh(name + "_of_blocks")
        k.scratch.append((memory, count * buffer.dtype.itemsize, buffer.dtype))
        k.w.add(f"{type}* const {name} = {memory} + (long long)blockIdx.x * {count};")


def _emit_view(k: State, eqn: Eqn) -> None:
    buffer, offset_ = eqn.operands[:2]
    base = k.names[buffer]
    if isinstance(offset_, Literal) and not offset_.item:
        k.names[eqn.result] = base
        return
    text = f"{base} + {k.number(offset_)}"
    k.names[eqn.result] = k.w.let("auto", text, eqn.result.name)


# -- control ---------------------------------------------------------------------------------------


def _c_type(type: Type) -> str:
    assert not isinstance(type, T.TapeType), "kernels have no tapes"
    return f"{C_TYPES[type.dtype]}{'*' if isinstance(type, BufferType) else ''}"


def _emit_for(k: State, eqn: Eqn) -> None:
    if k.together and k.threads > 1 and is_shared_out(eqn):
        _emit_shared_out(k, eqn)
        return
    (body,) = eqn.regions
    if k.together:
        _settle(k, body)
    carries = _carries(k, eqn.operands[2:], body.params[1:])
    with k.w.block(_head(k, eqn, "", "")):
        _region(k, body, carries)
    k.names.update(zip(eqn.results, carries))


def _head(k: State, eqn: Eqn, first: str, step: str) -> str:
    """`for (...) {`, from `low + first` on in steps of `step`, or of 1."""
    index, (low, high) = eqn.regions[0].params[0], eqn.operands[:2]
    ends = k.range(low), k.range(high)
    small = all(r is not None and r[0] > -INT_MAX and r[1] < INT_MAX for r in ends)
    name = k.w.fresh(index.name, "i")
    k.names[index] = name
    if small and ends[0] and ends[1]:
        k.ranges[index] = (ends[0][0], max(ends[1][1] - 1, ends[0][0]))
    start = k.number(low)
    if first:
        start = first if start == "0" else f"{start} + {first}"
    type = "int" if small else "long long"
    advance = f"{name} += {step}" if step else f"++{name}"
    return f"for ({type} {name} = {start}; {name} < {k.number(high)}; {advance}) {{"


def _carries(k: State, initial: Sequence[Value], params: Sequence[Value]) -> list[str]:
    """Variables for what a loop carries."""
    names = [k.w.var(_c_type(v.type), k.text(v), p.name or v.name) for v, p in zip(initial, params)]
    k.names.update(zip(params, names))
    return names


def _region(k: State, body: Function, carries: Sequence[str]) -> None:
    """One round of a loop."""
    emit(k, body.eqns)
    assign(k.w, body, carries, [k.text(v) for v in body.results])
    if k.together:
        _settle(k, body)


def _settle(k: State, *regions: Function) -> None:
    """A barrier where a region is entered or left that may touch what is pending."""
    if any(e.op in (S.LOAD, S.STORE) for region in regions for e in region.walk()):
        barrier(k)


def _emit_shared_out(k: State, eqn: Eqn) -> None:
    """A loop whose iterations the block's threads share. Folds begin with what changes nothing in
    each thread; the first value is folded in at the end."""
    (body,) = eqn.regions
    inside = Function("inside", (), (eqn,), (), "kernel")
    stores = {k.roots[e.operands[0]] for e in inside.walk() if e.op is S.STORE}
    loads = {k.roots[e.operands[0]] for e in inside.walk() if e.op is S.LOAD}
    stores = {r for r in stores if not _is_inner(r, eqn)}
    loads = {r for r in loads if not _is_inner(r, eqn)}
    if _touch(stores, k.written | k.read) or _touch(loads, k.written):
        barrier(k)
    initial = eqn.operands[2:]
    names = eqn.attrs["combine"]
    starts = [_neutral(k, name, v) for name, v in zip(names, initial)]
    carries = [
        k.w.var(_c_type(v.type), start, p.name or v.name)
        for v, start, p in zip(initial, starts, body.params[1:])
    ]
    k.names.update(zip(body.params[1:], carries))
    with k.w.block(_head(k, eqn, "(int)threadIdx.x", "(int)blockDim.x")):
        k.together = False
        _region(k, body, carries)
        k.together = True
    k.written |= stores
    k.read |= loads
    for name, v, result, carry in zip(names, initial, eqn.results, carries):
        total = f"{_fold(k.unit, name, v.dtype)}({carry})"
        k.written.clear()  # there are barriers in it
        k.read.clear()
        if name not in IDEMPOTENT:
            total = row(k.unit, _op(name), [v.dtype, v.dtype], [k.text(v), total])
        k.names[result] = k.w.let(C_TYPES[v.dtype], stripped(total), result.name)


def _is_inner(root: Root, eqn: Eqn) -> bool:
    return any(e.op is S.ALLOC and e.result is root.value for r in eqn.regions for e in r.walk())


def _touch(a: set[Root], b: set[Root]) -> bool:
    return any(not x.is_apart(y) for x in a for y in b)


def _neutral(k: State, name: str, initial: Value) -> str:
    if name in IDEMPOTENT:
        return k.text(initial)
    return constant(Literal(NEUTRAL[name][initial.dtype.kind != "f"], initial.dtype))


def _op(name: str) -> ScalarOp:
    op = registry("kernel")[name]
    assert isinstance(op, ScalarOp)
    return op


def _fold(unit: Unit, name: str, dtype: DType) -> str:
    """The name of the unit's function that folds one value of each thread: sixteen threads fold a
    sixteenth each, then every thread folds their results, always in the same order."""
    function = f"fold_{name}_{dtype.name}"
    if function in unit.functions:
        return function
    type = C_TYPES[dtype]
    pair = stripped(row(unit, _op(name), [dtype, dtype], ["total", "parts[i]"]))
    unit.functions[function] = f"""\
static __device__ __forceinline__ {type} {function}({type} mine) {{
  __shared__ {type} parts[256];
  const int me = threadIdx.x, all = blockDim.x, few = all < 16 ? all : 16;
  __syncthreads();
  parts[me] = mine;
  __syncthreads();
  if (me < few) {{
    {type} total = mine;
    for (int i = me + few; i < all; i += few) total = {pair};
    parts[me] = total;
  }}
  __syncthreads();
  {type} total = parts[0];
  for (int i = 1; i < few; ++i) total = {pair};
  return total;
}}"""
    return function


def _emit_while(k: State, eqn: Eqn) -> None:
    cond, body = eqn.regions
    if k.together:
        _settle(k, cond, body)
    carries = _carries(k, eqn.operands, body.params)
    k.names.update(zip(cond.params, carries))
    with k.w.block("for (;;) {"):
        emit(k, cond.eqns)
        k.w.add(f"if (!{k.text(cond.results[0])}) break;")
        if k.together:
            _settle(k, cond, body)
        _region(k, body, carries)
    k.names.update(zip(eqn.results, carries))


def _emit_if(k: State, eqn: Eqn) -> None:
    then, orelse = eqn.regions
    if k.together:
        _settle(k, then, orelse)
    names = []
    for result in eqn.results:
        names.append(k.w.fresh(result.name))
        k.w.add(f"{_c_type(result.type)} {names[-1]};")
    condition = stripped(k.text(eqn.operands[0]))
    has_else = bool(orelse.eqns or orelse.results)
    with k.w.block(f"if ({condition}) {{", "} else {" if has_else else "}"):
        _arm(k, then, names)
    if has_else:
        with k.w.block("", "}"):
            _arm(k, orelse, names)
    k.names.update(zip(eqn.results, names))


def _arm(k: State, region: Function, names: Sequence[str]) -> None:
    emit(k, region.eqns)
    for name, v in zip(names, region.results):
        k.w.add(f"{name} = {k.text(v)};")
    if k.together:
        _settle(k, region)


# -- errors ----------------------------------------------------------------------------------------


def _emit_raise(k: State, eqn: Eqn) -> None:
    """The number of the site and the values go to the status; the host raises."""
    dtypes = tuple(v.dtype for v in eqn.operands)
    k.unit.sites.append(ErrorSite(eqn.attrs["error"], eqn.attrs["message"], eqn.loc, dtypes))
    with k.w.block("if (threadIdx.x == 0) {"):
        for i, v in enumerate(eqn.operands):
            k.w.add(f"status[{i + 1}] = {_bits(k, v)};")
        k.w.add(f"*status = {len(k.unit.sites)};  // {eqn.attrs['error']}")
    k.w.add("return;")


def _bits(k: State, v: Value) -> str:
    if v.dtype is T.f64:
        return f"__double_as_longlong({k.text(v)})"
    if v.dtype is T.f32:
        return f"__float_as_int({k.text(v)})"
    return f"(long long){k.text(v)}"


_EMITTERS: dict[Op, Callable[[State, Eqn], None]] = {
    S.LOAD: _emit_load,
    S.STORE: _emit_store,
    S.ALLOC: _emit_alloc,
    S.VIEW: _emit_view,
    S.FOR: _emit_for,
    S.WHILE: _emit_while,
    S.IF: _emit_if,
    S.RAISE: _emit_raise,
}
