"""Operators, properties and iteration of the user's classes: the methods behind them are compiled.

What these methods do is decided by data, or asks math's functions, so none of them could run as it
stands. Each program is compared with what Python does.
"""

from __future__ import annotations

import functools
import math
import operator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from agreement import agree

from jitnet import grad, jit


class Reversible:
    def __len__(self):
        return 3 if self.v > 1 else 2

    def __reversed__(self):
        yield self.v * 2
        yield math.exp(self.v)


class V(Reversible):
    """Every special method there is, each with a decision in it."""

    def __init__(self, v):
        self.v = v

    def _f(self, x=0.0):
        return math.exp(self.v) + x if self.v > 0 else self.v - x

    def __abs__(self):
        return math.sqrt(self.v) if self.v > 0 else -self.v

    def __neg__(self):
        return V(self._f())

    __pos__ = __invert__ = __neg__

    def __add__(self, other):
        if not isinstance(other, (float, V)):
            return NotImplemented
        return V(self._f(other.v if isinstance(other, V) else other))

    def __radd__(self, other):
        return V(self._f(other) * 3)

    def __sub__(self, other):
        return V(self._f(other))

    def __isub__(self, other):
        self.v = self._f(other)
        return self

    def __matmul__(self, other):
        return self._f(other)

    __mul__ = __truediv__ = __floordiv__ = __mod__ = __pow__ = __divmod__ = __matmul__
    __rmul__ = __rtruediv__ = __rpow__ = __rdivmod__ = __lshift__ = __rand__ = __matmul__

    def __getitem__(self, i):
        return self._f(i)

    def __setitem__(self, i, x):
        self.v = self._f(i) * x

    def __delitem__(self, i):
        self.v = self._f(i)

    def __contains__(self, x):
        return math.exp(x) > self.v

    def __iter__(self):
        yield self._f()
        yield self.v * 2

    def __next__(self):
        self.v = self._f()
        return self.v

    def __eq__(self, other):
        return math.exp(self.v) > other.v

    def __lt__(self, other):
        return math.exp(self.v) < other.v

    def __le__(self, other):
        return math.exp(self.v) <= other.v

    def __hash__(self):
        return 3

    def __bool__(self):
        return math.exp(self.v) > 3

    def __float__(self):
        return self._f()

    def __int__(self):
        return int(self._f())

    def __floor__(self):
        return math.floor(self._f())

    def __str__(self):
        return f"V({self._f():.3f})"

    def __format__(self, spec):
        return "F" + format(self._f(), spec)

    def __getattr__(self, name):
        if not name.startswith("exp"):
            raise AttributeError(name)
        return math.exp(self.__dict__["v"])

    @property
    def size(self):
        return self._f()

    @size.setter
    def size(self, x):
        self.v = math.exp(x) if x > 0 else x

    @functools.cached_property
    def kept(self):
        return self._f() * 7


class Countdown:
    def __init__(self, n):
        self.n = n

    def __iter__(self):
        return self

    def __next__(self):
        if self.n == 0:
            raise StopIteration
        self.n -= 1
        return math.exp(self.n)


class Squares:
    """The old protocol: items by number."""

    def __getitem__(self, k):
        if k > 3:
            raise IndexError
        return math.sqrt(k)


@functools.total_ordering
class Version:
    def __init__(self, v):
        self.v = v

    def __eq__(self, other):
        return math.exp(self.v) == math.exp(other.v)

    def __lt__(self, other):
        return math.exp(self.v) < math.exp(other.v)


@dataclass(order=True)
class Card:
    rank: float
    suit: float


def removed(v):
    del v[2]
    return v.v


def changed(v):
    v[2] = 5.0
    v -= 1.0
    v.size = v.v * 2
    v.size += 1.5
    return v.v


def chosen(v):
    best = V(1.0)
    if v.v > 0.5:
        best = v
    best -= 0.25
    return best.size, (best + 1.0).v, abs(best), best[1]


PROGRAMS = {
    "unary": lambda v: ((-v).v, (+v).v, (~v).v, abs(v)),
    "binary": lambda v: ((v + 2.0).v, (v - 1).v, v * 2, v / 3, v // 2, v % 2, v**2, v @ 1, v << 1),
    "two of them": lambda v: (v + V(0.5)).v,
    "reflected": lambda v: ((2 + v).v, 2 * v, 2.0 / v, 2**v, 3 & v, (v.v + v).v),
    "functions": lambda v: (divmod(v, 2.0), divmod(1, v), pow(v, 2), int(v), float(v)),
    "operator": lambda v: (operator.add(v, 2.0).v, operator.abs(v), operator.neg(v).v),
    "math": lambda v: math.floor(v),
    "reduce": lambda v: functools.reduce(operator.add, [v, v, v]).v,
    "sum": lambda v: sum([V(1.0), v, v], V(0.5)).v,
    "map": lambda v: list(map(abs, [v, V(-1.0)])),
    "items": lambda v: (v[1], v[-2]),
    "changed": changed,
    "removed": removed,
    "order": lambda v: (v < V(2.0), v > V(2.0), v <= V(2.0), v >= V(2.0), V(0.1) < v < V(2.0)),
    "equal": lambda v: (v == V(2.0), v != V(2.0), [v] == [V(1.0)], [V(1.0)] != [v]),
    "in": lambda v: (0.5 in v, 0.5 not in v, v in [V(30.0)], V(2.0) in (v, v), 2 in Squares()),
    "truth": lambda v: (bool(v), not v, 1.0 if v and v.v > 1.2 else 2.0, 1.0 if v else 2.0),
    "len": lambda v: len(v),
    "iterated": lambda v: ([x * 2 for x in v], list(v), tuple(v), (*v, 1.0), sum(v), max(v)),
    "any": lambda v: (any(x > 2 for x in v), all(x > 0 for x in v), any(v)),
    "unpacked": lambda v: (lambda a, b: a - b)(*v),
    "backwards": lambda v: [x + 1 for x in reversed(v)],
    "together": lambda v: ([a * b for a, b in zip(v, v)], [i * a for i, a in enumerate(v, 1)]),
    "by key": lambda v: {i: x * 2 for i, x in enumerate(v)},
    "next": lambda v: (next(v), next(v)),
    "countdown": lambda v: ([x * v.v for x in Countdown(3)], next(iter(Countdown(2)))),
    "by number": lambda v: [x * v.v for x in Squares()],
    "attributes": lambda v: (v.size, v.expo, getattr(v, "expo"), v.kept + v.kept),  # noqa: B009
    "no attribute": lambda v: (hasattr(v, "expo"), hasattr(v, "other"), getattr(v, "other", 4.0)),
    "total order": lambda v: (Version(v.v) >= Version(1.0), Version(v.v) > Version(1.0)),
    "greatest": lambda v: max(Version(v.v), Version(1.0), Version(-v.v)).v,
    "least": lambda v: min([Version(v.v), Version(1.0), Version(-v.v)]).v,
    "dataclass": lambda v: (Card(v.v, 1.0) < Card(1.0, v.v), Card(v.v, 1.0) == Card(v.v, v.v)),
    "chosen": chosen,
}


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_methods_that_python_calls(program: Any) -> None:
    agree(lambda x: program(V(x)), (1.5,), (-0.5,), (0.75,))


def test_a_pair_is_unpacked() -> None:
    def f(x):
        a, b = V(x)
        (c, d), e = V(a), 1.0
        return a + b * c - d * e

    agree(f, (1.5,), (-0.5,))


def test_texts(capsys: pytest.CaptureFixture[str]) -> None:
    def f(x):
        v = V(x)
        print(v, f"{v} {v!s} {v:.2f}", "{:.1f}".format(v), str(v))  # noqa: UP032

    f(1.5)
    expected = capsys.readouterr().out
    jit(f)(1.5)
    assert capsys.readouterr().out == expected


def test_an_error_in_a_method_names_its_line() -> None:
    class Root:
        def __init__(self, x):
            self.x = x

        def __truediv__(self, other):
            if other == 0:
                raise ZeroDivisionError("a root divided by zero")
            return self.x / other

    compiled = jit(lambda x, y: Root(x) / y)
    assert compiled(3.0, 2.0) == 1.5
    with pytest.raises(ZeroDivisionError, match="a root divided by zero"):
        compiled(3.0, 0.0)


def test_unknown_operands_are_pythons_errors() -> None:
    def f(x):
        return V(x) + "text"

    with pytest.raises(TypeError, match="unsupported operand"):
        f(1.0)
    with pytest.raises(TypeError, match="unsupported operand"):
        jit(f)(1.0)


class Dual:
    """Numbers with a derivative."""

    def __init__(self, value, slope=0.0):
        self.value, self.slope = value, slope

    def __add__(self, other):
        other = other if isinstance(other, Dual) else Dual(other)
        return Dual(self.value + other.value, self.slope + other.slope)

    def __mul__(self, other):
        other = other if isinstance(other, Dual) else Dual(other)
        slope = self.value * other.slope + self.slope * other.value
        return Dual(self.value * other.value, slope)

    __radd__, __rmul__ = __add__, __mul__

    def __pow__(self, n):
        return Dual(math.pow(self.value, n), n * math.pow(self.value, n - 1) * self.slope)

    def __abs__(self):
        return Dual(abs(self.value), self.slope if self.value > 0 else -self.slope)

    def sin(self):
        return Dual(math.sin(self.value), math.cos(self.value) * self.slope)


def test_dual_numbers_are_a_gradient() -> None:
    def f(x):
        total = 1 + 0 * x
        for k in range(1, 6):
            total = total + 0.5 * abs(x * k) ** 2 * x
        return total

    def slope(x):
        return f(Dual(x, 1.0)).slope

    agree(slope, (1.5,), (-0.5,))
    assert jit(slope)(1.5) == pytest.approx(grad(f)(1.5))
    h = 1e-6
    expected = (slope(0.7 + h) - slope(0.7 - h)) / (2 * h)
    assert grad(slope)(0.7) == pytest.approx(expected, rel=1e-8)


class Interval:
    def __init__(self, low, high):
        self.low, self.high = low, high

    def __mul__(self, other):
        ends = [a * b for a in (self.low, self.high) for b in (other.low, other.high)]
        return Interval(min(ends), max(ends))

    def __sub__(self, other):
        return Interval(self.low - other.high, self.high - other.low)

    @property
    def width(self):
        return self.high - self.low if self.high > self.low else 0.0

    def __contains__(self, x):
        return self.low <= x <= self.high


def test_objects_that_a_loop_carries() -> None:
    def f(low, high, c):
        x, steps = Interval(low, high), 0
        while 0.0 in x and x.width > 1e-3 and steps < 40:
            x = (x - Interval(c, c)) * Interval(0.25, 0.5)
            steps += 1
        return x.low, x.high, steps

    agree(f, (-1.0, 1.0, 0.25), (-1.0, 2.0, 0.0), (1.0, 2.0, 0.5))


def test_arrays_and_objects_of_the_users() -> None:
    class Field:
        def __init__(self, data):
            self.data = data

        def __len__(self):
            return len(self.data)

        def __getitem__(self, key):
            return self.data[key]

        def __setitem__(self, key, value):
            self.data[key] = np.where(value > 0, value, 0.0)

        def __iadd__(self, other):
            for i in range(len(self)):
                if self.data[i] < other:
                    self.data[i] += other
            return self

        @property
        def norm(self):
            return math.sqrt(self.data @ self.data)

    def f(x):
        field = Field(x)
        field += 0.5
        field[2:] = field[1:-1] - 1
        return field.norm, len(field), field[0]

    agree(f, (np.linspace(-1, 2, 7),), (np.linspace(1, -2, 5),))
