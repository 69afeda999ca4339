"""Reductions against NumPy: axes, dtypes, masks, empty and 0-d arrays."""

from __future__ import annotations

import numpy as np
import pytest
from oracle import check, check_raises

import jitnet

CODES = ("?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f4", "f8")
ORDERED = [np.max, np.min, np.argmax, np.argmin, np.any, np.all, np.count_nonzero]
SUMS = [np.sum, np.prod, np.mean, np.var, np.std]
RUNNING = [np.cumsum, np.cumprod]
MASKED = [np.sum, np.prod, np.mean, np.var, np.std, np.any, np.all]
RTOL = {"f4": 1e-5, "f8": 1e-13}
AXES = (None, 0, 1, -1, (0, 2), (2, 0, 1), ())


def sample(code: str, shape: tuple[int, ...] = (2, 3, 4)) -> np.ndarray:
    rng = np.random.default_rng(7)
    if code == "?":
        return rng.random(shape) > 0.4
    if code[0] == "f":
        return rng.normal(size=shape).astype(code) + 1
    return rng.integers(-3 if code[0] == "i" else 0, 5, shape).astype(code)


@pytest.mark.parametrize("code", CODES)
def test_axes_and_keepdims(code):
    def reductions(x):
        results = {}
        for fn in (*ORDERED, *SUMS):
            for axis in AXES:
                if isinstance(axis, tuple) and fn in (np.argmax, np.argmin):
                    continue
                results[fn.__name__, axis] = fn(x, axis=axis)
                results[fn.__name__, axis, "kept"] = fn(x, axis=axis, keepdims=True)
        for fn in RUNNING:
            for axis in (None, 0, 1, -1):
                results[fn.__name__, axis] = fn(x, axis=axis)
        return results

    x = sample(code)
    check(reductions, x, rtol=RTOL.get(code, 1e-13))
    check(reductions, x[::-1, :, ::2], rtol=RTOL.get(code, 1e-13))
    if code != "?":
        check(lambda x: (np.ptp(x), np.ptp(x, axis=1), np.ptp(x, axis=0, keepdims=True)), x)


@pytest.mark.parametrize("code", CODES)
def test_methods_and_ufunc_methods(code):
    def methods(x):
        first = (x.sum(), x.sum(0), x.prod(1), x.mean(), x.var(axis=1), x.std(0), x.max(), x.min(1))
        second = (x.argmax(), x.argmin(0), x.any(), x.all(0), x.cumsum(), x.cumprod(1))
        third = (np.add.reduce(x), np.multiply.reduce(x, axis=1), np.maximum.reduce(x, axis=None))
        fourth = (np.minimum.reduce(x), np.logical_and.reduce(x), np.logical_or.reduce(x, axis=-1))
        last = (
            np.add.accumulate(x),
            np.multiply.accumulate(x, axis=1),
            np.add.outer(x[0, 0], x[1]),
        )
        return first, second, third, fourth, last

    check(methods, sample(code), rtol=RTOL.get(code, 1e-13))


@pytest.mark.parametrize("code", CODES)
def test_dtype(code):
    def typed(x):
        wanted = ("i8", "f8", "f4", "u8", "i2", "?")
        sums = [fn(x, axis=0, dtype=d) for fn in (np.sum, np.prod) for d in wanted]
        running = [fn(x, 1, dtype=d) for fn in RUNNING for d in ("i8", "f8", "i2")]
        moments = [fn(x, axis=1, dtype=d) for fn in (np.mean, np.var, np.std) for d in ("f8", "f4")]
        return sums, running, moments

    check(typed, sample(code), rtol=1e-5 if code == "f4" else 1e-6)


def test_mean_of_integers_in_an_integer_dtype():
    check(lambda x: (np.mean(x, dtype="i8"), np.mean(x, 0, dtype="i4")), sample("i4"))


@pytest.mark.parametrize("code", CODES)
def test_initial_and_where(code):
    x, mask = sample(code), sample("?")

    def masked(x, mask):
        results = {f.__name__: (f(x, where=mask), f(x, axis=1, where=mask)) for f in MASKED}
        results["row"] = [fn(x, axis=(0, 1), where=mask[0, 0]) for fn in (np.sum, np.all, np.prod)]
        results["kept"] = [fn(x, axis=0, keepdims=True, where=mask) for fn in MASKED]
        results["start"] = (np.sum(x, initial=3), np.prod(x, axis=0, initial=2))
        if x.dtype.kind != "b":
            results["least"] = np.max(x, axis=0, initial=1, where=mask), np.max(x, initial=100)
            results["most"] = np.min(x, axis=0, initial=1, where=mask), np.min(x, initial=0)
        return results

    check(masked, x, mask, rtol=RTOL.get(code, 1e-13))


@pytest.mark.parametrize("code", ["?", "i4", "f4", "f8"])
def test_ddof(code):
    def spread(x):
        results = [
            fn(x, axis=a, ddof=d) for fn in (np.var, np.std) for a in (None, 1) for d in (0, 1)
        ]
        results += [np.var(x, axis=0, ddof=0.5), np.var(x, axis=0, correction=1)]
        results += [
            np.var(x, axis=0, ddof=2),
            np.std(x, axis=0, ddof=5),
        ]  # nothing is left: nan, inf
        return results + [np.var(x, axis=1, mean=np.mean(x, axis=1, keepdims=True))]

    check(spread, sample(code), rtol=RTOL.get(code, 1e-13))


@pytest.mark.parametrize("code", CODES)
def test_0_d_arrays_and_scalars(code):
    def all_of(x):
        kept = [fn(x, keepdims=True) for fn in (np.sum, np.max, np.mean, np.any, np.argmax)]
        along = [fn(x, axis=0) for fn in (np.sum, np.max, np.any, np.argmin, np.cumsum)]
        return [fn(x) for fn in (*ORDERED, *SUMS, *RUNNING)], kept, along

    check(all_of, sample(code, ()), rtol=RTOL.get(code, 1e-13))
    check(all_of, sample(code, (1,))[0], rtol=RTOL.get(code, 1e-13))


@pytest.mark.parametrize("code", CODES)
def test_empty(code):
    x = np.zeros((0, 3), code)

    def empty(x):
        both = (np.sum, np.prod, np.mean, np.var, np.any, np.all, np.count_nonzero)
        results = [fn(x, axis=axis) for fn in both for axis in (None, 0, 1)]
        return results + [fn(x, axis=1) for fn in (np.max, np.min, np.argmax)] + [np.cumsum(x, 0)]

    check(empty, x)
    for fn in (np.max, np.min, np.argmax, np.argmin):
        check_raises(fn, x)
        check_raises(lambda x, fn=fn: fn(x, axis=0), x)
    check_raises(np.max, np.zeros(0, code))


def test_nan_and_signed_zeros():
    x = np.array([[1.0, np.nan, 3.0], [np.inf, 2.0, -np.inf], [-0.0, 0.0, -0.0]])

    def extremes(x):
        functions = (np.max, np.min, np.argmax, np.argmin, np.any, np.all, np.nanmax, np.nanmin)
        return [fn(x, axis=axis) for fn in functions for axis in (None, 1)]

    check(lambda x: [abs(r) for r in extremes(x)[:8]] + extremes(x)[8:12], x)
    check(lambda x: (np.sum(x), np.mean(x, 1), np.sum(x[2]), np.prod(x[2])), x)


def test_long_sums_are_no_less_accurate_than_numpys():
    rng = np.random.default_rng(3)
    x = rng.normal(size=100_003)
    exact = np.sum(x.astype(np.longdouble))
    error = abs(float(np.longdouble(jitnet.jit(np.sum)(x)) - exact))
    assert error <= 4 * max(abs(float(np.longdouble(np.sum(x)) - exact)), 1e-12)


def test_average():
    x, w = sample("f8"), np.array([1.0, 2.0, 3.0])

    def averages(x, w):
        plain = (np.average(x), np.average(x, axis=0), np.average(x, axis=1, keepdims=True))
        weighed = (np.average(x, axis=1, weights=w), np.average(x, weights=np.abs(x)))
        return plain, weighed, np.average(x, axis=1, weights=w, returned=True)

    check(averages, x, w, rtol=1e-13)
    check(lambda x: (np.average(x), np.average(x, axis=0)), sample("i4"), rtol=1e-13)


def test_what_numpy_refuses_is_refused():
    x = sample("f8")
    check_raises(lambda x: np.sum(x, axis=3), x)
    check_raises(lambda x: np.sum(x, axis=(0, 0)), x)
    check_raises(lambda x: np.max(x, axis=-4), x)
    check_raises(lambda x: np.argmax(x, axis=5), x)
    check_raises(lambda x: np.cumsum(x, axis=3), x)
    check_raises(lambda x: np.max(x, where=x > 0), x)
    check_raises(lambda x: np.sum(x, axis=1.5), x)
    check_raises(np.ptp, sample("?"))
    check_raises(lambda x: x.sum(axis=1), np.array(2.0))
    check_raises(lambda x: x.mean(axis=0), np.array(2.0))
    check_raises(lambda x: np.var(x, axis=0), np.array(2.0))
