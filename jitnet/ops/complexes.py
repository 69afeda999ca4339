"""Complex numbers: what makes them and takes them apart, and how every op computes on pairs.

    %z = complex %re, %im {}            // c128[3] from f64[3], f64[3]
    %x = real %z {}                     // and imag, conj
    %w = mul %z, complex(0.0, 1.0):c128 {}

No backend has complex numbers: `passes.pairs` puts two real values in place of each, by the rules
that ops carry. Those of the pointwise ops and of folds are given to them here, for they are made of
these ops themselves. An op that gets none does not take complex operands.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from jitnet.ir import (
    ArrayType,
    Attrs,
    DType,
    Eqn,
    Function,
    Literal,
    Type,
    TypeRuleError,
    Value,
    as_dim,
    as_value,
    current,
)
from jitnet.ir import types as T
from jitnet.kernel import indices as ix
from jitnet.kernel.statements import store
from jitnet.ops import complex_functions as c
from jitnet.ops import pointwise as p
from jitnet.ops.control import for_
from jitnet.ops.create import CONST, EMPTY, IOTA, const, empty, iota
from jitnet.ops.index import SCATTER
from jitnet.ops.lanes import batch_together
from jitnet.ops.lift import OnPairs, Pointwise, accumulate, add, mul, neg, select, sub, zmul
from jitnet.ops.loops import nest
from jitnet.ops.pairs import Split, each_half, flat, pair
from jitnet.ops.primitive import (
    Context,
    Kernel,
    Linear,
    Pair,
    Paired,
    Primitive,
    Sample,
    Structured,
    Tangents,
    TransposeTransform,
    not_linear,
)
from jitnet.ops.reduce import (
    ARGMAX,
    ARGMIN,
    REDUCE_MAX,
    REDUCE_MIN,
    REDUCE_PROD,
    argmax,
    reduce_any,
    reduce_max,
    reduce_min,
)
from jitnet.ops.samples import SHAPES, generator, smooth
from jitnet.ops.scan import CUMPROD
from jitnet.ops.shape import RESHAPE, broadcast, full, moves_data, reshape, transpose
from jitnet.ops.slicing import UPDATE, slice, update

# -- making and taking apart -----------------------------------------------------------------------


def _require_complex(op: str, v: Value) -> ArrayType:
    if not isinstance(v.type, ArrayType) or not v.dtype.is_complex:
        raise TypeRuleError(f"{op} takes complex numbers, not {v.type}")
    return v.type


def _infer_complex(
    operands: Sequence[Value], attrs: Attrs, regions: Sequence[Function]
) -> tuple[Type, ...]:
    re, im = operands
    if re.type != im.type or not re.dtype.is_float:
        raise TypeRuleError(f"complex of {re.type} and {im.type}: floats of one type")
    return (re.array_type.with_dtype(complex_of(re.dtype)),)


def complex_of(dtype: DType) -> DType:
    """The complex dtype whose halves have this dtype."""
    return {T.f32: T.c64, T.f64: T.c128}[dtype]


def _infer_half(
    operands: Sequence[Value], attrs: Attrs, regions: Sequence[Function]
) -> tuple[Type, ...]:
    type = _require_complex("real and imag", operands[0])
    return (type.with_dtype(type.dtype.half),)


def _infer_conj(
    operands: Sequence[Value], attrs: Attrs, regions: Sequence[Function]
) -> tuple[Type, ...]:
    return (_require_complex("conj", operands[0]),)


def _numpy_complex(eqn: Eqn, re: Any, im: Any) -> tuple[Any, ...]:
    halves = np.stack([re, im], axis=-1)
    return (halves.view(eqn.result.dtype.numpy)[..., 0][()],)


def _complex_samples() -> Iterator[Sample]:
    rng = generator("complex")
    for shape in SHAPES:
        halves = (smooth(rng, T.f64, shape), smooth(rng, T.f64, shape))
        yield Sample(halves, {}, differentiable=False)


def _half_samples() -> Iterator[Sample]:
    rng = generator("halves")
    for dtype in (T.c64, T.c128):
        for shape in SHAPES:
            re, im = (smooth(rng, dtype.half, shape) for _ in range(2))
            z = np.stack([re, im], axis=-1).view(dtype.numpy)[..., 0]
            yield Sample((z[()],), {}, differentiable=False)


COMPLEX = Primitive(
    "complex",
    infer=_infer_complex,
    numpy=_numpy_complex,
    jvp=moves_data,
    transpose=not_linear,
    batch=batch_together,
    lower=[Structured()],
    samples=_complex_samples,
    pairs=lambda eqn, operands, split: (Pair(*operands),),  # type: ignore[arg-type]
)
REAL = Primitive(
    "real",
    infer=_infer_half,
    numpy=lambda eqn, z: (z.real.copy(),),
    jvp=moves_data,
    transpose=not_linear,
    batch=batch_together,
    lower=[Structured()],
    samples=_half_samples,
    pairs=lambda eqn, operands, split: (pair(operands[0]).re,),
)
IMAG = Primitive(
    "imag",
    infer=_infer_half,
    numpy=lambda eqn, z: (z.imag.copy(),),
    jvp=moves_data,
    transpose=not_linear,
    batch=batch_together,
    lower=[Structured()],
    samples=_half_samples,
    pairs=lambda eqn, operands, split: (pair(operands[0]).im,),
)
CONJ = Primitive(
    "conj",
    infer=_infer_conj,
    numpy=lambda eqn, z: (np.conjugate(z),),
    jvp=moves_data,
    transpose=not_linear,
    batch=batch_together,
    lower=[Structured()],
    samples=_half_samples,
    pairs=lambda eqn, operands, split: (_conjugate(pair(operands[0])),),
)


def _conjugate(z: Pair) -> Pair:
    return Pair(z.re, neg(z.im))


def complex(re: Value, im: Value) -> Value:
    """Complex numbers from their real and imaginary parts, floats of one type."""
    if isinstance(re, Literal) and isinstance(im, Literal):
        dtype = complex_of(re.dtype)
        return Literal(np.array([re.data, im.data]).view(dtype.numpy)[0], dtype)
    (result,) = current().bind(COMPLEX, (re, im))
    return result


def real(z: Value) -> Value:
    """The real parts; of real numbers, the numbers themselves."""
    return _half_of(z, REAL) if z.dtype.is_complex else z


def imag(z: Value) -> Value:
    """The imaginary parts; 0 of real numbers."""
    return _half_of(z, IMAG) if z.dtype.is_complex else full(Literal(0, z.dtype), z.dims)


def _half_of(z: Value, op: Primitive) -> Value:
    if isinstance(z, Literal):
        return Literal(z.data.real if op is REAL else z.data.imag, z.dtype.half)
    (result,) = current().bind(op, (z,))
    return result


def conj(z: Value) -> Value:
    """The complex conjugates; real numbers are their own."""
    if not z.dtype.is_complex:
        return z
    if isinstance(z, Literal):
        return Literal(np.conjugate(z.data), z.dtype)
    (result,) = current().bind(CONJ, (z,))
    return result


def angle(z: Value) -> Value:
    """The angles of complex numbers, in (-pi, pi]."""
    return p.arctan2(imag(z), real(z))


# -- halves in memory ------------------------------------------------------------------------------


def _infer_interleave(
    operands: Sequence[Value], attrs: Attrs, regions: Sequence[Function]
) -> tuple[Type, ...]:
    re, im = operands
    if re.type != im.type or not isinstance(re.type, ArrayType):
        raise TypeRuleError(f"interleave of {re.type} and {im.type}: arrays of one type")
    return (re.array_type.with_dims((*re.dims, 2)),)


def _emit_interleave(
    context: Context, eqn: Eqn, inputs: Sequence[Value], outputs: Sequence[Value]
) -> Sequence[Value]:
    def write(at: tuple[Value, ...]) -> None:
        for k, v in enumerate(eqn.operands):
            element = v if isinstance(v, Literal) else context.load(k, at)
            store(outputs[0], element, *at, (ix.ZERO, ix.ONE)[k])

    nest([context.dim(d) for d in eqn.operands[0].dims], write)
    return ()


def _transpose_interleave(
    eqn: Eqn,
    operands: Sequence[Value | Linear],
    cotangents: Tangents,
    accumulators: Sequence[Value | None],
    transpose: TransposeTransform,
) -> Sequence[Value | None]:
    (ct,) = cotangents
    if ct is None:
        return accumulators
    halves = zip(operands, accumulators, taken_apart(ct))
    return [accumulate(a, h) if isinstance(x, Linear) else None for x, a, h in halves]


def _interleave_samples() -> Iterator[Sample]:
    rng = generator("interleave")
    for shape in SHAPES:
        yield Sample((smooth(rng, T.f64, shape), smooth(rng, T.f64, shape)), {})


INTERLEAVE = Primitive(
    "interleave",
    infer=_infer_interleave,
    numpy=lambda eqn, re, im: (np.stack([re, im], axis=-1),),
    jvp=moves_data,
    transpose=_transpose_interleave,
    batch=batch_together,
    lower=[Kernel(_emit_interleave)],
    samples=_interleave_samples,
)


def interleave(re: Value, im: Value) -> Value:
    """Two arrays as one with a last axis of extent 2: complex numbers as they lie in memory."""
    (result,) = current().bind(INTERLEAVE, (re, im))
    return result


def taken_apart(x: Value) -> Pair:
    """The two halves of an array whose last axis has extent 2."""
    dims = x.dims[:-1]

    def half(k: int) -> Value:
        return reshape(slice(x, [*[0] * len(dims), k], [*dims, 1]), dims)

    return Pair(half(0), half(1), x)


def _pairs_update(eqn: Eqn, operands: Sequence[Paired], split: Split) -> Sequence[Paired]:
    """Of an array whose halves lie side by side, that array is updated: one that is the program's
    own or an argument can be overwritten. An element's halves are stored one after the other."""
    base, value, *starts = operands
    whole, halves = pair(base).whole, pair(value)
    if whole is None or whole.rank == 1:
        return each_half(eqn, operands, split)
    at, steps = list(flat(starts)), (*eqn.attrs["steps"], 1)
    if any(d != 1 for d in halves.re.dims):
        return (taken_apart(update(whole, interleave(*halves), [*at, 0], steps)),)
    for k, half in enumerate(halves):
        whole = update(whole, reshape(half, (*half.dims, 1)), [*at, k], steps)
    return (taken_apart(whole),)


def _pairs_reshape(eqn: Eqn, operands: Sequence[Paired], split: Split) -> Sequence[Paired]:
    """What lies in memory with its halves side by side does so under other extents, too, and can be
    updated as such; it is read by its halves."""
    whole = operands[0].whole if isinstance(operands[0], Pair) else None
    halves = each_half(eqn, operands, split)
    if whole is None or whole.rank == 1 or not eqn.result.rank:
        return halves
    dims = [*map(as_dim, flat(operands[1:])), 2]
    return [Pair(h.re, h.im, reshape(whole, dims)) for h in map(pair, halves)]


def _pairs_scatter(eqn: Eqn, operands: Sequence[Paired], split: Split) -> Sequence[Paired]:
    """As updates."""
    base, value, *indices = operands
    whole = pair(base).whole
    if whole is None:
        return each_half(eqn, operands, split)
    placed = [whole, interleave(*pair(value)), *flat(indices)]
    (found,) = current().bind(SCATTER, placed, eqn.attrs)
    return (taken_apart(found),)


# -- ops with a dtype of their own -----------------------------------------------------------------


def _pairs_convert(eqn: Eqn, operands: Sequence[Paired], split: Split) -> Sequence[Paired]:
    (x,), dtype = operands, eqn.attrs["dtype"]
    if not isinstance(x, Pair):
        re = p.convert(x, dtype.half)
        return (Pair(re, full(Literal(0, dtype.half), re.dims)),)
    if dtype.is_complex:
        return (Pair(p.convert(x.re, dtype.half), p.convert(x.im, dtype.half)),)
    if dtype.is_bool:
        return (p.bitwise_or(p.ne(x.re, 0.0), p.ne(x.im, 0.0)),)
    return (p.convert(x.re, dtype),)


def _pairs_iota(eqn: Eqn, operands: Sequence[Paired], split: Split) -> Sequence[Paired]:
    half = eqn.attrs["dtype"].half
    dims = [as_dim(v) for v in operands if isinstance(v, Value)]
    counts = iota(dims, eqn.attrs["axis"], half)
    return (Pair(counts, full(Literal(0, half), counts.dims)),)


def _pairs_empty(eqn: Eqn, operands: Sequence[Paired], split: Split) -> Sequence[Paired]:
    half = eqn.attrs["dtype"].half
    dims = [as_dim(v) for v in operands if isinstance(v, Value)]
    return (Pair(empty(dims, half), empty(dims, half)),)


def _pairs_const(eqn: Eqn, operands: Sequence[Paired], split: Split) -> Sequence[Paired]:
    array = eqn.attrs["data"].array
    return (Pair(const(array.real), const(array.imag)),)


# -- folds -----------------------------------------------------------------------------------------


def _in_front(v: Value, axes: Sequence[int]) -> Value:
    """v with these axes as one, the first."""
    kept = [a for a in range(v.rank) if a not in axes]
    moved = transpose(v, (*axes, *kept))
    if len(axes) == 1:
        return moved
    size = as_value(1)
    for a in axes:
        size = mul(size, as_value(v.dims[a]))
    return reshape(moved, (as_dim(size), *(v.dims[a] for a in kept)))


def _run_product(x: Pair, reverse: bool, each: bool, exclusive: bool) -> tuple[Value, ...]:
    """The product along the first axis, in its order; with `each`, the running products too."""
    dims = x.re.dims[1:]

    def step(
        i: Value, consts: Sequence[Value], carries: Sequence[Value], rows: Sequence[Value]
    ) -> tuple[Sequence[Value], Sequence[Value]]:
        so_far = Pair(*carries)
        following = c.product(so_far, Pair(*rows))
        shown = so_far if exclusive else following
        return (*following,), (*shown,) if each else ()

    one, zero = (full(Literal(n, x.re.dtype), dims) for n in (1, 0))
    extents = tuple(dict.fromkeys(d for d in dims if not isinstance(d, int)))
    return for_(as_value(x.re.dims[0]), step, extents, (one, zero), (*x,), reverse=reverse)


def _pairs_prod(eqn: Eqn, operands: Sequence[Paired], split: Split) -> Sequence[Paired]:
    x, axes = pair(operands[0]), eqn.attrs["axes"]
    if not axes:
        return (x,)
    moved = Pair(_in_front(x.re, axes), _in_front(x.im, axes))
    return (Pair(*_run_product(moved, False, False, False)),)


def _pairs_cumprod(eqn: Eqn, operands: Sequence[Paired], split: Split) -> Sequence[Paired]:
    x, axis = pair(operands[0]), eqn.attrs["axis"]
    rank = x.re.rank
    to_front = (axis, *(a for a in range(rank) if a != axis))
    back = [to_front.index(a) for a in range(rank)]
    moved = Pair(transpose(x.re, to_front), transpose(x.im, to_front))
    *_, re, im = _run_product(moved, eqn.attrs["reverse"], True, eqn.attrs["exclusive"])
    return (Pair(transpose(re, back), transpose(im, back)),)


class _Extremum:
    """The greatest or the least of complex numbers, which come in the order of their real parts
    first: where the real part is the extreme one, the extreme imaginary part."""

    def __init__(self, x: Pair, axes: Sequence[int], greatest: bool) -> None:
        self.x, self.axes = x, tuple(axes)
        self.nan = c.is_nan(x)
        least = c.lit(-np.inf if greatest else np.inf, x.re)
        fold = reduce_max if greatest else reduce_min
        self.re = fold(select(self.nan, least, x.re), axes)
        first = p.bitwise_and(p.eq(x.re, self.over(self.re)), p.logical_not(self.nan))
        self.im = fold(select(first, x.im, least), axes)
        self.hit = p.bitwise_and(first, p.eq(x.im, self.over(self.im)))
        self.any_nan = reduce_any(self.nan, axes)

    def over(self, v: Value) -> Value:
        """A reduced value over all elements again."""
        dims = self.x.re.dims
        return broadcast(v, dims, [a for a in range(len(dims)) if a not in self.axes])


def _pairs_extremum(greatest: bool) -> Callable[..., Sequence[Paired]]:
    def rule(eqn: Eqn, operands: Sequence[Paired], split: Split) -> Sequence[Paired]:
        found = _Extremum(pair(operands[0]), eqn.attrs["axes"], greatest)
        nan = c.lit(np.nan, found.re)
        halves = (select(found.any_nan, nan, v) for v in (found.re, found.im))
        return (Pair(*halves),)

    return rule


def _pairs_position(greatest: bool) -> Callable[..., Sequence[Paired]]:
    """The first NaN, or else the first extremum."""

    def rule(eqn: Eqn, operands: Sequence[Paired], split: Split) -> Sequence[Paired]:
        axis = eqn.attrs["axis"]
        found = _Extremum(pair(operands[0]), (axis,), greatest)
        return (argmax(select(found.over(found.any_nan), found.nan, found.hit), axis),)

    return rule


# -- the rules, given to their ops -----------------------------------------------------------------

ON_PAIRS: dict[Pointwise, OnPairs] = {
    add: OnPairs(c.plus),
    sub: OnPairs(c.minus),
    neg: OnPairs(c.negative),
    mul: OnPairs(c.product, numpy=operator.mul),
    zmul: OnPairs(c.strong_product),
    p.div: OnPairs(c.quotient),
    p.pow: OnPairs(c.power),
    p.square: OnPairs(c.square),
    p.reciprocal: OnPairs(c.reciprocal, numpy=np.reciprocal),
    p.abs: OnPairs(c.absolute, "real", numpy=operator.abs),
    p.sign: OnPairs(c.sign),
    p.rint: OnPairs(c.rint),
    p.maximum: OnPairs(c.maximum),
    p.minimum: OnPairs(c.minimum),
    p.fmax: OnPairs(c.fmax),
    p.fmin: OnPairs(c.fmin),
    select: OnPairs(c.choice),
    p.eq: OnPairs(c.equal, "bool"),
    p.ne: OnPairs(c.not_equal, "bool"),
    p.lt: OnPairs(c.less, "bool"),
    p.le: OnPairs(c.less_equal, "bool"),
    p.gt: OnPairs(c.greater, "bool"),
    p.ge: OnPairs(c.greater_equal, "bool"),
    p.logical_not: OnPairs(c.is_zero, "bool"),
    p.isnan: OnPairs(c.is_nan, "bool"),
    p.isinf: OnPairs(c.is_inf, "bool"),
    p.isfinite: OnPairs(c.is_finite, "bool"),
    p.sqrt: OnPairs(c.sqrt),
    p.exp: OnPairs(c.exp),
    p.exp2: OnPairs(c.exp2),
    p.expm1: OnPairs(c.expm1),
    p.log: OnPairs(c.log),
    p.log2: OnPairs(c.log2),
    p.log10: OnPairs(c.log10),
    p.log1p: OnPairs(c.log1p),
    p.sin: OnPairs(c.sin),
    p.cos: OnPairs(c.cos),
    p.tan: OnPairs(c.tan),
    p.arcsin: OnPairs(c.arcsin),
    p.arccos: OnPairs(c.arccos),
    p.arctan: OnPairs(c.arctan),
    p.sinh: OnPairs(c.sinh),
    p.cosh: OnPairs(c.cosh),
    p.tanh: OnPairs(c.tanh),
    p.arcsinh: OnPairs(c.arcsinh),
    p.arccosh: OnPairs(c.arccosh),
    p.arctanh: OnPairs(c.arctanh),
}
RESHAPE.pairs = _pairs_reshape
UPDATE.pairs = _pairs_update
SCATTER.pairs = _pairs_scatter
for _op, _rule in ON_PAIRS.items():
    _op.on_pairs = _rule

p.CONVERT.pairs = _pairs_convert
IOTA.pairs = _pairs_iota
EMPTY.pairs = _pairs_empty
CONST.pairs = _pairs_const
REDUCE_PROD.pairs = _pairs_prod
REDUCE_MAX.pairs = _pairs_extremum(greatest=True)
REDUCE_MIN.pairs = _pairs_extremum(greatest=False)
ARGMAX.pairs = _pairs_position(greatest=True)
ARGMIN.pairs = _pairs_position(greatest=False)
CUMPROD.pairs = _pairs_cumprod
