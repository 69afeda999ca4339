"""Derivatives against central differences, against each other, and compiled."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from gradient_samples import PROGRAMS, Program, draw
from ir_samples import element, real, with_element
from op_functions import function_of

from jitnet import ops, transforms
from jitnet.codegen.program import lower
from jitnet.interp import evaluate
from jitnet.ir import ArrayType, Builder, Function, Literal, Value, index, registry, verify
from jitnet.ir.types import f64
from jitnet.kernel import statements as k
from jitnet.ops.primitive import Primitive, Sample
from jitnet.passes import optimize
from jitnet.passes.fuse import fuse
from jitnet.runtime.executable import compile

programs = pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS.keys())

H = 2e-5


def difference(f: Function, args: Sequence[Any], at: int, direction: Any) -> list[Any]:
    """Central differences of f's results along a direction of one argument, right up to h**4."""

    def results(h: float) -> list[Any]:
        moved = list(args)
        moved[at] = np.asarray(args[at] + h * direction)[()]
        return [np.asarray(r, np.float64) for r in evaluate(f, moved)]

    values = zip(results(H), results(-H), results(2 * H), results(-2 * H))
    return [(8 * (a - b) - (c - d)) / (12 * H) for a, b, c, d in values]


def gradient_by_differences(f: Function, args: Sequence[Any], at: int) -> Any:
    """The gradient of result 0."""
    gradient = np.zeros(np.shape(args[at]))
    for place in np.ndindex(gradient.shape):
        direction = np.zeros_like(gradient)
        direction[place] = 1.0
        gradient[place] = difference(f, args, at, direction)[0]
    return gradient


def close(found: Any, expected: Any, tolerance: float) -> None:
    size = max(1.0, float(np.abs(expected).max(initial=0.0)))
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * size)


def copies(args: Sequence[Any]) -> list[Any]:
    return [np.copy(a) if np.ndim(a) else a for a in args]


def compiled(f: Function, args: Sequence[Any]) -> Sequence[Any]:
    return compile(f, ["C"] * len(f.params)).run(copies(args))


def everywhere(f: Function, args: Sequence[Any], compiles: bool = True) -> Sequence[Any]:
    """The results of f: those of the interpreter, confirmed by the compiler, optimised or not."""
    verify(f)
    results = evaluate(f, args)
    for other in (evaluate(optimize(f), args), *([compiled(f, args)] if compiles else [])):
        for x, y in zip(other, results, strict=True):
            close(x, y, 1e-12)
    return results


def directional(f: Function, wrt: Sequence[int], directions: Sequence[Any]) -> Function:
    """f's params -> <gradient of f, directions>."""
    g = transforms.value_and_grad(f, wrt)
    with Builder("directional") as b:
        params = b.params_like(g.params)
        gradients = b.inline(g, params)[len(f.results) :]
        terms = []
        for x, d in zip(gradients, directions):
            along = ops.mul(x, ops.reshape(ops.const(d), x.dims))
            terms.append(ops.reduce_sum(along, tuple(range(x.rank))))
        value = terms[0]
        for term in terms[1:]:
            value = ops.add(value, term)
    return b.build(value)


# -- programs --------------------------------------------------------------------------------------


@programs
def test_gradients(program: Program) -> None:
    f = program.build()
    verify(f)
    g = transforms.value_and_grad(f, program.wrt)
    value, *gradients = everywhere(g, program.arguments)
    np.testing.assert_array_equal(value, evaluate(f, program.arguments)[0])
    for at, gradient in zip(program.wrt, gradients, strict=True):
        close(gradient, gradient_by_differences(f, program.arguments, at), 1e-7)


@programs
def test_tangents(program: Program) -> None:
    """<gradient, direction> is the tangent."""
    f = program.build()
    args, rng = program.arguments, np.random.default_rng(1)
    directions = [np.asarray(rng.standard_normal(np.shape(args[i])))[()] for i in program.wrt]
    pushed, moving = transforms.jvp(f, [i in program.wrt for i in range(len(f.params))])
    tangents = everywhere(pushed, [*args, *directions])[1:]
    tangent = tangents[0] if moving[0] else 0.0
    gradients = evaluate(transforms.value_and_grad(f, program.wrt), args)[1:]
    expected = sum(np.sum(g * d) for g, d in zip(gradients, directions))
    close(tangent, expected, 1e-11)


@programs
def test_second_derivatives(program: Program) -> None:
    """Forward over reverse and, compiled, reverse over reverse, against differences."""
    f = program.build()
    args, rng = program.arguments, np.random.default_rng(2)
    directions = [np.asarray(rng.standard_normal(np.shape(args[i])))[()] for i in program.wrt]
    g = transforms.value_and_grad(f, program.wrt)
    pushed, moving = transforms.jvp(g, [i in program.wrt for i in range(len(f.params))])
    out = everywhere(pushed, [*args, *directions], compiles=False)
    moved = iter(out[len(g.results) :])
    tangents = [next(moved) if m else 0.0 for m in moving][1:]
    twice = transforms.value_and_grad(directional(f, program.wrt, directions), program.wrt)
    second = everywhere(twice, args)[1:]
    for at, forward, reverse in zip(program.wrt, tangents, second, strict=True):
        expected = gradient_by_differences(directional(f, program.wrt, directions), args, at)
        close(reverse, expected, 1e-6)
        close(reverse, np.broadcast_to(forward, np.shape(reverse)), 1e-10)
    assert program.smooth == any(np.any(x) for x in second)


# -- ops -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["newton", "shrink", "ragged slices, two deep", "arms with ragged residuals in a loop"]
)
def test_third_derivatives(name: str) -> None:
    """Reverse over reverse over reverse: tapes of cotangents of tapes of cotangents."""
    program = PROGRAMS[name]
    (at,) = program.wrt
    f, args = program.build(), program.arguments
    direction = np.random.default_rng(4).standard_normal(np.shape(args[at]))
    twice = directional(directional(f, [at], [direction]), [at], [direction])
    thrice = transforms.value_and_grad(twice, [at])
    verify(thrice)
    close(evaluate(thrice, args)[1], gradient_by_differences(twice, args, at), 1e-6)


def is_float(sample: Sample) -> bool:
    return any(np.asarray(x).dtype == np.float64 for x in sample.operands)


SAMPLES = {
    name: samples
    for name, op in registry("array").items()
    if isinstance(op, Primitive)
    and not op.has_regions
    and (samples := [s for s in op.samples() if s.differentiable and is_float(s)])
}
ops_with_samples = pytest.mark.parametrize("name", SAMPLES)


def moving_function(name: str, sample: Sample) -> tuple[Function, list[Any], list[bool], list[Any]]:
    """A Function of the op, its arguments, which of them move, and where to."""
    op = registry("array")[name]
    assert isinstance(op, Primitive)
    f, args = function_of(op, sample, literals=True)
    rng = np.random.default_rng(len(args))
    moves = [np.asarray(a).dtype == np.float64 for a in args]
    directions = [
        np.asarray(rng.standard_normal(np.shape(a)))[()] for a, m in zip(args, moves) if m
    ]
    return f, args, moves, directions


def along(f: Function, args: Sequence[Any], moves: Sequence[bool], directions: Any) -> list[Any]:
    """Central differences along a direction of all arguments that move."""
    places = [i for i, m in enumerate(moves) if m]
    parts = [difference(f, args, i, d) for i, d in zip(places, directions)]
    return [sum(terms) for terms in zip(*parts)]


@ops_with_samples
def test_tangents_of_ops(name: str) -> None:
    for sample in SAMPLES[name]:
        f, args, moves, directions = moving_function(name, sample)
        pushed, moving = transforms.jvp(f, moves)
        verify(pushed)
        out = iter(evaluate(pushed, [*args, *directions])[len(f.results) :])
        for r, expected, m in zip(f.results, along(f, args, moves, directions), moving):
            if r.dtype.is_inexact:
                close(next(out) if m else 0.0, expected, 1e-8 if r.dtype.bits == 64 else 0.3)


@ops_with_samples
def test_cotangents_of_ops(name: str) -> None:
    """<jvp v, u> = <v, vjp u>"""
    for sample in SAMPLES[name]:
        f, args, moves, directions = moving_function(name, sample)
        pushed, moving = transforms.jvp(f, moves)
        if not any(moving):
            continue
        tangents = evaluate(pushed, [*args, *directions])[len(f.results) :]
        known, back, _ = transforms.vjp(f, [i for i, m in enumerate(moves) if m])
        verify(known)
        verify(back)
        rng = np.random.default_rng(3)
        cts = [np.asarray(rng.standard_normal(np.shape(t)), t.dtype)[()] for t in tangents]
        residuals = evaluate(known, args)[len(f.results) :]
        pulled = evaluate(back, [*residuals, *cts])
        left = sum(np.sum(t * u) for t, u in zip(tangents, cts))
        right = sum(np.sum(v * p) for v, p in zip(directions, pulled, strict=True))
        close(right, left, 1e-12 if all(t.dtype == np.float64 for t in tangents) else 1e-5)


@ops_with_samples
def test_second_derivatives_of_ops(name: str) -> None:
    for sample in SAMPLES[name]:
        f, args, moves, directions = moving_function(name, sample)
        pushed, moving = transforms.jvp(f, moves)
        if not any(moving) or any(r.dtype.bits == 32 for r in f.results):
            continue
        twice, out = transforms.jvp(pushed, [*moves, *[False] * len(directions)])
        verify(twice)
        results = evaluate(twice, [*args, *directions, *directions])
        found = iter(results[len(pushed.results) :])
        at = [*args, *directions]
        fixed = [*moves, *[False] * len(directions)]
        for r, m, expected in zip(pushed.results, out, along(pushed, at, fixed, directions)):
            if r.dtype.is_inexact:
                close(next(found) if m else 0.0, expected, 1e-7)


# -- what it costs ---------------------------------------------------------------------------------


def rows_in_place(n: int, steps: int, how: str) -> Function:
    """Each step changes one row of n: by itself, in a branch, or by what a loop reads of it."""
    with Builder("rows") as b:
        x = b.param(ArrayType(f64, (n, 3)), "x")

        def change(x: Value, i: Value) -> Value:
            at = (ops.rem(ops.mul(i, 7), n), 0)
            row = ops.slice(x, at, (1, 3))
            return ops.update(x, ops.mul(ops.sin(row), row), at)

        def read(k: Value, consts: Sequence[Value], carries: Sequence[Value], xs: object) -> Value:
            x, i = consts
            v = element(x, ops.rem(ops.mul(i, 7), n), k)
            return ops.add(carries[0], ops.mul(ops.sin(v), v))

        def step(i: Value, consts: object, carries: Sequence[Value], xs: object) -> Any:
            if how == "alone":
                return change(carries[0], i)
            if how == "branch":
                return ops.if_(ops.gt(i, 2), change, lambda x, i: x, [carries[0], i])
            (s,) = ops.for_(index(3), read, [carries[0], i], [real(0.0)])
            return with_element(carries[0], s, ops.rem(ops.mul(i, 7), n), 1)

        (y,) = ops.for_(index(steps), step, (), [x])
        value = ops.reduce_sum(ops.mul(y, y), (0, 1))
    return b.build(value)


def inner_extents(kernel: Function) -> set[Any]:
    """The extents of loops and of memory that loops contain."""
    inside = [e for loop in kernel.eqns for region in loop.regions for e in region.walk()]
    bounds = [v for e in inside if e.op is k.FOR for v in e.operands[1:2]]
    sizes = [v for e in inside if e.op is k.ALLOC for v in e.operands]
    return {v.item if isinstance(v, Literal) else v for v in (*bounds, *sizes)}


@pytest.mark.parametrize("how", ["alone", "branch", "loop"])
def test_a_step_that_touches_a_row_costs_a_row(how: str) -> None:
    """So it does in the gradient: nothing of x's size is made, copied or run over in a loop."""
    n, steps = 1009, 5
    f = rows_in_place(n, steps, how)
    g = optimize(transforms.value_and_grad(f, [0]))
    program = lower(fuse(g), ["C"])
    large = [copy for copy in program.report.copies if copy.type.dims[0] == n]
    assert [copy.reason for copy in large] == ["an argument must keep its content"]
    assert n not in inner_extents(program.kernel)
    assert 3 * n not in inner_extents(program.kernel)
    args = [draw(n, 3)]
    expected = np.zeros((n, 3))
    for row in {i * 7 % n for i in range(steps)}:
        for column in range(3):
            direction = np.zeros((n, 3))
            direction[row, column] = 1.0
            expected[row, column] = difference(f, args, 0, direction)[0]
    untouched = np.setdiff1d(np.arange(n), [i * 7 % n for i in range(steps)])
    expected[untouched] = 2 * args[0][untouched]
    close(compiled(g, args)[1], expected, 1e-8)


def test_straight_lines_take_linear_time() -> None:
    def seconds(length: int) -> float:
        with Builder("deep") as b:
            y = x = b.param(ArrayType(f64, (3,)), "x")
            for _ in range(length):
                y = ops.reshape(ops.sin(ops.transpose(ops.reshape(y, (3, 1)), (1, 0))), (3,))
            value = ops.reduce_sum(ops.mul(x, y), (0,))
        f = b.build(value)
        start = time.perf_counter()
        transforms.value_and_grad(f, [0])
        return time.perf_counter() - start

    short = min(seconds(100) for _ in range(3))
    assert min(seconds(1000) for _ in range(2)) < 3 * 10 * short


def test_nests_of_loops_take_linear_time() -> None:
    """A loop asks for its body more than once, and that for its own: not so for 2**depth times."""
    asked = 0

    def nest(depth: int, x: Value) -> Value:
        def step(i: Value, consts: Sequence[Value], carries: Sequence[Value], xs: object) -> Value:
            inner = nest(depth - 1, consts[0]) if depth else ops.sin(consts[0])
            return ops.add(carries[0], inner)

        (s,) = ops.for_(index(1), step, [x], [real(0.0)])
        return s

    with Builder("nest") as b:
        x = b.param(ArrayType(f64, ()), "x")
        value = nest(12, x)
    f = b.build(value)
    original = ops.sin.jvp

    def counted(*args: Any) -> Any:
        nonlocal asked
        asked += 1
        return original(*args)

    ops.sin.jvp = counted
    try:
        g = transforms.value_and_grad(f, [0])
    finally:
        ops.sin.jvp = original
    assert asked <= 2
    close(evaluate(g, [np.float64(0.3)])[1], np.cos(0.3), 1e-15)


def test_invariants_are_saved_once() -> None:
    """exp(w) and what depends on nothing that moves are no stacks of equal values."""
    f = PROGRAMS["invariants of a loop"].build()
    known, linear, _ = transforms.linearize(f, [True, True])
    (loop,) = (e for e in known.eqns if e.op.name == "for")
    (exp,) = (e for e in known.eqns if e.op is ops.exp)
    assert exp.result in loop.operands
    assert all(r.dims != (3, 3, 3) for r in loop.results)
    assert all(p.dims != (3, 3, 3) for p in linear.params)
