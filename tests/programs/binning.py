"""Binning: values that are sorted into boxes, and what is then said of each box.

With a mask for each bin, with counts that are scattered, with loops over samples; radial profiles
of images, histograms in one and two dimensions, statistics of groups.
"""

from __future__ import annotations

import numpy as np

from .program import Program


def azimuthal_masks(data, radius, bins):
    """The mean of `data` [n] in each of `bins` rings of `radius` [n]: a mask for each ring."""
    rmax = radius.max()
    profile = np.zeros(bins, dtype=np.float64)
    for i in range(bins):
        r1 = rmax * i / bins
        r2 = rmax * (i + 1) / bins
        ring = np.logical_and(r1 <= radius, radius < r2)
        profile[i] = data[ring].mean()
    return profile


def azimuthal_histogram(data, radius, bins):
    """The same profile from two histograms."""
    counts, edges = np.histogram(radius, bins)
    weighted, _ = np.histogram(radius, bins, weights=data)
    with np.errstate(divide="ignore", invalid="ignore"):
        profile = weighted / counts
    return 0.5 * (edges[1:] + edges[:-1]), profile


def histogram_loop(a, bins, low, high):
    """Counts [bins] of the samples `a` [n] between `low` and `high`, one sample after the other;
    also how many were outside."""
    counts = np.zeros(bins, dtype=np.intp)
    outside = 0
    scale = bins / (high - low)
    for x in a:
        if not low <= x <= high:
            outside += 1
            continue
        k = int((x - low) * scale)
        if k == bins:
            k -= 1
        counts[k] += 1
    return counts, outside


def histogram_2d(x, y, weights, cells):
    """The sum of `weights` [n] in each cell of a picture [cells, cells] of the unit square."""
    image = np.zeros((cells, cells))
    inside = (x >= 0) & (x < 1) & (y >= 0) & (y < 1)
    i = (x[inside] * cells).astype(np.int64)
    j = (y[inside] * cells).astype(np.int64)
    np.add.at(image, (i, j), weights[inside])
    return image


def group_statistics(values, groups, count):
    """Size, mean, standard deviation and largest of the `values` [n] of each of `count` groups."""
    size = np.bincount(groups, minlength=count)
    total = np.bincount(groups, weights=values, minlength=count)
    mean = total / np.maximum(size, 1)
    spread = np.bincount(groups, weights=(values - mean[groups]) ** 2, minlength=count)
    largest = np.full(count, -np.inf)
    np.maximum.at(largest, groups, values)
    return {
        "size": size,
        "mean": mean,
        "std": np.sqrt(spread / np.maximum(size, 1)),
        "max": largest,
    }


def digitized_profile(x, y, edges):
    """Mean and standard error of `y` [n] in the bins of `x` [n] between `edges` [k + 1]; bins with
    less than two samples are NaN."""
    which = np.digitize(x, edges) - 1
    bins = len(edges) - 1
    mean = np.full(bins, np.nan)
    error = np.full(bins, np.nan)
    for b in range(bins):
        inside = y[which == b]
        if inside.size < 2:
            continue
        mean[b] = inside.mean()
        error[b] = inside.std(ddof=1) / np.sqrt(inside.size)
    return mean, error


def power_spectrum(field, bins):
    """The power of a `field` [n, n] of Fourier coefficients (complex) in shells of the wave
    number."""
    n = field.shape[0]
    k = np.arange(n)
    k[k > n // 2] -= n
    radius = np.sqrt(k[:, None] ** 2 + k[None, :] ** 2)
    shell = np.rint(radius).astype(int).ravel()
    power = (field.real**2 + field.imag**2).ravel()
    kept = shell < bins
    return np.bincount(shell[kept], power[kept], bins) / np.bincount(shell[kept], minlength=bins)


def running_median(x, width):
    """The median of each window of `width` (odd) samples of `x` [n]: a sorted window into which the
    new sample is inserted where the old one is taken out."""
    n = len(x)
    window = np.sort(x[:width])
    medians = np.empty(n - width + 1)
    medians[0] = window[width // 2]
    for i in range(width, n):
        k = np.searchsorted(window, x[i - width])
        window[k] = x[i]
        while k > 0 and window[k - 1] > window[k]:
            window[k - 1], window[k] = window[k], window[k - 1]
            k -= 1
        while k < width - 1 and window[k + 1] < window[k]:
            window[k + 1], window[k] = window[k], window[k + 1]
            k += 1
        medians[i - width + 1] = window[width // 2]
    return medians


def despike(x, width, threshold):
    """Samples of `x` [n] further than `threshold` deviations from the mean of their window are
    replaced by that mean, in place; gives how many were."""
    replaced = 0
    for start in range(0, x.size, width):
        window = x[start : start + width]
        mean, std = window.mean(), window.std()
        spikes = np.abs(window - mean) > threshold * std
        replaced += np.count_nonzero(spikes)
        window[spikes] = mean
    return replaced


# -- arguments -------------------------------------------------------------------------------------


def _image(rng, n, bins):
    return rng.random(n), rng.random(n), bins


def _samples(rng, n, bins):
    return rng.standard_normal(n), bins, -3.0, 3.0


def _scattered(rng, n, cells):
    return rng.normal(0.5, 0.2, n), rng.normal(0.5, 0.3, n), rng.random(n), cells


def _groups(rng, n, count):
    return rng.standard_normal(n), rng.integers(0, count, n), count


def _profile(rng, n, bins):
    x = rng.random(n)
    return x, np.sin(5 * x) + 0.1 * rng.standard_normal(n), np.linspace(0, 1, bins + 1)


def _coefficients(rng, n, bins):
    return rng.standard_normal((n, n)) + 1j * rng.standard_normal((n, n)), bins


def _series(rng, n, width):
    return rng.standard_normal(n).cumsum(), width


def _spiky(rng, n, width):
    x = rng.standard_normal(n)
    x[rng.integers(0, n, n // 20)] *= 20
    return x, width, 2.5


PROGRAMS = (
    Program(
        "azimuthal_masks",
        azimuthal_masks,
        _image,
        {"test": {"n": 200, "bins": 6}, "bench": {"n": 100_000, "bins": 100}},
        numba=True,
    ),
    Program(
        "azimuthal_histogram",
        azimuthal_histogram,
        _image,
        {"test": {"n": 200, "bins": 6}, "bench": {"n": 400_000, "bins": 1000}},
    ),
    Program(
        "histogram_loop",
        histogram_loop,
        _samples,
        {"test": {"n": 60, "bins": 7}, "bench": {"n": 100_000, "bins": 100}},
        numba=True,
    ),
    Program(
        "histogram_2d",
        histogram_2d,
        _scattered,
        {"test": {"n": 80, "cells": 5}, "bench": {"n": 300_000, "cells": 64}},
    ),
    Program(
        "group_statistics",
        group_statistics,
        _groups,
        {"test": {"n": 80, "count": 6}, "bench": {"n": 600_000, "count": 500}},
    ),
    Program(
        "digitized_profile",
        digitized_profile,
        _profile,
        {"test": {"n": 60, "bins": 5}, "bench": {"n": 100_000, "bins": 60}},
    ),
    Program(
        "power_spectrum",
        power_spectrum,
        _coefficients,
        {"test": {"n": 12, "bins": 6}, "bench": {"n": 800, "bins": 400}},
    ),
    Program(
        "running_median",
        running_median,
        _series,
        {"test": {"n": 40, "width": 5}, "bench": {"n": 5000, "width": 51}},
        numba=True,
    ),
    Program(
        "despike",
        despike,
        _spiky,
        {"test": {"n": 90, "width": 20}, "bench": {"n": 200_000, "width": 250}},
        numba=True,
    ),
)
