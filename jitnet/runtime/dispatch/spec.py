"""What the native dispatcher is told of a call: its arguments, checks and result, as frozen trees.

    f(x, scale=2.0) -> {"y": ..., "n": 3}

    CallSpec(
        args=(ArrayLeaf(f64, (3,)),),
        kwargs=(("scale", NumberLeaf(float)),),
        sources=(0, 1),                                  # the program's inputs are these leaves
        result=Branch(dict, (Result(0), Constant(3)), ("y", "n")),
    )

Leaves are counted in prefix order, constants among them, those of `args` before those of `kwargs`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import CellType
from typing import Any

from jitnet.ir import DType


@dataclass(frozen=True)
class ArrayLeaf:
    """An aligned ndarray with exactly this dtype, shape and layout class; where it is `written`,
    not a read-only one. An extent of None is any that is more than 1."""

    dtype: DType
    shape: tuple[int | None, ...]
    layout: str = "C"
    written: bool = False


@dataclass(frozen=True)
class ScalarLeaf:
    """A NumPy scalar."""

    dtype: DType


@dataclass(frozen=True)
class NumberLeaf:
    """A Python number: `float`, `complex`, or an `int` that fits i64."""

    cls: type


@dataclass(frozen=True)
class Constant:
    """As an argument: this object, or an int, str or bytes of its class and value. As a result:
    this object."""

    value: Any


@dataclass(frozen=True)
class Result:
    """The program's output at this position; one of rank 0 comes as an "array", a NumPy "scalar"
    or a "python" number. The same position twice is the same object twice. `by_columns`: the array
    has the output's axes in reverse, in the same memory."""

    output: int
    flavour: str = "array"
    by_columns: bool = False


@dataclass(frozen=True)
class Argument:
    """The leaf of the arguments, itself."""

    leaf: int


@dataclass(frozen=True)
class Extent:
    """As a source: the extent of a leaf, an array, along an axis."""

    leaf: int
    axis: int


@dataclass(frozen=True)
class Chosen:
    """One of two results: `one` where the program's output at this position, a bool, holds."""

    output: int
    one: Result | Argument | Constant | Chosen
    other: Result | Argument | Constant | Chosen


@dataclass(frozen=True)
class Listing:
    """A new list with an item for each element along the first axis of `parts`: the element, or
    where it `has_tuples` a tuple of those of all parts. Elements of rank 0 come as "python" numbers
    or NumPy "scalar"s, others are copied."""

    parts: tuple[Result, ...]
    has_tuples: bool


@dataclass(frozen=True)
class Branch:
    """A tuple, list, dict or NamedTuple of exactly this class. `keys` are a dict's, in order."""

    cls: type
    children: tuple[Any, ...]
    keys: tuple[str, ...] = ()


ArgumentTree = ArrayLeaf | ScalarLeaf | NumberLeaf | Constant | Branch
ResultTree = Result | Argument | Constant | Chosen | Listing | Branch


@dataclass(frozen=True, eq=False)
class CallSpec:
    """One kind of call.

    Attributes:
        args, kwargs: the arguments, keywords in the order in which they are given.
        sources: for each input of the program a leaf, the extent of one, or an array captured from
            outside.
        result: what the call returns.
        items: (dict, key, object) that must be so, by identity.
        absent: (dict, key) that must not be there.
        cells: (closure cell, object) that must be so, by identity.
        kinds: (object, its class) that must be so.
        condition: anything else that must hold.
        fail: `(status, address of the results)`, raises what the program has reported; where there
            is none, the call is made again in Python.
    """

    args: tuple[ArgumentTree, ...]
    sources: tuple[Any, ...]
    result: ResultTree
    kwargs: tuple[tuple[str, ArgumentTree], ...] = ()
    items: tuple[tuple[dict[str, Any], str, Any], ...] = ()
    absent: tuple[tuple[dict[str, Any], str], ...] = ()
    cells: tuple[tuple[CellType, Any], ...] = ()
    kinds: tuple[tuple[Any, type], ...] = ()
    condition: Callable[[], bool] | None = None
    fail: Callable[[int, int], None] | None = None


def is_named_tuple(cls: type) -> bool:
    """Whether the class is a NamedTuple."""
    return issubclass(cls, tuple) and hasattr(cls, "_fields")
