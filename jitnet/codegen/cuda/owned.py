"""Scatters by many blocks, in the order in which one thread would write: each block owns a part of
the elements, looks at all indices, and does what is its own.

    for 0, 20000 { %k = load %index, %i;  store %x, (%x[%k] + %v[%i]), %k }
    ->
    for 0, 250 {kind='parallel'} @owner(%p) {
      for 0, 20000 {chosen=True} @body(%i) {
        %k = load %index, %i
        if (%k / 4 == %p) { store %x, (%x[%k] + %v[%i]), %k }
      }
    }

Of a `chosen` loop, the threads of a block test many iterations at once; those that are chosen run
one after the other. So no result depends on which thread comes first, sums have the bits of a loop
in order, and no atomic operation is needed. Histograms that users write as loops are scatters too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from jitnet.codegen.cuda.marks import UNORDERED
from jitnet.codegen.cuda.memory import Places, Root, references
from jitnet.codegen.cuda.rows import is_scalar_op
from jitnet.codegen.cuda.state import trips
from jitnet.ir import Builder, Eqn, Function, Literal, Value, current
from jitnet.kernel import scalars as s
from jitnet.kernel import statements as S

FEWEST_CHOSEN = 512
"""Loops of fewer iterations stay with one thread."""

MOST_OWNERS = 256
"""Blocks that own a part."""


@dataclass(frozen=True)
class _Key:
    """Attributes:
    value: what tells the iterations apart: those with different ones touch different elements.
    extent: it is not negative, and less than that.
    """

    value: Value
    extent: int


def owned(f: Function, drives: Callable[[Eqn], bool]) -> Function:
    """The kernel Function with its scatters spread over owners, at the top and in the regions of
    what the host carries out."""
    places = Places(f)

    def region(f: Function) -> Function:
        eqns: list[Eqn] = []
        for eqn in f.eqns:
            if eqn.regions and drives(eqn):
                eqns.append(replace(eqn, regions=tuple(map(region, eqn.regions))))
            else:
                eqns += _owned(eqn, places) or (eqn,)
        return replace(f, eqns=tuple(eqns), _hash=[])

    return region(f)


def _owned(eqn: Eqn, places: Places) -> Sequence[Eqn] | None:
    if eqn.op is not S.FOR or eqn.attrs["kind"] != "seq" or len(eqn.operands) != 2:
        return None
    count = trips(eqn)
    if count is not None and count < FEWEST_CHOSEN:
        return None
    (body,) = eqn.regions
    if any(e.op in UNORDERED or e.op is S.ALLOC for e in body.walk()):
        return None
    stored = places.stored(body.walk())
    key = _key(body, stored, places)
    if key is None or key.extent < 2:
        return None
    first = _needed(body, key.value, stored, places)
    return None if first is None else _spread(eqn, key, first)


def _key(body: Function, stored: set[Root], places: Places) -> _Key | None:
    """A value that all accesses to what is written have as the index of one axis."""
    found: dict[Root, dict[tuple[Value, int], Value]] = {}
    for eqn in body.walk():
        if eqn.op not in (S.LOAD, S.STORE):
            continue
        buffer = eqn.operands[0]
        root = places.roots[buffer]
        if all(root.is_apart(other) for other in stored):
            continue
        at = eqn.operands[2 if eqn.op is S.STORE else 1 :]
        here = {(buffer, axis): v for axis, v in enumerate(at) if not isinstance(v, Literal)}
        before = found.setdefault(root, here)
        found[root] = {place: v for place, v in before.items() if here.get(place) is v}
    if not found or any(root not in stored for root in found) or len(found) > 1:
        return None
    (common,) = found.values()
    made = {r for e in body.eqns for r in e.results}
    for (buffer, axis), v in common.items():
        extent = buffer.buffer_type.dims[axis]
        if v in made and isinstance(extent, int):
            return _Key(v, extent)
    return None


def _needed(body: Function, key: Value, stored: set[Root], places: Places) -> list[Eqn] | None:
    """The equations that make the key, or None where these read what the loop writes."""
    makers = {r: e for e in body.eqns for r in e.results}
    needed, todo = set[Eqn](), [key]
    while todo:
        eqn = makers.get(todo.pop())
        if eqn is None or eqn in needed:
            continue
        if not (is_scalar_op(eqn) or (eqn.op is S.LOAD and places.is_free(eqn, stored))):
            return None
        needed.add(eqn)
        todo += references(eqn)
    return [e for e in body.eqns if e in needed]


def _spread(eqn: Eqn, key: _Key, first: Sequence[Eqn]) -> Sequence[Eqn]:
    (body,) = eqn.regions
    size = -(-key.extent // MOST_OWNERS)
    owners = -(-key.extent // size)
    rest = tuple(e for e in body.eqns if e not in first)
    with Builder("owned", "kernel") as b, b.at(eqn.loc):

        def owner(p: Value) -> None:
            with current().child("body") as inside:
                inside.params += body.params
                inside.eqns += first
                mine = s.eq(s.quotient(key.value, size) if size > 1 else key.value, p)
                then = Function("then", (), rest, (), "kernel")
                otherwise = Function("else", (), (), (), "kernel")
                inside.bind(S.IF, (mine,), {}, (then, otherwise))
            attrs = {**eqn.attrs, "chosen": True}
            current().bind(S.FOR, eqn.operands, attrs, (inside.build(),))

        S.loop(0, owners, owner, kind="parallel", name="owner")
    return b.eqns
