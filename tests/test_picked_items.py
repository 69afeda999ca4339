"""Items of known lists, tuples and dicts that data picks: arrays, tuples, numbers by keys."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import jitnet
from jitnet import errors, jit
from jitnet.testing import check_grads

X = np.array([1.0, 2.0, 3.0])
STEPS = [[0, 1, 1, 0, 1], [1, 0, 1], [-1, -2, 0, 1], [2, 0]]


def outcome(fn, *args):
    """What a call returns and leaves in its arguments; of an error the class that NumPy has."""
    try:
        return repr((fn(*args), args))
    except (IndexError, KeyError) as error:
        return "IndexError" if isinstance(error, IndexError) else "KeyError"


def check(fn, *args):
    expected = outcome(fn, *copy.deepcopy(args))
    assert outcome(jit(fn), *copy.deepcopy(args)) == expected


def replaced(x, steps):
    arrays = [x * 1, x * 2, x * 3]
    for i, k in enumerate(steps):
        arrays[k] = x * i
    return arrays


def changed(x, steps):
    arrays = [x * 1, x * 2, x * 3]
    for k in steps:
        arrays[k] += 1.0
        arrays[k][1] *= 2.0
    return arrays


def read(x, steps):
    weights = [np.outer(x, x), np.eye(3), np.ones((3, 3))]
    h = x
    for k in steps:
        h = np.tanh(weights[k] @ h)
    return h


def read_pairs(x, steps):
    layers = [(np.outer(x, x), x), (np.eye(3), x * 2), (np.ones((3, 3)), x * 3)]
    h = x
    for k in steps:
        w, b = layers[k]
        h = np.tanh(w @ h + b)
    return h


def of_unlike_extents(x, steps):
    return [x[:1], x[:2] * 2, x][steps[0]]


def the_arguments_own(x, steps):
    y = x * 2
    chosen = (x, y, x)[steps[1]]
    chosen *= 3
    return x, y


def twice_the_same(x, steps):
    arrays = [x, x, x * 2]
    arrays[steps[0]][1] = 5
    return arrays[steps[1]]


def lists(x, steps):
    rows = [[x[0]], [x[1]], [x[2]]]
    for i, k in enumerate(steps):
        rows[k] = [x[i % 3] * 10]
    return rows


def dicts(x, steps):
    items = [{"a": x[0]}, {"a": x[1]}, {"a": x[2]}]
    for i, k in enumerate(steps):
        items[k] = {"a": x[0] * i}
    return items


def swapped(x, steps):
    arrays = [x * 1, x * 2, x * 3]
    for k in steps:
        arrays[k], arrays[0] = arrays[0], arrays[k]
    return arrays


@pytest.mark.parametrize("steps", STEPS, ids=str)
@pytest.mark.parametrize(
    "fn",
    [
        *(replaced, changed, read, read_pairs, of_unlike_extents, the_arguments_own),
        *(twice_the_same, lists, dicts, swapped),
    ],
)
def test_items_of_lists(fn, steps):
    check(fn, X, np.array(steps))


def counted(x, steps):
    counts = {0: 0, 1: 0, 2: 0}
    for k in steps:
        counts[k] += 1
    return counts


def binned(x, steps):
    bins = {k: np.zeros(3) for k in range(3)}
    for k in steps:
        bins[k] += x
    return bins


def automaton(x, steps):
    table = {(0, 0): 1, (0, 1): 0, (1, 0): 0, (1, 1): 1}
    state = 0
    for k in steps:
        state = table[state, k]
    return state


def of_words(x, steps):
    table = {"even": {0: "even", 1: "odd"}, "odd": {0: "odd", 1: "even"}}
    state = "even"
    for k in steps:
        state = table[state][k]
    return state


def or_a_default(x, steps):
    table, total = {1: 2.5, 2: -1.0, "other": 3.0}, 0.0
    for k in steps:
        total += table.get(k, 100.0)
        if k in table and table.get(k) < 0:
            total *= 2
    return total


def equal_keys_of_other_classes(x, steps):
    return {0: x, 1.0: -x, np.int8(2): x * 2, 0.5: x * 3}[steps[0]]


def by_truth(x, steps):
    return {True: x, False: -x}[steps[0] > 0]


@pytest.mark.parametrize("steps", STEPS, ids=str)
@pytest.mark.parametrize(
    "fn",
    [counted, binned, automaton, of_words, or_a_default, by_truth, equal_keys_of_other_classes],
)
def test_items_of_dicts(fn, steps):
    check(fn, X, np.array(steps))


def test_a_helper_that_changes_a_list_by_place():
    def put(cells, k, v):
        cells[k] = v

    def f(x, steps):
        cells = [x[:1], x[:2], x]
        for k in steps:
            put(cells, k, x * 7)
        return cells

    check(f, X, np.array([2, 0]))


def test_gradients_go_to_the_item():
    def loss(weights, steps):
        h = X
        for k in steps:
            h = np.tanh(weights[k] @ h)
        return h.sum()

    weights = [np.outer(X, X) / 9, np.eye(3) / 2, np.ones((3, 3)) / 3]
    check_grads(lambda *w: loss(list(w), np.array([0, 1, 1])), weights)
    check_grads(lambda *w: loss(list(w), np.array([2])), weights)
    only_last = jit(jitnet.grad(loss))(weights, np.array([2, 2]))
    assert [g.any() for g in only_last] == [False, False, True]


def test_what_cannot_be_one_of_several_is_refused():
    def unlike(x, steps):
        return [x, np.outer(x, x)][steps[0]].sum()

    def with_new_key(x, steps):
        cells = {0: 1.0, 1: 2.0}
        cells[steps[0]] = 5.0
        return cells

    with pytest.raises(errors.ConcretizationError, match="an item of a list that data picks"):
        jit(unlike)(X, np.array([0]))
    assert jit(with_new_key)(X, np.array([1])) == {0: 1.0, 1: 5.0}
    with pytest.raises(errors.UnsupportedFunctionError, match="a new key in a dict, 7"):
        jit(with_new_key)(X, np.array([7]))
