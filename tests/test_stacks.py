"""Lists that a loop grows by one item a step are arrays in the compiled program, not tapes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from jitnet import grad, jit
from jitnet.testing import check_grads

X = np.linspace(0.5, 2.0, 60)


def comprehension(x: Any) -> Any:
    return np.array([v * v + 1 for v in x])


def traced_length(x: Any, n: int = 40) -> Any:
    out = []
    total = 0.0
    for i in range(n):
        total = total + x[i]
        out.append((total, i))
    weighted = 0.0
    for value, i in out:
        weighted = weighted + value * i
    return weighted, len(out), out[3][0], out[-1][1], np.array([value for value, _ in out])


def rows(x: Any) -> Any:
    made = []
    for i in range(len(x)):
        made.append(x[i] * x)
    return np.stack(made), np.concatenate(made)


def read_by_two_loops(x: Any) -> Any:
    made = [v * 2 for v in x]
    first = 0.0
    for i in range(len(made)):
        for j in range(i):
            first = first + made[j] * made[i]
    return first, np.array(made)


def one_list_from_another(x: Any) -> Any:
    a = [v + 1 for v in x]
    b = [a[len(a) - 1 - i] * 2 for i in range(len(a))]
    return np.array(b), np.array(a)


def complex_items(x: Any) -> Any:
    return np.array([v + 1j * v * v for v in x])


STACKED = [
    comprehension,
    traced_length,
    rows,
    read_by_two_loops,
    one_list_from_another,
    complex_items,
]


def stays_under_a_condition(x: Any) -> Any:
    out = []
    for v in x:
        if v > 1:
            out.append(v)
    return np.array(out)


def grows_by_two(x: Any) -> Any:
    out = []
    for v in x:
        out.append(v)
        out.append(-v)
    return np.array(out)


def goes_on_growing(x: Any) -> Any:
    out = [v * 3 for v in x]
    for v in x:
        out.append(v)
    return np.array(out), len(out)


TAPED = [stays_under_a_condition, grows_by_two, goes_on_growing]


def agrees(fn: Callable[..., Any], *args: Any) -> Any:
    compiled = jit(fn)
    got, expected = compiled(*args), fn(*args)
    if not isinstance(expected, tuple):
        got, expected = (got,), (expected,)
    for g, e in zip(got, expected, strict=True):
        assert type(g) is type(e)
        np.testing.assert_allclose(g, e, rtol=1e-14)
    return compiled


@pytest.mark.parametrize("fn", STACKED)
def test_lists_are_arrays(fn: Callable[..., Any]) -> None:
    compiled = agrees(fn, X)
    assert "tape" not in compiled.lower(X).stages["optimized"]


@pytest.mark.parametrize("fn", TAPED)
def test_other_lists_agree(fn: Callable[..., Any]) -> None:
    agrees(fn, X)


@pytest.mark.parametrize("fn", TAPED)
def test_what_is_not_one_item_a_step_stays_on_a_tape(fn: Callable[..., Any]) -> None:
    assert "tape" in jit(fn).lower(X).stages["optimized"]


@pytest.mark.parametrize("n", [4, 33, 57])
def test_lengths_that_the_program_is_given(n: int) -> None:
    agrees(traced_length, X, n)


def test_no_items() -> None:
    compiled = jit(lambda x, n: len([x[i] for i in range(n)]))
    assert [compiled(X, n) for n in (50, 40, 0, -3)] == [50, 40, 0, 0]


def test_an_array_of_a_list_is_not_copied() -> None:
    kernels = jit(comprehension).lower(X).stages["kernels"]
    assert kernels.count("\n  for ") == 1


def test_checks_of_a_loop_that_copies_stay() -> None:
    compiled = jit(lambda x, n: np.array([x[i] for i in range(n)]))
    assert np.array_equal(compiled(X, 50), X[:50])
    with pytest.raises(IndexError):
        compiled(X, 70)


def test_gradients() -> None:
    def loss(x: Any) -> Any:
        return traced_length(x)[0] + comprehension(x).sum()

    check_grads(loss, (X,), order=2)
    assert grad(loss)(X).shape == X.shape


def test_a_deque_of_some_items_is_carried() -> None:
    def highest_of_three(x: Any) -> Any:
        window = deque([0.0, 0.0, 0.0], maxlen=3)
        highest = 0.0
        for v in x:
            window.append(v)
            highest = max(highest, sum(window))
        return highest, list(window)

    def turned(x: Any, c: Any) -> Any:
        items = deque(x[:4])
        if c > 0:
            items.rotate(1)
        return list(items)

    assert jit(highest_of_three)(X) == highest_of_three(X)
    assert "for" in jit(highest_of_three).lower(X).stages["optimized"]
    for c in (1.0, -1.0):
        assert jit(turned)(X, c) == turned(X, c)
