"""Extents and ints that come with many values: after three, a program is compiled for all of them.

    f(np.ones(10)); f(np.ones(11)); f(np.ones(12))     three programs
    f(np.ones(13))                                     a fourth, for x: f64[%n], and the last

Extents of 0 and 1 stay what they are, since they broadcast. Where a function cannot be traced with
such an extent, because a list or an unrolled loop depends on it, it is compiled for each again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from jitnet.frontend.device_arrays import device_of

MOST_VALUES = 3

Structure = tuple[Any, ...]
Place = tuple[int, int | None]
"""A leaf of the arguments, and an axis of it; None for the leaf itself, an int."""


class AnyExtent:
    """An extent that a program takes as it comes, if it is more than 1."""

    def __repr__(self) -> str:
        return "?"


ANY_EXTENT = AnyExtent()


class Varying:
    """What has varied among the calls that were compiled for, by the structure of the arguments."""

    def __init__(self) -> None:
        self._seen: dict[tuple[Structure, Place], set[int]] = {}
        self._places: dict[Structure, frozenset[Place]] = {}
        self._given_up: set[Structure] = set()

    def of(self, structure: Structure) -> frozenset[Place]:
        """The extents and ints that are symbolic."""
        return self._places.get(structure, frozenset()) if self._places else frozenset()

    def note(
        self, structure: Structure, leaves: Sequence[Any], static_ints: frozenset[int]
    ) -> None:
        """Note the arguments of a call that is about to be compiled for."""
        if structure in self._given_up:
            return
        for place, value in _values(leaves, static_ints):
            seen = self._seen.setdefault((structure, place), set())
            seen.add(value)
            if len(seen) > MOST_VALUES:
                self._places[structure] = self.of(structure) | {place}

    def give_up(self, structure: Structure) -> None:
        """Compile for each extent of its own from now on."""
        self._given_up.add(structure)
        self._places.pop(structure, None)

    def clear(self) -> None:
        """Forget all."""
        self.__init__()  # type: ignore[misc]


def _values(leaves: Sequence[Any], static_ints: frozenset[int]) -> Iterator[tuple[Place, int]]:
    for i, leaf in enumerate(leaves):
        if type(leaf) is np.ndarray or device_of(type(leaf)) is not None:
            yield from (((i, axis), n) for axis, n in enumerate(leaf.shape) if n > 1)
        elif i in static_ints:
            yield (i, None), leaf


def shape_of(i: int, x: np.ndarray[Any, Any], symbolic: frozenset[Place]) -> tuple[Any, ...]:
    """The shape of leaf i, with ANY_EXTENT where it is symbolic."""
    return tuple(
        ANY_EXTENT if n > 1 and (i, axis) in symbolic else n for axis, n in enumerate(x.shape)
    )
