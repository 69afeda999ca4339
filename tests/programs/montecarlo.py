"""Monte Carlo: pi, options, magnets and searches, with the random numbers passed in.

Whole-array estimates beside chains in which each step decides, on a random number, what the next
one starts from.
"""

from __future__ import annotations

import math

import numpy as np

from .program import Program


def pi_vector(x, y):
    """Pi and its standard error from points `x`, `y` [n] of the unit square."""
    inside = x * x + y * y <= 1.0
    p = inside.mean()
    return 4.0 * p, 4.0 * np.sqrt(p * (1 - p) / len(x))


def pi_loop(x, y):
    """Pi from the same points, counted one by one."""
    hits = 0
    for i in range(len(x)):
        if x[i] ** 2 + y[i] ** 2 <= 1.0:
            hits += 1
    return 4.0 * hits / len(x)


def black_scholes(spot, strike, years, rate, volatility):
    """Prices of calls and puts [n]; the normal distribution by a rational approximation."""

    def cumulative(x):
        k = 1.0 / (1.0 + 0.2316419 * np.abs(x))
        poly = k * (
            0.319381530
            + k * (-0.356563782 + k * (1.781477937 + k * (-1.821255978 + k * 1.330274429)))
        )
        tail = np.exp(-0.5 * x * x) / math.sqrt(2 * math.pi) * poly
        return np.where(x >= 0, 1.0 - tail, tail)

    spread = volatility * np.sqrt(years)
    d1 = (np.log(spot / strike) + (rate + 0.5 * volatility**2) * years) / spread
    d2 = d1 - spread
    discounted = strike * np.exp(-rate * years)
    call = spot * cumulative(d1) - discounted * cumulative(d2)
    return call, call - spot + discounted


def asian_option(normals, spot, strike, rate, volatility, years):
    """An Asian call on paths driven by `normals` [steps, paths]: price, standard error."""
    steps, paths = normals.shape
    dt = years / steps
    price = np.full(paths, spot)
    total = np.zeros(paths)
    for t in range(steps):
        price *= np.exp((rate - 0.5 * volatility**2) * dt + volatility * np.sqrt(dt) * normals[t])
        total += price
    payoff = np.exp(-rate * years) * np.maximum(total / steps - strike, 0)
    return payoff.mean(), payoff.std() / np.sqrt(paths)


def barrier_option(normals, spot, strike, barrier, rate, volatility, years):
    """A down-and-out call: paths that touch the barrier are dropped from those that live."""
    steps, paths = normals.shape
    dt = years / steps
    drift = (rate - 0.5 * volatility**2) * dt
    log_price = np.full(paths, math.log(spot))
    alive = np.ones(paths, dtype=bool)
    survivors = []
    for t in range(steps):
        log_price[alive] += drift + volatility * math.sqrt(dt) * normals[t, alive]
        alive &= log_price > math.log(barrier)
        survivors.append(alive.sum())
    payoff = np.where(alive, np.maximum(np.exp(log_price) - strike, 0.0), 0.0)
    return math.exp(-rate * years) * payoff.mean(), np.array(survivors)


def least_squares_option(paths, strike, rate, dt):
    """An American put by regression on `paths` [steps + 1, n]: backwards, exercised where that is
    worth more than the fitted value of waiting."""
    discount = np.exp(-rate * dt)
    cash = np.maximum(strike - paths[-1], 0.0)
    for t in range(paths.shape[0] - 2, 0, -1):
        cash *= discount
        price = paths[t]
        worth = strike - price > 0
        x = price[worth] / strike
        basis = np.stack((np.ones_like(x), x, x * x), axis=1)
        fit = np.linalg.solve(basis.T @ basis + 1e-9 * np.eye(3), basis.T @ cash[worth])
        exercise = np.maximum(strike - price, 0.0)
        waiting = np.full_like(price, np.inf)
        waiting[worth] = basis @ fit
        now = worth & (exercise > waiting)
        cash[now] = exercise[now]
    return discount * cash.mean()


def ising(spins, beta, rows, columns, uniforms):
    """Metropolis on a periodic lattice `spins` [n, n] (int8), site by site from the lists `rows`,
    `columns`, `uniforms` [steps]; gives the magnetisation after each step."""
    n = spins.shape[0]
    magnetisation = np.empty(len(rows), dtype=np.int64)
    total = spins.sum()
    for step in range(len(rows)):
        i, j = rows[step], columns[step]
        around = spins[(i + 1) % n, j] + spins[i - 1, j] + spins[i, (j + 1) % n] + spins[i, j - 1]
        cost = 2.0 * spins[i, j] * around
        if cost <= 0 or uniforms[step] < math.exp(-beta * cost):
            spins[i, j] = -spins[i, j]
            total += 2 * spins[i, j]
        magnetisation[step] = total
    return magnetisation


def checkerboard_ising(spins, beta, uniforms):
    """The same lattice, one colour of the checkerboard at a time; `uniforms` [sweeps, 2, n, n]."""
    i, j = np.indices(spins.shape)
    colours = [(i + j) % 2 == c for c in (0, 1)]
    energies = np.empty(len(uniforms))
    for sweep, draws in enumerate(uniforms):
        for colour, u in zip(colours, draws):
            around = sum(np.roll(spins, s, axis) for s in (1, -1) for axis in (0, 1))
            flip = colour & (u < np.exp(-2.0 * beta * spins * around))
            spins[flip] *= -1
        energies[sweep] = -np.mean(spins * (np.roll(spins, 1, 0) + np.roll(spins, 1, 1)))
    return energies


def metropolis(start, steps, uniforms):
    """A chain through a banana-shaped density in the plane: `steps` [n, 2] are proposed, accepted
    on `uniforms` [n]. Gives the samples [n, 2] and the rate of acceptance."""

    def log_density(p):
        return -0.05 * (1 - p[0]) ** 2 - (p[1] - 0.5 * p[0] ** 2) ** 2

    samples = np.empty_like(steps)
    position = start.copy()
    density = log_density(position)
    accepted = 0
    for k in range(len(steps)):
        proposal = position + steps[k]
        proposed = log_density(proposal)
        if np.log(uniforms[k]) < proposed - density:
            position, density = proposal, proposed
            accepted += 1
        samples[k] = position
    return samples, accepted / len(steps)


def annealing(distance, tour, swaps, uniforms, hot, cooling):
    """A short round trip by simulated annealing: a stretch of the `tour` [n] is reversed at each of
    `swaps` [steps, 2] if that is shorter, or by chance. `tour` is changed in place."""
    n = len(tour)
    temperature = hot
    for (i, j), u in zip(swaps, uniforms):
        if i > j:
            i, j = j, i
        if j - i < 1 or (i == 0 and j == n - 1):
            continue
        a, b = tour[i - 1], tour[i]
        c, d = tour[j], tour[(j + 1) % n]
        gain = distance[a, c] + distance[b, d] - distance[a, b] - distance[c, d]
        if gain < 0 or u < np.exp(-gain / temperature):
            tour[i : j + 1] = tour[i : j + 1][::-1].copy()
        temperature *= cooling
    return sum(distance[tour[k - 1], tour[k]] for k in range(n))


def bootstrap(sample, picks):
    """A confidence interval for the ratio of deviation to mean of `sample` [n]: `picks`
    [rounds, n] are the resamples."""
    statistics = np.empty(picks.shape[0])
    for k, pick in enumerate(picks):
        resample = sample[pick]
        statistics[k] = resample.std(ddof=1) / resample.mean()
    statistics.sort()
    low = statistics[int(0.025 * len(statistics))]
    high = statistics[int(0.975 * len(statistics))]
    return low, high, statistics.mean()


# -- arguments -------------------------------------------------------------------------------------


def _square(rng, n):
    return rng.random(n), rng.random(n)


def _options(rng, n):
    return (
        rng.uniform(50, 150, n),
        rng.uniform(50, 150, n),
        rng.uniform(0.1, 2, n),
        0.03,
        rng.uniform(0.1, 0.5, n),
    )


def _asian(rng, steps, paths):
    return rng.standard_normal((steps, paths)), 100.0, 102.0, 0.03, 0.2, 1.0


def _barrier(rng, steps, paths):
    return rng.standard_normal((steps, paths)), 100.0, 102.0, 85.0, 0.03, 0.2, 1.0


def _american(rng, steps, paths):
    log = np.cumsum(0.05 * rng.standard_normal((steps + 1, paths)), axis=0)
    return 36.0 * np.exp(log - log[0]), 40.0, 0.06, 1.0 / steps


def _lattice(rng, n, steps):
    spins = rng.choice(np.array([-1, 1], dtype=np.int8), (n, n))
    return spins, 0.4, rng.integers(0, n, steps), rng.integers(0, n, steps), rng.random(steps)


def _board(rng, n, sweeps):
    return rng.choice(np.array([-1, 1]), (n, n)), 0.44, rng.random((sweeps, 2, n, n))


def _chain(rng, n):
    return np.array([0.5, 0.1]), 0.8 * rng.standard_normal((n, 2)), rng.random(n)


def _cities(rng, n, steps):
    at = rng.random((n, 2))
    distance = np.sqrt(((at[:, None] - at[None]) ** 2).sum(-1))
    return (
        distance,
        rng.permutation(n),
        rng.integers(0, n, (steps, 2)),
        rng.random(steps),
        0.5,
        0.999,
    )


def _resamples(rng, n, rounds):
    return 5 + rng.standard_normal(n), rng.integers(0, n, (rounds, n))


PROGRAMS = (
    Program(
        "pi_vector", pi_vector, _square, {"test": {"n": 100}, "bench": {"n": 2_000_000}}, numba=True
    ),
    Program("pi_loop", pi_loop, _square, {"test": {"n": 100}, "bench": {"n": 100_000}}, numba=True),
    Program(
        "black_scholes",
        black_scholes,
        _options,
        {"test": {"n": 50}, "bench": {"n": 200_000}},
        numba=True,
        tolerance=1e-11,
    ),
    Program(
        "asian_option",
        asian_option,
        _asian,
        {"test": {"steps": 6, "paths": 20}, "bench": {"steps": 100, "paths": 20_000}},
        numba=True,
    ),
    Program(
        "barrier_option",
        barrier_option,
        _barrier,
        {"test": {"steps": 6, "paths": 20}, "bench": {"steps": 100, "paths": 20_000}},
    ),
    Program(
        "least_squares_option",
        least_squares_option,
        _american,
        {"test": {"steps": 5, "paths": 60}, "bench": {"steps": 50, "paths": 20_000}},
        numba=True,
        tolerance=1e-7,
    ),
    Program(
        "ising",
        ising,
        _lattice,
        {"test": {"n": 6, "steps": 60}, "bench": {"n": 64, "steps": 50_000}},
        numba=True,
    ),
    Program(
        "checkerboard_ising",
        checkerboard_ising,
        _board,
        {"test": {"n": 8, "sweeps": 4}, "bench": {"n": 128, "sweeps": 30}},
    ),
    Program(
        "metropolis",
        metropolis,
        _chain,
        {"test": {"n": 40}, "bench": {"n": 20_000}},
        numba=True,
        tolerance=1e-10,
    ),
    Program(
        "annealing",
        annealing,
        _cities,
        {"test": {"n": 10, "steps": 40}, "bench": {"n": 100, "steps": 20_000}},
    ),
    Program(
        "bootstrap",
        bootstrap,
        _resamples,
        {"test": {"n": 30, "rounds": 50}, "bench": {"n": 500, "rounds": 2000}},
    ),
)
