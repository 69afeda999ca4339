"""Products: dimension numbers, derivatives in either operand, and how they are lowered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from op_kernels import kernel_of, run_kernel

from jitnet import ops
from jitnet.interp import evaluate
from jitnet.ir import ArrayType, Builder, Eqn, TypeRuleError, Value
from jitnet.ir import types as T
from jitnet.ops.linalg import DOT
from jitnet.ops.primitive import Linear, Sample

SAMPLES = [s for s in DOT.samples() if s.operands[0].dtype == np.float64]


def einsum_of(sample: Sample) -> str:
    """The same product in einsum's notation."""
    x, y = sample.operands
    xs, ys = list("abcdefg"[: x.ndim]), list("tuvwxyz"[: y.ndim])
    contract, batch = sample.attrs["contract"], sample.attrs["batch"]
    for pairs in (contract, batch):
        for a, b in zip(*pairs):
            ys[b] = xs[a]
    shared = [xs[a] for a in batch[0]]
    free_x = [c for i, c in enumerate(xs) if i not in contract[0] and i not in batch[0]]
    free_y = [c for i, c in enumerate(ys) if i not in contract[1] and i not in batch[1]]
    return f"{''.join(xs)},{''.join(ys)}->{''.join(shared + free_x + free_y)}"


def product(sample: Sample, x: Any, y: Any) -> Any:
    return np.einsum(einsum_of(sample), x, y)


def eqn_of(sample: Sample) -> Eqn:
    with Builder("f") as b:
        params = [b.param(ArrayType(T.from_numpy(x.dtype), x.shape)) for x in sample.operands]
        ops.dot(*params, **sample.attrs)
    (eqn,) = b.eqns
    return eqn


@pytest.mark.parametrize("sample", SAMPLES, ids=einsum_of)
def test_reference_is_einsum(sample: Sample) -> None:
    (out,) = DOT.numpy(eqn_of(sample), *sample.operands)
    np.testing.assert_allclose(out, product(sample, *sample.operands), rtol=1e-12, atol=1e-12)


def test_integers_wrap_and_bools_are_any_of_both() -> None:
    x = np.array([[100, 100], [1, 2]], np.int8)
    assert _run(x, x).dtype == np.int8
    np.testing.assert_array_equal(_run(x, x), x @ x)
    m = np.array([[True, False], [False, False]])
    np.testing.assert_array_equal(_run(m, m), [[True, False], [False, False]])


def _run(x: Any, y: Any) -> Any:
    with Builder("f") as b:
        params = [b.param(ArrayType(T.from_numpy(v.dtype), v.shape)) for v in (x, y)]
        out = ops.dot(*params, contract=((1,), (0,)))
    return evaluate(b.build(out), (x, y))[0]


@pytest.mark.parametrize("sample", SAMPLES, ids=einsum_of)
def test_tangents_are_bilinear(sample: Sample) -> None:
    rng = np.random.default_rng(0)
    x, y = sample.operands
    tx, ty = rng.normal(size=x.shape), rng.normal(size=y.shape)
    for given in ((True, False), (False, True), (True, True)):
        with Builder("jvp") as b:
            params = [b.param(ArrayType(T.f64, v.shape)) for v in (x, y, tx, ty)]
            eqn = eqn_of(sample)
            tangents = [t if g else None for t, g in zip(params[2:], given)]
            _, (out,) = DOT.jvp(eqn, params[:2], tangents, _no_regions)
        (value,) = evaluate(b.build(out), (x, y, tx, ty))
        expected = given[0] * product(sample, tx, y) + given[1] * product(sample, x, ty)
        np.testing.assert_allclose(value, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("wrt", [0, 1])
@pytest.mark.parametrize("sample", SAMPLES, ids=einsum_of)
def test_transposes_in_either_operand(sample: Sample, wrt: int) -> None:
    """<dot(x, y), ct> = <x, transpose(ct, y)>, the shapes included."""
    rng = np.random.default_rng(1)
    operands = list(sample.operands)
    y = product(sample, *operands)
    ct = np.asarray(rng.normal(size=y.shape))[()]
    with Builder("transpose") as b:
        params = [b.param(ArrayType(T.f64, v.shape)) for v in (*operands, ct)]
        values: list[Value | Linear] = list(params[:2])
        values[wrt] = Linear(params[wrt].type)
        out = DOT.transpose(eqn_of(sample), values, [params[2]], [None, None], _no_regions)
        assert out[1 - wrt] is None
    (back,) = evaluate(b.build(out[wrt]), (*operands, ct))
    assert back.shape == operands[wrt].shape
    np.testing.assert_allclose((y * ct).sum(), (operands[wrt] * back).sum(), rtol=1e-10)
    for _ in range(3):  # and in every direction, not at the point alone
        operands[wrt] = rng.normal(size=back.shape)
        y = product(sample, *operands)
        np.testing.assert_allclose(
            (y * ct).sum(), (operands[wrt] * back).sum(), rtol=1e-9, atol=1e-12
        )


def _no_regions(*args: Any) -> Any:
    raise AssertionError("no regions here")


def test_matrix_products_transpose_to_one_product_each() -> None:
    """No transposed copies beside the gemm: its flags do that."""
    for contract in (((1,), (0,)), ((0,), (1,)), ((1,), (1,)), ((0,), (0,))):
        with Builder("t") as b:
            shapes = [(3, 3), (3, 3), (3, 3)]
            x, y, ct = (b.param(ArrayType(T.f64, s)) for s in shapes)
            attrs = {"contract": contract, "batch": ((), ())}
            eqn = Eqn(DOT, (x, y), attrs, (), (Value(x.type),))
            DOT.transpose(eqn, [x, Linear(y.type)], [ct], [None, None], _no_regions)
        assert b.eqns[0].op is DOT
        assert all(e.op.is_view for e in b.eqns[1:])


@pytest.mark.parametrize(
    ("x", "y", "contract", "batch", "message"),
    [
        ((2, 3), (4, 5), ((1,), (0,)), ((), ()), "do not match"),
        ((2, 3), (3, 5), ((2,), (0,)), ((), ()), "in range"),
        ((2, 3), (3, 2), ((1,), (0,)), ((1,), (1,)), "each once"),
        ((2, 3), (3, 2), ((1,), (0,)), ((0,), (0,)), "each once"),
    ],
)
def test_axes_are_checked(
    x: Sequence[int], y: Sequence[int], contract: Any, batch: Any, message: str
) -> None:
    with Builder("f") as b:
        params = [b.param(ArrayType(T.f64, tuple(v))) for v in (x, y)]
        with pytest.raises(TypeRuleError, match=message):
            ops.dot(*params, contract=contract, batch=batch)


def test_dtypes_are_checked() -> None:
    with Builder("f") as b:
        x, y = b.param(ArrayType(T.f64, (3,))), b.param(ArrayType(T.f32, (3,)))
        with pytest.raises(TypeRuleError, match="convert first"):
            ops.dot(x, y, contract=((0,), (0,)))


# -- lowering --------------------------------------------------------------------------------------


def padded(a: Any) -> Any:
    """The same in a corner of a larger array: rows at a distance, elements side by side."""
    big = np.zeros([d + 1 for d in a.shape], a.dtype)
    view = big[tuple(slice(d) for d in a.shape)]
    view[...] = a
    return view


def spread(a: Any) -> Any:
    """The same with gaps between all elements."""
    view = np.zeros([2 * d for d in a.shape], a.dtype)[(slice(None, None, 2),) * a.ndim]
    view[...] = a
    return view


def backwards(a: Any) -> Any:
    """The same with negative strides."""
    return np.flip(np.flip(a).copy())


LAYOUTS = [np.ascontiguousarray, np.asfortranarray, padded, spread, backwards]


def dynamic(sample: Sample) -> tuple[Eqn, dict[Value, int]]:
    """The equation with a Value for each different extent."""
    values: dict[int, Value] = {}
    with Builder("f") as b:
        for d in {d for x in sample.operands for d in x.shape}:
            values[d] = b.param(ArrayType(T.i64), f"n{d}")
        types = [(T.from_numpy(x.dtype), x.shape) for x in sample.operands]
        params = [b.param(ArrayType(t, tuple(values[d] for d in shape))) for t, shape in types]
        ops.dot(*params, **sample.attrs)
    return b.eqns[-1], {v: d for d, v in values.items()}


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("static", [True, False], ids=["static", "dynamic"])
def test_any_layout_and_extents(layout: Any, static: bool) -> None:
    for sample in DOT.samples():
        eqn, values = (eqn_of(sample), {}) if static else dynamic(sample)
        (expected,) = DOT.numpy(eqn_of(sample), *sample.operands)
        x, y = sample.operands
        for operands in ((layout(x), y), (x, layout(y)), (layout(x), layout(y))):
            (out,) = run_kernel(eqn, operands, values)
            np.testing.assert_allclose(out, expected, rtol=1e-5 if x.itemsize == 4 else 1e-12)
        if expected.ndim:
            target = layout(np.full_like(expected, 77))
            run_kernel(eqn, (x, y), values, [target])
            np.testing.assert_allclose(target, expected, rtol=1e-5 if x.itemsize == 4 else 1e-12)


@pytest.mark.parametrize("contract", [((0,), (0,)), ((1,), (0,)), ((1,), (1,)), ((0,), (1,))])
def test_broadcast_operands_repeat_elements(contract: Any) -> None:
    """An axis of stride 0 is not an axis of extent 1."""
    row = np.broadcast_to(np.arange(9.0), (9, 9))
    matrix = np.arange(81.0).reshape(9, 9)
    for x in (row, row.T, np.broadcast_to(np.float64(3.0), (9, 9))):
        for y in (row, row.T, matrix):
            sample = Sample((x, y), {"contract": contract, "batch": ((), ())})
            (out,) = run_kernel(eqn_of(sample), (x, y))
            np.testing.assert_allclose(out, product(sample, x, y), rtol=1e-12)
    vector = np.broadcast_to(np.float64(2.0), (9,))
    sample = Sample((matrix, vector), {"contract": (contract[0], (0,)), "batch": ((), ())})
    (out,) = run_kernel(eqn_of(sample), (matrix, vector))
    np.testing.assert_allclose(out, product(sample, matrix, vector), rtol=1e-12)


def statements(x: Any, y: Any, contract: Any = ((1,), (0,)), batch: Any = ((), ())) -> list[str]:
    """The kernel statements that a product of two arrays takes, calls by routine."""
    eqn = eqn_of(Sample((x, y), {"contract": contract, "batch": batch}))
    outputs = [np.empty(v.shape) for v in eqn.results if v.rank]
    f = kernel_of(eqn, (), (x, y), outputs)
    return [e.attrs.get("name", e.op.name) for e in f.walk()]


A, B, V = np.ones((9, 8)), np.ones((8, 7)), np.ones(8)


@pytest.mark.parametrize(
    ("x", "y", "contract"),
    [
        (A, B, ((1,), (0,))),
        (A.T, B, ((0,), (0,))),
        (np.asfortranarray(A), B, ((1,), (0,))),
        (A, np.asfortranarray(B), ((1,), (0,))),
        (padded(A), padded(B), ((1,), (0,))),
        (padded(A).T, padded(B).T, ((0,), (1,))),
        (A[:, :5], B[3:], ((1,), (0,))),
        (np.ones((3, 3, 8)), B, ((2,), (0,))),
        (np.ones((9, 4, 2)), np.ones((4, 2, 7)), ((1, 2), (0, 1))),
        (np.ones((9, 4, 2)), np.ones((4, 2, 7)), ((2, 1), (1, 0))),
    ],
)
def test_blas_takes_matrices_where_they_are(x: Any, y: Any, contract: Any) -> None:
    assert statements(x, y, contract) == ["dgemm"]


@pytest.mark.parametrize(
    ("x", "y", "contract"),
    [
        (A, V, ((1,), (0,))),
        (V, np.ones((8, 9)), ((0,), (0,))),
        (np.asfortranarray(A), V, ((1,), (0,))),
        (padded(A), spread(V), ((1,), (0,))),
        (A, np.ones((9, 3))[:, 1], ((0,), (0,))),
    ],
)
def test_vectors_may_have_strides(x: Any, y: Any, contract: Any) -> None:
    assert statements(x, y, contract) == ["dgemv"]


def test_what_blas_cannot_take_is_packed_once() -> None:
    assert statements(spread(A), B).count("alloc") == 1
    assert statements(backwards(A), spread(B)).count("alloc") == 2
    crossed = np.ones((2, 9, 4)), np.ones((4, 2, 7))
    assert statements(*crossed, ((0, 2), (1, 0))).count("alloc") == 2


def test_batches_are_views_around_one_call() -> None:
    x, y = np.ones((2, 9, 8)), np.ones((2, 8, 7))
    names = statements(x, y, ((2,), (1,)), ((0,), (0,)))
    assert names.count("dgemm") == 1
    assert names.count("view") == 3
    assert "alloc" not in names
    middle = np.ones((9, 2, 8)), np.ones((8, 2, 7))
    assert "alloc" not in statements(*middle, ((2,), (0,)), ((1,), (1,)))


def test_few_elements_and_exact_dtypes_are_loops() -> None:
    assert "dgemm" not in statements(np.ones((3, 3)), np.ones((3, 3)))
    assert "dgemm" not in statements(A.astype(np.int64), B.astype(np.int64))
    assert "dgemv" not in statements(V, V, ((0,), (0,)))
