"""Indexing by arrays: `gather`, `scatter`, and compaction by a mask, `compress`.

    %y = gather %x, %i, %j {axes=(0, 2)}                  y[s, b] = x[i[s], b, j[s]]
    %z = scatter %x, %v, %i {axes=(0,), mode="add"}       z = x, then z[i[s]] += v[s] for each s
    %k, %a, %b = compress %mask, %u, %v {}                a = u[mask], b = v[mask], %k their extent

The index arrays are i64, of one shape S, and in bounds: the frontend checks them before. Indexed
axes give way to S, which comes first. `scatter` visits S in C order: with "set", the last write
wins.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from jitnet.ir import (
    ArrayType,
    Attrs,
    Dim,
    Eqn,
    Function,
    Literal,
    ResultDim,
    Type,
    TypeRuleError,
    Value,
    as_dim,
    as_value,
    current,
    index,
)
from jitnet.ir import types as T
from jitnet.ir.facts import COUNT, SAME_ELEMENTS
from jitnet.kernel import indices as ix
from jitnet.kernel import scalars as s
from jitnet.kernel.statements import branch, load, loop, store
from jitnet.ops import index_batches
from jitnet.ops.create import empty, iota
from jitnet.ops.lift import accumulate, mul, select
from jitnet.ops.loops import nest
from jitnet.ops.pairs import each_half, side_by_side
from jitnet.ops.pointwise import eq
from jitnet.ops.primitive import (
    Context,
    Element,
    JvpTransform,
    Kernel,
    Linear,
    Primitive,
    Sample,
    Tangents,
    TransposeTransform,
    as_array,
    never,
    not_linear,
)
from jitnet.ops.samples import generator, smooth
from jitnet.ops.shape import array_of, broadcast, linear_type, moves_data, reshape, zeros_like
from jitnet.ops.slicing import scalar_operand

Index = tuple[Any, ...]

# -- what gather and scatter share -----------------------------------------------------------------


def _picked_dims(
    op: str, x: ArrayType, indices: Sequence[Value], axes: Sequence[int]
) -> tuple[Dim, ...]:
    """The dims of the elements that index arrays pick: theirs, then x's other ones."""
    if not axes or len(axes) != len(indices):
        raise TypeRuleError(f"{op}: {len(indices)} index arrays for axes {axes}")
    if len(set(axes)) != len(axes) or any(not 0 <= a < x.rank for a in axes):
        raise TypeRuleError(f"{op}: axes {axes} of {x}: each once, in range")
    for i in indices:
        if array_of(op, i).dtype != T.i64 or i.dims != indices[0].dims:
            raise TypeRuleError(f"{op}: index arrays must be i64 of one shape, not {i.type}")
    return indices[0].dims + tuple(d for a, d in enumerate(x.dims) if a not in axes)


def _numpy_index(x: np.ndarray[Any, Any], indices: Sequence[Any], axes: Sequence[int]) -> Index:
    """NumPy's index of an array whose indexed axes have been moved to the front.

    Raises:
        IndexError: where one is out of bounds; negative ones are.
    """
    for i, axis in zip(indices, axes):
        bad = np.asarray(i)[(np.asarray(i) < 0) | (np.asarray(i) >= x.shape[axis])]
        if bad.size:
            raise IndexError(f"index {bad[0]} of axis {axis} with size {x.shape[axis]}")
    return tuple(np.asarray(i) for i in indices)


def _in_front(x: np.ndarray[Any, Any], axes: Sequence[int]) -> np.ndarray[Any, Any]:
    """A view with the indexed axes in front, in the order of the index arrays."""
    return np.moveaxis(x, axes, range(len(axes)))


def _element(
    axes: Sequence[int], rank: int, picked: Sequence[Value], others: Sequence[Value]
) -> list[Value]:
    """The index in x of an element, from its indices along `axes` and along the other axes."""
    rest = iter(others)
    by_axis = dict(zip(axes, picked))
    return [by_axis[a] if a in by_axis else next(rest) for a in range(rank)]


# -- gather ----------------------------------------------------------------------------------------


def _infer_gather(
    operands: Sequence[Value], attrs: Attrs, regions: Sequence[Function]
) -> tuple[Type, ...]:
    x = array_of("gather", operands[0])
    return (x.with_dims(_picked_dims("gather", x, operands[1:], attrs["axes"])),)


def _numpy_gather(eqn: Eqn, x: Any, *indices: Any) -> tuple[Any, ...]:
    axes = eqn.attrs["axes"]
    at = _numpy_index(as_array(x), indices, axes)
    return (_in_front(as_array(x), axes)[at][()].copy(),)


def _emit_gather(context: Context, eqn: Eqn, at: Sequence[Value]) -> Value:
    x, first = eqn.operands[:2]
    here, others = at[: first.rank], at[first.rank :]
    picked = [
        context.load(k, here) if first.rank else scalar_operand(context, eqn, k)
        for k in range(1, len(eqn.operands))
    ]
    return context.load(0, _element(eqn.attrs["axes"], x.rank, picked, others))


def _transpose_gather(
    eqn: Eqn,
    operands: Sequence[Value | Linear],
    cotangents: Tangents,
    accumulators: Sequence[Value | None],
    transpose: TransposeTransform,
) -> Sequence[Value | None]:
    """The cotangent is added to the picked elements of the accumulator, in place."""
    (ct,) = cotangents
    if ct is None:
        return accumulators
    total = accumulators[0]
    if total is None:
        total = zeros_like(linear_type(operands[0]))
    indices = _indices(operands[1:])
    return [scatter(total, ct, indices, eqn.attrs["axes"], "add"), *accumulators[1:]]


def _indices(operands: Sequence[Value | Linear]) -> list[Value]:
    return [v for v in operands if isinstance(v, Value)]


_PICKS: list[tuple[tuple[int, ...], tuple[int, ...], list[Any]]] = [
    ((5,), (0,), [[0, 4, 2, 2]]),
    ((5,), (0,), [3]),
    ((3, 4), (0,), [[[0, 2], [2, 1]]]),
    ((3, 4), (1,), [[3, 0]]),
    ((3, 4), (0, 1), [[0, 2, 0], [1, 3, 1]]),
    ((2, 3, 4), (2, 0), [[3, 0], [1, 1]]),
    ((2, 3), (1,), [[]]),
]


def _picks() -> Iterator[tuple[tuple[int, ...], tuple[int, ...], list[Any]]]:
    for shape, axes, indices in _PICKS:
        yield shape, axes, [np.array(i, np.int64)[()] for i in indices]


def _gather_samples() -> Iterator[Sample]:
    rng = generator("gather")
    for shape, axes, indices in _picks():
        yield Sample((smooth(rng, T.f64, shape), *indices), {"axes": axes})
    yield Sample((smooth(rng, T.u8, (4,)), np.array([1, 3])), {"axes": (0,)})


GATHER = Primitive(
    "gather",
    infer=_infer_gather,
    numpy=_numpy_gather,
    jvp=moves_data,
    transpose=_transpose_gather,
    batch=index_batches.batch_gather,
    total=never,
    lower=[Element(_emit_gather)],
    samples=_gather_samples,
    pairs=each_half,
    facts=SAME_ELEMENTS,
)


def gather(x: Value, indices: Sequence[Value], axes: Sequence[int]) -> Value:
    """The elements of x at `indices` (i64 arrays of one shape S, in bounds) along `axes`: dims are
    S, then x's other ones in order."""
    (result,) = current().bind(GATHER, (x, *indices), {"axes": tuple(axes)})
    return result


# -- scatter ---------------------------------------------------------------------------------------


def _infer_scatter(
    operands: Sequence[Value], attrs: Attrs, regions: Sequence[Function]
) -> tuple[Type, ...]:
    base, value = array_of("scatter", operands[0]), array_of("scatter", operands[1])
    dims = _picked_dims("scatter", base, operands[2:], attrs["axes"])
    if value != ArrayType(base.dtype, dims):
        raise TypeRuleError(f"scatter into {base} takes {ArrayType(base.dtype, dims)}, not {value}")
    if attrs["mode"] not in ("set", "add"):
        raise TypeRuleError(f'scatter: mode "set" or "add", not {attrs["mode"]!r}')
    return (base,)


def _numpy_scatter(eqn: Eqn, base: Any, value: Any, *indices: Any) -> tuple[Any, ...]:
    axes, result = eqn.attrs["axes"], np.array(base)
    at = _numpy_index(result, indices, axes)
    if eqn.attrs["mode"] == "add":
        np.add.at(_in_front(result, axes), at, value)
    else:
        for one in np.ndindex(at[0].shape):
            _in_front(result, axes)[tuple(i[one] for i in at)] = np.asarray(value)[one]
    return (result,)


def _emit_scatter(
    context: Context, eqn: Eqn, inputs: Sequence[Value], outputs: Sequence[Value]
) -> Sequence[Value]:
    """The output holds the base already. Writes go in C order of the index arrays; the other axes
    of one write are apart from each other."""
    base, value, first = eqn.operands[:3]
    (out,), axes = outputs, eqn.attrs["axes"]
    extents = [context.dim(d) for d in value.dims]

    def write(picked: Sequence[Value], here: Sequence[Value], others: Sequence[Value]) -> None:
        to = _element(axes, base.rank, picked, others)
        at = (*here, *others)
        v = context.load(1, at) if value.rank else scalar_operand(context, eqn, 1)
        store(out, _sum(load(out, *to), v) if eqn.attrs["mode"] == "add" else v, *to)

    def visit(here: tuple[Value, ...]) -> None:
        picked = [
            context.load(k, here) if first.rank else scalar_operand(context, eqn, k)
            for k in range(2, len(eqn.operands))
        ]
        rest = extents[first.rank :]
        nest(rest, lambda others: write(picked, here, others))

    nest(extents[: first.rank], visit, innermost="seq")
    return ()


def _sum(x: Value, y: Value) -> Value:
    return s.bitwise_or(x, y) if x.dtype.is_bool else s.add(x, y)


def _transpose_scatter(
    eqn: Eqn,
    operands: Sequence[Value | Linear],
    cotangents: Tangents,
    accumulators: Sequence[Value | None],
    transpose: TransposeTransform,
) -> Sequence[Value | None]:
    """With "add" everything passes on. With "set" the base loses what was overwritten, and of
    several writes to one element the last has all."""
    (ct,), axes = cotangents, eqn.attrs["axes"]
    if ct is None:
        return accumulators
    (base, value, *_), (ct_base, ct_value, *rest) = operands, accumulators
    indices, type = _indices(operands[2:]), linear_type(value)
    overwrites = eqn.attrs["mode"] == "set"
    if isinstance(value, Linear):
        picked = gather(ct, indices, axes)
        if overwrites:
            picked = _only_last(picked, linear_type(base), indices, axes)
        ct_value = accumulate(ct_value, picked)
    if isinstance(base, Linear):
        left = scatter(ct, zeros_like(type), indices, axes, "set") if overwrites else ct
        ct_base = accumulate(ct_base, left)
    return [ct_base, ct_value, *rest]


def _only_last(
    picked: Value, base: ArrayType, indices: Sequence[Value], axes: Sequence[int]
) -> Value:
    """`picked`, with 0 where a later write goes to the same element. The writes are numbered; what
    is left after all of them have written their number is the last one's. No other elements are
    read, so what they are does not matter."""
    dims = indices[0].dims
    if all(d == 1 for d in dims):
        return picked
    number = _numbers(dims)
    over = range(len(axes))
    owner = scatter(empty([base.dims[a] for a in axes], T.i64), number, indices, over, "set")
    wins = eq(gather(owner, indices, over), number)
    return select(broadcast(wins, picked.dims, range(len(dims))), picked, 0.0)


def _numbers(dims: Sequence[Dim]) -> Value:
    """Each element's own number in C order, i64."""
    size: Dim = 1
    for d in dims:
        size = as_dim(mul(as_value(size), as_value(d)))
    return reshape(iota([size]), dims)


def _scatter_samples() -> Iterator[Sample]:
    rng = generator("scatter")
    for mode in ("set", "add"):
        for shape, axes, indices in _picks():
            base = smooth(rng, T.f64, shape)
            picked = _in_front(base, axes)[tuple(indices)]
            value = smooth(rng, T.f64, picked.shape)
            yield Sample((base, value, *indices), {"axes": axes, "mode": mode})
        for dtype in (T.i32, T.bool_):
            base, value = smooth(rng, dtype, (4,)), smooth(rng, dtype, (3,))
            attrs = {"axes": (0,), "mode": mode}
            yield Sample((base, value, np.array([1, 3, 1])), attrs)


SCATTER = Primitive(
    "scatter",
    infer=_infer_scatter,
    numpy=_numpy_scatter,
    jvp=moves_data,
    transpose=_transpose_scatter,
    batch=index_batches.batch_scatter,
    total=never,
    lower=[Kernel(_emit_scatter, elementwise=True)],
    samples=_scatter_samples,
    writes=0,
)


def scatter(
    base: Value, value: Value, indices: Sequence[Value], axes: Sequence[int], mode: str = "set"
) -> Value:
    """`base` with the elements at `indices` (i64 arrays of one shape S, in bounds) along `axes`
    replaced by `value`, or with `value` added to them. Its dims are S, then base's other ones."""
    attrs = {"axes": tuple(axes), "mode": mode}
    (result,) = current().bind(SCATTER, (base, value, *indices), attrs)
    return result


# -- compress --------------------------------------------------------------------------------------


def _infer_compress(
    operands: Sequence[Value], attrs: Attrs, regions: Sequence[Function]
) -> tuple[Type, ...]:
    mask, *xs = (array_of("compress", v) for v in operands)
    if mask.rank != 1 or not mask.dtype.is_bool:
        raise TypeRuleError(f"compress: the mask is a bool vector, not {mask}")
    for x in xs:
        if x.dims[:1] != mask.dims:
            raise TypeRuleError(f"compress: {x} does not have the mask's extent {mask.dims[0]}")
    k = ResultDim(0)
    return (T.scalar(T.i64), *(x.with_dims((k, *x.dims[1:])) for x in xs))


def _numpy_compress(eqn: Eqn, mask: Any, *xs: Any) -> tuple[Any, ...]:
    return (np.int64(np.count_nonzero(mask)), *(x[mask] for x in xs))


def _emit_compress(
    context: Context, eqn: Eqn, inputs: Sequence[Value], outputs: Sequence[Value]
) -> Sequence[Value]:
    """One pass that counts. An element of a vector, or a short row, is stored at the count whether
    it stays or not: the next one overwrites it, and no branch is mispredicted. Other rows are
    copied behind a branch. Blocks of which all or none stay, as most do of masks in practice, are
    copied as a whole or skipped."""
    xs = eqn.operands[1:]
    short = {k: at for k, x in enumerate(xs) if (at := _short_row(x))}
    stacks = [k for k in range(len(xs)) if k not in short]

    def copy_short(k: int, i: Value, count: Value) -> None:
        for at in short[k]:
            store(outputs[k], context.load(1 + k, (i, *at)), count, *at)

    def visit(i: Value, count: Value) -> Sequence[Value]:
        stays = context.load(0, (i,))
        for k in short:
            copy_short(k, i, count)
        if stacks:
            branch(stays, lambda: copy_rows(i, count))
        return (s.add(count, s.cast(stays, T.i64)),)

    def copy_rows(i: Value, count: Value) -> None:
        for k in stacks:
            extents = [context.dim(d) for d in xs[k].dims[1:]]

            def write(at: tuple[Value, ...], k: int = k) -> None:
                store(outputs[k], context.load(1 + k, (i, *at)), count, *at)

            nest(extents, write)

    def block(b: Value, count: Value) -> Sequence[Value]:
        start = ix.multiply(b, index(_BLOCK))
        (stay,) = loop(  # in bytes, as the mask is: a block is one vector
            0,
            _BLOCK,
            lambda v, n: (s.add(n, s.cast(context.load(0, (s.add(start, v),)), T.i8)),),
            (Literal(0, T.i8),),
            kind="vector",
            combine=("add",),
        )
        number = s.cast(stay, T.i64)

        def whole() -> Sequence[Value]:
            for k in short:

                def copy(v: Value, k: int = k) -> None:
                    copy_short(k, s.add(start, v), s.add(count, v))

                loop(0, _BLOCK, copy, kind="vector")
            return (s.add(count, number),)

        def mixed() -> Sequence[Value]:
            return loop(0, _BLOCK, lambda v, n: visit(s.add(start, v), n), (count,))

        def some() -> Sequence[Value]:
            return branch(s.eq(number, index(_BLOCK)), whole, mixed)

        return branch(s.eq(number, ix.ZERO), lambda: (count,), some)

    extent = context.dim(eqn.operands[0].dims[0])
    if stacks or not short or (isinstance(extent, Literal) and extent.item < 4 * _BLOCK):
        return loop(0, extent, visit, (ix.ZERO,))
    blocks = ix.quotient(extent, index(_BLOCK))
    counted = loop(0, blocks, block, (ix.ZERO,))
    return loop(ix.multiply(blocks, index(_BLOCK)), extent, visit, counted)


_BLOCK = 16
_SHORT = 4


def _short_row(x: Value) -> list[tuple[Value, ...]]:
    """The indices of the elements of a row, where those are few; none if they are not."""
    row = x.dims[1:]
    known = [d for d in row if isinstance(d, int)]
    if len(known) < len(row) or not 0 < math.prod(known) <= _SHORT:
        return []
    return [tuple(map(index, at)) for at in np.ndindex(*known)]


def _bound_compress(eqn: Eqn) -> Sequence[tuple[Dim, ...]]:
    return [x.dims for x in eqn.operands[1:]]


def _jvp_compress(
    eqn: Eqn, primals: Sequence[Value], tangents: Tangents, jvp: JvpTransform
) -> tuple[Sequence[Value], Tangents]:
    """The tangents are gathered from the positions that stay. Compressing them instead would bind
    an extent of their own, and make the one equation both linear and not."""
    if all(t is None for t in tangents):
        results = current().rebind(eqn, primals)
        return results, [None] * len(results)
    mask = primals[0]
    *kept, positions = current().rebind(eqn, (*primals, iota(mask.dims)))
    moved = [None if t is None else gather(t, [positions], (0,)) for t in tangents[1:]]
    return kept, [None, *moved]


def _compress_samples() -> Iterator[Sample]:
    rng = generator("compress")
    mask = np.array([True, False, True, True])
    vector, stack = smooth(rng, T.f64, (4,)), smooth(rng, T.f64, (4, 3))
    yield Sample((mask,), {})
    yield Sample((mask, vector), {})
    yield Sample((mask, stack, smooth(rng, T.i32, (4,)), vector), {})
    yield Sample((~mask, stack[:, :0]), {})
    yield Sample((np.zeros(4, np.bool_), vector), {})
    yield Sample((np.zeros(0, np.bool_), vector[:0]), {})


COMPRESS = Primitive(
    "compress",
    infer=_infer_compress,
    numpy=_numpy_compress,
    jvp=_jvp_compress,
    transpose=not_linear,
    batch=index_batches.batch_compress,
    lower=[Kernel(_emit_compress, bound=_bound_compress, elementwise=True)],
    samples=_compress_samples,
    pairs=side_by_side,
    facts=COUNT,
)


def compress(mask: Value, xs: Sequence[Value]) -> tuple[Value, ...]:
    """How many elements of a bool vector are True, i64, and the elements of each of `xs` there."""
    return current().bind(COMPRESS, (mask, *xs))
