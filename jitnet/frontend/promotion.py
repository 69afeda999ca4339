"""NEP 50: which dtypes an operation computes in, and operands brought to them.

    np.add(x, 2.5)     x: f32 array, 2.5: weak  ->  loop (f32, f32) -> f32
                       #   %0 = add %x, 2.5:f32

NumPy itself is asked (`ufunc.resolve_dtypes`, `np.result_type`), so the answers are its own. An
operand is a `Tracer`, or a Python number whose value is known: those keep their value
until the dtype they become is known, because only then it is clear whether they fit. A Python int
that is traced is checked when the program runs.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from jitnet import errors, ops
from jitnet.frontend.tracer import Tracer, lift, supported_dtype, wrap
from jitnet.ir import DType, Literal, Value
from jitnet.ir import types as T

Operand = Tracer | bool | int | float | complex
"""A normalised operand; the Python numbers are known values, and weak."""

_PLAIN: tuple[type[Any], ...] = (int, float, complex)
_PYTHON_NUMBERS = (bool, *_PLAIN)


def operand(x: Any) -> Operand:
    """Anything that may be an operand, normalised.

    Raises:
        UnsupportedDTypeError: for what is no array and no number of a dtype that jitnet has.
    """
    if type(x) in _PYTHON_NUMBERS:
        known: Operand = x
        return known
    if type(x) is not Tracer:
        for kind in _PLAIN:
            if isinstance(x, kind) and not isinstance(x, np.generic):
                plain: Operand = kind(x)
                return plain
        return lift(x)
    if x.flavour == "python" and isinstance(x.value, Literal):
        item: Operand = x.value.item
        return item
    return lift(x)


def is_python(x: Operand) -> bool:
    """Whether the operand is a Python number, known or traced."""
    return not isinstance(x, Tracer) or x.flavour == "python"


def is_rank_0(x: Operand) -> bool:
    return type(x) is not Tracer or x.value.rank == 0


def is_known_int(x: Operand) -> bool:
    return type(x) is int


def python_kind(x: Operand) -> type:
    """bool, int, float or complex: the class of a Python number."""
    if type(x) is not Tracer:
        return type(x)
    return {"b": bool, "f": float, "c": complex}.get(x.value.dtype.kind, int)


def weak_type(x: Operand) -> Any:
    """How the operand takes part in promotion: a NumPy dtype, or `int`, `float`,
    `complex` for weak ones."""
    if not is_python(x):
        return x.dtype  # type: ignore[union-attr]
    kind = python_kind(x)
    return np.dtype(np.bool_) if kind is bool else kind


# -- dtypes ----------------------------------------------------------------------------------------


def loop_dtypes(
    ufunc: np.ufunc,
    operands: Sequence[Operand],
    dtype: Any = None,
    casting: str = "same_kind",
    signature: Any = None,
) -> tuple[DType, ...]:
    """The dtypes of the loop that NumPy would run: of the inputs, then of the outputs.

    Raises:
        DTypeError: where NumPy has no loop, or `casting` forbids the way to it.
        UnsupportedDTypeError: where the loop is one of float16 or object.
    """
    types = tuple(weak_type(x) for x in operands)
    return _loop(ufunc, types, _signature(ufunc, dtype, signature), casting)


def _signature(ufunc: np.ufunc, dtype: Any, signature: Any) -> Any:
    if dtype is not None:
        return (None,) * ufunc.nin + (np.dtype(dtype),) * ufunc.nout
    if signature is None or isinstance(signature, (str, tuple)):
        return _signature_of_text(ufunc, signature)
    return (None,) * ufunc.nin + (np.dtype(signature),) * ufunc.nout


def _signature_of_text(ufunc: np.ufunc, signature: str | tuple[Any, ...] | None) -> Any:
    if signature is None:
        return None
    if isinstance(signature, str):
        codes = signature.replace("->", "")
        if len(codes) == 1:
            return (None,) * ufunc.nin + (np.dtype(codes),) * ufunc.nout
        return tuple(np.dtype(code) for code in codes)
    return tuple(None if s is None else np.dtype(s) for s in signature)


@functools.lru_cache(maxsize=4096)
def _loop(
    ufunc: np.ufunc, types: tuple[Any, ...], signature: Any, casting: str
) -> tuple[DType, ...]:
    options: dict[str, Any] = {"casting": casting}
    if signature is not None:
        options["signature"] = signature
    try:
        found = ufunc.resolve_dtypes(types + (None,) * ufunc.nout, **options)
    except TypeError as error:
        raise errors.DTypeError(str(error), why=f"np.{ufunc.__name__} of {_names(types)}") from None
    what = f"np.{ufunc.__name__} of {_names(types)} computes in a value"
    return tuple(supported_dtype(np.dtype(d), what) for d in found)


def _names(types: Sequence[Any]) -> str:
    return ", ".join(getattr(t, "name", getattr(t, "__name__", "any")) for t in types)


def result_type(*operands: Operand) -> DType:
    """The dtype that np.result_type gives these operands, Python numbers weak.

    Raises:
        DTypeError: where they have no common dtype.
    """
    return _result_type(tuple(weak_type(x) for x in operands))


def result_type_of(*given: Any) -> np.dtype[Any]:
    """`np.result_type`, which takes arrays, numbers and dtypes.

    Raises:
        DTypeError: where they have no common dtype.
    """
    types = (
        np.dtype(x) if isinstance(x, (str, type, np.dtype)) else weak_type(operand(x))
        for x in given
    )
    return _result_type(tuple(types)).numpy


@functools.lru_cache(maxsize=4096)
def _result_type(types: tuple[Any, ...]) -> DType:
    weak = tuple({int: 0, float: 0.0, complex: 0j}.get(t, t) for t in types)
    try:
        return supported_dtype(np.result_type(*weak))
    except np.exceptions.DTypePromotionError as error:
        raise errors.DTypeError(str(error)) from None


def default_dtype(x: Operand) -> DType:
    """The dtype of `np.asarray(x)`."""
    if type(x) is Tracer:
        return x.value.dtype
    if type(x) is int and not -(1 << 63) <= x < 1 << 63:
        return T.u64
    return {bool: T.bool_, int: T.i64, float: T.f64, complex: T.c128}[type(x)]


# -- values ----------------------------------------------------------------------------------------


def as_dtype(x: Operand, dtype: DType) -> Value:
    """The operand's value in the dtype that promotion chose for it.

    Raises:
        IntegerOverflowError: for a Python int that the dtype does not hold; for a traced one, when
            the program runs.
    """
    if not isinstance(x, Tracer):
        return literal_of(x, dtype)
    if x.flavour == "python" and x.value.dtype.is_integer and dtype.is_integer:
        _check_fits(x.value, dtype)
    return ops.convert(x.value, dtype)


def literal_of(x: bool | int | float | complex, dtype: DType) -> Literal:
    """A Python number as a literal of `dtype`.

    Raises:
        IntegerOverflowError: for an int that the dtype does not hold.
    """
    if type(x) is int:
        if dtype.is_integer and not fits(x, dtype):
            raise errors.IntegerOverflowError(
                f"Python integer {x} out of bounds for {dtype.numpy.name}",
                why="a Python int takes the dtype of the array that it meets",
                remedy=f"convert the array first: x.astype(np.int64), or wrap {x} in a NumPy dtype",
            )
        if dtype.is_inexact:
            try:
                x = float(x)
            except OverflowError as error:
                raise errors.IntegerOverflowError(str(error)) from None
    with np.errstate(all="ignore"):
        return Literal(x, dtype)


def fits(x: int, dtype: DType) -> bool:
    """Whether an integer dtype holds x."""
    low, high = integer_range(dtype)
    return low <= x <= high


def integer_range(dtype: DType) -> tuple[int, int]:
    """The least and the greatest value of an integer dtype."""
    if dtype.kind == "u":
        return 0, (1 << dtype.bits) - 1
    return -(1 << dtype.bits - 1), (1 << dtype.bits - 1) - 1


def _check_fits(value: Value, dtype: DType) -> None:
    if dtype == value.dtype:
        return
    low, high = integer_range(dtype)
    ok = ops.ge(value, low)
    if high < 1 << 63:
        ok = ops.bitwise_and(ok, ops.le(value, high))
    message = f"Python integer {{0}} out of bounds for {dtype.numpy.name}"
    ops.check(ok, [value], "OverflowError", message)


def as_array(x: Any) -> Tracer:
    """Anything array-like as a tracer; Python numbers are 0-d arrays, NumPy scalars stay such."""
    own = operand(x)
    if not isinstance(own, Tracer):
        dtype = default_dtype(own)
        return wrap(literal_of(own, dtype))
    return wrap(own.value) if own.flavour == "python" else own
