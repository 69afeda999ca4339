"""The corpus: every program of tests/programs compiled as it stands, against NumPy.

Results, the arguments that a program has changed, classes of containers, dtypes, kinds of scalars
and which arrays share memory with which arguments: all are what they are without `jit`. Every
program runs on two sets of arguments, so that nothing of the first is baked in.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from programs import PROGRAMS, THEMES, Program
from programs.comparing import compare, sharing

import jitnet


def _run(fn: Any, arguments: tuple[Any, ...]) -> Any:
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return fn(*arguments)


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_compiles_as_it_stands(program: Program) -> None:
    compiled = jitnet.jit(program.fn)
    for seed in (0, 1):
        plain, traced = program.arguments("test", seed), program.arguments("test", seed)
        expected = _run(program.fn, plain)
        got = _run(compiled, traced)
        compare(got, expected, program.tolerance)
        compare(traced, plain, program.tolerance, "arguments")
        assert sharing(got, traced) == sharing(expected, plain)


def test_the_corpus_is_whole() -> None:
    listed = [program for theme in THEMES for program in theme.PROGRAMS]
    assert len(listed) == len(PROGRAMS) >= 48, "a name is used twice"
    for program in listed:
        assert set(program.sizes) == {"test", "bench"}, program.name
        assert program.fn.__doc__, program.name
        assert program.fn.__name__ in (program.name, program.name.removeprefix("sparse_"))


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_arguments_are_fresh_and_repeat(program: Program) -> None:
    first, again = program.arguments("test"), program.arguments("test")
    compare(again, first, 0.0, "arguments")
    assert not sharing(again, first)
