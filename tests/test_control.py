"""Control flow and tapes: type rules, and what they compute against Python and NumPy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from op_functions import assert_same

from jitnet import errors, ops
from jitnet.interp import evaluate
from jitnet.ir import (
    ArrayType,
    Builder,
    Function,
    TapeType,
    TypeRuleError,
    Value,
    index,
    literal,
    parse,
    verify,
)
from jitnet.ir.types import Dim, DType, bool_, f32, f64, i64
from jitnet.ops.control import CALL, FOR, IF, WHILE
from jitnet.ops.tape import (
    beginning,
    tape_add,
    tape_at,
    tape_get,
    tape_length,
    tape_new,
    tape_push,
    tape_put,
)
from jitnet.runtime.executable import compile

Values = Sequence[Value]


def array(dtype: DType, *dims: Dim) -> ArrayType:
    return ArrayType(dtype, dims)


def made(*types: ArrayType, body: Callable[..., Any], name: str = "f") -> Function:
    """A verified Function of params of these types; its text round-trips."""
    with Builder(name) as b:
        results = body(*(b.param(t) for t in types))
    f = b.build(*(results if isinstance(results, tuple) else (results,)))
    verify(f)
    assert parse(str(f)) == f
    return f


def check_runs(f: Function, args: Sequence[Any], *expected: Any, native: bool = True) -> None:
    """Interpreted and compiled."""
    runs: list[Sequence[Any]] = [evaluate(f, args)]
    if native:
        copies = [np.copy(a) if np.ndim(a) else a for a in args]
        runs.append(compile(f, ["C"] * len(args)).run(copies))
    for results in runs:
        for x, y in zip(results, expected, strict=True):
            assert_same(x, y)


# -- if --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("x", [-1.5, 2.5])
def test_if_runs_one_arm(x: float) -> None:
    def body(x: Value, y: Value) -> Any:
        then, orelse = (lambda x, y: (ops.add(x, 1.0), y)), (lambda x, y: (x, ops.neg(y)))
        return ops.if_(ops.gt(x, 0.0), then, orelse, [x, y])

    y = np.arange(3.0)
    expected = (x + 1, y) if x > 0 else (x, -y)
    f = made(array(f64), array(f64, 3), body=body)
    check_runs(f, [np.float64(x), y], np.float64(expected[0]), expected[1])


def test_arms_of_an_if_agree() -> None:
    p, x = Value(array(bool_), "p"), Value(array(f64, 3), "x")

    def arm(change: Callable[[Value], Any]) -> Function:
        return made(array(f64, 3), body=change)

    same = arm(lambda x: x)
    with pytest.raises(TypeRuleError, match=r"one arm returns f64\[3\], the other f64"):
        IF.infer((p, x), {}, (same, arm(lambda x: ops.reduce_sum(x, (0,)))))
    with pytest.raises(TypeRuleError, match="different numbers"):
        IF.infer((p, x), {}, (same, arm(lambda x: (x, x))))
    with pytest.raises(TypeRuleError, match="condition is f64"):
        IF.infer((x, x), {}, (same, same))
    with pytest.raises(TypeRuleError, match=r"takes f64\[3\]"):
        IF.infer((p, Value(array(f64, 4))), {}, (same, same))
    with pytest.raises(TypeRuleError, match="1 params for 2 values"):
        IF.infer((p, x, x), {}, (same, same))


def test_arms_may_return_extents_of_their_own() -> None:
    def body(x: Value) -> Any:
        few = lambda x: ops.compress(ops.gt(x, 1.0), [x])  # noqa: E731
        many = lambda x: ops.compress(ops.gt(x, -9.0), [x])  # noqa: E731
        return ops.if_(ops.gt(ops.reduce_sum(x, (0,)), 0.0), few, many, [x])

    f = made(array(f64, 4), body=body)
    x = np.array([0.5, 2.0, 3.0, -1.0])
    check_runs(f, [x], np.int64(2), x[1:3], native=False)
    check_runs(f, [-x], np.int64(4), -x, native=False)


# -- for -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("n", [0, 1, 5])
def test_for_scans(n: int, reverse: bool) -> None:
    """s = s * a + x[i], and all of these."""

    def step(i: Value, consts: Values, carries: Values, rows: Values) -> Any:
        s = ops.add(ops.mul(carries[0], consts[0]), rows[0])
        return (s,), (s, ops.mul(i, 2))

    def body(n: Value, a: Value) -> Any:
        # the trip count is the extent of xs
        xs = ops.reshape(ops.convert(ops.iota((n,)), f64), (n,))
        return ops.for_(n, step, [a], [literal(1.0, f64)], [xs], reverse)

    f = made(array(i64), array(f64), body=body)
    s, ys = 1.0, np.empty(n)
    for i in reversed(range(n)) if reverse else range(n):
        ys[i] = s = s * 0.5 + i
    check_runs(f, [np.int64(n), np.float64(0.5)], np.float64(s), ys, np.arange(n) * 2)


def test_for_swaps_its_carries() -> None:
    def body(x: Value, y: Value) -> Any:
        step = lambda i, consts, carries, rows: (ops.add(carries[1], 1.0), carries[0])  # noqa: E731
        return ops.for_(index(3), step, (), [x, y])

    x, y = np.zeros(4), np.full(4, 10.0)
    check_runs(made(array(f64, 4), array(f64, 4), body=body), [x, y], y + 2, x + 1)


def loop_attrs(**counts: int) -> dict[str, Any]:
    return {"consts": 0, "carries": 0, "scans": 0, "reverse": False, **counts}


def test_types_of_for() -> None:
    n, x = Value(array(i64), "n"), Value(array(f64, 3), "x")
    same = made(array(i64), array(f64, 3), body=lambda i, x: x)
    assert FOR.infer((n, x), loop_attrs(carries=1), (same,)) == (array(f64, 3),)
    row = made(array(i64), array(f64), body=lambda i, x: (x, i))
    types = FOR.infer((index(3), x), loop_attrs(scans=1), (row,))
    assert types == (array(f64, 3), array(i64, 3))
    with pytest.raises(TypeRuleError, match="is scanned"):
        FOR.infer((n, x), loop_attrs(scans=1), (row,))
    with pytest.raises(TypeRuleError, match="trip count is f64"):
        FOR.infer((x, x), loop_attrs(carries=1), (same,))
    narrow = made(array(i64), array(f64, 3), body=lambda i, x: ops.convert(x, f32))
    with pytest.raises(TypeRuleError, match=r"carried as f64\[3\], but the body returns f32\[3\]"):
        FOR.infer((n, x), loop_attrs(carries=1), (narrow,))


# -- while -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", [1, 100])
def test_while_doubles(start: int) -> None:
    def body(x: Value, limit: Value) -> Any:
        return ops.while_(
            lambda consts, carries: ops.lt(carries[0], consts[0]),
            lambda consts, carries: [ops.mul(carries[0], 2), ops.add(carries[1], 1)],
            [limit],
            [x, index(0)],
        )

    f = made(array(i64), array(i64), body=body)
    steps = 7 if start == 1 else 0
    args = [np.int64(start), np.int64(100)]
    check_runs(f, args, np.int64(start << steps), np.int64(steps))


def test_while_carries_an_array_with_its_extent() -> None:
    cond = made(array(i64), array(f64, 2), body=lambda k, z: ops.gt(k, 2), name="cond")
    k = Value(array(i64), "k")
    with pytest.raises(TypeRuleError, match=r"takes f64\[2\]"):
        WHILE.infer((k, Value(array(f64, k))), {"consts": 0, "carries": 2}, (cond, cond))

    def region(name: str, fn: Callable[[Value, Value], Any]) -> Function:
        with Builder(name) as b:
            k = b.param(array(i64), "k")
            results = fn(k, b.param(array(f64, k), "z"))
        return b.build(*(results if isinstance(results, tuple) else (results,)))

    def body(z: Value) -> Any:
        test = region("cond", lambda k, z: ops.gt(k, 2))
        half = region("body", lambda k, z: ops.compress(ops.gt(z, 1.0), [ops.mul(z, 0.75)]))
        return ops.while_(test, half, (), [index(5), z])

    z = np.array([0.9, 1.1, 1.5, 2.0, 3.0])
    expected = z
    while len(expected) > 2:
        expected = (expected * 0.75)[expected > 1.0]
    check_runs(made(array(f64, 5), body=body), [z], np.int64(len(expected)), expected)


def test_while_asks_for_one_bool() -> None:
    x = Value(array(f64), "x")
    same = made(array(f64), body=lambda x: x)
    with pytest.raises(TypeRuleError, match="one bool"):
        WHILE.infer((x,), {"consts": 0, "carries": 1}, (same, same))


# -- call, check -----------------------------------------------------------------------------------


def test_call() -> None:
    inner = made(array(f64, 3), array(f64, 3), body=lambda x, y: (ops.add(x, y), ops.mul(x, y)))
    f = made(array(f64, 3), body=lambda x: ops.call(inner, [x, x]))
    x = np.arange(3.0)
    check_runs(f, [x], x + x, x * x)
    with pytest.raises(TypeRuleError, match="2 params for 1 values"):
        CALL.infer((Value(array(f64, 3)),), {"name": "f"}, (inner,))


def test_check_raises_by_name() -> None:
    def body(i: Value) -> Any:
        ops.check(ops.lt(i, 3), [i], "IndexError", "index {0} is out of bounds")
        return ops.add(i, 1)

    f = made(array(i64), body=body)
    check_runs(f, [np.int64(2)], np.int64(3))
    for run in (lambda a: evaluate(f, a), compile(f, ["C"]).run):
        with pytest.raises(errors.IndexingError, match="index 5 is out of bounds"):
            run([np.int64(5)])


def test_the_first_check_wins() -> None:
    def step(i: Value, consts: Values, carries: Values, rows: Values) -> Value:
        ops.check(ops.lt(i, 2), [i], "ValueError", "step {0}")
        return ops.add(carries[0], 1)

    f = made(array(i64), body=lambda n: ops.for_(n, step, (), [index(0)]))
    check_runs(f, [np.int64(2)], np.int64(2))
    with pytest.raises(errors.ValueRefusedError, match="step 2"):
        evaluate(f, [np.int64(4)])


# -- tapes -----------------------------------------------------------------------------------------

RECORD = TapeType(((f64, (None,)), (i64, ()), (f64, (2, None))))


def test_a_tape_gives_back_what_was_pushed() -> None:
    """Step i logs i elements of x, i, and two rows of i; they are read from the last on."""

    def push(i: Value, consts: Values, carries: Values, rows: Values) -> Value:
        part = ops.slice(consts[0], (0,), (i,))
        twice = ops.broadcast(ops.mul(part, 2.0), (2, i), (1,))
        return tape_push(carries[0], [part, ops.mul(i, 3), twice])

    def read(i: Value, consts: Values, carries: Values, rows: Values) -> Any:
        k, k2, part, number, twice = tape_get(consts[0], i)
        total = ops.add(ops.reduce_sum(part, (0,)), ops.reduce_sum(twice, (0, 1)))
        same = ops.eq(k, k2)
        return (), (ops.add(total, ops.convert(number, f64)), same)

    def body(x: Value) -> Any:
        (tape,) = ops.for_(index(4), push, [x], [tape_new(RECORD)])
        read_back = ops.for_(index(4), read, [tape], (), (), reverse=True)
        return (tape_length(tape), *read_back)

    x = np.arange(1.0, 5.0)
    sums = np.array([5 * x[:i].sum() + 3 * i for i in range(4)])
    f = made(array(f64, 4), body=body)
    check_runs(f, [x], np.int64(4), sums, np.ones(4, np.bool_))


def test_put_and_at_are_push_and_get_with_what_is_known() -> None:
    kind = TapeType(((f64, (None,)), (f64, ())))

    def body(x: Value) -> Any:
        tape = tape_put(tape_new(kind), index(0), [x, literal(2.0, f64)])
        tape = tape_put(tape, index(1), [ops.slice(x, (1,), (2,)), literal(3.0, f64)])
        part, number = tape_at(tape, index(1), [index(2)])
        return ops.mul(part, ops.broadcast(number, (2,), ()))

    x = np.arange(3.0)
    check_runs(made(array(f64, 3), body=body), [x], x[1:] * 3)


def test_put_is_at_the_end() -> None:
    def body(x: Value) -> Value:
        tape = tape_put(tape_new(TapeType(((f64, ()),))), index(0), [x])
        return tape_length(tape_put(tape, index(0), [x]))

    f = made(array(f64), body=body)
    with pytest.raises(AssertionError, match="tape_put at 0 of a tape of 1"):
        evaluate(f, [np.float64(1.0)])


def test_records_that_were_never_put_are_zero() -> None:
    """A put, an addition and a read reach as far as they have to."""

    def body(x: Value) -> tuple[Value, ...]:
        tape = tape_new(TapeType(((f64, (3,)), (f64, ()))))
        tape = tape_put(tape, index(2), [x, literal(2.0, f64)])
        tape = tape_add(tape, index(4), [x, literal(3.0, f64)])
        tape = tape_add(tape, index(2), [x, literal(0.5, f64)])
        rows = [tape_at(tape, index(i), []) for i in (0, 2, 4, 6)]
        return tuple(ops.mul(row, ops.broadcast(number, (3,), ())) for row, number in rows)

    x = np.arange(3.0)
    check_runs(made(array(f64, 3), body=body), [x], 0 * x, 2 * x * 2.5, x * 3, 0 * x)


def test_types_of_tapes() -> None:
    with Builder() as b:
        x, n = b.param(array(f64, 3), "x"), b.param(array(i64), "n")
        tape = tape_new(RECORD)
        with pytest.raises(TypeRuleError, match="3 values make a record"):
            tape_push(tape, [x])
        with pytest.raises(TypeRuleError, match="does not fit the field"):
            tape_push(tape, [x, x, x])
        with pytest.raises(TypeRuleError, match="position is f64"):
            tape_get(tape, x)
        with pytest.raises(TypeRuleError, match="2 ragged extents"):
            tape_at(tape, n, [n])
        k, k2, part, number, rows = tape_get(tape, n)
        assert (part.dims, number.dims, rows.dims) == ((k,), (), (2, k2))
        part, _, rows = tape_at(tape, n, [n, index(3)])
        assert (part.dims, rows.dims) == ((n,), (2, 3))


def test_beginning_of_a_tape() -> None:
    """Through loops and branches: a param, or where it was made."""
    kind = TapeType(((f64, ()),))

    def step(i: Value, consts: Values, carries: Values, rows: Values) -> Any:
        push = lambda t, u, x: (tape_push(t, [x]), u)  # noqa: E731
        keep = lambda t, u, x: (t, u)  # noqa: E731
        return ops.if_(ops.gt(i, 1), push, keep, [carries[0], carries[1], consts[0]])

    with Builder() as b:
        x, given = b.param(array(f64), "x"), b.param(kind, "given")
        own = tape_push(tape_new(kind), [x])
        own, given_after = ops.for_(index(3), step, [x], [own, given])
    f = b.build(own, given_after)
    assert beginning(f, given_after) is given
    assert beginning(f, own) is f.eqns[0].result
