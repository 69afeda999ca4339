"""Tapes: growing logs of records, for what a loop of unknown length must remember.

    %t: tape[f64[?], i64] = tape_new {type=tape[f64[?], i64]}
    %u: tape[f64[?], i64] = tape_push %t, %row, %i
    %k: i64, %row: f64[%k], %i: i64 = tape_get %u, 0

A record has one value per field; an extent marked `?` is stored with it and read back as a result
in front of the fields.

Tangents of records go to a tape beside, record for record, so that positions and extents are those
of the first tape, and known:

    %du: tape[f64[?]] = tape_put %dt, %p, %drow        // %p: the length of %t
    %drow: f64[%k] = tape_at %du, %p, %k

Such a tape is zero where nothing has been put: a record beyond its end reads as zeros. What is read
at a position is transposed to an addition there, so records may be read in any order, and often:

    %ct: tape[f64] = tape_add %ct0, %p, %ct_row

The records of a tape of ragged extents cannot be made up like that. They must be read in the
opposite order of that in which they were written, as reverse mode does: their cotangents are then
put on a tape in the first order again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from jitnet.ir import (
    ArrayType,
    Attrs,
    Dim,
    Eqn,
    Function,
    ResultDim,
    TapeType,
    Type,
    Value,
    as_dim,
    as_value,
    current,
)
from jitnet.ir.facts import EXTENTS
from jitnet.ops.lanes import Batched, all_spread, made_alike
from jitnet.ops.lift import accumulate
from jitnet.ops.primitive import (
    BatchTransform,
    JvpTransform,
    Linear,
    Primitive,
    Structured,
    Tangents,
    TransposeTransform,
    never,
    nondifferentiable,
    not_linear,
)
from jitnet.ops.regions import INDEX, no_samples, require
from jitnet.ops.shape import reshape, zeros_like

PACKED_FIELDS = 4
"""Of logs whose records move as there are more."""


def tape_type(tape: Value) -> TapeType:
    assert isinstance(tape.type, TapeType), f"{tape} is no tape"
    return tape.type


def _infer_new(operands: object, attrs: Attrs, regions: object) -> tuple[Type, ...]:
    return (attrs["type"],)


def _infer_push(
    operands: Sequence[Value], attrs: Attrs, regions: Sequence[Function]
) -> tuple[Type, ...]:
    tape, *values = operands
    check_record("tape_push", tape_type(tape), values)
    return (tape.type,)


def _infer_put(
    operands: Sequence[Value], attrs: Attrs, regions: Sequence[Function]
) -> tuple[Type, ...]:
    tape, position, *values = operands
    require(position.type == INDEX, f"a position on a tape is {position.type}, not i64")
    check_record("a tape", tape_type(tape), values)
    return (tape.type,)


def check_record(op: str, tape: TapeType, values: Sequence[Value]) -> None:
    """Refuse values that are no record of such a tape."""
    require(len(values) == len(tape.fields), f"{op}: {len(tape.fields)} values make a record")
    for v, (dtype, dims) in zip(values, tape.fields):
        fits = v.dtype == dtype and len(dims) == v.rank
        fits = fits and all(d is None or d == e for d, e in zip(dims, v.dims))
        require(fits, f"{op}: {v.type} does not fit the field {dtype}{list(dims)}")


def ragged_axes(type: TapeType) -> list[tuple[int, int]]:
    """`(field, axis)` of each extent that is stored with a record."""
    boxes = enumerate(dims for _, dims in type.fields)
    return [(f, axis) for f, dims in boxes for axis, d in enumerate(dims) if d is None]


def _field_types(type: TapeType, extents: Sequence[Value]) -> list[Type]:
    """The types of a record's fields, its ragged extents being these."""
    found = dict(zip(ragged_axes(type), map(as_dim, extents), strict=True))
    return [
        ArrayType(dtype, tuple(found[f, a] if d is None else d for a, d in enumerate(dims)))
        for f, (dtype, dims) in enumerate(type.fields)
    ]


def _infer_get(
    operands: Sequence[Value], attrs: Attrs, regions: Sequence[Function]
) -> tuple[Type, ...]:
    tape, position = operands
    require(position.type == INDEX, f"tape_get: the position is {position.type}, not i64")
    count = len(ragged_axes(tape_type(tape)))
    own = [ResultDim(i) for i in range(count)]
    return (*(INDEX,) * count, *_field_types(tape_type(tape), own))


def _infer_at(
    operands: Sequence[Value], attrs: Attrs, regions: Sequence[Function]
) -> tuple[Type, ...]:
    tape, *numbers = operands
    require(all(v.type == INDEX for v in numbers), "tape_at: position and extents are i64")
    count = len(ragged_axes(tape_type(tape)))
    require(len(numbers) == 1 + count, f"tape_at: a record has {count} ragged extents")
    return tuple(_field_types(tape_type(tape), numbers[1:]))


def is_packed(type: TapeType) -> bool:
    """Whether records lie one after the other in memory, and move when there are more: those of
    lists, and those of a few scalars, which a table of addresses would make twice as large."""
    scalars = all(not dims for _, dims in type.fields)
    return type.changes or (scalars and len(type.fields) <= PACKED_FIELDS)


def reaching(type: TapeType, tape: Any, length: int) -> Any:
    """The records, and zeros behind them up to this length."""
    if ragged_axes(type):
        return tape
    boxes = [(dtype, tuple(d for d in dims if d is not None)) for dtype, dims in type.fields]
    zeros = tuple(np.zeros(dims, dtype.numpy)[()] for dtype, dims in boxes)
    return (*tape, *[zeros] * (length - len(tape)))


def _numpy_put(eqn: Eqn, tape: Any, position: Any, *values: Any) -> tuple[Any, ...]:
    tape = reaching(tape_type(eqn.operands[0]), tape, int(position))
    assert position == len(tape), f"tape_put at {position} of a tape of {len(tape)}"
    return ((*tape, values),)


def _numpy_add(eqn: Eqn, tape: Any, position: Any, *values: Any) -> tuple[Any, ...]:
    tape = reaching(tape_type(eqn.operands[0]), tape, int(position) + 1)
    sums = tuple(x + y for x, y in zip(tape[int(position)], values))
    return ((*tape[:position], sums, *tape[position + 1 :]),)


def _numpy_at(eqn: Eqn, tape: Any, position: Any, *extents: Any) -> tuple[Any, ...]:
    fields: tuple[Any, ...] = reaching(tape_type(eqn.operands[0]), tape, int(position) + 1)[
        int(position)
    ]
    return fields


def _numpy_get(eqn: Eqn, tape: Any, position: Any) -> tuple[Any, ...]:
    record = tape[int(position)]
    ragged = ragged_axes(tape_type(eqn.operands[0]))
    return (*(np.int64(record[f].shape[axis]) for f, axis in ragged), *record)


def beginning(f: Function, tape: Value) -> Value:
    """What a tape of a Function was when it came into it: a param, or an empty tape."""
    made = {r: eqn for eqn in f.eqns for r in eqn.results}
    while tape in made and made[tape].op is not TAPE_NEW:
        eqn = made[tape]
        if not eqn.regions:
            tape = eqn.operands[0]
            continue
        region = eqn.regions[-1]
        param = beginning(region, region.results[eqn.results.index(tape)])
        entering = eqn.operands[len(eqn.operands) - len(region.params) :]
        tape = entering[region.params.index(param)]
    return tape


def is_read(f: Function, tape: Value) -> bool:
    """Whether f reads records of one of its params, or of what that becomes."""
    tapes = {tape}
    for eqn in f.eqns:
        if tapes.isdisjoint(eqn.operands):
            continue
        if eqn.op in (TAPE_GET, TAPE_AT):
            return True
        for region in eqn.regions:
            entering = eqn.operands[len(eqn.operands) - len(region.params) :]
            inside = zip(entering, region.params)
            if any(is_read(region, p) for v, p in inside if v in tapes):
                return True
        tapes.update(r for r in eqn.results if isinstance(r.type, TapeType))
    return False


# -- derivatives -----------------------------------------------------------------------------------


def tangent_type(type: Type) -> Type:
    """An array's own type; for a tape, a tape of its inexact fields."""
    if isinstance(type, TapeType):
        return replace(type, fields=tuple(field for field in type.fields if field[0].is_inexact))
    return type


def zero_tangent(type: Type) -> Value:
    """A zero tangent of this type. That of a tape is an empty one; where extents are ragged it is
    only asked for while the tape itself is empty."""
    if isinstance(type, TapeType):
        return tape_new(type)
    assert isinstance(type, ArrayType)
    return zeros_like(type)


def _extents(values: Sequence[Value | Linear], type: TapeType) -> list[Value]:
    """The ragged extents of a record, from what it is made of."""
    types = [v.type for v in values]
    arrays = ((types[f], a) for f, a in ragged_axes(type))
    return [as_value(t.dims[a]) for t, a in arrays if isinstance(t, ArrayType)]


def _jvp_push(
    eqn: Eqn, primals: Sequence[Value], tangents: Tangents, jvp: JvpTransform
) -> tuple[Sequence[Value], Tangents]:
    position = tape_length(primals[0])
    results = current().rebind(eqn, primals)
    return results, (_put_beside(primals[0], position, primals[1:], tangents[0], tangents[1:]),)


def _jvp_put(
    eqn: Eqn, primals: Sequence[Value], tangents: Tangents, jvp: JvpTransform
) -> tuple[Sequence[Value], Tangents]:
    results = current().rebind(eqn, primals)
    tape, position, *values = primals
    return results, (_put_beside(tape, position, values, tangents[0], tangents[2:]),)


def _put_beside(
    tape: Value,
    position: Value,
    values: Sequence[Value],
    beside: Value | None,
    tangents: Tangents,
) -> Value:
    """The tangent tape with the tangent of one more record."""
    return tape_put(tangent_of_tape(tape, beside), position, tangents_of_record(values, tangents))


def tangent_of_tape(tape: Value, tangent: Value | None) -> Value:
    """The tape beside it, which holds its records' tangents."""
    return zero_tangent(tangent_type(tape.type)) if tangent is None else tangent


def tangents_of_record(values: Sequence[Value], tangents: Tangents) -> list[Value]:
    """The record of that tape which stands for these values."""
    pairs = [(v, t) for v, t in zip(values, tangents, strict=True) if v.dtype.is_inexact]
    return [zero_tangent(v.type) if t is None else t for v, t in pairs]


def _jvp_get(
    eqn: Eqn, primals: Sequence[Value], tangents: Tangents, jvp: JvpTransform
) -> tuple[Sequence[Value], Tangents]:
    """Of a record read by either op; the fields come last."""
    results = current().rebind(eqn, primals)
    assert tangents[0] is not None, "position and extents have no tangents"
    count = len(results) - len(tape_type(primals[0]).fields)
    moving = [r for r in results[count:] if r.dtype.is_inexact]
    beside = tape_type(tangents[0])
    moved = iter(tape_at(tangents[0], primals[1], _extents(moving, beside)))
    fields = [next(moved) if r.dtype.is_inexact else None for r in results[count:]]
    return results, [None] * count + fields


def transpose_put(
    eqn: Eqn,
    operands: Sequence[Value | Linear],
    cotangents: Tangents,
    accumulators: Sequence[Value | None],
    transpose: TransposeTransform,
) -> Sequence[Value | None]:
    """The record's cotangent is read; those before it belong to the tape as it was."""
    ((ct,), (_, position, *values)) = cotangents, operands
    if ct is None:
        return accumulators
    assert isinstance(position, Value)
    read = tape_at(ct, position, _extents(values, tape_type(ct)))
    return [ct, None, *add_record(values, accumulators[2:], read)]


def add_record(
    values: Sequence[Value | Linear],
    accumulators: Sequence[Value | None],
    terms: Sequence[Value],
) -> list[Value | None]:
    """The accumulators of a record's values, with the record of their cotangents added."""
    return [
        accumulate(total, term) if isinstance(v, Linear) else None
        for v, total, term in zip(values, accumulators, terms, strict=True)
    ]


def _transpose_at(
    eqn: Eqn,
    operands: Sequence[Value | Linear],
    cotangents: Tangents,
    accumulators: Sequence[Value | None],
    transpose: TransposeTransform,
) -> Sequence[Value | None]:
    tape, position, *extents = operands
    assert isinstance(tape.type, TapeType)
    assert isinstance(position, Value)
    types = _field_types(tape.type, [v for v in extents if isinstance(v, Value)])
    total = accumulators[0]
    if total is None:
        total = tape_new(tape.type)
    record = [zero_tangent(t) if ct is None else ct for t, ct in zip(types, cotangents)]
    if extents:  # records were read last to first, so their cotangents come first to last
        return [tape_put(total, position, record), *accumulators[1:]]
    return [tape_add(total, position, record), *accumulators[1:]]


def _jvp_add(
    eqn: Eqn, primals: Sequence[Value], tangents: Tangents, jvp: JvpTransform
) -> tuple[Sequence[Value], Tangents]:
    tape, position, *values = primals
    record = tangents_of_record(values, tangents[2:])
    added = tape_add(tangent_of_tape(tape, tangents[0]), position, record)
    return current().rebind(eqn, primals), (added,)


def _transpose_add(
    eqn: Eqn,
    operands: Sequence[Value | Linear],
    cotangents: Tangents,
    accumulators: Sequence[Value | None],
    transpose: TransposeTransform,
) -> Sequence[Value | None]:
    """The sum's cotangent is that of the record, which stays, and of what was added to it."""
    return transpose_put(eqn, operands, cotangents, accumulators, transpose)


# -- batching --------------------------------------------------------------------------------------
#
# One tape for all lanes: they log at the same time, side by side. Where they do not, each has to
# have its own; `transforms.vmap` then runs all that has to do with the tape lane by lane.


def _batch_push(
    eqn: Eqn,
    operands: Sequence[Value],
    batched: Sequence[bool],
    extent: Dim,
    batch: BatchTransform,
) -> Batched | None:
    tape, *values = operands
    if not batched[0]:
        return None
    return (tape_push(tape, all_spread(values, batched[1:], extent)),), [True]


def _batch_put(
    eqn: Eqn,
    operands: Sequence[Value],
    batched: Sequence[bool],
    extent: Dim,
    batch: BatchTransform,
) -> Batched | None:
    tape, position, *values = operands
    if not batched[0] or batched[1]:
        return None
    return (tape_put(tape, position, all_spread(values, batched[2:], extent)),), [True]


def _batch_add(
    eqn: Eqn,
    operands: Sequence[Value],
    batched: Sequence[bool],
    extent: Dim,
    batch: BatchTransform,
) -> Batched | None:
    """Records of ragged extents are not added to: the number of lanes has to be an int."""
    tape, position, *values = operands
    if not batched[0] or batched[1] or not isinstance(extent, int):
        return None
    return (tape_add(tape, position, all_spread(values, batched[2:], extent)),), [True]


def _batch_length(
    eqn: Eqn,
    operands: Sequence[Value],
    batched: Sequence[bool],
    extent: Dim,
    batch: BatchTransform,
) -> Batched:
    return (tape_length(operands[0]),), [False]


def _batch_get(
    eqn: Eqn,
    operands: Sequence[Value],
    batched: Sequence[bool],
    extent: Dim,
    batch: BatchTransform,
) -> Batched | None:
    """The number of lanes, where it is no int, is an extent like others that a record has."""
    tape, position = operands
    if batched[1]:
        return None
    values = tape_get(tape, position)
    count = len(ragged_axes(tape_type(tape)))
    ragged = zip(ragged_axes(tape_type(tape)), values[:count])
    extents = [v for (_, axis), v in ragged if axis > 0]
    fields = [reshape(v, (extent, *v.dims[1:])) for v in values[count:]]
    return [*extents, *fields], [*[False] * len(extents), *[True] * len(fields)]


def _batch_at(
    eqn: Eqn,
    operands: Sequence[Value],
    batched: Sequence[bool],
    extent: Dim,
    batch: BatchTransform,
) -> Batched | None:
    tape, position, *extents = operands
    if batched[1]:
        return None
    inner = iter(extents)
    ragged = ragged_axes(tape_type(tape))
    given = [next(inner) if axis > 0 else as_value(extent) for _, axis in ragged]
    values = tape_at(tape, position, given)
    return values, [True] * len(values)


declared = partial(Primitive, lower=[Structured()], samples=no_samples)
"""Makes an op on tapes of its rules: the code generator lowers it, and no test makes operands."""

TAPE_NEW = declared(
    "tape_new",
    infer=_infer_new,
    numpy=lambda eqn: ((),),
    jvp=nondifferentiable,
    transpose=not_linear,
    batch=made_alike,
)
TAPE_PUSH = declared(
    "tape_push",
    infer=_infer_push,
    numpy=lambda eqn, tape, *values: ((*tape, values),),
    jvp=_jvp_push,
    transpose=not_linear,
    batch=_batch_push,
    writes=0,
)
TAPE_PUT = declared(
    "tape_put",
    infer=_infer_put,
    numpy=_numpy_put,
    jvp=_jvp_put,
    transpose=transpose_put,
    batch=_batch_put,
    writes=0,
)
TAPE_ADD = declared(
    "tape_add",
    infer=_infer_put,
    numpy=_numpy_add,
    jvp=_jvp_add,
    transpose=_transpose_add,
    batch=_batch_add,
    writes=0,
)
TAPE_LENGTH = declared(
    "tape_length",
    infer=lambda operands, attrs, regions: (INDEX,),
    numpy=lambda eqn, tape: (np.int64(len(tape)),),
    jvp=nondifferentiable,
    transpose=not_linear,
    batch=_batch_length,
    facts=EXTENTS,
)
TAPE_GET = declared(
    "tape_get",
    infer=_infer_get,
    numpy=_numpy_get,
    jvp=_jvp_get,
    transpose=not_linear,
    batch=_batch_get,
    total=never,
)
TAPE_AT = declared(
    "tape_at",
    infer=_infer_at,
    numpy=_numpy_at,
    jvp=_jvp_get,
    transpose=_transpose_at,
    batch=_batch_at,
    total=never,
)


def tape_new(type: TapeType) -> Value:
    """An empty tape."""
    (tape,) = current().bind(TAPE_NEW, (), {"type": type})
    return tape


def tape_push(tape: Value, values: Sequence[Value]) -> Value:
    """The tape with one more record."""
    (result,) = current().bind(TAPE_PUSH, (tape, *values))
    return result


def tape_put(tape: Value, position: Value, values: Sequence[Value]) -> Value:
    """The tape with one more record; `position` is its length before."""
    (result,) = current().bind(TAPE_PUT, (tape, position, *values))
    return result


def tape_add(tape: Value, position: Value, values: Sequence[Value]) -> Value:
    """The tape with these values added to the record at `position`."""
    (result,) = current().bind(TAPE_ADD, (tape, position, *values))
    return result


def tape_length(tape: Value) -> Value:
    """The number of records, i64."""
    (n,) = current().bind(TAPE_LENGTH, (tape,))
    return n


def tape_get(tape: Value, position: Value) -> tuple[Value, ...]:
    """The record at `position`: its ragged extents (i64), then its fields."""
    return current().bind(TAPE_GET, (tape, position))


def tape_at(tape: Value, position: Value, extents: Sequence[Value]) -> tuple[Value, ...]:
    """The fields of the record at `position`, whose ragged extents are these."""
    return current().bind(TAPE_AT, (tape, position, *extents))
