"""What the user's calls of Python's builtins, of math and of NumPy's constructors stand for.

    len(x)             %n, the extent, as a traced Python int
    float(x)           %0 = convert %x {dtype=f64}, a traced Python float
    np.zeros(3)        %0 = broadcast 0.0, 3 {axes=()}

`CALLS` maps a callable to its stand-in: for those that do not come to the tracer by themselves,
because their result must be of a class of Python's, or because no traced value is among their
arguments. Where nothing is traced, builtins and math's functions do what they always do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from jitnet import errors
from jitnet.frontend import (
    creating,
    flats,
    folding,
    functions,
    listing,
    making,
    ordering,
    pycmath,
    pymath,
    texts,
)
from jitnet.frontend.converting import (
    scalar_of,
    to_bool,
    to_complex,
    to_float,
    to_int,
    to_round,
)
from jitnet.frontend.creating import is_traced, known
from jitnet.frontend.dims import number
from jitnet.frontend.dispatch import apply, call, stand_in
from jitnet.frontend.numpy_source import is_dispatched
from jitnet.frontend.promotion import operand
from jitnet.frontend.tracer import Tracer, lift, supported_dtype

StandIn = Callable[..., Any]


def _length(x: Any, /) -> Any:
    if type(x) is not Tracer:
        return len(x)
    if x.flavour != "array":
        raise errors.DTypeError(f"object of type '{x.__class__.__name__}' has no len()")
    if x.ndim == 0:
        raise errors.DTypeError("len() of unsized object")
    return number(lift(x).value.dims[0])


def _power(base: Any, exp: Any, mod: Any = None) -> Any:
    if mod is None:
        return base**exp
    raise errors.UnsupportedFunctionError(
        "pow() of traced values with a modulus", remedy="multiply in a loop, with % in each step"
    )


def _next(items: Any, *default: Any) -> Any:
    if not is_traced(items):
        return next(items, *default)
    raise errors.UnsupportedFunctionError(
        "next() of traced values",
        why="an array is no iterator, and what a traced condition chooses is an array",
        remedy="a function with a loop, an if and a return in it",
    )


# -- how a stand-in is reached ---------------------------------------------------------------------


def _plain(x: Any) -> Any:
    """A Python number whose value is known as that number."""
    if type(x) is Tracer and x.flavour == "python":
        return operand(x)
    return x


def _on_traced(original: Any, own: StandIn) -> StandIn:
    """`own` where an argument is traced, and the original where none is."""

    def call_of(*args: Any, **kwargs: Any) -> Any:
        args = tuple(map(_plain, args))
        if not any(map(is_traced, (*args, *kwargs.values()))):
            return original(*args, **kwargs)
        return stand_in(original, own, args, kwargs)

    return call_of


def _always(original: Any, own: StandIn) -> StandIn:
    def call_of(*args: Any, **kwargs: Any) -> Any:
        return stand_in(original, own, tuple(map(_plain, args)), kwargs)

    return call_of


def _scalar_class(original: Any) -> StandIn:
    """np.float64 and the like: of a known list a new array, of a known number that number."""
    dtype = np.dtype(original)

    def call_of(*args: Any, **kwargs: Any) -> Any:
        args = tuple(map(_plain, args))
        if not any(map(is_traced, args)):
            return known(original(*args, **kwargs))
        return stand_in(original, scalar_of, (*args, supported_dtype(dtype)), kwargs)

    return call_of


def class_of_numbers(original: Any) -> StandIn | None:
    """What stands for a class of scalars that NumPy has from elsewhere, ml_dtypes.bfloat16."""
    is_class = isinstance(original, type) and issubclass(original, np.generic)
    return _scalar_class(original) if is_class and original not in _SCALARS else None


def of_numpy(original: Any) -> StandIn:
    """Any function or ufunc of NumPy's: of known arguments its results as new arrays, else by the
    tables. NumPy itself would not find what is traced inside of a list."""

    is_ufunc = isinstance(original, np.ufunc)
    if not is_ufunc and original not in functions.TABLE and not is_dispatched(original):
        own: StandIn = original
        return own

    def call_of(*args: Any, **kwargs: Any) -> Any:
        if not any(map(is_traced, (*args, *kwargs.values()))):
            return known(original(*args, **kwargs))
        if is_ufunc:
            return apply(original, "__call__", args, kwargs)
        return call(original, *args, **kwargs)

    return call_of


def _linspace(*args: Any, **kwargs: Any) -> Any:
    """Short known ones are constants, others are computed."""
    num = args[2] if len(args) > 2 else kwargs.get("num", 50)
    if is_traced([*args, *kwargs.values()]) or num > creating.CONSTANT:
        return making.linspace(*args, **kwargs)
    return known(np.linspace(*args, **kwargs))


# -- the tables ------------------------------------------------------------------------------------

_BUILTINS: dict[Any, StandIn] = {
    len: _length,
    abs: abs,
    divmod: divmod,
    pow: _power,
    float: to_float,
    int: to_int,
    bool: to_bool,
    complex: to_complex,
    round: to_round,
    next: _next,
}

_SCALARS = (
    *(np.bool_, np.int8, np.int16, np.int32, np.int64, np.longlong),
    *(np.uint8, np.uint16, np.uint32, np.uint64, np.ulonglong),
    *(np.float16, np.float32, np.float64, np.longdouble, np.complex64, np.complex128),
)

_KNOWN_TOO = (
    *(np.logspace, np.geomspace, np.frombuffer, np.tril_indices, np.triu_indices),
    *(np.diag_indices, np.bartlett, np.blackman, np.hamming, np.hanning, np.kaiser, np.ix_),
)

CALLS: dict[Any, StandIn] = {
    **{f: of_numpy(f) for f in (*functions.TABLE, *_KNOWN_TOO)},
    **{f: _on_traced(f, own) for f, own in _BUILTINS.items()},
    **texts.MAKERS,
    **folding.TABLE,
    sorted: _always(sorted, ordering.ordered),
    **{f: _on_traced(f, own) for f, own in flats.LOOPS.items()},
    np.ndindex: _always(np.ndindex, flats.ndindex),
    **{f: _on_traced(f, own) for f, own in {**pymath.TABLE, **pycmath.TABLE}.items()},
    **{f: _always(f, own) for f, own in creating.TABLE.items()},
    **{f: _always(f, own) for f, own in listing.TABLE.items()},
    np.linspace: _always(np.linspace, _linspace),
    **{f: _scalar_class(f) for f in _SCALARS},
}
"""What stands for a callable in the user's source while it is traced."""
