"""Python's control flow on traced values against Python: `if`, `for`, `while`, and how they end.

    @case((2.0,), (-1.0,))
    def f(s): ...              run as it is and compiled, with each of these arguments

PYTEST_DONT_REWRITE: an `assert` of these programs has the message that it was written with.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from agreement import agree

from jitnet import jit

X = np.array([1.0, -2.0, 3.0, 0.5])
Y = np.array([0.25, 4.0, -1.0, 2.0])
A = np.arange(12.0).reshape(3, 4) - 4.0
M = np.array([3, 0, -2, 5, 1])

Case = tuple[Callable[..., Any], tuple[tuple[Any, ...], ...], bool]
CASES: list[Case] = []


def case(*calls: tuple[Any, ...], widens: bool = False) -> Callable[[Any], Any]:
    """A function to be called with each of these tuples of arguments."""

    def noted(fn: Callable[..., Any]) -> Callable[..., Any]:
        CASES.append((fn, calls, widens))
        return fn

    return noted


SIGNS = ((2.0,), (-1.0,), (0.0,))

# -- if --------------------------------------------------------------------------------------------


@case(*SIGNS)
def if_else(s):
    if s > 0:
        y = s * 2
    else:
        y = -s
    return y


@case(*SIGNS, (5.0,), (math.nan,))
def elif_chain(s):
    if s > 3:
        kind = 3
    elif s > 1:
        kind = 2
    elif s == 0:
        kind = 0
    else:
        kind = -1
    return kind


@case(*SIGNS)
def only_then(s):
    y = 1.0
    if s > 0:
        y = s
    return y


@case((X, 2.0), (X, -2.0))
def arrays_bound_in_arms(x, s):
    if s > 0:
        y = x + s
    else:
        y = np.zeros(4)
    return y * 2


@case((X, 2.0), (X, -2.0))
def writes_in_arms(x, s):
    if s > 0:
        x[0] = s
        x[1:3] += 1
    else:
        x[:] = s
    return x.sum()


@case((X, 2.0), (X, -2.0))
def writes_to_a_local_array(x, s):
    u = x.copy()
    v = u[1:]
    if s > 0:
        v[0] = s
    else:
        u[2] = s
    return u, v


@case((X, A, 2.0), (X, A, -2.0))
def written_in_one_arm_and_bound_in_the_other(x, a, s):
    u = x.copy()
    if s > 0:
        u = a[:, 0] * 1.0
    else:
        u[1:] = 1.0
    return u.sum(), len(x)


@case((2.0, 3), (-2.0, 3))
def tuples_in_arms(s, n):
    p = (s, n)
    if s > 0:
        p = (p[0] + 1, p[1] * 2)
    a, b = p
    return a, b, p


@case((X, 2.0), (X, -2.0))
def containers_in_arms(x, s):
    d = {"a": x, "b": 1.0}
    items = [1, x]
    if s > 0:
        d["a"] = x * 2
        items[0] = 5
    else:
        d["b"] = s
        items[1] = x + s
    return d, items


@case((X, 1.0), (X, -1.0))
def nested_ifs(x, s):
    if s > 0:
        if x[0] > 0:
            r = 1
        else:
            r = 2
    elif x[1] > 0:
        r = 3
    else:
        if x[2] > 0:
            r = 4
        else:
            r = 5
    return r


@case(*SIGNS, widens=True)
def int_on_one_path(s):
    y = 1
    if s > 0:
        y = 0.5
    return y * 2


@case((2.0, 7), (-2.0, 7))
def numpy_scalar_on_one_path(s, n):
    y = np.float64(n)
    if s > 0:
        y = np.sqrt(s)
    return y


@case((X,), (np.array([1.0]),), (np.array([0.0]),), (np.array([]),))
def truth_of_arrays(x):
    if x:
        return 1
    return 0


@case((3,), (0,), (-1,))
def truth_of_ints(n):
    if n:
        return n
    return 10


@case((X, 1.0), (X, -1.0))
def arms_that_pass(x, s):
    if s > 0:
        pass
    else:
        x[0] += 1
    return x[0]


@case((X, Y, 1.0), (X, Y, -1.0))
def swap_in_an_arm(x, y, s):
    u, v = x.copy(), y.copy()
    if s > 0:
        u, v = v, u
    return u - v


# -- early returns ---------------------------------------------------------------------------------


@case(*SIGNS)
def return_early(s):
    if s > 1:
        return s
    s += 1
    if s > 0:
        return s * 10
    return -s


@case((X, 1), (X, 9), (X, -9))
def return_from_a_nest(x, k):
    total = 0.0
    for i in range(4):
        if x[i] > 0:
            for j in range(10):
                total += x[i] * j
                if total > k:
                    if j == 0:
                        return total, -1
                    return total, j
    return total, 100


@case((X, 2.0), (X, 9.0))
def return_in_else_of_a_loop(x, s):
    for v in x:
        if v > s:
            break
    else:
        return -1.0
    return v * 2


@case((5, 2.0), (0, 2.0), (9, 100.0))
def return_from_a_while(n, s):
    while n > 0:
        n -= 1
        s = s * 1.5
        if s > 20:
            return s, n
    return s, -n


@case(*SIGNS)
def return_nothing(s):
    if s > 0:
        return
    s += 1
    return


@case((X, 1.0), (X, -1.0))
def return_of_arguments(x, s):
    if s > 0:
        x[0] = 7
    return x


# -- while -----------------------------------------------------------------------------------------


@case((100.0,), (0.5,), (-3.0,))
def while_on_a_float(s):
    n = 0
    while s > 1:
        s /= 2
        n += 1
    return s, n


@case((27,), (1,), (6,))
def collatz(n):
    steps = 0
    while n != 1:
        n = n // 2 if n % 2 == 0 else 3 * n + 1
        steps += 1
    return steps


@case((10,), (0,), (3,))
def while_break_continue_else(n):
    odd = 0
    while n > 0:
        n -= 1
        if n % 2 == 0:
            continue
        odd += n
        if odd > 12:
            break
    else:
        odd = -odd
    return odd, n


@case((10.0,), (1000.0,))
def while_true(s):
    n = 0
    while True:
        n += 1
        if s / n < 3:
            break
    return n


@case((10.0,), (2.0,))
def while_true_with_returns(s):
    n = 0
    while True:
        s -= 1
        if s < 0:
            return "never", n if s > 5 else n + 1
        n += 1


@case((X, 1e-3), (X, 10.0))
def while_on_an_array(x, tolerance):
    while np.abs(x).max() > tolerance:
        x = x * 0.5
        x[0] = 0.0
    return x


@case((4,), (0,), (1,))
def nested_whiles(n):
    total = 0
    while n > 0:
        m = n
        while m > 0:
            total += m
            m -= 1
            if total > 12:
                break
        n -= 1
    return total, n


@case((0,), (5,))
def while_that_counts_down_a_list(n):
    left = [n, 2, 3]
    total = 0
    while left:
        total += left.pop()
    return total


@case((3, 2), (0, 2), (-1, 0))
def condition_with_a_walrus(n, k):
    seen = 0
    while (m := n - seen) > 0:
        seen += 1
    return seen, m


# -- for -------------------------------------------------------------------------------------------


@case((X, 4), (X, 0), (X, 2), (X, 1))
def for_over_a_traced_range(x, n):
    s = 0.0
    for i in range(n):
        s += x[i] * i
        x[i] = s
    return s


@case((0, 10, 3), (10, 0, -3), (5, 5, 1), (3, 0, 1), (0, 3, -1), (-4, 4, 2), (1, 2, 0))
def for_over_traced_bounds(a, b, k):
    s = 0
    for i in range(a, b, k):
        s = s * 10 + i
    return s


@case((X, 3), (X, 1))
def static_ranges(x, k):
    s = 0
    for i in range(2, 40, 3):
        s += i * k
    for i in range(9, -1, -1):
        s = s * 2 + i
    for i in range(0):  # noqa: B007
        s = 0
    return s, i


@case((X, A), (X[:0], A[:0]))
def over_arrays(x, a):
    s = 0.0
    for v in x:
        s += v * v
    for row in a:
        s += row[0] - row[-1]
        row[1] = s
    for row in a:
        for v in row:
            s = s * 0.5 + v
    return s


@case((X, Y), (X[:0], Y))
def enumerate_zip_reversed(x, y):
    s = 0.0
    for i, v in enumerate(x):
        s += i * v
    for i, v in enumerate(x, 3):
        s += i * v
    for a, b in zip(x, y):
        s = s * 0.5 + a * b
    for i, (a, b) in enumerate(zip(x, y)):
        x[i] = a - b
    for v in reversed(x):
        s = s * 0.5 + v
    for i in reversed(range(len(x))):
        s = s * 0.5 + x[i] * i
    return s


@case((X, 3), (X, 0), (X, 4))
def zip_of_a_range(x, n):
    s = 0.0
    for i, v in zip(range(n), x):
        s += v * i
    return s


@case((7,), (1,), (0,))
def variable_after_the_loop(n):
    i = -1
    for i in range(n):  # noqa: B007
        pass
    return i


@case((7,), (1,), (0,))
def variable_that_only_the_loop_binds(n):
    for i in range(n):
        last = i * 2
    return i, last


@case((10, 3), (10, 30), (0, 0))
def for_else(n, k):
    for i in range(n):
        if i * i > k:
            break
    else:
        return -1
    return i


@case((20, 3), (4, 3))
def for_break_continue(n, k):
    s = 0
    for i in range(n):
        if i % k == 1:
            continue
        if i > 12:
            break
        s += i
    return s


@case((6,), (0,), (1,))
def variable_of_the_loop_assigned(n):
    s = 0
    for i in range(n):
        i = i * 2
        s += i
    return s


@case((X, 5), (X, 0))
def widening_in_a_loop(x, n):
    s = 0
    for i in range(n):
        s += x[i % 4]
    return s * 1.0


@case((9, 0.5), (0, 0.5))
def widening_of_a_python_number(n, h):
    s = 1
    for _ in range(n + 1):
        s = s * h
    return s


@case((X, 3), (X, 0), (X, 4))
def shrinking_array(x, n):
    u = x.copy()
    for _ in range(n):
        u = u[1:] + u[:-1] if len(u) > 1 else u * 1.0
    return u


@case((X, 0.4), (X, 2.0), (X, -9.0))
def shrinking_by_a_mask(x, least):
    steps = 0
    while len(x) > 0:
        x = x[x > least] - 0.5
        steps += 1
        if steps > 20:
            break
    return x, steps


@case((X, Y, 3), (X, Y, 0), (X, Y, 8))
def list_built_in_a_loop(x, y, n):
    found = []
    for i in range(6):
        found.append(x[i % 4] * i)
    return sum(found), found


@case((A, 2), (A, 0))
def loops_in_loops(a, k):
    out = np.zeros((3, 3))
    for i in range(3):
        for j in range(3):
            s = 0.0
            for m in range(4):
                s += a[i, m] * a[j, m]
                if m > k:
                    break
            out[i, j] = s
    return out


# -- aliases, views and swaps ----------------------------------------------------------------------


@case((X,))
def two_names(x):
    y = x
    y[0] = 1.0
    z = y.copy()
    z[1] = 100.0
    return x[0], y, z


@case((X, 6), (X, 0), (X, 1))
def view_made_before_a_loop(x, n):
    v = x[1:]
    for i in range(n):
        v[i % 3] += i
        x[0] += v[1]
    return x, v


@case((X, 6), (X, 0), (X, 1))
def view_made_in_a_loop(x, n):
    for i in range(n):
        v = x[i % 4 :]
        v += 1
    return x


@case((X, Y, 6), (X, Y, 0), (X, Y, 1), (X, Y, 7))
def swap_of_local_arrays(x, y, n):
    u, v = x.copy(), y.copy()
    for _ in range(n):
        v[1:-1] = u[:-2] + u[2:]
        u, v = v, u
    return u, v


@case((X, Y), (Y, X))
def swap_of_arguments_even(u, v):
    for _ in range(10):
        v[1:-1] = u[:-2] - u[2:]
        u, v = v, u
    return u


@case((X, Y), (Y, X))
def swap_of_arguments_odd(u, v):
    for i in range(7):
        v[1:-1] = u[:-2] - i
        u, v = v, u
    return u, v


@case((X, Y, 0), (X, Y, 1), (X, Y, 5), (X, Y, 8))
def swap_of_arguments_traced(u, v, n):
    for i in range(n):
        v[0] = u[1] + i
        u, v = v, u
    u[3] = 9.0
    return u, v


@case((X, Y, X * 2, 0), (X, Y, X * 2, 3), (X, Y, X * 2, 5), (X, Y, X * 2, 4))
def rotation_of_three(u, v, w, n):
    a, b, c = u.copy(), v.copy(), w.copy()
    for i in range(n):
        c[i % 4] = a[0] + b[1]
        a, b, c = b, c, a
    return a, b, c


@case((X, Y, X * 2))
def rotation_of_arguments(u, v, w):
    for i in range(10):
        w[i % 4] = u[0] + v[1]
        u, v, w = v, w, u
    return u


@case((X, 3), (X, 0))
def values_swapped(x, n):
    a, b = 0, 1
    for _ in range(n + 5):
        a, b = b, a + b
    x[0], x[-1] = x[-1], x[0]
    return a, b


@case((X, 5), (X, 0), (X, 1))
def alias_made_in_a_loop(x, n):
    s = 0.0
    for i in range(n):
        w = x
        w[0] += i
        s += x[0]
    return s


@case((X, X, 2), (X, Y, 2))
def one_array_twice(x, y, n):
    for i in range(n + 5):
        x[i % 4] = y[(i + 1) % 4] + 1
    return y


# -- expressions -----------------------------------------------------------------------------------


@case((2.0, 1.0), (-2.0, 1.0), (0.0, 0.0))
def conditional_expressions(s, t):
    return (s if s > t else t), (1 if s > 0 else 2), (s if s else t if t else -1.0)


@case((2, 0), (0, 3), (0, 0), (-1, 5))
def and_or_not(a, b):
    return (a and b), (a or b), not a, (a and b and 7), (a or b or 7), not (a or b)


@case((2.0, 1.0), (-2.0, 1.0), (0.5, 0.75))
def booleans(s, t):
    if s > 0 and t > 0 and not s > t:
        return 1
    if s < 0 or t > 0.8:
        return 2
    return 3


@case((2, 1), (0, 3), (1, 1))
def chained_comparisons(a, b):
    return 0 <= a < b, a == b == 1, 0 < a <= 2 < b, a < b > 0 != a


@case((X, 3.0), (X, 4.0))
def membership(x, s):
    return s in x, s in (1.0, 3.0), s not in [4.0], s not in x


@case((X, 0), (X, 9))
def short_circuit_protects(x, k):
    if k < len(x) and x[k] > 0:
        return x[k]
    return -1.0 if k >= len(x) or x[k] > 100 else 5.0


@case((X, 1.0), (X, -1.0))
def comprehensions(x, s):
    squares = [v * v for v in x]
    pairs = {i: x[i] + s for i in range(3)}
    nested = [a * b for a in x for b in (1, 2)]
    return squares, pairs, nested, [s for _ in range(2)]


@case((X, 1.0), (X, -10.0), (X, 10.0))
def generator_expressions(x, s):
    return (
        sum(v * 2 for v in x),
        min(v for v in x),
        max(abs(v) for v in x),
        any(v > s for v in x),
        all(v > s for v in x),
    )


@case((3.0,), (-3.0,))
def walrus(s):
    if (t := s * 2) > 0:
        return t
    return (u := t + 1) * u


# -- raise and assert ------------------------------------------------------------------------------


class OutOfTimeError(Exception):
    """A user's own."""


@case((1.0,), (-1.0,))
def raise_in_an_arm(s):
    if s < 0:
        raise ValueError("negative")
    return math.sqrt(s)


@case((1.0,), (-1.0,), (0.0,))
def raise_of_own_classes(s):
    if s < 0:
        raise OutOfTimeError("late")
    elif s == 0:
        raise OutOfTimeError
    return s


@case((X, 3), (X, 0), (X, -2))
def raise_in_a_loop(x, n):
    for i in range(n):
        x[i] += 1
        if x[i] < 0:
            raise OutOfTimeError("step")
    return x


@case((5, 3), (3, 5), (0, 5))
def loops_that_raise_at_once(n, k):
    while n > k:
        raise OutOfTimeError("while")
    for _ in range(n):
        raise KeyError("for")
    return n


@case((X, 1, 2.0), (X, 9, 2.0), (X, 9, -2.0))
def an_earlier_error_comes_first(x, k, s):
    if s > 0:
        x[k] = 1.0
        raise ValueError("later")
    return s


@case((1.0, 2), (-1.0, 2), (1.0, 0))
def assertions(s, n):
    assert s > 0, "positive"
    assert n
    return s / n


@case((1.0,), (-1.0,), (5.0,))
def raise_then_return(s):
    if s > 3:
        raise ValueError("large")
    if s > 0:
        return s
    raise ValueError("small")


@case((1,), (0,))
def division_by_zero(n):
    total = 0
    for i in range(5):
        total += i // n
    return total


@case((X, 1), (X, 5), (X, -5))
def out_of_bounds_on_a_path(x, k):
    if k > 0:
        return x[k]
    return x[k + 1]


@case((1.0, 3), (-1.0, 3), (-1.0, 0))
def unbound_on_one_path(s, n):
    if s > 0:
        y = 1.0
    else:
        for _ in range(n):
            pass
        return 0.0
    return y


IDS = [fn.__name__ for fn, _, _ in CASES]


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_agrees_with_python(case: Case) -> None:
    fn, calls, widens = case
    agree(fn, *calls, widens=widens)


def test_the_first_step_computes_with_fewer_bits():
    def squares(narrow, wide):
        found, value = np.zeros(len(wide)), narrow[0]
        for k in range(len(wide)):
            found[k] = value * value
            value = wide[k]
        return found, value

    def until(narrow, wide):
        total, value, k = 0.0, narrow[0], 0
        while k < len(wide) and total < 3:
            total += value * value
            value = wide[k]
            k += 1
        return total, value

    narrow, wide = np.array([1.1], np.float32), np.linspace(0.1, 1, 7)
    for fn in (squares, until):
        expected, found = fn(narrow, wide), jit(fn)(narrow, wide)
        np.testing.assert_array_equal(found[0], expected[0])
        assert found[1] == expected[1]
