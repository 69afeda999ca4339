"""Common subexpressions: an equation that was computed before is not computed again.

    %a = exp %x                   %a = exp %x
    %b = exp %x             ->    %c = add %a, %a
    %c = add %a, %b

Equations are the same when op, operands, attributes and regions are. Only pure ones are merged, and
no fresh array that something writes into later: of two such, one would have to be copied.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from jitnet.ir import (
    ArrayType,
    Effect,
    Eqn,
    Function,
    TapeType,
    Value,
    attrs_key,
    effect_of,
    moved,
)
from jitnet.ops.primitive import Primitive


def cse(f: Function) -> Function:
    """The same Function with equal pure equations merged, in each region for itself."""
    return _Merger()(f)


class _Merger:
    """Merges equations of regions; one Function that many equations call stays one."""

    def __init__(self) -> None:
        self._done: dict[int, tuple[Function, Function]] = {}

    def __call__(self, f: Function) -> Function:
        if id(f) not in self._done:
            self._done[id(f)] = f, self._merged(f)
        return self._done[id(f)][1]

    def _merged(self, f: Function) -> Function:
        written = set(_written(f))
        env: dict[Value, Value] = {}
        seen: dict[Any, Eqn] = {}
        eqns: list[Eqn] = []
        for old in f.eqns:
            operands = tuple(env.get(v, v) for v in old.operands)
            eqn = moved(old, operands, tuple(map(self, old.regions)), env)
            is_written = _is_fresh(eqn) and not written.isdisjoint(old.results)
            if is_written or effect_of(eqn) > Effect.PURE:
                eqns.append(eqn)
                continue
            first = seen.setdefault((eqn.op, eqn.operands, attrs_key(eqn.attrs), eqn.regions), eqn)
            if first is eqn:
                eqns.append(eqn)
            env.update((r, s) for r, s in zip(old.results, first.results) if r is not s)
        if len(eqns) == len(f.eqns) and all(a is b for a, b in zip(eqns, f.eqns)):
            return f
        results = tuple(env.get(r, r) for r in f.results)
        return Function(f.name, f.params, tuple(eqns), results, f.level)


def _is_fresh(eqn: Eqn) -> bool:
    """Whether the equation makes storage out of scalars: zeros, an empty array, a tape."""
    made = any(isinstance(r.type, TapeType) or r.rank for r in eqn.results)
    return made and all(isinstance(v.type, ArrayType) and v.rank == 0 for v in eqn.operands)


def _written(f: Function) -> Iterator[Value]:
    """Values whose storage an equation may take over. Regions may write what they are given."""
    for eqn in f.eqns:
        assert isinstance(eqn.op, Primitive), f"{eqn.op.name} is no array op"
        if eqn.regions:
            yield from eqn.operands
        elif eqn.op.writes is not None:
            yield eqn.operands[eqn.op.writes]
    yield from f.results
