"""Control flow: `if`, `for`, `while`, `call`, `fused`; and `check`, which raises.

    %s: f64 = for %n, %x, 0.0 {carries=1, consts=1, reverse=false} (%i: i64, %x: f64[8], %s: f64) {
      ...
      return %s.1
    }

Regions are closed: what they use comes in through their params. The dims of a region's results are
ints, params of the region or other results of it, so that a loop may carry `%k: i64, %z: f64[%k]`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jitnet import errors
from jitnet.ir import (
    ArrayType,
    Attrs,
    Dim,
    Effect,
    Eqn,
    Function,
    Literal,
    ResultDim,
    Type,
    Value,
    as_dim,
    current,
    substitute_type,
)
from jitnet.ir import types as T
from jitnet.ir.facts import Claim, Entry, Exit, FactRule, Steps, Truth
from jitnet.ops import control_batches as batches
from jitnet.ops import loop_derivatives as d
from jitnet.ops.branch_splits import split_call, split_if
from jitnet.ops.counters import carried
from jitnet.ops.loop_checkpoints import split_for, split_while
from jitnet.ops.primitive import (
    JvpTransform,
    Primitive,
    Structured,
    Tangents,
    lane_by_lane,
    never,
    nondifferentiable,
    not_linear,
)
from jitnet.ops.regions import (
    INDEX,
    Evaluate,
    Region,
    as_region,
    as_tuple,
    carried_types,
    check_params,
    evaluate_region,
    infer_region,
    no_samples,
    require,
    result_types,
    same_dim,
    same_type,
)

# -- if --------------------------------------------------------------------------------------------


def _infer_if(
    operands: Sequence[Value], attrs: Attrs, regions: Sequence[Function]
) -> tuple[Type, ...]:
    pred, *rest = operands
    then, orelse = regions
    require(pred.type == T.scalar(T.bool_), f"if: the condition is {pred.type}, not bool")
    arms: list[tuple[Type, ...]] = []
    for region in (then, orelse):
        env: dict[Value, Value] = {}
        check_params("if", rest, region.params, env)
        arms.append(result_types(region, env))
    require(len(arms[0]) == len(arms[1]), "if: the arms return different numbers of values")
    found = []
    for i, (a, b) in enumerate(zip(*arms)):
        joined = a if same_type(a, b) else _ragged(a, b, i, then, orelse)
        require(joined is not None, f"if: one arm returns {a}, the other {b}")
        found.append(joined)
    return tuple(t for t in found if t is not None)


def _ragged(a: Type, b: Type, i: int, then: Function, orelse: Function) -> Type | None:
    """The type of a result whose extents are not those of the same values in both arms: each is
    then another result, in which the arms say what it is."""
    if not (isinstance(a, ArrayType) and isinstance(b, ArrayType)):
        return None
    if a.dtype != b.dtype or len(a.dims) != len(b.dims):
        return None
    dims: list[Dim] = []
    for axis, (x, y) in enumerate(zip(a.dims, b.dims)):
        if same_dim(x, y):
            dims.append(x)
            continue
        own = [region.results[i].dims[axis] for region in (then, orelse)]
        pairs = zip(then.results, orelse.results)
        place = next((j for j, r in enumerate(pairs) if _are(r, own)), None)
        if place is None:
            return None
        dims.append(ResultDim(place))
    return ArrayType(a.dtype, tuple(dims))


def _are(results: tuple[Value, Value], dims: Sequence[Dim]) -> bool:
    """Whether two arms return their own extent of an array at this place."""
    pairs = zip(results, dims)
    return all(r.type == INDEX and (as_dim(r) is d or as_dim(r) == d) for r, d in pairs)


def _numpy_if(eqn: Eqn, evaluate: Evaluate, pred: Any, *operands: Any) -> tuple[Any, ...]:
    return tuple(evaluate(eqn.regions[0 if pred else 1], operands))


def _enter_arms(eqn: Eqn) -> Sequence[Sequence[Entry]]:
    """The regions take the last operands."""
    return [eqn.operands[len(eqn.operands) - len(r.params) :] for r in eqn.regions]


def _given_in_arms(eqn: Eqn) -> Sequence[Sequence[Claim]]:
    return [Truth(eqn.operands[0], True)], [Truth(eqn.operands[0], False)]


def _leave_arms(eqn: Eqn) -> Sequence[Sequence[Exit]]:
    return [[(0, j), (1, j)] for j in range(len(eqn.results))]


IF = Primitive(
    "if",
    infer=_infer_if,
    numpy=_numpy_if,
    jvp=d.jvp_if,
    transpose=d.transpose_if,
    batch=batches.batch_if,
    lower=[Structured()],
    samples=no_samples,
    has_regions=True,
    split=split_if,
    facts=FactRule(entry=_enter_arms, given=_given_in_arms, exits=_leave_arms),
)


def if_(pred: Value, then: Region, orelse: Region, operands: Sequence[Value]) -> tuple[Value, ...]:
    """`then(*operands)` where `pred` holds, else `orelse(*operands)`; the types are the same."""
    regions = (as_region("then", then, operands), as_region("else", orelse, operands))
    return current().bind(IF, (pred, *operands), {}, regions)


# -- for -------------------------------------------------------------------------------------------


def _infer_for(
    operands: Sequence[Value], attrs: Attrs, regions: Sequence[Function]
) -> tuple[Type, ...]:
    (body,) = regions
    n, *rest = operands
    n_consts, n_carries = attrs["consts"], attrs["carries"]
    require(n.type == INDEX, f"for: the trip count is {n.type}, not i64")
    fixed = n_consts + n_carries
    params = body.params[1:]
    env: dict[Value, Value] = {}
    check_params("for", rest[:fixed], params[:fixed], env)
    for x, p in zip(rest[fixed:], params[fixed:], strict=True):
        row = substitute_type(p.type, env)
        wanted = x.array_type.with_dims(x.dims[1:])
        require(x.dims[0] == as_dim(n), f"for: {x} of {x.type} is scanned {n} times")
        require(row == wanted, f"for: the region takes {row} as {p}, not {wanted}")
    carried = body.params[1 + n_consts : 1 + fixed]
    types = carried_types("for", body.results[:n_carries], carried, env)
    for y in body.results[n_carries:]:
        y_type = substitute_type(y.type, env)
        assert isinstance(y_type, ArrayType)
        types.append(ArrayType(y_type.dtype, (as_dim(n), *y_type.dims)))
    return tuple(types)


def _numpy_for(eqn: Eqn, evaluate: Evaluate, n: Any, *operands: Any) -> tuple[Any, ...]:
    (body,) = eqn.regions
    n_consts, n_carries = eqn.attrs["consts"], eqn.attrs["carries"]
    consts, rest = operands[:n_consts], operands[n_consts:]
    carries, xs = list(rest[:n_carries]), rest[n_carries:]
    steps = range(int(n))
    ys: dict[int, Sequence[Any]] = {}
    for i in reversed(steps) if eqn.attrs["reverse"] else steps:
        out = evaluate(body, (np.int64(i), *consts, *carries, *(x[i] for x in xs)))
        carries, ys[i] = list(out[:n_carries]), out[n_carries:]
    stacked: list[Any] = []
    known = dict(zip(eqn.operands, (n, *operands)))
    for j, r in enumerate(eqn.results[n_carries:]):
        if steps:
            stacked.append(np.stack([ys[i][j] for i in steps]))
        else:
            dims = [d if isinstance(d, int) else int(known.get(d, 0)) for d in r.dims[1:]]
            stacked.append(np.empty((0, *dims), r.dtype.numpy))
    return (*carries, *stacked)


def _enter_for(eqn: Eqn) -> Sequence[Sequence[Entry]]:
    (n, *rest), (body,) = eqn.operands, eqn.regions
    consts, fixed = eqn.attrs["consts"], eqn.attrs["consts"] + eqn.attrs["carries"]
    same = list(zip(body.params[1:], rest[:consts]))
    carries = carried(body, body.params[1 + consts : 1 + fixed], rest[consts:fixed], same)
    return [[Steps(0, as_dim(n)), *rest[:consts], *carries, *[None] * (len(rest) - fixed)]]


def _leave_loop(eqn: Eqn) -> Sequence[Sequence[Exit]]:
    """A carry is what it was before, or what the last step made of it."""
    first = eqn.attrs["consts"] + (eqn.op is FOR)
    last = len(eqn.regions) - 1
    return [[eqn.operands[first + j], (last, j)] for j in range(eqn.attrs["carries"])]


FOR = Primitive(
    "for",
    infer=_infer_for,
    numpy=_numpy_for,
    jvp=d.jvp_for,
    transpose=d.transpose_for,
    batch=batches.batch_for,
    total=lambda eqn: isinstance(eqn.operands[0], Literal),
    lower=[Structured()],
    samples=no_samples,
    has_regions=True,
    split=split_for,
    facts=FactRule(entry=_enter_for, exits=_leave_loop),
)


def for_(
    n: Value,
    body: Region,
    consts: Sequence[Value] = (),
    carries: Sequence[Value] = (),
    xs: Sequence[Value] = (),
    reverse: bool = False,
) -> tuple[Value, ...]:
    """Run `body(i, consts, carries, xs[i])` for i in [0, n); it returns `(carries, ys)`, or the
    carries alone. Returns the final carries, then the ys stacked along a new first axis of extent
    n. With `reverse`, i runs from n - 1 down to 0."""
    if not isinstance(body, Function):
        body = _loop_region(body, consts, carries, xs)
    attrs = {"consts": len(consts), "carries": len(carries), "scans": len(xs), "reverse": reverse}
    return current().bind(FOR, (n, *consts, *carries, *xs), attrs, (body,))


def _loop_region(
    body: Callable[..., Any],
    consts: Sequence[Value],
    carries: Sequence[Value],
    xs: Sequence[Value],
) -> Function:
    with current().child("body") as b:
        i = b.param(INDEX, "i")
        inner = b.params_like([*consts, *carries])
        env = dict(zip([*consts, *carries], inner))
        rows = [
            b.param(substitute_type(x.array_type.with_dims(x.dims[1:]), env), x.name) for x in xs
        ]
        results = body(i, inner[: len(consts)], inner[len(consts) :], tuple(rows))
    if isinstance(results, tuple) and len(results) == 2 and not isinstance(results[0], Value):
        carried, stacked = results
        return b.build(*as_tuple(carried), *as_tuple(stacked))
    return b.build(*as_tuple(results))


# -- while -----------------------------------------------------------------------------------------


def _infer_while(
    operands: Sequence[Value], attrs: Attrs, regions: Sequence[Function]
) -> tuple[Type, ...]:
    cond, body = regions
    n_consts = attrs["consts"]
    env: dict[Value, Value] = {}
    check_params("while", operands, cond.params, {})
    check_params("while", operands, body.params, env)
    require(
        len(cond.results) == 1 and cond.results[0].type == T.scalar(T.bool_),
        "while: the condition returns one bool",
    )
    return tuple(carried_types("while", body.results, body.params[n_consts:], env))


def _numpy_while(eqn: Eqn, evaluate: Evaluate, *operands: Any) -> tuple[Any, ...]:
    cond, body = eqn.regions
    n_consts = eqn.attrs["consts"]
    consts, carries = operands[:n_consts], operands[n_consts:]
    while evaluate(cond, (*consts, *carries))[0]:
        carries = tuple(evaluate(body, (*consts, *carries)))
    return tuple(carries)


def _enter_while(eqn: Eqn) -> Sequence[Sequence[Entry]]:
    consts, (cond, body) = eqn.attrs["consts"], eqn.regions
    same = list(zip(body.params, eqn.operands[:consts]))
    carries = carried(body, body.params[consts:], eqn.operands[consts:], same)
    first = [*eqn.operands[:consts], *carries]
    return first, [e if isinstance(e, Value) else p for e, p in zip(first, cond.params)]


def _given_in_while(eqn: Eqn) -> Sequence[Sequence[Claim]]:
    """The body runs where the condition holds, of the same values."""
    return (), [Truth(eqn.regions[0].results[0], True)]


WHILE = Primitive(
    "while",
    infer=_infer_while,
    numpy=_numpy_while,
    jvp=d.jvp_while,
    transpose=not_linear,
    batch=batches.batch_while,
    total=never,
    lower=[Structured()],
    samples=no_samples,
    has_regions=True,
    split=split_while,
    facts=FactRule(entry=_enter_while, given=_given_in_while, exits=_leave_loop),
)


def while_(
    cond: Region, body: Region, consts: Sequence[Value] = (), carries: Sequence[Value] = ()
) -> tuple[Value, ...]:
    """While `cond(consts, carries)` holds, `carries = body(consts, carries)`."""
    regions: list[Function] = []
    for name, region in (("cond", cond), ("body", body)):
        if isinstance(region, Function):
            regions.append(region)
            continue
        with current().child(name) as b:
            inner = b.params_like([*consts, *carries])
            results = region(inner[: len(consts)], inner[len(consts) :])
        regions.append(b.build(*as_tuple(results)))
    attrs = {"consts": len(consts), "carries": len(carries)}
    return current().bind(WHILE, (*consts, *carries), attrs, regions)


# -- call, fused -----------------------------------------------------------------------------------


CALL = Primitive(
    "call",
    infer=infer_region("call"),
    numpy=evaluate_region,
    jvp=d.jvp_region,
    transpose=d.transpose_region,
    batch=batches.batch_call,
    lower=[Structured()],
    samples=no_samples,
    has_regions=True,
    split=split_call,
    facts=FactRule(entry=_enter_arms),
)

FUSED = Primitive(
    "fused",
    infer=infer_region("fused"),
    numpy=evaluate_region,
    jvp=d.jvp_inlined,
    transpose=d.transpose_inlined,
    batch=batches.batch_call,
    lower=[Structured()],
    samples=no_samples,
    has_regions=True,
    facts=FactRule(entry=_enter_arms),
)


def call(f: Function, args: Sequence[Value]) -> tuple[Value, ...]:
    """The results of a Function on these values; a pass inlines it."""
    return current().bind(CALL, args, {"name": f.name}, (f,))


def _after_transforms(
    eqn: Eqn, primals: Sequence[Value], tangents: Tangents, jvp: JvpTransform
) -> tuple[Sequence[Value], Tangents]:
    raise AssertionError("invoke: equations are outlined when all transforms are done")


def _infer_invoke(
    operands: Sequence[Value], attrs: Attrs, regions: Sequence[Function]
) -> tuple[Type, ...]:
    return infer_region("call")(operands, attrs, (attrs["callee"],))


def _numpy_invoke(eqn: Eqn, evaluate: Evaluate, *operands: Any) -> tuple[Any, ...]:
    return tuple(evaluate(eqn.attrs["callee"], operands))


INVOKE = Primitive(
    "invoke",
    infer=_infer_invoke,
    numpy=_numpy_invoke,
    jvp=_after_transforms,
    transpose=not_linear,
    batch=lane_by_lane,
    lower=[Structured()],
    samples=no_samples,
    has_regions=True,
    effect=Effect.MAY_RAISE,
)
"""A call of a Function that is compiled by itself, once for all its callers; see
`passes.outline`. It stays where it is: what the callee does is not looked into."""


def fused(f: Function, args: Sequence[Value], rows: int | None = None) -> tuple[Value, ...]:
    """A group of equations that is lowered to one kernel; see `passes.fuse`."""
    return current().bind(FUSED, args, {"rows": rows}, (f,))


# -- check -----------------------------------------------------------------------------------------


def _infer_check(
    operands: Sequence[Value], attrs: Attrs, regions: Sequence[Function]
) -> tuple[Type, ...]:
    require(operands[0].type == T.scalar(T.bool_), "check: the condition is a bool scalar")
    require(all(v.rank == 0 for v in operands), "check: values are scalars")
    return ()


def _numpy_check(eqn: Eqn, ok: Any, *values: Any) -> tuple[Any, ...]:
    if not ok:
        message = errors.filled_in(eqn.attrs["message"], values)
        errors.raise_from_program(eqn.attrs["error"], message, eqn.loc.frames)
    return ()


CHECK = Primitive(
    "check",
    infer=_infer_check,
    numpy=_numpy_check,
    jvp=nondifferentiable,
    transpose=not_linear,
    batch=batches.batch_check,
    lower=[Structured()],
    samples=no_samples,
    effect=Effect.MAY_RAISE,
    facts=FactRule(after=lambda eqn: [Truth(eqn.operands[0], True)]),
)


def check(ok: Value, values: Sequence[Value], error: str, message: str) -> None:
    """Raise the exception class named `error` where `ok` is false; `{0}`, `{1}` of the message are
    filled in with `values`."""
    current().bind(CHECK, (ok, *values), {"error": error, "message": message})
