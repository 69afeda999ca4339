"""NumPy's functions that make arrays from numbers or nothing: zeros, full, arange, eye.

    np.zeros((n, 3))       %0 = broadcast 0.0, %n, 3 {axes=()}
    np.arange(n)           %0 = iota %n {axis=0, dtype=i64}

They are reached by calls in the user's source, since without an array among the arguments NumPy
would answer itself. Each result is a new traced array that can be written to, also where all is
known while tracing. An extent may be a traced int: it becomes a dim.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jitnet import errors, ops
from jitnet.frontend import layouts, making
from jitnet.frontend.converting import converted, int_of
from jitnet.frontend.dims import Dims, extent, extents, filled
from jitnet.frontend.flats import Flat
from jitnet.frontend.promotion import as_array, default_dtype, is_python, operand, result_type
from jitnet.frontend.tracer import Tracer, lift_array, supported_dtype, wrap
from jitnet.ir import Dim, DType, Literal, Value, as_dim
from jitnet.ir import types as T

CONSTANT = 4096  # elements; an array with more is an input of the program, not part of its text


def is_traced(x: Any) -> bool:
    """Whether x is traced, or a sequence that holds something traced."""
    if type(x) is Tracer or type(x) is Flat:
        return True
    if isinstance(x, (list, tuple)):
        return any(map(is_traced, x))
    if type(x) is slice:
        return any(map(is_traced, (x.start, x.stop, x.step)))
    return False


def known_array(x: np.ndarray[Any, Any]) -> Tracer:
    """A new array whose content is known while tracing.

    Raises:
        UnsupportedDTypeError: for a dtype that jitnet does not have.
    """
    supported_dtype(x.dtype, "an array")
    if x.size > CONSTANT:
        return wrap(lift_array(np.array(x)).value)
    return wrap(ops.const(np.array(x)))


def known(x: Any) -> Any:
    """What NumPy made of known arguments, with new arrays for its arrays."""
    if isinstance(x, (list, tuple)):
        return type(x)(map(known, x))
    return known_array(x) if isinstance(x, np.ndarray) else x


def dtype_of(dtype: Any, default: Any = float) -> DType:
    return supported_dtype(np.dtype(default if dtype is None else dtype), "dtype=")


def shape_of(shape: Any) -> Dims:
    """A user's shape, checked not to be negative.

    Raises:
        ValueRefusedError: for a negative extent; for a traced one, when the program runs.
    """
    dims = extents(shape)
    for d in dims:
        if not isinstance(d, int):
            message = "negative dimensions are not allowed"
            ops.check(ops.ge(d, 0), [], "ValueError", message)
    return dims


def _full(value: Value, dims: Dims) -> Tracer:
    return wrap(filled(value, dims))


def _in_order(new: Tracer, order: Any) -> Tracer:
    """A new array that lies by rows or by columns.

    Raises:
        ValueRefusedError: for another order.
    """
    if layouts.checked(order or "C") in ("A", "K"):
        raise errors.ValueRefusedError("only 'C' or 'F' order is permitted")
    layouts.lay_out(new.place, order or "C")
    return new


# -- one number in all places ----------------------------------------------------------------------


def _constant(item: int) -> Callable[..., Tracer]:
    def create(
        shape: Any, dtype: Any = None, order: str = "C", *, device: Any = None, like: Any = None
    ) -> Tracer:
        return _in_order(_full(Literal(item, dtype_of(dtype)), shape_of(shape)), order)

    return create


def empty(
    shape: Any, dtype: Any = None, order: str = "C", *, device: Any = None, like: Any = None
) -> Tracer:
    """`np.empty`: what it holds before it is written to is not defined."""
    return _in_order(wrap(ops.empty(shape_of(shape), dtype_of(dtype))), order)


def full(
    shape: Any,
    fill_value: Any,
    dtype: Any = None,
    order: str = "C",
    *,
    device: Any = None,
    like: Any = None,
) -> Tracer:
    """`np.full`.

    Raises:
        ShapeError: for a fill value that does not broadcast.
    """
    wanted = None if dtype is None else dtype_of(dtype)
    if wanted is None:
        fill = operand(fill_value)
        wanted = fill.value.dtype if isinstance(fill, Tracer) else default_dtype(fill)
    return _in_order(making.filled_with(fill_value, wanted, shape_of(shape)), order)


# -- ranges ----------------------------------------------------------------------------------------


def arange(
    start: Any = None,
    stop: Any = None,
    step: Any = None,
    dtype: Any = None,
    *,
    device: Any = None,
    like: Any = None,
) -> Tracer:
    """`np.arange`, of numbers of which some may be traced.

    Raises:
        DTypeError: without a stop.
        DivisionByZeroError: for a step of zero.
    """
    if stop is None:
        if start is None:
            raise errors.DTypeError("arange() requires stop to be specified.")
        start, stop = 0, start
    numbers = [
        _number(x) for x in (0 if start is None else start, stop, 1 if step is None else step)
    ]
    wanted = range_dtype(numbers) if dtype is None else dtype_of(dtype)
    n = range_length(*numbers)
    if wanted.is_bool:
        return _range_of_bools(n, numbers)
    if isinstance(n, int) and not wanted.is_integer and n <= CONSTANT:
        return known_array(np.arange(*numbers, dtype=wanted.numpy))
    first, second = numbers[0], numbers[0] + numbers[2]
    return wrap(_arithmetic(n, converted(first, wanted), converted(second, wanted), wanted))


def _range_of_bools(n: Dim, numbers: Sequence[Any]) -> Tracer:
    if not isinstance(n, int):
        raise errors.UnsupportedFunctionError(
            "np.arange of traced numbers in bools", remedy="np.zeros(n, bool)"
        )
    return known_array(np.arange(*numbers, dtype=bool))


def _number(x: Any) -> Any:
    """An argument of arange: a number, known or traced."""
    if type(x) is Tracer and x.flavour == "array":
        if x.ndim:
            raise errors.DTypeError("only 0-dimensional arrays can be converted to Python scalars")
        return x[()]
    return x


def _all_integers(numbers: Sequence[Any]) -> bool:
    return all(np.dtype(default_dtype(operand(x)).numpy).kind in "biu" for x in numbers)


def range_dtype(numbers: Sequence[Any]) -> DType:
    """At least int64, whatever the numbers are."""
    return result_type(*(wrap(Literal(0, T.i64)), *map(as_array, numbers)))


def range_length(start: Any, stop: Any, step: Any) -> Dim:
    """ceil((stop - start) / step), in the arithmetic of the numbers' kind, or 0.

    Raises:
        DivisionByZeroError, ValueRefusedError: for a step of zero, a Python number or another.
    """
    between = stop if type(start) is int and start == 0 else stop - start
    if not is_traced(between) and not is_traced(step):
        return _known_length(between, step)
    if not _all_integers((start, stop, step)):
        value = ops.ceil(ops.convert(as_array(between / step).value, T.f64))
        fine = ops.lt(ops.abs(value), 2.0**63)
        ops.check(fine, [], "ValueError", "arange: cannot compute length")
        return as_dim(ops.convert(ops.maximum(value, 0.0), T.i64))
    a, b = (int_of(as_array(x).value) for x in (between, step))
    if all(is_python(operand(x)) for x in (between, step)):
        ops.check(ops.ne(b, 0), [], "ZeroDivisionError", "division by zero")
    else:
        ops.check(ops.ne(b, 0), [], "ValueError", "Maximum allowed size exceeded")
    if not (isinstance(b, Literal) and b.item == 1):
        a = ops.neg(ops.floordiv(ops.neg(a), b))
    return as_dim(ops.maximum(a, Literal(0, T.i64)))


def _known_length(between: Any, step: Any) -> int:
    try:
        with np.errstate(all="ignore"):
            length: int = math.ceil(between / step)
            return max(0, length)
    except ZeroDivisionError:
        raise errors.DivisionByZeroError("division by zero") from None
    except (ValueError, OverflowError):
        raise errors.ValueRefusedError("arange: cannot compute length") from None


def _arithmetic(n: Dim, first: Value, second: Value, dtype: DType) -> Value:
    """NumPy's way to fill a range: the first two elements, and then by their difference."""
    counts = ops.iota((n,), 0, dtype)
    if isinstance(first, Literal) and isinstance(second, Literal):
        with np.errstate(all="ignore"):
            step: Value = Literal(np.subtract(second.data, first.data), dtype)
    else:
        step = ops.sub(second, first)
    if not (isinstance(step, Literal) and step.item == 1):
        counts = ops.mul(counts, _spread(step, n))
    if dtype.is_integer:
        at_zero = isinstance(first, Literal) and first.item == 0
        return counts if at_zero else ops.add(counts, _spread(first, n))
    line = ops.add(_spread(first, n), counts)
    place = ops.iota((n,), 0, T.i64)
    line = ops.select(ops.eq(place, 1), _spread(second, n), line)
    return ops.select(ops.eq(place, 0), _spread(first, n), line)


def _spread(value: Value, n: Dim) -> Value:
    return value if isinstance(value, Literal) else ops.broadcast(value, (n,), ())


def indices(dimensions: Any, dtype: Any = int, sparse: bool = False) -> Any:
    """`np.indices`."""
    dims = shape_of(tuple(dimensions))
    wanted = dtype_of(dtype, int)
    found = []
    for axis, d in enumerate(dims):
        own = tuple(d if i == axis else 1 for i in range(len(dims))) if sparse else dims
        found.append(ops.iota(own, axis, wanted))
    if sparse:
        return tuple(map(wrap, found))
    if not found:
        return _full(Literal(0, wanted), (0,))
    return wrap(ops.concatenate([ops.reshape(v, (1, *dims)) for v in found], 0))


def fromfunction(
    function: Callable[..., Any], shape: Any, *, dtype: Any = float, like: Any = None, **kwargs: Any
) -> Any:
    """`np.fromfunction`: the function of the indices."""
    return function(*indices(shape, dtype, sparse=False), **kwargs)


# -- matrices --------------------------------------------------------------------------------------


def _where(compare: Callable[..., Value], rows: Any, columns: Any, k: Any, dtype: Any) -> Tracer:
    """1 where `column compare row + k`."""
    dims = shape_of((rows, rows if columns is None else columns))
    at_row, at_column = (ops.iota(dims, axis, T.i64) for axis in (0, 1))
    offset = extent(k)
    if offset != 0 or not isinstance(offset, int):
        by = Literal(offset, T.i64) if isinstance(offset, int) else filled(offset, dims)
        at_row = ops.add(at_row, by)
    return wrap(ops.convert(compare(at_column, at_row), dtype_of(dtype)))


def eye(
    N: Any,
    M: Any = None,
    k: Any = 0,
    dtype: Any = float,
    order: str = "C",
    *,
    device: Any = None,
    like: Any = None,
) -> Tracer:
    """`np.eye`."""
    return _in_order(_where(ops.eq, N, M, k, dtype), order)


def identity(n: Any, dtype: Any = None, *, like: Any = None) -> Tracer:
    """`np.identity`."""
    return _where(ops.eq, n, None, 0, dtype)


def tri(N: Any, M: Any = None, k: Any = 0, dtype: Any = float, *, like: Any = None) -> Tracer:
    """`np.tri`: ones at and below a diagonal."""
    return _where(ops.le, N, M, k, dtype)


TABLE: dict[Any, Callable[..., Any]] = {
    np.zeros: _constant(0),
    np.ones: _constant(1),
    np.empty: empty,
    np.full: full,
    np.arange: arange,
    np.indices: indices,
    np.fromfunction: fromfunction,
    np.eye: eye,
    np.identity: identity,
    np.tri: tri,
}
