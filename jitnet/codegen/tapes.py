"""Tape statements as LLVM IR, over the helpers of `codegen.heap`.

A record of `tape[f64, f64[?, 3]]` is laid out as

    i64 extents of ragged axes, in order | scalars, 8 bytes each | arrays, in order, 8-byte aligned

so that only arrays behind a ragged one have offsets that are computed when the program runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from jitnet.codegen.state import State, bind, require_memory
from jitnet.codegen.text import Index
from jitnet.ir import Eqn, Op, TapeType, Value
from jitnet.kernel import statements as S


@dataclass(frozen=True)
class _Layout:
    """Attributes:
    ragged: (field, axis) of each extent that is stored.
    offsets: bytes from the record's start, one per field.
    sizes: bytes of each field.
    size: of the whole record, a multiple of 8.
    """

    ragged: tuple[tuple[int, int], ...]
    offsets: tuple[Index, ...]
    sizes: tuple[Index, ...]
    size: Index


def tape_type(tape: Value) -> TapeType:
    """The type of a tape's handle."""
    assert isinstance(tape.type, TapeType)
    return tape.type


def _ragged(type: TapeType) -> tuple[tuple[int, int], ...]:
    return tuple(
        (field, axis)
        for field, (_, dims) in enumerate(type.fields)
        for axis, dim in enumerate(dims)
        if dim is None
    )


def record_layout(k: State, type: TapeType, extents: Sequence[Index]) -> _Layout:
    """The layout of a record whose ragged extents are these."""
    w, ragged = k.w, _ragged(type)
    known = dict(zip(ragged, extents))
    offsets: dict[int, Index] = {}
    sizes: dict[int, Index] = {}
    end: Index = 8 * len(ragged)
    order = sorted(range(len(type.fields)), key=lambda f: len(type.fields[f][1]) > 0)
    for field in order:
        dtype, dims = type.fields[field]
        size: Index = dtype.itemsize
        for axis, dim in enumerate(dims):
            size = w.times(size, known[field, axis] if dim is None else dim)
        offsets[field], sizes[field] = end, size
        end = w.plus(end, _round_up(k, size))
    fields = range(len(type.fields))
    return _Layout(ragged, tuple(offsets[f] for f in fields), tuple(sizes[f] for f in fields), end)


def _round_up(k: State, size: Index) -> Index:
    if isinstance(size, int):
        return -(-size // 8) * 8
    return k.w.let(f"and i64 {k.w.plus(size, 7)}, -8")


def address_in(k: State, record: str, offset: Index) -> str:
    """The address so many bytes behind a record's."""
    return k.w.let(f"getelementptr inbounds i8, ptr {record}, i64 {offset}")


def _emit_new(k: State, eqn: Eqn) -> None:
    tape = k.w.let("call ptr @tape_new(ptr %heap)", eqn.result.name)
    require_memory(k, tape, eqn.loc)
    k.names[eqn.result] = tape


def _emit_push(k: State, eqn: Eqn) -> None:
    w, (tape, *values) = k.w, eqn.operands
    type = tape_type(tape)
    extents = [k.index(values[field].dims[axis]) for field, axis in _ragged(type)]
    layout = record_layout(k, type, extents)
    arguments = f"ptr %heap, ptr {k.text(tape)}, i64 {layout.size}"
    record = w.let(f"call ptr @tape_push({arguments})", "record")
    require_memory(k, record, eqn.loc)
    for i, extent in enumerate(extents):
        w.add(f"store i64 {extent}, ptr {address_in(k, record, 8 * i)}, align 8")
    for value, (dtype, dims), offset, size in zip(
        values, type.fields, layout.offsets, layout.sizes
    ):
        place = address_in(k, record, offset)
        if dims:
            copy = f"ptr {place}, ptr {k.text(value)}, i64 {size}, i1 false"
            w.add(f"call void @llvm.memcpy.p0.p0.i64({copy})")
        else:
            w.store(dtype, k.text(value), place)


def _emit_length(k: State, eqn: Eqn) -> None:
    tape = k.text(eqn.operands[0])
    k.names[eqn.result] = k.w.let(f"load i64, ptr {tape}, align 8", eqn.result.name)


def _record(k: State, tape: Value, position: Value) -> str:
    arguments = f"ptr {k.text(tape)}, i64 {k.index(position)}"
    return k.w.let(f"call ptr @tape_record({arguments})", "record")


def _emit_extent(k: State, eqn: Eqn) -> None:
    tape, position = eqn.operands
    which = _ragged(tape_type(tape)).index((eqn.attrs["field"], eqn.attrs["axis"]))
    place = address_in(k, _record(k, tape, position), 8 * which)
    k.names[eqn.result] = k.w.let(f"load i64, ptr {place}, align 8", eqn.result.name)


def _emit_get(k: State, eqn: Eqn) -> None:
    tape, position, *extents = eqn.operands
    type = tape_type(tape)
    layout = record_layout(k, type, [k.index(e) for e in extents])
    record = _record(k, tape, position)
    for result, (dtype, dims), offset in zip(eqn.results, type.fields, layout.offsets):
        place = address_in(k, record, offset)
        bind(k, result, place if dims else k.w.load(dtype, place, hint=result.name))


def _emit_reach(k: State, eqn: Eqn) -> None:
    tape, length = eqn.operands
    size = record_layout(k, tape_type(tape), ()).size
    arguments = f"ptr %heap, ptr {k.text(tape)}, i64 {k.index(length)}, i64 {size}"
    require_memory(k, k.w.let(f"call ptr @tape_reach({arguments})"), eqn.loc)


def _emit_slots(k: State, eqn: Eqn) -> None:
    tape, position = eqn.operands
    layout = record_layout(k, tape_type(tape), ())
    record = _record(k, tape, position)
    for result, offset in zip(eqn.results, layout.offsets):
        bind(k, result, address_in(k, record, offset))


def _emit_free(k: State, eqn: Eqn) -> None:
    k.w.add(f"call void @tape_free(ptr {k.text(eqn.operands[0])})")


TAPE_EMITTERS: dict[Op, Callable[[State, Eqn], None]] = {
    S.TAPE_NEW: _emit_new,
    S.TAPE_PUSH: _emit_push,
    S.TAPE_LENGTH: _emit_length,
    S.TAPE_EXTENT: _emit_extent,
    S.TAPE_GET: _emit_get,
    S.TAPE_REACH: _emit_reach,
    S.TAPE_SLOTS: _emit_slots,
    S.TAPE_FREE: _emit_free,
}
