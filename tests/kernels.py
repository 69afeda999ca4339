"""Helpers for tests of native code: run a kernel Function on arrays that it changes in place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from jitnet.codegen.llvm import LlvmModule, emit
from jitnet.codegen.signature import Input, ScalarOutput, Signature
from jitnet.ir import ArrayType, BufferType, Builder, Function, Type, Value
from jitnet.ir.types import from_numpy
from jitnet.kernel.interp import run as interpret
from jitnet.runtime.engine import compile_module, host_target
from jitnet.runtime.native import NativeProgram


def type_of(arg: Any) -> Type:
    """The kernel type of an argument: a buffer, or a scalar for NumPy scalars."""
    dtype = from_numpy(arg.dtype)
    if not arg.ndim:
        return ArrayType(dtype)
    strides = tuple(s // arg.itemsize for s in arg.strides)
    plain = arg.flags.c_contiguous
    return BufferType(dtype, arg.shape, None if plain else strides)


def build(types: list[Type], body: Callable[..., Any]) -> Function:
    """The kernel whose params have these types and whose results `body(*params)` returns."""
    with Builder("kernel", "kernel") as b:
        params = [b.param(type, f"p{i}") for i, type in enumerate(types)]
        results = body(*params)
    if isinstance(results, Value):
        results = (results,)
    return b.build(*(results or ()))


def native(kernel: Function) -> NativeProgram:
    """The kernel compiled; it takes all its params and returns its scalar results."""
    module: LlvmModule = emit(kernel, host_target())
    inputs = tuple(Input(p.dtype, p.rank) for p in kernel.params)
    outputs = tuple(
        ScalarOutput(i, r.dtype)
        for i, r in enumerate(kernel.results)
        if isinstance(r.type, ArrayType)
    )
    return NativeProgram(compile_module(module), Signature(inputs, outputs))


def run(body: Callable[..., Any], *args: Any) -> list[Any]:
    """Compile `body` for these arguments and call it; arrays are changed in place."""
    return native(build([type_of(a) for a in args], body))(args)


def outcome(f: Callable[[], Any]) -> tuple[Any, Exception | None]:
    """What f returns, or what it raises."""
    try:
        return f(), None
    except Exception as error:
        return None, error


def check(body: Callable[..., Any], *args: Any) -> list[Any]:
    """As `run`; the kernel's interpreter must do the same, errors and all."""
    kernel = build([type_of(a) for a in args], body)
    copies = [a.copy(order="K") for a in args]
    expected, failure = outcome(lambda: interpret(kernel, copies, expand=True))
    results, error = outcome(lambda: native(kernel)(args))
    assert (type(error), str(error)) == (type(failure), str(failure))
    if error is not None:
        raise error
    for x, y in zip(args, copies):
        assert same_bits(x, y)
    for x, y in zip(results, expected):
        assert x.dtype == y.dtype
        np.testing.assert_allclose(x, y, rtol=1e-14)  # folds may be reassociated
    return list(results)


def same_bits(x: Any, y: Any) -> bool:
    """Equal dtype, shape and values; NaNs are equal, zeros differ by sign."""
    x, y = np.asarray(x), np.asarray(y)
    if x.dtype != y.dtype or x.shape != y.shape:
        return False
    if x.dtype.kind != "f":
        return bool(np.array_equal(x, y))
    equal = (x == y) & (np.signbit(x) == np.signbit(y))
    return bool(np.all(equal | (np.isnan(x) & np.isnan(y))))
