"""Derivatives through complex numbers: JAX's conventions, against differences and closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from jitnet import (
    checkpoint,
    errors,
    grad,
    hessian,
    ir,
    jacfwd,
    jacrev,
    jit,
    jvp,
    trace,
    transforms,
    value_and_grad,
    vjp,
    vmap,
)
from jitnet.testing import check_grads

RNG = np.random.default_rng(0)
Z = RNG.normal(size=5) + 1j * RNG.normal(size=5)
X = RNG.normal(size=5)


def conjugate_gradient(f, z, h=1e-6):
    """df/dx - i df/dy by central differences."""
    out = np.zeros_like(z)
    for i in np.ndindex(z.shape):
        for unit in (1.0, 1j):
            step = np.zeros_like(z)
            step[i] = h * unit
            out[i] += np.conj(unit) * (f(z + step) - f(z - step)) / (2 * h)
    return out


# -- conventions -----------------------------------------------------------------------------------


def test_the_gradient_of_a_real_function_of_complex_numbers() -> None:
    def f(z):
        return (np.abs(z) ** 2 * np.cos(z).real).sum()

    np.testing.assert_allclose(grad(f)(Z), conjugate_gradient(f, Z), rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(grad(lambda z: (np.abs(z) ** 2).sum())(Z), 2 * np.conj(Z))
    np.testing.assert_array_equal(grad(lambda z: z.imag.sum())(Z), np.full(5, -1j))
    assert grad(lambda z: (z * np.conj(z)).real)(3.0 + 4.0j) == 6.0 - 8.0j
    assert type(grad(lambda z: z.real)(3.0 + 4.0j)) is complex
    assert grad(lambda z: np.abs(z).sum())(Z.astype(np.complex64)).dtype == np.complex64
    value, (dz, dx) = value_and_grad(lambda z, x: np.abs(z * x).sum(), (0, 1))(Z, X)
    np.testing.assert_allclose(value, np.abs(Z * X).sum(), rtol=1e-14)
    assert (dz.dtype, dx.dtype) == (np.complex128, np.float64)
    np.testing.assert_allclose(dx, np.abs(Z) * np.sign(X))


def test_real_functions_with_complex_numbers_on_the_way() -> None:
    def f(x):
        w = np.exp(1j * x) * (1.0 + 2.0j * x)
        return np.abs(w.sum()) + np.angle(w).sum() + (w * np.conj(w[::-1])).real.sum()

    check_grads(f, (X,), order=2)
    assert grad(f)(X).dtype == np.float64
    assert grad(lambda x: np.abs(np.exp(1j * x) + 1).sum())(X.astype(np.float32)).dtype == (
        np.float32
    )


@pytest.mark.parametrize(
    ("f", "slope"),
    [
        (np.sin, np.cos),
        (np.exp, np.exp),
        (np.log, lambda z: 1 / z),
        (np.sqrt, lambda z: 0.5 / np.sqrt(z)),
        (np.tanh, lambda z: 1 - np.tanh(z) ** 2),
        (lambda z: z**3, lambda z: 3 * z**2),
        (lambda z: 1 / z, lambda z: -1 / z**2),
        (lambda z: z * np.cos(z) / (z + 2), lambda z: _quotient_slope(z)),
    ],
)
def test_holomorphic_functions(f, slope) -> None:
    expected = slope(Z)
    directions = RNG.normal(size=5) + 1j * RNG.normal(size=5)
    value, moved = jvp(f, (Z,), (directions,))
    np.testing.assert_allclose(value, f(Z), rtol=1e-12)
    np.testing.assert_allclose(moved, expected * directions, rtol=1e-10)
    np.testing.assert_allclose(vjp(f, Z)[1](directions)[0], expected * directions, rtol=1e-10)
    for jacobian in (jacfwd, jacrev):
        matrix = jacobian(f, holomorphic=True)(Z)
        np.testing.assert_allclose(matrix, np.diag(expected), rtol=1e-10, atol=1e-15)
    total = grad(lambda z: f(z).sum(), holomorphic=True)
    np.testing.assert_allclose(total(Z), expected, rtol=1e-10)
    one = grad(f, holomorphic=True)(complex(Z[0]))
    np.testing.assert_allclose(one, expected[0], rtol=1e-10)


def _quotient_slope(z):
    return ((np.cos(z) - z * np.sin(z)) * (z + 2) - z * np.cos(z)) / (z + 2) ** 2


def test_second_derivatives() -> None:
    got = hessian(lambda z: (z**4).sum(), holomorphic=True)(Z)
    np.testing.assert_allclose(got, np.diag(12 * Z**2), rtol=1e-12, atol=1e-15)
    assert grad(grad(grad(lambda z: z**4, holomorphic=True), holomorphic=True), holomorphic=True)(
        1.0 + 2.0j
    ) == pytest.approx(24 * (1 + 2j))
    check_grads(lambda z: np.abs(z) ** 2 * z, (Z,), order=2)
    np.testing.assert_allclose(jacrev(np.abs)(Z), np.diag(np.conj(Z) / np.abs(Z)), rtol=1e-12)
    np.testing.assert_allclose(
        jacfwd(lambda x: np.exp(1j * x))(X), np.diag(1j * np.exp(1j * X)), rtol=1e-12, atol=1e-15
    )


def test_abs_at_zero_has_no_slope() -> None:
    assert grad(np.abs)(0j) == 0j
    np.testing.assert_array_equal(grad(lambda z: np.linalg.norm(z))(np.zeros(2, complex)), [0, 0])


# -- programs --------------------------------------------------------------------------------------


def fft(x):
    """By recursion, on powers of two."""
    n = len(x)
    if n == 1:
        return x * (1.0 + 0.0j)
    even, odd = fft(x[::2]), fft(x[1::2])
    turned = np.exp(-2j * np.pi * np.arange(n // 2) / n) * odd
    return np.concatenate((even + turned, even - turned))


def test_a_fourier_transform() -> None:
    x = RNG.normal(size=16)
    np.testing.assert_allclose(jit(fft)(x), np.fft.fft(x), atol=1e-13)

    def power(x):
        spectrum = fft(x)
        return (np.abs(spectrum[:4]) ** 2).sum()

    kept = np.fft.fft(x) * (np.arange(16) < 4)
    np.testing.assert_allclose(grad(power)(x), 2 * 16 * np.fft.ifft(kept).real, atol=1e-10)
    np.testing.assert_allclose(
        jacfwd(fft, holomorphic=True)(x + 0j), np.fft.fft(np.eye(16)), atol=1e-12
    )


def contour(a, r):
    """The integral of exp(z) / (z - a) over a circle about 0: 2 pi i exp(a)."""
    n, total = 64, 0j
    for k in range(n):
        z = r * np.exp(2j * np.pi * k / n)
        total += np.exp(z) / (z - a) * z * 2j * np.pi / n
    return total


def test_a_contour_integral_in_a_rolled_loop() -> None:
    a = 0.3 + 0.2j
    assert jit(contour)(a, 2.0) == pytest.approx(2j * np.pi * np.exp(a))
    slope = grad(contour, holomorphic=True)
    assert slope(a, 2.0 + 0j) == pytest.approx(2j * np.pi * np.exp(a))
    assert [e.op.name for e in trace(slope)(a, 2.0 + 0j).eqns].count("for") == 2
    moved = jvp(lambda r: contour(a, r), (2.0,), (1.0,))[1]
    assert abs(moved) < 1e-9  # it does not depend on the circle


def test_loops_branches_and_writes() -> None:
    def newton(c):
        z = 1.0 + 1.0j
        while np.abs(z * z - c) > 1e-12:
            z = 0.5 * (z + c / z)
        return z

    c = 2.0 + 1.0j
    root = jit(newton)(c)
    assert root == pytest.approx(np.sqrt(c))
    assert grad(newton, holomorphic=True)(c) == pytest.approx(0.5 / root, rel=1e-8)

    def recurrence(z):
        y = np.zeros(8, complex)
        y[0] = z[0]
        for i in range(1, 8):
            y[i] = y[i - 1] * z[i % 3] + (1j if i % 2 else z[0])
            if y[i].real > 0:
                y[i] *= 0.5
        y[2:4] = y[4:6] * 2
        return y

    check_grads(lambda z: np.abs(recurrence(z)).sum(), (Z[:3],))
    check_grads(lambda a: (a @ a).T @ a[0], (Z[:4].reshape(2, 2),))
    check_grads(lambda a, b: np.linalg.solve(a, b), (Z[:4].reshape(2, 2), Z[:2]))
    check_grads(checkpoint(lambda z: np.exp(z) * z), (Z[:3],))


@pytest.mark.parametrize(
    "shapes", [((9,), (9, 7)), ((9, 8), (8,)), ((9, 8), (8, 7)), ((2, 9, 8), (2, 8, 7))]
)
def test_products_that_are_no_loops(shapes) -> None:
    """Too large to be written out as real products: BLAS multiplies complex numbers."""
    a, b = (RNG.normal(size=s) + 1j * RNG.normal(size=s) for s in shapes)
    check_grads(lambda a, b: np.abs(a @ b).sum(), (a, b))
    check_grads(lambda a: (a @ b).real, (a.real,))
    check_grads(lambda b: np.vdot(a @ b, a @ b), (b,))

    def along(a, b):
        return np.abs(a @ b).sum()

    stacked = np.stack([a, a * 1j, a + 1.0]), np.stack([b, b - 1j, b])
    for axes in ((0, 0), (0, None), (None, 0)):
        args = [s if axis == 0 else s[0] for s, axis in zip(stacked, axes)]
        got = vmap(grad(along, argnums=(0, 1)), in_axes=axes)(*args)
        for k in range(3):
            lane = [s[k if axis == 0 else 0] for s, axis in zip(stacked, axes)]
            for g, expected in zip(got, grad(along, argnums=(0, 1))(*lane)):
                np.testing.assert_allclose(g[k], expected, rtol=1e-11, atol=1e-12)


def test_products_of_pieces_with_extents_of_the_program() -> None:
    basis = np.exp(-2j * np.pi * np.outer(np.arange(6), np.arange(4)) / 6)

    def spectrogram(x, hop, width):
        power = np.empty((1 + (len(x) - width) // hop, 4))
        for t in range(len(power)):
            power[t] = np.abs(x[t * hop : t * hop + width] @ basis) ** 2
        return power

    check_grads(lambda x: spectrogram(x, 3, 6), (RNG.normal(size=24),))
    x, hop, width = RNG.normal(size=24), np.int64(3), np.int64(6)
    slope = grad(lambda x, hop, width: spectrogram(x, hop, width).sum())(x, hop, width)
    np.testing.assert_allclose(slope, grad(lambda x: spectrogram(x, 3, 6).sum())(x), rtol=1e-12)
    assert np.abs(slope).max() > 1


def test_in_the_ir() -> None:
    """Transforms of Functions take and give complex numbers too."""
    f = trace(lambda z: np.abs(z * z).sum())(Z)
    g = transforms.value_and_grad(f, [0])
    ir.verify(g)
    assert [v.dtype for v in g.results] == [ir.types.f64, ir.types.c128]
    assert ir.parse(str(g)) == g
    pushed, moving = transforms.jvp(trace(np.sin)(Z), [True])
    ir.verify(pushed)
    assert moving == (True,)
    assert [p.dtype for p in pushed.params] == [ir.types.c128] * 2


# -- refused ---------------------------------------------------------------------------------------


def test_what_has_no_complex_derivative() -> None:
    with pytest.raises(errors.DifferentiationError, match="returns c128") as caught:
        grad(lambda z: z * z)(1j)
    assert "holomorphic=True" in str(caught.value)
    with pytest.raises(errors.DifferentiationError, match="is float64, with holomorphic"):
        grad(lambda z: z * 1j, holomorphic=True)(1.0)
    with pytest.raises(errors.DifferentiationError, match=r"returns f64\[\]"):
        grad(lambda z: z.real, holomorphic=True)(1j)
    with pytest.raises(errors.DifferentiationError, match="complex argument"):
        jacfwd(np.sin)(Z)
    with pytest.raises(errors.DifferentiationError, match="complex result"):
        jacrev(np.sin)(Z)
