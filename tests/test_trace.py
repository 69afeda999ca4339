"""What a trace records: the user's names, the user's lines, and inputs for what it captured."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import jitnet
from jitnet import ir, source
from jitnet.frontend.context import current_trace


def traced(fn, *args, **kwargs):
    return jitnet.trace(fn)(*args, **kwargs)


def names(function):
    return [r.name for eqn in function.eqns for r in eqn.results]


def test_params_are_named_by_their_paths():
    def f(x, params, *rest, key=None):
        return x + params["layers"][0] + rest[0] + key

    function = traced(f, np.ones(3), {"layers": [np.ones(3)]}, 1.0, key=np.ones(3))
    assert [p.name for p in function.params] == ["x", "params_layers_0", "arg2", "key"]
    assert function.name == "f"


def test_results_are_named_by_the_variables_they_go_to():
    def f(x, w):
        h = np.tanh(x @ w)
        total = h.sum(axis=0)
        total = total * 2
        out = cell = -total

        def inner():
            return cell

        return out + inner()

    got = names(traced(f, np.ones((2, 3)), np.ones((3, 4))))
    assert "h" in got
    assert "total" in got
    assert any(name in ("out", "cell") for name in got)


def test_what_a_helper_returns_is_named_by_its_caller():
    def square(v):
        return v * v

    def f(x):
        y = square(x)
        return y + 1.0

    assert names(traced(f, np.ones(3)))[0] == "y"


def test_equations_carry_the_users_line_and_columns():
    def f(x):
        y = np.exp(x)
        return (
            y * 3.0
        )  # fmt: skip

    first = inspect.getsourcelines(f)[1]
    exp, mul = traced(f, np.ones(3)).eqns
    frame = exp.loc.frames[0]
    assert frame.file == __file__
    assert frame.line == first + 1
    assert frame.source[frame.column : frame.end_column] == "np.exp(x)"
    assert frame.function.endswith("f")
    assert mul.loc.frames[0].source.strip() == "y * 3.0"


def test_locations_hold_the_stack_of_helpers_and_nothing_else():
    def inner(x):
        return np.sin(x)

    def outer(x):
        return inner(x) * 2.0

    sin, mul = traced(outer, np.ones(3)).eqns
    assert [f.function.rsplit(".", 1)[-1] for f in sin.loc.frames] == ["inner", "outer"]
    assert [f.function.rsplit(".", 1)[-1] for f in mul.loc.frames] == ["outer"]


def test_locations_of_an_inner_trace_reach_to_the_outer_one():
    def loss(w):
        return (w * w).sum()

    def step(w):
        return w - jitnet.grad(loss)(w)

    function = traced(step, np.ones(3))
    stacks = {tuple(f.function.rsplit(".", 1)[-1] for f in e.loc.frames) for e in function.eqns}
    assert ("loss", "step") in stacks
    assert ("step",) in stacks


def test_text():
    def f(x, n):
        y = x * 2.0
        return y + n

    assert str(traced(f, np.ones((2, 3)), 4)).strip() == TEXT.strip()


TEXT = """
jitnet 1 array
func @f(%x: f64[2, 3], %n: i64) -> (f64[2, 3]) {
  %y: f64[2, 3] = mul %x, 2.0
  %0: f64 = convert %n {dtype=f64}
  %1: f64[2, 3] = broadcast %0, 2, 3 {axes=()}
  %2: f64[2, 3] = add %y, %1
  return %2
}
"""


def test_captured_arrays_become_one_param_each():
    w = np.ones(3)
    function = traced(lambda x: x * w + w, np.ones(3))
    assert len(function.params) == 2
    assert not any(eqn.op.name == "const" for eqn in function.eqns)


def test_numbers_become_literals():
    function = traced(lambda x: x * 2.5 + np.float64(1), np.ones(3))
    assert len(function.params) == 1


def test_lists_of_traced_values_are_stacked():
    function = traced(lambda x, y: y + [x, y, 1.0], 1.0, np.float64(2))
    assert function.results[0].shape == (3,)
    assert function.results[0].dtype is ir.types.f64


def test_nothing_is_left_of_a_trace_that_fails():
    def f(x):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        traced(f, np.ones(3))
    assert current_trace() is None
    with pytest.raises(AssertionError):
        ir.current()


def test_isinstance_sees_what_numpy_would_give():
    @jitnet.jit
    def f(x, n, s, g):
        return (
            [isinstance(x, np.ndarray), isinstance(n, int), isinstance(s, float)]
            + [isinstance(g, np.float32), isinstance(x[0], np.float64), isinstance(n, np.ndarray)]
        )  # fmt: skip

    assert f(np.ones(3), 1, 1.0, np.float32(1)) == [True, True, True, True, True, False]


def test_target_name_reads_every_kind_of_store():
    found = {}

    def probe():
        found[len(found)] = source.target_name(source.user_sites()[1])
        return 1

    def f():
        cell = probe()
        plain = probe()
        probe()
        plain += probe()
        return lambda: (cell, plain)

    f()
    exec("top = probe()", {"probe": probe})
    assert list(found.values()) == ["cell", "plain", "", "", "top"]
