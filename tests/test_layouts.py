"""In which order arrays lie: `order=`, `np.asfortranarray` and its like, flags and strides; what is
a copy and what a view; and the strides of results."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from op_functions import assert_same

from jitnet import errors, grad, jit
from jitnet.frontend import jitted

ROWS = np.arange(6.0).reshape(2, 3)
COLUMNS = np.asfortranarray(ROWS + 10)
GAPS = np.arange(24.0).reshape(4, 6)[::2, ::2]
STACK = np.asfortranarray(np.arange(24.0).reshape(2, 3, 4))
LINE = np.arange(3.0)
ARRAYS = {"rows": ROWS, "columns": COLUMNS, "gaps": GAPS, "stack": STACK, "line": LINE}

Call = Callable[[Any], Any]

CALLS: dict[str, Call] = {
    "asfortranarray": lambda x: np.asfortranarray(x),
    "asfortranarray of another dtype": lambda x: np.asfortranarray(x, np.float32),
    "computed from": lambda x: np.asfortranarray(x) + 1,
    "ascontiguousarray": lambda x: np.ascontiguousarray(x),
    "ascontiguousarray of a view": lambda x: np.ascontiguousarray(x.T),
    "asanyarray": lambda x: np.asanyarray(x),
    "asarray, F": lambda x: np.asarray(x, order="F"),
    "asarray, C": lambda x: np.asarray(x, order="C"),
    "asarray_chkfinite": lambda x: np.asarray_chkfinite(x),
    "require": lambda x: np.require(x),
    "require C": lambda x: np.require(x, requirements=["C"]),
    "require F and W": lambda x: np.require(x, np.float64, ["F", "W"]),
    "copy": lambda x: x.copy(),
    "copy, F": lambda x: x.copy(order="F"),
    "copy, A": lambda x: x.copy("A"),
    "copy, K": lambda x: x.copy("K"),
    "np.copy": lambda x: np.copy(x),
    "np.copy, C": lambda x: np.copy(x, order="C"),
    "array": lambda x: np.array(x),
    "array, F": lambda x: np.array(x, order="F"),
    "array, C": lambda x: np.array(x, order="C"),
    "array, no copy": lambda x: np.array(x, copy=None, order="F"),
    "array of a list": lambda x: np.array([x, x], order="F"),
    "zeros": lambda x: np.zeros(x.shape, order="F"),
    "ones": lambda x: np.ones(x.shape, order="C"),
    "full": lambda x: np.full(x.shape, 2.0, order="F"),
    "eye": lambda x: np.eye(len(x), 3, order="F"),
    "zeros_like": lambda x: np.zeros_like(x),
    "zeros_like, F": lambda x: np.zeros_like(x, order="F"),
    "ones_like, C": lambda x: np.ones_like(x, order="C"),
    "full_like, A": lambda x: np.full_like(x, 3, order="A"),
    "zeros_like of a shape": lambda x: np.zeros_like(x, shape=(3, 4)),
    "flatten": lambda x: x.flatten(),
    "flatten, F": lambda x: x.flatten("F"),
    "flatten, A": lambda x: x.flatten("A"),
    "ravel": lambda x: x.ravel(),
    "ravel, F": lambda x: x.ravel("F"),
    "ravel, A": lambda x: np.ravel(x, order="A"),
    "reshape, F": lambda x: x.reshape(-1, 1, 3, order="F")[:, 0],
    "reshape, A": lambda x: np.reshape(x, (-1, 3, 1), order="A")[..., 0],
    "reshape, C": lambda x: x.reshape((3, -1), order="C"),
    "astype": lambda x: x.astype(np.float32),
    "astype, F": lambda x: x.astype(np.float32, order="F"),
    "astype, no copy": lambda x: x.astype(np.float64, copy=False),
    "astype, no copy, F": lambda x: x.astype(np.float64, order="F", copy=False),
    "sum": lambda x: x + x,
    "sum with a row": lambda x: x - x.max(0),
    "ufunc, F": lambda x: np.add(x, 1, order="F"),
    "ufunc, C": lambda x: np.negative(x, order="C"),
    "ufunc, A": lambda x: np.negative(x, order="A"),
    "where": lambda x: np.where(x > 1, x, 0),
    "clip": lambda x: np.clip(x, 0, 2),
    "sort": lambda x: np.sort(x, axis=0),
    "cumsum": lambda x: np.cumsum(x, 0),
    "sums": lambda x: (x.sum(0), x.sum(-1), x.max(0, keepdims=True), np.mean(x, -1)),
    "any": lambda x: (x > 1).any(axis=x.ndim // 2),
    "product": lambda x: np.asfortranarray(x.reshape(-1, 3)) @ np.ones((3, 2), order="F"),
    "writeable and more": lambda x: (x.flags.writeable, x.flags["ALIGNED"], x.flags.c_contiguous),
    "flags": lambda x: (x.flags.f_contiguous, x.flags["C"], x.flags.fnc, x.flags.forc),
    "isfortran": lambda x: np.isfortran(np.asfortranarray(x)),
    "strides": lambda x: (np.asfortranarray(x).strides, np.zeros(x.shape).T.strides),
}


def shown(x: Any, argument: np.ndarray[Any, Any]) -> Any:
    if isinstance(x, tuple):
        return tuple(shown(item, argument) for item in x)
    if not isinstance(x, np.ndarray):
        return x
    strides = [step for step, extent in zip(x.strides, x.shape) if extent > 1]
    about = (x.dtype, x.shape, strides, x.flags.c_contiguous, x.flags.f_contiguous)
    return (*about, x is argument, np.shares_memory(x, argument), x.tolist())


@pytest.mark.parametrize("kind", ARRAYS)
@pytest.mark.parametrize("name", CALLS)
def test_results_lie_and_share_memory_as_numpys(name: str, kind: str) -> None:
    x, call = ARRAYS[kind], CALLS[name]
    assert shown(jit(call)(x), x) == shown(call(x), x)


@pytest.mark.parametrize("kind", ["rows", "columns", "stack"])
@pytest.mark.parametrize("flatten", [lambda x: x.flatten("K"), lambda x: x.ravel("K")])
def test_elements_in_the_order_of_memory(kind: str, flatten: Call) -> None:
    x = ARRAYS[kind]
    assert shown(jit(flatten)(x), x) == shown(flatten(x), x)


def test_what_strides_decide_that_are_not_known_is_refused() -> None:
    for call in (
        lambda x: x.ravel("K"),
        lambda x: x.flatten("K"),
        lambda x: x.strides,
        lambda x: np.require(x, requirements="O"),
    ):
        with pytest.raises(errors.UnsupportedFunctionError, match=r"strides|own"):
            jit(call)(GAPS)


def written(make: Call) -> Call:
    def run(x: Any) -> Any:
        y = make(x)
        y[..., 0] = 7.0
        return y, x

    return run


@pytest.mark.parametrize("kind", ["rows", "columns", "gaps", "line"])
@pytest.mark.parametrize(
    "make",
    [
        lambda x: np.asfortranarray(x),
        lambda x: np.asarray(x, order="C"),
        lambda x: np.require(x, requirements="F"),
        lambda x: np.require(x[1:], requirements=["O", "C"]),
        lambda x: x.astype(np.float64, order="F", copy=False),
        lambda x: x.ravel("F"),
        lambda x: np.zeros_like(x).ravel(),
        lambda x: np.asfortranarray(x).T.ravel(),
    ],
)
def test_copies_are_written_to_alone(make: Call, kind: str) -> None:
    ours, theirs = ARRAYS[kind].copy("K"), ARRAYS[kind].copy("K")
    if kind == "gaps":
        ours, theirs = (np.repeat(np.repeat(x, 2, 0), 2, 1)[::2, ::2] for x in (ours, theirs))
    for got, want in zip(jit(written(make))(ours), written(make)(theirs)):
        assert_same(got, want)


def test_arrays_by_columns_in_loops_and_branches() -> None:
    def f(x: Any, n: int) -> Any:
        y = np.zeros((3, 4), order="F")
        for i in range(n):
            y[i % 3] += x[i]
        if x[0] > 0:
            y[0] = 0.5
        return y, y[1:], y.T, y * 2

    for x in (np.arange(1.0, 8.0), -np.arange(1.0, 8.0)):
        got, want = jit(f)(x, 7), f(x, 7)
        for g, w in zip(got, want):
            assert_same(g, w)
            assert g.strides == w.strides
        assert [np.shares_memory(got[0], g) for g in got] == [
            np.shares_memory(want[0], w) for w in want
        ]


def test_native_entries_make_arrays_by_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jitted, "NATIVE_AFTER", 1)
    f = jit(lambda x: (x * 2, x.T + 1))
    for n in (3, 200):  # the second one's results come from the pool
        x = np.asfortranarray(np.arange(n * (n + 1.0)).reshape(n, n + 1))
        for _ in range(4):
            for got, want in zip(f(x), (x * 2, x.T + 1)):
                assert shown(got, x) == shown(want, x)
    for n in range(4, 9):  # any extent: in memory that the program allocates
        x = np.arange(n * (n + 1.0)).reshape(n, n + 1)
        g = jit(lambda x: np.asfortranarray(x * 2))
        assert shown(g(x), x) == shown(np.asfortranarray(x * 2), x)
    h = jit(lambda x: np.asfortranarray(x * 2))
    for n in (*range(2, 8), 7, 7, 7):
        x = np.arange(n * (n + 1.0)).reshape(n, n + 1)
        assert shown(h(x), x) == shown(np.asfortranarray(x * 2), x)
    assert h._native_hits.value > 0


def test_orders_that_numpy_refuses() -> None:
    for call in (
        lambda x: np.zeros((2, 2), order="Z"),
        lambda x: np.ones((2, 2), order="K"),
        lambda x: x.copy("Q"),
        lambda x: x.reshape(-1, order="K"),
        lambda x: np.require(x, requirements=["C", "F"]),
        lambda x: np.asarray_chkfinite(x / 0.0),
    ):
        with np.errstate(all="ignore"):
            with pytest.raises(ValueError):
                call(ROWS)
            with pytest.raises(ValueError):
                jit(call)(ROWS)


def test_derivatives_do_not_care() -> None:
    def f(x: Any) -> Any:
        return (np.asfortranarray(x).ravel("K") * np.arange(6.0)).sum()

    want = np.arange(6.0).reshape(3, 2).T
    np.testing.assert_array_equal(jit(grad(f))(ROWS), want)
