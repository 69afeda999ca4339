"""Complex numbers in NumPy's API: promotion, parts, functions, methods, whole programs, calls."""

from __future__ import annotations

import cmath
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from test_complex import A, V, numbers

import jitnet
from jitnet import errors
from jitnet.ir import types as T


def agree(fn: Callable[..., Any], *args: Any, exact: bool = False) -> None:
    expected, actual = fn(*args), jitnet.jit(fn)(*args)
    if not isinstance(expected, tuple):
        expected, actual = (expected,), (actual,)
    for e, a in zip(expected, actual, strict=True):
        assert type(a) is type(e)
        assert np.asarray(a).dtype == np.asarray(e).dtype
        if exact:
            np.testing.assert_array_equal(a, e)
        else:
            tolerance = 1e-5 if np.asarray(e).dtype in (np.float32, np.complex64) else 1e-13
            np.testing.assert_allclose(a, e, rtol=tolerance, atol=tolerance)


def test_promotion() -> None:
    x = numbers((5,), T.c64)
    agree(lambda x: (x * 2, x + 1.5, x - 1j, x * np.float64(2), x / np.complex128(1j)), x)
    agree(lambda x: (x.real * 1j, x.real.astype(np.float64) * 1j, x.real + np.complex64(2)), x)
    agree(lambda n, t: (n * 1j, t + 2j, n + t * 1j), 3, 2.5)
    agree(lambda m: (m * 1j, m + 0j), np.array([True, False]))


def test_parts() -> None:
    x = numbers((2, 3))
    agree(
        lambda x: (x.real, x.imag, x.conj(), x.conjugate(), np.conj(x), np.real(x)), x, exact=True
    )
    agree(lambda x: (np.angle(x), np.angle(x, deg=True), np.abs(x), abs(x)), x)
    agree(lambda x: (np.iscomplexobj(x), np.isrealobj(x), np.iscomplex(x), np.isreal(x)), x)
    agree(lambda x: (x.imag, np.real(x), np.imag(x), x.conj(), np.iscomplexobj(x)), x.real)
    agree(lambda n: (n.real, n.imag, n.conjugate()), 3)
    agree(lambda x: np.angle(x), x.real)


def test_parts_are_views() -> None:
    def mutate(x: Any) -> Any:
        y = x.copy()
        re, column = y.real, y.imag[:, 1]
        y[0, 0] = 7 - 2j
        re[1] = 5
        y.imag += 1
        y.real[:, ::2] *= 2
        return y, re, column

    agree(mutate, numbers((3, 4)), exact=True)


def test_python_complex_numbers() -> None:
    """Bit for bit as CPython computes."""
    names = ["add", "sub", "mul", "truediv", "eq", "ne"]
    for name in names:
        agree(
            lambda a, b, name=name: getattr(operator, name)(a, b),
            1.3 - 0.7j,
            -2.1 + 0.4j,
            exact=True,
        )
        agree(lambda a, b, name=name: getattr(operator, name)(a, b), 1.3 - 0.7j, 0.3, exact=True)
        agree(lambda a, b, name=name: getattr(operator, name)(b, a), 1.3 - 0.7j, 3, exact=True)
    agree(lambda z: (-z, +z, abs(z), z.real, z.imag, z.conjugate()), 1.3 - 0.7j, exact=True)
    agree(lambda z: (z**2, z**-3, z**0.5, 2**z, z**z), 1.3 - 0.7j)
    with pytest.raises(ZeroDivisionError):
        jitnet.jit(lambda z: z / (z - z))(1j)
    with pytest.raises(ZeroDivisionError):
        jitnet.jit(lambda z: (z - z) ** -1)(1j)
    with pytest.raises(TypeError):
        jitnet.jit(lambda z: z < 1j)(2j)
    with pytest.raises(TypeError):
        jitnet.jit(lambda z: z // 2)(2j)


CMATH = [cmath.exp, cmath.log, cmath.log10, cmath.sqrt, cmath.sin, cmath.cos, cmath.tan]
CMATH += [cmath.asin, cmath.acos, cmath.atan, cmath.sinh, cmath.cosh, cmath.tanh, cmath.asinh]
CMATH += [cmath.acosh, cmath.atanh, cmath.phase, cmath.polar, cmath.isfinite, cmath.isnan]
CMATH += [cmath.isinf, cmath.isclose, cmath.rect]


@pytest.mark.parametrize("fn", CMATH, ids=lambda fn: fn.__name__)
def test_cmath(fn: Callable[..., Any]) -> None:
    def apply(z: Any, x: Any) -> Any:
        if fn is cmath.isclose:
            return fn(z, z + 1e-12 * x), fn(z, x)
        return fn(x, z.real) if fn is cmath.rect else (fn(z), fn(x), fn(z * x))

    for z in (0.3 - 1.7j, -2 + 0.5j):
        got, expected = jitnet.jit(apply)(z, 0.25), apply(z, 0.25)
        for g, e in zip(
            *([v] if isinstance(v, complex) else v for v in (got, expected)), strict=True
        ):
            assert type(g) is type(e)
            np.testing.assert_allclose(g, e, rtol=1e-14)


def test_errors_of_cmath() -> None:
    for fn, bad, error in (
        (cmath.log, 0j, ValueError),
        (cmath.atanh, 1 + 0j, ValueError),
        (cmath.atan, 1j, ValueError),
        (cmath.exp, 1000 + 1j, OverflowError),
        (cmath.cosh, 1000 + 1j, OverflowError),
    ):
        with pytest.raises(error):
            fn(bad)
        with pytest.raises(error):
            jitnet.jit(lambda z, fn=fn: fn(z))(bad)
    agree(lambda z: cmath.log(z, 2), 3 + 1j)


def test_numpy_scalars() -> None:
    z, w = np.complex128(1.3 - 0.7j), np.complex64(0.2 + 2j)
    agree(lambda z, w: (z * w, z + 1, z / w, -z, abs(z), z == w, z.real, w.imag), z, w, exact=True)
    agree(lambda z, w: (np.exp(z), z**2, w**3, np.sqrt(w), np.sign(z)), z, w)


def test_reductions() -> None:
    x = numbers((4, 5))
    agree(lambda x: (x.sum(), x.sum(0), x.mean(), x.mean(1), x.prod(), x.prod(0)), x)
    agree(lambda x: (x.std(), x.var(0), np.linalg.norm(x), np.linalg.norm(x, axis=0), x.trace()), x)
    agree(lambda x: (x.any(), x.all(1), x.max(), x.min(0), x.argmax(), x.argmin(1)), x)
    agree(lambda x: (x.cumsum(), x.cumsum(1), x.cumprod(0), np.nansum(x), np.nanmean(x)), x)
    agree(lambda x: (np.count_nonzero(x), np.average(x), np.ptp(x), np.sum(x, where=x.real > 0)), x)


def test_products() -> None:
    x, y = numbers((3, 4), seed=4), numbers((3, 4), seed=5)
    agree(lambda x, y: (x @ y.T, np.dot(x, y.T), np.inner(x, y), np.outer(x, y)), x, y)
    agree(lambda x, y: (np.vdot(x, y), np.vecdot(x, y), np.einsum("ij,kj->ik", x, y)), x, y)
    agree(lambda x, y: (np.tensordot(x, y, 2), np.kron(x, y), x.real @ y.T), x, y)
    agree(lambda x, y: (np.vecmat(x, y[:, :3].T @ x), np.matvec(x, y)), x[:, :3], y[:, :3])


def test_choosing_and_rounding() -> None:
    x = numbers((3, 4))
    agree(lambda x: (np.where(x.real > 0, x, 0), np.where(x.real > 0, x, 1.5), np.round(x, 1)), x)
    agree(lambda x: (np.isclose(x, x + 1e-12), np.allclose(x, x), np.array_equal(x, x)), x)
    agree(lambda x: (np.nan_to_num(x), np.clip(x, -1, 1), np.maximum(x, 1j), x < 0.5), x)
    agree(lambda x: (x == x, x != 0, np.logical_not(x), np.isnan(x), np.isfinite(x)), x)
    agree(lambda x: (np.zeros_like(x), np.ones_like(x), np.full_like(x, 2j), x.astype("c8")), x)
    agree(lambda x: (np.linspace(x[0, 0], 1j, 5), x.astype(np.complex64), np.vander(x[0], 3)), x)


def test_moving() -> None:
    x = numbers((3, 4))
    agree(lambda x: (x[1], x[::-1, 1:], x[[2, 0]], x[x.real > 0], x.T, x.ravel()), x, exact=True)
    agree(lambda x: (np.stack([x, x]), np.concatenate([x, x.real]), np.roll(x, 1)), x, exact=True)
    agree(lambda x: (np.pad(x, 1), np.tile(x, 2)), x, exact=True)


def test_arguments_are_written_to() -> None:
    def change(z: Any) -> None:
        z *= 2j
        z[0] = 1 - 1j

    for z in (A, np.asfortranarray(A), numbers((6, 8))[::2, ::-2], numbers((3, 4), T.c64)):
        expected, actual = z.copy(order="K"), np.array(z, order="K")
        change(expected)
        jitnet.jit(change)(actual)
        np.testing.assert_array_equal(actual, expected)


def test_updates_are_in_place() -> None:
    """Of arguments, both halves at once; in loops, without a copy of the array for each element."""

    def few(z: Any) -> None:
        z[0] = z[0] * z[1] + 1j
        z[1:3] = z[0]
        z *= 2j

    def scan(z: Any) -> None:
        for i in range(1, len(z)):
            z[i] = z[i] * z[i - 1] - 1j

    def swapped(z: Any) -> Any:
        kept = z.imag + 1j * z.real
        z += z.conj()
        return kept

    for fn, copies in ((few, 0), (scan, 0), (swapped, 1)):
        expected, actual = numbers((50,)), numbers((50,))
        cost = jitnet.jit(fn).lower(actual).cost()
        assert cost["copies"] <= copies, fn
        result = fn(expected)
        np.testing.assert_array_equal(jitnet.jit(fn)(actual), result)
        np.testing.assert_array_equal(actual, expected)


def test_fft_by_butterflies() -> None:
    def fft(x: Any) -> Any:
        n = x.shape[0]
        if n == 1:
            return x
        even, odd = fft(x[::2]), fft(x[1::2])
        turned = np.exp(-2j * np.pi * np.arange(n // 2) / n) * odd
        return np.concatenate([even + turned, even - turned])

    x = numbers((32,))
    found = jitnet.jit(fft)(x)
    np.testing.assert_allclose(found, np.fft.fft(x), rtol=1e-12, atol=1e-12)


def test_mandelbrot() -> None:
    def escape(c: Any) -> Any:
        z = np.zeros_like(c)
        count = np.zeros(c.shape, np.int64)
        for _ in range(12):
            inside = z.real * z.real + z.imag * z.imag < 4
            z = np.where(inside, z * z + c, z)
            count = count + inside
        return count, z

    re, im = np.meshgrid(np.linspace(-2, 1, 31), np.linspace(-1, 1, 21))
    agree(escape, re + 1j * im, exact=True)


def test_contour_integral() -> None:
    """Cauchy's formula for exp at 0.3j."""

    def value(radius: float, n: Any) -> Any:
        z = radius * np.exp(2j * np.pi * n / len(n))
        return (np.exp(z) / (z - 0.3j) * z).mean()

    found = jitnet.jit(value)(1.5, np.arange(64))
    np.testing.assert_allclose(found, np.exp(0.3j), rtol=1e-12)
    agree(value, 1.5, np.arange(64))


def test_newton_and_matrices() -> None:
    def roots(z: Any) -> Any:
        for _ in range(8):
            z = z - (z**3 - 1) / (3 * z**2)
        return z, np.abs(z**3 - 1).max() < 1e-10

    agree(roots, numbers((20,)) + 2)
    agree(lambda m, v: m @ v - v.conj() @ m + np.trace(m), numbers((4, 4)), V)


# -- calls and refusals ----------------------------------------------------------------------------


def test_native_entries() -> None:
    f = jitnet.jit(lambda x, s: x * s + 1j)
    for layout in (
        np.ascontiguousarray,
        np.asfortranarray,
        lambda x: np.tile(x, (2, 2))[::2, ::-2],
    ):
        for k in range(60):
            x, s = layout(numbers((3, 4), seed=k)), np.complex128(1 - 1j * k)
            np.testing.assert_array_equal(f(x, s), x * s + 1j)
    assert f.cache_info().misses == 3
    g = jitnet.jit(lambda z: z * z)
    for k in range(60):
        assert g(1 + 1j * k) == (1 + 1j * k) * (1 + 1j * k)
    assert g.cache_info().misses == 1


def test_derivatives() -> None:
    """More of them in test_complex_derivatives."""
    x = np.arange(3.0) + 1
    np.testing.assert_allclose(
        jitnet.grad(lambda x: abs(np.exp(1j * x)).sum())(x), np.zeros(3), atol=1e-15
    )
    z = x + 1j
    np.testing.assert_array_equal(jitnet.grad(lambda z: (z * z.conj()).real.sum())(z), 2 * z.conj())
    with pytest.raises(errors.DifferentiationError, match="returns c128"):
        jitnet.grad(lambda x: (x * 1j).sum())(x)
    mixed = jitnet.grad(lambda x, z: (x * z.real).sum() + abs(z).sum())
    np.testing.assert_array_equal(mixed(x, x + 2j), x)


def test_long_doubles_are_refused() -> None:
    with pytest.raises(errors.UnsupportedDTypeError, match=r"clongdouble|complex256"):
        jitnet.jit(lambda x: x)(np.zeros(2, np.clongdouble))


def test_lists_of_complex_numbers_and_arrays_grow() -> None:
    def orbit(c: Any, v: Any) -> Any:
        z, seen, rows = 0j, [], []
        while abs(z) < 2 and len(seen) < 50:
            z = z * z + c
            seen.append((z, abs(z)))
            if z.real > 0:
                rows.append(v * z)
        total = 0j
        for w, size in seen:
            total = total + w * size
        return np.array([w for w, _ in seen]), total, len(rows)

    v = np.array([1.0, 2j, 3 - 1j])
    for c in (0.3 + 0.5j, -0.8 + 0.1j, 1 + 1j):
        for got, expected in zip(jitnet.jit(orbit)(c, v), orbit(c, v), strict=True):
            assert type(got) is type(expected)
            np.testing.assert_allclose(got, expected, rtol=1e-12)
