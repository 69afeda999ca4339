"""np.linalg's systems against NumPy: solve, inv, det, slogdet, cholesky, and what they make."""

from __future__ import annotations

import numpy as np
import pytest
from oracle import check, check_raises

import jitnet

RNG = np.random.default_rng(5)
ORDERS = (1, 2, 3, 4, 5, 8, 16, 17, 40)


def matrix(*shape: int, dtype: object = np.float64) -> np.ndarray:
    """Well-conditioned matrices whose largest elements are not on the diagonal."""
    n = shape[-1]
    a = RNG.uniform(-1, 1, (*shape, n)) + (1 + n / 2) * np.eye(n)
    return np.roll(a, 1, axis=-2).astype(dtype)


def definite(*shape: int, dtype: object = np.float64) -> np.ndarray:
    a = RNG.uniform(-1, 1, (*shape, shape[-1]))
    return (a @ np.swapaxes(a, -1, -2) + np.eye(shape[-1])).astype(dtype)


def side(*shape: int, dtype: object = np.float64) -> np.ndarray:
    return RNG.uniform(-1, 1, shape).astype(dtype)


@pytest.mark.parametrize("n", ORDERS)
def test_every_order(n):
    a, s = matrix(n), definite(n)
    check(lambda a, b: np.linalg.solve(a, b), a, side(n), rtol=1e-13)
    check(lambda a, b: np.linalg.solve(a, b), a, side(n, 3), rtol=1e-13)
    check(lambda a: np.linalg.inv(a), a, rtol=1e-13)
    check(lambda a: (np.linalg.det(a), np.linalg.slogdet(a)), a, rtol=1e-12)
    check(lambda s: np.linalg.cholesky(s), s, rtol=1e-13)


def test_single_precision_and_integers():
    for n in (3, 7, 20):
        a, s = matrix(n, dtype=np.float32), definite(n, dtype=np.float32)
        b = side(n, dtype=np.float32)
        check(lambda a, b: (np.linalg.solve(a, b), np.linalg.inv(a)), a, b, rtol=1e-5)
        check(lambda a, s: (np.linalg.slogdet(a), np.linalg.cholesky(s)), a, s, rtol=1e-5)
        check(lambda a, b: np.linalg.solve(a, b), a, b.astype(np.float64), rtol=1e-13)
    whole = np.array([[2, 1], [7, 4]])
    check(lambda a: (np.linalg.inv(a), np.linalg.det(a)), whole, rtol=1e-13)
    check(lambda a, b: np.linalg.solve(a, b), whole, np.array([1, 2], np.int8), rtol=1e-13)
    check(lambda a: np.linalg.det(a > 2), whole)
    check(lambda a: np.linalg.solve(a, [1, 2]), whole, rtol=1e-13)


def test_stacks_broadcast():
    check(lambda a, b: np.linalg.solve(a, b), matrix(4, 3), side(3), rtol=1e-13)
    check(lambda a, b: np.linalg.solve(a, b), matrix(2, 1, 3), side(4, 3, 2), rtol=1e-13)
    check(lambda a, b: np.linalg.solve(a, b), matrix(3), side(5, 3, 2), rtol=1e-13)
    for stack in (matrix(1000, 3), matrix(2, 5, 4), matrix(3, 6), matrix(2, 20), matrix(0, 3)):
        check(lambda a: (np.linalg.inv(a), np.linalg.det(a)), stack, rtol=1e-12)
        check(lambda a: tuple(np.linalg.slogdet(a)), stack, rtol=1e-12)
    for stack in (definite(50, 3), definite(2, 3, 6), definite(2, 20), definite(0, 3)):
        check(lambda s: np.linalg.cholesky(s), stack, rtol=1e-13)


def test_of_no_elements():
    empty = np.zeros((0, 0))
    check(lambda a: (np.linalg.inv(a), np.linalg.det(a), np.linalg.cholesky(a)), empty)
    check(lambda a: tuple(np.linalg.slogdet(a)), empty)
    check(lambda a, b: np.linalg.solve(a, b), empty, np.zeros((0, 2)))


def test_views_and_other_layouts():
    big = matrix(9)
    check(lambda a: np.linalg.inv(a[::2, ::2].T), big, rtol=1e-12)
    check(lambda a, b: np.linalg.solve(a[:3, :3], b[::3, 0]), big, side(9, 2), rtol=1e-12)
    check(lambda a: np.linalg.inv(a), np.asfortranarray(big), rtol=1e-13)
    check(lambda a: np.linalg.cholesky(a, upper=True), definite(5), rtol=1e-13)
    lower = definite(4)
    lower[np.triu_indices(4, 1)] = 99.0  # not read
    check(lambda a: np.linalg.cholesky(a), lower, rtol=1e-13)
    check(lambda a: np.linalg.cholesky(a, upper=True), lower.T.copy(), rtol=1e-13)


def test_orders_known_at_run_time():
    a = matrix(6)
    keep = np.array([True, True, False, True, True, False])
    check(lambda a, b, k: np.linalg.solve(a[k][:, k], b[k]), a, side(6), keep, rtol=1e-12)
    check(lambda a, k: (np.linalg.inv(a[k][:, k]), np.linalg.det(a[k][:, k])), a, keep, rtol=1e-12)
    check(lambda s, k: np.linalg.cholesky(s[k][:, k]), definite(6), keep, rtol=1e-12)
    check_raises(lambda a, k: np.linalg.inv(a[k]), a, keep)
    check_raises(lambda a, b, k: np.linalg.solve(a, b[k]), a, side(6), keep)


def test_pivots_that_are_zero():
    corner = np.array([[0.0, 1.0], [1.0, 0.0]])
    for n in (2, 5, 20):
        flipped = np.eye(n)[::-1].copy()
        check(lambda a: (np.linalg.inv(a), np.linalg.det(a), np.linalg.slogdet(a)), flipped)
        zeros = np.zeros((n, n))
        zeros[-1, -1] = -5.0
        check(lambda a: (np.linalg.det(a), np.linalg.slogdet(a)), zeros)
    check(lambda a, b: np.linalg.solve(a, b), corner, side(2))


def test_determinants_out_of_range_in_between():
    for n in (3, 6, 20):
        values = np.ones(n)
        values[:3] = 1e200, 1e200, 1e-300
        check(lambda a: np.linalg.det(a), np.diag(values), rtol=1e-12)
        check(lambda a: np.linalg.det(a), np.diag(np.full(n, 1e200)))
        check(lambda a: np.linalg.det(a), np.diag(np.full(n, -1e-200)))


@pytest.mark.parametrize("n", [2, 3, 7, 30])
def test_what_numpy_refuses(n):
    singular, b = matrix(n), side(n)
    singular[:, 1] = 0.0
    check_raises(lambda a, b: np.linalg.solve(a, b), singular, b)
    check_raises(lambda a: np.linalg.inv(a), np.stack([matrix(n), singular]))
    check(lambda a: (np.linalg.det(a), np.linalg.slogdet(a)), singular)
    with pytest.raises(np.linalg.LinAlgError, match="Singular matrix"):
        jitnet.jit(lambda a: np.linalg.inv(a))(singular)
    bad = definite(n)
    bad[-1, -1] = -1.0
    check_raises(lambda a: np.linalg.cholesky(a), bad)
    check_raises(lambda a: np.linalg.cholesky(a), np.stack([definite(n), -definite(n)]))
    check_raises(lambda a: np.linalg.inv(a), matrix(n)[:1])
    check_raises(lambda a: np.linalg.det(a), b)
    check_raises(lambda a, b: np.linalg.solve(a, b), matrix(n), side(n + 1))
    check_raises(lambda a, b: np.linalg.solve(a, b), matrix(n), side(n + 1, 2))
    check_raises(lambda a, b: np.linalg.solve(a, b), matrix(n), np.array(1.0))


def test_nan_is_no_error():
    for n in (2, 6, 20):
        a = definite(n)
        a[0, 0] = np.nan
        assert np.isnan(jitnet.jit(lambda a: np.linalg.det(a))(a))
        assert np.isnan(jitnet.jit(lambda a, b: np.linalg.solve(a, b))(a, side(n))).any()


def test_what_numpy_makes_of_them():
    a, s = matrix(4), definite(4)
    check(lambda a: [np.linalg.matrix_power(a, k) for k in (-2, -1, 0, 1, 3)], a, rtol=1e-12)
    check(lambda a, s: np.linalg.multi_dot([a, s, a, s[:, 0]]), a, s, rtol=1e-12)
    tensor = matrix(6).reshape(2, 3, 6)
    check(lambda a, b: np.linalg.tensorsolve(a, b), tensor, side(2, 3), rtol=1e-12)
    tensor = matrix(6).reshape(2, 3, 2, 3)
    check(lambda a, b: np.linalg.tensorsolve(a, b, (0, 1)), tensor, side(2, 3), rtol=1e-11)
    check_raises(lambda a, b: np.linalg.tensorsolve(a, b), tensor, side(2))
    check(lambda a: np.linalg.tensorinv(a, 1), matrix(6).reshape(6, 2, 3), rtol=1e-12)
    check(lambda a, s: (np.trace(a), np.kron(a[:2], s), np.vdot(a, s)), a, s, rtol=1e-12)


def test_what_is_not_here_yet():
    a = matrix(3)
    for name in (
        "qr",
        "svd",
        "svdvals",
        "eig",
        "eigh",
        "eigvals",
        "eigvalsh",
        "pinv",
        "matrix_rank",
    ):
        with pytest.raises(NotImplementedError, match=name):
            jitnet.jit(getattr(np.linalg, name))(a)
    with pytest.raises(NotImplementedError, match="lstsq"):
        jitnet.jit(lambda a, b: np.linalg.lstsq(a, b))(a, side(3))


def test_complex_systems():
    for n in (1, 3, 8, 20):
        a = matrix(n) + 1j * RNG.uniform(-1, 1, (n, n))
        b = side(n, 2) - 1j * side(n, 2)
        check(lambda a, b: (np.linalg.solve(a, b), np.linalg.solve(a, b[:, 0])), a, b, rtol=1e-12)
        check(lambda a, b: (np.linalg.solve(a, b.real), np.linalg.inv(a)), a, b, rtol=1e-12)
        hermitian = a @ a.conj().T + np.eye(n)
        check(lambda s: np.linalg.cholesky(s), hermitian, rtol=1e-12)
        check(lambda s: np.linalg.cholesky(s, upper=True), hermitian, rtol=1e-12)
        check(lambda a: np.linalg.inv(a), a.astype(np.complex64), rtol=1e-5)
    stack = matrix(4, 3) + 1j * RNG.uniform(-1, 1, (4, 3, 3))
    check(lambda a: np.linalg.inv(a), stack, rtol=1e-12)
    check_raises(lambda a: np.linalg.inv(a), np.zeros((2, 2), complex))
    check_raises(lambda a: np.linalg.cholesky(a), -np.eye(3) + 0j)


def test_complex_determinants():
    for shape in ((1,), (3,), (8,), (20,), (4, 3), (2, 3, 5), (0, 2)):
        a = matrix(*shape) + 1j * RNG.uniform(-1, 1, (*shape, shape[-1]))
        check(lambda a: (np.linalg.det(a), tuple(np.linalg.slogdet(a))), a, rtol=1e-12)
    check(lambda a: np.linalg.slogdet(a), a[:0].reshape(0, 0), rtol=1e-12)
    a = (matrix(4) * (1 - 2j)).astype(np.complex64)
    check(lambda a: (np.linalg.det(a), np.linalg.slogdet(a)), a, rtol=1e-5)
    a[:, 1] = 0
    check(lambda a: (np.linalg.det(a), np.linalg.slogdet(a)), a)
    keep = np.array([True, False, True, True])
    check(lambda a, k: np.linalg.det(a[k][:, k]), matrix(4) + 1j, keep, rtol=1e-12)


# -- derivatives -----------------------------------------------------------------------------------


def gradient_by_differences(fn, x, h=1e-5):
    found = np.zeros_like(x)
    for at in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[at] += h
        down[at] -= h
        found[at] = (fn(up) - fn(down)) / (2 * h)
    return found


@pytest.mark.parametrize("shape", [(3, 3), (6, 6), (2, 3, 3)])
def test_gradients(shape):
    a, s = matrix(*shape[:-1]), definite(*shape[:-1])
    b = side(*shape[:-1], 2)
    functions = (
        (lambda a: np.sum(np.sin(np.linalg.solve(a, b))), a),
        (lambda b: np.sum(np.sin(np.linalg.solve(a, b))), b),
        (lambda a: np.sum(np.linalg.inv(a) ** 2), a),
        (lambda a: np.sum(np.linalg.det(a)), a),
        (lambda a: np.sum(np.linalg.slogdet(a)[1] ** 2), a),
        (lambda s: np.sum(np.cos(np.linalg.cholesky(s))), s),
    )
    for fn, x in functions:
        got = jitnet.jit(jitnet.grad(fn))(x)
        expected = gradient_by_differences(fn, x)
        np.testing.assert_allclose(got, expected, atol=1e-7 * max(1, np.abs(expected).max()))


def test_second_derivatives():
    a = matrix(3)

    def change(x):
        return np.sum(jitnet.grad(lambda a: np.sum(np.linalg.solve(a, np.eye(3)) ** 2))(x) ** 2)

    def plain(x):
        i = np.linalg.inv(x)
        return np.sum((2 * i.T @ i @ i.T) ** 2)

    got = jitnet.jit(jitnet.grad(change))(a)
    expected = gradient_by_differences(plain, a)
    np.testing.assert_allclose(got, expected, atol=1e-6 * np.abs(expected).max())
