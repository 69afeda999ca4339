"""custom_jvp and custom_vjp: rules are used, in every mode and place; wrong ones are refused."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import jitnet
from jitnet import (
    custom_jvp,
    custom_vjp,
    errors,
    grad,
    hessian,
    jacfwd,
    jacrev,
    jit,
    jvp,
    ops,
    stop_gradient,
    transforms,
    value_and_grad,
    vjp,
    vmap,
)
from jitnet.interp import evaluate
from jitnet.ir import ArrayType, Builder, Function, parse, verify
from jitnet.ir.types import f64
from jitnet.ops.custom_rules import Regions
from jitnet.passes import optimize
from jitnet.testing import check_grads
from jitnet.transforms.linearize import linearize

Pair = namedtuple("Pair", ["a", "b"])


@custom_jvp
def log1pexp(x):
    return np.log(1 + np.exp(x))


@log1pexp.defjvp
def log1pexp_rule(primals, tangents):
    (x,), (dx,) = primals, tangents
    return log1pexp(x), (1 - 1 / (1 + np.exp(x))) * dx


@custom_vjp
def product(x, y):
    return np.sin(x) * y


def product_forward(x, y):
    return product(x, y), (np.cos(x), np.sin(x), y)


def product_backward(residuals, ct):
    c, s, y = residuals
    return c * ct * y, s * ct


product.defvjp(product_forward, product_backward)


@custom_vjp
def doubled(x):
    """Its rule says that it doubles gradients: seen where it is used, and only there."""
    return x * 1.0


doubled.defvjp(lambda x: (doubled(x), None), lambda residuals, ct: (2 * ct,))


@custom_jvp
def tripled(x):
    """Its rule says that its slope is 3."""
    return x * 1.0


tripled.defjvp(lambda primals, tangents: (tripled(primals[0]), 3 * tangents[0]))


# -- the rule is used ------------------------------------------------------------------------------


def test_outside_of_programs_they_are_the_functions() -> None:
    assert log1pexp(0.0) == np.log(2.0)
    assert log1pexp.__name__ == "log1pexp"
    np.testing.assert_array_equal(doubled(np.ones(2)), np.ones(2))
    assert doubled.__doc__.startswith("Its rule")
    assert jit(log1pexp)(0.0) == np.log(2.0)


def test_a_jvp_rule_serves_every_mode_and_order() -> None:
    assert grad(log1pexp)(1000.0) == 1.0
    assert jvp(tripled, (1.0,), (2.0,)) == (1.0, 6.0)
    assert grad(tripled)(1.0) == 3.0
    assert vjp(tripled, 1.0)[1](1.0) == (3.0,)
    np.testing.assert_array_equal(jacfwd(tripled)(np.ones(2)), 3 * np.eye(2))
    np.testing.assert_array_equal(jacrev(tripled)(np.ones(2)), 3 * np.eye(2))
    s = 1 / (1 + np.exp(-0.3))
    assert grad(grad(log1pexp))(0.3) == pytest.approx(s * (1 - s))
    assert grad(grad(grad(log1pexp)))(0.3) == pytest.approx(s * (1 - s) * (1 - 2 * s))
    check_grads(log1pexp, (np.array([-1.0, 0.5, 2.0]),), order=2)


def test_a_vjp_rule_serves_reverse_mode_and_is_transposed_for_forward_mode() -> None:
    assert grad(doubled)(1.0) == 2.0
    assert jvp(doubled, (1.0,), (3.0,)) == (1.0, 6.0)
    np.testing.assert_array_equal(jacfwd(doubled)(np.ones(2)), 2 * np.eye(2))
    np.testing.assert_array_equal(jacrev(doubled)(np.ones(2)), 2 * np.eye(2))
    assert grad(lambda x: jvp(doubled, (x,), (x,))[1])(5.0) == 2.0
    assert jvp(grad(lambda x: doubled(x) ** 2), (5.0,), (1.0,))[1] == 8.0
    check_grads(product, (np.array([0.3, 1.2]), np.array([2.0, -1.0])), order=2)
    check_grads(grad(product, (0, 1)), (0.4, 3.0))


def test_where_both_rules_are_given_each_mode_has_its_own() -> None:
    @custom_jvp
    def f(x):
        return x * 1.0

    f.defjvp(lambda primals, tangents: (f(primals[0]), 3 * tangents[0]))
    f.defvjp(lambda x: (f(x), ()), lambda residuals, ct: (2 * ct,))
    assert jvp(f, (1.0,), (1.0,))[1] == 3.0
    assert jacfwd(f)(1.0) == 3.0
    assert grad(f)(1.0) == 2.0
    assert jacrev(f)(1.0) == 2.0
    assert hessian(lambda x: f(x) ** 2)(1.0) == 2 * 2.0 * 3.0


def test_rules_inside_of_compiled_functions() -> None:
    @jit
    def step(x, rate):
        value, slope = value_and_grad(lambda x: (doubled(x) * x).sum())(x)
        return value, x - rate * slope

    value, x = step(np.array([1.0, 2.0]), 0.1)
    assert value == 5.0
    np.testing.assert_allclose(x, np.array([1.0, 2.0]) - 0.1 * 3 * np.array([1.0, 2.0]))


def test_rules_in_loops_and_branches() -> None:
    def f(x, n):
        for _ in range(n):
            if x > 1.0:
                x = doubled(x) * 0.5
            else:
                x = tripled(x) + 0.1
        return x

    def slope(x, n):
        s = 1.0
        for _ in range(n):
            x, s = (x * 0.5, s * 2 * 0.5) if x > 1.0 else (x + 0.1, s * 3)
        return s

    for x in (5.0, 0.5):
        assert grad(f)(x, 9) == pytest.approx(slope(x, 9))
        assert jvp(lambda x: f(x, 9), (x,), (1.0,))[1] == pytest.approx(slope(x, 9))

    def until(x):
        while x < 10.0:
            x = tripled(x) * 2
        return x

    assert grad(until)(1.0) == 6.0**4
    assert jvp(until, (1.0,), (1.0,))[1] == 6.0**4


def test_the_function_may_have_flow_and_change_its_own_arrays() -> None:
    @custom_vjp
    def running(x):
        out = np.zeros_like(x)
        total = 0.0
        for i in range(len(x)):
            if x[i] > 0:
                total += x[i]
            out[i] = total
        return out

    def forward(x):
        return running(x), x > 0

    def backward(positive, ct):
        return (np.where(positive, np.cumsum(ct[::-1])[::-1], 0.0),)

    running.defvjp(forward, backward)
    check_grads(running, (np.array([1.0, -2.0, 3.0, 0.5, -1.0, 2.0]),), order=2)
    program = jitnet.trace(grad(lambda x: running(x).sum()))(np.ones(6))
    assert [e.op.name for e in program.walk()].count("for") == 1  # the derivative has no loop


def test_extents_that_vary() -> None:
    """From call to call, and from step to step of a loop."""
    slope = grad(lambda x: (log1pexp(x) + product(x, x)).sum())
    for n in range(1, 7):
        x = np.linspace(-1.0, 1.0, n)
        expected = 1 / (1 + np.exp(-x)) + np.cos(x) * x + np.sin(x)
        np.testing.assert_allclose(slope(x), expected)

    def prefixes(x):
        total = 0.0
        for i in range(1, len(x) + 1):
            total += product(x[:i], x[:i]).sum() * log1pexp(x[i - 1 :]).sum()
        return total

    check_grads(prefixes, (np.linspace(0.1, 1.0, 9),))


def test_what_does_not_move_is_computed_by_the_function_itself() -> None:
    slope = grad(lambda x, y: log1pexp(y) * x)
    assert slope(1.0, 2.0) == log1pexp(2.0)
    assert "= custom" in slope.lower(1.0, 2.0).stages["traced"]
    assert "= custom" not in slope.lower(1.0, 2.0).stages["optimized"]
    mixed = grad(lambda y: grad(lambda x: tripled(y) * x)(1.0))
    assert mixed(2.0) == 3.0  # the inner derivative leaves the rule for the outer one


def test_lanes() -> None:
    x = np.array([0.5, 1.0, 2.0])
    np.testing.assert_array_equal(vmap(grad(doubled))(x), [2.0] * 3)
    np.testing.assert_array_equal(grad(lambda x: vmap(doubled)(x).sum())(x), [2.0] * 3)
    np.testing.assert_array_equal(grad(lambda x: vmap(tripled)(x).sum())(x), [3.0] * 3)
    weights = np.array([1.0, -1.0])
    got = grad(lambda y: vmap(lambda x: product(x * np.ones(2), y).sum())(x).sum())(weights)
    np.testing.assert_allclose(got, np.sin(x).sum() * np.ones(2))


# -- arguments and results -------------------------------------------------------------------------


def test_trees_static_arguments_and_constants() -> None:
    table = np.array([1.0, 2.0, 3.0])

    @custom_jvp
    def f(state, n, mode="sum"):
        x = state.a * state.b["w"] ** n + table
        return {"x": x if mode == "sum" else -x, "n": n, "name": mode}

    @f.defjvp
    def rule(primals, tangents):
        state, n, mode = primals
        moved, dn, _ = tangents
        assert dn == 0
        sign = 1.0 if mode == "sum" else -1.0
        w = state.b["w"]
        dx = sign * (moved.a * w**n + state.a * n * w ** (n - 1) * moved.b["w"])
        return f(*primals), {"x": dx, "n": 0, "name": mode}

    state = Pair(np.array([0.5, 1.0, 1.5]), {"w": 2.0})
    for mode in ("sum", "difference"):
        check_grads(lambda state, mode=mode: f(state, 3, mode=mode), (state,), order=2)
    gradient = grad(lambda s: f(s, 3)["x"].sum())(state)
    assert type(gradient) is Pair
    np.testing.assert_allclose(gradient.a, [8.0] * 3)
    assert f(state, 2)["name"] == "sum"


def test_nondifferentiable_arguments_come_first() -> None:
    power = custom_jvp(lambda f, x, n: f(x) ** n, nondiff_argnums=(0, 2))

    @power.defjvp
    def rule(f, n, primals, tangents):
        assert n == 2
        (x,), (dx,) = primals, tangents
        return power(f, x, n), n * f(x) ** (n - 1) * dx * 10

    # ten times what it is, and without the inner slope: the rule is what counts
    assert grad(lambda x: power(np.sin, x, 2))(0.3) == pytest.approx(20 * np.sin(0.3))

    scaled = custom_vjp(lambda n, x: x * n, nondiff_argnums=0)
    scaled.defvjp(lambda n, x: (x * n, x), lambda n, x, ct: (7 * n * ct,))
    assert grad(lambda x: scaled(3, x))(1.0) == 21.0


def test_several_results_of_several_kinds() -> None:
    @custom_vjp
    def f(x, y):
        return x * y, (x + y, None), 3

    def backward(residuals, ct):
        product, (total, nothing), three = ct
        assert (nothing, three) == (None, 0)
        return product * residuals[1] + total, product * residuals[0] + total

    f.defvjp(lambda x, y: (f(x, y), (x, y)), backward)
    assert grad(lambda x, y: f(x, y)[0] * 2 + f(x, y)[1][0], (0, 1))(2.0, 3.0) == (7.0, 5.0)

    @custom_jvp
    def peak(x):
        return x.max(), np.argmax(x)

    @peak.defjvp
    def rule(primals, tangents):
        value, place = peak(*primals)
        return (value, place), (tangents[0][place], 0)

    x = np.array([1.0, 3.0, 2.0])
    np.testing.assert_array_equal(grad(lambda x: peak(x)[0])(x), [0, 1, 0])
    np.testing.assert_array_equal(hessian(lambda x: peak(x)[0] ** 2)(x), np.diag([0, 2, 0]))


def test_rules_that_use_other_rules() -> None:
    @custom_jvp
    def inner(x):
        return np.sin(x)

    inner.defjvp(lambda p, t: (inner(p[0]), np.cos(p[0]) * t[0]))

    @custom_vjp
    def outer(x):
        return inner(x) * x

    outer.defvjp(lambda x: (outer(x), x), lambda x, ct: (vjp(lambda y: inner(y) * y, x)[1](ct)[0],))
    check_grads(outer, (0.5,), order=2)
    assert grad(grad(outer))(0.5) == pytest.approx(2 * np.cos(0.5) - 0.5 * np.sin(0.5))
    assert grad(jit(lambda x: jit(outer)(x)))(0.5) == grad(outer)(0.5)


def test_what_the_function_raises_is_raised() -> None:
    @custom_jvp
    def root(x):
        if x < 0:
            raise ValueError("negative")
        return np.sqrt(x)

    root.defjvp(lambda p, t: (root(p[0]), t[0] / (2 * np.sqrt(p[0]))))
    assert grad(root)(4.0) == 0.25
    with pytest.raises(ValueError, match="negative"):
        grad(root)(-1.0)


def test_methods() -> None:
    class Model:
        scale = 2.0

        @custom_jvp
        def run(self, x):
            return self.scale * x

    @Model.run.defjvp
    def rule(primals, tangents):
        (model, x), (_, dx) = primals, tangents
        return model.run(x), 5 * dx

    model = Model()
    assert model.run(3.0) == 6.0
    assert grad(lambda x: model.run(x))(3.0) == 5.0


def test_none_is_a_zero_cotangent() -> None:
    @custom_vjp
    def f(x, options, y):
        return x * y

    f.defvjp(lambda x, o, y: (x * y, (x, y)), lambda r, ct: (r[1] * ct, None, None))
    assert grad(f, (0, 2))(2.0, {"k": 1.0}, 3.0) == (3.0, 0.0)


def test_rules_see_the_globals_of_now() -> None:
    scale = [2.0]

    @custom_jvp
    def f(x):
        return x * 1.0

    f.defjvp(lambda primals, tangents: (f(primals[0]), scale[0] * tangents[0]))
    slope = grad(f)
    assert slope(1.0) == 2.0
    scale[0] = 5.0
    assert slope(1.0) == 5.0
    f.defjvp(lambda primals, tangents: (f(primals[0]), 7 * tangents[0]))
    assert slope(1.0) == 7.0


def test_float32_and_complex_numbers() -> None:
    got = grad(lambda x: log1pexp(x).sum())(np.ones(3, np.float32))
    assert got.dtype == np.float32

    @custom_jvp
    def square(z):
        return z * z

    square.defjvp(lambda p, t: (square(p[0]), 2 * p[0] * t[0]))

    @custom_vjp
    def cube(z):
        return z * z * z

    cube.defvjp(lambda z: (cube(z), z), lambda z, ct: (3 * z * z * ct,))
    z = np.array([1.0 + 2.0j, -0.5 + 0.3j])
    for f in (square, cube):
        check_grads(lambda z, f=f: np.abs(f(z) + 1.0), (z,))
        check_grads(lambda z, f=f: f(z[0]), (z,))
    check_grads(lambda z: square(z) * cube(z), (z[:1],), order=2)
    assert grad(cube, holomorphic=True)(1.0 + 1.0j) == pytest.approx(3 * (1 + 1j) ** 2)


# -- refused ---------------------------------------------------------------------------------------


def refused(kind: type[Exception], match: str, f: object, *args: object) -> str:
    with pytest.raises(kind, match=match) as caught:
        f(*args)  # type: ignore[operator]
    assert "test_custom_rules.py" in str(caught.value)
    return str(caught.value)


def test_a_function_without_a_rule() -> None:
    f = custom_jvp(lambda x: x)
    assert f(1.0) == jit(f)(1.0) == 1.0
    assert "defjvp" in refused(errors.DifferentiationError, "no rule", grad(f), 1.0)


def test_derivatives_in_what_is_no_argument() -> None:
    def f(x):
        inner = custom_jvp(lambda y: x * y)
        inner.defjvp(lambda p, t: (inner(*p), t[0]))
        return inner(2.0)

    text = refused(errors.DifferentiationError, "does not take as an argument", grad(f), 1.0)
    assert "stop_gradient" in text

    def stopped(x):
        y = stop_gradient(x)
        inner = custom_jvp(lambda z: y * z)
        inner.defjvp(lambda p, t: (inner(*p), y * t[0]))
        return inner(x)

    assert grad(stopped)(3.0) == 3.0


def test_rules_that_are_not_linear() -> None:
    f = custom_jvp(lambda x: x)
    f.defjvp(lambda p, t: (p[0], t[0] * t[0]))
    refused(errors.DifferentiationError, "not linear", grad(f), 1.0)
    f.defjvp(lambda p, t: (p[0], np.exp(t[0])))
    refused(errors.DifferentiationError, "not linear", grad(f), 1.0)
    g = custom_vjp(lambda x: x * 1.0)
    g.defvjp(lambda x: (x, None), lambda r, ct: (np.clip(ct, -1.0, 1.0),))
    np.testing.assert_array_equal(
        grad(lambda x: (g(x) * np.array([0.5, 3.0])).sum())(np.ones(2)), [0.5, 1.0]
    )
    text = refused(errors.DifferentiationError, "cannot be transposed", jvp, g, (1.0,), (1.0,))
    assert "defjvp" in text


def test_rules_whose_results_do_not_fit() -> None:
    def with_rule(rule):
        f = custom_jvp(lambda x: x * 2.0)
        f.defjvp(rule)
        return grad(lambda x: f(x).sum())

    x = np.ones(3)
    refused(errors.ShapeError, "tangent", with_rule(lambda p, t: (p[0], t[0].sum())), x)
    refused(errors.ShapeError, "result", with_rule(lambda p, t: (p[0][:2], t[0])), x)
    single = np.float32(1.0)
    refused(errors.DTypeError, "tangent", with_rule(lambda p, t: (p[0], t[0].astype("f4"))), x)
    refused(errors.ArgumentError, "must return", with_rule(lambda p, t: p[0]), x)
    refused(errors.ArgumentError, "tangent", with_rule(lambda p, t: (p[0], (t[0], single))), x)

    def backward(rule):
        f = custom_vjp(lambda x, y: x * y)
        f.defvjp(lambda x, y: (x * y, None), rule)
        return grad(lambda x: f(x, 2.0).sum())

    refused(errors.ArgumentError, "must return a tuple", backward(lambda r, ct: ct), x)
    refused(errors.ArgumentError, "one cotangent for each", backward(lambda r, ct: (ct,)), x)
    refused(errors.ShapeError, "cotangent", backward(lambda r, ct: (ct[:1], None)), x)


def test_functions_that_change_their_arguments() -> None:
    @custom_jvp
    def f(x):
        x[0] = 0.0
        return x

    f.defjvp(lambda p, t: (p[0], t[0]))
    refused(errors.MutationError, "changes an array", grad(lambda x: f(x).sum()), np.ones(2))


def test_rules_must_be_functions() -> None:
    with pytest.raises(errors.ArgumentError, match="defjvp takes functions"):
        custom_jvp(np.sin).defjvp(3)
    f = custom_jvp(lambda x, *, n: x * n)
    f.defjvp(lambda p, t: (p[0], t[0]))
    refused(errors.ArgumentError, "keywords only", grad(lambda x: f(x, n=2.0)), 1.0)


def test_as_an_equation() -> None:
    """What is not differentiated yet is an equation with the rules' regions: text and all."""
    scalar = ArrayType(f64)

    def region(count: int, build: Callable[..., Any]) -> Function:
        with Builder("region") as b:
            return b.build(*build(*(b.param(scalar) for _ in range(count))))

    regions = Regions(
        region(2, lambda c, x: [ops.mul(c, x)]),
        region(3, lambda c, x, dx: [ops.mul(c, x), ops.mul(3.0, dx)]),
        region(2, lambda c, x: [ops.mul(c, x), ops.sin(x)]),
        region(3, lambda c, r, ct: [ops.mul(r, ct)]),
    )
    with Builder("f") as b:
        c, x = b.param(scalar, "c"), b.param(scalar, "x")
        f = b.build(*ops.custom("g", [c], [x], regions))
    verify(f)
    assert parse(str(f)) == f
    args = [np.float64(2.0), np.float64(0.5)]
    assert evaluate(f, args) == (1.0,)
    pushed, moving = transforms.jvp(f, [False, True])
    assert moving == (True,)
    assert evaluate(pushed, [*args, np.float64(1.0)]) == (1.0, 3.0)
    assert evaluate(transforms.value_and_grad(f, [1]), args) == (1.0, np.sin(0.5))
    linear = linearize(f, [False, True])[1]
    assert [e.op.name for e in linear.eqns] == ["custom_tangent"]
    verify(linear)
    assert parse(str(linear)) == linear
    assert "custom" not in str(optimize(f))
