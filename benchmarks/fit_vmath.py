"""Finds the coefficients of `jitnet/kernel/vmath.py` again, and says how good the committed are.

    python benchmarks/fit_vmath.py

Each is a polynomial (or a ratio of two) with the least largest weighted error on an interval. The
fit is Lawson's: least squares at Chebyshev points, again and again with weights that grow where the
error is large, in extended precision. Weights turn the error of the fitted tail into the relative
error of the whole function.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import mpmath as mp
import numpy as np

from jitnet.kernel.vmath import F32, F64

POINTS, ROUNDS = 400, 60


@dataclass(frozen=True)
class Fit:
    """One set of coefficients.

    Attributes:
        function: what is approximated, of an mpmath number.
        weight: by which an error at x counts.
        committed: numerator and denominator (lowest power first).
        rounding: error that rounding the coefficients to their dtype may add.
    """

    name: str
    function: Callable[[Any], Any]
    weight: Callable[[float], float]
    interval: tuple[float, float]
    committed: tuple[tuple[float, ...], tuple[float, ...]]
    rounding: float


@dataclass(frozen=True)
class Result:
    numerator: list[float]
    denominator: list[float]
    error: float


def _tail(f: Callable[[Any], Any], at_zero: Any) -> Callable[[Any], Any]:
    return lambda x: f(x) if x else at_zero


def _of_sqrt(f: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The same function of z = x**2."""
    return lambda z: f(mp.sqrt(z))


_HALF_LN2 = math.log(2) / 2 * 1.0005
_LOG = (math.sqrt(0.5) - 1.0, math.sqrt(2.0) - 1.0)
_ATANH = (math.sqrt(2.0) - 1.0) / (math.sqrt(2.0) + 1.0)
_CIRCLE = {F32: math.pi / 4 * 1.02, F64: math.pi / 4 * 1.001}  # q is not always the nearest

exp_tail = _tail(lambda r: (mp.expm1(r) - r) / r**2, mp.mpf(1) / 2)
exp2_tail = _tail(lambda r: (mp.power(2, r) - 1 - r * mp.log(2)) / r**2, mp.log(2) ** 2 / 2)
log_tail = _tail(lambda f: (mp.log1p(f) - f + f * f / 2) / f**3, mp.mpf(1) / 3)
atanh_tail = _of_sqrt(lambda t: (2 * mp.atanh(t) - 2 * t) / t**3)
sin_tail = _of_sqrt(lambda r: (mp.sin(r) - r) / r**3)
cos_tail = _of_sqrt(lambda r: (mp.cos(r) - 1 + r * r / 2) / r**4)
tanh_tail = _of_sqrt(lambda x: (mp.tanh(x) - x) / x**3)


def _fits() -> list[Fit]:
    fits = []
    for name, c, rounding in (("f32", F32, 5e-9), ("f64", F64, 5e-18)):
        one = (1.0,)
        cases: list[tuple[str, Any, Any, tuple[float, float], Any, Any]] = [
            ("exp", exp_tail, lambda r: r * r / math.exp(r), (-_HALF_LN2, _HALF_LN2), c.exp, one),
            ("exp2", exp2_tail, lambda r: r * r / 2**r, (-0.5002, 0.5002), c.exp2, one),
            ("sin", sin_tail, lambda z: z, (1e-9, _CIRCLE[c] ** 2), c.sin, one),
            ("cos", cos_tail, lambda z: z * z, (1e-6, _CIRCLE[c] ** 2), c.cos, one),
            ("tanh", tanh_tail, lambda z: z, (1e-9, 0.62**2), c.tanh, c.tanh_over),
        ]
        if c is F32:
            weight = lambda f: abs(f**3 / math.log1p(f)) if f else 0.0  # noqa: E731
            cases.append(("log", log_tail, weight, _LOG, c.log, one))
        else:
            cases.append(("log", atanh_tail, lambda z: z, (1e-9, _ATANH**2), c.log, one))
        fits += [
            Fit(f"{case} {name}", f, weight, interval, (tuple(top), tuple(bottom)), rounding)
            for case, f, weight, interval, top, bottom in cases
        ]
    return fits


FITS = _fits()


def _samples(fit: Fit) -> tuple[Any, Any, Any]:
    """Chebyshev points, values and weights, in extended precision."""
    a, b = fit.interval
    x = (a + b) / 2 + (b - a) / 2 * np.cos(np.pi * (np.arange(POINTS) + 0.5) / POINTS)
    with mp.workdps(40):
        f = [np.longdouble(mp.nstr(fit.function(mp.mpf(float(v))), 30)) for v in x]
    return x.astype(np.longdouble), np.array(f), np.array([fit.weight(float(v)) for v in x])


def _powers(x: Any, coefficients: Any) -> Any:
    return sum(c * x**k for k, c in enumerate(coefficients))


def error_of_committed(fit: Fit) -> float:
    """The largest weighted error of the numbers in `vmath`."""
    x, f, weight = _samples(fit)
    top, bottom = fit.committed
    return float(np.max(np.abs((_powers(x, top) / _powers(x, bottom) - f) * weight)))


def refit(fit: Fit) -> Result:
    """As many coefficients as the committed ones, found anew."""
    x, f, weight = _samples(fit)
    tops, bottoms = (len(part) for part in fit.committed)
    lawson = np.full(POINTS, 1.0 / POINTS)
    below = np.ones(POINTS, np.longdouble)
    best = Result([], [], math.inf)
    columns = [x**k for k in range(tops)] + [-f * x**k for k in range(1, bottoms)]
    basis = np.stack(columns, 1)
    for _ in range(ROUNDS):
        scale = np.sqrt(lawson) * weight / below
        c = _least_squares(basis * scale[:, None], f * scale)
        numerator, denominator = c[:tops], np.concatenate([[np.longdouble(1)], c[tops:]])
        below = _powers(x, denominator) * np.ones(POINTS, np.longdouble)
        error = np.abs((_powers(x, numerator) / below - f) * weight)
        largest = float(error.max())
        if largest < best.error and (below > 0).all():
            best = Result([float(v) for v in numerator], [float(v) for v in denominator], largest)
        lawson = lawson * np.maximum((error / error.max()).astype(float), 1e-6)
        lawson /= lawson.sum()
    return best


def _least_squares(A: Any, y: Any) -> Any:
    """By Gram-Schmidt done twice, because LAPACK has no extended precision."""
    Q = A.copy()
    n = A.shape[1]
    R = np.eye(n, dtype=np.longdouble)
    for _ in range(2):
        step = np.zeros((n, n), np.longdouble)
        for j in range(n):
            for i in range(j):
                step[i, j] = (Q[:, i] * Q[:, j]).sum()
                Q[:, j] -= step[i, j] * Q[:, i]
            step[j, j] = np.sqrt((Q[:, j] ** 2).sum())
            Q[:, j] /= step[j, j]
        R = step @ R
    b = Q.T @ y
    c = np.zeros(n, np.longdouble)
    for j in reversed(range(n)):
        c[j] = (b[j] - (R[j, j + 1 :] * c[j + 1 :]).sum()) / R[j, j]
    return c


def main() -> None:
    for fit in FITS:
        found = refit(fit)
        print(f"{fit.name}: committed {error_of_committed(fit):.3g}, fitted {found.error:.3g}")
        print("   ", found.numerator, found.denominator if len(found.denominator) > 1 else "")


if __name__ == "__main__":
    main()
