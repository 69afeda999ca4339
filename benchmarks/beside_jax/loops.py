"""Programs of tests/programs that are loops with writes, and the same in JAX, twice.

case = CASES[0]
case.ours(*case.make(rng))                   # the program as it stands, its results weighed
case.theirs["direct"](*case.make(rng))       # the same number by a port that keeps its loops
case.theirs["rearranged"](*case.make(rng))   # and by one that is made for JAX
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from programs import PROGRAMS

from . import direct, rearranged
from .case import Case


def _case(name: str, varied: tuple[int, ...], tolerance: float = 1e-9) -> Case:
    """Results or the changed argument of a program, weighed by the first argument; derivatives are
    taken in the arguments `varied`. Numbers among the program's arguments are constants."""
    program = PROGRAMS[name]
    numbers = tuple(x for x in program.arguments("bench") if not isinstance(x, np.ndarray))

    def run(arrays: Sequence[Any]) -> tuple[Any, ...]:
        own = [x.copy() for x in arrays]
        result = program.fn(*own, *numbers)
        return _tuple(own[0] if result is None else result)

    def ours(weights: Any, *arrays: Any) -> Any:
        return sum(np.sum(w * x) for w, x in zip(weights, run(arrays)))

    def weighed(port: Any) -> Any:
        def theirs(weights: Any, *arrays: Any) -> Any:
            results = _tuple(port(*arrays, *numbers))
            return sum(jnp.sum(w * x) for w, x in zip(weights, results))

        return theirs

    def make(rng: np.random.Generator) -> tuple[Any, ...]:
        arrays = [x for x in program.arguments("bench") if isinstance(x, np.ndarray)]
        weights = tuple(rng.standard_normal(np.shape(x)) for x in run(arrays))
        return weights, *arrays

    ports = {
        "direct": weighed(getattr(direct, name)),
        "rearranged": weighed(getattr(rearranged, name)),
    }
    return Case(name, "loop", ours, ports, make, varied, tolerance)


def _tuple(results: Any) -> tuple[Any, ...]:
    return results if isinstance(results, tuple) else (results,)


CASES = (
    _case("gauss_seidel", (1,)),
    _case("cholesky", (1,)),
    _case("ldl", (1,)),
    _case("lu", (1,)),
    _case("modified_gram_schmidt", (1,), 1e-7),
    _case("gauss_jordan", (1,), 1e-7),
    _case("durbin", (1,)),
    _case("thomas", (1, 2, 3, 4)),
    _case("time_warping", (1, 2)),
    _case("biquads", (1, 2)),
    _case("rope", (1, 2)),
    _case("planets", (1, 2, 3)),
)
