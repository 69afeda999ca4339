"""Native entries: which calls they take, what they return, and that they lose no reference."""

from __future__ import annotations

import gc
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from kernels import build

from jitnet.codegen.llvm import emit
from jitnet.codegen.signature import AliasOutput, BufferOutput, Input, ScalarOutput, Signature
from jitnet.errors import IndexingError
from jitnet.ir import BufferType, DType, Literal, Value
from jitnet.ir import types as T
from jitnet.kernel import scalars as s
from jitnet.kernel import statements as S
from jitnet.runtime.dispatch import (
    Argument,
    ArrayLeaf,
    Branch,
    CallSpec,
    Chosen,
    Constant,
    Entry,
    NumberLeaf,
    Result,
    ScalarLeaf,
    compile_entry,
    is_supported,
)
from jitnet.runtime.engine import compile_module, host_target
from jitnet.runtime.native import NativeProgram
from jitnet.runtime.vectorcall import NativeCallable, enable, set_entry

pytestmark = pytest.mark.skipif(NativeCallable is object, reason="not this interpreter")

SLOW = "slow"


class Callee(NativeCallable):  # type: ignore[misc]
    def __init__(self) -> None:
        self.calls = 0
        self.entries: list[Entry] = []

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.calls += 1
        return (SLOW, args, kwargs)

    def add(self, spec: CallSpec, program: NativeProgram, release: bool = False) -> Callee:
        assert is_supported(spec, program)
        otherwise = self.entries[-1] if self.entries else None
        self.entries.append(compile_entry(spec, program, Callee.__call__, otherwise, release))
        set_entry(self, self.entries[-1].address)
        return self


assert NativeCallable is object or enable(Callee)


def callee(spec: CallSpec, program: NativeProgram, release: bool = False) -> Callee:
    return Callee().add(spec, program, release)


def is_slow(result: Any) -> bool:
    return type(result) is tuple and len(result) == 3 and result[0] is SLOW


def scaling(n: int, dtype: DType = T.f64, work: int = 0) -> NativeProgram:
    """(x[n], factor) -> x * factor, the total, whether it is positive."""

    def body(x: Value, factor: Value, out: Value) -> Any:
        temporary = S.alloc(dtype, (max(n, work),), "t")

        def step(i: Value, total: Value) -> Any:
            S.store(temporary, s.mul(S.load(x, i), factor), i)
            S.store(out, S.load(temporary, i), i)
            return [s.add(total, S.load(temporary, i))]

        (total,) = S.loop(0, n, step, [Literal(0, dtype)], "vector", ("add",))
        return total, s.gt(total, 0)

    vector = BufferType(dtype, (n,))
    kernel = build([vector, T.scalar(dtype), vector], body)
    signature = Signature(
        (Input(dtype, 1), Input(dtype, 0)),
        (BufferOutput(dtype, (n,)), ScalarOutput(0, dtype), ScalarOutput(1, T.bool_)),
    )
    return NativeProgram(compile_module(emit(kernel, host_target())), signature)


X = ArrayLeaf(T.f64, (5,))
NUMBER = NumberLeaf(float)
ALL = Branch(tuple, (Result(0), Result(1, "scalar"), Result(2, "python")))


def spec(result: Any = ALL, **changes: Any) -> CallSpec:
    return CallSpec(**{"args": (X, NUMBER), "sources": (0, 1), "result": result, **changes})


@pytest.fixture(scope="module")
def program() -> NativeProgram:
    return scaling(5)


@pytest.mark.parametrize("release", [False, True])
def test_a_call(program: NativeProgram, release: bool) -> None:
    f = callee(spec(), program, release)
    x = np.arange(5.0)
    y, total, positive = f(x, 2.0)
    assert np.array_equal(y, 2 * x)
    assert y.flags.owndata
    assert y.flags.writeable
    assert type(total) is np.float64
    assert total == 20.0
    assert positive is True
    assert f.calls == 0


class Array(np.ndarray[Any, Any]):
    pass


def test_what_differs_goes_to_python(program: NativeProgram) -> None:
    f = callee(spec(), program)
    x = np.arange(5.0)
    others: list[tuple[Any, ...]] = [
        (x,),
        (x, 2.0, 3.0),
        (x, 2),
        (x, np.float64(2.0)),
        (x, True),
        (x.astype("f4"), 2.0),
        (x.astype(">f8"), 2.0),
        (np.arange(6.0), 2.0),
        (x.reshape(1, 5), 2.0),
        (np.arange(10.0)[::2], 2.0),
        (x.view(Array), 2.0),
        (list(x), 2.0),
        (None, 2.0),
        (np.frombuffer(b"\0" * 41, np.float64, 5, 1), 2.0),
    ]
    for n, args in enumerate(others):
        assert is_slow(f(*args)), args
        assert f.calls == n + 1
    assert f(x, b=2.0) == (SLOW, (x,), {"b": 2.0})
    assert not is_slow(f(*[x, 2.0]))
    assert not is_slow(f(x, 2.0, **{}))


def test_several_kinds_of_calls() -> None:
    f = Callee()
    for n in (3, 4, 5):
        f.add(spec(args=(ArrayLeaf(T.f64, (n,)), NUMBER)), scaling(n))
    for n in (3, 4, 5):
        assert f(np.ones(n), 2.0)[1] == 2.0 * n
    assert is_slow(f(np.ones(6), 2.0))
    set_entry(f, 0)
    assert is_slow(f(np.ones(3), 2.0))


def test_keywords(program: NativeProgram) -> None:
    f = callee(spec(args=(X,), kwargs=(("factor", NUMBER),)), program)
    x = np.arange(5.0)
    assert f(x, factor=2.0)[1] == 20.0
    assert f(x, **{"factor": 3.0})[1] == 30.0
    for call in (lambda: f(x, 2.0), lambda: f(x, scale=2.0), lambda: f(x), lambda: f(x=x)):
        assert is_slow(call())
    both = callee(spec(args=(), kwargs=(("a", X), ("b", NUMBER))), program)
    assert both(a=x, b=2.0)[1] == 20.0
    assert is_slow(both(b=2.0, a=x))


class Pair(NamedTuple):
    x: Any
    rest: Any


def test_containers(program: NativeProgram) -> None:
    inner = Branch(list, (Branch(dict, (NUMBER, Constant("mode")), ("scale", "mode")),))
    tree = Branch(Pair, (Branch(tuple, (X,)), inner))
    f = callee(spec(args=(tree,), result=Result(1, "python")), program)
    x = np.arange(5.0)

    def argument(**changes: Any) -> Any:
        return Pair((x,), [{"scale": 2.0, "mode": "mode", **changes}])

    assert f(argument()) == 20.0
    assert f(argument(mode="".join(["mo", "de"]))) == 20.0
    for other in (
        argument(mode="other"),
        argument(mode=b"mode"),
        argument(more=1.0),
        argument(scale=2),
        Pair((x,), [{"mode": "mode", "scale": 2.0}]),
        Pair([x], [{"scale": 2.0, "mode": "mode"}]),
        Pair((x, x), [{"scale": 2.0, "mode": "mode"}]),
        ((x,), [{"scale": 2.0, "mode": "mode"}]),
        Pair((x,), []),
    ):
        assert is_slow(f(other)), other


@pytest.mark.parametrize("value", [None, True, 7, "text", b"bytes", 2**70])
def test_constants(program: NativeProgram, value: Any) -> None:
    f = callee(spec(args=(X, NUMBER, Constant(value))), program)
    x = np.arange(5.0)
    assert f(x, 2.0, value)[1] == 20.0
    for other in (None, True, False, 1, 7, 7.0, "text", "other", b"bytes", 2**70 + 0, 2**70 + 1):
        same = type(other) is type(value) and other == value
        assert is_slow(f(x, 2.0, other)) != same


@pytest.mark.parametrize("dtype", [d for d in T.DTYPES.values() if d.kind in "iuf"], ids=str)
def test_numbers_of_every_dtype(dtype: DType) -> None:
    program = scaling(3, dtype)
    x = np.array([1, 2, 3], dtype.numpy)
    args = (ArrayLeaf(dtype, (3,)), ScalarLeaf(dtype))
    flavours = tuple(Result(1, flavour) for flavour in ("array", "scalar", "python"))
    f = callee(spec(Branch(list, flavours), args=args), program)
    array, scalar, number = f(x, dtype.numpy.type(2))
    assert type(array) is np.ndarray
    assert array.shape == ()
    assert type(scalar) is dtype.numpy.type
    assert array.dtype == dtype.numpy
    assert type(number) is (float if dtype.is_float else int)
    assert array == scalar == number == 12
    zero = callee(spec(Result(1, "python"), args=(args[0], ArrayLeaf(dtype, ()))), program)
    assert zero(x, np.array(2, dtype.numpy)) == 12
    assert is_slow(zero(x, np.array([2], dtype.numpy)))


def test_python_ints() -> None:
    f = callee(
        spec(Result(1, "python"), args=(ArrayLeaf(T.i64, (1,)), NumberLeaf(int))),
        scaling(1, T.i64),
    )
    one = np.ones(1, np.int64)
    for n in (0, -1, 2**63 - 1, -(2**63)):
        assert f(one, n) == n
    for other in (2**63, -(2**63) - 1, 1.0, True, np.int64(1)):
        assert is_slow(f(one, other))


def test_layouts() -> None:
    def body(x: Value, r: Value, c: Value, out: Value) -> None:
        v = S.view(x, 0, (3, 4), (r, c))
        S.loop(0, 3, lambda i: S.loop(0, 4, lambda j: S.store(out, S.load(v, i, j), i, j)))

    matrix = BufferType(T.f32, (3, 4))
    kernel = build([matrix, T.scalar(T.i64), T.scalar(T.i64), matrix], body)
    signature = Signature((Input(T.f32, 2, "strided"),), (BufferOutput(T.f32, (3, 4)),))
    program = NativeProgram(compile_module(emit(kernel, host_target())), signature)
    leaf = ArrayLeaf(T.f32, (3, 4), "strided")
    f = callee(CallSpec((leaf,), (0,), Result(0)), program)
    base = np.arange(48, dtype=np.float32).reshape(6, 8)
    records = np.zeros((3, 4), np.dtype([("x", "f4"), ("y", "i2")]))
    for x in (base[::2, ::2], base[2::-1, 3::-1], base[:3, :4], base.T[:6:2, :4]):
        assert np.array_equal(f(x), x)
    for x in (base[:3, :4].copy(), np.asfortranarray(base[:3, :4]), records["x"]):
        assert is_slow(f(x))


def test_results_of_every_shape(program: NativeProgram) -> None:
    constant = object()
    tree = Branch(
        dict,
        (
            Branch(list, (Result(0), Result(0), Argument(0))),
            Branch(Pair, (Constant(constant), Branch(tuple, ()))),
            Branch(list, ()),
            Branch(dict, ()),
        ),
        ("a", "b", "c", "d"),
    )
    f = callee(spec(tree), program)
    x = np.arange(5.0)
    out = f(x, 2.0)
    y, again, same = out["a"]
    assert y is again
    assert same is x
    assert np.array_equal(y, 2 * x)
    assert out["b"] == Pair(constant, ())
    assert type(out["b"]) is Pair
    assert (out["c"], out["d"], list(out)) == ([], {}, ["a", "b", "c", "d"])
    gc.collect()  # the containers must be sound


def test_surroundings(program: NativeProgram) -> None:
    scale = 2.0
    x = np.arange(5.0)
    namespace = {"scale": scale}

    def reader() -> Any:
        return captured

    captured = x
    allowed = [True]
    surroundings = spec(
        items=((namespace, "scale", scale),),
        cells=((reader.__closure__[0], x),),  # type: ignore[index]
        condition=lambda: allowed[0],
    )
    f = callee(surroundings, program)
    assert f(x, 2.0)[1] == 20.0
    namespace["scale"] = 3.0
    assert is_slow(f(x, 2.0))
    del namespace["scale"]
    assert is_slow(f(x, 2.0))
    namespace["scale"] = scale
    captured = x.copy()
    assert is_slow(f(x, 2.0))
    captured = x
    assert f(x, 2.0)[1] == 20.0
    allowed[0] = False
    assert is_slow(f(x, 2.0))
    allowed.clear()  # the condition raises
    assert is_slow(f(x, 2.0))


def test_captured_arrays(program: NativeProgram) -> None:
    weights = np.arange(5.0)
    f = callee(spec(Result(1, "python"), args=(NUMBER,), sources=(weights, 0)), program)
    assert f(2.0) == 20.0
    weights[:] = 1.0
    assert f(2.0) == 10.0
    weights.shape = (1, 5)
    assert is_slow(f(2.0))


def test_errors_are_raised_by_python() -> None:
    def body(i: Value, out: Value) -> None:
        S.branch(s.lt(i, 0), lambda: S.raise_error("IndexError", "at {0}", (i,)) or ())
        S.store(out, i, 0)

    kernel = build([T.scalar(T.i64), BufferType(T.i64, (1,))], body)
    signature = Signature((Input(T.i64, 0),), (BufferOutput(T.i64, (1,)),))
    program = NativeProgram(compile_module(emit(kernel, host_target())), signature)

    class Raising(NativeCallable):  # type: ignore[misc]
        def __call__(self, i: int) -> Any:
            return program([i])[0]

    assert enable(Raising)
    f = Raising()
    entry = compile_entry(CallSpec((NumberLeaf(int),), (0,), Result(0)), program, Raising.__call__)
    set_entry(f, entry.address)
    assert f(3) == [3]
    with pytest.raises(IndexingError, match="at -3"):
        f(-3)


@pytest.mark.parametrize("release", [False, True])
def test_no_reference_is_lost(program: NativeProgram, release: bool) -> None:
    constant = object()
    parts = (Result(0), Argument(0), Constant(constant), Result(1, "scalar"), Result(1, "array"))
    tree = Branch(dict, (Branch(Pair, (Branch(list, parts), Result(1, "python"))),), ("k",))
    keywords = {"args": (X,), "kwargs": (("factor", NUMBER),)}
    f = callee(spec(tree, **keywords), program, release)
    x, factor = np.arange(5.0), 2.5
    watched = [x, constant, factor, np.dtype("f8"), Pair, f, np.ndarray, Callee.__call__]

    def counts() -> list[int]:
        gc.collect()
        return [sys.getrefcount(w) for w in watched]

    f(x, factor=factor)
    before = counts()
    for _ in range(1000):
        f(x, factor=factor)
        f(x)  # by Python
    assert max(abs(a - b) for a, b in zip(counts(), before)) < 10
    y = weakref.ref(f(x, factor=factor)["k"].x[0])
    assert y() is None
    dead = weakref.ref(f)
    watched.clear()
    del f
    gc.collect()
    assert dead() is None


@pytest.mark.parametrize("work", [0, 50_000])
def test_threads(work: int) -> None:
    """The workspace on the stack, and one that is kept for the next call."""
    n = 2000
    program = scaling(n, work=work)
    args = (Branch(list, (ArrayLeaf(T.f64, (n,)),)), NUMBER)
    f = callee(spec(args=args), program, release=True)
    wrong = []

    def work_on(k: int) -> None:
        for i in range(300):
            y, total, _ = f([np.full(n, float(k))], float(i))
            if not (y == k * i).all() or total != float(n) * k * i:
                wrong.append((k, i))

    threads = [threading.Thread(target=work_on, args=(k,)) for k in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert f.calls == 0


def test_large_results_come_from_the_pool() -> None:
    n = 1 << 18
    f = callee(spec(args=(ArrayLeaf(T.f32, (n,)), NUMBER)), scaling(n, T.f32))
    x = np.ones(n, np.float32)
    y, total, _ = f(x, 2.0)
    assert total == 2 * n
    assert (y == 2).all()
    assert y.ctypes.data % 64 == 0
    place = y.ctypes.data
    del y
    assert f(x, 3.0)[0].ctypes.data == place


def test_what_is_not_supported(program: NativeProgram) -> None:
    assert is_supported(spec(), program)
    assert not is_supported(spec(args=(X, Constant(2.0))), program)  # as an input
    assert not is_supported(spec(args=(X, NumberLeaf(int))), program)
    assert not is_supported(spec(args=(Branch(frozenset, (X,)), NUMBER)), program)
    assert not is_supported(spec(Branch(set, (Result(0),))), program)
    alias = Signature(program.signature.inputs, (AliasOutput(0),))
    assert not is_supported(spec(Result(0)), NativeProgram(program.native, alias))
    assert not is_supported(spec(Chosen(0, Result(1), Constant(2))), program)  # by an array


def test_classes_without_entry_are_ordinary() -> None:
    f = Callee()
    assert is_slow(f(1, a=2))
    held: dict[str, Callable[..., Any]] = {"f": f}
    f.held = held  # a cycle
    dead = weakref.ref(f)
    del f, held
    gc.collect()
    assert dead() is None


def test_native_is_faster_than_ctypes(program: NativeProgram) -> None:
    """A smoke test of the purpose: ten times is usual, twice is enough here."""
    import timeit

    f = callee(spec(Result(0)), program)
    x = np.arange(5.0)
    direct = min(timeit.repeat(lambda: f(x, 2.0), number=2000, repeat=5))
    through = min(timeit.repeat(lambda: program([x, 2.0]), number=2000, repeat=5))
    assert direct < through / 2
