"""Functions with derivative rules of their own inside of a trace: one equation with their regions.

    grad(lambda x: f(x) * 2)(1.0)    # %y = custom %x {...} @primal ... @push ...

The rules are traced where the function is called, for the types that it is called with. How often
a rule may be needed is known: as often as there are derivatives around (`context.ORDERS`). A rule
that calls its own function again is therefore traced with one derivative less, and without any the
function is called like others.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import FunctionType
from typing import Any, NamedTuple

import numpy as np

from jitnet import errors, ops
from jitnet.frontend.context import ORDERS, enter, running_trace
from jitnet.frontend.flow import calling
from jitnet.frontend.inner import is_number, zeros, zeros_like
from jitnet.frontend.pytree import TreeDef, declare_leaf, flatten, flatten_like, unflatten
from jitnet.frontend.signature import Abstract, LeafType, Static
from jitnet.frontend.trace import trace_function
from jitnet.frontend.traced import Output, Traced, function_name
from jitnet.frontend.tracer import Flavour, lift, wrap
from jitnet.ir import ArrayType, Builder, Function, Value, literal, substitute_type, types
from jitnet.ops.custom_rules import Regions
from jitnet.ops.residuals import with_extents

Callee = Callable[..., Any]


@dataclass(frozen=True)
class Given:
    """A leaf of a traced function's arguments that becomes a param of a region.

    Attributes:
        position: which param.
        type: its extents are values of the running trace.
    """

    position: int
    type: ArrayType
    flavour: Flavour

    @property
    def abstract(self) -> Abstract:
        shape = tuple(d if isinstance(d, int) else wrap(d, "python") for d in self.type.dims)
        return Abstract(self.type.dtype, shape, self.flavour)


declare_leaf(Given)


def apply(
    fn: Callee,
    rules: Mapping[str, Callee],
    nondiff_argnums: tuple[int, ...],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    """`fn(*args, **kwargs)` in the running trace: one equation where it may be differentiated."""
    orders = ORDERS.get()
    if orders == 0:
        return calling.call(fn, *args, **kwargs)
    name = function_name(fn)
    if not rules:
        raise errors.DifferentiationError(
            f"{name} is differentiated, and has no rule yet",
            remedy=f"{name}.defjvp(rule), or {name}.defvjp(forward, backward)",
        )
    call = Call.of(name, nondiff_argnums, _positional(fn, args, kwargs))
    if not call.given:
        return calling.call(fn, *args, **kwargs)
    with _orders(0):
        primal = _piece(name, fn, call.arguments)
    with _orders(orders - 1):
        outlines = _outlines(call, primal, rules)
    enter(running_trace())
    consts = with_extents([v for o in outlines.values() for v in o.reads])
    regions = Regions(**{name: o.region(name, consts) for name, o in outlines.items()})
    values = ops.custom(name, consts, call.values, regions)
    made = iter(values)
    leaves = [
        o.value if primal.type_of(k) is None else wrap(next(made), o.flavour)
        for k, o in enumerate(primal.outputs)
    ]
    return unflatten(primal.traced.out_tree, leaves)


def _positional(fn: Callee, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
    """All arguments by position, as rules get them; those of Python functions with defaults."""
    if isinstance(fn, FunctionType):
        bound = inspect.signature(fn).bind(*args, **kwargs)
        bound.apply_defaults()
        args, kwargs = bound.args, bound.kwargs
    if kwargs:
        raise errors.ArgumentError(
            f"{function_name(fn)} with arguments that are keywords only: {', '.join(kwargs)}",
            why="rules get the arguments by position",
        )
    return args


@contextmanager
def _orders(count: int) -> Iterator[None]:
    token = ORDERS.set(count)
    try:
        yield
    finally:
        ORDERS.reset(token)


# -- what is traced --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Call:
    """A call of a function with rules, in the running trace.

    Attributes:
        fixed: the arguments that rules get first, by position.
        leaves: of the other arguments, a tuple of structure `tree`.
        given: the floats among them, by the leaf; `values` what they are.
    """

    name: str
    fixed: Mapping[int, Any]
    leaves: tuple[Any, ...]
    tree: TreeDef
    given: Mapping[int, Given]
    values: tuple[Value, ...]

    @staticmethod
    def of(name: str, nondiff_argnums: Sequence[int], args: tuple[Any, ...]) -> Call:
        fixed = {n % len(args): args[n] for n in nondiff_argnums if -len(args) <= n < len(args)}
        leaves, tree = flatten(tuple(arg for n, arg in enumerate(args) if n not in fixed))
        given: dict[int, Given] = {}
        values: list[Value] = []
        for i, leaf in enumerate(leaves):
            own = lift(leaf) if is_number(leaf) else None
            if own is not None and own.value.dtype.is_inexact:
                given[i] = Given(len(values), own.value.array_type, own.flavour)
                values.append(own.value)
        return Call(name, fixed, tuple(leaves), tree, given, tuple(values))

    @property
    def types(self) -> list[ArrayType]:
        return [v.array_type for v in self.values]

    @property
    def primals(self) -> tuple[Any, ...]:
        """The arguments that are not fixed, with what is given marked."""
        leaves = [self.given.get(i, leaf) for i, leaf in enumerate(self.leaves)]
        primals: tuple[Any, ...] = unflatten(self.tree, leaves)
        return primals

    @property
    def tangents(self) -> tuple[Any, ...]:
        """Tangents of them, given behind them; zeros for those that are no floats."""
        count = len(self.values)
        leaves = [
            replace(self.given[i], position=count + self.given[i].position)
            if i in self.given
            else zeros_like(leaf)
            for i, leaf in enumerate(self.leaves)
        ]
        tangents: tuple[Any, ...] = unflatten(self.tree, leaves)
        return tangents

    @property
    def arguments(self) -> tuple[Any, ...]:
        """All arguments in their order, with what is given marked."""
        rest = iter(self.primals)
        count = len(self.fixed) + len(self.primals)
        return tuple(self.fixed[n] if n in self.fixed else next(rest) for n in range(count))

    @property
    def first(self) -> tuple[Any, ...]:
        """What rules get in front of all else."""
        return tuple(self.fixed[n] for n in sorted(self.fixed))


@dataclass(frozen=True)
class Piece:
    """A traced function that is to be a region.

    Attributes:
        params: for each param of the Function a value of the running trace, or a Given's position.
    """

    name: str
    traced: Traced
    params: tuple[Value | int, ...]

    @property
    def outputs(self) -> list[Output]:
        """How the leaves of what it returned are made."""
        return [o for o in self.traced.outputs if isinstance(o, Output)]

    @property
    def returned(self) -> Any:
        """What it returned, with the numbers of its leaves."""
        return unflatten(self.traced.out_tree, range(len(self.outputs)))

    @property
    def captured(self) -> list[Value]:
        return [v for v in self.params if isinstance(v, Value)]

    def type_of(self, leaf: int) -> ArrayType | None:
        """The type of a leaf of the result, its extents values of the running trace; None for what
        is no number that a derivative sees.

        Raises:
            DifferentiationError: where data decides on an extent.
        """
        output = self.outputs[leaf]
        if output.result is None:
            dtype = np.asarray(output.value).dtype if is_number(output.value) else np.dtype(bool)
            is_float = types.is_numeric(dtype) and dtype.kind not in "biu"
            return lift(output.value).value.array_type if is_float else None
        known = dict(zip(self.traced.function.params, self.params))
        values = {p: v for p, v in known.items() if isinstance(v, Value)}
        type = self.traced.function.results[output.result].array_type
        if any(isinstance(d, Value) and d not in values for d in type.dims):
            raise errors.DifferentiationError(
                f"{self.name} returns an array whose extent is decided by data",
                why="functions with derivative rules of their own, and the rules, must not",
            )
        found = substitute_type(type, values)
        assert isinstance(found, ArrayType)
        return found

    def is_static(self, leaf: int) -> bool:
        """Whether it is a number that was known while tracing."""
        return self.outputs[leaf].result is None

    def made(self, leaf: int, values: Sequence[Value]) -> Value:
        """A leaf of the result, where the Function's results are `values`."""
        output = self.outputs[leaf]
        if output.result is not None:
            return values[output.result]
        number = np.asarray(output.value)
        dtype = types.from_numpy(number.dtype)
        return ops.const(number) if number.ndim else literal(number[()], dtype)


def _piece(name: str, fn: Callee, args: tuple[Any, ...]) -> Piece:
    """Trace `fn(*args)`, where what is Given is not known."""
    leaves, tree = flatten((args, {}))
    kinds: list[LeafType] = [x.abstract if type(x) is Given else Static(x) for x in leaves]
    traced = trace_function(fn, tree, kinds)
    if traced.stores:
        raise errors.MutationError(
            f"{name} changes an array that it is given",
            why="functions with derivative rules of their own, and the rules, must not",
            remedy="change a copy of it, x.copy()",
        )
    params: list[Value | int] = []
    for source in traced.inputs:
        found = source.capture if source.leaf is None else leaves[source.leaf]
        if type(found) is Given:
            params.append(found.position)
        else:
            params.append(found if isinstance(found, Value) else lift(found).value)
    return Piece(name, traced, tuple(params))


# -- regions ---------------------------------------------------------------------------------------


class Wanted(NamedTuple):
    """A result of a region: a leaf of what its piece returned, or zeros; and the type it must have.

    Attributes:
        what: names it, for messages.
    """

    leaf: int | None
    type: ArrayType
    what: str


@dataclass(frozen=True)
class Outline:
    """A region: a piece, the types of what it is given behind the consts, and its results. Extents
    are values of the running trace."""

    piece: Piece
    given: Sequence[ArrayType]
    wanted: Sequence[Wanted]

    @property
    def reads(self) -> list[Value]:
        """What it takes from the running trace: values, and extents in its types."""
        dims = [d for t in (*self.given, *(w.type for w in self.wanted)) for d in t.dims]
        return [*self.piece.captured, *(d for d in dims if isinstance(d, Value))]

    def region(self, name: str, consts: Sequence[Value]) -> Function:
        with Builder(name) as b:
            env = dict(zip(consts, b.params_like(consts)))
            given = [b.param(substitute_type(t, env)) for t in self.given]
            args = [given[p] if isinstance(p, int) else env.get(p, p) for p in self.piece.params]
            values = b.inline(self.piece.traced.function, args)
            return b.build(*(self._result(w, values, env) for w in self.wanted))

    def _result(self, w: Wanted, values: Sequence[Value], env: Mapping[Value, Value]) -> Value:
        type = substitute_type(w.type, env)
        assert isinstance(type, ArrayType)
        if w.leaf is None:
            return zeros(type)
        value = self.piece.made(w.leaf, values)
        if value.dims != type.dims:
            raise errors.ShapeError(
                f"{w.what} has shape {list(value.dims)}, and must have {list(type.dims)}"
            )
        if value.dtype == type.dtype:
            return value
        if self.piece.outputs[w.leaf].flavour == "python" or self.piece.is_static(w.leaf):
            return ops.convert(value, type.dtype)
        raise errors.DTypeError(
            f"{w.what} has dtype {value.dtype}, and must have {type.dtype}",
            remedy=f"convert it: .astype(np.{type.dtype.numpy})",
        )


def _outlines(call: Call, primal: Piece, rules: Mapping[str, Callee]) -> dict[str, Outline]:
    """The regions of a call, by their names in `Regions`."""
    count = len(primal.outputs)
    shown = {k: t for k in range(count) if (t := primal.type_of(k)) is not None}
    results = [Wanted(k, t, "the result") for k, t in shown.items()]
    found = {"primal": Outline(primal, call.types, results)}
    if "jvp" in rules:
        found["push"] = _push(call, primal, shown, rules["jvp"])
    if "forward" in rules:
        found["forward"], found["back"] = _reverse(call, primal, shown, rules)
    return found


def _push(call: Call, primal: Piece, shown: Mapping[int, ArrayType], rule: Callee) -> Outline:
    name = f"the jvp rule of {call.name}"
    piece = _piece(name, rule, (*call.first, call.primals, call.tangents))
    out, moved = _pair(piece, "(result, tangent of the result)")
    results = _slots(primal.traced.out_tree, out, f"the result of {name}")
    tangents = _slots(primal.traced.out_tree, moved, f"the tangent of {name}")
    wanted = [Wanted(results[k], t, f"the result of {name}") for k, t in shown.items()]
    wanted += [
        Wanted(tangents[k], t, f"the tangent of {name}")
        for k, t in shown.items()
        if t.dtype.is_inexact
    ]
    return Outline(piece, [*call.types, *call.types], wanted)


def _reverse(
    call: Call, primal: Piece, shown: Mapping[int, ArrayType], rules: Mapping[str, Callee]
) -> tuple[Outline, Outline]:
    name = f"the vjp rule of {call.name}"
    forward = _piece(f"{name} (forward)", rules["forward"], call.arguments)
    out, kept = _pair(forward, "(result, residuals)")
    results = _slots(primal.traced.out_tree, out, f"the result of {name}")
    wanted = [Wanted(results[k], t, f"the result of {name}") for k, t in shown.items()]
    leaves, tree = flatten(kept)
    saved: list[Wanted] = []
    residuals: list[Any] = []
    for k in leaves:
        output = forward.outputs[k]
        if output.result is None:
            residuals.append(output.value)
            continue
        type = forward.type_of(k)
        assert type is not None
        residuals.append(Given(len(saved), type, output.flavour))
        saved.append(Wanted(k, type, "a residual"))
    moving = [t for t in shown.values() if t.dtype.is_inexact]
    cotangent = _cotangent(primal, shown, len(saved))
    args = (*call.first, unflatten(tree, residuals), cotangent)
    back = _piece(f"{name} (backward)", rules["backward"], args)
    given = [*(w.type for w in saved), *moving]
    return (
        Outline(forward, call.types, [*wanted, *saved]),
        Outline(back, given, _cotangents(call, back, f"the cotangent of {name}")),
    )


def _cotangent(primal: Piece, shown: Mapping[int, ArrayType], first: int) -> Any:
    """A tree like the function's result, with cotangents that are given from `first` on."""
    leaves: list[Any] = []
    for k, output in enumerate(primal.outputs):
        type = shown.get(k)
        if type is not None and type.dtype.is_inexact:
            leaves.append(Given(first, type, output.flavour))
            first += 1
        else:
            leaves.append(0 if is_number(output.value) or type is not None else output.value)
    return unflatten(primal.traced.out_tree, leaves)


def _cotangents(call: Call, back: Piece, what: str) -> list[Wanted]:
    """The results of `@back`: a cotangent for each float among the arguments."""
    trees = call.primals
    returned = back.returned
    if not isinstance(returned, (tuple, list)) or len(returned) != len(trees):
        raise errors.ArgumentError(
            f"{back.name} must return a tuple with one cotangent for each argument: {len(trees)}",
            remedy="return None for an argument without one",
        )
    slots: list[int | None] = []
    for n, (arg, own) in enumerate(zip(trees, returned)):
        leaves, tree = flatten(arg)
        slots += [None] * len(leaves) if own is None else _slots(tree, own, f"{what}, {n}")
    return [Wanted(slots[i], g.type, what) for i, g in call.given.items()]


def _pair(piece: Piece, form: str) -> tuple[Any, Any]:
    returned = piece.returned
    if not isinstance(returned, (tuple, list)) or len(returned) != 2:
        raise errors.ArgumentError(f"{piece.name} must return {form}")
    return returned[0], returned[1]


def _slots(tree: TreeDef, returned: Any, what: str) -> list[int | None]:
    """The leaf for each leaf of a tree; None stands for zeros.

    Raises:
        ArgumentError: where the structures differ.
    """
    leaves = flatten_like(tree, returned, what)
    for leaf in leaves:
        if leaf is not None and type(leaf) is not int:
            raise errors.ArgumentError(f"{what} has a {type(leaf).__name__} in the place of a leaf")
    return leaves
