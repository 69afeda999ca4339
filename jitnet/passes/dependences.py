"""Which params the results of a Function depend on, through loops and branches.

    func @f(%x: f64, %y: f64, %p: bool) -> (f64, f64) {     dependences(f).results
      %a: f64 = exp %x                                      == [{0}, {1, 2}]
      %b: f64 = if %p, %y ...
      return %a, %b
    }

A value depends on what its type names, too. What a loop returns depends on all that decides how
often it runs, and on what comes round through its carries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from jitnet.ir import Effect, Eqn, Function, Op, Value, effect_of
from jitnet.ops.control import CALL, FOR, IF, WHILE

Positions = frozenset[int]


@dataclass(frozen=True)
class Dependences:
    """Positions of params (of a Function) or of operands (of an equation).

    Attributes:
        results: those that each result depends on.
        always: those that equations with effects depend on, which stay whatever is read.
    """

    results: list[Positions]
    always: Positions


def dependences(f: Function) -> Dependences:
    """The dependences of a Function's results on its params."""
    known: dict[Value, Positions] = {p: frozenset([k]) for k, p in enumerate(f.params)}

    def of(values: Iterable[Value]) -> Positions:
        return _union(known.get(v, frozenset()) for v in with_dims(values))

    always: Positions = frozenset()
    for eqn in f.eqns:
        own = eqn_dependences(eqn)
        always |= of(eqn.operands[k] for k in own.always)
        for r, positions in zip(eqn.results, own.results):
            known[r] = of(eqn.operands[k] for k in positions)
    return Dependences([of([r]) for r in f.results], always)


def eqn_dependences(eqn: Eqn) -> Dependences:
    """The dependences of an equation's results on its operands."""
    through = _THROUGH_REGIONS.get(eqn.op)
    if through is not None:
        return through(eqn)
    everything = frozenset(range(len(eqn.operands)))
    always = everything if effect_of(eqn) > Effect.PURE else frozenset()
    return Dependences([everything] * len(eqn.results), always)


def with_dims(values: Iterable[Value]) -> set[Value]:
    """The values, and those that their types name."""
    found: set[Value] = set()
    for v in values:
        found.add(v)
        found.update(v.type.symbolic)
    return found


def _union(sets: Iterable[Positions]) -> Positions:
    return frozenset().union(*sets)


def _through_arms(eqn: Eqn) -> Dependences:
    """`if` and `call`: regions take the last operands; one before them chooses the region."""
    arms = [dependences(r) for r in eqn.regions]
    first = len(eqn.operands) - len(eqn.regions[0].params)
    choice = frozenset(range(first))

    def outside(positions: Positions) -> Positions:
        return choice.union(first + k for k in positions)

    results = [outside(_union(sets)) for sets in zip(*(arm.results for arm in arms))]
    stays = effect_of(eqn) > Effect.PURE
    return Dependences(results, outside(_union(a.always for a in arms)) if stays else frozenset())


def _through_loop(eqn: Eqn) -> Dependences:
    """`for` and `while`: the body's params stand at the positions of the operands, the index of a
    `for` at that of its trip count."""
    body = dependences(eqn.regions[-1])
    first = eqn.attrs["consts"] + (eqn.op is FOR)
    carries = range(first, first + eqn.attrs["carries"])
    if eqn.op is FOR:
        decides: Positions = frozenset([0])
    else:
        test = dependences(eqn.regions[0])
        decides = test.results[0] | test.always

    def closed(positions: Positions) -> Positions:
        grown = positions.union(*(body.results[k - first] for k in positions if k in carries))
        return grown if grown == positions else closed(grown)

    results: list[Positions] = []
    for k, positions in enumerate(body.results, first):
        initial = frozenset([k]) if k in carries else frozenset[int]()
        results.append(closed(positions | initial | decides))
    stays = effect_of(eqn) > Effect.PURE
    return Dependences(results, closed(body.always | decides) if stays else frozenset())


_THROUGH_REGIONS: dict[Op, Callable[[Eqn], Dependences]] = {
    CALL: _through_arms,
    FOR: _through_loop,
    IF: _through_arms,
    WHILE: _through_loop,
}
