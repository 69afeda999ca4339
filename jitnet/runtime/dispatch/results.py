"""The program's run, its new arrays, and the object that the call returns."""

from __future__ import annotations

from collections.abc import Container
from functools import partial
from math import prod
from typing import Any

import numpy as np

from jitnet.codegen.signature import BufferOutput, HeapOutput, ScalarOutput, Slot
from jitnet.codegen.text import memory_type
from jitnet.ir import DType
from jitnet.runtime.buffers import LARGE, empty
from jitnet.runtime.dispatch.spec import (
    Argument,
    Branch,
    Chosen,
    Constant,
    Listing,
    Result,
    ResultTree,
)
from jitnet.runtime.dispatch.text import Emitter

_BY_ROWS, _BY_COLUMNS = 0x0501, 0x0502
"""NumPy's flags for arrays in one piece that are aligned and writeable."""

STACK_BYTES = 1 << 14
"""Workspaces of at most so many bytes lie on the stack."""


def is_large(output: Any) -> bool:
    """Whether an output's memory comes from the pool, which is Python code."""
    if not isinstance(output, BufferOutput):
        return False
    return prod(output.dims) * output.dtype.itemsize >= LARGE


def allocate(e: Emitter, output: Any, by_columns: bool) -> str:
    """The new array of an output, with its address in the next slot; "" for scalars."""
    if not isinstance(output, BufferOutput):
        return ""
    if is_large(output):
        make = e.address_of(partial(_large, output.dims, output.dtype.numpy, by_columns))
        made = e.own(e.w.let(f"call ptr @PyObject_CallNoArgs(ptr {make})"))
    else:
        made = e.own(e.new_array(output.dtype, output.dims, by_columns))
    e.w.add(f"store ptr {e.field('ptr', made, 16)}, ptr {e.next_slot()}")
    return made


def _large(dims: tuple[int, ...], dtype: np.dtype[Any], by_columns: bool) -> Any:
    """An array whose memory comes from the pool."""
    made = empty(dims, dtype)
    return made.T if by_columns else made


def run_program(e: Emitter, release: bool) -> None:
    """Call the program; leave for the Python method where it reports an error."""
    w, module = e.w, e.program.native.module
    e.stack("results", 8 * module.slots)
    workspace, home = _workspace(e, module.workspace_bytes, release)
    w.add(f"store ptr {workspace}, ptr {e.next_slot()}")
    thread = w.let("call ptr @PyEval_SaveThread()") if release else ""
    program = f"inttoptr (i64 {e.program.native.address} to ptr)"
    status = w.let(f"call i32 {program}(ptr %argv, ptr %results)")
    if release:
        w.add(f"call void @PyEval_RestoreThread(ptr {thread})")
    if home:
        w.add(f"call void @give(ptr @spare, ptr {workspace}, ptr {home})")
    ok, failed = w.fresh("ok"), "failed"
    if e.spec.fail is not None:
        w.add(f"store i32 {status}, ptr {e.stack('status', 8)}")
        failed = "raised"
    w.add(f"br i1 {w.let(f'icmp eq i32 {status}, 0')}, label %{ok}, label %{failed}, !prof !0")
    w.label(ok)


def _workspace(e: Emitter, size: int, release: bool) -> tuple[str, str]:
    """The workspace of a call; and where calls may overlap, the one that is kept for the next."""
    w = e.w
    if size <= STACK_BYTES:
        return e.stack("workspace", size), ""
    memory = np.empty(size + 64, np.uint8)
    e.kept.append(memory)
    address = memory.ctypes.data
    home = f"inttoptr (i64 {address + -address % 64} to ptr)"
    if not release:  # no other call runs before this one ends
        return home, ""
    e.globals.append(f"@spare = internal global ptr {home}")
    workspace = w.let(f"call ptr @take(ptr @spare, i64 {-(-size // 64) * 64})")
    ok = w.fresh("ok")
    w.branch(w.let(f"icmp eq ptr {workspace}, null"), "failed", ok)
    w.label(ok)
    return workspace, home


def take_over(e: Emitter, arrays: list[str], turned: Container[int]) -> list[str]:
    """The arrays of the outputs, those in memory that the program has allocated among them.

    Args:
        turned: outputs that are arrays by columns.
    """
    taken: dict[int, str] = {}  # results that are one buffer are one array
    for n, output in enumerate(e.program.signature.outputs):
        if isinstance(output, HeapOutput) and output.slot not in taken:
            taken[output.slot] = e.own(_array_over(e, output, n in turned))
    outputs = zip(e.program.signature.outputs, arrays, strict=True)
    return [taken[o.slot] if isinstance(o, HeapOutput) else array for o, array in outputs]


def _array_over(e: Emitter, output: HeapOutput, by_columns: bool) -> str:
    w, rank = e.w, len(output.dims)
    dims = e.stack(w.fresh("extents"), 8 * rank)
    for axis, extent in enumerate(output.dims[::-1] if by_columns else output.dims):
        value = str(extent)
        if isinstance(extent, Slot):
            value = e.field("i64", "%results", 8 * extent.index)
        w.add(f"store i64 {value}, ptr {e.at(dims, 8 * axis)}")
    array, descr = e.address_of(np.ndarray), e.address_of(output.dtype.numpy)
    data = e.field("ptr", "%results", 8 * output.slot)
    shape, flags = f"i32 {rank}, ptr {dims}", _BY_COLUMNS if by_columns else _BY_ROWS
    found = f"ptr {array}, ptr {descr}, {shape}, ptr {data}, i32 {flags}"
    return w.let(f"call ptr @array_over({found})")


def build_result(e: Emitter, outputs: list[str]) -> str:
    """The object that the call returns, of whose parts the call holds references."""
    made: dict[tuple[int, str], str] = {}

    def build(tree: ResultTree) -> str:
        if isinstance(tree, Argument):
            return e.leaves[tree.leaf].object
        if isinstance(tree, Constant):
            return e.address_of(tree.value)
        if isinstance(tree, Branch):
            return _container(e, tree, [build(child) for child in tree.children])
        if isinstance(tree, Chosen):
            one, other = build(tree.one), build(tree.other)
            return e.w.let(f"select i1 {_flag(e, tree.output)}, ptr {one}, ptr {other}")
        if isinstance(tree, Listing):
            return _listing(e, tree, outputs)
        array = outputs[tree.output]
        if array and tree.flavour == "array":
            return array
        key = (tree.output, tree.flavour)
        if key not in made:
            made[key] = e.own(_scalar(e, tree, array))
        return made[key]

    return build(e.spec.result)


def _flag(e: Emitter, output: int) -> str:
    """A bool that the program has computed."""
    found = e.program.signature.outputs[output]
    assert isinstance(found, ScalarOutput)
    return e.w.let(f"icmp ne i8 {e.field('i8', '%results', 8 * found.slot)}, 0")


def _scalar(e: Emitter, tree: Result, array: str) -> str:
    """An object for an output of rank 0; complex ones come in an array."""
    w, output = e.w, e.program.signature.outputs[tree.output]
    if isinstance(output, BufferOutput):
        return _number(e, output.dtype, e.field("ptr", array, 16), tree.flavour)
    assert isinstance(output, ScalarOutput)
    place = e.at("%results", 8 * output.slot)
    if tree.flavour != "array":
        return _number(e, output.dtype, place, tree.flavour)
    type = memory_type(output.dtype)
    value = w.let(f"load {type}, ptr {place}")
    array = e.new_array(output.dtype, ())
    e.require_object(array)
    w.add(f"store {type} {value}, ptr {e.field('ptr', array, 16)}")
    return array


def _number(e: Emitter, dtype: DType, place: str, flavour: str) -> str:
    """A NumPy scalar or Python number of what lies there."""
    w = e.w
    if flavour == "scalar":
        descr = e.address_of(dtype.numpy)
        return w.let(f"call ptr @PyArray_Scalar(ptr {place}, ptr {descr}, ptr null)")
    if dtype.is_complex:
        halves = f"double {e.field('double', place, 0)}, double {e.field('double', place, 8)}"
        return w.let(f"call ptr @PyComplex_FromDoubles({halves})")
    type = memory_type(dtype)
    value = w.let(f"load {type}, ptr {place}")
    if dtype.is_float:
        double = value if dtype.bits == 64 else w.let(f"fpext float {value} to double")
        return w.let(f"call ptr @PyFloat_FromDouble(double {double})")
    if dtype.is_bool:
        return w.let(f"call ptr @PyBool_FromLong(i64 {w.let(f'zext i8 {value} to i64')})")
    extend = "sext" if dtype.kind == "i" else "zext"
    wide = value if dtype.bits == 64 else w.let(f"{extend} {type} {value} to i64")
    make = "PyLong_FromUnsignedLongLong" if dtype.kind == "u" else "PyLong_FromLongLong"
    return w.let(f"call ptr @{make}(i64 {wide})")


def _listing(e: Emitter, tree: Listing, outputs: list[str]) -> str:
    """A list of what arrays hold; each item is in its place before the next one is made."""
    w, arrays = e.w, [outputs[part.output] for part in tree.parts]
    count = e.field("i64", e.field("ptr", arrays[0], 32), 0)
    made = e.own(w.let(f"call ptr @PyList_New(i64 {count})"))
    places = e.field("ptr", made, 24)
    data = [e.field("ptr", array, 16) for array in arrays]

    head, body, end, before = w.fresh("head"), w.fresh("item"), w.fresh("end"), w.block
    w.jump(head)
    w.label(head)
    at = len(w.lines)
    w.lines.append("")
    i = "%" + w.fresh("i")
    w.branch(w.let(f"icmp slt i64 {i}, {count}"), body, end)
    w.label(body)
    place = w.let(f"getelementptr ptr, ptr {places}, i64 {i}")
    if tree.has_tuples:
        item = w.let(f"call ptr @PyTuple_New(i64 {len(arrays)})")
        e.require_object(item)
        w.add(f"store ptr {item}, ptr {place}")
    for n, (part, start) in enumerate(zip(tree.parts, data)):
        element = _element(e, part, start, i)
        e.require_object(element)
        w.add(f"store ptr {element}, ptr {e.at(item, 24 + 8 * n) if tree.has_tuples else place}")
    following = w.let(f"add i64 {i}, 1")
    w.lines[at] = f"  {i} = phi i64 [ 0, %{before} ], [ {following}, %{w.block} ]"
    w.jump(head)
    w.label(end)
    return made


def _element(e: Emitter, part: Result, start: str, i: str) -> str:
    """A new object: the element at `i` of the array at `start`."""
    output = e.program.signature.outputs[part.output]
    assert isinstance(output, BufferOutput | HeapOutput)
    dims = [d for d in output.dims[1:] if isinstance(d, int)]
    size = output.dtype.itemsize * prod(dims)
    offset = e.w.let(f"mul i64 {i}, {size}")
    place = e.w.let(f"getelementptr i8, ptr {start}, i64 {offset}")
    if part.flavour != "array":
        return _number(e, output.dtype, place, part.flavour)
    array = e.new_array(output.dtype, tuple(dims))
    e.require_object(array)
    target = e.field("ptr", array, 16)
    e.w.add(f"call void @llvm.memcpy.p0.p0.i64(ptr {target}, ptr {place}, i64 {size}, i1 false)")
    return array


def _container(e: Emitter, tree: Branch, items: list[str]) -> str:
    w, count = e.w, len(items)
    if tree.cls is dict:
        made = e.own(w.let("call ptr @PyDict_New()"))
        for key, item in zip(tree.keys, items):
            name = e.address_of(key)
            status = w.let(f"call i32 @PyDict_SetItem(ptr {made}, ptr {name}, ptr {item})")
            ok = w.fresh("ok")
            w.branch(w.let(f"icmp eq i32 {status}, 0"), ok, "error")
            w.label(ok)
        return made
    if tree.cls in (tuple, list):
        make = "PyTuple_New" if tree.cls is tuple else "PyList_New"
        made = e.own(w.let(f"call ptr @{make}(i64 {count})"))
        start = e.at(made, 24) if tree.cls is tuple or not count else ""
        place = start or e.field("ptr", made, 24)
        for i, item in enumerate(items):
            w.add(f"call void @Py_IncRef(ptr {item})")
            w.add(f"store ptr {item}, ptr {e.at(place, 8 * i)}")
        return made
    vector = e.stack(w.fresh("fields"), 8 * count)
    for i, item in enumerate(items):
        w.add(f"store ptr {item}, ptr {e.at(vector, 8 * i)}")
    arguments = f"ptr {e.address_of(tree.cls)}, ptr {vector}, i64 {count}, ptr null"
    return e.own(w.let(f"call ptr @PyObject_Vectorcall({arguments})"))
