"""Lists of which the program decides the length, where paths meet: bound in an arm, added, doubled.

Each program is compared with what Python does, on lists that stay short and lists that grow.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
import pytest
from agreement import agree

import jitnet
from jitnet import errors, grad, vmap


def filtered_again(x, a):
    out = [e for e in x if e > a]
    if len(out) > 2:
        new = []
        for e in out:
            if e > a + 0.5:
                new.append(e)
        out = new
    return np.array(out)


def one_or_the_other(x, a):
    if x[0] > 0:
        out = [e for e in x if e > a]
    else:
        out = [e * 2 for e in x if e < a]
    out.append(1.0)
    return np.array(out), len(out)


def known_or_grown(x, a):
    out = [1.0, x[1]]
    if x[0] > 0:
        out = [e for e in x if e > a]
    return np.array(out), sum(out)


def grown_or_known(x, a):
    out = [e for e in x if e > a]
    if len(out) > 3:
        out = [2.0]
    elif x[0] > 0:
        out = []
    return len(out), sum(out)


def candidates(x, a):
    out = x.tolist()
    for k in range(6):
        if len(out) < 3:
            break
        new = []
        for e in out:
            if e > a + 0.3 * k:
                new.append(e)
        out = new
    return np.array(out), k


def clipped(x, a):
    """Sutherland and Hodgman's loop: the polygon is clipped by one edge after the other."""
    m = np.stack([x, x[::-1]], axis=1)
    edges = np.array([[a, 0.0], [0.2, a], [-0.5, 0.5]])
    output = list(m)
    for i in range(len(edges)):
        given, output = output, []
        if not given:
            break
        s = given[-1]
        for e in given:
            if e @ edges[i] > a:
                if s @ edges[i] <= a:
                    output.append((s + e) / 2)
                output.append(e)
            s = e
    return np.round(output, 9), len(output)


def rounds(x, a):
    alive, count = list(x), 0
    while len(alive) > 1:
        following = [max(alive[i], alive[i + 1]) for i in range(0, len(alive) - 1, 2)]
        if len(alive) % 2:
            following += [alive[-1]]
        alive = following
        count += 1
    return alive[0], count


def two_names(x, a):
    out = [e for e in x if e > a]
    both = out
    if x[0] > 0:
        out = [e for e in x if e < a]
    out.append(100.0)
    return np.array(out), np.array(both), out is both


def exchanged(x, a):
    p = [e for e in x if e > a]
    q = [e for e in x if e <= a]
    if len(p) < len(q):
        p, q = q, p
    p.append(1.0)
    return np.array(p), np.array(q)


def in_a_dict(x, a):
    d = {"k": [e for e in x if e > a]}
    if x[0] > 0:
        d["k"] = [e for e in x if e < a]
    d["k"].append(1.0)
    return np.array(d["k"])


def queue(x, a):
    q = deque(e for e in x if e > a)
    if x[0] > 0:
        q = deque([1.0, 2.0])
    q += [3.0]
    while len(q) > 2:
        q.popleft()
    return np.array(q)


def of_pairs(x, a):
    if x[0] > 0:
        out = [(i, v) for i, v in enumerate(x) if v > a]
    else:
        out = [(0, x[1])]
    total = 0.0
    for i, v in out:
        total += i * v
    return total


def of_rows(x, a):
    m = np.outer(x, x)
    if x[0] > 0:
        kept = [r for r in m if r[0] > a]
    else:
        kept = [r * 2 for r in m if r[1] > a]
    total = np.zeros(len(x))
    for r in kept:
        total += r
    return total, len(kept)


def nothing_or_something(x, a):
    found = None
    if x[0] > 0:
        found = [e for e in x if e > a]
    if found is None:
        return -1.0
    return sum(found)


def returned(x, a):
    if x[0] > 0:
        return [e for e in x if e > a]
    return [1.0, 2.0]


def in_a_loop(x, a):
    sizes = np.zeros(6)
    for k in range(6):
        if x[k % len(x)] > a:
            current = [e for e in x if e > x[k % len(x)]]
        else:
            current = [0.5]
        sizes[k] = len(current) + sum(current)
    return sizes


def given(x, a, items):
    if x[0] > 0:
        items = [e for e in x if e > a]
    items.append(5.0)
    return sum(items)


def sums(x, a):
    low, high = [e for e in x if e < a], [e for e in x if e >= a]
    both = [np.array(low + high), np.array([2.0, 3.0] + high), np.array(low[1:] + low[:-1])]
    return both, len(low + [1.0]), sum([] + high), len(low + []), sum([1, 2] + high)


def extended(x, a):
    low = [e for e in x if e < a]
    same = low
    low += [5.0]
    low += [e for e in x if e > a + 1]
    low += (1.0, 2.0)
    return np.array(low), same is low


def extended_in_a_loop(x, a):
    found = [1.0]
    for e in x:
        if e > a:
            found += [e, 2 * e]
    return np.array(found)


def quicksort_step(x, a):
    pivot = x[0]
    return np.array([v for v in x[1:] if v < pivot] + [pivot] + [v for v in x[1:] if v >= pivot])


def doubled(x, a):
    low = [e for e in x if e < a]
    return np.array(low * 2), len(3 * low), [v + 1 for v in low + low]


def chains(x, a):
    """Monotone chains: two stacks without their last items."""
    out = [x[0]]
    for e in x[1:]:
        while len(out) > 1 and out[-1] > e:
            out.pop()
        out.append(e)
    back = [x[-1]]
    for e in x[::-1]:
        while len(back) > 1 and back[-1] < e:
            back.pop()
        back.append(e)
    return np.array(out[:-1] + back[:-1]), np.array(out[::-1] + back[1:])


PROGRAMS = [
    *(
        filtered_again,
        one_or_the_other,
        known_or_grown,
        grown_or_known,
        candidates,
        clipped,
        rounds,
    ),
    *(two_names, exchanged, in_a_dict, queue, of_pairs, of_rows, nothing_or_something, returned),
    *(in_a_loop, sums, extended, extended_in_a_loop, quicksort_step, doubled, chains),
]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda f: f.__name__)
def test_lists(program: Any) -> None:
    rng = np.random.default_rng
    agree(program, *((rng(s).normal(size=n), -0.2) for s in range(4) for n in (5, 40)), widens=True)


def test_a_list_of_the_callers() -> None:
    rng = np.random.default_rng
    agree(given, *((rng(s).normal(size=6), -0.2, [1.0, 2.0]) for s in range(4)), widens=True)


@pytest.mark.parametrize("program", [known_or_grown, exchanged, in_a_loop, sums, chains])
def test_derivatives_and_lanes(program: Any) -> None:
    def total(x):
        found = program(x, -0.2)
        parts = found if isinstance(found, tuple) else (found,)
        flat = [p for part in parts for p in (part if isinstance(part, list) else [part])]
        return sum(np.sum(p) * 1.0 for p in flat)

    x = np.random.default_rng(1).normal(size=6)
    expected = [(total(x + h) - total(x - h)) / 2e-6 for h in 1e-6 * np.eye(6)]
    np.testing.assert_allclose(grad(total)(x), expected, atol=1e-7)
    lanes = np.stack([x, -x, x[::-1]])
    np.testing.assert_allclose(vmap(total)(lanes), [total(v) for v in lanes])


def test_lists_of_unlike_items_are_refused() -> None:
    def unlike(x):
        if x[0] > 0:
            out = [e for e in x if e > 0]
        else:
            out = [(e, e) for e in x if e > 0]
        return len(out)

    with pytest.raises(errors.UnboundVariableError, match="a list of some items on one path"):
        jitnet.jit(unlike)(np.ones(5))


def test_indices_that_data_decides_do_not_unroll_a_loop() -> None:
    """The loop's counter would be known step by step; where a search stands is not."""

    def search(text, pattern):
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

    pattern = np.array([0, 1, 0])
    texts = [np.random.default_rng(n).integers(0, 2, n) for n in (40, 400)]
    agree(search, *((text, pattern) for text in texts))
    lengths = [
        str(jitnet.jit(search).lower(t, pattern).stages["traced"]).count("\n") for t in texts
    ]
    assert lengths[0] == lengths[1] < 1000


def test_numbers_of_float32_and_floats_of_python() -> None:
    """The greater of both is a float32, as after an `if`."""

    def queue(arrivals, service):
        free = [0.0, 0.0]
        waits = np.zeros(len(arrivals))
        for k, (t, s) in enumerate(zip(arrivals, service)):
            earliest = min(free)
            start = max(t, earliest)
            waits[k] = start - t
            free[0 if free[0] <= free[1] else 1] = start + s
        return waits

    rng = np.random.default_rng(0)
    arrivals = np.cumsum(rng.random(20)).astype(np.float32)
    service = (rng.random(20) * 3).astype(np.float32)
    np.testing.assert_allclose(
        jitnet.jit(queue)(arrivals, service), queue(arrivals, service), rtol=1e-5, atol=1e-5
    )

    def least(x):
        found = [2.0]
        for v in x:
            if v > 0.5:
                found.append(2.0 * len(found))
        return x * min(found), x + max(found), x - sum(found)

    agree(least, (arrivals,), (service,))
