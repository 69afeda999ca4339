"""What the random programs found once, made small."""

from __future__ import annotations

import copy
import linecache
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from agreement import Outcome, assert_agree
from backends import BACKENDS
from op_functions import assert_same

from jitnet import jit, ops
from jitnet.interp import evaluate
from jitnet.ir import ArrayType, Builder, Function, Value, index, literal
from jitnet.ir.types import f64, from_numpy, i64
from jitnet.transforms import vjp

Body = Callable[..., Any]


def build(body: Body, args: list[Any]) -> Function:
    with Builder("f") as b:
        params = [b.param(ArrayType(from_numpy(a.dtype), a.shape)) for a in args]
        results = body(*params)
    return b.build(*([results] if isinstance(results, Value) else results))


def padded_twice(x: Value) -> Value:
    """The inner pad is computed inside the outer one's loop: it has other extents."""
    once = ops.pad(x, literal(-2.0, f64), (0,), (1,))
    return ops.pad(once, literal(3.0, f64), (1,), (1,))


def padded_beside(x: Value) -> Any:
    """Two results of one rank and different extents, from one producer."""
    y = ops.neg(x)
    return ops.pad(y, literal(0.5, f64), (1,), (0,)), ops.sub(x, y)


def row_of_a_cheap_value(x: Value, i: Value) -> Value:
    """The gathered operand has a higher rank than the result."""
    return ops.gather(ops.neg(ops.reshape(x, (1, 3))), [i], (0,))


def nothing_stored_backwards(x: Value) -> Value:
    """An update by no elements stores none."""
    y = ops.neg(x)
    return ops.update(ops.square(y), ops.slice(y, (0,), (0,), (-1,)), (0,), (-1,))


def base_seen_through_a_view(x: Value, i: Value) -> Any:
    """The view is a result: the scatter must not change what it shows."""
    base = ops.iota((3,), 0, f64)
    view = ops.broadcast(base, (3, 3), (1,))
    return ops.scatter(base, ops.gather(x, [i], (0,)), [i], (0,), "add"), view


def sum_of_negative_zeros(x: Value) -> Value:
    """NumPy's running sum starts with the first element, not with 0."""
    return ops.cumsum(ops.mul(x, -0.0), 0)


def constant_out_of_range(x: Value) -> Any:
    """A cast that does not fit is what x86 makes of it, where the compiler knows the value too."""
    n = ops.iota((1,))
    return ops.reciprocal(n), ops.argmin(n, 0)


X, I = np.array([1.0, 2.0, 4.0]), np.int64(0)


def apart_from_the_largest(x: Value) -> Value:
    """A vector's only reduction is no row value: its readers are another kernel."""
    largest = ops.reduce_max(x, range(x.rank))
    return ops.sub(x, ops.full(largest, x.dims))


def scalars_of_what_is_updated(x: Value, y: Value) -> list[Value]:
    """Both new elements are made of both old ones, which the first update overwrites."""
    at = [0] * x.rank
    a, b = (ops.reshape(ops.slice(v, at, [1] * v.rank), ()) for v in (x, y))
    boxes = [ops.reshape(v, [1] * x.rank) for v in (ops.mul(a, b), ops.add(a, b))]
    return [ops.update(x, boxes[0], at), ops.update(y, boxes[1], at)]


CASES: list[tuple[Body, list[Any]]] = [
    (padded_twice, [X]),
    (padded_beside, [X]),
    (row_of_a_cheap_value, [X, I]),
    (nothing_stored_backwards, [X]),
    (base_seen_through_a_view, [X, np.arange(3)]),
    (sum_of_negative_zeros, [X]),
    (constant_out_of_range, [X]),
    (apart_from_the_largest, [X]),
    (scalars_of_what_is_updated, [X, X + 1]),
]


@pytest.mark.parametrize(("body", "args"), CASES, ids=lambda c: getattr(c, "__name__", ""))
def test_backends_agree(body: Body, args: list[Any]) -> None:
    """The kernel interpreters come first: they refuse what would damage the process."""
    f = build(body, args)
    expected = evaluate(f, args)
    for run in BACKENDS.values():
        for x, y in zip(run(f, [a.copy() for a in args]), expected, strict=True):
            assert_same(x, y)


def test_an_argument_of_computed_extent_that_is_not_used_has_a_zero_cotangent() -> None:
    with Builder("f") as b:
        n = b.param(ArrayType(i64), "n")
        b.param(ArrayType(f64, (n,)), "unused")
        x = b.param(ArrayType(f64), "x")
        y = ops.mul(x, 3.0)
    forward, backward, moving = vjp(b.build(y), [1, 2])
    assert moving == (True,)
    _, *residuals = evaluate(forward, [np.int64(2), np.ones(2), np.float64(5.0)])
    unused, ct = evaluate(backward, [*residuals, np.float64(1.0)])
    assert_same(unused, np.zeros(2))
    assert ct == 3.0


def test_derivative_of_a_running_product() -> None:
    """Its tangent is a loop whose carries are not all linear."""
    x = np.array([2.0, 3.0, 0.0, 5.0])
    f = build(lambda x: ops.reshape(ops.slice(ops.cumprod(x, 0), [index(3)], [1]), ()), [x])
    forward, backward, _ = vjp(f, [0])
    _, *residuals = evaluate(forward, [x])
    assert_same(evaluate(backward, [*residuals, np.float64(1.0)])[0], np.array([0, 0, 30.0, 0]))


# -- control flow ----------------------------------------------------------------------------------

COUNT = 0


def global_under_a_condition(x: Any) -> Any:
    """Both arms are traced; what the one assigns is not there in the other."""
    global COUNT
    COUNT += 1
    if x[0] > 0:
        COUNT += 10
    else:
        for _ in x:
            COUNT += 1
    return x * COUNT, COUNT


@dataclass
class Box:
    w: Any
    steps: int = 0

    def step(self, by: Any) -> None:
        if by > 0:
            self.steps += 1
            self.w[0] += by
        else:
            self.w = self.w + by


BOX = Box(np.zeros(3))


def global_object_under_a_condition(x: Any) -> Any:
    """No variable of a function holds the object."""
    for e in x:
        BOX.step(e)
    return BOX.steps, BOX.w


def returned_with_what_its_path_left(x: Any) -> Any:
    """The list is one object on both paths, its item is not."""
    items = [x.copy()]
    if x[0] > 0:
        return x, items
    items[0] = x
    return x + 1, items


def returned_for_a_new_one(x: Any) -> Any:
    items = [1.0]
    if x[0] > 0:
        items[0] = x[1]
        return items
    return [x[2]]


def steps_traced_again(x: Any) -> Any:
    """That the list grows is found in the second step, which is traced again from its start."""
    log: list[float] = []
    i, y = 0, x.copy()
    for s in [1.0, 2.0]:
        if i % 2:
            log.append(s)
        elif x[0] > 0:
            y += s
            continue
        i -= 2
        break
    return y, len(log)


def tuples_that_cannot_be_joined(x: Any) -> Any:
    """The message names the tuples, whose items are of one path each."""
    if x[0] > 0:
        pair: tuple[Any, ...] = (x + 1, x[1])
    else:
        pair = (x[0] + 1,)
    return pair if len(x) < 2 else x


def changed_by_what_follows_and(x: Any) -> Any:
    """The second operand changes the object where the first one holds."""
    box = Box(x)

    def stepped() -> float:
        box.steps += 1
        return 0.5

    if -1.0 < x[0] < stepped() or (x[1] > 1 and stepped() < x[2]):
        box.steps += 10
    return box.steps


def largest_of_those_there_are(x: Any) -> Any:
    return max([e for e in x if e > 1], default=-1.0), min((e for e in x if e < 0), default=0.5)


FUNCTIONS: list[Callable[..., Any]] = [
    global_under_a_condition,
    global_object_under_a_condition,
    returned_with_what_its_path_left,
    returned_for_a_new_one,
    steps_traced_again,
    tuples_that_cannot_be_joined,
    changed_by_what_follows_and,
    largest_of_those_there_are,
]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_functions_agree_with_python(function: Callable[..., Any]) -> None:
    def run(step: Callable[..., Any]) -> Any:
        global COUNT, BOX
        COUNT, BOX = 0, Box(np.zeros(3))
        return [copy.deepcopy((step(x.copy()), COUNT, BOX)) for x in (X, -X, X)]

    expected = run(function)
    assert_agree(Outcome(run(jit(function))), Outcome(expected), widens=True)


def test_classes_of_modules_that_are_not_registered_are_watched() -> None:
    source = """
class Counter:
    def __init__(self):
        self.steps = 0
    def count(self):
        self.steps += 1
        return 1.0
COUNTER = Counter()
def f(x):
    return x * COUNTER.count()
"""
    file = "<a module that is not registered>"
    linecache.cache[file] = (len(source), None, source.splitlines(True), file)
    space: dict[str, Any] = {"__name__": "not_registered"}
    exec(compile(source, file, "exec", dont_inherit=True), space)
    f = jit(space["f"])
    for n in range(1, 4):
        assert_same(f(X), X)
        assert space["COUNTER"].steps == n


def test_each_known_divisor_has_a_function_of_its_own() -> None:
    def f(x):
        return x // 3.0, x // -2.0, x % 0.7, x % -5.0

    x = np.array([-0.3, 7.1, 2.2])
    for got, want in zip(jit(f)(x), f(x)):
        assert_same(got, want)
