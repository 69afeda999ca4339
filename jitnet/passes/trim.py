"""Invoked Functions lose the results that no invocation reads, and the params that they do not read
themselves.

    %h, %c, %h2 = invoke %w, %x, %n {callee=@cell}          %h = invoke %w, %x {callee=@cell}
    (%c is never read; @cell returns what            ->
    it returns as %h once more as %h2)

The halves of what was differentiated return all that the other half might need: values that are
results anyway, and some that only matter for a derivative that nobody asked for. `dce` cannot see
that, as a Function has many invocations. Here all of them are looked at, callers before callees,
then the Functions are made anew, callees first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from jitnet.ir import Builder, Effect, Eqn, Function, Value, effect_of
from jitnet.ops.control import INVOKE
from jitnet.passes.dce import dce
from jitnet.passes.dependences import with_dims


def trim(f: Function) -> Function:
    """`f`, which has the same params and results, with smaller callees."""
    callees = f.callees()
    if not callees:
        return f
    trimmer = _Trimmer()
    trimmer.look(f, f.results)
    for g in callees:
        if id(g) in trimmer.read:
            trimmer.look(g, trimmer.wanted(g))
    for g in reversed(callees):
        if id(g) in trimmer.read:
            trimmer.done[id(g)] = trimmer.callee(g)
    return trimmer.body(f, f.results)


class _Trimmed(NamedTuple):
    """A callee.

    Attributes:
        params: the positions of those that it kept, among the old ones.
        results: for each old result, its position among the new ones; None where it is gone.
    """

    function: Function
    params: tuple[int, ...]
    results: tuple[int | None, ...]


@dataclass
class _Trimmer:
    """A program being trimmed.

    Attributes:
        read: positions of results that invocations of a Function read, by its identity; Functions
            without an entry are not needed.
        dead: equations that are not needed, by identity.
        pure: whether a callee only computes.
    """

    read: dict[int, set[int]] = field(default_factory=dict)
    dead: set[int] = field(default_factory=set)
    pure: dict[int, bool] = field(default_factory=dict)
    done: dict[int, _Trimmed] = field(default_factory=dict)

    def wanted(self, g: Function) -> list[Value]:
        """The results of a callee that are read, and those that their types name."""
        read = with_dims(g.results[j] for j in self.read.get(id(g), ()))
        return [r for r in dict.fromkeys(g.results) if r in read]

    def look(self, f: Function, results: Iterable[Value]) -> None:
        """Note what `f` reads of its callees' results to compute `results`."""
        needed = with_dims(results)
        for eqn in reversed(f.eqns):
            if needed.isdisjoint(eqn.results) and self.is_pure(eqn):
                self.dead.add(id(eqn))
                continue
            if eqn.op is INVOKE:
                positions = [j for j, r in enumerate(eqn.results) if r in needed]
                self.read.setdefault(id(eqn.attrs["callee"]), set()).update(positions)
            for region in eqn.regions:
                self.look(region, region.results)
            needed |= with_dims((*eqn.operands, *eqn.results))

    def is_pure(self, eqn: Eqn) -> bool:
        """Whether an equation that nobody reads may go."""
        if eqn.op is not INVOKE:
            return effect_of(eqn) == Effect.PURE
        g = eqn.attrs["callee"]
        if id(g) not in self.pure:
            self.pure[id(g)] = all(
                self.is_pure(e) for e in g.walk() if e.op is INVOKE or not e.regions
            )
        return self.pure[id(g)]

    def callee(self, g: Function) -> _Trimmed:
        results = self.wanted(g)
        body = dce(self.body(g, results))
        read = with_dims((*body.results, *(v for eqn in body.eqns for v in eqn.operands)))
        read |= with_dims(p for p in body.params if p in read)
        params = tuple(i for i, p in enumerate(body.params) if p in read)
        made = replace(body, params=tuple(body.params[i] for i in params), _hash=[])
        place = {r: j for j, r in enumerate(results)}
        return _Trimmed(made, params, tuple(place.get(r) for r in g.results))

    def body(self, f: Function, results: Sequence[Value]) -> Function:
        """`f` with these of its results, and invocations of what its callees have become."""
        with Builder(f.name, f.level) as b:
            env = dict(zip(f.params, b.params_like(f.params)))
            for eqn in f.eqns:
                if id(eqn) in self.dead:
                    continue
                operands = [env.get(v, v) for v in eqn.operands]
                if eqn.op is INVOKE:
                    env.update(self.invoked(b, eqn, operands))
                    continue
                regions = [self.body(r, r.results) for r in eqn.regions]
                made = b.rebind(eqn, operands, regions or None)
                env.update(zip(eqn.results, made))
        return b.build(*(env.get(r, r) for r in results))

    def invoked(self, b: Builder, eqn: Eqn, operands: Sequence[Value]) -> dict[Value, Value]:
        """The results of an invocation that are there, as those that it has now."""
        trimmed = self.done[id(eqn.attrs["callee"])]
        kept = [operands[i] for i in trimmed.params]
        names = {j: r.name for r, j in zip(eqn.results, trimmed.results) if j is not None}
        made = b.bind(INVOKE, kept, {"callee": trimmed.function}, (), list(names.values()), eqn.loc)
        pairs = zip(eqn.results, trimmed.results)
        return {r: made[j] for r, j in pairs if j is not None}
