"""Statistics of samples and series: gaps, anomalies, quantiles, local fits, densities.

Mostly whole-array code on what NumPy offers for it: nan-functions, percentiles, `interp`,
`convolve`, `einsum`, accumulations, fancy indexing by sorted order.
"""

from __future__ import annotations

import numpy as np

from .program import Program


def fill_gaps(series):
    """`series` [n] with its NaN replaced, in place, by interpolation; gives how many there were."""
    days = np.arange(series.size)
    missing = np.isnan(series)
    series[missing] = np.interp(days[missing], days[~missing], series[~missing])
    return np.count_nonzero(missing)


def anomalies(temperature, window):
    """Deviations of `temperature` [years, days] (NaN where it is missing) from a smoothed mean
    year, their percentiles by day [3, days], and the extreme days as pairs of year and day [k,
    2]."""
    climate = np.nanmean(temperature, axis=0)
    kernel = np.ones(window) / window
    around = np.concatenate((climate[-(window // 2) :], climate, climate[: window // 2]))
    smooth = np.convolve(around, kernel, mode="valid")
    deviation = temperature - smooth
    spread = np.nanstd(deviation)
    bounds = np.percentile(np.nan_to_num(deviation), [5, 50, 95], axis=0)
    extreme = np.argwhere(np.abs(deviation) > 2.5 * spread)
    return deviation, bounds, extreme


def drawdowns(returns):
    """Cumulated wealth of `returns` [days, assets]: final value, worst drawdown, when it was
    reached and the longest time under water, for each asset."""
    wealth = np.cumprod(1 + returns, axis=0)
    peak = np.maximum.accumulate(wealth, axis=0)
    loss = 1 - wealth / peak
    worst = loss.argmax(axis=0)
    longest = np.zeros(returns.shape[1], dtype=int)
    current = np.zeros_like(longest)
    for day in loss:
        current = np.where(day > 0, current + 1, 0)
        np.maximum(longest, current, out=longest)
    return wealth[-1], loss[worst, np.arange(loss.shape[1])], worst, longest


def quantile_normalize(samples):
    """The columns of `samples` [genes, arrays] get one distribution: the mean of the sorted
    ones."""
    order = np.argsort(samples, axis=0, kind="stable")
    reference = np.take_along_axis(samples, order, axis=0).mean(axis=1)
    out = np.empty_like(samples)
    np.put_along_axis(out, order, np.repeat(reference[:, None], samples.shape[1], axis=1), axis=0)
    return out


def local_regression(x, y, at, neighbours):
    """Local lines with tricube weights through the nearest of (`x`, `y`) [n] at each of `at`
    [m]."""
    fitted = np.zeros(at.shape)
    for i in range(at.size):
        distance = np.abs(x - at[i])
        h = np.sort(distance)[neighbours - 1]
        w = np.where(distance < h, (1 - (distance / h) ** 3) ** 3, 0.0)
        sw, swx, swy = w.sum(), (w * x).sum(), (w * y).sum()
        swxx, swxy = (w * x * x).sum(), (w * x * y).sum()
        slope = (sw * swxy - swx * swy) / (sw * swxx - swx**2)
        fitted[i] = (swy - slope * swx) / sw + slope * at[i]
    return fitted


def mahalanobis(x):
    """Distances [n] of the rows of `x` [n, d] from their mean, and the rows left when those beyond
    the 90th percentile are taken out."""
    mean = x.mean(axis=0)
    inverse = np.linalg.inv(np.cov(x, rowvar=False))
    centred = x - mean
    squared = np.einsum("ni,ij,nj->n", centred, inverse, centred)
    kept = x[squared <= np.quantile(squared, 0.9)]
    return np.sqrt(squared), kept.mean(axis=0)


def permutation_test(a, b, orders):
    """How often the difference of means of `a` [m] and `b` [n] is exceeded when the samples are
    mixed in the `orders` [rounds, m + n]."""
    pooled = np.concatenate([a, b])
    observed = abs(a.mean() - b.mean())
    exceeded = 0
    for order in orders:
        mixed = pooled[order]
        if abs(mixed[: len(a)].mean() - mixed[len(a) :].mean()) >= observed:
            exceeded += 1
    return (exceeded + 1) / (len(orders) + 1)


def kernel_density(samples, grid, bandwidth=None):
    """A Gaussian density of `samples` [n] on a `grid` [m]; Silverman's bandwidth unless given."""
    if bandwidth is None:
        q75, q25 = np.percentile(samples, (75, 25))
        bandwidth = 0.9 * min(samples.std(ddof=1), (q75 - q25) / 1.34) * samples.size**-0.2
    z = np.subtract.outer(grid, samples) / bandwidth
    density = np.exp(-0.5 * z**2).sum(axis=1)
    return density / (samples.size * bandwidth * np.sqrt(2 * np.pi))


def autocorrelation(x, lags):
    """The autocorrelation [lags] of `x` [n] and its integrated time by Sokal's window."""
    centred = x - np.mean(x)
    variance = centred @ centred
    rho = np.empty(lags)
    for k in range(lags):
        rho[k] = centred[: len(x) - k] @ centred[k:] / variance
    tau = 1.0
    for window in range(1, lags):
        tau += 2 * rho[window]
        if window >= 5 * tau:
            break
    return rho, tau


def welford(chunks):
    """Mean and variance [d] of data that comes in `chunks` [k, n, d], merged chunk by chunk."""
    count = 0
    mean = np.zeros(chunks.shape[2])
    m2 = np.zeros(chunks.shape[2])
    for chunk in chunks:
        n = len(chunk)
        chunk_mean = chunk.mean(axis=0)
        delta = chunk_mean - mean
        total = count + n
        mean += delta * n / total
        m2 += ((chunk - chunk_mean) ** 2).sum(axis=0) + delta**2 * count * n / total
        count = total
    return {"count": count, "mean": mean, "variance": m2 / (count - 1)}


# -- arguments -------------------------------------------------------------------------------------


def _gappy(rng, n):
    series = rng.standard_normal(n).cumsum()
    series[1:-1][rng.random(n - 2) < 0.3] = np.nan
    return (series,)


def _years(rng, years, days, window):
    temperature = 10 * np.sin(2 * np.pi * np.arange(days) / days) + rng.standard_normal(
        (years, days)
    )
    temperature[0, rng.random(days) < 0.1] = np.nan
    return temperature, window


def _returns(rng, days, assets):
    return (0.01 * rng.standard_normal((days, assets)),)


def _arrays(rng, genes, arrays):
    return (rng.gamma(2.0, size=(genes, arrays)),)


def _scatter(rng, n, m):
    x = rng.random(n)
    return x, np.sin(6 * x) + 0.2 * rng.standard_normal(n), np.linspace(0, 1, m), n // 3


def _rows(rng, n, d):
    return (rng.standard_normal((n, d)) @ rng.standard_normal((d, d)),)


def _two_samples(rng, n, rounds):
    a, b = rng.standard_normal(n), 0.3 + rng.standard_normal(n + 3)
    return a, b, rng.permuted(np.tile(np.arange(2 * n + 3), (rounds, 1)), axis=1)


def _density(rng, n, m):
    return rng.standard_normal(n), np.linspace(-3, 3, m)


def _chain(rng, n, lags):
    x = rng.standard_normal(n)
    for k in range(1, n):
        x[k] += 0.5 * x[k - 1]
    return x, lags


def _chunks(rng, k, n, d):
    return (5 + rng.standard_normal((k, n, d)),)


PROGRAMS = (
    Program(
        "fill_gaps", fill_gaps, _gappy, {"test": {"n": 40}, "bench": {"n": 400_000}}, numba=True
    ),
    Program(
        "anomalies",
        anomalies,
        _years,
        {
            "test": {"years": 4, "days": 20, "window": 5},
            "bench": {"years": 400, "days": 365, "window": 31},
        },
    ),
    Program(
        "drawdowns",
        drawdowns,
        _returns,
        {"test": {"days": 30, "assets": 4}, "bench": {"days": 2500, "assets": 100}},
    ),
    Program(
        "quantile_normalize",
        quantile_normalize,
        _arrays,
        {"test": {"genes": 12, "arrays": 4}, "bench": {"genes": 5000, "arrays": 40}},
    ),
    Program(
        "local_regression",
        local_regression,
        _scatter,
        {"test": {"n": 30, "m": 7}, "bench": {"n": 2000, "m": 300}},
        numba=True,
        tolerance=1e-9,
    ),
    Program(
        "mahalanobis",
        mahalanobis,
        _rows,
        {"test": {"n": 30, "d": 3}, "bench": {"n": 50_000, "d": 8}},
        tolerance=1e-9,
    ),
    Program(
        "permutation_test",
        permutation_test,
        _two_samples,
        {"test": {"n": 15, "rounds": 30}, "bench": {"n": 400, "rounds": 2000}},
    ),
    Program(
        "kernel_density",
        kernel_density,
        _density,
        {"test": {"n": 40, "m": 9}, "bench": {"n": 5000, "m": 300}},
    ),
    Program(
        "autocorrelation",
        autocorrelation,
        _chain,
        {"test": {"n": 60, "lags": 15}, "bench": {"n": 50_000, "lags": 1000}},
        numba=True,
        tolerance=1e-10,
    ),
    Program(
        "welford",
        welford,
        _chunks,
        {"test": {"k": 4, "n": 5, "d": 3}, "bench": {"k": 100, "n": 500, "d": 20}},
    ),
)
