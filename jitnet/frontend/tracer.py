"""`Tracer`: stands for an array, a NumPy scalar or a Python number while a function is traced.

    y = np.tanh(x @ w)       # x.__matmul__, then tanh through x.__array_ufunc__
                             #   %0 = dot %x, %w {...}
                             #   %y = tanh %0

It has ndarray's operators and methods; each ends in `apply` of a ufunc or `call` of a NumPy
function. What needs a value (`if x > 0`, `float(x)`) restarts the trace with that argument static
where it is a Python int of the caller's, and is refused with a remedy otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NoReturn
from typing import Literal as OneOf

import numpy as np

from jitnet import errors, ir, ops
from jitnet.frontend.context import (
    Capture,
    NeedStatic,
    Trace,
    current_trace,
    give_name,
    integer_arguments_of,
)
from jitnet.frontend.dispatch import apply, call, getitem, note_place
from jitnet.frontend.operators import Operators
from jitnet.ir import ArrayType, Literal, Value

Flavour = OneOf["array", "scalar", "python"]

_PYTHON_TYPES = {"b": bool, "i": int, "u": int, "f": float}


class Tracer(Operators):
    """A value of the running trace.

    Attributes:
        value: the IR value.
        owner: the trace that made it.
        flavour: "array" (np.ndarray, 0-d too), "scalar" (np.generic) or "python" (a weak bool, int
            or float; an i64, f64 or bool of rank 0).
        fresh: an array that nothing else shares storage with, whatever `value` is.
    """

    __slots__ = ("flavour", "fresh", "owner", "value")
    __array_priority__ = 1000.0

    def __init__(self, value: Value, trace: Trace, flavour: Flavour, fresh: bool = False) -> None:
        self.value = value
        self.owner = trace
        self.flavour: Flavour = flavour
        self.fresh = fresh

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        """What the user's `isinstance` sees: the class that the value has without jit."""
        if self.flavour == "array":
            return np.ndarray
        dtype = self.value.dtype
        return _PYTHON_TYPES[dtype.kind] if self.flavour == "python" else dtype.numpy.type

    # -- dispatch ----------------------------------------------------------------------------------

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        return apply(ufunc, method, inputs, kwargs)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return call(func, *args, **kwargs)

    def __getitem__(self, key: Any) -> Any:
        return getitem(self, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        raise errors.MutationError(
            f"assignment to elements of {self!r}",
            why="this version traces functions that do not change arrays",
            remedy="build the new array: np.where(mask, value, x), or np.concatenate of the parts",
        )

    __delitem__ = __setitem__

    # -- what it is --------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[Any, ...]:
        dims = self.value.dims
        return tuple(d if isinstance(d, int) else Tracer(d, self.owner, "python") for d in dims)

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.value.dtype.numpy

    @property
    def ndim(self) -> int:
        return self.value.rank

    @property
    def size(self) -> Any:
        size: Any = 1
        for extent in self.shape:
            size = size * extent
        return size

    @property
    def itemsize(self) -> int:
        return self.value.dtype.itemsize

    @property
    def nbytes(self) -> Any:
        return self.size * self.itemsize

    @property
    def T(self) -> Any:  # noqa: N802
        return call(np.transpose, self)

    @property
    def mT(self) -> Any:  # noqa: N802
        return call(np.matrix_transpose, self)

    @property
    def real(self) -> Any:
        return self

    @property
    def imag(self) -> Any:
        return 0 if self.flavour == "python" else call(np.zeros_like, self)

    @property
    def flat(self) -> NoReturn:
        _refuse_attribute("flat", "x.ravel()")

    @property
    def strides(self) -> NoReturn:
        _refuse_attribute("strides", "x.shape; where elements lie is the compiler's to decide")

    @property
    def flags(self) -> NoReturn:
        _refuse_attribute("flags", "x.shape; where elements lie is the compiler's to decide")

    @property
    def base(self) -> NoReturn:
        _refuse_attribute("base", "np.shares_memory outside of the compiled function")

    @property
    def data(self) -> NoReturn:
        _refuse_attribute("data", "the array itself")

    @property
    def ctypes(self) -> NoReturn:
        _refuse_attribute("ctypes", "the array itself")

    # -- values needed while tracing ---------------------------------------------------------------

    def __bool__(self) -> bool:
        remedy = "np.where(condition, a, b)"
        if self.ndim:
            remedy = "np.any(x) or np.all(x) inside np.where(condition, a, b)"
        concretize(self, "the truth of", remedy)

    def __int__(self) -> int:
        concretize(self, "the int of", "x.astype(np.int64)")

    def __index__(self) -> int:
        if self.value.dtype.kind not in "iu":
            raise TypeError("only integer scalar arrays can be converted to a scalar index")
        concretize(self, "an index or extent from", "np.take(a, i), or pass a Python int")

    def __float__(self) -> float:
        concretize(self, "the float of", "np functions instead of math's, or x.astype(np.float64)")

    def __complex__(self) -> complex:
        concretize(self, "the complex number of", "real arrays")

    def __array__(self, dtype: Any = None, copy: Any = None) -> NoReturn:
        concretize(self, "the NumPy array of", "the value as it is, or np.stack([...]) for a list")

    def __hash__(self) -> int:
        if self.flavour == "array":
            raise TypeError("unhashable type: 'numpy.ndarray'")
        concretize(self, "the hash of", "an argument of type str or bool as the key")

    def item(self, *args: Any) -> NoReturn:
        concretize(self, "the item of", "the 0-d result itself, x.reshape(())")

    def tolist(self) -> NoReturn:
        concretize(self, "the list of", "list(x) for its rows, or the array itself")

    def tobytes(self, order: str = "C") -> NoReturn:
        concretize(self, "the bytes of", "the array as a result of the function")

    def __len__(self) -> int:
        if self.ndim == 0:
            raise TypeError("len() of unsized object")
        extent = self.shape[0]
        return extent if isinstance(extent, int) else extent.__index__()

    def __iter__(self) -> Iterator[Any]:
        if self.ndim == 0:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(len(self)))

    def __contains__(self, item: Any) -> bool:
        return bool(call(np.any, self == item))

    def __repr__(self) -> str:
        text = f"{self.value.name or '_'}: {_type_text(self.value)}"
        return f"<traced {text}>" if self.flavour == "array" else f"<traced {self.flavour} {text}>"

    def __str__(self) -> str:
        self._make_static()
        return repr(self)

    def __format__(self, spec: str) -> str:
        self._make_static()
        return repr(self)

    def _make_static(self) -> None:
        """Where an int of the caller's is behind this, start again with it as it is."""
        leaves = integer_arguments_of(self.owner, self.value)
        if leaves is not None:
            raise NeedStatic(leaves)

    def __getattr__(self, name: str) -> NoReturn:
        kind = self.__class__
        what = f"{kind.__name__!r} object has no attribute {name!r}"
        if name.startswith("__") or not hasattr(kind, name):
            raise AttributeError(what)
        self._make_static()
        raise errors.UnsupportedFunctionError(
            f"{kind.__module__}.{kind.__qualname__}.{name} of a traced value",
            why="this version has no such attribute or method",
            remedy="compute it outside of the compiled function and pass the result in",
        )

    # -- methods that are no NumPy function with the array first -----------------------------------

    def astype(
        self,
        dtype: Any,
        order: str = "K",
        casting: str = "unsafe",
        subok: bool = True,
        copy: bool = True,
    ) -> Tracer:
        """As ndarray.astype. Raises TypeError where `casting` forbids the conversion."""
        note_place()
        own = lift(self)
        target = supported_dtype(np.dtype(dtype))
        if not np.can_cast(own.dtype, target.numpy, casting=casting):  # type: ignore[arg-type]
            raise errors.DTypeError(
                f"Cannot cast array data from {own.dtype!r} to {target.numpy!r} "
                f"according to the rule {casting!r}"
            )
        if target == own.value.dtype:
            return own if not copy else Tracer(own.value, own.owner, own.flavour, fresh=True)
        return wrap(ops.convert(own.value, target), own.flavour)

    def copy(self, order: str = "C") -> Tracer:
        own = lift(self)
        return Tracer(own.value, own.owner, own.flavour, fresh=True)

    __copy__ = copy

    def __deepcopy__(self, memo: Any) -> Tracer:
        return self.copy()

    def flatten(self, order: str = "C") -> Any:
        flat = call(np.ravel, self, order=order)
        return Tracer(flat.value, flat.owner, "array", fresh=True)

    def reshape(self, *shape: Any, order: str = "C", copy: bool | None = None) -> Any:
        return call(np.reshape, self, _one_or_many(shape), order=order)

    def transpose(self, *axes: Any) -> Any:
        return call(np.transpose, self, _one_or_many(axes) if axes else None)

    def view(self, *args: Any, **kwargs: Any) -> Any:
        if not args and not kwargs:
            return self
        raise errors.UnsupportedFunctionError(
            "ndarray.view with another dtype or class", remedy="x.astype(dtype) converts values"
        )

    def conj(self) -> Any:
        return self

    conjugate = conj

    def compress(self, condition: Any, axis: Any = None, out: Any = None) -> Any:
        return call(np.compress, condition, self, axis, **({} if out is None else {"out": out}))

    def dot(self, b: Any, out: Any = None) -> Any:
        return call(np.dot, self, b, **({} if out is None else {"out": out}))

    def __round__(self, ndigits: int | None = None) -> Any:
        if self.flavour == "array":
            raise TypeError("type numpy.ndarray doesn't define __round__ method")
        if ndigits is None or self.flavour == "python":  # Python rounds decimals, NumPy binaries
            concretize(self, "the rounding of", "np.rint(x) or np.round(x, n)")
        return call(np.round, self, ndigits)


# -- making tracers --------------------------------------------------------------------------------


def wrap(value: Value, flavour: Flavour = "array") -> Tracer:
    """A value that was just bound, as a tracer of the running trace.

    The value gets the name of the user's variable that it is stored to.
    """
    trace = running_trace()
    if value in trace.wrapped:
        trace.shared.add(value)
    trace.wrapped.add(value)
    give_name(trace, value)
    return Tracer(value, trace, flavour)


def as_new(x: Tracer) -> Tracer:
    """The array as one of its own, which shares storage with no other."""
    return Tracer(x.value, x.owner, x.flavour, fresh=True)


def lift(x: Any) -> Tracer:
    """Anything that may be an operand, as a tracer of the running trace.

    An ndarray, and a tracer of an outer trace, become inputs of the trace (the same object the same
    input); Python and NumPy numbers become literals; a list of such an array, as by np.array.

    Raises:
        LeakedTracerError: for a tracer of a trace that has ended.
        UnsupportedDTypeError: for arrays and objects that jitnet does not have.
    """
    kind = type(x)
    if kind is Tracer:
        return _lift_tracer(x)
    if kind is bool:
        return Tracer(Literal(x, ir.types.bool_), running_trace(), "python")
    if kind is int:
        return _lift_int(x)
    if kind is float:
        return Tracer(Literal(x, ir.types.f64), running_trace(), "python")
    if isinstance(x, np.generic):
        return Tracer(Literal(x, supported_dtype(x.dtype)), running_trace(), "scalar")
    if isinstance(x, np.ndarray):
        return _lift_loose_array(x)
    if isinstance(x, (list, tuple)):
        return _lift_sequence(x)
    if isinstance(x, (int, float)):  # an IntEnum, a user's subclass of float
        return lift(int(x) if isinstance(x, int) else float(x))
    raise errors.UnsupportedDTypeError(
        f"an operand of type {kind.__module__}.{kind.__qualname__}",
        why="jitnet computes with NumPy arrays, NumPy scalars and Python bools, ints and floats",
        remedy="convert it to one of these, or compute it outside of the compiled function",
    )


def _lift_tracer(x: Tracer) -> Tracer:
    trace = running_trace()
    if x.owner is trace:
        return x
    if not x.owner.active:
        raise errors.LeakedTracerError(
            f"{x!r} was made by an earlier trace that has ended",
            why="it was kept in a global, an attribute or a list beyond its function's return",
            remedy="return it as a result of the compiled function",
        )
    if isinstance(x.value, Literal):
        return Tracer(x.value, trace, x.flavour)
    dims = tuple(d if isinstance(d, int) else _lift_tracer(d).value for d in x.shape)
    type = ArrayType(x.value.dtype, dims)
    value = trace.capture(id(x.value), x, type, x.value.name)
    return Tracer(value, trace, x.flavour)


def _lift_int(x: int) -> Tracer:
    dtype = ir.types.i64
    if not -(1 << 63) <= x < 1 << 63:
        if not 0 <= x < 1 << 64:
            raise errors.IntegerOverflowError(
                f"the Python int {x} fits neither int64 nor uint64", remedy="use a float"
            )
        dtype = ir.types.u64
    return Tracer(Literal(x, dtype), running_trace(), "python")


def lift_array(x: np.ndarray[Any, Any], name: str = "captured") -> Tracer:
    """An array from outside, as an input of the running trace."""
    trace = running_trace()
    check_array(x, "an array")
    type = ArrayType(supported_dtype(x.dtype), x.shape)
    return Tracer(trace.capture(id(x), x, type, name), trace, "array")


def _lift_loose_array(x: np.ndarray[Any, Any]) -> Tracer:
    """An array that the user's code has at hand, and might write to before or after this use."""
    own = lift_array(x)
    capture = own.owner.captures[id(x)]
    if capture.snapshot is None:
        capture.snapshot = x.copy()
    check_unwritten(capture)
    return own


def check_unwritten(capture: Capture) -> None:
    """Refuse an array that was written to between two uses, or after its last one."""
    now, then = capture.source, capture.snapshot
    if then is None or (now.shape == then.shape and now.tobytes() == then.tobytes()):
        return
    raise errors.MutationError(
        f"an array of type {now.dtype}{list(now.shape)} is written to after it met traced values",
        why="which of its contents an operation reads would depend on when it is traced",
        remedy="build it completely first, or use a new array",
    )


def _lift_sequence(x: list[Any] | tuple[Any, ...]) -> Tracer:
    if not _holds_tracer(x):
        return lift_array(np.array(x))
    rows = [lift(item) for item in x]
    arrays = [Tracer(row.value, row.owner, "array") for row in rows]
    stacked: Tracer = call(np.stack, arrays)
    return stacked


def _holds_tracer(x: Any) -> bool:
    if isinstance(x, (list, tuple)):
        return any(_holds_tracer(item) for item in x)
    return type(x) is Tracer


def check_array(x: np.ndarray[Any, Any], what: str) -> None:
    """Refuse subclasses of ndarray and dtypes that the IR does not have."""
    if type(x) is not np.ndarray:
        raise errors.UnsupportedDTypeError(
            f"{what} of class {type(x).__module__}.{type(x).__qualname__}",
            why="subclasses of ndarray redefine what operations mean",
            remedy="pass np.asarray(x)",
        )
    supported_dtype(x.dtype, what)


def supported_dtype(dtype: np.dtype[Any], what: str = "a value") -> ir.DType:
    """The IR's dtype of a NumPy dtype.

    Raises:
        UnsupportedDTypeError: where there is none.
    """
    try:
        return ir.types.from_numpy(dtype)
    except KeyError:
        pass
    remedy = "use bool, an integer dtype, float32 or float64"
    if not dtype.isnative:
        remedy = "convert it to the machine's byte order: x.astype(x.dtype.newbyteorder('='))"
    raise errors.UnsupportedDTypeError(f"{what} of dtype {dtype}", remedy=remedy)


def running_trace() -> Trace:
    """The innermost trace.

    Raises:
        LeakedTracerError: where none is running, so that a tracer can only be a leaked one.
    """
    trace = current_trace()
    if trace is None:
        raise errors.LeakedTracerError(
            "a traced value is used outside of the function that was traced",
            why="it was kept in a global, an attribute or a list beyond its function's return",
            remedy="return it as a result of the compiled function",
        )
    return trace


def concretize(x: Tracer, what: str, remedy: str) -> NoReturn:
    """A value is needed now: make the int arguments it comes from static, or refuse."""
    if not x.owner.active:
        _lift_tracer(x)
    leaves = integer_arguments_of(x.owner, x.value)
    if leaves is not None:
        raise NeedStatic(leaves)
    raise errors.ConcretizationError(
        f"{what} {x!r} is needed while the function is traced",
        why="its value is only known when the compiled function runs",
        remedy=remedy,
    )


def _one_or_many(args: tuple[Any, ...]) -> Any:
    return args[0] if len(args) == 1 else args


def _type_text(value: Value) -> str:
    dims = ", ".join(str(d) if isinstance(d, int) else repr(d) for d in value.dims)
    return f"{value.dtype}[{dims}]" if value.dims else str(value.dtype)


def _refuse_attribute(name: str, remedy: str) -> NoReturn:
    raise errors.UnsupportedFunctionError(
        f"attribute {name!r} of a traced array",
        why="it speaks of memory, which a traced array does not have",
        remedy=f"use {remedy}",
    )
