"""Rows that tell whether arithmetic of integers leaves their dtype.

    %w = add_wraps %x, %y          // i64: whether x + y is not the sum of the integers

Python's ints are i64 in a program; it raises where they would not be.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jitnet.ir import Eqn, Literal, Value
from jitnet.ir.facts import ADD, MUL, SUB, Claim, FactRule, Fits, Order, Range, dtype_range
from jitnet.kernel.basic import (
    add,
    bitwise_and,
    bitwise_or,
    bitwise_xor,
    eq,
    lt,
    mul,
    ne,
    quotient,
    select,
    sub,
)
from jitnet.kernel.row import ScalarOp, lit


def _reference(ufunc: np.ufunc) -> Callable[[Any, Any], Any]:
    def wraps(x: Any, y: Any) -> Any:
        with np.errstate(over="ignore"):
            exact = ufunc(np.asarray(x).astype(object), np.asarray(y).astype(object))
            return np.asarray(ufunc(x, y) != exact, np.bool_)[()]

    return wraps


def _facts(op: ScalarOp, arithmetic: FactRule) -> FactRule:
    def range(eqn: Eqn, a: Range, b: Range) -> Range | None:
        ideal = arithmetic.range(eqn, a, b) if arithmetic.range else None
        fits = ideal is not None and ideal.within(dtype_range(eqn.operands[0].dtype))
        return Range(0, 0) if fits else None

    def implies(eqn: Eqn, truth: bool) -> Sequence[Claim]:
        return () if truth else (Fits(op.name, eqn.operands), *_within(op, *eqn.operands))

    return FactRule(range=range, implies=implies)


def _within(op: ScalarOp, x: Value, c: Value) -> Sequence[Claim]:
    """The bounds of x where it does not wrap around with a known operand."""
    if not isinstance(c, Literal) or isinstance(x, Literal):
        return ()
    (lo, hi), n = dtype_range(x.dtype), int(c.item)
    if op is mul and n > 0:
        lo, hi = -(-lo // n), hi // n
    elif op is not mul:
        n = n if op is add else -n
        lo, hi = lo - min(n, 0), hi - max(n, 0)
    return Order(lo, x, 0), Order(x, hi, 0)


def _wraps(
    op: ScalarOp,
    ufunc: np.ufunc,
    facts: FactRule,
    expand: Callable[[Value, Value], Value],
    cost: int,
) -> ScalarOp:
    both = " {T} {0}, {T} {1}"
    call = f"call {{{{ {{T}}, {{B}} }}}} @llvm.%s{op.name}.with.overflow.{{S}}({both})"
    part = "extractvalue {{ {T}, {B} }} {r}, 1"
    return ScalarOp(
        f"{op.name}_wraps",
        ("iu", "="),
        "bool",
        _reference(ufunc),
        llvm={"i": f"{call % 's'} | {part}", "u": f"{call % 'u'} | {part}"},
        expand=expand,
        cost=cost,
        facts=_facts(op, facts),
    )


def _expand_add(x: Value, y: Value) -> Value:
    total = add(x, y)
    if x.dtype.kind == "u":
        return lt(total, x)
    return lt(bitwise_and(bitwise_xor(x, total), bitwise_xor(y, total)), 0)


def _expand_sub(x: Value, y: Value) -> Value:
    if x.dtype.kind == "u":
        return lt(x, y)
    return lt(bitwise_and(bitwise_xor(x, y), bitwise_xor(x, sub(x, y))), 0)


def _expand_mul(x: Value, y: Value) -> Value:
    """By dividing; the factor -1 is a case of its own, for the quotient of the least integer by it
    would trap."""
    trouble = eq(y, 0)
    if x.dtype.kind == "u":
        return bitwise_and(ne(y, 0), ne(quotient(mul(x, y), select(trouble, lit(1, y), y)), x))
    minus = eq(y, -1)
    divisor = select(bitwise_or(trouble, minus), lit(1, y), y)
    inexact = ne(quotient(mul(x, divisor), divisor), x)
    least = lit(dtype_range(x.dtype).lo, x)
    return bitwise_or(inexact, bitwise_and(minus, eq(x, least)))


add_wraps = _wraps(add, np.add, ADD, _expand_add, 2)
sub_wraps = _wraps(sub, np.subtract, SUB, _expand_sub, 2)
mul_wraps = _wraps(mul, np.multiply, MUL, _expand_mul, 4)
