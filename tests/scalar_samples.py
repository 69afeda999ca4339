"""Operands for every row of the scalar table, and what counts as agreement with NumPy.

Used by the tests of the kernel interpreter and of each backend, so that all see the same values.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterator

import numpy as np

from jitnet.ir import DType, registry
from jitnet.ir import types as T
from jitnet.kernel import elementary, vmath
from jitnet.kernel import scalars as s
from jitnet.kernel.row import ScalarOp

ROWS = [op for op in registry("kernel").values() if isinstance(op, ScalarOp)]

PARTIAL = {"quotient", "residue", "shl", "ashr", "lshr"}
"""Rows that are undefined for some operands."""

ZERO_SIGN_OPEN = {"fmax", "fmin"}
"""Which of two zeros these give differs inside NumPy by the length of the array."""

CANCELLING = {"logaddexp", "logaddexp2"}
"""Sums of an operand and a logarithm: exact to a few ULP of the operand."""

INEXACT = {op.name for op in ROWS if op.libm} | {
    op.name
    for module in (elementary, vmath)
    for op in vars(module).values()
    if isinstance(op, ScalarOp) and op.cost > 4
}
"""Elementary functions: a few ULP instead of bits."""


def combinations(op: ScalarOp) -> Iterator[tuple[DType, ...]]:
    """The dtypes of operands that a row takes."""
    choices = [
        [None] if kinds == "=" else [d for d in T.DTYPES.values() if d.kind in kinds]
        for kinds in op.operands
    ]
    for picked in itertools.product(*choices):
        dtypes: list[DType] = []
        for d in picked:
            dtypes.append(dtypes[-1] if d is None else d)
        yield tuple(dtypes)


def special(dtype: DType) -> np.ndarray:
    """Values where implementations go wrong."""
    if dtype.is_bool:
        return np.array([False, True])
    if dtype.is_integer:
        info = np.iinfo(dtype.numpy)
        near = [0, 1, 2, 3, 5, 7, 8, 9, 15, 16, 31, 32, 33, 63, 64, 100, 127]
        far = [info.max, info.max - 1, info.max // 2, info.max // 3]
        signed = [-v for v in near[1:]] + [info.min, info.min + 1, info.min // 2]
        return np.array(near + far + (signed if dtype.kind == "i" else []), dtype.numpy)
    info = np.finfo(dtype.numpy)
    one = dtype.numpy.type(1)
    values = [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 7.0, 0.1, 0.3, 1e-3, 1e-10, 1e10, 255.7, 300.0]
    values += [12.5, 88.0, 100.0, 1e5, 1e-30, 1e30, 2.0**31, 2.0**32 + 4096, 2.0**63, 1.9e19, 129.7]
    values += [float(info.max), float(info.tiny), float(info.smallest_subnormal), np.inf, np.nan]
    values += [float(np.nextafter(one, one * 2)), float(np.nextafter(one, one * 0)), 3e-310, 2e-40]
    with np.errstate(all="ignore"):
        positive = np.array(values).astype(dtype.numpy)
    return np.concatenate([positive, -positive])


def random_values(dtype: DType, count: int, seed: str) -> np.ndarray:
    """Values of all magnitudes: random bits of floats (few nans), random integers."""
    rng = np.random.default_rng(zlib.crc32(f"{seed} {dtype}".encode()))
    if dtype.is_bool:
        return rng.integers(0, 2, count).astype(np.bool_)
    if dtype.is_integer:
        info = np.iinfo(dtype.numpy)
        wide = rng.integers(info.min, info.max, count, dtype.numpy, endpoint=True)
        small = rng.integers(0, 20, count).astype(dtype.numpy)
        return np.where(rng.random(count) < 0.5, wide, small)
    bits = rng.integers(0, 256, count * dtype.itemsize, np.uint8).view(dtype.numpy)
    with np.errstate(all="ignore"):
        ordinary = (rng.normal(size=count) * 10.0 ** rng.integers(-3, 4, count)).astype(dtype.numpy)
    return np.where(rng.random(count) < 0.3, bits, ordinary)


def samples(op: ScalarOp, dtypes: tuple[DType, ...]) -> tuple[np.ndarray, ...]:
    """Flat arrays: special values each against each, and random ones."""
    if len(dtypes) == 1:
        grids = [special(dtypes[0])]
    elif len(dtypes) == 2:
        grids = [g.ravel() for g in np.meshgrid(special(dtypes[0]), special(dtypes[1]))]
    else:
        count = 4000
        rng = np.random.default_rng(zlib.crc32(op.name.encode()))
        grids = [rng.choice(special(d), count) for d in dtypes]
    operands = [
        np.concatenate([g, random_values(d, 500, f"{op.name} {i}")])
        for i, (g, d) in enumerate(zip(grids, dtypes))
    ]
    if op.name in PARTIAL:
        return _inside(op, operands)
    return tuple(operands)


def _inside(op: ScalarOp, operands: list[np.ndarray]) -> tuple[np.ndarray, ...]:
    x, y = operands
    if op.name in ("quotient", "residue"):
        keep = y != 0
        if x.dtype.kind == "i":
            keep &= ~((x == np.iinfo(x.dtype).min) & (y == -1))
    else:
        keep = (y >= 0) & (y < x.dtype.itemsize * 8)
    return x[keep], y[keep]


def assert_agrees(op: ScalarOp, got: np.ndarray, operands: tuple[np.ndarray, ...]) -> None:
    """Compare with NumPy: bits, or 6 ULP of difference for elementary functions (each side is
    within a few of the truth). All nans are equal."""
    with np.errstate(all="ignore"):
        want = np.asarray(op.numpy(*operands))
    assert got.dtype == want.dtype, f"{op.name}: {got.dtype}, not {want.dtype}"
    same = got == want
    if want.dtype.kind == "f":
        if op.name not in ZERO_SIGN_OPEN:
            same &= np.signbit(got) == np.signbit(want)
        same |= np.isnan(got) & np.isnan(want)
        if op.name in INEXACT:
            scale = np.fmax(abs(want), abs(operands[0])) if op.name in CANCELLING else abs(want)
            same |= _close(got, want, scale)
    if not same.all():
        i = int(np.flatnonzero(~same)[0])
        at = ", ".join(repr(x[i]) for x in operands)
        raise AssertionError(f"{op.name}({at}) = {got[i]!r}, NumPy has {want[i]!r}")


def _close(got: np.ndarray, want: np.ndarray, scale: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        unit = np.spacing(scale)
        return np.isfinite(want) & (np.abs(got - want) <= 6 * unit)


def conversions() -> Iterator[tuple[DType, DType, np.ndarray]]:
    """Source, target and values for `cast`."""
    for source, target in itertools.product(T.DTYPES.values(), T.DTYPES.values()):
        yield source, target, np.concatenate([special(source), random_values(source, 300, "cast")])


__all__ = ["ROWS", "assert_agrees", "combinations", "conversions", "s", "samples"]
