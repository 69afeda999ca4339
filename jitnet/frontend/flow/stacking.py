"""Lists on tapes as arrays: what `np.array`, `np.stack` and results make of them.

np.array(log)      %k = tape_length %u, then for %k { tape_get %u, %i }, stacked
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from jitnet import errors, ops
from jitnet.frontend.dims import count
from jitnet.frontend.flow.growing import unlike
from jitnet.frontend.grown import Grown, grown
from jitnet.frontend.tracer import Tracer, supported_dtype, wrap
from jitnet.ir import Value


def stacked(own: Grown) -> list[Value]:
    """The items' parts, each as one array with an axis for the items in front."""
    tape = own.tape()
    n = ops.tape_length(tape)

    def body(i: Value, consts: Any, carries: Any, xs: Any) -> Any:
        return (), ops.tape_get(consts[0], i)

    return list(ops.for_(n, body, [tape]))


def owns(args: Sequence[Any]) -> list[tuple[Any, Grown | None]]:
    """Arguments, with what stands for their items where they have grown."""
    return [(x, grown(x)) for x in args]


def joined(own: Grown, flat: bool) -> Tracer:
    """`np.stack` of the list, or `np.concatenate`: the items one after the other."""
    x = as_one_array(own)
    value = x.value
    if not flat:
        return x
    if value.rank < 2:
        raise errors.ValueRefusedError("zero-dimensional arrays cannot be concatenated")
    return wrap(ops.reshape(value, (count(value.dims[:2]), *value.dims[2:])))


def as_one_array(own: Grown) -> Tracer:
    """`np.array` of the list."""
    parts = stacked(own)
    if len(parts) == 1:
        return wrap(parts[0])
    if any(v.rank != 1 for v in parts):
        raise unlike()
    n = parts[0].dims[0]
    dtype = supported_dtype(np.result_type(*(v.dtype.numpy for v in parts)))
    columns = [ops.reshape(ops.convert(v, dtype), (n, 1)) for v in parts]
    return wrap(ops.concatenate(columns, 1))
