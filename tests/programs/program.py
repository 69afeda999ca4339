"""What the corpus knows of a program: its function, its arguments, and how closely to compare.

heat = Program("heat_1d", heat_1d, _rod, {"test": {"n": 12}, "bench": {"n": 10_000}})
heat.fn(*heat.arguments("test"))
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Program:
    """A whole NumPy program of the corpus.

    Attributes:
        name: unique in the corpus.
        fn: the program, a plain function. It may change its arguments in place.
        make: `make(rng, **size)` builds a tuple of arguments, all fresh.
        sizes: by name ("test", "bench"), the keywords of `make`. NumPy needs a few milliseconds
            for "test" and 5 to 500 for "bench".
        numba: whether `numba.njit` takes the same source unchanged, helpers compiled likewise.
        tolerance: how far a float may be from NumPy's, as a fraction of the largest magnitude in
            its array: reductions may be summed in another order. Everything else is exact.
    """

    name: str
    fn: Callable[..., Any]
    make: Callable[..., tuple[Any, ...]]
    sizes: Mapping[str, Mapping[str, int]]
    numba: bool = False
    tolerance: float = 1e-12

    def arguments(self, size: str, seed: int = 0) -> tuple[Any, ...]:
        """Arguments of the named size; the same values, in fresh arrays, for the same seed."""
        return self.make(np.random.default_rng(seed), **self.sizes[size])
