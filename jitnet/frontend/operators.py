"""ndarray's operators and those of its methods that are NumPy functions, for tracers.

    x += y      # add, cast to x's dtype; x, under all of its names, is the sum from then on

The tables say which ufunc or function each name stands for. In-place operators rebind the tracer's
value, which is exact as long as no other array shares its memory; where one may, they are refused.
"""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np

from jitnet import errors, ops
from jitnet.frontend.context import current_trace, give_name
from jitnet.frontend.dispatch import apply, call

_BINARY = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "truediv": np.true_divide,
    "floordiv": np.floor_divide,
    "mod": np.remainder,
    "pow": np.power,
    "matmul": np.matmul,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
    "lshift": np.left_shift,
    "rshift": np.right_shift,
}
_COMPARISONS = {
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
}
_UNARY = {"neg": np.negative, "pos": np.positive, "abs": np.absolute, "invert": np.invert}
_METHODS = (
    *("all", "any", "argmax", "argmin", "argsort", "argpartition", "choose", "clip", "cumprod"),
    *("cumsum", "diagonal", "max", "mean", "min", "nonzero", "prod", "ravel", "repeat", "round"),
    *("searchsorted", "squeeze", "std", "sum", "swapaxes", "take", "trace", "var"),
)
_REFUSED = {
    "fill": "np.full_like(x, value)",
    "sort": "np.sort(x), which returns a new array",
    "partition": "np.partition(x, k), which returns a new array",
    "put": "np.where(mask, value, x)",
    "resize": "np.resize(x, shape), which returns a new array",
    "setfield": "np.where(mask, value, x)",
    "setflags": "x.copy()",
    "byteswap": "the array as it is",
    "getfield": "the array as it is",
    "tofile": "the array as a result of the function",
    "dump": "the array as a result of the function",
    "dumps": "the array as a result of the function",
    "to_device": "the device argument of jitnet.jit",
}


def _assign_in_place(x: Any, result: Any, operator: str) -> Any:
    """`x op= y`: x keeps its dtype and shape, and every name bound to x sees the new value."""
    if x.flavour != "array":
        return result
    if result.value.dims != x.value.dims:
        raise errors.ShapeError(
            f"non-broadcastable output operand with shape {x.shape} doesn't match the broadcast "
            f"shape {result.shape}"
        )
    if not np.can_cast(result.dtype, x.dtype, casting="same_kind"):
        raise errors.DTypeError(
            f"Cannot cast ufunc '{operator}' output from {result.dtype!r} to {x.dtype!r} "
            "with casting rule 'same_kind'",
            remedy="x = x + y makes an array of the wider dtype",
        )
    if not _may_rebind(x):
        raise errors.MutationError(
            f"in-place {operator} on {x!r}",
            why="an argument, a captured array or another view of the same memory would change",
            remedy="x = x + y, or take x = x.copy() first",
        )
    value = result.value
    x.value = value if result.dtype == x.dtype else ops.convert(value, x.value.dtype)
    x.fresh = False
    give_name(x.trace, x.value)
    return x


def _may_rebind(x: Any) -> bool:
    """Whether no other array shares x's memory: a new value for x is then all that is seen."""
    trace, value = x.trace, x.value
    if x.trace is not current_trace():
        return False
    made_here = False
    for eqn in trace.builder.eqns:
        is_view = getattr(eqn.op, "is_view", False)
        if is_view and value in eqn.operands:
            return False
        if value in eqn.results:
            made_here = not is_view and value not in trace.shared
    return made_here or x.fresh


def _binary(ufunc: np.ufunc) -> tuple[Any, Any, Any]:
    """The operator, its reflection and its in-place form."""

    def forward(self: Any, other: Any) -> Any:
        return apply(ufunc, "operator", (self, other), {})

    def reflected(self: Any, other: Any) -> Any:
        return apply(ufunc, "operator", (other, self), {})

    def in_place(self: Any, other: Any) -> Any:
        return _assign_in_place(self, forward(self, other), ufunc.__name__)

    return forward, reflected, in_place


def _unary(ufunc: np.ufunc) -> Any:
    def method(self: Any) -> Any:
        return apply(ufunc, "operator", (self,), {})

    return method


def _comparison(ufunc: np.ufunc) -> Any:
    def method(self: Any, other: Any) -> Any:
        return apply(ufunc, "operator", (self, other), {})

    return method


def _function_method(function: Any) -> Any:
    """A method that is a NumPy function with the array first."""

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return call(function, self, *args, **kwargs)

    return method


def _refused_method(name: str, remedy: str) -> Any:
    def method(self: Any, *args: Any, **kwargs: Any) -> NoReturn:
        raise errors.MutationError(
            f"ndarray.{name} on {self!r}", why="it changes or exposes memory", remedy=remedy
        )

    return method


class Operators:
    """The operators and methods of the tables."""

    __slots__ = ()


def _complete() -> None:
    for name, ufunc in _BINARY.items():
        forward, reflected, in_place = _binary(ufunc)
        if name != "pow":
            setattr(Operators, f"__{name}__", forward)
        setattr(Operators, f"__r{name}__", reflected)
        setattr(Operators, f"__i{name}__", in_place)
    for name, ufunc in _COMPARISONS.items():
        setattr(Operators, f"__{name}__", _comparison(ufunc))
    for name, ufunc in _UNARY.items():
        setattr(Operators, f"__{name}__", _unary(ufunc))
    for name in _METHODS:
        setattr(Operators, name, _function_method(getattr(np, name)))
    for name, remedy in _REFUSED.items():
        setattr(Operators, name, _refused_method(name, remedy))


_complete()
