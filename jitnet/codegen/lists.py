"""Lists as LLVM IR: tapes whose records are one after the other in memory.

    %length = load i64, ptr %list                  tape_get %list, %i
    %data = load ptr, ptr (%list + 16)               record %first + %i of 16 bytes at %data
    %first = load i64, ptr (%list + 24)

So are those that are replaced and taken off, and logs of a few scalars (`is_packed`). A list is a
block { i64 length, i64 capacity, ptr data, i64 first }. Records are of one size, laid out as
`codegen.tapes` lays them out, so a record is found without a table, and what is taken off an end
makes room there. A list that is full gets twice the memory, a whole block of the heap, or moves to
its front where that is half empty: each record is moved a few times in the mean, however many come
and go. Arrays are copied out, since records move.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from jitnet.codegen.state import State, bind, require_memory
from jitnet.codegen.tapes import TAPE_EMITTERS, address_in, record_layout, tape_type
from jitnet.codegen.text import Index
from jitnet.ir import Eqn, Op, Value
from jitnet.kernel import statements as S
from jitnet.ops.tape import is_packed

LIST = """\

define internal ptr @list_new(ptr %heap) #0 {
  %list = call ptr @heap_alloc(ptr %heap, i64 32)
  %none = icmp eq ptr %list, null
  br i1 %none, label %out, label %clear
clear:
  store [4 x i64] zeroinitializer, ptr %list
  br label %out
out:
  ret ptr %list
}

; Other memory, `before` records of it in front of the first one; null when memory is out.
define internal ptr @list_move(ptr %heap, ptr %list, i64 %capacity, i64 %before, i64 %bytes) #0 {
  %size = mul i64 %capacity, %bytes
  %new = call ptr @heap_alloc(ptr %heap, i64 %size)
  %none = icmp eq ptr %new, null
  br i1 %none, label %out, label %move
move:
  %length = load i64, ptr %list
  %capacity.at = getelementptr i8, ptr %list, i64 8
  %data.at = getelementptr i8, ptr %list, i64 16
  %first.at = getelementptr i8, ptr %list, i64 24
  %old = load ptr, ptr %data.at
  %first = load i64, ptr %first.at
  store i64 %capacity, ptr %capacity.at
  store ptr %new, ptr %data.at
  store i64 %before, ptr %first.at
  %nothing = icmp eq ptr %old, null
  br i1 %nothing, label %out, label %copy
copy:
  %from = mul i64 %first, %bytes
  %source = getelementptr i8, ptr %old, i64 %from
  %to = mul i64 %before, %bytes
  %target = getelementptr i8, ptr %new, i64 %to
  %used = mul i64 %length, %bytes
  call void @llvm.memcpy.p0.p0.i64(ptr %target, ptr %source, i64 %used, i1 false)
  call void @heap_free(ptr %old)
  br label %out
out:
  ret ptr %new
}

; Room for one more record behind the last one; null when memory is out.
define internal ptr @list_grow(ptr %heap, ptr %list, i64 %bytes) #0 {
  %capacity.at = getelementptr i8, ptr %list, i64 8
  %data.at = getelementptr i8, ptr %list, i64 16
  %first.at = getelementptr i8, ptr %list, i64 24
  %capacity = load i64, ptr %capacity.at
  %first = load i64, ptr %first.at
  %twice = shl i64 %first, 1
  %some = icmp sgt i64 %first, 0
  %half = icmp sge i64 %twice, %capacity
  %front = and i1 %some, %half
  br i1 %front, label %shift, label %grow
shift:
  %length = load i64, ptr %list
  %data = load ptr, ptr %data.at
  %from = mul i64 %first, %bytes
  %source = getelementptr i8, ptr %data, i64 %from
  %used = mul i64 %length, %bytes
  call void @llvm.memmove.p0.p0.i64(ptr %data, ptr %source, i64 %used, i1 false)
  store i64 0, ptr %first.at
  ret ptr %data
grow:
  %more = shl i64 %capacity, 1
  %most = call i64 @llvm.smax.i64(i64 %more, i64 16)
  %data.bytes = mul i64 %most, %bytes
  %last = add i64 %data.bytes, 63
  %zeros = call i64 @llvm.ctlz.i64(i64 %last, i1 false)
  %block = lshr i64 -9223372036854775808, %zeros
  %twofold = shl i64 %block, 1
  %usable = sub i64 %twofold, 64
  %wanted = udiv i64 %usable, %bytes
  %new = call ptr @list_move(ptr %heap, ptr %list, i64 %wanted, i64 0, i64 %bytes)
  ret ptr %new
}

; Room for one more record in front of the first one; null when memory is out.
define internal ptr @list_front(ptr %heap, ptr %list, i64 %bytes) #0 {
  %length = load i64, ptr %list
  %half = lshr i64 %length, 1
  %before = add i64 %half, 8
  %both = shl i64 %before, 1
  %wanted = add i64 %both, %length
  %new = call ptr @list_move(ptr %heap, ptr %list, i64 %wanted, i64 %before, i64 %bytes)
  ret ptr %new
}

; Records of zeros, until there are `wanted`; null when memory is out.
define internal ptr @list_reach(ptr %heap, ptr %list, i64 %wanted, i64 %bytes) #0 {
  %capacity.at = getelementptr i8, ptr %list, i64 8
  %data.at = getelementptr i8, ptr %list, i64 16
  %first.at = getelementptr i8, ptr %list, i64 24
  br label %head
head:
  %length = load i64, ptr %list
  %short = icmp slt i64 %length, %wanted
  br i1 %short, label %more, label %out
more:
  %first = load i64, ptr %first.at
  %end = add i64 %first, %length
  %capacity = load i64, ptr %capacity.at
  %full = icmp sge i64 %end, %capacity
  br i1 %full, label %grow, label %clear
grow:
  %new = call ptr @list_grow(ptr %heap, ptr %list, i64 %bytes)
  %none = icmp eq ptr %new, null
  br i1 %none, label %fail, label %head
clear:
  %data = load ptr, ptr %data.at
  %from = mul i64 %end, %bytes
  %record = getelementptr i8, ptr %data, i64 %from
  call void @llvm.memset.p0.i64(ptr %record, i8 0, i64 %bytes, i1 false)
  %longer = add i64 %length, 1
  store i64 %longer, ptr %list
  br label %head
out:
  ret ptr %list
fail:
  ret ptr null
}

; The records of another list; null when memory is out.
define internal ptr @list_copy(ptr %heap, ptr %list, ptr %other, i64 %bytes) #0 {
  %length = load i64, ptr %other
  %capacity.at = getelementptr i8, ptr %list, i64 8
  %data.at = getelementptr i8, ptr %list, i64 16
  %first.at = getelementptr i8, ptr %list, i64 24
  %same = icmp eq ptr %list, %other
  br i1 %same, label %done, label %begin
begin:
  store i64 0, ptr %list
  store i64 0, ptr %first.at
  %capacity = load i64, ptr %capacity.at
  %room = icmp sle i64 %length, %capacity
  br i1 %room, label %copy, label %grow
grow:
  %new = call ptr @list_move(ptr %heap, ptr %list, i64 %length, i64 0, i64 %bytes)
  %none = icmp eq ptr %new, null
  br i1 %none, label %fail, label %copy
copy:
  %empty = icmp eq i64 %length, 0
  br i1 %empty, label %done, label %move
move:
  %other.data.at = getelementptr i8, ptr %other, i64 16
  %other.first.at = getelementptr i8, ptr %other, i64 24
  %other.data = load ptr, ptr %other.data.at
  %other.first = load i64, ptr %other.first.at
  %from = mul i64 %other.first, %bytes
  %source = getelementptr i8, ptr %other.data, i64 %from
  %target = load ptr, ptr %data.at
  %used = mul i64 %length, %bytes
  call void @llvm.memcpy.p0.p0.i64(ptr %target, ptr %source, i64 %used, i1 false)
  store i64 %length, ptr %list
  br label %done
done:
  ret ptr %list
fail:
  ret ptr null
}

define internal void @list_free(ptr %list) #0 {
  %data.at = getelementptr i8, ptr %list, i64 16
  %data = load ptr, ptr %data.at
  %empty = icmp eq ptr %data, null
  br i1 %empty, label %out, label %drop
drop:
  call void @heap_free(ptr %data)
  br label %out
out:
  call void @heap_free(ptr %list)
  ret void
}
"""

_LENGTH, _CAPACITY, _DATA, _FIRST = 0, 8, 16, 24


def _size(k: State, tape: Value) -> int:
    """Bytes of a record."""
    size = record_layout(k, tape_type(tape), ()).size
    assert isinstance(size, int), "records of a list are of one size"
    return max(size, 8)


def _part(k: State, handle: str, offset: int, type: str = "i64") -> str:
    place = address_in(k, handle, offset) if offset else handle
    return k.w.let(f"load {type}, ptr {place}, align 8")


def _keep(k: State, handle: str, offset: int, value: Index) -> None:
    place = address_in(k, handle, offset) if offset else handle
    k.w.add(f"store i64 {value}, ptr {place}, align 8")


def _record(k: State, tape: Value, position: Index) -> str:
    """The address of a record."""
    handle = k.text(tape)
    place = k.w.let(f"add i64 {_part(k, handle, _FIRST)}, {position}")
    return _at(k, handle, place, _size(k, tape))


def _at(k: State, handle: str, place: Index, size: int) -> str:
    offset = k.w.let(f"mul i64 {place}, {size}")
    return address_in(k, _part(k, handle, _DATA, "ptr"), offset)


def _write(k: State, tape: Value, record: str, values: Sequence[Value]) -> None:
    type = tape_type(tape)
    layout = record_layout(k, type, ())
    for value, (dtype, dims), offset, size in zip(
        values, type.fields, layout.offsets, layout.sizes
    ):
        place = address_in(k, record, offset)
        if dims:
            copy = f"ptr {place}, ptr {k.text(value)}, i64 {size}, i1 false"
            k.w.add(f"call void @llvm.memcpy.p0.p0.i64({copy})")
        else:
            k.w.store(dtype, k.text(value), place)


def _make_room(k: State, eqn: Eqn, full: str, routine: str) -> None:
    """Call what makes room, where there is none."""
    w, tape = k.w, eqn.operands[0]
    grow, room = w.fresh("grow"), w.fresh("room")
    w.branch(full, grow, room)
    w.label(grow)
    arguments = f"ptr %heap, ptr {k.text(tape)}, i64 {_size(k, tape)}"
    require_memory(k, w.let(f"call ptr @{routine}({arguments})"), eqn.loc)
    w.jump(room)
    w.label(room)


def _emit_new(k: State, eqn: Eqn) -> None:
    handle = k.w.let("call ptr @list_new(ptr %heap)", eqn.result.name)
    require_memory(k, handle, eqn.loc)
    k.names[eqn.result] = handle


def _emit_push(k: State, eqn: Eqn) -> None:
    w, (tape, *values) = k.w, eqn.operands
    handle = k.text(tape)
    length = _part(k, handle, _LENGTH)
    end = w.let(f"add i64 {_part(k, handle, _FIRST)}, {length}")
    full = w.let(f"icmp sge i64 {end}, {_part(k, handle, _CAPACITY)}")
    _make_room(k, eqn, full, "list_grow")
    _write(k, tape, _record(k, tape, length), values)
    _keep(k, handle, _LENGTH, w.let(f"add i64 {length}, 1"))


def _emit_prepend(k: State, eqn: Eqn) -> None:
    w, (tape, *values) = k.w, eqn.operands
    handle = k.text(tape)
    full = w.let(f"icmp eq i64 {_part(k, handle, _FIRST)}, 0")
    _make_room(k, eqn, full, "list_front")
    first = w.let(f"sub i64 {_part(k, handle, _FIRST)}, 1")
    _keep(k, handle, _FIRST, first)
    _write(k, tape, _at(k, handle, first, _size(k, tape)), values)
    _keep(k, handle, _LENGTH, w.let(f"add i64 {_part(k, handle, _LENGTH)}, 1"))


def _emit_set(k: State, eqn: Eqn) -> None:
    tape, position, *values = eqn.operands
    _write(k, tape, _record(k, tape, k.index(position)), values)


def _emit_cut(k: State, eqn: Eqn) -> None:
    tape, start, stop = eqn.operands
    handle, begin, end = k.text(tape), k.index(start), k.index(stop)
    if begin != 0:
        first = k.w.let(f"add i64 {_part(k, handle, _FIRST)}, {begin}")
        _keep(k, handle, _FIRST, first)
    _keep(k, handle, _LENGTH, k.w.minus(end, begin))


def _emit_copy(k: State, eqn: Eqn) -> None:
    tape, source = eqn.operands
    arguments = f"ptr %heap, ptr {k.text(tape)}, ptr {k.text(source)}, i64 {_size(k, tape)}"
    require_memory(k, k.w.let(f"call ptr @list_copy({arguments})"), eqn.loc)


def _emit_get(k: State, eqn: Eqn) -> None:
    tape, position = eqn.operands
    type = tape_type(tape)
    record = _record(k, tape, k.index(position))
    offsets = record_layout(k, type, ()).offsets
    for result, (dtype, dims), offset in zip(eqn.results, type.fields, offsets):
        place = address_in(k, record, offset)
        bind(k, result, place if dims else k.w.load(dtype, place, hint=result.name))


def _emit_reach(k: State, eqn: Eqn) -> None:
    tape, length = eqn.operands
    arguments = f"ptr %heap, ptr {k.text(tape)}, i64 {k.index(length)}, i64 {_size(k, tape)}"
    require_memory(k, k.w.let(f"call ptr @list_reach({arguments})"), eqn.loc)


def _emit_slots(k: State, eqn: Eqn) -> None:
    tape, position = eqn.operands
    record = _record(k, tape, k.index(position))
    offsets = record_layout(k, tape_type(tape), ()).offsets
    for result, offset in zip(eqn.results, offsets):
        bind(k, result, address_in(k, record, offset))


def _emit_free(k: State, eqn: Eqn) -> None:
    k.w.add(f"call void @list_free(ptr {k.text(eqn.operands[0])})")


def _by_kind(op: Op, of_list: Callable[[State, Eqn], None]) -> Callable[[State, Eqn], None]:
    of_tape = TAPE_EMITTERS[op]

    def emit(k: State, eqn: Eqn) -> None:
        tape = eqn.result if op is S.TAPE_NEW else eqn.operands[0]
        (of_list if is_packed(tape_type(tape)) else of_tape)(k, eqn)

    return emit


LIST_EMITTERS: dict[Op, Callable[[State, Eqn], None]] = {
    S.TAPE_SET: _emit_set,
    S.TAPE_CUT: _emit_cut,
    S.TAPE_PREPEND: _emit_prepend,
    S.TAPE_COPY: _emit_copy,
    S.TAPE_NEW: _by_kind(S.TAPE_NEW, _emit_new),
    S.TAPE_PUSH: _by_kind(S.TAPE_PUSH, _emit_push),
    S.TAPE_GET: _by_kind(S.TAPE_GET, _emit_get),
    S.TAPE_REACH: _by_kind(S.TAPE_REACH, _emit_reach),
    S.TAPE_SLOTS: _by_kind(S.TAPE_SLOTS, _emit_slots),
    S.TAPE_FREE: _by_kind(S.TAPE_FREE, _emit_free),
}
"""Those of statements that tapes have, too, are for both."""
