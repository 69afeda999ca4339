"""Functions with derivative rules of their own, which stand in the place of their regions' ones.

    %y = custom %x {args=1, consts=0, forward=false, name='f', push=true}
      @primal(%x: f64) -> (f64)                      # what it computes
      @push(%x: f64, %dx: f64) -> (f64, f64)         # results, then their tangents

Operands are consts, which have no derivative, and arguments. A rule for reverse mode is two
regions: `@forward` gives the results, then residuals; `@back` takes the consts, the residuals and a
cotangent for each float result, and gives those of the arguments. Once a transform has used a rule
it is equations like others. A pass puts the equations of `@primal` where no transform did.

Forward mode with a rule for reverse mode only makes a `custom_tangent`: linear in tangents, and its
transpose is `@back`. What is not transposed after all is written out by `transforms.custom`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from jitnet import errors
from jitnet.ir import (
    ArrayType,
    Attrs,
    Builder,
    Dim,
    Eqn,
    Function,
    Type,
    Value,
    current,
    substitute_type,
)
from jitnet.ops.complex_regions import from_memory, in_memory
from jitnet.ops.lanes import Batched, extent_operands, spread
from jitnet.ops.lift import accumulate, neg
from jitnet.ops.pairs import Split
from jitnet.ops.primitive import (
    BatchTransform,
    JvpTransform,
    Linear,
    Pair,
    Paired,
    Primitive,
    Structured,
    Tangents,
    TransposeTransform,
    lane_by_lane,
    not_linear,
)
from jitnet.ops.regions import (
    Evaluate,
    check_params,
    evaluate_region,
    infer_region,
    no_samples,
    require,
)
from jitnet.ops.shape import zeros_like


class Regions(NamedTuple):
    """The regions of a `custom`: `push` is the rule for forward mode, `forward` and `back` are the
    one for reverse mode."""

    primal: Function
    push: Function | None = None
    forward: Function | None = None
    back: Function | None = None


def _regions(eqn: Eqn) -> Regions:
    primal, *rest = eqn.regions
    push = rest.pop(0) if eqn.attrs["push"] else None
    return Regions(primal, push, *rest)


def _moving(values: Sequence[Value]) -> list[Value]:
    """Those that have tangents."""
    return [v for v in values if v.dtype.is_inexact]


# -- custom ----------------------------------------------------------------------------------------


def _infer_custom(
    operands: Sequence[Value], attrs: Attrs, regions: Sequence[Function]
) -> tuple[Type, ...]:
    require(len(operands) == attrs["consts"] + attrs["args"], "custom: its attributes count")
    require(len(regions) == 1 + attrs["push"] + 2 * attrs["forward"], "custom: a rule is missing")
    return infer_region("custom")(operands, attrs, regions)


def _jvp_custom(
    eqn: Eqn, primals: Sequence[Value], tangents: Tangents, jvp: JvpTransform
) -> tuple[Sequence[Value], Tangents]:
    count = eqn.attrs["consts"]
    if any(t is not None for t in tangents[:count]):
        raise errors.DifferentiationError(
            f"the derivative of {eqn.attrs['name']}, which has rules of its own, in an array that "
            "it does not take as an argument",
            why="its rules tell of its arguments only",
            remedy="pass the array as an argument, or put jitnet.stop_gradient around it",
            frames=eqn.loc.frames or None,
        )
    given = [
        zeros_like(v.array_type) if t is None else t
        for v, t in zip(primals[count:], tangents[count:])
    ]
    regions = _regions(eqn)
    n = len(eqn.results)
    if regions.forward is None:
        assert regions.push is not None
        values = current().inline(regions.push, [*primals, *given])
        return values[:n], _spread(eqn.results, values[n:])
    values = current().inline(regions.forward, primals)
    moved = _custom_tangent(eqn, regions, primals, values[n:], given)
    return values[:n], _spread(eqn.results, moved)


def _spread(results: Sequence[Value], tangents: Sequence[Value]) -> Tangents:
    """Tangents of the results that have such, None for the others."""
    rest = iter(tangents)
    return [next(rest) if r.dtype.is_inexact else None for r in results]


def _pairs_custom(eqn: Eqn, operands: Sequence[Paired], split: Split) -> Sequence[Paired]:
    """The cotangents that `@back` takes and gives stand for their conjugates."""
    count = eqn.attrs["consts"]
    consts = [part for v in operands[:count] for part in in_memory(v)]
    args = [part for v in operands[count:] for part in in_memory(v)]
    regions = _regions(eqn)
    split_regions = [split(r) for r in regions if r is not None]
    if regions.back is not None:
        cotangents = len(_moving(eqn.results))
        split_regions[-1] = _conjugated(regions.back, split_regions[-1], cotangents)
    attrs = {**eqn.attrs, "consts": len(consts), "args": len(args)}
    results = iter(current().rebind(eqn, [*consts, *args], split_regions, attrs))
    return [from_memory(results, r) for r in eqn.results]


def _conjugated(back: Function, real: Function, cotangents: int) -> Function:
    """`@back` in real numbers, with imaginary parts negated on the way in and out."""
    first = len(back.params) - cotangents
    with Builder(back.name) as b:
        params = iter(b.params_like(real.params))
        given = [v for p in back.params[:first] for v in in_memory(from_memory(params, p))]
        given += [v for p in back.params[first:] for v in _conjugate(from_memory(params, p))]
        values = iter(b.inline(real, given))
        return b.build(*(v for r in back.results for v in _conjugate(from_memory(values, r))))


def _conjugate(v: Paired) -> list[Value]:
    return in_memory(Pair(v.re, neg(v.im)) if isinstance(v, Pair) else v)


def _batch_custom(
    eqn: Eqn,
    operands: Sequence[Value],
    batched: Sequence[bool],
    extent: Dim,
    batch: BatchTransform,
) -> Batched | None:
    """Over all lanes at once; every argument and every result is batched."""
    count = eqn.attrs["consts"]
    consts, args = operands[:count], operands[count:]
    regions: list[Function] = []
    for r in eqn.regions:
        flags = [*batched[:count], *[True] * (len(r.params) - count)]
        found = batch(r, flags, [True] * len(r.results))
        if found is None:
            return None
        regions.append(found[0])
    spread_args = [v if b else spread(v, extent) for v, b in zip(args, batched[count:])]
    given = [*extent_operands(extent), *consts, *spread_args]
    attrs = {**eqn.attrs, "consts": len(given) - len(args)}
    return current().rebind(eqn, given, regions, attrs), [True] * len(eqn.results)


CUSTOM = Primitive(
    "custom",
    infer=_infer_custom,
    numpy=evaluate_region,
    jvp=_jvp_custom,
    transpose=not_linear,
    batch=_batch_custom,
    lower=[Structured()],
    samples=no_samples,
    has_regions=True,
    pairs=_pairs_custom,
)


def custom(
    name: str, consts: Sequence[Value], args: Sequence[Value], regions: Regions
) -> tuple[Value, ...]:
    """The results of `regions.primal` on `(consts, args)`, with these rules for its derivative."""
    attrs = {
        "name": name,
        "consts": len(consts),
        "args": len(args),
        "push": regions.push is not None,
        "forward": regions.forward is not None,
    }
    given = [r for r in regions if r is not None]
    return current().bind(CUSTOM, (*consts, *args), attrs, given)


# -- custom_tangent --------------------------------------------------------------------------------


def _custom_tangent(
    eqn: Eqn,
    regions: Regions,
    primals: Sequence[Value],
    residuals: Sequence[Value],
    tangents: Sequence[Value],
) -> tuple[Value, ...]:
    """The tangents of a `custom`'s results. Operands: its own, the residuals, the tangents."""
    assert regions.back is not None
    attrs = {
        **{key: eqn.attrs[key] for key in ("name", "consts", "args", "push")},
        "residuals": len(residuals),
    }
    given = [r for r in (regions.push, regions.back) if r is not None]
    return current().bind(CUSTOM_TANGENT, (*primals, *residuals, *tangents), attrs, given)


class TangentOperands(NamedTuple):
    """The operands of a `custom_tangent` by role, and its regions."""

    consts: Sequence[Any]
    args: Sequence[Any]
    residuals: Sequence[Any]
    tangents: Sequence[Any]
    push: Function | None
    back: Function


def tangent_operands(
    operands: Sequence[Any], attrs: Attrs, regions: Sequence[Function]
) -> TangentOperands:
    """The operands of a `custom_tangent`, or what stands for them, by role."""
    rest = iter(operands)
    roles = ("consts", "args", "residuals", "args")
    consts, args, residuals, tangents = ([next(rest) for _ in range(attrs[r])] for r in roles)
    push = regions[0] if attrs["push"] else None
    return TangentOperands(consts, args, residuals, tangents, push, regions[-1])


def _infer_tangent(
    operands: Sequence[Value], attrs: Attrs, regions: Sequence[Function]
) -> tuple[Type, ...]:
    parts = tangent_operands(operands, attrs, regions)
    known = (*parts.consts, *parts.residuals)
    env: dict[Value, Value] = {}
    check_params("custom_tangent", known, parts.back.params[: len(known)], env)
    return tuple(substitute_type(p.type, env) for p in parts.back.params[len(known) :])


def _numpy_tangent(eqn: Eqn, evaluate: Evaluate, *operands: Any) -> tuple[Any, ...]:
    parts = tangent_operands(operands, eqn.attrs, eqn.regions)
    assert parts.push is not None, "transforms.custom writes out what has no rule to run forwards"
    results = evaluate(parts.push, (*parts.consts, *parts.args, *parts.tangents))
    return tuple(results[len(results) - len(eqn.results) :])


def _transpose_tangent(
    eqn: Eqn,
    operands: Sequence[Value | Linear],
    cotangents: Tangents,
    accumulators: Sequence[Value | None],
    transpose: TransposeTransform,
) -> Sequence[Value | None]:
    parts = tangent_operands(operands, eqn.attrs, eqn.regions)
    known: list[Value] = [*parts.consts, *parts.residuals]
    env = dict(zip(parts.back.params, known))
    for p, ct in zip(parts.back.params[len(known) :], cotangents, strict=True):
        type = substitute_type(p.type, env)
        assert isinstance(type, ArrayType)
        known.append(zeros_like(type) if ct is None else ct)
    found = current().inline(parts.back, known)
    totals = list(accumulators)
    first = len(operands) - len(parts.tangents)
    for i, (t, ct) in enumerate(zip(parts.tangents, found, strict=True), first):
        if isinstance(t, Linear):
            totals[i] = accumulate(totals[i], ct)
    return totals


def _no_second_derivative(
    eqn: Eqn, primals: Sequence[Value], tangents: Tangents, jvp: JvpTransform
) -> tuple[Sequence[Value], Tangents]:
    raise AssertionError("a custom_tangent is written out before anything differentiates it")


CUSTOM_TANGENT = Primitive(
    "custom_tangent",
    infer=_infer_tangent,
    numpy=_numpy_tangent,
    jvp=_no_second_derivative,
    transpose=_transpose_tangent,
    batch=lane_by_lane,
    lower=[Structured()],
    samples=no_samples,
    has_regions=True,
)
