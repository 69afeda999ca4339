"""What is measured beside JAX: one function in NumPy, the same in JAX, and arguments for both.

theirs = {"rearranged": lambda x: (x * x).sum()}
case = Case("square", "dense", lambda x: (x * x).sum(), theirs, make, (0,))
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Case:
    """A function with one number for a result, written twice.

    Attributes:
        name: unique in the table.
        kind: "loop" or "dense".
        ours: the function on NumPy arrays, for jitnet.
        theirs: the same on JAX arrays, by the way in which it is written: of loops the "direct"
            port, which keeps the program's loops and writes, and one that is "rearranged" for JAX;
            of dense functions, where there is nothing to keep, the latter only.
        make: `make(rng)` builds a tuple of arguments, all fresh: trees of arrays.
        varied: which arguments derivatives are taken in.
        tolerance: how far gradients may differ, as a fraction of the largest magnitude in each.
    """

    name: str
    kind: str
    ours: Callable[..., Any]
    theirs: dict[str, Callable[..., Any]]
    make: Callable[[np.random.Generator], tuple[Any, ...]]
    varied: tuple[int, ...]
    tolerance: float = 1e-9
