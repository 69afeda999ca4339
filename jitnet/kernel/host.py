"""What a program says to the world outside: texts with values of the program in them, printed.

    call_extern %memory, %dims, 1 {name="host_value_f64"}       an array of one dimension, kept
    call_extern %order, 71, %status {name="host_print"}         "x is {0}\n", with the array for {0}

A program hands over one value after the other, then says what to do with them: the *order*, the
bytes of a Python tuple's text. What is pending is each thread's own. An error (a closed stream, an
interrupt) is kept until the program, which sees it in `status`, has left.
"""

from __future__ import annotations

import ast
import functools
import math
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from jitnet import errors

Array = np.ndarray[Any, Any]

KINDS = ("array", "scalar", "python")
"""What a value is in Python: an array of NumPy's, a scalar of NumPy's, a number of Python's."""

PREFIXES = ("complex ", "list ")

STREAMS = ("stdout", "stderr")


class Order(NamedTuple):
    """A text to print.

    Attributes:
        text: with `{0}`, `{1:.3f}`, `{2!r}` for the values, as `str.format` has it.
        kinds: of the values, each one of KINDS; "list " before it for a list of such, handed over
            as an array with an axis for its items; "complex " before all that where two real
            numbers or arrays are handed over, the real and the imaginary part.
        stream: the attribute of `sys` that it is written to.
        flush: the stream is flushed afterwards.
    """

    text: str
    kinds: tuple[str, ...]
    stream: str
    flush: bool

    def encoded(self) -> Array:
        """The order as bytes, for a program to hand over."""
        return np.frombuffer(repr(tuple(self)).encode(), np.uint8)

    def carry_out(self, parts: Sequence[Any]) -> None:
        """Print the text with these values: arrays, and NumPy scalars or arrays of rank 0."""
        values = _values(self.kinds, iter(parts))
        stream = getattr(sys, self.stream)
        print(self.text.format(*values), end="", file=stream, flush=self.flush)


def _values(kinds: Sequence[str], parts: Iterator[Any]) -> list[Any]:
    """What the user's program has in the places of these arrays."""
    values = []
    for kind in kinds:
        value = np.asarray(next(parts))
        if kind.startswith("complex "):
            whole = np.empty(value.shape, np.result_type(value, np.complex64))
            whole.real, whole.imag = value, next(parts)
            value = whole
        is_list = "list " in kind
        items = [_flavoured(item, kind) for item in (value if is_list else [value])]
        values.append(items if is_list else items[0])
    return values


def _flavoured(value: Any, kind: str) -> Any:
    if kind.endswith("array"):
        return np.asarray(value)
    return value[()] if kind.endswith("scalar") else value.item()


@functools.lru_cache(maxsize=256)
def _decoded(order: bytes) -> Order:
    return Order(*ast.literal_eval(order.decode()))


class _Pending(threading.local):
    """What this thread's program has handed over since it last gave an order."""

    def __init__(self) -> None:
        self.parts: list[Array] = []
        self.error: BaseException | None = None


_PENDING = _Pending()


def host_value(memory: Array, dims: Array, rank: Any) -> None:
    """Keep an array: `memory` is flat, in C order."""
    try:
        shape = dims[: int(rank)].tolist()
        _PENDING.parts.append(memory[: math.prod(shape)].reshape(shape).copy())
    except BaseException as error:  # no memory, an interrupt
        _PENDING.error = error


def host_print(order: Array, size: Any, status: Array) -> None:
    """Carry out an order; `status[0]` is 0, or 1 where it failed: `errors.FROM_HOST` tells how."""
    status[0] = 0
    try:
        parts, _PENDING.parts = _PENDING.parts, []
        failed, _PENDING.error = _PENDING.error, None
        if failed is not None:
            raise failed
        _decoded(order[: int(size)].tobytes()).carry_out(parts)
    except BaseException as error:
        errors.keep(error)
        status[0] = 1
