"""Rows of the scalar table: their expansions compute what NumPy computes."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scalar_samples import ROWS, assert_agrees, combinations, conversions, samples

from jitnet.ir import Builder, TypeRuleError
from jitnet.ir import types as T
from jitnet.kernel import scalars as s
from jitnet.kernel.basic import CAST
from jitnet.kernel.interp import evaluate, expansion, run
from jitnet.kernel.reference import cast_reference, fma_reference

ARGUMENTS = [pytest.param(op, id=op.name) for op in ROWS]


def loops(op, dtypes) -> bool:
    return op.expand is not None and any(e.regions for e in expansion(op, dtypes).eqns)


def expanded(op, operands):
    """The row's expansion on arrays; one by one where it loops."""
    dtypes = tuple(T.from_numpy(x.dtype) for x in operands)
    if dtypes[-1].kind in op.llvm or op.expand is None or not loops(op, dtypes):
        count = len(operands[0])
        return np.broadcast_to(np.asarray(evaluate(op, *operands)), (count,))
    return np.array([evaluate(op, *xs) for xs in zip(*operands)])


@pytest.mark.parametrize("op", ARGUMENTS)
def test_every_dtype_has_a_spelling(op):
    for dtypes in combinations(op):
        spelled = dtypes[-1].kind in op.llvm or op.expand is not None
        assert spelled or (op.libm is not None and dtypes[-1].is_float), f"{op.name} on {dtypes}"


@pytest.mark.parametrize("op", ARGUMENTS)
def test_expansion_is_numpy(op):
    for dtypes in combinations(op):
        operands = samples(op, dtypes)
        if op.expand is not None and dtypes[-1].kind not in op.llvm and loops(op, dtypes):
            operands = tuple(x[::7] for x in operands)
        assert_agrees(op, expanded(op, operands), operands)


@pytest.mark.parametrize("op", ARGUMENTS)
def test_expansion_has_the_type_of_the_row(op):
    for dtypes in combinations(op):
        if op.expand is not None and dtypes[-1].kind not in op.llvm:
            assert expansion(op, dtypes).results[0].dtype == op.result_dtype(dtypes)


@pytest.mark.parametrize("op", ARGUMENTS)
def test_numpy_reference_works_on_scalars(op):
    for dtypes in combinations(op):
        operands = [x[3] for x in samples(op, dtypes)]
        with np.errstate(all="ignore"):
            got = op.numpy(*operands)
        assert got.dtype == op.result_dtype(dtypes).numpy
        assert got.shape == ()


def test_llvm_templates_name_only_operands_and_types():
    for op in ROWS:
        for template in op.llvm.values():
            if not template.startswith("llvm."):
                types = {"T": "float", "B": "i1", "S": "f32", "r": "%r"}
                text = template.format(*["%a", "%b", "%c"][: op.arity], **types)
                assert not re.search(r"\{\w*\}", text)


# -- casts -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", T.DTYPES.values(), ids=str)
def test_cast_is_astype(source):
    for x_dtype, target, x in conversions():
        if x_dtype != source:
            continue
        if source.is_float and target is T.u32:  # NumPy's result is not its own out of range
            x = x[np.isfinite(x) & (np.abs(x) < 2.0**31)]
        with np.errstate(all="ignore"):
            got, want = cast_reference(x, target.numpy), x.astype(target.numpy)
        assert got.dtype == want.dtype
        assert got.tobytes() == want.tobytes(), f"{source} to {target}"


@pytest.mark.parametrize(
    ("x", "want"), [(2.0**32 + 5, 5), (-1.5, 2**32 - 1), (np.nan, 0), (1e300, 0), (4e9, 4 * 10**9)]
)
def test_cast_to_u32_goes_through_i64(x, want):
    assert cast_reference(np.float64(x), np.dtype("uint32")) == want


def test_cast_to_the_same_dtype_binds_nothing():
    with Builder("f", "kernel") as b:
        x = b.param(T.scalar(T.f32), "x")
        assert s.cast(x, T.f32) is x
        assert not b.eqns
        assert s.cast(x, T.i8).dtype is T.i8
    assert b.eqns[0].op is CAST


def test_bitcast_keeps_bits_and_refuses_other_widths():
    with Builder("f", "kernel") as b:
        x = b.param(T.scalar(T.f64), "x")
        f = b.build(s.bitcast(x, T.i64))
        with pytest.raises(TypeRuleError, match="no bitcast from f64 to i32"):
            s.bitcast(x, T.i32)
    assert run(f, [-0.0]) == (np.int64(-(2**63)),)


# -- single rows -----------------------------------------------------------------------------------


def test_operands_are_checked():
    with Builder("f", "kernel") as b:
        x, n = b.param(T.scalar(T.f32), "x"), b.param(T.scalar(T.i32), "n")
        with pytest.raises(TypeRuleError, match="cast first"):
            s.add(x, n)
        with pytest.raises(TypeRuleError, match="does not take"):
            s.left_shift(x, x)
        assert s.ldexp(x, n).dtype is T.f32
        assert s.lt(1.0, x).dtype is T.bool_


def exact_fma(x, y, z, dtype):
    from fractions import Fraction

    exact = Fraction(x) * Fraction(y) + Fraction(z)
    if dtype is np.float64:
        return np.float64(exact.numerator / exact.denominator)
    # f32: the neighbour that is nearest, ties to even
    guess = np.float32(exact.numerator / exact.denominator)
    near = [
        guess,
        np.nextafter(guess, np.float32(np.inf)),
        np.nextafter(guess, np.float32(-np.inf)),
    ]
    near = [v for v in near if np.isfinite(v)]
    return min(near, key=lambda v: (abs(Fraction(float(v)) - exact), int(v.view(np.int32)) & 1))


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.data())
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_fma_rounds_once(dtype, data):
    width = 32 if dtype is np.float32 else 64
    numbers = st.floats(-(2.0**40), 2.0**40, width=width) | st.floats(-4.0, 4.0, width=width)
    x, y = data.draw(numbers), data.draw(numbers)
    # half of the time an addend that nearly cancels the product
    z = data.draw(numbers) if data.draw(st.booleans()) else -float(dtype(dtype(x) * dtype(y)))
    got = fma_reference(dtype(x), dtype(y), dtype(z))
    assert got.dtype == dtype
    assert got == exact_fma(float(dtype(x)), float(dtype(y)), float(dtype(z)), dtype)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.integers(-(2**63), 2**63 - 1), st.integers(-(2**63), 2**63 - 1))
def test_integer_division_is_numpys(a, b):
    x, y = np.int64(a), np.int64(b)
    with np.errstate(all="ignore"):
        assert evaluate(s.floordiv, x, y) == np.floor_divide(x, y)
        assert evaluate(s.rem, x, y) == np.remainder(x, y)
        assert evaluate(s.fmod, x, y) == np.fmod(x, y)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.floats(width=32), st.floats(width=32))
def test_float_division_is_numpys(a, b):
    x, y = np.array([a], np.float32), np.array([b], np.float32)
    for op in (s.floordiv, s.rem, s.nextafter, s.maximum, s.minimum):
        assert_agrees(op, np.asarray(evaluate(op, x, y)), (x, y))


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.floats(), st.integers(-(2**40), 2**40) | st.integers(-2200, 2200))
def test_ldexp_rounds_once(x, n):
    xs, ns = np.array([x]), np.array([n])
    assert_agrees(s.ldexp, np.asarray(evaluate(s.ldexp, xs, ns)), (xs, ns))
