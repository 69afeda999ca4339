"""Products that a device's library does: found, joined with what follows, batched, captured.

On cpusim a product is its reference in NumPy. cuBLASLt is seen by a stand-in for nvmath-python,
which computes what it is asked to, refuses what the library refuses, and is compared with the real
package where that is installed. Elements are small integers, so sums are exact in any order.
"""

from __future__ import annotations

import importlib
import inspect
import itertools
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import nvmath_stand_in
import pytest
from cupy_stand_in import StandIn, cupy_standing_in
from devices import DEVICE
from nvmath_stand_in import BFLOAT16, DTYPES, ENUMS, CublasLt, nvmath_standing_in
from simulated import assert_same, needs_compiler

from jitnet import errors, jit
from jitnet.ir import types as T
from jitnet.runtime.devices import cublaslt
from jitnet.runtime.devices.device import Span
from jitnet.runtime.devices.products import Problem, compute

pytestmark = needs_compiler

RNG = np.random.default_rng(0)


def whole(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    """Small integers."""
    return RNG.integers(-3, 4, shape).astype(dtype)


def halves(*shape: int) -> np.ndarray:
    return RNG.integers(-1, 2, shape).astype(np.float16)


@pytest.fixture
def cupy() -> Iterator[StandIn]:
    with cupy_standing_in() as made:
        yield made


@pytest.fixture
def nvmath(cupy: StandIn) -> Iterator[CublasLt]:
    with nvmath_standing_in(cupy) as made:
        yield made


def hosts_program(fn: Any, *args: Any) -> str:
    return jit(fn, device="cpusim").lower(*args).stages["launches"]


def products(text: str) -> list[str]:
    """The statements, without where they come from."""
    return [line.split("#")[0].strip() for line in text.splitlines() if " product " in line]


def agree(fn: Callable[..., Any], *args: Any) -> None:
    """Gone through, recorded, replayed, captured: NumPy's bits, in arguments too."""
    compiled = jit(fn, device=DEVICE)
    for _ in range(4):
        plain, given = ([np.copy(x) for x in args] for _ in range(2))
        expected, got = fn(*plain), compiled(*given)
        same(got, expected)
        for x, y in zip(given, plain, strict=True):
            assert_same(x, y)


def same(got: Any, expected: Any) -> None:
    if isinstance(expected, tuple):
        for x, y in zip(got, expected, strict=True):
            assert_same(x, y)
    elif expected is not None:
        assert_same(got, expected)


# -- what is part of a product ---------------------------------------------------------------------


def affine(x, w, b):
    return x @ w + b


def residual(r, x, w):
    return r + x @ w


def accumulated(a, x, w):
    a += x @ w


def into_columns(y, x, w, b):
    y[:, 3:73] = b + x @ w


def into_slices(y, x, w, b):
    for t in range(3):
        y[t] = x[t] @ w + b


X, W, B = whole(64, 100), whole(100, 70), whole(70)

JOINED = {
    "bias": (affine, (X, W, B), "64, 70, 100, 1, %x, 100, %w, 70, %out0, 70, %b {epilogue='bias'}"),
    "bias of float64": (affine, [v.astype(float) for v in (X, W, B)], "%b {epilogue='bias'}"),
    "three axes": (affine, (whole(4, 16, 100), W, B), "64, 70, 100, 1, %x, 100, %w, 70"),
    "matrix": (residual, (whole(64, 70), X, W), "%out0, 70, %r, 70 {epilogue='add'}"),
    "in place": (accumulated, (whole(64, 70), X, W), "%w, 70, %a, 70, %a, 70 {epilogue='add'}"),
    "columns": (into_columns, (whole(64, 100), X, W, B), "%0, 100, %b {epilogue='bias'}"),
    "vector": (affine, (whole(300, 400), whole(400), whole(300)), "1, 300, 400, 1, %w, 400, %x"),
    "stack": (
        residual,
        (whole(5, 140, 150), whole(5, 140, 150), whole(5, 150, 150)),
        "epilogue='add', steps=(21000, 22500, 21000, 21000)",
    ),
}


@pytest.mark.parametrize("name", JOINED)
def test_what_follows_is_part_of_the_product(name: str) -> None:
    fn, args, told = JOINED[name]
    text = hosts_program(fn, *args)
    assert "launch " not in text
    assert len(products(text)) == 1
    assert told in products(text)[0]
    agree(fn, *args)


def test_sums_of_two_products() -> None:
    def f(x, w, y, v):
        return x @ w + y @ v

    args = X, W, whole(64, 90), whole(90, 70)
    text = hosts_program(f, *args)
    assert "launch " not in text
    assert [p.count("epilogue='add'") for p in products(text)] == [0, 1]
    agree(f, *args)


def test_in_loops_that_the_host_drives() -> None:
    args = whole(3, 64, 70), whole(3, 64, 100), W, B

    def f(y, x, w, b, steps):
        for t in range(steps):
            y[t] = x[t] @ w + b

    text = hosts_program(f, *args, 3)
    assert "launch " not in text
    assert "epilogue='bias'" in text
    agree(into_slices, *args)
    y, expected = (args[0].copy() for _ in range(2))
    jit(f, device=DEVICE)(y, *args[1:], 3)
    f(expected, *args[1:], 3)
    assert_same(y, expected)


def test_extents_that_calls_bring() -> None:
    f = jit(affine, device=DEVICE)
    for m in (64, 65, 66, 67, 68, 68, 68):
        x = whole(m, 100)
        assert_same(f(x, W, B), affine(x, W, B))
    text = f.lower(whole(80, 100), W, B).stages["launches"]
    assert "product %x_0, 70, 100, 1, %x, 100, %w, 70, %0, 70, %b {epilogue='bias'}" in text
    assert "launch " not in text
    assert f(whole(0, 100), W, B).shape == (0, 70)


def relu(x, w):
    return np.maximum(x @ w, 0)


def chosen(x, w):
    y = x @ w
    return np.where(y > 0, y, 0)


def used_twice(x, w, b):
    y = x @ w
    return y + b, y


def by_rows(x, w, b):
    return x @ w + b[:, None]


def turned(x, w, r):
    return x @ w + r.T


def changed_between(x, w, b):
    y = x @ w
    b[:] = 1
    x[:] = 2
    return y + b


def over_itself(x, w, b):
    x[:] = x @ w + b


def scaled(x, w):
    return 2 * (x @ w)


def doubled(x, w):
    y = x @ w
    return y + y


SQUARE = whole(70, 70)


@pytest.mark.parametrize(
    ("fn", "args"),
    [
        *((relu, (X, W)), (chosen, (X, W)), (used_twice, (X, W, B)), (by_rows, (X, W, X[:, 0]))),
        *((turned, (X, W, whole(70, 64))), (over_itself, (SQUARE, SQUARE, B))),
        *((scaled, (X, W)), (doubled, (X, W)), (residual, (np.float32(3) * B[:1], X, W))),
        (affine, (halves(64, 100), halves(100, 70), halves(70))),
        (affine, (X.astype("c8"), W.astype("c8"), B.astype("c8"))),
    ],
    ids=lambda x: getattr(x, "__name__", ""),
)
def test_what_remains_a_kernel(fn: Callable[..., Any], args: Any) -> None:
    text = hosts_program(fn, *args)
    assert len(products(text)) == 1
    assert "launch " in text
    assert "epilogue" not in text
    agree(fn, *args)


def test_what_changes_in_between() -> None:
    agree(changed_between, X, W, B)


def test_nan_and_signs() -> None:
    x, w = np.zeros((40, 40), np.float32), np.eye(40, dtype=np.float32)
    x[0, 0], x[1, 1], x[2, 2] = np.nan, np.inf, -0.0
    with np.errstate(invalid="ignore"):
        for fn in (relu, lambda x, w: x @ w + x[0], lambda x, w: x @ w - x):
            assert_same(jit(fn, device=DEVICE)(x, w), fn(x, w))


# -- which products --------------------------------------------------------------------------------


def product(x, y):
    return x @ y


def test_stacks_are_one_product() -> None:
    x, y = whole(2, 3, 150, 140), whole(2, 3, 140, 160)
    text = hosts_program(product, x, y)
    assert "for " not in text
    assert products(text) == [
        "product 150, 160, 140, 6, %0, 140, %1, 160, %2, 160 {steps=(21000, 22400, 24000)}"
    ]
    agree(product, x, y)
    agree(product, x, y[:1, :1])
    agree(product, x, y[1])
    agree(lambda x, y: x.swapaxes(2, 3) @ y.swapaxes(2, 3)[..., :140], x, y[..., :150])
    agree(lambda x, y: np.einsum("abij,abkj->abik", x, x) + y[0, 0, 0, 0], x, y)


def test_rounds_that_depend_on_each_other_stay_rounds() -> None:
    def f(x, steps):
        for t in range(steps):
            x[t + 1] = x[t] @ x[0]

    x = whole(4, 130, 130) // 3
    text = hosts_program(f, x, 3)
    assert "product 130, 130, 130, 1," in text
    y, expected = x.copy(), x.copy()
    jit(f, device=DEVICE)(y, 3)
    f(expected, 3)
    assert_same(y, expected)


def test_complex_products_need_no_factors_in_memory() -> None:
    x, y = (whole(64, 100) + 1j * whole(64, 100) for _ in range(2))
    text = hosts_program(lambda x, y: x @ y.T, x, y)
    assert "alloc" not in text
    assert "launch " not in text
    assert "{complex=true, transposed=(false, true)}" in products(text)[0]
    agree(lambda x, y: x @ y.T, x, y)
    agree(lambda x, y: x @ y[0], x, y)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex64])
def test_vectors(dtype: Any) -> None:
    a, x = whole(300, 400, dtype=dtype), whole(400, 3, dtype=dtype)
    agree(product, a, x[:, 0].copy())
    agree(lambda a, x: a @ x[:, 1], a, x)
    agree(lambda a, x: x[:, 2] @ a.T, a, x)
    agree(lambda a, x: (a[::2, :] @ x)[:, 0] + a[1, 1], a, x)


def layer(x, w, b):
    return np.maximum(x @ w + b, 0)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_halves_go_to_the_library_as_they_are(dtype: str) -> None:
    numpy = BFLOAT16.numpy if dtype == "bfloat16" else np.dtype("f2")
    x, w, b = (v.astype(numpy) for v in (halves(64, 100), halves(100, 70), halves(70)))
    text = hosts_program(product, x, w)
    assert products(text) == ["product 64, 70, 100, 1, %x, 100, %y, 70, %out0, 70"]
    assert "alloc" not in text
    agree(product, x, w)
    text = hosts_program(layer, x, w, b)
    assert products(text) == ["product 64, 70, 100, 1, %x, 100, %w, 70, %0, 70"]
    assert text.count("launch ") == 1
    agree(layer, x, w, b)
    text = hosts_program(lambda x, w, d: (x.T @ d, d @ w.T), x, w, x[:, :70].copy())
    assert [p.split("{")[1] for p in products(text)] == [
        "transposed=(true, false)}", "transposed=(false, true)}"
    ]  # fmt: skip
    assert "launch " not in text
    agree(lambda x, w, d: (x.T @ d, d @ w.T), x, w, x[:, :70].copy())


def test_halves_that_change_are_read_when_they_were() -> None:
    def f(x, w):
        y = x.astype(np.float32)
        x[:] = 1
        return y @ w.astype(np.float32), (x @ w)

    agree(f, halves(64, 100), halves(100, 70))
    agree(lambda x, w: np.tanh(x @ w) @ w.T[:70], halves(64, 100), halves(100, 70))
    x, w = halves(5, 140, 150), halves(5, 150, 160)
    assert "steps=(21000, 24000, 22400)" in hosts_program(product, x, w)
    agree(product, x, w)


def test_two_layers_of_halves() -> None:
    def f(x, w, b, v):
        return layer(x, w, b) @ v

    x, w, b, v = halves(64, 100) * halves(64, 100)[:1], halves(100, 70), halves(70), halves(70, 50)
    text = hosts_program(f, x, w, b, v)
    assert len(products(text)) == 2
    assert text.count("launch ") == 1
    with np.errstate(over="ignore"):
        agree(f, x, w, b, v)


def test_halves_in_loops_that_the_host_drives() -> None:
    def f(x, w, u, b):
        h = np.zeros((x.shape[1], w.shape[1]), x.dtype)
        for t in range(len(x)):
            h = np.maximum(x[t] @ w + h @ u + b, -1)
            h = np.minimum(h, 1)
        return h

    args = halves(20, 50, 100), halves(100, 70), halves(70, 70), halves(70)
    agree(f, *args)
    body = hosts_program(f, *args).split("@body")[1].split("return %")[0]
    assert body.count("product ") == 2
    assert body.count("launch ") == 1


# -- cuBLASLt --------------------------------------------------------------------------------------


def test_products_are_in_graphs(cupy: StandIn, nvmath: CublasLt) -> None:
    def f(x, w, b):
        return affine(x, w, b) @ w.T

    compiled, given = jit(f), [cupy.array(v.astype(float)) for v in (X, W, B)]
    for _ in range(6):
        cupy.log.clear()
        searches = len(nvmath.asked)
        got = compiled(*given)
        np.testing.assert_allclose(got.get(), f(*(v.get() for v in given)), rtol=1e-12)
        del got
    assert [c for c in cupy.log if not c.startswith("alloc")] == ["graph"]
    assert {"70 x 64 x 100 float64 bias", "100 x 64 x 70 float64"} <= {*nvmath.asked}
    assert len(nvmath.asked) == searches  # each problem was looked for before
    stages = compiled.lower(*given).stages
    assert stages["launches"].count("product ") == 2
    assert "cuBLAS" not in compiled.explain(*given)


def test_rounds_of_loops_are_graphs(cupy: StandIn, nvmath: CublasLt) -> None:
    def f(a, x, steps):
        n = 0
        while n < steps and x.max() < 1e30:
            x = -(a @ x)
            n += 1
        return x, n

    a, x = np.eye(200, dtype=np.float32), whole(200, 50)
    compiled = jit(f)
    got, n = compiled(cupy.array(a), cupy.array(x), 12)
    assert n == 12
    assert_same(got.get(), x)
    assert cupy.log.count("cublasLt") < 12  # the others are in graphs
    assert cupy.log.count("cublasLt") + cupy.log.count("graph") == 12


def test_without_nvmath_cublas_does_them(cupy: StandIn) -> None:
    compiled, given = jit(affine), [cupy.array(v) for v in (X, W, B)]
    for _ in range(4):
        cupy.log.clear()
        assert_same(compiled(*given).get(), affine(X, W, B))
    assert "sgemm" in cupy.log
    text = compiled.lower(*given).stages["launches"]
    assert "product " not in text
    assert text.count("launch ") == 1
    assert "products by cuBLAS, outside of graphs" in compiled.explain(*given)


def test_kinds_that_the_library_has_not(cupy: StandIn, nvmath: CublasLt) -> None:
    nvmath.missing = {nvmath_stand_in.REAL_64, nvmath_stand_in.HALF}
    called_by = {float: "dgemm", np.float32: "cublasLt", np.float16: "launch product_0"}
    for dtype, called in called_by.items():
        compiled, x = jit(product), whole(200, 200, dtype=dtype) // 3
        cupy.log.clear()
        assert_same(compiled(cupy.array(x), cupy.array(x)).get(), product(x, x))
        assert called in cupy.log


def test_all_that_is_joined_on_cuda(cupy: StandIn, nvmath: CublasLt) -> None:
    for fn, args, _ in JOINED.values():
        compiled = jit(fn)
        plain, given = [v.copy() for v in args], [cupy.array(v) for v in args]
        for _ in range(3):
            got, expected = compiled(*given), fn(*plain)
            if expected is not None:
                assert_same(got.get(), expected)
            for x, y in zip(given, plain, strict=True):
                assert_same(x.get(), y)


def test_memory_at_any_address(cupy: StandIn, nvmath: CublasLt) -> None:
    compiled = jit(affine)
    for shift in (0, 1, 2, 4, 1, 1, 1):
        w, b = (cupy.ndarray(v.shape, "f4", cupy.cuda.alloc(30000) + 4 * shift) for v in (W, B))
        w._host[...], b._host[...], x = W, B, cupy.array(X)
        assert_same(compiled(x, w, b).get(), affine(X, w.get(), b.get()))


def test_nothing_of_the_library_is_left_behind(cupy: StandIn, nvmath: CublasLt) -> None:
    library = cublaslt.opened(cupy)
    assert library is not None
    library.abilities  # noqa: B018  # which looks for many
    del library
    assert not nvmath.alive


def test_a_problem_without_a_way_is_an_error(cupy: StandIn, nvmath: CublasLt) -> None:
    library = cublaslt.opened(cupy)
    assert library is not None
    nvmath.missing = {nvmath_stand_in.REAL_32}
    x = whole(4, 4)
    spans = [Span(v.ctypes.data, v.nbytes, T.f32) for v in (x, x, x.copy(), x)]
    problem = Problem(4, 4, 4, 1, (False, False), ("f32", "f32"), (4, 4, 4), (0, 0, 0), "")
    with pytest.raises(errors.NotAvailableError, match="no algorithm for"):
        library.multiplier(problem, spans)


NUMPY = {"f32": "f4", "f64": "f8", "c64": "c8", "c128": "c16", "f16": "f2", "bf16": BFLOAT16.numpy}
DTYPE = {"f16": T.f16, "bf16": BFLOAT16, "f64": T.f64, "c128": T.f64}


@pytest.mark.parametrize("kind", NUMPY)
def test_problems(cupy: StandIn, nvmath: CublasLt, kind: str) -> None:
    """All layouts and epilogues, as the reference computes them."""
    library = cublaslt.opened(cupy)
    assert library is not None
    results = [kind, "f32"] if kind in ("f16", "bf16") else [kind]
    epilogues = ["", "bias", "add"] if kind in ("f32", "f64") else [""]
    flags = list(itertools.product((False, True), repeat=2))
    for result, epilogue, turned, (m, n, k), count in itertools.product(
        results, epilogues, flags, [(3, 4, 5), (1, 6, 2), (4, 1, 1)], (1, 3)
    ):
        problem = Problem(m, n, k, count, turned, (kind, result), (), (), epilogue)
        stored = Problem(
            m, n, k, count, turned, (kind, result), (0,) * (4 if epilogue == "add" else 3), (), ""
        ).stored
        leads = tuple(columns + i + 1 for i, (_, columns) in enumerate(stored))
        steps = tuple((rows * lead + 2) * (count > 1) for (rows, _), lead in zip(stored, leads))
        problem = Problem(m, n, k, count, turned, (kind, result), leads, steps, epilogue)
        x, y, old, out = (whole(200).astype(NUMPY[t]) for t in (kind, kind, result, result))
        extra = {"": [], "bias": [whole(n + 1).astype(NUMPY[result])[1:]], "add": [old]}[epilogue]
        expected = out.copy()
        compute(problem, x, y, expected, extra[0] if extra else None)
        size = library.workspace(problem)
        memory = cupy.cuda.alloc(size)
        spans = [
            Span(v.ctypes.data, v.nbytes, DTYPE.get(t, T.f32))
            for v, t in zip((x, y, out, *extra), (kind, kind, result, result))
        ]
        library.multiplier(problem, [*spans, Span(memory.ptr, size, T.u8)])()
        assert_same(out, expected)


# -- the real package ------------------------------------------------------------------------------


def test_the_stand_in_is_what_it_stands_for() -> None:
    real = pytest.importorskip("nvmath", reason="nvmath-python is not installed")
    if real.__spec__ is None:
        pytest.skip("the stand-in stands in for it now")
    lt = importlib.import_module("nvmath.bindings.cublasLt")
    cublas = importlib.import_module("nvmath.bindings.cublas")
    for kind in (*ENUMS, nvmath_stand_in.CudaDataType):
        there = next(
            getattr(p, kind.__name__) for p in (lt, cublas, real) if hasattr(p, kind.__name__)
        )
        for item in kind:
            assert int(there[item.name]) == int(item), item
    for (kind, item), dtype in DTYPES.items():
        name = re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()
        assert getattr(lt, f"get_{name}_dtype")(int(kind[item])) is dtype
    assert lt.matmul_heuristic_result_dtype == nvmath_stand_in.RESULT
    assert issubclass(lt.cuBLASLtError, Exception)
    for name, method in vars(CublasLt).items():
        if callable(method) and name[0] != "_" and not isinstance(method, type):
            said = re.match(rf"{name}\((.*?)\)", getattr(lt, name).__doc__.splitlines()[0])
            assert said is not None, name
            wanted = [p.split()[-1] for p in said[1].split(", ") if p]
            assert list(inspect.signature(method).parameters)[1:] == wanted, name
