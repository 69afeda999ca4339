"""IR as text, which `ir.parse` reads back.

    jitnet 1 array
    func @f(%x: f64[3, %n], %n: i64) -> (f64[%n]) {
      %y: f64[3, %n] = mul %x, 2.0  # model.py:12: y = 2 * x
      %s: f64[%n] = reduce_sum %y {axes=(0,)}
      return %s
    }

The first line holds the version of the format and the level. Values carry the hints that they were
bound with, made unique in the text (`%y`, `%y.1`); those without one get numbers. Scalars of i64,
bool and f64 print bare, the others with their dtype (`2.0:f32`), and every bit of a float survives.
Comments are for the reader only.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from jitnet.ir import types as T
from jitnet.ir.value import Dense, Literal, Value

if TYPE_CHECKING:
    from jitnet.ir.core import Eqn, Function
    from jitnet.ir.loc import Loc

VERSION = 1
READABLE_ELEMENTS = 16  # constant arrays up to this size print as nested lists, others as hex

_NOT_IN_NAMES = re.compile(r"\W")
_PLAIN_NAME = re.compile(r"[A-Za-z_][\w.]*\Z", re.ASCII)
_CANONICAL_NAN = {"f16": 0x7E00, "bf16": 0x7FC0, "f32": 0x7FC00000, "f64": 0x7FF8000000000000}


class Names:
    """The unique name of each Value of one text, given in order of first appearance."""

    def __init__(self) -> None:
        self._names: dict[Value, str] = {}
        self._uses: dict[str, int] = {}

    def of(self, value: Value) -> str:
        name = self._names.get(value)
        if name is None:
            name = self._names[value] = self._new(_NOT_IN_NAMES.sub("_", value.name))
        return name

    def _new(self, hint: str) -> str:
        if hint[:1].isdigit():
            hint = f"_{hint}"
        count = self._uses.get(hint, 0)
        self._uses[hint] = count + 1
        if not hint:
            return str(count)
        return f"{hint}.{count}" if count else hint


def print_function(f: Function, source: bool = False) -> str:
    """The text of a Function, and behind it of those that it names. With `source`, lines that stem
    from another source line than the one before say so in a comment."""
    lines = [f"jitnet {VERSION} {f.level}"]
    for g in (f, *f.callees()):
        printer = _Printer(Names(), source)
        head = printer.head(g)
        results = ", ".join(printer.type(v.type) for v in g.results)
        lines += [f"func {head} -> ({results}) {{", *printer.body(g, "  "), "}"]
    return "\n".join(lines) + "\n"


def print_eqn(eqn: Eqn, names: Names | None = None) -> str:
    """The text of one equation, its regions left out: for messages."""
    return _Printer(names or Names(), source=False).head_of_eqn(eqn)


class _Printer:
    def __init__(self, names: Names, source: bool) -> None:
        self.names = names
        self.source = source
        self.last_origin = ""

    def head(self, f: Function) -> str:
        params = ", ".join(self.binding(p) for p in f.params)
        return f"@{function_name(f.name)}({params})"

    def body(self, f: Function, indent: str) -> Iterator[str]:
        for eqn in f.eqns:
            yield from self.eqn(eqn, indent)
        results = ", ".join(map(self.operand, f.results))
        yield f"{indent}return {results}".rstrip()

    def eqn(self, eqn: Eqn, indent: str) -> Iterator[str]:
        line = indent + self.head_of_eqn(eqn)
        comment = self.origin(eqn.loc)
        for region in eqn.regions:
            yield f"{line} {self.head(region)} {{{comment}"
            yield from self.body(region, indent + "  ")
            line, comment = indent + "}", ""
        yield line + comment

    def head_of_eqn(self, eqn: Eqn) -> str:
        results = ", ".join(self.binding(r) for r in eqn.results)
        operands = ", ".join(map(self.operand, eqn.operands))
        attrs = ", ".join(f"{k}={attr_text(v)}" for k, v in sorted(eqn.attrs.items()))
        parts = [f"{results} =" if results else "", eqn.op.name, operands]
        return " ".join(filter(None, [*parts, f"{{{attrs}}}" if attrs else ""]))

    def origin(self, loc: Loc) -> str:
        """A comment with the source line, where it is another one than the last."""
        if not self.source or not loc.frames:
            return ""
        frame = loc.frames[0]
        tags = f" ({', '.join(loc.tags)})" if loc.tags else ""
        text = f": {frame.source.strip()}" if frame.source.strip() else ""
        origin = f"  # {os.path.basename(frame.file)}:{frame.line}{text}{tags}"
        if origin == self.last_origin:
            return ""
        self.last_origin = origin
        return origin

    def binding(self, value: Value) -> str:
        return f"{self.operand(value)}: {self.type(value.type)}"

    def operand(self, value: Value) -> str:
        return literal_text(value) if isinstance(value, Literal) else f"%{self.names.of(value)}"

    def type(self, type: T.Type) -> str:
        return T.type_text(type, self.dim)

    def dim(self, dim: T.Dim) -> str:
        return str(dim) if isinstance(dim, int) else self.operand(dim)


def function_name(name: str) -> str:
    return name if _PLAIN_NAME.match(name) else repr(name)


# -- constants -------------------------------------------------------------------------------------


def literal_text(literal: Literal) -> str:
    text = scalar_text(literal.data, literal.dtype)
    bare = literal.dtype in (T.i64, T.f64, T.bool_)
    return text if bare else f"{text}:{literal.dtype.name}"


def scalar_text(data: Any, dtype: T.DType) -> str:
    """A NumPy scalar as text that, read as `dtype`, gives the same bits."""
    if dtype.is_bool:
        return "true" if data else "false"
    if dtype.is_complex:
        return f"complex({', '.join(scalar_text(x, dtype.half) for x in (data.real, data.imag))})"
    if not dtype.is_float:
        return str(int(data))
    if np.isnan(data):
        bits = int(data.view(f"u{dtype.itemsize}"))
        return "nan" if bits == _CANONICAL_NAN[dtype.name] else f"nan({bits:#x})"
    short = str(data)
    if "." not in short and "e" not in short and "inf" not in short:
        short += ".0"
    same = dtype.numpy.type(float(short)) == data  # a short float32 could be rounded twice
    return short if same else repr(float(data))


def attr_text(value: Any) -> str:
    """An attribute value (see `value.Attrs`) as text."""
    match value:
        case None:
            return "none"
        case bool():
            return "true" if value else "false"
        case int():
            return str(int(value))
        case float():
            return scalar_text(np.float64(value), T.f64)
        case str():
            return repr(value)
        case T.DType():
            return value.name
        case T.ArrayType(dims=()):
            return f"{value.dtype.name}[]"  # the bare name is the dtype
        case T.ArrayType() | T.TapeType() | T.BufferType():
            return T.type_text(value)
        case tuple():
            items = ", ".join(map(attr_text, value))
            return f"({items},)" if len(value) == 1 else f"({items})"
        case Dense():
            return dense_text(value)
        case object(name=name, eqns=_):  # a Function, which is printed behind the one at hand
            return f"@{function_name(name)}"
    raise TypeError(f"an attribute cannot be a {type(value).__name__}: {value!r}")


def dense_text(dense: Dense) -> str:
    array = dense.array
    dtype = T.from_numpy(array.dtype)
    dims = ", ".join(map(str, array.shape))
    if array.size > READABLE_ELEMENTS:
        return f'dense {dtype.name}[{dims}] "{array.tobytes().hex()}"'
    return f"dense {dtype.name}[{dims}] {_nested_text(array, dtype)}"


def _nested_text(array: np.ndarray[Any, Any], dtype: T.DType) -> str:
    if array.ndim == 0:
        return scalar_text(array[()], dtype)
    return "[" + ", ".join(_nested_text(row[...], dtype) for row in map(np.asarray, array)) + "]"
