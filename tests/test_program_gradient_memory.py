"""Gradients of the corpus within budgets: the same bits as without."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from differentiable import Loss
from programs import PROGRAMS

from jitnet import value_and_grad

BUDGETS = {
    "bouncing_ball": 4_000,
    "conjugate_gradients": 9_000,
    "jacobi_2d": 14_000,
    "driven_oscillators": 8_000,
    "euler_decay": 2_000,
    "gray_scott": 80_000,
    "heat_2d": 24_000,
    "kepler": 8_000,
    "newton_roots": 5_000,
    "power_iteration": 6_000,
    "heat_state": 20_000,
    "wave_1d": 9_000,
}
"""Bytes: less than the gradient saves without one, or than can be told."""


@pytest.mark.parametrize("name", BUDGETS)
def test_the_same_gradient(name: str) -> None:
    loss = Loss(PROGRAMS[name])
    found, costs = [], []
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        for memory in (None, BUDGETS[name]):
            both = value_and_grad(loss.fn, memory=memory)
            value, gradient = both(loss.floats, loss.rest)
            found.append([np.asarray(x).tobytes() for x in (value, *gradient)])
            costs.append(both.lower(loss.floats, loss.rest).cost())
    assert found[0] == found[1]
    plain, thrifty = costs
    assert thrifty["peak_is_known"]
    assert not plain["peak_is_known"] or thrifty["peak_bytes"] < plain["peak_bytes"]
