"""Ops that put arrays together: `concatenate` and `pad`.

    %z = concatenate %x, %y, %n {axis=0}              %n: extent of the result along the axis
    %p = pad %x, 0.0, 6, %m {high=(1, 2), low=(1, 2)} f64[4, %k] -> f64[6, %m], %m == %k + 4

Extents that add up are operands, so that they may be computed; the builder functions add them.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from jitnet.ir import (
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
    index,
)
from jitnet.ir import types as T
from jitnet.kernel import indices as ix
from jitnet.kernel import scalars as s
from jitnet.kernel.statements import branch, store
from jitnet.ops.create import dims_of
from jitnet.ops.lanes import Batched, all_spread, spread
from jitnet.ops.lift import accumulate, add, select
from jitnet.ops.loops import nest
from jitnet.ops.pairs import each_half
from jitnet.ops.primitive import (
    BatchTransform,
    Context,
    Element,
    Kernel,
    Linear,
    Primitive,
    Sample,
    Tangents,
    TransposeTransform,
)
from jitnet.ops.reduce import reduce_sum
from jitnet.ops.samples import generator, smooth
from jitnet.ops.shape import array_of, broadcast, full, linear_type, moves_data, zeros_like
from jitnet.ops.slicing import scalar_operand, slice, update


def sum_dims(dims: Sequence[Dim]) -> Dim:
    """The sum of extents; binds additions where they are not all ints."""
    total: Value = index(sum(d for d in dims if isinstance(d, int)))
    for d in dims:
        if isinstance(d, Value):
            total = d if total == ix.ZERO else add(total, d)
    return as_dim(total)


# -- concatenate -----------------------------------------------------------------------------------


def _infer_concatenate(
    operands: Sequence[Value], attrs: Attrs, regions: Sequence[Function]
) -> tuple[Type, ...]:
    if len(operands) < 2:
        raise TypeRuleError("concatenate takes arrays, then the extent of the result")
    first, *others = (array_of("concatenate", x) for x in operands[:-1])
    (extent,), axis = dims_of("concatenate", operands[-1:]), attrs["axis"]
    if not 0 <= axis < first.rank:
        raise TypeRuleError(f"concatenate: no axis {axis} in {first}")

    def result(dims: tuple[Dim, ...]) -> tuple[Dim, ...]:
        return (*dims[:axis], extent, *dims[axis + 1 :])

    for other in others:
        if other.dtype != first.dtype or result(other.dims) != result(first.dims):
            raise TypeRuleError(f"concatenate: {first} and {other} do not fit along axis {axis}")
    pieces = [x.dims[axis] for x in (first, *others)]
    if all(isinstance(d, int) for d in (*pieces, extent)) and sum_dims(pieces) != extent:
        raise TypeRuleError(f"concatenate: extents {pieces} do not add up to {extent}")
    return (first.with_dims(result(first.dims)),)


def _numpy_concatenate(eqn: Eqn, *operands: Any) -> tuple[Any, ...]:
    return (np.concatenate(operands[:-1], eqn.attrs["axis"]),)


def _emit_concatenate(
    context: Context, eqn: Eqn, inputs: Sequence[Value], outputs: Sequence[Value]
) -> Sequence[Value]:
    axis, offset = eqn.attrs["axis"], ix.ZERO
    for k, x in enumerate(eqn.operands[:-1]):

        def write(at: tuple[Value, ...], k: int = k, offset: Value = offset) -> None:
            to = ix.add(at[axis], offset)
            store(outputs[0], context.load(k, at), *at[:axis], to, *at[axis + 1 :])

        extents = [context.dim(d) for d in x.dims]
        nest(extents, write)
        offset = ix.add(offset, extents[axis])
    return ()


def _transpose_concatenate(
    eqn: Eqn,
    operands: Sequence[Value | Linear],
    cotangents: Tangents,
    accumulators: Sequence[Value | None],
    transpose: TransposeTransform,
) -> Sequence[Value | None]:
    """Each operand gets its slice of the cotangent."""
    (ct,), axis, totals = cotangents, eqn.attrs["axis"], list(accumulators)
    if ct is None:
        return totals
    offset: Dim = 0
    for k, operand in enumerate(operands[:-1]):
        dims = linear_type(operand).dims
        if isinstance(operand, Linear):
            starts = [offset if a == axis else 0 for a in range(ct.rank)]
            totals[k] = accumulate(totals[k], slice(ct, starts, dims))
        offset = sum_dims([offset, dims[axis]])
    return totals


def _batch_concatenate(
    eqn: Eqn,
    operands: Sequence[Value],
    batched: Sequence[bool],
    extent: Dim,
    batch: BatchTransform,
) -> Batched:
    pieces = all_spread(operands[:-1], batched[:-1], extent)
    attrs = {"axis": eqn.attrs["axis"] + 1}
    return current().rebind(eqn, (*pieces, operands[-1]), attrs=attrs), [True]


def _concatenate_samples() -> Iterator[Sample]:
    rng = generator("concatenate")
    cases: list[tuple[tuple[tuple[int, ...], ...], int, int]] = [
        (((2,), (3,)), 0, 5),
        (((2, 3), (1, 3), (0, 3)), 0, 3),
        (((2, 3), (2, 1)), 1, 4),
        (((2, 1, 2),), 1, 1),
    ]
    for shapes, axis, extent in cases:
        pieces = (smooth(rng, T.f64, shape) for shape in shapes)
        yield Sample((*pieces, np.int64(extent)), {"axis": axis})
    pieces = (smooth(rng, T.u8, (2,)) for _ in range(2))
    yield Sample((*pieces, np.int64(4)), {"axis": 0})


CONCATENATE = Primitive(
    "concatenate",
    infer=_infer_concatenate,
    numpy=_numpy_concatenate,
    jvp=moves_data,
    transpose=_transpose_concatenate,
    batch=_batch_concatenate,
    lower=[Kernel(_emit_concatenate)],
    samples=_concatenate_samples,
    pairs=each_half,
)


def concatenate(xs: Sequence[Value], axis: int = 0) -> Value:
    """The arrays one after the other along `axis`; their other dims must be equal."""
    extent = sum_dims([d for x in xs for d in x.dims[axis : axis + 1]])
    (result,) = current().bind(CONCATENATE, (*xs, as_value(extent)), {"axis": axis})
    return result


# -- pad -------------------------------------------------------------------------------------------


def _infer_pad(
    operands: Sequence[Value], attrs: Attrs, regions: Sequence[Function]
) -> tuple[Type, ...]:
    x, value, low, high = array_of("pad", operands[0]), operands[1], attrs["low"], attrs["high"]
    if value.type != T.scalar(x.dtype):
        raise TypeRuleError(f"pad: {x} with {value.type}: the value must be an {x.dtype} scalar")
    if not len(low) == len(high) == len(operands) - 2 == x.rank or min((*low, *high, 0)) < 0:
        raise TypeRuleError(f"pad: {x} takes {x.rank} extents, and as many low and high, none < 0")
    dims = dims_of("pad", operands[2:])
    for before, inner, after, outer in zip(low, x.dims, high, dims):
        known = isinstance(inner, int) and isinstance(outer, int)
        if known and sum_dims([before, inner, after]) != outer:
            raise TypeRuleError(f"pad: {before} + {inner} + {after} is not {outer}")
    return (x.with_dims(dims),)


def _numpy_pad(eqn: Eqn, x: Any, value: Any, *dims: Any) -> tuple[Any, ...]:
    widths = list(zip(eqn.attrs["low"], eqn.attrs["high"]))
    return (np.pad(x, widths, constant_values=value) if widths else x,)


def _emit_pad(context: Context, eqn: Eqn, i: Sequence[Value]) -> Value:
    """Inside, the element; outside, the value. The load must stay in bounds even where it is not
    wanted: its index is clamped, or, where the operand may be empty, it is behind a branch."""
    x, value = eqn.operands[0], scalar_operand(context, eqn, 1)
    low, high = eqn.attrs["low"], eqn.attrs["high"]
    padded = [axis for axis in range(x.rank) if low[axis] or high[axis]]
    if 0 in x.dims:
        return value
    at = [ix.subtract(i[axis], index(low[axis])) for axis in range(x.rank)]
    if not padded:
        return context.load(0, at)
    last = {axis: ix.subtract(context.dim(x.dims[axis]), ix.ONE) for axis in padded}
    inside = functools.reduce(
        s.bitwise_and,
        [c for a in padded for c in (s.ge(at[a], ix.ZERO), s.le(at[a], last[a]))],
    )
    if not x.array_type.is_static:
        return branch(inside, lambda: (context.load(0, at),), lambda: (value,))[0]
    for axis in padded:
        at[axis] = s.minimum(s.maximum(at[axis], ix.ZERO), last[axis])
    return s.select(inside, context.load(0, at), value)


def _transpose_pad(
    eqn: Eqn,
    operands: Sequence[Value | Linear],
    cotangents: Tangents,
    accumulators: Sequence[Value | None],
    transpose: TransposeTransform,
) -> Sequence[Value | None]:
    """The operand gets the inner box; the value gets the sum of everything else, which is made by
    setting the box to zero, not by subtraction: that would leave rounding errors, or NaN."""
    (ct,), low = cotangents, eqn.attrs["low"]
    if ct is None:
        return accumulators
    (x, value, *_), (ct_x, ct_value, *rest) = operands, accumulators
    box = linear_type(x)
    if isinstance(x, Linear):
        ct_x = accumulate(ct_x, slice(ct, low, box.dims))
    if isinstance(value, Linear):
        border = update(ct, zeros_like(box), low)
        ct_value = accumulate(ct_value, reduce_sum(border, range(ct.rank)))
    return [ct_x, ct_value, *rest]


def _batch_pad(
    eqn: Eqn,
    operands: Sequence[Value],
    batched: Sequence[bool],
    extent: Dim,
    batch: BatchTransform,
) -> Batched:
    """A value that differs from lane to lane is chosen where a padded mask says so."""
    x, value, *dims = operands
    low, high = (0, *eqn.attrs["low"]), (0, *eqn.attrs["high"])
    extents = [as_value(extent), *dims]
    inside = x if batched[0] else spread(x, extent)
    if not batched[1]:
        return current().rebind(eqn, (inside, value, *extents), attrs={"low": low, "high": high}), [
            True
        ]

    def padded(v: Value) -> Value:
        zero = Literal(0, v.dtype)
        return current().bind(PAD, (v, zero, *extents), {"low": low, "high": high})[0]

    result = padded(inside)
    mask = padded(full(Literal(True, T.bool_), inside.dims))
    return (select(mask, result, broadcast(value, result.dims, (0,))),), [True]


def _pad_samples() -> Iterator[Sample]:
    rng = generator("pad")
    cases: list[tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]] = [
        ((3,), (1,), (2,)),
        ((2, 3), (0, 1), (2, 0)),
        ((0, 2), (1, 1), (2, 0)),
        ((2,), (0,), (0,)),
        ((), (), ()),
    ]
    for shape, low, high in cases:
        dims = (np.int64(a + n + b) for a, n, b in zip(low, shape, high))
        operands = (smooth(rng, T.f64, shape), smooth(rng, T.f64, ()), *dims)
        yield Sample(operands, {"low": low, "high": high})
    operands = (smooth(rng, T.i16, (2,)), np.int16(7), np.int64(3))
    yield Sample(operands, {"low": (1,), "high": (0,)})


PAD = Primitive(
    "pad",
    infer=_infer_pad,
    numpy=_numpy_pad,
    jvp=moves_data,
    transpose=_transpose_pad,
    batch=_batch_pad,
    lower=[Element(_emit_pad)],
    samples=_pad_samples,
    pairs=each_half,
)


def pad(x: Value, value: Value, low: Sequence[int], high: Sequence[int]) -> Value:
    """x with `low` elements before and `high` after it along each axis, all equal to the scalar
    `value`. Widths are >= 0."""
    dims = [sum_dims([a, n, b]) for a, n, b in zip(low, x.dims, high)]
    attrs = {"low": tuple(low), "high": tuple(high)}
    (result,) = current().bind(PAD, (x, value, *map(as_value, dims)), attrs)
    return result
