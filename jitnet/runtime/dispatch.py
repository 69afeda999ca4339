"""Calls of compiled programs without Python in between: one native function per kind of call.

    entry = compile_entry(spec, program, slow=Jitted.__call__)
    set_entry(jitted, entry.address)     # jitted(x) now runs it

The function checks the arguments against the `CallSpec`, field by field, gathers the program's
argument slots, makes the result arrays, runs the program and puts the result together. At the first
thing that differs it jumps to the entry for another kind of call, or to the Python method `slow`;
so it does when the program reports an error, since running it again in Python raises it with all
that belongs to it. That is right while programs leave their arguments as they are.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache, partial
from math import prod
from typing import Any

import numpy as np

from jitnet.codegen.signature import BufferOutput, Input, ScalarOutput
from jitnet.codegen.text import Writer, memory_type
from jitnet.ir import DType
from jitnet.runtime.buffers import LARGE, empty
from jitnet.runtime.calls import (
    Argument,
    ArgumentTree,
    ArrayLeaf,
    Branch,
    CallSpec,
    Constant,
    NumberLeaf,
    Result,
    ResultTree,
    ScalarLeaf,
    is_named_tuple,
)
from jitnet.runtime.dispatch_helpers import HELPERS
from jitnet.runtime.engine import compile_text
from jitnet.runtime.native import NativeProgram
from jitnet.runtime.vectorcall import NativeCallable

STACK_BYTES = 1 << 14
"""Workspaces of at most so many bytes lie on the stack."""

_NUMBERS = {float: "PyFloat_Type", int: "PyLong_Type"}
_CONTAINERS = {tuple: "PyTuple_Type", list: "PyList_Type", dict: "PyDict_Type"}
_CONSTANTS = (type(None), bool, int, str, bytes)
_C_FLAGS, _F_FLAGS, _ALIGNED = 1, 2, 256


@dataclass(frozen=True, eq=False)
class Entry:
    """A native function for one kind of call. Whoever uses its address keeps it."""

    address: int
    text: str
    kept: tuple[Any, ...]


def is_supported(spec: CallSpec, program: NativeProgram) -> bool:
    """Whether `compile_entry` can do this: results of extents known only at run time, results that
    are inputs, and containers other than tuple, list, dict and NamedTuple go through Python."""
    outputs = program.signature.outputs
    trees: list[ArgumentTree | ResultTree] = [*spec.args, *(tree for _, tree in spec.kwargs)]
    return (
        NativeCallable is not object
        and all(isinstance(o, BufferOutput | ScalarOutput) for o in outputs)
        and all(_is_known(tree, argument=True) for tree in trees)
        and _is_known(spec.result, argument=False)
    )


def _is_known(tree: ArgumentTree | ResultTree, argument: bool) -> bool:
    if isinstance(tree, Branch):
        known = tree.cls in _CONTAINERS or is_named_tuple(tree.cls)
        plain = all(type(key) is str for key in tree.keys)
        return known and plain and all(_is_known(child, argument) for child in tree.children)
    return not (argument and isinstance(tree, Constant) and type(tree.value) not in _CONSTANTS)


def compile_entry(
    spec: CallSpec,
    program: NativeProgram,
    slow: Callable[..., Any],
    otherwise: Entry | None = None,
    release: bool = False,
) -> Entry:
    """The native function for calls as `spec` says.

    Args:
        slow: the function behind `__call__` of the object that will be called; it takes all calls
            that no entry takes.
        otherwise: the entry to try next.
        release: let other Python threads run meanwhile; costs some 30 ns.
    """
    e = _Emitter(spec, program, slow, otherwise, release)
    text = e.emit()
    library, address = compile_text(text, "call", _numpy_functions())
    return Entry(address, text, (library, e.kept, spec, program, slow, otherwise))


@lru_cache(maxsize=1)
def _numpy_functions() -> dict[str, int]:
    """Addresses from NumPy's table of C functions."""
    get = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
        ("PyCapsule_GetPointer", ctypes.pythonapi)
    )
    multiarray: Any = np._core.multiarray  # type: ignore[attr-defined]
    table = ctypes.cast(get(multiarray._ARRAY_API, None), ctypes.POINTER(ctypes.c_void_p))
    places = {"PyArray_NewFromDescr": 94, "PyArray_Scalar": 60}
    return {name: int(table[place] or 0) for name, place in places.items()}


@dataclass
class _Leaf:
    """A leaf of the arguments, checked.

    Attributes:
        object: the Python object.
        value: the address of an array's data; of a scalar, where its bits are.
    """

    tree: ArgumentTree
    object: str
    value: str


@dataclass
class _Emitter:
    """The text of one entry.

    Attributes:
        kept: objects whose addresses are in the text.
        globals: constant arrays of extents.
        objects: how many references the call holds in `%objects`.
    """

    spec: CallSpec
    program: NativeProgram
    slow: Callable[..., Any]
    otherwise: Entry | None
    release: bool
    w: Writer = field(default_factory=Writer)
    kept: list[Any] = field(default_factory=list)
    globals: list[str] = field(default_factory=list)
    leaves: list[_Leaf] = field(default_factory=list)
    allocas: list[str] = field(default_factory=list)
    objects: int = 0

    # -- the whole ---------------------------------------------------------------------------------

    def emit(self) -> str:
        w = self.w
        self._check_arguments()
        self._check_surroundings()
        inputs = self._inputs()
        outputs = [self._allocate(o) for o in self.program.signature.outputs]
        self._run(inputs, outputs)
        root = self._result(outputs)
        w.add(f"call void @Py_IncRef(ptr {root})")
        w.add(f"call void @drop(ptr %objects, i64 {self.objects})")
        w.add(f"ret ptr {root}")
        self._ways_out()
        head = "define ptr @call(ptr %self, ptr %args, i64 %nargsf, ptr %kwnames) {"
        begin = [
            "entry:",
            f"  %objects = alloca [{max(self.objects, 1)} x ptr]",
            f"  call void @llvm.memset.p0.i64(ptr %objects, i8 0, i64 {8 * self.objects}, i1 false)",
            *self.allocas,
        ]
        weights = '!0 = !{!"branch_weights", i32 1000, i32 1}\n'
        return "\n".join([HELPERS, *self.globals, head, *begin, *w.lines, "}\n", weights])

    def _ways_out(self) -> None:
        w = self.w
        w.label("error")  # a Python exception is set
        w.add(f"call void @drop(ptr %objects, i64 {self.objects})")
        w.add("ret ptr null")
        w.label("failed")  # the program left with an error: run it again in Python
        w.add(f"call void @drop(ptr %objects, i64 {self.objects})")
        w.jump("miss")
        w.label("miss")
        arguments = "ptr %args, i64 %nargsf, ptr %kwnames"
        if self.otherwise is not None:
            other = f"inttoptr (i64 {self.otherwise.address} to ptr)"
            result = w.let(f"tail call ptr {other}(ptr %self, {arguments})")
        else:
            slow = self._object(self.slow)
            result = w.let(f"call ptr @call_method(ptr {slow}, ptr %self, {arguments})")
        w.add(f"ret ptr {result}")

    # -- pieces ------------------------------------------------------------------------------------

    def _object(self, x: Any) -> str:
        """The address of an object that outlives the entry."""
        self.kept.append(x)
        return f"inttoptr (i64 {id(x)} to ptr)"

    def _require(self, condition: str) -> None:
        ok = self.w.fresh("ok")
        self.w.add(f"br i1 {condition}, label %{ok}, label %miss, !prof !0")
        self.w.label(ok)

    def _require_equal(self, type: str, a: str, b: str | int) -> None:
        self._require(self.w.let(f"icmp eq {type} {a}, {b}"))

    def _require_class(self, x: str, cls: str) -> None:
        self._require_equal("ptr", self._field("ptr", x, 8), cls)

    def _require_object(self, x: str) -> None:
        """Leave where a Python function has failed."""
        ok = self.w.fresh("ok")
        failed = self.w.let(f"icmp eq ptr {x}, null")
        self.w.branch(failed, "error", ok)
        self.w.label(ok)

    def _at(self, x: str, offset: int) -> str:
        return self.w.let(f"getelementptr i8, ptr {x}, i64 {offset}") if offset else x

    def _field(self, type: str, x: str, offset: int) -> str:
        return self.w.let(f"load {type}, ptr {self._at(x, offset)}")

    def _own(self, x: str) -> str:
        """Hold a new reference until the call ends."""
        self.w.add(f"store ptr {x}, ptr {self._at('%objects', 8 * self.objects)}")
        self.objects += 1
        self._require_object(x)
        return x

    def _dims(self, shape: tuple[int, ...]) -> str:
        if not shape:
            return "null"
        name = f"@dims.{len(self.globals)}"
        values = ", ".join(f"i64 {extent}" for extent in shape)
        self.globals.append(f"{name} = internal constant [{len(shape)} x i64] [{values}]")
        return name

    def _stack(self, name: str, size: int) -> str:
        self.allocas.append(f"  %{name} = alloca [{max(size, 8)} x i8], align 64")
        return f"%{name}"

    # -- arguments ---------------------------------------------------------------------------------

    def _check_arguments(self) -> None:
        w, spec = self.w, self.spec
        count = w.let("and i64 %nargsf, 9223372036854775807")
        self._require_equal("i64", count, len(spec.args))
        if not spec.kwargs:
            self._require_equal("ptr", "%kwnames", "null")
        else:
            self._require(w.let("icmp ne ptr %kwnames, null"))
            self._require_equal("i64", self._field("i64", "%kwnames", 16), len(spec.kwargs))
        for i, tree in enumerate(spec.args):
            self._check(tree, self._field("ptr", "%args", 8 * i))
        for i, (name, tree) in enumerate(spec.kwargs):
            given = self._field("ptr", "%kwnames", 24 + 8 * i)
            self._require_equal("ptr", given, self._object(_interned(name)))
            self._check(tree, self._field("ptr", "%args", 8 * (len(spec.args) + i)))

    def _check(self, tree: ArgumentTree, x: str) -> None:
        if isinstance(tree, Branch):
            for child, item in zip(tree.children, self._items(tree, x)):
                self._check(child, item)
        else:
            self.leaves.append(_Leaf(tree, x, self._check_leaf(tree, x)))

    def _items(self, tree: Branch, x: str) -> Iterator[str]:
        """The container's items; each is written when it is asked for."""
        cls = f"@{_CONTAINERS[tree.cls]}" if tree.cls in _CONTAINERS else self._object(tree.cls)
        self._require_class(x, cls)
        self._require_equal("i64", self._field("i64", x, 16), len(tree.children))
        if tree.cls is dict:
            yield from self._dict_items(tree, x)
            return
        items = self._field("ptr", x, 24) if tree.cls is list else self._at(x, 24)
        for i in range(len(tree.children)):
            yield self._field("ptr", items, 8 * i)

    def _dict_items(self, tree: Branch, x: str) -> Iterator[str]:
        """The values in order, the keys being the same objects in the same order."""
        position = self._stack(self.w.fresh("position"), 8)
        self.w.add(f"store i64 0, ptr {position}")
        for key in tree.keys:
            expected = self._object(_interned(key))
            value = self.w.let(f"call ptr @next_item(ptr {x}, ptr {position}, ptr {expected})")
            self._require(self.w.let(f"icmp ne ptr {value}, null"))
            yield value

    def _check_leaf(self, tree: ArgumentTree, x: str) -> str:
        if isinstance(tree, ArrayLeaf):
            return self._check_array(x, tree.dtype, tree.shape, tree.layout)
        if isinstance(tree, ScalarLeaf):
            self._require_class(x, self._object(tree.dtype.numpy.type))
            return self._at(x, 16)
        if isinstance(tree, NumberLeaf):
            self._require_class(x, f"@{_NUMBERS[tree.cls]}")
            if tree.cls is float:
                return self._at(x, 16)
            place = self._stack(self.w.fresh("int"), 8)
            self._require(self.w.let(f"call i1 @small_int(ptr {x}, ptr {place})"))
            return place
        assert isinstance(tree, Constant)
        expected = self._object(tree.value)
        if tree.value is None or isinstance(tree.value, bool):
            self._require_equal("ptr", x, expected)
        else:
            self._require(self.w.let(f"call i1 @same(ptr {x}, ptr {expected})"))
        return "null"

    def _check_array(self, x: str, dtype: DType, shape: tuple[int, ...], layout: str) -> str:
        mask = _ALIGNED | _C_FLAGS | (_F_FLAGS if layout != "C" else 0)
        wanted = _ALIGNED | {"C": _C_FLAGS, "F": _F_FLAGS, "strided": 0}[layout]
        array, descr = self._object(np.ndarray), self._object(dtype.numpy)
        dims = f"i32 {len(shape)}, ptr {self._dims(shape)}"
        data = self.w.let(
            f"call ptr @array_data(ptr {x}, ptr {array}, ptr {descr}, {dims}, "
            f"i32 {mask}, i32 {wanted})"
        )
        self._require(self.w.let(f"icmp ne ptr {data}, null"))
        return data

    def _check_surroundings(self) -> None:
        w, spec = self.w, self.spec
        for namespace, key, expected in spec.items:
            where, name = self._object(namespace), self._object(_interned(key))
            now = w.let(f"call ptr @PyDict_GetItemWithError(ptr {where}, ptr {name})")
            self._require_equal("ptr", now, self._object(expected))
        for cell, expected in spec.cells:
            now = self._field("ptr", self._object(cell), 16)
            self._require_equal("ptr", now, self._object(expected))
        if spec.condition is not None:
            condition = self._object(spec.condition)
            self._require(w.let(f"call i1 @holds(ptr {condition})"))

    # -- the program -------------------------------------------------------------------------------

    def _inputs(self) -> list[str]:
        """Fill the argument slots of the inputs; the objects that the program reads."""
        w, signature = self.w, self.program.signature
        read = []
        slots = sum(1 + (i.rank if i.layout == "strided" else 0) for i in signature.inputs)
        self._stack("argv", 8 * (slots + len(signature.outputs) + 1))
        self._slot = 0
        for spec, source in zip(signature.inputs, self.spec.sources, strict=True):
            if isinstance(source, int):
                leaf = self.leaves[source]
            else:
                x = self._object(source)
                dtype, shape = spec.dtype, source.shape
                data = self._check_array(x, dtype, shape, spec.layout if spec.rank else "C")
                leaf = _Leaf(ArrayLeaf(dtype, shape, spec.layout), x, data)
            read.append(leaf.object)
            if spec.rank:
                w.add(f"store ptr {leaf.value}, ptr {self._next_slot()}")
                self._strides(spec, leaf)
            else:
                self._scalar_input(spec, leaf)
        return read

    def _next_slot(self) -> str:
        self._slot += 1
        return self._at("%argv", 8 * (self._slot - 1))

    def _strides(self, spec: Input, leaf: _Leaf) -> None:
        if spec.layout != "strided":
            return
        w, size = self.w, spec.dtype.itemsize
        steps = self._field("ptr", leaf.object, 40)
        for axis in range(spec.rank):
            step = self._field("i64", steps, 8 * axis)
            self._require_equal("i64", w.let(f"and i64 {step}, {size - 1}"), 0)
            step = w.let(f"ashr i64 {step}, {size.bit_length() - 1}")
            w.add(f"store i64 {step}, ptr {self._next_slot()}")

    def _scalar_input(self, spec: Input, leaf: _Leaf) -> None:
        w, slot, dtype = self.w, self._next_slot(), spec.dtype
        if isinstance(leaf.tree, NumberLeaf) and dtype.name == "f32":
            double = w.let(f"load double, ptr {leaf.value}")
            w.add(f"store float {w.let(f'fptrunc double {double} to float')}, ptr {slot}")
            return
        type = memory_type(dtype)
        w.add(f"store {type} {w.let(f'load {type}, ptr {leaf.value}')}, ptr {slot}")

    def _new_array(self, dtype: DType, dims: tuple[int, ...]) -> str:
        array, descr = self._object(np.ndarray), self._object(dtype.numpy)
        shape = f"i32 {len(dims)}, ptr {self._dims(dims)}"
        return self.w.let(f"call ptr @new_array(ptr {array}, ptr {descr}, {shape})")

    def _allocate(self, output: Any) -> str:
        """The new array of an output, with its address in the next slot; "" for scalars."""
        if not isinstance(output, BufferOutput):
            return ""
        if prod(output.dims) * output.dtype.itemsize >= LARGE:
            make = self._object(partial(empty, output.dims, output.dtype.numpy))
            made = self.w.let(f"call ptr @PyObject_CallNoArgs(ptr {make})")
        else:
            made = self._new_array(output.dtype, output.dims)
        self._own(made)
        self.w.add(f"store ptr {self._field('ptr', made, 16)}, ptr {self._next_slot()}")
        return made

    def _run(self, read: list[str], outputs: list[str]) -> None:
        w, module = self.w, self.program.native.module
        results = self._stack("results", 8 * module.slots)
        size = module.workspace_bytes
        if size <= STACK_BYTES:
            workspace = self._stack("workspace", size)
        else:
            self.globals.append("@spare = internal global ptr null")
            workspace = w.let(f"call ptr @take(ptr @spare, i64 {-(-size // 64) * 64})")
            ok = w.fresh("ok")
            w.branch(w.let(f"icmp eq ptr {workspace}, null"), "failed", ok)
            w.label(ok)
        w.add(f"store ptr {workspace}, ptr {self._next_slot()}")
        thread = ""
        if self.release:  # what the program reads must not die meanwhile
            for x in read:
                w.add(f"call void @Py_IncRef(ptr {x})")
            thread = w.let("call ptr @PyEval_SaveThread()")
        program = f"inttoptr (i64 {self.program.native.address} to ptr)"
        status = w.let(f"call i32 {program}(ptr %argv, ptr {results})")
        if self.release:
            w.add(f"call void @PyEval_RestoreThread(ptr {thread})")
            for x in read:
                w.add(f"call void @Py_DecRef(ptr {x})")
        if size > STACK_BYTES:
            w.add(f"call void @give(ptr @spare, ptr {workspace})")
        ok = w.fresh("ok")
        w.add(f"br i1 {w.let(f'icmp eq i32 {status}, 0')}, label %{ok}, label %failed, !prof !0")
        w.label(ok)

    # -- the result --------------------------------------------------------------------------------

    def _result(self, outputs: list[str]) -> str:
        made: dict[tuple[int, str], str] = {}

        def build(tree: ResultTree) -> str:
            if isinstance(tree, Argument):
                return self.leaves[tree.leaf].object
            if isinstance(tree, Constant):
                return self._object(tree.value)
            if isinstance(tree, Branch):
                return self._container(tree, [build(child) for child in tree.children])
            if outputs[tree.output]:
                return outputs[tree.output]
            key = (tree.output, tree.flavour)
            if key not in made:
                made[key] = self._own(self._scalar(tree))
            return made[key]

        return build(self.spec.result)

    def _scalar(self, tree: Result) -> str:
        w, output = self.w, self.program.signature.outputs[tree.output]
        assert isinstance(output, ScalarOutput)
        dtype, place = output.dtype, self._at("%results", 8 * output.slot)
        type = memory_type(dtype)
        if tree.flavour == "scalar":
            descr = self._object(dtype.numpy)
            return w.let(f"call ptr @PyArray_Scalar(ptr {place}, ptr {descr}, ptr null)")
        value = w.let(f"load {type}, ptr {place}")
        if tree.flavour == "array":
            array = self._new_array(dtype, ())
            self._require_object(array)
            w.add(f"store {type} {value}, ptr {self._field('ptr', array, 16)}")
            return array
        if dtype.is_float:
            double = value if dtype.bits == 64 else w.let(f"fpext float {value} to double")
            return w.let(f"call ptr @PyFloat_FromDouble(double {double})")
        if dtype.is_bool:
            return w.let(f"call ptr @PyBool_FromLong(i64 {w.let(f'zext i8 {value} to i64')})")
        extend = "sext" if dtype.kind == "i" else "zext"
        wide = value if dtype.bits == 64 else w.let(f"{extend} {type} {value} to i64")
        make = "PyLong_FromUnsignedLongLong" if dtype.kind == "u" else "PyLong_FromLongLong"
        return w.let(f"call ptr @{make}(i64 {wide})")

    def _container(self, tree: Branch, items: list[str]) -> str:
        w, count = self.w, len(items)
        if tree.cls is dict:
            made = self._own(w.let("call ptr @PyDict_New()"))
            for key, item in zip(tree.keys, items):
                name = self._object(_interned(key))
                status = w.let(f"call i32 @PyDict_SetItem(ptr {made}, ptr {name}, ptr {item})")
                ok = w.fresh("ok")
                w.branch(w.let(f"icmp eq i32 {status}, 0"), ok, "error")
                w.label(ok)
            return made
        if tree.cls in (tuple, list):
            make = "PyTuple_New" if tree.cls is tuple else "PyList_New"
            made = self._own(w.let(f"call ptr @{make}(i64 {count})"))
            start = self._at(made, 24) if tree.cls is tuple or not count else ""
            place = start or self._field("ptr", made, 24)
            for i, item in enumerate(items):
                w.add(f"call void @Py_IncRef(ptr {item})")
                w.add(f"store ptr {item}, ptr {self._at(place, 8 * i)}")
            return made
        vector = self._stack(w.fresh("fields"), 8 * count)
        for i, item in enumerate(items):
            w.add(f"store ptr {item}, ptr {self._at(vector, 8 * i)}")
        arguments = f"ptr {self._object(tree.cls)}, ptr {vector}, i64 {count}, ptr null"
        return self._own(w.let(f"call ptr @PyObject_Vectorcall({arguments})"))


def _interned(name: str) -> str:
    import sys

    return sys.intern(name)
