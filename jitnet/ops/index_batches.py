"""Batching rules of indexing: a box or an element at another place in each lane.

    %y: f64[1] = slice %x, %i, 1    ->   %0: f64[8] = gather %x, %i {axes=(0,)}    // %i: i64[8]
                                         %y: f64[8, 1] = reshape %0, 8, 1

Where only the array is batched, the lanes are one more axis that is not indexed. Where the places
are, reading is a gather and writing is a scatter, of all lanes at once; the number of the lane is
one more index where the array is batched too.
"""

from __future__ import annotations

from collections.abc import Sequence

from jitnet.ir import Dim, Eqn, Value, as_dim, as_value, current, index
from jitnet.ir import types as T
from jitnet.ops.lanes import Batched, all_spread, behind, bound, moved, permuted, stretched
from jitnet.ops.primitive import BatchTransform


def _counted(dims: Sequence[Dim], axis: int) -> Value:
    return bound("iota", [as_value(d) for d in dims], {"axis": axis, "dtype": T.i64})


def _gather(x: Value, indices: Sequence[Value], axes: Sequence[int]) -> Value:
    return bound("gather", (x, *indices), {"axes": tuple(axes)})


def _reshaped(x: Value, dims: Sequence[Dim]) -> Value:
    return x if x.dims == tuple(dims) else bound("reshape", [x, *map(as_value, dims)], {})


# -- boxes -----------------------------------------------------------------------------------------


def batch_slice(
    eqn: Eqn,
    operands: Sequence[Value],
    batched: Sequence[bool],
    extent: Dim,
    batch: BatchTransform,
) -> Batched:
    """Along the axes where all lanes start at one place it stays a slice."""
    x, steps = operands[0], eqn.attrs["steps"]
    rank = len(steps)
    starts, sizes = operands[1 : 1 + rank], operands[1 + rank :]
    apart = [a for a in range(rank) if batched[1 + a]]
    if not apart:
        box = (x, index(0), *starts, as_value(extent), *sizes)
        return current().rebind(eqn, box, attrs={"steps": (1, *steps)}), [True]
    x = _along_others(x, starts, sizes, steps, apart)
    picked, dims = _places(starts, [as_dim(n) for n in sizes], steps, apart, batched[1:], extent)
    axes: Sequence[int] = apart
    if batched[0]:
        picked, axes = [_counted(dims, 0), *picked], (0, *behind(apart))
    part = _gather(x, picked, axes)
    others = [a for a in range(rank) if a not in apart]
    kept = len(dims) - 1
    where = {a: 1 + k for k, a in enumerate(apart[:kept])}
    where |= {a: 1 + kept + k for k, a in enumerate(others)}
    order = [0, *(where[a] for a in range(rank) if a in where)]
    return (_reshaped(permuted(part, order), (extent, *map(as_dim, sizes))),), [True]


def _along_others(
    x: Value,
    starts: Sequence[Value],
    sizes: Sequence[Value],
    steps: Sequence[int],
    apart: Sequence[int],
) -> Value:
    """The box of x, whole along the axes `apart`, and along an axis of lanes in front."""
    lanes = x.rank - len(steps)
    others = [a for a in range(len(steps)) if a not in apart]
    whole = [
        starts[a] == index(0) and as_dim(sizes[a]) == x.dims[lanes + a] and steps[a] == 1
        for a in others
    ]
    if all(whole):
        return x
    first, extents = [as_value(0)] * x.rank, [as_value(d) for d in x.dims]
    strides = [1] * x.rank
    for a in others:
        first[lanes + a], extents[lanes + a] = starts[a], sizes[a]
        strides[lanes + a] = steps[a]
    return bound("slice", (x, *first, *extents), {"steps": tuple(strides)})


def _places(
    starts: Sequence[Value],
    sizes: Sequence[Dim],
    steps: Sequence[int],
    axes: Sequence[int],
    batched: Sequence[bool],
    extent: Dim,
) -> tuple[list[Value], tuple[Dim, ...]]:
    """The indices along `axes` of the elements of boxes, one box for each lane, and their dims: the
    lanes, then the sizes of the boxes unless these are single elements."""
    single = all(sizes[a] == 1 for a in axes)
    dims = (extent,) if single else (extent, *(sizes[a] for a in axes))
    found = []
    for k, a in enumerate(axes):
        place = stretched(starts[a], dims, (0,) if batched[a] else ())
        if not single:
            offset = _counted(dims, 1 + k)
            if steps[a] != 1:
                offset = bound("mul", (offset, index(steps[a])), {})
            place = bound("add", (place, offset), {})
        found.append(place)
    return found, dims


def batch_update(
    eqn: Eqn,
    operands: Sequence[Value],
    batched: Sequence[bool],
    extent: Dim,
    batch: BatchTransform,
) -> Batched:
    """Where lanes write to places of their own, it is one scatter."""
    (base, value), starts = all_spread(operands[:2], batched[:2], extent), operands[2:]
    steps, sizes = eqn.attrs["steps"], value.dims[1:]
    if not any(batched[2:]):
        everywhere = (base, value, index(0), *starts)
        return current().rebind(eqn, everywhere, attrs={"steps": (1, *steps)}), [True]
    written = [
        a
        for a, start in enumerate(starts)
        if not (start == index(0) and sizes[a] == base.dims[1 + a] and steps[a] == 1)
    ]
    others = [a for a in range(len(steps)) if a not in written]
    places, dims = _places(starts, sizes, steps, written, batched[2:], extent)
    value = permuted(value, (0, *behind(written), *behind(others)))
    value = _reshaped(value, (*dims, *(sizes[a] for a in others)))
    attrs = {"axes": (0, *behind(written)), "mode": "set"}
    return (bound("scatter", (base, value, _counted(dims, 0), *places), attrs),), [True]


# -- elements at index arrays ----------------------------------------------------------------------


def batch_gather(
    eqn: Eqn,
    operands: Sequence[Value],
    batched: Sequence[bool],
    extent: Dim,
    batch: BatchTransform,
) -> Batched:
    (x, *indices), axes = operands, eqn.attrs["axes"]
    if not any(batched[1:]):
        picked = _gather(x, indices, behind(axes))
        return (moved(picked, indices[0].rank, 0),), [True]
    indices = all_spread(indices, batched[1:], extent)
    if batched[0]:
        indices, axes = [_counted(indices[0].dims, 0), *indices], (0, *behind(axes))
    return (_gather(x, indices, axes),), [True]


def batch_scatter(
    eqn: Eqn,
    operands: Sequence[Value],
    batched: Sequence[bool],
    extent: Dim,
    batch: BatchTransform,
) -> Batched:
    """Lanes write to arrays of their own, each in its order."""
    (base, value), axes = all_spread(operands[:2], batched[:2], extent), behind(eqn.attrs["axes"])
    indices = list(operands[2:])
    if any(batched[2:]):
        indices = all_spread(indices, batched[2:], extent)
        indices, axes = [_counted(indices[0].dims, 0), *indices], (0, *axes)
    else:
        value = moved(value, 0, indices[0].rank)
    attrs = {**eqn.attrs, "axes": axes}
    return current().rebind(eqn, (base, value, *indices), attrs=attrs), [True]


def batch_compress(
    eqn: Eqn,
    operands: Sequence[Value],
    batched: Sequence[bool],
    extent: Dim,
    batch: BatchTransform,
) -> Batched | None:
    """One mask for all lanes keeps columns of them. Masks of their own keep different numbers."""
    if batched[0]:
        return None
    columns = [moved(v, 0, 1) if b else v for v, b in zip(operands, batched)]
    kept = current().rebind(eqn, columns)
    return [moved(v, 1, 0) if b else v for v, b in zip(kept, batched, strict=True)], batched
