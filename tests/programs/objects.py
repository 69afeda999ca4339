"""Programs with classes of their own: other kinds of numbers, sparse matrices, states, windows."""

from __future__ import annotations

import math
from collections import deque
from functools import reduce
from typing import Any, NamedTuple

import numpy as np

from .program import Program


class Quaternion:
    """A rotation of space."""

    __slots__ = ("w", "x", "y", "z")

    def __init__(self, w, x, y, z):
        self.w, self.x, self.y, self.z = w, x, y, z

    def __mul__(self, other):
        if not isinstance(other, Quaternion):
            return Quaternion(self.w * other, self.x * other, self.y * other, self.z * other)
        return Quaternion(
            self.w * other.w - self.x * other.x - self.y * other.y - self.z * other.z,
            self.w * other.x + self.x * other.w + self.y * other.z - self.z * other.y,
            self.w * other.y - self.x * other.z + self.y * other.w + self.z * other.x,
            self.w * other.z + self.x * other.y - self.y * other.x + self.z * other.w,
        )

    def __add__(self, other):
        return Quaternion(*(a + b for a, b in zip(self, other)))

    def __iter__(self):
        yield from (self.w, self.x, self.y, self.z)

    def __abs__(self):
        return math.sqrt(sum(part * part for part in self))

    @property
    def conjugate(self):
        return Quaternion(self.w, -self.x, -self.y, -self.z)

    @property
    def unit(self):
        norm = abs(self)
        return self * (1 / norm) if norm > 0 else self

    def rotate(self, v):
        _, *turned = self * Quaternion(0.0, *v) * self.conjugate
        return np.array(turned)


def attitude(rates, star, dt):
    """Where a star stands in the frame of a tumbling spacecraft."""
    q = Quaternion(1.0, 0.0, 0.0, 0.0)
    seen = np.empty((len(rates), 3))
    for i, rate in enumerate(rates):
        q = (q + Quaternion(0.0, *rate) * q * (0.5 * dt)).unit
        seen[i] = q.rotate(star)
    return seen, abs(q)


class Dual:
    """A number with its derivative."""

    def __init__(self, value, slope=0.0):
        self.value, self.slope = value, slope

    def __add__(self, other):
        other = other if isinstance(other, Dual) else Dual(other)
        return Dual(self.value + other.value, self.slope + other.slope)

    def __mul__(self, other):
        other = other if isinstance(other, Dual) else Dual(other)
        slope = self.value * other.slope + self.slope * other.value
        return Dual(self.value * other.value, slope)

    def __neg__(self):
        return self * -1.0

    def __sub__(self, other):
        return self + -other

    def __rsub__(self, other):
        return -self + other

    def __abs__(self):
        return -self if self.value < 0 else self

    def exp(self):
        value = math.exp(self.value)
        return Dual(value, self.slope * value)

    __radd__, __rmul__ = __add__, __mul__


def dual_newton(starts, level, tolerance):
    """Roots of exp(-|x|) x^2 - level, by Newton's method with dual numbers."""
    roots = np.empty(len(starts))
    steps = 0
    for k, x in enumerate(starts):
        for _ in range(40):
            d = Dual(x, 1.0)
            f = (-abs(d)).exp() * d * d - level
            steps += 1
            if abs(f.value) < tolerance or f.slope == 0:
                break
            x -= min(max(f.value / f.slope, -0.5), 0.5)
        roots[k] = x
    return roots, steps


class Sparse(NamedTuple):
    """A matrix by compressed rows."""

    indptr: Any
    indices: Any
    data: Any

    @property
    def rows(self):
        return len(self.indptr) - 1

    def __matmul__(self, x):
        y = np.zeros(self.rows)
        for i in range(self.rows):
            row = slice(self.indptr[i], self.indptr[i + 1])
            y[i] = self.data[row] @ x[self.indices[row]]
        return y

    @property
    def diagonal(self):
        d = np.zeros(self.rows)
        for i in range(self.rows):
            for k in range(self.indptr[i], self.indptr[i + 1]):
                if self.indices[k] == i:
                    d[i] = self.data[k]
        return d


def preconditioned(matrix, b, tolerance, limit):
    """Conjugate gradients with a diagonal preconditioner."""
    x = np.zeros_like(b)
    scale = 1 / matrix.diagonal
    r = b - matrix @ x
    z = scale * r
    p, rz = z.copy(), r @ z
    for step in range(limit):
        q = matrix @ p
        alpha = rz / (p @ q)
        x += alpha * p
        r -= alpha * q
        if np.linalg.norm(r) < tolerance * np.linalg.norm(b):
            break
        z = scale * r
        rz, before = r @ z, rz
        p = z + rz / before * p
    return x, step + 1


class Epidemic(NamedTuple):
    """Shares of a population."""

    susceptible: float
    infected: float
    recovered: float = 0.0

    def step(self, beta, gamma, dt):
        infections = beta * self.susceptible * self.infected * dt
        recoveries = gamma * self.infected * dt
        return self._replace(
            susceptible=self.susceptible - infections,
            infected=self.infected + infections - recoveries,
            recovered=self.recovered + recoveries,
        )


def outbreak(beta, gamma, lockdown, days):
    """An epidemic with a lockdown from a share of infected on; its course and its peak."""
    state = Epidemic(0.999, 0.001)
    course, peak, when = [state], state.infected, 0
    for day in range(1, days + 1):
        rate = beta * 0.4 if state.infected > lockdown else beta
        state = state.step(rate, gamma, 1.0)
        course.append(state)
        if state.infected > peak:
            peak, when = state.infected, day
    return np.array(course), peak, when


class Polynomial:
    """Coefficients, the lowest one first."""

    def __init__(self, coefficients):
        self.c = np.atleast_1d(coefficients)

    def __len__(self):
        return len(self.c)

    def __call__(self, x):
        return reduce(lambda so_far, c: so_far * x + c, self.c[::-1], 0.0)

    def __mul__(self, other):
        return Polynomial(np.convolve(self.c, other.c))

    def __add__(self, other):
        c = np.zeros(max(len(self), len(other)))
        c[: len(self)] += self.c
        c[: len(other)] += other.c
        return Polynomial(c)

    @property
    def derivative(self):
        return Polynomial(self.c[1:] * np.arange(1, len(self)))


def polynomial_root(coefficients, x, tolerance):
    """Halley's method for a root of p^2 + p - 2, and the value of its derivative there."""
    p = Polynomial(coefficients)
    q = p * p + p + Polynomial(np.array([-2.0]))
    first, second = q.derivative, q.derivative.derivative
    steps = 0
    while abs(q(x)) > tolerance and steps < 60:
        f, g = q(x), first(x)
        x -= 2 * f * g / (2 * g * g - f * second(x))
        steps += 1
    return x, first(x), steps


class Window:
    """The mean and the spread of the last few values."""

    def __init__(self, size):
        self.values, self.size = deque(maxlen=size), size

    def __iadd__(self, value):
        self.values.append(value)
        return self

    def __len__(self):
        return len(self.values)

    @property
    def mean(self):
        return sum(self.values) / len(self)

    def __contains__(self, value):
        spread = math.sqrt(sum((v - self.mean) ** 2 for v in self.values) / len(self))
        return abs(value - self.mean) <= 3 * spread + 1e-9


def outliers(signal, size):
    """Values far from the window of values before them, and the signal without these."""
    window = Window(size)
    window += signal[0]
    clean, found = signal.copy(), 0
    for i in range(1, len(signal)):
        if len(window) == size and signal[i] not in window:
            clean[i] = window.mean
            found += 1
        window += clean[i]
    return clean, found


# -- arguments -------------------------------------------------------------------------------------


def _tumbling(rng, steps):
    return rng.normal(size=(steps, 3)), rng.normal(size=3), 0.05


def _starts(rng, n):
    return rng.uniform(-3, 3, n), 0.3, 1e-12


def _laplacian(rng, n):
    dense = 2.5 * np.eye(n) - np.eye(n, k=1) - np.eye(n, k=-1)
    rows, columns = np.nonzero(dense)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=n))])
    data = dense[rows, columns] + 0.1 * (rows == columns) * rng.random(n)[rows]
    return Sparse(indptr, columns, data), rng.normal(size=n), 1e-10, 200


def _rates(rng, days):
    return 0.3 + 0.01 * float(rng.random()), 0.1, 0.15, days


def _monic(rng, degree):
    return np.append(rng.normal(size=degree), 1.0), 2.0, 1e-12


def _spiky(rng, n, size):
    signal = np.cumsum(rng.normal(size=n))
    signal[rng.integers(0, n, n // 20)] += 50
    return signal, size


PROGRAMS = (
    Program("attitude", attitude, _tumbling, {"test": {"steps": 30}, "bench": {"steps": 1500}}),
    Program("dual_newton", dual_newton, _starts, {"test": {"n": 12}, "bench": {"n": 400}}),
    Program("preconditioned", preconditioned, _laplacian, {"test": {"n": 24}, "bench": {"n": 600}}),
    Program("outbreak", outbreak, _rates, {"test": {"days": 60}, "bench": {"days": 3000}}),
    Program(
        "polynomial_root", polynomial_root, _monic, {"test": {"degree": 5}, "bench": {"degree": 70}}
    ),
    Program(
        "outliers",
        outliers,
        _spiky,
        {"test": {"n": 60, "size": 8}, "bench": {"n": 1500, "size": 12}},
    ),
)
