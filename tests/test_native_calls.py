"""Calls that come often go by native entries: with the same answers, and never stale ones."""

from __future__ import annotations

import copy
import gc
import sys
import threading
import weakref
from collections import OrderedDict
from typing import Any, NamedTuple

import numpy as np
import pytest

import jitnet
from jitnet import errors, grad, jit
from jitnet.frontend import jitted
from jitnet.frontend.context import Trace, run_traced
from jitnet.runtime.vectorcall import NativeCallable

pytestmark = pytest.mark.skipif(NativeCallable is object, reason="not this interpreter")

X = np.arange(5.0)


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jitted, "NATIVE_AFTER", 1)


def warm(f: Any, *args: Any, **kwargs: Any) -> Any:
    """`f` with an entry for such calls."""
    for _ in range(3):
        f(*args, **kwargs)
    assert f._entry is not None
    return f


def is_native(f: Any, *args: Any, **kwargs: Any) -> bool:
    before = f._native_hits.value
    f(*args, **kwargs)
    return bool(f._native_hits.value > before)


def same(a: Any, b: Any) -> None:
    assert type(a) is type(b)
    if isinstance(a, dict):
        assert list(a) == list(b)
        a, b = list(a.values()), list(b.values())
    if isinstance(a, list | tuple):
        assert len(a) == len(b)
        for x, y in zip(a, b):
            same(x, y)
    elif isinstance(a, np.ndarray | np.generic):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        np.testing.assert_array_equal(a, b)
    else:
        assert a == b


class Pair(NamedTuple):
    x: Any
    rest: Any


def pairs(p: Pair, *, scale: float = 1.0) -> Any:
    return Pair({"y": p.x * scale, "n": None, "s": "text"}, [p.x.sum(), *p.rest, (p.x,), {}])


def halved(n: int) -> list[int]:
    found = []
    while n > 0:
        found.append(n)
        n //= 2
    return found


def grown(x: Any) -> Any:
    """Lists of Python's and NumPy's numbers, bools, tuples and arrays; one of them is empty."""
    sums, signs, steps, rows, none = [], [], [], [], []
    for k, v in enumerate(x):
        if v > 0:
            sums.append(float(v) + 0.5)
            signs.append(bool(v > 2))
            steps.append((k, v, 2j * v))
            rows.append(np.array([v, -v]))
        if v > 10:
            none.append(v)
    return {"sums": sums, "rest": (signs, steps, rows, none, halved(len(steps)))}


@pytest.mark.parametrize(
    ("fn", "args", "kwargs"),
    [
        (lambda x: x * 2 + 1, (X,), {}),
        (lambda x: x.sum(), (X,), {}),
        (lambda x: x * 2, (np.float32(2.5),), {}),
        (lambda x: x * 2, (np.array(2.5),), {}),
        (lambda n: (n + 1, n > 1, n / 2), (3,), {}),
        (lambda x: x * 2, (0.5,), {}),
        (lambda x, n: x[:n] * 2, (X, 3), {}),
        (lambda x, mode: x * 2 if mode == "twice" else x + 1, (X, "twice"), {}),
        (lambda x, flag, nothing: x + 1 if flag else x, (X, True, None), {}),
        (lambda x: x, (X,), {}),
        (lambda x: (x, x + 1), (X,), {}),
        (lambda x: x @ x.T, (np.arange(12.0).reshape(3, 4),), {}),
        (lambda x: x + 1, (np.asfortranarray(np.arange(12.0).reshape(3, 4)),), {}),
        (lambda x: x + 1, (np.arange(24.0).reshape(4, 6)[::2, ::-1],), {}),
        (lambda x: x + 1, (np.zeros((0, 3)),), {}),
        (lambda x: x + 1, (np.zeros(1 << 17),), {}),
        (pairs, (Pair(X, [1.5, None, 3]),), {"scale": 2.5}),
        (lambda *a, **k: (a[0], {**a[1]}, k["z"] * a[0]), (X, {"a": X}), {"z": 2}),
        (halved, (1000,), {}),
        (halved, (0,), {}),
        (grown, (X - 1.5,), {}),
        (grown, (X.astype(np.float32),), {}),
        (lambda z: (z * 2, abs(z), z.real), (1.5 - 2j,), {}),
        (lambda z: (z * 2, z + X), (np.complex64(1.5 - 2j),), {}),
        (lambda z, x: (x.__setitem__(0, z), z * x.sum())[1], (2j, X.astype(complex)), {}),
    ],
)
def test_results_are_the_same(fn: Any, args: Any, kwargs: Any) -> None:
    f = warm(jit(fn), *args, **kwargs)
    assert is_native(f, *args, **kwargs)
    same(f(*args, **kwargs), jit(fn)(*args, **kwargs))


def test_arguments_of_other_kinds_get_entries_of_their_own() -> None:
    f = jit(lambda x, n=2: x * n)
    kinds: list[tuple[Any, ...]] = [(X,), (X, 3), (X, 3.0), (np.arange(4, dtype="f4"), 3), (7,)]
    for args in kinds:
        warm(f, *args)
    for args in kinds:
        assert is_native(f, *args)
        same(f(*args), f.__wrapped__(*args))
    same(f(np.arange(3), n=2), 2 * np.arange(3))
    same(f(True, 1 << 70), 1 << 70)


def test_an_int_that_became_static_is_told_apart() -> None:
    f = jit(lambda x, n: x * (n if len(x) < 5 else len([0] * n) - 1))
    small = X[:3].copy()
    warm(f, small, 4)
    warm(f, X, 4)
    for n in (4, 5, 6):
        same(f(small, n), small * n)
        same(f(X, n), X * (n - 1))


def test_what_python_keeps() -> None:
    for fn, args in (
        (lambda x: x.copy(), (X,)),
        (lambda x: x[1:], (X,)),
        (lambda x: (x[0, ...], (x * 2)[1, ...]), (X,)),
        (lambda x: OrderedDict(x=x + 1), (X,)),
        (lambda x: x["x"] + 1, (OrderedDict(x=X),)),
        (lambda pair: (pair, pair[0] + 1), ([X, 2.0],)),
    ):
        f = jit(fn)
        for _ in range(4):
            same(f(*args), fn(*args))
        assert f._entry is None


class Plain(NamedTuple):
    x: Any
    y: Any


class Doubling(tuple):  # type: ignore[type-arg]
    _fields = ("x",)

    def __new__(cls, x: Any) -> Doubling:
        return super().__new__(cls, (x,))

    @classmethod
    def _make(cls, xs: Any) -> Doubling:
        return tuple.__new__(cls, xs)


def test_classes_that_only_look_like_named_tuples() -> None:
    jitnet.register_pytree_node(Plain, lambda p: ((p.x,), p.y), lambda y, xs: Plain(xs[0], y))
    f, g = jit(lambda p: Plain(p.x * 2, p.y)), jit(lambda x: Doubling(x * 2))
    for y in (1, 2, 1, 1, 2):
        out = f(Plain(X, y))
        assert out.y == y
        same(g(X), Doubling(2 * X))
    assert f._entry is g._entry is None


# -- what is read from outside ---------------------------------------------------------------------

scale = 2.0
weights = np.ones(5)


def test_a_changed_global_is_seen() -> None:
    global scale, weights
    f = warm(jit(lambda x: x * scale + weights), X)
    weights[:] = 3.0
    assert is_native(f, X)
    for scale in (3.0, 4.0, 2.0, 3.0):
        for weights in (np.ones(5), np.zeros(5)):
            for _ in range(3):
                same(f(X), X * scale + weights)
    scale, weights = 2.0, np.ones(5)


def test_a_builtin_that_is_hidden_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    f = warm(jit(lambda x: x + len(x)), X)
    assert f._entry is not None
    assert is_native(f, X)
    monkeypatch.setitem(globals(), "len", lambda x: 100)
    assert not is_native(f, X)
    same(f(X), X + 100)
    monkeypatch.undo()
    monkeypatch.setattr(jitted, "NATIVE_AFTER", 1)
    assert is_native(f, X)
    same(f(X), X + 5)


def test_changed_cells_containers_attributes_and_shapes_are_seen() -> None:
    class Model:
        factor = 2.0

    factor, table, model, shape = 1.0, {"a": 1.0}, Model(), np.zeros((2, 3))
    f = jit(lambda x: (x * factor + table["a"]) * model.factor * shape.shape[0])

    def check() -> None:
        for _ in range(4):
            same(f(X), (X * factor + table["a"]) * model.factor * shape.shape[0])

    check()
    assert is_native(f, X)
    factor = 3.0
    check()
    table["a"] = 5.0
    check()
    Model.factor = 8.0
    check()
    shape.shape = (3, 2)
    check()


def test_a_changed_helper_is_seen() -> None:
    namespace: dict[str, Any] = {}
    exec("def helper(x): return x + 1\ndef f(x): return helper(x)", namespace)
    f = warm(jit(namespace["f"]), X)
    assert is_native(f, X)
    exec("def helper(x): return x - 1", namespace)
    same(f(X), X - 1)


# -- inside of traces ------------------------------------------------------------------------------


def test_inside_of_a_trace_the_plain_function_runs() -> None:
    inner = warm(jit(lambda x: x * weights), X)
    constant = X.copy()
    outer = jit(lambda y: y + inner(constant))
    same(outer(X), X + X * weights)
    constant[:] = 1.0  # not baked in
    same(outer(X), X + weights)
    same(grad(lambda y: (y * inner(X)).sum())(X), X * weights)
    same(grad(lambda y: inner(y).sum())(X), weights)
    assert is_native(inner, X)


def test_while_any_thread_traces_calls_go_by_python() -> None:
    f = warm(jit(lambda x: x + 1), X)
    began, finish = threading.Event(), threading.Event()

    def slow(x: Any) -> Any:
        began.set()
        finish.wait(10)
        return x

    trace = Trace("t", None)
    thread = threading.Thread(target=lambda: run_traced(trace, lambda: slow(0)))
    thread.start()
    began.wait(10)
    assert not is_native(f, X)
    same(f(X), X + 1)
    finish.set()
    thread.join()
    assert is_native(f, X)
    with pytest.raises(ZeroDivisionError):
        run_traced(Trace("t", None), lambda: 1 // 0)
    assert is_native(f, X)


# -- bookkeeping -----------------------------------------------------------------------------------


def test_the_cache_counts_all_calls() -> None:
    f = jit(lambda x: x + 1)
    for n in range(10):
        f(X)
        assert f.cache_info()[:2] == (n, 1)
    assert f._native_hits.value > 0
    f.clear_cache()
    assert f.cache_info() == (0, 0, 256, 0)
    assert not is_native(f, X)
    assert f.cache_info()[:2] == (0, 1)
    warm(f, X)
    assert is_native(f, X)


def test_entries_are_few() -> None:
    f = jit(lambda x, name: x + 1)
    for n in range(1, jitted.MOST_ENTRIES + 4):
        for _ in range(4):
            same(f(np.ones(3), str(n)), np.full(3, 2.0))
    assert len(f._entries) == jitted.MOST_ENTRIES
    assert is_native(f, np.ones(3), "1")


def symbolic(fn: Any, args_of: Any) -> Any:
    """`fn` compiled for any extent, with an entry; `args_of(n)` are arguments of extent n."""
    f = jit(fn)
    for n in (*range(2, 8), 7, 7, 7):
        same(f(*args_of(n)), fn(*args_of(n)))
    assert f.cache_info().misses < 6
    assert len(f._entries) == 1
    return f


def test_extents_as_they_come() -> None:
    f = symbolic(lambda x: x + 1, lambda n: (np.arange(float(n)),))
    for n in (2, 7, 1000, 100_000):  # the last comes from memory that the program allocates
        assert is_native(f, np.ones(n))
        out = f(np.ones(n))
        same(out, np.full(n, 2.0))
        assert out.flags.c_contiguous
        assert out.flags.writeable
        out[0] = 5.0
    for n in (0, 1):  # these are compiled for by themselves
        assert not is_native(f, np.ones(n))
    for other in (np.ones((3, 3)), np.ones(6, np.float32), np.ones(8)[::2]):
        same(f(other), other + 1)


def rank_two(x: Any, y: Any, k: Any) -> Any:
    return {"p": x.T * y[:, :1].T.max(), "s": (x * k).max(axis=1), "n": 2 * len(x), "m": x[x > 1.0]}


@pytest.mark.parametrize("order", ["C", "F", "strided"])
def test_extents_of_several_axes_and_any_strides(order: str) -> None:
    def args_of(n: int) -> Any:
        whole = np.arange(4.0 * n * (n + 1)).reshape(2 * n, 2 * (n + 1)) / 7
        x = {"C": whole[:n, : n + 1].copy(), "F": np.asfortranarray(whole[:n, : n + 1])}
        return x.get(order, whole[::2, ::-2]), np.ones((n + 1, 3)), 2.5

    f = symbolic(rank_two, args_of)
    for n in (2, 9, 40):
        assert is_native(f, *args_of(n))
        same(f(*args_of(n)), rank_two(*args_of(n)))


def test_ints_that_shape_arrays() -> None:
    f = symbolic(lambda n, x: np.zeros((n, 3)) + x, lambda n: (n, 0.5))
    for n in (3, 11, 0, 1):
        same(f(n, 2.0), np.full((n, 3), 2.0))
    assert is_native(f, 12, 2.0)
    assert is_native(f, 0, 2.0)
    assert not is_native(f, True, 2.0)


def _push(x: Any, y: Any) -> Any:
    x[1:] += y[:-1]
    return x


def test_arguments_of_any_extent_are_written_to() -> None:
    f = symbolic(_push, lambda n: (np.arange(float(n)), np.ones(n)))
    for n in (4, 30):
        x = np.zeros(n)
        before = f._native_hits.value
        assert f(x, np.ones(n)) is x
        assert f._native_hits.value > before
        same(x, _push(np.zeros(n), np.ones(n)))
        both, ours = np.arange(2.0 * n), np.arange(2.0 * n)
        _push(both[:n], both[1 : n + 1])
        assert not is_native(f, ours[:n], ours[1 : n + 1])  # may be the same memory
        same(ours, both)
    whole = np.zeros(40)
    assert is_native(f, whole[:20], whole[20:])
    frozen = np.zeros(6)
    frozen.flags.writeable = False
    with pytest.raises(errors.ReadOnlyError):
        f(frozen, np.ones(6))


def test_memory_of_a_program_is_given_back() -> None:
    def in_use() -> int:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * 4096

    f = warm(jit(lambda x: (x[x > 0], x[x < 5])), np.ones(1 << 18))
    x = np.ones(1 << 18)
    for _ in range(20):
        f(x)
    before = in_use()
    for _ in range(100):
        kept = f(x)[0][3:]  # a view keeps it
    assert in_use() - before < 40 << 20  # 100 results have 400 MB
    assert kept.sum() == len(x) - 3


def _larger(x: Any, y: Any, d: Any) -> Any:
    z = x if x.sum() > y.sum() else y * 2
    return z, {"z": z, "n": 3}, (x if d > 0 else y)


def test_results_that_data_chooses() -> None:
    x, y = np.ones(3), np.zeros(3)
    f = warm(jit(_larger), x, y, 1.0)
    for a, b, d in ((x, y, 1.0), (y, x, 1.0), (x, y, -1.0)):
        count = sys.getrefcount(a), sys.getrefcount(b)
        assert is_native(f, a, b, d)
        found, expected = f(a, b, d), _larger(a, b, d)
        same(found, expected)
        for mine, theirs in ((found[0], expected[0]), (found[2], expected[2])):
            assert [mine is a, mine is b] == [theirs is a, theirs is b]
        assert found[1]["z"] is found[0]
        del found, expected, mine, theirs
        assert (sys.getrefcount(a), sys.getrefcount(b)) == count


def _halved(x: Any, most: Any) -> Any:
    while x.sum() > most:
        x = x / 2
    return x


def test_an_argument_that_a_loop_may_leave() -> None:
    x = np.ones(4)
    f = warm(jit(_halved), x, 1.0)
    assert is_native(f, x, 1.0)
    assert f(x, 9.0) is x
    same(f(x, 1.0), np.full(4, 0.25))


def test_errors_are_pythons() -> None:
    f = warm(jit(lambda x, i: x[i]), X, 3)
    assert is_native(f, X, 3)
    with pytest.raises(errors.IndexingError):
        f(X, 9)
    with pytest.raises(TypeError):
        f(X, 3, 4)
    with pytest.raises(TypeError):
        f(X, k=3)
    assert is_native(f, X, 3)


def test_no_reference_is_lost() -> None:
    f = jit(lambda p, s: {"y": p["x"] * s, "x": p["x"], "n": None, "t": p["x"].sum() + weights[0]})
    x, s = X.copy(), 2.5
    warm(f, {"x": x}, s)
    watched = [x, s, weights, f, None, np.dtype("f8")]
    before = [sys.getrefcount(w) for w in watched]
    for _ in range(1000):
        f({"x": x}, s)
    assert max(abs(sys.getrefcount(w) - b) for w, b in zip(watched, before)) < 20
    out = f({"x": x}, s)
    dead = weakref.ref(out["y"])
    del out
    assert dead() is None


def test_functions_die() -> None:
    def make() -> Any:
        def recursive(x: Any) -> Any:
            return x + 1 if x.ndim else f(x)

        f = jit(recursive)
        return f

    f = warm(make(), X)
    assert is_native(f, X)
    dead = weakref.ref(f)
    del f
    gc.collect()
    assert dead() is None


def test_methods() -> None:
    class Model:
        def __init__(self) -> None:
            self.w = np.ones(5)

        @jit
        def apply(self, x: Any) -> Any:
            return x * self.w

    a, b = Model(), Model()
    warm(Model.apply, a, X)
    b.w = 2 * b.w
    for _ in range(4):
        same(a.apply(X), X)
        same(b.apply(X), 2 * X)
    a.w = 3 * a.w
    same(a.apply(X), 3 * X)


def test_threads() -> None:
    f = jit(lambda x, k: {"y": x * k + weights, "s": (x * k).sum()})
    wrong = []

    def work(k: float) -> None:
        for n in range(400):
            out = f(np.full(5, k), float(n))
            if not (out["y"] == k * n + 1).all() or out["s"] != 5 * k * n:
                wrong.append((k, n))
            if n % 100 == 99:
                f.clear_cache()

    threads = [threading.Thread(target=work, args=(float(k),)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_copies_are_the_function_itself() -> None:
    f = jit(lambda x: x + 1)
    assert copy.copy(f) is f
    assert copy.deepcopy({"f": f})["f"] is f
