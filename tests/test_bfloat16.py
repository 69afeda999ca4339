"""bfloat16, as ml_dtypes adds it to NumPy: every value, promotion, conversions, results.

A product with a Python float is float32 there, since NumPy does not know how to make its numbers
weak; what NumPy's own functions do with a dtype that they do not know, is done here too.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import jitnet
from jitnet.interp import evaluate
from jitnet.ir import Literal
from jitnet.ir import types as T

ml_dtypes = pytest.importorskip("ml_dtypes", reason="bfloat16 is of the package ml_dtypes")
BF16 = ml_dtypes.bfloat16

ALL = np.arange(65536, dtype=np.uint16).view(BF16)
"""Every bfloat16."""

EXACT = [
    *(np.absolute, np.negative, np.positive, np.sign, np.sqrt, np.square, np.reciprocal, np.rint),
    *(np.floor, np.ceil, np.trunc, np.fabs, np.isnan, np.isinf, np.isfinite, np.signbit),
    *(np.deg2rad, np.rad2deg, np.spacing, np.frexp, np.modf, np.logical_not, np.conjugate),
]
ELEMENTARY = [
    *(np.exp, np.exp2, np.expm1, np.log, np.log2, np.log10, np.log1p, np.cbrt, np.sin, np.cos),
    *(np.tan, np.arcsin, np.arccos, np.arctan, np.sinh, np.cosh, np.tanh, np.arcsinh, np.arccosh),
    np.arctanh,
]
BINARY = [
    *(np.add, np.subtract, np.multiply, np.divide, np.floor_divide, np.remainder, np.fmod),
    *(np.divmod, np.maximum, np.minimum, np.fmax, np.fmin, np.copysign, np.nextafter),
    *(np.heaviside, np.equal, np.not_equal, np.less, np.less_equal, np.greater, np.greater_equal),
    *(np.logical_and, np.logical_or, np.logical_xor),
]
ELEMENTARY_OF_TWO = [np.arctan2, np.hypot, np.power, np.logaddexp, np.logaddexp2]

SPECIAL = np.array(
    [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 3e38, -3e38, 1e-40, -1e-40, 0.5, 2.5, 3], BF16
)


def all_of(*ufuncs: np.ufunc) -> Callable[..., Any]:
    return lambda *args: {u.__name__: u(*args) for u in ufuncs}


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(scale=2.0, size=shape).astype(BF16)


def check(fn: Callable[..., Any], *args: Any, ulp: int = 0) -> None:
    """As `oracle.check`; bfloat16 may be so many steps off."""
    with np.errstate(all="ignore"):
        expected = fn(*args)
    _compare(jitnet.jit(fn)(*args), expected, ulp)


def _compare(got: Any, expected: Any, ulp: int) -> None:
    assert type(got) is type(expected), f"{got!r} against {expected!r}"
    if isinstance(expected, dict):
        got, expected = tuple(got.values()), tuple(expected.values())
    if isinstance(expected, (tuple, list)):
        for a, b in zip(got, expected, strict=True):
            _compare(a, b, ulp)
        return
    a, b = np.atleast_1d(got), np.atleast_1d(expected)
    assert a.dtype == b.dtype
    assert a.shape == b.shape
    same = _bits(a) == _bits(b)
    if b.dtype == BF16:
        same |= np.abs(_ordered(a) - _ordered(b)) <= ulp
    with np.errstate(invalid="ignore"):
        assert np.all(same | ((a != a) & (b != b))), f"{a[~same][:3]} against {b[~same][:3]}"


def _bits(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(x).view(np.uint8).reshape(*x.shape, -1).sum(-1, dtype=np.int64) + (
        np.ascontiguousarray(x).view(f"u{x.itemsize}").astype(np.int64)
        if x.itemsize in (1, 2, 4, 8)
        else 0
    )


def _ordered(x: np.ndarray) -> np.ndarray:
    bits = np.ascontiguousarray(x).view(np.int16).astype(np.int64)
    return np.where(bits < 0, -32768 - bits - 1, bits)


# -- every value -----------------------------------------------------------------------------------


def test_unary_ufuncs_of_all_values() -> None:
    check(all_of(*EXACT), ALL)


def test_elementary_functions_of_all_values() -> None:
    check(all_of(*ELEMENTARY), ALL, ulp=1)


def test_binary_ufuncs() -> None:
    x = np.concatenate([ALL, np.repeat(SPECIAL, len(SPECIAL))])
    y = np.concatenate([np.random.default_rng(0).permutation(ALL), np.tile(SPECIAL, len(SPECIAL))])
    check(all_of(*BINARY), x, y)
    check(all_of(*ELEMENTARY_OF_TWO), x, y, ulp=1)


def test_conversions() -> None:
    check(lambda x: [x.astype(k) for k in "?efdF"], ALL)
    with np.errstate(invalid="ignore"):
        every = ALL.astype(np.float64)
    small = np.clip(np.nan_to_num(every), 0, 127)
    check(lambda x: [x.astype(k) for k in "bhilBHIL"], small.astype(BF16))
    bits = np.random.default_rng(0).integers(0, 2**32, 100001, np.uint32).view(np.float32)
    ordered = np.sort(every[np.isfinite(every)])
    middles = (ordered[:-1] + ordered[1:]) / 2
    near = np.concatenate([middles, middles * (1 + 1e-9), middles * (1 - 1e-9)])
    to_bf16 = lambda x: x.astype(BF16)  # noqa: E731
    check(to_bf16, bits)
    check(to_bf16, near)
    check(to_bf16, near.astype(np.float32))
    check(to_bf16, np.arange(65536, dtype=np.uint16).view(np.float16))
    check(lambda n: [n.astype(k).astype(BF16) for k in "bhilBHIL?"], np.arange(-70000, 70000, 7))


# -- what NumPy and ml_dtypes make of it -----------------------------------------------------------


def test_promotion() -> None:
    x = normal(30)
    check(lambda x: (x + 1, x * 2.5, x - True, x**2, x > 1, x == 0.5, x * 1j), x)
    for char in "?bBhilefd":
        y = (np.arange(30) % 5 + 1).astype(char)
        check(lambda x, y: (x + y, y * x, x / y), x, y)
    check(lambda x: (x[0] + 1.0, x[0] + 1, x[0] * x[1], -x[2], float(x[0]), x[3] > 1), x)
    check(lambda h, x: (h * x, h * h, h + 1), BF16(1.5), x)


def test_functions() -> None:
    x = normal(6, 9)
    check(lambda x: (x.max(), x.min(1), x.argmax(), x.argmin(0), x.any(), np.cumsum(x, 1)), x)
    check(lambda x: (np.sort(x, 1), np.argsort(x, 0), np.unique(x), np.median(x, 1)), x)
    check(lambda x: (np.where(x > 0, x, BF16(0)), np.clip(x, -1, 1), x[x > 0], x.T.copy()), x)
    check(lambda x: (np.concatenate([x, x]), np.stack([x[0], x[1]]), np.flip(x), np.diff(x)), x)
    check(lambda x: (np.searchsorted(np.sort(x[0]), x[1]), np.round(x.astype(np.float32), 1)), x)
    check(lambda: (np.zeros(3, BF16), np.ones((2, 2), BF16), np.linspace(0, 1, 5, dtype=BF16)))


def test_sums_are_rounded_once() -> None:
    x = normal(40, 50)
    found = jitnet.jit(lambda x: (x.sum(), x.sum(axis=0), np.prod(x[:2, :3])))(x)
    wide = x.astype(np.float32)
    _compare(found, (wide.sum().astype(BF16), wide.sum(axis=0).astype(BF16), found[2]), 0)
    check(lambda x: x @ x.T, normal(2, 3))
    assert jitnet.jit(lambda x: x.mean())(np.full(5000, 60.0, BF16)) == BF16(60.0)


def test_mutation_and_loops() -> None:
    def step(u: Any, h: Any) -> Any:
        for _ in range(20):
            u[1:-1] = (u[:-2] + u[2:]) / h
        u[0] += u[1]
        return u

    u, h = normal(30), BF16(2)
    ours, expected = u.copy(), u.copy()
    _compare(jitnet.jit(step)(ours, h), step(expected, h), 0)
    _compare(ours, expected, 0)


def test_results_of_all_sizes() -> None:
    """Large ones come from a pool, those of computed extents from the program."""
    x = normal(300000)
    check(lambda x: (x + x, x[x > 1]), x)
    f = jitnet.jit(lambda x, h: (x * h, h * h))
    x, h = normal(10), BF16(1.5)
    for _ in range(80):
        _compare(f(x, h), (x * h, h * h), 0)
    assert f.cache_info().misses == 1


def test_known_numbers() -> None:
    """Classes and constants of the package, where data decides and where it does not."""

    def joined(x: Any) -> Any:
        s = BF16(0)
        if x[0] > 0:
            s = x[1] * BF16(x[2] * 1.5)
        return s

    check(joined, np.array([1.0, 2.5, 3.0], BF16))
    check(joined, np.array([-1.0, 2.5, 3.0], BF16))
    weights = normal(3, seed=4)
    check(lambda x: x * weights + BF16(2.5), normal(3))
    slope = jitnet.grad(lambda s: s * s * s)(BF16(2))
    assert type(slope) is BF16
    assert slope == 12


def test_text_and_interpreter() -> None:
    f = jitnet.trace(lambda x: np.exp(x) * x + BF16(0.1))(normal(5))
    assert jitnet.ir.parse(str(f)) == f
    _compare(evaluate(f, [normal(5)])[0], np.exp(normal(5)) * normal(5) + BF16(0.1), 0)
    for value in (1.5, np.nan, -0.0, 1e-40, np.inf):
        literal = Literal(value, T.bfloat16())
        with jitnet.ir.Builder("f") as b:
            g = b.build(jitnet.ops.mul(b.param(T.scalar(T.bfloat16()), "x"), literal))
        assert jitnet.ir.parse(str(g)) == g


def test_printing(capsys: pytest.CaptureFixture[str]) -> None:
    def shown(x: Any) -> None:
        print(x[:3], x[0], f"{x[1]}")

    shown(normal(5))
    expected = capsys.readouterr().out
    jitnet.jit(shown)(normal(5))
    assert capsys.readouterr().out == expected


def test_verify() -> None:
    jitnet.jit(lambda x: (np.exp(x) / np.exp(x).sum()).cumsum(), verify=True)(normal(20))


def test_who_has_none_imports_none() -> None:
    program = """
import sys
import numpy as np, jitnet
jitnet.jit(lambda x: x * 2 + x.sum())(np.ones(3, np.float16))
assert "ml_dtypes" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)
