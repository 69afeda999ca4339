"""A Function of a number for each number below another: how Jacobians go over unit vectors.

    @unit_vector(%i: i64, %w: f64[64, 32])       dense: for 3 blocks of 128 numbers, @unit_vector
      ...                                               for 128 lanes: products of matrices
                                                 else:  for %i in 300: products of vectors, if any

Products and solutions for many unit vectors at once are several times faster than one after the
other. Loops over long arrays are not: one lane at a time stays in the cache.
"""

from __future__ import annotations

from collections.abc import Sequence

from jitnet import ir, ops, transforms
from jitnet.frontend.inner import builder
from jitnet.ir import Builder, Dim, Function, Value, as_value
from jitnet.ops.lanes import is_dense, spread

BLOCK = 128  # more lanes are no faster, and take more memory
FEW = 32  # so many lanes at once are as fast, whatever is computed


def for_each(
    size: Dim, body: Function, consts: Sequence[Value], together: bool = True
) -> Sequence[Value]:
    """`body(i, *consts)` for each i below `size`, in the running trace: stacked along a first
    axis. `together`: whether for many at once, where that is faster; it takes their memory."""
    dense = is_dense(body)
    if not isinstance(size, int) or size < 2 or not (together and (dense or size <= FEW)):
        stacked: Sequence[Value] = ops.for_(as_value(size), body, consts)
        return stacked
    if size <= BLOCK:
        return _block(builder(), body, ops.iota((size,)), consts, size)
    blocks = -(-size // BLOCK)
    with Builder("block") as b:
        number = b.param(ir.types.scalar(ir.types.i64), "block")
        inner = b.params_like(consts)
        first = ops.broadcast(ops.mul(number, BLOCK), (BLOCK,), ())
        numbers = ops.add(ops.iota((BLOCK,)), first)  # the last ones may be too large: zeros
        step = b.build(*_block(b, body, numbers, inner, BLOCK))
    return [_joined(v, size) for v in ops.for_(ir.index(blocks), step, consts)]


def _block(
    b: Builder, body: Function, numbers: Value, consts: Sequence[Value], size: int
) -> list[Value]:
    lanes, batched = transforms.vmap(body, [True, *[False] * len(consts)], size)
    values = b.inline(lanes, [numbers, *consts])
    return [v if on else spread(v, size) for v, on in zip(values, batched, strict=True)]


def _joined(v: Value, size: int) -> Value:
    """The blocks of a result one after the other, without what is beyond `size`."""
    (blocks, each, *dims) = v.dims
    assert isinstance(blocks, int)
    assert isinstance(each, int)
    whole = ops.reshape(v, (blocks * each, *dims))
    return whole if size == blocks * each else ops.slice(whole, [0] * whole.rank, (size, *dims))
