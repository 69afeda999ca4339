"""Checks of indices that the facts make needless, those that must stay, and what they cost.

for i in range(n): a[i] = a[i - 1] ...      no check left, no select for negative indices
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernels import check as check_kernel

from jitnet import ops
from jitnet.codegen.llvm import emit
from jitnet.codegen.program import lower
from jitnet.errors import JitnetError
from jitnet.interp import evaluate
from jitnet.ir import ArrayType, Builder, Function, Literal, Value, as_value, facts, index
from jitnet.ir import types as T
from jitnet.ir.types import f64, i64
from jitnet.kernel import scalars as s
from jitnet.kernel.statements import load, loop, store
from jitnet.passes import optimize
from jitnet.passes.fuse import fuse
from jitnet.runtime.engine import host_target
from jitnet.runtime.executable import compile

VECTOR = ArrayType(f64, (12,))
SQUARE = ArrayType(f64, (12, 12))


def position(i: Value, x: Value, axis: int = 0) -> Value:
    """What a trace makes of an index."""
    n = as_value(x.dims[axis])
    ok = ops.bitwise_and(ops.ge(i, ops.neg(n)), ops.lt(i, n))
    ops.check(ok, [i, n], "IndexError", "index {0} is out of bounds with size {1}")
    return ops.select(ops.lt(i, 0), ops.add(i, n), i)


def at(x: Value, *indices: Value) -> Value:
    places = [position(i, x, axis) for axis, i in enumerate(indices)]
    return ops.reshape(ops.slice(x, places, (1,) * x.rank), ())


def put(x: Value, value: Value, *indices: Value) -> Value:
    places = [position(i, x, axis) for axis, i in enumerate(indices)]
    return ops.update(x, ops.reshape(value, (1,) * x.rank), places)


def count(f: Function, *names: str) -> int:
    return sum(eqn.op.name in names for eqn in f.walk())


def build(types: Sequence[T.Type], body: Callable[..., Any]) -> Function:
    with Builder("f") as b:
        results = body(*(b.param(t, f"p{i}") for i, t in enumerate(types)))
    return b.build(*results)


def over(n: Any, x: Value, body: Callable[[Value, Value], Value]) -> Value:
    """for i in range(n): x = body(i, x)"""

    def step(i: Value, consts: Any, carries: Any, xs: Any) -> Any:
        return (body(i, *carries),), ()

    return ops.for_(as_value(n), step, (), (x,))[0]


def over_below(i: Value, x: Value, body: Callable[[Value, Value, Value], Value]) -> Value:
    """for j in range(i): x = body(i, j, x)"""

    def step(j: Value, consts: Any, carries: Any, xs: Any) -> Any:
        return (body(consts[0], j, *carries),), ()

    return ops.for_(i, step, (i,), (x,))[0]


# -- needless --------------------------------------------------------------------------------------


def forwards(a: Value) -> Value:
    return over(12, a, lambda i, a: put(a, ops.neg(at(a, i)), i))


def with_the_one_before(a: Value) -> Value:
    def step(k: Value, a: Value) -> Value:
        i = ops.add(k, 1)
        return put(a, ops.add(at(a, i), at(a, ops.sub(i, 1))), i)

    return over(11, a, step)


def with_the_one_after(a: Value) -> Value:
    return over(11, a, lambda i, a: put(a, at(a, ops.add(i, 1)), i))


def backwards(a: Value) -> Value:
    def step(k: Value, a: Value) -> Value:
        i = ops.sub(11, k)
        return put(a, ops.add(at(a, i), 1.0), i)

    return over(12, a, step)


def every_other(a: Value) -> Value:
    return over(6, a, lambda k, a: put(a, at(a, ops.add(ops.mul(k, 2), 1)), ops.mul(k, 2)))


def lower_triangle(a: Value) -> Value:
    def step(i: Value, j: Value, a: Value) -> Value:
        return put(a, ops.sub(at(a, i), at(a, j)), i)

    return over(12, a, lambda i, a: over_below(i, a, step))


def rest_of_the_row(a: Value) -> Value:
    """for i in range(12): for j in range(i + 1, 12): ..."""

    def step(i: Value, a: Value) -> Value:
        low = ops.add(i, 1)
        trips = ops.maximum(ops.sub(12, low), 0)

        def inner(k: Value, consts: Any, carries: Any, xs: Any) -> Any:
            i, low = consts
            (a,) = carries
            j = ops.add(low, k)
            return (put(a, ops.sub(at(a, j), at(a, i)), j),), ()

        return ops.for_(trips, inner, (i, low), (a,))[0]

    return over(12, a, step)


def around(a: Value) -> Value:
    return over(12, a, lambda i, a: put(a, at(a, ops.rem(ops.add(i, 1), 12)), i))


def clipped(a: Value) -> Value:
    def step(i: Value, a: Value) -> Value:
        left = ops.maximum(ops.sub(i, 3), 0)
        right = ops.minimum(ops.add(i, 3), 11)
        return put(a, ops.sub(at(a, right), at(a, left)), i)

    return over(12, a, step)


def halved(a: Value) -> Value:
    return over(
        12, a, lambda i, a: put(a, at(a, ops.floordiv(i, 2)), ops.floordiv(ops.add(i, 11), 2))
    )


def from_the_end(a: Value) -> Value:
    """a[-1 - i]: the sign is known."""
    return over(12, a, lambda i, a: put(a, at(a, i), ops.sub(-1, i)))


def counted(a: Value) -> Value:
    """i = 0; while i < 12: ...; i += 1"""

    def cond(consts: Any, carries: Any) -> Value:
        return ops.lt(carries[0], 12)

    def body(consts: Any, carries: Any) -> Any:
        i, a = carries
        return ops.add(i, 1), put(a, ops.neg(at(a, i)), i)

    return ops.while_(cond, body, (), (Literal(0, i64), a))[1]


def guarded(a: Value) -> Value:
    """if i > 0: a[i] = a[i - 1]"""

    def step(i: Value, a: Value) -> Value:
        def then(i: Value, a: Value) -> Any:
            return (put(a, at(a, ops.sub(i, 1)), i),)

        return ops.if_(ops.gt(i, 0), then, lambda i, a: (a,), (i, a))[0]

    return over(12, a, step)


NEEDLESS = [
    forwards,
    with_the_one_before,
    with_the_one_after,
    backwards,
    every_other,
    lower_triangle,
    rest_of_the_row,
    around,
    clipped,
    halved,
    from_the_end,
    counted,
    guarded,
]


@pytest.mark.parametrize("body", NEEDLESS, ids=lambda f: f.__name__)
def test_no_check_is_left(body: Callable[[Value], Value]) -> None:
    f = build([VECTOR], lambda a: (body(a),))
    g = optimize(f)
    assert count(f, "check") >= 2
    assert count(g, "check", "select") == 0
    executable = compile(f, ["C"], {0: 0})
    assert "raise" not in executable.stages["kernels"]
    assert executable.copies == []
    x = np.arange(12.0) ** 2
    (expected,) = evaluate(f, [x])
    executable.run([x])
    np.testing.assert_array_equal(x, expected)


def test_no_check_is_left_in_a_table() -> None:
    """d[i, j] = d[i - 1, j] + d[i, j - 1]"""

    def body(d: Value) -> tuple[Value, ...]:
        def row(k: Value, d: Value) -> Value:
            i = ops.add(k, 1)

            def column(k: Value, consts: Any, carries: Any, xs: Any) -> Any:
                (i,), (d,) = consts, carries
                j = ops.add(k, 1)
                above, left = at(d, ops.sub(i, 1), j), at(d, i, ops.sub(j, 1))
                return (put(d, ops.add(above, left), i, j),), ()

            return ops.for_(index(11), column, (i,), (d,))[0]

        return (over(11, d, row),)

    f = build([SQUARE], body)
    assert count(f, "check") == 6
    assert count(optimize(f), "check", "select") == 0


def test_no_check_is_left_where_the_length_is_computed() -> None:
    with Builder("f") as b:
        n = b.param(T.scalar(i64), "n")
        a = b.param(ArrayType(f64, (n,)), "a")

        def step(i: Value, consts: Any, carries: Any, xs: Any) -> Any:
            (a,) = carries
            last = ops.sub(ops.sub(as_value(a.dims[0]), i), 1)
            return (put(a, at(a, last), i),), ()

        (a,) = ops.for_(n, step, (n,), (a,))
    g = optimize(b.build(a))
    assert count(g, "check", "select") == 0


def test_sums_of_ints_that_cannot_wrap_are_not_checked() -> None:
    def total(x: Value, y: Value) -> Value:
        ops.check(ops.logical_not(ops.add_wraps(x, y)), (), "OverflowError", "does not fit")
        return ops.add(x, y)

    def body(a: Value) -> tuple[Value, ...]:
        def step(i: Value, consts: Any, carries: Any, xs: Any) -> Any:
            k, a = carries
            return (total(k, Literal(1, i64)), put(a, at(a, i), total(i, Literal(-3, i64)))), ()

        return ops.for_(index(12), step, (), (Literal(0, i64), a))

    assert count(optimize(build([VECTOR], body)), "add_wraps", "check") == 0


def test_counters_of_any_depth_are_not_checked() -> None:
    """for i: for j: if p: k += 1, with Python's ints"""

    def one_more(k: Value) -> Value:
        ops.check(ops.logical_not(ops.add_wraps(k, 1)), (), "OverflowError", "does not fit")
        return ops.add(k, 1)

    def inner(i: Value, consts: Any, carries: Any, xs: Any) -> Any:
        (k,) = carries
        (k,) = ops.if_(ops.gt(consts[0], 2), lambda k: (one_more(k),), lambda k: (k,), (k,))
        return (one_more(k),), ()

    def outer(i: Value, consts: Any, carries: Any, xs: Any) -> Any:
        return ops.for_(consts[0], inner, consts, carries), ()

    def body(n: Value, k: Value) -> tuple[Value, ...]:
        return (*ops.for_(n, outer, (n,), (Literal(5, i64),)), *ops.for_(n, outer, (n,), (k,)))

    g = optimize(build([T.scalar(i64)] * 2, body))
    first, second = (eqn.regions[0] for eqn in g.eqns if eqn.op.name == "for")
    assert count(first, "check") == 0
    assert count(second, "check") == 2, "it may begin with the largest"


# -- what comes after a check ----------------------------------------------------------------------


def test_a_check_is_made_once() -> None:
    """a[j] += a[j]: one check, and one choice of sign."""

    def body(a: Value, j: Value) -> tuple[Value, ...]:
        return (put(a, ops.add(at(a, j), at(a, j)), j),)

    g = optimize(build([VECTOR, T.scalar(i64)], body))
    assert count(g, "check") == 1
    assert count(g, "select") == 1


def test_what_was_checked_bounds_what_is_computed_of_it() -> None:
    """a[j], then a[j + 12 if j < 0 else j] by hand, then x[12 + j] of a longer one."""

    def body(a: Value, x: Value, j: Value) -> tuple[Value, ...]:
        first = at(a, j)
        j2 = ops.select(ops.lt(j, 0), ops.add(j, 12), j)
        return ops.add(ops.add(first, at(a, j2)), at(x, ops.add(j, 12))), first

    types = [VECTOR, ArrayType(f64, (24,)), T.scalar(i64)]
    assert count(optimize(build(types, body)), "check") == 1


@pytest.mark.parametrize("start", [None, 0])
def test_links_that_are_followed_are_checked_when_they_are_read(start: int | None) -> None:
    """while a[i] > 0: i = a[i], from an index that was checked, or a known one."""

    def body(a: Value, i: Value) -> tuple[Value, ...]:
        def follow(consts: Any, carries: Any) -> Any:
            return (at(consts[0], carries[0]),)

        first = i if start is None else Literal(start, i64)
        going = lambda consts, carries: ops.gt(carries[0], 0)  # noqa: E731
        return ops.while_(going, follow, (a,), (at(a, first),))

    g = optimize(build([ArrayType(i64, (12,)), T.scalar(i64)], body))
    assert count(g, "check") == (2 if start is None else 1)

    def checked(a: Value, i: Value) -> tuple[Value, ...]:
        def follow(consts: Any, carries: Any) -> Any:
            found = at(consts[0], carries[0])
            at(consts[0], found)
            return (found,)

        first = i if start is None else Literal(start, i64)
        at(a, first)
        going = lambda consts, carries: ops.gt(carries[0], 0)  # noqa: E731
        return ops.while_(going, follow, (a,), (first,))

    g = optimize(build([ArrayType(i64, (12,)), T.scalar(i64)], checked))
    (loop,) = (eqn for eqn in g.eqns if eqn.op.name == "while")
    assert count(loop.regions[1], "check") == 1, "of the link that is read, not of the one followed"


def test_facts_of_arrays_that_were_checked() -> None:
    """a[ks] twice, of index arrays."""

    def body(a: Value, ks: Value) -> tuple[Value, ...]:
        for _ in range(2):
            ok = ops.bitwise_and(ops.ge(ks, -12), ops.lt(ks, 12))
            ops.check(ops.reduce_all(ok, (0,)), (), "IndexError", "out of bounds")
        return (ops.gather(a, [ops.select(ops.lt(ks, 0), ops.add(ks, 12), ks)], (0,)),)

    assert count(optimize(build([VECTOR, ArrayType(i64, (5,))], body)), "check") == 1


def test_nothing_is_concluded_before_the_check_or_beside_it() -> None:
    with Builder("f") as b:
        j, p = b.param(T.scalar(i64), "j"), b.param(T.scalar(T.bool_), "p")
        before = ops.lt(j, 20)

        def then(j: Value) -> Any:
            ops.check(ops.lt(j, 10), (), "IndexError", "")
            return (ops.lt(j, 20),)

        (inside,) = ops.if_(p, then, lambda j: (ops.lt(j, 20),), (j,))
        ops.check(ops.lt(j, 15), (), "IndexError", "")
        after = ops.lt(j, 20)
    g = optimize(b.build(before, inside, after))
    assert count(g, "check") == 2
    assert g.results[2] == Literal(True, T.bool_)
    assert isinstance(g.results[0].type, ArrayType)
    assert not isinstance(g.results[0], Literal)
    (branch,) = (e for e in g.eqns if e.op.name == "if")
    then, orelse = branch.regions
    assert then.results == (Literal(True, T.bool_),)
    assert not isinstance(orelse.results[0], Literal)


def test_what_holds_in_a_loop_does_not_hold_after_it() -> None:
    """n > 0 where the loop runs, and only there."""
    with Builder("f") as b:
        n = b.param(T.scalar(i64), "n")
        seen: list[Value] = []

        def step(i: Value, consts: Any, carries: Any, xs: Any) -> Any:
            seen.append(ops.gt(consts[0], 0))
            return (ops.select(seen[0], i, 0),), ()

        (last,) = ops.for_(n, step, (n,), (Literal(0, i64),))
        after = ops.gt(n, 0)
    g = optimize(b.build(last, after))
    assert not isinstance(g.results[1], Literal)
    (body,) = g.eqns[0].regions
    assert count(body, "gt", "select") == 0


# -- checks of loops -------------------------------------------------------------------------------


def picked_each_time(n: Value, k: Value, a: Value) -> tuple[Value, ...]:
    """for i in range(n): a[i] = a[k]"""

    def step(i: Value, consts: Any, carries: Any, xs: Any) -> Any:
        (k,), (a,) = consts, carries
        return (put(a, at(a, k), i),), ()

    return ops.for_(n, step, (k,), (a,))


def test_a_check_that_is_the_same_in_all_steps_is_made_in_front() -> None:
    f = build([T.scalar(i64), T.scalar(i64), VECTOR], picked_each_time)
    g = optimize(f)
    (loop,) = (eqn for eqn in g.eqns if eqn.op.name == "for")
    assert count(g, "check") == 2
    assert count(loop.regions[0], "check") == 1
    executable = compile(f, ["C"] * 3, {0: 2})
    for n, k, message in ((0, 50, ""), (3, -12, ""), (1, 12, "index 12"), (13, 4, "index 12")):
        x = np.arange(12.0)
        if message:
            with pytest.raises(JitnetError, match=message):
                executable.run([n, k, x])
            with pytest.raises(JitnetError, match=message):
                evaluate(f, [np.int64(n), np.int64(k), x])
        else:
            (expected,) = evaluate(f, [np.int64(n), np.int64(k), x])
            np.testing.assert_array_equal(executable.run([n, k, x])[0], expected)


def test_a_check_behind_another_stays_behind_it() -> None:
    """a[i] is out of bounds before a[k] is looked at, or not at all."""

    def body(n: Value, k: Value, a: Value) -> tuple[Value, ...]:
        def step(i: Value, consts: Any, carries: Any, xs: Any) -> Any:
            (k, a), (total,) = consts, carries
            first = at(a, ops.add(i, 12))
            return (ops.add(total, ops.add(first, at(a, k))),), ()

        return ops.for_(n, step, (k, a), (Literal(0.0, f64),))

    executable = compile(build([T.scalar(i64), T.scalar(i64), VECTOR], body), ["C"] * 3)
    with pytest.raises(JitnetError, match="index 12 is"):
        executable.run([1, 99, np.zeros(12)])


# -- what must stay --------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [13, 14])
def test_one_step_too_many_is_an_error(steps: int) -> None:
    f = build([VECTOR], lambda a: (over(steps, a, lambda i, a: put(a, at(a, i), i)),))
    executable = compile(f, ["C"], {0: 0})
    with pytest.raises(JitnetError, match="index 12 is out of bounds with size 12"):
        executable.run([np.zeros(12)])


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 14), st.integers(-14, 14), st.sampled_from([-2, -1, 1, 2]), st.integers(-14, 14)
)
def test_any_loop(trips: int, start: int, step: int, shift: int) -> None:
    """for k in range(trips): a[start + k * step] += a[k + shift], errors and all."""

    def body(k: Value, a: Value) -> Value:
        i = ops.add(ops.mul(k, step), start)
        return put(a, ops.add(at(a, i), at(a, ops.add(k, shift))), i)

    f = build([VECTOR], lambda a: (over(trips, a, body),))
    g = optimize(f)
    outcomes = []
    for h in (f, g):
        try:
            outcomes.append(evaluate(h, [np.arange(12.0)])[0].tolist())
        except JitnetError as error:
            outcomes.append(str(error).split("\n")[0])
    assert outcomes[0] == outcomes[1]
    if not isinstance(outcomes[0], str):
        assert count(g, "check") == 0, "no check can fail"


@settings(max_examples=150, deadline=None)
@given(st.integers(-20, 20), st.integers(-20, 20), st.integers(-20, 20))
def test_facts_hold_on_drawn_values(x: int, y: int, z: int) -> None:
    """Whatever is proved of values is so."""
    with Builder("f") as b:
        a, c, d = (b.param(T.scalar(i64), n) for n in "xyz")
        ops.check(ops.lt(a, c), (), "ValueError", "")
        ops.check(ops.bitwise_and(ops.ge(d, -5), ops.le(d, c)), (), "ValueError", "")
        values = [a, c, d, ops.maximum(a, d), ops.minimum(c, 7), ops.select(ops.lt(d, 0), c, d)]
        values += [ops.rem(a, 6), ops.floordiv(d, 3), ops.sub(c, a), ops.bitwise_and(d, 7)]
        f = b.build(*values)
    known = facts(f)
    try:
        drawn = evaluate(f, [np.int64(v) for v in (x, y, z)])
    except JitnetError:
        return
    for v, datum in zip(values, drawn):
        assert known.range(v).lo <= datum <= known.range(v).hi
        for w, other in zip(values, drawn):
            assert not known.less(v, w) or datum < other
            assert not known.less_equal(v, w) or datum <= other


def test_the_number_of_steps_does_not_show_in_the_code() -> None:
    """A hundred steps and a million: the same program but for one number."""

    def text(steps: int) -> str:
        def body(a: Value) -> tuple[Value, ...]:
            return (over(steps, a, lambda i, a: put(a, at(a, ops.rem(i, 12)), 5)),)

        def put(a: Value, value: Value, place: int) -> Value:
            return ops.update(a, ops.reshape(value, (1,)), (place,))

        kernels = compile(build([VECTOR], body), ["C"], {0: 0}).stages["llvm"]
        return kernels.replace(str(steps), "N")

    assert text(100_777) == text(1_000_777)


def test_llvms_passes_are_chosen_by_what_the_loops_do() -> None:
    def passes(body: Callable[[Value], Value]) -> str:
        f = fuse(optimize(build([VECTOR], lambda a: (body(a),))))
        return emit(lower(f, ["C"], {0: 0}).kernel, host_target()).passes

    assert passes(lambda a: ops.add(a, 1.0)) == ""
    assert passes(forwards) == "function"
    assert passes(with_the_one_before) == "module"


# -- arithmetic that such loops need ---------------------------------------------------------------


SIGNED = [(name, d) for name in ("i1", "i4", "i8") for d in (1, 2, 7, 16, -1, -2, -3, 0)]
UNSIGNED = [(name, d) for name in ("u2", "u8") for d in (1, 2, 3, 100, 0)]


@pytest.mark.parametrize(("name", "divisor"), SIGNED + UNSIGNED)
def test_division_by_a_literal(name: str, divisor: int) -> None:
    dtype = np.dtype(name)
    info = np.iinfo(dtype)
    x = np.array([0, 1, 2, 3, 5, 15, 16, 17, 99, info.max, info.max - 1, info.min], dtype)
    x = np.concatenate([x, info.min + x[:4], x[:8] if dtype.kind == "u" else -x[:8]])
    outs = [np.zeros_like(x) for _ in range(3)]
    known = Literal(divisor, T.from_numpy(dtype))

    def body(a: Value, *outs: Value) -> None:
        def each(i: Value) -> None:
            for op, out in zip((s.floordiv, s.rem, s.fmod), outs):
                store(out, op(load(a, i), known), i)

        for kind in ("vector", "seq"):
            loop(0, len(x), each, kind=kind)

    check_kernel(body, x, *outs)
    with np.errstate(all="ignore"):
        for ufunc, out in zip((np.floor_divide, np.remainder, np.fmod), outs):
            np.testing.assert_array_equal(out, ufunc(x, dtype.type(divisor)))


@settings(max_examples=100, deadline=None)
@given(st.data(), st.sampled_from(["i1", "u1", "i4", "i8", "u8"]))
def test_wrapping_is_told(data: st.DataObject, name: str) -> None:
    dtype = np.dtype(name).type
    info = np.iinfo(dtype)
    numbers = st.integers(info.min, info.max) | st.integers(max(info.min, -9), 9)
    x, y = data.draw(numbers), data.draw(numbers)
    for wraps, exact in (
        (ops.add_wraps, x + y),
        (ops.sub_wraps, x - y),
        (ops.mul_wraps, x * y),
    ):
        assert bool(wraps.row.numpy(dtype(x), dtype(y))) == (not info.min <= exact <= info.max)


# -- branches of scalars ---------------------------------------------------------------------------


def test_both_arms_of_a_short_branch_are_computed() -> None:
    """... but an arm's check only fails where the arm is taken."""

    def body(x: Value, y: Value) -> tuple[Value, ...]:
        def then(x: Value, y: Value) -> Any:
            ops.check(ops.gt(y, 0), (y,), "ValueError", "y is {0}")
            return (ops.add(x, y),)

        return ops.if_(ops.gt(x, 3), then, lambda x, y: (ops.mul(x, 2),), (x, y))

    executable = compile(build([T.scalar(i64)] * 2, body), ["C", "C"])
    assert "select" in executable.stages["kernels"]
    assert executable.run([5, 2]) == [7]
    assert executable.run([3, -1]) == [6]
    with pytest.raises(JitnetError, match="y is -1"):
        executable.run([4, -1])
