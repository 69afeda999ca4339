"""grad, value_and_grad, jvp, vjp, Jacobians: against central differences and closed forms."""

from __future__ import annotations

from collections import namedtuple

import numpy as np
import pytest

import jitnet
from jitnet import (
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

State = namedtuple("State", ["w", "b"])


def difference(f, x, h=1e-6):
    """Central differences of a scalar function of one float64 array."""
    out = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[i] = h
        out[i] = (f(x + step) - f(x - step)) / (2 * h)
    return out


def loss(w, x, y):
    return ((np.tanh(x @ w) - y) ** 2).mean()


RNG = np.random.default_rng(0)
W, X, Y = RNG.normal(size=(3, 2)), RNG.normal(size=(5, 3)), RNG.normal(size=(5, 2))


def test_gradient_of_a_loss():
    got = grad(loss)(W, X, Y)
    assert got.dtype == np.float64
    np.testing.assert_allclose(got, difference(lambda w: loss(w, X, Y), W), rtol=1e-6, atol=1e-9)


def test_value_and_grad_with_aux_and_several_arguments():
    def f(w, x, y):
        p = np.tanh(x @ w)
        return ((p - y) ** 2).mean(), {"prediction": p, "name": "tanh"}

    (value, aux), (dw, dx) = value_and_grad(f, (0, -2), has_aux=True)(W, X, Y)
    np.testing.assert_allclose(value, loss(W, X, Y), rtol=1e-14)
    np.testing.assert_allclose(aux["prediction"], np.tanh(X @ W), rtol=1e-14)
    assert aux["name"] == "tanh"
    np.testing.assert_allclose(dw, grad(loss)(W, X, Y), rtol=1e-12)
    np.testing.assert_allclose(dx, difference(lambda x: loss(W, x, Y), X), rtol=1e-6, atol=1e-9)
    gradient, aux = grad(f, has_aux=True)(W, X, Y)
    np.testing.assert_allclose(gradient, dw, rtol=1e-12)
    assert sorted(aux) == ["name", "prediction"]


def test_gradients_are_trees_like_the_arguments():
    def f(state, xs):
        return (xs["a"][0] @ state.w + state.b).sum() * 2

    state = State(np.ones(3), 1.5)
    got = grad(f)(state, {"a": [X]})
    assert type(got) is State
    np.testing.assert_allclose(got.w, 2 * X.sum(axis=0), rtol=1e-13)
    assert got.b == 10.0
    got = grad(f, argnums=(1,))(state, {"a": [X]})
    assert isinstance(got, tuple)
    np.testing.assert_allclose(got[0]["a"][0], 2 * np.ones((5, 3)))


def test_flavours_of_gradients():
    assert grad(lambda x: x * x)(3.0) == 6.0
    assert type(grad(lambda x: x * x)(3.0)) is float
    assert type(grad(lambda x: x * x)(np.float32(3))) is np.float32
    zero_d = grad(lambda x: x * x)(np.array(3.0))
    assert type(zero_d) is np.ndarray
    assert zero_d.shape == ()
    assert grad(lambda x: (x * x).sum())(np.ones(2, np.float32)).dtype == np.float32


def test_transforms_nest():
    third = grad(grad(grad(lambda x: x**4)))
    assert third(2.0) == pytest.approx(48.0)
    assert jit(grad(jit(grad(np.sin))))(1.0) == pytest.approx(-np.sin(1.0))
    mixed = grad(lambda x: jvp(np.sin, (x,), (2.0,))[1])
    assert mixed(0.5) == pytest.approx(-2 * np.sin(0.5))


def test_inside_jit_with_captured_and_outer_values():
    @jit
    def step(w, x, y, lr):
        return w - lr * grad(lambda v: loss(v, x, y))(w)

    expected = W - 0.1 * grad(loss)(W, X, Y)
    np.testing.assert_allclose(step(W, X, Y, 0.1), expected, rtol=1e-13)


def test_outer_derivatives_see_what_inner_functions_capture():
    def f(x):
        return grad(lambda y: x * x * y * y)(x)

    assert f(3.0) if False else grad(f)(3.0) == pytest.approx(6 * 9.0)


def test_jvp():
    tangent = RNG.normal(size=W.shape)
    value, derivative = jvp(lambda w: np.tanh(X @ w), (W,), (tangent,))
    np.testing.assert_allclose(value, np.tanh(X @ W), rtol=1e-14)
    expected = (1 - np.tanh(X @ W) ** 2) * (X @ tangent)
    np.testing.assert_allclose(derivative, expected, rtol=1e-12)
    out, tangents = jvp(lambda s: {"a": s.w * s.b}, (State(W, 2.0),), (State(W, 1.0),))
    np.testing.assert_allclose(out["a"], 2 * W)
    np.testing.assert_allclose(tangents["a"], 3 * W)


def test_vjp():
    out, pullback = vjp(lambda w, x: np.tanh(x @ w), W, X)
    np.testing.assert_allclose(out, np.tanh(X @ W), rtol=1e-14)
    ct = RNG.normal(size=out.shape)
    for scale in (1.0, 2.0):
        dw, dx = pullback(ct * scale)
        inner = ct * scale * (1 - out**2)
        np.testing.assert_allclose(dw, X.T @ inner, rtol=1e-12)
        np.testing.assert_allclose(dx, inner @ W.T, rtol=1e-12)

    @jit
    def both(x):
        y, back = vjp(lambda x: {"s": np.sin(x), "c": np.cos(x)}, x)
        return y, back({"s": 1.0 + x, "c": 0.0 * x})

    _, (dx,) = both(np.array([0.3, 0.4]))
    np.testing.assert_allclose(dx, np.cos([0.3, 0.4]) * np.array([1.3, 1.4]), rtol=1e-12)


def test_jvp_and_vjp_compile_once_for_one_function():
    def f(x):
        return x * x

    for i in range(3):
        assert jvp(f, (float(i),), (1.0,)) == (i * i, 2.0 * i)
        assert vjp(f, float(i))[1](1.0) == (2.0 * i,)


def test_jacobians_and_hessian():
    def f(x):
        return np.sin(x) * x[::-1]

    x = np.array([0.2, 0.5, 1.1])
    expected = np.diag(np.cos(x) * x[::-1]) + np.diag(np.sin(x))[:, ::-1]
    np.testing.assert_allclose(jacfwd(f)(x), expected, rtol=1e-12)
    np.testing.assert_allclose(jacrev(f)(x), expected, rtol=1e-12)
    a = RNG.normal(size=(3, 3))
    got = hessian(lambda x: x @ a @ x)(x)
    np.testing.assert_allclose(got, a + a.T, rtol=1e-12)
    matrix = jacrev(lambda w: X @ w)(W)
    assert matrix.shape == (5, 2, 3, 2)
    np.testing.assert_allclose(matrix, jacfwd(lambda w: X @ w)(W), rtol=1e-12)
    np.testing.assert_allclose(jit(jacfwd(np.exp))(0.5), np.exp(0.5), rtol=1e-14)


def test_jacobians_of_trees():
    def f(s):
        return {"y": s.w * s.b}

    got = jacrev(f)(State(np.arange(3.0), 2.0))
    np.testing.assert_allclose(got["y"].w, 2 * np.eye(3))
    np.testing.assert_allclose(got["y"].b, np.arange(3.0))
    forward = jacfwd(f)(State(np.arange(3.0), 2.0))
    np.testing.assert_allclose(forward["y"].w, 2 * np.eye(3))
    np.testing.assert_allclose(forward["y"].b, np.arange(3.0))


def test_a_jacobian_follows_one_argument_at_a_time():
    """What hangs on the other arguments alone is not computed, not even as zeros."""

    def fn(x, y):
        return np.sin(x).sum() * np.ones(3) + np.tanh(y)

    x, y = np.arange(4.0), np.linspace(-1.0, 1.0, 3)
    for jacobian in (jacfwd, jacrev):
        in_x, in_y = jacobian(fn, argnums=(0, 1))(x, y)
        np.testing.assert_allclose(in_x, np.tile(np.cos(x), (3, 1)), rtol=1e-14)
        np.testing.assert_allclose(in_y, np.diag(1 - np.tanh(y) ** 2), rtol=1e-14)
    both = jacfwd(fn, argnums=(0, 1)).lower(x, y).stages["optimized"]
    alone = jacfwd(fn, argnums=1).lower(x, y).stages["optimized"]
    sums = [text.count("reduce_sum") for text in (both, alone)]
    assert sums[0] - sums[1] == 1, f"{both}\n{alone}"


def test_a_jacobian_is_one_loop():
    function = jitnet.trace(jacrev(lambda x: np.sin(x) * x))(np.ones(50))
    assert [e.op.name for e in function.eqns].count("for") == 1
    assert len(function.eqns) < 40


def test_stop_gradient():
    assert grad(lambda x: x * stop_gradient(x))(3.0) == 3.0
    assert stop_gradient({"a": 1.0}) == {"a": 1.0}
    assert grad(lambda x: stop_gradient((x, x))[0] * 2 + x)(3.0) == 1.0


def test_results_that_do_not_depend_on_the_argument():
    np.testing.assert_array_equal(grad(lambda x, y: y * 2.0)(np.ones(3), 1.0), np.zeros(3))
    assert grad(lambda x: 1.0)(2.0) == 0.0
    assert jvp(lambda x: 5.0, (1.0,), (1.0,)) == (5.0, 0.0)
    assert vjp(lambda x: 5.0, 1.0)[1](1.0) == (0.0,)


def test_integers_among_the_other_arguments_stay_static():
    def power(x, n):
        y = x
        for _ in range(n - 1):
            y = y * x
        return y

    assert grad(power)(2.0, 3) == 12.0
    assert grad(power)(2.0, 4) == 32.0


# -- errors ----------------------------------------------------------------------------------------


def test_gradient_of_something_else_than_a_scalar():
    with pytest.raises(errors.DifferentiationError, match=r"returns f64\[3\]") as caught:
        grad(lambda x: x * 2)(np.ones(3))
    assert "jacrev" in str(caught.value)
    with pytest.raises(errors.DifferentiationError, match="container"):
        grad(lambda x: (x, x))(1.0)
    with pytest.raises(errors.DifferentiationError, match="i64"):
        grad(lambda x: np.argmax(x))(np.ones(3))
    with pytest.raises(errors.DifferentiationError, match="pair"):
        grad(lambda x: x, has_aux=True)(1.0)


def test_gradient_in_integers():
    with pytest.raises(errors.DifferentiationError, match="argument x") as caught:
        grad(lambda x: (x * 1.0).sum())(np.arange(3))
    assert "astype" in str(caught.value)
    with pytest.raises(errors.DifferentiationError, match="argument n"):
        grad(lambda x, n: x * n, argnums=1)(1.0, 2)
    with pytest.raises(errors.DifferentiationError, match="no floats"):
        grad(lambda x, mode: x, argnums=1)(1.0, "relu")


def test_argnums_out_of_range():
    with pytest.raises(errors.ArgumentError, match="argnums=2"):
        grad(lambda x, y: x * y, argnums=2)(1.0, 2.0)


def test_tangents_and_cotangents_that_do_not_fit():
    with pytest.raises(errors.ArgumentError, match="tangent"):
        jvp(lambda d: d["a"], ({"a": 1.0},), ((1.0,),))
    with pytest.raises(errors.ShapeError, match="tangent"):
        jvp(np.sin, (np.ones(3),), (np.ones(4),))
    with pytest.raises(errors.DTypeError, match="tangent"):
        jvp(np.sin, (np.ones(3, np.float32),), (np.ones(3),))
    with pytest.raises(TypeError, match="tuple of primals"):
        jvp(np.sin, 1.0, (1.0,))
    _, pullback = vjp(np.sin, np.ones(3))
    with pytest.raises(errors.ShapeError, match="cotangent"):
        pullback(np.ones(4))
