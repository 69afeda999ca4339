"""ndarray's operators and those of its methods that are NumPy functions, for tracers.

    x += y      # add, cast to x's dtype; x's memory holds the sum from then on

Each name stands for a ufunc or a function.
"""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np

from jitnet import errors
from jitnet.frontend.dispatch import apply, call, setitem, store


def _assign_in_place(x: Any, result: Any, operator: str) -> Any:
    """`x op= y`: x keeps its dtype and shape, and all that share its memory see the new value."""
    if x.flavour != "array":
        return result
    if type(result) is not type(x):
        return NotImplemented
    return store(result, x, operator)


_NUMBERS = frozenset((bool, int, float, complex))


def _operate(ufunc: np.ufunc, x: Any, y: Any) -> Any:
    """`x op y`. An int with a sequence repeats it; other Python numbers have nothing to do with
    sequences. Objects that answer by themselves say so as NumPy asks them to."""
    if type(x) is type(y) or type(x) in _NUMBERS or type(y) in _NUMBERS:
        return apply(ufunc, "operator", (x, y), {})
    if _answers(x) or _answers(y):
        return NotImplemented
    for number, sequence in ((x, y), (y, x)):
        if isinstance(sequence, (list, tuple, str, bytes)) and number.flavour != "array":
            if ufunc is np.multiply and number.dtype.kind in "iu":
                return sequence * number.__index__()
            if number.flavour == "python":
                return NotImplemented
    return apply(ufunc, "operator", (x, y), {})


def _answers(x: Any) -> bool:
    return getattr(type(x), "__array_ufunc__", False) is None


def _power(x: Any, y: Any) -> Any:
    """`x ** y`. Whether an int to the power of an int is an int depends on the exponent's value."""
    flavours = [getattr(v, "flavour", "") for v in (x, y)]
    base_is_int = type(x) is int or (flavours[0] == "python" and x.dtype.kind in "biu")
    is_mask = flavours[0] == "array" and x.dtype.kind == "b"
    if flavours[1] == "python" and y.dtype.kind in "biu" and (base_is_int or is_mask):
        y = y.__index__()
    if is_mask and type(y) is int and y == 2:
        return apply(np.square, "operator", (x,), {})  # NumPy's short cut: int8, and not int64
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
        if _answers(other):
            return NotImplemented
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

    def fill(self, value: Any) -> None:
        setitem(self, ..., value)

    def sort(self, axis: int = -1, kind: Any = None, order: Any = None, **kwargs: Any) -> None:
        setitem(self, ..., call(np.sort, self, axis=axis, kind=kind, order=order, **kwargs))

    def partition(self, kth: Any, axis: int = -1, **kwargs: Any) -> None:
        setitem(self, ..., call(np.partition, self, kth, axis, **kwargs))

    def put(self, indices: Any, values: Any, mode: str = "raise") -> None:
        call(np.put, self, indices, values, mode)

    argsort = _function_method(np.argsort)
    argpartition = _function_method(np.argpartition)
    searchsorted = _function_method(np.searchsorted)
    choose = _function_method(np.choose)
    resize = _refused_method("resize", "np.resize(x, shape), which returns a new array")
    setfield = _refused_method("setfield", "np.where(mask, value, x)")
    setflags = _refused_method("setflags", "x.copy()")
