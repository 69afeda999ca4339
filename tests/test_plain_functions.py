"""Functions, classes and containers of plain Python in compiled programs; what compiling costs.

@case((X, 2.0))
def f(x, s): ...           run as it is and compiled, with each of these arguments
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest
from agreement import agree

import jitnet
from jitnet.frontend.flow import hooks

X = np.array([1.0, -2.0, 3.0, 0.5])

Case = tuple[Callable[..., Any], tuple[tuple[Any, ...], ...]]
CASES: list[Case] = []


def case(*calls: tuple[Any, ...]) -> Callable[[Any], Any]:
    """A function to be called with each of these tuples of arguments."""

    def noted(fn: Callable[..., Any]) -> Callable[..., Any]:
        CASES.append((fn, calls))
        return fn

    return noted


@dataclass
class State:
    u: Any
    t: float
    steps: int = 0


class Point(NamedTuple):
    x: Any
    y: Any


class Layer:
    """A class with an `__init__`, methods and a `__call__`."""

    def __init__(self, weight, scale=2.0):
        self.weight = weight * scale
        self.calls = 0

    def __call__(self, x):
        self.calls += 1
        return self.relu(x * self.weight)

    @staticmethod
    def relu(x):
        return np.where(x > 0, x, 0.0)

    @property
    def norm(self):
        return abs(self.weight)


def clipped(x, low=-1.0, *, high=1.0):
    if x < low:
        return low
    elif x > high:
        return high
    return x


def halved(fn):
    @functools.wraps(fn)
    def wrapped(*args, **kwargs):
        return fn(*args, **kwargs) * 0.5

    return wrapped


@halved
def tripled(x):
    if x > 0:
        return x * 3
    return -x


def tree_sum(tree):
    if isinstance(tree, tuple):
        return sum(tree_sum(t) for t in tree)
    return tree * 2


@case((X, 2.0), (X, -2.0))
def dataclasses_in_arms(x, s):
    state = State(x, s)
    if s > 0:
        state.u = state.u + 1
        state.steps += 1
    else:
        state.t = 0.5
    return state


@case((State(X, 0.0), 5), (State(X, 0.0), 0))
def dataclass_argument_changed_in_a_loop(state, n):
    for i in range(n):
        state.u = state.u * 0.5
        state.t += 0.25 * i
        state.steps += 1
    return state.t


@case((X, 2.0), (X, -2.0))
def named_tuples_in_arms(x, s):
    p = Point(x, s)
    if s > 0:
        p = p._replace(y=s * 2)
    else:
        p = Point(p.x * 2, 1.0)
    return p, p.y


@case((X, 3), (X, 0))
def named_tuple_in_a_loop(x, n):
    p = Point(x, 1.0)
    for _ in range(n):
        p = Point(p.x + p.y, p.y * 0.5)
    return p


@case(({"u": X, "n": 0}, 4), ({"u": X, "n": 0}, 0))
def dict_argument_changed_in_a_loop(d, n):
    for i in range(n):
        d["u"] = d["u"] + i
        d["n"] += 1
    return d["n"]


@case(([X, 1.0], 4), ([X, 1.0], 0))
def list_argument_changed_in_a_loop(items, n):
    for _ in range(n):
        items[0][0] += items[1]
        items[1] = items[1] * 0.5
    return items[1]


@case((0.5,), (-3.0,), (2.0,))
def defaults_and_keywords(s):
    return clipped(s), clipped(s, -2.0), clipped(s, high=0.25), clipped(high=3.0, x=s, low=0.0)


@case((2.0,), (-2.0,))
def decorators(s):
    return tripled(s)


@case((X, 5), (X, 0))
def nonlocals(x, n):
    total, calls = 0.0, 0

    def add(v):
        nonlocal total, calls
        calls += 1
        if v > 0:
            total += v

    for i in range(n):
        add(x[i % 4])
    return total, calls


@case((X, 5), (X, 1))
def functions_as_arguments(x, n):
    def repeated(f, v):
        for _ in range(n):
            v = f(v)
        return v

    return repeated(lambda v: v * 0.5 if v > 1 else v + 1, x[2]), repeated(np.negative, x[0])


@case((X, 2.0), (X, -2.0))
def partials_and_maps(x, s):
    scaled = functools.partial(clipped, low=-0.5)
    return scaled(s), list(map(tripled, [x[0], x[1]])), functools.reduce(lambda a, b: a - b, x)


@case((X, 2.0), (X, -2.0))
def classes(x, s):
    layer = Layer(s)
    y = x
    for _ in range(3):
        y = layer(y) - 0.5
    return y, layer.calls, layer.norm


@case((X, 8), (X, 0))
def object_changed_in_a_loop(x, n):
    layer = Layer(x[0])
    s = 0.0
    for i in range(n):
        layer.weight = layer.weight * 0.5 + i
        s += layer(x[1] + 3.0)
    return s, layer.calls


@case((((X, X * 2), (X, (X, X))),))
def recursion_on_structure(tree):
    return tree_sum(tree)


@case((X, 6))
def static_generators(x, n):
    def pairs():
        for i in range(3):
            yield i, i + 1

    return [x[i] * x[j] for i, j in pairs()], sum(x[i] for i, _ in pairs())


@case((X, 2.0))
def unpacking(x, s):
    (a, b), *rest = (x[0], s), x[1], x[2]
    first, *middle, last = x
    return a, b, rest, first, middle, last


@case((3, 0.5), (0, 0.5))
def flavours(n, s):
    return n + 1, n / 2 if n else 0.0, n > 1, float(n), int(s * 10), bool(n), np.float64(n), -n // 2


@case((X, 2), (X, 30))
def recursion_on_a_number_known_while_tracing(x, n):
    def power(v, k):
        if k == 0:
            return 1.0
        half = power(v, k // 2)
        return half * half * v if k % 2 else half * half

    return power(x[3], 13) + n


@pytest.mark.parametrize("case", CASES, ids=[fn.__name__ for fn, _ in CASES])
def test_agrees_with_python(case: Case) -> None:
    fn, calls = case
    agree(fn, *calls)


# -- what compiling costs --------------------------------------------------------------------------


def _steps(count: int) -> Callable[[Any], Any]:
    def steps(x):
        s = 0.0
        for i in range(count):
            if x[i % 4] > s:
                s += x[i % 4]
            x[i % 4] = s
        return s

    return steps


def test_the_number_of_steps_does_not_matter() -> None:
    few, many = (str(jitnet.jit(_steps(n)).lower(X).ir) for n in (100, 1_000_000))
    assert many.replace("1000000", "100") == few


def _nest(x):
    s = 0.0
    for a in range(9):
        for b in range(9):
            for c in range(9):
                for d in range(9):
                    for e in range(9):
                        for f in range(9):
                            for g in range(9):
                                for h in range(9):
                                    s += x[(a + b + c + d + e + f + g + h) % 4]
    return s


def test_a_deep_nest_traces_its_body_a_few_times(monkeypatch: pytest.MonkeyPatch) -> None:
    reads = []
    read = hooks.Hooks.getitem

    def counted(x: Any, key: Any) -> Any:
        reads.append(key)
        return read(x, key)

    monkeypatch.setattr(hooks.Hooks, "getitem", staticmethod(counted))
    jitnet.trace(_nest)(X)
    assert 1 <= len(reads) <= 24


_LADDER = """
def ladder(x, s):
    t = 0.0
{lines}
    return t
"""


def _nested(depth: int) -> Callable[..., Any]:
    lines = []
    for n in range(depth):
        lines.append("    " * (n + 1) + f"if s > {n}:")
        lines.append("    " * (n + 2) + f"t += x[{n} % 4]")
    for n in reversed(range(depth)):
        lines.append("    " * (n + 1) + "else:")
        lines.append("    " * (n + 2) + f"t -= x[{n} % 4]")
    return _compiled(_LADDER.format(lines="\n".join(lines)), "ladder")


def _compiled(source: str, name: str) -> Callable[..., Any]:
    import linecache

    file = f"<{name} of {len(source)}>"
    linecache.cache[file] = (len(source), None, source.splitlines(True), file)
    space: dict[str, Any] = {}
    exec(compile(source, file, "exec"), space)
    return space[name]


def _seconds(fn: Callable[..., Any], *args: Any) -> float:
    start = time.perf_counter()
    jitnet.trace(fn)(*args)
    return time.perf_counter() - start


@pytest.mark.parametrize("make", [_nested], ids=["nested ifs"])
def test_nested_ifs_take_time_in_proportion(make: Callable[[int], Callable[..., Any]]) -> None:
    agree(make(9), (X, 4.5), (X, -1.0), (X, 20.0))
    _seconds(make(2), X, 1.0)
    assert _seconds(make(16), X, 1.0) < 40 * max(_seconds(make(4), X, 1.0), 0.01)
