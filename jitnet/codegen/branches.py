"""Lowering of `if`, checks, tapes and new memory.

    %y = if %p, %x { update %x }, { %x }      if %p { store %x.b, ... }

Both arms of an `if` leave an array in the same memory: that of the operand that both turn it into,
or new memory. Where the branch decides the extents, each arm allocates its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from jitnet.codegen.carries import bind_consts, is_array, is_scalar, shares
from jitnet.codegen.origin import common_origins
from jitnet.codegen.scoped import scope
from jitnet.codegen.storage import Binding, Place, Root, box, copy_elements, is_contiguous
from jitnet.ir import Eqn, Function, Literal, TapeType, Value
from jitnet.kernel import indices as ix
from jitnet.kernel import scalars as s
from jitnet.kernel import statements as k
from jitnet.ops import floordiv, rem
from jitnet.ops.control import CHECK
from jitnet.ops.primitive import Element
from jitnet.ops.tape import is_packed, ragged_axes, tape_type
from jitnet.passes.members import primitive

if TYPE_CHECKING:
    from jitnet.codegen.lower import Body


SHORT = 16
"""Flops of the arms up to which there is no branch: both are computed, as a scope's scalars are
anyway, and nothing waits for the condition."""


def lower_if(body: Body, eqn: Eqn) -> None:
    if _is_short(eqn):
        _lower_short(body, eqn)
        return
    plan = _plan_branch(body, eqn)
    pred = body.scalar(eqn.operands[0])
    for i, v in enumerate(eqn.operands[1:]):
        if is_array(v) and i not in plan.overwritten:
            body.buffer(v)  # in front of the arms: what one arm computes, the other has not
    arms = [_lower_arm(body, eqn.operands[1:], region, plan) for region in eqn.regions]
    names = [r.name for r in eqn.results if is_scalar(r)]
    finals = scope().bind(k.IF, (pred,), {}, arms, names)
    scalars = iter(finals)
    for j, r in enumerate(eqn.results):
        if is_scalar(r):
            body.bind(r, next(scalars))
        elif j in plan.targets:
            body.bind(r, plan.targets[j])
        elif j not in plan.ragged:
            tape = plan.origins[j]
            assert tape is not None, "an arm of a branch made a tape of its own"
            body.env[r] = body.scalar(eqn.operands[1 + tape])
    for j, memory in zip(plan.ragged, scalars):
        body.bind(eqn.results[j], body.owned(eqn.results[j], memory))


def _is_short(eqn: Eqn) -> bool:
    """Whether both arms are a little arithmetic of scalars, and checks of it."""
    eqns = [e for region in eqn.regions for e in region.eqns]
    if not all(map(is_scalar, eqn.results)) or len(eqns) > SHORT:
        return False
    return sum(map(_flops, eqns)) <= SHORT


def _flops(eqn: Eqn) -> int:
    """What an equation on scalars costs; too much where it has another effect than to raise."""
    if eqn.op is CHECK:
        return 1
    op = primitive(eqn)
    rule = op.lowering(eqn) if op.is_pointwise and eqn.result.rank == 0 else None
    if not isinstance(rule, Element):
        return SHORT + 1
    if eqn.op in (floordiv, rem) and eqn.result.dtype.kind in "iu":
        return 2 if isinstance(eqn.operands[1], Literal) else SHORT + 1  # a processor's slowest
    return rule.cost


def _lower_short(body: Body, eqn: Eqn) -> None:
    """Both arms in place, and a choice; a check fails only where its arm is taken."""
    pred = body.scalar(eqn.operands[0])
    ends: list[list[Value]] = []
    for region, taken in zip(eqn.regions, (pred, s.logical_not(pred))):
        given = zip(region.params, eqn.operands[1:])
        inner = body.nested(region, {p: body.scalar(v) for p, v in given if is_scalar(p)}, {})
        for e in region.eqns:
            scope().loc = e.loc
            if e.op is CHECK:
                lower_check(inner, e, taken)
            else:
                inner.lower(e)
        ends.append([inner.scalar(r) for r in region.results])
    for r, a, b in zip(eqn.results, *ends):
        body.bind(r, a if a is b else s.select(pred, a, b))


@dataclass
class _Branch:
    """Where the arrays that a branch returns are to be.

    Attributes:
        targets: memory that both arms write, by result.
        origins: the operand that a result takes over in place, None for memory of its own.
        overwritten: memory of the operands that the arms change in place.
        ragged: results whose extents the branch decides: each arm allocates them.
    """

    targets: dict[int, Place] = field(default_factory=dict)
    origins: list[int | None] = field(default_factory=list)
    overwritten: dict[int, Place] = field(default_factory=dict)
    ragged: list[int] = field(default_factory=list)


def _plan_branch(body: Body, eqn: Eqn) -> _Branch:
    plan = _Branch(origins=common_origins(eqn))
    for j, r in enumerate(eqn.results):
        source = plan.origins[j]
        if not is_array(r):
            continue
        if any(d in eqn.results for d in r.dims):
            plan.ragged.append(j)
        elif source is None or source in plan.overwritten or shares(body, eqn, source + 1):
            plan.targets[j], plan.origins[j] = body.target(r), None
        else:
            plan.targets[j] = plan.overwritten[source] = body.acquire(eqn.operands[1 + source], r)
    return plan


def _lower_arm(body: Body, operands: Sequence[Value], region: Function, plan: _Branch) -> Function:
    """One arm; it leaves its arrays in the memory that both arms share."""
    arm = scope().child(region.name or "arm")
    arm.is_arm = True
    with arm:
        env: dict[Value, Binding] = {}
        for i, (v, p) in enumerate(zip(operands, region.params)):
            if i in plan.overwritten:
                env[p] = replace(plan.overwritten[i], root=Root(writable=True, values=[p]))
            else:
                bind_consts(body, [v], [p], env)
        ends: dict[int, Place] = {}
        hints: dict[Value, Place] = {}
        for j, target in plan.targets.items():
            source = plan.origins[j]
            if source is None:
                ends[j] = replace(target, root=Root(writable=True))
                hints.setdefault(region.results[j], ends[j])
            else:
                shared = env[region.params[source]]
                assert isinstance(shared, Place)
                ends[j] = shared
        inner = body.nested(region, env, hints)
        inner.run()
        for j, end in ends.items():
            inner.move(region.results[j], end, "an arm of the branch computes it elsewhere")
        yields = [inner.scalar(v) for v in region.results if is_scalar(v)]
        yields += [inner.give_up(region.results[j]) for j in plan.ragged]
        inner.release([])
    return arm.build(*yields)


def lower_check(body: Body, eqn: Eqn, taken: Value | None = None) -> None:
    """`taken`: where it does not hold the check is not made. It is asked where the check fails: a
    processor foresees that it does not, and need not guess whether the arm is taken."""
    ok, *values = [body.scalar(v) for v in eqn.operands]
    error, message = eqn.attrs["error"], eqn.attrs["message"]

    def fail() -> None:
        k.raise_error(error, message, values)

    k.branch(s.logical_not(ok), fail if taken is None else lambda: k.branch(taken, fail))


def lower_const(body: Body, eqn: Eqn) -> None:
    place = Place(k.constant(eqn.attrs["data"]), Root(writable=False), whole=False)
    body.bind(eqn.result, place)


def lower_empty(body: Body, eqn: Eqn) -> None:
    body.bind(eqn.result, body.target(eqn.result))


def lower_tape_new(body: Body, eqn: Eqn) -> None:
    tape = k.tape_new(eqn.attrs["type"])
    body.tapes.append(tape)
    body.env[eqn.result] = tape


def lower_tape_push(body: Body, eqn: Eqn) -> None:
    tape, *values = eqn.operands
    _push(body, body.scalar(tape), values)
    body.env[eqn.result] = body.scalar(tape)


def lower_tape_put(body: Body, eqn: Eqn) -> None:
    """The position is that behind the last record, or zeros fill up what is between."""
    tape, position, *values = eqn.operands
    _reach(body.scalar(tape), body.scalar(position))
    _push(body, body.scalar(tape), values)
    body.env[eqn.result] = body.scalar(tape)


def _reach(tape: Value, length: Value) -> None:
    if not _ragged(tape):
        k.tape_reach(tape, length)


def _ragged(tape: Value) -> list[tuple[int, int]]:
    return ragged_axes(tape_type(tape))


def _push(body: Body, tape: Value, values: Sequence[Value]) -> None:
    k.tape_push(tape, _record(body, values))


def _record(body: Body, values: Sequence[Value]) -> list[Value]:
    """The fields of a record: scalars, and arrays that lie in one piece."""
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
    return records


def lower_tape_set(body: Body, eqn: Eqn) -> None:
    tape, position, *values = eqn.operands
    if eqn.attrs.get("beside"):
        _reach(body.scalar(tape), ix.add(body.scalar(position), ix.ONE))
    k.tape_set(body.scalar(tape), body.scalar(position), _record(body, values))
    body.env[eqn.result] = body.scalar(tape)


def lower_tape_cut(body: Body, eqn: Eqn) -> None:
    tape, start, stop = (body.scalar(v) for v in eqn.operands)
    if eqn.attrs.get("beside"):
        length = k.tape_length(tape)
        start, stop = s.minimum(start, length), s.minimum(stop, length)
    k.tape_cut(tape, start, stop)
    body.env[eqn.result] = tape


def lower_tape_prepend(body: Body, eqn: Eqn) -> None:
    tape, *values = eqn.operands
    k.tape_prepend(body.scalar(tape), _record(body, values))
    body.env[eqn.result] = body.scalar(tape)


def lower_tape_copy(body: Body, eqn: Eqn) -> None:
    """Those of a log that is not packed are found by its table, one by one."""
    tape, source = (body.scalar(v) for v in eqn.operands)
    if is_packed(tape_type(source)):
        k.tape_copy(tape, source)
    else:
        k.tape_cut(tape, ix.ZERO, ix.ZERO)
        k.loop(0, k.tape_length(source), lambda i: k.tape_push(tape, k.tape_get(source, i, ())))
    body.env[eqn.result] = tape


def lower_tape_add(body: Body, eqn: Eqn) -> None:
    tape, position, *values = eqn.operands
    _reach(body.scalar(tape), ix.add(body.scalar(position), ix.ONE))
    slots = k.tape_slots(body.scalar(tape), body.scalar(position))
    for v, slot in zip(values, slots):
        _add_to(slot, body, v)
    body.env[eqn.result] = body.scalar(tape)


def _add_to(slot: Value, body: Body, v: Value) -> None:
    def add(index: tuple[Value, ...]) -> None:
        k.store(slot, s.add(k.load(slot, *index), body.element(v, index)), *index)

    box(body.dims(v), add)


def lower_tape_length(body: Body, eqn: Eqn) -> None:
    body.bind(eqn.result, k.tape_length(body.scalar(eqn.operands[0])))


def lower_tape_get(body: Body, eqn: Eqn) -> None:
    tape, position = (body.scalar(v) for v in eqn.operands)
    extents = [k.tape_extent(tape, position, field, axis) for field, axis in _ragged(tape)]
    _bind_record(body, eqn, (*extents, *k.tape_get(tape, position, extents)))


def lower_tape_at(body: Body, eqn: Eqn) -> None:
    """A record that is not there yet is made of zeros."""
    tape, position, *extents = (body.scalar(v) for v in eqn.operands)
    _reach(tape, ix.add(position, ix.ONE))
    _bind_record(body, eqn, k.tape_get(tape, position, extents))


def _bind_record(body: Body, eqn: Eqn, values: Sequence[Value]) -> None:
    type = eqn.operands[0].type
    changes = isinstance(type, TapeType) and type.changes
    for r, value in zip(eqn.results, values):
        if r.rank and changes:  # what comes in its place may overwrite it
            copied = body.target(r)
            copy_elements(value, copied.buffer, body.dims(r))
            body.bind(r, copied)
        elif r.rank:
            body.bind(r, Place(value, Root(writable=False), whole=False))
        else:
            body.bind(r, value)
