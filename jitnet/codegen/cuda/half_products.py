"""Products of halves as loops, whose sums tensor cores compute.

    %0 = alloc 64, 100 {dtype=f32}
    for 0, 6400 { %3: f16 = load %x ...; %4: f32 = cast %3; store %0, %4, ... }      (and %5 of %w)
    call_extern 111, 111, 64, 70, 100, 1.0, %0, 100, %5, 70, ... {name='sgemm'}
    ->
    for 0, 64 @row(%i) { for 0, 70 @column(%j) {
      %t: f32 = for 0, 100, 0.0 {any_order=True} @body(%k, %sum) {
        return fma(cast %x[%i, %k], cast %w[%k, %j], %sum)
      }
      store %c, cast %t, %i, %j
    } }

Nothing is widened in memory, and the sum is rounded to a half where it is made. Large products are
left to the device's library where it has products of halves (`products`); what it has not, and
small ones and stacks of these, are loops, which `product_nests` gives to tensor cores.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from jitnet.codegen.cuda.epilogues import with_epilogues
from jitnet.codegen.cuda.library import PRODUCT, Product, number
from jitnet.codegen.cuda.memory import static_strides
from jitnet.codegen.cuda.multiply import LARGEST_OF_STACK
from jitnet.codegen.cuda.narrow import narrowed
from jitnet.codegen.cuda.product_nests import ANY_ORDER, LARGEST_PRODUCT
from jitnet.codegen.cuda.products import Fits, Has, taken
from jitnet.codegen.cuda.split import folded_constants
from jitnet.codegen.cuda.unshare import unshared, widens
from jitnet.codegen.cuda.users import swept
from jitnet.ir import Builder, Dim, Eqn, Function, Literal, Value, as_dim, current
from jitnet.ir import types as T
from jitnet.kernel import indices as ix
from jitnet.kernel import scalars as s
from jitnet.kernel import statements as S

_ROUTINES = ("sgemm", "sgemv")
_HALVES = ("f16", "bf16")


def with_half_products(f: Function, has: Has) -> Function:
    """The kernel Function with loops, or the library's products, in the place of calls for products
    of what was widened.

    Args:
        has: what the device's library can do; asked for where there is such a product.
    """
    if not any(map(_is_call, f.walk())) or not any(map(widens, f.walk())):
        return f
    found = _of_halves(unshared(f))
    if found is None:
        return f
    library = has()
    found = swept(with_epilogues(found, _HALVES))
    return replace(found, eqns=tuple(_with_loops(found.eqns, library)), _hash=[])


def _is_call(eqn: Eqn) -> bool:
    return eqn.op is S.CALL_EXTERN and eqn.attrs["name"] in _ROUTINES


def _of_halves(f: Function) -> Function | None:
    """The Function with products in the place of those calls whose operands are halves; None where
    there are none."""
    calls = list(filter(_is_call, f.walk()))
    while calls:
        made = narrowed(folded_constants(taken(f, ("f32",), _among(calls))), _HALVES)
        products = [e for e in made.walk() if e.op is PRODUCT]
        halves = [Product.of(e).kind in _HALVES for e in products]
        if len(products) != len(calls):
            return None
        if all(halves):
            return made
        calls = [call for call, is_half in zip(calls, halves) if is_half]
    return None


def _among(calls: Sequence[Eqn]) -> Fits:
    ids = {id(e) for e in calls}
    return lambda eqn: id(eqn) in ids


def _with_loops(eqns: Sequence[Eqn], library: Collection[str]) -> list[Eqn]:
    done: list[Eqn] = []
    for eqn in eqns:
        if eqn.op is PRODUCT and _is_ours(Product.of(eqn), library):
            with Builder("product", "kernel") as b, b.at(eqn.loc):
                _loops(Product.of(eqn))
            done += b.eqns
            continue
        regions = tuple(
            replace(r, eqns=tuple(_with_loops(r.eqns, library)), _hash=[]) for r in eqn.regions
        )
        done.append(replace(eqn, regions=regions))
    return done


def _is_ours(product: Product, library: Collection[str]) -> bool:
    """Whether a product is not left to the library."""
    if product.kind not in library:
        return True
    m, n, k = map(number, (product.m, product.n, product.k))
    if m is None or n is None or k is None:
        return False
    return m * n * k <= (LARGEST_OF_STACK if product.steps else LARGEST_PRODUCT)


def _loops(product: Product) -> None:
    m, n, k = map(as_dim, (product.m, product.n, product.k))
    steps = product.steps or (0, 0, 0)

    def one(at: Value) -> None:
        left = _matrix(product.a, (m, k), product.lda, product.transposed[0], at, steps[0])
        right = _matrix(product.b, (k, n), product.ldb, product.transposed[1], at, steps[1])
        out = _matrix(product.c, (m, n), product.ldc, False, at, steps[2])

        def row(i: Value) -> None:
            S.loop(0, product.n, lambda j: _element(left, right, out, i, j), kind="parallel")

        S.loop(0, product.m, row, kind="parallel", name="i")

    if number(product.count) == 1:
        one(S.as_index(0))
    else:
        S.loop(0, product.count, one, kind="parallel", name="at")


def _matrix(
    buffer: Value, dims: tuple[Dim, Dim], lead: Value, is_turned: bool, at: Value, step: int
) -> Value:
    """One matrix of a stack, as the product takes it."""
    distance, is_first = as_dim(lead), isinstance(at, Literal)
    strides: tuple[Dim, Dim] = (1, distance) if is_turned else (distance, 1)
    if is_first and buffer.dims == dims and static_strides(buffer.buffer_type) == strides:
        return buffer
    return S.view(buffer, ix.multiply(at, S.as_index(step)), dims, strides)


def _element(left: Value, right: Value, out: Value, i: Value, j: Value) -> None:
    def term(k: Value, so_far: Value) -> Sequence[Value]:
        x, y = s.cast(S.load(left, i, k), T.f32), s.cast(S.load(right, k, j), T.f32)
        return (s.fma(x, y, so_far),)

    depth = left.buffer_type.dims[1]
    high = S.as_index(depth) if isinstance(depth, int) else depth
    (total,) = S.loop(0, high, term, (Literal(0.0, T.f32),), name="k")
    eqns = current().eqns
    eqns[-1] = replace(eqns[-1], attrs={**eqns[-1].attrs, ANY_ORDER: True})
    S.store(out, s.cast(total, out.dtype), i, j)
