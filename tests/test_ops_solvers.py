"""The ops of linear systems on memory of any strides and extents, by each way to compute them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from op_kernels import run_kernel

from jitnet import ir, ops
from jitnet.interp import evaluate
from jitnet.ir import ArrayType, Builder, TypeRuleError
from jitnet.ir import types as T
from jitnet.kernel.externs import EXTERNS
from jitnet.runtime.externs import extern_address

RNG = np.random.default_rng(3)


def matrix(n: int, *stack: int) -> np.ndarray:
    a = RNG.uniform(-1, 1, (*stack, n, n)) + (1 + n / 2) * np.eye(n)
    return np.roll(a, 1, axis=-2)


def equation(build, *arrays, dynamic: bool = False) -> tuple[ir.Function, list]:
    """A function of one op; with `dynamic`, the order of the matrices is its first param."""
    order, values = arrays[0].shape[-1], []
    with Builder("f") as b:
        n = b.param(T.scalar(T.i64), "n") if dynamic else None
        for x in arrays:
            dims = tuple(n if n is not None and d == order else d for d in x.shape)
            values.append(b.param(ArrayType(T.from_numpy(x.dtype), dims), "x"))
        results = build(*values)
    results = results if isinstance(results, tuple) else (results,)
    return b.build(*results), [*([np.int64(order)] if dynamic else []), *arrays]


BUILD = {
    "solve": ops.solve,
    "det": ops.det,
    "slogdet": ops.slogdet,
    "cholesky": ops.cholesky,
}


def operands(name: str, n: int, *stack: int) -> list[np.ndarray]:
    a = matrix(n, *stack)
    if name == "solve":
        return [a, RNG.uniform(-1, 1, (*stack, n, 2))]
    return [a @ np.swapaxes(a, -1, -2) if name == "cholesky" else a]


@pytest.mark.parametrize("name", BUILD)
@pytest.mark.parametrize("n", [1, 3, 6, 9, 18])
def test_operands_of_any_strides(name, n):
    for stack in ((), (3,)):
        given = operands(name, n, *stack)
        f, args = equation(BUILD[name], *given)
        expected = evaluate(f, args)
        strided = [np.swapaxes(np.swapaxes(x, -1, -2).copy(), -1, -2) for x in given]
        strided[-1] = np.repeat(strided[-1], 2, axis=-1)[..., ::2]
        for x, y in zip(run_kernel(f.eqns[0], strided), expected):
            np.testing.assert_allclose(x, y, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("name", BUILD)
def test_orders_that_are_values(name):
    for n, stack in ((0, ()), (3, ()), (3, (2,)), (20, ())):
        f, args = equation(BUILD[name], *operands(name, n, *stack), dynamic=True)
        static, _ = equation(BUILD[name], *args[1:])
        for x, y in zip(evaluate(f, args), evaluate(static, args[1:])):
            np.testing.assert_array_equal(x, y)
        (order,) = (p for p in f.params if p.rank == 0)
        found = run_kernel(f.eqns[0], args[1:], {order: np.int64(n)})
        for x, y in zip(found, evaluate(static, args[1:])):
            np.testing.assert_allclose(x, y, rtol=1e-10, atol=1e-13)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 7), st.integers(0, 2**32))
def test_singular_matrices_are_told(n, seed):
    """Of small whole numbers, so that elimination is exact where it divides by powers of two."""
    rng = np.random.default_rng(seed)
    a = np.triu(rng.choice([-2.0, -1.0, 0.0, 1.0, 2.0], (n, n)))[rng.permutation(n)]
    f, args = equation(ops.solve, a, np.ones((n, 1)))
    _, singular = run_kernel(f.eqns[0], args)
    assert bool(singular) == (np.linalg.matrix_rank(a) < n)
    g, args = equation(ops.det, a)
    (det,) = run_kernel(g.eqns[0], args)
    np.testing.assert_allclose(det, np.linalg.det(a), rtol=1e-12)
    assert (det == 0) == bool(singular)


def test_dims_that_do_not_fit_are_refused():
    square, wide, whole = matrix(3), matrix(3)[:2], matrix(3).astype(np.int64)
    for build, arrays in (
        (ops.det, [wide]),
        (ops.cholesky, [square[0]]),
        (ops.solve, [square, matrix(4)]),
        (ops.solve, [square, square.astype(np.float32)]),
        (ops.solve, [square, matrix(3, 2)]),
        (ops.slogdet, [whole]),
    ):
        with pytest.raises(TypeRuleError):
            equation(build, *arrays)


@pytest.mark.parametrize("name", [n for n in EXTERNS if n[1:] in ("getrf", "getrs", "potrf")])
def test_the_library_has_the_routine(name):
    assert extern_address(EXTERNS[name].symbol)
