"""Complex numbers: each op on pairs against NumPy, interpreted and compiled."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from jitnet import ops
from jitnet.interp import evaluate
from jitnet.ir import ArrayType, Builder, Function, Literal, Value, as_value, parse, verify
from jitnet.ir import types as T
from jitnet.ops.complexes import ON_PAIRS
from jitnet.ops.lift import Pointwise
from jitnet.passes import OBSERVERS, pairs
from jitnet.runtime.executable import compile

COMPLEX = [T.c64, T.c128]
PARTS = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 0.25, -2.5, 3.0]


def numbers(shape: tuple[int, ...], dtype: T.DType = T.c128, seed: int = 0) -> Any:
    """Complex numbers of several sizes, some on the axes."""
    rng = np.random.default_rng(seed)
    re, im = (rng.normal(size=shape) * rng.choice([0.01, 1.0, 3.0], shape) for _ in range(2))
    re, im = (
        np.where(rng.random(shape) < 0.05, 0.0, re),
        np.where(rng.random(shape) < 0.05, -0.0, im),
    )
    return joined(re, im, dtype)


def joined(re: Any, im: Any, dtype: T.DType = T.c128) -> Any:
    """re + 1j * im with every bit of both."""
    halves = np.stack([re, im], axis=-1).astype(dtype.half.numpy)
    return halves.view(dtype.numpy)[..., 0][()]


def specials(dtype: T.DType) -> Any:
    re, im = np.array(list(itertools.product(PARTS, PARTS))).T
    return joined(re, im, dtype)


def apart(x: Any) -> Any:
    """As it lies in memory."""
    x = np.asarray(x)
    return np.stack([x.real, x.imag], axis=-1) if x.dtype.kind == "c" else x[()]


def function(build: Callable[..., Any], args: Sequence[Any]) -> Function:
    with Builder("f") as b:
        params = [
            b.param(ArrayType(T.from_numpy(x.dtype), np.shape(x)), f"x{i}")
            for i, x in enumerate(args)
        ]
        results = build(*params)
    return b.build(*(results if isinstance(results, (tuple, list)) else (results,)))


def check(
    build: Callable[..., Any], *args: Any, ulps: float | None = 0, layouts: Sequence[str] = ()
) -> None:
    """What `build` binds gives the same by NumPy's complex numbers, on pairs, and compiled."""
    args = tuple(np.asarray(x)[()] for x in args)
    f = function(build, args)
    verify(f)
    assert parse(str(f)) == f
    expected = evaluate(f, args)
    real = pairs(f)
    verify(real)
    assert not any(v.dtype.is_complex for e in real.walk() for v in e.results)
    for actual, x in zip(evaluate(real, [apart(a) for a in args]), expected):
        assert_close(actual, apart(x), ulps)
    for actual, x in zip(compile(f, layouts or ["C"] * len(args)).run(args), expected):
        assert np.shape(actual) == np.shape(x)
        assert np.asarray(actual).dtype == x.dtype
        assert_close(apart(actual), apart(x), ulps)


def assert_close(actual: Any, expected: Any, ulps: float | None) -> None:
    """The same bits but for NaN's; or within `ulps` of the size of the number (of the largest one
    for None, as in sums)."""
    if expected.dtype.kind != "f":
        np.testing.assert_array_equal(actual, expected)
        return
    nan = np.isnan(expected)
    np.testing.assert_array_equal(np.isnan(actual), nan)
    if ulps == 0:
        np.testing.assert_array_equal(np.where(nan, 0, actual), np.where(nan, 0, expected))
        np.testing.assert_array_equal(np.signbit(actual)[~nan], np.signbit(expected)[~nan])
        return
    size = np.hypot(expected[..., 0], expected[..., 1])[..., None] if expected.ndim else expected
    if ulps is None:
        size, ulps = np.max(np.abs(expected), initial=0), 100
    tolerance = ulps * np.finfo(expected.dtype).eps * np.abs(size)
    with np.errstate(invalid="ignore"):
        bad = ~((np.abs(actual - expected) <= tolerance) | (actual == expected)) & ~nan
    assert not bad.any(), f"{actual[bad][:5]} for {expected[bad][:5]}"


# -- pointwise -------------------------------------------------------------------------------------

ELEMENTARY = ["sqrt", "exp", "exp2", "expm1", "log", "log2", "log10", "sin", "cos", "tan"]
ELEMENTARY += ["arcsin", "arccos", "arctan", "sinh", "cosh", "tanh"]
ELEMENTARY += ["arcsinh", "arccosh", "arctanh"]
EXACT = [op for op in ON_PAIRS if op.name not in (*ELEMENTARY, "pow", "log1p")]


def operands_of(op: Pointwise, draw: Callable[[int], Any]) -> list[Any]:
    kinds = op.row.operands
    return [draw(i).real > 0 if kinds[i] == "b" else draw(i) for i in range(len(kinds))]


@pytest.mark.parametrize("dtype", COMPLEX, ids=str)
@pytest.mark.parametrize("op", EXACT, ids=lambda op: op.name)
def test_arithmetic_has_numpys_bits(op: Pointwise, dtype: T.DType) -> None:
    with np.errstate(all="ignore"):
        arrays = operands_of(op, lambda i: numbers((403,), dtype, i))
        equal = [np.where(np.arange(403) % 3 == 0, arrays[-1], x) for x in arrays]
        grid = specials(dtype)
        both = np.broadcast_arrays(grid[:, None], grid)
        odd = operands_of(op, lambda i: both[min(i, 1) if len(op.row.operands) > 1 else 1])
        scalars = operands_of(op, lambda i: numbers((), dtype, i + 7))
        empty = operands_of(op, lambda i: numbers((0, 3), dtype, i))
        ulps = 2 if op is ops.sign else 0
        check(op, *(arrays if arrays[0].dtype.kind == "b" else equal), ulps=ulps)
        check(op, *scalars, ulps=ulps)
        check(op, *empty, ulps=ulps)
        check(op, *(np.ascontiguousarray(x) for x in odd), ulps=ulps)


@pytest.mark.parametrize("dtype", COMPLEX, ids=str)
@pytest.mark.parametrize("name", ELEMENTARY)
def test_elementary_functions(name: str, dtype: T.DType) -> None:
    op = getattr(ops, name)
    check(op, numbers((1001,), dtype), ulps=4)
    check(op, numbers((), dtype), ulps=4)
    check(op, numbers((0,), dtype), ulps=4)


@pytest.mark.parametrize("name", ELEMENTARY)
def test_branch_cuts(name: str) -> None:
    """On either side of the axes, told apart by the signs of zeros."""
    points = [0.0, -0.0, 0.5, -0.5, 1.0, -1.0, 2.0, -2.0, 30.0, -30.0]
    real = [(a, zero) for a in points for zero in (0.0, -0.0)]
    re, im = np.array(real + [(zero, a) for a, zero in real]).T
    with np.errstate(all="ignore"):
        z = joined(re, im)
        z = z[np.isfinite(getattr(np, name)(z))]
        check(getattr(ops, name), z, ulps=4)
        f = function(getattr(ops, name), [z])
        got, expected = (apart(x) for x in (compile(f, ["C"]).run([z])[0], evaluate(f, [z])[0]))
    np.testing.assert_array_equal(np.signbit(got), np.signbit(expected))


def test_log1p_is_accurate_where_numpys_is_not() -> None:
    """For small numbers, against the series; NumPy takes the logarithm of |1 + z|."""
    z = numbers((200,)) * 1e-6
    z = z[z != 0]
    found = compile(function(ops.log1p, [z]), ["C"]).run([z])[0]
    series = z - z**2 / 2 + z**3 / 3 - z**4 / 4
    assert_close(apart(found), apart(series), 8)


@pytest.mark.parametrize("dtype", COMPLEX, ids=str)
def test_powers(dtype: T.DType) -> None:
    x, y = numbers((301,), dtype, 1), numbers((301,), dtype, 2)
    x[:5], y[:3] = 0, 0
    with np.errstate(all="ignore"):
        check(ops.pow, x, y, ulps=200)
        for n in (0, 1, 2, 3, 4, 7, -1, -3, 0.5, 2.5 - 1j):
            check(
                lambda v, n=n: ops.pow(v, Literal(n, dtype)), numbers((301,), dtype, 1) + 1, ulps=40
            )


def test_large_and_small_numbers() -> None:
    """Where |z| or e**x over- or underflows and the result does not."""
    big = joined([1e308, -1e308, 1e-310, 3e-320, 1.7e308], [1e308, 2.0, -2e-310, 1e-320, -1.7e308])
    for op in (ops.sqrt, ops.log):
        check(op, big, ulps=8)
    check(ops.exp, joined([709.5, 710.0, -745.0, 0.0], [1.5, 1.57, 0.1, 1e300]), ulps=8)


def test_on_the_axes_beyond_the_range() -> None:
    """Where one half overflows, or an operand is infinite, the other is a zero with its sign."""
    far = [800.0, -800.0, np.inf, -np.inf]
    real = joined([x for x in far for _ in range(2)], [0.0, -0.0] * 4)
    turned = joined(real.imag, real.real)
    with np.errstate(all="ignore"):
        for op in (ops.sinh, ops.cosh, ops.exp, ops.tanh, ops.log, ops.sqrt):
            check(op, real, ulps=2)
        for op in (ops.sin, ops.cos, ops.tan, ops.log, ops.sqrt):
            check(op, turned, ulps=2)


def test_constants_fold() -> None:
    a, b = Literal(3 - 1j, T.c128), Literal(1 + 2j, T.c128)
    with Builder("f"):
        product = ops.mul(a, b)
        assert isinstance(product, Literal)
        assert product.item == (3 - 1j) * (1 + 2j)
        assert ops.real(a) == Literal(3.0, T.f64)
        assert ops.conj(a) == Literal(3 + 1j, T.c128)
        assert ops.complex(Literal(-0.0, T.f32), Literal(2.0, T.f32)).dtype == T.c64


def test_text() -> None:
    """Every bit of a literal and of a constant array is in the text."""
    z = specials(T.c64)
    with Builder("f") as b:
        made = [ops.const(z[:8]), *(Literal(x, T.c64) for x in z if not np.isnan(x))]
    f = b.build(*made)
    assert parse(str(f)) == f
    assert "complex(-0.0, inf):c64" in str(f)


# -- moving, folding, multiplying ------------------------------------------------------------------

A, B, V = numbers((3, 4), seed=1), numbers((3, 4), seed=2), numbers((4,), seed=3)
INDICES = np.array([2, 0, 2, 1])
MOVES: dict[str, Callable[..., Any]] = {
    "broadcast": lambda a, b, v: ops.broadcast(v, (2, 3, 4), (2,)),
    "reshape": lambda a, b, v: ops.reshape(a, (2, 6)),
    "transpose": lambda a, b, v: ops.transpose(a, (1, 0)),
    "slice": lambda a, b, v: ops.slice(a, (2, 1), (2, 2), (-1, 2)),
    "update": lambda a, b, v: ops.update(a, ops.reshape(v, (1, 4)), (1, 0)),
    "concatenate": lambda a, b, v: ops.concatenate([a, b, a], 1),
    "pad": lambda a, b, v: ops.pad(a, Literal(1 - 2j, T.c128), (1, 0), (0, 2)),
    "gather": lambda a, b, v: ops.gather(a, [ops.const(INDICES)], (0,)),
    "scatter": lambda a, b, v: ops.scatter(v, v, [ops.const(INDICES)], (0,), "set"),
    "scatter add": lambda a, b, v: ops.scatter(v, v, [ops.const(INDICES)], (0,), "add"),
    "compress": lambda a, b, v: ops.compress(ops.gt(ops.real(v), 0.0), [v, ops.real(v), v]),
    "iota": lambda a, b, v: ops.iota((5, 2), 0, T.c64),
    "const": lambda a, b, v: ops.const(np.array([1j, -0.0 + 2j], np.complex64)),
    "cumsum": lambda a, b, v: [ops.cumsum(a, 0), ops.cumsum(a, 1, True, True)],
    "to reals": lambda a, b, v: [
        ops.convert(a, T.f32),
        ops.convert(a, T.i32),
        ops.convert(a, T.bool_),
    ],
    "to complex": lambda a, b, v: [ops.convert(a, T.c64), ops.convert(ops.imag(a), T.c64)],
    "parts": lambda a, b, v: [ops.complex(ops.imag(a), ops.real(b)), ops.conj(v)],
    "max": lambda a, b, v: [ops.reduce_max(a, (0, 1)), ops.reduce_max(ops.rint(a), (1,))],
    "min": lambda a, b, v: [ops.reduce_min(a, (0, 1)), ops.reduce_min(a, (0,))],
    "positions": lambda a, b, v: [ops.argmax(a, 0), ops.argmin(a, 1), ops.argmin(v, 0)],
    "stop_gradient": lambda a, b, v: ops.stop_gradient(a),
    "an argument": lambda a, b, v: [a, v, a],
}
SUMS: dict[str, Callable[..., Any]] = {
    "sum": lambda a, b, v: [
        ops.reduce_sum(a, (0, 1)),
        ops.reduce_sum(a, (0,)),
        ops.reduce_sum(a, ()),
    ],
    "prod": lambda a, b, v: [
        ops.reduce_prod(a, (0, 1)),
        ops.reduce_prod(a, (1,)),
        ops.reduce_prod(a, ()),
    ],
    "cumprod": lambda a, b, v: [
        ops.cumprod(a, 0),
        ops.cumprod(a, 1, True),
        ops.cumprod(a, 1, False, True),
    ],
    "dot": lambda a, b, v: [ops.dot(a, v, ((1,), (0,))), ops.dot(a, b, ((0,), (0,)))],
    "batched dot": lambda a, b, v: ops.dot(a, b, ((1,), (1,)), ((0,), (0,))),
}


@pytest.mark.parametrize("name", MOVES)
def test_moving_and_ordering(name: str) -> None:
    check(MOVES[name], A, B, V)


@pytest.mark.parametrize("name", SUMS)
def test_sums_and_products(name: str) -> None:
    check(SUMS[name], A, B, V, ulps=None)


def test_extrema_with_nan_and_ties() -> None:
    x = joined([1.0, 2.0, 2.0, -1.0, -1.0], [5.0, 1.0, 3.0, 2.0, 1.0])
    check(lambda v: [ops.reduce_max(v, (0,)), ops.reduce_min(v, (0,)), ops.argmax(v, 0)], x)
    x[1] = complex(0, np.nan)
    check(lambda v: [ops.argmax(v, 0), ops.argmin(v, 0)], x)
    (found,) = compile(function(lambda v: ops.reduce_max(v, (0,)), [x]), ["C"]).run([x])
    assert np.isnan(found)


@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 3)])
def test_nothing_at_all(shape: tuple[int, ...]) -> None:
    x = numbers(shape)
    axes = tuple(range(len(shape)))
    check(lambda v: [ops.reduce_sum(v, axes), ops.reduce_prod(v, axes), ops.cumprod(v, 0), v], x)


@pytest.mark.parametrize("layout", ["C", "F", "strided"])
def test_layouts_of_arguments(layout: str) -> None:
    wide = numbers((6, 8))
    x = {"C": A, "F": np.asfortranarray(A), "strided": wide[::2, ::-2]}[layout]
    y = numbers((9,), T.c64)[1::2]
    what: Callable[..., Any] = lambda a, v: [ops.mul(a, a), ops.transpose(a, (1, 0)), ops.neg(v)]  # noqa: E731
    check(what, x, y, layouts=[layout, "strided"])


def test_extents_known_at_run_time() -> None:
    """Results of computed extents are in memory that the program allocates."""
    with Builder("f") as b:
        n = b.param(T.scalar(T.i64), "n")
        x = b.param(ArrayType(T.c128, (n,)), "x")
        count, kept = ops.compress(ops.gt(ops.real(x), 0.0), [ops.mul(x, x)])
        f = b.build(count, kept, ops.add(x, 1j), ops.reduce_prod(x, (0,)))
    x = numbers((7,))
    verify(pairs(f))
    for got, expected in zip(compile(f, ["C", "C"]).run([7, x]), evaluate(f, [np.int64(7), x])):
        assert_close(apart(got), apart(expected), 4 if np.ndim(got) else None)


def test_a_result_is_one_kernel_and_an_interleaving() -> None:
    f = function(lambda a, b: ops.exp(ops.mul(a, b)), [A, B])
    assert compile(f, ["C", "C"]).cost["kernels"] <= 2


# -- control flow ----------------------------------------------------------------------------------


def test_for_carries_scans_and_stacks() -> None:
    def build(a: Value, v: Value) -> Any:
        def body(i: Value, consts: Any, carries: Any, xs: Any) -> Any:
            (c,), (z, total), (row,) = consts, carries, xs
            z = ops.add(ops.mul(z, z), c)
            return (z, ops.add(total, ops.reduce_sum(row, (0,)))), (ops.mul(row, row), ops.abs(z))

        start = Literal(0.25 - 0.5j, T.c128)
        return ops.for_(as_value(3), body, [ops.reduce_sum(v, (0,))], [start, start], [a])

    check(build, A * 0.1, V * 0.1, ulps=None)


def test_while_carries() -> None:
    """A Mandelbrot orbit."""

    def build(c: Value) -> Any:
        def cond(consts: Any, carries: Any) -> Value:
            z, n = carries
            return ops.bitwise_and(ops.lt(ops.abs(z), 2.0), ops.lt(n, 50))

        def body(consts: Any, carries: Any) -> Any:
            z, n = carries
            return ops.add(ops.mul(z, z), consts[0]), ops.add(n, 1)

        return ops.while_(cond, body, [c], [Literal(0, T.c128), Literal(0, T.i64)])

    for c in (0.3 + 0.5j, -1.5 + 0.2j, 0.1j):
        check(build, np.complex128(c))


def test_branches_and_calls() -> None:
    def build(p: Value, a: Value, v: Value) -> Any:
        first = ops.if_(p, lambda a, v: [ops.mul(a, a), v], lambda a, v: [ops.conj(a), v], [a, v])
        square = function(lambda x: ops.mul(x, x), [V])
        return [*first, *ops.call(square, [v])]

    for p in (True, False):
        check(build, np.bool_(p), A, V)


def test_arrays_carried_in_place() -> None:
    def build(v: Value) -> Any:
        def body(i: Value, consts: Any, carries: Any, xs: Any) -> Any:
            (z,) = carries
            one = ops.slice(z, [i], [1])
            return ops.update(z, ops.mul(one, one), [i])

        return ops.for_(as_value(4), body, (), [v])

    check(build, V)


def test_every_stage_is_verified() -> None:
    assert OBSERVERS, "the test session verifies what each pass makes"
