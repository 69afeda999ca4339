"""Simplifications of pointwise ops. Each keeps NumPy's value bit for bit.

    mul %x, 1.0        ->  %x            add %x, 0.0     stays: it makes -0.0 to 0.0
    add %x, -0.0       ->  %x            mul %x, 0.0     stays, for floats: of inf it makes nan
    div %x, 8.0        ->  mul %x, 0.125
    add %x, (neg %y)   ->  sub %x, %y

Of a NaN, only that it is one is kept: IEEE 754 says nothing of the sign and the payload that
arithmetic gives it. The other exception is `zmul`, which comes from derivatives: of a zero of any
sign it makes +0.0, while the `mul` that takes its place keeps the sign.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

from jitnet.ir import Definition, DType, Eqn, Literal, Op, Rule, Value, current, rule
from jitnet.ir import types as T
from jitnet.ir.facts import dtype_range
from jitnet.ops import (
    abs,
    add,
    add_wraps,
    bitwise_and,
    bitwise_or,
    bitwise_xor,
    ceil,
    convert,
    div,
    eq,
    floor,
    floordiv,
    fmax,
    fmin,
    full,
    ge,
    gt,
    invert,
    le,
    left_shift,
    logical_not,
    lt,
    maximum,
    minimum,
    mul,
    mul_wraps,
    ne,
    neg,
    pow,
    rem,
    right_shift,
    rint,
    select,
    sign,
    square,
    sub,
    trunc,
    zmul,
)
from jitnet.ops.pointwise import CONVERT

# -- tables ----------------------------------------------------------------------------------------


def _all_ones(dtype: DType) -> int:
    return dtype_range(dtype).hi if dtype.kind == "u" else -1


Number = float | bool | Callable[[DType], int]

COMMUTES = (
    add,
    mul,
    zmul,
    add_wraps,
    mul_wraps,
    bitwise_and,
    bitwise_or,
    bitwise_xor,
    eq,
    ne,
)

NEUTRAL: tuple[tuple[Op, str, Number], ...] = (  # op(x, number) is x, on these kinds of dtype
    (add, "f", -0.0),
    (add, "biu", 0),
    (sub, "f", 0.0),
    (sub, "iu", 0),
    (mul, "biuf", 1),
    (zmul, "biu", 1),
    (div, "f", 1.0),
    (floordiv, "iu", 1),
    (pow, "iuf", 1),
    (bitwise_and, "b", True),
    (bitwise_and, "iu", _all_ones),
    (bitwise_or, "biu", 0),
    (bitwise_xor, "biu", 0),
    (left_shift, "iu", 0),
    (right_shift, "iu", 0),
    (eq, "b", True),
    (ne, "b", False),
)
DECIDES: tuple[tuple[Op, str, Number, Number], ...] = (  # op(x, number) is that other number
    (mul, "biu", 0, 0),
    (zmul, "biuf", 0, 0),
    (zmul, "f", -0.0, 0),
    (pow, "iuf", 0, 1),
    (rem, "iu", 1, 0),
    (bitwise_and, "biu", 0, 0),
    (bitwise_or, "b", True, True),
    (bitwise_or, "iu", _all_ones, _all_ones),
)
OF_SAME: tuple[tuple[Op, str, Number | None], ...] = (  # op(x, x) is the number, or x for None
    (bitwise_and, "biu", None),
    (bitwise_or, "biu", None),
    (maximum, "biuf", None),
    (minimum, "biuf", None),
    (fmax, "biuf", None),
    (fmin, "biuf", None),
    (sub, "iu", 0),
    (bitwise_xor, "biu", 0),
    (eq, "biu", True),
    (le, "biu", True),
    (ge, "biu", True),
    (ne, "biu", False),
    (lt, "biu", False),
    (gt, "biu", False),
)
INVOLUTIONS = (neg, invert, logical_not)  # op(op(x)) is x
ROUNDINGS = (floor, ceil, trunc, rint)  # any of any of them is the inner one
IDEMPOTENT = (abs, sign)  # op(op(x)) is op(x)
EVEN = (abs, square)  # op(-x) is op(x), where there are negative numbers
OPPOSITES: dict[Op, tuple[Op, str]] = {  # the negation of a comparison, on these kinds
    eq: (ne, "biuf"),
    ne: (eq, "biuf"),
    lt: (ge, "biu"),
    ge: (lt, "biu"),
    gt: (le, "biu"),
    le: (gt, "biu"),
}


def literal_of(number: Number, dtype: DType) -> Literal:
    return Literal(number(dtype) if callable(number) else number, dtype)


def _filled(eqn: Eqn, value: Value) -> Value:
    """A literal as all elements of the equation's result."""
    return full(value, eqn.result.dims) if isinstance(value, Literal) else value


# -- rules that read the tables --------------------------------------------------------------------


@rule(*COMMUTES)
def literal_on_the_right(eqn: Eqn, definition: Definition) -> Value | None:
    x, y = eqn.operands
    if not isinstance(x, Literal) or isinstance(y, Literal):
        return None
    return current().rebind(eqn, (y, x))[0]


@cache
def _settling(op: Op, dtype: DType) -> tuple[dict[Literal, Literal], list[Literal]]:
    """Of `op(x, literal)`: literals that decide it, with the answers, and those that give x."""
    kind = dtype.kind
    decides = [(n, answer) for o, kinds, n, answer in DECIDES if o is op and kind in kinds]
    neutral = [n for o, kinds, n in NEUTRAL if o is op and kind in kinds]
    answers = {literal_of(n, dtype): literal_of(answer, dtype) for n, answer in decides}
    return answers, [literal_of(n, dtype) for n in neutral]


@rule(*dict.fromkeys([row[0] for row in NEUTRAL] + [row[0] for row in DECIDES]))
def with_literal(eqn: Eqn, definition: Definition) -> Value | None:
    x, y = eqn.operands
    if not isinstance(y, Literal):
        return None
    answers, neutral = _settling(eqn.op, y.dtype)
    if y in neutral:
        return x
    return _filled(eqn, answers[y]) if y in answers else None


@rule(*(op for op, *_ in OF_SAME))
def of_same_operands(eqn: Eqn, definition: Definition) -> Value | None:
    x, y = eqn.operands
    if x is not y:
        return None
    for op, kinds, number in OF_SAME:
        if eqn.op is op and x.dtype.kind in kinds:
            return x if number is None else _filled(eqn, literal_of(number, eqn.result.dtype))
    return None


@rule(*INVOLUTIONS, *ROUNDINGS, *IDEMPOTENT, *EVEN)
def of_unary(eqn: Eqn, definition: Definition) -> Value | None:
    inner = definition(eqn.operands[0])
    if inner is None:
        return None
    if eqn.op in INVOLUTIONS and inner.op is eqn.op and inner.operands[0].type == eqn.result.type:
        return inner.operands[0]
    if eqn.op in ROUNDINGS and inner.op in ROUNDINGS:
        return inner.result
    if eqn.op in IDEMPOTENT and inner.op is eqn.op:
        return inner.result
    if eqn.op in EVEN and inner.op is neg and inner.result.dtype.kind != "u":
        return current().rebind(eqn, inner.operands)[0]
    return None


@rule(logical_not)
def of_comparison(eqn: Eqn, definition: Definition) -> Value | None:
    inner = definition(eqn.operands[0])
    if inner is None or inner.op not in OPPOSITES:
        return None
    op, kinds = OPPOSITES[inner.op]
    if inner.operands[0].dtype.kind not in kinds:
        return None
    return current().bind(op, inner.operands)[0]


# -- signs -----------------------------------------------------------------------------------------


def _negated(v: Value, definition: Definition) -> Value | None:
    """What v is the negative of."""
    inner = definition(v)
    return inner.operands[0] if inner is not None and inner.op is neg else None


@rule(add, sub)
def sum_with_negative(eqn: Eqn, definition: Definition) -> Value | None:
    """x + -y is x - y, -x + y is y - x, x - -y is x + y."""
    x, y = eqn.operands
    opposite = _negated(y, definition)
    if opposite is not None:
        return sub(x, opposite) if eqn.op is add else add(x, opposite)
    opposite = _negated(x, definition)
    return sub(y, opposite) if eqn.op is add and opposite is not None else None


@rule(add, sub)
def sum_of_constants(eqn: Eqn, definition: Definition) -> Value | None:
    """(x + 3) - 1 is x + 2 for integers, which wrap around either way. So the extents that slices
    compute from their bounds are the ones that are there already."""
    x, y = eqn.operands
    inner = definition(x)
    if y.dtype.kind != "i" or inner is None or inner.op not in (add, sub):
        return None
    source, first = inner.operands
    if not isinstance(y, Literal) or not isinstance(first, Literal):
        return None
    begun = neg(first) if inner.op is sub else first
    total = add(begun, y) if eqn.op is add else sub(begun, y)
    assert isinstance(total, Literal), "an op on literals folds"
    return sub(source, neg(total)) if total.item < 0 else add(source, total)


@rule(mul, div)
def product_of_negatives(eqn: Eqn, definition: Definition) -> Value | None:
    """-x * -y is x * y, and -x * 2 is x * -2."""
    y, negated = eqn.operands[1], _negated(eqn.operands[0], definition)
    if negated is None:
        return None
    other = _negated(y, definition)
    if isinstance(y, Literal):
        other = neg(y)
    return None if other is None else current().rebind(eqn, (negated, other))[0]


@rule(neg)
def negative_of_product(eqn: Eqn, definition: Definition) -> Value | None:
    """-(x * 2) is x * -2."""
    inner = definition(eqn.operands[0])
    if inner is None or inner.op is not mul or not isinstance(inner.operands[1], Literal):
        return None
    x, factor = inner.operands
    return mul(x, neg(factor))


@rule(sub)
def difference_from_zero(eqn: Eqn, definition: Definition) -> Value | None:
    """0 - x is -x for integers, -0.0 - x for floats."""
    x, y = eqn.operands
    zero = Literal(-0.0 if y.dtype.is_float else 0, y.dtype)
    return neg(y) if x == zero and not isinstance(y, Literal) else None


@rule(mul)
def product_with_minus_one(eqn: Eqn, definition: Definition) -> Value | None:
    x, y = eqn.operands
    minus_one = y.dtype.kind in "if" and y == Literal(-1, y.dtype)
    return neg(x) if minus_one and not isinstance(x, Literal) else None


# -- quotients, powers, strong zeros ---------------------------------------------------------------


@rule(div)
def quotient_by_power_of_two(eqn: Eqn, definition: Definition) -> Value | None:
    """x / 8 is x * 0.125: both round the same real number."""
    x, y = eqn.operands
    if not isinstance(y, Literal) or not math.isfinite(y.item) or y.item == 0:
        return None
    mantissa, _ = math.frexp(y.item)
    inverse = div(Literal(1, y.dtype), y)
    assert isinstance(inverse, Literal), "an op on literals folds"
    exact = math.isfinite(inverse.item) and inverse.item * y.item == 1
    return mul(x, inverse) if math.fabs(mantissa) == 0.5 and exact else None


@rule(pow)
def small_power(eqn: Eqn, definition: Definition) -> Value | None:
    """x**2 is a square, as in NumPy. x**3 is off by 1 ULP at most, less than a power is."""
    x, y = eqn.operands
    if not isinstance(y, Literal) or isinstance(x, Literal):
        return None
    if y.item == 2:
        return square(x)
    return mul(square(x), x) if y.item == 3 and not x.dtype.is_half else None


def _is_finite(v: Value, definition: Definition, depth: int = 4) -> bool:
    """Whether no element of v can be infinite or NaN, as far as `depth` equations show."""
    if not v.dtype.is_float:
        return True
    if isinstance(v, Literal):
        return math.isfinite(v.item)
    eqn = definition(v)
    if eqn is None or depth == 0:
        return False
    if eqn.op is CONVERT:
        return not eqn.operands[0].dtype.is_float
    return eqn.op is select and all(_is_finite(a, definition, depth - 1) for a in eqn.operands[1:])


@rule(zmul)
def plain_product(eqn: Eqn, definition: Definition) -> Value | None:
    """A zero needs no strength against what is finite, nor without a zero."""
    x, y = eqn.operands
    known = isinstance(y, Literal) and math.isfinite(y.item) and y.item != 0
    finite = known or all(_is_finite(v, definition) for v in eqn.operands)
    return mul(x, y) if finite else None


# -- choices and conversions -----------------------------------------------------------------------


@rule(select)
def settled_choice(eqn: Eqn, definition: Definition) -> Value | None:
    condition, x, y = eqn.operands
    if isinstance(condition, Literal):
        return _filled(eqn, x if condition.item else y)
    if x is y or (isinstance(x, Literal) and x == y):
        return _filled(eqn, x)
    inner = definition(condition)
    if inner is not None and inner.op is logical_not:
        return select(inner.operands[0], y, x)
    return None


def holds_all(source: DType, target: DType) -> bool:
    """Whether every value of one dtype is a value of the other."""
    if source == target or source.is_bool:
        return True
    if target.is_bool or (source.is_float and not target.is_float):
        return False
    if source.is_float:
        (digits, bias), (room, largest) = source.float_format, target.float_format
        return digits <= room and bias <= largest
    digits = source.bits - (source.kind == "i")
    if target.is_float:
        mantissa, bias = target.float_format
        return digits <= min(mantissa + 1, bias + 1)
    if source.kind == "i" and target.kind == "u":
        return False
    return digits <= target.bits - (target.kind == "i")


@rule(CONVERT)
def needless_conversion(eqn: Eqn, definition: Definition) -> Value | None:
    """To the same dtype; or by way of a dtype that changes nothing."""
    (x,), target = eqn.operands, eqn.attrs["dtype"]
    if x.dtype == target:
        return x
    inner = definition(x)
    if inner is None or inner.op is not CONVERT:
        return None
    source = inner.operands[0]
    if target.is_half and source.dtype.is_integer and x.dtype is not T.f32:
        return None  # integers go by way of float32
    both_integers = not source.dtype.is_float and not x.dtype.is_float
    if holds_all(source.dtype, x.dtype) and (both_integers or target.is_float or target.is_bool):
        return convert(source, target)
    return None


ALGEBRA: tuple[Rule, ...] = (
    literal_on_the_right,
    with_literal,
    of_same_operands,
    of_unary,
    of_comparison,
    sum_with_negative,
    sum_of_constants,
    product_of_negatives,
    negative_of_product,
    difference_from_zero,
    product_with_minus_one,
    quotient_by_power_of_two,
    small_power,
    plain_product,
    settled_choice,
    needless_conversion,
)
