"""What a specialisation depends on: the structure of the arguments and an abstract value per leaf.

    f(x, 3, "relu")    # x: f64[32, 5] C;  int;  static 'relu'

Arrays are told apart by dtype, shape and layout class, NumPy scalars by dtype. Python floats,
complex numbers and ints are dynamic (an int that the trace needs as a value becomes static). All
else is static: told apart by value, so it must be hashable.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from jitnet import errors, ir
from jitnet.frontend.device_arrays import device_of, home_of, is_read_only
from jitnet.frontend.places import Identity, is_plain_object
from jitnet.frontend.pytree import declare_leaf, flatten_into
from jitnet.frontend.tracer import (
    Flavour,
    Tracer,
    check_array,
    layout_of,
    lift,
    supported_dtype,
)
from jitnet.frontend.varying import ANY_EXTENT, Varying, shape_of


@dataclass(frozen=True)
class Abstract:
    """A leaf that is only known when the program runs.

    Attributes:
        layout: 'C', 'F' or 'strided'; 'C' for rank 0.
        read_only: an array that must not be written to.
        device: where the array is; None for NumPy's.
    """

    dtype: ir.DType
    shape: tuple[Any, ...]
    flavour: Flavour
    layout: str = "C"
    read_only: bool = False
    device: str | None = None

    def __str__(self) -> str:
        if self.flavour == "python":
            return {"i": "int", "f": "float", "b": "bool", "c": "complex"}[self.dtype.kind]
        if self.flavour == "scalar":
            return self.dtype.name
        return (
            f"{self.dtype.name}{list(self.shape)}"
            + ("" if self.layout == "C" else f" {self.layout}")
            + (f" on {self.device}" if self.device else "")
        )


@dataclass(frozen=True)
class Static:
    """A leaf that the trace sees as it is."""

    value: Any

    def __str__(self) -> str:
        return repr(self.value)


declare_leaf(Static)

LeafType = Abstract | Static
Key = tuple[Any, ...]

_INT = "int"
_FLOAT = "float"
_COMPLEX = "complex"
_INT64 = range(-(1 << 63), 1 << 63)


def make_key(
    arguments: Any, static_ints: dict[tuple[Any, ...], frozenset[int]], varying: Varying
) -> tuple[Key, list[Any], tuple[Any, ...]]:
    """The key of a call, its leaves, and the tokens of its structure.

    Args:
        arguments: the tree of arguments.
        static_ints: by structure, the leaves whose ints are static.
        varying: which of them, and which extents, are not told apart any more.
    """
    leaves: list[Any] = []
    tokens: list[Any] = []
    flatten_into(arguments, leaves, tokens)
    structure = tuple(tokens)
    static = static_ints.get(structure, frozenset()) if static_ints else frozenset()
    symbolic = varying.of(structure)
    if symbolic:
        static -= {i for i, axis in symbolic if axis is None}
    key: list[Any] = [structure]
    for i, leaf in enumerate(leaves):
        cls = type(leaf)
        if cls is np.ndarray:
            shape = shape_of(i, leaf, symbolic) if symbolic else leaf.shape
            layout = _plain_layout(layout_of(leaf), shape)
            key.append((leaf.dtype, shape, layout, leaf.flags.writeable))
        elif cls is float:
            key.append(_FLOAT)
        elif cls is complex:
            key.append(_COMPLEX)
        elif cls is int and i not in static and leaf in _INT64:
            key.append(_INT)
        elif isinstance(leaf, np.generic):
            key.append(leaf.dtype)
        elif cls is Tracer:
            lift(leaf)  # refuses it, for no trace is running
        elif cls is Static:
            key.append(typed(leaf.value))
        elif isinstance(leaf, np.ndarray):
            key.append((cls, leaf.dtype))  # a subclass, which `abstract` refuses
        elif device_of(cls) is not None:
            shape = shape_of(i, leaf, symbolic) if symbolic else leaf.shape
            key.append((leaf.dtype, shape, _plain_layout(layout_of(leaf), shape), home_of(leaf)))
        elif is_plain_object(leaf):
            key.append(Identity(leaf))  # whatever it is equal to
        else:
            key.append((cls, leaf))
    return tuple(key), leaves, structure


def _plain_layout(layout: str, shape: tuple[Any, ...]) -> str:
    """Strides of Fortran order follow from extents that are known."""
    return "strided" if layout == "F" and ANY_EXTENT in shape else layout


def with_any_extent(leaf: LeafType, shape: tuple[Any, ...]) -> LeafType:
    """An array's abstract value with this shape."""
    if not isinstance(leaf, Abstract) or ANY_EXTENT not in shape:
        return leaf
    return replace(leaf, shape=shape, layout=_plain_layout(leaf.layout, shape))


def typed(value: Any) -> Any:
    """A key that tells apart what `==` does not: 1, True and 1.0, 0.0 and -0.0."""
    if isinstance(value, tuple):
        return (type(value), *map(typed, value))
    return (type(value), repr(value) if isinstance(value, float) else value)


def abstract(leaf: Any, static: bool = False, path: str = "") -> LeafType:
    """The abstract value of a leaf.

    Args:
        static: an int is to be seen as it is.
        path: the argument's name, for messages.

    Raises:
        UnsupportedDTypeError: for dtypes and classes of arrays that jitnet does not have.
        ArgumentError: for objects that are not hashable.
    """
    cls = type(leaf)
    if cls is Tracer:
        return Abstract(leaf.value.dtype, leaf.shape, leaf.flavour)
    if isinstance(leaf, np.ndarray) or device_of(cls) is not None:
        check_array(leaf, f"argument {path}")
        dtype = supported_dtype(leaf.dtype, f"argument {path}")
        read_only = is_read_only(leaf)
        layout = layout_of(leaf)
        return Abstract(dtype, leaf.shape, "array", layout, read_only, home_of(leaf))
    if isinstance(leaf, np.generic):
        return Abstract(supported_dtype(leaf.dtype, f"argument {path}"), (), "scalar")
    if cls is float:
        return Abstract(ir.types.f64, (), "python")
    if cls is complex:
        return Abstract(ir.types.c128, (), "python")
    if cls is int and not static and leaf in _INT64:
        return Abstract(ir.types.i64, (), "python")
    if cls is Static:
        return Static(leaf.value)
    if is_plain_object(leaf):
        return Static(leaf)
    try:
        hash(leaf)
    except TypeError:
        raise errors.ArgumentError(
            f"argument {path} of type {cls.__module__}.{cls.__qualname__}",
            why="it is no array, number or known container, and cannot be told apart by value",
            remedy="jitnet.register_pytree_node makes a class of containers known",
        ) from None
    return Static(leaf)


def describe(names: Sequence[str], leaves: Sequence[LeafType]) -> str:
    """`x: f64[32, 5], n: int`."""
    return ", ".join(f"{name}: {leaf}" for name, leaf in zip(names, leaves))
