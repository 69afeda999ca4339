"""What the loops of compiled programs do not do: checks that are the same each time, copies of what
may be overwritten, index arithmetic for rows that lie side by side, halves of matrices copied out.

A[i] -= f * A[k]        one loop, in A's own memory
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jitnet
from jitnet.kernel.externs import EXTERNS
from jitnet.runtime import engine


def numbers(*shape: int, dtype: Any = np.float64) -> Any:
    rng = np.random.default_rng(7)
    x = rng.normal(size=shape)
    return (x + 1j * rng.normal(size=shape) if np.dtype(dtype).kind == "c" else x).astype(dtype)


def stage(fn: Callable[..., Any], name: str, *args: Any) -> str:
    return str(jitnet.jit(fn).lower(*args).stages[name])


def kernels(fn: Callable[..., Any], *args: Any) -> str:
    return stage(fn, "kernels", *args)


def agrees(fn: Callable[..., Any], *args: Any, rtol: float = 0.0) -> None:
    """The same results, and the same arguments afterwards."""
    mine, plain = ([np.copy(a) if np.ndim(a) else a for a in args] for _ in range(2))
    found, expected = jitnet.jit(fn)(*mine), fn(*plain)
    for a, b in zip((found, *mine), (expected, *plain)):
        if b is not None:
            np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol)


# -- checks in front of loops ----------------------------------------------------------------------


def relaxed(source: Any, target: Any, weight: Any, distance: Any, most: int) -> Any:
    steps = 0
    while steps < most:
        before = distance.copy()
        np.minimum.at(distance, target, distance[source] + weight)
        steps += 1
        if np.array_equal(distance, before):
            break
    return distance, steps


def edges(n: int, m: int) -> tuple[Any, ...]:
    rng = np.random.default_rng(1)
    distance = np.full(n, np.inf)
    distance[0] = 0.0
    return rng.integers(-n, n, m), rng.integers(-n, n, m), rng.random(m), distance


def test_indices_that_stay_are_checked_once() -> None:
    text = kernels(relaxed, *edges(30, 90), 1000)
    before, loop = text.split(" = while ")
    assert before.count("raise") == 2
    assert "raise" not in loop
    for fn_most in (0, 1, 1000):
        args = edges(30, 90)
        found = jitnet.jit(relaxed)(*args, fn_most)
        expected = relaxed(*edges(30, 90), fn_most)
        np.testing.assert_array_equal(found[0], expected[0])
        assert found[1] == expected[1]


def test_a_check_in_front_raises_only_where_the_loop_has_a_step() -> None:
    source, target, weight, distance = edges(30, 90)
    source[5] = 30
    compiled = jitnet.jit(relaxed)
    with pytest.raises(IndexError, match="index 30 is out of bounds for axis 0 with size 30"):
        compiled(source, target, weight, distance, 4)
    assert compiled(source, target, weight, distance, 0)[1] == 0


def test_the_first_error_stays_the_first() -> None:
    def fn(x: Any, i: Any, n: int) -> Any:
        total = 0.0
        k = 0
        while k < n:
            total += x[k]
            total += x[i].sum()
            k += 1
        return total

    with pytest.raises(IndexError, match="index 4 is out of bounds"):
        jitnet.jit(fn)(numbers(4), np.array([1, 2]), 9)
    with pytest.raises(IndexError, match="index 8 is out of bounds"):
        jitnet.jit(fn)(numbers(4), np.array([1, 8]), 9)


def test_indices_are_computed_where_they_are_used() -> None:
    """Negative ones as well: no array of positions is written."""

    def fn(x: Any, i: Any, w: Any) -> Any:
        return np.exp(x[i]) + w

    i = np.array([-1, 0, 3, -4])
    text = kernels(fn, numbers(4), i, numbers(4))
    assert "alloc" not in text
    agrees(fn, numbers(4), i, numbers(4), rtol=1e-15)


# -- one loop for several axes ---------------------------------------------------------------------


def scaled(x: Any, y: Any) -> Any:
    return x * 2.0 + y


def loops(text: str) -> int:
    return len(re.findall(r"\bfor ", text))


@pytest.mark.parametrize("shape", [(50, 3), (5, 4, 3), (2,) * 9, (7, 1, 3)])
@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
def test_rows_side_by_side_are_one_loop(shape: tuple[int, ...], dtype: Any) -> None:
    x, y = numbers(*shape, dtype=dtype), numbers(*shape, dtype=dtype)
    if 1 not in shape:
        assert loops(kernels(scaled, x, y)) == 1
    agrees(scaled, x, y)


def test_rows_apart_are_loops_of_their_own() -> None:
    x = numbers(50, 6)[:, ::2]
    y = numbers(50, 3)
    assert loops(kernels(scaled, x, y)) == 2
    np.testing.assert_array_equal(jitnet.jit(scaled)(x, y), scaled(x, y))


def test_only_the_axes_that_can_be_one_are() -> None:
    """Rows of `y` come again for each `x`; and a transposed array has its rows elsewhere."""

    def again(x: Any, y: Any) -> Any:
        return x * y

    def turned(x: Any) -> Any:
        return np.add(x.T, 1.0, order="C")

    x, y = numbers(5, 4, 3), numbers(4, 3)
    assert loops(kernels(again, x, y)) == 2
    agrees(again, x, y)
    assert loops(kernels(turned, numbers(5, 4))) == 2
    agrees(turned, numbers(5, 4))


def test_copies_are_one_loop() -> None:
    def fn(x: Any) -> Any:
        return x.copy(), np.zeros_like(x)

    assert loops(kernels(fn, numbers(5, 4, 3))) == 1
    agrees(lambda x: x.copy(), numbers(5, 4, 3))


def test_extents_known_at_run_time_are_one_loop_too() -> None:
    compiled = jitnet.jit(scaled)
    for n in (4, 5, 6, 7, 8):
        x = numbers(n, 3)
        np.testing.assert_array_equal(compiled(x, x), scaled(x, x))


# -- written where it is read ----------------------------------------------------------------------


def row_from_row(a: Any) -> None:
    a[1] -= 0.5 * a[2]


def part_of_row(a: Any) -> None:
    a[-1, 2:] -= a[1, 0] * a[3, 2:]


def column(a: Any) -> None:
    a[:, 1] = a[:, -2] * 2.0 + a[:, 1]


def edge(a: Any) -> None:
    a[0] = a[1]
    a[1:4] += a[5]


def every_row(a: Any) -> None:
    for i in range(1, len(a)):
        a[i] -= 0.5 * a[i - 1]


IN_PLACE = [row_from_row, part_of_row, column, edge, every_row]


@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
@pytest.mark.parametrize("fn", IN_PLACE)
def test_rows_are_computed_in_place(fn: Callable[..., None], dtype: Any) -> None:
    text = kernels(fn, numbers(6, 6, dtype=dtype))
    assert "alloc" not in text
    assert loops(text) <= 3
    agrees(fn, numbers(6, 6, dtype=dtype), rtol=1e-15)


def test_rows_are_computed_in_place_whichever_they_are() -> None:
    def fn(a: Any, i: int, k: int) -> None:
        a[i] -= 0.5 * a[k]

    assert "alloc" not in kernels(fn, numbers(6, 6), 1, 2)
    for i, k in ((1, 2), (2, 1), (3, 3), (0, -1), (-6, 0)):
        agrees(fn, numbers(6, 6), i, k, rtol=1e-15)


def shifted(a: Any, i: int, k: int) -> None:
    a[1:] += a[:-1]


def turned(a: Any, i: int, k: int) -> None:
    a[:] = a.T + 1.0


def spread(a: Any, i: int, k: int) -> None:
    a[1:5] *= a[2]


def crossed(a: Any, i: int, k: int) -> None:
    a[i] = a[:, k] + a[i]


def first_of_each(a: Any, i: int, k: int) -> None:
    a[2:4, :2] = a[2:4, 1:2] + a[2:4, :2]


def backwards(a: Any, i: int, k: int) -> None:
    a[i] = a[i, ::-1] * 2.0


@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
@pytest.mark.parametrize("fn", [shifted, turned, spread, crossed, first_of_each, backwards])
def test_what_is_read_later_is_not_overwritten(fn: Callable[..., None], dtype: Any) -> None:
    for i, k in ((1, 2), (2, 1), (3, 3), (0, -1)):
        agrees(fn, numbers(6, 6, dtype=dtype), i, k, rtol=1e-15)


SLICES = st.sampled_from(["0", "1", "-1", "i", "k", ":", "1:", ":-1", "::-1", "1:4", "2:5", "::2"])


@st.composite
def statements(draw: st.DrawFn) -> str:
    """`a[...] = ...` with reads of `a` that fit what is written, or are spread over it."""
    target = [draw(SLICES) for _ in range(2)]
    reads = []
    for _ in range(draw(st.integers(1, 2))):
        parts = [draw(SLICES) if draw(st.booleans()) else t for t in target]
        reads.append(f"a[{', '.join(parts)}]")
    return f"a[{', '.join(target)}] = {' - 0.5 * '.join(reads)} + 1.0"


@settings(max_examples=60, deadline=None)
@given(statements(), st.integers(0, 5), st.integers(-6, 5), st.booleans())
def test_any_slice_from_any_slice(statement: str, i: int, k: int, is_complex: bool) -> None:
    space: dict[str, Any] = {}
    exec(f"def fn(a, i, k):\n    {statement}\n", space)  # no source: traced as it runs
    plain = numbers(6, 6, dtype=np.complex128 if is_complex else np.float64)
    mine = plain.copy()
    try:
        space["fn"](plain, i, k)
    except (ValueError, TypeError):
        return  # of different shapes
    jitnet.jit(space["fn"], static=("i", "k"))(mine, i, k)
    np.testing.assert_allclose(mine, plain, rtol=1e-15, atol=1e-15)


# -- products of complex numbers -------------------------------------------------------------------


def product(a: Any, b: Any) -> Any:
    return a @ b


def contracted(a: Any, b: Any) -> Any:
    return np.tensordot(a, b, axes=((2, 0), (1, 0)))


SQUARE = numbers(9, 9, dtype=np.complex128)
PRODUCTS = {
    "matrices": (product, SQUARE, SQUARE[::-1].copy()),
    "a transpose": (product, SQUARE.T, SQUARE),
    "a vector": (product, SQUARE, SQUARE[0].copy()),
    "from the left": (product, SQUARE[0].copy(), SQUARE),
    "single precision": (product, SQUARE.astype(np.complex64), SQUARE.astype(np.complex64)),
    "parts": (product, SQUARE[1:6, 2:8], SQUARE[2:8, ::2]),
    "a column": (product, SQUARE, SQUARE[:, 3]),
    "backwards": (product, SQUARE[::-1], SQUARE[0, ::-1]),
    "stacks": (product, numbers(3, 5, 4, dtype=complex), numbers(3, 4, 6, dtype=complex)),
    "few": (product, SQUARE[:2, :2].copy(), SQUARE[:2, :2].copy()),
    "nothing": (product, SQUARE[:, :0], SQUARE[:0]),
    "axes": (contracted, numbers(3, 5, 4, dtype=complex), numbers(3, 4, 6, dtype=complex)),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_complex_products_are_numpys(name: str) -> None:
    fn, a, b = PRODUCTS[name]
    rtol = 1e-5 if a.dtype == np.complex64 else 1e-13
    found, expected = jitnet.jit(fn)(a, b), fn(a, b)
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol)


def powered(h: Any, v: Any) -> Any:
    for _ in range(20):
        v = h @ v
        v = v / np.linalg.norm(v)
    return v, h.T @ v


def test_a_complex_matrix_is_read_where_it_is() -> None:
    """Not copied, nor taken apart, in no step."""
    text = kernels(powered, SQUARE, SQUARE[0].copy())
    assert text.count("zgemv") == 2
    assert not re.search(r"alloc 9, 9", text)
    agrees(powered, SQUARE, SQUARE[0].copy(), rtol=1e-12)


def test_the_symbolic_sizes_of_complex_products() -> None:
    compiled = jitnet.jit(product)
    for n in (3, 9, 12, 15, 17):
        a = numbers(n, n, dtype=np.complex128)
        np.testing.assert_allclose(compiled(a, a), a @ a, rtol=1e-12, atol=1e-12)


def test_complex_routines_are_in_the_table() -> None:
    assert {"cgemm", "zgemm", "cgemv", "zgemv"} <= set(EXTERNS)


# -- the smaller of two ----------------------------------------------------------------------------


def test_minimum_takes_no_branch() -> None:
    """Two choices stay two, in LLVM, and do not become one by two conditions, which is a branch."""

    def fn(x: Any, i: Any, y: Any) -> None:
        for k in range(len(i)):
            x[i[k]] = np.minimum(x[i[k]], y[k])

    i, y = np.resize([3, 4, 3], 50), np.resize([np.nan, -9.0, 0.0], 50)
    x = numbers(9)
    native = jitnet.jit(fn)._find((x, i, y), {})[0].executable.run.native
    text = str(engine._parse(native.module)[0])
    assert "fcmp uno" not in text
    assert "fcmp ord" in text
    agrees(fn, x, i, y)
    agrees(fn, np.array([0.0, -0.0, np.nan]), np.array([0, 1, 2]), np.array([-0.0, 0.0, 1.0]))
