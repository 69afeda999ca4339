"""Fractals and other iterated maps: complex numbers that are squared until they leave.

The escape time is written in the ways one meets: a mask over the whole grid, an active set that is
compressed as points leave, and one point at a time with an early exit.
"""

from __future__ import annotations

import numpy as np

from .program import Program


def mandelbrot(xmin, xmax, ymin, ymax, width, height, limit, horizon=2.0):
    """Escape times [height, width] over the whole grid: those still inside are selected by a
    mask."""
    x = np.linspace(xmin, xmax, width)
    y = np.linspace(ymin, ymax, height)
    c = x + y[:, None] * 1j
    counts = np.zeros(c.shape, dtype=np.int64)
    z = np.zeros(c.shape, dtype=np.complex128)
    for n in range(limit):
        inside = np.less(abs(z), horizon)
        counts[inside] = n
        z[inside] = z[inside] ** 2 + c[inside]
    counts[counts == limit - 1] = 0
    return z, counts


def mandelbrot_shrinking(xmin, xmax, ymin, ymax, width, height, limit, horizon=2.0):
    """The same escape times with a set of active points that shrinks: those that have left are
    taken out of all arrays."""
    row, column = np.mgrid[0:height, 0:width]
    c = np.linspace(xmin, xmax, width)[column] + 1j * np.linspace(ymin, ymax, height)[row]
    counts = np.zeros(c.shape, dtype=np.int64)
    escaped = np.zeros(c.shape, dtype=np.complex128)
    row, column, c = row.ravel(), column.ravel(), c.ravel()
    z = np.zeros_like(c)
    for n in range(limit):
        if not len(z):
            break
        np.multiply(z, z, z)
        np.add(z, c, z)
        left = abs(z) > horizon
        counts[row[left], column[left]] = n + 1
        escaped[row[left], column[left]] = z[left]
        stay = ~left
        z, c, row, column = z[stay], c[stay], row[stay], column[stay]
    return escaped, counts


def escape_time(c, limit):
    """How many steps the point `c` takes to leave the disk of radius 2, at most `limit`."""
    z = 0j
    for n in range(limit):
        z = z * z + c
        if z.real * z.real + z.imag * z.imag > 4.0:
            return n
    return limit


def mandelbrot_points(xmin, xmax, ymin, ymax, width, height, limit):
    """The same picture point by point, [height, width] of int32."""
    image = np.empty((height, width), dtype=np.int32)
    dx = (xmax - xmin) / width
    dy = (ymax - ymin) / height
    for j in range(height):
        for i in range(width):
            image[j, i] = escape_time(complex(xmin + dx * i, ymin + dy * j), limit)
    return image


def julia(z, c, limit):
    """Smooth escape times of `z` [n, n] (complex64) under squaring plus `c`."""
    smooth = np.zeros(z.shape, dtype=np.float32)
    alive = np.ones(z.shape, dtype=bool)
    for _ in range(limit):
        z = np.where(alive, z * z + c, z)
        alive &= np.abs(z) < 2
        smooth += np.exp(-np.abs(z))
    return smooth


def newton_fractal(z, roots, steps, tolerance):
    """Which of the cube roots of one `roots` [3] Newton's method finds from each of `z` [n]
    (complex128), and after how many steps; -1 where it does not."""
    found = np.full(z.shape, -1)
    count = np.zeros(z.shape, dtype=int)
    for step in range(steps):
        open_ = found < 0
        if not open_.any():
            break
        w = z[open_]
        z[open_] = w - (w**3 - 1) / (3 * w**2)
        for k, root in enumerate(roots):
            hit = (found < 0) & (np.abs(z - root) < tolerance)
            found[hit] = k
            count[hit] = step
    return found, count


def bifurcation(rates, settle, keep, bins):
    """The logistic map: after `settle` steps, `keep` points of each rate [n] are counted into an
    image [bins, n]."""
    x = np.full(len(rates), 0.5)
    image = np.zeros((bins, len(rates)), dtype=np.int64)
    columns = np.arange(len(rates))
    for _ in range(settle):
        x = rates * x * (1 - x)
    for _ in range(keep):
        x = rates * x * (1 - x)
        rows = np.minimum((x * bins).astype(np.int64), bins - 1)
        image[rows, columns] += 1
    return image


def lyapunov(a, b, pattern, steps):
    """Lyapunov exponents of the logistic map whose rate follows a `pattern` of `a` [m, 1] and `b`
    [1, n]: picture [m, n]."""
    x = np.full(np.broadcast_shapes(a.shape, b.shape), 0.5)
    exponent = np.zeros_like(x)
    for i in range(steps):
        rate = a if pattern[i % len(pattern)] == "A" else b
        x = rate * x * (1.0 - x)
        if i > 10:
            exponent += np.log(np.abs(rate * (1.0 - 2.0 * x)))
    return exponent / (steps - 11)


# -- arguments -------------------------------------------------------------------------------------


def _window(rng, width, height, limit):
    return -2.013, 0.517, -1.251, 1.249, width, height, limit


def _julia(rng, n, limit):
    x = np.linspace(-1.5, 1.5, n)
    z = (x[None, :] + 1j * x[:, None]).astype(np.complex64)
    return z, np.complex64(-0.4 + 0.6j), limit


def _newton(rng, n, steps):
    x = rng.uniform(-2, 2, n) + 1j * rng.uniform(-2, 2, n)
    return x, np.exp(2j * np.pi * np.arange(3) / 3), steps, 1e-6


def _rates(rng, n, settle, keep, bins):
    return np.linspace(2.51, 3.5, n), settle, keep, bins


def _lyapunov(rng, n, steps):
    return np.linspace(2, 3.9, n)[:, None], np.linspace(2, 3.9, n)[None, :], "AABAB", steps


PROGRAMS = (
    Program(
        "mandelbrot",
        mandelbrot,
        _window,
        {
            "test": {"width": 15, "height": 11, "limit": 20},
            "bench": {"width": 200, "height": 200, "limit": 100},
        },
        tolerance=1e-9,
    ),
    Program(
        "mandelbrot_shrinking",
        mandelbrot_shrinking,
        _window,
        {
            "test": {"width": 15, "height": 11, "limit": 20},
            "bench": {"width": 300, "height": 300, "limit": 100},
        },
        tolerance=1e-9,
    ),
    Program(
        "mandelbrot_points",
        mandelbrot_points,
        _window,
        {
            "test": {"width": 9, "height": 7, "limit": 15},
            "bench": {"width": 120, "height": 120, "limit": 100},
        },
        numba=True,
    ),
    Program(
        "julia",
        julia,
        _julia,
        {"test": {"n": 12, "limit": 10}, "bench": {"n": 300, "limit": 40}},
        tolerance=1e-4,
    ),
    Program(
        "newton_fractal",
        newton_fractal,
        _newton,
        {"test": {"n": 40, "steps": 30}, "bench": {"n": 50_000, "steps": 40}},
        tolerance=1e-5,
    ),
    Program(
        "bifurcation",
        bifurcation,
        _rates,
        {
            "test": {"n": 20, "settle": 20, "keep": 10, "bins": 16},
            "bench": {"n": 2000, "settle": 300, "keep": 300, "bins": 500},
        },
        numba=True,
    ),
    Program(
        "lyapunov",
        lyapunov,
        _lyapunov,
        {"test": {"n": 9, "steps": 30}, "bench": {"n": 200, "steps": 100}},
        numba=True,
        tolerance=1e-6,
    ),
)
