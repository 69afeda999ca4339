"""`checkpoint`: a region of which only the operands are saved for the backward pass.

    %y = checkpoint %x {again=false} @f(%x: f64[3]) -> (f64[3])

Its jvp is a checkpoint of the region's jvp. That falls in two as other regions do, but its linear
half starts from the operands and computes the region's values once more: `again=true`. Where a pass
takes such a region apart, `barrier`s stand before it. They give back what they are given, and that
is not known to be the same, so that nothing finds out that the values were computed before.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from jitnet.ir import (
    ArrayType,
    Builder,
    Dim,
    Eqn,
    Function,
    Literal,
    Value,
    current,
)
from jitnet.ops.complex_regions import from_memory, in_memory
from jitnet.ops.lanes import Batched, batch_together, extent_operands
from jitnet.ops.lift import SAME, accumulate, jvp_of_linear
from jitnet.ops.loop_derivatives import jvp_region, transpose_region, with_results
from jitnet.ops.pairs import Split, each_half
from jitnet.ops.primitive import (
    BatchTransform,
    Linear,
    Paired,
    Primitive,
    SplitTransform,
    Structured,
    Tangents,
    TransposeTransform,
)
from jitnet.ops.regions import evaluate_region, infer_region, no_samples
from jitnet.ops.residuals import Parts, adopt, pick, separated
from jitnet.ops.samples import identity_samples

# -- checkpoint ------------------------------------------------------------------------------------


def _split_checkpoint(
    eqn: Eqn,
    unknown: Collection[Value],
    is_free: Callable[[Value], bool],
    split: SplitTransform,
    states: Collection[Value] | None,
) -> Parts:
    hidden = [v in unknown for v in eqn.operands]
    (region,) = eqn.regions
    out = split(region, hidden).unknown
    known = pick(eqn.results, out, False)
    made = split(with_results(region, [not u for u in out]), hidden).known
    known_half = Function(made.name, made.params, made.eqns, made.results[: len(known)])
    linear_half = separated(with_results(region, out), hidden, split)
    before, after = Builder("known"), Builder("linear")
    with before, before.at(eqn.loc):
        before.bind(eqn.op, pick(eqn.operands, hidden, False), eqn.attrs, (known_half,))
        adopt(before, known)
    with after, after.at(eqn.loc):
        after.bind(eqn.op, eqn.operands, {**eqn.attrs, "again": True}, (linear_half,))
        adopt(after, pick(eqn.results, out, True))
    return before.eqns, after.eqns, pick(eqn.results, out, True)


def _batch_checkpoint(
    eqn: Eqn,
    operands: Sequence[Value],
    batched: Sequence[bool],
    extent: Dim,
    batch: BatchTransform,
) -> Batched | None:
    found = batch(eqn.regions[0], batched, ())
    if found is None:
        return None
    given = [*extent_operands(extent), *operands]
    return current().rebind(eqn, given, (found[0],)), found[1]


def _pairs_checkpoint(eqn: Eqn, operands: Sequence[Paired], split: Split) -> Sequence[Paired]:
    flat = [part for v in operands for part in in_memory(v)]
    results = iter(current().rebind(eqn, flat, [split(r) for r in eqn.regions]))
    return [from_memory(results, r) for r in eqn.results]


CHECKPOINT = Primitive(
    "checkpoint",
    infer=infer_region("checkpoint"),
    numpy=evaluate_region,
    jvp=jvp_region,
    transpose=transpose_region,
    batch=_batch_checkpoint,
    lower=[Structured()],
    samples=no_samples,
    has_regions=True,
    split=_split_checkpoint,
    pairs=_pairs_checkpoint,
)


def checkpoint(f: Function, args: Sequence[Value]) -> tuple[Value, ...]:
    """The results of a Function on these values. Reverse mode saves the values, and computes what
    it needs of the Function once more."""
    return current().bind(CHECKPOINT, args, {"again": False}, (f,))


# -- barrier ---------------------------------------------------------------------------------------


def _same_on_transpose(
    eqn: Eqn,
    operands: Sequence[Value | Linear],
    cotangents: Tangents,
    accumulators: Sequence[Value | None],
    transpose: TransposeTransform,
) -> Sequence[Value | None]:
    return [accumulate(accumulators[0], cotangents[0])]


BARRIER = Primitive(
    "barrier",
    infer=lambda operands, attrs, regions: (operands[0].type,),
    numpy=lambda eqn, x: (x,),
    jvp=jvp_of_linear(lambda eqn, primals, tangents: tangents[0]),
    transpose=_same_on_transpose,
    batch=batch_together,
    lower=[SAME],
    samples=identity_samples,
    pairs=each_half,
)


def barrier(x: Value) -> Value:
    """x, of which no pass knows that it is x."""
    if isinstance(x, Literal):
        return x
    (result,) = current().bind(BARRIER, (x,))
    return result


def taken_apart(eqn: Eqn) -> Sequence[Value]:
    """The equations of a checkpoint, in the current builder."""
    operands = eqn.operands
    if eqn.attrs["again"]:
        operands = tuple(
            barrier(v) if isinstance(v.type, ArrayType) and v.dtype.is_inexact else v
            for v in operands
        )
    return current().inline(eqn.regions[0], operands)
