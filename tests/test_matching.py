"""`match` on what data decides, and names bound in conditions, against Python."""

from __future__ import annotations

import enum

import numpy as np
import pytest

from jitnet import jit


class Color(enum.Enum):
    RED = 1
    BLUE = 2


def automaton(x, k):
    s = 0
    for v in k:
        match s, v:
            case 0, 1:
                s = 1
            case 1, 1:
                s = 2
            case 2, _:
                s = 0
            case ((0 | 1), other) if other == 0:
                s = s
            case _:
                s = -1
    return s


def numbers(x, k):
    out = 0.0
    for i in range(len(k)):
        match k[i]:
            case 0:
                out += x[0]
            case 1 | 2:
                out -= x[1]
            case n if n > 3:
                out *= n
            case n:
                out += n
    return out


def of_a_setting(x, k, mode="a"):
    match mode:
        case "a":
            return x
        case "b":
            return -x
    return None


def truths(x, k):
    match x[0] > 0.5, x[1] > 0.5:
        case True, True:
            return x
        case False, _:
            return x * 2
        case *rest, b:
            return x * (3 + b + len(rest))


def tuples(x, k):
    match (x[0], k):
        case (0.3, arr):
            return arr.sum()
        case (a, arr) if a > 1:
            return arr.sum() * 2
        case _:
            return 7


def members(x, k):
    match Color.RED:
        case Color.RED:
            return 1
        case Color.BLUE:
            return 2


def keys(x, k):
    match {"a": 1}:
        case {"a": v}:
            return x * v


def with_jumps(x, k):
    r = []
    for v in k:
        match int(v):
            case 0:
                continue
            case 5:
                break
            case w:
                r.append(w)
    return r


def with_an_error(x, k):
    match k[0]:
        case 0:
            y = 1.0
        case 1:
            y = 2.0
        case _:
            raise ValueError("bad")
    return y * x


def classes(x, k):
    match x:
        case np.ndarray():
            return 1
        case _:
            return 2


def nothing_or_int(x, k):
    match k[0]:
        case None:
            return 1
        case int():
            return 2
        case _:
            return 3


def nested(x, k):
    def step(s, t):
        match s:
            case 0:
                return t
            case 1:
                match t:
                    case 0:
                        return 5
                    case _:
                        return 6
            case _:
                return 0

    s = 0
    for v in k:
        s = step(s, v)
    return s


def bound_after_a_failed_guard(x, k):
    n = -1
    match k[0], k[1]:
        case 0, n if n > 1:
            return 10 + n
        case _:
            return n


def kept_where_the_pattern_fails(x, k):
    n = -1
    match k[0], k[1]:
        case 1, n:
            return 10 + n
        case _:
            return n


def bound_in_and(x, k):
    if x[0] > 0.5 and (y := x[1] * 2) > 1:
        return y
    return x[0]


def bound_in_and_with_else(x, k):
    y = 1.0
    if x[0] > 0.5 and (y := x[1] * 2) > 1:
        y += 1
    elif x[1] > 1 or (y := x[0]) > 7:
        y += 2
    else:
        y += 3
    return y


def outcome(fn, x, k):
    """A result, with numbers as floats: of which class those are that data chooses, is another
    matter."""
    try:
        found = fn(np.array(x), np.array(k))
        return np.asarray(found, np.float64).tolist() if found is not None else None
    except ValueError as error:
        return f"ValueError: {str(error).splitlines()[0].removeprefix('[JN012] ')}"


@pytest.mark.parametrize("k", [[0, 1, 1, 0], [1, 1, 2, 5], [2, 4, 7], [0, 2], [1, 0]], ids=str)
@pytest.mark.parametrize(
    "fn",
    [
        *(automaton, numbers, of_a_setting, truths, tuples, members, keys, with_jumps),
        *(with_an_error, classes, nothing_or_int, nested, bound_after_a_failed_guard),
        *(kept_where_the_pattern_fails, bound_in_and, bound_in_and_with_else),
    ],
)
def test_against_python(fn, k):
    compiled = jit(fn)
    for x in ([0.3, 1.2], [1.5, 0.2], [0.6, 0.7]):
        assert outcome(compiled, x, k) == outcome(fn, x, k)
