"""Operands to try ops on: small arrays of every dtype, special values, and smooth ones.

    %y = div %x, %y {}        // on f64[], f64[3], f64[2, 3], f64[0] and on +-0, inf, nan, ...

The data are fixed: no clock and no global random state, so that a failure comes again.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from jitnet.ir import types as T
from jitnet.ops.primitive import Sample

if TYPE_CHECKING:
    from jitnet.kernel.scalars import ScalarOp

Domain = Literal["any", "positive", "unit", "above one"]
"""Where floats are drawn from for derivatives: (-2, 2), (0.5, 2.5), (-0.9, 0.9), (1.2, 3.2)."""

_INTERVALS = {
    "any": (-2.0, 2.0),
    "positive": (0.5, 2.5),
    "unit": (-0.9, 0.9),
    "above one": (1.2, 3.2),
}
SHAPES: tuple[tuple[int, ...], ...] = ((), (3,), (2, 3), (0,))


def generator(name: str) -> np.random.Generator:
    """A generator of numbers that depend on the op's name only."""
    return np.random.default_rng(zlib.crc32(name.encode()))


def smooth(
    rng: np.random.Generator, dtype: T.DType, shape: tuple[int, ...], domain: Domain = "any"
) -> Any:
    """Values of `dtype` inside a domain; integers are small, and not negative where positive."""
    if dtype.is_bool:
        return _scalar_if_rank_0(rng.random(shape) < 0.5)
    if dtype.is_integer:
        low = 0 if dtype.kind == "u" or domain != "any" else -6
        return _scalar_if_rank_0(rng.integers(low, 7, shape).astype(dtype.numpy))
    low_f, high_f = _INTERVALS[domain]
    return _scalar_if_rank_0(rng.uniform(low_f, high_f, shape).astype(dtype.numpy))


def special(dtype: T.DType) -> np.ndarray[Any, Any]:
    """The 17 values of a dtype where implementations go wrong."""
    if dtype.is_bool:
        return np.asarray(np.arange(17) % 3 == 1)
    if dtype.is_integer:
        info = np.iinfo(dtype.numpy.name)
        low, high = int(info.min), int(info.max)
        values = [0, 1, 2, 3, 5, 7, 8, 31, 63, high, high - 1, high // 2, low, low + 1, 6, 10, 64]
        if dtype.kind == "i":
            values[10:12] = [-1, -7]
            values[14:16] = [-3, -8]
        return np.array(values, dtype.numpy)
    mantissa, bias = dtype.float_format
    eps, normal = 2.0**-mantissa, 2.0 ** (1 - bias)
    tiny, largest = normal * eps, (2 - eps) * 2.0**bias
    values_f = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 0.25, 1.5, -2.5, 1.0 + eps]
    values_f += [1e10, tiny, -largest, normal, 3.0, -0.75]
    with np.errstate(over="ignore"):
        return np.array(values_f).astype(dtype.numpy)


def pointwise_samples(row: ScalarOp, domain: Domain | Sequence[Domain]) -> Iterator[Sample]:
    """Smooth operands of several shapes and special values, on every dtype that a row takes."""
    rng = generator(row.name)
    domains = [domain] * row.arity if isinstance(domain, str) else list(domain)
    for dtypes in row_dtypes(row):
        widest = all(d.bits in (1, 8, 64) or i for i, d in enumerate(dtypes))
        for shape in SHAPES if widest else ((3,),):
            drawn = (smooth(rng, d, shape, where) for d, where in zip(dtypes, domains))
            yield Sample(tuple(drawn), {})
        yield Sample(tuple(_grid(dtypes)), {}, differentiable=False)


def row_dtypes(row: ScalarOp) -> list[list[T.DType]]:
    """The combinations of operand dtypes that a row takes, on the array level float16 too."""
    found: list[list[T.DType]] = [[]]
    choices = (*T.DTYPES.values(), T.f16)
    for kinds in row.operands:
        if kinds == "=":
            found = [[*dtypes, dtypes[-1]] for dtypes in found]
        else:
            found = [[*ds, d] for ds in found for d in choices if d.kind in kinds]
    return found


def _grid(dtypes: Sequence[T.DType]) -> list[np.ndarray[Any, Any]]:
    """Special values: of one operand as they are, of several each against each (a third operand
    goes along with the second)."""
    axes = [min(i, 1) for i in range(len(dtypes))]
    if len(dtypes) == 1:
        return [special(dtypes[0])]
    columns = (special(d) for d in dtypes)
    grids = (np.broadcast_to(v[:, None] if a == 0 else v, (17, 17)) for v, a in zip(columns, axes))
    return [np.ascontiguousarray(g) for g in grids]


def convert_samples() -> Iterator[Sample]:
    """From each dtype to each, in range; floats with a fraction too."""
    rng = generator("convert")
    dtypes = (*T.DTYPES.values(), T.f16)
    for source in dtypes:
        for target in dtypes:
            x = smooth(rng, source, (2, 3), "any" if target.kind in "if" else "positive")
            precise = target.is_float and not (source.is_half or target.is_half)
            yield Sample((x,), {"dtype": target}, differentiable=precise)
        yield Sample((smooth(rng, source, ()),), {"dtype": T.f64})
        wide = special(source)
        yield Sample((wide,), {"dtype": T.f32}, differentiable=False)
        if not source.is_float:
            yield Sample((wide,), {"dtype": T.i8}, differentiable=False)


def identity_samples() -> Iterator[Sample]:
    """An array, a scalar, and one with no elements."""
    rng = generator("identity")
    for shape in SHAPES:
        yield Sample((smooth(rng, T.f64, shape),), {}, differentiable=False)


def _scalar_if_rank_0(x: Any) -> Any:
    return np.asarray(x)[()]
