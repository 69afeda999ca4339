"""The container, the builder, the verifier, the rewrite driver and the facts."""

from __future__ import annotations

import builtins
import pickle
from collections.abc import Callable

import numpy as np
import pytest

from jitnet import errors, ops
from jitnet.errors import VerifyError
from jitnet.interp import evaluate
from jitnet.ir import (
    ArrayType,
    Builder,
    Dense,
    Eqn,
    Frame,
    Function,
    Literal,
    Loc,
    Rule,
    TypeRuleError,
    Value,
    facts,
    parse,
    rewrite,
    rule,
    verify,
)
from jitnet.ir import types as T
from jitnet.ir.facts import Range, dtype_range
from jitnet.kernel import scalars as s
from jitnet.kernel import statements
from jitnet.ops import control

N = T.scalar(T.i64)


def vector(n: T.Dim, dtype: T.DType = T.f64) -> ArrayType:
    return ArrayType(dtype, (n,))


def build(*results: Value, b: Builder) -> Function:
    f = b.build(*results)
    verify(f)
    return f


# -- the container ---------------------------------------------------------------------------------


def test_literals_are_equal_by_their_bits() -> None:
    assert Literal(0.0, T.f64) != Literal(-0.0, T.f64)
    assert Literal(np.nan, T.f64) == Literal(np.nan, T.f64)
    assert Literal(1, T.i32) != Literal(1, T.i64)
    assert hash(Literal(2.0, T.f32)) == hash(Literal(np.float32(2), T.f32))


def test_dense_is_immutable_and_compares_by_bytes() -> None:
    source = np.array([1.0, -0.0])
    dense = Dense(source)
    source[0] = 7.0
    assert dense == Dense([1.0, -0.0])
    assert dense != Dense([1.0, 0.0])
    with pytest.raises(ValueError, match="read-only"):
        dense.array[0] = 3.0


def _scaled(name: str, factor: float) -> Function:
    with Builder("f") as b:
        x = b.param(vector(3), name)
        y = ops.mul(x, factor)
    return build(y, b=b)


def test_functions_compare_by_structure_not_by_names() -> None:
    assert _scaled("x", 2.0) == _scaled("y", 2.0)
    assert hash(_scaled("x", 2.0)) == hash(_scaled("y", 2.0))
    assert _scaled("x", 2.0) != _scaled("x", 3.0)
    assert _scaled("x", 0.0) != _scaled("x", -0.0)


def test_attributes_are_told_apart_exactly() -> None:
    def check(message: str | float | bool) -> Function:
        with Builder("f") as b:
            ok = b.param(T.scalar(T.bool_), "ok")
            b.bind(control.CHECK, (ok,), {"error": "ValueError", "message": message})
        return b.build()

    assert check(1.0) != check(True)
    assert check(0.0) != check(-0.0)
    assert check(float("nan")) == check(float("nan"))


def test_params_like_maps_dims_whatever_the_order() -> None:
    n = Value(N, "n")
    x = Value(vector(n), "x")
    with Builder("g") as b:
        y, m = b.params_like([x, n])
    assert y.dims == (m,)
    with Builder("g") as b:
        y, m = b.params_like([x, n], {n: Literal(3, T.i64)})
    assert y.dims == (3,)


def test_an_op_on_the_wrong_types_is_refused_when_it_is_bound() -> None:
    with Builder("f") as b:
        x, y = b.param(vector(3)), b.param(vector(4))
        with pytest.raises(TypeRuleError, match="broadcast first"):
            ops.add(x, y)


# -- the verifier ----------------------------------------------------------------------------------


def refused(f: Function, *words: str) -> None:
    with pytest.raises(VerifyError) as caught:
        verify(f)
    for word in words:
        assert word in str(caught.value)


def test_use_before_definition() -> None:
    text = """jitnet 1 array
    func @f(%x: f64[3]) -> (f64[3]) {
      %y: f64[3] = neg %x
      %z: f64[3] = exp %y
      return %z
    }"""
    f = parse(text)
    verify(f)
    backwards = Function("f", f.params, f.eqns[::-1], f.results)
    refused(backwards, "JN022", "@f", "%z: f64[3] = exp %y", "%y is not defined before it is used")


def test_a_value_is_bound_once() -> None:
    f = _scaled("x", 2.0)
    refused(Function("f", f.params, f.eqns * 2, f.results), "is bound twice")
    refused(Function("f", f.params * 2, f.eqns, f.results), "%x is bound twice")


def test_recorded_types_are_the_inferred_ones() -> None:
    wrong = """jitnet 1 array
    func @f(%x: f64[3]) -> (f64[4]) {
      %y: f64[4] = mul %x, 2.0
      return %y
    }"""
    refused(parse(wrong), "`%y: f64[4] = mul %x, 2.0`", "gives f64[3] for %y, not f64[4]")


def test_what_a_rule_refuses_names_the_types() -> None:
    wrong = """jitnet 1 array
    func @f(%x: f64[3], %y: f32[3]) -> (f64[3]) {
      %z: f64[3] = add %x, %y
      return %z
    }"""
    refused(parse(wrong), "add", "(f64[3], f32[3])")


def test_array_regions_are_closed() -> None:
    with Builder("f") as b:
        x = b.param(vector(3), "x")
        p = b.param(T.scalar(T.bool_), "p")
        (y,) = control.if_(p, lambda: ops.neg(x), lambda: ops.exp(x), ())
    refused(b.build(y), "@f.then", "%x is not defined")


def test_kernel_regions_see_what_is_around_them() -> None:
    with Builder("f", "kernel") as b:
        x = b.param(T.BufferType(T.f64, (3,)), "x")
        statements.loop(0, 3, lambda i: statements.store(x, Literal(0.0, T.f64), i))
    verify(b.build())


def test_levels_do_not_mix() -> None:
    f = _scaled("x", 2.0)
    refused(Function("f", f.params, f.eqns, f.results, "kernel"), "no op of the kernel level")


def test_dims_are_i64_scalars_in_scope() -> None:
    stranger = Value(N, "n")
    x = Value(vector(stranger), "x")
    refused(Function("f", (x,), (), (x,)), "%n, which is not defined here")
    narrow = Value(T.scalar(T.i32), "n")
    y = Value(vector(narrow), "y")
    refused(Function("f", (narrow, y), (), (y,)), "i32 and not i64")


def test_the_dims_of_results_can_be_named_by_the_caller() -> None:
    with Builder("f") as b:
        mask, x = b.param(vector(5, T.bool_), "mask"), b.param(vector(5), "x")
        k, kept = b.bind(ops.index.COMPRESS, (mask, x))
    verify(b.build(k, kept))
    refused(b.build(kept), "neither a param nor a result")


def test_attributes_are_of_known_kinds() -> None:
    f = _scaled("x", 2.0)
    (eqn,) = f.eqns
    odd = Eqn(eqn.op, eqn.operands, {"odd": [1]}, (), eqn.results)
    with pytest.raises((VerifyError, TypeError), match="cannot be"):
        verify(Function("f", f.params, (odd,), f.results))


def test_errors_show_the_users_line(tmp_path: object) -> None:
    wrong = parse("""jitnet 1 array
    func @f(%x: f64[3]) -> (f64[4]) {
      %y: f64[4] = mul %x, 2.0
      return %y
    }""")
    (eqn,) = wrong.eqns
    here = Loc((Frame(__file__, 3, "model"),))
    placed = Eqn(eqn.op, eqn.operands, eqn.attrs, (), eqn.results, here)
    refused(Function("f", wrong.params, (placed,), wrong.results), f"{__file__}:3 in model")


# -- rewriting -------------------------------------------------------------------------------------


@rule(ops.neg)
def double_negation(eqn: Eqn, definition: Callable[[Value], Eqn | None]) -> Value | None:
    inner = definition(eqn.operands[0])
    return inner.operands[0] if inner is not None and inner.op is ops.neg else None


@rule(ops.exp2)
def by_exp(eqn: Eqn, definition: Callable[[Value], Eqn | None]) -> Value | None:
    return ops.exp(ops.neg(ops.neg(ops.mul(eqn.operands[0], float(np.log(2.0))))))


def test_nothing_to_rewrite_gives_the_same_object() -> None:
    f = _scaled("x", 2.0)
    assert rewrite(f, [double_negation, by_exp]) is f


def test_what_a_rule_builds_is_offered_in_turn() -> None:
    place = Loc((Frame("model.py", 12, "f"),), ("jvp",))
    with Builder("f") as b:
        x = b.param(vector(3), "x")
        with b.at(place):
            (y,) = b.bind(ops.exp2, (x,), names=["y"])
    g = rewrite(build(y, b=b), [double_negation, by_exp])
    verify(g)
    assert [e.op for e in g.eqns if e.op is not ops.neg] == [ops.mul, ops.exp]
    exp = g.eqns[-1]
    assert exp.op is ops.exp
    assert exp.operands == (g.eqns[0].result,)
    assert all(e.loc == place for e in g.eqns)
    assert exp.result.name == "y"


def test_regions_are_rewritten() -> None:
    with Builder("f") as b:
        x = b.param(vector(3), "x")
        p = b.param(T.scalar(T.bool_), "p")
        (y,) = control.if_(p, lambda a: ops.neg(ops.neg(a)), lambda a: ops.exp2(a), (x,))
    f = build(y, b=b)
    g = rewrite(f, [double_negation, by_exp])
    verify(g)
    then, orelse = g.eqns[0].regions
    assert then.results == then.params
    assert orelse.eqns[-1].op is ops.exp
    a = np.array([1.0, -2.0, 0.5])
    for pred in (np.True_, np.False_):
        np.testing.assert_allclose(evaluate(f, [a, pred])[0], evaluate(g, [a, pred])[0])


def test_a_replacement_of_another_type_is_a_bug() -> None:
    def wrong(eqn: Eqn, definition: object) -> Value:
        return Literal(1.0, T.f64)

    with pytest.raises(AssertionError, match="gave f64 for f64\\[3\\]"):
        rewrite(_scaled("x", 2.0), [Rule((ops.mul,), wrong)])


def test_kernel_regions_are_rewritten_in_the_scope_around_them() -> None:
    with Builder("f", "kernel") as b:
        x = b.param(T.BufferType(T.f64, (3,)), "x")
        c = b.param(T.scalar(T.f64), "c")
        d = s.neg(s.neg(c))
        statements.loop(0, 3, lambda i: statements.store(x, s.neg(d), i))
    f = b.build()
    verify(f)

    @rule(s.neg)
    def twice(eqn: Eqn, definition: Callable[[Value], Eqn | None]) -> Value | None:
        inner = definition(eqn.operands[0])
        return inner.operands[0] if inner is not None and inner.op is s.neg else None

    g = rewrite(f, [twice])
    verify(g)
    body = g.eqns[-1].regions[0]
    assert body.eqns[0].op is s.neg
    assert body.eqns[0].operands == (c,)


# -- facts -----------------------------------------------------------------------------------------


def test_affine_forms_and_equality() -> None:
    with Builder("f") as b:
        n, m = b.param(N, "n"), b.param(N, "m")
        a = ops.add(ops.mul(n, 2), ops.sub(m, 3))
        c = ops.sub(ops.add(ops.add(n, m), n), 3)
        d = ops.neg(ops.sub(3, ops.add(n, ops.add(m, n))))
        e = ops.add(a, 1)
    known = facts(build(a, c, d, e, b=b))
    assert known.equal(a, c)
    assert known.equal(a, d)
    assert not known.equal(a, e)
    assert not known.less(a, e), "a + 1 may wrap around"
    assert dict(known.affine(a).terms) == {n: 2, m: 1}
    assert known.affine(a).const == -3


def test_extents_of_arrays_that_exist_are_bounded() -> None:
    with Builder("f") as b:
        n = b.param(N, "n")
        x = b.param(vector(n), "x")
        up, down = ops.add(n, 1), ops.sub(n, 1)
        k = b.param(N, "k")
    known = facts(build(x, up, down, b=b))
    assert known.range(n) == Range(0, (2**63 - 1) // 8)
    assert known.range(down).lo == -1
    assert known.less(n, up)
    assert known.less(down, n)
    assert known.less_equal(0, n)
    assert not known.less(0, n)
    assert known.range(k) == dtype_range(T.i64)


def test_an_extent_about_to_be_made_proves_nothing() -> None:
    with Builder("f") as b:
        n = b.param(N, "n")
        m = ops.sub(n, 5)
        ops.empty((m,), T.f64)
    known = facts(b.build(m))
    assert known.range(m) == dtype_range(T.i64)


def test_ranges_through_ops() -> None:
    with Builder("f") as b:
        n = b.param(N, "n")
        p = b.param(T.scalar(T.bool_), "p")
        clipped = ops.minimum(ops.maximum(n, -3), 10)
        half = ops.floordiv(clipped, 4)
        wrapped = ops.rem(n, 7)
        chosen = ops.select(p, half, 20)
        narrow = ops.convert(clipped, T.i8)
        product = ops.mul(clipped, wrapped)
        squeezed = ops.convert(product, T.i16)
        wraps = ops.mul(ops.convert(clipped, T.i8), 100)
        grid = ops.iota((4, 6), 1)
        flat = ops.reshape(ops.add(grid, 1), (24,))
    known = facts(build(half, wrapped, chosen, narrow, product, squeezed, wraps, flat, b=b))
    assert known.range(clipped) == Range(-3, 10)
    assert known.range(half) == Range(-1, 2)
    assert known.range(wrapped) == Range(0, 6)
    assert known.range(chosen) == Range(-1, 20)
    assert known.range(narrow) == Range(-3, 10)
    assert known.range(product) == Range(-18, 60)
    assert known.range(squeezed) == Range(-18, 60)
    assert known.range(wraps) == dtype_range(T.i8)
    assert known.range(flat) == Range(1, 6)


def test_ranges_hold_on_drawn_values() -> None:
    with Builder("f") as b:
        x = b.param(N, "x")
        y = ops.minimum(ops.maximum(x, -9), 9)
        values = [y, ops.floordiv(y, 4), ops.rem(y, 5), ops.mul(y, y), ops.sub(3, y), ops.neg(y)]
        values += [ops.mul(ops.rem(y, -3), y), ops.floordiv(y, -2), ops.maximum(ops.neg(y), 2)]
    f = build(*values, b=b)
    known = facts(f)
    for drawn in range(-12, 13):
        for v, datum in zip(values, evaluate(f, [np.int64(drawn)])):
            assert known.range(v).lo <= datum <= known.range(v).hi


def test_loop_indices() -> None:
    with Builder("f") as b:
        n = b.param(N, "n")
        x = b.param(vector(n), "x")
        seen: list[Value] = []

        def body(
            i: Value, consts: tuple[Value, ...], carries: tuple[Value, ...], xs: object
        ) -> object:
            (limit,), (fixed, s) = consts, carries
            seen.extend([i, limit, ops.sub(ops.sub(limit, i), 1), ops.add(i, 1), fixed])
            return (fixed, ops.add(s, i)), ()

        control.for_(n, body, (n,), (n, Literal(0, T.i64)))
    f = build(x, b=b)
    known = facts(f)
    i, limit, mirrored, following, fixed = seen
    assert known.range(i).lo == 0
    assert known.less(i, limit)
    assert known.less(i, n)
    assert known.less_equal(0, mirrored)
    assert known.less(mirrored, limit)
    assert known.less_equal(following, limit)
    assert not known.less(following, limit)
    assert known.equal(fixed, n)


def test_nested_loop_indices_are_bounded_one_by_the_other() -> None:
    with Builder("f", "kernel") as b:
        n = b.param(N, "n")
        b.param(T.BufferType(T.f64, (n, n)), "x")
        seen: list[Value] = []
        statements.loop(
            0, n, lambda i: (statements.loop(0, i, lambda j: seen.extend([i, j])), None)[1]
        )
    known = facts(b.build())
    i, j = seen
    assert known.less(j, i)
    assert known.less(j, n)
    assert not known.less(i, j)


def test_a_shared_region_is_not_told_where_it_is() -> None:
    with Builder("body") as inner:
        i = inner.param(N, "i")
    body = inner.build()
    with Builder("f") as b:
        three, n = Literal(3, T.i64), b.param(N, "n")
        b.bind(control.FOR, (three,), _COUNTS, (body,))
        b.bind(control.FOR, (n,), _COUNTS, (body,))
    known = facts(build(b=b))
    assert known.range(i) == dtype_range(T.i64)


_COUNTS = {"consts": 0, "carries": 0, "scans": 0, "reverse": False}


# -- errors of programs ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*errors.RAISED_BY_PROGRAMS, "MadeUpError"])
def test_a_check_raises_pythons_class_with_the_users_line(name: str) -> None:
    frames = (Frame(__file__, 1, "model"),)
    with pytest.raises(errors.JitnetError, match="index 7") as caught:
        errors.raise_from_program(name, "index 7", frames)
    places = (builtins, np.exceptions, np.linalg)
    python = next((getattr(p, name) for p in places if hasattr(p, name)), RuntimeError)
    assert isinstance(caught.value, python)
    assert f"{__file__}:1 in model" in str(caught.value)


def test_codes_are_stable_and_unique() -> None:
    classes = [c for c in vars(errors).values() if isinstance(c, type)]
    codes = [c.code for c in classes if issubclass(c, errors.JitnetError)]
    assert len(set(codes)) == len(codes)
    assert all(len(code) == 5 and code.startswith("JN") for code in codes)


def test_errors_travel_between_processes() -> None:
    error = errors.ShapeError("add", why="because", remedy="reshape", frames=(Frame("f", 1),))
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is errors.ShapeError
    assert str(again) == str(error)


def test_equal_literals_are_one_object_without_a_name() -> None:
    one = Literal(0.1, T.f64)
    one.name = "x"  # of one program, where others have the object, too
    assert one is Literal(np.float64(0.1), T.f64)
    assert not one.name
    assert one is not Literal(0.1, T.f32)
