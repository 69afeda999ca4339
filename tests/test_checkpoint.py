"""checkpoint: the same derivatives, from fewer bytes."""

from __future__ import annotations

import numpy as np
import pytest

from jitnet import checkpoint, grad, hessian, ir, jit, jvp, trace, value_and_grad, vmap
from jitnet.testing import check_grads

RNG = np.random.default_rng(0)
X, W = RNG.normal(size=(128, 16)), RNG.normal(size=(16, 16)) / 4


def layer(x, w):
    for _ in range(3):
        x = np.tanh(np.exp(-x * x) @ w) + x
    return x


def unrolled(f):
    def loss(x, w):
        x = f(x, w)
        x = f(x, w)
        x = f(x, w)
        return (f(x, w) ** 2).sum()

    return loss


def rolled(f):
    def loss(x, w):
        for _ in range(12):
            x = f(x, w)
        return (x * x).sum()

    return loss


def peak(f, *args):
    return f.lower(*args).cost()["peak_bytes"]


@pytest.mark.parametrize("form", [unrolled, rolled])
def test_the_same_gradient_from_fewer_bytes(form) -> None:
    plain, thrifty = (grad(form(f), (0, 1)) for f in (layer, checkpoint(layer)))
    for a, b in zip(plain(X, W), thrifty(X, W), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)
    assert peak(thrifty, X, W) < 0.5 * peak(plain, X, W)


def test_nested_checkpoints_save_more() -> None:
    def twice(f):
        return lambda x, w: f(layer(layer(x, w), w), w)

    plain = grad(rolled(twice(layer)), 1)
    once = grad(rolled(checkpoint(twice(layer))), 1)
    nested = grad(rolled(checkpoint(twice(checkpoint(layer)))), 1)
    np.testing.assert_allclose(plain(X, W), nested(X, W), rtol=1e-9, atol=1e-12)
    assert peak(nested, X, W) <= peak(once, X, W) < 0.4 * peak(plain, X, W)


def test_the_forward_pass_is_run_twice_and_only_then() -> None:
    def exps(f, stage):
        lowered = value_and_grad(lambda x: f(x).sum()).lower(X)
        return lowered.stages[stage].count("= exp ")

    def f(x):
        return np.sin(np.exp(x))

    assert exps(f, "optimized") == 1
    assert exps(checkpoint(f), "optimized") == 2
    assert str(trace(checkpoint(f))(X)) == str(trace(f)(X))


def test_outside_of_derivatives_it_is_the_function() -> None:
    f = checkpoint(layer)
    np.testing.assert_array_equal(f(X, W), layer(X, W))
    np.testing.assert_allclose(jit(f)(X, W), layer(X, W), rtol=1e-12)
    assert f.__name__ == "layer"


def test_every_mode_and_order() -> None:
    x, w = X[:2, :3], W[:3, :3]
    check_grads(checkpoint(layer), (x, w), order=2)
    f = unrolled(checkpoint(lambda x, w: np.sin(x @ w)))
    g = unrolled(lambda x, w: np.sin(x @ w))
    np.testing.assert_allclose(hessian(f, 1)(x, w), hessian(g, 1)(x, w), rtol=1e-9, atol=1e-12)
    a, b = (jvp(grad(h), (x, w), (x, w))[1] for h in (f, g))
    np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
    third = grad(grad(grad(checkpoint(lambda x: x**4))))
    assert third(2.0) == pytest.approx(48.0)
    lanes = vmap(grad(lambda x: checkpoint(np.sin)(x) * x))(np.arange(3.0))
    np.testing.assert_allclose(lanes, np.sin(np.arange(3.0)) + np.arange(3.0) * np.cos([0, 1, 2]))
    outside = grad(lambda x: vmap(checkpoint(np.exp))(x).sum())(np.arange(3.0))
    np.testing.assert_allclose(outside, np.exp(np.arange(3.0)))


def test_flow_writes_trees_and_captures() -> None:
    scale = np.array([1.0, 2.0, 3.0])

    @checkpoint
    def step(state, n, name="s"):
        y = np.zeros_like(state["x"])
        k = 0
        while k < n:
            for i in range(3):
                if state["x"][i] > 0:
                    y[i] += np.sin(state["x"][i] * scale[i] + k)
            k += 1
        return {"x": y, "n": k, "name": name}

    def f(x):
        state = {"x": x}
        for _ in range(3):
            out = step(state, 2)
            state = {"x": out["x"]}
        return state["x"]

    check_grads(f, (np.array([0.3, 0.4, -0.2]),))

    def g(x):
        inner = checkpoint(lambda y: np.sin(x * y))
        return inner(x)

    assert grad(g)(0.5) == pytest.approx(np.cos(0.25))


def test_arguments_that_it_changes_and_what_it_prints(capsys) -> None:
    @checkpoint
    def f(x):
        x[0] = x[1] * x[1]
        print("once")
        return x.sum()

    def g(x):
        y = x * 1.0
        return f(y) + y[0]

    np.testing.assert_allclose(grad(g)(np.array([1.0, 3.0])), [0.0, 13.0])
    assert capsys.readouterr().out == "once\n"

    @checkpoint
    def h(x):
        x *= 2.0
        return x * x

    check_grads(lambda x: h(x * 1.0), (np.array([1.0, 3.0]),))


def test_extents_that_data_decides() -> None:
    f = checkpoint(lambda x: np.sin(x[x > 0]))
    got = grad(lambda x: f(x).sum())(np.array([1.0, -1.0, 2.0]))
    np.testing.assert_allclose(got, [np.cos(1.0), 0.0, np.cos(2.0)])
    inside = checkpoint(lambda x: np.sin(x[x > 0]).sum())
    np.testing.assert_allclose(grad(inside)(np.array([1.0, -1.0, 2.0])), got)


def test_as_an_equation() -> None:
    from jitnet import ops, transforms
    from jitnet.interp import evaluate

    scalar = ir.ArrayType(ir.types.f64)
    with ir.Builder("region") as b:
        x = b.param(scalar, "x")
        region = b.build(ops.sin(ops.exp(x)))
    with ir.Builder("f") as b:
        x = b.param(scalar, "x")
        f = b.build(*ops.checkpoint(region, [x]))
    g = transforms.value_and_grad(f, [0])
    for function in (f, g):
        ir.verify(function)
        assert ir.parse(str(function)) == function
    known, _, _ = transforms.linearize(f, [True])
    assert [r for r in known.results[1:] if r not in known.params] == []  # the argument is saved
    x0 = np.float64(0.3)
    expected = (np.sin(np.exp(x0)), np.cos(np.exp(x0)) * np.exp(x0))
    np.testing.assert_allclose(evaluate(g, [x0]), expected, rtol=1e-15)


def test_values_and_gradients_together() -> None:
    value, gradient = value_and_grad(rolled(checkpoint(layer)), 1)(X, W)
    expected = value_and_grad(rolled(layer), 1)(X, W)
    np.testing.assert_allclose(value, expected[0], rtol=1e-12)
    np.testing.assert_allclose(gradient, expected[1], rtol=1e-9, atol=1e-12)


def test_extents_that_vary() -> None:
    """From call to call, and from step to step of a loop."""
    slope = grad(lambda x: checkpoint(lambda x: np.sin(np.exp(x)))(x).sum())
    for n in range(1, 7):
        x = np.linspace(0.1, 1.0, n)
        np.testing.assert_allclose(slope(x), np.cos(np.exp(x)) * np.exp(x))

    def prefixes(x):
        total = 0.0
        for i in range(1, len(x) + 1):
            total += checkpoint(lambda y: np.sin(np.exp(y)).sum())(x[:i])
            total += checkpoint(lambda y: np.exp(y * y))(x[:i])[-1]
        return total

    check_grads(prefixes, (np.linspace(0.1, 1.0, 9),))
