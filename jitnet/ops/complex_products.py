"""Products of arrays of complex numbers, as they lie in memory.

    %z = complex_dot %x, %y {contract=((1,), (0,)), batch=((), ())}   // f64[3, 5, 2]
                                                          // from f64[3, 4, 2], f64[4, 5, 2]

A `dot` of complex numbers becomes one of these where BLAS multiplies them: it takes them where they
are, and neither half of a matrix is copied out. The axes of attributes are those of `dot`; the last
ones, of real and imaginary parts, are not counted. Products of a few elements, and of vectors, are
products of real numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from jitnet.ir import Attrs, Dim, Eqn, Function, Type, TypeRuleError, Value, current
from jitnet.ir import types as T
from jitnet.ops import blas, products
from jitnet.ops.complexes import interleave, taken_apart
from jitnet.ops.lanes import Batched
from jitnet.ops.lift import add, mul, neg, sub
from jitnet.ops.linalg import (
    DOT,
    dot,
    numpy_product,
    product_batched,
    product_jvp,
    product_transposed,
    product_type,
)
from jitnet.ops.pairs import Split, pair
from jitnet.ops.primitive import (
    BatchTransform,
    Kernel,
    Linear,
    Pair,
    Paired,
    Primitive,
    Sample,
    Tangents,
    TransposeTransform,
)
from jitnet.ops.reduce import reduce_sum
from jitnet.ops.samples import generator, smooth


def _infer(
    operands: Sequence[Value], attrs: Attrs, regions: Sequence[Function]
) -> tuple[Type, ...]:
    types = [v.array_type for v in operands]
    if any(t.dims[-1:] != (2,) or not t.dtype.is_float for t in types):
        raise TypeRuleError(f"complex_dot of {types[0]} and {types[1]}: floats in pairs")
    x, y = (t.with_dims(t.dims[:-1]) for t in types)
    result = product_type(x, y, attrs)
    return (result.with_dims((*result.dims, 2)),)


def _reference(eqn: Eqn, x: Any, y: Any) -> tuple[Any, ...]:
    product = numpy_product(x[..., 0] + 1j * x[..., 1], y[..., 0] + 1j * y[..., 1], eqn.attrs)
    return (np.stack([product.real, product.imag], axis=-1).astype(x.dtype),)


def _transpose(
    eqn: Eqn,
    operands: Sequence[Value | Linear],
    cotangents: Tangents,
    accumulators: Sequence[Value | None],
    transpose: TransposeTransform,
) -> Sequence[Value | None]:
    """As of a product of real numbers, with the conjugate of the other factor."""
    factors = [v if isinstance(v, Linear) else _conjugate(v) for v in operands]
    return product_transposed(eqn.attrs, factors, cotangents, accumulators, _product, inner=1)


def _batch(
    eqn: Eqn,
    operands: Sequence[Value],
    batched: Sequence[bool],
    extent: Dim,
    batch: BatchTransform,
) -> Batched:
    return product_batched(eqn.attrs, operands, batched, _product, inner=1)


def _samples() -> Iterator[Sample]:
    rng = generator("complex_dot")
    for dtype in (T.f64, T.f32):
        for sample in DOT.samples():
            x, y = (np.shape(v) for v in sample.operands)
            if sample.operands[0].dtype == np.float64:
                drawn = (smooth(rng, dtype, (*x, 2)), smooth(rng, dtype, (*y, 2)))
                yield Sample(drawn, sample.attrs)


COMPLEX_DOT = Primitive(
    "complex_dot",
    infer=_infer,
    numpy=_reference,
    jvp=product_jvp,
    transpose=_transpose,
    batch=_batch,
    lower=[Kernel(blas.emit_complex)],
    samples=_samples,
)


def complex_dot(
    x: Value, y: Value, contract: products.Pairs, batch: products.Pairs = ((), ())
) -> Value:
    """The product of arrays whose last axes are real and imaginary parts.

    Args:
        x, y: of one dtype, with a last axis of extent 2.
        contract, batch: as in `dot`, for the other axes.

    Raises:
        TypeRuleError: for dtypes or axes that do not fit.
    """
    (result,) = current().bind(COMPLEX_DOT, (x, y), {"contract": contract, "batch": batch})
    return result


def _pairs_dot(eqn: Eqn, operands: Sequence[Paired], split: Split) -> Sequence[Paired]:
    """BLAS's product of complex numbers, four real products, or of vectors two sums of products."""
    x, y = (pair(v) for v in operands)
    return (_product_of_pairs(x, y, eqn.attrs["contract"], eqn.attrs["batch"]),)


def _product(x: Value, y: Value, contract: products.Pairs, batch: products.Pairs) -> Value:
    """As `complex_dot`, in the way that suits the extents."""
    return _whole(_product_of_pairs(taken_apart(x), taken_apart(y), contract, batch))


def _product_of_pairs(x: Pair, y: Pair, contract: products.Pairs, batch: products.Pairs) -> Pair:
    if x.re.rank == y.re.rank == len(contract[0]) == 1:
        re = sub(mul(x.re, y.re), mul(x.im, y.im))
        im = add(mul(x.re, y.im), mul(x.im, y.re))
        return Pair(reduce_sum(re, (0,)), reduce_sum(im, (0,)))
    attrs = {"contract": contract, "batch": batch}
    if not products.by_loops(x.re.array_type, y.re.array_type, attrs):
        return taken_apart(complex_dot(_whole(x), _whole(y), contract, batch))
    re = sub(dot(x.re, y.re, contract, batch), dot(x.im, y.im, contract, batch))
    return Pair(re, add(dot(x.re, y.im, contract, batch), dot(x.im, y.re, contract, batch)))


def _conjugate(x: Value) -> Value:
    z = taken_apart(x)
    return interleave(z.re, neg(z.im))


def _whole(x: Pair) -> Value:
    return interleave(x.re, x.im) if x.whole is None else x.whole


DOT.pairs = _pairs_dot
