"""Tapes: growing logs of records, for what a loop of unknown length must remember.

    %t: tape[f64[?], i64] = tape_new {type=tape[f64[?], i64]}
    %u: tape[f64[?], i64] = tape_push %t, %row, %i
    %k: i64, %row: f64[%k], %i: i64 = tape_get %u, 0

A record has one value per field; an extent marked `?` is stored with it and read back as a result
in front of the fields.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from jitnet.ir import ArrayType, Attrs, Function, ResultDim, TapeType, Type, Value, current
from jitnet.ir import types as T
from jitnet.ops.control import no_samples, require
from jitnet.ops.primitive import Primitive, Structured, nondifferentiable, not_linear


def tape_type(tape: Value) -> TapeType:
    assert isinstance(tape.type, TapeType), f"{tape} is no tape"
    return tape.type


def _infer_new(operands: object, attrs: Attrs, regions: object) -> tuple[Type, ...]:
    return (attrs["type"],)


def _infer_push(
    operands: Sequence[Value], attrs: Attrs, regions: Sequence[Function]
) -> tuple[Type, ...]:
    tape, *values = operands
    fields = tape_type(tape).fields
    require(len(values) == len(fields), f"tape_push: {len(fields)} values make a record")
    for v, (dtype, dims) in zip(values, fields):
        fits = v.dtype == dtype and len(dims) == v.rank
        fits = fits and all(d is None or d == e for d, e in zip(dims, v.dims))
        require(fits, f"tape_push: {v.type} does not fit the field {dtype}{list(dims)}")
    return (tape.type,)


def _infer_get(
    operands: Sequence[Value], attrs: Attrs, regions: Sequence[Function]
) -> tuple[Type, ...]:
    fields = tape_type(operands[0]).fields
    types: list[Type] = []
    ragged = 0
    for dtype, dims in fields:
        full: list[int | Value] = []
        for d in dims:
            full.append(ResultDim(ragged) if d is None else d)
            ragged += d is None
        types.append(ArrayType(dtype, tuple(full)))
    return (*(T.scalar(T.i64),) * ragged, *types)


def _numpy_get(eqn: Any, tape: Any, position: Any) -> tuple[Any, ...]:
    record = tape[int(position)]
    fields = tape_type(eqn.operands[0]).fields
    extents = [
        np.int64(v.shape[axis])
        for v, (_, dims) in zip(record, fields)
        for axis, d in enumerate(dims)
        if d is None
    ]
    return (*extents, *record)


TAPE_NEW = Primitive(
    "tape_new",
    infer=_infer_new,
    numpy=lambda eqn: ((),),
    jvp=nondifferentiable,
    transpose=not_linear,
    lower=[Structured()],
    samples=no_samples,
)
TAPE_PUSH = Primitive(
    "tape_push",
    infer=_infer_push,
    numpy=lambda eqn, tape, *values: ((*tape, values),),
    jvp=nondifferentiable,
    transpose=not_linear,
    lower=[Structured()],
    samples=no_samples,
    writes=0,
)
TAPE_LENGTH = Primitive(
    "tape_length",
    infer=lambda operands, attrs, regions: (T.scalar(T.i64),),
    numpy=lambda eqn, tape: (np.int64(len(tape)),),
    jvp=nondifferentiable,
    transpose=not_linear,
    lower=[Structured()],
    samples=no_samples,
)
TAPE_GET = Primitive(
    "tape_get",
    infer=_infer_get,
    numpy=_numpy_get,
    jvp=nondifferentiable,
    transpose=not_linear,
    lower=[Structured()],
    samples=no_samples,
)


def tape_new(type: TapeType) -> Value:
    """An empty tape."""
    (tape,) = current().bind(TAPE_NEW, (), {"type": type})
    return tape


def tape_push(tape: Value, values: Sequence[Value]) -> Value:
    """The tape with one more record."""
    (result,) = current().bind(TAPE_PUSH, (tape, *values))
    return result


def tape_length(tape: Value) -> Value:
    """The number of records, i64."""
    (n,) = current().bind(TAPE_LENGTH, (tape,))
    return n


def tape_get(tape: Value, position: Value) -> tuple[Value, ...]:
    """The record at `position`: its ragged extents (i64), then its fields."""
    return current().bind(TAPE_GET, (tape, position))
