"""One equation as a kernel of its own, over operands and results of any strides and extents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jitnet.ir import (
    BufferType,
    Builder,
    Dim,
    Eqn,
    Function,
    Literal,
    Value,
    as_value,
    substitute_dims,
)
from jitnet.kernel import scalars as s
from jitnet.kernel.interp import run
from jitnet.kernel.scalars import ScalarOp
from jitnet.kernel.statements import load, store
from jitnet.ops.loops import fold, nest
from jitnet.ops.primitive import Element, Kernel, Primitive, Reduction


@dataclass(frozen=True)
class Memory:
    """The context of a lowering rule where every operand is memory of its own."""

    inputs: Sequence[Value]
    env: dict[Value, Value]

    def load(self, operand: int, index: Sequence[Value]) -> Value:
        return load(self.inputs[operand], *index) if index else self.inputs[operand]

    def dim(self, dim: Dim) -> Value:
        return as_value(dim) if isinstance(dim, int) else self.env[dim]


def strides_of(array: Any) -> tuple[int, ...] | None:
    """Strides in elements; None where the array is C-contiguous."""
    if array.flags.c_contiguous:
        return None
    return tuple(step // array.itemsize for step in array.strides)


def kernel_of(
    eqn: Eqn, scalars: Sequence[Value], arrays: Sequence[Any], outputs: Sequence[Any]
) -> Function:
    """The kernel of an equation. Its params are `scalars`, then the operands and the results of
    rank > 0, laid out as `arrays` and `outputs`."""
    with Builder(eqn.op.name, "kernel") as b:
        env = {v: b.param(v.type, v.name) for v in scalars}

        def buffer(v: Value, array: Any) -> Value:
            dims = substitute_dims(v.dims, env)
            if any(d in eqn.results for d in dims):  # extents that the kernel finds
                dims = array.shape
            return b.param(BufferType(v.dtype, dims, strides_of(array)), v.name)

        env |= {v: buffer(v, a) for v, a in zip(_arrays(eqn.operands), arrays)}
        inputs = [env.get(v, v) for v in eqn.operands]
        out = [buffer(v, a) for v, a in zip(_arrays(eqn.results), outputs)]
        results = _emit(eqn, Memory(inputs, env), out)
    return b.build(*results)


def _emit(eqn: Eqn, context: Memory, outputs: Sequence[Value]) -> Sequence[Value]:
    assert isinstance(eqn.op, Primitive)
    rule = eqn.op.lowering(eqn)
    if isinstance(rule, Kernel):
        return rule.emit(context, eqn, context.inputs, outputs)

    def element(index: Sequence[Value]) -> Value:
        if isinstance(rule, Element):
            return rule.emit(context, eqn, index)
        assert isinstance(rule, Reduction)
        return _folded(eqn, rule, context, index)

    if not outputs:
        return (element(()),)
    extents = [context.dim(d) for d in eqn.result.dims]
    kind = "vector" if isinstance(rule, Element) else "seq"
    nest(extents, lambda at: store(outputs[0], element(at), *at), innermost=kind)
    return ()


def _folded(eqn: Eqn, rule: Reduction, context: Memory, index: Sequence[Value]) -> Value:
    (x,), axes = eqn.operands, eqn.attrs["axes"]
    combine = getattr(s, rule.combine)
    assert isinstance(combine, ScalarOp)
    kept = [a for a in range(x.rank) if a not in axes]

    def term(*k: Value) -> Value:
        where = dict(zip(kept, index)) | dict(zip(axes, k))
        return context.load(0, [where[a] for a in range(x.rank)])

    extents = [context.dim(x.dims[a]) for a in axes]
    return fold(extents, term, combine, Literal(rule.identity(x.dtype), x.dtype))


def _arrays(values: Sequence[Value]) -> list[Value]:
    return [v for v in values if v.rank]


def run_kernel(
    eqn: Eqn,
    operands: Sequence[Any],
    values: dict[Value, Any] | None = None,
    outputs: Sequence[Any] | None = None,
    backward: bool = False,
) -> list[Any]:
    """The results of an equation by its kernel.

    Args:
        operands: the data of all operands.
        values: the dims that are Values, but for those among the operands.
        outputs: where to put the results of rank > 0; fresh memory by default.
        backward: run independent iterations last to first.
    """
    known = dict(values or {})
    for v, x in zip(eqn.operands, operands):
        if not v.rank and not isinstance(v, Literal):
            known[v] = x
    if outputs is None:
        outputs = _fresh_outputs(eqn, operands, known)
    arrays = [x for v, x in zip(eqn.operands, operands) if v.rank]
    f = kernel_of(eqn, list(known), arrays, outputs)
    found = iter(run(f, [*known.values(), *arrays, *outputs], backward=backward))
    filled = iter(outputs)
    known |= {v: next(filled) if v.rank else next(found) for v in eqn.results}
    return [_cut(v, known) for v in eqn.results]


def _cut(v: Value, known: dict[Value, Any]) -> Any:
    """A result; of a buffer that is large enough only the part that holds it."""
    if not v.rank:
        return known[v]
    return known[v][tuple(slice(n) for n in _shape(v.dims, known))]


def _shape(dims: Sequence[Dim], known: dict[Value, Any]) -> tuple[int, ...]:
    return tuple(d if isinstance(d, int) else int(known[d]) for d in dims)


def _fresh_outputs(eqn: Eqn, operands: Sequence[Any], known: dict[Value, Any]) -> list[Any]:
    assert isinstance(eqn.op, Primitive)
    rule = eqn.op.lowering(eqn)
    arrays = _arrays(eqn.results)
    dims = [v.dims for v in arrays]
    if isinstance(rule, Kernel) and rule.bound is not None:
        dims = list(rule.bound(eqn))
    if arrays and eqn.op.writes is not None:
        return [np.array(operands[eqn.op.writes])]
    return [np.full(_shape(d, known), 99, v.dtype.numpy) for v, d in zip(arrays, dims)]
