"""Trees: nested tuples that a recursive function walks, and trees that lie in arrays.

A nested tuple is static structure: its shape is part of the program. A tree in arrays is walked by
`while` loops whose path depends on the data.
"""

from __future__ import annotations

import numpy as np

from .program import Program


def encode(tree, words, W, b):
    """A recursive network: the vector [n] of a sentence's parse `tree`, nested pairs of positions
    in `words` [count, n]."""
    if isinstance(tree, int):
        return words[tree]
    left, right = (encode(child, words, W, b) for child in tree)
    return np.tanh(W @ np.concatenate((left, right)) + b)


def sentiment(trees, words, W, b, V):
    """The class probabilities [sentences, classes] of some parse trees."""
    scores = np.array([V @ encode(tree, words, W, b) for tree in trees])
    e = np.exp(scores - scores.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def tree_lstm(tree, words, params):
    """A binary tree LSTM: hidden and cell state [n] of nested pairs."""
    if not isinstance(tree, tuple):
        x = words[tree]
        return np.tanh(x), x
    (hl, cl), (hr, cr) = tree_lstm(tree[0], words, params), tree_lstm(tree[1], words, params)
    n = len(hl)
    gates = params["left"] @ hl + params["right"] @ hr + params["bias"]
    i, fl, fr, o = (1 / (1 + np.exp(-gates[k * n : (k + 1) * n])) for k in range(4))
    c = i * np.tanh(gates[4 * n :]) + fl * cl + fr * cr
    return o * np.tanh(c), c


def evaluate(expression, x):
    """An expression as nested tuples, ("+", a, b) and the like, at `x` [n]."""
    if isinstance(expression, str):
        return x
    if not isinstance(expression, tuple):
        return expression
    operation, *operands = expression
    values = [evaluate(operand, x) for operand in operands]
    if operation == "+":
        return values[0] + values[1]
    if operation == "*":
        return values[0] * values[1]
    if operation == "sin":
        return np.sin(values[0])
    if operation == "exp":
        return np.exp(values[0])
    raise ValueError(f"no such operation: {operation}")


def fitness(expressions, x, y):
    """The mean squared errors of some `expressions` against `y` [n], and the best of them."""
    errors = [np.mean((evaluate(e, x) - y) ** 2) for e in expressions]
    best, least = 0, errors[0]
    for k, error in enumerate(errors):
        if error < least:
            best, least = k, error
    return errors, best


def forest(x, features, thresholds, children, leaves):
    """A forest of decision trees in arrays [trees, nodes], `children` [trees, nodes, 2] with -1
    below a leaf: mean prediction for each row of `x` [n, p]."""
    prediction = np.zeros(x.shape[0])
    for i in range(x.shape[0]):
        for t in range(features.shape[0]):
            node = 0
            while children[t, node, 0] >= 0:
                side = 0 if x[i, features[t, node]] <= thresholds[t, node] else 1
                node = children[t, node, side]
            prediction[i] += leaves[t, node]
    return prediction / features.shape[0]


def forest_vector(x, features, thresholds, children, leaves):
    """The same forest, all rows of `x` [n, p] a level at a time until all are at leaves."""
    trees = features.shape[0]
    total = np.zeros(len(x))
    rows = np.arange(len(x))
    for t in range(trees):
        node = np.zeros(len(x), dtype=np.intp)
        while True:
            inner = children[t, node, 0] >= 0
            if not np.any(inner):
                break
            right = x[rows, features[t, node]] > thresholds[t, node]
            node = np.where(inner, children[t, node, right.astype(int)], node)
        total += leaves[t, node]
    return total / trees


def heap_sort(x):
    """Sort `x` [n] in place by a binary heap."""

    def sift(start, end):
        root = start
        while 2 * root + 1 < end:
            child = 2 * root + 1
            if child + 1 < end and x[child] < x[child + 1]:
                child += 1
            if x[root] >= x[child]:
                return
            x[root], x[child] = x[child], x[root]
            root = child

    n = len(x)
    for start in range(n // 2 - 1, -1, -1):
        sift(start, n)
    for end in range(n - 1, 0, -1):
        x[0], x[end] = x[end], x[0]
        sift(0, end)


def search_tree(keys):
    """A binary search tree in arrays, `keys` [n] inserted one by one; gives the links, the depth of
    each key, and the keys in order, by a walk with a stack."""
    n = keys.size
    left = np.full(n, -1)
    right = np.full(n, -1)
    depth = np.zeros(n, dtype=np.int64)
    for k in range(1, n):
        node = 0
        while True:
            depth[k] += 1
            link = left if keys[k] < keys[node] else right
            if link[node] < 0:
                link[node] = k
                break
            node = link[node]
    stack = np.empty(n, dtype=np.int64)
    ordered = np.empty_like(keys)
    top = filled = 0
    node = 0
    while top > 0 or node >= 0:
        if node >= 0:
            stack[top] = node
            top += 1
            node = left[node]
        else:
            top -= 1
            node = stack[top]
            ordered[filled] = keys[node]
            filled += 1
            node = right[node]
    return ordered, depth, left, right


# -- arguments -------------------------------------------------------------------------------------


def _parse(rng, low, high):
    if high - low == 1:
        return low
    middle = int(rng.integers(low + 1, high))
    return _parse(rng, low, middle), _parse(rng, middle, high)


def _sentences(rng, sentences, length, n):
    trees = tuple(_parse(rng, 0, length) for _ in range(sentences))
    W = rng.standard_normal((n, 2 * n)) / np.sqrt(2 * n)
    return trees, rng.standard_normal((length, n)), W, np.zeros(n), rng.standard_normal((3, n))


def _parsed(rng, length, n):
    params = {side: rng.standard_normal((5 * n, n)) / np.sqrt(n) for side in ("left", "right")}
    params["bias"] = np.zeros(5 * n)
    return _parse(rng, 0, length), rng.standard_normal((length, n)), params


def _expressions(rng, n):
    expressions = [
        ("+", ("*", 2.0, "x"), ("sin", ("*", 3, "x"))),
        ("exp", ("*", -0.5, ("*", "x", "x"))),
        ("*", ("sin", "x"), ("+", "x", ("exp", ("sin", "x")))),
        "x",
    ]
    x = rng.uniform(-2, 2, n)
    return expressions, x, np.sin(3 * x) + 2 * x + 0.1 * rng.standard_normal(n)


def _forest(rng, n, p, trees, depth):
    nodes = 2 ** (depth + 1) - 1
    child = np.arange(nodes)
    children = np.stack((2 * child + 1, 2 * child + 2), axis=1)
    children[2**depth - 1 :] = -1
    return (
        rng.random((n, p)),
        rng.integers(0, p, (trees, nodes)),
        rng.random((trees, nodes)),
        np.tile(children, (trees, 1, 1)),
        rng.standard_normal((trees, nodes)),
    )


def _keys(rng, n):
    return (rng.permutation(4 * n)[:n].astype(float),)


PROGRAMS = (
    Program(
        "sentiment",
        sentiment,
        _sentences,
        {
            "test": {"sentences": 2, "length": 5, "n": 4},
            "bench": {"sentences": 40, "length": 24, "n": 96},
        },
        tolerance=1e-11,
    ),
    Program(
        "tree_lstm",
        tree_lstm,
        _parsed,
        {"test": {"length": 6, "n": 4}, "bench": {"length": 300, "n": 64}},
        tolerance=1e-11,
    ),
    Program("fitness", fitness, _expressions, {"test": {"n": 20}, "bench": {"n": 200_000}}),
    Program(
        "forest",
        forest,
        _forest,
        {
            "test": {"n": 6, "p": 3, "trees": 3, "depth": 3},
            "bench": {"n": 500, "p": 10, "trees": 20, "depth": 7},
        },
        numba=True,
    ),
    Program(
        "forest_vector",
        forest_vector,
        _forest,
        {
            "test": {"n": 6, "p": 3, "trees": 3, "depth": 3},
            "bench": {"n": 5000, "p": 10, "trees": 20, "depth": 7},
        },
    ),
    Program("heap_sort", heap_sort, _keys, {"test": {"n": 25}, "bench": {"n": 8000}}, numba=True),
    Program(
        "search_tree", search_tree, _keys, {"test": {"n": 20}, "bench": {"n": 10_000}}, numba=True
    ),
)
