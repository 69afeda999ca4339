"""Clustering and fitting of clouds of points: means, mixtures, neighbours, principal axes."""

from __future__ import annotations

import numpy as np

from .program import Program


def kmeans(x, centroids, iterations):
    """Lloyd's algorithm on `x` [n, d] from `centroids` [k, d], a fixed number of iterations; empty
    clusters stay where they are. Gives the centroids and the labels [n]."""
    k = len(centroids)
    centroids = centroids.copy()
    for _ in range(iterations):
        distances = ((x[:, None, :] - centroids[None, :, :]) ** 2).sum(axis=2)
        labels = distances.argmin(axis=1)
        for j in range(k):
            if np.any(labels == j):
                centroids[j] = x[labels == j].mean(axis=0)
    return centroids, labels


def kmeans_loop(x, centroids, tolerance):
    """The same in plain loops until no centroid moves by more than `tolerance`."""
    n, d = x.shape
    k = centroids.shape[0]
    labels = np.zeros(n, dtype=np.int64)
    rounds = 0
    moved = np.inf
    while moved > tolerance:
        sums = np.zeros((k, d))
        counts = np.zeros(k)
        for i in range(n):
            best = np.inf
            for j in range(k):
                distance = 0.0
                for c in range(d):
                    distance += (x[i, c] - centroids[j, c]) ** 2
                if distance < best:
                    best = distance
                    labels[i] = j
            sums[labels[i]] += x[i]
            counts[labels[i]] += 1
        moved = 0.0
        for j in range(k):
            if counts[j] > 0:
                new = sums[j] / counts[j]
                moved = max(moved, np.abs(new - centroids[j]).max())
                centroids[j] = new
        rounds += 1
    return labels, rounds


def gaussian_mixture(x, means, iterations):
    """A mixture of round Gaussians by expectation and maximisation: `x` [n, d], `means` [k, d].
    Gives means, variances [k], weights [k], and the log likelihood of each round."""
    n, d = x.shape
    k = means.shape[0]
    variances = np.full(k, x.var())
    weights = np.full(k, 1 / k)
    history = []
    for _ in range(iterations):
        squared = np.sum((x[:, np.newaxis] - means) ** 2, axis=-1)
        log_p = np.log(weights) - 0.5 * (squared / variances + d * np.log(2 * np.pi * variances))
        top = log_p.max(axis=1, keepdims=True)
        log_sum = top[:, 0] + np.log(np.exp(log_p - top).sum(axis=1))
        r = np.exp(log_p - log_sum[:, None])
        size = r.sum(axis=0)
        means = r.T @ x / size[:, None]
        squared = np.sum((x[:, np.newaxis] - means) ** 2, axis=-1)
        variances = (r * squared).sum(axis=0) / (d * size) + 1e-9
        weights = size / n
        history.append(log_sum.mean())
    return means, variances, weights, history


def nearest_neighbours(train, labels, test, k, classes):
    """The majority class among the `k` nearest of `train` [n, d] for each of `test` [m, d]."""
    predicted = np.empty(len(test), dtype=labels.dtype)
    for i, point in enumerate(test):
        distances = np.sqrt(np.sum((train - point) ** 2, axis=1))
        nearest = labels[np.argsort(distances)[:k]]
        predicted[i] = np.bincount(nearest, minlength=classes).argmax()
    return predicted


def mean_shift(x, bandwidth, iterations):
    """Every point of `x` [n, d] climbs to a mode of the density; gives the modes [n, d]."""
    modes = x.copy()
    for _ in range(iterations):
        for i in range(modes.shape[0]):
            d2 = ((x - modes[i]) ** 2).sum(axis=1)
            w = np.exp(-0.5 * d2 / bandwidth**2)
            modes[i] = (w[:, None] * x).sum(axis=0) / w.sum()
    return modes


def density_clusters(x, radius, least):
    """DBSCAN: labels [n] of `x` [n, d], -1 for noise. Clusters grow from a stack of points."""
    n = len(x)
    near = ((x[:, None] - x[None]) ** 2).sum(-1) <= radius**2
    core = near.sum(axis=1) >= least
    labels = np.full(n, -1)
    stack = np.zeros(n, dtype=np.int64)
    cluster = 0
    for seed in range(n):
        if not core[seed] or labels[seed] >= 0:
            continue
        labels[seed] = cluster
        stack[0] = seed
        top = 1
        while top:
            top -= 1
            point = stack[top]
            for j in range(n):
                if near[point, j] and labels[j] < 0:
                    labels[j] = cluster
                    if core[j]:
                        stack[top] = j
                        top += 1
        cluster += 1
    return labels, cluster


def principal_axes(x, count, rounds):
    """The first `count` principal axes of `x` [n, d] by power iteration and deflation, and the
    share of the variance of each."""
    x = x - x.mean(axis=0)
    cov = x.T @ x / (len(x) - 1)
    total = np.trace(cov)
    axes = np.zeros((count, x.shape[1]))
    shares = np.zeros(count)
    for a in range(count):
        v = np.ones(x.shape[1])
        for _ in range(rounds):
            v = cov @ v
            v /= np.sqrt(np.sum(v**2))
        value = v @ cov @ v
        cov = cov - value * np.outer(v, v)
        axes[a] = v * np.sign(v[np.argmax(np.abs(v))])
        shares[a] = value / total
    return axes, shares


def consensus_line(x, y, picks, threshold):
    """A robust line through (`x`, `y`) [n]: for each pair of `picks` [rounds, 2] the points that
    agree are counted; the best line is fitted again to those. Gives slope, offset, inliers."""
    best = np.zeros(len(x), dtype=bool)
    most = 0
    for a, b in picks:
        if x[a] == x[b]:
            continue
        slope = (y[b] - y[a]) / (x[b] - x[a])
        inliers = np.abs(y - y[a] - slope * (x - x[a])) < threshold
        agree = np.count_nonzero(inliers)
        if agree > most:
            best, most = inliers, agree
    xi, yi = x[best], y[best]
    dx = xi - xi.mean()
    slope = (dx * yi).sum() / (dx * dx).sum()
    return slope, yi.mean() - slope * xi.mean(), most


# -- arguments -------------------------------------------------------------------------------------


def _cloud(rng, n, d, k):
    centres = 4 * rng.standard_normal((k, d))
    return centres[rng.integers(0, k, n)] + rng.standard_normal((n, d))


def _means(rng, n, d, k, iterations):
    x = _cloud(rng, n, d, k)
    return x, x[:k].copy(), iterations


def _moving(rng, n, d, k):
    x = _cloud(rng, n, d, k)
    return x, x[:k].copy(), 1e-6


def _labelled(rng, n, m, d):
    return rng.random((n, d)), rng.integers(0, 4, n), rng.random((m, d)), 5, 4


def _shifted(rng, n, d, iterations):
    return _cloud(rng, n, d, 3), 1.5, iterations


def _dense(rng, n):
    return _cloud(rng, n, 2, 4), 8 / np.sqrt(n), 4


def _axes(rng, n, d, count):
    return rng.standard_normal((n, d)) * np.linspace(3, 1, d) ** 2, count, 60


def _line(rng, n, rounds):
    x = rng.random(n)
    y = 2 * x + 1 + 0.01 * rng.standard_normal(n)
    y[: n // 3] = 4 * rng.random(n // 3)
    return x, y, rng.integers(0, n, (rounds, 2)), 0.05


PROGRAMS = (
    Program(
        "kmeans",
        kmeans,
        _means,
        {
            "test": {"n": 40, "d": 2, "k": 3, "iterations": 4},
            "bench": {"n": 20_000, "d": 4, "k": 10, "iterations": 8},
        },
    ),
    Program(
        "kmeans_loop",
        kmeans_loop,
        _moving,
        {"test": {"n": 30, "d": 2, "k": 3}, "bench": {"n": 600, "d": 3, "k": 4}},
        numba=True,
    ),
    Program(
        "gaussian_mixture",
        gaussian_mixture,
        _means,
        {
            "test": {"n": 40, "d": 2, "k": 3, "iterations": 4},
            "bench": {"n": 10_000, "d": 3, "k": 8, "iterations": 10},
        },
        tolerance=1e-8,
    ),
    Program(
        "nearest_neighbours",
        nearest_neighbours,
        _labelled,
        {"test": {"n": 40, "m": 6, "d": 3}, "bench": {"n": 3000, "m": 200, "d": 4}},
        numba=True,
    ),
    Program(
        "mean_shift",
        mean_shift,
        _shifted,
        {"test": {"n": 15, "d": 2, "iterations": 3}, "bench": {"n": 400, "d": 2, "iterations": 8}},
        numba=True,
    ),
    Program(
        "density_clusters",
        density_clusters,
        _dense,
        {"test": {"n": 30}, "bench": {"n": 500}},
        numba=True,
    ),
    Program(
        "principal_axes",
        principal_axes,
        _axes,
        {"test": {"n": 30, "d": 5, "count": 2}, "bench": {"n": 5000, "d": 100, "count": 8}},
        tolerance=1e-7,
    ),
    Program(
        "consensus_line",
        consensus_line,
        _line,
        {"test": {"n": 40, "rounds": 12}, "bench": {"n": 5000, "rounds": 1000}},
    ),
)
