"""Random Python functions over lists that many names know, as text.

    source = write(random.Random(3))       def f(x, a, rows): ...

Four variables, a list of lists and a dict share a few lists of two numbers. The functions bind,
swap, make and change them in branches and loops, and return some of them.
"""

from __future__ import annotations

from random import Random

_HELPERS = """\
def pick(p, q, v):
    if p[0] < v:
        return p
    return q


def make(v, p):
    return [v, p[1]]


def bump(p, v):
    p[1] = p[1] + v


def f(x, a, rows):
    b = [x[1], x[2]]
    c = [x[2], x[0]]
    m = %s
    box = {'k': b}
    t = x[0] * 1.0
"""
_NAMES = ("a", "b", "c", "m")
_RETURNED = (
    "a, b, c, m, rows, box, t",
    "a[0], a[1], b[0], b[1], c[0], c[1], m[0], m[1], rows[0][0], rows[1][1], box['k'][0], t",
    "m, t, box",
    "a, b, c, rows, t",
)


def write(rng: Random) -> str:
    """The source of a module with a function `f(x, a, rows)`."""
    program = _Program(rng)
    program.block(rng.randrange(5, 9))
    head = _HELPERS % rng.choice(("a", "b", "rows[1]"))
    return head + "\n".join((*program.lines, f"    return {rng.choice(_RETURNED)}", ""))


class _Program:
    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.lines: list[str] = []
        self.depth = 1
        self.loops = 0
        self.counters = 0

    # -- expressions -------------------------------------------------------------------------------

    def number(self) -> str:
        kind = self.rng.randrange(7)
        if kind == 0:
            return self.element()
        if kind < 4:
            return f"{self.object()}[{self.place()}]"
        if kind == 4:
            return str(self.rng.choice((0.5, 1.5, -1.0, 2.0)))
        return "t" if kind == 5 else f"({self.number()} {self.rng.choice('+-*')} 0.5)"

    def element(self) -> str:
        return f"x[{self.rng.randrange(3)}]"

    def place(self) -> str:
        """Which of two items: data decides, now and then."""
        if self.rng.randrange(6) == 0:
            return f"int({self.element()} > {self.rng.choice(('t', '1.0', self.element()))})"
        return str(self.rng.randrange(2))

    def object(self) -> str:
        """A list that is there."""
        kind = self.rng.randrange(12)
        if kind < 9:
            return self.rng.choice(_NAMES)
        if kind == 9:
            return f"rows[{self.place()}]"
        if kind == 10:
            return "box['k']"
        one, other = self.rng.choice(_NAMES), self.rng.choice(_NAMES)
        return f"pick({one}, {other}, {self.element()})"

    def some_object(self) -> str:
        """A list, or a new one."""
        kind = self.rng.randrange(8)
        if kind < 2:
            return f"[{self.number()}, {self.number()}]"
        if kind < 6:
            return self.object()
        if kind == 6:
            return f"({self.object()} if {self.condition()} else {self.object()})"
        return f"make({self.number()}, {self.object()})"

    def condition(self) -> str:
        if self.rng.randrange(6) == 0:
            return f"{self.object()} is {self.object()}"
        return f"{self.number()} {self.rng.choice(('<', '>', '<='))} {self.number()}"

    # -- statements --------------------------------------------------------------------------------

    def emit(self, line: str) -> None:
        self.lines.append("    " * self.depth + line)

    def block(self, count: int) -> None:
        for _ in range(count):
            self.statement()

    def nested(self, head: str, most: int) -> None:
        self.emit(head)
        self.depth += 1
        self.block(self.rng.randrange(1, most))
        self.depth -= 1

    def statement(self) -> None:
        rng, kind = self.rng, self.rng.randrange(17)
        if kind < 4:
            self.emit(f"{rng.choice(_NAMES)} = {self.some_object()}")
        elif kind < 8:
            operator = rng.choice(("=", "+="))
            self.emit(f"{self.object()}[{self.place()}] {operator} {self.number()}")
        elif kind == 8:
            self.emit(f"t = t * 0.5 + {self.number()}")
        elif kind == 9:
            one, other = rng.sample(_NAMES, 2)
            self.emit(f"{one}, {other} = {other}, {one}")
        elif kind == 10:
            item = rng.choice((f"rows[{self.place()}]", "box['k']"))
            self.emit(f"{item} = {self.some_object()}")
        elif kind == 11:
            self.emit(f"bump({self.object()}, {self.number()})")
        elif kind < 15 and self.depth < 4:
            self.nested(f"if {self.condition()}:", 4)
            if rng.random() < 0.5:
                self.nested("else:", 3)
        elif self.depth < 3 and self.loops < 2:
            self.loop()
        else:
            self.emit(f"t = {self.number()} + t")

    def loop(self) -> None:
        self.loops += 1
        if self.rng.random() < 0.6:
            self.nested(f"for i{self.depth} in range({self.rng.choice((2, 7, 9))}):", 4)
            if self.rng.random() < 0.2:
                self.depth += 1
                self.emit(f"if {self.condition()}:")
                self.emit("    break")
                self.depth -= 1
        else:
            self.counters += 1
            steps = f"w{self.counters}"
            self.emit(f"{steps} = 0")
            self.nested(f"while {steps} < {self.element()} * 9:", 4)
            self.emit(f"    {steps} += 1")
        self.loops -= 1
