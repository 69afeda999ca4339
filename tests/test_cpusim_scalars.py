"""Every row of the scalar table as CUDA C++ gives the very bits that the CPU backend gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from devices import DEVICE
from kernels import build, native, same_bits, type_of
from scalar_samples import ROWS, combinations, conversions, samples
from simulated import needs_compiler, run_kernel

from jitnet.ir import Value
from jitnet.ir import types as T
from jitnet.kernel import scalars as s
from jitnet.kernel.statements import load, loop, store

pytestmark = needs_compiler

GROUPS = 4
"""Rows are compiled in so many units."""


def both(cases: list[tuple[Any, list[np.ndarray], T.DType]]) -> list[tuple[Any, Any]]:
    """Elementwise `(emit, operands, result dtype)`, all in one kernel Function: the results of the
    device and of the CPU."""
    arrays = [x for _, operands, _ in cases for x in operands]
    outputs = [np.zeros(len(operands[0]), dtype.numpy) for _, operands, dtype in cases]

    def body(*params: Value) -> None:
        given = iter(params)
        inputs = [[next(given) for _ in operands] for _, operands, _ in cases]
        for (emit, operands, _), buffers, out in zip(cases, inputs, given):

            def element(i: Value, emit: Any = emit, buffers: Any = buffers, out: Any = out) -> None:
                store(out, emit(*(load(x, i) for x in buffers)), i)

            loop(0, len(operands[0]), element, kind="vector")

    f = build([type_of(x) for x in (*arrays, *outputs)], body)
    found = [x.copy() for x in outputs]
    run_kernel(f, [*arrays, *found], DEVICE)
    native(f)([*arrays, *outputs])
    return list(zip(found, outputs))


@pytest.mark.parametrize("group", range(GROUPS))
def test_rows(group: int) -> None:
    rows = ROWS[group::GROUPS]
    cases, names = [], []
    for op in rows:
        for dtypes in combinations(op):
            operands = samples(op, dtypes)
            step = 7 if op.name in ("pow", "gcd", "lcm") else 1
            cases.append((op, [x[::step].copy() for x in operands], op.result_dtype(dtypes)))
            names.append(f"{op.name} on {dtypes}")
    for name, (got, want) in zip(names, both(cases)):
        assert same_bits(got, want), name


def test_divisors_that_are_known() -> None:
    cases, names = [], []
    for op in (s.floordiv, s.rem):
        for dtype in (T.i64, T.i32, T.u8, T.f64):
            x = samples(s.square, (dtype,))[0]
            for n in (1, 2, 7, 8, *((-3, -4) if dtype.kind != "u" else ())):
                cases.append((lambda v, op=op, n=n: op(v, n), [x], dtype))
                names.append(f"{op.name} on {dtype} by {n}")
    for name, (got, want) in zip(names, both(cases)):
        assert same_bits(got, want), name


def test_casts() -> None:
    cases, names = [], []
    for source, target, x in conversions():
        cases.append((lambda v, target=target: s.cast(v, target), [x], target))
        names.append(f"{source} to {target}")
    for name, (got, want) in zip(names, both(cases)):
        assert same_bits(got, want), name


def test_bits() -> None:
    pairs = [(T.f32, T.i32), (T.i32, T.f32), (T.f64, T.i64), (T.i64, T.f64), (T.u32, T.f32)]
    pairs += [(T.f32, T.u32), (T.u64, T.f64), (T.f64, T.u64), (T.u16, T.i16), (T.i8, T.u8)]
    cases = [(lambda v, to=to: s.bitcast(v, to), [samples(s.eq, (t, t))[0]], to) for t, to in pairs]
    for got, want in both(cases):
        assert got.tobytes() == want.tobytes()
