"""Linear systems, determinants and Cholesky factors of stacks of square matrices.

    %x: f64[3, 2], %singular: bool = solve %a, %b          a: f64[3, 3], b: f64[3, 2]
    %d: f64[5] = det %a                                    a: f64[5, 3, 3]

The last two axes are the matrix, the others a stack of them, which has the same dims in all
operands. Whether there is a solution is a result of its own: whoever builds the equation raises, or
does not. Derivatives are other solutions with the same matrix (Giles 2008, Murray 2016).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from jitnet.ir import (
    ArrayType,
    Attrs,
    Dim,
    Eqn,
    Function,
    Literal,
    Type,
    TypeRuleError,
    Value,
    as_dim,
    as_value,
    current,
)
from jitnet.ir import types as T
from jitnet.ops import eliminations, small_matrices
from jitnet.ops.complex_pivots import complex_det, complex_slogdet
from jitnet.ops.complexes import conj
from jitnet.ops.create import iota
from jitnet.ops.join import concatenate
from jitnet.ops.lanes import Batched, batch_together, moved
from jitnet.ops.lift import accumulate, add, mul, neg, select, sub, zmul
from jitnet.ops.linalg import dot
from jitnet.ops.matrix_stacks import fits_loops, fits_registers
from jitnet.ops.pairs import pair
from jitnet.ops.pointwise import convert, eq, lt
from jitnet.ops.primitive import (
    BatchTransform,
    JvpTransform,
    Kernel,
    Linear,
    Pair,
    Paired,
    Primitive,
    Sample,
    Tangents,
    TransposeTransform,
    not_linear,
)
from jitnet.ops.samples import generator
from jitnet.ops.shape import full, reshape, transpose
from jitnet.ops.slicing import slice

Array = np.ndarray[Any, Any]

# -- matrices --------------------------------------------------------------------------------------


def _require_square(name: str, a: Value) -> None:
    if a.rank < 2 or a.dims[-1] != a.dims[-2]:
        raise TypeRuleError(f"{name}: {a.type} is no stack of square matrices")
    if not a.dtype.is_inexact:
        raise TypeRuleError(f"{name}: of floats, not of {a.dtype}")


def _swapped(a: Value) -> Value:
    """The matrices transposed."""
    return transpose(a, (*range(a.rank - 2), a.rank - 1, a.rank - 2))


def _adjoint(a: Value) -> Value:
    return conj(_swapped(a)) if a.dtype.is_complex else _swapped(a)


def _product(x: Value, y: Value) -> Value:
    """Matrix products of two stacks."""
    batch = tuple(range(x.rank - 2))
    return dot(x, y, ((x.rank - 1,), (y.rank - 2,)), (batch, batch))


def _places(a: Value) -> tuple[Value, Value]:
    """The row and the column of each element."""
    return iota(a.dims, a.rank - 2, T.i64), iota(a.dims, a.rank - 1, T.i64)


def _identity(a: Value) -> Value:
    return convert(eq(*_places(a)), a.dtype)


def _each(function: Callable[..., Any], a: Array, *more: Array) -> list[Any]:
    """What a function gives for each matrix of stacks, in C order."""
    return [function(*(x[at] for x in (a, *more))) for at in np.ndindex(a.shape[:-2])]


def _gathered(found: Sequence[Any], shape: tuple[int, ...], dtype: Any) -> Any:
    return np.array(found, dtype).reshape(shape)[()]


# -- solve -----------------------------------------------------------------------------------------


def _infer_solve(
    operands: Sequence[Value], attrs: Attrs, regions: Sequence[Function]
) -> tuple[Type, ...]:
    a, b = operands
    _require_square("solve", a)
    if b.dims[:-1] != a.dims[:-1] or b.dtype != a.dtype:
        raise TypeRuleError(f"solve: right sides {b.type} of {a.type}")
    return b.array_type, ArrayType(T.bool_, a.dims[:-2])


def _solve_one(a: Array, b: Array) -> tuple[Array, bool]:
    try:
        return np.linalg.solve(a, b), False
    except np.linalg.LinAlgError:
        return np.full_like(b, np.nan), True


def _numpy_solve(eqn: Eqn, a: Array, b: Array) -> tuple[Any, ...]:
    found = _each(_solve_one, a, b)
    x = _gathered([x for x, _ in found], b.shape, b.dtype)
    return x, _gathered([singular for _, singular in found], a.shape[:-2], bool)


def _jvp_solve(
    eqn: Eqn, primals: Sequence[Value], tangents: Tangents, jvp: JvpTransform
) -> tuple[Sequence[Value], Tangents]:
    """a dx = db - da x."""
    results = current().rebind(eqn, primals)
    a, (ta, tb) = primals[0], tangents
    change = None if ta is None else neg(_product(ta, results[0]))
    change = accumulate(change, tb)
    return results, (None if change is None else solve(a, change)[0], None)


def _transpose_solve(
    eqn: Eqn,
    operands: Sequence[Value | Linear],
    cotangents: Tangents,
    accumulators: Sequence[Value | None],
    transpose: TransposeTransform,
) -> Sequence[Value | None]:
    (a, _), ct, (_, total) = operands, cotangents[0], accumulators
    assert isinstance(a, Value), "solve is linear in its right sides"
    return [None, total if ct is None else accumulate(total, solve(_swapped(a), ct)[0])]


def _batch_solve(
    eqn: Eqn,
    operands: Sequence[Value],
    batched: Sequence[bool],
    extent: Dim,
    batch: BatchTransform,
) -> Batched:
    """Right sides in lanes, of one matrix, are so many more columns."""
    a, b = operands
    if batched[0]:
        return batch_together(eqn, operands, batched, extent, batch)
    beside = moved(b, 0, b.rank - 2)
    both = as_dim(mul(as_value(beside.dims[-2]), as_value(beside.dims[-1])))
    x, singular = solve(a, reshape(beside, (*beside.dims[:-2], both)))
    return (moved(reshape(x, beside.dims), b.rank - 2, 0), singular), [True, False]


def _pairs_solve(
    eqn: Eqn, operands: Sequence[Paired], split: Callable[[Function], Function]
) -> Sequence[Paired]:
    """(A + iB)(x + iy) = c + id is [[A, -B], [B, A]] [x, y] = [c, d]."""
    a, b = (pair(v) for v in operands)
    rows, columns = a.re.rank - 2, a.re.rank - 1
    upper = concatenate([a.re, neg(a.im)], columns)
    lower = concatenate([a.im, a.re], columns)
    both, singular = solve(concatenate([upper, lower], rows), concatenate([b.re, b.im], rows))
    starts: list[Any] = [0] * both.rank
    n = b.re.dims[rows]
    re = slice(both, starts, b.re.dims)
    starts[rows] = n
    return Pair(re, slice(both, starts, b.re.dims)), singular


def _well_conditioned(rng: np.random.Generator, dtype: T.DType, shape: tuple[int, ...]) -> Array:
    """Matrices with a large diagonal, whose rows are then exchanged."""
    n = shape[-1]
    a = rng.uniform(-1, 1, shape) + (1.5 + n / 2) * np.eye(n)
    return np.asarray(np.roll(a, 1, axis=-2), dtype.numpy)


_SHAPES: list[tuple[tuple[int, ...], int]] = [
    *(((1, 1), 1), ((2, 2), 1), ((3, 3), 2), ((4, 4), 1), ((4, 4), 9), ((5, 5), 1), ((7, 7), 3)),
    *(((17, 17), 2), ((2, 3, 3), 1), ((2, 3, 2, 2), 2), ((2, 6, 6), 2), ((2, 18, 18), 1)),
    *(((0, 3, 3), 1), ((3, 3), 0), ((0, 0), 2), ((0, 0), 0)),
]


def _solve_samples() -> Iterator[Sample]:
    rng = generator("solve")
    for dtype in (T.f64, T.f32):
        for shape, columns in _SHAPES if dtype == T.f64 else _SHAPES[:8]:
            a = _well_conditioned(rng, dtype, shape)
            b = rng.uniform(-1, 1, (*shape[:-1], columns)).astype(dtype.numpy)
            yield Sample((a, b), {})


SOLVE = Primitive(
    "solve",
    infer=_infer_solve,
    numpy=_numpy_solve,
    jvp=_jvp_solve,
    transpose=_transpose_solve,
    batch=_batch_solve,
    dense=True,
    lower=[
        Kernel(small_matrices.solve, when=fits_registers),
        Kernel(eliminations.solve_loops, when=fits_loops),
        Kernel(eliminations.solve_called),
    ],
    samples=_solve_samples,
    pairs=_pairs_solve,
)


def solve(a: Value, b: Value) -> tuple[Value, Value]:
    """The x of `a @ x = b`, and which matrices are singular; x is not defined for those.

    Args:
        a: floats or complex numbers [..., n, n].
        b: of its dtype, [..., n, k].

    Raises:
        TypeRuleError: for dims or dtypes that do not fit.
    """
    x, singular = current().bind(SOLVE, (a, b), {})
    return x, singular


def inv(a: Value) -> tuple[Value, Value]:
    """The inverses of a: [..., n, n], and which matrices have none."""
    return solve(a, _identity(a))


# -- determinants ----------------------------------------------------------------------------------


def _infer_det(
    operands: Sequence[Value], attrs: Attrs, regions: Sequence[Function]
) -> tuple[Type, ...]:
    (a,) = operands
    _require_square("det", a)
    if a.dtype.is_complex:
        raise TypeRuleError(f"det: of real floats, not of {a.dtype}")
    return (ArrayType(a.dtype, a.dims[:-2]),)


def _infer_slogdet(
    operands: Sequence[Value], attrs: Attrs, regions: Sequence[Function]
) -> tuple[Type, ...]:
    return _infer_det(operands, attrs, regions) * 2


def _numpy_det(eqn: Eqn, a: Array) -> tuple[Any, ...]:
    return (_gathered(_each(np.linalg.det, a), a.shape[:-2], a.dtype),)


def _numpy_slogdet(eqn: Eqn, a: Array) -> tuple[Any, ...]:
    found = _each(np.linalg.slogdet, a)
    return tuple(_gathered([f[k] for f in found], a.shape[:-2], a.dtype) for k in (0, 1))


def _relative_change(a: Value, ta: Value) -> Value:
    """d log |det a| = trace(a^-1 da)."""
    inverse = _swapped(inv(a)[0])
    batch, axes = tuple(range(a.rank - 2)), (a.rank - 2, a.rank - 1)
    return dot(inverse, ta, (axes, axes), (batch, batch))


def _jvp_det(
    eqn: Eqn, primals: Sequence[Value], tangents: Tangents, jvp: JvpTransform
) -> tuple[Sequence[Value], Tangents]:
    results = current().rebind(eqn, primals)
    (a,), (ta,) = primals, tangents
    if ta is None:
        return results, (None,)
    if a.dims[-1] in (1, 2, 3):
        return results, (_change_by_cofactors(a, ta),)
    return results, (zmul(results[0], _relative_change(a, ta)),)


def _change_by_cofactors(a: Value, ta: Value) -> Value | None:
    """The sum of each element's change times its cofactor: finite for singular matrices too."""
    total: Value | None = None
    n = a.dims[-1]
    assert isinstance(n, int)
    for i, j in np.ndindex(n, n):
        rows = [(i + k) % n for k in range(1, n)]  # a rotation of rows and columns has no sign
        columns = [(j + k) % n for k in range(1, n)]
        minor = [[_element(a, r, c) for c in columns] for r in rows]
        term = _element(ta, i, j)
        if n == 2:
            term = zmul(minor[0][0] if i == j else neg(minor[0][0]), term)
        elif n == 3:
            (p, q), (r, s) = minor
            term = zmul(sub(mul(p, s), mul(q, r)), term)
        total = accumulate(total, term)
    return total


def _element(a: Value, row: int, column: int) -> Value:
    """One element of each matrix of a stack."""
    stack = a.dims[:-2]
    zeros = [0] * len(stack)
    return reshape(slice(a, [*zeros, row, column], [*stack, 1, 1]), stack)


def _jvp_slogdet(
    eqn: Eqn, primals: Sequence[Value], tangents: Tangents, jvp: JvpTransform
) -> tuple[Sequence[Value], Tangents]:
    results = current().rebind(eqn, primals)
    (a,), (ta,) = primals, tangents
    return results, (None, None if ta is None else _relative_change(a, ta))


def _det_samples() -> Iterator[Sample]:
    rng = generator("det")
    for dtype in (T.f64, T.f32):
        shapes = dict.fromkeys(shape for shape, _ in _SHAPES)
        for shape in shapes if dtype == T.f64 else list(shapes)[:6]:
            yield Sample((_well_conditioned(rng, dtype, shape),), {})


DET = Primitive(
    "det",
    infer=_infer_det,
    numpy=_numpy_det,
    jvp=_jvp_det,
    transpose=not_linear,
    batch=batch_together,
    lower=[Kernel(small_matrices.det, when=fits_registers), Kernel(eliminations.det_in_memory)],
    samples=_det_samples,
)

SLOGDET = Primitive(
    "slogdet",
    infer=_infer_slogdet,
    numpy=_numpy_slogdet,
    jvp=_jvp_slogdet,
    transpose=not_linear,
    batch=batch_together,
    lower=[
        Kernel(small_matrices.slogdet, when=fits_registers),
        Kernel(eliminations.slogdet_in_memory),
    ],
    samples=_det_samples,
)


def det(a: Value) -> Value:
    """The determinants of a: floats or complex numbers [..., n, n]."""
    if a.dtype.is_complex:
        return complex_det(a)
    (result,) = current().bind(DET, (a,), {})
    return result


def slogdet(a: Value) -> tuple[Value, Value]:
    """Sign and logarithm of the absolute value of the determinants of a: [..., n, n]; 0 and -inf
    where a is singular."""
    if a.dtype.is_complex:
        return complex_slogdet(a)
    sign, logarithm = current().bind(SLOGDET, (a,), {})
    return sign, logarithm


# -- cholesky --------------------------------------------------------------------------------------


def _infer_cholesky(
    operands: Sequence[Value], attrs: Attrs, regions: Sequence[Function]
) -> tuple[Type, ...]:
    (a,) = operands
    _require_square("cholesky", a)
    return a.array_type, ArrayType(T.bool_, a.dims[:-2])


def _cholesky_one(a: Array) -> tuple[Array, bool]:
    try:
        return np.linalg.cholesky(a), False
    except np.linalg.LinAlgError:
        return np.full_like(a, np.nan), True


def _numpy_cholesky(eqn: Eqn, a: Array) -> tuple[Any, ...]:
    found = _each(_cholesky_one, a)
    lower = _gathered([x for x, _ in found], a.shape, a.dtype)
    return lower, _gathered([bad for _, bad in found], a.shape[:-2], bool)


def _jvp_cholesky(
    eqn: Eqn, primals: Sequence[Value], tangents: Tangents, jvp: JvpTransform
) -> tuple[Sequence[Value], Tangents]:
    """dL = L phi(L^-1 da L^-T), where phi takes the lower triangle and half of the diagonal. Of a,
    and of da, only the lower triangle counts."""
    results = current().rebind(eqn, primals)
    (ta,), lower = tangents, results[0]
    if ta is None:
        return results, (None, None)
    row, column = _places(ta)
    zeros = full(Literal(0, ta.dtype), ta.dims)
    below = select(lt(column, row), ta, zeros)
    diagonal = select(eq(column, row), ta, zeros)
    symmetric = add(add(below, _adjoint(below)), diagonal)
    half = solve(lower, symmetric)[0]
    whole = solve(lower, _adjoint(half))[0]
    strict = select(lt(column, row), whole, zeros)
    phi = add(strict, select(eq(column, row), mul(whole, 0.5), zeros))
    return results, (_product(lower, phi), None)


def _pairs_cholesky(
    eqn: Eqn, operands: Sequence[Paired], split: Callable[[Function], Function]
) -> Sequence[Paired]:
    """Each element becomes [[re, -im], [im, re]] in its place: of a Hermitian matrix a symmetric
    one, whose factor is made of L's elements in the same way."""
    a = pair(operands[0])
    zeros = full(Literal(0, a.re.dtype), a.im.dims)
    im = select(eq(*_places(a.im)), zeros, a.im)  # what stands there does not count
    (*batch, n, _), rank = a.re.dims, a.re.rank
    twice = 2 * n if isinstance(n, int) else mul(n, 2)
    rows = []
    for left, right in ((a.re, neg(im)), (im, a.re)):
        halves = [reshape(v, (*batch, n, 1, n, 1)) for v in (left, right)]
        rows.append(concatenate(halves, rank + 1))
    lower, bad = cholesky(reshape(concatenate(rows, rank - 1), (*batch, twice, twice)))
    blocks = reshape(lower, (*batch, n, 2, n, 2))
    found = []
    for row in (0, 1):
        starts = (*(0,) * (rank - 1), row, 0, 0)
        found.append(reshape(slice(blocks, starts, (*batch, n, 1, n, 1)), a.re.dims))
    return Pair(*found), bad


def _cholesky_samples() -> Iterator[Sample]:
    rng = generator("cholesky")
    for dtype in (T.f64, T.f32):
        shapes = dict.fromkeys(shape for shape, _ in _SHAPES)
        for shape in shapes if dtype == T.f64 else list(shapes)[:6]:
            a = rng.uniform(-1, 1, shape)
            square = a @ np.swapaxes(a, -1, -2) + 2.0 * np.eye(shape[-1])
            yield Sample((square.astype(dtype.numpy),), {})


CHOLESKY = Primitive(
    "cholesky",
    infer=_infer_cholesky,
    numpy=_numpy_cholesky,
    jvp=_jvp_cholesky,
    transpose=not_linear,
    batch=batch_together,
    lower=[
        Kernel(small_matrices.cholesky, when=fits_registers),
        Kernel(eliminations.cholesky_loops, when=fits_loops),
        Kernel(eliminations.cholesky_called),
    ],
    samples=_cholesky_samples,
    pairs=_pairs_cholesky,
)


def cholesky(a: Value) -> tuple[Value, Value]:
    """The lower triangular L of `L @ conj(L).T = a`, by a's lower triangle; and which matrices are
    not positive definite, where L is not defined.

    Args:
        a: floats or complex numbers [..., n, n].
    """
    lower, bad = current().bind(CHOLESKY, (a,), {})
    return lower, bad
