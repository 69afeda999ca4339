"""How `dot` is computed: a folding loop, loops over rows, or BLAS (`ops.blas`).

    %s = for 0, %n, 0.0 {kind="vector", combine=("add",)} (%k: i64, %t: f64) {
      %a = load %x, %k      %b = load %y, %k      %p = mul %a, %b      %r = add %t, %p
      return %r
    }

Integers, bools, outer products and products of a few elements are loops.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from jitnet.ir import ArrayType, Attrs, Dim, Eqn, Literal, Value, as_dim, as_value
from jitnet.ir import types as T
from jitnet.kernel import scalars as s
from jitnet.kernel.statements import load, store
from jitnet.ops.loops import fill, fold, nest
from jitnet.ops.primitive import Context

Axes = tuple[int, ...]
Pairs = tuple[Axes, Axes]

_TINY = 64  # multiplications; below, a call costs more than the loops


class Roles(NamedTuple):
    """Which axes of x and y are what. Paired tuples are as long as each other."""

    batch: Pairs
    contract: Pairs
    free: Pairs


def roles(attrs: Attrs, x_rank: int, y_rank: int) -> Roles:
    """The roles of all axes of a dot's operands."""
    batch, contract = attrs["batch"], attrs["contract"]

    def rest(k: int, rank: int) -> Axes:
        return tuple(i for i in range(rank) if i not in batch[k] and i not in contract[k])

    return Roles(batch, contract, (rest(0, x_rank), rest(1, y_rank)))


def _roles_of(eqn: Eqn) -> Roles:
    x, y = eqn.operands
    return roles(eqn.attrs, x.rank, y.rank)


# -- loops -----------------------------------------------------------------------------------------


def is_inner(eqn: Eqn) -> bool:
    """Whether the result has no axes but batch axes."""
    return not any(_roles_of(eqn).free)


def wants_loops(eqn: Eqn) -> bool:
    """Whether generated loops are the way."""
    x, y = (v.array_type for v in eqn.operands)
    return by_loops(x, y, eqn.attrs)


def by_loops(x: ArrayType, y: ArrayType, attrs: Attrs) -> bool:
    """Whether a product is best computed by loops: exact dtypes, sums of products, outer products,
    very few elements."""
    r = roles(attrs, x.rank, y.rank)
    if not x.dtype.is_float or not r.contract[0] or not any(r.free):
        return True
    count = 1
    for d in (*x.dims, *(y.dims[a] for a in r.free[1])):
        if not isinstance(d, int):
            return False
        count *= d
    return count <= _TINY


def _rows(dtype: T.DType) -> tuple[s.ScalarOp, s.ScalarOp, Literal]:
    """The sum, the product and the zero of a dtype; bools have "any" and "both"."""
    if dtype.is_bool:
        return s.bitwise_or, s.bitwise_and, Literal(False, dtype)
    return s.add, s.mul, Literal(0, dtype)


def _extents(context: Context, operand: Value) -> tuple[Dim, ...]:
    return tuple(as_dim(context.dim(d)) for d in operand.dims)


def _pick(values: Sequence[Dim], axes: Axes) -> list[Value]:
    return [as_value(values[a]) for a in axes]


def _element(source: Value, *groups: tuple[Axes, Sequence[Value]]) -> Value:
    """The element where each group of axes has these indices; a scalar is its own element."""
    where = {a: i for axes, indices in groups for a, i in zip(axes, indices)}
    return load(source, *(where[a] for a in sorted(where))) if where else source


def emit_inner(
    context: Context, eqn: Eqn, inputs: Sequence[Value], outputs: Sequence[Value]
) -> Sequence[Value]:
    """Fold the products of two vectors, for each batch index."""
    (x, y), r = inputs, _roles_of(eqn)
    plus, times, zero = _rows(eqn.operands[0].dtype)
    extents = _extents(context, eqn.operands[0])

    def inner(at: Sequence[Value]) -> Value:
        def term(*k: Value) -> Value:
            left = _element(x, (r.batch[0], at), (r.contract[0], k))
            return times(left, _element(y, (r.batch[1], at), (r.contract[1], k)))

        return fold(_pick(extents, r.contract[0]), term, plus, zero)

    if not outputs:
        return (inner(()),)
    nest(
        _pick(extents, r.batch[0]),
        lambda at: store(outputs[0], inner(at), *at),
        innermost="seq",
    )
    return ()


def emit_loops(
    context: Context, eqn: Eqn, inputs: Sequence[Value], outputs: Sequence[Value]
) -> Sequence[Value]:
    """Rows of the result are updated by multiples of rows of y, which are vectors; where y has no
    axes of its own, each element is a fold."""
    (x, y), (out,), r = inputs, outputs, _roles_of(eqn)
    plus, times, zero = _rows(out.dtype)
    x_extents, y_extents = (_extents(context, v) for v in eqn.operands)
    batch, rows = _pick(x_extents, r.batch[0]), _pick(x_extents, r.free[0])
    depth, columns = _pick(x_extents, r.contract[0]), _pick(y_extents, r.free[1])
    b, f = len(batch), len(rows)

    def left(at: Sequence[Value], k: Sequence[Value]) -> Value:
        return _element(x, (r.batch[0], at[:b]), (r.free[0], at[b:]), (r.contract[0], k))

    def right(at: Sequence[Value], k: Sequence[Value], j: Sequence[Value]) -> Value:
        return _element(y, (r.batch[1], at[:b]), (r.contract[1], k), (r.free[1], j))

    def folded(at: Sequence[Value]) -> None:
        total = fold(depth, lambda *k: times(left(at, k), right(at, k, ())), plus, zero)
        store(out, total, *at)

    def outer(at: Sequence[Value]) -> None:
        factor = left(at, ())
        nest(columns, lambda j: store(out, times(factor, right(at, (), j)), *at, *j))

    def updated(at: Sequence[Value]) -> None:
        place, k = at[: b + f], at[b + f :]
        factor = left(place, k)

        def element(j: Sequence[Value]) -> None:
            term = times(factor, right(place, k, j))
            store(out, plus(load(out, *place, *j), term), *place, *j)

        nest(columns, element)

    if not columns:
        nest([*batch, *rows], folded, innermost="seq")
    elif not depth:
        nest([*batch, *rows], outer, innermost="seq")
    else:
        fill(out, zero, [*batch, *rows, *columns])
        nest([*batch, *rows, *depth], updated, innermost="seq")
    return ()
