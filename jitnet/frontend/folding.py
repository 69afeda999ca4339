"""Python's builtins that go over an iterable: min, max, sum, any, all, on traced items.

    min(a, b)      %0 = lt %b, %a;  %1 = select %0, %b, %a      Python's b if b < a else a
    sum(x)         for %n, 0.0, %x { add }                      left to right, as Python adds

The items of an array are its rows; a long array is gone through by one equation or one loop.
"""

from __future__ import annotations

import builtins
import functools
import math
import operator
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from jitnet import errors, ops
from jitnet.frontend.converting import converted, float_of, truth_of
from jitnet.frontend.creating import is_traced
from jitnet.frontend.dims import filled
from jitnet.frontend.dispatch import note_place
from jitnet.frontend.elementwise import truth
from jitnet.frontend.flats import unflattened
from jitnet.frontend.promotion import (
    Operand,
    as_array,
    is_python,
    literal_of,
    loop_dtypes,
    operand,
    python_kind,
)
from jitnet.frontend.tracer import Tracer, wrap
from jitnet.ir import DType, Literal, Value, as_dim, as_value
from jitnet.ir import types as T

_MISSING: Any = object()
_UNROLLED = 8  # rows of an array that are added one by one; more are added in a loop


def _is_array(x: Any) -> bool:
    return type(x) is Tracer and x.flavour == "array" and x.ndim > 0


def _items(x: Any) -> Any:
    """The items as a sequence; a traced vector as it is."""
    x = unflattened(x)
    if _is_array(x) and x.ndim == 1:
        return x
    return x if isinstance(x, (list, tuple)) else list(x)


# -- the least and the greatest --------------------------------------------------------------------


def _extremum(name: str, is_better: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    original = getattr(builtins, name)

    def extremum(*args: Any, key: Any = None, **default: Any) -> Any:
        items = _items(args[0]) if len(args) == 1 else args
        if not is_traced(items):
            return original(*([items] if len(args) == 1 else args), key=key, **default)
        note_place()
        if key is not None:
            raise errors.UnsupportedFunctionError(
                f"{name}() of traced values with key=, where code without source calls it",
                remedy=f"{name}() of the keys, or np.arg{name}(keys)",
            )
        if type(items) is Tracer:
            return _of_vector(name, items, **default)
        best, *rest = items
        for item in rest:
            best = choose(is_better(item, best), item, best, f"{name}()")
        return best

    return extremum


def choose(pred: Any, x: Any, y: Any, what: str) -> Any:
    """`x if pred else y` of numbers: one of a kind that holds both.

    Raises:
        UnsupportedFunctionError: where there is none.
    """
    if type(pred) is not Tracer:
        return x if pred else y
    a, b = operand(x), operand(y)
    if is_python(a) and is_python(b):
        kinds = {python_kind(a), python_kind(b)}
        ranked = {complex: T.c128, float: T.f64, int: T.i64, bool: T.bool_}
        dtype = next(d for kind, d in ranked.items() if kind in kinds)
        return wrap(ops.select(truth_of(pred), _as(a, dtype), _as(b, dtype)), "python")
    arrays = [v for v in (a, b) if isinstance(v, Tracer) and v.flavour != "python"]
    dtype = arrays[0].value.dtype
    values = [_held(v, dtype) for v in (a, b)]
    if any(v is None for v in values) or len({v.rank for v in values if v is not None}) > 1:
        raise errors.UnsupportedFunctionError(
            f"{what} of {errors.describe(x)} and {errors.describe(y)}",
            why="the class of the result would depend on their values",
            remedy="make them of one dtype first",
        )
    flavour = "array" if all(v.flavour == "array" for v in arrays) else "scalar"
    return wrap(ops.select(truth_of(pred), *values), flavour)  # type: ignore[arg-type]


def _as(x: Operand, dtype: DType) -> Value:
    return ops.convert(x.value, dtype) if isinstance(x, Tracer) else literal_of(x, dtype)


def _held(x: Operand, dtype: DType) -> Value | None:
    """The number in that dtype, as branches have it; None where this would be another number."""
    if isinstance(x, Tracer):
        is_real = x.flavour == "python" and not x.value.dtype.is_complex
        value = ops.convert(x.value, dtype) if is_real and dtype.is_float else x.value
        return value if value.dtype == dtype else None
    if type(x) is complex and not dtype.is_complex:
        return None
    if type(x) is float and not dtype.is_inexact:
        return None
    value = literal_of(x, dtype)
    same = value.item == x or (isinstance(x, float) and math.isnan(x))
    return value if same else None


def _of_vector(name: str, x: Tracer, default: Any = _MISSING) -> Any:
    """The first element that no other is better than. Python's comparisons skip NaNs, unless the
    first element is one."""
    value = x.value
    (n,) = value.dims
    if n == 0 and default is not _MISSING:
        return default
    if default is not _MISSING and not isinstance(n, int):
        return _of_vector(name, _or_default(name, x, default))
    message = f"{name}() arg is an empty sequence"
    if n == 0:
        raise errors.ValueRefusedError(message)
    ops.check(ops.gt(as_value(n), 0), [], "ValueError", message)
    find = ops.argmin if name == "min" else ops.argmax
    if not value.dtype.is_float:
        return _element(value, find(value, 0))
    worst = math.inf if name == "min" else -math.inf
    worst_in_all = ops.full(Literal(worst, value.dtype), value.dims)
    place = find(ops.select(ops.isnan(value), worst_in_all, value), 0)
    first = _element(value, Literal(0, T.i64)).value
    return _element(value, ops.select(ops.isnan(first), Literal(0, T.i64), place))


def _or_default(name: str, x: Tracer, default: Any) -> Tracer:
    """The vector, or a vector of the default where it is empty."""
    value = x.value
    last = _held(operand(default), value.dtype)
    if last is None or last.rank:
        raise errors.UnsupportedFunctionError(
            f"{name}() of an array of unknown length, of {value.dtype.numpy.name}, with default="
            f"{errors.describe(default)}",
            why="the class of the result would depend on whether the array is empty",
            remedy="make the default a number of the array's dtype",
        )
    longer = ops.concatenate([value, ops.full(last, (1,))])
    return wrap(ops.slice(longer, (0,), (as_dim(ops.maximum(as_value(value.dims[0]), 1)),)))


def _element(x: Value, place: Value) -> Tracer:
    return wrap(ops.reshape(ops.slice(x, (place,), (1,), (1,)), ()), "scalar")


# -- sums ------------------------------------------------------------------------------------------


def total(iterable: Iterable[Any], /, start: Any = 0) -> Any:
    """`sum(iterable, start)`: added from left to right."""
    if not _is_array(iterable):
        items = list(iterable)
        if sys.version_info >= (3, 12) and is_traced(items):
            return compensated(items, start)
        return sum(items, start)
    x = as_array(iterable)
    n = x.value.dims[0]
    if (isinstance(n, int) and n <= _UNROLLED) or _is_array(start):
        return functools.reduce(operator.add, list(x), start)
    note_place()
    one = wrap(Literal(0, x.value.dtype), "scalar")
    dtype = loop_dtypes(np.add, [operand(start), one])[-1]
    first = filled(converted(start, dtype), x.value.dims[1:])
    (added,) = ops.for_(as_value(n), _add_row, carries=[first], xs=[x.value])
    return wrap(added, "array" if added.rank else "scalar")


def _add_row(i: Value, consts: Any, carries: Any, rows: Any) -> Value:
    (so_far,), (row,) = carries, rows
    return ops.add(so_far, ops.convert(row, so_far.dtype))


def compensated(items: Sequence[Any], start: Any = 0) -> Any:
    """The sum as Python 3.12 and later have it: while all are Python's floats and ints, what each
    addition rounds off is kept aside, and added in the end."""
    result, rest = start, list(items)
    while rest and _is_python(result, int) and _is_python(rest[0], int, bool):
        result = result + rest.pop(0)
    if rest and _is_python(result, int):
        result = result + rest.pop(0)
    if rest and _is_python(result, float):
        result = _compensated_floats(result, rest)
    return sum(rest, result)


def _compensated_floats(start: Any, rest: list[Any]) -> Any:
    """The sum of the floats and ints at the head of `rest`, which are taken off it."""
    so_far: Value = float_of(start)
    error: Value = Literal(0.0, T.f64)
    while rest and _is_python(rest[0], float, int, bool):
        item = rest.pop(0)
        x = float_of(item)
        both = ops.add(so_far, x)
        if _is_python(item, float):
            larger = ops.ge(ops.abs(so_far), ops.abs(x))
            lost = ops.add(ops.sub(so_far, both), x)
            lost = ops.select(larger, lost, ops.add(ops.sub(x, both), so_far))
            error = ops.add(error, lost)
        so_far = both
    useful = ops.bitwise_and(ops.ne(error, 0.0), ops.isfinite(error))
    return wrap(ops.select(useful, ops.add(so_far, error), so_far), "python")


def _is_python(x: Any, *kinds: type) -> bool:
    """Whether x is a Python number, known or traced, of just these classes."""
    if type(x) is Tracer:
        return x.flavour == "python" and x.__class__ in kinds
    return type(x) in kinds


# -- any, all --------------------------------------------------------------------------------------


def _truth_of_all(decisive: bool, combine: Callable[[Value, Value], Value]) -> Callable[..., Any]:
    """any, for which a true item decides, or all."""
    reduce = ops.reduce_any if decisive else ops.reduce_all

    def fold(iterable: Iterable[Any], /) -> Any:
        if _is_array(iterable) and as_array(iterable).ndim == 1:
            note_place()
            return wrap(reduce(truth(as_array(iterable).value), (0,)), "python")
        found: Value | None = None
        for item in iterable:
            if type(item) is not Tracer:
                if bool(item) is decisive:
                    return decisive
                continue
            note_place()
            value = truth_of(item)
            found = value if found is None else combine(found, value)
        return not decisive if found is None else wrap(found, "python")

    return fold


TABLE: dict[Any, Callable[..., Any]] = {
    min: _extremum("min", operator.lt),
    max: _extremum("max", operator.gt),
    sum: total,
    any: _truth_of_all(True, ops.bitwise_or),
    all: _truth_of_all(False, ops.bitwise_and),
}
