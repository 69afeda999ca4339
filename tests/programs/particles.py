"""Particles: bodies that attract, molecules that repel, charges on a grid, fluids and flocks.

All pairs as matrices, all pairs as two loops with a cutoff that skips most of them, scatter to a
grid and gather from it, and integrators that keep positions and velocities in place.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .program import Program


def accelerations(position, mass, G, softening):
    """The pull on each of the bodies at `position` [n, 3] with `mass` [n, 1], all pairs at once."""
    x = position[:, 0:1]
    y = position[:, 1:2]
    z = position[:, 2:3]
    dx = x.T - x
    dy = y.T - y
    dz = z.T - z
    inv_r3 = dx**2 + dy**2 + dz**2 + softening**2
    inv_r3[inv_r3 > 0] = inv_r3[inv_r3 > 0] ** (-1.5)
    ax = G * (dx * inv_r3) @ mass
    ay = G * (dy * inv_r3) @ mass
    az = G * (dz * inv_r3) @ mass
    return np.hstack((ax, ay, az))


def energies(position, velocity, mass, G):
    """Kinetic and potential energy of the bodies."""
    kinetic = 0.5 * np.sum(mass * velocity**2)
    dx, dy, dz = (position[:, k : k + 1].T - position[:, k : k + 1] for k in range(3))
    inv_r = np.sqrt(dx**2 + dy**2 + dz**2)
    inv_r[inv_r > 0] = 1.0 / inv_r[inv_r > 0]
    potential = G * np.sum(np.triu(-(mass * mass.T) * inv_r, 1))
    return kinetic, potential


def nbody(mass, position, velocity, steps, dt, G, softening):
    """Leapfrog over `steps`; the energies of each, [steps + 1] twice."""
    velocity -= np.mean(mass * velocity, axis=0) / np.mean(mass)
    acceleration = accelerations(position, mass, G, softening)
    kinetic = np.empty(steps + 1)
    potential = np.empty(steps + 1)
    kinetic[0], potential[0] = energies(position, velocity, mass, G)
    for i in range(steps):
        velocity += acceleration * dt / 2.0
        position += velocity * dt
        acceleration = accelerations(position, mass, G, softening)
        velocity += acceleration * dt / 2.0
        kinetic[i + 1], potential[i + 1] = energies(position, velocity, mass, G)
    return kinetic, potential


def planets(position, velocity, mass, steps, dt):
    """A few bodies in plain loops: each pair once, momentum exchanged; `position`, `velocity`
    [n, 3], `mass` [n]."""
    n = len(mass)
    for _ in range(steps):
        for i in range(n):
            for j in range(i + 1, n):
                d = position[i] - position[j]
                r2 = d[0] * d[0] + d[1] * d[1] + d[2] * d[2]
                strength = dt / (r2 * np.sqrt(r2))
                velocity[i] -= d * (mass[j] * strength)
                velocity[j] += d * (mass[i] * strength)
        position += dt * velocity
    energy = 0.0
    for i in range(n):
        energy += 0.5 * mass[i] * (velocity[i] ** 2).sum()
        for j in range(i + 1, n):
            energy -= mass[i] * mass[j] / np.sqrt(((position[i] - position[j]) ** 2).sum())
    return energy


def lennard_jones(position, box, cutoff):
    """Forces [n, 3] and energy of atoms in a periodic cube of side `box`: nearest images, pairs
    beyond the `cutoff` are skipped."""
    n = position.shape[0]
    forces = np.zeros_like(position)
    energy = 0.0
    for i in range(n - 1):
        for j in range(i + 1, n):
            d = position[i] - position[j]
            d -= box * np.rint(d / box)
            r2 = np.dot(d, d)
            if r2 >= cutoff * cutoff:
                continue
            inv6 = 1.0 / r2**3
            energy += 4.0 * inv6 * (inv6 - 1.0)
            pair = 24.0 * inv6 * (2.0 * inv6 - 1.0) / r2 * d
            forces[i] += pair
            forces[j] -= pair
    return forces, energy


class Plasma(NamedTuple):
    """Electrons on a line: `x` [n] and `v` [n]."""

    x: np.ndarray
    v: np.ndarray


def deposit(x, cells, dx):
    """The density [cells] of particles at `x` [n] on a ring, shared by the two cells around
    each."""
    left = np.floor(x / dx).astype(int)
    weight = x / dx - left
    density = np.zeros(cells)
    np.add.at(density, left % cells, 1.0 - weight)
    np.add.at(density, (left + 1) % cells, weight)
    return density * cells / len(x)


def gather(field, x, dx):
    """The `field` [cells] at the particles' places `x` [n]."""
    left = np.floor(x / dx).astype(int)
    weight = x / dx - left
    return field[left % len(field)] * (1 - weight) + field[(left + 1) % len(field)] * weight


def particle_in_cell(plasma, cells, length, dt, steps):
    """Two-stream instability: density, field by a running sum, push; field energy of each step."""
    dx = length / cells
    energy = np.zeros(steps)
    x, v = plasma
    for t in range(steps):
        charge = 1.0 - deposit(x, cells, dx)
        field = np.cumsum(charge) * dx
        field -= field.mean()
        energy[t] = 0.5 * dx * (field**2).sum()
        v = v - gather(field, x, dx) * dt
        x = (x + v * dt) % length
    return Plasma(x, v), energy


def boids(position, velocity, steps):
    """A flock in the plane: each bird turns to the centre and the heading of those that it sees,
    and away from those that are close. `position`, `velocity` [n, 2], changed in place."""
    for _ in range(steps):
        apart = position[None, :, :] - position[:, None, :]
        distance = np.sqrt((apart**2).sum(axis=-1))
        seen = (distance < 0.3) & (distance > 0)
        close = seen & (distance < 0.08)
        count = np.maximum(seen.sum(axis=1), 1)[:, None]
        cohesion = np.where(seen[:, :, None], apart, 0.0).sum(axis=1) / count
        alignment = (seen.astype(float) @ velocity) / count - velocity * seen.any(axis=1)[:, None]
        separation = -np.where(close[..., None], apart, 0).sum(axis=1)
        velocity += 0.05 * cohesion + 0.1 * alignment + 0.2 * separation
        speed = np.linalg.norm(velocity, axis=1)
        fast = speed > 0.04
        velocity[fast] *= (0.04 / speed[fast])[:, None]
        position += velocity
        position %= 1.0


def rope(position, previous, steps, dt):
    """A rope of `n` points hung up at both ends: Verlet steps, then its links are pulled to their
    length, one after the other, some times. `position`, `previous` [n, 2]."""
    n = position.shape[0]
    link = 1.0 / (n - 1)
    gravity = np.array([0.0, -9.81])
    for _ in range(steps):
        moved = 2 * position - previous + dt**2 * gravity
        moved[0], moved[-1] = position[0], position[-1]
        previous[:] = position
        position[:] = moved
        for _ in range(3):
            for i in range(n - 1):
                d = position[i + 1] - position[i]
                correction = 0.5 * d * (1 - link / np.sqrt(d @ d))
                if i > 0:
                    position[i] += correction
                if i + 1 < n - 1:
                    position[i + 1] -= correction
    return position


def smoothing_kernel(r, h):
    """The cubic spline kernel in the plane at distances `r`."""
    q = r / h
    inner = 1 - 1.5 * q**2 + 0.75 * q**3
    outer = 0.25 * (2 - q) ** 3
    return 10 / (7 * np.pi * h**2) * np.where(q < 1, inner, np.where(q < 2, outer, 0.0))


def fluid_density(position, mass, h, block):
    """Density [n] of a smoothed-particle fluid at `position` [n, 2], a block of rows at a time."""
    n = len(position)
    density = np.empty(n)
    for start in range(0, n, block):
        rows = slice(start, min(start + block, n))
        apart = position[rows, np.newaxis] - position
        r = np.hypot(apart[..., 0], apart[..., 1])
        density[rows] = mass * smoothing_kernel(r, h).sum(axis=1)
    return density


# -- arguments -------------------------------------------------------------------------------------


def _bodies(rng, n, steps):
    mass = 20.0 * np.ones((n, 1)) / n
    return mass, rng.standard_normal((n, 3)), rng.standard_normal((n, 3)), steps, 0.01, 1.0, 0.1


def _planets(rng, n, steps):
    mass = rng.random(n) * 0.01
    mass[0] = 1.0
    angle = np.linspace(0, 5, n)
    radius = np.arange(n) + 0.1
    position = np.stack((radius * np.cos(angle), radius * np.sin(angle), 0.1 * rng.random(n)), 1)
    velocity = np.stack((-np.sin(angle), np.cos(angle), np.zeros(n)), 1) / np.sqrt(radius)[:, None]
    return position, velocity, mass, steps, 0.001


def _atoms(rng, side):
    grid = np.stack(np.meshgrid(*[np.arange(side) * 1.2] * 3, indexing="ij"), -1).reshape(-1, 3)
    return grid + 0.05 * rng.random(grid.shape), 1.2 * side, 2.5


def _plasma(rng, n, cells, steps):
    length = 4 * np.pi
    x = rng.uniform(0, length, n)
    v = np.where(np.arange(n) % 2 == 0, 1.0, -1.0) * (1 + 0.1 * np.sin(x))
    return Plasma(x, v), cells, length, 0.1, steps


def _flock(rng, n, steps):
    return rng.random((n, 2)), 0.02 * rng.standard_normal((n, 2)), steps


def _rope(rng, n, steps):
    position = np.stack((np.linspace(0, 0.8, n), 0.01 * rng.random(n)), axis=1)
    return position, position.copy(), steps, 0.01


def _fluid(rng, n, block):
    return rng.random((n, 2)), 1.0 / n, 0.1, block


PROGRAMS = (
    Program(
        "nbody",
        nbody,
        _bodies,
        {"test": {"n": 8, "steps": 4}, "bench": {"n": 80, "steps": 40}},
        tolerance=1e-9,
    ),
    Program(
        "planets",
        planets,
        _planets,
        {"test": {"n": 4, "steps": 5}, "bench": {"n": 5, "steps": 1000}},
        numba=True,
        tolerance=1e-10,
    ),
    Program(
        "lennard_jones",
        lennard_jones,
        _atoms,
        {"test": {"side": 3}, "bench": {"side": 6}},
        numba=True,
        tolerance=1e-10,
    ),
    Program(
        "particle_in_cell",
        particle_in_cell,
        _plasma,
        {
            "test": {"n": 60, "cells": 8, "steps": 5},
            "bench": {"n": 20_000, "cells": 64, "steps": 50},
        },
        tolerance=1e-9,
    ),
    Program(
        "boids",
        boids,
        _flock,
        {"test": {"n": 12, "steps": 4}, "bench": {"n": 150, "steps": 40}},
        tolerance=1e-9,
    ),
    Program(
        "rope",
        rope,
        _rope,
        {"test": {"n": 7, "steps": 4}, "bench": {"n": 30, "steps": 200}},
        numba=True,
        tolerance=1e-9,
    ),
    Program(
        "fluid_density",
        fluid_density,
        _fluid,
        {"test": {"n": 23, "block": 8}, "bench": {"n": 1000, "block": 128}},
        numba=True,
    ),
)
