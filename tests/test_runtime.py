"""Compiling, linking and calling programs: results of all kinds, threads, errors, externs."""

from __future__ import annotations

import gc
import platform
import subprocess
import sys
import threading
import weakref
from typing import Any

import numpy as np
import pytest
from kernels import build, native, run

from jitnet.codegen.llvm import emit
from jitnet.codegen.signature import (
    AliasOutput,
    BufferOutput,
    HeapOutput,
    Input,
    ScalarOutput,
    Signature,
    Slot,
)
from jitnet.errors import NotAvailableError
from jitnet.ir import BufferType, Literal, Value, as_dim
from jitnet.ir import types as T
from jitnet.kernel import scalars as s
from jitnet.kernel import statements as S
from jitnet.kernel.externs import NO_TRANS, TRANS
from jitnet.runtime.engine import CompileError, compile_module, host_target, load_object
from jitnet.runtime.externs import extern_address
from jitnet.runtime.native import NativeProgram

N = 10
VECTOR = BufferType(T.f64, (N,))


def scale(x: Value, factor: Value, out: Value) -> Any:
    def step(i: Value, total: Value) -> Any:
        v = s.mul(S.load(x, i), factor)
        S.store(out, v, i)
        return [s.add(total, v)]

    return S.loop(0, N, step, [Literal(0.0, T.f64)], "vector", ("add",))


SCALE = build([VECTOR, T.scalar(T.f64), VECTOR], scale)
SCALE_SIGNATURE = Signature(
    (Input(T.f64, 1), Input(T.f64, 0)),
    (ScalarOutput(0, T.f64), BufferOutput(T.f64, (N,)), AliasOutput(0)),
)


def program() -> NativeProgram:
    return NativeProgram(compile_module(emit(SCALE, host_target())), SCALE_SIGNATURE)


def test_outputs_of_every_kind() -> None:
    x = np.arange(float(N))
    total, y, same = program()([x, 2])
    assert isinstance(total, np.float64)
    assert total == 90.0
    assert np.array_equal(y, 2 * x)
    assert y.flags.owndata
    assert same is x


def test_number_of_arguments_is_checked() -> None:
    with pytest.raises(ValueError, match="shorter"):
        program()([np.zeros(N)])


def test_strided_inputs() -> None:
    def body(x: Value, r: Value, c: Value, out: Value) -> None:
        v = S.view(x, 0, (3, 4), (as_dim(r), as_dim(c)))
        S.loop(0, 3, lambda i: S.loop(0, 4, lambda j: S.store(out, S.load(v, i, j), i, j)))

    params = [BufferType(T.f32, (3, 4)), T.scalar(T.i64), T.scalar(T.i64)]
    kernel = build([*params, BufferType(T.f32, (3, 4))], body)
    signature = Signature((Input(T.f32, 2, "strided"),), (BufferOutput(T.f32, (3, 4)),))
    copy = NativeProgram(compile_module(emit(kernel, host_target())), signature)
    base = np.arange(48, dtype=np.float32).reshape(6, 8)
    records = np.zeros((3, 4), np.dtype([("x", "f4"), ("y", "u1")]))
    records["x"] = base[:3, :4]
    for x in (base[::2, ::2], base[2::-1, 3::-1], base.T[:6:2, :4], base[:3, :4], records["x"]):
        assert np.array_equal(copy([x])[0], x)


def heap_program() -> NativeProgram:
    def body(n: Value) -> Any:
        t = S.alloc(T.i32, (as_dim(n), 2), "t")
        S.loop(0, n, lambda i: S.store(t, s.cast(i, T.i32), i, 0))
        S.loop(0, n, lambda i: S.store(t, Literal(7, T.i32), i, 1))
        spare = S.alloc(T.i32, (as_dim(n),), "spare")
        S.store(spare, Literal(0, T.i32), 0)
        return t, n

    kernel = build([T.scalar(T.i64)], body)
    signature = Signature((Input(T.i64, 0),), (HeapOutput(0, T.i32, (Slot(1), 2)),) * 2)
    return NativeProgram(compile_module(emit(kernel, host_target())), signature)


def test_heap_results_own_their_memory() -> None:
    make = heap_program()
    for n in (1, 3, 1000):
        a, b = make([n])
        assert a is b
        assert a.dtype == np.int32
        assert np.array_equal(a, np.stack([np.arange(n), np.full(n, 7)], 1))
        assert a.flags.writeable
        block = weakref.ref(a.base)
        part = a[1:]
        del a, b
        gc.collect()
        assert block() is not None
        assert np.array_equal(part[:, 1], np.full(n - 1, 7))
        del part
        gc.collect()
        assert block() is None


def test_heap_memory_is_given_back() -> None:
    """More memory than there is, were it kept."""
    script = """
import resource, sys
sys.path[:0] = ["tests"]
import test_runtime
make = test_runtime.heap_program()
make([1_000_000])
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
for _ in range(1000):
    make([1_000_000])
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_threads_and_reentrancy() -> None:
    def body(x: Value, out: Value) -> None:
        t = S.alloc(T.f64, (N,), "t")

        def sweep(k: Value) -> None:
            S.loop(0, N, lambda i: S.store(t, s.add(S.load(x, i), 1.0), i), kind="vector")
            S.loop(0, N, lambda i: S.store(out, S.load(t, i), i), kind="vector")

        S.loop(0, 20_000, sweep)

    kernel = build([VECTOR, VECTOR], body)
    signature = Signature((Input(T.f64, 1),), (BufferOutput(T.f64, (N,)),))
    increment = NativeProgram(compile_module(emit(kernel, host_target())), signature)
    assert increment.native.module.workspace_bytes == 128
    wrong = []

    def work(k: int) -> None:
        x = np.full(N, float(k))
        for _ in range(20):
            if not np.array_equal(increment([x])[0], x + 1):
                wrong.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_errors_name_their_values() -> None:
    def body(i: Value, x: Value, ok: Value) -> None:
        S.branch(
            ok, lambda: (), lambda: S.raise_error("IndexError", "{0} {1} {2}", (i, x, ok)) or ()
        )

    with pytest.raises(IndexError, match=r"-3 2\.5 False"):
        run(body, np.int16(-3), np.float32(2.5), np.bool_(False))
    assert run(body, np.int16(-3), np.float32(2.5), np.bool_(True)) == []


def test_f32_numbers_out_of_range_become_infinite() -> None:
    double = native(build([T.scalar(T.f32)], lambda x: s.add(x, x)))
    assert double([1e300]) == [np.inf]
    assert double([0.1]) == [np.float32(0.1) * 2]


@pytest.mark.parametrize("dtype", [T.f32, T.f64])
@pytest.mark.parametrize("trans", [NO_TRANS, TRANS])
def test_blas(dtype: T.DType, trans: int) -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(size=(4, 5)).astype(dtype.numpy)
    b = rng.normal(size=(5, 3)).astype(dtype.numpy)
    if trans == TRANS:
        b = np.ascontiguousarray(b.T)
    out, y = np.zeros((4, 3), dtype.numpy), np.zeros(4, dtype.numpy)
    one, zero = Literal(1, dtype), Literal(0, dtype)
    letter = "s" if dtype is T.f32 else "d"

    def body(n: Value, p: Value, q: Value, c: Value, v: Value) -> None:
        flags = (Literal(NO_TRANS, T.i32), Literal(trans, T.i32))
        sizes = [Literal(k, T.i64) for k in (4, 3)]
        strides = [Literal(k, T.i64) for k in (5, b.shape[1], 3)]
        arguments = (*flags, *sizes, n, one, p, strides[0], q, strides[1], zero, c, strides[2])
        S.call_extern(f"{letter}gemm", arguments)
        vector = S.view(c, 0, (3,), (1,))
        step = Literal(1, T.i64)
        size = (sizes[0], sizes[1])
        S.call_extern(
            f"{letter}gemv", (flags[0], *size, one, c, sizes[1], vector, step, zero, v, step)
        )

    run(body, np.int64(5), a, b, out, y)
    expected = a @ (b.T if trans == TRANS else b)
    np.testing.assert_allclose(out, expected, rtol=1e-5)
    np.testing.assert_allclose(y, out @ out[0], rtol=1e-5)


SIZES = [(2**31, False), (2**40, False), (-1, False), (2**31, True)]


@pytest.mark.parametrize(("size", "static"), SIZES)
def test_sizes_that_blas_cannot_have(size: int, static: bool) -> None:
    def body(n: Value, a: Value) -> None:
        k = Literal(size, T.i64) if static else n
        one, zero, step = Literal(1.0, T.f64), Literal(0.0, T.f64), Literal(1, T.i64)
        S.call_extern("dgemv", (Literal(NO_TRANS, T.i32), k, k, one, a, k, a, step, zero, a, step))

    with pytest.raises(OverflowError, match="dgemv"):
        run(body, np.int64(size), np.zeros(1))


def test_missing_extern() -> None:
    with pytest.raises(NotAvailableError, match="no function cblas_nothing"):
        extern_address("cblas_nothing")


def test_objects_can_be_loaded_again() -> None:
    first = program().native
    again = NativeProgram(load_object(first.module, first.object), SCALE_SIGNATURE)
    assert again([np.ones(N), 3.0])[0] == 30.0


def test_assembly_text() -> None:
    asm = program().native.asm
    assert "entry" in asm
    if platform.machine() == "x86_64":
        assert "(%rsp)" not in asm  # it is the code that runs: its values are in registers


def test_refused_text_is_shown() -> None:
    module = emit(SCALE, host_target())
    broken = type(module)(**{**vars(module), "text": "define nonsense"})
    with pytest.raises(CompileError, match="nonsense"):
        compile_module(broken)


def test_llvm_is_imported_late() -> None:
    script = """
import sys
import jitnet.runtime.native, jitnet.runtime.engine, jitnet.codegen.llvm
assert "llvmlite" not in sys.modules and "scipy_openblas32" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True)
