"""An array Function as something that runs: the compiler from end to end.

    executable = compile(function, ["C", "F"])
    outputs = executable.run([x, y])

    traced → optimized → fused → kernels → llvm → native code

The stages are kept as text that is printed on demand.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

from jitnet.codegen.llvm import emit
from jitnet.codegen.peaks import peak_of
from jitnet.codegen.program import NO_STORES, Program, lower
from jitnet.codegen.signature import with_complex
from jitnet.codegen.storage import Copy
from jitnet.ir import BufferType, Function, Value, print_function
from jitnet.kernel.scalars import ScalarOp
from jitnet.kernel.statements import FOR, INVOKE
from jitnet.passes import announce, optimize, outline, pairs, throughout
from jitnet.passes.fuse import fuse
from jitnet.runtime.engine import compile_module, host_target
from jitnet.runtime.native import NativeProgram

STAGES = ("traced", "optimized", "fused", "kernels", "llvm", "asm")


class Stages(Mapping[str, str]):
    """The text of each stage, printed when it is asked for."""

    def __init__(self, printers: Mapping[str, Callable[[], str]]) -> None:
        self._printers = printers

    def __getitem__(self, stage: str) -> str:
        return self._printers[stage]()

    def __iter__(self) -> Iterator[str]:
        return iter(self._printers)

    def __len__(self) -> int:
        return len(self._printers)


@dataclass(frozen=True)
class OnDevice:
    """Attributes:
    told: what runs there and how, and what is transferred, in words.
    cost: what a call takes there, or None where it cannot be told before it.
    current: makes it the current device for a while.
    """

    told: Callable[[], str]
    cost: Callable[[], Mapping[str, int] | None]
    current: Callable[[], AbstractContextManager[Any]]


@dataclass(frozen=True)
class Executable:
    """A compiled Function.

    Attributes:
        run: flat arguments (arrays of the params' dtypes, dims and layout classes; Python or NumPy
            numbers for rank 0) → the Function's results.
        stages: the text of each stage, in order; IR has the user's source lines beside it.
        milliseconds: what each stage took to make.
        program: what was emitted.
        device: how it runs on a device; None for this machine's CPU.
    """

    run: Callable[[Sequence[Any]], Sequence[Any]]
    stages: Mapping[str, str]
    milliseconds: Mapping[str, float]
    program: Program
    device: OnDevice | None = None

    @property
    def copies(self) -> Sequence[Copy]:
        """Copies of arrays that the program makes and NumPy's semantics did not ask for."""
        return self.program.report.copies

    @cached_property
    def cost(self) -> Mapping[str, int]:
        """Rough work of one call, see `cost_of`. On a device "peak_bytes" is what its plan takes,
        and results; copies of NumPy's arguments do not count. There are also "launches" of kernels,
        "calls" of libraries, and "moved_bytes", what all of these read and write, where each reads
        and writes an element once: a program that waits for memory can be no faster."""
        cost = cost_of(self.program)
        if self.device is None:
            return cost
        known = self.device.cost()
        if known is None:
            return cost | {"peak_is_known": 0}
        return {**cost, **known, "peak_is_known": 1}


def compile(
    function: Function,
    layouts: Sequence[str],
    stores: Mapping[int, int] = NO_STORES,
    fast_math: bool = False,
) -> Executable:
    """Compile a Function whose params have these layout classes ("C", "F" or "strided").

    `stores[j] = i` says that result j is what argument i becomes: it is written to that array,
    which is returned for it. An argument of rank 0 that is stored is an array.
    """
    front = lowered(function, layouts, stores)
    program, clock = front.program, front.clock
    module = emit(program.kernel, host_target(), fast_math=fast_math)
    clock.lap("emit")
    native = compile_module(module)
    clock.lap("native")
    stages = Stages({**front.printers, "llvm": lambda: module.text, "asm": lambda: native.asm})
    run = NativeProgram(native, with_complex(program.signature, function))
    return Executable(run, stages, clock.laps, program)


@dataclass(frozen=True)
class Lowered:
    """What the compilers for all machines have in common.

    Attributes:
        printers: of the stages so far.
        clock: has what each of them took.
    """

    program: Program
    printers: Mapping[str, Callable[[], str]]
    clock: Clock


def lowered(
    function: Function,
    layouts: Sequence[str],
    stores: Mapping[int, int] = NO_STORES,
    sinks: bool = False,
) -> Lowered:
    """The Function as kernel IR; arguments as in `compile`, and `sinks` as in `fuse`."""
    clock = Clock()
    real = announce(pairs, pairs(announce(outline, outline(function))))
    layouts = [_real_layout(p, layout) for p, layout in zip(function.params, layouts, strict=True)]
    optimized = throughout(optimize, real)
    clock.lap("optimize")
    fused = announce(fuse, throughout(partial(fuse, sinks=sinks), optimized))
    clock.lap("fuse")
    program = lower(fused, layouts, stores)
    announce(lower, program.kernel)
    clock.lap("lower")
    printers = {
        "traced": lambda: print_function(function, source=True),
        "optimized": lambda: print_function(optimized, source=True),
        "fused": lambda: print_function(fused, source=True),
        "kernels": lambda: print_function(program.kernel, source=True),
    }
    return Lowered(program, printers, clock)


def _real_layout(p: Value, layout: str) -> str:
    """The layout of complex numbers as halves, which are neighbours."""
    fortran = p.dtype.is_complex and layout == "F" and p.rank > 1
    return "strided" if fortran else layout


class Clock:
    """Milliseconds of each stage."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        self.laps[stage] = (now - self._last) * 1e3
        self._last = now


def cost_of(program: Program) -> dict[str, int]:
    """Rough work of one call: "kernels" (loop nests and library calls), "flops" (an extent known
    only at run time counts as one), "bytes" of the arguments and results, "copies" of arrays that
    storage made necessary.

    "peak_bytes" is the memory that the call takes beside its arguments, at its peak: temporaries,
    what a gradient saves among them, and results. It needs the extents and trip counts that
    memory depends on, or bounds of them; where some are unknown, as those of a `while` are,
    "peak_is_known" is 0, and "peak_bytes" the part that is known: a lower bound."""
    kernel = program.kernel
    peak = peak_of(program)
    return {
        "kernels": program.report.kernels,
        "flops": _flops(kernel, 1),
        "bytes": sum(_bytes(p) for p in kernel.params),
        "copies": len(program.report.copies),
        "peak_bytes": peak.bytes,
        "peak_is_known": int(peak.is_known),
    }


def _flops(f: Function, times: int) -> int:
    total = 0
    for eqn in f.eqns:
        if isinstance(eqn.op, ScalarOp):
            total += times * eqn.op.cost
        if eqn.op is INVOKE:
            total += _flops(eqn.attrs["callee"], times)
        trips = 1
        if eqn.op is FOR:
            low, high = (getattr(v, "item", None) for v in eqn.operands[:2])
            trips = max(int(high) - int(low), 0) if low is not None and high is not None else 1
        total += sum(_flops(region, times * trips) for region in eqn.regions)
    return total


def _bytes(v: Value) -> int:
    count = 1
    if isinstance(v.type, BufferType):
        for d in v.dims:
            count *= d if isinstance(d, int) else 1
    return count * v.dtype.itemsize
