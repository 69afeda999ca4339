"""Stacks: lists that grow and shrink as the data says.

Searches and fills without recursion, brackets and expressions, monotonic stacks, intervals that are
merged into the last one, hulls that take points back.
"""

from __future__ import annotations

import numpy as np

from .program import Program


def flood_fill_stack(image, row, column, colour):
    """Paint the region of `image` [h, w] that (row, column) is in; how many pixels it has."""
    h, w = image.shape
    old = image[row, column]
    if old == colour:
        return image, 0
    painted = 0
    stack = [(row, column)]
    while stack:
        i, j = stack.pop()
        if i < 0 or i >= h or j < 0 or j >= w or image[i, j] != old:
            continue
        image[i, j] = colour
        painted += 1
        stack.append((i + 1, j))
        stack.append((i - 1, j))
        stack.append((i, j + 1))
        stack.append((i, j - 1))
    return image, painted


def depth_first(indptr, neighbours, source):
    """Nodes in the order in which a search in depth meets them, and the tree's parents [n]."""
    n = len(indptr) - 1
    parent = np.full(n, -1)
    seen = np.zeros(n, dtype=bool)
    order = []
    stack = [source]
    while stack:
        node = stack.pop()
        if seen[node]:
            continue
        seen[node] = True
        order.append(node)
        for other in neighbours[indptr[node] : indptr[node + 1]][::-1]:
            if not seen[other]:
                parent[other] = node
                stack.append(other)
    return np.array(order), parent


def label_components(mask):
    """Regions of neighbouring True in `mask` [h, w]: labels from 1, and the size of each region."""
    h, w = mask.shape
    labels = np.zeros((h, w), dtype=np.int64)
    sizes = []
    count = 0
    for i in range(h):
        for j in range(w):
            if not mask[i, j] or labels[i, j] > 0:
                continue
            count += 1
            labels[i, j] = count
            size = 0
            stack = [(i, j)]
            while len(stack) > 0:
                y, x = stack.pop()
                size += 1
                for dy, dx in ((1, 0), (-1, 0), (0, 1), (0, -1)):
                    v, u = y + dy, x + dx
                    if 0 <= v < h and 0 <= u < w and mask[v, u] and labels[v, u] == 0:
                        labels[v, u] = count
                        stack.append((v, u))
            sizes.append(size)
    return labels, sizes


def strong_components(indptr, neighbours):
    """Tarjan's strongly connected components of a directed graph: the number of each node's [n]."""
    n = len(indptr) - 1
    number = np.full(n, -1)
    low = np.zeros(n, dtype=np.int64)
    on_stack = np.zeros(n, dtype=bool)
    component = np.full(n, -1)
    counter = found = 0
    stack = []
    for root in range(n):
        if number[root] >= 0:
            continue
        calls = [(root, indptr[root])]
        number[root] = low[root] = counter
        counter += 1
        stack.append(root)
        on_stack[root] = True
        while calls:
            node, edge = calls.pop()
            if edge < indptr[node + 1]:
                calls.append((node, edge + 1))
                other = neighbours[edge]
                if number[other] < 0:
                    number[other] = low[other] = counter
                    counter += 1
                    stack.append(other)
                    on_stack[other] = True
                    calls.append((other, indptr[other]))
                elif on_stack[other]:
                    low[node] = min(low[node], number[other])
                continue
            if calls:
                above = calls[-1][0]
                low[above] = min(low[above], low[node])
            if low[node] == number[node]:
                while True:
                    member = stack.pop()
                    on_stack[member] = False
                    component[member] = found
                    if member == node:
                        break
                found += 1
    return component, found


def quicksort(values):
    """`values` [n] in order, in place, and how deep the stack of parts got."""
    deepest = 0
    stack = [(0, len(values) - 1)]
    while stack:
        deepest = max(deepest, len(stack))
        low, high = stack.pop()
        if low >= high:
            continue
        pivot = values[(low + high) // 2]
        i, j = low, high
        while i <= j:
            while values[i] < pivot:
                i += 1
            while values[j] > pivot:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if j - low > high - i:
            stack.append((low, j))
            stack.append((i, high))
        else:
            stack.append((i, high))
            stack.append((low, j))
    return deepest


def largest_rectangle(heights):
    """The largest rectangle in a histogram of `heights` [n]: its area, and where it begins."""
    best, start = 0, 0
    stack = []
    n = len(heights)
    for i in range(n + 1):
        height = heights[i] if i < n else 0
        while stack and heights[stack[-1]] >= height:
            top = heights[stack.pop()]
            left = stack[-1] + 1 if stack else 0
            area = top * (i - left)
            if area > best:
                best, start = area, left
        stack.append(i)
    return best, start


def next_greater(values):
    """For each of `values` [n], where the next greater one is, -1 where there is none."""
    n = len(values)
    out = np.full(n, -1)
    waiting = []
    for i in range(n):
        while waiting and values[waiting[-1]] < values[i]:
            out[waiting.pop()] = i
        waiting.append(i)
    return out, waiting


def trapped_rain(heights):
    """The water that stays between walls of `heights` [n], layer by layer."""
    water = 0
    stack = []
    for i, h in enumerate(heights):
        while stack and heights[stack[-1]] < h:
            bottom = heights[stack.pop()]
            if not stack:
                break
            left = stack[-1]
            water += (i - left - 1) * (min(heights[left], h) - bottom)
        stack.append(i)
    return water


def matching_brackets(text):
    """For codes of characters `text` [n], where the partner of each bracket is [n], -1 for others;
    the first one that has none, or n."""
    partner = np.full(len(text), -1)
    opened = []
    for i, c in enumerate(text):
        if c == ord("(") or c == ord("[") or c == ord("{"):
            opened.append(i)
        elif c == ord(")") or c == ord("]") or c == ord("}"):
            if not opened:
                return partner, i
            j = opened.pop()
            if c - text[j] > 2:
                return partner, i
            partner[i] = j
            partner[j] = i
    if opened:
        return partner, opened[0]
    return partner, len(text)


def reverse_polish(kinds, numbers):
    """Values of an expression in reverse Polish notation: `kinds` [n] are 0 for a number, which is
    in `numbers` [n], and 1 to 4 for + - * /."""
    stack = []
    for kind, number in zip(kinds, numbers):
        if kind == 0:
            stack.append(number)
            continue
        b = stack.pop()
        a = stack.pop()
        if kind == 1:
            stack.append(a + b)
        elif kind == 2:
            stack.append(a - b)
        elif kind == 3:
            stack.append(a * b)
        else:
            stack.append(a / b)
    assert len(stack) == 1
    return stack[-1]


def infix(tokens):
    """The value of an expression in `tokens` [n], by two stacks: numbers from 0 on, and -1 to -5
    for + - * ( )."""
    values = []
    operators = []
    for token in tokens:
        if token >= 0:
            values.append(token)
        elif token == -4:
            operators.append(token)
        else:
            while operators and operators[-1] != -4 and (token == -5 or operators[-1] <= token):
                operator = operators.pop()
                right = values.pop()
                left = values.pop()
                if operator == -1:
                    values.append(left + right)
                elif operator == -2:
                    values.append(left - right)
                else:
                    values.append(left * right)
            if token == -5:
                operators.pop()
            else:
                operators.append(token)
    return values[0], len(operators)


def merge_intervals(intervals):
    """The union of `intervals` [n, 2] as intervals that do not touch [m, 2], and its length."""
    merged = []
    for start, end in intervals[np.argsort(intervals[:, 0], kind="stable")]:
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    covered = 0.0
    for start, end in merged:
        covered += end - start
    return np.array(merged), covered


def cross(o, a, b):
    """Twice the area of the triangle, positive where it turns left."""
    return (a[0] - o[0]) * (b[1] - o[1]) - (a[1] - o[1]) * (b[0] - o[0])


def half_hull(points):
    """The lower hull of `points` [n, 2] from left to right, as a list of rows."""
    chain = []
    for p in points:
        while len(chain) >= 2 and cross(chain[-2], chain[-1], p) <= 0:
            chain.pop()
        chain.append(p)
    return chain


def convex_hull(points):
    """Andrew's monotone chain: the corners of the convex hull of `points` [n, 2], [m, 2]."""
    order = np.lexsort((points[:, 1], points[:, 0]))
    ordered = points[order]
    lower = np.array(half_hull(ordered))
    upper = np.array(half_hull(ordered[::-1]))
    return np.concatenate((lower[:-1], upper[:-1]))


def longest_increasing(values):
    """How long a strictly increasing subsequence of `values` [n] can be: patience sorting."""
    tails = []
    for v in values:
        low, high = 0, len(tails)
        while low < high:
            middle = (low + high) // 2
            if tails[middle] < v:
                low = middle + 1
            else:
                high = middle
        if low == len(tails):
            tails.append(v)
        else:
            tails[low] = v
    return len(tails), np.array(tails)


def pattern_search(text, pattern):
    """Knuth, Morris and Pratt: where a pattern begins in a text."""
    fail = [0] * len(pattern)
    k = 0
    for i in range(1, len(pattern)):
        while k and pattern[k] != pattern[i]:
            k = fail[k - 1]
        if pattern[k] == pattern[i]:
            k += 1
        fail[i] = k
    hits, k = [], 0
    for i, c in enumerate(text):
        while k and pattern[k] != c:
            k = fail[k - 1]
        if pattern[k] == c:
            k += 1
        if k == len(pattern):
            hits.append(i - k + 1)
            k = fail[k - 1]
    return hits


# -- arguments -------------------------------------------------------------------------------------


def _searched_text(rng, n):
    return rng.integers(0, 2, n), np.array([0, 1, 0, 0, 1])


def _image(rng, n):
    smooth = np.add.outer(np.sin(np.arange(n) / 9.0), np.sin(np.arange(n) / 7.0))
    return (smooth + 0.3 * rng.random((n, n)) > -0.7).astype(np.int64), n // 2, n // 2, 7


def _graph(rng, n, degree):
    edges = rng.random((n, n)) < degree / n
    indptr = np.concatenate(([0], np.cumsum(edges.sum(axis=1))))
    return indptr, np.nonzero(edges)[1]


def _searched(rng, n, degree):
    return *_graph(rng, n, degree), 0


def _mask(rng, n):
    return (rng.random((n, n)) < 0.55,)


def _numbers(rng, n):
    return (rng.random(n),)


def _heights(rng, n):
    return (rng.integers(0, 60, n),)


def _text(rng, n):
    codes = []
    opened = []
    for _ in range(n):
        kind = rng.integers(0, 5)
        if kind < 2:
            opened.append("([{"[rng.integers(0, 3)])
            codes.append(opened[-1])
        elif kind < 4 and opened:
            codes.append({"(": ")", "[": "]", "{": "}"}[opened.pop()])
        else:
            codes.append("x")
    return (np.array([ord(c) for c in codes]),)


def _polish(rng, n):
    kinds, depth = [], 0
    while len(kinds) < n or depth > 1:
        number = depth < 2 or (len(kinds) < n and rng.random() < 0.5)
        kinds.append(0 if number else int(rng.integers(1, 5)))
        depth += 1 if number else -1
    return np.array(kinds), rng.random(len(kinds)) + 0.5


def _infix(rng, n):
    tokens, depth = [-4], 1
    while len(tokens) < n:
        while rng.random() < 0.3:
            tokens.append(-4)
            depth += 1
        tokens.append(int(rng.integers(0, 3)))
        while depth > 1 and rng.random() < 0.3:
            tokens.append(-5)
            depth -= 1
        tokens.append(-int(rng.integers(1, 4)))
    return (np.array([*tokens, 1, *[-5] * depth]),)


def _intervals(rng, n):
    start = rng.random(n) * n
    return (np.stack([start, start + rng.random(n) * 2], axis=1),)


def _points(rng, n):
    return (rng.normal(size=(n, 2)).round(2),)


PROGRAMS = (
    Program(
        "pattern_search",
        pattern_search,
        _searched_text,
        {"test": {"n": 60}, "bench": {"n": 40_000}},
    ),
    Program(
        "flood_fill_stack",
        flood_fill_stack,
        _image,
        {"test": {"n": 9}, "bench": {"n": 200}},
        numba=True,
    ),
    Program(
        "depth_first",
        depth_first,
        _searched,
        {"test": {"n": 15, "degree": 3}, "bench": {"n": 3000, "degree": 10}},
    ),
    Program(
        "label_components",
        label_components,
        _mask,
        {"test": {"n": 8}, "bench": {"n": 120}},
        numba=True,
    ),
    Program(
        "strong_components",
        strong_components,
        _graph,
        {"test": {"n": 14, "degree": 1}, "bench": {"n": 3000, "degree": 3}},
    ),
    Program(
        "quicksort", quicksort, _numbers, {"test": {"n": 30}, "bench": {"n": 20_000}}, numba=True
    ),
    Program(
        "largest_rectangle",
        largest_rectangle,
        _heights,
        {"test": {"n": 20}, "bench": {"n": 50_000}},
        numba=True,
    ),
    Program(
        "next_greater",
        next_greater,
        _numbers,
        {"test": {"n": 20}, "bench": {"n": 50_000}},
        numba=True,
    ),
    Program(
        "trapped_rain",
        trapped_rain,
        _heights,
        {"test": {"n": 20}, "bench": {"n": 50_000}},
        numba=True,
    ),
    Program(
        "matching_brackets",
        matching_brackets,
        _text,
        {"test": {"n": 30}, "bench": {"n": 50_000}},
        numba=True,
    ),
    Program(
        "reverse_polish",
        reverse_polish,
        _polish,
        {"test": {"n": 15}, "bench": {"n": 50_000}},
        numba=True,
    ),
    Program("infix", infix, _infix, {"test": {"n": 20}, "bench": {"n": 30_000}}, numba=True),
    Program(
        "merge_intervals",
        merge_intervals,
        _intervals,
        {"test": {"n": 12}, "bench": {"n": 20_000}},
    ),
    Program("convex_hull", convex_hull, _points, {"test": {"n": 20}, "bench": {"n": 5000}}),
    Program(
        "longest_increasing",
        longest_increasing,
        _numbers,
        {"test": {"n": 20}, "bench": {"n": 10_000}},
    ),
)
