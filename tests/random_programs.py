"""Random typed Functions: hypothesis draws the ops, this module sees to it that they fit.

    f, args = draw(programs(EXACT))

A program grows step by step: each step picks operands among the values in scope and binds an op on
them, or finds nothing that fits and passes. Indices are in bounds by construction (a remainder, or
a draw within static extents). Regions are programs over the operands that they are given.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from hypothesis import strategies as st

from jitnet import ops
from jitnet.ir import ArrayType, Builder, Dim, DType, Function, Literal, Value, as_dim, as_value
from jitnet.ir import types as T
from jitnet.ir.types import f32, f64, i64
from jitnet.ops.lift import Pointwise
from jitnet.ops.samples import special

INDEX = T.scalar(i64)
LARGEST = 200  # elements of a value that is made larger


@dataclass(frozen=True)
class Pool:
    """What programs are made of.

    Attributes:
        pointwise: names of ops.
        dtypes: those of the params.
        reductions: sums of floats too; else only what does not depend on the order of terms.
        special: whether arguments contain zeros, infinities, NaN.
        smooth: no floats decide which branch or which element is taken.
    """

    pointwise: tuple[str, ...]
    dtypes: tuple[DType, ...]
    reductions: bool
    special: bool
    smooth: bool = False


_BITWISE = "bitwise_and bitwise_or bitwise_xor invert logical_not left_shift right_shift"
_COMPARE = "eq ne lt le gt ge isnan isinf isfinite signbit"
_ARITHMETIC = "add sub mul div floordiv rem fmod maximum minimum fmax fmin neg abs sign square sqrt"
_ROUND = "floor ceil trunc rint copysign nextafter reciprocal select heaviside gcd"
_ELEMENTARY = "exp log sin tanh pow cbrt arctan2 hypot expm1 log1p"
_SMOOTH = "add sub mul neg sin cos tanh arctan select zmul"
_KINKED = "maximum minimum abs gt le div sqrt exp log hypot logaddexp"

EXACT = Pool(
    tuple(f"{_BITWISE} {_COMPARE} {_ARITHMETIC} {_ROUND}".split()),
    (f64, f64, f32, i64, i64, T.i32, T.u8, T.bool_),
    reductions=False,
    special=True,
)
"""Ops whose results are the same, bit for bit, on every backend and whatever passes did: no `zmul`,
whose zeros may lose their sign."""

COMPLEX = Pool(
    ("add", "sub", "mul", "neg", "square", "select", "eq", "lt", "ge", "abs", "fmin", "isfinite"),
    (T.c128, T.c128, T.c64, f64, i64, T.bool_),
    reductions=False,
    special=False,
)
"""Programs with complex numbers, exact on every backend as well."""

HALVES = replace(EXACT, dtypes=(T.f16, T.f16, T.f16, f32, f64, i64, T.u8, T.bool_))
"""Programs with float16, exact on every backend too."""

ANY = replace(
    EXACT,
    pointwise=(*EXACT.pointwise, *_ELEMENTARY.split()),
    reductions=True,
)
"""Everything: the same, bit for bit, whatever passes did."""

DIFFERENTIABLE = Pool(
    tuple(f"{_SMOOTH} {_KINKED}".split()), (f64, f64, f64, i64, T.bool_), True, special=False
)
"""Ops with derivatives, and what goes on around them."""

SMOOTH = replace(DIFFERENTIABLE, pointwise=tuple(_SMOOTH.split()), smooth=True)
"""Programs that central differences and second derivatives make sense for."""


@dataclass
class Scope:
    """Where a program grows: its draws, and the values that it may use."""

    draw: Callable[..., Any]
    pool: Pool
    values: list[Value]
    depth: int

    def choose(self, among: Sequence[Any]) -> Any:
        return self.draw(st.sampled_from(among))

    def integer(self, low: int, high: int) -> int:
        return int(self.draw(st.integers(low, high)))

    def pick(self, fits: Callable[[Value], bool]) -> Value | None:
        """A value in scope that fits; later ones are likelier to be on a long way."""
        found = [v for v in self.values if fits(v)]
        return self.choose(found) if found else None

    def alike(self, type: T.Type) -> Value:
        """A value of this type; there must be one."""
        found = self.pick(lambda v: v.type == type)
        assert found is not None
        return found

    def literal(self, dtype: DType) -> Literal:
        if dtype.is_bool:
            return Literal(self.draw(st.booleans()), dtype)
        if dtype.is_integer:
            return Literal(self.integer(0 if dtype.kind == "u" else -3, 5), dtype)
        if dtype.is_complex:
            return Literal(self.choose([0.5, -1j, 2 - 1j, 0, -0.25 + 3j]), dtype)
        numbers = [0.5, -1.0, 2.0, 0.0, -0.25, 3.0]
        if self.pool.special:
            numbers += [np.nan, np.inf, -0.0, 1e30]
        with np.errstate(over="ignore"):
            return Literal(self.choose(numbers), dtype)

    def position(self, count: int) -> Dim:
        """An index in [0, count), static or computed."""
        v = self.pick(lambda v: v.type == INDEX) if self.draw(st.booleans()) else None
        return self.integer(0, count - 1) if v is None else as_dim(ops.rem(v, count))


# -- steps: each binds something and returns the new values, or returns nothing --------------------

Step = Callable[[Scope], Sequence[Value]]


def step_pointwise(g: Scope) -> Sequence[Value]:
    op = getattr(ops, g.choose(g.pool.pointwise))
    assert isinstance(op, Pointwise)
    operands: list[Value] = []
    dims: tuple[Dim, ...] | None = None
    for kinds in op.row.operands:
        dtype = operands[-1].dtype if kinds == "=" else None

        complex_too = op.on_pairs is not None and "f" in kinds
        right = [
            v
            for v in g.values
            if (v.dtype == dtype if dtype else v.dtype.kind in kinds)
            or (dtype is None and complex_too and v.dtype.is_complex)
        ]
        v = g.pick(lambda v: v in right and dims in (None, v.dims))  # noqa: B023
        if v is None and not operands:
            return ()
        if v is None or (operands and g.integer(0, 4) == 0):
            v = g.literal(dtype or next(d for d in T.DTYPES.values() if d.kind in kinds))
        if not isinstance(v, Literal):
            dims = v.dims
        operands.append(v)
    return (op(*operands),)


def step_convert(g: Scope) -> Sequence[Value]:
    x = g.choose(g.values)
    dtype = f64 if g.pool.smooth else g.choose(g.pool.dtypes)
    return (ops.convert(x, dtype),)


def step_broadcast(g: Scope) -> Sequence[Value]:
    x = g.pick(lambda v: v.rank < 3 and size(v) < LARGEST // 4)
    if x is None:
        return ()
    dims = [g.integer(1, 3) if d == 1 else d for d in x.dims]
    new = g.integer(0, x.rank)
    axes = [a for a in range(x.rank + 1) if a != new]
    return (ops.broadcast(x, (*dims[:new], g.integer(0, 3), *dims[new:]), axes),)


def step_reshape(g: Scope) -> Sequence[Value]:
    x = g.pick(lambda v: v.rank > 0 and v.array_type.is_static)
    if x is None:
        return ()
    factors = [p for d in x.shape for p in {1: [], 4: [2, 2], 6: [2, 3]}.get(d, [d])]
    dims = g.draw(st.permutations([*factors, 1]))
    while len(dims) > g.integer(1, 3):
        dims = [dims[0] * dims[1], *dims[2:]]
    return (ops.reshape(x, dims),)


def step_transpose(g: Scope) -> Sequence[Value]:
    x = g.pick(lambda v: v.rank > 1)
    return () if x is None else (ops.transpose(x, g.draw(st.permutations(range(x.rank)))),)


def box(g: Scope, x: Value) -> tuple[list[Dim], list[Dim], list[int]]:
    """Starts, sizes and steps of a box of x. Of an axis of computed extent: all, or all flipped."""
    starts: list[Dim] = []
    sizes: list[Dim] = []
    steps: list[int] = []
    for d in x.dims:
        step = g.choose([1, 1, 2, -1])
        if not isinstance(d, int):
            step = -1 if step < 0 else 1
            starts.append(0 if step > 0 else as_dim(ops.sub(d, 1)))
            sizes.append(d)
        else:
            count = g.integer(0, -(-d // abs(step)))
            free = g.position(max(d - max(count - 1, 0) * abs(step), 1))
            last = (count - 1) * -step if step < 0 and count else 0
            starts.append(as_dim(ops.add(as_value(free), last)))
            sizes.append(count)
        steps.append(step)
    return starts, sizes, steps


def step_slice(g: Scope) -> Sequence[Value]:
    x = g.pick(lambda v: v.rank > 0)
    return () if x is None else (ops.slice(x, *box(g, x)),)


def step_update(g: Scope) -> Sequence[Value]:
    base = g.pick(lambda v: v.rank > 0 and v.array_type.is_static)
    if base is None:
        return ()
    starts, sizes, steps = box(g, base)
    value = ops.slice(g.alike(base.type), starts, sizes, steps)
    if g.draw(st.booleans()):
        value = ops.full(g.literal(base.dtype), sizes)
    return (ops.update(base, value, starts, steps),)


def step_join(g: Scope) -> Sequence[Value]:
    x = g.pick(lambda v: v.rank > 0 and v.array_type.is_static and size(v) < LARGEST // 2)
    if x is None:
        return ()
    if g.draw(st.booleans()):
        return (ops.concatenate([x, g.alike(x.type)], g.integer(0, x.rank - 1)),)
    low, high = ([g.integer(0, 1) for _ in x.dims] for _ in range(2))
    return (ops.pad(x, g.literal(x.dtype), low, high),)


def step_reduce(g: Scope) -> Sequence[Value]:
    x = g.pick(lambda v: v.rank > 0)
    if x is None:
        return ()
    names = [] if g.pool.smooth and x.dtype.is_float else ["reduce_min", "reduce_max"]
    if x.dtype.is_bool:
        names = ["reduce_any", "reduce_all"]
    elif x.dtype.is_complex and 0 in x.dims:
        return ()
    elif x.dtype.is_integer or g.pool.reductions:
        names += ["reduce_sum", "reduce_sum", "reduce_prod"]
    axes = sorted(g.draw(st.sets(st.sampled_from(range(x.rank)))))
    return (getattr(ops, g.choose(names))(x, axes),)


def step_scan(g: Scope) -> Sequence[Value]:
    x = g.pick(lambda v: v.rank > 0 and not v.dtype.is_bool and 0 not in v.dims)
    if x is None:
        return ()
    axis, extent = 0, x.dims[0]
    names = ["cumsum"] if x.dtype.is_complex else ["cumsum", "cumprod"]
    if isinstance(extent, int) and not g.pool.smooth:
        names += ["argmin", "argmax"]
    return (getattr(ops, g.choose(names))(x, axis),)


def step_dot(g: Scope) -> Sequence[Value]:
    exact = not g.pool.reductions
    x = g.pick(lambda v: 0 < v.rank < 3 and not (exact and v.dtype.is_inexact))
    if x is None:
        return ()
    axis = g.integer(0, x.rank - 1)
    y = g.pick(lambda v: v.dtype == x.dtype and 0 < v.rank < 3 and x.dims[axis] in v.dims)
    assert y is not None
    other = y.dims.index(x.dims[axis])
    return (ops.dot(x, y, contract=((axis,), (other,))),)


def indices_of(g: Scope, x: Value) -> tuple[list[Value], list[int]] | None:
    """Index arrays in bounds of x, and their axes."""
    axes = [a for a, d in enumerate(x.dims) if isinstance(d, int) and d > 0]
    source = g.pick(lambda v: v.dtype == i64 and size(v) < 20)
    if not axes or source is None:
        return None
    chosen = axes[: g.integer(1, len(axes))]
    return [ops.rem(source, x.dims[a]) for a in chosen], chosen


def step_gather(g: Scope) -> Sequence[Value]:
    x = g.pick(lambda v: v.rank > 0 and size(v) < 20)
    found = x and indices_of(g, x)
    return () if not found else (ops.gather(x, *found),)


def step_scatter(g: Scope) -> Sequence[Value]:
    base = g.pick(lambda v: v.rank > 0 and size(v) < 20)
    found = base and indices_of(g, base)
    if not found:
        return ()
    value = ops.gather(g.alike(base.type), *found)
    mode = "add" if base.dtype.is_integer or g.pool.reductions else "set"
    return (ops.scatter(base, value, *found, g.choose(["set", mode])),)


def step_compress(g: Scope) -> Sequence[Value]:
    mask = g.pick(lambda v: v.rank == 1 and v.dtype.is_bool)
    if mask is None:
        return ()
    x = g.pick(lambda v: v.dims[:1] == mask.dims)
    assert x is not None
    return ops.compress(mask, [x, g.alike(x.type)])


def step_iota(g: Scope) -> Sequence[Value]:
    return (ops.iota((g.integer(0, 3),), 0, g.choose([i64, i64, f64])),)


def step_check(g: Scope) -> Sequence[Value]:
    """Raises now and then; the first one in program order counts."""
    x = g.pick(lambda v: v.type == INDEX)
    if x is not None:
        ops.check(ops.lt(x, 4), [x], "ValueError", f"{g.integer(0, 9)}: {{0}} is too large")
    return ()


# -- steps with regions ----------------------------------------------------------------------------


def with_dims(values: Sequence[Value]) -> list[Value]:
    """The values' dims, then the values, each once."""
    dims = [d for v in values for d in v.type.symbolic]
    return list(dict.fromkeys([*dims, *values]))


def operands_of(g: Scope, most: int) -> list[Value]:
    return [g.choose(g.values) for _ in range(g.integer(1, most))]


def inside(g: Scope, values: Sequence[Value], wanted: Sequence[T.Type]) -> list[Value]:
    """Grow a program over a region's values; it returns values of the wanted types, each of which
    one of `values` must have."""
    inner = replace(g, values=[*values], depth=g.depth + 1)
    grow(inner, g.integer(1, 3))
    return [inner.alike(type) for type in wanted]


def step_if(g: Scope) -> Sequence[Value]:
    pred = g.pick(lambda v: v.dtype.is_bool)
    if pred is None:
        return ()
    pred = ops.reduce_any(pred, range(pred.rank)) if pred.rank else pred
    operands = with_dims(operands_of(g, 3))
    returned = [operands.index(g.choose(operands)) for _ in range(g.integer(1, 2))]

    def arm(*values: Value) -> list[Value]:
        return inside(g, values, [values[k].type for k in returned])

    return ops.if_(pred, arm, arm, operands)


def carried(g: Scope) -> tuple[list[Value], list[Value]]:
    """Consts and carries of a loop. What other values have as an extent is not carried."""
    extents = {d for v in g.values for d in v.type.symbolic}
    carries = [v for v in operands_of(g, 2) if v not in extents]
    consts = [v for v in with_dims([*operands_of(g, 2), *carries]) if v not in carries]
    return consts, list(dict.fromkeys(carries))


def step_for(g: Scope) -> Sequence[Value]:
    consts, carries = carried(g)
    scanned = g.pick(lambda v: v.rank > 0 and v.dims[0] in (0, 1, 2, 3))
    xs = [] if scanned is None or g.draw(st.booleans()) else [scanned]
    trips = xs[0].dims[0] if xs else g.position(4)

    def body(i: Value, cs: Sequence[Value], vs: Sequence[Value], rows: Sequence[Value]) -> Any:
        types = [v.type for v in vs]
        values = [i, *cs, *vs, *rows]
        stacked = [v.type for v in values if not list(v.type.symbolic)][: g.integer(0, 1)]
        found = inside(g, values, [*types, *stacked])
        return found[: len(types)], found[len(types) :]

    return ops.for_(as_value(trips), body, consts, carries, xs, reverse=g.draw(st.booleans()))


def step_while(g: Scope) -> Sequence[Value]:
    consts, carries = carried(g)
    limit = g.integer(0, 3)

    def cond(cs: Sequence[Value], vs: Sequence[Value]) -> Value:
        return ops.lt(vs[0], limit)

    def body(cs: Sequence[Value], vs: Sequence[Value]) -> list[Value]:
        found = inside(g, [*vs, *cs], [v.type for v in vs[1:]])
        return [ops.add(vs[0], 1), *found]

    return ops.while_(cond, body, consts, [Literal(0, i64), *carries])


def step_call(g: Scope) -> Sequence[Value]:
    operands = with_dims(operands_of(g, 3))
    with Builder("callee") as b:
        params = b.params_like(operands)
        results = inside(g, params, [g.choose(params).type])
    return ops.call(b.build(*results), operands)


STEPS: dict[str, Step] = {
    name.removeprefix("step_"): step for name, step in globals().items() if name.startswith("step_")
}
REGIONS = ("if", "for", "while", "call")


def grow(g: Scope, steps: int) -> None:
    """Add that many steps to the program."""
    names = [n for n in STEPS if n not in REGIONS and (n != "check" or g.pool.special)]
    if g.depth < 2:
        names += REGIONS
    for _ in range(steps):
        name = g.choose(names) if g.integer(0, 2) else "pointwise"
        g.values += STEPS[name](g)


def size(v: Value) -> int:
    """The number of elements; a computed extent is at most 3."""
    return int(np.prod([d if isinstance(d, int) else 3 for d in v.dims], dtype=int))


# -- programs --------------------------------------------------------------------------------------

SHAPES: list[tuple[Any, ...]] = [(), (), (3,), (3,), (2, 3), (3, 2), (1, 3), (0,), ("n",), ("n", 2)]


@st.composite
def programs(draw: st.DrawFn, pool: Pool) -> tuple[Function, list[Any]]:
    """A Function and arguments for it."""
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    extent = draw(st.integers(0, 3))
    args: list[Any] = [np.int64(extent)]
    with Builder("f") as b:
        n = b.param(INDEX, "n")
        g = Scope(draw, pool, [n], 0)
        for _ in range(g.integer(1, 3)):
            shape, dtype = g.choose(SHAPES), g.choose(pool.dtypes)
            b.param(ArrayType(dtype, tuple(n if d == "n" else d for d in shape)))
            known = tuple(extent if d == "n" else d for d in shape)
            args.append(argument(rng, dtype, known, pool.special))
        g.values += b.params[1:]
        grow(g, g.integer(2, 8))
        made = g.values[len(b.params) :] or g.values
        results = with_dims([made[-1], *(g.choose(made) for _ in range(g.integer(0, 2)))])
    return b.build(*results), args


def argument(rng: np.random.Generator, dtype: DType, shape: tuple[int, ...], odd: bool) -> Any:
    """Numbers around 0; where `odd`, some are those on which implementations go wrong."""
    if dtype.is_bool:
        return np.asarray(rng.random(shape) < 0.5)[()]
    low = 0 if dtype.kind == "u" else -4
    if dtype.is_complex:
        halves = rng.choice([0.0, 1.0, -1.5, 0.25, 3.0, -2.0], (2, *shape))
        return (halves[0] + 1j * halves[1]).astype(dtype.numpy)[()]
    x = rng.uniform(-2, 2, shape) if dtype.is_float else rng.integers(low, 5, shape)
    x = np.asarray(x).astype(dtype.numpy)
    if odd:
        replaced = rng.random(shape) < 0.2
        x = np.where(replaced, rng.choice(special(dtype), shape), x)
    return x[()]
