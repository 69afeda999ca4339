"""Determinants of complex matrices: Gauss's elimination, written in ops, one column a step.

    %rows: c128[3, 3], %odd: bool, %pivots: c128[3] = for 3, ... {
      ...                     // the row of the pivot is exchanged, multiples of it are taken off
    }

The real matrix that stands for a complex one has a determinant without a phase, so these are not
asked of `solvers.DET`. All matrices of a stack go through a step at once.
"""

from __future__ import annotations

from collections.abc import Sequence

from jitnet.ir import Literal, Value, as_value
from jitnet.ir import types as T
from jitnet.ops.complexes import complex, imag, real
from jitnet.ops.control import for_
from jitnet.ops.create import iota
from jitnet.ops.lift import add, mul, neg, select, sub
from jitnet.ops.pointwise import abs, bitwise_xor, convert, div, eq, exp, ge, gt, log, ne
from jitnet.ops.reduce import argmax, reduce_prod, reduce_sum
from jitnet.ops.shape import broadcast, full


def _zeros(x: Value) -> Value:
    return full(Literal(0, x.dtype), x.dims)


def _picked(mask: Value, x: Value, axis: int) -> Value:
    """The one element along an axis that the mask has."""
    return reduce_sum(select(mask, x, _zeros(x)), (axis,))


def _step(
    k: Value, consts: Sequence[Value], carries: Sequence[Value], xs: Sequence[Value]
) -> tuple[Sequence[Value], Sequence[Value]]:
    a, odd = carries
    rank = a.rank
    stack, down, right = tuple(range(rank - 2)), rank - 2, rank - 1
    row, column = (iota(a.dims, axis, T.i64) for axis in (down, right))
    place = iota(a.dims[:-1], down, T.i64)
    step, short = (broadcast(k, x.dims, ()) for x in (a, place))

    values = _picked(eq(column, step), a, right)
    size = add(abs(real(values)), abs(imag(values)))
    size = select(ge(place, short), size, full(Literal(-1, size.dtype), size.dims))
    chosen = argmax(size, down)

    at_step, at_chosen = eq(row, step), eq(row, broadcast(chosen, a.dims, stack))
    pivot_row = _picked(at_chosen, a, down)
    wide = broadcast(pivot_row, a.dims, (*stack, right))
    replaced = broadcast(_picked(at_step, a, down), a.dims, (*stack, right))
    a = select(at_step, wide, select(at_chosen, replaced, a))

    pivot = _picked(eq(place, short), pivot_row, down)
    one = full(Literal(1, pivot.dtype), pivot.dims) if pivot.rank else Literal(1, pivot.dtype)
    divisor = select(eq(pivot, 0.0), one, pivot)
    factor = div(_picked(eq(column, step), a, right), broadcast(divisor, place.dims, stack))
    multiple = mul(broadcast(factor, a.dims, (*stack, down)), wide)
    a = sub(a, select(gt(row, step), multiple, _zeros(a)))
    now = broadcast(k, chosen.dims, ()) if chosen.rank else k
    return (a, bitwise_xor(odd, ne(chosen, now))), (pivot,)


def complex_slogdet(a: Value) -> tuple[Value, Value]:
    """Sign (of absolute value 1, or 0) and logarithm of the absolute value of the determinants of
    complex a: [..., n, n]."""
    no = Literal(False, T.bool_)
    start = full(no, a.dims[:-2]) if a.rank > 2 else no
    extents = tuple(dict.fromkeys(d for d in a.dims if isinstance(d, Value)))
    _, odd, pivots = for_(as_value(a.dims[-1]), _step, extents, (a, start))
    size = abs(pivots)
    safe = select(eq(size, 0.0), full(Literal(1, size.dtype), size.dims), size)
    sign = reduce_prod(div(pivots, complex(safe, _zeros(safe))), (0,))
    return select(odd, neg(sign), sign), reduce_sum(log(size), (0,))


def complex_det(a: Value) -> Value:
    """The determinants of complex a: [..., n, n]."""
    sign, logarithm = complex_slogdet(a)
    return mul(sign, convert(exp(logarithm), a.dtype))
