"""The text of an entry while it is written, and the pieces that all its parts use."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jitnet.codegen.text import Writer
from jitnet.ir import DType
from jitnet.runtime.dispatch.spec import ArgumentTree, CallSpec
from jitnet.runtime.native import NativeProgram

_C_FLAGS, _F_FLAGS, _ALIGNED, _WRITEABLE = 1, 2, 256, 1024


@dataclass(frozen=True)
class Leaf:
    """A leaf of the arguments, checked.

    Attributes:
        object: the Python object.
        value: the address of an array's data; of a scalar, where its bits are.
    """

    tree: ArgumentTree
    object: str
    value: str


@dataclass
class Emitter:
    """One entry being written.

    Attributes:
        kept: objects whose addresses are in the text.
        globals: constant arrays of extents.
        leaves: of the arguments, in order.
        allocas: lines for the head of the function.
        objects: how many references the call holds, in `%objects`.
        slots: how many of the program's argument slots are filled.
    """

    spec: CallSpec
    program: NativeProgram
    w: Writer = field(default_factory=Writer)
    kept: list[Any] = field(default_factory=list)
    globals: list[str] = field(default_factory=list)
    leaves: list[Leaf] = field(default_factory=list)
    allocas: list[str] = field(default_factory=list)
    objects: int = 0
    slots: int = 0

    def address_of(self, x: Any) -> str:
        """The address of an object that outlives the entry."""
        self.kept.append(x)
        return f"inttoptr (i64 {id(x)} to ptr)"

    def require(self, condition: str) -> None:
        """Leave, for another kind of call, where the condition does not hold."""
        ok = self.w.fresh("ok")
        self.w.add(f"br i1 {condition}, label %{ok}, label %miss, !prof !0")
        self.w.label(ok)

    def require_equal(self, type: str, a: str, b: str | int) -> None:
        self.require(self.w.let(f"icmp eq {type} {a}, {b}"))

    def require_class(self, x: str, cls: str) -> None:
        self.require_equal("ptr", self.field("ptr", x, 8), cls)

    def require_object(self, x: str) -> None:
        """Leave where a Python function has failed."""
        ok = self.w.fresh("ok")
        failed = self.w.let(f"icmp eq ptr {x}, null")
        self.w.branch(failed, "error", ok)
        self.w.label(ok)

    def at(self, x: str, offset: int) -> str:
        return self.w.let(f"getelementptr i8, ptr {x}, i64 {offset}") if offset else x

    def field(self, type: str, x: str, offset: int) -> str:
        return self.w.let(f"load {type}, ptr {self.at(x, offset)}")

    def own(self, x: str) -> str:
        """Hold a new reference until the call ends."""
        self.require_object(x)
        self.w.add(f"store ptr {x}, ptr {self.at('%objects', 8 * self.objects)}")
        self.objects += 1
        return x

    def hold(self, x: str) -> None:
        """Keep a borrowed object alive until the call ends."""
        self.w.add(f"call void @Py_IncRef(ptr {x})")
        self.w.add(f"store ptr {x}, ptr {self.at('%objects', 8 * self.objects)}")
        self.objects += 1

    def extents(self, shape: tuple[int | None, ...]) -> str:
        """A constant array of extents, -1 for None."""
        if not shape:
            return "null"
        name = f"@dims.{len(self.globals)}"
        values = ", ".join(f"i64 {-1 if extent is None else extent}" for extent in shape)
        self.globals.append(f"{name} = internal constant [{len(shape)} x i64] [{values}]")
        return name

    def stack(self, name: str, size: int) -> str:
        """Memory of the call."""
        self.allocas.append(f"  %{name} = alloca [{max(size, 8)} x i8], align 64")
        return f"%{name}"

    def next_slot(self) -> str:
        """The address of the program's next argument slot."""
        self.slots += 1
        return self.at("%argv", 8 * (self.slots - 1))

    def new_array(self, dtype: DType, dims: tuple[int, ...], by_columns: bool = False) -> str:
        """A new array, or null with a Python exception; `by_columns`, of these axes in reverse."""
        array, descr = self.address_of(np.ndarray), self.address_of(dtype.numpy)
        extents = self.extents(dims[::-1] if by_columns else dims)
        shape = f"i32 {len(dims)}, ptr {extents}, i32 {_F_FLAGS if by_columns else 0}"
        return self.w.let(f"call ptr @new_array(ptr {array}, ptr {descr}, {shape})")

    def check_array(
        self,
        x: str,
        dtype: DType,
        shape: tuple[int | None, ...],
        layout: str,
        written: bool = False,
    ) -> str:
        """Leave unless x is such an aligned array; the address of its data."""
        always = _ALIGNED | (_WRITEABLE if written else 0)
        by_columns = layout != "C" and None not in shape  # else that is any strides
        mask = always | _C_FLAGS | (_F_FLAGS if by_columns else 0)
        wanted = always | {"C": _C_FLAGS, "F": _F_FLAGS, "strided": 0}[layout]
        array, descr = self.address_of(np.ndarray), self.address_of(dtype.numpy)
        dims = f"i32 {len(shape)}, ptr {self.extents(shape)}"
        data = self.w.let(
            f"call ptr @array_data(ptr {x}, ptr {array}, ptr {descr}, {dims}, "
            f"i32 {mask}, i32 {wanted})"
        )
        self.require(self.w.let(f"icmp ne ptr {data}, null"))
        return data
