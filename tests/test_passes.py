"""The passes keep every bit, and do what they are for. Golden files show them one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jitnet import ops, passes
from jitnet.errors import VerifyError
from jitnet.interp import evaluate
from jitnet.ir import ArrayType, Builder, Eqn, Function, Literal, Value, parse, verify
from jitnet.ir import types as T
from jitnet.ops import control
from jitnet.passes.algebra import (
    COMMUTES,
    DECIDES,
    EVEN,
    IDEMPOTENT,
    INVOLUTIONS,
    NEUTRAL,
    OF_SAME,
    ROUNDINGS,
    holds_all,
    literal_of,
)
from jitnet.passes.late import compute_late

SPECIAL: dict[str, list[Any]] = {
    "b": [False, True],
    "i": [0, 1, -1, 2, 3, 7, -8, 100, -128],
    "u": [0, 1, 2, 3, 7, 100, 255],
    "f": [0.0, -0.0, 1.0, -1.0, 2.0, -0.5, 3.0, 1e300, 5e-324, np.inf, -np.inf, np.nan],
}
DTYPES = (T.bool_, T.i8, T.i64, T.u8, T.f32, T.f64)


def values_of(dtype: T.DType) -> np.ndarray[Any, Any]:
    with np.errstate(over="ignore"):
        return np.array(SPECIAL[dtype.kind]).astype(dtype.numpy)


def assert_same_bits(f: Function, g: Function, args: Sequence[Any]) -> None:
    """Equal but for the signs and payloads of NaNs."""
    verify(g)
    for a, b in zip(evaluate(f, args), evaluate(g, args), strict=True):
        a, b = np.asarray(a), np.asarray(b)
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
        if a.dtype.kind == "f":
            number = ~np.isnan(a)
            np.testing.assert_array_equal(np.signbit(a)[number], np.signbit(b)[number])


def kinds(op: Any) -> str:
    return str(op.row.operands[0])


# -- the tables of the algebra ---------------------------------------------------------------------


def _with(op: Any, dtype: T.DType, number: Any, flip: bool = False) -> tuple[Function, list[Any]]:
    data = values_of(dtype)
    with Builder("f") as b:
        x = b.param(ArrayType(dtype, data.shape), "x")
        literal = literal_of(number, dtype)
        y = op(literal, x) if flip else op(x, literal)
    return b.build(y), [data]


@pytest.mark.parametrize(
    ("op", "number", "dtype"),
    [
        pytest.param(op, number, dtype, id=f"{op.name}-{dtype}")
        for op, on, number, *_ in (*NEUTRAL, *DECIDES)
        for dtype in DTYPES
        if dtype.kind in on and dtype.kind in kinds(op)
    ],
)
def test_literals_that_settle_an_op(op: Any, number: Any, dtype: T.DType) -> None:
    f, args = _with(op, dtype, number)
    g = passes.run(f, [passes.simplify, passes.dce])
    assert_same_bits(f, g, args)
    assert not g.eqns or g.eqns[0].op is ops.shape.BROADCAST
    if op in COMMUTES:
        f, args = _with(op, dtype, number, flip=True)
        flipped = passes.run(f, [passes.simplify, passes.dce])
        assert [e.op for e in flipped.eqns] == [e.op for e in g.eqns]


@pytest.mark.parametrize("dtype", [T.i8, T.i64], ids=str)
@pytest.mark.parametrize("outer", [ops.add, ops.sub], ids=["add", "sub"])
@pytest.mark.parametrize("inner", [ops.add, ops.sub], ids=["add", "sub"])
def test_sums_with_two_constants_have_one(inner: Any, outer: Any, dtype: T.DType) -> None:
    least = -(2 ** (dtype.bits - 1))
    for first in (1, -1, 100, least, -least - 1):
        for second in (1, -1, 100, least, -least - 1):
            f, args = _with(inner, dtype, first)
            with Builder("g") as b:
                x = b.param(f.params[0].type, "x")
                g = b.build(outer(inner(x, literal_of(first, dtype)), literal_of(second, dtype)))
            h = passes.run(g, [passes.simplify, passes.dce])
            assert len(h.eqns) < 2
            assert_same_bits(g, h, args)


def _typed(ops_: Sequence[Any]) -> list[Any]:
    """Each op with each dtype that it takes."""
    pairs = [(op, dtype) for op in dict.fromkeys(ops_) for dtype in DTYPES]
    return [
        pytest.param(op, dtype, id=f"{op.name}-{dtype}")
        for op, dtype in pairs
        if dtype.kind in kinds(op)
    ]


@pytest.mark.parametrize(("op", "dtype"), _typed([r[0] for r in NEUTRAL if r[0] is not ops.zmul]))
def test_all_other_literals_keep_the_value(op: Any, dtype: T.DType) -> None:
    for number in values_of(dtype):
        if op is ops.pow and (number == 3 or (dtype.is_integer and number < 0)):
            continue
        f, args = _with(op, dtype, number)
        assert_same_bits(f, passes.optimize(f), args)


@pytest.mark.parametrize(("op", "dtype"), _typed([r[0] for r in OF_SAME]))
def test_same_operands(op: Any, dtype: T.DType) -> None:
    data = values_of(dtype)
    with Builder("f") as b:
        x = b.param(ArrayType(dtype, data.shape), "x")
        y = op(x, x)
    f = b.build(y)
    assert_same_bits(f, passes.optimize(f), [data])


UNARY = tuple(dict.fromkeys((*INVOLUTIONS, *ROUNDINGS, *IDEMPOTENT, *EVEN)))


@pytest.mark.parametrize(("inner", "dtype"), _typed(UNARY))
def test_unary_on_unary(inner: Any, dtype: T.DType) -> None:
    data = values_of(dtype)
    for outer in UNARY:
        with Builder("f") as b:
            y = inner(b.param(ArrayType(dtype, data.shape), "x"))
            z = outer(y) if y.dtype.kind in kinds(outer) else y
        f = b.build(z)
        g = passes.optimize(f)
        assert_same_bits(f, g, [data])
        again = inner is outer and inner is not ops.square and y.dtype == dtype
        assert not again or len(g.eqns) <= 1


@pytest.mark.parametrize("source", DTYPES, ids=str)
@pytest.mark.parametrize("middle", DTYPES, ids=str)
def test_holds_all_is_what_numpy_shows(source: T.DType, middle: T.DType) -> None:
    data = values_of(source)
    if source.is_integer:
        info = np.iinfo(source.numpy)
        data = np.append(data, np.array([info.min, info.max, info.max - 1], source.numpy))
    with np.errstate(all="ignore"):
        back = data.astype(middle.numpy).astype(source.numpy)
        survives = np.array_equal(back, data, equal_nan=source.is_float)
        same_value = np.array_equal(data.astype(middle.numpy), data, equal_nan=source.is_float)
    assert holds_all(source, middle) == bool(survives and same_value)


@pytest.mark.parametrize("source", DTYPES, ids=str)
@pytest.mark.parametrize("middle", DTYPES, ids=str)
@pytest.mark.parametrize("target", DTYPES, ids=str)
def test_conversions_in_a_row(source: T.DType, middle: T.DType, target: T.DType) -> None:
    data = values_of(source)
    if source.is_float:
        data = data[np.isfinite(data) & (abs(data) < 100) & (data >= 0)]
    with Builder("f") as b:
        x = b.param(ArrayType(source, data.shape), "x")
        y = ops.convert(ops.convert(x, middle), target)
    f = b.build(y)
    assert_same_bits(f, passes.optimize(f), [data])


def test_a_third_power_is_within_an_ulp() -> None:
    data = np.append(np.random.default_rng(0).uniform(-9, 9, 1000), values_of(T.f64))
    f, _ = _with(ops.pow, T.f64, 3.0)
    with Builder("f") as b:
        y = ops.pow(b.param(ArrayType(T.f64, data.shape), "x"), 3.0)
    f = b.build(y)
    (expected,), (got,) = evaluate(f, [data]), evaluate(passes.optimize(f), [data])
    assert all(e.op is not ops.pow for e in passes.optimize(f).eqns)
    with np.errstate(all="ignore"):
        np.testing.assert_array_max_ulp(got[np.isfinite(expected)], expected[np.isfinite(expected)])
    odd = ~np.isfinite(expected)
    np.testing.assert_array_equal(got[odd], expected[odd])


def test_strong_zeros_stay_strong() -> None:
    with Builder("f") as b:
        x, y = (b.param(ArrayType(T.f64, (3,)), name) for name in "xy")
        bounded = ops.select(ops.gt(x, 0.0), 1.0, ops.full(Literal(0.5, T.f64), (3,)))
        results = [ops.zmul(x, y), ops.zmul(x, bounded), ops.zmul(bounded, bounded)]
        results += [ops.zmul(x, 3.0), ops.zmul(x, np.inf)]
    f = b.build(*results)
    g = passes.optimize(f)
    left = [e.operands for e in g.eqns if e.op is ops.zmul]
    assert len(left) == 3, "only a finite partner makes a zero safe"
    args = [np.array([0.0, 2.0, -1.0]), np.array([np.inf, np.nan, 3.0])]
    for a, c in zip(evaluate(f, args), evaluate(g, args)):
        np.testing.assert_array_equal(a, c)


# -- random straight-line programs -----------------------------------------------------------------

_BINARY = (ops.add, ops.sub, ops.mul, ops.div, ops.maximum, ops.minimum)
_SINGLE = (ops.neg, ops.abs, ops.square, ops.floor, ops.sqrt, ops.rint)
_SHAPES = ((2, 3), (3, 2), (6,), ())


@st.composite
def programs(draw: st.DrawFn) -> Function:
    """Straight-line f64 programs of pointwise ops, views, boxes, updates and choices."""
    number = st.sampled_from(SPECIAL["f"])
    with Builder("f") as b:
        values: list[Value] = [b.param(ArrayType(T.f64, (2, 3)), name) for name in "xy"]
        for _ in range(draw(st.integers(1, 12))):
            x = draw(st.sampled_from(values))
            peers = [v for v in values if v.dims == x.dims]
            other: Any = draw(st.one_of(st.sampled_from(peers), number))
            values.append(draw(st.sampled_from(_STEPS))(draw, x, other))
    return b.build(*values[-3:])


def _pointwise(draw: st.DrawFn, x: Value, other: Any) -> Value:
    op: Any = draw(st.sampled_from(_BINARY))
    return op(other, x) if draw(st.booleans()) else op(x, other)


def _single(draw: st.DrawFn, x: Value, other: Any) -> Value:
    op: Any = draw(st.sampled_from(_SINGLE))
    return op(x)


def _choice(draw: st.DrawFn, x: Value, other: Any) -> Value:
    return ops.select(ops.lt(x, other), x, other)


def _view(draw: st.DrawFn, x: Value, other: Any) -> Value:
    if x.rank == 0:
        return ops.full(x, draw(st.sampled_from(_SHAPES)))
    if draw(st.booleans()):
        return ops.reshape(x, draw(st.sampled_from(_SHAPES[:3])))
    return ops.transpose(x, draw(st.permutations(range(x.rank))))


def _box(draw: st.DrawFn, x: Value, other: Any) -> Value:
    size = x.shape
    if draw(st.booleans()):
        return ops.slice(x, [n - 1 for n in size], size, [-1] * x.rank)
    starts = [draw(st.integers(0, n - 1)) for n in size]
    part = ops.slice(x, starts, [n - s for s, n in zip(starts, size)])
    places = [draw(st.integers(0, s)) for s in starts]
    return ops.update(x, part, places)


def _uniform(draw: st.DrawFn, x: Value, other: Any) -> Value:
    return ops.full(Literal(draw(st.sampled_from(SPECIAL["f"])), T.f64), x.dims)


_STEPS = (_pointwise, _pointwise, _single, _choice, _view, _box, _uniform)


@settings(max_examples=150, deadline=None)
@given(programs(), st.integers(0, 10))
def test_optimised_programs_give_the_same_bits(f: Function, seed: int) -> None:
    rng = np.random.default_rng(seed)
    args = [rng.choice(values_of(T.f64), (2, 3)) for _ in f.params]
    g = passes.optimize(f)
    assert_same_bits(f, g, args)
    assert parse(str(g)) == g
    assert len(g.eqns) <= len(f.eqns) + 2


# -- reductions, products --------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [T.f64, T.i64, T.u8], ids=str)
@pytest.mark.parametrize("name", ["sum", "prod", "min", "max"])
def test_reductions_of_one_element(name: str, dtype: T.DType) -> None:
    data = values_of(dtype)[:, None, None]
    with Builder("f") as b:
        x = b.param(ArrayType(dtype, data.shape), "x")
        y = getattr(ops, f"reduce_{name}")(x, (1, 2))
        z = getattr(ops, f"reduce_{name}")(x, ())
    f = b.build(y, z)
    g = passes.optimize(f)
    assert_same_bits(f, g, [data])
    assert all("reduce" not in e.op.name for e in g.eqns)


PERMS = [(0, 1, 2), (1, 0, 2), (2, 0, 1), (2, 1, 0)]


@pytest.mark.parametrize("left", PERMS)
@pytest.mark.parametrize("right", PERMS)
@pytest.mark.parametrize("after", [(0, 1, 2), (0, 2, 1), (2, 1, 0)])
def test_transposes_around_products(left: Any, right: Any, after: Any) -> None:
    shape_x, shape_y = np.array([2, 3, 4]), np.array([2, 4, 5])
    with Builder("f") as b:
        x = b.param(ArrayType(T.i64, tuple(map(int, shape_x[np.argsort(left)]))), "x")
        y = b.param(ArrayType(T.i64, tuple(map(int, shape_y[np.argsort(right)]))), "y")
        xt, yt = ops.transpose(x, left), ops.transpose(y, right)
        z = ops.transpose(ops.dot(xt, yt, ((2,), (1,)), ((0,), (0,))), after)
    f = b.build(z)
    rng = np.random.default_rng(0)
    args = [rng.integers(-9, 9, v.shape) for v in f.params]
    g = passes.optimize(f)
    assert_same_bits(f, g, args)
    moves = sum(e.op is ops.shape.TRANSPOSE for e in g.eqns)
    assert moves <= (after == (2, 1, 0))


def test_a_product_that_is_read_twice_is_not_computed_twice() -> None:
    with Builder("f") as b:
        x = b.param(ArrayType(T.f64, (3, 4)), "x")
        y = b.param(ArrayType(T.f64, (4, 5)), "y")
        z = ops.dot(x, y, ((1,), (0,)))
    f = b.build(z, z)
    with Builder("f") as b:
        outs = b.inline(f, b.params_like(f.params))
        flipped = ops.transpose(outs[0], (1, 0))
    g = passes.optimize(b.build(outs[0], flipped))
    assert sum(e.op is ops.linalg.DOT for e in g.eqns) == 1


# -- folding ---------------------------------------------------------------------------------------


def test_scalars_fold_through_symbolic_dims() -> None:
    text = """jitnet 1 array
    func @f(%x: f64[3]) -> (f64[6]) {
      %n: i64 = mul 3, 2
      %0: f64[%n] = iota %n {axis=0, dtype=f64}
      %1: f64[%n] = add %0, 1.0
      %two: f64 = sqrt 4.0
      %2: f64[%n] = broadcast %two, %n {axes=()}
      %3: f64[%n] = mul %1, %2
      %4: f64[6] = reshape %3, 6
      return %4
    }"""
    f = parse(text)
    g = passes.optimize(f)
    assert [e.op.name for e in g.eqns] == ["iota", "add", "mul"]
    assert g.eqns[-1].operands[1] == Literal(2.0, T.f64)
    assert_same_bits(f, g, [np.zeros(3)])


def test_a_constant_index_out_of_bounds_is_left_to_run() -> None:
    with Builder("f") as b:
        table = ops.const(np.arange(3.0))
        y = ops.reshape(ops.slice(table, (5,), (1,)), ())
    f = b.build(y)
    assert any(e.op is ops.slicing.SLICE for e in passes.optimize(f).eqns)


def test_what_raises_is_not_folded() -> None:
    with Builder("f") as b:
        ops.check(Literal(False, T.bool_), (), "ValueError", "always")
    g = passes.optimize(b.build())
    assert [e.op for e in g.eqns] == [control.CHECK]
    with pytest.raises(ValueError, match="always"):
        evaluate(g, [])


# -- dead code and common subexpressions -----------------------------------------------------------


def test_checks_stay_in_order_and_in_number() -> None:
    with Builder("f") as b:
        for message in ("first", "second", "first"):
            ops.check(b.param(T.scalar(T.bool_)), (), "ValueError", message)
    g = passes.optimize(b.build())
    assert [e.attrs["message"] for e in g.eqns] == ["first", "second", "first"]


def test_a_dim_keeps_what_computes_it() -> None:
    with Builder("f") as b:
        mask = b.param(ArrayType(T.bool_, (5,)), "mask")
        x = b.param(ArrayType(T.f64, (5, 2)), "x")
        _k, kept, _unread = ops.compress(mask, (x, x))
        total = ops.reduce_sum(ops.transpose(kept, (1, 0)), (0, 1))
    f = b.build(total)
    g = passes.optimize(f)
    verify(g)
    assert g.eqns[0].results[0].type == T.scalar(T.i64)
    assert_same_bits(f, g, [np.array([1, 0, 1, 1, 0], bool), np.arange(10.0).reshape(5, 2)])


def _nest(depth: int) -> Function:
    """Loops in loops; each carries one value that is read and one that is not."""

    def body(level: int) -> Any:
        def step(i: Value, consts: Any, carries: Any, xs: Any) -> Any:
            used, unused = carries
            if level:
                inner = ops.for_(Literal(2, T.i64), body(level - 1), (), (used, unused))
                return inner, ()
            return (ops.add(used, 1.0), ops.mul(unused, used)), ()

        return step

    with Builder("f") as b:
        x = b.param(ArrayType(T.f64, (2,)), "x")
        used, _unused = ops.for_(Literal(2, T.i64), body(depth - 1), (), (x, x))
    return b.build(used)


def test_dead_carries_of_nested_loops_go_in_one_sweep() -> None:
    f = _nest(6)
    g = passes.dce(f)
    assert_same_bits(f, g, [np.array([1.0, 2.0])])
    for eqn in g.walk():
        if eqn.op is control.FOR:
            assert eqn.attrs["carries"] == 1
    assert all(e.op is not ops.mul for e in g.walk())


def test_arms_lose_what_nothing_reads() -> None:
    with Builder("f") as b:
        p = b.param(T.scalar(T.bool_), "p")
        x, y = (b.param(ArrayType(T.f64, (3,)), name) for name in "xy")
        kept, _ = ops.if_(
            p, lambda a, c: (ops.neg(a), ops.exp(c)), lambda a, c: (a, ops.log(c)), (x, y)
        )
    f = b.build(kept)
    (branch,) = passes.dce(f).eqns
    assert len(branch.results) == 1
    assert branch.operands == (p, x)
    assert [len(r.eqns) for r in branch.regions] == [1, 0]


def test_equal_equations_merge_and_fresh_arrays_do_not() -> None:
    with Builder("f") as b:
        x = b.param(ArrayType(T.f64, (1,)), "x")
        first, second = (ops.empty((3,), T.f64) for _ in range(2))
        a, c = ops.update(first, x, (0,)), ops.update(second, x, (1,))
        same = [ops.exp(x), ops.exp(x), ops.iota((3,)), ops.iota((3,))]
    f = b.build(a, c, ops_sum(b, same[:2]), ops_sum(b, same[2:]))
    g = passes.cse(f)
    verify(g)
    names = [e.op.name for e in g.eqns]
    assert names.count("empty") == 2
    assert names.count("exp") == 1
    assert names.count("iota") == 1


def ops_sum(b: Builder, values: Sequence[Value]) -> Value:
    with b:
        return ops.add(values[0], values[1])


def test_locations_survive() -> None:
    from jitnet.ir import Frame, Loc

    place = Loc((Frame("model.py", 7, "f"),))
    with Builder("f") as b:
        x = b.param(ArrayType(T.f64, (3,)), "x")
        with b.at(place):
            y = ops.exp(ops.neg(ops.neg(ops.div(x, 2.0))))
    g = passes.optimize(b.build(y))
    assert [e.op for e in g.eqns] == [ops.mul, ops.exp]
    assert all(e.loc == place for e in g.eqns)


# -- the pipeline ----------------------------------------------------------------------------------


def test_a_pass_that_breaks_the_ir_is_found_at_once() -> None:
    def careless(f: Function) -> Function:
        return Function(f.name, f.params, f.eqns[1:], f.results)

    f, _ = _with(ops.mul, T.f64, 2.0)
    with pytest.raises(VerifyError, match="not defined"):
        passes.run(f, [careless])


def test_nothing_to_do_gives_the_same_object() -> None:
    with Builder("f") as b:
        x, p = b.param(ArrayType(T.f64, (3,)), "x"), b.param(T.scalar(T.bool_), "p")
        (y,) = ops.if_(p, ops.exp, lambda a: a, (x,))
        (z,) = ops.for_(
            Literal(3, T.i64),
            lambda i, cs, carries, xs: ((ops.add(*carries, *cs),), ()),
            (x,),
            (y,),
        )
    f = b.build(z)
    for step in (*passes.OPTIMIZE, passes.fold):
        assert step(f) is f, step.__name__
    assert passes.optimize(f) is f


def test_later_views_of_what_moves_stay_behind_what_they_need() -> None:
    f = parse("""jitnet 1 array
func @f(%x: f64[4], %y: f64[4], %v: f64[3], %k: i64) -> (f64[4], f64[4], f64[2]) {
  %u: f64[4] = add %x, 1.0
  %b: f64[4] = update %y, %v, 1 {steps=(1,)}
  %m: f64[4] = maximum %u, %b
  %d: f64[4] = update %m, %v, 0 {steps=(1,)}
  %j: i64 = bitwise_and %k, 1
  %w: f64[2] = slice %u, %j, 2 {steps=(1,)}
  %r: f64[2] = mul %w, %w
  return %b, %d, %r
}
""")
    order = compute_late(f.eqns, f.results)
    assert [eqn.results[0].name for eqn in order][:2] == ["b", "u"]
    verify(replace(f, eqns=tuple(order)))


def test_the_time_is_linear_in_the_program() -> None:
    """A thousand steps that cannot be simplified, then optimised: a guard against quadratic rules,
    by the number of equations that rules are offered."""
    offered = 0

    def program(n: int) -> Function:
        with Builder("f") as b:
            x = b.param(ArrayType(T.f64, (3,)), "x")
            for k in range(n):
                x = ops.exp(ops.add(x, float(k) + 0.5))
        return b.build(x)

    from jitnet.ir import Rule, rewrite

    def count(eqn: Eqn, definition: object) -> None:
        nonlocal offered
        offered += 1

    for n in (100, 1000):
        offered = 0
        rewrite(program(n), [Rule((), count)])
        assert offered == 2 * n
    assert len(passes.optimize(program(1000)).eqns) == 2000
