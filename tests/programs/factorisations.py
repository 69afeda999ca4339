"""Dense factorisations and triangular systems, written with slices of rows and columns.

The extents of the slices depend on the loop variable (`A[i, :i]`), the matrices are overwritten in
place, rows are swapped, and one dot product needs what the one before has stored.
"""

from __future__ import annotations

import numpy as np

from .program import Program


def lu(A):
    """LU without pivoting of `A` [n, n], in place: L below the diagonal, U above."""
    for i in range(A.shape[0]):
        for j in range(i):
            A[i, j] -= A[i, :j] @ A[:j, j]
            A[i, j] /= A[j, j]
        for j in range(i, A.shape[0]):
            A[i, j] -= A[i, :i] @ A[:i, j]


def lu_pivoting(A):
    """LU with partial pivoting of `A` [n, n]: rank-one updates of what is left, rows swapped where
    they are. Gives L, U, the permutation [n] and its sign."""
    A = A.copy()
    n = A.shape[0]
    rows = np.arange(n)
    sign = 1
    for k in range(n - 1):
        p = k + np.argmax(np.abs(A[k:, k]))
        if p != k:
            A[[k, p]] = A[[p, k]]
            rows[k], rows[p] = rows[p], rows[k]
            sign = -sign
        A[k + 1 :, k] /= A[k, k]
        A[k + 1 :, k + 1 :] -= np.outer(A[k + 1 :, k], A[k, k + 1 :])
    return np.tril(A, -1) + np.eye(n), np.triu(A), rows, sign


def cholesky(A):
    """Cholesky of a positive definite `A` [n, n]; the factor overwrites the lower triangle."""
    A[0, 0] = np.sqrt(A[0, 0])
    for i in range(1, A.shape[0]):
        for j in range(i):
            A[i, j] -= np.dot(A[i, :j], A[j, :j])
            A[i, j] /= A[j, j]
        A[i, i] -= np.dot(A[i, :i], A[i, :i])
        A[i, i] = np.sqrt(A[i, i])


def ldl(A):
    """A = L D L^T of a symmetric `A` [n, n]; gives L [n, n] and the diagonal of D [n]."""
    n = len(A)
    L = np.eye(n)
    D = np.zeros(n)
    for j in range(n):
        D[j] = A[j, j] - np.sum(L[j, :j] ** 2 * D[:j])
        for i in range(j + 1, n):
            L[i, j] = (A[i, j] - np.sum(L[i, :j] * L[j, :j] * D[:j])) / D[j]
    return L, D


def gram_schmidt(A):
    """Classical Gram-Schmidt: A [m, n] = Q R, one column after the other."""
    m, n = A.shape
    Q = np.zeros((m, n))
    R = np.zeros((n, n))
    for k in range(n):
        R[:k, k] = Q[:, :k].T @ A[:, k]
        v = A[:, k] - Q[:, :k] @ R[:k, k]
        R[k, k] = np.sqrt(np.sum(v * v))
        Q[:, k] = v / R[k, k]
    return Q, R


def modified_gram_schmidt(A):
    """Modified Gram-Schmidt, A [m, n] overwritten: each new direction leaves all that follow."""
    Q = np.zeros_like(A)
    R = np.zeros((A.shape[1], A.shape[1]), dtype=A.dtype)
    for k in range(A.shape[1]):
        norm = np.dot(A[:, k], A[:, k])
        R[k, k] = np.sqrt(norm)
        Q[:, k] = A[:, k] / R[k, k]
        for j in range(k + 1, A.shape[1]):
            R[k, j] = np.dot(Q[:, k], A[:, j])
            A[:, j] -= Q[:, k] * R[k, j]
    return Q, R


def householder(A):
    """Householder reflections of `A` [m, n], m >= n, in place; gives R [n, n] and Q^T b for a `b`
    of ones."""
    m, n = A.shape
    b = np.ones(m)
    for k in range(n):
        x = A[k:, k].copy()
        x[0] += np.copysign(np.linalg.norm(x), x[0])
        scale = 2.0 / (x @ x)
        A[k:, k:] -= scale * np.outer(x, x @ A[k:, k:])
        b[k:] -= scale * (x @ b[k:]) * x
    return np.triu(A[:n]), b[:n]


def forward_substitution(L, b):
    """Solve L x = b for a lower triangular `L` [n, n] and `b` [n]."""
    x = np.empty_like(b)
    for i in range(len(b)):
        x[i] = (b[i] - L[i, :i] @ x[:i]) / L[i, i]
    return x


def back_substitution(U, b):
    """Solve U x = b for an upper triangular `U` [n, n] and `b` [n]."""
    x = b.copy()
    for i in range(len(b) - 1, -1, -1):
        x[i] -= U[i, i + 1 :] @ x[i + 1 :]
        x[i] /= U[i, i]
    return x


def cholesky_solve(A, b):
    """Solve A x = b for a positive definite `A` [n, n], refined once."""
    factor = A.copy()
    cholesky(factor)
    x = back_substitution(factor.T, forward_substitution(factor, b))
    residual = b - A @ x
    return x + back_substitution(factor.T, forward_substitution(factor, residual))


def symmetric_rank_update(alpha, beta, C, A):
    """C = alpha A A^T + beta C for the lower triangle of `C` [n, n] alone; `A` [n, m]."""
    for i in range(A.shape[0]):
        C[i, : i + 1] *= beta
        for k in range(A.shape[1]):
            C[i, : i + 1] += alpha * A[i, k] * A[: i + 1, k]


def triangular_product(alpha, A, B):
    """B = alpha A^T B for a unit lower triangular `A` [m, m], in place in `B` [m, n]."""
    for i in range(B.shape[0]):
        for j in range(B.shape[1]):
            B[i, j] += np.dot(A[i + 1 :, i], B[i + 1 :, j])
    B *= alpha


def durbin(r):
    """Durbin's recursion: the Yule-Walker equations of the autocorrelations `r` [n]."""
    y = np.empty_like(r)
    alpha = -r[0]
    beta = 1.0
    y[0] = -r[0]
    for k in range(1, r.shape[0]):
        beta *= 1.0 - alpha * alpha
        alpha = -(r[k] + np.dot(np.flip(r[:k]), y[:k])) / beta
        y[:k] += alpha * np.flip(y[:k])
        y[k] = alpha
    return y


def levinson(r, order):
    """Levinson-Durbin: prediction coefficients [order + 1], the error left, and the reflections
    [order] of the autocorrelations `r`; stops where the error has vanished."""
    a = np.zeros(order + 1)
    a[0] = 1.0
    reflections = np.zeros(order)
    error = r[0]
    for m in range(1, order + 1):
        if error <= 1e-14 * r[0]:
            break
        acc = r[m] + (a[1:m] * r[m - 1 : 0 : -1]).sum()
        k = -acc / error
        reflections[m - 1] = k
        a[1 : m + 1] += k * a[m - 1 :: -1][:m]
        error *= 1.0 - k * k
    return a, error, reflections


def gauss_jordan(A):
    """The inverse of `A` [n, n] by Gauss-Jordan with pivoting, beside a unit matrix."""
    n = A.shape[0]
    work = np.hstack((A, np.eye(n)))
    for col in range(n):
        pivot = col
        for row in range(col + 1, n):
            if abs(work[row, col]) > abs(work[pivot, col]):
                pivot = row
        if pivot != col:
            held = work[col].copy()
            work[col] = work[pivot]
            work[pivot] = held
        work[col] /= work[col, col]
        for row in range(n):
            if row == col:
                continue
            work[row] -= work[row, col] * work[col]
    return work[:, n:]


def covariance(data):
    """The covariance matrix of `data` [samples, m]: one row of the upper triangle at a time."""
    samples, m = data.shape
    data -= data.sum(axis=0) / samples
    cov = np.zeros((m, m))
    for i in range(m):
        cov[i:, i] = cov[i, i:] = data[:, i] @ data[:, i:] / (samples - 1.0)
    return cov


def correlation(data):
    """The correlation matrix of `data` [samples, m]; columns that hardly vary count as 1."""
    mean = np.mean(data, axis=0)
    stddev = np.std(data, axis=0)
    stddev[stddev <= 0.1] = 1.0
    data -= mean
    data /= np.sqrt(data.shape[0]) * stddev
    corr = np.eye(data.shape[1], dtype=data.dtype)
    for i in range(data.shape[1] - 1):
        corr[i + 1 :, i] = corr[i, i + 1 :] = data[:, i] @ data[:, i + 1 :]
    return corr


# -- arguments -------------------------------------------------------------------------------------


def _matrix(rng, n):
    return (rng.standard_normal((n, n)),)


def _dominant(rng, n):
    return (rng.random((n, n)) + n * np.eye(n),)


def _definite(rng, n):
    a = rng.standard_normal((n, n))
    return (a @ a.T + n * np.eye(n),)


def _system(rng, n):
    return (*_definite(rng, n), rng.standard_normal(n))


def _tall(rng, m, n):
    return (rng.standard_normal((m, n)),)


def _rank_update(rng, n, m):
    return 1.5, 1.2, rng.standard_normal((n, n)), rng.standard_normal((n, m))


def _triangular(rng, m, n):
    return 1.5, rng.random((m, m)) / m, rng.standard_normal((m, n))


def _autocorrelation(rng, n):
    return (0.9 ** np.arange(1, n + 1) * (1 + 0.01 * rng.random(n)),)


def _prediction(rng, n, order):
    x = rng.standard_normal(n)
    x[1:] += 0.8 * x[:-1]
    return np.correlate(x, x, "full")[n - 1 : n + order] / n, order


PROGRAMS = (
    Program("lu", lu, _dominant, {"test": {"n": 9}, "bench": {"n": 250}}, numba=True),
    Program("lu_pivoting", lu_pivoting, _matrix, {"test": {"n": 9}, "bench": {"n": 250}}),
    Program("cholesky", cholesky, _definite, {"test": {"n": 9}, "bench": {"n": 300}}, numba=True),
    Program("ldl", ldl, _definite, {"test": {"n": 8}, "bench": {"n": 120}}, numba=True),
    Program(
        "gram_schmidt",
        gram_schmidt,
        _tall,
        {"test": {"m": 9, "n": 6}, "bench": {"m": 600, "n": 300}},
        numba=True,
        tolerance=1e-10,
    ),
    Program(
        "modified_gram_schmidt",
        modified_gram_schmidt,
        _tall,
        {"test": {"m": 9, "n": 6}, "bench": {"m": 240, "n": 160}},
        numba=True,
        tolerance=1e-10,
    ),
    Program(
        "householder",
        householder,
        _tall,
        {"test": {"m": 10, "n": 6}, "bench": {"m": 300, "n": 150}},
        numba=True,
        tolerance=1e-11,
    ),
    Program(
        "cholesky_solve",
        cholesky_solve,
        _system,
        {"test": {"n": 9}, "bench": {"n": 200}},
        numba=True,
    ),
    Program(
        "symmetric_rank_update",
        symmetric_rank_update,
        _rank_update,
        {"test": {"n": 8, "m": 5}, "bench": {"n": 200, "m": 120}},
        numba=True,
    ),
    Program(
        "triangular_product",
        triangular_product,
        _triangular,
        {"test": {"m": 8, "n": 5}, "bench": {"m": 200, "n": 150}},
        numba=True,
    ),
    Program(
        "durbin",
        durbin,
        _autocorrelation,
        {"test": {"n": 12}, "bench": {"n": 2000}},
        numba=True,
        tolerance=1e-9,
    ),
    Program(
        "levinson",
        levinson,
        _prediction,
        {"test": {"n": 60, "order": 8}, "bench": {"n": 4000, "order": 1000}},
        numba=True,
        tolerance=1e-10,
    ),
    Program(
        "gauss_jordan",
        gauss_jordan,
        _matrix,
        {"test": {"n": 7}, "bench": {"n": 100}},
        numba=True,
        tolerance=1e-9,
    ),
    Program(
        "covariance",
        covariance,
        _tall,
        {"test": {"m": 20, "n": 6}, "bench": {"m": 1500, "n": 250}},
        numba=True,
    ),
    Program(
        "correlation",
        correlation,
        _tall,
        {"test": {"m": 20, "n": 6}, "bench": {"m": 1500, "n": 250}},
    ),
)
