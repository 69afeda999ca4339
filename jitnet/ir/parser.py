"""Reads the text that the printer writes: `parse(str(f)) == f`, at both levels.

    parse('''
    jitnet 1 array
    func @f(%x: f64[3]) -> (f64[3]) {
      %y: f64[3] = mul %x, 2.0
      return %y
    }
    ''')

A recursive descent over tokens. Types are taken as written; `verify` compares them with what the
ops' rules infer. Ops are found by name in the registry of the text's level, so the modules that
define them must have been imported.
"""

from __future__ import annotations

import re
from ast import literal_eval
from typing import Any, NamedTuple

import numpy as np

from jitnet.errors import ParseError
from jitnet.ir import types as T
from jitnet.ir.core import Eqn, Function
from jitnet.ir.op import Op, registry
from jitnet.ir.printer import VERSION
from jitnet.ir.value import Dense, Literal, Value, as_dim

_TOKEN = re.compile(
    r"""(?P<skip>[ \t]+|\#[^\n]*)
      | (?P<newline>\n)
      | (?P<number>-?(?:\d+(?:\.\d*)?(?:[eE][-+]?\d+)?|inf\b|nan\b(?:\(0x[0-9a-f]+\))?))
      | (?P<value>%\w+(?:\.\d+)?)
      | (?P<string>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')
      | (?P<word>[A-Za-z_][\w.]*)
      | (?P<mark>->|[@=(){}\[\],:?])
      | (?P<unknown>.)""",
    re.VERBOSE,
)


class _Token(NamedTuple):
    kind: str
    text: str
    line: int


_Scope = dict[str, Value]


def parse(text: str) -> Function:
    """The Function that a text stands for.

    Raises:
        ParseError: for text that is not IR of this version; the message quotes the line.
    """
    return _Parser(text).module()


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    line = 1
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup
        assert kind is not None
        if kind == "newline":
            line += 1
        elif kind != "skip":
            tokens.append(_Token(kind, match[0], line))
    tokens.append(_Token("end", "end of text", line))
    return tokens


class _Parser:
    def __init__(self, text: str) -> None:
        self.lines = text.split("\n")
        self.tokens = _tokens(text)
        self.position = 0
        self.ops: dict[str, Op] = {}
        self.level = ""
        self.functions: dict[str, Function] = {}

    # -- tokens -----------------------------------------------------------------------------------

    @property
    def token(self) -> _Token:
        return self.tokens[self.position]

    def error(self, message: str, token: _Token | None = None) -> ParseError:
        token = token or self.token
        quoted = self.lines[token.line - 1].strip()
        return ParseError(f"line {token.line}: {message}", why=f"in `{quoted}`", frames=())

    def next(self) -> _Token:
        token = self.token
        self.position += token.kind != "end"
        return token

    def take(self, kind: str, what: str) -> _Token:
        if self.token.kind != kind:
            raise self.error(f"expected {what}, not {self.token.text!r}")
        return self.next()

    def accept(self, text: str) -> bool:
        """Skip the token if it is this mark or word."""
        if self.token.text != text or self.token.kind not in ("mark", "word"):
            return False
        self.position += 1
        return True

    def expect(self, text: str) -> None:
        if not self.accept(text):
            raise self.error(f"expected {text!r}, not {self.token.text!r}")

    # -- functions and equations ------------------------------------------------------------------

    def module(self) -> Function:
        self.expect("jitnet")
        version = self.take("number", "a version").text
        if version != str(VERSION):
            raise self.error(f"this is version {version} of the format, not {VERSION}")
        level = self.take("word", "a level")
        if level.text not in ("array", "kernel"):
            raise self.error(f"no level {level.text!r}", level)
        self.level = level.text
        self.ops = registry(self.level)
        starts = [i for i, t in enumerate(self.tokens) if t.kind == "word" and t.text == "func"]
        if starts[:1] != [self.position]:
            self.expect("func")
        stops = [*starts[1:], len(self.tokens) - 1]
        for start, stop in reversed(list(zip(starts, stops))):  # callees stand behind callers
            self.position = start + 1
            f = self.function({}, with_result_types=True)
            if self.position != stop:
                raise self.error(f"text goes on after the function: {self.token.text!r}")
            self.functions[f.name] = f
        return f

    def function(self, outer: _Scope, with_result_types: bool = False) -> Function:
        name = self.function_name()
        scope = dict(outer)
        self.expect("(")
        params = self.bindings(scope, ")")
        self.expect(")")
        declared = self.position
        if with_result_types:
            self.skip_to("{")
        self.expect("{")
        eqns: list[Eqn] = []
        while not self.accept("return"):
            eqns.append(self.eqn(scope))
        results = self.operands(scope, self.tokens[self.position - 1].line)
        self.expect("}")
        if with_result_types:
            self.check_result_types(declared, results, scope)
        return Function(name, params, tuple(eqns), results, self.level)

    def function_name(self) -> str:
        self.expect("@")
        if self.token.kind == "string":
            return str(literal_eval(self.next().text))
        return self.take("word", "a function's name").text

    def named_function(self) -> Function:
        token = self.token
        name = self.function_name()
        if name not in self.functions:
            raise self.error(f"no function @{name} further down", token)
        return self.functions[name]

    def check_result_types(self, position: int, results: tuple[Value, ...], scope: _Scope) -> None:
        """Result types stand before the values that their dims name, so they are read last."""
        end, self.position = self.position, position
        self.expect("->")
        self.expect("(")
        types = self.list_of(")", lambda: self.type(scope))
        if types != [v.type for v in results]:
            raise self.error(f"the function returns ({', '.join(str(v.type) for v in results)})")
        self.position = end

    def skip_to(self, text: str) -> None:
        while self.token.text != text and self.token.kind != "end":
            self.position += 1

    def eqn(self, scope: _Scope) -> Eqn:
        inner = dict(scope)
        results: tuple[Value, ...] = ()
        if self.token.kind == "value":
            results = self.bindings(inner, "=")
            self.expect("=")
        token = self.take("word", "an op")
        op = self.ops.get(token.text)
        if op is None:
            raise self.error(f"no {self.level} op {token.text!r}", token)
        operands = self.operands(scope, token.line)
        attrs = self.attrs() if self.accept("{") else {}
        regions: list[Function] = []
        outer = scope if self.level == "kernel" else {}
        while self.token.text == "@":
            regions.append(self.function(outer))
        scope.update(inner)
        return Eqn(op, operands, attrs, tuple(regions), results)

    def bindings(self, scope: _Scope, closing: str) -> tuple[Value, ...]:
        """`%x: f64[%n], %n: i64`: a type may name a value that stands further right."""
        start, line = self.position, self.token.line
        values: list[Value] = []
        while self.token.text != closing:
            if closing == "=" and self.token.line != line:
                raise self.error(f"expected '=', not {self.token.text!r}")
            name = self.take("value", "a value").text
            values.append(Value(T.scalar(T.i64), _hint(name)))
            scope[name] = values[-1]
            self.skip_binding(closing)
        self.position = start
        for value in values:
            self.next()
            self.expect(":")
            value.type = self.type(scope)
            if value is not values[-1]:
                self.expect(",")
        return tuple(values)

    def skip_binding(self, closing: str) -> None:
        """Go on to the next binding, past the comma that is outside all brackets."""
        depth = 0
        while self.token.kind != "end":
            text = self.token.text
            if depth == 0 and text in (closing, "}"):
                return
            self.position += 1
            if depth == 0 and text == ",":
                return
            depth += (text in ("[", "(")) - (text in ("]", ")"))

    def operands(self, scope: _Scope, line: int) -> tuple[Value, ...]:
        """The comma-separated values on the line where the op stands."""
        if self.token.line != line or not self.at_operand():
            return ()
        found = [self.operand(scope)]
        while self.accept(","):
            found.append(self.operand(scope))
        return tuple(found)

    def at_operand(self) -> bool:
        words = ("true", "false", "complex")
        return self.token.kind in ("value", "number") or self.token.text in words

    def operand(self, scope: _Scope) -> Value:
        token = self.token
        if token.kind == "value":
            self.position += 1
            if token.text not in scope:
                raise self.error(f"{token.text} is not defined here", token)
            return scope[token.text]
        if not self.at_operand():
            raise self.error(f"expected an operand, not {token.text!r}")
        if self.token.text == "complex":
            re, im = self.halves()
            self.expect(":")
            dtype = self.dtype()
            return Literal(_complex(re, im, dtype), dtype)
        self.position += 1
        dtype = T.f64 if _is_float_text(token.text) else T.i64
        if token.kind == "word":
            dtype = T.bool_
        if self.accept(":"):
            dtype = self.dtype()
        return Literal(_scalar(token.text, dtype), dtype)

    def halves(self) -> tuple[str, str]:
        """`complex(re, im)`."""
        self.expect("complex")
        self.expect("(")
        re = self.take("number", "a real part").text
        self.expect(",")
        im = self.take("number", "an imaginary part").text
        self.expect(")")
        return re, im

    # -- types ------------------------------------------------------------------------------------

    def dtype(self) -> T.DType:
        token = self.take("word", "a dtype")
        found = T.by_name(token.text)
        if found is None:
            raise self.error(f"no dtype {token.text!r}", token)
        return found

    def type(self, scope: _Scope) -> T.Type:
        for name in ("tape", "list"):
            if self.accept(name):
                self.expect("[")
                return T.TapeType(tuple(self.list_of("]", self.tape_field)), name == "list")
        if not self.accept("buf"):
            return T.ArrayType(self.dtype(), self.dims(scope))
        dtype, dims, strides = self.dtype(), self.dims(scope), None
        if self.accept("strides"):
            self.expect("(")
            strides = tuple(self.list_of(")", lambda: self.dim(scope)))
        return T.BufferType(dtype, dims, strides)

    def dims(self, scope: _Scope) -> tuple[T.Dim, ...]:
        if not self.accept("["):
            return ()
        return tuple(self.list_of("]", lambda: self.dim(scope)))

    def dim(self, scope: _Scope) -> T.Dim:
        return as_dim(self.operand(scope))

    def tape_field(self) -> tuple[T.DType, tuple[int | None, ...]]:
        dtype = self.dtype()
        if not self.accept("["):
            return dtype, ()
        return dtype, tuple(self.list_of("]", self.tape_dim))

    def tape_dim(self) -> int | None:
        return None if self.accept("?") else int(self.take("number", "an extent").text)

    def list_of(self, closing: str, item: Any) -> list[Any]:
        """Items up to the closing bracket; a comma may follow the last."""
        items: list[Any] = []
        while not self.accept(closing):
            items.append(item())
            if self.token.text != closing:
                self.expect(",")
        return items

    # -- attributes -------------------------------------------------------------------------------

    def attrs(self) -> dict[str, Any]:
        return dict(self.list_of("}", self.attr))

    def attr(self) -> tuple[str, Any]:
        name = self.take("word", "an attribute").text
        self.expect("=")
        return name, self.attr_value()

    def attr_value(self) -> Any:
        token = self.token
        if token.kind == "string":
            return literal_eval(self.next().text)
        if token.kind == "number":
            text = self.next().text
            return float(_scalar(text, T.f64)) if _is_float_text(text) else int(text)
        if self.accept("("):
            return tuple(self.list_of(")", self.attr_value))
        if self.accept("dense"):
            return self.dense()
        if token.text == "@":
            return self.named_function()
        if token.text in ("none", "true", "false"):
            self.position += 1
            return {"none": None, "true": True, "false": False}[token.text]
        if token.text in ("tape", "list", "buf"):
            return self.type({})
        dtype = self.dtype()
        return T.ArrayType(dtype, self.dims({})) if self.token.text == "[" else dtype

    def dense(self) -> Dense:
        dtype = self.dtype()
        shape = tuple(int(str(d)) for d in self.dims({}))
        if self.token.kind == "string":
            data = bytes.fromhex(literal_eval(self.next().text))
            return Dense(np.frombuffer(data, dtype.numpy).reshape(shape))
        elements: list[Any] = []
        self.dense_elements(dtype, elements)
        return Dense(np.array(elements, dtype.numpy).reshape(shape))

    def dense_elements(self, dtype: T.DType, elements: list[Any]) -> None:
        if self.accept("["):
            self.list_of("]", lambda: self.dense_elements(dtype, elements))
        elif dtype.is_complex:
            elements.append(_complex(*self.halves(), dtype))
        elif self.at_operand():
            elements.append(_scalar(self.next().text, dtype))
        else:
            raise self.error(f"expected an element, not {self.token.text!r}")


def _hint(name: str) -> str:
    """The hint that the printer made this name of: `%y.1` was `y`, `%0` had none."""
    hint = name[1:].partition(".")[0]
    return "" if hint.isdigit() else hint


def _is_float_text(text: str) -> bool:
    return any(part in text for part in (".", "inf", "nan")) or "e" in text.lower()


def _scalar(text: str, dtype: T.DType) -> Any:
    if dtype.is_bool:
        return text == "true"
    if not dtype.is_float:
        return dtype.numpy.type(int(text))
    if text.startswith("nan("):
        unsigned = np.dtype(f"u{dtype.itemsize}").type
        return unsigned(int(text[4:-1], 16)).view(dtype.numpy)
    return dtype.numpy.type(float(text))


def _complex(re: str, im: str, dtype: T.DType) -> Any:
    """Both halves bit for bit: `re + 1j * im` would lose zeros' signs."""
    halves = np.array([_scalar(re, dtype.half), _scalar(im, dtype.half)], dtype.half.numpy)
    return halves.view(dtype.numpy)[0]
