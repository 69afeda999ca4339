"""Sorting, searching, sets, and functions that rearrange by number, against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import check, check_raises

import jitnet

RNG = np.random.default_rng(0)
HOLES = np.array([[3.0, np.nan, 2.0, -np.inf], [0.5, 2.0, np.nan, 2.0], [1.0, 1.0, np.inf, 1.0]])
TIES = RNG.integers(0, 4, (3, 5))
NOTHING = np.zeros((0, 3))
DTYPES = [*"?bBhHiIlLfd"]


# -- sort ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("x", [HOLES, TIES, NOTHING, TIES > 1, HOLES.astype(np.float32)])
def test_sort_and_argsort(x: Any) -> None:
    check(
        lambda x: [
            *(np.sort(x), np.sort(x, 0), np.sort(x, axis=None), np.sort(x, stable=True)),
            *(np.argsort(x, kind="stable"), np.argsort(x, 0, "mergesort"), np.argsort(x, None)),
            *(x.argsort(axis=0, stable=True), np.sort(x, kind="heapsort"), np.sort(x.T, -1)),
        ],
        x,
    )


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 400), st.sampled_from(DTYPES), st.integers(0, 1000))
def test_any_length_and_dtype(n: int, dtype: str, seed: int) -> None:
    """The order of equal elements is NumPy's, also where it is not stable."""
    x = np.random.default_rng(seed).integers(0, 2 + n // 3, n).astype(dtype)
    check(lambda x: (np.sort(x), np.argsort(x), np.argsort(x, kind="stable")), x)


def test_scalars_and_refusals() -> None:
    check(
        lambda x: (np.argsort(x[0, 0]), np.lexsort((x[0, 0],)), np.argpartition(x[0, 0], 0)), HOLES
    )
    check_raises(lambda x: np.sort(x[0, 0]), HOLES)
    check_raises(lambda x: np.sort(x, 2), HOLES)
    check_raises(lambda x: np.sort(x, kind="bubble"), HOLES)
    check_raises(lambda x: np.sort(x, kind="stable", stable=True), HOLES)
    check_raises(lambda x: np.sort(x, order="f"), HOLES)


def test_sort_in_place() -> None:
    def body(x: Any) -> Any:
        x[0].sort()
        y = x.copy()
        y.sort(axis=0)
        return x, y

    check(body, HOLES.copy())


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 40), st.sampled_from("FD"), st.booleans(), st.integers(0, 1000))
def test_sets_of_complex_numbers(n: int, dtype: str, holes: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    parts = rng.integers(-2, 3, (2, n)).astype(float)
    parts[rng.random(parts.shape) < 0.2 * holes] = np.nan
    parts[rng.random(parts.shape) < 0.1 * holes] = np.inf
    z = np.array([complex(a, b) for a, b in parts.T], dtype)
    check(
        lambda z: [
            *(np.unique(z), np.unique(z, equal_nan=False)),
            *np.unique(z, return_index=True, return_inverse=True, return_counts=True),
        ],
        z,
    )
    w = z[~np.isnan(z)]
    half = len(w) // 2
    check(
        lambda a, b: [
            *(np.isin(a, b), np.union1d(a, b), np.setdiff1d(a, b), np.setxor1d(a, b)),
            *(*np.intersect1d(a, b, return_indices=True), np.intersect1d(a, b)),
            *(np.searchsorted(np.sort(a), b), np.searchsorted(np.sort(a), b, "right")),
        ],
        *(w[:half], w[half:]),
    )
    rows = w[: len(w) // 2 * 2].reshape(-1, 2)
    check(lambda x: np.unique(x, axis=0, return_counts=True), rows)


def test_complex_numbers() -> None:
    halves = [1.0, 2.0, np.nan, -np.inf, 0.0]
    z = np.array([complex(a, b) for a in halves for b in halves])
    RNG.shuffle(z)
    check(lambda z: [np.argsort(z), np.argsort(z.reshape(5, 5), 0)], z)
    np.testing.assert_array_equal(jitnet.jit(np.sort)(z), np.sort(z))
    for dtype in DTYPES:
        check(lambda x: np.sort_complex(x), np.array([3, 1, 2]).astype(dtype))


@pytest.mark.parametrize("kth", [0, 3, -1, (1, 4)])
def test_partition(kth: Any) -> None:
    """The contract only: which elements are on which side, not in which order."""
    x = RNG.integers(0, 9, (4, 6))
    parted, order = jitnet.jit(lambda x: (np.partition(x, kth), np.argpartition(x, kth)))(x)
    np.testing.assert_array_equal(np.take_along_axis(x, order, 1), parted)
    for k in np.atleast_1d(kth):
        np.testing.assert_array_equal(parted[:, k], np.sort(x)[:, k])
        assert (parted[:, :k] <= parted[:, [k]]).all()
        assert (parted[:, k:] >= parted[:, [k]]).all()


def test_partition_refuses_what_numpy_refuses() -> None:
    check_raises(lambda x: np.partition(x, 9), TIES)
    check_raises(lambda x: np.argpartition(x, 0.5), TIES)
    check_raises(lambda x, k: np.partition(x, k), TIES, np.int64(-7))


def test_lexsort() -> None:
    a, b, c = RNG.integers(0, 3, (3, 30))
    check(
        lambda a, b, c: [
            *(np.lexsort((a, b)), np.lexsort((a, b, c * 0.5)), np.lexsort([a])),
            *(np.lexsort(np.stack([a, b])), np.lexsort((a.reshape(5, 6), b.reshape(5, 6)), axis=0)),
        ],
        *(a, b, c),
    )
    check_raises(lambda a: np.lexsort((a, a[1:])), a)


# -- search ----------------------------------------------------------------------------------------


def test_searchsorted() -> None:
    row = np.array([-1.0, 0.0, 0.0, 2.0, np.inf, np.nan])
    x = np.array([[-2.0, -0.0, 1.0], [np.nan, np.inf, 2.0]])
    for side in ("left", "right"):
        check(
            lambda a, v, side=side: [
                *(
                    np.searchsorted(a, v, side),
                    a.searchsorted(v[0], side),
                    a.searchsorted(0.0, side),
                ),
                *(np.searchsorted(a[:0], v, side), np.searchsorted(a, v[0, 0], side)),
                *(np.searchsorted([1, 3], v, side), np.searchsorted(a, [1, 2], side)),
                np.searchsorted(a[::-1], v, side, sorter=np.arange(5, -1, -1)),
            ],
            *(row, x),
        )
    check(lambda a, v: np.searchsorted(a, v), np.arange(9, dtype=np.int8), np.array([2.5, 300]))
    check_raises(lambda x: np.searchsorted(x, 1.0), x)
    check_raises(lambda x: np.searchsorted(x[0], 1.0, side="middle"), x)
    check_raises(lambda x, s: np.searchsorted(x[0], 1.0, sorter=s), x, np.array([0, 1, 9]))


def test_digitize() -> None:
    x, bins = np.array([0.2, 6.4, 3.0, 1.6, np.nan, -1.0]), np.array([0.0, 1.0, 2.5, 4.0, 10.0])
    check(
        lambda x, bins: [
            *(np.digitize(x, bins), np.digitize(x, bins, right=True), np.digitize(x[0], bins)),
            *(np.digitize(x, bins[::-1]), np.digitize(x, bins[::-1], True), np.digitize(x, [3, 1])),
        ],
        *(x, bins),
    )
    check_raises(lambda x: np.digitize(x, [1, 3, 2]), x)
    check_raises(lambda x, b: np.digitize(x, b), x, np.array([1, 3, 2]))


# -- sets ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "x",
    [TIES, HOLES, np.zeros(0), np.array([True, False, True]), np.array(3.0), TIES.astype(np.uint8)],
)
def test_unique(x: Any) -> None:
    check(
        lambda x: [
            *(np.unique(x), np.unique(x, True), np.unique(x, return_inverse=True)),
            *(np.unique(x, return_counts=True), np.unique(x, True, True, True)),
            *(tuple(np.unique_all(x)), tuple(np.unique_counts(x)), tuple(np.unique_inverse(x))),
            *(np.sort(np.unique_values(x)), np.unique(x, equal_nan=False)),
        ],
        x,
    )


def test_unique_along_an_axis() -> None:
    x = RNG.integers(0, 2, (6, 3, 2))
    check(
        lambda x: [
            *(np.unique(x, axis=0), np.unique(x, True, True, True, axis=1), np.unique(x, axis=-1)),
            np.unique(x[:, :2, 0], axis=0, return_counts=True, return_inverse=True),
        ],
        x,
    )
    with pytest.raises(jitnet.errors.UnsupportedFunctionError):
        jitnet.jit(lambda x: np.unique(x, axis=0))(np.zeros((2, 65)))


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (RNG.integers(0, 9, 12), RNG.integers(4, 15, 7)),
        (np.array([1.0, np.nan, 2.0, 1.0]), np.array([np.nan, 2.0, np.inf])),
        (np.zeros(0), np.zeros(3)),
    ],
)
def test_sets(a: Any, b: Any) -> None:
    check(
        lambda a, b: [
            *(np.isin(a, b), np.isin(a, b, invert=True), np.isin(a.reshape(-1, 1), b.astype("f4"))),
            *(np.isin(a, [1, 2, 3]), np.isin(a, []), np.isin(3, a), np.isin(a, b[b > 100])),
            *(np.union1d(a, b), np.setdiff1d(a, b), np.setxor1d(a, b), np.intersect1d(a, b)),
            np.intersect1d(a, b, return_indices=True),
        ],
        *(a, b),
    )


def test_sets_of_what_is_unique() -> None:
    check(
        lambda a, b: [
            *(np.setxor1d(a, b, True), np.intersect1d(a, b, True), np.setdiff1d(a, b, True)),
            *(np.intersect1d(a, b, True, return_indices=True), np.isin(a, b, kind="table")),
        ],
        *(np.array([3, 1, 2, 9]), np.array([9, 7, 1])),
    )
    check_raises(lambda a: np.isin(a, a, kind="table"), HOLES)


# -- by number -------------------------------------------------------------------------------------


def test_delete() -> None:
    x, v = np.arange(12.0).reshape(3, 4), np.arange(5)
    check(
        lambda x, v, i: [
            *(np.delete(x, 1, 0), np.delete(x, [0, -1], 1), np.delete(x, slice(0, 2), 0)),
            *(np.delete(x, 5), np.delete(v, []), np.delete(v, [True, False, True, False, False])),
            *(np.delete(v, v > 2), np.delete(v, -1), np.delete(v, i), np.delete(v[v > 1], i)),
        ],
        *(x, v, np.int64(2)),
    )
    check_raises(lambda v: np.delete(v, 7), v)
    check_raises(lambda v, i: np.delete(v, i), v, np.int64(9))


def test_insert() -> None:
    x, v = np.arange(12.0).reshape(3, 4), np.arange(5)
    check(
        lambda x, v, i: [
            *(np.insert(v, 2, 9.7), np.insert(v, [0, 2, 2], [7, 8, 9]), np.insert(v, -1, 5)),
            *(np.insert(x, 1, 5.0, axis=0), np.insert(x, 1, [1, 2, 3], axis=1)),
            *(np.insert(x, [1], [[1], [2], [3]], axis=1), np.insert(x, [0, 3], -1, axis=1)),
            *(np.insert(v, slice(0, 4, 2), 7), np.insert(x, 3, [8, 9]), np.insert(v, 5, 1)),
            *(np.insert(v, i, 9), np.insert(v[v > 1], i, 9), np.insert(v, i, [7, 8])),
        ],
        *(x, v, np.int64(2)),
    )
    check_raises(lambda v: np.insert(v, 7, 1), v)
    check_raises(lambda v, i: np.insert(v, i, 1), v, np.int64(-6))


@pytest.mark.parametrize("v", [[0, 0, 1, 2, 0, 3, 0], [0, 0], [1, 2], [], [0.0, 5.0]])
def test_trim_zeros(v: Any) -> None:
    check(
        lambda v: [
            *(np.trim_zeros(v), np.trim_zeros(v, "f"), np.trim_zeros(v, "b")),
            np.trim_zeros(v, "FB"),
        ],
        np.array(v),
    )
    check_raises(lambda v: np.trim_zeros(v, "x"), np.array(v))


def test_bits() -> None:
    bits = RNG.integers(0, 2, (3, 11))
    data = RNG.integers(0, 256, (3, 4)).astype(np.uint8)
    check(
        lambda b, y: [
            *(np.packbits(b), np.packbits(b > 0, axis=1), np.packbits(b, 0, bitorder="little")),
            *(np.unpackbits(y), np.unpackbits(y, axis=1), np.unpackbits(y, 0, bitorder="little")),
            *(np.unpackbits(y, count=5), np.unpackbits(y, axis=1, count=-3)),
            *(np.unpackbits(y, axis=1, count=40), np.packbits(b[:0])),
        ],
        *(bits, data),
    )
    check_raises(lambda b: np.unpackbits(b), bits)
    check_raises(lambda b: np.packbits(b * 0.5), bits)


def test_choose_and_numbers_of_elements() -> None:
    a = np.array([[2, 0], [1, 2]])
    check(
        lambda a: [
            *(np.choose(a, [[1, 2], [3.5, 4], 7]), np.choose(a + 3, [1, 2, 3], mode="wrap")),
            *(
                np.choose(a - 5, [a, a + 1], mode="clip"),
                np.ravel_multi_index((a, a[::-1]), (3, 4)),
            ),
            np.ravel_multi_index((a, a), (3, 4), order="F"),
            np.ravel_multi_index((a, a * 7 - 3), (3, 4), mode=("raise", "wrap")),
            *(np.unravel_index(a * 5, (3, 4)), np.unravel_index(a, (3, 4), "F")),
            np.unravel_index(a[0, 0], 7),
        ],
        a,
    )
    check_raises(lambda a: np.choose(a, [1, 2]), a)
    check_raises(lambda a: np.ravel_multi_index((a, a), (2, 2)), a)
    check_raises(lambda a: np.unravel_index(a, 2), a)


def test_functions_of_parts() -> None:
    x, v = np.arange(12.0).reshape(3, 4), np.arange(5)
    check(
        lambda x, v: [
            np.piecewise(x, [x < 2, x >= 5], [-1, lambda y: y * 2]),
            np.piecewise(x, [x < 2, x >= 5], [lambda y: y**2, 0, lambda y: y - 3]),
            *(
                np.piecewise(v, v < 3, [1, lambda y: -y]),
                np.piecewise(v, [v < 2], [lambda y: y / 2]),
            ),
            np.apply_along_axis(np.sort, 1, -x),
            np.apply_along_axis(lambda r: np.outer(r, r), 0, x),
            np.block([[x, x + 1], [x, x]]),
        ],
        *(x, v),
    )
    check_raises(lambda x: np.piecewise(x, [x < 2], [1, 2, 3]), x)
    with pytest.raises(jitnet.errors.UnsupportedFunctionError):
        jitnet.jit(lambda x: np.apply_along_axis(np.sum, 1, x))(np.zeros((300, 2)))


# -- methods of ufuncs that go along an axis -------------------------------------------------------


def test_accumulate() -> None:
    check(
        lambda x: [
            *(np.maximum.accumulate(x), np.minimum.accumulate(x, axis=1), np.fmax.accumulate(x, 1)),
            *(np.subtract.accumulate(x), np.true_divide.accumulate(x, axis=-1)),
            *(np.maximum.accumulate(x[:0]), np.maximum.accumulate(x[x > 0])),
        ],
        HOLES,
    )
    check(
        lambda x: [
            *(np.bitwise_xor.accumulate(x, 1), np.logical_or.accumulate(x > 2)),
            *(np.gcd.accumulate(x.astype(np.int16)), np.minimum.accumulate(x, dtype=np.float32)),
        ],
        TIES,
    )
    check_raises(lambda x: np.maximum.accumulate(x[0, 0]), HOLES)
    check_raises(lambda x: np.less.accumulate(x), HOLES)
    gradient = jitnet.grad(lambda x: np.maximum.accumulate(x).sum())(np.array([1.0, 3.0, 2.0, 5.0]))
    np.testing.assert_array_equal(gradient, [1.0, 2.0, 0.0, 1.0])


def test_reduceat() -> None:
    x = RNG.integers(-9, 9, (4, 5))
    check(
        lambda x, i: [
            *(np.add.reduceat(x, [0, 2, 1, 3]), np.add.reduceat(x, [3, 0], axis=1)),
            *(np.maximum.reduceat(x, i), np.multiply.reduceat(x, i, axis=-1)),
            *(np.add.reduceat(x[0] > 0, i), np.add.reduceat(x.astype(np.int32), i, dtype=float)),
            *(np.logical_and.reduceat(x > 0, i), np.minimum.reduceat(x * 0.5, i)),
        ],
        *(x, np.array([0, 3, 3, 1])),
    )
    check_raises(lambda x, i: np.add.reduceat(x, i), x, np.array([0, 4]))
    gradient = jitnet.grad(lambda x: (np.add.reduceat(x, [0, 2, 1]) ** 2).sum())(np.arange(4.0))
    np.testing.assert_array_equal(gradient, [2.0, 14.0, 16.0, 12.0])
