"""`replay`: the linear half of a loop of which a stack holds some states.

    %dh = replay %n, %filled, %at, %kept, %w, %dh0 {length=512, ...} @onward @segment
      @onward(%number, %m, %w, %h)           →  %h after m steps, the first of which has this number
      @segment(%number, %m, %w, %h, %dh)     →  %dh after m steps; linear in %dh

It is there to be transposed. What comes out goes through the loop from its end, at most `length`
steps at a time:

    while %end > 0:
      while %end is farther than a segment from the state on top, and there is a free slot:
        @onward from there; push
      @onward from the top to the last segment in front of %end
      @segment, transposed, gives the cotangents in front of it; pop, if it began at the top
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from jitnet.ir import Attrs, Eqn, Function, Type, Value, current, index
from jitnet.ops.bound_loops import At, during
from jitnet.ops.lift import accumulate, add, mul, select, sub
from jitnet.ops.loop_derivatives import cut
from jitnet.ops.pointwise import bitwise_and, eq, lt, minimum
from jitnet.ops.primitive import (
    Linear,
    Primitive,
    Structured,
    Tangents,
    TransposeTransform,
    nondifferentiable,
)
from jitnet.ops.regions import no_samples
from jitnet.ops.state_stacks import Stack, parted, segments_in, stride
from jitnet.ops.tape import zero_tangent


def replay(
    steps: Value,
    stack: Stack,
    same: Sequence[Value],
    hidden: tuple[Sequence[Value], Sequence[Value]],
    regions: tuple[Function, Function],
    length: int,
    reverse: bool,
) -> None:
    """Bind a `replay`.

    Args:
        steps: how many there were.
        same: what each step reads, in the order of the regions' params.
        hidden: what is linear: what steps read, and what they carry.
        regions: `@onward` and `@segment`.
        reverse: the last step has the number 0.
    """
    attrs = {
        "stores": len(stack.stores),
        "same": len(same),
        "consts": len(hidden[0]),
        "length": length,
        "reverse": reverse,
    }
    operands = [steps, *stack.flat(), *same, *hidden[0], *hidden[1]]
    current().bind(REPLAY, operands, attrs, regions)


def _infer(
    operands: Sequence[Value], attrs: Attrs, regions: Sequence[Function]
) -> tuple[Type, ...]:
    return tuple(v.type for v in operands[3 + attrs["stores"] + attrs["same"] + attrs["consts"] :])


class _Backwards(NamedTuple):
    """The loop the other way round.

    Attributes:
        steps: how many there were.
        known: what each step reads.
        onward: as the equation has it.
        back: `@segment`, transposed: `(number, m, known, state, cotangents, sums) -> (sums,
            cotangents)`.
        stores, consts, length, reverse: attributes of the equation.
    """

    steps: Value
    known: Sequence[Value]
    onward: Function
    back: Function
    stores: int
    consts: int
    length: int
    reverse: bool

    def number(self, at: At, step: Value) -> Value:
        return sub(sub(at(self.steps), 1), step) if self.reverse else step

    def go(self, at: At, stack: Stack, far: Value) -> tuple[Value, Sequence[Value]]:
        """The step that lies so far behind the one on top, and the state in front of it."""
        step, states = stack.top()
        args = [self.number(at, step), far, *map(at, self.known), *states]
        return add(step, far), current().inline(self.onward, args)

    def approached(self, at: At, end: Value, stack: Stack) -> Stack:
        """The stack with further states, the last of them nearer to the end."""

        def is_far(inside: At, carried: Sequence[Value]) -> Value:
            own, _ = parted(carried, self.stores)
            left = sub(inside(end), own.top()[0])
            return bitwise_and(lt(index(self.length), left), lt(own.filled, own.slots))

        def keep(inside: At, carried: Sequence[Value]) -> list[Value]:
            own, _ = parted(carried, self.stores)
            left = sub(inside(end), own.top()[0])
            far = stride(left, add(sub(own.slots, own.filled), 1), self.length)
            return own.push(*self.go(lambda v: inside(at(v)), own, far)).flat()

        read = [end, *map(at, [self.steps, *self.known])]
        return parted(during(is_far, keep, read, stack.flat()), self.stores)[0]

    def segment(self, at: At, carried: Sequence[Value]) -> list[Value]:
        """Back through one segment; carried are its end, the stack, cotangents and sums."""
        end, (stack, moving) = carried[0], parted(carried[1:], self.stores)
        stack = self.approached(at, end, stack)
        left = sub(end, stack.top()[0])
        far = mul(sub(segments_in(left, self.length), 1), self.length)
        step, states = self.go(at, stack, far)
        m = minimum(sub(end, step), index(self.length))  # no more than that: memory has a bound
        args = [self.number(at, step), m, *map(at, self.known), *states, *moving]
        moved = current().inline(self.back, args)
        sums, cts = moved[: self.consts], moved[self.consts :]
        filled = select(eq(far, index(0)), sub(stack.filled, 1), stack.filled)
        return [step, *stack._replace(filled=filled).flat(), *cts, *sums]


def _transpose(
    eqn: Eqn,
    operands: Sequence[Value | Linear],
    cotangents: Tangents,
    accumulators: Sequence[Value | None],
    transpose: TransposeTransform,
) -> Sequence[Value | None]:
    (onward, segment), attrs = eqn.regions, eqn.attrs
    begin = 3 + attrs["stores"] + attrs["same"]
    given = [v for v in operands[:begin] if isinstance(v, Value)]
    steps, kept, known = given[0], given[1 : 3 + attrs["stores"]], given[3 + attrs["stores"] :]
    hidden, totals = operands[begin:], accumulators[begin:]
    count = attrs["consts"]
    linear = [i >= len(segment.params) - len(hidden) for i in range(len(segment.params))]
    back = transpose(segment, linear, [True] * count)
    sums = [_or_zero(total, v) for total, v in zip(totals, hidden[:count])]
    cts = [_or_zero(ct, v) for ct, v in zip(cotangents, hidden[count:])]
    loop = _Backwards(
        steps, known, onward, back, attrs["stores"], count, attrs["length"], attrs["reverse"]
    )
    ends = during(
        lambda at, carried: lt(index(0), carried[0]),
        loop.segment,
        [steps, *known],
        [steps, *kept, *cts, *sums],
    )
    _, cts, sums = map(list, cut(ends, (1 + len(kept), len(cts), count)))
    added = [
        accumulate(total, ct) if isinstance(v, Linear) else None
        for v, total, ct in zip(hidden[count:], totals[count:], cts)
    ]
    return [*[None] * begin, *sums, *added]


def _or_zero(ct: Value | None, like: Value | Linear) -> Value:
    return zero_tangent(like.type) if ct is None else ct


def _for_transpose_only(eqn: Eqn, *operands: Any) -> tuple[Any, ...]:
    raise AssertionError(f"{eqn.op.name}: the linear half is there to be transposed")


REPLAY = Primitive(
    "replay",
    infer=_infer,
    numpy=_for_transpose_only,
    jvp=nondifferentiable,
    transpose=_transpose,
    batch=lambda *_: None,
    lower=[Structured()],
    samples=no_samples,
    has_regions=True,
)
"""In linear halves only, and only for `transpose`."""
