"""Functions of one op, made from its samples: shared by the tests that walk the registry."""

from __future__ import annotations

from typing import Any

import numpy as np

from jitnet.ir import ArrayType, Builder, Function, Literal
from jitnet.ir.types import from_numpy
from jitnet.ops.primitive import Primitive, Sample


def function_of(
    op: Primitive, sample: Sample, literals: bool = False
) -> tuple[Function, list[Any]]:
    """A Function of one equation, and its arguments. With `literals`, the i64 scalars among the
    operands (extents, starts) are Literals, so that dims are static."""
    args: list[Any] = []
    with Builder(op.name) as b:
        operands = []
        for x in sample.operands:
            dtype = from_numpy(x.dtype)
            if literals and x.ndim == 0 and x.dtype == np.int64:
                operands.append(Literal(x, dtype))
            else:
                operands.append(b.param(ArrayType(dtype, x.shape)))
                args.append(x)
        results = b.bind(op, operands, sample.attrs)
    return b.build(*results), args


def assert_same(actual: Any, expected: Any, ulps: int | None = None) -> None:
    """Equal dtype, shape and bits, but for the payload and sign of NaN; or up to `ulps` apart,
    where 0 equals -0."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.dtype == expected.dtype
    assert actual.shape == expected.shape
    if actual.dtype.kind != "f":
        np.testing.assert_array_equal(actual, expected)
        return
    nan = np.isnan(expected)
    np.testing.assert_array_equal(np.isnan(actual), nan)
    a, b = actual[~nan], expected[~nan]
    if ulps is not None:
        with np.errstate(all="ignore"):
            close = np.abs(a - b) <= ulps * np.spacing(np.maximum(np.abs(a), np.abs(b)))
        bad = ~(close | (a == b))
        assert not bad.any(), f"{a[bad]} for {b[bad]}"
    else:
        unsigned = f"u{a.dtype.itemsize}"
        np.testing.assert_array_equal(a.view(unsigned), b.view(unsigned))
