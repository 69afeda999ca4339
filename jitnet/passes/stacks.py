"""Lists that a loop grows by one item a step become arrays.

%t = tape_new {type=tape[f64]}
%u = for %n, %x, %t @body(%i, %x, %t) {           %u = for %n, %x @body(%i, %x) {
  %v = sin %x                                       %v = sin %x
  %w = tape_push %t, %v                   ->        return %v              // scanned: f64[%n]
  return %w                                       }
}
%k = tape_length %u                               %n
%a = tape_get %u, %i                              the element of %u at %i

An array is written and read without a call for each item. So it goes where the tape is new in front
of the loop, each step adds one record, whatever it does else, and all that is done with the tape
after the loop is to read it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from jitnet.ir import Builder, Eqn, Function, Literal, Value, as_dim
from jitnet.ops.control import FOR
from jitnet.ops.shape import reshape
from jitnet.ops.slicing import slice
from jitnet.ops.tape import TAPE_GET, TAPE_LENGTH, TAPE_NEW, TAPE_PUSH, ragged_axes, tape_type


@dataclass(frozen=True)
class _Stack:
    """What is in the place of a tape: how many records there are, and an array for each field."""

    count: Value
    fields: tuple[Value, ...]


def stack_tapes(f: Function) -> Function:
    """`f` with arrays in place of tapes whose number of records is a loop's of steps."""
    if not any(eqn.regions for eqn in f.eqns):
        return f
    inner = [tuple(map(stack_tapes, eqn.regions)) for eqn in f.eqns]
    changed = any(a is not b for e, rs in zip(f.eqns, inner) for a, b in zip(e.regions, rs))
    if changed:
        eqns = tuple(replace(e, regions=rs) if e.regions else e for e, rs in zip(f.eqns, inner))
        f = Function(f.name, f.params, eqns, f.results, f.level)
    filling = dict(_filling(f))
    return _without(f, filling) if filling else f


def _filling(f: Function) -> Iterator[tuple[int, list[int]]]:
    """The loops of a Function, by id, that fill tapes which can be arrays, and which carries those
    are."""
    new = {eqn.result for eqn in f.eqns if eqn.op is TAPE_NEW}
    uses = _uses(f)
    for eqn in f.eqns:
        if eqn.op is not FOR or eqn.attrs["reverse"] or new.isdisjoint(eqn.operands):
            continue
        first = 1 + eqn.attrs["consts"]
        carries = [
            k
            for k in range(eqn.attrs["carries"])
            if eqn.operands[first + k] in new
            and uses[eqn.operands[first + k]] == 1
            and not ragged_axes(tape_type(eqn.results[k]))
            and _one_push(eqn.regions[0], first + k, k) is not None
            and eqn.results[k] not in f.results
            and _is_only_read(f, eqn.results[k])
        ]
        if carries:
            yield id(eqn), carries


def _uses(f: Function) -> Counter[Value]:
    return Counter([*(v for eqn in f.eqns for v in eqn.operands), *f.results])


def _one_push(body: Function, param: int, result: int) -> Eqn | None:
    """The equation that adds the one record of each step; None if it is not like that."""
    tape, uses = body.params[param], _uses(body)
    for eqn in body.eqns:
        if eqn.op is TAPE_PUSH and eqn.operands[0] is tape:
            last = eqn.result is body.results[result]
            return eqn if last and uses[tape] == uses[eqn.result] == 1 else None
    return None


def _is_only_read(f: Function, tape: Value) -> bool:
    """Whether a tape of a Function is read, by its loops too, and nothing else."""
    for eqn in f.eqns:
        if tape not in eqn.operands or eqn.op in (TAPE_GET, TAPE_LENGTH):
            continue
        if eqn.op is not FOR:
            return False
        consts = range(1, 1 + eqn.attrs["consts"])
        (body,) = eqn.regions
        for k, v in enumerate(eqn.operands):
            if v is tape and not (k in consts and _is_only_read(body, body.params[k])):
                return False
    return tape not in f.results


# -- the same without tapes ------------------------------------------------------------------------


def _without(f: Function, filling: Mapping[int, Sequence[int]]) -> Function:
    with Builder(f.name, f.level) as b:
        copy = _Copy(b, filling, {})
        copy.eqns(f)
        return Function(f.name, f.params, tuple(b.eqns), tuple(copy.now(f.results)), f.level)


class _Copy:
    """Equations again, in a builder, with stacks for tapes.

    Attributes:
        filling: the carries that become stacks, by the id of the loop.
        stacks: what is in the place of a tape.
        env: what is in the place of another value.
    """

    def __init__(
        self, b: Builder, filling: Mapping[int, Sequence[int]], stacks: Mapping[Value, _Stack]
    ) -> None:
        self.b = b
        self.filling = filling
        self.stacks = dict(stacks)
        self.env: dict[Value, Value] = {}

    def eqns(self, f: Function) -> None:
        for eqn in f.eqns:
            with self.b.at(eqn.loc):
                self.eqn(eqn)

    def eqn(self, eqn: Eqn) -> None:
        stack = self.stacks.get(eqn.operands[0]) if eqn.operands else None
        if eqn.op is FOR:
            self.loop(self.given(eqn), self.filling.get(id(eqn), ()))
        elif stack is None:
            self.env.update(zip(eqn.results, self.b.rebind(eqn, self.now(eqn.operands))))
        elif eqn.op is TAPE_LENGTH:
            self.env[eqn.result] = stack.count
        else:
            (at,) = self.now(eqn.operands[1:])
            for result, field in zip(eqn.results, stack.fields, strict=True):
                self.env[result] = _item(field, at)

    def now(self, values: Sequence[Value]) -> list[Value]:
        return [self.env.get(v, v) for v in values]

    def given(self, loop: Eqn) -> Eqn:
        """A loop on what there is now. Where it reads tapes, it is given the arrays."""
        if not any(v in self.stacks for v in loop.operands):
            return replace(loop, operands=tuple(self.now(loop.operands)))
        (body,) = loop.regions
        operands: list[Value] = []
        inner: dict[Value, _Stack] = {}
        with self.b.child(body.name) as b:
            for v, p in zip(loop.operands, body.params, strict=True):
                if v not in self.stacks:
                    operands += self.now([v])
                    b.params.append(p)
                    continue
                stack = self.stacks[v]
                known = isinstance(stack.count, Literal)
                parts = stack.fields if known else (stack.count, *stack.fields)
                params = b.params_like(parts)
                operands += parts
                inner[p] = _Stack(stack.count if known else params[0], params[not known :])
            copy = _Copy(b, {}, inner)
            copy.eqns(body)
            region = b.build(*copy.now(body.results))
        more = len(operands) - len(loop.operands)
        attrs = {**loop.attrs, "consts": loop.attrs["consts"] + more}
        return replace(loop, operands=tuple(operands), attrs=attrs, regions=(region,))

    def loop(self, loop: Eqn, carries: Sequence[int]) -> None:
        """Bind a loop; what it adds to the tapes that it carries here becomes scanned results."""
        (body,) = loop.regions
        first = 1 + loop.attrs["consts"]
        gone = {first + k for k in carries}
        pushes = [push for k in carries if (push := _one_push(body, first + k, k))]
        kept = [k for k in range(len(body.results)) if k not in carries]
        region = Function(
            body.name,
            tuple(p for k, p in enumerate(body.params) if k not in gone),
            tuple(eqn for eqn in body.eqns if all(eqn is not push for push in pushes)),
            (*(body.results[k] for k in kept), *(v for p in pushes for v in p.operands[1:])),
        )
        operands = [v for k, v in enumerate(loop.operands) if k not in gone]
        attrs = {**loop.attrs, "carries": loop.attrs["carries"] - len(carries)}
        names = [loop.results[k].name for k in kept]
        results = self.b.bind(FOR, operands, attrs, [region], names)
        self.env.update(zip([loop.results[k] for k in kept], results))
        fields = iter(results[len(kept) :])
        for k in carries:
            own = tuple(islice(fields, len(tape_type(loop.results[k]).fields)))
            self.stacks[loop.results[k]] = _Stack(operands[0], own)


def _item(stack: Value, at: Value) -> Value:
    dims = stack.dims[1:]
    return reshape(slice(stack, [as_dim(at), *(0 for _ in dims)], [1, *dims]), dims)
