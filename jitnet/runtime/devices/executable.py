"""An array Function as something that runs on a device: the compiler from end to end.

    executable = compile(function, ["C"], {}, open_device("cpusim"))
    outputs = executable.run([x])

    traced → optimized → fused → kernels → launches, cuda → the device's own code

Arrays come from the host and go back to it; what lies between stays on the device.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from math import prod
from typing import Any

import numpy as np

from jitnet.codegen.cuda.cut import cut
from jitnet.codegen.cuda.launch import CudaProgram
from jitnet.codegen.signature import (
    AliasOutput,
    BufferOutput,
    HeapOutput,
    Input,
    Output,
    ScalarOutput,
    Signature,
    Slot,
    with_complex,
)
from jitnet.ir import DType, Function, print_function
from jitnet.ir import types as T
from jitnet.runtime.devices.cpusim import CpuSim
from jitnet.runtime.devices.cuda import CudaDevice
from jitnet.runtime.devices.device import Device, Module
from jitnet.runtime.devices.driver import Buffer, Number, Run
from jitnet.runtime.executable import Executable, Stages, lowered

_DEVICES: dict[str, Callable[[], Device]] = {"cpusim": CpuSim, "cuda": CudaDevice}


@cache
def open_device(name: str) -> Device:
    """The device "cpusim" or "cuda".

    Raises:
        NotAvailableError: where what it needs is missing.
    """
    return _DEVICES[name]()


def compile(
    function: Function, layouts: Sequence[str], stores: Mapping[int, int], device: Device
) -> Executable:
    """As `runtime.executable.compile`, for a device."""
    front = lowered(function, layouts, stores)
    made = cut(front.program.kernel)
    front.clock.lap("cut")
    module = device.load(made.text)
    front.clock.lap("native")
    run = DeviceProgram(device, made, module, with_complex(front.program.signature, function))
    printers = {
        **front.printers,
        "launches": lambda: print_function(made.host, source=True),
        "cuda": lambda: made.text,
    }
    return Executable(run, Stages(printers), front.clock.laps, front.program, _told(device, made))


def _told(device: Device, made: CudaProgram) -> str:
    kernels = len({eqn.attrs["kernel"] for eqn in made.launches})
    return (
        f"{device.name}, {kernels} kernels in {len(made.launches)} launches; arguments are copied "
        "to it, and results and changed arguments back"
    )


@dataclass
class DeviceProgram:
    """A program on a device as a function of arrays; the same for any number of threads.

    Attributes:
        signature: what the params and results of the kernel Function stand for.
        constants: see `Run`.
    """

    device: Device
    program: CudaProgram
    module: Module
    signature: Signature
    constants: dict[int, Buffer] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, args: Sequence[Any]) -> list[Any]:
        """The outputs for arguments that match the signature's inputs.

        Raises:
            whatever the program raises.
        """
        with self.lock:
            return self._run(args)

    def _run(self, args: Sequence[Any]) -> list[Any]:
        device = self.device
        most = max((len(site.dtypes) for site in self.program.sites), default=0)
        status = self._uploaded(np.zeros(1 + most, np.int64), T.i64)
        given: list[Any] = []
        written: list[tuple[Any, Any, Buffer]] = []
        for spec, arg in zip(self.signature.inputs, args, strict=True):
            if not spec.is_array:
                given.append(_number(arg, spec.dtype))
                continue
            copy = _copied(spec, arg)
            at = self._uploaded(copy, spec.unit)
            given += [at, *_strides(spec, copy)]
            if spec.written:
                written.append((arg, copy, at))
        fresh = []
        for output in self.signature.outputs:
            if isinstance(output, BufferOutput):
                size = max(prod(output.dims) * output.dtype.itemsize, 1)
                unit = output.dtype.half if output.dtype.is_complex else output.dtype
                fresh.append(Buffer(device.allocate(size), 0, unit))
        run = Run(device, self.program, self.module, status, self.constants)
        results = run.function(self.program.host, [*given, *fresh])
        run.raise_reported()
        device.finish()
        for arg, copy, at in written:
            arg[...] = self._downloaded(at, copy.size, copy.dtype).reshape(copy.shape)
        buffers = iter(fresh)
        return [self._output(o, args, results, buffers, run) for o in self.signature.outputs]

    def _uploaded(self, data: Any, dtype: DType) -> Buffer:
        memory = self.device.allocate(max(data.nbytes, 1))
        self.device.upload(memory, 0, data)
        return Buffer(memory, 0, dtype)

    def _downloaded(self, at: Buffer, count: int, dtype: np.dtype[Any]) -> Any:
        return self.device.download(at.memory, at.offset, count * dtype.itemsize).view(dtype)

    def _output(
        self, output: Output, args: Sequence[Any], results: Sequence[Any], fresh: Any, run: Run
    ) -> Any:
        def number(slot: int) -> Any:
            found = results[slot]
            return run.read(found) if isinstance(found, Number) else found

        if isinstance(output, ScalarOutput):
            return number(output.slot)
        if isinstance(output, AliasOutput):
            x = args[output.input]
            return np.stack((x.real, x.imag), -1) if output.in_halves else x
        dims = tuple(int(number(d.index)) if isinstance(d, Slot) else d for d in output.dims)
        at = results[output.slot] if isinstance(output, HeapOutput) else next(fresh)
        return self._downloaded(at, prod(dims), output.dtype.numpy).reshape(dims)


def _number(arg: Any, dtype: DType) -> Any:
    with np.errstate(over="ignore"):
        return dtype.numpy.type(arg)


def _copied(spec: Input, arg: Any) -> Any:
    """An array whose memory is that of its elements, in the order of the layout."""
    x = np.asarray(arg, spec.dtype.numpy)
    return x.copy("F") if spec.layout == "F" else x.copy("C")


def _strides(spec: Input, copy: Any) -> list[Any]:
    """Those that follow the address, in units."""
    if spec.layout != "strided":
        return []
    steps = [step // spec.unit.itemsize for step in copy.strides]
    return [np.int64(n) for n in (*steps, *[1] * (spec.strides - spec.rank))]
