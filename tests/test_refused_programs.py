"""Programs that must be refused, each with the class and code of its error and the user's line.

    @refused(errors.UnsupportedFunctionError, "time.time()", (X,))
    def f(x): return x * time.time()          # the line with this text is named in the message

None of them may hang: an alarm ends what has not said so within ten seconds.
"""

from __future__ import annotations

import inspect
import random
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import jitnet
from jitnet import errors

X = np.array([1.0, -2.0, 3.0, 0.5])
ANYWHERE = ""
"""The error is about the function as a whole: its line is that of the call."""
SECONDS = 10


class Totals:
    total = 0.0


GENERATOR = np.random.default_rng(0)

Case = tuple[Callable[..., Any], Any, str, tuple[Any, ...]]
CASES: list[Case] = []


def refused(error: Any, line: str, *args: Any) -> Callable[[Any], Any]:
    """A function that is refused when it is called with `args`."""

    def noted(fn: Callable[..., Any]) -> Callable[..., Any]:
        CASES.append((fn, error, line, args))
        return fn

    return noted


# -- what the program would have to ask the world outside ------------------------------------------


@refused(errors.UnsupportedFunctionError, "time.time()", X)
def clock(x):
    return x * time.time()


@refused(errors.UnsupportedFunctionError, "time.perf_counter()", X)
def clock_in_a_loop(x):
    s = 0.0
    for i in range(100):
        s += x[i % 4] * time.perf_counter()
    return s


@refused(errors.JitnetError, "np.random.rand", X)
def global_generator(x):
    return x + np.random.rand(4)


@refused(errors.JitnetError, "np.random.normal", X)
def global_generator_in_a_loop(x):
    for _ in range(10):
        x = x + np.random.normal()
    return x


@refused(errors.UnsupportedFunctionError, "GENERATOR.random", X)
def generator_of_the_module(x):
    return x + GENERATOR.random(4)


@refused(errors.UnsupportedFunctionError, "random.random()", X)
def generator_of_python(x):
    return x * random.random()


@refused(errors.UnsupportedFunctionError, "open(", X)
def file(x):
    with open(__file__) as f:
        return x * len(f.name)


@refused(errors.UnsupportedFunctionError, "input(", X)
def question(x):
    return x * float(input("factor? "))


@refused(errors.MutationError, ANYWHERE, X)
def assignment_to_an_attribute_of_a_class(x):
    Totals.total = Totals.total + x.sum()
    return x


# -- what only the program knows -------------------------------------------------------------------


@refused(errors.ConcretizationError, "str(", X)
def text_of_a_traced_value(x):
    return len(str(x[0]))


@refused(errors.ConcretizationError, ANYWHERE, X)
def formatted_text(x):
    return f"{x[0]:.3f}"


@refused(errors.ConcretizationError, "items[int(x[0])]", X)
def list_index_by_data(x):
    items = [1, "two", 3.0]
    return items[int(x[0])]


@refused(errors.ConcretizationError, "parts[i % 3]", X, 1_000_000)
def list_index_in_a_huge_loop(x, n):
    parts = [x, np.outer(x, x), 3.0 * x]
    total = 0.0
    for i in range(n):
        total += parts[i % 3].sum()
    return total


@refused(errors.JitnetError, "table[x[0]]", X)
def dict_with_a_traced_key(x):
    table = {1.0: "one", 2.0: "two"}
    return table[x[0]]


@refused(errors.JitnetError, "seen.add(v)", X)
def set_of_traced_values(x):
    seen = set()
    for v in x:
        seen.add(v)
    return len(seen)


@refused(errors.JitnetError, "counts[v]", X)
def dict_filled_by_traced_keys(x):
    counts = {}
    for v in x:
        counts[v] = counts.get(v, 0) + 1
    return counts


@refused(errors.ConcretizationError, "items[i % 2]", X, np.int64(3))
def a_loop_that_only_data_ends_and_that_needs_its_step(x, n):
    items, i, s = [x, np.outer(x, x)], 0, 0.0
    while True:
        if n <= 0:
            break
        n -= 1
        s += items[i % 2].sum()
        i += 1
    return s


@refused(errors.ReturnError, "x[0] > 0", X)
def different_kinds_returned_to_the_program(x):
    def named(x):
        if x[0] > 0:
            return x
        return "none"

    return [named(x)]


@refused(errors.ReturnError, "x[0] > 0", X)
def shapes_of_different_ranks(x):
    def part(x):
        if x[0] > 0:
            return x
        return x.sum()

    return part(x) + 1.0


@refused(errors.UnboundVariableError, "return y", X)
def bound_on_one_path(x):
    if x[0] > 0:
        y = 1.0
    return y


@refused(errors.UnboundVariableError, "return y + 1", X)
def of_two_kinds(x):
    if x[0] > 0:
        y = x
    else:
        y = 2.0
    return y + 1


@refused(errors.MutationError, "z[0] = 1.0", X, X * 2)
def write_to_an_ambiguous_array(x, y):
    best, z = y, x
    for i in range(int(x[0]) + 9):
        best = best * 0.5
        if best[i % 4] > x[i % 4]:
            z = best
    z[0] = 1.0
    return best


@refused(errors.ConcretizationError, "if x[0] > 0", X)
def handler_that_a_traced_value_decides(x):
    try:
        if x[0] > 0:
            raise ValueError("positive")
        return x
    except ValueError:
        return -x


@refused(errors.JitnetError, "int(x[k])", X, 3)
def handler_of_a_check(x, k):
    try:
        return 1 // int(x[k])
    except ZeroDivisionError:
        return 0


@refused(errors.JitnetError, "sorted(", X)
def sorted_lists(x):
    return sorted([[x[0]], [x[1], 2]])


@refused(errors.ConcretizationError, "x[0] > 0", X)
def queue_of_unlike_items(x):
    queue = deque([0])
    steps = 0
    while queue:
        k = queue.popleft()
        steps += 1
        if k == 0 and x[0] > 0:
            queue.append("end")
    return steps


@refused(errors.ConcretizationError, "if x[0] > 0", X)
def list_of_names_that_shrinks_by_data(x):
    names = ["a", "b", "c"]
    if x[0] > 0:
        names.pop()
    return x


@refused(errors.JitnetError, "if x[0] > 0", X)
def dict_that_grows_by_data(x):
    d = {}
    if x[0] > 0:
        d["a"] = 1.0
    return d


@refused(errors.ArgumentError, ANYWHERE, X)
def generator_function(x):
    yield x


@refused(errors.JitnetError, "np.zeros(int(x[0]))", X)
def shape_of_a_static_list(x):
    return [0] * int(np.zeros(int(x[0])).size)


# -- loops that do not end -------------------------------------------------------------------------


@refused(errors.ConcretizationError, "while True", X)
def endless(x):
    n = 0
    items = []
    while True:
        n += 1
        items = [items]
    return x


@refused(errors.ConcretizationError, "while n >= 0", X)
def endless_and_known(x):
    n = 0
    names = "abc"
    while n >= 0:
        n += 1
        names = names[1:] + names[0]
    return x


@refused(errors.ConcretizationError, "parts[i % 2]", X)
def very_many_steps_one_by_one(x):
    parts = [np.outer(x, x), x]
    for i in range(10**9):
        part = parts[i % 2]
    return x, part


@refused((RecursionError, errors.JitnetError), ANYWHERE, X, 3)
def endless_recursion(x, n):
    if x[0] > 0:
        return endless_recursion(x, n + 1)
    return x


@contextmanager
def alarm(seconds: int) -> Iterator[None]:
    """Fail where the body takes longer."""

    def ring(number: int, frame: Any) -> None:
        raise TimeoutError(f"no answer within {seconds} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("case", CASES, ids=[fn.__name__ for fn, *_ in CASES])
def test_is_refused(case: Case) -> None:
    fn, error, line, args = case
    with alarm(SECONDS), pytest.raises(error) as info:
        jitnet.jit(fn)(*args)
    if not isinstance(info.value, errors.JitnetError):
        return
    message = str(info.value)
    assert message.startswith(f"[{info.value.code}]")
    if line != ANYWHERE:
        assert line in _line(info.value, fn), message


def _line(error: errors.JitnetError, fn: Callable[..., Any]) -> str:
    """The user's line that the error names."""
    source, first = inspect.getsourcelines(fn)
    place = error.frames[0]
    assert place.file == __file__
    assert first <= place.line < first + len(source)
    return source[place.line - first]
