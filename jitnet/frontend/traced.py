"""What a trace leaves behind: a Function, and how a call's arguments and results go with it.

    Traced(function, inputs=[Input(leaf=0)], outputs=[Output(result=0, "scalar")], ...)

Plain data: what runs programs needs nothing of what traces them.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from jitnet.frontend import effects
from jitnet.frontend.pytree import TreeDef, leaf_paths
from jitnet.frontend.tracer import Flavour

if TYPE_CHECKING:
    from jitnet.frontend import guards
    from jitnet.ir import Function


class Input(NamedTuple):
    """Where a param of the traced Function comes from: a leaf of the arguments, or a capture.

    Attributes:
        whole: it is the array that the leaf is a part of, in this shape.
        axis: it is the leaf's extent along this axis.
    """

    leaf: int | None
    capture: Any = None
    whole: tuple[int, ...] | None = None
    axis: int | None = None


class ViewStep(NamedTuple):
    """One step from an array to a view of it, as NumPy makes it.

    Attributes:
        kind: "slice", "reshape", "transpose", "broadcast".
        numbers: starts and sizes, or dims: ints, or results of the Function.
        attrs: steps of the slice, the transpose's order, the broadcast's axes.
    """

    kind: str
    numbers: tuple[int | Slot, ...]
    attrs: tuple[int, ...]

    def of(self, x: np.ndarray[Any, Any], numbers: Sequence[int]) -> np.ndarray[Any, Any]:
        """The view of x, with `numbers` known."""
        if self.kind == "slice":
            starts, sizes = numbers[: x.ndim], numbers[x.ndim :]
            box: Any = (..., *map(_window, starts, sizes, self.attrs))
            part: np.ndarray[Any, Any] = x[box]
            return part
        if self.kind == "transpose":
            return x.transpose(self.attrs)
        if self.kind == "reshape":
            return x.reshape(tuple(numbers))
        lined_up = [1] * len(numbers)
        for extent, axis in zip(x.shape, self.attrs, strict=True):
            lined_up[axis] = extent
        return np.broadcast_to(x.reshape(lined_up), tuple(numbers))


def _window(start: int, size: int, step: int) -> slice:
    """NumPy's index of so many elements."""
    if size == 0:
        return slice(0, 0)
    stop = start + size * step
    return slice(start, None if stop < 0 else stop, step)


class Slot(NamedTuple):
    """A number that is a result of the Function."""

    result: int


class Output(NamedTuple):
    """How a leaf of the result is made.

    Attributes:
        result: the Function's result that holds it, or what it is a view of; None for a static
            leaf.
        flavour: how the result is handed out.
        source: the input that it is, or is a view of.
        view: the steps to the view that it is; None for the whole array itself.
        value: a static leaf.
        by_columns: the whole array is the result turned around: it lies in Fortran order.
    """

    result: int | None
    flavour: Flavour = "array"
    source: int | None = None
    view: tuple[ViewStep, ...] | None = None
    value: Any = None
    by_columns: bool = False


class Chosen(NamedTuple):
    """A leaf of the result that is one of two arrays, of which the caller may have one already.

    Attributes:
        result: the Function's result that says which, a bool.
        one, other: how they are made; `one` is meant where it is True.
    """

    result: int
    one: Any
    other: Any

    def outputs(self) -> list[Output]:
        """What it may be."""
        found: list[Output] = []
        for side in (self.one, self.other):
            found += side.outputs() if isinstance(side, Chosen) else [side]
        return found


class Spread(NamedTuple):
    """How a list is made that has grown in the program.

    Attributes:
        results: the Function's results that hold its items' parts, stacked.
        flavours: how the parts are handed out; `tree` the structure of an item.
    """

    results: tuple[int, ...]
    flavours: tuple[Flavour, ...]
    tree: TreeDef


@dataclass(frozen=True)
class Traced:
    """A traced function.

    Attributes:
        function: its params are as `inputs` says; its results are the distinct dynamic leaves of
            the result tree, what is stored to inputs, then numbers that their shapes need.
        out_tree, outputs: the result tree and how its leaves are made.
        stores: by result, the input whose memory it is stored to.
        effects: what becomes of the containers of the arguments.
        names: a name for each leaf of the arguments.
        guards: what the function read from outside.
    """

    function: Function
    inputs: tuple[Input, ...]
    out_tree: TreeDef
    outputs: tuple[Output | Spread | effects.Known, ...]
    stores: Mapping[int, int]
    effects: tuple[effects.Effect, ...]
    names: tuple[str, ...]
    guards: guards.Guards


# -- names -----------------------------------------------------------------------------------------


def function_name(fn: Callable[..., Any]) -> str:
    """A name for the IR: letters, digits and underscores."""
    while isinstance(fn, functools.partial):
        fn = fn.func
    name = getattr(fn, "__name__", type(fn).__name__)
    return re.sub(r"\W", "", name) or "function"


def argument_names(fn: Callable[..., Any], tree: TreeDef) -> tuple[str, ...]:
    """The leaves of `(args, kwargs)` by the names of fn's parameters: `x`, `params.w`."""
    parameters = _positional_names(fn)
    names = []
    for path in leaf_paths(tree):
        part, first, *rest = path.split(".")
        if part == "2":  # a place, by its number
            names.append(".".join(rest) or "outside")
            continue
        if part == "0":
            i = int(first)
            first = parameters[i] if i < len(parameters) else f"arg{i}"
        names.append(".".join([first, *rest]))
    return tuple(names)


def _positional_names(fn: Callable[..., Any]) -> list[str]:
    try:
        parameters = inspect.signature(fn).parameters.values()
    except (TypeError, ValueError):
        return []
    return [p.name for p in parameters if p.kind <= inspect.Parameter.POSITIONAL_OR_KEYWORD]
