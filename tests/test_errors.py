"""Bad input: the right class, with the user's line, the operation, the types and a remedy."""

from __future__ import annotations

import contextlib
import copy
import enum
import inspect
import pickle
import statistics
import sys
import time

import numpy as np
import pytest

import jitnet
from jitnet import errors, jit


def failure(fn, *args, raises, also):
    """The error of jit(fn)(*args); checks that it points into fn and is NumPy's class too."""
    with pytest.raises(raises) as caught:
        jit(fn)(*args)
    error = caught.value
    assert isinstance(error, errors.JitnetError)
    assert isinstance(error, also)
    assert error.code in str(error)
    text, first = inspect.getsourcelines(fn)
    place = error.frames[0]
    assert place.file == __file__
    assert first <= place.line < first + len(text)
    assert f"{place.file}:{place.line}" in str(error)
    return str(error)


def test_shapes_that_do_not_broadcast():
    def f(x, b):
        h = x + b
        return h

    text = failure(f, np.ones(3), np.ones(4), raises=errors.ShapeError, also=ValueError)
    assert "add" in text
    assert "3" in text
    assert "4" in text
    assert "h = x + b" in text
    assert "^^^^^" in text


def test_products_that_do_not_fit():
    def f(x, w):
        return x @ w

    text = failure(f, np.ones((2, 3)), np.ones((2, 3)), raises=errors.ShapeError, also=ValueError)
    assert "matmul" in text


def test_dtypes_that_numpy_refuses():
    def f(x):
        return np.bitwise_and(x, 1)

    text = failure(f, np.ones(3), raises=errors.DTypeError, also=TypeError)
    assert "bitwise_and" in text
    assert "float64" in text or "f64" in text


def test_truth_of_an_array():
    def f(x):
        if x > 0:
            return x
        return -x

    text = failure(f, np.ones(3), raises=errors.ValueRefusedError, also=ValueError)
    assert "a.any() or a.all()" in text


def test_results_of_one_kind_on_one_path_and_of_another_on_the_other():
    def shapes(x):
        def part(x):
            if x.sum() > 0:
                return x[:2]
            return x.sum()

        return part(x) * 2

    def texts(x):
        def named(x):
            return x if x.sum() > 0 else "negative"

        return [named(x)]

    for f in (shapes, texts):
        text = failure(f, np.ones(3), raises=errors.ReturnError, also=TypeError)
        assert "array float64[" in text
        assert "one type and shape on all paths" in text


def test_variables_that_one_path_does_not_bind():
    def f(x):
        if x.sum() > 0:
            y = x
        return y

    text = failure(f, np.ones(3), raises=errors.UnboundVariableError, also=UnboundLocalError)
    assert "variable 'y' is read, and it is assigned to on one path only" in text


@pytest.mark.parametrize(
    "use",
    [
        lambda x: [0, "1", 2][x.astype(int)[0]],
        lambda x: {x[0]: 1},
        lambda x: {1.0: "one"}[x[0]],
        lambda x: "a" * int(x[0]),
        lambda x: hash(x[0]),
        lambda x: x.tobytes(),
        lambda x: np.sum(x, axis=int(x[0])),
    ],
)
def test_values_needed_while_tracing(use):
    text = failure(use, np.ones(3), raises=errors.ConcretizationError, also=TypeError)
    assert "remedy:" in text


def refused(x):
    """What jitnet refuses with a TypeError, and NumPy computes."""
    return [x, np.outer(x, x)][x.astype(int)[0]].sum()


class Swallowing:
    def __enter__(self):
        return self

    def __exit__(self, *error):
        return True


@contextlib.contextmanager
def catching():
    with contextlib.suppress(TypeError):
        yield


def test_no_handler_takes_what_only_jitnet_refuses():
    def by_class(x):
        try:
            return refused(x)
        except TypeError:
            return 5.0

    def by_none(x):
        try:
            y = refused(x)
        except:  # noqa: E722
            y = 5.0
        return y

    def by_another_error(x):
        try:
            return refused(x)
        except TypeError as error:
            raise ValueError("no") from error

    def by_finally(x):
        try:
            return refused(x)
        finally:
            return 5.0  # noqa: B012, SIM107

    def by_finally_after_handler(x):
        try:
            raise ValueError
        except ValueError:
            return refused(x)
        finally:
            return 5.0  # noqa: B012, SIM107

    def by_group(x):
        y = 5.0
        try:
            y = refused(x)
        except* TypeError:
            y = 6.0
        return y

    def by_suppress(x):
        y = 5.0
        with contextlib.suppress(TypeError):
            y = refused(x)
        return y

    def by_manager(x):
        with Swallowing(), contextlib.suppress(ValueError):
            return refused(x)
        return 5.0

    def by_generator(x):
        y = 5.0
        with catching():
            y = refused(x)
        return y

    def by_stack(x):
        y = 5.0
        with contextlib.ExitStack() as stack:
            stack.enter_context(catching())
            y = refused(x)
        return y

    def of_nothing(x):
        k = None
        if x[0] > 0.5:
            k = 1
        try:
            y = k + 1
        except TypeError:
            y = 0
        return y

    for fn in (
        *(by_class, by_none, by_another_error, by_finally, by_finally_after_handler, by_group),
        *(by_suppress, by_manager, by_generator, by_stack, of_nothing),
    ):
        with pytest.raises(errors.ConcretizationError, match="remedy:"):
            jit(fn)(np.ones(3))


def test_handlers_take_what_python_raises():
    def suppressed(x):
        y = x
        with contextlib.suppress(ValueError, IndexError):
            y = y * 2
            y = y * float("no number")
        return y

    def swallowed(x):
        total = 0.0
        with Swallowing():
            total = total + x[2]
            total = total + x[3]
        return total

    def rolled(x):
        for k in range(40):
            with contextlib.suppress(TypeError):
                x = x * [0.5, 2.0][k % 2]  # by the number of the step: the loop is unrolled
            try:
                x = x + (x, x.sum())[k % 2]
            except TypeError:
                x = x * 0
        return x

    x = np.array([0.5, 1.5, 2.5])
    for fn in (suppressed, swallowed, rolled):
        np.testing.assert_array_equal(jitnet.jit(fn)(x), fn(x))


def test_methods_of_context_managers_are_traced():
    class Scaled:
        def __init__(self, x):
            self.x = x

        def __enter__(self):
            if self.x.sum() > 0:
                self.x = self.x * 2
            return self

        def __exit__(self, *error):
            if self.x[0] > 0:
                self.x = self.x + 1

    def f(x):
        with Scaled(x) as scaled:
            scaled.x = scaled.x - 1
        return scaled.x

    for x in (np.array([2.0, 3.0]), np.array([-2.0, 3.0]), np.array([-2.0, -3.0])):
        np.testing.assert_array_equal(jitnet.jit(f)(x), f(x))


def test_what_suppress_would_have_to_take_is_an_error():
    def f(n):
        with contextlib.suppress(ZeroDivisionError):
            return 1 // int(n[0])
        return 3

    assert jitnet.jit(f)(np.array([1])) == 1
    text = failure(f, np.array([0]), raises=errors.DivisionByZeroError, also=ZeroDivisionError)
    assert "no handler sees this error" in text


def test_functions_that_jitnet_does_not_have():
    def f(x):
        return np.linalg.svd(x)

    text = failure(f, np.eye(3), raises=errors.UnsupportedFunctionError, also=NotImplementedError)
    assert "svd" in text


def test_leaked_tracers():
    kept = {}

    def leak(x):
        sys.modules["leaked_by_a_test"] = x
        return x

    jitnet.trace(leak)(np.ones(3))
    leaked = sys.modules.pop("leaked_by_a_test")
    with pytest.raises(errors.LeakedTracerError, match="outside"):
        leaked + 1

    def f(x):
        return x + kept["x"]

    kept["x"] = leaked
    text = failure(f, np.ones(3), raises=errors.LeakedTracerError, also=RuntimeError)
    assert "return it as a result" in text


def test_elements_out_of_bounds():
    def f(x, i):
        x[i] = 1.0
        return x

    x = np.zeros(3)
    text = failure(f, x, 3, raises=errors.IndexingError, also=IndexError)
    assert "index 3 is out of bounds" in text
    assert "x[i] = 1.0" in text
    assert not x.any()


def test_methods_that_change_the_array_itself():
    def f(x):
        return x.resize(6)

    text = failure(f, np.ones(3), raises=errors.MutationError, also=TypeError)
    assert "np.resize" in text


@pytest.mark.parametrize(
    "x",
    [
        np.ones(2, np.longdouble),
        np.array(["a"]),
        np.array([None]),
        np.array(["2020-01-01"], "M8[D]"),
        np.ones(2, ">f8"),
        np.ma.masked_array([1.0, 2.0], [True, False]),
        np.ones(2).view(np.recarray),
        np.longdouble(1),
    ],
)
def test_arrays_that_jitnet_does_not_have(x):
    with pytest.raises(errors.UnsupportedDTypeError, match="argument x") as caught:
        jit(lambda x: x)(x)
    assert "remedy:" in str(caught.value)

    def captures(y):
        return y + x

    failure(captures, 1.0, raises=errors.UnsupportedDTypeError, also=TypeError)


def test_arguments_that_cannot_be_told_apart():
    with pytest.raises(errors.ArgumentError, match=r"argument s .*set"):
        jit(lambda s: 1)({1, 2})


def test_results_that_may_hold_traced_values():
    with pytest.raises(errors.ArgumentError, match="function"):
        jit(lambda x: lambda: x)(1.0)


def test_ints_out_of_range():
    same = 1 << 70
    assert jit(lambda n: n)(same) == same

    def f(x):
        return x + (1 << 70)

    failure(f, np.ones(2, int), raises=errors.IntegerOverflowError, also=OverflowError)


def test_options_that_are_not_there():
    with pytest.raises(errors.NotAvailableError, match="not available in this version"):
        jit(lambda x: x, threads=4)
    with pytest.raises(ValueError, match="device"):
        jit(lambda x: x, device="tpu")
    assert jit(lambda x: x + 1, device="cpu", threads=1)(1) == 2


def test_the_functions_own_exceptions_pass_through():
    def f(x):
        if x.shape != (2,):
            raise ValueError("two, please")
        return x

    with pytest.raises(ValueError, match="two, please"):
        jit(f)(np.ones(3))
    jit(f)(np.ones(2))


def test_no_frames_of_jitnet_between_the_users():
    def f(x):
        return hash(x.sum())

    with pytest.raises(errors.ConcretizationError) as caught:
        jit(f)(np.ones(3))
    frames = []
    traceback = caught.value.__traceback__
    while traceback:
        frames.append(traceback.tb_frame.f_code.co_name)
        traceback = traceback.tb_next
    assert frames[-1] == "f"
    assert len(frames) <= 4


def test_branches_of_generators():
    def positive(x):
        for v in x:
            if v > 0:
                yield v

    def total(x):
        return sum(positive(x))

    with pytest.raises(errors.ConcretizationError, match=r"(?s)if v > 0.*appends to a list"):
        jit(total)(np.ones(3))


def test_the_first_of_what_a_condition_chooses():
    text = failure(
        lambda x: next(v for v in x if v > 0),
        np.ones(3),
        raises=errors.UnsupportedFunctionError,
        also=NotImplementedError,
    )
    assert "next() of a generator expression with a condition" in text
    assert "a default: next(" in text


def test_recursion_whose_depth_data_decides():
    def halved(x):
        return x if x < 1 else halved(x / 2)

    with pytest.raises(RecursionError, match=r"(?s)JN028.*halved is traced.*a loop") as refused:
        jit(halved)(5.0)
    assert "else halved(x / 2)" in str(refused.value)


def test_every_class_has_its_own_code():
    classes = [c for c in vars(errors).values() if isinstance(c, type)]
    classes = [c for c in classes if issubclass(c, errors.JitnetError)]
    assert len({c.code for c in classes}) == len(classes)


class Mode(enum.Enum):
    FAST = 1
    SLOW = 2


def test_enums_are_static():
    f = jit(lambda x, mode: x * 2 if mode is Mode.FAST else x)
    assert f(1.0, Mode.FAST) == 2.0
    assert f(1.0, Mode.SLOW) == 1.0


def test_raising_errstate_is_refused():
    def f(x):
        return x / 0.0

    with np.errstate(divide="raise"):
        failure(f, np.ones(3), raises=errors.UnsupportedFunctionError, also=NotImplementedError)


def test_unknown_functions_without_source_are_refused():
    def clock(x):
        return x + time.time()

    def dice(x):
        return x + np.random.rand(3)

    for f in (clock, dice):
        failure(f, np.ones(3), raises=errors.UnsupportedFunctionError, also=NotImplementedError)


class Ledger:
    entries = 0

    def note(self, x):
        Ledger.entries += 1
        return x


def test_what_is_changed_outside_is_named_with_its_line():
    def f(ledger, x):
        return ledger.note(x)

    with pytest.raises(errors.MutationError) as caught:
        jit(f)(Ledger(), np.ones(3))
    text = str(caught.value)
    assert "changes the attribute entries of the class Ledger" in text
    assert "Ledger.entries += 1" in text
    assert Ledger.entries == 0


REMEDIES = [
    (lambda n: n**50, (1000,), "static=("),
    (lambda x: sorted([v for v in x if v > 0]), (np.ones(40),), "np.sort(x[x > 0])"),
    (lambda x: sorted(x[x > 0], key=lambda v: -v), (np.ones(3),), "np.argsort"),
    (lambda x: [1, "two", 3.0][int(x[0])], (np.ones(3),), "elif"),
    (lambda x: range(3, 6)[int(x[0])], (np.ones(3),), "np.array(items)[i]"),
    (lambda x: ([x] * 65)[int(x[0])], (np.ones(3),), "np.stack(items)[i]"),
    (lambda x: {v for v in x}, (np.ones(3),), "np.unique"),  # noqa: C416
    (lambda x: set(x), (np.ones(3),), "np.unique"),
    (lambda x: {1.0: 2}[x[0]], (np.ones(3),), "an array of keys"),
    (lambda x: [x[0], x[1]].index(x[1]), (np.ones(3),), "np.flatnonzero"),
    (lambda x: np.vectorize(lambda v: v + 1)(x), (np.ones(3),), "np.array([f(v) for v in x])"),
    (np.linalg.inv, (np.ones((3, 3), np.float16),), "x.astype(np.float32)"),
    (lambda x: x * 2, (np.array([1, 2.0], object),), "x.astype(np.float64)"),
    (lambda x: x, (np.array(["a"]),), "np.unique(x, return_inverse=True)"),
    (lambda x: pickle.dumps(x), (np.ones(3),), "the array as a result"),
    (lambda x: statistics.fmean(x), (np.ones(3),), "np.mean"),
    (lambda x: copy.deepcopy({"log": [v for v in x if v > 0]}), (np.ones(40),), "list(x)"),
]


@pytest.mark.parametrize(("f", "args", "remedy"), REMEDIES, ids=range(len(REMEDIES)))
def test_remedies(f, args, remedy):
    with pytest.raises(errors.JitnetError) as caught:
        jit(f)(*args)
    assert f"  remedy: {caught.value.remedy}" in str(caught.value)
    assert remedy in caught.value.remedy
    assert caught.value.frames[0].file == __file__


def test_functions_of_scipy_are_called_so():
    special = pytest.importorskip("scipy.special")

    def f(x):
        return special.erf(x)

    text = failure(f, np.ones(3), raises=errors.UnsupportedFunctionError, also=NotImplementedError)
    assert "scipy.special.erf of traced values" in text
    assert "np.erf" not in text


def test_cases_are_ifs():
    def f(x):
        match {"first": x[0]}:
            case {"first": 1.0}:
                return 2.0
        return 3.0

    text = failure(f, np.ones(3), raises=errors.ConcretizationError, also=TypeError)
    assert "if and elif" in text


def test_a_handler_of_what_an_int_argument_decides():
    def f(x, k):
        try:
            return x[k] / (3 // k)
        except ZeroDivisionError:
            return -1.0
        except IndexError:
            return -2.0

    x = np.array([4.0, 5.0, 6.0])
    compiled = jit(f)
    for k in (0, 1, 2, 7, -1):
        assert compiled(x, k) == f(x, k)


def test_a_handler_of_what_data_decides_is_not_reached():
    def f(x):
        try:
            return x[int(x[0])]
        except IndexError:
            return -1.0

    compiled = jit(f)
    assert compiled(np.ones(3)) == 1.0
    with pytest.raises(errors.IndexingError, match="in the place of try and except"):
        compiled(np.full(3, 9.0))
