"""Checks that are the same in all steps of a loop are made once, in front of it.

for %n, %k, %x @body(%i: i64, %k: i64, %x: f64[9]) {      %none = le %n, 0
  %ok = lt %k, 9                                           %ok = lt %k, 9
  check %ok, %k                                   ->       %fine = bitwise_or %ok, %none
  ...                                                      check %fine, %k
}                                                          for %n, ... { ... }

What they check may be arrays, read by index in each step: going through them once is enough. Only a
check that comes before all else in the body that may raise: the first error stays the first.
"""

from __future__ import annotations

from dataclasses import replace

from jitnet.ir import ArrayType, Builder, Effect, Eqn, Function, Literal, Value, effect_of
from jitnet.ops import bitwise_or, check, le, logical_not
from jitnet.ops.control import CHECK, FOR, WHILE
from jitnet.ops.primitive import Primitive


def hoist(f: Function) -> Function:
    """`f` with the checks of its loops as far out as they can be."""
    if not any(eqn.regions for eqn in f.eqns):
        return f
    eqns: list[Eqn] = []
    for eqn in f.eqns:
        regions = tuple(map(hoist, eqn.regions))
        same = all(a is b for a, b in zip(regions, eqn.regions))
        eqns.extend(_with_checks_in_front(eqn if same else replace(eqn, regions=regions)))
    if len(eqns) == len(f.eqns) and all(a is b for a, b in zip(eqns, f.eqns)):
        return f
    return Function(f.name, f.params, tuple(eqns), f.results, f.level)


def _with_checks_in_front(loop: Eqn) -> list[Eqn]:
    """A loop after the checks of its body that can be made before it."""
    if loop.op not in (FOR, WHILE):
        return [loop]
    body = loop.regions[-1]
    fixed = _Fixed(loop)
    checks = _fixed_checks(body, fixed)
    if not checks:
        return [loop]
    with Builder("in front") as b:
        none = _no_step(b, loop)
        if none is None:
            return [loop]
        for eqn in checks:
            _make_in_front(b, eqn, fixed, none)
    rest = tuple(eqn for eqn in body.eqns if all(eqn is not c for c in checks))
    body = Function(body.name, body.params, rest, body.results, body.level)
    return [*b.eqns, replace(loop, regions=(*loop.regions[:-1], body))]


def _fixed_checks(body: Function, fixed: _Fixed) -> list[Eqn]:
    """The checks of a body that are the same in all steps, up to the first effect that is not."""
    found: list[Eqn] = []
    for eqn in body.eqns:
        if eqn.op is CHECK and fixed.has(eqn):
            found.append(eqn)
        elif effect_of(eqn) > Effect.PURE:
            break
        else:
            fixed.look(eqn)
    return found


class _Fixed:
    """What is the same in all steps of a loop.

    Attributes:
        outside: params of the body, and what is computed from them in front of the loop.
        inside: equations that compute the like, by result.
    """

    def __init__(self, loop: Eqn) -> None:
        body, first = loop.regions[-1], int(loop.op is FOR)
        carried = first + loop.attrs["consts"]
        unchanged = [
            k
            for k in range(carried, carried + loop.attrs["carries"])
            if body.results[k - carried] is body.params[k]
        ]
        places = [*range(first, carried), *unchanged]
        self.outside: dict[Value, Value] = {body.params[k]: loop.operands[k] for k in places}
        self.inside: dict[Value, Eqn] = {}

    def has(self, eqn: Eqn) -> bool:
        return all(
            isinstance(v, Literal) or v in self.outside or v in self.inside for v in eqn.operands
        )

    def look(self, eqn: Eqn) -> None:
        """Take in a pure equation of the body."""
        if self.has(eqn) and _computes(eqn):
            self.inside.update(dict.fromkeys(eqn.results, eqn))

    def before(self, b: Builder, v: Value) -> Value:
        """The value in front of the loop, where `b` computes it."""
        if isinstance(v, Literal):
            return v
        if v not in self.outside:
            eqn = self.inside[v]
            results = b.rebind(eqn, [self.before(b, o) for o in eqn.operands])
            self.outside.update(zip(eqn.results, results))
        return self.outside[v]


def _computes(eqn: Eqn) -> bool:
    """Whether an equation only computes: it overwrites nothing, and has no regions."""
    assert isinstance(eqn.op, Primitive)
    arrays = all(isinstance(v.type, ArrayType) for v in (*eqn.operands, *eqn.results))
    return arrays and not eqn.regions and eqn.op.writes is None


def _no_step(b: Builder, loop: Eqn) -> Value | None:
    """Whether the loop has no step at all; None where that is not easily told."""
    if loop.op is FOR:
        return le(loop.operands[0], 0)
    cond = loop.regions[0]
    if any(eqn.regions or effect_of(eqn) > Effect.PURE for eqn in cond.eqns):
        return None
    (go,) = b.inline(cond, loop.operands)
    return Literal(not go.item, go.dtype) if isinstance(go, Literal) else logical_not(go)


def _make_in_front(b: Builder, eqn: Eqn, fixed: _Fixed, none: Value) -> None:
    """The check, if the loop has a step."""
    ok, *values = [fixed.before(b, v) for v in eqn.operands]
    with b.at(eqn.loc):
        check(bitwise_or(ok, none), values, eqn.attrs["error"], eqn.attrs["message"])
