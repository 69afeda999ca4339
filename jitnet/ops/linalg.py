"""Products of arrays: `dot`, a sum over paired axes, with batch axes kept side by side.

    %z = dot %x, %y {contract=((1,), (0,)), batch=((), ())}     // f64[3, 5]: the matrix product
    %z = dot %x, %y {contract=((2,), (1,)), batch=((0,), (0,))} // a stack of matrix times vector

The result's axes are the batch axes (in the order given), then x's other axes, then y's. Integers
wrap, bools are any-of-both. How it is computed is in
`ops.products` and `ops.blas`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from jitnet.ir import (
    ArrayType,
    Attrs,
    Dim,
    Eqn,
    Function,
    Type,
    TypeRuleError,
    Value,
    current,
)
from jitnet.ir import types as T
from jitnet.ops import blas, products
from jitnet.ops.lanes import Batched, behind, moved
from jitnet.ops.lift import accumulate, factor, mul
from jitnet.ops.pointwise import convert
from jitnet.ops.primitive import (
    BatchTransform,
    JvpTransform,
    Kernel,
    Linear,
    Primitive,
    Sample,
    Tangents,
    TransposeTransform,
)
from jitnet.ops.products import Axes, Pairs, roles
from jitnet.ops.samples import generator, smooth
from jitnet.ops.shape import broadcast
from jitnet.ops.shape import transpose as permute

Product = Callable[[Value, Value, Pairs, Pairs], Value]
"""What multiplies two arrays, given the axes that it contracts, and the batch axes."""


def _infer(
    operands: Sequence[Value], attrs: Attrs, regions: Sequence[Function]
) -> tuple[Type, ...]:
    x, y = (v.array_type for v in operands)
    return (product_type(x, y, attrs),)


def product_type(x: ArrayType, y: ArrayType, attrs: Attrs) -> ArrayType:
    """The type of a product of arrays.

    Raises:
        TypeRuleError: for dtypes or axes that do not fit.
    """
    if x.dtype != y.dtype or x.dtype.is_half:
        raise TypeRuleError(f"dot of {x} and {y}: convert first")
    for v, *groups in ((x, attrs["batch"][0], attrs["contract"][0]), (y, *_second(attrs))):
        axes = [a for group in groups for a in group]
        if len(set(axes)) != len(axes) or any(not 0 <= a < v.rank for a in axes):
            raise TypeRuleError(f"dot: axes {axes} of {v}: each once, in range")
    for pairs in (attrs["batch"], attrs["contract"]):
        if [x.dims[a] for a in pairs[0]] != [y.dims[a] for a in pairs[1]]:
            raise TypeRuleError(f"dot of {x} and {y}: axes {pairs} do not match")
    r = roles(attrs, x.rank, y.rank)
    dims = [x.dims[a] for a in (*r.batch[0], *r.free[0])] + [y.dims[a] for a in r.free[1]]
    return ArrayType(x.dtype, tuple(dims))


def _second(attrs: Attrs) -> tuple[Axes, Axes]:
    return attrs["batch"][1], attrs["contract"][1]


def _reference(eqn: Eqn, x: Any, y: Any) -> tuple[Any, ...]:
    return (numpy_product(np.asarray(x), np.asarray(y), eqn.attrs),)


def numpy_product(
    x: np.ndarray[Any, Any], y: np.ndarray[Any, Any], attrs: Attrs
) -> np.ndarray[Any, Any]:
    """Both operands as stacks of matrices, for np.matmul."""
    r = roles(attrs, x.ndim, y.ndim)

    def stack(v: Any, *groups: Axes) -> Any:
        sizes = [int(np.prod([v.shape[a] for a in group], dtype=np.int64)) for group in groups]
        return np.transpose(v, [a for group in groups for a in group]).reshape(sizes)

    product = np.matmul(
        stack(x, r.batch[0], r.free[0], r.contract[0]),
        stack(y, r.batch[1], r.contract[1], r.free[1]),
    )
    shape = [x.shape[a] for a in (*r.batch[0], *r.free[0])] + [y.shape[a] for a in r.free[1]]
    return np.asarray(product.reshape(shape))


# -- derivatives -----------------------------------------------------------------------------------


def product_jvp(
    eqn: Eqn, primals: Sequence[Value], tangents: Tangents, jvp: JvpTransform
) -> tuple[Sequence[Value], Tangents]:
    """The jvp of anything that is linear in each of its two operands."""
    results = current().rebind(eqn, primals)
    (x, y), (tx, ty) = primals, tangents
    total = None if tx is None else current().rebind(eqn, (tx, y))[0]
    return results, (accumulate(total, None if ty is None else current().rebind(eqn, (x, ty))[0]),)


def _transpose(
    eqn: Eqn,
    operands: Sequence[Value | Linear],
    cotangents: Tangents,
    accumulators: Sequence[Value | None],
    transpose: TransposeTransform,
) -> Sequence[Value | None]:
    return product_transposed(eqn.attrs, operands, cotangents, accumulators, _product)


def product_transposed(
    attrs: Attrs,
    operands: Sequence[Value | Linear],
    cotangents: Tangents,
    accumulators: Sequence[Value | None],
    product: Product,
    inner: int = 0,
) -> Sequence[Value | None]:
    """The transpose of a product of two arrays, with `product` for those that it takes.

    Args:
        inner: how many axes of an array, the last ones, belong to an element.
    """
    (x, y), (ct,), (total_x, total_y) = operands, cotangents, accumulators
    if ct is None:
        return [total_x, total_y]
    r = roles(attrs, _rank(x) - inner, _rank(y) - inner)
    batch = tuple(range(len(r.batch[0])))
    free_x = tuple(range(len(batch), len(batch) + len(r.free[0])))
    free_y = tuple(range(len(batch) + len(r.free[0]), ct.rank - inner))
    if isinstance(x, Linear):
        y = factor(y)
        order = (*r.batch[0], *r.free[0], *_by_partner(r.contract[0], r.contract[1]))
        part = product(ct, y, (free_y, r.free[1]), (batch, r.batch[1]))
        return [accumulate(total_x, _restore(part, order)), None]
    order = (*r.batch[1], *_by_partner(r.contract[1], r.contract[0]), *r.free[1])
    part = product(x, ct, (r.free[0], free_x), (r.batch[0], batch))
    return [None, accumulate(total_y, _restore(part, order))]


def _product(x: Value, y: Value, contract: Pairs, batch: Pairs) -> Value:
    """As `dot`. Where nothing is summed up, elementwise: that is fused with what it is added to."""
    count = len(batch[0])
    leading = tuple(range(count))
    if contract[0] or batch != (leading, leading):
        return dot(x, y, contract, batch)
    dims = (*x.dims, *y.dims[count:])
    apart = (*leading, *range(x.rank, len(dims)))
    return mul(broadcast(x, dims, range(x.rank)), broadcast(y, dims, apart))


def _rank(operand: Value | Linear) -> int:
    assert isinstance(operand.type, ArrayType)
    return operand.type.rank


def _by_partner(axes: Axes, partners: Axes) -> Axes:
    """The axes in the order that their partners have in the other operand."""
    return tuple(a for _, a in sorted(zip(partners, axes)))


def _restore(part: Value, order: Axes) -> Value:
    """Put the axis that is `order[i]`-th in the operand from place i to its own place."""
    order = (*order, *range(len(order), part.rank))
    perm = tuple(order.index(i) for i in range(len(order)))
    return part if perm == tuple(range(len(perm))) else permute(part, perm)


# -- batching --------------------------------------------------------------------------------------


def _batch(
    eqn: Eqn,
    operands: Sequence[Value],
    batched: Sequence[bool],
    extent: Dim,
    batch: BatchTransform,
) -> Batched:
    return product_batched(eqn.attrs, operands, batched, dot)


def product_batched(
    attrs: Attrs,
    operands: Sequence[Value],
    batched: Sequence[bool],
    product: Product,
    inner: int = 0,
) -> Batched:
    """Lanes of one operand are an axis of its own like its others: the product of a batch and one
    matrix is one product. Lanes of both are one more batch axis.

    Args:
        inner: how many axes of an array, the last ones, belong to an element.
    """
    (x, y), r = operands, roles(attrs, *(v.rank - b - inner for v, b in zip(operands, batched)))
    first, second = (behind if b else tuple for b in batched)
    contract = (first(r.contract[0]), second(r.contract[1]))
    pairs = (first(r.batch[0]), second(r.batch[1]))
    if all(batched):
        lanes = ((0, *pairs[0]), (0, *pairs[1]))
        return (product(x, y, contract, lanes),), [True]
    if batched[1] and not r.free[1]:  # y's lanes are its rows, and come first
        part = product(y, x, (contract[1], contract[0]), (pairs[1], pairs[0]))
        return (moved(part, len(pairs[0]), 0),), [True]
    place = len(pairs[0]) + (0 if batched[0] else len(r.free[0]))
    return (moved(product(x, y, contract, pairs), place, 0),), [True]


# -- the op ----------------------------------------------------------------------------------------

_SHAPES: list[tuple[tuple[int, ...], tuple[int, ...], Pairs, Pairs]] = [
    ((3, 4), (4, 5), ((1,), (0,)), ((), ())),
    ((4, 3), (4, 5), ((0,), (0,)), ((), ())),
    ((3, 4), (5, 4), ((1,), (1,)), ((), ())),
    ((4, 3), (5, 4), ((0,), (1,)), ((), ())),
    ((9, 8), (8, 7), ((1,), (0,)), ((), ())),
    ((5,), (5,), ((0,), (0,)), ((), ())),
    ((9, 11), (11,), ((1,), (0,)), ((), ())),
    ((11,), (11, 9), ((0,), (0,)), ((), ())),
    ((11, 9), (11,), ((0,), (0,)), ((), ())),
    ((3,), (4,), ((), ()), ((), ())),
    ((2, 3, 4), (2, 4, 5), ((2,), (1,)), ((0,), (0,))),
    ((3, 4, 2), (4, 2, 5), ((1,), (0,)), ((2,), (1,))),
    ((2, 7), (2, 7), ((1,), (1,)), ((0,), (0,))),
    ((2, 8, 7), (2, 7), ((2,), (1,)), ((0,), (0,))),
    ((2, 3, 4), (4, 3, 5), ((1, 2), (1, 0)), ((), ())),
    ((2, 3, 4), (3, 4, 5), ((1, 2), (0, 1)), ((), ())),
    ((2, 3, 8), (8, 3, 2), ((2,), (0,)), ((), ())),
    ((2, 3), (2, 3), ((), ()), ((0, 1), (0, 1))),
    ((3, 0), (0, 4), ((1,), (0,)), ((), ())),
    ((0, 3), (3, 4), ((1,), (0,)), ((), ())),
    ((3, 0), (0,), ((1,), (0,)), ((), ())),
    ((0,), (0,), ((0,), (0,)), ((), ())),
]


def _samples() -> Iterator[Sample]:
    rng = generator("dot")
    for dtype in (T.f64, T.f32, T.i64, T.bool_, T.u8, T.i32):
        for x, y, contract, batch in _SHAPES if dtype.bits != 32 else _SHAPES[:10]:
            drawn = (smooth(rng, dtype, x), smooth(rng, dtype, y))
            yield Sample(drawn, {"contract": contract, "batch": batch})


DOT = Primitive(
    "dot",
    infer=_infer,
    numpy=_reference,
    jvp=product_jvp,
    transpose=_transpose,
    batch=_batch,
    dense=True,
    lower=[
        Kernel(products.emit_inner, when=products.is_inner),
        Kernel(products.emit_loops, when=products.wants_loops),
        Kernel(blas.emit_blas),
    ],
    samples=_samples,
)


def dot(x: Value, y: Value, contract: Pairs, batch: Pairs = ((), ())) -> Value:
    """The sum of products over the axes paired by `contract`, for each index of the axes paired by
    `batch`. Of halves, the product of float32, rounded once.

    Args:
        x, y: of one dtype; paired axes have the same extents.
        contract: `(axes of x, axes of y)` to sum over; none is an outer product.
        batch: `(axes of x, axes of y)` that become the leading axes of the result.

    Raises:
        TypeRuleError: for dtypes or axes that do not fit.
    """
    if x.dtype.is_half and x.dtype == y.dtype:
        return convert(dot(convert(x, T.f32), convert(y, T.f32), contract, batch), x.dtype)
    attrs = {"contract": contract, "batch": batch}
    (result,) = current().bind(DOT, (x, y), attrs)
    return result
