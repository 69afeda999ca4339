"""NumPy's functions along one axis of samples: interp, convolve, correlate.

np.interp(x, xp, fp)      %i = searchsorted %xp, %x;  the line through the two points around each x
np.convolve(a, v)         each result is a sum over a window of a; few terms are written out
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from jitnet import errors, ops
from jitnet.frontend import sorting
from jitnet.frontend.context import ORDERS
from jitnet.frontend.dims import number, require_equal
from jitnet.frontend.either import either, is_traced
from jitnet.frontend.promotion import as_array, as_dtype, result_type
from jitnet.frontend.tracer import Tracer, wrap
from jitnet.ir import Builder, Dim, Literal, Value, as_dim, as_value
from jitnet.ir import types as T
from jitnet.ops.custom_rules import Regions

_WRITTEN_OUT = 16  # terms of a window; more are a loop

# -- interpolation ---------------------------------------------------------------------------------


def interp(
    x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None, period: Any = None
) -> Tracer:
    """`np.interp`.

    Raises:
        ValueRefusedError: without a point, for vectors of different lengths, or a period of 0.
        UnsupportedFunctionError: for complex values.
    """
    given, px, py = as_array(x), as_array(xp), as_array(fp)
    if any(v.value.dtype.is_complex for v in (given, px, py)):
        raise errors.UnsupportedFunctionError(
            "np.interp of complex values", remedy="np.interp of z.real and of z.imag"
        )
    if px.ndim != 1 or py.ndim != 1:
        raise errors.ValueRefusedError("object too deep for desired array")
    require_equal(px.value.dims[0], py.value.dims[0], "fp and xp are not of the same length.")
    n = px.value.dims[0]
    message = "array of sample points is empty"
    if n == 0:
        raise errors.ValueRefusedError(message)
    if not isinstance(n, int):
        ops.check(ops.gt(n, 0), [], "ValueError", message)
    flavour = given.flavour if given.value.rank else "scalar"
    given, px, py = (wrap(ops.convert(v.value, T.f64)) for v in (given, px, py))
    if period is not None:
        given, px, py = _periodic(given, px, py, period)
        left = right = None
    return wrap(_interpolated(given, px, py, left, right).value, flavour)


def _periodic(x: Tracer, px: Tracer, py: Tracer, period: Any) -> tuple[Tracer, Tracer, Tracer]:
    """Everything within one period, with a point more at each end."""
    if not is_traced(period) and period == 0:
        raise errors.ValueRefusedError("period must be a non-zero value")
    span = abs(period)
    x, px = x % span, px % span
    order = sorting.argsort(px)
    px, py = px[order], py[order]
    px = either(np.concatenate, (px[-1:] - span, px, px[:1] + span))
    return x, px, either(np.concatenate, (py[-1:], py, py[:1]))


def _interpolated(x: Tracer, px: Tracer, py: Tracer, left: Any, right: Any) -> Any:
    """As NumPy does it: at a point its value; else from the left one, or from the right one where
    that gives NaN."""
    n = number(px.value.dims[0])
    first, last = py[0] if left is None else left, py[-1] if right is None else right
    before = sorting.searchsorted(px, x, "right") - 1
    low = either(np.clip, before, 0, either(np.maximum, n - 2, 0))
    high = either(np.minimum, low + 1, n - 1)
    x0, x1, y0, y1 = (_taken(v, at) for v in (px, py) for at in (low, high))
    slope = (y1 - y0) / (x1 - x0)
    found = slope * (x - x0) + y0
    found = either(np.where, either(np.isnan, found), slope * (x - x1) + y1, found)
    found = either(np.where, either(np.isnan, found) & (y0 == y1), y0, found)
    found = _exactly(x == x0, y0, found)
    found = either(np.where, before >= n - 1, py[-1], found)
    found = either(np.where, x < px[0], first, found)
    found = either(np.where, x > px[-1], last, found)
    stays_nan = either(np.logical_and, either(np.isnan, x), n != 1)
    return either(np.where, stays_nan, x, found)


def _exactly(hit: Tracer, y0: Tracer, found: Tracer) -> Any:
    """y0 where x is at a point, with the derivative of the line through it and the next one, which
    gives y0 too, but for the sign of zero and infinite slopes."""
    exact = either(np.where, hit, y0, found)
    value = _with_derivative_of(exact.value, as_array(found).value, ORDERS.get())
    return wrap(value, exact.flavour)


def _with_derivative_of(x: Value, y: Value, orders: int) -> Value:
    """x, whose derivatives up to these orders are y's where y is finite."""
    if orders == 0:
        return x
    extents = [d for d in dict.fromkeys(x.dims) if isinstance(d, Value)]
    with Builder("primal") as b:
        primal = b.build(b.params_like([*extents, x, y])[-2])
    with Builder("push") as b:
        *_, own, line, own_tangent, line_tangent = b.params_like([*extents, x, y, x, y])
        moved = ops.select(ops.isfinite(line), line_tangent, own_tangent)
        push = b.build(_with_derivative_of(own, line, orders - 1), moved)
    (result,) = ops.custom("interp", extents, [x, y], Regions(primal, push))
    return result


def _taken(v: Tracer, at: Tracer) -> Tracer:
    return wrap(ops.gather(v.value, [at.value], (0,)))


# -- windows ---------------------------------------------------------------------------------------


def convolve(a: Any, v: Any, mode: Any = "full") -> Tracer:
    """`np.convolve`.

    Raises:
        ValueRefusedError: for empty vectors, and modes that NumPy does not have.
        UnsupportedFunctionError: where data decides how long the shorter one is.
    """
    x, w = _vector(a), _vector(v)
    for array, what in ((x, "a"), (w, "v")):
        if array.dims[0] == 0:
            raise errors.ValueRefusedError(f"{what} cannot be empty")
    if _length(w) > _length(x):
        x, w = w, x
    return wrap(_windows(x, _reversed(w), _mode(mode)))


def correlate(a: Any, v: Any, mode: Any = "valid") -> Tracer:
    """`np.correlate`.

    Raises: as `convolve`.
    """
    x, w = _vector(a), _vector(v)
    for array, what in ((x, "first"), (w, "second")):
        if array.dims[0] == 0:
            raise errors.ValueRefusedError(f"{what} array argument cannot be empty")
    if w.dtype.is_complex:
        w = as_array(either(np.conj, wrap(w))).value
    if _length(w) > _length(x):
        return wrap(_reversed(_windows(w, x, _mode(mode))))
    return wrap(_windows(x, w, _mode(mode)))


def _vector(x: Any) -> Value:
    value = as_array(x).value
    if value.rank > 1:
        raise errors.ValueRefusedError("object too deep for desired array")
    return value if value.rank else ops.reshape(value, (1,))


def _length(x: Value) -> float:
    """The extent; one that data decides counts as the longer."""
    (n,) = x.dims
    return n if isinstance(n, int) else np.inf


def _mode(mode: Any) -> str:
    names = {0: "valid", 1: "same", 2: "full"}
    found = names.get(mode, mode)
    if found not in names.values():
        raise errors.ValueRefusedError(
            f"mode must be one of 'valid', 'same', or 'full' (got {mode!r})"
        )
    return str(found)


def _reversed(x: Value) -> Value:
    (n,) = x.dims
    return ops.slice(x, (as_dim(ops.sub(as_value(n), 1)),), (n,), (-1,))


def _windows(x: Value, w: Value, mode: str) -> Value:
    """sum(x[i + k] * w[k]) for each window i of x, which goes over its ends by the mode."""
    (m,) = w.dims
    if not isinstance(m, int):
        raise errors.UnsupportedFunctionError(
            "np.convolve and np.correlate of two vectors of lengths that depend on data"
        )
    common = result_type(wrap(x), wrap(w))
    x, w = (as_dtype(wrap(v), common) for v in (x, w))
    if common.is_half:
        found = _windows(ops.convert(x, T.f32), ops.convert(w, T.f32), mode)
        return ops.convert(found, common)
    low, high = {"valid": (0, 0), "same": (m // 2, m - m // 2 - 1), "full": (m - 1, m - 1)}[mode]
    if low or high:  # into memory, where each window is contiguous
        wide = as_dim(ops.add(as_value(x.dims[0]), low + high))
        x = ops.update(ops.full(Literal(0, common), (wide,)), x, (low,), (1,))
    n = as_dim(ops.sub(as_value(x.dims[0]), m - 1))
    return _written_out(x, w, n, m) if m <= _WRITTEN_OUT else _in_a_loop(x, w, n, m)


def _written_out(x: Value, w: Value, n: Dim, m: int) -> Value:
    plus, times = _arithmetic(x)
    total = None
    for k in range(m):
        weight = ops.reshape(ops.slice(w, (k,), (1,), (1,)), ())
        term = times(ops.slice(x, (k,), (n,), (1,)), ops.broadcast(weight, (n,), ()))
        total = term if total is None else plus(total, term)
    assert total is not None
    return total


def _in_a_loop(x: Value, w: Value, n: Dim, m: int) -> Value:
    """The windows are rows of a table that is never made: its elements are found by their index."""
    place = ops.add(ops.iota((n, m), 0), ops.iota((n, m), 1))
    terms = _arithmetic(x)[1](ops.gather(x, [place], (0,)), ops.broadcast(w, (n, m), (1,)))
    return ops.reduce_any(terms, (1,)) if x.dtype.is_bool else ops.reduce_sum(terms, (1,))


def _arithmetic(x: Value) -> tuple[Callable[..., Value], Callable[..., Value]]:
    """Sum and product; of bools "or" and "and"."""
    return (ops.bitwise_or, ops.bitwise_and) if x.dtype.is_bool else (ops.add, ops.mul)


TABLE: dict[Any, Callable[..., Any]] = {
    np.interp: interp,
    np.convolve: convolve,
    np.correlate: correlate,
}
