"""Functions that are hard for a compiler, made with the builder, each with its NumPy twin.

    program = HARD["cholesky"]
    f, args = program.build(8), program.arguments(8)
    program.numpy(*args)                    # what f must give

What is hard: extents that a loop counts, in-place updates of parts, arrays that a mask shrinks,
loops that end by tolerance, branches around single stores.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jitnet import ops
from jitnet.ir import ArrayType, Builder, Function, Literal, Value, as_value, index
from jitnet.ir.types import Dim, f64, i64, scalar


@dataclass(frozen=True)
class Program:
    """Attributes:
    build: the Function for a size.
    arguments: fresh arguments for a size.
    numpy: the twin: takes the arguments, leaves them as they are, returns a tuple.
    size: one at which everything is quick, interpreters and central differences too.
    differentiable: positions of the arguments that it has derivatives in.
    """

    build: Callable[[int], Function]
    arguments: Callable[[int], list[Any]]
    numpy: Callable[..., tuple[Any, ...]]
    size: int
    differentiable: tuple[int, ...]


HARD: dict[str, Program] = {}


def real(value: float) -> Literal:
    return Literal(value, f64)


def element(x: Value, *at: Dim) -> Value:
    """x[at], a scalar."""
    return ops.reshape(ops.slice(x, at, (1,) * x.rank), ())


def with_element(x: Value, value: Value, *at: Dim) -> Value:
    """x after x[at] = value."""
    return ops.update(x, ops.reshape(value, (1,) * x.rank), at)


# -- a factorisation: slices whose extents are loop counters ---------------------------------------


def build_cholesky(n: int | None) -> Function:
    """Row by row, in place; the upper triangle stays as it is. None: n is a parameter."""
    with Builder("cholesky") as b:
        extent: Dim = b.param(scalar(i64), "n") if n is None else n
        a = b.param(ArrayType(f64, (extent, extent)), "a")

        def rest(a: Value, i: Value, j: Value) -> Value:
            """a[i, j] - a[i, :j] @ a[j, :j]"""
            rows = [ops.reshape(ops.slice(a, (r, 0), (1, j)), (j,)) for r in (i, j)]
            return ops.sub(element(a, i, j), ops.dot(*rows, contract=((0,), (0,))))

        def below(j: Value, consts: Sequence[Value], carries: Sequence[Value], xs: object) -> Value:
            (*_, i), (a,) = consts, carries
            return with_element(a, ops.div(rest(a, i, j), element(a, j, j)), i, j)

        def row(i: Value, dims: Sequence[Value], carries: Sequence[Value], xs: object) -> Value:
            (a,) = ops.for_(i, below, [*dims, i], carries)
            return with_element(a, ops.sqrt(rest(a, i, i)), i, i)

        dims = [] if isinstance(extent, int) else [extent]
        (result,) = ops.for_(as_value(extent), row, dims, [a])
    return b.build(result)


def numpy_cholesky(a: Any) -> tuple[Any, ...]:
    a = a.copy()
    for i in range(len(a)):
        for j in range(i):
            a[i, j] = (a[i, j] - a[i, :j] @ a[j, :j]) / a[j, j]
        a[i, i] = np.sqrt(a[i, i] - a[i, :i] @ a[i, :i])
    return (a,)


def positive_definite(n: int) -> Any:
    x = np.random.default_rng(n).standard_normal((n, n))
    return x @ x.T + n * np.eye(n)


HARD["cholesky"] = Program(
    build_cholesky, lambda n: [positive_definite(n)], numpy_cholesky, 6, (0,)
)
HARD["cholesky of any size"] = Program(
    lambda n: build_cholesky(None),
    lambda n: [np.int64(n), positive_definite(n)],
    lambda n, a: numpy_cholesky(a),
    5,
    (1,),
)


# -- a time loop over an in-place stencil ----------------------------------------------------------


def build_heat(n: int, steps: int | None = None) -> Function:
    """u[1:-1, 1:-1] += rate * (the sum of the neighbours - 4 u), again and again."""
    with Builder("heat") as b:
        u = b.param(ArrayType(f64, (n, n + 1)), "u")
        rate = b.param(scalar(f64), "rate")
        inner = (n - 2, n - 1)

        def step(t: object, consts: Sequence[Value], carries: Sequence[Value], xs: object) -> Value:
            (rate,), (u,) = consts, carries
            middle, *sides = (
                ops.slice(u, at, inner) for at in ((1, 1), (0, 1), (2, 1), (1, 0), (1, 2))
            )
            total = sides[0]
            for side in sides[1:]:
                total = ops.add(total, side)
            change = ops.sub(total, ops.mul(middle, 4.0))
            change = ops.mul(ops.full(rate, inner), change)
            return ops.update(u, ops.add(middle, change), (1, 1))

        (result,) = ops.for_(index(n if steps is None else steps), step, [rate], [u])
    return b.build(result)


def numpy_heat(u: Any, rate: Any, steps: int | None = None) -> tuple[Any, ...]:
    u = u.copy()
    for _ in range(len(u) if steps is None else steps):
        around = u[:-2, 1:-1] + u[2:, 1:-1] + u[1:-1, :-2] + u[1:-1, 2:]
        u[1:-1, 1:-1] += rate * (around - u[1:-1, 1:-1] * 4.0)
    return (u,)


HARD["heat"] = Program(
    build_heat,
    lambda n: [np.random.default_rng(n).random((n, n + 1)), np.float64(0.2)],
    numpy_heat,
    5,
    (0, 1),
)


# -- arrays that a mask shrinks each step ----------------------------------------------------------


def build_shrinking(n: int, limit: int = 12) -> Function:
    """z = z * z + c for those that are still within 2; each one's last z, and how many are left."""
    with Builder("shrinking") as b:
        c = b.param(ArrayType(f64, (n,)), "c")
        start = [
            index(0),
            index(n),
            ops.full(real(0.0), (n,)),
            c,
            ops.iota((n,)),
            ops.full(real(0.0), (n,)),
        ]
        names = ("t", "k", "z", "c", "place", "last")

        def region(name: str) -> tuple[Builder, list[Value]]:
            inner = Builder(name)
            t, k = (inner.param(scalar(i64), hint) for hint in names[:2])
            moving = [
                inner.param(ArrayType(dtype, (k,)), hint)
                for dtype, hint in zip((f64, f64, i64), names[2:5])
            ]
            return inner, [t, k, *moving, inner.param(ArrayType(f64, (n,)), names[5])]

        cond, (t, k, *_) = region("cond")
        with cond:
            going = ops.bitwise_and(ops.lt(t, limit), ops.gt(k, 0))
        body, (t, _, z, c, place, last) = region("body")
        with body:
            z = ops.add(ops.mul(z, z), c)
            last = ops.scatter(last, z, [place], (0,))
            inside = ops.le(ops.abs(z), 2.0)
            kept = ops.compress(inside, [z, c, place])
            t = ops.add(t, 1)
        regions = (cond.build(going), body.build(t, *kept, last))
        _, k, *_, last = ops.while_(*regions, (), start)
    return b.build(last, k)


def numpy_shrinking(c: Any, limit: int = 12) -> tuple[Any, ...]:
    z, last, place, t = np.zeros_like(c), np.zeros_like(c), np.arange(len(c)), 0
    while t < limit and len(z):
        z = z * z + c
        last[place] = z
        inside = np.abs(z) <= 2.0
        z, c, place = z[inside], c[inside], place[inside]
        t += 1
    return last, np.int64(len(z))


HARD["shrinking"] = Program(
    build_shrinking, lambda n: [np.linspace(-2.4, 0.6, n)], numpy_shrinking, 9, (0,)
)


# -- a while to a tolerance ------------------------------------------------------------------------


def build_newton(n: int, tolerance: float = 1e-12) -> Function:
    """Square roots of all elements, by as many steps as the worst one needs."""
    with Builder("newton") as b:
        a = b.param(ArrayType(f64, (n,)), "a")

        def error(x: Value, a: Value) -> Value:
            off = ops.abs(ops.sub(ops.mul(x, x), a))
            return ops.reduce_max(off, (0,))

        def step(consts: Sequence[Value], carries: Sequence[Value]) -> list[Value]:
            (a,), (x, count) = consts, carries
            return [ops.mul(ops.add(x, ops.div(a, x)), 0.5), ops.add(count, 1)]

        x, count = ops.while_(
            lambda consts, carries: ops.gt(error(carries[0], consts[0]), tolerance),
            step,
            [a],
            [a, index(0)],
        )
    return b.build(x, count)


def numpy_newton(a: Any, tolerance: float = 1e-12) -> tuple[Any, ...]:
    x, count = a, 0
    while np.abs(x * x - a).max() > tolerance:
        x = (x + a / x) * 0.5
        count += 1
    return x, np.int64(count)


HARD["newton"] = Program(build_newton, lambda n: [np.linspace(0.5, 3.0, n)], numpy_newton, 4, (0,))


# -- a branch around a single store ----------------------------------------------------------------


def build_sparse_steps(n: int, steps: int | None = None) -> Function:
    """At each step one element, at a computed place, is changed if it is large. O(1) a step."""
    with Builder("sparse_steps") as b:
        x = b.param(ArrayType(f64, (n,)), "x")
        factor = b.param(scalar(f64), "factor")

        def step(i: Value, consts: Sequence[Value], carries: Sequence[Value], xs: object) -> Any:
            (factor,), (x, hits) = consts, carries
            j = ops.rem(ops.add(ops.mul(i, 7919), 13), n)
            v = element(x, j)

            def change(x: Value, hits: Value, v: Value, factor: Value, j: Value) -> Any:
                return with_element(x, ops.mul(ops.mul(v, v), factor), j), ops.add(hits, 1)

            def keep(x: Value, hits: Value, v: Value, factor: Value, j: Value) -> Any:
                return x, hits

            return ops.if_(ops.gt(v, 0.5), change, keep, [x, hits, v, factor, j])

        x, hits = ops.for_(index(n if steps is None else steps), step, [factor], [x, index(0)])
    return b.build(x, hits)


def numpy_sparse_steps(x: Any, factor: Any, steps: int | None = None) -> tuple[Any, ...]:
    x, hits = x.copy(), 0
    for i in range(len(x) if steps is None else steps):
        j = (i * 7919 + 13) % len(x)
        if x[j] > 0.5:
            x[j] = x[j] * x[j] * factor
            hits += 1
    return x, np.int64(hits)


HARD["sparse steps"] = Program(
    build_sparse_steps,
    lambda n: [np.random.default_rng(n).random(n), np.float64(0.9)],
    numpy_sparse_steps,
    10,
    (0, 1),
)
