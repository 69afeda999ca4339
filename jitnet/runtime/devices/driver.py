"""Runs host programs: kernel IR whose loops are launches.

    %0: buf f64[196] = alloc 196                          memory of the device
    launch 0, 196, %x, %0 {kernel='f_kernel', ...}        a kernel
    %1: f64 = launch %0 {kernel='f_kernel_1', ...}        its result stays there, as a `Number`
    %2: bool, ... = while %1 ...                          until somebody asks: it is read back

A run goes over the statements of the host program, one after the other, and asks a queue for what
they want of the device. What a kernel has reported in the status word is raised as soon as anything
is read back, and at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import numpy as np

from jitnet.codegen.cuda.launch import BY_VALUE, LAUNCH, POINTER, CudaProgram
from jitnet.codegen.cuda.library import ADD, PRODUCT, Product, kind_of
from jitnet.codegen.cuda.rows import is_scalar_op
from jitnet.codegen.cuda.split import evaluate
from jitnet.errors import filled_in, raise_from_program
from jitnet.ir import BufferType, Dim, DType, Eqn, Function, Literal, Op, Value
from jitnet.ir import types as T
from jitnet.kernel import statements as S
from jitnet.kernel.externs import EXTERNS
from jitnet.runtime.devices.commands import (
    Argument,
    Buffer,
    Call,
    Clear,
    Copy,
    Launch,
    Multiply,
    Passed,
    Queue,
)
from jitnet.runtime.devices.device import Array
from jitnet.runtime.devices.products import Problem

BLOCKS_OF_UNKNOWN = 64
"""Blocks where the host does not know how many elements there are."""


@dataclass(frozen=True)
class Number:
    """A scalar on the device, which never changes."""

    at: Buffer


@dataclass
class Tape:
    """A log of records, kept by the host: for each field, its memory and its extents."""

    type: T.TapeType
    records: list[list[tuple[Buffer, tuple[int, ...]]]] = field(default_factory=list)


@dataclass(frozen=True)
class _Deferred:
    """A view whose place nobody has asked for."""

    eqn: Eqn


Round = Callable[[Sequence[Any]], list[Any]]


@dataclass
class Run:
    """One run of a program, or of a Function that it invokes.

    Attributes:
        status: the number of the error site that was reached, and its values.
        constants: content of `constant` statements, kept from run to run.
        env: what values are: NumPy scalars, Numbers, Buffers, Tapes.
        rounds: what makes the rounds of loops faster: of a run and a loop's body, a function of
            what a round is given that gives what it leaves.
    """

    queue: Queue
    program: CudaProgram
    status: Buffer
    constants: dict[int, Buffer]
    env: dict[Value, Any] = field(default_factory=dict)
    rounds: Callable[[Run, Function], Round] | None = None

    def function(self, f: Function, arguments: Sequence[Any]) -> list[Any]:
        """The results of a Function."""
        self.env.update(zip(f.params, arguments))
        self.eqns(f.eqns)
        return [self.value(v) for v in f.results]

    def eqns(self, eqns: Sequence[Eqn]) -> None:
        for eqn in eqns:
            if is_scalar_op(eqn):
                known = evaluate(eqn, [self.known(v) for v in eqn.operands])
                self.env[eqn.result] = known.data
            else:
                _STATEMENTS[eqn.op](self, eqn)

    # -- values -----------------------------------------------------------------------------------

    def value(self, v: Value) -> Any:
        if isinstance(v, Literal):
            return v.data
        found = self.env[v]
        if isinstance(found, _Deferred):
            found = self.env[v] = self.view(found.eqn)
        return found

    def known(self, v: Value) -> Any:
        """A scalar, read back if it is on the device."""
        found = self.value(v)
        return self.read(found) if isinstance(found, Number) else found

    def passed(self, v: Value) -> Any:
        """A scalar for a kernel."""
        return self.known(v)

    def read(self, number: Number) -> Any:
        self.raise_reported()
        at = number.at
        data = self.queue.download(at, at.dtype.itemsize)
        return np.frombuffer(data.tobytes(), at.dtype.numpy)[0]

    def integer(self, v: Value | Dim) -> int:
        return v if isinstance(v, int) else int(self.known(v))

    def buffer(self, v: Value) -> Buffer:
        found = self.value(v)
        assert isinstance(found, Buffer)
        return found

    def allocate(self, dtype: DType, count: int) -> Buffer:
        return Buffer(self.queue.allocate(max(count, 1) * dtype.itemsize), 0, dtype)

    def on_device(self, value: Any, dtype: DType) -> Number:
        """A scalar as a Number."""
        if isinstance(value, Number):
            return value
        return Number(self.queue.constant(np.array([value], dtype.numpy), dtype))

    def view(self, eqn: Eqn) -> Buffer:
        base = self.buffer(eqn.operands[0])
        offset = base.offset + self.integer(eqn.operands[1]) * base.dtype.itemsize
        return Buffer(base.memory, offset, base.dtype)

    # -- errors -----------------------------------------------------------------------------------

    def raise_reported(self) -> None:
        """Raise the error that a kernel has reported, if any."""
        if not self.program.sites:
            return
        raise_status(self.program, self.queue.download(self.status, self.program.status_bytes))


def raise_status(program: CudaProgram, status: Array) -> None:
    """Raise what the bytes of the status word, and the values behind it, say."""
    number = int(status[:8].view(np.int64)[0])
    if number == 0:
        return
    site = program.sites[number - 1]
    data = status[8:].tobytes()
    values = [np.frombuffer(data, t.numpy, 1, 8 * i)[0] for i, t in enumerate(site.dtypes)]
    raise_from_program(site.error, filled_in(site.message, values), site.loc.frames)


# -- launches --------------------------------------------------------------------------------------


def _launch(run: Run, eqn: Eqn) -> None:
    attrs = eqn.attrs
    levels = attrs["extents"]
    blocks = _blocks(run, eqn.operands[: 2 * levels], attrs)
    outputs = [run.allocate(r.dtype, 1) for r in eqn.results]
    run.env.update((r, Number(at)) for r, at in zip(eqn.results, outputs))
    if not blocks:
        return
    arguments: list[Argument] = [run.status]
    for v, how in zip(eqn.operands[2 * levels :], attrs["passing"]):
        if how == POINTER:
            arguments.append(run.buffer(v))
        elif how == BY_VALUE:
            arguments.append(Passed(run.passed(v), v.dtype))
        else:
            arguments.append(run.on_device(run.value(v), v.dtype).at)
    arguments += outputs
    arguments += [run.allocate(T.u8, size * blocks) for size in attrs["scratch"]]
    kernel, threads, moved = attrs["kernel"], attrs["threads"], attrs["moved"]
    run.queue.do(Launch(kernel, blocks, threads, tuple(arguments), moved))


def _blocks(run: Run, extents: Sequence[Value], attrs: Any) -> int:
    """How many blocks; 0 where there is nothing to do."""
    per_block: int = attrs["per_block"]
    if not per_block:
        return BLOCKS_OF_UNKNOWN
    bounds = [run.integer(v) for v in extents]
    counts = [max(high - low, 0) for low, high in zip(bounds[::2], bounds[1::2])]
    return min(-(-prod(counts) // per_block), run.queue.device.most_blocks)


# -- memory ----------------------------------------------------------------------------------------


def _alloc(run: Run, eqn: Eqn) -> None:
    count = prod(map(run.integer, eqn.operands))
    run.env[eqn.result] = run.allocate(eqn.result.dtype, count)


def _constant(run: Run, eqn: Eqn) -> None:
    if id(eqn) not in run.constants:
        data = np.ascontiguousarray(eqn.attrs["data"].array)
        run.constants[id(eqn)] = run.queue.constant(data, eqn.result.dtype)
        run.queue.device.synchronize()  # another stream may use it next
    run.env[eqn.result] = run.constants[id(eqn)]


def _view(run: Run, eqn: Eqn) -> None:
    base, offset = eqn.operands[:2]
    is_known = isinstance(offset, Literal) or isinstance(run.env.get(offset), np.generic)
    if is_known and isinstance(run.env[base], Buffer):
        run.env[eqn.result] = run.view(eqn)
    else:
        run.env[eqn.result] = _Deferred(eqn)


# -- control ---------------------------------------------------------------------------------------


def _for(run: Run, eqn: Eqn) -> None:
    (body,) = eqn.regions
    low, high, *initial = eqn.operands
    carries = [run.value(v) for v in initial]
    one_round = _round_of(run, body)
    for i in range(run.integer(low), run.integer(high)):
        carries = one_round([np.int64(i), *carries])
    run.env.update(zip(eqn.results, carries))


def _while(run: Run, eqn: Eqn) -> None:
    cond, body = eqn.regions
    carries = [run.value(v) for v in eqn.operands]
    one_round = _round_of(run, body)
    while True:
        (go,) = run.function(cond, carries)
        if not (run.read(go) if isinstance(go, Number) else go):
            break
        carries = one_round(carries)
    run.env.update(zip(eqn.results, carries))


def _round_of(run: Run, body: Function) -> Round:
    if run.rounds is not None:
        return run.rounds(run, body)
    return lambda given: run.function(body, given)


def _if(run: Run, eqn: Eqn) -> None:
    then, orelse = eqn.regions
    chosen = then if run.known(eqn.operands[0]) else orelse
    run.env.update(zip(eqn.results, run.function(chosen, ())))


def _raise(run: Run, eqn: Eqn) -> None:
    run.raise_reported()
    message = filled_in(eqn.attrs["message"], [run.known(v) for v in eqn.operands])
    raise_from_program(eqn.attrs["error"], message, eqn.loc.frames)


# -- calls -----------------------------------------------------------------------------------------


def _call_extern(run: Run, eqn: Eqn) -> None:
    name = eqn.attrs["name"]
    if run.queue.device.routine(name) is None:
        _call_on_host(run, eqn)
        return
    arguments = [
        run.buffer(v) if isinstance(v.type, BufferType) else Passed(run.known(v), v.dtype)
        for v in eqn.operands
    ]
    run.queue.do(Call(name, tuple(arguments)))


def _product(run: Run, eqn: Eqn) -> None:
    product = Product.of(eqn)
    m, n, k, count = map(run.integer, (product.m, product.n, product.k, product.count))
    if not (m and n and count > 0):
        return
    leads = [product.lda, product.ldb, product.ldc]
    if product.epilogue == ADD:
        leads.append(product.extra[1])
    problem = Problem(
        *(m, n, k, count),
        transposed=product.transposed,
        kinds=(product.kind, kind_of(product.c, product.complex)),
        leads=tuple(map(run.integer, leads)),
        steps=product.steps or (0,) * len(leads),
        epilogue=product.epilogue,
    )
    buffers = [run.buffer(v) for v in (product.a, product.b, product.c, *product.extra[:1])]
    own = run.allocate(T.u8, run.queue.device.workspace(problem))
    run.queue.do(Multiply(problem, [*buffers, own]))


def _call_on_host(run: Run, eqn: Eqn) -> None:
    """By the routine's reference in NumPy, on copies of what the pointers reach."""
    run.raise_reported()
    routine = EXTERNS[eqn.attrs["name"]]
    arguments: list[Any] = []
    copies: list[tuple[Buffer, Any, bytes]] = []
    for v in eqn.operands:
        if not isinstance(v.type, BufferType):
            arguments.append(run.known(v))
            continue
        at = run.buffer(v)
        size = (at.memory.size - at.offset) // at.dtype.itemsize * at.dtype.itemsize
        data = run.queue.download(at, size)
        copies.append((at, data, data.tobytes()))
        arguments.append(data.view(at.dtype.numpy))
    with np.errstate(all="ignore"):
        routine.numpy(*arguments)
    for at, data, before in copies:
        if data.tobytes() != before:
            run.queue.upload(at, data)


def _invoke(run: Run, eqn: Eqn) -> None:
    callee = eqn.attrs["callee"]
    inner = replace(run, env={})
    arguments = [run.value(v) for v in eqn.operands]
    run.env.update(zip(eqn.results, inner.function(callee, arguments)))


# -- tapes -----------------------------------------------------------------------------------------


def _tape(run: Run, v: Value) -> Tape:
    found = run.value(v)
    assert isinstance(found, Tape)
    return found


def _tape_new(run: Run, eqn: Eqn) -> None:
    run.env[eqn.result] = Tape(eqn.attrs["type"])


def _tape_push(run: Run, eqn: Eqn) -> None:
    tape, *values = eqn.operands
    _tape(run, tape).records.append(_record(run, values))


def _record(run: Run, values: Sequence[Value]) -> list[tuple[Buffer, tuple[int, ...]]]:
    """Copies of the fields of a record."""
    record = []
    for v in values:
        if isinstance(v.type, BufferType):
            dims = tuple(map(run.integer, v.type.dims))
            copy = _copied(run, run.buffer(v), prod(dims))
        else:
            dims = ()
            copy = _copied(run, run.on_device(run.value(v), v.dtype).at, 1)
        record.append((copy, dims))
    return record


def _tape_set(run: Run, eqn: Eqn) -> None:
    tape, position, *values = eqn.operands
    _tape(run, tape).records[run.integer(position)] = _record(run, values)


def _tape_cut(run: Run, eqn: Eqn) -> None:
    tape, start, stop = eqn.operands
    records = _tape(run, tape).records
    records[:] = records[run.integer(start) : run.integer(stop)]


def _tape_prepend(run: Run, eqn: Eqn) -> None:
    tape, *values = eqn.operands
    _tape(run, tape).records.insert(0, _record(run, values))


def _tape_copy(run: Run, eqn: Eqn) -> None:
    tape, source = (_tape(run, v) for v in eqn.operands)
    tape.records[:] = source.records


def _copied(run: Run, source: Buffer, count: int) -> Buffer:
    copy = run.allocate(source.dtype, count)
    run.queue.do(Copy(copy, source, count * source.dtype.itemsize))
    return copy


def _tape_length(run: Run, eqn: Eqn) -> None:
    run.env[eqn.result] = np.int64(len(_tape(run, eqn.operands[0]).records))


def _tape_extent(run: Run, eqn: Eqn) -> None:
    tape, position = eqn.operands
    record = _tape(run, tape).records[run.integer(position)]
    run.env[eqn.result] = np.int64(record[eqn.attrs["field"]][1][eqn.attrs["axis"]])


def _tape_get(run: Run, eqn: Eqn) -> None:
    tape, position, *_ = eqn.operands
    record = _tape(run, tape).records[run.integer(position)]
    for result, (at, _) in zip(eqn.results, record):
        is_array = isinstance(result.type, BufferType)
        run.env[result] = at if is_array else Number(_copied(run, at, 1))


def _tape_slots(run: Run, eqn: Eqn) -> None:
    tape, position = eqn.operands
    record = _tape(run, tape).records[run.integer(position)]
    run.env.update((result, at) for result, (at, _) in zip(eqn.results, record))


def _tape_reach(run: Run, eqn: Eqn) -> None:
    tape, length = _tape(run, eqn.operands[0]), run.integer(eqn.operands[1])
    while len(tape.records) < length:
        record = []
        for dtype, dims in tape.type.fields:
            known = tuple(d for d in dims if d is not None)
            at = run.allocate(dtype, prod(known))
            run.queue.do(Clear(at, prod(known) * dtype.itemsize))
            record.append((at, known))
        tape.records.append(record)


def _tape_free(run: Run, eqn: Eqn) -> None:
    _tape(run, eqn.operands[0]).records.clear()


_STATEMENTS: dict[Op, Callable[[Run, Eqn], None]] = {
    LAUNCH: _launch,
    S.ALLOC: _alloc,
    S.CONSTANT: _constant,
    S.VIEW: _view,
    S.FOR: _for,
    S.WHILE: _while,
    S.IF: _if,
    S.RAISE: _raise,
    S.CALL_EXTERN: _call_extern,
    PRODUCT: _product,
    S.INVOKE: _invoke,
    S.TAPE_NEW: _tape_new,
    S.TAPE_PUSH: _tape_push,
    S.TAPE_LENGTH: _tape_length,
    S.TAPE_EXTENT: _tape_extent,
    S.TAPE_GET: _tape_get,
    S.TAPE_REACH: _tape_reach,
    S.TAPE_SLOTS: _tape_slots,
    S.TAPE_FREE: _tape_free,
    S.TAPE_SET: _tape_set,
    S.TAPE_CUT: _tape_cut,
    S.TAPE_PREPEND: _tape_prepend,
    S.TAPE_COPY: _tape_copy,
}
