"""float16 against NumPy: all 65,536 values through each ufunc, and what else NumPy does with it.

Each loop of NumPy's computes in float32 and rounds once, so results are the same to the bit.
Elementary functions may be one float16 off; sums and products of many terms are rounded once here,
and after each term by NumPy where they run over leading axes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from oracle import check, check_raises, compare

import jitnet
from jitnet.ir import Literal
from jitnet.ir import types as T
from jitnet.kernel import scalars as s
from jitnet.runtime import executable
from jitnet.runtime.engine import host_target

ALL = np.arange(65536, dtype=np.uint16).view(np.float16)
"""Every float16."""

EXACT = [
    *(np.absolute, np.negative, np.positive, np.sign, np.sqrt, np.square, np.reciprocal, np.rint),
    *(np.floor, np.ceil, np.trunc, np.fabs, np.isnan, np.isinf, np.isfinite, np.signbit),
    *(np.deg2rad, np.rad2deg, np.spacing, np.frexp, np.modf, np.logical_not, np.conjugate),
]
ELEMENTARY = [
    *(np.exp, np.exp2, np.expm1, np.log, np.log2, np.log10, np.log1p, np.cbrt, np.sin, np.cos),
    *(np.tan, np.arcsin, np.arccos, np.arctan, np.sinh, np.cosh, np.tanh, np.arcsinh, np.arccosh),
    np.arctanh,
]
BINARY = [
    *(np.add, np.subtract, np.multiply, np.divide, np.floor_divide, np.remainder, np.fmod),
    *(np.divmod, np.maximum, np.minimum, np.fmax, np.fmin, np.copysign, np.nextafter),
    *(np.heaviside, np.equal, np.not_equal, np.less, np.less_equal, np.greater, np.greater_equal),
    *(np.logical_and, np.logical_or, np.logical_xor),
]
ELEMENTARY_OF_TWO = [np.arctan2, np.hypot, np.power, np.logaddexp, np.logaddexp2, np.float_power]

SPECIAL = np.array(
    [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 65504, -65504, 6e-8, -6e-8, 6.1e-5, 2.5, 3],
    np.float16,
)


def all_of(*ufuncs: np.ufunc) -> Callable[..., Any]:
    return lambda *args: {u.__name__: u(*args) for u in ufuncs}


def normal(*shape: int, seed: int = 0, scale: float = 2.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(scale=scale, size=shape).astype(np.float16)


# -- every value -----------------------------------------------------------------------------------


def test_unary_ufuncs_of_all_values() -> None:
    check(all_of(*EXACT), ALL)


def test_elementary_functions_of_all_values() -> None:
    check(all_of(*ELEMENTARY), ALL, ulp=1)


def test_binary_ufuncs() -> None:
    """Each value with another one at random, and special ones each with each."""
    x = np.concatenate([ALL, np.repeat(SPECIAL, len(SPECIAL))])
    y = np.concatenate([np.random.default_rng(0).permutation(ALL), np.tile(SPECIAL, len(SPECIAL))])
    check(all_of(*BINARY), x, y)
    check(all_of(*ELEMENTARY_OF_TWO), x, y, ulp=1)
    check(np.ldexp, x, np.arange(len(x), dtype=np.int32) % 60 - 30)


def test_conversions_of_all_values() -> None:
    kinds = "?bhilBHILfdFD"
    numbers = np.where(np.isfinite(ALL), ALL, np.float16(0))  # to integers that hold them
    check(lambda x: [x.astype(k) for k in "?fdFD"], ALL)
    check(lambda x: [x.astype(k) for k in kinds], np.clip(numbers, 0, 127))


def test_rounding_to_float16() -> None:
    """From float64 once: what lies near the middle of two halves is not rounded twice."""
    x = ALL[np.isfinite(ALL)].astype(np.float64)
    ordered = np.unique(x)
    middles = (ordered[:-1] + ordered[1:]) / 2
    near = np.concatenate([middles * (1 + k * 2.0**-52) for k in (-1, 0, 1)])
    for tiny in (2.0**-30, 2.0**-20):
        near = np.concatenate([near, middles * (1 + tiny), middles * (1 - tiny)])
    odd = np.array(
        [np.inf, -np.inf, np.nan, 1e300, -1e300, 1e-300, 5e-324, 65519.999999999, 65520.0]
    )
    to_half = lambda x: x.astype(np.float16)  # noqa: E731
    check(to_half, np.concatenate([near, odd]))
    check(to_half, near.astype(np.float32))
    rng = np.random.default_rng(0)
    check(to_half, rng.integers(0, 2**32, 100000, np.uint32).view(np.float32))
    integers = rng.integers(-70000, 70000, 20000)
    check(lambda n: [n.astype(k).astype(np.float16) for k in "bhilBHIL?"], integers)
    check(to_half, rng.integers(-(2**63), 2**63 - 1, 1000))


def test_no_instruction_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without F16C converts in integers."""
    plain = host_target()
    features = ",".join(f for f in plain.features.split(",") if "f16c" not in f)
    without = plain._replace(features=f"{features},-f16c".lstrip(","))
    assert not without.casts_halves
    monkeypatch.setattr(executable, "host_target", lambda: without)
    check(lambda x: (x.astype(np.float32), x + x, x[3:9] * 2), ALL)
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2**32, 100001, np.uint32).view(np.float32)
    near = ALL[np.isfinite(ALL)].astype(np.float32) * np.float32(1.0002)
    check(lambda x: x.astype(np.float16), np.concatenate([bits, near]))
    text = jitnet.jit(lambda x: x + x).lower(ALL).stages["llvm"]
    assert "half" not in text


# -- promotion -------------------------------------------------------------------------------------

OTHERS = [*"?bBhHiIlLfdFD"]


@pytest.mark.parametrize("char", OTHERS)
def test_promotion(char: str) -> None:
    x, y = normal(40), (np.arange(40) % 5 + 1).astype(char)
    pairs = [np.add, np.multiply, np.true_divide]
    check(all_of(*pairs), x, y)
    check(all_of(*pairs), y, x)
    check(lambda x, s: (x * s, s * x, s + x[0]), x, y[3])
    check(lambda x, y: (np.concatenate([x, y]), np.where(x > 0, x, y)), x, y)


def test_python_numbers_are_weak() -> None:
    x = normal(50)
    check(lambda x: (x + 1, 2.5 * x, x - True, 1 / x, x**2, x**3, x**0.5, x // 2, x % 3), x)
    check(lambda x: (x > 1, x == 0.5, x * 1e6, x + 100000, x * 1j, x[0] + 1, x[1] * 2.5), x)
    check(lambda x, a, n: (x * a, x + n, x[0] - a), x, 1.37, 12)
    check_raises(lambda x: x + 10**400, x)


def test_scalars() -> None:
    x, h = normal(9), np.float16(1.3)
    check(lambda h, x: (h * 2, h * x, h + h, -h, h > 1, float(h), int(h * 10), bool(h)), h, x)
    check(lambda x: (x[0], x[1] * x[2], x.sum(), np.float16(2.7), np.float16(x[3] * 3)), x)
    check(lambda x: (x.astype(np.float32)[0].astype(np.float16), np.float16(1) + x), x)
    check(lambda x: np.finfo(x.dtype).eps * x + np.finfo(np.float16).max, x)


# -- reductions, products --------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 7, 8, 33, 600, 3000])
def test_reductions(n: int) -> None:
    """What NumPy adds up in float32 is the same but for the last rounding."""
    x = normal(n, seed=n)
    check(lambda x: (x.sum(), x.mean(), np.nansum(x), np.add.reduce(x)), x, ulp=1)
    check(lambda x: (x.max(), x.min(), np.ptp(x), x.argmax(), x.argmin(), x.any(), x.all()), x)
    check(lambda x: (np.cumsum(x), np.cumprod(x), np.maximum.accumulate(x), np.diff(x)), x)


def test_reductions_along_axes() -> None:
    x = normal(20, 33)
    check(lambda x: (x.mean(0), x.mean(1), x.max(0), np.median(x, 0), np.cumsum(x, 0)), x, ulp=1)
    check(
        lambda x: (x.sum(0), x.var(0), x.std(1), np.nanmean(x, 0), x[:, :5].prod(1)), x, rtol=0.01
    )
    wide = jitnet.jit(lambda x: x.sum(0))(x)
    compare(wide, x.astype(np.float32).sum(0).astype(np.float16))
    check(lambda x: (x.sum(dtype=np.float32), x.mean(dtype=np.float64)), x, rtol=1e-6)


def test_means_of_many_do_not_overflow() -> None:
    x = np.full(5000, 60.0, np.float16)
    check(lambda x: (x.mean(), x.sum(), np.average(x)), x)
    check(lambda x: (x.mean(axis=1), x.mean(axis=0)), x.reshape(50, 100))


def test_order() -> None:
    x = np.concatenate([normal(300), SPECIAL, SPECIAL])
    check(lambda x: (np.sort(x), np.argsort(x), np.argsort(x, kind="stable"), np.unique(x)), x)
    check(lambda x: (np.argmax(x), np.argmin(x), np.nanmax(x), np.nanargmin(x), np.max(x)), x)
    check(lambda x: np.searchsorted(np.sort(x), x[::7]), x)
    check(
        lambda x: (np.sort(x, axis=0), np.argsort(x, axis=1), np.partition(x, 3)[:, 3]),
        normal(7, 9),
    )
    check(lambda x: (np.median(x), np.quantile(x, 0.3), np.percentile(x, [5, 50])), normal(99))


def test_products() -> None:
    x, y = normal(17, 30), normal(30, 9, seed=1)
    check(lambda x, y: (x @ y, np.dot(x, y), x[0] @ y, np.tensordot(x, y, 1)), x, y, rtol=1e-3)
    check(lambda x: (x[0] @ x[1], np.vdot(x[0], x[1]), np.inner(x[0], x[2])), x, rtol=1e-3)
    check(lambda x: (np.outer(x[0], x[1]), np.kron(x[0, :5], x[1, :3])), x)
    check(lambda x: np.einsum("ij,kj->ik", x, x), x, rtol=1e-2)
    check(
        lambda x: (np.convolve(x[0], x[1, :5]), np.linalg.norm(x), np.linalg.norm(x, axis=1)),
        x,
        ulp=1,
    )
    exact = (x.astype(np.float64) @ y.astype(np.float64)).astype(np.float16)
    compare(jitnet.jit(np.matmul)(x, y), exact, ulp=1)


# -- arrays ----------------------------------------------------------------------------------------


def test_making_and_moving() -> None:
    x = normal(6, 8)
    check(lambda: np.linspace(0, 1, 7, dtype=np.float16))
    check(lambda: np.arange(0, 3000, 7, dtype=np.float16))
    check(lambda: (np.zeros(3, np.float16), np.ones((2, 2), "e"), np.full(4, 2.7, np.float16)))
    check(lambda x: (x.T.copy(), x[::-1, 1:5], x.ravel(), np.flip(x), np.tile(x, 2)), x)
    check(lambda x: (np.stack([x, x]), np.pad(x, 1), np.repeat(x, 2), np.roll(x, 3)), x)
    check(lambda x: (x[x > 0], np.clip(x, -1, 1), np.round(x, 1), np.nan_to_num(x)), x)
    check(lambda x: np.clip(x, 0.0, -0.0), SPECIAL)
    check(lambda x: [[np.float16(1), x[0, 0]], np.array([x[0, 0], 2, 3])], x)


def test_mutation() -> None:
    def change(x: Any, y: Any, i: Any) -> Any:
        x += y
        x[2:5] *= 1.7
        x[i] = 7
        np.add.at(x, i, np.float16(0.1))
        y[:] = x[::-1]
        return x.sum()

    i = np.array([1, 1, 5, 1, 8])
    x, y = normal(12), normal(12, seed=3).astype(np.float32)
    ours, numpys = (x.copy(), y.copy()), (x.copy(), y.copy())
    compare(jitnet.jit(change)(*ours, i), change(*numpys, i))
    compare(ours, numpys)


def test_loops_and_branches() -> None:
    def newton(a: Any, x: Any) -> Any:
        steps = 0
        total = x[0] * 0
        while abs(a * a - x[0]) > 0.01 and steps < 30:
            a = (a + x[0] / a) / 2
            steps += 1
        for v in x:
            total += v if v > 0 else -v / 3
        return a, steps, total

    check(newton, np.float16(3.0), np.abs(normal(20)))

    def heat(u: Any) -> Any:
        for _ in range(40):
            u[1:-1] = (u[:-2] + u[2:]) / 2
        return u

    check(heat, normal(30))


def test_native_entries() -> None:
    """Calls that come often need no Python: arrays and scalars in and out."""
    x, h = normal(10), np.float16(1.5)

    def scaled(x: Any, h: Any) -> Any:
        return {"y": x * h, "h": h * h}

    f = jitnet.jit(scaled)
    for _ in range(80):
        compare(f(x, h), scaled(x, h))
    compare(f(x.astype(np.float32), h), scaled(x.astype(np.float32), h))
    compare(f(x, np.float16(2.0)), scaled(x, np.float16(2.0)))
    assert f.cache_info().misses == 2


def test_refusals_are_numpys() -> None:
    x = normal(4, 4)
    for of in (np.linalg.solve, np.linalg.inv, np.linalg.det, np.linalg.cholesky):
        check_raises(lambda x, of=of: of(x, x) if of is np.linalg.solve else of(x), x)
    check_raises(lambda x: x & 1, x)
    check_raises(lambda x: np.gcd(x, x), x)


def test_printing(capsys: pytest.CaptureFixture[str]) -> None:
    def shown(x: Any) -> None:
        print(x[:3], x[0], f"{x[1]}", f"{x[2]:.2f}", [x[0]])

    x = normal(5)
    shown(x)
    expected = capsys.readouterr().out
    jitnet.jit(shown)(x)
    assert capsys.readouterr().out == expected


def test_verify_and_explain() -> None:
    f = jitnet.jit(lambda x: (np.exp(x) / np.exp(x).sum()).cumsum(), verify=True)
    f(normal(50))
    assert "float16" in f.explain(normal(50)) or "f16" in f.explain(normal(50))


# -- the IR ----------------------------------------------------------------------------------------


def test_text_round_trips() -> None:
    for value in (1.5, 0.1, -0.0, np.inf, np.nan, 6e-8, 65504.0):
        literal = Literal(value, T.f16)
        with jitnet.ir.Builder("f") as b:
            f = b.build(jitnet.ops.add(b.param(T.scalar(T.f16), "x"), literal))
        assert jitnet.ir.parse(str(f)) == f
    odd_nan = Literal(np.uint16(0xFE01).view(np.float16), T.f16)
    with jitnet.ir.Builder("f") as b:
        f = b.build(jitnet.ops.add(b.param(T.scalar(T.f16), "x"), odd_nan))
    assert jitnet.ir.parse(str(f)) == f


def test_kernels_compute_in_float32() -> None:
    """Loads, stores, choices and casts are all that kernels do with halves."""
    text = jitnet.jit(lambda x: np.where(x > 0, x * x + x, x)).lower(normal(9)).stages["kernels"]
    lines = [line for line in text.splitlines() if ": f16 = " in line]
    assert len(lines) >= 3
    assert {line.split(": f16 = ")[1].split()[0] for line in lines} <= {"load", "cast", "select"}
    with jitnet.ir.Builder("k", "kernel") as b:
        x = b.param(T.scalar(T.f16), "x")
        with pytest.raises(jitnet.ir.TypeRuleError, match="cast to float32"):
            b.bind(s.add, (x, x))


def test_sums_and_products_are_float32s() -> None:
    with jitnet.ir.Builder("f") as b:
        x = b.param(T.ArrayType(T.f16, (3,)), "x")
        with pytest.raises(jitnet.ir.TypeRuleError):
            b.bind(jitnet.ops.reduce.REDUCE_SUM, (x,), {"axes": (0,)})
        total = jitnet.ops.reduce_sum(x, (0,))
        assert total.dtype is T.f16
        product = jitnet.ops.dot(x, x, ((0,), (0,)))
        assert product.dtype is T.f16
