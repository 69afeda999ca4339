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

from jitnet.ir import (
    ArrayType,
    Attrs,
    Eqn,
    Function,
    ResultDim,
    TapeType,
    Type,
    Value,
    current,
)
from jitnet.ir import types as T
from jitnet.ir.facts import EXTENTS
from jitnet.ops.primitive import (
    JvpTransform,
    Primitive,
    Structured,
    Tangents,
    nondifferentiable,
    not_linear,
)
from jitnet.ops.regions import no_samples, require
from jitnet.ops.shape import reshape, zeros_like


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


# -- derivatives -----------------------------------------------------------------------------------


def tangent_type(type: Type) -> Type:
    """An array's own type; for a tape, a tape of its inexact fields."""
    if isinstance(type, TapeType):
        return TapeType(tuple(field for field in type.fields if field[0].is_inexact))
    return type


def zero_tangent(type: Type) -> Value:
    """A zero tangent of this type. That of a tape is an empty tape: it is only asked for where the
    tape itself is still empty."""
    if isinstance(type, TapeType):
        return tape_new(type)
    assert isinstance(type, ArrayType)
    return zeros_like(type)


def _jvp_push(
    eqn: Eqn, primals: Sequence[Value], tangents: Tangents, jvp: JvpTransform
) -> tuple[Sequence[Value], Tangents]:
    results = current().rebind(eqn, primals)
    beside = tangents[0]
    if beside is None:
        beside = zero_tangent(tangent_type(primals[0].type))
    pushed = [
        zero_tangent(v.type) if t is None else t
        for v, t in zip(primals[1:], tangents[1:])
        if v.dtype.is_inexact
    ]
    return results, (tape_push(beside, pushed),)


def _jvp_get(
    eqn: Eqn, primals: Sequence[Value], tangents: Tangents, jvp: JvpTransform
) -> tuple[Sequence[Value], Tangents]:
    results = current().rebind(eqn, primals)
    assert tangents[0] is not None
    fields = tape_type(primals[0]).fields
    count = len(results) - len(fields)
    beside = tape_get(tangents[0], primals[1])
    moved = iter(beside[len(beside) - sum(dtype.is_inexact for dtype, _ in fields) :])
    out: list[Value | None] = [None] * count
    for r in results[count:]:
        t = next(moved) if r.dtype.is_inexact else None
        out.append(t if t is None or t.type == r.type else reshape(t, r.dims))
    return results, out


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
    jvp=_jvp_push,
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
    facts=EXTENTS,
)
TAPE_GET = Primitive(
    "tape_get",
    infer=_infer_get,
    numpy=_numpy_get,
    jvp=_jvp_get,
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
