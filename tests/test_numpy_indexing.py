"""`x[key]` against NumPy: ints, slices, newaxis, integer arrays, masks, traced indices."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import check, check_raises

X = np.arange(120.0).reshape(4, 5, 6)
I, J, K = np.array([0, 2, -1]), np.array([1, -5, 4]), np.array([[0], [3]])

BASIC = [
    *(0, -1, 3, (1, 2), (1, 2, 3), (-1, -5, -6), (), np.int64(2), (np.int8(1), 2)),
    *(slice(None), slice(1, None), slice(None, -1), slice(None, None, 2), slice(None, None, -1)),
    *(slice(3, 0, -2), slice(-100, 100), slice(2, 1), slice(100, None), slice(-2, None, -3)),
    *((slice(1, 3), slice(None, None, -2)), (0, slice(1, 4)), (slice(None), 0), (slice(1), -1, 2)),
    *(Ellipsis, (Ellipsis, 0), (0, Ellipsis), (0, Ellipsis, 1), (Ellipsis, slice(1, 3), 2)),
    *(None, (None, 0), (0, None), (slice(None), None, 1), (Ellipsis, None), (None, Ellipsis, None)),
    *((0, 1, 2, Ellipsis), (0, None, 1, None, 2), (slice(1, 1), 0)),
]
ADVANCED = [
    *(I, K, [0, 1], [[0, 1], [2, 3]], [], np.array(2), (I, J), (I, J, J), (I, 2), (2, I), (I, K)),
    *((slice(None), I), (slice(None), I, J), (I, slice(None), J), (0, slice(None), I), (I, None)),
    *((I, slice(None), 1), (Ellipsis, I), (I, Ellipsis), (I, Ellipsis, J), (Ellipsis, I, J)),
    *((slice(None), 1, I), (slice(1, 3), I, slice(None, None, 2)), (None, I), (None, I, J)),
    *((I, None, J), (slice(None), None, I), (K, slice(None), I), (slice(0, 0), I), (K, K, K)),
    *(
        (0, I, slice(None)),
        (slice(None, None, -1), I),
        (1, None, I),
        (I, 0, None),
        (I, abs(I).astype("u1")),
    ),
]
MASKS = [
    *(X > 40, X[:, :, 0] > 40, X[:, 0, 0] > 40, np.zeros(4, bool), np.ones((4, 5), bool)),
    *((X[:, 0, 0] > 40, 0), (slice(None), X[0, :, 0] > 10), (X[:, 0, 0] > 10, slice(None), I)),
    *((X[:, 0, 0] < 90, I[:, None] * 0 + 1), [True, False, True, True], (0, X[0, :, 0] > 10)),
]


def test_basic():
    check(lambda x: [x[key] for key in BASIC], X)
    check(lambda x: [x[key] for key in BASIC], np.asfortranarray(X))
    check(lambda x: [x[key] for key in BASIC], X[::-1].astype(np.int16))


def test_integer_arrays():
    check(lambda x: [x[key] for key in ADVANCED], X)
    check(lambda x: [x[key] for key in ADVANCED], np.arange(120, dtype=np.int8).reshape(4, 5, 6))


def test_masks():
    check(lambda x: [x[key] for key in MASKS], X)


def test_traced_integer_arrays():
    def keyed(x, i, j, k):
        whole = slice(None)
        one = [x[i], x[k], x[i, j], x[i, j, j], x[i, 2], x[2, i], x[i, k], x[whole, i]]
        two = [x[whole, i, j], x[i, whole, j], x[0, whole, i], x[..., i], x[i, ..., j], x[i, None]]
        return one, two, [x[i + 1 - 1, -1], x[whole, 1, i], x[i][j - j], x[k, whole, i], x[1, i, j]]

    check(keyed, X, I, J, K)
    check(keyed, X, I.astype(np.int8), J.astype(np.int16), K.astype(np.uint8))


def test_traced_ints():
    for i, j in ((0, 1), (-1, -5), (3, 4)):
        check(lambda x, i, j: (x[i], x[i, j], x[:, j], x[i, ..., j], x[i, :, 1:3]), X, i, j)
        check(lambda x, i, j: (x[i], x[i, j], x[:, j], x[None, i]), X, np.int64(i), np.int8(j))
        check(lambda x, i: (x[i[0]], x[i[1], i[0]], x[1:, i[0]]), X, np.array([i, i]))


def test_traced_masks():
    check(lambda x: (x[x > 40], x[x[:, :, 0] > 40], x[x[:, 0, 0] > 40]), X)
    check(lambda x, m: (x[m], (x[m] + 1).sum(), x[~m]), X, X[:, :, 0] > 40)
    check(lambda x: x[x > 1e9], X)
    check(lambda x, y: x[y > 0] * 2, np.arange(5), np.array([1, 0, 1, 1, 0]))


def test_traced_slices():
    for n in (0, 2, -1, 100, -100):
        check(lambda x, n: (x[:n], x[n:], x[n:][::-1], x[:, :n, 1:]), X, n)


def test_0_d():
    zero_d = np.array(2.5)
    check(lambda x: (x[()], x[...], x[None], x[None, ...], x[..., None]), zero_d)
    check(lambda x: (x[()], x[...], x[None], x[None, ...]), np.float64(2.5))
    check_raises(lambda x: x[0], zero_d)
    check_raises(lambda x: len(x), zero_d)


def test_what_rows_and_iteration_give():
    check(lambda x: ([row.sum() for row in x[:, 0]], list(x[0, 0]), len(x)), X, rtol=1e-13)


def test_out_of_bounds():
    for key in (
        4,
        -5,
        (0, 5),
        (slice(None), -6),
        (0, 0, 6),
        [0, 4],
        (I, 9),
        ([-5],),
        (I, I + 3, 0),
    ):
        check_raises(lambda x, key=key: x[key], X)
    for n in (4, -5, 1000):
        check_raises(lambda x, n: x[n], X, n)
        check_raises(lambda x, n: x[n], X, np.int64(n))
        check_raises(lambda x, i: x[i], X, np.array([0, n]))
        check_raises(lambda x, i: x[:, i], X, np.array([0, n + 2, -6]))


def test_keys_that_numpy_refuses():
    keys = [1.5, "a", (0, 0, 0, 0), (Ellipsis, Ellipsis), [1.5], slice(None, None, 0), X[:3] > 0]
    keys += [(I, np.array([0, 1])), np.ones((4, 6), bool), slice(1.5, None)]
    for key in keys:
        check_raises(lambda x, key=key: x[key], X)
    check_raises(lambda x, y: x[y], X, np.ones(3))
    check_raises(lambda x, m: x[m], X, np.ones(3, bool))


def test_take():
    def takes(x, i, k):
        plain = [np.take(x, i), np.take(x, k, axis=1), np.take(x, 3), np.take(x, [1, 2], axis=-1)]
        wild = [np.take(x, i * 50, mode=mode) for mode in ("wrap", "clip")]
        wild += [np.take(x, i * 50, axis=2, mode=mode) for mode in ("wrap", "clip")]
        return plain, wild, x.take(i, 0), x.take(k)

    check(takes, X, I, K)
    check_raises(lambda x, i: np.take(x, i, axis=0), X, np.array([4]))
    check_raises(lambda x: np.take(x, [0], axis=3), X)


def test_take_along_axis():
    order = np.argsort(np.sin(X), axis=1)
    check(lambda x, i: np.take_along_axis(x, i, axis=1), X, order)
    check(lambda x, i: np.take_along_axis(x, i, axis=None), X, np.array([3, 0, -1]))
    check(lambda x, i: np.take_along_axis(x, i[:, :1], axis=1), X, order)
    check_raises(lambda x, i: np.take_along_axis(x, i, axis=0), X, np.array([1]))


ENTRIES = st.one_of(
    st.integers(-2, 1),
    st.builds(slice, *[st.none() | st.integers(-4, 4)] * 2, st.sampled_from([None, 1, 2, -1, -3])),
    st.sampled_from([None, Ellipsis, [0, -1], [1], [[0], [1]]]),
)


@settings(max_examples=120, deadline=None)
@given(st.lists(ENTRIES, max_size=4))
def test_any_key(entries):
    x = np.arange(24, dtype=np.int32).reshape(2, 3, 4)
    key = tuple(entries)
    try:
        x[key]
    except IndexError:
        check_raises(lambda x: x[key], x)
    else:
        check(lambda x: x[key], x)


def test_arrays_of_rank_0_bound_slices() -> None:
    check(lambda x, a, b: (x[a:], x[:b], x[a:b, 1:], x[..., a:b]), X, np.array(1), np.array(3))
