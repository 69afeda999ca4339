"""Solvers that iterate to a tolerance: roots, minima, linear systems and eigenvalues.

How many steps they take depends on the data. They return early, fall through to an `else`, raise
where they do not converge, and shrink brackets and steps as they go.
"""

from __future__ import annotations

import math

import numpy as np

from .program import Program


def newton_roots(targets, tolerance):
    """Solve x exp(x) = t for each of `targets` [n] by Newton's method, one at a time; also the most
    iterations that one has taken."""
    roots = np.empty_like(targets)
    most = 0
    for k, target in enumerate(targets):
        x = math.log(1 + target)
        for iteration in range(50):
            e = math.exp(x)
            step = (x * e - target) / (e * (x + 1))
            x -= step
            if abs(step) < tolerance:
                break
        else:
            raise RuntimeError("no convergence")
        roots[k] = x
        most = max(most, iteration + 1)
    return roots, most


def kepler(mean_anomaly, eccentricity):
    """Kepler's equation for all anomalies [n] at once, until the worst of them has converged."""
    E = mean_anomaly + eccentricity * np.sin(mean_anomaly)
    iterations = 0
    while True:
        delta = (E - eccentricity * np.sin(E) - mean_anomaly) / (1 - eccentricity * np.cos(E))
        E -= delta
        iterations += 1
        if np.max(np.abs(delta)) < 1e-12 or iterations >= 50:
            return E, iterations


def cubic(x, c):
    """The polynomial whose roots the bracketing methods look for."""
    return ((x - c) * x + 1.0) * x - 5.0


def bisect(c, low, high, tolerance):
    """The root of `cubic` between `low` and `high`."""
    f_low = cubic(low, c)
    while high - low > tolerance:
        middle = 0.5 * (low + high)
        f = cubic(middle, c)
        if f == 0.0:
            return middle
        if f_low * f < 0:
            high = middle
        else:
            low, f_low = middle, f
    return 0.5 * (low + high)


def secant(c, x0, x1, limit):
    """The root of `cubic` by the secant method; NaN after `limit` steps."""
    f0, f1 = cubic(x0, c), cubic(x1, c)
    for _ in range(limit):
        if abs(f1) < 1e-12:
            return x1
        x0, x1 = x1, x1 - f1 * (x1 - x0) / (f1 - f0)
        f0, f1 = f1, cubic(x1, c)
    return float("nan")


def brackets(constants, low, high):
    """Roots of `cubic` for each of the `constants` [n], by bisection and by secants, [n, 2]."""
    roots = np.empty((len(constants), 2))
    for k in range(len(constants)):
        roots[k, 0] = bisect(constants[k], low, high, 1e-10)
        roots[k, 1] = secant(constants[k], low, high, 60)
    return roots


def newton_system(x, a, tolerance):
    """A system of n equations for `x` [n] with the matrix `a` [n, n], x_i^3 + (a x)_i = 1, by
    Newton's method with a dense Jacobian. Gives the norms of the residuals, too."""
    norms = []
    residual = x**3 + a @ x - 1
    while (norm := np.linalg.norm(residual)) > tolerance:
        norms.append(norm)
        jacobian = a + np.diag(3 * x**2)
        x = x - np.linalg.solve(jacobian, residual)
        residual = x**3 + a @ x - 1
    return x, np.array(norms)


def conjugate_gradients(A, b, tolerance):
    """Solve A x = b for a positive definite `A` [n, n]; also the number of steps."""
    x = np.zeros_like(b)
    r = b - A @ x
    p = r.copy()
    rs = r @ r
    for i in range(10 * len(b)):
        Ap = A @ p
        alpha = rs / (p @ Ap)
        x += alpha * p
        r -= alpha * Ap
        new = r @ r
        if np.sqrt(new) < tolerance:
            break
        p = r + (new / rs) * p
        rs = new
    return x, i + 1


def power_iteration(A, tolerance):
    """The eigenvalue of largest magnitude of `A` [n, n], its vector [n], and the iterations."""
    v = np.ones(A.shape[0]) / np.sqrt(A.shape[0])
    value = 0.0
    for iteration in range(1000):
        w = A @ v
        v = w / np.linalg.norm(w)
        last, value = value, v @ A @ v
        if abs(value - last) < tolerance * abs(value):
            break
    return value, v, iteration


def jacobi_eigenvalues(A, tolerance):
    """All eigenvalues of a symmetric `A` [n, n], sorted, by Jacobi's rotations in place."""
    n = A.shape[0]
    sweeps = 0
    while np.sqrt(np.sum(np.tril(A, -1) ** 2)) > tolerance:
        for p in range(n - 1):
            for q in range(p + 1, n):
                if abs(A[p, q]) < 1e-300:
                    continue
                theta = (A[q, q] - A[p, p]) / (2 * A[p, q])
                sign = 1.0 if theta >= 0 else -1.0
                t = sign / (abs(theta) + np.sqrt(theta * theta + 1))
                c = 1 / np.sqrt(t * t + 1)
                s = t * c
                rows = A[p].copy()
                A[p] = c * rows - s * A[q]
                A[q] = s * rows + c * A[q]
                columns = A[:, p].copy()
                A[:, p] = c * columns - s * A[:, q]
                A[:, q] = s * columns + c * A[:, q]
        sweeps += 1
    return np.sort(np.diag(A)), sweeps


def gmres(A, b, tolerance, restart):
    """Solve A x = b by GMRES without restarts, at most `restart` Krylov vectors: Arnoldi with
    modified Gram-Schmidt, Givens rotations on the fly. Gives x and the residuals' norms."""
    n = len(b)
    Q = np.zeros((restart + 1, n))
    H = np.zeros((restart + 1, restart))
    cosines = np.zeros(restart)
    sines = np.zeros(restart)
    g = np.zeros(restart + 1)
    g[0] = np.linalg.norm(b)
    Q[0] = b / g[0]
    used = 0
    for k in range(restart):
        w = A @ Q[k]
        for i in range(k + 1):
            H[i, k] = Q[i] @ w
            w -= H[i, k] * Q[i]
        H[k + 1, k] = np.linalg.norm(w)
        Q[k + 1] = w / H[k + 1, k]
        for i in range(k):
            rotated = cosines[i] * H[i, k] + sines[i] * H[i + 1, k]
            H[i + 1, k] = -sines[i] * H[i, k] + cosines[i] * H[i + 1, k]
            H[i, k] = rotated
        r = math.hypot(H[k, k], H[k + 1, k])
        cosines[k], sines[k] = H[k, k] / r, H[k + 1, k] / r
        H[k, k], H[k + 1, k] = r, 0.0
        g[k + 1] = -sines[k] * g[k]
        g[k] *= cosines[k]
        used = k + 1
        if abs(g[k + 1]) < tolerance:
            break
    y = np.zeros(used)
    for i in range(used - 1, -1, -1):
        y[i] = (g[i] - H[i, i + 1 : used] @ y[i + 1 : used]) / H[i, i]
    return y @ Q[:used], np.abs(g[: used + 1])


def rosenbrock(x):
    """Rosenbrock's function of `x` [n]."""
    return np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def rosenbrock_gradient(x):
    """Its gradient [n]."""
    g = np.zeros_like(x)
    g[:-1] = -400 * x[:-1] * (x[1:] - x[:-1] ** 2) - 2 * (1 - x[:-1])
    g[1:] += 200 * (x[1:] - x[:-1] ** 2)
    return g


def gradient_descent(x, steps):
    """Steepest descent of `rosenbrock` with a backtracking line search."""
    value = rosenbrock(x)
    for _ in range(steps):
        gradient = rosenbrock_gradient(x)
        slope = gradient @ gradient
        t = 1.0
        while rosenbrock(x - t * gradient) > value - 0.5 * t * slope:
            t *= 0.5
            if t < 1e-12:
                return x, value
        x = x - t * gradient
        value = rosenbrock(x)
    return x, value


def bfgs(x, limit, tolerance):
    """Quasi-Newton minimisation of `rosenbrock`: the inverse Hessian is updated by outer
    products."""
    H = np.eye(x.size)
    g = rosenbrock_gradient(x)
    for iteration in range(limit):
        if np.linalg.norm(g) < tolerance:
            break
        p = -H @ g
        t = 1.0
        while rosenbrock(x + t * p) > rosenbrock(x) + 1e-4 * t * (g @ p):
            t /= 2
        s = t * p
        x = x + s
        y, g = rosenbrock_gradient(x) - g, rosenbrock_gradient(x)
        sy = s @ y
        if sy > 1e-12:
            Hy = H @ y
            H = (
                H
                + (1 + y @ Hy / sy) * np.outer(s, s) / sy
                - (np.outer(Hy, s) + np.outer(s, Hy)) / sy
            )
    return x, iteration


def nelder_mead(start, limit, tolerance):
    """The simplex method of Nelder and Mead on `rosenbrock` from `start` [n]."""
    n = len(start)
    simplex = np.tile(start, (n + 1, 1))
    for i in range(n):
        simplex[i + 1, i] += 0.5
    values = np.array([rosenbrock(p) for p in simplex])
    for step in range(limit):
        order = np.argsort(values, kind="stable")
        simplex, values = simplex[order], values[order]
        if values[-1] - values[0] < tolerance:
            break
        centre = simplex[:-1].mean(axis=0)
        reflected = centre + (centre - simplex[-1])
        f = rosenbrock(reflected)
        if values[0] <= f < values[-2]:
            simplex[-1], values[-1] = reflected, f
        elif f < values[0]:
            expanded = centre + 2 * (centre - simplex[-1])
            f_expanded = rosenbrock(expanded)
            if f_expanded < f:
                simplex[-1], values[-1] = expanded, f_expanded
            else:
                simplex[-1], values[-1] = reflected, f
        else:
            contracted = centre + 0.5 * (simplex[-1] - centre)
            f = rosenbrock(contracted)
            if f < values[-1]:
                simplex[-1], values[-1] = contracted, f
            else:
                for i in range(1, n + 1):
                    simplex[i] = simplex[0] + 0.5 * (simplex[i] - simplex[0])
                    values[i] = rosenbrock(simplex[i])
    return simplex[0], values[0], step


def lasso(X, y, penalty, sweeps):
    """Coordinate descent for the lasso: `X` [n, p], `y` [n]; weights [p], and how many are zero."""
    w = np.zeros(X.shape[1])
    norms = (X**2).sum(axis=0)
    residual = y.copy()
    for _ in range(sweeps):
        largest = 0.0
        for j in range(X.shape[1]):
            old = w[j]
            rho = X[:, j] @ residual + norms[j] * old
            w[j] = np.sign(rho) * max(abs(rho) - penalty, 0.0) / norms[j]
            if w[j] != old:
                residual -= X[:, j] * (w[j] - old)
            largest = max(largest, abs(w[j] - old))
        if largest < 1e-8:
            break
    return w, int((w == 0).sum())


# -- arguments -------------------------------------------------------------------------------------


def _targets(rng, n):
    return rng.uniform(0.1, 50, n), 1e-12


def _anomalies(rng, n):
    return rng.uniform(0, 2 * np.pi, n), 0.6


def _constants(rng, n):
    return rng.uniform(0, 1, n), 1.0, 3.0


def _nonlinear(rng, n):
    return np.ones(n), np.eye(n) * 3 + 0.5 * rng.standard_normal((n, n)) / np.sqrt(n), 1e-10


def _definite(rng, n):
    a = rng.standard_normal((n, n))
    return a @ a.T / n + np.eye(n), rng.standard_normal(n), 1e-10


def _dominated(rng, n):
    return np.ones((n, n)) * 0.1 + 0.1 * rng.random((n, n)), 1e-12


def _symmetric(rng, n):
    a = rng.standard_normal((n, n))
    return a + a.T, 1e-10


def _krylov(rng, n, restart):
    return (
        np.eye(n) * 2 + rng.standard_normal((n, n)) / np.sqrt(n),
        rng.standard_normal(n),
        1e-9,
        restart,
    )


def _valley(rng, n, steps):
    return np.full(n, -0.5) + 0.1 * rng.random(n), steps


def _minimum(rng, n):
    return np.full(n, -0.5), 500, 1e-6


def _simplex(rng, n, limit):
    return np.linspace(-1, 1, n), limit, 1e-12


def _regression(rng, n, p):
    X = rng.standard_normal((n, p))
    w = np.where(np.arange(p) % 4 == 0, 3.0, 0.0)
    return X, X @ w + 0.1 * rng.standard_normal(n), 0.1 * n, 50


PROGRAMS = (
    Program(
        "newton_roots",
        newton_roots,
        _targets,
        {"test": {"n": 9}, "bench": {"n": 10_000}},
        numba=True,
    ),
    Program("kepler", kepler, _anomalies, {"test": {"n": 30}, "bench": {"n": 200_000}}, numba=True),
    Program("brackets", brackets, _constants, {"test": {"n": 5}, "bench": {"n": 2000}}, numba=True),
    Program(
        "newton_system",
        newton_system,
        _nonlinear,
        {"test": {"n": 6}, "bench": {"n": 500}},
        tolerance=1e-9,
    ),
    Program(
        "conjugate_gradients",
        conjugate_gradients,
        _definite,
        {"test": {"n": 12}, "bench": {"n": 1000}},
        numba=True,
        tolerance=1e-8,
    ),
    Program(
        "power_iteration",
        power_iteration,
        _dominated,
        {"test": {"n": 10}, "bench": {"n": 2000}},
        numba=True,
        tolerance=1e-9,
    ),
    Program(
        "jacobi_eigenvalues",
        jacobi_eigenvalues,
        _symmetric,
        {"test": {"n": 5}, "bench": {"n": 40}},
        numba=True,
        tolerance=1e-9,
    ),
    Program(
        "gmres",
        gmres,
        _krylov,
        {"test": {"n": 12, "restart": 12}, "bench": {"n": 1000, "restart": 80}},
        numba=True,
        tolerance=1e-8,
    ),
    Program(
        "gradient_descent",
        gradient_descent,
        _valley,
        {"test": {"n": 4, "steps": 10}, "bench": {"n": 100, "steps": 500}},
        numba=True,
        tolerance=1e-8,
    ),
    Program(
        "bfgs", bfgs, _minimum, {"test": {"n": 3}, "bench": {"n": 30}}, numba=True, tolerance=1e-5
    ),
    Program(
        "nelder_mead",
        nelder_mead,
        _simplex,
        {"test": {"n": 3, "limit": 30}, "bench": {"n": 6, "limit": 1000}},
        tolerance=1e-8,
    ),
    Program(
        "lasso",
        lasso,
        _regression,
        {"test": {"n": 20, "p": 6}, "bench": {"n": 400, "p": 300}},
        numba=True,
        tolerance=1e-8,
    ),
)
