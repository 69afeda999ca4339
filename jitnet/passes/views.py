"""Simplifications of ops that move elements: views of views, updates, reductions, products.

    transpose (transpose %x {perm=(1, 0)}) {perm=(1, 0)}     ->  %x
    add %x, (broadcast 2.0, 3, 4)                            ->  add %x, 2.0
    slice (update %a, %v, %i), %i                            ->  %v
    dot (transpose %x), %y {contract=((1,), (0,))}           ->  dot %x, %y {contract=((0,), (0,))}

A `broadcast` of a scalar is "uniform": whatever only moves its elements is uniform too.
"""

from __future__ import annotations

from collections.abc import Sequence

from jitnet.ir import (
    Definition,
    Dim,
    Eqn,
    Literal,
    Rule,
    Value,
    as_dim,
    as_value,
    current,
    rule,
)
from jitnet.ops.complex_products import COMPLEX_DOT
from jitnet.ops.complexes import INTERLEAVE
from jitnet.ops.join import CONCATENATE, PAD
from jitnet.ops.lift import add, mul
from jitnet.ops.linalg import DOT, dot
from jitnet.ops.pointwise import CONVERT, convert
from jitnet.ops.primitive import Primitive
from jitnet.ops.reduce import (
    REDUCE_ALL,
    REDUCE_ANY,
    REDUCE_MAX,
    REDUCE_MIN,
    REDUCE_PROD,
    REDUCE_SUM,
)
from jitnet.ops.shape import (
    BROADCAST,
    RESHAPE,
    TRANSPOSE,
    broadcast,
    full,
    reshape,
    transpose,
)
from jitnet.ops.slicing import SLICE, UPDATE, slice


def uniform_scalar(v: Value, definition: Definition) -> Value | None:
    """The scalar that every element of v is, where v is seen to be such."""
    if v.rank == 0:
        return v if isinstance(v, Literal) else None
    eqn = definition(v)
    if eqn is not None and eqn.op is BROADCAST and eqn.operands[0].rank == 0:
        return eqn.operands[0]
    return None


# -- uniform arrays --------------------------------------------------------------------------------


@rule()
def of_uniform(eqn: Eqn, definition: Definition) -> Value | None:
    """A pointwise op of uniform arrays is one on scalars; beside others they become literals."""
    op = eqn.op
    if not (isinstance(op, Primitive) and op.is_pointwise) or eqn.result.rank == 0:
        return None
    scalars = [uniform_scalar(v, definition) for v in eqn.operands]
    if all(s is not None for s in scalars):
        (result,) = current().rebind(eqn, [s for s in scalars if s is not None])
        return full(result, eqn.result.dims)
    operands = [s if isinstance(s, Literal) else v for s, v in zip(scalars, eqn.operands)]
    changed = any(a is not b for a, b in zip(operands, eqn.operands))
    return current().rebind(eqn, operands)[0] if changed else None


@rule(RESHAPE, TRANSPOSE, SLICE, BROADCAST)
def moved_uniform(eqn: Eqn, definition: Definition) -> Value | None:
    if eqn.operands[0].rank == 0:
        return None
    scalar = uniform_scalar(eqn.operands[0], definition)
    return None if scalar is None else full(scalar, eqn.result.dims)


# -- axes of extent 1 ------------------------------------------------------------------------------


@rule()
def computed_without_units(eqn: Eqn, definition: Definition) -> Value | None:
    """What is computed of arrays that were given axes of extent 1, and of boxes, is computed
    without these axes, and given them then: as what it is made of was, so that both can be one
    kernel. Of single elements it is a number."""
    op = eqn.op
    if not (isinstance(op, Primitive) and op.is_pointwise) or 1 not in eqn.result.dims:
        return None
    dims = eqn.result.dims
    small = tuple(d for d in dims if d != 1)
    if small and not any(_before_units(v, small, definition) for v in eqn.operands):
        return None
    operands = [_without_units(v, small, definition) for v in eqn.operands]
    if any(v is None for v in operands):
        return None
    (result,) = current().rebind(eqn, [v for v in operands if v is not None])
    return reshape(result, dims)


def _before_units(v: Value, dims: tuple[Dim, ...], definition: Definition) -> Value | None:
    """The array over these dims that v is a reshape of."""
    inner = definition(v)
    if inner is None or inner.op is not RESHAPE or inner.operands[0].dims != dims:
        return None
    return inner.operands[0]


def _without_units(v: Value, dims: tuple[Dim, ...], definition: Definition) -> Value | None:
    """v over these dims, where that costs nothing."""
    if isinstance(v, Literal):
        return v
    if (x := _before_units(v, dims, definition)) is not None:
        return x
    if (scalar := uniform_scalar(v, definition)) is not None:
        return full(scalar, dims)
    inner = definition(v)
    return reshape(v, dims) if inner is not None and inner.op is SLICE else None


# -- views of views --------------------------------------------------------------------------------


@rule(BROADCAST, RESHAPE, TRANSPOSE)
def view_of_itself(eqn: Eqn, definition: Definition) -> Value | None:
    x = eqn.operands[0]
    in_order = eqn.op is not TRANSPOSE or tuple(eqn.attrs["perm"]) == tuple(range(x.rank))
    return x if in_order and x.type == eqn.result.type else None


@rule(BROADCAST)
def broadcast_of_broadcast(eqn: Eqn, definition: Definition) -> Value | None:
    inner, axes = definition(eqn.operands[0]), eqn.attrs["axes"]
    if inner is None or inner.op is not BROADCAST:
        return None
    composed = [axes[a] for a in inner.attrs["axes"]]
    return broadcast(inner.operands[0], eqn.result.dims, composed)


@rule(BROADCAST)
def broadcast_of_units(eqn: Eqn, definition: Definition) -> Value | None:
    """Unit axes that a reshape put in are axes that the broadcast puts in."""
    inner, axes = definition(eqn.operands[0]), eqn.attrs["axes"]
    if inner is None or inner.op is not RESHAPE:
        return None
    source = inner.operands[0]
    kept = [i for i, d in enumerate(inner.result.dims) if d != 1]
    if source.dims != tuple(inner.result.dims[i] for i in kept):
        return None
    return broadcast(source, eqn.result.dims, [axes[i] for i in kept])


@rule(RESHAPE)
def reshape_of_reshape(eqn: Eqn, definition: Definition) -> Value | None:
    inner = definition(eqn.operands[0])
    if inner is None or inner.op is not RESHAPE:
        return None
    return reshape(inner.operands[0], eqn.result.dims)


@rule(TRANSPOSE)
def transpose_of_transpose(eqn: Eqn, definition: Definition) -> Value | None:
    inner = definition(eqn.operands[0])
    if inner is None or inner.op is not TRANSPOSE:
        return None
    return transpose(inner.operands[0], [inner.attrs["perm"][p] for p in eqn.attrs["perm"]])


@rule(TRANSPOSE)
def transpose_of_computed(eqn: Eqn, definition: Definition) -> Value | None:
    """What is computed from transposes of arrays and transposed is computed from the arrays, in
    the order in which they lie in memory."""
    inner = definition(eqn.operands[0])
    if inner is None or inner.op is TRANSPOSE:
        return None
    return _transposed(eqn.operands[0], tuple(eqn.attrs["perm"]), definition)


def _transposed(v: Value, perm: tuple[int, ...], definition: Definition) -> Value | None:
    """The transpose of v, where that takes transposes away and adds none."""
    eqn = definition(v)
    if v.rank == 0:
        return v
    if eqn is None or not isinstance(eqn.op, Primitive):
        return None
    dims = [v.dims[p] for p in perm]
    scalar = uniform_scalar(v, definition)
    if scalar is not None:
        return full(scalar, dims)
    if eqn.op is TRANSPOSE:
        back = [eqn.attrs["perm"][p] for p in perm]
        return eqn.operands[0] if back == sorted(back) else None
    if eqn.op is SLICE or _renames_an_extent(eqn):
        source = _transposed(eqn.operands[0], perm, definition)
        if source is None or eqn.op is RESHAPE:
            return source if source is None else reshape(source, dims)
        starts = [as_dim(_starts(eqn)[p]) for p in perm]
        return slice(source, starts, dims, [eqn.attrs["steps"][p] for p in perm])
    if not eqn.op.is_pointwise or not definition.is_read_once(v):
        return None
    operands = [_transposed(o, perm, definition) for o in eqn.operands]
    if any(o is None for o in operands):
        return None
    return current().rebind(eqn, [o for o in operands if o is not None])[0]


def _renames_an_extent(eqn: Eqn) -> bool:
    """Whether a reshape only says that one extent is the same as another."""
    if eqn.op is not RESHAPE:
        return False
    source, result = eqn.operands[0].dims, eqn.result.dims
    return len(source) == len(result) and sum(a != b for a, b in zip(source, result)) <= 1


# -- boxes -----------------------------------------------------------------------------------------


def _starts(eqn: Eqn) -> tuple[Value, ...]:
    """The starts of a slice or an update."""
    first = 1 if eqn.op is SLICE else 2
    return eqn.operands[first : first + eqn.operands[0].rank]


def _same_box(a: Eqn, b: Eqn, sizes: Sequence[Dim], other_sizes: Sequence[Dim]) -> bool:
    same_place = _starts(a) == _starts(b) and a.attrs["steps"] == b.attrs["steps"]
    return same_place and tuple(sizes) == tuple(other_sizes)


@rule(SLICE)
def slice_of_all(eqn: Eqn, definition: Definition) -> Value | None:
    """A box of the array's own size, with steps forward, starts at 0."""
    x, steps = eqn.operands[0], eqn.attrs["steps"]
    return x if x.dims == eqn.result.dims and all(s == 1 for s in steps) else None


@rule(SLICE)
def slice_of_slice(eqn: Eqn, definition: Definition) -> Value | None:
    inner = definition(eqn.operands[0])
    if inner is None or inner.op is not SLICE:
        return None
    starts: list[Dim] = []
    for outer, within, step in zip(_starts(eqn), _starts(inner), inner.attrs["steps"]):
        starts.append(as_dim(_plus(within, _times(outer, step))))
    steps = [a * b for a, b in zip(inner.attrs["steps"], eqn.attrs["steps"])]
    return slice(inner.operands[0], starts, eqn.result.dims, steps)


def _plus(x: Value, y: Value) -> Value:
    if isinstance(x, Literal) and x.item == 0:
        return y
    return x if isinstance(y, Literal) and y.item == 0 else add(x, y)


def _times(x: Value, factor: int) -> Value:
    return x if factor == 1 else mul(x, factor)


@rule(SLICE)
def slice_of_update(eqn: Eqn, definition: Definition) -> Value | None:
    """Read back what was just written."""
    inner = definition(eqn.operands[0])
    if inner is None or inner.op is not UPDATE:
        return None
    value = inner.operands[1]
    return value if _same_box(eqn, inner, eqn.result.dims, value.dims) else None


@rule(UPDATE)
def update_of_all(eqn: Eqn, definition: Definition) -> Value | None:
    base, value = eqn.operands[:2]
    forward = all(s == 1 for s in eqn.attrs["steps"])
    return value if forward and base.dims == value.dims else None


@rule(UPDATE)
def update_of_update(eqn: Eqn, definition: Definition) -> Value | None:
    """What is written over is not written; what is written back changes nothing."""
    base, value = eqn.operands[:2]
    below, read = definition(base), definition(value)
    if read is not None and read.op is SLICE and read.operands[0] is base:
        return base if _same_box(eqn, read, value.dims, value.dims) else None
    if below is None or below.op is not UPDATE or not definition.is_read_once(base):
        return None  # what else reads the first content would keep the array before it alive
    if not _same_box(eqn, below, value.dims, below.operands[1].dims):
        return None
    return current().rebind(eqn, (below.operands[0], *eqn.operands[1:]))[0]


@rule(CONCATENATE)
def concatenate_of_one(eqn: Eqn, definition: Definition) -> Value | None:
    """Its operands are the arrays, then the extent of the whole."""
    x = eqn.operands[0]
    return x if len(eqn.operands) == 2 and x.type == eqn.result.type else None


@rule(PAD)
def pad_with_nothing(eqn: Eqn, definition: Definition) -> Value | None:
    x = eqn.operands[0]
    none = not any((*eqn.attrs["low"], *eqn.attrs["high"]))
    return x if none and x.type == eqn.result.type else None


# -- reductions and products -----------------------------------------------------------------------


@rule(REDUCE_SUM, REDUCE_PROD, REDUCE_MIN, REDUCE_MAX, REDUCE_ANY, REDUCE_ALL)
def reduction_of_one(eqn: Eqn, definition: Definition) -> Value | None:
    """Over no axes, or unit axes. A sum of floats starts from 0.0, so that of -0.0 it is 0.0."""
    (x,) = eqn.operands
    if any(x.dims[a] != 1 for a in eqn.attrs["axes"]):
        return None
    if eqn.op is REDUCE_SUM and x.dtype.is_float:
        x = add(x, 0.0)
    return reshape(x, eqn.result.dims)


@rule(REDUCE_ANY, REDUCE_ALL)
def quantifier_of_uniform(eqn: Eqn, definition: Definition) -> Value | None:
    """All of True, or any of False, however many there are."""
    neutral = Literal(eqn.op is REDUCE_ALL, eqn.result.dtype)
    same = uniform_scalar(eqn.operands[0], definition) == neutral
    return full(neutral, eqn.result.dims) if same else None


@rule(DOT, COMPLEX_DOT)
def dot_of_transposed(eqn: Eqn, definition: Definition) -> Value | None:
    """A transpose in front, of halves before they are widened too, is a matter of axis numbers, if
    the free axes stay in order."""
    operands = list(eqn.operands)
    contract, batch = list(eqn.attrs["contract"]), list(eqn.attrs["batch"])
    for k in (0, 1):
        inner, dtype = definition(operands[k]), operands[k].dtype
        if inner is not None and inner.op is CONVERT and inner.operands[0].dtype.is_half:
            inner = definition(inner.operands[0])
        if inner is None or inner.op is not TRANSPOSE:
            continue
        perm = inner.attrs["perm"]
        if eqn.op is COMPLEX_DOT and perm[-1] != len(perm) - 1:
            continue
        paired = (*contract[k], *batch[k])
        free = [perm[a] for a in range(len(perm)) if a not in paired]
        if free == sorted(free):
            operands[k] = convert(inner.operands[0], dtype)
            contract[k] = tuple(perm[a] for a in contract[k])
            batch[k] = tuple(perm[a] for a in batch[k])
    if operands == list(eqn.operands):
        return None
    attrs = {"contract": tuple(contract), "batch": tuple(batch)}
    return current().rebind(eqn, operands, attrs=attrs)[0]


@rule(TRANSPOSE)
def transposed_dot(eqn: Eqn, definition: Definition) -> Value | None:
    """The transpose of a product that swaps the free axes is the product the other way round."""
    inner, perm = definition(eqn.operands[0]), list(eqn.attrs["perm"])
    if inner is None or inner.op is not DOT or not definition.is_read_once(inner.result):
        return None
    (x, y), contract, batch = inner.operands, inner.attrs["contract"], inner.attrs["batch"]
    batches = len(batch[0])
    free = x.rank - batches - len(contract[0])
    rank = len(perm)
    swapped = [*range(batches), *range(batches + free, rank), *range(batches, batches + free)]
    return dot(y, x, contract[::-1], batch[::-1]) if perm == swapped else None


# -- halves of complex numbers ---------------------------------------------------------------------


@rule(INTERLEAVE)
def interleave_of_halves(eqn: Eqn, definition: Definition) -> Value | None:
    """The halves of one array, seen in the same way, are that view of the array itself."""
    re, im = eqn.operands
    return _joined(re, im, definition)


def _joined(re: Value, im: Value, definition: Definition) -> Value | None:
    """What these are the halves of, where that is an array in memory or a view of one; a single
    number is no array."""
    a, b = definition(re), definition(im)
    if not re.rank or a is None or b is None or a.op is not b.op or a.attrs != b.attrs:
        return None
    x, y = a.operands[0], b.operands[0]
    if a.op is SLICE and x is y:
        (*at, first), (*there, second) = _starts(a), _starts(b)
        if at != there or x.dims[-1] != 2 or (first, second) != (as_value(0), as_value(1)):
            return None
        both = slice(x, [*map(as_dim, at), 0], [*re.dims[:-1], 2], a.attrs["steps"])
        return reshape(both, (*re.dims, 2))
    if a.op not in (SLICE, RESHAPE, TRANSPOSE, BROADCAST) or a.operands[1:] != b.operands[1:]:
        return None
    whole = _joined(x, y, definition)
    if whole is None:
        return None
    if a.op is SLICE:
        starts = [*map(as_dim, _starts(a)), 0]
        return slice(whole, starts, (*re.dims, 2), (*a.attrs["steps"], 1))
    if a.op is RESHAPE:
        return reshape(whole, (*re.dims, 2))
    if a.op is TRANSPOSE:
        return transpose(whole, (*a.attrs["perm"], x.rank))
    return broadcast(whole, (*re.dims, 2), (*a.attrs["axes"], re.rank))


VIEWS: tuple[Rule, ...] = (
    interleave_of_halves,
    of_uniform,
    moved_uniform,
    computed_without_units,
    view_of_itself,
    broadcast_of_broadcast,
    broadcast_of_units,
    reshape_of_reshape,
    transpose_of_transpose,
    transpose_of_computed,
    slice_of_all,
    slice_of_slice,
    slice_of_update,
    update_of_all,
    update_of_update,
    concatenate_of_one,
    pad_with_nothing,
    reduction_of_one,
    quantifier_of_uniform,
    dot_of_transposed,
    transposed_dot,
)
