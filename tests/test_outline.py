"""Outlining: what a large program repeats is compiled once, and computes what it did before.

Random programs that say the same three times, whole programs with the size from which on they are
searched set to nothing, and what users see of it: errors, memory that is updated in place, text.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import backends
import numpy as np
import pytest
from hypothesis import given
from op_functions import assert_same
from programs import PROGRAMS
from programs.comparing import compare
from random_programs import ANY, EXACT, programs
from test_random_programs import agree, budget, outcome

import jitnet
from jitnet import ir, passes
from jitnet.codegen.workspace import plan_workspace
from jitnet.interp import evaluate
from jitnet.ir import ArrayType, Builder, Function, Value, parse
from jitnet.ir.types import f64
from jitnet.ir.verifier import verify
from jitnet.ops.control import INVOKE
from jitnet.passes.fuse import fuse

OUTLINE = sys.modules["jitnet.passes.outline"]


@pytest.fixture(autouse=True)
def _search_all_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OUTLINE, "LARGE", 0)
    monkeypatch.setattr(OUTLINE, "SHORTEST", 2)
    monkeypatch.setattr(OUTLINE, "LEAST_SAVED", 2)


def thrice(f: Function) -> Function:
    """A Function that computes the results of `f` three times."""
    with Builder("thrice") as b:
        params = b.params_like(f.params)
        results: list[Value] = []
        for _ in range(3):
            results += b.inline(f, params)
    return b.build(*results)


def invokes(f: Function) -> list[str]:
    return [eqn.attrs["callee"].name for eqn in f.walk() if eqn.op is INVOKE]


@given(programs(ANY))
@budget(150)
def test_outlined_programs_are_valid_and_compute_the_same(
    program: tuple[Function, list[Any]],
) -> None:
    f, args = program
    f = thrice(f)
    g = passes.outline(f)
    verify(g)
    assert parse(str(g)) == g
    agree(outcome(evaluate, g, args), outcome(evaluate, f, args), g)
    optimized = passes.throughout(passes.optimize, g)
    agree(outcome(evaluate, optimized, args), outcome(evaluate, f, args), optimized)


@given(programs(EXACT))
@budget(150)
def test_backends_agree_on_outlined_programs(program: tuple[Function, list[Any]]) -> None:
    f, args = program
    f = thrice(f)
    expected = outcome(evaluate, f, args)
    agree(outcome(backends.native, f, args), expected, f)
    g = passes.throughout(fuse, passes.throughout(passes.optimize, passes.outline(f)))
    for backward in (False, True):

        def run(f: Function, args: Sequence[Any], backward: bool = backward) -> list[Any]:
            return backends.interpreted(g, args, backward)

        agree(outcome(run, f, args), expected, g)


@pytest.mark.parametrize("name", list(PROGRAMS)[::4])
def test_whole_programs_agree_when_outlined(name: str) -> None:
    program = PROGRAMS[name]
    plain, traced = program.arguments("test"), program.arguments("test")
    with np.errstate(all="ignore"):
        expected = program.fn(*plain)
        got = jitnet.jit(program.fn)(*traced)
    compare(got, expected, program.tolerance)
    compare(traced, plain, program.tolerance, "arguments")


# -- what is found ---------------------------------------------------------------------------------


def cells(count: int) -> Function:
    """x = tanh(x * w + b), `count` times."""
    with Builder("f") as b:
        x, w, c = (b.param(ArrayType(f64, (4,)), name) for name in "xwc")
        from jitnet import ops

        for _ in range(count):
            x = ops.tanh(ops.add(ops.mul(x, w), c))
    return b.build(x)


def test_a_chain_of_cells_invokes_one_cell() -> None:
    f = cells(50)
    g = passes.outline(f)
    assert g.callees()
    assert sum(1 for _ in g.walk()) + sum(len(h.eqns) for h in g.callees()) < 30
    args = [np.linspace(0, 1, 4), np.full(4, 0.7), np.arange(4.0)]
    assert_same(evaluate(g, args)[0], evaluate(f, args)[0])


def test_text_names_each_callee_once() -> None:
    text = str(passes.outline(cells(50)))
    for name in set(invokes(passes.outline(cells(50)))):
        assert text.count(f"func @{name}(") == 1
    assert text.startswith("jitnet 1 array\nfunc @f(")


def test_a_name_that_no_function_has_is_an_error() -> None:
    text = "jitnet 1 array\nfunc @f(%x: f64) -> (f64) {\n  %0: f64 = invoke %x {callee=@g}\n"
    with pytest.raises(jitnet.errors.ParseError, match="no function @g"):
        ir.parse(text + "  return %0\n}\n")


def test_small_programs_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OUTLINE, "LARGE", 2000)
    f = cells(50)
    assert passes.outline(f) is f


def test_temporaries_of_callees_share_one_piece_of_the_workspace() -> None:
    def step(w: Any, x: Any) -> Any:
        return np.tanh(w @ np.maximum(w @ x, 0.0))

    def chain(w: Any, x: Any) -> Any:
        return step(w, step(w, step(w, step(w, x))))

    def bytes_of(repeats: int) -> int:
        def f(w: Any, x: Any) -> Any:
            for _ in range(repeats):
                x = chain(w, x)
            return x

        f.__name__ = f"f{repeats}"
        traced = jitnet.trace(f)(np.zeros((64, 64)), np.zeros(64))
        outlined = passes.throughout(passes.optimize, passes.outline(traced))
        outlined = passes.throughout(fuse, outlined)
        assert outlined.callees()
        return plan_workspace(backends.lower(outlined, ["C", "C"]).kernel).size

    assert 0 < bytes_of(16) <= 2 * bytes_of(1)


# -- what users see --------------------------------------------------------------------------------


def taken(x: Any, i: Any) -> Any:
    return x[i] * 2.0


def test_errors_in_shared_code_name_the_line_and_the_values() -> None:
    def f(x: Any, i: Any, j: Any, k: Any) -> Any:
        a = taken(x, i) + 1.0
        b = taken(x, j) + 2.0
        return a + b + taken(x, k)

    compiled = jitnet.jit(f)
    x = np.arange(5.0)
    assert compiled(x, 0, 1, 2) == f(x, 0, 1, 2)
    for bad in ((9, 0, 0), (0, 9, 0), (0, 0, 9)):
        with pytest.raises(IndexError, match=r"index 9 is out of bounds.* size 5") as error:
            compiled(x, *bad)
        assert "return x[i] * 2.0" in str(error.value)


def test_arrays_that_shared_code_updates_are_not_copied() -> None:
    def relax(u: Any) -> None:
        u[1:-1] *= 0.5
        u[0] = u[-1]

    def f(u: Any) -> Any:
        for _ in (1, 2, 3, 4):  # a list of Python's: traced step by step
            relax(u)
            u *= 0.9
        return u.sum()

    compiled = jitnet.jit(f)
    lowered = compiled.lower(np.ones(100))
    assert "invoke" in lowered.stages["optimized"]
    u, v = np.linspace(0, 1, 100), np.linspace(0, 1, 100)
    assert np.allclose(compiled(u), f(v), rtol=1e-14)
    assert_same(u, v)
    assert lowered.cost()["copies"] == 0


TWICE = """jitnet 1 array
func @f(%n: i64, %x: f64[%n]) -> (f64[%n]) {
  %a: f64[%n], %b: f64[%n] = invoke %n, %x {callee=@g}
  %c: f64[%n], %d: f64[%n] = invoke %n, %b {callee=@g}
  %e: f64[%n] = add %a, %d
  return %e
}
func @g(%n: i64, %x: f64[%n]) -> (f64[%n], f64[%n]) {
  %0: f64[%n] = neg %x
  return %0, %0
}
"""


def test_an_array_that_is_returned_twice_is_freed_once() -> None:
    f = parse(TWICE)
    x = np.arange(5000.0)
    for _ in range(20):
        (got,) = backends.native(f, [np.int64(5000), x])
        assert_same(got, 0.0 * x)


def test_results_whose_extents_the_data_decide() -> None:
    def positive(x: Any) -> Any:
        y = x[x > 0]
        return y * 2.0 - 1.0

    def f(x: Any) -> Any:
        return positive(positive(positive(positive(x))))

    compiled = jitnet.jit(f)
    for seed in range(3):
        x = np.random.default_rng(seed).normal(size=50) * 4
        assert_same(compiled(x), f(x))
    assert_same(compiled(-np.ones(50)), np.empty(0))
