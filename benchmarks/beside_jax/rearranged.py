"""Programs of tests/programs as one writes them in JAX who knows it.

    value = cholesky(A)     # what the program computes, in JAX's own order

`lax.scan` where a state is carried on, `lax.fori_loop` and `.at[].set` where an array is filled,
and whole columns or rows at once wherever the mathematics allows, though the programs go element
by element: in `cholesky`, `ldl`, `lu`, `modified_gram_schmidt`, `gauss_jordan` and `planets`. A
loop whose number of steps another loop decides has no reverse mode in JAX: there the inner loop is
over all elements at once, and a mask takes those that are meant.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import lax


def gauss_seidel(a, sweeps):
    """What is known of a row at once, then a scan along it that carries the new value."""

    def point(left, known):
        new = (known + left) / 9.0
        return new, new

    def row(i, a):
        above, here, below = a[i - 1], a[i], a[i + 1]
        known = above[:-2] + above[1:-1] + above[2:] + here[1:-1] + here[2:]
        known = known + below[:-2] + below[1:-1] + below[2:]
        return a.at[i, 1:-1].set(lax.scan(point, here[0], known)[1])

    def sweep(_, a):
        return lax.fori_loop(1, a.shape[0] - 1, row, a)

    return lax.fori_loop(0, sweeps, sweep, a)


def cholesky(A):
    """A column after the other: a product with all columns, those that are not there yet zero."""
    rows = jnp.arange(A.shape[0])

    def column(j, L):
        rest = A[:, j] - L @ L[j]
        return L.at[:, j].set(jnp.where(rows >= j, rest / jnp.sqrt(rest[j]), 0.0))

    L = lax.fori_loop(0, A.shape[0], column, jnp.zeros_like(A))
    return jnp.tril(L) + jnp.triu(A, 1)


def ldl(A):
    """A column after the other, as in `cholesky`."""
    n = A.shape[0]
    rows = jnp.arange(n)

    def column(j, state):
        L, D = state
        scaled = L[j] * D * (rows < j)
        d = A[j, j] - L[j] @ scaled
        below = (A[:, j] - L @ scaled) / d
        return L.at[:, j].set(jnp.where(rows > j, below, L[:, j])), D.at[j].set(d)

    return lax.fori_loop(0, n, column, (jnp.eye(n), jnp.zeros(n)))


def lu(A):
    """Rank-one updates of what is left."""
    rows = jnp.arange(A.shape[0])

    def eliminate(k, A):
        below = rows > k
        multipliers = jnp.where(below, A[:, k] / A[k, k], 0.0)
        A = A - jnp.outer(multipliers, jnp.where(below, A[k], 0.0))
        return A.at[:, k].set(jnp.where(below, multipliers, A[:, k]))

    return lax.fori_loop(0, A.shape[0], eliminate, A)


def modified_gram_schmidt(A):
    """Each new direction leaves all columns that follow, at once."""
    columns = jnp.arange(A.shape[1])

    def orthogonalise(k, state):
        A, Q, R = state
        norm = jnp.sqrt(A[:, k] @ A[:, k])
        q = A[:, k] / norm
        r = jnp.where(columns > k, q @ A, 0.0)
        return A - jnp.outer(q, r), Q.at[:, k].set(q), R.at[k].set(r.at[k].set(norm))

    n = A.shape[1]
    return lax.fori_loop(0, n, orthogonalise, (A, jnp.zeros_like(A), jnp.zeros((n, n))))[1:]


def gauss_jordan(A):
    """A column is eliminated from all rows at once; rows are swapped by an index."""
    n = A.shape[0]
    rows = jnp.arange(n)

    def eliminate(k, work):
        pivot = jnp.argmax(jnp.where(rows >= k, jnp.abs(work[:, k]), -1.0))
        work = work.at[jnp.array([k, pivot])].set(work[jnp.array([pivot, k])])
        row = work[k] / work[k, k]
        work = work - jnp.outer(jnp.where(rows == k, 0.0, work[:, k]), row)
        return work.at[k].set(row)

    return lax.fori_loop(0, n, eliminate, jnp.hstack([A, jnp.eye(n)]))[:, n:]


def durbin(r):
    """The part of the solution that is there moves to and fro; the rest of it is zero."""
    n = r.shape[0]
    backwards = jnp.concatenate([r[::-1], jnp.zeros(n)])

    def step(carry, k):
        y, alpha, beta = carry
        beta = beta * (1.0 - alpha * alpha)
        flipped = lax.dynamic_slice_in_dim(jnp.concatenate([y[::-1], jnp.zeros(n)]), n - k, n)
        alpha = -(r[k] + lax.dynamic_slice_in_dim(backwards, n - k, n) @ y) / beta
        y = (y + alpha * flipped).at[k].set(alpha)
        return (y, alpha, beta), None

    start = (jnp.zeros(n).at[0].set(-r[0]), -r[0], 1.0)
    return lax.scan(step, start, jnp.arange(1, n))[0][0]


def thomas(lower, diagonal, upper, rhs):
    """Two scans: what is eliminated is carried forwards, the solution backwards."""

    def eliminate(carry, row):
        c, d = carry
        low, middle, high, b = row
        pivot = middle - low * c
        carry = high / pivot, (b - low * d) / pivot
        return carry, carry

    def substitute(x, row):
        c, d = row
        x = d - c * x
        return x, x

    first = upper[0] / diagonal[0], rhs[0] / diagonal[0]
    rows = lower[1:], diagonal[1:], upper[1:], rhs[1:]
    _, (c, d) = lax.scan(eliminate, first, rows)
    c, d = jnp.append(first[0], c), jnp.append(first[1], d)
    _, x = lax.scan(substitute, d[-1], (c[:-1], d[:-1]), reverse=True)
    return jnp.append(x, d[-1])


def time_warping(x, y, window):
    """A row is carried, and a scan along it carries the cell before; the band is a mask."""
    m, n = x.shape[0], y.shape[0]
    window = max(window, abs(m - n))
    columns = jnp.arange(1, n + 1)

    def cell(left, given):
        distance, above, inside = given
        new = jnp.where(inside, distance + jnp.minimum(above, left), jnp.inf)
        return new, new

    def row(previous, given):
        i, value = given
        distance = jnp.abs(value - y)
        above = jnp.minimum(previous[1:], previous[:-1])
        inside = jnp.abs(columns - i) <= window
        _, cells = lax.scan(cell, jnp.inf, (distance, above, inside))
        return jnp.append(jnp.inf, cells), None

    first = jnp.full(n + 1, jnp.inf).at[0].set(0.0)
    last, _ = lax.scan(row, first, (jnp.arange(1, m + 1), x))
    return last[-1]


def biquads(signals, sections):
    """A scan over the sections, in it one over the samples; all channels at once."""

    def section(signals, coefficients):
        b0, b1, b2, a0, a1, a2 = coefficients

        def sample(carry, x):
            z1, z2 = carry
            y = (b0 * x + z1) / a0
            return (b1 * x - a1 * y + z2, b2 * x - a2 * y), y

        zero = jnp.zeros(signals.shape[1])
        return lax.scan(sample, (zero, zero), signals)[1], None

    return lax.scan(section, signals.T, sections)[0].T


def rope(position, previous, steps, dt):
    """Each link reads and writes two points of the array that is carried."""
    n = position.shape[0]
    link = 1.0 / (n - 1)
    gravity = jnp.array([0.0, -9.81])
    inner = (jnp.arange(n) > 0) & (jnp.arange(n) < n - 1)

    def pull(i, position):
        d = position[i + 1] - position[i]
        correction = 0.5 * d * (1 - link / jnp.sqrt(d @ d))
        position = position.at[i].add(jnp.where(inner[i], correction, 0.0))
        return position.at[i + 1].add(jnp.where(inner[i + 1], -correction, 0.0))

    def step(_, state):
        position, previous = state
        moved = 2 * position - previous + dt**2 * gravity
        moved = jnp.where(inner[:, None], moved, position)
        for _ in range(3):
            moved = lax.fori_loop(0, n - 1, pull, moved)
        return moved, position

    return lax.fori_loop(0, steps, step, (position, previous))[0]


def planets(position, velocity, mass, steps, dt):
    """All pairs at once: a step is a few products of arrays."""
    n = mass.shape[0]
    others = 1.0 - jnp.eye(n)

    def distances(position):
        d = position[:, None] - position[None]
        return d, (d * d).sum(axis=-1) + jnp.eye(n)

    def step(_, state):
        position, velocity = state
        d, r2 = distances(position)
        strength = others * dt / (r2 * jnp.sqrt(r2))
        velocity = velocity - jnp.einsum("ijk,ij,j->ik", d, strength, mass)
        return position + dt * velocity, velocity

    position, velocity = lax.fori_loop(0, steps, step, (position, velocity))
    _, r2 = distances(position)
    pairs = jnp.triu(mass[:, None] * mass / jnp.sqrt(r2), 1)
    return 0.5 * (mass * (velocity**2).sum(axis=1)).sum() - pairs.sum()
