"""Rays: scenes of signed distances that are marched through, spheres that are hit, light that
bounces.

All rays of a picture at once with a mask of those still under way, and one ray at a time with an
early exit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .program import Program

DEPTH = 2
LIGHT = np.array([0.6, 0.7, -0.4]) / np.sqrt(1.01)


def scene(p):
    """The signed distance of the points `p` [n, 3] to a ball, a ring and the ground."""
    ball = np.linalg.norm(p - np.array([0.0, 0.3, 3.0]), axis=-1) - 0.8
    across = np.hypot(p[..., 0], p[..., 2] - 3.0) - 1.3
    ring = np.hypot(across, p[..., 1] - 0.1) - 0.2
    ground = p[..., 1] + 0.6
    return np.minimum(np.minimum(ball, ring), ground)


def normals(p, eps=1e-4):
    """The surface's normals at `p` [n, 3] by differences."""
    n = np.empty_like(p)
    for axis in range(3):
        offset = np.zeros(3)
        offset[axis] = eps
        n[:, axis] = scene(p + offset) - scene(p - offset)
    return n / np.linalg.norm(n, axis=1, keepdims=True)


def march(origin, directions, limit, far):
    """How far each ray [n, 3] gets before it hits; rays that have hit or are too far stop."""
    t = np.zeros(len(directions))
    active = np.ones(len(directions), dtype=bool)
    for _ in range(limit):
        p = origin + t[active, None] * directions[active]
        d = scene(p)
        t[active] += d
        going = (d > 1e-3) & (t[active] < far)
        active[active] = going
        if not active.any():
            break
    return t


def ray_march(width, height, limit):
    """A picture [height, width] of `scene`, lit from one side with soft distance fog."""
    x, y = np.meshgrid(np.linspace(-1, 1, width), np.linspace(0.7, -0.7, height))
    directions = np.stack((x.ravel(), y.ravel(), np.full(x.size, 1.2)), axis=1)
    directions /= np.linalg.norm(directions, axis=1)[:, None]
    t = march(np.zeros(3), directions, limit, 12.0)
    image = np.zeros(len(t))
    hit = t < 12.0
    p = t[hit, None] * directions[hit]
    light = np.clip(normals(p) @ LIGHT, 0, 1)
    image[hit] = (0.1 + 0.9 * light) * np.exp(-0.1 * t[hit])
    return image.reshape(height, width)


def distance(x, y, z):
    """The signed distance of one point to a rounded box that repeats along x."""
    x = (x + 1.5) % 3.0 - 1.5
    qx, qy, qz = abs(x) - 0.5, abs(y) - 0.4, abs(z - 4.0) - 0.5
    outside = np.sqrt(max(qx, 0.0) ** 2 + max(qy, 0.0) ** 2 + max(qz, 0.0) ** 2)
    return outside + min(max(qx, max(qy, qz)), 0.0) - 0.1


def ray_march_pixels(width, height, limit):
    """Depths [height, width] and steps, one ray after the other; -1 where nothing is hit."""
    depth = np.full((height, width), -1.0)
    steps = np.zeros((height, width), dtype=np.int32)
    for i in range(height):
        for j in range(width):
            dx, dy, dz = 2.0 * j / width - 1.0, 1.0 - 2.0 * i / height, 1.5
            norm = np.sqrt(dx * dx + dy * dy + dz * dz)
            t = 0.0
            for k in range(limit):
                d = distance(t * dx / norm, t * dy / norm, t * dz / norm)
                steps[i, j] = k
                if d < 1e-4:
                    depth[i, j] = t
                    break
                t += d
                if t > 20.0:
                    break
    return depth, steps


@dataclass(frozen=True)
class Sphere:
    """A coloured, mirroring sphere."""

    centre: tuple[float, float, float]
    radius: float
    colour: tuple[float, float, float]
    mirror: float


def intersect(sphere, origins, directions):
    """Distances [n] at which rays hit the sphere, inf where they do not."""
    towards = origins - np.array(sphere.centre)
    b = np.sum(towards * directions, axis=1)
    c = np.sum(towards**2, axis=1) - sphere.radius**2
    discriminant = b * b - c
    t = -b - np.sqrt(np.maximum(discriminant, 0))
    return np.where((discriminant > 0) & (t > 1e-4), t, np.inf)


def trace(spheres, origins, directions, depth):
    """The colours [n, 3] of rays, by recursion into mirrors."""
    hits = np.array([intersect(s, origins, directions) for s in spheres])
    nearest = hits.min(axis=0)
    colour = np.where(directions[:, 1:2] > 0, 0.8, 0.2) * np.ones(3)
    for sphere, t in zip(spheres, hits):
        mask = (t == nearest) & np.isfinite(t)
        p = origins[mask] + t[mask][:, None] * directions[mask]
        n = (p - np.array(sphere.centre)) / sphere.radius
        lit = np.clip(n @ LIGHT, 0.05, 1)[:, None] * np.array(sphere.colour)
        if depth > 0 and sphere.mirror > 0:
            d = directions[mask]
            reflected = d - 2 * np.sum(d * n, axis=1, keepdims=True) * n
            bounced = trace(spheres, p + 1e-6 * n, reflected, depth - 1)
            lit = (1 - sphere.mirror) * lit + sphere.mirror * bounced
        colour[mask] = lit
    return colour


def ray_trace(spheres, width, height):
    """A picture [height, width, 3] of mirroring spheres."""
    x, y = np.meshgrid(np.linspace(-1, 1, width), np.linspace(1, -1, height))
    directions = np.stack([x, y, np.ones_like(x)], axis=-1).reshape(-1, 3)
    directions = directions / np.sqrt((directions**2).sum(axis=1, keepdims=True))
    origins = np.zeros_like(directions)
    return trace(spheres, origins, directions, DEPTH).reshape(height, width, 3)


def tomography(image, angles):
    """The Radon transform of `image` [n, n]: sums along rotated lines, bilinear; [angles, n]."""
    n = image.shape[0]
    centre = (n - 1) / 2
    u = np.arange(n) - centre
    sinogram = np.zeros((len(angles), n))
    for k, angle in enumerate(angles):
        c, s = np.cos(angle), np.sin(angle)
        x = c * u[None, :] - s * u[:, None] + centre
        y = s * u[None, :] + c * u[:, None] + centre
        inside = (x >= 0) & (x < n - 1) & (y >= 0) & (y < n - 1)
        i, j = np.where(inside, y, 0).astype(int), np.where(inside, x, 0).astype(int)
        fy, fx = y - i, x - j
        top = image[i, j] * (1 - fx) + image[i, j + 1] * fx
        bottom = image[i + 1, j] * (1 - fx) + image[i + 1, j + 1] * fx
        sinogram[k] = np.where(inside, top * (1 - fy) + bottom * fy, 0).sum(axis=0)
    return sinogram


def line_of_sight(heights, row, column):
    """Which cells of a terrain `heights` [m, n] can be seen from one of them: along the line to
    each, the steepest slope so far."""
    m, n = heights.shape
    visible = np.zeros((m, n), dtype=np.bool_)
    eye = heights[row, column] + 1.7
    for i in range(m):
        for j in range(n):
            steps = max(abs(i - row), abs(j - column))
            if steps == 0:
                visible[i, j] = True
                continue
            target = (heights[i, j] - eye) / steps
            for k in range(1, steps):
                y = row + (i - row) * k / steps
                x = column + (j - column) * k / steps
                if (heights[int(y + 0.5), int(x + 0.5)] - eye) / k > target:
                    break
            else:
                visible[i, j] = True
    return visible


# -- arguments -------------------------------------------------------------------------------------


def _camera(rng, width, height, limit):
    return width, height, limit


def _spheres(rng, width, height):
    spheres = (
        Sphere((0.0, 0.0, 4.0), 1.0, (1.0, 0.3, 0.3), 0.3),
        Sphere((1.8, 0.2, 4.5), 0.8, (0.3, 1.0, 0.3), 0.5),
        Sphere((-1.7, -0.2, 3.5), 0.6, (0.3, 0.4, 1.0), 0.0),
    )
    return spheres, width, height


def _phantom(rng, n, count):
    return rng.random((n, n)), np.linspace(0, np.pi, count, endpoint=False)


def _terrain(rng, n):
    heights = rng.standard_normal((n, n)).cumsum(axis=0).cumsum(axis=1) / 4
    return heights, n // 3, n // 2


PROGRAMS = (
    Program(
        "ray_march",
        ray_march,
        _camera,
        {
            "test": {"width": 12, "height": 9, "limit": 30},
            "bench": {"width": 160, "height": 112, "limit": 60},
        },
        tolerance=1e-6,
    ),
    Program(
        "ray_march_pixels",
        ray_march_pixels,
        _camera,
        {
            "test": {"width": 8, "height": 6, "limit": 20},
            "bench": {"width": 48, "height": 36, "limit": 60},
        },
        numba=True,
        tolerance=1e-9,
    ),
    Program(
        "ray_trace",
        ray_trace,
        _spheres,
        {
            "test": {"width": 10, "height": 8},
            "bench": {"width": 200, "height": 160},
        },
        tolerance=1e-9,
    ),
    Program(
        "tomography",
        tomography,
        _phantom,
        {"test": {"n": 12, "count": 5}, "bench": {"n": 128, "count": 40}},
    ),
    Program(
        "line_of_sight", line_of_sight, _terrain, {"test": {"n": 9}, "bench": {"n": 56}}, numba=True
    ),
)
