"""Time-stepped stencils: heat, waves, electromagnetic fields and shallow water on grids.

What they have in common is a grid that is overwritten step by step from shifted slices of itself.
They differ in how the edges are treated (fixed, reflecting, periodic by `np.roll` or by an index
that wraps), in how the time levels are kept (in place, two buffers that swap, three that rotate),
and in what holds the state (arrays, a dict, a dataclass).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .program import Program

GRAVITY = 9.81


def heat_1d(u, alpha, steps):
    """Explicit heat equation on a rod `u` [n] with fixed ends; two buffers that swap."""
    v = u.copy()
    for _ in range(steps):
        v[1:-1] = u[1:-1] + alpha * (u[2:] - 2.0 * u[1:-1] + u[:-2])
        u, v = v, u
    return u


def heat_2d(u, alpha, steps):
    """Heat on a plate `u` [m, n], in place, with fixed edges."""
    for _ in range(steps):
        u[1:-1, 1:-1] += alpha * (
            u[:-2, 1:-1] + u[2:, 1:-1] + u[1:-1, :-2] + u[1:-1, 2:] - 4 * u[1:-1, 1:-1]
        )
    return u.max(), u.mean()


def smooth_buffers(u, steps):
    """A running average of a signal `u` [n] with `out=` all the way: no array is made in the
    loop."""
    work = np.empty(len(u) - 2)
    kept = np.empty_like(work)
    for _ in range(steps):
        np.add(u[:-2], u[2:], out=work)
        np.multiply(work, 0.25, out=work)
        np.multiply(u[1:-1], 0.5, out=kept)
        work += kept
        np.copyto(u[1:-1], work)
    work.fill(u.mean())
    np.subtract(u[1:-1], work, work)
    return work


def heat_3d(a, b, steps):
    """The heat stencil of a box, from `a` [l, m, n] to `b` and back, twice a step."""
    for _ in range(1, steps):
        b[1:-1, 1:-1, 1:-1] = (
            0.125 * (a[2:, 1:-1, 1:-1] - 2.0 * a[1:-1, 1:-1, 1:-1] + a[:-2, 1:-1, 1:-1])
            + 0.125 * (a[1:-1, 2:, 1:-1] - 2.0 * a[1:-1, 1:-1, 1:-1] + a[1:-1, :-2, 1:-1])
            + 0.125 * (a[1:-1, 1:-1, 2:] - 2.0 * a[1:-1, 1:-1, 1:-1] + a[1:-1, 1:-1, :-2])
            + a[1:-1, 1:-1, 1:-1]
        )
        a[1:-1, 1:-1, 1:-1] = (
            0.125 * (b[2:, 1:-1, 1:-1] - 2.0 * b[1:-1, 1:-1, 1:-1] + b[:-2, 1:-1, 1:-1])
            + 0.125 * (b[1:-1, 2:, 1:-1] - 2.0 * b[1:-1, 1:-1, 1:-1] + b[1:-1, :-2, 1:-1])
            + 0.125 * (b[1:-1, 1:-1, 2:] - 2.0 * b[1:-1, 1:-1, 1:-1] + b[1:-1, 1:-1, :-2])
            + b[1:-1, 1:-1, 1:-1]
        )


def heat_state(state, steps):
    """The same plate as a dict with the field, the time and the hottest point of each step."""
    for k in range(steps):
        u = state["u"]
        dt = 0.25 * state["dx"] ** 2 / state["kappa"]
        flux_x = np.diff(u, axis=0)
        flux_y = np.diff(u, axis=1)
        change = np.zeros_like(u)
        change[:-1] += flux_x
        change[1:] -= flux_x
        change[:, :-1] += flux_y
        change[:, 1:] -= flux_y
        state["u"] = u + dt * state["kappa"] / state["dx"] ** 2 * change
        state["time"] += dt
        state["hottest"][k] = state["u"].max()
    return state


def wave_1d(n, steps, courant):
    """A string of `n` points driven at its middle; three time levels rotate. Gives the trace
    [steps] heard at a quarter of its length."""
    before = np.zeros(n)
    now = np.zeros(n)
    after = np.zeros(n)
    heard = np.empty(steps)
    c2 = courant * courant
    for t in range(steps):
        after[1:-1] = 2 * now[1:-1] - before[1:-1] + c2 * (now[2:] - 2 * now[1:-1] + now[:-2])
        after[n // 2] += np.exp(-(((t - 20) / 6.0) ** 2))
        heard[t] = after[n // 4]
        before, now, after = now, after, before
    return heard


def laplacian_periodic(u):
    """The five-point Laplacian of `u` [m, n] on a torus."""
    return (
        np.roll(u, 1, axis=0)
        + np.roll(u, -1, axis=0)
        + np.roll(u, 1, axis=1)
        + np.roll(u, -1, axis=1)
        - 4.0 * u
    )


def wave_2d(u, velocity, steps, c, dt):
    """Waves on a torus `u` [m, n] with `velocity` [m, n]: symplectic steps; energy of each step."""
    energy = []
    for _ in range(steps):
        velocity += dt * c**2 * laplacian_periodic(u)
        u += dt * velocity
        energy.append(0.5 * np.sum(velocity**2) - 0.5 * c**2 * np.sum(u * laplacian_periodic(u)))
    return np.array(energy)


def gray_scott(u, v, steps, feed=0.035, kill=0.065):
    """Reaction and diffusion of two substances `u`, `v` [m, n] (float32) on a torus."""
    for _ in range(steps):
        reaction = u * v * v
        u += np.float32(0.16) * laplacian_periodic(u) - reaction + feed * (1 - u)
        v += np.float32(0.08) * laplacian_periodic(v) + reaction - (feed + kill) * v
    return u, v


def upwind_advection(q, speed, dx, dt, steps):
    """A profile `q` [n] carried around a ring, point by point, the neighbour's index wrapped."""
    n = len(q)
    new = np.empty_like(q)
    for _ in range(steps):
        for i in range(n):
            if speed[i] > 0:
                slope = (q[i] - q[(i - 1) % n]) / dx
            else:
                slope = (q[(i + 1) % n] - q[i]) / dx
            new[i] = q[i] - dt * speed[i] * slope
        q[:] = new
    return q.sum() * dx


def fdtd_2d(ex, ey, hz, source):
    """Maxwell's equations in the plane on Yee's grid: `ex`, `ey`, `hz` [m, n], `source` [steps]."""
    for t in range(source.shape[0]):
        ey[0, :] = source[t]
        ey[1:, :] -= 0.5 * (hz[1:, :] - hz[:-1, :])
        ex[:, 1:] -= 0.5 * (hz[:, 1:] - hz[:, :-1])
        hz[:-1, :-1] -= 0.7 * (ex[:-1, 1:] - ex[:-1, :-1] + ey[1:, :-1] - ey[:-1, :-1])


@dataclass
class Water:
    """Height of the surface `h` [m, n] and the momenta `uh`, `vh` [m, n]."""

    h: np.ndarray
    uh: np.ndarray
    vh: np.ndarray


def reflect(water):
    """Walls all around: the height is mirrored, the momentum through the wall changes its sign."""
    water.h[:, 0] = water.h[:, 1]
    water.h[:, -1] = water.h[:, -2]
    water.h[0, :] = water.h[1, :]
    water.h[-1, :] = water.h[-2, :]
    water.uh[0, :] = -water.uh[1, :]
    water.uh[-1, :] = -water.uh[-2, :]
    water.vh[:, 0] = -water.vh[:, 1]
    water.vh[:, -1] = -water.vh[:, -2]


def shallow_water_step(water, dt, dx):
    """One Lax-Friedrichs step; the fluxes are those of the Saint-Venant equations."""
    h, uh, vh = water.h, water.uh, water.vh
    fluxes_x = (uh, uh**2 / h + 0.5 * GRAVITY * h**2, uh * vh / h)
    fluxes_y = (vh, uh * vh / h, vh**2 / h + 0.5 * GRAVITY * h**2)
    stepped = []
    for q, f, g in zip((h, uh, vh), fluxes_x, fluxes_y):
        new = q.copy()
        new[1:-1, 1:-1] = 0.25 * (q[2:, 1:-1] + q[:-2, 1:-1] + q[1:-1, 2:] + q[1:-1, :-2])
        new[1:-1, 1:-1] -= 0.5 * dt / dx * (f[2:, 1:-1] - f[:-2, 1:-1])
        new[1:-1, 1:-1] -= 0.5 * dt / dx * (g[1:-1, 2:] - g[1:-1, :-2])
        stepped.append(new)
    return Water(*stepped)


def shallow_water(water, dx, until):
    """A dam breaks in a basin: steps of the largest stable size until the time `until`."""
    time = 0.0
    steps = 0
    while time < until:
        speed = np.abs(water.uh / water.h) + np.sqrt(GRAVITY * water.h)
        dt = min(0.4 * dx / speed.max(), until - time)
        water = shallow_water_step(water, dt, dx)
        reflect(water)
        time += dt
        steps += 1
    return water, steps


def jacobi_2d(u, f, h, tolerance):
    """Poisson's equation by Jacobi iteration until no point of `u` [m, n] changes by more than
    `tolerance`. Gives the solution and the number of sweeps."""
    sweeps = 0
    change = np.inf
    while change > tolerance:
        new = u.copy()
        new[1:-1, 1:-1] = 0.25 * (
            u[:-2, 1:-1] + u[2:, 1:-1] + u[1:-1, :-2] + u[1:-1, 2:] - h * h * f[1:-1, 1:-1]
        )
        change = np.abs(new - u).max()
        u = new
        sweeps += 1
    return u, sweeps


def gauss_seidel(a, sweeps):
    """Nine-point averages in place: each point of `a` [n, n] sees the new values behind it."""
    n = a.shape[0]
    for _ in range(sweeps):
        for i in range(1, n - 1):
            a[i, 1:-1] += (
                a[i - 1, :-2] + a[i - 1, 1:-1] + a[i - 1, 2:]
                + a[i, 2:]
                + a[i + 1, :-2] + a[i + 1, 1:-1] + a[i + 1, 2:]
            )  # fmt: skip
            for j in range(1, n - 1):
                a[i, j] += a[i, j - 1]
                a[i, j] /= 9.0


def red_black_sor(u, f, h, omega, max_sweeps, tolerance):
    """Successive over-relaxation of Poisson's equation, first the red, then the black points of
    `u` [n, n]: strided slices that are updated in place. Stops early when the residual is small."""
    for sweep in range(max_sweeps):
        worst = 0.0
        for colour in range(2):
            for start in range(2):
                rows = slice(1 + start, -1, 2)
                j0 = 1 + (start + colour) % 2
                around = (
                    u[start : u.shape[0] - 2 : 2, j0:-1:2]
                    + u[start + 2 :: 2, j0:-1:2]
                    + u[rows, j0 - 1 : u.shape[1] - 2 : 2]
                    + u[rows, j0 + 1 :: 2]
                )
                residual = around - 4 * u[rows, j0:-1:2] - h * h * f[rows, j0:-1:2]
                u[rows, j0:-1:2] += omega * 0.25 * residual
                worst = max(worst, np.abs(residual).max())
        if worst < tolerance:
            break
    return sweep + 1, worst


def burgers(u, nu, dx, until):
    """Viscous Burgers equation on a ring, ghost cells joined to both ends, adaptive step."""
    t = 0.0
    while t < until:
        dt = 0.2 * min(dx / np.abs(u).max(), dx**2 / nu)
        if t + dt > until:
            dt = until - t
        ghosts = np.concatenate((u[-1:], u, u[:1]))
        flux = 0.5 * ghosts**2
        convection = (flux[2:] - flux[:-2]) / (2 * dx)
        diffusion = nu * (ghosts[2:] - 2 * u + ghosts[:-2]) / dx**2
        u = u + dt * (diffusion - convection)
        t += dt
    return u


# -- arguments -------------------------------------------------------------------------------------


def _rod(rng, n, steps):
    return rng.random(n), 0.4, steps


def _plate(rng, n, steps):
    return rng.random((n, n + 3)), 0.2, steps


def _noise(rng, n, steps):
    return rng.standard_normal(n), steps


def _box(rng, n, steps):
    box = rng.random((n, n + 1, n + 2))
    return box, box.copy(), steps


def _heat_state(rng, n, steps):
    state = {"u": rng.random((n, n)), "kappa": 1.3, "dx": 0.1, "time": 0.0}
    state["hottest"] = np.zeros(steps)
    return state, steps


def _string(rng, n, steps):
    return n, steps, 0.9


def _torus(rng, n, steps):
    x = np.linspace(0, 2 * np.pi, n, endpoint=False)
    u = np.sin(x)[:, None] * np.cos(2 * x)[None, :] + 0.1 * rng.random((n, n))
    return u, np.zeros((n, n)), steps, 1.0, 0.1


def _gray_scott(rng, n, steps):
    u = np.ones((n, n), np.float32)
    v = np.zeros((n, n), np.float32)
    middle = slice(n // 3, n // 2)
    u[middle, middle] = 0.5
    v[middle, middle] = 0.25 + 0.1 * rng.random(v[middle, middle].shape, dtype=np.float32)
    return u, v, steps


def _ring(rng, n, steps):
    return rng.random(n), rng.standard_normal(n), 1.0 / n, 0.2 / n, steps


def _yee(rng, m, n, steps):
    fields = [rng.random((m, n)) for _ in range(3)]
    return (*fields, np.sin(0.3 * np.arange(steps)))


def _basin(rng, n, until):
    h = np.ones((n, n))
    h[: n // 3, : n // 2] = 1.5 + 0.1 * rng.random((n // 3, n // 2))
    return Water(h, np.zeros((n, n)), np.zeros((n, n))), 1.0 / n, until / 1000


def _poisson(rng, n, digits):
    u = np.zeros((n, n))
    u[0, :] = 1.0
    return u, rng.standard_normal((n, n)), 1.0 / (n - 1), 10.0**-digits


def _square(rng, n, sweeps):
    return rng.random((n, n)), sweeps


def _sor(rng, n, sweeps):
    return np.zeros((n, n)), rng.standard_normal((n, n)), 1.0 / (n - 1), 1.7, sweeps, 1e-9


def _burgers(rng, n, until):
    x = np.linspace(0, 2 * np.pi, n, endpoint=False)
    return np.sin(x) + 0.1 * np.sin(3 * x + rng.random()), 0.07, 2 * np.pi / n, until / 1000


PROGRAMS = (
    Program(
        "heat_1d",
        heat_1d,
        _rod,
        {"test": {"n": 30, "steps": 7}, "bench": {"n": 10_000, "steps": 1000}},
        numba=True,
    ),
    Program(
        "heat_2d",
        heat_2d,
        _plate,
        {"test": {"n": 12, "steps": 6}, "bench": {"n": 256, "steps": 200}},
        numba=True,
    ),
    Program(
        "smooth_buffers",
        smooth_buffers,
        _noise,
        {"test": {"n": 20, "steps": 4}, "bench": {"n": 20_000, "steps": 400}},
    ),
    Program(
        "heat_3d",
        heat_3d,
        _box,
        {"test": {"n": 6, "steps": 4}, "bench": {"n": 48, "steps": 30}},
        numba=True,
    ),
    Program(
        "heat_state",
        heat_state,
        _heat_state,
        {"test": {"n": 9, "steps": 5}, "bench": {"n": 200, "steps": 200}},
    ),
    Program(
        "wave_1d",
        wave_1d,
        _string,
        {"test": {"n": 40, "steps": 60}, "bench": {"n": 4000, "steps": 4000}},
        numba=True,
    ),
    Program(
        "wave_2d",
        wave_2d,
        _torus,
        {"test": {"n": 16, "steps": 5}, "bench": {"n": 200, "steps": 100}},
        tolerance=1e-10,
    ),
    Program(
        "gray_scott",
        gray_scott,
        _gray_scott,
        {"test": {"n": 18, "steps": 6}, "bench": {"n": 256, "steps": 60}},
        tolerance=1e-5,
    ),
    Program(
        "upwind_advection",
        upwind_advection,
        _ring,
        {"test": {"n": 40, "steps": 4}, "bench": {"n": 2000, "steps": 100}},
        numba=True,
    ),
    Program(
        "fdtd_2d",
        fdtd_2d,
        _yee,
        {"test": {"m": 12, "n": 15, "steps": 6}, "bench": {"m": 250, "n": 300, "steps": 150}},
        numba=True,
    ),
    Program(
        "shallow_water",
        shallow_water,
        _basin,
        {"test": {"n": 14, "until": 60}, "bench": {"n": 150, "until": 150}},
    ),
    Program(
        "jacobi_2d",
        jacobi_2d,
        _poisson,
        {"test": {"n": 10, "digits": 3}, "bench": {"n": 80, "digits": 4}},
        numba=True,
    ),
    Program(
        "gauss_seidel",
        gauss_seidel,
        _square,
        {"test": {"n": 12, "sweeps": 2}, "bench": {"n": 200, "sweeps": 10}},
        numba=True,
    ),
    Program(
        "red_black_sor",
        red_black_sor,
        _sor,
        {"test": {"n": 13, "sweeps": 30}, "bench": {"n": 151, "sweeps": 300}},
        numba=True,
    ),
    Program(
        "burgers",
        burgers,
        _burgers,
        {"test": {"n": 40, "until": 200}, "bench": {"n": 1000, "until": 40}},
        numba=True,
    ),
)
