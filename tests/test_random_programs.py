"""Random programs: what holds for every Function holds for these.

The text round-trips; passes keep every bit and the first error; every backend agrees with the array
interpreter. `<jvp v, u> = <v, vjp u>`, tangents are what differences say, Hessians are symmetric.

JITNET_FUZZ=20 runs twenty times as many, other ones each time; without it they are always the same.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from backends import BACKENDS
from hypothesis import HealthCheck, assume, given, settings
from op_functions import assert_same
from random_programs import ANY, COMPLEX, DIFFERENTIABLE, EXACT, HALVES, SMOOTH, programs

from jitnet import ops, passes
from jitnet.interp import evaluate
from jitnet.ir import Builder, Function, Value, parse
from jitnet.ir.types import ArrayType
from jitnet.ir.verifier import verify
from jitnet.transforms import jvp, value_and_grad, vjp

FACTOR = float(os.environ.get("JITNET_FUZZ", 1))


def budget(examples: int) -> settings:
    return settings(
        max_examples=int(examples * FACTOR),
        deadline=None,
        derandomize=FACTOR == 1,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


Outcome = Sequence[Any] | Exception


def outcome(run: Callable[[Function, Sequence[Any]], Sequence[Any]], f: Function, args: Any) -> Any:
    """The results on fresh copies of the arguments, or the error that the program raises."""
    try:
        return run(f, [a.copy() for a in args])
    except ValueError as error:
        return error


def agree(found: Outcome, expected: Outcome, f: Function) -> None:
    if isinstance(expected, Exception) or isinstance(found, Exception):
        assert repr(found) == repr(expected), str(f)
        return
    for x, y in zip(found, expected, strict=True):
        assert_same(x, y)


@given(programs(ANY))
@budget(150)
def test_text_round_trips(program: tuple[Function, list[Any]]) -> None:
    f, _ = program
    verify(f)
    assert parse(str(f)) == f
    assert str(parse(str(f))) == str(f)


@given(programs(ANY))
@budget(400)
def test_passes_keep_every_bit(program: tuple[Function, list[Any]]) -> None:
    f, args = program
    verify(f)
    expected = outcome(evaluate, f, args)
    for step in passes.OPTIMIZE:
        g = step(f)
        agree(outcome(evaluate, g, args), expected, g)
    g = passes.optimize(f)
    agree(outcome(evaluate, g, args), expected, g)


@given(programs(EXACT))
@budget(300)
def test_backends_agree(program: tuple[Function, list[Any]]) -> None:
    f, args = program
    expected = outcome(evaluate, f, args)
    for backend in BACKENDS.values():
        agree(outcome(backend, f, args), expected, f)


@given(programs(HALVES))
@budget(80)
def test_programs_of_halves(program: tuple[Function, list[Any]]) -> None:
    f, args = program
    assert parse(str(f)) == f
    expected = outcome(evaluate, f, args)
    g = passes.optimize(f)
    agree(outcome(evaluate, g, args), expected, g)
    for backend in BACKENDS.values():
        agree(outcome(backend, f, args), expected, f)


@given(programs(COMPLEX))
@budget(60)
def test_pairs_compute_what_complex_numbers_do(program: tuple[Function, list[Any]]) -> None:
    f, args = program
    expected = outcome(evaluate, f, args)
    if not isinstance(expected, Exception):
        expected = [in_memory(x) for x in expected]
    g = passes.pairs(f)
    verify(g)
    for backend in (evaluate, *BACKENDS.values()):
        agree(outcome(backend, g, [in_memory(x) for x in args]), expected, g)


def in_memory(x: Any) -> Any:
    """Complex numbers as their halves side by side."""
    return np.stack([x.real, x.imag], axis=-1) if x.dtype.kind == "c" else x


# -- derivatives -----------------------------------------------------------------------------------


def is_float(v: Value) -> bool:
    return isinstance(v.type, ArrayType) and v.dtype.is_float


def inner(xs: Sequence[Any], ys: Sequence[Any]) -> tuple[float, float]:
    """The inner product, and the size of what was added up."""
    products = [np.multiply(x, y) for x, y in zip(xs, ys, strict=True)]
    return sum(float(p.sum()) for p in products), sum(float(np.abs(p).sum()) for p in products)


def float_args(f: Function) -> list[int]:
    found = [i for i, p in enumerate(f.params) if is_float(p)]
    assume(found)
    return found


def directions(args: Sequence[Any], seed: int) -> list[Any]:
    rng = np.random.default_rng(seed)
    return [np.asarray(rng.standard_normal(np.shape(a)))[()] for a in args]


@given(programs(DIFFERENTIABLE))
@budget(200)
def test_forward_and_reverse_are_adjoint(program: tuple[Function, list[Any]]) -> None:
    f, args = program
    wrt = float_args(f)
    tangents = directions([args[i] for i in wrt], 0)
    pushed, moving = jvp(f, [i in wrt for i in range(len(f.params))])
    assume(any(moving))
    verify(pushed)
    expected = evaluate(f, args)
    values = evaluate(pushed, [*args, *tangents])
    for x, y in zip(values, expected):
        assert_same(x, y)
    moved = values[len(expected) :]
    forward, backward, reached = vjp(f, wrt)
    verify(forward)
    verify(backward)
    assert reached == moving
    values = evaluate(forward, args)
    for x, y in zip(values, expected):
        assert_same(x, y)
    cts = directions(moved, 1)
    pulled = evaluate(backward, [*values[len(expected) :], *cts])
    left, size = inner(moved, cts)
    right, other = inner(tangents, pulled)
    assume(np.isfinite(size) and np.isfinite(other) and max(size, other) < 1e12)
    assert abs(left - right) <= 1e-9 * (1 + size + other), f"{left} {right}\n{f}"


@given(programs(SMOOTH))
@budget(150)
def test_tangents_are_what_differences_say(program: tuple[Function, list[Any]]) -> None:
    f, args = program
    wrt = float_args(f)
    pushed, moving = jvp(f, [i in wrt for i in range(len(args))])
    tangents = directions([args[i] for i in wrt], 1)
    moved = evaluate(pushed, [*args, *tangents])[len(f.results) :]
    step = 1e-6

    def at(h: float) -> list[Any]:
        shifted = list(args)
        for i, t in zip(wrt, tangents):
            shifted[i] = args[i] + h * t
        return [y for y, moves in zip(evaluate(f, shifted), moving) if moves]

    for dy, plus, minus in zip(moved, at(step), at(-step)):
        assume(np.all(np.abs(plus) < 1e4) and np.all(np.abs(dy) < 1e4))
        np.testing.assert_allclose(dy, (plus - minus) / (2 * step), rtol=1e-4, atol=1e-4)


@given(programs(SMOOTH))
@budget(150)
def test_hessians_are_symmetric(program: tuple[Function, list[Any]]) -> None:
    f, args = program
    wrt = float_args(f)
    with Builder("total") as b:
        total: Value | None = None
        for r in b.inline(f, b.params_like(f.params)):
            if is_float(r):
                total = ops.accumulate(total, ops.reduce_sum(r, range(r.rank)))
        assume(total is not None)
    gradient = value_and_grad(b.build(total), wrt)
    verify(gradient)
    pushed, moving = jvp(gradient, [i in wrt for i in range(len(args))])
    verify(pushed)

    def product(t: Sequence[Any]) -> list[Any]:
        """The Hessian times t; gradients that do not depend on the arguments have none."""
        moved = iter(evaluate(pushed, [*args, *t])[1 + len(wrt) :])
        products = [next(moved) if moves else None for moves in moving]
        return [np.zeros_like(x) if y is None else y for x, y in zip(t, products[1:])]

    u, v = (directions([args[i] for i in wrt], seed) for seed in (2, 3))
    hu, hv = product(u), product(v)
    (left, size), (right, other) = inner(v, hu), inner(u, hv)
    assume(np.isfinite(size) and np.isfinite(other) and max(size, other) < 1e12)
    assert abs(left - right) <= 1e-9 * (1 + size + other), f"{left} {right}\n{f}"
