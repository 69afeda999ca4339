"""Arguments that a program changes in place, against the array interpreter.

f(%a, %b) -> (update %a ..., add %a, %b)    stores = {0: 0}: result 0 is what %a becomes
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ir_samples import element, with_element

from jitnet import ops
from jitnet.codegen.program import lower
from jitnet.codegen.signature import AliasOutput, BufferOutput, ScalarOutput
from jitnet.errors import JitnetError
from jitnet.interp import evaluate
from jitnet.ir import ArrayType, Builder, Function, Literal, Value, index
from jitnet.ir import types as T
from jitnet.ir.types import f64, from_numpy, i64
from jitnet.kernel import interp
from jitnet.ops.create import poison
from jitnet.passes import optimize
from jitnet.passes.fuse import fuse
from jitnet.runtime.executable import Executable, compile

Array = np.ndarray[Any, Any]


def build(args: Sequence[Any], body: Callable[..., Any]) -> Function:
    with Builder("f") as b:
        params = [
            b.param(ArrayType(from_numpy(np.asarray(a).dtype), np.shape(a)), f"p{i}")
            for i, a in enumerate(args)
        ]
        results = body(*params)
    return b.build(*(results if isinstance(results, (tuple, list)) else (results,)))


def layout_of(a: Any) -> str:
    if np.ndim(a) == 0 or a.flags.c_contiguous:
        return "C"
    return "F" if a.flags.f_contiguous else "strided"


def interpreted(f: Function, args: Sequence[Any], stores: Mapping[int, int]) -> list[Any]:
    """By the kernel interpreter, which refuses what is out of bounds."""
    program = lower(fuse(optimize(f)), [layout_of(a) for a in args], stores)
    given: list[Any] = []
    for a in args:
        given.append(a)
        if layout_of(a) == "strided":
            given += [np.int64(s // a.itemsize) for s in a.strides]
    outputs = program.signature.outputs
    fresh = [poison(o.dtype, o.dims) for o in outputs if isinstance(o, BufferOutput)]
    scalars = interp.run(program.kernel, [*given, *fresh])
    arrays = iter(fresh)
    found: list[Any] = []
    for o in outputs:
        if isinstance(o, BufferOutput):
            found.append(next(arrays))
        elif isinstance(o, ScalarOutput):
            found.append(scalars[o.slot])
        else:
            assert isinstance(o, AliasOutput)
            found.append(args[o.input])
    return found


def native(f: Function, args: Sequence[Any], stores: Mapping[int, int]) -> list[Any]:
    return list(compiled(f, args, stores).run(args))


def compiled(f: Function, args: Sequence[Any], stores: Mapping[int, int]) -> Executable:
    return compile(f, [layout_of(a) for a in args], stores)


def like(a: Any) -> Any:
    """A copy of the same strides, with memory around it that must stay as it is."""
    if layout_of(a) != "strided":
        return a.copy(order="K") if isinstance(a, np.ndarray) else a
    whole = np.full(tuple(2 * d + 1 for d in a.shape), 77, a.dtype)
    copy = whole[tuple(slice(1, None, 2) if d else slice(0, 0) for d in a.shape)]
    copy = np.flip(copy, 0)
    copy[...] = a
    return copy


def check(f: Function, args: Sequence[Any], stores: Mapping[int, int]) -> Executable:
    """Results and arguments as the array interpreter has them, in every backend."""
    expected = evaluate(f, [np.array(a) for a in args])
    for run in (interpreted, native):
        given = [like(a) for a in args]
        found = run(f, given, stores)
        for j, (x, y) in enumerate(zip(found, expected, strict=True)):
            np.testing.assert_array_equal(x, y, f"{run.__name__}: result {j}")
            assert np.asarray(x).dtype == np.asarray(y).dtype
        for j, i in stores.items():
            assert found[j] is given[i]
        for i, (x, y) in enumerate(zip(given, args)):
            if i not in stores.values():
                np.testing.assert_array_equal(x, y, f"{run.__name__}: argument {i} has changed")
            elif layout_of(x) == "strided" and x.size and isinstance(x.base, np.ndarray):
                assert np.count_nonzero(x.base == 77) == x.base.size - x.size
    return compiled(f, args, stores)


def strided(a: Array) -> Array:
    whole = np.zeros(tuple(2 * d for d in a.shape), a.dtype)
    part = whole[(slice(None, None, 2),) * a.ndim]
    part[...] = a
    return part


def ramp(*shape: int, dtype: Any = np.float64) -> Array:
    return np.arange(1, 1 + np.prod(shape, dtype=int)).reshape(shape).astype(dtype)


LAYOUTS = {"C": np.ascontiguousarray, "F": np.asfortranarray, "strided": strided}
layouts = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())


# -- single statements -----------------------------------------------------------------------------


@layouts
def test_slices_are_written_where_they_are(layout: Callable[[Array], Array]) -> None:
    args = [layout(ramp(4, 5)), ramp(2, 3)]

    def body(a: Value, b: Value) -> Value:
        a = ops.update(a, b, (1, 1))
        return ops.update(a, ops.add(b, b), (3, 4), (-2, -1))

    assert check(build(args, body), args, {0: 0}).copies == []


@layouts
def test_augmented_assignment_is_in_place(layout: Callable[[Array], Array]) -> None:
    args = [layout(ramp(4, 5)), ramp(4, 5), layout(ramp(4, 5))]

    def body(a: Value, b: Value, c: Value) -> tuple[Value, ...]:
        a = ops.add(a, b)
        return a, ops.sub(c, a), ops.reduce_sum(c, (0, 1))

    executable = check(build(args, body), args, {0: 0, 1: 2})
    assert executable.copies == []
    assert "alloc" not in executable.stages["kernels"]


def test_what_reads_other_elements_is_computed_aside() -> None:
    args = [ramp(8)]

    def shifted(a: Value) -> Value:
        return ops.update(a, ops.slice(a, (0,), (7,)), (1,))

    def reversed_(a: Value) -> Value:
        return ops.slice(a, (7,), (8,), (-1,))

    def running(a: Value) -> Value:
        return ops.cumsum(a, 0)

    for body in (shifted, reversed_, running):
        assert len(check(build(args, body), args, {0: 0}).copies) >= 1


def test_a_copy_of_another_argument() -> None:
    args = [ramp(6), ramp(6) + 10]

    def body(a: Value, b: Value) -> tuple[Value, ...]:
        return b, ops.add(b, b)

    assert check(build(args, body), args, {0: 0}).copies == []
    assert check(build(args, body), args, {0: 0, 1: 1}).copies == []


def test_unchanged_arguments_are_left_alone() -> None:
    args = [ramp(6), ramp(6)]
    executable = check(build(args, lambda a, b: (a, b, a)), args, {0: 0})
    assert "store" not in executable.stages["kernels"]


# -- old and new content ---------------------------------------------------------------------------


@layouts
def test_swaps(layout: Callable[[Array], Array]) -> None:
    args = [layout(ramp(3, 4)), ramp(3, 4) + 10, layout(ramp(3, 4) + 20)]
    two = check(build(args, lambda a, b, c: (b, a)), args, {0: 0, 1: 1})
    assert len(two.copies) <= 3
    three = check(build(args, lambda a, b, c: (b, c, a)), args, {0: 0, 1: 1, 2: 2})
    assert len(three.copies) <= 4
    check(build(args, lambda a, b, c: (ops.add(b, c), ops.sub(a, c), c)), args, {0: 0, 1: 1})


def test_views_of_each_other() -> None:
    args = [ramp(4, 4), ramp(4, 4) + 20]

    def body(a: Value, b: Value) -> tuple[Value, ...]:
        return ops.transpose(b, (1, 0)), ops.transpose(a, (1, 0)), ops.transpose(a, (1, 0))

    check(build(args, body), args, {0: 0, 1: 1})


def test_stored_and_returned() -> None:
    args = [ramp(5), ramp(5)]

    def body(a: Value, b: Value) -> tuple[Value, ...]:
        new = ops.update(a, ops.slice(b, (0,), (2,)), (3,))
        return new, new, a, ops.slice(a, (2,), (3,)), element(a, 4), element(new, 4)

    f = build(args, body)
    check(f, args, {0: 0})
    check(f, args, {1: 0})
    check(f, args, {0: 0, 1: 1})
    found = native(f, [like(a) for a in args], {0: 0})
    assert not np.shares_memory(found[0], found[1])
    assert not np.shares_memory(found[0], found[2])


def test_old_content_is_copied_once() -> None:
    args = [ramp(1000)]

    def body(a: Value) -> tuple[Value, ...]:
        return with_element(with_element(a, Literal(0.0, f64), 3), Literal(1.0, f64), 4), a

    executable = check(build(args, body), args, {0: 0})
    assert executable.copies == []
    assert executable.stages["kernels"].count("for ") == 1


# -- loops and branches ----------------------------------------------------------------------------


def recurrence(a: Value, b: Value) -> Value:
    """a[i] = a[i - 1] / 2 + b[i] for i from 1."""

    def step(i: Value, consts: Any, carries: Any, xs: Any) -> Any:
        (b,), (a,) = consts, carries
        here = ops.add(i, 1)
        new = ops.add(ops.mul(element(a, i), 0.5), element(b, here))
        return (with_element(a, new, here),), ()

    (a,) = ops.for_(index(a.shape[0] - 1), step, (b,), (a,))
    return a


@pytest.mark.parametrize("layout", [np.ascontiguousarray, strided])
def test_a_recurrence(layout: Callable[[Array], Array]) -> None:
    args = [layout(ramp(9)), ramp(9)]
    executable = check(build(args, recurrence), args, {0: 0})
    assert executable.copies == []
    assert "alloc" not in executable.stages["kernels"]
    assert "vector" not in executable.stages["kernels"]


@layouts
def test_a_while_and_an_if(layout: Callable[[Array], Array]) -> None:
    args = [layout(ramp(4, 3)), np.int64(6)]

    def body(a: Value, n: Value) -> tuple[Value, ...]:
        def cond(consts: Any, carries: Any) -> Value:
            return ops.lt(carries[0], consts[0])

        def step(consts: Any, carries: Any) -> Any:
            i, a = carries
            row = ops.rem(i, 4)

            def double(i: Value, row: Value, a: Value) -> Any:
                whole = ops.slice(a, (row, 0), (1, 3))
                return (ops.update(a, ops.add(whole, whole), (row, 0)),)

            def set_one(i: Value, row: Value, a: Value) -> Any:
                return (with_element(a, ops.convert(i, f64), row, ops.rem(i, 3)),)

            even = ops.eq(ops.rem(i, 2), 0)
            (a,) = ops.if_(even, double, set_one, (i, row, a))
            return ops.add(i, 1), a

        i, a = ops.while_(cond, step, (n,), (Literal(0, i64), a))
        return a, i

    assert check(build(args, body), args, {0: 0}).copies == []


@layouts
@pytest.mark.parametrize("steps", [0, 1, 4, 5])
def test_a_loop_that_swaps(layout: Callable[[Array], Array], steps: int) -> None:
    args = [layout(ramp(4, 3)), layout(ramp(4, 3) + 50)]

    def body(u: Value, v: Value) -> tuple[Value, ...]:
        def step(i: Value, consts: Any, carries: Any, xs: Any) -> Any:
            u, v = carries
            return (with_element(v, ops.convert(i, f64), 1, 1), u), ()

        return ops.for_(index(steps), step, (), (u, v))

    f = build(args, body)
    check(f, args, {0: 0, 1: 1})
    check(f, args, {0: 1, 1: 0})
    check(f, args, {0: 0})


@layouts
def test_a_loop_that_makes_it_anew(layout: Callable[[Array], Array]) -> None:
    """u, v = the next u, u."""
    args = [layout(ramp(4, 4)), layout(ramp(4, 4))]

    def body(u: Value, v: Value) -> tuple[Value, ...]:
        def step(i: Value, consts: Any, carries: Any, xs: Any) -> Any:
            u, v = carries
            return (ops.sub(ops.transpose(u, (1, 0)), v), u), ()

        return ops.for_(index(3), step, (), (u, v))

    check(build(args, body), args, {0: 0, 1: 1})


@layouts
def test_stacked_results(layout: Callable[[Array], Array]) -> None:
    args = [layout(ramp(4, 3)), ramp(3)]

    def body(a: Value, b: Value) -> tuple[Value, ...]:
        def step(i: Value, consts: Any, carries: Any, xs: Any) -> Any:
            (b,) = carries
            b = ops.add(b, b)
            return (b,), (b,)

        b, rows = ops.for_(index(4), step, (), (b,))
        return rows, b

    copies = check(build(args, body), args, {0: 0}).copies
    assert all(c.type.dims == (3,) for c in copies)  # rows, never the whole


@pytest.mark.parametrize("big", [100, 1_000_000])
def test_a_step_costs_what_it_writes(big: int) -> None:
    """No copy of the whole array, before, in or after the loop."""
    a = np.zeros(big)
    executable = compiled(build([a, a], recurrence), [a, a], {0: 0})
    kernels = executable.stages["kernels"]
    assert executable.copies == []
    assert kernels.count("for ") == 1
    assert kernels.count("store ") == 1


# -- kinds of arguments ----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["?", "i1", "u2", "i4", "u8", "f4", "f8"])
def test_rank_zero(dtype: str) -> None:
    args: list[Any] = [np.array(1, dtype), np.array(0, dtype), ramp(3, dtype=dtype)]

    def body(a: Value, b: Value, x: Value) -> tuple[Value, ...]:
        return b, ops.maximum(a, element(x, 1)), a, b, ops.reduce_max(x, (0,))

    f = build(args, body)
    check(f, args, {0: 0, 1: 1})
    check(f, args, {1: 0})
    check(build(args, lambda a, b, x: (a, b)), args, {0: 0})


def test_dtypes_and_empties() -> None:
    args = [ramp(4, dtype="i2"), ramp(4, dtype="f4"), ramp(0, 3), ramp(2, 0), ramp(4) > 2]

    def body(a: Value, b: Value, c: Value, d: Value, e: Value) -> tuple[Value, ...]:
        return (
            ops.convert(b, T.i16),
            ops.convert(a, T.f32),
            ops.add(c, c),
            d,
            ops.logical_not(e),
        )

    check(build(args, body), args, {j: j for j in range(5)})


def test_strides_that_are_no_multiple_of_the_item() -> None:
    """Fields of records: the program sees a copy, which goes back."""
    record = np.zeros((3,), [("x", "f4"), ("y", "u1"), ("z", "u1"), ("w", "u2", 3)])
    a = record["w"]
    a[...] = ramp(3, 3)
    assert a.strides[0] % 2 == 0
    b = np.zeros(12, "f4").view([("x", "f4", 1), ("y", "f4", 2)])["y"]
    f = build([a, b], lambda a, b: (ops.add(a, a), ops.add(b, 1.0)))
    native(f, [a, b], {0: 0, 1: 1})
    np.testing.assert_array_equal(a, 2 * ramp(3, 3))
    np.testing.assert_array_equal(b, np.ones((4, 2)))


def test_memory_is_valid_after_an_error() -> None:
    args = [ramp(10), np.int64(4)]

    def body(a: Value, n: Value) -> Value:
        def step(i: Value, consts: Any, carries: Any, xs: Any) -> Any:
            (n,), (a,) = consts, carries
            ops.check(ops.lt(i, n), (i,), "IndexError", "index {0} is out of bounds")
            return (with_element(a, Literal(0.0, f64), i),), ()

        (a,) = ops.for_(index(10), step, (n,), (a,))
        return a

    executable = compiled(build(args, body), args, {0: 0})
    with pytest.raises(JitnetError, match="index 4 is out of bounds"):
        executable.run(args)
    np.testing.assert_array_equal(args[0][4:], ramp(10)[4:])


# -- anything --------------------------------------------------------------------------------------


Step = tuple[int, int, int, int]
OPS = 8


def apply(step: Step, values: list[Value]) -> None:
    """Make one more value of the same shape, (3, 3)."""
    kind, x, y, k = step[0] % OPS, *(values[j % len(values)] for j in step[1:3]), step[3] % 2
    one = ops.slice(y, (1, k), (2, 2))
    if kind == 0:
        values.append(ops.add(x, y))
    elif kind == 1:
        values.append(ops.update(x, one, (k, 1)))
    elif kind == 2:
        values.append(ops.transpose(x, (1, 0)))
    elif kind == 3:
        values.append(ops.slice(x, (2, 2), (3, 3), (-1, -1)))
    elif kind == 4:
        values.append(with_element(x, ops.reduce_sum(y, (0, 1)), k, 2))
    elif kind == 5:
        values.append(ops.cumsum(x, k))
    elif kind == 6:
        values.extend(_loop(x, y, k))
    else:
        values.extend(_branch(x, y, k))


def _loop(x: Value, y: Value, k: int) -> Sequence[Value]:
    def step(i: Value, consts: Any, carries: Any, xs: Any) -> Any:
        x, y = carries
        new = ops.update(x, ops.slice(y, (0, i), (2, 1)), (1, i))
        return ((y, new) if k else (new, ops.add(y, 1.0))), ()

    return ops.for_(index(3), step, (), (x, y))


def _branch(x: Value, y: Value, k: int) -> Sequence[Value]:
    def then(x: Value, y: Value) -> Any:
        return with_element(x, Literal(7.0, f64), 0, 0), y

    def orelse(x: Value, y: Value) -> Any:
        return ops.add(x, y), (x if k else y)

    return ops.if_(ops.gt(element(x, 0, 1), 5.0), then, orelse, (x, y))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(*[st.integers(0, 30)] * 4), max_size=6),
    st.lists(st.integers(0, 30), min_size=3, max_size=5),
    st.lists(st.sampled_from(sorted(LAYOUTS)), min_size=3, max_size=3),
    st.permutations(range(3)),
)
def test_any_program(
    steps: list[Step], picks: list[int], kinds: list[str], params: list[int]
) -> None:
    args = [LAYOUTS[kind](ramp(3, 3) + 10 * i) for i, kind in enumerate(kinds)]

    def body(*values: Value) -> list[Value]:
        made = list(values)
        for step in steps:
            apply(step, made)
        return [made[-1 - p % len(made)] for p in picks]

    f = build(args, body)
    stores = {j: params[j] for j in range(1 + len(picks) % 3)}
    check(f, args, stores)
