"""Checks that are the same in each step of a loop are made once, in front of it.

for %n, %k, %x @body(%i: i64, %k: i64, %x: f64[9]) {      %none = le %n, 0
  %ok = lt %k, 9                                           %ok = lt %k, 9
  check %ok, %k                                   ->       %fine = bitwise_or %ok, %none
  ...                                                      check %fine, %k
}                                                          for %n, ... { ... }

Only a check that comes before all else in the body that may raise: the first error stays the first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from jitnet.ir import ArrayType, Builder, Effect, Eqn, Function, Literal, Value, effect_of
from jitnet.ops import bitwise_or, check, le
from jitnet.ops.control import CHECK, FOR


def hoist(f: Function) -> Function:
    """`f` with the checks of its `for` loops as far out as they can be."""
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


def _with_checks_in_front(eqn: Eqn) -> list[Eqn]:
    """A loop after the checks of its body that can be made before it."""
    if eqn.op is not FOR:
        return [eqn]
    (body,) = eqn.regions
    outside = _fixed(eqn)
    hoisted: list[Eqn] = []
    with Builder("in front") as b:
        for e in body.eqns:
            known = all(isinstance(v, Literal) or v in outside for v in e.operands)
            if e.op is CHECK and known:
                _make_in_front(b, e, eqn, outside)
                hoisted.append(e)
            elif effect_of(e) > Effect.PURE:
                break
            elif known and _is_arithmetic(e):
                with b.at(e.loc):
                    operands = [outside.get(v, v) for v in e.operands]
                    outside.update(zip(e.results, b.rebind(e, operands)))
    if not hoisted:
        return [eqn]
    rest = tuple(e for e in body.eqns if e not in hoisted)
    body = Function(body.name, body.params, rest, body.results, body.level)
    return [*b.eqns, replace(eqn, regions=(body,))]


def _fixed(loop: Eqn) -> dict[Value, Value]:
    """The scalar params of the body that are the same in all steps, and what they are outside."""
    (body,), fixed = loop.regions, 1 + loop.attrs["consts"]
    carried = range(fixed, fixed + loop.attrs["carries"])
    unchanged = [k for k in carried if body.results[k - fixed] is body.params[k]]
    places = [*range(1, fixed), *unchanged]
    return {body.params[k]: loop.operands[k] for k in places if _is_scalar(body.params[k])}


def _is_arithmetic(eqn: Eqn) -> bool:
    """Whether an equation only computes with scalars."""
    return not eqn.regions and all(map(_is_scalar, (*eqn.operands, *eqn.results)))


def _is_scalar(v: Value) -> bool:
    return isinstance(v.type, ArrayType) and v.rank == 0


def _make_in_front(b: Builder, eqn: Eqn, loop: Eqn, outside: Mapping[Value, Value]) -> None:
    """The check, if the loop has a step."""
    ok, *values = [outside.get(v, v) for v in eqn.operands]
    n = loop.operands[0]
    with b.at(eqn.loc):
        if not isinstance(n, Literal) or n.item <= 0:
            ok = bitwise_or(ok, le(n, 0))
        check(ok, values, eqn.attrs["error"], eqn.attrs["message"])
