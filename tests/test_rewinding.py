"""Arrays that reverse mode winds back: programs overwrite what their derivatives read again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import jitnet
from jitnet import ir, transforms
from jitnet.codegen.program import lower
from jitnet.kernel import memory
from jitnet.kernel.interp import run
from jitnet.passes import optimize
from jitnet.passes.fuse import fuse

RNG = np.random.default_rng(3)


def definite(n: int) -> Any:
    a = RNG.standard_normal((n, n))
    return a @ a.T + n * np.eye(n)


# -- the programs ----------------------------------------------------------------------------------


def cholesky_in_place(A):
    for i in range(A.shape[0]):
        for j in range(i):
            A[i, j] = (A[i, j] - A[i, :j] @ A[j, :j]) / A[j, j]
        A[i, i] = np.sqrt(A[i, i] - A[i, :i] @ A[i, :i])
    return np.sum(np.tril(A) * np.cos(A))


def cholesky_into_another(A):
    n = A.shape[0]
    L = np.zeros((n, n))
    for i in range(n):
        for j in range(i):
            L[i, j] = (A[i, j] - L[i, :j] @ L[j, :j]) / L[j, j]
        L[i, i] = np.sqrt(A[i, i] - L[i, :i] @ L[i, :i])
    return np.sum(np.sin(L))


def cholesky_by_columns(A):
    for k in range(A.shape[0]):
        A[k, k] = np.sqrt(A[k, k])
        A[k + 1 :, k] /= A[k, k]
        for j in range(k + 1, A.shape[0]):
            A[j:, j] -= A[j:, k] * A[j, k]
    return np.sum(np.tril(A) ** 2 * np.arange(A.shape[0]))


def elimination(A):
    for i in range(A.shape[0]):
        for j in range(i):
            A[i, j] -= A[i, :j] @ A[:j, j]
            A[i, j] /= A[j, j]
        for j in range(i, A.shape[0]):
            A[i, j] -= A[i, :i] @ A[:i, j]
    return np.sum(np.sin(A))


def gauss_seidel(u):
    n = u.shape[0]
    for _ in range(3):
        for i in range(1, n - 1):
            for j in range(1, n - 1):
                around = u[i - 1, j] * u[i + 1, j] + u[i, j - 1] * u[i, j + 1]
                u[i, j] = np.tanh(0.3 * around + 0.1 * u[i, j])
    return np.sum(u**2)


def stencil(u):
    for _ in range(6):
        u[1:-1] += 0.1 * u[1:-1] * (u[2:] * u[:-2])
    return np.sum(np.sin(u))


def shortest_paths(d):
    n = d.shape[0]
    for k in range(n):
        for i in range(n):
            for j in range(n):
                if d[i, k] + d[k, j] < d[i, j]:
                    d[i, j] = d[i, k] + d[k, j]
    return np.sum(d * d)


def scattered(x):
    order = np.array([3, 0, 5, 2, 3])
    for k in range(7):
        x[order] = np.tanh(x[order] * x[k] + 0.1)
        x[np.array([1, 1, 4])] *= x[(k + 1) % 7]
    return np.sum(np.sin(x))


def swapped(a):
    b = np.ones_like(a)
    for i in range(1, a.shape[0] - 1):
        b[i] = a[i - 1] * a[i + 1] + b[i - 1] * b[: i + 1].sum()
        a, b = b, a
    return np.sum(a * a) + np.sum(np.cos(b))


def until_small(x):
    i = 0
    while x[i] > 0.1 and i < x.shape[0] - 1:
        x[i + 1 :] = x[i + 1 :] * np.sin(x[: i + 1].sum())
        x[i] = x[i] * x[i + 1]
        i += 1
    return np.sum(x**2)


def made_in_each_step(A):
    total = 0.0
    for s in range(3):
        L = A * (1.0 + s * A[0, 1])
        for i in range(1, L.shape[0]):
            for j in range(i):
                L[i, j] = L[i, :j] @ L[j, :j] + np.sin(L[i, j]) * L[j, i]
        total += np.sum(L * L) * 1e-2
    return total


def read_before_and_after(x):
    for i in range(1, x.shape[0]):
        old = x[: i + 1].copy()
        x[i] = np.sum(x[:i] * x[:i]) * 0.1 + x[i]
        x[0] = np.sum(old * x[: i + 1]) * 0.1
    return np.sum(np.sin(x))


def in_one_arm(x):
    for i in range(1, x.shape[0]):
        if x[i] > 1.0:
            x[i] = np.sum(x[:i] * x[:i]) * 0.05
        else:
            for j in range(i):
                x[j] += 0.1 * x[j] * x[i]
    return np.sum(x * x)


def whole_numbers_too(x):
    link = np.arange(x.shape[0])
    for i in range(1, x.shape[0]):
        x[i] = x[link[i - 1]] * np.sum(x[:i] ** 2) * 0.1
        link[i] = link[i - 1] if i % 3 else i
    return np.sum(x)


PROGRAMS: dict[str, tuple[Any, Any]] = {
    "cholesky_in_place": (cholesky_in_place, definite(5)),
    "cholesky_into_another": (cholesky_into_another, definite(5)),
    "cholesky_by_columns": (cholesky_by_columns, definite(5)),
    "elimination": (elimination, definite(5)),
    "gauss_seidel": (gauss_seidel, RNG.random((5, 5))),
    "stencil": (stencil, RNG.random(9)),
    "shortest_paths": (shortest_paths, RNG.random((5, 5)) + 0.1),
    "scattered": (scattered, RNG.random(7) + 0.5),
    "swapped": (swapped, RNG.random(7)),
    "until_small": (until_small, RNG.random(7) + 0.5),
    "made_in_each_step": (made_in_each_step, RNG.random((5, 5))),
    "read_before_and_after": (read_before_and_after, RNG.random(7)),
    "in_one_arm": (in_one_arm, RNG.random(7) + 0.5),
    "whole_numbers_too": (whole_numbers_too, RNG.random(8) + 0.5),
}


def slope(f: Any, x: Any, direction: Any, h: float = 1e-4) -> float:
    """Central differences, right up to h**4."""

    def at(t: float) -> float:
        return float(f(x + t * direction))

    return (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h)


@pytest.mark.parametrize("name", PROGRAMS)
def test_gradients(name: str) -> None:
    f, x = PROGRAMS[name]
    value, gradient = jitnet.value_and_grad(f)(x.copy())
    assert value == pytest.approx(f(x.copy()), rel=1e-12)
    for place in np.ndindex(x.shape):
        direction = np.zeros_like(x)
        direction[place] = 1.0
        assert gradient[place] == pytest.approx(slope(f, x, direction), rel=1e-7, abs=1e-8)


@pytest.mark.parametrize("name", ["cholesky_in_place", "stencil", "scattered", "in_one_arm"])
def test_second_derivatives(name: str) -> None:
    """Derivatives of the loops that wind back."""
    f, x = PROGRAMS[name]
    direction = np.cos(np.arange(x.size)).reshape(x.shape)

    def along(x):
        return np.sum(jitnet.grad(f)(x) * direction)

    expected = slope(lambda x: np.sum(jitnet.grad(f)(x.copy()) * direction), x, direction)
    assert np.sum(jitnet.grad(along)(x.copy()) * direction) == pytest.approx(expected, rel=1e-7)
    pushed = jitnet.jit(lambda x, dx: jitnet.jvp(along, (x,), (dx,))[1])
    assert pushed(x.copy(), direction.copy()) == pytest.approx(expected, rel=1e-7)


# -- what is saved ---------------------------------------------------------------------------------


def gradient_of(f: Any, x: Any) -> ir.Function:
    return transforms.value_and_grad(jitnet.trace(f)(x), [0])


def bytes_used(f: Any, x: Any, monkeypatch: pytest.MonkeyPatch) -> int:
    """What the gradient's kernel has allocated and logged at most, beside arguments and results."""
    used = most = 0
    allocate, release, push = memory.allocate, memory.release, memory.Tape.push

    def count(size: int) -> None:
        nonlocal used, most
        used += size
        most = max(most, used)

    def counted(dtype: Any, dims: Any) -> Any:
        count(int(np.prod(dims)) * dtype.itemsize)
        return allocate(dtype, dims)

    def counted_release(buffer: Any) -> None:
        count(-buffer.array.nbytes)
        release(buffer)

    def counted_push(tape: Any, values: Any) -> None:
        count(sum(getattr(v, "array", v).nbytes for v in values))
        push(tape, values)

    monkeypatch.setattr("jitnet.kernel.interp.allocate", counted)
    monkeypatch.setattr("jitnet.kernel.interp.release", counted_release)
    monkeypatch.setattr(memory.Tape, "push", counted_push)
    kernel = lower(fuse(optimize(gradient_of(f, x))), ["C"]).kernel
    run(kernel, [x.copy(), *(np.empty(p.dims) for p in kernel.params[1:])])
    return most


@pytest.mark.parametrize("f", [cholesky_in_place, cholesky_into_another, elimination])
def test_what_is_logged_grows_with_the_matrix(f: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slices of rows would be n^3 / 3 numbers: at 40, more than 13 copies of the matrix."""
    n = 40
    assert bytes_used(f, definite(n), monkeypatch) <= 8 * 8 * n * n


def test_the_array_is_carried_back_in_place() -> None:
    function = gradient_of(cholesky_in_place, definite(60))
    program = lower(fuse(optimize(function)), ["C"])
    reasons = [c.reason for c in program.report.copies]  # one is the caller's, one is returned
    assert reasons == ["an argument must keep its content", "the old content is read later"]


def test_what_is_never_overwritten_is_read_again() -> None:
    """Rows of the argument are neither logged nor saved."""

    def f(A):
        s = 0.0
        for i in range(A.shape[0]):
            for j in range(i):
                s = s + A[i, :j] @ A[j, :j]
        return s

    text = str(optimize(gradient_of(f, definite(6))))
    assert "tape" not in text


def test_linear_halves_to_be_evaluated_save_instead() -> None:
    f = jitnet.trace(cholesky_in_place)(definite(4))
    _, linear, _ = transforms.linearize(f, [True])
    assert "overwrite" not in str(linear)
    _, back, _ = transforms.vjp(f, [0])
    assert "overwrite" not in str(back)
