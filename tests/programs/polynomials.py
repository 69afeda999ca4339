"""Polynomials and interpolation: Horner, Clenshaw, differences, orthogonal families, quadrature."""

from __future__ import annotations

import math

import numpy as np

from .program import Program


def horner(coefficients, x):
    """A polynomial, highest coefficient first, and its derivative at `x` [n]."""
    p = np.zeros_like(x)
    dp = np.zeros_like(x)
    for c in coefficients:
        dp = dp * x + p
        p = p * x + c
    return p, dp


def clenshaw(coefficients, x):
    """A Chebyshev series of `coefficients` [k] at `x` [n], by Clenshaw's recurrence backwards."""
    b1 = np.zeros_like(x)
    b2 = np.zeros_like(x)
    for k in range(len(coefficients) - 1, 0, -1):
        b1, b2 = coefficients[k] + 2 * x * b1 - b2, b1
    return coefficients[0] + x * b1 - b2


def divided_differences(x, y, at):
    """Newton's interpolation through (`x`, `y`) [n], the differences in place of `y`; values at
    `at` [m]."""
    n = len(x)
    for j in range(1, n):
        y[j:] = (y[j:] - y[j - 1 : -1]) / (x[j:] - x[: n - j])
    value = np.full(at.shape, y[-1])
    for k in range(n - 2, -1, -1):
        value *= at - x[k]
        value += y[k]
    return value


def barycentric(x, y, at):
    """Barycentric interpolation through (`x`, `y`) [n] at `at` [m], exact at the knots."""
    weights = np.ones(len(x))
    for j in range(len(x)):
        for k in range(len(x)):
            if k != j:
                weights[j] /= x[j] - x[k]
    out = np.empty_like(at)
    for i, t in enumerate(at):
        hit = np.flatnonzero(x == t)
        if hit.size:
            out[i] = y[hit[0]]
        else:
            terms = weights / (t - x)
            out[i] = terms @ y / terms.sum()
    return out


def gauss_legendre(n):
    """Knots and weights [n] of Gauss' quadrature: Newton's method on the recurrence."""
    x = np.cos(np.pi * (np.arange(n) + 0.75) / (n + 0.5))
    for _ in range(100):
        p0, p1 = np.ones_like(x), x.copy()
        for k in range(2, n + 1):
            p0, p1 = p1, ((2 * k - 1) * x * p1 - (k - 1) * p0) / k
        slope = n * (x * p1 - p0) / (x * x - 1)
        step = p1 / slope
        x -= step
        if np.abs(step).max() < 1e-15:
            break
    return x, 2 / ((1 - x * x) * slope**2)


def hermite_functions(x, count):
    """The first `count` eigenstates of the oscillator at `x` [n]: [count, n], by recurrence."""
    psi = np.empty((count, x.size))
    psi[0] = np.pi**-0.25 * np.exp(-(x**2) / 2)
    psi[1] = np.sqrt(2.0) * x * psi[0]
    for n in range(2, count):
        psi[n] = np.sqrt(2.0 / n) * x * psi[n - 1] - np.sqrt((n - 1) / n) * psi[n - 2]
    return psi


def romberg(low, high, tolerance, levels):
    """The integral of exp(-x^2) cos(x) by Romberg's table: value, levels used, and the table."""

    def f(x):
        return math.exp(-x * x) * math.cos(x)

    table = np.zeros((levels, levels))
    h = high - low
    table[0, 0] = 0.5 * h * (f(low) + f(high))
    used = levels
    for i in range(1, levels):
        h /= 2
        total = 0.0
        for k in range(1, 2**i, 2):
            total += f(low + k * h)
        table[i, 0] = 0.5 * table[i - 1, 0] + h * total
        for j in range(1, i + 1):
            table[i, j] = table[i, j - 1] + (table[i, j - 1] - table[i - 1, j - 1]) / (4**j - 1)
        if abs(table[i, i] - table[i - 1, i - 1]) < tolerance:
            used = i + 1
            break
    return table[used - 1, used - 1], used, table


def adaptive_quadrature(low, high, tolerance):
    """The integral of sin(1 / x) by Simpson's rule on intervals that are halved until they are good
    enough, the open ones on a stack; also how often the function was evaluated."""
    evaluations = 0

    def f(x):
        nonlocal evaluations
        evaluations += 1
        return math.sin(1 / x)

    def simpson(a, b):
        return (b - a) / 6 * (f(a) + 4 * f(0.5 * (a + b)) + f(b))

    stack = np.zeros((200, 3))
    stack[0] = low, high, simpson(low, high)
    top, total = 1, 0.0
    while top > 0:
        top -= 1
        a, b, whole = stack[top]
        middle = 0.5 * (a + b)
        left, right = simpson(a, middle), simpson(middle, b)
        if abs(left + right - whole) < 15 * tolerance * (b - a) or top > 190:
            total += left + right + (left + right - whole) / 15
        else:
            stack[top] = a, middle, left
            stack[top + 1] = middle, b, right
            top += 2
    return total, evaluations


def bessel_series(x, terms):
    """The Bessel function J0 at `x` [n]: the series near zero, the asymptotic form far from it."""
    small = np.abs(x) < 8.0
    out = np.empty_like(x)
    term = np.ones(np.count_nonzero(small))
    total = term.copy()
    quarter = -((x[small] / 2) ** 2)
    for k in range(1, terms):
        term = term * quarter / (k * k)
        total += term
    out[small] = total
    far = np.abs(x[~small])
    out[~small] = np.sqrt(2 / (np.pi * far)) * (
        np.cos(far - np.pi / 4) + np.sin(far - np.pi / 4) / (8 * far)
    )
    return out


def durand_kerner(coefficients, limit, tolerance):
    """All roots [n] (complex128) of a monic polynomial `coefficients` [n + 1] at once."""
    n = len(coefficients) - 1
    roots = (0.4 + 0.9j) ** np.arange(n)
    for iteration in range(limit):
        biggest = 0.0
        for i in range(n):
            value = 0j
            for c in coefficients:
                value = value * roots[i] + c
            for j in range(n):
                if j != i:
                    value /= roots[i] - roots[j]
            roots[i] -= value
            biggest = max(biggest, abs(value))
        if biggest < tolerance:
            return roots, iteration
    return roots, limit


def de_casteljau(points, t):
    """A Bezier curve of control `points` [k, 2] at `t` [n]: [n, 2], by repeated halves."""
    curve = np.empty((len(t), 2))
    for i in range(len(t)):
        work = points.copy()
        for level in range(len(points) - 1, 0, -1):
            work[:level] = (1 - t[i]) * work[:level] + t[i] * work[1 : level + 1]
        curve[i] = work[0]
    return curve


# -- arguments -------------------------------------------------------------------------------------


def _series(rng, k, n):
    return rng.standard_normal(k), rng.uniform(-1, 1, n)


def _knots(rng, k, n):
    x = np.cos(np.pi * np.arange(k) / (k - 1))
    at = rng.uniform(-1, 1, n)
    at[0] = x[1]
    return x, np.sin(3 * x), at


def _points(rng, n, count):
    return rng.uniform(-6, 6, n), count


def _arguments(rng, n, terms):
    return rng.uniform(-20, 20, n), terms


def _monic(rng, n):
    return np.poly(rng.standard_normal(n)), 100, 1e-9


def _control(rng, k, n):
    return rng.random((k, 2)), np.linspace(0, 1, n)


PROGRAMS = (
    Program(
        "horner",
        horner,
        _series,
        {"test": {"k": 6, "n": 20}, "bench": {"k": 30, "n": 200_000}},
        numba=True,
    ),
    Program(
        "clenshaw",
        clenshaw,
        _series,
        {"test": {"k": 6, "n": 20}, "bench": {"k": 30, "n": 200_000}},
        numba=True,
    ),
    Program(
        "divided_differences",
        divided_differences,
        _knots,
        {"test": {"k": 7, "n": 20}, "bench": {"k": 60, "n": 200_000}},
        numba=True,
        tolerance=1e-8,
    ),
    Program(
        "barycentric",
        barycentric,
        _knots,
        {"test": {"k": 7, "n": 20}, "bench": {"k": 50, "n": 4000}},
        numba=True,
        tolerance=1e-9,
    ),
    Program(
        "gauss_legendre",
        gauss_legendre,
        lambda rng, n: (n,),
        {"test": {"n": 9}, "bench": {"n": 1000}},
        numba=True,
        tolerance=1e-10,
    ),
    Program(
        "hermite_functions",
        hermite_functions,
        _points,
        {"test": {"n": 15, "count": 6}, "bench": {"n": 20_000, "count": 100}},
        numba=True,
    ),
    Program(
        "romberg",
        romberg,
        lambda rng, levels: (0.0, 6.0, 0.0, levels),
        {"test": {"levels": 6}, "bench": {"levels": 17}},
        numba=True,
    ),
    Program(
        "adaptive_quadrature",
        adaptive_quadrature,
        lambda rng, digits: (0.02, 1.0, 10.0**-digits),
        {"test": {"digits": 3}, "bench": {"digits": 9}},
        numba=True,
    ),
    Program(
        "bessel_series",
        bessel_series,
        _arguments,
        {"test": {"n": 30, "terms": 25}, "bench": {"n": 100_000, "terms": 40}},
        numba=True,
        tolerance=1e-11,
    ),
    Program(
        "durand_kerner",
        durand_kerner,
        _monic,
        {"test": {"n": 5}, "bench": {"n": 24}},
        numba=True,
        tolerance=1e-6,
    ),
    Program(
        "de_casteljau",
        de_casteljau,
        _control,
        {"test": {"k": 5, "n": 9}, "bench": {"k": 16, "n": 1500}},
        numba=True,
    ),
)
