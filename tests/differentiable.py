"""A program of the corpus as a function to differentiate: numbers in, one number out.

    loss = Loss(PROGRAMS["lu"])
    loss.fn(floats, rest)              # a plain function: the program on these arguments, weighed
    loss.difference(floats, direction) # what NumPy says of its derivative

The number is a weighted sum of all floats that the program returns or leaves in its arguments.
Arguments in single precision are given in double, and moved by a little: where numbers of the
original arguments tie, or fall on the points of a grid, there is no derivative to compare.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from programs import Program

Tree = Any
Floats = list[Any]


def leaves(tree: Tree) -> Iterator[Any]:
    """Everything in a tree that is no container, in order."""
    if isinstance(tree, (list, tuple)):
        for part in tree:
            yield from leaves(part)
    elif isinstance(tree, dict):
        yield from leaves(list(tree.values()))
    elif dataclasses.is_dataclass(tree):
        yield from leaves([getattr(tree, f.name) for f in dataclasses.fields(tree)])
    else:
        yield tree


def mapped(tree: Tree, change: Callable[[Any], Any]) -> Tree:
    """The tree with `change(leaf)` in the place of each leaf."""
    if isinstance(tree, (list, tuple)):
        parts = [mapped(part, change) for part in tree]
        return tree._make(parts) if hasattr(tree, "_make") else type(tree)(parts)
    if isinstance(tree, dict):
        return {key: mapped(part, change) for key, part in tree.items()}
    if dataclasses.is_dataclass(tree):
        names = [f.name for f in dataclasses.fields(tree)]
        parts = {name: mapped(getattr(tree, name), change) for name in names}
        return dataclasses.replace(tree, **parts)
    return change(tree)


def is_float(leaf: Any) -> bool:
    return isinstance(leaf, float) or (
        isinstance(leaf, (np.ndarray, np.generic)) and leaf.dtype.kind == "f"
    )


def weighed(tree: Tree) -> Any:
    """A sum of the floats in a tree, each with a weight of its own, without those not finite."""
    if isinstance(tree, (list, tuple)):
        total = 0.0
        for part in tree:
            total = total + weighed(part)
        return total
    if isinstance(tree, dict):
        return weighed(list(tree.values()))
    if dataclasses.is_dataclass(tree):
        return weighed([getattr(tree, f.name) for f in dataclasses.fields(tree)])
    if isinstance(tree, (str, type(None))):
        return 0.0
    x = np.asarray(tree)
    if x.dtype.kind == "c":
        return weighed(x.real) + weighed(x.imag[..., ::-1] if x.ndim else x.imag)
    if x.dtype.kind != "f":
        return 0.0
    x = np.where(np.isfinite(x), x, 0.0).reshape(-1)
    return np.sum(np.cos(1.0 + np.arange(x.shape[0])) * x)


class Loss:
    """A program of the corpus as a function of its floats.

    Attributes:
        fn: `fn(floats, rest)`, a plain function with one float for a result.
        floats, rest: the program's own arguments, fresh at each call: what derivatives are taken
            of, and what is neither float nor array of floats.
    """

    def __init__(self, program: Program, size: Mapping[str, int] | None = None) -> None:
        self._program = program
        self._size = program.sizes["test"] if size is None else size
        tree = self._arguments()
        kinds = [is_float(leaf) for leaf in leaves(tree)]

        def fn(floats: Floats, rest: list[Any]) -> Any:
            given, others, kind = iter(floats), iter(rest), iter(kinds)
            arguments = mapped(tree, lambda _: next(given) if next(kind) else next(others))
            result = program.fn(*arguments)
            return weighed((result, arguments))

        self.fn = fn

    def _arguments(self) -> tuple[Any, ...]:
        return self._program.make(np.random.default_rng(0), **self._size)

    @property
    def floats(self) -> Floats:
        rng = np.random.default_rng(1)
        found = filter(is_float, leaves(self._arguments()))
        return [_moved(x, rng) for x in found]

    @property
    def rest(self) -> list[Any]:
        return [x for x in leaves(self._arguments()) if not is_float(x)]

    def directions(self, seed: int) -> Floats:
        """A direction for each of `floats`, as large as it is; 0 where that is not finite, or one
        of an array's zeros: these tell programs where there is nothing."""
        rng = np.random.default_rng(seed)
        return [_direction(x, rng) for x in self.floats]

    def difference(self, directions: Floats) -> tuple[float, float]:
        """The derivative along a direction by central differences, right up to h**4, and how far
        it may be off: what two steps disagree by."""
        found = [self.difference_at(directions, h) for h in (1e-3, 1e-4, 1e-5, 1e-6, 1e-7)]
        off, best = min((abs(a - b), b) for a, b in pairwise(found))
        return best, off

    def difference_at(self, directions: Floats, h: float) -> float:
        """The same with one step."""

        def at(step: float) -> float:
            pairs = zip(self.floats, directions)
            return float(self.fn([_plus(x, step * d) for x, d in pairs], self.rest))

        with np.errstate(all="ignore"):
            return (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h)


def _moved(x: Any, rng: np.random.Generator) -> Any:
    if isinstance(x, np.ndarray):
        return x.astype(np.float64) * (1 + 1e-3 * _noise(x, rng))
    moved = float(x) + 1e-3 * rng.standard_normal() * (abs(x) or 1.0)
    return np.float64(moved) if isinstance(x, np.generic) else moved


def _noise(x: Any, rng: np.random.Generator) -> Any:
    """Symmetric where x is: some programs rely on that."""
    noise = rng.standard_normal(x.shape)
    symmetric = x.ndim == 2 and x.shape[0] == x.shape[1] and np.array_equal(x, x.T)
    return noise + noise.T if symmetric else noise


def _direction(x: Any, rng: np.random.Generator) -> Any:
    if isinstance(x, np.ndarray):
        size = np.abs(x[np.isfinite(x)]).max(initial=0.0)
        moves = np.isfinite(x) & ((x != 0) | (size == 0))
        return np.where(moves, _noise(x, rng) * (size or 1.0), 0.0)
    d = rng.standard_normal()
    d = float(d) * (abs(x) or 1.0) if math.isfinite(x) else 0.0
    return np.float64(d) if isinstance(x, np.generic) else d


def _plus(x: Any, d: Any) -> Any:
    return np.asarray(x + d) if isinstance(x, np.ndarray) else x + d


def inner(xs: Sequence[Any], ys: Sequence[Any]) -> float:
    """The sum of all products."""
    return float(sum(np.sum(x * y) for x, y in zip(xs, ys, strict=True)))
