"""A fused array Function as a kernel: its params and results, and the calling convention.

    func @f(%x: f64[8], %s: f64) -> (f64[8], f64)
    func @f(%x: buf f64[8], %s: f64, %out0: buf f64[8]) -> (f64)       and its Signature

Results whose shape is known are written to the caller's buffers, offered from the start to what
computes them (`Body.hints`); scalars are returned, and so is memory whose size only the program
knows. Arguments that the program changes are such buffers too, and may be overwritten like any
memory whose content is no longer read:

    lower(f, ["C", "C"], {0: 0})            func @f(%x: buf f64[8], %s: f64) -> (f64)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from jitnet.codegen.calls import Callees
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
from jitnet.codegen.storage import Binding, Place, Report, Root, copy_elements
from jitnet.ir import BufferType, Dim, Function, Value
from jitnet.kernel import statements as k

NO_STORES: Mapping[int, int] = MappingProxyType({})


@dataclass(frozen=True)
class Program:
    """A kernel Function, how a call's arrays map to its params, and what was decided."""

    kernel: Function
    signature: Signature
    report: Report


def lower(f: Function, layouts: Sequence[str], stores: Mapping[int, int] = NO_STORES) -> Program:
    """Lower a fused array Function.

    Args:
        f: its params are the call's inputs in order; a param that is a dim of another is passed
            like any scalar.
        layouts: "C", "F" or "strided" for each param.
        stores: `stores[j] = i` says that result j ends in the memory of param i, which has the same
            type and shares no memory with other params; one of rank 0 is passed as an array.
    """
    return _lower(f, layouts, stores, frozenset(stores.values()), Callees(_lower_callee))


def _lower_callee(
    f: Function, stores: Mapping[int, int], consumed: frozenset[int], callees: Callees
) -> Program:
    return _lower(f, ["C"] * len(f.params), stores, consumed, callees)


def _lower(
    f: Function,
    layouts: Sequence[str],
    stores: Mapping[int, int],
    consumed: frozenset[int],
    callees: Callees,
) -> Program:
    report = Report()
    builder = ScopedBuilder(f.name)
    with builder:
        params = _bind_params(builder, f, layouts, consumed)
        plan = _plan_outputs(builder, f, params, stores)
        body = Body(_without(f, plan.copied), params.env, plan.hints, report, callees)
        _begin(body, f, plan)
        body.run()
        outputs, results = _finish(body, f, plan)
        heaps = [body.place(v).root for v, o in zip(f.results, outputs) if _is_heap(o)]
        body.release(heaps)
    kernel = builder.build(*results)
    return Program(kernel, Signature(tuple(params.inputs), tuple(outputs)), report)


@dataclass
class _Params:
    """What the kernel is given.

    Attributes:
        env: the Function's params at the kernel level.
        stored: the places of the params that the program changes.
    """

    env: dict[Value, Binding] = field(default_factory=dict)
    inputs: list[Input] = field(default_factory=list)
    stored: dict[int, Place] = field(default_factory=dict)


def _bind_params(
    builder: ScopedBuilder, f: Function, layouts: Sequence[str], stored: frozenset[int]
) -> _Params:
    found = _Params()
    for i, (p, layout) in enumerate(zip(f.params, layouts, strict=True)):
        found.inputs.append(Input(p.dtype, p.rank, layout if p.rank else "C", i in stored))
        if p.rank == 0 and i not in stored:
            found.env[p] = builder.param(p.type, p.name)
            continue
        buffer = _buffer_param(builder, p, layout if p.rank else "C", found.env)
        place = Place(buffer, Root(writable=i in stored), whole=i in stored, c_order=layout == "C")
        if i in stored:
            found.stored[i] = place
        found.env[p] = place if p.rank else k.load(buffer)
    for p, binding in found.env.items():
        if isinstance(binding, Place):
            binding.root.values.append(p)
    return found


def _buffer_param(
    builder: ScopedBuilder, p: Value, layout: str, env: Mapping[Value, Binding]
) -> Value:
    dims = tuple(_kernel_dim(d, env) for d in p.dims)
    place = len(builder.params)
    strides: tuple[Dim, ...] | None = None
    if layout == "strided":
        names = [f"{p.name}_s{a}" for a in range(p.rank)]
        strides = tuple(builder.param(k.INDEX, name) for name in names)
    elif layout == "F" and p.rank > 1:
        step, reverse = 1, []
        for d in dims:
            reverse.append(step)
            step *= d if isinstance(d, int) else 1
        strides = tuple(reverse)
    buffer = builder.param(BufferType(p.dtype, dims, strides), p.name)
    builder.params.insert(place, builder.params.pop())
    return buffer


def _kernel_dim(dim: Dim, env: Mapping[Value, Binding]) -> Dim:
    if isinstance(dim, int):
        return dim
    bound = env[dim]
    assert isinstance(bound, Value)
    return bound


@dataclass
class _Plan:
    """What becomes of the results.

    Attributes:
        outputs: None for scalars and run-time memory: known when they are computed.
        targets: the memory that a result must end in.
        stored: the results among them that end in a param, written last.
        hints: the targets, offered to what computes the results.
        copied: results that are the old content of a changed param: copied first of all.
    """

    outputs: list[Output | None] = field(default_factory=list)
    targets: dict[int, Place] = field(default_factory=dict)
    stored: list[int] = field(default_factory=list)
    hints: dict[Value, Place] = field(default_factory=dict)
    copied: list[int] = field(default_factory=list)


def _plan_outputs(
    builder: ScopedBuilder, f: Function, params: _Params, stores: Mapping[int, int]
) -> _Plan:
    plan = _Plan()
    changed = {f.params[i] for j, i in stores.items() if f.results[j] is not f.params[i]}
    for j, i in stores.items():
        v = f.results[j]
        assert v.type == f.params[i].type, f"result {j} is no content for param {i}"
        if v is not f.params[i]:
            plan.targets[j] = params.stored[i]
            plan.stored.append(j)
            plan.hints.setdefault(v, params.stored[i])
    for j, v in enumerate(f.results):
        if j in stores:
            plan.outputs.append(AliasOutput(stores[j]))
        elif v in f.params and v not in changed:
            plan.outputs.append(AliasOutput(f.params.index(v)))
        elif v.rank and v.array_type.is_static:
            buffer = builder.param(BufferType(v.dtype, v.dims), f"out{j}")
            plan.targets[j] = Place(buffer, Root(writable=True))
            plan.outputs.append(BufferOutput(v.dtype, v.shape))
            if v in changed:
                plan.copied.append(j)
            else:
                plan.hints.setdefault(v, plan.targets[j])
        else:
            plan.outputs.append(None)
    return plan


def _without(f: Function, copied: Sequence[int]) -> Function:
    """The Function as the body sees it: these results are dealt with."""
    results = tuple(v for j, v in enumerate(f.results) if j not in copied)
    return Function(f.name, f.params, f.eqns, results, f.level)


def _begin(body: Body, f: Function, plan: _Plan) -> None:
    """Copies from one param to another, or to a result, that can be made before anything else: then
    nothing keeps the rest from working in place."""
    for j in plan.copied:
        v = f.results[j]
        copy_elements(body.place(v).buffer, plan.targets[j].buffer, body.dims(v))
    moved: set[Value] = set()
    for j in plan.stored:
        v, target = f.results[j], plan.targets[j]
        if v.rank and v in f.params and v not in moved and not body.busy(target.root):
            copy_elements(body.place(v).buffer, target.buffer, body.dims(v))
            body.bind(v, target)
            moved.add(v)


def _finish(body: Body, f: Function, plan: _Plan) -> tuple[list[Output], list[Value]]:
    """Every result where it belongs; params are overwritten last. The outputs, and the results of
    the kernel."""
    results: list[Value] = []
    outputs: list[Output] = []
    for j, (v, planned) in enumerate(zip(f.results, plan.outputs)):
        if planned is None:
            outputs.append(_output(body, v, results))
            continue
        outputs.append(planned)
        if j in plan.targets and j not in plan.stored and j not in plan.copied:
            body.move(v, plan.targets[j], "the result is computed elsewhere")
    for j in plan.stored:
        v, target = f.results[j], plan.targets[j]
        if v.rank:
            body.move(v, target, "what an argument becomes is computed elsewhere")
        else:
            k.store(target.buffer, body.scalar(v))
    return [_with_dims(f, j, o, results, body) for j, o in enumerate(outputs)], results


def _output(body: Body, v: Value, results: list[Value]) -> Output:
    if v.rank == 0:
        results.append(body.scalar(v))
        return ScalarOutput(len(results) - 1, v.dtype)
    place = body.place(v)
    is_own = place.root.heap and place.whole and place.root.writable
    if not (is_own and _has_strides_of_extents(place.buffer, v, body)):
        place = body.materialise(v, heap=True)
    results.append(place.buffer)
    return HeapOutput(len(results) - 1, v.dtype, ())


def _has_strides_of_extents(buffer: Value, v: Value, body: Body) -> bool:
    """Whether the strides are ints and extents, which are results too; those of a new axis of
    extent 1 may be products."""
    extents = {body.scalar(d) for d in v.dims if not isinstance(d, int)}
    return all(isinstance(s, int) or s in extents for s in buffer.buffer_type.strides or ())


def _is_heap(output: Output) -> bool:
    return isinstance(output, HeapOutput)


def _with_dims(f: Function, j: int, output: Output, results: list[Value], body: Body) -> Output:
    """Where the extents of a run-time result are found: each is a result too."""
    if not isinstance(output, HeapOutput):
        return output
    dims: list[int | Slot] = []
    for d in f.results[j].dims:
        if isinstance(d, int):
            dims.append(d)
            continue
        results.append(body.scalar(d))
        dims.append(Slot(len(results) - 1))
    return HeapOutput(output.slot, output.dtype, tuple(dims))
