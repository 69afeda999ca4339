"""States that a loop computes aside and copies back, as two states that change places.

    for 0, 100 {                                       %v = alloc 64;  %v[:] = %u[:]
      %t = alloc 62                                    for 0, 100, %u, %v @body(%i, %p, %q) {
      for 0, 62 { store %t, (of %u[%i]), %i }    ->      for 0, 62 { store %q, (of %p), 1 + %i }
      for 0, 62 { store %u, %t[%i], 1 + %i } }           return %q, %p }

`u[1:-1] = (of u[:-2], u[2:])` reads what it writes, so that lowering computes it aside; on a GPU
the copy takes as long as the step. What a step leaves as it was, the edge, stands in both states
from the beginning. Only where the state is written nowhere else in the loop, and no step can end
the program, as one who catches the error would find the other state.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

from jitnet.codegen.cuda.drives import LARGE
from jitnet.codegen.cuda.marks import UNORDERED
from jitnet.codegen.cuda.memory import (
    Places,
    Root,
    Roots,
    references,
    static_strides,
    substituted,
)
from jitnet.codegen.cuda.state import trips
from jitnet.ir import BufferType, Builder, Eqn, Function, Literal, Value
from jitnet.kernel import indices as ix
from jitnet.kernel import scalars as s
from jitnet.kernel import statements as S

FEWEST_STEPS = 4
"""Fewer are not worth another state."""


def exchanged(f: Function) -> Function:
    """The kernel Function with large states of its loops in two buffers each."""
    places = Places(f)

    def region(f: Function) -> Function:
        eqns: list[Eqn] = []
        for eqn in f.eqns:
            eqn = replace(eqn, regions=tuple(map(region, eqn.regions)))
            eqns += _exchanged(eqn, places.roots)
        return replace(f, eqns=tuple(eqns), _hash=[])

    return region(f)


@dataclass(frozen=True)
class _State:
    """What a loop copies back.

    Attributes:
        alloc: of the memory aside.
        writer: the position of what computes it.
        copy: the position of what copies it.
        state: where it is copied to, each index so much further.
    """

    alloc: Eqn
    writer: int
    copy: int
    state: Value
    starts: tuple[Value, ...]


def _exchanged(eqn: Eqn, roots: Roots) -> Sequence[Eqn]:
    if eqn.op is not S.FOR or eqn.attrs["kind"] != "seq" or eqn.attrs["combine"]:
        return (eqn,)
    count = trips(eqn)
    (body,) = eqn.regions
    if (count is not None and count < FEWEST_STEPS) or any(e.op in UNORDERED for e in body.walk()):
        return (eqn,)
    found = next((state for n in range(len(body.eqns)) if (state := _state(n, eqn, roots))), None)
    if found is None:
        return (eqn,)
    before, loop, after = _with_two(eqn, found, count, roots)
    return [*before, *_exchanged(loop, roots), *after]


def _state(n: int, loop: Eqn, roots: Roots) -> _State | None:
    """The state that the n-th statement of a loop copies back, where that may be left out."""
    (body,) = loop.regions
    copied = _copied(body.eqns[n])
    if copied is None:
        return None
    aside, state, starts = copied
    users = [m for m, e in enumerate(body.eqns) if m != n and aside in references(e)]
    allocs = [e for e in body.eqns if e.op is S.ALLOC and e.result is aside]
    if len(allocs) != 1 or len(users) != 1 or users[0] > n or allocs[0].attrs.get("heap"):
        return None
    type = state.type
    dims = [d for d in aside.buffer_type.dims if isinstance(d, int)]
    if not isinstance(type, BufferType) or prod(dims) < LARGE or state not in roots:
        return None
    if type.symbolic or static_strides(type) != static_strides(BufferType(type.dtype, type.dims)):
        return None
    stores = [e for e in _walk(body.eqns[users[0]]) if aside in e.operands]
    if any(e.op is not S.STORE or aside in e.operands[1:] for e in stores):
        return None
    if not _is_only_read(state, [e for m, e in enumerate(body.eqns) if m != n], roots):
        return None
    if state in (*loop.operands, *body.params, *body.results):
        return None
    return _State(allocs[0], users[0], n, state, starts)


def _copied(nest: Eqn) -> tuple[Value, Value, tuple[Value, ...]] | None:
    """For a nest that copies all of some memory: it, what it is copied to, and from where on."""
    at: list[Value] = []
    highs: list[Value] = []
    eqns: Sequence[Eqn] = (nest,)
    shifts: dict[Value, tuple[Value, Value]] = {}
    while True:
        loops = [e for e in eqns if e.regions]
        for e in eqns:
            if e.op is s.add and isinstance(e.operands[0], Literal):
                shifts[e.result] = (e.operands[1], e.operands[0])
        if len(loops) != 1:
            break
        (loop,) = loops
        if loop.op is not S.FOR or len(loop.operands) > 2 or loop.operands[0] != ix.ZERO:
            return None
        at.append(loop.regions[0].params[0])
        highs.append(loop.operands[1])
        eqns = loop.regions[0].eqns
    loads = [e for e in eqns if e.op is S.LOAD]
    stores = [e for e in eqns if e.op is S.STORE]
    others = [e for e in eqns if e.op is not S.LOAD and e.op is not S.STORE]
    if len(loads) != 1 or len(stores) != 1 or not at or any(e.op is not s.add for e in others):
        return None
    (source, *read), (to, value, *written) = loads[0].operands, stores[0].operands
    if (
        read != at
        or value is not loads[0].result
        or len(written) != len(at)
        or "fold" in stores[0].attrs
    ):
        return None
    if [S.as_index(d) for d in source.buffer_type.dims if isinstance(d, int)] != highs:
        return None
    starts: list[Value] = []
    for i, w in zip(at, written):
        index, start = shifts.get(w, (w, ix.ZERO))
        if index is not i:
            return None
        starts.append(start)
    return source, to, tuple(starts)


def _is_only_read(state: Value, eqns: Sequence[Eqn], roots: Roots) -> bool:
    """Whether equations do no more with a state than load its elements."""
    for outer in eqns:
        for eqn in _walk(outer):
            for n, v in enumerate(eqn.operands):
                if not isinstance(v.type, BufferType) or roots[v].is_apart(roots[state]):
                    continue
                if v is not state or eqn.op is not S.LOAD or n:
                    return False
    return True


def _walk(eqn: Eqn) -> Sequence[Eqn]:
    return [eqn, *(e for region in eqn.regions for e in region.walk())]


def _with_two(
    eqn: Eqn, found: _State, count: int | None, roots: Roots
) -> tuple[Sequence[Eqn], Eqn, Sequence[Eqn]]:
    """What makes a second state; the loop with both; and what copies the last one to where it
    belongs, where it may be elsewhere."""
    (body,) = eqn.regions
    state, type = found.state, found.state.buffer_type
    dims = [d for d in type.dims if isinstance(d, int)]
    with Builder("two", "kernel") as b, b.at(eqn.loc):
        memory = S.alloc(state.dtype, (prod(dims),), state.name)
        other = S.view(memory, ix.ZERO, dims, static_strides(type) or ())
        _copy(state, other)
    both = roots[state].may | {memory}
    one, two, first, last = (Value(type, state.name) for _ in range(4))
    roots |= {v: Root(v, both) for v in (one, two, first, last)}
    roots |= {v: Root(memory, frozenset((memory,))) for v in (memory, other)}
    eqns: list[Eqn] = []
    for m, e in enumerate(body.eqns):
        if e is found.alloc or m == found.copy:
            continue
        if m == found.writer:
            e = _writing(e, found.alloc.result, two, found.starts)
        eqns.append(substituted(e, {state: one if m < found.copy else two}))
    params = (*body.params, one, two)
    region = replace(
        body, params=params, eqns=tuple(eqns), results=(*body.results, two, one), _hash=[]
    )
    is_odd = count is not None and count % 2
    initial = (other, state) if is_odd else (state, other)  # ends in `state`, if the count is known
    results = (*eqn.results, first, last)
    loop = replace(eqn, operands=(*eqn.operands, *initial), regions=(region,), results=results)
    if count is not None:
        return b.eqns, loop, ()
    with Builder("back", "kernel") as back, back.at(eqn.loc):
        _copy(first, state)
    return b.eqns, loop, back.eqns


def _writing(eqn: Eqn, aside: Value, to: Value, starts: Sequence[Value]) -> Eqn:
    """With stores to the next state, in the place of those to memory aside."""
    regions = []
    for region in eqn.regions:
        eqns: list[Eqn] = []
        for e in region.eqns:
            if e.op is not S.STORE or e.operands[0] is not aside:
                eqns.append(_writing(e, aside, to, starts))
                continue
            with Builder("at", "kernel") as b, b.at(e.loc):
                at = [ix.add(start, i) for start, i in zip(starts, e.operands[2:])]
            eqns += [*b.eqns, replace(e, operands=(to, e.operands[1], *at))]
        regions.append(replace(region, eqns=tuple(eqns), _hash=[]))
    return replace(eqn, regions=tuple(regions))


def _copy(source: Value, to: Value) -> None:
    dims = [d for d in source.buffer_type.dims if isinstance(d, int)]

    def level(at: tuple[Value, ...]) -> None:
        if len(at) == len(dims):
            S.store(to, S.load(source, *at), *at)
            return
        kind = "vector" if len(at) == len(dims) - 1 else "seq"
        S.loop(0, dims[len(at)], lambda i: level((*at, i)), kind=kind, name="i")

    level(())
