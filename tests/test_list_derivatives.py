"""Derivatives and lanes through lists and deques from which items are taken, and heaps."""

from __future__ import annotations

import heapq
from collections import deque
from typing import Any

import numpy as np
import pytest

from jitnet import grad, jit, vmap
from jitnet.testing import check_grads

RNG = np.random.default_rng(3)
X = RNG.random(24)
K = RNG.integers(0, 12, 24)


def taken_from_a_stack(x: Any) -> Any:
    stack, s = [], 0.0
    for v in x:
        stack.append(v * v)
        if v > 0.5:
            s = s + stack.pop() * stack[-1] if len(stack) > 1 else s
        if v > 0.8 and stack:
            stack[-1] = stack[0] * v
    for v in stack:
        s = s * 0.9 + np.sin(v)
    return s


def taken_from_a_queue(x: Any) -> Any:
    queue, s = deque(), 0.0
    for v in x:
        if v > 0.5:
            queue.append(np.exp(v))
        elif v > 0.2:
            queue.appendleft(v * 3)
        elif len(queue) > 2:
            s = s + queue.popleft() * queue[1]
    return s + queue[0] * queue[-1]


def taken_from_a_heap(x: Any) -> Any:
    heap, s = [], 0.0
    for i in range(len(x)):
        heapq.heappush(heap, (x[i] * x[i], i))
    while len(heap) > 1:
        v, i = heapq.heappop(heap)
        s = s * 0.9 + v * x[i]
        if i % 3 == 0:
            heapq.heappush(heap, (v + x[i] + 1, i // 2 + 1))
    return s


def level_after_level(x: Any) -> Any:
    level, total = [x[0]], 0.0
    for v in x:
        following = []
        for w in level:
            following.append(w * v)
            if v > 0.8:
                following.append(w + v)
        level = following
        total = total + level[-1]
    return total


def by_index(x: Any, k: Any) -> Any:
    cells = [x[0], x[1], x[2], x[3], x[4], x[5]]
    for i in k:
        cells[i % 6] = cells[(i + 1) % 6] * 0.5 + x[i]
    return cells[0] * cells[1] + cells[2] * cells[3]


DIFFERENTIABLE = [
    (taken_from_a_stack, ()),
    (taken_from_a_queue, ()),
    (taken_from_a_heap, ()),
    (level_after_level, ()),
    (by_index, (K,)),
]


@pytest.mark.parametrize(
    ("fn", "rest"), DIFFERENTIABLE, ids=[fn.__name__ for fn, _ in DIFFERENTIABLE]
)
def test_derivatives(fn: Any, rest: Any) -> None:
    check_grads(lambda x: fn(x, *rest), (X,), order=1)


def test_second_derivatives() -> None:
    check_grads(taken_from_a_stack, (X[:6],), order=2)


def test_lists_of_ints_decide_what_is_differentiated() -> None:
    def f(x: Any) -> Any:
        stack, s = [0], 0.0
        while stack:
            i = stack.pop()
            s = s + np.sin(x[i]) * x[i]
            if 2 * i + 2 < len(x):
                if x[i] > 0.2:
                    stack.append(2 * i + 1)
                stack.append(2 * i + 2)
        return s

    check_grads(f, (X[:12],), order=2)


def test_lanes_have_lists_of_their_own() -> None:
    def f(x: Any, w: Any) -> Any:
        stack, s = [0], 0.0
        while stack:
            i = stack.pop()
            s = s + w * x[i]
            if i < 5 and x[i] > 0.3:
                stack.append(2 * i + 1)
                stack.append(2 * i + 2)
        return s

    rows = RNG.random((6, 20))
    got = jit(vmap(f, in_axes=(0, None)))(rows, 2.0)
    np.testing.assert_allclose(got, [f(row, 2.0) for row in rows])
    slopes = jit(vmap(grad(f), in_axes=(0, None)))(rows, 2.0)
    np.testing.assert_allclose(slopes, [grad(f)(row, 2.0) for row in rows])
