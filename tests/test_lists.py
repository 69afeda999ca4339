"""Lists and deques from which items are taken, heapq and bisect, in loops: as Python has them."""

from __future__ import annotations

import bisect
import heapq
import inspect
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated import needs_compiler

import jitnet
from jitnet import errors, jit, ops
from jitnet.interp import evaluate
from jitnet.ir import Builder, TapeType, TypeRuleError, index, parse
from jitnet.ir import types as T
from jitnet.runtime.executable import compile

RNG = np.random.default_rng(3)
X = RNG.random(40)
K = RNG.integers(0, 12, 40)


def agrees(fn: Callable[..., Any], *args: Any) -> None:
    """The same objects, classes of numbers included."""
    compiled = jit(fn)
    for _ in range(2):
        copies = [np.copy(a) if isinstance(a, np.ndarray) else a for a in args]
        assert repr(compiled(*copies)) == repr(fn(*args))


# -- programs --------------------------------------------------------------------------------------


def sieve(n: int) -> Any:
    flags = [True] * (n + 1)
    flags[0] = flags[1] = False
    i = 2
    while i * i <= n:
        if flags[i]:
            for j in range(i * i, n + 1, i):
                flags[j] = False
        i += 1
    return [k for k in range(n + 1) if flags[k]]


def turtle(turns: Any) -> Any:
    right, down = [1, 0, -1, 0], (0, 1, 0, -1)
    x = y = d = 0
    seen = []
    for t in turns:
        d = (d + t) % 4
        x += right[d]
        y += down[d]
        seen.append((x, y))
    return x, y, seen


def tally(x: Any) -> Any:
    counts = [0] * 12
    for v in x:
        counts[v] += 1
    return counts


def grouped(source: Any, target: Any) -> Any:
    parent = [np.int64(i) for i in range(12)]
    merged = 0
    for a, b in zip(source, target):
        while parent[a] != a:
            parent[a] = parent[parent[a]]
            a = parent[a]
        while parent[b] != b:
            b = parent[b]
        if a != b:
            parent[a] = b
            merged += 1
    return parent, merged


def grows_while_it_is_read(x: Any) -> Any:
    order = [np.int64(0)]
    for k in order:
        if x[k] > 0.3 and len(order) < 30:
            order.append(k + 1)
        if x[k] > 0.6 and len(order) < 30:
            order.append(k + 2)
    return order


def exchanged(x: Any) -> Any:
    here, there = [0], []
    total = 0
    while here:
        for v in here:
            total += v
            if x[v] > 0.2 and v < 10:
                there.append(v + 1)
            if x[v] > 0.8 and v < 10:
                there.append(v + 1)
        here, there = there, here
        there.clear()
    return total, here, there


def level_by_level(x: Any) -> Any:
    level = [np.int64(0)]
    sizes = []
    while len(level) < 20:
        following = []
        for v in level:
            following.append(v + 1)
            if x[v] > 0.5:
                following.append(v)
        level = following
        sizes.append(len(level))
    return level, sizes


def arrays(x: Any) -> Any:
    stack = [x[:3]]
    n, s = 0, 0.0
    while stack:
        p = stack.pop()
        n += 1
        s += p.sum()
        if p.sum() < 6 and n < 40:
            stack.append(p * 2)
            stack.append(p + 1)
    return n, s


def all_methods(x: Any) -> Any:
    s = []
    for v in x:
        s.append(v)
        if v > 0.7:
            del s[-1]
        if len(s) > 4:
            del s[2:]
        if v < 0.1 and s:
            s.insert(0, v)
        if 0.3 < v < 0.35 and len(s) > 1:
            s.insert(1, s.pop())
        if 0.35 < v < 0.4 and len(s) > 1:
            s.pop(1)
        if 0.5 < v < 0.55:
            s.reverse()
        if 0.6 < v < 0.65:
            s.extend([v, -v])
        s = s.copy()
    return s, len(s)


def finds(x: Any) -> Any:
    s = []
    twice = []
    for v in x:
        if v in s:
            twice.append((s.index(v), s.count(v)))
            s.remove(v)
        else:
            s.append(v)
    return s, twice


def inner_lists(x: Any) -> Any:
    merged = []
    for a in x:
        if merged and a <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], a + 0.01)
        else:
            merged.append([a, a + 0.02])
    for row in merged:
        row[0] = row[0] - row[1]
    return merged


def turned(x: Any) -> Any:
    window = deque(maxlen=5)
    sums = []
    for v in x:
        window.append(v)
        if v > 0.5:
            window.rotate(1)
        if v > 0.9:
            window.rotate(-1)
        if v < 0.2:
            window.appendleft(v)
        sums.append((window[0], window[-1], len(window)))
    return sums, list(window)


def from_any_length(x: Any) -> Any:
    ready = deque(np.flatnonzero(x > 0.5))
    left = list(np.flatnonzero(x < 0.1))
    total = 0
    while ready:
        total = total * 3 % 1009 + ready.popleft()
        if ready:
            total += ready.pop()
    return total, left


def with_bisect(x: Any) -> Any:
    tails, kept = [], []
    for v in x:
        place = bisect.bisect_left(tails, v)
        if place == len(tails):
            tails.append(v)
        else:
            tails[place] = v
        bisect.insort(kept, v)
    return tails, kept, bisect.bisect(kept, x[3])


def truths(x: Any) -> Any:
    s, t = [], []
    n = 0
    for v in x:
        if v > 0.5:
            s.append(v)
        elif s and not (t and s[-1] > t[-1]):
            t.append(s.pop())
        n += (1 if s else 2) + (bool(t) and 3)
        assert s or t or v < 1
    return n, s, t


def equal_items(x: Any) -> Any:
    heap = []
    for i in range(len(x)):
        heapq.heappush(heap, (x[i], i))
    few = heapq.nsmallest(3, heap), heapq.nlargest(4, heap)
    out = []
    while len(heap) > 5:
        out.append(heapq.heappop(heap))
    return out, heap, few


class Stack:
    def __init__(self) -> None:
        self.items: list[Any] = []
        self.taken = 0

    def push(self, v: Any) -> None:
        self.items.append(v)

    def pop(self) -> Any:
        self.taken += 1
        return self.items.pop()

    def __len__(self) -> int:
        return len(self.items)


def in_an_object(x: Any) -> Any:
    stack, total = Stack(), 0
    stack.push(0)
    while stack:
        i = stack.pop()
        total += i
        if i < len(x) - 2 and x[i] > 0.3:
            stack.push(i + 1)
            if x[i] > 0.6 and len(stack) < 5:
                stack.push(i + 2)
    return total, stack.taken


def _visit(stack: Any, seen: Any, x: Any) -> None:
    i = stack.pop()
    seen.append(i)
    if i + 1 < len(x) and x[i] > 0.2:
        stack.append(i + 1)


def by_helpers(x: Any) -> Any:
    stack, seen = [0], []
    while stack != []:
        _visit(stack, seen, x)
    return seen


def returns_from_the_loop(x: Any) -> Any:
    stack = [0]
    while True:
        if not stack:
            break
        i = stack.pop()
        if i >= len(x):
            return i, stack
        stack.append(i + 1)
        if x[i] > 0.5:
            stack.append(i + 2)
    return -1, stack


def read_in_all_ways(x: Any) -> Any:
    s = []
    for v in x:
        if v > 0.5:
            s.append(v)
        elif len(s) > 1:
            s.pop(0)
    a, b = s[0], s[1]
    pairs = [(i, v) for i, v in enumerate(s)]
    above = [v + 1 for v in s if v > 0.7]
    doubled = [p + q for p, q in zip(s, s)]
    return (
        s[1:3],
        s[::-1],
        (a, b),
        pairs,
        above,
        doubled,
        list(reversed(s)),
        any(v > 0.9 for v in s),
    )


PROGRAMS = [
    (in_an_object, (X,)),
    (by_helpers, (X,)),
    (returns_from_the_loop, (X,)),
    (read_in_all_ways, (X,)),
    (sieve, (100,)),
    (turtle, (RNG.integers(0, 4, 50),)),
    (tally, (K,)),
    (grouped, (K, K[::-1].copy())),
    (grows_while_it_is_read, (X,)),
    (exchanged, (X,)),
    (level_by_level, (X,)),
    (arrays, (np.array([0.5, 0.6, 0.7, 1.0]),)),
    (all_methods, (X,)),
    (finds, (K,)),
    (inner_lists, (np.sort(X),)),
    (turned, (X,)),
    (from_any_length, (X,)),
    (with_bisect, (X,)),
    (truths, (X,)),
    (equal_items, (K,)),
]


@pytest.mark.parametrize(("fn", "args"), PROGRAMS, ids=[fn.__name__ for fn, _ in PROGRAMS])
def test_programs(fn: Any, args: Any) -> None:
    agrees(fn, *args)


def test_a_list_that_is_changed_is_not_copied() -> None:
    def visits(x: Any) -> Any:
        stack, n = [0], 0
        while stack:
            i = stack.pop()
            n += i
            if i < len(x) - 2 and x[i] > 0.2:
                stack.append(i + 1)
                stack[-1] = i + 2
        return n

    agrees(visits, X)
    compiled = jit(visits)
    assert "copies: none" in compiled.explain(X)
    assert "tape_copy" not in compiled.lower(X).stages["optimized"]


def test_a_list_of_other_kinds_of_numbers_holds_both() -> None:
    def f(x: Any) -> Any:
        s = [1]
        while s[-1] < 3:
            s.append(s[-1] + x[0])
        return s

    got = jit(f)(X)
    assert got == f(X)
    assert {type(v) for v in got} == {np.float64}


def test_prints_and_arrays_of_lists(capsys: pytest.CaptureFixture[str]) -> None:
    def f(x: Any) -> Any:
        s = []
        for v in x:
            if v > 0.5:
                s.append(v)
            elif len(s) > 2:
                s.pop()
        print(s)
        return np.array(s), np.sum(s), max(s), sum(v for v in s)

    got = jit(f)(X)
    shown = capsys.readouterr().out
    expected = f(X)
    assert shown == capsys.readouterr().out
    for g, e in zip(got, expected, strict=True):
        np.testing.assert_allclose(g, e)


def test_an_argument_is_changed() -> None:
    def f(stack: Any, x: Any) -> Any:
        while len(stack) > 1:
            i = stack.pop()
            if x[i] > 0.5 and i > 0:
                stack.append(i - 1)
        stack.append(7)
        return len(stack)

    given, expected = [3, 4, 5], [3, 4, 5]
    assert jit(f)(given, X) == f(expected, X)
    assert given == expected


def test_an_array_of_tuples() -> None:
    def f(x: Any) -> Any:
        s = []
        for i in range(len(x)):
            if x[i] > 0.5:
                s.append((i, x[i]))
            elif s:
                s.pop()
        return np.array(s)

    np.testing.assert_array_equal(jit(f)(X), f(X), strict=True)


# -- errors ----------------------------------------------------------------------------------------


def _pops(x: Any, n: int) -> Any:
    s = []
    for v in x:
        if v > 0.5:
            s.append(v)
    for _ in range(n):
        s.pop()
    return s


def _pops_left(x: Any, n: int) -> Any:
    s = deque(np.flatnonzero(x > 0.5))
    for _ in range(n):
        s.popleft()
    return len(s)


def _reads(x: Any, n: int) -> Any:
    s = list(np.flatnonzero(x > 0.5))
    return s[n]


def _writes(x: Any, n: int) -> Any:
    s = list(np.flatnonzero(x > 0.5))
    s[n] = 3
    return s


def _pops_at(x: Any, n: int) -> Any:
    s = list(np.flatnonzero(x > 0.5))
    s.pop(n)
    return s


def _deletes(x: Any, n: int) -> Any:
    s = list(np.flatnonzero(x > 0.5))
    del s[n]
    return s


def _reads_a_deque(x: Any, n: int) -> Any:
    s = deque(np.flatnonzero(x > 0.5))
    return s[n]


def _pops_a_heap(x: Any, n: int) -> Any:
    s = list(np.flatnonzero(x > 0.5))
    for _ in range(n):
        heapq.heappop(s)
    return s


def _picks(x: Any, n: int) -> Any:
    return [3, 4][np.count_nonzero(x > 0.5) + n]


ERRORS = [
    (_pops, "s.pop()"),
    (_pops_left, "s.popleft()"),
    (_reads, "return s[n]"),
    (_writes, "s[n] = 3"),
    (_pops_at, "s.pop(n)"),
    (_deletes, "del s[n]"),
    (_reads_a_deque, "return s[n]"),
    (_pops_a_heap, "heapq.heappop(s)"),
    (_picks, "[np.count"),
]


@pytest.mark.parametrize(("fn", "line"), ERRORS, ids=[fn.__name__ for fn, _ in ERRORS])
def test_errors_are_pythons(fn: Any, line: str) -> None:
    with pytest.raises(IndexError) as expected:
        fn(X, 100)
    with pytest.raises(IndexError) as got:
        jit(fn)(X, 100)
    assert str(expected.value) in str(got.value)
    lines = inspect.getsource(fn).splitlines()
    number = next(i for i, text in enumerate(lines) if line in text)
    assert f":{fn.__code__.co_firstlineno + number} in" in str(got.value) or line in str(got.value)


def _unlike(x: Any) -> Any:
    s = [0.5]
    while s:
        v = s.pop()
        if x[0] > 0.5:
            s.append((v, v))
    return x


def _names(x: Any) -> Any:
    s = ["a", "b"]
    while len(s) > 1:
        if x[0] > 0:
            s.pop()
    return x


def _other_shapes(x: Any) -> Any:
    s = [x]
    while s:
        v = s.pop()
        if v.sum() > 3:
            s.append(v[1:])
    return x


def _changed_after_it_was_appended(x: Any) -> Any:
    row, out = [0.0, 0.0], []
    for v in x:
        out.append(row)
        row[0] = v
    return out


def _a_slice_assigned(x: Any) -> Any:
    s = []
    for v in x:
        if v > 0.5:
            s.append(v)
    s[1:3] = [1.0, 2.0]
    return s


def _a_deque_changed_in_its_loop(x: Any) -> Any:
    s = deque(np.flatnonzero(x > 0.5))
    for k in s:
        if x[k] > 0.9:
            s.append(k)
    return len(s)


def _sorted_in_place(x: Any) -> Any:
    s = []
    for v in x:
        if v > 0.5:
            s.append(v)
    s.sort(key=lambda v: -v)
    return s


REFUSED = [
    (_unlike, errors.ConcretizationError, "not all alike"),
    (_names, errors.ConcretizationError, "not all alike"),
    (_other_shapes, errors.ConcretizationError, "not all alike"),
    (_changed_after_it_was_appended, errors.MutationError, "rows[i] = [a, b]"),
    (_a_slice_assigned, errors.UnsupportedFunctionError, "item by item"),
    (_a_deque_changed_in_its_loop, errors.ConcretizationError, "popleft"),
    (_sorted_in_place, errors.UnsupportedFunctionError, "np.array(x)"),
]


@pytest.mark.parametrize(
    ("fn", "error", "remedy"), REFUSED, ids=[fn.__name__ for fn, *_ in REFUSED]
)
def test_what_cannot_be_is_refused(fn: Any, error: Any, remedy: str) -> None:
    with pytest.raises(error) as info:
        jit(fn)(X)
    assert remedy in str(info.value)
    assert "remedy:" in str(info.value)


# -- sequences of operations -----------------------------------------------------------------------


def on_a_list(what: Any, values: Any) -> Any:
    s, read = [], []
    for w, v in zip(what, values):
        if w < 3:
            s.append((v, w))
        elif w == 3 and s:
            read.append(s.pop())
        elif w == 4 and s:
            read.append(s.pop(0))
        elif w == 5 and s:
            s[len(s) // 2] = (v, 7)
        elif w == 6:
            s.insert(1, (v, 6))
        elif w == 7 and s:
            read.append(s[-1])
            del s[len(s) // 2]
        elif w == 8 and len(s) > 6:
            s.clear()
    return s, read


def on_a_deque(what: Any, values: Any) -> Any:
    s, read = deque(), []
    for w, v in zip(what, values):
        if w < 2:
            s.append(v)
        elif w < 4:
            s.appendleft(v)
        elif w == 4 and s:
            read.append(s.pop())
        elif w == 5 and s:
            read.append(s.popleft())
        elif w == 6 and s:
            s[-1] = v + 100
        elif w == 7 and s:
            read.append(s[len(s) // 2])
        elif w == 8:
            s.rotate(1)
    return list(s), read


def on_a_heap(what: Any, values: Any) -> Any:
    s, read = [], []
    for w, v in zip(what, values):
        if w < 4:
            heapq.heappush(s, (v // 3, v))
        elif w < 6 and s:
            read.append(heapq.heappop(s))
        elif w == 6 and s:
            read.append(heapq.heapreplace(s, (v // 3, v)))
        elif w == 7:
            read.append(heapq.heappushpop(s, (v // 3, v)))
        elif w == 8:
            s.reverse()
            heapq.heapify(s)
    return s, read


COMPILED = {fn: jit(fn) for fn in (on_a_list, on_a_deque, on_a_heap)}


@pytest.mark.parametrize("fn", COMPILED, ids=[fn.__name__ for fn in COMPILED])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_sequence_of_operations(fn: Any, data: Any) -> None:
    n = 60
    what = np.array(data.draw(st.lists(st.integers(0, 8), min_size=n, max_size=n)))
    values = np.array(data.draw(st.lists(st.integers(-20, 20), min_size=n, max_size=n)))
    assert COMPILED[fn](what, values) == fn(what, values)


@pytest.mark.parametrize("fn", COMPILED, ids=[fn.__name__ for fn in COMPILED])
def test_long_sequences(fn: Any) -> None:
    """Memory grows at both ends, and moves."""
    for seed, most in ((0, 9), (1, 6), (2, 3)):
        rng = np.random.default_rng(seed)
        what, values = rng.integers(0, most, 3000), rng.integers(-99, 99, 3000)
        assert COMPILED[fn](what, values) == fn(what, values)


def test_a_queue_keeps_to_its_memory() -> None:
    def cycle(x: Any, n: int) -> Any:
        queue = deque(np.flatnonzero(x > 0.5))
        total = 0
        for k in range(n):
            v = queue.popleft()
            total = (total + v * k) % 1000003
            queue.append(v)
        return total

    agrees(cycle, X, 1000)


# -- devices, and in the IR ------------------------------------------------------------------------


@needs_compiler
@pytest.mark.parametrize("fn", [on_a_list, on_a_deque], ids=["list", "deque"])
def test_on_a_device(fn: Any) -> None:
    what, values = RNG.integers(0, 9, 25), RNG.integers(-9, 9, 25)
    assert jitnet.jit(fn, device="cpusim")(what, values) == fn(what, values)


TEXT = """jitnet 1 array
func @f(%n: i64) -> (i64, i64, f64, i64) {
  %s: list[i64, f64] = tape_new {type=list[i64, f64]}
  %t: list[i64, f64] = for %n, %s {carries=1, consts=0, reverse=false, scans=0} @body(%i: i64, %s.1: list[i64, f64]) {
    %x: f64 = convert %i {dtype=f64}
    %s.2: list[i64, f64] = tape_push %s.1, %i, %x
    %s.3: list[i64, f64] = tape_prepend %s.2, %i, 0.5
    %k: i64 = tape_length %s.3
    %m: i64 = sub %k, 1
    %a: i64, %b: f64 = tape_get %s.3, %m
    %c: i64 = mul %a, 2
    %s.4: list[i64, f64] = tape_set %s.3, %m, %c, %b
    return %s.4
  }
  %k.1: i64 = tape_length %t
  %half: i64 = floordiv %n, 2
  %u: list[i64, f64] = tape_cut %t, %half, %k.1
  %r: list[i64, f64] = tape_new {type=list[i64, f64]}
  %v: list[i64, f64] = tape_copy %r, %u
  %l: i64 = tape_length %v
  %e: i64 = sub %l, 1
  %p: i64, %q: f64 = tape_get %v, %e
  %p.1: i64, %q.1: f64 = tape_get %v, 0
  return %l, %p, %q, %p.1
}
"""  # noqa: E501


@pytest.mark.parametrize("n", [1, 2, 11, 700])
def test_the_ops_of_lists(n: int) -> None:
    f = parse(TEXT)
    assert parse(str(f)) == f
    expected = evaluate(f, [np.int64(n)])
    assert tuple(compile(f, ["C"]).run((np.int64(n),))) == tuple(expected)


def test_only_lists_change() -> None:
    with Builder("f"):
        log = ops.tape_new(TapeType(((T.i64, ()),)))
        with pytest.raises(TypeRuleError, match="is a log"):
            ops.tape_cut(log, index(0), index(0))
