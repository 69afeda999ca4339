"""Random Python functions, as text: what `test_random_python` compiles.

    source = write(lambda n: rng.randrange(n))       def f(x, y, a, s, k): ...

The functions change scalars, arrays, views, tuples and lists in nested `if`, `for` and `while` with
every kind of jump. They end: `while` loops count their steps down. Vectors have N elements, short
ones N - 1, the matrix is N by N, so that most programs run without an error; some indices are out
of bounds, and some variables unbound, on purpose. Floats are sums and halves of small multiples of
a quarter: exact.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

N = 4

Choose = Callable[[int], int]
"""A number below its argument."""

_FLOATS = ("s", "t", "r")
_INTS = ("i", "j", "k")
_VECTORS = ("x", "y", "u", "v")
_SHORTS = ("p", "q")
_NAMES = {"float": _FLOATS, "int": _INTS, "vector": _VECTORS, "short": _SHORTS, "matrix": ("a",)}

_HELPERS = """
def capped(value, most):
    if value > most:
        return most
    return value


def shifted(w, by):
    w[1:] = w[:-1] + by
    if by > 1.0:
        return w
    return w.copy()


def first_above(w, least):
    for n in range(len(w)):
        if w[n] > least:
            return n
    return 0


def swap_ends(w):
    w[0], w[-1] = w[-1], w[0]


"""


@dataclass
class Writer:
    """A function that is being written.

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

    # -- expressions -------------------------------------------------------------------------------

    def name(self, kind: str) -> str:
        names = [n for n in _NAMES[kind] if n in self.bound]
        if self.chance(1):
            names += [n for n in _NAMES[kind] if n in self.maybe]
        return self.pick(*names) if names else {"short": "x[1:]", "int": "k"}[kind]

    def target(self, kind: str) -> str:
        return self.pick(*_NAMES[kind])

    def number(self) -> str:
        return self.pick("0.5", "1.0", "-0.25", "2.0", "0.0", "1", "-3.0")

    def index(self, extent: int = N) -> str:
        if self.chance(3):
            return self.name("int")
        return self.pick(
            *(
                "0",
                "-1",
                "1",
                f"{self.name('int')} % {extent}",
                f"-1 - {self.name('int')} % {extent}",
            )
        )

    def float(self, depth: int = 2) -> str:
        kind = self.choose(16) if depth else self.choose(5)
        inner = depth - 1
        if kind <= 2:
            return self.name("float")
        if kind == 3:
            return self.number()
        if kind == 4:
            return f"{self.name('vector')}[{self.index()}]"
        if kind == 5:
            return f"{self.float(inner)} {self.pick('+', '-')} {self.float(inner)}"
        if kind == 6:
            return f"({self.float(inner)}) * {self.pick('0.5', '2.0', '-1.0', '0.25')}"
        if kind == 7:
            return f"{self.pick('max', 'min')}({self.float(inner)}, {self.float(inner)})"
        if kind == 8:
            return f"({self.float(inner)} if {self.test(inner)} else {self.float(inner)})"
        if kind == 9:
            return f"a[{self.index()}, {self.index()}]"
        if kind == 10:
            return f"abs({self.float(inner)})"
        if kind == 11:
            return f"np.{self.pick('max', 'min')}({self.vector(inner)})"
        if kind == 12:
            return f"float({self.int(inner)})"
        if kind == 13:
            return f"capped({self.float(inner)}, {self.float(inner)})"
        if kind == 14:
            return f"sum(e * 0.5 for e in {self.name('vector')})"
        return f"{self.pick('max', 'min')}([e for e in {self.name('vector')}])"

    def int(self, depth: int = 2) -> str:
        kind = self.choose(10) if depth else self.choose(4)
        inner = depth - 1
        if kind <= 2:
            return self.name("int")
        if kind == 3:
            return self.pick("0", "1", "2", "3", "-1")
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
        return f"len({self.name('vector')})"

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
        kind = self.choose(9) if depth else 0
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
        return f"({self.vector(inner)}) * 0.5"

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

    def of(self, kind: str) -> str:
        return {"float": self.float, "int": self.int, "vector": self.vector, "short": self.short}[
            kind
        ]()

    # -- statements --------------------------------------------------------------------------------

    def bind(self, *names: str) -> None:
        self.bound.update(names)
        self.maybe.update(names)

    def assign(self) -> None:
        kind = self.pick("float", "float", "int", "vector", "short")
        name, value = self.target(kind), self.of(kind)
        self.put(f"{name} = {value}")
        self.bind(name)

    def assign_fresh(self) -> None:
        name = self.target("vector")
        maker = self.pick("np.zeros(N)", f"{self.name('vector')}.copy()", f"{self.vector()} + 0.0")
        self.put(f"{name} = {maker}")
        self.bind(name)

    def augment(self) -> None:
        kind = self.pick("float", "float", "int", "vector", "short")
        if kind == "short" and not self.bound & set(_SHORTS):
            kind = "float"
        name = self.name(kind)
        if kind == "int":
            self.put(f"{name} {self.pick('+=', '-=')} {self.pick('1', '2', self.int(1))}")
        elif kind == "float":
            self.put(f"{name} {self.pick('+=', '-=')} {self.float(1)}")
        elif kind == "short":
            self.put(f"{name} += {self.float(0)}")
        else:
            self.put(f"{name} {self.pick('+=', '-=')} {self.pick(self.float(1), self.vector(1))}")

    def write(self) -> None:
        kind = self.choose(8)
        vector = self.name("vector")
        operator = self.pick("=", "=", "+=", "-=")
        if kind <= 2:
            self.put(f"{vector}[{self.index()}] {operator} {self.float()}")
        elif kind == 3:
            self.put(f"{vector}[{self.pick('1:', ':-1')}] {operator} {self.short()}")
        elif kind == 4:
            self.put(f"a[{self.index()}] {operator} {self.vector(1)}")
        elif kind == 5:
            self.put(f"a[{self.index()}, {self.index()}] {operator} {self.float()}")
        elif kind == 6:
            self.put(f"{vector}[:] {operator} {self.vector()}")
        else:
            self.put(f"{vector}[{vector} > {self.name('float')}] {operator} {self.float(0)}")

    def exchange(self) -> None:
        kind = self.choose(5)
        if kind == 0:
            b, c = self.name("vector"), self.name("vector")
            self.put(f"{b}, {c} = {c}, {b}")
        elif kind == 1:
            b, c = self.name("float"), self.name("float")
            self.put(f"{b}, {c} = {c}, {b} + 0.5")
        elif kind == 2:
            self.put(f"pair = ({self.float()}, {self.int()})")
            first, second = self.target("float"), self.target("int")
            self.put(f"{first}, {second} = pair")
            self.bind(first, second)
        elif kind == 3:
            self.put(f"items[{self.pick('0', '1')}] {self.pick('=', '+=')} {self.float()}")
        else:
            name = self.target("float")
            self.put(f"{name} = items[0] - items[-1]")
            self.bind(name)

    def call(self) -> None:
        kind = self.choose(3)
        if kind == 0:
            self.put(f"swap_ends({self.name('vector')})")
            return
        name = self.target("vector")
        self.put(f"{name} = shifted({self.name('vector')}, {self.float(0)})")
        self.bind(name)

    def if_(self) -> None:
        before = set(self.bound)
        with self.block(f"if {self.test()}:"):
            ended = self.body()
        paths = [] if ended else [self.bound]
        others = self.choose(3)
        for n in range(others):
            self.bound = set(before)
            last = n == others - 1
            with self.block("else:" if last else f"elif {self.test()}:"):
                ended = self.body()
            if not ended:
                paths.append(self.bound)
        if others == 0:
            paths.append(before)
        self.bound = set.intersection(*paths) if paths else before

    def for_(self) -> None:
        before = set(self.bound)
        self.loops += 1
        kind = self.choose(9)
        bound: tuple[str, ...] = ()
        if kind <= 2:
            name = self.target("int")
            span = self.pick(
                *("6", "3", f"{self.name('int')}", "1, 7, 2", f"{self.name('int')}, 5", "5, -1, -1")
            )
            header, bound = f"for {name} in range({span}):", (name,)
        elif kind == 3:
            name = self.target("float")
            header, bound = f"for {name} in {self.name('vector')}:", (name,)
        elif kind == 4:
            pair = self.target("int"), self.target("float")
            header = f"for {pair[0]}, {pair[1]} in enumerate({self.name('vector')}):"
            bound = pair
        elif kind == 5:
            pair = "s", "t"
            header = f"for s, t in zip({self.name('vector')}, {self.name('vector')}):"
            bound = pair
        elif kind == 6:
            name = self.target("vector")
            header, bound = f"for {name} in a:", (name,)
        elif kind == 7:
            name = self.target("int")
            header = f"for {name} in reversed(range({self.pick('6', self.name('int'))})):"
            bound = (name,)
        else:
            name = self.target("float")
            header, bound = f"for {name} in items:", (name,)
        with self.block(header):
            self.bind(*bound)
            self.body()
        self.loops -= 1
        self.bound = before
        self.or_else()

    def while_(self) -> None:
        before = set(self.bound)
        self.counters += 1
        counter = f"c{self.counters}"
        self.put(f"{counter} = {self.pick('5', '3', '9', 'k')}")
        self.loops += 1
        test = self.pick(self.test(), self.test(), "True")
        first = self.pick(f"{counter} > 0 and {test}", test)
        with self.block(f"while {first}:"):
            if first == test:
                with self.block(f"if {counter} <= 0:"):
                    self.put("break")
            self.put(f"{counter} -= 1")
            self.body()
        self.loops -= 1
        self.bound = before
        self.or_else()

    def or_else(self) -> None:
        if self.chance(20):
            before = set(self.bound)
            with self.block("else:"):
                self.body()
            self.bound = before

    def leave(self) -> bool:
        kind = self.choose(6)
        if kind <= 2 and self.loops:
            self.put(self.pick("break", "continue"))
        elif kind <= 3:
            self.put(f"return {self.result()}")
        elif kind == 4:
            self.put(f"raise {self.pick('ValueError', 'Stop')}({self.pick('1', '2')!r})")
        else:
            self.put(f"assert {self.test()}, 'no'")
            return False
        return True

    def result(self) -> str:
        return f"({self.name('float')}, {self.name('int')}, {self.name('vector')})"

    def body(self) -> bool:
        """A few statements; whether they end in a jump."""
        for _ in range(1 + self.choose(3)):
            self.statement()
        if self.chance(25):
            return self.leave()
        return False

    def statement(self) -> None:
        kind = self.choose(20)
        if self.depth < 5 and self.size < 40 and kind >= 10:
            self.pick(self.if_, self.if_, self.for_, self.for_, self.while_)()
        else:
            simple = self.assign, self.assign_fresh, self.augment, self.write
            self.pick(*simple, self.write, self.augment, self.exchange, self.call)()


def write(choose: Choose) -> str:
    """A module with a function `f(x, y, a, s, k)` in it."""
    writer = Writer(choose)
    writer.bind("x", "y", "a", "s", "k")
    start = ["t = 0.5", "i = 0", "items = [s, 1.5]", "u = x.copy()"]
    for line in start:
        writer.put(line)
        writer.bind(line.split()[0])
    for _ in range(2 + choose(4)):
        writer.statement()
    writer.put(f"return {writer.result()}")
    head = f"import numpy as np\n\nN = {N}\n\n\nclass Stop(Exception):\n    pass\n\n"
    return f"{head}{_HELPERS}def f(x, y, a, s, k):\n" + "\n".join(writer.lines) + "\n"
