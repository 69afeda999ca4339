"""Rounds of a loop that the host drives, recorded once and replayed until the loop ends.

    while %go ... { launch f_0 %x, %t;  %n1 = add %n, 1;  launch f_1 %t, %y;  return %go1, %y, %n1 }

    round 0, 1      gone through
    round 2         recorded, with what it is given for places outside, and replayed
    round 3, ...    replayed: at addresses that were there before, as a graph

What a round leaves lies in a set of memory of its own, one that nothing which the round is given
lies in: two or three sets take turns, so addresses come again. Integers that the host counts are
computed beside the commands, which must not depend on them but for what kernels are passed. So are
checks of them, first: a round in which one fails is gone through, and raises in its order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from jitnet.codegen.cuda.rows import is_scalar_op
from jitnet.codegen.cuda.split import evaluate
from jitnet.ir import Eqn, Function, Literal, Value
from jitnet.kernel import statements as S
from jitnet.runtime.devices.commands import Buffer, Counted, Direct
from jitnet.runtime.devices.device import Memory
from jitnet.runtime.devices.driver import Number, Run
from jitnet.runtime.devices.plan import NotStraightError, Plan, Planned, Recorder, arena_of

GONE_THROUGH = 2
"""Rounds before one is recorded: what the first ones are given may be of another kind."""

_CHANGING = (
    *(S.TAPE_PUSH, S.TAPE_REACH, S.TAPE_FREE),
    *(S.TAPE_SET, S.TAPE_CUT, S.TAPE_PREPEND, S.TAPE_COPY),
)
"""Statements that change what the host has."""


class _Counted:
    """A number of the host's that may be another one in each round."""


COUNTED = _Counted()


@dataclass
class _Rehearsal(Run):
    """A run of a round that is recorded.

    Attributes:
        host: scalar ops on what is counted, and checks of it, in order.
        numbers: what is counted and kernels are passed, in order.
        depth: how many regions it is in.
    """

    host: list[Eqn] = field(default_factory=list)
    numbers: list[Value] = field(default_factory=list)
    depth: int = 0

    def function(self, f: Function, arguments: Sequence[Any]) -> list[Any]:
        self.depth += 1
        results = super().function(f, arguments)
        self.depth -= 1
        return results

    def eqns(self, eqns: Sequence[Eqn]) -> None:
        for eqn in eqns:
            if eqn.op in _CHANGING:
                raise NotStraightError
            if not self._is_counted(eqn):
                super().eqns((eqn,))
            elif self.depth > 1 or not (is_scalar_op(eqn) or _is_check(eqn)):
                raise NotStraightError
            else:
                self.env.update((v, COUNTED) for v in eqn.results)
                self.host.append(eqn)

    def _is_counted(self, eqn: Eqn) -> bool:
        if not is_scalar_op(eqn) and eqn.op not in (S.INVOKE, S.WHILE, S.IF):
            return False
        return any(self.env.get(v) is COUNTED for v in eqn.operands if not isinstance(v, Literal))

    def known(self, v: Value) -> Any:
        found = super().known(v)
        if found is COUNTED:
            raise NotStraightError
        return found

    def passed(self, v: Value) -> Any:
        if self.value(v) is not COUNTED:
            return self.known(v)
        self.numbers.append(v)
        return Counted(len(self.numbers) - 1)

    def on_device(self, value: Any, dtype: Any) -> Number:
        if value is COUNTED:
            raise NotStraightError
        return super().on_device(value, dtype)


def _is_check(eqn: Eqn) -> bool:
    """Whether a branch raises, and does nothing else."""
    if eqn.op is not S.IF or eqn.results:
        return False
    then, orelse = eqn.regions
    return [e.op for e in then.eqns] == [S.RAISE] and not orelse.eqns


@dataclass(frozen=True)
class _Round:
    """A recorded round.

    Attributes:
        plan: its places outside are what it is given, then what it leaves.
        kinds: of what it is given: on the device, or counted.
        host: scalar ops and checks that the host does beside it.
        numbers: what of it kernels are passed.
        known: numbers that these need, and that are the same in each round.
    """

    plan: Plan
    kinds: Sequence[bool]
    host: Sequence[Eqn]
    numbers: Sequence[Value]
    known: dict[Value, Any]


class Rounds:
    """The rounds of one execution of a loop.

    Args:
        run: where the loop stands.
        body: a round: the params are what it is given, the results what the next one is.
    """

    def __init__(self, run: Run, body: Function) -> None:
        self._run = run
        self._body = body
        self._count = 0
        self._round: _Round | None = None
        self._arena: Memory | None = None
        self._sets: list[list[Memory]] = []

    def __call__(self, given: Sequence[Any]) -> list[Any]:
        """What a round leaves."""
        queue = self._run.queue
        if isinstance(queue, Direct) and self._count == GONE_THROUGH:
            self._round = self._record(given)
        self._count += 1
        if self._round is None or not isinstance(queue, Direct):
            return self._run.function(self._body, given)
        return self._replay(queue, self._round, given)

    def _record(self, given: Sequence[Any]) -> _Round | None:
        """The round, where it does the same commands whatever is counted."""
        if not all(isinstance(v, Buffer | Number | np.generic) for v in given):
            return None
        run, recorder = self._run, Recorder(self._run.queue.device)
        stand_ins = [_stand_in(v) for v in given]
        outside: list[Memory] = [_buffer(v).memory for v in stand_ins if v is not COUNTED]
        rehearsal = _Rehearsal(recorder, run.program, run.status, run.constants, dict(run.env))
        try:
            results = rehearsal.function(self._body, stand_ins)
        except NotStraightError:
            return None
        computed = {*self._body.params, *(v for e in rehearsal.host for v in e.results)}
        if not computed.issuperset(rehearsal.numbers):
            return None  # a number of an inner region
        for v, result in zip(self._body.results, results):
            if isinstance(result, Buffer | Number):
                memory = _buffer(result).memory
                if isinstance(memory, Planned) and memory not in outside:
                    outside.append(memory)
            elif not isinstance(result, np.generic) and v not in computed:
                return None  # a tape, or a number of an inner region
        plan = Plan(recorder.commands, outside, arena_of(recorder.commands, outside), results)
        kinds, numbers = _kinds(given), rehearsal.numbers
        return _Round(plan, kinds, rehearsal.host, numbers, rehearsal.env)

    def _replay(self, queue: Direct, made: _Round, given: Sequence[Any]) -> list[Any]:
        plan = made.plan
        counted = self._counted(made, given) if _kinds(given) == made.kinds else None
        if counted is None:
            return self._run.function(self._body, given)
        buffers = [_buffer(v) for v in given if isinstance(v, Buffer | Number)]
        memories = [*(_Place(b) for b in buffers), *self._free_set(made, buffers)]
        if self._arena is None:
            self._arena = queue.allocate(plan.arena.size)
        addresses = [memory.address for memory in memories]
        numbers = [counted[v] for v in made.numbers]
        plan.run(queue.device, queue.module, addresses, self._arena.address, numbers)
        real = {id(planned): memory for planned, memory in zip(plan.outside, memories)}
        left = []
        for v, result in zip(self._body.results, plan.results):
            if result is COUNTED:
                left.append(counted[v])
            elif isinstance(result, Buffer | Number):
                left.append(_moved(result, real))
            else:
                left.append(result)
        return left

    def _counted(self, made: _Round, given: Sequence[Any]) -> dict[Value, Any] | None:
        """What the host computes in a round; None where a check fails."""
        now: dict[Value, Any] = dict(zip(self._body.params, given))
        for eqn in made.host:
            operands = [
                v.data if isinstance(v, Literal) else now.get(v, made.known.get(v))
                for v in eqn.operands
            ]
            if eqn.op is S.IF:
                if operands[0]:
                    return None
            else:
                now[eqn.result] = evaluate(eqn, operands).data
        return now

    def _free_set(self, made: _Round, given: Sequence[Buffer]) -> list[Memory]:
        """Memory for what a round leaves, in which nothing lies that it is given."""
        taken = {id(b.memory) for b in given}
        for found in self._sets:
            if taken.isdisjoint(map(id, found)):
                return found
        sizes = [memory.size for memory in made.plan.outside[len(given) :]]
        self._sets.append([self._run.queue.allocate(size) for size in sizes])
        return self._sets[-1]


@dataclass(frozen=True)
class _Place:
    """Memory from a buffer's first element on."""

    buffer: Buffer

    @property
    def address(self) -> int:
        return self.buffer.address

    @property
    def size(self) -> int:
        return self.buffer.memory.size - self.buffer.offset


def _kinds(given: Sequence[Any]) -> list[bool]:
    return [isinstance(v, Buffer | Number) for v in given]


def _moved(value: Buffer | Number, real: dict[int, Memory]) -> Buffer | Number:
    """A recorded value, in this round's memory."""
    at = _buffer(value)
    memory = real.get(id(at.memory), at.memory)
    if isinstance(memory, _Place):
        at = replace(at, memory=memory.buffer.memory, offset=memory.buffer.offset + at.offset)
    else:
        at = replace(at, memory=memory)
    return Number(at) if isinstance(value, Number) else at


def _stand_in(value: Any) -> Any:
    """What a round is given while it is recorded."""
    if not isinstance(value, Buffer | Number):
        return COUNTED
    at = _buffer(value)
    own = replace(at, memory=Planned(at.memory.size - at.offset), offset=0)
    return Number(own) if isinstance(value, Number) else own


def _buffer(value: Buffer | Number) -> Buffer:
    return value.at if isinstance(value, Number) else value
