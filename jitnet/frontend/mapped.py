"""vmap of a function, inside a running trace.

    vmap(fn, (w, xs), {}, in_axes=(None, 0), out_axes=0)    # the running trace: %w, %xs: f64[8, 3]
      # fn is traced as @fn(%x: f64[3], %w.captured), made into one for 8 lanes, and inlined with
      # %xs and %w

Only the leaves that are mapped become arguments of the inner Function, without the axis that is
mapped: a row of a vector is a NumPy scalar, as it is when a Python loop goes over it. All else is
passed as it is and captured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jitnet import errors, transforms
from jitnet.frontend.arrays import stores_behind, write
from jitnet.frontend.dims import require_equal, retag
from jitnet.frontend.inner import builder, is_number
from jitnet.frontend.pytree import flatten, node_kind, unflatten
from jitnet.frontend.signature import Abstract, LeafType, Static
from jitnet.frontend.trace import trace_function
from jitnet.frontend.traced import Output, Traced, argument_names, function_name
from jitnet.frontend.tracer import Tracer, lift, wrap
from jitnet.ir import Dim, Value
from jitnet.ops.lanes import extent_operands, moved, spread

Axis = int | None

# -- axes of trees ---------------------------------------------------------------------------------


def axes_of_leaves(spec: Any, tree: Any, what: str) -> list[Axis]:
    """The axis for each leaf of a tree. `spec` has the tree's structure as far down as it goes: an
    int, or None for no axis, stands for all leaves below it.

    Raises:
        BatchingError: where it has another structure; `what` names it.
    """
    if spec is None or type(spec) is int:
        return [spec] * len(flatten(tree)[0])
    kind = node_kind(type(tree))
    like = node_kind(type(spec))
    if kind is None or like is None or type(spec) is not type(tree):
        raise errors.BatchingError(
            f"{what} is {spec!r} where the value it is for is a {type(tree).__qualname__}",
            remedy="give an int, None, or a container of these that is built like the value",
        )
    (children, meta), (specs, own) = kind.flatten(tree), like.flatten(spec)
    if isinstance(tree, dict) and set(spec) == set(tree):
        specs, own = [spec[key] for key in tree], meta
    if own != meta or len(specs) != len(children):
        raise errors.BatchingError(
            f"{what} has {list(like.paths(own, len(specs)))} where the value it is for has "
            f"{list(kind.paths(meta, len(children)))}"
        )
    names = kind.paths(meta, len(children))
    return [
        axis
        for name, below, child in zip(names, specs, children)
        for axis in axes_of_leaves(below, child, f"{what}.{name}")
    ]


def _axes_of_arguments(in_axes: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Axis]:
    """Keyword arguments are mapped over their first axes."""
    if isinstance(in_axes, tuple) and len(in_axes) != len(args):
        raise errors.BatchingError(
            f"vmap: in_axes has {len(in_axes)} entries, but the function was called with "
            f"{len(args)} positional arguments",
            remedy="give one entry for each positional argument",
        )
    specs = in_axes if isinstance(in_axes, tuple) else [in_axes] * len(args)
    positional = [
        axis
        for i, (spec, arg) in enumerate(zip(specs, args))
        for axis in axes_of_leaves(spec, arg, f"in_axes[{i}]")
    ]
    return [*positional, *axes_of_leaves(0, kwargs, "")]


# -- what is mapped --------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Mapped:
    """A leaf that is mapped: its value, and which axis, counted from the front."""

    value: Value
    axis: int

    def row(self) -> Abstract:
        """What the function gets of it in one lane."""
        dims = [d for a, d in enumerate(self.value.dims) if a != self.axis]
        shape = tuple(d if isinstance(d, int) else wrap(d, "python") for d in dims)
        return Abstract(self.value.dtype, shape, "array" if shape else "scalar")

    def in_lanes(self, extent: Dim) -> Value:
        """With the lanes in front."""
        v = moved(self.value, self.axis, 0)
        return retag(v, (extent, *v.dims[1:]))


def _mapped(leaf: Any, axis: int, name: str) -> _Mapped:
    value = lift(leaf).value if is_number(leaf) else None
    rank = 0 if value is None else value.rank
    if value is None or not -rank <= axis < rank:
        raise errors.BatchingError(
            f"vmap: argument {name} is {errors.describe(leaf)}, which has no axis {axis} to map",
            remedy=f"give None for it in in_axes, or another axis than {axis}",
        )
    return _Mapped(value, axis % rank)


def _extent(mapped: Mapping[int, _Mapped], names: Sequence[str]) -> Dim:
    """The number of lanes: an int, if one is known."""
    extents = {names[i]: m.value.dims[m.axis] for i, m in mapped.items()}
    known = {name: d for name, d in extents.items() if isinstance(d, int)}
    if len(set(known.values())) > 1:
        told = ", ".join(f"{name} has {d}" for name, d in known.items())
        raise errors.BatchingError(f"vmap: axes of different extents are mapped: {told}")
    first = next(iter((known or extents).values()))
    for name, d in extents.items():
        require_equal(d, first, f"vmap: axes of extents {{0}} and {{1}} are mapped, in {name} too")
    return first


# -- the transform ---------------------------------------------------------------------------------


def vmap(
    fn: Callable[..., Any],
    args: Sequence[Any],
    kwargs: dict[str, Any],
    in_axes: Any,
    out_axes: Any,
) -> Any:
    """fn's results for all lanes, stacked along `out_axes`."""
    leaves, tree = flatten((tuple(args), kwargs))
    axes = _axes_of_arguments(in_axes, args, kwargs)
    names = argument_names(fn, tree)
    mapped = {
        i: _mapped(leaf, axis, names[i])
        for i, (leaf, axis) in enumerate(zip(leaves, axes, strict=True))
        if axis is not None
    }
    if not mapped:
        raise errors.BatchingError(
            f"vmap of {function_name(fn)}: no argument is mapped",
            remedy="give an axis for at least one array in in_axes",
        )
    extent = _extent(mapped, names)
    types: list[LeafType] = [
        mapped[i].row() if i in mapped else Static(leaf) for i, leaf in enumerate(leaves)
    ]
    traced = trace_function(fn, tree, types)
    operands, batched = _operands(traced, leaves, mapped, extent)
    lanes, out = transforms.vmap(traced.function, batched, extent)
    values = builder().inline(lanes, [*extent_operands(extent), *operands])
    stacked = [v if b else spread(v, extent) for v, b in zip(values, out, strict=True)]
    _write_back(traced, stacked, mapped, leaves)
    return _results(traced, values, out, stacked, out_axes, extent)


def _operands(
    traced: Traced, leaves: Sequence[Any], mapped: Mapping[int, _Mapped], extent: Dim
) -> tuple[list[Value], list[bool]]:
    operands, batched = [], []
    for source in traced.inputs:
        one = None if source.leaf is None else mapped.get(source.leaf)
        if one is not None:
            operands.append(one.in_lanes(extent))
        else:
            given = source.capture if source.leaf is None else leaves[source.leaf]
            operands.append(given if isinstance(given, Value) else lift(given).value)
        batched.append(one is not None)
    return operands, batched


def _write_back(
    traced: Traced,
    stacked: Sequence[Value],
    mapped: Mapping[int, _Mapped],
    leaves: Sequence[Any],
) -> None:
    """Change the mapped arguments that the function changes. Others are captured, and a function
    that is traced inside of another trace cannot write to what it captures."""
    for result, source in traced.stores.items():
        leaf = traced.inputs[source].leaf
        assert leaf is not None
        _check_alone(leaf, leaves, traced.names)
        was = mapped[leaf]
        after = moved(stacked[result], 0, was.axis)
        write(lift(leaves[leaf]).place, retag(after, was.value.dims))


def _check_alone(written: int, leaves: Sequence[Any], names: Sequence[str]) -> None:
    """Lanes that write to one argument and read the same memory in another would have to take
    turns."""
    own = set(stores_behind(lift(leaves[written]).place))
    for i, leaf in enumerate(leaves):
        arrays = type(leaf) is Tracer or isinstance(leaf, np.ndarray)
        if i != written and arrays and not own.isdisjoint(stores_behind(lift(leaf).place)):
            raise errors.MutationError(
                f"vmap of a function that writes to {names[written]}, which shares memory with "
                f"{names[i]}",
                remedy="pass a copy of one of them",
            )


def _results(
    traced: Traced,
    values: Sequence[Value],
    batched: Sequence[bool],
    stacked: Sequence[Value],
    out_axes: Any,
    extent: Dim,
) -> Any:
    outputs = [o for o in traced.outputs if isinstance(o, Output)]
    example = unflatten(traced.out_tree, range(len(outputs)))
    axes = axes_of_leaves(out_axes, example, "out_axes")
    found: list[Any] = []
    for output, axis in zip(outputs, axes, strict=True):
        if axis is None:
            found.append(_same_for_all(output, values, batched))
            continue
        v = _constant(output, extent) if output.result is None else stacked[output.result]
        if not -v.rank <= axis < v.rank:
            raise errors.BatchingError(
                f"vmap: out_axes {axis} of a result that has {v.rank} axes with that of the lanes"
            )
        found.append(wrap(moved(v, 0, axis % v.rank), "array"))
    return unflatten(traced.out_tree, found)


def _constant(output: Output, extent: Dim) -> Value:
    """A result that is known when the function is traced, for all lanes."""
    if isinstance(output.value, (bool, int, float, complex, np.generic, np.ndarray)):
        return spread(lift(output.value).value, extent)
    raise errors.BatchingError(
        f"vmap: a result is {errors.describe(output.value)}, which cannot be stacked",
        remedy="give None for it in out_axes",
    )


def _same_for_all(output: Output, values: Sequence[Value], batched: Sequence[bool]) -> Any:
    if output.result is None:
        return output.value
    if batched[output.result]:
        raise errors.BatchingError(
            "vmap: out_axes is None for a result that depends on mapped arguments",
            remedy="give an int for it in out_axes",
        )
    return wrap(values[output.result], output.flavour)
