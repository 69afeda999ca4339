"""Comprehensions and generator expressions with conditions, known and traced, and what is made of
them: under plain Python and jitted."""

from __future__ import annotations

import numpy as np
import pytest

from jitnet import errors, jit

V = np.array([1.0, -2.0, 3.0, 0.5, -7.0, 4.0, 0.0, 2.5])
LONG = np.sin(np.arange(60.0)) * 3
NEGATIVE = -np.abs(LONG) - 1
CASES = [V, V[:3], V[1:2], np.zeros(0), LONG, NEGATIVE]


def positive(v):
    return np.array([x for x in v if x > 0])


def mapped(v, t=0.5):
    return np.array([x * x + t for x in v if x > t])


def two_conditions(v):
    return np.array([x for x in v if x > 0 if x < 3])


def both_conditions(v):
    return np.array([x for x in v if x > 0 and x < 3])


def chained(v):
    return np.array([2 * x for x in v if 0 < x < 3])


def numbered(v):
    return np.array([i for i, x in enumerate(v) if x > 0])


def numbered_pairs(v):
    return np.array([(i, x * 2) for i, x in enumerate(v) if x > 0 and i > 1])


def pairs(v):
    return np.array([x + y for x, y in zip(v, v[::-1]) if x < y])


def by_index(v):
    return np.array([v[i] for i in range(len(v)) if v[i] > 0])


def known_condition(v):
    return np.array([v[i] for i in range(len(v)) if i % 2 == 0])


def mixed_conditions(v):
    return np.array([v[i] for i in range(len(v)) if i % 2 == 0 and v[i] > 0])


def count(v):
    return len([x for x in v if x > 0])


def loop_over_it(v):
    total = 0.0
    for x in [x for x in v if x > 0]:
        total = total * 0.5 + x
    return total


def loop_over_generator(v):
    total = 0.0
    for x in (x * 2 for x in v if x > 0):
        total = total * 0.5 + x
    return total


def filtered_twice(v):
    return sum(x for x in [y * 2 for y in v if y > 0] if x < 5)


def nested(v):
    return sum(x for x in (y * 2 for y in v if y > 0) if x < 5)


def sum_of(v):
    return sum(x for x in v if x > 0)


def sum_from(v):
    return sum((x for x in v if x > 0), 10.0)


def number_of(v):
    return sum(1 for x in v if x > 0)


def any_of(v):
    return any(x > 2 for x in v if x > 0)


def all_of(v):
    return all(x > 0.75 for x in v if x > 0)


def list_of(v):
    return np.array(list(x for x in v if x > 0))  # noqa: C400


def min_or(v):
    return min((x for x in v if x > 0), default=-1.0)


def max_or(v):
    return max((x * 2 for x in v if x > 0), default=-1.0)


def any_of_all(v):
    return any(x > 2 for x in v), all(x > -100 for x in v)


FUNCTIONS = [
    positive,
    mapped,
    two_conditions,
    both_conditions,
    chained,
    numbered,
    pairs,
    by_index,
    known_condition,
    mixed_conditions,
    count,
    loop_over_it,
    loop_over_generator,
    filtered_twice,
    nested,
    sum_of,
    sum_from,
    number_of,
    any_of,
    all_of,
    list_of,
    min_or,
    max_or,
    any_of_all,
]


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_as_in_python(function):
    compiled = jit(function)
    for v in CASES:
        expected, got = function(v), compiled(v)
        if isinstance(expected, np.ndarray) and expected.size == 0:
            assert got.size == 0  # of no items NumPy makes float64, whatever they would be
            continue
        np.testing.assert_array_equal(got, expected)
        if isinstance(expected, np.ndarray):
            assert got.dtype == expected.dtype
            assert got.shape == expected.shape


@pytest.mark.parametrize("function", [min, max])
def test_the_best_of_none_is_an_error(function):
    def best(v):
        return function(x for x in v if x > 0)

    compiled = jit(best)
    assert compiled(LONG) == best(LONG)
    for v in (V[1:2], NEGATIVE):
        with pytest.raises(ValueError, match="empty"):
            best(v)
        with pytest.raises(ValueError, match="empty"):
            compiled(v)


def test_an_element_is_only_computed_where_the_condition_holds():
    def inverse(v, indices):
        return np.array([v[i] for i in indices if i < 3])

    compiled = jit(inverse)
    indices = np.array([0, 2, 7, 1, 9, 2])
    np.testing.assert_array_equal(compiled(V[:3], indices), inverse(V[:3], indices))
    with pytest.raises(IndexError):
        compiled(V[:2], indices)


def test_any_looks_no_further():
    def found(v, indices):
        return any(v[i] > 2 for i in indices if i >= 0)

    compiled = jit(found)
    indices = np.array([-5, 0, 2, 70, 1, 9, 2])
    assert compiled(V, indices) is True
    with pytest.raises(IndexError):
        compiled(V * 0, indices)


def test_lists_of_python_objects():
    def weights(x, names):
        return [name for name in names if name != "b"], [y for y in [x, 2 * x] if y > 3]

    compiled = jit(weights)
    assert compiled(2.0, ("a", "b", "c")) == weights(2.0, ("a", "b", "c"))
    assert compiled(1.0, ("a", "b", "c")) == (["a", "c"], [])


def test_results_are_lists():
    def kept(v):
        return [x * 2 for x in v if x > 0]

    for v in CASES:
        got, expected = jit(kept)(v), kept(v)
        assert type(got) is list
        assert got == expected
        assert [type(x) for x in got] == [type(x) for x in expected]


def test_rows():
    def rows(a):
        return np.array([row * 2 for row in a if row[0] > 0])

    a = np.random.default_rng(0).normal(size=(40, 3))
    np.testing.assert_array_equal(jit(rows)(a), rows(a))


def test_as_many_items_as_the_program_decides():
    def firsts(v, n):
        return sum(v[i] for i in range(n) if v[i] > 0), len([i for i in range(n) if v[i] < 0])

    compiled = jit(firsts)
    for n in (0, 1, 5, 8):
        assert compiled(V, n) == firsts(V, n)


def test_what_needs_its_items_now():
    def unpacked(v):
        first, *_ = (x for x in v if x > 0)
        return first

    with pytest.raises(errors.ConcretizationError, match="condition"):
        jit(unpacked)(LONG)
