"""What gradients do without: fills, copies, packed matrices, whole arrays for a few elements, and
stacks that do not fit into the cache. Kernels and bytes are counted, nothing is timed."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import jitnet
from jitnet.ops import segments

RNG = np.random.default_rng(7)


def kernels_of(f: Any, *args: Any, wrt: Any = 0) -> str:
    return str(jitnet.value_and_grad(f, argnums=wrt).lower(*args).stages["kernels"])


def backward_loop(text: str) -> str:
    """The last loop of the program that goes step by step, with all that is in it."""
    lines = text.splitlines()
    starts = [
        i
        for i, line in enumerate(lines)
        if re.match(r"  \S.*kind='seq'", line) or re.match(r"  for .*kind='seq'", line)
    ]
    assert starts
    begin = starts[-1]
    end = next(i for i in range(begin + 1, len(lines)) if lines[i].startswith("  }"))
    return "\n".join(lines[begin : end + 1])


def whole_fills(text: str) -> list[str]:
    """Stores of a constant."""
    return re.findall(r"store %\S+, 0(?:\.0)?, %.*", text)


# -- cotangents of what is overwritten -------------------------------------------------------------


def rows_eliminated(A):
    for i in range(A.shape[0] - 1):
        A[i + 1] -= 0.25 * A[i]
    return np.sum(A * A)


def test_what_is_written_back_is_not_cleared_first():
    """The cotangent of `A[i + 1]` stays where it is."""
    A = RNG.standard_normal((30, 40))
    body = backward_loop(kernels_of(rows_eliminated, A))
    assert not whole_fills(body)
    assert len(re.findall("for ", body)) == 2  # the steps, and one row


def heated(u, alpha):
    for _ in range(10):
        u[1:-1, 1:-1] += alpha * (u[:-2, 1:-1] + u[2:, 1:-1] - 2 * u[1:-1, 1:-1])
    return np.sum(u * u)


def test_stencils_in_place_leave_their_cotangents_in_place():
    u = RNG.standard_normal((20, 24))
    assert not whole_fills(backward_loop(kernels_of(heated, u, 0.2)))


def test_gradients_of_these():
    A = RNG.standard_normal((6, 5))
    jitnet.testing.check_grads(lambda A: rows_eliminated(A.copy()), (A,), order=1)
    jitnet.testing.check_grads(lambda u, a: heated(u.copy(), a), (A, 0.2), order=1)


# -- boxes of transposed arrays --------------------------------------------------------------------


def back_substituted(L, b):
    U, x = L.T, b.copy()
    for i in range(len(b) - 1, -1, -1):
        x[i] = (x[i] - U[i, i + 1 :] @ x[i + 1 :]) / U[i, i]
    return np.sum(x * x)


def test_a_step_that_reads_a_row_of_a_transpose_adds_to_a_column():
    n = 50
    L = np.tril(RNG.standard_normal((n, n))) + 9 * np.eye(n)
    body = backward_loop(kernels_of(back_substituted, L, RNG.standard_normal(n)))
    assert f"for 0, {n * n}" not in body
    assert len(re.findall(r"for 0, \d", body)) == 1  # the steps


def test_gradient_of_the_transpose():
    L = np.tril(RNG.standard_normal((5, 5))) + 4 * np.eye(5)
    jitnet.testing.check_grads(back_substituted, (L, RNG.standard_normal(5)), order=2)


def tridiagonal(ratio, psi):
    for i in range(len(psi) - 2, -1, -1):
        psi[i] -= ratio[i] * psi[i + 1]
    return np.sum(np.abs(psi) ** 2)


def test_a_step_on_a_complex_number_adds_to_its_halves():
    n = 50
    ratio, psi = RNG.standard_normal((2, n)) + 1j * RNG.standard_normal((2, n))
    body = backward_loop(kernels_of(tridiagonal, ratio, psi))
    assert not re.findall(r"for 0, (?:50|100) ", body)


# -- several writes to one element -----------------------------------------------------------------


def along_antidiagonals(table, gap):
    n = table.shape[0]
    for d in range(2, n):
        i = np.arange(1, d)
        table[i, d - i] = np.maximum(table[i - 1, d - i], table[i, d - i - 1]) + gap
    return np.sum(table)


def test_who_wrote_last_is_found_without_a_cleared_table():
    n = 40
    body = backward_loop(kernels_of(along_antidiagonals, RNG.standard_normal((n, n)), 0.5))
    assert f"for 0, {n * n}" not in body


def test_the_last_of_several_writes_has_the_cotangent():
    def f(x):
        y = np.zeros(4)
        y[np.array([1, 2, 1, 3, 1])] = x
        return np.sum(y * np.arange(1.0, 5.0))

    gradient = jitnet.grad(f)(np.ones(5))
    np.testing.assert_array_equal(gradient, [0.0, 3.0, 0.0, 4.0, 2.0])


# -- what is computed again ------------------------------------------------------------------------


def decay(c, rates, h, until):
    t = 0.0
    while t < until:
        lost = rates * c
        change = -lost
        change[1:] += lost[:-1]
        c = c + h * change
        t += 0.01
    return np.sum(c)


def test_what_is_made_and_then_written_to_is_computed_again():
    """Each step leaves the state, and not the change, which is made by an update."""
    text = kernels_of(decay, np.ones(20), np.linspace(0.1, 1.0, 20), 0.01, 1.0, wrt=(0, 1, 2))
    (record,) = re.findall(r"tape_new \{type=(.*)\}", text)
    assert record.count("f64[20]") == 1


# -- products --------------------------------------------------------------------------------------


def reflected(A):
    for k in range(A.shape[1]):
        x = A[k:, k].copy()
        x[0] += np.copysign(np.linalg.norm(x), x[0])
        A[k:, k:] -= 2.0 / (x @ x) * np.outer(x, x @ A[k:, k:])
    return np.sum(np.triu(A[: A.shape[1]]))


def test_matrices_from_the_log_are_multiplied_where_they_are():
    text = kernels_of(reflected, RNG.standard_normal((40, 30)))
    assert "dgemv" in text
    assert "packed" not in text


# -- kernels ---------------------------------------------------------------------------------------


def strings(u, v, c):
    for _ in range(12):
        v[1:-1] = u[1:-1] + c * (u[2:] - 2.0 * u[1:-1] + u[:-2])
        u, v = v, u
    return np.sum(u * u)


def test_what_reads_one_box_is_one_kernel():
    """The products with what was read, their sum, and the cotangent's own: one loop in front of
    those that write."""
    u = RNG.standard_normal(100)
    body = backward_loop(kernels_of(strings, u, u.copy(), 0.3))
    assert len(re.findall(r"\bfor ", body)) == 1 + 1 + 4  # the steps, the kernel, four that write


# -- loops within loops that are wound back --------------------------------------------------------


def rotated(A):
    n = A.shape[0]
    for _ in range(3):
        for p in range(n - 1):
            for q in range(p + 1, n):
                t = 0.1 * A[p, q]
                row = A[p].copy()
                A[p] = np.cos(t) * row - np.sin(t) * A[q]
                A[q] = np.sin(t) * row + np.cos(t) * A[q]
    return np.sum(A * A * A)


def test_one_copy_of_an_array_serves_all_loops_around():
    """No loop in between saves the whole array for each of its steps."""
    n = 12
    text = kernels_of(rotated, RNG.standard_normal((n, n)))
    assert f", {n}, {n}] = alloc" not in text


def test_gradient_of_rotations():
    jitnet.testing.check_grads(lambda A: rotated(A.copy()), (RNG.standard_normal((4, 4)),), order=1)


# -- segments --------------------------------------------------------------------------------------


def peak_bytes(f: Any, *args: Any) -> int:
    cost = jitnet.value_and_grad(f).lower(*args).cost()
    assert cost["peak_is_known"]
    return int(cost["peak_bytes"])


def diffused(u, alpha):
    for _ in range(1000):
        u = u + alpha * (np.roll(u, 1) - 2.0 * u + np.roll(u, -1)) * u
    return np.sum(u)


def test_long_loops_are_gone_through_in_segments():
    """They would leave 1,000 states of 80 kB."""
    assert peak_bytes(diffused, np.ones(10_000), 0.1) < 12e6


def test_short_loops_are_not():
    text = kernels_of(diffused, np.ones(100), 0.1)
    assert "alloc 1000, 100 " in text


def test_costly_steps_are_not_computed_twice():
    def f(W, x):
        for _ in range(400):
            x = np.tanh(W @ x)
        return np.sum(x)

    args = (RNG.standard_normal((100, 100)), RNG.standard_normal((100, 100)))
    assert "alloc 400, 100, 100 " in kernels_of(f, *args)


@pytest.fixture
def everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments wherever a loop leaves anything."""
    monkeypatch.setattr(segments, "LARGE", 1)
    monkeypatch.setattr(segments, "FEWEST", 2)
    monkeypatch.setattr(segments, "WORK", 1e30)


def counted_loop(x, n):
    for i in range(n):
        x = np.sin(x) * (1.0 + 0.01 * i)
    return np.sum(x)


@pytest.mark.parametrize("n", [4, 7, 16, 23, 50])
def test_segments_of_any_number_of_steps(everywhere: None, n: int) -> None:
    x = RNG.standard_normal(5)
    known = jitnet.value_and_grad(lambda x: counted_loop(x, n))(x)
    derivative = np.ones(5)
    y = x
    for i in range(n):
        derivative = derivative * np.cos(y) * (1.0 + 0.01 * i)
        y = np.sin(y) * (1.0 + 0.01 * i)
    np.testing.assert_allclose(known[0], np.sum(y), rtol=1e-14, atol=1e-14)
    np.testing.assert_allclose(known[1], derivative, rtol=1e-12)
    value, gradient = jitnet.value_and_grad(counted_loop)(x, n)  # n is data
    np.testing.assert_allclose(value, known[0], rtol=1e-14)
    np.testing.assert_allclose(gradient, derivative, rtol=1e-12)


@pytest.mark.parametrize("n", [0, 1, -3])
def test_segments_of_no_steps(everywhere: None, n: int) -> None:
    x = RNG.standard_normal(5)
    value, gradient = jitnet.value_and_grad(counted_loop)(x, n)
    expected = np.sum(x) if n < 1 else np.sum(np.sin(x))
    np.testing.assert_allclose(value, expected, rtol=1e-14)
    np.testing.assert_allclose(gradient, np.ones(5) if n < 1 else np.cos(x), rtol=1e-14)


PROGRAMS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "rows": (rows_eliminated, (RNG.standard_normal((20, 5)),)),
    "heat": (heated, (RNG.standard_normal((5, 6)), 0.2)),
    "strings": (strings, (RNG.standard_normal(9), RNG.standard_normal(9), 0.3)),
    "substitution": (back_substituted, (np.tril(np.ones((9, 9))) + 4 * np.eye(9), np.ones(9))),
    "reflections": (reflected, (RNG.standard_normal((12, 9)),)),
    "rotations": (rotated, (RNG.standard_normal((6, 6)),)),
    "antidiagonals": (along_antidiagonals, (RNG.standard_normal((9, 9)), 0.5)),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_segments_change_no_gradient(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    f, args = PROGRAMS[name]

    def gradients() -> Any:
        fresh = [np.copy(a) if isinstance(a, np.ndarray) else a for a in args]
        everything = tuple(range(len(args)))
        return jitnet.grad(lambda *a: f(*a), argnums=everything)(*fresh)

    plain = gradients()
    monkeypatch.setattr(segments, "LARGE", 1)
    monkeypatch.setattr(segments, "FEWEST", 2)
    monkeypatch.setattr(segments, "WORK", 1e30)
    for a, b in zip(plain, gradients(), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-12)


def test_what_a_step_prints_is_printed_once(everywhere: None, capsys: Any) -> None:
    def f(x):
        for i in range(20):
            x = np.sin(x)
            if i == 7:
                print("seven", x[0])
        return np.sum(x)

    jitnet.grad(f)(np.ones(2))
    assert capsys.readouterr().out.count("seven") == 1


def test_second_derivatives_through_segments(everywhere: None) -> None:
    def f(x):
        return counted_loop(x, 9)

    jitnet.testing.check_grads(f, (RNG.standard_normal(3),), order=2)
    x = RNG.standard_normal((4, 3))
    per_lane = jitnet.vmap(jitnet.grad(f))(x)
    one_by_one = [jitnet.grad(f)(row) for row in x]
    np.testing.assert_allclose(per_lane, one_by_one, rtol=1e-13)
