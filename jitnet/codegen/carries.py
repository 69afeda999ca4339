"""Carried arrays: which memory a loop's arrays live in, and how it goes from step to step.

    %x = for 1000, %x0 (%i: i64, %x: f64[n])       %x.b = <x0's memory, or a copy of it>
      { ... update %x, %v, %i ... }                for %i = 0 to 1000 { store %x.b, %v, %i }

An array that the body updates in place has one buffer for the whole loop. Where the body computes
it anew, the new memory and the old change roles each step by swapping pointers: no copy. An array
whose extents change has heap memory of its own each step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from jitnet.codegen.origin import origins
from jitnet.codegen.scoped import ScopedBuilder, scope
from jitnet.codegen.storage import Binding, Place, Root, c_strides, k_value, strides_of
from jitnet.ir import BufferType, Dim, Eqn, Function, Literal, TapeType, Value
from jitnet.kernel import statements as k

if TYPE_CHECKING:
    from jitnet.codegen.lower import Body


@dataclass(eq=False)
class Carry:
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

    @property
    def place(self) -> Place:
        """The memory as the body sees it."""
        return Place(self.buffer, self.root, c_order=self.memory.c_order)


def shares(body: Body, eqn: Eqn, position: int) -> bool:
    """Whether another operand of the equation reads the memory of this one."""
    roots = body.roots(eqn.operands[position])
    return any(
        r in roots
        for i, v in enumerate(eqn.operands)
        if i != position and not isinstance(v, Literal)
        for r in body.roots(v)
    )


def carry(
    body: Body,
    eqn: Eqn,
    position: int,
    region: Function,
    j: int,
    env: dict[Value, Binding],
    inside: ScopedBuilder,
) -> Carry:
    """Memory for one carried array, before the loop: the operand at `position`, result j."""
    operand, param, result = eqn.operands[position], region.params[position], eqn.results[j]
    dims = region_dims(param, env)
    hint = body.hints.get(result)
    if hint is not None and not hint.c_order and not _works_in_place(region, j, position):
        del body.hints[result]
    resizes = any(isinstance(d, Value) and inside.home.get(d) is inside for d in dims)
    if resizes:
        place = body.new(operand, heap=True)
        body.copy(operand, place, "its size changes in the loop")
    elif shares(body, eqn, position):
        place = body.target(result)
        body.copy(operand, place, "the loop reads it as well")
    else:
        place = body.acquire(operand, result)
    if not place.c_order and not _works_in_place(region, j, position):
        place = body.new(operand)
        body.copy(operand, place, "the loop makes it anew, in C order")
    strides: tuple[Dim, ...] | None = None
    if not place.c_order:
        strides = tuple(map(dim_of, strides_of(place.buffer)))
    elif not resizes:
        strides = tuple(map(dim_of, c_strides([k_value(d) for d in dims])))
    buffer = inside.adopt(Value(BufferType(param.dtype, dims, strides), param.name))
    carry = Carry(operand, param, result, place, buffer, resizes)
    env[param] = carry.place
    carry.root.values.append(param)
    return carry


def _works_in_place(region: Function, j: int, position: int) -> bool:
    """Whether the body updates what it carries, rather than making it anew."""
    return origins(region)[j] == position


def region_dims(param: Value, env: Mapping[Value, Binding]) -> tuple[Dim, ...]:
    dims: list[Dim] = []
    for d in param.dims:
        bound = d if isinstance(d, int) else env[d]
        assert isinstance(bound, (int, Value))
        dims.append(dim_of(bound) if isinstance(bound, Literal) else bound)
    return tuple(dims)


def dim_of(value: Value) -> Dim:
    return int(value.item) if isinstance(value, Literal) else value


@dataclass
class Settled:
    """How a body's results come to lie for the next step.

    Attributes:
        swapped: carries whose memory changes from step to step: loop-carried pointers.
        yields: for these, the pointers for the next step.
        spares: further memory that takes part in the exchange: (allocation before the loop,
            region param, pointer for the next step).
    """

    swapped: list[Carry]
    yields: list[Value]
    spares: list[tuple[Value, Value]]


def settle(inner: Body, carries: Sequence[Carry], finals: Sequence[Value]) -> Settled:
    """Decide where each carried array is at the end of a step; called inside the body's scope."""
    here = {c.root: c for c in carries}
    for c, v in zip(carries, finals):  # memory that is not in C order cannot change roles
        place = inner.place(v)
        if place.root is not c.root and not place.c_order:
            inner.snapshot(v)
    places = [inner.place(v) for v in finals]
    moving: list[Carry] = []
    taken: list[Root] = []
    for c, place in zip(carries, places):
        if place.root is c.root and place.whole and not c.resizes:
            taken.append(c.root)
        else:
            moving.append(c)
    yields: dict[Carry, Place] = {}
    copies: list[tuple[Carry, Value]] = []
    for c, v, place in zip(carries, finals, places):
        if c not in moving:
            continue
        other = here.get(place.root)
        movable = _movable(inner, place, c) if other is None else _may_swap(c, other)
        swaps = c.memory.c_order and movable
        if swaps and place.whole and place.root not in taken:
            taken.append(place.root)
            yields[c] = place
        else:
            copies.append((c, v))
    for c, v in copies:
        clash = any(place.root is c.root for place in places) or c.root in taken
        clash = clash or any(c.root in inner.memory(w) for w in finals if w is not v)
        if not clash and not c.resizes:
            inner.copy(v, c.place, "a carried array is a copy of another")
            taken.append(c.root)
            yields[c] = c.place
        else:
            fresh = inner.new(v, heap=c.resizes)
            inner.copy(v, fresh, "a carried array is a copy of another")
            taken.append(fresh.root)
            yields[c] = fresh
    swapped = [c for c in carries if c in yields and yields[c].root is not c.root]
    return _exchange(inner, swapped, yields)


def _may_swap(a: Carry, b: Carry) -> bool:
    """Whether one can have the other's memory: a carry of another shape would miss its own."""
    static = a.param.array_type.is_static and b.param.array_type.is_static
    return not static or (a.param.dims, a.param.dtype) == (b.param.dims, b.param.dtype)


def _movable(inner: Body, place: Place, carry: Carry) -> bool:
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


def _exchange(inner: Body, moving: Sequence[Carry], yields: Mapping[Carry, Place]) -> Settled:
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
    return Settled(list(moving), [yields[c].buffer for c in moving], spares)


def bind_stable(carries: Sequence[Carry], settled: Settled) -> None:
    """Carries that stay where they are: the body's name for them is a view of their memory."""
    for c in carries:
        if c not in settled.swapped:
            _bind_view(c.buffer, c.memory.buffer)


def _bind_view(name: Value, memory: Value) -> None:
    type = name.buffer_type
    operands = (memory, k.as_index(0), *map(k_value, type.dims), *map(k_value, type.strides or ()))
    scope().append(Eqn(k.VIEW, operands, {}, (), (name,), scope().loc))


def memory_of_spare(body: Body, spare: Value) -> Value:
    """Memory outside the loop for an allocation that was inside it."""
    type = spare.buffer_type
    buffer = k.alloc(type.dtype, type.dims, spare.name)
    if any(isinstance(d, Value) for d in type.dims):
        body.heaps.append(Place(buffer, Root(writable=True, heap=True)))
    return buffer


def finish_carries(
    body: Body, carries: Sequence[Carry], settled: Settled, pointers: Sequence[Value]
) -> None:
    after = dict(zip(settled.swapped, pointers))
    among = [m for c in settled.swapped for m in (c.memory.root, *c.memory.root.among)]
    for c in carries:
        if c not in after:
            body.bind(c.result, c.memory)
            continue
        root = Root(writable=True, heap=c.resizes, among=tuple(dict.fromkeys(among)))
        place = Place(after[c], root, c_order=c.memory.c_order)
        if c.resizes:
            body.heaps = [h for h in body.heaps if h is not c.memory]
            body.heaps.append(place)
        body.bind(c.result, place)


def pointer(carry: Carry) -> Value:
    """The memory that a swapped carry starts in, typed as the body knows it."""
    type = carry.buffer.buffer_type
    if carry.resizes:
        return carry.memory.buffer
    return k.view(carry.memory.buffer, 0, type.dims, type.strides or (), carry.param.name)


def is_array(p: Value) -> bool:
    return not isinstance(p.type, TapeType) and p.rank > 0


def is_scalar(p: Value) -> bool:
    return not isinstance(p.type, TapeType) and p.rank == 0


def bind_consts(
    body: Body, operands: Sequence[Value], params: Sequence[Value], env: dict[Value, Binding]
) -> None:
    """What a region only reads."""
    for v, p in zip(operands, params):
        if not is_array(p):
            env[p] = body.scalar(v)
            continue
        env[p] = Place(body.buffer(v), Root(writable=False, values=[p]), whole=False)
