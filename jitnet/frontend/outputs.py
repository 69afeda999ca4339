"""`out=`: results written to arrays that the caller has.

    np.sum(x, 0, out=y)      %0 = reduce_sum %x {axes=(0,)}, then y's memory holds %0

Each function has rules of its own about what may be written where: which casts it makes, and
whether the result is broadcast.
"""

from __future__ import annotations

import functools
import inspect
from typing import Any, NamedTuple

import numpy as np

from jitnet import errors, ops
from jitnet.frontend.arrays import require_writeable
from jitnet.frontend.assigning import as_target, fitted, replace
from jitnet.frontend.dims import Dims, show
from jitnet.frontend.promotion import as_array
from jitnet.frontend.tracer import Tracer


class Rule(NamedTuple):
    """How a function stores its result.

    Attributes:
        casting: the rule of the cast to the array's dtype.
        exact: the shapes have to be the same.
    """

    casting: str = "same_kind"
    exact: bool = True


_ANY = Rule("unsafe")

_RULES: dict[Any, Rule] = {
    **dict.fromkeys((np.sum, np.prod, np.max, np.min, np.any, np.all, np.mean), _ANY),
    **dict.fromkeys((np.cumsum, np.cumprod, np.trace, np.compress, np.choose, np.take), _ANY),
    **dict.fromkeys((np.argmax, np.argmin, np.median, np.outer), _ANY),
    np.clip: Rule(exact=False),
    np.matmul: Rule(exact=False),
    np.dot: Rule("no"),
    np.einsum: Rule("safe"),
}

_SUMS = (np.sum, np.prod, np.cumsum, np.cumprod)


@functools.cache
def position(function: Any) -> int | None:
    """Where among the arguments `out` is, if it may be told by its place."""
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return _WRITTEN_IN_C.get(function)
    names = list(parameters)
    if "out" not in names or parameters["out"].kind is inspect.Parameter.KEYWORD_ONLY:
        return None
    return names.index("out")


_WRITTEN_IN_C = {np.dot: 2, np.concatenate: 2}


def taken_out(
    function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
    """What `out` is, and the other arguments."""
    if "out" in kwargs:
        rest = dict(kwargs)
        return rest.pop("out"), args, rest
    at = position(function) if len(args) > 1 else None
    if at is None or len(args) <= at:
        return None, args, kwargs
    if len(args) == at + 1:
        return args[at], args[:at], kwargs
    return args[at], (*args[:at], None, *args[at + 1 :]), kwargs


def dtype_for(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> Any:
    """Keywords of a function, with the dtype that an array for the result asks for."""
    if function not in _SUMS or len(args) > 2 or kwargs.get("dtype") is not None:
        return kwargs
    x = args[0] if args else kwargs["a"]
    return {**kwargs, "dtype": dtype_of_sum(x, out)}


def dtype_of_sum(x: Any, out: Any) -> Any:
    """The dtype that a sum is made in, to be written to `out`; None for the sum's own."""
    kind = as_target(out).dtype
    wide = np.promote_types(as_array(x).dtype, kind)
    return wide if kind.kind in "fc" else None


def store_result(function: Any, found: Any, out: Any, casting: str | None) -> Any:
    """What a function of NumPy's does with its result and `out=`.

    Raises:
        DTypeError, ShapeError, ValueRefusedError: as NumPy's TypeError and ValueError.
    """
    rule = _RULES.get(function, Rule())
    own = out[0] if isinstance(out, tuple) and len(out) == 1 else out
    if function is np.dot:
        _require_same(as_array(found), as_target(own))
    if function in (np.argmax, np.argmin) and not np.can_cast(as_target(own).dtype, np.int64):
        raise errors.DTypeError(
            f"Cannot cast array data from {as_target(own).dtype!r} to dtype('int64') according to "
            "the rule 'safe'"
        )
    return store(found, own, function.__name__, casting or rule.casting, rule.exact)


def _require_same(found: Tracer, target: Tracer) -> None:
    if found.dtype != target.dtype or found.ndim != target.ndim:
        raise errors.ValueRefusedError(
            "output array is not acceptable (must have the right datatype, number of dimensions, "
            "and be a C-Array)"
        )


def store(result: Any, out: Any, name: str, casting: str = "same_kind", exact: bool = False) -> Any:
    """Write results to arrays, and return these.

    Args:
        exact: the array must have the result's shape; else the result is broadcast to it.

    Raises:
        DTypeError: where the result cannot be cast to out's dtype by the rule `casting`.
        ShapeError: where it does not fit.
    """
    if isinstance(out, tuple):
        results = result if isinstance(result, tuple) else (result,)
        stored = [
            r if o is None else store(r, o, name, casting, exact)
            for r, o in zip(results, out, strict=True)
        ]
        return tuple(stored) if isinstance(result, tuple) else stored[0]
    if not isinstance(out, (Tracer, np.ndarray)):
        raise errors.DTypeError("return arrays must be of ArrayType")
    target, found = as_target(out), as_array(result)
    require_writeable(target.place, "output array is read-only")
    if not np.can_cast(found.dtype, target.dtype, casting=casting):  # type: ignore[arg-type]
        raise errors.DTypeError(
            f"Cannot cast ufunc '{name}' output from {found.dtype!r} to {target.dtype!r} "
            f"with casting rule {casting!r}",
            remedy="x = x + y makes an array of the wider dtype",
        )
    value, dims = found.value, target.value.dims
    if not _fits(value.dims, dims, exact):
        raise errors.ShapeError(
            f"non-broadcastable output operand with shape {show(dims)} doesn't match the "
            f"broadcast shape {show(value.dims)}"
        )
    replace(target, fitted(ops.convert(value, target.value.dtype), dims))
    return out


def _fits(dims: Dims, to: Dims, exact: bool) -> bool:
    if len(dims) != len(to) if exact else len(dims) > len(to):
        return False
    pairs = zip(reversed(dims), reversed(to))
    known = ((a, b) for a, b in pairs if isinstance(a, int) and isinstance(b, int))
    return all(a == b or (a == 1 and not exact) for a, b in known)
