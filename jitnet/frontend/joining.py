"""NumPy's functions that join, split, repeat and pad.

np.stack([x, y])         two reshapes and a concatenate
np.pad(x, 1)             %0 = pad %x, 0.0 {low=(1,), high=(1,)}
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np

from jitnet import errors, ops
from jitnet.frontend import elementwise
from jitnet.frontend.context import NeedStatic, integer_arguments_of, running_trace
from jitnet.frontend.dims import (
    count,
    normal_axis,
    require_equal,
    show,
    spread,
    static_shape,
)
from jitnet.frontend.promotion import as_array, as_dtype, result_type
from jitnet.frontend.shapes import atleast_1d, atleast_2d, atleast_3d, expand_dims, ravel
from jitnet.frontend.tracer import Tracer, lift, supported_dtype, wrap
from jitnet.ir import Dim, as_value
from jitnet.ir import types as T

# -- joining ---------------------------------------------------------------------------------------


def _promoted(arrays: Any, dtype: Any = None, casting: str = "same_kind") -> list[Tracer]:
    given = [as_array(a) for a in arrays]
    if not given:
        raise errors.ValueRefusedError("need at least one array to concatenate")
    common = result_type(*given) if dtype is None else supported_dtype(np.dtype(dtype), "dtype=")
    for x in given:
        if not np.can_cast(x.dtype, common.numpy, casting):  # type: ignore[arg-type]
            raise errors.DTypeError(
                f"Cannot cast array data from {x.dtype!r} to {common.numpy!r} according to the "
                f"rule {casting!r}"
            )
    return [wrap(as_dtype(x, common)) for x in given]


def concatenate(
    arrays: Any, /, axis: Any = 0, out: Any = None, *, dtype: Any = None, casting: str = "same_kind"
) -> Tracer:
    """`np.concatenate`."""
    given = _promoted(arrays, dtype, casting)
    if axis is None:
        given, axis = [ravel(x) for x in given], 0
    if any(x.ndim == 0 for x in given):
        raise errors.ValueRefusedError("zero-dimensional arrays cannot be concatenated")
    axis = normal_axis(axis, given[0].ndim)
    first = given[0].value
    for i, x in enumerate(given):
        if x.ndim != first.rank:
            raise errors.ShapeError(
                "all the input array dimensions except for the concatenation axis must match "
                f"exactly: array 0 has {first.rank} dimensions, array {i} has {x.ndim}"
            )
        for k, (a, b) in enumerate(zip(first.dims, x.value.dims)):
            if k != axis:
                require_equal(
                    a,
                    b,
                    "all the input array dimensions except for the concatenation axis must match "
                    f"exactly: {show(first.dims)} and {show(x.value.dims)}",
                )
    return wrap(ops.concatenate([x.value for x in given], axis))


def stack(
    arrays: Any, axis: Any = 0, out: Any = None, *, dtype: Any = None, casting: str = "same_kind"
) -> Tracer:
    """`np.stack`."""
    given = _promoted(arrays, dtype)
    if len({show(x.value.dims) for x in given}) > 1:
        raise errors.ShapeError("all input arrays must have the same shape")
    return concatenate([expand_dims(x, axis) for x in given], normal_axis(axis, given[0].ndim + 1))


def vstack(tup: Any, *, dtype: Any = None, casting: str = "same_kind") -> Tracer:
    """`np.vstack`."""
    return concatenate([atleast_2d(a) for a in tup], 0, dtype=dtype, casting=casting)


def hstack(tup: Any, *, dtype: Any = None, casting: str = "same_kind") -> Tracer:
    """`np.hstack`."""
    given = [atleast_1d(a) for a in tup]
    axis = 0 if given and given[0].ndim == 1 else 1
    return concatenate(given, axis, dtype=dtype, casting=casting)


def dstack(tup: Any) -> Tracer:
    """`np.dstack`."""
    return concatenate([atleast_3d(a) for a in tup], 2)


def column_stack(tup: Any) -> Tracer:
    """`np.column_stack`."""
    given = [as_array(a) for a in tup]
    columns = [expand_dims(atleast_1d(x), 1) if x.ndim < 2 else x for x in given]
    return concatenate(columns, 1)


def append(arr: Any, values: Any, axis: Any = None) -> Tracer:
    """`np.append`: a new array."""
    return concatenate([as_array(arr), as_array(values)], axis)


def ediff1d(ary: Any, to_end: Any = None, to_begin: Any = None) -> Tracer:
    """`np.ediff1d`: differences of neighbours in the flattened array.

    Raises:
        DTypeError: for ends that do not cast to the array's dtype.
    """
    x = ravel(ary)
    parts = [elementwise.call(np.subtract, x[1:], x[:-1])]
    for extra, front in ((to_begin, True), (to_end, False)):
        if extra is None:
            continue
        edge = ravel(extra)
        if not np.can_cast(edge.dtype, x.dtype, casting="same_kind"):
            raise errors.DTypeError(
                f"dtype of `{'to_begin' if front else 'to_end'}` must be compatible with input "
                "`ary` under the `same_kind` rule."
            )
        edge = wrap(ops.convert(edge.value, x.value.dtype))
        parts = [edge, *parts] if front else [*parts, edge]
    return concatenate(parts) if len(parts) > 1 else parts[0]


# -- splitting, repeating --------------------------------------------------------------------------


def array_split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Tracer]:
    """`np.array_split`."""
    x = as_array(ary)
    axis = normal_axis(axis, x.ndim)
    n = static_shape(x, "splitting")[axis]
    if isinstance(indices_or_sections, (int, np.integer)):
        sections = int(indices_or_sections)
        if sections <= 0:
            raise errors.ValueRefusedError("number sections must be larger than 0.")
        each, extra = divmod(n, sections)
        sizes = [0] + extra * [each + 1] + (sections - extra) * [each]
        bounds = list(np.cumsum(sizes))
    else:
        bounds = [0, *(int(i) for i in indices_or_sections), n]
    lead = (slice(None),) * axis
    return [x[(*lead, slice(int(a), int(b)))] for a, b in itertools.pairwise(bounds)]


def split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Tracer]:
    """`np.split`."""
    x = as_array(ary)
    if isinstance(indices_or_sections, (int, np.integer)):
        n = static_shape(x, "splitting")[normal_axis(axis, x.ndim)]
        if n % indices_or_sections:
            raise errors.ValueRefusedError("array split does not result in an equal division")
    return array_split(x, indices_or_sections, axis)


def _split_along(name: str, least: int, axis: int) -> Callable[..., list[Tracer]]:
    def parts(ary: Any, indices_or_sections: Any) -> list[Tracer]:
        x = as_array(ary)
        if x.ndim < least:
            raise errors.ValueRefusedError(
                f"{name} only works on arrays of {least} or more dimensions"
            )
        return split(x, indices_or_sections, axis if x.ndim > 1 else 0)

    return parts


def tile(A: Any, reps: Any) -> Tracer:
    """`np.tile`."""
    x = as_array(A)
    counts = [operator.index(r) for r in (reps if isinstance(reps, (tuple, list)) else (reps,))]
    dims: list[Dim] = [*[1] * (len(counts) - x.ndim), *x.value.dims]
    counts = [1] * (len(dims) - len(counts)) + counts
    split_dims = [d for pair in zip([1] * len(dims), dims) for d in pair]
    wide = [d for pair in zip(counts, dims) for d in pair]
    tall = ops.reshape(x.value, split_dims)
    spread_out = spread(tall, tuple(wide))
    return wrap(ops.reshape(spread_out, tuple(count((c, d)) for c, d in zip(counts, dims))))


def roll(a: Any, shift: Any, axis: Any = None) -> Tracer:
    """`np.roll`; where a distance or an extent is not known, by number.

    Raises:
        DTypeError: for traced distances that are no integers.
    """
    x = as_array(a)
    if axis is None:
        flat = roll(ravel(x), shift, 0)
        return wrap(ops.reshape(flat.value, x.value.dims))
    for by, along in _distances(shift, axis):
        along = normal_axis(along, x.ndim)
        n = x.value.dims[along]
        if not (isinstance(n, int) and isinstance(by, int)):
            x = _rolled(x, by, along)
            continue
        by = by % n if n else 0
        if by:
            lead = (slice(None),) * along
            parts = [x[(*lead, slice(n - by, None))], x[(*lead, slice(None, n - by))]]
            x = concatenate(parts, along)
    return x


def _distances(shift: Any, axis: Any) -> list[tuple[Any, int]]:
    """How far to roll along which axis.

    Raises:
        NeedStatic: where int arguments decide: slices are faster than numbers.
    """
    shifts = shift if isinstance(shift, (tuple, list)) else (shift,)
    if not any(type(by) is Tracer and by.ndim == 0 for by in shifts):
        known, axes = np.broadcast_arrays(shift, axis)
        return list(zip(known.ravel().tolist(), axes.ravel().tolist()))
    for by in shifts:
        leaves = integer_arguments_of(running_trace(), lift(by).value)
        if leaves is not None:
            raise NeedStatic(leaves)
    places = axis if isinstance(axis, (tuple, list)) else (axis,)
    size = max(len(shifts), len(places))
    pairs = zip(*(list(v) * (size if len(v) == 1 else 1) for v in (shifts, places)), strict=True)
    return list(pairs)


def _rolled(x: Tracer, by: Any, axis: int) -> Tracer:
    distance = as_array(by).value
    if not distance.dtype.is_integer:
        raise errors.DTypeError("'float' object cannot be interpreted as an integer")
    n = x.value.dims[axis]
    places = ops.iota((n,))
    moved = ops.sub(places, spread(ops.convert(distance, T.i64), places.dims))
    extent = spread(ops.maximum(as_value(n), 1), places.dims)
    found = ops.gather(x.value, [ops.rem(moved, extent)], (axis,))
    order = [a + 1 if a < axis else 0 if a == axis else a for a in range(x.ndim)]
    return wrap(found if axis == 0 else ops.transpose(found, order))


def pad(array: Any, pad_width: Any, mode: Any = "constant", **kwargs: Any) -> Tracer:
    """`np.pad`, with constants or with elements of the array: edge, reflect, symmetric, wrap.

    Raises:
        ValueRefusedError: for negative widths, unknown modes and keywords.
        UnsupportedFunctionError: for the modes that compute what they pad with.
    """
    x = as_array(array)
    widths = _widths(pad_width, x.ndim)
    allowed = {
        "constant": "constant_values",
        "reflect": "reflect_type",
        "symmetric": "reflect_type",
    }
    option = kwargs.pop(allowed.get(mode, ""), None)
    if mode not in ("constant", "edge", "reflect", "symmetric", "wrap"):
        _refuse_mode(mode)
    if kwargs:
        raise errors.ValueRefusedError(
            f"unsupported keyword arguments for mode {mode!r}: {set(kwargs)}"
        )
    if mode == "constant":
        return _padded_with_constants(x, widths, 0 if option is None else option)
    if option not in (None, "even"):
        raise errors.UnsupportedFunctionError(
            f"np.pad with reflect_type={option!r}", remedy="2 * edge - the even reflection"
        )
    return _padded_with_elements(x, widths, mode)


def _refuse_mode(mode: Any) -> NoReturn:
    if mode not in ("linear_ramp", "maximum", "mean", "median", "minimum", "empty"):
        raise errors.ValueRefusedError(f"mode {mode!r} is not supported")
    raise errors.UnsupportedFunctionError(
        f"np.pad with mode={mode!r}", remedy='use mode="constant" or "edge", or concatenate'
    )


def _widths(pad_width: Any, rank: int) -> list[tuple[int, int]]:
    if isinstance(pad_width, dict):
        pairs: list[Any] = [(0, 0)] * rank
        for axis, width in pad_width.items():
            pairs[axis] = width if isinstance(width, tuple) else (width, width)
        pad_width = pairs
    given = np.asarray(pad_width)
    if given.dtype.kind != "i":
        raise errors.DTypeError("`pad_width` must be of integral type.")
    try:
        pairs = np.broadcast_to(given, (rank, 2)).tolist()
    except ValueError as error:
        raise errors.ShapeError(str(error)) from None
    if any(w < 0 for pair in pairs for w in pair):
        raise errors.ValueRefusedError("index can't contain negative values")
    return [(low, high) for low, high in pairs]


def _padded_with_elements(x: Tracer, widths: Sequence[tuple[int, int]], mode: Any) -> Tracer:
    for axis, width in enumerate(widths):
        if not any(width):
            continue
        n = static_shape(x, "np.pad")[axis]
        if n == 0:
            raise errors.ValueRefusedError(
                f"can't extend empty axis {axis} using modes other than 'constant' or 'empty'"
            )
        source = np.pad(np.arange(n), width, mode=mode)
        x = x[(*(slice(None),) * axis, source)]
    return x


def _padded_with_constants(x: Tracer, widths: Sequence[tuple[int, int]], fill: Any) -> Tracer:
    """With one constant at once; with one for each side, axis by axis, as the corners show."""
    given = as_array(fill)
    value = ops.convert(given.value, x.value.dtype)
    if given.ndim == 0:
        low, high = (tuple(w[i] for w in widths) for i in (0, 1))
        return wrap(ops.pad(x.value, value, low, high))
    values, padded = wrap(spread(value, (x.ndim, 2))), x.value
    for axis, width in enumerate(widths):
        for side in (0, 1):
            amounts = [[0] * x.ndim, [0] * x.ndim]
            amounts[side][axis] = width[side]
            padded = ops.pad(padded, values[axis, side].value, *amounts)
    return wrap(padded)


TABLE: dict[Any, Callable[..., Any]] = {
    np.concatenate: concatenate,
    np.stack: stack,
    np.vstack: vstack,
    np.hstack: hstack,
    np.dstack: dstack,
    np.column_stack: column_stack,
    np.append: append,
    np.ediff1d: ediff1d,
    np.array_split: array_split,
    np.split: split,
    np.vsplit: _split_along("vsplit", 2, 0),
    np.hsplit: _split_along("hsplit", 1, 1),
    np.dsplit: _split_along("dsplit", 3, 2),
    np.tile: tile,
    np.roll: roll,
    np.pad: pad,
}
