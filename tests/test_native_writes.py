"""Native entries of functions that write to their arguments: what they write is NumPy's, memory
that arguments share goes to Python, errors are raised once, read-only arrays stay as they are."""

from __future__ import annotations

import traceback
from typing import Any

import numpy as np
import pytest

from jitnet import errors, jit
from jitnet.frontend import jitted
from jitnet.runtime.vectorcall import NativeCallable

pytestmark = pytest.mark.skipif(NativeCallable is object, reason="not this interpreter")


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jitted, "NATIVE_AFTER", 1)


def warm(f: Any, *make: Any) -> Any:
    """`f` jitted, with an entry for such calls."""
    compiled = jit(f)
    for _ in range(3):
        compiled(*(m() for m in make))
    assert compiled._entry is not None
    return compiled


def is_native(f: Any, *args: Any) -> bool:
    before = f._native_hits.value
    f(*args)
    return bool(f._native_hits.value > before)


def smooth(u, v):
    u[1:-1] += 0.5 * (v[2:] - v[:-2])


def add_to(u, v):
    return np.add(u, v, out=u)


def swap(u, v):
    u[:], v[:] = v.copy(), u.copy()
    return u, v, u.sum()


def fill(u, v):
    for i in range(len(u)):
        u[i] = v[i] * i


def vector():
    return np.arange(10.0)


def ones():
    return np.ones(10)


@pytest.mark.parametrize("function", [smooth, add_to, swap, fill])
def test_writes(function):
    compiled = warm(function, vector, ones)
    for u, v in [(vector(), ones()), (ones() * 3, vector()), (np.full(10, np.nan), vector())]:
        own = u.copy(), v.copy()
        expected = function(u, v)
        assert is_native(compiled, *(x.copy() for x in own))
        got = compiled(*own)
        np.testing.assert_array_equal(own[0], u)
        np.testing.assert_array_equal(own[1], v)
        if function is add_to:
            assert got is own[0]
        elif function is swap:
            assert got[0] is own[0]
            assert got[1] is own[1]
            assert got[2] == expected[2]


OVERLAPS = [
    lambda x: (x[:10], x[:10]),
    lambda x: (x[:10], x[5:15]),
    lambda x: (x[5:15], x[:10]),
    lambda x: (x[:10], x[9::-1]),
    lambda x: (x[:20:2], x[1:21:2]),
]


@pytest.mark.parametrize("function", [smooth, add_to, swap, fill])
@pytest.mark.parametrize("parts", OVERLAPS)
def test_memory_that_arguments_share(function, parts):
    compiled = warm(function, vector, ones)
    x, y = np.arange(30.0), np.arange(30.0)
    function(*parts(x))
    compiled(*parts(y))
    np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("function", [smooth, add_to, fill])
def test_strided_memory(function):
    compiled = warm(function, lambda: np.arange(30.0)[::3], lambda: np.arange(20.0)[::-2])
    x, y = np.arange(60.0), np.arange(60.0)
    for parts in (
        lambda z: (z[:30:3], z[58:38:-2]),
        lambda z: (z[:30:3], z[27::-3]),
        lambda z: (z[29::-3], z[30::3]),
        lambda z: (z[:30:3], z[1:31:3]),
    ):
        function(*parts(x))
        compiled(*parts(y))
        np.testing.assert_array_equal(x, y)
    assert is_native(compiled, y[:30:3], y[30::3])
    assert not is_native(compiled, y[:30:3], y[1:31:3])  # NumPy too says that they may share memory


def test_neighbours_are_native():
    compiled = warm(add_to, vector, ones)
    x = np.arange(30.0)
    assert is_native(compiled, x[:10], x[10:20])
    assert is_native(compiled, x[10:20], x[:10])
    assert not is_native(compiled, x[10:20], x[1:11])


def test_read_only_arrays_are_refused():
    compiled = warm(add_to, vector, ones)
    x, y = vector(), ones()
    x.flags.writeable = False
    y.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        compiled(x, ones())
    np.testing.assert_array_equal(x, vector())
    np.testing.assert_array_equal(compiled(vector(), y), vector() + 1)


def test_errors_are_raised_once_and_in_place():
    def put(u, i):
        u[0] += 1.0
        u[i] = 5.0
        return u

    compiled = warm(put, vector, lambda: 3)
    u = np.zeros(10)
    with pytest.raises(IndexError, match="index 77 is out of bounds") as caught:
        compiled(u, 77)
    assert u[0] <= 1.0
    assert isinstance(caught.value, errors.JitnetError)
    files = {frame.filename for frame in traceback.extract_tb(caught.value.__traceback__)}
    assert __file__ in files
    assert len(files) == 2  # and the frame that raises it again, without those behind it
    assert is_native(compiled, u, 4)
    assert u[4] == 5.0


def test_an_error_that_what_was_written_takes_away():
    def once(u):
        if u[0] > 0:
            u[0] = -1.0
            raise ValueError("positive")
        u[1] += 1

    compiled = warm(once, lambda: -np.ones(3))
    u = np.ones(3)
    with pytest.raises(ValueError, match="positive"):
        compiled(u)
    np.testing.assert_array_equal(u[1:], [1.0, 1.0])


def test_more_arrays_and_numbers():
    def step(x, v, m, dt):
        v -= dt * x / m
        x += dt * v
        return float(m) * (v**2).sum()

    make = (vector, ones, lambda: 2.0, lambda: 0.25)
    compiled = warm(step, *make)
    own, plain = [m() for m in make], [m() for m in make]
    for _ in range(5):
        assert compiled(*own) == step(*plain)
        np.testing.assert_array_equal(own[0], plain[0])
        np.testing.assert_array_equal(own[1], plain[1])


@pytest.mark.parametrize("dtype", [np.float32, np.complex128, np.int64, np.bool_])
def test_dtypes(dtype):
    def step(u, v):
        u[::2] = v[::2]
        u[1] = u[0]

    def make():
        return (np.arange(10) % 3).astype(dtype)

    compiled = warm(step, make, make)
    u, v, w = make(), make()[::-1].copy(), make()
    step(w, v)
    assert is_native(compiled, u, v)
    np.testing.assert_array_equal(u, w)


def test_matrices_of_any_order():
    def step(a, b):
        a += b.T

    compiled = warm(step, lambda: np.ones((3, 4), order="F"), lambda: np.ones((4, 3)))
    a, b = np.asfortranarray(np.arange(12.0).reshape(3, 4)), np.arange(12.0).reshape(4, 3)
    expected = a + b.T
    assert is_native(compiled, a, b)
    np.testing.assert_array_equal(a, expected)
    one = np.zeros((4, 3))
    compiled(one.T, one)
    np.testing.assert_array_equal(one, 0.0)
