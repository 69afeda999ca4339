"""Whole programs and their gradients on CuPy's arrays, which they change in place and return;
NumPy's numbers come as arrays of rank 0. On a GPU with CuPy itself, elsewhere with the stand-in.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from cupy_stand_in import cupy_standing_in
from devices import DEVICE, IS_GPU
from differentiable import Loss
from programs import PROGRAMS
from programs.comparing import compare
from simulated import needs_compiler
from test_cpusim_programs import quietly

import jitnet

pytestmark = needs_compiler

SAMPLE = list(PROGRAMS) if IS_GPU else list(PROGRAMS)[5::19]
GRADIENTS = [n for n in list(PROGRAMS)[4 :: 5 if IS_GPU else 59] if Loss(PROGRAMS[n]).floats]


@pytest.fixture(scope="module")
def cupy() -> Iterator[Any]:
    if DEVICE == "cpusim":
        with cupy_standing_in() as made:
            yield made
    else:
        yield pytest.importorskip("cupy")


def each(f: Callable[[Any], Any], tree: Any, known: dict[int, Any]) -> Any:
    """The same tree of other leaves; what was one object is one again."""
    if id(tree) not in known:
        known[id(tree)] = _each(f, tree, known)
    return known[id(tree)]


def _each(f: Callable[[Any], Any], tree: Any, known: dict[int, Any]) -> Any:
    if isinstance(tree, (list, tuple)):
        parts = [each(f, part, known) for part in tree]
        return type(tree)(*parts) if hasattr(tree, "_fields") else type(tree)(parts)
    if isinstance(tree, dict):
        return {key: each(f, part, known) for key, part in tree.items()}
    if dataclasses.is_dataclass(tree):
        made = copy.copy(tree)
        for field in dataclasses.fields(tree):
            object.__setattr__(made, field.name, each(f, getattr(tree, field.name), known))
        return made
    return f(tree)


def uploaded(cupy: Any, args: Any) -> Any:
    """Arguments with CuPy's arrays; those that are parts of one array are so there, too."""
    wholes: dict[int, Any] = {}

    def one(x: Any) -> Any:
        if not isinstance(x, np.ndarray):
            return x
        if not isinstance(x.base, np.ndarray):
            return cupy.array(x)
        whole = wholes.setdefault(id(x.base), cupy.array(x.base))
        at = whole.data + (x.ctypes.data - x.base.ctypes.data)
        return cupy.ndarray(x.shape, x.dtype, at, x.strides)

    return each(one, args, {})


def downloaded(cupy: Any, *trees: Any) -> list[Any]:
    """The trees with NumPy's arrays; what was one array is one again."""
    known: dict[int, Any] = {}
    return [each(lambda x: x.get() if isinstance(x, cupy.ndarray) else x, t, known) for t in trees]


def with_arrays(tree: Any) -> Any:
    return each(lambda x: np.asarray(x) if isinstance(x, np.generic) else x, tree, {})


@pytest.mark.parametrize("name", SAMPLE)
def test_program(name: str, cupy: Any) -> None:
    program = PROGRAMS[name]
    compiled = jitnet.jit(program.fn, device="cuda")  # some have tables of NumPy
    for seed in (0, 1, 0, 0):  # gone through, recorded, replayed, captured
        plain = program.arguments("test", seed)
        given = uploaded(cupy, program.arguments("test", seed))
        with quietly():
            expected = program.fn(*plain)
            got = compiled(*given)
        result, changed = downloaded(cupy, got, given)
        compare(with_arrays(result), with_arrays(expected), program.tolerance)
        compare(changed, plain, program.tolerance, "arguments")


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradient(name: str, cupy: Any) -> None:
    loss = Loss(PROGRAMS[name])
    both = jitnet.value_and_grad(loss.fn)
    compiled = jitnet.jit(lambda *args: both(*args), device="cuda")
    for _ in range(4):
        given = uploaded(cupy, (loss.floats, loss.rest))
        with quietly():
            expected = both(loss.floats, loss.rest)
            (got,) = downloaded(cupy, compiled(*given))
        for x, y in zip((got[0], *got[1]), (expected[0], *expected[1]), strict=True):
            size = float(np.max(np.abs(y), initial=0))
            np.testing.assert_allclose(x, y, rtol=1e-7, atol=1e-10 * size)
