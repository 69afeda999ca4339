"""The compiler from end to end: what runs natively agrees with the array interpreter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ir_samples import HARD, Program
from op_functions import assert_same, function_of
from test_contract import LOWERED, OPS, REASSOCIATES, ulps_of

from jitnet import ops
from jitnet.interp import evaluate
from jitnet.ir import ArrayType, Builder, Function, Value, literal
from jitnet.ir.types import f32, f64, i64
from jitnet.runtime.executable import Executable, compile
from jitnet.transforms import value_and_grad


def native(f: Function, layouts: list[str] | None = None) -> Executable:
    return compile(f, layouts or ["C"] * len(f.params))


def fresh(args: list[Any]) -> list[Any]:
    return [a.copy() if isinstance(a, np.ndarray) else a for a in args]


def close(found: Any, expected: Any, rtol: float = 1e-11) -> None:
    x, y = np.asarray(found), np.asarray(expected)
    assert (x.dtype, x.shape) == (y.dtype, y.shape)
    np.testing.assert_allclose(x, y, rtol=rtol, atol=rtol)


CANCELS = {"logaddexp", "logaddexp2"}  # near 0, as NumPy's own do

# -- every op --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LOWERED)
def test_op(name: str) -> None:
    op = OPS[name]
    for sample in op.samples():
        f, args = function_of(op, sample, literals=True)
        expected = evaluate(f, args)
        found = native(f).run(fresh(args))
        for x, y in zip(found, expected, strict=True):
            if y.dtype.kind == "f" and name in REASSOCIATES:
                close(x, y, 1e-5 if y.dtype.itemsize == 4 else 1e-13)
            elif name in CANCELS:
                close(x, y, 1e-6 if y.dtype.itemsize == 4 else 1e-15)
            else:
                assert_same(x, y, ulps_of(op))


# -- layouts ---------------------------------------------------------------------------------------


def test_layouts_of_arguments() -> None:
    rng = np.random.default_rng(0)
    with Builder("f") as b:
        x = b.param(ArrayType(f64, (5, 7)), "x")
        y = b.param(ArrayType(f64, (5, 7)), "y")
        product = ops.dot(x, y, contract=((1,), (1,)))
        f = b.build(ops.add(x, ops.sin(y)), ops.reduce_sum(x, (0,)), product)
    c = rng.standard_normal((5, 7))
    wide = rng.standard_normal((10, 21))
    variants = {"C": c, "F": np.asfortranarray(c), "strided": wide[::-2, 1::3]}
    for kind_x, x_value in variants.items():
        for kind_y, y_value in variants.items():
            found = native(f, [kind_x, kind_y]).run([x_value, y_value])
            expected = evaluate(f, [np.ascontiguousarray(x_value), np.ascontiguousarray(y_value)])
            for a, e in zip(found, expected, strict=True):
                close(a, e)


# -- kernels: how many, and what they do not recompute ---------------------------------------------


def rows_of(dims: tuple[int, int], v: Value) -> Value:
    return ops.broadcast(v, dims, (0,))


def build_softmax(n: int, m: int) -> Function:
    with Builder("softmax") as b:
        x = b.param(ArrayType(f64, (n, m)), "x")
        w = b.param(ArrayType(f64, (n, m)), "w")
        e = ops.exp(ops.sub(x, rows_of((n, m), ops.reduce_max(x, (1,)))))
        y = ops.div(e, rows_of((n, m), ops.reduce_sum(e, (1,))))
        return b.build(ops.reduce_sum(ops.mul(y, w), (0, 1)), y)


def build_layernorm(n: int, m: int) -> Function:
    with Builder("layernorm") as b:
        x = b.param(ArrayType(f64, (n, m)), "x")
        w = b.param(ArrayType(f64, (n, m)), "w")
        gain = b.param(ArrayType(f64, (m,)), "gain")
        bias = b.param(ArrayType(f64, (m,)), "bias")
        centred = ops.sub(x, rows_of((n, m), ops.div(ops.reduce_sum(x, (1,)), float(m))))
        variance = ops.div(ops.reduce_sum(ops.mul(centred, centred), (1,)), float(m))
        scaled = ops.div(centred, rows_of((n, m), ops.sqrt(ops.add(variance, 1e-5))))
        y = ops.mul(scaled, ops.broadcast(gain, (n, m), (1,)))
        y = ops.add(y, ops.broadcast(bias, (n, m), (1,)))
        return b.build(ops.reduce_sum(ops.mul(y, w), (0, 1)), y)


def build_gelu(n: int, m: int) -> Function:
    with Builder("gelu") as b:
        x = b.param(ArrayType(f64, (n, m)), "x")
        cube = ops.mul(ops.mul(x, x), x)
        inner = ops.mul(ops.add(x, ops.mul(cube, 0.044715)), 0.7978845608)
        y = ops.mul(ops.mul(x, 0.5), ops.add(ops.tanh(inner), 1.0))
        return b.build(ops.reduce_sum(y, (0, 1)), y)


FUSIBLE = {"softmax": build_softmax, "layernorm": build_layernorm, "gelu": build_gelu}


@pytest.mark.parametrize("name", FUSIBLE)
@pytest.mark.parametrize("dims", [(5, 7), (3, 2000), (1, 1), (4, 1)])
def test_fused_kernels(name: str, dims: tuple[int, int]) -> None:
    f = FUSIBLE[name](*dims)
    g = value_and_grad(f, [i for i, p in enumerate(f.params) if p.name != "w"])
    rng = np.random.default_rng(1)
    args = [rng.standard_normal(p.shape) for p in f.params]
    for h in (f, g):
        program = native(h)
        assert 1 in dims or program.cost["kernels"] == 1
        for x, y in zip(program.run(fresh(args)), evaluate(h, args), strict=True):
            close(x, y)


def test_chain_is_one_kernel() -> None:
    with Builder("chain") as b:
        y = b.param(ArrayType(f32, (1000,)), "x")
        for _ in range(5):
            y = ops.add(ops.mul(y, 1.01), 0.5)
        f = b.build(y)
    program = native(f)
    assert program.cost["kernels"] == 1
    args = [np.linspace(-3, 3, 1000, dtype=np.float32)]
    assert_same(program.run(args)[0], evaluate(f, args)[0])


def test_expensive_work_is_not_done_twice() -> None:
    """exp is read by two stages of a softmax: it is computed once and kept."""
    kernels = native(build_softmax(8, 16)).stages["kernels"]
    assert kernels.count(" exp ") == 1


def test_sums_are_accurate() -> None:
    """A sum of many float32 terms is as close to the truth as NumPy's pairwise sum."""
    x = np.random.default_rng(2).random(1 << 20, dtype=np.float32)
    with Builder("total") as b:
        f = b.build(ops.reduce_sum(b.param(ArrayType(f32, x.shape)), (0,)))
    truth = x.astype(np.float64).sum()
    assert abs(native(f).run([x])[0] - truth) <= max(abs(x.sum() - truth), np.spacing(x.sum()))


@pytest.mark.parametrize("special", [np.inf, -np.inf, np.nan])
def test_sums_of_special_values(special: float) -> None:
    x = np.ones(5000)
    x[1234] = special
    with Builder("total") as b:
        f = b.build(ops.reduce_sum(b.param(ArrayType(f64, x.shape)), (0,)))
    np.testing.assert_equal(native(f).run([x])[0], special)


# -- storage ---------------------------------------------------------------------------------------


def test_update_of_a_dead_value_is_in_place() -> None:
    with Builder("f") as b:
        x = b.param(ArrayType(f64, (100,)), "x")
        y = ops.mul(x, 2.0)
        one = ops.reshape(ops.reduce_sum(y, (0,)), (1,))
        f = b.build(ops.update(y, one, [3], [1]))
    program = native(f)
    assert program.copies == []
    x_value = np.arange(100.0)
    assert_same(program.run([x_value])[0], evaluate(f, [x_value])[0])


def test_update_of_a_value_that_is_read_later_copies() -> None:
    with Builder("f") as b:
        x = b.param(ArrayType(f64, (100,)), "x")
        y = ops.mul(x, 2.0)
        z = ops.update(y, ops.full(literal(9.0, f64), (1,)), [3], [1])
        f = b.build(ops.add(y, z), z)
    program = native(f)
    assert len(program.copies) == 1
    assert "read later" in program.copies[0].reason
    for a, e in zip(program.run([np.arange(100.0)]), evaluate(f, [np.arange(100.0)])):
        assert_same(a, e)


def test_overlapping_update_reads_before_it_writes() -> None:
    with Builder("f") as b:
        x = b.param(ArrayType(f64, (50,)), "x")
        y = ops.mul(x, 1.5)
        f = b.build(ops.update(y, ops.slice(y, [0], [49], [1]), [1], [1]))
    assert_same(native(f).run([np.arange(50.0)])[0], evaluate(f, [np.arange(50.0)])[0])


def test_a_fold_does_not_overwrite_what_it_still_reads() -> None:
    """The mean ends in the sum of squares, and has the same shape: x.var(axis=0)."""
    with Builder("f") as b:
        x = b.param(ArrayType(f64, (4, 2, 3)), "x")
        mean = ops.div(ops.reduce_sum(x, (0,)), 4.0)
        apart = ops.sub(x, ops.broadcast(mean, (4, 2, 3), (1, 2)))
        f = b.build(ops.reduce_sum(ops.mul(apart, apart), (0,)))
    x_value = np.random.default_rng(5).random((4, 2, 3))
    close(native(f).run([x_value])[0], x_value.var(axis=0) * 4)


def test_arguments_keep_their_content() -> None:
    with Builder("f") as b:
        x = b.param(ArrayType(f64, (10,)), "x")
        f = b.build(ops.update(x, ops.full(literal(0.0, f64), (1,)), [3], [1]))
    x_value = np.arange(10.0)
    native(f).run([x_value])
    assert_same(x_value, np.arange(10.0))


def test_swapped_carries_are_not_copied_in_the_loop() -> None:
    with Builder("f") as b:
        x = b.param(ArrayType(f64, (10,)), "x")
        y = b.param(ArrayType(f64, (10,)), "y")
        n = b.param(ArrayType(i64), "n")
        results = ops.for_(n, lambda i, c, v, _: ((v[1], v[0]), ()), carries=(x, y))
        f = b.build(*results)
    x_value, y_value = np.arange(10.0), -np.arange(10.0)
    for n_value in (np.int64(0), np.int64(3), np.int64(4)):
        args = [x_value, y_value, n_value]
        for a, e in zip(native(f).run(args), evaluate(f, args), strict=True):
            assert_same(a, e)
    loop = native(f).stages["kernels"].split("kind='seq'}")[1].split("return")[0]
    assert "load" not in loop


# -- the hard functions ----------------------------------------------------------------------------


programs = pytest.mark.parametrize("program", HARD.values(), ids=HARD.keys())


@programs
@pytest.mark.parametrize("more", [0, 5])
def test_hard_function(program: Program, more: int) -> None:
    args = program.arguments(program.size + more)
    found = native(program.build(program.size + more)).run(fresh(args))
    for x, y in zip(found, program.numpy(*args), strict=True):
        close(x, y)


@programs
def test_hard_function_differentiated(program: Program) -> None:
    f = program.build(program.size)
    if not program.differentiable or f.results[0].rank or not f.results[0].dtype.is_inexact:
        f = scalar_of(f)
    args = program.arguments(program.size)
    g = value_and_grad(f, list(program.differentiable))
    for x, y in zip(native(g).run(fresh(args)), evaluate(g, args), strict=True):
        close(x, y)


def scalar_of(f: Function) -> Function:
    """The sum of squares of f's float results, in front of its results."""
    with Builder(f.name) as b:
        values = b.inline(f, b.params_like(f.params))
        total: Value | None = None
        for v in values:
            if v.dtype.is_inexact:
                part = ops.reduce_sum(ops.mul(v, v), tuple(range(v.rank)))
                total = part if total is None else ops.add(total, part)
        assert total is not None
        return b.build(total, *values)


IN_PLACE = {"cholesky": 0, "heat": 1, "sparse steps": 0}
"""Copies that a step makes: the stencil reads its neighbours, so the new inside is made aside."""


@pytest.mark.parametrize("name", IN_PLACE)
def test_steps_store_in_place(name: str) -> None:
    """The argument is copied once, in front; a step stores into that one buffer, and allocates no
    more than the inside of the stencil."""
    program = HARD[name]
    compiled = native(program.build(program.size))
    assert len(compiled.copies) == 1 + IN_PLACE[name]
    in_front, inside = compiled.stages["kernels"].split("kind='seq'", 1)
    assert "store" in inside
    assert inside.count(" = alloc ") == IN_PLACE[name]
    assert "alloc" not in in_front


def test_a_million_conditional_updates() -> None:
    """O(1) a step: a whole-array copy a step would take hours."""
    program = HARD["sparse steps"]
    n = 1_000_000
    compiled = native(program.build(n))
    kernels = compiled.stages["kernels"]
    args = program.arguments(n)
    found = compiled.run(fresh(args))
    assert len(compiled.copies) <= 1, "the argument is copied once, in front of the loop"
    inside = kernels.split("kind='seq'", 1)[1]
    assert "alloc" not in inside
    assert "store" in inside
    assert np.isfinite(np.asarray(found[0])).all()
