"""Derivatives as linear maps: vjp's pullback, and Jacobians.

    out, pullback = vjp(fn, x)      # linearise fn at x, transpose: a Function of the residuals
    pullback(ct)                    # inlined, or compiled when called outside of a trace

A Jacobian loops over unit vectors in the IR, so it is one program whatever its size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from jitnet import errors, ir, ops, passes, transforms
from jitnet.frontend.context import current_trace
from jitnet.frontend.dims import count, retag
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
from jitnet.frontend.unit_vectors import for_each
from jitnet.ir import (
    ArrayType,
    Builder,
    Function,
    TapeType,
    Value,
    substitute_dims,
    substitute_type,
)
from jitnet.ops.residuals import with_extents


@dataclass(frozen=True)
class Derivative:
    """A function's derivative at a point, as a linear Function.

    Attributes:
        values: the results of the function, in the running trace.
        residuals: what the linear Function needs, in the running trace.
        linear: `(residuals, tangents of the differentiated leaves) → tangents of moving results`,
            or its transpose, `(residuals, cotangents of moving results) → cotangents of leaves`.
        moving: the results that have tangents.
    """

    inner: Inner
    values: tuple[Value, ...]
    residuals: tuple[Value, ...]
    linear: Function
    moving: tuple[int, ...]

    @property
    def leaf_types(self) -> list[ArrayType]:
        return [lift(self.inner.leaves[i]).value.array_type for i in self.inner.chosen]

    @property
    def result_types(self) -> list[ArrayType]:
        return [self.values[i].array_type for i in self.moving]


def forward(inner: Inner) -> Derivative:
    """The results of a function, and its derivative as a linear Function."""
    known, linear, moving = transforms.linearize(inner.function, inner.nonzero)
    return _at_values(inner, known, linear, moving)


def pushed(inner: Inner) -> Derivative:
    """As `forward`, for a derivative that saves nothing: it computes the function once more."""
    f = inner.function
    both, moving = transforms.jvp(f, inner.nonzero)
    linear = replace(both, results=both.results[len(f.results) :], _hash=[])
    derivative = _at_values(inner, f, linear, moving)
    return replace(derivative, residuals=inner.operands)


def backward(inner: Inner, memory: int | None = None) -> Derivative:
    """The results of a function, and the transpose of its derivative. A tape is no array that a
    program could hand out: where there is one, the transpose takes the function's params too, and
    fills the tape once more (which is found to be the same, inside of one program). `memory`: bytes
    for what is saved."""
    known, linear, moving = transforms.vjp(inner.function, inner.wrt, None, memory)
    derivative = _at_values(inner, known, linear, moving)
    saved = [r for r in derivative.residuals if not isinstance(r.type, TapeType)]
    if len(saved) == len(derivative.residuals):
        return derivative
    again = _with_tapes(known, linear, len(derivative.residuals))
    return replace(derivative, residuals=(*inner.operands, *saved), linear=again)


def _with_tapes(known: Function, linear: Function, count: int) -> Function:
    """The linear Function, of the known one's params and its own residuals that are no tapes."""
    with Builder(linear.name) as b:
        params = b.params_like(known.params)
        residuals = linear.params[:count]
        kept = [r for r in residuals if not isinstance(r.type, TapeType)]
        env = dict(zip(kept, b.params_like(kept)))
        given = [
            b.param(substitute_type(p.type, env), p.name) for p in linear.params[len(residuals) :]
        ]
        made = b.inline(known, params)[len(known.results) - count :]
        operands = [env.get(r, m) for r, m in zip(residuals, made, strict=True)]
        return b.build(*b.inline(linear, [*operands, *given]))


def _at_values(
    inner: Inner, known: Function, linear: Function, moving: Sequence[bool]
) -> Derivative:
    values = builder().inline(known, inner.operands)
    inner.write_back(values)
    shown = len(inner.function.results)
    places = tuple(i for i, moves in enumerate(moving) if moves)
    return Derivative(inner, values[:shown], values[shown:], linear, places)


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
    known = dict(zip(rule.transposed.params, operands))
    for i, param in enumerate(rule.transposed.params[: len(operands)]):
        operands[i] = retag(operands[i], substitute_dims(param.dims, known))
    for group, param in zip(rule.groups, rule.transposed.params[len(operands) :]):
        type = substitute_type(param.type, known)
        assert isinstance(type, ArrayType)
        given = [fitting(leaves[k], type, "the cotangent") for k in group]
        total = given[0] if given else zeros(type)
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


def vjp(
    fn: Callee, primals: tuple[Any, ...], has_aux: bool, memory: int | None = None
) -> tuple[Any, ...]:
    """fn's result and its pullback, and aux."""
    inner = trace_inner(fn, primals, {}, range(len(primals)), "vjp")
    if has_aux:
        check_pair(inner, "vjp")
    derivative = backward(inner, memory)
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
    rule = PullbackRule(derivative.linear, tree, groups, flatten(primals)[1], tuple(leaves))
    return (result, Pullback(rule, _as_leaves(derivative.residuals)), *aux)


def _as_leaves(residuals: Sequence[Value]) -> list[Tracer]:
    return [wrap(r, "array" if r.rank else "scalar") for r in residuals]


# -- Jacobians -------------------------------------------------------------------------------------


def jacfwd(
    fn: Callee,
    args: Sequence[Any],
    kwargs: dict[str, Any],
    argnums: Argnums,
    has_aux: bool = False,
    holomorphic: bool = False,
    saves: bool = True,
) -> Any:
    """The Jacobian by columns: a tree like the result, of trees like the arguments; and aux.
    `saves`: whether columns share what they have in common, or it is computed for each of them."""
    inner = trace_inner(fn, args, kwargs, argnums, "jacfwd", holomorphic)
    derivative = forward(inner) if saves else pushed(inner)
    types = derivative.leaf_types
    _check_complex(inner, types, holomorphic, "jacfwd", "argument")
    columns = [
        _along_unit_vectors(derivative.linear, derivative.residuals, k, types, saves)
        for k in range(len(types))
    ]

    def block(result: int, leaf: int) -> Value:
        stacked = columns[leaf][derivative.moving.index(result)]
        back = ops.transpose(stacked, (*range(1, stacked.rank), 0))
        return ops.reshape(back, (*stacked.dims[1:], *types[leaf].dims))

    return _jacobian(derivative, block, has_aux, "jacfwd")


def jacrev(
    fn: Callee,
    args: Sequence[Any],
    kwargs: dict[str, Any],
    argnums: Argnums,
    has_aux: bool = False,
    holomorphic: bool = False,
    memory: int | None = None,
) -> Any:
    """The Jacobian by rows: a tree like the result, of trees like the arguments; and aux."""
    inner = trace_inner(fn, args, kwargs, argnums, "jacrev", holomorphic)
    derivative = backward(inner, memory)
    types = derivative.result_types
    _check_complex(inner, types, holomorphic, "jacrev", "result")
    rows = [
        _along_unit_vectors(derivative.linear, derivative.residuals, k, types)
        for k in range(len(types))
    ]

    def block(result: int, leaf: int) -> Value:
        k = derivative.moving.index(result)
        stacked = rows[k][leaf]
        return ops.reshape(stacked, (*types[k].dims, *stacked.dims[1:]))

    return _jacobian(derivative, block, has_aux, "jacrev")


def _check_complex(
    inner: Inner, types: Sequence[ArrayType], holomorphic: bool, what: str, place: str
) -> None:
    """Refuse Jacobians that need two numbers for each entry."""
    if holomorphic or not any(t.dtype.is_complex for t in types):
        return
    raise errors.DifferentiationError(
        f"{what} of {inner.name} in a complex {place}",
        why="the derivative of a function that need not be holomorphic is no complex number",
        remedy=f"{what}(..., holomorphic=True) if it is, or differentiate real and imaginary parts",
    )


def _jacobian(derivative: Derivative, block: Any, has_aux: bool, what: str) -> Any:
    inner = derivative.inner
    result = unflatten(inner.traced.out_tree, inner.results(derivative.values))
    if has_aux:
        check_pair(inner, what)
        result, aux = result
    leaves, tree = flatten(result)
    out = []
    for output in inner.outputs[: len(leaves)]:  # aux comes last
        moves = output.result in derivative.moving
        if not moves:
            _check_float(inner, output, what)
        blocks: dict[int, Any] = {}
        for k, leaf in enumerate(inner.chosen):
            if moves:
                value = block(output.result, k)
            else:
                own = () if output.result is None else derivative.values[output.result].dims
                type = derivative.leaf_types[k]
                value = zeros(type.with_dims((*own, *type.dims)))
            whole = output.flavour == "array" or lift(inner.leaves[leaf]).flavour == "array"
            blocks[leaf] = wrap(value, "array" if whole else output.flavour)
        out.append(inner.like_arguments(blocks))
    jacobian = unflatten(tree, out)
    return (jacobian, aux) if has_aux else jacobian


def _check_float(inner: Inner, output: Any, what: str) -> None:
    if inner.moving(output) or isinstance(output.value, float):
        return
    raise errors.DifferentiationError(
        f"{what} of {inner.name}: a result is no float",
        remedy="return floats only, or convert with .astype(np.float64)",
    )


def _along_unit_vectors(
    linear: Function,
    residuals: Sequence[Value],
    k: int,
    types: Sequence[ArrayType],
    together: bool = True,
) -> Sequence[Value]:
    """`linear` applied to every unit vector of its k-th tangent, the others zero: its results with
    a leading axis that counts the elements of that tangent in C order. `together`: whether to many
    at a time, where that pays."""
    size = count(types[k].dims)
    known = with_extents([*residuals, *(d for t in types for d in t.dims if isinstance(d, Value))])
    with Builder("unit_vector") as b:
        i = b.param(ir.types.scalar(ir.types.i64), "i")
        env = dict(zip(known, b.params_like(known)))
        inner = [t.with_dims(substitute_dims(t.dims, env)) for t in types]
        given = [env.get(v, v) for v in residuals]
        body = b.build(*_along(b, linear, given, inner, k, _unit(i, inner[k])))
    return for_each(size, passes.dce(body), known, together)


def _along(
    b: Builder,
    linear: Function,
    residuals: Sequence[Value],
    types: Sequence[ArrayType],
    k: int,
    unit: Value,
) -> Sequence[Value]:
    """`linear` where only its k-th tangent is not zero. Along that, its derivative is what it is
    itself; what hangs on the other tangents alone has none, and is not computed."""
    if len(types) == 1:
        return b.inline(linear, [*residuals, unit])
    chosen = [j == k for j in range(len(types))]
    along, moves = transforms.jvp(linear, [*[False] * len(residuals), *chosen])
    values = b.inline(along, [*residuals, *map(zeros, types), unit])
    found = iter(values[len(moves) :])
    return [next(found) if m else zeros(v.array_type) for v, m in zip(values, moves)]


def _unit(i: Value, type: ArrayType) -> Value:
    if not type.dims:
        return ir.literal(1, type.dtype)
    size = count(type.dims)
    counted = ops.iota((size,), 0, ir.types.i64)
    hit = ops.eq(counted, ops.broadcast(i, (size,), ()))
    return ops.reshape(ops.convert(hit, type.dtype), type.dims)
