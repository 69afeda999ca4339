"""jit: specialisations, flavours of arguments and results, captures and guards, threads."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jitnet
from jitnet import errors, jit


def same(a, b):
    """Equal in class, dtype, shape and bits."""
    assert type(a) is type(b), (type(a), type(b))
    if isinstance(a, (np.ndarray, np.generic)):
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        np.testing.assert_array_equal(a, b)
    else:
        assert a == b


def check(fn, *args):
    same(jit(fn)(*args), fn(*args))


# -- flavours --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "x",
    [
        np.arange(6.0).reshape(2, 3),
        np.float32(2.5),
        np.array(2.5, np.float32),
        np.int8(3),
        np.arange(4, dtype=np.uint16),
        3,
        2.5,
        np.zeros((0, 3)),
        np.asfortranarray(np.arange(12.0).reshape(3, 4)),
        np.arange(24.0).reshape(4, 6)[::2, ::-1],
    ],
)
def test_arithmetic_keeps_numpys_flavour_dtype_and_shape(x):
    check(lambda x: x * 2 + 1, x)
    check(lambda x: -x, x)
    check(lambda x: x > 1, x)


def test_python_numbers_come_back_as_such():
    same(jit(lambda n: n + 1)(3), 4)
    same(jit(lambda n: n > 1)(3), True)
    same(jit(lambda s: s * 2)(1.5), 3.0)


def test_arguments_come_back_as_themselves():
    x, n, s = np.ones(3), 12345678901, np.float32(2)
    got = jit(lambda x, n, s: (x, [n], {"s": s}, x))(x, n, s)
    assert got[0] is x
    assert got[3] is x
    assert got[1][0] is n
    assert got[2]["s"] is s


def test_one_result_twice_is_one_array_and_copies_are_not():
    a, b = jit(lambda x: (lambda y: (y, y))(x + 1))(np.ones(3))
    assert a is b
    x = np.ones(3)
    c, d = jit(lambda x: (x.copy(), x.copy()))(x)
    assert c is not d
    assert not np.shares_memory(c, x)
    assert not np.shares_memory(c, d)


def test_static_results_pass_through():
    assert jit(lambda x: (None, "text", 3, True, x.shape))(np.ones((2, 3))) == (
        None,
        "text",
        3,
        True,
        (2, 3),
    )


def test_layouts_give_the_same_values():
    base = np.arange(24.0).reshape(4, 6)
    f = jit(lambda x: (x * 2).sum(axis=0))
    for x in (base, np.asfortranarray(base), base[::-1, ::2], base.T, base[1:2, :0]):
        same(f(x), (x * 2).sum(axis=0))
    assert f.cache_info().currsize == 5


# -- specialisation --------------------------------------------------------------------------------


def test_one_specialisation_for_each_kind_of_argument():
    f = jit(lambda x, s: x * s)
    f(np.ones(3), 2.0)
    f(np.zeros(3), 5.0)
    assert f.cache_info()[:2] == (1, 1)
    f(np.ones(4), 2.0)
    f(np.ones(3, np.float32), 2.0)
    f(np.ones(3), 2)
    f(np.ones(3), np.float64(2))
    assert f.cache_info().misses == 5
    f.clear_cache()
    assert f.cache_info() == (0, 0, 256, 0)


def test_bools_strings_and_none_are_static():
    @jit
    def f(x, double=False, mode="add", bias=None):
        y = x * 2 if double else x
        y = y + 1 if mode == "add" else y - 1
        return y if bias is None else y + bias

    assert f(1.0) == 2.0
    assert f(1.0, True) == 3.0
    assert f(1.0, mode="sub") == 0.0
    assert f(1.0, bias=10.0) == 12.0
    assert f(1.0, True) == 3.0
    assert f.cache_info()[:2] == (1, 4)


def test_one_true_and_one_are_told_apart():
    f = jit(lambda n: n)
    same(f(1), 1)
    same(f(True), True)
    same(f(1.0), 1.0)
    g = jit(lambda x, t: x * t[0], static=("t",))
    same(g(np.ones(1), (1,)), np.ones(1))
    same(g(np.ones(1, int), (1,)), np.ones(1, int))
    same(g(np.ones(1, int), (1.0,)), np.ones(1))
    same(g(1, (0.0,)), 0.0)
    assert str(g(1.0, (-0.0,))) == "-0.0"


def test_an_int_that_reaches_a_shape_becomes_static():
    @jit
    def f(x, n):
        return np.reshape(x, (n, -1)) + n

    same(f(np.arange(6), 2), np.arange(6).reshape(2, 3) + 2)
    same(f(np.arange(6), 3), np.arange(6).reshape(3, 2) + 3)
    same(f(np.arange(6), 3), np.arange(6).reshape(3, 2) + 3)
    assert f.cache_info() == (1, 2, 256, 2)


def test_an_int_that_decides_stays_dynamic():
    @jit
    def power(x, n):
        y = x
        for _ in range(n - 1):
            y = y * x
        return y if n * 2 > 3 else x

    assert power(3.0, 4) == 81.0
    assert power(2.0, 4) == 16.0
    assert power(3.0, 1) == 3.0
    assert power.cache_info().misses == 1


def test_ranges_of_dynamic_ints_have_items():
    f = jit(lambda n: (range(n)[-1], range(2, 4 * n, 3)[n - 1]))
    for n in (1, 2, 7):
        assert f(n) == f.__wrapped__(n)
    assert f.cache_info().misses == 1
    assert jit(lambda n: [2 * i for i in range(n)])(3) == [0, 2, 4]
    g = jit(lambda n, k: range(n)[k])
    assert g(4, -3) == 1
    with pytest.raises(IndexError, match="range object index out of range"):
        g(4, 4)
    assert g.cache_info().misses == 1


def test_an_int_that_indexes_a_list_becomes_static_through_arithmetic():
    @jit
    def scaled(x, n):
        return x * [2.0, 3.0, 5.0][n * 2 - 2]

    assert scaled(3.0, 1) == 6.0
    assert scaled(2.0, 1) == 4.0
    assert scaled(3.0, 2) == 15.0
    assert scaled.cache_info().misses == 2


def test_an_int_used_as_a_number_stays_dynamic():
    f = jit(lambda x, n: x * n)
    for n in range(5):
        same(f(np.ones(2), n), np.ones(2) * n)
    assert f.cache_info().misses == 1


def test_static_by_name_and_position():
    for static in ("n", ("n",), 1, (1,)):
        f = jit(lambda x, n: x * n, static=static)
        assert f(2.0, 3.0) == 6.0
        assert f(2.0, n=4.0) == 8.0
        assert f.cache_info().misses == 2


def test_the_cache_is_bounded():
    f = jit(lambda x, n: x, static=("n",))
    for n in range(300):
        f(1.0, n)
    assert f.cache_info().currsize == 256


# -- kinds of functions ----------------------------------------------------------------------------


def test_decorator_forms():
    @jit
    def f(x):
        """Doubles."""
        return x * 2

    @jit(static=("n",))
    def g(x, *, n=1):
        return x * n

    assert f(2.0) == 4.0
    assert (f.__name__, f.__doc__) == ("f", "Doubles.")
    assert f.__wrapped__(3.0) == 6.0
    assert g(2.0, n=3) == 6.0
    with pytest.raises(TypeError, match="takes a function"):
        jit(3)


def test_methods_partials_closures_and_callables():
    class Model:
        def __init__(self, w):
            self.w = w

        @jit
        def predict(self, x):
            return x @ self.w

        def __call__(self, x):
            return x + self.w

    x, w = np.ones((2, 3)), np.arange(3.0)
    model = Model(w)
    same(model.predict(x), x @ w)
    same(Model(w * 2).predict(x), x @ (w * 2))
    model.w = w + 1  # what it was compiled for is out of date
    same(model.predict(x), x @ (w + 1))
    same(jit(model)(x), x + w + 1)
    same(jit(model.__call__)(x), x + w + 1)
    same(jit(functools.partial(np.add, 1.0))(x), x + 1.0)
    same(jit(functools.partial(lambda a, b: a - b, b=w))(x), x - w)


def test_functions_without_source():
    namespace = {"np": np}
    exec("def f(x):\n    h = np.tanh(x)\n    return h + 1", namespace)
    f = namespace["f"]
    x = np.linspace(-1, 1, 5)
    np.testing.assert_allclose(jit(f)(x), f(x), rtol=1e-15)
    assert "%h: f64[5] = tanh %x" in str(jitnet.trace(f)(x))


def test_jit_inside_jit_and_functions_as_arguments():
    inner = jit(lambda x: x * 2)
    same(jit(lambda x: inner(x) + 1)(np.ones(2)), np.full(2, 3.0))
    apply = jit(lambda f, x: f(x))
    same(apply(np.negative, np.ones(2)), -np.ones(2))
    assert apply(lambda x: x * 3, 2.0) == 6.0


# -- captures and guards ---------------------------------------------------------------------------

SCALE = 2.0
WEIGHTS = np.arange(3.0)
SETTINGS = {"shift": 1.0}


def helper(x):
    return x * SCALE


@jit
def reads_globals(x):
    return helper(x) @ WEIGHTS + SETTINGS["shift"]


def test_globals_are_guarded(monkeypatch):
    module = sys.modules[__name__]
    x = np.ones(3)
    assert reads_globals(x) == 7.0
    monkeypatch.setattr(module, "SCALE", 3.0)
    assert reads_globals(x) == 10.0
    monkeypatch.setitem(SETTINGS, "shift", 2.0)
    assert reads_globals(x) == 11.0
    monkeypatch.setattr(module, "WEIGHTS", np.ones(3))
    assert reads_globals(x) == 11.0
    monkeypatch.setattr(module, "helper", lambda x: x)
    assert reads_globals(x) == 5.0


def test_captured_arrays_are_inputs():
    w = np.ones(3)
    f = jit(lambda x: x * w)
    same(f(np.ones(3)), np.ones(3))
    w[:] = 5.0
    same(f(np.ones(3)), np.full(3, 5.0))
    assert f.cache_info().misses == 1
    assert jit(lambda x: (w, x))(1.0)[0] is w


def test_what_is_computed_from_captured_arrays_is_part_of_the_program():
    w, state = np.ones(3), {"b": [np.zeros(3)]}

    class Model:
        def __init__(self):
            self.scale = np.full(3, 2.0)

        @jit
        def apply(self, x, bias=w):
            return x * (self.scale + 1) + 2 * bias - state["b"][0].sum()

    model, x = Model(), np.ones(3)
    same(model.apply(x), np.full(3, 5.0))
    w[:], model.scale[:], state["b"][0][:] = 5.0, 0.0, 1.0
    same(model.apply(x), np.full(3, 8.0))
    assert Model.apply.cache_info().misses == 1
    model.scale = np.ones(3)
    same(model.apply(x), np.full(3, 9.0))


def test_arrays_made_inside_may_be_filled_before_use_and_after():
    def before(x):
        a = np.zeros(3)
        a[1] = 2.0
        return x + a

    def after(x):
        a = np.zeros(3)
        y = x + a
        a[1] = 2.0
        return y + a

    check(before, np.ones(3))
    check(after, np.ones(3))
    first, second = (jit(lambda x: np.zeros(3))(1.0) for _ in range(2))
    assert first is not second


def test_closure_cells_are_guarded():
    n = 1.0

    @jit
    def f(x):
        return x + n

    assert f(1.0) == 2.0
    n = 5.0
    assert f(1.0) == 6.0


# -- in-place operators ----------------------------------------------------------------------------


def test_in_place_on_a_new_array():
    def f(x):
        y = x * 2
        z = y
        y += 1
        y /= 3
        return y, z

    for got, expected in zip(jit(f)(np.ones(3)), f(np.ones(3))):
        same(got, expected)


def test_in_place_keeps_the_dtype():
    def f(x, y):
        z = x + 0
        z += y
        return z

    check(f, np.ones(3, np.float32), np.ones(3, np.float64))
    with pytest.raises(TypeError, match="same_kind"):
        f(np.ones(3, int), np.ones(3))
    with pytest.raises(errors.DTypeError, match="same_kind"):
        jit(f)(np.ones(3, int), np.ones(3))
    with pytest.raises(errors.ShapeError, match="non-broadcastable"):
        jit(f)(np.ones(3), np.ones((2, 3)))


def test_in_place_changes_arguments_and_all_views_of_the_memory():
    def argument(x):
        x += 1
        return x

    def view(x):
        y = x * 2
        z = y[1:]
        z += 1
        return y

    def viewed(x):
        y = x * 2
        z = y[1:]
        y += 1
        return z

    def copied(x):
        y = x.copy()
        y += 1
        return x, y

    for fn in (view, viewed):
        check(fn, np.ones(3))
    x = np.ones(3)
    assert jit(argument)(x) is x
    same(x, np.full(3, 2.0))
    x, y = jit(copied)(np.ones(3))
    same(x, np.ones(3))
    same(y, np.full(3, 2.0))
    assert jit(argument)(1) == 2


def test_elements_are_assigned_in_the_callers_memory():
    @jit
    def f(x, i):
        x[i] = 7.0
        x[1:, 0] *= 2

    whole = np.ones((4, 6))
    part = whole[:, ::2]
    assert f(part, (0, 1)) is None
    expected = np.ones((4, 6))
    expected[0, 2], expected[1:, 0] = 7.0, 2.0
    same(whole, expected)
    with pytest.raises(IndexError, match="out of bounds"):
        f(part, (4, 0))
    same(whole, expected)


def test_a_view_of_an_argument_is_a_view_of_the_callers_array():
    f = jit(lambda x, n: (x[1:n], x.T, x.reshape(-1)[::2]))
    x = np.arange(12.0).reshape(3, 4)
    for part in f(x, 3):
        assert np.shares_memory(part, x)
    for got, expected in zip(f(x, 2), (x[1:2], x.T, x.reshape(-1)[::2])):
        same(got, expected)
        assert got.strides == expected.strides
    one, other = jit(lambda x: (y := x + 1, y[:2]))(x)
    assert np.shares_memory(one, other)


def test_arrays_that_may_not_be_written_to_are_refused():
    x = np.ones(3)
    x.setflags(write=False)

    @jit
    def f(x):
        x[0] = 2.0

    with pytest.raises(ValueError, match="read-only"):
        f.__wrapped__(x)
    with pytest.raises(errors.ReadOnlyError, match="read-only"):
        f(x)


# -- lowered ---------------------------------------------------------------------------------------


def test_lowered():
    f = jit(lambda x: np.sin(x) * 2)
    x = np.ones(4)
    lowered = f.lower(x)
    assert isinstance(lowered.ir, jitnet.ir.Function)
    assert "sin" in lowered.stages["traced"]
    assert lowered.cost()["flops"] >= 8
    assert lowered.cost()["bytes"] == 64
    same(lowered.compile()(x), f(x))
    with pytest.raises(errors.ArgumentError, match="other arguments"):
        lowered.compile()(np.ones(5))


def test_dump_and_log(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("JITNET_DUMP", str(tmp_path / "stages"))
    monkeypatch.setenv("JITNET_LOG", "compiles")

    @jit
    def layer(x, n):
        return x * n

    layer(np.ones((2, 3), np.float32), 2)
    layer(np.ones((2, 3), np.float32), 3)
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert error.startswith("jitnet: compiled layer(x: f32[2, 3], n: int) in ")
    files = sorted(p.name for p in (tmp_path / "stages").iterdir())
    assert files[0].endswith("-layer-0-traced.txt")
    assert "func @layer" in (tmp_path / "stages" / files[0]).read_text()


# -- threads ---------------------------------------------------------------------------------------


def test_threads_compile_once_and_traces_do_not_mix():
    @jit
    def f(x):
        y = x
        for _ in range(50):
            y = y + x
        return y

    results, failures = {}, []
    barrier = threading.Barrier(8)

    def work(i):
        try:
            barrier.wait()
            for size in (2, 3):
                results[i, size] = f(np.full(size, float(i)))
        except BaseException as error:  # a failure in a thread must fail the test
            failures.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures
    for (i, size), got in results.items():
        same(got, np.full(size, 51.0 * i))
    assert f.cache_info().misses == 2


# -- whole ----------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from([np.int8, np.uint8, np.int32, np.int64, np.float32, np.float64, np.bool_]),
    st.sampled_from([np.int16, np.uint64, np.float32, np.float64, np.bool_]),
    st.sampled_from([(), (3,), (2, 3), (2, 1), (0, 3)]),
    st.sampled_from(["array", "scalar", "python"]),
)
def test_promotion_is_numpys(a, b, shape, flavour):
    x = np.ones(shape, a)
    y = b(1) if flavour == "scalar" else np.ones((3,), b)
    if flavour == "python":
        y = b(1).item()
    for fn in (lambda x, y: x + y, lambda x, y: y * x, lambda x, y: x >= y):
        check(fn, x, y)


@pytest.mark.parametrize(
    "fn",
    [
        lambda x: x == None,  # noqa: E711
        lambda x: x != "a",
        lambda x: divmod(x, 2),
        lambda x: (2**x, x**2, -x, +x, abs(x)),
        lambda x: [1, 2, 3] * x + (1, 2, 3),
        lambda x: np.float64(2) * x - np.ones(3) * x,
        lambda x: x.astype(np.int32).clip(0, 1).sum(dtype=np.int16),
        lambda x: x.compress([True, False, True]),
        lambda x: (x.T, x.real, x.conj(), x.trace) and x.reshape(3, 1).trace(),
        lambda x: (x.shape, x.dtype, x.ndim, x.size, x.nbytes, x.itemsize, len(x)),
        lambda x: [row * 2 for row in x],
        lambda x: sum(x),
        lambda x: x.dot(x) + x @ x,
        lambda x: np.stack([x, x]).swapaxes(0, 1).flatten(),
    ],
)
def test_array_surface(fn):
    x = np.array([1.0, 2.0, 0.5])
    got, expected = jit(fn)(x), fn(x)
    if not isinstance(expected, (tuple, list)):
        got, expected = [got], [expected]
    for a, b in zip(got, expected, strict=True):
        same(a, b)


@pytest.mark.parametrize(
    "fn",
    [
        lambda n: (n + 1, n - 2, n * 3, n // 2, n % 4, n / 2, n**2, 2**n, -n, ~n, abs(n)),
        lambda n: (n > 3, n == 7, n + True, n & 3, n | 8, n ^ 1, n << 2, n >> 1, not n),
        lambda n: divmod(n, 4),
        lambda n: ([0] * n, "ab" * n, {n: 1}[n], f"{n:03d}", str(n), n.bit_length()),
        lambda n: (list(range(n)), min(n, 3), max(n, 3), [1, 2, 3, 4, 5, 6, 7, 8][n]),
        lambda n: n == "a",
    ],
)
def test_python_ints_mean_what_python_says(fn):
    got, expected = jit(fn)(7), fn(7)
    if not isinstance(expected, tuple):
        got, expected = (got,), (expected,)
    for a, b in zip(got, expected, strict=True):
        same(a, b)


def test_division_by_zero_and_overflow_of_python_numbers_raise():
    with pytest.raises(ZeroDivisionError):
        jit(lambda n: 1 // n)(0)
    with pytest.raises(ZeroDivisionError):
        jit(lambda x: 1.0 / x)(0.0)
    with pytest.raises(OverflowError):
        jit(lambda n: n * n)(1 << 40)


def test_results_never_share_memory_that_numpys_do_not():
    x = np.arange(3)
    for fn in (lambda x: x + 0, lambda x: x * 1, lambda x: (x + 1, x + 1)):
        out = jit(fn)(x)
        arrays = [x, *(out if isinstance(out, tuple) else (out,))]
        for i, a in enumerate(arrays):
            assert not any(np.shares_memory(a, b) for b in arrays[:i])


def test_import_is_cheap_and_pulls_in_no_compiler(tmp_path):
    code = (
        "import sys, time; t = time.perf_counter(); import numpy; u = time.perf_counter(); "
        "import jitnet; print((time.perf_counter() - u) / (u - t), 'llvmlite' in sys.modules)"
    )
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environment = {**kept, "PYTHONPYCACHEPREFIX": str(tmp_path)}

    def run():
        arguments = [sys.executable, "-c", code]
        done = subprocess.run(
            arguments, capture_output=True, text=True, check=True, env=environment
        )
        return done.stdout.split()

    run()  # compiles to bytecode
    ratios, llvm = zip(*(run() for _ in range(5)))
    assert set(llvm) == {"False"}
    assert min(map(float, ratios)) < 0.8  # of NumPy's own time, which is 70 to 80 ms


class Scaled:
    factor = 2.0

    def apply(self, x):
        return x * self.factor


def test_an_attribute_that_comes_to_hide_that_of_the_class():
    scaled = Scaled()
    f = jitnet.jit(scaled.apply)
    assert f(np.ones(2))[0] == 2.0
    scaled.factor = 3.0
    assert f(np.ones(2))[0] == 3.0


def test_a_global_that_comes_to_hide_a_builtin():
    namespace = {"np": np}
    exec("def f(x):\n    return abs(x) + 1.0", namespace)
    f = jitnet.jit(namespace["f"])
    assert f(-2.0) == 3.0
    namespace["abs"] = lambda x: x
    assert f(-2.0) == -1.0
