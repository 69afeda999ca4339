"""An array Function as something that runs on a device: the compiler from end to end.

    executable = compile(function, ["C"], {}, open_device("cpusim"))
    outputs = executable.run([x])

    traced → optimized → fused → kernels → launches, cuda → the device's own code

NumPy's arrays come from the host and go back to it; the device's own stay where they are. What lies
between stays on the device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache

from jitnet.codegen.cuda.cut import cut
from jitnet.codegen.cuda.launch import CudaProgram
from jitnet.codegen.signature import AliasOutput, Signature, with_complex
from jitnet.ir import Function, print_function
from jitnet.kernel.statements import CALL_EXTERN
from jitnet.runtime.devices.cpusim import CpuSim
from jitnet.runtime.devices.cuda import CudaDevice
from jitnet.runtime.devices.device import Device
from jitnet.runtime.devices.program import DeviceProgram
from jitnet.runtime.executable import Executable, OnDevice, Stages, lowered
from jitnet.runtime.options import Options

NO_OPTIONS = Options()

_DEVICES: dict[str, Callable[..., Device]] = {"cpusim": CpuSim, "cuda": CudaDevice}


@cache
def open_device(name: str) -> Device:
    """The device "cpusim", "cuda:1", or "cuda", which is the GPU that is CuPy's current one now.

    Raises:
        NotAvailableError: where what it needs is missing.
    """
    kind, _, number = name.partition(":")
    return _DEVICES[kind](*map(int, [number] if number else []))


def compile(
    function: Function,
    layouts: Sequence[str],
    stores: Mapping[int, int],
    device: Device,
    options: Options = NO_OPTIONS,
    resident: Sequence[bool] = (),
) -> Executable:
    """As `runtime.executable.compile`, for a device.

    Args:
        resident: of each param, whether it is an array of the device; by default none is.
    """
    front = lowered(function, layouts, stores, sinks=True)
    resident = resident or [False] * len(function.params)
    numbers, there = _scalars(front.program.signature, resident)
    exact = options.deterministic
    kernel, fast = front.program.kernel, options.fast_math
    with device.current():
        made = cut(kernel, numbers, there, fast, exact, device.abilities)
        front.clock.lap("cut")
        module = device.load(made.text, options.fast_math, options.loader)
    front.clock.lap("native")
    signature = with_complex(front.program.signature, function)
    run = DeviceProgram(device, made, module, signature, resident, options)
    printers = {
        **front.printers,
        "launches": lambda: print_function(made.host, source=True),
        "cuda": lambda: made.text,
    }
    dims = [p.dims for p in function.params]

    def told() -> str:
        told = [*_told(device, made, function, signature, resident)]
        if options.loader == "rawmodule":
            told.append("kernels by CuPy's RawModule: float32's denormals are zero")
        return "; ".join([*told, *run.told(dims)])

    on_device = OnDevice(told, lambda: run.cost(dims), device.current)
    return Executable(run, Stages(printers), front.clock.laps, front.program, on_device)


def _scalars(signature: Signature, resident: Sequence[bool]) -> tuple[list[int], list[int]]:
    """The positions, among the kernel's params, of the caller's numbers and of those that are on
    the device."""
    numbers: list[int] = []
    there: list[int] = []
    position = 0
    for spec, is_there in zip(signature.inputs, resident, strict=True):
        if not spec.is_array:
            (there if is_there else numbers).append(position)
        position += 1 + spec.strides
    return numbers, there


def _told(
    device: Device,
    made: CudaProgram,
    function: Function,
    signature: Signature,
    resident: Sequence[bool],
) -> Iterator[str]:
    """What runs where, and what goes from one to the other, in words."""
    kernels = len({eqn.attrs["kernel"] for eqn in made.launches})
    yield f"{device.name}, {kernels} kernels in {len(made.launches)} launches"
    inputs = list(zip(function.params, signature.inputs, resident, strict=True))
    up = [p.name or "an array from outside" for p, spec, r in inputs if spec.is_array and not r]
    down = [p.name or "an array from outside" for p, spec, r in inputs if spec.written and not r]
    if up:
        yield f"{', '.join(up)} uploaded"
    if not any(resident) and any(not isinstance(o, AliasOutput) for o in signature.outputs):
        down.append("results")
    if down:
        yield f"{', '.join(down)} downloaded"
    if not up and not down:
        yield "no array is transferred"
    if made.atomics:
        yield "scatters by atomic operations, in any order"
    functions = (made.host, *made.host.callees())
    calls = {e.attrs["name"] for f in functions for e in f.walk() if e.op is CALL_EXTERN}
    if any(name[1:] in ("gemm", "gemv") for name in calls):
        yield "products by cuBLAS, outside of graphs; see jitnet.doctor() for cuBLASLt"
    by_host = sorted(name for name in calls if device.routine(name) is None)
    if by_host:
        yield f"on the host, on copies: {', '.join(by_host)}"
