"""Every elementwise ufunc against NumPy: dtypes, promotion, Python's numbers and operators."""

from __future__ import annotations

import functools
import itertools
import operator

import numpy as np
import pytest
from oracle import check, check_raises

import jitnet
from jitnet.frontend.elementwise import KERNELS

CODES = ("?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")
INEXACT = {
    *(np.cbrt, np.hypot, np.exp, np.exp2, np.expm1, np.log, np.log2, np.log10, np.log1p),
    *(np.logaddexp, np.logaddexp2, np.sin, np.cos, np.tan, np.arcsin, np.arccos, np.arctan),
    *(np.arctan2, np.sinh, np.cosh, np.tanh, np.arcsinh, np.arccosh, np.arctanh, np.power),
    *(np.float_power, np.deg2rad, np.radians, np.rad2deg, np.degrees),
}
PROMOTING = [
    *(np.add, np.subtract, np.true_divide, np.floor_divide, np.remainder, np.maximum, np.copysign),
    *(
        np.arctan2,
        np.power,
        np.gcd,
        np.bitwise_xor,
        np.left_shift,
        np.logical_and,
        np.equal,
        np.less,
    ),
    *(np.greater_equal, np.divmod, np.heaviside),
]
"""One ufunc of each way to choose a loop."""
COMPARISONS = [operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge]


def sample(code: str, seed: int = 0) -> np.ndarray:
    """The dtype's corners and some ordinary numbers; another order for another seed."""
    dtype = np.dtype(code)
    if dtype.kind == "f":
        values = [0.0, -0.0, 1.5, -2.5, np.inf, -np.inf, np.nan, 0.3, 1e30, 1e-30, 3.0, -7.25]
    elif dtype.kind == "b":
        values = [True, False, True, True, False, False, True, False, True, True, False, True]
    else:
        low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
        values = [low, high, 0, 1, 2, 3, 7, 100, high - 1, low + 1, 5, 6]
    with np.errstate(over="ignore"):
        return np.roll(np.array(values, dtype), 5 * seed)


def loop_of(ufunc: np.ufunc, *codes: str) -> tuple | None:
    """The loop that NumPy runs; None where it has none."""
    try:
        return ufunc.resolve_dtypes((*map(np.dtype, codes), *[None] * ufunc.nout))
    except TypeError:
        return None


def apply_all(ufuncs, *args):
    return {ufunc.__name__: ufunc(*args) for ufunc in ufuncs}


def check_ufuncs(*args, of=KERNELS) -> None:
    """The ufuncs of these operands in two programs: exact ones, and those within 4 ULP."""
    ufuncs = [u for u in of if u.nin == len(args) and loop_of(u, *(x.dtype for x in args))]
    signed_power = args[-1].dtype.kind == "i"
    exact = [u for u in ufuncs if u not in INEXACT]
    check(functools.partial(apply_all, exact), *args)
    inexact = [u for u in ufuncs if u in INEXACT and not (u is np.power and signed_power)]
    check(functools.partial(apply_all, inexact), *args, ulp=4)


# -- dtypes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", CODES)
def test_unary(code):
    check_ufuncs(sample(code))


@pytest.mark.parametrize("code", CODES)
def test_binary(code):
    check_ufuncs(sample(code), sample(code, 1))


@pytest.mark.parametrize("code", CODES)
def test_binary_of_scalars(code):
    check_ufuncs(sample(code)[2], sample(code)[7])


@pytest.mark.parametrize("left", CODES)
def test_binary_of_two_dtypes(left):
    for right in CODES:
        check_ufuncs(sample(left), sample(right, 1), of=PROMOTING)


@pytest.mark.parametrize("code", CODES[1:5])
def test_integer_powers(code):
    x = sample(code)
    check(lambda x, y: (x**y, np.power(x, y), x**2, x**3, x**0), x, np.arange(12).astype(code))
    check_raises(lambda x, y: x**y, x, sample(code, 1))
    check_raises(lambda x: x**-1, x)


def test_powers_of_bools():
    for mask in (sample("?"), np.array(True), np.True_):
        check(lambda x: (x**2, x**3, x**1, x**0, np.power(x, 2)), mask)


def test_what_has_no_loop_is_a_type_error():
    for ufunc in (np.sin, np.negative, np.invert, np.sign):
        for code in CODES:
            if loop_of(ufunc, code) is None:
                check_raises(ufunc, sample(code))
    for ufunc, codes in itertools.product((np.subtract, np.gcd, np.left_shift), ("??", "dd", "fd")):
        if loop_of(ufunc, *codes) is None:
            check_raises(ufunc, *map(sample, codes))
    for wrong in ("a", None, {}):
        check_raises(lambda x, wrong=wrong: np.add(x, wrong), np.ones(3))
    with pytest.raises(jitnet.errors.UnsupportedDTypeError, match="object"):
        jitnet.jit(lambda x: np.add(x, x, dtype=object))(sample("i1"))


def test_every_ufunc_of_numpy_is_there_or_refused():
    known = {u for u in vars(np).values() if isinstance(u, np.ufunc)}
    missing = {u.__name__ for u in known - set(KERNELS)}
    assert missing <= {"frexp", "ldexp", "isnat", "matmul", "vecdot", "matvec", "vecmat"}
    with pytest.raises(TypeError):
        jitnet.jit(np.isnat)(np.ones(3))


def test_dtype_and_casting():
    x, y = np.arange(4, dtype=np.int8), np.arange(4, dtype=np.int16)
    check(
        lambda x, y: (
            np.add(x, y, dtype=np.float64),
            np.add(x, y, dtype="i4"),
            np.multiply(x, 3, dtype=np.uint8, casting="unsafe"),
            np.true_divide(x, y + 1, dtype=np.float32),
            np.sqrt(y, dtype="f4"),
            np.add(x, y, signature="dd->d"),
        ),
        x,
        y,
    )
    check_raises(lambda x, y: np.add(x, y, dtype=np.uint8), x, y)
    check_raises(lambda x, y: np.add(x, y, casting="no"), x, y)


def test_broadcasting():
    shapes = [(3, 4), (4,), (3, 1), (1, 4), (), (1, 1), (2, 1, 4)]
    arrays = [np.arange(np.prod(s), dtype=float).reshape(s) + 1 for s in shapes]
    check(lambda *xs: [x * y - x for x in xs for y in xs], *arrays)
    check(lambda x, y: (x + y, y * x), np.ones((0, 1)), np.ones((1, 3)))
    check_raises(lambda x, y: x + y, np.ones(3), np.ones(4))
    check_raises(lambda x, y: x + y, np.ones((2, 3)), np.ones((3, 2)))


# -- flavours --------------------------------------------------------------------------------------


def test_results_of_rank_0_are_numpy_scalars():
    zero_d, scalar = np.array(2.5), np.float64(2.5)
    check(lambda x: (x + 1, -x, np.sin(x) * 0, x > 1, np.modf(x), +x), zero_d)
    check(lambda x: (x + 1, -x, np.sin(x) * 0, x > 1, np.modf(x), x * np.int8(3)), scalar)
    check(lambda x: (np.add(x, 1), np.maximum(x, 7), np.isnan(x), np.sqrt(x)), 4)
    check(lambda x, y: (np.add(x, y), np.less(x, y), np.true_divide(x, y)), 4, 2.5)


# -- Python scalars are weak -----------------------------------------------------------------------


@pytest.mark.parametrize("code", CODES)
def test_python_scalars_are_weak(code):
    def mixed(x):
        results = [x + True, x * 3, 3 * x, x + 2.5, 2.5 - x, x == 2, x > 2, x == 2.5, x / 2, x // 2]
        return [*results, np.maximum(x, 1), np.where(x > 1, x, 0), np.where(x > 1, x, 0.5), x % 3]

    for x in (sample(code), sample(code)[3]):
        check(mixed, x)


@pytest.mark.parametrize("code", CODES[1:9])
def test_python_ints_of_the_caller_are_weak(code):
    check(lambda x, n: (x + n, n * x, x & n, x // n, x % n, x > n), sample(code), 5)
    check(lambda x, s: (x + s, s * x, x / s, x > s), sample(code), 2.5)
    check(lambda x, s: (x + s, s * x, x / s, x > s), sample("f4"), 2.5)


def test_python_ints_that_do_not_fit_overflow():
    x = np.arange(3, dtype=np.uint8)
    for n in (256, -1, 2**70):
        check_raises(lambda x, n=n: x + n, x)
        check_raises(lambda x, n: x + n, x, n)
    check_raises(lambda x: x + 2**70, np.arange(3))
    check_raises(lambda x: x * 10**400, np.ones(3))
    check(lambda x: x + 2**63, np.arange(3, dtype=np.uint64))


@pytest.mark.parametrize("code", CODES)
def test_comparisons_with_python_ints_are_exact(code):
    ints = (-(2**63), -129, -1, 0, 127, 255, 300, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1)
    wide = (2**64, -(2**64), 2**70)

    def constants(x):
        known = ints + wide if x.dtype.kind in "iu" else ints[:9]
        return [(c(x, n), c(n, x)) for c in COMPARISONS for n in known]

    check(constants, sample(code))
    for n in (-129, 300, 2**53 + 1):
        check(lambda x, n: [c(x, n) for c in COMPARISONS], sample(code), n)


def test_comparisons_of_unsigned_with_signed_are_exact():
    u = np.array([0, 1, 2**53, 2**53 + 1, 2**63, 2**64 - 1], np.uint64)
    i = np.array([-1, 1, 2**53 + 1, 2**53, -(2**63), 2**63 - 1])
    check(lambda u, i: [c(u[:, None], i) for c in COMPARISONS], u, i)
    check(lambda u, i: [c(i[:, None], u) for c in COMPARISONS], u, i)


def test_comparisons_with_what_is_no_number():
    check(lambda x: (x == None, x != None, x == "a", x != "a"), np.arange(3.0))  # noqa: E711
    check_raises(lambda x: x < None, np.arange(3.0))


# -- operators on Python numbers -------------------------------------------------------------------

INTS = (0, 1, -1, 2, -3, 7, 100, 2**40 + 1, -(2**40), 2**62, -(2**63), 2**63 - 1)
FLOATS = (0.0, -0.0, 1.5, -2.5, 1e300, 1e-300, float("inf"), float("-inf"), float("nan"), 7.0, -0.3)
WIDE = (2.0**53, 2.0**62, 2.0**63, -(2.0**63), 2.0**64, 1e18 + 1)
BINARY = [operator.add, operator.sub, operator.mul, operator.truediv, operator.floordiv]
BINARY += [operator.mod, divmod, *COMPARISONS]


def outcome(fn, *args):
    """The result, or the class of the exception."""
    try:
        return fn(*args)
    except Exception as error:
        return type(error)


def check_numbers(op, lefts, rights) -> None:
    """One compiled operator on all pairs of numbers: Python's results, Python's exceptions."""
    compiled = jitnet.jit(op)
    for x, y in itertools.product(lefts, rights):
        expected, got = outcome(op, x, y), outcome(compiled, x, y)
        numbers = expected if isinstance(expected, tuple) else (expected,)
        if any(type(n) is int and not -(2**63) <= n < 2**63 for n in numbers):
            expected = OverflowError
        if isinstance(expected, type):
            assert isinstance(got, type), (x, y, got, expected)
            assert issubclass(got, expected), (x, y, got, expected)
        else:
            assert repr(got) == repr(expected), (op, x, y)


@pytest.mark.parametrize("op", BINARY, ids=lambda op: op.__name__)
def test_python_numbers(op):
    check_numbers(op, INTS, INTS)
    check_numbers(op, FLOATS, FLOATS)
    check_numbers(op, INTS, FLOATS)
    check_numbers(op, FLOATS, INTS)
    check_numbers(op, (True, False), (True, 2, 0, 1.5))


@pytest.mark.parametrize("op", COMPARISONS, ids=lambda op: op.__name__)
def test_ints_and_floats_compare_exactly(op):
    ints = tuple(2**k + d for k in (52, 53, 54, 62, 63) for d in (-1, 0, 1))[:-2]
    check_numbers(op, ints, WIDE)
    check_numbers(op, WIDE, ints)
    check_numbers(op, tuple(-n for n in ints), WIDE)
    for n in (2**53 + 1, 2**63, 2**64, 2**70, -(2**80), 10**400, -(10**400)):
        check_numbers(lambda x, _, n=n: (op(x, n), op(n, x)), (*INTS, *FLOATS, *WIDE), (0,))


def test_powers_of_python_numbers():
    for n in (0, 1, 2, 3, 5, 9):
        for x in (0, 1, -1, 7, -3):
            check(lambda x, n=n: x**n, x)
        for x in (1.5, -2.5, 0.0):
            check(lambda x, n=n: x**n, x, ulp=4)
    check(lambda x, y: (x**y, 2**y, 2.0**y), 1.5, 2.5, ulp=4)
    check_raises(lambda x, y: x**y, 0.0, -1.0)
    check_raises(lambda x, y: x**y, 1e300, 2.0)
    check_raises(lambda x: x**2, 1e300)
    with pytest.raises(OverflowError):
        jitnet.jit(lambda n: n**9)(2**40)


def test_unary_and_bitwise_operators_of_python_numbers():
    for x in (0, 1, -7, 2**62, -(2**63) + 1, True, False):
        check(lambda x: (+x, -x, abs(x)), x)
    check(lambda n: (~n, n & 6, n | 9, n ^ 5, n << 3, n >> 1, 6 & n, 2 << n), 11)
    check(lambda s: (+s, -s, abs(s)), -0.0)
    check_raises(lambda n: 1 << n, -1)
    check_raises(lambda n: n >> -1, 5)
    check_raises(lambda s: ~s, 1.5)
    check_raises(lambda s: s & 1, 1.5)
    with pytest.raises(OverflowError):
        jitnet.jit(lambda n: -n)(-(2**63))
    with pytest.raises(OverflowError):
        jitnet.jit(lambda n: n << 2)(2**62)


def test_what_operators_give_is_new():
    """NumPy's ufuncs never return their operand."""
    x, n = np.arange(6.0), np.arange(6, dtype=np.uint8)
    for fn, argument in ((np.positive, x), (np.abs, n), (np.floor, n), (lambda x: x**1, x)):
        result = jitnet.jit(fn)(argument)
        assert not np.shares_memory(result, argument)
