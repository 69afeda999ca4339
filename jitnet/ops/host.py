"""`host_print`: a text with the program's values in it, printed each time the program comes by.

    host_print %k, %loss {flush=false, kinds=("python", "scalar"), stream="stdout",
                          text="step {0}: {1:.3f}\\n"}

Its effect is `host`: no pass drops, repeats or moves it, in regions neither. The values go to the
interpreter one by one, and the text is made there, by Python's and NumPy's own formatting.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jitnet import errors
from jitnet.ir import (
    Attrs,
    BufferType,
    Dense,
    Effect,
    Eqn,
    Function,
    Type,
    Value,
    as_dim,
    current,
    index,
)
from jitnet.ir import types as T
from jitnet.kernel import indices as ix
from jitnet.kernel import scalars as s
from jitnet.kernel.host import KINDS, PREFIXES, STREAMS, Order
from jitnet.kernel.statements import (
    alloc,
    branch,
    call_extern,
    constant,
    free,
    load,
    raise_error,
    store,
)
from jitnet.ops.loops import copy
from jitnet.ops.pairs import flat
from jitnet.ops.primitive import (
    Context,
    Kernel,
    Paired,
    Primitive,
    lane_by_lane,
    nondifferentiable,
    not_linear,
)
from jitnet.ops.regions import no_samples, require


def _order(attrs: Attrs) -> Order:
    return Order(attrs["text"], attrs["kinds"], attrs["stream"], attrs["flush"])


def _plain(kind: str) -> str:
    for prefix in PREFIXES:
        kind = kind.removeprefix(prefix)
    return kind


def _infer(
    operands: Sequence[Value], attrs: Attrs, regions: Sequence[Function]
) -> tuple[Type, ...]:
    order = _order(attrs)
    halves = sum(kind.startswith("complex ") for kind in order.kinds)
    require(
        len(operands) == len(order.kinds) + halves,
        f"host_print: {len(order.kinds)} values of which {halves} are in halves, not {operands}",
    )
    require(
        all(_plain(kind) in KINDS for kind in order.kinds),
        f"host_print: kinds of {KINDS}, not {order.kinds}",
    )
    require(order.stream in STREAMS, f"host_print: stream one of {STREAMS}, not {order.stream!r}")
    return ()


def _numpy(eqn: Eqn, *operands: Any) -> tuple[Any, ...]:
    _order(eqn.attrs).carry_out(operands)
    return ()


def _pairs(eqn: Eqn, operands: Sequence[Paired], split: Any) -> Sequence[Paired]:
    """Complex values become two real ones."""
    kinds = tuple(
        kind if isinstance(v, Value) else f"complex {kind}"
        for kind, v in zip(eqn.attrs["kinds"], operands, strict=True)
    )
    return current().bind(eqn.op, list(flat(operands)), {**eqn.attrs, "kinds": kinds})


def _emit(
    context: Context, eqn: Eqn, inputs: Sequence[Value], outputs: Sequence[Value]
) -> Sequence[Value]:
    for operand, given in zip(eqn.operands, inputs):
        _hand_over(given, [context.dim(d) for d in operand.dims])
    order = _order(eqn.attrs).encoded()
    status = alloc(T.i64, (1,), "status")
    call_extern("host_print", (constant(Dense(order), "order"), index(order.size), status))
    failed = s.ne(load(status, ix.ZERO), ix.ZERO)
    branch(failed, lambda: raise_error(errors.FROM_HOST, ""))
    return ()


def _hand_over(given: Value, extents: Sequence[Value]) -> None:
    """Give a scalar, or a buffer as contiguous memory, to the interpreter."""
    memory, aside = given, False
    if not isinstance(given.type, BufferType):
        memory = alloc(given.dtype, (1,), "value")
        store(memory, given, ix.ZERO)
    elif given.buffer_type.strides is not None:
        memory, aside = alloc(given.dtype, [as_dim(n) for n in extents], "value"), True
        copy(given, memory, extents)
    dims = alloc(T.i64, (max(len(extents), 1),), "dims")
    for axis, n in enumerate(extents):
        store(dims, n, index(axis))
    call_extern(f"host_value_{given.dtype.name}", (memory, dims, index(len(extents))))
    if aside and any(ix.constant(n) is None for n in extents):
        free(memory)


HOST_PRINT = Primitive(
    "host_print",
    infer=_infer,
    numpy=_numpy,
    jvp=nondifferentiable,
    transpose=not_linear,
    batch=lane_by_lane,
    lower=[Kernel(_emit)],
    samples=no_samples,
    effect=Effect.HOST,
    pairs=_pairs,
)


def host_print(
    text: str,
    values: Sequence[Value],
    kinds: Sequence[str],
    stream: str = "stdout",
    flush: bool = False,
) -> None:
    """Print `text`, with nothing after it, each time the program comes by.

    Args:
        text: with `{0}`, `{1:.3f}`, `{2!r}` for the values, as `str.format` has it.
        values: of any dtype and dims.
        kinds: what they are in Python: "array", "scalar" (of NumPy's) or "python", or a list of
            such, "list scalar", for an array with an axis for the items.
        stream: "stdout" or "stderr": what `sys` has under that name when it is printed.
        flush: the stream is flushed afterwards.
    """
    attrs = {"text": text, "kinds": tuple(kinds), "stream": stream, "flush": flush}
    current().bind(HOST_PRINT, list(values), attrs)
