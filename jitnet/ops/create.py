"""Ops that make arrays from nothing: `iota`, `empty`, `const`.

    %i = iota 3 {axis=0, dtype=i64}               [0, 1, 2]
    %e = empty %n, 4 {dtype=f64}                  content undefined: poison in the interpreters
    %c = const {data=dense(f32[2], ...)}          constant array

`full` and `zeros_like` are broadcasts of a scalar and live in `shape`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from jitnet.ir import (
    ArrayType,
    Attrs,
    Dense,
    Dim,
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
from jitnet.ir.facts import FactRule, Range
from jitnet.kernel import scalars as s
from jitnet.ops.lanes import made_alike
from jitnet.ops.primitive import (
    Context,
    Element,
    Primitive,
    Sample,
    Structured,
    nondifferentiable,
    not_linear,
)

INDEX = T.scalar(T.i64)


def dims_of(op: str, operands: Sequence[Value]) -> tuple[Dim, ...]:
    """The dims that i64 scalar operands stand for.

    Raises:
        TypeRuleError: where one is no i64 scalar, or a negative constant.
    """
    dims = tuple([as_dim(v) for v in operands])
    for k, (value, dim) in enumerate(zip(operands, dims)):
        if value.type is not INDEX and value.type != INDEX:
            raise TypeRuleError(f"{op}: extent {k} must be an i64 scalar, not {value.type}")
        if isinstance(dim, int) and dim < 0:
            raise TypeRuleError(f"{op}: extent {k} is negative: {dim}")
    return dims


def extents(values: Iterable[Any]) -> tuple[int, ...]:
    """The dims of a NumPy reference's operands, as ints."""
    return tuple(int(v) for v in values)


# -- iota ------------------------------------------------------------------------------------------


def _infer_iota(
    operands: Sequence[Value], attrs: Attrs, regions: Sequence[Function]
) -> tuple[Type, ...]:
    dims = dims_of("iota", operands)
    axis, dtype = attrs["axis"], attrs["dtype"]
    if not 0 <= axis < len(dims):
        raise TypeRuleError(f"iota: no axis {axis} in rank {len(dims)}")
    if dtype.is_bool:
        raise TypeRuleError("iota: counts in numbers, not in bool")
    return (ArrayType(dtype, dims),)


def _numpy_iota(eqn: Eqn, *dims: Any) -> tuple[Any, ...]:
    shape, axis = extents(dims), eqn.attrs["axis"]
    counts = np.arange(shape[axis]).astype(eqn.attrs["dtype"].numpy)
    along = [1] * len(shape)
    along[axis] = shape[axis]
    return (np.broadcast_to(counts.reshape(along), shape).copy(),)


def _emit_iota(context: Context, eqn: Eqn, index: Sequence[Value]) -> Value:
    return s.cast(index[eqn.attrs["axis"]], eqn.attrs["dtype"])


def _iota_range(eqn: Eqn, *dims: Range) -> Range:
    return Range(0, max(dims[eqn.attrs["axis"]].hi - 1, 0))


IOTA = Primitive(
    "iota",
    infer=_infer_iota,
    numpy=_numpy_iota,
    jvp=nondifferentiable,
    transpose=not_linear,
    batch=made_alike,
    lower=[Element(_emit_iota)],
    samples=lambda: [
        Sample((np.int64(5),), {"axis": 0, "dtype": T.f64}),
        Sample((np.int64(2), np.int64(3)), {"axis": 1, "dtype": T.i32}),
        Sample((np.int64(0), np.int64(3)), {"axis": 0, "dtype": T.u8}),
    ],
    facts=FactRule(range=_iota_range),
)


def iota(dims: Sequence[Dim], axis: int = 0, dtype: DType = T.i64) -> Value:
    """An array of `dims` whose elements are their own index along `axis`."""
    attrs = {"axis": axis, "dtype": dtype}
    (result,) = current().bind(IOTA, [as_value(d) for d in dims], attrs)
    return result


# -- empty -----------------------------------------------------------------------------------------


def _infer_empty(
    operands: Sequence[Value], attrs: Attrs, regions: Sequence[Function]
) -> tuple[Type, ...]:
    return (ArrayType(attrs["dtype"], dims_of("empty", operands)),)


def poison(dtype: DType, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """What the interpreters put where a program must not read: NaN, 0xCC bytes, or True."""
    if dtype.is_inexact:
        return np.full(shape, np.nan, dtype.numpy)
    if dtype.is_bool:
        return np.ones(shape, np.bool_)
    element = np.frombuffer(b"\xcc" * dtype.itemsize, dtype.numpy)[0]
    return np.full(shape, element, dtype.numpy)


def _numpy_empty(eqn: Eqn, *dims: Any) -> tuple[Any, ...]:
    return (poison(eqn.attrs["dtype"], extents(dims)),)


EMPTY = Primitive(
    "empty",
    infer=_infer_empty,
    numpy=_numpy_empty,
    jvp=nondifferentiable,
    transpose=not_linear,
    batch=made_alike,
    lower=[Structured()],
    samples=lambda: [Sample((np.int64(0), np.int64(4)), {"dtype": T.f64})],
)


def empty(dims: Sequence[Dim], dtype: DType) -> Value:
    """An array whose content is undefined until it is written."""
    (result,) = current().bind(EMPTY, [as_value(d) for d in dims], {"dtype": dtype})
    return result


# -- const -----------------------------------------------------------------------------------------


def _infer_const(
    operands: Sequence[Value], attrs: Attrs, regions: Sequence[Function]
) -> tuple[Type, ...]:
    array = attrs["data"].array
    return (ArrayType(T.from_numpy(array.dtype), array.shape),)


def _const_range(eqn: Eqn) -> Range | None:
    array = eqn.attrs["data"].array
    return Range(int(array.min()), int(array.max())) if array.size else None


CONST = Primitive(
    "const",
    infer=_infer_const,
    numpy=lambda eqn: (eqn.attrs["data"].array[()],),
    jvp=nondifferentiable,
    transpose=not_linear,
    batch=made_alike,
    lower=[Structured()],
    samples=lambda: [
        Sample((), {"data": Dense(np.arange(6.0).reshape(2, 3))}),
        Sample((), {"data": Dense(np.array([True, False]))}),
    ],
    facts=FactRule(range=_const_range),
)


def const(array: np.typing.ArrayLike) -> Value:
    """A constant: a `Literal` for rank 0, an equation for an array.

    Raises:
        KeyError: for a dtype that the IR does not have.
    """
    data = np.asarray(array)
    if data.ndim == 0:
        return Literal(data[()], T.from_numpy(data.dtype))
    (result,) = current().bind(CONST, (), {"data": Dense(data)})
    return result
