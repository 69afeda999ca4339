"""What derivatives look like: text, names and lines of the user; and that halves fit together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from gradient_samples import PROGRAMS, Program
from ir_samples import element, real

from jitnet import ops, transforms
from jitnet.interp import evaluate
from jitnet.ir import ArrayType, Builder, Frame, Function, Loc, Value, index, parse, verify
from jitnet.ir.types import Dim, f64, i64, scalar
from jitnet.passes import dce, optimize

programs = pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS.keys())


def made(*names: str, dims: tuple[Dim, ...] = (3,)) -> Callable[..., Function]:
    """A Function of f64 arrays of these names."""

    def make(body: Callable[..., Any]) -> Function:
        with Builder("f") as b:
            results = body(*(b.param(ArrayType(f64, dims), name) for name in names))
        return b.build(*(results if isinstance(results, tuple) else (results,)))

    return make


def same_text(f: Function, text: str) -> None:
    lines = [line[8:] for line in text.strip("\n").splitlines()]
    assert str(f).splitlines()[1:] == [line for line in lines if line]


# -- text ------------------------------------------------------------------------------------------


def test_text_of_a_jvp() -> None:
    f = made("x", "w")(lambda x, w: ops.mul(ops.sin(x), w))
    pushed, moving = transforms.jvp(f, [True, False])
    assert moving == (True,)
    same_text(
        pushed,
        """
        func @f(%x: f64[3], %w: f64[3], %dx: f64[3]) -> (f64[3], f64[3]) {
          %0: f64[3] = sin %x
          %1: f64[3] = cos %x
          %2: f64[3] = zmul %1, %dx
          %3: f64[3] = mul %0, %w
          %4: f64[3] = zmul %w, %2
          return %3, %4
        }
        """,
    )


def test_text_of_a_gradient() -> None:
    f = made("x", "w")(lambda x, w: ops.reduce_sum(ops.mul(ops.sin(x), w), (0,)))
    same_text(
        optimize(transforms.value_and_grad(f, [0])),
        """
        func @f(%x: f64[3], %w: f64[3]) -> (f64, f64[3]) {
          %0: f64[3] = sin %x
          %1: f64[3] = cos %x
          %2: f64[3] = mul %0, %w
          %3: f64 = reduce_sum %2 {axes=(0,)}
          %ct_x: f64[3] = zmul %1, %w
          return %3, %ct_x
        }
        """,
    )


def recurrence() -> Function:
    """h = sin(h * w) for each of four steps."""

    def step(i: Value, consts: Sequence[Value], carries: Sequence[Value], xs: object) -> Value:
        return ops.sin(ops.mul(carries[0], consts[0]))

    @made("w", "h", dims=())
    def f(w: Value, h: Value) -> Any:
        return ops.for_(index(4), step, [w], [h])

    return f


def test_text_of_the_gradient_of_a_loop() -> None:
    """Four values are stacked, and one loop runs backwards over them. The sum for %w is carried."""
    same_text(
        optimize(transforms.value_and_grad(recurrence(), [0, 1])),
        """
        func @f(%w: f64, %h: f64) -> (f64, f64, f64) {
          %0: f64, %1: f64[4], %2: f64[4] = for 4, %w, %h {carries=1, consts=1, reverse=false, scans=0} @body(%i: i64, %w.1: f64, %h.1: f64) {
            %3: f64 = mul %h.1, %w.1
            %4: f64 = sin %3
            %5: f64 = cos %3
            return %4, %h.1, %5
          }
          %ct_h: f64, %ct_w: f64 = for 4, %w, 1.0, 0.0, %1, %2 {carries=2, consts=1, reverse=true, scans=2} @body(%i.1: i64, %w.2: f64, %6: f64, %ct_w.1: f64, %7: f64, %8: f64) {
            %9: f64 = zmul %8, %6
            %10: f64 = zmul %7, %9
            %ct_w.2: f64 = add %ct_w.1, %10
            %ct_h.1: f64 = zmul %w.2, %9
            return %ct_h.1, %ct_w.2
          }
          return %0, %ct_w, %ct_h
        }
        """,  # noqa: E501
    )


def test_text_of_the_gradient_of_a_store() -> None:
    """The cotangent of the slice is added in place; what is overwritten is set to zero."""

    def change(x: Value) -> Value:
        row = ops.slice(x, (1,), (2,))
        return ops.reduce_sum(ops.update(x, ops.mul(row, row), (0,)), (0,))

    same_text(
        optimize(transforms.value_and_grad(made("x", dims=(5,))(change), [0])),
        """
        func @f(%x: f64[5]) -> (f64, f64[5]) {
          %0: f64[2] = slice %x, 1, 2 {steps=(1,)}
          %1: f64[2] = mul %0, %0
          %2: f64[5] = update %x, %1, 0 {steps=(1,)}
          %3: f64 = reduce_sum %2 {axes=(0,)}
          %4: f64[5] = broadcast 1.0, 5 {axes=()}
          %5: f64[2] = broadcast 0.0, 2 {axes=()}
          %ct_x: f64[5] = update %4, %5, 0 {steps=(1,)}
          %6: f64[2] = mul %0, 2.0
          %7: f64[2] = slice %ct_x, 1, 2 {steps=(1,)}
          %8: f64[2] = add %7, %6
          %ct_x.1: f64[5] = update %ct_x, %8, 1 {steps=(1,)}
          return %3, %ct_x.1
        }
        """,
    )


@programs
def test_gradients_round_trip(program: Program) -> None:
    g = transforms.value_and_grad(program.build(), program.wrt)
    assert parse(str(g)) == g


# -- locations -------------------------------------------------------------------------------------

LINE = Frame("model.py", 12, "step")


def test_equations_keep_their_line_and_say_how_they_came() -> None:
    def step(i: Value, consts: object, carries: Sequence[Value], xs: object) -> Value:
        return ops.sin(ops.mul(carries[0], carries[0]))

    with Builder("f") as b, b.at(Loc((LINE,))):
        x = b.param(scalar(f64), "x")
        (y,) = ops.for_(index(3), step, (), [ops.exp(x)])
    g = transforms.value_and_grad(b.build(y), [0])
    assert all(eqn.loc.frames == (LINE,) for eqn in g.walk())
    tags: dict[str, set[tuple[str, ...]]] = {}
    for eqn in g.walk():
        tags.setdefault(eqn.op.name, set()).add(eqn.loc.tags)
    assert tags["for"] == {(), ("jvp", "transpose")}
    assert tags["sin"] == {()}
    assert tags["cos"] == {("jvp",)}
    assert tags["zmul"] == {("jvp", "transpose")}


# -- halves ----------------------------------------------------------------------------------------


@programs
def test_the_linear_half_is_the_tangent(program: Program) -> None:
    """It agrees with the jvp, and is linear."""
    f, args = program.build(), program.arguments
    moves = [i in program.wrt for i in range(len(f.params))]
    known, linear, moving = transforms.linearize(f, moves)
    verify(known)
    verify(linear)
    values = evaluate(known, args)
    results, residuals = values[: len(f.results)], values[len(f.results) :]
    for x, y in zip(results, evaluate(f, args)):
        np.testing.assert_array_equal(x, y)
    rng = np.random.default_rng(0)
    u, v = ([rng.standard_normal(np.shape(args[i]))[()] for i in program.wrt] for _ in range(2))
    pushed, _ = transforms.jvp(f, moves)
    both = [2.0 * a - b for a, b in zip(u, v)]
    found = [evaluate(linear, [*residuals, *d]) for d in (u, v, both)]
    assert len(found[0]) == sum(moving)
    for x, y in zip(found[0], evaluate(pushed, [*args, *u])[len(results) :]):
        np.testing.assert_allclose(x, y, rtol=1e-12, atol=1e-12)
    for x, y, z in zip(*found):
        np.testing.assert_allclose(2.0 * x - y, z, rtol=1e-9, atol=1e-9)


def test_views_are_not_saved() -> None:
    """Of a broadcast, what it shows is saved; of a part, only the part."""

    @made("x", "y", dims=(3, 100))
    def f(x: Value, y: Value) -> Value:
        column = ops.exp(ops.reduce_sum(x, (1,)))
        part = ops.slice(ops.sin(y), (0, 0), (3, 1))
        wide = ops.broadcast(column, (3, 100), (0,))
        z = ops.add(ops.mul(x, wide), ops.broadcast(ops.mul(part, part), (3, 100), (0, 1)))
        return ops.reduce_sum(z, (0, 1))

    known, _, _ = transforms.linearize(f, [True, True])
    saved = sorted(r.dims for r in dce(known).results[1:])
    assert saved == [(3,), (3, 1), (3, 100), (3, 100)]  # cos(y) and x are whole


def test_a_part_of_unknown_extent_is_saved_instead_of_its_source() -> None:
    def step(i: Value, consts: object, carries: Sequence[Value], xs: object) -> Any:
        (x,) = carries
        part = ops.slice(x, (0,), (i,))
        s = ops.reduce_sum(ops.mul(part, part), (0,))
        return ops.update(x, ops.reshape(s, (1,)), (i,))

    @made("x", dims=(50,))
    def f(x: Value) -> Any:
        (y,) = ops.for_(index(50), step, (), [x])
        return ops.reduce_sum(y, (0,))

    known, _, _ = transforms.linearize(f, [True])
    (loop,) = (e for e in known.eqns if e.op.name == "for")
    assert [r.type for r in loop.results if getattr(r.type, "dims", ()) == (50, 50)] == []
    (tape,) = (str(e.result.type) for e in known.eqns if e.op.name == "tape_new")
    assert tape == "tape[f64[?]]"


def test_a_log_of_an_inner_loop_is_one_for_all_its_runs() -> None:
    f = PROGRAMS["ragged slices, two deep"].build()
    g = transforms.value_and_grad(f, [0])
    assert "tape_new" in [e.op.name for e in g.eqns]
    assert "tape_new" not in [e.op.name for eqn in g.eqns for r in eqn.regions for e in r.walk()]


def test_equal_residuals_are_saved_once() -> None:
    f = made("x")(lambda x: ops.mul(ops.exp(ops.sin(x)), ops.exp(ops.sin(x))))
    known, _, _ = transforms.linearize(f, [True])
    assert len(known.results) == 3  # the value; cos(x), exp(sin(x))


def test_what_a_loop_returns_anyway_is_not_stacked_again() -> None:
    def step(i: Value, consts: object, carries: Sequence[Value], xs: object) -> Any:
        y = ops.exp(carries[0])
        return (ops.mul(y, 0.1),), (y,)

    @made("x")
    def f(x: Value) -> Any:
        _, ys = ops.for_(index(4), step, (), [x])
        return ops.reduce_sum(ys, (0, 1))

    known, _, _ = transforms.linearize(f, [True])
    (loop,) = (e for e in known.eqns if e.op.name == "for")
    assert [r.dims for r in loop.results].count((4, 3)) == 1


# -- zeros -----------------------------------------------------------------------------------------


def test_zeros_are_strong() -> None:
    """What a select does not choose has no derivative, be it infinite."""

    @made("x")
    def f(x: Value) -> Value:
        y = ops.select(ops.gt(x, 0.0), ops.mul(ops.log(x), ops.sqrt(x)), 0.0)
        return ops.reduce_sum(y, (0,))

    x = np.array([0.0, -1.0, 2.0])
    for g in (transforms.value_and_grad(f, [0]), optimize(transforms.value_and_grad(f, [0]))):
        _, gradient = evaluate(g, [x])
        expected = 1 / np.sqrt(2.0) + 0.5 * np.log(2.0) / np.sqrt(2.0)
        np.testing.assert_allclose(gradient, [0.0, 0.0, expected], rtol=1e-15)


def test_integers_have_no_tangents() -> None:
    @made("x", dims=(4,))
    def f(x: Value) -> Any:
        n = ops.convert(ops.reduce_sum(x, (0,)), i64)
        return n, ops.convert(n, f64), ops.argmax(x, 0)

    _, moving = transforms.jvp(f, [True])
    assert moving == (False, False, False)


def test_only_the_asked_results_and_params_count() -> None:
    f = made("x", "y")(lambda x, y: (ops.mul(x, y), ops.reduce_sum(ops.sin(y), (0,))))
    g = transforms.value_and_grad(f, [1, 0], result=1)
    x, y = np.arange(3.0), np.arange(3.0) + 1
    product, value, dy, dx = evaluate(g, [x, y])
    np.testing.assert_array_equal(product, x * y)
    np.testing.assert_allclose(value, np.sin(y).sum())
    np.testing.assert_allclose(dy, np.cos(y))
    np.testing.assert_array_equal(dx, np.zeros(3))


def test_a_carry_that_starts_as_a_constant_moves_from_the_first_step_on() -> None:
    def step(i: Value, consts: Sequence[Value], carries: Sequence[Value], xs: object) -> Value:
        return ops.add(carries[0], element(consts[0], i))

    @made("x")
    def f(x: Value) -> Any:
        return ops.for_(index(3), step, [x], [real(0.0)])

    assert transforms.jvp(f, [True])[1] == (True,)
    _, gradient = evaluate(transforms.value_and_grad(f, [0]), [np.zeros(3)])
    np.testing.assert_array_equal(gradient, np.ones(3))
