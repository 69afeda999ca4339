"""Transforms: Fourier, Walsh-Hadamard, wavelets, cosines; and integrals around contours.

Complex arrays with strides that double from stage to stage, butterflies in place, reshaped views
that are written through, twiddle factors, and small complex systems solved on a circle.
"""

from __future__ import annotations

import numpy as np

from .program import Program


def bit_reversed(bits):
    """The numbers below 2**`bits` with their bits in reverse, [2**bits]."""
    order = np.zeros(1, dtype=np.int64)
    for _ in range(bits):
        order = np.concatenate((2 * order, 2 * order + 1))
    return order


def fft_radix2(x, bits):
    """The discrete Fourier transform of `x` [2**bits] (complex128), in place after a permutation:
    each stage joins halves with a stride."""
    n = x.shape[0]
    y = x[bit_reversed(bits)]
    half = 1
    while half < n:
        twiddle = np.exp(-1j * np.pi * np.arange(half) / half)
        for k in range(half):
            even = y[k :: 2 * half].copy()
            odd = twiddle[k] * y[k + half :: 2 * half]
            y[k :: 2 * half] = even + odd
            y[k + half :: 2 * half] = even - odd
        half *= 2
    return y


def stockham(x, stages):
    """Stockham's transform of `x` [2**stages] (complex128): no permutation, two buffers."""
    n = x.size
    source = x.astype(np.complex128)
    target = np.empty_like(source)
    for s in range(stages):
        groups = 1 << s
        width = n // (2 * groups)
        a = source.reshape(2, width, groups)
        b = target.reshape(width, 2, groups)
        angle = np.exp(-2j * np.pi * np.arange(width) * groups / n)[:, None]
        b[:, 0, :] = a[0] + a[1]
        b[:, 1, :] = (a[0] - a[1]) * angle
        source, target = target, source
    return source


def fft_recursive(x):
    """The transform of `x` [2**k] by recursion down to short ones, which are a matrix product."""
    n = x.shape[0]
    if n <= 8:
        k = np.arange(n)
        return np.exp(-2j * np.pi * np.outer(k, k) / n) @ x
    even = fft_recursive(x[::2])
    odd = np.exp(-2j * np.pi * np.arange(n // 2) / n) * fft_recursive(x[1::2])
    return np.concatenate([even + odd, even - odd])


def goertzel(x, bins):
    """The power of a real signal `x` [n] at the frequencies `bins` [k], by Goertzel's
    recurrence."""
    n = len(x)
    power = np.empty(len(bins))
    for k, bin_ in enumerate(bins):
        coefficient = 2.0 * np.cos(2.0 * np.pi * bin_ / n)
        s1 = s2 = 0.0
        for sample in x:
            s1, s2 = sample + coefficient * s1 - s2, s1
        power[k] = s1**2 + s2**2 - coefficient * s1 * s2
    return power


def walsh_hadamard(x):
    """The Walsh-Hadamard transform of `x` [2**k], in place: butterflies on slices."""
    h = 1
    while h < len(x):
        for i in range(0, len(x), 2 * h):
            a = x[i : i + h].copy()
            b = x[i + h : i + 2 * h].copy()
            x[i : i + h] = a + b
            x[i + h : i + 2 * h] = a - b
        h *= 2
    x /= np.sqrt(len(x))


def haar(image, levels):
    """The Haar wavelet transform of `image` [n, n], in place, each level on the upper left quarter
    of the one before."""
    n = image.shape[0]
    for _ in range(levels):
        block = image[:n, :n]
        for _ in range(2):
            low = (block[:, ::2] + block[:, 1::2]) / np.sqrt(2.0)
            high = (block[:, ::2] - block[:, 1::2]) / np.sqrt(2.0)
            block[:, : n // 2] = low
            block[:, n // 2 :] = high
            block = block.T
        n //= 2
    return np.abs(image).sum()


def block_cosines(image, quality):
    """JPEG's lossy step: each 8x8 block of `image` [8 m, 8 n] goes through the cosine transform, is
    rounded to multiples of `quality` [8, 8], and comes back. Gives the image and the zeros."""
    k = np.arange(8)
    basis = np.cos(np.pi * (2 * k[None, :] + 1) * k[:, None] / 16) / 2
    basis[0] /= np.sqrt(2)
    out = np.empty_like(image)
    zeros = 0
    for i in range(0, image.shape[0], 8):
        for j in range(0, image.shape[1], 8):
            block = image[i : i + 8, j : j + 8] - 128.0
            coefficients = np.round(basis @ block @ basis.T / quality)
            zeros += np.sum(coefficients == 0)
            out[i : i + 8, j : j + 8] = basis.T @ (coefficients * quality) @ basis + 128.0
    return np.clip(out, 0, 255), zeros


def contour_integral(matrices, slab_per_bc, points, Y):
    """Two moments of a resolvent, summed over `points` [k] of a contour: at each the matrix
    polynomial `matrices` [p, n, n] is evaluated and solved for `Y` [n, m] (complex)."""
    n, m = Y.shape
    P0 = np.zeros((n, m), dtype=np.complex128)
    P1 = np.zeros((n, m), dtype=np.complex128)
    for z in points:
        T = np.zeros((n, n), dtype=np.complex128)
        for k in range(slab_per_bc + 1):
            T += z ** (slab_per_bc / 2 - k) * matrices[k]
        X = np.linalg.solve(T, Y)
        if abs(z) < 1.0:
            X = -X
        P0 += X
        P1 += z * X
    return P0, P1


def count_roots(coefficients, centre, radius, steps):
    """How many roots of a polynomial `coefficients` [k] lie in a circle: the argument principle,
    with the phase followed step by step around it."""
    turned = 0.0
    last = None
    for s in range(steps + 1):
        z = centre + radius * np.exp(2j * np.pi * s / steps)
        value = 0j
        for c in coefficients:
            value = value * z + c
        if last is not None:
            turned += np.angle(value / last)
        last = value
    return round(turned / (2 * np.pi))


# -- arguments -------------------------------------------------------------------------------------


def _complex_signal(rng, bits):
    return rng.standard_normal(2**bits) + 1j * rng.standard_normal(2**bits), bits


def _recursive_signal(rng, bits):
    return _complex_signal(rng, bits)[:1]


def _tones(rng, n, k):
    return rng.standard_normal(n), np.arange(1, k + 1)


def _real_signal(rng, bits):
    return (rng.standard_normal(2**bits),)


def _picture(rng, bits, levels):
    return rng.random((2**bits, 2**bits)), levels


def _jpeg(rng, m, n):
    k = np.arange(8)
    return rng.uniform(0, 256, (8 * m, 8 * n)), 16.0 + 6 * (k[:, None] + k[None, :])


def _resolvent(rng, n, m, points):
    matrices = rng.standard_normal((3, n, n)) + 1j * rng.standard_normal((3, n, n))
    angles = 2 * np.pi * (np.arange(points) + 0.5) / points
    radius = np.where(np.arange(points) % 2 == 0, 1.5, 0.7)
    Y = rng.standard_normal((n, m)) + 1j * rng.standard_normal((n, m))
    return matrices, 2, radius * np.exp(1j * angles), Y


def _polynomial(rng, degree, steps):
    return np.poly(rng.standard_normal(degree)), 0.1 + 0.2j, 1.3, steps


PROGRAMS = (
    Program(
        "fft_radix2",
        fft_radix2,
        _complex_signal,
        {"test": {"bits": 5}, "bench": {"bits": 12}},
        numba=True,
    ),
    Program(
        "stockham",
        stockham,
        _complex_signal,
        {"test": {"bits": 5}, "bench": {"bits": 17}},
        numba=True,
    ),
    Program(
        "fft_recursive",
        fft_recursive,
        _recursive_signal,
        {"test": {"bits": 5}, "bench": {"bits": 13}},
    ),
    Program(
        "goertzel",
        goertzel,
        _tones,
        {"test": {"n": 40, "k": 4}, "bench": {"n": 20_000, "k": 16}},
        numba=True,
        tolerance=1e-8,
    ),
    Program(
        "walsh_hadamard",
        walsh_hadamard,
        _real_signal,
        {"test": {"bits": 5}, "bench": {"bits": 13}},
        numba=True,
    ),
    Program(
        "haar",
        haar,
        _picture,
        {"test": {"bits": 4, "levels": 3}, "bench": {"bits": 10, "levels": 8}},
        numba=True,
    ),
    Program(
        "block_cosines",
        block_cosines,
        _jpeg,
        {"test": {"m": 2, "n": 3}, "bench": {"m": 40, "n": 40}},
        numba=True,
    ),
    Program(
        "contour_integral",
        contour_integral,
        _resolvent,
        {"test": {"n": 4, "m": 3, "points": 8}, "bench": {"n": 8, "m": 6, "points": 2000}},
        numba=True,
        tolerance=1e-9,
    ),
    Program(
        "count_roots",
        count_roots,
        _polynomial,
        {"test": {"degree": 5, "steps": 40}, "bench": {"degree": 8, "steps": 10_000}},
        numba=True,
    ),
)
