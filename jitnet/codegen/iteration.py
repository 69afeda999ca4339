"""Lowering of `for` and `while`.

    %y, %ys = for %n, %x (...)      for %i = 0 to %n { ...; store %ys.b, ..., %i }

Scalars are carried in registers, arrays as `carries` decides; scanned arrays are read, and stacked
results written, through views of one step's part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from jitnet.codegen.carries import (
    Carry,
    Settled,
    bind_consts,
    bind_stable,
    carry,
    dim_of,
    finish_carries,
    is_array,
    is_scalar,
    memory_of_spare,
    pointer,
    region_dims,
    settle,
)
from jitnet.codegen.counting import as_fold
from jitnet.codegen.scoped import ScopedBuilder, scope
from jitnet.codegen.storage import Binding, Place, Root, strides_of
from jitnet.ir import BufferType, Eqn, Function, TapeType, Value
from jitnet.kernel import indices as ix
from jitnet.kernel import statements as k

if TYPE_CHECKING:
    from jitnet.codegen.lower import Body


def lower_for(body: Body, eqn: Eqn) -> None:
    (region,) = eqn.regions
    n_consts, n_carries = eqn.attrs["consts"], eqn.attrs["carries"]
    trips = body.scalar(eqn.operands[0])
    env: dict[Value, Binding] = {}
    bind_consts(body, eqn.operands[1 : 1 + n_consts], region.params[1 : 1 + n_consts], env)
    first = 1 + n_consts
    params = region.params[first : first + n_carries]
    stacked = [body.target(r) for r in eqn.results[n_carries:]]
    inner_scope = scope().child("body")
    counter = inner_scope.param(k.INDEX, region.params[0].name or "i")
    scalars = _scalar_carries(inner_scope, params, env)
    results = eqn.results[:n_carries]
    carries = [
        carry(body, eqn, first + j, region, j, env, inner_scope)
        for j, p in enumerate(params)
        if is_array(p)
    ]
    _bind_tapes(body, eqn.operands[first : first + n_carries], params, results, env)
    sources = [body.buffer(v) for v in eqn.operands[first + n_carries :]]
    with inner_scope:
        i = counter
        if eqn.attrs["reverse"]:
            i = ix.subtract(ix.subtract(trips, ix.ONE), counter)
        env[region.params[0]] = i
        for p, source in zip(region.params[first + n_carries :], sources):
            _bind_slice(p, source, i, env)
        ends = [
            (v, memory, replace(memory, buffer=_row(memory.buffer, i), root=Root(writable=True)))
            for v, memory in zip(region.results[n_carries:], stacked)
        ]
        inner = body.nested(region, env, {v: end for v, _, end in ends if v.rank})
        inner.run()
        for v, memory, end in ends:
            if v.rank:
                inner.move(v, end, "a stacked result is computed elsewhere")
            else:
                k.store(memory.buffer, inner.scalar(v), i)
        nexts = [inner.scalar(v) for v, p in zip(region.results, params) if is_scalar(p)]
        arrays = [v for v, p in zip(region.results, params) if is_array(p)]
        settled = settle(inner, carries, arrays)
        yields = [*nexts, *settled.yields, *(y for _, y in settled.spares)]
        inner.release([])
    for c in settled.swapped:
        inner_scope.params.append(c.buffer)
    inner_scope.params.extend(p for p, _ in settled.spares)
    bind_stable(carries, settled)
    starts = [body.scalar(v) for v, p in zip(eqn.operands[first:], params) if is_scalar(p)]
    pointers = [pointer(c) for c in settled.swapped]
    spares = [memory_of_spare(body, p) for p, _ in settled.spares]
    operands = (k.as_index(0), trips, *starts, *pointers, *spares)
    built = inner_scope.build(*yields)
    fold = as_fold(built)
    kind, (step, combine) = ("vector", fold) if fold else ("seq", (built, ()))
    finals = scope().bind(
        k.FOR,
        operands,
        {"kind": kind, "combine": combine},
        (step,),
        [v.name for v in (*scalars, *pointers)],
    )
    _bind_scalars(body, params, results, finals)
    finish_carries(body, carries, settled, finals[len(scalars) :])
    for result, memory in zip(eqn.results[n_carries:], stacked):
        body.bind(result, memory)


def _scalar_carries(
    inner: ScopedBuilder, params: Sequence[Value], env: dict[Value, Binding]
) -> list[Value]:
    scalars: list[Value] = []
    for p in params:
        if is_scalar(p):
            value = inner.param(p.type, p.name)
            env[p] = value
            scalars.append(value)
    return scalars


def _bind_tapes(
    body: Body,
    operands: Sequence[Value],
    params: Sequence[Value],
    results: Sequence[Value],
    env: dict[Value, Binding],
) -> None:
    """A tape grows where it is: one handle before, in and after the loop."""
    for v, p, r in zip(operands, params, results):
        if isinstance(p.type, TapeType):
            env[p] = body.scalar(v)
            body.env[r] = body.scalar(v)


def _bind_scalars(
    body: Body, params: Sequence[Value], results: Sequence[Value], finals: Sequence[Value]
) -> None:
    values = iter(finals)
    for p, r in zip(params, results):
        if is_scalar(p):
            body.bind(r, next(values))


def _row(buffer: Value, i: Value) -> Value:
    """The i-th subarray of a buffer along its first axis, as a view."""
    strides = strides_of(buffer)
    dims = buffer.dims[1:]
    return k.view(buffer, ix.multiply(i, strides[0]), dims, [dim_of(t) for t in strides[1:]])


def _bind_slice(p: Value, source: Value, i: Value, env: dict[Value, Binding]) -> None:
    if p.rank == 0:
        env[p] = k.load(source, i)
    else:
        env[p] = Place(_row(source, i), Root(writable=False, values=[p]), whole=False)


def lower_while(body: Body, eqn: Eqn) -> None:
    cond, step = eqn.regions
    n_consts = eqn.attrs["consts"]
    results = eqn.results
    env: dict[Value, Binding] = {}
    bind_consts(body, eqn.operands[:n_consts], step.params[:n_consts], env)
    params = step.params[n_consts:]
    inner_scope = scope().child("body")
    scalars = _scalar_carries(inner_scope, params, env)
    carries = [
        carry(body, eqn, n_consts + j, step, j, env, inner_scope)
        for j, p in enumerate(params)
        if is_array(p)
    ]
    _bind_tapes(body, eqn.operands[n_consts:], params, results, env)
    with inner_scope:
        inner = body.nested(step, env, {})
        inner.run()
        nexts = [inner.scalar(v) for v, p in zip(step.results, params) if is_scalar(p)]
        arrays = [v for v, p in zip(step.results, params) if is_array(p)]
        settled = settle(inner, carries, arrays)
        yields = [*nexts, *settled.yields, *(y for _, y in settled.spares)]
        inner.release([])
    for c in settled.swapped:
        inner_scope.params.append(c.buffer)
    inner_scope.params.extend(p for p, _ in settled.spares)
    bind_stable(carries, settled)
    starts = [body.scalar(v) for v, p in zip(eqn.operands[n_consts:], params) if is_scalar(p)]
    pointers = [pointer(c) for c in settled.swapped]
    spares = [memory_of_spare(body, p) for p, _ in settled.spares]
    test = _lower_condition(body, eqn, cond, carries, settled)
    finals = scope().bind(
        k.WHILE,
        (*starts, *pointers, *spares),
        {},
        (test, inner_scope.build(*yields)),
        [v.name for v in (*scalars, *pointers)],
    )
    _bind_scalars(body, params, results, finals)
    finish_carries(body, carries, settled, finals[len(scalars) :])


def _lower_condition(
    body: Body, eqn: Eqn, cond: Function, carries: Sequence[Carry], settled: Settled
) -> Function:
    """The condition reads the carries where the body left them."""
    n_consts = eqn.attrs["consts"]
    env: dict[Value, Binding] = {}
    bind_consts(body, eqn.operands[:n_consts], cond.params[:n_consts], env)
    params = cond.params[n_consts:]
    test = scope().child("cond")
    _scalar_carries(test, params, env)
    by_result = {c.result: c for c in carries}
    pointers: dict[Carry, Value] = {}
    for p, r in zip(params, eqn.results):
        if not is_array(p):
            continue
        carry = by_result[r]
        buffer = carry.memory.buffer
        if carry in settled.swapped:
            type = carry.buffer.buffer_type
            buffer = Value(BufferType(p.dtype, region_dims(p, env), type.strides), p.name)
            pointers[carry] = test.adopt(buffer)
        env[p] = Place(buffer, Root(writable=False, values=[p]), whole=False)
    test.params.extend(pointers[c] for c in settled.swapped)
    test.params.extend(test.adopt(Value(p.type, p.name)) for p, _ in settled.spares)
    with test:
        inner = body.nested(cond, env, {})
        inner.run()
        holds = inner.scalar(cond.results[0])
        inner.release([])
    return test.build(holds)
