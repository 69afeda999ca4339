"""Images: filters over windows, edges, votes for lines, regions that grow together.

Gathered windows, sorts along an axis, integral images, thresholds from histograms, scans in two
passes.
"""

from __future__ import annotations

import numpy as np

from .program import Program


def bilateral(image, radius, spatial, tonal):
    """The bilateral filter of `image` [m, n]: a weighted sum of shifted images."""
    m, n = image.shape
    padded = np.pad(image, radius, mode="edge")
    total = np.zeros_like(image)
    weights = np.zeros_like(image)
    for di in range(-radius, radius + 1):
        for dj in range(-radius, radius + 1):
            shifted = padded[radius + di : radius + di + m, radius + dj : radius + dj + n]
            w = np.exp(
                -(di * di + dj * dj) / (2 * spatial**2) - (shifted - image) ** 2 / (2 * tonal**2)
            )
            total += w * shifted
            weights += w
    return total / weights


def bilateral_pixels(image, radius, spatial, tonal):
    """The same, pixel by pixel on windows that shrink at the edges."""
    m, n = image.shape
    out = np.empty_like(image)
    for i in range(m):
        for j in range(n):
            i0, i1 = max(i - radius, 0), min(i + radius + 1, m)
            j0, j1 = max(j - radius, 0), min(j + radius + 1, n)
            window = image[i0:i1, j0:j1]
            di = np.arange(i0, i1) - i
            dj = np.arange(j0, j1) - j
            near = np.exp(-(di.reshape(-1, 1) ** 2 + dj.reshape(1, -1) ** 2) / (2 * spatial**2))
            w = near * np.exp(-((window - image[i, j]) ** 2) / (2 * tonal**2))
            out[i, j] = (w * window).sum() / w.sum()
    return out


def median_filter(image, size):
    """The median of each `size` x `size` window of `image` [m, n], the edges as they are."""
    r = size // 2
    out = image.copy()
    for i in range(r, image.shape[0] - r):
        for j in range(r, image.shape[1] - r):
            out[i, j] = np.median(image[i - r : i + r + 1, j - r : j + r + 1])
    return out


def median_filter_stack(image):
    """The median of 3x3 windows of `image` [m, n]: nine shifted images, sorted."""
    m, n = image.shape
    shifts = [image[i : m - 2 + i, j : n - 2 + j] for i in range(3) for j in range(3)]
    return np.sort(np.stack(shifts), axis=0)[4]


def sobel_edges(image, threshold):
    """Edges of `image` [m, n]: gradients, and thinning along their direction in four sectors."""
    gx = np.zeros_like(image)
    gy = np.zeros_like(image)
    gx[1:-1, 1:-1] = (
        image[:-2, 2:] - image[:-2, :-2]
        + 2 * (image[1:-1, 2:] - image[1:-1, :-2])
        + image[2:, 2:] - image[2:, :-2]
    )  # fmt: skip
    gy[1:-1, 1:-1] = (
        image[2:, :-2] - image[:-2, :-2]
        + 2 * (image[2:, 1:-1] - image[:-2, 1:-1])
        + image[2:, 2:] - image[:-2, 2:]
    )  # fmt: skip
    strength = np.hypot(gx, gy)
    sector = np.round(np.arctan2(gy, gx) / (np.pi / 4)).astype(int) % 4
    offsets = ((0, 1), (1, 1), (1, 0), (1, -1))
    edges = np.zeros(image.shape, dtype=bool)
    for i in range(1, image.shape[0] - 1):
        for j in range(1, image.shape[1] - 1):
            s = strength[i, j]
            if s <= threshold:
                continue
            if sector[i, j] == 0:
                di, dj = offsets[0]
            elif sector[i, j] == 1:
                di, dj = offsets[1]
            elif sector[i, j] == 2:
                di, dj = offsets[2]
            else:
                di, dj = offsets[3]
            edges[i, j] = strength[i - di, j - dj] <= s >= strength[i + di, j + dj]
    return edges


def hough_lines(edges, angles, peaks):
    """Votes of the edge points of `edges` [m, n] for lines: the accumulator [distances, angles] and
    its strongest `peaks`, each cleared around it before the next."""
    i, j = np.nonzero(edges)
    far = int(np.ceil(np.hypot(*edges.shape)))
    votes = np.zeros((2 * far + 1, len(angles)), dtype=np.int64)
    for k, angle in enumerate(angles):
        rho = np.round(j * np.cos(angle) + i * np.sin(angle)).astype(int) + far
        np.add.at(votes[:, k], rho, 1)
    left = votes.copy()
    lines = []
    for _ in range(peaks):
        r, a = np.unravel_index(np.argmax(left), left.shape)
        lines.append((r - far, angles[a], left[r, a]))
        left[max(r - 3, 0) : r + 4, max(a - 3, 0) : a + 4] = 0
    return votes, lines


def hough_circle(edges, radius):
    """Votes [m, n] for centres of circles of one `radius`, point by point along Bresenham's arc."""
    m, n = edges.shape
    votes = np.zeros((m, n), dtype=np.int32)
    rows, columns = np.nonzero(edges)
    for i, j in zip(rows, columns):
        x, y, error = radius, 0, 1 - radius
        while x >= y:
            for sx, sy in (
                (x, y),
                (y, x),
                (-y, x),
                (-x, y),
                (-x, -y),
                (-y, -x),
                (y, -x),
                (x, -y),
            ):
                a, b = i + sx, j + sy
                if 0 <= a < m and 0 <= b < n:
                    votes[a, b] += 1
            y += 1
            if error < 0:
                error += 2 * y + 1
            else:
                x -= 1
                error += 2 * (y - x) + 1
    best = votes.argmax()
    return votes, (best // n, best % n)


def components(mask):
    """Connected components of `mask` [m, n]: the smallest label spreads to the four neighbours
    until nothing changes. Gives labels (0 outside) and how many."""
    labels = np.where(mask, np.arange(1, mask.size + 1).reshape(mask.shape), 0)
    big = mask.size + 1
    while True:
        spread = np.where(mask, labels, big)
        new = spread.copy()
        new[1:] = np.minimum(new[1:], spread[:-1])
        new[:-1] = np.minimum(new[:-1], spread[1:])
        new[:, 1:] = np.minimum(new[:, 1:], spread[:, :-1])
        new[:, :-1] = np.minimum(new[:, :-1], spread[:, 1:])
        new[~mask] = 0
        if np.array_equal(new, labels):
            break
        labels = new
    return labels, len(np.unique(labels[mask]))


def components_two_pass(mask):
    """The same in two scans with a table of equal labels."""
    m, n = mask.shape
    labels = np.zeros((m, n), dtype=np.int64)
    parent = np.arange(m * n + 1)
    count = 0
    for i in range(m):
        for j in range(n):
            if not mask[i, j]:
                continue
            above = labels[i - 1, j] if i > 0 else 0
            before = labels[i, j - 1] if j > 0 else 0
            if above == 0 and before == 0:
                count += 1
                labels[i, j] = count
            elif above and before:
                while parent[above] != above:
                    above = parent[above]
                while parent[before] != before:
                    before = parent[before]
                low, high = min(above, before), max(above, before)
                parent[high] = low
                labels[i, j] = low
            else:
                labels[i, j] = above + before
    for k in range(1, count + 1):
        parent[k] = parent[parent[k]]
    labels[:] = parent[labels]
    return labels


def flood_fill(image, row, column, colour):
    """Fill the region of equal colour around a pixel of `image` [m, n], in place, with a stack;
    gives its size."""
    old = image[row, column]
    if old == colour:
        return 0
    m, n = image.shape
    stack = np.empty((m * n, 2), dtype=np.int64)
    stack[0] = row, column
    image[row, column] = colour
    top, filled = 1, 0
    while top > 0:
        top -= 1
        i, j = stack[top]
        filled += 1
        for di, dj in ((-1, 0), (1, 0), (0, -1), (0, 1)):
            a, b = i + di, j + dj
            if 0 <= a < m and 0 <= b < n and image[a, b] == old:
                image[a, b] = colour
                stack[top] = a, b
                top += 1
    return filled


def otsu(image):
    """Otsu's threshold of `image` [m, n] (uint8), and the picture it gives."""
    counts = np.bincount(image.ravel(), minlength=256)
    p = counts / image.size
    below = np.cumsum(p)
    mean = np.cumsum(p * np.arange(256))
    valid = (below > 0) & (below < 1)
    between = np.zeros(256)
    between[valid] = (mean[-1] * below[valid] - mean[valid]) ** 2 / (
        below[valid] * (1 - below[valid])
    )
    threshold = int(np.argmax(between))
    return threshold, (image > threshold).astype(np.uint8) * 255


def equalize(image):
    """Histogram equalisation of `image` [m, n] (uint8), in place."""
    histogram = np.zeros(256, dtype=np.int64)
    for value in image.ravel():
        histogram[value] += 1
    cumulative = histogram.cumsum()
    lowest = cumulative[np.nonzero(histogram)[0][0]]
    table = np.round(255 * (cumulative - lowest) / max(image.size - lowest, 1)).astype(np.uint8)
    image[:] = table[image]


def box_blur(image, radius):
    """Means over boxes of `image` [m, n] by an integral image, clipped at the edges."""
    m, n = image.shape
    integral = np.zeros((m + 1, n + 1))
    integral[1:, 1:] = image.cumsum(axis=0).cumsum(axis=1)
    i, j = np.arange(m), np.arange(n)
    top, bottom = np.maximum(i - radius, 0)[:, None], np.minimum(i + radius + 1, m)[:, None]
    left, right = np.maximum(j - radius, 0), np.minimum(j + radius + 1, n)
    total = (
        integral[bottom, right]
        - integral[top, right]
        - integral[bottom, left]
        + integral[top, left]
    )
    return total / ((bottom - top) * (right - left))


def erode(mask, times):
    """`mask` [m, n] without its outermost layer of pixels, some times; and the distance [m, n]."""
    distance = np.zeros(mask.shape, dtype=np.int64)
    current = mask
    for _ in range(times):
        distance += current
        inner = np.zeros_like(current)
        inner[1:-1, 1:-1] = (
            current[1:-1, 1:-1]
            & current[:-2, 1:-1]
            & current[2:, 1:-1]
            & current[1:-1, :-2]
            & current[1:-1, 2:]
        )
        current = inner
    return current, distance


def dither(image):
    """Floyd and Steinberg's dithering of `image` [m, n], in place: each pixel's error is handed
    on."""
    m, n = image.shape
    for i in range(m):
        for j in range(n):
            old = image[i, j]
            new = 1.0 if old > 0.5 else 0.0
            image[i, j] = new
            error = old - new
            if j + 1 < n:
                image[i, j + 1] += error * 7 / 16
            if i + 1 < m:
                if j > 0:
                    image[i + 1, j - 1] += error * 3 / 16
                image[i + 1, j] += error * 5 / 16
                if j + 1 < n:
                    image[i + 1, j + 1] += error / 16


def seam(image):
    """Remove one vertical seam of least energy from `image` [m, n]: the picture [m, n - 1] and the
    seam [m]."""
    energy = np.abs(np.gradient(image, axis=0)) + np.abs(np.gradient(image, axis=1))
    m, n = image.shape
    cost = energy.copy()
    for i in range(1, m):
        up = cost[i - 1]
        cost[i, 1:-1] += np.minimum(np.minimum(up[:-2], up[1:-1]), up[2:])
        cost[i, 0] += min(up[0], up[1])
        cost[i, -1] += min(up[-1], up[-2])
    path = np.empty(m, dtype=np.int64)
    path[-1] = np.argmin(cost[-1])
    for i in range(m - 2, -1, -1):
        low = max(path[i + 1] - 1, 0)
        path[i] = low + np.argmin(cost[i, low : path[i + 1] + 2])
    kept = np.ones((m, n), dtype=bool)
    kept[np.arange(m), path] = False
    return image[kept].reshape(m, n - 1), path


# -- arguments -------------------------------------------------------------------------------------


def _noisy(rng, m, n):
    return np.add.outer(np.linspace(0, 1, m), np.linspace(0, 1, n) ** 2) + 0.1 * rng.random((m, n))


def _filtered(rng, m, n, radius):
    return _noisy(rng, m, n), radius, 1.5, 0.1


def _windows(rng, m, n, size):
    return _noisy(rng, m, n), size


def _image(rng, m, n):
    return (_noisy(rng, m, n),)


def _edges(rng, m, n):
    return rng.random((m, n)), 1.0


def _drawn(rng, m, n, angles):
    edges = rng.random((m, n)) < 0.02
    edges[m // 2, :] = True
    edges[np.arange(min(m, n)), np.arange(min(m, n))] = True
    return edges, np.linspace(0, np.pi, angles, endpoint=False), 2


def _circle(rng, m, n, radius):
    return rng.random((m, n)) < 0.1, radius


def _mask(rng, m, n):
    return (rng.random((m, n)) < 0.55,)


def _colours(rng, m, n):
    image = (rng.random((m, n)) < 0.3).astype(np.int64)
    image[m // 2, n // 2] = 0
    return image, m // 2, n // 2, 7


def _grey(rng, m, n):
    return (np.clip(rng.normal(100, 40, (m, n)), 0, 255).astype(np.uint8),)


def _blob(rng, m, n, times):
    mask = rng.random((m, n)) < 0.98
    mask[[0, -1]] = False
    mask[:, [0, -1]] = False
    return mask, times


PROGRAMS = (
    Program(
        "bilateral",
        bilateral,
        _filtered,
        {"test": {"m": 9, "n": 11, "radius": 2}, "bench": {"m": 200, "n": 220, "radius": 4}},
    ),
    Program(
        "bilateral_pixels",
        bilateral_pixels,
        _filtered,
        {"test": {"m": 7, "n": 8, "radius": 2}, "bench": {"m": 60, "n": 70, "radius": 4}},
        numba=True,
    ),
    Program(
        "median_filter",
        median_filter,
        _windows,
        {"test": {"m": 8, "n": 9, "size": 3}, "bench": {"m": 90, "n": 100, "size": 5}},
        numba=True,
    ),
    Program(
        "median_filter_stack",
        median_filter_stack,
        _image,
        {"test": {"m": 8, "n": 9}, "bench": {"m": 300, "n": 320}},
    ),
    Program(
        "sobel_edges",
        sobel_edges,
        _edges,
        {"test": {"m": 9, "n": 10}, "bench": {"m": 160, "n": 170}},
    ),
    Program(
        "hough_lines",
        hough_lines,
        _drawn,
        {"test": {"m": 12, "n": 14, "angles": 10}, "bench": {"m": 400, "n": 440, "angles": 180}},
    ),
    Program(
        "hough_circle",
        hough_circle,
        _circle,
        {"test": {"m": 12, "n": 11, "radius": 3}, "bench": {"m": 100, "n": 90, "radius": 12}},
        numba=True,
    ),
    Program(
        "components", components, _mask, {"test": {"m": 8, "n": 9}, "bench": {"m": 200, "n": 210}}
    ),
    Program(
        "components_two_pass",
        components_two_pass,
        _mask,
        {"test": {"m": 8, "n": 9}, "bench": {"m": 200, "n": 210}},
        numba=True,
    ),
    Program(
        "flood_fill",
        flood_fill,
        _colours,
        {"test": {"m": 8, "n": 9}, "bench": {"m": 120, "n": 130}},
        numba=True,
    ),
    Program(
        "otsu", otsu, _grey, {"test": {"m": 8, "n": 9}, "bench": {"m": 2500, "n": 2600}}, numba=True
    ),
    Program(
        "equalize",
        equalize,
        _grey,
        {"test": {"m": 8, "n": 9}, "bench": {"m": 300, "n": 320}},
        numba=True,
    ),
    Program(
        "box_blur",
        box_blur,
        _windows,
        {"test": {"m": 8, "n": 9, "size": 2}, "bench": {"m": 600, "n": 640, "size": 7}},
        numba=True,
    ),
    Program(
        "erode",
        erode,
        _blob,
        {"test": {"m": 12, "n": 11, "times": 3}, "bench": {"m": 400, "n": 420, "times": 60}},
        numba=True,
    ),
    Program(
        "dither",
        dither,
        _image,
        {"test": {"m": 8, "n": 9}, "bench": {"m": 160, "n": 170}},
        numba=True,
    ),
    Program("seam", seam, _image, {"test": {"m": 8, "n": 9}, "bench": {"m": 900, "n": 1000}}),
)
