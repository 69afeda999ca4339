"""Ufuncs on tracers: calls, and the methods reduce, accumulate, outer.

apply(np.add, "__call__", (x, y), {})     elementwise.call
apply(np.add, "reduce", (x,), {})         reductions.sum along axis 0
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from jitnet import errors, ops
from jitnet.frontend import elementwise, nans, products, pynumbers, reductions
from jitnet.frontend.promotion import as_array
from jitnet.frontend.reductions import refuse_out
from jitnet.frontend.tracer import wrap

_REDUCE: dict[np.ufunc, Callable[..., Any]] = {
    **reductions.BY_UFUNC,
    np.fmax: nans.TABLE[np.nanmax],
    np.fmin: nans.TABLE[np.nanmin],
}
_REDUCE_BOOLS: dict[np.ufunc, Callable[..., Any]] = {
    np.bitwise_and: reductions.all,
    np.bitwise_or: reductions.any,
}
_ACCUMULATE = {np.add: reductions.cumsum, np.multiply: reductions.cumprod}


def apply(ufunc: np.ufunc, method: str, inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What `ufunc.method(*inputs, **kwargs)` gives.

    Raises:
        UnsupportedFunctionError: for methods, and arguments, that jitnet does not have.
    """
    if method == "operator":
        if pynumbers.are_python(inputs):
            return pynumbers.operate(ufunc, inputs)
        method = "__call__"
    options = dict(kwargs)
    refuse_out(options.pop("out", None))
    if method == "__call__":
        return _call(ufunc, inputs, options)
    if method == "reduce":
        return _reduce(ufunc, inputs, options)
    if method == "accumulate" and ufunc in _ACCUMULATE:
        x, *rest = inputs
        axis = rest[0] if rest else options.pop("axis", 0)
        return _ACCUMULATE[ufunc](x, axis, **options)
    if method == "outer":
        return _outer(ufunc, inputs, options)
    _refuse(ufunc, method)


def _call(ufunc: np.ufunc, inputs: tuple[Any, ...], options: dict[str, Any]) -> Any:
    if options.pop("where", True) is not True:
        raise errors.UnsupportedFunctionError(
            f"np.{ufunc.__name__} with where=",
            why="elements that are left out would be undefined",
            remedy=f"np.where(mask, np.{ufunc.__name__}(...), other)",
        )
    options.pop("subok", None)
    if options.pop("order", "K") not in ("K", "C", "A"):
        raise errors.UnsupportedFunctionError(
            f"np.{ufunc.__name__} with order=", remedy="results are in C order"
        )
    if ufunc in products.GUFUNCS:
        if options:
            raise errors.UnsupportedFunctionError(
                f"np.{ufunc.__name__} with {', '.join(options)}",
                remedy="move the axes, and convert, in front",
            )
        return products.GUFUNCS[ufunc](*inputs)
    return elementwise.call(ufunc, *inputs, **options)


def _reduce(ufunc: np.ufunc, inputs: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """Along axis 0 unless told otherwise."""
    x, *rest = inputs
    options |= dict(zip(("axis", "dtype", "out", "keepdims", "initial", "where"), rest))
    refuse_out(options.pop("out", None))
    fold = _REDUCE.get(ufunc)
    if as_array(x).value.dtype.is_bool:
        fold = _REDUCE_BOOLS.get(ufunc, fold)
    if fold is None:
        _refuse(ufunc, "reduce")
    if ufunc not in (np.add, np.multiply) and options.pop("dtype", None) is not None:
        _refuse(ufunc, "reduce with dtype=")
    return fold(x, options.pop("axis", 0), **options)


def _outer(ufunc: np.ufunc, inputs: tuple[Any, ...], options: dict[str, Any]) -> Any:
    x, y = (as_array(v) for v in inputs)
    from_left = wrap(_with_units(x.value, y.ndim)) if y.ndim else x
    return elementwise.call(ufunc, from_left, y, **options)


def _with_units(value: Any, n: int) -> Any:
    return ops.reshape(value, (*value.dims, *(1,) * n))


def _refuse(ufunc: np.ufunc, method: str) -> NoReturn:
    raise errors.UnsupportedFunctionError(
        f"np.{ufunc.__name__}.{method} of traced values",
        why="this version has no such operation",
        remedy="compute it outside of the compiled function and pass the result in",
    )
