"""Which equations the loops of other ops compute as they go, element by element.

    %p = mul (iota %n), %step
    %q = add %p, %start              // no kernel, no memory: the loop of the scatter adds and
    %y = scatter %x, 0.0, %q         // multiplies for each element that it writes

For ops whose `Kernel` is `elementwise`. Only what is cheap, read by nothing else, and made from
arrays that lie in memory anyway.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jitnet.ir import Eqn, Value
from jitnet.ops.primitive import Element, Kernel, Primitive

MOST = 8
"""Flops that such a loop computes for an element at most: its own are not vectors."""


def streamed(
    eqns: Sequence[Eqn], uses: Mapping[Value, Sequence[int]], results: Sequence[Value]
) -> set[int]:
    """The positions of such equations.

    Args:
        uses: the positions of the equations that read a value.
        results: what the body returns.
    """
    if not any(map(_is_elementwise, eqns)):
        return set()
    found = _read_by_loops(eqns, uses, set(results))
    index = {r: i for i, eqn in enumerate(eqns) for r in eqn.results}
    while True:
        lost = {i for i in found if not _from_memory(eqns[i], eqns, index, found)}
        kept = found - lost
        lost |= {i for i in kept if not _by_loops(uses[eqns[i].result], eqns, kept)}
        if not lost:
            return found
        found -= lost


def _read_by_loops(
    eqns: Sequence[Eqn], uses: Mapping[Value, Sequence[int]], results: set[Value]
) -> set[int]:
    """Cheap equations that only such loops read, or others like them."""
    flops: dict[int, int] = {}
    for i in reversed(range(len(eqns))):
        eqn = eqns[i]
        rule = _element(eqn)
        if rule is None or eqn.result in results:
            continue
        readers = uses.get(eqn.result, ())
        once = len(readers) == 1 or _is_free(eqn)
        below = [_flops_below(j, eqn.result, eqns, flops) for j in readers]
        total = max(below, default=MOST + 1) + (0 if rule.view else rule.cost)
        if once and total <= MOST:
            flops[i] = total
    return set(flops)


def _flops_below(j: int, v: Value, eqns: Sequence[Eqn], flops: Mapping[int, int]) -> int:
    """What is computed from an element of v for each element that equation j is read for."""
    if j in flops:
        return flops[j]
    op = eqns[j].op
    assert isinstance(op, Primitive)
    written = op.writes is not None and eqns[j].operands[op.writes] is v
    return 0 if _is_elementwise(eqns[j]) and not written else MOST + 1


def _by_loops(readers: Sequence[int], eqns: Sequence[Eqn], found: set[int]) -> bool:
    """Whether only such loops read it, or equations that are computed in them."""
    return all(j in found or _is_elementwise(eqns[j]) for j in readers)


def _from_memory(
    eqn: Eqn, eqns: Sequence[Eqn], index: Mapping[Value, int], found: set[int]
) -> bool:
    """Whether no kernel need be run for its operands that would not be run without it."""
    producers = [index[v] for v in eqn.operands if v.rank and v in index]
    return all(j in found or not _is_fused(eqns[j]) for j in producers)


def _is_fused(eqn: Eqn) -> bool:
    """Whether a kernel of fused equations would compute it."""
    return _element(eqn) is not None and not _is_free(eqn)


def _is_free(eqn: Eqn) -> bool:
    """Whether any reader can make it: a view, or made from scalars alone."""
    rule = _element(eqn)
    return rule is not None and (rule.view or all(v.rank == 0 for v in eqn.operands))


def _element(eqn: Eqn) -> Element | None:
    assert isinstance(eqn.op, Primitive)
    if len(eqn.results) != 1 or eqn.regions:
        return None
    rule = eqn.op.lower[0] if eqn.op.lower else None
    return rule if isinstance(rule, Element) and eqn.result.rank else None


def _is_elementwise(eqn: Eqn) -> bool:
    assert isinstance(eqn.op, Primitive)
    return any(isinstance(rule, Kernel) and rule.elementwise for rule in eqn.op.lower)
