"""Boxes of an array, read and replaced: `slice` and `update`.

    %row = slice %a, %i, 0, 1, 8 {steps=(1, 1)}         a[i:i+1, 0:8]   (starts, then sizes)
    %b = update %a, %row, %j, 0 {steps=(1, 1)}          b = a, then b[j:j+1, 0:8] = row

Element k along an axis is `start + k * step`; steps may be negative, starts and sizes may be
computed. Indices must be in bounds: the frontend normalises and checks them in front. `update` is
the one way that memory changes: its storage is that of its base unless the old value is read later.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterator, Sequence
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
from jitnet.ir.facts import SAME_ELEMENTS
from jitnet.kernel import indices as ix
from jitnet.kernel.statements import store
from jitnet.ops import index_batches
from jitnet.ops.create import INDEX, dims_of
from jitnet.ops.lift import accumulate, add
from jitnet.ops.loops import nest
from jitnet.ops.pairs import each_half
from jitnet.ops.primitive import (
    Context,
    Element,
    Kernel,
    Linear,
    Primitive,
    Sample,
    Strided,
    Tangents,
    TransposeTransform,
    as_array,
)
from jitnet.ops.samples import generator, smooth
from jitnet.ops.shape import BROADCAST, array_of, linear_type, moves_data, zeros_like

Position = Dim
"""A start: an int or an i64 Value, as a dim is."""

RECENT = 32
"""How many equations back a cleared box is looked for."""


def scalar_operand(context: Context, eqn: Eqn, k: int) -> Value:
    """Operand k, of rank 0, as a kernel scalar; a literal stays one, so that arithmetic folds."""
    operand = eqn.operands[k]
    return operand if isinstance(operand, Literal) else context.load(k, ())


def _check_starts(op: str, starts: Sequence[Value]) -> None:
    for k, start in enumerate(starts):
        if start.type is not INDEX and start.type != INDEX:
            raise TypeRuleError(f"{op}: start {k} must be an i64 scalar, not {start.type}")


def _check_steps(op: str, steps: Sequence[int], rank: int) -> None:
    if len(steps) != rank or 0 in steps:
        raise TypeRuleError(f"{op}: steps {steps} must be one for each of {rank} axes, none 0")


def window(
    shape: Sequence[int], starts: Sequence[int], sizes: Sequence[int], steps: Sequence[int]
) -> tuple[builtins.slice, ...]:
    """NumPy's index for a box.

    Raises:
        IndexError: where an element of the box is out of bounds.
    """
    index: list[builtins.slice] = []
    for axis, (extent, start, size, step) in enumerate(zip(shape, starts, sizes, steps)):
        last = start + (size - 1) * step
        if min(sizes) > 0 and not (0 <= start < extent and 0 <= last < extent):
            raise IndexError(f"{start} to {last} of axis {axis} with size {extent}")
        if size < 0:
            raise IndexError(f"negative size {size} of axis {axis}")
        if min(sizes) == 0:
            start, last = 0, -1 + size * step
        stop = last + (1 if step > 0 else -1)
        index.append(builtins.slice(start, None if stop < 0 else stop, step))
    return tuple(index)


def _has_known_place(eqn: Eqn) -> bool:
    """Whether a box lies at literals in arrays of known extents: then it is in bounds."""
    scalars = (v for v in eqn.operands if not v.rank)
    known = all(isinstance(v, Literal) for v in scalars)
    return known and all(v.array_type.is_static for v in eqn.operands)


# -- slice -----------------------------------------------------------------------------------------


def _infer_slice(
    operands: Sequence[Value], attrs: Attrs, regions: Sequence[Function]
) -> tuple[Type, ...]:
    x = array_of("slice", operands[0])
    if len(operands) != 1 + 2 * x.rank:
        raise TypeRuleError(f"slice of {x} takes {x.rank} starts and as many sizes")
    _check_starts("slice", operands[1 : 1 + x.rank])
    _check_steps("slice", attrs["steps"], x.rank)
    return (x.with_dims(dims_of("slice", operands[1 + x.rank :])),)


def _numpy_slice(eqn: Eqn, x: Any, *bounds: Any) -> tuple[Any, ...]:
    box = [int(v) for v in bounds]
    rank = len(box) // 2
    return (_read(as_array(x), box[:rank], box[rank:], eqn.attrs["steps"])[()].copy(),)


def _read(
    x: np.ndarray[Any, Any], starts: Sequence[int], sizes: Sequence[int], steps: Sequence[int]
) -> np.ndarray[Any, Any]:
    index = window(x.shape, starts, sizes, steps)
    if 0 in sizes:
        return np.empty(sizes, x.dtype)
    return x[index]


def _emit_slice(context: Context, eqn: Eqn, index: Sequence[Value]) -> Value:
    at = [
        ix.position(i, scalar_operand(context, eqn, 1 + axis), step)
        for axis, (i, step) in enumerate(zip(index, eqn.attrs["steps"]))
    ]
    return context.load(0, at)


def _stride_slice(
    eqn: Eqn, dim: Callable[[Dim], Value], offset: Value, strides: tuple[Value, ...]
) -> Strided:
    result: list[Value] = []
    for start, stride, step in zip(eqn.operands[1:], strides, eqn.attrs["steps"]):
        offset = ix.add(offset, ix.multiply(dim(as_dim(start)), stride))
        result.append(ix.multiply(stride, index(step)))
    return offset, tuple(result)


def _transpose_slice(
    eqn: Eqn,
    operands: Sequence[Value | Linear],
    cotangents: Tangents,
    accumulators: Sequence[Value | None],
    transpose: TransposeTransform,
) -> Sequence[Value | None]:
    """The cotangent is added to a box of the accumulator, in place."""
    (ct,), rank, steps = cotangents, len(eqn.attrs["steps"]), eqn.attrs["steps"]
    if ct is None:
        return accumulators
    total, starts = accumulators[0], _values(operands[1 : 1 + rank])
    if total is None:
        total = zeros_like(linear_type(operands[0]))
    elif not _is_cleared(total, starts, ct.dims, steps):
        ct = add(slice(total, starts, ct.dims, steps), ct)
    return [update(total, ct, starts, steps), *accumulators[1:]]


def _is_cleared(
    total: Value, starts: Sequence[Position], sizes: Sequence[Dim], steps: Sequence[int]
) -> bool:
    """Whether `_transpose_update` has just written zeros to this very box."""
    eqns = current().eqns
    for n in range(len(eqns) - 1, max(len(eqns) - RECENT, 0), -1):
        eqn, zeros = eqns[n], eqns[n - 1]
        if total in eqn.results:
            same = eqn.op is UPDATE and eqn.operands[1:] == (
                zeros.results[0],
                *map(as_value, starts),
            )
            is_zero = zeros.op is BROADCAST and zeros.operands[0] == Literal(0, total.dtype)
            return (
                same
                and is_zero
                and zeros.result.dims == tuple(sizes)
                and eqn.attrs["steps"] == steps
            )
    return False


def _values(operands: Sequence[Value | Linear]) -> list[Position]:
    """Operands that are not linear, as positions."""
    return [as_dim(v) for v in operands if isinstance(v, Value)]


_BOXES: list[tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], tuple[int, ...]]] = [
    ((5,), (1,), (3,), (1,)),
    ((5,), (4,), (5,), (-1,)),
    ((6,), (1,), (3,), (2,)),
    ((4, 5), (1, 4), (2, 2), (1, -2)),
    ((3, 4), (3, 0), (0, 4), (1, 1)),
    ((2, 3, 4), (1, 0, 0), (1, 3, 2), (1, 1, 3)),
    ((), (), (), ()),
]


def _slice_samples() -> Iterator[Sample]:
    rng = generator("slice")
    for shape, starts, sizes, steps in _BOXES:
        bounds = map(np.int64, (*starts, *sizes))
        yield Sample((smooth(rng, T.f64, shape), *bounds), {"steps": steps})
    yield Sample((smooth(rng, T.i8, (4,)), np.int64(2), np.int64(2)), {"steps": (1,)})


SLICE = Primitive(
    "slice",
    infer=_infer_slice,
    numpy=_numpy_slice,
    jvp=moves_data,
    transpose=_transpose_slice,
    batch=index_batches.batch_slice,
    total=_has_known_place,
    lower=[Element(_emit_slice, view=True, strided=_stride_slice)],
    samples=_slice_samples,
    pairs=each_half,
    facts=SAME_ELEMENTS,
)


def slice(
    x: Value,
    starts: Sequence[Position],
    sizes: Sequence[Dim],
    steps: Sequence[int] | None = None,
) -> Value:
    """The box of x whose element k along an axis is `start + k * step`; steps are 1 by default.

    Starts and sizes are ints or i64 scalars. Every element must be in bounds."""
    steps = (1,) * x.rank if steps is None else tuple(steps)
    operands = [x, *map(as_value, starts), *map(as_value, sizes)]
    (result,) = current().bind(SLICE, operands, {"steps": steps})
    return result


# -- update ----------------------------------------------------------------------------------------


def _infer_update(
    operands: Sequence[Value], attrs: Attrs, regions: Sequence[Function]
) -> tuple[Type, ...]:
    base, value = array_of("update", operands[0]), array_of("update", operands[1])
    if value.dtype != base.dtype or value.rank != base.rank:
        raise TypeRuleError(f"update: {value} does not fit in {base}: convert and reshape first")
    if len(operands) != 2 + base.rank:
        raise TypeRuleError(f"update of {base} takes {base.rank} starts")
    _check_starts("update", operands[2:])
    _check_steps("update", attrs["steps"], base.rank)
    return (base,)


def _numpy_update(eqn: Eqn, base: Any, value: Any, *starts: Any) -> tuple[Any, ...]:
    result = np.array(base)
    index = window(result.shape, [int(v) for v in starts], np.shape(value), eqn.attrs["steps"])
    if np.size(value):
        result[index] = value
    return (result[()],)


def _emit_update(
    context: Context, eqn: Eqn, inputs: Sequence[Value], outputs: Sequence[Value]
) -> Sequence[Value]:
    """The output holds the base already; only the box is written."""
    value, steps = eqn.operands[1], eqn.attrs["steps"]
    if value.rank == 0:
        return (scalar_operand(context, eqn, 1),)
    starts = [scalar_operand(context, eqn, 2 + axis) for axis in range(value.rank)]

    def write(at: tuple[Value, ...]) -> None:
        to = [ix.position(i, start, step) for i, start, step in zip(at, starts, steps)]
        store(outputs[0], context.load(1, at), *to)

    nest([context.dim(d) for d in value.dims], write)
    return ()


def _transpose_update(
    eqn: Eqn,
    operands: Sequence[Value | Linear],
    cotangents: Tangents,
    accumulators: Sequence[Value | None],
    transpose: TransposeTransform,
) -> Sequence[Value | None]:
    """The box of the cotangent belongs to the value, the rest of it to the base."""
    (ct,), steps = cotangents, eqn.attrs["steps"]
    if ct is None:
        return accumulators
    (base, value, *_), (ct_base, ct_value, *rest) = operands, accumulators
    starts, box = _values(operands[2:]), linear_type(value)
    if isinstance(value, Linear):
        ct_value = accumulate(ct_value, slice(ct, starts, box.dims, steps))
    if isinstance(base, Linear):
        ct_base = accumulate(ct_base, update(ct, zeros_like(box), starts, steps))
    return [ct_base, ct_value, *rest]


def _update_samples() -> Iterator[Sample]:
    rng = generator("update")
    for shape, starts, sizes, steps in _BOXES:
        base, value = smooth(rng, T.f64, shape), smooth(rng, T.f64, sizes)
        yield Sample((base, value, *map(np.int64, starts)), {"steps": steps})
    base, value = smooth(rng, T.bool_, (4,)), smooth(rng, T.bool_, (2,))
    yield Sample((base, value, np.int64(1)), {"steps": (1,)})


UPDATE = Primitive(
    "update",
    infer=_infer_update,
    numpy=_numpy_update,
    jvp=moves_data,
    transpose=_transpose_update,
    batch=index_batches.batch_update,
    total=_has_known_place,
    lower=[Kernel(_emit_update)],
    samples=_update_samples,
    writes=0,
)


def update(
    base: Value, value: Value, starts: Sequence[Position], steps: Sequence[int] | None = None
) -> Value:
    """`base` with a box replaced by `value`, whose element k along an axis goes to
    `start + k * step`; steps are 1 by default. Every element must land in bounds."""
    steps = (1,) * base.rank if steps is None else tuple(steps)
    operands = [base, value, *map(as_value, starts)]
    (result,) = current().bind(UPDATE, operands, {"steps": steps})
    return result
