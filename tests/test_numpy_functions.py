"""NumPy's functions against NumPy: shapes, joining, choosing, making, matrices, products."""

from __future__ import annotations

import pathlib
import re

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from oracle import check, check_raises

import jitnet
from jitnet.frontend.functions import TABLE

X = np.arange(24.0).reshape(2, 3, 4) - 7.5
M = np.arange(12, dtype=np.int32).reshape(3, 4)
V = np.array([3.0, -1.0, 0.0, 2.5])
N = np.array([[1.0, np.nan, -np.inf], [np.inf, -0.0, np.nan]])
A0, S = np.array(2.5), np.float32(1.5)
MASK = X > 0

SHAPES = {
    np.reshape: lambda x: [
        *(np.reshape(x, 24), np.reshape(x, (4, 6)), np.reshape(x, (-1, 2)), x.reshape(6, 4)),
        *(np.reshape(x, (4, -1), order="F"), x.reshape((24, 1)), np.reshape(x, (6, 2, -1), "F")),
    ],
    np.ravel: lambda x: (np.ravel(x), x.ravel(), np.ravel(x, order="F"), x.flatten()),
    np.transpose: lambda x: (
        np.transpose(x),
        x.T,
        x.transpose(2, 0, 1),
        np.transpose(x, (1, 0, 2)),
    ),
    np.moveaxis: lambda x: (np.moveaxis(x, 0, -1), np.moveaxis(x, (0, 1), (2, 0))),
    np.swapaxes: lambda x: (np.swapaxes(x, 0, 2), x.swapaxes(-1, 1)),
    np.rollaxis: lambda x: [np.rollaxis(x, i, j) for i in range(-3, 3) for j in range(-3, 4)],
    np.expand_dims: lambda x: (np.expand_dims(x, 0), np.expand_dims(x, (1, -1))),
    np.squeeze: lambda x: (
        np.squeeze(x[:1, :, :1]),
        np.squeeze(x[:1], 0),
        x[:1, :1].squeeze((0, 1)),
    ),
    np.atleast_1d: lambda x: (np.atleast_1d(x), np.atleast_1d(x[0, 0, 0], x[0]), np.atleast_1d(3)),
    np.atleast_2d: lambda x: (np.atleast_2d(x), np.atleast_2d(x[0, 0, 0], x[0, 0])),
    np.atleast_3d: lambda x: np.atleast_3d(x, x[0], x[0, 0], x[0, 0, 0]),
    np.broadcast_to: lambda x: (
        np.broadcast_to(x, (5, 2, 3, 4)),
        np.broadcast_to(x[0, 0, 0], (2, 2)),
    ),
    np.broadcast_arrays: lambda x: np.broadcast_arrays(x, x[0], x[:, :1, :1], 3),
    np.concatenate: lambda x: (
        *(np.concatenate([x, x[:1]]), np.concatenate((x, x[:, :, :2]), axis=-1)),
        *(np.concatenate([x, x[0]], axis=None), np.concatenate([x, x > 0]), np.concatenate([x])),
        np.concatenate([x, x], dtype=np.float32),
    ),
    np.stack: lambda x: (np.stack([x, x + 1]), np.stack([x, x], -1), np.stack(list(x), axis=1)),
    np.vstack: lambda x: (
        np.vstack([x, x]),
        np.vstack([x[0, 0], x[0, 1]]),
        np.vstack([x[0], x[1]]),
    ),
    np.hstack: lambda x: (np.hstack([x, x]), np.hstack([x[0, 0], x[0, 1], 5.0])),
    np.dstack: lambda x: (
        np.dstack([x, x]),
        np.dstack([x[0, 0], x[0, 1]]),
        np.dstack([x[0], x[1]]),
    ),
    np.column_stack: lambda x: (
        np.column_stack([x[0, 0], x[1, 0]]),
        np.column_stack([x[0].T, x[0, 0]]),
    ),
    np.append: lambda x: (np.append(x, [1, 2]), np.append(x, x, axis=1), np.append(x[0, 0], 3)),
    np.array_split: lambda x: (np.array_split(x, 3, axis=2), np.array_split(x, [1, 2], axis=1)),
    np.split: lambda x: (np.split(x, 2), np.split(x, [1, 3, 9], axis=-1), np.split(x, 3, 1)),
    np.vsplit: lambda x: np.vsplit(x, 2),
    np.hsplit: lambda x: (np.hsplit(x, 3), np.hsplit(x[0, 0], 2)),
    np.dsplit: lambda x: np.dsplit(x, [1, 2]),
    np.repeat: lambda x: (np.repeat(x, 2), np.repeat(x, [1, 0, 2], axis=1), x.repeat(3, axis=-1)),
    np.tile: lambda x: (
        np.tile(x, 2),
        np.tile(x, (2, 1, 1, 2)),
        np.tile(x[0, 0], (3, 2)),
        np.tile(x, 0),
    ),
    np.roll: lambda x: (
        np.roll(x, 5),
        np.roll(x, -1, axis=1),
        np.roll(x, (1, 2), (0, 2)),
        np.roll(x, 0, 0),
    ),
    np.flip: lambda x: (np.flip(x), np.flip(x, 1), np.flip(x, (0, -1))),
    np.fliplr: lambda x: np.fliplr(x),
    np.flipud: lambda x: np.flipud(x),
    np.rot90: lambda x: [np.rot90(x, k) for k in range(-1, 5)] + [np.rot90(x, 1, (1, 2))],
    np.pad: lambda x: (
        *(np.pad(x, 1), np.pad(x, ((1, 2), (0, 1), (2, 0))), np.pad(x, (1, 2), constant_values=7)),
        *(np.pad(x, 1, mode="edge"), np.pad(x, ((0, 2), (1, 0), (3, 3)), "edge")),
    ),
    np.shape: lambda x: (
        np.shape(x),
        x.shape,
        np.ndim(x),
        x.ndim,
        np.size(x),
        x.size,
        np.size(x, 1),
    ),
    np.real: lambda x: (np.real(x), x.real, x.conj()),
}

FUNCTIONS = {
    np.where: lambda x, m, v, n: (
        *(
            np.where(x > 0, x, 0),
            np.where(m > 3, 1, v),
            np.where(x[0] > 0, v, m),
            np.where(m, 2.5, 1),
        ),
        *(np.where(m > 3), np.where(True, x, 1), np.where(x[0, 0, 0] > 0, 1, 2.5)),
    ),
    np.nonzero: lambda x, m, v, n: (
        np.nonzero(m),
        np.nonzero(x > 0),
        v.nonzero(),
        np.flatnonzero(v),
    ),
    np.argwhere: lambda x, m, v, n: (np.argwhere(m > 3), np.argwhere(v)),
    np.compress: lambda x, m, v, n: (
        *(np.compress(v > 0, m, axis=1), np.compress([True, False], x, axis=0), v.compress(v > 0)),
        np.compress([0, 1, 1], m),
    ),
    np.extract: lambda x, m, v, n: (np.extract(x > 0, x), np.extract(m, m)),
    np.clip: lambda x, m, v, n: (
        *(np.clip(x, -1, 2), np.clip(m, 2, None), np.clip(m, None, 3), m.clip(1, 5), x.clip(max=0)),
        *(
            np.clip(n, -1, 1),
            np.clip(m, v, 5.5),
            np.clip(x, v, v + 1),
            np.clip(m, a_min=1, a_max=2),
        ),
    ),
    np.zeros_like: lambda x, m, v, n: (
        *(
            np.zeros_like(x),
            np.ones_like(m),
            np.full_like(m, 7),
            np.full_like(x, v),
            np.zeros_like(x > 0),
        ),
        *(np.zeros_like(x, dtype="i2"), np.ones_like(x, shape=(2, 2)), np.ones_like(m > 1)),
        *(
            np.full_like(m, 2.9),
            np.empty_like(x).shape,
            np.full_like(x, True),
            np.zeros_like(x[0, 0, 0]),
        ),
    ),
    np.copy: lambda x, m, v, n: (np.copy(x), m.copy(), np.copy(x[0, 0, 0])),
    np.astype: lambda x, m, v, n: (
        *(np.astype(x, "i4"), x.astype(bool), m.astype("f4"), x.astype("i8"), m.astype("u1")),
        *((m - 5).astype("u2"), x[0, 0, 0].astype("i4")),
    ),
    np.round: lambda x, m, v, n: (
        *(np.round(x), np.around(x * 1.37, 1), np.round(m), (x * 100).round(-1), np.round(n)),
        *(np.round(x * 0.333, 3), np.round(m, 2), np.round(m[0, 0])),
    ),
    np.isclose: lambda x, m, v, n: (
        *(
            np.isclose(n, n),
            np.isclose(n, n, equal_nan=True),
            np.isclose(x, x + 1e-9),
            np.isclose(m, 3),
        ),
        *(np.isclose(x, x * 1.1, rtol=0.2), np.isclose(v[0], v[1]), np.isclose(m, m + 1, atol=1)),
    ),
    np.allclose: lambda x, m, v, n: (np.allclose(x, x), np.allclose(n, n), np.allclose(x, x + 1)),
    np.array_equal: lambda x, m, v, n: (
        *(np.array_equal(x, x), np.array_equal(n, n), np.array_equal(n, n, equal_nan=True)),
        *(np.array_equal(x, m), np.array_equal(m, m + 1), np.array_equal(m, m, equal_nan=True)),
    ),
    np.nan_to_num: lambda x, m, v, n: (
        np.nan_to_num(n),
        np.nan_to_num(n, nan=1, posinf=2),
        np.nan_to_num(m),
    ),
    np.nansum: lambda x, m, v, n: (
        *(
            np.nansum(n),
            np.nansum(n[1], axis=0),
            np.nanprod(n, axis=1),
            np.nanmax(n),
            np.nanmin(n, 1),
        ),
        *(np.nanmean(n[1]), np.nanmean(x, axis=0), np.nansum(m, 0), np.nanmax(m, axis=1)),
    ),
    np.diagonal: lambda x, m, v, n: (
        *(np.diagonal(m), np.diagonal(x, 1, 1, 2), np.diagonal(x, -1, 2, 0), m.diagonal(-2)),
        *(np.diag(m), np.diag(v), np.diag(v, 2), np.diag(v, -1), np.diag(m, 9)),
    ),
    sliding_window_view: lambda x, m, v, n: (
        *(sliding_window_view(v, 2), sliding_window_view(m, (2, 1)).max(axis=(2, 3))),
        *(sliding_window_view(x, 2, axis=1), sliding_window_view(x, (2, 2), (2, 2)).sum(-1)),
        *(sliding_window_view(m, 1, axis=-1), sliding_window_view(v, 0).shape),
    ),
    np.trace: lambda x, m, v, n: (
        np.trace(m),
        m.trace(1),
        np.trace(x, axis1=1, axis2=2),
        np.trace(x),
    ),
    np.triu: lambda x, m, v, n: [
        f(a, k) for f in (np.triu, np.tril) for a in (m, x) for k in (-1, 0, 2)
    ],
    np.diff: lambda x, m, v, n: (
        *(np.diff(v), np.diff(x, axis=0), np.diff(m, 2), np.diff(m > 4), np.diff(v, n=0)),
        *(
            np.diff(v, prepend=0),
            np.diff(m, axis=0, append=m[:1]),
            np.diff(v, prepend=v[:2], append=9),
        ),
    ),
    np.take: lambda x, m, v, n: (np.take(v, m % 4), np.take(m, [0, -1], 1)),
    np.result_type: lambda x, m, v, n: (
        *(
            np.result_type(x, m),
            np.result_type(m, 2.5),
            np.result_type(m, "f4"),
            np.result_type(m, 3),
        ),
        *(np.result_type(m, np.float32), np.result_type(m, np.dtype("u1"), v)),
    ),
    np.nanvar: lambda x, m, v, n: (
        *(np.nanvar(x, 0), np.nanvar(n), np.nanstd(n, 1), np.nanstd(x, 1, ddof=1), np.nanvar(m)),
        *(np.nanvar(np.where(x > 3, np.nan, x), axis=2), np.nanstd(np.where(x > 3, np.nan, x))),
    ),
    np.nancumsum: lambda x, m, v, n: (
        *(np.nancumsum(n[:, 1]), np.nancumsum(m, 1), np.nancumprod(n[:, :2], 0)),
        *(np.nanargmax(n), np.nanargmin(n, 1), np.nanargmax(m, 0), np.nanargmin(x, axis=-1)),
    ),
    np.linspace: lambda x, m, v, n: (
        *(np.linspace(v[0], v[1], 5), np.linspace(v, v + 1, 3, axis=-1), np.linspace(0, v[0], 1)),
        *(np.linspace(v[0], 5, 4, endpoint=False), np.linspace(m[0, 0], m[1, 1], 4, dtype=int)),
    ),
    np.vander: lambda x, m, v, n: (np.vander(v), np.vander(m[0], 3, increasing=True)),
    np.kron: lambda x, m, v, n: (np.kron(m, m[:2]), np.kron(v, x), np.kron(v, 2)),
    np.cross: lambda x, m, v, n: (
        *(np.cross(x[..., :3], v[:3]), np.cross(x, x + 1, axis=1), np.linalg.cross(v[:3], v[1:])),
    ),
    np.meshgrid: lambda x, m, v, n: (
        *(np.meshgrid(v, m[0]), np.meshgrid(v, v, m[0], indexing="ij"), np.meshgrid(v)),
        *(np.meshgrid(v, m[0], sparse=True), np.ediff1d(v), np.ediff1d(m)),
    ),
    np.select: lambda x, m, v, n: (
        *(np.select([x > 3, x < 0], [x, 1.0]), np.select([m > 8, m > 4], [m, -m], default=1)),
    ),
    np.diagflat: lambda x, m, v, n: (np.diagflat(v), np.diagflat(m[:2, :2], 1)),
    np.array_equiv: lambda x, m, v, n: (
        *(np.array_equiv(v, v), np.array_equiv(m, m[0]), np.array_equiv(v * 0, 0)),
        np.array_equiv(v, m[:, :3]),
    ),
    np.matrix_transpose: lambda x, m, v, n: (
        *(np.matrix_transpose(x), x.mT, np.linalg.matrix_transpose(m), np.linalg.diagonal(x)),
        *(np.linalg.trace(x), np.linalg.trace(m, offset=1)),
    ),
    np.linalg.matrix_norm: lambda x, m, v, n: (
        *(
            np.linalg.matrix_norm(x),
            np.linalg.vector_norm(v),
            np.linalg.vector_norm(x, axis=(0, 2)),
        ),
        *(np.linalg.vector_norm(v, ord=1), np.linalg.matrix_norm(m, keepdims=True)),
        *(np.linalg.outer(v, v), np.linalg.matmul(x, v), np.linalg.vecdot(x, v)),
        np.linalg.tensordot(x, x, axes=3),
    ),
}

PRODUCTS = {
    "matmul": lambda a, b, v: (
        a @ b,
        a[0] @ b[0],
        v @ b[0],
        a[0] @ v,
        v @ v,
        np.matmul(a, b[0]),
        a @ v,
        v @ b,
    ),
    "dot": lambda a, b, v: (
        *(
            np.dot(a, b[0]),
            np.dot(v, v),
            np.dot(a[0], v),
            np.dot(a, 2),
            np.dot(3, v),
            a[0].dot(b[0]),
        ),
        np.dot(a, b),
    ),
    "inner": lambda a, b, v: (np.inner(v, v), np.inner(a, v), np.inner(a, a), np.inner(a, 2)),
    "vdot": lambda a, b, v: (np.vdot(v, v), np.vdot(a, a)),
    "outer": lambda a, b, v: (np.outer(v, v), np.outer(a[0], v), np.outer(v, 3)),
    "tensordot": lambda a, b, v: (
        *(np.tensordot(a, b, ((2,), (1,))), np.tensordot(a, v, 1), np.tensordot(v, v, 0)),
        *(np.tensordot(a, a, ([0, 2], [0, 2])), np.tensordot(a, b, (2, 1)), np.tensordot(a, a, 3)),
    ),
    "vecdot": lambda a, b, v: (np.vecdot(a, v), np.vecdot(a, a)),
    "einsum": lambda a, b, v: (
        *(
            np.einsum("ij,jk->ik", a[0], b[0]),
            np.einsum("bij,bjk->bik", a, b),
            np.einsum("i,i", v, v),
        ),
        *(np.einsum("ii->i", a[0, :, :3]), np.einsum("ii", a[0, :, :3]), np.einsum("ijk->kij", a)),
        *(
            np.einsum("bij,jk,k->b", a, b[0], v[:2]),
            np.einsum("ij->", a[0]),
            np.einsum("i,j->ij", v, v),
        ),
        *(np.einsum("ij,j", a[0], v), np.einsum("ba", a[0])),
    ),
}
KINDS = ("?", "i1", "i4", "u8", "f4", "f8")


@pytest.mark.parametrize("function", SHAPES, ids=lambda f: f.__name__)
def test_shapes(function):
    check(SHAPES[function], X)
    check(SHAPES[function], (X > 0))
    check(SHAPES[function], X.astype(np.int16)[:, ::-1])


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_functions(function):
    check(FUNCTIONS[function], X, M, V, N, rtol=1e-14)
    check(FUNCTIONS[function], X.astype("f4"), M.astype("u1"), V.astype("f4"), N, rtol=1e-6)


@pytest.mark.parametrize("name", PRODUCTS)
@pytest.mark.parametrize("code", KINDS)
def test_products(name, code):
    rng = np.random.default_rng(5)
    a, b, v = (rng.integers(0, 5, s).astype(code) for s in ((2, 3, 4), (2, 4, 2), 4))
    if code[0] == "f":
        a, b, v = (x + np.asarray(0.3, code) for x in (a, b, v))
    if name == "einsum" or name != "matmul":
        check(PRODUCTS[name], a, b, v, rtol=1e-5 if code == "f4" else 1e-14)
    else:
        check(
            lambda a, b, v: PRODUCTS[name](a, b, v)[:6],
            a,
            b,
            v,
            rtol=1e-5 if code == "f4" else 1e-14,
        )


def test_products_of_two_dtypes():
    check(lambda a, b: (a @ b, np.dot(a, b), np.inner(a, b.T)), M, np.ones((4, 2), np.float32) / 3)
    check(lambda a, b: (a @ b, np.outer(a, b)), M > 3, M.T.astype(np.uint8))
    check(lambda a: (a @ a.T, a.T @ a), np.zeros((3, 0)))
    if hasattr(np, "matvec"):
        check(lambda x, v: (np.matvec(x, v), np.vecmat(v[:3], x)), X, V, rtol=1e-14)


def test_stacks_of_matrices():
    a, b = np.arange(24.0).reshape(2, 1, 3, 4), np.arange(40.0).reshape(5, 4, 2)
    check(
        lambda a, b: (a @ b, a[0, 0] @ b, a @ b[0], a @ b[0, :, 0], b[0, :, 0] @ b),
        a,
        b,
        rtol=1e-14,
    )


def test_norms():
    orders = (None, 1, 2, np.inf, -np.inf)

    def norms(x, m, v):
        vectors = [np.linalg.norm(v, ord) for ord in orders] + [np.linalg.norm(m, axis=1)]
        vectors += [np.linalg.norm(x, ord, axis=2, keepdims=True) for ord in orders]
        return vectors, np.linalg.norm(x[0]), np.linalg.norm(x[0], "fro"), np.linalg.norm(x)

    check(norms, X, M, V, rtol=1e-14)


@pytest.mark.parametrize("x", [A0, S, np.float64(0.0)], ids=repr)
def test_0_d(x):
    def zero_d(x):
        first = (np.reshape(x, (1, 1)), np.ravel(x), np.transpose(x), np.squeeze(x), np.copy(x))
        second = (
            np.where(x > 1, x, 0),
            np.clip(x, 0, 1),
            np.round(x),
            np.zeros_like(x),
            x.astype(int),
        )
        third = (
            np.full_like(x, 3),
            np.nan_to_num(x),
            np.isclose(x, 2.5),
            np.stack([x, x]),
            x.ravel(),
        )
        last = (
            np.expand_dims(x, 0),
            np.atleast_2d(x),
            np.broadcast_to(x, 3),
            np.append(x, 1),
            np.real(x),
        )
        return first, second, third, last, x.reshape(()), np.dot(x, x), np.flip(x), np.tile(x, 2)

    check(zero_d, x)


def test_empty():
    def empty(x):
        first = (
            np.concatenate([x, x]),
            np.reshape(x, (3, 0)),
            np.tile(x, 2),
            np.where(x > 0, x, 1),
        )
        second = (
            np.stack([x, x]),
            np.repeat(x, 2),
            np.flip(x),
            np.roll(x, 1),
            np.pad(x, 1),
            np.diff(x),
        )
        return (
            first,
            second,
            np.cumsum(x),
            np.nonzero(x),
            np.transpose(x),
            np.clip(x, 0, 1),
            x[:, ::-1],
        )

    check(empty, np.zeros((0, 3)))


def test_functions_of_several_arrays():
    check(lambda x: np.ediff1d(x), X[0, 0], rtol=1e-13)
    check(lambda x: np.select([x > 1, x > 0], [x, -x], 0.5), X[0], rtol=1e-13)
    check(lambda x, y: tuple(np.meshgrid(x, y)), X[0, 0], X[0, :, 0], rtol=1e-13)


def _full_name(function):
    if hasattr(function, "__objclass__"):
        return f"np.ndarray.{function.__name__}"
    return f"np.{function.__module__[6:]}.{function.__name__}".replace("..", ".")


def test_everything_in_the_table_is_tested():
    here = pathlib.Path(__file__).parent
    files = [*here.glob("test_numpy_*.py"), here / "test_builtins.py"]
    text = "".join(path.read_text() for path in files)
    names = {_full_name(f) for f in TABLE}
    untested = {n for n in names if not re.search(rf"{re.escape(n)}\b", text)}
    assert untested == set()


def test_functions_of_numpys_that_are_written_in_python_are_traced():
    check(
        lambda x: (np.kron(x, x), np.cross(x[0], x[1])),
        X[0, :, :3],
        rtol=1e-13,
    )
    check(
        lambda x: (np.trapezoid(x), np.sinc(x), np.vander(x[0]), np.polyval(x[0], x)),
        X[0],
        rtol=1e-12,
    )
    check(
        lambda x: (
            np.fix(x),
            np.isposinf(x),
            np.nancumsum(x, 0),
            np.linalg.matrix_power(x[:, :3], 3),
        ),
        X[0],
        rtol=1e-12,
    )


def test_a_function_never_returns_its_argument_where_numpy_copies():
    for fn in (
        np.copy,
        np.nan_to_num,
        np.round,
        lambda x: np.clip(x, None, None),
        lambda x: x.astype("i4"),
    ):
        assert not np.shares_memory(jitnet.jit(fn)(M), M)


REFUSED = [
    *(
        lambda x: np.reshape(x, (5, 5)),
        lambda x: np.reshape(x, (-1, -1)),
        lambda x: x.reshape(-1, 7),
    ),
    *(
        lambda x: np.transpose(x, (0, 1)),
        lambda x: np.transpose(x, (0, 0, 1)),
        lambda x: np.squeeze(x, 0),
    ),
    *(
        lambda x: np.moveaxis(x, 0, 5),
        lambda x: np.moveaxis(x, (0, 1), 2),
        lambda x: np.swapaxes(x, 0, 3),
    ),
    *(
        lambda x: np.concatenate([x, x[0]]),
        lambda x: np.concatenate([x, x[:, :1]]),
        lambda x: np.stack([x, x[0]]),
    ),
    *(
        lambda x: np.concatenate([]),
        lambda x: np.concatenate([x, x], axis=3),
        lambda x: np.split(x, 5),
    ),
    *(
        lambda x: np.broadcast_to(x, (2, 3)),
        lambda x: np.expand_dims(x, 7),
        lambda x: np.array_split(x, 0),
    ),
    *(
        lambda x: x @ x,
        lambda x: x @ 3.0,
        lambda x: np.dot(x, x),
        lambda x: np.inner(x, x[..., :2]),
    ),
    *(
        lambda x: np.repeat(x, [1, 2], axis=2),
        lambda x: np.pad(x, -1),
        lambda x: np.einsum("ij->i", x),
    ),
    *(
        lambda x: np.take(x, 99),
        lambda x: np.tensordot(x, x, 2),
        lambda x: np.rollaxis(x, 5),
        lambda x: np.rot90(x, 1, (0, 0)),
    ),
    *(
        lambda x: np.diag(x),
        lambda x: np.flip(x, 4),
        lambda x: np.fliplr(x[0, 0]),
        lambda x: np.reshape(x, 24, order="Q"),
    ),
    *(
        lambda x: np.nonzero(x[0, 0, 0]),
        lambda x: np.where(x, x),
        lambda x: np.diagonal(x[0, 0]),
        lambda x: np.diff(x, -1),
    ),
    *(
        lambda x: sliding_window_view(x, 3),
        lambda x: sliding_window_view(x, 9, axis=1),
        lambda x: sliding_window_view(x, -1, axis=1),
    ),
]


def test_what_numpy_refuses_is_refused():
    for fn in REFUSED:
        check_raises(fn, X)


def test_roll_by_numbers_of_the_program() -> None:
    x, s = np.arange(7.0), np.arange(24.0).reshape(2, 3, 4)
    for k in (-9, -1, 0, 3, 20):
        check(
            lambda x, k: (np.roll(x, k), np.roll(x[x > 2], k), np.roll(x[x > 99], k)),
            x,
            np.int64(k),
        )
        check(
            lambda s, k: [
                *(np.roll(s, k), np.roll(s, k, 1), np.roll(s, k, -1)),
                *(np.roll(s, (k, 1), (0, 2)), np.roll(s, k, (0, 1))),
            ],
            s,
            np.int8(k),
        )

    def correlation(x):
        return np.array([np.dot(x, np.roll(x, i)) for i in range(len(x))]), np.roll(x[x > 2], 2)

    check(correlation, x)
