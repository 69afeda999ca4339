"""`Tracer`: stands for an array, a NumPy scalar or a Python number while a function is traced.

    y = np.tanh(x @ w)       # x.__matmul__, then tanh through x.__array_ufunc__
                             #   %0 = dot %x, %w {...}
                             #   %y = tanh %0

It has ndarray's operators and methods; each ends in `apply` of a ufunc or `call` of a NumPy
function. An array tracer is an object as the array is: it has a place (`arrays`), which others may
share, and its value is what that place holds now. What needs a value while tracing (`np.zeros` of
that length in a list, `str(x)`) restarts the trace with that argument static where it is a Python
int of the caller's, and is refused with a remedy otherwise.
"""

from __future__ import annotations

import linecache
from collections.abc import Iterator
from inspect import CO_GENERATOR
from typing import Any, NoReturn
from typing import Literal as OneOf

import numpy as np

from jitnet import errors, ir, ops
from jitnet.frontend import layouts
from jitnet.frontend.arrays import Place, last_value
from jitnet.frontend.context import (
    NeedStatic,
    give_name,
    integer_arguments_of,
    running_trace,
)
from jitnet.frontend.device_arrays import device_of, is_read_only
from jitnet.frontend.dispatch import apply, call, getitem, note_place, setitem
from jitnet.frontend.operators import Operators
from jitnet.frontend.stores import Store
from jitnet.ir import ArrayType, Literal, Value
from jitnet.source import Site, position, user_sites

Flavour = OneOf["array", "scalar", "python"]

_PYTHON_TYPES = {"b": bool, "i": int, "u": int, "f": float, "c": complex}
_PLAIN: tuple[type[Any], ...] = (int, float, complex)


class Tracer(Operators):
    """A value of the running trace.

    Attributes:
        place: where its value is; arrays that share memory share the store of it.
        flavour: "array" (np.ndarray, 0-d too), "scalar" (np.generic) or "python" (a weak bool, int
            or float; an i64, f64 or bool of rank 0).
    """

    __slots__ = ("flavour", "place")
    __array_priority__ = 1000.0

    def __init__(self, place: Place, flavour: Flavour) -> None:
        self.place = place
        self.flavour: Flavour = flavour

    @property
    def value(self) -> Value:
        """What it holds now, as a value of the running trace."""
        return self.place.read(running_trace())

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        """What the user's `isinstance` sees: the class that the value has without jit."""
        if self.flavour == "array":
            return np.ndarray
        dtype = self.place.dtype
        return _PYTHON_TYPES[dtype.kind] if self.flavour == "python" else dtype.numpy.type

    # -- dispatch ----------------------------------------------------------------------------------

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        return apply(ufunc, method, inputs, kwargs)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return call(func, *args, **kwargs)

    def __getitem__(self, key: Any) -> Any:
        return getitem(self, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        setitem(self, key, value)

    def __delitem__(self, key: Any) -> None:
        raise ValueError("cannot delete array elements")

    # -- what it is --------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[Any, ...]:
        return tuple(d if isinstance(d, int) else wrap(d, "python") for d in self.value.dims)

    @shape.setter
    def shape(self, shape: Any) -> None:
        _reshape_in_place(self, shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.place.dtype.numpy

    @property
    def ndim(self) -> int:
        return self.place.rank

    @property
    def size(self) -> Any:
        size: Any = 1
        for extent in self.shape:
            size = size * extent
        return size

    @property
    def itemsize(self) -> int:
        return self.place.dtype.itemsize

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
        return call(np.real, self)

    @real.setter
    def real(self, value: Any) -> None:
        setitem(self.real, Ellipsis, value)

    @property
    def imag(self) -> Any:
        return call(np.imag, self)

    @imag.setter
    def imag(self, value: Any) -> None:
        if not self.place.dtype.is_complex:
            raise TypeError("array does not have imaginary part to set")
        setitem(self.imag, Ellipsis, value)

    @property
    def flat(self) -> Any:
        return call(np.ndarray.flat, self)

    @flat.setter
    def flat(self, value: Any) -> None:
        self.flat[:] = value

    @property
    def strides(self) -> tuple[int, ...]:
        return layouts.strides(self.place)

    @property
    def flags(self) -> layouts.Flags:
        return layouts.Flags(self.place)

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
        remedy = "np.any(x) or np.all(x) around it, and " if self.ndim else ""
        remedy += (
            "an if in a function whose source is at hand (in a file or a notebook, without "
            "locals() and eval); elsewhere np.where(condition, a, b)"
        )
        if any(_is_case(site) for site in user_sites(limit=1)):
            remedy = "if and elif, in the place of match and case"
        if any(code.co_flags & CO_GENERATOR for code, _ in user_sites(limit=1)):
            remedy = "a function that appends to a list, and returns it, for the generator"
        concretize(self, "the truth of", remedy)

    def __int__(self) -> int:
        concretize(self, "the int of", "x.astype(np.int64)")

    def __index__(self) -> int:
        if self.place.dtype.kind not in "iu":
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
        remedy = "np.unique in the place of a set; an array that is indexed by ints, or an array "
        remedy += "of keys and one of values, in that of a dict"
        concretize(self, "the hash of", remedy)

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        concretize(self, "the bytes of", "the array as a result of the function")

    def item(self, *args: Any) -> Any:
        return call(np.ndarray.item, self, *args)

    def tolist(self) -> Any:
        return call(np.ndarray.tolist, self)

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
        text = _type_text(self)
        return f"<traced {text}>" if self.flavour == "array" else f"<traced {self.flavour} {text}>"

    def __str__(self) -> str:
        self._make_static()
        return repr(self)

    def __format__(self, spec: str) -> str:
        self._make_static()
        return repr(self)

    def _make_static(self) -> None:
        """Where an int of the caller's is behind this, start again with it as it is."""
        leaves = integer_arguments_of(running_trace(), self.value)
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
        if target == own.value.dtype and not copy:
            wanted = layouts.checked(order)
            in_order = wanted in ("A", "K") or own.flavour != "array"
            return own if in_order else Tracer(layouts.kept(own.place, own.value, wanted), "array")
        return _like(wrap(ops.convert(own.value, target), own.flavour), own, order)

    def copy(self, order: str = "C") -> Tracer:
        return _like(wrap(self.value, self.flavour), self, order)

    def __copy__(self) -> Tracer:
        return self.copy("K")

    def __deepcopy__(self, memo: Any) -> Tracer:
        return self.copy()

    def flatten(self, order: str = "C") -> Any:
        flat = call(np.ravel, self, order=order)
        return wrap(flat.value)

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
        is_complex = self.place.dtype.is_complex
        return apply(np.conjugate, "operator", (self,), {}) if is_complex else self

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
    """A value of the running trace as a new object: a number, or an array in memory of its own.

    The value gets the name of the user's variable that it is stored to.
    """
    trace = running_trace()
    give_name(trace, value)
    return Tracer(Store(value, trace), flavour)


def _like(new: Tracer, old: Tracer, order: str) -> Tracer:
    """A copy, which lies as the array does where the order is not told."""
    layouts.lay_out(new.place, order, old.place)
    return new


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
        running_trace()
        own: Tracer = x
        return own
    if kind is bool:
        return _literal(x, ir.types.bool_)
    if kind is int:
        return _lift_int(x)
    if kind is float:
        return _literal(x, ir.types.f64)
    if kind is complex:
        return _literal(x, ir.types.c128)
    if isinstance(x, np.generic):
        return _literal(x, supported_dtype(x.dtype), "scalar")
    if isinstance(x, np.ndarray):
        return _lift_loose_array(x)
    if device_of(kind) is not None:
        return lift_array(x)
    if isinstance(x, (list, tuple)):
        return _lift_sequence(x)
    if isinstance(x, np.flatiter):
        return lift(x.copy())
    for plain in _PLAIN:  # an IntEnum, a user's subclass of float
        if isinstance(x, plain):
            return lift(plain(x))
    raise errors.UnsupportedDTypeError(
        f"an operand of type {kind.__module__}.{kind.__qualname__}",
        why="jitnet computes with NumPy arrays, NumPy scalars and Python numbers",
        remedy="convert it to one of these, or compute it outside of the compiled function",
    )


def _literal(x: Any, dtype: ir.DType, flavour: Flavour = "python") -> Tracer:
    return Tracer(Store(Literal(x, dtype), running_trace()), flavour)


def _lift_int(x: int) -> Tracer:
    dtype = ir.types.i64
    if not -(1 << 63) <= x < 1 << 63:
        if not 0 <= x < 1 << 64:
            raise errors.IntegerOverflowError(
                f"the Python int {x} fits neither int64 nor uint64", remedy="use a float"
            )
        dtype = ir.types.u64
    return _literal(x, dtype)


def lift_array(x: np.ndarray[Any, Any], name: str = "captured") -> Tracer:
    """An array from outside, as an input of the traced function: always the same tracer."""
    trace = running_trace().function
    known = trace.outside.get(id(x))
    if known is None:
        check_array(x, "an array")
        type = ArrayType(supported_dtype(x.dtype), x.shape)
        value = trace.capture(id(x), x, type, name)
        store = Store(value, trace, layout_of(x), read_only=is_read_only(x))
        trace.stores[store] = value
        known = trace.outside[id(x)] = (x, None, Tracer(store, "array"))
    tracer: Tracer = known[2]
    return tracer


def layout_of(x: np.ndarray[Any, Any]) -> str:
    """The layout class of an array: "C", "F" or "strided"."""
    flags = x.flags
    if flags.c_contiguous:
        return "C"
    return "F" if flags.f_contiguous else "strided"


def _lift_loose_array(x: np.ndarray[Any, Any]) -> Tracer:
    """An array that the user's code has at hand, and might write to before or after this use."""
    own = lift_array(x)
    outside = running_trace().function.outside
    array, then, tracer = outside[id(x)]
    if then is None:
        outside[id(x)] = (array, x.copy(), tracer)
    check_unwritten(*outside[id(x)][:2])
    return own


def check_unwritten(now: np.ndarray[Any, Any], then: np.ndarray[Any, Any] | None) -> None:
    """Refuse an array that was written to between two uses, or after its last one."""
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
    stacked: Tracer = call(np.stack, [wrap(lift(item).value) for item in x])
    return stacked


def _holds_tracer(x: Any) -> bool:
    if isinstance(x, (list, tuple)):
        return any(_holds_tracer(item) for item in x)
    return type(x) is Tracer


def check_array(x: np.ndarray[Any, Any], what: str) -> None:
    """Refuse subclasses of ndarray and dtypes that the IR does not have."""
    if type(x) is not np.ndarray and device_of(type(x)) is None:
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
    remedy = "use bool, an integer dtype, a float of 16 to 64 bits, complex64 or complex128"
    if dtype.kind == "O":
        remedy = "an array of numbers, x.astype(np.float64); or a list or tuple of what it holds"
    elif dtype.kind in "SUT":
        remedy = "numbers that stand for the texts, np.unique(x, return_inverse=True)[1]"
    elif not dtype.isnative:
        remedy = "convert it to the machine's byte order: x.astype(x.dtype.newbyteorder('='))"
    raise errors.UnsupportedDTypeError(f"{what} of dtype {dtype}", remedy=remedy)


def concretize(x: Tracer, what: str, remedy: str) -> NoReturn:
    """A value is needed now: make the int arguments it comes from static, or refuse."""
    leaves = integer_arguments_of(running_trace(), x.value)
    if leaves is not None:
        raise NeedStatic(leaves)
    raise errors.ConcretizationError(
        f"{what} {x!r} is needed while the function is traced",
        why="its value is only known when the compiled function runs",
        remedy=remedy,
    )


def _is_case(site: Site) -> bool:
    """Whether the user's line is a `case`."""
    place = position(site)
    return linecache.getline(place.file, place.line).lstrip().startswith("case ")


def _one_or_many(args: tuple[Any, ...]) -> Any:
    return args[0] if len(args) == 1 else args


def _type_text(x: Tracer) -> str:
    """Its name, dtype and dims, outside of any trace too."""
    place = x.place
    value = last_value(place)
    dims = ", ".join(str(d) if isinstance(d, int) else repr(d) for d in value.dims)
    box = f"[{dims}]" if value.dims else ""
    return f"{value.name or '_'}: {value.dtype}{box}"


def _reshape_in_place(x: Tracer, shape: Any) -> None:
    """`x.shape = shape`: another form of the same memory."""
    trace = running_trace()
    if trace.is_region:
        raise errors.MutationError(
            "x.shape = ... where traced values decide whether it is done",
            remedy="use x = x.reshape(shape)",
        )
    view = call(np.reshape, x, shape)
    if isinstance(view.place, Store):
        raise AttributeError("Incompatible shape for in-place modification. Use `.reshape()`")
    x.place = view.place


def _refuse_attribute(name: str, remedy: str) -> NoReturn:
    raise errors.UnsupportedFunctionError(
        f"attribute {name!r} of a traced array",
        why="it speaks of memory, which a traced array does not have",
        remedy=f"use {remedy}",
    )
