"""NumPy's functions on tracers: the table of all of them.

    call(np.where, (mask, x, y), {})     %0 = select %mask, %x, %y

A function that is not here is run from NumPy's own Python source where it has one: its leaves come
back to the table.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jitnet import ops
from jitnet.frontend import (
    assigning,
    bits,
    choosing,
    complexes,
    counting,
    flats,
    joining,
    making,
    nans,
    norms,
    numpy_source,
    outputs,
    products,
    rearranging,
    reductions,
    repeating,
    sets,
    shapes,
    signals,
    sorting,
    statistics,
    systems,
    taking,
)
from jitnet.frontend.arrays import is_one_piece, layout_like, view_of
from jitnet.frontend.context import running_trace
from jitnet.frontend.converting import item, tolist
from jitnet.frontend.dims import count, number
from jitnet.frontend.einsum import einsum
from jitnet.frontend.overlaps import may_share_memory, shares_memory
from jitnet.frontend.promotion import as_array, result_type_of
from jitnet.frontend.stores import Store
from jitnet.frontend.tracer import Tracer, supported_dtype, wrap


def call(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What `function(*args, **kwargs)` gives.

    Raises:
        UnsupportedFunctionError: for a function that jitnet does not have.
    """
    out, args, kwargs = outputs.taken_out(function, args, kwargs)
    if out is not None:
        found = call(function, args, outputs.dtype_for(function, args, kwargs, out))
        return outputs.store_result(function, found, out, kwargs.get("casting"))
    mark = len(running_trace().builder.eqns)
    own = TABLE.get(function)
    found = numpy_source.run(function, args, kwargs) if own is None else own(*args, **kwargs)
    if function not in _VIEWS:
        return _laid_out(function, found, args)
    arrays = [x for x in (*args, *kwargs.values()) if type(x) is Tracer and x.flavour == "array"]
    return _as_views(found, arrays, mark, function is np.ravel)


def _as_views(found: Any, arrays: Sequence[Tracer], mark: int, in_one_piece: bool) -> Any:
    """The results as views of the arrays that they were made from, where NumPy makes views."""
    if isinstance(found, (tuple, list)):
        return type(found)(_as_views(x, arrays, mark, in_one_piece) for x in found)
    is_array = type(found) is Tracer and found.flavour == "array"
    if in_one_piece and any(found is x for x in arrays) and is_one_piece(found.place) is False:
        return wrap(found.value)
    if not is_array or any(found is x for x in arrays):
        return found
    eqns = running_trace().builder.eqns[mark:]
    for x in arrays:
        view = view_of(x.place, x.value, found.value, eqns, in_one_piece=in_one_piece)
        if view is not None:
            if isinstance(view, Store) and isinstance(found.place, Store):  # a view, or a copy
                view.layout = found.place.layout
            return Tracer(view, "array")
    return found


def _laid_out(function: Any, found: Any, args: Sequence[Any]) -> Any:
    """New arrays lie as those that they are made of, where NumPy's function keeps that."""
    if type(found) is not Tracer or found.place.rank < 2 or function in _IN_OWN_ORDER:
        return found
    arrays = [x.place for x in args if type(x) is Tracer]
    arrays += [
        x.place for a in args if isinstance(a, (list, tuple)) for x in a if type(x) is Tracer
    ]
    place = found.place
    if not isinstance(place, Store) or any(place is p for p in arrays):
        return found
    like = layout_like(arrays)
    if like != "C":
        place.layout = like if function in _IN_ORDER_OF_ARGUMENTS else "any"
    return found


def astype(x: Any, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Tracer:
    """`np.astype`."""
    own = as_array(x)
    wanted = supported_dtype(np.dtype(dtype), "dtype=")
    if wanted == own.value.dtype and not copy:
        return own
    return wrap(ops.convert(own.value, wanted), own.flavour)


def _size(a: Any, axis: Any = None) -> Any:
    x = as_array(a)
    return number(count(x.value.dims)) if axis is None else x.shape[axis]


TABLE: dict[Any, Callable[..., Any]] = {
    **reductions.TABLE,
    **nans.TABLE,
    **shapes.TABLE,
    **joining.TABLE,
    **taking.TABLE,
    **sorting.TABLE,
    **statistics.TABLE,
    **bits.TABLE,
    **rearranging.TABLE,
    **signals.TABLE,
    **counting.TABLE,
    **sets.TABLE,
    **choosing.TABLE,
    **making.TABLE,
    **assigning.TABLE,
    **flats.TABLE,
    **repeating.TABLE,
    **norms.TABLE,
    **products.TABLE,
    **systems.TABLE,
    **complexes.TABLE,
    np.einsum: einsum,
    np.astype: astype,
    np.ndarray.item: item,
    np.ndarray.tolist: tolist,
    np.shape: lambda a: as_array(a).shape,
    np.ndim: lambda a: as_array(a).ndim,
    np.size: _size,
    np.shares_memory: shares_memory,
    np.may_share_memory: may_share_memory,
    np.result_type: result_type_of,
}

_IN_OWN_ORDER = {
    *(np.dot, np.matmul, np.tensordot, np.inner, np.outer, np.take, np.tile, np.repeat),
    *(np.copy, np.zeros_like, np.ones_like, np.full_like, np.empty_like),
}
"""Functions whose results are in C order whatever their arguments are, or in the one asked for."""

_IN_ORDER_OF_ARGUMENTS = {
    *(np.where, np.clip, np.round, np.sort, np.cumsum, np.cumprod),
    *(np.sum, np.prod, np.max, np.min, np.mean, np.any, np.all),
}
"""Functions whose results lie as their arguments do; of others that is not known here."""

_VIEWS = {
    *(np.reshape, np.ravel, np.transpose, np.moveaxis, np.swapaxes, np.rollaxis, np.expand_dims),
    *(np.squeeze, np.atleast_1d, np.atleast_2d, np.atleast_3d, np.broadcast_to, np.flip, np.fliplr),
    *(np.flipud, np.rot90, np.diagonal, np.diag, np.einsum),
    np.lib.stride_tricks.sliding_window_view,
    *(np.split, np.array_split, np.hsplit, np.vsplit, np.dsplit, np.unstack, np.permute_dims),
    *(np.matrix_transpose, np.linalg.matrix_transpose, np.linalg.diagonal, np.real, np.imag),
}
"""Functions whose results may be views of their arguments; what others return is new."""
