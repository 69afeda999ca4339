"""Expressions of random Python functions, as text; `python_programs` writes the statements.

    expressions.float()      max(x[i % 4], (s + 0.25) * 0.5)

There are floats, ints, vectors of N elements, short vectors of N - 1, and one matrix, each with
some names; the box is an object. Floats are sums and halves of small multiples of a quarter: exact.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

N = 4

Choose = Callable[[int], int]
"""A number below its argument."""

FLOATS = ("s", "t", "r")
INTS = ("i", "j", "k")
VECTORS = ("x", "y", "u", "v")
SHORTS = ("p", "q")
NAMES = {"float": FLOATS, "int": INTS, "vector": VECTORS, "short": SHORTS, "matrix": ("a",)}


@dataclass
class Expressions:
    """A function that is being written, and what may stand in its expressions.

    Attributes:
        choose: where the decisions come from.
        bound: names that are bound whatever path was taken.
        maybe: names that are bound on some path.
    """

    choose: Choose
    lines: list[str] = field(default_factory=list)
    bound: set[str] = field(default_factory=set)
    maybe: set[str] = field(default_factory=set)
    depth: int = 1
    loops: int = 0
    counters: int = 0
    size: int = 0

    def pick(self, *options: Any) -> Any:
        return options[self.choose(len(options))]

    def chance(self, percent: int) -> bool:
        return self.choose(100) >= 100 - percent

    def put(self, line: str) -> None:
        self.lines.append("    " * self.depth + line)
        self.size += 1

    @contextmanager
    def block(self, header: str) -> Any:
        self.put(header)
        self.depth += 1
        yield
        self.depth -= 1

    def name(self, kind: str) -> str:
        names = [n for n in NAMES[kind] if n in self.bound]
        if self.chance(1):
            names += [n for n in NAMES[kind] if n in self.maybe]
        return self.pick(*names) if names else {"short": "x[1:]", "int": "k"}[kind]

    def target(self, kind: str) -> str:
        return self.pick(*NAMES[kind])

    def number(self) -> str:
        return self.pick("0.5", "1.0", "-0.25", "2.0", "0.0", "1", "-3.0")

    def box(self) -> str:
        return self.pick("box", "BOX")

    def index(self, extent: int = N) -> str:
        """Mostly in bounds; what is next to a counter leaves them at one end of most loops."""
        if self.chance(3):
            return self.name("int")
        if self.chance(4):
            return f"{self.name('int')} {self.pick('+ 1', '- 1')}"
        return self.pick(
            *("0", "-1", "1"),
            f"{self.name('int')} % {extent}",
            f"-1 - {self.name('int')} % {extent}",
            f"min(max({self.name('int')}, 0), {extent - 1})",
        )

    def float(self, depth: int = 2) -> str:
        kind = self.choose(21) if depth else self.choose(6)
        inner = depth - 1
        if kind <= 2:
            return self.name("float")
        if kind == 3:
            return self.number()
        if kind == 4:
            return f"{self.name('vector')}[{self.index()}]"
        if kind == 5:
            return f"{self.box()}.total"
        if kind == 6:
            return f"{self.float(inner)} {self.pick('+', '-')} {self.float(inner)}"
        if kind == 7:
            return f"({self.float(inner)}) * {self.pick('0.5', '2.0', '-1.0', '0.25')}"
        if kind == 8:
            return f"{self.pick('max', 'min')}({self.float(inner)}, {self.float(inner)})"
        if kind == 9:
            return f"({self.float(inner)} if {self.test(inner)} else {self.float(inner)})"
        if kind == 10:
            return f"a[{self.index()}, {self.index()}]"
        if kind == 11:
            return f"abs({self.float(inner)})"
        if kind == 12:
            return f"np.{self.pick('max', 'min')}({self.vector(inner)})"
        if kind == 13:
            return f"float({self.int(inner)})"
        if kind == 14:
            return f"capped({self.float(inner)}, {self.float(inner)})"
        if kind == 15:
            return f"sum(e * 0.5 for e in {self.name('vector')})"
        if kind == 16:
            return f"{self.pick('max', 'min')}([e for e in {self.name('vector')}])"
        if kind == 17:
            return f"{self.box()}.w[{self.index()}]"
        if kind == 18:
            return f"{self.box()}.added({self.float(inner)})"
        if kind == 19:
            return f"max([{self.pick('e', '-e')} for e in {self.filtered()}], default=-1.0)"
        return f"sum([e for e in {self.filtered()}])"

    def filtered(self) -> str:
        """What a comprehension goes over, where not all elements count."""
        test = self.pick(f"e {self.pick('<', '>', '<=')} {self.name('float')}", self.test(0))
        return f"{self.name('vector')} if {test}"

    def int(self, depth: int = 2) -> str:
        kind = self.choose(11) if depth else self.choose(4)
        inner = depth - 1
        if kind <= 2:
            return self.name("int")
        if kind == 3:
            return self.pick("0", "1", "2", "3", "-1", "COUNT", f"{self.box()}.steps")
        if kind == 4:
            return f"({self.int(inner)} {self.pick('+', '-', '*')} {self.int(inner)}) % 7"
        if kind == 5:
            return f"({self.int(inner)}) // 2"
        if kind == 6:
            return f"int({self.test(inner)})"
        if kind == 7:
            return f"({self.pick('1', '2', '0')} if {self.test(inner)} else {self.int(inner)})"
        if kind == 8:
            return f"first_above({self.name('vector')}, {self.float(inner)})"
        if kind == 9:
            return f"len([e for e in {self.filtered()}])"
        return f"len({self.pick('items', 'LOG', self.name('vector'))})"

    def test(self, depth: int = 2) -> str:
        kind = self.choose(10) if depth else self.choose(3)
        inner = depth - 1
        if kind <= 1:
            order = self.pick("<", ">", "<=", ">=")
            return f"{self.float(inner if inner > 0 else 0)} {order} {self.name('float')}"
        if kind == 2:
            return (
                f"{self.name('int')} {self.pick('<', '>', '==', '!=')} {self.pick('0', '1', '2')}"
            )
        if kind == 3:
            return f"({self.test(inner)} {self.pick('and', 'or')} {self.test(inner)})"
        if kind == 4:
            return f"not {self.test(inner)}"
        if kind == 5:
            return f"{self.number()} < {self.float(inner)} <= {self.float(inner)}"
        if kind == 6:
            return f"({self.name('vector')} > {self.name('float')}).{self.pick('any', 'all')}()"
        if kind == 7:
            fold = self.pick("any", "all")
            return f"{fold}(e > {self.name('float')} for e in {self.name('vector')})"
        if kind == 8:
            return f"{self.name('int')} in (0, 2, 3)"
        return f"{self.name('int')} % 2"

    def vector(self, depth: int = 2) -> str:
        kind = self.choose(11) if depth else 0
        inner = depth - 1
        if kind <= 1:
            return self.name("vector")
        if kind == 2:
            return f"{self.vector(inner)} {self.pick('+', '-')} {self.float(0)}"
        if kind == 3:
            return f"a[{self.index()}]"
        if kind == 4:
            return f"{self.name('vector')}[::-1]"
        if kind == 5:
            return (
                f"np.{self.pick('maximum', 'minimum')}({self.vector(inner)}, {self.vector(inner)})"
            )
        if kind == 6:
            return f"a[:, {self.index()}]"
        if kind == 7:
            return (
                f"np.where({self.vector(inner)} > {self.name('float')}, {self.vector(inner)}, 0.5)"
            )
        if kind == 8:
            return f"{self.box()}.w"
        if kind == 9:
            return f"{self.layer()}({self.vector(inner)}, {self.name('vector')}, {self.float(0)})"
        return f"({self.vector(inner)}) * 0.5"

    def layer(self) -> str:
        return self.pick("fresh", "fresh", "chosen", "damped", "window", "counted")

    def short(self) -> str:
        kind = self.choose(5)
        if kind == 0:
            return self.name("short")
        if kind == 1:
            return f"{self.name('vector')}[1:]"
        if kind == 2:
            return f"{self.name('vector')}[:-1]"
        if kind == 3:
            return f"{self.name('short')} * 0.5"
        return f"{self.name('vector')}[1:] - {self.name('vector')}[:-1]"

    def part(self) -> tuple[str, str]:
        """Slices of two vectors, which are as long."""
        b, c = self.name("vector"), self.name("vector")
        return self.pick(
            *((f"{b}[1:]", f"{c}[:-1]"), (f"{b}[:-1]", f"{c}[1:]"), (f"{b}[1:]", f"{b}[:-1]")),
            *((f"{b}[lo:hi]", f"{c}[lo:hi]"), (f"{b}[: hi - lo]", f"{c}[lo:hi]")),
            *((f"{b}[:lo]", f"{c}[N - lo :]"), (f"{b}[hi:]", f"{b}[: N - hi]")),
            *((f"{b}[::-1]", f"{c}"), (f"{b}[::2]", f"{c}[1::2]")),
        )

    def of(self, kind: str) -> str:
        return {"float": self.float, "int": self.int, "vector": self.vector, "short": self.short}[
            kind
        ]()
