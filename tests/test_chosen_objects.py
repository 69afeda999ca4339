"""Lists, dicts, objects and functions that data chooses among: nobody sees that there is a choice.

Each function runs as it is and compiled; what it returns and what is in its arguments afterwards
is compared, for arguments that decide in different ways.
"""

from __future__ import annotations

import copy
import gc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import jitnet
from jitnet import errors
from jitnet.frontend.flow import holders, world


@dataclass
class Particle:
    x: object
    v: object


class Counter:
    def __init__(self, x):
        self.x = x

    def push(self, y):
        self.x = self.x + y


def written_to(x):
    a = [x[0]]
    b = [x[1]]
    m = a
    if x[1] < x[0]:
        m = b
    m[0] = 9.0
    return a, b


def read_only(x):
    a = [x[0]]
    b = [x[1]]
    m = a
    if x[1] < x[0]:
        m = b
    return m[0] * 2


def conditional_expression(x):
    a = [x[0], x[1]]
    b = [x[1], x[2]]
    m = a if x[0] < x[1] else b
    m[1] += 5
    return a, b, m[0]


def least_of_a_list(x):
    ps = [[x[0]], [x[1]], [x[2]]]
    m = ps[0]
    for p in ps[1:]:
        if p[0] < m[0]:
            m = p
    m[0] = 9.0
    return ps


def of_objects(x):
    a = Particle(x[0], x[1])
    b = Particle(x[1], x[2])
    best = a
    if b.x < a.x:
        best = b
    best.v = 7.0
    best.x += 1
    return a.x, a.v, b.x, b.v


def method_of_one(x):
    a = Counter(x[0])
    b = Counter(x[1])
    m = a if x[0] > x[1] else b
    m.push(x[2])
    return a.x, b.x


def returned_by_a_helper(x):
    def pick(a, b):
        if a[0] < b[0]:
            return a
        return b

    a = [x[0], 0.0]
    b = [x[1], 0.0]
    m = pick(a, b)
    m[1] = 3.0
    return a, b


def items_of_a_dict(x):
    d = {"a": [x[0]], "b": [x[1]]}
    m = d["a"] if x[0] < x[1] else d["b"]
    m[0] = -1.0
    return d


def fresh_two_names(x):
    if x[0] < x[1]:
        a = [x[0]]
        b = a
    else:
        a = [x[1]]
        b = a
    b[0] = 9.0
    return a, b


def fresh_mixed(x):
    if x[0] < x[1]:
        a = [x[0]]
        b = a
    else:
        a = [x[1]]
        b = [x[2]]
    b[0] = 9.0
    return a, b


def old_or_fresh(x):
    a = [x[0], x[1]]
    m = a
    if x[0] < x[1]:
        m = [x[1], x[2]]
    m[0] = 4.0
    return a, m[1]


def appended_to(x):
    a = [x[0]]
    b = [x[1]]
    m = a if x[0] < x[1] else b
    m.append(x[2])
    return len(m), a, b


def with_arrays_in_them(x):
    a = [x[:2].copy()]
    b = [x[1:].copy()]
    m = a if x[0] < x[1] else b
    m[0][0] = 7.0
    return a[0], b[0]


def swaplists(x):
    n = 4
    prev = [0.0] * n
    cur = [1.0] * n
    for _ in range(6):
        for j in range(1, n):
            cur[j] = prev[j - 1] + cur[j - 1] + x[0]
        prev, cur = cur, prev
    return prev, cur


def swapwhile(x):
    prev = [0.0] * 3
    cur = [1.0] * 3
    i = 0.0
    while i < x[0]:
        cur[1] = prev[0] + cur[2] + x[1]
        cur[0] += 1
        prev, cur = cur, prev
        i += 1
    return prev, cur


def carried_by_a_loop(x):
    a = [x[0]]
    b = [x[1]]
    m = a
    for i in range(10):
        if x[i % 3] > 0.5:
            m = b
        else:
            m = a
        m[0] = m[0] + 1
    return a, b


def lists_of_the_caller(a, b, x):
    m = a if x[0] < x[1] else b
    m[0] = x[2]
    return x.sum()


def list_of_the_caller_returned(a, b, x):
    m = a if x[0] < x[1] else b
    return m


def objects_of_the_caller(p, q, x):
    m = p if x[0] < x[1] else q
    m.v = m.v + x[0]
    m.x = m.x * 2
    return m.v


def chosen_again(x):
    a = [x[0]]
    b = [x[1]]
    c = [x[2]]
    m = a
    if x[1] < x[0]:
        m = b
    if x[2] < m[0]:
        m = c
    if x[0] > 0.2:
        m[0] = m[0] + 1
        k = m
    else:
        k = b
    k[0] *= 2
    return a, b, c, k[0]


def identity(x):
    a = [x[0]]
    b = [x[1]]
    m = a
    if x[1] < x[0]:
        m = b
    return 1.0 if m is b else 0.0


def read_in_many_ways(x):
    a = [x[0], x[1]]
    b = [x[1], x[2]]
    m = a if x[0] < x[1] else b
    u, v = m
    s = 0.0
    for t in m:
        s += t
    return u, v, s, sum(m), max(m), len(m), np.array(m), np.sum(m)


def of_different_lengths(x):
    a = [x[0], x[1]]
    b = [x[1], x[2], x[0]]
    m = a if x[0] < x[1] else b
    s = 0.0
    for t in m:
        s += t
    return s, len(m)


def passed_to_a_helper(x):
    def bump(l, k):
        l[0] = l[0] + k
        return l

    a = [x[0], x[1]]
    b = [x[1], x[2]]
    m = a if x[0] < x[1] else b
    r = bump(m, x[0])
    r[1] = 0.0
    return a, b


def kept_in_containers(x):
    a = [x[0]]
    b = [x[1]]
    box = [None]
    box[0] = a if x[0] < x[1] else b
    d = {"k": box[0]}
    d["k"][0] = 5.0
    return a, b


def branch_in_loop(x):
    bodies = [Particle(x[i], 0.0) for i in range(3)]
    for i in range(3):
        p = bodies[i]
        q = bodies[(i + 1) % 3]
        t = p if p.x < q.x else q
        t.v += 1.0
    return [b.v for b in bodies]


def swap_known(x):
    a = [0.0] * 3
    b = [1.0] * 3
    p, c = a, b
    i = 0
    while i < x[0] * 5:
        c[1] = p[0] + c[2] + x[1]
        c[0] += 1
        p, c = c, p
        i += 1
    return a, b, p, c


def best_row(x):
    rows = [[x[0], x[1]], [x[1], x[2]], [x[2], x[0]]]
    best = rows[0]
    for r in rows:
        for k in range(6):
            if r[0] * k < best[1]:
                best = r
            best[0] += 0.5
    return rows, best


def keep_best(x):
    best = [x[0], 0.0]
    for i in range(20):
        t = [x[i % 3] * i, float(i)]
        if t[0] > best[0]:
            best = t
    return best


def state_machine(x):
    state = "idle"
    steps = 0
    for v in x:
        if state == "idle":
            if v > 0.5:
                state = "run"
        elif state == "run":
            steps += 1
            if v < 0.2:
                state = "done"
        else:
            steps += 10
    return state, steps


def greatest_item_of_a_dict(x):
    scores = {"a": x[0], "b": x[1], "c": x[2]}
    best = max(scores, key=scores.get)
    scores[best] = -1.0
    return best, best.upper() + "!", f"<{best}>", scores


def named_functions(x):
    name = "sum" if x[0] > 0.5 else "mean"
    return getattr(np, name)(x), getattr(x, name)()


def least_of_tuples_with_nothing(x):
    best = (np.inf, None)
    for i in range(3):
        best = min(best, (abs(x[i] - 0.25), i))
    return best


def simplex(x):
    def height(p):
        return (p[0] - 1) ** 2 + (p[1] - 2) ** 2

    points = [[x[0], x[1]], [x[1], x[2]], [x[2], x[0] + 0.3]]
    for _ in range(12):
        points.sort(key=height)
        best, good, worst = points
        middle = [(best[0] + good[0]) / 2, (best[1] + good[1]) / 2]
        reflected = [2 * middle[0] - worst[0], 2 * middle[1] - worst[1]]
        if height(reflected) < height(good):
            points[2] = reflected
        else:
            points[2] = [(middle[0] + worst[0]) / 2, (middle[1] + worst[1]) / 2]
    return points


def whose_turn(x):
    players = [{"field": 0.0, "score": 0.0} for _ in range(2)]
    turn = 0
    for i in range(9):
        player = players[turn]
        player["score"] += x[i % 3]
        players[1 - turn]["field"] -= 0.5
        if x[(i + 1) % 3] < 0.5:
            turn = 1 - turn
    return players


def least_by_a_key(x):
    particles = [Particle(x[i], i * 1.0) for i in range(3)]
    least = min(particles, key=lambda p: p.x)
    least.v += 10.0
    most = max(particles, key=lambda p: p.x * least.x)
    most.x = 0.5
    return [(p.x, p.v) for p in particles]


def sorted_by_a_key(x):
    rows = [[x[i], i * 1.0] for i in range(3)]
    ordered = sorted(rows, key=lambda row: row[0], reverse=True)
    ordered[0][1] = -1.0
    ordered[1][0] += ordered[2][1]
    rows.sort(key=lambda row: row[1])
    rows[0][0] *= 2
    return rows, ordered[2]


def keep_best_arg(a, b, x):
    best = a
    for i in range(20):
        t = [x[i % 3] * i, float(i)]
        if t[0] > best[0]:
            best = t
    return best[0], best[1], a


def keep_best_write(x):
    best = [x[0], 0.0]
    for i in range(20):
        t = [x[i % 3] * i, float(i)]
        if t[0] > best[0]:
            best = t
        t[1] += 1.0
    return best


def best_parameters(x):
    p = {"w": x[0], "b": x[1]}
    best = p
    bl = 1e9
    for _ in range(10):
        p = {"w": p["w"] - 0.1 * x[0], "b": p["b"] + 0.2 * x[2]}
        l = (p["w"] - x[1]) ** 2 + p["b"]
        if l < bl:
            bl = l
            best = p
    return best["w"], best["b"], p["w"]


def parameters_changed_in_place(x):
    p = {"w": x[0], "b": x[1]}
    best = p
    bl = 1e9
    for _ in range(10):
        p["w"] = p["w"] - 0.1 * x[0]
        p["b"] += 0.2
        l = (p["w"] - x[1]) ** 2 + p["b"]
        if l < bl:
            bl = l
            best = p
    return best["w"], best["b"], p["w"]


def prev_cur(x):
    prev = [x[0], x[1]]
    cur = [x[1], x[2]]
    for _ in range(12):
        nxt = [prev[0] + cur[1], prev[1] * 0.5 + cur[0]]
        prev = cur
        cur = nxt
    prev[0] = 1.5
    return prev, cur


def prev_is_cur(x):
    prev = [x[0], x[1]]
    for _ in range(12):
        cur = [prev[0] * 0.5 + 1, prev[1] + x[2]]
        prev = cur
        cur[0] += 2.0
    return prev, cur


def node_walk(x):
    n = [Particle(x[0], None), Particle(x[1], None), Particle(x[2], None)]
    n[0].v = n[1]
    n[1].v = n[2]
    n[2].v = n[0]
    cur = n[0]
    s = 0.0
    for i in range(30):
        s += cur.x
        if x[i % 3] > 0.2:
            cur = cur.v
        cur.x = cur.x * 0.9
    return s, n[0].x, n[1].x, n[2].x


def tree_walk(x):
    leaf = [Particle(float(k), None) for k in range(4)]
    l = Particle(0.2, (leaf[0], leaf[1]))
    r = Particle(0.6, (leaf[2], leaf[3]))
    root = Particle(0.4, (l, r))
    out = 0.0
    for i in range(3):
        cur = root
        while cur.v is not None:
            cur = cur.v[0] if x[i] < cur.x else cur.v[1]
        out = out * 10 + cur.x
    return out


class TreeNode:
    def __init__(self, key, left=None, right=None):
        self.key = key
        self.left = left
        self.right = right
        self.hits = 0


def search_tree(x):
    root = TreeNode(0.5, TreeNode(0.2), TreeNode(0.8, TreeNode(0.6), TreeNode(2.5)))
    for i in range(3):
        n = root
        while n is not None:
            n.hits += 1
            if x[i] < n.key:
                n = n.left
            else:
                n = n.right
    return root.hits, root.left.hits, root.right.hits, root.right.right.hits


def cond_in_loop(x):
    a = [x[0], 0.0]
    b = [x[1], 0.0]
    t = 0.0
    for _ in range(50):
        m = a if a[1] <= b[1] else b
        m[1] += m[0]
        t += m[1]
    return a, b, t


def functions(x):
    def f(t):
        return t * 2

    def g(t):
        return t + 10

    h = f if x[0] < x[1] else g
    return h(x[2])


def agents(x):
    class A:
        def __init__(self, p):
            self.p = p
            self.w = 0

        def step(self, d):
            self.p = self.p + d
            self.w += 1

    ags = [A(x[i]) for i in range(3)]
    for _ in range(10):
        best = ags[0]
        for g in ags:
            if g.p < best.p:
                best = g
        best.step(0.3)
    return [g.p for g in ags], [g.w for g in ags]


def while_choice(x):
    a = [1.0, x[0]]
    b = [2.0, x[1]]
    m = a
    n = 0
    while m[0] < 20.0:
        m[0] += m[1] + 0.5
        m = b if m is a else a
        n += 1
    return a, b, n


def bound_in_a_loop(x):
    rows = [[x[0]], [x[1]]]
    for i in range(10):
        r = rows[0] if x[i % 3] > 0.3 else rows[1]
    r[0] = 5.0
    return rows


def dicts_held_by_others(x):
    rows = [{"v": 1.0}, {"v": 2.0}]
    pairs = (("a", {"v": 3.0}), ("b", {}))
    row, other = rows[0], pairs[0][1]
    if x[0] > x[1]:
        row, other = {"v": 5.0}, {"v": 6.0}
    row["v"] = other["v"] = 7.0
    return rows, pairs, row, other


TABLE = list(range(5000))
PAIRS = [(k, float(k)) for k in range(5000)]


def beside_great_tables(x):
    a, b = [TABLE[1], PAIRS[1][1]], [x[0], x[1]]
    y = np.zeros(3)
    for i in range(len(x)):
        if x[i] > 0.5:
            a, b = b, a
        else:
            a = [x[i], PAIRS[2][0]]
        y[i] = a[0]
    return a, b, y


def turn_in_a_dict(x):
    scores, state = [[0.0], [1.0]], {"turn": 0}
    for v in x:
        scores[state["turn"]][0] += v
        if v > 0.5:
            state["turn"] = 1 - state["turn"]
    return scores, state["turn"]


def turn_in_an_object(x):
    scores, state = [[0.0], [1.0]], Particle(0, None)
    for v in x:
        scores[state.x][0] += v
        if v > 0.5:
            state.x = 1 - state.x
    return scores, state.x


def turn_in_a_tuple(x):
    scores, turns = [[0.0], [1.0]], (0, 1)
    for v in x:
        scores[turns[0]][0] += v
        if v > 0.5:
            turns = turns[1], turns[0]
    return scores, turns


def counters(x):
    parts, state, k, total = [x, x[1:], x[:1], x, x[2:], x], {"at": 5}, 0, 0.0
    for i in range(6):
        total += parts[k][0] * parts[state["at"]].sum() + parts[5 - i].sum()
        k += 1
        state["at"] -= 1
    return total, k, state["at"]


TURNS = [turn_in_a_dict, turn_in_an_object, turn_in_a_tuple]

ONE = [
    *TURNS,
    counters,
    dicts_held_by_others,
    beside_great_tables,
    state_machine,
    greatest_item_of_a_dict,
    named_functions,
    least_of_tuples_with_nothing,
    simplex,
    whose_turn,
    least_by_a_key,
    sorted_by_a_key,
    written_to,
    read_only,
    conditional_expression,
    least_of_a_list,
    of_objects,
    method_of_one,
    returned_by_a_helper,
    items_of_a_dict,
    fresh_two_names,
    fresh_mixed,
    old_or_fresh,
    appended_to,
    with_arrays_in_them,
    swaplists,
    swapwhile,
    carried_by_a_loop,
    chosen_again,
    identity,
    read_in_many_ways,
    of_different_lengths,
    passed_to_a_helper,
    kept_in_containers,
    branch_in_loop,
    swap_known,
    best_row,
    keep_best,
    keep_best_write,
    best_parameters,
    parameters_changed_in_place,
    prev_cur,
    prev_is_cur,
    node_walk,
    tree_walk,
    search_tree,
    cond_in_loop,
    functions,
    agents,
    while_choice,
    bound_in_a_loop,
]
OF_TWO_LISTS = [lists_of_the_caller, list_of_the_caller_returned, keep_best_arg]
INPUTS = [[0.1, 0.9, 0.3], [0.9, 0.1, 0.3], [0.3, 0.2, 0.1], [2.2, 3.0, 1.0]]


def _assert_same(fn: Callable[..., Any], compiled: Callable[..., Any], args: Any) -> None:
    plain = copy.deepcopy(args)
    expected = fn(*plain)
    assert _plain((compiled(*args), args)) == _plain((expected, plain))


def _plain(x: Any) -> Any:
    """What is in a result; numbers as Python's, since a choice of a float and np.float64 is one."""
    if isinstance(x, Particle):
        return "Particle", _plain(x.x), _plain(x.v)
    if isinstance(x, np.ndarray):
        return "array", x.dtype.name, x.tolist()
    if isinstance(x, (list, tuple)):
        return type(x).__name__, [_plain(item) for item in x]
    if isinstance(x, dict):
        return "dict", [(key, _plain(item)) for key, item in x.items()]
    return x.item() if isinstance(x, np.generic) else x


@pytest.mark.parametrize("fn", ONE, ids=lambda fn: fn.__name__)
def test_of_numbers(fn: Callable[..., Any]) -> None:
    compiled = jitnet.jit(fn)
    for x in INPUTS:
        _assert_same(fn, compiled, (np.array(x),))


@pytest.mark.parametrize("fn", OF_TWO_LISTS, ids=lambda fn: fn.__name__)
def test_of_two_lists_of_the_caller(fn: Callable[..., Any]) -> None:
    compiled = jitnet.jit(fn)
    for x in INPUTS:
        _assert_same(fn, compiled, ([1.0, 2.0], [3.0, 4.0], np.array(x)))


@pytest.mark.parametrize("x", INPUTS, ids=str)
def test_of_two_objects_of_the_caller(x: list[float]) -> None:
    args = (Particle(1.0, 2.0), Particle(3.0, 4.0), np.array(x))
    _assert_same(objects_of_the_caller, jitnet.jit(objects_of_the_caller), args)


def test_the_list_that_is_meant_is_returned_itself() -> None:
    compiled = jitnet.jit(list_of_the_caller_returned)
    one, other = [1.0], [2.0]
    assert compiled(one, other, np.array([0.0, 1.0])) is one
    assert compiled(one, other, np.array([1.0, 0.0])) is other


@pytest.mark.parametrize("fn", TURNS, ids=lambda fn: fn.__name__)
def test_loops_stay_loops_where_data_decides_whose_turn_it_is(fn: Callable[..., Any]) -> None:
    few, many = (jitnet.jit(fn).lower(np.ones(n)).stages["traced"] for n in (8, 50))
    assert len(str(few).splitlines()) == len(str(many).splitlines())


def test_great_tables_are_not_gone_through_item_by_item(monkeypatch: pytest.MonkeyPatch) -> None:
    gc.collect()  # from then on it does not follow tuples of numbers
    asked = []
    for module, name in ((holders, "_children"), (world, "leading_on")):
        ask = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *args, ask=ask: (asked.append(1), ask(*args))[1])
    jitnet.jit(beside_great_tables).lower(np.array(INPUTS[0]))
    assert 0 < len(asked) < len(TABLE)


def test_nothing_has_no_attributes() -> None:
    @jitnet.jit
    def f(x):
        node = Particle(x[0], None)
        if x[1] > 0:
            node = None
        return node.x

    assert f(np.array([3.0, -1.0])) == 3.0
    with pytest.raises(AttributeError, match="'NoneType' object has no attribute 'x'"):
        f(np.array([3.0, 1.0]))


def keep_best_and_write(x):
    best = [x[0], 0.0]
    trial = best
    for i in range(20):
        trial = [x[i % 3] * i, float(i)]
        if trial[0] > best[0]:
            best = trial
    best[1] = 77.0
    return best, trial


def two_names_through_a_loop(x):
    a = [x[0], x[1]]
    b = a
    while a[0] < 10:
        if a[0] < x[2]:
            a = [a[0] + 1, a[1]]
        a[0] += 2.0
    return a, b


@pytest.mark.parametrize("fn", [keep_best_and_write, two_names_through_a_loop])
def test_what_a_loop_binds_to_two_names_may_only_be_read(fn: Callable[..., Any]) -> None:
    with pytest.raises(errors.MutationError, match="after a step of a loop") as info:
        jitnet.jit(fn)(np.array(INPUTS[0]))
    assert "copy" in str(info.value)


def test_other_keys_on_one_path_only_are_refused() -> None:
    def f(x):
        a, b = {"w": x[0]}, {"w": x[1]}
        chosen = a if x[0] < x[1] else b
        chosen["z"] = x[2]
        return a["w"], b["w"]

    with pytest.raises(errors.MutationError, match="has other items"):
        jitnet.jit(f)(np.array(INPUTS[0]))
