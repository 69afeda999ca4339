"""Stacks of a loop's states, of fixed size, as loops carry them.

    %filled: i64, %at: i64[64], %y: f64[64, 3]     64 slots; the first %filled of them hold what %y
                                                   was in front of the steps %at

A state is pushed by an `update` of a row, in place; popping is one less that is filled.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from jitnet.ir import Value, as_value, index
from jitnet.ops.binomial import how_far
from jitnet.ops.bound_loops import At, repeat
from jitnet.ops.create import empty
from jitnet.ops.lift import add, mul, select, sub
from jitnet.ops.pointwise import bitwise_or, eq, floordiv, lt, maximum
from jitnet.ops.regions import INDEX
from jitnet.ops.shape import reshape
from jitnet.ops.slicing import slice, update


class Stack(NamedTuple):
    """Attributes:
    filled: how many states are there.
    at: the steps that they stand in front of.
    stores: the states, an array for each value of one, with an axis for the slots in front.
    """

    filled: Value
    at: Value
    stores: Sequence[Value]

    @property
    def slots(self) -> Value:
        return as_value(self.at.dims[0])

    def flat(self) -> list[Value]:
        return [self.filled, self.at, *self.stores]

    def push(self, step: Value, states: Sequence[Value]) -> Stack:
        at = _with_row(self.at, step, self.filled)
        stores = [_with_row(s, v, self.filled) for s, v in zip(self.stores, states)]
        return Stack(add(self.filled, 1), at, stores)

    def top(self) -> tuple[Value, list[Value]]:
        """The step and the state that were pushed last."""
        last = sub(self.filled, 1)
        return _row(self.at, last), [_row(s, last) for s in self.stores]

    def thinned(self, count: Value) -> Stack:
        """Every other state, so that this many are left; all of them where it is 0."""

        def move(at: At, i: Value, arrays: Sequence[Value]) -> list[Value]:
            return [_with_row(a, _row(a, add(i, i)), i) for a in arrays]

        moved = repeat(count, [], [self.at, *self.stores], move)
        return Stack(select(eq(count, 0), self.filled, count), moved[0], moved[1:])


def empty_stack(slots: int, like: Sequence[Value]) -> Stack:
    """A stack for states like these."""
    stores = [empty((slots, *v.dims), v.dtype) for v in like]
    return Stack(index(0), empty((slots,), INDEX.dtype), stores)


def parted(carried: Sequence[Value], stores: int) -> tuple[Stack, Sequence[Value]]:
    """The stack that comes first in what a loop carries, and the rest."""
    return Stack(carried[0], carried[1], carried[2 : 2 + stores]), carried[2 + stores :]


def _row(a: Value, i: Value) -> Value:
    row = slice(a, (i, *[0] * (a.rank - 1)), (1, *a.dims[1:]))
    return reshape(row, a.dims[1:])


def _with_row(a: Value, row: Value, i: Value) -> Value:
    return update(a, reshape(row, (1, *row.dims)), (i, *[0] * row.rank))


def segments_in(steps: Value, length: int) -> Value:
    """The number of segments of this length, the last of which may be shorter."""
    return floordiv(add(steps, length - 1), length)


def stride(left: Value, slots: Value, length: int) -> Value:
    """How many of the steps that are left to go until the state is pushed next, where `slots` are
    not filled, or by the present state; all of them where there is no other slot."""
    segments = segments_in(left, length)
    far = how_far(maximum(segments, 2), maximum(slots, 2))
    last = bitwise_or(lt(segments, 2), lt(slots, 2))
    return select(last, left, mul(far, length))
