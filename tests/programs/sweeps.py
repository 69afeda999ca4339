"""Sweeps along an axis: recurrences in which each row, column or sample needs the one before.

Tridiagonal systems (one of them, and many side by side), alternating directions, the vertical
advection of weather models, recursive filters of signals and images, and splines.
"""

from __future__ import annotations

import numpy as np

from .program import Program


def thomas(lower, diagonal, upper, rhs):
    """Solve one tridiagonal system of `n` unknowns; all arguments [n]. Gives x [n]."""
    n = len(rhs)
    c = np.zeros(n)
    d = np.zeros(n)
    c[0] = upper[0] / diagonal[0]
    d[0] = rhs[0] / diagonal[0]
    for i in range(1, n):
        pivot = diagonal[i] - lower[i] * c[i - 1]
        c[i] = upper[i] / pivot
        d[i] = (rhs[i] - lower[i] * d[i - 1]) / pivot
    x = np.zeros(n)
    x[-1] = d[-1]
    for i in range(n - 2, -1, -1):
        x[i] = d[i] - c[i] * x[i + 1]
    return x


def implicit_heat(u, r, steps):
    """Crank-Nicolson along the rows' axis of `u` [n, columns], all columns at once: the matrix is
    factored once, then each step is a sweep down and a sweep up."""
    n = u.shape[0]
    ratio = np.empty(n)
    pivot = np.empty(n)
    pivot[0] = 1 + r
    ratio[0] = -0.5 * r / pivot[0]
    for i in range(1, n):
        pivot[i] = 1 + r + 0.5 * r * ratio[i - 1]
        ratio[i] = -0.5 * r / pivot[i]
    for _ in range(steps):
        rhs = (1 - r) * u
        rhs[1:] += 0.5 * r * u[:-1]
        rhs[:-1] += 0.5 * r * u[1:]
        rhs[0] /= pivot[0]
        for i in range(1, n):
            rhs[i] = (rhs[i] + 0.5 * r * rhs[i - 1]) / pivot[i]
        for i in reversed(range(n - 1)):
            rhs[i] -= ratio[i] * rhs[i + 1]
        u[...] = rhs
    return u


def adi(n, steps):
    """Alternating-direction implicit diffusion on a square of `n` x `n` points."""
    u = np.fromfunction(lambda i, j: (i + n - j) / n, (n, n))
    v = np.zeros((n, n))
    p = np.zeros((n, n))
    q = np.zeros((n, n))
    dx, dt = 1.0 / n, 1.0 / steps
    mul1, mul2 = 2.0 * dt / dx**2, dt / dx**2
    a = c = -mul1 / 2
    b = 1.0 + mul1
    d = f = -mul2 / 2
    e = 1.0 + mul2
    for _ in range(steps):
        v[0, 1:-1] = 1.0
        p[1:-1, 0] = 0.0
        q[1:-1, 0] = v[0, 1:-1]
        for j in range(1, n - 1):
            p[1:-1, j] = -c / (a * p[1:-1, j - 1] + b)
            q[1:-1, j] = (
                -d * u[j, :-2] + (1.0 + 2.0 * d) * u[j, 1:-1] - f * u[j, 2:] - a * q[1:-1, j - 1]
            ) / (a * p[1:-1, j - 1] + b)
        v[-1, 1:-1] = 1.0
        for j in range(n - 2, 0, -1):
            v[j, 1:-1] = p[1:-1, j] * v[j + 1, 1:-1] + q[1:-1, j]
        u[1:-1, 0] = 1.0
        p[1:-1, 0] = 0.0
        q[1:-1, 0] = u[1:-1, 0]
        for j in range(1, n - 1):
            p[1:-1, j] = -f / (d * p[1:-1, j - 1] + e)
            q[1:-1, j] = (
                -a * v[:-2, j] + (1.0 + 2.0 * a) * v[1:-1, j] - c * v[2:, j] - d * q[1:-1, j - 1]
            ) / (d * p[1:-1, j - 1] + e)
        u[1:-1, -1] = 1.0
        for j in range(n - 2, 0, -1):
            u[1:-1, j] = p[1:-1, j] * u[1:-1, j + 1] + q[1:-1, j]
    return u


def vertical_advection(w, field, tendency, dz, dt):
    """Implicit vertical advection of `field` [levels, rows, columns] by `w` of the same shape plus
    one level; a tridiagonal system in every column of air. `field` is advanced in place."""
    levels = field.shape[0]
    ccol = np.empty_like(field)
    dcol = np.empty_like(field)
    for k in range(levels):
        above = 0.25 * w[k + 1] * dt / dz if k < levels - 1 else np.zeros_like(w[k])
        below = -0.25 * w[k] * dt / dz if k > 0 else np.zeros_like(w[k])
        rhs = field[k] + dt * tendency[k]
        if k > 0:
            rhs -= below * (field[k - 1] - field[k])
        if k < levels - 1:
            rhs -= above * (field[k + 1] - field[k])
        diagonal = 1.0 - above - below
        if k == 0:
            ccol[k] = above / diagonal
            dcol[k] = rhs / diagonal
        else:
            divided = 1.0 / (diagonal - ccol[k - 1] * below)
            ccol[k] = above * divided
            dcol[k] = (rhs - dcol[k - 1] * below) * divided
    field[-1] = dcol[-1]
    for k in range(levels - 2, -1, -1):
        field[k] = dcol[k] - ccol[k] * field[k + 1]


def deriche(image, alpha):
    """Deriche's recursive smoothing of `image` [width, height]: along rows, then along columns,
    forwards and backwards."""
    k = (1 - np.exp(-alpha)) ** 2 / (1 + 2 * alpha * np.exp(-alpha) - np.exp(2 * alpha))
    a1 = a5 = k
    a2 = a6 = k * np.exp(-alpha) * (alpha - 1)
    a3 = a7 = k * np.exp(-alpha) * (alpha + 1)
    a4 = a8 = -k * np.exp(-2 * alpha)
    b1 = 2.0 ** (-alpha)
    b2 = -np.exp(-2 * alpha)

    y1 = np.empty_like(image)
    y1[:, 0] = a1 * image[:, 0]
    y1[:, 1] = a1 * image[:, 1] + a2 * image[:, 0] + b1 * y1[:, 0]
    for j in range(2, image.shape[1]):
        y1[:, j] = a1 * image[:, j] + a2 * image[:, j - 1] + b1 * y1[:, j - 1] + b2 * y1[:, j - 2]
    y2 = np.empty_like(image)
    y2[:, -1] = 0.0
    y2[:, -2] = a3 * image[:, -1]
    for j in range(image.shape[1] - 3, -1, -1):
        y2[:, j] = (
            a3 * image[:, j + 1] + a4 * image[:, j + 2] + b1 * y2[:, j + 1] + b2 * y2[:, j + 2]
        )
    rows = y1 + y2

    y1[0, :] = a5 * rows[0, :]
    y1[1, :] = a5 * rows[1, :] + a6 * rows[0, :] + b1 * y1[0, :]
    for i in range(2, image.shape[0]):
        y1[i, :] = a5 * rows[i, :] + a6 * rows[i - 1, :] + b1 * y1[i - 1, :] + b2 * y1[i - 2, :]
    y2[-1, :] = 0.0
    y2[-2, :] = a7 * rows[-1, :]
    for i in range(image.shape[0] - 3, -1, -1):
        y2[i, :] = a7 * rows[i + 1, :] + a8 * rows[i + 2, :] + b1 * y2[i + 1, :] + b2 * y2[i + 2, :]
    return y1 + y2


def accumulate(into, values, decay):
    """Add `values` [n] to `into` [n], the last `decay` of it kept; the two may overlap, as in
    running sums, where each sees what the one before has stored."""
    for i in range(len(into)):
        into[i] = into[i] + decay * values[i]
    into[: len(into) // 2] -= values[len(into) // 2 :][: len(into) // 2].mean()


def exponential_average(x, alpha):
    """The exponential moving average of a signal `x` [n], and of its squared deviation."""
    mean = np.empty_like(x)
    variance = np.empty_like(x)
    m = x[0]
    s = 0.0
    for i, value in enumerate(x):
        delta = value - m
        m += alpha * delta
        s = (1 - alpha) * (s + alpha * delta**2)
        mean[i] = m
        variance[i] = s
    return mean, variance


def biquads(signals, sections):
    """Second-order sections, one after the other, over all `signals` [channels, n] at once;
    `sections` [k, 6] in the order b0, b1, b2, a0, a1, a2. Direct form II transposed."""
    filtered = signals.copy()
    for b0, b1, b2, a0, a1, a2 in sections:
        z1 = np.zeros(signals.shape[0])
        z2 = np.zeros(signals.shape[0])
        for t in range(signals.shape[1]):
            x = filtered[:, t].copy()
            y = (b0 * x + z1) / a0
            z1 = b1 * x - a1 * y + z2
            z2 = b2 * x - a2 * y
            filtered[:, t] = y
    return filtered


def spline(x, y, at):
    """A natural cubic spline through (`x`, `y`) [n], evaluated at the points `at` [m]: second
    derivatives by a tridiagonal sweep, then a search for the interval of each point."""
    n = x.size
    second = np.zeros(n)
    work = np.zeros(n)
    for i in range(1, n - 1):
        fraction = (x[i] - x[i - 1]) / (x[i + 1] - x[i - 1])
        p = fraction * second[i - 1] + 2.0
        second[i] = (fraction - 1.0) / p
        jump = (y[i + 1] - y[i]) / (x[i + 1] - x[i]) - (y[i] - y[i - 1]) / (x[i] - x[i - 1])
        work[i] = (6.0 * jump / (x[i + 1] - x[i - 1]) - fraction * work[i - 1]) / p
    for k in range(n - 2, -1, -1):
        second[k] = second[k] * second[k + 1] + work[k]
    high = np.clip(np.searchsorted(x, at), 1, n - 1)
    low = high - 1
    h = x[high] - x[low]
    a = (x[high] - at) / h
    b = (at - x[low]) / h
    curved = (a**3 - a) * second[low] + (b**3 - b) * second[high]
    return a * y[low] + b * y[high] + curved * h**2 / 6.0


# -- arguments -------------------------------------------------------------------------------------


def _tridiagonal(rng, n):
    return rng.random(n), 3 + rng.random(n), rng.random(n), rng.standard_normal(n)


def _columns(rng, n, columns, steps):
    return rng.random((n, columns)), 0.7, steps


def _air(rng, levels, n):
    w = rng.standard_normal((levels + 1, n, n))
    field = rng.standard_normal((levels, n, n))
    return w, field, 0.1 * rng.standard_normal((levels, n, n)), 10.0, 0.5


def _image(rng, m, n):
    return rng.random((m, n)), 0.25


def _shifted(rng, n):
    x = rng.standard_normal(n + 1)
    return x[1:], x[:-1], 0.5


def _signal(rng, n):
    return np.cumsum(rng.standard_normal(n)), 0.05


def _channels(rng, channels, n):
    sections = np.array([[0.2, 0.4, 0.2, 1.0, -0.3, 0.1], [1.0, -0.5, 0.1, 1.1, 0.2, -0.1]])
    return rng.standard_normal((channels, n)), sections


def _knots(rng, n, m):
    x = np.cumsum(0.1 + rng.random(n))
    return x, np.sin(x), rng.uniform(x[0], x[-1], m)


PROGRAMS = (
    Program(
        "thomas", thomas, _tridiagonal, {"test": {"n": 25}, "bench": {"n": 40_000}}, numba=True
    ),
    Program(
        "implicit_heat",
        implicit_heat,
        _columns,
        {
            "test": {"n": 9, "columns": 5, "steps": 3},
            "bench": {"n": 150, "columns": 200, "steps": 40},
        },
    ),
    Program(
        "adi",
        adi,
        lambda rng, n, steps: (n, steps),
        {"test": {"n": 8, "steps": 3}, "bench": {"n": 120, "steps": 40}},
    ),
    Program(
        "vertical_advection",
        vertical_advection,
        _air,
        {"test": {"levels": 6, "n": 5}, "bench": {"levels": 60, "n": 64}},
        numba=True,
    ),
    Program(
        "deriche",
        deriche,
        _image,
        {"test": {"m": 9, "n": 12}, "bench": {"m": 512, "n": 600}},
        numba=True,
    ),
    Program(
        "accumulate",
        accumulate,
        _shifted,
        {"test": {"n": 20}, "bench": {"n": 100_000}},
        numba=True,
    ),
    Program(
        "exponential_average",
        exponential_average,
        _signal,
        {"test": {"n": 50}, "bench": {"n": 100_000}},
        numba=True,
    ),
    Program(
        "biquads",
        biquads,
        _channels,
        {"test": {"channels": 3, "n": 20}, "bench": {"channels": 16, "n": 5000}},
        numba=True,
    ),
    Program(
        "spline",
        spline,
        _knots,
        {"test": {"n": 12, "m": 30}, "bench": {"n": 10_000, "m": 100_000}},
        numba=True,
    ),
)
