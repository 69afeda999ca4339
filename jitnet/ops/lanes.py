"""What batching rules share: values spread over lanes, and the rules of whole kinds of ops.

    %y: f64[3] = add %x, %c     ->     %0: f64[8, 3] = broadcast %c, 8, 3 {axes=(1,)}
                                       %y: f64[8, 3] = add %x, %0

A batched value has its lanes in front, always. An operand that is the same in all lanes is spread
where an op needs it beside a batched one; that is a view. The ops that do so are looked up when a
rule runs, for their modules need this one.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from jitnet.ir import (
    ArrayType,
    Dim,
    Eqn,
    Function,
    Literal,
    TapeType,
    Type,
    Value,
    as_value,
    current,
    registry,
)
from jitnet.ops.primitive import BatchRule, BatchTransform, Primitive

Batched = tuple[Sequence[Value], Sequence[bool]]

LANE = "lane"
"""The name of regions that are run for one lane after the other."""

# -- moving lanes ----------------------------------------------------------------------------------


def spread(x: Value, extent: Dim) -> Value:
    """x in every lane."""
    return stretched(x, (extent, *x.dims), range(1, x.rank + 1))


def all_spread(operands: Sequence[Value], batched: Sequence[bool], extent: Dim) -> list[Value]:
    """The operands, in every lane where they are not batched."""
    return [v if b else spread(v, extent) for v, b in zip(operands, batched, strict=True)]


def bound(name: str, operands: Sequence[Value], attrs: Mapping[str, Any]) -> Value:
    """The result of the op of this name."""
    (result,) = current().bind(registry("array")[name], operands, attrs)
    return result


def stretched(x: Value, dims: Sequence[Dim], axes: Iterable[int]) -> Value:
    """x with its axis i as axis `axes[i]` of a box of these dims."""
    if x.dims == tuple(dims):
        return x
    return bound("broadcast", [x, *map(as_value, dims)], {"axes": tuple(axes)})


def permuted(x: Value, perm: Sequence[int]) -> Value:
    """x with axis k being what was axis `perm[k]`."""
    still = list(perm) == list(range(x.rank))
    return x if still else bound("transpose", (x,), {"perm": tuple(perm)})


def moved(x: Value, source: int, target: int) -> Value:
    """x with one axis at another place."""
    order = [a for a in range(x.rank) if a != source]
    order.insert(target, source)
    return permuted(x, order)


def behind(axes: Iterable[int]) -> tuple[int, ...]:
    """The axes of a value, as those of the batched one."""
    return tuple(a + 1 for a in axes)


# -- lanes in regions ------------------------------------------------------------------------------


def extent_operands(extent: Dim) -> list[Value]:
    """What a batched region takes first: the number of lanes, where it is no int."""
    return [] if isinstance(extent, int) else [extent]


def differs(v: Value, batched: Container[Value]) -> bool:
    """Whether the extents of an array differ from lane to lane, where these values are batched."""
    return any(d in batched for d in v.type.symbolic)


def in_lanes(type: Type, extent: Dim) -> Type:
    """The type of such values side by side; of a tape, of one that logs them side by side."""
    if isinstance(type, TapeType):
        lanes = extent if isinstance(extent, int) else None
        fields = tuple((dtype, (lanes, *dims)) for dtype, dims in type.fields)
        return replace(type, fields=fields)
    assert isinstance(type, ArrayType), "buffers are no values of programs"
    return type.with_dims((extent, *type.dims))


def is_dense(f: Function) -> bool:
    """Whether there is something in a Function that is best computed for many lanes at once."""
    return any(isinstance(eqn.op, Primitive) and eqn.op.dense for eqn in f.walk())


# -- rules of kinds of ops -------------------------------------------------------------------------


def batch_elements(
    eqn: Eqn,
    operands: Sequence[Value],
    batched: Sequence[bool],
    extent: Dim,
    batch: BatchTransform,
) -> Batched:
    """Of an op whose operands have the same dims, where a Literal stands for every element."""
    literal = [isinstance(v, Literal) for v in operands]
    values = all_spread(operands, [b or li for b, li in zip(batched, literal)], extent)
    return current().rebind(eqn, values), [True]


def batch_together(
    eqn: Eqn,
    operands: Sequence[Value],
    batched: Sequence[bool],
    extent: Dim,
    batch: BatchTransform,
) -> Batched:
    """Of an op whose operands may have more axes in front, the same ones."""
    results = current().rebind(eqn, all_spread(operands, batched, extent))
    return results, [True] * len(results)


def batch_along(name: str) -> BatchRule:
    """The rule of an op of one array that works along the axis, or the axes, `attrs[name]`."""

    def rule(
        eqn: Eqn,
        operands: Sequence[Value],
        batched: Sequence[bool],
        extent: Dim,
        batch: BatchTransform,
    ) -> Batched:
        axes = eqn.attrs[name]
        later = axes + 1 if isinstance(axes, int) else behind(axes)
        return current().rebind(eqn, operands, attrs={**eqn.attrs, name: later}), [True]

    return rule


def made_alike(
    eqn: Eqn,
    operands: Sequence[Value],
    batched: Sequence[bool],
    extent: Dim,
    batch: BatchTransform,
) -> None:
    """Of an op that takes extents only: its result does not differ but in extent."""
    raise AssertionError(f"{eqn.op.name} has no operands that may be batched")
