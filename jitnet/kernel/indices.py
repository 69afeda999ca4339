"""Index arithmetic on i64 kernel scalars that folds whatever is known while it is built.

Lowering rules compute where an element lives. Most extents, starts and steps are constants, and an
index that adds 0 or multiplies by 1 would only be noise in the text and work for the backend:

    position(index=%i, start=0, step=1)     %i
    position(index=%i, start=4, step=-1)    %p = sub 4, %i
"""

from __future__ import annotations

from collections.abc import Sequence

from jitnet.ir import Literal, Value, index
from jitnet.kernel import scalars as s

ZERO: Value = index(0)
ONE: Value = index(1)


def constant(value: Value) -> int | None:
    """The int that an index is known to be, or None."""
    return int(value.item) if isinstance(value, Literal) else None


def add(x: Value, y: Value) -> Value:
    a, b = constant(x), constant(y)
    if a is not None and b is not None:
        return index(a + b)
    if a == 0:
        return y
    if b == 0:
        return x
    return s.add(x, y)


def subtract(x: Value, y: Value) -> Value:
    a, b = constant(x), constant(y)
    if a is not None and b is not None:
        return index(a - b)
    return x if b == 0 else s.sub(x, y)


def multiply(x: Value, y: Value) -> Value:
    a, b = constant(x), constant(y)
    if a is not None and b is not None:
        return index(a * b)
    if a == 0 or b == 0:
        return ZERO
    if a == 1:
        return y
    if b == 1:
        return x
    return s.mul(x, y)


def quotient(x: Value, y: Value) -> Value:
    """x // y for x >= 0, y > 0."""
    a, b = constant(x), constant(y)
    if a is not None and b:
        return index(a // b)
    return x if b == 1 or a == 0 else s.quotient(x, y)


def remainder(x: Value, y: Value) -> Value:
    """x % y for x >= 0, y > 0."""
    a, b = constant(x), constant(y)
    if a is not None and b:
        return index(a % b)
    return ZERO if b == 1 or a == 0 else s.residue(x, y)


def position(i: Value, start: Value, step: int) -> Value:
    """start + i * step."""
    if step == -1:
        return subtract(start, i)
    return add(start, multiply(i, index(step)))


def box_index(
    at: Sequence[Value], starts: Sequence[Value], steps: Sequence[int]
) -> tuple[Value, ...]:
    """The index in an array of what has an index in a box of it."""
    return tuple(position(i, start, step) for i, start, step in zip(at, starts, steps))


def linearise(indices: Sequence[Value], dims: Sequence[Value]) -> Value:
    """The number of an element in C order."""
    number = ZERO
    for i, dim in zip(indices, dims, strict=True):
        number = add(multiply(number, dim), i)
    return number


def delinearise(number: Value, dims: Sequence[Value]) -> list[Value]:
    """The indices of the element with this number in C order; `dims` hold it."""
    indices: list[Value] = []
    for dim in reversed(dims[1:]):
        indices.append(remainder(number, dim))
        number = quotient(number, dim)
    return [number, *reversed(indices)] if dims else []
