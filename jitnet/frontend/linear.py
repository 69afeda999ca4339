"""Derivatives as linear maps: vjp's pullback, and Jacobians.

    out, pullback = vjp(fn, x)      # linearise fn at x, transpose: a Function of the residuals
    pullback(ct)                    # inlined, or compiled when called outside of a trace

A Jacobian loops over unit vectors in the IR, so it is one program whatever its size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jitnet import errors, ir, ops, transforms
from jitnet.frontend.context import current_trace
from jitnet.frontend.inner import (
    Argnums,
    Callee,
    Inner,
    builder,
    check_pair,
    fitting,
    trace_inner,
    zeros,
)
from jitnet.frontend.jitted import Jitted
from jitnet.frontend.pytree import (
    TreeDef,
    flatten,
    flatten_like,
    register_pytree_node,
    unflatten,
)
from jitnet.frontend.tracer import Flavour, Tracer, lift, wrap
from jitnet.ir import ArrayType, Builder, Function, Value


@dataclass(frozen=True)
class Linearised:
    """A function's derivative at a point, as a linear Function.

    Attributes:
        values: the results of the function, in the running trace.
        residuals: what the linear Function needs, in the running trace.
        linear: `(residuals, tangents of the differentiated leaves) → tangents of moving results`.
        moving: the results that have tangents.
    """

    inner: Inner
    values: tuple[Value, ...]
    residuals: tuple[Value, ...]
    linear: Function
    moving: tuple[int, ...]

    @property
    def tangent_types(self) -> list[ArrayType]:
        return [p.array_type for p in self.linear.params[len(self.residuals) :]]

    def transposed(self) -> Function:
        """`(residuals, cotangents of moving results) → cotangents of the leaves`."""
        count = len(self.residuals)
        return transforms.transpose(
            self.linear, [i >= count for i in range(len(self.linear.params))]
        )


def linearise(inner: Inner) -> Linearised:
    """The results of a function, and its derivative as a linear Function."""
    known, linear, nonzero = transforms.linearize(inner.function, inner.nonzero)
    values = builder().inline(known, inner.operands)
    inner.write_back(values)
    count = len(inner.function.results)
    moving = tuple(i for i, moves in enumerate(nonzero) if moves)
    return Linearised(inner, values[:count], values[count:], linear, moving)


# -- pullbacks -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Slot:
    """The result of a linear Function that a leaf gets."""

    result: int
    flavour: Flavour


@dataclass(frozen=True, eq=False)
class PullbackRule:
    """What of a pullback does not depend on values.

    Attributes:
        transposed: `(residuals, cotangents) → cotangents of the differentiated leaves`.
        out_tree: the structure of the function's result.
        groups: for each cotangent of `transposed`, the leaves of the result that it adds up.
        in_tree: the structure of the primals.
        in_leaves: a Slot for each of their leaves that is differentiated; the others themselves.
    """

    transposed: Function
    out_tree: TreeDef
    groups: tuple[tuple[int, ...], ...]
    in_tree: TreeDef
    in_leaves: tuple[Any, ...]


class Pullback:
    """The linear map from cotangents of a function's result to cotangents of its arguments.

    It is a tree of its residuals, so jitted functions take it and return it.
    """

    def __init__(self, rule: PullbackRule, residuals: Sequence[Any]) -> None:
        self.rule = rule
        self.residuals = tuple(residuals)

    def __call__(self, cotangent: Any) -> tuple[Any, ...]:
        """The cotangents of the arguments, one tree each, for a tree like the result."""
        if current_trace() is not None:
            return pull(self, cotangent)
        compiled: tuple[Any, ...] = _PULL(self, cotangent)
        return compiled


register_pytree_node(Pullback, lambda p: (p.residuals, p.rule), Pullback)


def pull(pullback: Pullback, cotangent: Any) -> tuple[Any, ...]:
    """Apply a pullback inside a running trace."""
    rule = pullback.rule
    leaves = flatten_like(rule.out_tree, cotangent, "the cotangent")
    operands = [lift(r).value for r in pullback.residuals]
    for group, param in zip(rule.groups, rule.transposed.params[len(operands) :]):
        given = [fitting(leaves[k], param.array_type, "the cotangent") for k in group]
        total = given[0] if given else zeros(param.array_type)
        for term in given[1:]:
            total = ops.add(total, term)
        operands.append(total)
    values = builder().inline(rule.transposed, operands)
    out = [
        wrap(values[leaf.result], leaf.flavour) if isinstance(leaf, Slot) else leaf
        for leaf in rule.in_leaves
    ]
    primals: tuple[Any, ...] = unflatten(rule.in_tree, out)
    return primals


_PULL = Jitted(pull)


def vjp(fn: Callee, primals: tuple[Any, ...], has_aux: bool) -> tuple[Any, ...]:
    """fn's result and its pullback, and aux."""
    inner = trace_inner(fn, primals, {}, range(len(primals)), "vjp")
    if has_aux:
        check_pair(inner, "vjp")
    derivative = linearise(inner)
    result = unflatten(inner.traced.out_tree, inner.results(derivative.values))
    aux: tuple[Any, ...] = ()
    if has_aux:
        result, aux = result[0], (result[1],)
    shown, tree = flatten(result)
    outputs = inner.outputs[: len(shown)]  # aux comes last
    groups = tuple(
        tuple(k for k, o in enumerate(outputs) if o.result == i) for i in derivative.moving
    )
    leaves = list(inner.leaves)
    for k, i in enumerate(inner.chosen):
        leaves[i] = Slot(k, lift(leaves[i]).flavour)
    rule = PullbackRule(derivative.transposed(), tree, groups, flatten(primals)[1], tuple(leaves))
    return (result, Pullback(rule, _as_leaves(derivative.residuals)), *aux)


def _as_leaves(residuals: Sequence[Value]) -> list[Tracer]:
    return [wrap(r, "array" if r.rank else "scalar") for r in residuals]


# -- Jacobians -------------------------------------------------------------------------------------


def jacfwd(fn: Callee, args: Sequence[Any], kwargs: dict[str, Any], argnums: Argnums) -> Any:
    """The Jacobian by columns: a tree like the result, of trees like the arguments."""
    derivative = linearise(trace_inner(fn, args, kwargs, argnums, "jacfwd"))
    columns = [
        _along_unit_vectors(derivative.linear, derivative.residuals, k, derivative.tangent_types)
        for k in range(len(derivative.tangent_types))
    ]

    def block(result: int, leaf: int) -> Value:
        stacked = columns[leaf][derivative.moving.index(result)]
        back = ops.transpose(stacked, (*range(1, stacked.rank), 0))
        shape = (*stacked.shape[1:], *derivative.tangent_types[leaf].shape)
        return ops.reshape(back, shape)

    return _jacobian(derivative, block, "jacfwd")


def jacrev(fn: Callee, args: Sequence[Any], kwargs: dict[str, Any], argnums: Argnums) -> Any:
    """The Jacobian by rows: a tree like the result, of trees like the arguments."""
    derivative = linearise(trace_inner(fn, args, kwargs, argnums, "jacrev"))
    transposed = derivative.transposed()
    types = [derivative.values[i].array_type for i in derivative.moving]
    rows = [
        _along_unit_vectors(transposed, derivative.residuals, k, types) for k in range(len(types))
    ]

    def block(result: int, leaf: int) -> Value:
        k = derivative.moving.index(result)
        stacked = rows[k][leaf]
        return ops.reshape(stacked, (*types[k].shape, *stacked.shape[1:]))

    return _jacobian(derivative, block, "jacrev")


def _jacobian(derivative: Linearised, block: Any, what: str) -> Any:
    inner = derivative.inner
    out = []
    for output in inner.outputs:
        moves = output.result in derivative.moving
        if not moves:
            _check_float(inner, output, what)
        blocks: dict[int, Any] = {}
        for k, leaf in enumerate(inner.chosen):
            if moves:
                value = block(output.result, k)
            else:
                own = () if output.result is None else derivative.values[output.result].dims
                type = derivative.tangent_types[k]
                value = zeros(type.with_dims((*own, *type.dims)))
            whole = output.flavour == "array" or lift(inner.leaves[leaf]).flavour == "array"
            blocks[leaf] = wrap(value, "array" if whole else output.flavour)
        out.append(inner.like_arguments(blocks))
    return unflatten(inner.traced.out_tree, out)


def _check_float(inner: Inner, output: Any, what: str) -> None:
    if inner.moving(output) or isinstance(output.value, float):
        return
    raise errors.DifferentiationError(
        f"{what} of {inner.name}: a result is no float",
        remedy="return floats only, or convert with .astype(np.float64)",
    )


def _along_unit_vectors(
    linear: Function, residuals: Sequence[Value], k: int, types: Sequence[ArrayType]
) -> Sequence[Value]:
    """`linear` applied to every unit vector of its k-th tangent, the others zero: its results with
    a leading axis that counts the elements of that tangent in C order."""
    size = 1
    for extent in types[k].shape:
        size *= extent
    with Builder("unit_vector") as b:
        i = b.param(ir.types.scalar(ir.types.i64), "i")
        consts = b.params_like(residuals)
        tangents = [zeros(t) for t in types]
        tangents[k] = _unit(i, types[k], size)
        body = b.build(*b.inline(linear, [*consts, *tangents]))
    stacked: Sequence[Value] = ops.for_(ir.index(size), body, residuals, (), ())
    return stacked


def _unit(i: Value, type: ArrayType, size: int) -> Value:
    if not type.dims:
        return ir.literal(1, type.dtype)
    counted = ops.iota((size,), 0, ir.types.i64)
    hit = ops.eq(counted, ops.broadcast(i, (size,), ()))
    return ops.reshape(ops.convert(hit, type.dtype), type.dims)
