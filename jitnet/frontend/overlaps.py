"""`np.shares_memory` and `np.may_share_memory` of traced arrays: known while tracing, or refused.

np.shares_memory(x, x.copy())        False
np.shares_memory(x[:2], x[2:])       False: no element of x is in both
np.shares_memory(x, y)               refused: only the caller knows whether they are one array
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from jitnet import errors
from jitnet.frontend.arrays import View, dummies, followed, stores_behind
from jitnet.frontend.context import running_trace
from jitnet.frontend.dims import static_shape
from jitnet.frontend.promotion import as_array
from jitnet.frontend.stores import Store
from jitnet.frontend.tracer import Tracer
from jitnet.ir import Literal
from jitnet.ops.slicing import SLICE


def _is_outside(store: Store) -> bool:
    """Whether the memory is the caller's."""
    return any(store is known for known in running_trace().function.stores)


def _store(x: Tracer) -> Store:
    stores = stores_behind(x.place)
    if len(stores) == 1:
        return stores[0]
    raise errors.UnsupportedFunctionError(
        "asking for the memory of an array that is one or another, as the program decides"
    )


def _overlap(original: Callable[..., bool]) -> Callable[..., bool]:
    def overlap(a: Any, b: Any, /, max_work: Any = None) -> bool:
        x, y = as_array(a), as_array(b)
        if 0 in static_shape(x, original.__name__) or 0 in static_shape(y, original.__name__):
            return False
        (first, *doubts), (second, *more) = stores_behind(x.place), stores_behind(y.place)
        if doubts or more:
            raise _unknown(original)
        if first is not second:
            in_doubt = _is_outside(first) and _is_outside(second)
            if in_doubt or first.may_overlap(second):
                raise _unknown(original)
            return False
        found: set[bool | None] = set()
        for whole in dummies(first):
            parts = [_located(whole, v) for v in (x, y)]
            found.add(None if any(p is None for p in parts) else original(*parts))
        if len(found) > 1 or None in found:
            raise _unknown(original)
        return bool(found.pop())

    return overlap


def _located(whole: np.ndarray[Any, Any], x: Tracer) -> np.ndarray[Any, Any] | None:
    """Where x lies in the whole; None where the program decides."""
    place = x.place
    for step in place.steps if isinstance(place, View) else ():
        if step.eqn.op is not SLICE:
            following = followed(whole, step)
            if following is None:
                return None
            whole = following
            continue
        starts = step.eqn.operands[1 : 1 + whole.ndim]
        if not all(isinstance(v, Literal) for v in starts):
            return None
        numbers = [int(v.item) for v in starts if isinstance(v, Literal)]
        sizes, steps = step.eqn.result.shape, step.eqn.attrs["steps"]
        ends = [a + n * k for a, n, k in zip(numbers, sizes, steps)]
        bounds = zip(numbers, ends, steps, strict=True)
        whole = whole[(..., *(slice(a, None if e < 0 else e, k) for a, e, k in bounds))]
    return whole


def _unknown(original: Callable[..., bool]) -> errors.JitnetError:
    return errors.UnsupportedFunctionError(
        f"np.{original.__name__} of arrays of which only the caller knows whether they overlap",
        why="a compiled program is the same for arguments that share memory and those that do not",
        remedy="ask outside of the compiled function",
    )


shares_memory = _overlap(np.shares_memory)
may_share_memory = _overlap(np.may_share_memory)
