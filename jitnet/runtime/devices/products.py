"""Matrix products as a device's library is asked for them, and their reference in NumPy.

    Problem(64, 70, 100, 1, kinds=("f32", "f32"), leads=(100, 70, 70), epilogue="bias", ...)

C = A B of row-major matrices, `count` times. What is the same for all addresses is in the problem:
a library looks for the way to do it once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from jitnet.codegen.cuda.library import ADD, BIAS

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Problem:
    """Attributes:
    m, n, k: C is m x n, and k products are summed up.
    count: of the matrices.
    transposed: whether A and B lie as their transposes.
    kinds: of the elements of A and B, and of C and what the epilogue reads.
    leads: the distance of rows, in elements: of A, B, C, and of what is added.
    steps: the same from one matrix to the next one.
    epilogue: what else is done.
    """

    m: int
    n: int
    k: int
    count: int
    transposed: tuple[bool, bool]
    kinds: tuple[str, str]
    leads: tuple[int, ...]
    steps: tuple[int, ...]
    epilogue: str

    @property
    def stored(self) -> list[tuple[int, int]]:
        """Rows and columns of A, B, C and what is added, as they lie."""
        m, n, k = self.m, self.n, self.k
        a = (k, m) if self.transposed[0] else (m, k)
        b = (n, k) if self.transposed[1] else (k, n)
        return [a, b, (m, n), (m, n)][: len(self.leads)]


def compute(problem: Problem, a: Array, b: Array, c: Array, extra: Array | None) -> None:
    """The reference.

    Args:
        a, b, c, extra: flat memory; elements of complex kinds are complex numbers.
    """
    both = [*(a, b, c), *([extra] if problem.epilogue == ADD and extra is not None else [])]
    left, right, out, *added = (_stack(problem, i, x) for i, x in enumerate(both))
    with np.errstate(all="ignore"):
        if left.dtype.itemsize == 2:
            left, right = left.astype(np.float32), right.astype(np.float32)
        x = left.swapaxes(1, 2) if problem.transposed[0] else left
        y = right.swapaxes(1, 2) if problem.transposed[1] else right
        product = x @ y
        if problem.epilogue == BIAS:
            assert extra is not None
            product = product + extra[: problem.n]
        for matrix in added:
            product = product + matrix
        out[...] = product.astype(out.dtype)


def _stack(problem: Problem, i: int, flat: Array) -> Array:
    """All matrices of an operand, as they lie."""
    (rows, columns), lead, step = problem.stored[i], problem.leads[i], problem.steps[i]
    assert lead >= columns, "rows that lie over each other"
    last = (problem.count - 1) * step + (rows - 1) * lead + columns
    assert last <= flat.size, "out of memory"
    size = flat.itemsize
    return as_strided(flat, (problem.count, rows, columns), (step * size, lead * size, size))
