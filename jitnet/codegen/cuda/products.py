"""Calls of BLAS become products of the device's library, and loops over stacks one product.

    for 0, 5 @body(%i) {
      %0 = mul %i, 30000;  %1 = view %x, %0, ...                       ->
      call_extern 111, 111, 200, 180, 150, 1.0, %1, 150, ...
    }
    product 200, 180, 150, 5, %x, 150, %w, 180, %out0, 180 {steps=(30000, 27000, 36000), ...}

Where the device has no such library, calls stay what they are. A product of a matrix and a vector
is one of matrices, of which one has a single row or column.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

from jitnet.codegen.cuda.epilogues import with_epilogues
from jitnet.codegen.cuda.library import PRODUCT, Product, kind_of, number
from jitnet.codegen.cuda.memory import Linear, Places, Root, bound_in, substituted
from jitnet.codegen.cuda.narrow import narrowed
from jitnet.codegen.cuda.rows import is_scalar_op
from jitnet.codegen.cuda.split import folded_constants
from jitnet.codegen.cuda.users import swept
from jitnet.ir import Eqn, Function, Literal, Value, as_value
from jitnet.kernel import statements as S
from jitnet.kernel.externs import TRANS

_ROUTINES = tuple(letter + rest for letter in "sdcz" for rest in ("gemm", "gemv"))

Has = Callable[[], Collection[str]]
Fits = Callable[[Eqn], bool]


def no_library() -> Collection[str]:
    return ()


def with_products(f: Function, has: Has) -> Function:
    """The kernel Function with products in the place of calls.

    Args:
        has: what the device's library can do; asked for where there is a product.
    """
    if not any(e.op is S.CALL_EXTERN and e.attrs["name"] in _ROUTINES for e in f.walk()):
        return f
    library = has()
    if not library:
        return f
    f = taken(f, library)
    if any(e.op is PRODUCT and "steps" in e.attrs for e in f.walk()):
        f = folded_constants(f)  # where the first of a stack lies
    return swept(with_epilogues(narrowed(f, library), library))


def taken(f: Function, library: Collection[str], fits: Fits = lambda eqn: True) -> Function:
    """The kernel Function with products in the place of those calls that fit and that the library
    has."""
    taker = _Taker(Places(f), library, _constants(f), fits)
    return replace(f, eqns=tuple(taker.region(f.eqns)), _hash=[])


def _constants(f: Function) -> dict[Value, list[Eqn]]:
    """The stores of factors, by their memory."""
    found: dict[Value, list[Eqn]] = {}
    for eqn in f.walk():
        if eqn.op is S.STORE:
            found.setdefault(eqn.operands[0], []).append(eqn)
    return found


@dataclass
class _Taker:
    """Attributes:
    stores: by the buffers that they name.
    """

    places: Places
    library: Collection[str]
    stores: dict[Value, list[Eqn]]
    fits: Fits

    def region(self, eqns: Sequence[Eqn]) -> list[Eqn]:
        done: list[Eqn] = []
        for eqn in eqns:
            if eqn.op is S.CALL_EXTERN and eqn.attrs["name"] in _ROUTINES:
                product = self.product(eqn)
                done.append(eqn if product is None else product.eqn(eqn.loc))
                continue
            if eqn.regions:
                regions = [
                    replace(r, eqns=tuple(self.region(r.eqns)), _hash=[]) for r in eqn.regions
                ]
                eqn = replace(eqn, regions=tuple(regions))
            done += self.stacked(eqn) or (eqn,)
        return done

    # -- calls ------------------------------------------------------------------------------------

    def product(self, eqn: Eqn) -> Product | None:
        """A call as a product, None where it is none of those that the library has."""
        name = eqn.attrs["name"]
        found, alpha, beta = (_gemm if name[1:] == "gemm" else _gemv)(eqn.operands)
        found = replace(found, complex=name[0] in "cz")
        if not (self.fits(eqn) and self.is_factor(alpha, 1) and self.is_factor(beta, 0)):
            return None
        return found if kind_of(found.a, found.complex) in self.library else None

    def is_factor(self, v: Value, wanted: int) -> bool:
        """Whether a factor is this number. Complex ones lie in memory."""
        if isinstance(v, Literal):
            return bool(v.item == wanted)
        parts: dict[int | None, Value] = {
            number(e.operands[2]): e.operands[1] for e in self.stores.get(v, ())
        }
        return parts.keys() == {0, 1} and all(
            isinstance(part, Literal) and part.item == (wanted if i == 0 else 0)
            for i, part in parts.items()
        )

    # -- stacks -----------------------------------------------------------------------------------

    def stacked(self, loop: Eqn) -> list[Eqn] | None:
        """A loop over products of a stack as one product, and what tells where the stack lies."""
        if loop.op is not S.FOR or len(loop.operands) > 2:
            return None
        low, high = loop.operands
        (body,) = loop.regions
        around = [e for e in body.eqns if e.op is not PRODUCT]
        rest = [e for e in body.eqns if e.op is PRODUCT]
        if len(rest) != 1 or not all(is_scalar_op(e) or e.op is S.VIEW for e in around):
            return None
        product, first = Product.of(rest[0]), number(low)
        rounds = high if first == 0 else _rounds(low, high)
        steps = self.steps(product, body)
        if steps is None or rounds is None or first is None:
            return None
        count = _times(product, rounds, steps)
        if count is None or not self.is_apart(product, steps):
            return None
        env: dict[Value, Value] = {body.params[0]: low}
        steps = product.steps or steps
        product = replace(product, count=count, steps=steps)
        return [*(substituted(e, env) for e in around), product.eqn(rest[0].loc)]

    def steps(self, product: Product, body: Function) -> tuple[int, ...] | None:
        """How far the operands of a round lie behind those of the round before."""
        inside, index = set(bound_in(body.eqns)), body.params[0]
        steps = []
        for buffer in (product.a, product.b, product.c):
            offset = self.places.offsets.get(buffer, Linear({}))
            if offset is None or not inside.isdisjoint(offset.terms):
                return None
            if self.places.roots[buffer].value in inside:
                return None
            step, rest = divmod(offset.terms.get(index, 0), 2 if product.complex else 1)
            if rest:
                return None
            steps.append(step)
        return tuple(steps)

    def is_apart(self, product: Product, steps: Sequence[int]) -> bool:
        """Whether no round writes what another one reads or writes."""
        m, n, ldc = map(number, (product.m, product.n, product.ldc))
        if m is None or n is None or ldc is None or steps[2] < (m - 1) * ldc + n:
            return False
        target: Root = self.places.roots[product.c]
        return all(target.is_apart(self.places.roots[v]) for v in (product.a, product.b))


def _rounds(low: Value, high: Value) -> Value | None:
    first, end = number(low), number(high)
    return None if first is None or end is None else as_value(max(end - first, 0))


def _times(product: Product, rounds: Value, steps: Sequence[int]) -> Value | None:
    """The number of all matrices, where those of a round lie as those of all rounds do."""
    inner, outer = number(product.count), number(rounds)
    if inner == 1:
        return rounds
    if inner is None or outer is None:
        return None
    follows = all(step == inner * before for step, before in zip(steps, product.steps))
    return as_value(inner * outer) if follows else None


def _gemm(operands: Sequence[Value]) -> tuple[Product, Value, Value]:
    flag_a, flag_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc = operands
    flags = (number(flag_a) == TRANS, number(flag_b) == TRANS)
    one = as_value(1)
    return Product(m, n, k, one, a, lda, b, ldb, c, ldc, transposed=flags), alpha, beta


def _gemv(operands: Sequence[Value]) -> tuple[Product, Value, Value]:
    """y = op(A) x as a column; where elements are neighbours as a row, y^T = x^T op(A)^T."""
    flag, rows, columns, alpha, a, lda, x, x_step, beta, y, y_step = operands
    turned = number(flag) == TRANS
    m, k = (columns, rows) if turned else (rows, columns)
    one = as_value(1)
    if number(x_step) == number(y_step) == 1:
        found = Product(one, m, k, one, x, k, a, lda, y, m, transposed=(False, not turned))
    else:
        found = Product(m, one, k, one, a, lda, x, x_step, y, y_step, transposed=(turned, False))
    return found, alpha, beta
