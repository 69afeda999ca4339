"""Queues and heaps: what comes first is what has waited longest, or what is least.

Searches in breadth, shortest ways, orders and codes, windows with two ends, simulations by events.
"""

from __future__ import annotations

import heapq
from collections import deque
from heapq import heappop, heappush

import numpy as np

from .program import Program


def breadth_first_deque(indptr, neighbours, source):
    """Distances [n] in steps from `source`, -1 where there is no way."""
    distance = np.full(len(indptr) - 1, -1)
    distance[source] = 0
    queue = deque([source])
    while queue:
        node = queue.popleft()
        for k in range(indptr[node], indptr[node + 1]):
            other = neighbours[k]
            if distance[other] < 0:
                distance[other] = distance[node] + 1
                queue.append(other)
    return distance


def breadth_first_levels(indptr, neighbours, source):
    """The same level by level; how many nodes each level has."""
    distance = np.full(len(indptr) - 1, -1)
    distance[source] = 0
    sizes = []
    frontier = [source]
    while frontier:
        sizes.append(len(frontier))
        following = []
        for node in frontier:
            for other in neighbours[indptr[node] : indptr[node + 1]]:
                if distance[other] < 0:
                    distance[other] = len(sizes)
                    following.append(other)
        frontier = following
    return distance, sizes


def shortest_maze(walls, start, goal):
    """Steps of the shortest way through a maze `walls` [h, w], -1 where there is none."""
    h, w = walls.shape
    seen = walls.copy()
    seen[start] = True
    queue = deque()
    queue.append((start[0], start[1], 0))
    while len(queue) > 0:
        i, j, steps = queue.popleft()
        if (i, j) == goal:
            return steps
        for di, dj in ((0, 1), (1, 0), (0, -1), (-1, 0)):
            y, x = i + di, j + dj
            if 0 <= y < h and 0 <= x < w and not seen[y, x]:
                seen[y, x] = True
                queue.append((y, x, steps + 1))
    return -1


def zero_one_search(costs):
    """The least walls to break from corner to corner of `costs` [h, w] of 0 and 1."""
    h, w = costs.shape
    best = np.full((h, w), h * w + 1)
    best[0, 0] = costs[0, 0]
    queue = deque([(0, 0)])
    while queue:
        i, j = queue.popleft()
        for y, x in ((i + 1, j), (i - 1, j), (i, j + 1), (i, j - 1)):
            if y < 0 or y >= h or x < 0 or x >= w:
                continue
            through = best[i, j] + costs[y, x]
            if through < best[y, x]:
                best[y, x] = through
                if costs[y, x] == 0:
                    queue.appendleft((y, x))
                else:
                    queue.append((y, x))
    return best


def topological_order(indptr, neighbours):
    """Kahn's order of a directed graph's nodes: fewer than n where it has a cycle."""
    n = len(indptr) - 1
    degree = np.bincount(neighbours, minlength=n)
    ready = deque(np.flatnonzero(degree == 0))
    order = []
    while ready:
        node = ready.popleft()
        order.append(node)
        for other in neighbours[indptr[node] : indptr[node + 1]]:
            degree[other] -= 1
            if degree[other] == 0:
                ready.append(other)
    return np.array(order), len(order) == n


def sliding_maximum(values, width):
    """The maxima of all windows of `width` neighbours of `values` [n]."""
    out = np.empty(len(values) - width + 1)
    window = deque()
    for i, v in enumerate(values):
        while window and values[window[-1]] <= v:
            window.pop()
        window.append(i)
        if window[0] <= i - width:
            window.popleft()
        if i >= width - 1:
            out[i - width + 1] = values[window[0]]
    return out


def josephus(n, step):
    """The order in which people in a circle leave, each `step`-th one."""
    circle = deque(range(n))
    order = np.empty(n, dtype=np.int64)
    for k in range(n):
        for _ in range(step - 1):
            circle.append(circle.popleft())
        order[k] = circle.popleft()
    return order


def dijkstra_heap(indptr, neighbours, weights, source):
    """Dijkstra's shortest ways from `source` on compressed neighbours: distances, parents [n]."""
    n = len(indptr) - 1
    distance = np.full(n, np.inf)
    parent = np.full(n, -1)
    distance[source] = 0.0
    heap = [(0.0, source)]
    while heap:
        d, node = heapq.heappop(heap)
        if d > distance[node]:
            continue
        for k in range(indptr[node], indptr[node + 1]):
            other = neighbours[k]
            further = d + weights[k]
            if further < distance[other]:
                distance[other] = further
                parent[other] = node
                heapq.heappush(heap, (further, other))
    return distance, parent


def a_star(heights, start, goal):
    """The cheapest way over a terrain `heights` [h, w]: its cost, and how many points were left."""
    h, w = heights.shape
    cost = np.full((h, w), np.inf)
    cost[start] = 0.0
    closed = np.zeros((h, w), dtype=np.bool_)
    heap = [(0.0, start[0], start[1])]
    expanded = 0
    while heap:
        _, i, j = heappop(heap)
        if i == goal[0] and j == goal[1]:
            break
        if closed[i, j]:
            continue
        closed[i, j] = True
        expanded += 1
        for di, dj in ((1, 0), (-1, 0), (0, 1), (0, -1)):
            y, x = i + di, j + dj
            if 0 <= y < h and 0 <= x < w:
                new = cost[i, j] + 1.0 + abs(heights[y, x] - heights[i, j])
                if new < cost[y, x]:
                    cost[y, x] = new
                    heappush(heap, (new + abs(goal[0] - y) + abs(goal[1] - x), y, x))
    return cost[goal], expanded


def spanning_tree_heap(indptr, neighbours, weights):
    """Prim's minimal spanning tree from node 0: its weight, and the edges that it takes."""
    n = len(indptr) - 1
    inside = np.zeros(n, dtype=bool)
    total = 0.0
    edges = []
    heap = [(0.0, 0, 0)]
    while heap and len(edges) < n:
        weight, node, origin = heappop(heap)
        if inside[node]:
            continue
        inside[node] = True
        total += weight
        edges.append((origin, node))
        for k in range(indptr[node], indptr[node + 1]):
            if not inside[neighbours[k]]:
                heappush(heap, (weights[k], neighbours[k], node))
    return total, np.array(edges)


def huffman_lengths(frequencies):
    """The lengths [n] of Huffman's codes for symbols of these `frequencies` [n]."""
    n = len(frequencies)
    parent = np.zeros(2 * n - 1, dtype=np.int64)
    heap = [(frequencies[i], i) for i in range(n)]
    heapq.heapify(heap)
    following = n
    while len(heap) > 1:
        first, a = heapq.heappop(heap)
        second, b = heapq.heappop(heap)
        parent[a] = parent[b] = following
        heapq.heappush(heap, (first + second, following))
        following += 1
    depth = np.zeros(2 * n - 1, dtype=np.int64)
    for k in range(following - 2, -1, -1):
        depth[k] = depth[parent[k]] + 1
    return depth[:n]


def median_so_far(values):
    """The median of the first k of `values` [n], for each k, by two heaps."""
    low, high = [], []
    out = np.empty(len(values))
    for k, v in enumerate(values):
        if low and v > -low[0]:
            heappush(high, v)
        else:
            heappush(low, -v)
        if len(low) > len(high) + 1:
            heappush(high, -heappop(low))
        elif len(high) > len(low):
            heappush(low, -heappop(high))
        if len(low) > len(high):
            out[k] = -low[0]
        else:
            out[k] = (high[0] - low[0]) / 2
    return out


def merge_sorted(rows):
    """All of `rows` [m, n], each in order, as one array in order."""
    m, n = rows.shape
    heap = [(rows[r, 0], r, 0) for r in range(m)]
    heapq.heapify(heap)
    out = []
    while heap:
        value, r, k = heap[0]
        out.append(value)
        if k + 1 < n:
            heapq.heapreplace(heap, (rows[r, k + 1], r, k + 1))
        else:
            heapq.heappop(heap)
    return np.array(out)


def largest_few(values, count):
    """The `count` largest of `values` [n] in falling order, on a heap of as many."""
    heap = []
    for v in values:
        if len(heap) < count:
            heapq.heappush(heap, v)
        elif v > heap[0]:
            heapq.heapreplace(heap, v)
    out = []
    while heap:
        out.append(heapq.heappop(heap))
    return out[::-1]


def service(arrivals, durations, servers):
    """Customers who arrive at `arrivals` [n] and take `durations` [n] are served in turn by so many
    servers: the mean wait, and when the last one leaves."""
    busy = []
    waited = 0.0
    last = 0.0
    for arrival, duration in zip(arrivals, durations):
        start = arrival
        if len(busy) == servers:
            start = max(arrival, heapq.heappop(busy))
        waited += start - arrival
        heapq.heappush(busy, start + duration)
        last = max(last, start + duration)
    return waited / len(arrivals), last


def basins(heights):
    """Water that stays on a terrain `heights` [h, w] which drains over its border."""
    h, w = heights.shape
    seen = np.zeros((h, w), dtype=bool)
    heap = []
    for i in range(h):
        for j in range(w):
            if i == 0 or i == h - 1 or j == 0 or j == w - 1:
                heappush(heap, (heights[i, j], i, j))
                seen[i, j] = True
    water = 0
    while heap:
        level, i, j = heappop(heap)
        for y, x in ((i + 1, j), (i - 1, j), (i, j + 1), (i, j - 1)):
            if 0 <= y < h and 0 <= x < w and not seen[y, x]:
                seen[y, x] = True
                water += max(0, level - heights[y, x])
                heappush(heap, (max(level, heights[y, x]), y, x))
    return water


# -- arguments -------------------------------------------------------------------------------------


def _graph(rng, n, degree):
    edges = rng.random((n, n)) < degree / n
    indptr = np.concatenate(([0], np.cumsum(edges.sum(axis=1))))
    return indptr, np.nonzero(edges)[1]


def _searched(rng, n, degree):
    return *_graph(rng, n, degree), 0


def _ordered(rng, n, degree):
    edges = np.triu(rng.random((n, n)) < degree / n, 1)
    turned = rng.permutation(n)
    edges = edges[turned][:, turned]
    indptr = np.concatenate(([0], np.cumsum(edges.sum(axis=1))))
    return indptr, np.nonzero(edges)[1]


def _ways(rng, n, degree):
    indptr, neighbours = _graph(rng, n, degree)
    return indptr, neighbours, rng.random(len(neighbours)).round(2), 0


def _symmetric(rng, n, degree):
    edges = rng.random((n, n)) < degree / n
    edges = edges | edges.T
    weights = rng.random((n, n)).round(2)
    weights = weights + weights.T
    indptr = np.concatenate(([0], np.cumsum(edges.sum(axis=1))))
    return indptr, np.nonzero(edges)[1], weights[edges]


def _maze(rng, n):
    walls = rng.random((n, n)) < 0.22
    walls[0, 0] = walls[-1, -1] = False
    return walls, (0, 0), (n - 1, n - 1)


def _costs(rng, n):
    return ((rng.random((n, n)) < 0.5).astype(np.int64),)


def _terrain(rng, n):
    return rng.random((n, n)).round(2) * 3, (0, 0), (n - 1, n - 1)


def _windows(rng, n):
    return rng.random(n), max(3, n // 10)


def _circle(rng, n):
    return n, 7


def _frequencies(rng, n):
    return (rng.integers(1, 1000, n),)


def _values(rng, n):
    return (rng.normal(size=n).round(2),)


def _rows(rng, n):
    return (np.sort(rng.random((max(3, n // 20), n)), axis=1),)


def _few(rng, n):
    return rng.random(n), max(3, n // 50)


def _customers(rng, n):
    return np.cumsum(rng.exponential(1.0, n)), rng.exponential(2.8, n), 3


def _heights(rng, n):
    return (rng.integers(0, 50, (n, n)),)


PROGRAMS = (
    Program(
        "breadth_first_deque",
        breadth_first_deque,
        _searched,
        {"test": {"n": 15, "degree": 3}, "bench": {"n": 3000, "degree": 10}},
    ),
    Program(
        "breadth_first_levels",
        breadth_first_levels,
        _searched,
        {"test": {"n": 15, "degree": 3}, "bench": {"n": 3000, "degree": 10}},
        numba=True,
    ),
    Program("shortest_maze", shortest_maze, _maze, {"test": {"n": 7}, "bench": {"n": 120}}),
    Program("zero_one_search", zero_one_search, _costs, {"test": {"n": 7}, "bench": {"n": 100}}),
    Program(
        "topological_order",
        topological_order,
        _ordered,
        {"test": {"n": 15, "degree": 4}, "bench": {"n": 3000, "degree": 10}},
    ),
    Program(
        "sliding_maximum", sliding_maximum, _windows, {"test": {"n": 25}, "bench": {"n": 50_000}}
    ),
    Program("josephus", josephus, _circle, {"test": {"n": 12}, "bench": {"n": 10_000}}),
    Program(
        "dijkstra_heap",
        dijkstra_heap,
        _ways,
        {"test": {"n": 15, "degree": 3}, "bench": {"n": 2000, "degree": 10}},
        numba=True,
    ),
    Program("a_star", a_star, _terrain, {"test": {"n": 6}, "bench": {"n": 70}}, numba=True),
    Program(
        "spanning_tree_heap",
        spanning_tree_heap,
        _symmetric,
        {"test": {"n": 12, "degree": 3}, "bench": {"n": 1500, "degree": 6}},
    ),
    Program(
        "huffman_lengths",
        huffman_lengths,
        _frequencies,
        {"test": {"n": 12}, "bench": {"n": 10_000}},
        numba=True,
    ),
    Program("median_so_far", median_so_far, _values, {"test": {"n": 20}, "bench": {"n": 20_000}}),
    Program("merge_sorted", merge_sorted, _rows, {"test": {"n": 8}, "bench": {"n": 700}}),
    Program("largest_few", largest_few, _few, {"test": {"n": 25}, "bench": {"n": 30_000}}),
    Program("service", service, _customers, {"test": {"n": 20}, "bench": {"n": 20_000}}),
    Program("basins", basins, _heights, {"test": {"n": 6}, "bench": {"n": 100}}),
)
