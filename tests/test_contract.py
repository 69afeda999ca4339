"""The contract: every array op has all its rules, and they agree with each other on its samples."""

from __future__ import annotations

import numpy as np
import pytest
from op_functions import assert_same, function_of
from op_kernels import run_kernel

import jitnet.ops  # noqa: F401  (fills the registry)
from jitnet.interp import evaluate
from jitnet.ir import TypeRuleError, parse, registry
from jitnet.kernel import elementary
from jitnet.ops.lift import Pointwise
from jitnet.ops.primitive import Element, Kernel, Primitive, Reduction, Structured

NOT_ON_ARRAYS = {
    "check",
    "host_print",
    *(f"tape_{x}" for x in ("new", "push", "length", "get", "put", "add", "at")),
    *(f"tape_{x}" for x in ("set", "cut", "prepend", "copy")),
    *("rewound", "peek", "overwrite", "overscatter", "rewind"),
}
POISON = {"empty"}  # undefined content: nothing to compare
REASSOCIATES = {
    "reduce_sum",
    "reduce_prod",
    "dot",
    "complex_dot",
    "solve",
    "det",
    "slogdet",
    "cholesky",
}

OPS = {name: op for name, op in registry("array").items() if isinstance(op, Primitive)}
LOWERED = [
    name
    for name, op in OPS.items()
    if not any(isinstance(rule, Structured) for rule in op.lower) and name not in POISON
]
WITH_SAMPLES = [n for n, op in OPS.items() if not op.has_regions and n not in NOT_ON_ARRAYS]


def test_every_array_op_is_a_primitive() -> None:
    assert len(OPS) == len(registry("array"))
    assert len(OPS) > 100


@pytest.mark.parametrize("name", OPS)
def test_every_rule_is_present_or_declined(name: str) -> None:
    op = OPS[name]
    assert op.name == name
    rules = (op.type_rule, op.numpy, op.jvp, op.transpose, op.batch, op.total)
    assert all(callable(rule) for rule in rules)
    assert op.lower
    assert all(isinstance(rule, Element | Kernel | Reduction | Structured) for rule in op.lower)
    assert op.has_regions or name in NOT_ON_ARRAYS or list(op.samples())


@pytest.mark.parametrize("name", WITH_SAMPLES)
def test_type_rule_agrees_with_reference(name: str) -> None:
    """The interpreter checks what the reference returns against the types on record."""
    op = OPS[name]
    for sample in op.samples():
        f, args = function_of(op, sample, literals=True)
        evaluate(f, args)


@pytest.mark.parametrize("name", WITH_SAMPLES)
def test_text_round_trips(name: str) -> None:
    op = OPS[name]
    seen = set()
    for sample in op.samples():
        f, _ = function_of(op, sample, literals=True)
        text = str(f)
        if text not in seen:
            seen.add(text)
            assert parse(text) == f
            assert str(parse(text)) == text


@pytest.mark.parametrize("name", WITH_SAMPLES)
def test_extents_and_starts_may_be_values(name: str) -> None:
    """Where an op takes i64 scalars, parameters give what literals give."""
    op = OPS[name]
    for sample in op.samples():
        f, args = function_of(op, sample, literals=True)
        try:
            g, more = function_of(op, sample)
        except TypeRuleError:
            continue  # this sample's dims are checked against static ones
        if len(more) == len(args):
            continue
        for x, y in zip(evaluate(f, args), evaluate(g, more)):
            if name not in POISON:
                assert_same(x, y)
        assert parse(str(g)) == g


def ulps_of(op: Primitive) -> int | None:
    """Elementary functions may be expanded into polynomials; of fmax(0, -0) NumPy's own loops
    return either, by the length of the array. All else is exact."""
    if not isinstance(op, Pointwise):
        return None
    if op.row in vars(elementary).values():
        return 4
    return 0 if op.name in ("fmax", "fmin") else None


@pytest.mark.parametrize("name", LOWERED)
def test_kernel_agrees_with_reference(name: str) -> None:
    """Bit for bit; reductions and products of floats may round otherwise."""
    op = OPS[name]
    for sample in op.samples():
        f, args = function_of(op, sample, literals=True)
        (eqn,) = f.eqns
        expected = evaluate(f, args)
        for backward in (False, True):
            actual = run_kernel(eqn, sample.operands, backward=backward)
            for x, y in zip(actual, expected):
                if y.dtype.kind == "f" and name in REASSOCIATES:
                    np.testing.assert_allclose(x, y, rtol=1e-5 if y.itemsize == 4 else 1e-13)
                else:
                    assert_same(x, y, ulps_of(op))


def test_references_do_not_write_to_their_operands() -> None:
    for name in WITH_SAMPLES:
        for sample in OPS[name].samples():
            f, args = function_of(OPS[name], sample, literals=True)
            before = [np.copy(a) for a in args]
            evaluate(f, args)
            for a, b in zip(args, before):
                assert_same(a, b)
