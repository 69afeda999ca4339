"""A fused array Function as a kernel: its params and results, and the calling convention.

    func @f(%x: f64[8], %s: f64) -> (f64[8], f64)
    func @f(%x: buf f64[8], %s: f64, %out0: buf f64[8]) -> (f64)       and its Signature

Results whose shape is known are written to the caller's buffers, offered from the start to what
computes them (`Body.hints`); scalars are returned, and so is memory whose size only the program
knows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jitnet.codegen.lower import Body
from jitnet.codegen.scoped import ScopedBuilder
from jitnet.codegen.signature import (
    AliasOutput,
    BufferOutput,
    HeapOutput,
    Input,
    Output,
    ScalarOutput,
    Signature,
    Slot,
)
from jitnet.codegen.storage import Binding, Place, Report, Root
from jitnet.ir import BufferType, Dim, Function, Value
from jitnet.kernel import statements as k


@dataclass(frozen=True)
class Program:
    """A kernel Function, how a call's arrays map to its params, and what was decided."""

    kernel: Function
    signature: Signature
    report: Report


def lower(f: Function, layouts: Sequence[str]) -> Program:
    """Lower a fused array Function. `layouts` gives "C", "F" or "strided" for each param.

    The params of `f` are the call's inputs in order; a param that is a dim of another is passed
    like any scalar.
    """
    report = Report()
    builder = ScopedBuilder(f.name)
    with builder:
        env, inputs = _bind_params(builder, f, layouts)
        hints, outputs, slots = _plan_outputs(builder, f)
        body = Body(f, env, hints, report)
        body.run()
        results: list[Value] = []
        for j, v in enumerate(f.results):
            outputs[j] = _finish_output(body, v, outputs[j], slots.get(j), results)
        _resolve_heap_dims(f, outputs, results, body)
        body.release([body.place(v).root for v, o in zip(f.results, outputs) if _is_heap(o)])
    kernel = builder.build(*results)
    return Program(kernel, Signature(tuple(inputs), tuple(o for o in outputs if o)), report)


def _bind_params(
    builder: ScopedBuilder, f: Function, layouts: Sequence[str]
) -> tuple[dict[Value, Binding], list[Input]]:
    env: dict[Value, Binding] = {}
    inputs: list[Input] = []
    for p, layout in zip(f.params, layouts, strict=True):
        rank = p.rank
        inputs.append(Input(p.dtype, rank, layout if rank else "C"))
        if rank == 0:
            env[p] = builder.param(p.type, p.name)
            continue
        dims = tuple(_kernel_dim(d, env) for d in p.dims)
        place = len(builder.params)
        strides: tuple[Dim, ...] | None = None
        if layout == "strided":
            names = [f"{p.name}_s{a}" for a in range(rank)]
            strides = tuple(builder.param(k.INDEX, name) for name in names)
        elif layout == "F" and rank > 1:
            step, reverse = 1, []
            for d in dims:
                reverse.append(step)
                step *= d if isinstance(d, int) else 1
            strides = tuple(reverse)
        buffer = builder.param(BufferType(p.dtype, dims, strides), p.name)
        builder.params.insert(place, builder.params.pop())
        env[p] = Place(buffer, Root(writable=False), whole=False)
    for p, binding in env.items():
        if isinstance(binding, Place):
            binding.root.values.append(p)
    return env, inputs


def _kernel_dim(dim: Dim, env: Mapping[Value, Binding]) -> Dim:
    if isinstance(dim, int):
        return dim
    bound = env[dim]
    assert isinstance(bound, Value)
    return bound


def _plan_outputs(
    builder: ScopedBuilder, f: Function
) -> tuple[dict[Value, Place], list[Output | None], dict[int, Place]]:
    """A buffer param for each result whose shape is known, offered to what computes it."""
    hints: dict[Value, Place] = {}
    outputs: list[Output | None] = []
    slots: dict[int, Place] = {}
    for j, v in enumerate(f.results):
        if v in f.params:
            outputs.append(AliasOutput(f.params.index(v)))
        elif v.rank and v.array_type.is_static:
            buffer = builder.param(BufferType(v.dtype, v.dims), f"out{j}")
            slots[j] = Place(buffer, Root(writable=True))
            hints.setdefault(v, slots[j])
            outputs.append(BufferOutput(v.dtype, v.shape))
        else:
            outputs.append(None)
    return hints, outputs, slots


def _finish_output(
    body: Body, v: Value, planned: Output | None, slot: Place | None, results: list[Value]
) -> Output | None:
    if slot is not None:
        body.move(v, slot, "the result is computed elsewhere")
        return planned
    if planned is not None:
        return planned
    if v.rank == 0:
        results.append(body.scalar(v))
        return ScalarOutput(len(results) - 1, v.dtype)
    place = body.place(v)
    if not (place.root.heap and place.whole and place.root.writable):
        place = body.materialise(v, heap=True)
    results.append(place.buffer)
    return HeapOutput(len(results) - 1, v.dtype, ())


def _is_heap(output: Output | None) -> bool:
    return isinstance(output, HeapOutput)


def _resolve_heap_dims(
    f: Function, outputs: list[Output | None], results: list[Value], body: Body
) -> None:
    """Where the extents of run-time results are found: each is a result too."""
    for j, output in enumerate(outputs):
        if not isinstance(output, HeapOutput):
            continue
        dims: list[int | Slot] = []
        for d in f.results[j].dims:
            if isinstance(d, int):
                dims.append(d)
                continue
            results.append(body.scalar(d))
            dims.append(Slot(len(results) - 1))
        outputs[j] = HeapOutput(output.slot, output.dtype, tuple(dims))
