"""Products of arrays: `dot`, a sum over paired axes, with batch axes kept side by side.

    %z = dot %x, %y {contract=((1,), (0,)), batch=((), ())}     // f64[3, 5]: the matrix product
    %z = dot %x, %y {contract=((2,), (1,)), batch=((0,), (0,))} // a stack of matrix times vector

The result's axes are the batch axes (in the order given), then x's other axes, then y's. Integers
wrap, bools are any-of-both. How it is computed is in `ops.products`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from jitnet.ir import (
    ArrayType,
    Attrs,
    Eqn,
    Function,
    Type,
    TypeRuleError,
    Value,
    current,
)
from jitnet.ir import types as T
from jitnet.ops import products
from jitnet.ops.lift import accumulate
from jitnet.ops.primitive import (
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
from jitnet.ops.shape import transpose as permute


def _infer(
    operands: Sequence[Value], attrs: Attrs, regions: Sequence[Function]
) -> tuple[Type, ...]:
    x, y = operands
    if x.dtype != y.dtype:
        raise TypeRuleError(f"dot of {x.type} and {y.type}: convert first")
    for v, *groups in ((x, attrs["batch"][0], attrs["contract"][0]), (y, *_second(attrs))):
        axes = [a for group in groups for a in group]
        if len(set(axes)) != len(axes) or any(not 0 <= a < v.rank for a in axes):
            raise TypeRuleError(f"dot: axes {axes} of {v.type}: each once, in range")
    for pairs in (attrs["batch"], attrs["contract"]):
        if [x.dims[a] for a in pairs[0]] != [y.dims[a] for a in pairs[1]]:
            raise TypeRuleError(f"dot of {x.type} and {y.type}: axes {pairs} do not match")
    r = roles(attrs, x.rank, y.rank)
    dims = [x.dims[a] for a in (*r.batch[0], *r.free[0])] + [y.dims[a] for a in r.free[1]]
    return (ArrayType(x.dtype, tuple(dims)),)


def _second(attrs: Attrs) -> tuple[Axes, Axes]:
    return attrs["batch"][1], attrs["contract"][1]


def _reference(eqn: Eqn, x: Any, y: Any) -> tuple[Any, ...]:
    """Both operands as stacks of matrices, for np.matmul."""
    x, y = np.asarray(x), np.asarray(y)
    r = roles(eqn.attrs, x.ndim, y.ndim)

    def stack(v: Any, *groups: Axes) -> Any:
        sizes = [int(np.prod([v.shape[a] for a in group], dtype=np.int64)) for group in groups]
        return np.transpose(v, [a for group in groups for a in group]).reshape(sizes)

    product = np.matmul(
        stack(x, r.batch[0], r.free[0], r.contract[0]),
        stack(y, r.batch[1], r.contract[1], r.free[1]),
    )
    shape = [x.shape[a] for a in (*r.batch[0], *r.free[0])] + [y.shape[a] for a in r.free[1]]
    return (product.reshape(shape),)


# -- derivatives -----------------------------------------------------------------------------------


def _jvp(
    eqn: Eqn, primals: Sequence[Value], tangents: Tangents, jvp: JvpTransform
) -> tuple[Sequence[Value], Tangents]:
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
    (x, y), (ct,), (total_x, total_y) = operands, cotangents, accumulators
    if ct is None:
        return [total_x, total_y]
    r = roles(eqn.attrs, _rank(x), _rank(y))
    batch = tuple(range(len(r.batch[0])))
    free_x = tuple(range(len(batch), len(batch) + len(r.free[0])))
    free_y = tuple(range(len(batch) + len(r.free[0]), ct.rank))
    if isinstance(x, Linear):
        assert isinstance(y, Value), "dot is linear in one operand at a time"
        order = (*r.batch[0], *r.free[0], *_by_partner(r.contract[0], r.contract[1]))
        part = dot(ct, y, contract=(free_y, r.free[1]), batch=(batch, r.batch[1]))
        return [accumulate(total_x, _restore(part, order)), None]
    order = (*r.batch[1], *_by_partner(r.contract[1], r.contract[0]), *r.free[1])
    part = dot(x, ct, contract=(r.free[0], free_x), batch=(r.batch[0], batch))
    return [None, accumulate(total_y, _restore(part, order))]


def _rank(operand: Value | Linear) -> int:
    assert isinstance(operand.type, ArrayType)
    return operand.type.rank


def _by_partner(axes: Axes, partners: Axes) -> Axes:
    """The axes in the order that their partners have in the other operand."""
    return tuple(a for _, a in sorted(zip(partners, axes)))


def _restore(part: Value, order: Axes) -> Value:
    """Put the axis that is `order[i]`-th in the operand from place i to its own place."""
    perm = tuple(order.index(i) for i in range(len(order)))
    return part if perm == tuple(range(len(perm))) else permute(part, perm)


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
    jvp=_jvp,
    transpose=_transpose,
    lower=[
        Kernel(products.emit_inner, when=products.is_inner),
        Kernel(products.emit_loops, when=products.wants_loops),
        Kernel(products.emit_blas),
    ],
    samples=_samples,
)


def dot(x: Value, y: Value, contract: Pairs, batch: Pairs = ((), ())) -> Value:
    """The sum of products over the axes paired by `contract`, for each index of the axes paired by
    `batch`.

    Args:
        x, y: of one dtype; paired axes have the same extents.
        contract: `(axes of x, axes of y)` to sum over; none is an outer product.
        batch: `(axes of x, axes of y)` that become the leading axes of the result.

    Raises:
        TypeRuleError: for dtypes or axes that do not fit.
    """
    attrs = {"contract": contract, "batch": batch}
    (result,) = current().bind(DOT, (x, y), attrs)
    return result
