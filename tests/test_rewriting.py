"""Rewritten functions against the originals: results, errors, positions."""

from __future__ import annotations

import ast
import doctest
import inspect
import linecache
import warnings
from textwrap import dedent
from types import CodeType, GeneratorType

import pytest
import rewriting_samples as samples
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_hooks import PlainHooks

from jitnet.frontend import sources
from jitnet.frontend.rewriting import is_rewritten, is_thunk, rewritten

COMPREHENSIONS = ("<listcomp>", "<genexpr>", "<dictcomp>", "<setcomp>")


def frames(error, file):
    """The user's frames of an error, with thunks merged into their functions: (name, positions)."""
    found = []
    tb = error.__traceback__
    while tb is not None:
        code = tb.tb_frame.f_code
        if code.co_filename == file:
            where = [*code.co_positions()][tb.tb_lasti // 2]
            if isinstance(error, AssertionError) or code.co_name == "errors_of_headers":
                where = where[0]  # the columns are other ones in each Python version
            name = code.co_qualname
            while name.endswith(COMPREHENSIONS):
                name = name.rpartition(".<locals>.")[0]
            if found and found[-1][0] == name and (is_thunk(code) or name != code.co_qualname):
                found[-1] = (name, where)
            else:
                found.append((name, where))
        tb = tb.tb_next
    return found


def outcome(fn, args):
    """What a call gives: a result, or an error with the positions it went through."""
    file = fn.__code__.co_filename
    try:
        result = fn(*args)
        if isinstance(result, GeneratorType):
            result = [*result]
    except Exception as error:
        kind, text = type(error), str(error)
        if isinstance(error, NameError):
            kind, text = NameError, ""  # an unbound variable of a thunk is a free variable's error
        return kind, text, frames(error, file)
    return "result", repr(result)


@pytest.mark.parametrize(
    ("fn", "calls"), samples.SAMPLES, ids=[fn.__qualname__ for fn, _ in samples.SAMPLES]
)
def test_rewritten_functions_do_what_the_originals_do(fn, calls):
    copy = rewritten(fn, PlainHooks())
    assert copy is not None
    assert is_rewritten(copy.__code__)
    for args in calls:
        fresh = [list(arg) if isinstance(arg, list) else arg for arg in args]
        assert outcome(copy, args) == outcome(fn, fresh), args


# Finding the source


def compiled_from(text, file="<test of sources>", **namespace):
    """What a text defines, with its source where `linecache` finds it."""
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    exec(compile(text, file, "exec", dont_inherit=True), namespace)
    return namespace


def test_functions_without_source_or_of_another_are_left_alone():
    namespace = {}
    exec("def f(x): return x", namespace)
    assert rewritten(namespace["f"], PlainHooks()) is None
    text = "def f(x):\n    return x + 1\n"
    f = compiled_from(text)["f"]
    for other in ("def f(x):\n    return x + 2\n", "\ndef f(x):\n    return x + 1\n", "", "def f("):
        linecache.cache["<test of sources>"] = (0, None, other.splitlines(True), "")
        code = f.__code__.replace(co_firstlineno=1, co_name="f")
        assert sources.find(code) is None, other
    linecache.cache["<test of sources>"] = (0, None, text.splitlines(True), "")
    assert sources.find(f.__code__) is not None


@pytest.mark.parametrize("constant", ["0.0", "-0.0", "1", "True", "1.0", "'a'", "b'a'", "None"])
def test_constants_are_told_apart(constant):
    others = {"0.0", "-0.0", "1", "True", "1.0", "'a'", "b'a'", "None"} - {constant}
    f = compiled_from(f"def f():\n    return x in (3, {constant})\n", x=1)["f"]
    for other in others:
        text = f"def f():\n    return x in (3, {other})\n"
        linecache.cache["<test of sources>"] = (0, None, text.splitlines(True), "")
        assert sources.find(f.__code__) is None, other


def test_lambdas_are_found_by_position():
    text = """
fs = [lambda x: x + 1 if x else 0, lambda x: x + 1 if x else 0, lambda x: x + 1 if x or 2 else 0]
g = (lambda x: (
    x[0] if x
    else lambda y: [x, y][0]),
    lambda x: lambda: (lambda: x if x else 1)())
key = dict(x=3,
           key=lambda v:
               -v if v
               else v)["key"]
table = {
    "a": lambda x: x
    or 5, "b": (lambda x: x and
        7),
}
"""
    made = compiled_from(text)
    hooks = PlainHooks()
    lambdas = [*made["fs"], *made["g"], *made["table"].values(), made["key"], made["g"][1](3)]
    for f in lambdas:
        copy = rewritten(f, hooks)
        assert copy is not None
        assert copy.__code__.co_varnames[:1] == f.__code__.co_varnames[:1]
        lines = {line for _, _, line in copy.__code__.co_lines() if line}
        assert lines <= {line for _, _, line in f.__code__.co_lines() if line}
    columns = [sources.find(f.__code__).col_offset for f in made["fs"]]
    assert columns == [6, 35, 64]
    assert [rewritten(f, hooks)(0) for f in made["fs"]] == [0, 0, 1]
    assert [rewritten(f, hooks)(0) for f in made["table"].values()] == [5, 0]
    assert sorted([3, 0, 2], key=rewritten(made["key"], hooks)) == [3, 2, 0]
    assert rewritten(made["g"][1](3), hooks)() == 3
    assert rewritten(made["g"][0], hooks)([])(4) == []


def test_blocks_that_end_late():
    """Lines at the margin that do not end the function they stand in."""
    text = '''
class A:
    @staticmethod
    @(lambda f:
f)
    def f(x=(1,
2),
    ):
        """text
at the margin
    def f(x): return 3
"""
# a comment
        y = (x
+ (3,))

        if y:
            return y, """
"""
    def g(self): return 1
if A: import math as m, os.path
from math import (
    sin,
    cos as c,
)
def h(x):
    if x: return m.floor(x), c.__name__.upper()
    return os.path.basename("a/b"), x.bit_length()
async def k(x):
    def m(): return x.y() if x else 1
    return m()
'''
    made = compiled_from(text)
    for f, args in ((made["A"].f, ()), (made["A"].g, (0,)), (made["h"], (1,)), (made["h"], (0,))):
        copy = rewritten(f, PlainHooks())
        assert copy is not None, f
        assert copy(*args) == f(*args)
    with pytest.raises(StopIteration, match="1"):
        rewritten(made["k"], PlainHooks())(0).send(None)


def test_a_def_is_found_without_the_file_around_it(monkeypatch):
    text = "\n" * 50 + "class A:\n    def f(self):\n        return self\n" + "x = 1\n" * 3000
    f = compiled_from(text)["A"].f
    parsed = []
    parse = ast.parse
    monkeypatch.setattr(ast, "parse", lambda text: parsed.append(text.strip()) or parse(text))
    assert rewritten(f, PlainHooks()) is not None
    assert parsed == ["if 1:\n    def f(self):\n        return self"]


def test_doctests_and_warnings_of_the_source():
    text = "def f(x):\n    if x is 3: return '\\d'\n    return x\n"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        f = compiled_from(text)["f"]
    assert rewritten(f, PlainHooks())(5) == 5
    example = """
    >>> def in_doctest(x):
    ...     for i in range(x):
    ...         if i == 2: return i
    >>> copy = rewritten(in_doctest, PlainHooks())
    >>> copy(2), copy(3)
    (None, 2)
    """
    names = {"rewritten": rewritten, "PlainHooks": PlainHooks}
    test = doctest.DocTestParser().get_doctest(example, names, "example", None, 0)
    assert doctest.DocTestRunner(verbose=False).run(test, clear_globs=False).failed == 0


def test_asserts_that_pytest_has_rewritten():
    def f(x):
        assert x > 0, "negative"
        return -x if x > 5 else x

    hooks = PlainHooks()
    copy = rewritten(f, hooks)
    assert [copy(3), copy(6)] == [3, -6]
    with pytest.raises(AssertionError, match="negative"):
        copy(0)
    assert hooks.used == {"assert_": 3, "if_": 2, "then": 2, "compared": 5, "unary": 1}


# What the copy is


def outer(start):
    total = start

    def f(x, *, k=3):
        """Adds up."""
        nonlocal total
        for i in range(x):
            if i == k:
                break
            total += i
        return total

    f.note = "kept"
    return f


def test_the_copy_shares_what_the_function_has():
    f = outer(10)
    copy = rewritten(f, PlainHooks())
    assert copy.__globals__ is f.__globals__
    cells = dict(zip(copy.__code__.co_freevars, copy.__closure__))
    assert cells["total"] is f.__closure__[0]
    assert (copy.__name__, copy.__qualname__, copy.__module__) == (
        "f",
        "outer.<locals>.f",
        __name__,
    )
    assert (copy.__doc__, copy.__defaults__, copy.__kwdefaults__) == ("Adds up.", None, {"k": 3})
    assert copy.note == "kept"
    assert [copy(3), f(2), copy(9, k=1)] == [13, 14, 14]
    assert copy.__code__.co_filename == f.__code__.co_filename
    assert copy.__code__.co_firstlineno in (
        f.__code__.co_firstlineno,
        f.__code__.co_firstlineno + 1,
    )
    assert rewritten(outer(1), PlainHooks()).__code__ is copy.__code__
    assert rewritten(copy, PlainHooks()) is copy


def test_codes_are_marked_and_named():
    def f(x):
        def g():
            return [y and x for y in range(3) if y]

        if x:
            return x if x > 1 else (lambda: x + 1 if x else 0)
        return g

    copy = rewritten(f, PlainHooks())
    assert not is_rewritten(f.__code__)
    assert not is_thunk(f.__code__)
    found = []

    def visit(code, path):
        assert is_rewritten(code)
        found.append((path, code.co_name, code.co_qualname, is_thunk(code)))
        for const in code.co_consts:
            if isinstance(const, CodeType):
                visit(const, path + 1)

    visit(copy.__code__, 0)
    here = "test_codes_are_marked_and_named.<locals>.f"
    assert {q for _, name, q, thunk in found if thunk and name == "f"} == {here}
    user = [q for _, _, q, thunk in found if not thunk]
    inner = [here, f"{here}.<locals>.g", f"{here}.<locals>.<lambda>"]
    assert sorted(q for q in user if "<listcomp>" not in q) == sorted(inner)
    assert not any("_jn_" in q or "__factory__" in q for _, _, q, _ in found)
    assert is_rewritten(copy(0).__code__)
    assert not is_thunk(copy(1).__code__)
    assert copy(1)() == 2


def test_every_construct_meets_its_hook():
    def f(x, n):
        from contextlib import nullcontext

        if x:
            pass
        while n < 3:
            n += 1
        for _ in range(2):
            pass
        try:
            raise ValueError
        except ValueError:
            pass
        with nullcontext():
            if n > 100:
                return 0
        y = {}
        y["k"] = y["a"] = not x or (x and n)
        x = [i * 2 for i in range(3)], {i for i in range(3) if i}, 1 < n < 3, 1 in y, 1 not in y
        assert (n, x) < (n + 1, x)
        assert x, "message"
        y["b"] = f"{n!r:>{n}}{x[0][0]}" + "%s" % n  # noqa: UP031
        y["a"] += (1 if n else 2) + x[0][1:2][0]
        if x and len(y) > 1:
            del y["b"]
        nullcontext.kept = -n
        first, *_ = nullcontext.__dict__
        y["c"] = nullcontext.kept, first
        del nullcontext.kept
        return y if (z := x) else z

    f = compiled_from(dedent(inspect.getsource(f)))["f"]  # as it was before pytest saw it
    hooks = PlainHooks()
    assert rewritten(f, hooks)(1, 2) == f(1, 2)
    hook_names = {name for name, x in vars(PlainHooks).items() if name.islower() and name[0] != "_"}
    assert hook_names - set(hooks.used) == {"result"}


@pytest.mark.parametrize("call", ["locals()", "vars()", "dir()", "eval('x')", "exec('x')"])
def test_functions_that_look_at_their_variables_are_left_alone(call):
    f = compiled_from(f"def f(x):\n    return {call}\n")["f"]
    assert rewritten(f, PlainHooks()) is None
    f = compiled_from("def f(x):\n    return vars(x) if x else eval('y', {'y': 1})\n")["f"]
    assert rewritten(f, PlainHooks())(0) == 1


def test_long_and_deep_functions():
    lines = "".join(f"    if x == {i}:\n        return {i * i}\n" for i in range(150))
    f = rewritten(compiled_from(f"def f(x):\n{lines}")["f"], PlainHooks())
    assert [f(0), f(149), f(150)] == [0, 149 * 149, None]
    lines = "".join(f"    if x == {i}: return {i}\n" for i in range(3000))
    assert rewritten(compiled_from(f"def f(x):\n{lines}")["f"], PlainHooks()) is None
    deep = "".join(f"{'    ' * d}for i{d} in range(2):\n" for d in range(1, 16))
    deep += "    " * 16 + "n += 1\n" + "    " * 16 + "if n > 7: return i15, i1, n\n"
    f = compiled_from(f"def f(n):\n{deep}")["f"]
    assert rewritten(f, PlainHooks())(0) == f(0)


# Random programs


@st.composite
def programs(draw):
    """A function `f(log, a, b)` of nested control flow, with a log of where it went."""
    lines = ["def f(log, a, b):"]
    budget = draw(st.integers(4, 30))

    def pick(*choices):
        return draw(st.sampled_from(choices))

    def name():
        return pick("a", "b", "c", "d")

    def expression(depth=2):
        kinds = ["name", "number"] + ["and", "or", "not", "if", "chain", "call", "list", "item"] * (
            depth > 0
        )
        kind = pick(*kinds)
        if kind == "name":
            return name()
        if kind == "number":
            return str(draw(st.integers(-1, 4)))
        x, y, z = (expression(depth - 1) for _ in range(3))
        return (
            {
                "and": f"({x} and {y})",
                "or": f"({x} or {y})",
                "not": f"(not {x})",
                "if": f"({x} if {y} else {z})",
                "chain": f"({x} < {y} <= {z})",
                "call": f"say(log, {x})",
                "list": f"len([({x}, k) for k in range({draw(st.integers(0, 3))})])",
                "item": f"(9, 8, 7)[{x}]",
            }[kind]
            if pick(True, True, False)
            else f"({name()} := {x})"
        )

    def block(indent, loop):
        for _ in range(draw(st.integers(1, 4))):
            statement(indent, loop)

    def statement(indent, loop):
        nonlocal budget
        budget -= 1
        kinds = ["log", "assign", "augment", "item", "unpack", "delete", "raise", "fail", "return"]
        kinds += ["break", "continue"] * loop
        if budget > 0 and indent < 6:
            kinds = [*kinds[:3], *kinds[-3:]] + ["if", "for", "while", "try", "with", "match"] * 2
        kind = pick(*kinds)
        put = lambda text: lines.append("    " * indent + text)  # noqa: E731
        if kind == "log":
            put(f"log.append(({len(lines)}, {expression(1)}))")
        elif kind == "assign":
            put(f"{name()} = {expression()}")
        elif kind == "augment":
            put(f"{name()} += {expression(1)}")
        elif kind == "item":
            put(f"log[{expression(0)}] = {name()}, {name()} = {expression()}, 1")
        elif kind == "unpack":
            put(f"{name()}, log[0], *{name()} = say(log, 1), {expression()}")
        elif kind == "delete":
            put(f"del {name()}")
        elif kind == "raise":
            put(f"raise {pick('ValueError', 'KeyError')}({expression(1)})")
        elif kind == "fail":
            put(f"say(log, 1 // {expression(1)})")
        elif kind == "return":
            put(f"return {expression(1)}, {len(lines)}")
        elif kind in ("break", "continue"):
            put(kind)
        elif kind == "if":
            put(f"if {expression()}:")
            block(indent + 1, loop)
            if pick(True, False):
                put(f"elif {expression()}:")
                block(indent + 1, loop)
            if pick(True, False):
                put("else:")
                block(indent + 1, loop)
        elif kind in ("for", "while"):
            items = f"{name()} in range({draw(st.integers(0, 3))})"
            put(f"for {items}:" if kind == "for" else f"while tick(log) and {expression()}:")
            block(indent + 1, True)
            if pick(True, False):
                put("else:")
                block(indent + 1, loop)
        elif kind == "try":
            put("try:")
            block(indent + 1, loop)
            handlers = pick(0, 1, 2)
            for error in ("ValueError", "(TypeError, ArithmeticError) as c")[:handlers]:
                put(f"except {error}:")
                block(indent + 1, loop)
            if handlers and pick(True, False):
                put("else:")
                block(indent + 1, loop)
            if not handlers or pick(True, False):
                put("finally:")
                block(indent + 1, loop)
        elif kind == "with":
            put(f"with noting(log, {len(lines)}, {pick(True, False)}):")
            block(indent + 1, loop)
        else:
            put(f"match {expression()}:")
            for case in ("0", "int(d) if d > 1", "_")[: draw(st.integers(1, 3))]:
                put(f"    case {case}:")
                block(indent + 2, loop)

    block(1, False)
    return "\n".join(lines) + "\n"


class TooLongError(Exception):
    pass


def tick(log):
    log.append("tick")
    if len(log) > 150:
        raise TooLongError
    return True


def say(log, x):
    log.append(x)
    return x


@settings(max_examples=120, deadline=None)
@given(programs(), st.integers(-1, 3), st.integers(0, 3))
def test_random_programs(text, a, b):
    names = {"tick": tick, "say": say, "noting": samples.noting}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        f = compiled_from(text, "<random program>", **names)["f"]
    copy = rewritten(f, PlainHooks())
    assert copy is not None
    logs = [0], [0]
    assert outcome(copy, (logs[0], a, b)) == outcome(f, (logs[1], a, b))
    assert repr(logs[0]) == repr(logs[1])
