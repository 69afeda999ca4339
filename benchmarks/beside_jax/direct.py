"""Programs of tests/programs, ported to JAX loop by loop.

    value = cholesky(A)     # the same steps in the same order as the program

Who ports a NumPy program keeps its loops: `for` becomes `lax.fori_loop`, or `lax.scan` over what
it runs through, an assignment becomes `.at[].set`, and slices stay operations on whole arrays.
What JAX asks for beyond that:

- The extent of an array may not depend on a loop's index: `A[i, :j]` is `A[i]` under a mask.
- A loop whose number of steps another loop's index decides has no reverse mode. Where both do
  nothing but the inner loop's work, one scan runs over all pairs of indices (`cholesky`, `ldl`,
  `planets`); elsewhere the inner loop makes all steps, and masks take those that the program makes
  (`modified_gram_schmidt`, `time_warping`).
- An `if` inside of an innermost loop is a `where`.

Of the ways to write a loop that are equally close to the program the fastest one stands here. In
`durbin` and `rope` there is nothing to rearrange: their ports are those of `rearranged`.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import lax

from .rearranged import durbin, rope


def gauss_seidel(a, sweeps):
    """A row at once, then its points one after the other, all in place."""
    n = a.shape[0]

    def point(j, carry):
        a, i = carry
        return a.at[i, j].set((a[i, j] + a[i, j - 1]) / 9.0), i

    def row(i, a):
        added = a[i - 1, :-2] + a[i - 1, 1:-1] + a[i - 1, 2:] + a[i, 2:]
        added = added + a[i + 1, :-2] + a[i + 1, 1:-1] + a[i + 1, 2:]
        return lax.fori_loop(1, n - 1, point, (a.at[i, 1:-1].add(added), i))[0]

    def sweep(_, a):
        return lax.fori_loop(1, n - 1, row, a)

    return lax.fori_loop(0, sweeps, sweep, a)


def cholesky(A):
    """One scan over all (i, j), j <= i; the diagonal takes a root where the others divide."""
    n = A.shape[0]
    columns = jnp.arange(n)

    def element(A, at):
        i, j = at
        rest = A[i, j] - jnp.where(columns < j, A[i], 0.0) @ A[j]
        new = lax.cond(i == j, lambda x, _: jnp.sqrt(x), lambda x, d: x / d, rest, A[j, j])
        return A.at[i, j].set(new), None

    return lax.scan(element, A, np.tril_indices(n))[0]


def ldl(A):
    """One scan over all (j, i), i >= j: first D[j], then the column of L below it."""
    n = A.shape[0]
    columns = jnp.arange(n)

    def element(state, at):
        L, D = state
        j, i = at
        rest = A[i, j] - jnp.sum(jnp.where(columns < j, L[i] * L[j] * D, 0.0))
        D = D.at[j].set(jnp.where(i == j, rest, D[j]))
        return (L.at[i, j].set(jnp.where(i == j, 1.0, rest / D[j])), D), None

    return lax.scan(element, (jnp.eye(n), jnp.zeros(n)), np.triu_indices(n))[0]


def lu(A):
    """Each element of each row: left of the diagonal it is divided as well."""
    n = A.shape[0]
    columns = jnp.arange(n)

    def element(j, carry):
        A, i = carry
        rest = A[i, j] - jnp.where(columns < jnp.minimum(i, j), A[i], 0.0) @ A[:, j]
        return A.at[i, j].set(jnp.where(j < i, rest / A[j, j], rest)), i

    def row(i, A):
        return lax.fori_loop(0, n, element, (A, i))[0]

    return lax.fori_loop(0, n, row, A)


def modified_gram_schmidt(A):
    """Each new direction, then all columns one after the other: those behind it stay."""
    n = A.shape[1]

    def leave(j, state):
        A, R, q, k = state
        r = jnp.where(j > k, q @ A[:, j], 0.0)
        return A.at[:, j].add(-q * r), R.at[k, j].add(r), q, k

    def orthogonalise(k, state):
        A, Q, R = state
        norm = jnp.sqrt(A[:, k] @ A[:, k])
        q = A[:, k] / norm
        A, R, _, _ = lax.fori_loop(0, n, leave, (A, R.at[k, k].set(norm), q, k))
        return A, Q.at[:, k].set(q), R

    return lax.fori_loop(0, n, orthogonalise, (A, jnp.zeros_like(A), jnp.zeros((n, n))))[1:]


def gauss_jordan(A):
    """The pivot's row is an index that a loop finds; then the rows one after the other."""
    n = A.shape[0]

    def eliminate(k, work):
        column = lax.stop_gradient(work[:, k])

        def larger(row, pivot):
            return jnp.where(jnp.abs(column[row]) > jnp.abs(column[pivot]), row, pivot)

        def leave(row, work):
            factor = jnp.where(row == k, 0.0, work[row, k])
            return work.at[row].add(-factor * work[k])

        pivot = lax.fori_loop(k + 1, n, larger, k)
        held = work[k]
        work = work.at[k].set(work[pivot]).at[pivot].set(held)
        work = work.at[k].divide(work[k, k])
        return lax.fori_loop(0, n, leave, work)

    return lax.fori_loop(0, n, eliminate, jnp.hstack([A, jnp.eye(n)]))[:, n:]


def thomas(lower, diagonal, upper, rhs):
    """Forwards filling two arrays, backwards filling the third."""
    n = rhs.shape[0]

    def eliminate(i, state):
        c, d = state
        pivot = diagonal[i] - lower[i] * c[i - 1]
        return c.at[i].set(upper[i] / pivot), d.at[i].set((rhs[i] - lower[i] * d[i - 1]) / pivot)

    def substitute(k, x):
        i = n - 2 - k
        return x.at[i].set(d[i] - c[i] * x[i + 1])

    c = jnp.zeros(n).at[0].set(upper[0] / diagonal[0])
    d = jnp.zeros(n).at[0].set(rhs[0] / diagonal[0])
    c, d = lax.fori_loop(1, n, eliminate, (c, d))
    return lax.fori_loop(0, n - 1, substitute, jnp.zeros(n).at[-1].set(d[-1]))


def time_warping(x, y, window):
    """The table is filled cell by cell; a row's loop runs over the width of the band."""
    m, n = x.shape[0], y.shape[0]
    window = max(window, abs(m - n))

    def cell(k, carry):
        cost, i = carry
        j = i - window + k
        inside = (j >= 1) & (j <= n)
        j = jnp.clip(j, 1, n)
        step = jnp.minimum(jnp.minimum(cost[i - 1, j], cost[i, j - 1]), cost[i - 1, j - 1])
        new = jnp.where(inside, jnp.abs(x[i - 1] - y[j - 1]) + step, cost[i, j])
        return cost.at[i, j].set(new), i

    def row(i, cost):
        return lax.fori_loop(0, 2 * window + 1, cell, (cost, i))[0]

    cost = jnp.full((m + 1, n + 1), jnp.inf).at[0, 0].set(0.0)
    return lax.fori_loop(1, m + 1, row, cost)[m, n]


def biquads(signals, sections):
    """The filtered signals are changed in place, all channels of a sample at once."""
    channels, n = signals.shape

    def section(filtered, coefficients):
        b0, b1, b2, a0, a1, a2 = coefficients

        def sample(t, state):
            filtered, z1, z2 = state
            x = filtered[:, t]
            y = (b0 * x + z1) / a0
            z1, z2 = b1 * x - a1 * y + z2, b2 * x - a2 * y
            return filtered.at[:, t].set(y), z1, z2

        zero = jnp.zeros(channels)
        return lax.fori_loop(0, n, sample, (filtered, zero, zero))[0], None

    return lax.scan(section, signals, sections)[0]


def planets(position, velocity, mass, steps, dt):
    """One scan over all pairs in each step."""
    n = mass.shape[0]
    pairs = np.triu_indices(n, 1)

    def attract(state, at):
        velocity, position = state
        i, j = at
        d = position[i] - position[j]
        r2 = d[0] * d[0] + d[1] * d[1] + d[2] * d[2]
        strength = dt / (r2 * jnp.sqrt(r2))
        velocity = velocity.at[i].add(-d * (mass[j] * strength))
        return (velocity.at[j].add(d * (mass[i] * strength)), position), None

    def step(_, state):
        position, velocity = state
        velocity = lax.scan(attract, (velocity, position), pairs)[0][0]
        return position + dt * velocity, velocity

    def kinetic(i, energy):
        return energy + 0.5 * mass[i] * (velocity[i] ** 2).sum()

    def potential(energy, at):
        i, j = at
        distance = jnp.sqrt(((position[i] - position[j]) ** 2).sum())
        return energy - mass[i] * mass[j] / distance, None

    position, velocity = lax.fori_loop(0, steps, step, (position, velocity))
    return lax.scan(potential, lax.fori_loop(0, n, kinetic, 0.0), pairs)[0]


__all__ = [
    "biquads",
    "cholesky",
    "durbin",
    "gauss_jordan",
    "gauss_seidel",
    "ldl",
    "lu",
    "modified_gram_schmidt",
    "planets",
    "rope",
    "thomas",
    "time_warping",
]
