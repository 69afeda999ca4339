"""Lists that have grown in a loop, where something else keeps them: calls, containers, results."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import pytest

from jitnet import jit


def positive(x):
    found = [x[1]]
    for v in x:
        if v > 0:
            found.append(v)
    return found


class Stack:
    def __init__(self):
        self.items = None

    def take(self, items):
        self.items = items
        items.append(9.0)


class Counter:
    def __call__(self, items):
        items.append(7.0)
        return len(items)


@dataclass
class Node:
    items: list


def in_an_argument(x, rows):
    rows[0] = positive(x)


def as_the_only_item_of_an_argument(x, rows):
    del rows[1]
    rows[0] = positive(x)


def appended_to_an_argument(x, rows):
    found = positive(x)
    rows.append(found)
    return found


def inserted_into_an_argument(x, rows):
    found = positive(x)
    rows.insert(0, found)
    found.append(2.0)


def appended_to_a_list(x, rows):
    found, out = positive(x), []
    out.append(found)
    found.append(1.0)
    return out


def given_to_a_method(x, rows):
    found, stack = positive(x), Stack()
    stack.take(found)
    return found, stack.items


def given_to_an_object(x, rows):
    found = positive(x)
    return Counter()(found), found


def given_to_a_class(x, rows):
    found = positive(x)
    node = Node(found)
    node.items.append(5.0)
    return found


def given_by_a_partial(x, rows):
    found = positive(x)
    functools.partial(list.append, found)(3.0)
    return found


def set_as_a_default(x, rows):
    found, table = positive(x), {}
    table.setdefault("k", found).append(1.0)
    return table, found


def extending_another_one(x, rows):
    rows[0].extend(positive(x))
    out = [1.0]
    out.extend(positive(x))
    return out


def exchanged_while_a_dict_knows_one(x, rows):
    b, c = [x[1], x[2]], [x[2], x[0]]
    box = {"k": b}
    for _ in range(9):
        b.append(x[0])
        c, b = b, c
    return box["k"]


def bound_anew_while_a_dict_knows_it(x, rows):
    b = [x[1], x[2]]
    box = {"k": b}
    if x[1] > x[0]:
        steps = 0
        while steps < x[1] * 9:
            b = [steps, x[0]]
            steps += 1
        for _ in range(3):
            box["k"].append(x[0])
    return box


def written_by_data_while_exchanged(x, rows):
    b, c = [x[1], x[2]], [x[2], x[0]]
    box = {"k": b}
    for _ in range(9):
        b[int(x[2] > x[1])] = x[0]
        c, b = b, c
    return box["k"]


def same_lists(a, b):
    """Whether two results are the same lists of the same numbers, of whichever class of floats."""
    if isinstance(a, float):
        return a == b
    if isinstance(a, dict):
        return type(b) is dict and a.keys() == b.keys() and all(same_lists(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(same_lists, a, b))
    return type(a) is type(b) and a == b


@pytest.mark.parametrize("x", [[0.3, 1.2, 0.7], [1.5, -0.2, 0.9]], ids=str)
@pytest.mark.parametrize(
    "fn",
    [
        *(in_an_argument, as_the_only_item_of_an_argument, appended_to_an_argument),
        *(inserted_into_an_argument, appended_to_a_list, given_to_a_method, given_to_an_object),
        *(given_to_a_class, given_by_a_partial, set_as_a_default, extending_another_one),
        *(exchanged_while_a_dict_knows_one, bound_anew_while_a_dict_knows_it),
        written_by_data_while_exchanged,
    ],
)
def test_it_is_that_list(fn, x):
    plain, rows = [[1.0, 2.0], [3.0, 4.0]], [[1.0, 2.0], [3.0, 4.0]]
    expected = fn(np.array(x), plain)
    found = jit(fn)(np.array(x), rows)
    assert same_lists((found, rows), (expected, plain))
