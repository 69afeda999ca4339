"""NumPy's functions on tracers: the table of all of them.

    call(np.where, (mask, x, y), {})     %0 = select %mask, %x, %y

A function that is not here is run from NumPy's own Python source where it has one: its leaves come
back to the table.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from jitnet import ops
from jitnet.frontend import (
    choosing,
    joining,
    making,
    nans,
    norms,
    numpy_source,
    products,
    reductions,
    shapes,
    taking,
)
from jitnet.frontend.dims import count, number
from jitnet.frontend.einsum import einsum
from jitnet.frontend.promotion import as_array, result_type_of
from jitnet.frontend.tracer import Tracer, as_new, supported_dtype, wrap


def call(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What `function(*args, **kwargs)` gives.

    Raises:
        UnsupportedFunctionError: for a function that jitnet does not have.
    """
    own = TABLE.get(function)
    if own is None:
        return numpy_source.run(function, args, kwargs)
    found = own(*args, **kwargs)
    is_new = type(found) is Tracer and function not in _VIEWS
    return as_new(found) if is_new and found.value in found.owner.shared else found


def astype(x: Any, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Tracer:
    """`np.astype`."""
    own = as_array(x)
    wanted = supported_dtype(np.dtype(dtype), "dtype=")
    converted = wrap(ops.convert(own.value, wanted), own.flavour)
    return as_new(converted) if copy else converted


def _size(a: Any, axis: Any = None) -> Any:
    x = as_array(a)
    return number(count(x.value.dims)) if axis is None else x.shape[axis]


TABLE: dict[Any, Callable[..., Any]] = {
    **reductions.TABLE,
    **nans.TABLE,
    **shapes.TABLE,
    **joining.TABLE,
    **taking.TABLE,
    **choosing.TABLE,
    **making.TABLE,
    **norms.TABLE,
    **products.TABLE,
    np.einsum: einsum,
    np.astype: astype,
    np.shape: lambda a: as_array(a).shape,
    np.ndim: lambda a: as_array(a).ndim,
    np.size: _size,
    np.result_type: result_type_of,
    np.real: lambda val: val,
}

_VIEWS = {
    *(np.reshape, np.ravel, np.transpose, np.moveaxis, np.swapaxes, np.rollaxis, np.expand_dims),
    *(np.squeeze, np.atleast_1d, np.atleast_2d, np.atleast_3d, np.broadcast_to, np.flip, np.fliplr),
    *(np.flipud, np.rot90, np.diagonal, np.diag, np.diff, np.einsum, np.real, np.astype),
    *(np.matrix_transpose, np.linalg.matrix_transpose, np.linalg.diagonal),
}
"""Functions whose result may share memory with their argument; what others return is new."""
