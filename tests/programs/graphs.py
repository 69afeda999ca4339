"""Graphs: searches, shortest paths, spanning trees, components and ranks.

Adjacency matrices, edge lists and compressed neighbours; frontiers that grow as masks, labels that
spread, parents that are followed up to the root.
"""

from __future__ import annotations

import numpy as np

from .program import Program


def breadth_first(adjacency, source):
    """Distances [n] in steps from `source`, -1 where there is no way; the frontier is a mask on a
    dense boolean `adjacency` [n, n]."""
    n = adjacency.shape[0]
    distance = np.full(n, -1)
    frontier = np.zeros(n, dtype=bool)
    frontier[source] = True
    step = 0
    while frontier.any():
        distance[frontier] = step
        frontier = adjacency[frontier].any(axis=0) & (distance < 0)
        step += 1
    return distance


def breadth_first_queue(indptr, neighbours, source):
    """The same on compressed neighbours with a queue; also the parents [n] in the tree."""
    n = len(indptr) - 1
    distance = np.full(n, -1)
    parent = np.full(n, -1)
    queue = np.empty(n, dtype=np.int64)
    head, tail = 0, 1
    queue[0] = source
    distance[source] = 0
    while head < tail:
        node = queue[head]
        head += 1
        for k in range(indptr[node], indptr[node + 1]):
            other = neighbours[k]
            if distance[other] == -1:
                distance[other] = distance[node] + 1
                parent[other] = node
                queue[tail] = other
                tail += 1
    return distance, parent


def bellman_ford(source, target, weight, n, start):
    """Shortest ways [n] from `start` over the edges `source` to `target` [m] of `weight` [m]; all
    edges are relaxed at once. Tells whether there is a negative cycle."""
    distance = np.full(n, np.inf)
    distance[start] = 0.0
    for _ in range(n - 1):
        before = distance.copy()
        np.minimum.at(distance, target, distance[source] + weight)
        if np.array_equal(distance, before):
            break
    negative = bool(np.any(distance[source] + weight < distance[target] - 1e-12))
    return distance, negative


def dijkstra(weights, start):
    """Dijkstra's shortest ways on a matrix of `weights` [n, n], inf where there is no edge."""
    n = len(weights)
    distance = np.full(n, np.inf)
    done = np.zeros(n, dtype=np.bool_)
    distance[start] = 0
    for _ in range(n):
        nearest = -1
        for v in range(n):
            if not done[v] and (nearest < 0 or distance[v] < distance[nearest]):
                nearest = v
        if np.isinf(distance[nearest]):
            break
        done[nearest] = True
        distance = np.minimum(distance, distance[nearest] + weights[nearest])
    return distance


def spanning_tree(weights):
    """Prim's minimal spanning tree of a dense symmetric `weights` [n, n]: parents [n], weight."""
    n = weights.shape[0]
    best = weights[0].copy()
    parent = np.zeros(n, dtype=int)
    inside = np.zeros(n, dtype=bool)
    inside[0] = True
    total = 0.0
    for _ in range(n - 1):
        v = np.where(inside, np.inf, best).argmin()
        total += best[v]
        inside[v] = True
        closer = ~inside & (weights[v] < best)
        best[closer] = weights[v, closer]
        parent[closer] = v
    return parent, total


def find(parent, i):
    """The root of `i`; the path to it is halved on the way."""
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


def union_find(source, target, n):
    """Components of the graph with the edges `source`, `target` [m]: the root of each node [n] and
    how many there are."""
    parent = np.arange(n)
    size = np.ones(n, dtype=np.int64)
    components = n
    for a, b in zip(source, target):
        a, b = find(parent, a), find(parent, b)
        if a == b:
            continue
        if size[a] < size[b]:
            a, b = b, a
        parent[b] = a
        size[a] += size[b]
        components -= 1
    return np.array([find(parent, i) for i in range(n)]), components


def label_propagation(source, target, n):
    """The same components: the smallest label spreads along the edges until nothing changes."""
    labels = np.arange(n)
    while True:
        before = labels.copy()
        np.minimum.at(labels, source, before[target])
        np.minimum.at(labels, target, before[source])
        if (labels == before).all():
            return labels


def pagerank_dense(links, damping, iterations):
    """PageRank of a dense `links` [n, n], a fixed number of iterations."""
    out = links.sum(axis=0)
    out[out == 0] = 1
    M = links / out
    rank = np.ones(len(links)) / len(links)
    for _ in range(iterations):
        rank = damping * M @ rank + (1 - damping) / len(links)
        rank /= rank.sum()
    return rank


def hits(links, tolerance):
    """Hubs and authorities of `links` [n, n] by mutual reinforcement."""
    hubs = np.ones(links.shape[0])
    authorities = np.zeros(links.shape[0])
    change, rounds = 1.0, 0
    while change > tolerance and rounds < 200:
        authorities = links.T @ hubs
        authorities /= np.linalg.norm(authorities)
        new = links @ authorities
        new /= np.linalg.norm(new)
        change = np.abs(new - hubs).max()
        hubs = new
        rounds += 1
    return hubs, authorities, rounds


def triangles(adjacency):
    """How many triangles each node of a boolean `adjacency` [n, n] is in, and the clustering."""
    a = adjacency.astype(np.float64)
    count = np.diag(a @ a @ a) / 2
    degree = a.sum(axis=1)
    possible = degree * (degree - 1) / 2
    clustering = np.divide(count, possible, out=np.zeros_like(count), where=possible > 0)
    return count, clustering.mean()


def matching(preferences, ranking):
    """Stable matching: each of n proposes in the order of `preferences` [n, n], the others keep
    whom they rank first in `ranking` [n, n]."""
    n = preferences.shape[0]
    partner = np.full(n, -1)
    upcoming = np.zeros(n, dtype=np.int64)
    free = np.arange(n)[::-1].copy()
    count = n
    while count > 0:
        p = free[count - 1]
        wanted = preferences[p, upcoming[p]]
        upcoming[p] += 1
        held = partner[wanted]
        if held < 0:
            partner[wanted] = p
            count -= 1
        elif ranking[wanted, p] < ranking[wanted, held]:
            partner[wanted] = p
            free[count - 1] = held
    return partner, upcoming.sum()


# -- arguments -------------------------------------------------------------------------------------


def _dense(rng, n, degree):
    a = rng.random((n, n)) < degree / n
    return a | a.T


def _reachable(rng, n, degree):
    return _dense(rng, n, degree), 0


def _neighbours(rng, n, degree):
    a = _dense(rng, n, degree)
    indptr = np.concatenate(([0], np.cumsum(a.sum(axis=1))))
    return indptr, np.nonzero(a)[1], 0


def _edges(rng, n, degree):
    return rng.integers(0, n, n * degree), rng.integers(0, n, n * degree), n


def _weighted_edges(rng, n, degree):
    source, target, n = _edges(rng, n, degree)
    return source, target, rng.random(len(source)), n, 0


def _ways(rng, n, degree):
    return np.where(_dense(rng, n, degree), rng.random((n, n)), np.inf), 0


def _distances(rng, n):
    at = rng.random((n, 2))
    return (np.sqrt(((at[:, None] - at[None]) ** 2).sum(-1)),)


def _links(rng, n, degree):
    return (rng.random((n, n)) < degree / n).astype(float), 0.85, 40


def _web(rng, n, degree):
    return (rng.random((n, n)) < degree / n).astype(float) + 1e-3, 1e-10


def _friends(rng, n, degree):
    a = _dense(rng, n, degree)
    np.fill_diagonal(a, False)
    return (a,)


def _preferences(rng, n):
    base = np.tile(np.arange(n), (n, 1))
    return rng.permuted(base, axis=1), rng.permuted(base, axis=1)


PROGRAMS = (
    Program(
        "breadth_first",
        breadth_first,
        _reachable,
        {"test": {"n": 15, "degree": 2}, "bench": {"n": 5000, "degree": 4}},
    ),
    Program(
        "breadth_first_queue",
        breadth_first_queue,
        _neighbours,
        {"test": {"n": 15, "degree": 2}, "bench": {"n": 3000, "degree": 20}},
        numba=True,
    ),
    Program(
        "bellman_ford",
        bellman_ford,
        _weighted_edges,
        {"test": {"n": 12, "degree": 3}, "bench": {"n": 20_000, "degree": 8}},
    ),
    Program(
        "dijkstra",
        dijkstra,
        _ways,
        {"test": {"n": 12, "degree": 3}, "bench": {"n": 400, "degree": 8}},
        numba=True,
    ),
    Program("spanning_tree", spanning_tree, _distances, {"test": {"n": 12}, "bench": {"n": 1500}}),
    Program(
        "union_find",
        union_find,
        _edges,
        {"test": {"n": 15, "degree": 1}, "bench": {"n": 20_000, "degree": 1}},
        numba=True,
    ),
    Program(
        "label_propagation",
        label_propagation,
        _edges,
        {"test": {"n": 15, "degree": 1}, "bench": {"n": 50_000, "degree": 2}},
    ),
    Program(
        "pagerank_dense",
        pagerank_dense,
        _links,
        {"test": {"n": 10, "degree": 3}, "bench": {"n": 1000, "degree": 8}},
        numba=True,
    ),
    Program(
        "hits",
        hits,
        _web,
        {"test": {"n": 10, "degree": 4}, "bench": {"n": 1500, "degree": 20}},
        numba=True,
        tolerance=1e-8,
    ),
    Program(
        "triangles",
        triangles,
        _friends,
        {"test": {"n": 12, "degree": 4}, "bench": {"n": 500, "degree": 30}},
    ),
    Program(
        "matching", matching, _preferences, {"test": {"n": 7}, "bench": {"n": 600}}, numba=True
    ),
)
