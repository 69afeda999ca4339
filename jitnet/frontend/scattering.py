"""`ufunc.at`: each element once for each time that it is indexed, in order.

np.add.at(x, i, y)          %x1 = scatter %x, %y, %i {axes=(0,), mode="add"}
np.maximum.at(x, i, y)      a loop over the indices that carries x
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from jitnet import errors, ops
from jitnet.frontend import elementwise
from jitnet.frontend.assigning import Put, as_target, is_masked, scatter, setitem
from jitnet.frontend.dims import count
from jitnet.frontend.indexing import getitem, is_flag, parsed, planned
from jitnet.frontend.promotion import as_array, loop_dtypes
from jitnet.frontend.tracer import wrap
from jitnet.ir import Dim, DType, Literal, Value, as_dim, as_value


def at(ufunc: np.ufunc, a: Any, indices: Any, *rest: Any) -> None:
    """`ufunc.at(a, indices)`, or `ufunc.at(a, indices, b)`.

    Raises:
        ValueRefusedError: for ufuncs of several results, or of another number of operands.
        DTypeError: where the ufunc has no loop for the operands.
    """
    target = as_target(a)
    if ufunc.nout != 1:
        raise errors.ValueRefusedError("Only single output ufuncs supported at this time")
    if len(rest) != ufunc.nin - 1:
        needed = "second operand needed for ufunc" if not rest else "too many operands for ufunc"
        raise errors.ValueRefusedError(needed)
    others = [wrap(as_array(b).value) for b in rest]
    dtypes = loop_dtypes(ufunc, [target, *others], casting="unsafe")
    base, entries, _ = parsed(target, indices)
    plan = None
    if not (is_masked(entries) or any(is_flag(k) for k in entries)):
        plan = planned(base, entries)
    if plan is None or not plan.arrays:
        found = elementwise.call(ufunc, getitem(target, indices), *others)
        setitem(target, indices, found)
        return
    new = others[0].value if others else Literal(0, base.dtype)
    put = _in_order(ufunc, dtypes, bool(others))
    if set(dtypes) == {base.dtype} and ufunc in (np.add, np.subtract):
        put = _added
        new = new if ufunc is np.add else ops.neg(ops.convert(new, base.dtype))
        new = ops.convert(new, base.dtype)
    scatter(target, base, plan, new, put)


def _added(base: Value, new: Value, indices: Sequence[Value], axes: Sequence[int]) -> Value:
    return ops.scatter(base, new, indices, axes, "add")


def _in_order(ufunc: np.ufunc, dtypes: Sequence[DType], is_binary: bool) -> Put:
    """One place after the other, in a loop that carries the array."""

    def computed(old: Value, new: Value) -> Value:
        values = [old, new] if is_binary else [old]
        found = elementwise.KERNELS[ufunc](*map(_as_loop, values, dtypes))
        return ops.convert(found, old.dtype)

    def put(base: Value, new: Value, indices: Sequence[Value], axes: Sequence[int]) -> Value:
        shape = indices[0].dims
        m = count(shape)
        places = [ops.reshape(i, (m,)) for i in indices]
        values = ops.reshape(new, (m, *new.dims[len(shape) :]))

        def body(i: Value, consts: Any, carries: Sequence[Value], xs: Sequence[Value]) -> Any:
            (x,), (*at, value) = carries, xs
            starts: list[Dim] = [0] * x.rank
            sizes = list(x.dims)
            for axis, place in zip(axes, at):
                starts[axis], sizes[axis] = as_dim(place), 1
            ones = (1,) * x.rank
            old = ops.reshape(ops.slice(x, starts, sizes, ones), value.dims)
            return ops.update(x, ops.reshape(computed(old, value), sizes), starts, ones)

        extents = [d for d in (*base.dims, *values.dims[1:]) if isinstance(d, Value)]
        (found,) = ops.for_(
            as_value(m), body, tuple(dict.fromkeys(extents)), (base,), (*places, values)
        )
        return found

    return put


def _as_loop(x: Value, dtype: DType) -> Value:
    return elementwise.truth(x) if dtype.is_bool else ops.convert(x, dtype)
