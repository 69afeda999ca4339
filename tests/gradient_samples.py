"""Functions whose derivatives are hard to transform, made with the builder: they return scalars.

    program = PROGRAMS["rnn"]
    f, args = program.build(), program.arguments
    value_and_grad(f, program.wrt)          # what central differences of f must confirm

What is hard: residuals whose extents change from step to step, loops in branches in loops, loops
that do not run, values that a loop reads in each step, values that nothing reads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ir_samples import HARD, element, real, with_element
from ir_samples import Program as HardProgram

from jitnet import ops
from jitnet.ir import ArrayType, Builder, Function, Value, index
from jitnet.ir.types import Dim, f64, i64, scalar

Values = Sequence[Value]


@dataclass(frozen=True)
class Program:
    """Attributes:
    build: the Function; its result 0 is the scalar.
    arguments: where it is smooth.
    wrt: positions of the params that it is differentiated in.
    smooth: its second derivatives are not zero.
    """

    build: Callable[[], Function]
    arguments: list[Any]
    wrt: tuple[int, ...]
    smooth: bool = True


PROGRAMS: dict[str, Program] = {}


def draw(*shape: int) -> Any:
    return np.random.default_rng(sum(shape)).uniform(0.3, 1.2, shape)


def total(x: Value) -> Value:
    return ops.reduce_sum(x, tuple(range(x.rank)))


def program(
    name: str, *arguments: Any, smooth: bool = True
) -> Callable[[Callable[..., Value]], None]:
    """Registers a function of builder values as a program. An argument `(extent position, array)`
    has the i64 argument at that position as its first extent."""

    def register(body: Callable[..., Value]) -> None:
        def build() -> Function:
            with Builder(body.__name__) as b:
                params: list[Value] = []
                for hint, x in zip(body.__code__.co_varnames, arguments, strict=False):
                    params.append(b.param(_type_of(x, params), hint))
                return b.build(body(*params))

        data = [x[1] if isinstance(x, tuple) else x for x in arguments]
        floats = tuple(i for i, x in enumerate(data) if np.asarray(x).dtype == np.float64)
        PROGRAMS[name] = Program(build, data, floats, smooth)

    return register


def _type_of(x: Any, params: Values) -> ArrayType:
    if isinstance(x, tuple):
        return ArrayType(f64, (params[x[0]], *x[1].shape[1:]))
    return ArrayType(i64 if np.asarray(x).dtype == np.int64 else f64, np.shape(x))


def _scalar_of(hard: HardProgram, size: int) -> Callable[[], Function]:
    """A hard function as a scalar one: the sum of the squares of its float results."""

    def build() -> Function:
        f = hard.build(size)
        with Builder(f.name) as b:
            results = b.inline(f, b.params_like(f.params))
            terms = [total(ops.mul(r, r)) for r in results if r.dtype.is_inexact]
            value = terms[0]
            for term in terms[1:]:
                value = ops.add(value, term)
        return b.build(value)

    return build


for _name, _hard in HARD.items():
    _size = min(_hard.size, 5)
    PROGRAMS[_name] = Program(
        _scalar_of(_hard, _size), _hard.arguments(_size), _hard.differentiable
    )


# -- straight lines --------------------------------------------------------------------------------


@program("one value twice", draw(3))
def twice(x: Value) -> Value:
    y = ops.add(x, x)
    return total(ops.mul(ops.mul(y, y), ops.sin(x)))


@program("a param that is not read", draw(3), draw(2))
def unread(x: Value, y: Value) -> Value:
    return total(ops.exp(x))


@program("no param is read", draw(3), smooth=False)
def constant(x: Value) -> Value:
    return ops.mul(real(2.0), 3.0)


@program("softmax", draw(3, 4), draw(4, 3))
def softmax(x: Value, w: Value) -> Value:
    z = ops.exp(ops.sub(x, ops.broadcast(ops.reduce_max(x, (1,)), (3, 4), (0,))))
    y = ops.div(z, ops.broadcast(ops.reduce_sum(z, (1,)), (3, 4), (0,)))
    return total(ops.mul(y, ops.transpose(w, (1, 0))))


# -- for -------------------------------------------------------------------------------------------


def _rnn(h: Value, w: Value, xs: Value, reverse: bool) -> Value:
    def step(i: Value, consts: Values, carries: Values, rows: Values) -> Any:
        y = ops.tanh(ops.add(ops.dot(consts[0], carries[0], ((1,), (0,))), rows[0]))
        return (y,), (total(ops.mul(y, y)),)

    last, ys = ops.for_(index(5), step, [w], [h], [xs], reverse)
    return ops.add(total(last), ops.dot(ys, ops.sin(ys), ((0,), (0,))))


@program("rnn", draw(3), draw(3, 3), draw(5, 3))
def rnn(h: Value, w: Value, xs: Value) -> Value:
    return _rnn(h, w, xs, False)


@program("rnn backwards", draw(3), draw(3, 3), draw(5, 3))
def rnn_backwards(h: Value, w: Value, xs: Value) -> Value:
    return _rnn(h, w, xs, True)


def _scan_of_any_length(n: Value, xs: Value, w: Value) -> Value:
    def step(i: Value, consts: Values, carries: Values, rows: Values) -> Any:
        y = ops.sin(ops.mul(ops.add(carries[0], rows[0]), consts[0]))
        return (y,), (ops.mul(y, y),)

    last, ys = ops.for_(n, step, [w], [real(0.5)], [xs])
    return ops.add(last, total(ys))


@program("any number of steps", np.int64(4), (0, draw(4)), np.float64(0.7))
def any_length(n: Value, xs: Value, w: Value) -> Value:
    return _scan_of_any_length(n, xs, w)


@program("no steps", np.int64(0), (0, draw(0)), np.float64(0.7), smooth=False)
def no_steps(n: Value, xs: Value, w: Value) -> Value:
    return _scan_of_any_length(n, xs, w)


@program("invariants of a loop", draw(3, 3), draw(3))
def invariants(w: Value, x: Value) -> Value:
    """exp(w) and a carry that never changes are the same in each step."""

    def step(i: Value, consts: Values, carries: Values, rows: Values) -> Any:
        x, s = carries
        y = ops.dot(ops.exp(consts[0]), ops.mul(ops.sin(s), x), ((0,), (0,)))
        return (x, ops.mul(y, 0.2)), ()

    _, s = ops.for_(index(3), step, [w], [x, x])
    return total(s)


@program("an index that only a step checks", np.int64(0), np.int64(10**9), draw(4))
def checked_in_step(n: Value, j: Value, x: Value) -> Value:
    """What a step reads at j must not be read in front of a loop that makes no steps."""

    def step(i: Value, consts: Values, carries: Values, rows: Values) -> Value:
        j, x = consts
        ops.check(ops.lt(j, 4), [j], "IndexError", "index {0} of 4")
        return ops.mul(carries[0], ops.exp(ops.sin(element(x, j))))

    (s,) = ops.for_(n, step, [j, x], [real(1.0)])
    return ops.add(s, total(ops.mul(x, x)))


@program("ragged slices", draw(5, 5))
def ragged_slices(a: Value) -> Value:
    """Step i reads the first i elements of a row that the loop changes."""

    def step(i: Value, consts: Values, carries: Values, rows: Values) -> Any:
        a, s = carries
        row = ops.reshape(ops.slice(a, (i, 0), (1, i)), (i,))
        y = ops.dot(row, ops.sin(row), ((0,), (0,)))
        return (with_element(a, ops.mul(y, element(a, i, i)), 4, i), ops.add(s, y)), ()

    a, s = ops.for_(index(5), step, (), [a, real(0.0)])
    return ops.add(total(ops.mul(a, a)), s)


@program("ragged slices, two deep", draw(4))
def ragged_nest(x: Value) -> Value:
    def inner(j: Value, consts: Values, carries: Values, rows: Values) -> Any:
        x, s = carries
        part = ops.slice(x, (0,), (j,))
        y = ops.mul(ops.add(ops.dot(part, part, ((0,), (0,))), element(x, j)), 0.5)
        return (with_element(x, ops.sin(y), j), ops.add(s, y)), ()

    def outer(i: Value, consts: Values, carries: Values, rows: Values) -> Any:
        return ops.for_(ops.add(i, 1), inner, (), carries), ()

    x, s = ops.for_(index(4), outer, (), [x, real(0.0)])
    return ops.add(total(ops.mul(x, x)), s)


# -- while -----------------------------------------------------------------------------------------


def _grow(x: Value, a: Value) -> Value:
    """x -> x * x + a until it is large."""
    (y,) = ops.while_(
        lambda consts, carries: ops.lt(carries[0], 10.0),
        lambda consts, carries: [ops.add(ops.mul(carries[0], carries[0]), consts[0])],
        [a],
        [x],
    )
    return y


@program("while in for", draw(4))
def while_in_for(a: Value) -> Value:
    def step(i: Value, consts: Values, carries: Values, rows: Values) -> Value:
        x = element(consts[0], i)
        return ops.add(carries[0], _grow(ops.add(x, 1.5), x))

    (s,) = ops.for_(index(4), step, [a], [real(0.0)])
    return s


@program("for in while in if", draw(3), np.float64(0.8))
def for_in_while_in_if(x: Value, a: Value) -> Value:
    def inner(i: Value, consts: Values, carries: Values, rows: Values) -> Value:
        j = ops.rem(i, 3)
        y = ops.mul(element(carries[0], j), consts[0])
        return with_element(carries[0], ops.add(ops.sin(y), 0.6), j)

    def step(consts: Values, carries: Values) -> list[Value]:
        x, k = carries
        (x,) = ops.for_(k, inner, consts, [x])
        return [x, ops.add(k, 1)]

    def then(x: Value, a: Value) -> Value:
        x, _ = ops.while_(lambda c, v: ops.lt(v[1], 5), step, [a], [x, index(1)])
        return x

    (y,) = ops.if_(ops.gt(a, 0.5), then, lambda x, a: x, [x, a])
    return total(ops.mul(y, y))


@program("while that does not start", np.float64(20.0))
def while_without_steps(x: Value) -> Value:
    return ops.mul(_grow(x, x), x)


def _filter(z: Value, limit: float, rows: bool) -> Value:
    """Each step scales z and keeps what is below the limit; the sum of all steps, and the rest."""
    z_dims: tuple[Dim, ...] = z.dims[1:]

    def region(name: str) -> tuple[Builder, Value, Value, Value]:
        inner = Builder(name)
        k = inner.param(scalar(i64), "k")
        return (
            inner,
            k,
            inner.param(ArrayType(f64, (k, *z_dims)), "z"),
            inner.param(scalar(f64), "s"),
        )

    cond, k, _, _ = region("cond")
    with cond:
        going = ops.gt(k, 3)
    body, _, z_in, s = region("body")
    with body:
        y = ops.mul(z_in, ops.add(ops.mul(z_in, 0.1), 1.1))
        s = ops.add(s, total(ops.mul(y, y)))
        size = ops.reduce_max(y, (1,)) if rows else y
        k, y = ops.compress(ops.lt(size, limit), [y])
    start = [index(z.dims[0]), z, real(0.0)]
    _, left, s = ops.while_(cond.build(going), body.build(k, y, s), (), start)
    return ops.add(ops.mul(s, s), total(ops.mul(left, left)))


@program("shrink", draw(9))
def shrink(z: Value) -> Value:
    return _filter(z, 2.0, rows=False)


@program("shrinking rows", draw(7, 2))
def shrink_rows(z: Value) -> Value:
    return _filter(z, 2.0, rows=True)


@program("shrink in for", draw(2, 6))
def shrink_in_for(z: Value) -> Value:
    def step(i: Value, consts: Values, carries: Values, rows: Values) -> Value:
        return ops.add(carries[0], _filter(rows[0], 1.7, rows=False))

    (s,) = ops.for_(index(2), step, (), [real(0.0)], [z])
    return s


# -- if --------------------------------------------------------------------------------------------


@program("an arm with ragged residuals", draw(6))
def ragged_arm(x: Value) -> Value:
    def then(x: Value) -> Value:
        _, y = ops.compress(ops.gt(x, 0.6), [x])
        return total(ops.mul(ops.mul(y, y), y))

    (y,) = ops.if_(ops.gt(element(x, 0), 0.0), then, lambda x: total(ops.sin(x)), [x])
    return ops.mul(y, y)


@program("arms with ragged residuals in a loop", draw(6))
def ragged_arms_in_loop(x: Value) -> Value:
    def large(x: Value, i: Value) -> Value:
        _, y = ops.compress(ops.gt(x, 0.6), [x])
        return total(ops.mul(ops.mul(y, y), y))

    def first(x: Value, i: Value) -> Value:
        y = ops.slice(ops.sin(x), (0,), (i,))
        return total(ops.mul(y, y))

    def step(i: Value, consts: Values, carries: Values, rows: Values) -> Value:
        (x,) = carries
        (s,) = ops.if_(ops.eq(ops.rem(i, 2), 0), large, first, [x, i])
        return ops.mul(x, ops.broadcast(ops.cos(s), (6,), ()))

    (y,) = ops.for_(index(4), step, (), [x])
    return total(ops.mul(y, y))


@program("arms that return ragged arrays", draw(6))
def ragged_results(x: Value) -> Value:
    def kept(keep: Callable[[Value, float], Value]) -> Callable[[Value], Any]:
        return lambda x: ops.compress(keep(x, 0.7), [ops.mul(x, x)])

    _, y = ops.if_(ops.gt(element(x, 0), 0.0), kept(ops.gt), kept(ops.lt), [x])
    return ops.dot(y, ops.sin(y), ((0,), (0,)))


@program("arms over any extent", np.int64(5), (0, draw(5)))
def any_extent_in_arms(n: Value, x: Value) -> Value:
    def then(n: Value, x: Value) -> Value:
        return ops.mul(ops.sin(x), x)

    (y,) = ops.if_(ops.gt(n, 3), then, lambda n, x: ops.exp(x), [n, x])
    return total(ops.mul(y, y))


@program("a tangent that starts at zero", draw(3))
def late_tangent(x: Value) -> Value:
    """The carries of both loops, and one operand of the branch, start as constants."""

    def inner(j: Value, consts: Values, carries: Values, rows: Values) -> Any:
        p, q = carries
        (q,) = ops.if_(
            ops.eq(ops.rem(j, 2), 0),
            lambda p, q, v: ops.add(q, ops.mul(p, v)),
            lambda p, q, v: ops.mul(q, 0.5),
            [p, q, element(consts[0], j)],
        )
        return (ops.add(p, q), q), ()

    def outer(i: Value, consts: Values, carries: Values, rows: Values) -> Value:
        _, q = ops.for_(index(3), inner, consts, [real(1.0), real(0.0)])
        return ops.add(ops.mul(carries[0], q), 1.0)

    (s,) = ops.for_(index(2), outer, [x], [real(0.0)])
    return s
