"""What follows a product element by element, and nothing else reads, is done by the product.

    product 64, 70, 100, 1, %x, 100, %w, 70, %0, 70
    for 0, 64 { for 0, 70 { store %y, add(%0[%i, %v], %b[%v]), %i, %v } }
    ->
    product 64, 70, 100, 1, %x, 100, %w, 70, %y, 70, %b {epilogue='bias'}

Only what comes to the same bits: adding to a sum rounds it once more, which is what the nest does,
and of sums in float32 halves are made as a nest makes them. A bias of halves would be added before
the sum is rounded to one. A library's `relu` makes 0 of NaN, and of its `gelu` nobody
says how exact it is: these remain nests.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from jitnet.codegen.cuda.elementwise import (
    Elementwise,
    Walked,
    distance_of_rows,
    elementwise,
    fills,
    is_one_row,
    walked,
)
from jitnet.codegen.cuda.library import (
    ADD,
    BIAS,
    NO_EPILOGUE,
    PRODUCT,
    Product,
    done_by,
    number,
    with_bias,
)
from jitnet.codegen.cuda.memory import Linear, Places
from jitnet.codegen.cuda.narrow import does
from jitnet.codegen.cuda.touch import clash
from jitnet.codegen.cuda.users import Users
from jitnet.ir import Builder, Eqn, Function, Value, as_dim
from jitnet.kernel import scalars as s
from jitnet.kernel import statements as S
from jitnet.kernel.scalars import Conversion


def with_epilogues(f: Function, library: Collection[str]) -> Function:
    """The kernel Function with nests that are parts of products."""
    places = Places(f)
    finder = _Finder(places, Users.of(f, places), library)
    return finder.function(f, ())


Readers = dict[int, tuple[int, Elementwise]]
"""Of each load, by its identity, the position of the nest that it is in, and this nest."""


def _readers(eqns: Sequence[Eqn]) -> Readers:
    found: Readers = {}
    for n, eqn in enumerate(eqns):
        nest = elementwise(eqn) if eqn.op is S.FOR else None
        if nest is not None:
            found.update((id(e), (n, nest)) for e in nest.makers.values() if e.op is S.LOAD)
    return found


@dataclass(frozen=True)
class _Finder:
    places: Places
    users: Users
    library: Collection[str]

    def function(self, f: Function, indices: Sequence[Value]) -> Function:
        """A region, in loops of the host's with these indices."""
        eqns = list(f.eqns)
        for n, eqn in enumerate(eqns):
            if eqn.regions:
                own = eqn.regions[0].params[:1] if eqn.op is S.FOR else ()
                regions = [self.function(r, (*indices, *own)) for r in eqn.regions]
                eqns[n] = replace(eqn, regions=tuple(regions))
        if not any(eqn.op is PRODUCT for eqn in eqns):
            return replace(f, eqns=tuple(eqns), _hash=[])
        readers = _readers(eqns)
        done: list[Eqn] = []
        waiting: dict[int, list[Eqn]] = {}
        for n, eqn in enumerate(eqns):
            found = self.followed(eqns, n, readers, indices) if eqn.op is PRODUCT else None
            if found is None or found[0] in waiting:  # which another product does already
                done += waiting.get(n, (eqn,))
            else:
                waiting[found[0]] = found[1]
        return replace(f, eqns=tuple(done), _hash=[])

    def followed(
        self, eqns: Sequence[Eqn], n: int, readers: Readers, indices: Sequence[Value]
    ) -> tuple[int, list[Eqn]] | None:
        """The position of the nest that a product can do, and what then stands there."""
        product = Product.of(eqns[n])
        root = self.places.roots[product.c].value
        loads = self.users.loads.get(root, ())
        if not self.is_alone(product, root) or len(loads) != 1:
            return None
        at, nest = readers.get(id(loads[0]), (0, None))
        made = nest and at > n and self.joined(product, nest, loads[0], indices, eqns[at])
        if not made:
            return None
        does_now = done_by(eqns[n], self.places)
        between = (does(eqn, self.places) for eqn in eqns[n + 1 : at])
        return None if any(clash(does_now, other) for other in between) else (at, made)

    def is_alone(self, product: Product, root: Value) -> bool:
        """Whether all that concerns the memory of C is the product, and that it is filled by it."""
        users, c = self.users, product.c
        offset = self.places.offsets.get(c, Linear({}))
        return (
            product.epilogue == NO_EPILOGUE
            and not product.complex
            and root not in users.stores
            and users.is_plain(root)
            and len(users.products.get(root, ())) == 1
            and offset == Linear({})
            and number(product.n) is not None
            and number(product.ldc) == number(product.n)
        )

    # -- nests ------------------------------------------------------------------------------------

    def joined(
        self, product: Product, nest: Elementwise, load: Eqn, indices: Sequence[Value], at: Eqn
    ) -> list[Eqn] | None:
        """The product that does a nest too, and the views that it needs."""
        n, total = number(product.n), self.total(product)
        own = walked(load, nest, self.places)
        out = walked(nest.store, nest, self.places, indices)
        if n is None or total is None or own is None or out is None:
            return None
        if own.base != Linear({}) or not fills(own.terms, nest, total, self.places):
            return None
        distance = distance_of_rows(own.terms, out.terms, nest, n)
        if distance is None or not self.is_apart(out, (product.a, product.b)):
            return None
        with Builder("epilogue", "kernel") as b, b.at(at.loc):
            c = out.start_view((as_dim(product.m), n), (distance, 1))
            steps = (*product.steps[:2], *self.step(product, distance))
            written = replace(product, c=c, ldc=S.as_index(distance), steps=steps)
            made = self.with_extra(written, nest, load, own, out, indices)
        return None if made is None else [*b.eqns, made.eqn(at.loc)]

    def with_extra(
        self,
        product: Product,
        nest: Elementwise,
        load: Eqn,
        own: Walked,
        out: Walked,
        indices: Sequence[Value],
    ) -> Product | None:
        """The product with what the nest does to its elements."""
        made = nest.stored()
        if made is None:
            return None
        if isinstance(made.op, Conversion):
            is_rounded = made.operands[0] is load.result and product.a.dtype.is_half
            return product if is_rounded and made.result.dtype is product.a.dtype else None
        if made.op is not s.add or load.result not in made.operands:
            return None
        x, y = made.operands
        other = nest.loaded(y if x is load.result else x)
        if other is None or other is load or product.a.dtype.is_half:
            return None
        read = walked(other, nest, self.places, indices)
        return None if read is None else self.with_sum(product, nest, own, out, read)

    def with_sum(
        self, product: Product, nest: Elementwise, own: Walked, out: Walked, read: Walked
    ) -> Product | None:
        """The product and a matrix, or a row for all rows."""
        n = number(product.n)
        assert n is not None
        distance = distance_of_rows(own.terms, read.terms, nest, n)
        roots = self.places.roots
        if distance is not None:
            here, there = roots[out.buffer], roots[read.buffer]
            is_same = here is there and out.terms == read.terms and out.base == read.base
            if not (is_same or here.is_apart(there)):
                return None
            matrix = read.start_view((as_dim(product.m), n), (distance, 1))
            steps = (*product.steps, *self.step(product, distance))
            extra = (matrix, S.as_index(distance))
            return replace(product, extra=extra, steps=steps, epilogue=ADD)
        if with_bias(product.kind) not in self.library:
            return None
        if not is_one_row(own.terms, read.terms, nest, n) or not self.is_apart(out, [read.buffer]):
            return None
        row = read.start_view((n,), (1,))
        return replace(product, extra=(row,), epilogue=BIAS)

    def is_apart(self, out: Walked, others: Sequence[Value]) -> bool:
        roots = self.places.roots
        return all(roots[out.buffer].is_apart(roots[v]) for v in others)

    # -- sizes ------------------------------------------------------------------------------------

    def total(self, product: Product) -> Linear | None:
        """How many elements all matrices have, where these lie one behind the other."""
        m, n = number(product.m), number(product.n)
        if n is None or (product.steps and (m is None or product.steps[2] != m * n)):
            return None
        if m is None:
            return Linear({}).plus(self.places.form(product.m), n)
        return Linear({}).plus(self.places.form(product.count), m * n)

    def step(self, product: Product, distance: int) -> tuple[int, ...]:
        """From a matrix to the next one, with rows so far apart; none where there is but one."""
        m = number(product.m)
        return (m * distance,) if product.steps and m is not None else ()
