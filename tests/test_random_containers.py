"""Random functions over lists that many names know, run as they are and compiled.

A program may be refused, since containers that loops bind to several names may only be read; never
may it give a wrong answer. The generator is `container_programs`.
"""

from __future__ import annotations

import copy
import linecache
import random
from collections.abc import Callable
from typing import Any

import container_programs
import numpy as np
import pytest

import jitnet
from jitnet import errors

PROGRAMS = 60
MOST_REFUSED = 0.35  # of the programs
INPUTS = ([0.1, 0.9, 0.3], [0.9, 0.1, 0.7], [0.3, 0.2, 0.1])
ROWS = ([1.0, 2.0], [[3.0, 0.5], [-1.0, 4.0]])
REFUSED: set[int] = set()


def _loaded(seed: int) -> Callable[..., Any]:
    source = container_programs.write(random.Random(seed))
    file = f"<program {seed} over lists>"
    linecache.cache[file] = (len(source), None, source.splitlines(True), file)
    space: dict[str, Any] = {"__name__": "random_program"}
    exec(compile(source, file, "exec", dont_inherit=True), space)
    fn: Callable[..., Any] = space["f"]
    return fn


def _numbers(x: Any) -> Any:
    """A result with its numbers as floats: which class those have that data chooses is another
    matter."""
    if isinstance(x, dict):
        return {key: _numbers(item) for key, item in x.items()}
    if isinstance(x, np.ndarray):
        return x.tolist()
    return type(x)(map(_numbers, x)) if isinstance(x, (list, tuple)) else float(x)


def _assert_close(a: Any, b: Any) -> None:
    assert type(a) is type(b)
    if isinstance(a, float):
        np.testing.assert_allclose(a, b, rtol=1e-9)
        return
    assert len(a) == len(b)
    for one, other in zip(*(x.values() if isinstance(x, dict) else x for x in (a, b))):
        _assert_close(one, other)


@pytest.mark.parametrize("seed", range(PROGRAMS))
def test_a_program(seed: int) -> None:
    fn = _loaded(seed)
    compiled = jitnet.jit(fn)
    for x in INPUTS:
        args = (np.array(x), *copy.deepcopy(ROWS))
        plain = copy.deepcopy(args)
        expected = fn(*plain)
        try:
            found = compiled(*args)
        except (errors.ConcretizationError, errors.MutationError, errors.UnboundVariableError):
            REFUSED.add(seed)
            assert len(REFUSED) <= MOST_REFUSED * PROGRAMS
            return
        _assert_close(_numbers((found, args)), _numbers((expected, plain)))
