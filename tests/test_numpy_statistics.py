"""Order statistics, counts, histograms, interpolation and windows, against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from oracle import check, check_raises

import jitnet

RNG = np.random.default_rng(0)
X = RNG.normal(size=(3, 4, 5))
HOLES = X.copy()
HOLES[RNG.random(X.shape) < 0.3] = np.nan
HOLES[1, 0] = np.nan  # a row of nothing else

WHOLE = ["inverted_cdf", "closest_observation", "lower", "higher", "nearest"]
OFFSET = ["interpolated_inverted_cdf", "hazen", "weibull", "median_unbiased", "normal_unbiased"]
METHODS = [*WHOLE, *OFFSET, "averaged_inverted_cdf", "linear", "midpoint"]


# -- order statistics ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "x",
    [X, HOLES, X.astype(np.float32), (X * 9).astype(np.int32), X > 0, X[:, :0], HOLES[:, :, :4]],
)
def test_median(x: Any) -> None:
    check(
        lambda x: [
            *(np.median(x), np.median(x, -1, keepdims=True), np.median(x, (0, 1))),
            *(np.nanmedian(x), np.nanmedian(x, 2), np.nanmedian(x, (0, -1), keepdims=True)),
        ],
        x,
    )


@pytest.mark.parametrize("x", [HOLES, X.astype(np.float32), (X * 9).astype(np.int32)])
def test_quantiles_by_all_methods(x: Any) -> None:
    for some in (METHODS[::2], METHODS[1::2]):
        check(
            lambda x, some=some: [
                (
                    np.quantile(x[0], 0.3, method=m),
                    np.percentile(x, [0, 60.5, 100], axis=-1, keepdims=True, method=m),
                    np.nanpercentile(x, 25, axis=1, method=m),
                    np.nanquantile(x, np.array([0.25, 0.5]), axis=0, method=m),
                )
                for m in some
            ],
            x,
        )


def test_quantiles_that_are_traced() -> None:
    check(
        lambda x, q: [
            *(np.quantile(x, q, axis=1), np.quantile(x, q[0]), np.quantile(x, 1, axis=1)),
            np.nanquantile(x, q, axis=1),
        ],
        *(X, np.array([0.2, 0.7])),
    )
    check(lambda x, q: [np.quantile(x, q), np.nanpercentile(x, q)], X.astype(np.float32), 0.3)


def test_order_statistics_of_what_a_mask_leaves() -> None:
    check(
        lambda x: [
            *(np.median(x[x > 0]), np.median(x[x > 100]), np.percentile(x[x > 0], 30)),
            *(np.nanmedian(x[x > 0]), np.nanpercentile(x[x < 0], [1, 99])),
            *(np.nanmedian(x[x > 100]), np.nanpercentile(x[x > 100], 40)),
        ],
        X,
    )
    check(lambda x: [np.median(x[x > 2]), np.median(x[x > 100])], np.arange(7))


def test_order_statistics_refuse_what_numpy_refuses() -> None:
    check_raises(lambda x: np.quantile(x, 1.5), X)
    check_raises(lambda x, q: np.percentile(x, q), X, 101.0)
    check_raises(lambda x: np.median(x, 7), X)
    check_raises(lambda x: np.quantile(x, 0.5, method="best"), X)
    check_raises(lambda x: np.quantile(x[x > 100], 0.5), X)


def test_gradient_of_a_median() -> None:
    x = np.array([3.0, -1.0, 7.0, 2.0])
    gradient = jitnet.grad(lambda x: np.median(x) ** 2)(x)
    np.testing.assert_allclose(gradient, [2.5, 0.0, 0.0, 2.5])


# -- counts ----------------------------------------------------------------------------------------


def test_bincount() -> None:
    i, w = RNG.integers(0, 9, 40), RNG.normal(size=40)
    check(
        lambda i, w: [
            *(np.bincount(i), np.bincount(i, w), np.bincount(i, minlength=20), np.bincount(i[:0])),
            *(np.bincount(i[i > 20]), np.bincount(i[i > 20], minlength=3)),
            *(np.bincount(i.astype(np.uint8)), np.bincount(i > 3), np.bincount(i, weights=i)),
        ],
        *(i, w),
    )
    check_raises(lambda i: np.bincount(i - 3), i)
    check_raises(lambda i: np.bincount(i * 1.0), i)
    check_raises(lambda i: np.bincount(i, i[1:]), i)
    check_raises(lambda i: np.bincount(i.reshape(4, 10)), i)
    check_raises(lambda i: np.bincount(i, minlength=-1), i)


NUMBERS = RNG.normal(size=200)


@pytest.mark.parametrize(
    "x",
    [
        NUMBERS,
        NUMBERS.astype(np.float32),
        (NUMBERS * 5).astype(np.int64),
        np.round(NUMBERS, 1),
        np.ones(5),
        (abs(NUMBERS) * 9).astype(np.uint8),
    ],
)
def test_histogram(x: Any) -> None:
    check(
        lambda x: [
            *(np.histogram(x), np.histogram(x, 7), np.histogram(x, bins=4, range=(-1, 1))),
            *(np.histogram(x, bins=[-1, 0, 0.5, 2]), np.histogram(x, bins=np.linspace(-1, 1, 6))),
            *(np.histogram_bin_edges(x, 4), np.histogram(x[:0]), np.histogram(x[x > 0], 3)),
        ],
        x,
    )
    check(
        lambda x: [
            *(np.histogram(x, density=True), np.histogram(x, weights=x * 2.0, bins=5)),
            np.histogram(x, bins=[-1, 0, 3], weights=x, density=True),
        ],
        x,
        rtol=1e-5,
    )


def test_histograms_of_several_dimensions() -> None:
    check(
        lambda x, w: [
            *(np.histogram2d(x, x[::-1], bins=4), np.histogram2d(x, x, bins=[-1, 0, 1.0])),
            np.histogram2d(x, x[::-1], bins=[3, [0, 1, 2]], range=[[0, 1], None], density=True),
            np.histogramdd(x.reshape(-1, 5)[:, :3], bins=(2, 3, 4)),
            np.histogram2d(x, x, 2, weights=w),
            np.histogram2d(x[x > 0], x[x > 0], 2, range=[[0, 1], [0, 2]]),
        ],
        *(NUMBERS, NUMBERS**2),
        rtol=1e-13,
    )
    check_raises(lambda x: np.histogramdd(x.reshape(-1, 2), bins=(1, 2, 3)), NUMBERS)
    check_raises(lambda x: np.histogram2d(x, x[1:]), NUMBERS)


def test_histogram_refuses_what_numpy_refuses() -> None:
    check_raises(lambda x: np.histogram(x), np.array([1, np.nan]))
    check_raises(lambda x: np.histogram(x, bins=[1, 0]), NUMBERS)
    check_raises(lambda x, b: np.histogram(x, bins=b), NUMBERS, np.array([0, 2, 1]))
    check_raises(lambda x: np.histogram(x, bins=0), NUMBERS)
    check_raises(lambda x: np.histogram(x, range=(2, 1)), NUMBERS)
    check_raises(lambda x: np.histogram(x, weights=x[1:]), NUMBERS)


def test_rules_by_which_data_decides_the_number_of_bins() -> None:
    with pytest.raises(jitnet.errors.UnsupportedFunctionError):
        jitnet.jit(lambda x: np.histogram(x, bins="auto"))(NUMBERS)


# -- interpolation and windows ---------------------------------------------------------------------

POINTS, VALUES = np.sort(RNG.normal(size=9)), RNG.normal(size=9)
PLACES = np.concatenate([RNG.normal(size=30), POINTS, [np.nan, np.inf, -np.inf]])


def test_interp() -> None:
    check(
        lambda x, xp, fp: [
            *(
                np.interp(x, xp, fp),
                np.interp(x, xp, fp, left=-9, right=7.5),
                np.interp(0.1, xp, fp),
            ),
            *(np.interp(x[:4].reshape(2, 2), xp, fp), np.interp(x, xp[:1], fp[:1])),
            *(np.interp(x, [0, 1], [2, 3]), np.interp(x[0], xp, fp), np.interp(x[x > 0], xp, fp)),
            *(np.interp(x.astype(np.float32), xp, fp), np.interp(x[:20], xp, fp, period=1.5)),
            np.interp(np.array([0, 0.5, 1, 1.5]), np.arange(3), fp[:3] / 0.0),
        ],
        *(PLACES, POINTS, VALUES),
    )
    check_raises(lambda x: np.interp(1.0, x, x[1:]), POINTS)
    check_raises(lambda x: np.interp(1.0, x[:0], x[:0]), POINTS)
    check_raises(lambda x: np.interp(1.0, x, x, period=0), POINTS)


@pytest.mark.parametrize("m", [1, 2, 3, 17, 20, 30])
def test_windows(m: int) -> None:
    """More terms than are written out, and a second vector that is the longer one."""
    a, v = RNG.normal(size=20), RNG.normal(size=m)
    modes = ("full", "same", "valid")
    check(
        lambda a, v: [(np.convolve(a, v, mode), np.correlate(a, v, mode)) for mode in modes],
        *(a, v),
        rtol=1e-13,
    )


def test_windows_of_other_dtypes() -> None:
    a = (RNG.normal(size=20) * 9).astype(np.int32)
    check(
        lambda a, v: [
            *(
                np.convolve(a, v),
                np.convolve(a > 0, v > 0),
                np.convolve(a, 2),
                np.convolve(a, [1, 2]),
            ),
            *(np.convolve(a[a > 0], v, "same"), np.correlate(v, a), np.correlate(a, v, 2)),
        ],
        *(a, a[:3].astype(np.int16)),
    )
    check_raises(lambda a: np.convolve(a, a[:0]), a)
    check_raises(lambda a: np.convolve(a, a, "half"), a)
    check_raises(lambda a: np.convolve(a.reshape(4, 5), a), a)


def test_windows_of_complex_numbers() -> None:
    z = VALUES + 1j * POINTS
    got = jitnet.jit(lambda z: (np.convolve(z, z[:2]), np.correlate(z[:3], z, "full")))(z)
    for found, expected in zip(got, (np.convolve(z, z[:2]), np.correlate(z[:3], z, "full"))):
        np.testing.assert_allclose(found, expected, rtol=1e-13)


def test_gradient_of_a_convolution() -> None:
    for m in (3, 18):
        a, v = RNG.normal(size=20), RNG.normal(size=m)
        got = jitnet.grad(lambda a, v: np.convolve(a, v, "valid").sum(), argnums=(0, 1))(a, v)
        n = 21 - m
        np.testing.assert_allclose(got[0], np.convolve(np.ones(n), v[::-1]), rtol=1e-12)
        np.testing.assert_allclose(got[1], [a[m - 1 - k :][:n].sum() for k in range(m)], rtol=1e-12)


# -- through NumPy's own source --------------------------------------------------------------------


def test_differences_and_moments() -> None:
    x = X[0]
    check(
        lambda x: [
            *(np.gradient(x), np.gradient(x[0], 0.5), np.gradient(x, axis=1, edge_order=2)),
            *(np.diff(x, n=2), np.diff(x, axis=0, prepend=0, append=x[:1]), np.ediff1d(x)),
            *(np.ediff1d(x, to_begin=1.0, to_end=[2.0, 3.0]), np.unwrap(x * 4), np.cov(x)),
            *(
                np.cov(x, rowvar=False, ddof=0),
                np.corrcoef(x),
                np.trapezoid(x, dx=0.5),
                np.cross(x[:, :3], x[:, :3]),
            ),
            *(np.cumulative_sum(x, axis=1, include_initial=True), np.ptp(x, 1), np.average(x, 0)),
        ],
        x,
        rtol=1e-13,
    )


def test_windows_functions_of_an_extent() -> None:
    check(
        lambda n: [
            *(np.hanning(n), np.hamming(n), np.bartlett(n), np.blackman(n), np.kaiser(n, 8.6)),
            *(np.tril_indices(n), np.triu_indices(n, 1), np.diag_indices(n)),
        ],
        5,
        rtol=1e-14,
    )


def test_geomspace() -> None:
    check(
        lambda a, b: [
            *(
                np.geomspace(a, b, 5),
                np.geomspace(a, b, 4, endpoint=False),
                np.geomspace(-a, -b, 3),
            ),
            *(np.geomspace(a, b, 1), np.geomspace(a, b, 0), np.geomspace(1, b, 3)),
            np.geomspace(a, np.array([b, 2 * b]), 4, axis=1),
            *(np.logspace(a, b, 4), np.logspace(a, b, 4, base=2.0)),
        ],
        *(1.5, 24.0),
        rtol=1e-14,
    )
    for kind in (np.float32, np.int16, np.complex64):  # never less than float64
        check(lambda a, b: np.geomspace(a, b, 4), kind(1), kind(8), ulp=4)
    check_raises(lambda a: np.geomspace(a, 1), 0.0)
