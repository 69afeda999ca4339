"""Ufuncs on tracers: calls, and the methods reduce, accumulate, outer.

apply(np.add, "__call__", (x, y), {})     elementwise.call
apply(np.add, "reduce", (x,), {})         reductions.sum along axis 0
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NoReturn

import numpy as np

from jitnet import errors, ops
from jitnet.frontend import (
    accumulating,
    assigning,
    elementwise,
    layouts,
    nans,
    outputs,
    products,
    pynumbers,
    reductions,
    scattering,
)
from jitnet.frontend.arrays import layout_like
from jitnet.frontend.dims import broadcast_dims, filled, same_dims
from jitnet.frontend.dispatch import name_of
from jitnet.frontend.promotion import as_array
from jitnet.frontend.tracer import Tracer, supported_dtype, wrap
from jitnet.ir import Value

_REDUCE: dict[np.ufunc, Callable[..., Any]] = {
    **reductions.BY_UFUNC,
    np.fmax: nans.TABLE[np.nanmax],
    np.fmin: nans.TABLE[np.nanmin],
}
_REDUCE_BOOLS: dict[np.ufunc, Callable[..., Any]] = {
    np.bitwise_and: reductions.all,
    np.bitwise_or: reductions.any,
}
_ACCUMULATE: dict[np.ufunc, Callable[..., Any]] = {
    np.add: reductions.cumsum,
    np.multiply: reductions.cumprod,
}


def apply(ufunc: np.ufunc, method: str, inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What `ufunc.method(*inputs, **kwargs)` gives.

    Raises:
        UnsupportedFunctionError: for methods, and arguments, that jitnet does not have.
    """
    if method == "operator":
        if pynumbers.are_python(inputs):
            return pynumbers.operate(ufunc, inputs)
        method = "__call__"
    if method == "at":
        scattering.at(ufunc, *inputs)
        return None
    inputs, options = _sorted(ufunc, method, inputs, kwargs)
    out = options.pop("out", None)
    if out is not None and not (isinstance(out, tuple) and all(o is None for o in out)):
        return _stored(ufunc, method, inputs, options, out)
    if method == "__call__":
        return _call(ufunc, inputs, options)
    if method == "reduce":
        return _reduce(ufunc, *inputs, **options)
    if method == "accumulate":
        return _ACCUMULATE.get(ufunc, partial(accumulating.accumulate, ufunc))(*inputs, **options)
    if method == "reduceat":
        return accumulating.reduceat(ufunc, *inputs, **options)
    if method == "outer":
        return _outer(ufunc, inputs, options)
    _refuse(ufunc, method)


_POSITIONAL = {
    "reduce": ("array", "axis", "dtype", "out", "keepdims", "initial", "where"),
    "accumulate": ("array", "axis", "dtype", "out"),
    "reduceat": ("array", "indices", "axis", "dtype", "out"),
}


def _sorted(
    ufunc: np.ufunc, method: str, inputs: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The operands, and all that may be told by name too."""
    if method == "__call__" and len(inputs) > ufunc.nin:
        out = inputs[ufunc.nin :]
        return inputs[: ufunc.nin], {**kwargs, "out": out + (None,) * (ufunc.nout - len(out))}
    names = _POSITIONAL.get(method)
    if names is None:
        return inputs, dict(kwargs)
    n = 2 if method == "reduceat" else 1
    options = dict(zip(names[n:], inputs[n:])) | kwargs
    if method != "reduceat":
        options.setdefault("axis", 0)
    return inputs[:n], options


def _stored(
    ufunc: np.ufunc, method: str, inputs: tuple[Any, ...], options: dict[str, Any], out: Any
) -> Any:
    """The results written to the arrays of `out=`."""
    name = ufunc.__name__
    if method in _POSITIONAL:
        own = out[0] if isinstance(out, tuple) else out
        if ufunc in (np.add, np.multiply) and options.get("dtype") is None:
            options["dtype"] = outputs.dtype_of_sum(inputs[0], own)
        found = apply(ufunc, method, inputs, options)
        return outputs.store(found, own, name, casting="unsafe", exact=True)
    where = options.pop("where", True)
    found = apply(ufunc, method, inputs, options)
    if where is not True:
        found = _chosen(where, found, out)
    return outputs.store(found, out, name, options.get("casting", "same_kind"))


def _chosen(where: Any, found: Any, out: Any) -> Any:
    """The results where the mask is true, and what `out` holds elsewhere."""
    if isinstance(found, tuple):
        return tuple(_chosen(where, f, o) for f, o in zip(found, out, strict=True))
    own = out[0] if isinstance(out, tuple) else out
    if own is None:
        return found
    target = assigning.as_target(own).value
    mask = _mask(where)
    dims = broadcast_dims(mask.dims, found.value.dims)
    kept = ops.convert(found.value, target.dtype)
    if not same_dims(dims, target.dims):
        return found  # which does not fit, as storing it tells
    return wrap(ops.select(*(filled(v, dims) for v in (mask, kept, target))))


def _mask(where: Any) -> Value:
    mask = as_array(where).value
    if not mask.dtype.is_bool:
        raise errors.DTypeError(
            f"Cannot cast array data from {mask.dtype.numpy!r} to dtype('bool') according to the "
            "rule 'safe'"
        )
    return mask


def _call(ufunc: np.ufunc, inputs: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """Where a mask leaves elements out, any value is as good: those of all elements are given."""
    where = options.pop("where", True)
    if where is not True:
        mask = _mask(where)
        found = _call(ufunc, inputs, options)
        return _widened(found, mask.dims)
    options.pop("subok", None)
    order = layouts.checked(options.pop("order", "K"))
    if ufunc in products.GUFUNCS:
        if order == "F":
            options["order"] = order
        if options:
            raise errors.UnsupportedFunctionError(
                f"np.{ufunc.__name__} with {', '.join(options)}",
                remedy="move the axes, and convert, in front",
            )
        return products.GUFUNCS[ufunc](*inputs)
    if ufunc.signature is not None:
        _refuse(ufunc, "__call__")
    return _laid_out(elementwise.call(ufunc, *inputs, **options), inputs, order)


def _laid_out(found: Any, inputs: Sequence[Any], order: str) -> Any:
    """New arrays lie as those that they are made of, if not told otherwise."""
    if isinstance(found, tuple):
        return tuple(_laid_out(f, inputs, order) for f in found)
    if found.place.rank > 1:
        if order == "A":
            arrays = [x.place for x in inputs if type(x) is Tracer and x.ndim > 1]
            order = "F" if all(layouts.lies(place, "F") for place in arrays) else "C"
        like = layout_like([x.place for x in inputs if type(x) is Tracer])
        found.place.layout = like if order == "K" else order
    return found


def _widened(found: Any, dims: Any) -> Any:
    """Results of at least the shape of a mask."""
    if isinstance(found, tuple):
        return tuple(_widened(f, dims) for f in found)
    wide = broadcast_dims(found.value.dims, dims)
    return found if same_dims(wide, found.value.dims) else wrap(filled(found.value, wide))


def _reduce(ufunc: np.ufunc, x: Any, **options: Any) -> Any:
    """Sums, extrema and "and" and "or" by their reductions, others one element after the other."""
    fold = _REDUCE.get(ufunc)
    if as_array(x).value.dtype.is_bool:
        fold = _REDUCE_BOOLS.get(ufunc, fold)
    has_initial = options.get("initial", np._NoValue) is not np._NoValue
    if fold is None or (has_initial and fold in (reductions.all, reductions.any)):
        return accumulating.reduce(ufunc, x, **options)
    dtype = options.get("dtype")
    if ufunc not in (np.add, np.multiply):
        options.pop("dtype", None)
        if dtype is not None:
            x = wrap(ops.convert(as_array(x).value, supported_dtype(np.dtype(dtype), "dtype=")))
    return fold(x, options.pop("axis"), **options)


def _outer(ufunc: np.ufunc, inputs: tuple[Any, ...], options: dict[str, Any]) -> Any:
    x, y = (as_array(v) for v in inputs)
    from_left = wrap(_with_units(x.value, y.ndim)) if y.ndim else x
    return elementwise.call(ufunc, from_left, y, **options)


def _with_units(value: Any, n: int) -> Any:
    return ops.reshape(value, (*value.dims, *(1,) * n))


def _refuse(ufunc: np.ufunc, method: str) -> NoReturn:
    raise errors.UnsupportedFunctionError(
        f"{name_of(ufunc)}.{method} of traced values",
        why="this version has no such operation",
        remedy="compute it outside of the compiled function and pass the result in",
    )
