"""The problems of examples/adbench: derivatives against central differences and against jvp.

params, data = lstm.generate(np.random.default_rng(0), layers=2, length=6, bits=3)
derivative(lstm, params, data, direction)  # along it, by what the example computes
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import jitnet

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))

from adbench import ba, gmm, hand, lstm

PROBLEMS = {
    "gmm": (gmm, {"n": 12, "d": 3, "k": 4}),
    "gmm of one component": (gmm, {"n": 5, "d": 2, "k": 1}),
    "ba": (ba, {"cameras": 3, "points": 6, "observations": 11}),
    "hand": (hand, {"correspondences": 9, "vertices": 30}),
    "lstm": (lstm, {"layers": 2, "length": 7, "bits": 3}),
    "lstm of six layers": (lstm, {"layers": 6, "length": 5, "bits": 2}),
}


@pytest.fixture(params=PROBLEMS)
def problem(request):
    module, size = PROBLEMS[request.param]
    params, data = module.generate(np.random.default_rng(7), **size)
    direction = _like(params, np.random.default_rng(8))
    return module, params, data, direction


def test_objectives_are_numpys(problem):
    module, params, data, _ = problem
    ours, theirs = jitnet.jit(module.objective)(params, *data), module.objective(params, *data)
    np.testing.assert_allclose(_flat(ours), _flat(theirs), rtol=1e-12, atol=1e-12)


def test_derivatives_are_central_differences(problem):
    module, params, data, direction = problem
    found = along(module, params, data, direction)

    def at(step):
        moved = type(params)(*(x + step * d for x, d in zip(params, direction)))
        return _flat(module.objective(moved, *data))

    h = 1e-4
    expected = (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h)
    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-7 * abs(expected).max())


def test_derivatives_are_jvps(problem):
    module, params, data, direction = problem
    _, tangent = jitnet.jvp(lambda p: module.objective(p, *data), (params,), (direction,))
    found = along(module, params, data, direction)
    scale = abs(_flat(tangent)).max()
    np.testing.assert_allclose(found, _flat(tangent), rtol=1e-10, atol=1e-10 * scale)


def test_a_camera_that_is_not_turned():
    """Rodrigues' formula divides by the angle: at 0 the derivative is that of the limit."""
    (scene, (observed, features)) = ba.generate(np.random.default_rng(1), 2, 3, 5)
    scene.cameras[:, :3] = 0.0
    direction = _like(scene, np.random.default_rng(2))
    found = along(ba, scene, (observed, features), direction)

    def at(step):
        moved = ba.Scene(*(x + step * d for x, d in zip(scene, direction)))
        return _flat(ba.objective(moved, observed, features))

    expected = (at(1e-5) - at(-1e-5)) / 2e-5
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6 * abs(expected).max())


def test_rotations_turn():
    rng = np.random.default_rng(3)
    r, x = rng.standard_normal((2, 3))
    R = hand.rodrigues(r)
    np.testing.assert_allclose(R @ R.T, np.eye(3), atol=1e-14)
    np.testing.assert_allclose(R @ x, ba.rotate(r, x), rtol=1e-13)
    np.testing.assert_allclose(R @ r, r, rtol=1e-13)
    E = hand.euler(rng.standard_normal((4, 3)))
    np.testing.assert_allclose(E @ E.swapaxes(1, 2), np.tile(np.eye(3), (4, 1, 1)), atol=1e-14)


def test_the_hand_at_rest_stays():
    """Without rotations and bending each bone is where it was."""
    params, (model, *_) = hand.generate(np.random.default_rng(4), 5, 20)
    found = hand.posed_vertices(np.zeros_like(params.pose), model)
    np.testing.assert_allclose(found, model.vertices[:, :3], atol=1e-13)


def along(module, params, data, direction):
    """The derivative along a direction by what the example's `derivative` gives."""
    result = module.derivative(params, *data)
    if module is ba:
        observed, (in_cameras, in_points, in_weights, of_weights) = data[0], result
        cameras, points, weights = direction
        errors = np.einsum("pij,pj->pi", in_cameras, cameras[observed[:, 0]])
        errors += np.einsum("pij,pj->pi", in_points, points[observed[:, 1]])
        return _flat((errors + in_weights * weights[:, None], of_weights * weights))
    if module is hand:
        in_pose, in_places = result
        return _flat(
            in_pose @ direction.pose + np.einsum("nij,nj->ni", in_places, direction.places)
        )
    return _flat(sum((g * d).sum() for g, d in zip(result, direction)))


def _like(tree, rng):
    return type(tree)(*(rng.standard_normal(x.shape) for x in tree))


def _flat(tree):
    parts = tree if isinstance(tree, tuple) else (tree,)
    return np.concatenate([np.ravel(part) for part in parts])
