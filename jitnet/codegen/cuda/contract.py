"""Memory that one nest alone uses, made smaller or done without.

    for 0, 100 { store %t, %a, %i; %b = load %t, %i; ... %b ... }     ->  ... %a ...
    %d = alloc 64, 1000                                               for 0, 64 @body(%i) {
    for 0, 64 @body(%i) {                                       ->      %d = alloc 1000
      for ... { store %d, %a, %i, %v }                                  for ... { store %d, %a, %v }
      for ... { %b = load %d, %i, %v; ... }                             for ... { %b = load %d, %v }

When nests become one, what the first of them wrote for the second is often read at once by who
wrote it: then it is a variable. What is read in another loop over the same row is a row, which fits
into shared memory. Memory that is never read is not written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

from jitnet.codegen.cuda.folded import is_folding
from jitnet.codegen.cuda.memory import Places, references, static_strides, walk
from jitnet.codegen.cuda.merge import is_parallel
from jitnet.ir import Builder, Eqn, Function, Literal, Value
from jitnet.ir import types as T
from jitnet.kernel import statements as S

LONGEST_ROW = 1 << 16
"""Bytes of a row that a block keeps; longer ones stay where they are."""

Key = tuple[Value, tuple[object, ...]]


def contracted(f: Function, drives: Callable[[Eqn], bool]) -> Function:
    """The kernel Function without memory that need not be, at the top and in the regions of what
    the host carries out."""
    places = Places(f)

    def region(f: Function) -> Function:
        eqns: list[Eqn] = []
        for eqn in f.eqns:
            if eqn.regions and drives(eqn):
                eqn = replace(eqn, regions=tuple(map(region, eqn.regions)))
            elif is_parallel(eqn) or is_folding(eqn):
                eqn = _forwarded((eqn,), places, {}, {})[0]
            eqns.append(eqn)
        return replace(f, eqns=tuple(_smaller(eqns, f.results)), _hash=[])

    return region(f)


# -- what was stored is not loaded -----------------------------------------------------------------


def _forwarded(
    eqns: Sequence[Eqn], places: Places, known: dict[Key, Value], env: dict[Value, Value]
) -> list[Eqn]:
    """The equations, with values for loads of what stands in memory for certain. `known`: what
    does, where they begin; `env`: values for values."""
    done: list[Eqn] = []
    for eqn in eqns:
        operands = tuple(env.get(v, v) for v in eqn.operands)
        if eqn.op is S.LOAD:
            key = _key(operands[0], operands[1:])
            if key in known and eqn.result.dtype is not T.i64:  # types may name it
                env[eqn.result] = known[key]
                continue
            known[key] = eqn.result
        elif eqn.op is S.STORE:
            _forget(known, (eqn,), places)
            known[_key(operands[0], operands[2:])] = operands[1]
        regions = []
        if eqn.regions:
            _forget(known, (eqn,), places)
        for region in eqn.regions:
            inner = _forwarded(region.eqns, places, dict(known), env)
            results = tuple(env.get(v, v) for v in region.results)
            regions.append(replace(region, eqns=tuple(inner), results=results, _hash=[]))
        done.append(replace(eqn, operands=operands, regions=tuple(regions)))
    return _without_overwritten(done, places)


def _without_overwritten(eqns: Sequence[Eqn], places: Places) -> list[Eqn]:
    """Without what is stored where something else is stored before anybody reads it."""
    done: list[Eqn] = []
    later: list[Key] = []
    for eqn in reversed(eqns):
        if eqn.op is S.STORE:
            key = _key(eqn.operands[0], eqn.operands[2:])
            if key in later:
                continue
            later.append(key)
        elif eqn.op is S.LOAD or eqn.regions:
            read = {places.roots[e.operands[0]] for e in walk((eqn,)) if e.op is S.LOAD}
            later = [k for k in later if all(places.roots[k[0]].is_apart(r) for r in read)]
        done.append(eqn)
    return done[::-1]


def _key(buffer: Value, indices: Sequence[Value]) -> Key:
    return buffer, tuple(v.item if isinstance(v, Literal) else v for v in indices)


def _forget(known: dict[Key, Value], eqns: Sequence[Eqn], places: Places) -> None:
    """What these equations may write to is known no more."""
    stored = places.stored(walk(eqns))
    for key in list(known):
        if any(not places.roots[key[0]].is_apart(root) for root in stored):
            del known[key]


# -- rows instead of arrays ------------------------------------------------------------------------


def _smaller(eqns: Sequence[Eqn], results: Sequence[Value]) -> list[Eqn]:
    """The equations with rows inside of nests for arrays that these alone use, as far as they read
    only what they wrote for the same index."""
    eqns = _without_unread(eqns, results)
    users = Counter(v for e in eqns for v in set(references(e)))
    allocs = {e.result for e in eqns if _may_go(e) and users[e.result] == 1} - set(results)
    done: list[Eqn] = []
    gone: set[Value] = set()
    for eqn in eqns:
        if is_parallel(eqn) or is_folding(eqn):
            for v in dict.fromkeys(references(eqn)):
                row = _with_row(eqn, v) if v in allocs else None
                if row is not None:
                    eqn = row
                    gone.add(v)
        done.append(eqn)
    return [e for e in done if not (e.op is S.ALLOC and e.result in gone)]


def _without_unread(eqns: Sequence[Eqn], results: Sequence[Value]) -> Sequence[Eqn]:
    """The equations without memory that is written only, by itself or through views."""
    unread = {e.result: {e.result} for e in eqns if _may_go(e)}
    if not unread:
        return eqns
    owner = {v: v for v in unread}
    for eqn in walk(eqns):
        for n, v in enumerate(references_of(eqn)):
            if v not in owner:
                continue
            if eqn.op is S.VIEW and n == 0:
                owner[eqn.result] = owner[v]
                unread.get(owner[v], set()).add(eqn.result)
            elif not (eqn.op is S.STORE and n == 0):
                unread.pop(owner[v], None)
    for v in results:
        unread.pop(owner.get(v, v), None)
    if not unread:
        return eqns
    return _rewritten_all(eqns, set().union(*unread.values()))


def _rewritten_all(eqns: Sequence[Eqn], gone: set[Value]) -> list[Eqn]:
    """Without these buffers, and what is written to them."""
    done = []
    for eqn in eqns:
        if eqn.op in (S.ALLOC, S.VIEW) and eqn.result in gone:
            continue
        if eqn.op is S.STORE and eqn.operands[0] in gone:
            continue
        regions = tuple(
            replace(r, eqns=tuple(_rewritten_all(r.eqns, gone)), _hash=[]) for r in eqn.regions
        )
        if not eqn.regions or eqn.results or any(r.eqns for r in regions):
            done.append(replace(eqn, regions=regions))
    return done


def _may_go(eqn: Eqn) -> bool:
    if eqn.op is not S.ALLOC or eqn.attrs.get("heap"):
        return False
    return not eqn.result.buffer_type.symbolic


def _with_row(nest: Eqn, buffer: Value) -> Eqn | None:
    """The nest with a row of an array in each iteration; None: it needs all of it."""
    (body,) = nest.regions
    uses = [e for e in body.walk() if buffer in references_of(e)]
    if any(e.op not in (S.LOAD, S.STORE) or e.operands[1:2] == (buffer,) for e in uses):
        return None
    index, dims = body.params[0], buffer.buffer_type.dims
    if not dims or any(_indices(e)[0] is not index for e in uses):
        return None
    strides = static_strides(buffer.buffer_type)
    if strides is None or strides[0] * buffer.dtype.itemsize > LONGEST_ROW:
        return None
    with Builder("row", "kernel") as b, b.at(nest.loc):
        row = S.alloc(buffer.dtype, dims[1:], buffer.name)
    inner = _rewritten(body, buffer, row)
    return replace(nest, regions=(replace(inner, eqns=(*b.eqns, *inner.eqns), _hash=[]),))


def references_of(eqn: Eqn) -> Sequence[Value]:
    """An equation's own operands, and what its regions return."""
    return (*eqn.operands, *(v for r in eqn.regions for v in r.results))


def _indices(access: Eqn) -> Sequence[Value]:
    return access.operands[2 if access.op is S.STORE else 1 :]


def _rewritten(f: Function, buffer: Value, row: Value) -> Function:
    """With a row for the array."""
    eqns: list[Eqn] = []
    for eqn in f.eqns:
        if eqn.op in (S.LOAD, S.STORE) and eqn.operands[0] is buffer:
            first = 2 if eqn.op is S.STORE else 1
            at = eqn.operands[first + 1 :]
            eqn = replace(eqn, operands=(row, *eqn.operands[1:first], *at))
        regions = tuple(_rewritten(r, buffer, row) for r in eqn.regions)
        eqns.append(replace(eqn, regions=regions))
    return replace(f, eqns=tuple(eqns), _hash=[])
