"""Python's builtins, math and NumPy's constructors against themselves: what the calls in a traced
function stand for."""

from __future__ import annotations

import cmath
import math
from typing import Any

import numpy as np
import pytest
from oracle import check, check_raises

import jitnet
from jitnet.frontend.builtins import CALLS, of_numpy
from jitnet.frontend.context import current_trace

I, J, F, G = 7, -3, 2.5, -0.75
F32, F64, I32, U64 = np.float32(1.5), np.float64(-2.25), np.int32(-5), np.uint64(9)
A0, V = np.array(2.5), np.array([3.0, -1.0, 0.0, 2.5])
M = np.arange(6, dtype=np.int32).reshape(2, 3)
Z = 1.5 - 2j


def at(function: Any) -> Any:
    """What a call of the function in the user's source reaches."""
    return CALLS.get(function, function) if current_trace() is not None else function


def each(function: Any, *xs: Any, ulp: int = 0) -> None:
    check(lambda *args: [at(function)(x) for x in args], *xs, ulp=ulp)


# -- numbers ---------------------------------------------------------------------------------------


def test_conversions_to_python_numbers():
    numbers = (
        I,
        J,
        F,
        G,
        True,
        F32,
        F64,
        I32,
        U64,
        A0,
        np.bool_(True),
        np.array(3),
        np.array(True),
    )
    for function in (float, int, bool):
        each(function, *numbers)
    each(bool, 0, 0.0, math.nan, np.float32(0), np.array([2.0]), np.array([[0]]))
    each(int, 2.99, -2.99, 0.5, -(2.0**62), np.float32(1e9), 9e15 + 0.5)


def test_conversions_that_python_refuses():
    for x, error in ((math.nan, ValueError), (math.inf, OverflowError), (-math.inf, OverflowError)):
        check_raises(lambda x: at(int)(x), x)
        check_raises(lambda x: at(round)(x), x)
        with pytest.raises(error):
            jitnet.jit(lambda x: at(math.floor)(x))(x)
    for x in (1e30, -1e19, np.uint64(2**63)):
        with pytest.raises(OverflowError, match="int64"):
            jitnet.jit(lambda x: at(int)(x))(x)
    for function in (float, int, bool, round, math.sqrt, len):
        check_raises(lambda x, f=function: at(f)(x), V if function is not len else A0)
    check_raises(lambda x: at(float)(x), np.array([2.5]))
    check_raises(lambda x: at(len)(x), F)
    check_raises(lambda x: at(int)(x, 10), F)


def test_rounding_is_to_even():
    each(round, 0.5, 1.5, 2.5, -0.5, -1.5, 2.4999999, I, True, F32, F64, I32, np.float32(2.5))
    check(lambda x, y, z: (at(round)(x, 1), at(round)(y, 2), at(round)(z, 0)), F32, F64, I32)
    check(lambda x, n: (at(round)(x, 0), at(round)(n, 2)), 2.5, 7)
    with pytest.raises(NotImplementedError, match=r"np\.round"):
        jitnet.jit(lambda x: at(round)(x, 2))(2.675)


def test_lists_of_traced_numbers_are_lists():
    check(lambda x, y: (at(bool)([x]), at(len)([x, y]), at(tuple)([x, y])), 0.0, F)
    for function in (int, float, round, abs, math.sqrt):
        check_raises(lambda x, f=function: at(f)([x]), F)


def test_python_operators_as_functions():
    check(lambda n, m: (at(divmod)(n, m), at(abs)(m), at(pow)(n, 2)), I, J)
    check(lambda x, y: (at(divmod)(x, y), at(abs)(y), at(pow)(x, 1.5)), F, G, ulp=4)
    with pytest.raises(NotImplementedError):
        jitnet.jit(lambda n: at(pow)(n, 2.0, 5))(F)


def test_what_is_known_stays_pythons():
    def run(x: Any) -> Any:
        return [
            *(at(int)("12"), at(float)(3), at(max)(2, 3), at(math.factorial)(5), at(str)(4)),
            *(at(sum)([1, 2]), at(any)([0, 1]), at(all)([0, 1]), at(sorted)([3, 1, 2])),
            *(at(min)([2, 1], key=lambda v: -v), at(max)([], default=5)),
            *(at(round)(2.675, 2), at(len)((1, 2)), x),
        ]

    check(run, F)


def test_texts_are_refused_and_make_ints_static():
    for function in (str, repr, format):
        with pytest.raises(TypeError, match="characters of the text '<traced"):
            jitnet.jit(lambda x, f=function: at(f)(x))(F)
    check(lambda x, y: at(sorted)([x, y]), F, G)
    check(lambda n: (at(str)(n), n + 1), 3)
    check(lambda n: at(math.factorial)(n), 5)


def test_len():
    check(lambda x: at(len)(x), np.zeros((3, 2)))
    check(lambda x: at(len)(x[x > 0]), V)


def test_items_and_lists():
    """np.ndarray.item and np.ndarray.tolist."""
    check(lambda v, x, a: (v.item(1), v.item(-1), v[:1].item(), x.item(), a.item()), V, F32, A0)
    check(lambda m: (m.item(5), m.item(1, 2), m.item((0, 1)), m[:1, :1].item()), M)
    check(lambda m, x, a: (m.tolist(), m[:0].tolist(), x.tolist(), a.tolist()), M, F32, A0)
    check(lambda v: (v > 0).tolist(), V)
    check(lambda v: v[v > 2.9].item(), V)
    check_raises(lambda v: v.item(), V)
    check_raises(lambda v: v[v > 0].item(), V)
    check_raises(lambda v: v.item(9), V)
    with pytest.raises(NotImplementedError, match="elements"):
        jitnet.jit(lambda v: v.tolist())(np.zeros((80, 80)))


def test_complex_numbers():
    check(lambda x, y: (at(complex)(x), at(complex)(x, y), at(complex)(1, y)), F, F32)
    check(lambda z, x: (at(complex)(z), at(complex)(z, x), at(complex)(x, z)), Z, F)
    check(lambda z: (at(bool)(z), at(abs)(z), at(np.complex64)(z)), Z, ulp=4)
    check(lambda z, x: at(np.array)([z, x, 1]), Z, F)
    check(lambda x: (at(np.zeros)(2, complex), x), F)
    for function in (int, float, round, math.floor):
        check_raises(lambda z, f=function: at(f)(z), Z)


# -- over iterables --------------------------------------------------------------------------------


def test_least_and_greatest_of_numbers():
    for f in (min, max):
        check(lambda x, y, z, f=f: (at(f)(x, y), at(f)(x, y, z), at(f)([z, x])), F, G, 7.0)
        check(lambda n, m, f=f: (at(f)(n, m), at(f)(n, 5), at(f)((m, n, 2))), I, J)
        check(lambda x, y, f=f: (at(f)(x, y), at(f)(y, x)), math.nan, 1.0)
        check(lambda x, y, f=f: (at(f)(x, y), at(f)(y, x)), -0.0, 0.0)
        check(lambda x, y, f=f: (at(f)(x, y), at(f)([y, x, y])), F32, np.float32(4))
        check(lambda x, f=f: at(np.float32)(at(f)(x, 2.0)), F32)
        check(lambda x, n, f=f: at(float)(at(f)(n, x, -1)), F, I)
        check(lambda x, n, f=f: at(np.float64)(at(f)(n, x)), F64, I)
        with pytest.raises(NotImplementedError, match="dtype"):
            jitnet.jit(lambda x, y, f=f: at(f)(x, y))(F32, F64)
        with pytest.raises(NotImplementedError, match="code without source"):
            jitnet.jit(lambda x, y, f=f: at(f)(x, y, key=abs))(F, G)


def test_least_and_greatest_of_arrays():
    nan = math.nan
    vectors = (V, np.array([nan, 1.0, 2.0]), np.array([1.0, nan, -2.0, 3.0]), np.array([0.0, -0.0]))
    for f in (min, max):
        for x in (*vectors, np.array([4, 2, 9], np.int8), np.array([True, False])):
            check(lambda x, f=f: at(f)(x), x)
        check(lambda x, f=f: at(f)(x[x > 0]), V)
        check_raises(lambda x, f=f: at(f)(x), np.zeros(0))
        check_raises(lambda x, f=f: at(f)(x[x > 9]), V)
        check_raises(lambda x, f=f: at(f)(x), np.zeros((2, 2)))


def test_sums_go_from_left_to_right():
    wide = np.array([1e16, 1.0, -1e16, 3.0, 1e-3, 7.0, 1e16, -2.0, -1e16, 0.1])
    check(lambda x: (at(sum)(x), at(sum)(x, 0.5), at(sum)(x[:3]), at(sum)(x.reshape(2, 5))), wide)
    check(lambda x: (at(sum)(x), at(sum)([x, x])), wide.astype(np.float32))
    check(lambda x: (at(sum)(x), at(sum)(x[:2])), np.arange(20, dtype=np.int8) * 9)
    check(lambda x: (at(sum)(x), at(sum)(x[:2])), np.arange(20) > 3)
    check(lambda x: at(sum)(x[x > 0]), wide)
    check(lambda x: at(sum)(x.reshape(10, 1, 1)), wide)
    check(lambda x, y: (at(sum)([x, y, 1]), at(sum)(v * v for v in (x, y))), F64, np.float64(0.3))


def test_compensated_sums():
    """As CPython 3.12 adds floats: its algorithm, written out."""
    from jitnet.frontend.folding import compensated

    items = [1e16, 1.0, -1e16, 3, 1e-3, 7.0]
    expected = jitnet.jit(lambda *xs: compensated(xs))(*items)
    assert expected == math.fsum(items)
    assert jitnet.jit(lambda *xs: compensated(xs))(1e308, 1e308) == math.inf
    assert jitnet.jit(lambda a, b: compensated([a, b]))(2, 3) == 5


def test_any_and_all():
    for f in (any, all):
        check(lambda x, y, f=f: (at(f)([x > 0, y > 0]), at(f)(v < 9 for v in (x, y))), F, G)
        check(lambda x, f=f: (at(f)([x > 9, False]), at(f)([True, x > 9]), at(f)([x, 0])), F)
        for x in (V, V[:2], V > -5, np.zeros(0)):
            check(lambda x, f=f: at(f)(x), x)
        check(lambda x, f=f: at(f)(x[x > 1]), V)
        check_raises(lambda x, f=f: at(f)(x), np.zeros((2, 2)))


# -- math ------------------------------------------------------------------------------------------

OF_ONE = {
    "acos": (0.3, -1.0, 1.0), "acosh": (1.0, 3.5, math.inf), "asin": (0.3, -1.0),
    "asinh": (-2.0, 5.0),
    "atan": (-2.0, math.inf), "atanh": (0.5, -0.25), "cbrt": (-8.0, 3.0, math.inf),
    "ceil": (2.1, -2.1, -0.5, 7), "cos": (1.0, 30.0), "cosh": (1.0, -3.0, math.inf),
    "degrees": (1.0, 2.5), "exp": (1.0, -800.0, math.inf, -math.inf), "exp2": (0.5, 3.0),
    "erf": (0.3, -1.7, math.inf, 1e-300, math.nan), "erfc": (0.3, -1.7, 20.0, -math.inf),
    "expm1": (1e-9, -50.0), "fabs": (-2.5, -3), "floor": (2.9, -2.1, -0.5, True, -4),
    "frexp": (10.0, -0.3, 0.0, math.inf, math.nan, 5e-324),
    "isfinite": (1.0, math.inf, math.nan, 3),
    "isinf": (1.0, -math.inf, math.nan), "isnan": (1.0, math.inf, math.nan),
    "isqrt": (0, 8, 9, 2**62),
    "log": (0.5, 2.0, math.inf, 7), "log10": (0.5, 1000.0, math.inf), "log1p": (-0.5, 1e-9),
    "log2": (8.0, 0.1, math.inf), "modf": (2.75, -2.75, -0.0, math.inf, -math.inf, math.nan),
    "radians": (180.0, 2.5), "sin": (1.0, -30.0, math.nan), "sinh": (1.0, -3.0, -math.inf),
    "sqrt": (2.0, 0.0, -0.0, math.inf, 9, math.nan), "tan": (1.0, -3.0), "tanh": (0.5, -math.inf),
    "trunc": (2.9, -2.9, 7), "ulp": (1.0, -3.7, 0.0, math.inf, math.nan, 1.7976931348623157e308),
}  # fmt: skip

OF_TWO = {
    "atan2": [(1.0, -2.0), (-0.0, -1.0), (math.inf, 1.0)],
    "copysign": [(3.0, -0.0), (-2.0, 1)],
    "dist": [((1.0, 2.0), (3.0, 5.0))],
    "fmod": [(7.5, -2.0), (-7.5, 2.0), (3.0, math.inf), (math.nan, 0.0)],
    "gcd": [(12, 18), (-4, 6), (0, 0), (True, 5)],
    "hypot": [(3.0, 4.0), (1e200, 1e200), (math.inf, math.nan)],
    "isclose": [(1.0, 1.0 + 1e-10), (1.0, 1.1), (math.inf, math.inf), (math.inf, 1.0),
                (math.nan, 1.0)],
    "lcm": [(4, 6), (-4, 6), (0, 5), (2**40, 3)],
    "ldexp": [(0.75, 4), (-1.0, -1080), (math.inf, 3), (1.0, -(2**40)), (0.0, 2**40)],
    "log": [(8.0, 2.0), (3.0, 10)],
    "nextafter": [(1.0, 2.0), (0.0, -1.0), (1.0, 1.0), (math.inf, 0.0)],
    "pow": [(2.0, 0.5), (-2.0, 3.0), (0.0, 0.0), (math.inf, -1.0), (1.0, math.nan),
            (-math.inf, 3.0), (math.nan, 0.0), (0.5, math.inf), (0.0, -math.inf), (2, 3),
            (1e-200, 2.0)],
    "remainder": [(7.5, 2.0), (5.0, 2.0), (-7.0, 2.0), (1e300, 3.7), (3.0, math.inf), (0.3, 0.1)],
}  # fmt: skip

REFUSED = {
    "acos": (1.5,), "acosh": (0.5,), "asin": (-1.1,), "atanh": (1.0,), "cos": (math.inf,),
    "cosh": (1000.0,), "exp": (1000.0,), "exp2": (2000.0,), "expm1": (1000.0,), "fmod": (1.0, 0.0),
    "gcd": (1.5, 2), "isqrt": (-1,), "ldexp": (1.0, 2000), "log": (0.0,), "log10": (-1.0,),
    "log1p": (-1.0,), "log2": (-math.inf,), "pow": (0.0, -1.0), "remainder": (math.inf, 1.0),
    "sin": (-math.inf,), "sinh": (-1000.0,), "sqrt": (-1e-9,), "tan": (math.inf,),
    "dist": ((1.0, 2.0), (1.0,)),
}  # fmt: skip

ALSO_REFUSED = [
    ("fmod", (math.inf, 1.0)), ("log", (-2.0,)), ("log", (2.0, 1.0)), ("log", (2.0, -1.0)),
    ("pow", (-2.0, 0.5)), ("pow", (10.0, 400.0)), ("pow", (-10.0, 401.0)), ("pow", (5e-324, -1.0)),
    ("remainder", (1.0, 0.0)), ("ldexp", (1.0, 2.0)), ("lcm", (2**62, 3)), ("sqrt", (-math.inf,)),
]  # fmt: skip

NEVER = {"comb", "perm", "factorial", "gamma", "lgamma", "fsum", "sumprod", "fma"}


@pytest.mark.parametrize("name", OF_ONE)
def test_math_of_one(name):
    if hasattr(math, name):
        each(getattr(math, name), *OF_ONE[name], ulp=4)


@pytest.mark.parametrize("name", OF_TWO)
def test_math_of_two(name):
    function = getattr(math, name)
    for pair in OF_TWO[name]:
        check(lambda x, y: at(function)(x, y), *pair, ulp=4)


@pytest.mark.parametrize("name", REFUSED)
def test_math_errors(name):
    if hasattr(math, name):
        check_raises(lambda *args: at(getattr(math, name))(*args), *REFUSED[name])


def test_more_math_errors():
    for name, args in ALSO_REFUSED:
        if (name, args) == ("lcm", (2**62, 3)):
            with pytest.raises(OverflowError):
                jitnet.jit(lambda x, y: at(math.lcm)(x, y))(*args)
        else:
            check_raises(lambda *args, name=name: at(getattr(math, name))(*args), *args)


def test_all_of_math_is_here():
    functions = {name for name, f in vars(math).items() if callable(f) and name[0] != "_"}
    tested = {*OF_ONE, *OF_TWO, *NEVER, "prod"}
    assert functions <= tested
    assert {getattr(math, name) for name in functions} <= set(CALLS)


def test_math_of_numpys_numbers():
    each(math.sqrt, np.float32(2), np.float64(2), np.int64(2), np.uint8(4), np.array(2.0))
    each(math.floor, np.float32(2.5), np.int32(-3), np.array(2.5), np.uint64(5))
    check_raises(lambda x: at(math.trunc)(x), np.array(2.5))
    check_raises(lambda x: at(math.sin)(x), V)
    check(lambda x, n: at(math.hypot)(x, 2.0, n), F32, I, ulp=4)
    check(lambda x: (at(math.hypot)(x), at(math.hypot)(x, x, 1e200)), -1e200, ulp=4)
    check(lambda x, y: (at(math.prod)([x, y, 2]), at(math.prod)(y, start=x)), F, V, ulp=4)
    check(lambda x, y: at(math.dist)(x, y), V, V[::-1].copy(), ulp=4)
    check(
        lambda a, b, c: (at(math.gcd)(a, b, c), at(math.lcm)(a, b, c), at(math.gcd)(a)), 12, 18, 8
    )
    check(lambda a: at(math.isclose)(a, 1.5, rel_tol=0.0, abs_tol=a), F)
    check_raises(lambda a: at(math.isclose)(a, 1.5, rel_tol=-a), F)


def test_math_that_is_not_here():
    for name in sorted(NEVER):
        if hasattr(math, name):
            function, count = at(getattr(math, name)), 2 if name == "sumprod" else 1

            def call(x, function=function, count=count):
                return function(*[at(int)(x)] * count)

            with pytest.raises((NotImplementedError, TypeError), match="traced"):
                jitnet.jit(call)(F64)


def test_gradients_go_through_math():
    f = jitnet.jit(jitnet.grad(lambda x: at(math.exp)(x) * at(math.sqrt)(at(float)(x))))
    x = 1.7
    assert np.isclose(f(x), np.exp(x) * (np.sqrt(x) + 0.5 / np.sqrt(x)))


# -- cmath -----------------------------------------------------------------------------------------

ZS = (1.5 - 2j, -0.3 + 0.7j, -2.0 + 0j, 0.5j, 3.0, complex(0.0, -0.0))
POLES = {"atan": 1j, "atanh": -1.0, "log": 0.0, "log10": 0j, "exp": 1000 + 1j, "sin": 1 + 1000j}
POLES |= {"cosh": 1000 + 1j, "tan": math.inf + 1j, "tanh": complex(1, math.inf), "cos": -math.inf}


@pytest.mark.parametrize("name", [n for n, f in vars(cmath).items() if callable(f) and n[0] != "_"])
def test_cmath(name):
    function = getattr(cmath, name)
    two = {"rect": [(2.0, 0.5), (0.0, math.inf), (-3.0, 0.0), (math.inf, 0.0), (-0.0, 3.0)]}
    two |= {"isclose": [(1 + 1j, 1 + 1j + 1e-12), (1j, 1.1j), (math.inf, math.inf)]}
    if name in two:
        for pair in two[name]:
            check(lambda x, y: at(function)(x, y), *pair, ulp=4)
        return
    for z in ZS:
        if not (z == 0 and name in ("log", "log10")):
            check(lambda z: at(function)(z), z, rtol=1e-15)
    check(lambda z: at(function)(z), np.complex64(1 - 2j), rtol=1e-15)
    if name in POLES:
        check_raises(lambda z: at(function)(z), POLES[name])


def test_more_of_cmath():
    check(lambda z, w: at(cmath.log)(z, w), 2 + 1j, 3.0, rtol=1e-15)
    check_raises(lambda z, w: at(cmath.log)(z, w), 2 + 1j, 1.0)
    check_raises(lambda z, w: at(cmath.log)(z, w), 2 + 1j, 0.0)
    check_raises(lambda r, phi: at(cmath.rect)(r, phi), 1.0, math.inf)
    check_raises(lambda z: at(cmath.polar)(z), 1.7e308 + 1.7e308j)
    check_raises(lambda z, t: at(cmath.isclose)(z, z, rel_tol=t), 1j, -1.0)
    check_raises(lambda z: at(math.sqrt)(z), 1j)


# -- arrays from numbers ---------------------------------------------------------------------------


def known(*calls: Any) -> None:
    """Calls without traced arguments; the results are new arrays."""

    def run(x: Any) -> Any:
        return [call() for call in calls], x

    check(run, F)


def test_one_number_in_all_places():
    known(
        lambda: at(np.zeros)(3),
        lambda: at(np.zeros)((2, 3), np.float32),
        lambda: at(np.ones)((2,), dtype=int),
        lambda: at(np.ones)((), bool),
        lambda: at(np.zeros)([2, 0], "i1"),
        lambda: at(np.zeros)(np.array([2, 1])),
        lambda: at(np.full)(3, 7),
        lambda: at(np.full)((2, 2), 1.5, np.float32),
        lambda: at(np.full)((2, 2), 1.5, int),
        lambda: at(np.full)((2, 3), [1, 2, 3]),
        lambda: at(np.full)(2, np.int8(3)),
        lambda: at(np.empty)((2, 3)).shape,
        lambda: at(np.empty)(4, np.int16).dtype,
    )
    for call in (
        lambda: at(np.zeros)(-1),
        lambda: at(np.zeros)(2.0),
        lambda: at(np.full)(2, 300, np.uint8),
        lambda: at(np.full)(2, [1, 2, 3]),
    ):
        check_raises(lambda x, call=call: (call(), x), F)
    check(lambda x: (at(np.zeros)(2, np.float16), x), F)
    with pytest.raises(TypeError, match=r"longdouble|float128"):
        jitnet.jit(lambda x: (at(np.zeros)(2, np.longdouble), x))(F)


def test_extents_and_values_that_are_traced():
    check(lambda x: at(np.zeros)(len(x)), V)
    check(lambda x: at(np.ones)((at(len)(x[x > 0]), 2)), V)
    check(lambda x, n: at(np.full)((at(int)(x[0]), n), x[3]), V, 2)
    check(lambda x: (at(np.full)(3, x), at(np.full)(2, x, np.int32)), F)
    check(lambda x: at(np.empty)((at(int)(x[0]), 2)).shape, V)
    check_raises(lambda x: at(np.zeros)(at(int)(x[1])), V)
    check(lambda x: at(np.eye)(at(int)(x[0]), k=at(int)(x[1])), V)


def test_ranges():
    known(
        lambda: at(np.arange)(5),
        lambda: at(np.arange)(2, 9, 3),
        lambda: at(np.arange)(9, 2, -2),
        lambda: at(np.arange)(3, 3),
        lambda: at(np.arange)(0.5, 3),
        lambda: at(np.arange)(0, 1, 0.1),
        lambda: at(np.arange)(3, dtype=np.float32),
        lambda: at(np.arange)(0.0, 2.0, 0.3, np.float32),
        lambda: at(np.arange)(0, 1, 0.3, dtype=int),
        lambda: at(np.arange)(np.float32(3)),
        lambda: at(np.arange)(np.int8(3)),
        lambda: at(np.arange)(np.uint64(3)),
        lambda: at(np.arange)(True),
        lambda: at(np.arange)(2, dtype=bool),
        lambda: at(np.arange)(stop=3),
        lambda: at(np.arange)(1, step=0.5, stop=3),
        lambda: at(np.arange)(np.array(4)),
        lambda: at(np.arange)(5000.0)[-3:],
        lambda: at(np.arange)(0.1, 1000.0, 0.1)[1:9],
        lambda: at(np.arange)(-3, 6, 2, np.int16),
    )
    for call in (
        lambda: at(np.arange)(0, 3, 0),
        lambda: at(np.arange)(),
        lambda: at(np.arange)(V[:1]),
    ):
        check_raises(lambda x, call=call: (call(), x), F)


def _range_of(convert: Any, **options: Any) -> Any:
    """arange of as many numbers as its argument has."""

    def run(v: Any) -> Any:
        return at(np.arange)(*[convert(v[i]) for i in range(v.shape[0])], **options)

    return run


def test_ranges_of_traced_numbers():
    as_int, as_float = (lambda x: at(int)(x)), (lambda x: at(float)(x))
    for args in ((5,), (2, 9), (2, 9, 3), (9, 2, -2), (3, 3), (0, -4), (1, 10, 100)):
        check(_range_of(lambda x: x), np.array(args))
        check(_range_of(as_int), np.array(args))
    fractions = ((5.0,), (0.5, 3.2), (0.0, 1.0, 0.1), (0.1, 2.0, 0.1), (1.0, 0.0, -0.125))
    for args in (*fractions, (0.0, -1.0)):
        check(_range_of(lambda x: x), np.array(args))
        check(_range_of(lambda x: x, dtype=np.float32), np.array(args))
        check(_range_of(as_float), np.array(args))
    check(lambda v: at(np.arange)(0, v[0], v[1]), np.array([2.0, 0.3], np.float32))
    check(lambda v: at(np.arange)(v[0], 7.5), np.array([2], np.int32))
    for zero in (lambda v: v[1], lambda v: at(int)(v[1]), lambda v: 0):
        check_raises(lambda v, zero=zero: at(np.arange)(0, v[0], zero(v)), np.array([3, 0]))
        check_raises(lambda v, zero=zero: at(np.arange)(0, as_int(v[0]), zero(v)), np.array([3, 0]))
    check_raises(lambda v: at(np.arange)(at(float)(v[0])), np.array([math.nan]))


def test_linspace():
    known(lambda: at(np.linspace)(0, 1, 5), lambda: at(np.linspace)(0, 1, 5000)[::1000])
    check(lambda v: at(np.linspace)(v[0], v[3], 7), V)
    for n in (0, 1, 2, 5):
        for endpoint in (True, False):
            check(
                lambda v, k, e=endpoint: at(np.linspace)(v[0], v[3], at(int)(k[0]), endpoint=e),
                V,
                np.array([n]),
            )
    check_raises(lambda v: at(np.linspace)(0.0, 1.0, at(int)(v[1])), V)


def test_matrices():
    known(
        lambda: at(np.eye)(3),
        lambda: at(np.eye)(2, 4, 1),
        lambda: at(np.eye)(4, 3, k=-2, dtype=np.int8),
        lambda: at(np.identity)(3),
        lambda: at(np.identity)(2, dtype=bool),
        lambda: at(np.tri)(3),
        lambda: at(np.tri)(3, 5, 1, dtype=int),
        lambda: at(np.diag)([1.0, 2.0]),
        lambda: at(np.indices)((2, 3)),
        lambda: at(np.indices)((2, 3), sparse=True),
        lambda: at(np.indices)((2,), dtype=np.float32),
        lambda: at(np.fromfunction)(lambda i, j: i * 10 + j, (2, 3)),
        lambda: at(np.fromfunction)(lambda i, j: i == j, (2, 2), dtype=int),
        lambda: at(np.meshgrid)([1, 2], [3.0, 4.0, 5.0]),
        lambda: at(np.logspace)(0, 2, 3),
        lambda: at(np.tril_indices)(3),
    )
    check(lambda v: at(np.indices)((at(int)(v[0]), 2)), V)


def test_new_arrays_can_be_large():
    table = np.random.default_rng(3).normal(size=5000).tolist()
    check(lambda x: at(np.array)(table) * x, F)


# -- arrays of what is there -----------------------------------------------------------------------


def test_arrays_of_lists():
    check(lambda x, y: at(np.array)([x, y, 1.0]), F, G)
    check(lambda x, y: at(np.array)([[x, y], [1.0, 2]]), F, G)
    check(lambda x, y: at(np.array)([[x, y], [1, 2]]), I, J)
    check(lambda x: at(np.array)([x, 1.0]), F32)
    check(lambda x: at(np.array)([x, 1]), np.int8(3))
    check(lambda x: at(np.array)([x, True]), np.bool_(False))
    check(lambda x: at(np.array)([x, x * 2], dtype=np.float64), F32)
    check(lambda x: at(np.array)([x, 2.9], dtype=int), -1.9)
    check(lambda x: at(np.array)([x, 0, 3], dtype=bool), -1.9)
    check(lambda v: at(np.array)([v, v * 2, [1, 2, 3, 4]]), V)
    check(lambda v: at(np.array)([[v[:2], v[2:]], [v[1:3], (v[0], 5)]]), V)
    check(lambda x: (at(np.array)(x), at(np.array)(x, ndmin=2), at(np.array)([x], ndmin=3)), F)
    check(lambda v: (at(np.array)(v), at(np.array)(v, np.float32), at(np.array)(v, ndmin=3)), V)
    check(lambda x: at(np.fromiter)((x * i for i in range(3)), float), F)
    known(
        lambda: at(np.array)([1, 2, 3]),
        lambda: at(np.array)([[1.0], [2.0]], np.float32),
        lambda: at(np.array)([]),
        lambda: at(np.array)(3),
        lambda: at(np.asarray)([True, False]),
        lambda: at(np.array)([2**63]),
    )
    for call in (
        lambda x: at(np.array)([x, [1.0, 2.0]]),
        lambda x: at(np.array)([[x], [1.0, 2.0]]),
        lambda x: at(np.array)([x, 300], np.uint8),
        lambda x: at(np.array)([x], copy=False),
        lambda x: at(np.array)([x * math.nan], int),
    ):
        check_raises(call, F)
    check_raises(lambda n: at(np.array)([n], np.uint8), 300)


def test_lists_with_traced_numbers_reach_numpys_functions():
    check(lambda x, y: at(np.sum)([x, y, 1.0]), F, G)
    check(lambda x: at(np.linalg.solve)([[x, 1.0], [1.0, 3.0]], [1, 2]), 2.5, rtol=1e-13)
    check(lambda x, y: (of_numpy(np.sin) if current_trace() else np.sin)([x, y]), F, G, ulp=4)
    known(lambda: at(np.cumsum)([1, 2, 3]), lambda: at(np.median)([1.0, 5.0]))


def test_asarray_is_the_array():
    def run(x: Any) -> Any:
        same = (
            *(at(np.asarray)(x) is x, at(np.asanyarray)(x, float) is x, at(np.array)(x) is x),
            *(at(np.array)(x, copy=None) is x, at(np.array)(x, copy=False) is x),
            *(at(np.asarray)(x, np.float32) is x, at(np.ascontiguousarray)(x) is x),
        )
        return same, at(np.asarray)(x, np.float32), at(np.asarray)(x[0])

    check(run, V)
    check(lambda x: (at(np.asarray)(x), at(np.ascontiguousarray)(x)), F)


def test_scalar_classes():
    check(lambda x: (at(np.float64)(x), at(np.float32)(x), at(np.int64)(x), at(np.bool_)(x)), F)
    check(lambda n: (at(np.float32)(n), at(np.uint8)(n), at(np.int64)(n), at(np.intp)(n)), I)
    check(lambda x: (at(np.int8)(x), at(np.float64)(x), at(np.bool_)(x)), np.float32(3.7))
    check(lambda v: (at(np.float32)(v), at(np.int64)(v), at(np.float64)(v[0])), V)
    check(lambda x: at(np.float64)([x, 1]), F)
    check(lambda x: (at(np.float64)(1) + x, at(np.float32)([1, 2]), at(np.int8)(3)), F)
    for call in (lambda n: at(np.uint8)(n), lambda n: at(np.uint8)(-n), lambda n: at(np.int8)(n)):
        check_raises(call, 300)
    check_raises(lambda x: at(np.int64)(x), math.nan)
    check_raises(lambda x: at(np.int8)(x), 300.0)


def test_grids():
    from jitnet.frontend.listing import grid_item

    def grid(maker: Any, key: Any) -> Any:
        return maker[key] if current_trace() is None else grid_item(maker, key)

    known(
        lambda: grid(np.mgrid, np.s_[0:3, 0:4]),
        lambda: grid(np.ogrid, np.s_[0:3, 0:4:2]),
        lambda: grid(np.mgrid, np.s_[0:1:5j, 0:2]),
        lambda: grid(np.r_, np.s_[1, 2, 5:8]),
        lambda: grid(np.c_, ([1, 2], [3, 4])),
    )
    check(lambda v: grid(np.mgrid, np.s_[0 : at(int)(v[0]), 0:2]), V)
    check(lambda v: grid(np.mgrid, np.s_[0 : v[0], 1:2:0.5]), V)
    check(lambda v: grid(np.ogrid, np.s_[0 : at(int)(v[0]), 1:6:2]), V)
    check(lambda v: grid(np.mgrid, np.s_[0 : v[0] : 5j, 0:2]), V)
    check(lambda v: grid(np.mgrid, np.s_[: v[0]]), V)
    check(lambda v: (grid(np.r_, (v, 0.0, v[1], np.s_[0:3])), grid(np.r_, v)), V)
    check(lambda v: (grid(np.c_, (v, v * 2)), grid(np.c_, (v.reshape(4, 1), v))), V)
    check(lambda v: grid(np.r_, (v, 1.0)), V.astype(np.float32))
    check(lambda v: grid(np.r_, (v, np.s_[0 : v[0] : 3j])), V)
    with pytest.raises(NotImplementedError, match="concatenate"):
        jitnet.jit(lambda v: grid(np.r_, ("0,2", v)))(V)
