"""ndarray's operators and those of its methods that are NumPy functions, for tracers.

    x += y      # add, cast to x's dtype; x, under all of its names, is the sum from then on

Each name stands for a ufunc or a function. In-place operators rebind the tracer's value, which is
exact as long as no other array shares its memory; where one may, they are refused.
"""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np

from jitnet import errors, ops
from jitnet.frontend.context import current_trace, give_name
from jitnet.frontend.dispatch import apply, call


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
    give_name(x.owner, x.value)
    return x


def _may_rebind(x: Any) -> bool:
    """Whether no other array shares x's memory: a new value for x is then all that is seen."""
    trace, value = x.owner, x.value
    if x.owner is not current_trace():
        return False
    made_here = False
    for eqn in trace.builder.eqns:
        is_view = getattr(eqn.op, "is_view", False)
        if is_view and value in eqn.operands:
            return False
        if value in eqn.results:
            made_here = not is_view and value not in trace.shared
    return made_here or x.fresh


def _operate(ufunc: np.ufunc, x: Any, y: Any) -> Any:
    """`x op y`. An int with a sequence repeats it; other Python numbers have nothing to do with
    sequences."""
    for number, sequence in ((x, y), (y, x)):
        if isinstance(sequence, (list, tuple, str, bytes)) and number.flavour != "array":
            if ufunc is np.multiply and number.dtype.kind in "iu":
                return sequence * number.__index__()
            if number.flavour == "python":
                return NotImplemented
    return apply(ufunc, "operator", (x, y), {})


def _power(x: Any, y: Any) -> Any:
    """`x ** y`. Whether an int to the power of an int is an int depends on the exponent's value."""
    flavours = [getattr(v, "flavour", "") for v in (x, y)]
    base_is_int = type(x) is int or (flavours[0] == "python" and x.dtype.kind != "f")
    if flavours[1] == "python" and y.dtype.kind != "f" and base_is_int:
        y = y.__index__()
    return _operate(np.power, x, y) if type(y) is not int or flavours[0] else x**y


def _compare_unequal_kinds(x: Any, ufunc: np.ufunc) -> Any:
    """A comparison with None or a string: no element equals it, and none has an order with it."""
    if x.flavour == "python" or ufunc not in (np.equal, np.not_equal):
        return NotImplemented
    if x.flavour == "scalar":
        return ufunc is np.not_equal
    return call(np.full_like, x, ufunc is np.not_equal, dtype=np.bool_)


def _binary(ufunc: np.ufunc) -> tuple[Any, Any, Any]:
    """The operator, its reflection and its in-place form."""

    def forward(self: Any, other: Any) -> Any:
        return _operate(ufunc, self, other)

    def reflected(self: Any, other: Any) -> Any:
        return _operate(ufunc, other, self)

    def in_place(self: Any, other: Any) -> Any:
        return _assign_in_place(self, forward(self, other), ufunc.__name__)

    return forward, reflected, in_place


def _unary(ufunc: np.ufunc) -> Any:
    def method(self: Any) -> Any:
        return apply(ufunc, "operator", (self,), {})

    return method


def _comparison(ufunc: np.ufunc) -> Any:
    def method(self: Any, other: Any) -> Any:
        if other is None or isinstance(other, str):
            return _compare_unequal_kinds(self, ufunc)
        return apply(ufunc, "operator", (self, other), {})

    return method


def _function_method(function: Any) -> Any:
    """A method that is a NumPy function with the array first."""

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        if self.flavour == "python":
            kind = self.__class__.__name__
            raise AttributeError(f"{kind!r} object has no attribute {function.__name__!r}")
        return call(function, self, *args, **kwargs)

    return method


_clip_method = _function_method(np.clip)


def _refused_method(name: str, remedy: str) -> Any:
    def method(self: Any, *args: Any, **kwargs: Any) -> NoReturn:
        raise errors.MutationError(
            f"ndarray.{name} on {self!r}", why="it changes or exposes memory", remedy=remedy
        )

    return method


class Operators:
    """The operators and methods."""

    __slots__ = ()

    __add__, __radd__, __iadd__ = _binary(np.add)
    __sub__, __rsub__, __isub__ = _binary(np.subtract)
    __mul__, __rmul__, __imul__ = _binary(np.multiply)
    __truediv__, __rtruediv__, __itruediv__ = _binary(np.true_divide)
    __floordiv__, __rfloordiv__, __ifloordiv__ = _binary(np.floor_divide)
    __mod__, __rmod__, __imod__ = _binary(np.remainder)
    __matmul__, __rmatmul__, __imatmul__ = _binary(np.matmul)
    __and__, __rand__, __iand__ = _binary(np.bitwise_and)
    __or__, __ror__, __ior__ = _binary(np.bitwise_or)
    __xor__, __rxor__, __ixor__ = _binary(np.bitwise_xor)
    __lshift__, __rlshift__, __ilshift__ = _binary(np.left_shift)
    __rshift__, __rrshift__, __irshift__ = _binary(np.right_shift)
    __divmod__, __rdivmod__ = _binary(np.divmod)[:2]

    def __pow__(self, other: Any, modulo: Any = None) -> Any:
        return NotImplemented if modulo is not None else _power(self, other)

    def __rpow__(self, other: Any, modulo: Any = None) -> Any:
        return NotImplemented if modulo is not None else _power(other, self)

    def __ipow__(self, other: Any, modulo: Any = None) -> Any:
        return _assign_in_place(self, _power(self, other), "power")

    __eq__ = _comparison(np.equal)
    __ne__ = _comparison(np.not_equal)
    __lt__ = _comparison(np.less)
    __le__ = _comparison(np.less_equal)
    __gt__ = _comparison(np.greater)
    __ge__ = _comparison(np.greater_equal)

    __neg__ = _unary(np.negative)
    __pos__ = _unary(np.positive)
    __abs__ = _unary(np.absolute)
    __invert__ = _unary(np.invert)

    all = _function_method(np.all)
    any = _function_method(np.any)
    argmax = _function_method(np.argmax)
    argmin = _function_method(np.argmin)

    def clip(self, min: Any = None, max: Any = None, out: Any = None, **kwargs: Any) -> Any:
        return _clip_method(self, min, max, out=out, **kwargs)

    cumprod = _function_method(np.cumprod)
    cumsum = _function_method(np.cumsum)
    diagonal = _function_method(np.diagonal)
    max = _function_method(np.max)
    mean = _function_method(np.mean)
    min = _function_method(np.min)
    nonzero = _function_method(np.nonzero)
    prod = _function_method(np.prod)
    ravel = _function_method(np.ravel)
    repeat = _function_method(np.repeat)
    round = _function_method(np.round)
    squeeze = _function_method(np.squeeze)
    std = _function_method(np.std)
    sum = _function_method(np.sum)
    swapaxes = _function_method(np.swapaxes)
    take = _function_method(np.take)
    trace = _function_method(np.trace)
    var = _function_method(np.var)

    fill = _refused_method("fill", "np.full_like(x, value)")
    partition = _refused_method("partition", "np.partition(x, k), which returns a new array")
    put = _refused_method("put", "np.where(mask, value, x)")
    resize = _refused_method("resize", "np.resize(x, shape), which returns a new array")
    setfield = _refused_method("setfield", "np.where(mask, value, x)")
    setflags = _refused_method("setflags", "x.copy()")
    sort = _refused_method("sort", "np.sort(x), which returns a new array")
