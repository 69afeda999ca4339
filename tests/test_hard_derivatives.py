"""Derivatives where it is hard to say what they are: the conventions of docs/derivatives.md."""

from __future__ import annotations

import dataclasses
from collections import namedtuple
from typing import Any

import numpy as np
import pytest

from jitnet import (
    checkpoint,
    custom_jvp,
    custom_vjp,
    errors,
    grad,
    hessian,
    jacfwd,
    jacrev,
    jit,
    jvp,
    stop_gradient,
    value_and_grad,
    vjp,
)
from jitnet.testing import check_grads

RNG = np.random.default_rng(0)
Z3 = np.zeros(3)


def a(*values: float) -> Any:
    return np.array(values, np.float64)


CASES: dict[str, tuple[Any, Any, Any]] = {
    # strong zeros: what is multiplied by a zero cotangent is zero
    "where": (lambda x: np.where(x > 0, np.log(x), 0).sum(), a(0, 1, -1), a(0, 1, 0)),
    "where x log x": (lambda x: np.where(x > 0, x * np.log(x), 0).sum(), a(0, 1), a(0, 1)),
    "where 1 / x": (lambda x: np.where(x == 0, 0, 1 / x).sum(), a(0, 2), a(0, -0.25)),
    "norm": (lambda x: np.linalg.norm(x), Z3, Z3),
    "norm of rows": (
        lambda x: np.linalg.norm(x, axis=1).sum(),
        np.array([[0.0, 0.0], [3.0, 4.0]]),
        np.array([[0.0, 0.0], [0.6, 0.8]]),
    ),
    "root of a sum of squares": (lambda x: np.sqrt((x * x).sum()), Z3, Z3),
    "hypot": (lambda x: np.hypot(x[0], x[1]), a(0, 0), a(0, 0)),
    "sqrt * 0": (lambda x: (np.sqrt(x) * 0).sum(), a(0, 1), a(0, 0)),
    "std of equal numbers": (lambda x: np.std(x), np.ones(3), Z3),
    "var of equal numbers": (lambda x: np.var(x), np.ones(3), Z3),
    "arctan2 of zeros": (lambda x: np.arctan2(x[0], x[1]), a(0, 0), a(0, 0)),
    "nansum": (lambda x: np.nansum(x * x), a(1, np.nan), a(2, 0)),
    # where the slope is infinite it is said to be
    "sqrt": (lambda x: np.sqrt(x).sum(), a(0, 1), a(np.inf, 0.5)),
    "cbrt": (lambda x: np.cbrt(x).sum(), a(0, 1), a(np.inf, 1 / 3)),
    # powers
    "x ** 0": (lambda x: (x**0).sum(), a(0, 2), a(0, 0)),
    "x ** 0.0": (lambda x: (x**0.0).sum(), a(0, 2), a(0, 0)),
    "x ** 2": (lambda x: (x**2).sum(), a(0, -2), a(0, -4)),
    "x ** array": (lambda x: (x ** a(0, 1, 2, 3)).sum(), np.zeros(4), a(0, 1, 0, 0)),
    "negative ** array": (lambda x: (x ** a(2, 3)).sum(), a(-2, -2), a(-4, 12)),
    "0 ** x": (lambda x: (0.0**x).sum(), a(0, 2), a(0, 0)),
    "x ** x": (lambda x: (x**x).sum(), a(0, 1), a(0, 1)),
    # ties share equally
    "max": (lambda x: x.max(), a(1, 1, 0), a(0.5, 0.5, 0)),
    "min": (lambda x: x.min(), a(0, 1, 0, 0), a(1, 0, 1, 1) / 3),
    "max of columns": (
        lambda x: x.max(axis=0).sum(),
        np.array([[1.0, 2.0], [1.0, 3.0]]),
        np.array([[0.5, 0.0], [0.5, 1.0]]),
    ),
    "ptp": (lambda x: np.ptp(x), a(1, 2, 2), a(-1, 0.5, 0.5)),
    "maximum": (lambda x: np.maximum(x, 1.0).sum(), a(1, 2, 0), a(0.5, 1, 0)),
    "minimum with itself": (lambda x: np.minimum(x, x).sum(), a(1, 2), a(1, 1)),
    "relu": (lambda x: np.maximum(x, 0).sum(), a(0, 2, -1), a(0.5, 1, 0)),
    "fmax": (lambda x: np.fmax(x, 0).sum(), a(0, 2, -1), a(0.5, 1, 0)),
    "fmin": (lambda x: np.fmin(x, 0).sum(), a(0, 2, -1), a(0.5, 0, 1)),
    "clip": (lambda x: np.clip(x, 0, 1).sum(), a(0, 1, 0.5, 2), a(0.5, 0.5, 1, 0)),
    "running maximum": (lambda x: np.maximum.accumulate(x).sum(), a(0, 1, 1), a(1, 1.5, 0.5)),
    # sorting is stable, and so are gradients through it
    "sort": (lambda x: np.sort(x) @ a(1, 2, 3), a(1, 1, 0), a(2, 3, 1)),
    "take_along_axis": (
        lambda x: np.take_along_axis(x, np.argsort(x), 0) @ a(1, 2, 3),
        a(3, 1, 2),
        a(3, 1, 2),
    ),
    "median of an even number": (lambda x: np.median(x), a(1, 4, 0, 2), a(0.5, 0, 0, 0.5)),
    "percentile": (lambda x: np.percentile(x, 30.0), a(1, 4, 0), a(0.6, 0, 0.4)),
    # kinks and steps
    "abs": (lambda x: np.abs(x).sum(), a(0, -0.0, -1, 2), a(0, 0, -1, 1)),
    "sign": (lambda x: (np.sign(x) * x).sum(), a(0, -1, 2), a(0, -1, 1)),
    "floor": (lambda x: (np.floor(x) * x).sum(), a(3, -1.5), a(3, -2)),
    "rint": (lambda x: (np.rint(x) * x).sum(), a(2.5, -1.2), a(2, -1)),
    "remainder": (lambda x: (x % 2).sum(), a(3, -1), a(1, 1)),
    "heaviside": (lambda x: (np.heaviside(x, 0.5) * x).sum(), a(0, 1), a(0.5, 1)),
    "copysign": (lambda x: np.copysign(x, -1.0).sum(), a(2, -2), a(-1, 1)),
    # interpolation: the slope to the right
    "interp": (
        lambda x: np.interp(x, a(0, 1, 2), a(0, 1, 4)).sum(),
        a(-1, 0, 0.5, 1, 2, 3),
        a(0, 1, 1, 3, 0, 0),
    ),
    # products with zeros
    "prod": (lambda x: np.prod(x), a(2, 0, 3), a(0, 6, 0)),
    "prod of two zeros": (lambda x: np.prod(x), a(2, 0, 0), a(0, 0, 0)),
    "cumprod": (lambda x: np.cumprod(x) @ a(1, 2, 3, 4), a(2, 0, 3, 0), a(1, 22, 0, 0)),
    "sinc": (lambda x: np.sinc(x).sum(), a(0, 0.5), a(0, -4 / np.pi)),
    # matrices
    "det of a singular matrix": (
        lambda x: np.linalg.det(x),
        np.array([[1.0, 2.0], [2.0, 4.0]]),
        np.array([[4.0, -2.0], [-2.0, 1.0]]),
    ),
    "det of zeros": (lambda x: np.linalg.det(x), np.zeros((3, 3)), np.zeros((3, 3))),
}


@pytest.mark.parametrize("name", CASES)
def test_conventions(name: str) -> None:
    f, x, expected = CASES[name]
    got = grad(f)(x)
    np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-15)
    directions = RNG.normal(size=x.shape)
    if np.all(np.isfinite(expected)):
        moved = jvp(f, (x,), (directions,))[1]
        np.testing.assert_allclose(moved, np.sum(expected * directions), rtol=1e-12, atol=1e-14)
    single = grad(f)(x.astype(np.float32))
    if "array" not in name:
        assert single.dtype == np.float32


def test_conventions_of_first_derivatives_hold_inside_of_second_ones() -> None:
    np.testing.assert_array_equal(hessian(lambda x: np.where(x > 0, np.log(x), 0).sum())(Z3), 0)
    np.testing.assert_array_equal(hessian(lambda x: np.abs(x).sum())(Z3), np.zeros((3, 3)))
    assert np.all(np.isfinite(hessian(lambda x: np.prod(x))(a(0, 2, 3))))
    np.testing.assert_allclose(
        hessian(lambda x: np.prod(x))(a(0, 2, 3)), [[0, 3, 2], [3, 0, 0], [2, 0, 0]]
    )
    got = hessian(lambda x: np.linalg.det(x.reshape(3, 3)))(np.zeros(9))
    np.testing.assert_array_equal(got, np.zeros((9, 9)))
    got = grad(lambda x: grad(lambda y: np.interp(y, a(0, 1, 2), a(0, 1, 4) * x))(1.0))(2.0)
    assert got == 3.0


# -- solvers and other functions, at smooth points -------------------------------------------------

A = RNG.normal(size=(4, 4)) + 4 * np.eye(4)
V = RNG.normal(size=7)


@pytest.mark.parametrize(
    ("f", "args"),
    [
        (np.linalg.solve, (A, V[:4])),
        (np.linalg.inv, (A,)),
        (np.linalg.det, (A,)),
        (np.linalg.det, (RNG.normal(size=(2, 3, 3)),)),
        (lambda x: np.linalg.slogdet(x)[1], (A,)),
        (lambda x: np.linalg.cholesky(x @ x.T), (A[:3, :3],)),
        (lambda x: np.linalg.norm(x, axis=0), (A,)),
        (lambda x, fp: np.interp(x, a(-1, 0, 1), fp), (V, a(1, 3, -2))),
        (lambda x, xp: np.interp(x, xp, a(1, 3, -2)), (V, a(-1, 0, 1))),
        (np.arctan2, (V, V[::-1] + 0.1)),
        (np.convolve, (V, V[:3])),
        (np.kron, (A[:2, :2], A[2:, 2:])),
        (lambda x: np.cov(x), (A,)),
        (np.median, (V,)),
        (np.std, (V,)),
        (np.cumprod, (V,)),
    ],
)
def test_smooth_points(f: Any, args: Any) -> None:
    check_grads(f, args)


# -- structures ------------------------------------------------------------------------------------

Pair = namedtuple("Pair", ["w", "b"])


@dataclasses.dataclass
class State:
    w: Any
    parts: Any


def test_gradients_are_built_like_the_arguments() -> None:
    x = np.ones(3)
    tree = {
        "p": Pair(x, 2.0),
        "s": State(x, [x, (x, None)]),
        "none": None,
        "name": "sum",
        "on": True,
    }

    def f(t: Any) -> Any:
        assert t["name"] == "sum"
        assert t["on"]
        assert t["none"] is None
        return (t["p"].w * t["p"].b * t["s"].w * t["s"].parts[0]).sum()

    got = grad(f)(tree)
    assert list(got) == list(tree)
    assert (got["none"], got["name"], got["on"]) == (None, "sum", True)
    assert type(got["p"]) is Pair
    assert type(got["s"]) is State
    assert got["p"].b == 3.0
    assert type(got["p"].b) is float
    np.testing.assert_array_equal(got["s"].w, [2.0] * 3)
    np.testing.assert_array_equal(got["s"].parts[1][0], Z3)
    assert got["s"].parts[1][1] is None
    value, back = vjp(f, tree)
    assert value == 6.0
    np.testing.assert_array_equal(back(1.0)[0]["p"].w, got["p"].w)
    both = grad(lambda t, u: f(t) * u, argnums=(0, 1))(tree, 2.0)
    assert both[1] == 6.0
    check_grads(f, (tree,), order=2)


def test_one_array_under_two_names() -> None:
    x = a(1, 2)
    got = grad(lambda d: (d["a"] * d["b"]).sum())({"a": x, "b": x})
    np.testing.assert_array_equal(got["a"], x)
    np.testing.assert_array_equal(got["b"], x)
    for slope in grad(lambda x, y: (x * y).sum(), argnums=(0, 1))(x, x):
        np.testing.assert_array_equal(slope, x)


def test_arguments_that_change() -> None:
    """The derivative is that at entry; what the caller sees is changed once."""

    def f(x: Any) -> Any:
        x[0] = 5.0
        x *= x
        return x.sum()

    x = a(1, 2, 3)
    np.testing.assert_array_equal(grad(f)(x), [0, 4, 6])
    np.testing.assert_array_equal(x, [25, 4, 9])
    x = a(1, 2, 3)
    value, pullback = vjp(f, x)
    x[:] = 0.0
    np.testing.assert_array_equal(pullback(1.0)[0], [0, 4, 6])
    assert value == 38.0


def test_aux_results() -> None:
    def f(x: Any) -> Any:
        return (x**3).sum(), {"double": 2 * x, "n": 3, "name": "cube"}

    x = a(1, 2)
    (value, aux), slope = value_and_grad(f, has_aux=True)(x)
    assert value == 9.0
    np.testing.assert_array_equal(slope, 3 * x**2)
    for extra in (
        aux,
        grad(f, has_aux=True)(x)[1],
        jvp(f, (x,), (x,), has_aux=True)[2],
        vjp(f, x, has_aux=True)[2],
        jacrev(f, has_aux=True)(x)[1],
        hessian(f, has_aux=True)(x)[1],
    ):
        assert (extra["n"], extra["name"]) == (3, "cube")
        np.testing.assert_array_equal(extra["double"], 2 * x)
    np.testing.assert_allclose(hessian(f, has_aux=True)(x)[0], np.diag(6 * x))


def test_stop_gradient_of_trees() -> None:
    x = a(1, 2, 3)
    tree = {"x": x, "rest": (2.0, None, 3, "name")}

    def f(t: Any) -> Any:
        still = stop_gradient(t)
        assert still["rest"][1:] == (None, 3, "name")
        return (t["x"] * still["x"]).sum() * still["rest"][0] + t["rest"][0]

    got = grad(lambda x: f({"x": x, "rest": (2.0, None, 3, "name")}))(x)
    np.testing.assert_array_equal(got, 2 * x)
    assert grad(lambda s: f({"x": x, "rest": (s, None, 3, "name")}))(2.0) == 1.0
    assert stop_gradient(tree)["x"] is x
    assert jvp(lambda x: stop_gradient(x) * x, (3.0,), (1.0,))[1] == 3.0


def test_gradients_of_and_in_a_training_loop() -> None:
    x, y = np.eye(3), a(2, 2, 2)

    def train(w: Any, y: Any, steps: int) -> Any:
        losses = np.zeros(steps)
        for i in range(steps):
            losses[i], slope = value_and_grad(lambda w: ((x @ w - y) ** 2).mean())(w)
            w = w - 0.5 * slope
        return w, losses

    w, losses = jit(train)(np.ones(3), y, 40)
    np.testing.assert_allclose(w, y, rtol=1e-6)
    assert losses[0] == 1.0
    assert losses[-1] < 1e-10
    check_grads(lambda y: train(np.ones(3), y, 10)[1][-1], (y,))


# -- pullbacks and Jacobians -----------------------------------------------------------------------


def shrinking(x: Any) -> Any:
    while np.abs(x).max() > 1.0:
        x = x * 0.9 + np.sin(x) * 0.05
    return x


def test_pullbacks_of_loops_whose_records_are_no_arrays() -> None:
    x, ct = a(3, -2, 0.5), a(1, 2, -1)
    value, pullback = vjp(shrinking, x)
    np.testing.assert_allclose(value, shrinking(x), rtol=1e-14)
    expected = grad(lambda x: shrinking(x) @ ct)(x)
    for scale in (1.0, 2.0):
        np.testing.assert_allclose(pullback(scale * ct)[0], scale * expected, rtol=1e-14)

    @jit
    def inside(x, ct):
        _, pull = vjp(shrinking, x)
        return pull(ct)[0] + pull(2 * ct)[0]

    np.testing.assert_allclose(inside(x, ct), 3 * expected, rtol=1e-14)
    matrix = jacrev(shrinking)(x)
    np.testing.assert_allclose(matrix, jacfwd(shrinking)(x), rtol=1e-13)
    np.testing.assert_allclose(ct @ matrix, expected, rtol=1e-13)


def test_pullbacks_of_what_has_extents_that_data_decides() -> None:
    def f(x: Any) -> Any:
        return np.sin(x[x > 0])

    x = a(1, -1, 2)
    value, pullback = vjp(f, x)
    assert value.shape == (2,)
    np.testing.assert_allclose(pullback(a(1, 2))[0], [np.cos(1), 0, 2 * np.cos(2)])
    with pytest.raises(ValueError, match="extent of 3, and what it belongs to one of 2"):
        pullback(np.ones(3))
    expected = [[np.cos(1), 0, 0], [0, 0, np.cos(2)]]
    np.testing.assert_allclose(jacrev(f)(x), expected)
    np.testing.assert_allclose(jacfwd(f)(x), expected)


def test_jacobians_where_extents_vary() -> None:
    forward, reverse = (jacobian(lambda x: np.sin(x) * x[::-1]) for jacobian in (jacfwd, jacrev))
    for n in range(1, 7):
        x = np.linspace(0.1, 1.0, n)
        expected = np.diag(np.cos(x) * x[::-1]) + np.diag(np.sin(x))[:, ::-1]
        np.testing.assert_allclose(forward(x), expected, rtol=1e-13, atol=1e-16)
        np.testing.assert_allclose(reverse(x), expected, rtol=1e-13, atol=1e-16)


def test_arguments_in_halves() -> None:
    """A pullback keeps what it reads of complex arguments, of every layout, as real numbers."""
    z = np.arange(12.0).reshape(3, 4) * (1 + 2j)
    for given in (z, z.T, z[::2, ::3]):
        _, pullback = vjp(lambda z: z * z, given)
        np.testing.assert_array_equal(pullback(np.ones_like(given))[0], 2 * given)


# -- refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: grad(lambda n: 1.0 * n)(3), "argument n is int64"),
        (lambda: grad(lambda x: x.sum())(np.arange(3)), r"argument x is int64\[3\]"),
        (lambda: grad(lambda x, n: x * n, argnums=1)(1.0, 3), "argument n is int64"),
        (lambda: grad(lambda x, n: x * n, argnums=(0, 1))(1.0, 3), "argument n is int64"),
        (lambda: grad(lambda d: d["x"])({"x": 1.0, "m": np.array([True])}), r"d.m is bool\[1\]"),
        (lambda: grad(lambda b: 1.0 * b)(True), "no floats in argument 0"),
        (lambda: jvp(lambda n: n * 1.0, (3,), (1,)), "argument n is int64"),
        (lambda: vjp(lambda n: n * 1.0, 3), "argument n is int64"),
        (lambda: grad(lambda x: None)(1.0), "returns nothing"),
        (lambda: grad(lambda x: (None, x), has_aux=True)(1.0), "returns nothing"),
        (lambda: grad(lambda x: [x])(1.0), "returns a container"),
        (lambda: grad(lambda x: x)(np.ones(3)), r"returns f64\[3\]"),
        (lambda: grad(lambda x: x[:1])(np.ones(3)), r"returns f64\[1\]"),
        (lambda: grad(lambda x: np.argmax(x))(np.ones(3)), r"returns i64"),
        (lambda: grad(lambda x: x.sum() > 1)(np.ones(3)), r"returns bool"),
        (lambda: grad(lambda x: 3)(1.0), r"returns i64"),
        (lambda: grad(lambda x: "text")(1.0), "returns 'text'"),
        (lambda: grad(lambda x: x, has_aux=True)(1.0), "pair"),
        (lambda: jacrev(lambda x: x.astype(int))(np.ones(3)), "no float"),
    ],
)
def test_refused_with_the_line(call: Any, match: str) -> None:
    with pytest.raises(errors.DifferentiationError, match=match) as caught:
        call()
    assert "test_hard_derivatives.py" in str(caught.value)


def test_what_is_no_function() -> None:
    for transform in (grad, value_and_grad, jacrev, custom_jvp, custom_vjp, checkpoint):
        with pytest.raises(TypeError, match=f"{transform.__name__} takes a function, not int"):
            transform(3)  # type: ignore[arg-type]
