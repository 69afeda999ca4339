"""A kernel while it is written: what its values are called, and what its threads have touched.

    %a = load %x, %i, 2         x[i * 64 + 2]
    // model.py:12: y = x[:, 2] * 2

Indices are C ints where the extents allow it.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import prod

from jitnet.codegen.cuda.memory import Root, Roots, static_strides
from jitnet.codegen.cuda.rows import Unit, row
from jitnet.codegen.cuda.text import C_TYPES, Writer, constant, stripped
from jitnet.codegen.vectorize import IDEMPOTENT, NEUTRAL
from jitnet.codegen.workspace import static_bytes
from jitnet.ir import BufferType, DType, Eqn, Literal, Loc, Value, as_value, registry
from jitnet.ir import types as T
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


def is_chosen(loop: Eqn) -> bool:
    """Whether a block's threads test the iterations of a loop at once, see `owned`."""
    return bool(loop.op is S.FOR and loop.attrs.get("chosen"))


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
        uses: how often values are asked for in the kernel.
    within: memory that the expressions read which stand for values.
        instead: what stands for loads and for the places of stores, where it is not memory.
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
    uses: Counter[Value] = field(default_factory=Counter)
    within: dict[Value, set[Root]] = field(default_factory=dict)
    instead: dict[Eqn, str] = field(default_factory=dict)

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


def barrier(k: State) -> None:
    """All threads of the block come here, and see what the others have written."""
    if k.threads > 1 and (k.written or k.read):
        k.w.add("__syncthreads();")
    k.written.clear()
    k.read.clear()


def perfect_nest(eqn: Eqn) -> tuple[list[Eqn], Sequence[Eqn]]:
    """Independent loops of known extents with nothing but each other inside, and what they do."""
    levels: list[Eqn] = []
    body: Sequence[Eqn] = (eqn,)
    while len(body) == 1 and is_shared_out_as_nest(body[0]):
        levels.append(body[0])
        body = body[0].regions[0].eqns
    return levels, body


def is_shared_out_as_nest(loop: Eqn) -> bool:
    """Whether threads may share a loop's iterations, however few they are."""
    if loop.op is not S.FOR or loop.attrs["kind"] == "seq" or len(loop.operands) > 2:
        return False
    inner = list(loop.regions[0].walk())
    if trips(loop) is None or any(e.op is S.RAISE for e in inner):
        return False
    low = loop.operands[0]
    return isinstance(low, Literal) and local_bytes(inner) <= MOST_LOCAL


def shared_points(levels: Sequence[Eqn]) -> int:
    """How many points a nest of known extents has; 0 where these are too many to count."""
    count = prod(trips(level) or 0 for level in levels)
    return count if count < INT_MAX else 0


def bind_levels(k: State, levels: Sequence[Eqn], at: str, counts: Sequence[str], type: str) -> None:
    """The indices of a nest, from the number of a point in C order."""
    for n, level in enumerate(levels):
        index, low = level.regions[0].params[0], level.operands[0]
        inner = " * ".join(counts[n + 1 :])
        part = f"{at} / ({inner})" if inner.count("*") else f"{at} / {inner}" if inner else at
        part = f"{part} % {counts[n]}" if n else part
        if not (isinstance(low, Literal) and not low.item):
            part = f"{k.number(low)} + {part}"
        k.names[index] = at if part == at else k.w.let(type, part, index.name)
        known = trips(level)
        if type == "int" and known is not None and isinstance(low, Literal):
            k.ranges[index] = (int(low.item), int(low.item) + max(known - 1, 0))


# -- where elements are ----------------------------------------------------------------------------


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


# -- folds -----------------------------------------------------------------------------------------


def neutral(k: State, name: str, initial: Value) -> str:
    if name in IDEMPOTENT:
        return k.text(initial)
    return constant(Literal(NEUTRAL[name][initial.dtype.kind != "f"], initial.dtype))


def scalar_op(name: str) -> ScalarOp:
    op = registry("kernel")[name]
    assert isinstance(op, ScalarOp)
    return op


def fold_of(unit: Unit, name: str, dtype: DType) -> str:
    """The name of the unit's function that folds one value of each thread: sixteen threads fold a
    sixteenth each, then every thread folds their results, always in the same order."""
    function = f"fold_{name}_{dtype.name}"
    if function in unit.functions:
        return function
    type = C_TYPES[dtype]
    pair = stripped(row(unit, scalar_op(name), [dtype, dtype], ["total", "parts[i]"]))
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
