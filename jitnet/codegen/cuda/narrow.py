"""Products of halves that the frontend has widened: the library takes the halves themselves.

    %0 = alloc 64, 100 {dtype=f32}
    for 0, 6400 { %3: f16 = load %x ...; %4: f32 = cast %3; store %0, %4, ... }
    product 64, 70, 100, 1, %0, 100, %5, 70, ...
    ->
    product 64, 70, 100, 1, %x, 100, %w, 70, ...

Memory of which products are all that reads it, and into which only widened halves are stored, is
memory of halves. Where it is a copy then, turned around or not, the product reads what it is a copy
of. The sums are float32, as those of what was widened are, so C is the same.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import NamedTuple

from jitnet.codegen.cuda.elementwise import Elementwise, Walked, elementwise, fills, walked
from jitnet.codegen.cuda.library import PRODUCT, Product, done_by, number, remade
from jitnet.codegen.cuda.memory import Linear, Places, walk
from jitnet.codegen.cuda.touch import Touched, clash, touched
from jitnet.codegen.cuda.users import Users
from jitnet.ir import Builder, DType, Eqn, Function, Value
from jitnet.kernel import statements as S
from jitnet.kernel.scalars import Conversion


def narrowed(f: Function, library: Collection[str]) -> Function:
    """The kernel Function with products of halves, where the library has them."""
    if not any(isinstance(e.op, Conversion) and e.operands[0].dtype.is_half for e in f.walk()):
        return f
    places = Places(f)
    users = Users.of(f, places)
    halves = _halves(f, places, users, library)
    if not halves:
        return f
    f = replace(f, eqns=tuple(_with_halves(f.eqns, halves, places, _makers(f), {})), _hash=[])
    return _forwarded(f)


def _makers(f: Function) -> dict[Value, Eqn]:
    return {r: e for e in f.walk() for r in e.results}


def _halves(
    f: Function, places: Places, users: Users, library: Collection[str]
) -> dict[Value, DType]:
    """The allocations that can be of halves, and of which."""
    makers = _makers(f)
    found: dict[Value, DType] = {}
    for eqn in f.walk():
        if eqn.op is S.ALLOC and users.is_plain(eqn.result) and eqn.result not in users.loads:
            dtypes = {_widened(e, makers) for e in users.stores.get(eqn.result, ())}
            half = dtypes.pop() if len(dtypes) == 1 else None
            if half is not None and half.name in library:
                found[eqn.result] = half

    def fits(product: Product) -> bool:
        both = [found.get(places.roots[v].value) for v in (product.a, product.b)]
        is_written = places.roots[product.c].value in found
        return both[0] is not None and both[0] is both[1] and not (is_written or product.extra)

    while True:
        wrong = [
            v
            for v in found
            if not users.products.get(v) or not all(fits(Product.of(e)) for e in users.products[v])
        ]
        if not wrong:
            return found
        for v in wrong:
            del found[v]


def _widened(store: Eqn, makers: dict[Value, Eqn]) -> DType | None:
    """The dtype of the halves that a store has widened."""
    made = makers.get(store.operands[1])
    if made is None or not isinstance(made.op, Conversion):
        return None
    dtype = made.operands[0].dtype
    return dtype if dtype.is_half else None


def _with_halves(
    eqns: Sequence[Eqn],
    halves: dict[Value, DType],
    places: Places,
    makers: dict[Value, Eqn],
    env: dict[Value, Value],
) -> list[Eqn]:
    """The equations with that memory of halves; `env` has the buffers that stand for others."""
    done = []
    for eqn in eqns:
        if eqn.op is S.ALLOC and eqn.result in halves:
            new = remade(eqn, eqn.operands, {**eqn.attrs, "dtype": halves[eqn.result]})
            env[eqn.result] = new.result
            eqn = new
        elif eqn.op is S.VIEW and eqn.operands[0] in env:
            new = remade(eqn, (env[eqn.operands[0]], *eqn.operands[1:]))
            env[eqn.result] = new.result
            eqn = new
        elif eqn.op is S.STORE and eqn.operands[0] in env:
            narrow = makers[eqn.operands[1]].operands[0]
            eqn = replace(eqn, operands=(env[eqn.operands[0]], narrow, *eqn.operands[2:]))
        elif eqn.op in (PRODUCT, S.FREE):
            eqn = replace(eqn, operands=tuple(env.get(v, v) for v in eqn.operands))
        elif eqn.regions:
            regions = [
                replace(r, eqns=tuple(_with_halves(r.eqns, halves, places, makers, env)), _hash=[])
                for r in eqn.regions
            ]
            eqn = replace(eqn, regions=tuple(regions))
        done.append(eqn)
    return done


# -- copies ----------------------------------------------------------------------------------------


def _forwarded(f: Function) -> Function:
    """The kernel Function with products that read what their operands are copies of."""
    places = Places(f)
    users = Users.of(f, places)

    def region(f: Function, indices: Sequence[Value]) -> Function:
        eqns: list[Eqn] = []
        for n, eqn in enumerate(f.eqns):
            if eqn.op is PRODUCT:
                eqns += _reading(eqn, _Before(f.eqns[:n], indices, places, users))
                continue
            own = eqn.regions[0].params[:1] if eqn.op is S.FOR else ()
            regions = tuple(region(r, (*indices, *own)) for r in eqn.regions)
            eqns.append(replace(eqn, regions=regions))
        return replace(f, eqns=tuple(eqns), _hash=[])

    return region(f, ())


class _Before(NamedTuple):
    """What stands before a product.

    Attributes:
        indices: of the loops of the host's that it is in.
    """

    eqns: Sequence[Eqn]
    indices: Sequence[Value]
    places: Places
    users: Users


def _reading(eqn: Eqn, before: _Before) -> list[Eqn]:
    """A product, with views of what it reads in the place of copies."""
    product = Product.of(eqn)
    with Builder("narrowed", "kernel") as b, b.at(eqn.loc):
        left = _source(product.a, product.lda, not product.steps, before)
        right = _source(product.b, product.ldb, not product.steps, before)
        flags = list(product.transposed)
        if left is not None:
            product = replace(product, a=left[0], lda=left[1])
            flags[0] ^= left[2]
        if right is not None:
            product = replace(product, b=right[0], ldb=right[1])
            flags[1] ^= right[2]
    return [*b.eqns, replace(product, transposed=(flags[0], flags[1])).eqn(eqn.loc)]


Source = tuple[Value, Value, bool]
"""A matrix, the distance of its rows, and whether it is turned around."""


def _source(copy: Value, lead: Value, is_one: bool, before: _Before) -> Source | None:
    """What a matrix, the only one or one of a stack, is a copy of, where that is what it was."""
    places = before.places
    found = _copied(places.roots[copy].value, before)
    width, offset = number(lead), places.offsets.get(copy, Linear({}))
    if found is None or width is None or offset is None or offset.terms:
        return None
    nest, source, target = found
    dims = copy.buffer_type.dims[-2:]
    if all(source.terms.get(v, 0) == target.terms.get(v, 0) for v in nest.trips):
        moved = replace(source, start=source.start.plus(offset))
        return moved.start_view(dims, (width, 1)[-len(dims) :]), lead, False
    steps = sorted((target.terms.get(v, 0), source.terms.get(v, 0)) for v in nest.trips)
    if not is_one or offset.constant or len(steps) != 2 or copy.rank != 2 or steps[1][0] != width:
        return None
    (_, right), (_, down) = steps
    rows, columns = dims
    if right == 1 and isinstance(columns, int) and down >= columns:
        return source.start_view(dims, (down, 1)), S.as_index(down), False
    if down == 1 and isinstance(rows, int) and right >= rows:
        return source.start_view((columns, rows), (right, 1)), S.as_index(right), True
    return None


def _copied(copy: Value, before: _Before) -> tuple[Elementwise, Walked, Walked] | None:
    """The nest that has filled memory with a copy, what it reads, and what it writes."""
    eqns, indices, places, users = before
    stores = users.stores.get(copy, ())
    if len(stores) != 1 or not users.is_plain(copy):
        return None
    at = next((i for i, e in enumerate(eqns) if stores[0] in walk((e,))), None)
    nest = None if at is None else elementwise(eqns[at])
    load = None if nest is None else nest.loaded(stores[0].operands[1])
    if at is None or nest is None or load is None:
        return None
    source, target = walked(load, nest, places, indices), walked(stores[0], nest, places)
    size = [places.form(d) if isinstance(d, Value) else Linear({}, d) for d in copy.dims]
    if source is None or target is None or any(d.terms for d in size[1:]):
        return None
    total = size[0]
    for d in size[1:]:
        total = Linear({}).plus(total, d.constant)
    if target.base.terms or target.base.constant or not fills(target.terms, nest, total, places):
        return None
    reads = Touched(reads={places.roots[source.buffer]: None})
    reads.reading.update(places.roots[source.buffer].may)
    return None if _is_changed(reads, eqns[at + 1 :], places) else (nest, source, target)


def _is_changed(reads: Touched, eqns: Sequence[Eqn], places: Places) -> bool:
    return any(clash(reads, does(e, places)) for e in eqns)


def does(eqn: Eqn, places: Places) -> Touched:
    """What an equation reads and writes; a product, too."""
    return done_by(eqn, places) if eqn.op is PRODUCT else touched((eqn,), places)
