"""Lists: tapes whose records are also replaced and taken off, from both ends.

    %s: list[i64, f64] = tape_new {type=list[i64, f64]}
    %t: list[i64, f64] = tape_push %s, %i, %x
    %u: list[i64, f64] = tape_set %t, 0, %j, %y       // as s[0] = j, y
    %v: list[i64, f64] = tape_cut %u, 0, %k           // records 0 to %k: %n - 1 is s.pop()
    %w: list[i64, f64] = tape_prepend %v, %i, %x      // as deque's appendleft
    %z: list[i64, f64] = tape_copy %w, %v             // the records of %v, in the place of %w's

They are pushed to, counted and read as tapes are (`ops.tape`). By value like all arrays; in memory
one list is changed in place, so nothing may read what it was before. Who binds these equations sees
to that: each takes what the last one gave.

Tangents of records go to a list beside, which may be shorter: what is not there is zero. The same
ops, marked as `beside`, reach as far as they have to, and cut as much as there is. Transposed, each
takes back what it did: cotangents of what is taken off an end are zeros put there again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jitnet.ir import (
    ArrayType,
    Attrs,
    Eqn,
    Function,
    Literal,
    TapeType,
    Type,
    Value,
    current,
    index,
)
from jitnet.ops.control import for_
from jitnet.ops.lift import sub
from jitnet.ops.primitive import (
    JvpRule,
    JvpTransform,
    Linear,
    Primitive,
    Tangents,
    TransposeRule,
    TransposeTransform,
    lane_by_lane,
    never,
)
from jitnet.ops.regions import INDEX, require
from jitnet.ops.tape import (
    TAPE_PUT,
    add_record,
    check_record,
    declared,
    reaching,
    tangent_of_tape,
    tangents_of_record,
    tape_add,
    tape_at,
    tape_length,
    tape_new,
    tape_type,
    transpose_put,
    zero_tangent,
)

EVERY = 1 << 62
"""More records than there are."""


def _infer_set(
    operands: Sequence[Value], attrs: Attrs, regions: Sequence[Function]
) -> tuple[Type, ...]:
    tape, position, *values = operands
    require(position.type == INDEX, f"a position in a list is {position.type}, not i64")
    check_record("tape_set", tape_type(tape), values)
    return _changed(tape)


def _infer_prepend(
    operands: Sequence[Value], attrs: Attrs, regions: Sequence[Function]
) -> tuple[Type, ...]:
    tape, *values = operands
    check_record("tape_prepend", tape_type(tape), values)
    return _changed(tape)


def _infer_cut(
    operands: Sequence[Value], attrs: Attrs, regions: Sequence[Function]
) -> tuple[Type, ...]:
    tape, *bounds = operands
    require(all(v.type == INDEX for v in bounds), "tape_cut: the bounds are i64")
    return _changed(tape)


def _infer_copy(
    operands: Sequence[Value], attrs: Attrs, regions: Sequence[Function]
) -> tuple[Type, ...]:
    tape, source = operands
    fields = tape_type(tape).fields
    require(fields == tape_type(source).fields, f"tape_copy: {source.type} is not {tape.type}")
    return _changed(tape)


def _changed(tape: Value) -> tuple[Type, ...]:
    require(tape_type(tape).changes, f"{tape.type} is a log: its records stay as they are")
    return (tape.type,)


def _numpy_set(eqn: Eqn, tape: Any, position: Any, *values: Any) -> tuple[Any, ...]:
    if eqn.attrs.get("beside"):
        tape = reaching(tape_type(eqn.operands[0]), tape, int(position) + 1)
    assert 0 <= position < len(tape), f"tape_set at {position} of a list of {len(tape)}"
    return ((*tape[: int(position)], values, *tape[int(position) + 1 :]),)


def _numpy_cut(eqn: Eqn, tape: Any, start: Any, stop: Any) -> tuple[Any, ...]:
    if eqn.attrs.get("beside"):
        start, stop = min(start, len(tape)), min(stop, len(tape))
    assert 0 <= start <= stop <= len(tape), f"records {start} to {stop} of a list of {len(tape)}"
    return (tape[int(start) : int(stop)],)


# -- derivatives -----------------------------------------------------------------------------------


def _has_tangent(tape: Value) -> bool:
    return any(dtype.is_inexact for dtype, _ in tape_type(tape).fields)


def _jvp_set(
    eqn: Eqn, primals: Sequence[Value], tangents: Tangents, jvp: JvpTransform
) -> tuple[Sequence[Value], Tangents]:
    results = current().rebind(eqn, primals)
    tape, position, *values = primals
    if not _has_tangent(tape):
        return results, [None]
    record = tangents_of_record(values, tangents[2:])
    return results, [tape_set(tangent_of_tape(tape, tangents[0]), position, record, beside=True)]


def _jvp_prepend(
    eqn: Eqn, primals: Sequence[Value], tangents: Tangents, jvp: JvpTransform
) -> tuple[Sequence[Value], Tangents]:
    results = current().rebind(eqn, primals)
    tape, *values = primals
    if not _has_tangent(tape):
        return results, [None]
    beside, record = tangent_of_tape(tape, tangents[0]), tangents_of_record(values, tangents[1:])
    return results, [tape_prepend(beside, record)]


def _jvp_cut(
    eqn: Eqn, primals: Sequence[Value], tangents: Tangents, jvp: JvpTransform
) -> tuple[Sequence[Value], Tangents]:
    results = current().rebind(eqn, primals)
    tape, start, stop = primals
    if not _has_tangent(tape) or tangents[0] is None:
        return results, [None]
    return results, [tape_cut(tangents[0], start, stop, beside=True)]


def _jvp_copy(
    eqn: Eqn, primals: Sequence[Value], tangents: Tangents, jvp: JvpTransform
) -> tuple[Sequence[Value], Tangents]:
    results = current().rebind(eqn, primals)
    if not _has_tangent(primals[0]):
        return results, [None]
    tape, source = map(tangent_of_tape, primals, tangents)
    return results, [tape_copy(tape, source)]


def _zeros(tape: Value) -> list[Value]:
    """A record of zeros."""
    return [
        zero_tangent(ArrayType(dtype, tuple(d for d in dims if d is not None)))
        for dtype, dims in tape_type(tape).fields
    ]


def _transpose_set(
    eqn: Eqn,
    operands: Sequence[Value | Linear],
    cotangents: Tangents,
    accumulators: Sequence[Value | None],
    transpose: TransposeTransform,
) -> Sequence[Value | None]:
    """The new record's cotangent is read, and that of the old one is zero."""
    ((ct,), (_, position, *values)) = cotangents, operands
    if ct is None:
        return accumulators
    assert isinstance(position, Value)
    totals = add_record(values, accumulators[2:], tape_at(ct, position, ()))
    return [tape_set(ct, position, _zeros(ct), beside=True), None, *totals]


def _transpose_put(
    eqn: Eqn,
    operands: Sequence[Value | Linear],
    cotangents: Tangents,
    accumulators: Sequence[Value | None],
    transpose: TransposeTransform,
) -> Sequence[Value | None]:
    """As that of a tape; the place may have had other records before."""
    found = transpose_put(eqn, operands, cotangents, accumulators, transpose)
    ((ct,), (tape, position, *_)) = cotangents, operands
    if ct is None or not (isinstance(tape.type, TapeType) and tape.type.changes):
        return found
    assert isinstance(position, Value)
    return [tape_cut(ct, index(0), position, beside=True), *found[1:]]


def _transpose_prepend(
    eqn: Eqn,
    operands: Sequence[Value | Linear],
    cotangents: Tangents,
    accumulators: Sequence[Value | None],
    transpose: TransposeTransform,
) -> Sequence[Value | None]:
    ((ct,), (_, *values)) = cotangents, operands
    if ct is None:
        return accumulators
    totals = add_record(values, accumulators[1:], tape_at(ct, index(0), ()))
    return [tape_cut(ct, index(1), index(EVERY), beside=True), *totals]


def _transpose_cut(
    eqn: Eqn,
    operands: Sequence[Value | Linear],
    cotangents: Tangents,
    accumulators: Sequence[Value | None],
    transpose: TransposeTransform,
) -> Sequence[Value | None]:
    """Zeros for the records that were in front, and behind the end."""
    ((ct,), (_, start, stop)) = cotangents, operands
    if ct is None:
        return accumulators
    assert isinstance(start, Value)
    assert isinstance(stop, Value)
    ct = tape_cut(ct, index(0), sub(stop, start), beside=True)

    def body(i: Value, consts: Any, carries: Any, xs: Any) -> Any:
        return (tape_prepend(carries[0], _zeros(carries[0])),), ()

    if isinstance(start, Literal):
        for _ in range(int(start.item)):
            ct = tape_prepend(ct, _zeros(ct))
    else:
        (ct,) = for_(start, body, [], [ct])
    return [ct, None, None]


def _transpose_copy(
    eqn: Eqn,
    operands: Sequence[Value | Linear],
    cotangents: Tangents,
    accumulators: Sequence[Value | None],
    transpose: TransposeTransform,
) -> Sequence[Value | None]:
    """What was in the list before has no cotangents; it keeps the memory."""
    ((ct,), (_, source)) = cotangents, operands
    if ct is None:
        return accumulators
    total = accumulators[1]
    if isinstance(source, Linear) and total is None:
        assert isinstance(source.type, TapeType)
        total = tape_new(source.type)
        if source.type.changes:
            total = tape_copy(total, ct)
            return [tape_cut(ct, index(0), index(0), beside=True), total]
    if total is not None:

        def body(i: Value, consts: Any, carries: Any, xs: Any) -> Any:
            return (tape_add(carries[0], i, tape_at(consts[0], i, ())),), ()

        (total,) = for_(tape_length(ct), body, [ct], [total])
    return [tape_cut(ct, index(0), index(0), beside=True), total]


def _changing(
    name: str, infer: Any, numpy: Any, jvp: JvpRule, transpose: TransposeRule
) -> Primitive:
    return declared(
        name,
        infer=infer,
        numpy=numpy,
        jvp=jvp,
        transpose=transpose,
        batch=lane_by_lane,
        total=never,
        writes=0,
    )


TAPE_SET = _changing("tape_set", _infer_set, _numpy_set, _jvp_set, _transpose_set)
TAPE_CUT = _changing("tape_cut", _infer_cut, _numpy_cut, _jvp_cut, _transpose_cut)
TAPE_PREPEND = _changing(
    "tape_prepend",
    _infer_prepend,
    lambda eqn, tape, *values: ((values, *tape),),
    _jvp_prepend,
    _transpose_prepend,
)
TAPE_COPY = _changing(
    "tape_copy", _infer_copy, lambda eqn, tape, source: (source,), _jvp_copy, _transpose_copy
)
TAPE_PUT.transpose = _transpose_put


def _attrs(beside: bool) -> Attrs:
    return {"beside": True} if beside else {}


def tape_set(tape: Value, position: Value, values: Sequence[Value], beside: bool = False) -> Value:
    """The list with another record at `position`, which is in bounds but for tangents."""
    (result,) = current().bind(TAPE_SET, (tape, position, *values), _attrs(beside))
    return result


def tape_cut(tape: Value, start: Value, stop: Value, beside: bool = False) -> Value:
    """The records from `start` up to `stop`, which are in bounds but for tangents."""
    (result,) = current().bind(TAPE_CUT, (tape, start, stop), _attrs(beside))
    return result


def tape_prepend(tape: Value, values: Sequence[Value]) -> Value:
    """The list with one more record in front."""
    (result,) = current().bind(TAPE_PREPEND, (tape, *values))
    return result


def tape_copy(tape: Value, source: Value) -> Value:
    """The records of `source`, in the memory of `tape`."""
    (result,) = current().bind(TAPE_COPY, (tape, source))
    return result
