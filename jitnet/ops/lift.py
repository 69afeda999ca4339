"""Scalar rows lifted to arrays: the constructor `pointwise`, and the ops that tangents go through.

    %y = zmul %coefficient, %t {}        // f64[3]: 0 where either factor is 0, even times inf

A pointwise op takes operands of the same dims; a `Literal` stands for every element. Type rule,
reference, lowering and cost come from the row of `kernel.scalars`; what is written here is the
derivative. `add = pointwise("add", ...)` is both the op and the function that binds it.

`add, sub, neg, mul, zmul, select` live in this file because the derivative of every other pointwise
op is put together from them: a tangent is a sum of `zmul(partial, t)`.
"""

from __future__ import annotations

import cmath
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from jitnet.ir import (
    ArrayType,
    Attrs,
    Dim,
    DType,
    Eqn,
    Function,
    Literal,
    Type,
    TypeRuleError,
    Value,
    current,
)
from jitnet.ir import types as T
from jitnet.kernel import scalars as s
from jitnet.kernel.scalars import ScalarOp
from jitnet.ops.lanes import batch_elements
from jitnet.ops.pairs import Split
from jitnet.ops.primitive import (
    Context,
    Element,
    JvpRule,
    JvpTransform,
    Linear,
    Paired,
    Primitive,
    Sample,
    Tangents,
    TransposeRule,
    TransposeTransform,
    nondifferentiable,
    not_linear,
    not_linear_error,
)
from jitnet.ops.samples import Domain, pointwise_samples

Number = float | complex | bool
"""A Python number where a builder function takes a Value: a Literal of the other's dtype."""

Partial = Callable[..., Value]
"""`(*operands, result) -> derivative of the result in one operand`, elementwise."""

Contribution = Callable[..., Value]
"""`(cotangent, *operands) -> cotangent of one operand`, given that the op is linear in it."""

SAME = Element(
    lambda context, eqn, index: context.load(0, index),
    view=True,
    pointwise=True,
    strided=lambda eqn, dim, offset, strides: (offset, strides),
)
"""The lowering of what hands on its operand."""

_WEAK = {"b": T.bool_, "i": T.i64, "u": T.u64, "f": T.f64}


class OnPairs(NamedTuple):
    """What a pointwise op does with complex numbers, where its row takes floats.

    Attributes:
        compute: `(*operands) -> result`, of pairs, and of values where the row takes no floats.
        result: "same" (complex), "real" or "bool".
        numpy: the reference on complex numbers, where it is not the row's.
    """

    compute: Callable[..., Paired]
    result: str = "same"
    numpy: Callable[..., Any] | None = None


class Pointwise(Primitive):
    """A row lifted to arrays. Calling it binds it into the current builder.

    Attributes:
        row: the row.
        on_pairs: how it computes on complex numbers; `complexes` sets it, for it is written in
            terms of these ops.
    """

    on_pairs: OnPairs | None = None

    def __init__(
        self,
        row: ScalarOp,
        *,
        jvp: JvpRule,
        transpose: TransposeRule,
        samples: Callable[[], Iterable[Sample]],
    ) -> None:
        self.row = row

        def infer(
            operands: Sequence[Value], attrs: Attrs, regions: Sequence[Function]
        ) -> tuple[Type, ...]:
            dims = common_dims(row.name, operands)
            return (ArrayType(self.result_dtype([v.dtype for v in operands]), dims),)

        def reference(eqn: Eqn, *operands: Any) -> tuple[Any, ...]:
            return (self.evaluate(*operands),)

        def emit(context: Context, eqn: Eqn, index: Sequence[Value]) -> Value:
            operands = [
                v if isinstance(v, Literal) else context.load(k, index)
                for k, v in enumerate(eqn.operands)
            ]
            return row(*operands)

        super().__init__(
            row.name,
            infer=infer,
            numpy=reference,
            jvp=jvp,
            transpose=transpose,
            batch=batch_elements,
            lower=[Element(emit, pointwise=True, cost=row.cost)],
            samples=samples,
            facts=row.facts,
            pairs=self._pairs,
        )

    def result_dtype(self, dtypes: Sequence[DType]) -> DType:
        """The dtype of the result.

        Raises:
            TypeRuleError: for dtypes that the op does not take.
        """
        found = next((d for d in dtypes if d.is_complex), None)
        if found is None:
            return self.row.result_dtype(dtypes)
        if self.on_pairs is None:
            raise TypeRuleError(f"{self.name} does not take complex numbers")
        takes_floats = ["f" in kinds or kinds == "=" for kinds in self.row.operands]
        if any(takes != (d == found) for takes, d in zip(takes_floats, dtypes, strict=True)):
            raise TypeRuleError(f"{self.name} on {', '.join(map(str, dtypes))}: cast first")
        return {"same": found, "real": found.half, "bool": T.bool_}[self.on_pairs.result]

    def evaluate(self, *operands: Any) -> Any:
        """The reference on NumPy's arrays and scalars."""
        numpy = self.row.numpy
        if self.on_pairs is not None and any(x.dtype.kind == "c" for x in operands):
            numpy = self.on_pairs.numpy or numpy
        return numpy(*operands)

    def _pairs(self, eqn: Eqn, operands: Sequence[Paired], split: Split) -> Sequence[Paired]:
        assert self.on_pairs is not None, "the type rule has refused complex numbers"
        return (self.on_pairs.compute(*operands),)

    def __call__(self, *operands: Value | Number) -> Value:
        """Bind into the current builder; literals alone are folded on the spot.

        Raises:
            TypeRuleError: for operands of other dtypes or dims than the row takes.
        """
        values = self._as_values(operands)
        if all(isinstance(v, Literal) for v in values):
            return self._fold([v for v in values if isinstance(v, Literal)])
        (result,) = current().bind(self, values)
        return result

    def _as_values(self, operands: Sequence[Value | Number]) -> list[Value]:
        """Python numbers become Literals of the last Value's dtype, or, where the row takes no such
        operand (the exponent of ldexp), of the widest dtype that it takes."""
        dtypes = [v.dtype for v in operands if isinstance(v, Value)]
        values: list[Value] = []
        for kinds, v in zip(self.row.operands, operands, strict=True):
            if isinstance(v, Value):
                values.append(v)
                continue
            dtype = dtypes[-1]
            if kinds != "=" and dtype.kind not in kinds and not dtype.is_complex:
                dtype = _WEAK[kinds[0]]
            values.append(Literal(v, dtype))
        return values

    def _fold(self, operands: Sequence[Literal]) -> Literal:
        dtype = self.result_dtype([v.dtype for v in operands])
        with np.errstate(all="ignore"):
            return Literal(self.evaluate(*(v.data for v in operands)), dtype)


def common_dims(name: str, operands: Sequence[Value]) -> tuple[Dim, ...]:
    """The dims that all operands but the Literals have; () if there are only Literals."""
    dims: tuple[Dim, ...] | None = None
    for v in operands:
        if not isinstance(v.type, ArrayType):
            raise TypeRuleError(f"{name} takes arrays, not {v.type}")
        if isinstance(v, Literal):
            continue
        if dims is not None and v.dims != dims:
            raise TypeRuleError(f"{name} of dims {dims} and {v.dims}: broadcast first")
        dims = v.dims
    return dims or ()


def pointwise(
    name: str,
    row: ScalarOp,
    *,
    partials: Sequence[Partial | None] | None = None,
    jvp: JvpRule | None = None,
    transpose: TransposeRule = not_linear,
    domain: Domain | Sequence[Domain] = "any",
) -> Pointwise:
    """The array op of a scalar row.

    Args:
        name: must be the row's.
        partials: one per operand, None where the derivative is zero wherever it exists.
        jvp: a rule of its own, instead of partials. Neither: nondifferentiable.
        transpose: for the few ops that tangents pass through.
        domain: where the op is defined and smooth, for samples; one for all operands or one each.
    """
    assert name == row.name, f"op {name!r} is the row {row.name!r}"
    rule = jvp or (jvp_of_partials(partials) if partials else nondifferentiable)
    return Pointwise(
        row, jvp=rule, transpose=transpose, samples=lambda: pointwise_samples(row, domain)
    )


# -- derivatives -----------------------------------------------------------------------------------


def accumulate(total: Value | None, term: Value | None) -> Value | None:
    """`total + term`, where None is zero."""
    if total is None or term is None:
        return term if total is None else total
    return add(total, term)


def scale(coefficient: Value, t: Value) -> Value | None:
    """`coefficient * t` with a strong zero: 0 where the tangent (or cotangent) t is 0, whatever the
    coefficient. None is zero; a finite literal needs no guard."""
    if not isinstance(coefficient, Literal) or not cmath.isfinite(coefficient.item):
        return zmul(coefficient, t)
    if coefficient.item == 0:
        return None
    if coefficient.item == 1:
        return t
    return neg(t) if coefficient.item == -1 else mul(t, coefficient)


def jvp_of_partials(partials: Sequence[Partial | None]) -> JvpRule:
    """The rule `sum of zmul(partial_i, t_i)`; partials are only built where there is a tangent."""

    def rule(
        eqn: Eqn, primals: Sequence[Value], tangents: Tangents, jvp: JvpTransform
    ) -> tuple[Sequence[Value], Tangents]:
        (y,) = current().rebind(eqn, primals)
        total: Value | None = None
        for partial, t in zip(partials, tangents, strict=True):
            if partial is not None and t is not None and y.dtype.is_inexact:
                total = accumulate(total, scale(partial(*primals, y), t))
        return (y,), (total,)

    return rule


def jvp_of_linear(combine: Callable[..., Value | None]) -> JvpRule:
    """The rule of a linear op: `combine(eqn, primals, tangents)` is the result's tangent. It is
    called where at least one tangent is not zero."""

    def rule(
        eqn: Eqn, primals: Sequence[Value], tangents: Tangents, jvp: JvpTransform
    ) -> tuple[Sequence[Value], Tangents]:
        results = current().rebind(eqn, primals)
        if all(t is None for t in tangents):
            return results, (None,)
        return results, (combine(eqn, primals, tangents),)

    return rule


def transpose_of(*contributions: Contribution | None) -> TransposeRule:
    """The rule that adds `contributions[i](cotangent, *operands)` for each linear operand i."""

    def rule(
        eqn: Eqn,
        operands: Sequence[Value | Linear],
        cotangents: Tangents,
        accumulators: Sequence[Value | None],
        transpose: TransposeTransform,
    ) -> Sequence[Value | None]:
        (ct,) = cotangents
        totals = list(accumulators)
        if ct is None:
            return totals
        for i, (operand, contribution) in enumerate(zip(operands, contributions, strict=True)):
            if isinstance(operand, Linear):
                if contribution is None:
                    raise not_linear_error(eqn.op.name)
                totals[i] = accumulate(totals[i], contribution(ct, *operands))
        return totals

    return rule


def _difference(eqn: Eqn, primals: Sequence[Value], tangents: Tangents) -> Value | None:
    tx, ty = tangents
    if ty is None:
        return tx
    return neg(ty) if tx is None else sub(tx, ty)


def _selected(eqn: Eqn, primals: Sequence[Value], tangents: Tangents) -> Value | None:
    _, tx, ty = tangents
    return select(primals[0], 0.0 if tx is None else tx, 0.0 if ty is None else ty)


def factor(v: Value | Linear) -> Value:
    """A factor of a product that is linear in the other one.

    Raises:
        DifferentiationError: for a second tangent.
    """
    if isinstance(v, Linear):
        raise not_linear_error("a product")
    return v


def same(ct: Value, *operands: object) -> Value:
    """The contribution of an operand that the op passes on as it is."""
    return ct


add: Pointwise = pointwise(
    "add",
    s.add,
    jvp=jvp_of_linear(lambda eqn, primals, tangents: accumulate(*tangents)),
    transpose=transpose_of(same, same),
)
sub: Pointwise = pointwise(
    "sub",
    s.sub,
    jvp=jvp_of_linear(_difference),
    transpose=transpose_of(same, lambda ct, x, y: neg(ct)),
)
neg: Pointwise = pointwise(
    "neg",
    s.neg,
    jvp=jvp_of_linear(lambda eqn, primals, tangents: neg(tangents[0])),
    transpose=transpose_of(lambda ct, x: neg(ct)),
)
mul: Pointwise = pointwise(
    "mul",
    s.mul,
    partials=(lambda x, y, z: y, lambda x, y, z: x),
    transpose=transpose_of(
        lambda ct, x, y: mul(ct, factor(y)), lambda ct, x, y: mul(ct, factor(x))
    ),
)
zmul: Pointwise = pointwise(
    "zmul",
    s.zmul,
    partials=(lambda x, y, z: y, lambda x, y, z: x),
    transpose=transpose_of(
        lambda ct, x, y: zmul(factor(y), ct), lambda ct, x, y: zmul(factor(x), ct)
    ),
)
select: Pointwise = pointwise(
    "select",
    s.select,
    jvp=jvp_of_linear(_selected),
    transpose=transpose_of(
        None,
        lambda ct, mask, x, y: select(mask, ct, 0.0),
        lambda ct, mask, x, y: select(mask, 0.0, ct),
    ),
)
