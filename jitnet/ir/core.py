"""The container of both levels: `Function` and `Eqn`.

    func @f(%x: f64[3], %n: i64) -> (f64[3]) {
      %y: f64[3] = mul %x, 2.0
      return %y
    }

A Function compares by structure: names of values and locations do not count.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from jitnet.ir.loc import UNKNOWN, Loc
from jitnet.ir.printer import print_function
from jitnet.ir.value import Attrs, Value, attrs_key, substitute_type

if TYPE_CHECKING:
    from jitnet.ir.op import Op


@dataclass(frozen=True, eq=False, slots=True)
class Eqn:
    """`results = op operands {attrs} (regions)`. Array-level regions are closed: what they use
    comes in through their params. Kernel-level regions see the values around them."""

    op: Op
    operands: tuple[Value, ...]
    attrs: Attrs
    regions: tuple[Function, ...]
    results: tuple[Value, ...]
    loc: Loc = UNKNOWN

    @property
    def result(self) -> Value:
        (only,) = self.results
        return only


def moved(
    eqn: Eqn, operands: tuple[Value, ...], regions: tuple[Function, ...], env: dict[Value, Value]
) -> Eqn:
    """An equation on other operands and regions; itself where nothing changes.

    Args:
        env: what values have become; gets new results, in the place of those whose types change.
    """
    results: list[Value] = []
    for r in eqn.results:
        type = substitute_type(r.type, env)
        results.append(r if type == r.type else Value(type, r.name))
        if results[-1] is not r:
            env[r] = results[-1]
    before, after = (*eqn.operands, *eqn.regions, *eqn.results), (*operands, *regions, *results)
    if all(a is b for a, b in zip(before, after)):
        return eqn
    return Eqn(eqn.op, operands, eqn.attrs, regions, tuple(results), eqn.loc)


@dataclass(frozen=True, eq=False)
class Function:
    """Params, equations in program order, results. Immutable; built with a `Builder`."""

    name: str
    params: tuple[Value, ...]
    eqns: tuple[Eqn, ...]
    results: tuple[Value, ...]
    level: str = "array"
    _hash: list[int] = field(default_factory=list, repr=False)

    def __str__(self) -> str:
        return print_function(self)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Function):
            return NotImplemented
        return structurally_equal(self, other)

    def __hash__(self) -> int:
        if not self._hash:
            ops = tuple((e.op.name, len(e.operands), e.regions) for e in self.eqns)
            self._hash.append(hash((self.level, len(self.params), ops, len(self.results))))
        return self._hash[0]

    def walk(self) -> Iterator[Eqn]:
        """Every equation, regions included, in program order, outer before inner."""
        for eqn in self.eqns:
            yield eqn
            for region in eqn.regions:
                yield from region.walk()

    def callees(self) -> list[Function]:
        """The Functions that equations name in their attributes, and that those name in turn: each
        once, behind all that name it."""
        found: dict[int, Function] = {}
        _collect(self, set(), found)
        return [g for g in reversed(found.values()) if g is not self]


def _collect(f: Function, seen: set[int], found: dict[int, Function]) -> None:
    seen.add(id(f))
    for eqn in f.walk():
        for value in eqn.attrs.values():
            if isinstance(value, Function) and id(value) not in seen:
                _collect(value, seen, found)
    found[id(f)] = f


def structurally_equal(f: Function, g: Function) -> bool:
    """Whether two Functions are the same up to the names of values and their locations."""
    return f is g or (f.name == g.name and _equal_functions(f, g, {}))


def _equal_functions(f: Function, g: Function, env: dict[Value, Value]) -> bool:
    if f.level != g.level or not _bind_all(f.params, g.params, env):
        return False
    if len(f.eqns) != len(g.eqns) or len(f.results) != len(g.results):
        return False
    if not all(_equal_eqns(a, b, env) for a, b in zip(f.eqns, g.eqns)):
        return False
    return all(env.get(a, a) == b for a, b in zip(f.results, g.results))


def _equal_eqns(a: Eqn, b: Eqn, env: dict[Value, Value]) -> bool:
    if a.op is not b.op or len(a.operands) != len(b.operands):
        return False
    if attrs_key(a.attrs) != attrs_key(b.attrs):
        return False
    if not all(env.get(x, x) == y for x, y in zip(a.operands, b.operands)):
        return False
    if len(a.regions) != len(b.regions):
        return False
    if not all(_equal_functions(r, s, env) for r, s in zip(a.regions, b.regions)):
        return False
    return _bind_all(a.results, b.results, env)


def _bind_all(xs: tuple[Value, ...], ys: tuple[Value, ...], env: dict[Value, Value]) -> bool:
    if len(xs) != len(ys):
        return False
    env.update(zip(xs, ys))
    return all(substitute_type(x.type, env) == y.type for x, y in zip(xs, ys))
