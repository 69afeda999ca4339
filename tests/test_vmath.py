"""Vector polynomials against true values: errors in ULP over the whole domain, special values."""

from __future__ import annotations

import runpy
from pathlib import Path

import mpmath
import numpy as np
import pytest

from jitnet.kernel import scalars as s
from jitnet.kernel import vmath
from jitnet.kernel.interp import evaluate

LIMIT = 2.0  # ULP; the contract with the user is 4
COUNT = 1200
DTYPES = [np.float32, np.float64]
EXACT = {
    "exp": mpmath.exp,
    "exp2": lambda x: mpmath.power(2, x),
    "expm1": mpmath.expm1,
    "tanh": mpmath.tanh,
    "log": mpmath.log,
    "log1p": mpmath.log1p,
    "log2": lambda x: mpmath.log(x, 2),
    "log10": lambda x: mpmath.log(x, 10),
    "sin": mpmath.sin,
    "cos": mpmath.cos,
}


def arguments(name: str, dtype: type) -> np.ndarray:
    """Dense where the function varies, and all magnitudes."""
    rng = np.random.default_rng(7)
    double = dtype is np.float64
    uniform = lambda low, high: rng.uniform(low, high, COUNT)  # noqa: E731
    magnitudes = 2.0 ** rng.uniform(-1074 if double else -149, 1023 if double else 127, COUNT)
    parts = [uniform(-1, 1), uniform(-0.01, 0.01), uniform(0.5, 2), magnitudes, -magnitudes]
    if name in ("exp", "exp2", "expm1"):
        parts += [uniform(-746, 710) if double else uniform(-104, 89.5)]
        parts += [uniform(-1080, 1025) if double else uniform(-151, 129)]
    if name in ("sin", "cos"):
        limit = (vmath.F64 if double else vmath.F32).circle
        turns = np.floor(rng.uniform(0, limit / 1.5708, COUNT)) * (np.pi / 2)
        parts += [uniform(-7, 7), uniform(-limit, limit), turns, -turns, uniform(0.9, 1.1) * limit]
    if name == "tanh":
        parts += [uniform(-22, 22), uniform(0.55, 0.65)]
    if name == "log1p":
        parts += [-1 + 2.0 ** uniform(-52, 0)]
    with np.errstate(all="ignore"):
        x = np.concatenate(parts).astype(dtype)
    if name in ("log", "log2", "log10"):
        x = x[x > 0]
    return x[x > -1] if name == "log1p" else x[np.isfinite(x)]


def ulp_error(y: float, exact: mpmath.mpf, dtype: type) -> float:
    with np.errstate(all="ignore"):
        nearest = dtype(float(exact))
    if not np.isfinite(nearest) or not np.isfinite(y):
        return 0.0 if y == nearest else np.inf
    unit = mpmath.mpf(float(np.spacing(np.abs(nearest))))
    return float(abs(mpmath.mpf(y) - exact) / unit)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", EXACT)
def test_error_is_below_2_ulp(name, dtype):
    x = arguments(name, dtype)
    y = evaluate(getattr(s, name), x)
    assert y.dtype == dtype
    with mpmath.workprec(1200 if name in ("sin", "cos") else 140):
        errors = [
            ulp_error(b, EXACT[name](mpmath.mpf(a)), dtype) for a, b in zip(x.tolist(), y.tolist())
        ]
    worst = int(np.argmax(errors))
    assert errors[worst] <= LIMIT, f"{name}({x[worst]!r}) = {y[worst]!r}: {errors[worst]} ULP"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", EXACT)
def test_special_values_are_numpys(name, dtype):
    info = np.finfo(dtype)
    values = [0.0, np.inf, np.nan, 1.0, float(info.smallest_subnormal), float(info.max)]
    x = np.array([*values, *(-v for v in values)], dtype)
    y = evaluate(getattr(s, name), x)
    with np.errstate(all="ignore"):
        want = getattr(np, name)(x)
    same = np.isclose(y, want, rtol=4 * float(info.eps), atol=0, equal_nan=True)
    same &= (np.signbit(y) == np.signbit(want)) | np.isnan(want)
    assert same.all(), f"{name}({x[~same]}) = {y[~same]}, not {want[~same]}"


@pytest.mark.parametrize("dtype", DTYPES)
def test_overflow_and_underflow_happen_at_the_right_number(dtype):
    info = np.finfo(dtype)
    with mpmath.workprec(140):
        largest = mpmath.log(mpmath.mpf(float(info.max)) * (1 + mpmath.mpf(float(info.eps)) / 4))
        tiniest = mpmath.log(mpmath.mpf(float(info.smallest_subnormal)) / 2)
    for edge, beyond in ((float(largest), np.inf), (float(tiniest), 0.0)):
        x = dtype(edge)
        outward = dtype(np.copysign(np.inf, edge))
        steps = np.array([x, np.nextafter(x, outward), np.nextafter(x, dtype(0))], dtype)
        y = evaluate(s.exp, steps)
        assert y[1] == beyond
        assert y[2] != beyond


@pytest.mark.parametrize("dtype", DTYPES)
def test_exact_powers(dtype):
    n = np.arange(-149, 128) if dtype is np.float32 else np.arange(-1074, 1024)
    powers = np.ldexp(dtype(1), n.astype(np.int32))
    assert (evaluate(s.exp2, n.astype(dtype)) == powers).all()
    assert (evaluate(s.log2, powers) == n).all()
    tens = np.array([10.0**k for k in range(11 if dtype is np.float32 else 23)], dtype)
    assert (evaluate(s.log10, tens) == np.arange(len(tens))).all()


def test_only_large_arguments_need_the_slow_way(monkeypatch):
    x = np.array([1.0, vmath.F32.circle, np.nan, -2.0 * vmath.F32.circle, np.inf], np.float32)
    asked = []

    def reference(where, x, otherwise):
        asked.append(where)
        return np.where(where, np.sin(x), otherwise)

    monkeypatch.setattr(vmath.RARELY_SIN, "expand", None)
    monkeypatch.setattr(vmath.RARELY_SIN, "numpy", reference)
    evaluate(s.sin, x)
    assert asked[0].tolist() == [False, False, False, True, True]


def test_coefficients_are_those_of_the_fit():
    """The committed numbers are as good as what the fit finds anew."""
    path = Path(__file__).parent.parent / "benchmarks" / "fit_vmath.py"
    script = runpy.run_path(str(path))
    for fit in script["FITS"]:
        committed, best = script["error_of_committed"](fit), script["refit"](fit).error
        assert committed <= 1.02 * best + fit.rounding, fit.name
