"""Runs a Function of one equation by the op's own lowering rule, on the kernel interpreter.

No fusion, no decisions about storage. The interpreter refuses loads and stores out of bounds, so a
rule that reads where it should not fails here, whatever the value would have been.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jitnet.ir import BufferType, Builder, Dim, Eqn, Function, Literal, Value, index
from jitnet.kernel import interp
from jitnet.kernel.statements import load, store, view
from jitnet.ops.create import poison
from jitnet.ops.loops import nest
from jitnet.ops.primitive import Context, Element, Kernel, Lowering


@dataclass(frozen=True)
class PlainContext:
    """Operands are buffers, or kernel scalars for rank 0."""

    operands: Sequence[Value]
    values: dict[Value, Value]

    def load(self, operand: int, index: Sequence[Value]) -> Value:
        value = self.operands[operand]
        assert len(index) == (value.rank if isinstance(value.type, BufferType) else 0)
        return load(value, *index) if isinstance(value.type, BufferType) else value

    def dim(self, dim: Dim) -> Value:
        return index(dim) if isinstance(dim, int) else self.values[dim]


def run_lowered(f: Function, args: Sequence[Any], backward: bool = False) -> list[Any]:
    """What the lowering of f's one equation computes; results whose extents are only known
    afterwards are cut to them. `backward` runs independent iterations last to first."""
    (eqn,) = f.eqns
    rule = eqn.op.lowering(eqn)
    shapes = _result_shapes(eqn, rule, dict(zip(f.params, args)))
    outputs = _outputs(eqn, args, f, shapes)
    kernel = _kernel(f, eqn, rule, args, outputs)
    arrays = [np.array(a) if np.ndim(a) else a for a in args]
    scalars = list(interp.run(kernel, [*arrays, *outputs], backward=backward))
    for before, after in zip(args, arrays):
        np.testing.assert_array_equal(before, after, "an operand was written")
    buffers = iter(outputs)
    results = [next(buffers) if shape else scalars.pop(0) for shape in shapes]
    if isinstance(rule, Kernel) and rule.bound:
        return [results[0], *(r[: results[0]] for r in results[1:])]
    return results


def run_strided(f: Function, args: Sequence[Any]) -> Any:
    """The result of a view, read through the strides that its rule gives; None where the rule says
    that strides cannot do it. Operand 0 is C-contiguous."""
    (eqn,) = f.eqns
    rule = eqn.op.lowering(eqn)
    assert isinstance(rule, Element)
    assert rule.strided is not None
    (shape,) = _result_shapes(eqn, rule, dict(zip(f.params, args)))
    output = poison(eqn.result.dtype, shape)
    with Builder("strided", "kernel") as b:
        params, context = _params(b, f, eqn, args)
        out = b.param(BufferType(eqn.result.dtype, shape))
        x = params[f.params.index(eqn.operands[0])]
        steps = [st // args[0].itemsize for st in args[0].strides]
        found = rule.strided(eqn, context.dim, index(0), tuple(index(n) for n in steps))
        if found is None:
            return None
        offset, strides = found
        if 0 not in shape:
            read = view(
                x, offset, shape, [n.item if isinstance(n, Literal) else n for n in strides]
            )
            nest(shape, lambda at: store(out, load(read, *at), *at))
    interp.run(b.build(), [*args, output])
    return output


def _result_shapes(eqn: Eqn, rule: Lowering, env: dict[Value, Any]) -> list[tuple[int, ...]]:
    def extent(d: Dim) -> int:
        return d if isinstance(d, int) else int(env[d])

    dims = [r.dims for r in eqn.results]
    if isinstance(rule, Kernel) and rule.bound:
        dims[1:] = rule.bound(eqn)
    return [tuple(extent(d) for d in ds) for ds in dims]


def _outputs(
    eqn: Eqn, args: Sequence[Any], f: Function, shapes: Sequence[tuple[int, ...]]
) -> list[Any]:
    outputs = [poison(r.dtype, shape) for r, shape in zip(eqn.results, shapes) if shape]
    if outputs and eqn.op.writes is not None:
        outputs[0] = np.array(args[f.params.index(eqn.operands[eqn.op.writes])])
    return outputs


def _params(
    b: Builder, f: Function, eqn: Eqn, args: Sequence[Any]
) -> tuple[list[Value], PlainContext]:
    params = [
        b.param(BufferType(p.dtype, a.shape) if p.rank else p.type) for p, a in zip(f.params, args)
    ]
    values = dict(zip(f.params, params))
    operands = [values.get(v, v) for v in eqn.operands]
    return params, PlainContext(operands, values)


def _kernel(
    f: Function, eqn: Eqn, rule: Lowering, args: Sequence[Any], outputs: Sequence[Any]
) -> Function:
    with Builder("lowered", "kernel") as b:
        _, context = _params(b, f, eqn, args)
        arrays = [r for r in eqn.results if r.rank]
        outs = [b.param(BufferType(r.dtype, o.shape)) for r, o in zip(arrays, outputs)]
        results = _emit(context, eqn, rule, outs)
    return b.build(*results)


def _emit(
    context: PlainContext, eqn: Eqn, rule: Lowering, outs: Sequence[Value]
) -> Sequence[Value]:
    checked: Context = context
    if isinstance(rule, Kernel):
        return rule.emit(checked, eqn, context.operands, outs)
    assert isinstance(rule, Element)
    if not outs:
        return (rule.emit(checked, eqn, ()),)
    dims = [context.dim(d) for d in eqn.result.dims]
    nest(dims, lambda at: store(outs[0], rule.emit(checked, eqn, at), *at))
    return ()
