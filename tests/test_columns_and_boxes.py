"""Loops over columns, and sums of shifted boxes: turned, taken together, and the same bits.

for j in range(k, n): A[:, j] -= q * R[k, j]        # A is transposed for the loops
ct[0:98] += u; ct[2:100] += v                       # one loop over 2 to 98, and the ends
"""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import jitnet
from jitnet import interp, ir, ops, trace
from jitnet.ir import types as T
from jitnet.ops.slicing import UPDATE
from jitnet.passes import turn_columns
from jitnet.passes.fuse import fuse
from jitnet.passes.late import compute_late
from jitnet.passes.shifted import add_shifted
from jitnet.testing import check_grads

# -- columns ---------------------------------------------------------------------------------------


def orthogonalise(A):
    """Modified Gram-Schmidt in place."""
    for k in range(A.shape[1]):
        A[:, k] /= np.sqrt(A[:, k] @ A[:, k])
        for j in range(k + 1, A.shape[1]):
            A[:, j] -= A[:, k] * (A[:, k] @ A[:, j])
    return A


def columns_under_a_condition(A):
    """The columns that change are chosen by data, and a first row is written beside."""
    for k in range(A.shape[1]):
        A[0] = A[0] * 0.5
        for j in range(k):
            if A[1, j] > 0:
                A[1:, j] += 0.1 * A[1:, k]
            else:
                A[1:, j] *= 0.9
    return A


def columns_in_rounds(A):
    """The loops around the nest do something else with the matrix."""
    for _ in range(3):
        A *= 0.5
        for k in range(A.shape[1]):
            for j in range(k, A.shape[1]):
                A[:, j] += 0.1 * A[::-1, k]
    return A


def columns_while_they_are_long(A):
    """Loops of unknown length."""
    k = 0
    while k < A.shape[1] and A[0, k] < 1e3:
        j = 0
        while j < k:
            A[:, k] += A[:, j]
            j += 1
        k += 1
    return A


TURNED = [
    orthogonalise,
    columns_under_a_condition,
    columns_in_rounds,
    columns_while_they_are_long,
]


def matrix(m: int = 12, n: int = 10) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((m, n)) + 0.1


@pytest.mark.parametrize("fn", TURNED, ids=lambda fn: fn.__name__)
def test_matrices_are_turned_for_loops_over_their_columns(fn) -> None:
    f = trace(fn)(matrix())
    turned = turn_columns(f)
    assert turned is not f
    ir.verify(turned)
    assert turn_columns(turned) is turned


def test_columns_are_contiguous_then() -> None:
    text = jitnet.jit(orthogonalise).lower(matrix()).stages["kernels"]
    loops = text[text.index("kind='seq'") :]
    assert "strides(1) = view" in loops
    assert "strides(10) = view" not in loops


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("fn", TURNED, ids=lambda fn: fn.__name__)
def test_turned_matrices_give_numpys_bits(fn, order: str) -> None:
    given = np.array(matrix(), order=order)
    expected, changed = given.copy(order="K"), given.copy(order="K")
    fn(expected)
    assert jitnet.jit(fn)(changed) is changed
    if fn is orthogonalise:  # its dots may be added up in another order
        np.testing.assert_allclose(changed, expected, rtol=1e-12, atol=1e-14)
    else:
        np.testing.assert_array_equal(changed, expected)


@pytest.mark.parametrize("fn", TURNED, ids=lambda fn: fn.__name__)
def test_gradients_go_through_turned_matrices(fn) -> None:
    weights = np.random.default_rng(1).standard_normal((12, 10))
    check_grads(lambda A: (weights * fn(A.copy())).sum(), (matrix(),), order=1)


def rows_as_often(A):
    for k in range(A.shape[1]):
        for j in range(k):
            A[:, j] += A[j, k] * A[:, k]
            A[j, :] *= 0.5
    return A


def all_of_it(A):
    for k in range(A.shape[1]):
        for j in range(k):
            A[:, j] += A.sum()
    return A


def once_through(A):
    for k in range(A.shape[1]):
        A[:, k] *= 0.5
    return A


@pytest.mark.parametrize("fn", [rows_as_often, all_of_it, once_through], ids=lambda f: f.__name__)
def test_matrices_that_are_used_otherwise_stay_as_they_are(fn) -> None:
    f = trace(fn)(matrix())
    assert turn_columns(f) is f


def test_narrow_matrices_stay_as_they_are() -> None:
    f = trace(orthogonalise)(matrix(40, 4))
    assert turn_columns(f) is f


# -- shifted boxes ---------------------------------------------------------------------------------


def boxes(
    places: list[tuple[int, ...]], shape: tuple[int, ...], size: tuple[int, ...]
) -> ir.Function:
    """Terms of an array's size, each added to a box of the array at one of these places; every
    second one is computed right there."""
    f64 = T.f64
    with ir.Builder("boxes") as b:
        array = b.param(ir.ArrayType(f64, shape), "a")
        terms = [b.param(ir.ArrayType(f64, size), f"t{k}") for k in range(len(places))]
        for k, (place, term) in enumerate(zip(places, terms)):
            value = ops.mul(term, 3.0) if k % 2 else term
            total = ops.add(ops.slice(array, place, size), value)
            array = ops.update(array, total, place)
        return b.build(array)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=6))
def test_shifted_boxes_are_added_to_bit_by_bit(places: list[tuple[int, int]]) -> None:
    f = boxes(places, (33, 44), (30, 41))
    rng = np.random.default_rng(0)
    arguments = [rng.standard_normal(p.shape) for p in f.params]
    (expected,) = interp.evaluate(f, arguments)
    together = add_shifted(f)
    ir.verify(together)
    np.testing.assert_array_equal(interp.evaluate(together, arguments)[0], expected)
    np.testing.assert_array_equal(interp.evaluate(fuse(f), arguments)[0], expected)


def test_boxes_along_one_axis_are_one_and_the_ends() -> None:
    f = add_shifted(boxes([(0,), (2,), (1,)], (1000,), (998,)))
    sizes = [e.operands[1].shape[0] for e in f.eqns if e.op is UPDATE]
    assert sizes == [996, 2, 2, 1, 1]


def test_boxes_that_share_little_are_added_to_one_by_one() -> None:
    far = boxes([(0,), (500,)], (1000,), (500,))
    small = boxes([(0,), (1,)], (100,), (99,))
    assert add_shifted(far) is far
    assert add_shifted(small) is small


def test_an_array_that_is_read_in_between_is_not_skipped() -> None:
    with ir.Builder("between") as b:
        a, t = (b.param(ir.ArrayType(T.f64, (n,)), name) for n, name in ((1000, "a"), (998, "t")))
        first = ops.update(a, ops.add(ops.slice(a, (0,), (998,)), t), (0,))
        second = ops.update(first, ops.add(ops.slice(first, (1,), (998,)), t), (1,))
        f = b.build(second, ops.reduce_sum(first, (0,)))
    assert add_shifted(f) is f


def heat(u):
    for _ in range(8):
        u[1:-1] = u[1:-1] + 0.1 * (u[2:] - 2 * u[1:-1] + u[:-2])
    return (u * u).sum()


def test_the_gradient_of_a_stencil_goes_through_its_cotangent_once() -> None:
    u = np.random.default_rng(0).standard_normal(2000)
    text = jitnet.grad(heat).lower(u).stages["kernels"]
    back = text[text.rindex("kind='seq'") :]
    long = re.findall(r"for 0, (19\d\d) ", back)
    assert len(long) <= 3  # the terms, the cleared box, and all sums
    check_grads(lambda v: heat(v.copy()), (u[:300],), order=1)


# -- computed late ---------------------------------------------------------------------------------


def test_what_a_later_writer_reads_is_computed_in_front_of_it() -> None:
    with ir.Builder("late") as b:
        x, y, a = (b.param(ir.ArrayType(T.f64, (64,)), name) for name in "xya")
        u = ops.mul(x, 2.0)
        v = ops.mul(y, 3.0)
        first = ops.update(a, ops.slice(u, (0,), (8,)), (0,))
        f = b.build(ops.update(first, ops.slice(v, (0,), (8,)), (8,)))
    order = [e.result for e in compute_late(f.eqns, f.results)]
    assert order.index(v) > order.index(first) > order.index(u)


def test_what_is_overwritten_is_read_before() -> None:
    with ir.Builder("early") as b:
        x, a = (b.param(ir.ArrayType(T.f64, (64,)), name) for name in "xa")
        v = ops.mul(x, 3.0)
        zero = ops.full(ir.literal(0.0, T.f64), (8,))
        first = ops.update(x, zero, (0,))
        second = ops.update(a, ops.slice(v, (0,), (8,)), (8,))
        f = b.build(first, second)
    assert compute_late(f.eqns, f.results) == list(f.eqns)


def subtract_products(L):
    """The inner loop of a factorisation by rows."""
    for i in range(1, L.shape[0]):
        for j in range(i):
            L[i, j] -= L[i, :j] @ L[j, :j]
    return (L * L).sum()


def test_the_cotangents_of_two_rows_are_added_without_memory_between() -> None:
    L = np.random.default_rng(0).standard_normal((20, 20)) / 20
    text = jitnet.grad(subtract_products).lower(L).stages["kernels"]
    back = text[text.rindex("tape_get") :]
    assert "kind='vector'" in back
    assert "alloc" not in back
    check_grads(lambda m: subtract_products(m.copy()), (L[:6, :6],), order=1)
