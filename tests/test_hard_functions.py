"""The hard functions of `ir_samples`, on every interpreter."""

from __future__ import annotations

import numpy as np
import pytest
from ir_samples import HARD, Program, build_heat, build_sparse_steps, numpy_heat, numpy_sparse_steps
from op_functions import assert_same

from jitnet.interp import evaluate
from jitnet.ir import parse
from jitnet.ir.verifier import verify
from jitnet.passes import optimize

programs = pytest.mark.parametrize("program", HARD.values(), ids=HARD.keys())


def close(found: object, expected: object) -> None:
    """The same type, up to rounding: products may be summed in another order."""
    x, y = np.asarray(found), np.asarray(expected)
    assert (x.dtype, x.shape) == (y.dtype, y.shape)
    np.testing.assert_allclose(x, y, rtol=1e-12, atol=1e-13)


@programs
@pytest.mark.parametrize("more", [0, 3])
def test_interpreted(program: Program, more: int) -> None:
    args = program.arguments(program.size + more)
    f = program.build(program.size + more)
    verify(f)
    expected = program.numpy(*args)
    found = evaluate(f, args)
    assert len(found) == len(expected)
    for x, y in zip(found, expected):
        close(x, y)


@programs
def test_text_round_trips(program: Program) -> None:
    f = program.build(program.size)
    assert parse(str(f)) == f
    assert str(parse(str(f))) == str(f)


@programs
def test_optimised(program: Program) -> None:
    """Passes keep every bit."""
    args = program.arguments(program.size)
    f = program.build(program.size)
    g = optimize(f)
    verify(g)
    for x, y in zip(evaluate(g, args), evaluate(f, args), strict=True):
        assert_same(x, y)


def test_loops_that_do_not_run() -> None:
    args = HARD["heat"].arguments(4)
    assert_same(evaluate(build_heat(4, 0), args)[0], numpy_heat(*args, steps=0)[0])
    args = HARD["sparse steps"].arguments(4)
    found = evaluate(build_sparse_steps(4, 0), args)
    for x, y in zip(found, numpy_sparse_steps(*args, steps=0)):
        assert_same(x, y)


def test_the_samples_take_every_path() -> None:
    """Some elements leave and some stay; some branches are taken and some are not."""
    shrinking = HARD["shrinking"]
    _, left = shrinking.numpy(*shrinking.arguments(shrinking.size))
    assert 0 < left < shrinking.size
    sparse = HARD["sparse steps"]
    _, hits = sparse.numpy(*sparse.arguments(sparse.size))
    assert 0 < hits < sparse.size
