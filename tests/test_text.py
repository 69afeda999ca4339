"""Printer and parser: what is printed is read back, bit for bit, and errors name the line."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jitnet import ops
from jitnet.errors import ParseError
from jitnet.ir import (
    ArrayType,
    BufferType,
    Builder,
    Dense,
    Frame,
    Function,
    Literal,
    Loc,
    TapeType,
    parse,
    print_function,
    verify,
)
from jitnet.ir import types as T
from jitnet.kernel import scalars as s
from jitnet.kernel import statements
from jitnet.ops import control, tape

DTYPES = tuple(T.DTYPES.values())


def round_trip(f: Function) -> Function:
    verify(f)
    text = str(f)
    g = parse(text)
    verify(g)
    assert g == f
    assert str(g) == text
    return g


# -- types -----------------------------------------------------------------------------------------


def test_types_print_as_they_are_read() -> None:
    assert str(ArrayType(T.f64)) == "f64"
    assert str(ArrayType(T.f64, (32, 5))) == "f64[32, 5]"
    assert str(BufferType(T.f32, (8, 4))) == "buf f32[8, 4]"
    assert str(BufferType(T.f32, (8, 4), (1, 8))) == "buf f32[8, 4] strides(1, 8)"
    assert str(TapeType(((T.f64, ()), (T.i64, (None,))))) == "tape[f64, i64[?]]"


# -- whole functions -------------------------------------------------------------------------------


def model() -> Function:
    with Builder("model") as b:
        w = b.param(ArrayType(T.f64, (3, 4)), "w")
        x = b.param(ArrayType(T.f64, (4,)), "x")
        h = ops.dot(w, x, ((1,), (0,)))
        y = ops.tanh(ops.add(h, 0.5))
    return b.build(y, ops.full(Literal(2, T.i64), ()))


def test_a_function_as_text() -> None:
    assert (
        str(model())
        == """\
jitnet 1 array
func @model(%w: f64[3, 4], %x: f64[4]) -> (f64[3], i64) {
  %0: f64[3] = dot %w, %x {batch=((), ()), contract=((1,), (0,))}
  %1: f64[3] = add %0, 0.5
  %2: f64[3] = tanh %1
  return %2, 2
}
"""
    )
    round_trip(model())


def test_names_are_unique_and_stable() -> None:
    with Builder("f") as b:
        x = b.param(ArrayType(T.f64), "x")
        same = b.param(ArrayType(T.f64), "x")
        odd = b.param(ArrayType(T.f64), "x.1")
        digits = b.param(ArrayType(T.f64), "7 up")
        unicode = b.param(ArrayType(T.f64), "größe")
        unnamed = b.param(ArrayType(T.f64))
    f = b.build(x, same, odd, digits, unicode, unnamed)
    head = str(f).splitlines()[1]
    assert "(%x: f64, %x.1: f64, %x_1: f64, %_7_up: f64, %größe: f64, %0: f64)" in head
    g = round_trip(f)
    assert [p.name for p in g.params] == ["x", "x", "x_1", "_7_up", "größe", ""]


@pytest.mark.parametrize("name", ["f", "a.b", "<lambda>", "it's", 'say "x"', "", "a b\n"])
def test_function_names(name: str) -> None:
    with Builder(name) as b:
        pass
    assert round_trip(b.build()).name == name


def test_symbolic_dims_in_any_order() -> None:
    with Builder("f") as b:
        n = b.param(T.scalar(T.i64), "n")
        x = b.param(ArrayType(T.f64, (3, n)), "x")
        y = ops.broadcast_to(ops.reduce.reduce_sum(x, (0,)), (2, n))
        z = ops.full(Literal(0.0, T.f64), (ops.add(n, 1),))
    f = b.build(y, n, z, *[d for d in z.dims if not isinstance(d, int)])
    round_trip(f)
    swapped = Function("f", (x, n), f.eqns, f.results)
    assert "(%x: f64[3, %n], %n: i64)" in str(swapped)
    round_trip(swapped)


def test_results_that_are_dims_of_results() -> None:
    with Builder("f") as b:
        mask = b.param(ArrayType(T.bool_, (5,)), "mask")
        x = b.param(ArrayType(T.f64, (5, 2)), "x")
        k, kept = b.bind(ops.index.COMPRESS, (mask, x), names=["k", "kept"])
    f = b.build(kept, k)
    assert "%k: i64, %kept: f64[%k, 2] = compress %mask, %x" in str(f)
    round_trip(f)


def test_regions_nest() -> None:
    with Builder("f") as b:
        x = b.param(ArrayType(T.f64, (3,)), "x")
        p = b.param(T.scalar(T.bool_), "p")

        def body(i: object, consts: object, carries: tuple[T.Dim, ...], xs: object) -> object:
            (c,) = carries
            (y,) = control.if_(consts[0], ops.neg, lambda a: ops.add(a, 1.0), (c,))
            return (y,), (c,)

        results = control.for_(Literal(4, T.i64), body, (p,), (x,), ())
    f = b.build(*results)
    text = str(f)
    assert "  } @else(" in text
    assert "\n    return " in text
    round_trip(f)


def test_tapes() -> None:
    kind = TapeType(((T.f64, (2, None)), (T.i64, ())))
    with Builder("f") as b:
        n = b.param(T.scalar(T.i64), "n")
        x = b.param(ArrayType(T.f64, (2, n)), "x")
        t = tape.tape_push(tape.tape_new(kind), (x, n))
        results = tape.tape_get(t, Literal(0, T.i64))
    f = b.build(*results)
    assert "tape_new {type=tape[f64[2, ?], i64]}" in str(f)
    round_trip(f)


def test_the_kernel_level() -> None:
    with Builder("k", "kernel") as b:
        n = b.param(T.scalar(T.i64), "n")
        x = b.param(BufferType(T.f32, (n, 4), (1, n)), "x")

        def row(i: object) -> None:
            def fold(j: object, total: object) -> object:
                return (s.add(total, statements.load(x, i, j)),)

            start = [Literal(0, T.f32)]
            (total,) = statements.loop(0, 4, fold, start, "vector", ("add",), "j")
            statements.branch(s.lt(total, 0.0), lambda: statements.store(x, total, i, 0))

        statements.loop(0, n, row, kind="parallel")
        y = statements.alloc(T.f64, (8,), "y")
        statements.call_extern("gemv", (x, y), (ArrayType(T.f64), BufferType(T.i32, (2,), (1,))))
        statements.raise_error("IndexError", "index {0} # not a comment", (n,))
    f = b.build()
    text = str(f)
    assert text.startswith("jitnet 1 kernel\nfunc @k(%n: i64, %x: buf f32[%n, 4] strides(1, %n))")
    assert "results=(f64[], buf i32[2] strides(1))" in text
    round_trip(f)


# -- constants -------------------------------------------------------------------------------------


def returns(*literals: Literal) -> Function:
    with Builder("f") as b:
        pass
    return b.build(*literals)


@given(st.sampled_from(DTYPES), st.integers(0, 2**64 - 1))
def test_every_bit_of_a_literal_survives(dtype: T.DType, bits: int) -> None:
    data = np.array([bits], np.uint64).view(np.uint8)[: dtype.itemsize].copy()
    if dtype.is_bool:
        data &= 1
    round_trip(returns(Literal(data.view(dtype.numpy)[0], dtype)))


@given(st.floats(width=32))
def test_short_text_of_floats_is_exact(x: float) -> None:
    round_trip(returns(Literal(x, T.f32), Literal(x, T.f64)))


def test_literals_read_well() -> None:
    literals = [
        Literal(2.0, T.f64),
        Literal(0.1, T.f32),
        Literal(-3, T.i64),
        Literal(3, T.u8),
        Literal(True, T.bool_),
        Literal(-0.0, T.f64),
        Literal(-np.inf, T.f64),
        Literal(np.nan, T.f32),
        Literal(1e300, T.f64),
    ]
    assert "return 2.0, 0.1:f32, -3, 3:u8, true, -0.0, -inf, nan:f32, 1e+300" in str(
        returns(*literals)
    )
    round_trip(returns(*literals))


@pytest.mark.parametrize("shape", [(), (3,), (2, 2), (0,), (2, 0, 3), (5, 7)])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_constant_arrays(dtype: T.DType, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    data = rng.integers(0, 2, (*shape, dtype.itemsize), np.uint8)
    array = data.view(dtype.numpy)[..., 0] if not dtype.is_bool else data[..., 0].astype(bool)
    with Builder("f") as b:
        (c,) = b.bind(ops.create.CONST, (), {"data": Dense(array)})
    round_trip(b.build(c))


def test_small_constant_arrays_are_readable() -> None:
    with Builder("f") as b:
        c = ops.const(np.array([[1.0, -0.0], [np.nan, 0.5]], np.float32))
    assert "const {data=dense f32[2, 2] [[1.0, -0.0], [nan, 0.5]]}" in str(b.build(c))


@pytest.mark.parametrize(
    "value",
    [None, True, 3, -0.0, float("nan"), float("inf"), "it's # {0} \n", T.f32, ArrayType(T.f32)]
    + [(), (1,), ((1, 2), ("a", None)), ArrayType(T.f64, (2,)), TapeType(((T.i8, (None, 2)),))],
    ids=repr,
)
def test_attributes(value: object) -> None:
    with Builder("f") as b:
        ok = b.param(T.scalar(T.bool_), "ok")
        b.bind(control.CHECK, (ok,), {"error": "ValueError", "message": "", "extra": value})
    g = round_trip(b.build())
    assert type(g.eqns[0].attrs["extra"]) is type(value)


def test_an_attribute_of_another_kind_is_a_bug() -> None:
    with Builder("f") as b:
        ok = b.param(T.scalar(T.bool_), "ok")
        b.bind(control.CHECK, (ok,), {"error": "ValueError", "message": [1]})
    with pytest.raises(TypeError, match="cannot be a list"):
        str(b.build())


# -- comments --------------------------------------------------------------------------------------


def test_source_lines_as_comments() -> None:
    lines = "y = np.tanh(x)\n"
    import linecache

    linecache.cache["/somewhere/model.py"] = (len(lines), None, [lines], "/somewhere/model.py")
    here = Loc((Frame("/somewhere/model.py", 1, "f"),))
    with Builder("f") as b:
        x = b.param(ArrayType(T.f64, (3,)), "x")
        with b.at(here):
            y = ops.neg(ops.tanh(x))
        with b.at(here.tagged("jvp").tagged("transpose")):
            z = ops.exp(y)
    f = b.build(z)
    text = print_function(f, source=True)
    assert text.splitlines()[2:5] == [
        "  %0: f64[3] = tanh %x  # model.py:1: y = np.tanh(x)",
        "  %1: f64[3] = neg %0",
        "  %2: f64[3] = exp %1  # model.py:1: y = np.tanh(x) (jvp, transpose)",
    ]
    assert parse(text) == f
    assert "#" not in str(f)


# -- errors ----------------------------------------------------------------------------------------

GOOD = """jitnet 1 array
func @f(%x: f64[3]) -> (f64[3]) {
  %y: f64[3] = mul %x, 2.0
  return %y
}
"""


@pytest.mark.parametrize(
    ("before", "after", "line", "message"),
    [
        ("jitnet 1", "jitnet 2", 1, "version 2"),
        ("array", "matrix", 1, "no level 'matrix'"),
        ("mul", "mull", 3, "no array op 'mull'"),
        ("%x, 2.0", "%z, 2.0", 3, "%z is not defined"),
        ("= mul %x, 2.0", "mul", 5, "expected '='"),
        ("f64[3] =", "f65[3] =", 3, "no dtype 'f65'"),
        ("return", "", 5, "expected '='"),
        ("-> (f64[3])", "-> (f64[4])", 2, "returns (f64[3])"),
        ("}\n", "} }\n", 5, "goes on"),
        ("2.0", "2.0 {axes=?}", 3, "expected"),
        ("2.0", "$", 3, "expected"),
        ("}\n", "", 5, "expected '}'"),
    ],
)
def test_parse_errors_name_the_line(before: str, after: str, line: int, message: str) -> None:
    assert parse(GOOD)
    with pytest.raises(ParseError, match=f"line {line}: ") as caught:
        parse(GOOD.replace(before, after))
    assert message in str(caught.value)
    assert isinstance(caught.value, ValueError)
