"""Second and third derivatives of whole programs, in mixed modes, against differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

from jitnet import checkpoint, grad, hessian, jacfwd, jacrev, jit, jvp, vmap


class Program(NamedTuple):
    f: Callable[[Any], Any]
    x: Any


def root(x):
    """A `while` whose trip count depends on the data."""
    s = x.sum()
    y = s
    while abs(y * y - s) > 1e-13 * s:
        y = 0.5 * (y + s / y)
    return y * x[0]


def predator_and_prey(p):
    """A `for` with a few numbers."""
    u, v, dt = 1.0, 0.5, 0.05
    for _ in range(30):
        u, v = u + dt * (p[0] * u - p[1] * u * v), v + dt * (p[2] * u * v - v)
    return u * v


def branches(x):
    """Branches in a loop, one of which leaves it."""
    total = 0.0
    for i in range(12):
        t = x[i % 3] * np.cos(i) + 0.1 * x[0]
        if t > 0.35:
            total += t * np.sin(t)
        elif t > -0.4:
            total += np.exp(t) * x[0]
        if total > 2.5:
            break
    return total * x[1]


def cholesky(x):
    """Assignment to elements, reads of slices."""
    a = np.outer(x, x) + np.diag(x + 3.0)
    n = len(a)
    for i in range(n):
        for j in range(i):
            a[i, j] = (a[i, j] - a[i, :j] @ a[j, :j]) / a[j, j]
        a[i, i] = np.sqrt(a[i, i] - a[i, :i] @ a[i, :i])
    total = 0.0
    for i in range(n):
        total += np.log(a[i, i])
    return total


def heat(u):
    """A stencil that is written in place."""
    u = u.copy()
    for _ in range(10):
        u[1:-1] += 0.1 * (u[2:] - 2 * u[1:-1] + u[:-2]) * (1 + u[1:-1] ** 2)
    return (u**2).sum()


def recurrent(w):
    """A recurrent network, unrolled by `for`."""
    w = w.reshape(2, 2)
    h = np.ones(2) * 0.1
    for t in range(8):
        h = np.tanh(w @ h + 0.1 * t)
    return h @ h


def checkpointed(w):
    return checkpoint(recurrent)(w) ** 2


PROGRAMS = {
    "while": Program(root, np.array([2.0, 1.0, 0.5])),
    "for": Program(predator_and_prey, np.array([1.1, 0.4, 0.3])),
    "branches": Program(branches, np.array([0.31, 0.72, 1.13])),
    "writes": Program(cholesky, np.array([0.5, 1.0, 1.5])),
    "stencil": Program(heat, np.array([0.1, 0.7, -0.4, 0.3, 0.2])),
    "recurrent": Program(recurrent, np.array([0.3, -0.5, 0.7, 0.2])),
    "checkpoint": Program(checkpointed, np.array([0.3, -0.5, 0.7, 0.2])),
}
programs = pytest.mark.parametrize("name", PROGRAMS)


def slope(f: Callable[[Any], Any], x: Any, h: float = 1e-4) -> Any:
    """Central differences of f in each number of x, right up to h**4, along a last axis."""
    columns = []
    for e in np.eye(len(x)) * h:
        near, far = f(x + e) - f(x - e), f(x + 2 * e) - f(x - 2 * e)
        columns.append((8 * near - far) / (12 * h))
    return np.stack(columns, axis=-1)


def close(a: Any, b: Any, tolerance: float) -> None:
    np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * max(1.0, np.abs(b).max()))


@programs
def test_gradients_and_hessians(name: str) -> None:
    """Forward over reverse against differences of the gradient, and that of the program."""
    f, x = PROGRAMS[name]
    gradient = grad(f)
    close(gradient(x), slope(f, x), 1e-8)
    matrix = hessian(f)(x)
    close(matrix, slope(gradient, x), 1e-8)
    close(matrix, matrix.T, 1e-11)


@pytest.mark.parametrize("name", ["while", "writes"])
def test_hessian_vector_products(name: str) -> None:
    """Forward over reverse, reverse over forward, and reverse over reverse agree."""
    f, x = PROGRAMS[name]
    v = np.random.default_rng(0).normal(size=x.shape)

    @jit
    def products(x, v):
        a = jvp(grad(f), (x,), (v,))[1]
        b = grad(lambda x: jvp(f, (x,), (v,))[1])(x)
        c = grad(lambda x: grad(f)(x) @ v)(x)
        return a, b, c

    a, b, c = products(x, v)
    close(a, slope(lambda x: grad(f)(x) @ v, x), 1e-7)
    close(b, a, 1e-11)
    close(c, a, 1e-11)


@pytest.mark.parametrize("name", ["while"])
def test_jacobians_of_jacobians(name: str) -> None:
    f, x = PROGRAMS[name]
    expected = hessian(f)(x)
    for outer, inner in ((jacrev, jacfwd), (jacfwd, jacfwd), (jacrev, jacrev)):
        close(outer(inner(f))(x), expected, 1e-11)


@pytest.mark.parametrize("name", ["while", "for", "branches"])
def test_third_derivatives(name: str) -> None:
    """Of scalar programs."""
    f, x = PROGRAMS[name]
    v = np.random.default_rng(1).normal(size=x.shape)

    def along(t):
        return f(x + t * v)

    second = grad(grad(along))
    expected = (second(1e-4) - second(-1e-4)) / 2e-4
    assert jvp(second, (0.0,), (1.0,))[1] == pytest.approx(expected, rel=1e-6, abs=1e-7)
    if name != "branches":
        assert grad(second)(0.0) == pytest.approx(expected, rel=1e-6, abs=1e-7)


def test_many_derivatives_of_elementary_functions() -> None:
    f = np.sin
    for k in range(1, 5):
        f = grad(f)
        assert f(0.7) == pytest.approx(np.sin(0.7 + k * np.pi / 2), rel=1e-13)

    def power(x):
        y = x
        for _ in range(4):
            y = y * x
        return y

    assert grad(grad(grad(power)))(2.0) == pytest.approx(5 * 4 * 3 * 2.0**2)


def test_rows_of_derivatives() -> None:
    """Lanes of second derivatives, and derivatives of lanes."""
    f, x = PROGRAMS["recurrent"]
    xs = np.stack([x, 2 * x, -x])
    got = vmap(hessian(f))(xs)
    for row, matrix in zip(xs, got):
        close(matrix, hessian(f)(row), 1e-12)
    total = hessian(lambda xs: vmap(f)(xs).sum())(xs)
    for i in range(3):
        close(total[i, :, i], got[i], 1e-12)
        close(total[i, :, i - 1], np.zeros((4, 4)), 1e-15)
