"""jit(verify=True): results are NumPy's, and where a fault is put in, its line is named."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

import jitnet
from jitnet import errors, jit, ops
from jitnet.frontend import elementwise
from jitnet.frontend.copying import copied
from jitnet.frontend.recording import ELEMENT, record

X = np.linspace(0.1, 1.0, 5)


@pytest.fixture
def wrong_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    """np.tanh is traced as if it were np.sin."""
    monkeypatch.setitem(elementwise.KERNELS, np.tanh, ops.sin)


@pytest.fixture
def wrong_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """tanh is compiled as if it were sin."""
    monkeypatch.setattr(ops.tanh, "lower", ops.sin.lower)


def failure(fn: Any, *args: Any, text: str) -> errors.VerificationError:
    """The error of a verified call; its line is the one that holds `text`."""
    with pytest.raises(errors.VerificationError) as caught:
        jit(fn, verify=True)(*args)
    lines, first = inspect.getsourcelines(fn)
    place = caught.value.frames[0]
    assert place.file == __file__
    assert text in lines[place.line - first]
    assert "JN027" in str(caught.value)
    return caught.value


# -- no fault --------------------------------------------------------------------------------------


def test_verified_calls_give_the_compiled_result() -> None:
    @jit(verify=True)
    def step(x: Any, n: int, state: Any) -> Any:
        y = np.tanh(x)
        total = 0.0
        for i in range(n):
            total += y[i % 5]
            y = y * 0.9
        x[0] = total
        state["sum"] = y.sum()
        return y, total, n > 3, state["sum"] - y.sum()

    x, state = X.copy(), {"sum": 0.0}
    own, expected_state = X.copy(), {"sum": 0.0}
    got, expected = step(x, 7, state), step.__wrapped__(own, 7, expected_state)
    for a, b in zip((*got, x), (*expected, own)):
        np.testing.assert_allclose(a, b, rtol=1e-14)
    assert state["sum"] == pytest.approx(expected_state["sum"])
    for _ in range(60):  # no native entry leads past the check
        step(x, 7, state)
    assert step._entry is None


def test_what_the_program_raises_is_raised() -> None:
    def f(x: Any, i: int) -> Any:
        x[i] = 1.0
        if i < 0:
            raise ValueError("negative")
        return x

    verified = jit(f, verify=True)
    with pytest.raises(IndexError, match="out of bounds"):
        verified(X.copy(), 9)
    with pytest.raises(ValueError, match="negative"):
        verified(X.copy(), -1)
    assert verified(X.copy(), 2)[2] == 1.0


def test_rounding_is_no_fault() -> None:
    data = np.random.default_rng(1).normal(size=(40, 3000)).astype(np.float32)
    jit(lambda x: (x - x.mean(1, keepdims=True)).sum(1), verify=True)(data)
    jit(lambda x: (np.exp(x) @ np.sin(x).T, x.std(0)), verify=True)(data)
    jit(lambda n: np.sin(np.pi * n), verify=True)(3)
    jit(lambda x: np.where(x > 0, np.log(x), np.nan), verify=True)(data)


def test_arrays_from_outside_are_changed_once() -> None:
    count = np.zeros(3)

    @jit(verify=True)
    def tick(x: Any) -> Any:
        count[0] += 1
        return x + count

    tick(X[:3])
    tick(X[:3])
    assert count[0] == 2


def test_arguments_that_share_memory() -> None:
    @jit(verify=True)
    def shift(a: Any, b: Any) -> None:
        for i in range(len(a)):
            a[i] = b[i] + 1

    x, expected = np.zeros(9), np.zeros(9)
    shift(x[1:], x[:-1])
    shift.__wrapped__(expected[1:], expected[:-1])
    np.testing.assert_array_equal(x, expected)


# -- faults ----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("wrong_trace")
def test_the_first_line_that_was_traced_wrongly_is_named() -> None:
    def f(x: Any, w: Any) -> Any:
        a = x * w
        b = np.exp(a)
        h = np.tanh(a + b)
        c = h * 2
        return c.sum()

    error = failure(f, X, 0.5, text="h = np.tanh")
    assert error.variable == "h"
    a = X * 0.5
    np.testing.assert_allclose(error.expected, np.tanh(a + np.exp(a)))
    np.testing.assert_allclose(error.got, np.sin(a + np.exp(a)))
    assert error.difference == pytest.approx(np.abs(error.expected - error.got).max())
    assert "traced wrongly" in str(error)
    assert "h is not what NumPy computes" in str(error)


@pytest.mark.usefixtures("wrong_trace")
def test_lines_inside_of_loops_and_helpers_are_named() -> None:
    def squash(v: Any) -> Any:
        inner = v + 0.5
        return np.tanh(inner)

    def loop(x: Any) -> Any:
        s = 0.25
        for i in range(20):
            t = s * 0.5 + x[i % 5]
            s = squash(t) * t
        return s

    def straight(x: Any) -> Any:
        y = x * 3
        z = squash(y)
        return z + 1

    assert failure(loop, X, text="s = squash(t) * t").variable == "s"
    assert failure(straight, X, text="z = squash(y)").variable == "z"


@pytest.mark.usefixtures("wrong_trace")
def test_results_without_a_name_point_to_their_line() -> None:
    def returned(x: Any) -> Any:
        y = x + 1
        return np.tanh(y) * 2

    def viewed(x: Any) -> None:
        part = x[1:]
        part[:] = np.tanh(part)

    assert failure(returned, X, text="return np.tanh").variable == "the result"
    error = failure(viewed, X.copy(), text="part[:] = np.tanh")
    assert error.variable == "what becomes of argument x"


@pytest.mark.usefixtures("wrong_trace")
def test_assignments_to_elements_are_named() -> None:
    def f(x: Any, n: int) -> Any:
        y = np.zeros(n)
        for i in range(n):
            y[i] = x[i] * 2
        for i in range(1, n):
            y[i] += np.tanh(y[i - 1])
        return y[::-1] * 3

    assert failure(f, X, 5, text="y[i] += np.tanh").variable == "y"


@pytest.mark.usefixtures("wrong_code")
def test_faults_of_the_code_generator_are_told_apart() -> None:
    def f(x: Any) -> Any:
        a = x + 1
        h = np.tanh(a)
        return (h * 2).sum()

    error = failure(f, X, text="h = np.tanh(a)")
    assert error.variable == "h"
    assert "the code generator is wrong" in str(error)
    np.testing.assert_allclose(error.got, np.sin(X + 1))
    for x in (np.asfortranarray(np.ones((3, 4))), np.ones((6, 8))[::2, ::-2], np.float64(1.0)):
        assert failure(f, x, text="h = np.tanh(a)").variable == "h"


def test_errors_that_only_one_of_the_two_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    def f(x: Any) -> Any:
        if np.tanh(x).sum() > 0.5:
            raise ValueError("large")
        return x

    monkeypatch.setitem(elementwise.KERNELS, np.tanh, ops.neg)
    error = failure(f, X, text='raise ValueError("large")')
    assert "does not raise" in str(error)


# -- the parts -------------------------------------------------------------------------------------


def test_copies_lie_as_the_originals_do() -> None:
    x = np.arange(24.0).reshape(4, 6)
    frozen = np.ones(3)
    frozen.flags.writeable = False
    tree = {"x": x, "views": [x[::2, ::-1], x.T], "same": x, "frozen": frozen, "n": 3}
    got = copied(tree)
    assert got["same"] is got["x"]
    assert got["x"] is not x
    assert not got["frozen"].flags.writeable
    for a, b in ((got["x"], x), (got["views"][0], x[::2, ::-1]), (got["views"][1], x.T)):
        np.testing.assert_array_equal(a, b)
        assert a.strides == b.strides
    got["x"][0, 5] = -1.0
    assert got["views"][0][0, 0] == got["views"][1][5, 0] == -1.0
    assert x[0, 5] == 5.0
    assert copied(np.zeros((0, 3))).shape == (0, 3)


def test_assignments_are_recorded_in_order() -> None:
    def f(x: Any) -> Any:
        y = x * 2
        for i in range(2):
            y += i
        y[0] = 5.0
        text = "no number"
        return y, text

    found = record(f, (np.ones(1),), {})
    assert [a.variable for a in found] == ["y", "i", "y", "i", "y", "y"]
    assert [float(np.ravel(a.value)[0]) for a in found] == [2.0, 0.0, 2.0, 1.0, 3.0, 5.0]
    assert [a.place[2] for a in found[-2:]] == ["y", ELEMENT]
    assert isinstance(jitnet.jit(f, verify=True), jitnet.Jitted)
