"""How ops that move or add up complex numbers do it on pairs of real ones: rules that many share.

    %y = transpose %x {perm=(1, 0)}     // c128[2, 3]      %y_re = transpose %x_re {perm=(1, 0)}
                                                    ->     %y_im = transpose %x_im {perm=(1, 0)}

`each_half` is the rule of every op that treats the real and the imaginary part alike; an op that
takes any number of arrays takes the halves one after the other: `side_by_side`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from jitnet.ir import ArrayType, Eqn, Function, Literal, Value, current
from jitnet.ops.primitive import Pair, Paired

Split = Callable[[Function], Function]


def is_complex(v: Value) -> bool:
    """Whether a value is an array of complex numbers."""
    return isinstance(v.type, ArrayType) and v.type.dtype.is_complex


def literal_pair(v: Literal) -> Pair:
    """A complex literal as two real ones."""
    half = v.dtype.half
    return Pair(Literal(v.data.real, half), Literal(v.data.imag, half))


def pair(v: Paired) -> Pair:
    """What must be a pair."""
    assert isinstance(v, Pair), f"{v} is not complex"
    return v


def flat(values: Iterable[Paired]) -> Iterator[Value]:
    """The values, pairs as their two halves."""
    for v in values:
        if isinstance(v, Pair):
            yield from v
        else:
            yield v


def in_pairs(values: Iterable[Value], like: Sequence[Value]) -> list[Paired]:
    """Values as `flat` gives them, put together as those of an equation on complex numbers are."""
    rest = iter(values)
    return [Pair(next(rest), next(rest)) if is_complex(v) else next(rest) for v in like]


def each_half(eqn: Eqn, operands: Sequence[Paired], split: Split) -> Sequence[Paired]:
    """The same on the real and on the imaginary parts."""
    bind, attrs = current().bind, eqn.attrs
    re = bind(eqn.op, [v.re if isinstance(v, Pair) else v for v in operands], attrs)
    im = bind(eqn.op, [v.im if isinstance(v, Pair) else v for v in operands], attrs)
    return [Pair(*halves) for halves in zip(re, im, strict=True)]


def side_by_side(eqn: Eqn, operands: Sequence[Paired], split: Split) -> Sequence[Paired]:
    """The same on both halves at once, one after the other among the operands and the results."""
    results = current().rebind(eqn, list(flat(operands)))
    return in_pairs(results, eqn.results)
