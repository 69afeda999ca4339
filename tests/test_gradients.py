"""Derivatives against central differences, against each other, and compiled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from gradient_samples import PROGRAMS, Program
from op_functions import function_of

from jitnet import ops, transforms
from jitnet.interp import evaluate
from jitnet.ir import Builder, Function, registry, verify
from jitnet.ops.primitive import Primitive, Sample
from jitnet.passes import optimize
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


def everywhere(f: Function, args: Sequence[Any]) -> Sequence[Any]:
    """The results of f: those of the interpreter, confirmed by the compiler, optimised or not."""
    verify(f)
    results = evaluate(f, args)
    for other in (evaluate(optimize(f), args), compiled(f, args)):
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
    tangent = everywhere(pushed, [*args, *directions])[1] if moving[0] else 0.0
    gradients = evaluate(transforms.value_and_grad(f, program.wrt), args)[1:]
    expected = sum(np.sum(g * d) for g, d in zip(gradients, directions))
    close(tangent, expected, 1e-11)


@programs
def test_second_derivatives(program: Program) -> None:
    """Forward over reverse and reverse over reverse, against differences of the gradient."""
    f = program.build()
    args, rng = program.arguments, np.random.default_rng(2)
    directions = [np.asarray(rng.standard_normal(np.shape(args[i])))[()] for i in program.wrt]
    g = transforms.value_and_grad(f, program.wrt)
    pushed, moving = transforms.jvp(g, [i in program.wrt for i in range(len(f.params))])
    out = everywhere(pushed, [*args, *directions])
    moved = iter(out[len(g.results) :])
    tangents = [next(moved) if m else 0.0 for m in moving][1:]
    second = everywhere(
        transforms.value_and_grad(directional(f, program.wrt, directions), program.wrt), args
    )[1:]
    for at, forward, reverse in zip(program.wrt, tangents, second, strict=True):
        expected = gradient_by_differences(directional(f, program.wrt, directions), args, at)
        close(reverse, expected, 1e-6)
        close(reverse, np.broadcast_to(forward, np.shape(reverse)), 1e-10)
    assert program.smooth == any(np.any(x) for x in second)
