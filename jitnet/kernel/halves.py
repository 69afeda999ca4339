"""Halves: floats of 16 bits, which programs keep and machines compute with as float32.

    %z = add %x, %y     // on f16:      %x.1 = cast %x {dtype=f32}
                                        %y.1 = cast %y {dtype=f32}
                                        %z.1 = add %x.1, %y.1
                                        %z = cast %z.1 {dtype=f16}

That is what NumPy's loops do, and so what a scalar row binds when it is called on halves (see
`row.ScalarOp.halves`): kernels load, store and choose them, and cast them from and to float32. Here
is what such a cast is where the machine has none, in integers; halves that are not float16 are
bfloat16, the upper halves of float32. Both round to the nearest, ties to even.
"""

from __future__ import annotations

from functools import cache

from jitnet.ir import Builder, DType, Function, Value
from jitnet.ir import types as T
from jitnet.kernel.basic import (
    add,
    bitcast,
    bitwise_and,
    bitwise_or,
    cast,
    ge,
    gt,
    lshr,
    lt,
    mul,
    select,
    shl,
    sub,
)
from jitnet.kernel.row import lit

_INFINITY = 0x7F800000  # of float32, as bits
_TOO_LARGE = (127 + 16) << 23  # 65536.0
_SMALLEST_NORMAL = (127 - 14) << 23  # of float16, as a float32
_HALF = (127 - 1) << 23  # 0.5: of the floats next to it, the last bit is float16's last one


@cache
def expansion(source: DType, target: DType) -> Function:
    """A cast between a half and float32 as a Function of other rows."""
    name = f"{target.name}_from_{source.name}"
    with Builder(name, "kernel") as b:
        x = b.param(T.scalar(source), "x")
        if source.is_half:
            bits = cast(bitcast(x, T.u16), T.u32)
            return b.build(_from_float16(bits) if source is T.f16 else _from_bfloat16(bits))
        bits = bitcast(x, T.u32)
        sign = bitwise_and(lshr(bits, 16), 0x8000)
        magnitude = bitwise_and(bits, 0x7FFFFFFF)
        rounded = _to_float16(magnitude) if target is T.f16 else _to_bfloat16(magnitude)
        return b.build(bitcast(cast(bitwise_or(rounded, sign), T.u16), target))


def _from_float16(bits: Value) -> Value:
    """The product adjusts the exponent, and makes numbers that have none normal."""
    sign = shl(bitwise_and(bits, 0x8000), 16)
    magnitude = shl(bitwise_and(bits, 0x7FFF), 13)
    value = bitcast(mul(bitcast(magnitude, T.f32), 2.0 ** (127 - 15)), T.u32)
    is_finite = lt(magnitude, 31 << 23)
    exponent = select(is_finite, lit(0, bits), lit(_INFINITY, bits))
    return bitcast(bitwise_or(bitwise_or(value, exponent), sign), T.f32)


def _to_float16(bits: Value) -> Value:
    """Of normal numbers the exponent is adjusted, and rounding may carry into it, up to infinity.
    Adding 0.5 to the others rounds them where their last bit is to be."""
    normal = add(sub(bits, (127 - 15) << 23), 0xFFF)
    normal = lshr(add(normal, bitwise_and(lshr(bits, 13), 1)), 13)
    shifted = add(bitcast(bits, T.f32), 0.5)
    tiny = sub(bitcast(shifted, T.u32), _HALF)
    beyond = select(gt(bits, _INFINITY), lit(0x7E00, bits), lit(0x7C00, bits))
    finite = select(lt(bits, _SMALLEST_NORMAL), tiny, normal)
    return select(ge(bits, _TOO_LARGE), beyond, finite)


def _from_bfloat16(bits: Value) -> Value:
    return bitcast(shl(bits, 16), T.f32)


def _to_bfloat16(bits: Value) -> Value:
    rounded = lshr(add(add(bits, 0x7FFF), bitwise_and(lshr(bits, 16), 1)), 16)
    return select(gt(bits, _INFINITY), lit(0x7FC0, bits), rounded)
