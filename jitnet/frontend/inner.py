"""Functions traced inside another trace, in some of their leaves: what every transform starts from.

    def step(w, x):                 # the running trace: %w, %x
        return grad(loss)(w, x)     # loss is traced as @loss(%w, %x.captured), and %w, %x are its
                                    # operands where the transformed Function is inlined

Only the leaves that are differentiated become arguments of the inner Function. All else is passed
as it is and captured, so ints stay ints and an outer derivative sees everything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jitnet import errors, ir, ops
from jitnet.frontend.arrays import write
from jitnet.frontend.context import ORDERS, running_trace
from jitnet.frontend.dims import require_equal, retag, show
from jitnet.frontend.pytree import LEAF, flatten, unflatten
from jitnet.frontend.signature import LeafType, Static, abstract
from jitnet.frontend.stores import Store
from jitnet.frontend.trace import trace_function
from jitnet.frontend.traced import Output, Traced, argument_names, function_name
from jitnet.frontend.tracer import Tracer, lift, wrap
from jitnet.ir import ArrayType, Builder, Function, Value
from jitnet.ir.types import is_numeric

Callee = Callable[..., Any]
Argnums = int | Sequence[int]


@dataclass(frozen=True)
class Inner:
    """A function traced inside another trace.

    Attributes:
        name: the function's, for messages.
        operands: values of the running trace for the params of the traced Function.
        args: the positional arguments; `argnums` those that are differentiated.
        leaves: all leaves of the arguments.
        chosen: the leaves that are differentiated; `wrt` the params that stand for them.
    """

    name: str
    traced: Traced
    operands: tuple[Value, ...]
    args: tuple[Any, ...]
    argnums: Argnums
    leaves: tuple[Any, ...]
    chosen: tuple[int, ...]
    wrt: tuple[int, ...]

    @property
    def function(self) -> Function:
        return self.traced.function

    @property
    def outputs(self) -> list[Output]:
        """How the leaves of the result are made: inside of a trace, as plain results."""
        return [output for output in self.traced.outputs if isinstance(output, Output)]

    @property
    def nonzero(self) -> list[bool]:
        """Which params are differentiated."""
        return [i in self.wrt for i in range(len(self.function.params))]

    def like_arguments(self, derivative: Mapping[int, Any]) -> Any:
        """The differentiated arguments with other leaves: a tree, or a tuple of trees where
        `argnums` is a sequence. Leaves that `derivative` does not have stay as they are."""
        trees = []
        for n in positions(self.argnums, self.args, ""):
            start = sum(len(flatten(arg)[0]) for arg in self.args[:n])
            leaves, tree = flatten(self.args[n])
            both = [derivative.get(start + i, leaf) for i, leaf in enumerate(leaves)]
            trees.append(unflatten(tree, both))
        return trees[0] if isinstance(self.argnums, int) else tuple(trees)

    def flavoured(self, values: Sequence[Value]) -> dict[int, Tracer]:
        """One new value for each differentiated leaf, of its flavour."""
        return {
            i: wrap(value, lift(self.leaves[i]).flavour) for i, value in zip(self.chosen, values)
        }

    def results(self, values: Sequence[Value]) -> list[Any]:
        """The leaves of the function's result, where its Function's results are `values`."""
        made: dict[int, Any] = {}
        return [self._result(output, values, made) for output in self.outputs]

    def _result(self, output: Output, values: Sequence[Value], made: dict[int, Any]) -> Any:
        if output.result is None:
            return output.value
        if output.source is not None:
            source = self.traced.inputs[output.source]
            return source.capture if source.leaf is None else self.leaves[source.leaf]
        if output.result not in made:
            made[output.result] = wrap(values[output.result], output.flavour)
        return made[output.result]

    def write_back(self, values: Sequence[Value]) -> None:
        """Change the arguments that the function changes."""
        for result, source in self.traced.stores.items():
            leaf = self.traced.inputs[source].leaf
            given = self.traced.inputs[source].capture if leaf is None else self.leaves[leaf]
            write(lift(given).place, values[result])

    def moving(self, output: Output) -> bool:
        """Whether an output can depend on the differentiated leaves at all."""
        if output.result is None:
            return False
        return self.function.results[output.result].dtype.is_inexact


def trace_inner(
    fn: Callee,
    args: Sequence[Any],
    kwargs: dict[str, Any],
    argnums: Argnums,
    what: str,
    holomorphic: bool = False,
) -> Inner:
    """Trace `fn(*args, **kwargs)` with the float leaves of the arguments `argnums` as params.

    Args:
        what: the transform, for messages.
        holomorphic: they have to be complex.

    Raises:
        DifferentiationError: where such an argument has integers, or none of them has floats.
    """
    leaves, tree = flatten((tuple(args), kwargs))
    names = argument_names(fn, tree)
    name = function_name(fn)
    wanted = _leaves_of(args, positions(argnums, args, what))
    chosen = [
        i
        for i, leaf in enumerate(leaves)
        if i in wanted
        and _is_differentiable(leaf, f"{what} of {name}: argument {names[i]}", holomorphic)
    ]
    if not chosen:
        raise errors.DifferentiationError(
            f"{what} of {name}: there are no floats in argument {argnums}",
            remedy="pass a float array, or choose another argument with argnums=",
        )
    outer = ORDERS.set(ORDERS.get() + 1)
    try:
        return _traced_in(fn, name, args, kwargs, argnums, chosen)
    finally:
        ORDERS.reset(outer)


def trace_whole(fn: Callee, args: Sequence[Any], kwargs: dict[str, Any]) -> Inner:
    """Trace `fn(*args, **kwargs)` with all floats among the arguments as params."""
    leaves, _ = flatten((tuple(args), kwargs))
    chosen = [
        i for i, leaf in enumerate(leaves) if is_number(leaf) and lift(leaf).value.dtype.is_inexact
    ]
    return _traced_in(fn, function_name(fn), args, kwargs, (), chosen)


def _traced_in(
    fn: Callee,
    name: str,
    args: Sequence[Any],
    kwargs: dict[str, Any],
    argnums: Argnums,
    chosen: Sequence[int],
) -> Inner:
    """Trace `fn(*args, **kwargs)` with the chosen leaves as params, and with other arrays that
    `fn` may change: an array that is captured it may not."""
    leaves, tree = flatten((tuple(args), kwargs))
    own = _memory_of_its_own(leaves)
    types: list[LeafType] = [
        abstract(lift(leaf)) if i in chosen or i in own else Static(leaf)
        for i, leaf in enumerate(leaves)
    ]
    traced = trace_function(fn, tree, types)
    operands = []
    param_of: dict[int, int] = {}
    for i, source in enumerate(traced.inputs):
        if source.leaf is not None:
            param_of[source.leaf] = i
        given = source.capture if source.leaf is None else leaves[source.leaf]
        operands.append(given if isinstance(given, Value) else lift(given).value)
    wrt = tuple(param_of[i] for i in chosen)
    return Inner(
        name, traced, tuple(operands), tuple(args), argnums, tuple(leaves), tuple(chosen), wrt
    )


def _memory_of_its_own(leaves: Sequence[Any]) -> set[int]:
    """The leaves that are whole arrays which no other leaf shows."""
    places = {i: lift(leaf).place for i, leaf in enumerate(leaves) if type(leaf) is Tracer}
    shown = [getattr(place, "store", place) for place in places.values()]
    whole = {i: place for i, place in places.items() if isinstance(place, Store) and place.rank}
    return {i for i, place in whole.items() if sum(s is place for s in shown) == 1}


def positions(argnums: Argnums, args: Sequence[Any], what: str) -> tuple[int, ...]:
    """argnums as positions of arguments, counted from the front."""
    asked = (argnums,) if isinstance(argnums, int) else tuple(argnums)
    for n in asked:
        if not -len(args) <= n < len(args):
            raise errors.ArgumentError(
                f"{what}: argnums={n}, but the function was called with {len(args)} positional "
                "arguments",
                remedy="pass the differentiated arguments by position",
            )
    return tuple(n % len(args) for n in asked)


def _leaves_of(args: Sequence[Any], argnums: Sequence[int]) -> set[int]:
    wanted: set[int] = set()
    start = 0
    for i, arg in enumerate(args):
        count = len(flatten(arg)[0])
        if i in argnums:
            wanted.update(range(start, start + count))
        start += count
    return wanted


def is_number(leaf: Any) -> bool:
    """Whether a leaf is an array or a number, traced or not; bools are not."""
    if isinstance(leaf, np.generic):
        return is_numeric(leaf.dtype) and type(leaf) is not np.bool_
    kinds = (int, float, complex, np.ndarray)
    return type(leaf) is Tracer or (isinstance(leaf, kinds) and type(leaf) is not bool)


def _is_differentiable(leaf: Any, where: str, holomorphic: bool) -> bool:
    """Whether a leaf is differentiated; bools and what is no number is left as it is."""
    if not is_number(leaf):
        return False
    dtype = lift(leaf).value.dtype
    if not dtype.is_inexact:
        raise errors.DifferentiationError(
            f"{where} is {errors.describe(leaf)}",
            why="derivatives are taken in floats only",
            remedy="pass it as floats, x.astype(np.float64), or choose arguments with argnums=",
        )
    if holomorphic and not dtype.is_complex:
        raise errors.DifferentiationError(
            f"{where} is {errors.describe(leaf)}, with holomorphic=True",
            why="only functions of complex numbers are holomorphic",
            remedy="leave holomorphic=True out, or pass it as complex numbers",
        )
    return True


def builder() -> Builder:
    """The builder of the running trace."""
    return running_trace().builder


def zeros(type: ArrayType) -> Value:
    """An array, or a scalar, of zeros."""
    zero = ir.literal(0, type.dtype)
    return ops.full(zero, type.dims) if type.dims else zero


def zeros_like(leaf: Any) -> Any:
    """The zero derivative of a leaf: a number of its flavour and dtype; what is none stays."""
    if is_number(leaf):
        own = lift(leaf)
        return wrap(zeros(own.value.array_type), own.flavour)
    return leaf


def fitting(leaf: Any, type: ArrayType, what: str) -> Value:
    """A tangent or cotangent as a value of this type. Python numbers are weak.

    Raises:
        ShapeError, DTypeError: where it does not fit; `what` names it. Extents that data decides
            are compared when the program runs.
    """
    own = lift(leaf)
    value = own.value
    pairs = list(zip(value.dims, type.dims))
    differ = any(isinstance(a, int) and isinstance(b, int) and a != b for a, b in pairs)
    if value.rank != len(type.dims) or differ:
        given, wanted = show(value.dims), show(type.dims)
        raise errors.ShapeError(f"{what} has shape {given}, and what it belongs to has {wanted}")
    for have, need in pairs:
        message = f"{what} has an extent of {{0}}, and what it belongs to one of {{1}}"
        require_equal(have, need, message)
    value = retag(value, type.dims)
    if value.dtype == type.dtype:
        return value
    if own.flavour == "python":
        return ops.convert(value, type.dtype)
    raise errors.DTypeError(
        f"{what} has dtype {value.dtype}, and what it belongs to has {type.dtype}",
        remedy=f"convert it: .astype(np.{type.dtype.numpy})",
    )


def check_pair(inner: Inner, what: str) -> None:
    """Refuse a result that is not `(value, aux)`."""
    first = inner.traced.out_tree.tokens[0]
    if first is LEAF or first[0] is not tuple or first[2] != 2:
        raise errors.DifferentiationError(
            f"{what} of {inner.name} with has_aux: the function does not return a pair",
            remedy="return value, aux",
        )
