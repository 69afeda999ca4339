"""LLVM IR as text: types, constants, and the `Writer` that the emitters write a function with.

    w = Writer()
    total = w.let("fadd float %a, %b", "total")      # "  %total.1 = fadd float %a, %b"

Index arithmetic is on `Index`: a Python int where a value is known, otherwise the name of an i64.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager

from jitnet.ir import ArrayType, DType, Literal, Type

Index = int | str

_SCALARS = {"bool": "i1", "f16": "i16", "bf16": "i16", "f32": "float", "f64": "double"}
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


def llvm_type(dtype: DType, lanes: int = 1) -> str:
    """The register type: `float`, `<8 x float>`; bool is i1, and halves are their bits, i16."""
    scalar = _SCALARS.get(dtype.name) or f"i{dtype.bits}"
    return scalar if lanes == 1 else f"<{lanes} x {scalar}>"


def memory_type(dtype: DType, lanes: int = 1) -> str:
    """The type in memory: as `llvm_type`, but bool is a byte."""
    if not dtype.is_bool:
        return llvm_type(dtype, lanes)
    return "i8" if lanes == 1 else f"<{lanes} x i8>"


def value_type(type: Type) -> str:
    """The register type of a kernel value: buffers and tapes are pointers."""
    return llvm_type(type.dtype) if isinstance(type, ArrayType) else "ptr"


def type_suffix(dtype: DType, lanes: int = 1) -> str:
    """As in the names of intrinsics: `f32`, `v8f32`, `i64`."""
    scalar = f"f{dtype.bits}" if dtype.is_float else llvm_type(dtype)
    return scalar if lanes == 1 else f"v{lanes}{scalar}"


def constant(literal: Literal, lanes: int = 1) -> str:
    """A literal's spelling, the same in all lanes. Floats are spelled by their bits."""
    dtype = literal.dtype
    if dtype.is_bool:
        text = "true" if literal.item else "false"
    elif dtype.is_half:
        text = str(int.from_bytes(literal.bits, "little"))
    elif dtype.is_float:
        text = f"0x{struct.unpack('<Q', struct.pack('<d', literal.item))[0]:016X}"
    else:
        text = str(literal.item)
    return text if lanes == 1 else f"splat ({llvm_type(dtype)} {text})"


def wrap(value: int) -> int:
    """An int as i64 arithmetic has it."""
    return (value + 2**63) % 2**64 - 2**63


class Writer:
    """The lines of one function, with fresh names, the label of the block being written, and how
    many loops are."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.block = "entry"
        self.loops = 0
        self._count = 0
        self._known: dict[str, str] | None = None

    def fresh(self, hint: str = "") -> str:
        """A name of its own, without its sigil."""
        self._count += 1
        return f"{hint if _NAME.match(hint) else 'v'}.{self._count}"

    def add(self, line: str) -> None:
        self.lines.append("  " + line)

    def let(self, expression: str, hint: str = "") -> str:
        """Name the value of an instruction; returns the name."""
        name = "%" + self.fresh(hint)
        self.lines.append(f"  {name} = {expression}")
        return name

    def pure(self, expression: str) -> str:
        """As `let`; what these lines have already is not written again."""
        if self._known is None:
            return self.let(expression)
        if expression not in self._known:
            self._known[expression] = self.let(expression)
        return self._known[expression]

    def label(self, name: str) -> None:
        """Begin a block."""
        self.lines.append(f"{name}:")
        self.block = name

    def jump(self, label: str) -> None:
        self.add(f"br label %{label}")

    def branch(self, condition: str, then: str, orelse: str, said: str = "") -> None:
        self.add(f"br i1 {condition}, label %{then}, label %{orelse}{said}")

    @contextmanager
    def into(self, lines: list[str], known: dict[str, str]) -> Iterator[None]:
        """Write to other lines for a while; `known` are the pure expressions that they have."""
        saved = self.lines, self._known
        self.lines, self._known = lines, known
        try:
            yield
        finally:
            self.lines, self._known = saved

    def plus(self, a: Index, b: Index) -> Index:
        """a + b, folded where it is known."""
        if isinstance(a, int) and isinstance(b, int):
            return wrap(a + b)
        if a == 0:
            return b
        return a if b == 0 else self.pure(f"add i64 {a}, {b}")

    def minus(self, a: Index, b: Index) -> Index:
        """a - b, folded where it is known."""
        if isinstance(a, int) and isinstance(b, int):
            return wrap(a - b)
        return a if b == 0 else self.pure(f"sub i64 {a}, {b}")

    def times(self, a: Index, b: Index) -> Index:
        """a * b, folded where it is known."""
        if isinstance(a, int) and isinstance(b, int):
            return wrap(a * b)
        if a == 0 or b == 0:
            return 0
        if a == 1:
            return b
        return a if b == 1 else self.pure(f"mul i64 {a}, {b}")

    def element(self, dtype: DType, pointer: str, offset: Index) -> str:
        """The address `offset` elements after `pointer`."""
        if offset == 0:
            return pointer
        type = memory_type(dtype)
        return self.pure(f"getelementptr inbounds {type}, ptr {pointer}, i64 {offset}")

    def load(self, dtype: DType, pointer: str, lanes: int = 1, hint: str = "") -> str:
        """Consecutive elements, aligned as one element is."""
        type, align = memory_type(dtype, lanes), dtype.itemsize
        value = self.let(f"load {type}, ptr {pointer}, align {align}", hint)
        if not dtype.is_bool:
            return value
        return self.let(f"icmp ne {type} {value}, zeroinitializer", hint)

    def store(self, dtype: DType, value: str, pointer: str, lanes: int = 1) -> None:
        """Write consecutive elements, aligned as one element is."""
        type = memory_type(dtype, lanes)
        if dtype.is_bool:
            value = self.let(f"zext {llvm_type(dtype, lanes)} {value} to {type}")
        self.add(f"store {type} {value}, ptr {pointer}, align {dtype.itemsize}")

    def splat(self, dtype: DType, value: str, lanes: int) -> str:
        """The scalar in every lane."""
        type = llvm_type(dtype, lanes)
        one = self.pure(f"insertelement {type} poison, {llvm_type(dtype)} {value}, i64 0")
        mask = f"<{lanes} x i32> zeroinitializer"
        return self.pure(f"shufflevector {type} {one}, {type} poison, {mask}")

    def lane(self, dtype: DType, vector: str, lane: int, lanes: int) -> str:
        """One lane of a vector, or the scalar itself where there is one lane."""
        if lanes == 1:
            return vector
        return self.let(f"extractelement {llvm_type(dtype, lanes)} {vector}, i64 {lane}")

    def gather(self, dtype: DType, scalars: list[str]) -> str:
        """A vector of these scalars."""
        if len(scalars) == 1:
            return scalars[0]
        vector, type = "poison", llvm_type(dtype, len(scalars))
        for i, scalar in enumerate(scalars):
            vector = self.let(
                f"insertelement {type} {vector}, {llvm_type(dtype)} {scalar}, i64 {i}"
            )
        return vector
