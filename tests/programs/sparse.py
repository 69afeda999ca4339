"""Sparse matrices in compressed rows: `indptr` [rows + 1], `indices` [nnz], `data` [nnz].

A row is a slice whose bounds are read from `indptr`; its columns gather from a dense vector.
"""

from __future__ import annotations

import numpy as np

from .program import Program


def spmv(indptr, indices, data, x):
    """y = A x."""
    y = np.empty(len(indptr) - 1, dtype=data.dtype)
    for i in range(len(indptr) - 1):
        columns = indices[indptr[i] : indptr[i + 1]]
        values = data[indptr[i] : indptr[i + 1]]
        y[i] = values @ x[columns]
    return y


def spmv_loop(indptr, indices, data, x):
    """y = A x, element by element."""
    assert indptr[-1] == len(data), "the last row ends where the data does"
    y = np.zeros(indptr.size - 1)
    for row in range(y.size):
        total = 0.0
        for k in range(indptr[row], indptr[row + 1]):
            total += data[k] * x[indices[k]]
        y[row] = total
    return y


def spmv_transposed(indptr, indices, data, x, columns):
    """y = A^T x: each row is scattered into the result [columns]."""
    rows = np.repeat(np.arange(len(x)), np.diff(indptr))
    y = np.zeros(columns)
    np.add.at(y, indices, data * x[rows])
    return y


def transpose(indptr, indices, data, columns):
    """The same matrix in compressed columns: counted, summed up, filled."""
    counts = np.zeros(columns + 1, dtype=indptr.dtype)
    for c in indices:
        counts[c + 1] += 1
    start = np.cumsum(counts)
    fill = start[:-1].copy()
    rows = np.empty_like(indices)
    values = np.empty_like(data)
    for row in range(len(indptr) - 1):
        for k in range(indptr[row], indptr[row + 1]):
            slot = fill[indices[k]]
            rows[slot] = row
            values[slot] = data[k]
            fill[indices[k]] += 1
    return start, rows, values


def sparse_product(indptr, indices, data, dense):
    """C = A B for a dense `B` [columns, k], a row at a time."""
    c = np.zeros((len(indptr) - 1, dense.shape[1]))
    for i in range(c.shape[0]):
        for k in range(indptr[i], indptr[i + 1]):
            c[i] += data[k] * dense[indices[k]]
    return c


def sparse_gauss_seidel(indptr, indices, data, b, tolerance, limit):
    """Gauss-Seidel for A x = b: the diagonal is found on the way. Gives x, the sweeps, and whether
    the largest change has fallen below `tolerance`."""
    x = np.zeros_like(b)
    for sweep in range(limit):
        change = 0.0
        for i in range(len(b)):
            rest = b[i]
            diagonal = 1.0
            for k in range(indptr[i], indptr[i + 1]):
                j = indices[k]
                if j == i:
                    diagonal = data[k]
                else:
                    rest -= data[k] * x[j]
            new = rest / diagonal
            change = max(change, abs(new - x[i]))
            x[i] = new
        if change < tolerance:
            return x, sweep + 1, True
    return x, limit, False


def sparse_conjugate_gradients(indptr, indices, data, b, tolerance):
    """Conjugate gradients for a symmetric positive definite A, rows summed by `np.add.reduceat`."""

    def product(v):
        return np.add.reduceat(data * v[indices], indptr[:-1])

    x = np.zeros_like(b)
    r = b - product(x)
    p = r.copy()
    rho = r @ r
    steps = 0
    while np.sqrt(rho) > tolerance and steps < 10 * len(b):
        q = product(p)
        alpha = rho / (p @ q)
        x += alpha * p
        r -= alpha * q
        rho, last = r @ r, rho
        p = r + rho / last * p
        steps += 1
    return x, steps


def pagerank(indptr, indices, damping, tolerance):
    """PageRank of a graph given by its outgoing links: what each page passes on is scattered; pages
    without links pass on to all. Gives the ranks [n] and the number of iterations."""
    n = len(indptr) - 1
    degree = np.diff(indptr)
    source = np.repeat(np.arange(n), degree)
    dangling = degree == 0
    rank = np.full(n, 1.0 / n)
    for iteration in range(100):
        passed = np.where(dangling, 0.0, rank / np.maximum(degree, 1))
        new = np.bincount(indices, weights=passed[source], minlength=n)
        new = damping * (new + rank[dangling].sum() / n) + (1 - damping) / n
        change = np.abs(new - rank).sum()
        rank = new
        if change < tolerance:
            break
    return rank, iteration


# -- arguments -------------------------------------------------------------------------------------


def _rows(rng, rows, columns, per_row):
    counts = rng.integers(0, 2 * per_row + 1, rows)
    indptr = np.concatenate(([0], np.cumsum(counts)))
    indices = rng.integers(0, columns, indptr[-1])
    return indptr, indices, rng.standard_normal(indptr[-1])


def _matrix_vector(rng, rows, columns, per_row):
    return (*_rows(rng, rows, columns, per_row), rng.standard_normal(columns))


def _small_indices(rng, rows, columns, per_row):
    indptr, indices, data, x = _matrix_vector(rng, rows, columns, per_row)
    return indptr.astype(np.int32), indices.astype(np.int32), data, x


def _transposed(rng, rows, columns, per_row):
    return (*_rows(rng, rows, columns, per_row), rng.standard_normal(rows), columns)


def _matrix(rng, rows, columns, per_row):
    return (*_rows(rng, rows, columns, per_row), columns)


def _matrix_matrix(rng, rows, columns, per_row, k):
    return (*_rows(rng, rows, columns, per_row), rng.standard_normal((columns, k)))


def _laplacian(rng, n):
    """The five-point Laplacian of an `n` x `n` grid plus a little on its diagonal."""
    indptr, indices, data = [0], [], []
    for i in range(n):
        for j in range(n):
            for di, dj in ((-1, 0), (0, -1), (0, 0), (0, 1), (1, 0)):
                if 0 <= i + di < n and 0 <= j + dj < n:
                    indices.append((i + di) * n + j + dj)
                    data.append(4.5 if di == dj == 0 else -1.0)
            indptr.append(len(indices))
    return np.array(indptr), np.array(indices), np.array(data), rng.standard_normal(n * n)


def _relaxed(rng, n):
    return (*_laplacian(rng, n), 1e-8, 100)


def _gradients(rng, n):
    return (*_laplacian(rng, n), 1e-8)


def _web(rng, n, links):
    indptr, indices, _ = _rows(rng, n, n, links)
    return indptr, indices, 0.85, 1e-10


_SMALL = {"rows": 9, "columns": 7, "per_row": 3}

PROGRAMS = (
    Program(
        "spmv",
        spmv,
        _matrix_vector,
        {"test": _SMALL, "bench": {"rows": 10_000, "columns": 10_000, "per_row": 20}},
        numba=True,
    ),
    Program(
        "spmv_loop",
        spmv_loop,
        _small_indices,
        {"test": _SMALL, "bench": {"rows": 10_000, "columns": 10_000, "per_row": 10}},
        numba=True,
    ),
    Program(
        "spmv_transposed",
        spmv_transposed,
        _transposed,
        {"test": _SMALL, "bench": {"rows": 100_000, "columns": 80_000, "per_row": 20}},
    ),
    Program(
        "sparse_transpose",
        transpose,
        _matrix,
        {"test": _SMALL, "bench": {"rows": 8000, "columns": 8000, "per_row": 10}},
        numba=True,
    ),
    Program(
        "sparse_product",
        sparse_product,
        _matrix_matrix,
        {
            "test": {**_SMALL, "k": 4},
            "bench": {"rows": 4000, "columns": 4000, "per_row": 8, "k": 32},
        },
        numba=True,
    ),
    Program(
        "sparse_gauss_seidel",
        sparse_gauss_seidel,
        _relaxed,
        {"test": {"n": 4}, "bench": {"n": 24}},
        numba=True,
    ),
    Program(
        "sparse_conjugate_gradients",
        sparse_conjugate_gradients,
        _gradients,
        {"test": {"n": 5}, "bench": {"n": 100}},
        tolerance=1e-7,
    ),
    Program(
        "pagerank",
        pagerank,
        _web,
        {"test": {"n": 12, "links": 3}, "bench": {"n": 20_000, "links": 10}},
        numba=True,
        tolerance=1e-10,
    ),
)
