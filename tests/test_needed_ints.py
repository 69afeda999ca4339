"""Int arguments that are needed while tracing: the call is compiled for their values.

Branches on ints whose arms do not fit together, recursion on two ints, shapes of NumPy's functions
that compute with extents, lengths of deques.
"""

from __future__ import annotations

from collections import deque

import numpy as np
import pytest
from agreement import agree

from jitnet import errors, jit

X = np.arange(6.0) - 2


def test_branches_whose_arms_do_not_fit_together() -> None:
    def returned(x, mode):
        if mode == 0:
            return x
        return 0.0

    def chosen(x, mode):
        return (x if mode else x.sum()) * 2

    def items(x, mode):
        d = {"x": x}
        if mode > 1:
            d["y"] = x * 2
        return d

    def log(x, mode):
        seen = []
        if mode == 0:
            return x.sum(), seen
        seen.append("body")
        return x * mode, seen

    for fn in (returned, chosen, items, log):
        agree(fn, *((X, mode) for mode in (0, 1, 3)))


def test_branches_of_data_are_refused_still() -> None:
    def items(x, mode):
        d = {"x": x}
        if x[0] > mode:
            d["y"] = x * 2
        return d

    with pytest.raises(errors.JitnetError):
        jit(items)(X, 1)


def test_recursion_on_two_ints() -> None:
    """Each level has two ints of the level before: who asks for these must not ask twice."""

    def bezout(a, b):
        if b == 0:
            return a, 1, 0
        g, x, y = bezout(b, a % b)
        return g, y, x - (a // b) * y

    agree(lambda a, b: bezout(a, b), (10, 3), (89, 55), (7, 7))


def test_extents_that_numpy_computes_with() -> None:
    def savgol(y, window, degree):
        half = window // 2
        basis = np.vander(np.arange(-half, half + 1, dtype=float), degree + 1, increasing=True)
        weights = np.linalg.solve(basis.T @ basis, basis.T)[0]
        return np.convolve(np.pad(y, half, mode="reflect"), weights[::-1], mode="valid")

    y = np.sin(np.arange(30.0))
    for window, degree in ((5, 2), (7, 3)):
        np.testing.assert_allclose(jit(savgol)(y, window, degree), savgol(y, window, degree))


def test_lengths_of_deques() -> None:
    def last(x, size):
        kept = deque(maxlen=size)
        for v in x:
            kept.append(v)
        return np.array(kept)

    agree(last, (X, 2), (X, 4))
