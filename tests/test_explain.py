"""explain: why a call is compiled again, what is static, what is copied and what is changed."""

from __future__ import annotations

import re
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from jitnet import jit
from jitnet.frontend import jitted

SCALE = 2.0


def decision(f: Any, *args: Any, **kwargs: Any) -> str:
    """The first line, without the call."""
    first = f.explain(*args, **kwargs).splitlines()[0]
    return re.sub(r"^\w+\(.*?\) is ", "", first)


def section(text: str, title: str) -> list[str]:
    """The lines below a title; what stands beside it where there are none."""
    lines = text.splitlines()
    i = next(i for i, line in enumerate(lines) if line.startswith(f"{title}:"))
    below = []
    for line in lines[i + 1 :]:
        if not line.startswith("  "):
            break
        below.append(line.strip())
    return below or [lines[i].partition(": ")[2]]


def test_first_and_later_calls() -> None:
    f = jit(lambda x: x * 2)
    assert decision(f, np.ones(3)) == "compiled, for the first time"
    assert f.explain(np.ones(3)).startswith("lambda(x: f64[3]) is not compiled again")
    assert f.cache_info().currsize == 1
    f(np.ones(3))
    assert f.cache_info().misses == 1


@pytest.mark.parametrize(
    ("first", "then", "told"),
    [
        (np.ones(3), np.ones(4), "x has shape (4,), and had (3,)"),
        (np.ones(3), np.ones(3, "f4"), "x has dtype float32, and had float64"),
        (
            np.ones((2, 3)),
            np.asfortranarray(np.ones((2, 3))),
            "x lies in memory as Fortran order, and lay as C order",
        ),
        (1, 1.0, "x is a Python float, and was a Python int"),
        (1.0, np.float64(1), "x is a NumPy float64, and was a Python float"),
        (1.0, "a", "x is the static 'a', and was a Python float"),
        ("a", "b", "x, which is static, is 'b', and was 'a'"),
        ((1.0, 2.0), (1.0,), "the arguments have no x.1"),
        ({"a": 1.0}, {"a": 1.0, "b": 2.0}, "the arguments have x.b too"),
        ((1.0,), [1.0], "the arguments are in other containers"),
    ],
)
def test_what_is_new_about_an_argument(first: Any, then: Any, told: str) -> None:
    f = jit(lambda x: 1)
    f(first)
    assert decision(f, then).startswith(f"compiled again: {told}")


def test_read_only_arrays() -> None:
    x = np.ones(3)
    x.flags.writeable = False
    f = jit(lambda x: x + 1)
    f(np.ones(3))
    assert decision(f, x) == "compiled again: x is read-only, and was not"


def test_the_nearest_program_is_compared() -> None:
    f = jit(lambda x, y: x * y)
    f(np.ones(3), np.ones(3))
    f(np.ones((2, 4)), 1.0)
    f(np.ones(3, "f4"), 2)
    assert decision(f, np.ones(3), np.ones(1)) == ("compiled again: y has shape (1,), and had (3,)")


def test_guards_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    factor, weights, model = 2.0, [1.0, 2.0], SimpleNamespace(bias=1.0)

    @jit
    def f(x: Any) -> Any:
        return x * SCALE * factor * weights[0] + model.bias

    f(1.0)
    monkeypatch.setattr(sys.modules[__name__], "SCALE", 3.0)
    assert decision(f, 1.0) == "compiled again: global SCALE is 3.0, and was 2.0"
    factor = 4.0
    assert "variable factor of a function around it is 4.0, and was 2.0" in f.explain(1.0)
    weights[0] = 5.0
    assert "a list from outside is [5.0, 2.0], and was [1.0, 2.0]" in f.explain(1.0)
    model.bias = 2.0
    assert "attribute bias is 2.0, and was 1.0" in f.explain(1.0)
    assert f.explain(1.0).splitlines()[0].endswith("the program for such arguments is there")
    assert f(1.0) == 3.0 * 4.0 * 5.0 + 2.0


def test_why_arguments_are_static() -> None:
    def f(x: Any, n: int, mode: str, k: int) -> Any:
        y = [x, 2 * x][n]
        return y * k if mode == "scaled" else y

    g = jit(f, static="k")
    told = section(g.explain(np.ones(2), 1, "scaled", 3), "static")
    line = f.__code__.co_firstlineno + 1
    assert told == [
        f"n = 1: its value is needed at {__file__}:{line}",
        "mode = 'scaled': a str is told apart by its value",
        "k = 3: jit(static=...) says so",
    ]
    assert section(jit(lambda x: x).explain(1.0), "static") == ["none"]
    assert section(jit(lambda n: n).explain(1 << 70), "static") == [
        f"n = {1 << 70}: it does not fit int64"
    ]


def test_changes_and_copies() -> None:
    def f(x: Any, y: Any) -> Any:
        before = x.copy()
        x[0] = y
        return before

    def g(x: Any) -> Any:
        y = x * 2
        z = y.copy()
        y[0] = 5.0
        return y, z

    text = jit(f).explain(np.ones(4), 2.0)
    assert section(text, "changes") == ["argument x"]
    assert section(text, "copies") == ["none"]
    text = jit(g).explain(np.ones(4))
    assert section(text, "changes") == ["none"]
    line = g.__code__.co_firstlineno + 3
    assert section(text, "copies") == [f"f64[4] at {__file__}:{line}: y[0] = 5.0: %y is read later"]
    assert re.search(r"^kernels: 2, about \d+ operations on numbers$", text, re.MULTILINE)


def test_native_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jitted, "NATIVE_AFTER", 1)
    fast, slow = jit(lambda x: x + 1), jit(lambda x: x[1:])
    x = np.ones(3)
    assert "native entry: not yet" in fast.explain(x)
    for _ in range(3):
        fast(x)
        slow(x)
    if jitted._HAVE_ENTRIES:
        assert fast.explain(x).endswith("native entry: yes")
        assert slow.explain(x).endswith("native entry: no, Python makes calls of this kind")


def test_shared_memory() -> None:
    @jit
    def f(a: Any, b: Any) -> None:
        a[0] = b[-1]

    x = np.ones(4)
    f(x.copy(), x.copy())
    assert "the arguments share memory in another way" in f.explain(x, x)


def test_log_of_recompilations(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("JITNET_LOG", "recompiles")

    @jit
    def layer(x: Any) -> Any:
        return x * 2

    layer(np.ones(3))
    layer(np.ones(3))
    assert capsys.readouterr().err == ""
    layer(np.ones(4))
    assert capsys.readouterr().err == (
        "jitnet: layer is compiled again: x has shape (4,), and had (3,)\n"
    )
