"""C++ as text: types, constants, names, and the lines of one kernel.

w = Writer({"status"})
total = w.let("double", "(x + y)", "total")      # "  const double total = (x + y);"
"""

from __future__ import annotations

import re
import struct
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from jitnet.ir import DType, Literal
from jitnet.ir import types as T


class _CTypes(dict[DType, str]):
    """Halves are their bits; which of them there are depends on what is installed."""

    def __missing__(self, dtype: DType) -> str:
        assert dtype.is_half, f"no C++ type of {dtype}"
        return "unsigned short"


C_TYPES = _CTypes()
C_TYPES |= {
    T.bool_: "bool",
    T.i8: "signed char",
    T.i16: "short",
    T.i32: "int",
    T.i64: "long long",
    T.u8: "unsigned char",
    T.u16: "unsigned short",
    T.u32: "unsigned int",
    T.u64: "unsigned long long",
    T.f32: "float",
    T.f64: "double",
}

_WORDS = """
alignas alignof and asm auto bool break case catch char class const continue decltype
default delete do double else enum explicit export extern false float for friend goto if
inline int long mutable namespace new not operator or private protected public register
return short signed sizeof static struct switch template this throw true try typedef
typename union unsigned using virtual void volatile while xor pack status threadIdx blockIdx
blockDim gridDim min max abs exp log sin cos tan sqrt pow floor ceil trunc rint fma erf erfc
index signbit isnan isinf isfinite y0 y1 yn j0 j1 jn gamma div select time clock signal read
write main assert aligned block atomicAdd atomicMin atomicMax atomicAnd atomicOr atomicXor atomicCAS
"""

RESERVED = frozenset(_WORDS.split())
"""Words that no variable may be called: C++'s, and functions that a variable would hide."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*\Z")
_OURS = re.compile(r"_(bool|b?[iuf]\d+)(_by_\w+)?\Z")
"""How the names of the unit's own functions end."""


def c_name(name: str) -> str:
    """A name that C++ takes."""
    return name if _NAME.match(name) else "kernel"


def constant(literal: Literal) -> str:
    """A literal's spelling. What C has no word for is spelled by its bits."""
    dtype, item = literal.dtype, literal.item
    if dtype.is_bool:
        return "true" if item else "false"
    if dtype.is_half:
        return f"{int.from_bytes(literal.bits, 'little'):#06x}"
    if dtype.is_float:
        return _float(item, dtype)
    if dtype is T.i64 and item == -(2**63):
        return "(-9223372036854775807LL - 1)"
    suffix = {T.u32: "u", T.u64: "ull"}.get(dtype, "")
    if dtype is T.i64 and not -(2**31) < item < 2**31:
        suffix = "LL"
    text = f"{item}{suffix}" if item != -(2**31) or suffix else "(-2147483647 - 1)"
    return f"({text})" if text.startswith("-") else text


def _float(item: float, dtype: DType) -> str:
    if not np.isfinite(item):
        if dtype is T.f32:
            bits = struct.unpack("<i", struct.pack("<f", item))[0]
            return f"__int_as_float({bits & 0xFFFFFFFF:#x})"
        bits = struct.unpack("<q", struct.pack("<d", item))[0]
        return f"__longlong_as_double({bits & 0xFFFFFFFFFFFFFFFF:#x}LL)"
    text = str(np.float32(item)) if dtype is T.f32 else repr(item)
    text = text if any(c in text for c in ".e") else text + ".0"
    text += "f" if dtype is T.f32 else ""
    return f"({text})" if text.startswith("-") else text


class Writer:
    """Lines of C++, indented, with names that are used once in a kernel."""

    def __init__(self, taken: frozenset[str] = frozenset()) -> None:
        self.lines: list[str] = []
        self._depth = 1
        self._counts: dict[str, int] = dict.fromkeys(taken | RESERVED, 1)

    def fresh(self, hint: str = "", default: str = "v") -> str:
        """A name of its own."""
        hint = hint.replace(".", "_")
        stem = hint if _NAME.match(hint) else default
        stem += "_" if _OURS.search(stem) else ""
        name, count = stem, self._counts.get(stem, 0)
        while name in self._counts:
            name, count = f"{stem}_{count}", count + 1
        self._counts[name] = 1
        self._counts[stem] = max(count, 1)
        return name

    def anonymous(self, text: str) -> str:
        """A text with numbers for the names that were given out, by where they come first."""
        numbers: dict[str, str] = {}

        def number(found: re.Match[str]) -> str:
            word = found.group()
            if word in RESERVED or word not in self._counts:
                return word
            return numbers.setdefault(word, f"${len(numbers)}")

        return re.sub(r"[A-Za-z]\w*", number, text)

    def add(self, line: str) -> None:
        self.lines.append("  " * self._depth + line)

    def let(self, type: str, expression: str, hint: str = "") -> str:
        """Name a value; returns the name."""
        name = self.fresh(hint)
        self.add(f"const {type} {name} = {expression};")
        return name

    def var(self, type: str, expression: str, hint: str = "") -> str:
        """A variable with a first value."""
        name = self.fresh(hint)
        self.add(f"{type} {name} = {expression};")
        return name

    @contextmanager
    def block(self, head: str, tail: str = "}") -> Iterator[None]:
        """Lines inside braces, which `head` opens, or the `tail` of the block before."""
        if head:
            self.add(head)
        self._depth += 1
        yield
        self._depth -= 1
        self.add(tail)


def listed(params: Sequence[str]) -> str:
    """A list of parameters in lines."""
    whole = ", ".join(p.replace(" ", "~") for p in params)
    lines = textwrap.fill(whole, 100, initial_indent="    ", subsequent_indent="    ")
    return lines.replace("~", " ")


def stripped(expression: str) -> str:
    """An expression without the parentheses around all of it."""
    if not (expression.startswith("(") and expression.endswith(")")):
        return expression
    depth = 0
    for i, c in enumerate(expression):
        depth += (c == "(") - (c == ")")
        if depth == 0 and i < len(expression) - 1:
            return expression
    return expression[1:-1]
