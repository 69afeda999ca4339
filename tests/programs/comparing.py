"""Two runs of a program compared: results, changed arguments, and which memory they share.

compare(got, expected, tolerance)     raises AssertionError, naming the first place that differs
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np


def compare(got: Any, expected: Any, tolerance: float, where: str = "result") -> None:
    """Refuse what differs from `expected` in class, structure, dtype, shape or value.

    Floats may be off by `tolerance` times the largest finite magnitude of their array; NaN and inf
    must be where they are in `expected`. Everything else is exact.
    """
    assert type(got) is type(expected), f"{where}: {got!r} against NumPy's {expected!r}"
    if isinstance(expected, (list, tuple)):
        assert len(got) == len(expected), f"{where}: {len(got)} items, NumPy has {len(expected)}"
    if isinstance(expected, dict):
        assert list(got) == list(expected), f"{where}: the keys {list(got)}"
    parts = list(children(expected))
    for (name, part), (_, other) in zip(parts, children(got), strict=True):
        compare(other, part, tolerance, where + name)
    if isinstance(expected, (np.ndarray, np.generic)):
        _compare_arrays(got, expected, tolerance, where)
    elif isinstance(expected, (float, complex)):
        _compare_arrays(np.asarray(got), np.asarray(expected), tolerance, where)
    elif not parts and not isinstance(expected, (list, tuple, dict)):
        assert got == expected, f"{where}: {got!r} against NumPy's {expected!r}"


def children(tree: Any) -> Iterator[tuple[str, Any]]:
    """What a container holds, with how to get there; nothing for a leaf."""
    if isinstance(tree, (list, tuple)):
        yield from ((f"[{i}]", part) for i, part in enumerate(tree))
    elif isinstance(tree, dict):
        yield from ((f"[{key!r}]", part) for key, part in tree.items())
    elif dataclasses.is_dataclass(tree):
        for field in dataclasses.fields(tree):
            yield f".{field.name}", getattr(tree, field.name)


def arrays(tree: Any, where: str = "") -> Iterator[tuple[str, np.ndarray]]:
    """All arrays in a tree, with their places."""
    if isinstance(tree, np.ndarray):
        yield where, tree
    for name, part in children(tree):
        yield from arrays(part, where + name)


def sharing(result: Any, arguments: Any) -> set[tuple[str, str]]:
    """Which arrays of the result lie in memory of which arguments, as pairs of places."""
    return {
        (there, here)
        for there, x in arrays(result)
        for here, y in arrays(arguments)
        if np.may_share_memory(x, y)
    }


def _compare_arrays(got: Any, expected: Any, tolerance: float, where: str) -> None:
    assert got.dtype == expected.dtype, f"{where}: {got.dtype} against NumPy's {expected.dtype}"
    assert got.shape == expected.shape, f"{where}: {got.shape} against NumPy's {expected.shape}"
    wrong = np.atleast_1d(got != expected)
    if expected.dtype.kind in "fc":
        finite = np.isfinite(expected)
        largest = np.abs(expected, where=finite, out=np.zeros(expected.shape)).max(initial=0.0)
        with np.errstate(invalid="ignore"):
            near = np.abs(got - expected) <= tolerance * largest
        wrong &= ~np.atleast_1d((near & finite) | (np.isnan(got) & np.isnan(expected)))
    if wrong.any():
        first = tuple(int(i) for i in np.argwhere(wrong)[0])
        a, b = np.atleast_1d(got)[first], np.atleast_1d(expected)[first]
        raise AssertionError(
            f"{where}: {wrong.sum()} of {wrong.size} differ, first at {first}: "
            f"{a!r} against NumPy's {b!r}"
        )
