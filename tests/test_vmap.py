"""vmap: `vmap(f)(xs)` is what f gives for each lane, stacked: of every op, of whole functions."""

from __future__ import annotations

import contextlib
import io
from collections import namedtuple
from collections.abc import Callable, Iterator, Sequence
from itertools import islice, product
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from op_functions import function_of
from random_programs import EXACT, programs

import jitnet
from jitnet import (
    errors,
    grad,
    hessian,
    jacfwd,
    jacrev,
    jit,
    jvp,
    transforms,
    value_and_grad,
    vjp,
    vmap,
)
from jitnet.interp import evaluate
from jitnet.ir import ArrayType, Builder, Function, literal, registry, verify
from jitnet.ir import types as T
from jitnet.ops.primitive import Primitive

RNG = np.random.default_rng(7)
OPS = {name: op for name, op in registry("array").items() if isinstance(op, Primitive)}
MADE_OF_EXTENTS = ("iota", "const", "empty")
RAGGED = {"compress"}  # a mask of its own in each lane: nothing that could be stacked


# -- every op --------------------------------------------------------------------------------------


def in_lanes(x: Any, count: int) -> Any:
    """Lanes of values that an op takes, for it takes this one: the same elements, moved round."""
    return np.stack([np.roll(x, lane, axis=-1) if np.ndim(x) else x for lane in range(count)])


def cases(op: Primitive) -> Iterator[tuple[Function, list[Any], tuple[bool, ...]]]:
    """Functions of the op, their arguments, and which of these are batched."""
    for sample in islice(op.samples(), 24):
        f, args = function_of(op, sample, literals=True)
        for batched in product((False, True), repeat=len(args)):
            if any(batched):
                yield f, args, batched


def assert_stacked(got: Sequence[Any], on: Sequence[bool], lanes: Sequence[Sequence[Any]]) -> None:
    """The results of a batched Function are those of the lanes, stacked."""
    for j, rows in enumerate(zip(*lanes, strict=True)):
        expected = np.stack(rows)
        found = got[j] if on[j] else np.stack([got[j]] * len(rows))
        assert found.dtype == expected.dtype
        if expected.dtype.kind in "fc":
            rtol = 1e-5 if expected.dtype.itemsize in (4,) else 1e-12
            np.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol / 10)
        else:
            np.testing.assert_array_equal(found, expected)


def assert_law(f: Function, args: Sequence[Any], batched: Sequence[bool], count: int) -> None:
    """The law, by the interpreter; with an extent that is known, and one that is a param."""
    given = [in_lanes(x, count) if b else x for x, b in zip(args, batched)]
    lanes = [
        evaluate(f, [x[lane] if b else x for x, b in zip(given, batched)]) for lane in range(count)
    ]
    known, on = transforms.vmap(f, batched, count)
    verify(known)
    assert_stacked(evaluate(known, given), on, lanes)
    with Builder("symbolic") as b:
        extent = b.param(T.scalar(T.i64))
    any_count, on = transforms.vmap(f, batched, extent)
    verify(any_count)
    assert_stacked(evaluate(any_count, [np.int64(count), *given]), on, lanes)


@pytest.mark.parametrize("name", [n for n, op in OPS.items() if list(islice(op.samples(), 1))])
def test_every_op_keeps_the_law(name: str) -> None:
    seen = 0
    for f, args, batched in cases(OPS[name]):
        try:
            assert_law(f, args, batched, 3)
        except errors.BatchingError:
            assert name in RAGGED
            assert batched[0]
        seen += 1
    assert seen or name in MADE_OF_EXTENTS


@pytest.mark.parametrize("name", MADE_OF_EXTENTS)
def test_what_has_no_operands_is_made_once(name: str) -> None:
    sample = next(iter(OPS[name].samples()))
    f, _ = function_of(OPS[name], sample, literals=True)
    with Builder("beside") as b:
        x = b.param(ArrayType(T.f64))
        f = b.build(x, *b.inline(f, []))
    g, on = transforms.vmap(f, [True], 4)
    assert on == (True, False)
    assert g.eqns[0].results[0].type == f.eqns[0].results[0].type


# -- random programs -------------------------------------------------------------------------------


def another(x: Any, lane: int) -> Any:
    """Another value for a param: floats moved round or away; what may be an index stays."""
    if x.ndim:
        return np.roll(x.ravel(), lane).reshape(x.shape)
    return x if x.dtype.kind in "iu" else x.dtype.type(x + lane)


@given(st.data())
@settings(max_examples=60, deadline=None, derandomize=True)
def test_random_programs_keep_the_law(data: st.DataObject) -> None:
    """With branches and loops, by the interpreter."""
    f, args = data.draw(programs(EXACT))
    extents = {d for p in f.params for d in p.dims}
    batched = [p not in extents and data.draw(st.booleans()) for p in f.params]
    lanes = [[another(x, k) if b else x for x, b in zip(args, batched)] for k in range(3)]
    assume(any(batched))
    try:
        g, on = transforms.vmap(f, batched, 3)
    except errors.BatchingError:
        return  # an extent that a mask decides is a result
    verify(g)
    given_all = [np.stack(c) if b else c[0] for c, b in zip(zip(*lanes), batched)]
    try:
        expected = [evaluate(f, lane) for lane in lanes]
    except errors.JitnetError as error:  # a check fails, in one lane at least
        with pytest.raises(type(error)):
            evaluate(g, given_all)
        return
    assert_stacked(evaluate(g, given_all), on, expected)


# -- whole functions -------------------------------------------------------------------------------


def stacked(f: Callable[..., Any], *args: Any) -> Any:
    """f of each lane, by itself."""
    return np.stack([f(*(x[lane] for x in args)) for lane in range(len(args[0]))])


def newton(a):
    x = 1.0
    while abs(x * x - a) > 1e-12 * a:
        x = 0.5 * (x + a / x)
    return x


def kinks(x):
    s = 0.0
    for i in range(len(x)):
        if x[i] > 0:
            s += x[i] ** 2
        else:
            s -= np.sin(x[i])
    return s


def of_a_mask(x):
    return np.sqrt(x[x > 0]).sum() + x[x < -0.5].size


def appended(x):
    out = []
    for i in range(len(x)):
        out.append(x[i] * 2 + i)
    return np.array(out)


def appended_while(x):
    out, s, k = [], 0.0, 0
    while k < 5:
        s = s + np.sin(x).sum()
        out.append(s)
        k += 1
    return np.array(out) * s


def picked(x, i):
    return x[i] * x[-1]


def written(x, i):
    x = x.copy()
    x[i] += 1
    x[i : i + 2] *= 3
    x[1:] -= x[0]
    return x


def halved(x):
    while np.abs(x).sum() > 1:
        x = x * 0.5
    return x


def first_large(x):
    n = 0
    while n < len(x) and x[n] < 0.5:
        n += 1
    return n


def at_the_largest(x):
    return x[np.argmax(x)] - x[np.argmin(x)]


def descending(x):
    return np.sort(x)[::-1] * np.argsort(x, kind="stable")


def means_so_far(x):
    return np.cumsum(x) / np.arange(1, len(x) + 1)


def of_a_part(x, n):
    s = 0.0
    for v in x[:n]:
        s += v * v
    return s + x[:n].sum()


def steps_of_its_own(x, n):
    y = x[0]
    for k in range(n):
        y = np.cos(y) + 0.1 * k
    return y


def early(x):
    for i in range(len(x)):
        if x[i] > 0.8:
            return x[i]
    return -1.0


def looked_up(x, i):
    table = np.array([0.5, 1.5, 2.5])
    return np.interp(x, table, table**2) + table[i % 3]


def kept_in_place(x, i):
    y = np.zeros((4, 3))
    for t in range(3):
        y[t] = x[t] * np.arange(3.0)
        y[i % 4, t] += 1.0
    return y


def systems(x):
    a = np.outer(x[:2], x[:2]) + 4 * np.eye(2)
    return np.linalg.solve(a, x[2:4]) + np.linalg.det(a) + np.linalg.cholesky(a).sum()


def complexes(x):
    z = np.exp(1j * x) * (2 - 1j)
    return (z * z.conj()).real + np.abs(z).max()


def of_growing_ranges(n):
    s = 0
    while n < 40:
        for k in range(n):
            s += k * k
        n = 3 * n + 1
    return s


def histogram(x, i):
    counts = np.zeros(4)
    for k in range(len(x)):
        counts[(i + k * k) % 4] += x[k]
    return counts


def integers(i):
    return (i << 2) % 7 + np.bitwise_xor(i, 3)


FLOATS = [
    (newton, lambda n: (RNG.uniform(0.1, 9, n),)),
    (kinks, lambda n: (RNG.normal(size=(n, 6)),)),
    (of_a_mask, lambda n: (RNG.normal(size=(n, 6)),)),
    (appended, lambda n: (RNG.normal(size=(n, 6)),)),
    (appended_while, lambda n: (RNG.normal(size=(n, 6)),)),
    (picked, lambda n: (RNG.normal(size=(n, 6)), RNG.integers(-6, 6, n))),
    (written, lambda n: (RNG.normal(size=(n, 6)), RNG.integers(0, 5, n))),
    (halved, lambda n: (RNG.normal(size=(n, 6)),)),
    (at_the_largest, lambda n: (RNG.normal(size=(n, 6)),)),
    (descending, lambda n: (RNG.normal(size=(n, 6)),)),
    (means_so_far, lambda n: (RNG.normal(size=(n, 6)),)),
    (of_a_part, lambda n: (RNG.normal(size=(n, 6)), RNG.integers(0, 6, n))),
    (steps_of_its_own, lambda n: (RNG.normal(size=(n, 6)), RNG.integers(0, 9, n))),
    (early, lambda n: (RNG.normal(size=(n, 6)),)),
    (looked_up, lambda n: (RNG.uniform(0, 3, (n, 6)), RNG.integers(0, 9, n))),
    (kept_in_place, lambda n: (RNG.normal(size=(n, 6)), RNG.integers(0, 9, n))),
    (histogram, lambda n: (RNG.normal(size=(n, 6)), RNG.integers(0, 9, n))),
    (systems, lambda n: (RNG.normal(size=(n, 6)),)),
    (complexes, lambda n: (RNG.normal(size=(n, 6)),)),
]
ALL = [
    *FLOATS,
    (first_large, lambda n: (RNG.normal(size=(n, 6)),)),
    (of_growing_ranges, lambda n: (RNG.integers(0, 30, n),)),
    (integers, lambda n: (RNG.integers(0, 99, (n, 4)),)),
]


def names(cases: Sequence[Any]) -> list[str]:
    return [case[0].__name__ for case in cases]


@pytest.mark.parametrize(("f", "make"), ALL, ids=names(ALL))
def test_the_law(f, make):
    args = make(8)
    got, expected = vmap(f)(*args), stacked(f, *args)
    np.testing.assert_allclose(got, expected, rtol=1e-11, atol=1e-13)
    assert got.dtype == expected.dtype


@pytest.mark.parametrize(("f", "make"), ALL, ids=names(ALL))
def test_nested_and_of_any_number_of_lanes(f, make):
    """Inside of jit, of an array whose extent is known only when the program runs."""
    args = [np.stack([x, x[::-1]]) for x in make(7)]
    keep = np.arange(7) % 3 != 1

    @jit
    def both(keep, *args):
        return vmap(vmap(f), in_axes=1, out_axes=1)(*(x[:, keep] for x in args))

    got = both(keep, *args)
    expected = np.stack([stacked(f, *(x[k][keep] for x in args)) for k in range(2)])
    np.testing.assert_allclose(got, expected, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize(("f", "make"), FLOATS, ids=names(FLOATS))
def test_gradients(f, make):
    """Of each example; and of the sum over all, which is the same."""
    args = make(5)

    def total(*args):
        return np.sum(f(*args))

    expected = stacked(grad(total), *args)
    values, gradients = vmap(value_and_grad(total))(*args)
    np.testing.assert_allclose(gradients, expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(values, stacked(total, *args), rtol=1e-11, atol=1e-13)
    got = grad(lambda *args: np.sum(vmap(f)(*args)))(*args)
    np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("f", [newton, kinks, of_a_mask, appended, halved])
def test_tangents_and_second_derivatives(f):
    make = dict(FLOATS)[f]
    (x,), (dx,) = make(4), make(4)

    def total(x):
        return np.sum(f(x))

    def along(x, dx):
        return jvp(f, (x,), (dx,))[1]

    expected = stacked(along, x, dx)
    np.testing.assert_allclose(jvp(vmap(f), (x,), (dx,))[1], expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(vmap(along)(x, dx), expected, rtol=1e-9, atol=1e-12)
    got = vmap(hessian(total))(x)
    np.testing.assert_allclose(got, stacked(hessian(total), x), rtol=1e-8, atol=1e-10)


# -- axes ------------------------------------------------------------------------------------------

X, W = RNG.normal(size=(7, 3)), RNG.normal(size=(3, 4))
State = namedtuple("State", ["a", "b"])


def test_axes_of_arguments():
    def f(x, w):
        return x @ w

    expected = X @ W
    np.testing.assert_allclose(vmap(f, in_axes=(0, None))(X, W), expected, rtol=1e-13)
    np.testing.assert_allclose(vmap(f, in_axes=[1, None])(X.T.copy(), W), expected, rtol=1e-13)
    np.testing.assert_allclose(vmap(f, in_axes=(-1, None))(X.T, W), expected, rtol=1e-13)
    np.testing.assert_allclose(vmap(f, (0, None), 1)(X, W), expected.T, rtol=1e-13)
    np.testing.assert_allclose(vmap(f, (0, None), -1)(X, W), expected.T, rtol=1e-13)
    np.testing.assert_allclose(vmap(f, in_axes=(None, 1))(X[0], W), X[0] @ W, rtol=1e-13)
    deep = RNG.normal(size=(2, 3, 7, 4))
    for axis in (0, 1, 2, 3, -1, -4):
        got = vmap(lambda x: x * 2, axis, axis)(deep)
        np.testing.assert_array_equal(got, deep * 2)


def test_axes_of_trees():
    tree = {"a": X, "b": (X[:, 0], 2.0), "c": State(W, None)}

    def f(tree, scale=1.0):
        assert tree["a"].shape == (3,)
        return State({"s": (tree["a"] @ tree["c"].a).sum() * scale}, tree["b"][0] + tree["b"][1])

    axes = {"b": (0, None), "a": 0, "c": None}
    got = vmap(f, in_axes=(axes,))(tree)
    assert type(got) is State
    np.testing.assert_allclose(got.a["s"], (X @ W).sum(axis=1), rtol=1e-12)
    np.testing.assert_allclose(got.b, X[:, 0] + 2.0)
    got = vmap(f, in_axes=(axes,), out_axes=State({"s": 0}, -1))(tree, scale=np.arange(7.0))
    np.testing.assert_allclose(got.a["s"], (X @ W).sum(axis=1) * np.arange(7), rtol=1e-12)


def test_results_that_are_the_same_in_all_lanes():
    def f(x, w):
        return x.sum(), w.sum(), 3, "text", np.arange(2)

    got = vmap(f, in_axes=(0, None), out_axes=(0, None, 0, None, 1))(X, W)
    np.testing.assert_allclose(got[1], W.sum())
    assert got[1].shape == ()
    assert got[3] == "text"
    assert got[2].dtype == np.int64
    np.testing.assert_array_equal(got[2], [3] * 7)
    np.testing.assert_array_equal(got[4], np.stack([np.arange(2)] * 7, axis=1))
    np.testing.assert_allclose(vmap(f, (0, None), (0, 0, None, None, None))(X, W)[1], [W.sum()] * 7)


def test_rows_of_vectors_are_numpy_scalars():
    def is_array(x):
        return isinstance(x, np.ndarray)

    assert not vmap(is_array)(X[:, 0]).any()
    assert vmap(is_array)(X).all()


@pytest.mark.parametrize(
    ("call", "what"),
    [
        (lambda: vmap(lambda x: x, in_axes=(0, 0))(X), "2 entries"),
        (lambda: vmap(lambda x, y: x)(X, W), "different extents"),
        (lambda: vmap(lambda x: x, in_axes=2)(X), "no axis 2"),
        (lambda: vmap(lambda x: x, in_axes=-3)(X), "no axis -3"),
        (lambda: vmap(lambda x, n: x)(X, 3), "argument n is 3"),
        (lambda: vmap(lambda x: x, in_axes=None)(X), "no argument is mapped"),
        (lambda: vmap(lambda x: x, out_axes=None)(X), "out_axes is None"),
        (lambda: vmap(lambda x: x, out_axes=2)(X), "out_axes 2"),
        (lambda: vmap(lambda x: x, out_axes=(0, 0))(X), "out_axes"),
        (lambda: vmap(lambda d: d["a"], in_axes=({"b": 0},))({"a": X}), "in_axes[0]"),
        (lambda: vmap(lambda x: "text")(X), "cannot be stacked"),
        (lambda: vmap(lambda x: x[x > 0])(X), "extent differs"),
        (lambda: vmap(lambda x: np.unique(np.round(x)))(X), "extent differs"),
    ],
)
def test_what_is_refused_when_it_is_called(call, what):
    with pytest.raises(errors.BatchingError) as caught:
        call()
    assert what in str(caught.value)
    assert isinstance(caught.value, ValueError)


def test_what_is_refused_at_once():
    for axes in (1.5, "0", np.arange(2), True, ({"a": 0.5},), (0, "b")):
        with pytest.raises(TypeError, match="in_axes"):
            vmap(lambda x: x, in_axes=axes)
    with pytest.raises(TypeError, match="out_axes"):
        vmap(lambda x: x, out_axes=[None, 1.0])
    with pytest.raises(TypeError, match="vmap takes a function"):
        vmap(3)


def test_a_refused_result_names_its_line():
    with pytest.raises(errors.BatchingError) as caught:
        vmap(lambda x: x[x > 0])(X)
    assert "lambda x: x[x > 0]" in str(caught.value)


# -- memory, errors, prints ------------------------------------------------------------------------


def test_mapped_arguments_are_changed_lane_by_lane():
    def f(x, by):
        x[1:] *= by
        x[0] = by
        return x.sum()

    expected = X.copy()
    sums = [f(row, by) for row, by in zip(expected, np.arange(7.0))]
    for axis in (0, 1):
        given = np.moveaxis(X, 0, axis).copy()
        got = vmap(f, in_axes=(axis, 0))(given, np.arange(7.0))
        np.testing.assert_allclose(got, sums, rtol=1e-13)
        np.testing.assert_array_equal(given, np.moveaxis(expected, 0, axis))


def test_results_share_no_memory_with_arguments():
    def f(x):
        x *= 2
        return x

    given = X.copy()
    got = vmap(f)(given)
    np.testing.assert_array_equal(got, X * 2)
    assert not np.shares_memory(got, given)
    assert not np.shares_memory(vmap(lambda x: x)(given), given)


def test_writing_to_what_is_not_mapped_is_refused():
    def f(x, w):
        w += x
        return w

    with pytest.raises(errors.MutationError):
        vmap(f, in_axes=(0, None))(X, X[0].copy())
    with pytest.raises(errors.MutationError, match="shares memory"):
        vmap(f)(X, X)


def test_an_error_has_the_values_of_the_first_lane_that_fails():
    def f(x, i):
        assert x > 0, f"{x:.1f} in lane {i}"
        return x

    with pytest.raises(AssertionError, match=r"-2.0 in lane 2"):
        vmap(f)(np.array([1.0, 3.0, -2.0, 5.0, -7.0]), np.arange(5))
    with pytest.raises(IndexError, match="index 9 is out of bounds"):
        vmap(lambda x, i: x[i])(X, np.array([0, 1, 9, -8, 2, 0, 0]))
    with pytest.raises(np.linalg.LinAlgError):
        vmap(np.linalg.inv)(np.stack([np.eye(2), np.zeros((2, 2))]))


def test_what_an_arm_would_raise_is_raised_for_lanes_that_take_it():
    def f(x, i):
        if i < 3:
            return x[i]
        return -1.0

    i = np.array([0, 1, 2, 9, 99, 2, 3])
    np.testing.assert_array_equal(vmap(f)(X, i), stacked(f, X, i))
    with pytest.raises(IndexError, match="index -4"):
        vmap(f)(X, i - 4)

    def halves(n):
        while n > 0:
            assert n % 2 == 0, "odd"
            n = n // 2 - 2
        return n

    assert vmap(halves)(np.array([12, 0])).tolist() == [halves(12), 0]
    with pytest.raises(AssertionError, match="odd"):
        vmap(halves)(np.array([12, 0, 7]))


def test_prints_come_lane_by_lane():
    def f(x):
        print(f"x = {x:.1f}")
        return x

    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        vmap(f)(np.array([1.0, 2.0]))
    assert out.getvalue() == "x = 1.0\nx = 2.0\n"


def test_no_lanes():
    assert vmap(newton)(np.zeros(0)).shape == (0,)
    assert vmap(picked)(np.zeros((0, 6)), np.zeros(0, int)).shape == (0,)


# -- what it becomes -------------------------------------------------------------------------------


def fused(f, *args, **options):
    return vmap(f, **options).lower(*args).stages["fused"]


def lines(text: object) -> list[str]:
    """The equations of a Function, without those inside of regions."""
    return [line.split("=")[1].split()[0] for line in str(text).split("\n") if line[:3] == "  %"]


def test_a_batch_and_one_matrix_are_one_product():
    for f, args in (
        (lambda x, w: x @ w, (X, W)),
        (lambda x, w: w.T @ x, (X, W)),
        (lambda x, w: x @ w, (RNG.normal(size=(7, 2, 3)), W)),
        (lambda x, w: np.einsum("i,ij->j", x, w), (X, W)),
    ):
        text = fused(f, *args, in_axes=(0, None))
        assert lines(text) == ["dot"]
        assert "batch=((), ())" in str(text)
        got = vmap(f, in_axes=(0, None))(*args)
        np.testing.assert_allclose(got, np.stack([f(x, W) for x in args[0]]), rtol=1e-12)


def test_two_batches_are_one_batched_product():
    a, b = RNG.normal(size=(5, 4, 3)), RNG.normal(size=(5, 3, 6))
    text = fused(lambda a, b: a @ b, a, b)
    assert lines(text) == ["dot"]
    assert "batch=((0,), (0,))" in str(text)
    np.testing.assert_allclose(vmap(np.matmul)(a, b), a @ b, rtol=1e-12)


def test_elementwise_functions_are_one_kernel():
    def f(x, w):
        return np.tanh(x * w[:, 0] + 1).sum() * x

    assert lines(fused(f, X, W, in_axes=(0, None))) == ["fused"]
    assert "for" not in str(fused(f, X, W, in_axes=(0, None)))


def test_one_matrix_is_factorised_once():
    a, b = RNG.normal(size=(6, 6)) + 6 * np.eye(6), RNG.normal(size=(9, 6))
    text = str(fused(np.linalg.solve, a, b, in_axes=(None, 0)))
    assert "solve %a" in text
    assert "for" not in text
    got = vmap(np.linalg.solve, in_axes=(None, 0))(a, b)
    np.testing.assert_allclose(got, np.linalg.solve(a, b.T).T, rtol=1e-10)


def test_what_does_not_depend_on_lanes_is_computed_once():
    f = jitnet.trace(lambda x, w: x * np.exp(w).sum())(X[0], W)
    g, _ = transforms.vmap(f, [True, False], 7)
    exp = next(eqn for eqn in g.eqns if eqn.op.name == "exp")
    assert exp.result.shape == W.shape


def test_small_branches_are_selects_and_others_run_lane_by_lane():
    def small(x):
        if x > 0:
            return np.exp(x)
        return x * x

    def indexes(x, i):
        if i < 3:
            return x[i]
        return 0.0

    assert lines(fused(small, X[:, 0])) == ["fused"]
    assert "@lane" in str(fused(indexes, X, np.arange(7)))


def test_which_loops_are_run_for_all_lanes_at_once():
    """Those over numbers and products; not those that write to places of their own."""

    def rolled(x, w):
        for _ in range(30):
            x = np.tanh(w @ x)
        return x

    def damped(x):
        for k in range(30):
            x = x * 0.5 + np.sin(x) * k
        return x

    w = RNG.normal(size=(3, 3))
    assert "@lane" not in str(fused(rolled, X, w, in_axes=(0, None)))
    assert "@lane" not in str(fused(damped, X[:, 0]))
    assert "@lane" not in str(fused(newton, np.abs(X[:, 0])))
    assert "@lane" in str(fused(histogram, RNG.normal(size=(7, 99)), np.arange(7)))


def test_lanes_in_step_share_what_loops_log():
    """The records that reverse mode leaves, and their numbers, which are no lane's own."""

    def f(w, b):
        h, k = b, 0
        while k < 6:
            h = np.tanh(w @ h + b)
            k += 1
        return h.sum()

    w, b = RNG.normal(size=(3, 3)), RNG.normal(size=(7, 3))
    each = vmap(value_and_grad(f), in_axes=(None, 0))
    values, gradients = each(w, b)
    np.testing.assert_allclose(values, [f(w, row) for row in b], rtol=1e-12)
    np.testing.assert_allclose(gradients, [grad(f)(w, row) for row in b], rtol=1e-10)
    text = str(each.lower(w, b).stages["optimized"])
    assert "tape_push" in text
    assert "@lane" not in text


def test_extents_that_only_an_arm_computes():
    def f(x, k):
        if x > 0:
            return np.ones((k * k, 2)).sum() * x
        return x

    x = np.array([1.0, -2.0, 3.0])
    for k in (1, 2, 3, 4, 5):
        got = vmap(f, in_axes=(0, None))(x, k)
        np.testing.assert_array_equal(got, [f(v, k) for v in x])


# -- Jacobians, which go over unit vectors in lanes ------------------------------------------------


@pytest.mark.parametrize("n", [1, 5, 130, 300])
def test_jacobians_of_products_and_loops(n):
    a, b = RNG.normal(size=(4, n)), RNG.normal(size=(n, 4))

    def dense(x):
        return b @ np.tanh(a @ x)

    def looped(x):
        y = np.zeros_like(x)
        for i in range(len(x)):
            y[i] = x[i] ** 2 + x[i - 1]
        return y

    x = RNG.normal(size=n)
    expected = b @ (a * (1 - np.tanh(a @ x) ** 2)[:, None])
    np.testing.assert_allclose(jacfwd(dense)(x), expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(jacrev(dense)(x), expected, rtol=1e-9, atol=1e-12)
    expected = np.diag(2 * x) + np.roll(np.eye(n), -1, axis=1)
    np.testing.assert_allclose(jacfwd(looped)(x), expected, rtol=1e-12)
    np.testing.assert_allclose(jacrev(looped)(x), expected, rtol=1e-12)


def test_pullbacks_in_lanes():
    def f(x):
        return np.tanh(x @ W)

    _, pull = vjp(f, X[0])
    rows = vmap(lambda ct: pull(ct)[0])(np.eye(4))
    np.testing.assert_allclose(rows, jacrev(f)(X[0]), rtol=1e-12)


def test_a_literal_that_is_a_result():
    with Builder("f") as b:
        b.param(ArrayType(T.f64))
        f = b.build(literal(2.0, T.f64))
    g, on = transforms.vmap(f, [True], 3)
    assert on == (False,)
    assert evaluate(g, [np.zeros(3)]) == (2.0,)


# -- what lanes may not change ---------------------------------------------------------------------


class Counter:
    def __init__(self) -> None:
        self.total = 0.0
        self.items: list[Any] = []


COUNTER = Counter()


def adds_up(x: Any) -> Any:
    COUNTER.total = COUNTER.total + x
    return x


def appends(x: Any) -> Any:
    COUNTER.items.append(x)
    return x


@pytest.mark.parametrize(
    ("fn", "what"), [(adds_up, "the attribute total"), (appends, "a list from outside")]
)
def test_objects_from_outside_are_not_changed(fn: Any, what: str) -> None:
    with pytest.raises(errors.MutationError, match=f"{fn.__name__} changes {what}") as error:
        jitnet.vmap(fn)(np.arange(3.0))
    assert "return the new value as a result" in error.value.remedy
    assert (COUNTER.total, COUNTER.items) == (0.0, [])


def test_objects_of_each_lane_may_change() -> None:
    def fn(x: Any) -> Any:
        own = Counter()
        own.total = x * 2
        own.items.append(own.total + 1)
        return own.items[0] * own.total

    x = np.arange(3.0)
    np.testing.assert_array_equal(jitnet.vmap(fn)(x), (2 * x + 1) * 2 * x)
