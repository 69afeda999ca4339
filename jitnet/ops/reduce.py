"""Reductions over any axes, and the positions of extrema.

    %y = reduce_sum %x {axes=(0, 2)}    // f64[4] from f64[3, 4, 5]
    %i = argmax %x {axis=1}             // i64[3, 5]

The result has the dtype of the operand (NumPy's promotions are casts in front). Sums and products
may be reassociated; extrema propagate NaN. An empty reduction is the identity: what NumPy refuses
there is checked in front.

Conventions of the derivatives: the extrema split evenly among ties; that of the product is made of
exclusive products from both sides, so that zeros among the elements are no special case.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from jitnet.ir import (
    ArrayType,
    Attrs,
    DType,
    Eqn,
    Function,
    Type,
    TypeRuleError,
    Value,
    current,
    index,
)
from jitnet.ir import types as T
from jitnet.ir.facts import ALL, ANY, FactRule
from jitnet.kernel import scalars as s
from jitnet.kernel.statements import load, loop, store
from jitnet.ops.lanes import batch_along
from jitnet.ops.lift import accumulate, mul, scale, select
from jitnet.ops.loops import nest
from jitnet.ops.pairs import each_half
from jitnet.ops.pointwise import convert, eq, reciprocal
from jitnet.ops.primitive import (
    Context,
    JvpRule,
    JvpTransform,
    Kernel,
    Linear,
    PairsRule,
    Primitive,
    Reduction,
    Sample,
    Tangents,
    TransposeRule,
    TransposeTransform,
    nondifferentiable,
    not_linear,
)
from jitnet.ops.samples import generator, smooth, special
from jitnet.ops.scan import cumprod
from jitnet.ops.shape import broadcast

# -- types and references --------------------------------------------------------------------------


def _infer(
    operands: Sequence[Value], attrs: Attrs, regions: Sequence[Function]
) -> tuple[Type, ...]:
    (x,), axes = operands, attrs["axes"]
    if x.dtype.is_half:
        raise TypeRuleError(f"a reduction of {x.type}: convert to float32 first")
    if any(not 0 <= a < x.rank for a in axes) or list(axes) != sorted(set(axes)):
        raise TypeRuleError(f"axes {axes} of {x.type}: sorted, each once, in range")
    return (x.array_type.with_dims(tuple(d for i, d in enumerate(x.dims) if i not in axes)),)


def _infer_bool(
    operands: Sequence[Value], attrs: Attrs, regions: Sequence[Function]
) -> tuple[Type, ...]:
    if not operands[0].dtype.is_bool:
        raise TypeRuleError(f"any and all take bools, not {operands[0].type}")
    return _infer(operands, attrs, regions)


def _infer_number(
    operands: Sequence[Value], attrs: Attrs, regions: Sequence[Function]
) -> tuple[Type, ...]:
    if operands[0].dtype.is_bool:
        raise TypeRuleError("sums and products of bools: convert first")
    return _infer(operands, attrs, regions)


def lowest(dtype: DType) -> Any:
    """The identity of the maximum: -inf, or the least value of a dtype."""
    if dtype.is_inexact:
        return complex(-np.inf, -np.inf) if dtype.is_complex else -np.inf
    return False if dtype.is_bool else int(np.iinfo(dtype.numpy.name).min)


def highest(dtype: DType) -> Any:
    """The identity of the minimum: inf, or the greatest value of a dtype."""
    if dtype.is_inexact:
        return complex(np.inf, np.inf) if dtype.is_complex else np.inf
    return True if dtype.is_bool else int(np.iinfo(dtype.numpy.name).max)


def _reference(ufunc: np.ufunc, identity: Callable[[DType], Any]) -> Callable[..., tuple[Any, ...]]:
    def reference(eqn: Eqn, x: Any) -> tuple[Any, ...]:
        initial = x.dtype.type(identity(eqn.operands[0].dtype))
        return (ufunc.reduce(x, axis=eqn.attrs["axes"], dtype=x.dtype, initial=initial),)

    return reference


# -- derivatives -----------------------------------------------------------------------------------


def _kept(axes: Sequence[int], rank: int) -> tuple[int, ...]:
    return tuple(i for i in range(rank) if i not in axes)


def _over(y: Value, x: Value, axes: Sequence[int]) -> Value:
    """The reduced y, spread over the dims of x again."""
    return broadcast(y, x.dims, _kept(axes, x.rank))


def _jvp(tangent: Callable[[Value, Value, Value, tuple[int, ...]], Value]) -> JvpRule:
    """The rule with `tangent(t, x, y, axes)` where the operand has a tangent."""

    def rule(
        eqn: Eqn, primals: Sequence[Value], tangents: Tangents, jvp: JvpTransform
    ) -> tuple[Sequence[Value], Tangents]:
        (y,) = current().rebind(eqn, primals)
        (x,), (t,) = primals, tangents
        if t is None:
            return (y,), (None,)
        return (y,), (tangent(t, x, y, eqn.attrs["axes"]),)

    return rule


def _tangent_of_extremum(t: Value, x: Value, y: Value, axes: tuple[int, ...]) -> Value:
    """The mean of the tangents of the elements that are the extremum."""
    wins = eq(x, _over(y, x, axes))
    count = reduce_sum(convert(wins, x.dtype), axes)
    total = scale(reciprocal(count), reduce_sum(select(wins, t, 0.0), axes))
    assert total is not None, "the coefficient is no literal"
    return total


def _tangent_of_product(t: Value, x: Value, y: Value, axes: tuple[int, ...]) -> Value:
    """Axis by axis, from the last: the sum of tangent times the product of all others."""
    for axis in reversed(axes):
        before = cumprod(x, axis, exclusive=True)
        after = cumprod(x, axis, exclusive=True, reverse=True)
        term = scale(mul(before, after), t)
        assert term is not None, "the coefficient is no literal"
        t, x = reduce_sum(term, (axis,)), reduce_prod(x, (axis,))
    return t


def _transpose_sum(
    eqn: Eqn,
    operands: Sequence[Value | Linear],
    cotangents: Tangents,
    accumulators: Sequence[Value | None],
    transpose: TransposeTransform,
) -> Sequence[Value | None]:
    (x,), (ct,), (total,) = operands, cotangents, accumulators
    if ct is None:
        return [total]
    assert isinstance(x.type, ArrayType)
    return [accumulate(total, broadcast(ct, x.type.dims, _kept(eqn.attrs["axes"], x.type.rank)))]


# -- the reductions --------------------------------------------------------------------------------


def _samples(name: str, dtypes: Sequence[DType]) -> Callable[[], Iterator[Sample]]:
    cases: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
        ((3,), (0,)),
        ((2, 3), (1,)),
        ((2, 3), (0,)),
        ((2, 3, 4), (0, 2)),
        ((2, 3), ()),
        ((), ()),
        ((0,), (0,)),
        ((0, 2), (0,)),
        ((2, 0), (0,)),
    ]

    def samples() -> Iterator[Sample]:
        rng = generator(name)
        for dtype in dtypes:
            for shape, axes in cases if dtype.bits in (1, 8, 64) else cases[:2]:
                finite = name not in ("reduce_min", "reduce_max") or 0 not in shape
                x = smooth(rng, dtype, shape)
                yield Sample((x,), {"axes": axes}, differentiable=finite)
            yield Sample((special(dtype),), {"axes": (0,)}, differentiable=False)
        if T.f64 in dtypes:
            with_zeros = np.array([[1.5, 0.0, 2.0], [0.0, 0.0, -1.0], [0.5, 3.0, -2.0]])
            yield Sample((with_zeros,), {"axes": (0, 1)}, differentiable=name == "reduce_prod")

    return samples


def _reduction(
    name: str,
    ufunc: np.ufunc,
    combine: str,
    identity: Callable[[DType], Any],
    *,
    infer: Callable[..., tuple[Type, ...]] = _infer,
    jvp: JvpRule = nondifferentiable,
    transpose: TransposeRule = not_linear,
    dtypes: Sequence[DType] = tuple(T.DTYPES.values()),
    compensated: bool = False,
    pairs: PairsRule | None = None,
    facts: FactRule | None = None,
) -> Primitive:
    return Primitive(
        name,
        infer=infer,
        numpy=_reference(ufunc, identity),
        jvp=jvp,
        transpose=transpose,
        batch=batch_along("axes"),
        lower=[Reduction(combine, identity, compensated)],
        samples=_samples(name, dtypes),
        pairs=pairs,
        facts=facts,
    )


_NUMBERS = tuple(d for d in T.DTYPES.values() if not d.is_bool)

REDUCE_SUM = _reduction(
    "reduce_sum",
    np.add,
    "add",
    lambda dtype: 0,
    infer=_infer_number,
    jvp=_jvp(lambda t, x, y, axes: reduce_sum(t, axes)),
    transpose=_transpose_sum,
    dtypes=_NUMBERS,
    compensated=True,
    pairs=each_half,
)
REDUCE_PROD = _reduction(
    "reduce_prod",
    np.multiply,
    "mul",
    lambda dtype: 1,
    infer=_infer_number,
    jvp=_jvp(_tangent_of_product),
    dtypes=_NUMBERS,
)
REDUCE_MIN = _reduction(
    "reduce_min", np.minimum, "minimum", highest, jvp=_jvp(_tangent_of_extremum)
)
REDUCE_MAX = _reduction("reduce_max", np.maximum, "maximum", lowest, jvp=_jvp(_tangent_of_extremum))
REDUCE_ANY = _reduction(
    "reduce_any",
    np.logical_or,
    "bitwise_or",
    lambda dtype: False,
    infer=_infer_bool,
    dtypes=[T.bool_],
    facts=ANY,
)
REDUCE_ALL = _reduction(
    "reduce_all",
    np.logical_and,
    "bitwise_and",
    lambda dtype: True,
    infer=_infer_bool,
    dtypes=[T.bool_],
    facts=ALL,
)


def _bind(op: Primitive, x: Value, axes: Sequence[int]) -> Value:
    """Of halves, the reduction of float32, rounded once."""
    if x.dtype.is_half:
        return convert(_bind(op, convert(x, T.f32), axes), x.dtype)
    (result,) = current().bind(op, (x,), {"axes": tuple(axes)})
    return result


def reduce_sum(x: Value, axes: Sequence[int]) -> Value:
    """The sum over `axes` (sorted), in x's dtype; 0 of nothing."""
    return _bind(REDUCE_SUM, x, axes)


def reduce_prod(x: Value, axes: Sequence[int]) -> Value:
    """The product over `axes` (sorted), in x's dtype; 1 of nothing."""
    return _bind(REDUCE_PROD, x, axes)


def reduce_min(x: Value, axes: Sequence[int]) -> Value:
    """The least element over `axes` (sorted); NaN where there is one."""
    return _bind(REDUCE_MIN, x, axes)


def reduce_max(x: Value, axes: Sequence[int]) -> Value:
    """The greatest element over `axes` (sorted); NaN where there is one."""
    return _bind(REDUCE_MAX, x, axes)


def reduce_any(x: Value, axes: Sequence[int]) -> Value:
    """Whether any element over `axes` (sorted) is True; x is bool."""
    return _bind(REDUCE_ANY, x, axes)


def reduce_all(x: Value, axes: Sequence[int]) -> Value:
    """Whether all elements over `axes` (sorted) are True; x is bool."""
    return _bind(REDUCE_ALL, x, axes)


# -- positions of extrema --------------------------------------------------------------------------


def _infer_position(
    operands: Sequence[Value], attrs: Attrs, regions: Sequence[Function]
) -> tuple[Type, ...]:
    (x,), axis = operands, attrs["axis"]
    if not 0 <= axis < x.rank:
        raise TypeRuleError(f"axis {axis} of {x.type} is out of range")
    return (ArrayType(T.i64, tuple(d for i, d in enumerate(x.dims) if i != axis)),)


def _emit_position(better: s.ScalarOp) -> Callable[..., Sequence[Value]]:
    """For each result, a pass over the axis that carries the best value and its position: the first
    one, and the first NaN before all."""

    def emit(
        context: Context, eqn: Eqn, inputs: Sequence[Value], outputs: Sequence[Value]
    ) -> Sequence[Value]:
        (x,), (operand,), axis = inputs, eqn.operands, eqn.attrs["axis"]
        extents = [context.dim(d) for d in operand.dims]

        def search(outer: Sequence[Value]) -> Value:
            def at(i: Value | int) -> Value:
                return load(x, *outer[:axis], i, *outer[axis:])

            def step(i: Value, best: Value, position: Value) -> Sequence[Value]:
                v = at(i)
                wins = better(v, best)
                if operand.dtype.is_float:
                    first_nan = s.bitwise_and(s.isnan(v), s.logical_not(s.isnan(best)))
                    wins = s.bitwise_or(wins, first_nan)
                return s.select(wins, v, best), s.select(wins, i, position)

            return loop(1, extents[axis], step, (at(0), index(0)))[1]

        if operand.rank == 1:
            return (search(()),)
        over = [e for i, e in enumerate(extents) if i != axis]
        nest(over, lambda outer: store(outputs[0], search(outer), *outer), innermost="seq")
        return ()

    return emit


def _position_samples(name: str) -> Iterator[Sample]:
    rng = generator(name)
    for dtype in T.DTYPES.values():
        for shape, axis in (((3,), 0), ((2, 3), 0), ((2, 3), 1), ((2, 3, 4), 1), ((0, 3), 1)):
            yield Sample((smooth(rng, dtype, shape),), {"axis": axis})
        yield Sample((special(dtype),), {"axis": 0}, differentiable=False)
    nans = np.array([[1.0, np.nan, np.nan], [np.nan, 5.0, np.inf], [2.0, 2.0, 1.0]])
    yield Sample((nans,), {"axis": 1}, differentiable=False)


def _position(name: str, numpy: Callable[..., Any], better: s.ScalarOp) -> Primitive:
    return Primitive(
        name,
        infer=_infer_position,
        numpy=lambda eqn, x: (np.asarray(numpy(x, axis=eqn.attrs["axis"]), np.int64),),
        jvp=nondifferentiable,
        transpose=not_linear,
        batch=batch_along("axis"),
        total=lambda eqn: eqn.operands[0].array_type.is_static and 0 not in eqn.operands[0].dims,
        lower=[Kernel(_emit_position(better))],
        samples=lambda: _position_samples(name),
    )


ARGMIN = _position("argmin", np.argmin, s.lt)
ARGMAX = _position("argmax", np.argmax, s.gt)


def _comparable(x: Value) -> Value:
    return convert(x, T.f32) if x.dtype.is_half else x


def argmin(x: Value, axis: int) -> Value:
    """The position (i64) of the first least element along `axis`, or of the first NaN. The axis
    must not be empty."""
    (result,) = current().bind(ARGMIN, (_comparable(x),), {"axis": axis})
    return result


def argmax(x: Value, axis: int) -> Value:
    """The position (i64) of the first greatest element along `axis`, or of the first NaN. The axis
    must not be empty."""
    (result,) = current().bind(ARGMAX, (_comparable(x),), {"axis": axis})
    return result
