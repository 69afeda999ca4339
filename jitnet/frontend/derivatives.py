"""grad and jvp of a function, inside a running trace; and what changes how they see one.

    value_and_grad(fn, (w, x), {}, argnums=0, has_aux=False)
      # %value, %dw = the Function of value_and_grad(fn), inlined with its operands %w, %x

Each traces `fn`, transforms the Function and inlines what comes out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jitnet import errors, ops, transforms
from jitnet.frontend.context import ORDERS, current_trace
from jitnet.frontend.flow import calling
from jitnet.frontend.inner import (
    Argnums,
    Callee,
    Inner,
    builder,
    check_pair,
    fitting,
    is_number,
    trace_inner,
    trace_whole,
    zeros_like,
)
from jitnet.frontend.pytree import LEAF, flatten, flatten_like, leaf_paths, unflatten
from jitnet.frontend.tracer import Tracer, lift, wrap
from jitnet.ir import Effect

# -- gradients of scalars --------------------------------------------------------------------------


def value_and_grad(
    fn: Callee,
    args: Sequence[Any],
    kwargs: dict[str, Any],
    argnums: Argnums,
    has_aux: bool,
    holomorphic: bool = False,
    memory: int | None = None,
) -> tuple[Any, Any]:
    """fn's result, and the gradient in trees like the arguments."""
    inner = trace_inner(fn, args, kwargs, argnums, "grad", holomorphic)
    result = _scalar_result(inner, has_aux, holomorphic)
    count = len(inner.function.results)
    tree = inner.traced.out_tree
    if result is None:
        values = builder().inline(inner.function, inner.operands)
        inner.write_back(values)
        nothing = {i: zeros_like(inner.leaves[i]) for i in inner.chosen}
        return unflatten(tree, inner.results(values)), inner.like_arguments(nothing)
    both = transforms.value_and_grad(inner.function, inner.wrt, result, memory)
    values = builder().inline(both, inner.operands)
    inner.write_back(values)
    gradient = inner.like_arguments(inner.flavoured(values[count:]))
    return unflatten(tree, inner.results(values[:count])), gradient


def _scalar_result(inner: Inner, has_aux: bool, holomorphic: bool) -> int | None:
    """Which result is differentiated; None for a constant.

    Raises:
        DifferentiationError: where it is no float scalar.
    """
    tokens = inner.traced.out_tree.tokens
    if has_aux:
        check_pair(inner, "grad")
    token = tokens[1 if has_aux else 0]
    if token is not LEAF and token[0] is type(None):
        raise errors.DifferentiationError(
            f"grad of {inner.name}: the function returns nothing",
            remedy="return the scalar that is to be differentiated",
        )
    if token is not LEAF:
        raise errors.DifferentiationError(
            f"grad of {inner.name}: the function returns a container, not one float scalar",
            remedy="return the scalar, or (scalar, aux) with has_aux=True",
        )
    output = inner.outputs[0]
    if output.result is None and isinstance(output.value, float):
        return None
    if output.result is None and not is_number(output.value):
        raise errors.DifferentiationError(
            f"grad of {inner.name}: the function returns {errors.describe(output.value)}",
            why="a gradient is that of one float scalar",
        )
    value = lift(output.value).value if output.result is None else None
    value = value or inner.function.results[output.result or 0]
    wanted = "complex" if holomorphic else "float"
    if value.rank or not (value.dtype.is_complex if holomorphic else value.dtype.is_float):
        raise errors.DifferentiationError(
            f"grad of {inner.name}: the function returns {value.dtype}{list(value.dims)}",
            why=f"a gradient is that of one {wanted} scalar",
            remedy=_remedy(value.dtype.is_complex, holomorphic),
        )
    return output.result


def _remedy(is_complex: bool, holomorphic: bool) -> str:
    """What to write instead, for a result that cannot be differentiated."""
    if is_complex == holomorphic:
        return "reduce the result (.sum(), .mean()), or use jacrev, vjp or jvp"
    if holomorphic:
        return "leave holomorphic=True out"
    return (
        "return a real number (.real, np.abs(z) ** 2); for the complex derivative of a holomorphic "
        "function, grad(..., holomorphic=True)"
    )


# -- directional derivatives -----------------------------------------------------------------------


def jvp(
    fn: Callee, primals: tuple[Any, ...], tangents: tuple[Any, ...], has_aux: bool = False
) -> tuple[Any, ...]:
    """fn's result, and its tangent; trees of one structure; and aux."""
    inner = trace_inner(fn, primals, {}, range(len(primals)), "jvp")
    if has_aux:
        check_pair(inner, "jvp")
    leaves, tree = flatten(primals)
    directions = flatten_like(tree, tangents, "tangents")
    paths = leaf_paths(tree)
    given = [
        fitting(
            directions[i], lift(leaves[i]).value.array_type, f"the tangent of primal {paths[i]}"
        )
        for i in inner.chosen
    ]
    pushed, nonzero = transforms.jvp(inner.function, inner.nonzero)
    values = builder().inline(pushed, [*inner.operands, *given])
    inner.write_back(values)
    count = len(inner.function.results)
    moved = iter(values[count:])
    tangent_of = {i: next(moved) for i, moves in enumerate(nonzero) if moves}
    results = inner.results(values[:count])
    out = []
    for output, result in zip(inner.outputs, results):
        if output.result in tangent_of:
            out.append(wrap(tangent_of[output.result], output.flavour))
        else:
            out.append(zeros_like(result))
    result, moved = (unflatten(inner.traced.out_tree, leaves) for leaves in (results, out))
    return (result[0], moved[0], result[1]) if has_aux else (result, moved)


# -- what derivatives see --------------------------------------------------------------------------


def checkpoint(fn: Callee, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """fn's result; a derivative around saves the arguments only. What prints is run once, and what
    returns arrays whose extents data decides is saved as a whole: these are called like others."""
    if ORDERS.get() == 0:
        return fn(*args, **kwargs) if current_trace() is None else calling.call(fn, *args, **kwargs)
    inner = trace_whole(fn, args, kwargs)
    known = {*inner.function.params}
    decided = (d for r in inner.function.results for d in r.type.symbolic)
    if any(e.op.effect is Effect.HOST for e in inner.function.walk()) or not known.issuperset(
        decided
    ):
        values = builder().inline(inner.function, inner.operands)
    else:
        values = ops.checkpoint(inner.function, inner.operands)
    inner.write_back(values)
    return unflatten(inner.traced.out_tree, inner.results(values))


def stop_gradient(x: Any) -> Any:
    """The same tree, constant for every derivative around."""
    if current_trace() is None:
        return x
    leaves, tree = flatten(x)
    return unflatten(tree, [_stopped(leaf) for leaf in leaves])


def _stopped(leaf: Any) -> Any:
    if type(leaf) is not Tracer or not leaf.value.dtype.is_inexact:
        return leaf
    own = lift(leaf)
    return wrap(ops.stop_gradient(own.value), own.flavour)
