"""Dead code: equations that nothing reads go, and so do unread results of regions.

    %a = exp %x                                     %b = neg %x
    %b = neg %x                                ->   return %b
    return %b

Of a `for`, an unread carry goes where no live one needs it, with its operand and its share of the
body; the same holds for the results of the other region ops, and for operands that no region reads.
What may raise or talks to the world outside stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import compress
from typing import TypeVar

from jitnet.ir import Effect, Eqn, Function, Op, Value, effect_of
from jitnet.ops.control import CALL, FOR, IF, WHILE
from jitnet.passes.dependences import eqn_dependences, with_dims

Flags = Sequence[bool]
_Item = TypeVar("_Item")


def dce(f: Function) -> Function:
    """The same Function without what no result needs; params and results stay."""
    return _sweep(f, [True] * len(f.results))


def _sweep(f: Function, kept: Flags) -> Function:
    """`f` with the kept results only, and the equations that they need."""
    results = _pick(f.results, kept)
    needed = with_dims(results)
    eqns: list[Eqn] = []
    for eqn in reversed(f.eqns):
        if effect_of(eqn) == Effect.PURE and needed.isdisjoint(eqn.results):
            continue
        needed |= with_dims(r for r in eqn.results if r in needed)
        live = _prune(eqn, [r in needed for r in eqn.results]) if eqn.regions else eqn
        needed |= with_dims((*live.operands, *live.results))
        eqns.append(live)
    unchanged = len(eqns) == len(f.eqns) and len(results) == len(f.results)
    if unchanged and all(a is b for a, b in zip(reversed(eqns), f.eqns)):
        return f
    return Function(f.name, f.params, tuple(reversed(eqns)), results, f.level)


def _pick(xs: Sequence[_Item], flags: Flags) -> tuple[_Item, ...]:
    return tuple(compress(xs, flags))


# -- regions ---------------------------------------------------------------------------------------


def _prune(eqn: Eqn, used: Flags) -> Eqn:
    """The equation without unused results and operands, its regions swept."""
    rule = _PRUNING.get(eqn.op)
    pruned = rule(eqn, used) if rule else replace(eqn, regions=tuple(map(dce, eqn.regions)))
    same_length = len(pruned.operands) == len(eqn.operands) and len(pruned.results) == len(used)
    same_regions = all(a is b for a, b in zip(pruned.regions, eqn.regions))
    return eqn if same_length and same_regions else pruned


def _prune_arms(eqn: Eqn, used: Flags) -> Eqn:
    """`if` and `call`: the regions take the last operands and return the results."""
    arms = [_sweep(r, used) for r in eqn.regions]
    first = len(eqn.operands) - len(arms[0].params)
    read = [any(flags) for flags in zip(*map(_reads_params, arms))]
    return replace(
        eqn,
        operands=eqn.operands[:first] + _pick(eqn.operands[first:], read),
        regions=tuple(_with_params(arm, read) for arm in arms),
        results=_pick(eqn.results, used),
    )


def _prune_for(eqn: Eqn, used: Flags) -> Eqn:
    """Operands are (n, consts, carries, xs), params (i, consts, carries, xs), results (carries,
    ys)."""
    (body,), attrs = eqn.regions, eqn.attrs
    consts, carries = attrs["consts"], attrs["carries"]
    live = _live_carries(eqn, used)
    kept = [*live, *used[carries:]]
    body = _sweep(body, kept)
    read = _reads_params(body, (body.params[0], *_pick(body.params[1 + consts :], live)))
    operands = _pick(eqn.operands, read)
    counts = {
        "consts": sum(read[1 : 1 + consts]),
        "carries": sum(live),
        "scans": sum(read[1 + consts + carries :]),
    }
    return replace(
        eqn,
        operands=operands,
        attrs={**attrs, **counts},
        regions=(_with_params(body, read),),
        results=_pick(eqn.results, kept),
    )


def _prune_while(eqn: Eqn, used: Flags) -> Eqn:
    """Operands and both regions' params are (consts, carries); cond keeps what it reads."""
    cond, body = eqn.regions
    consts = eqn.attrs["consts"]
    live = _live_carries(eqn, used)
    cond, body = dce(cond), _sweep(body, live)
    read = _reads_params(body, _pick(body.params[consts:], live))
    read = [a or b for a, b in zip(read, _reads_params(cond))]
    return replace(
        eqn,
        operands=_pick(eqn.operands, read),
        attrs={**eqn.attrs, "consts": sum(read[:consts]), "carries": sum(live)},
        regions=(_with_params(cond, read), _with_params(body, read)),
        results=_pick(eqn.results, live),
    )


_PRUNING: dict[Op, Callable[[Eqn, Flags], Eqn]] = {
    CALL: _prune_arms,
    FOR: _prune_for,
    IF: _prune_arms,
    WHILE: _prune_while,
}


def _live_carries(eqn: Eqn, used: Flags) -> list[bool]:
    """Which carries of a loop are read after it, or by what is."""
    known = eqn_dependences(eqn)
    needed = known.always.union(*compress(known.results, used))
    first = eqn.attrs["consts"] + (eqn.op is FOR)
    return [used[k] or first + k in needed for k in range(eqn.attrs["carries"])]


def _reads_params(f: Function, besides: Iterable[Value] = ()) -> list[bool]:
    """Which params something reads: an equation, a result, or the type of a param that is read.
    Those `besides` count as read."""
    read = with_dims((*f.results, *besides))
    for eqn in f.eqns:
        read |= with_dims(eqn.operands)
    read |= with_dims(p for p in f.params if p in read)
    return [p in read for p in f.params]


def _with_params(f: Function, kept: Flags) -> Function:
    if all(kept):
        return f
    return Function(f.name, _pick(f.params, kept), f.eqns, f.results, f.level)
