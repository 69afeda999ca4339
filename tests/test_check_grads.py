"""check_grads passes what is right and names what is wrong."""

from __future__ import annotations

from collections import namedtuple

import numpy as np
import pytest

from jitnet import custom_jvp, custom_vjp, errors, stop_gradient
from jitnet.testing import check_grads

State = namedtuple("State", ["w", "b"])
X = np.array([0.3, -1.2, 2.0])


def with_slope(slope, reverse=None):
    """sin, whose rules multiply tangents by `slope` and cotangents by `reverse`."""
    f = custom_jvp(lambda x: np.sin(x))
    f.defjvp(lambda p, t: (f(*p), slope(p[0]) * t[0]))
    if reverse is not None:
        f.defvjp(lambda x: (f(x), x), lambda x, ct: (reverse(x) * ct,))
    return f


def failure(f, args, **options) -> str:
    with pytest.raises(errors.GradientCheckError) as caught:
        check_grads(f, args, **options)
    assert isinstance(caught.value, AssertionError)
    return str(caught.value)


def test_right_derivatives_pass() -> None:
    check_grads(np.sin, (X,))
    check_grads(with_slope(np.cos, np.cos), (X,), order=2)
    check_grads(lambda x: np.sin(x).sum(), (X.astype(np.float32),), order=2)
    check_grads(lambda z: z * np.exp(z), (X + 1j,))
    check_grads(lambda x: x * x, (1.5,), order=3)
    check_grads(lambda x: x * x, (np.float32(1.5),))


def test_trees_integers_and_other_results() -> None:
    def f(state, n, mode, *rest):
        assert mode == "power"
        x = state.w["a"] ** n * state.b
        return {"x": x, "n": n, "count": np.arange(3), "sum": x.sum()}

    check_grads(f, (State({"a": X}, 2.0), 3, "power", None, True), order=2)


def test_arguments_are_not_changed() -> None:
    def f(x):
        x *= 2.0
        return x * x

    x = X.copy()
    check_grads(f, (x,), order=2)
    np.testing.assert_array_equal(x, X)

    def g(x, visits):
        visits += 1
        return x * visits

    visits = np.zeros(3, int)
    check_grads(g, (X, visits))
    np.testing.assert_array_equal(visits, 0)


def test_what_stays_infinite_does_not_change() -> None:
    check_grads(lambda x: np.where(x > 0, np.inf, x * x), (X,))


def test_a_wrong_rule_for_forward_mode_is_told() -> None:
    text = failure(with_slope(lambda x: np.cos(x) * np.array([1.0, 1.1, 1.0])), (X,))
    assert "order 1, mode fwd: result 0[1] is" in text
    assert "by differences it is" in text


def test_a_wrong_rule_for_reverse_mode_is_told() -> None:
    f = with_slope(np.cos, lambda x: np.cos(x) * np.array([1.0, 1.0, 1.1]))
    text = failure(lambda s: f(s.w * 2.0) + s.b, (State(X / 2, X),))
    assert "order 1, mode rev: args[0].w[2] is" in text
    assert "by forward mode it is" in text
    check_grads(lambda s: f(s.w * 2.0) + s.b, (State(X / 2, X),), modes=("fwd",))
    only = failure(f, (X,), modes=("rev",))
    assert "args[0][2]" in only
    assert "by differences" in only


def test_a_wrong_second_derivative_is_told() -> None:
    f = with_slope(lambda x: np.cos(stop_gradient(x)))
    check_grads(f, (X,))
    assert "order 2, mode fwd of the fwd derivative: result 1[" in failure(f, (X,), order=2)
    text = failure(f, (X,), order=2, modes=("rev",))
    assert "order 2, mode rev of the rev derivative: args[0][" in text


def test_reverse_rules_that_forward_mode_cannot_use() -> None:
    f = custom_vjp(lambda x: x * 1.0)
    f.defvjp(lambda x: (x, None), lambda r, ct: (np.where(np.abs(ct) > 0, ct, ct),))
    check_grads(f, (X,), modes=("rev",))


def test_tolerances_and_steps() -> None:
    f = with_slope(lambda x: np.cos(x) * (1 + 1e-4))
    failure(f, (X,))
    check_grads(f, (X,), atol=1e-3)
    check_grads(f, (X,), rtol=1e-3)
    failure(lambda x: np.sin(100 * x), (X,), eps=0.1)


def test_what_it_is_not_asked_like_that() -> None:
    with pytest.raises(ValueError, match="modes"):
        check_grads(np.sin, (X,), modes=("forward",))
    with pytest.raises(ValueError, match="order"):
        check_grads(np.sin, (X,), order=0)
    with pytest.raises(errors.ArgumentError, match="no floats"):
        check_grads(np.sin, (3,))
