"""`print` in compiled functions, and texts with traced values: what Python prints is printed.

printed(f, x)       what `f(x)` prints to stdout and stderr, as it is and compiled
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import io
import linecache
import logging
import sys
import threading
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jitnet
from jitnet import errors, ops
from jitnet.codegen.program import lower
from jitnet.interp import evaluate
from jitnet.ir import ArrayType, Builder, parse
from jitnet.ir import types as T
from jitnet.kernel.interp import run
from jitnet.passes import optimize
from jitnet.passes.fuse import fuse
from jitnet.passes.pairs import pairs

X = np.array([1.0, -2.5, 3.0])

Printed = tuple[str, str]


def captured(run: Callable[[], Any]) -> Printed:
    """What is written to stdout and stderr meanwhile."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        run()
    return out.getvalue(), err.getvalue()


def agree(f: Callable[..., Any], *args: Any, calls: int = 2) -> Printed:
    """Compiled, the function prints at each call what it prints as it is."""
    expected = captured(lambda: f(*args))
    assert expected != ("", ""), "the test prints nothing"
    compiled = jitnet.jit(f)
    for _ in range(calls):
        assert captured(lambda: compiled(*args)) == expected
    return expected


# -- print -----------------------------------------------------------------------------------------

VALUES: list[Any] = [
    *(np.dtype(d).type(v) for d, v in (("f8", 0.1), ("f4", 0.1), ("i4", -3), ("u1", 200))),
    *(np.bool_(True), np.float64("nan"), np.complex128(1 - 2j), np.complex64(0.1j)),
    *(2.5, -0.0, 1e22, float("inf"), 7, -(2**62), True, 1 + 2j),
    *(np.arange(12.0).reshape(3, 4), np.arange(6, dtype="i2").reshape(2, 3).T, X[::-1]),
    *(np.array([True, False]), np.empty((0, 3)), np.array(5.0), np.array([1 + 2j, -0.5j])),
    np.linspace(0.0, 1.0, 2000, dtype="f4"),
    np.asfortranarray(np.arange(6.0).reshape(2, 3)),
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_values_print_as_they_are(value: Any) -> None:
    def f(x: Any) -> Any:
        print(x)
        print("a", x, [x, (x,)], {"k": x}, f"{x} {x!r} {x!s}", sep="|")
        return x

    agree(f, value)


def test_computed_values_print_as_they_are() -> None:
    def f(x: Any, n: int, s: float) -> Any:
        print(x.sum(), x * 2, n + 1, n * s, n > 2, x > 0, x[0], x.astype(np.float32)[1], x[1:].T)
        print(len(x), x.shape, x.dtype, np.sqrt(x[0]), float(x[0]), int(s), x.mean().dtype)
        return x

    agree(f, X, 3, 0.1)


def test_sep_end_file_and_flush() -> None:
    def f(x: Any) -> None:
        print()
        print(x, x, sep="", end="")
        print(x, 1, sep=None, end=None)
        print("{}", "{0}", "é\n\t\\'\"", x, flush=True)
        print(x, file=sys.stderr)
        print("known", file=sys.stdout)
        print(x, x, sep=f"<{x[0]}>", end=f"<{x[1]}>\n")

    agree(f, X)


def test_mistakes_of_print_are_pythons() -> None:
    def f(x: Any) -> None:
        print(x, sep=1)  # type: ignore[call-overload]

    with pytest.raises(TypeError, match="sep must be None or a string, not int"):
        jitnet.jit(f)(X)


def test_other_files_are_refused_by_name() -> None:
    file = io.StringIO()

    @jitnet.jit
    def f(x: Any) -> None:
        print(x, file=file)

    with pytest.raises(errors.UnsupportedFunctionError, match="StringIO"):
        f(X)


def test_known_text_prints_at_each_call() -> None:
    def f(x: Any) -> Any:
        print("hello", 3, None, [1, "a"])
        return x

    agree(f, X, calls=3)


def test_order_in_loops_and_branches() -> None:
    def f(x: Any, n: int) -> Any:
        total = 0.0
        for i in range(n):
            if x[i % 3] > 0:
                print("up", i, total)
                total += x[i % 3]
            elif i > 4:
                print("late", i)
            else:
                print(f"down {i}: {total:.2f}", file=sys.stderr)
            print("after", i)
        while total > 1:
            print("while", total)
            total /= 2
        print("end", total)
        return total

    agree(f, X, 7)


def test_early_exits() -> None:
    def f(x: Any) -> Any:
        for i in range(3):
            print("at", i)
            if x[i] < 0:
                print("negative", x[i])
                return i
            if x[i] > 2:
                break
            print("next")
        print("left")
        return -1

    agree(f, X)
    agree(f, np.array([3.0, 1.0, 1.0]))


def test_arrays_print_as_they_are_at_that_time() -> None:
    def f(x: Any) -> Any:
        y = x.copy()
        text = f"{y}"
        print(y, y[1:])
        y[0] = 5.0
        print(y, text)
        y += 1
        print(y)
        return y

    agree(f, X)


def test_written_arguments_print_as_they_are_at_that_time() -> None:
    def f(x: Any) -> None:
        for i in range(len(x)):
            print(x)
            x[i] = i * 10.0
        print(x)

    expected = captured(lambda: f(X.copy()))
    assert captured(lambda: jitnet.jit(f)(X.copy())) == expected


def test_helpers_methods_and_comprehensions() -> None:
    class Model:
        def __init__(self, w: Any) -> None:
            self.w = w

        def step(self, x: Any) -> Any:
            print("w", self.w, "x", x)
            return self.w * x

    def show(*parts: Any) -> None:
        print(*parts, sep=",")

    def f(x: Any) -> Any:
        model = Model(x[0])
        show(*[model.step(v) for v in (x, x + 1)])
        return [print(i, v) for i, v in enumerate(x[:2])]

    agree(f, X)


def test_arrays_from_outside_are_read_when_they_are_printed() -> None:
    table = np.array([1.0, 2.0])

    @jitnet.jit
    def f(x: Any) -> Any:
        print(table, x)
        return x

    assert captured(lambda: f(1.0)) == ("[1. 2.] 1.0\n", "")
    table[0] = 9.0
    assert captured(lambda: f(1.0)) == ("[9. 2.] 1.0\n", "")


def test_extents_that_data_decides() -> None:
    def f(x: Any) -> Any:
        y = x[x > 0]
        print(y, len(y), y.sum(), y[::-1])
        return y

    agree(f, X)


def test_calls_that_come_often() -> None:
    def f(x: Any, n: int) -> Any:
        print("n", n)
        return x * n

    agree(f, X, 3, calls=120)


def test_nested_jit() -> None:
    @jitnet.jit
    def inner(x: Any) -> Any:
        print("inner", x)
        return x + 1

    def f(x: Any) -> Any:
        print("outer", x)
        return inner(inner(x))

    agree(f, X)


def test_equal_prints_are_not_merged_nor_moved() -> None:
    def f(x: Any) -> Any:
        a = x * 0.1
        print("same", a[0])
        print("same", a[0])
        b = a.sum()
        print("sum", b)
        print("same", a[0])
        return b

    agree(f, X)


def test_prints_before_an_error_and_none_after() -> None:
    def f(x: Any, i: int) -> Any:
        print("before", i)
        y = x[i]
        print("after", y)
        return y

    compiled = jitnet.jit(f)
    assert captured(lambda: compiled(X, 1)) == ("before 1\nafter -2.5\n", "")

    def fails() -> None:
        with pytest.raises(IndexError):
            compiled(X, 5)

    assert captured(fails) == ("before 5\n", "")


def test_error_while_printing_comes_out() -> None:
    class Broken(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError("gone")

    @jitnet.jit
    def f(x: Any) -> Any:
        print(x)
        print("never")
        return x

    with contextlib.redirect_stdout(Broken()), pytest.raises(BrokenPipeError, match="gone"):
        f(X)
    assert captured(lambda: f(X))[0] == f"{X}\nnever\n"


def test_a_stream_that_calls_the_function_again() -> None:
    @jitnet.jit
    def f(x: Any, depth: Any) -> Any:
        print("x", x, depth)
        return x

    class Deeper(io.StringIO):
        def write(self, text: str) -> int:
            if "3" in text:
                f(1.5, 0)
            return super().write(text)

    stream = Deeper()
    with contextlib.redirect_stdout(stream):
        f(2.5, 3)
    assert stream.getvalue() == "x 1.5 0\nx 2.5 3\n"


def test_threads_print_their_own_values() -> None:
    @jitnet.jit
    def f(x: Any) -> Any:
        for i in range(20):
            print(f"{x}:{i} ", x, end="\n")
        return x

    f(0.0)
    lines: dict[float, list[str]] = {}
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        threads = [threading.Thread(target=f, args=(float(k),)) for k in range(1, 5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for line in out.getvalue().splitlines():
        tag, value = line.split()
        assert tag.split(":")[0] == value
        lines.setdefault(float(value), []).append(tag)
    assert {k: len(v) for k, v in lines.items()} == dict.fromkeys((1.0, 2.0, 3.0, 4.0), 20)


# -- derivatives -----------------------------------------------------------------------------------


def test_gradients_print_once() -> None:
    def f(x: Any) -> Any:
        y = x * x
        print("y", y)
        total = 0.0
        for i in range(3):
            total = total * y[i] + np.sin(y[i])
            print("step", i, total)
            if total > 0.5:
                print("big", total)
        return total

    expected = captured(lambda: f(X))
    for transformed in (jitnet.grad(f), jitnet.jit(jitnet.grad(f)), jitnet.value_and_grad(f)):
        assert captured(functools.partial(transformed, X)) == expected


# -- texts -----------------------------------------------------------------------------------------


def test_format_specs_and_conversions() -> None:
    def f(x: Any, n: int, s: float, b: bool) -> None:
        v = x[0]
        print(f"{v:.3f}|{v:>10}|{v:+e}|{n:05d}|{n:x}|{s:10.2f}|{s!r:>8}|{v!r:>20}|{x!r}")
        print("{} {:.2f} {n!r} {!s:>8} {{}}".format(v, s, x[1], n=n), "{1}{0}".format(n, s))  # noqa: UP030, UP032
        print(str(v) + "," + repr(v) + "," + format(s, ".1f") + ascii(n), b, f"{b}")
        print(", ".join([f"{i}={y:.1f}" for i, y in enumerate(x)]))
        print(f"{f'{v:.1f}' + '!'} {f'{n}'}", f"{n=} {v = :.2f}", f"{'a':>{4}}")

    agree(f, X, 12, 0.25, True)


@settings(max_examples=20, deadline=None)
@given(st.floats(), st.sampled_from(["", ".3f", "e", "+.2g", ">20", "010.1f", "%", "G"]))
def test_any_float_in_any_format(x: float, spec: str) -> None:
    def f(x: Any) -> None:
        print(f"{x:{spec}}", np.sqrt(np.abs(np.float32(x))))

    with np.errstate(all="ignore"):
        agree(f, x, calls=1)


PERCENT = ("%s", "%r", "%8.3f", "%-12e|", "%+g", "% .1E", "%012.4f", "%5.1s|", "%.3r", "%%%s")


@settings(max_examples=20, deadline=None)
@given(st.floats(), st.integers(-(2**62), 2**62), st.sampled_from(PERCENT))
def test_any_number_by_percent(x: float, n: int, form: str) -> None:
    name: dict[str, Any] = {}
    source = f"""def f(x, n):
    print({form!r} % x, "%d|%6d|%-6d|%+i|%x|%06d" % (n, n, n, n, n, n), "%(a)s" % {{"a": x}})
    print("%s and %s" % (x, "known"), "%s" % "%d", {form!r} % 1.5)
"""
    file = f"<percent {form}>"
    linecache.cache[file] = (len(source), None, source.splitlines(True), file)
    exec(compile(source, file, "exec"), name)
    agree(name["f"], x, n, calls=1)


class Pair(NamedTuple):
    a: Any
    b: Any


@dataclasses.dataclass
class Shown:
    a: Any
    b: Any = dataclasses.field(default=None, repr=False)


class Own:
    def __init__(self, a: Any) -> None:
        self.a = a

    def __repr__(self) -> str:
        return f"Own({self.a!r})"


class OwnToo(Own):
    def __str__(self) -> str:
        return f"<{self.a:.2f}>"


def test_objects_that_hold_values() -> None:
    def f(x: Any) -> None:
        print(Pair(x[0], [x]), Shown(x, 2), Own(x[0]), OwnToo(x[1]), [Pair(1, x[2]), OwnToo(x[1])])
        print(
            f"{Own(x[0])} {OwnToo(x[0])!r} {Shown(1)} {Pair(x, 2)!s}|{[1]!s:>9} {['é']!a}",
            str(Own(x)),
        )
        loop: list[Any] = [x[0], {"a": (1,)}]
        loop.append(loop)
        print(loop, {(1, 2): [x], "b": {}}, [None, Own(3)])

    agree(f, X)


def test_lists_that_grow_in_a_loop() -> None:
    def f(x: Any, n: int) -> Any:
        positive, numbers, rows = [], [], []
        for i in range(n):
            if x[i % 3] > 0:
                positive.append(x[i % 3])
                numbers.append(i * 1.5)
                rows.append(x * i)
        print(positive, numbers)
        print(f"{rows} {len(rows)}", str(positive))
        return np.array(positive)

    agree(f, X, 7)


def test_print_as_an_argument() -> None:
    def f(x: Any) -> Any:
        list(map(print, x))
        show = functools.partial(print, "x", sep="=")
        show(x[0])
        log = print
        log(x)
        return x

    agree(f, X)


def test_texts_are_made_where_they_stand() -> None:
    def f(x: Any, n: int) -> Any:
        lines = []
        for i in range(2):
            lines.append(f"{i}: {x[i]}")
        label = f"n is {n}"
        for i in range(n):
            label = f"{i} of {n}"
            print(label)
        if x[0] > 0:
            label = f"positive {x[0]}"
            print(label)
        print("\n".join(lines))
        return x

    agree(f, X, 3)


def test_printed_ints_are_not_made_static() -> None:
    @jitnet.jit
    def f(x: Any, n: int) -> Any:
        print(f"n={n}", n, str(n))
        return x * n

    for n in range(3):
        assert captured(functools.partial(f, X, n))[0] == f"n={n} {n} {n}\n"
    assert f.cache_info().misses == 1


def test_ints_in_keys_are_made_static() -> None:
    def f(params: Any, n: int) -> Any:
        for k in range(n):
            print(f"layer{k}", params[f"w{k}"])
        return params[f"w{n}"] * 2.0

    params = {f"w{k}": X + k for k in range(3)}
    agree(f, params, 2)
    assert np.array_equal(jitnet.jit(f)(params, 1), f(params, 1))


def test_returned_texts_of_ints_are_made_static() -> None:
    @jitnet.jit
    def f(x: Any, n: int) -> Any:
        return x * n, f"n={n}"

    assert f(X, 2)[1] == "n=2"
    assert f(X, 3)[1] == "n=3"


REFUSED: list[Callable[[Any], Any]] = [
    lambda x: f"{x[0]}",
    lambda x: {f"{x[0]}": x},
    lambda x: x if f"{x[0]}" == "1.0" else -x,
    lambda x: x * len(str(x)),
    lambda x: print(f"{x[0]}".upper()),
    lambda x: print(f"{f'{x[0]}':>10}"),
    lambda x: print(f"{x[0]}"[:2]),
    lambda x: getattr(x, f"{x[0]}"),
    lambda x: print("%d" % x[0]),  # noqa: UP031
    lambda x: print("%c" % x.argmax()),  # noqa: UP031
    lambda x: print("%f" % x),  # noqa: UP031
    lambda x: print("".join(["%s"]) % x[0]),
]


@pytest.mark.parametrize("f", REFUSED)
def test_texts_that_must_be_known_are_refused_by_name(f: Callable[[Any], Any]) -> None:
    with pytest.raises(errors.JitnetError, match="traced"):
        jitnet.jit(f)(X)


# -- messages of errors ----------------------------------------------------------------------------


def message_of(f: Callable[..., Any], *args: Any) -> tuple[type, tuple[Any, ...]]:
    with pytest.raises(Exception) as caught:
        f(*args)
    return caught.type, caught.value.args


def same_error(f: Callable[..., Any], *args: Any) -> None:
    compiled = jitnet.jit(f)
    for _ in range(2):
        assert message_of(compiled, *args) == message_of(f, *args)


def test_messages_with_values() -> None:
    def f(x: Any, n: int) -> Any:
        if x[0] > 0:
            y = x[0] * 2
            raise ValueError(f"bad {y} {y:.3f} {n:03d} {n!r} {y!r} {{}} {x[1]:>8}")
        return x

    same_error(f, X, 3)
    same_error(f, X.astype(np.float32), 3)
    assert np.array_equal(jitnet.jit(f)(-X, 3), -X)


def test_asserts_with_values() -> None:
    def f(x: Any, n: int) -> Any:
        assert n >= 0, f"n is {n}"
        for i in range(n):
            assert x[i] > 0, f"x[{i}] is {x[i]:.1f}"
        return x

    compiled = jitnet.jit(f)  # pytest adds to the messages of f itself
    assert message_of(compiled, X, -1) == (AssertionError, ("n is -1",))
    assert message_of(compiled, X, 3) == (AssertionError, ("x[1] is -2.5",))
    assert np.array_equal(compiled(X, 1), X)


def test_prints_in_front_of_an_error() -> None:
    def f(x: Any) -> Any:
        if x[0] > 0:
            print("about to raise", x)
            raise KeyError(str(x[0]))
        return x

    assert captured(lambda: same_error(f, X))[0] == f"about to raise {X}\n" * 4


def test_an_error_that_always_comes() -> None:
    def f(x: Any) -> Any:
        print("first", x)
        raise RuntimeError(f"always {x.sum()}")

    assert captured(lambda: same_error(f, X))[0] == f"first {X}\n" * 4


def test_errors_of_several_arguments() -> None:
    def f(x: Any) -> Any:
        if x[0] > 0:
            raise ValueError("bad", x[0])
        return x

    with pytest.raises(ValueError, match=r"\('bad', np.float64\(1.0\)\)"):
        jitnet.jit(f)(X)


def test_arrays_in_messages_are_refused_by_name() -> None:
    @jitnet.jit
    def f(x: Any) -> Any:
        if x[0] > 0:
            raise ValueError(f"bad {x}")
        return x

    with pytest.raises(errors.ConcretizationError, match="a message of ValueError"):
        f(X)


# -- what else writes ------------------------------------------------------------------------------


def test_warnings_and_writes_of_known_text_run_while_tracing(caplog: Any) -> None:
    @jitnet.jit
    def f(x: Any) -> Any:
        warnings.warn("known", UserWarning, stacklevel=1)
        sys.stdout.write("known\n")
        logging.getLogger("tests").warning("known %d", 3)
        return x

    with pytest.warns(UserWarning, match="known") as caught:
        assert captured(lambda: f(X))[0] == "known\n"
    assert caught[0].filename == __file__
    assert caplog.messages == ["known 3"]
    assert captured(lambda: f(X)) == ("", "")
    assert caplog.messages == ["known 3"]


@pytest.mark.parametrize(
    "f",
    [
        lambda x: warnings.warn(f"{x[0]}", stacklevel=1),
        lambda x: warnings.warn("negative", stacklevel=1) if x[0] > 0 else None,
        lambda x: sys.stdout.write(f"{x[0]}"),
        lambda x: logging.warning("x is %s", x[0]),
        lambda x: logging.getLogger("tests").info("negative") if x[0] > 0 else None,
        lambda x: sys.stderr.write("negative") if x[0] > 0 else 0,
    ],
)
def test_others_are_refused_by_name(f: Callable[[Any], Any]) -> None:
    with pytest.raises(errors.UnsupportedFunctionError, match=r"warnings\.warn|write|logging\."):
        jitnet.jit(f)(X)


# -- the op ----------------------------------------------------------------------------------------


def test_text_of_the_op_round_trips_and_interpreters_print() -> None:
    with Builder("f") as b:
        x = b.param(ArrayType(T.f64, (2,)), "x")
        z = b.param(T.scalar(T.c64), "z")
        ops.host_print("é {0}\n{1!r} {{}}\\", [x, z], ["array", "scalar"], "stderr", True)
        f = b.build(x)
    assert str(parse(str(f))) == str(f)
    args = [np.array([1.0, 2.0]), np.complex64(1j)]
    expected = ("", "é [1. 2.]\nnp.complex64(1j) {}\\")
    assert captured(lambda: evaluate(f, args)) == expected
    halves = pairs(f)
    assert (
        captured(lambda: evaluate(optimize(halves), [args[0], np.array([0, 1], "f4")])) == expected
    )


def test_the_kernel_interpreter_prints() -> None:
    with Builder("f") as b:
        x = b.param(ArrayType(T.f32, (2, 3)), "x")
        n = b.param(T.scalar(T.i64), "n")
        flag = b.param(T.scalar(T.bool_), "flag")
        values = [ops.transpose(x, (1, 0)), n, flag]
        ops.host_print("{0} {1} {2}", values, ["list array", "python", "scalar"])
        f = b.build()
    args = [np.arange(6, dtype="f4").reshape(2, 3), np.int64(-4), np.bool_(True)]
    expected = f"{list(args[0].T)} -4 True", ""
    assert captured(lambda: evaluate(f, args)) == expected
    kernel = lower(fuse(f), ["C", "C", "C"]).kernel
    assert captured(lambda: run(kernel, args)) == expected


def test_mistakes_in_the_op_are_refused() -> None:
    for kinds, stream in (
        (("array",), "stdout"),
        (("list",) * 2, "stdout"),
        (("array",) * 2, "out"),
    ):
        with Builder("f") as b:
            x = b.param(ArrayType(T.f64, (2,)), "x")
            with pytest.raises(Exception, match="host_print"):
                ops.host_print("{0}{1}", [x, x], kinds, stream)
