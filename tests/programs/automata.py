"""Cellular automata: grids of small integers and booleans, all of which change at once.

Life by shifted slices and by rolled sums, elementary rules by table and by formula, sand that
topples until it rests, an ant, and a forest that burns on random numbers.
"""

from __future__ import annotations

import numpy as np

from .program import Program


def life(grid, steps):
    """Conway's game on `grid` [m, n] (uint8) with dead edges; the population of each step."""
    population = []
    for _ in range(steps):
        alive = (
            grid[:-2, :-2] + grid[:-2, 1:-1] + grid[:-2, 2:]
            + grid[1:-1, :-2] + grid[1:-1, 2:]
            + grid[2:, :-2] + grid[2:, 1:-1] + grid[2:, 2:]
        )  # fmt: skip
        birth = (alive == 3) & (grid[1:-1, 1:-1] == 0)
        survive = ((alive == 2) | (alive == 3)) & (grid[1:-1, 1:-1] == 1)
        grid[...] = 0
        grid[1:-1, 1:-1][birth | survive] = 1
        population.append(grid.sum())
    return population


def life_torus(grid, steps):
    """Conway's game on a torus of booleans [m, n]."""
    for _ in range(steps):
        around = np.zeros(grid.shape, dtype=np.int8)
        for di in (-1, 0, 1):
            for dj in (-1, 0, 1):
                if di or dj:
                    around += np.roll(grid, (di, dj), axis=(0, 1))
        grid = (around == 3) | (grid & (around == 2))
    return grid


def life_cells(grid, steps):
    """The same cell by cell, into a second grid that swaps with the first."""
    rows, columns = grid.shape
    new = np.zeros_like(grid)
    for _ in range(steps):
        for i in range(rows):
            for j in range(columns):
                around = 0
                for di in range(-1, 2):
                    for dj in range(-1, 2):
                        if di == 0 and dj == 0:
                            continue
                        around += grid[(i + di) % rows, (j + dj) % columns]
                new[i, j] = 1 if around == 3 or (around == 2 and grid[i, j] == 1) else 0
        grid, new = new, grid
    return grid


def rule_110(start, steps):
    """Rule 110 from `start` [n] (uint8): the picture [steps + 1, n]."""
    picture = np.zeros((steps + 1, start.size), dtype=np.uint8)
    picture[0] = start
    for t in range(steps):
        left, centre, right = np.roll(picture[t], 1), picture[t], np.roll(picture[t], -1)
        picture[t + 1] = (centre | right) & ~(left & centre & right) & 1
    return picture


def elementary(rule, cells, steps):
    """Any elementary rule, by a table of its bits; `cells` [n] is changed in place."""
    table = np.array([(rule >> k) & 1 for k in range(8)])
    n = len(cells)
    for _ in range(steps):
        first, left = cells[0], cells[n - 1]
        for i in range(n):
            right = cells[i + 1] if i < n - 1 else first
            code = 4 * left + 2 * cells[i] + right
            left = cells[i]
            cells[i] = 1 if table[code] else 0
    return cells.sum()


def sandpile(grid):
    """Sites of `grid` [m, n] with four grains or more topple onto their neighbours until all rest;
    gives how many toppled."""
    toppled = 0
    while np.any(grid >= 4):
        over = grid >= 4
        toppled += over.sum()
        grid[over] -= 4
        grid[1:] += over[:-1]
        grid[:-1] += over[1:]
        grid[:, 1:] += over[:, :-1]
        grid[:, :-1] += over[:, 1:]
    return toppled


def ant(grid, steps):
    """Langton's ant on a torus `grid` [n, n] (int8): turns by the colour, which it changes."""
    n = grid.shape[0]
    i = j = n // 2
    di, dj = -1, 0
    for _ in range(steps):
        if grid[i, j]:
            di, dj = -dj, di
        else:
            di, dj = dj, -di
        grid[i, j] ^= 1
        i = (i + di) % n
        j = (j + dj) % n
    return (i, j), grid.sum()


def forest_fire(forest, growth, lightning):
    """Trees (1) catch fire (2) from neighbours or lightning, burn down, and grow again: `forest`
    [m, n] (int8), random numbers [steps, m, n]. Gives the trees that have burnt in each step."""
    burnt = np.zeros(len(growth), dtype=np.int64)
    for t, (g, l) in enumerate(zip(growth, lightning)):
        fire = forest == 2
        near = np.zeros_like(fire)
        near[1:] |= fire[:-1]
        near[:-1] |= fire[1:]
        near[:, 1:] |= fire[:, :-1]
        near[:, :-1] |= fire[:, 1:]
        tree = forest == 1
        grown = (forest == 0) & (g < 0.02)
        lit = tree & (near | (l < 0.001))
        forest[fire] = 0
        forest[grown] = 1
        forest[lit] = 2
        burnt[t] = np.count_nonzero(lit)
    return burnt


def traffic(road, limit, dawdle):
    """Nagel and Schreckenberg's cars on a ring `road` [n] of speeds, -1 where it is empty; random
    numbers `dawdle` [steps, n]. Gives the flow."""
    n = len(road)
    moved = 0
    for t in range(dawdle.shape[0]):
        new = np.full(n, -1)
        for i in range(n):
            speed = road[i]
            if speed < 0:
                continue
            speed = min(speed + 1, limit)
            gap = 0
            while gap < speed and road[(i + gap + 1) % n] < 0:
                gap += 1
            speed = min(speed, gap)
            if speed > 0 and dawdle[t, i] < 0.3:
                speed -= 1
            new[(i + speed) % n] = speed
            moved += speed
        road[:] = new
    return moved / (n * len(dawdle))


# -- arguments -------------------------------------------------------------------------------------


def _cells(rng, n, steps):
    return (rng.random((n, n + 2)) < 0.3).astype(np.uint8), steps


def _boolean_cells(rng, n, steps):
    return rng.random((n, n + 2)) < 0.3, steps


def _row(rng, n, steps):
    return rng.integers(0, 2, n, dtype=np.uint8), steps


def _ruled(rng, n, steps):
    return 30, rng.integers(0, 2, n), steps


def _sand(rng, n, grains):
    grid = rng.integers(0, 4, (n, n))
    grid[n // 2, n // 2] = grains
    return (grid,)


def _ground(rng, n, steps):
    return np.zeros((n, n), dtype=np.int8), steps


def _trees(rng, n, steps):
    forest = (rng.random((n, n)) < 0.6).astype(np.int8)
    forest[n // 2, n // 2] = 2
    return forest, rng.random((steps, n, n)), rng.random((steps, n, n))


def _cars(rng, n, steps):
    road = np.where(rng.random(n) < 0.3, rng.integers(0, 5, n), -1)
    return road, 5, rng.random((steps, n))


PROGRAMS = (
    Program(
        "life", life, _cells, {"test": {"n": 12, "steps": 5}, "bench": {"n": 256, "steps": 60}}
    ),
    Program(
        "life_torus",
        life_torus,
        _boolean_cells,
        {"test": {"n": 12, "steps": 5}, "bench": {"n": 256, "steps": 60}},
    ),
    Program(
        "life_cells",
        life_cells,
        _cells,
        {"test": {"n": 8, "steps": 2}, "bench": {"n": 64, "steps": 10}},
        numba=True,
    ),
    Program(
        "rule_110",
        rule_110,
        _row,
        {"test": {"n": 30, "steps": 10}, "bench": {"n": 4000, "steps": 1000}},
        numba=True,
    ),
    Program(
        "elementary",
        elementary,
        _ruled,
        {"test": {"n": 30, "steps": 5}, "bench": {"n": 1000, "steps": 150}},
        numba=True,
    ),
    Program(
        "sandpile",
        sandpile,
        _sand,
        {"test": {"n": 9, "grains": 60}, "bench": {"n": 60, "grains": 3000}},
    ),
    Program(
        "ant",
        ant,
        _ground,
        {"test": {"n": 9, "steps": 50}, "bench": {"n": 100, "steps": 50_000}},
        numba=True,
    ),
    Program(
        "forest_fire",
        forest_fire,
        _trees,
        {"test": {"n": 10, "steps": 6}, "bench": {"n": 128, "steps": 80}},
    ),
    Program(
        "traffic",
        traffic,
        _cars,
        {"test": {"n": 30, "steps": 5}, "bench": {"n": 500, "steps": 100}},
        numba=True,
    ),
)
