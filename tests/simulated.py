"""Helpers for tests of devices: kernels and programs run by the CUDA shim, or on a GPU."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import jitnet
from jitnet.codegen.cuda.cut import cut
from jitnet.codegen.signature import Input, ScalarOutput, Signature
from jitnet.ir import ArrayType, BufferType, Function
from jitnet.runtime.devices import open_device
from jitnet.runtime.devices.program import DeviceProgram

needs_compiler = pytest.mark.skipif(
    shutil.which("g++") is None, reason="the device cpusim compiles kernels with g++"
)

SCHEDULES = (0, 1, 2, 3)
"""Threads as they are numbered, the other way round, and in two random orders."""


def run_kernel(f: Function, args: Sequence[Any], name: str) -> list[Any]:
    """Run a kernel Function on a device: arrays, which are C-contiguous, are changed in place, and
    the results are its scalars."""
    device = open_device(name)
    made = cut(f)
    inputs = tuple(Input(p.dtype, p.rank, written=isinstance(p.type, BufferType)) for p in f.params)
    outputs = tuple(
        ScalarOutput(i, r.dtype) for i, r in enumerate(f.results) if isinstance(r.type, ArrayType)
    )
    signature = Signature(inputs, outputs)
    program = DeviceProgram(device, made, device.load(made.text), signature, [False] * len(args))
    return program(args)


def hosts_program(fn: Callable[..., Any], *args: Any) -> str:
    """What the host does."""
    return jitnet.jit(fn, device="cpusim").lower(*args).stages["launches"]


def launches(fn: Callable[..., Any], *args: Any) -> int:
    """How many launches stand in a function's host program."""
    return hosts_program(fn, *args).count("launch ")


def assert_same(x: Any, y: Any) -> None:
    """Equal dtype, shape and values; NaNs are equal."""
    x, y = np.asarray(x), np.asarray(y)
    assert x.dtype == y.dtype
    np.testing.assert_array_equal(x, y)
