"""Stacks of square matrices in memory, for the kernels of `solvers`: sizes, loops, and pivots.

    for 0, 100 {kind='vector'} @body(%i0: i64) {     // each matrix of f64[100, 3, 3]
      ...                                            // the scalars of one go to place %i0
    }

Determinants are products of pivots. They are kept as mantissa and exponent, since a part of such a
product may be out of the dtype's range when the whole is not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from jitnet.ir import Eqn, Literal, Value, as_dim
from jitnet.ir import types as T
from jitnet.kernel import scalars as s
from jitnet.kernel.statements import alloc, free, store
from jitnet.ops.loops import nest
from jitnet.ops.primitive import Context

_REGISTERS = 4  # the largest matrix that is held in registers
_STACKED = 6  # the same for stacks, for which vectors pay for more code
_LOOPS = 16  # the largest matrix that loops are quicker for than a call

Index = tuple[Value, ...]
FALSE = Literal(False, T.bool_)


def fits_registers(eqn: Eqn) -> bool:
    """Whether the matrices are known to be so small that they fit into registers."""
    return _order(eqn) <= (_STACKED if eqn.operands[0].rank > 2 else _REGISTERS)


def fits_loops(eqn: Eqn) -> bool:
    """Whether the matrices are known to be small."""
    return _order(eqn) <= _LOOPS


def _order(eqn: Eqn) -> int:
    n = eqn.operands[0].dims[-1]
    return n if isinstance(n, int) else _LOOPS + 1


class Stack(NamedTuple):
    """A stack of square matrices.

    Attributes:
        source: the buffer.
        batch: the extents of its leading axes.
        n: the order of the matrices.
    """

    source: Value
    batch: tuple[Value, ...]
    n: Value

    @property
    def order(self) -> int:
        """The order where it is known."""
        n = as_dim(self.n)
        assert isinstance(n, int)
        return n

    @property
    def dtype(self) -> T.DType:
        return self.source.dtype

    def scratch(self, *dims: Value, dtype: T.DType | None = None, name: str = "") -> Value:
        return alloc(dtype or self.dtype, [as_dim(d) for d in dims], name)

    def each(
        self,
        outputs: Sequence[Value],
        body: Callable[[Index], Sequence[Value]],
        innermost: str = "seq",
    ) -> Sequence[Value]:
        """`body` gives the scalars of one matrix: they are stored, or returned where there is but
        one matrix."""
        if not self.batch:
            return body(())

        def one(at: Index) -> None:
            for out, value in zip(outputs, body(at), strict=True):
                store(out, value, *at)

        nest(self.batch, one, innermost=innermost)
        return ()


def stack_of(context: Context, eqn: Eqn, inputs: Sequence[Value]) -> Stack:
    extents = [context.dim(d) for d in eqn.operands[0].dims]
    return Stack(inputs[0], tuple(extents[:-2]), extents[-1])


def release(*buffers: Value) -> None:
    for buffer in buffers:
        if not all(isinstance(d, int) for d in buffer.dims):
            free(buffer)


# -- pivots ----------------------------------------------------------------------------------------


def divisor_of(pivot: Value) -> Value:
    """What a column is divided by: a pivot of zero stands over zeros only."""
    return s.select(s.eq(pivot, 0.0), Literal(1, pivot.dtype), pivot)


def one_of(stack: Stack) -> Value:
    return Literal(1, stack.dtype)


def _negative(x: Value) -> Value:
    """-x, of zero +0.0."""
    return s.sub(Literal(0, x.dtype), x)


def signed(odd: Value, x: Value) -> Value:
    return x if odd is FALSE else s.select(odd, _negative(x), x)


def times(product: tuple[Value, Value], pivot: Value) -> tuple[Value, Value]:
    """A product as mantissa and exponent, times a pivot."""
    mantissa, exponent = product
    wide = s.mul(mantissa, s.frexp_mantissa(pivot))
    exponent = s.add(exponent, s.add(s.frexp_exponent(pivot), s.frexp_exponent(wide)))
    return s.frexp_mantissa(wide), exponent


def number_of(odd: Value, mantissa: Value, exponent: Value) -> Value:
    """A product put together. Zero has no sign, a number too small for the dtype has."""
    zero = Literal(0, mantissa.dtype)
    product = s.ldexp(signed(odd, mantissa), exponent)
    return s.select(s.eq(mantissa, zero), zero, product)


def gathered(sign: Value, logarithm: Value, pivot: Value) -> tuple[Value, Value]:
    """Sign and logarithm of a product, times a pivot; the sign of nothing is 0."""
    turned = s.select(s.lt(pivot, 0.0), _negative(sign), sign)
    zero = Literal(0, pivot.dtype)
    sign = s.select(s.eq(pivot, 0.0), zero, turned)
    return sign, s.add(logarithm, s.log(s.abs(pivot)))
