"""Functions written twice, in NumPy and in JAX, for `benchmarks/gradients_beside_jax.py`.

from beside_jax import CASES
case = CASES["rope"]
"""

from __future__ import annotations

from . import dense, loops
from .case import Case

CASES: dict[str, Case] = {case.name: case for case in (*loops.CASES, *dense.CASES)}

__all__ = ["CASES", "Case"]
