"""Kernel-level statements: loops, branches, memory, calls, errors.

    for %i = 0 to %n {kind="vector"} (%i: i64) {
      %a = load %x, %i
      %b = mul %a, 2.0
      store %out, %b, %i
    }

Regions see the values around them. A loop's region takes its index and its carries and returns the
next carries. Loop kinds say what a backend may do with the iterations:

    seq       in order; with a `combine` the carries are running folds (a scan), whose terms a
              backend may take in by a fixed tree
    vector    independent, may run as lanes; each carry is folded by its `combine` scalar op, which
              the backend may reassociate (a fixed tree by trip count)
    parallel  independent, may run on threads or blocks
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from jitnet.ir import (
    ArrayType,
    Attrs,
    BufferType,
    Dense,
    Dim,
    DType,
    Effect,
    Eqn,
    Function,
    Literal,
    Op,
    TapeType,
    Type,
    TypeRuleError,
    Value,
    as_dim,
    as_value,
    current,
    index,
    register,
)
from jitnet.ir import types as T
from jitnet.ir.facts import Entry, FactRule, Steps

LOOP_KINDS = ("seq", "vector", "parallel")
INDEX = T.scalar(T.i64)


class Statement(Op):
    """A kernel-level op that is not a scalar op."""

    level = "kernel"

    def __init__(
        self,
        name: str,
        effect: Effect,
        infer: Callable[..., tuple[Type, ...]],
        facts: FactRule | None = None,
    ) -> None:
        self.name = name
        self.facts = facts
        self.effect = effect
        self._infer = infer
        register(self)

    def infer(
        self, operands: Sequence[Value], attrs: Attrs, regions: Sequence[Function]
    ) -> tuple[Type, ...]:
        return self._infer(operands, attrs, regions)


def _is_index(value: Value) -> bool:
    return value.type == INDEX


def _check(condition: bool, message: str) -> None:
    if not condition:
        raise TypeRuleError(message)


# -- memory ----------------------------------------------------------------------------------------


def _infer_load(operands: Sequence[Value], attrs: Attrs, regions: object) -> tuple[Type, ...]:
    buffer, *indices = operands
    _check(isinstance(buffer.type, BufferType), "load reads a buffer")
    _check(len(indices) == buffer.rank, f"load of rank {buffer.rank} takes that many indices")
    _check(all(_is_index(i) for i in indices), "indices are i64")
    return (ArrayType(buffer.dtype),)


def _infer_store(operands: Sequence[Value], attrs: Attrs, regions: object) -> tuple[Type, ...]:
    buffer, value, *indices = operands
    _check(isinstance(buffer.type, BufferType), "store writes a buffer")
    _check(len(indices) == buffer.rank, f"store of rank {buffer.rank} takes that many indices")
    _check(value.type == ArrayType(buffer.dtype), f"cannot store {value.type} in {buffer.type}")
    return ()


def _infer_alloc(operands: Sequence[Value], attrs: Attrs, regions: object) -> tuple[Type, ...]:
    return (BufferType(attrs["dtype"], tuple(as_dim(d) for d in operands)),)


def _infer_view(operands: Sequence[Value], attrs: Attrs, regions: object) -> tuple[Type, ...]:
    buffer, _offset, *rest = operands
    rank = len(rest) // 2
    dims, strides = rest[:rank], rest[rank:]
    return (BufferType(buffer.dtype, tuple(map(as_dim, dims)), tuple(map(as_dim, strides))),)


def _infer_constant(operands: object, attrs: Attrs, regions: object) -> tuple[Type, ...]:
    data = attrs["data"].array
    return (BufferType(T.from_numpy(data.dtype), data.shape),)


CONSTANT = Statement("constant", Effect.PURE, _infer_constant)
LOAD = Statement("load", Effect.PURE, _infer_load)
STORE = Statement("store", Effect.WRITES, _infer_store)
ALLOC = Statement("alloc", Effect.WRITES, _infer_alloc)
FREE = Statement("free", Effect.WRITES, lambda operands, attrs, regions: ())
VIEW = Statement("view", Effect.PURE, _infer_view)


def load(buffer: Value, *indices: Value | int) -> Value:
    """The element at `indices`, which must be in bounds."""
    (value,) = current().bind(LOAD, (buffer, *map(as_index, indices)))
    return value


def store(buffer: Value, value: Value, *indices: Value | int, fold: str = "") -> None:
    """Write the element at `indices`, which must be in bounds. `fold` names the scalar op where the
    value is what was there, with terms of a reduction taken in: these may come in any order."""
    attrs = {"fold": fold} if fold else None
    current().bind(STORE, (buffer, value, *map(as_index, indices)), attrs)


def alloc(dtype: DType, dims: Sequence[Dim], name: str = "", heap: bool = False) -> Value:
    """Uninitialised C-contiguous memory. Static sizes are planned into the call's workspace, and
    those in loops are the same memory each time round; sizes known only at run time, and all with
    `heap`, come from the heap until `free`."""
    attrs = {"dtype": dtype, "heap": heap}
    (buffer,) = current().bind(ALLOC, [as_value(d) for d in dims], attrs, names=[name])
    return buffer


def constant(array: Dense, name: str = "") -> Value:
    """A read-only C-contiguous buffer with this content."""
    (buffer,) = current().bind(CONSTANT, (), {"data": array}, names=[name])
    return buffer


def free(buffer: Value) -> None:
    """Give back the heap memory of a buffer that `alloc` made with dims known only at run time."""
    current().bind(FREE, (buffer,))


def view(
    buffer: Value, offset: Value | int, dims: Sequence[Dim], strides: Sequence[Dim], name: str = ""
) -> Value:
    """The same memory, `offset` elements further on, with other dims and strides (in elements)."""
    operands = [buffer, as_index(offset), *map(as_value, dims), *map(as_value, strides)]
    (result,) = current().bind(VIEW, operands, names=[name])
    return result


def as_index(value: Value | int) -> Value:
    return index(value) if isinstance(value, int) else value


# -- control ---------------------------------------------------------------------------------------


def _infer_for(
    operands: Sequence[Value], attrs: Attrs, regions: Sequence[Function]
) -> tuple[Type, ...]:
    (body,) = regions
    _check(attrs["kind"] in LOOP_KINDS, f"no loop kind {attrs['kind']!r}")
    _check(len(body.params) == len(operands) - 1, "the body takes the index and the carries")
    _check(len(body.results) == len(operands) - 2, "the body returns the carries")
    return tuple(v.type for v in operands[2:])


def _infer_while(
    operands: Sequence[Value], attrs: Attrs, regions: Sequence[Function]
) -> tuple[Type, ...]:
    cond, body = regions
    _check(len(cond.params) == len(body.params) == len(operands), "regions take the carries")
    return tuple(v.type for v in operands)


def _infer_if(
    operands: Sequence[Value], attrs: Attrs, regions: Sequence[Function]
) -> tuple[Type, ...]:
    then, orelse = regions
    _check(len(then.results) == len(orelse.results), "both arms return as many values")
    return tuple(v.type for v in then.results)


def _enter_for(eqn: Eqn) -> Sequence[Sequence[Entry]]:
    low, high, *carries = eqn.operands
    return [[Steps(as_dim(low), as_dim(high)), *[None] * len(carries)]]


FOR = Statement("for", Effect.PURE, _infer_for, FactRule(entry=_enter_for))
WHILE = Statement("while", Effect.PURE, _infer_while)
IF = Statement("if", Effect.PURE, _infer_if)

Results = Sequence[Value] | None


def _region(
    name: str, params: Sequence[tuple[Type, str]], body: Callable[..., Results]
) -> Function:
    with current().child(name) as b:
        results = body(*(b.param(type, hint) for type, hint in params))
    return b.build(*(results or ()))


def loop(
    low: Value | int,
    high: Value | int,
    body: Callable[..., Results],
    carries: Sequence[Value] = (),
    kind: str = "seq",
    combine: tuple[str, ...] = (),
    name: str = "i",
) -> tuple[Value, ...]:
    """`for i in [low, high)`: calls `body(i, *carries)` once, to build the region; it returns the
    next carries. `combine` names the scalar op that folds each carry of a vector loop, or of a
    scan, whose body returns `combine(carry, term)`. Carries may be scalars, buffers (they swap
    without a copy) and tapes. Returns the final carries."""
    params = [(INDEX, name), *((c.type, c.name) for c in carries)]
    region = _region("body", params, body)
    operands = (as_index(low), as_index(high), *carries)
    names = [c.name for c in carries]
    return current().bind(FOR, operands, {"kind": kind, "combine": combine}, (region,), names)


def while_loop(
    cond: Callable[..., Value], body: Callable[..., Results], carries: Sequence[Value]
) -> tuple[Value, ...]:
    """While `cond(*carries)` holds, `carries = body(*carries)`. Returns the final carries."""
    params = [(c.type, c.name) for c in carries]
    regions = (
        _region("cond", params, lambda *cs: (cond(*cs),)),
        _region("body", params, body),
    )
    return current().bind(WHILE, carries, {}, regions, [c.name for c in carries])


def branch(
    pred: Value, then: Callable[[], Results], orelse: Callable[[], Results] = lambda: ()
) -> tuple[Value, ...]:
    """`then()` if `pred` else `orelse()`; both build a region and return as many values."""
    return current().bind(IF, (pred,), {}, (_region("then", (), then), _region("else", (), orelse)))


# -- calls and errors ------------------------------------------------------------------------------

CALL_EXTERN = Statement(
    "call_extern", Effect.WRITES, lambda operands, attrs, regions: tuple(attrs["results"])
)
INVOKE = Statement("invoke", Effect.MAY_RAISE, lambda operands, attrs, regions: _returned(attrs))
RAISE = Statement("raise", Effect.MAY_RAISE, lambda operands, attrs, regions: ())


def _returned(attrs: Attrs) -> tuple[Type, ...]:
    """Scalars as they are; of heap memory, the address."""
    results = attrs["callee"].results
    return tuple(
        BufferType(v.dtype, (), ()) if isinstance(v.type, BufferType) else v.type for v in results
    )


def invoke(callee: Function, operands: Sequence[Value]) -> tuple[Value, ...]:
    """Run a kernel Function, which is compiled once for all that invoke it. Heap memory that it
    returns is the caller's to free."""
    return current().bind(INVOKE, operands, {"callee": callee})


def call_extern(
    name: str, operands: Sequence[Value], results: tuple[Type, ...] = ()
) -> tuple[Value, ...]:
    """Call the routine `name` of `kernel.externs`; a buffer is passed as a pointer."""
    return current().bind(CALL_EXTERN, operands, {"name": name, "results": results})


def raise_error(error: str, message: str, values: Sequence[Value] = ()) -> None:
    """Leave the whole program with the exception class named `error` ("IndexError", ...) and
    `message`, whose `{0}`, `{1}` are filled in with `values`."""
    current().bind(RAISE, values, {"error": error, "message": message})


# -- tapes -----------------------------------------------------------------------------------------


def _infer_tape_get(operands: Sequence[Value], attrs: Attrs, regions: object) -> tuple[Type, ...]:
    tape, _position, *ragged = operands
    assert isinstance(tape.type, TapeType)
    dims = iter(ragged)
    types: list[Type] = []
    for dtype, shape in tape.type.fields:
        full = tuple(as_dim(next(dims)) if d is None else d for d in shape)
        types.append(BufferType(dtype, full) if full else ArrayType(dtype))
    return tuple(types)


def _infer_tape_slots(operands: Sequence[Value], attrs: Attrs, regions: object) -> tuple[Type, ...]:
    assert isinstance(operands[0].type, TapeType)
    fields = operands[0].type.fields
    return tuple(BufferType(dtype, tuple(map(_known, dims))) for dtype, dims in fields)


def _known(dim: Dim | None) -> Dim:
    _check(dim is not None, "a record of ragged extents is never changed")
    assert dim is not None
    return dim


def _infer_tape_new(operands: Sequence[Value], attrs: Attrs, regions: object) -> tuple[Type, ...]:
    return (attrs["type"],)


def _infer_tape_push(operands: Sequence[Value], attrs: Attrs, regions: object) -> tuple[Type, ...]:
    tape, *values = operands
    assert isinstance(tape.type, TapeType)
    _check(len(values) == len(tape.type.fields), "a record has one value a field")
    return ()


TAPE_NEW = Statement("tape_new", Effect.WRITES, _infer_tape_new)
TAPE_PUSH = Statement("tape_push", Effect.WRITES, _infer_tape_push)
TAPE_LENGTH = Statement("tape_length", Effect.PURE, lambda operands, attrs, regions: (INDEX,))
TAPE_EXTENT = Statement("tape_extent", Effect.PURE, lambda operands, attrs, regions: (INDEX,))
TAPE_GET = Statement("tape_get", Effect.PURE, _infer_tape_get)
TAPE_REACH = Statement("tape_reach", Effect.WRITES, lambda operands, attrs, regions: ())
TAPE_SLOTS = Statement("tape_slots", Effect.PURE, _infer_tape_slots)
TAPE_FREE = Statement("tape_free", Effect.WRITES, lambda operands, attrs, regions: ())
TAPE_SET = Statement("tape_set", Effect.WRITES, lambda operands, attrs, regions: ())
TAPE_CUT = Statement("tape_cut", Effect.WRITES, lambda operands, attrs, regions: ())
TAPE_PREPEND = Statement("tape_prepend", Effect.WRITES, _infer_tape_push)
TAPE_COPY = Statement("tape_copy", Effect.WRITES, lambda operands, attrs, regions: ())


def tape_new(type: TapeType) -> Value:
    """An empty tape. Freed by `tape_free`, or when the program leaves by an error."""
    (tape,) = current().bind(TAPE_NEW, (), {"type": type})
    return tape


def tape_push(tape: Value, values: Sequence[Value]) -> None:
    """Append a record: scalars by value, buffers (C-contiguous) by copy."""
    current().bind(TAPE_PUSH, (tape, *values))


def tape_length(tape: Value) -> Value:
    """The number of records so far, i64."""
    (length,) = current().bind(TAPE_LENGTH, (tape,))
    return length


def tape_extent(tape: Value, position: Value, field: int, axis: int) -> Value:
    """The ragged extent of an array field of the record at `position`, i64."""
    (extent,) = current().bind(TAPE_EXTENT, (tape, position), {"field": field, "axis": axis})
    return extent


def tape_get(tape: Value, position: Value, ragged: Sequence[Value] = ()) -> tuple[Value, ...]:
    """The fields of the record at `position`: scalars, and buffers that point into the tape.
    `ragged` are its ragged extents, in the order of fields and axes."""
    return current().bind(TAPE_GET, (tape, position, *ragged))


def tape_reach(tape: Value, length: Value) -> None:
    """Append records of zeros until there are `length`. No extent may be ragged."""
    current().bind(TAPE_REACH, (tape, length))


def tape_slots(tape: Value, position: Value) -> tuple[Value, ...]:
    """The memory of the fields of the record at `position`: buffers, of rank 0 for scalars. No
    extent may be ragged."""
    return current().bind(TAPE_SLOTS, (tape, position))


def tape_free(tape: Value) -> None:
    current().bind(TAPE_FREE, (tape,))


def tape_set(tape: Value, position: Value, values: Sequence[Value]) -> None:
    """Replace the record at `position` of a list."""
    current().bind(TAPE_SET, (tape, position, *values))


def tape_cut(tape: Value, start: Value, stop: Value) -> None:
    """Keep the records from `start` up to `stop` of a list."""
    current().bind(TAPE_CUT, (tape, start, stop))


def tape_prepend(tape: Value, values: Sequence[Value]) -> None:
    """Put a record in front of a list."""
    current().bind(TAPE_PREPEND, (tape, *values))


def tape_copy(tape: Value, source: Value) -> None:
    """Let a list hold the records of another one."""
    current().bind(TAPE_COPY, (tape, source))


def as_scalar(value: Any, dtype: DType) -> Value:
    """A Python number as a literal of `dtype`; a Value as it is."""
    return value if isinstance(value, Value) else Literal(value, dtype)
