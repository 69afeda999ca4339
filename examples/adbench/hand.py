"""Hand tracking: how far points are from a skinned hand in a pose, and the Jacobian.

    params, data = generate(np.random.default_rng(0), correspondences=100, vertices=544)
    objective(params, *data)             # [correspondences, 3]
    in_pose, in_places = derivative(params, *data)  # [correspondences, 3, 26], [..., 3, 2]

A pose is 26 numbers: a rotation as an axis times an angle [3], a translation [3], and for each of
five fingers the bending of the first joint, its spreading, and the bending of two more. A bone's
transform is its parent's times its own in the hand at rest times its joint's rotation. A vertex of
the mesh is moved by the mean of its bones' transforms, by its weights (linear blend skinning). Each
measured point belongs to a triangle, and to a place in it, given by two barycentric coordinates u
and v that are varied too; its residual is the point less u A + v B + (1 - u - v) C.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

import jitnet

FINGERS = 5
BONES = 2 + 4 * FINGERS  # the forearm, the palm, and four for a finger, the last of which is rigid


class Params(NamedTuple):
    """The pose [26] and the places in the triangles [n, 2]."""

    pose: np.ndarray
    places: np.ndarray


class Model(NamedTuple):
    """A hand at rest: of each bone its parent (-1: none) and its transform to that, and from the
    hand's frame to its own; vertices in homogeneous coordinates; how much each follows each bone;
    the vertices of the triangles."""

    parents: np.ndarray  # [bones]
    relative: np.ndarray  # [bones, 4, 4]
    inverse: np.ndarray  # [bones, 4, 4]
    vertices: np.ndarray  # [vertices, 4]
    weights: np.ndarray  # [vertices, bones]
    triangles: np.ndarray  # [triangles, 3]


def rodrigues(r):
    """The rotation [3, 3] around the axis `r` [3] by its length."""
    angle = np.sqrt((r * r).sum())
    if angle < 1e-12:
        return np.eye(3) + skew(r)
    K = skew(r / angle)
    return np.eye(3) + np.sin(angle) * K + (1 - np.cos(angle)) * (K @ K)


def skew(r):
    """The matrix [3, 3] of the cross product with `r` [3]."""
    x, y, z = r
    return np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])


def euler(angles):
    """Rotations [n, 3, 3] by `angles` [n, 3] around x, then y, then z."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles).T, np.sin(angles).T
    R = np.empty((len(angles), 3, 3))
    R[:, 0, 0], R[:, 0, 1] = cy * cz, sx * sy * cz - cx * sz
    R[:, 0, 2], R[:, 1, 0] = cx * sy * cz + sx * sz, cy * sz
    R[:, 1, 1], R[:, 1, 2] = sx * sy * sz + cx * cz, cx * sy * sz - sx * cz
    R[:, 2, 0], R[:, 2, 1], R[:, 2, 2] = -sy, sx * cy, cx * cy
    return R


def joint_angles(pose):
    """Angles [bones, 3] of all joints from the 20 numbers of the fingers in a `pose` [26]."""
    angles = np.zeros((BONES, 3))
    k = 6
    for finger in range(FINGERS):
        first = 2 + 4 * finger
        angles[first, :2] = pose[k : k + 2]
        angles[first + 1, 0] = pose[k + 2]
        angles[first + 2, 0] = pose[k + 3]
        k += 4
    return angles


def bone_transforms(pose, model):
    """What each bone does to the hand at rest [bones, 4, 4]: forward kinematics."""
    absolute = np.empty((BONES, 4, 4))
    rotations = euler(joint_angles(pose))
    for bone in range(BONES):
        own = model.relative[bone].copy()
        own[:3, :3] = own[:3, :3] @ rotations[bone]
        parent = model.parents[bone]
        if parent < 0:
            absolute[bone] = own
        else:
            absolute[bone] = absolute[parent] @ own
    return absolute @ model.inverse


def posed_vertices(pose, model):
    """All vertices [vertices, 3] of the hand in a `pose` [26]."""
    transforms = bone_transforms(pose, model)[:, :3]
    blended = np.tensordot(model.weights, transforms, axes=1)
    skinned = np.einsum("vij,vj->vi", blended, model.vertices)
    return skinned @ rodrigues(pose[:3]).T + pose[3:6]


def objective(params, model, triangle_of, measured):
    """Residuals [n, 3] of the `measured` points [n, 3], which are in triangles [n]."""
    vertices = posed_vertices(params.pose, model)
    corners = vertices[model.triangles[triangle_of]]
    u, v = params.places[:, :1], params.places[:, 1:]
    return measured - (u * corners[:, 0] + v * corners[:, 1] + (1 - u - v) * corners[:, 2])


@jitnet.jit
def derivative(params, model, triangle_of, measured):
    """The Jacobian in the pose [n, 3, 26], and that of each residual in its own place [n, 3, 2]:
    a place moves no other residual, so all may move at once."""

    def moved(pose, shift):
        return objective(Params(pose, params.places + shift), model, triangle_of, measured)

    return jitnet.jacfwd(moved, argnums=(0, 1))(params.pose, np.zeros(2))


def generate(rng, correspondences, vertices):
    """A hand with 26 numbers in its pose. The benchmark has hands of 544 and 10,000 vertices, and
    from 100 to 100,000 correspondences."""
    parents = np.empty(BONES, dtype=int)
    parents[:2] = -1, 0
    relative = np.tile(np.eye(4), (BONES, 1, 1))
    relative[:, 1, 3] = 0.3
    for finger in range(FINGERS):
        first = 2 + 4 * finger
        parents[first : first + 4] = 1, first, first + 1, first + 2
        relative[first, 0, 3] = 0.2 * (finger - 2)
    relative[:, :3, :3] = euler(0.2 * rng.standard_normal((BONES, 3)))
    absolute = np.empty_like(relative)
    for bone in range(BONES):
        above = np.eye(4) if parents[bone] < 0 else absolute[parents[bone]]
        absolute[bone] = above @ relative[bone]
    weights = rng.random((vertices, BONES)) ** 8
    near = weights.argmax(axis=1)
    points = np.ones((vertices, 4))
    points[:, :3] = absolute[near, :3, 3] + 0.05 * rng.standard_normal((vertices, 3))
    model = Model(
        parents,
        relative,
        np.linalg.inv(absolute),
        points,
        weights / weights.sum(axis=1, keepdims=True),
        rng.integers(0, vertices, (2 * vertices, 3)),
    )
    params = Params(
        0.3 * rng.standard_normal(6 + 4 * FINGERS), 0.5 * rng.random((correspondences, 2))
    )
    triangle_of = rng.integers(0, len(model.triangles), correspondences)
    zero = np.zeros((correspondences, 3))
    measured = -objective(Params(0.9 * params.pose, params.places), model, triangle_of, zero)
    return params, (model, triangle_of, measured + 0.01 * rng.standard_normal(zero.shape))
