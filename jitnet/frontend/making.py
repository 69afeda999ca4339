"""NumPy's functions that make arrays like another, or from traced numbers: zeros_like, linspace.

np.full_like(x, 7)        %0 = broadcast 7.0, 3, 4 {axes=()}
np.linspace(a, b, 5)      iota, times a step, plus a; the last element is b itself
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from jitnet import errors, ops
from jitnet.frontend import elementwise, layouts, shapes
from jitnet.frontend.dims import Dims, broadcast_dims, count, extent, extents, filled, number
from jitnet.frontend.promotion import (
    as_array,
    as_dtype,
    default_dtype,
    literal_of,
    operand,
    result_type,
)
from jitnet.frontend.tracer import Tracer, supported_dtype, wrap
from jitnet.ir import DType, Literal, Value
from jitnet.ir import types as T


def _plan(a: Any, dtype: Any, shape: Any) -> tuple[DType, Dims]:
    x = as_array(a)
    wanted = x.value.dtype if dtype is None else supported_dtype(np.dtype(dtype), "dtype=")
    return wanted, x.value.dims if shape is None else extents(shape)


def _made_like(make: Callable[[DType, Dims], Value]) -> Callable[..., Tracer]:
    def like(
        a: Any,
        dtype: Any = None,
        order: str = "K",
        subok: bool = True,
        shape: Any = None,
        *,
        device: Any = None,
    ) -> Tracer:
        wanted, dims = _plan(a, dtype, shape)
        return _like(wrap(make(wanted, dims)), order, a)

    return like


zeros_like = _made_like(lambda dtype, dims: filled(Literal(0, dtype), dims))
ones_like = _made_like(lambda dtype, dims: filled(Literal(1, dtype), dims))
empty_like = _made_like(lambda dtype, dims: ops.empty(dims, dtype))


def full_like(
    a: Any,
    fill_value: Any,
    dtype: Any = None,
    order: str = "K",
    subok: bool = True,
    shape: Any = None,
    *,
    device: Any = None,
) -> Tracer:
    """`np.full_like`.

    Raises:
        ShapeError: for a fill value that does not broadcast.
        IntegerOverflowError: for a Python int that does not fit.
    """
    return _like(filled_with(fill_value, *_plan(a, dtype, shape)), order, a)


def _like(new: Tracer, order: Any, a: Any) -> Tracer:
    """A new array that lies as `a` does, if it has as many axes and the order is not told."""
    old = as_array(a).place
    layouts.lay_out(new.place, order, old if old.rank == new.ndim else None)
    return new


def filled_with(fill_value: Any, wanted: DType, dims: Dims) -> Tracer:
    """An array of these dims with a number, or a broadcast array, in it."""
    fill = operand(fill_value)
    if type(fill) is int:
        return wrap(filled(literal_of(fill, wanted), dims))
    if not isinstance(fill, Tracer):
        return wrap(filled(ops.convert(literal_of(fill, default_dtype(fill)), wanted), dims))
    return shapes.broadcast_to(wrap(as_dtype(fill, wanted)), tuple(map(number, dims)))


def copy(a: Any, order: str = "K", subok: bool = False) -> Tracer:
    """`np.copy`: an array, of a NumPy scalar too."""
    x = as_array(a)
    new = wrap(x.value)
    layouts.lay_out(new.place, order, x.place)
    return new


def linspace(
    start: Any,
    stop: Any,
    num: Any = 50,
    endpoint: bool = True,
    retstep: bool = False,
    dtype: Any = None,
    axis: int = 0,
    *,
    device: Any = None,
) -> Any:
    """`np.linspace`, step by step as NumPy computes it.

    Raises:
        ValueRefusedError: for a negative number of samples.
    """
    call = elementwise.call
    n = extent(num)
    if isinstance(n, int):
        if n < 0:
            raise errors.ValueRefusedError(f"Number of samples, {n}, must be non-negative.")
        steps: Any = n - 1 if endpoint else n
    else:
        message = "Number of samples, {0}, must be non-negative."
        ops.check(ops.ge(n, 0), [n], "ValueError", message)
        steps = wrap(ops.maximum(ops.sub(n, 1) if endpoint else n, 1), "python")
    common = result_type(operand(start), operand(stop), 1.0)
    first, last = (wrap(ops.convert(as_array(v).value, common)) for v in (start, stop))
    delta = call(np.subtract, last, first)
    counts = wrap(ops.reshape(ops.iota((n,), 0, common), (n, *[1] * delta.ndim)))
    step: Any = np.nan
    if type(steps) is Tracer or steps > 0:
        step = call(np.true_divide, delta, steps)
        tiny = call(np.multiply, call(np.true_divide, counts, steps), delta)
        y = _where(call(np.equal, step, 0), tiny, call(np.multiply, counts, step))
    else:
        y = call(np.multiply, counts, delta)
    y = call(np.add, y, first)
    if endpoint and n != 1:
        y = _where(call(np.equal, counts, steps), last, y)
    y = shapes.moveaxis(y, 0, axis) if axis else y
    if dtype is not None:
        wanted = supported_dtype(np.dtype(dtype), "dtype=")
        y = call(np.floor, y) if wanted.is_integer else y
        y = wrap(ops.convert(y.value, wanted))
    return (y, step) if retstep else y


def geomspace(
    start: Any, stop: Any, num: Any = 50, endpoint: bool = True, dtype: Any = None, axis: int = 0
) -> Tracer:
    """`np.geomspace`: equally far apart in their logarithms.

    Raises:
        ValueRefusedError: for an end that is zero, when the program runs.
    """
    call, n = elementwise.call, operator.index(num)
    ends = as_array(start), as_array(stop)
    for end in ends:
        zero = ops.eq(end.value, Literal(0, end.value.dtype))
        some = ops.reduce_any(zero, range(zero.rank))
        message = "Geometric sequence cannot include zero"
        ops.check(ops.logical_not(some), [], "ValueError", message)
    wanted = T.f64 if dtype is None else _dtype(dtype)  # float64 at least, unlike linspace
    common = result_type(wrap(Literal(0, result_type(*ends, 1.0))), wrap(Literal(0, wanted)))
    first, last = (wrap(ops.convert(end.value, common)) for end in ends)
    sign = call(np.sign, first)
    first, last = call(np.true_divide, first, sign), call(np.true_divide, last, sign)
    powers = linspace(call(np.log10, first), call(np.log10, last), n, endpoint)
    line = call(np.power, 10.0, powers)
    places = wrap(ops.reshape(ops.iota((n,)), (n, *[1] * (powers.ndim - 1))))
    line = _where(call(np.equal, places, 0), first, line)
    if n > 1 and endpoint:
        line = _where(call(np.equal, places, n - 1), last, line)
    line = call(np.multiply, line, sign)
    line = shapes.moveaxis(line, 0, axis) if axis else line
    return line if dtype is None else wrap(ops.convert(line.value, _dtype(dtype)))


def _dtype(dtype: Any) -> DType:
    return supported_dtype(np.dtype(dtype), "dtype=")


def _where(mask: Tracer, x: Tracer, y: Tracer) -> Tracer:
    dims = broadcast_dims(mask.value.dims, x.value.dims, y.value.dims)
    values = [filled(v.value, dims) for v in (mask, x, y)]
    return wrap(ops.select(*values))


def meshgrid(
    *xi: Any, copy: bool = True, sparse: bool = False, indexing: str = "xy"
) -> tuple[Tracer, ...]:
    """`np.meshgrid`: each vector along an axis of its own.

    Raises:
        ValueRefusedError: for an indexing that is neither "xy" nor "ij".
    """
    if indexing not in ("xy", "ij"):
        raise errors.ValueRefusedError("Valid values for `indexing` are 'xy' and 'ij'.")
    vectors = [as_array(x).value for x in xi]
    axes = list(range(len(vectors)))
    if indexing == "xy" and len(axes) > 1:
        axes[:2] = 1, 0
    found = []
    for axis, v in zip(axes, vectors):
        n = count(v.dims)
        found.append(ops.reshape(v, [n if i == axis else 1 for i in range(len(axes))]))
    dims = broadcast_dims(*(v.dims for v in found))
    return tuple(wrap(v if sparse else filled(v, dims)) for v in found)


TABLE: dict[Any, Callable[..., Any]] = {
    np.zeros_like: zeros_like,
    np.ones_like: ones_like,
    np.full_like: full_like,
    np.empty_like: empty_like,
    np.copy: copy,
    np.linspace: linspace,
    np.geomspace: geomspace,
    np.meshgrid: meshgrid,
}
