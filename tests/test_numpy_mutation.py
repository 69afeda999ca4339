"""Writing to arrays, against NumPy: results, arguments afterwards, and who shares memory with whom.

Programs of random steps make views and write to them; then one by one what NumPy has for writing:
`ufunc.at`, `x.flat`, `out=`, `where=`, `np.put` and its like; and the methods of ufuncs.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import check, check_raises, compare

import jitnet
from jitnet import errors

Array = np.ndarray[Any, Any]

# -- running both ----------------------------------------------------------------------------------


def twin(x: Any) -> Any:
    """A copy that lies in memory as x does, and is as writeable."""
    if not isinstance(x, np.ndarray):
        return x
    room = x
    if not (x.flags.c_contiguous or x.flags.f_contiguous):
        room = np.zeros(tuple(2 * n for n in x.shape), x.dtype)
        copy = room[tuple(slice(None, None, 2) for _ in x.shape)]
        copy[...] = x
    else:
        copy = x.copy(order="K")
    copy.flags.writeable = x.flags.writeable
    return copy


def check_changes(fn: Callable[..., Any], *args: Any, sharing: bool = True) -> None:
    """Results, arguments afterwards, and whether they share memory: all as NumPy's."""
    plain, own = [twin(x) for x in args], [twin(x) for x in args]
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        expected = fn(*plain)
    got = jitnet.jit(fn)(*own)
    compare(got, expected)
    compare(own, plain, where="arguments")
    if sharing:
        _check_sharing(_arrays([got, own]), _arrays([expected, plain]))


def _arrays(x: Any) -> list[Array]:
    if isinstance(x, (tuple, list)):
        return [a for item in x for a in _arrays(item)]
    return [x] if isinstance(x, np.ndarray) else []


def _check_sharing(got: Sequence[Array], expected: Sequence[Array]) -> None:
    for i, (a, b) in enumerate(zip(got, expected, strict=True)):
        for c, d in zip(got[:i], expected[:i]):
            assert np.shares_memory(a, c) == np.shares_memory(b, d), f"array {i} of {len(got)}"


X = np.arange(12.0).reshape(3, 4)
I = np.arange(12).reshape(3, 4)
AT = np.array([0, 2, 2])

# -- random programs -------------------------------------------------------------------------------


def _key(x: Any, codes: Iterator[int]) -> Any:
    """Slices, ints, Ellipsis and None, as the codes say."""
    key: list[Any] = []
    for n in x.shape:
        kind, c = next(codes) % 8, next(codes)
        if kind <= 1:
            key.append(slice(None))
        elif kind <= 4:
            start = [None, c % 5 - 2][c // 5 % 2]
            stop = [None, c // 3 % 6 - 2][c // 7 % 2]
            key.append(slice(start, stop, [1, 1, 2, -1, -2][c % 5]))
        elif kind == 5 and n:
            key.append(c % (2 * n) - n)
        elif kind == 6:
            key += [None, slice(None)]
        else:
            return (*key, Ellipsis)
    return tuple(key)


def _indices(x: Any, c: int) -> Any:
    if not x.ndim or not x.shape[0]:
        return ()
    n = x.shape[0]
    if c % 3 == 0:
        return np.array([c % n, c // 3 % n, c // 7 % n - n])
    return [c % n, c // 5 % n] if c % 3 == 1 else [i % 2 == c % 2 for i in range(n)]


def _fits(value: Any, shape: tuple[int, ...]) -> bool:
    try:
        return np.broadcast_shapes(value.shape, shape) == shape
    except ValueError:
        return False


def _shape(x: Any, c: int) -> tuple[int, ...]:
    n = x.size
    found = [(n,), (1, *x.shape), (*x.shape, 1), x.shape[::-1], (-1, 1), (-1,)]
    for k in (2, 3):
        if n and n % k == 0:
            found += [(k, n // k), (n // k, k)]
    return found[c % len(found)]


def _made(kind: int, x: Any, y: Any, c: int, codes: Iterator[int]) -> Any:
    """An array made of x, a view of it or a new one."""
    if kind <= 2:
        return x[_key(x, codes)]
    if kind == 3:
        return x.T
    if kind == 4:
        return x.reshape(_shape(x, c))
    if kind == 5:
        return x.ravel() if c % 2 else x.flatten()
    if kind == 6:
        return x[_indices(x, c)]
    if kind == 7:
        return [x.copy, x.squeeze, x.view][c % 3]()
    if kind == 8 and x.ndim > 1:
        axis = c % x.ndim
        return [x.swapaxes(0, axis), np.moveaxis(x, 0, -1), np.flip(x, axis)][c // 3 % 3]
    if kind == 9:
        return np.add(x, y) if _fits(y, x.shape) else x * 2
    return np.broadcast_to(x, (2, *x.shape)) if kind == 10 else np.atleast_2d(x)


def _write(kind: int, x: Any, y: Any, c: int, codes: Iterator[int]) -> None:
    value = y if _fits(y, x.shape) else c
    if kind <= 1:
        if c % 4 == 0:
            x += value
        elif c % 4 == 1:
            x -= value
        elif c % 4 == 2:
            x *= 3
        else:
            np.add(x, value, out=x)
    elif kind <= 4:
        key = _key(x, codes)
        x[key] = y if _fits(y, np.shape(x[key])) else c
    elif kind == 5:
        x[_key(x, codes)] += 1 + c % 7
    elif kind == 6:
        key = _indices(x, c)
        x[key] = y if _fits(y, np.shape(x[key])) else c
    elif kind == 7:
        np.copyto(x, value + 0)
    elif kind == 8:
        np.copyto(x, c, where=x > c % 9)
    elif x.size:
        x.flat[c % x.size] = 9


def run(steps: Sequence[Sequence[int]], args: Sequence[Any]) -> list[Any]:
    """All arrays of a program: the arguments, then those that its steps make."""
    pool = list(args)
    for codes in steps:
        following = iter(codes)
        x, y = (pool[next(following) % len(pool)] for _ in range(2))
        kind, c = next(following) % 22, next(following)
        if kind < 12:
            made = _made(kind, x, y, c, following)
            if isinstance(made, np.ndarray):
                pool.append(made)
        elif isinstance(x, np.ndarray):
            _write(kind - 12, x, y, c, following)
    return pool


_SHAPES = [(4,), (3, 4), (2, 3), (6,), (2, 3, 2), (), (0, 3), (1, 4), (3, 1), (3, 3)]
_DTYPES = [np.int64, np.float64, np.int32]


@st.composite
def arguments(draw: st.DrawFn) -> Array:
    shape = draw(st.sampled_from(_SHAPES))
    x = np.arange(int(np.prod(shape)), dtype=draw(st.sampled_from(_DTYPES))).reshape(shape)
    layout = draw(st.sampled_from("CCFSR"))
    if layout == "F":
        x = np.asfortranarray(x)
    if layout == "S" and shape:
        wide = np.zeros(tuple(2 * n for n in shape), x.dtype)
        wide[tuple(slice(None, None, 2) for _ in shape)] = x
        x = wide[tuple(slice(None, None, 2) for _ in shape)]
    x.flags.writeable = layout != "R"
    return x


CODES = st.lists(st.integers(0, 4095), min_size=12, max_size=12)


@contextmanager
def _allowing_doubt_about_strides() -> Iterator[None]:
    """What is refused because only the strides of an argument decide it."""
    try:
        yield
    except errors.MutationError as error:
        if "depends on the strides" not in str(error):
            raise


@settings(max_examples=60, deadline=None)
@given(st.lists(arguments(), min_size=1, max_size=3), st.lists(CODES, min_size=1, max_size=8))
def test_random_programs(args: list[Array], steps: list[list[int]]) -> None:
    def program(*args: Any) -> Any:
        return run(steps, args)

    try:
        with np.errstate(all="ignore"):
            program(*(twin(x) for x in args))
    except (ValueError, TypeError) as error:
        kind = ValueError if isinstance(error, ValueError) else TypeError
        with pytest.raises(kind):
            jitnet.jit(program)(*(twin(x) for x in args))
        return
    known = all(x.flags.c_contiguous or x.flags.f_contiguous for x in args)
    with _allowing_doubt_about_strides():
        check_changes(program, *args, sharing=known)  # of other layouts, reshapes may be copies


# -- views -----------------------------------------------------------------------------------------


def test_an_array_written_with_itself() -> None:
    def backwards(x: Any) -> Any:
        x[::-1] = x
        return x

    def rows(x: Any) -> Any:
        x[:1] = 3
        x[1::-1] = x[:2]
        return x

    def transposed(x: Any) -> Any:
        x[:3, :3] = x[:3, :3].T
        x[:, 1:] = x[:, :-1]
        return x + 1

    for fn in (backwards, rows, transposed):
        for x in (X, np.asfortranarray(X), I):
            check_changes(fn, x)


def test_what_one_arm_of_a_branch_writes_over_is_there_for_the_other() -> None:
    def program(x: Any, y: Any, j: Any) -> Any:
        y.fill(j)
        if j == 1:
            y[:] = x
        return y

    for j in (0, 1):
        check_changes(program, X, I, j)


def test_new_arrays_lie_as_their_operands() -> None:
    """Whether a reshape copies depends on it, and so who sees what is written."""

    def through(x: Any) -> Any:
        y = x + x
        z = y.ravel()
        z[0] = 99.0
        u = x.astype(np.float32).reshape(-1)
        u[1] = 7.0
        return y, z, u

    def copied(x: Any) -> Any:
        y = x.copy()
        z = y.reshape(-1)
        z[0] = 99.0
        return y, z

    for x in (X, np.asfortranarray(X), X.T, np.asfortranarray(X).T):
        check_changes(through, x)
        check_changes(copied, x)
    check_changes(lambda x: [(x.T * 2).ravel(), (x.T + x.T).reshape(-1)], X)


def test_a_reshape_that_only_the_strides_decide_is_not_written_to() -> None:
    def program(x: Any) -> Any:
        y = x.reshape(-1)
        y[0] = 1.0
        return y

    for x in (X[:, ::2], X[::2]):
        with pytest.raises(errors.MutationError, match="depends on the strides"):
            jitnet.jit(program)(x)
    check(lambda x: x.reshape(-1) + 1, X[:, ::2])
    check_changes(lambda x: x.ravel(), X[:, ::2])


def test_empty_boxes_write_nothing() -> None:
    def program(x: Any) -> Any:
        y = np.atleast_2d(x)
        y[:0, -2] += 1
        x[1:1] = 5.0
        return x

    check_changes(program, np.arange(6.0))


def test_shares_memory() -> None:
    def known(x: Any) -> Any:
        y = x[1:]
        return [
            *(np.shares_memory(x, y), np.shares_memory(x, x.copy()), np.shares_memory(y, y + 1)),
            *(np.shares_memory(x[:1], y), np.may_share_memory(x[::2], x[1::2])),
            *(np.shares_memory(x[:, ::2], x[:, 1::2]), np.shares_memory(x.T, x[-1])),
            *(np.shares_memory(x[::-1], x[:1]), np.shares_memory(x.reshape(-1), x[2:])),
            np.shares_memory(x[:0], x),
        ]

    check(known, X)
    with pytest.raises(errors.UnsupportedFunctionError, match="only the caller knows"):
        jitnet.jit(lambda x, y: np.shares_memory(x, y))(X, X + 1)


# -- ufunc.at --------------------------------------------------------------------------------------

_AT = [
    *(np.add, np.subtract, np.multiply, np.maximum, np.minimum, np.fmax, np.power, np.true_divide),
    *(np.floor_divide, np.remainder, np.hypot, np.logical_and, np.greater, np.copysign),
]
_AT_INTS = [np.bitwise_xor, np.bitwise_or, np.gcd, np.lcm, np.left_shift, np.add, np.true_divide]


def _changed_at(ufuncs: Sequence[np.ufunc], key: Any, *b: Any) -> Callable[[Any], Any]:
    def program(x: Any) -> Any:
        found = []
        for ufunc in ufuncs:
            y = x.copy()
            ufunc.at(y, key, *b)
            found.append(y)
        return found

    return program


@pytest.mark.parametrize("key", [AT, (AT, 1), (slice(1, None), AT), [[0, 1], [1, 0]], 1, (2, 3)])
def test_at(key: Any) -> None:
    check(_changed_at(_AT, key, 1.5), X + 1)
    check(_changed_at(_AT_INTS, key, 3), I)
    check(_changed_at([np.negative, np.square, np.sqrt, np.isnan, np.logical_not], key), X)
    check(_changed_at([np.invert, np.negative, np.sqrt], key), I)


def test_at_casts_as_it_likes() -> None:
    check(_changed_at([np.add, np.maximum, np.multiply], AT, [1.5, 2.5, 300.25]), I[:, :3])
    check(_changed_at([np.add, np.subtract], AT, 300), np.zeros(4, np.int8))
    check(_changed_at([np.subtract], AT, 1), np.zeros(4, np.uint8))
    check(_changed_at([np.add, np.logical_or, np.less], AT, True), np.zeros(4, np.bool_))
    check(_changed_at([np.add], AT, np.float64(1) + 1e-9), np.zeros(4, np.float32))


def test_at_changes_arguments_and_views() -> None:
    def program(x: Any, i: Any, b: Any) -> Any:
        np.maximum.at(x[:, 1], i, b)
        np.add.at(x, x > 8, 0.5)
        np.multiply.at(x.T, (i, 0), b)
        return x

    check_changes(program, X, AT, np.array([3.0, 7.0, 5.0]))
    check_raises(lambda x: np.add.at(x, [9], 1.0), X)
    check_raises(lambda x, i: np.maximum.at(x, i, 1.0), X, np.array([9]))
    check_raises(lambda x: np.divmod.at(x, [0], 1.0), X)
    check_raises(lambda x: np.add.at(x, [0]), X)
    check_raises(lambda x: np.bitwise_and.at(x, [0], 1), X)


def test_at_has_gradients() -> None:
    i = np.array([0, 2, 2, 1, 0])

    def best(b: Any) -> Any:
        x = np.zeros(3)
        np.maximum.at(x, i, b)
        np.multiply.at(x, i, b)
        return (x * np.array([1.0, 2.0, 3.0])).sum()

    b = np.array([0.5, 1.5, 2.5, 0.25, 3.5])
    steps = [(best(b + h) - best(b - h)) / 2e-6 for h in 1e-6 * np.eye(5)]
    np.testing.assert_allclose(jitnet.grad(best)(b), steps, rtol=1e-6)


# -- methods of ufuncs along an axis ---------------------------------------------------------------

_ALONG = [
    *(np.maximum, np.minimum, np.fmax, np.fmin, np.subtract, np.true_divide, np.hypot),
    *(np.logical_or, np.logical_xor, np.add, np.multiply),
]
_ALONG_INTS = [
    *(np.bitwise_xor, np.bitwise_and, np.bitwise_or, np.gcd, np.lcm, np.subtract, np.maximum),
    *(np.logical_and, np.add, np.multiply, np.floor_divide),
]
CUBE = np.sin(np.arange(24.0)).reshape(2, 3, 4)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_accumulate(axis: int) -> None:
    check(lambda x: [u.accumulate(x, axis) for u in _ALONG], CUBE)
    check(lambda x: [u.accumulate(x, axis=axis) for u in _ALONG_INTS], I.reshape(2, 3, 2) + 1)
    check(lambda x: [u.accumulate(x, axis) for u in (np.less, np.logical_or, np.add)], CUBE > 0)
    check(lambda x: np.maximum.accumulate(x, axis, np.float32), CUBE)
    check(lambda x: [np.power.accumulate(x[0]), np.true_divide.accumulate(x, axis)], I + 1)
    check(lambda x: np.maximum.accumulate(x, axis), np.zeros((2, 0, 3)))


@pytest.mark.parametrize("axis", [0, 1, -1, None, (0, 2), (1, 2)])
def test_reduce(axis: Any) -> None:
    ordered = [np.subtract, np.true_divide]
    free = [u for u in _ALONG if u not in ordered and u is not np.hypot]
    check(lambda x: [u.reduce(x, axis) for u in free], np.round(CUBE * 8))
    ints = [u for u in _ALONG_INTS if u not in (np.subtract, np.floor_divide, np.lcm)]
    check(lambda x: [u.reduce(x, axis, keepdims=True) for u in ints], I.reshape(2, 3, 2) + 1)
    if isinstance(axis, int):
        check(
            lambda x: [u.reduce(x, axis) for u in (*ordered, np.hypot, np.logaddexp)], CUBE, ulp=1
        )


def test_reduce_with_options() -> None:
    def program(x: Any) -> Any:
        return [
            *(np.bitwise_and.reduce(x, 1, initial=6), np.bitwise_or.reduce(x, 1, where=x > 4)),
            *(np.gcd.reduce(x, axis=0, initial=12), np.logical_and.reduce(x, 1, initial=False)),
            *(np.maximum.reduce(x, dtype=np.float32), np.subtract.reduce(x, 0, np.float64)),
            *(np.bitwise_xor.reduce(x[:0]), np.lcm.reduce(x[0, :0], initial=7)),
            np.bitwise_or.reduce(x, axis=(0, 1), keepdims=True),
        ]

    check(program, I)
    check_raises(lambda x: np.subtract.reduce(x, axis=(0, 1)), X)
    check_raises(lambda x: np.subtract.reduce(x[:0]), X)
    check_raises(lambda x: np.lcm.reduce(x, where=x > 1), I)
    check_raises(lambda x: np.less.reduce(x), X)
    check_raises(lambda x: np.negative.reduce(x), X)
    check_raises(lambda x: np.maximum.accumulate(x), np.float64(1.0))


def test_reduceat() -> None:
    ufuncs = [np.subtract, np.bitwise_xor, np.gcd, np.add, np.maximum, np.logical_xor]
    bounds = np.array([0, 2, 1, 3, 3, 0])
    check(lambda x, i: [u.reduceat(x, i, axis=1) for u in ufuncs], I + 1, bounds)
    check(lambda x: np.true_divide.reduceat(x, [0, 2, 1]), X + 1)
    check(lambda x: np.add.reduceat(x, [0, 1]), I.astype(np.int8))
    check_raises(lambda x, i: np.subtract.reduceat(x, i), X, np.array([0, 3]))


def test_gradients_along_an_axis() -> None:
    def program(x: Any) -> Any:
        y = np.maximum.accumulate(x, axis=1) * np.subtract.accumulate(x, axis=0)
        return (y**2).sum() + np.hypot.reduce(x, axis=None) + np.subtract.reduceat(x, [0, 1])[0, 2]

    x = CUBE[0]
    steps = [(program(x + h) - program(x - h)) / 2e-6 for h in 1e-6 * np.eye(12).reshape(12, 3, 4)]
    np.testing.assert_allclose(jitnet.grad(program)(x).ravel(), steps, rtol=1e-5, atol=1e-7)


# -- repeat and resize -----------------------------------------------------------------------------


def test_repeat_with_computed_counts() -> None:
    def program(x: Any, n: Any) -> Any:
        return [
            *(np.repeat(x, n, axis=0), x.repeat(n, 0).sum(), np.repeat(x[:, 1], n)),
            *(np.repeat(x[0, :3], n + 1), np.repeat(x, n[:1]), np.repeat(x, [2, 0, 1], axis=0)),
            *(np.repeat(x, 2), np.repeat(x, 3, axis=1), np.repeat(x, 0, 0), np.repeat(5.0, 2)),
            np.repeat(x.T, n, axis=1),
        ]

    for n in ([0, 2, 3], [0, 0, 0], [1, 1, 1]):
        check(program, X, np.array(n))
    check(lambda x, n: np.repeat(x, n, 0), X, np.array([3, 1, 2], np.uint8))
    check_raises(lambda x, n: np.repeat(x, n, 0), X, np.array([1, -1, 2]))
    check_raises(lambda x, n: np.repeat(x, n, 0), X, np.array([1, 2]))
    check_raises(lambda x, n: np.repeat(x, n, 0), X, np.array([1.0, 2.0, 1.0]))
    slope = jitnet.grad(lambda x: (np.repeat(x, np.array([0, 2, 3])) ** 2).sum())(X[1, :3])
    np.testing.assert_array_equal(slope, 2 * X[1, :3] * [0, 2, 3])


def test_resize() -> None:
    check(lambda x: [np.resize(x, s) for s in ((5, 4), 7, (2, 2), (3, 0), 0, (1, 30))], X)
    check(lambda x: [np.resize(x[:0], (2, 2)), np.resize(x[0, 0], (2, 3))], X)
    check_raises(lambda x: np.resize(x, (-2, 3)), X)


# -- x.flat and loops over indices -----------------------------------------------------------------


def test_flat_is_read() -> None:
    """`np.ndarray.flat`."""

    def program(x: Any, i: Any) -> Any:
        f = x.T.flat
        return [
            *(x.flat[5], f[5], f[-2], x.flat[2:9:2], f[i], f[[1, 3]], f[...], f[:], x.flat[(1,)]),
            *(x.flat[(x > 3).ravel()], np.array(f), np.sum(f), len(f), f == 3, x.flat.copy()),
            *(list(x.flat), max(x.flat), sum(x.T.flat), np.add(f, 1), [e + 1 for e in x.flat]),
            isinstance(f, np.flatiter),
        ]

    check(program, X, AT)
    check(program, np.asfortranarray(X), AT)
    check_raises(lambda x: x.flat[12], X)
    check_raises(lambda x: x.flat[1, 2], X)


def test_flat_is_written() -> None:
    def program(x: Any, i: Any) -> Any:
        x.flat[3] = 7.0
        x.T.flat[-1] += 5.0
        x[:, 1:].flat[::4] = [1.0, 2.0]
        x.flat[i] = [8.0, 9.0]
        x.flat[[5, 6]] = 4.0
        y = x.copy()
        y.flat = [1.0, 2.0]
        z = x.T.copy()
        z.flat = x[1]
        x.flat[x.ravel() > 8] = -1
        return x, y, z

    check_changes(program, X, AT)
    check_changes(program, np.asfortranarray(X), AT)
    check_raises(lambda x: x.flat.__setitem__(12, 1.0), X)


def test_loops_over_elements() -> None:
    def program(x: Any) -> Any:
        total, weighted = 0.0, np.zeros(x.shape)
        for (i, j), e in np.ndenumerate(x):
            total += e * (i + 2 * j)
        for index in np.ndindex(x.shape):
            weighted[index] = x[index] * index[0]
        for i, j in np.ndindex(*x.shape):
            weighted[i, j] -= j
        for k, e in enumerate(x.flat):
            weighted.flat[k] += e
        return total, weighted

    check(program, X)
    check(program, np.arange(60.0).reshape(6, 10))
    assert len(str(jitnet.jit(program).lower(np.ones((20, 30))).ir)) < 8000  # loops stay loops
    check(lambda x: [list(np.ndenumerate(x)), list(np.ndindex(2, 2)), list(np.ndindex(()))], X)
    check(lambda x: [v for _, v in np.ndenumerate(x[0, 0])], X)
    with pytest.raises(errors.UnsupportedFunctionError, match="nditer"):
        jitnet.jit(lambda x: list(np.nditer(x)))(X)


# -- functions that write --------------------------------------------------------------------------


def test_put_and_its_like() -> None:
    def program(x: Any, i: Any) -> Any:
        x.put(i, [9.0, 8.0])
        np.put(x, i + 11, [7.0, 6.0], mode="wrap")
        np.put(x, i * 100 - 50, 5.0, mode="clip")
        np.put_along_axis(x, np.argmax(x, 1, keepdims=True), 99, 1)
        np.putmask(x, x > 8, [1.0, 2.0, 3.0])
        np.place(x, x == 7, [4.0, 5.0])
        np.copyto(x, 5, where=x < 1)
        np.copyto(x[:, 1:], np.arange(3.0), where=[True, False, True])
        return x, np.apply_over_axes(np.sum, x, [0, 1])

    check_changes(program, X, AT)
    check_changes(lambda x: np.nan_to_num(x, copy=False, nan=1.0), np.array([np.nan, 2.0, np.inf]))
    check_raises(lambda x, i: np.put(x, i, 1.0), X, np.array([12]))
    check_raises(lambda x: np.put(x, [1], 1.0, mode="none"), X)
    check_raises(lambda x: x.itemset(3, 1.0), X)


def test_fill_diagonal() -> None:
    def program(x: Any, y: Any, z: Any) -> Any:
        np.fill_diagonal(x, 5.0)
        np.fill_diagonal(y, [1.0, 2.0], wrap=True)
        np.fill_diagonal(z[1:], np.array([1.0, 2.0, 3.0, 4.0]))
        np.fill_diagonal(y[::-1], 7)
        return x, y, z

    check_changes(program, np.zeros((3, 4)), np.zeros((9, 3)), np.zeros((4, 2)))
    check_changes(lambda x: np.fill_diagonal(x, 2), np.zeros((3, 3, 3)))
    check_raises(lambda x: np.fill_diagonal(x, 1), np.zeros(3))
    check_raises(lambda x: np.fill_diagonal(x, 1), np.zeros((3, 3, 2)))


# -- out= and where= -------------------------------------------------------------------------------

ROW, COLUMN, SAME, SQUARE = np.zeros(4), np.zeros(3), np.zeros((3, 4)), np.zeros((3, 3))

OUTS: list[tuple[Callable[..., Any], Array]] = [
    (lambda x, o: np.sum(x, 0, out=o), ROW),
    (lambda x, o: np.sum(x, 0, None, o), ROW),
    (lambda x, o: x.sum(0, None, o), ROW),
    (lambda x, o: x.sum(0, out=o), np.zeros(4, np.int64)),
    (lambda x, o: np.prod(x + 0.5, 0, out=o), np.zeros(4, np.float32)),
    (lambda x, o: np.sum(x > 3, 0, out=o), ROW),
    (lambda x, o: x.mean(1, None, o), COLUMN),
    (lambda x, o: np.mean(x, 0, out=o), np.zeros(4, np.int32)),
    (lambda x, o: np.std(x, 1, None, o), COLUMN),
    (lambda x, o: np.var(x, 1, out=o), COLUMN),
    (lambda x, o: np.max(x, 1, o), COLUMN),
    (lambda x, o: x.min(axis=1, out=o), np.zeros(3, np.int8)),
    (lambda x, o: np.ptp(x, 1, o), COLUMN),
    (lambda x, o: np.argmax(x, 1, o), np.zeros(3, np.int64)),
    (lambda x, o: np.any(x > 5, 1, out=o), np.zeros(3, np.bool_)),
    (lambda x, o: np.all(x > 5, 1, o), np.zeros(3, np.bool_)),
    (lambda x, o: np.cumsum(x, 0, out=o), SAME),
    (lambda x, o: x.cumprod(1, None, o), SAME),
    (lambda x, o: np.clip(x, 2, 5, o), SAME),
    (lambda x, o: x.clip(2, 5, out=x), SAME),
    (lambda x, o: np.round(x / 3, 1, o), SAME),
    (lambda x, o: np.dot(x, x.T, o), SQUARE),
    (lambda x, o: np.matmul(x, x.T, o), SQUARE),
    (lambda x, o: np.matmul(x, x.T, out=o), np.zeros((2, 3, 3))),
    (lambda x, o: np.einsum("ij,kj->ik", x, x, out=o), SQUARE),
    (lambda x, o: np.outer(x[0], x[1], o), np.zeros((4, 4))),
    (lambda x, o: np.trace(x, 0, 0, 1, None, o), np.zeros(())),
    (lambda x, o: np.take(x, [0, 2, 2], 0, o), SAME),
    (lambda x, o: x.take([1, 0], 1, out=o), np.zeros((3, 2), np.int64)),
    (lambda x, o: np.compress([True, False, True], x, 0, o), np.zeros((2, 4))),
    (lambda x, o: np.choose([0, 1, 0, 1], [x[0], x[1]], o), ROW),
    (lambda x, o: np.concatenate([x, x], 0, o), np.zeros((6, 4))),
    (lambda x, o: np.concatenate([x, x], out=o, casting="unsafe"), np.zeros((6, 4), np.int64)),
    (lambda x, o: np.stack([x, x], 0, o), np.zeros((2, 3, 4))),
    (lambda x, o: np.median(x, 1, o), COLUMN),
    (lambda x, o: np.quantile(x, 0.5, 1, o), COLUMN),
    (lambda x, o: np.nansum(x, 0, out=o), ROW),
    (lambda x, o: np.add(x, 1, o), SAME),
    (lambda x, o: np.add(x[0], 1, out=o), SAME),
    (lambda x, o: np.add(x, 1.5, out=o, casting="unsafe"), np.zeros((3, 4), np.int64)),
    (lambda x, o: np.add(x, 1, out=o, where=x > 4), SAME),
    (lambda x, o: np.divide(1, x, out=o, where=x != 0), SAME),
    (lambda x, o: np.sqrt(x, out=o, where=[True, False, True, True]), SAME),
    (lambda x, o: np.divmod(x, 3, out=(o, x)), SAME),
    (lambda x, o: np.modf(x, o), SAME),
    (lambda x, o: np.frexp(x, o, None), SAME),
    (lambda x, o: np.add.reduce(x, 0, None, o), ROW),
    (lambda x, o: np.bitwise_xor.reduce(x.astype(int), 0, out=o), np.zeros(4, np.int64)),
    (lambda x, o: np.maximum.accumulate(x, 0, None, o), SAME),
    (lambda x, o: np.add.accumulate(x, 1, out=o), np.zeros((3, 4), np.int64)),
    (lambda x, o: np.add.reduceat(x, [0, 1], 0, None, o), np.zeros((2, 4))),
    (lambda x, o: np.multiply.outer(x[0], x[1], out=o), np.zeros((4, 4))),
    (lambda x, o: np.add(x[:, 1:], x[:, :-1], out=x[:, 1:]), SAME),
    (lambda x, o: np.sum(x, 0, out=o[1]), SAME),
]


@pytest.mark.parametrize("i", range(len(OUTS)))
def test_out(i: int) -> None:
    fn, out = OUTS[i]
    check_changes(lambda x, o: (fn(x, o), x), X, out)


def test_out_that_does_not_fit() -> None:
    for fn, out in (
        (lambda x, o: np.sum(x, 0, out=o), COLUMN),
        (lambda x, o: np.sum(x, 0, out=o), SAME),
        (lambda x, o: np.cumsum(x, 0, out=o), np.zeros((2, 3, 4))),
        (lambda x, o: np.add(x, 1, out=o), np.zeros((3, 4), np.int64)),
        (lambda x, o: np.add(x, 1, out=o), ROW),
        (lambda x, o: np.dot(x, x.T, out=o), np.zeros((3, 3), np.float32)),
        (lambda x, o: np.concatenate([x, x], out=o), np.zeros((6, 4), np.int64)),
        (lambda x, o: np.argmax(x, 0, out=o), ROW),
        (lambda x, o: np.einsum("ij->j", x, out=o), np.zeros(4, np.float32)),
        (lambda x, o: np.round(x, out=o), np.zeros((3, 4), np.int64)),
    ):
        check_raises(fn, X, out)
    check_raises(lambda x, o: np.add(x, 1, out=o), X, np.broadcast_to(ROW, (3, 4)))


def test_where_without_out() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # NumPy's, of memory that is not set
        check(lambda x: np.where(x > 4, np.add(x, 1, where=x > 4), 0.0), X)
        check(lambda x: np.add(x, 1, where=np.ones((2, 3, 4), bool)), X)


def test_windows_see_what_is_written_and_are_read_only() -> None:
    def smooth(x: Any) -> Any:
        windows = np.lib.stride_tricks.sliding_window_view(x, 3)
        x[4] = 100.0
        return windows.mean(axis=1), windows[::2, 1] + 1

    def write(x: Any) -> None:
        np.lib.stride_tricks.sliding_window_view(x, 3)[0, 0] = 1.0

    check_changes(smooth, np.arange(10.0))
    check_raises(write, np.arange(10.0))
