"""Reductions in memory, a column's or a histogram's, in parts: each part of the rows has totals of
its own, which are added up in the end.

    for 0, 8192 {folds=True} @body(%i) { ...; store %out, (%out[%v] + %t), %v {fold='add'} }
    ->
    for 0, 512 {kind='parallel'} @part(%p) {
      %mine = alloc 1024; (zeros)
      for 16 * %p, 16 * %p + 16 @body(%i) { ...; store %mine, (%mine[%v] + %t), %v {fold='add'} }
      for 0, 1024 { store %parts, %mine[%v], %p, %v }
    }
    for 0, 1024 {kind='parallel'} @whole(%v) { store %out, %out[%v] + (the sum of %parts[:, %v]) }

Only for stores that lowering has marked as `fold`: terms of those may come in any order. How many
parts there are is a matter of shapes alone, so results are the same from run to run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import Any

from jitnet.codegen.cuda.folded import folded_roots, is_folding
from jitnet.codegen.cuda.memory import Places, Root, substituted, walk
from jitnet.codegen.cuda.merge import turned
from jitnet.codegen.cuda.state import trips
from jitnet.codegen.vectorize import IDEMPOTENT, NEUTRAL
from jitnet.ir import Builder, Eqn, Function, Literal, Value, current, registry
from jitnet.kernel import indices as ix
from jitnet.kernel import scalars as s
from jitnet.kernel import statements as S

MOST_ROWS_APART = 512
"""Parts at most."""

FEW_TOTALS = 32
"""Parts of so few totals are the work of one thread each, and there may be more of them."""

MOST_THREADS_APART = 1 << 14
"""Those at most."""

FEWEST_FOLDED = 512
"""Terms that are worth parts; fewer are added up by one block."""

FEW_ROWS = 8
"""So many rounds a thread takes alone, where each total can have one."""

MANY_TOTALS = 1 << 14
"""So many threads keep a GPU busy. Totals of parts would be in memory, and nearly as many as terms
where rows are few."""

BLOCK = 256
"""Threads that do a part."""

MOST_TOTALS = 1 << 16
"""Totals of one part at most: each part has memory for them."""


def in_parts(f: Function, drives: Callable[[Eqn], bool]) -> Function:
    """The kernel Function with its reductions in memory in parts, where that is worth it."""
    places = Places(f)

    def region(f: Function) -> Function:
        eqns: list[Eqn] = []
        for eqn in f.eqns:
            if eqn.regions and drives(eqn):
                eqns.append(replace(eqn, regions=tuple(map(region, eqn.regions))))
            else:
                eqns += _parts_of(eqn, places)
        return replace(f, eqns=tuple(eqns), _hash=[])

    return region(f)


def _parts_of(eqn: Eqn, places: Places) -> Sequence[Eqn]:
    if not is_folding(eqn):
        return (eqn,)
    count = trips(eqn)
    folded = folded_roots(eqn.regions[0].eqns, places.roots)
    found = _targets(eqn, folded, places)
    attrs = {name: attr for name, attr in eqn.attrs.items() if name != "folds"}
    whole = replace(eqn, attrs=attrs)
    if count is None or found is None or count < 2:
        return (whole,)
    inner = max((_terms(e) for e in eqn.regions[0].eqns if e.regions), default=1)
    if count * inner < FEWEST_FOLDED:
        return (whole,)
    totals = min(prod(dims_of(v)) for v in found)
    are_many = totals >= min(MANY_TOTALS, BLOCK * min(count, MOST_ROWS_APART))
    are_long = count * inner > FEW_ROWS * totals
    if (are_many or not are_long) and turned(whole, places) is not None:
        return (whole,)  # a thread for each total
    return _split(
        whole, count, found, MOST_THREADS_APART if totals <= FEW_TOTALS else MOST_ROWS_APART
    )


def _terms(loop: Eqn) -> int:
    own = trips(loop) or 1 if loop.op is S.FOR else 1
    return own * max((_terms(e) for r in loop.regions for e in r.eqns if e.regions), default=1)


def _targets(eqn: Eqn, folded: set[Root], places: Places) -> dict[Value, str] | None:
    """The buffers that are folded into, and by what; None where parts cannot have their own."""
    found: dict[Value, str] = {}
    inside: set[Value] = set()
    for e in walk((eqn,)):
        inside.update(e.results)
        for region in e.regions:
            inside.update(region.params)
        if e.op is S.STORE and places.roots[e.operands[0]] in folded:
            buffer, name = e.operands[0], e.attrs["fold"]
            if found.setdefault(buffer, name) != name:
                return None
    for buffer, name in found.items():
        dims = [d for d in buffer.buffer_type.dims if isinstance(d, int)]
        if buffer in inside or len(dims) < buffer.rank or prod(dims) > MOST_TOTALS:
            return None
        if name not in NEUTRAL and name not in IDEMPOTENT:
            return None
    roots = [places.roots[b] for b in found]
    return found if found and len(set(roots)) == len(roots) else None


def _split(eqn: Eqn, count: int, found: Mapping[Value, str], most: int) -> Sequence[Eqn]:
    size = -(-count // most)
    parts = -(-count // size)
    with Builder("parts", "kernel") as b, b.at(eqn.loc):
        memory = {v: S.alloc(v.dtype, (parts, *dims_of(v)), f"{v.name}_parts") for v in found}

        def keep(v: Value, mine: Value, p: Value) -> None:
            box(dims_of(v), _copying(memory[v], mine, p))

        each_part(eqn, count, size, found, keep)
        for v, name in found.items():
            _whole(v, memory[v], parts, name)
    return b.eqns


def each_part(
    eqn: Eqn,
    count: int,
    size: int,
    found: Mapping[Value, str],
    keep: Callable[[Value, Value, Value], None],
) -> None:
    """Bind a loop of `count` rounds in parts of `size` rounds, side by side, where each takes its
    terms into totals of its own.

    Args:
        found: the buffers that terms are taken into, and by what.
        keep: binds what becomes of a buffer's totals of one part.
    """
    low, high = eqn.operands
    (body,) = eqn.regions

    def part(p: Value) -> None:
        mine = {v: S.alloc(v.dtype, dims_of(v), f"{v.name}_part") for v in found}
        for v, name in found.items():
            box(dims_of(v), _beginning(mine[v], v, name))
        first = ix.add(ix.multiply(p, S.as_index(size)), low)
        if size == 1:
            own = {**mine, body.params[0]: first}
            current().eqns.extend(substituted(e, own) for e in body.eqns)
        else:
            stop = s.add(first, size)
            stop = s.minimum(stop, high) if count % size else stop
            rows = replace(body, eqns=tuple(substituted(e, mine) for e in body.eqns), _hash=[])
            current().bind(S.FOR, (first, stop), eqn.attrs, (rows,))
        for v in found:
            keep(v, mine[v], p)

    S.loop(0, -(-count // size), part, kind="parallel", name="part")


def dims_of(buffer: Value) -> list[int]:
    """The extents that are known."""
    return [d for d in buffer.buffer_type.dims if isinstance(d, int)]


def _beginning(mine: Value, buffer: Value, name: str) -> Callable[[Sequence[Value]], None]:
    def begin(at: Sequence[Value]) -> None:
        S.store(mine, _neutral(buffer, name, at), *at)

    return begin


def _neutral(buffer: Value, name: str, at: Sequence[Value]) -> Value:
    """What changes no total; what is taken in any number of times may begin as it is."""
    if name in IDEMPOTENT:
        return S.load(buffer, *at)
    return Literal(NEUTRAL[name][not buffer.dtype.is_float], buffer.dtype)


def _copying(memory: Value, mine: Value, p: Value) -> Callable[[Sequence[Value]], None]:
    return lambda at: S.store(memory, S.load(mine, *at), p, *at)


def _whole(buffer: Value, memory: Value, parts: int, name: str) -> None:
    """The totals of all parts, taken in."""
    op: Any = registry("kernel")[name]

    def total(at: Sequence[Value]) -> None:
        def take_in(p: Value, so_far: Value) -> Sequence[Value]:
            return (op(so_far, S.load(memory, p, *at)),)

        start = _neutral(buffer, name, at)
        (of_all,) = S.loop(0, parts, take_in, (start,), "vector", (name,), name="part")
        S.store(buffer, of_all if name in IDEMPOTENT else op(S.load(buffer, *at), of_all), *at)

    box(dims_of(buffer), total, "parallel")


def box(dims: Sequence[int], body: Callable[[Sequence[Value]], None], kind: str = "vector") -> None:
    """Independent loops over all indices."""

    def level(at: tuple[Value, ...]) -> None:
        if len(at) == len(dims):
            body(at)
        else:
            S.loop(0, dims[len(at)], lambda i: level((*at, i)), kind=kind, name="i")

    level(())
