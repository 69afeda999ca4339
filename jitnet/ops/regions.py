"""What the ops with regions share: type rules of regions, and regions built from callables.

    func @body(%k: i64, %z: f64[%k]) -> (i64, f64[%0])

The dims of a region's params are ints or params before them; those of its results are ints, params
or other results. Seen from its equation a param is the operand that it is bound to, and a result is
the equation's result at the same place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from jitnet.ir import (
    ArrayType,
    Attrs,
    Dim,
    Eqn,
    Function,
    ResultDim,
    Type,
    TypeRuleError,
    Value,
    current,
    substitute_type,
)
from jitnet.ir import types as T
from jitnet.ops.primitive import InferRule, Sample

Region = Function | Callable[..., Any]
"""A region, or a function that builds its equations and returns its results."""

Evaluate = Callable[[Function, Sequence[Any]], Sequence[Any]]

INDEX = T.scalar(T.i64)


def no_samples() -> Iterator[Sample]:
    return iter(())


def result_types(region: Function, bound: dict[Value, Value], offset: int = 0) -> tuple[Type, ...]:
    """The types of a region's results as its equation's results: dims that are results of the
    region become ResultDims, dims that are params become what `bound` maps them to."""
    env = dict(bound)
    for i, r in enumerate(region.results):
        if r.type == INDEX and r not in env:
            env[r] = ResultDim(i + offset)
    return tuple(substitute_type(r.type, env) for r in region.results)


def require(condition: bool, message: str) -> None:
    if not condition:
        raise TypeRuleError(message)


def check_params(
    op: str, operands: Sequence[Value], params: Sequence[Value], env: dict[Value, Value]
) -> None:
    """Params must have the types of the operands, dims mapped by position."""
    require(len(operands) == len(params), f"{op}: {len(params)} params for {len(operands)} values")
    env.update(zip(params, operands))
    for v, p in zip(operands, params):
        wanted = substitute_type(p.type, env)
        if wanted != v.type:
            raise TypeRuleError(f"{op}: the region takes {wanted} as {p}, not {v.type}")


def infer_region(name: str) -> InferRule:
    """The type rule of an op that gives what its region makes of its operands."""

    def infer(
        operands: Sequence[Value], attrs: Attrs, regions: Sequence[Function]
    ) -> tuple[Type, ...]:
        env: dict[Value, Value] = {}
        check_params(name, operands, regions[0].params, env)
        return result_types(regions[0], env)

    return infer


def evaluate_region(eqn: Eqn, evaluate: Evaluate, *operands: Any) -> tuple[Any, ...]:
    """The reference of such an op."""
    return tuple(evaluate(eqn.regions[0], operands))


def as_region(name: str, body: Region, like: Sequence[Value]) -> Function:
    """A region from a callable, which gets params of the types of `like`."""
    if isinstance(body, Function):
        return body
    with current().child(name) as b:
        results = body(*b.params_like(like))
    return b.build(*as_tuple(results))


def as_tuple(values: Any) -> tuple[Value, ...]:
    return (values,) if isinstance(values, Value) else tuple(values or ())


def same_type(a: Type, b: Type) -> bool:
    if not (isinstance(a, ArrayType) and isinstance(b, ArrayType)):
        return a == b
    return a.dtype == b.dtype and len(a.dims) == len(b.dims) and all(map(same_dim, a.dims, b.dims))


def same_dim(a: Dim, b: Dim) -> bool:
    if isinstance(a, ResultDim) and isinstance(b, ResultDim):
        return a.index == b.index
    return a is b or a == b


def carried_types(
    op: str, results: Sequence[Value], carried: Sequence[Value], env: dict[Value, Value]
) -> list[Type]:
    """What a loop returns for its carries: their types, carried dims as ResultDims."""
    require(len(results) == len(carried), f"{op}: {len(results)} results for the carries")
    step = dict(zip(carried, results))
    for r, p in zip(results, carried):
        wanted = substitute_type(p.type, step)
        require(
            wanted == r.type, f"{op}: {p} is carried as {wanted}, but the body returns {r.type}"
        )
    final: dict[Value, Value] = dict(env)
    final.update({p: ResultDim(i) for i, p in enumerate(carried) if p.type == INDEX})
    return [substitute_type(p.type, final) for p in carried]
