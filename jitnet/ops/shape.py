"""Ops that renumber elements without touching them: `broadcast`, `reshape`, `transpose`.

    %b = broadcast %row, %n, 4 {axes=(1,)}      f64[4] -> f64[%n, 4]
    %r = reshape %b, %m {}                      f64[%n, 4] -> f64[%m], %m == 4 * %n
    %t = transpose %b {perm=(1, 0)}             f64[%n, 4] -> f64[4, %n]

Extents of the result are operands, i64 scalars. All three are views: a reader inlines the index
arithmetic, and a routine that wants memory gets strides where strides can say it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from jitnet.ir import (
    ArrayType,
    Attrs,
    Dim,
    Eqn,
    Function,
    Literal,
    Type,
    TypeRuleError,
    Value,
    as_dim,
    as_value,
    current,
    registry,
)
from jitnet.ir import types as T
from jitnet.ir.facts import SAME_ELEMENTS
from jitnet.kernel import indices as ix
from jitnet.ops import regroup
from jitnet.ops.create import dims_of, extents
from jitnet.ops.lanes import Batched, behind
from jitnet.ops.lift import accumulate, jvp_of_linear
from jitnet.ops.pairs import each_half
from jitnet.ops.pointwise import convert
from jitnet.ops.primitive import (
    BatchTransform,
    Context,
    Element,
    JvpRule,
    Linear,
    Primitive,
    Sample,
    Strided,
    Tangents,
    TransposeRule,
    TransposeTransform,
    as_array,
)
from jitnet.ops.samples import generator, smooth

# -- rules that many data-moving ops share ---------------------------------------------------------


def zeros_like(type: ArrayType) -> Value:
    """Zeros of this type: a Literal for rank 0."""
    return full(Literal(0, type.dtype), type.dims)


def _on_tangents(eqn: Eqn, primals: Sequence[Value], tangents: Tangents) -> Value:
    operands = [
        p if not p.dtype.is_inexact else zeros_like(p.array_type) if t is None else t
        for p, t in zip(primals, tangents)
    ]
    (result,) = current().bind(eqn.op, operands, eqn.attrs)
    return result


moves_data: JvpRule = jvp_of_linear(_on_tangents)
"""The rule of an op that is linear in its float operands together: do the same to the tangents."""


def linear_type(operand: Value | Linear) -> ArrayType:
    """The type of an operand of a transpose rule."""
    assert isinstance(operand.type, ArrayType)
    return operand.type


def transpose_unary(pull: Callable[[Eqn, Value, ArrayType], Value]) -> TransposeRule:
    """The rule of an op that is linear in operand 0 alone, whose contribution is
    `pull(eqn, cotangent, operand's type)`."""

    def rule(
        eqn: Eqn,
        operands: Sequence[Value | Linear],
        cotangents: Tangents,
        accumulators: Sequence[Value | None],
        transpose: TransposeTransform,
    ) -> Sequence[Value | None]:
        (ct,) = cotangents
        if ct is None:
            return accumulators
        contribution = pull(eqn, ct, linear_type(operands[0]))
        return [accumulate(accumulators[0], contribution), *accumulators[1:]]

    return rule


def array_of(op: str, value: Value) -> ArrayType:
    """The type of an operand that must be an array.

    Raises:
        TypeRuleError: where it is a tape or a buffer.
    """
    if not isinstance(value.type, ArrayType):
        raise TypeRuleError(f"{op} takes arrays, not {value.type}")
    return value.type


# -- broadcast -------------------------------------------------------------------------------------


def _infer_broadcast(
    operands: Sequence[Value], attrs: Attrs, regions: Sequence[Function]
) -> tuple[Type, ...]:
    x, axes = array_of("broadcast", operands[0]), attrs["axes"]
    dims = dims_of("broadcast", operands[1:])
    if len(axes) != x.rank or list(axes) != sorted(set(axes)):
        raise TypeRuleError(f"broadcast: axes {axes} must rise, one for each axis of {x}")
    if any(not 0 <= a < len(dims) for a in axes):
        raise TypeRuleError(f"broadcast: axes {axes} outside rank {len(dims)}")
    for i, a in enumerate(axes):
        if x.dims[i] != 1 and x.dims[i] != dims[a]:
            raise TypeRuleError(f"broadcast: axis {i} of {x} must be 1 or {dims[a]}")
    return (x.with_dims(dims),)


def _numpy_broadcast(eqn: Eqn, x: Any, *dims: Any) -> tuple[Any, ...]:
    shape, axes = extents(dims), eqn.attrs["axes"]
    aligned = [1] * len(shape)
    for extent, axis in zip(np.shape(x), axes):
        aligned[axis] = extent
    return (np.broadcast_to(np.reshape(x, aligned), shape).copy(),)


def _stretched(eqn: Eqn) -> list[bool]:
    """For each axis of the operand: whether its one element stands for a whole axis."""
    x, y = eqn.operands[0], eqn.result
    return [x.dims[i] == 1 and y.dims[a] != 1 for i, a in enumerate(eqn.attrs["axes"])]


def _emit_broadcast(context: Context, eqn: Eqn, index: Sequence[Value]) -> Value:
    axes = eqn.attrs["axes"]
    at = [ix.ZERO if one else index[a] for one, a in zip(_stretched(eqn), axes)]
    return context.load(0, at)


def _stride_broadcast(
    eqn: Eqn, dim: Callable[[Dim], Value], offset: Value, strides: tuple[Value, ...]
) -> Strided:
    result = [ix.ZERO] * eqn.result.rank
    for stretched, axis, stride in zip(_stretched(eqn), eqn.attrs["axes"], strides):
        result[axis] = ix.ZERO if stretched else stride
    return offset, tuple(result)


def _pull_broadcast(eqn: Eqn, ct: Value, x: ArrayType) -> Value:
    """Sum over the axes that are new or stretched. `reduce_sum` is looked up late: the module of
    reductions needs this one."""
    axes = eqn.attrs["axes"]
    whole = [axes[i] for i, d in enumerate(x.dims) if d != 1 or ct.dims[axes[i]] == 1]
    summed = tuple(a for a in range(ct.rank) if a not in whole)
    if summed:  # of halves, sums of float32
        wide = convert(ct, T.f32) if x.dtype.is_half else ct
        (total,) = current().bind(registry("array")["reduce_sum"], (wide,), {"axes": summed})
        ct = convert(total, x.dtype)
    return reshape(ct, x.dims)


def _batch_broadcast(
    eqn: Eqn,
    operands: Sequence[Value],
    batched: Sequence[bool],
    extent: Dim,
    batch: BatchTransform,
) -> Batched:
    x, *dims = operands
    return (broadcast(x, [extent, *map(as_dim, dims)], (0, *behind(eqn.attrs["axes"]))),), [True]


def _broadcast_samples() -> Iterator[Sample]:
    rng = generator("broadcast")
    cases: list[tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]] = [
        ((), (), ()),
        ((), (3,), ()),
        ((), (2, 0), ()),
        ((3,), (2, 3), (1,)),
        ((3,), (3, 2), (0,)),
        ((1, 3), (4, 2, 3), (0, 2)),
        ((2, 1), (2, 5), (0, 1)),
        ((0, 1), (0, 3), (0, 1)),
    ]
    for shape, dims, axes in cases:
        yield Sample((smooth(rng, T.f64, shape), *map(np.int64, dims)), {"axes": axes})
    yield Sample((smooth(rng, T.i32, (2,)), np.int64(2), np.int64(2)), {"axes": (0,)})


BROADCAST = Primitive(
    "broadcast",
    infer=_infer_broadcast,
    numpy=_numpy_broadcast,
    jvp=moves_data,
    transpose=transpose_unary(_pull_broadcast),
    batch=_batch_broadcast,
    lower=[Element(_emit_broadcast, view=True, strided=_stride_broadcast)],
    samples=_broadcast_samples,
    pairs=each_half,
    facts=SAME_ELEMENTS,
)


def broadcast(x: Value, dims: Sequence[Dim], axes: Sequence[int]) -> Value:
    """x stretched to `dims`: its axis i becomes axis `axes[i]`, where its extent is 1 or that of
    the result; the other axes are new."""
    if x.dims == tuple(dims) and list(axes) == list(range(x.rank)):
        return x
    operands = [x, *map(as_value, dims)]
    (result,) = current().bind(BROADCAST, operands, {"axes": tuple(axes)})
    return result


def broadcast_to(x: Value, dims: Sequence[Dim]) -> Value:
    """x stretched to `dims` as NumPy does it: axes aligned at the end."""
    return broadcast(x, dims, range(len(dims) - x.rank, len(dims)))


def full(value: Value, dims: Sequence[Dim]) -> Value:
    """An array of `dims` whose elements all are the scalar `value`; for rank 0, `value` itself."""
    return broadcast(value, dims, ())


# -- reshape ---------------------------------------------------------------------------------------


def _infer_reshape(
    operands: Sequence[Value], attrs: Attrs, regions: Sequence[Function]
) -> tuple[Type, ...]:
    x = array_of("reshape", operands[0])
    result = x.with_dims(dims_of("reshape", operands[1:]))
    if x.is_static and result.is_static and math.prod(x.shape) != math.prod(result.shape):
        raise TypeRuleError(f"reshape: {x} and {result} hold different numbers of elements")
    return (result,)


def _numpy_reshape(eqn: Eqn, x: Any, *dims: Any) -> tuple[Any, ...]:
    return (as_array(x).reshape(extents(dims)).copy(),)


def _emit_reshape(context: Context, eqn: Eqn, index: Sequence[Value]) -> Value:
    x, y = eqn.operands[0], eqn.result
    return context.load(0, regroup.source_index(x.dims, y.dims, index, context.dim))


def _stride_reshape(
    eqn: Eqn, dim: Callable[[Dim], Value], offset: Value, strides: tuple[Value, ...]
) -> Strided | None:
    x, y = eqn.operands[0], eqn.result
    result = regroup.target_strides(x.dims, y.dims, strides, dim)
    return None if result is None else (offset, tuple(result))


def _batch_reshape(
    eqn: Eqn,
    operands: Sequence[Value],
    batched: Sequence[bool],
    extent: Dim,
    batch: BatchTransform,
) -> Batched:
    x, *dims = operands
    return (reshape(x, [extent, *map(as_dim, dims)]),), [True]


def _reshape_samples() -> Iterator[Sample]:
    rng = generator("reshape")
    cases: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
        ((), (1, 1)),
        ((1,), ()),
        ((6,), (2, 3)),
        ((2, 3), (6,)),
        ((2, 3), (3, 2)),
        ((4, 1, 3), (2, 2, 3, 1)),
        ((2, 0), (0, 5)),
    ]
    for shape, dims in cases:
        yield Sample((smooth(rng, T.f64, shape), *map(np.int64, dims)), {})
    yield Sample((smooth(rng, T.u16, (2, 2)), np.int64(4)), {})


RESHAPE = Primitive(
    "reshape",
    infer=_infer_reshape,
    numpy=_numpy_reshape,
    jvp=moves_data,
    transpose=transpose_unary(lambda eqn, ct, x: reshape(ct, x.dims)),
    batch=_batch_reshape,
    lower=[Element(_emit_reshape, view=True, strided=_stride_reshape)],
    samples=_reshape_samples,
    pairs=each_half,
    facts=SAME_ELEMENTS,
)


def reshape(x: Value, dims: Sequence[Dim]) -> Value:
    """x's elements in C order in a box of `dims`, which must hold as many."""
    if x.dims == tuple(dims):
        return x
    (result,) = current().bind(RESHAPE, [x, *map(as_value, dims)])
    return result


# -- transpose -------------------------------------------------------------------------------------


def _infer_transpose(
    operands: Sequence[Value], attrs: Attrs, regions: Sequence[Function]
) -> tuple[Type, ...]:
    x, perm = array_of("transpose", operands[0]), attrs["perm"]
    if sorted(perm) != list(range(x.rank)):
        raise TypeRuleError(f"transpose: {perm} is no permutation of the axes of {x}")
    return (x.with_dims(tuple(x.dims[p] for p in perm)),)


def _inverse(perm: Sequence[int]) -> list[int]:
    return [perm.index(axis) for axis in range(len(perm))]


def _emit_transpose(context: Context, eqn: Eqn, index: Sequence[Value]) -> Value:
    return context.load(0, [index[k] for k in _inverse(eqn.attrs["perm"])])


def _stride_transpose(
    eqn: Eqn, dim: Callable[[Dim], Value], offset: Value, strides: tuple[Value, ...]
) -> Strided:
    return offset, tuple(strides[p] for p in eqn.attrs["perm"])


def _batch_transpose(
    eqn: Eqn,
    operands: Sequence[Value],
    batched: Sequence[bool],
    extent: Dim,
    batch: BatchTransform,
) -> Batched:
    return (transpose(operands[0], (0, *behind(eqn.attrs["perm"]))),), [True]


def _transpose_samples() -> Iterator[Sample]:
    rng = generator("transpose")
    for shape, perm in (((), ()), ((2, 3), (1, 0)), ((2, 3, 4), (1, 2, 0)), ((0, 3), (1, 0))):
        yield Sample((smooth(rng, T.f64, shape),), {"perm": perm})
    yield Sample((smooth(rng, T.bool_, (2, 3)),), {"perm": (1, 0)})


TRANSPOSE = Primitive(
    "transpose",
    infer=_infer_transpose,
    numpy=lambda eqn, x: (np.transpose(x, eqn.attrs["perm"]).copy(),),
    jvp=moves_data,
    transpose=transpose_unary(lambda eqn, ct, x: transpose(ct, _inverse(eqn.attrs["perm"]))),
    batch=_batch_transpose,
    lower=[Element(_emit_transpose, view=True, strided=_stride_transpose)],
    samples=_transpose_samples,
    pairs=each_half,
    facts=SAME_ELEMENTS,
)


def transpose(x: Value, perm: Sequence[int]) -> Value:
    """x with its axes permuted: axis k of the result is axis `perm[k]` of x."""
    if list(perm) == list(range(x.rank)):
        return x
    (result,) = current().bind(TRANSPOSE, (x,), {"perm": tuple(perm)})
    return result
