"""Running sums and products along an axis.

    %y = cumsum %x {axis=0, exclusive=False, reverse=False}     // y[k] = x[0] + ... + x[k]
    %p = cumprod %x {axis=0, exclusive=True, reverse=True}      // p[k] = x[k+1] * ... * x[n-1]

Sequential, as NumPy's are: bit for bit the same. `reverse` runs from the end, `exclusive` leaves
the element itself out. The tangent of a product is the recurrence
dy[k] = x[k] dy[k-1] + y[k-1] dx[k] in a `for`: exact with zeros among the elements, and linear in
dx, so that it transposes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from jitnet.ir import (
    Attrs,
    Eqn,
    Function,
    Literal,
    Type,
    TypeRuleError,
    Value,
    as_value,
    current,
)
from jitnet.ir import types as T
from jitnet.kernel import scalars as s
from jitnet.kernel.indices import ONE, ZERO, subtract
from jitnet.kernel.statements import load, loop, store
from jitnet.ops.control import for_
from jitnet.ops.lanes import batch_along
from jitnet.ops.lift import accumulate, add, zmul
from jitnet.ops.loops import nest
from jitnet.ops.pairs import each_half
from jitnet.ops.primitive import (
    Context,
    JvpRule,
    JvpTransform,
    Kernel,
    Linear,
    PairsRule,
    Primitive,
    Sample,
    Tangents,
    TransposeRule,
    TransposeTransform,
    not_linear,
)
from jitnet.ops.samples import generator, smooth, special
from jitnet.ops.shape import full, transpose


def _infer(
    operands: Sequence[Value], attrs: Attrs, regions: Sequence[Function]
) -> tuple[Type, ...]:
    (x,), axis = operands, attrs["axis"]
    if not 0 <= axis < x.rank:
        raise TypeRuleError(f"axis {axis} of {x.type} is out of range")
    if x.dtype.is_bool:
        raise TypeRuleError("running sums and products of bools: convert first")
    return (x.array_type,)


def _reference(ufunc: np.ufunc) -> Callable[..., tuple[Any, ...]]:
    def reference(eqn: Eqn, x: Any) -> tuple[Any, ...]:
        axis, attrs = eqn.attrs["axis"], eqn.attrs
        ordered = np.flip(x, axis) if attrs["reverse"] else x
        y = ufunc.accumulate(ordered, axis=axis, dtype=x.dtype)
        if attrs["exclusive"]:
            first = np.full_like(np.take(y, [0] if y.shape[axis] else [], axis), ufunc.identity)
            rest = np.take(y, np.arange(max(y.shape[axis] - 1, 0)), axis)
            y = np.concatenate([first, rest], axis)
        return (np.flip(y, axis) if attrs["reverse"] else y,)

    return reference


# -- lowering --------------------------------------------------------------------------------------


def _emit(combine: s.ScalarOp, identity: int) -> Callable[..., Sequence[Value]]:
    """Along the last axis the running value is carried; along another one the loops stay in C order
    and the value is read back from the row of results before, so that rows are vectors."""

    def emit(
        context: Context, eqn: Eqn, inputs: Sequence[Value], outputs: Sequence[Value]
    ) -> Sequence[Value]:
        (x,), (y,), attrs, axis = inputs, outputs, eqn.attrs, eqn.attrs["axis"]
        extents = [context.dim(d) for d in eqn.operands[0].dims]
        n, outer, inner = extents[axis], extents[:axis], extents[axis + 1 :]
        start = Literal(identity, y.dtype)
        # the sum of the first element alone is that element, -0.0 too
        signed = y.dtype.is_float and identity == 0
        neutral = Literal(-0.0, y.dtype) if signed else start

        def position(k: Value) -> Value:
            return subtract(subtract(n, ONE), k) if attrs["reverse"] else k

        def carried(at: Sequence[Value]) -> None:
            def step(k: Value, total: Value) -> Sequence[Value]:
                here = (*at, position(k))
                following = combine(total, load(x, *here))
                stored = s.select(s.eq(k, 0), start, total) if attrs["exclusive"] else following
                store(y, stored, *here)
                return (following,)

            in_order = () if y.dtype.is_half else (combine.name,)  # each term is rounded
            loop(0, n, step, (neutral,), combine=in_order, name="k")

        def by_rows(at: Sequence[Value]) -> None:
            def first(to: Sequence[Value]) -> None:
                here = (*at, position(ZERO), *to)
                store(y, start if attrs["exclusive"] else load(x, *here), *here)

            def row(k: Value) -> None:
                here, before = position(k), position(subtract(k, ONE))
                added = before if attrs["exclusive"] else here

                def element(to: Sequence[Value]) -> None:
                    so_far = load(y, *at, before, *to)
                    if attrs["exclusive"]:
                        so_far = s.select(s.eq(k, 1), neutral, so_far)
                    store(y, combine(so_far, load(x, *at, added, *to)), *at, here, *to)

                nest(inner, element)

            loop(0, s.minimum(n, 1), lambda _: nest(inner, first))
            loop(1, n, row, name="k")

        nest(outer, by_rows if inner else carried, innermost="seq")
        return ()

    return emit


# -- derivatives -----------------------------------------------------------------------------------


def _jvp_cumsum(
    eqn: Eqn, primals: Sequence[Value], tangents: Tangents, jvp: JvpTransform
) -> tuple[Sequence[Value], Tangents]:
    results = current().rebind(eqn, primals)
    (t,) = tangents
    return results, (None if t is None else current().rebind(eqn, (t,))[0],)


def _transpose_cumsum(
    eqn: Eqn,
    operands: Sequence[Value | Linear],
    cotangents: Tangents,
    accumulators: Sequence[Value | None],
    transpose: TransposeTransform,
) -> Sequence[Value | None]:
    (ct,), (total,), a = cotangents, accumulators, eqn.attrs
    if ct is None:
        return [total]
    return [accumulate(total, cumsum(ct, a["axis"], not a["reverse"], a["exclusive"]))]


def _jvp_cumprod(
    eqn: Eqn, primals: Sequence[Value], tangents: Tangents, jvp: JvpTransform
) -> tuple[Sequence[Value], Tangents]:
    results = current().rebind(eqn, primals)
    (x,), (t,) = primals, tangents
    if t is None:
        return results, (None,)
    axis, reverse, exclusive = (eqn.attrs[k] for k in ("axis", "reverse", "exclusive"))
    before = cumprod(x, axis, reverse, exclusive=True)
    to_front = (axis, *(i for i in range(x.rank) if i != axis))
    back = tuple(to_front.index(i) for i in range(x.rank))
    x, before, t = (transpose(v, to_front) for v in (x, before, t))

    def step(
        i: Value, consts: Sequence[Value], carries: Sequence[Value], xs: Sequence[Value]
    ) -> tuple[Sequence[Value], Sequence[Value]]:
        (dy,), (x, before, dx) = carries, xs
        following = add(zmul(x, dy), zmul(before, dx))
        return (following,), (dy if exclusive else following,)

    start = full(Literal(0.0, x.dtype), x.dims[1:])
    extents = tuple(dict.fromkeys(d for d in x.dims[1:] if not isinstance(d, int)))
    _, dy = for_(as_value(x.dims[0]), step, extents, (start,), (x, before, t), reverse=reverse)
    return results, (transpose(dy, back),)


# -- the ops ---------------------------------------------------------------------------------------


def _samples(name: str) -> Iterator[Sample]:
    rng = generator(name)
    flags = [(False, False), (True, False), (False, True), (True, True)]
    for dtype in (*T.DTYPES.values(), T.f16):
        if dtype.is_bool:
            continue
        for shape, axis in (((3,), 0), ((2, 3), 0), ((2, 3), 1), ((2, 3, 2), 1), ((0, 2), 0)):
            for reverse, exclusive in flags if dtype.bits == 64 else flags[:1]:
                attrs = {"axis": axis, "reverse": reverse, "exclusive": exclusive}
                yield Sample((smooth(rng, dtype, shape),), attrs)
        attrs = {"axis": 0, "reverse": False, "exclusive": False}
        yield Sample((special(dtype),), attrs, differentiable=False)
    zeros = np.array([2.0, 0.0, -1.5, 0.0, 3.0])
    for reverse, exclusive in flags:
        yield Sample((zeros,), {"axis": 0, "reverse": reverse, "exclusive": exclusive})


def _scan(
    ufunc: np.ufunc,
    name: str,
    combine: s.ScalarOp,
    jvp: JvpRule,
    transpose: TransposeRule,
    pairs: PairsRule | None = None,
) -> Primitive:
    return Primitive(
        name,
        infer=_infer,
        numpy=_reference(ufunc),
        jvp=jvp,
        transpose=transpose,
        batch=batch_along("axis"),
        lower=[Kernel(_emit(combine, int(ufunc.identity)))],
        samples=lambda: _samples(name),
        pairs=pairs,
    )


CUMSUM = _scan(np.add, "cumsum", s.add, _jvp_cumsum, _transpose_cumsum, pairs=each_half)
CUMPROD = _scan(np.multiply, "cumprod", s.mul, _jvp_cumprod, not_linear)


def cumsum(x: Value, axis: int, reverse: bool = False, exclusive: bool = False) -> Value:
    """The running sum along `axis`, in x's dtype and dims."""
    attrs = {"axis": axis, "reverse": reverse, "exclusive": exclusive}
    (result,) = current().bind(CUMSUM, (x,), attrs)
    return result


def cumprod(x: Value, axis: int, reverse: bool = False, exclusive: bool = False) -> Value:
    """The running product along `axis`, in x's dtype and dims."""
    attrs = {"axis": axis, "reverse": reverse, "exclusive": exclusive}
    (result,) = current().bind(CUMPROD, (x,), attrs)
    return result
