"""Shapes at trace time: broadcasting, axes and extents, static or known only at run time.

    x: f64[3, 1], y: f64[%n]        # x + y
      %0 = broadcast %x, 3, %n {axes=(0, 1)}
      %1 = broadcast %y, 3, %n {axes=(1,)}

An extent is an int or an i64 Value. Where two extents are not known to be equal, a check with
NumPy's ValueError goes in front. An extent that turns out to be 1 at run time, where NumPy would
broadcast it, is refused by that check's twin, because the result's shape would be another.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from jitnet import errors, ops
from jitnet.frontend.context import NeedStatic, integer_arguments_of, running_trace
from jitnet.frontend.tracer import Tracer, lift, wrap
from jitnet.ir import Dim, Literal, Value, as_dim, as_value
from jitnet.ir import types as T

Dims = tuple[Dim, ...]


def show(dims: Sequence[Dim]) -> str:
    """Dims as NumPy writes a shape: `(3,)`, `(3, n)`."""
    parts = [str(d) if isinstance(d, int) else d.name or "?" for d in dims]
    return f"({parts[0]},)" if len(parts) == 1 else f"({', '.join(parts)})"


# -- extents ---------------------------------------------------------------------------------------


def count(dims: Sequence[Dim]) -> Dim:
    """The product of the extents."""
    static = 1
    dynamic: Value | None = None
    for d in dims:
        if isinstance(d, int):
            static *= d
        else:
            dynamic = d if dynamic is None else ops.mul(dynamic, d)
    if dynamic is None or static == 0:
        return static
    return dynamic if static == 1 else ops.mul(dynamic, static)


def number(dim: Dim) -> Any:
    """An extent as the Python int that `x.shape` shows: known or traced."""
    return dim if isinstance(dim, int) else wrap(dim, "python")


def extent(x: Any) -> Dim:
    """A user's extent, which may be negative: an int, or the value of a traced integer.

    Raises:
        NeedStatic: for a traced one that the caller's int arguments determine.
        TypeError: for what is no integer.
    """
    if type(x) is not Tracer:
        return operator.index(x)
    own = lift(x)
    if own.value.rank or not own.value.dtype.is_integer:
        raise errors.DTypeError(f"{x!r} cannot be interpreted as an integer")
    if (
        isinstance(own.value, Literal)
        or integer_arguments_of(running_trace(), own.value) is not None
    ):
        return int(own.value.item) if isinstance(own.value, Literal) else own.__index__()
    return as_dim(ops.convert(own.value, T.i64))


def extents(shape: Any) -> Dims:
    """A user's shape, a number or a sequence of them, as dims.

    Raises:
        ValueRefusedError: for negative extents.
    """
    single = isinstance(shape, (int, np.integer)) or (type(shape) is Tracer and shape.ndim == 0)
    dims = (extent(shape),) if single else tuple(extent(d) for d in shape)
    for d in dims:
        if isinstance(d, int) and d < 0:
            raise errors.ValueRefusedError("negative dimensions are not allowed")
    return dims


def static_shape(x: Tracer, what: str) -> tuple[int, ...]:
    """The shape as ints.

    Raises:
        NeedStatic: where the caller's int arguments determine it.
        ConcretizationError: where an extent is only known when the program runs.
    """
    if x.value.array_type.is_static:
        return x.value.shape
    unknown = [d for d in x.value.dims if isinstance(d, Value)]
    leaves = [integer_arguments_of(running_trace(), d) for d in unknown]
    if None not in leaves:
        raise NeedStatic(frozenset[int]().union(*(found for found in leaves if found)))
    raise errors.ConcretizationError(
        f"{what} of an array of shape {show(x.value.dims)}",
        why="it needs the extents while the function is traced, and one depends on data",
        remedy="use operations that keep the extent, such as sums and elementwise functions",
    )


def require_equal(a: Dim, b: Dim, message: str) -> None:
    """Refuse extents that differ, now or when the program runs."""
    if a is b or (isinstance(a, int) and a == b):
        return
    if isinstance(a, int) and isinstance(b, int):
        raise errors.ShapeError(message)
    ops.check(ops.eq(as_value(a), as_value(b)), [as_value(a), as_value(b)], "ValueError", message)


def retag(value: Value, dims: Dims) -> Value:
    """The array with dims that name the same extents."""
    same = len(dims) == value.rank and all(a is b or a == b for a, b in zip(dims, value.dims))
    return value if same else ops.reshape(value, dims)


# -- broadcasting ----------------------------------------------------------------------------------


def broadcast_dims(*shapes: Dims) -> Dims:
    """The dims that arrays of these dims broadcast to; binds checks for those known at run time.

    Raises:
        ShapeError: where they do not broadcast.
    """
    rank = max((len(dims) for dims in shapes), default=0)
    out: list[Dim] = []
    for axis in range(-rank, 0):
        out.append(_join([dims[axis] for dims in shapes if -axis <= len(dims)], shapes))
    return tuple(out)


def _join(dims: Sequence[Dim], shapes: Sequence[Dims]) -> Dim:
    joined: Dim = 1
    for d in dims:
        if d is joined or (isinstance(d, int) and d in (1, joined)):
            continue
        if isinstance(joined, int) and joined == 1:
            joined = d
        elif isinstance(d, int) and isinstance(joined, int):
            raise errors.ShapeError(
                "operands could not be broadcast together with shapes "
                + " ".join(show(s) for s in shapes)
            )
        else:
            _check_broadcast(joined, d)
            joined = joined if isinstance(joined, int) else d
    return joined


def _check_broadcast(a: Dim, b: Dim) -> None:
    x, y = as_value(a), as_value(b)
    equal = ops.eq(x, y)
    one = ops.bitwise_or(ops.eq(x, 1), ops.eq(y, 1))
    message = "operands could not be broadcast together: extents {0} and {1}"
    ops.check(ops.bitwise_or(equal, one), [x, y], "ValueError", message)
    message = "extents {0} and {1}: an extent that is 1 only at run time is not broadcast"
    ops.check(equal, [x, y], "NotImplementedError", message)


def spread(value: Value, dims: Dims) -> Value:
    """The value broadcast to dims that `broadcast_dims` found; a Literal stays one."""
    if isinstance(value, Literal) or (value.rank == len(dims) and same_dims(value.dims, dims)):
        return value
    lead = len(dims) - value.rank
    own = tuple(d if isinstance(d, int) and d == 1 else t for d, t in zip(value.dims, dims[lead:]))
    value = retag(value, own)
    if same_dims(value.dims, dims):
        return value
    return ops.broadcast(value, dims, tuple(range(lead, len(dims))))


def filled(value: Value, dims: Dims) -> Value:
    """As `spread`, but a Literal becomes an array too."""
    if isinstance(value, Literal):
        return ops.full(value, dims) if dims else value
    return spread(value, dims)


def same_dims(a: Sequence[Dim], b: Sequence[Dim]) -> bool:
    return len(a) == len(b) and all(
        x is y or (isinstance(x, int) and isinstance(y, int) and x == y) for x, y in zip(a, b)
    )


# -- axes ------------------------------------------------------------------------------------------


def normal_axis(axis: Any, rank: int, argument: str = "") -> int:
    """An axis counted from the front.

    Raises:
        AxisError: where there is no such axis.
    """
    axis = int(operator.index(axis))
    if not -rank <= axis < rank:
        prefix = f"{argument}: " if argument else ""
        raise errors.AxisError(
            f"{prefix}axis {axis} is out of bounds for array of dimension {rank}"
        )
    return int(axis % rank)


def normal_axes(axes: Any, rank: int, argument: str = "") -> tuple[int, ...]:
    """One axis or several, in the order given.

    Raises:
        AxisError: where there is no such axis.
        ValueRefusedError: for one that comes twice.
    """
    given = tuple(axes) if isinstance(axes, (tuple, list)) else (axes,)
    found = tuple(normal_axis(a, rank, argument) for a in given)
    if len(set(found)) != len(found):
        raise errors.ValueRefusedError(
            f"repeated axis in `{argument}` argument" if argument else "duplicate value in 'axis'"
        )
    return found


def reduced_axes(axis: Any, rank: int) -> tuple[int, ...]:
    """The axes that a reduction drops, sorted; None is all of them."""
    if axis is None:
        return tuple(range(rank))
    if rank == 0 and not isinstance(axis, (tuple, list)) and operator.index(axis) in (0, -1):
        return ()
    return tuple(sorted(normal_axes(axis, rank)))
