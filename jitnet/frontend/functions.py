"""NumPy's functions on tracers: the table, and what is in it besides reductions and shapes.

    call(np.where, (mask, x, y), {})     %0 = select %mask, %x, %y

A function that is not here is run from NumPy's own Python source where it has one: its leaves come
back to the table.
"""

from __future__ import annotations

import types as pytypes
from collections.abc import Callable
from typing import Any

import numpy as np

from jitnet import errors, ops
from jitnet.frontend import elementwise, products, reductions, shapes
from jitnet.frontend.dims import broadcast_dims, count, extents, filled, number, static_shape
from jitnet.frontend.indexing import take, take_along_axis
from jitnet.frontend.promotion import as_array, as_dtype, operand, result_type
from jitnet.frontend.reductions import refuse_out
from jitnet.frontend.tracer import Tracer, supported_dtype, wrap
from jitnet.ir import types as T

_UNSET: Any = np._NoValue


def call(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What `function(*args, **kwargs)` gives.

    Raises:
        UnsupportedFunctionError: for a function that jitnet does not have.
    """
    own = TABLE.get(function)
    if own is not None:
        return own(*args, **kwargs)
    source = getattr(function, "_implementation", None) or getattr(function, "__wrapped__", None)
    if isinstance(source, pytypes.FunctionType):
        try:
            return source(*args, **kwargs)
        except (errors.ConcretizationError, errors.UnsupportedDTypeError) as error:
            raise _unsupported(function) from error
    raise _unsupported(function)


def _unsupported(function: Any) -> errors.UnsupportedFunctionError:
    module = getattr(function, "__module__", "numpy") or "numpy"
    name = getattr(function, "__name__", repr(function))
    return errors.UnsupportedFunctionError(
        f"{module.replace('numpy', 'np', 1)}.{name} of traced values",
        why="this version has no such function",
        remedy="compute it outside of the compiled function and pass the result in",
    )


# -- choosing --------------------------------------------------------------------------------------


def where(condition: Any, x: Any = _UNSET, y: Any = _UNSET, /) -> Any:
    """`np.where`: a choice between x and y, or the positions of what is true."""
    if x is _UNSET and y is _UNSET:
        return nonzero(condition)
    mask = elementwise.truth(as_array(condition).value)
    a, b = operand(x), operand(y)
    common = result_type(a, b)
    left, right = as_dtype(a, common), as_dtype(b, common)
    dims = broadcast_dims(mask.dims, left.dims, right.dims)
    return wrap(ops.select(filled(mask, dims), filled(left, dims), filled(right, dims)))


def nonzero(a: Any) -> tuple[Tracer, ...]:
    """`np.nonzero`: the extents of the results depend on data."""
    x = as_array(a)
    shape = static_shape(x, "np.nonzero")
    if not shape:
        raise errors.ValueRefusedError("Calling nonzero on 0d arrays is not allowed.")
    mask = elementwise.truth(x.value)
    n = int(np.prod(shape))
    flat = ops.reshape(mask, (n,))
    places = [ops.reshape(ops.iota(shape, axis, T.i64), (n,)) for axis in range(len(shape))]
    _, *found = ops.compress(flat, places)
    return tuple(wrap(v) for v in found)


def compress(condition: Any, a: Any, axis: Any = None, out: Any = None) -> Tracer:
    """`np.compress` with a mask of the axis' extent."""
    refuse_out(out)
    x = as_array(a)
    if axis is None:
        x, axis = shapes.ravel(x), 0
    moved = shapes.moveaxis(x, axis, 0)
    kept = moved[np.asarray(condition, bool) if type(condition) is not Tracer else condition != 0]
    return shapes.moveaxis(kept, 0, axis)


def extract(condition: Any, arr: Any) -> Tracer:
    """`np.extract`."""
    found: Tracer = shapes.ravel(arr)[shapes.ravel(as_array(condition) != 0)]
    return found


def clip(
    a: Any,
    a_min: Any = _UNSET,
    a_max: Any = _UNSET,
    out: Any = None,
    *,
    min: Any = _UNSET,
    max: Any = _UNSET,
    **kwargs: Any,
) -> Any:
    """`np.clip`: into [a_min, a_max]; None leaves a side open."""
    refuse_out(out)
    low = a_min if a_min is not _UNSET else min
    high = a_max if a_max is not _UNSET else max
    low, high = (None if b is _UNSET else b for b in (low, high))
    if low is None and high is None:
        return copy(a)
    if low is None:
        return elementwise.call(np.minimum, a, high, **kwargs)
    if high is None:
        return elementwise.call(np.maximum, a, low, **kwargs)
    raised = elementwise.call(np.maximum, a, low, **kwargs)
    return elementwise.call(np.minimum, raised, high, **kwargs)


# -- making ----------------------------------------------------------------------------------------


def _full_like(a: Any, fill: Any, dtype: Any, shape: Any) -> Tracer:
    x = as_array(a)
    wanted = x.value.dtype if dtype is None else supported_dtype(np.dtype(dtype), "dtype=")
    dims = x.value.dims if shape is None else extents(shape)
    value = as_array(fill).value if isinstance(fill, (Tracer, np.ndarray)) else None
    literal = ops.convert(value, wanted) if value is not None else as_dtype(operand(fill), wanted)
    return wrap(filled(literal, dims))


def zeros_like(
    a: Any,
    dtype: Any = None,
    order: str = "K",
    subok: bool = True,
    shape: Any = None,
    **kwargs: Any,
) -> Tracer:
    """`np.zeros_like`."""
    return _full_like(a, False if _is_bool(a, dtype) else 0, dtype, shape)


def ones_like(
    a: Any,
    dtype: Any = None,
    order: str = "K",
    subok: bool = True,
    shape: Any = None,
    **kwargs: Any,
) -> Tracer:
    """`np.ones_like`."""
    return _full_like(a, True if _is_bool(a, dtype) else 1, dtype, shape)


def _is_bool(a: Any, dtype: Any) -> bool:
    return bool(as_array(a).dtype.kind == "b" if dtype is None else np.dtype(dtype).kind == "b")


def full_like(
    a: Any,
    fill_value: Any,
    dtype: Any = None,
    order: str = "K",
    subok: bool = True,
    shape: Any = None,
    **kwargs: Any,
) -> Tracer:
    """`np.full_like`."""
    return _full_like(a, fill_value, dtype, shape)


def copy(a: Any, order: str = "K", subok: bool = False) -> Tracer:
    """`np.copy`."""
    x = as_array(a)
    return wrap(x.value)


def astype(x: Any, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Tracer:
    """`np.astype`."""
    own = as_array(x)
    wanted = supported_dtype(np.dtype(dtype), "dtype=")
    return wrap(ops.convert(own.value, wanted), own.flavour)


# -- numbers ---------------------------------------------------------------------------------------


def around(a: Any, decimals: Any = 0, out: Any = None) -> Any:
    """`np.round`: half to even; to decimals by scaling, as NumPy does."""
    refuse_out(out)
    x = as_array(a)
    if not x.value.dtype.is_float:
        if decimals >= 0:
            return astype(x, x.dtype if x.dtype.kind != "b" else np.float64)
        raise errors.UnsupportedFunctionError(
            "np.round of integers to tens", remedy="x // 10 * 10, or round the float"
        )
    if decimals == 0:
        return elementwise.call(np.rint, x)
    scale = float(10 ** abs(decimals))
    up, down = (np.multiply, np.true_divide) if decimals > 0 else (np.true_divide, np.multiply)
    return elementwise.call(down, elementwise.call(np.rint, elementwise.call(up, x, scale)), scale)


def isclose(a: Any, b: Any, rtol: Any = 1e-5, atol: Any = 1e-8, equal_nan: bool = False) -> Any:
    """`np.isclose`."""
    x, y = as_array(a), as_array(b)
    near = abs(x - y) <= atol + rtol * abs(y)
    found = (near & np.isfinite(y)) | (x == y)
    return found | (np.isnan(x) & np.isnan(y)) if equal_nan else found


def array_equal(a1: Any, a2: Any, equal_nan: bool = False) -> Any:
    """`np.array_equal`; extents are compared while tracing."""
    x, y = as_array(a1), as_array(a2)
    if static_shape(x, "np.array_equal") != static_shape(y, "np.array_equal"):
        return False
    same = x == y
    return reductions.all(same | (np.isnan(x) & np.isnan(y)) if equal_nan else same)


def nan_to_num(
    x: Any, copy: bool = True, nan: Any = 0.0, posinf: Any = None, neginf: Any = None
) -> Any:
    """`np.nan_to_num`."""
    own = as_array(x)
    if not own.value.dtype.is_float:
        return own
    info = np.finfo(own.dtype)
    high = info.max if posinf is None else posinf
    low = info.min if neginf is None else neginf
    kept = where(np.isnan(own), own.dtype.type(nan), own)
    kept = where(kept == np.inf, own.dtype.type(high), kept)
    found = where(kept == -np.inf, own.dtype.type(low), kept)
    return wrap(found.value, own.flavour if not found.value.rank else "array")


def _without_nan(fold: Callable[..., Any], filler: float) -> Callable[..., Any]:
    def reduce(a: Any, axis: Any = None, *args: Any, **kwargs: Any) -> Any:
        x = as_array(a)
        if x.value.dtype.is_float:
            x = where(np.isnan(x), x.dtype.type(filler), x)
        return fold(x, axis, *args, **kwargs)

    return reduce


def nanmean(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: Any = _UNSET,
    **kwargs: Any,
) -> Any:
    """`np.nanmean`."""
    refuse_out(out)
    x = as_array(a)
    if not x.value.dtype.is_float:
        return reductions.mean(x, axis, dtype, None, keepdims)
    return reductions.mean(x, axis, dtype, None, keepdims, where=~np.isnan(x))


# -- matrices --------------------------------------------------------------------------------------


def diagonal(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tracer:
    """`np.diagonal`."""
    x = as_array(a)
    if x.ndim < 2:
        raise errors.ValueRefusedError("diag requires an array of at least two dimensions")
    moved = shapes.moveaxis(x, (axis1, axis2), (0, 1))
    n, m = static_shape(moved, "np.diagonal")[:2]
    length = max(min(n, m - offset) if offset >= 0 else min(n + offset, m), 0)
    i = np.arange(length)
    picked = moved[i + max(-offset, 0), i + max(offset, 0)]
    return shapes.moveaxis(picked, 0, -1)


def diag(v: Any, k: int = 0) -> Tracer:
    """`np.diag`: a matrix's diagonal, or the matrix with this one."""
    x = as_array(v)
    if x.ndim == 2:
        return diagonal(x, k)
    if x.ndim != 1:
        raise errors.ValueRefusedError("Input must be 1- or 2-d.")
    (n,) = static_shape(x, "np.diag")
    on = np.eye(n + abs(k), k=k, dtype=bool)
    wide = shapes.pad(x, (max(k, 0), max(-k, 0)))
    found: Tracer = where(on, wide, wide.dtype.type(0))
    return found


def trace(
    a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None, out: Any = None
) -> Any:
    """`np.trace`."""
    return reductions.sum(diagonal(a, offset, axis1, axis2), -1, dtype, out)


def _triangle(upper: bool) -> Callable[..., Tracer]:
    def keep(m: Any, k: int = 0) -> Tracer:
        x = as_array(m)
        n, width = static_shape(x, "a triangle")[-2:]
        mask = np.tri(n, width, k - 1 if upper else k, dtype=bool)
        found: Tracer = where(~mask if upper else mask, x, x.dtype.type(0))
        return found

    return keep


def diff(a: Any, n: int = 1, axis: int = -1, prepend: Any = _UNSET, append: Any = _UNSET) -> Any:
    """`np.diff`."""
    x = as_array(a)
    axis = axis % x.ndim
    for extra, front in ((prepend, True), (append, False)):
        if extra is _UNSET:
            continue
        edge = as_array(extra)
        if edge.ndim == 0:
            one = tuple(1 if i == axis else d for i, d in enumerate(x.shape))
            edge = shapes.broadcast_to(edge, one)
        x = shapes.concatenate([edge, x] if front else [x, edge], axis)
    lead = (slice(None),) * axis
    for _ in range(n):
        ufunc = np.not_equal if x.dtype.kind == "b" else np.subtract
        after, before = x[(*lead, slice(1, None))], x[(*lead, slice(None, -1))]
        x = elementwise.call(ufunc, after, before)
    return x


def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    """`np.linalg.norm`: of vectors, and the Frobenius norm of matrices."""
    own = as_array(x)
    if not own.value.dtype.is_float:
        own = astype(own, np.float64)
    vector = ord in (None, 2) and (axis is None or np.ndim(axis) == 0 or ord is None)
    if ord == "fro" or (vector and (ord is None or own.ndim == 1 or np.ndim(axis) == 0)):
        return elementwise.call(np.sqrt, reductions.sum(own * own, axis, keepdims=keepdims))
    flat = own.ndim == 1 or (axis is not None and np.ndim(axis) == 0)
    if flat and ord == np.inf:
        return reductions.max(abs(own), axis, keepdims=keepdims)
    if flat and ord == -np.inf:
        return reductions.min(abs(own), axis, keepdims=keepdims)
    if flat and ord == 1:
        return reductions.sum(abs(own), axis, keepdims=keepdims)
    raise errors.UnsupportedFunctionError(
        f"np.linalg.norm with ord={ord!r}, axis={axis!r}",
        remedy="use ord None, 1, 2, inf of vectors, or the Frobenius norm",
    )


def einsum(subscripts: str, /, *operands: Any, **kwargs: Any) -> Any:
    """`np.einsum` with letters, of any number of operands, two at a time."""
    if not isinstance(subscripts, str) or "." in subscripts:
        raise errors.UnsupportedFunctionError(
            "np.einsum in this form", remedy='name every axis by a letter: "ij,jk->ik"'
        )
    refuse_out(kwargs.get("out"))
    left, _, right = subscripts.replace(" ", "").partition("->")
    terms = left.split(",")
    if "->" not in subscripts:
        letters = sorted(set(left) - {","})
        right = "".join(c for c in letters if left.count(c) == 1)
    arrays = [as_array(a) for a in operands]
    if len(terms) != len(arrays):
        raise errors.ValueRefusedError("einsum: the subscripts name another number of operands")
    name, x = _own_diagonal(terms[0], arrays[0])
    for i, (term, y) in enumerate(zip(terms[1:], arrays[1:]), 2):
        term, y = _own_diagonal(term, y)
        needed = set(right).union(*terms[i:])
        name, x = _contract(name, x, term, y, needed)
    gone = tuple(i for i, c in enumerate(name) if c not in right)
    x = reductions.sum(x, gone, x.dtype) if gone else x
    name = "".join(c for c in name if c in right)
    return shapes.transpose(x, [name.index(c) for c in right]) if len(name) > 1 else x


def _own_diagonal(term: str, x: Tracer) -> tuple[str, Tracer]:
    """Axes of one operand with the same letter become one."""
    if len(term) != x.ndim:
        raise errors.ValueRefusedError(
            f"einsum: {term!r} does not name the {x.ndim} axes of its operand"
        )
    for c in term:
        while term.count(c) > 1:
            i = term.index(c)
            j = term.index(c, i + 1)
            x = diagonal(x, 0, i, j)
            term = term[:i] + term[i + 1 : j] + term[j + 1 :] + c
    return term, x


def _contract(a: str, x: Tracer, b: str, y: Tracer, needed: set[str]) -> tuple[str, Tracer]:
    """One product of two operands: letters that nothing needs later are summed over."""
    common = result_type(x, y)
    p, q = as_dtype(x, common), as_dtype(y, common)
    shared = [c for c in a if c in b]
    batch = [c for c in shared if c in needed]
    summed = [c for c in shared if c not in needed]
    found = ops.dot(
        p,
        q,
        contract=(tuple(a.index(c) for c in summed), tuple(b.index(c) for c in summed)),
        batch=(tuple(a.index(c) for c in batch), tuple(b.index(c) for c in batch)),
    )
    rest = [c for c in a if c not in shared] + [c for c in b if c not in shared]
    return "".join([*batch, *rest]), wrap(found, "array" if found.rank else "scalar")


def _size(a: Any, axis: Any = None) -> Any:
    x = as_array(a)
    return number(count(x.value.dims)) if axis is None else x.shape[axis]


TABLE: dict[Any, Callable[..., Any]] = {
    **reductions.TABLE,
    **shapes.TABLE,
    np.where: where,
    np.nonzero: nonzero,
    np.argwhere: lambda a: shapes.stack(nonzero(a), 1),
    np.flatnonzero: lambda a: nonzero(shapes.ravel(a))[0],
    np.compress: compress,
    np.extract: extract,
    np.clip: clip,
    np.take: take,
    np.take_along_axis: take_along_axis,
    np.zeros_like: zeros_like,
    np.ones_like: ones_like,
    np.full_like: full_like,
    np.empty_like: zeros_like,
    np.copy: copy,
    np.astype: astype,
    np.round: around,
    np.around: around,
    np.isclose: isclose,
    np.allclose: lambda *args, **kwargs: reductions.all(isclose(*args, **kwargs)),
    np.array_equal: array_equal,
    np.nan_to_num: nan_to_num,
    np.nansum: _without_nan(reductions.sum, 0.0),
    np.nanprod: _without_nan(reductions.prod, 1.0),
    np.nanmax: _without_nan(reductions.max, -np.inf),
    np.nanmin: _without_nan(reductions.min, np.inf),
    np.nanmean: nanmean,
    np.diagonal: diagonal,
    np.diag: diag,
    np.trace: trace,
    np.triu: _triangle(upper=True),
    np.tril: _triangle(upper=False),
    np.diff: diff,
    np.linalg.norm: norm,
    np.einsum: einsum,
    np.dot: products.dot,
    np.vdot: products.vdot,
    np.inner: products.inner,
    np.outer: products.outer,
    np.tensordot: products.tensordot,
    np.shape: lambda a: as_array(a).shape,
    np.ndim: lambda a: as_array(a).ndim,
    np.size: _size,
    np.result_type: lambda *xs: result_type(*(operand(x) for x in xs)).numpy,
    np.real: lambda val: as_array(val),
}
