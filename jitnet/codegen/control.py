"""Lowering of loops, branches, checks and tapes: which memory their arrays share.

    %x = for 1000, %x0 (%i: i64, %x: f64[n])       %x.b = <x0's memory, or a copy of it>
      { ... update %x, %v, %i ... }                for %i = 0 to 1000 { store %x.b, %v, %i }

A carried array lives in one buffer for the whole loop where the body updates it in place. Where the
body computes it anew, the new memory and the old change roles each step by swapping pointers: no
copy. The arms of an `if` write the same memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from jitnet.codegen.origin import common_origin
from jitnet.codegen.scoped import ScopedBuilder, scope
from jitnet.codegen.storage import (
    Binding,
    Place,
    Root,
    c_strides,
    copy_elements,
    is_contiguous,
    k_value,
    strides_of,
)
from jitnet.ir import BufferType, Dim, Eqn, Function, Literal, Op, TapeType, Value
from jitnet.kernel import indices as ix
from jitnet.kernel import scalars as s
from jitnet.kernel import statements as k
from jitnet.ops.control import CHECK, FOR, IF, WHILE
from jitnet.ops.create import CONST, EMPTY
from jitnet.ops.tape import TAPE_AT, TAPE_GET, TAPE_LENGTH, TAPE_NEW, TAPE_PUSH, TAPE_PUT

if TYPE_CHECKING:
    from jitnet.codegen.lower import Body

# -- carried arrays --------------------------------------------------------------------------------


@dataclass(eq=False)
class _Carry:
    """A carried array while its loop is lowered.

    Attributes:
        operand, param, result: the value before, in and after the loop.
        memory: what it starts in, owned by the loop.
        buffer: the kernel Value that the body knows the memory by; bound last: to a view of
            `memory` where the body leaves it there, or as a region param that swaps.
        resizes: its extents change from step to step, so each step has memory of its own.
    """

    operand: Value
    param: Value
    result: Value
    memory: Place
    buffer: Value
    resizes: bool
    root: Root = field(default_factory=lambda: Root(writable=True))


def _shares(body: Body, eqn: Eqn, position: int) -> bool:
    """Whether another operand of the equation reads the memory of this one."""
    roots = body.roots(eqn.operands[position])
    return any(
        r in roots
        for i, v in enumerate(eqn.operands)
        if i != position and not isinstance(v, Literal)
        for r in body.roots(v)
    )


def _carry(
    body: Body,
    eqn: Eqn,
    position: int,
    param: Value,
    result: Value,
    env: dict[Value, Binding],
    inside: ScopedBuilder,
) -> _Carry:
    """Memory for one carried array, before the loop."""
    operand = eqn.operands[position]
    dims = _region_dims(param, env)
    resizes = any(isinstance(d, Value) and inside.home.get(d) is inside for d in dims)
    if resizes:
        place = body.new(operand, heap=True)
        body.copy(operand, place, "its size changes in the loop")
    elif _shares(body, eqn, position):
        place = body.target(result)
        body.copy(operand, place, "the loop reads it as well")
    else:
        place = body.acquire(operand, result)
    strides = None if resizes else tuple(map(_dim, c_strides([k_value(d) for d in dims])))
    buffer = inside.adopt(Value(BufferType(param.dtype, dims, strides), param.name))
    carry = _Carry(operand, param, result, place, buffer, resizes)
    env[param] = Place(buffer, carry.root)
    carry.root.values.append(param)
    return carry


def _region_dims(param: Value, env: Mapping[Value, Binding]) -> tuple[Dim, ...]:
    dims: list[Dim] = []
    for d in param.dims:
        bound = d if isinstance(d, int) else env[d]
        assert isinstance(bound, (int, Value))
        dims.append(_dim(bound) if isinstance(bound, Literal) else bound)
    return tuple(dims)


def _dim(value: Value) -> Dim:
    return int(value.item) if isinstance(value, Literal) else value


@dataclass
class _Settled:
    """How a body's results come to lie for the next step.

    Attributes:
        swapped: carries whose memory changes from step to step: loop-carried pointers.
        yields: for these, the pointers for the next step.
        spares: further memory that takes part in the exchange: (allocation before the loop,
            region param, pointer for the next step).
    """

    swapped: list[_Carry]
    yields: list[Value]
    spares: list[tuple[Value, Value]]


def _settle(inner: Body, carries: Sequence[_Carry], finals: Sequence[Value]) -> _Settled:
    """Decide where each carried array is at the end of a step; called inside the body's scope."""
    places = [inner.place(v) for v in finals]
    here = {c.root: c for c in carries}
    moving: list[_Carry] = []
    taken: list[Root] = []
    for c, place in zip(carries, places):
        if place.root is c.root and place.whole and not c.resizes:
            taken.append(c.root)
        else:
            moving.append(c)
    yields: dict[_Carry, Place] = {}
    copies: list[tuple[_Carry, Value]] = []
    for c, v, place in zip(carries, finals, places):
        if c not in moving:
            continue
        swaps = place.root in here or _movable(inner, place, c)
        if swaps and place.whole and place.root not in taken:
            taken.append(place.root)
            yields[c] = place
        else:
            copies.append((c, v))
    for c, v in copies:
        clash = any(place.root is c.root for place in places) or c.root in taken
        if not clash and not c.resizes:
            inner.copy(v, Place(c.buffer, c.root), "a carried array is a copy of another")
            taken.append(c.root)
            yields[c] = Place(c.buffer, c.root)
        else:
            fresh = inner.new(v, heap=c.resizes)
            inner.copy(v, fresh, "a carried array is a copy of another")
            taken.append(fresh.root)
            yields[c] = fresh
    return _exchange(inner, [c for c in carries if c in moving], yields)


def _movable(inner: Body, place: Place, carry: _Carry) -> bool:
    """Whether the memory was allocated by this body itself, so that it can change roles."""
    if carry.resizes:
        return place.root.heap
    return _allocation(place) is not None


def _allocation(place: Place) -> Eqn | None:
    """The equation of this scope that allocated a place, if its size is known outside."""
    here = scope()
    for eqn in here.eqns:
        if eqn.op is k.ALLOC and eqn.result is place.buffer:
            outside = all(
                isinstance(v, Literal) or here.home.get(v) is not here for v in eqn.operands
            )
            return eqn if outside else None
    return None


def _exchange(inner: Body, moving: Sequence[_Carry], yields: Mapping[_Carry, Place]) -> _Settled:
    here = scope()
    kept = {place.root for place in yields.values()}
    unused = [c for c in moving if c.root not in kept]
    spares: list[tuple[Value, Value]] = []
    for c in moving:
        place = yields[c]
        if c.resizes or (eqn := _allocation(place)) is None:
            continue
        here.eqns.remove(eqn)
        inner.heaps = [h for h in inner.heaps if h is not place]
        partner = next(
            o for o in unused if o.buffer.dtype == c.buffer.dtype and o.param.dims == c.param.dims
        )
        unused.remove(partner)
        spares.append((place.buffer, partner.buffer))
    for c in unused:
        if c.resizes:
            k.free(c.buffer)
    inner.heaps = [h for h in inner.heaps if h.root not in kept]
    return _Settled(list(moving), [yields[c].buffer for c in moving], spares)


def _bind_stable(carries: Sequence[_Carry], settled: _Settled) -> None:
    """Carries that stay where they are: the body's name for them is a view of their memory."""
    for c in carries:
        if c not in settled.swapped:
            _bind_view(c.buffer, c.memory.buffer)


def _bind_view(name: Value, memory: Value) -> None:
    type = name.buffer_type
    operands = (memory, k.as_index(0), *map(k_value, type.dims), *map(k_value, type.strides or ()))
    scope().append(Eqn(k.VIEW, operands, {}, (), (name,), scope().loc))


def _memory_of_spare(body: Body, spare: Value) -> Value:
    """Memory outside the loop for an allocation that was inside it."""
    type = spare.buffer_type
    buffer = k.alloc(type.dtype, type.dims, spare.name)
    if any(isinstance(d, Value) for d in type.dims):
        body.heaps.append(Place(buffer, Root(writable=True, heap=True)))
    return buffer


def _finish_carries(
    body: Body, carries: Sequence[_Carry], settled: _Settled, pointers: Sequence[Value]
) -> None:
    after = dict(zip(settled.swapped, pointers))
    for c in carries:
        if c not in after:
            body.bind(c.result, c.memory)
            continue
        place = Place(after[c], Root(writable=True, heap=c.resizes))
        if c.resizes:
            body.heaps = [h for h in body.heaps if h is not c.memory]
            body.heaps.append(place)
        body.bind(c.result, place)
        for other in settled.swapped:  # it ended in the memory of any of these
            other.memory.root.values.append(c.result)


# -- loops -----------------------------------------------------------------------------------------


def _lower_for(body: Body, eqn: Eqn) -> None:
    (region,) = eqn.regions
    n_consts, n_carries = eqn.attrs["consts"], eqn.attrs["carries"]
    trips = body.scalar(eqn.operands[0])
    env: dict[Value, Binding] = {}
    _bind_consts(body, eqn.operands[1 : 1 + n_consts], region.params[1 : 1 + n_consts], env)
    first = 1 + n_consts
    params = region.params[first : first + n_carries]
    stacked = [body.target(r) for r in eqn.results[n_carries:]]
    inner_scope = scope().child("body")
    counter = inner_scope.param(k.INDEX, region.params[0].name or "i")
    scalars = _scalar_carries(inner_scope, params, env)
    results = eqn.results[:n_carries]
    carries = [
        _carry(body, eqn, first + j, p, r, env, inner_scope)
        for j, (p, r) in enumerate(zip(params, results))
        if _is_array(p)
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
            (v, memory, Place(_row(memory.buffer, i), Root(writable=True)))
            for v, memory in zip(region.results[n_carries:], stacked)
        ]
        inner = body.nested(region, env, {v: end for v, _, end in ends if v.rank})
        inner.run()
        for v, memory, end in ends:
            if v.rank:
                inner.move(v, end, "a stacked result is computed elsewhere")
            else:
                k.store(memory.buffer, inner.scalar(v), i)
        nexts = [inner.scalar(v) for v, p in zip(region.results, params) if _is_scalar(p)]
        arrays = [v for v, p in zip(region.results, params) if _is_array(p)]
        settled = _settle(inner, carries, arrays)
        yields = [*nexts, *settled.yields, *(y for _, y in settled.spares)]
        inner.release([])
    for c in settled.swapped:
        inner_scope.params.append(c.buffer)
    inner_scope.params.extend(p for p, _ in settled.spares)
    _bind_stable(carries, settled)
    starts = [body.scalar(v) for v, p in zip(eqn.operands[first:], params) if _is_scalar(p)]
    pointers = [_pointer(c) for c in settled.swapped]
    spares = [_memory_of_spare(body, p) for p, _ in settled.spares]
    operands = (k.as_index(0), trips, *starts, *pointers, *spares)
    finals = scope().bind(
        k.FOR,
        operands,
        {"kind": "seq", "combine": ()},
        (inner_scope.build(*yields),),
        [v.name for v in (*scalars, *pointers)],
    )
    _bind_scalars(body, params, results, finals)
    _finish_carries(body, carries, settled, finals[len(scalars) :])
    for result, memory in zip(eqn.results[n_carries:], stacked):
        body.bind(result, memory)


def _is_array(p: Value) -> bool:
    return not isinstance(p.type, TapeType) and p.rank > 0


def _is_scalar(p: Value) -> bool:
    return not isinstance(p.type, TapeType) and p.rank == 0


def _bind_consts(
    body: Body, operands: Sequence[Value], params: Sequence[Value], env: dict[Value, Binding]
) -> None:
    """What a region only reads."""
    for v, p in zip(operands, params):
        if not _is_array(p):
            env[p] = body.scalar(v)
            continue
        env[p] = Place(body.buffer(v), Root(writable=False, values=[p]), whole=False)


def _scalar_carries(
    inner: ScopedBuilder, params: Sequence[Value], env: dict[Value, Binding]
) -> list[Value]:
    scalars: list[Value] = []
    for p in params:
        if _is_scalar(p):
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
        if _is_scalar(p):
            body.bind(r, next(values))


def _pointer(carry: _Carry) -> Value:
    """The memory that a swapped carry starts in, typed as the body knows it."""
    type = carry.buffer.buffer_type
    if carry.resizes:
        return carry.memory.buffer
    return k.view(carry.memory.buffer, 0, type.dims, type.strides or (), carry.param.name)


def _row(buffer: Value, i: Value) -> Value:
    """The i-th subarray of a buffer along its first axis, as a view."""
    strides = strides_of(buffer)
    dims = buffer.dims[1:]
    return k.view(buffer, ix.multiply(i, strides[0]), dims, [_dim(t) for t in strides[1:]])


def _bind_slice(p: Value, source: Value, i: Value, env: dict[Value, Binding]) -> None:
    if p.rank == 0:
        env[p] = k.load(source, i)
    else:
        env[p] = Place(_row(source, i), Root(writable=False, values=[p]), whole=False)


def _lower_while(body: Body, eqn: Eqn) -> None:
    cond, step = eqn.regions
    n_consts = eqn.attrs["consts"]
    results = eqn.results
    env: dict[Value, Binding] = {}
    _bind_consts(body, eqn.operands[:n_consts], step.params[:n_consts], env)
    params = step.params[n_consts:]
    inner_scope = scope().child("body")
    scalars = _scalar_carries(inner_scope, params, env)
    carries = [
        _carry(body, eqn, n_consts + j, p, r, env, inner_scope)
        for j, (p, r) in enumerate(zip(params, results))
        if _is_array(p)
    ]
    _bind_tapes(body, eqn.operands[n_consts:], params, results, env)
    with inner_scope:
        inner = body.nested(step, env, {})
        inner.run()
        nexts = [inner.scalar(v) for v, p in zip(step.results, params) if _is_scalar(p)]
        arrays = [v for v, p in zip(step.results, params) if _is_array(p)]
        settled = _settle(inner, carries, arrays)
        yields = [*nexts, *settled.yields, *(y for _, y in settled.spares)]
        inner.release([])
    for c in settled.swapped:
        inner_scope.params.append(c.buffer)
    inner_scope.params.extend(p for p, _ in settled.spares)
    _bind_stable(carries, settled)
    starts = [body.scalar(v) for v, p in zip(eqn.operands[n_consts:], params) if _is_scalar(p)]
    pointers = [_pointer(c) for c in settled.swapped]
    spares = [_memory_of_spare(body, p) for p, _ in settled.spares]
    test = _lower_condition(body, eqn, cond, carries, settled)
    finals = scope().bind(
        k.WHILE,
        (*starts, *pointers, *spares),
        {},
        (test, inner_scope.build(*yields)),
        [v.name for v in (*scalars, *pointers)],
    )
    _bind_scalars(body, params, results, finals)
    _finish_carries(body, carries, settled, finals[len(scalars) :])


def _lower_condition(
    body: Body, eqn: Eqn, cond: Function, carries: Sequence[_Carry], settled: _Settled
) -> Function:
    """The condition reads the carries where the body left them."""
    n_consts = eqn.attrs["consts"]
    env: dict[Value, Binding] = {}
    _bind_consts(body, eqn.operands[:n_consts], cond.params[:n_consts], env)
    params = cond.params[n_consts:]
    test = scope().child("cond")
    _scalar_carries(test, params, env)
    by_result = {c.result: c for c in carries}
    pointers: dict[_Carry, Value] = {}
    for p, r in zip(params, eqn.results):
        if not _is_array(p):
            continue
        carry = by_result[r]
        buffer = carry.memory.buffer
        if carry in settled.swapped:
            type = carry.buffer.buffer_type
            buffer = Value(BufferType(p.dtype, _region_dims(p, env), type.strides), p.name)
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


# -- branches --------------------------------------------------------------------------------------


def _lower_if(body: Body, eqn: Eqn) -> None:
    pred = body.scalar(eqn.operands[0])
    operands = eqn.operands[1:]
    origins = [common_origin(eqn, j) for j in range(len(eqn.results))]
    targets: dict[int, Place] = {}
    overwritten: dict[int, Place] = {}
    for j, r in enumerate(eqn.results):
        source = origins[j]
        if not _is_array(r):
            continue
        if source is None or source in overwritten or _shares(body, eqn, source + 1):
            targets[j], origins[j] = body.target(r), None
        else:
            targets[j] = overwritten[source] = body.acquire(operands[source], r)
    arms = [
        _lower_arm(body, operands, region, targets, origins, overwritten) for region in eqn.regions
    ]
    names = [r.name for r in eqn.results if _is_scalar(r)]
    finals = iter(scope().bind(k.IF, (pred,), {}, arms, names))
    for j, r in enumerate(eqn.results):
        if j in targets:
            body.bind(r, targets[j])
        elif _is_scalar(r):
            body.bind(r, next(finals))
        else:
            tape = origins[j]
            assert tape is not None, "an arm of a branch made a tape of its own"
            body.env[r] = body.scalar(operands[tape])


def _lower_arm(
    body: Body,
    operands: Sequence[Value],
    region: Function,
    targets: Mapping[int, Place],
    origins: Sequence[int | None],
    overwritten: Mapping[int, Place],
) -> Function:
    """One arm; it leaves its arrays in the memory that both arms share."""
    arm = scope().child(region.name or "arm")
    with arm:
        env: dict[Value, Binding] = {}
        for i, (v, p) in enumerate(zip(operands, region.params)):
            if i in overwritten:
                env[p] = Place(overwritten[i].buffer, Root(writable=True, values=[p]))
            else:
                _bind_consts(body, [v], [p], env)
        ends: dict[int, Place] = {}
        hints: dict[Value, Place] = {}
        for j, target in targets.items():
            source = origins[j]
            if source is None:
                ends[j] = Place(target.buffer, Root(writable=True))
                hints.setdefault(region.results[j], ends[j])
            else:
                shared = env[region.params[source]]
                assert isinstance(shared, Place)
                ends[j] = shared
        inner = body.nested(region, env, hints)
        inner.run()
        for j, end in ends.items():
            inner.move(region.results[j], end, "an arm of the branch computes it elsewhere")
        yields = [inner.scalar(v) for v in region.results if _is_scalar(v)]
        inner.release([])
    return arm.build(*yields)


# -- checks, tapes, new memory ---------------------------------------------------------------------


def _lower_check(body: Body, eqn: Eqn) -> None:
    ok, *values = [body.scalar(v) for v in eqn.operands]
    error, message = eqn.attrs["error"], eqn.attrs["message"]
    k.branch(s.logical_not(ok), lambda: k.raise_error(error, message, values))


def _lower_const(body: Body, eqn: Eqn) -> None:
    place = Place(k.constant(eqn.attrs["data"]), Root(writable=False), whole=False)
    body.bind(eqn.result, place)


def _lower_empty(body: Body, eqn: Eqn) -> None:
    body.bind(eqn.result, body.target(eqn.result))


def _lower_tape_new(body: Body, eqn: Eqn) -> None:
    tape = k.tape_new(eqn.attrs["type"])
    body.tapes.append(tape)
    body.env[eqn.result] = tape


def _lower_tape_push(body: Body, eqn: Eqn) -> None:
    """Of `tape_put` too, whose position is where a push goes anyway."""
    tape, *values = eqn.operands
    if eqn.op is TAPE_PUT:
        del values[0]
    records: list[Value] = []
    for v in values:
        if v.rank == 0:
            records.append(body.scalar(v))
            continue
        buffer = body.buffer(v)
        if not is_contiguous(buffer.buffer_type):
            aside = body.new(v)
            copy_elements(buffer, aside.buffer, body.dims(v))
            buffer = aside.buffer
        records.append(buffer)
    k.tape_push(body.scalar(tape), records)
    body.env[eqn.result] = body.scalar(tape)


def _lower_tape_length(body: Body, eqn: Eqn) -> None:
    body.bind(eqn.result, k.tape_length(body.scalar(eqn.operands[0])))


def _lower_tape_get(body: Body, eqn: Eqn) -> None:
    """Of `tape_at` too, which is told the extents."""
    tape, position, *given = (body.scalar(v) for v in eqn.operands)
    assert isinstance(tape.type, TapeType)
    ragged = given or [
        k.tape_extent(tape, position, field, axis)
        for field, (_, dims) in enumerate(tape.type.fields)
        for axis, d in enumerate(dims)
        if d is None
    ]
    fields = k.tape_get(tape, position, ragged)
    for r, value in zip(eqn.results, fields if given else (*ragged, *fields)):
        if r.rank:
            body.bind(r, Place(value, Root(writable=False), whole=False))
        else:
            body.bind(r, value)


RULES: dict[Op, Callable[[Body, Eqn], None]] = {
    FOR: _lower_for,
    WHILE: _lower_while,
    IF: _lower_if,
    CHECK: _lower_check,
    CONST: _lower_const,
    EMPTY: _lower_empty,
    TAPE_NEW: _lower_tape_new,
    TAPE_PUSH: _lower_tape_push,
    TAPE_PUT: _lower_tape_push,
    TAPE_LENGTH: _lower_tape_length,
    TAPE_GET: _lower_tape_get,
    TAPE_AT: _lower_tape_get,
}
