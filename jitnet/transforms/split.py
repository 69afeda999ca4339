"""Partial evaluation: a Function in two, by what depends on some of its params.

    %y = sin %x          known:  %y, %c            linear:  %dy = zmul %c, %dx
    %c = cos %x
    %dy = zmul %c, %dx

A known value that the second half reads is a residual. Where it is only a view of something that
is there anyway, or index arithmetic, it is computed again instead. An equation with regions falls
in two by its op's own rule: see `ops.loop_splits`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from jitnet.ir import Builder, Effect, Eqn, Function, Literal, Type, Value, effect_of
from jitnet.ops.primitive import Halves, Primitive


@dataclass
class Work:
    """A split in progress.

    Attributes:
        known, linear: the equations of the two halves, on the values of the Function that is split.
        unknown: the values that depend on unknown params.
    """

    unknown: set[Value]
    known: list[Eqn] = field(default_factory=list)
    linear: list[Eqn] = field(default_factory=list)


def split(
    f: Function,
    unknown: Sequence[bool],
    forced: Sequence[bool] = (),
    free: frozenset[Value] = frozenset(),
    given: frozenset[Value] = frozenset(),
) -> Halves:
    """Split f by the params marked `unknown`.

    Args:
        forced: results that are to come from the linear half even if they are known.
        free: known params that the linear half has anyway, so that recomputing from them is free.
        given: known params that need not be returned by `known` where they are residuals.
    """
    work = Work({p for p, u in zip(f.params, unknown, strict=True) if u})
    for eqn in f.eqns:
        if not any(v in work.unknown for v in eqn.operands):
            work.known.append(eqn)
        elif isinstance(eqn.op, Primitive) and eqn.op.split is not None:
            known_eqns, linear_eqns, moving = eqn.op.split(eqn, work.unknown, split)
            work.known.extend(known_eqns)
            work.linear.extend(linear_eqns)
            work.unknown.update(moving)
        else:
            work.linear.append(eqn)
            work.unknown.update(eqn.results)
    force = [*forced, *[False] * len(f.results)][: len(f.results)]
    out = tuple(v in work.unknown or fo for v, fo in zip(f.results, force))
    linear_results = [v for v, u in zip(f.results, out) if u]
    linear = _live(work.linear, linear_results)
    linear, residuals = _recompute(work, f, linear, linear_results, free)
    known_results = [v for v, u in zip(f.results, out) if not u]
    made = tuple(r for r in residuals if r not in given)
    known_params = [p for p, u in zip(f.params, unknown) if not u]
    known = _live(work.known, [*known_results, *made])
    first = _close(f.name, known_params, known, [*known_results, *made])
    unknown_params = [p for p, u in zip(f.params, unknown) if u]
    second = _close(f.name, [*residuals, *unknown_params], linear, linear_results)
    return Halves(first, second, out, tuple(residuals), made)


def _live(eqns: Sequence[Eqn], results: Sequence[Value]) -> list[Eqn]:
    """The equations that the results need, and those with effects."""
    needed = set(results)
    needed.update(d for v in results for d in _dims(v.type))
    live: list[Eqn] = []
    for eqn in reversed(eqns):
        if effect_of(eqn) > Effect.PURE or any(r in needed for r in eqn.results):
            live.append(eqn)
            needed.update(eqn.operands)
    return live[::-1]


def _dims(type: Type) -> list[Value]:
    return [d for d in getattr(type, "dims", ()) if isinstance(d, Value)]


def _recompute(
    work: Work,
    f: Function,
    linear: list[Eqn],
    results: Sequence[Value],
    free: frozenset[Value],
) -> tuple[list[Eqn], list[Value]]:
    """The linear half with cheap known equations copied into it, and what remains to be saved."""
    made = {r: eqn for eqn in work.known for r in eqn.results}
    available: dict[Value, bool] = {}
    read = _read(linear, results, work.unknown)
    copied: dict[int, Eqn] = {}
    residuals: dict[Value, None] = {}
    stack = list(read)
    while stack:
        v = stack.pop()
        eqn = made.get(v)
        cheap = eqn is not None and (_is_free_view(eqn) or _is_available(v, made, free, available))
        if eqn is not None and cheap and v not in residuals:
            if id(eqn) not in copied:
                copied[id(eqn)] = eqn
                stack.extend(o for o in eqn.operands if not isinstance(o, Literal))
            continue
        residuals[v] = None
        residuals.update(dict.fromkeys(_dims(v.type)))  # a param's extents are params too
    prefix = [
        eqn
        for eqn in work.known
        if id(eqn) in copied and not all(r in residuals for r in eqn.results)
    ]
    order = {p: i for i, p in enumerate([*f.params, *made])}
    scalars_first = sorted(residuals, key=lambda v: (bool(getattr(v.type, "dims", True)), order[v]))
    return [*prefix, *linear], scalars_first


def _read(linear: Sequence[Eqn], results: Sequence[Value], unknown: set[Value]) -> list[Value]:
    """Known values that the linear half reads."""
    found: dict[Value, None] = {}
    inside = {r for eqn in linear for r in eqn.results}
    values = [*(v for eqn in linear for v in eqn.operands), *results]
    values += [d for v in values for d in _dims(v.type)]
    for v in values:
        if not isinstance(v, Literal) and v not in unknown and v not in inside:
            found[v] = None
    return list(found)


def _is_free_view(eqn: Eqn) -> bool:
    """Whether computing it again needs no more memory than its operand takes."""
    op = eqn.op
    if not isinstance(op, Primitive) or not op.is_view:
        return False
    source = eqn.operands[0]
    return isinstance(source, Literal) or _size(source) <= _size(eqn.result)


def _size(v: Value) -> int:
    size = 1
    for d in v.dims:
        if not isinstance(d, int):
            return 1 << 60
        size *= d
    return size


def _is_available(
    v: Value, made: dict[Value, Eqn], free: frozenset[Value], known: dict[Value, bool]
) -> bool:
    """Whether v is a view, a gather or index arithmetic of what is there anyway."""
    if isinstance(v, Literal) or v in free:
        return True
    if v in known:
        return known[v]
    known[v] = False
    eqn = made.get(v)
    if eqn is None or not isinstance(eqn.op, Primitive) or not eqn.op.is_element:
        return False
    cheap = eqn.op.is_view or not eqn.op.is_pointwise or (v.rank == 0 and not v.dtype.is_inexact)
    known[v] = cheap and all(_is_available(o, made, free, known) for o in eqn.operands)
    return known[v]


def _close(
    name: str, params: Sequence[Value], eqns: Sequence[Eqn], results: Sequence[Value]
) -> Function:
    """A Function of its own from equations on other values."""
    with Builder(name) as b:
        inner = b.params_like(params)
        env = dict(zip(params, inner))
        for eqn in eqns:
            env.update(zip(eqn.results, b.rebind(eqn, [env.get(v, v) for v in eqn.operands])))
    return b.build(*(env.get(v, v) for v in results))
