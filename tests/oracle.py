"""NumPy as the oracle: a function run as it is, and compiled, on the same arguments.

    check(lambda x: x + 1, np.arange(3))            equal in class, dtype, shape and bits
    check(np.exp, x, ulp=4)                         floats within 4 ULP
    check(lambda x: x.sum(0), x, rtol=1e-12)        floats within 1e-12 of the largest element
    check_raises(lambda x: x[9], x)                 an exception of NumPy's class

A function may return any tree of tuples, lists and dicts: many results in one function are compiled
together, which is what keeps these tests quick.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import jitnet

_ORDERED = {2: np.int16, 4: np.int32, 8: np.int64}


def check(fn: Callable[..., Any], *args: Any, ulp: int = 0, rtol: float = 0.0) -> Any:
    """Run `fn` as it is and compiled, and compare; what NumPy gave comes back.

    Args:
        fn: any function of arrays and numbers.
        args: its arguments.
        ulp: how many floats of its dtype a float may be off.
        rtol: how far a float may be off, as a fraction of the largest magnitude of its array.
    """
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of empty slices: jitnet does not warn
        expected = fn(*args)
    got = jitnet.jit(fn)(*args)
    compare(got, expected, ulp, rtol)
    return expected


def check_raises(fn: Callable[..., Any], *args: Any) -> None:
    """Both raise, and what jitnet raises is of the class that NumPy raises, or of one below it."""
    with pytest.raises(Exception) as info, np.errstate(all="ignore"):
        fn(*args)
    numpys = info.type
    while numpys.__module__.startswith("numpy._core") or numpys.__module__.startswith("pytest"):
        numpys = numpys.__base__  # a private class of NumPy's: what users can name is its base
    with pytest.raises(numpys):
        jitnet.jit(fn)(*args)


def compare(got: Any, expected: Any, ulp: int = 0, rtol: float = 0.0, where: str = "") -> None:
    """Refuse results that differ in class, dtype, shape or, beyond the tolerance, in bits."""
    assert type(got) is type(expected), f"{where}: {got!r} against NumPy's {expected!r}"
    if isinstance(expected, (tuple, list)):
        assert len(got) == len(expected), where
        for i, (a, b) in enumerate(zip(got, expected)):
            compare(a, b, ulp, rtol, f"{where}[{i}]")
    elif isinstance(expected, dict):
        assert list(got) == list(expected), where
        for key in expected:
            compare(got[key], expected[key], ulp, rtol, f"{where}[{key!r}]")
    elif isinstance(expected, (np.ndarray, np.generic)):
        _compare_arrays(got, expected, ulp, rtol, where)
    elif isinstance(expected, (float, complex)):
        _compare_arrays(np.asarray(got), np.asarray(expected), ulp, rtol, where)
    else:
        assert got == expected, f"{where}: {got!r} against NumPy's {expected!r}"


def _compare_arrays(got: Any, expected: Any, ulp: int, rtol: float, where: str) -> None:
    assert got.dtype == expected.dtype, f"{where}: {got.dtype} against NumPy's {expected.dtype}"
    assert got.shape == expected.shape, f"{where}: {got.shape} against NumPy's {expected.shape}"
    a, b = np.atleast_1d(got), np.atleast_1d(expected)
    if b.dtype.kind == "c":  # as pairs of floats
        a, b = (np.ascontiguousarray(v).view(b.real.dtype) for v in (a, b))
    if b.dtype.kind != "f":
        wrong = a != b
    else:
        wrong = ~_close(a, b, ulp, rtol)
    if wrong.any():
        first = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise AssertionError(
            f"{where}: {wrong.sum()} of {wrong.size} differ, first at {first}: "
            f"{a[first]!r} against NumPy's {b[first]!r}"
        )


def _close(a: np.ndarray, b: np.ndarray, ulp: int, rtol: float) -> np.ndarray:
    same = (_ordered(a) == _ordered(b)) | (np.isnan(a) & np.isnan(b))
    finite = np.isfinite(a) & np.isfinite(b)
    if ulp:
        with np.errstate(over="ignore"):
            same |= finite & (np.abs(_ordered(a) - _ordered(b)) <= ulp)
    if rtol:
        largest = np.max(np.abs(b), initial=0, where=finite)
        apart = np.abs(np.where(finite, a, 0) - np.where(finite, b, 0))
        same |= finite & (apart <= rtol * largest)
    return same


def _ordered(x: np.ndarray) -> np.ndarray:
    """Floats as integers that count them: neighbours differ by one, -0.0 and 0.0 too."""
    kind = _ORDERED[x.dtype.itemsize]
    bits = np.ascontiguousarray(x).view(kind)
    return np.where(bits < 0, np.iinfo(kind).min - bits - 1, bits)
