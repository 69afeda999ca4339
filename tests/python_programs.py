"""Random Python functions, as text: what `test_random_python` compiles.

    source = write(lambda n: rng.randrange(n))       def f(x, y, a, s, k): ...

The functions change scalars, arrays, views, tuples, lists, objects and globals in nested `if`,
`for` and `while` with every kind of jump; they call helpers once, or for each of many layers. They
end: `while` loops count their steps down. Most programs run without an error; some indices are out
of bounds, and some variables unbound, on purpose.
"""

from __future__ import annotations

from python_expressions import SHORTS, Choose, Expressions, N

_MODULE = """
from dataclasses import dataclass
from typing import Any

import numpy as np

N = %d
LAYERS = tuple((np.arange(-n, N - n) %% 3 / 4.0, n %% 5 / 2.0) for n in range(11))


class Stop(Exception):
    pass


@dataclass
class Box:
    total: float
    w: Any
    steps: int = 0

    def added(self, value):
        self.total += value
        self.steps += 1
        return self.total

    def put(self, at, value):
        if value > self.total:
            self.w[at] = value
        else:
            self.w = self.w + value


def reset():
    global COUNT, LOG, BOX
    COUNT, LOG, BOX = 0, [], Box(0.5, np.zeros(N))


reset()


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


def fresh(h, w, by):
    return np.maximum(h, w) - by


def chosen(h, w, by):
    if h[0] > by:
        return w
    return h * 0.5 + w


def damped(h, w, by):
    h[1:] -= w[:-1]
    h[0] += by
    return h


def window(h, w, by):
    return h[::-1]


def counted(h, w, by):
    global COUNT
    COUNT += 1
    if h[-1] > by:
        COUNT += 1
        LOG.append(by)
    return h - w


"""


class Writer(Expressions):
    """A function that is being written."""

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
        if kind == "short" and not self.bound & set(SHORTS):
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

    def overlap(self) -> None:
        kind = self.choose(6)
        operator = self.pick("=", "+=", "-=", "+=")
        if kind <= 2:
            if self.chance(60):
                self.put(f"lo = {self.int(1)} % {N + 1}")
                self.put(f"hi = {self.pick('N', f'lo + {self.int(0)} % (N + 1 - lo)')}")
            target, source = self.part()
            self.put(f"{target} {operator} {self.pick(source, source, self.float(0))}")
        elif kind == 3:
            factor = self.pick("2.0", "0.5", self.float(0))
            self.put(f"a[{self.index()}] {operator} ({factor}) * a[{self.index()}]")
        elif kind == 4:
            self.put(f"a[:, {self.index()}] {operator} a[{self.pick('', ':, ')}{self.index()}]")
        else:
            parts = ("a[1:]", "a[:-1]"), ("a[:, 1:]", "a[:, :-1]"), ("a[::-1]", "a"), ("a", "a.T")
            target, source = self.pick(*parts)
            self.put(f"{target} {operator} {source}")

    def outside(self) -> None:
        """Change an object, or what is global."""
        kind = self.choose(8)
        box, operator = self.box(), self.pick("=", "+=", "-=")
        if kind == 0:
            self.put(f"COUNT += {self.int(1)}")
        elif kind == 1:
            self.put(f"LOG.append({self.pick(self.float(), self.int())})")
        elif kind == 2:
            self.put(f"{box}.total {operator} {self.float()}")
        elif kind == 3:
            self.put(f"{box}.steps {self.pick('+= 1', '-= 1', f'= {self.int()}')}")
        elif kind == 4:
            self.put(f"{box}.w[{self.index()}] {operator} {self.float()}")
        elif kind == 5:
            self.put(f"{box}.w = {self.vector()}")
        elif kind == 6:
            self.put(f"{box}.put({self.index()}, {self.float()})")
        else:
            self.put(f"{box}.w {self.pick('+=', '-=')} {self.vector(1)}")

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

    def layers(self) -> None:
        """A helper called for each of many layers, some of which may be left out."""
        h, layer = self.name("vector"), self.layer()
        with self.block(self.pick("for w, b in LAYERS:", "for w, b in LAYERS[:9]:")):
            before = set(self.bound)
            self.loops += 1
            if self.chance(30):
                self.pick(self.leave, self.outside, self.augment)()
            self.put(f"{h} = {layer}({h}, {self.pick('w', 'w', self.name('vector'))}, b)")
            if self.chance(20):
                with self.block(f"if {self.test(0)}:"):
                    self.put(self.pick("break", "continue", f"{h}[0] = b"))
            self.loops -= 1
            self.bound = before

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
        kind = self.choose(10)
        bound: tuple[str, ...] = ()
        if kind <= 2:
            name = self.target("int")
            span = self.pick(
                *(
                    "6",
                    "3",
                    f"{self.name('int')}",
                    "1, 7, 2",
                    f"{self.name('int')}, 5",
                    "5, -1, -1",
                ),
                *("N", "1, N", "N - 1", "N - 1, -1, -1", "N - 2, 0, -1", "lo, hi"),
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
        elif kind == 8:
            name = self.target("float")
            header, bound = f"for {name} in {self.pick('items', 'LOG')}:", (name,)
        else:
            name = self.target("float")
            header, bound = f"for {name} in [e for e in {self.filtered()}]:", (name,)
        with self.block(header):
            self.bind(*bound)
            if kind <= 2 and self.chance(40):
                self.near(bound[0])
            self.body()
        self.loops -= 1
        self.bound = before
        self.or_else()

    def near(self, i: str) -> None:
        """A statement about elements next to each other, in a loop that is short enough or not."""
        v = self.name("vector")
        self.put(
            self.pick(
                *(f"{v}[{i} - 1] += {v}[{i}]", f"{v}[{i}] = {v}[{i} - 1] + 0.5"),
                *(f"{v}[N - 1 - {i}] = {v}[{i}]", f"if {i} + 1 < N: {v}[{i}] -= {v}[{i} + 1]"),
                *(f"{v}[:{i}] += {v}[{i}]", f"{v}[{i}:] -= {self.name('float')}"),
                *(f"a[{i}, :{i}] = a[:{i}, {i}]", f"a[{i}, {i}:] *= 0.5"),
            )
        )

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
        names = map(self.name, ("float", "int", "vector"))
        return f"({', '.join(names)}, {self.pick('items', 'box')})"

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
            often = self.if_, self.for_, self.if_, self.for_
            self.pick(*often, *often, self.while_, self.while_, self.layers)()
        else:
            simple = self.assign, self.assign_fresh, self.augment, self.write
            rare = self.exchange, self.call, self.overlap, self.outside, self.overlap, self.outside
            self.pick(*simple, self.write, self.augment, *rare)()


def write(choose: Choose) -> str:
    """A module with a function `f(x, y, a, s, k)`, which changes its COUNT, LOG and BOX; `reset()`
    makes them new."""
    writer = Writer(choose)
    writer.bind("x", "y", "a", "s", "k")
    writer.put("global COUNT")
    writer.put("t, i, items, u = 0.5, 0, [s, 1.5], x.copy()")
    writer.put("box, lo, hi = Box(s, u), 1, 3")
    writer.bind("t", "i", "u")
    for _ in range(2 + choose(4)):
        writer.statement()
    writer.put(f"return {writer.result()}")
    return f"{_MODULE % N}def f(x, y, a, s, k):\n" + "\n".join(writer.lines) + "\n"
