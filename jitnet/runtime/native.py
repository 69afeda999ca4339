"""Calls compiled programs with NumPy arrays, by way of ctypes.

    program = NativeProgram(compile_module(emit(kernel, host_target())), signature)
    total, y = program([x, 2.0])

Each call borrows a `_Frame`: the argument slots, the result slots and the workspace. Frames are
kept for the next call; threads and re-entrant calls that overlap take one each. The interpreter's
lock is released while native code runs.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from struct import Struct
from typing import Any, NoReturn

import numpy as np

from jitnet.codegen.heap import HEADER
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
from jitnet.errors import filled_in, raise_from_program
from jitnet.ir import DType
from jitnet.runtime.buffers import empty
from jitnet.runtime.engine import Native
from jitnet.runtime.vectorcall import NativeCallable

_ENTRY = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
_CODES = {
    "bool": "?7x",
    "i8": "b7x",
    "i16": "h6x",
    "i32": "i4x",
    "i64": "q",
    "u8": "B7x",
    "u16": "H6x",
    "u32": "I4x",
    "u64": "Q",
    "f16": "2s6x",
    "bf16": "2s6x",
    "f32": "f4x",
    "f64": "d",
}
_ADDRESS = "Q"


def _data_address(array: Any) -> int:
    """Where an array's elements are; a fifth of the time of `array.ctypes.data`."""
    return _pointer_at(id(array) + 16).value or 0


def _data_address_slowly(array: Any) -> int:
    return int(array.ctypes.data)


_pointer_at = ctypes.c_void_p.from_address
_address: Callable[[Any], int] = _data_address_slowly if NativeCallable is object else _data_address


class _Frame:
    """Memory of one call in progress."""

    __slots__ = ("_memory", "argv", "argv_address", "results", "results_address", "workspace")

    def __init__(self, arguments: int, slots: int, workspace: int) -> None:
        self.argv = ctypes.create_string_buffer(8 * arguments)
        self.argv_address = ctypes.addressof(self.argv)
        self.results = ctypes.create_string_buffer(8 * max(slots, 1))
        self.results_address = ctypes.addressof(self.results)
        self._memory = np.empty(workspace + 64, np.uint8)
        address = self._memory.ctypes.data
        self.workspace = address + -address % 64


_free = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(("free", ctypes.CDLL(None)))


class HeapBlock:
    """Owns memory that a kernel allocated; the base of the array over it."""

    def __init__(self, address: int, dtype: DType, dims: tuple[int, ...]) -> None:
        self._address = address
        self.__array_interface__ = {
            "version": 3,
            "typestr": "<u2" if dtype.name == "bf16" else dtype.numpy.str,
            "shape": dims,
            "data": (address, False),
        }

    def __del__(self, free: Callable[[int], None] = _free) -> None:
        free(self._address - HEADER)


class NativeProgram:
    """A compiled kernel as a function of arrays.

    Args:
        native: the compiled kernel.
        signature: what its params and results stand for.
    """

    def __init__(self, native: Native, signature: Signature) -> None:
        self.native = native
        self.signature = signature
        self._entry: Callable[[int, int], int] = _ENTRY(native.address)
        self._frames: list[_Frame] = []
        codes = []
        for spec in signature.inputs:
            codes.append(_ADDRESS if spec.is_array else _CODES[spec.dtype.name])
            codes += ["q"] * spec.strides
        self._buffers = [o for o in signature.outputs if isinstance(o, BufferOutput)]
        codes += [_ADDRESS] * (len(self._buffers) + 1)
        self._pack = Struct("<" + "".join(codes)).pack_into
        self._arguments = len(codes)

    def __call__(self, args: Sequence[Any]) -> list[Any]:
        """The outputs for arguments that match the signature's inputs: aligned arrays of the dtype
        and layout, numbers for rank 0 (or arrays, of complex dtypes). Extents are the caller's
        business.

        Raises:
            whatever the program raises.
        """
        values, aside = self._values(args)
        arrays = [empty(o.dims, o.dtype.numpy) for o in self._buffers]
        values += map(_address, arrays)
        try:
            frame = self._frames.pop()
        except IndexError:
            frame = self._new_frame()
        try:
            self._pack(frame.argv, 0, *values, frame.workspace)
            status = self._entry(frame.argv_address, frame.results_address)
            results = frame.results.raw
        finally:
            self._frames.append(frame)
        if status:
            self._fail(status, results)
        for spec, arg, copy in aside:
            if spec.written:
                arg[...] = copy
        return _collect(self.signature.outputs, args, arrays, results)

    def _new_frame(self) -> _Frame:
        module = self.native.module
        return _Frame(self._arguments, module.slots, module.workspace_bytes)

    def _values(self, args: Sequence[Any]) -> tuple[list[Any], list[tuple[Input, Any, Any]]]:
        """The slots' values for the inputs, and which arrays the program sees copies of."""
        values: list[Any] = []
        aside = []
        for spec, arg in zip(self.signature.inputs, args, strict=True):
            if not spec.is_array:
                values.append(_number(arg, spec.dtype))
                continue
            if not isinstance(arg, np.ndarray):  # a complex number
                copy = np.array(arg, spec.dtype.numpy)
                aside.append((spec, arg, copy))
                arg = copy
            if spec.layout != "strided":
                values.append(_address(arg))
            else:
                size = spec.unit.itemsize
                if any(step % size for step in arg.strides):
                    copy = np.ascontiguousarray(arg)
                    aside.append((spec, arg, copy))
                    arg = copy
                values.append(_address(arg))
                values += [step // size for step in arg.strides]
                values += [1] * (spec.strides - spec.rank)
        return values, aside

    def fail(self, status: int, address: int) -> NoReturn:
        """Raise what the program has reported, whose results are there."""
        self._fail(status, ctypes.string_at(address, 8 * self.native.module.slots))

    def _fail(self, status: int, results: bytes) -> NoReturn:
        site = self.native.module.sites[status - 1]
        values = [_scalar(results, i, dtype) for i, dtype in enumerate(site.dtypes)]
        if site.error == "MemoryError":
            raise MemoryError(site.message)
        raise_from_program(site.error, filled_in(site.message, values), site.loc.frames)


def _number(arg: Any, dtype: DType) -> Any:
    """What `struct` packs for a rank-0 argument."""
    if dtype.is_half:
        return dtype.numpy.type(arg).tobytes()
    if dtype.name != "f32" or isinstance(arg, np.float32):
        return arg
    with np.errstate(over="ignore"):
        return np.float32(arg)


def _scalar(results: bytes, slot: int, dtype: DType) -> Any:
    """A NumPy scalar from a result slot."""
    return np.frombuffer(results, dtype.numpy, 1, 8 * slot)[0]


def _collect(
    outputs: Sequence[Output], args: Sequence[Any], arrays: Sequence[Any], results: bytes
) -> list[Any]:
    """The results in the user's order."""
    fresh = iter(arrays)
    owned: dict[int, Any] = {}
    collected: list[Any] = []
    for output in outputs:
        if isinstance(output, BufferOutput):
            collected.append(next(fresh))
        elif isinstance(output, ScalarOutput):
            collected.append(_scalar(results, output.slot, output.dtype))
        elif isinstance(output, AliasOutput):
            x = args[output.input]
            collected.append(np.stack((x.real, x.imag), -1) if output.in_halves else x)
        else:
            collected.append(_wrap(output, results, owned))
    return collected


def _wrap(output: HeapOutput, results: bytes, owned: dict[int, Any]) -> Any:
    """An array over memory that the kernel allocated; results that are one buffer are one array."""
    address = int.from_bytes(results[8 * output.slot : 8 * output.slot + 8], "little")
    dims = tuple(
        int.from_bytes(results[8 * d.index : 8 * d.index + 8], "little", signed=True)
        if isinstance(d, Slot)
        else d
        for d in output.dims
    )
    if address not in owned:
        block = np.asarray(HeapBlock(address, output.dtype, dims))
        owned[address] = block.view(output.dtype.numpy) if output.dtype.is_half else block
    return owned[address]
