"""Larger systems: Gauss's elimination by loops, and LAPACK.

    call_extern %n, %n, %a, %n, %pivots {name="dgetrf"}

Up to 16 x 16, loops over a copy are quicker than a call. LAPACK takes matrices by columns: to it,
the rows of a matrix are the columns of the transposed one, so it is asked to solve with the
transpose.

Every way exchanges rows for the largest pivot, the first one where several are as large.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from jitnet.ir import Eqn, Literal, Value, as_value
from jitnet.ir import types as T
from jitnet.kernel import scalars as s
from jitnet.kernel.externs import TRANSPOSED, UPPER
from jitnet.kernel.indices import ONE, ZERO, add, subtract
from jitnet.kernel.statements import branch, call_extern, load, loop, store
from jitnet.ops.loops import fold, nest
from jitnet.ops.matrix_stacks import (
    FALSE,
    Index,
    Stack,
    divisor_of,
    fits_loops,
    gathered,
    number_of,
    one_of,
    release,
    signed,
    stack_of,
    times,
)
from jitnet.ops.primitive import Context

# -- loops -----------------------------------------------------------------------------------------


class _Factors(NamedTuple):
    """A matrix in memory, factored: the pivots are on its diagonal.

    Attributes:
        odd: whether the number of exchanges is odd.
        singular: whether a pivot is zero.
    """

    odd: Value
    singular: Value


def _copy_in(stack: Stack, target: Value, at: Index) -> None:
    n = stack.n
    nest((n, n), lambda ij: store(target, load(stack.source, *at, *ij), *ij))


def _eliminate_loops(matrix: Value, n: Value, sides: tuple[Value, Index, Value] | None) -> _Factors:
    """Make a matrix upper triangular, and do the same to right sides `(buffer, at, columns)`."""

    def exchange(k: Value, p: Value) -> None:
        def across(buffer: Value, at: Index, columns: Value) -> None:
            def one(c: Index) -> None:
                x, y = load(buffer, *at, k, *c), load(buffer, *at, p, *c)
                store(buffer, y, *at, k, *c)
                store(buffer, x, *at, p, *c)

            nest((columns,), one)

        across(matrix, (), n)
        if sides is not None:
            across(*sides)

    def step(k: Value, odd: Value, singular: Value) -> tuple[Value, Value]:
        p = _largest(matrix, n, k)
        moved = s.ne(p, k)
        branch(moved, lambda: exchange(k, p))
        pivot = load(matrix, k, k)

        def below(i: Value) -> tuple[()]:
            factor = s.div(load(matrix, i, k), divisor_of(pivot))
            following = add(k, ONE)

            def take_off(buffer: Value, at: Index, low: Value, high: Value) -> None:
                def one(j: Value) -> tuple[()]:
                    value = s.mul(factor, load(buffer, *at, k, j))
                    store(buffer, s.sub(load(buffer, *at, i, j), value), *at, i, j)
                    return ()

                loop(low, high, one, kind="vector", name="j")

            take_off(matrix, (), following, n)
            if sides is not None:
                take_off(sides[0], sides[1], ZERO, sides[2])
            return ()

        loop(add(k, ONE), n, below, name="i")
        return s.bitwise_xor(odd, moved), s.bitwise_or(singular, s.eq(pivot, 0.0))

    odd, singular = loop(0, n, step, (FALSE, FALSE), name="k")
    return _Factors(odd, singular)


def _largest(matrix: Value, n: Value, k: Value) -> Value:
    """The row of the pivot of column k."""

    def step(i: Value, best: Value, place: Value) -> tuple[Value, Value]:
        size = s.abs(load(matrix, i, k))
        better = s.gt(size, best)
        return s.select(better, size, best), s.select(better, i, place)

    return loop(add(k, ONE), n, step, (s.abs(load(matrix, k, k)), k), name="i")[1]


def _substitute_loops(matrix: Value, n: Value, x: Value, at: Index, columns: Value) -> None:
    """Right sides become solutions, from the last row up."""

    def row(step: Value) -> tuple[()]:
        i = subtract(subtract(n, ONE), step)

        def take_off(j: Value) -> tuple[()]:
            factor = load(matrix, i, j)

            def one(c: Index) -> None:
                value = s.mul(factor, load(x, *at, j, *c))
                store(x, s.sub(load(x, *at, i, *c), value), *at, i, *c)

            nest((columns,), one)
            return ()

        loop(add(i, ONE), n, take_off, name="j")
        pivot = load(matrix, i, i)
        nest((columns,), lambda c: store(x, s.div(load(x, *at, i, *c), pivot), *at, i, *c))
        return ()

    loop(0, n, row, name="i")


def solve_loops(
    context: Context, eqn: Eqn, inputs: Sequence[Value], outputs: Sequence[Value]
) -> Sequence[Value]:
    """Gauss's elimination, with the right sides in the place of the solution."""
    stack, b, x = stack_of(context, eqn, inputs), inputs[1], outputs[0]
    n, columns = stack.n, context.dim(eqn.operands[1].dims[-1])
    matrix = stack.scratch(n, n, name="matrix")

    def one(at: Index) -> Sequence[Value]:
        _copy_in(stack, matrix, at)
        nest((n, columns), lambda ic: store(x, load(b, *at, *ic), *at, *ic))
        factors = _eliminate_loops(matrix, n, (x, at, columns))
        _substitute_loops(matrix, n, x, at, columns)
        return (factors.singular,)

    return stack.each(outputs[1:], one)


def cholesky_loops(
    context: Context, eqn: Eqn, inputs: Sequence[Value], outputs: Sequence[Value]
) -> Sequence[Value]:
    """Row by row, each element by the product of two rows so far."""
    stack, out = stack_of(context, eqn, inputs), outputs[0]
    n = stack.n

    def one(at: Index) -> Sequence[Value]:
        def element(i: Value, j: Value) -> Value:
            def term(k: Value) -> Value:
                return s.mul(load(out, *at, i, k), load(out, *at, j, k))

            before = fold((j,), term, s.add, Literal(0, stack.dtype))
            return s.sub(load(stack.source, *at, i, j), before)

        def row(i: Value, bad: Value) -> tuple[Value]:
            def left(j: Value) -> tuple[()]:
                store(out, s.div(element(i, j), load(out, *at, j, j)), *at, i, j)
                return ()

            loop(0, i, left, name="j")
            square = element(i, i)
            store(out, s.sqrt(square), *at, i, i)
            _clear_after(out, at, i, n)
            return (s.bitwise_or(bad, s.le(square, 0.0)),)

        return loop(0, n, row, (FALSE,), name="i")

    return stack.each(outputs[1:], one)


def _clear_after(out: Value, at: Index, i: Value, n: Value) -> None:
    """Zeros behind the diagonal in row i."""

    def one(j: Value) -> tuple[()]:
        store(out, Literal(0, out.dtype), *at, i, j)
        return ()

    loop(add(i, ONE), n, one, kind="vector", name="j")


# -- LAPACK ----------------------------------------------------------------------------------------


def _routine(stack: Stack, name: str) -> str:
    return ("s" if stack.dtype == T.f32 else "d") + name


def _lead(n: Value) -> Value:
    """Leading dimensions are at least 1, those of empty matrices too."""
    return s.maximum(n, ONE) if not isinstance(n, Literal) else as_value(max(int(n.item), 1))


def _factor_called(stack: Stack, matrix: Value, pivots: Value) -> _Factors:
    """Factor the matrix, of which LAPACK sees the transpose."""
    n = stack.n
    call_extern(_routine(stack, "getrf"), (n, n, matrix, _lead(n), pivots))

    def step(k: Value, odd: Value, singular: Value) -> tuple[Value, Value]:
        moved = s.ne(s.cast(load(pivots, k), T.i64), add(k, ONE))
        zero = s.eq(load(matrix, k, k), 0.0)
        return s.bitwise_xor(odd, moved), s.bitwise_or(singular, zero)

    odd, singular = loop(0, n, step, (FALSE, FALSE), name="k")
    return _Factors(odd, singular)


def solve_called(
    context: Context, eqn: Eqn, inputs: Sequence[Value], outputs: Sequence[Value]
) -> Sequence[Value]:
    """getrf, then getrs on the transposed right sides."""
    stack, b, x = stack_of(context, eqn, inputs), inputs[1], outputs[0]
    n, columns = stack.n, context.dim(eqn.operands[1].dims[-1])
    matrix = stack.scratch(n, n, name="matrix")
    sides = stack.scratch(columns, n, name="sides")
    pivots = stack.scratch(n, dtype=T.i32, name="pivots")

    def one(at: Index) -> Sequence[Value]:
        _copy_in(stack, matrix, at)
        nest((columns, n), lambda ci: store(sides, load(b, *at, ci[1], ci[0]), *ci))
        factors = _factor_called(stack, matrix, pivots)
        flag, lead = Literal(TRANSPOSED, T.i32), _lead(n)
        call_extern(_routine(stack, "getrs"), (flag, n, columns, matrix, lead, pivots, sides, lead))
        nest((n, columns), lambda ic: store(x, load(sides, ic[1], ic[0]), *at, *ic))
        return (factors.singular,)

    found = stack.each(outputs[1:], one)
    release(matrix, sides, pivots)
    return found


def cholesky_called(
    context: Context, eqn: Eqn, inputs: Sequence[Value], outputs: Sequence[Value]
) -> Sequence[Value]:
    """potrf: the lower triangle by rows is the upper one by columns."""
    stack, out = stack_of(context, eqn, inputs), outputs[0]
    n = stack.n
    matrix = stack.scratch(n, n, name="matrix")

    def one(at: Index) -> Sequence[Value]:
        _copy_in(stack, matrix, at)
        call_extern(_routine(stack, "potrf"), (Literal(UPPER, T.i32), n, matrix, _lead(n)))

        def row(i: Value, bad: Value) -> tuple[Value]:
            def one(j: Value) -> tuple[()]:
                store(out, load(matrix, i, j), *at, i, j)
                return ()

            loop(0, add(i, ONE), one, kind="vector", name="j")
            _clear_after(out, at, i, n)
            return (s.bitwise_or(bad, s.le(load(matrix, i, i), 0.0)),)

        return loop(0, n, row, (FALSE,), name="i")

    found = stack.each(outputs[1:], one)
    release(matrix)
    return found


# -- determinants by memory ------------------------------------------------------------------------


def _by_pivots(
    context: Context,
    eqn: Eqn,
    inputs: Sequence[Value],
    outputs: Sequence[Value],
    finish: Callable[[Stack, Value, Value], Sequence[Value]],
) -> Sequence[Value]:
    """Factor each matrix, then fold the pivots: `finish(stack, factored matrix, odd)`."""
    stack = stack_of(context, eqn, inputs)
    n = stack.n
    matrix = stack.scratch(n, n, name="matrix")
    pivots = None if fits_loops(eqn) else stack.scratch(n, dtype=T.i32, name="pivots")

    def one(at: Index) -> Sequence[Value]:
        _copy_in(stack, matrix, at)
        if pivots is None:
            factors = _eliminate_loops(matrix, n, None)
        else:
            factors = _factor_called(stack, matrix, pivots)
        return finish(stack, matrix, factors.odd)

    found = stack.each(outputs, one)
    release(matrix, *([] if pivots is None else [pivots]))
    return found


def det_in_memory(
    context: Context, eqn: Eqn, inputs: Sequence[Value], outputs: Sequence[Value]
) -> Sequence[Value]:
    """The product of the pivots."""

    def finish(stack: Stack, matrix: Value, odd: Value) -> Sequence[Value]:
        def step(k: Value, mantissa: Value, exponent: Value) -> tuple[Value, Value]:
            return times((mantissa, exponent), load(matrix, k, k))

        start = (one_of(stack), Literal(0, T.i32))
        mantissa, exponent = loop(0, stack.n, step, start, name="k")
        return (number_of(odd, mantissa, exponent),)

    return _by_pivots(context, eqn, inputs, outputs, finish)


def slogdet_in_memory(
    context: Context, eqn: Eqn, inputs: Sequence[Value], outputs: Sequence[Value]
) -> Sequence[Value]:
    """The signs and the logarithms of the pivots."""

    def finish(stack: Stack, matrix: Value, odd: Value) -> Sequence[Value]:
        def step(k: Value, sign: Value, logarithm: Value) -> tuple[Value, Value]:
            return gathered(sign, logarithm, load(matrix, k, k))

        start = (signed(odd, one_of(stack)), Literal(0, stack.dtype))
        return loop(0, stack.n, step, start, name="k")

    return _by_pivots(context, eqn, inputs, outputs, finish)
