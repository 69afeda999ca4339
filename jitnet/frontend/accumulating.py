"""Methods of ufuncs that go along an axis: reduce and accumulate of any ufunc, and reduceat.

np.maximum.accumulate(x)          a loop over x that carries the maximum so far
np.bitwise_xor.reduce(x)          a loop over x that carries the xor so far
np.add.reduceat(x, [0, 4, 2])     a loop over the bounds: x[0:4].sum(), x[4], x[2:].sum()

The axis is the first one of the rows that a loop goes over; axes in front of it are a loop around
that one, so that both go through memory in its order.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jitnet import errors, ops
from jitnet.frontend import elementwise
from jitnet.frontend.dims import count, filled, normal_axis, reduced_axes, retag, spread
from jitnet.frontend.promotion import as_array, as_dtype, operand
from jitnet.frontend.reductions import refuse_out
from jitnet.frontend.tracer import Tracer, supported_dtype, wrap
from jitnet.ir import Dim, DType, Literal, Value, as_dim, as_value
from jitnet.ir import types as T

_UNSET: Any = np._NoValue

_FOLDS: dict[np.ufunc, Callable[[Value, tuple[int, ...]], Value]] = {
    np.add: ops.reduce_sum,
    np.multiply: ops.reduce_prod,
    np.maximum: ops.reduce_max,
    np.minimum: ops.reduce_min,
}

_Body = Callable[..., Any]


# -- what they share -------------------------------------------------------------------------------


@functools.cache
def _loop_dtype(ufunc: np.ufunc, dtype: np.dtype[Any], wanted: np.dtype[Any] | None) -> DType:
    """The dtype of the operands and of the result, as NumPy resolves it for reductions."""
    given: Any = {} if wanted is None else {"signature": (wanted, None, None)}
    try:
        found = ufunc.resolve_dtypes((None, dtype, None), casting="unsafe", reduction=True, **given)
    except (TypeError, ValueError) as error:
        raise errors.DTypeError(str(error), why=f"np.{ufunc.__name__} of {dtype}") from None
    return supported_dtype(found[0])


def _dtype(ufunc: np.ufunc, x: Tracer, dtype: Any, method: str) -> DType:
    if ufunc.nin != 2:
        raise errors.ValueRefusedError(f"{method} only supported for binary functions")
    if ufunc.nout != 1:
        raise errors.ValueRefusedError(
            f"{method} only supported for functions returning a single value"
        )
    if ufunc.signature is not None:
        raise errors.ProgramError("Reduction not defined on ufunc with signature")
    return _loop_dtype(ufunc, x.dtype, None if dtype is None else np.dtype(dtype))


def _converted(x: Value, dtype: DType) -> Value:
    """x in the loop's dtype. The truth of a number is whether it is not zero."""
    return elementwise.truth(x) if dtype.is_bool else ops.convert(x, dtype)


def _step(ufunc: np.ufunc, dtype: DType) -> Callable[[Value, Value], Value]:
    """One step: of comparisons too, whose loops are of bools here."""
    kernel = elementwise.KERNELS[ufunc]

    def step(so_far: Value, x: Value) -> Value:
        found: Value = kernel(so_far, x)
        return found if found.dtype == dtype else ops.convert(found, dtype)

    return step


def _each_outer(x: Sequence[Value], of_rows: Callable[..., Value], outer: Dim | None) -> Value:
    """`of_rows` of the arrays, or of each of their rows."""
    if outer is None:
        return of_rows(*x)

    def body(i: Value, consts: Any, carries: Any, rows: Sequence[Value]) -> Any:
        return (), (of_rows(*rows),)

    (found,) = ops.for_(as_value(outer), body, _extents(*x), (), x)
    return found


def _extents(*xs: Value) -> tuple[Value, ...]:
    """What a loop's body needs of the extents of a row."""
    return tuple(dict.fromkeys(d for x in xs for d in x.dims[1:] if isinstance(d, Value)))


def _in_front(x: Value, axis: int) -> Value:
    return ops.transpose(x, (axis, *(a for a in range(x.rank) if a != axis)))


def _back(x: Value, axis: int) -> Value:
    return ops.transpose(x, (*range(1, axis + 1), 0, *range(axis + 1, x.rank)))


# -- accumulate ------------------------------------------------------------------------------------


def accumulate(ufunc: np.ufunc, array: Any, axis: Any = 0, dtype: Any = None) -> Tracer:
    """`ufunc.accumulate`, one element after the other.

    Raises:
        DTypeError: for scalars, and ufuncs whose result is of another dtype than their operands.
        ValueRefusedError: for ufuncs that are not binary.
    """
    x = as_array(array)
    wanted = _dtype(ufunc, x, dtype, "accumulate")
    if x.ndim == 0:
        raise errors.DTypeError("cannot accumulate on a scalar")
    along = normal_axis(0 if axis is None else axis, x.ndim)
    value = _converted(x.value, wanted)
    step = _step(ufunc, wanted)
    outer = count(value.dims[:along]) if along else None
    folded = ops.reshape(value, (outer, *value.dims[along:])) if outer is not None else value
    found = _each_outer([folded], lambda rows: _running(rows, step), outer)
    return wrap(retag(ops.reshape(found, value.dims), value.dims))


def _running(rows: Value, step: Callable[[Value, Value], Value]) -> Value:
    def body(
        i: Value, consts: Sequence[Value], carries: Sequence[Value], xs: Sequence[Value]
    ) -> tuple[Sequence[Value], Sequence[Value]]:
        (so_far,), (row,) = carries, xs
        is_first = filled(ops.eq(i, 0), row.dims)
        following = ops.select(is_first, row, step(so_far, row))
        return (following,), (following,)

    start = filled(Literal(1, rows.dtype), rows.dims[1:])
    _, found = ops.for_(as_value(rows.dims[0]), body, _extents(rows), (start,), (rows,))
    return found


# -- reduce ----------------------------------------------------------------------------------------


def reduce(
    ufunc: np.ufunc,
    array: Any,
    axis: Any = 0,
    dtype: Any = None,
    keepdims: Any = False,
    initial: Any = _UNSET,
    where: Any = True,
) -> Tracer:
    """`ufunc.reduce`, one element after the other.

    Raises:
        DTypeError: for ufuncs whose result is of another dtype than their operands.
        ValueRefusedError: for several axes where the order matters; for nothing to reduce, or a
            mask, where the ufunc has no identity.
    """
    x = as_array(array)
    wanted = _dtype(ufunc, x, dtype, "reduce")
    axes = reduced_axes(axis, x.ndim)
    if len(axes) > 1 and not _is_reorderable(ufunc, wanted):
        raise errors.ValueRefusedError(
            f"reduction operation '{ufunc.__name__}' is not reorderable, so at most one axis may "
            "be specified"
        )
    value = _converted(x.value, wanted)
    masks = [] if where is True or where is _UNSET else [_mask(where, value.dims)]
    start = _start(ufunc, wanted, initial)
    if start is None and masks:
        raise errors.ValueRefusedError(
            f"reduction operation '{ufunc.__name__}' does not have an identity, so to use a where "
            "mask one has to specify 'initial'"
        )
    kept = [a for a in range(x.ndim) if a not in axes]
    found = _folded_axes([value, *masks], axes, kept, _step(ufunc, wanted), start, ufunc)
    dims = tuple(value.dims[a] for a in kept)
    if keepdims is not _UNSET and keepdims:
        dims = tuple(1 if a in axes else d for a, d in enumerate(value.dims))
    return wrap(ops.reshape(found, dims), "array" if dims else "scalar")


def _mask(where: Any, dims: Sequence[Dim]) -> Value:
    mask = as_array(where).value
    if not mask.dtype.is_bool:
        raise errors.DTypeError("where= must be an array of bools")
    return filled(spread(mask, tuple(dims)), tuple(dims))


def _start(ufunc: np.ufunc, dtype: DType, initial: Any) -> Value | None:
    if initial is _UNSET:
        identity = ufunc.identity
        return (
            None
            if identity is None
            else Literal(np.asarray(identity).astype(dtype.numpy)[()], dtype)
        )
    return None if initial is None else as_dtype(operand(initial), dtype)


@functools.cache
def _is_reorderable(ufunc: np.ufunc, dtype: DType) -> bool:
    """Whether NumPy reduces several axes by it: it says so of an array of one element."""
    try:
        ufunc.reduce(np.ones((1, 1), dtype.numpy), axis=(0, 1))
    except ValueError:
        return False
    return True


def _folded_axes(
    xs: Sequence[Value],
    axes: Sequence[int],
    kept: Sequence[int],
    step: Callable[[Value, Value], Value],
    start: Value | None,
    ufunc: np.ufunc,
) -> Value:
    """The arrays reduced: with the axes next to each other, or moved to the end."""
    dims = xs[0].dims
    if list(axes) != list(range(axes[0], axes[0] + len(axes)) if axes else ()):
        xs = [ops.transpose(x, (*kept, *axes)) for x in xs]
        dims = xs[0].dims
        axes = range(len(kept), len(dims))
    first = axes[0] if axes else len(dims)
    outer = count(dims[:first]) if first else None
    n, inner = count([dims[a] for a in axes]), dims[first + len(axes) :]
    if start is None:
        _refuse_empty(n, ufunc)
    shape = (n, *inner) if outer is None else (outer, n, *inner)
    return _each_outer(
        [ops.reshape(x, shape) for x in xs], lambda *rows: _folded(rows, step, start), outer
    )


def _refuse_empty(n: Dim, ufunc: np.ufunc) -> None:
    name = ufunc.__name__
    message = f"zero-size array to reduction operation {name} which has no identity"
    if isinstance(n, Value):
        ops.check(ops.gt(n, 0), [], "ValueError", message)
    elif n == 0:
        raise errors.ValueRefusedError(message)


def _folded(
    xs: Sequence[Value], step: Callable[[Value, Value], Value], start: Value | None
) -> Value:
    """The rows of an array taken together, from the start or else from the first one."""

    def body(
        i: Value, consts: Sequence[Value], carries: Sequence[Value], row: Sequence[Value]
    ) -> tuple[Sequence[Value], Sequence[Value]]:
        (so_far,), (x, *masks) = carries, row
        following = step(so_far, x)
        if masks:
            following = ops.select(masks[0], following, so_far)
        return (following,), ()

    rows = xs[0]
    n, inner = rows.dims[0], rows.dims[1:]
    if start is None:
        zeros, ones = (0,) * len(inner), (1,) * rows.rank
        begin = ops.reshape(ops.slice(rows, (0, *zeros), (1, *inner), ones), inner)
        left = n - 1 if isinstance(n, int) else as_dim(ops.sub(n, 1))
        xs = [ops.slice(rows, (1, *zeros), (left, *inner), ones)]
        n = left
    else:
        begin = filled(start, inner)
    (found,) = ops.for_(as_value(n), body, _extents(*xs), (begin,), tuple(xs))
    return found


# -- reduceat --------------------------------------------------------------------------------------


def reduceat(
    ufunc: np.ufunc, array: Any, indices: Any, axis: Any = 0, dtype: Any = None, out: Any = None
) -> Tracer:
    """`ufunc.reduceat`: from each index to the next; the element alone where that is not greater.

    Raises:
        IndexingError: for indices out of bounds, when the program runs.
        DTypeError: for scalars, and ufuncs whose result is of another dtype than their operands.
    """
    refuse_out(out)
    x, bounds = as_array(array), as_array(indices)
    wanted = _dtype(ufunc, x, dtype, "reduceat")
    if x.ndim == 0:
        raise errors.DTypeError("cannot reduceat on a scalar")
    along = normal_axis(axis, x.ndim)
    rows = _in_front(_converted(x.value, wanted), along)
    return wrap(_back(_parts(ufunc, rows, ops.convert(bounds.value, T.i64)), along))


def _parts(ufunc: np.ufunc, rows: Value, starts: Value) -> Value:
    n, (m,) = as_value(rows.dims[0]), starts.dims
    inside = ops.bitwise_and(ops.ge(starts, 0), ops.lt(starts, filled(n, starts.dims)))
    message = f"index out-of-bounds in {ufunc.__name__}.reduceat [0, {{0}})"
    ops.check(ops.reduce_all(inside, (0,)), [n], "IndexError", message)
    moved = ops.concatenate([starts, ops.reshape(n, (1,))], 0)
    ends = ops.slice(moved, (1,), (m,), (1,))

    def body(
        i: Value, consts: Sequence[Value], carries: Sequence[Value], xs: Sequence[Value]
    ) -> tuple[Sequence[Value], Sequence[Value]]:
        (rows, *_), (start, end) = consts, xs
        length = ops.maximum(ops.sub(end, start), 1)
        zeros, ones = (0,) * (rows.rank - 1), (1,) * rows.rank
        part = ops.slice(rows, (as_dim(start), *zeros), (as_dim(length), *rows.dims[1:]), ones)
        fold = None if rows.dtype.is_bool else _FOLDS.get(ufunc)
        if fold is not None:
            return (), (fold(part, (0,)),)
        return (), (_folded([part], _step(ufunc, rows.dtype), None),)

    (found,) = ops.for_(as_value(m), body, (rows, *_extents(rows)), (), (starts, ends))
    return found
