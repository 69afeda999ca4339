"""Sorting and searching: `sort`, `argsort`, `searchsorted`.

    %y = sort %x {axis=0, kind="quick"}             f64[3, 4]
    %order = argsort %x {axis=0, kind="stable"}     i64[3, 4]: x[order[k, j], j] is sorted in k
    %k = searchsorted %bins, %x {side="left"}       i64[5]: bins[:k[i]] < x[i] <= bins[k[i]:]

NaN is greater than every number. The order of equal elements is NumPy's for that kind, since it is
NumPy's own routines that sort the rows; a row that is not contiguous is copied first. A search
halves its range as often as the extent demands, without a branch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jitnet.ir import (
    Attrs,
    Dim,
    Eqn,
    Function,
    Type,
    TypeRuleError,
    Value,
    as_dim,
    as_value,
    current,
    index,
)
from jitnet.ir import types as T
from jitnet.ir.facts import FactRule, Range
from jitnet.kernel import indices as ix
from jitnet.kernel import scalars as s
from jitnet.kernel.externs import SORTS
from jitnet.kernel.statements import (
    alloc,
    branch,
    call_extern,
    free,
    load,
    store,
    view,
    while_loop,
)
from jitnet.ops.create import iota
from jitnet.ops.index import gather
from jitnet.ops.lanes import Batched, batch_along
from jitnet.ops.loops import copy, nest
from jitnet.ops.pointwise import convert
from jitnet.ops.primitive import (
    BatchTransform,
    Context,
    JvpTransform,
    Kernel,
    Primitive,
    Sample,
    Tangents,
    nondifferentiable,
    not_linear,
)
from jitnet.ops.samples import generator, smooth, special

# -- sort and argsort ------------------------------------------------------------------------------


def _infer_sort(
    operands: Sequence[Value], attrs: Attrs, regions: Sequence[Function]
) -> tuple[Type, ...]:
    (x,) = operands
    if not 0 <= attrs["axis"] < x.rank:
        raise TypeRuleError(f"sort: axis {attrs['axis']} of {x.type} is out of range")
    if attrs["kind"] not in SORTS:
        raise TypeRuleError(f"sort: kind one of {tuple(SORTS)}, not {attrs['kind']!r}")
    return (x.array_type,)


def _infer_argsort(
    operands: Sequence[Value], attrs: Attrs, regions: Sequence[Function]
) -> tuple[Type, ...]:
    _infer_sort(operands, attrs, regions)
    return (operands[0].array_type.with_dtype(T.i64),)


def _numpy_sort(eqn: Eqn, x: Any) -> tuple[Any, ...]:
    return (np.sort(x, eqn.attrs["axis"], SORTS[eqn.attrs["kind"]]),)


def _numpy_argsort(eqn: Eqn, x: Any) -> tuple[Any, ...]:
    return (np.argsort(x, eqn.attrs["axis"], SORTS[eqn.attrs["kind"]]),)


@dataclass(frozen=True)
class _Rows:
    """The rows of a buffer along an axis as contiguous memory, one at a time: in their place, or in
    one row of scratch memory."""

    buffer: Value
    strides: Sequence[Value]
    axis: int
    extent: Value
    scratch: Value | None

    def here(self, at: Sequence[Value]) -> Value:
        """The row at these indices along the other axes, where it lies."""
        others = (*self.strides[: self.axis], *self.strides[self.axis + 1 :])
        offset = ix.ZERO
        for i, stride in zip(at, others):
            offset = ix.add(offset, ix.multiply(i, stride))
        return view(self.buffer, offset, (as_dim(self.extent),), (as_dim(self.strides[self.axis]),))

    def room(self, at: Sequence[Value]) -> Value:
        """Contiguous memory for the row."""
        return self.here(at) if self.scratch is None else self.scratch

    def fetched(self, at: Sequence[Value]) -> Value:
        """Contiguous memory with the row's content."""
        if self.scratch is None:
            return self.here(at)
        copy(self.here(at), self.scratch, (self.extent,))
        return self.scratch

    def put_back(self, at: Sequence[Value]) -> None:
        if self.scratch is not None:
            copy(self.scratch, self.here(at), (self.extent,))

    def free(self) -> None:
        if self.scratch is not None and ix.constant(self.extent) is None:
            free(self.scratch)


def _rows(buffer: Value, extents: Sequence[Value], axis: int) -> _Rows:
    strides = _strides(buffer, extents)
    contiguous = ix.constant(strides[axis]) == 1
    scratch = None if contiguous else alloc(buffer.dtype, (as_dim(extents[axis]),), "row")
    return _Rows(buffer, strides, axis, extents[axis], scratch)


def _strides(buffer: Value, extents: Sequence[Value]) -> list[Value]:
    given = buffer.buffer_type.strides
    if given is not None:
        return [as_value(d) for d in given]
    steps = [ix.ONE]
    for extent in reversed(extents[1:]):
        steps.insert(0, ix.multiply(steps[0], extent))
    return steps


def _routine(eqn: Eqn) -> str:
    return f"{eqn.op.name}_{eqn.attrs['kind']}_{eqn.operands[0].dtype.name}"


def _emit_sort(
    context: Context, eqn: Eqn, inputs: Sequence[Value], outputs: Sequence[Value]
) -> Sequence[Value]:
    """The output holds the operand already: its rows are sorted in place."""
    axis, extents = eqn.attrs["axis"], [context.dim(d) for d in eqn.operands[0].dims]
    rows = _rows(outputs[0], extents, axis)

    def visit(at: Sequence[Value]) -> None:
        call_extern(_routine(eqn), (rows.fetched(at), rows.extent))
        rows.put_back(at)

    nest((*extents[:axis], *extents[axis + 1 :]), visit, innermost="seq")
    rows.free()
    return ()


def _emit_argsort(
    context: Context, eqn: Eqn, inputs: Sequence[Value], outputs: Sequence[Value]
) -> Sequence[Value]:
    axis, extents = eqn.attrs["axis"], [context.dim(d) for d in eqn.operands[0].dims]
    x, order = _rows(inputs[0], extents, axis), _rows(outputs[0], extents, axis)

    def visit(at: Sequence[Value]) -> None:
        row, positions = x.fetched(at), order.room(at)
        nest((order.extent,), lambda k: store(positions, *k, *k))
        call_extern(_routine(eqn), (row, positions, order.extent))
        order.put_back(at)

    nest((*extents[:axis], *extents[axis + 1 :]), visit, innermost="seq")
    x.free()
    order.free()
    return ()


def _jvp_sort(
    eqn: Eqn, primals: Sequence[Value], tangents: Tangents, jvp: JvpTransform
) -> tuple[Sequence[Value], Tangents]:
    """The tangent goes the way of the elements, which `argsort` tells."""
    (x,), (t,) = primals, tangents
    if t is None:
        return current().rebind(eqn, primals), (None,)
    axes = range(x.rank)
    order = argsort(x, eqn.attrs["axis"], eqn.attrs["kind"])
    at = [order if a == eqn.attrs["axis"] else iota(x.dims, a) for a in axes]
    return (gather(x, at, axes),), (gather(t, at, axes),)


def _sort_samples() -> Iterator[Sample]:
    rng = generator("sort")
    for kind in SORTS:
        for dtype in (*T.DTYPES.values(), T.f16):
            yield Sample((smooth(rng, dtype, (7,)),), {"axis": 0, "kind": kind}, dtype.is_float)
            yield Sample((special(dtype),), {"axis": 0, "kind": kind}, False)
        for shape, axis in (((2, 5), 1), ((4, 3), 0), ((2, 3, 2), 1), ((0,), 0), ((3, 0), 0)):
            yield Sample((smooth(rng, T.f64, shape),), {"axis": axis, "kind": kind})
    yield Sample((np.repeat([2.0, 1.0, np.nan], 9),), {"axis": 0, "kind": "stable"}, False)


SORT = Primitive(
    "sort",
    infer=_infer_sort,
    numpy=_numpy_sort,
    jvp=_jvp_sort,
    transpose=not_linear,
    batch=batch_along("axis"),
    lower=[Kernel(_emit_sort)],
    samples=_sort_samples,
    writes=0,
)

ARGSORT = Primitive(
    "argsort",
    infer=_infer_argsort,
    numpy=_numpy_argsort,
    jvp=nondifferentiable,
    transpose=not_linear,
    batch=batch_along("axis"),
    lower=[Kernel(_emit_argsort)],
    samples=_sort_samples,
)


def sort(x: Value, axis: int, kind: str = "quick") -> Value:
    """x with the elements along `axis` in ascending order, NaN last.

    Args:
        kind: "quick", or "stable": then equal elements stay in their order.
    """
    (result,) = current().bind(SORT, (x,), {"axis": axis, "kind": kind})
    return result


def argsort(x: Value, axis: int, kind: str = "quick") -> Value:
    """The positions, i64, of the elements along `axis` in ascending order, NaN last: of x's dims.
    `kind` is as for `sort`."""
    (result,) = current().bind(ARGSORT, (x,), {"axis": axis, "kind": kind})
    return result


# -- searchsorted ----------------------------------------------------------------------------------


def _infer_search(
    operands: Sequence[Value], attrs: Attrs, regions: Sequence[Function]
) -> tuple[Type, ...]:
    row, values = operands
    if row.rank != 1 or row.dtype != values.dtype:
        raise TypeRuleError(f"searchsorted: a vector of {values.dtype}, not {row.type}")
    if attrs["side"] not in ("left", "right"):
        raise TypeRuleError(f'searchsorted: side "left" or "right", not {attrs["side"]!r}')
    return (values.array_type.with_dtype(T.i64),)


def _numpy_search(eqn: Eqn, row: Any, values: Any) -> tuple[Any, ...]:
    return (np.searchsorted(row, values, eqn.attrs["side"]),)


def _emit_search(
    context: Context, eqn: Eqn, inputs: Sequence[Value], outputs: Sequence[Value]
) -> Sequence[Value]:
    """For an extent that is known, the steps of the search are written out, and the values are
    lanes of a vector. The place of NaN is found in front."""
    (row, values), n = inputs, context.dim(eqn.operands[0].dims[0])
    known, from_left = ix.constant(n) is not None, eqn.attrs["side"] == "left"
    narrowed = _search_known if known else _search
    comes_before = s.lt if from_left else s.le

    def is_number(at: Value) -> Value:
        element = load(row, at)
        return s.eq(element, element)

    place_of_nan = narrowed(n, is_number) if row.dtype.is_float and from_left else n

    def search(value: Value) -> Value:
        found = narrowed(n, lambda at: comes_before(load(row, at), value))
        return s.select(s.ne(value, value), place_of_nan, found) if row.dtype.is_float else found

    if not outputs:
        return (search(values),)
    nest(
        [context.dim(d) for d in eqn.operands[1].dims],
        lambda at: store(outputs[0], search(load(values, *at)), *at),
        innermost="vector" if known else "seq",
    )
    return ()


Passes = Callable[[Value], Value]
"""Whether the element at a position lies before the place that is sought."""


def _search_known(n: Value, passes: Passes) -> Value:
    base, length = ix.ZERO, int(ix.constant(n) or 0)
    while length > 1:
        half = length // 2
        following = ix.add(base, index(half))
        base = s.select(passes(ix.add(base, index(half - 1))), following, base)
        length -= half
    return ix.add(base, s.cast(passes(base), T.i64)) if length else base


def _search(n: Value, passes: Passes) -> Value:
    def step(base: Value, length: Value) -> Sequence[Value]:
        half = s.quotient(length, index(2))
        following = s.add(base, half)
        passed = passes(s.sub(following, ix.ONE))
        return s.select(passed, following, base), s.sub(length, half)

    def last(base: Value) -> Sequence[Value]:
        return (s.add(base, s.cast(passes(base), T.i64)),)

    base, length = while_loop(lambda base, length: s.gt(length, ix.ONE), step, (ix.ZERO, n))
    (found,) = branch(s.gt(length, ix.ZERO), lambda: last(base), lambda: (base,))
    return found


def _batch_search(
    eqn: Eqn,
    operands: Sequence[Value],
    batched: Sequence[bool],
    extent: Dim,
    batch: BatchTransform,
) -> Batched | None:
    """Many values are looked up in one row at once; many rows are searched one after the other."""
    return None if batched[0] else (current().rebind(eqn, operands), [True])


def _search_range(eqn: Eqn, row: Range | None, values: Range | None) -> Range:
    (extent,) = eqn.operands[0].dims
    return Range(0, extent if isinstance(extent, int) else 2**63 - 1)


def _search_samples() -> Iterator[Sample]:
    rng = generator("searchsorted")
    for side in ("left", "right"):
        attrs = {"side": side}
        for dtype in T.DTYPES.values():
            row = np.sort(special(dtype))
            yield Sample((row, special(dtype)), attrs, False)
            yield Sample((row[:0], special(dtype)[:2]), attrs, False)
        for n in (1, 2, 6, 7):
            row = np.sort(smooth(rng, T.f64, (n,)))
            yield Sample((row, smooth(rng, T.f64, (2, 3))), attrs)
        yield Sample((np.array([1, 3, 3, 5]), np.int64(3)), attrs, False)


SEARCHSORTED = Primitive(
    "searchsorted",
    infer=_infer_search,
    numpy=_numpy_search,
    jvp=nondifferentiable,
    transpose=not_linear,
    batch=_batch_search,
    lower=[Kernel(_emit_search)],
    samples=_search_samples,
    facts=FactRule(range=_search_range),
)


def searchsorted(row: Value, values: Value, side: str = "left") -> Value:
    """How many elements of a sorted vector come before each value, i64, of the dims of `values`.

    Args:
        row: in ascending order, NaN last; of the dtype of `values`.
        side: "left": elements less than the value; "right": less or equal.
    """
    if row.dtype.is_half:
        row, values = convert(row, T.f32), convert(values, T.f32)
    (result,) = current().bind(SEARCHSORTED, (row, values), {"side": side})
    return result
