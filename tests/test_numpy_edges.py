"""Corners of the NumPy surface: extents decided by data, masks among other keys, odd arguments."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, integer_array_indices
from oracle import check, check_raises

import jitnet

NUMPY = np.lib.NumpyVersion(np.__version__)
X = np.arange(24.0).reshape(2, 3, 4) - 7
M = np.arange(12).reshape(3, 4)
V = np.array([3.0, 1.0, -2.0, 5.0])


def each(*keys):
    """A function that reads all of these keys: one program for many."""
    return lambda x: [x[k] for k in keys]


# -- masks among other keys ------------------------------------------------------------------------


def test_computed_masks_among_other_keys():
    check(lambda m: (m[:, m[0] > 1], m[m[:, 0] > 0, 0], m[m[:, 0] > 0, 1:], m[0, m[0] > 1]), M)
    check(lambda m: (m[m[:, 0] > 0, [1]], m[m[:, 0] > 0, None], m[None, m[:, 0] > 0]), M)
    check(lambda x: (x[:, x[0] > -3], x[..., x[0, 0] > -6], x[x[:, 0, 0] > 0, ::2, 0]), X)
    check(lambda x, b: (x[b, 0], x[b, ::2], x[b], x[b, None], x[None, b]), X, X[..., 0] > 0)
    check_raises(lambda m: m[:, m[:, 0] > 0], M)
    check_raises(lambda v: v[v[:, None] > 0], V)


def test_single_bools():
    check(each(True, False, (None, True), np.True_, (True, [0, 1]), (0, True), (True, False)), V)
    check(lambda z: (z[z > 1], z[z > 9], z[True], z[False]), np.array(2.5))
    check(lambda s: (s[s > 1], s[True]), np.float64(2.5))


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_random_masks_among_other_keys(data):
    shape = data.draw(array_shapes(min_dims=2, max_dims=4, min_side=1, max_side=4))
    x = np.arange(np.prod(shape)).reshape(shape) % 5
    first = data.draw(st.integers(0, len(shape) - 1))
    rank = data.draw(st.integers(1, len(shape) - first))
    others = [slice(None), slice(None, None, -1), slice(1, None), 0]
    before = [data.draw(st.sampled_from(others)) for _ in range(first)]
    after = [data.draw(st.sampled_from([*others, None]))] if first + rank < len(shape) else []

    def masked(x):
        where = x[(0,) * first + (...,) + (0,) * (len(shape) - first - rank)] > 1
        return x[(*before, where, *after)]

    check(masked, x)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_random_integer_arrays_among_other_keys(data):
    shape = data.draw(array_shapes(min_dims=2, max_dims=4, min_side=1, max_side=4))
    x = np.arange(np.prod(shape)).reshape(shape)
    drawn = integer_array_indices(shape, result_shape=array_shapes(max_dims=2, max_side=3))
    arrays = data.draw(drawn)
    other = st.sampled_from([slice(None), slice(None, None, -1), slice(1, None), 0, -1])
    key = [a if data.draw(st.booleans()) else data.draw(other) for a in arrays]
    for extra in (None, ...):
        if data.draw(st.booleans()):
            key.insert(data.draw(st.integers(0, len(key))), extra)
    check(lambda x: x[tuple(key)], x)


# -- slices by bounds that depend on data ----------------------------------------------------------


@pytest.mark.parametrize("n", [0, 1, 2, 3, 4, 5, 9, -1, -4, -7])
def test_computed_bounds_of_slices(n):
    def cut(v, n):
        n = n.sum()
        one = [v[:n], v[n:], v[-n:], v[n::-1], v[:n:-1], v[n : n + 2], v[::2][:n], v[1:n:2]]
        return one, [v[:-n], v[n : n + 3 : 3], v[n:1:-2]]

    check(cut, V, np.array([n, 0]))


def test_folds_of_slices_whose_extents_depend_on_data():
    for n in ([2, 3], [0, 4], [3, 1]):
        check(
            lambda m, n: (m[: n[0]].sum(0), m[: n[0]].sum(), m[n[0] :, : n[1]].sum(1)),
            M,
            np.array(n),
        )
        check(
            lambda m, n: (m[: n[0]] * 2 + 1, m[: n[0], : n[1]].T, m[: n[0]].mean()), M, np.array(n)
        )


def test_extents_that_differ_only_at_run_time():
    check(lambda v: v[v > 0] + v[v > 0], V)
    check(lambda v: (v[v > 0] * 2 + np.ones(3), v[v > 0][:, None] * v, v[v > 0] @ v[v > 0]), V)
    check_raises(lambda v: v[v > 0] + v[v < 0][[0, 0]], V)
    check_raises(lambda v: v[v > 0] @ v, V)
    check_raises(lambda v: v[v > 9].max(), V)
    check_raises(lambda v: v[v > 9].argmin(), V)
    check(lambda v: (v[v > 9].sum(), v[v > 9].prod(), (v[v > 9] > 0).all()), V)
    with pytest.raises(NotImplementedError, match="only at run time"):
        jitnet.jit(lambda v: v[v > 4] + v)(V)  # NumPy broadcasts the one element


def test_extents_that_depend_on_data_in_functions():
    check(lambda v: np.concatenate([v[v > 0], v, v[v < 0]]), V)
    check(lambda v: (np.stack([v[v > 0]] * 2), v[v > 0].reshape(-1, 1), v[v > 0][None].T), V)
    check(lambda v: (len(np.shape(v[v > 0])), np.where(v[v > 0] > 1, v[v > 0], 0)), V)
    check(lambda v: np.outer(v[v > 0], v[v < 0]), V)
    check(lambda v: (v[v > 0].mean(), v[v > 0].std(), v[v > 0].size, v[v > 0].shape), V)


# -- errors ----------------------------------------------------------------------------------------


def test_an_error_names_the_index_and_the_line():
    message = r"index 7 is out of bounds for axis 1 with size 4"
    with pytest.raises(IndexError, match=message) as info:
        jitnet.jit(lambda m, i: m[:, i])(M, np.array([0, 7]))
    assert __file__ in str(info.value)


@pytest.mark.parametrize("i", [4, -5, 2**40, -(2**63)])
def test_computed_indices_out_of_bounds(i):
    check_raises(lambda v, i: v[i], V, np.int64(i))
    check_raises(lambda v, i: v[i], V, np.array([0, i, 1]))
    check_raises(lambda m, i: m[:, i], M, np.array([[i]]))
    check_raises(lambda v, i: v[i], V, i)


def test_python_numbers_have_no_elements():
    check_raises(lambda n: n[0], 3)
    check_raises(lambda n: n[0], 2.5)


# -- functions -------------------------------------------------------------------------------------


def test_take_and_compress():
    check(lambda z: (np.take(z, 0), np.take(z, [0, 0])), np.array(2.5))
    check(lambda v: (np.take(v, [0.5, 2.9]), np.take(v, []), np.take(v, [True, False])), V)
    check(lambda m: (np.compress([True, False, True], m, axis=0), np.compress([0, 1], m)), M)
    check(lambda m: (np.compress(m[0] > 1, m, axis=1), np.extract(m > 4, m)), M)
    check(lambda v: np.compress([v[0] > 1, v[1] > 1], v), V)
    check_raises(lambda v: np.take(v, np.array([0.5])), V)
    check_raises(lambda v: np.take(v[:0], [0], mode="wrap"), V)
    check_raises(lambda v: np.compress([True] * 5, v), V)
    check_raises(lambda m: np.compress([[True]], m), M)


def test_select_meshgrid_ediff1d():
    check(lambda v: np.select([v > 2, v < 0], [v, v * 2], default=7.5), V)
    check(lambda v: (np.select([v > 2], [1]), np.select([v > 2, v > 0], [v, 3])), V)
    check_raises(lambda v: np.select([v], [v]), V)
    check_raises(lambda v: np.select([v > 0], [v, v]), V)
    check(lambda v, m: (np.meshgrid(v, m[0]), np.meshgrid(v, v, m[0], indexing="ij")), V, M)
    check(lambda v: (np.meshgrid(v, v, sparse=True), np.meshgrid(v), np.meshgrid(v, 2.0)), V)
    check_raises(lambda v: np.meshgrid(v, indexing="yx"), V)
    check(lambda v, m: (np.ediff1d(v), np.ediff1d(m, to_begin=-1, to_end=[7, 8])), V, M)
    check_raises(lambda m: np.ediff1d(m, to_end=0.5), M)


def test_linspace_between_traced_ends():
    check(lambda a, b: (np.linspace(a, b, 5), np.linspace(a, b, 4, endpoint=False)), 0.3, 2.7)
    check(lambda a, b: (np.linspace(a, b, 1), np.linspace(a, b, 0), np.linspace(a, a, 3)), 0.3, 2.7)
    check(lambda v: (np.linspace(v, 2, 3), np.linspace(0, v, 3, axis=1, retstep=True)), V)
    check(lambda v: np.linspace(v, 9, 4, dtype=int), V)
    check_raises(lambda a: np.linspace(a, 1, -1), 0.5)


def test_pad_with_other_elements():
    for mode in ("edge", "reflect", "symmetric", "wrap"):
        check(lambda v, mode=mode: np.pad(v, (2, 5), mode=mode), V)
        check(lambda m, mode=mode: np.pad(m, ((1, 0), (2, 3)), mode=mode), M)
        check_raises(lambda v, mode=mode: np.pad(v[:0], 1, mode=mode), V)
    check(lambda m: np.pad(m, ((1, 2), (3, 4)), constant_values=((1, 2), (3, 4))), M)
    check(lambda m: (np.pad(m, 1, constant_values=(1, 2)), np.pad(m, {1: (2, 3), 0: 1})), M)
    check_raises(lambda v: np.pad(v, 1, mode="none"), V)
    check_raises(lambda v: np.pad(v, 1, mode="edge", constant_values=2), V)
    check_raises(lambda v: np.pad(v, 1.5), V)


def test_clip_with_bounds_beyond_the_dtype():
    u = np.arange(0, 250, 50, dtype=np.uint8)
    check(lambda u: (np.clip(u, -1, 100), np.clip(u, 0, 300), np.clip(u, -5, None)), u)
    check(lambda u, n: (np.clip(u, n, 100), np.clip(u, n, None)), u, -7)
    check(lambda u, n: np.clip(u, 10, n), u, 700)
    check(lambda m: (np.clip(m, None, 2**70), np.clip(m, -(2**63), 5), m.clip(2), m.clip(max=3)), M)
    check_raises(lambda u: np.clip(u, 300, None), u)
    check_raises(lambda u: np.clip(u, 0), u)
    check_raises(lambda u: np.clip(u, 0, 1, min=0), u)


def test_where_cuts_off_ints_that_do_not_fit():
    u = np.arange(6, dtype=np.uint8)
    agrees = check if NUMPY < "2.5.0" else check_raises
    agrees(lambda u: np.where(u > 2, u, 300), u)
    agrees(lambda u: np.where(u > 2, u, -1), u)
    check_raises(lambda u: np.where(u > 2, u), u)


def test_einsum_forms():
    check(lambda x, v: np.einsum("...ij,...j->...i", x, v), X, V)
    check(lambda m, v: (np.einsum(m, [0, 1], v, [1], [0]), np.einsum(m, [0, 1], v, [1])), M, V)
    check(lambda m: (np.einsum("ij->...j", m), np.einsum("...", m), np.einsum("ba", m)), M)
    check(lambda m: (np.einsum("ij,jk", m, m[:1].T[:, :1]), np.einsum("ij,ij->j", m, m[:1])), M)
    check(lambda x: np.einsum("abc,abd,e->ecd", x, x, x[0, 0]), X)
    for wrong in ("i->ii", "ij->k", "i,j", "i-", "i..", "ijk"):
        check_raises(lambda v, wrong=wrong: np.einsum(wrong, v), V)
    check_raises(lambda m: np.einsum("ij,j->i", m, m[0, :2]), M)


def test_norms():
    orders = (None, 0, 1, 2, 3, -1, 0.5, np.inf, -np.inf)
    check(lambda v: [np.linalg.norm(v, o) for o in orders], V, rtol=1e-14)
    check(
        lambda m: [np.linalg.norm(m, o, axis=1, keepdims=True) for o in orders],
        M[:, 1:],
        rtol=1e-14,
    )
    matrices = (None, "fro", 1, -1, np.inf, -np.inf)
    check(lambda m: [np.linalg.norm(m, o) for o in matrices], M, rtol=1e-14)
    check(lambda x: [np.linalg.norm(x, o, (2, 0), keepdims=True) for o in matrices], X, rtol=1e-14)
    check(
        lambda x: (np.linalg.vector_norm(x, axis=(0, 2)), np.linalg.matrix_norm(x)), X, rtol=1e-14
    )
    for order in ("fro", "nuc", "x"):
        check_raises(lambda v, o=order: np.linalg.norm(v, o), V)
    check_raises(lambda m: np.linalg.norm(m, 3), M)
    check_raises(lambda x: np.linalg.norm(x, 1), X)
    check_raises(lambda m: np.linalg.norm(m, axis=(0, 0)), M)
    with pytest.raises(NotImplementedError, match="singular values"):
        jitnet.jit(lambda m: np.linalg.norm(m, 2))(M)


def test_reductions_of_what_is_not_nan():
    n = np.array([[1.0, np.nan, 3.0], [np.nan, np.nan, 2.0], [4.0, np.nan, -1.0]])

    def reduced(n):
        folds = [np.nansum, np.nanprod, np.nanmax, np.nanmin, np.nanmean, np.nanvar, np.nanstd]
        return [f(n) for f in folds], [f(n, axis=1, keepdims=True) for f in folds]

    check(reduced, n, rtol=1e-15)
    check(lambda n: (np.nanargmax(n, 1), np.nanargmin(n), np.nancumsum(n, 0), np.nancumprod(n)), n)
    check(lambda n: (np.fmax.reduce(n), np.fmin.reduce(n, axis=None)), n)
    check_raises(lambda n: np.nanargmax(n, 0), n)


def test_ufunc_methods():
    check(lambda b: (np.bitwise_and.reduce(b), np.bitwise_or.reduce(b, axis=1)), M > 4)
    check(lambda x: (np.add.reduce(x, 1, None, None, True), np.add.reduce(x, axis=None)), X)
    check(lambda v, m: (np.subtract.outer(v, m), np.less.outer(m, v), np.add.outer(v, 2)), V, M)
    check(_added_at, V)


def _added_at(v):
    v = v.copy()
    np.add.at(v, [0, 2, 0], 1.5)
    return v


def test_what_is_not_there_is_refused_by_name():
    for function in (np.fft.fft, np.linalg.svd, np.linalg.eig):
        with pytest.raises(NotImplementedError, match=function.__name__) as info:
            jitnet.jit(function)(np.eye(3))
        assert "remedy" in str(info.value)
