"""Rows of elementary functions: powers, logarithms, circular and hyperbolic functions.

%y = exp %x {}              // expands into polynomial and bit rows, see vmath
%z = arctan %y {}           // a call of the C library, lane by lane
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from jitnet.ir import Value
from jitnet.kernel import vmath
from jitnet.kernel.basic import abs, add, eq, gt, mul, neg, select, sub
from jitnet.kernel.composed import integer_power
from jitnet.kernel.row import ScalarOp


def _library(name: str, numpy: Any, libm: str, arity: int = 1, cost: int = 40) -> ScalarOp:
    """A row that the C library computes, one lane at a time."""
    arguments = ", ".join(f"{{{i}}}" for i in range(arity))
    operands = ("f",) + ("=",) * (arity - 1)
    cuda = {"f": f"{libm}{{f}}({arguments})"}
    return ScalarOp(name, operands, "same", numpy, libm=libm, cuda=cuda, cost=cost)


def _of_pythons(function: Callable[[float], float]) -> Callable[[Any], Any]:
    """A function of Python's, which NumPy does not have, on arrays and NumPy scalars."""

    def reference(x: Any) -> Any:
        found = [function(v) for v in np.ravel(x).tolist()]
        return np.array(found, x.dtype).reshape(np.shape(x))[()]

    return reference


def _vector(name: str, numpy: Any, expand: Callable[[Value], Value], cost: int) -> ScalarOp:
    """A row that is a polynomial over other rows, for any number of lanes."""
    cuda = {"f": f"{name}{{f}}({{0}})"}
    return ScalarOp(name, ("f",), "same", numpy, expand=expand, cuda=cuda, cost=cost)


# -- vectors ---------------------------------------------------------------------------------------

exp = _vector("exp", np.exp, vmath.exp, 20)
exp2 = _vector("exp2", np.exp2, vmath.exp2, 20)
expm1 = _vector("expm1", np.expm1, vmath.expm1, 25)
log = _vector("log", np.log, vmath.log, 30)
log1p = _vector("log1p", np.log1p, vmath.log1p, 35)
log2 = _vector("log2", np.log2, vmath.log2, 30)
log10 = _vector("log10", np.log10, vmath.log10, 30)
tanh = _vector("tanh", np.tanh, vmath.tanh, 40)
sin = _vector("sin", np.sin, vmath.sin, 25)
cos = _vector("cos", np.cos, vmath.cos, 25)

# -- the C library ---------------------------------------------------------------------------------

cbrt = _library("cbrt", np.cbrt, "cbrt")
tan = _library("tan", np.tan, "tan")
arcsin = _library("arcsin", np.arcsin, "asin")
arccos = _library("arccos", np.arccos, "acos")
arctan = _library("arctan", np.arctan, "atan")
arctan2 = _library("arctan2", np.arctan2, "atan2", arity=2)
sinh = _library("sinh", np.sinh, "sinh")
cosh = _library("cosh", np.cosh, "cosh")
arcsinh = _library("arcsinh", np.arcsinh, "asinh")
arccosh = _library("arccosh", np.arccosh, "acosh")
arctanh = _library("arctanh", np.arctanh, "atanh")
hypot = _library("hypot", np.hypot, "hypot", arity=2)
erf = _library("erf", _of_pythons(math.erf), "erf")
erfc = _library("erfc", _of_pythons(math.erfc), "erfc")
float_power = _library("float_power", np.power, "pow", arity=2)


def _power_reference(x: Any, n: Any) -> Any:
    return np.power(x, np.maximum(n, 0) if x.dtype.kind == "i" else n)


pow = ScalarOp(  # integers wrap around; a negative exponent gives 1: callers refuse it before
    "pow",
    ("iuf", "="),
    "same",
    _power_reference,
    expand=lambda x, n: float_power(x, n) if x.dtype.is_float else integer_power(x, n),
    cost=60,
)

# -- sums of exponentials --------------------------------------------------------------------------


def _sum_of_powers(x: Value, y: Value, power: ScalarOp, log_of_2: float, scale: float) -> Value:
    """m + scale * log1p(power(-d)), for the larger m of the two and their distance d."""
    d = sub(x, y)
    tail = log1p(power(neg(abs(d))))
    if scale != 1.0:
        tail = mul(tail, scale)
    return select(eq(x, y), add(x, log_of_2), add(select(gt(d, 0.0), x, y), tail))


logaddexp = ScalarOp(
    "logaddexp",
    ("f", "="),
    "same",
    np.logaddexp,
    expand=lambda x, y: _sum_of_powers(x, y, exp, float(np.log(2.0)), 1.0),
    cost=60,
)
logaddexp2 = ScalarOp(
    "logaddexp2",
    ("f", "="),
    "same",
    np.logaddexp2,
    expand=lambda x, y: _sum_of_powers(x, y, exp2, 1.0, 1.0 / float(np.log(2.0))),
    cost=60,
)
