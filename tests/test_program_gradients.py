"""Gradients of the corpus: every program that has floats, as it stands.

Each gradient is compared with central differences along two directions, and with what forward mode
says of them. Programs without floats say so; programs whose floats decide nothing have gradients of
zeros, and so say the differences.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from differentiable import Loss, inner
from programs import PROGRAMS, Program

import jitnet
from jitnet import errors

LOSSES = {name: Loss(program) for name, program in PROGRAMS.items()}
WITH_FLOATS = {name: loss for name, loss in LOSSES.items() if loss.floats}

STEPS = {
    "brackets": None,  # halves an interval 35 times: pieces narrower than any step can be
    "lyapunov": 1e-11,  # chaos: the slope is 1e7
    "numerov": 1e-12,  # halves an interval, too, and the wave's end depends on it exponentially
}
"""Programs whose smooth pieces are narrow, and a step that stays within one, if there is any."""

SMALL = 12
"""Floats up to which every component of a gradient is compared with differences."""


def quietly(f: Any, *arguments: Any) -> Any:
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return f(*arguments)


@pytest.mark.parametrize("name", WITH_FLOATS)
def test_gradient(name: str) -> None:
    loss = WITH_FLOATS[name]
    value, gradient = quietly(jitnet.value_and_grad(loss.fn), loss.floats, loss.rest)
    assert value == pytest.approx(quietly(loss.fn, loss.floats, loss.rest), rel=1e-9)
    pushed = jitnet.jit(_pushed(loss))
    for seed in (0, 1):
        along = loss.directions(seed)
        slope = inner(gradient, along)
        size = inner([np.abs(g) for g in gradient], [np.abs(d) for d in along])
        assert abs(quietly(pushed, loss.floats, along, loss.rest) - slope) <= 1e-11 * size
        if name not in STEPS:
            expected, off = quietly(loss.difference, along)
            assert slope == pytest.approx(expected, rel=1e-6, abs=1e-9 + 10 * off)
        elif STEPS[name] is not None:
            assert slope == pytest.approx(quietly(loss.difference_at, along, STEPS[name]), rel=0.05)


def _pushed(loss: Loss) -> Any:
    def slope(floats: Any, along: Any, rest: Any) -> Any:
        def of_floats(moving: Any) -> Any:
            return loss.fn(moving, [np.copy(x) if isinstance(x, np.ndarray) else x for x in rest])

        return jitnet.jvp(of_floats, (floats,), (along,))[1]

    return slope


FEW = [n for n, loss in WITH_FLOATS.items() if sum(map(np.size, loss.floats)) <= SMALL]


@pytest.mark.parametrize("name", [n for n in FEW if n not in STEPS])
def test_every_component(name: str) -> None:
    loss = WITH_FLOATS[name]
    gradient = quietly(jitnet.grad(loss.fn), loss.floats, loss.rest)
    whole = loss.directions(0)
    for which, sizes in enumerate(whole):
        for place in np.ndindex(np.shape(sizes)):
            along = [0.0 * d for d in whole]
            if place:
                along[which][place] = sizes[place]
            else:
                along[which] = sizes
            expected, off = quietly(loss.difference, along)
            assert inner(gradient, along) == pytest.approx(expected, rel=1e-6, abs=1e-9 + 10 * off)


@pytest.mark.parametrize("name", [name for name in PROGRAMS if name not in WITH_FLOATS])
def test_there_is_nothing_to_differentiate(name: str) -> None:
    loss = LOSSES[name]
    with pytest.raises(errors.DifferentiationError, match="there are no floats"):
        jitnet.grad(loss.fn)(loss.floats, loss.rest)


def test_arguments_are_changed_once() -> None:
    """What a program does to its arguments it does once, if its gradient is taken, too."""
    program: Program = PROGRAMS["cholesky"]
    loss = Loss(program)
    (changed,) = loss.floats
    jitnet.value_and_grad(loss.fn)([changed], [])
    (expected,) = loss.floats
    program.fn(expected)
    np.testing.assert_allclose(changed, expected, rtol=1e-13)
