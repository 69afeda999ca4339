"""Objects that the data chooses: the nearest in a tree, the best so far, whose turn it is.

Trees of nodes that are walked down as points say, steps that are kept where they are better than
the last ones, things that are none until there is one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from .program import Program


class Node:
    """A node of a tree over points in the plane."""

    def __init__(self, points, depth=0):
        self.axis = depth % 2
        order = sorted(range(len(points)), key=lambda i: points[i][self.axis])
        middle = len(points) // 2
        self.point = points[order[middle]]
        left = [points[i] for i in order[:middle]]
        right = [points[i] for i in order[middle + 1 :]]
        self.left = Node(left, depth + 1) if left else None
        self.right = Node(right, depth + 1) if right else None


POINTS = [(2.0, 3.0), (5.0, 4.0), (9.0, 6.0), (4.0, 7.0), (8.0, 1.0), (7.0, 2.0), (1.0, 8.0)]
TREE = Node([np.array(p) for p in POINTS])


def leaves_of_points(points):
    """For each of `points` [n, 2] the sum of the last node on the way down, and how deep it is."""
    sums = np.zeros(len(points))
    depths = np.zeros(len(points), dtype=np.int64)
    for i in range(len(points)):
        node = TREE
        last = node
        while node is not None:
            last = node
            depths[i] += 1
            if points[i, node.axis] < node.point[node.axis]:
                node = node.left
            else:
                node = node.right
        sums[i] = last.point.sum()
    return sums, depths


def nearest_node(point):
    """The point of the tree next to `point` [2], and the square of its distance."""

    def visit(node, best, least):
        if node is None:
            return best, least
        distance = np.sum((node.point - point) ** 2)
        if distance < least:
            best, least = node, distance
        gap = point[node.axis] - node.point[node.axis]
        near, far = (node.left, node.right) if gap < 0 else (node.right, node.left)
        best, least = visit(near, best, least)
        if gap**2 < least:
            best, least = visit(far, best, least)
        return best, least

    best, least = visit(TREE, None, np.inf)
    return best.point, least


@dataclass
class Body:
    position: Any
    velocity: Any
    mass: Any

    def kick(self, force, dt):
        self.velocity += force / self.mass * dt


def drawn_to_the_heaviest(positions, masses, steps):
    """Bodies at `positions` [n, 2] fall towards the heaviest, which loses mass."""
    bodies = [Body(positions[i].copy(), np.zeros(2), masses[i]) for i in range(len(masses))]
    for _ in range(steps):
        big = max(bodies, key=lambda body: body.mass)
        for body in bodies:
            if body is not big:
                body.kick(big.position - body.position, 0.1)
        big.mass *= 0.8
        for body in bodies:
            body.position += 0.1 * body.velocity
    return np.array([body.position for body in bodies]), [body.mass for body in bodies]


def early_stopping(w, rate, patience):
    """Descend until the loss has not fallen for a while: the best weights and their loss."""
    best_w = None
    best = np.inf
    waited = 0
    for i in range(400):
        w = w - rate * w * (1 + 0.3 * math.cos(i))
        loss = np.sum(w**2) + 0.1 * np.sin(i)
        if loss < best:
            best, best_w, waited = loss, w.copy(), 0
        else:
            waited += 1
            if waited > patience:
                break
    return w if best_w is None else best_w, best


def rises_and_falls(prices, threshold):
    """Turning points of `prices` [n], between which they differ by more than `threshold`."""
    low = high = None
    turns = 0
    for i in range(len(prices)):
        if low is None or prices[i] < prices[low]:
            low = i
        if high is None or prices[i] > prices[high]:
            high = i
        if prices[high] - prices[low] > threshold:
            turns += 1
            low, high = (i, None) if high < low else (None, i)
    return turns, -1 if low is None else low, -1 if high is None else high


def game_of_two(dice):
    """Two players go round a track of ten fields as `dice` [n] say; a six keeps the turn."""
    players = [{"field": 0, "laps": 0, "score": 0.0} for _ in range(2)]
    turn = 0
    for die in dice:
        player = players[turn]
        player["field"] += die
        if player["field"] >= 10:
            player["field"] -= 10
            player["laps"] += 1
        player["score"] += 0.5 * die
        other = players[1 - turn]
        if other["field"] == player["field"]:
            other["field"] = 0
        if die != 6:
            turn = 1 - turn
    return [(int(p["field"]), p["laps"], float(p["score"])) for p in players]


def evolve(genes, noise):
    """The worst row of `genes` [4, 3] gives way to a child of the best one, again and again."""
    population = [[genes[i, 0], genes[i, 1], genes[i, 2]] for i in range(4)]
    for step in range(len(noise)):
        ranked = sorted(population, key=lambda g: (g[0] - 1) ** 2 + (g[1] + g[2]) ** 2)
        best, worst = ranked[0], ranked[-1]
        for k in range(3):
            worst[k] = best[k] + noise[step, k]
    return np.array(population)


def _point(rng):
    return (rng.random(2) * 9,)


def _points(rng, n):
    return (rng.random((n, 2)) * 9,)


def _bodies(rng, n, steps):
    return rng.random((n, 2)), rng.random(n) + 1, steps


def _weights(rng, n, patience):
    return rng.random(n), 1 / (10 * patience), patience


def _prices(rng, n):
    return rng.standard_normal(n).cumsum(), 3.0


def _dice(rng, n):
    return (rng.integers(1, 7, n),)


def _genes(rng, steps):
    return rng.random((4, 3)), rng.standard_normal((steps, 3)) * 0.1


PROGRAMS = (
    Program(
        "leaves_of_points", leaves_of_points, _points, {"test": {"n": 9}, "bench": {"n": 9000}}
    ),
    Program(
        "nearest_node",
        nearest_node,
        _point,
        {"test": {}, "bench": {}},
    ),
    Program(
        "drawn_to_the_heaviest",
        drawn_to_the_heaviest,
        _bodies,
        {"test": {"n": 3, "steps": 6}, "bench": {"n": 4, "steps": 1000}},
    ),
    Program(
        "early_stopping",
        early_stopping,
        _weights,
        {"test": {"n": 5, "patience": 5}, "bench": {"n": 500, "patience": 50}},
    ),
    Program(
        "rises_and_falls",
        rises_and_falls,
        _prices,
        {"test": {"n": 40}, "bench": {"n": 100_000}},
    ),
    Program("game_of_two", game_of_two, _dice, {"test": {"n": 40}, "bench": {"n": 30_000}}),
    Program("evolve", evolve, _genes, {"test": {"steps": 6}, "bench": {"steps": 1000}}),
)
