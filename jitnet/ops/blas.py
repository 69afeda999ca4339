"""Products by BLAS: how memory becomes its matrices and vectors, and the calls.

    call_extern %no, %no, %m, %n, %k, 1.0, %a, %lda, %b, %ldb, 0.0, %c, %ldc {name="dgemm"}

BLAS takes matrices whose rows or whose columns lie at stride 1. An operand whose axes collapse to
such a matrix is handed over where it is, transposed or not; any other is packed first, by a vector
copy. Batch axes are a loop around the call. Elements are numbers, or complex ones: pairs of numbers
along a last axis, which is no axis of the product.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from jitnet.ir import Dim, Eqn, Literal, Value, as_dim, as_value
from jitnet.ir import types as T
from jitnet.kernel import scalars as s
from jitnet.kernel.externs import NO_TRANS, TRANS
from jitnet.kernel.indices import ONE, ZERO, add, multiply
from jitnet.kernel.statements import alloc, branch, call_extern, free, load, store, view
from jitnet.ops.loops import nest
from jitnet.ops.primitive import Context
from jitnet.ops.products import Axes, Roles, roles

# -- memory as BLAS sees it ------------------------------------------------------------------------


def _times(a: Dim, b: Dim) -> Dim:
    return as_dim(multiply(as_value(a), as_value(b)))


def _product(dims: Sequence[Dim]) -> Dim:
    total: Dim = 1
    for d in dims:
        total = _times(total, d)
    return total


@dataclass(frozen=True)
class Block:
    """A buffer with its extents and strides at hand, in elements.

    Attributes:
        strides: None where elements are pairs that do not lie as complex numbers do.
        pairs: elements are pairs of numbers.
    """

    buffer: Value
    extents: tuple[Dim, ...]
    strides: tuple[Dim, ...] | None
    contiguous: bool
    pairs: bool

    def collapse(self, axes: Axes) -> Dim | None:
        """The stride of several axes taken as one (C order): 0 where there is but one element, None
        where they have no common one or repeat the same element."""
        if self.strides is None:
            return None
        axes = tuple(a for a in axes if self.extents[a] != 1)
        for a, b in pairwise(axes):
            if self.contiguous:
                if b < a or any(d != 1 for d in self.extents[a + 1 : b]):
                    return None
                continue
            n, step = self.extents[b], self.strides[b]
            if not isinstance(n, int) or not isinstance(step, int) or self.strides[a] != n * step:
                return None
        if not axes:
            return 0
        stride = self.strides[axes[-1]]
        return None if stride == 0 else stride

    def size(self, axes: Axes) -> Dim:
        return _product([self.extents[a] for a in axes])

    def each(self, at: Sequence[Value]) -> list[tuple[Value, ...]]:
        """The indices of an element's numbers."""
        return [(*at, ZERO), (*at, ONE)] if self.pairs else [tuple(at)]


def _block(buffer: Value, extents: tuple[Dim, ...], pairs: bool) -> Block:
    """A buffer as elements of these extents."""
    steps: list[Dim] = [1]
    for d in reversed(extents[1:]):
        steps.append(_times(steps[-1], d))
    in_order = tuple(reversed(steps))[-len(extents) :]
    strides = buffer.buffer_type.strides
    if strides is None or (strides == in_order and not pairs):
        return Block(buffer, extents, in_order, True, pairs)
    return Block(buffer, extents, _of_pairs(strides) if pairs else strides, False, pairs)


def _of_pairs(strides: Sequence[Dim]) -> tuple[Dim, ...] | None:
    """Strides in pairs, where the numbers of a pair are side by side and it is seen that all
    strides are of whole pairs."""
    *steps, last = strides
    if last != 1 or any(not isinstance(d, int) or d % 2 for d in steps):
        return None
    return tuple(d // 2 for d in steps if isinstance(d, int))


def _usable(stride: Dim | None, least: Dim, contiguous: bool) -> bool:
    """Whether a stride is certainly positive and at least an extent that it must step over."""
    if stride is None:
        return False
    if not isinstance(stride, int):
        return contiguous
    return stride >= (least if isinstance(least, int) else 1)


class Matrix(NamedTuple):
    """Memory as rows x columns at `lead`ing dimension, or as its transpose."""

    block: Block
    batch: Axes
    rows: Dim
    columns: Dim
    transposed: bool
    lead: Dim


def _matrix(block: Block, batch: Axes, rows: Axes, columns: Axes) -> Matrix | None:
    """A matrix of these axes of a buffer, None where BLAS cannot take it so."""
    down, right = block.collapse(rows), block.collapse(columns)
    m, n = block.size(rows), block.size(columns)
    for transposed, step, unit, width in ((False, down, right, n), (True, right, down, m)):
        if step == 0 and unit in (0, 1):  # a single row
            return Matrix(block, batch, m, n, transposed, width)
        if unit in (0, 1) and _usable(step, width, block.contiguous):
            assert step is not None
            return Matrix(block, batch, m, n, transposed, step)
    return None


class Vector(NamedTuple):
    """Memory as elements at a stride."""

    block: Block
    batch: Axes
    size: Dim
    stride: Dim


def _vector(block: Block, batch: Axes, axes: Axes) -> Vector | None:
    """A vector of these axes of a buffer, None where BLAS cannot take it so."""
    stride = block.collapse(axes)
    if stride == 0:
        return Vector(block, batch, block.size(axes), 1)
    if not _usable(stride, 1, block.contiguous):
        return None
    assert stride is not None
    return Vector(block, batch, block.size(axes), stride)


@dataclass
class _Scratch:
    """Buffers to give back when the product is done."""

    buffers: list[Value] = field(default_factory=list)

    def like(self, block: Block, order: Axes, name: str) -> Block:
        """A new C-contiguous buffer with the axes of a block in another order."""
        extents = tuple(block.extents[a] for a in order)
        buffer = alloc(block.buffer.dtype, (*extents, 2) if block.pairs else extents, name)
        if not all(isinstance(d, int) for d in extents):
            self.buffers.append(buffer)
        return _block(buffer, extents, block.pairs)

    def packed(self, block: Block, order: Axes, name: str) -> Block:
        """A C-contiguous copy with the axes in another order."""
        new = self.like(block, order, name)
        place = tuple(order.index(a) for a in range(len(order)))

        def element(at: Sequence[Value]) -> None:
            there = block.each([at[i] for i in place])
            for value, to in zip([load(block.buffer, *i) for i in there], new.each(at)):
                store(new.buffer, value, *to)

        nest(_pick(new.extents, tuple(range(len(order)))), element)
        return new

    def free(self) -> None:
        for buffer in self.buffers:
            free(buffer)


def _renumber(*groups: Axes) -> tuple[Axes, ...]:
    """The groups' places after the axes are put in the order of the groups."""
    places: list[Axes] = []
    start = 0
    for group in groups:
        places.append(tuple(range(start, start + len(group))))
        start += len(group)
    return tuple(places)


def _as_matrix(scratch: _Scratch, block: Block, batch: Axes, rows: Axes, columns: Axes) -> Matrix:
    matrix = _matrix(block, batch, rows, columns)
    if matrix is None:
        packed = scratch.packed(block, (*batch, *rows, *columns), "packed")
        matrix = _matrix(packed, *_renumber(batch, rows, columns))
    assert matrix is not None, "a C-contiguous buffer is a matrix"
    return matrix


def _as_vector(scratch: _Scratch, block: Block, batch: Axes, axes: Axes) -> Vector:
    vector = _vector(block, batch, axes)
    if vector is None:
        vector = _vector(scratch.packed(block, (*batch, *axes), "packed"), *_renumber(batch, axes))
    assert vector is not None, "a C-contiguous buffer is a vector"
    return vector


# -- calls -----------------------------------------------------------------------------------------


def emit_blas(
    context: Context, eqn: Eqn, inputs: Sequence[Value], outputs: Sequence[Value]
) -> Sequence[Value]:
    """gemm, or gemv where one operand has no axes of its own; an empty sum is filled in, since
    gemv leaves the result alone then."""
    return _emit(context, eqn, inputs, outputs[0], pairs=False)


def emit_complex(
    context: Context, eqn: Eqn, inputs: Sequence[Value], outputs: Sequence[Value]
) -> Sequence[Value]:
    """The same for arrays with a last axis of real and imaginary parts."""
    return _emit(context, eqn, inputs, outputs[0], pairs=True)


def _emit(
    context: Context, eqn: Eqn, inputs: Sequence[Value], output: Value, pairs: bool
) -> Sequence[Value]:
    def block(operand: Value, buffer: Value) -> Block:
        dims = operand.dims[:-1] if pairs else operand.dims
        return _block(buffer, tuple(as_dim(context.dim(d)) for d in dims), pairs)

    x, y = map(block, eqn.operands, inputs)
    r = roles(eqn.attrs, len(x.extents), len(y.extents))
    paired = sorted(zip(*r.contract))
    contract = (tuple(a for a, _ in paired), tuple(b for _, b in paired))
    depth = x.size(contract[0])
    out_extents = tuple(
        [x.extents[a] for a in (*r.batch[0], *r.free[0])] + [y.extents[a] for a in r.free[1]]
    )
    out = _block(output, out_extents, pairs)

    def product() -> None:
        scratch = _Scratch()
        _multiply(scratch, x, y, out, Roles(r.batch, contract, r.free))
        scratch.free()

    def nothing() -> None:
        nest(_pick(out.extents, tuple(range(len(out_extents)))), zero)

    def zero(at: Sequence[Value]) -> None:
        for i in out.each(at):
            store(out.buffer, Literal(0.0, out.buffer.dtype), *i)

    if isinstance(depth, int) or 0 in out_extents:  # an empty result, or one of empty sums
        (product if depth and 0 not in out_extents else nothing)()
    else:
        branch(s.eq(depth, 0), nothing, product)
    return ()


def _multiply(scratch: _Scratch, x: Block, y: Block, out: Block, r: Roles) -> None:
    batch, rows, columns = _renumber(r.batch[0], r.free[0], r.free[1])
    if not r.free[1]:
        matrix = _as_matrix(scratch, x, r.batch[0], r.free[0], r.contract[0])
        vector = _as_vector(scratch, y, r.batch[1], r.contract[1])
        _gemv(scratch, matrix, False, vector, out, batch, rows)
    elif not r.free[0]:
        matrix = _as_matrix(scratch, y, r.batch[1], r.contract[1], r.free[1])
        vector = _as_vector(scratch, x, r.batch[0], r.contract[0])
        _gemv(scratch, matrix, True, vector, out, batch, columns)
    else:
        left = _as_matrix(scratch, x, r.batch[0], r.free[0], r.contract[0])
        right = _as_matrix(scratch, y, r.batch[1], r.contract[1], r.free[1])
        _gemm(scratch, left, right, out, batch, rows, columns)


def _gemm(
    scratch: _Scratch, x: Matrix, y: Matrix, out: Block, batch: Axes, rows: Axes, columns: Axes
) -> None:
    target = _matrix(out, batch, rows, columns)
    if target is None or target.transposed:
        staged = scratch.like(out, (*batch, *rows, *columns), "product")
        target = _matrix(staged, batch, rows, columns)
    assert target is not None, "a C-contiguous buffer is a matrix"
    name, one, zero = _blas("gemm", out)
    flags = (_flag(x.transposed), _flag(y.transposed))
    sizes = [as_value(d) for d in (x.rows, y.columns, x.columns)]
    leads = [_at_least_one(v.lead) for v in (x, y, target)]

    def call(at: Sequence[Value]) -> None:
        a, b, c = (_matrix_at(v, at) for v in (x, y, target))
        call_extern(name, (*flags, *sizes, one, a, leads[0], b, leads[1], zero, c, leads[2]))

    nest(_pick(out.extents, batch), call, innermost="seq")
    if target.block is not out:
        _copy(target.block, out)


def _gemv(
    scratch: _Scratch,
    matrix: Matrix,
    transpose: bool,
    vector: Vector,
    out: Block,
    batch: Axes,
    axes: Axes,
) -> None:
    target = _vector(out, batch, axes)
    if target is None:
        target = _vector(scratch.like(out, (*batch, *axes), "product"), batch, axes)
    assert target is not None, "a C-contiguous buffer is a vector"
    name, one, zero = _blas("gemv", out)
    flag = _flag(matrix.transposed != transpose)
    stored = (matrix.columns, matrix.rows) if matrix.transposed else (matrix.rows, matrix.columns)
    sizes = [as_value(d) for d in stored]
    lead = _at_least_one(matrix.lead)
    steps = (as_value(vector.stride), as_value(target.stride))

    def call(at: Sequence[Value]) -> None:
        a, x, y = _matrix_at(matrix, at), _vector_at(vector, at), _vector_at(target, at)
        call_extern(name, (flag, *sizes, one, a, lead, x, steps[0], zero, y, steps[1]))

    nest(_pick(out.extents, batch), call, innermost="seq")
    if target.block is not out:
        _copy(target.block, out)


def _copy(source: Block, target: Block) -> None:
    """The elements of one block in another of the same extents."""

    def element(at: Sequence[Value]) -> None:
        for i in source.each(at):
            store(target.buffer, load(source.buffer, *i), *i)

    nest(_pick(source.extents, tuple(range(len(source.extents)))), element)


def _pick(values: Sequence[Dim], axes: Axes) -> list[Value]:
    return [as_value(values[a]) for a in axes]


def _blas(routine: str, out: Block) -> tuple[str, Value, Value]:
    """The routine's name for a dtype, alpha = 1 and beta = 0; complex ones lie in memory."""
    dtype = out.buffer.dtype
    letter = "sd"[dtype != T.f32]
    if not out.pairs:
        return letter + routine, Literal(1, dtype), Literal(0, dtype)
    return {"s": "c", "d": "z"}[letter] + routine, _factor(1, dtype), _factor(0, dtype)


def _factor(real: int, dtype: T.DType) -> Value:
    memory = alloc(dtype, (2,), "factor")
    for i, part in ((ZERO, real), (ONE, 0)):
        store(memory, Literal(part, dtype), i)
    return memory


def _flag(transposed: bool) -> Literal:
    return Literal(TRANS if transposed else NO_TRANS, T.i32)


def _at_least_one(lead: Dim) -> Value:
    """BLAS wants leading dimensions of at least 1, for empty matrices too."""
    if isinstance(lead, int):
        return as_value(max(lead, 1))
    return s.maximum(lead, 1)


def _offset(block: Block, axes: Axes, at: Sequence[Value]) -> Value:
    """Of an element, in numbers."""
    assert block.strides is not None, "BLAS is given what has strides"
    total: Value = ZERO
    for a, i in zip(axes, at):
        total = add(total, multiply(i, as_value(block.strides[a])))
    return multiply(total, as_value(2)) if block.pairs else total


def _part(block: Block, offset: Value, dims: tuple[Dim, ...], strides: tuple[Dim, ...]) -> Value:
    """A view of elements, by extents and strides in elements."""
    if block.pairs:
        dims, strides = (*dims, 2), (*(_times(d, 2) for d in strides), 1)
    return view(block.buffer, offset, dims, strides)


def _matrix_at(m: Matrix, at: Sequence[Value]) -> Value:
    """The matrix of a batch index, as stored."""
    if not m.batch:
        return m.block.buffer
    dims = (m.columns, m.rows) if m.transposed else (m.rows, m.columns)
    return _part(m.block, _offset(m.block, m.batch, at), dims, (m.lead, 1))


def _vector_at(v: Vector, at: Sequence[Value]) -> Value:
    """The vector of a batch index."""
    if not v.batch:
        return v.block.buffer
    return _part(v.block, _offset(v.block, v.batch, at), (v.size,), (v.stride,))
