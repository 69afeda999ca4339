"""Ordinary differential equations: fixed steps, steps that adapt, implicit steps, events.

The right-hand sides are functions and closures that are handed to the integrators; the loops are
`while` loops over the time, with rejected steps, and results that are gathered in lists.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .program import Program


def lorenz(state, sigma, rho, beta):
    """The Lorenz system, [3] to [3]."""
    x, y, z = state
    return np.array([sigma * (y - x), x * (rho - z) - y, x * y - beta * z])


def rk4_lorenz(state, dt, steps):
    """Runge-Kutta's classical method on the Lorenz system; the trajectory [steps + 1, 3]."""
    trajectory = np.empty((steps + 1, 3))
    trajectory[0] = state
    for k in range(steps):
        y = trajectory[k]
        k1 = lorenz(y, 10.0, 28.0, 8 / 3)
        k2 = lorenz(y + 0.5 * dt * k1, 10.0, 28.0, 8 / 3)
        k3 = lorenz(y + 0.5 * dt * k2, 10.0, 28.0, 8 / 3)
        k4 = lorenz(y + dt * k3, 10.0, 28.0, 8 / 3)
        trajectory[k + 1] = y + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return trajectory


def euler_decay(concentration, rates, dt, until):
    """A chain of decays, one substance to the next, `concentration` [n], by Euler's method up to
    the time `until`; the last step is shortened."""
    t = 0.0
    c = concentration.copy()
    while t < until:
        h = dt if t + dt <= until else until - t
        lost = rates * c
        change = -lost
        change[1:] += lost[:-1]
        c += h * change
        t += h
    return c, t


DORMAND_PRINCE = np.array(
    [
        [0, 0, 0, 0, 0, 0],
        [1 / 5, 0, 0, 0, 0, 0],
        [3 / 40, 9 / 40, 0, 0, 0, 0],
        [44 / 45, -56 / 15, 32 / 9, 0, 0, 0],
        [19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729, 0, 0],
        [9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656, 0],
        [35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84],
    ]
)
FOURTH_ORDER = np.array(
    [5179 / 57600, 0, 7571 / 16695, 393 / 640, -92097 / 339200, 187 / 2100, 1 / 40]
)


def orbit(state, mu):
    """The restricted three-body problem in the rotating plane: x, y and their velocities."""
    x, y, vx, vy = state[0], state[1], state[2], state[3]
    d1 = ((x + mu) ** 2 + y**2) ** 1.5
    d2 = ((x - 1 + mu) ** 2 + y**2) ** 1.5
    out = np.empty(4)
    out[0] = vx
    out[1] = vy
    out[2] = x + 2 * vy - (1 - mu) * (x + mu) / d1 - mu * (x - 1 + mu) / d2
    out[3] = y - 2 * vx - (1 - mu) * y / d1 - mu * y / d2
    return out


def rk45_orbit(state, mu, until, tolerance):
    """Dormand and Prince's pair with steps that adapt; rejected steps are repeated. Gives the end
    state and the numbers of steps taken and rejected."""
    t, h = 0.0, 1e-3
    y = state.copy()
    stages = np.zeros((7, y.size))
    taken = rejected = 0
    stages[0] = orbit(y, mu)
    while t < until:
        h = min(h, until - t)
        for s in range(1, 7):
            stages[s] = orbit(y + h * (DORMAND_PRINCE[s, :s] @ stages[:s]), mu)
        new = y + h * (DORMAND_PRINCE[6] @ stages[:6])
        error = np.abs(new - (y + h * (FOURTH_ORDER @ stages))).max()
        if error <= tolerance:
            t += h
            y = new
            stages[0] = stages[6]
            taken += 1
        else:
            rejected += 1
        h *= min(5.0, max(0.2, 0.9 * (tolerance / max(error, 1e-300)) ** 0.2))
    return y, taken, rejected


def predator_prey(prey, predators, until, tolerance):
    """Lotka-Volterra by Heun's method with adaptive steps; the times and states that were reached
    are gathered in lists."""

    def rhs(state):
        a, b = state
        return np.array((1.1 * a - 0.4 * a * b, 0.1 * a * b - 0.4 * b))

    y = np.array([prey, predators])
    t, h = 0.0, 0.01
    times, states = [t], [y]
    while t < until:
        k1 = rhs(y)
        k2 = rhs(y + h * k1)
        error = np.linalg.norm(h * (k2 - k1) / 2)
        if error < tolerance:
            y = y + h * (k1 + k2) / 2
            t += h
            times.append(t)
            states.append(y)
        h *= 0.9 * math.sqrt(tolerance / max(error, 1e-12))
    return np.array(times), np.stack(states)


def van_der_pol(x, v, mu, dt, steps):
    """A stiff oscillator by implicit Euler, each step solved by Newton's method on 2x2 systems."""
    out = np.empty((steps, 2))
    iterations = 0
    for k in range(steps):
        x_new, v_new = x, v
        for _ in range(20):
            f = x_new - x - dt * v_new
            g = v_new - v - dt * (mu * (1 - x_new**2) * v_new - x_new)
            a, b = 1.0, -dt
            c = dt * (2 * mu * x_new * v_new + 1)
            d = 1 - dt * mu * (1 - x_new**2)
            determinant = a * d - b * c
            dx = (d * f - b * g) / determinant
            dv = (a * g - c * f) / determinant
            x_new -= dx
            v_new -= dv
            iterations += 1
            if abs(dx) + abs(dv) < 1e-10:
                break
        x, v = x_new, v_new
        out[k] = x, v
    return out, iterations


@dataclass
class Ball:
    """A ball: height, velocity, time, and how often it has bounced."""

    height: float
    velocity: float
    time: float = 0.0
    bounces: int = 0


def bounce(ball, restitution, gravity):
    """Turn the ball around where it has gone below the floor; tell whether it still moves."""
    if ball.height < 0.0 and ball.velocity < 0.0:
        ball.height = -ball.height * restitution
        ball.velocity = -ball.velocity * restitution
        ball.bounces += 1
    return ball.velocity**2 / 2 + gravity * ball.height > 1e-3


def bouncing_ball(ball, dt, limit):
    """Drop a ball until it rests or `limit` is over; gives the highest point after the first
    bounce."""
    highest = 0.0
    while ball.time < limit:
        ball.velocity -= 9.81 * dt
        ball.height += ball.velocity * dt
        ball.time += dt
        if not bounce(ball, 0.8, 9.81):
            break
        if ball.bounces and ball.height > highest:
            highest = ball.height
    return highest


def pendulums(angles, momenta, lengths, dt, steps):
    """Many pendulums [n] side by side by the leapfrog; the energy of all, each step [steps]."""
    energy = np.empty(steps)
    for k in range(steps):
        momenta -= 0.5 * dt * 9.81 / lengths * np.sin(angles)
        angles += dt * momenta
        momenta -= 0.5 * dt * 9.81 / lengths * np.sin(angles)
        energy[k] = np.sum(0.5 * (lengths * momenta) ** 2 + 9.81 * lengths * (1 - np.cos(angles)))
    angles += np.pi
    angles %= 2 * np.pi
    angles -= np.pi
    return energy


def integrate(rhs, y, t, dt, steps):
    """Adams-Bashforth of second order, started by Euler."""
    old = rhs(t, y)
    y = y + dt * old
    for k in range(1, steps):
        new = rhs(t + k * dt, y)
        y = y + dt * (1.5 * new - 0.5 * old)
        old = new
    return y


def driven_oscillators(y, frequencies, coupling, dt, steps):
    """Kuramoto's oscillators `y` [n] pulled along by a closure over their `frequencies`."""

    def rhs(t, phase):
        pull = np.sin(phase[None, :] - phase[:, None]).mean(axis=1)
        return frequencies + coupling * pull + 0.1 * np.sin(t)

    phases = integrate(rhs, y, 0.0, dt, steps)
    order = np.abs(np.exp(1j * phases).mean())
    return phases, order


# -- arguments -------------------------------------------------------------------------------------


def _start(rng, steps):
    return np.array([1.0, 1.0, 20.0]) + 0.1 * rng.random(3), 0.005, steps


def _chain(rng, n, steps):
    return rng.random(n), rng.random(n), 0.01, 0.01 * steps + 0.004


def _arenstorf(rng, until):
    state = np.array([0.994, 0.0, 0.0, -2.00158510637908252])
    return state, 0.012277471, until / 100, 1e-9


def _populations(rng, until):
    return 10.0, 5.0 + rng.random(), float(until), 1e-3


def _oscillator(rng, steps):
    return 2.0, 0.0, 5.0, 0.01, steps


def _ball(rng, limit, rate):
    return Ball(1.0 + rng.random(), 0.0), 1.0 / rate, float(limit)


def _pendulums(rng, n, steps):
    return rng.uniform(-1, 1, n), rng.standard_normal(n), rng.uniform(0.5, 2, n), 0.01, steps


def _kuramoto(rng, n, steps):
    return rng.uniform(0, 6, n), rng.standard_normal(n), 1.5, 0.02, steps


PROGRAMS = (
    Program(
        "rk4_lorenz",
        rk4_lorenz,
        _start,
        {"test": {"steps": 20}, "bench": {"steps": 5000}},
        numba=True,
        tolerance=1e-10,
    ),
    Program(
        "euler_decay",
        euler_decay,
        _chain,
        {"test": {"n": 8, "steps": 12}, "bench": {"n": 200, "steps": 8000}},
        numba=True,
    ),
    Program(
        "rk45_orbit",
        rk45_orbit,
        _arenstorf,
        {"test": {"until": 3}, "bench": {"until": 1000}},
        numba=True,
        tolerance=1e-6,
    ),
    Program(
        "predator_prey",
        predator_prey,
        _populations,
        {"test": {"until": 1}, "bench": {"until": 60}},
        tolerance=1e-8,
    ),
    Program(
        "van_der_pol",
        van_der_pol,
        _oscillator,
        {"test": {"steps": 12}, "bench": {"steps": 10_000}},
        numba=True,
        tolerance=1e-8,
    ),
    Program(
        "bouncing_ball",
        bouncing_ball,
        _ball,
        {"test": {"limit": 1, "rate": 1000}, "bench": {"limit": 20, "rate": 10_000}},
    ),
    Program(
        "pendulums",
        pendulums,
        _pendulums,
        {"test": {"n": 9, "steps": 5}, "bench": {"n": 5000, "steps": 300}},
        numba=True,
    ),
    Program(
        "driven_oscillators",
        driven_oscillators,
        _kuramoto,
        {"test": {"n": 9, "steps": 5}, "bench": {"n": 100, "steps": 300}},
        tolerance=1e-9,
    ),
)
