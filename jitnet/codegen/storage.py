"""Where an array value lives: a `Place` in a `Root`, or nowhere yet (`Lazy`).

    %b = slice %a, 1, 3        // Lazy: read through %a, or a view of %a's buffer
    %c = update %a, %v, 0      // Place: %a's own buffer, where nothing reads %a or %b later

A Root is one piece of memory and lists the values that live in it, so that "may this be
overwritten?" is one look at when they are last used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from jitnet.ir import ArrayType, BufferType, Dim, Eqn, Literal, Loc, Value, current
from jitnet.kernel import indices as ix
from jitnet.kernel import statements as k
from jitnet.kernel.collapse import collapse


@dataclass(eq=False)
class Root:
    """One piece of memory.

    Attributes:
        writable: the program may overwrite it once its content is no longer needed.
        heap: the program allocated it at run time and has to free it.
        among: where pointers were swapped, the pieces of memory that this is one of.
        values: the array values that live in it, or are views of it.
    """

    writable: bool
    heap: bool = False
    among: tuple[Root, ...] = ()
    values: list[Value] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Place:
    """A buffer, and the memory that it is (part of).

    Attributes:
        whole: it is all of its root.
        c_order: it is C-contiguous. Only an argument that the program changes in place can be whole
            and laid out otherwise.
    """

    buffer: Value
    root: Root
    whole: bool = True
    c_order: bool = True


@dataclass(frozen=True, eq=False)
class Lazy:
    """A value that costs nothing to compute where it is read."""

    eqn: Eqn


Binding = Value | Place | Lazy
"""A kernel scalar or tape; memory; or neither until it is read."""


@dataclass(frozen=True)
class Copy:
    """A copy that the program makes and NumPy's semantics did not ask for.

    Attributes:
        type: what is copied.
        reason: why, for `explain`.
    """

    type: ArrayType
    reason: str
    loc: Loc


@dataclass
class Report:
    """What the lowering decided, to be looked at."""

    kernels: int = 0
    externs: int = 0
    copies: list[Copy] = field(default_factory=list)


def c_strides(dims: Sequence[Value]) -> tuple[Value, ...]:
    """Strides in elements of a C-contiguous box, as kernel scalars."""
    strides: list[Value] = []
    step: Value = k.as_index(1)
    for extent in reversed(dims):
        strides.append(step)
        step = ix.multiply(extent, step)
    return tuple(reversed(strides))


def strides_of(buffer: Value) -> tuple[Value, ...]:
    """A buffer's strides in elements, as kernel scalars."""
    type = buffer.buffer_type
    if type.strides is None:
        return c_strides([k_value(d) for d in type.dims])
    return tuple(k_value(d) for d in type.strides)


def k_value(dim: Dim) -> Value:
    return k.as_index(dim) if isinstance(dim, int) else dim


def is_contiguous(type: BufferType) -> bool:
    """Whether a buffer's elements lie in C order without gaps, as far as its type tells."""
    if type.strides is None:
        return True
    expected = 1
    for dim, stride in zip(reversed(type.dims), reversed(type.strides)):
        if dim != 1 and stride != expected:
            return False
        if not isinstance(dim, int):
            return False
        expected *= dim
    return True


def copy_elements(source: Value, target: Value, dims: Sequence[Value]) -> None:
    """Copy a box of elements from one buffer to another, whatever their strides."""
    if is_contiguous(source.buffer_type) and is_contiguous(target.buffer_type) and len(dims) > 1:
        total = k.as_index(1)
        for extent in dims:
            total = ix.multiply(total, extent)
        source, target = flat(source, total), flat(target, total)
        dims = [total]
    box(dims, lambda index: k.store(target, k.load(source, *index), *index))


def is_one(extent: Value) -> bool:
    return isinstance(extent, Literal) and extent.item == 1


def flat(buffer: Value, total: Value) -> Value:
    """A contiguous buffer as one axis."""
    from_dim = total.item if isinstance(total, Literal) else total
    return k.view(buffer, 0, [from_dim], [1])


def box(dims: Sequence[Value], body: Callable[[tuple[Value, ...]], None]) -> None:
    """Loops over a box in C order, the innermost a vector loop; `body(index)`."""
    axes = [a for a, extent in enumerate(dims) if not is_one(extent)]

    def level(index: tuple[Value, ...]) -> None:
        axis = len(index)
        if axis == len(dims):
            body(index)
        elif axis not in axes:
            level((*index, ix.ZERO))
        else:
            kind = "vector" if axis == axes[-1] else "seq"
            name = "ijkl"[min(axis, 3)]
            k.loop(0, dims[axis], lambda i: level((*index, i)), kind=kind, name=name)

    level(())
    collapse(current())
