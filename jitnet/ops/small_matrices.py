"""Small systems in registers: each matrix is one straight piece of code.

    %swap: bool = gt %size, %largest          // rows are exchanged by selects, not by a branch
    %a00: f64 = select %swap, %a10, %a00

All elements of a matrix are scalars. A loop over many matrices runs them as vectors, one matrix a
lane.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from jitnet.ir import Eqn, Literal, Value, as_value
from jitnet.ir import types as T
from jitnet.kernel import scalars as s
from jitnet.kernel.statements import load, store
from jitnet.ops.loops import nest
from jitnet.ops.matrix_stacks import (
    FALSE,
    Index,
    Stack,
    divisor_of,
    gathered,
    number_of,
    one_of,
    signed,
    stack_of,
    times,
)
from jitnet.ops.primitive import Context

_SIDES = 25  # the most elements of right sides that get code of their own

Row = list[Value]


class _Eliminated(NamedTuple):
    """A matrix in registers, made upper triangular.

    Attributes:
        rows: the triangle; what is below it is not defined.
        steps: for each column, the exchanges `(row, whether)` with the row of the column, then the
            multiples `(row, factor)` of that row that were taken off the rows below.
        odd: whether the number of exchanges is odd.
        singular: whether a pivot is zero.
    """

    rows: list[Row]
    steps: list[tuple[list[tuple[int, Value]], list[tuple[int, Value]]]]
    odd: Value
    singular: Value


def _exchange(swap: Value, x: Value, y: Value) -> tuple[Value, Value]:
    return s.select(swap, y, x), s.select(swap, x, y)


def _either(x: Value, y: Value) -> Value:
    return y if x is FALSE else s.bitwise_or(x, y)


def _eliminate(stack: Stack, at: Index) -> _Eliminated:
    n = stack.order
    rows = [[load(stack.source, *at, i, j) for j in range(n)] for i in range(n)]
    steps = []
    odd: Value = FALSE
    singular: Value = FALSE
    for k in range(n):
        swaps, factors = [], []
        for i in range(k + 1, n):
            swap = s.gt(s.abs(rows[i][k]), s.abs(rows[k][k]))
            for j in range(k, n):
                rows[k][j], rows[i][j] = _exchange(swap, rows[k][j], rows[i][j])
            odd = swap if odd is FALSE else s.bitwise_xor(odd, swap)
            swaps.append((i, swap))
        singular = _either(singular, s.eq(rows[k][k], 0.0))
        for i in range(k + 1, n):
            factor = s.div(rows[i][k], divisor_of(rows[k][k]))
            for j in range(k + 1, n):
                rows[i][j] = s.sub(rows[i][j], s.mul(factor, rows[k][j]))
            factors.append((i, factor))
        steps.append((swaps, factors))
    return _Eliminated(rows, steps, odd, singular)


def _substitute(e: _Eliminated, column: Row) -> Row:
    """The solution for one right side."""
    for k, (swaps, factors) in enumerate(e.steps):
        for i, swap in swaps:
            column[k], column[i] = _exchange(swap, column[k], column[i])
        for i, factor in factors:
            column[i] = s.sub(column[i], s.mul(factor, column[k]))
    for i in reversed(range(len(column))):
        for j in range(i + 1, len(column)):
            column[i] = s.sub(column[i], s.mul(e.rows[i][j], column[j]))
        column[i] = s.div(column[i], e.rows[i][i])
    return column


def solve(
    context: Context, eqn: Eqn, inputs: Sequence[Value], outputs: Sequence[Value]
) -> Sequence[Value]:
    """Few right sides are straight code too, many are a loop."""
    stack, b, x = stack_of(context, eqn, inputs), inputs[1], outputs[0]
    n, columns = stack.order, context.dim(eqn.operands[1].dims[-1])
    few = isinstance(columns, Literal) and columns.item * n <= _SIDES

    def one(at: Index) -> Sequence[Value]:
        e = _eliminate(stack, at)

        def right_side(c: Index) -> None:
            found = _substitute(e, [load(b, *at, i, *c) for i in range(n)])
            for i, value in enumerate(found):
                store(x, value, *at, i, *c)

        if isinstance(columns, Literal) and few:
            for c in range(columns.item):
                right_side((as_value(c),))
        else:
            nest((columns,), right_side)
        return (e.singular,)

    return stack.each(outputs[1:], one, innermost="vector" if few else "seq")


def _pivots(stack: Stack, at: Index) -> tuple[list[Value], Value]:
    e = _eliminate(stack, at)
    return [e.rows[i][i] for i in range(stack.order)], e.odd


def det(
    context: Context, eqn: Eqn, inputs: Sequence[Value], outputs: Sequence[Value]
) -> Sequence[Value]:
    """The product of the pivots, by mantissas and exponents: parts of it may be out of range."""
    stack = stack_of(context, eqn, inputs)

    def one(at: Index) -> Sequence[Value]:
        pivots, odd = _pivots(stack, at)
        product: tuple[Value, Value] = (one_of(stack), Literal(0, T.i32))
        for pivot in pivots:
            product = times(product, pivot)
        return (number_of(odd, *product),)

    return stack.each(outputs, one, innermost="vector")


def slogdet(
    context: Context, eqn: Eqn, inputs: Sequence[Value], outputs: Sequence[Value]
) -> Sequence[Value]:
    """The signs and the logarithms of the pivots."""
    stack = stack_of(context, eqn, inputs)

    def one(at: Index) -> Sequence[Value]:
        pivots, odd = _pivots(stack, at)
        sign = signed(odd, one_of(stack))
        logarithm: Value = Literal(0, stack.dtype)
        for pivot in pivots:
            sign, logarithm = gathered(sign, logarithm, pivot)
        return sign, logarithm

    return stack.each(outputs, one, innermost="vector")


def cholesky(
    context: Context, eqn: Eqn, inputs: Sequence[Value], outputs: Sequence[Value]
) -> Sequence[Value]:
    """Row by row; only the lower triangle is read."""
    stack, out = stack_of(context, eqn, inputs), outputs[0]
    n = stack.order

    def one(at: Index) -> Sequence[Value]:
        rows: list[Row] = []
        bad: Value = FALSE
        for i in range(n):
            row: Row = []
            for j in range(i + 1):
                value = load(stack.source, *at, i, j)
                for k in range(j):
                    value = s.sub(value, s.mul(row[k], rows[j][k] if j < i else row[k]))
                if j == i:
                    bad = _either(bad, s.le(value, 0.0))
                row.append(s.sqrt(value) if j == i else s.div(value, rows[j][j]))
            rows.append(row)
        for i in range(n):
            for j in range(n):
                store(out, rows[i][j] if j <= i else Literal(0, stack.dtype), *at, i, j)
        return (bad,)

    return stack.each(outputs[1:], one, innermost="vector")
