"""Products: dimension numbers, derivatives in either operand, and how they are lowered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

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
