"""Bundle adjustment: where cameras see points and where they should, and the sparse Jacobian.

    params, data = generate(np.random.default_rng(0), cameras=49, points=7776, observations=31843)
    errors, weight_errors = objective(params, *data)
    blocks = derivative(params, *data)

A camera is 11 numbers: the axis of its rotation times the angle r [3], its centre C [3], the focal
length f, the principal point x0 [2] and two coefficients k of radial distortion. A point X is seen
at

    f d(p(R(r) (X - C))) + x0,   p(x, y, z) = (x, y) / z,   d(u) = (1 + k_0 |u|^2 + k_1 |u|^4) u,

where R(r) is Rodrigues' rotation. An observation's error is its weight w times what this is off
the feature's place; beside it there is the weight's own error 1 - w^2. So each row of the Jacobian
has 11 + 3 + 1 numbers that are not zero: `derivative` gives the blocks [observations, 2, 11],
[observations, 2, 3] and [observations, 2, 1], and the weights' derivatives [observations].
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

import jitnet


class Scene(NamedTuple):
    """Cameras [n, 11], points [m, 3] and the weights of observations [p]."""

    cameras: np.ndarray
    points: np.ndarray
    weights: np.ndarray


def rotate(r, x):
    """`x` [..., 3] turned around the axis `r` [..., 3] by its length: Rodrigues' formula."""
    squared = (r * r).sum(axis=-1, keepdims=True)
    angle = np.sqrt(squared)
    axis = np.where(squared > 0, r / angle, r)
    along = (axis * x).sum(axis=-1, keepdims=True)
    cosine, sine = np.cos(angle), np.sin(angle)
    turned = x * cosine + np.cross(axis, x) * sine + axis * (along * (1 - cosine))
    return np.where(squared > 0, turned, x + np.cross(r, x))


def project(camera, point):
    """Where a `camera` [..., 11] sees a `point` [..., 3]: [..., 2]."""
    r, centre, f = camera[..., :3], camera[..., 3:6], camera[..., 6:7]
    principal, k = camera[..., 7:9], camera[..., 9:11]
    seen = rotate(r, point - centre)
    u = seen[..., :2] / seen[..., 2:]
    squared = (u * u).sum(axis=-1, keepdims=True)
    return f * (1 + k[..., :1] * squared + k[..., 1:] * squared**2) * u + principal


def reprojection_error(camera, point, weight, feature):
    """The error [..., 2] of observations with weights [...] of features [..., 2]."""
    return weight[..., None] * (project(camera, point) - feature)


def weight_error(weight):
    """What holds the weights at 1."""
    return 1 - weight**2


def objective(params, observed, features):
    """All errors [p, 2] and [p]; `observed` [p, 2] has the numbers of camera and point."""
    cameras, points, weights = params
    camera, point = cameras[observed[:, 0]], points[observed[:, 1]]
    return reprojection_error(camera, point, weights, features), weight_error(weights)


def block(camera, point, weight, feature):
    """The rows of the Jacobian of one observation: in its camera, its point, its weight."""
    errors = jitnet.jacrev(reprojection_error, argnums=(0, 1, 2))(camera, point, weight, feature)
    return *errors, jitnet.grad(weight_error)(weight)


@jitnet.jit
def derivative(params, observed, features):
    """The blocks of the Jacobian, by observation."""
    cameras, points, weights = params
    camera, point = cameras[observed[:, 0]], points[observed[:, 1]]
    return jitnet.vmap(block)(camera, point, weights, features)


def generate(rng, cameras, points, observations):
    """Cameras on a sphere that look at a cloud of points. The benchmark's smallest scene has 49
    cameras, 7,776 points and 31,843 observations; its largest 13,682, 4,456,117 and 2,987,644."""
    scene = Scene(
        np.empty((cameras, 11)), rng.standard_normal((points, 3)), rng.random(observations) + 0.5
    )
    scene.cameras[:, :3] = 0.1 * rng.standard_normal((cameras, 3))
    scene.cameras[:, 3:6] = [0.0, 0.0, -10.0] + 0.5 * rng.standard_normal((cameras, 3))
    scene.cameras[:, 6] = 500 + 10 * rng.standard_normal(cameras)
    scene.cameras[:, 7:9] = rng.standard_normal((cameras, 2))
    scene.cameras[:, 9:] = 0.01 * rng.standard_normal((cameras, 2))
    observed = np.stack(
        (rng.integers(0, cameras, observations), rng.integers(0, points, observations)), axis=1
    )
    features = project(scene.cameras[observed[:, 0]], scene.points[observed[:, 1]])
    return scene, (observed, features + rng.standard_normal(features.shape))
