"""Whole programs, their gradients and random programs on the device.

On cpusim a sample of the corpus: the rest takes as long again as the suite may. On a GPU all of it.
Every second program is cut as if its arrays were large, so that what lies in one block elsewhere is
spread over the grid.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from backends import Backend
from devices import DEVICE, IS_GPU
from differentiable import Loss
from hypothesis import HealthCheck, given, settings
from op_functions import assert_same
from programs import PROGRAMS
from programs.comparing import compare, sharing
from random_programs import EXACT, programs
from simulated import needs_compiler

import jitnet
from jitnet.codegen.cuda import (
    cut,
    drives,
    merge,
    multiply,
    owned,
    parts,
    scans,
    split,
    state,
    statements,
    tiles,
)
from jitnet.interp import evaluate
from jitnet.ir import Function
from jitnet.runtime import devices
from jitnet.runtime.devices.cpusim import scheduled

pytestmark = needs_compiler

SAMPLE = list(PROGRAMS) if IS_GPU else list(PROGRAMS)[3::9]
GRADIENTS = [n for n in list(PROGRAMS)[2 :: 5 if IS_GPU else 31] if Loss(PROGRAMS[n]).floats]
SPREAD = [
    *((cut, "TINY", 0), (cut, "LARGE", 64), (cut, "BLOCK_WORK", 8), (drives, "LARGE", 64)),
    *((split, "LONG", 64), (split, "PART", 16), (split, "FEWEST_ROUNDS", 2), (merge, "ROWS", 2)),
    *((m, "FEWEST_SHARED_OUT", 2) for m in (state, statements, scans)),
    *((parts, "FEWEST_FOLDED", 16), (parts, "FEW_ROWS", 0), (parts, "MOST_ROWS_APART", 5)),
    *((scans, "LONG_SCAN", 32), (scans, "SCAN_PART", 8), (owned, "FEWEST_CHOSEN", 4)),
    *((tiles, "FEWEST_TILED", 16), (tiles, "SIDE", 4), (multiply, "LARGEST_PRODUCT", 10**6)),
]
"""Thresholds, and what they are for arrays that pass for large ones."""


@contextmanager
def quietly() -> Iterator[None]:
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        yield


@pytest.fixture
def spread(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param:
        for module, name, value in SPREAD:
            monkeypatch.setattr(module, name, value)


@pytest.mark.parametrize(
    ("name", "spread"), [(name, n % 2) for n, name in enumerate(SAMPLE)], indirect=["spread"]
)
def test_program(name: str, spread: None) -> None:
    program = PROGRAMS[name]
    compiled = jitnet.jit(program.fn, device=DEVICE)
    for seed in (0, 1):
        plain, given = program.arguments("test", seed), program.arguments("test", seed)
        with quietly():
            expected = program.fn(*plain)
            with scheduled(seed):
                got = compiled(*given)
        compare(got, expected, program.tolerance)
        compare(given, plain, program.tolerance, "arguments")
        assert sharing(got, given) == sharing(expected, plain)


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradient(name: str) -> None:
    loss = Loss(PROGRAMS[name])
    both = jitnet.value_and_grad(loss.fn)
    with quietly():
        value, gradient = jitnet.jit(lambda *args: both(*args), device=DEVICE)(
            loss.floats, loss.rest
        )
        expected, wanted = both(loss.floats, loss.rest)
    assert value == pytest.approx(expected, rel=1e-9)
    for got, want in zip(gradient, wanted, strict=True):
        size = float(np.max(np.abs(want), initial=0))
        np.testing.assert_allclose(got, want, rtol=1e-7, atol=1e-10 * size)


def simulated(f: Function, args: Sequence[Any]) -> Sequence[Any]:
    """The results of the first run; those of replays, which are the same."""
    device = devices.open_device(DEVICE)
    run = devices.compile(f, ["C"] * len(f.params), {}, device).run
    first = run(args)
    for _ in range(3):
        for x, y in zip(run(args), first, strict=True):
            assert_same(x, y)
    return first


def outcome(run: Backend | Callable[..., Any], f: Function, args: Sequence[Any]) -> Any:
    try:
        return run(f, [a.copy() for a in args])
    except ValueError as error:
        return error


@given(programs(EXACT))
@settings(
    max_examples=20,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
def test_random_programs(program: tuple[Function, list[Any]]) -> None:
    f, args = program
    expected, found = outcome(evaluate, f, args), outcome(simulated, f, args)
    if isinstance(expected, Exception) or isinstance(found, Exception):
        assert repr(found) == repr(expected), str(f)
        return
    for x, y in zip(found, expected, strict=True):
        assert_same(x, y)
