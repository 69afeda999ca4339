"""NVIDIA's compiler takes the CUDA C++ as it is, for GPUs of three generations, without spills.

No GPU is needed for that, only the compiler: `pip install "jitnet[nvrtc]"`.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gpu_functions
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from random_programs import EXACT, programs
from test_half_derivatives import halves

import jitnet
from jitnet.codegen.cuda.cut import cut
from jitnet.ir import Function
from jitnet.runtime.devices import cpusim
from jitnet.runtime.devices.cuda import OPTIONS
from jitnet.runtime.executable import lowered

nvrtc = pytest.importorskip(
    "cuda.bindings.nvrtc", reason='NVRTC is not installed: pip install "jitnet[nvrtc]"'
)

GENERATIONS = ("sm_80", "sm_90", "sm_100")
SPILL = re.compile(r"(\d+) bytes spill stores, (\d+) bytes spill loads")


def softmax(x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def gelu(x):
    return 0.5 * x * (1 + np.tanh(0.7978845608 * (x + 0.044715 * x**3)))


def normalised(x):
    d = x - x.mean(axis=1, keepdims=True)
    return d / np.sqrt((d * d).mean(axis=1, keepdims=True) + 1e-5)


def softmax_pulled(x, ct):
    return jitnet.vjp(softmax, x)[1](ct)


def scattered(x, i, v):
    x[i] += v
    return x[x > 0], np.cumsum(x)


def added(x, i, v):
    np.add.at(x, i, v)
    return x


def blurred(u, steps):
    for _ in range(steps):
        u[1:-1, 1:-1] = (u[:-2, 1:-1] + u[2:, 1:-1] + u[1:-1, :-2] + u[1:-1, 2:]) / 4
    return u


def escaped(x, y):
    a, b, n = x, y, np.zeros(x.shape, np.int32)
    for _ in range(5):
        a, b = a * a - b * b + x, 2 * a * b + y
        n += a * a + b * b < 4
    return n


def powers(z, w):
    return np.exp(z) * w, np.arctan2(z.real, w.imag), abs(z) ** 0.3


def mixed(w, x):
    return np.tanh(w.astype(np.float32) * x).astype(w.dtype), (w * w + w).sum(axis=0)


X = np.ones((64, 1000), np.float32)
Z = np.ones(3000, np.complex128)
CASES: list[tuple[Callable[..., Any], tuple[Any, ...]]] = [
    (softmax, (X,)),
    (softmax_pulled, (X, X)),
    (gelu, (X,)),
    (normalised, (X,)),
    (lambda x: (x.sum(), x.max(), x.sum(axis=0), x.std(axis=1)), (X.astype(np.float64),)),
    (scattered, (np.ones(3000), np.arange(5000) % 3000, np.ones(5000))),
    (blurred, (np.ones((200, 300)), 30)),
    (escaped, (X, X)),
    (powers, (Z, Z)),
    (softmax, (X.astype(np.float16),)),
    (mixed, (X.astype(np.float16), X)),
]


def unit(fn: Callable[..., Any], args: tuple[Any, ...], **options: Any) -> str:
    """The CUDA C++ of a function."""
    f = jitnet.trace(fn)(*args)
    return cut(lowered(f, ["C"] * len(f.params), sinks=True).program.kernel, **options).text


def compiled(text: str, generation: str) -> str:
    """What the compiler says of a translation unit.

    Raises:
        AssertionError: it does not take it.
    """
    return built(text, generation)[0]


def built(text: str, generation: str) -> tuple[str, bytes]:
    """The same, and the code for the GPU."""
    error, program = nvrtc.nvrtcCreateProgram(text.encode(), b"kernels.cu", 0, [], [])
    assert not int(error)
    options = [*OPTIONS, "--ptxas-options=-v", f"-arch={generation}"]
    (error,) = nvrtc.nvrtcCompileProgram(program, len(options), [o.encode() for o in options])
    _, size = nvrtc.nvrtcGetProgramLogSize(program)
    log = b" " * size
    nvrtc.nvrtcGetProgramLog(program, log)
    assert not int(error), log.decode()
    _, size = nvrtc.nvrtcGetCUBINSize(program)
    code = b" " * size
    nvrtc.nvrtcGetCUBIN(program, code)
    nvrtc.nvrtcDestroyProgram(program)
    return log.decode(), code


@pytest.fixture(scope="module")
def named() -> list[str]:
    """The translation units of all named functions."""
    functions = [*CASES, *((case.fn, case.args) for case in gpu_functions.CASES)]
    return [unit(fn, args) for fn, args in functions]


@pytest.mark.parametrize("generation", GENERATIONS)
def test_kernels_compile_without_spills(generation: str, named: list[str]) -> None:
    assert not spilled(named, generation)


@pytest.mark.parametrize("case", [c for c in gpu_functions.CASES if c.wide], ids=lambda c: c.name)
def test_memory_is_read_and_written_sixteen_bytes_at_a_time(case: gpu_functions.Case) -> None:
    text = ptx(unit(case.fn, case.args))
    assert re.search(r"ld\.global(\.nc)?\.v(4\.[fub]32|2\.[fub]64)", text)
    assert re.search(r"st\.global\.v(4\.[fub]32|2\.[fub]64)", text)


def raised_to(x, i, v):
    np.maximum.at(x, i, v)
    return x


@pytest.mark.parametrize("generation", GENERATIONS)
def test_atomic_operations(generation: str) -> None:
    index, texts = np.arange(5000) % 3000, []
    for dtype in (np.float32, np.float64, np.int32, np.int64):
        args = np.ones(3000, dtype), index, np.ones(5000, dtype)
        texts += [unit(fn, args, deterministic=False) for fn in (added, raised_to)]
    many = np.ones(30), np.arange(50_000) % 30, np.ones(50_000)
    texts += [unit(fn, many, deterministic=False) for fn in (added, raised_to)]
    assert not spilled(texts, generation)


def test_sums_are_single_instructions() -> None:
    args = np.ones(3000), np.arange(5000) % 3000, np.ones(5000)
    code = ptx(unit(added, args, deterministic=False))
    assert re.search(r"(red|atom)\.\S*add\S*\.f64", code)
    assert ".cas." not in code


def ptx(text: str) -> str:
    """The code of a translation unit for any GPU of a generation."""
    _, program = nvrtc.nvrtcCreateProgram(text.encode(), b"kernels.cu", 0, [], [])
    options = [o.encode() for o in (*OPTIONS, "-arch=compute_90")]
    (error,) = nvrtc.nvrtcCompileProgram(program, len(options), options)
    assert not int(error)
    _, size = nvrtc.nvrtcGetPTXSize(program)
    code = b" " * size
    nvrtc.nvrtcGetPTX(program, code)
    nvrtc.nvrtcDestroyProgram(program)
    return code.decode()


# -- products --------------------------------------------------------------------------------------


def product(x, y):
    return x @ y


def turned(x, y):
    return x.transpose(0, 2, 1) @ y.transpose(0, 2, 1)


@pytest.mark.parametrize("generation", GENERATIONS)
def test_tiles_of_products(generation: str) -> None:
    texts = []
    for dtype in (np.float32, np.float64):
        x, y = np.ones((200, 128, 128), dtype), np.ones((150, 36, 37), dtype)
        texts += [unit(turned, (x, x)), unit(product, (y, y.swapaxes(1, 2).copy()))]
        texts += [unit(turned, (y[:30, :20], y[:30, :16, :20].copy()))]
    assert all("__shared__" in text for text in texts)
    assert not spilled(texts, generation)


def test_rows_of_a_thread_are_read_as_packs() -> None:
    x = np.ones((200, 128, 128), np.float32)
    assert re.search(r"ld\.shared\.v4\.[fb]32", ptx(unit(product, (x, x))))


@halves
@pytest.mark.parametrize("generation", ["sm_75", *GENERATIONS])
def test_tensor_cores(generation: str, dtype: Any) -> None:
    """Those of 16 x 16 x 8; older GPUs exchange fragments, and have registers enough for that."""
    texts = []
    for m, n, k in ((2048, 2048, 512), (1000, 640, 200), (60, 50, 40)):
        x, y = np.ones((m, k), dtype), np.ones((k, n), dtype)
        texts.append(unit(product, (x, y)))
    texts.append(unit(lambda x, y: x.T @ y.T, (x.T.copy(), y.T.copy())))
    log, code = built(in_one(texts), generation)
    assert len(SPILL.findall(log)) >= len(texts)
    assert set(SPILL.findall(log)) == {("0", "0")}
    if generation != "sm_75":
        instructions = disassembled(code)
        for name in ("HMMA.16816.F32", "LDSM.16.M88.4", "LDSM.16.MT88.4", "LDGSTS.E.BYPASS.128"):
            assert name in instructions
        assert not re.search(r"\b(LDL|STL)\b", instructions)


def disassembled(code: bytes) -> str:
    """The instructions of a translation unit."""
    tool = disassembler()
    if tool is None:
        pytest.skip("nvdisasm is not installed: pip install nvidia-cuda-nvdisasm")
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(code)
        file.flush()
        command = [tool, "-c", file.name]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def disassembler() -> str | None:
    spec = importlib.util.find_spec("nvidia")
    places = list(spec.submodule_search_locations or ()) if spec is not None else []
    found = [path for place in places for path in Path(place).glob("*/bin/nvdisasm")]
    return shutil.which("nvdisasm") or next(map(str, found), None)


# -- what other tests have simulated, and random programs ------------------------------------------


def in_one(texts: Sequence[str]) -> str:
    """Translation units as one: each in a namespace of its own."""
    spaces = [
        f"namespace u{n} {{\n{text}\n}}".replace('extern "C" ', "") for n, text in enumerate(texts)
    ]
    return "\n".join(spaces)


def spilled(texts: Sequence[str], generation: str = "sm_90") -> list[str]:
    """What the compiler says of kernels whose registers did not suffice."""
    found = []
    for start in range(0, len(texts), 16):
        log = compiled(in_one(texts[start : start + 16]), generation)
        functions = re.split(r"(?=Function properties for )", log)[1:]
        assert functions, log
        for text in functions:
            spill = SPILL.search(text)
            assert spill is not None, text
            if spill.groups() != ("0", "0"):
                found.append(text)
    return found


def test_every_kernel_that_was_simulated() -> None:
    """Those of the tests that have run in this process."""
    sources = [path.read_text() for path in sorted(cpusim.folder().glob("*.cpp"))]
    texts = [
        re.sub(r"^#line.*\n|^SHIM_.*\n", "", s, flags=re.M) for s in sources if "__global__" in s
    ]
    if not texts:
        pytest.skip("nothing was simulated before")
    assert not spilled(texts)


def test_a_sample_of_random_programs() -> None:
    texts: list[str] = []

    @given(programs(EXACT))
    @settings(
        max_examples=24,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    def collect(program: tuple[Function, list[Any]]) -> None:
        f, _ = program
        texts.append(cut(lowered(f, ["C"] * len(f.params), sinks=True).program.kernel).text)

    collect()
    for line in spilled([text for text in texts if "__global__" in text]):
        print("a random program's kernel spills:", line)
