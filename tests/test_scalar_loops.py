"""Loops over scalars as they come out: which checks are left, what is a vector, and what no loop.

while n != 1: n = n // 2 if n % 2 == 0 else 3 * n + 1      one check a step, and no negative indices

Times are not measured here; what makes them is asserted on the text of kernels and of LLVM.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jitnet
from jitnet.errors import JitnetError


def kernels(f: Callable[..., Any], *args: Any) -> str:
    return str(jitnet.jit(f).lower(*args).stages["kernels"])


def llvm(f: Callable[..., Any], *args: Any) -> str:
    return str(jitnet.jit(f).lower(*args).stages["llvm"])


def agrees(f: Callable[..., Any], *args: Any) -> None:
    """Results, changed arguments and errors are NumPy's."""
    plain, traced = ([a.copy() if isinstance(a, np.ndarray) else a for a in args] for _ in range(2))
    try:
        expected = f(*plain)
    except (IndexError, OverflowError, ZeroDivisionError, ValueError) as error:
        with pytest.raises(type(error)):
            jitnet.jit(f)(*traced)
        return
    np.testing.assert_equal(jitnet.jit(f)(*traced), expected)
    np.testing.assert_equal(traced, plain)


# -- what is known of conditions -------------------------------------------------------------------


def shifted(x, di, dj):
    m, n = x.shape
    total = 0.0
    for i in range(m):
        for j in range(n):
            a, b = i + di, j + dj
            if 0 <= a < m and 0 <= b < n and x[a, b] > 0:
                total += x[a, b]
    return total


def test_an_and_of_comparisons_bounds_indices() -> None:
    x = np.arange(20.0).reshape(4, 5) - 7
    text = kernels(shifted, x, 1, -1)
    assert "IndexError" not in text
    for steps in ((0, 0), (1, -1), (-3, 4), (9, 0)):
        agrees(shifted, x, *steps)


def either(x, i, p):
    if p or 0 <= i < 5:
        return x[i]
    return 0.0


def negated(x, i):
    if not 0 <= i < 5:
        return x[i]
    return 0.0


def test_an_or_bounds_nothing() -> None:
    x = np.arange(5.0)
    assert "IndexError" in kernels(either, x, 3, np.bool_(True))
    for i in (-6, -5, 0, 4, 5):
        agrees(either, x, i, np.bool_(True))
        agrees(either, x, i, np.bool_(False))
        agrees(negated, x, i)


# -- what loops carry ------------------------------------------------------------------------------


def sift(x, i):
    while i > 0:
        above = (i - 1) // 2
        if x[above] >= x[i]:
            break
        x[above], x[i] = x[i], x[above]
        i = above
    return i


def insertion(x):
    for j in range(1, len(x)):
        k = j
        while k > 0 and x[k - 1] > x[k]:
            x[k - 1], x[k] = x[k], x[k - 1]
            k -= 1
    return x


def test_a_condition_that_is_asked_at_the_end_of_a_step_holds_in_the_next() -> None:
    x = np.random.default_rng(0).normal(size=9)
    text = kernels(insertion, x)
    assert "IndexError" not in text
    assert "OverflowError" not in text
    agrees(insertion, x)
    for i in (-10, -9, -1, 0, 8, 9):
        agrees(sift, x, i)


def down(x, k):
    total = 0.0
    go = True
    while go:
        k -= 1
        total += x[k]
        go = k > 0
    return total


def test_a_condition_that_may_not_hold_at_first_is_not_taken_for_granted() -> None:
    x = np.arange(5.0)
    assert "IndexError" in kernels(down, x, 3)
    for k in (-7, -4, -1, 0, 1, 5, 6):
        agrees(down, x, k)


def collatz(n, seen):
    steps = 0
    while n != 1:
        if n < 50:
            seen[n] += 1
        n = n // 2 if n % 2 == 0 else 3 * n + 1
        steps += 1
    return steps


def from_one(k, seen):
    return collatz(27, seen) + k


def test_what_starts_at_zero_or_above_and_stays_there_is_no_negative_index() -> None:
    seen = np.zeros(50, np.int64)
    text = kernels(from_one, 1, seen)
    assert "IndexError" not in text
    assert text.count("OverflowError") == 2  # of 3 * n, which leaves room for + 1; of the sum
    agrees(from_one, 1, seen)
    assert "IndexError" in kernels(collatz, 27, seen)
    for n in (27, 1, 2**62 + 1, (2**63 - 1) // 3 // 2 * 2 + 1, (2**63 - 1) // 3 // 2 * 2 - 1):
        with pytest.raises(OverflowError) if n > 2**60 else contextlib.nullcontext():
            assert jitnet.jit(collatz)(n, seen.copy()) == collatz(n, seen.copy())


def falls(x, n):
    k, total = 3, 0.0
    for _ in range(n):
        total += x[k]
        k -= 2
    return total


def drifts(x, n):
    k, d = 0, 0
    for i in range(n):
        if i > 4:
            d -= 1
        k += d
        x[k] += 1
    return k


def test_what_may_become_negative_keeps_its_check() -> None:
    x = np.arange(6.0)
    for f in (falls, drifts):
        assert "IndexError" in kernels(f, x, 2)
        for n in (0, 1, 3, 5, 6, 7, 9):
            agrees(f, x, n)


def nested(x, n):
    k = 0
    for i in range(n):
        j = k
        while j > 0:
            j = j // 2
            x[j % 8] += i
        k = (k * 5 + i) % 8
        x[k] += 1
    return k


def test_loops_in_loops_carry_what_is_not_negative() -> None:
    x = np.zeros(8, np.int64)
    assert "IndexError" not in kernels(nested, x, 20)
    agrees(nested, x, 20)


def smallest(x, k):
    low, high = 0, len(x) - 1
    while low < high:
        middle = (low + high) // 2
        if x[middle] < k:
            low = middle + 1
        else:
            high = middle
    return low


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(-5, 5), min_size=1, max_size=12), st.integers(-7, 7))
def test_bisection(values: list[int], k: int) -> None:
    agrees(smallest, np.sort(np.array(values)), k)


def found(edges, x, counts):
    for v in x:
        k = np.searchsorted(edges, v)
        if k < len(edges):
            counts[k] += 1
    return counts


def test_where_a_value_is_found_is_no_negative_index() -> None:
    edges, x = np.linspace(0, 1, 6), np.random.default_rng(1).uniform(-0.5, 1.5, 40)
    assert "IndexError" not in kernels(found, edges, x, np.zeros(6, np.int64))
    agrees(found, edges, x, np.zeros(6, np.int64))


# -- overflow --------------------------------------------------------------------------------------


def tripled(n):
    return 3 * n + 1


def both(n, m):
    if n % 2 == 0:
        n = n * 7 + 5
    m = m * 3
    return n + m


def test_what_fits_after_a_product_leaves_room() -> None:
    assert kernels(tripled, 5).count("raise") == 1
    top = (2**63 - 1) // 3
    for n in (top, -top, 0, 5):
        assert jitnet.jit(tripled)(n) == tripled(n)
    for n in (top + 1, -top - 2):
        with pytest.raises(OverflowError):
            jitnet.jit(tripled)(n)


def test_the_first_overflow_in_program_order_is_reported() -> None:
    huge = 2**62
    for n, m, line in ((huge, 1, "n * 7"), (1, huge, "m * 3"), (huge, huge, "n * 7")):
        with pytest.raises(JitnetError) as caught:
            jitnet.jit(both)(n, m)
        assert isinstance(caught.value, OverflowError)
        assert line in str(caught.value)


# -- loops as vectors, and written out -------------------------------------------------------------


def inside(x, y):
    hits = 0
    for i in range(len(x)):
        if x[i] ** 2 + y[i] ** 2 <= 1.0:
            hits += 1
    return hits


def two_counts(x):
    low, changes, bits = 0, np.int32(3), np.uint8(0)
    for v in x:
        low = low + 2 if v < 0 else low - 1
        if v > 1:
            changes -= np.int32(7)
        bits = bits ^ v.astype(np.uint8)
    return low, changes, bits


def last(x):
    k = 0
    for i in range(len(x)):
        if x[i] > 0:
            k = i
    return k


def summed(x):
    total = 0.0
    for v in x:
        total += v
    return total


def state(x):
    odd, even = 0, 1
    for v in x:
        if v > 0:
            odd, even = even + 1, odd
    return odd, even


def test_loops_that_count_are_vectors() -> None:
    x, y = np.random.default_rng(2).uniform(-2, 2, (2, 103))
    assert "combine=('add',), kind='vector'" in kernels(inside, x, y)
    text = kernels(two_counts, x * 50)
    assert "kind='vector'" in text
    assert "'add', 'bitwise_xor'" in text or "'bitwise_xor', 'add'" in text
    for n in (0, 1, 3, 4, 16, 17, 103):
        agrees(inside, x[:n].copy(), y[:n].copy())
        agrees(two_counts, 50 * np.abs(x[:n]))


def test_loops_whose_order_matters_are_none() -> None:
    x = np.random.default_rng(3).normal(size=37)
    for f in (last, summed, state):
        assert "combine=(), kind='seq'" in kernels(f, x)
        agrees(f, x)


def hypot3(points, out):
    for k in range(len(points)):
        total = 0.0
        for axis in range(3):
            total += points[k, axis] ** 2
        out[k] = math.sqrt(total)
    return out


def triples(n):
    table = np.empty((n, 3))
    for k in range(n):
        table[k] = k, k + 1.0, 2.0
    return table


def test_short_loops_are_written_out() -> None:
    points, out = np.random.default_rng(4).normal(size=(50, 3)), np.zeros(50)
    assert len(re.findall(r"^loop\.\d+:", llvm(hypot3, points, out), re.MULTILINE)) == 1
    agrees(hypot3, points, out)
    assert llvm(triples, 40).count("phi i64") <= 2  # the index of the loop, in two loops at most
    agrees(triples, 40)


def blurred(x):
    y = np.zeros_like(x)
    for i in range(1, x.shape[0] - 1):
        for j in range(1, x.shape[1] - 1):
            y[i, j] = x[i - 1, j] + x[i, j - 1] * x[i, j + 1] + y[i, j - 1]
    return y


def test_innermost_loops_begin_at_boundaries() -> None:
    text = llvm(blurred, np.ones((30, 40)))
    marks = re.findall(r"!llvm\.loop (!\d+)$", text, re.MULTILINE)
    nodes = dict(re.findall(r"^(!\d+) = distinct !\{\1, (.*)\}$", text, re.MULTILINE))
    assert marks == list(nodes)
    assert len(marks) == len(re.findall(r"^loop\.\d+:", text, re.MULTILINE))
    assert set(nodes.values()) == {"!0, !1", "!0, !3", "!1"}  # innermost, short, and around these
    assert '!0 = !{!"llvm.loop.align", i32 32}' in text
    assert '!1 = !{!"llvm.loop.unroll.disable"}' in text


def congruential(x, n):
    for _ in range(n):
        x = x * np.uint32(1664525) + np.uint32(1013904223)
    return x


def gathered(v, which):
    total = 0
    for k in which:
        total += v[k]
    return total


def least_of(v):
    least = v[0]
    for x in v:
        least = min(least, x)
    return least


@pytest.mark.parametrize("n", [0, 1, 3, 4, 7, 8, 9, 100])
def test_unrolled_loops_end_where_they_should(n: int) -> None:
    with np.errstate(over="ignore"):
        agrees(congruential, np.uint32(3), n)
    agrees(gathered, np.arange(10), np.arange(n) * 7 % 10 - 5)
    agrees(gathered, np.arange(10), np.arange(n) * 7 % 12)  # out of bounds in the end


def test_short_rounds_are_unrolled_unless_they_choose() -> None:
    unrolled = re.compile(r"distinct !\{!\d+, !0, ![23]\}")
    assert unrolled.search(llvm(congruential, np.uint32(3), 5))
    assert unrolled.search(llvm(gathered, np.arange(10), np.arange(99)))
    assert not unrolled.search(llvm(least_of, np.arange(99)))
    agrees(least_of, (100 * np.cos(np.arange(99))).astype(np.int64))


# -- arms and divisions ----------------------------------------------------------------------------


def seldom(x, y):
    total = 0.0
    for i in range(len(x)):
        if x[i] > 100:
            total += math.exp(x[i] - 100) / y
    return total


def invariant(x, y):
    total = 0.0
    for i in range(len(x)):
        if x[i] > 0:
            total += math.exp(y)
    return total


def powers(base, exponent, modulus):
    result = 1
    while exponent > 0:
        if exponent & 1:
            result = result * base % modulus
        base = base * base % modulus
        exponent >>= 1
    return result


def test_what_is_costly_stays_in_its_arm() -> None:
    x = np.linspace(-1, 101, 30)
    text = kernels(seldom, x, 2.0)
    assert re.search(r"= if %[^\n]*@then\(\) \{(?:(?!@orelse).)*= exp ", text, re.DOTALL)
    agrees_closely(seldom, x, 2.0)
    text = kernels(invariant, x, 0.5)
    assert text.index("= exp ") < text.index("kind='seq'")
    agrees_closely(invariant, x, 0.5)
    text = kernels(powers, 3, 1000, 997)
    assert re.search(r"= if %[^\n]*@then\(\) \{(?:(?!@orelse).)*= rem ", text, re.DOTALL)
    assert jitnet.jit(powers)(3, 1000, 997) == powers(3, 1000, 997)


def agrees_closely(f: Callable[..., Any], *args: Any) -> None:
    np.testing.assert_allclose(jitnet.jit(f)(*args), f(*args), rtol=1e-13)


# -- memory ----------------------------------------------------------------------------------------


def counted(image):
    histogram = np.zeros(256, np.int64)
    for value in image.ravel():
        histogram[value] += 1
    return histogram


def looked_up(image, table):
    image[:] = table[image]


def looked_up_in_itself(x):
    x[:] = x[x]


def test_rows_that_are_only_read_are_read_one_after_the_other() -> None:
    image = np.random.default_rng(5).integers(0, 256, (7, 9)).astype(np.uint8)
    assert "quotient" not in kernels(counted, image)
    agrees(counted, image)
    agrees(counted, np.asfortranarray(image))
    agrees(counted, image[::2, 1:])


def test_elements_are_looked_up_in_place_but_not_in_what_is_written() -> None:
    image = np.random.default_rng(6).integers(0, 256, (7, 9)).astype(np.uint8)
    table = np.random.default_rng(7).permutation(256).astype(np.uint8)
    assert "alloc" not in kernels(looked_up, image, table)
    agrees(looked_up, image, table)
    x = np.random.default_rng(8).permutation(20)
    assert "alloc" in kernels(looked_up_in_itself, x)
    agrees(looked_up_in_itself, x)
