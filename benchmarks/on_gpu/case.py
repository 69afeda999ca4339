"""What is measured on a GPU: a NumPy function, its arguments, and the bytes that it has to move.

def make(rng, small): return (rng.standard_normal(100 if small else 1 << 26, "f4"),)
case = Case("gelu", "memory", functions.gelu, make, least=lambda x: 2 * x.nbytes)

Peers have their own version of it under the function's name (`in_jax.VERSIONS["gelu"]`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Case:
    """Attributes:
    name: unique in its section.
    section: "memory", "beside", "calls" or "products".
    fn: the function, for jitnet.
    make: `make(rng, small)` builds the arguments on the host.
    static: positions of arguments that are compiled in.
    least: the bytes that have to be read and written, of the arguments; None: nobody knows.
    work: floating-point operations, of the arguments.
    compared: what of a result is compared.
    differentiated: whether plain NumPy cannot call the function.
    tolerance: how far results may differ, as a part of the largest magnitude in each.
    """

    name: str
    section: str
    fn: Callable[..., Any]
    make: Callable[[np.random.Generator, bool], tuple[Any, ...]]
    static: tuple[int, ...] = ()
    least: Callable[..., int] | None = None
    work: Callable[..., int] | None = None
    compared: Callable[[Any], Any] = lambda result: result
    differentiated: bool = False
    tolerance: float = 1e-4

    @property
    def key(self) -> str:
        """What peers call their version."""
        return self.fn.__name__


class Blank(np.random.Generator):
    """Draws zeros, in memory that nobody has touched: arguments to compile for."""

    def __init__(self) -> None:
        super().__init__(np.random.PCG64(0))

    def standard_normal(self, size: Any = None, dtype: Any = np.float64, out: Any = None) -> Any:
        return np.zeros(size, dtype)

    def integers(self, low: Any, high: Any = None, size: Any = None, *args: Any) -> Any:  # type: ignore[override]
        return np.zeros(size, np.int64)


def leaves(tree: Any) -> list[Any]:
    """The arrays and numbers in dicts, tuples and lists."""
    if isinstance(tree, dict):
        return [leaf for key in sorted(tree) for leaf in leaves(tree[key])]
    if isinstance(tree, (tuple, list)):
        return [leaf for part in tree for leaf in leaves(part)]
    return [tree]


def mapped(fn: Callable[[Any], Any], tree: Any) -> Any:
    """The tree with another leaf for each."""
    if isinstance(tree, dict):
        return {key: mapped(fn, value) for key, value in tree.items()}
    if isinstance(tree, (tuple, list)):
        return type(tree)(mapped(fn, value) for value in tree)
    return fn(tree)


def difference(found: Any, expected: Any) -> float:
    """The largest distance of two leaves, as a part of the largest magnitude expected there."""
    worst = 0.0
    for a, b in zip(leaves(found), leaves(expected), strict=True):
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        if a.shape != b.shape:
            raise ValueError(f"a result is {a.shape}, and should be {b.shape}")
        if a.size:
            off = np.abs(a - b).max() / max(np.abs(b).max(), 1e-30)
            worst = max(worst, float(off) if np.isfinite(off) else np.inf)
    return worst
