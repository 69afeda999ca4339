"""Numbers made of traced values: `float(x)`, `int(x)`, `bool(x)`, and NumPy's scalar classes.

    int(x)            check x == x, "ValueError"; check -2**63 <= x < 2**63, "OverflowError"
                      %0 = convert %x {dtype=i64}       a traced Python int
    np.float32(x)     %0 = convert %x {dtype=f32}       a traced NumPy scalar

Arrays of rank 0 are numbers too, as they are to Python.
"""

from __future__ import annotations

import math
from typing import Any

from jitnet import errors, ops
from jitnet.frontend.dims import count, static_shape
from jitnet.frontend.elementwise import truth
from jitnet.frontend.promotion import as_array, as_dtype, operand
from jitnet.frontend.tracer import Tracer, wrap
from jitnet.ir import DType, Literal, Value, as_value
from jitnet.ir import types as T

_LIST = 4096  # elements that tolist gives
WIDE = "the Python int {0} does not fit int64, which traced Python ints are"
WIDE += errors.REMEDY + "keep it a NumPy scalar, or use a float"


def number_of(x: Any) -> Value:
    """The value of a traced number.

    Raises:
        DTypeError: for an array that is no number.
    """
    value = as_array(x).value
    if value.rank:
        raise errors.DTypeError("only 0-dimensional arrays can be converted to Python scalars")
    return value


def real_of(x: Any, what: str) -> Value:
    """The value of a traced number that has no imaginary part.

    Raises:
        DTypeError: for complex numbers; NumPy's would lose theirs.
    """
    value = number_of(x)
    if value.dtype.is_complex:
        raise errors.DTypeError(
            f"{what} argument must be a real number, not 'complex'", remedy="x.real, or abs(x)"
        )
    return value


def float_of(x: Any) -> Value:
    """`float(x)` as an f64, for anything that Python's math takes.

    Raises:
        TypeError: for what is no real number.
    """
    if type(x) is not Tracer:
        return Literal(math.ldexp(x, 0), T.f64)
    return ops.convert(real_of(x, "float()"), T.f64)


def int_of(value: Value) -> Value:
    """A number without its fraction as an i64, checked as Python's int() does and to fit."""
    dtype = value.dtype
    if dtype.is_float:
        nan = "cannot convert float NaN to integer"
        ops.check(ops.logical_not(ops.isnan(value)), [], "ValueError", nan)
        wide = ops.convert(value, T.f64)
        within = ops.bitwise_and(ops.ge(wide, -(2.0**63)), ops.lt(wide, 2.0**63))
        message = "cannot convert float {0} to integer: traced Python ints are int64"
        message += errors.REMEDY + "np.floor, np.trunc and np.rint keep it a float"
        ops.check(within, [wide], "OverflowError", message)
    elif dtype == T.u64:
        ops.check(ops.le(value, (1 << 63) - 1), [value], "OverflowError", WIDE)
    return ops.convert(value, T.i64)


def as_python(x: Any) -> Tracer:
    """The Python number that a traced number is.

    Raises:
        DTypeError: for an array that is no number.
    """
    value = number_of(x)
    if value.dtype.is_complex:
        value = ops.convert(value, T.c128)
    elif value.dtype.is_float:
        value = ops.convert(value, T.f64)
    elif value.dtype.is_integer:
        value = int_of(value)
    return wrap(value, "python")


def item(x: Any, *index: Any) -> Tracer:
    """`x.item()`, `x.item(i)` of the flattened array, `x.item(i, j)`.

    Raises:
        ValueRefusedError: without an index, for an array that has not just one element.
    """
    own = as_array(x)
    if index:
        key = index[0] if len(index) == 1 else index
        return as_python(own[key] if isinstance(key, tuple) else own.reshape(-1)[key])
    size = count(own.value.dims)
    message = "can only convert an array of size 1 to a Python scalar"
    if isinstance(size, int) and size != 1:
        raise errors.ValueRefusedError(message)
    ops.check(ops.eq(as_value(size), 1), [], "ValueError", message)
    return as_python(wrap(ops.reshape(own.value, ())))


def tolist(x: Any) -> Any:
    """`x.tolist()`: nested lists of Python numbers.

    Raises:
        ConcretizationError: for an array whose extents are not known while tracing.
        UnsupportedFunctionError: for one with very many elements, each of which is a value of the
            program then.
    """
    shape = static_shape(as_array(x), "the list")
    if math.prod(shape) > _LIST:
        raise errors.UnsupportedFunctionError(
            f"tolist() of a traced array of {math.prod(shape)} elements",
            why="each of them would be a value of its own in the compiled program",
            remedy="keep the array: iteration, indexing and len() work on it as on a list",
        )
    return [tolist(row) for row in x] if shape else as_python(x)


def to_float(x: Any = 0.0) -> Any:
    """`float(x)`."""
    return wrap(float_of(x), "python")


def to_int(x: Any = 0, base: Any = None) -> Any:
    """`int(x)`: towards zero.

    Raises:
        DTypeError: with a base, which is for strings.
    """
    if base is not None:
        raise errors.DTypeError("int() can't convert non-string with explicit base")
    return wrap(int_of(real_of(x, "int()")), "python")


def to_bool(x: Any = False) -> Any:
    """`bool(x)`, of an array too if it has one element; of a list, whether it has any."""
    return wrap(truth_of(x), "python") if type(x) is Tracer else bool(x)


def truth_of(x: Any) -> Value:
    """The truth of a number, or of an array of one element.

    Raises:
        ValueRefusedError: for an array of any other size.
    """
    value = as_array(x).value
    if value.rank == 0:
        return truth(value)
    size = count(value.dims)
    message = (
        "The truth value of an array with more than one element, or none, is ambiguous. "
        "Use a.any() or a.all()"
    )
    if isinstance(size, int) and size != 1:
        raise errors.ValueRefusedError(message)
    ops.check(ops.eq(as_value(size), 1), [], "ValueError", message)
    return ops.reduce_any(truth(value), tuple(range(value.rank)))


def to_complex(real: Any = 0, imag: Any = None) -> Any:
    """`complex(x)`, `complex(re, im)`, whose parts may be complex themselves."""
    z = complex_of(real)
    if imag is None:
        return wrap(z, "python")
    i = complex_of(imag)
    found = ops.complex(ops.sub(ops.real(z), ops.imag(i)), ops.add(ops.imag(z), ops.real(i)))
    return wrap(found, "python")


def complex_of(x: Any) -> Value:
    """A number as a c128."""
    if type(x) is not Tracer:
        return Literal(complex(x), T.c128)
    return ops.convert(number_of(x), T.c128)


def to_round(x: Any, ndigits: Any = None) -> Any:
    """`round(x)`: an int; `round(x, n)`: a number of x's kind.

    Raises:
        DTypeError: for arrays and bools of NumPy's, which have no `__round__`.
        UnsupportedFunctionError: for Python floats and ints that are rounded to decimals.
    """
    if type(x) is not Tracer:
        return round(x, ndigits if ndigits is None else ndigits.__index__())
    no_order = x.value.dtype.is_complex or (x.flavour == "scalar" and x.value.dtype.is_bool)
    if x.flavour == "array" or no_order:
        raise errors.DTypeError(f"type {x.__class__.__name__} doesn't define __round__ method")
    digits = operand(ndigits) if ndigits is not None else None
    if digits is None:
        value = number_of(x)
        return wrap(int_of(ops.rint(value) if value.dtype.is_float else value), "python")
    if x.flavour == "scalar":
        return x.round(ndigits)
    is_float = x.value.dtype.is_float
    if is_float and digits == 0:
        return wrap(ops.rint(x.value), "python")
    if not is_float and type(digits) is int and digits >= 0:
        return wrap(ops.convert(x.value, T.i64), "python")
    raise errors.UnsupportedFunctionError(
        "round() of a traced Python number to decimals",
        why="Python rounds the decimal digits that a number is written with",
        remedy="np.round(x, n), which may differ in the last bit",
    )


# -- NumPy's dtypes --------------------------------------------------------------------------------


def converted(x: Any, dtype: DType, in_list: bool = False) -> Value:
    """A number or array as NumPy stores it in an array of `dtype`.

    Args:
        in_list: it is an element of a list, where NumPy takes np.float64 for a Python float.

    Raises:
        IntegerOverflowError: for a Python number that an integer dtype does not hold; for a traced
            one, when the program runs.
    """
    own = operand(x)
    if dtype.is_bool:
        return truth(as_array(own).value)
    if not isinstance(own, Tracer):
        if isinstance(own, complex) and not dtype.is_complex:
            real_of(wrap(Literal(own, T.c128)), "float()")
        return as_dtype(int(own) if dtype.is_integer else own, dtype)  # type: ignore[arg-type]
    value = own.value
    python = own.flavour == "python" or (
        in_list and own.flavour == "scalar" and value.dtype == T.f64
    )
    if python and value.dtype.is_complex and not dtype.is_complex:
        real_of(own, "float()")
    if python and value.dtype.is_float and dtype.is_integer:
        value = int_of(value)
        return as_dtype(wrap(value, "python"), dtype)
    return as_dtype(own, dtype)


def scalar_of(x: Any, dtype: DType) -> Any:
    """`np.float32(x)` and the like: a NumPy scalar; an array of an array."""
    own = as_array(x) if isinstance(x, (list, tuple)) else x
    value = converted(own, dtype)
    return wrap(value, "array" if value.rank else "scalar")
