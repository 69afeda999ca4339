"""Tuples and lists of traced values compared and sorted as Python does it: sorted, list.sort, min
and max by a key, `<` and `==` of sequences."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from agreement import assert_agree, outcome
from hypothesis import given
from hypothesis import strategies as st

import jitnet
from jitnet import errors

X = np.array([3.0, 1.0, 2.0, 1.0, -0.0, 0.0])
LONG = np.random.default_rng(0).normal(size=200)


def agree(fn: Any, *arguments: Any) -> None:
    assert_agree(outcome(jitnet.jit(fn), arguments), outcome(fn, arguments))


# -- sorted ----------------------------------------------------------------------------------------


def test_sorted_is_stable_both_ways() -> None:
    agree(lambda x: (sorted(x), sorted(x, reverse=True)), X)
    agree(lambda x: sorted(range(6), key=lambda i: x[i]), X)
    agree(lambda x: sorted(range(6), key=lambda i: x[i] > 1, reverse=True), X)
    agree(lambda x: sorted(enumerate(x), key=lambda pair: -pair[1]), X)


def test_sorted_of_tuples_and_by_tuples() -> None:
    agree(lambda x: sorted([(v * v, -i) for i, v in enumerate(x)], reverse=True), X)
    agree(lambda x: sorted(range(6), key=lambda i: (x[i] > 1, -x[i], i)), X)
    agree(lambda a, b, c: sorted((a, b, c))[1], 3, 1, 2)


def test_sorted_rows_are_views_of_their_array() -> None:
    def raised(p: Any) -> Any:
        first, *_, last = sorted(p, key=lambda row: row[1])
        first += 10
        last[:] = 0
        return first

    agree(raised, np.arange(12.0).reshape(4, 3)[::-1].copy())


def test_a_list_is_sorted_in_place_where_a_condition_holds() -> None:
    def put_in_order(x: Any, c: Any) -> Any:
        items = [x[0], x[1], x[2]]
        if c > 0:
            items.sort(key=lambda v: -v)
        return items

    for c in (1.0, -1.0):
        agree(put_in_order, X, c)


def test_sorted_of_what_is_known() -> None:
    agree(lambda x: (sorted(["b", "A"], key=str.lower), sorted({"y": x, "x": x}), x[0]), X)
    agree(lambda x: sorted(x), np.zeros(0))


def test_sorted_lists_and_objects_are_themselves() -> None:
    def lowest_first(x: Any) -> Any:
        points = [Point(x[0]), Point(x[1])]
        sorted(points, key=lambda p: p.height)[0].height = 0.0
        return [p.height for p in points]

    def rows(x: Any) -> Any:
        rows = [[x[i], i] for i in range(4)]
        sorted(rows)[1][0] = x[0] + 100
        return rows, sorted(rows)

    agree(lowest_first, X)
    agree(rows, X)


@dataclass
class Point:
    height: Any


def test_sorted_refuses_what_it_cannot_tell_apart() -> None:
    for wrong in (lambda x: sorted([x[0], 2]), lambda x: sorted([[x[0]], [1]])):
        with pytest.raises(errors.UnsupportedFunctionError, match="known only when"):
            jitnet.jit(wrong)(X)
    with pytest.raises(errors.UnsupportedFunctionError, match="any length"):
        jitnet.jit(lambda x: sorted(x[x > 0]))(X)
    with pytest.raises(ValueError, match="NaN"):
        jitnet.jit(lambda x: sorted(x))(np.array([1.0, math.nan]))


def test_the_gradient_of_a_sorted_item_goes_where_it_came_from() -> None:
    x = np.array([5.0, 1.0, 3.0])
    assert jitnet.grad(lambda x: 2 * sorted(x)[1])(x).tolist() == [0, 0, 2]
    assert jitnet.grad(lambda x: min(x, key=lambda v: -v))(x).tolist() == [1, 0, 0]


# -- min and max -----------------------------------------------------------------------------------


def test_the_least_and_the_greatest_by_a_key() -> None:
    agree(lambda x: (min(x, key=abs), max(x, key=abs, default=3)), X)
    agree(lambda a, b, c: max(a, b, c, key=lambda v: -v), 1.0, 2.0, 0.5)
    agree(lambda a: max([], key=lambda v: -v, default=a), 1.0)
    agree(lambda x: max([x[:2], x[2:5], x[3:5]], key=len), X)
    for x in (np.array([math.nan, 1.0, 2.0]), np.array([1.0, math.nan, 2.0, math.nan])):
        agree(lambda x: (max(x, key=lambda v: v), min(x, key=lambda v: v)), x)


def test_a_key_may_branch() -> None:
    def distance(v: Any) -> Any:
        if v < 0.5:
            return 0.5 - v
        return 2 * (v - 0.5)

    agree(lambda x: (min(x, key=distance), sorted(x, key=distance), max(LONG, key=distance)), X)

    def ordered(x: Any) -> Any:
        items = list(x)
        items.sort(key=distance, reverse=True)
        return items

    agree(ordered, X)


def test_a_loop_finds_the_best_index_of_many() -> None:
    def nearest(x: Any) -> Any:
        return min(range(len(x)), key=lambda i: abs(x[i] - 0.5))

    agree(nearest, LONG)
    assert "for" in jitnet.jit(nearest).lower(LONG).stages["optimized"]


def test_the_best_of_a_list_that_grew() -> None:
    def best(x: Any) -> Any:
        seen = []
        for i in range(len(x)):
            if x[i] > 0:
                seen.append((x[i], i))
        return max(seen, key=lambda pair: -pair[0])

    agree(best, LONG)


def test_the_best_row_is_a_view() -> None:
    def changed(p: Any, q: Any) -> None:
        row = min(p, key=lambda r: np.sum((r - q) ** 2))
        row[:] = q

    agree(changed, np.arange(15.0).reshape(5, 3), np.array([6.0, 6.0, 8.0]))


def test_the_best_of_tuples() -> None:
    agree(lambda x: max((v, i) for i, v in enumerate(x)), X)
    agree(lambda x: min([(v, -i) for i, v in enumerate(x)]), X)
    agree(lambda a, b: (max((a, b), (b, a)), min((a, 1), (a, 0))), 1.0, 2.0)


def test_the_object_that_is_least_can_be_changed() -> None:
    def changed(x: Any) -> Any:
        points = [Point(x[0]), Point(x[1])]
        min(points, key=lambda p: p.height).height = 9.0
        return [p.height for p in points]

    agree(changed, X)


def test_names_are_chosen_by_values() -> None:
    agree(lambda x: max(("a", "b"), key={"a": x[0], "b": x[1]}.get), X)


# -- comparisons -----------------------------------------------------------------------------------


def test_sequences_are_compared_item_by_item() -> None:
    agree(lambda a, b: ((a, 1) < (b, 2), (a, b) == (b, a), [a, b] != [b, a]), 1.0, 1.0)
    agree(lambda a, b: [a, b] >= [b, a], 1.0, 2.0)
    agree(lambda a, b: (a, (b, 1)) < (a, (b, 2)), 1.0, 1.0)
    agree(lambda a: ((a, 1) < (a, 1, 2), (a, 1) == (a, 1, 2)), 1.0)
    agree(lambda a, b: ((a, b) in [(1.0, 2.0), (a, 3.0)], (a, b) not in ((b, a),)), 1.0, 2.0)
    agree(lambda a, b: (a, 1.0) < (b, 2.0) <= (b, 3.0), 1.0, 1.0)


def test_the_same_nan_is_equal_and_another_one_is_not() -> None:
    agree(lambda a: (a, 1) == (a, 1), math.nan)
    agree(lambda a: (a * 1, 1) == (a + 0, 1), math.nan)


def test_the_greatest_tuple_of_a_loop() -> None:
    def greatest(x: Any) -> Any:
        best = (x[0], x[1])
        for i in range(2, len(x), 2):
            candidate = (x[i], x[i + 1])
            if candidate > best:
                best = candidate
        return best

    agree(greatest, LONG)


texts = st.tuples(*[st.sampled_from(["0", "1", "2", "nan"])] * 3)


@given(texts, texts)
def test_any_sequences(left: tuple[str, ...], right: tuple[str, ...]) -> None:
    a, b = tuple(map(float, left)), tuple(map(float, right))  # no NaN is the same object as another
    compiled = _orders(a, b)
    assert compiled == (a < b, a <= b, a > b, a >= b, a == b, a != b)


@jitnet.jit
def _orders(a: Any, b: Any) -> Any:
    return a < b, a <= b, a > b, a >= b, a == b, a != b
