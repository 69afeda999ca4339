"""How many bytes a Function leaves: the sizes of values, and of the records on tapes.

    %h: f64[%m, 4] = for %m, ...       32 * %m
    %t: tape[f64] = for %m, ... {
      tape_push %tape, %x              24 * %m: eight bytes each, and two addresses to find them by
    }

An extent that is an index of a loop counts with its mean, so that ragged records add up to what
they take. What is not known is infinite.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from jitnet.ir import Dim, Eqn, Facts, Function, Literal, TapeType, Value, facts
from jitnet.ops.index import COMPRESS
from jitnet.ops.regions import INDEX
from jitnet.ops.tape import TAPE_NEW, TAPE_PUSH, beginning

Known = Mapping[Value, float]

LARGEST = 2**40
"""An extent of which no more is proved than that it is smaller is not known."""

RECORD = 16
"""Bytes beside a record: its address, in a table that has doubled."""


def bytes_left(f: Function, values: Sequence[Value], known: Known) -> float:
    """The bytes of values of f, some of whose integers are known."""
    tapes = any(isinstance(v.type, TapeType) for v in values)
    numbers = _numbers(f, {**_bounds(f), **known} if tapes else known)
    return sum(
        _pushed(f, v, numbers) if isinstance(v.type, TapeType) else _size(v, numbers)
        for v in values
    )


def _bounds(f: Function) -> dict[Value, float]:
    """The largest that the extents of records can be, where that is proved."""
    found: dict[Value, float] = {}

    def look(told: Facts, eqn: Eqn) -> None:
        if eqn.op is TAPE_PUSH:
            extents = {d for v in eqn.operands[1:] for d in v.type.symbolic}
            found.update({d: told.range(d).hi for d in extents if told.range(d).hi < LARGEST})

    facts(f, look)
    return found


def _numbers(f: Function, known: Known) -> dict[Value, float]:
    """The integers of f that are known, or follow from those."""
    numbers = dict(known)
    for eqn in f.eqns:
        if eqn.op is COMPRESS:  # it may keep all that the mask has
            numbers[eqn.results[0]] = _number(eqn.operands[0].dims[0], numbers)
            continue
        rule = _ARITHMETIC.get(eqn.op.name)
        if rule is not None and eqn.result.type == INDEX:
            given = [_number(v, numbers) for v in eqn.operands]
            if all(map(math.isfinite, given)):
                numbers[eqn.result] = rule(*given)
    return numbers


_ARITHMETIC: Mapping[str, Callable[..., float]] = {
    "add": lambda x, y: x + y,
    "sub": lambda x, y: x - y,
    "mul": lambda x, y: x * y,
    "floordiv": lambda x, y: x // y if y else math.inf,
    "minimum": min,
    "maximum": max,
}


def _number(d: Dim, numbers: Known) -> float:
    if isinstance(d, int):
        return d
    return int(d.item) if isinstance(d, Literal) else numbers.get(d, math.inf)


def _size(v: Value, numbers: Known) -> float:
    dims = [max(_number(d, numbers), 0) for d in v.dims]
    return math.prod(dims) * v.dtype.itemsize if all(dims) else 0.0


def _pushed(f: Function, tape: Value, numbers: Known) -> float:
    """The bytes of the records that f pushes on a tape."""
    made = {r: eqn for eqn in f.eqns for r in eqn.results}
    total = 0.0
    while tape in made and made[tape].op is not TAPE_NEW:
        eqn = made[tape]
        if eqn.op is TAPE_PUSH:
            sizes = (_size(v, numbers) for v in eqn.operands[1:])
            sizes = (-(-n // 8) * 8 if math.isfinite(n) else n for n in sizes)
            ragged = sum(d is None for _, dims in _fields(tape) for d in dims)
            total += RECORD + 8 * ragged + sum(sizes)
            tape = eqn.operands[0]
        elif eqn.regions:
            more, tape = _pushed_inside(eqn, tape, numbers)
            total += more
        else:
            return math.inf
    return total


def _fields(tape: Value) -> Sequence[tuple[object, Sequence[Dim | None]]]:
    assert isinstance(tape.type, TapeType)
    return tape.type.fields


def _pushed_inside(eqn: Eqn, tape: Value, numbers: Known) -> tuple[float, Value]:
    """What the regions of an equation push on a tape, and the tape before."""
    j = eqn.results.index(tape)
    bodies = eqn.regions[1:] if eqn.op.name == "while" else eqn.regions
    count = len(bodies[0].params) - (eqn.op.name == "for")
    entering = eqn.operands[len(eqn.operands) - count :]
    rounds: float = {"for": _number(eqn.operands[0], numbers), "while": math.inf}.get(
        eqn.op.name, 1
    )
    most = 0.0
    for body in bodies:
        params = body.params[len(body.params) - count :]
        changed = set[Value]()
        if "carries" in eqn.attrs:
            pairs = zip(params[eqn.attrs["consts"] :], body.results)
            changed = {p for p, r in pairs if p is not r}
        same = [(p, v) for p, v in zip(params, entering) if p.type == INDEX and p not in changed]
        inside = dict(numbers)
        inside.update({p: n for p, v in same if math.isfinite(n := _number(v, numbers))})
        if eqn.op.name == "for" and math.isfinite(rounds):
            inside[body.params[0]] = (rounds - 1) / 2
        most = max(most, _pushed(body, body.results[j], _numbers(body, inside)))
        before = entering[params.index(beginning(body, body.results[j]))]
    return (rounds * most if most else 0.0), before
