"""Small matrix products, and stacks of them, as loops: a library call costs more than these.

    call_extern 111, 111, 8, 8, 16, 1.0, %a, 16, %b, 8, 0.0, %c, 8 {name='sgemm'}
    ->
    for 0, 8 {kind='parallel'} @row(%i) { for 0, 8 {kind='parallel'} @column(%j) {
      %t = for 0, 16, 0.0 @body(%k, %sum) { return fma(%a[%i, %k], %b[%k, %j], %sum) }
      store %c, %t, %i, %j
    } }

A loop over a stack becomes independent so, and is one launch; a loop over small states has no
library call in it, and is one kernel. Terms come in order, with one rounding each. Which of the
loops that are left in the end go through tiles in shared memory is a matter of `product_nests`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from jitnet.codegen.cuda.product_nests import LARGEST_PRODUCT
from jitnet.codegen.cuda.rows import is_scalar_op
from jitnet.ir import Builder, Eqn, Function, Literal, Value
from jitnet.kernel import scalars as s
from jitnet.kernel import statements as S
from jitnet.kernel.externs import NO_TRANS

LARGEST_OF_STACK = 128 * 128 * 128
"""The same for each product of a stack, whose loop would call the library again and again."""

_ROUTINES = ("sgemm", "dgemm", "sgemv", "dgemv")


def multiplied(f: Function) -> Function:
    """The kernel Function with loops in the place of calls for small products."""
    return replace(f, eqns=tuple(_region(f.eqns, LARGEST_PRODUCT)), _hash=[])


def _region(eqns: Sequence[Eqn], largest: int) -> list[Eqn]:
    done: list[Eqn] = []
    for eqn in eqns:
        if eqn.op is S.CALL_EXTERN and eqn.attrs["name"] in _ROUTINES:
            done += _product(eqn, largest) or (eqn,)
            continue
        limit = LARGEST_OF_STACK if _is_stack(eqn) else largest
        regions = tuple(
            replace(r, eqns=tuple(_region(r.eqns, limit)), _hash=[]) for r in eqn.regions
        )
        done.append(replace(eqn, regions=regions))
    return done


def _is_stack(eqn: Eqn) -> bool:
    """Whether a loop does nothing but call for products."""
    if eqn.op is not S.FOR or len(eqn.operands) > 2:
        return False
    inner = eqn.regions[0].eqns
    return all(
        is_scalar_op(e) or e.op in (S.VIEW, S.LOAD) or _is_stack(e) or _is_call(e) for e in inner
    )


def _is_call(eqn: Eqn) -> bool:
    return eqn.op is S.CALL_EXTERN and eqn.attrs["name"] in _ROUTINES


def _product(eqn: Eqn, largest: int) -> Sequence[Eqn] | None:
    known: list[Any] = [v.item if isinstance(v, Literal) else v for v in eqn.operands]
    with Builder("product", "kernel") as b, b.at(eqn.loc):
        if eqn.attrs["name"][1:] == "gemm":
            trans_a, trans_b, m, n, k, alpha, a, lda, b_, ldb, beta, c, ldc = known
            sizes = [m, n, k, lda, ldb, ldc]
            if not all(isinstance(x, int) for x in sizes) or m * n * k > largest:
                return None
            left = _matrix(a, m, k, lda, trans_a)
            right = _matrix(b_, k, n, ldb, trans_b)
            out = S.view(c, 0, (m, n), (ldc, 1))
        else:
            trans_a, m, n, alpha, a, lda, x, x_step, beta, y, y_step = known
            sizes = [m, n, lda, x_step, y_step]
            if not all(isinstance(x, int) for x in sizes) or m * n > largest:
                return None
            m, k, n = (m, n, 1) if trans_a == NO_TRANS else (n, m, 1)
            left = _matrix(a, m, k, lda, trans_a)
            right = S.view(x, 0, (k, 1), (x_step, 1))
            out = S.view(y, 0, (m, 1), (y_step, 1))
        _loops(left, right, out, (m, n, k), (alpha, beta))
    return b.eqns


def _matrix(buffer: Value, rows: int, columns: int, lead: int, flag: int) -> Value:
    """The operand that a flag and a distance of rows describe."""
    strides = (lead, 1) if flag == NO_TRANS else (1, lead)
    return S.view(buffer, 0, (rows, columns), strides)


def _loops(
    left: Value, right: Value, out: Value, extents: tuple[int, int, int], factors: Sequence[Any]
) -> None:
    m, n, k = extents
    alpha, beta = (f if isinstance(f, Value) else Literal(f, out.dtype) for f in factors)

    def element(i: Value, j: Value) -> None:
        def term(at: Value, so_far: Value) -> Sequence[Value]:
            return (s.fma(S.load(left, i, at), S.load(right, at, j), so_far),)

        (total,) = S.loop(0, k, term, (Literal(0.0, out.dtype),), name="k")
        if not _is(alpha, 1.0):
            total = s.mul(alpha, total)
        if not _is(beta, 0.0):
            total = s.add(total, s.mul(beta, S.load(out, i, j)))
        S.store(out, total, i, j)

    if n == 1:
        zero = S.as_index(0)
        S.loop(0, m, lambda i: element(i, zero), kind="parallel", name="i")
    else:
        _nest(m, n, element)


def _nest(m: int, n: int, body: Callable[[Value, Value], None]) -> None:
    def row(i: Value) -> None:
        S.loop(0, n, lambda j: body(i, j), kind="parallel", name="j")

    S.loop(0, m, row, kind="parallel", name="i")


def _is(v: Value, x: float) -> bool:
    return isinstance(v, Literal) and v.item == x
