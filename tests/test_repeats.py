"""Gradients of programs that say the same many times: what is repeated is differentiated once.

Whole programs with the size from which on they are searched set to nothing, against their gradients
without; calls under each transform; and how much is compiled.
"""

from __future__ import annotations

import sys
import warnings
from typing import Any

import numpy as np
import pytest
from differentiable import Loss
from programs import PROGRAMS

import jitnet
from jitnet import ir, passes, transforms
from jitnet.interp import evaluate
from jitnet.ir import Function, verify
from jitnet.ops.control import CALL, INVOKE
from jitnet.passes.repeats import repeats_called
from jitnet.testing import check_grads
from jitnet.transforms.cut import least_saved

OUTLINE = sys.modules["jitnet.passes.outline"]
LARGE = OUTLINE.LARGE


@pytest.fixture(autouse=True)
def _search_all_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    search_from(monkeypatch, 0)


def search_from(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(OUTLINE, "LARGE", size)
    monkeypatch.setattr(OUTLINE, "SHORTEST", 8 if size else 2)
    monkeypatch.setattr(OUTLINE, "LEAST_SAVED", 64 if size else 2)


def calls(f: Function) -> list[Function]:
    return [eqn.regions[0] for eqn in f.walk() if eqn.op is CALL]


def cell(x: Any, w: Any, b: Any) -> Any:
    return np.tanh(w @ x + b) * np.exp(-x) + x


def chain(x: Any, w: Any, b: Any) -> Any:
    for _ in (1, 2, 3, 4):
        x = cell(x, w, b)
    return x


def deep(x: Any, w: Any, b: Any) -> Any:
    for _ in (1, 2, 3):
        x = chain(x, w, b)
    return (x * x).sum()


def masked(x: Any, w: Any, b: Any) -> Any:
    for _ in (1, 2, 3, 4):
        y = x[x > 0.1]
        x = np.tanh(x + w[0] * y.sum() + (y * y).mean() * b)
    return x.sum()


def with_loops(x: Any, w: Any, b: Any) -> Any:
    for _ in (1, 2, 3):
        n = 0
        while x.sum() > 1.0 and n < 20:
            x = np.sin(x) * 0.9 + b * 0.01
            n += 1
        for i in range(5):
            x[i % 4] += x[(i + 1) % 4] * w[0, 1]
        x = x + 1.0
    return x.sum()


X, W, B = np.linspace(0.2, 0.9, 4), np.eye(4) / 2 + 0.1, np.linspace(-0.2, 0.3, 4)


@pytest.mark.parametrize("fn", [deep, masked, with_loops])
def test_derivatives_of_all_kinds(fn: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    got = jitnet.value_and_grad(fn, (0, 1, 2))(X.copy(), W, B)
    slope = jitnet.jvp(fn, (X.copy(), W, B), (B, W, X))[1]
    second = jitnet.hessian(fn)(X.copy(), W, B)
    third = jitnet.jacrev(jitnet.grad(fn))(X.copy(), W, B)
    search_from(monkeypatch, LARGE)
    value, gradient = jitnet.value_and_grad(fn, (0, 1, 2))(X.copy(), W, B)
    assert got[0] == pytest.approx(value, rel=1e-14)
    for a, b in zip(got[1], gradient):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)
    assert slope == pytest.approx(sum((g * d).sum() for g, d in zip(gradient, (B, W, X))))
    expected = jitnet.hessian(fn)(X.copy(), W, B)
    np.testing.assert_allclose(second, expected, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(third, expected, rtol=1e-11, atol=1e-12)


def test_what_is_called_keeps_its_derivative() -> None:
    check_grads(deep, (X, W, B), order=2)


@pytest.mark.parametrize("name", list(PROGRAMS)[2::16])
def test_whole_programs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    loss = Loss(PROGRAMS[name])
    if not loss.floats:
        return
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        value, gradient = jitnet.value_and_grad(loss.fn)(loss.floats, loss.rest)
        search_from(monkeypatch, LARGE)
        known, expected = jitnet.value_and_grad(loss.fn)(loss.floats, loss.rest)
    assert value == pytest.approx(known, rel=1e-12)
    for a, b in zip(gradient, expected):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9 * np.max(np.abs(b), initial=0.0))


# -- what is shared --------------------------------------------------------------------------------


def test_calls_share_what_becomes_of_their_function() -> None:
    f = jitnet.trace(deep)(X, W, B)
    called = repeats_called(f)
    verify(called)
    assert 1 <= len({*map(id, calls(called))}) < len(calls(called))
    np.testing.assert_allclose(evaluate(called, [X, W, B])[0], deep(X, W, B), rtol=1e-14)
    both = transforms.value_and_grad(f, [0, 1, 2])
    verify(both)
    assert len({*map(id, calls(both))}) < len(calls(both))


def test_a_gradient_is_compiled_in_a_few_functions() -> None:
    lowered = jitnet.value_and_grad(deep, (0, 1, 2)).lower(X, W, B)
    text = lowered.stages["optimized"]
    assert text.count(" = invoke ") > text.count("func @") - 1 > 1


def test_small_programs_have_all_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    search_from(monkeypatch, LARGE)
    assert not calls(repeats_called(jitnet.trace(deep)(X, W, B)))


def test_loops_and_branches_have_all_in_place() -> None:
    def fn(x: Any, w: Any, b: Any) -> Any:
        for _ in range(10):
            x = chain(x, w, b)
            if x[0] > 1:
                x = chain(x, w, b) / 2
        return x.sum()

    f = jitnet.trace(fn)(X, W, B)
    assert all(not calls(r) for eqn in repeats_called(f).eqns for r in eqn.regions)


def test_compile_work_grows_with_what_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    """Equations of the gradient in front of the passes, for a chain and one four times as long."""
    search_from(monkeypatch, LARGE)

    def fn(x: Any, ws: Any, b: Any) -> Any:
        for w in ws:
            x = cell(x, w, b)
        return x.sum()

    def equations(length: int) -> int:
        f = jitnet.trace(fn)(X, [W + i for i in range(length)], B)
        both = transforms.value_and_grad(f, [0])
        return len(both.eqns) + sum(len(g.eqns) for g in {id(g): g for g in calls(both)}.values())

    short, long = equations(400), equations(800)
    assert long < 2.5 * short < 400 * 10


# -- trimming --------------------------------------------------------------------------------------


TRIMMED = """jitnet 1 array
func @f(%x: f64[3]) -> (f64[3]) {
  %a: f64[3], %b: f64[3], %c: f64[3] = invoke %x, %x, 2.0 {callee=@g}
  %d: f64[3], %e: f64[3], %f: f64[3] = invoke %c, %x, 3.0 {callee=@g}
  %h: f64[3] = add %d, %c
  return %h
}
func @g(%x: f64[3], %y: f64[3], %s: f64) -> (f64[3], f64[3], f64[3]) {
  %0: f64[3] = neg %x
  %1: f64[3] = invoke %y {callee=@unread}
  return %0, %1, %0
}
func @unread(%x: f64[3]) -> (f64[3]) {
  %0: f64[3] = exp %x
  return %0
}
"""


def test_what_no_invocation_reads_goes() -> None:
    f = ir.parse(TRIMMED)
    g = OUTLINE.trim(f)
    verify(g)
    (callee,) = g.callees()
    assert (len(callee.params), len(callee.results), len(callee.eqns)) == (1, 1, 1)
    assert all(eqn.op is not INVOKE or len(eqn.results) == 1 for eqn in g.eqns)
    x = np.arange(3.0)
    np.testing.assert_array_equal(evaluate(g, [x])[0], evaluate(f, [x])[0])


def test_what_may_raise_stays() -> None:
    text = TRIMMED.replace(
        "exp %x",
        "neg %x\n  %ok: bool = lt 1.0, 2.0\n  check %ok {error='ValueError', message='no'}",
    )
    g = OUTLINE.trim(ir.parse(text))
    verify(g)
    assert len(g.callees()) == 2


def test_trimming_leaves_programs_without_callees_alone() -> None:
    f = jitnet.trace(deep)(X, W, B)
    assert OUTLINE.trim(f) is f
    assert passes.throughout(lambda g: g, f) is f


# -- the cut ---------------------------------------------------------------------------------------


def test_a_cut_through_many_values_takes_little_time() -> None:
    """Three thousand values, each on its own: what looked for one path at a time took minutes."""
    with ir.Builder("f") as b:
        values = [b.param(ir.ArrayType(ir.types.f64, (4,))) for _ in range(3000)]
    found = least_saved(values, {}, lambda v: False, lambda eqn: False, lambda v: 32.0)
    assert found == set(values)
