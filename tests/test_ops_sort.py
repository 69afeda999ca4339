"""Sorting and searching: against NumPy, on both levels and compiled, with their derivatives."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from backends import BACKENDS
from lowered import run_lowered
from op_functions import assert_same, function_of
from op_kernels import run_kernel

from jitnet import ops, transforms
from jitnet.interp import evaluate
from jitnet.ir import ArrayType, Builder, Function, Literal, TypeRuleError, Value, parse, registry
from jitnet.ir import types as T
from jitnet.kernel.externs import EXTERNS
from jitnet.ops.primitive import Primitive
from jitnet.runtime import externs, sorting

KINDS = ("quick", "stable")
NAMES = ("sort", "argsort", "searchsorted")


def build(body: Callable[..., Any], args: Sequence[Any]) -> Function:
    with Builder("f") as b:
        params = [b.param(ArrayType(T.from_numpy(a.dtype), np.shape(a))) for a in args]
        results = body(*params)
    return b.build(*([results] if isinstance(results, Value) else results))


def check(body: Callable[..., Any], args: Sequence[Any], *expected: Any) -> None:
    """Every backend gives `expected`."""
    f = build(body, args)
    assert parse(str(f)) == f
    for run in (evaluate, *BACKENDS.values()):
        found = run(f, [np.copy(a)[()] for a in args])
        for x, y in zip(found, expected, strict=True):
            assert_same(np.asarray(x), np.asarray(y))


def mixed(dtype: Any, n: int) -> Any:
    """Numbers with duplicates; of floats some are NaN, infinite, and zeros of both signs."""
    rng = np.random.default_rng(n)
    x = rng.integers(0, 2 if dtype == np.bool_ else 2 + n // 2, n).astype(dtype)
    if x.dtype.kind == "f" and n > 8:
        x[rng.integers(0, n, n // 4)] = np.nan
        x[rng.integers(0, n, n // 4)] *= -1
        x[:2] = np.inf, -np.inf
    return x


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("literals", [True, False])
def test_lowering_agrees_with_reference(name: str, literals: bool) -> None:
    op = registry("array")[name]
    assert isinstance(op, Primitive)
    for sample in op.samples():
        f, args = function_of(op, sample, literals)
        expected = evaluate(f, args)
        if op.writes is None:
            for x, y in zip(run_lowered(f, args), expected, strict=True):
                assert_same(x, y)
        for x, y in zip(run_kernel(f.eqns[0], sample.operands), expected, strict=True):
            assert_same(x, y)


@pytest.mark.parametrize("kind", KINDS)
def test_all_dtypes_and_lengths_compiled(kind: str) -> None:
    """One program for each dtype; the lengths are on both sides of NumPy's own thresholds."""
    for dtype in T.DTYPES.values():
        rows = [mixed(dtype.numpy, n) for n in (0, 1, 2, 3, 16, 17, 33, 200, 1500)]
        numpys = {"quick": "quicksort", "stable": "stable"}[kind]
        expected = [np.sort(x, kind=numpys) for x in rows]
        expected += [np.argsort(x, kind=numpys) for x in rows]

        def both(*xs: Value) -> list[Value]:
            return [op(x, 0, kind) for op in (ops.sort, ops.argsort) for x in xs]

        found = BACKENDS["native"](build(both, rows), rows)
        for x, y in zip(found, expected, strict=True):
            assert_same(x, y)


@pytest.mark.parametrize("shape", [(4, 5), (3, 2, 4), (1, 3), (3, 0), (0, 3)])
def test_along_each_axis(shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).integers(0, 4, shape).astype(np.float32)
    for axis in range(x.ndim):
        check(
            lambda v, axis=axis: (ops.sort(v, axis), ops.argsort(v, axis, "stable")),
            [x],
            np.sort(x, axis),
            np.argsort(x, axis, kind="stable"),
        )


def test_of_a_computed_value_in_its_own_memory() -> None:
    x = mixed(np.float64, 100)
    program = build(lambda v: ops.sort(ops.mul(v, 2.0), 0), [x])
    (found,) = BACKENDS["native"](program, [x])
    assert_same(found, np.sort(x * 2.0))


def test_of_a_view_that_is_read_backwards() -> None:
    x = np.arange(12.0).reshape(3, 4)

    def body(v: Value) -> list[Value]:
        turned = ops.transpose(v, (1, 0))
        back = ops.slice(v, [Literal(2, T.i64), Literal(0, T.i64)], (3, 4), (-1, 1))
        return [ops.argsort(turned, 1), ops.sort(back, 0), ops.argsort(back, 0)]

    back = x[::-1]
    check(body, [x], np.argsort(x.T, 1), np.sort(back, 0), np.argsort(back, 0))


def test_extents_that_data_decides() -> None:
    x = np.array([3.0, -1.0, 2.0, np.nan, 0.5])
    mask = np.array([True, False, True, True, True])

    def body(v: Value, m: Value) -> list[Value]:
        count, kept = ops.compress(m, [v])
        rows = ops.broadcast(kept, (kept.dims[0], 2), (0,))
        row = ops.sort(kept, 0)
        found = ops.searchsorted(row, v)
        return [count, row, ops.argsort(rows, 0), found, ops.sort(rows, 0)]

    kept = x[mask]
    rows = np.repeat(kept[:, None], 2, 1)
    row = np.sort(kept)
    found = np.searchsorted(row, x)
    expected = [np.int64(4), row, np.argsort(rows, 0), found, np.sort(rows, 0)]
    check(body, [x, mask], *expected)
    nothing = [np.int64(0), row[:0], np.argsort(rows[:0], 0), np.zeros(5, np.int64), rows[:0]]
    check(body, [x, np.zeros(5, np.bool_)], *nothing)


@pytest.mark.parametrize("side", ["left", "right"])
def test_search(side: Any) -> None:
    for n in (0, 1, 2, 3, 4, 5, 8, 13, 64):
        row = np.sort(mixed(np.float64, n))
        values = np.concatenate([row, row + 0.5, [np.nan, -np.inf, np.inf, -0.0]])
        check(
            lambda a, v: ops.searchsorted(a, v, side),
            [row, values],
            np.searchsorted(row, values, side),
        )


def test_derivative_of_sort() -> None:
    x = np.array([[3.0, -1.0, 2.0], [0.5, 7.0, -4.0]])
    weights = np.arange(6.0).reshape(2, 3) + 1

    def body(v: Value, w: Value) -> Value:
        return ops.reduce_sum(ops.mul(ops.sort(v, 1), w), (0, 1))

    f = transforms.value_and_grad(build(body, [x, weights]), (0,))
    expected = np.empty_like(x)
    np.put_along_axis(expected, np.argsort(x, 1), weights, 1)
    for run in (evaluate, *BACKENDS.values()):
        value, gradient = run(f, [x.copy(), weights.copy()])
        assert value == (np.sort(x, 1) * weights).sum()
        assert_same(np.asarray(gradient), expected)


def test_routines_by_callback() -> None:
    """Where NumPy has no pointer to give, Python is called: with the same results."""
    row = np.array([3.0, 1.0, np.nan, 2.0])
    order = np.arange(4)
    types = [ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_void_p]
    sort = ctypes.CFUNCTYPE(ctypes.c_int, *types)(sorting.callback("numpy_sort_quick_f64"))
    argsort = ctypes.CFUNCTYPE(ctypes.c_int, types[0], *types)
    argsort(sorting.callback("numpy_argsort_stable_f64"))(row.ctypes.data, order.ctypes.data, 4, 0)
    sort(row.ctypes.data, 4, None)
    assert order.tolist() == [1, 3, 0, 2]
    assert_same(row, np.array([1.0, 2.0, 3.0, np.nan]))


def test_callback_where_numpy_has_no_routine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sorting, "numpys_own", lambda what, kind, dtype: None)
    symbol = "numpy_argsort_quick_i32"
    assert externs.extern_address(symbol) == sorting.callback(symbol)


def test_every_dtype_has_its_routines_in_this_numpy() -> None:
    for routine in EXTERNS.values():
        if routine.symbol.startswith("numpy_"):
            _, what, kind, dtype = routine.symbol.split("_")
            if dtype != "bf16":  # ml_dtypes has none
                own = T.by_name(dtype)
                assert own is not None
                assert sorting.numpys_own(what, kind, own.numpy)


def test_type_rules() -> None:
    with Builder("f") as b:
        x, v = b.param(ArrayType(T.f64, (3,))), b.param(ArrayType(T.f32, (3,)))
        for refused in (
            lambda: ops.sort(x, 1),
            lambda: ops.argsort(x, 0, "bubble"),
            lambda: ops.searchsorted(x, v),
            lambda: ops.searchsorted(x, x, "middle"),
        ):
            with pytest.raises(TypeRuleError):
                refused()
