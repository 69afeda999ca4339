"""What an array op declares, all in one place: `Primitive`, and the vocabulary of its rules.

    sqrt = pointwise("sqrt", s.sqrt, partials=(lambda x, y: div(0.5, y),), samples=positive_floats)

Rules run inside an open builder: they call ops, which bind into it. A rule that does not exist is
stated (`nondifferentiable`, `not_linear`, `lane_by_lane`), never left out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from jitnet import errors
from jitnet.ir import (
    ArrayType,
    Attrs,
    Dim,
    Effect,
    Eqn,
    Function,
    Op,
    Type,
    Value,
    current,
    register,
)
from jitnet.ir.facts import FactRule

# -- derivatives -----------------------------------------------------------------------------------

Tangents = Sequence[Value | None]
"""One per value; None is a tangent or cotangent known to be zero."""

JvpTransform = Callable[[Function, Sequence[bool]], tuple[Function, tuple[bool, ...]]]
"""`(f, nonzero params) -> (jvp of f, nonzero results)`: the new function takes the params of f,
then a tangent for each nonzero one; it returns the results, then a tangent for each nonzero one."""

JvpRule = Callable[
    [Eqn, Sequence[Value], Tangents, JvpTransform],
    tuple[Sequence[Value], Tangents],
]
"""`(eqn, primals, tangents, jvp) -> (results, result tangents)`. Binds the primal too."""


class Linear(NamedTuple):
    """Stands for an operand that the transposed function is linear in: only its type is known."""

    type: Type


TransposeTransform = Callable[[Function, Sequence[bool], Sequence[bool]], Function]
"""`(f, linear params, which of these bring an accumulator) -> transpose of f`: see
`transforms.transpose`."""

TransposeRule = Callable[
    [Eqn, Sequence[Value | Linear], Tangents, Sequence[Value | None], TransposeTransform],
    Sequence[Value | None],
]
"""`(eqn, operands, cotangents of results, accumulators, transpose) -> accumulators`.

`accumulators[i]` is the cotangent gathered so far for linear operand i, None while it is zero; the
rule returns the list with its own contributions in. Entries of nonlinear operands stay None."""


class Halves(NamedTuple):
    """A Function in two, by what depends on some of its params: see `transforms.split`.

    Attributes:
        known: known params → known results in order, then the residuals that it makes.
        linear: residuals (all of them), states, unknown params → unknown results in order, then
            the states' last ones.
        unknown: which results are unknown.
        residuals: what `linear` takes first, as values of the Function that was split.
        made: those of them that `known` returns.
        lost: the params asked for as states that cannot be wound back. Where there are any, the
            other attributes mean nothing.
    """

    known: Function
    linear: Function
    unknown: tuple[bool, ...]
    residuals: tuple[Value, ...]
    made: tuple[Value, ...]
    lost: tuple[Value, ...] = ()


SplitTransform = Callable[..., Halves]
"""`transforms.split.split`."""

SplitRule = Callable[
    [Eqn, Collection[Value], Callable[[Value], bool], SplitTransform, Collection[Value] | None],
    tuple[Sequence[Eqn], Sequence[Eqn], Sequence[Value]],
]
"""`(eqn, unknown values, is_free, split, states) -> (known equations, linear equations, unknown
results)`: how an equation with regions falls in two. The known equations bind the eqn's own known
results. `is_free` tells of a known operand whether the linear half has it anyway. `states` are
arrays that are wound back, see `ops.rewinding`: an equation that takes one and gives another of
them does so in the linear half, too; None where nothing is to be wound back."""


def nondifferentiable(
    eqn: Eqn, primals: Sequence[Value], tangents: Tangents, jvp: JvpTransform
) -> tuple[Sequence[Value], Tangents]:
    """The derivative is zero wherever it exists (comparisons, rounding, integers)."""
    results = current().rebind(eqn, primals)
    return results, [None] * len(results)


def not_linear(
    eqn: Eqn,
    operands: Sequence[Value | Linear],
    cotangents: Tangents,
    accumulators: Sequence[Value | None],
    transpose: TransposeTransform,
) -> Sequence[Value | None]:
    """No transform puts tangents through this op. A user's derivative rule may.

    Raises:
        DifferentiationError: always.
    """
    raise not_linear_error(eqn.op.name)


def not_linear_error(what: str) -> errors.DifferentiationError:
    """For an equation on a tangent's way that is not linear in it."""
    return errors.DifferentiationError(
        f"{what} of a tangent, which is not linear in it",
        why="reverse mode runs the computation of tangents backwards, and it must be linear",
        remedy="let the rule compute only sums, and products with what is no tangent",
        frames=current().loc.frames or None,
    )


# -- batching --------------------------------------------------------------------------------------

BatchTransform = Callable[
    [Function, Sequence[bool], Sequence[bool]], tuple[Function, tuple[bool, ...]] | None
]
"""`(f, batched params, results that are to be batched) -> (f over all lanes, batched results)`.

The new function takes the number of lanes first where that is a Value, then f's params. None where
it would have an array whose extent differs from lane to lane."""

BatchRule = Callable[
    [Eqn, Sequence[Value], Sequence[bool], Dim, BatchTransform],
    tuple[Sequence[Value], Sequence[bool]] | None,
]
"""`(eqn, operands, batched, extent, batch) -> (results, which of them are batched)`.

A batched value has an axis of `extent` lanes in front; at least one operand is batched. Operands
that extents of the results are made of never are. None, before anything is bound, has the equation
run lane by lane, in a loop: see `transforms.vmap`."""


def lane_by_lane(
    eqn: Eqn,
    operands: Sequence[Value],
    batched: Sequence[bool],
    extent: Dim,
    batch: BatchTransform,
) -> None:
    """No rule: a loop over the lanes."""


def never(eqn: Eqn) -> bool:
    """`Primitive.total` of an op that takes indices, or may go on for ever."""
    return False


# -- complex numbers -------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Pair:
    """A complex value as two real ones of its dims, the real part and the imaginary part.

    Attributes:
        whole: the array that these are the halves of, if there is one: both side by side along a
            last axis of extent 2.
    """

    re: Value
    im: Value
    whole: Value | None = None

    def __iter__(self) -> Iterator[Value]:
        return iter((self.re, self.im))


Paired = Value | Pair

PairsRule = Callable[[Eqn, Sequence[Paired], Callable[[Function], Function]], Sequence[Paired]]
"""`(eqn, operands, split) -> results`: the equation on pairs, one for each complex operand and
result. It is asked where the equation has such, or its regions do, which `split` rewrites: each
complex param and result of a region becomes two, the real part first. See `passes.pairs`."""


# -- lowering --------------------------------------------------------------------------------------


class Context(Protocol):
    """What a lowering rule may ask while it emits kernel statements."""

    def load(self, operand: int, index: Sequence[Value]) -> Value:
        """The element of an operand, as a kernel scalar; rank 0 takes an empty index. The operand
        may be memory or an inlined producer."""
        ...

    def dim(self, dim: Dim) -> Value:
        """An array-level dim as a kernel i64 scalar."""
        ...


Strided = tuple[Value, tuple[Value, ...]]
StridedRule = Callable[[Eqn, Callable[[Dim], Value], Value, tuple[Value, ...]], "Strided | None"]


class Element(NamedTuple):
    """The result's element at an index, as a kernel scalar: inlined into whatever reads it.

    Attributes:
        emit: `(context, eqn, index) -> scalar`.
        view: only renumbers operand 0's elements; costs nothing.
        pointwise: reads its operands at the result's own index.
        cost: rough flops per element; above 4 is not computed twice.
        strided: for views: the same renumbering of memory, so that routines can read it in place:
            `(eqn, dim, offset, strides of operand 0) -> (offset, strides of the result)` in
            elements, as kernel scalars, or None where strides cannot say it. `dim` turns an
            array-level dim or scalar operand into a kernel scalar.
    """

    emit: Callable[[Context, Eqn, Sequence[Value]], Value]
    view: bool = False
    pointwise: bool = False
    cost: int = 1
    strided: StridedRule | None = None


class Reduction(NamedTuple):
    """Folds operand 0 over `attrs["axes"]` with a scalar op that may be reassociated.

    Attributes:
        combine: name of the scalar op.
        identity: its neutral element for a dtype.
        compensated: sums of floats, done to more than working precision across blocks.
    """

    combine: str
    identity: Callable[[Any], Any]
    compensated: bool = False


class Kernel(NamedTuple):
    """Writes whole results with loops or routines of its own.

    Attributes:
        emit: `(context, eqn, inputs, outputs) -> scalars`. An input is a buffer, or a scalar for
            rank 0. `outputs` are buffers for the results of rank > 0, in order; it returns the
            rank-0 results. An op that `writes` an operand finds that operand's content already in
            its output buffer, and must not read it through `inputs`.
        when: whether this alternative fits an equation.
        bound: for results whose extents are only known afterwards: dims that are large enough.
        elementwise: it reads arrays through `context.load` alone, each element about once, so that
            they need not lie in memory.
    """

    emit: Callable[[Context, Eqn, Sequence[Value], Sequence[Value]], Sequence[Value]]
    when: Callable[[Eqn], bool] = lambda eqn: True
    bound: Callable[[Eqn], Sequence[tuple[Dim, ...]]] | None = None
    elementwise: bool = False


@dataclass(frozen=True)
class Structured:
    """Lowered by the code generator itself: control flow, checks, tapes, constants. Or taken out by
    a pass before: what makes complex numbers and takes them apart."""


Lowering = Element | Reduction | Kernel | Structured


# -- the op ----------------------------------------------------------------------------------------


class Sample(NamedTuple):
    """Operands (arrays, NumPy scalars) and attrs to try an op on, in every kind of test.

    Attributes:
        differentiable: operands whose values are away from kinks and domain edges, so that
            central differences hold there.
    """

    operands: tuple[Any, ...]
    attrs: dict[str, Any]
    differentiable: bool = True


InferRule = Callable[[Sequence[Value], Attrs, Sequence[Function]], tuple[Type, ...]]


class Primitive(Op):
    """An array op with all its rules.

    Attributes:
        type_rule: `(operands, attrs, regions) -> result types`; raises TypeRuleError.
        numpy: `(eqn, *operand arrays) -> tuple of result arrays`: the reference, on
            NumPy arrays and NumPy scalars for rank 0. Region ops get an evaluator first:
            `(eqn, evaluate, *operands)` with `evaluate(Function, arrays) -> arrays`.
        batch: how it computes for many lanes at once.
        lower: alternatives in order of preference.
        writes: the operand whose storage the result may take over.
        facts: what the op tells of the integers that it makes.
        samples: a function so that importing the op costs nothing.
        split: for ops with regions, how the equation falls into a known and a linear one.
        pairs: how it computes on complex numbers; None where it does not.
        total: whether an equation is defined for all values of its operands, and ends; so that it
            may be computed where the program does not ask for it.
        dense: many of it at once are much faster than one after the other, as products are.
    """

    level = "array"

    def __init__(
        self,
        name: str,
        *,
        infer: InferRule,
        numpy: Callable[..., tuple[Any, ...]],
        jvp: JvpRule,
        transpose: TransposeRule,
        batch: BatchRule,
        lower: Sequence[Lowering],
        samples: Callable[[], Iterable[Sample]],
        effect: Effect = Effect.PURE,
        writes: int | None = None,
        has_regions: bool = False,
        facts: FactRule | None = None,
        split: SplitRule | None = None,
        pairs: PairsRule | None = None,
        total: Callable[[Eqn], bool] = lambda eqn: True,
        dense: bool = False,
    ) -> None:
        self.name = name
        self.type_rule = infer
        self.numpy = numpy
        self.jvp = jvp
        self.transpose = transpose
        self.batch = batch
        self.lower = tuple(lower)
        self.samples = samples
        self.effect = effect
        self.writes = writes
        self.has_regions = has_regions
        self.split = split
        self.pairs = pairs
        self.facts = facts
        self.total = total
        self.dense = dense
        register(self)

    def infer(
        self, operands: Sequence[Value], attrs: Attrs, regions: Sequence[Function]
    ) -> tuple[Type, ...]:
        return self.type_rule(operands, attrs, regions)

    def lowering(self, eqn: Eqn) -> Lowering:
        """The first alternative that fits this equation."""
        for rule in self.lower:
            if not isinstance(rule, Kernel) or rule.when(eqn):
                return rule
        raise AssertionError(f"no lowering of {self.name} fits its operands {eqn.operands}")

    @property
    def is_element(self) -> bool:
        return isinstance(self.lower[0], Element)

    @property
    def is_view(self) -> bool:
        return isinstance(self.lower[0], Element) and self.lower[0].view

    @property
    def is_pointwise(self) -> bool:
        return isinstance(self.lower[0], Element) and self.lower[0].pointwise


def array_type(value: Value) -> ArrayType:
    """The type of an operand that must be an array."""
    return value.array_type


def as_array(value: Any) -> np.ndarray[Any, Any]:
    return np.asarray(value)
