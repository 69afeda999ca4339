"""Finds loops whose iterations are independent of each other, and says so: kind "parallel".

    for 0, %n {kind='seq'} @body(%i: i64) {          for 0, %n {kind='parallel'} ...
      %a = load %x, %i                        ->
      store %y, %a, %i
    }

Two iterations are independent where neither writes what the other one reads or writes: where every
access to memory that the loop writes has the loop's index in it in the same way, and steps over all
that one iteration touches. Where that is true but for reductions in memory, the loop gets `folds`.
A scratch row that each iteration fills before it reads it is moved into the loop, so that each has
its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from jitnet.codegen.cuda.folded import folded_roots
from jitnet.codegen.cuda.library import PRODUCT
from jitnet.codegen.cuda.memory import Access, Linear, Places, Root, bound_in, references
from jitnet.ir import BufferType, Eqn, Function, Literal, Value
from jitnet.kernel import statements as S

HOSTS = (
    *(S.CALL_EXTERN, S.INVOKE, S.TAPE_NEW, S.TAPE_PUSH, S.TAPE_LENGTH, S.TAPE_EXTENT),
    *(S.TAPE_GET, S.TAPE_REACH, S.TAPE_SLOTS, S.TAPE_FREE, S.CONSTANT, PRODUCT),
    *(S.TAPE_SET, S.TAPE_CUT, S.TAPE_PREPEND, S.TAPE_COPY),
)
"""Statements that no kernel has: the host's."""

UNORDERED = (S.RAISE, *HOSTS)
"""Statements that no parallel loop has."""


def marked(f: Function) -> Function:
    """The kernel Function with its independent loops marked."""
    places = Places(f)
    return replace(f, eqns=tuple(_region(f.eqns, places, f.results)), _hash=[])


def _region(eqns: Sequence[Eqn], places: Places, results: Sequence[Value]) -> list[Eqn]:
    owners = _scratch_owners(eqns, results)
    done: list[Eqn] = []
    moved: set[int] = set()
    for n, eqn in enumerate(eqns):
        if not eqn.regions:
            done.append(eqn)
            continue
        if eqn.op is S.FOR and eqn.attrs["kind"] == "seq" and len(eqn.operands) == 2:
            eqn, taken = _loop(eqn, places, owners.get(n, ()))
            moved |= {id(alloc) for alloc in taken}
        inner = [
            replace(r, eqns=tuple(_region(r.eqns, places, r.results)), _hash=[])
            for r in eqn.regions
        ]
        done.append(replace(eqn, regions=tuple(inner)))
    return [e for e in done if id(e) not in moved]


def _scratch_owners(eqns: Sequence[Eqn], results: Sequence[Value]) -> dict[int, list[Eqn]]:
    """By the position of an equation, the allocations that it alone uses."""
    users: dict[Value, set[int]] = {}
    allocs = {e.result: e for e in eqns if e.op is S.ALLOC and _is_static(e)}
    if not allocs:
        return {}
    for n, eqn in enumerate(eqns):
        for v in references(eqn):
            if v in allocs:
                users.setdefault(v, set()).add(n)
    owners: dict[int, list[Eqn]] = {}
    for v, where in users.items():
        if len(where) == 1 and v not in results:
            owners.setdefault(min(where), []).append(allocs[v])
    return owners


def _is_static(alloc: Eqn) -> bool:
    return not alloc.attrs.get("heap") and not alloc.result.buffer_type.symbolic


def _loop(eqn: Eqn, places: Places, scratch: Sequence[Eqn]) -> tuple[Eqn, list[Eqn]]:
    """A loop in order, marked if it can be, and the scratch memory that it has taken in."""
    (body,) = eqn.regions
    private = [a for a in scratch if _is_filled_first(body, a.result)]
    own = {places.roots[a.result] for a in private}
    attrs = {**eqn.attrs, "kind": "parallel"}
    if not is_independent(eqn, places, own):
        folded = folded_roots(body.eqns, places.roots)
        if not folded or not is_independent(eqn, places, own | folded):
            return eqn, []
        attrs = {**eqn.attrs, "folds": True}
    region = replace(body, eqns=(*private, *body.eqns), _hash=[])
    return replace(eqn, attrs=attrs, regions=(region,)), private


def _is_filled_first(body: Function, buffer: Value) -> bool:
    """Whether the first that an iteration does with a buffer is to write all of it; or a loop that
    is all that uses it does so in each of its own."""
    users = [e for e in body.eqns if buffer in references(e)]
    if not users:
        return False
    if _fills(users[0], buffer):
        return True
    (first, *others) = users
    if others or first.op is not S.FOR or buffer in (*first.operands, *body.results):
        return False
    return _is_filled_first(first.regions[0], buffer)


def _fills(eqn: Eqn, buffer: Value) -> bool:
    """Whether a nest of loops writes all of a buffer before it reads any of it."""
    indices: list[Value] = []
    dims = buffer.buffer_type.dims
    eqns: Sequence[Eqn] = (eqn,)
    while len(indices) < len(dims):
        loops = [e for e in eqns if buffer in references(e)]
        if len(loops) != 1 or loops[0].op is not S.FOR:
            return False
        low, high = loops[0].operands[:2]
        if not (_is(low, 0) and _is(high, dims[len(indices)])):
            return False
        indices.append(loops[0].regions[0].params[0])
        eqns = loops[0].regions[0].eqns
    uses = [e for e in eqns if buffer in references(e)]
    return bool(uses) and all(
        e.op is S.STORE and e.operands[0] is buffer and list(e.operands[2:]) == indices
        for e in uses
    )


def _is(v: Value, n: object) -> bool:
    return isinstance(v, Literal) and v.item == n


def is_independent(eqn: Eqn, places: Places, private: set[Root] | None = None) -> bool:
    """Whether the iterations of a loop without carries may run at the same time."""
    (body,) = eqn.regions
    if any(e.op in UNORDERED or _is_dynamic(e) for e in body.walk()):
        return False
    return separates(body.params[0], body, places, private or set())


def _is_dynamic(eqn: Eqn) -> bool:
    return eqn.op is S.ALLOC and not _is_static(eqn)


def separates(index: Value, region: Function, places: Places, private: set[Root]) -> bool:
    """Whether what a region does for one value of `index`, which is a loop's inside of it or its
    own, touches nothing that it writes for another one."""
    inside = {*bound_in(region.eqns), *region.params}
    own = private | {
        places.roots[v]
        for v in inside
        if isinstance(v.type, BufferType) and places.roots[v].value is v and _is_alloc(v, region)
    }
    accesses = [a for a in places.accesses(region.eqns) if a.root not in own]
    stores = [a for a in accesses if a.writes]
    return all(
        store.root.is_apart(other.root) or _never_meet(store, other, index, inside, places)
        for store in stores
        for other in accesses
    )


def _is_alloc(v: Value, region: Function) -> bool:
    return any(e.op is S.ALLOC and e.result is v for e in region.walk())


def _never_meet(a: Access, b: Access, index: Value, inside: set[Value], places: Places) -> bool:
    if a.root is not b.root:
        return False
    if (
        a.buffer is b.buffer
        and a.buffer not in inside
        and any(_same_step(i, j, index, inside) for i, j in zip(a.indices, b.indices))
    ):
        return True
    if a.address is None or b.address is None:
        return False
    return _far_enough(a.address, b.address, index, inside, places)


def _same_step(a: Linear, b: Linear, index: Value, inside: set[Value]) -> bool:
    """Whether two indices along one axis are the same function of `index`, and nothing else that
    varies."""
    if a.constant != b.constant or not a.terms.get(index) or dict(a.terms) != dict(b.terms):
        return False
    return all(v is index or v not in inside for v in a.terms)


def _far_enough(a: Linear, b: Linear, index: Value, inside: set[Value], places: Places) -> bool:
    """Whether a step of `index` is longer than what else lies between two addresses."""
    step = abs(a.terms.get(index, 0))
    if not step or a.terms.get(index) != b.terms.get(index):
        return False
    low = high = a.constant - b.constant
    for form, sign in ((a, 1), (b, -1)):
        for v, n in form.terms.items():
            if v is index:
                continue
            if v not in inside:
                if a.terms.get(v) != b.terms.get(v):
                    return False
                continue
            if v not in places.ranges:
                return False
            ends = [n * sign * x for x in places.ranges[v]]
            low, high = low + min(ends), high + max(ends)
    return -step < low and high < step
